"""A watch of a real cluster -> the trace of what happened to a Service's endpoints.

What a watch tells is the latest state of one object after another. Which endpoints there are,
and in what state, follows from those of all objects that are there at a moment.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias, final

import attrs

from endpointslice.errors import ManifestError, TraceError
from endpointslice.manifests import decode_pod, decode_slice
from endpointslice.models import LABEL_SERVICE_NAME, LABEL_ZONE, EndpointConditions, FrozenDict
from endpointslice.simulate.traces import TICK, Change, PodState, Trace, TraceFile

__all__ = ["read_watch", "trace_from_watch"]

#: What tells one backend from another: the uid of its Pod, or else its addresses.
_Identity: TypeAlias = tuple[str, ...]
#: Zone and node of a backend.
_Place: TypeAlias = tuple[str, str]

#: Seconds from 1970 on are some 2e9.
_MAX_SECONDS: Final = 10**11
_EVENT_TYPES: Final = ("ADDED", "MODIFIED", "DELETED", "BOOKMARK")


@final
@attrs.frozen
class _Backend:
    """What an object says of a backend."""

    state: PodState
    place: _Place
    name: str
    uid: str


@final
@attrs.frozen
class _Object:
    """What an event says.

    Attributes:
        key: Kind, namespace and name of the object.
        group: Service and address type of a slice; None for a Pod.
        backends: All that are in it now.
    """

    key: tuple[str, str, str]
    group: tuple[str, str] | None
    backends: Mapping[_Identity, _Backend]


def read_watch(file: TraceFile, *, service: str = "") -> Trace:
    """Read a watch from lines of JSON, gzipped or not; it is named after the file.

    See `trace_from_watch` for what the lines hold.

    Raises:
        TraceError: It is cut off, is no JSON, or is no watch.
        OSError: It cannot be read.
    """
    data = file.read_bytes()
    try:
        text = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except (EOFError, OSError, zlib.error) as error:
        raise TraceError("", f"is a broken gzip file ({error})") from None
    events: list[Any] = []
    for line in filter(bytes.strip, text.splitlines()):
        try:
            events.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise TraceError(f"events[{len(events)}]", f"is no JSON ({error})") from None
    return trace_from_watch(events, name=file.name.split(".")[0], service=service)


def trace_from_watch(events: Iterable[Mapping[str, Any]], *, name: str, service: str = "") -> Trace:
    """Return the trace of a Service that was watched.

    An event has a `type` and an `object`, as the API server sends them, and `at`, the seconds at
    which it came, from whatever moment on. Objects are the Service's EndpointSlices or its Pods.
    Slices change when their controller writes them; Pods when something happens, so they are the
    better ones for short sync periods. A Pod has an endpoint once it has a node and an IP, until
    it has ended or is gone.

    Nodes are numbered so that those of a zone stay together, and names and uids of Pods are
    kept. Of a dual-stack Service the slices of one address type count, that of the first.

    Args:
        events: In order of time. The first ones say what is there in the beginning.
        name: What the trace is called.
        service: The Service whose slices count, if there are others too.

    Raises:
        TraceError: An event is none, its object is no EndpointSlice or Pod that can be, or it is
            of a second Service, and none was named.

    Complexity: O(n) for n endpoints in all events together.
    """
    told = list(_follow(events, service))
    numbers: dict[_Identity, int] = {}
    for _, identity, _ in told:
        numbers.setdefault(identity, len(numbers))
    latest = {identity: backend for _, identity, backend in told if backend is not None}
    nodes, zones = _number_nodes(backend.place for _, _, backend in told if backend is not None)
    present: dict[_Identity, bool] = {}
    changes = []
    for at, identity, backend in told:
        appears = backend is not None and not present.get(identity)
        present[identity] = backend is not None
        changes.append(
            Change(
                at,
                numbers[identity],
                None if backend is None else backend.state,
                nodes[backend.place] if backend is not None and appears else None,
            )
        )
    return Trace(
        name=name,
        nodes=max(nodes.values(), default=0) + 1,
        zones=zones,
        changes=tuple(changes),
        duration=(changes[-1].at if changes else 0) + TICK,
        pod_names=FrozenDict((numbers[i], b.name) for i, b in latest.items() if b.name),
        pod_uids=FrozenDict((numbers[i], b.uid) for i, b in latest.items() if b.uid),
    )


def _follow(
    events: Iterable[Mapping[str, Any]], service: str
) -> Iterator[tuple[int, _Identity, _Backend | None]]:
    """Yield when a backend's state changes, in milliseconds, and what it is then."""
    objects: dict[tuple[str, str, str], Mapping[_Identity, _Backend]] = {}
    #: What each object says of a backend, the latest last: while it moves it is in two.
    sayings: dict[_Identity, dict[tuple[str, str, str], _Backend]] = {}
    group: tuple[str, str] | None = None
    start: float | None = None
    now = 0
    for i, event in enumerate(events):
        path = f"events[{i}]"
        at = _seconds(event, path)
        start = at if start is None else start
        moment = round((at - start) * TICK)
        if moment < now:
            raise TraceError(f"{path}.at", "must not come before what stands before it", at)
        now = moment
        found = _decode_event(event, path)
        if found is None:
            continue
        if found.group is not None:
            if service and found.group[0] != service:
                continue
            group = group or found.group
            if found.group[0] != group[0]:
                where = f"{path}.object.metadata.labels[{LABEL_SERVICE_NAME}]"
                raise TraceError(where, "is a second Service: name one", found.group[0])
            if found.group != group:
                continue
        before = objects.get(found.key, {})
        objects[found.key] = found.backends
        for identity in dict.fromkeys((*before, *found.backends)):
            said = sayings.setdefault(identity, {})
            old = _latest(said)
            said.pop(found.key, None)
            if identity in found.backends:
                said[found.key] = found.backends[identity]
            new = _latest(said)
            if (old and old.state) != (new and new.state):
                yield now, identity, new


