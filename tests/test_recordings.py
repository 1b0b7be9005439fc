"""From a watch of a real cluster to a trace."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from endpointslice import KubernetesPacking
from endpointslice.errors import TraceError
from endpointslice.simulate.recordings import read_watch, trace_from_watch
from endpointslice.simulate.runs import simulate
from endpointslice.simulate.traces import Change, PodState, Trace, read_trace

TRACES = Path(__file__).parent.parent / "docs/examples/traces"

Manifest = dict[str, Any]


def endpoint(number: int, state: str = "r", *, zone: str = "a", uid: str | None = "") -> Manifest:
    made: Manifest = {
        "addresses": [f"10.0.0.{number}"],
        "conditions": {"ready": state == "r", "serving": state != "n", "terminating": state == "t"},
        "nodeName": f"node-{zone}{number}",
        "zone": zone,
    }
    if uid is not None:
        name = f"web-{number}"
        made["targetRef"] = {"kind": "Pod", "name": name, "uid": uid or f"uid-{number}"}
    return made


def stored(name: str, *endpoints: Manifest, service: str = "web", family: str = "IPv4") -> Manifest:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": family,
        "ports": [{"port": 80}],
        "endpoints": list(endpoints),
    }


def pod(
    number: int,
    *,
    node: str = "node-1",
    ip: str = "10.0.0.1",
    ready: bool = False,
    going: bool = False,
    phase: str = "Running",
) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"web-{number}",
            "namespace": "shop",
            "uid": f"uid-{number}",
            "labels": {"topology.kubernetes.io/zone": "a"},
            "deletionTimestamp": "2026-11-23T03:00:00Z" if going else None,
        },
        "spec": {"nodeName": node},
        "status": {
            "phase": phase,
            "podIP": ip,
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


def watch(*events: tuple[float, str, Manifest], service: str = "") -> Trace:
    told = [{"at": at, "type": kind, "object": manifest} for at, kind, manifest in events]
    return trace_from_watch(told, name="watched", service=service)


def brief(trace: Trace) -> list[tuple[int, int, str | None]]:
    return [(c.at, c.pod, c.state and str(c.state)) for c in trace.changes]


# --- Pods -------------------------------------------------------------------------------------


def test_a_pod_has_an_endpoint_from_its_ip_to_its_end() -> None:
    trace = watch(
        (100.0, "ADDED", pod(1, node="", ip="", phase="Pending")),
        (100.2, "MODIFIED", pod(1, node="", phase="Pending")),
        (100.5, "MODIFIED", pod(1, ip="", phase="Pending")),
        (101.0, "MODIFIED", pod(1)),
        (103.25, "MODIFIED", pod(1, ready=True)),
        (104.0, "MODIFIED", pod(1, ready=True)),
        (110.0, "MODIFIED", pod(1, ready=True, going=True)),
        (120.0, "MODIFIED", pod(1, going=True, phase="Succeeded")),
        (120.5, "DELETED", pod(1, going=True, phase="Succeeded")),
    )
    assert brief(trace) == [(1_000, 0, "n"), (3_250, 0, "r"), (10_000, 0, "t"), (20_000, 0, None)]
    assert trace.pod_names == {0: "web-1"}
    assert trace.pod_uids == {0: "uid-1"}
    assert trace.duration == 21_000


def test_a_pod_that_is_deleted_while_it_runs_is_gone() -> None:
    trace = watch((0, "ADDED", pod(1, ready=True)), (2, "DELETED", pod(1, ready=True)))
    assert brief(trace) == [(0, 0, "r"), (2_000, 0, None)]


def test_a_pod_of_the_same_name_is_another_if_its_uid_is() -> None:
    second = pod(1, ready=True)
    second["metadata"]["uid"] = "uid-2"
    trace = watch((0, "ADDED", pod(1, ready=True)), (1, "DELETED", pod(1)), (2, "ADDED", second))
    assert brief(trace) == [(0, 0, "r"), (1_000, 0, None), (2_000, 1, "r")]
    assert trace.pod_names == {0: "web-1", 1: "web-1"}


# --- slices -----------------------------------------------------------------------------------


def test_the_difference_of_two_states_of_a_slice_is_what_happened() -> None:
    trace = watch(
        (5, "ADDED", stored("web-a", endpoint(1), endpoint(2, "n"))),
        (6, "MODIFIED", stored("web-a", endpoint(1, "t"), endpoint(2), endpoint(3, "n"))),
        (8, "MODIFIED", stored("web-a", endpoint(2), endpoint(3))),
        (9, "DELETED", stored("web-a", endpoint(2), endpoint(3))),
    )
    assert brief(trace) == [
        (0, 0, "r"),
        (0, 1, "n"),
        (1_000, 0, "t"),
        (1_000, 1, "r"),
        (1_000, 2, "n"),
        (3_000, 0, None),
        (3_000, 2, "r"),
        (4_000, 1, None),
        (4_000, 2, None),
    ]


def test_an_endpoint_that_moves_to_another_slice_does_not_change() -> None:
    trace = watch(
        (0, "ADDED", stored("web-a", endpoint(1), endpoint(2))),
        (1, "ADDED", stored("web-b", endpoint(2))),
        (2, "MODIFIED", stored("web-a", endpoint(1))),
    )
    assert brief(trace) == [(0, 0, "r"), (0, 1, "r")]


def test_of_two_copies_the_one_written_last_counts() -> None:
    trace = watch(
        (0, "ADDED", stored("web-a", endpoint(1))),
        (1, "ADDED", stored("web-b", endpoint(1, "t"))),
        (2, "MODIFIED", stored("web-a")),
        (3, "MODIFIED", stored("web-b")),
    )
    assert brief(trace) == [(0, 0, "r"), (1_000, 0, "t"), (3_000, 0, None)]


def test_an_endpoint_without_a_target_is_known_by_its_addresses() -> None:
    trace = watch(
        (0, "ADDED", stored("web-a", endpoint(1, uid=None))),
        (1, "MODIFIED", stored("web-a", endpoint(1, "t", uid=None))),
    )
    assert brief(trace) == [(0, 0, "r"), (1_000, 0, "t")]
    assert not trace.pod_names
    assert not trace.pod_uids


def test_a_pod_whose_address_or_zone_changes_is_still_the_same() -> None:
    moved = endpoint(1)
    moved["addresses"], moved["zone"] = ["10.0.0.99"], "b"
    trace = watch(
        (0, "ADDED", stored("web-a", endpoint(1))), (1, "MODIFIED", stored("web-a", moved))
    )
    assert brief(trace) == [(0, 0, "r")]


def test_an_endpoint_that_comes_back_keeps_its_number() -> None:
    trace = watch(
        (0, "ADDED", stored("web-a", endpoint(1))),
        (1, "MODIFIED", stored("web-a")),
        (2, "MODIFIED", stored("web-a", endpoint(1))),
    )
    assert brief(trace) == [(0, 0, "r"), (1_000, 0, None), (2_000, 0, "r")]
    assert [c.node for c in trace.changes] == [0, None, 0]


def test_nodes_keep_their_zones() -> None:
    found = [endpoint(i, zone=zone) for i, zone in enumerate("cabcca", start=1)]
    trace = watch((0, "ADDED", stored("web-a", *found)))
    assert trace.zones == 3
    zones = [trace.endpoint(c.pod, c.node or 0, PodState.READY).zone for c in trace.changes]
    assert zones == [f"zone-{zone}" for zone in "cabcca"]
    assert len({c.node for c in trace.changes}) == 6
    assert trace.nodes == 9


def test_one_address_type_of_a_dual_stack_service_counts() -> None:
    six, going = endpoint(1), endpoint(1, "t")
    six["addresses"] = going["addresses"] = ["fd00::1"]
    trace = watch(
        (0, "ADDED", stored("web-a", endpoint(1))),
        (0, "ADDED", stored("web-b", six, family="IPv6")),
        (1, "MODIFIED", stored("web-b", going, family="IPv6")),
        (2, "MODIFIED", stored("web-a", endpoint(1, "t"))),
        (3, "MODIFIED", stored("web-b", family="IPv6")),
    )
    assert brief(trace) == [(0, 0, "r"), (2_000, 0, "t")]


def test_the_service_that_is_named_counts() -> None:
    events = (
        (0, "ADDED", stored("web-a", endpoint(1))),
        (1, "ADDED", stored("api-a", endpoint(2), service="api")),
    )
    assert brief(watch(*events, service="api")) == [(1_000, 0, "r")]
    with pytest.raises(TraceError) as caught:
        watch(*events)
    assert caught.value == TraceError(
        "events[1].object.metadata.labels[kubernetes.io/service-name]",
        "is a second Service: name one",
        "api",
    )


def test_a_bookmark_says_nothing() -> None:
    assert watch((0, "BOOKMARK", {"kind": "Pod"})).changes == ()


# --- what is no watch -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "path", "value"),
    [
        (7, "events[1]", 7),
        ({"type": "ADDED", "object": pod(1)}, "events[1].at", None),
        ({"at": "1", "type": "ADDED", "object": pod(1)}, "events[1].at", "1"),
        ({"at": True, "type": "ADDED", "object": pod(1)}, "events[1].at", True),
        ({"at": float("nan"), "type": "ADDED", "object": pod(1)}, "events[1].at", ...),
        ({"at": 1e300, "type": "ADDED", "object": pod(1)}, "events[1].at", 1e300),
        ({"at": -1, "type": "ADDED", "object": pod(1)}, "events[1].at", -1),
        ({"at": 5, "type": "ERROR", "object": {}}, "events[1].type", "ERROR"),
        ({"at": 5, "type": "ADDED"}, "events[1].object", None),
        ({"at": 5, "type": "ADDED", "object": []}, "events[1].object", []),
        ({"at": 5, "type": "ADDED", "object": {"kind": []}}, "events[1].object.kind", []),
        (
            {"at": 5, "type": "ADDED", "object": {"kind": "Node"}},
            "events[1].object.kind",
            "Node",
        ),
        (
            {"at": 5, "type": "ADDED", "object": {**pod(1), "spec": {"nodeName": 3}}},
            "events[1].object.spec.nodeName",
            3,
        ),
        (
            {"at": 5, "type": "ADDED", "object": {**stored("a"), "endpoints": [{}]}},
            "events[1].object.endpoints[0].addresses",
            ...,
        ),
    ],
)
def test_a_bad_event_is_refused_by_its_path(event: Any, path: str, value: object) -> None:
    first = {"at": 0, "type": "ADDED", "object": pod(1)}
    with pytest.raises(TraceError) as caught:
        trace_from_watch([first, event], name="bad")
    assert caught.value.path == path
    if value is not ...:
        assert caught.value.value == value


def test_no_events_are_a_trace_of_nothing() -> None:
    trace = trace_from_watch([], name="nothing")
    assert (trace.changes, trace.nodes, trace.zones) == ((), 1, 1)


# --- files ------------------------------------------------------------------------------------

LINES = b"\n".join(
    json.dumps({"at": at, "type": "ADDED", "object": pod(at, ready=True)}).encode() for at in (1, 2)
)


@pytest.mark.parametrize("name", ["watched.jsonl", "watched.jsonl.gz"])
def test_a_watch_is_read_from_lines_of_json(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(LINES) if name.endswith("gz") else LINES + b"\n\n")
    trace = read_watch(path)
    assert trace.name == "watched"
    assert brief(trace) == [(0, 0, "r"), (1_000, 1, "r")]


def test_a_line_that_is_cut_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "watched.jsonl"
    path.write_bytes(LINES[:-20])
    with pytest.raises(TraceError) as caught:
        read_watch(path)
    assert caught.value.path == "events[1]"
    assert caught.value.message.startswith("is no JSON")


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "watched.jsonl.gz"
    path.write_bytes(gzip.compress(LINES)[:-20])
    with pytest.raises(TraceError, match="is a broken gzip file"):
        read_watch(path)


# --- the recorded cluster ---------------------------------------------------------------------


def real(name: str) -> tuple[Trace, list[Change]]:
    trace = read_trace(TRACES / f"real-{name}.json.gz")
    return trace, [c for c in trace.changes if c.at == 0]


@pytest.mark.parametrize(
    ("name", "going", "seconds"), [("one-bucket", 0, 24), ("many-buckets", 14, 25)]
)
def test_a_recorded_roll_out_replaces_200_pods(name: str, going: int, seconds: int) -> None:
    trace, first = real(f"rollout-{name}")
    assert Counter(c.state for c in first) == Counter(
        {PodState.READY: 200, "t": going} if going else {PodState.READY: 200}
    )
    assert sum(c.node is not None for c in trace.changes) == 400 + going
    assert sum(c.state is None for c in trace.changes) == 200 + going
    assert min(c.at for c in trace.changes if c.at) >= 1_000
    assert trace.duration // 1_000 == seconds
    living: dict[int, PodState] = {}
    for change in trace.changes:
        if change.state is None:
            del living[change.pod]
        else:
            living[change.pod] = change.state
        if change.at:
            ready = sum(state is PodState.READY for state in living.values())
            # Surge 5 %, unavailable 5 %.
            assert 190 <= ready <= 210


def test_the_second_roll_out_takes_the_pods_of_the_first() -> None:
    earlier, before = real("rollout-one-bucket")
    later, _ = real("rollout-many-buckets")
    settled = {earlier.pod_uids[c.pod] for c in before}
    made = set(earlier.pod_uids.values()) - settled
    went = {
        later.pod_uids[c.pod] for c in later.changes if c.state is PodState.TERMINATING and c.at
    }
    assert went == made


def test_the_names_of_a_recorded_roll_out_tell_the_new_pods_from_the_old() -> None:
    earlier, before = real("rollout-one-bucket")
    later, _ = real("rollout-many-buckets")
    hashes = {pod: name.split("-")[1] for pod, name in earlier.pod_names.items()}
    assert {hashes[c.pod] for c in before} == {"574596d9d9"}
    assert {hashes[c.pod] for c in earlier.changes if c.at and c.node is not None} == {"656c57cf8d"}
    names = [
        {trace.pod_uids[pod]: name for pod, name in trace.pod_names.items()}
        for trace in (earlier, later)
    ]
    shared = names[0].keys() & names[1].keys()
    assert len(shared) == 214
    assert {names[0][uid] for uid in shared} == {names[1][uid] for uid in shared}
    assert len({*names[0].values(), *names[1].values()}) == 600


def test_the_recorded_scale_down_goes_by_its_steps() -> None:
    trace, first = real("scale-down")
    assert len(first) == 1_000
    assert trace.zones == 3
    assert len({c.node for c in first}) == 12
    count = 1_000
    seen = []
    for i, change in enumerate(trace.changes):
        count -= change.state is None
        following = trace.changes[i + 1] if i + 1 < len(trace.changes) else None
        if change.state is None and (following is None or following.at - change.at > 2_000):
            seen.append(count)
    assert seen == [942, 837, 728, 673, 534, 463, 377, 262, 234, 120]
    assert all(name.startswith("api-dddcc8b4b-") for name in trace.pod_names.values())


def test_the_recorded_scale_down_costs_the_reference_what_it_cost_the_real_controller() -> None:
    trace, _ = real("scale-down")
    # Its writes were limited to 20 a second, and there are ten slices.
    run = simulate(trace, KubernetesPacking(), sync_period=500)
    assert run.writes - 10 == pytest.approx(884, rel=0.03)
