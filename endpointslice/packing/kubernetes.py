"""The reference's packing, made deterministic: parity, and the baseline of comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final, final
from zlib import crc32

import attrs

from endpointslice.diff import CleanSlice, Diff, DirtySlice, Reason
from endpointslice.models import Endpoint, _key_of
from endpointslice.packing.placement import Packing, Placement, best_fit

__all__ = ["KubernetesPacking"]

#: What the reference sets right only after packing, or not at all.
_AFTERTHOUGHTS: Final = frozenset((Reason.HINTS_CHANGED, Reason.OVER_CAPACITY))


@final
@attrs.frozen
class KubernetesPacking:
    """Place one group's endpoints as Kubernetes' own controller does.

    1. An emptied slice is deleted; other dirty slices keep what is wanted of theirs.
    2. New endpoints fill the dirty slices, fullest first.
    3. What is left, if less than a slice, fills the unchanged slice that it fills best;
       otherwise slices are created.

    Like the reference it never splits a slice that is over capacity (the maximum was lowered),
    and takes slices in which only hints change for unchanged ones. Where the reference's order
    is that of a Go map, slices come by name here, and new endpoints in an order that is as
    arbitrary but always the same: sorted, neighbours in name or address would share slices,
    and the baseline would be better or worse than the reference is.

    Where no slice is written for its hints alone, at most one write more than the minimum of
    each group: the reference deletes an emptied slice though endpoints are left that would fit
    it. Slices written for their hints are not filled, so there it can be more.

    Complexity: O(n + s log s) for n endpoints in s dirty slices and s clean ones.
    Source: k8s.io/endpointslice reconciler.go, reconcileByPortMapping.
    """

    def pack(self, diff: Diff) -> Packing:
        """Place every endpoint of the dirty slices and every new one, each exactly once."""
        capacity = diff.max_endpoints_per_slice
        changed: list[DirtySlice] = []
        afterthoughts: list[CleanSlice] = []
        placements: dict[str, Placement] = {}
        rest: list[Endpoint] = []
        for item in diff.dirty:
            if item.adopted:
                # The reference deletes slices of other ports; recycling may reuse them.
                rest.extend(item.endpoints)
                placements[item.name] = Placement(item.name)
            elif item.endpoints and _AFTERTHOUGHTS.issuperset(item.reasons):
                afterthoughts.append(CleanSlice(item.name, len(item.endpoints)))
                if Reason.HINTS_CHANGED in item.reasons:
                    placements[item.name] = Placement(item.name, item.endpoints)
            elif item.endpoints or not _was_emptied(item):
                changed.append(item)
            else:
                placements[item.name] = Placement(item.name)
        rest.extend(diff.new)
        if len(rest) > len(diff.new):
            rest.sort(key=_key_of)  # what is new alone is sorted already
        rest = _scattered(rest)
        changed.sort(key=lambda item: (-len(item.endpoints), item.name))
        taken = 0
        for item in changed:
            room = max(0, capacity - len(item.endpoints))
            added = tuple(rest[taken : taken + room])
            placements[item.name] = Placement(item.name, item.endpoints, added)
            taken += len(added)
        while taken < len(rest):
            target = None
            if len(rest) - taken < capacity:
                left = len(rest) - taken
                fullest = islice(diff.clean.fullest(capacity - left), 1)
                target = best_fit([*fullest, *afterthoughts], left, capacity)
            added = tuple(rest[taken : taken + capacity])
            taken += len(added)
            if target is None:
                placements[f"\0{taken:012}"] = Placement("", (), added)
            else:
                stays = placements.get(target.name)
                kept = diff.open(target.name) if stays is None else stays.kept
                placements[target.name] = Placement(target.name, kept, added)
        return Packing(tuple(placements.values()))


def _scattered(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """Order by a hash of the key; those of one hash stay as they are.

    A checksum alone would not do: it is linear, so that keys that count up have checksums that
    follow a pattern, and neighbours still share slices more often than by chance.
    """
    checksums = map(crc32, map(str.encode, map(_key_of, endpoints)))
    hashes = [checksum * _GOLDEN_RATIO & 0xFFFFFFFF for checksum in checksums]
    return [endpoints[i] for i in sorted(range(len(endpoints)), key=hashes.__getitem__)]


#: 2**32 divided by it. Source: Knuth, The Art of Computer Programming, 6.4, multiplicative hashing.
_GOLDEN_RATIO: Final = 2654435761


def _was_emptied(item: DirtySlice) -> bool:
    """Whether endpoints went, rather than that an empty slice needs other metadata."""
    gone = (Reason.ENDPOINTS_REMOVED, Reason.DUPLICATES_REMOVED, Reason.EMPTY)
    return any(reason in item.reasons for reason in (*gone, Reason.GROUP_NOT_WANTED))
