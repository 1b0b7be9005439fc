"""Kubernetes JSON objects <-> models: the door in, and the door out.

A manifest is a plain dict, as `json.load`, a YAML loader or any client's `to_dict` gives it.
Decoding never changes it and keeps no reference to it. What is not modelled survives a round
trip, in this **canonical form**:

- `apiVersion` and `kind` are always written; discovery.k8s.io/v1beta1 is read and becomes v1;
- null, "", {} and an absent key of `metadata`, an endpoint or a port are the same, and not
  written; so are `ports` and `endpoints` that are absent and null: they are written as null;
- a port's `name` and `protocol` are always written, as the API server defaults them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from sys import intern
from typing import Any, Final, TypeVar, final

import attrs

from endpointslice.errors import ManifestError, ModelError
from endpointslice.models import (
    LABEL_ZONE,
    MAX_ENDPOINTS_PER_SLICE,
    NO_HINTS,
    AddressType,
    ContainerPort,
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    FrozenDict,
    Node,
    ObjectMeta,
    ObjectReference,
    OwnerReference,
    Pod,
    Protocol,
    Service,
    ServicePort,
)
from endpointslice.plan import CreateSlice, DeleteSlice, Operation, Plan, UpdateSlice

__all__ = [
    "DecodedObjects",
    "decode_node",
    "decode_objects",
    "decode_pod",
    "decode_service",
    "decode_slice",
    "encode_plan",
    "encode_slice",
    "iter_objects",
]

_Model = TypeVar("_Model")
_NONE: Final[FrozenDict[str, Any]] = FrozenDict()
_ADDRESS_TYPES: Final = {str(value): value for value in AddressType}
_PROTOCOLS: Final = {str(value): value for value in Protocol}
_BETA: Final = "discovery.k8s.io/v1beta1"
_LABEL_HOSTNAME: Final = "kubernetes.io/hostname"


# --- reading one field ------------------------------------------------------------------------


def _freeze(value: Any) -> Any:
    """An immutable copy of any JSON value."""
    if isinstance(value, Mapping):
        return FrozenDict({name: _freeze(item) for name, item in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(map(_freeze, value))
    return value


def _thaw(value: Any) -> Any:
    """The plain JSON value of what `_freeze` made."""
    if isinstance(value, Mapping):
        return {name: _thaw(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return list(map(_thaw, value))
    return value


def _mapping(value: object, path: str = "") -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ManifestError(path, "must be an object", value)
    return value


def _object(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = manifest.get(name)
    return _NONE if value is None else _mapping(value, name)


def _list(manifest: Mapping[str, Any], name: str) -> list[Any] | tuple[Any, ...]:
    value = manifest.get(name)
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        raise ManifestError(name, "must be a list", value)
    return value


def _string(manifest: Mapping[str, Any], name: str) -> str:
    value = manifest.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ManifestError(name, "must be a string", value)
    return value


def _optional_string(manifest: Mapping[str, Any], name: str) -> str | None:
    return _string(manifest, name) or None


def _boolean(manifest: Mapping[str, Any], name: str) -> bool | None:
    value = manifest.get(name)
    if value is not None and not isinstance(value, bool):
        raise ManifestError(name, "must be true or false", value)
    return value


def _integer(manifest: Mapping[str, Any], name: str, lowest: int, highest: int) -> int | None:
    value = manifest.get(name)
    if value is None:
        return None
    if type(value) is not int or not lowest <= value <= highest:
        raise ManifestError(name, f"must be a whole number, {lowest}..{highest}", value)
    return value


def _required(value: Any, name: str) -> Any:
    if value in (None, ""):
        raise ManifestError(name, "is required")
    return value


def _string_map(manifest: Mapping[str, Any], name: str) -> FrozenDict[str, str]:
    value = _object(manifest, name)
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise ManifestError(f"{name}[{key}]", "must be a string", text)
    return FrozenDict(value) if value else _NONE


def _strings(manifest: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = _list(manifest, name)
    for i, value in enumerate(values):
        if not isinstance(value, str):
            raise ManifestError(f"{name}[{i}]", "must be a string", value)
    return tuple(values)


def _rest(manifest: Mapping[str, Any], known: frozenset[str]) -> FrozenDict[str, Any]:
    """What is not modelled. Null says nothing, so it is not kept."""
    if manifest.keys() <= known:
        return _NONE
    return FrozenDict(
        {k: _freeze(v) for k, v in manifest.items() if k not in known and v is not None}
    )


def _each(
    manifest: Mapping[str, Any], name: str, decode: Callable[[Mapping[str, Any]], _Model]
) -> tuple[_Model, ...]:
    """Decode every object of a list; errors carry the position."""
    result = []
    for i, item in enumerate(_list(manifest, name)):
        try:
            result.append(decode(_mapping(item)))
        except ManifestError as error:
            raise error.within(f"{name}[{i}]") from None
        except ModelError as error:
            raise _from_model(error).within(f"{name}[{i}]") from None
    return tuple(result)


def _from_model(error: ModelError) -> ManifestError:
    return ManifestError(error.field, error.message, error.value)


def _check_kind(manifest: Mapping[str, Any], kind: str, *versions: str) -> None:
    """The type, where it is stated: items of a list as clients give it state none."""
    stated = _string(manifest, "kind")
    if stated and stated != kind:
        raise ManifestError("kind", f"must be {kind}", stated)
    version = _string(manifest, "apiVersion")
    if version and version not in versions:
        raise ManifestError("apiVersion", f"must be {' or '.join(versions)}", version)


# --- metadata ---------------------------------------------------------------------------------

_META_FIELDS: Final = frozenset(
    [
        "namespace",
        "name",
        "generateName",
        "uid",
        "resourceVersion",
        "generation",
        "labels",
        "annotations",
        "ownerReferences",
        "creationTimestamp",
        "deletionTimestamp",
    ]
)
_OWNER_FIELDS: Final = frozenset(
    ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"]
)


def _decode_owner(manifest: Mapping[str, Any]) -> OwnerReference:
    return OwnerReference(
        api_version=_string(manifest, "apiVersion"),
        kind=_string(manifest, "kind"),
        name=_string(manifest, "name"),
        uid=_string(manifest, "uid"),
        controller=_boolean(manifest, "controller"),
        block_owner_deletion=_boolean(manifest, "blockOwnerDeletion"),
        extra=_rest(manifest, _OWNER_FIELDS),
    )


def _decode_meta(manifest: Mapping[str, Any]) -> ObjectMeta:
    meta = _object(manifest, "metadata")
    try:
        return ObjectMeta(
            namespace=intern(str(_string(meta, "namespace"))),
            name=_string(meta, "name"),
            generate_name=_string(meta, "generateName"),
            uid=_string(meta, "uid"),
            resource_version=_string(meta, "resourceVersion"),
            generation=_integer(meta, "generation", 0, 2**63 - 1) or 0,
            labels=_string_map(meta, "labels"),
            annotations=_string_map(meta, "annotations"),
            owner_references=_each(meta, "ownerReferences", _decode_owner),
            creation_timestamp=_optional_string(meta, "creationTimestamp"),
            deletion_timestamp=_optional_string(meta, "deletionTimestamp"),
            extra=_rest(meta, _META_FIELDS),
        )
    except ManifestError as error:
        raise error.within("metadata") from None


def _encode_owner(owner: OwnerReference) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
    }
    if owner.controller is not None:
        manifest["controller"] = owner.controller
    if owner.block_owner_deletion is not None:
        manifest["blockOwnerDeletion"] = owner.block_owner_deletion
    manifest.update(_thaw(owner.extra))
    return manifest


def _encode_meta(meta: ObjectMeta) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "name": meta.name,
        "generateName": meta.generate_name,
        "namespace": meta.namespace,
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
        "generation": meta.generation,
        "creationTimestamp": meta.creation_timestamp,
        "deletionTimestamp": meta.deletion_timestamp,
        "labels": dict(meta.labels),
        "annotations": dict(meta.annotations),
        "ownerReferences": list(map(_encode_owner, meta.owner_references)),
    }
    manifest = {name: value for name, value in manifest.items() if value}
    manifest.update(_thaw(meta.extra))
    return manifest


# --- EndpointSlice ----------------------------------------------------------------------------

_SLICE_FIELDS: Final = frozenset(
    ["apiVersion", "kind", "metadata", "addressType", "ports", "endpoints"]
)
_PORT_FIELDS: Final = frozenset(["name", "port", "protocol", "appProtocol"])
_ENDPOINT_FIELDS: Final = frozenset(
    ["addresses", "conditions", "hostname", "nodeName", "zone", "targetRef", "hints"]
)
_REFERENCE_FIELDS: Final = frozenset(
    ["kind", "namespace", "name", "uid", "apiVersion", "fieldPath", "resourceVersion"]
)
_CONDITION_FIELDS: Final = frozenset(["ready", "serving", "terminating"])
_HINT_FIELDS: Final = frozenset(["forZones", "forNodes"])


def _conditions_of(
    ready: bool | None, serving: bool | None, terminating: bool | None
) -> EndpointConditions:
    """What the API says unset conditions mean: ready, serving as ready, not terminating."""
    is_ready = ready is not False
    return EndpointConditions(
        ready=is_ready,
        serving=is_ready if serving is None else serving,
        terminating=terminating is True,
        stated=(ready is not None) + 2 * (serving is not None) + 4 * (terminating is not None),
    )


_STATES: Final = (None, False, True)
#: There are only 27, so all endpoints share them.
_CONDITIONS: Final = {
    (ready, serving, terminating): _conditions_of(ready, serving, terminating)
    for ready in _STATES
    for serving in _STATES
    for terminating in _STATES
}


def _decode_conditions(manifest: Mapping[str, Any]) -> EndpointConditions:
    return _CONDITIONS[
        _boolean(manifest, "ready"),
        _boolean(manifest, "serving"),
        _boolean(manifest, "terminating"),
    ]


@lru_cache(maxsize=4096)
def _shared_hints(for_zones: tuple[str, ...], for_nodes: tuple[str, ...]) -> EndpointHints:
    return EndpointHints(for_zones=for_zones, for_nodes=for_nodes, stated=True)


def _decode_hint(manifest: Mapping[str, Any]) -> str:
    return str(_required(_string(manifest, "name"), "name"))


def _decode_hints(manifest: Mapping[str, Any]) -> EndpointHints:
    return _shared_hints(
        _each(manifest, "forZones", _decode_hint), _each(manifest, "forNodes", _decode_hint)
    )


def _decode_reference(manifest: Mapping[str, Any]) -> ObjectReference:
    return ObjectReference(
        intern(str(_string(manifest, "kind"))),
        intern(str(_string(manifest, "namespace"))),
        _string(manifest, "name"),
        _string(manifest, "uid"),
        _string(manifest, "apiVersion"),
        _string(manifest, "fieldPath"),
        _string(manifest, "resourceVersion"),
        _rest(manifest, _REFERENCE_FIELDS),
    )


def _within(name: str, decode: Callable[[Mapping[str, Any]], _Model], value: object) -> _Model:
    try:
        return decode(_mapping(value))
    except ManifestError as error:
        raise error.within(name) from None
    except ModelError as error:
        raise _from_model(error).within(name) from None


def _decode_endpoint(manifest: Mapping[str, Any]) -> Endpoint:
    conditions = manifest.get("conditions")
    reference = manifest.get("targetRef")
    hints = manifest.get("hints")
    node_name = _optional_string(manifest, "nodeName")
    zone = _optional_string(manifest, "zone")
    extra: Mapping[str, Any] = _rest(manifest, _ENDPOINT_FIELDS)
    for name, value, known in (
        ("conditions", conditions, _CONDITION_FIELDS),
        ("hints", hints, _HINT_FIELDS),
    ):
        if isinstance(value, Mapping) and not value.keys() <= known:
            extra = {**extra, name: _rest(value, known)}
    return Endpoint(
        _strings(manifest, "addresses"),
        _CONDITIONS[None, None, None]
        if conditions is None
        else _within("conditions", _decode_conditions, conditions),
        _optional_string(manifest, "hostname"),
        node_name and intern(str(node_name)),
        zone and intern(str(zone)),
        None if reference is None else _within("targetRef", _decode_reference, reference),
        NO_HINTS if hints is None else _within("hints", _decode_hints, hints),
        extra,
    )


def _decode_beta_endpoint(manifest: Mapping[str, Any]) -> Endpoint:
    """Read discovery.k8s.io/v1beta1: zone and node stand in the topology map there.

    Source: pkg/apis/discovery/v1beta1/conversion.go.
    """
    topology = dict(_string_map(manifest, "topology"))
    current = {k: v for k, v in manifest.items() if k != "topology"}
    if LABEL_ZONE in topology:
        current["zone"] = topology.pop(LABEL_ZONE)
    node_name = topology.get(_LABEL_HOSTNAME)
    if node_name is not None and current.get("nodeName") in (None, node_name):
        current["nodeName"] = topology.pop(_LABEL_HOSTNAME)
    if topology:
        current["deprecatedTopology"] = topology
    return _decode_endpoint(current)


def _decode_port(manifest: Mapping[str, Any]) -> EndpointPort:
    protocol = _string(manifest, "protocol") or "TCP"
    if protocol not in _PROTOCOLS:
        raise ManifestError("protocol", f"must be one of {', '.join(_PROTOCOLS)}", protocol)
    return EndpointPort(
        port=_integer(manifest, "port", 1, 65535),
        name=_string(manifest, "name"),
        protocol=_PROTOCOLS[protocol],
        app_protocol=_optional_string(manifest, "appProtocol"),
        extra=_rest(manifest, _PORT_FIELDS),
    )


def decode_slice(manifest: Mapping[str, Any]) -> EndpointSlice:
    """Read an EndpointSlice.

    Args:
        manifest: discovery.k8s.io/v1 or v1beta1, as JSON; apiVersion and kind may be absent.

    Returns:
        Its model; fields that are not modelled are in `extra`.

    Raises:
        ManifestError: It is not such an object; the error names the path and the value.

    Complexity: O(n) for n endpoints.
    Source: k8s.io/api/discovery/v1/types.go.
    """
    _mapping(manifest)
    _check_kind(manifest, "EndpointSlice", "discovery.k8s.io/v1", _BETA)
    beta = manifest.get("apiVersion") == _BETA
    stated = _required(_string(manifest, "addressType"), "addressType")
    if stated not in _ADDRESS_TYPES:
        raise ManifestError("addressType", f"must be one of {', '.join(_ADDRESS_TYPES)}", stated)
    count = len(_list(manifest, "endpoints"))
    if count > MAX_ENDPOINTS_PER_SLICE:
        raise ManifestError(
            "endpoints", f"must be at most {MAX_ENDPOINTS_PER_SLICE} endpoints", count
        )
    ports = manifest.get("ports")
    endpoints = manifest.get("endpoints")
    try:
        return EndpointSlice(
            metadata=_decode_meta(manifest),
            address_type=_ADDRESS_TYPES[stated],
            ports=_each(manifest, "ports", _decode_port),
            endpoints=_each(
                manifest, "endpoints", _decode_beta_endpoint if beta else _decode_endpoint
            ),
            extra=_rest(manifest, _SLICE_FIELDS),
            nulls=(ports is None) + 2 * (endpoints is None),
        )
    except ModelError as error:
        raise _from_model(error) from None


def _encode_port(port: EndpointPort) -> dict[str, Any]:
    manifest: dict[str, Any] = {"name": port.name, "protocol": str(port.protocol)}
    if port.port is not None:
        manifest["port"] = port.port
    if port.app_protocol:
        manifest["appProtocol"] = port.app_protocol
    manifest.update(_thaw(port.extra))
    return manifest


def _encode_reference(reference: ObjectReference) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "kind": reference.kind,
        "namespace": reference.namespace,
        "name": reference.name,
        "uid": reference.uid,
        "apiVersion": reference.api_version,
        "fieldPath": reference.field_path,
        "resourceVersion": reference.resource_version,
    }
    manifest = {name: value for name, value in manifest.items() if value}
    manifest.update(_thaw(reference.extra))
    return manifest


def _encode_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    conditions = endpoint.conditions
    stated = conditions._stated
    manifest: dict[str, Any] = {
        "addresses": list(endpoint.addresses),
        "conditions": {
            name: value
            for bit, name, value in (
                (1, "ready", conditions.ready),
                (2, "serving", conditions.serving),
                (4, "terminating", conditions.terminating),
            )
            if stated & bit
        },
    }
    if endpoint.hostname:
        manifest["hostname"] = endpoint.hostname
    if endpoint.node_name:
        manifest["nodeName"] = endpoint.node_name
    if endpoint.zone:
        manifest["zone"] = endpoint.zone
    if endpoint.target_ref is not None:
        manifest["targetRef"] = _encode_reference(endpoint.target_ref)
    hints = endpoint.hints
    if hints or hints._stated:
        encoded = {
            "forZones": [{"name": zone} for zone in hints.for_zones],
            "forNodes": [{"name": node} for node in hints.for_nodes],
        }
        manifest["hints"] = {name: value for name, value in encoded.items() if value}
    for name, value in endpoint.extra.items():
        if name in ("conditions", "hints"):
            manifest.setdefault(name, {}).update(_thaw(value))
        else:
            manifest[name] = _thaw(value)
    return manifest


def encode_slice(endpoint_slice: EndpointSlice) -> dict[str, Any]:
    """Write an EndpointSlice as discovery.k8s.io/v1 JSON.

    Returns:
        A new dict of plain JSON values, which any client takes as the body of a request.

    Complexity: O(n) for n endpoints.
    """
    nulls = endpoint_slice._nulls
    ports = list(map(_encode_port, endpoint_slice.ports))
    endpoints = list(map(_encode_endpoint, endpoint_slice.endpoints))
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": _encode_meta(endpoint_slice.metadata),
        "addressType": str(endpoint_slice.address_type),
        "ports": None if nulls & 1 and not ports else ports,
        "endpoints": None if nulls & 2 and not endpoints else endpoints,
        **_thaw(endpoint_slice.extra),
    }


# --- core/v1 ----------------------------------------------------------------------------------


def _decode_service_port(manifest: Mapping[str, Any]) -> ServicePort:
    target = manifest.get("targetPort")
    if target is not None and (isinstance(target, bool) or not isinstance(target, (int, str))):
        raise ManifestError("targetPort", "must be a port number or name", target)
    return ServicePort(
        port=_required(_integer(manifest, "port", 1, 65535), "port"),
        name=_string(manifest, "name"),
        protocol=_string(manifest, "protocol") or "TCP",
        target_port=target or None,
        app_protocol=_optional_string(manifest, "appProtocol"),
    )


def _named_object(manifest: Mapping[str, Any]) -> ObjectMeta:
    meta = _decode_meta(manifest)
    _required(meta.name, "metadata.name")
    return meta


def _spec(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return _mapping(_required(manifest.get(name), name), name)


def decode_service(manifest: Mapping[str, Any]) -> Service:
    """Read what of a Service decides its slices.

    Raises:
        ManifestError: It is not a v1 Service; the error names the path and the value.
    """
    _mapping(manifest)
    _check_kind(manifest, "Service", "v1")
    meta = _named_object(manifest)
    spec = _spec(manifest, "spec")
    try:
        return Service(
            metadata=meta,
            selector=_string_map(spec, "selector"),
            ports=_each(spec, "ports", _decode_service_port),
            type=_string(spec, "type") or "ClusterIP",
            cluster_ip=_string(spec, "clusterIP"),
            ip_families=_strings(spec, "ipFamilies"),
            publish_not_ready_addresses=_boolean(spec, "publishNotReadyAddresses") or False,
            traffic_distribution=_optional_string(spec, "trafficDistribution"),
        )
    except ManifestError as error:
        raise error.within("spec") from None


@lru_cache(maxsize=1024)
def _shared_container_port(number: int, name: str, protocol: str) -> ContainerPort:
    return ContainerPort(container_port=number, name=name, protocol=protocol)


def _decode_container_port(manifest: Mapping[str, Any]) -> ContainerPort:
    return _shared_container_port(
        _required(_integer(manifest, "containerPort", 1, 65535), "containerPort"),
        _string(manifest, "name"),
        _string(manifest, "protocol") or "TCP",
    )


def _decode_container(manifest: Mapping[str, Any]) -> tuple[ContainerPort, ...]:
    return _each(manifest, "ports", _decode_container_port)


def _decode_sidecar(manifest: Mapping[str, Any]) -> tuple[ContainerPort, ...]:
    if _string(manifest, "restartPolicy") != "Always":
        return ()
    return _decode_container(manifest)


def _decode_pod_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    containers = _each(spec, "containers", _decode_container)
    sidecars = _each(spec, "initContainers", _decode_sidecar)
    return {
        "node_name": intern(str(_string(spec, "nodeName"))),
        "hostname": _string(spec, "hostname"),
        "subdomain": _string(spec, "subdomain"),
        "container_ports": tuple(port for ports in containers + sidecars for port in ports),
    }


def _decode_pod_ip(manifest: Mapping[str, Any]) -> str:
    return _string(manifest, "ip")


def _decode_ready(manifest: Mapping[str, Any]) -> bool:
    return manifest.get("type") == "Ready" and manifest.get("status") == "True"


def _decode_pod_status(status: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "phase": intern(str(_string(status, "phase"))),
        "ready": any(_each(status, "conditions", _decode_ready)),
        "pod_ip": _string(status, "podIP"),
        "pod_ips": tuple(filter(None, _each(status, "podIPs", _decode_pod_ip))),
    }


def decode_pod(manifest: Mapping[str, Any]) -> Pod:
    """Read what of a Pod decides its endpoint.

    Raises:
        ManifestError: It is not a v1 Pod; the error names the path and the value.
    """
    _mapping(manifest)
    _check_kind(manifest, "Pod", "v1")
    meta = _named_object(manifest)
    spec = _within("spec", _decode_pod_spec, _spec(manifest, "spec"))
    status = _within("status", _decode_pod_status, _spec(manifest, "status"))
    return Pod(metadata=meta, **spec, **status)


def decode_node(manifest: Mapping[str, Any]) -> Node:
    """Read what of a Node decides where its endpoints are.

    Raises:
        ManifestError: It is not a v1 Node; the error names the path and the value.
    """
    _mapping(manifest)
    _check_kind(manifest, "Node", "v1")
    return Node(metadata=_named_object(manifest))


# --- many objects -----------------------------------------------------------------------------


def iter_objects(document: object, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the objects of a document: itself, or the items of a List of any kind, in order.

    A list as kubectl prints it (`List`), as the API server does (`PodList`), and a bare JSON
    array are all taken apart, at any depth. Items of a typed list get its kind and version,
    which the server leaves out of them.

    Args:
        document: What a JSON or YAML loader gave.
        path: Where the document stands, for the paths that are yielded.

    Yields:
        The path of each object, as `items[4]`, and the object.

    Raises:
        ManifestError: There is something that is no object.
    """
    if isinstance(document, (list, tuple)):
        for i, item in enumerate(document):
            yield from iter_objects(item, f"{path}[{i}]")
        return
    manifest = _mapping(document, path)
    kind = manifest.get("kind")
    items = manifest.get("items")
    if not (isinstance(kind, str) and kind.endswith("List")) and not isinstance(items, list):
        yield path, manifest
        return
    if items is not None and not isinstance(items, (list, tuple)):
        raise ManifestError(f"{path}.items".lstrip("."), "must be a list", items)
    defaults: dict[str, Any] = {}
    if isinstance(kind, str) and kind != "List":
        defaults = {"kind": kind.removesuffix("List"), "apiVersion": manifest.get("apiVersion")}
    for i, item in enumerate(items or ()):
        where = f"{path}.items[{i}]".lstrip(".")
        whole = {**defaults, **item} if defaults and isinstance(item, Mapping) else item
        yield from iter_objects(whole, where)


