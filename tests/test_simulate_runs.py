"""Runs: what a strategy makes of a trace, and what it must make of it whatever the strategy."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from itertools import pairwise
from math import ceil
from typing import Any, Final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpointslice import (
    LABEL_FOR_ZONE,
    AddressType,
    Cost,
    Generational,
    KubernetesPacking,
    MinimalWrites,
    ModelError,
    Packing,
    PackingStrategy,
    Partitioned,
    Placement,
    Plan,
    PreferSameZone,
    price_plan,
    protobuf_size,
)
from endpointslice.diff import Diff
from endpointslice.errors import UnsoundPlanError
from endpointslice.models import Endpoint
from endpointslice.simulate import (
    TICK,
    Change,
    PodState,
    Run,
    Step,
    Sync,
    Trace,
    follow,
    read_trace,
    simulate,
)
from tests.test_traces import RECORDED, trace, traces

NOT_READY, READY, TERMINATING = PodState

STRATEGIES: Final[list[PackingStrategy]] = [
    MinimalWrites(),
    MinimalWrites(merge=False),
    Generational(),
    KubernetesPacking(),
]
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
strategies: Final = st.sampled_from(STRATEGIES)
periods: Final = st.sampled_from((1, 100, 250, 500, 1000, 3000))


def steps(history: Trace, strategy: PackingStrategy = STRATEGIES[0], **options: Any) -> list[Step]:
    return list(follow(history, strategy, **options))


def held(step: Step) -> dict[str, Endpoint]:
    """The endpoints in the slices, by key; each is there once."""
    everything = [endpoint for one in step.slices for endpoint in one.endpoints]
    found: dict[str, Endpoint] = {endpoint.key: endpoint for endpoint in everything}
    assert len(found) == len(everything)
    return found


def living(history: Trace, before: int) -> dict[str, Endpoint]:
    """Said again, independently: the endpoints of all pods that are there at a moment."""
    nodes: dict[int, int] = {}
    states: dict[int, PodState] = {}
    for change in history.changes:
        if change.at >= before:
            break
        if change.node is not None:
            nodes[change.pod] = change.node
        states.pop(change.pod, None)
        if change.state is not None:
            states[change.pod] = change.state
    made = (history.endpoint(pod, nodes[pod], state) for pod, state in states.items())
    return {endpoint.key: endpoint for endpoint in made}


# --- one small history ------------------------------------------------------------------------

#: Three pods come, one turns ready at once, one goes.
SMALL: Final = trace(
    Change(0, 1, NOT_READY, 0),
    Change(10, 2, READY, 1),
    Change(20, 3, READY, 2),
    Change(1500, 1, READY),
    Change(4000, 2, TERMINATING),
    Change(4999, 2, None),
)


def test_a_controller_syncs_where_something_has_changed_since_it_looked() -> None:
    run = simulate(SMALL, MinimalWrites(), max_endpoints_per_slice=2)
    assert [(sync.at, sync.slices, sync.endpoints) for sync in run.syncs] == [
        (1000, 2, 3),
        (2000, 2, 3),
        (5000, 2, 2),
    ]
    assert [sync.cost.writes for sync in run.syncs] == [2, 1, 1]
    assert run.lower_bound == 3


def test_what_happens_at_the_very_moment_of_a_sync_is_for_the_next_one() -> None:
    one = trace(Change(999, 1, READY, 0), Change(1000, 2, READY, 0))
    assert [sync.at for sync in simulate(one, MinimalWrites()).syncs] == [1000, 2000]


def test_a_run_says_what_its_plans_cost() -> None:
    found = steps(SMALL, max_endpoints_per_slice=2)
    run = simulate(SMALL, MinimalWrites(), max_endpoints_per_slice=2)
    assert run.syncs == tuple(
        Sync(
            at=step.at,
            cost=price_plan(step.plan),
            slices=len(step.slices),
            endpoints=step.endpoints,
        )
        for step in found
    )
    assert run.cost == sum((sync.cost for sync in run.syncs), Cost())
    assert run.cost == Cost(
        creates=2,
        updates=2,
        endpoints_added=3,
        endpoints_removed=1,
        endpoints_changed=1,
        bytes_written=run.bytes_written,
    )
    assert run.writes == 4
    assert run.bytes_written == sum(
        protobuf_size(operation.after or operation.before)
        for step in found
        for operation in step.plan.operations
    )
    assert run.bytes_on_wire(3000) == 3000 * run.bytes_written
    assert run.endpoints_moved == 0
    assert (run.peak_slices, run.final_slices, run.longest_plan) == (2, 2, 2)
    assert run.mean_fill == pytest.approx((3 / 4 + 3 / 4 + 2 / 4) / 3)


def test_a_run_says_what_it_was_a_run_of() -> None:
    run = simulate(SMALL, Generational(), max_endpoints_per_slice=7, sync_period=50)
    assert (run.trace, run.strategy) == ("test", Generational())
    assert (run.max_endpoints_per_slice, run.sync_period) == (7, 50)
    assert pickle.loads(pickle.dumps(run)) == run


def test_a_history_in_which_nothing_happens_costs_nothing() -> None:
    run = simulate(trace(duration=5000), MinimalWrites())
    assert run.syncs == ()
    assert run.cost == Cost()
    assert (run.writes, run.lower_bound, run.longest_plan) == (0, 0, 0)
    assert (run.peak_slices, run.final_slices, run.mean_fill) == (0, 0, 0)


def test_peaks_and_ends_are_told_apart() -> None:
    run = simulate(
        trace(*(Change(0, pod, READY, 0) for pod in range(4)), Change(1000, 1, None)),
        KubernetesPacking(),
        max_endpoints_per_slice=1,
    )
    assert (run.peak_slices, run.final_slices, run.longest_plan) == (4, 3, 4)
    assert run.mean_fill == 1


@every_strategy
def test_a_service_that_is_scaled_to_zero_keeps_a_slice_that_says_so(
    strategy: PackingStrategy,
) -> None:
    down_and_up = trace(Change(0, 1, READY, 0), Change(1000, 1, None), Change(2000, 2, READY, 0))
    up, down, again = steps(down_and_up, strategy)
    assert [(len(step.slices), step.endpoints) for step in (up, down, again)] == [
        (1, 1),
        (1, 0),
        (1, 1),
    ]
    (placeholder,) = down.slices
    assert (placeholder.endpoints, placeholder.ports) == ((), ())
    assert simulate(down_and_up, strategy).mean_fill == pytest.approx((0.01 + 0 + 0.01) / 3)


def test_no_two_slices_are_named_alike_however_many_there_are() -> None:
    # Of names of five characters the 2,835th would be the first to come again.
    many = trace(*(Change(0, pod, READY, 0) for pod in range(3_000)))
    (step,) = steps(many, max_endpoints_per_slice=1)
    assert len({one.name for one in step.slices}) == 3_000


def test_slices_are_those_of_the_service_and_named_as_the_server_names_them() -> None:
    many = trace(*(Change(0, pod, READY, 0) for pod in range(50)))
    (step,) = steps(many, max_endpoints_per_slice=1)
    names = [one.name for one in step.slices]
    assert len(set(names)) == 50
    assert all(re.fullmatch("web-[bcdfghjklmnpqrstvwxz2456789]{5}", name) for name in names)
    created = [operation.after.endpoints[0] for operation in step.plan.creates]
    by_name = [one.endpoints[0] for one in step.slices]
    assert sorted(created, key=lambda e: e.key) == sorted(by_name, key=lambda e: e.key)
    assert created != by_name
    for one in step.slices:
        meta = one.metadata
        assert (meta.namespace, meta.labels["app"]) == ("prod", "web")
        assert meta.labels["kubernetes.io/service-name"] == "web"
        assert [owner.uid for owner in meta.owner_references] == [
            "5b1fe2a4-0c3e-4d0e-9a55-0c8c4bdc2a11"
        ]
        assert one.address_type is AddressType.IPV4
        assert [(port.name, port.port) for port in one.ports] == [("http", 8080)]


# --- sync periods -----------------------------------------------------------------------------


def test_a_longer_period_merges_changes() -> None:
    bounds = {
        period: simulate(SMALL, MinimalWrites(), sync_period=period).lower_bound
        for period in (1, 10, 15, 1000, 5000)
    }
    assert bounds == {1: 6, 10: 6, 15: 5, 1000: 3, 5000: 1}


def test_what_comes_and_goes_between_two_syncs_is_no_change() -> None:
    blink = trace(
        Change(0, 1, READY, 0),
        Change(1000, 1, NOT_READY),
        Change(1500, 2, READY, 0),
        Change(1700, 2, None),
        Change(1999, 1, READY),
    )
    run = simulate(blink, MinimalWrites())
    assert [sync.at for sync in run.syncs] == [1000]
    assert simulate(blink, MinimalWrites(), sync_period=500).lower_bound == 3


def test_a_pod_that_comes_back_on_another_node_is_a_change() -> None:
    moved = trace(Change(0, 1, READY, 0), Change(1000, 1, None), Change(1001, 1, READY, 3))
    (_, step) = steps(moved)
    assert step.slices[0].endpoints == (moved.endpoint(1, 3, READY),)
    assert price_plan(step.plan).endpoints_changed == 1


@pytest.mark.parametrize("period", [0, -1, 0.5, True])
def test_a_period_that_is_none_is_refused_before_anything_runs(period: Any) -> None:
    with pytest.raises(ModelError) as caught:
        follow(SMALL, MinimalWrites(), sync_period=period)
    assert caught.value == ModelError("sync_period", "must be at least 1 ms", period)


@pytest.mark.parametrize("capacity", [0, 1001])
def test_a_capacity_that_is_none_is_refused_before_anything_runs(capacity: int) -> None:
    with pytest.raises(ModelError) as caught:
        follow(trace(), MinimalWrites(), max_endpoints_per_slice=capacity)
    assert caught.value.field == "max_endpoints_per_slice"


# --- laws -------------------------------------------------------------------------------------


@given(traces(), strategies, periods, st.integers(1, 4))
def test_after_every_sync_the_slices_hold_the_living_pods(
    one: Trace, strategy: PackingStrategy, period: int, capacity: int
) -> None:
    found = steps(one, strategy, sync_period=period, max_endpoints_per_slice=capacity)
    for step in found:
        assert step.at % period == 0
        assert held(step) == living(one, step.at)
        assert step.endpoints == len(living(one, step.at))
        assert all(len(item.endpoints) <= capacity for item in step.slices)
    for earlier, later in pairwise(found):
        assert earlier.at < later.at
        assert living(one, earlier.at) != living(one, later.at)
    end = one.duration + 1
    assert (held(found[-1]) if found else {}) == living(one, end)


@given(traces(), strategies, periods)
def test_every_sync_with_a_change_writes(
    one: Trace, strategy: PackingStrategy, period: int
) -> None:
    run = simulate(one, strategy, sync_period=period)
    assert all(sync.cost.writes for sync in run.syncs)
    assert run.lower_bound <= run.writes
    assert run.longest_plan <= run.writes


@given(traces(), periods, st.integers(2, 5))
def test_a_multiple_of_a_period_never_has_more_to_do(one: Trace, period: int, times: int) -> None:
    often, seldom = (steps(one, sync_period=length) for length in (period, period * times))
    assert len(seldom) <= len(often)
    assert {ceil(step.at / (period * times)) for step in often} >= {
        step.at // (period * times) for step in seldom
    }
    assert (held(seldom[-1]) if seldom else {}) == (held(often[-1]) if often else {})


@given(traces(), strategies)
def test_a_run_is_the_same_every_time_and_checked_or_not(
    one: Trace, strategy: PackingStrategy
) -> None:
    run = simulate(one, strategy, max_endpoints_per_slice=2)
    assert simulate(one, strategy, max_endpoints_per_slice=2) == run
    assert simulate(one, strategy, max_endpoints_per_slice=2, check=False) == run


# --- strategies that are broken ---------------------------------------------------------------


@attrs.frozen
class Broken:
    """A strategy that spoils what a good one answers, from the third sync on."""

    spoil: Callable[[tuple[Placement, ...]], tuple[Placement, ...]]

    def pack(self, diff: Diff) -> Packing:
        packing = MinimalWrites().pack(diff)
        if diff.desired_count < 3:
            return packing
        return Packing(self.spoil(packing.placements))


def _lose_one(placements: tuple[Placement, ...]) -> tuple[Placement, ...]:
    first, *rest = placements
    return (attrs.evolve(first, kept=first.kept[1:], added=first.added[1:]), *rest)


def _add_one_twice(placements: tuple[Placement, ...]) -> tuple[Placement, ...]:
    first, *rest = placements
    return (attrs.evolve(first, added=first.added + first.added[:1]), *rest)


def _put_all_in_one(placements: tuple[Placement, ...]) -> tuple[Placement, ...]:
    everything = tuple(endpoint for item in placements for endpoint in item.endpoints)
    return (Placement("", (), everything), *(Placement(item.name) for item in placements[1:]))


#: One pod a second.
GROWING: Final = trace(*(Change(pod * TICK, pod, READY, 0) for pod in range(4)))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [(_lose_one, "is there 0 times"), (_add_one_twice, "is there 2 times")],
)
def test_a_check_finds_a_strategy_that_is_broken(
    spoil: Callable[[tuple[Placement, ...]], tuple[Placement, ...]], told: str
) -> None:
    with pytest.raises(UnsoundPlanError) as caught:
        simulate(GROWING, Broken(spoil))
    assert caught.value.at == 3000
    assert any(told in problem for problem in caught.value.problems)
    assert str(caught.value).startswith("sync at 3000 ms: after the plan: ")
    assert pickle.loads(pickle.dumps(caught.value)) == caught.value


def test_a_check_finds_a_slice_over_capacity() -> None:
    with pytest.raises(UnsoundPlanError, match="holds 3 endpoints, more than 2"):
        simulate(
            trace(*(Change(0, pod, READY, 0) for pod in range(3))),
            Broken(_put_all_in_one),
            max_endpoints_per_slice=2,
        )


def test_an_error_counts_the_problems_that_it_does_not_show() -> None:
    assert str(UnsoundPlanError(1, ("one", "two", "three"))) == "sync at 1 ms: one (and 2 more)"
    assert str(UnsoundPlanError(1, ("one",))) == "sync at 1 ms: one"


def test_nobody_finds_a_broken_strategy_that_is_not_checked() -> None:
    assert simulate(GROWING, Broken(_lose_one), check=False).lower_bound == 4
    no_slices = trace(*(Change(0, pod, READY, 0) for pod in range(3)))
    run = simulate(no_slices, Broken(lambda _: ()), check=False)
    assert (run.writes, run.final_slices, run.mean_fill) == (0, 0, 0.03)


def test_the_steps_before_the_broken_one_can_be_seen() -> None:
    seen = []
    with pytest.raises(UnsoundPlanError):
        seen += [step.at for step in follow(GROWING, Broken(_lose_one))]
    assert seen == []
    walk = follow(GROWING, Broken(_lose_one))
    assert [next(walk).at, next(walk).at] == [1000, 2000]


# --- strategies that learn --------------------------------------------------------------------


@attrs.frozen
class Memory:
    """Remembers the plans that it has seen."""

    plans: tuple[Plan, ...] = ()

    def observe(self, plan: Plan) -> Memory:
        return Memory((*self.plans, plan))


@attrs.frozen
class Learning:
    """A strategy that lays a record of what it knew at each sync into a list."""

    volatile: Any
    known: list[Any] = attrs.field(factory=list, eq=False)

    def pack(self, diff: Diff) -> Packing:
        self.known.append(self.volatile)
        return MinimalWrites().pack(diff)


def test_a_strategy_learns_from_every_plan_but_the_one_that_it_makes() -> None:
    strategy = Learning(Memory())
    plans = [step.plan for step in steps(GROWING, strategy)]
    assert [memory.plans for memory in strategy.known] == [
        tuple(plans[:i]) for i in range(len(plans))
    ]
    assert simulate(GROWING, strategy).strategy == Learning(Memory())


def test_a_strategy_whose_volatile_is_a_plain_function_does_not_learn() -> None:
    strategy = Learning(bool)
    assert len(steps(GROWING, strategy)) == 4
    assert strategy.known == [bool] * 4


# --- the recorded traces ----------------------------------------------------------------------


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name.removesuffix(".json.gz"))
def test_kubernetes_packing_costs_what_the_reference_cost(path: Any) -> None:
    """Within 3 % of what k8s.io/endpointslice wrote, whose own runs differ by about 1 %."""
    one = read_trace(path)
    run: Run = simulate(one, KubernetesPacking())
    assert run.lower_bound == one.reference["steps_with_change"]
    assert run.syncs[-1].endpoints == one.reference["final_endpoints"]
    assert run.writes == pytest.approx(one.reference["writes"], rel=0.03)
    assert run.bytes_written == pytest.approx(one.reference["bytes"], rel=0.03)


# --- watchers by zone -------------------------------------------------------------------------


def received_again(synced: list[Step], zone: str) -> int:
    """What a watcher of a zone is sent: what it selects, or what it selected until then."""
    total = 0
    for step in synced:
        for operation in step.plan.operations:
            before, after = operation.before, operation.after
            selects = [
                item is not None and item.metadata.labels[LABEL_FOR_ZONE] in (zone, "all")
                for item in (before, after)
            ]
            if selects[1] and after is not None:
                total += protobuf_size(after)
            elif selects[0] and before is not None:
                total += protobuf_size(before)
    return total


@given(trace=traces(), hints=st.sampled_from((None, PreferSameZone())))
def test_a_watcher_is_sent_what_its_selector_matches(
    trace: Trace, hints: PreferSameZone | None
) -> None:
    strategy = Partitioned("hint" if hints else "zone", MinimalWrites())
    run = simulate(trace, strategy, max_endpoints_per_slice=3, hints=hints)
    synced = list(follow(trace, strategy, max_endpoints_per_slice=3, hints=hints))
    found = tuple(received_again(synced, zone) for zone in trace.zone_names)
    assert run.bytes_received == (found if synced else (0,))
    for step in synced:
        for item in step.slices:
            part = item.metadata.labels[LABEL_FOR_ZONE]
            assert {member.zone for member in item.endpoints} <= {part}
            ready = [member for member in item.endpoints if member.conditions.ready]
            assert all(member.hints.for_zones == ((part,) if hints else ()) for member in ready)


def test_watchers_are_spread_over_the_zones() -> None:
    story = trace(*(Change(0, pod, READY, pod % 6) for pod in range(7)), zones=3, nodes=6)
    run = simulate(story, Partitioned("zone"))
    first, second, third = run.bytes_received
    assert run.bytes_on_wire(5) == 2 * first + 2 * second + third
    assert second < first
    whole = simulate(story, Generational())
    assert whole.bytes_received == (whole.bytes_written,)
    assert whole.bytes_on_wire(5) == 5 * whole.bytes_written


def test_what_is_inside_a_partition_learns_too() -> None:
    inner = Learning(Memory())
    plans = [step.plan for step in steps(GROWING, Partitioned("zone", inner))]
    known = list(dict.fromkeys(len(memory.plans) for memory in inner.known))
    assert known == list(range(len(plans)))
    assert inner.known[-1].plans == tuple(plans[:-1])
