"""Hot/cold separation: the endpoints that will change soon sit together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from math import ceil
from typing import Final, TypeAlias, assert_never, final

import attrs

from endpointslice.diff import CleanSlice, Diff
from endpointslice.errors import ModelError
from endpointslice.models import Endpoint, EndpointKey
from endpointslice.packing.placement import Packing, Placement

__all__ = ["ExitOrder", "Generational", "Moves"]


class ExitOrder(StrEnum):
    """Which settled endpoints are expected to leave together, and so sit together."""

    #: By node where nodes hold several endpoints, unless those that terminate now are spread
    #: over nodes more thinly than all are, as in a roll-out; by uid otherwise.
    AUTO = "auto"
    #: By node, then by uid: for drains, upgrades and failures of nodes.
    NODE = "node"
    #: By the target's uid, by which a ReplicaSet chooses among Pods of one age.
    UID = "uid"
    #: By identity, which says nothing of who leaves.
    KEY = "key"


class Moves(StrEnum):
    """How far consumers are trusted with two copies of an endpoint in flight."""

    #: Any endpoint may move.
    ANY = "any"
    #: Only those whose content does not change in the plan: two copies can never disagree.
    UNCHANGED = "unchanged"
    #: None, but for those that a slice over capacity has to give away.
    NEVER = "never"


#: So many endpoints a node must hold on average for nodes to be what endpoints leave by.
_SHARED_NODE: Final = 2
#: A drain takes nodes whole; of a roll-out's victims there are fewer on a node than of all.
_WHOLE_NODE: Final = 0.75
#: Slices that a group may have above the fill bound: a nursery, and one that is half full.
_SLACK: Final = 2
#: The bin of what is in none: new endpoints, and those a slice over capacity gives away.
_OUTSIDE: Final = 1 << 62

_Rank: TypeAlias = Callable[[Endpoint], str]


def _to_exit_order(value: str) -> ExitOrder:
    try:
        return ExitOrder(value)
    except ValueError:
        names = ", ".join(ExitOrder)
        raise ModelError("exit_order", f"must be one of {names}", value) from None


def _to_moves(value: str) -> Moves:
    try:
        return Moves(value)
    except ValueError:
        raise ModelError("moves", f"must be one of {', '.join(Moves)}", value) from None


@attrs.define(eq=False)
class _Bin:
    """A slice that is written: "" for a new one."""

    name: str
    before: tuple[Endpoint, ...] = ()
    volatile: int = 0
    #: It need not be written, if in the end nothing comes or goes.
    is_clean: bool = False

    @property
    def settled(self) -> int:
        """How many endpoints are likely to stay as they are."""
        return len(self.before) - self.volatile


@final
@attrs.frozen(kw_only=True)
class Generational:
    """Gather what will change soon, so that later changes dirty few slices.

    An update rewrites a whole slice, so endpoints that are sure to change again (not ready yet,
    or terminating: *volatile*) sit together in *hot* slices, which are written often, and the
    settled ones in *cold* slices, which are not. New endpoints go into a nursery, which becomes
    an ordinary slice by itself as they turn ready. A slice that is rewritten anyway is filled
    with the settled endpoints that are likely to leave soonest.

    1. The hot slices are the fewest dirty ones that hold all volatile endpoints. One slice more
       is written, a hot one with room or a new one, only if that spares a later write.
    2. Written slices are put in order: hot ones, then cold ones by exit order. Endpoints only
       move forward in it, so that the plan is safe after every prefix: volatile ones into the
       hot slices, then settled ones into the room of the cold. What runs empty is deleted.
    3. Above the fill bound the sparsest clean slices are folded into room that is written
       anyway, one more write each, the fewest that restore it.

    At most one write more than `minimum_writes`, before step 3. After every plan that writes,
    at most ceil(n / (min_fill * capacity)) + 2 slices for n endpoints, as long as `moves` is any.

    Attributes:
        min_fill: How full slices are on average at least, above 0 and at most 1. Less means
            fewer writes and more slices.
        exit_order: Which settled endpoints are expected to leave together.
        moves: How far consumers are trusted with two copies of an endpoint in flight.

    Complexity: O(w log w + s) for w endpoints in written slices and s clean slices.
    Source: hot/cold separation and cleaning of log-structured storage; the exit order is
    ActivePodsWithRanks of k8s.io/kubernetes pkg/controller/controller_utils.go.
    """

    min_fill: float = 0.75
    exit_order: ExitOrder = attrs.field(default=ExitOrder.AUTO, converter=_to_exit_order)
    moves: Moves = attrs.field(default=Moves.ANY, converter=_to_moves)

    def __attrs_post_init__(self) -> None:
        if not 0 < self.min_fill <= 1:
            raise ModelError("min_fill", "must be above 0 and at most 1", self.min_fill)

    def pack(self, diff: Diff) -> Packing:
        """Place every endpoint of the dirty slices and every new one, each exactly once."""
        if diff.is_empty:
            return Packing(())
        capacity = diff.max_endpoints_per_slice
        dirty = [
            _Bin(item.name, item.endpoints, sum(map(_is_volatile, item.endpoints)))
            for item in diff.dirty
        ]
        bound = ceil(diff.desired_count / (self.min_fill * capacity)) + _SLACK
        volatile = sum(item.volatile for item in dirty) + sum(map(_is_volatile, diff.new))
        front = _front(diff, dirty, volatile, bound)
        room = sum(capacity - len(item.before) for item in front)
        hot = _hot_bins(dirty, volatile - room, capacity)
        hot.sort(key=lambda item: (_is_coming(item), item.name))
        rank = self._rank([*(e for item in dirty for e in item.before), *diff.new])
        names = {item.name for item in hot}
        cold = [item for item in dirty if item.name not in names]
        # Slices over capacity only give: they come last, so that all others may receive.
        cold.sort(key=lambda item: (len(item.before) > capacity, _median(item, rank), item.name))
        layout = _Layout(diff, [*front, *hot, *cold], self.moves)
        layout.flow(len(front) + len(hot), rank)
        placements = layout.placements()
        if self.moves is not Moves.NEVER:
            placements = _fold(diff, placements, bound)
        return Packing(tuple(placements))

    def _rank(self, endpoints: Sequence[Endpoint]) -> _Rank:
        match self.exit_order:
            case ExitOrder.NODE:
                return _by_node
            case ExitOrder.UID:
                return _by_uid
            case ExitOrder.KEY:
                return _by_key
            case ExitOrder.AUTO:
                return _by_node if _leave_by_node(endpoints) else _by_uid
            case _ as unreachable:
                assert_never(unreachable)


def _is_volatile(endpoint: Endpoint) -> bool:
    return endpoint.conditions.is_volatile


# --- exit order -------------------------------------------------------------------------------


def _by_node(endpoint: Endpoint) -> str:
    return f"{endpoint.node_name or ''}\0{_by_uid(endpoint)}"


def _by_uid(endpoint: Endpoint) -> str:
    target = endpoint.target_ref
    return f"{'' if target is None else target.uid}\0{endpoint.key}"


def _by_key(endpoint: Endpoint) -> str:
    return endpoint.key


def _leave_by_node(endpoints: Sequence[Endpoint]) -> bool:
    """Whether nodes, rather than single endpoints, seem to be what goes."""
    everywhere = _per_node(endpoints)
    leaving = [endpoint for endpoint in endpoints if endpoint.conditions.terminating]
    if everywhere < _SHARED_NODE or not leaving:
        return everywhere >= _SHARED_NODE
    return _per_node(leaving) >= max(_SHARED_NODE, _WHOLE_NODE * everywhere)


def _per_node(endpoints: Sequence[Endpoint]) -> float:
    return len(endpoints) / max(1, len({endpoint.node_name for endpoint in endpoints}))


# --- which slices are written, and in which order -----------------------------------------------


def _hot_bins(dirty: Iterable[_Bin], volatile: int, capacity: int) -> list[_Bin]:
    """The fewest bins that hold so many volatile endpoints beside what is settled in them.

    Those with little that is settled come first: a hot slice is written often, so it should be
    small.
    """
    chosen = []
    for item in sorted(dirty, key=lambda item: (item.settled - item.volatile / 2, item.name)):
        if volatile <= 0:
            break
        if item.settled < capacity and len(item.before) <= capacity:
            chosen.append(item)
            volatile -= capacity - item.settled
    return chosen


def _front(diff: Diff, dirty: Sequence[_Bin], volatile: int, bound: int) -> list[_Bin]:
    """Slices to write beside the dirty ones: what must be, or one that spares later writes."""
    capacity = diff.max_endpoints_per_slice
    total = sum(len(item.before) for item in dirty) + len(diff.new)
    missing = -(-total // capacity) - len(dirty)
    slices = len(diff.clean) + len(dirty)
    hot = [item for item in diff.clean if item.volatile]
    if missing > 0:
        last = total - (len(dirty) + missing - 1) * capacity
        target = None
        if missing > diff.recyclable:
            target = _emptiest(hot, last, capacity)
            if target is None and slices + missing > bound:
                target = _emptiest(diff.clean, last, capacity)
        created = missing if target is None else missing - 1
        opened = [] if target is None else [_opened(diff, target)]
        return [*(_Bin("") for _ in range(created)), *opened]
    now = len(_hot_bins(dirty, volatile, capacity))
    target = _emptiest(hot, 1, capacity)
    if target is not None:
        # It is hot already: nothing is lost by writing it but the write.
        with_it = _hot_bins(dirty, volatile - (capacity - target.count), capacity)
        return [_opened(diff, target)] if len(with_it) < now else []
    if slices < bound and len(_hot_bins(dirty, volatile - capacity, capacity)) + 1 < now:
        return [_Bin("")]
    return []


def _emptiest(clean: Iterable[CleanSlice], count: int, capacity: int) -> CleanSlice | None:
    """The slice that costs the fewest bytes to write, with room for so many more."""
    fitting = (item for item in clean if item.count + count <= capacity)
    return min(fitting, key=lambda item: (item.count, item.name), default=None)


def _opened(diff: Diff, item: CleanSlice) -> _Bin:
    return _Bin(item.name, diff.open(item.name), item.volatile, is_clean=True)


def _is_coming(item: _Bin) -> bool:
    """Whether most of a bin's volatile endpoints are not ready yet, rather than going."""
    going = sum(endpoint.conditions.terminating for endpoint in item.before)
    return 2 * going < item.volatile