@final
@attrs.frozen(kw_only=True)
class DecodedObjects:
    """What `decode_objects` found, each in the order of the input.

    Attributes:
        problems: Objects that are not what they say, as errors; the others do not suffer.
        ignored: How many objects of other kinds there were, by kind.
    """

    services: tuple[Service, ...] = ()
    pods: tuple[Pod, ...] = ()
    nodes: tuple[Node, ...] = ()
    slices: tuple[EndpointSlice, ...] = ()
    problems: tuple[ManifestError, ...] = ()
    ignored: FrozenDict[str, int] = attrs.field(default=_NONE, repr=False)


_DECODERS: Final[Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Any]]]] = {
    "Service": ("services", decode_service),
    "Pod": ("pods", decode_pod),
    "Node": ("nodes", decode_node),
    "EndpointSlice": ("slices", decode_slice),
}


def decode_objects(documents: Iterable[object]) -> DecodedObjects:
    """Read Services, Pods, Nodes and EndpointSlices out of any mix of lists and objects.

    Args:
        documents: What a JSON or YAML loader gave, any number.

    Returns:
        The models by kind, and what could not be read. Objects of other kinds are counted.

    Complexity: O(n) for n objects and endpoints.
    """
    found: dict[str, list[Any]] = {name: [] for name, _ in _DECODERS.values()}
    problems: list[ManifestError] = []
    ignored: dict[str, int] = {}
    for document in documents:
        try:
            for path, manifest in iter_objects(document):
                kind = manifest.get("kind")
                if not isinstance(kind, str) or not kind:
                    problems.append(ManifestError(path, "has no kind", kind))
                elif kind not in _DECODERS:
                    ignored[kind] = ignored.get(kind, 0) + 1
                else:
                    name, decode = _DECODERS[kind]
                    try:
                        found[name].append(decode(manifest))
                    except ManifestError as error:
                        problems.append(error.within(_described(path, kind, manifest)))
        except ManifestError as error:
            problems.append(error)
    return DecodedObjects(
        **{name: tuple(models) for name, models in found.items()},
        problems=tuple(problems),
        ignored=FrozenDict(sorted(ignored.items())),
    )


