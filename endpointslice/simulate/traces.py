"""What happens to a Service's endpoints over time, whoever made it happen.

A trace is a recorded or a made-up history: numbered pods appear on numbered nodes, turn ready,
terminate and go. It knows nothing of slices, so that any strategy can be run on it.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from hashlib import md5
from string import ascii_lowercase
from typing import Any, Final, Protocol, final

import attrs

from endpointslice.errors import TraceError
from endpointslice.models import Endpoint, EndpointConditions, FrozenDict, ObjectReference

__all__ = [
    "TICK",
    "Change",
    "PodState",
    "Trace",
    "TraceFile",
    "decode_trace",
    "encode_trace",
    "read_trace",
]

#: A step of a trace, in milliseconds.
TICK: Final = 1000
#: So many pods have an address of their own, 10.0.0.1 to 10.255.249.250.
_MAX_PODS: Final = 16_000_000
#: Zones are named by one letter.
_MAX_ZONES: Final = 26
_ZONE_NAMES: Final = tuple(f"zone-{letter}" for letter in ascii_lowercase[:_MAX_ZONES])
#: What is said to happen later, in seconds, is a slip: this is 30 years.
_MAX_SECONDS: Final = 10**9


class PodState(StrEnum):
    """What a pod's endpoint says, by the letter that a trace has for it."""

    NOT_READY = "n"
    READY = "r"
    #: Terminating, and serving still.
    TERMINATING = "t"


_CONDITIONS: Final = {
    PodState.NOT_READY: EndpointConditions(ready=False, serving=False),
    PodState.READY: EndpointConditions(),
    PodState.TERMINATING: EndpointConditions(ready=False, serving=True, terminating=True),
}


@final
@attrs.frozen
class Change:
    """What happens to one pod at one moment.

    Attributes:
        at: When, in milliseconds from the start.
        pod: Its number, 0 or above.
        state: What it is from now on; None if it is gone.
        node: The number of its node, where it appears; None in all later changes.
    """

    at: int
    pod: int
    state: PodState | None
    node: int | None = None


@final
@attrs.frozen(kw_only=True)
class Trace:
    """The life of all pods of one Service.

    A pod that is gone may appear again, on whatever node.

    Attributes:
        name: What it is called in reports.
        nodes: How many nodes there are, numbered from 0.
        zones: How many zones, 1..26; node i is in zone i mod zones.
        changes: What happens, in order of time.
        duration: How long it is, in milliseconds; no change comes later.
        pod_names: Names of pods whose name does not follow from their number.
        pod_uids: Uids of pods whose uid does not follow from their number.
        reference: Totals that another implementation had on this trace, by name.

    Raises:
        TraceError: A change does not fit those before it, or the nodes or the time.
    """

    name: str
    nodes: int
    zones: int
    changes: tuple[Change, ...] = attrs.field(repr=False)
    duration: int
    pod_names: Mapping[int, str] = attrs.field(default=FrozenDict(), repr=False)
    pod_uids: Mapping[int, str] = attrs.field(default=FrozenDict(), repr=False)
    reference: Mapping[str, int] = attrs.field(default=FrozenDict(), repr=False)

    def __attrs_post_init__(self) -> None:
        if self.nodes < 1:
            raise TraceError("nodes", "must be at least 1", self.nodes)
        if not 1 <= self.zones <= _MAX_ZONES:
            raise TraceError("zones", f"must be 1..{_MAX_ZONES}", self.zones)
        for i, message, value in _faults(self.changes, self.nodes):
            raise TraceError(f"changes[{i}]", message, value)
        if self.changes and self.changes[-1].at > self.duration:
            raise TraceError("duration", "must not end before the last change", self.duration)

    @property
    def zone_names(self) -> Sequence[str]:
        """What the zones are called, by number."""
        return _ZONE_NAMES[: self.zones]

    def endpoint(self, pod: int, node: int, state: PodState) -> Endpoint:
        """Return the endpoint of a pod in this state.

        Pod 7 is `web-7d4b9c6f5d-00007` of namespace prod at 10.0.0.8, unless `pod_names` says
        otherwise; node 12 is `node-012`.
        """
        name = self.pod_names.get(pod) or f"web-7d4b9c6f5d-{pod:05d}"
        uid = self.pod_uids.get(pod) or _uid_of(str(pod))
        return Endpoint(
            (f"10.{pod // 62500}.{pod // 250 % 250}.{pod % 250 + 1}",),
            _CONDITIONS[state],
            node_name=f"node-{node:03d}",
            zone=self.zone_names[node % self.zones],
            target_ref=ObjectReference("Pod", "prod", name, uid),
        )

    def with_random_uids(self, seed: int = 0) -> Trace:
        """Return the same history of pods with other uids, which say nothing of who goes when.

        It is the control for strategies that read uids: what they still gain, they do not gain
        from them.
        """
        pods = sorted({change.pod for change in self.changes})
        uids = FrozenDict((pod, _uid_of(f"{seed}/{pod}")) for pod in pods)
        return attrs.evolve(self, pod_uids=uids)


