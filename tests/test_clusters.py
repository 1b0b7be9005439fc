"""The model of a cluster: who goes, how far a roll-out goes, and what becomes of pods and nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpointslice.simulate.clusters import (
    Cluster,
    Deployment,
    Life,
    Pod,
    PodSet,
    StatefulSet,
    choose_victims,
    roll_on,
    to_count,
)
from endpointslice.simulate.traces import Change, PodState, Trace, read_trace

TRACES = Path(__file__).parent.parent / "docs/examples/traces"
NOW = 1_000_000
#: The nodes that the pods below are on hold so many pods.
RANKS = {0: 1, 1: 2}


def pod(number: int = 0, **facts: Any) -> Pod:
    settled = {"node": 0, "is_running": True, "ready_since": NOW - 5_000, "created": NOW - 20_000}
    return Pod(number=number, **{"uid": f"{number:04d}", **settled, **facts})


def victims(*pods: Pod, wanted: int = 1, seed: int = 0) -> list[int]:
    found = choose_victims(pods, wanted, ranks=RANKS, now=NOW, rng=Random(seed))
    return [victim.number for victim in found]


# --- who goes ---------------------------------------------------------------------------------

#: In order of weight: what makes a pod go, against a settled one.
REASONS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("not scheduled", {"node": None}, {}),
    ("pending", {"is_running": False}, {}),
    ("not ready", {"ready_since": None}, {}),
    ("lower deletion cost", {"deletion_cost": -1}, {}),
    ("fuller node", {"node": 1}, {}),
    # 4 and 5 seconds are two powers of two in nanoseconds, 5 and 8 are one.
    ("younger since ready", {"ready_since": NOW - 4_000}, {}),
    ("smaller uid", {"ready_since": NOW - 8_000, "uid": "0"}, {"uid": "1"}),
]
#: The same for pods that turned ready in the same second.
LESSER_REASONS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("more restarts", {"restarts": 3}, {"restarts": 2}),
    # 17 and 18 seconds are two powers of two, 18 and 20 are one.
    ("created later", {"created": NOW - 17_000}, {"created": NOW - 18_000}),
    ("smaller uid", {"created": NOW - 18_000, "uid": "0"}, {"uid": "1"}),
]


@pytest.mark.parametrize(("reason", "goes", "stays"), REASONS + LESSER_REASONS)
def test_each_rule_decides_alone(reason: str, goes: dict[str, Any], stays: dict[str, Any]) -> None:
    for seed in range(20):
        assert victims(pod(1, **stays), pod(2, **goes), seed=seed) == [2], reason


@pytest.mark.parametrize("reasons", [REASONS, LESSER_REASONS])
def test_a_rule_outweighs_all_later_ones(reasons: list[tuple[str, Any, Any]]) -> None:
    for i, (reason, goes, stays) in enumerate(reasons):
        survivor = dict(stays)
        for _, later, _ in reversed(reasons[i + 1 :]):
            survivor |= {key: value for key, value in later.items() if key not in goes}
        assert victims(pod(1, **survivor), pod(2, **goes)) == [2], reason


def test_pods_of_one_second_tie_whatever_their_uids() -> None:
    first = pod(1, uid="0", ready_since=NOW - 5_999)
    second = pod(2, uid="1", ready_since=NOW - 5_001)
    assert {tuple(victims(first, second, seed=seed)) for seed in range(20)} == {(1,), (2,)}


def test_a_second_more_and_the_uid_decides() -> None:
    first = pod(1, uid="0", ready_since=NOW - 6_001)
    second = pod(2, uid="1", ready_since=NOW - 5_999)
    assert {tuple(victims(first, second, seed=seed)) for seed in range(20)} == {(1,)}


def test_victims_come_in_the_order_of_the_rule() -> None:
    pods = [
        pod(1),
        pod(2, ready_since=None),
        pod(3, node=1),
        pod(4, is_running=False, ready_since=None),
        pod(5, ready_since=NOW - 4_000),
    ]
    assert victims(*pods, wanted=5) == [4, 2, 3, 5, 1]
    assert victims(*pods, wanted=3) == [4, 2, 3]
    assert victims(*pods, wanted=0) == []


PODS = st.lists(
    st.builds(
        pod,
        node=st.sampled_from([None, 0, 1]),
        is_running=st.booleans(),
        ready_since=st.sampled_from([None, *range(NOW - 12_000, NOW, 3_000)]),
        restarts=st.integers(0, 2),
        deletion_cost=st.integers(0, 1),
    ),
    max_size=20,
)


def numbered(pods: list[Pod]) -> list[Pod]:
    return [attrs.evolve(item, number=i, uid=f"{i * 7 % 20:02d}") for i, item in enumerate(pods)]


def standing(item: Pod) -> tuple[Any, ...]:
    rank = 0 if item.node is None else -RANKS[item.node]
    return (
        item.node is not None,
        item.is_running,
        item.is_ready,
        item.deletion_cost,
        rank,
    )


@given(PODS, st.integers(0, 20), st.integers(0, 3))
def test_so_many_go_and_none_before_one_of_lower_standing(
    found: list[Pod], wanted: int, seed: int
) -> None:
    pods = numbered(found)
    wanted = min(wanted, len(pods))
    gone = choose_victims(pods, wanted, ranks=RANKS, now=NOW, rng=Random(seed))
    assert len({victim.number for victim in gone}) == len(gone) == wanted
    stay = [item for item in pods if item not in gone]
    assert [standing(item) for item in gone] == sorted(standing(item) for item in gone)
    assert all(standing(victim) <= standing(item) for victim in gone for item in stay)


@given(st.permutations(range(12)), st.integers(0, 12), st.integers(0, 3))
def test_without_ties_it_is_a_sort(order: list[int], wanted: int, seed: int) -> None:
    # Seconds differ, so age and uid decide: ages of 1 to 12 seconds are of five powers of two.
    pods = [pod(i, uid=f"{order[i]:02d}", ready_since=NOW - 1_000 * (i + 1)) for i in range(12)]
    ages = [((i + 1) * 10**9).bit_length() for i in range(12)]
    expected = sorted(range(12), key=lambda i: (ages[i], order[i]))[:wanted]
    assert victims(*pods, wanted=wanted, seed=seed) == expected


def test_a_real_controller_chose_its_victims_as_the_rule_does() -> None:
    """Of the second of two real roll-outs, the first of which says when its victims were ready."""
    earlier = read_trace(TRACES / "real-rollout-one-bucket.json.gz")
    later = read_trace(TRACES / "real-rollout-many-buckets.json.gz")
    # The recording has 20.743 s between the first events of the two.
    shift = 20_743
    ready = {
        earlier.pod_uids[change.pod]: change.at - shift
        for change in earlier.changes
        if change.state is PodState.READY
    }
    by_second: dict[int, list[Change]] = {}
    for change in later.changes:
        by_second.setdefault(change.at // 1000, []).append(change)
    rng = Random(0)
    living: dict[int, Pod] = {}
    named = asked = 0
    chance = 0.0
    for second, changes in by_second.items():
        old = [item for item in living.values() if item.uid in ready]
        gone = [c.pod for c in changes if c.state is PodState.TERMINATING and c.pod in living]
        ranks = Counter(item.node for item in living.values() if item.node is not None)
        if gone:
            guess = choose_victims(old, len(gone), ranks=ranks, now=second * 1000 + 1000, rng=rng)
            named += len({item.number for item in guess} & set(gone))
            asked += len(gone)
            chance += len(gone) ** 2 / len(old)
        for change in changes:
            if change.state in {None, PodState.TERMINATING}:
                living.pop(change.pod, None)
            elif change.node is not None:
                uid = later.pod_uids[change.pod]
                since = ready.get(uid) if change.state is PodState.READY else None
                living[change.pod] = Pod(
                    number=change.pod, uid=uid, node=change.node, ready_since=since
                )
    assert asked == 200
    assert chance < 45
    assert named > 140


# --- how far a roll-out goes ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "total", "up", "down"),
    [(3, 10, 3, 3), ("25%", 10, 3, 2), ("25%", 8, 2, 2), ("0%", 10, 0, 0), ("1%", 5_000, 50, 50)],
)
def test_a_percentage_is_rounded_as_asked(value: int | str, total: int, up: int, down: int) -> None:
    assert to_count(value, total, round_up=True) == up
    assert to_count(value, total, round_up=False) == down


def test_a_roll_out_goes_as_the_deployment_controller_explains() -> None:
    # The example in the comments of its source: 10 replicas, 2 unavailable, surge 3.
    new, old = PodSet(), PodSet(replicas=10, ready=10)
    seen = []
    for _ in range(3):
        new.replicas, old.replicas = roll_on(replicas=10, surge=3, unavailable=2, new=new, old=old)
        seen.append((new.replicas, old.replicas))
    assert seen == [(3, 10), (3, 8), (5, 8)]
    # No new pod turns ready, and an old one fails: nothing moves.
    old.ready = 7
    assert roll_on(replicas=10, surge=3, unavailable=2, new=new, old=old) == (5, 8)


def test_what_is_not_ready_of_the_old_goes_first() -> None:
    new, old = PodSet(replicas=3, ready=3), PodSet(replicas=10, ready=6)
    # 13 pods, 8 needed: 4 that are not ready may go, and 1 of the ready ones.
    assert roll_on(replicas=10, surge=3, unavailable=2, new=new, old=old) == (3, 5)


def test_what_is_about_to_be_deleted_is_not_available() -> None:
    assert PodSet(replicas=8, ready=10).available == 8
    assert PodSet(replicas=8, ready=7).available == 7


@given(
    st.integers(1, 60),
    st.integers(0, 20),
    st.integers(0, 20),
    st.lists(st.integers(0, 100), min_size=1, max_size=20),
)
def test_a_roll_out_keeps_within_its_bounds_and_ends(
    replicas: int, surge: int, unavailable: int, percents: list[int]
) -> None:
    unavailable = min(replicas, unavailable or (0 if surge else 1))
    new, old = PodSet(), PodSet(replicas=replicas, ready=replicas)
    for i in range(25 * replicas + 100):
        before = (new.replicas, old.replicas)
        new.replicas, old.replicas = roll_on(
            replicas=replicas, surge=surge, unavailable=unavailable, new=new, old=old
        )
        assert new.replicas >= before[0]
        assert old.replicas <= before[1]
        assert new.replicas + old.replicas <= replicas + surge
        assert new.available + old.available >= replicas - unavailable
        # Some, or all, of the new pods turn ready; the old ones that are too many go.
        new.ready += (new.replicas - new.ready) * percents[i % len(percents)] // 100
        new.ready = new.replicas if i % 20 == 19 else new.ready
        old.ready = min(old.ready, old.replicas)
        if (new.ready, old.replicas) == (replicas, 0):
            return
    pytest.fail("the roll-out did not end")


# --- deployments ------------------------------------------------------------------------------

QUICK = Life(start=(100, 200), ready=(1_000, 3_000), terminate=(500, 2_000))


def cluster_of(nodes: int = 10, **facts: Any) -> Cluster:
    return Cluster(nodes=nodes, **{"life": QUICK, "requests_per_second": 100, **facts})


def states(trace: Trace) -> Iterator[tuple[int, Mapping[int, PodState]]]:
    """Yield each moment at which something changes, and the state of all pods after it."""
    living: dict[int, PodState] = {}
    now = 0
    for change in trace.changes:
        if change.at > now:
            yield now, living
            now = change.at
        if change.state is None:
            del living[change.pod]
        else:
            living[change.pod] = change.state
    yield now, living


def nodes_of(trace: Trace) -> dict[int, int]:
    return {c.pod: c.node for c in trace.changes if c.node is not None}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable"),
    [(100, "25%", "25%"), (40, "10%", 0), (40, 0, "10%"), (10, 0, 0), (7, 3, 5), (1, "25%", "25%")],
)
def test_a_rolled_deployment_stays_available_and_within_its_surge(
    replicas: int, surge: int | str, unavailable: int | str, seed: int
) -> None:
    cluster = cluster_of(seed=seed)
    web = Deployment(cluster, replicas, max_surge=surge, max_unavailable=unavailable)
    cluster.begin()
    web.roll_out()
    cluster.run_until()
    trace = cluster.trace("rolled")
    for at, living in states(trace):
        counts = Counter(living.values())
        assert counts[PodState.READY] >= replicas - web.unavailable, at
        assert counts[PodState.READY] + counts[PodState.NOT_READY] <= replicas + web.surge, at
    _, last = list(states(trace))[-1]
    assert sorted(last) == list(range(replicas, 2 * replicas)), "all pods are new ones"
    assert set(last.values()) == {PodState.READY}


def test_with_neither_surge_nor_unavailability_one_pod_may_be_missing() -> None:
    web = Deployment(cluster_of(), 10, max_surge=0, max_unavailable="5%")
    assert (web.surge, web.unavailable) == (0, 1)


def test_a_pod_appears_not_ready_turns_ready_terminates_and_goes() -> None:
    cluster = cluster_of(life=Life(start=(7, 8), ready=(70, 71), terminate=(700, 701)))
    web = Deployment(cluster, 0)
    cluster.begin()
    web.scale(1)
    cluster.run(1_000)
    web.scale(0)
    cluster.run_until()
    changes = cluster.trace("one pod").changes
    assert [c.state for c in changes] == [PodState.NOT_READY, PodState.READY, "t", None]
    assert [c.node is None for c in changes] == [False, True, True, True]
    assert changes[1].at - changes[0].at == 70
    assert changes[3].at - changes[2].at == 700


def test_a_pod_that_is_deleted_before_it_starts_never_appears() -> None:
    cluster = cluster_of(life=Life(start=(5_000, 5_001)))
    web = Deployment(cluster, 0)
    cluster.begin()
    web.scale(5)
    cluster.run(1_000)
    web.scale(0)
    cluster.run_until()
    assert cluster.trace("never").changes == ()


def test_a_pod_that_is_asked_to_go_twice_goes_once() -> None:
    cluster = cluster_of()
    Deployment(cluster, 1)
    cluster.begin()
    (victim,) = cluster.pods()
    cluster.delete(victim)
    cluster.delete(victim)
    cluster.run_until()
    states_of = [c.state for c in cluster.trace("asked").changes if c.pod == victim.number]
    assert states_of == [PodState.READY, PodState.TERMINATING, None]


def test_a_pod_that_terminates_on_a_node_that_is_given_up_is_gone_at_once_and_once() -> None:
    cluster = cluster_of(life=Life(terminate=(5_000, 5_001)))
    Deployment(cluster, 1)
    cluster.begin()
    (victim,) = cluster.pods()
    assert victim.node is not None
    cluster.delete(victim)
    cluster.fail(victim.node)
    cluster.run(1_000)
    cluster.evict(victim.node)
    cluster.run_until()
    told = [(c.at, c.state) for c in cluster.trace("given up").changes if c.pod == victim.number]
    assert told == [(0, PodState.READY), (0, PodState.TERMINATING), (1_000, None)]


def test_pods_spread_over_the_nodes() -> None:
    cluster = cluster_of(nodes=20)
    Deployment(cluster, 200)
    cluster.begin()
    assert set(cluster.ranks.values()) <= {9, 10, 11}
    assert sum(cluster.ranks.values()) == 200


def test_scaling_down_takes_from_the_fullest_nodes() -> None:
    cluster = cluster_of(nodes=4)
    web = Deployment(cluster, 40)
    cluster.begin()
    cluster.cordon(0)
    web.scale(70)
    cluster.run_until()
    assert cluster.ranks[0] == 10
    web.scale(40)
    cluster.run_until()
    # One batch takes what was fullest when it began: never from the node that held least.
    assert cluster.ranks[0] == 10


def test_requests_keep_to_their_rate() -> None:
    cluster = cluster_of(requests_per_second=20, life=Life(start=(1, 2)))
    web = Deployment(cluster, 0)
    cluster.begin()
    web.scale(200)
    cluster.run_until()
    moments = [c.at for c in cluster.trace("rate").changes if c.node is not None]
    burst = [at for at in moments if at < moments[0] + 50]
    assert len(burst) == 30
    assert moments[-1] - moments[0] == (200 - 30) * 50


def test_a_replica_set_asks_for_500_pods_at_most_before_it_looks_again() -> None:
    cluster = cluster_of(nodes=2, requests_per_second=1_000)
    web = Deployment(cluster, 0)
    cluster.begin()
    web.scale(700)
    cluster.run(125)
    assert web.new.requests + len(web.new.active) == 500
    cluster.run_until()
    assert len(web.new.active) == 700


# --- StatefulSets -----------------------------------------------------------------------------


def test_a_stateful_set_is_rolled_from_the_highest_ordinal_down_one_at_a_time() -> None:
    cluster = cluster_of()
    web = StatefulSet(cluster, 5, name="db")
    cluster.begin()
    web.roll_out()
    cluster.run_until()
    trace = cluster.trace("stateful")
    going = [trace.pod_names[c.pod] for c in trace.changes if c.state is PodState.TERMINATING]
    assert going == ["db-4", "db-3", "db-2", "db-1", "db-0"]
    for _, living in states(trace):
        assert sum(state is not PodState.READY for state in living.values()) <= 1
        assert len(living) >= 4


def test_a_pod_of_a_stateful_set_keeps_its_name_and_gets_another_uid() -> None:
    cluster = cluster_of()
    web = StatefulSet(cluster, 3)
    cluster.begin()
    web.roll_out()
    cluster.run_until()
    trace = cluster.trace("stateful")
    assert Counter(trace.pod_names.values()) == {"web-0": 2, "web-1": 2, "web-2": 2}
    assert len(set(trace.pod_uids.values())) == 6


def test_a_stateful_set_scales_one_by_one_at_its_end() -> None:
    cluster = cluster_of()
    web = StatefulSet(cluster, 2)
    cluster.begin()
    web.scale(4)
    cluster.run_until()
    web.scale(1)
    cluster.run_until()
    trace = cluster.trace("scaled")
    come = [trace.pod_names[c.pod] for c in trace.changes if c.node is not None]
    gone = [trace.pod_names[c.pod] for c in trace.changes if c.state is None]
    assert come == ["web-0", "web-1", "web-2", "web-3"]
    assert gone == ["web-3", "web-2", "web-1"]


# --- nodes ------------------------------------------------------------------------------------


def test_a_drained_node_is_emptied_and_gets_no_pod_until_it_is_open_again() -> None:
    cluster = cluster_of(nodes=4)
    web = Deployment(cluster, 40)
    cluster.begin()
    cluster.drain(2)
    cluster.run(1_000)
    cluster.run_until(lambda: cluster.is_empty(2))
    assert cluster.pods_on(2) == []
    web.scale(80)
    cluster.run_until()
    assert cluster.is_empty(2)
    assert len(cluster.pods()) == 80
    cluster.uncordon(2)
    web.scale(100)
    cluster.run_until()
    assert len(cluster.pods_on(2)) == 20


def test_the_pods_of_a_node_that_fails_are_not_ready_at_once_and_ready_again_when_it_is_back() -> (
    None
):
    cluster = cluster_of(nodes=4)
    Deployment(cluster, 40)
    cluster.begin()
    cluster.run(1_000)
    cluster.fail(1)
    cluster.run(60_000)
    assert {item.number: item.is_ready for item in cluster.pods()} == {
        item.number: item.node != 1 for item in cluster.pods()
    }
    cluster.recover(1)
    cluster.run_until()
    trace = cluster.trace("failed")
    assert all(item.is_ready for item in cluster.pods())
    fallen = [c for c in trace.changes if c.state is PodState.NOT_READY]
    assert [(c.at, nodes_of(trace)[c.pod]) for c in fallen] == [(1_000, 1)] * 10
    assert trace.changes[-1].at > 61_000


def test_the_pods_of_a_node_that_is_given_up_are_gone_and_replaced_elsewhere() -> None:
    cluster = cluster_of(nodes=4)
    Deployment(cluster, 40)
    cluster.begin()
    cluster.fail(1)
    cluster.run(1_000)
    cluster.evict(1)
    cluster.run_until()
    trace = cluster.trace("given up")
    gone = [c for c in trace.changes if c.state is None]
    assert [(c.at, nodes_of(trace)[c.pod]) for c in gone] == [(1_000, 1)] * 10
    assert len(cluster.pods()) == 40
    assert cluster.is_empty(1)
    assert all(item.is_ready for item in cluster.pods())


def test_a_pod_that_was_starting_when_its_node_failed_starts_when_it_is_back() -> None:
    cluster = cluster_of(nodes=1, life=Life(start=(1_000, 1_001)))
    web = Deployment(cluster, 0)
    cluster.begin()
    web.scale(1)
    cluster.run(500)
    cluster.fail(0)
    cluster.run(600_000)
    assert cluster.trace("waiting").changes == ()
    cluster.recover(0)
    cluster.run_until()
    assert [c.state for c in cluster.trace("started").changes] == ["n", "r"]


def test_a_pod_starts_once_if_its_node_is_back_before_it_could_start() -> None:
    cluster = cluster_of(nodes=1, life=Life(start=(1_000, 1_001)))
    web = Deployment(cluster, 0)
    cluster.begin()
    web.scale(1)
    cluster.run(500)
    cluster.fail(0)
    cluster.recover(0)
    cluster.run_until()
    assert [c.state for c in cluster.trace("started").changes] == ["n", "r"]


def test_a_pod_does_not_turn_ready_while_its_node_is_down() -> None:
    cluster = cluster_of(nodes=1, life=Life(ready=(10_000, 10_001)))
    web = Deployment(cluster, 0)
    cluster.begin()
    web.scale(1)
    cluster.run(5_000)
    cluster.fail(0)
    cluster.run(600_000)
    assert [c.state for c in cluster.trace("not ready").changes] == ["n"]
    cluster.recover(0)
    cluster.run_until()
    assert [c.state for c in cluster.trace("ready").changes] == ["n", "r"]


def test_a_pod_that_crashes_is_not_ready_for_a_while() -> None:
    cluster = cluster_of()
    Deployment(cluster, 3)
    cluster.begin()
    (first, *_) = cluster.pods()
    cluster.restart(first)
    assert (first.is_ready, first.restarts) == (False, 1)
    cluster.run_until()
    assert [(c.pod, c.state) for c in cluster.trace("crash").changes[3:]] == [(0, "n"), (0, "r")]


def test_the_history_before_the_trace_is_not_in_it_but_in_the_ages() -> None:
    cluster = cluster_of()
    Deployment(cluster, 10)
    cluster.begin()
    trace = cluster.trace("settled")
    assert [(c.at, c.state) for c in trace.changes] == [(0, PodState.READY)] * 10
    assert all(-3_600_000 < item.created < -3_590_000 for item in cluster.pods())


def test_the_uid_of_an_endpoint_is_the_one_that_decides_who_goes() -> None:
    cluster = cluster_of()
    Deployment(cluster, 10)
    cluster.begin()
    trace = cluster.trace("uids")
    for item in cluster.pods():
        target = trace.endpoint(item.number, item.node or 0, PodState.READY).target_ref
        assert target is not None
        assert target.uid == item.uid
    assert len(set(trace.pod_uids.values())) == 10
