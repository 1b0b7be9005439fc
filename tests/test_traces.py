"""Traces: what is a history, how it is written down, and what is said of one that cannot be."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable
from hashlib import md5
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpointslice.errors import TraceError
from endpointslice.models import EndpointConditions, FrozenDict
from endpointslice.simulate import (
    TICK,
    Change,
    PodState,
    Trace,
    decode_trace,
    encode_trace,
    read_trace,
)

#: The traces that say what the reference made of them; those of a real cluster are `real-*`.
RECORDED: Final = sorted(
    path
    for path in (Path(__file__).parent.parent / "docs/examples/traces").glob("*.json.gz")
    if not path.name.startswith("real-")
)

NOT_READY, READY, TERMINATING = PodState


def trace(*changes: Change, **fields: Any) -> Trace:
    fields.setdefault("duration", max((change.at for change in changes), default=0))
    defaults: dict[str, Any] = {"name": "test", "nodes": 4, "zones": 2, "changes": changes}
    return Trace(**defaults | fields)


def decode(*steps: Any, **members: Any) -> Trace:
    return decode_trace({"nodes": 4, "zones": 2, "steps": list(steps)} | members, name="test")


def fault(data: Any) -> TraceError:
    with pytest.raises(TraceError) as caught:
        decode_trace(data, name="test")
    return caught.value


# --- the value --------------------------------------------------------------------------------


def test_a_pod_has_the_endpoint_that_its_number_says() -> None:
    one = trace().endpoint(62_751, 3, READY)
    assert one.addresses == ("10.1.1.2",)
    assert (one.node_name, one.zone) == ("node-003", "zone-b")
    target = one.target_ref
    assert target is not None
    assert (target.kind, target.namespace, target.name) == ("Pod", "prod", "web-7d4b9c6f5d-62751")
    assert target.uid == str(UUID(md5(b"62751").hexdigest()))


@pytest.mark.parametrize(
    ("state", "conditions"),
    [
        (NOT_READY, EndpointConditions(ready=False, serving=False, terminating=False)),
        (READY, EndpointConditions(ready=True, serving=True, terminating=False)),
        (TERMINATING, EndpointConditions(ready=False, serving=True, terminating=True)),
    ],
)
def test_a_pods_state_is_in_its_conditions(state: PodState, conditions: EndpointConditions) -> None:
    assert trace().endpoint(0, 0, state).conditions == conditions


def test_all_pods_that_may_be_have_addresses_of_their_own() -> None:
    pods = (0, 1, 249, 250, 251, 62_499, 62_500, 125_000, 15_999_999)
    addresses = [trace().endpoint(pod, 0, READY).addresses for pod in pods]
    assert len(set(addresses)) == len(pods)
    assert addresses[0] == ("10.0.0.1",)
    assert addresses[-1] == ("10.255.249.250",)


def test_a_pod_may_have_a_name_and_a_uid_of_its_own() -> None:
    named = trace(pod_names={7: "db-0"}, pod_uids={7: "u"})
    for pod, name, uid in ((7, "db-0", "u"), (8, "web-7d4b9c6f5d-00008", None)):
        target = named.endpoint(pod, 0, READY).target_ref
        assert target is not None
        assert target.name == name
        assert uid in (None, target.uid)


def _impossible() -> list[Any]:
    add = Change(0, 1, READY, 0)
    gone = Change(0, 1, None)
    return [
        ((add, Change(0, 1, READY, 2)), "changes[1]", "adds a pod that is there already", 1),
        ((add, Change(0, 2, READY)), "changes[1]", "names a pod that is not there", 2),
        ((gone,), "changes[0]", "names a pod that is not there", 1),
        ((add, gone, gone), "changes[2]", "names a pod that is not there", 1),
        ((Change(0, 1, READY, 4),), "changes[0]", "must be on a node 0..3", 4),
        ((Change(0, 1, READY, -1),), "changes[0]", "must be on a node 0..3", -1),
        ((Change(0, -1, READY, 0),), "changes[0]", "must be a pod 0..15999999", -1),
        ((Change(0, 16_000_000, READY, 0),), "changes[0]", "must be a pod 0..15999999", 16_000_000),
        ((Change(0, 1, None, 0),), "changes[0]", "must have a state", 1),
        (
            (Change(5, 1, READY, 0), Change(4, 1, None)),
            "changes[1]",
            "must not come before what stands before it",
            4,
        ),
        (
            (Change(-1, 1, READY, 0),),
            "changes[0]",
            "must not come before what stands before it",
            -1,
        ),
    ]


@pytest.mark.parametrize(("changes", "path", "message", "value"), _impossible())
def test_a_history_that_cannot_be_is_refused(
    changes: tuple[Change, ...], path: str, message: str, value: object
) -> None:
    with pytest.raises(TraceError) as caught:
        trace(*changes)
    assert caught.value == TraceError(path, message, value)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"nodes": 0}, TraceError("nodes", "must be at least 1", 0)),
        ({"zones": 0}, TraceError("zones", "must be 1..26", 0)),
        ({"zones": 27}, TraceError("zones", "must be 1..26", 27)),
        ({"duration": 9}, TraceError("duration", "must not end before the last change", 9)),
    ],
)
def test_a_history_of_impossible_extent_is_refused(
    fields: dict[str, Any], error: TraceError
) -> None:
    with pytest.raises(TraceError) as caught:
        trace(Change(10, 1, READY, 0), **fields)
    assert caught.value == error


def test_a_pod_that_is_gone_may_appear_again_elsewhere() -> None:
    again = trace(Change(0, 1, READY, 0), Change(1, 1, None), Change(1, 1, READY, 3))
    assert again.changes[-1].node == 3


def test_random_uids_change_uids_and_nothing_else() -> None:
    plain = trace(Change(0, 1, READY, 0), Change(0, 2, READY, 0), Change(9, 1, None))
    other = plain.with_random_uids()
    assert attrs.evolve(other, pod_uids=FrozenDict()) == plain
    assert list(other.pod_uids) == [1, 2]
    targets = [
        one.endpoint(pod, 0, READY).target_ref
        for one in (plain, other, plain.with_random_uids(1))
        for pod in (1, 2)
    ]
    assert len({UUID(target.uid) for target in targets if target}) == 6
    assert plain.with_random_uids(1) == plain.with_random_uids(1)


# --- reading ----------------------------------------------------------------------------------


def test_a_step_is_a_second_over_which_its_changes_are_spread() -> None:
    found = decode({"add": [[1, 0, "n"], [2, 3, "r"]]}, {}, {"set": [[1, "t"]], "del": [2]})
    states = {(change.pod, change.state, change.node) for change in found.changes}
    assert states == {
        (1, NOT_READY, 0),
        (2, READY, 3),
        (1, TERMINATING, None),
        (2, None, None),
    }
    assert [change.at for change in found.changes] == [0, 500, 2000, 2500]
    assert found.duration == 3000


def test_changes_of_one_step_come_in_an_order_that_is_arbitrary_and_always_the_same() -> None:
    pods = range(20)
    first, again = (
        decode({"add": [[pod, 0, "r"] for pod in order]}) for order in (pods, pods[::-1])
    )
    assert first == again
    order = [change.pod for change in first.changes]
    assert order not in (list(pods), list(pods[::-1]))
    assert [change.at for change in first.changes] == list(range(0, TICK, TICK // 20))


def test_changes_of_one_pod_in_one_step_come_as_add_set_del() -> None:
    found = decode({"del": [1, 2], "set": [[1, "t"], [2, "t"]], "add": [[1, 0, "r"], [2, 0, "r"]]})
    for pod in (1, 2):
        states = [change.state for change in found.changes if change.pod == pod]
        assert states == [READY, TERMINATING, None]


def test_a_step_that_says_when_happens_at_that_moment_in_the_order_written() -> None:
    found = decode(
        {"at": 0.25, "add": [[2, 0, "r"], [1, 0, "r"]]},
        {"at": 0.25, "del": [2]},
        {"at": 7, "add": [[2, 1, "n"]]},
        {"at": 9.5},
    )
    assert found.changes == (
        Change(250, 2, READY, 0),
        Change(250, 1, READY, 0),
        Change(250, 2, None),
        Change(7000, 2, NOT_READY, 1),
    )
    assert found.duration == 9500


def test_steps_of_both_kinds_can_stand_in_one_trace() -> None:
    found = decode({"add": [[1, 0, "n"]]}, {"at": 1.5, "set": [[1, "r"]]}, {"del": [1]})
    assert [change.at for change in found.changes] == [0, 1500, 2000]


def test_what_else_is_in_the_file_is_read_or_ignored() -> None:
    found = decode(
        {"add": [[1, 0, "n"]]},
        names={"1": "db-0"},
        uids={"1": "u"},
        reference={"writes": 3},
        seed=7,
        somebody="else's",
    )
    assert found.pod_names == {1: "db-0"}
    assert found.pod_uids == {1: "u"}
    assert found.reference == {"writes": 3}
    assert decode({"add": None}, names=None, uids=None, reference=None) == decode({})


def _add(*row: Any) -> list[Any]:
    return [{"add": [list(row)]}]


_BAD_STEPS: Final[dict[str, tuple[Any, TraceError]]] = {
    "an unknown id in set": (
        [{}, {"set": [[5, "r"]]}],
        TraceError("steps[1].set[0]", "names a pod that is not there", 5),
    ),
    "an unknown id in del": (
        [{"add": [[1, 0, "r"]], "del": [1, 5]}],
        TraceError("steps[0].del[1]", "names a pod that is not there", 5),
    ),
    "an id that is gone": (
        [{"add": [[1, 0, "r"]]}, {"del": [1]}, {"set": [[1, "r"]]}],
        TraceError("steps[2].set[0]", "names a pod that is not there", 1),
    ),
    "an id added twice in a step": (
        [{"add": [[1, 0, "r"], [1, 0, "r"]]}],
        TraceError("steps[0].add[1]", "adds a pod that is there already", 1),
    ),
    "an id added twice": (
        [{"add": [[1, 0, "r"]]}, {"add": [[1, 0, "r"]]}],
        TraceError("steps[1].add[0]", "adds a pod that is there already", 1),
    ),
    "a node out of range": (
        _add(1, 4, "r"),
        TraceError("steps[0].add[0]", "must be on a node 0..3", 4),
    ),
    "a pod out of range": (
        _add(16_000_000, 0, "r"),
        TraceError("steps[0].add[0]", "must be a pod 0..15999999", 16_000_000),
    ),
    "an unknown state": (
        _add(1, 0, "x"),
        TraceError("steps[0].add[0]", "must be in a state of n, r, t", "x"),
    ),
    "a state that is no text": (
        _add(1, 0, ["r"]),
        TraceError("steps[0].add[0]", "must be in a state of n, r, t", ["r"]),
    ),
    "a short row": (_add(1, "r"), TraceError("steps[0].add[0]", "must be a list of 3", [1, "r"])),
    "a row that is none": (
        [{"set": ["r1"]}],
        TraceError("steps[0].set[0]", "must be a list of 2", "r1"),
    ),
    "a negative id": (
        _add(-1, 0, "r"),
        TraceError("steps[0].add[0]", "must be a whole number", -1),
    ),
    "an id that is true": (
        _add(True, 0, "r"),
        TraceError("steps[0].add[0]", "must be a whole number", True),
    ),
    "an id that is a text": (
        [{"del": ["1"]}],
        TraceError("steps[0].del[0]", "must be a whole number", "1"),
    ),
    "a node that is none": (
        _add(1, 1.0, "r"),
        TraceError("steps[0].add[0]", "must be a whole number", 1.0),
    ),
    "a list that is none": ([{"add": {}}], TraceError("steps[0].add", "must be a list", {})),
    "a step that is none": ([{}, []], TraceError("steps[1]", "must be an object", [])),
    "another key": (
        [{"remove": [1]}],
        TraceError("steps[0].remove", "must be one of at, add, set, del"),
    ),
    "a moment before the last": (
        [{"at": 2, "add": [[1, 0, "r"]]}, {"at": 1, "del": [1]}],
        TraceError("steps[1]", "must not come before what stands before it", 1),
    ),
    "a second before the last": (
        [{"at": 2, "add": [[1, 0, "r"]]}, {"del": [1]}],
        TraceError("steps[1]", "must not come before what stands before it", 1),
    ),
    "an end before the last change": (
        [{"at": 2, "add": [[1, 0, "r"]]}, {"at": 1}],
        TraceError("steps[1]", "must not come before what stands before it", 1),
    ),
    "a negative moment": (
        [{"at": -0.1}],
        TraceError("steps[0].at", "must be 0..1000000000 seconds", -0.1),
    ),
    "no end of time": (
        [{"at": float("inf")}],
        TraceError("steps[0].at", "must be 0..1000000000 seconds", float("inf")),
    ),
    "a moment that is true": (
        [{"at": True}],
        TraceError("steps[0].at", "must be 0..1000000000 seconds", True),
    ),
    "a moment that is a text": (
        [{"at": "1"}],
        TraceError("steps[0].at", "must be 0..1000000000 seconds", "1"),
    ),
}


@pytest.mark.parametrize("name", _BAD_STEPS)
def test_a_step_is_refused_by_path_and_value_for(name: str) -> None:
    steps, error = _BAD_STEPS[name]
    assert fault({"nodes": 4, "zones": 2, "steps": steps}) == error


def test_a_moment_that_is_no_number_is_refused() -> None:
    assert fault({"nodes": 4, "zones": 2, "steps": [{"at": float("nan")}]}).path == "steps[0].at"


_ONE_POD: Final = [{"add": [[1, 0, "r"]]}]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ([], TraceError("", "must be an object", [])),
        (None, TraceError("", "must be an object")),
        ({"zones": 2, "steps": []}, TraceError("nodes", "is missing")),
        ({"nodes": 2, "steps": []}, TraceError("zones", "is missing")),
        ({"nodes": 2, "zones": 2}, TraceError("steps", "is missing")),
        ({"nodes": "2"}, TraceError("nodes", "must be a whole number", "2")),
        ({"zones": 27}, TraceError("zones", "must be 1..26", 27)),
        ({"steps": {}}, TraceError("steps", "must be a list", {})),
        ({"names": []}, TraceError("names", "must be an object", [])),
        ({"names": {"2": "x"}}, TraceError("names.2", "names a pod that is not there")),
        ({"names": {"01": "x"}}, TraceError("names.01", "names a pod that is not there")),
        ({"names": {"1": ""}}, TraceError("names.1", "must be printable text", "")),
        ({"uids": {"1": 5}}, TraceError("uids.1", "must be printable text", 5)),
        ({"uids": {"1": "a\0b"}}, TraceError("uids.1", "must be printable text", "a\0b")),
        (
            {"reference": {"writes": 1.5}},
            TraceError("reference.writes", "must be a whole number", 1.5),
        ),
        ({"reference": 3}, TraceError("reference", "must be an object", 3)),
    ],
)
def test_a_trace_is_refused_by_path_and_value(data: Any, error: TraceError) -> None:
    if isinstance(data, dict) and len(data) == 1:
        data = {"nodes": 4, "zones": 2, "steps": _ONE_POD} | data
    assert fault(data) == error


def test_an_error_says_where_what_and_which_value() -> None:
    error = fault({"nodes": 4, "zones": 2, "steps": [{}, {"set": [[5, "r"]]}]})
    assert str(error) == "steps[1].set[0]: names a pod that is not there, got 5"
    assert str(TraceError("", "is no JSON")) == "is no JSON"
    assert pickle.loads(pickle.dumps(error)) == error


# --- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name.removesuffix(".json.gz"))
def test_the_recorded_traces_can_be_read(path: Path) -> None:
    found = read_trace(path)
    raw = json.loads(gzip.decompress(path.read_bytes()))
    assert found.name == path.name.removesuffix(".json.gz")
    assert (found.nodes, found.zones) == (raw["nodes"], raw["zones"])
    assert found.reference == raw["reference"]
    assert found.duration == TICK * len(raw["steps"])
    for i, step in enumerate(raw["steps"]):
        if any(step.values()):
            first = next(change for change in found.changes if change.at >= i * TICK)
            assert first.at == i * TICK
    moments = [change.at // TICK for change in found.changes]
    counts = [sum(map(len, step.values())) for step in raw["steps"]]
    assert [moments.count(i) for i in range(min(300, len(counts)))] == counts[:300]


def test_there_are_eight_recorded_traces() -> None:
    assert len(RECORDED) == 8


def test_a_trace_is_read_gzipped_or_not_whatever_the_file_is_called(tmp_path: Path) -> None:
    text = json.dumps({"nodes": 4, "zones": 2, "steps": _ONE_POD}).encode()
    files = {"one.json": text, "one.json.gz": gzip.compress(text), "one": text}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        assert read_trace(tmp_path / name) == attrs.evolve(decode(*_ONE_POD), name="one")


_BROKEN: Final[dict[str, Callable[[bytes], bytes]]] = {
    "a truncated gzip file": lambda text: gzip.compress(text)[:-12],
    "a gzip file cut off in its head": lambda text: gzip.compress(text)[:5],
    "a gzip file with a flipped bit": lambda text: gzip.compress(text)[:-5] + b"\0" * 5,
    "a damaged gzip file": lambda text: gzip.compress(text)[:12] + b"\xff" * 40,
    "truncated JSON": lambda text: text[:-1],
    "truncated JSON in a gzip file": lambda text: gzip.compress(text[:-1]),
    "an empty file": lambda _: b"",
    "no UTF-8": lambda text: b'{"\xff": 0}',
    "JSON nested too deep": lambda _: b"[" * 200_000,
    "a number too long": lambda _: b'{"nodes": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("name", _BROKEN)
def test_a_file_is_no_trace_if_it_is(name: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.json.gz"
    path.write_bytes(_BROKEN[name](json.dumps({"nodes": 4, "zones": 2, "steps": []}).encode()))
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert caught.value.path == ""
    assert "gzip" in caught.value.message or "JSON" in caught.value.message


def test_a_file_that_is_not_there_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_trace(tmp_path / "nothing.json")


# --- laws -------------------------------------------------------------------------------------


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Histories of a few pods that come, change and go, some of them again."""
    alive: dict[int, PodState] = {}
    changes = []
    at = 0
    for _ in range(draw(st.integers(0, 12))):
        at += draw(st.sampled_from((0, 0, 1, 333, 1000)))
        pod = draw(st.integers(0, 3))
        if pod not in alive:
            state: PodState | None = draw(st.sampled_from(PodState))
            changes.append(Change(at, pod, state, draw(st.integers(0, 3))))
        else:
            state = draw(st.sampled_from((*PodState, None)))
            changes.append(Change(at, pod, state))
        if state is None:
            del alive[pod]
        else:
            alive[pod] = state
    pods = sorted({change.pod for change in changes})
    texts = st.dictionaries(st.sampled_from(pods or [0]), st.just("x"), max_size=len(pods))
    return trace(
        *changes,
        duration=at + draw(st.sampled_from((0, 1, 5000))),
        pod_names=FrozenDict(draw(texts) if pods else {}),
        pod_uids=FrozenDict(draw(texts) if pods else {}),
        reference=FrozenDict(draw(st.sampled_from(({}, {"writes": 3})))),
    )


