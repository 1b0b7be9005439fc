"""Hot/cold separation: the endpoints that will change soon sit together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from fractions import Fraction
from math import ceil
from typing import Any, Final, TypeAlias, final

import attrs

from endpointslice.diff import CleanSlice, Diff
from endpointslice.errors import ModelError
from endpointslice.models import Endpoint, EndpointKey, _is_volatile_of, _key_of
from endpointslice.packing.exit_order import (
    Departures,
    ExitOrder,
    is_terminating,
    to_exit_order,
    uid_of,
)
from endpointslice.packing.placement import Packing, Placement, best_fit

__all__ = ["Generational", "Moves"]


class Moves(StrEnum):
    """How far consumers are trusted with two copies of an endpoint in flight."""

    #: Any endpoint may move.
    ANY = "any"
    #: Only those whose content does not change in the plan: two copies can never disagree.
    UNCHANGED = "unchanged"
    #: None, but for those that a slice over capacity has to give away.
    NEVER = "never"


#: Slices that a group may have above the fill bound: a nursery, and one that is half full.
_SLACK: Final = 2
#: A cold slice takes in what has settled in hot ones only if that is a quarter of a slice.
_SETTLED_SHARE: Final = 4
#: Of a StatefulSet that rolls, an eighth of a slice is taken to be next.
_NEXT_SHARE: Final = 8

# Prices, in thousandths of a write now. A later write counts for less, for it may not come, or
# come anyway. Found by search over recorded and made-up histories.
_WRITE: Final = 1000
_LATER_WRITE: Final = 120
#: What a full slice's bytes add to a later write.
_LATER_BYTES: Final = 200
#: One slice more.
_SLICE: Final = 100

#: What was ready and is not any more, without terminating, is likely to go on changing: it counts
#: so many times more.
_RELAPSE: Final = 4

#: The bin of what is in none: new endpoints, and those a slice over capacity gives away.
_OUTSIDE: Final = 1 << 62

#: An endpoint that may be placed, and the bin that it is in.
_Loose: TypeAlias = tuple[Endpoint, int]
_Test: TypeAlias = Callable[[Endpoint], bool]


def _to_moves(value: str) -> Moves:
    try:
        return Moves(value)
    except ValueError:
        raise ModelError("moves", f"must be one of {', '.join(Moves)}", value) from None


@final
@attrs.frozen(kw_only=True)
class Generational:
    """Gather what will change soon, so that later changes dirty few slices.

    An update rewrites a whole slice, so endpoints that are sure to change again (*volatile*: not
    ready yet, or terminating) sit together in *hot* slices, which are written often, and the
    settled ones in *cold* slices, which are not. New endpoints go into a nursery, which becomes
    an ordinary slice by itself as they turn ready.

    1. The hot slices are the fewest dirty ones that hold all volatile endpoints. One slice more
       is written only if that is worth it: a hot one with room or a new one, to have fewer or
       smaller hot slices; or a cold one, to take in what has settled in the hot ones.
    2. Written slices are put in order: hot ones, then cold ones by exit order. Endpoints only
       move forward in it, so that the plan is safe after every prefix: volatile ones into the
       hot slices, settled ones into the room of the cold. What runs empty is deleted.
    3. Above the fill bound the sparsest clean slices are folded into room that is written
       anyway, one more write each, the fewest that restore it.

    What one slice more is worth depends on how often the hot ones will be written, and that is
    estimated from this very diff: if e endpoints changed and V are volatile, a slice with v of
    them is expected to be written v / (1 + v e / 2V) times. What was ready and is not any more,
    without terminating, counts several times, for it is likely to go on changing.

    In each group at most one write more than `minimum_writes`, before step 3. After every plan
    that writes, at most ceil(n / (min_fill * capacity)) + 2 slices for n endpoints, as long as
    `moves` is any.

    Attributes:
        min_fill: How full slices are on average at least, above 0 and at most 1. Less means
            fewer writes and more slices.
        exit_order: Which settled endpoints are expected to leave together.
        moves: How far consumers are trusted with two copies of an endpoint in flight.
        volatile: Who else is likely to change soon, as a `ChurnTracker` knows: a pure function.
            It is asked only of endpoints in slices that are written.

    Complexity: O(w log w + s) for w endpoints in written slices and s clean slices.
    Source: hot/cold separation and cleaning of log-structured storage.
    """

    min_fill: float = 0.75
    exit_order: ExitOrder = attrs.field(default=ExitOrder.AUTO, converter=to_exit_order)
    moves: Moves = attrs.field(default=Moves.ANY, converter=_to_moves)
    volatile: Callable[[Endpoint], bool] | None = None

    def __attrs_post_init__(self) -> None:
        value: object = self.min_fill
        if type(value) not in {int, float} or not 0 < self.min_fill <= 1:
            raise ModelError("min_fill", "must be a number above 0 and at most 1", value)

    def pack(self, diff: Diff) -> Packing:
        """Place every endpoint of the dirty slices and every new one, each exactly once."""
        if diff.is_empty:
            return Packing(())
        # As it is written: 0.6 is six tenths.
        room = Fraction(str(self.min_fill)) * diff.max_endpoints_per_slice
        bound = ceil(diff.desired_count / room) + _SLACK
        group = _Group(diff, self.exit_order, self.volatile)
        choice = _choose(group, bound, self.moves)
        placements = _Layout(group, choice, self.moves).placements()
        if self.moves is not Moves.NEVER:
            placements = _fold(diff, placements, bound)
        return Packing(tuple(placements))


# --- what there is ------------------------------------------------------------------------------


@attrs.define(eq=False)
class _Bin:
    """A slice that is written: "" for a new one."""

    name: str = ""
    count: int = 0
    volatile: int = 0
    #: Of a clean slice unknown until it is sure to be written.
    before: tuple[Endpoint, ...] = ()
    changed: frozenset[EndpointKey] = frozenset()
    #: It need not be written, if in the end nothing comes or goes.
    is_clean: bool = False

    @property
    def settled(self) -> int:
        """How many endpoints are likely to stay as they are."""
        return self.count - self.volatile


class _Group:
    """A diff, and which of its endpoints are volatile."""

    def __init__(self, diff: Diff, exit_order: ExitOrder, volatile: _Test | None) -> None:
        self.diff = diff
        self.capacity = diff.max_endpoints_per_slice
        seen = [endpoint for item in diff.dirty for endpoint in item.endpoints]
        seen += diff.new
        self.total = len(seen)
        self.departures = Departures(exit_order, seen)
        coming = self.departures.next_in_line(max(1, self.capacity // _NEXT_SHARE))
        self.is_volatile: _Test = _is_volatile_of
        if coming or volatile is not None:
            others = volatile or (lambda _endpoint: False)
            self.is_volatile = lambda endpoint: (
                endpoint.conditions.is_volatile or endpoint.key in coming or bool(others(endpoint))
            )
        self.dirty = [
            _Bin(
                item.name,
                len(item.endpoints),
                sum(map(self.is_volatile, item.endpoints)),
                item.endpoints,
                item.changed,
            )
            for item in diff.dirty
        ]
        self.volatile = sum(item.volatile for item in self.dirty)
        self.volatile += sum(map(self.is_volatile, diff.new))
        relapsed = sum(map(_relapsed, self.dirty))
        self._weight = self.volatile + _RELAPSE * relapsed
        self._events = len(diff.new)
        self._events += sum(len(item.changed) + item.removed for item in diff.dirty)
        self._volatile = self.volatile + sum(item.volatile for item in diff.clean)

    def later(self, volatile: int, size: int) -> int:
        """What slices cost later on that have so many volatile endpoints, in thousandths."""
        if not volatile:
            return 0
        price = _LATER_WRITE + _LATER_BYTES * size // self.capacity
        everywhere = 2 * self._volatile
        # An endpoint does not change more often than once a plan.
        events = min(self._events, everywhere)
        once = volatile * everywhere * price // (everywhere + events * volatile)
        return once * self._weight // max(1, self.volatile)


# --- which slices are written, and in which order -----------------------------------------------


@attrs.frozen
class _Choice:
    """Which slices are written beside the dirty ones, and which are to be hot.

    Attributes:
        front: New and opened slices, to be filled first.
        hot: Dirty slices that hold volatile endpoints afterwards, in the order of their choice.
        taker: A cold slice that is written to take in what has settled in the hot ones.
        cost: What it costs now and later, in thousandths of a write.
    """

    front: tuple[_Bin, ...]
    hot: tuple[_Bin, ...]
    taker: _Bin | None
    cost: int


def _choose(group: _Group, bound: int, moves: Moves) -> _Choice:
    """Choose the cheapest: what must be written, and at most one slice more."""
    diff, capacity = group.diff, group.capacity
    missing = -(-group.total // capacity) - len(group.dirty)
    slices = len(diff.clean) + len(diff.dirty) + max(0, missing)
    hot = [item for item in diff.clean if item.volatile]
    front = [_Bin() for _ in range(missing)]
    # Instead of one that is created, an opened slice will do if all finds room: one that is hot
    # already; and above the fill bound as many more as there are too many, the sparsest.
    excess = slices - bound
    spare = (len(group.dirty) + missing) * capacity - group.total
    sparsest = sorted(diff.clean if excess > 0 else (), key=lambda item: (item.count, item.name))
    opened: set[str] = set()
    for item in sorted(hot, key=lambda item: (item.count, item.name))[:1] + sparsest:
        if len(opened) >= min(max(excess, 1), missing - diff.recyclable):
            break
        if item.count <= spare and item.name not in opened:
            spare -= item.count
            front[-1 - len(opened)] = _opened(item)
            opened.add(item.name)
    slices -= len(opened)
    hot = [item for item in hot if item.name not in opened]
    choices = [_choice(group, front, None)]
    if not group.volatile or moves is Moves.NEVER:
        return choices[0]
    target = _emptiest(hot, 1, capacity)
    if target is not None:
        # It is hot already, so that what it costs later is no news.
        spared = group.later(target.volatile, target.count)
        choices.append(_choice(group, [*front, _opened(target)], None, _WRITE - spared))
    else:
        target = _emptiest((item for item in diff.clean if item.name not in opened), 1, capacity)
        if target is not None:
            choices.append(_choice(group, [*front, _opened(target)], None, _WRITE))
    if slices < bound:
        choices.append(_choice(group, [*front, _Bin()], None, _WRITE + _SLICE))
    settled = max((item.settled for item in group.dirty if item.volatile), default=0)
    if settled * _SETTLED_SHARE >= capacity:
        cold = [item for item in diff.clean if not item.volatile and item.name not in opened]
        target = best_fit(cold, settled, capacity)
        if target is None:
            target = _emptiest(cold, -(-capacity // _SETTLED_SHARE), capacity)
        if target is not None:
            choices.append(_choice(group, front, _opened(target), _WRITE))
        elif slices < bound:
            choices.append(_choice(group, front, _Bin(), _WRITE + _SLICE))
    return min(choices, key=lambda choice: choice.cost)


def _choice(group: _Group, front: Sequence[_Bin], taker: _Bin | None, cost: int = 0) -> _Choice:
    """The fewest dirty slices that are hot, where these others are written, and the cost.

    Those with little that is settled come first: a hot slice is written often, so it should be
    small.
    """
    capacity = group.capacity
    left = group.volatile + sum(item.volatile for item in front)
    for item in front:
        held = min(left, capacity - item.settled)
        cost += group.later(held, item.settled + held)
        left -= held
    room = 0 if taker is None else capacity - taker.count
    fitting = [item for item in group.dirty if item.count <= capacity]
    fitting.sort(key=lambda item: (2 * item.settled - item.volatile, item.name))
    hot = []
    for item in fitting:
        if left <= 0:
            break
        taken = min(room, item.settled) if item.volatile else 0
        settled = item.settled - taken
        if settled == capacity:
            continue
        hot.append(item)
        room -= taken
        held = min(left, capacity - settled)
        cost += group.later(held, settled + held)
        left -= held
    return _Choice(tuple(front), tuple(hot), taker, cost + group.later(left, capacity))


def _opened(item: CleanSlice) -> _Bin:
    return _Bin(item.name, item.count, item.volatile, is_clean=True)


def _emptiest(clean: Iterable[CleanSlice], count: int, capacity: int) -> CleanSlice | None:
    """The slice that costs the fewest bytes to write, with room for so many more."""
    fitting = (item for item in clean if item.count + count <= capacity)
    return min(fitting, key=lambda item: (item.count, item.name), default=None)


# --- who goes where -----------------------------------------------------------------------------


class _Layout:
    """Where each endpoint goes, while that is decided: only ever to an earlier bin."""

    def __init__(self, group: _Group, choice: _Choice, moves: Moves) -> None:
        self._group = group
        self._moves = moves
        self._capacity = capacity = group.capacity
        takers = [] if choice.taker is None else [choice.taker]
        hot = sorted(choice.hot, key=_is_coming)
        chosen = set(map(id, hot))
        cold = [item for item in group.dirty if id(item) not in chosen]
        # Slices over capacity only give: they come last, so that all others may receive.
        cold.sort(key=lambda item: (item.count > capacity, -item.count, item.name))
        self._bins = [*takers, *choice.front, *hot, *cold]
        for item in self._bins:
            if item.is_clean:
                item.before = group.diff.open(item.name)
        self._hot = range(len(takers), len(self._bins) - len(cold))
        self._cold = range(self._hot.stop, len(self._bins))
        self._fixed = frozenset[EndpointKey]()
        if moves is Moves.UNCHANGED:
            self._fixed = self._fixed.union(*(item.changed for item in self._bins))
        self._size = [min(item.count, capacity) for item in self._bins]
        self._added: list[list[Endpoint]] = [[] for _ in self._bins]
        self._gone: list[set[EndpointKey]] = [set() for _ in self._bins]
        outside = list(group.diff.new)
        for i, item in enumerate(self._bins):
            if item.count > capacity:
                # Who changes stays, as far as there is room: of that, two copies would disagree.
                order = sorted(item.before, key=lambda e: e.key not in item.changed)
                outside += order[capacity:]
                self._gone[i].update(map(_key_of, order[capacity:]))
        if takers:
            self._take_in()
        self._settle(self._gather(outside))

    # --- the steps

    def _take_in(self) -> None:
        """What has settled in hot slices goes to the one that is written to take it in."""
        is_volatile = self._group.is_volatile
        self._fill(range(1), (item for item in self._loose(self._hot) if not is_volatile(item[0])))

    def _gather(self, outside: list[Endpoint]) -> list[Endpoint]:
        """Volatile endpoints go to the hot slices, those that terminate first; the rest waits."""
        if not self._group.volatile and not any(item.volatile for item in self._bins):
            return outside
        is_volatile = self._group.is_volatile
        loose = [(endpoint, _OUTSIDE) for endpoint in filter(is_volatile, outside)]
        loose += self._loose(range(len(self._bins)), is_volatile)
        loose.sort(key=_by_urgency)
        placed = self._fill(self._hot, loose)
        if not placed:
            return outside
        return [endpoint for endpoint in outside if endpoint.key not in placed]

    def _settle(self, outside: list[Endpoint]) -> None:
        """Settled endpoints go to the cold slices; what finds no room there goes anywhere."""
        sizes = [self._size[i] for i in self._cold if self._size[i]]
        needed = -(-(sum(sizes) + len(outside)) // self._capacity)
        if needed < len(sizes) and self._moves is not Moves.NEVER:
            # They fit into fewer slices, so they are laid out anew.
            loose = list(self._loose(self._cold))
            loose += [(endpoint, _OUTSIDE) for endpoint in outside]
            loose = self._sort_cold(self._by_exit(loose))
            placed = self._fill(self._cold, loose)
            outside = [endpoint for endpoint in outside if endpoint.key not in placed]
        elif outside:
            order = self._group.departures.sorted(outside, ())
            outside = [outside[i] for i in order]
        outside = self._pour(self._cold, outside, self._capacity)
        # Slices that are created for them alone share them evenly: a change then costs fewer
        # bytes, and all of them have room to grow.
        others = range(self._cold.start)
        created = [i for i in others if not self._bins[i].name and not self._size[i]]
        share = -(-len(outside) // max(1, len(created)))
        if share <= self._capacity:
            outside = self._pour(created, outside, share)
        outside = self._pour(others, outside, self._capacity)
        assert not outside

    def _sort_cold(self, loose: Sequence[_Loose]) -> list[_Loose]:
        """Put cold slices in exit order, by the median of what is in them."""
        ranks: dict[int, list[int]] = {i: [] for i in (*self._cold, _OUTSIDE)}
        for rank, (_, i) in enumerate(loose):
            ranks[i].append(rank)

        def place(i: int) -> tuple[bool, int, str]:
            item = self._bins[i]
            median = ranks[i][len(ranks[i]) // 2] if ranks[i] else len(loose)
            return (item.count > self._capacity, median, item.name)

        order = sorted(self._cold, key=place)
        columns: tuple[list[Any], ...] = (self._bins, self._size, self._added, self._gone)
        for column in columns:
            column[self._cold.start :] = [column[i] for i in order]
        now = dict(zip(order, self._cold, strict=True))
        return [(endpoint, now.get(i, i)) for endpoint, i in loose]

    # --- the tools

    def _loose(self, bins: Iterable[int], only: _Test | None = None) -> Iterator[_Loose]:
        """What may move out of these bins. Of a slice over capacity what stays is settled."""
        if self._moves is Moves.NEVER:
            return
        for i in bins:
            if self._bins[i].count > self._capacity:
                continue
            before: Iterable[Endpoint] = self._bins[i].before
            if only is not None:
                before = filter(only, before)
            gone = self._gone[i]
            for endpoint in before:
                if endpoint.key not in gone and endpoint.key not in self._fixed:
                    yield endpoint, i

    def _by_exit(self, loose: Sequence[_Loose]) -> list[_Loose]:
        # A slice that was a nursery a moment ago holds what came last, and will go last.
        is_nursery = {i: _is_nursery(self._bins[i]) for i in self._cold}
        late = [is_nursery.get(i, False) for _, i in loose]
        order = self._group.departures.sorted([endpoint for endpoint, _ in loose], late)
        return [loose[position] for position in order]

    def _fill(self, bins: Iterable[int], loose: Iterable[_Loose]) -> set[EndpointKey]:
        """Fill bins in turn with the first that stand in later ones, and say who was moved.

        Bins come in order, so who is not later than one is not later than the next: each is
        looked at once.
        """
        size, capacity = self._size, self._capacity
        queue = iter(loose)
        placed: set[EndpointKey] = set()
        for i in bins:
            while size[i] < capacity:
                item = next(queue, None)
                if item is None:
                    return placed
                endpoint, j = item
                if j > i:
                    if j != _OUTSIDE:
                        self._gone[j].add(endpoint.key)
                        size[j] -= 1
                    self._added[i].append(endpoint)
                    placed.add(endpoint.key)
                    size[i] += 1
        return placed

    def _pour(self, bins: Iterable[int], outside: list[Endpoint], limit: int) -> list[Endpoint]:
        """Fill bins in turn with what is in none, and return what found no room."""
        start = 0
        for i in bins:
            added = outside[start : start + max(0, limit - self._size[i])]
            self._added[i] += added
            self._size[i] += len(added)
            start += len(added)
        return outside[start:] if start else outside

    def placements(self) -> list[Placement]:
        """What each bin holds; what comes in stands behind what stays."""
        result = []
        for item, gone, added in zip(self._bins, self._gone, self._added, strict=True):
            if added or (item.name and (gone or not item.is_clean)):
                kept = item.before
                if gone:
                    kept = tuple(endpoint for endpoint in kept if endpoint.key not in gone)
                result.append(Placement(item.name, kept, tuple(added)))
        return result


def _by_urgency(item: _Loose) -> tuple[bool, str, EndpointKey]:
    """Those that terminate come first, and no other order is known to be better than any."""
    endpoint, _ = item
    return (not endpoint.conditions.terminating, uid_of(endpoint), endpoint.key)


def _is_coming(item: _Bin) -> bool:
    """Whether most of a bin's volatile endpoints are not ready yet, rather than going."""
    going = sum(map(is_terminating, item.before))
    return 2 * going < item.volatile


