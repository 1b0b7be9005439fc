"""The fewest writes that any one plan can have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import attrs

from endpointslice.diff import Diff, DirtySlice
from endpointslice.models import Endpoint
from endpointslice.packing.exit_order import Departures, ExitOrder, to_exit_order
from endpointslice.packing.placement import Packing, Placement, place_rest, placed

__all__ = ["MinimalWrites"]


@final
@attrs.frozen(kw_only=True)
class MinimalWrites:
    """Place one group's endpoints with the fewest writes: `minimum_writes` exactly.

    Attributes:
        merge: Lay the endpoints of the dirty slices out in as few of these as hold them. It
            costs nothing, for a slice that is emptied is deleted with the write that it needed
            anyway. Without it no endpoint moves, but for those that a slice over capacity has
            to give away; the minimum then holds for each group by itself, for only emptied
            slices can be recycled for another.
        exit_order: Which endpoints are expected to leave together, and so are placed together,
            of those that are placed at all: new ones, and those of slices that are emptied or
            over capacity. By default they are placed as they come. It costs no write now, and
            may save some later.

    Dirty slices are filled fullest first; ties go to the lower name.

    Complexity: O(n + s log s) for n endpoints in s dirty slices and s clean ones; in exit order
        O(n log n).
    Source: first fit decreasing over bins that are paid for already.
    """

    merge: bool = True
    exit_order: ExitOrder | None = attrs.field(
        default=None, converter=attrs.converters.optional(to_exit_order)
    )

    def pack(self, diff: Diff) -> Packing:
        """Place every endpoint of the dirty slices and every new one, each exactly once."""
        capacity = diff.max_endpoints_per_slice
        order: Sequence[DirtySlice] = diff.dirty
        if len(order) > 1:
            order = sorted(order, key=lambda item: (-min(len(item.endpoints), capacity), item.name))
        survivors = order
        if self.merge:
            total = sum([len(item.endpoints) for item in order]) + len(diff.new)
            survivors = order[: -(-total // capacity)]
        loose: list[Endpoint] = []
        for item in order[len(survivors) :]:
            loose += item.endpoints
        for item in survivors:
            loose += item.endpoints[capacity:]
        rest: Sequence[Endpoint] = [*loose, *diff.new] if loose else diff.new
        if self.exit_order is not None:
            seen = [*(item.endpoints for item in order), diff.new]
            rest = Departures(self.exit_order, seen).sorted(rest)
        placements, taken = _fill(survivors, rest, capacity)
        placements += [Placement(item.name) for item in order[len(survivors) :]]
        if taken < len(rest):
            placements += place_rest(diff, rest[taken:])
        return Packing(tuple(placements))


def _fill(
    slices: Sequence[DirtySlice], rest: Sequence[Endpoint], capacity: int
) -> tuple[list[Placement], int]:
    """Fill the room of slices that are written anyway, in order; how many found room."""
    placements = []
    taken = 0
    for item in slices:
        kept = item.endpoints[:capacity]
        room = capacity - len(kept)
        placements.append(placed(item.name, kept, tuple(rest[taken : taken + room])))
        taken = min(taken + room, len(rest))
    return placements, taken
