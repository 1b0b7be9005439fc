"""The workload suite: every trace can be, is the same everywhere, and is what its name says."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import pytest

from endpointslice import FrozenDict, ModelError
from endpointslice.simulate.traces import PodState, Trace, read_trace
from endpointslice.simulate.workloads import WORKLOADS

ROOT = Path(__file__).parent.parent
SMALL = 0.1


@cache
def small(name: str) -> Trace:
    return WORKLOADS[name].scaled(SMALL).trace(1)


@cache
def full(name: str) -> Trace:
    return WORKLOADS[name].trace(1)


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


def sizes(trace: Trace) -> list[int]:
    """How many pods there are after each moment, those that terminate left out."""
    return [
        sum(state is not PodState.TERMINATING for state in living.values())
        for _, living in states(trace)
    ]


# --- all of them ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_trace_begins_with_settled_pods_and_changes_later(name: str) -> None:
    trace = small(name)
    first = [c for c in trace.changes if c.at == 0]
    assert {c.state for c in first} == {PodState.READY}
    assert [c.pod for c in first] == list(range(len(first)))
    assert len(first) == max(10, round(WORKLOADS[name].pods * SMALL))
    assert all(c.at >= 1_000 for c in trace.changes[len(first) :])
    assert trace.changes[-1].at > 1_000


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_pod_lives_once_on_one_node(name: str) -> None:
    trace = small(name)
    assert trace.name == name
    come = Counter(c.pod for c in trace.changes if c.node is not None)
    gone = Counter(c.pod for c in trace.changes if c.state is None)
    assert set(come.values()) == {1}
    assert set(gone.values()) <= {1}
    assert sorted(trace.pod_uids) == sorted(come)
    assert len(set(trace.pod_uids.values())) == len(come)
    assert set(nodes_of(trace).values()) <= set(range(trace.nodes))


@pytest.mark.parametrize("name", WORKLOADS)
def test_no_change_is_none(name: str) -> None:
    state: dict[int, PodState | None] = {}
    for change in small(name).changes:
        assert change.state != state.get(change.pod)
        assert state.get(change.pod) is not PodState.TERMINATING or change.state is None
        state[change.pod] = change.state


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_seed_decides(name: str) -> None:
    workload = WORKLOADS[name]
    assert workload.scaled(SMALL).trace(1) == small(name)
    assert workload.scaled(SMALL).trace(2).changes != small(name).changes


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_can_be_sent_to_another_process(name: str) -> None:
    copy = pickle.loads(pickle.dumps(WORKLOADS[name]))
    assert copy == WORKLOADS[name]
    assert hash(copy) == hash(WORKLOADS[name])
    assert copy.scaled(SMALL).trace(1) == small(name)


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_has_a_summary_of_one_line(name: str) -> None:
    assert WORKLOADS[name].name == name
    assert 0 < len(WORKLOADS[name].summary) <= 80


@pytest.mark.parametrize("scale", [0, -1, 1.5, float("nan")])
def test_a_scale_that_is_none_is_refused(scale: float) -> None:
    with pytest.raises(ModelError) as caught:
        WORKLOADS["drain-2000"].scaled(scale)
    assert (caught.value.field, caught.value.message) == (
        "scale",
        "must be above 0 and at most 1",
    )


#: Of the small traces of seed 1. Whoever changes the model changes every count that was measured
#: on it, and says so here.
FINGERPRINT = "a8fe6209f15905d8"

_PRINT_FINGERPRINT = """
from tests.test_workloads import fingerprint
print(fingerprint())
"""


def fingerprint() -> str:
    digest = hashlib.sha256()
    for name in WORKLOADS:
        trace = small(name)
        changes = [(c.at, c.pod, c.state and str(c.state), c.node) for c in trace.changes]
        uids = [trace.pod_uids[pod] for pod in sorted(trace.pod_uids)]
        digest.update(repr((name, changes, uids, trace.duration)).encode())
    return digest.hexdigest()[:16]


def test_the_traces_are_the_same_on_every_machine() -> None:
    assert fingerprint() == FINGERPRINT


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_the_traces_are_the_same_under_every_hash_seed(hash_seed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PRINT_FINGERPRINT],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == FINGERPRINT


# --- each of them -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("roll-out-1000", 2),
        ("roll-out-300-x3", 3),
        ("roll-out-5000", 1),
        ("roll-out-10-x3", 3),
        ("stateful-150", 1),
    ],
)
def test_a_roll_out_replaces_every_pod(name: str, times: int) -> None:
    trace = small(name)
    *_, (_, last) = states(trace)
    count = sizes(trace)[0]
    assert sorted(last) == list(range(times * count, (times + 1) * count))
    assert set(last.values()) == {PodState.READY}


@pytest.mark.parametrize(
    ("name", "surge", "unavailable"),
    [
        ("roll-out-1000", 25, 25),
        ("roll-out-300-x3", 3, 3),
        ("roll-out-5000", 5, 0),
        ("roll-out-10-x3", 3, 2),
        ("stateful-150", 0, 1),
    ],
)
def test_a_roll_out_keeps_to_its_surge_and_unavailability(
    name: str, surge: int, unavailable: int
) -> None:
    trace = small(name)
    count = sizes(trace)[0]
    ready = [sum(s is PodState.READY for s in living.values()) for _, living in states(trace)]
    assert min(ready) >= count - unavailable
    assert max(sizes(trace)) <= count + surge


def test_the_autoscaler_swings_ten_times_as_high_three_times() -> None:
    found = sizes(small("autoscale-2000-x3"))
    turns = [size for size in found if size in {20, 200}]
    assert [a for a, b in zip(turns, [*turns[1:], 0], strict=True) if a != b] == [20, 200] * 3 + [
        20
    ]


def test_the_scale_down_ends_at_a_tenth() -> None:
    found = sizes(small("scale-down-10000"))
    assert (found[0], found[-1]) == (1_000, 100)
    assert found == sorted(found, reverse=True)


def test_the_scale_down_empties_nodes_whole_as_the_recorded_one_did() -> None:
    # All victims of a batch are ranked before the first one goes: a fullest node loses all.
    for trace in (
        small("scale-down-10000"),
        read_trace(ROOT / "docs/examples/traces/real-scale-down.json.gz"),
    ):
        *_, (_, last) = states(trace)
        where = nodes_of(trace)
        assert len({where[pod] for pod in last}) <= trace.nodes / 2


def test_a_service_is_scaled_to_zero_twice_and_back() -> None:
    living = [len(living) for _, living in states(small("scale-to-zero-500-x2"))]
    assert living.count(0) == 2
    assert living[-1] == 50


def test_a_fifth_of_the_nodes_is_drained_and_left_empty() -> None:
    trace = small("drain-2000")
    *_, (_, last) = states(trace)
    held = Counter(nodes_of(trace)[pod] for pod in last)
    assert [held[node] for node in range(2)] == [0, 0]
    assert min(held[node] for node in range(2, 10)) > 0
    assert len(last) == 200


def test_an_upgrade_empties_each_node_in_turn_before_the_next() -> None:
    trace = small("upgrade-2000")
    where = nodes_of(trace)
    emptied = []
    for _, living in states(trace):
        held = {where[pod] for pod in living}
        missing = [node for node in range(trace.nodes) if node not in held]
        emptied += [node for node in missing if node not in emptied]
        draining = {where[p] for p, s in living.items() if s is PodState.TERMINATING}
        assert len(draining) <= 1
    assert emptied == list(range(10))


def test_a_node_that_fails_takes_all_its_pods_at_one_moment() -> None:
    trace = small("node-failures-2000")
    where = nodes_of(trace)
    fallen: dict[int, list[int]] = {}
    settled = {c.pod for c in trace.changes if c.state is PodState.READY and c.at == 0}
    for change in trace.changes:
        if change.pod in settled and change.state is PodState.NOT_READY:
            fallen.setdefault(change.at, []).append(where[change.pod])
    assert len(fallen) == 5
    assert all(len(set(nodes)) == 1 for nodes in fallen.values())
    # Five minutes later those pods are gone.
    gone = {c.at for c in trace.changes if c.state is None}
    assert gone == {at + 300_000 for at in fallen}


def test_a_zone_is_lost_within_seconds_and_comes_back() -> None:
    trace = small("zone-outage-3000")
    where = nodes_of(trace)
    fallen = [c for c in trace.changes if c.state is PodState.NOT_READY and c.node is None]
    (zone,) = {where[c.pod] % 3 for c in fallen}
    assert {c.pod for c in fallen} == {
        c.pod for c in trace.changes if c.at == 0 and where[c.pod] % 3 == zone
    }
    assert all(1_000 <= c.at < 11_000 for c in fallen)
    back = {c.pod for c in trace.changes if c.state is PodState.READY and c.at > 420_000}
    gone = {c.pod for c in trace.changes if c.state is None}
    assert {c.pod for c in fallen} == (back | gone) & {c.pod for c in fallen}
    assert back
    assert gone


def test_the_same_two_percent_flap_all_the_time() -> None:
    trace = small("flapping-2000")
    flips = Counter(c.pod for c in trace.changes if c.at)
    assert len(flips) == 4
    assert min(flips.values()) > 20
    assert {c.state for c in trace.changes if c.at} == {PodState.READY, PodState.NOT_READY}


def test_a_fifth_of_the_pods_is_evicted_and_replaced() -> None:
    trace = small("evictions-3000")
    assert sum(c.state is None for c in trace.changes) == 60
    assert sizes(trace)[-1] == 300


def test_spot_nodes_are_taken_whole_and_others_come() -> None:
    trace = small("spot-3000")
    where = nodes_of(trace)
    gone = {where[c.pod] for c in trace.changes if c.state is None}
    *_, (_, last) = states(trace)
    left = {where[pod] for pod in last}
    assert not gone & left
    assert len(gone) == 19
    assert min(gone) >= 19
    assert {c.node for c in trace.changes if c.at == 0} <= set(range(19, 120))
    assert left & set(range(19)), "some of the spares are in use"


def test_a_day_lasts_a_day() -> None:
    trace = small("day-500")
    assert 23 * 3_600_000 < trace.duration < 24 * 3_600_000
    found = sizes(trace)
    assert min(found) < 43
    assert max(found) > 57


def test_the_load_of_a_day_is_not_followed_while_a_roll_out_goes_on() -> None:
    day = WORKLOADS["day-500"].scaled(SMALL)
    hours = range(4, 24, 4)
    changed: dict[str, Any] = {"period": 4 * 3_600_000, "drains": (), "crashes": 0}

    def last_size(seconds_before: int) -> int:
        moments = tuple(hour * 3_600_000 - seconds_before * 1_000 for hour in hours)
        parameters = FrozenDict({**day.parameters, **changed, "roll_outs": moments})
        return sizes(attrs.evolve(day, parameters=parameters).trace(1))[-1]

    assert last_size(seconds_before=1) == day.pods
    assert last_size(seconds_before=3_600) < day.pods


# --- against what was recorded ----------------------------------------------------------------


def totals(trace: Trace) -> tuple[int, int, int]:
    """How many pods appear, how many there are at most, and how many ticks have a change."""
    come = sum(c.node is not None for c in trace.changes)
    peak = max(len(living) for _, living in states(trace))
    return come, peak, len({c.at // 1_000 for c in trace.changes})


@pytest.mark.parametrize(
    ("name", "recorded"),
    [
        ("roll-out-1000", "rolling-1000-25pct"),
        ("roll-out-300-x3", "rolling-300-10pct-x3"),
        ("autoscale-2000-x3", "autoscale-200-2000-x3"),
        ("drain-2000", "drain-2000-20of100"),
        ("flapping-2000", "flap-2000-2pct"),
        ("evictions-3000", "replace-3000"),
    ],
)
def test_a_workload_is_much_like_the_trace_that_was_recorded_of_it(
    name: str, recorded: str
) -> None:
    come, peak, ticks = totals(full(name))
    other = totals(read_trace(ROOT / f"docs/examples/traces/{recorded}.json.gz"))
    assert come == pytest.approx(other[0], rel=0.01)
    assert peak == pytest.approx(other[1], rel=0.02)
    assert ticks == pytest.approx(other[2], rel=0.15)
