"""How few writes any plan can have."""

from __future__ import annotations

from endpointslice.diff import Diff, StateDiff
from endpointslice.models import AddressType

__all__ = ["minimum_writes"]


def minimum_writes(state: StateDiff) -> int:
    """Return the fewest writes with which any plan can reach the desired state.

    For one group with d dirty slices, k endpoints that stay in them, a new ones and capacity c

        W* = d + ceil(max(0, k + a - d*c) / c)

    for each dirty slice must be written, and a write to any other slice, clean or created, adds
    room for at most c endpoints. Over the groups of one address type, dirty slices that one
    group can spare are recycled for what another would create, and that write is counted
    already. Slices of a stale owner are deleted.

    For duplicate-free input it is exact; with duplicates among slices that are clean otherwise,
    it is exact for the choice of copies that the diff made.

    Complexity: O(s) for s dirty slices.
    """
    missing = dict.fromkeys(AddressType, 0)
    spare = dict.fromkeys(AddressType, 0)
    for diff in state.groups:
        surplus = len(diff.dirty) - _slices_needed(diff)
        missing[diff.key.address_type] += max(0, -surplus)
        spare[diff.key.address_type] += max(0, surplus)
    dirty = sum(len(diff.dirty) for diff in state.groups)
    created = sum(max(0, missing[kind] - spare[kind]) for kind in AddressType)
    return len(state.stale) + dirty + created


def _slices_needed(diff: Diff) -> int:
    """How many slices hold all that no clean slice holds."""
    endpoints = sum(len(item.endpoints) for item in diff.dirty) + len(diff.new)
    return max(-(-endpoints // diff.max_endpoints_per_slice), int(diff.needs_placeholder))