def _relapsed(item: _Bin) -> int:
    """How many endpoints of it were ready until now, as far as their change tells."""
    return sum(
        endpoint.key in item.changed
        and not endpoint.conditions.ready
        and not endpoint.conditions.terminating
        for endpoint in item.before
    )


def _is_nursery(item: _Bin) -> bool:
    """Whether endpoints of it are not ready yet, or turn ready now."""
    return any(
        not endpoint.conditions.terminating
        and (endpoint.conditions.is_volatile or endpoint.key in item.changed)
        for endpoint in item.before
    )


# --- the fill bound -----------------------------------------------------------------------------


def _fold(diff: Diff, placements: Sequence[Placement], bound: int) -> list[Placement]:
    """Fold the sparsest clean slices into room that is written anyway, until the bound holds.

    Where no such room is left, the next sparsest slice is written to take in others.
    """
    capacity = diff.max_endpoints_per_slice
    written = {item.name for item in placements}
    clean = [item for item in diff.clean if item.name not in written]
    excess = len(clean) + sum(bool(item.endpoints) for item in placements) - bound
    if excess <= 0:
        return list(placements)
    clean.sort(key=lambda item: (item.count, item.name))
    result = list(placements)
    # Cold slices were laid out last: fill these first, and keep the hot ones small.
    room = [i for i, item in enumerate(result) if 0 < len(item.endpoints) < capacity]
    free = sum(capacity - len(result[i].endpoints) for i in room)
    opened = set()
    for item in clean:
        left = diff.open(item.name)
        if free < len(left):
            room.append(len(result))
            free += capacity - len(left)
            opened.add(item.name)
            result.append(Placement(item.name, left))
            continue
        free -= len(left)
        while left:
            target = result[room[-1]]
            taken = capacity - len(target.endpoints)
            result[room[-1]] = attrs.evolve(target, added=target.added + left[:taken])
            left = left[taken:]
            if left or len(result[room[-1]].endpoints) == capacity:
                room.pop()
        result.append(Placement(item.name))
        excess -= 1
        if not excess:
            break
    return [item for item in result if item.added or item.name not in opened]