def _median(item: _Bin, rank: _Rank) -> str:
    """Where most of a bin's settled endpoints stand in the exit order; last if it has none."""
    ranks = sorted(rank(endpoint) for endpoint in item.before if not _is_volatile(endpoint))
    return ranks[len(ranks) // 2] if ranks else "\uffff"


# --- who goes where -----------------------------------------------------------------------------


class _Layout:
    """Where each endpoint goes, while that is decided: only ever to an earlier bin."""

    def __init__(self, diff: Diff, bins: Sequence[_Bin], moves: Moves) -> None:
        self._new = diff.new
        self._bins = bins
        self._capacity = capacity = diff.max_endpoints_per_slice
        fixed = frozenset[EndpointKey]()
        if moves is Moves.UNCHANGED:
            fixed = fixed.union(*(item.changed for item in diff.dirty))
        self._place: dict[EndpointKey, int] = {}
        self._size = [min(len(item.before), capacity) for item in bins]
        self._outside: list[Endpoint] = []
        self._movable: list[Endpoint] = []
        for i, item in enumerate(bins):
            self._place.update((endpoint.key, i) for endpoint in item.before)
            if len(item.before) > capacity:
                # Who changes goes last: of that, two copies would disagree.
                order = sorted(item.before, key=lambda endpoint: endpoint.key not in fixed)
                self._outside += order[capacity:]
            elif moves is not Moves.NEVER:
                self._movable += [e for e in item.before if e.key not in fixed]
        self._outside += diff.new
        self._place.update((endpoint.key, _OUTSIDE) for endpoint in self._outside)

    def flow(self, hot: int, rank: _Rank) -> None:
        """Move volatile endpoints to the first `hot` bins, and settled ones to the others."""
        bins = range(len(self._bins))
        loose = self._movable + self._outside
        volatile = [endpoint for endpoint in loose if _is_volatile(endpoint)]
        volatile.sort(key=lambda e: (not e.conditions.terminating, _by_uid(e)))
        self._fill(bins[:hot], volatile)
        if any(self._size[i] < self._capacity for i in bins[hot:]):
            settled = [e for e in loose if self._place[e.key] >= hot or not _is_volatile(e)]
            settled.sort(key=rank)
            self._fill(bins[hot:], settled)
        left = [e for e in self._outside if self._place[e.key] == _OUTSIDE]
        left.sort(key=rank)
        self._fill(bins, left)

    def _fill(self, bins: Iterable[int], candidates: Iterable[Endpoint]) -> None:
        """Fill bins in turn with the first candidates that stand in later ones.

        Bins come in order, so who is not later than one is not later than the next: each
        candidate is looked at once.
        """
        place, size, capacity = self._place, self._size, self._capacity
        queue = iter(candidates)
        for i in bins:
            while size[i] < capacity:
                endpoint = next(queue, None)
                if endpoint is None:
                    return
                j = place[endpoint.key]
                if j > i:
                    if j != _OUTSIDE:
                        size[j] -= 1
                    size[i] += 1
                    place[endpoint.key] = i

    def placements(self) -> list[Placement]:
        """What each bin holds; what comes in stands behind what stays."""
        kept: list[list[Endpoint]] = [[] for _ in self._bins]
        added: list[list[Endpoint]] = [[] for _ in self._bins]
        for i, item in enumerate(self._bins):
            for endpoint in item.before:
                j = self._place[endpoint.key]
                (kept if i == j else added)[j].append(endpoint)
        for endpoint in self._new:
            added[self._place[endpoint.key]].append(endpoint)
        return [
            Placement(item.name, tuple(kept[i]), tuple(added[i]))
            for i, item in enumerate(self._bins)
            if added[i] or (item.name and not (item.is_clean and len(kept[i]) == len(item.before)))
        ]


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