def _uid_of(text: str) -> str:
    digest = md5(text.encode(), usedforsecurity=False).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:]))


def _faults(changes: Sequence[Change], nodes: int) -> Iterator[tuple[int, str, object]]:
    """Yield the number of each change that does not fit those before it, and what is wrong."""
    alive: set[int] = set()
    now = 0
    for i, change in enumerate(changes):
        pod, node = change.pod, change.node
        if change.at < now:
            yield i, "must not come before what stands before it", change.at
        now = change.at
        if node is None:
            if pod not in alive:
                yield i, "names a pod that is not there", pod
            if change.state is None:
                alive.discard(pod)
        elif pod in alive:
            yield i, "adds a pod that is there already", pod
        elif not 0 <= pod < _MAX_PODS:
            yield i, f"must be a pod 0..{_MAX_PODS - 1}", pod
        elif not 0 <= node < nodes:
            yield i, f"must be on a node 0..{nodes - 1}", node
        elif change.state is None:
            yield i, "must have a state", pod
        else:
            alive.add(pod)


# --- reading ----------------------------------------------------------------------------------


class TraceFile(Protocol):
    """What a trace is read from: a `pathlib.Path`, or whatever else can be read like one."""

    @property
    def name(self) -> str:
        """The file's name, without the directory."""
        ...

    def read_bytes(self) -> bytes:
        """Return all that is in it."""
        ...


def read_trace(file: TraceFile) -> Trace:
    """Read a trace from JSON, gzipped or not; it is named after the file, without `.json.gz`.

    Raises:
        TraceError: It is cut off, or is no trace.
        OSError: It cannot be read.
    """
    data = file.read_bytes()
    try:
        text = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except (EOFError, OSError, zlib.error) as error:
        raise TraceError("", f"is a broken gzip file ({error})") from None
    try:
        decoded = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TraceError("", f"is no JSON ({error})") from None
    return decode_trace(decoded, name=file.name.removesuffix(".gz").removesuffix(".json"))


def decode_trace(data: Mapping[str, Any], *, name: str) -> Trace:
    """Return the trace that a JSON object describes.

    Its `steps` hold lists: `add` of [pod, node, state], `set` of [pod, state], `del` of pods,
    with the letters of `PodState`. Step i happens in the second from i on, its changes spread
    over that second in an order that is arbitrary and always the same; those of one pod come as
    add, set, del. A step that says `at`, in seconds, happens at that very moment instead, in
    the order in which it is written. `nodes` and `zones` are counts; `names` and `uids` of
    pods, by number, and `reference` totals may be there.

    Args:
        data: The object. What it has besides is ignored, but not in a step.
        name: What the trace is called.

    Raises:
        TraceError: It is no such object, or its steps do not fit each other.

    Complexity: O(n log n) for n changes.
    """
    if not isinstance(data, Mapping):
        raise TraceError("", "must be an object", data)
    nodes, zones = (_whole(_member(data, key), key) for key in ("nodes", "zones"))
    steps = _list(_member(data, "steps"), "steps")
    found: list[tuple[str, Change]] = []
    end = 0
    for i, step in enumerate(steps):
        end = _decode_step(step, f"steps[{i}]", i * TICK, found)
    changes = tuple(change for _, change in found)
    for i, message, value in _faults(changes, nodes):
        raise TraceError(found[i][0], message, value)
    pods = {change.pod for change in changes}
    return Trace(
        name=name,
        nodes=nodes,
        zones=zones,
        changes=changes,
        duration=end,
        pod_names=_decode_texts(data.get("names"), "names", pods),
        pod_uids=_decode_texts(data.get("uids"), "uids", pods),
        reference=FrozenDict(
            (key, _whole(value, f"reference.{key}"))
            for key, value in _object(data.get("reference"), "reference").items()
        ),
    )


_STEP_KEYS: Final = ("at", "add", "set", "del")


