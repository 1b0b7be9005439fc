"""How few writes any plan can have."""

from __future__ import annotations

from endpointslice.diff import StateDiff

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
    writes = len(state.stale)
    for diff in state.groups:
        dirty = len(diff.dirty)
        writes += dirty + max(0, diff.slices_needed - dirty) - diff.recyclable
    return writes
