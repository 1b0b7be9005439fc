"""EndpointSlice, in and out: the hot door."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from operator import itemgetter
from sys import intern
from typing import Any, Final

import attrs

from endpointslice.collector import collector_paused
from endpointslice.errors import ManifestError, ModelError
from endpointslice.manifests.fields import (
    as_manifest_error,
    as_mapping,
    boolean_of,
    check_kind,
    decode_each,
    decode_items,
    decode_within,
    integer_of,
    list_of,
    optional_string_of,
    required,
    string_map_of,
    string_of,
    strings_of,
    thaw,
    unmodelled,
)
from endpointslice.manifests.metadata import decode_meta, encode_meta
from endpointslice.models import (
    LABEL_ZONE,
    MAX_ENDPOINTS_PER_SLICE,
    NO_HINTS,
    AddressType,
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    FrozenDict,
    ObjectReference,
    Protocol,
    _address_families,
    _fill_endpoint,
    _OpenEndpoint,
)

__all__ = ["decode_slice", "decode_slices", "encode_slice", "encode_slices"]

_ADDRESS_TYPES: Final = {str(value): value for value in AddressType}
_PROTOCOLS: Final = {str(value): value for value in Protocol}
_BETA: Final = "discovery.k8s.io/v1beta1"
_LABEL_HOSTNAME: Final = "kubernetes.io/hostname"
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
_plain_endpoint: Final = itemgetter("addresses", "conditions", "nodeName", "targetRef")
_plain_conditions: Final = itemgetter("ready", "serving", "terminating")
_plain_reference: Final = itemgetter("kind", "namespace", "name", "uid")


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
        boolean_of(manifest, "ready"),
        boolean_of(manifest, "serving"),
        boolean_of(manifest, "terminating"),
    ]


@lru_cache(maxsize=4096)
def _shared_hints(for_zones: tuple[str, ...], for_nodes: tuple[str, ...]) -> EndpointHints:
    return EndpointHints(for_zones=for_zones, for_nodes=for_nodes, stated=True)


def _decode_hint(manifest: Mapping[str, Any]) -> str:
    return str(required(string_of(manifest, "name"), "name"))


def _decode_hints(manifest: Mapping[str, Any]) -> EndpointHints:
    zones = decode_each(manifest, "forZones", _decode_hint)
    nodes = decode_each(manifest, "forNodes", _decode_hint)
    try:
        return _shared_hints(zones, nodes)
    except ModelError as error:
        refused = as_manifest_error(error)
        raise ManifestError(f"{refused.path}.name", refused.message, refused.value) from None


def _decode_reference(manifest: Mapping[str, Any]) -> ObjectReference:
    return ObjectReference(
        intern(str(string_of(manifest, "kind"))),
        intern(str(string_of(manifest, "namespace"))),
        string_of(manifest, "name"),
        string_of(manifest, "uid"),
        string_of(manifest, "apiVersion"),
        string_of(manifest, "fieldPath"),
        string_of(manifest, "resourceVersion"),
        unmodelled(manifest, _REFERENCE_FIELDS),
    )


def _unmodelled_within(
    name: str, manifest: Mapping[str, Any], known: frozenset[str]
) -> FrozenDict[str, Any]:
    try:
        return unmodelled(manifest, known)
    except ManifestError as error:
        raise error.within(name) from None


def _decode_plain_endpoint(manifest: Mapping[str, Any]) -> Endpoint | None:
    """Read an endpoint that is spelled as Kubernetes spells those of Pods: the hot path.

    None if anything is other than that. `_decode_endpoint` reads all spellings, in twice the
    time, and knows what is wrong with one that cannot be read.
    """
    if type(manifest) is not dict or not _ENDPOINT_FIELDS.issuperset(manifest):
        return None
    try:
        addresses, conditions, node_name, reference = _plain_endpoint(manifest)
        if not (type(conditions) is type(reference) is dict):
            return None
        ready, serving, terminating = states = _plain_conditions(conditions)
        kind, namespace, name, uid = _plain_reference(reference)
    except KeyError:
        return None
    hostname, zone, hints = manifest.get("hostname"), manifest.get("zone"), manifest.get("hints")
    if not (
        type(addresses) is list
        and len(addresses) == 1
        and (families := _address_families(addresses[0]))
        and type(ready) is type(serving) is type(terminating) is bool
        and type(kind) is type(namespace) is type(name) is type(uid) is type(node_name) is str
        and (hostname is None or type(hostname) is str)
        and (zone is None or type(zone) is str)
        and (hints is None or (type(hints) is dict and _HINT_FIELDS.issuperset(hints)))
        and len(conditions) == 3
        and len(reference) == 4
    ):
        return None
    return _fill_endpoint(
        _OpenEndpoint(),
        addresses[0],
        families,
        _CONDITIONS[states],
        hostname or None,
        intern(node_name) or None,
        intern(zone) if zone else None,
        ObjectReference(intern(kind), intern(namespace), name, uid),
        NO_HINTS if hints is None else decode_within("hints", _decode_hints, hints),
    )


def _decode_endpoint(manifest: Mapping[str, Any]) -> Endpoint:
    plain = _decode_plain_endpoint(manifest)
    if plain is not None:
        return plain
    conditions = manifest.get("conditions")
    reference = manifest.get("targetRef")
    hints = manifest.get("hints")
    node_name = optional_string_of(manifest, "nodeName")
    zone = optional_string_of(manifest, "zone")
    extra: Mapping[str, Any] = unmodelled(manifest, _ENDPOINT_FIELDS)
    if extra:
        string_map_of(extra, "deprecatedTopology")
    for name, value, known in (
        ("conditions", conditions, _CONDITION_FIELDS),
        ("hints", hints, _HINT_FIELDS),
    ):
        if isinstance(value, Mapping) and not value.keys() <= known:
            extra = {**extra, name: _unmodelled_within(name, value, known)}
    return Endpoint(
        strings_of(manifest, "addresses"),
        _CONDITIONS[None, None, None]
        if conditions is None
        else decode_within("conditions", _decode_conditions, conditions),
        optional_string_of(manifest, "hostname"),
        node_name and intern(str(node_name)),
        zone and intern(str(zone)),
        None if reference is None else decode_within("targetRef", _decode_reference, reference),
        NO_HINTS if hints is None else decode_within("hints", _decode_hints, hints),
        extra,
    )


def _decode_beta_endpoint(manifest: Mapping[str, Any]) -> Endpoint:
    """Read discovery.k8s.io/v1beta1: zone and node stand in the topology map there.

    Source: pkg/apis/discovery/v1beta1/conversion.go.
    """
    topology = dict(string_map_of(manifest, "topology"))
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
    protocol = string_of(manifest, "protocol") or "TCP"
    if protocol not in _PROTOCOLS:
        raise ManifestError("protocol", f"must be one of {', '.join(_PROTOCOLS)}", protocol)
    port = _shared_port(
        integer_of(manifest, "port", 1, 65535),
        string_of(manifest, "name"),
        _PROTOCOLS[protocol],
        optional_string_of(manifest, "appProtocol"),
    )
    extra = unmodelled(manifest, _PORT_FIELDS)
    return attrs.evolve(port, extra=extra) if extra else port


@lru_cache(maxsize=1024)
def _shared_port(
    port: int | None, name: str, protocol: Protocol, app_protocol: str | None
) -> EndpointPort:
    return EndpointPort(port=port, name=name, protocol=protocol, app_protocol=app_protocol)


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
    as_mapping(manifest)
    check_kind(manifest, "EndpointSlice", "discovery.k8s.io/v1", _BETA)
    beta = manifest.get("apiVersion") == _BETA
    stated = required(string_of(manifest, "addressType"), "addressType")
    if stated not in _ADDRESS_TYPES:
        raise ManifestError("addressType", f"must be one of {', '.join(_ADDRESS_TYPES)}", stated)
    count = len(list_of(manifest, "endpoints"))
    if count > MAX_ENDPOINTS_PER_SLICE:
        raise ManifestError(
            "endpoints", f"must be at most {MAX_ENDPOINTS_PER_SLICE} endpoints", count
        )
    ports = manifest.get("ports")
    endpoints = manifest.get("endpoints")
    try:
        return EndpointSlice(
            metadata=decode_meta(manifest),
            address_type=_ADDRESS_TYPES[stated],
            ports=decode_each(manifest, "ports", _decode_port),
            endpoints=decode_each(
                manifest, "endpoints", _decode_beta_endpoint if beta else _decode_endpoint
            ),
            extra=unmodelled(manifest, _SLICE_FIELDS),
            nulls=(ports is None) + 2 * (endpoints is None),
        )
    except ModelError as error:
        raise as_manifest_error(error) from None


def decode_slices(manifests: Iterable[Mapping[str, Any]]) -> tuple[EndpointSlice, ...]:
    """Read many EndpointSlices: as `decode_slice`, in two thirds of the time.

    The garbage collector is paused meanwhile, for the whole process, and turned on again
    whatever happens. For input of which some may be bad, `decode_objects` reads the rest.

    Args:
        manifests: Any number, as `decode_slice` takes them.

    Returns:
        Their models, in the same order.

    Raises:
        ManifestError: One cannot be read; the path begins with its position, as in
            `[17].endpoints[3].addresses[0]`.

    Complexity: O(n) for n endpoints.
    """
    with collector_paused():
        return decode_items(manifests, decode_slice)


def _encode_port(port: EndpointPort) -> dict[str, Any]:
    manifest: dict[str, Any] = {"name": port.name, "protocol": str(port.protocol)}
    if port.port is not None:
        manifest["port"] = port.port
    if port.app_protocol:
        manifest["appProtocol"] = port.app_protocol
    manifest.update(thaw(port.extra))
    return manifest


def _encode_reference(reference: ObjectReference) -> dict[str, Any]:
    # One question after the other is twice as fast as to fill a dict and to filter it.
    manifest: dict[str, Any] = {}
    if reference.kind:
        manifest["kind"] = reference.kind
    if reference.namespace:
        manifest["namespace"] = reference.namespace
    if reference.name:
        manifest["name"] = reference.name
    if reference.uid:
        manifest["uid"] = reference.uid
    if reference.api_version:
        manifest["apiVersion"] = reference.api_version
    if reference.field_path:
        manifest["fieldPath"] = reference.field_path
    if reference.resource_version:
        manifest["resourceVersion"] = reference.resource_version
    if reference.extra:
        manifest.update(thaw(reference.extra))
    return manifest


def _encode_conditions(conditions: EndpointConditions) -> dict[str, bool]:
    stated = conditions._stated
    manifest = {}
    if stated & 1:
        manifest["ready"] = conditions.ready
    if stated & 2:
        manifest["serving"] = conditions.serving
    if stated & 4:
        manifest["terminating"] = conditions.terminating
    return manifest


def _encode_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "addresses": list(endpoint.addresses),
        "conditions": _encode_conditions(endpoint.conditions),
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
            manifest.setdefault(name, {}).update(thaw(value))
        else:
            manifest[name] = thaw(value)
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
        "metadata": encode_meta(endpoint_slice.metadata),
        "addressType": str(endpoint_slice.address_type),
        "ports": None if nulls & 1 and not ports else ports,
        "endpoints": None if nulls & 2 and not endpoints else endpoints,
        **thaw(endpoint_slice.extra),
    }


def encode_slices(slices: Iterable[EndpointSlice]) -> list[dict[str, Any]]:
    """Write many EndpointSlices: as `encode_slice`, in less time.

    The garbage collector is paused meanwhile, for the whole process, and turned on again
    whatever happens.

    Returns:
        A new dict for each, in the same order; they share nothing.

    Complexity: O(n) for n endpoints.
    """
    with collector_paused():
        return list(map(encode_slice, slices))