def _described(path: str, kind: str, manifest: Mapping[str, Any]) -> str:
    """Name an object by what people know it by, and by where it stands."""
    meta = manifest.get("metadata")
    name = ""
    if isinstance(meta, Mapping):
        name = "/".join(
            str(meta[part]) for part in ("namespace", "name") if isinstance(meta.get(part), str)
        )
    label = f"{kind} {name}".rstrip()
    return f"{path} ({label})" if path else f"({label})"


# --- plans ------------------------------------------------------------------------------------


_VERBS: Final[Mapping[type[Operation], str]] = {
    CreateSlice: "create",
    UpdateSlice: "update",
    DeleteSlice: "delete",
}


def encode_plan(plan: Plan) -> dict[str, Any]:
    """Write a plan as plain JSON.

    Returns:
        `operations`, in the order in which they must be carried out: each has `operation`
        (create, update or delete), `reasons`, and `object`, the slice to send, or the slice to
        delete as it stands. `unchanged` has the names of the slices that stay as they are,
        `minimumWrites` the fewest writes that any plan needs.

    Complexity: O(n) for n endpoints in written slices.
    """
    operations = [
        {
            "operation": _VERBS[type(operation)],
            "reasons": list(map(str, operation.reasons)),
            "object": encode_slice(operation.after or operation.before),
        }
        for operation in plan.operations
    ]
    return {
        "operations": operations,
        "unchanged": [current.name for current in plan.unchanged],
        "minimumWrites": plan.minimum_writes,
    }
