"""Laws of routing: against slow models, over histories of slices, and while plans are applied."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Final, TypeAlias, TypeVar

import attrs
from hypothesis import example, given
from hypothesis import strategies as st

from endpointslice import (
    ANNOTATION_TRIGGER_TIME,
    LABEL_SERVICE_NAME,
    Backend,
    DeleteSlice,
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    FrozenDict,
    GroupKey,
    ObjectMeta,
    ObjectReference,
    PackingStrategy,
    Plan,
    Selection,
    Service,
    ServicePort,
    ServicePortName,
    SliceCache,
    TrafficPolicy,
    explain,
    merge_slices,
    select_endpoints,
)
from tests.builders import Case, Choices, cases
from tests.test_reconcile_laws import PAST, every_strategy, plan_of

#: Where traffic goes: a port and its number, and an address there.
Spot: TypeAlias = tuple[ServicePortName, int, str]

# --- slow models ------------------------------------------------------------------------------


def spots_of(stored: EndpointSlice) -> list[tuple[ServicePortName, int]]:
    name = stored.metadata.labels.get(LABEL_SERVICE_NAME, "")
    return [
        (
            ServicePortName(
                namespace=stored.metadata.namespace,
                service=name,
                address_type=stored.address_type,
                name=port.name,
                protocol=port.protocol,
            ),
            port.port,
        )
        for port in stored.ports
        if name and port.port is not None
    ]


#: A slice and a position in it.
_Copy: TypeAlias = tuple[EndpointSlice, int]


def merged_slowly(slices: Sequence[EndpointSlice]) -> dict[Spot, Endpoint]:
    """Every copy against every other one."""
    copies: dict[Spot, list[_Copy]] = {}
    for stored in slices:
        for port, number in dict.fromkeys(spots_of(stored)):
            for i, member in enumerate(stored.endpoints):
                copies.setdefault((port, number, member.addresses[0]), []).append((stored, i))
    return {spot: _the_winner(found) for spot, found in copies.items()}


def _the_winner(copies: list[_Copy]) -> Endpoint:
    def member(copy: _Copy) -> Endpoint:
        return copy[0].endpoints[copy[1]]

    def stays(copy: _Copy) -> bool:
        return not member(copy).conditions.terminating

    def is_newer(one: _Copy, other: _Copy) -> bool:
        moments = [(_version(copy[0]), _trigger_time(copy[0])) for copy in (one, other)]
        if moments[0] != moments[1]:
            return moments[0] > moments[1]
        if stays(one) != stays(other):
            return stays(one)
        return one[0].name > other[0].name

    def beats_in_slice(one: _Copy, other: _Copy) -> bool:
        if stays(one) != stays(other):
            return stays(one)
        return (one[1] > other[1]) == stays(one)

    def beats(one: _Copy, other: _Copy) -> bool:
        return is_newer(one, other) if stays(one) == stays(other) else stays(one)

    def same_slice(one: _Copy, other: _Copy) -> bool:
        return one[0] is other[0]

    def same_endpoint(one: _Copy, other: _Copy) -> bool:
        return member(one).key == member(other).key

    def always(one: _Copy, other: _Copy) -> bool:
        return True

    for rivals, wins in (
        (same_slice, beats_in_slice),
        (same_endpoint, is_newer),
        (always, beats),
    ):
        copies = [
            one
            for one in copies
            if not any(
                other is not one and rivals(one, other) and wins(other, one) for other in copies
            )
        ]
    (winner,) = copies
    return member(winner)


def _version(stored: EndpointSlice) -> int:
    version = stored.metadata.resource_version
    return int(version) if version.isdigit() else 0


def _trigger_time(stored: EndpointSlice) -> str:
    return stored.metadata.annotations.get(ANNOTATION_TRIGGER_TIME, "")


def by_spot(cache: SliceCache) -> dict[Spot, Endpoint]:
    return {
        (port, item.port, item.address): item.endpoint
        for port, backends in cache.backends.items()
        for item in backends
    }


def categorized_slowly(
    backends: Sequence[Backend], node: str, zone: str, *, cluster: bool, local: bool
) -> tuple[list[bool] | None, list[bool] | None]:
    """For each endpoint, whether each policy may use it: one question after another."""
    ready = [item for item in backends if item.endpoint.conditions.ready]

    def all_hinted(kind: str, here: str) -> bool:
        hints = [getattr(item.endpoint.hints, kind) for item in ready]
        return bool(hints) and all(hints) and any(here in names for names in hints)

    def in_cluster(item: Backend) -> bool:
        if ready:
            if not item.endpoint.conditions.ready:
                return False
            if all_hinted("for_nodes", node):
                return node in item.endpoint.hints.for_nodes
            if all_hinted("for_zones", zone):
                return zone in item.endpoint.hints.for_zones
            return True
        return item.endpoint.conditions.serving and item.endpoint.conditions.terminating

    def in_local(item: Backend) -> bool:
        if item.endpoint.node_name != node:
            return False
        if any(other.endpoint.node_name == node for other in ready):
            return item.endpoint.conditions.ready
        return item.endpoint.conditions.serving and item.endpoint.conditions.terminating

    return (
        [in_cluster(item) for item in backends] if cluster else None,
        [in_local(item) for item in backends] if local else None,
    )


# --- selecting --------------------------------------------------------------------------------

_NODES: Final = ("n1", "n2", "n3")
_ZONES: Final = ("a", "b")
_PORT: Final = ServicePortName(namespace="shop", service="web", address_type="IPv4", name="http")


def _conditions(choices: Choices) -> EndpointConditions:
    """Every combination, the odd ones too; mostly ready."""
    code = choices.below(12)
    if code > 7:
        return EndpointConditions()
    return EndpointConditions(ready=bool(code & 1), serving=bool(code & 2), terminating=code > 3)


def _hints(choices: Choices, likely: int) -> EndpointHints:
    """Hints that all endpoints of a case are likely to have."""
    odd = choices.below(8) == 7
    kinds = choices.below(4) if odd else likely
    zones = [choices.of(_ZONES) for _ in range(1 + choices.below(2))] if kinds & 1 else []
    nodes = [choices.of(_NODES) for _ in range(1 + choices.below(2))] if kinds & 2 else []
    return EndpointHints(for_zones=zones, for_nodes=nodes)


@attrs.frozen(kw_only=True)
class Question:
    service: Service
    node: str
    zone: str
    backends: tuple[Backend, ...]

    def answer(self) -> Selection:
        return select_endpoints(
            self.service, _PORT, self.backends, node_name=self.node, zone=self.zone
        )


def _question(drawn: bytes) -> Question:
    choices = Choices(drawn)
    policies = (None, "Cluster", "Local")
    likely = choices.below(4)
    return Question(
        service=Service(
            metadata=ObjectMeta(namespace="shop", name="web"),
            ports=(ServicePort(port=80, name="http", node_port=choices.of((None, 30080))),),
            internal_traffic_policy=choices.of(policies),
            external_traffic_policy=choices.of(policies),
        ),
        node=choices.of(_NODES),
        zone=choices.of((*_ZONES, "c", "")),
        backends=tuple(
            Backend(
                f"10.0.0.{i}",
                8080,
                Endpoint(
                    [f"10.0.0.{i}"],
                    _conditions(choices),
                    node_name=choices.of((*_NODES, None)),
                    hints=_hints(choices, likely),
                ),
            )
            for i in range(choices.below(7))
        ),
    )


questions = st.binary(min_size=60, max_size=60).map(_question)


@given(question=questions)
def test_selection_is_what_the_slow_model_of_kube_proxy_says(question: Question) -> None:
    found = question.answer()
    service = question.service
    external = service.ports[0].node_port is not None
    is_local = service.internal_traffic_policy == "Local"
    local = is_local or (external and service.external_traffic_policy == "Local")
    model = categorized_slowly(
        question.backends,
        question.node,
        question.zone,
        cluster=external or not is_local,
        local=local,
    )
    both = set()
    for part, said in zip((found.cluster, found.local), model, strict=True):
        if said is None:
            assert part is None
        else:
            wanted = [item for item, used in zip(question.backends, said, strict=True) if used]
            assert part == tuple(wanted)
            both.update(wanted)
    assert found.reachable == tuple(item for item in question.backends if item in both)


@given(question=questions)
def test_no_endpoint_is_used_that_is_neither_ready_nor_the_last_resort(question: Question) -> None:
    found = question.answer()
    known = question.backends
    on_node = [item for item in known if item.endpoint.node_name == question.node]
    for part, candidates in ((found.cluster, known), (found.local, on_node)):
        conditions = [item.endpoint.conditions for item in part or ()]
        if any(item.endpoint.conditions.ready for item in candidates):
            assert all(item.ready for item in conditions)
            # Where somebody is ready, somebody is used.
            assert part is None or conditions
        else:
            assert all(item.serving and item.terminating for item in conditions)


@given(question=questions)
def test_an_endpoint_is_used_or_has_a_reason(question: Question) -> None:
    found = question.answer()
    for policy, part in (
        (TrafficPolicy.CLUSTER, found.cluster),
        (TrafficPolicy.LOCAL, found.local),
    ):
        if part is not None:
            unused = explain(found, policy)
            assert sorted(map(str, (*part, *(item.backend for item in unused)))) == sorted(
                map(str, question.backends)
            )


# --- histories of slices ----------------------------------------------------------------------

_PORTS: Final = (
    (EndpointPort(port=80, name="http"),),
    (EndpointPort(port=81, name="http"),),
    (EndpointPort(port=80, name="http"), EndpointPort(port=90, name="metrics")),
    (),
    (EndpointPort(port=None, name="http"),),
)
_TIMES: Final = ("", "2026-07-01T00:00:00Z", "2026-07-01T00:00:01Z")
_VERSIONS: Final = ("", "odd", "9", "10", "11", "12")


def _slice(choices: Choices) -> EndpointSlice:
    """One of a few slices, with some of a few endpoints, at any moment."""
    name, namespace = choices.of("abcd"), choices.of(("shop", "shop", "test"))
    service = choices.of(("web", "web", "web", "db", ""))
    time = choices.of(_TIMES)
    kind = choices.below(4) == 3
    members = []
    for _ in range(choices.below(5)):
        number, pod = choices.below(4), choices.below(3)
        members.append(
            Endpoint(
                [f"fd00::{number + 1}" if kind else f"10.0.0.{number}"],
                _conditions(choices),
                node_name=choices.of(_NODES),
                target_ref=ObjectReference("Pod", "shop", f"web-{pod}") if pod else None,
            )
        )
    return EndpointSlice(
        metadata=ObjectMeta(
            namespace=namespace,
            name=name,
            resource_version=choices.of(_VERSIONS),
            labels=FrozenDict({LABEL_SERVICE_NAME: service} if service else {}),
            annotations=FrozenDict({ANNOTATION_TRIGGER_TIME: time} if time else {}),
        ),
        address_type="IPv6" if kind else "IPv4",
        ports=choices.of(_PORTS),
        endpoints=members,
    )


_Event: TypeAlias = tuple[int, EndpointSlice]


def _history(drawn: bytes) -> list[_Event]:
    parts = (Choices(drawn[i : i + 40]) for i in range(0, len(drawn), 40))
    return [(choices.below(6), _slice(choices)) for choices in parts]


def program(programmed: dict[Spot, Endpoint], cache: SliceCache) -> None:
    """What a proxy does with a change; each part fits what it knows."""
    for change in cache.take_changes():
        assert change.added or change.changed or change.removed
        for part in (change.added, change.removed, [old for old, _ in change.changed]):
            assert list(part) == sorted(part, key=lambda item: (item.address, item.port))
        for item in change.removed:
            assert programmed.pop((change.port, item.port, item.address)) == item.endpoint
        for old, new in change.changed:
            spot = (change.port, new.port, new.address)
            assert programmed[spot] == old.endpoint != new.endpoint
            programmed[spot] = new.endpoint
        for item in change.added:
            spot = (change.port, item.port, item.address)
            assert spot not in programmed
            programmed[spot] = item.endpoint


def left_over(cache: SliceCache) -> object:
    """What it keeps for places: nothing of the past may stay there."""
    contested = {place: sorted(addresses) for place, addresses in cache._contested.items()}
    return contested, {place: sorted(index) for place, index in cache._index.items()}


@given(drawn=st.integers(0, 8).flatmap(lambda n: st.binary(min_size=40 * n, max_size=40 * n)))
def test_a_cache_is_after_any_events_what_is_built_from_scratch(drawn: bytes) -> None:
    cache, programmed = SliceCache(), dict[Spot, Endpoint]()
    standing: dict[tuple[str, str], EndpointSlice] = {}
    for kind, stored in _history(drawn):
        name = (stored.metadata.namespace, stored.name)
        if kind == 5:
            cache.delete(*name)
            standing.pop(name, None)
        else:
            cache.update(stored)
            standing[name] = stored
        if kind > 2:
            program(programmed, cache)
        now = list(standing.values())
        assert cache.slices == tuple(standing[name] for name in sorted(standing))
        assert by_spot(cache) == merged_slowly(now)
        assert cache.backends == merge_slices(reversed(now)) == SliceCache(now).backends
        assert list(cache.backends) == list(merge_slices(now))
        assert left_over(cache) == left_over(SliceCache(now))
    program(programmed, cache)
    assert programmed == by_spot(cache)


# --- while plans are applied ------------------------------------------------------------------


class Server:
    """Slices as an API server has them: each write gets the next version."""

    def __init__(self, slices: Iterable[EndpointSlice], choices: Choices) -> None:
        self.slices = {(item.metadata.namespace, item.name): item for item in slices}
        self.writes = 0
        left = list(self.slices)
        while left:
            self._store(self.slices[choices.out_of(left)])

    def _store(self, stored: EndpointSlice) -> EndpointSlice:
        self.writes += 1
        name = stored.name or f"new-{self.writes}"
        meta = attrs.evolve(stored.metadata, name=name, resource_version=str(self.writes + 8))
        stored = attrs.evolve(stored, metadata=meta)
        self.slices[meta.namespace, name] = stored
        return stored

    def apply(self, plan: Plan, cache: SliceCache, most: int = 999) -> Iterable[None]:
        """Carry out a plan operation by operation, and show each to a cache."""
        for operation in plan.operations[:most]:
            if isinstance(operation, DeleteSlice):
                meta = operation.before.metadata
                del self.slices[meta.namespace, meta.name]
                cache.delete(meta.namespace, meta.name)
            else:
                cache.update(self._store(operation.after))
            yield


def watched_spots(case: Case) -> dict[Spot, Endpoint]:
    """Where endpoints are that are there before and after, with what is wanted there.

    Whoever stands in two groups that share a port is two backends that are one to a consumer:
    which of them counts is not for a plan to say.
    """
    held: dict[Spot, set[GroupKey]] = {}
    before: set[tuple[GroupKey, str]] = set()
    for stored in case.current:
        for member in stored.endpoints:
            for port, number in spots_of(stored):
                held.setdefault((port, number, member.addresses[0]), set()).add(stored.group_key)
    for stored in case.ours:
        before.update((stored.group_key, member.key) for member in stored.endpoints)
    found = {}
    for asked in case.desired:
        shape = EndpointSlice(
            metadata=case.template.metadata,
            address_type=asked.key.address_type,
            ports=asked.key.ports,
        )
        for member in asked.endpoints:
            for port, number in spots_of(shape):
                spot = (port, number, member.addresses[0])
                held.setdefault(spot, set()).add(asked.key)
                if (asked.key, member.key) in before:
                    found[spot] = member
    return {spot: member for spot, member in found.items() if len(held[spot]) == 1}


def check_no_flicker(
    case: Case, strategy: PackingStrategy, server: Server, most: int = 999
) -> None:
    """Apply a plan, or its first operations, and look at every moment.

    An endpoint that stays is always there, as it was or as it is wanted, and once it is seen to
    become as wanted it stays so. It changes once at most where one copy at most is not as wanted.
    That is so unless a plan breaks off, and is made again after the endpoint has changed once
    more: of two wrong copies the newer can be dropped before the older is put right.
    """
    case = attrs.evolve(case, current=tuple(server.slices.values()))
    watched = watched_spots(case)
    copies: dict[Spot, list[Endpoint]] = {}
    for stored in case.current:
        for port, number in spots_of(stored):
            for member in stored.endpoints:
                copies.setdefault((port, number, member.addresses[0]), []).append(member)
    cache, programmed = SliceCache(case.current), dict[Spot, Endpoint]()
    program(programmed, cache)
    moments = [dict(programmed)]
    for _ in server.apply(plan_of(case, strategy), cache, most):
        program(programmed, cache)
        assert programmed == by_spot(SliceCache(server.slices.values()))
        moments.append(dict(programmed))
    for spot, wanted in watched.items():
        seen = [moment[spot] for moment in moments]  # never gone
        assert all(item in (*copies[spot], wanted) for item in seen)
        wrong = sum(item != wanted for item in copies[spot])
        if len(copies[spot]) <= 2 and wrong <= 1:
            assert sum(one != other for one, other in pairwise(seen)) <= 1
        if wanted in seen[1:] and seen[0] != wanted:
            assert all(item == wanted for item in seen[seen.index(wanted) :])


_orders = st.binary(min_size=12, max_size=12)
_Law = TypeVar("_Law", bound=Callable[..., None])


def past_counterexamples(law: _Law) -> _Law:
    """Try every counterexample of the past to laws of plans."""
    for case in PAST:
        law = example(case=case, order=b"")(law)
    return law


@every_strategy
@given(case=cases(), order=_orders)
@past_counterexamples
def test_what_stays_never_flickers_while_a_plan_is_applied(
    strategy: PackingStrategy, case: Case, order: bytes
) -> None:
    check_no_flicker(case, strategy, Server(case.current, Choices(order)))


@every_strategy
@given(case=cases(max_groups=2), other=cases(max_groups=2), order=_orders)
def test_what_stays_never_flickers_when_plans_break_off_and_are_made_again(
    strategy: PackingStrategy, case: Case, other: Case, order: bytes
) -> None:
    """Each prefix of a plan leaves duplicates, and the next plan begins with them."""
    choices = Choices(order)
    server = Server(case.current, choices)
    for desired in (case.desired, other.desired, case.desired, case.desired):
        again = attrs.evolve(case, desired=desired)
        check_no_flicker(again, strategy, server, choices.below(4))