@given(traces())
def test_a_trace_that_is_written_down_is_the_same_when_read(one: Trace) -> None:
    data = json.loads(json.dumps(encode_trace(one)))
    assert decode_trace(data, name=one.name) == one


@given(traces())
def test_a_trace_can_be_pickled(one: Trace) -> None:
    assert pickle.loads(pickle.dumps(one)) == one


@given(traces(), st.data())
def test_a_trace_with_a_change_missing_is_refused_or_another_history(
    one: Trace, data: st.DataObject
) -> None:
    if not one.changes:
        return
    i = data.draw(st.integers(0, len(one.changes) - 1))
    rest = one.changes[:i] + one.changes[i + 1 :]
    pod = one.changes[i].pod
    later = next((change for change in rest[i:] if change.pod == pod), None)
    node = one.changes[i].node
    is_broken = later is not None and (
        later.node is None if node is not None else one.changes[i].state is None
    )
    if is_broken:
        with pytest.raises(TraceError) as caught:
            attrs.evolve(one, changes=rest)
        assert caught.value.value == pod
    else:
        assert attrs.evolve(one, changes=rest).changes == rest


def test_recorded_traces_survive_being_written_down() -> None:
    for path in RECORDED[-2:]:
        one = read_trace(path)
        assert decode_trace(encode_trace(one), name=one.name) == one