def _decode_step(step: object, path: str, start: int, found: list[tuple[str, Change]]) -> int:
    """Add a step's changes to those found, each with its path; return when the step ends."""
    members = _object(step, path)
    for key in members:
        if key not in _STEP_KEYS:
            raise TraceError(f"{path}.{key}", f"must be one of {', '.join(_STEP_KEYS)}")
    is_spread = members.get("at") is None
    at = start if is_spread else _milliseconds(members["at"], f"{path}.at")
    changes = [*_decode_changes(members, path, at)]
    if found and found[-1][1].at > at:
        raise TraceError(path, "must not come before what stands before it", at / TICK)
    if is_spread:
        changes.sort(key=lambda item: zlib.crc32(b"%d" % item[1].pod))
        changes = [
            (where, attrs.evolve(change, at=at + i * TICK // len(changes)))
            for i, (where, change) in enumerate(changes)
        ]
    found += changes
    return at + TICK if is_spread else at


def _decode_changes(step: Mapping[str, Any], path: str, at: int) -> Iterator[tuple[str, Change]]:
    for where, (pod, node, state) in _rows(step, path, "add", 3):
        yield where, Change(at, _whole(pod, where), _state(state, where), _whole(node, where))
    for where, (pod, state) in _rows(step, path, "set", 2):
        yield where, Change(at, _whole(pod, where), _state(state, where))
    for i, pod in enumerate(_list(step.get("del"), f"{path}.del")):
        yield f"{path}.del[{i}]", Change(at, _whole(pod, f"{path}.del[{i}]"), None)


def _rows(
    step: Mapping[str, Any], path: str, key: str, width: int
) -> Iterator[tuple[str, list[Any]]]:
    for i, row in enumerate(_list(step.get(key), f"{path}.{key}")):
        where = f"{path}.{key}[{i}]"
        if not isinstance(row, list) or len(row) != width:
            raise TraceError(where, f"must be a list of {width}", row)
        yield where, row


def _member(data: Mapping[str, Any], key: str) -> Any:
    if key not in data:
        raise TraceError(key, "is missing")
    return data[key]


def _list(value: object, path: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise TraceError(path, "must be a list", value)
    return value


def _object(value: object, path: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TraceError(path, "must be an object", value)
    return value


def _whole(value: object, path: str) -> int:
    if type(value) is not int or value < 0:
        raise TraceError(path, "must be a whole number", value)
    return value


def _state(value: object, path: str) -> PodState:
    state = _STATES.get(value) if isinstance(value, str) else None
    if state is None:
        raise TraceError(path, f"must be in a state of {', '.join(_STATES)}", value)
    return state


_STATES: Final = {str(state): state for state in PodState}


def _milliseconds(value: object, path: str) -> int:
    if isinstance(value, (int, float)) and type(value) is not bool and 0 <= value <= _MAX_SECONDS:
        return round(value * TICK)
    raise TraceError(path, f"must be 0..{_MAX_SECONDS} seconds", value)


def _decode_texts(value: object, path: str, pods: set[int]) -> FrozenDict[int, str]:
    by_text = {str(pod): pod for pod in pods}
    found: dict[int, str] = {}
    for key, text in _object(value, path).items():
        if key not in by_text:
            raise TraceError(f"{path}.{key}", "names a pod that is not there")
        if not isinstance(text, str) or not text or not text.isprintable():
            raise TraceError(f"{path}.{key}", "must be printable text", text)
        found[by_text[key]] = text
    return FrozenDict(found)


# --- writing ----------------------------------------------------------------------------------


def encode_trace(trace: Trace) -> dict[str, Any]:
    """Return the JSON object that `decode_trace` makes the same trace of, but for its name."""
    steps: list[dict[str, Any]] = []
    phase = now = -1
    for change in trace.changes:
        key, row = _encode_change(change)
        # A step is read as add, set, del: what comes in another order needs another step.
        if change.at != now or _STEP_KEYS.index(key) < phase:
            steps.append({"at": change.at / TICK})
        phase, now = _STEP_KEYS.index(key), change.at
        steps[-1].setdefault(key, []).append(row)
    if trace.duration != now:
        steps.append({"at": trace.duration / TICK})
    data: dict[str, Any] = {"nodes": trace.nodes, "zones": trace.zones, "steps": steps}
    texts: Iterable[tuple[str, Mapping[int, str]]]
    texts = (("names", trace.pod_names), ("uids", trace.pod_uids))
    for key, by_pod in texts:
        if by_pod:
            data[key] = {str(pod): by_pod[pod] for pod in sorted(by_pod)}
    if trace.reference:
        data["reference"] = dict(trace.reference)
    return data


def _encode_change(change: Change) -> tuple[str, Any]:
    if change.state is None:
        return "del", change.pod
    if change.node is None:
        return "set", [change.pod, str(change.state)]
    return "add", [change.pod, change.node, str(change.state)]