def _latest(said: Mapping[tuple[str, str, str], _Backend]) -> _Backend | None:
    return [*said.values()][-1] if said else None


def _number_nodes(places: Iterable[_Place]) -> tuple[dict[_Place, int], int]:
    """Number the nodes, so that node i is in zone i mod zones, and count the zones."""
    by_zone: dict[str, list[_Place]] = {}
    for place in sorted(dict.fromkeys(places)):
        by_zone.setdefault(place[0], []).append(place)
    zones = max(1, len(by_zone))
    return {
        place: k * zones + j
        for j, members in enumerate(by_zone.values())
        for k, place in enumerate(members)
    }, zones


# --- one event --------------------------------------------------------------------------------


def _seconds(event: object, path: str) -> float:
    if not isinstance(event, Mapping):
        raise TraceError(path, "must be an object", event)
    at = event.get("at")
    if isinstance(at, (int, float)) and not isinstance(at, bool) and abs(at) <= _MAX_SECONDS:
        return at
    raise TraceError(f"{path}.at", "must be the seconds at which it came", at)


def _decode_event(event: Mapping[str, Any], path: str) -> _Object | None:
    """Return what an event says; None for a bookmark, which says nothing."""
    kind = event.get("type")
    if kind not in _EVENT_TYPES:
        raise TraceError(f"{path}.type", f"must be one of {', '.join(_EVENT_TYPES)}", kind)
    if kind == "BOOKMARK":
        return None
    manifest = event.get("object")
    if not isinstance(manifest, Mapping):
        raise TraceError(f"{path}.object", "must be an object", manifest)
    what = manifest.get("kind")
    if not isinstance(what, str) or what not in _DECODERS:
        raise TraceError(f"{path}.object.kind", f"must be one of {', '.join(_DECODERS)}", what)
    try:
        found = _DECODERS[what](manifest)
    except ManifestError as error:
        refused = error.within(f"{path}.object")
        raise TraceError(refused.path, refused.message, refused.value) from None
    return attrs.evolve(found, backends={}) if kind == "DELETED" else found


def _decode_slice(manifest: Mapping[str, Any]) -> _Object:
    stored = decode_slice(manifest)
    meta = stored.metadata
    backends: dict[_Identity, _Backend] = {}
    for endpoint in stored.endpoints:
        target = endpoint.target_ref
        uid = "" if target is None else target.uid
        place = (endpoint.zone or "", endpoint.node_name or "")
        backends[(uid,) if uid else endpoint.addresses] = _Backend(
            _state_of(endpoint.conditions), place, "" if target is None else target.name, uid
        )
    service = meta.labels.get(LABEL_SERVICE_NAME, "")
    key = ("EndpointSlice", meta.namespace, meta.name)
    return _Object(key, (service, stored.address_type), backends)


def _decode_pod(manifest: Mapping[str, Any]) -> _Object:
    pod = decode_pod(manifest)
    meta = pod.metadata
    backends: dict[_Identity, _Backend] = {}
    has_endpoint = pod.node_name and (pod.pod_ip or pod.pod_ips)
    if has_endpoint and pod.phase not in {"Succeeded", "Failed"}:
        terminating = meta.deletion_timestamp is not None
        conditions = EndpointConditions(ready=pod.ready, terminating=terminating)
        place = (meta.labels.get(LABEL_ZONE, ""), pod.node_name)
        backends[(meta.uid or meta.name,)] = _Backend(
            _state_of(conditions), place, meta.name, meta.uid
        )
    return _Object(("Pod", meta.namespace, meta.name), None, backends)


def _state_of(conditions: EndpointConditions) -> PodState:
    if conditions.terminating:
        return PodState.TERMINATING
    return PodState.READY if conditions.ready else PodState.NOT_READY


_DECODERS: Final[Mapping[str, Callable[[Mapping[str, Any]], _Object]]] = {
    "EndpointSlice": _decode_slice,
    "Pod": _decode_pod,
}
