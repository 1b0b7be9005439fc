"""What is timed: cases, each of one or more things that answer the same question.

A case names its things and says how to make each for n endpoints; a seed makes another Service of
that size, which shares nothing with the first. What an older revision of the package does not
have raises ImportError when it is made, so that one process can be asked for what another lacks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from itertools import count, cycle
from random import Random
from typing import TYPE_CHECKING, Any, Final

import attrs

from benchmarks.naive import NaivePlan, naive_reconcile
from benchmarks.scenarios import (
    CAPACITY,
    PORTS,
    SERVICES,
    SMALL,
    Dicts,
    Kind,
    Left,
    Order,
    Population,
    Scenario,
    Some,
    build,
    build_dicts,
    group,
    pods_and_nodes,
    service,
    slice_manifest,
    slice_texts,
    some,
    standing,
    take_over,
    template,
)
from endpointslice import (
    Endpoint,
    EndpointGroup,
    KubernetesPacking,
    MinimalWrites,
    PackingStrategy,
    Plan,
    apply_plan,
    decode_slice,
    encode_slice,
    group_endpoints,
    reconcile,
    reconcile_service,
    select_pods,
)
from endpointslice.reconcile import DEFAULT_STRATEGY

if TYPE_CHECKING:
    from endpointslice import IncrementalReconciler

__all__ = [
    "APPLY",
    "CASES",
    "DECODE",
    "DOORS",
    "RECONCILE",
    "STRATEGIES",
    "TAKE_OVER",
    "WHOLE",
    "Case",
    "Thing",
    "index",
    "run_naive",
    "run_reconcile",
]

Thing = Callable[[], object]

STRATEGIES: Final[dict[str, PackingStrategy]] = {
    "default": DEFAULT_STRATEGY,
    "MinimalWrites": MinimalWrites(),
    "KubernetesPacking": KubernetesPacking(),
}


@attrs.frozen
class Case:
    """Things that answer one question.

    Attributes:
        title: What it is about.
        things: By name, what makes each for n endpoints and a seed.
        changes: How many changes one call is told.
    """

    title: str
    things: Mapping[str, Callable[[int, int], Thing]]
    changes: int = 1


# --- reconcile --------------------------------------------------------------------------------


def run_reconcile(
    scenario: Scenario,
    strategy: PackingStrategy = STRATEGIES["KubernetesPacking"],
    capacity: int = CAPACITY,
) -> Plan:
    """Plan a scenario with the library, as the reference packs unless told otherwise."""
    return reconcile(
        scenario.desired,
        scenario.current,
        template=scenario.template,
        strategy=strategy,
        max_endpoints_per_slice=capacity,
    )


def _naive_template() -> dict[str, Any]:
    meta = slice_manifest("", ())["metadata"]
    wanted = ("namespace", "generateName", "labels", "ownerReferences")
    return {name: meta[name] for name in wanted}


_NAIVE_TEMPLATE: Final = _naive_template()


def run_naive(dicts: Dicts, *, ordered: bool = True) -> NaivePlan:
    """Plan a scenario the naive way."""
    return naive_reconcile(
        dicts.desired,
        dicts.current,
        template=_NAIVE_TEMPLATE,
        address_type="IPv4",
        ports=PORTS,
        capacity=CAPACITY,
        ordered=ordered,
    )


_scenario = lru_cache(maxsize=1)(build)
_dicts = lru_cache(maxsize=1)(build_dicts)


def _reconcile_case(kind: Kind, order: Order) -> Case:
    def floor(n: int, seed: int) -> Thing:
        endpoints = _scenario(kind, n, order, seed=seed).endpoints
        return lambda: {endpoint.key: endpoint for endpoint in endpoints}

    def naive(n: int, seed: int) -> Thing:
        dicts = _dicts(kind, n, order)
        return lambda: run_naive(dicts)

    def unordered(n: int, seed: int) -> Thing:
        dicts = _dicts(kind, n, order)
        return lambda: run_naive(dicts, ordered=False)

    def with_strategy(strategy: PackingStrategy) -> Callable[[int, int], Thing]:
        def ours(n: int, seed: int) -> Thing:
            scenario = _scenario(kind, n, order, seed=seed)
            return lambda: run_reconcile(scenario, strategy)

        return ours

    return Case(
        f"{kind}, {order}",
        {
            "floor": floor,
            "naive": naive,
            "unordered": unordered,
            **{name: with_strategy(strategy) for name, strategy in STRATEGIES.items()},
        },
    )


RECONCILE: Final = {(kind, order): _reconcile_case(kind, order) for kind in Kind for order in Order}


def _take_over_case(left: Left) -> Case:
    def with_strategy(strategy: PackingStrategy) -> Callable[[int, int], Thing]:
        def ours(n: int, seed: int) -> Thing:
            scenario = take_over(left, n, seed=seed)
            return lambda: run_reconcile(scenario, strategy, SMALL)

        return ours

    return Case(
        f"taken over, {left}",
        {name: with_strategy(strategy) for name, strategy in STRATEGIES.items()},
    )


TAKE_OVER: Final = [_take_over_case(left) for left in Left]


# --- the doors --------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _texts(n: int, seed: int) -> list[str]:
    return list(slice_texts(Population(Random(seed), max(1, n // 30)).rows(n)))


@lru_cache(maxsize=1)
def _manifests(n: int, seed: int) -> list[dict[str, Any]]:
    return list(map(json.loads, _texts(n, seed)))


def _json_alone(n: int, seed: int) -> Thing:
    texts = _texts(n, seed)
    return lambda: list(map(json.loads, texts))


def _decode_each(n: int, seed: int) -> Thing:
    manifests = _manifests(n, seed)
    return lambda: list(map(decode_slice, manifests))


def _decode_bulk(n: int, seed: int) -> Thing:
    from endpointslice import decode_slices

    manifests = _manifests(n, seed)
    return lambda: decode_slices(manifests)


def _decode_text(n: int, seed: int) -> Thing:
    from endpointslice import decode_slices

    texts = _texts(n, seed)
    return lambda: decode_slices(map(json.loads, texts))


def _official_client(n: int, seed: int) -> Thing:
    client = import_module("kubernetes.client").ApiClient()
    texts = _texts(n, seed)

    def deserialize() -> list[object]:
        return [client.deserialize(text, "V1EndpointSlice", "application/json") for text in texts]

    return deserialize


def _encode(n: int, seed: int) -> Thing:
    slices = standing(n, seed)
    return lambda: list(map(encode_slice, slices))


def _encode_bulk(n: int, seed: int) -> Thing:
    from endpointslice import encode_slices

    slices = standing(n, seed)
    return lambda: encode_slices(slices)


def _decode_pods(n: int, seed: int) -> Thing:
    from endpointslice import decode_pods

    population = Population(Random(seed), max(1, n // 30))
    manifests = [json.loads(json.dumps(row.pod_manifest())) for row in population.rows(n)]
    return lambda: decode_pods(manifests)


def _group(n: int, seed: int) -> Thing:
    pods, nodes = pods_and_nodes(n, seed)
    owner = service()
    return lambda: group_endpoints(owner, select_pods(owner, pods), nodes)


def _service_cold(n: int, seed: int) -> Thing:
    pods, nodes = pods_and_nodes(n, seed)
    owner = service()
    return lambda: reconcile_service(owner, pods, nodes, ())


DECODE: Final = Case(
    "decode",
    {
        "json.loads alone": _json_alone,
        "decode_slice, one by one, from dicts": _decode_each,
        "decode_slices, from dicts": _decode_bulk,
        "decode_slices, from JSON text": _decode_text,
        "the official client, from JSON text": _official_client,
    },
)
DOORS: Final = [
    Case("encode_slice, one by one", {"default": _encode}),
    Case("encode_slices", {"default": _encode_bulk}),
    Case("decode_pods", {"default": _decode_pods}),
    Case("group_endpoints", {"default": _group}),
    Case("reconcile_service, cold", {"default": _service_cold}),
]


# --- incremental ------------------------------------------------------------------------------

#: How many endpoints change before the first comes again. A strategy may gather what changed, and
#: the next change of the same endpoints costs less.
_PREPARED: Final = 5_000
#: What `apply` is told: upserted and removed.
_Change = tuple[Sequence[EndpointGroup], Sequence[EndpointGroup]]


def index(n: int, seed: int, strategy: PackingStrategy) -> IncrementalReconciler:
    """Return an index over the slices that stand."""
    from endpointslice import IncrementalReconciler

    return IncrementalReconciler(
        standing(n, seed),
        template=template(),
        strategy=strategy,
        max_endpoints_per_slice=CAPACITY,
    )


@lru_cache(maxsize=SERVICES)
def _some(n: int, seed: int) -> Some:
    return some(n, min(n, _PREPARED), seed=seed)


def _flips(chosen: Some, i: int, j: int) -> Iterator[_Change]:
    yield [group(chosen.unready[i:j])], []
    yield [group(chosen.equal[i:j])], []


def _replacements(chosen: Some, i: int, j: int) -> Iterator[_Change]:
    yield [group(chosen.new[i:j])], [group(chosen.stand[i:j])]
    yield [group(chosen.equal[i:j])], [group(chosen.new[i:j])]


def _repeats(chosen: Some, i: int, j: int) -> Iterator[_Change]:
    yield [group(chosen.equal[i:j])], []


def _apply_case(
    title: str, changes: Callable[[Some, int, int], Iterator[_Change]], at_once: int = 1
) -> Case:
    """Changes here and there, all of them and then all of them back, again and again.

    Slices are created under names, and reported back, as the API server does it.
    """

    def with_strategy(strategy: PackingStrategy) -> Callable[[int, int], Thing]:
        def make(n: int, seed: int) -> Thing:
            reconciler = index(n, seed, strategy)
            chosen = _some(n, seed)
            starts = range(0, len(chosen.stand), at_once)
            steps = zip(*(changes(chosen, i, i + at_once) for i in starts), strict=True)
            following = cycle([change for step in steps for change in step]).__next__
            names = (f"web-new-{i:05}" for i in count())

            def apply() -> Plan:
                upserted, removed = following()
                plan = reconciler.apply(upserted=upserted, removed=removed)
                if plan.creates:
                    for stored in apply_plan((), Plan(plan.creates), names=names):
                        reconciler.observe(stored)
                return plan

            return apply

        return make

    return Case(title, _by_strategy(with_strategy), at_once)


def _replace_case(
    title: str, states: Callable[[int, int], tuple[Sequence[Endpoint], Sequence[Endpoint]]]
) -> Case:
    """A whole state in place of an equal one, in turn."""

    def with_strategy(strategy: PackingStrategy) -> Callable[[int, int], Thing]:
        def make(n: int, seed: int) -> Thing:
            reconciler = index(n, seed, strategy)
            following = cycle([[group(list(state))] for state in states(n, seed)]).__next__
            return lambda: reconciler.replace(following())

        return make

    return Case(title, _by_strategy(with_strategy))


def _same(n: int, seed: int) -> tuple[Sequence[Endpoint], Sequence[Endpoint]]:
    state = _scenario(Kind.NOOP_SHARED, n, Order.MEMORY, seed=seed).endpoints
    return state, state


def _reordered(n: int, seed: int) -> tuple[Sequence[Endpoint], Sequence[Endpoint]]:
    return _same(n, seed)[0], _scenario(Kind.NOOP_SHARED, n, Order.SHUFFLED, seed=seed).endpoints


def _made_anew(n: int, seed: int) -> tuple[Sequence[Endpoint], Sequence[Endpoint]]:
    return _same(n, seed)[0], _scenario(Kind.NOOP_DISTINCT, n, Order.MEMORY, seed=seed).endpoints


def _by_strategy(
    with_strategy: Callable[[PackingStrategy], Callable[[int, int], Thing]],
) -> dict[str, Callable[[int, int], Thing]]:
    return {name: with_strategy(STRATEGIES[name]) for name in ("default", "MinimalWrites")}


def _index_case() -> Case:
    def with_strategy(strategy: PackingStrategy) -> Callable[[int, int], Thing]:
        def make(n: int, seed: int) -> Thing:
            standing(n, seed)
            return lambda: index(n, seed, strategy)

        return make

    return Case("build of the index", _by_strategy(with_strategy))


#: What takes time for the change alone.
APPLY: Final = [
    _apply_case("one endpoint flips", _flips),
    _apply_case("one endpoint is replaced", _replacements),
    _apply_case("100 flip in one call, each", _flips, 100),
    _apply_case("100 are replaced in one call, each", _replacements, 100),
    _apply_case("an upsert that changes nothing", _repeats),
]
#: What takes time for every endpoint.
WHOLE: Final = [
    _replace_case("`replace`, the same objects", _same),
    _replace_case("`replace`, the same in another order", _reordered),
    _replace_case("`replace`, equal ones made anew", _made_anew),
    _index_case(),
]

CASES: Final = {
    case.title: case for case in [*RECONCILE.values(), *TAKE_OVER, DECODE, *DOORS, *APPLY, *WHOLE]
}
