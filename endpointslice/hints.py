"""Who should use which endpoint: hints for desired groups, assigned before packing.

Hints are part of an endpoint's content, so they are decided first and packed afterwards: one
pass, and a slice whose hints are right is never written.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from fractions import Fraction
from heapq import heapify, heappop, heapreplace
from itertools import chain, count, islice, repeat
from math import ceil
from operator import attrgetter
from typing import Final, Protocol, final

import attrs

from endpointslice.diff import (
    differs_in_hints_only,
    index_endpoints,
    is_stale,
    is_visible,
    metadata_reasons,
)
from endpointslice.models import (
    NO_HINTS,
    AddressType,
    Endpoint,
    EndpointGroup,
    EndpointHints,
    EndpointKey,
    EndpointSlice,
    GroupKey,
    Node,
    Service,
    SliceTemplate,
    _key_of,
    _make_group,
    _same_but_hints,
)

__all__ = [
    "HintDecision",
    "HintFallback",
    "HintFallbackReason",
    "HintPolicy",
    "NoHints",
    "PreferSameNode",
    "PreferSameZone",
    "ProportionalZones",
    "assign_hints",
    "hint_policy",
]

_ANNOTATION_MODE = "service.kubernetes.io/topology-mode"
_ANNOTATION_MODE_DEPRECATED = "service.kubernetes.io/topology-aware-hints"
#: Nodes that carry one of these serve no workload, whatever the value.
_EXCLUDING_LABELS: Final = (
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
)

#: How much more than its fair share an endpoint may have to take, for hints to be given.
#: Source: k8s.io/endpointslice topologycache/topologycache.go, overloadThreshold.
_OVERLOAD: Final = Fraction(1, 5)
#: How much for hints that are given to stay. KEP-2433 has the idea, the reference has not.
_OVERLOAD_TO_KEEP: Final = Fraction(3, 10)


class HintFallbackReason(StrEnum):
    """Why a Service that asks for hints gets none, or not those that it asks for.

    The names of the first four are those that the reference has for its messages.
    """

    #: A Node that counts has no zone or no allocatable CPU, or fewer than two zones have Nodes.
    INSUFFICIENT_NODE_INFO = "InsufficientNodeInfo"
    #: There are fewer ready endpoints than zones.
    INSUFFICIENT_NUMBER_OF_ENDPOINTS = "InsufficientNumberOfEndpoints"
    #: However hints are given, the endpoints of some zone would be overloaded.
    MIN_ALLOCATION_EXCEEDS_OVERLOAD_THRESHOLD = "MinAllocationExceedsOverloadThreshold"
    #: A ready endpoint that needs a hint is in no zone.
    NO_ZONE_SPECIFIED = "NoZoneSpecified"
    #: A topology-mode that is neither Auto nor Disabled; it is ignored.
    UNKNOWN_TOPOLOGY_MODE = "UnknownTopologyMode"
    #: A trafficDistribution that this version does not know; the API says to ignore it.
    UNKNOWN_TRAFFIC_DISTRIBUTION = "UnknownTrafficDistribution"


@final
@attrs.frozen(kw_only=True)
class HintFallback:
    """Something that was asked for and not done, and why.

    Attributes:
        reason: Why.
        value: What was asked for, as the Service spells it.
        address_type: The endpoints that it is about; None if it is about all.
        detail: The figures, or the Node.
    """

    reason: HintFallbackReason
    value: str
    address_type: AddressType | None = None
    detail: str = ""


@final
@attrs.frozen(kw_only=True)
class HintDecision:
    """What a policy decides.

    Attributes:
        groups: The groups that were given, with hints as the policy says and no others.
        fallbacks: Which endpoints have no hints that should have some, and why.
    """

    groups: tuple[EndpointGroup, ...]
    fallbacks: tuple[HintFallback, ...] = ()


class HintPolicy(Protocol):
    """Decides the hints of desired endpoints. A frozen value; a pure function of its input."""

    def assign(self, groups: Iterable[EndpointGroup]) -> tuple[EndpointGroup, ...]:
        """Return the same groups, with hints as the policy says and no others."""
        ...


def _is_ready(endpoint: Endpoint) -> bool:
    return endpoint.conditions.ready


def _with_hints(groups: Iterable[EndpointGroup], decide: _Decide) -> tuple[EndpointGroup, ...]:
    result = []
    for group in groups:
        endpoints = []
        for endpoint in group.endpoints:
            hints = decide(endpoint) if _is_ready(endpoint) else NO_HINTS
            endpoints.append(endpoint if hints == endpoint.hints else endpoint.with_hints(hints))
        result.append(EndpointGroup(key=group.key, endpoints=tuple(endpoints)))
    return tuple(result)


class _Decide(Protocol):
    def __call__(self, endpoint: Endpoint, /) -> EndpointHints: ...


@final
@attrs.frozen
class NoHints:
    """Every consumer may use every endpoint."""

    def assign(self, groups: Iterable[EndpointGroup]) -> tuple[EndpointGroup, ...]:
        """Remove all hints. Complexity: O(n) for n endpoints."""
        return _with_hints(groups, lambda _endpoint: NO_HINTS)


@final
@attrs.frozen
class PreferSameZone:
    """A ready endpoint is for the zone that it is in.

    Source: k8s.io/endpointslice trafficdist/trafficdist.go, preferCloseHeuristic. Endpoints
    that are not ready get no hint; the reference leaves on them whatever was there.
    """

    def assign(self, groups: Iterable[EndpointGroup]) -> tuple[EndpointGroup, ...]:
        """Hint each ready endpoint to its zone, if it has one. Complexity: O(n)."""
        shared: dict[str | None, EndpointHints] = {}

        def decide(endpoint: Endpoint) -> EndpointHints:
            zone = endpoint.zone
            hints = shared.get(zone)
            if hints is None:
                hints = shared[zone] = EndpointHints(for_zones=(zone,) if zone else ())
            return hints

        return _with_hints(groups, decide)


@final
@attrs.frozen
class PreferSameNode:
    """A ready endpoint is for the node that it is on, and for its zone where that has none.

    Source: k8s.io/endpointslice trafficdist/trafficdist.go, preferCloseHeuristic.
    """

    def assign(self, groups: Iterable[EndpointGroup]) -> tuple[EndpointGroup, ...]:
        """Hint each ready endpoint to its zone and node. Complexity: O(n)."""
        shared: dict[tuple[str | None, str | None], EndpointHints] = {}

        def decide(endpoint: Endpoint) -> EndpointHints:
            place = (endpoint.zone, endpoint.node_name)
            hints = shared.get(place)
            if hints is None:
                zone, node = place
                hints = shared[place] = EndpointHints(
                    for_zones=(zone,) if zone else (), for_nodes=(node,) if node else ()
                )
            return hints

        return _with_hints(groups, decide)


# --- topology-mode Auto -----------------------------------------------------------------------


@final
@attrs.frozen(kw_only=True)
class ProportionalZones:
    """Each zone gets ready endpoints in proportion to the CPUs of its Nodes.

    This is topology-mode Auto. An endpoint is for its own zone as a rule; a zone that has more
    than its share gives some to others. Where that cannot be done without overload - where the
    endpoints of some zone would each have to take over 20 % more than the average of all - the
    endpoints of an address type have no hints, and the decision says why.

    **Sticky**: an endpoint keeps its hint while every zone has the fewest that it needs. If
    some must change, those of new endpoints do first, then those in slices that must be
    written anyway, and then those in other slices: as few as can be, of the slices that hold
    most of them. So they make at most k slices be written that otherwise need not be, where k
    is the number of hints by which the other slices exceed what their zones may have; and at
    most 1 + ln k times as many as there would have to be.

    **Hysteresis**: hints that are given stay until a zone would be overloaded by over 30 %.

    Attributes:
        sticky: Without, all is as in the reference: endpoints of slices that must be written
            get hints anew, and a zone may be overloaded after all.
        hysteresis: Whether hints stay up to 30 %. Without, the limit is 20 % for all, as in the
            reference.

    Source: k8s.io/endpointslice topologycache/topologycache.go, AddHints.
    """

    sticky: bool = True
    hysteresis: bool = True

    def assign(
        self,
        groups: Iterable[EndpointGroup],
        *,
        nodes: Iterable[Node] = (),
        current: Iterable[EndpointSlice] = (),
        template: SliceTemplate | None = None,
    ) -> tuple[EndpointGroup, ...]:
        """Return the groups of `decide`. Without Nodes there are no hints."""
        return self.decide(groups, nodes=nodes, current=current, template=template).groups

    def decide(
        self,
        groups: Iterable[EndpointGroup],
        *,
        nodes: Iterable[Node],
        current: Iterable[EndpointSlice] = (),
        template: SliceTemplate | None = None,
    ) -> HintDecision:
        """Hint each ready endpoint to one zone, or none of an address type.

        Args:
            groups: All groups of the owner, in any order. Hints that they have do not count.
            nodes: Nodes in any order; the last of several with one name counts. Those that are
                not ready, or belong to the control plane, do not.
            current: Slices in any order: which hints are given now, and what a change would
                make be written.
            template: What every slice should carry: slices of others do not count, and those
                that lack some of it must be written anyway. By default all slices count.

        Returns:
            The same groups, their endpoints in the same order; those whose hints stay are the
            very objects of `current`.

        Raises:
            DuplicateEndpointError: Two endpoints of one group share a key.

        Complexity: O(n + m log m) for n endpoints and m slices; and O(a log a) for a endpoints
            that need hints.
        """
        groups = tuple(groups)
        cpu, unknown = _cpu_by_zone(nodes)
        by_type: dict[AddressType, list[int]] = {}
        for number, group in enumerate(groups):
            by_type.setdefault(group.key.address_type, []).append(number)
        slices = _slices_by_type(current, template)
        result = list(groups)
        fallbacks = []
        for kind in sorted(by_type):
            numbers = by_type[kind]
            numbers.sort(key=lambda number: groups[number].key.sort_key)
            ours = [groups[number] for number in numbers]
            hinted: Sequence[EndpointGroup] | _Refusal
            if unknown:
                hinted = _Refusal(HintFallbackReason.INSUFFICIENT_NODE_INFO, unknown)
            else:
                hinted = self._spread(ours, slices.get(kind, ()), template, cpu)
            if isinstance(hinted, _Refusal):
                fallbacks.append(
                    HintFallback(
                        reason=hinted.reason,
                        value="Auto",
                        address_type=kind,
                        detail=hinted.detail,
                    )
                )
                hinted = NoHints().assign(ours)
            for number, group in zip(numbers, hinted, strict=True):
                result[number] = group
        return HintDecision(groups=tuple(result), fallbacks=tuple(fallbacks))

    def _spread(
        self,
        groups: Sequence[EndpointGroup],
        slices: Sequence[EndpointSlice],
        template: SliceTemplate | None,
        cpu: Mapping[str, int],
    ) -> Sequence[EndpointGroup] | _Refusal:
        """Give the endpoints of one address type their hints, or say why not."""
        board = _Board(groups, cpu)
        board.read(slices, template, sticky=self.sticky)
        number = board.ready_count
        figures = f"{number} endpoints, {len(cpu)} zones"
        if number < len(cpu):
            return _Refusal(HintFallbackReason.INSUFFICIENT_NUMBER_OF_ENDPOINTS, figures)
        least = _least_by_zone(cpu, number, _OVERLOAD)
        if least is None and self.hysteresis and _has_zone_hints(slices):
            least = _least_by_zone(cpu, number, _OVERLOAD_TO_KEEP)
        if least is None:
            return _Refusal(HintFallbackReason.MIN_ALLOCATION_EXCEEDS_OVERLOAD_THRESHOLD, figures)
        if not self.sticky:
            board.open_crowded(least)
        if board.without_zone:
            detail = f"endpoint {min(board.without_zone)} is in no zone"
            return _Refusal(HintFallbackReason.NO_ZONE_SPECIFIED, detail)
        if self.sticky:
            board.spread_new(least)
            board.relieve(least)
        else:
            board.spread_new(least)
        board.finish()
        return board.groups(groups)


@attrs.frozen
class _Refusal:
    """Why the endpoints of an address type have no hints."""

    reason: HintFallbackReason
    detail: str


_NOWHERE: Final = repeat(-1)
_hints_of: Final[Callable[[Endpoint], EndpointHints]] = attrgetter("hints")


def _cpu_by_zone(nodes: Iterable[Node]) -> tuple[dict[str, int], str]:
    """Allocatable milli-CPUs of each zone, by name; or what is not known of the Nodes.

    Source: k8s.io/endpointslice topologycache/topologycache.go, SetNodes.
    """
    by_name = {node.metadata.name: node for node in nodes}
    cpu: dict[str, int] = {}
    for name in sorted(by_name):
        node = by_name[name]
        if not node.ready or not node.metadata.labels.keys().isdisjoint(_EXCLUDING_LABELS):
            continue
        if node.zone is None:
            return {}, f"Node {name} is in no zone"
        if not node.allocatable_cpu:
            return {}, f"Node {name} has no allocatable CPU"
        cpu[node.zone] = cpu.get(node.zone, 0) + node.allocatable_cpu
    if len(cpu) < 2:
        return {}, f"all ready Nodes are in zone {next(iter(cpu))}" if cpu else "no Node is ready"
    return dict(sorted(cpu.items())), ""


def _least_by_zone(cpu: Mapping[str, int], count: int, overload: Fraction) -> dict[str, int] | None:
    """The fewest endpoints that keep each zone within the overload; None if there are too few.

    Source: k8s.io/endpointslice topologycache/topologycache.go, getAllocations.
    """
    capacity = sum(cpu.values()) * (1 + overload)
    least = {zone: ceil(count * share / capacity) for zone, share in cpu.items()}
    return least if sum(least.values()) <= count else None


def _slices_by_type(
    current: Iterable[EndpointSlice], template: SliceTemplate | None
) -> dict[AddressType, list[EndpointSlice]]:
    """The slices that count, by name."""
    found: dict[AddressType, list[EndpointSlice]] = {}
    for stored in current:
        if template is None or (
            is_visible(stored.metadata, template.metadata)
            and not is_stale(stored.metadata, template.metadata)
        ):
            found.setdefault(stored.address_type, []).append(stored)
    for slices in found.values():
        slices.sort(key=lambda stored: stored.name)
    return found


def _has_zone_hints(slices: Iterable[EndpointSlice]) -> bool:
    return any(endpoint.hints.for_zones for stored in slices for endpoint in stored.endpoints)


@attrs.frozen
class _CleanSlice:
    """A slice that need not be written if its hints stay.

    Attributes:
        stored: The slice.
        places: Where its endpoints stand on the board.
        wanted: These endpoints, as they are desired.
        counts: How many hints it has for each zone.
    """

    stored: EndpointSlice
    places: Sequence[int]
    wanted: Sequence[Endpoint]
    counts: Mapping[str, int]


class _Board:
    """The endpoints of one address type, each in a numbered place, and which zones they are for.

    Args:
        groups: All groups of the type, in canonical order.
        cpu: Milli-CPUs of each zone, by name.

    Attributes:
        cpu: As given.
        ready_count: How many endpoints are ready.
        without_zone: Addresses of those among them that are in no zone, and in no clean slice.
    """

    def __init__(self, groups: Sequence[EndpointGroup], cpu: Mapping[str, int]) -> None:
        self.cpu = cpu
        self.ready_count = 0
        self.without_zone: list[str] = []
        #: As they are desired; in the end with their hints.
        self._endpoints: list[Endpoint] = []
        #: Where those of each group are that have not been found in a slice.
        self._left: dict[GroupKey, dict[EndpointKey, int]] = {}
        for group in groups:
            first = len(self._endpoints)
            self._endpoints += group.endpoints
            left = self._left.setdefault(group.key, {})
            left.update(zip(map(_key_of, group.endpoints), count(first)))
        if sum(map(len, self._left.values())) < len(self._endpoints):
            sizes: Counter[GroupKey] = Counter()
            for group in groups:
                sizes[group.key] += len(group.endpoints)
            doubled = min(sizes, key=lambda key: len(self._left[key]) - sizes[key])
            same = (group.endpoints for group in groups if group.key == doubled)
            index_endpoints(tuple(chain.from_iterable(same)))  # which refuses them
        #: How many hints each zone has.
        self._counts = dict.fromkeys(cpu, 0)
        self._clean: list[_CleanSlice] = []
        #: By the zone that they are for: endpoints with a hint in a slice that is written anyway,
        #: and those without.
        self._loose: dict[str, list[int]] = {}
        self._new: dict[str, list[int]] = {}
        #: What has a hint that could stay, and gets another.
        self._moved: dict[int, str] = {}
        #: How endpoints are stored in slices that are written anyway, if it is as desired but for
        #: the hints.
        self._stored: dict[int, Endpoint] = {}
        #: Hints for one zone that has Nodes, by the id of the object: many endpoints share one.
        self._zone_of: dict[int, str] = {}

    def groups(self, groups: Iterable[EndpointGroup]) -> list[EndpointGroup]:
        """The groups that the board was made of, with their endpoints as they are now."""
        rest = iter(self._endpoints)
        return [
            _make_group(group.key, tuple(islice(rest, len(group.endpoints)))) for group in groups
        ]

    # --- what there is

    def read(
        self, slices: Sequence[EndpointSlice], template: SliceTemplate | None, *, sticky: bool
    ) -> None:
        """See where endpoints are stored, and with what hints."""
        gone = []
        for stored in slices:
            left = self._left.get(stored.group_key)
            if left is None:
                gone.append(stored)
                continue
            places = tuple(map(left.pop, stored.keys, _NOWHERE))
            is_dirty = template is not None and metadata_reasons(stored.metadata, template)
            if is_dirty or not self._read_clean(stored, places):
                self._read_dirty(stored, places, sticky=sticky)
        for stored in gone:
            # Another group may want its endpoints, with other ports.
            for left in self._left.values():
                places = tuple(map(left.pop, stored.keys, _NOWHERE))
                self._read_dirty(stored, places, sticky=sticky)
        for left in self._left.values():
            self._read_new(left.values())

    def _read_clean(self, stored: EndpointSlice, places: Sequence[int]) -> bool:
        """Take up a slice, unless it must be written."""
        if -1 in places:
            return False
        endpoints = self._endpoints
        wanted = tuple(map(endpoints.__getitem__, places))
        if not _same_but_hints(wanted, stored.endpoints) and not all(
            map(differs_in_hints_only, wanted, stored.endpoints)
        ):
            return False
        ready: Sequence[Endpoint] = stored.endpoints
        if stored.volatile_count:
            ready = [endpoint for endpoint in ready if endpoint.conditions.ready]
        if len(ready) < len(wanted) and any(
            endpoint.hints for endpoint in stored.endpoints if not endpoint.conditions.ready
        ):
            return False
        counts = self._count_hints(ready)
        if counts is None:
            return False
        for i, endpoint in zip(places, stored.endpoints, strict=True):
            endpoints[i] = endpoint
        for zone, number in counts.items():
            self._counts[zone] = self._counts.get(zone, 0) + number
        self.ready_count += len(ready)
        self._clean.append(_CleanSlice(stored, places, wanted, counts))
        return True

    def _count_hints(self, ready: Iterable[Endpoint]) -> dict[str, int] | None:
        """How many hints there are for each zone; None if one of them cannot stay."""
        codes = Counter(map(id, map(_hints_of, ready)))
        counts: dict[str, int] = {}
        if codes.keys() <= self._zone_of.keys():
            for code, number in codes.items():
                zone = self._zone_of[code]
                counts[zone] = counts.get(zone, 0) + number
            return counts
        for endpoint in ready:
            kept = self._kept_zone(endpoint.hints, endpoint.zone)
            if kept is None:
                return None
            counts[kept] = counts.get(kept, 0) + 1
        return counts

    def _kept_zone(self, hints: EndpointHints, home: str | None) -> str | None:
        """The zone that an endpoint is for, if it is one that has Nodes, or its own."""
        if len(hints.for_zones) != 1 or hints.for_nodes:
            return None
        (zone,) = hints.for_zones
        if zone in self.cpu:
            self._zone_of[id(hints)] = zone
            return zone
        return zone if zone == home else None

    def _read_dirty(self, stored: EndpointSlice, places: Sequence[int], *, sticky: bool) -> None:
        """Take up a slice that must be written: what is wanted of it."""
        new = []
        for i, endpoint in zip(places, stored.endpoints, strict=True):
            if i < 0:
                continue
            want = self._endpoints[i]
            if differs_in_hints_only(want, endpoint):
                self._stored[i] = endpoint
            zone = None
            if sticky and want.conditions.ready:
                hints = endpoint.hints
                zone = self._zone_of.get(id(hints)) or self._kept_zone(hints, want.zone)
            if zone is None:
                new.append(i)
                continue
            if not want.zone:
                self.without_zone.append(want.addresses[0])
            self._loose.setdefault(zone, []).append(i)
            self._counts[zone] = self._counts.get(zone, 0) + 1
            self.ready_count += 1
        self._read_new(new)

    def _read_new(self, places: Iterable[int]) -> None:
        """Endpoints without hints that they could keep are for their own zones at first."""
        endpoints = self._endpoints
        found: dict[str | None, list[int]] = {}
        for i in places:
            endpoint = endpoints[i]
            if endpoint.conditions.ready:
                found.setdefault(endpoint.zone, []).append(i)
            else:
                self._hint(i, NO_HINTS)
        for zone, some in found.items():
            self.ready_count += len(some)
            if zone:
                self._new.setdefault(zone, []).extend(some)
                self._counts[zone] = self._counts.get(zone, 0) + len(some)
            else:
                self.without_zone += [endpoints[i].addresses[0] for i in some]

    # --- what should be

    def open_crowded(self, least: Mapping[str, int]) -> None:
        """Give all endpoints of a slice hints anew if it leaves too few for other zones.

        Source: k8s.io/endpointslice topologycache/sliceinfo.go, getAllocatedHintsByZone.
        """
        spare = self.ready_count - sum(least.values())
        room = {zone: number + spare for zone, number in least.items()}
        for found in self._clean:
            if all(some <= room.get(zone, some) for zone, some in found.counts.items()):
                for zone, some in found.counts.items():
                    room[zone] = room.get(zone, some) - some
                continue
            for zone, some in found.counts.items():
                self._counts[zone] -= some
                self.ready_count -= some
            for i, want in zip(found.places, found.wanted, strict=True):
                self._endpoints[i] = want
            self._read_dirty(found.stored, found.places, sticky=False)

    def spread_new(self, least: Mapping[str, int]) -> None:
        """Give endpoints that are new to zones which have less than their share.

        One after another, each of the zone that has most too many for the one that has most too
        few, until what is too many or too few is less than half an endpoint, or both less than a
        whole one. Ties go to the lower name.

        Source: k8s.io/endpointslice topologycache/utils.go, getGivingAndReceivingZones.
        """
        total = sum(self.cpu.values())  # so many parts has an endpoint
        over = {
            zone: self._counts[zone] * total - max(self.ready_count * share, least[zone] * total)
            for zone, share in self.cpu.items()
        }
        new = {zone: len(self._new.get(zone, ())) for zone in over}
        givers = _Queue({zone: part for zone, part in over.items() if part > 0}, total, new)
        takers = _Queue({zone: -part for zone, part in over.items() if part < 0}, total)
        number = min(givers.halves, takers.halves, max(givers.wholes, takers.wholes))
        given: list[int] = []
        for zone, some in givers.first(number).items():
            places = sorted(self._new[zone], key=self._in_order)
            given += places[:some]
            self._new[zone] = places[some:]
            self._counts[zone] -= some
        rest = iter(given)
        for zone, some in takers.first(number).items():
            self._new.setdefault(zone, []).extend(islice(rest, some))
            self._counts[zone] += some

    def _in_order(self, i: int) -> tuple[EndpointKey, int]:
        """By identity, so that the order of the input does not matter."""
        return self._endpoints[i].key, i

    def relieve(self, least: Mapping[str, int]) -> None:
        """Give every zone the fewest that it needs, at the cost of as few writes as can be."""
        needs = {
            zone: number - self._counts[zone]
            for zone, number in least.items()
            if self._counts[zone] < number
        }
        spare = {
            zone: number - least.get(zone, 0)
            for zone, number in self._counts.items()
            if number > least.get(zone, 0)
        }
        if needs:
            self._move(self._new, spare, needs)
            self._move(self._loose, spare, needs)
            self._open_fewest(spare, needs)

    def _open_fewest(self, spare: dict[str, int], needs: dict[str, int]) -> None:
        """Take hints from clean slices, always the one that has most of what is looked for."""

        def use(found: _CleanSlice) -> int:
            useful = sum(min(spare.get(zone, 0), some) for zone, some in found.counts.items())
            return min(useful, sum(needs.values()))

        # What a slice is of use for only shrinks, so few are looked at again.
        heap = [(-use(found), number) for number, found in enumerate(self._clean)]
        heapify(heap)
        while needs:
            number = heap[0][1]
            found = self._clean[number]
            now = (-use(found), number)
            if now != heap[0]:
                heapreplace(heap, now)
                continue
            heappop(heap)
            opened: dict[str, list[int]] = {}
            for i, want, endpoint in zip(
                found.places, found.wanted, found.stored.endpoints, strict=True
            ):
                if endpoint.conditions.ready:
                    self._endpoints[i] = want
                    self._stored[i] = endpoint
                    opened.setdefault(endpoint.hints.for_zones[0], []).append(i)
            self._move(opened, spare, needs)
            for zone, places in opened.items():
                self._loose.setdefault(zone, []).extend(places)

    def _move(
        self, pool: Mapping[str, list[int]], spare: dict[str, int], needs: dict[str, int]
    ) -> None:
        """Give hints that zones can spare to zones in need.

        First those of endpoints at home in a zone in need, then of those that are not at home in
        the zone that they are for, then any: to the zone most in need.
        """
        found = []
        for hint, places in pool.items():
            for i in places if hint in spare else ():
                home = self._endpoints[i].zone
                rank = 0 if home in needs else 1 if home != hint else 2
                found.append((rank, *self._in_order(i), hint, home))
        for _, _, i, hint, home in sorted(found):
            if not needs:
                return
            if not spare[hint]:
                continue
            zone = home if home in needs else max(needs, key=needs.__getitem__)
            self._moved[i] = zone
            spare[hint] -= 1
            needs[zone] -= 1
            if not needs[zone]:
                del needs[zone]

    def finish(self) -> None:
        """Put the hints on the endpoints. Where they stay, the stored ones are taken."""
        shared = {zone: EndpointHints(for_zones=(zone,)) for zone in self._counts}
        for pool in (self._new, self._loose):
            for zone, places in pool.items():
                hints = shared[zone]
                for i in places:
                    self._hint(i, shared[self._moved[i]] if i in self._moved else hints)

    def _hint(self, i: int, hints: EndpointHints) -> None:
        want = self._endpoints[i]
        stored = self._stored.get(i)
        if stored is not None and stored.hints._code == hints._code:
            self._endpoints[i] = stored
        elif want.hints._code != hints._code:
            self._endpoints[i] = want.with_hints(hints)


@final
class _Queue:
    """Zones that stand in line with what they have too many or too few of, the most in front.

    Whoever is served has one less, and stands in line again. In closed form, for there may be
    100,000 to be served.

    Args:
        parts: How much each zone has, in parts of an endpoint.
        whole: How many parts make an endpoint.
        limits: How many times a zone can be served; by default as often as its turn comes.

    Attributes:
        wholes: How many are served before all that is left is less than a whole endpoint.
        halves: How many are served before all that is left is less than half of one.
    """

    def __init__(
        self, parts: Mapping[str, int], whole: int, limits: Mapping[str, int] | None = None
    ) -> None:
        self._parts = parts
        self._whole = whole
        self._limits = parts if limits is None else limits  # no zone has more turns than parts
        served = self._down_to(0)
        self.wholes = sum(served.values())
        self.halves = self.wholes + sum(
            2 * (parts[zone] % whole) >= whole and number < self._limits[zone]
            for zone, number in served.items()
        )

    def _down_to(self, level: int) -> dict[str, int]:
        """How often each zone is served before nobody has `level` wholes and one more."""
        return {
            zone: min(self._limits[zone], max(0, part // self._whole - level))
            for zone, part in self._parts.items()
        }

    def first(self, number: int) -> dict[str, int]:
        """How often each zone is among the first `number` that are served."""
        highest = max(self._parts.values(), default=0) // self._whole
        level = bisect_left(
            range(highest), -number, key=lambda level: -sum(self._down_to(level).values())
        )
        served = self._down_to(level)
        left = {zone: part - served[zone] * self._whole for zone, part in self._parts.items()}
        in_line = sorted(
            (zone for zone in left if served[zone] < self._limits[zone]),
            key=lambda zone: (-left[zone], zone),
        )
        for zone in in_line[: number - sum(served.values())]:
            served[zone] += 1
        return {zone: number for zone, number in served.items() if number}


def assign_hints(
    policy: HintPolicy,
    groups: Iterable[EndpointGroup],
    *,
    nodes: Iterable[Node] = (),
    current: Iterable[EndpointSlice] = (),
    template: SliceTemplate | None = None,
) -> HintDecision:
    """Decide hints by any policy, with all that a policy may want to look at.

    Args:
        policy: Of the policies, only `ProportionalZones` looks at more than the groups.
        groups: All groups of the owner, in any order.
        nodes: Nodes in any order.
        current: Slices in any order.
        template: What every slice should carry.

    Returns:
        The groups with their hints, and why some have none.
    """
    if isinstance(policy, ProportionalZones):
        return policy.decide(groups, nodes=nodes, current=current, template=template)
    return HintDecision(groups=policy.assign(groups))


def hint_policy(service: Service) -> tuple[HintPolicy, tuple[HintFallback, ...]]:
    """Return the policy that a Service asks for, and what of its wishes is not known.

    The annotation topology-mode has precedence over trafficDistribution; of its two spellings
    the deprecated one counts, as in the reference.

    Source: k8s.io/endpointslice reconciler.go, reconcileByAddressType; utils.go, hintsEnabled.
    """
    annotations = service.metadata.annotations
    mode = annotations.get(_ANNOTATION_MODE_DEPRECATED, annotations.get(_ANNOTATION_MODE, ""))
    distribution = service.traffic_distribution
    if mode in ("Auto", "auto"):
        return ProportionalZones(), ()
    unknown = []
    if mode not in ("", "Disabled", "disabled"):
        reason = HintFallbackReason.UNKNOWN_TOPOLOGY_MODE
        unknown.append(HintFallback(reason=reason, value=mode))
    policy: HintPolicy = NoHints()
    match distribution:
        case None:
            pass
        case "PreferClose" | "PreferSameZone":
            policy = PreferSameZone()
        case "PreferSameNode":
            policy = PreferSameNode()
        case other:
            reason = HintFallbackReason.UNKNOWN_TRAFFIC_DISTRIBUTION
            unknown.append(HintFallback(reason=reason, value=other))
    return policy, tuple(unknown)
