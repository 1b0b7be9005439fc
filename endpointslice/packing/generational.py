"""Hot/cold separation: the endpoints that will change soon sit together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import chain, islice
from typing import Final, TypeAlias, final

import attrs

from endpointslice.diff import CleanSlice, Diff
from endpointslice.errors import ModelError
from endpointslice.models import Endpoint, EndpointKey, _key_of
from endpointslice.packing.exit_order import (
    Departures,
    ExitOrder,
    is_terminating,
    to_exit_order,
    uid_of,
)
from endpointslice.packing.placement import Packing, Placement, placed

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
        filled, whole = _as_written(self.min_fill)
        bound = -(-diff.desired_count * whole // (filled * diff.max_endpoints_per_slice)) + _SLACK
        group = _Group(diff, self.exit_order, self.volatile)
        choice = _choose(group, bound, self.moves)
        placements = _Layout(group, choice, self.moves).placements()
        if self.moves is not Moves.NEVER:
            placements = _fold(diff, placements, bound)
        return Packing(tuple(placements))


@lru_cache(maxsize=64)
def _as_written(value: float) -> tuple[int, int]:
    """A number as a fraction: to whom writes it, 0.6 is six tenths."""
    return Fraction(str(value)).as_integer_ratio()


# --- what there is ------------------------------------------------------------------------------


@attrs.define(eq=False)
class _Bin:
    """A slice that is written, and who comes and goes. One more stands for what is in none.

    Attributes:
        name: "" for a new one.
        count: How many endpoints it has.
        volatile: How many of these are.
        before: They themselves; of a clean slice unknown until it is sure to be written.
        moving: The volatile ones, unknown as long.
        changed: The identities of those that change content.
        is_clean: It need not be written, if in the end nothing comes or goes.
        place: Where it stands in the order of bins: endpoints only move to lower ones.
        size: How many endpoints it has by now.
        added: Who has come.
        gone: The identities of those that have gone.
    """

    name: str = ""
    count: int = 0
    volatile: int = 0
    before: Sequence[Endpoint] = ()
    moving: Sequence[Endpoint] = ()
    changed: frozenset[EndpointKey] = frozenset()
    is_clean: bool = False
    place: int = 0
    size: int = 0
    added: list[Endpoint] = attrs.Factory(list)
    gone: set[EndpointKey] = attrs.Factory(set)

    @property
    def settled(self) -> int:
        """How many endpoints are likely to stay as they are."""
        return self.count - self.volatile

    @property
    def kept(self) -> Sequence[Endpoint]:
        """Those that it had and has still, in their order."""
        return _without(self.before, self.gone)


def _without(endpoints: Sequence[Endpoint], keys: Collection[EndpointKey]) -> Sequence[Endpoint]:
    if not keys:
        return endpoints
    return [endpoint for endpoint in endpoints if endpoint.key not in keys]


class _Group:
    """A diff, and which of its endpoints are volatile."""

    def __init__(self, diff: Diff, exit_order: ExitOrder, volatile: _Test | None) -> None:
        self.diff = diff
        self.capacity = diff.max_endpoints_per_slice
        parts = [*(item.endpoints for item in diff.dirty), diff.new]
        self.total = sum(map(len, parts))
        self._coming = frozenset[EndpointKey]()
        self._others: _Test | None = None
        found = list(map(self.volatile_of, parts))
        self.departures = Departures(exit_order, parts, list(chain.from_iterable(found)))
        self._coming = self.departures.next_in_line(max(1, self.capacity // _NEXT_SHARE))
        self._others = volatile
        if self._coming or volatile is not None:
            found = list(map(self.volatile_of, parts))
        *moving, self.new = found
        self.dirty = [
            _Bin(
                item.name,
                len(item.endpoints),
                len(volatile),
                item.endpoints,
                volatile,
                item.changed,
            )
            for item, volatile in zip(diff.dirty, moving, strict=True)
        ]
        self.volatile = sum(map(len, found))

    def volatile_of(self, endpoints: Sequence[Endpoint]) -> list[Endpoint]:
        """Those that are expected to change soon."""
        coming, others = self._coming, self._others
        if not coming and others is None:
            return [endpoint for endpoint in endpoints if endpoint.conditions.is_volatile]
        return [
            endpoint
            for endpoint in endpoints
            if endpoint.conditions.is_volatile
            or endpoint.key in coming
            or (others is not None and others(endpoint))
        ]

    @cached_property
    def fitting(self) -> list[_Bin]:
        """Those that may be hot, in the order in which they are chosen.

        Those with little that is settled come first: a hot slice is written often, so it should
        be small.
        """
        fitting = [item for item in self.dirty if item.count <= self.capacity]
        return sorted(fitting, key=lambda item: (2 * item.settled - item.volatile, item.name))

    def later(self, volatile: int, size: int) -> int:
        """What slices cost later on that have so many volatile endpoints, in thousandths."""
        if not volatile:
            return 0
        price = _LATER_WRITE + _LATER_BYTES * size // self.capacity
        often = self._everywhere + self._events * volatile
        once = volatile * self._everywhere * price // often
        return once * self._weight // max(1, self.volatile)

    @cached_property
    def _everywhere(self) -> int:
        return 2 * (self.volatile + self.diff.clean.volatile)

    @cached_property
    def _events(self) -> int:
        # An endpoint does not change more often than once a plan.
        gone = sum(len(item.changed) + item.removed for item in self.diff.dirty)
        return min(gone + len(self.diff.new), self._everywhere)

    @cached_property
    def _weight(self) -> int:
        return self.volatile + _RELAPSE * sum(map(_relapsed, self.dirty))


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
    missing = max(0, -(-group.total // capacity) - len(group.dirty))
    slices = len(diff.clean) + len(diff.dirty) + missing
    front = _front(group, missing, slices - bound) if missing else []
    choices = [_choice(group, front, None)]
    if not group.volatile or moves is not Moves.ANY:
        # Where what changes now must stay, one slice more could turn out to receive nothing.
        return choices[0]
    opened = {item.name for item in front if item.is_clean}
    slices -= len(opened)

    def left(items: Iterable[CleanSlice]) -> Iterator[CleanSlice]:
        return (item for item in items if item.name not in opened)

    hot = _with_room(left(diff.clean.sparsest(hot=True)), 1, capacity)
    target = hot or _with_room(left(diff.clean.sparsest()), 1, capacity)
    if target is not None:
        # What a slice costs later that is hot already is no news.
        spared = group.later(target.volatile, target.count)
        choices.append(_choice(group, [*front, _opened(target)], None, _WRITE - spared))
    if slices < bound:
        choices.append(_choice(group, [*front, _Bin()], None, _WRITE + _SLICE))
    settled = max((item.settled for item in group.dirty if item.volatile), default=0)
    if settled * _SETTLED_SHARE >= capacity:
        target = next(left(diff.clean.fullest(capacity - settled, hot=False)), None)
        if target is None:
            share = -(-capacity // _SETTLED_SHARE)
            target = _with_room(left(diff.clean.sparsest(hot=False)), share, capacity)
        if target is not None:
            choices.append(_choice(group, front, _opened(target), _WRITE))
        elif slices < bound:
            choices.append(_choice(group, front, _Bin(), _WRITE + _SLICE))
    return min(choices, key=lambda choice: choice.cost)


def _front(group: _Group, missing: int, excess: int) -> list[_Bin]:
    """What is written because dirty slices do not hold all: so many, of which some are opened.

    Instead of one that is created, an opened slice will do if all finds room: one that is hot
    already; and above the fill bound as many more as there are too many, the sparsest.
    """
    diff, capacity = group.diff, group.capacity
    spare = (len(group.dirty) + missing) * capacity - group.total
    front = [_Bin() for _ in range(missing)]
    opened: set[str] = set()
    hottest = islice(diff.clean.sparsest(hot=True), 1)
    for item in chain(hottest, diff.clean.sparsest() if excess > 0 else ()):
        if len(opened) >= min(max(excess, 1), missing - diff.recyclable):
            break
        if item.count <= spare and item.name not in opened:
            spare -= item.count
            front[-1 - len(opened)] = _opened(item)
            opened.add(item.name)
    return front


def _choice(group: _Group, front: Sequence[_Bin], taker: _Bin | None, cost: int = 0) -> _Choice:
    """The fewest dirty slices that are hot, where these others are written, and the cost."""
    capacity = group.capacity
    left = group.volatile + sum(item.volatile for item in front)
    for item in front:
        held = min(left, capacity - item.settled)
        cost += group.later(held, item.settled + held)
        left -= held
    room = 0 if taker is None else capacity - taker.count
    hot = []
    for item in group.fitting:
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


def _with_room(sparsest: Iterator[CleanSlice], count: int, capacity: int) -> CleanSlice | None:
    """The slice that costs the fewest bytes to write, if it has room for so many more."""
    item = next(sparsest, None)
    return None if item is None or item.count + count > capacity else item


# --- who goes where -----------------------------------------------------------------------------


class _Layout:
    """Where each endpoint goes, while that is decided: only ever to an earlier bin."""

    def __init__(self, group: _Group, choice: _Choice, moves: Moves) -> None:
        self._group = group
        self._moves = moves
        self._capacity = capacity = group.capacity
        self._takers = [] if choice.taker is None else [choice.taker]
        self._hot = [*choice.front, *sorted(choice.hot, key=_is_coming)]
        chosen = set(map(id, choice.hot))
        self._cold = [item for item in group.dirty if id(item) not in chosen]
        # Slices over capacity only give: they come last, so that all others may receive.
        self._cold.sort(key=lambda item: (item.count > capacity, -item.count, item.name))
        #: The bin of each endpoint that was looked at; all others are outside.
        self._home: dict[EndpointKey, _Bin] = {}
        outside = list(group.diff.new)
        volatile = list(group.new)
        self._put_in_order()
        for item in self._bins:
            item.size = min(item.count, capacity)
            if item.is_clean:
                item.before = group.diff.open(item.name)
                item.moving = group.volatile_of(item.before)
            if item.count > capacity:
                # Who changes stays, as far as there is room: of that, two copies would disagree.
                order = sorted(item.before, key=lambda e: e.key not in item.changed)
                outside += order[capacity:]
                volatile += group.volatile_of(order[capacity:])
                item.gone.update(map(_key_of, order[capacity:]))
        self._outside = _Bin(place=len(self._bins), before=outside, moving=volatile)
        if self._takers:
            self._take_in()
        self._gather()
        self._settle()

    def _put_in_order(self) -> None:
        self._bins = [*self._takers, *self._hot, *self._cold]
        for place, item in enumerate(self._bins):
            item.place = place

    # --- the steps

    def _take_in(self) -> None:
        """What has settled in hot slices goes to the one that is written to take it in."""
        settled = (_without(item.before, set(map(_key_of, item.moving))) for item in self._hot)
        self._fill(self._takers, chain.from_iterable(map(self._loose, self._hot, settled)))

    def _gather(self) -> None:
        """Volatile endpoints go to the hot slices, those that terminate first; the rest waits."""
        if all(item.size >= self._capacity for item in self._hot):
            return
        loose = list(self._outside.moving)
        for item in self._bins:
            loose += self._loose(item, item.moving)
        # No other order is known to be better than any.
        loose.sort(key=_key_of)
        loose.sort(key=uid_of)
        loose.sort(key=is_terminating, reverse=True)
        self._fill(self._hot, loose)

    def _settle(self) -> None:
        """Settled endpoints go to the cold slices; what finds no room there goes anywhere."""
        departures = self._group.departures
        outside = self._outside.kept
        sizes = [item.size for item in self._cold if item.size]
        needed = -(-(sum(sizes) + len(outside)) // self._capacity)
        if needed < len(sizes) and self._moves is not Moves.NEVER:
            # They fit into fewer slices, so they are laid out anew.
            loose: list[Endpoint] = []
            late: set[EndpointKey] = set()
            for item in self._cold:
                found = self._loose(item, item.kept)
                loose += found
                if _is_nursery(item):
                    # What came last a moment ago will go last.
                    late.update(map(_key_of, found))
            loose = departures.sorted([*loose, *outside], frozenset(late))
            self._sort_cold(loose)
            self._fill(self._cold, loose)
            outside = self._outside.kept
        elif outside:
            outside = departures.sorted(outside)
        outside = self._pour(self._cold, outside, self._capacity)
        # Slices that are created for them alone share them evenly: a change then costs fewer
        # bytes, and all of them have room to grow.
        others = [*self._takers, *self._hot]
        created = [item for item in others if not item.name and not item.size]
        share = -(-len(outside) // max(1, len(created)))
        if share <= self._capacity:
            outside = self._pour(created, outside, share)
        outside = self._pour(others, outside, self._capacity)
        assert not outside

    def _sort_cold(self, loose: Sequence[Endpoint]) -> None:
        """Put cold slices in exit order, by the median of what is in them."""
        ranks: dict[int, list[int]] = {item.place: [] for item in self._cold}
        ranks[self._outside.place] = []
        for rank, endpoint in enumerate(loose):
            ranks[self._home.get(endpoint.key, self._outside).place].append(rank)

        def order(item: _Bin) -> tuple[bool, int, str]:
            found = ranks[item.place]
            median = found[len(found) // 2] if found else len(loose)
            return (item.count > self._capacity, median, item.name)

        self._cold.sort(key=order)
        self._put_in_order()

    # --- the tools

    def _loose(self, item: _Bin, endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
        """Those of a bin's endpoints that may move out of it.

        Of a slice over capacity what stays is settled.
        """
        if self._moves is Moves.NEVER or item.count > self._capacity:
            return ()
        if self._moves is Moves.UNCHANGED:
            endpoints = _without(endpoints, item.changed)
        home = self._home
        for endpoint in endpoints:
            home[endpoint.key] = item
        return endpoints

    def _fill(self, bins: Iterable[_Bin], loose: Iterable[Endpoint]) -> None:
        """Fill bins in turn with the first that stand in later ones.

        Bins come in order, so who is not later than one is not later than the next: each is
        looked at once.
        """
        capacity, outside = self._capacity, self._outside
        home_of = self._home.get
        queue = iter(loose)
        for item in bins:
            if item.size >= capacity:
                continue
            place = item.place
            for endpoint in queue:
                home = home_of(endpoint.key, outside)
                if home.place > place:
                    home.gone.add(endpoint.key)
                    home.size -= 1
                    item.added.append(endpoint)
                    item.size += 1
                    if item.size == capacity:
                        break

    def _pour(
        self, bins: Iterable[_Bin], outside: Sequence[Endpoint], limit: int
    ) -> Sequence[Endpoint]:
        """Fill bins in turn with what is in none, and return what found no room."""
        start = 0
        for item in bins:
            added = outside[start : start + max(0, limit - item.size)]
            item.added += added
            item.size += len(added)
            start += len(added)
        return outside[start:] if start else outside

    def placements(self) -> list[Placement]:
        """What each bin holds; what comes in stands behind what stays."""
        return [
            placed(item.name, tuple(item.kept), tuple(item.added))
            for item in self._bins
            if item.added or (item.name and (item.gone or not item.is_clean))
        ]


def _is_coming(item: _Bin) -> bool:
    """Whether most of a bin's volatile endpoints are not ready yet, rather than going."""
    return 2 * sum(map(is_terminating, item.moving)) < item.volatile


def _relapsed(item: _Bin) -> int:
    """How many endpoints of it were ready until now, as far as their change tells."""
    return sum(
        [
            not endpoint.conditions.ready
            and not endpoint.conditions.terminating
            and endpoint.key in item.changed
            for endpoint in item.moving
        ]
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
    written = {item.name for item in placements if item.name}
    untouched = len(diff.clean) + len(diff.dirty) - len(written)
    excess = untouched + sum(bool(item.kept or item.added) for item in placements) - bound
    if excess <= 0:
        return list(placements)
    result = list(placements)
    # Cold slices were laid out last: fill these first, and keep the hot ones small.
    room = [i for i, item in enumerate(result) if 0 < len(item.endpoints) < capacity]
    free = sum(capacity - len(result[i].endpoints) for i in room)
    for item in diff.clean.sparsest():
        if item.name in written:
            continue
        left = diff.open(item.name)
        if free < len(left):
            # The next to be folded is no sparser, so that it will not fit without this one.
            room.append(len(result))
            free += capacity - len(left)
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
    return result
