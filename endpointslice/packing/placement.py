"""What a strategy is, and what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, final

import attrs

from endpointslice.diff import CleanSlice, Diff
from endpointslice.models import Endpoint

__all__ = ["Packing", "PackingStrategy", "Placement", "best_fit", "place_rest"]


@final
@attrs.frozen
class Placement:
    """What one written slice holds afterwards.

    Attributes:
        name: The slice; "" for a new one.
        kept: What it held before and holds still, in stored order, with the new content.
        added: What comes into it: new endpoints, and endpoints moved from other slices.
    """

    name: str
    kept: tuple[Endpoint, ...] = ()
    added: tuple[Endpoint, ...] = ()

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """All that it holds, in the order in which it is stored."""
        return self.kept + self.added if self.added else self.kept


@final
@attrs.frozen
class Packing:
    """Who sits where in one group: one placement for each slice that is written.

    A placement without endpoints means that the slice is free: it is deleted, recycled for
    another group, or made the placeholder. Slices that are not named stay as they are.
    """

    placements: tuple[Placement, ...]


class PackingStrategy(Protocol):
    """Decides who sits where in one group. A frozen value; a pure function of the Diff.

    A strategy never reads inside a clean slice that it does not write, and endpoints never
    move in a cycle: an endpoint moves only to a slice that can be written earlier.
    """

    def pack(self, diff: Diff) -> Packing:
        """Place every endpoint of the dirty slices and every new one, each exactly once."""
        ...


def best_fit(clean: Iterable[CleanSlice], count: int, capacity: int) -> CleanSlice | None:
    """Return the clean slice that `count` more endpoints fill best; None if none has room.

    Ties go to the lower name. Complexity: O(s) for s clean slices.
    """
    fitting = (item for item in clean if item.count + count <= capacity)
    return min(fitting, key=lambda item: (-item.count, item.name), default=None)


def place_rest(diff: Diff, rest: Sequence[Endpoint]) -> list[Placement]:
    """Place endpoints that no dirty slice has room for, with the fewest writes.

    Full slices are created; what is left, less than a slice, goes to the clean slice that it
    fills best, or else to a new one. Where slices of other groups are recycled, new ones cost
    nothing.

    Complexity: O(r + s) for r endpoints and s clean slices.
    """
    capacity = diff.max_endpoints_per_slice
    whole = len(rest) - len(rest) % capacity
    placements = [
        Placement("", (), tuple(rest[i : i + capacity])) for i in range(0, whole, capacity)
    ]
    last = tuple(rest[whole:])
    if last:
        is_free = len(placements) < diff.recyclable
        target = None if is_free else best_fit(diff.clean, len(last), capacity)
        if target is None:
            placements.append(Placement("", (), last))
        else:
            placements.append(Placement(target.name, diff.open(target.name), last))
    return placements
