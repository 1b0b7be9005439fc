"""What a strategy is, and what it answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import chain
from typing import Final, Protocol, final

import attrs

from endpointslice.diff import CleanSlice, Diff, Partition
from endpointslice.errors import ModelError
from endpointslice.models import Endpoint, FrozenDict, open_twin

__all__ = [
    "Packing",
    "PackingStrategy",
    "Placement",
    "best_fit",
    "lay_out",
    "partition_of",
    "place_rest",
    "topological_order",
]


_NO_LABELS: Final = FrozenDict[str, str]()


@final
@attrs.frozen(weakref_slot=False)
class Placement:
    """What one written slice holds afterwards.

    Attributes:
        name: The slice; "" for a new one.
        kept: What it held before and holds still, in stored order, with the new content.
        added: What comes into it: new endpoints, and endpoints moved from other slices.
        labels: What it carries beside the labels of the template.
    """

    name: str
    kept: tuple[Endpoint, ...] = ()
    added: tuple[Endpoint, ...] = ()
    labels: FrozenDict[str, str] = _NO_LABELS

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """All that it holds, in the order in which it is stored."""
        return self.kept + self.added if self.added else self.kept


def placed(
    name: str,
    kept: tuple[Endpoint, ...],
    added: tuple[Endpoint, ...],
    labels: FrozenDict[str, str] = _NO_LABELS,
) -> Placement:
    """Make a Placement, of which packings have many."""
    made = _OpenPlacement()
    made.name = name
    made.kept = kept
    made.added = added
    made.labels = labels
    made.__class__ = Placement
    return made  # type: ignore[no-any-return]


_OpenPlacement: Final = open_twin(Placement)


@final
@attrs.frozen
class Packing:
    """Who sits where in one group: one placement for each slice that is written.

    A placement without endpoints means that the slice is free: it is deleted, recycled for
    another group, or made the placeholder. One without a name either is a placeholder that is
    new. Slices that are not named stay as they are.
    """

    placements: tuple[Placement, ...]


class PackingStrategy(Protocol):
    """Decides who sits where in one group. A frozen value; a pure function of the Diff.

    A strategy never reads inside a clean slice that it does not write: it has the summary, and
    may ask for the span. The Diff is good for as long as `pack` runs; endpoints are placed as it
    has them. Endpoints never move in a cycle: an endpoint moves only to a slice
    that can be written earlier.

    A strategy that has a `partition` decides by it who shares a slice: its label is the
    strategy's own, the template's word for it does not count, and `diff` marks as dirty what does
    not hold what its label says.
    """

    def pack(self, diff: Diff) -> Packing:
        """Place every endpoint of the dirty slices and every new one, each exactly once."""
        ...


def partition_of(strategy: PackingStrategy) -> Partition | None:
    """Return the partition that a strategy keeps to, if it has one."""
    return getattr(strategy, "partition", None)


def best_fit(clean: Iterable[CleanSlice], count: int, capacity: int) -> CleanSlice | None:
    """Return the clean slice that `count` more endpoints fill best; None if none has room.

    Ties go to the lower name. Complexity: O(s) for s slices; `CleanSlices.fullest` needs no look
    at all of a group's.
    """
    fitting = (item for item in clean if item.count + count <= capacity)
    return min(fitting, key=lambda item: (-item.count, item.name), default=None)


def place_rest(diff: Diff, rest: Sequence[Endpoint]) -> list[Placement]:
    """Place endpoints that no dirty slice has room for, with the fewest writes.

    Full slices are created; what is left, less than a slice, goes to the clean slice that it
    fills best, or else to a new one. Where slices of other groups are recycled, new ones cost
    nothing.

    Complexity: O(r) for r endpoints, where an index of the clean slices is kept.
    Source: best fit.
    """
    capacity = diff.max_endpoints_per_slice
    whole = len(rest) - len(rest) % capacity
    placements = [
        Placement("", (), tuple(rest[i : i + capacity])) for i in range(0, whole, capacity)
    ]
    last = tuple(rest[whole:])
    if last:
        is_free = len(placements) < diff.recyclable
        target = None if is_free else next(diff.clean.fullest(capacity - len(last)), None)
        if target is None:
            placements.append(Placement("", (), last))
        else:
            placements.append(Placement(target.name, diff.open(target.name), last))
    return placements


def lay_out(
    parts: Sequence[Sequence[Endpoint]],
    written: Mapping[str, Sequence[Endpoint]],
    spare: Iterable[str] = (),
    seats: Mapping[str, int] | None = None,
) -> Packing:
    """Give each part of a partition a slice, if that is safe.

    Where slices would exchange endpoints in a cycle, no order of updates is safe after every
    prefix. So one of them, that which would keep fewest, is freed instead, and its part goes
    elsewhere: into a slice that holds nothing, or else into a new one.

    Args:
        parts: Who sits together: all endpoints of the written slices and the new ones, each
            once. No part is empty.
        written: By name, what stays in each slice that is written unless it moves.
        spare: Slices that hold nothing and need not be written.
        seats: The number of the part that a slice should get, by the slice's name. By default
            parts and slices that share most endpoints find each other first; ties go to the
            earlier part, then the lower name.

    Returns:
        A placement for each part, and for each written slice that gets none.

    Complexity: O(n log n) for n endpoints.
    """
    homes = {endpoint.key: name for name, held in written.items() for endpoint in held}
    parts_of = {endpoint.key: i for i, part in enumerate(parts) for endpoint in part}
    shares = [Counter(homes[e.key] for e in part if e.key in homes) for part in parts]
    seats = _by_share(shares) if seats is None else dict(seats)
    for name in _in_the_way(seats, shares):
        del seats[name]
    names = {i: name for name, i in seats.items()}
    empty = chain((name for name in sorted(written) if not written[name]), spare)
    placements = []
    left = set(written)
    for i, part in enumerate(parts):
        name = names[i] if i in names else next(empty, "")
        kept = tuple(e for e in written.get(name, ()) if parts_of[e.key] == i)
        added = tuple(e for e in part if e.key not in homes or homes[e.key] != name)
        placements.append(Placement(name, kept, added))
        left.discard(name)
    placements += [Placement(name) for name in sorted(left)]
    return Packing(tuple(placements))


def _by_share(shares: Sequence[Mapping[str, int]]) -> dict[str, int]:
    seats: dict[str, int] = {}
    taken: set[int] = set()
    pairs = [(-n, i, name) for i, held in enumerate(shares) for name, n in held.items()]
    for _, i, name in sorted(pairs):
        if name not in seats and i not in taken:
            seats[name] = i
            taken.add(i)
    return seats


def _in_the_way(seats: Mapping[str, int], shares: Sequence[Mapping[str, int]]) -> list[str]:
    """Slices to free, lest those that keep a part exchange endpoints in a cycle.

    Slices are put in the order in which they can be written, receivers before givers; where
    there is none, the one that keeps fewest is taken out.
    """
    givers = {
        name: [giver for giver in shares[i] if giver in seats and giver != name]
        for name, i in seats.items()
    }
    waits = Counter(chain.from_iterable(givers.values()))
    ready = [name for name in seats if not waits[name]]
    by_loss = iter(sorted(seats, key=lambda name: (shares[seats[name]][name], name)))
    freed: list[str] = []
    done: set[str] = set()
    while len(done) < len(seats):
        if ready:
            name = ready.pop()
        else:
            name = next(name for name in by_loss if name not in done)
            freed.append(name)
        done.add(name)
        for giver in givers[name]:
            waits[giver] -= 1
            if not waits[giver] and giver not in done:
                ready.append(giver)
    return freed


def topological_order(waits: Sequence[Mapping[int, bool]]) -> list[int]:
    """Order numbers after those that they wait for, the lowest first; break waits that are False.

    Raises:
        ModelError: Waits that are True make a cycle.
    """
    released_by: list[list[int]] = [[] for _ in waits]
    for i, found in enumerate(waits):
        for j in found:
            released_by[j].append(i)
    blocked = [len(found) for found in waits]
    bound = [sum(found.values()) for found in waits]
    ready = [i for i, count in enumerate(blocked) if not count]
    left = set(range(len(waits)))
    order: list[int] = []
    while left:
        if not ready:
            loose = [i for i in left if not bound[i]]
            if not loose:
                raise ModelError("packing", "must not move endpoints in a cycle")
            ready.append(min(loose))
        i = heappop(ready)
        if i not in left:
            continue
        left.remove(i)
        order.append(i)
        for j in released_by[i]:
            blocked[j] -= 1
            bound[j] -= waits[j][i]
            if not blocked[j]:
                heappush(ready, j)
    return order
