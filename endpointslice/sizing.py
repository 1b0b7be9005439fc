"""Exact sizes of slices and Endpoints in bytes, as protobuf and as JSON, without serializing them.

Protobuf is what etcd stores and what Kubernetes' own components watch; JSON is what other
clients get. Sizes are those of the Go types: which fields are written when empty, which are
not, is theirs.

Source: the generated Size methods of k8s.io/api/discovery/v1, k8s.io/api/core/v1 and
k8s.io/apimachinery/pkg/apis/meta/v1; encoding/json of Go for JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import filterfalse
from operator import attrgetter
from typing import Any, Final

from endpointslice.models import (
    Endpoint,
    EndpointConditions,
    EndpointGroup,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    ObjectMeta,
    ObjectReference,
    OwnerReference,
    _assign,
)

__all__ = ["endpoints_json_size", "endpoints_protobuf_size", "json_size", "protobuf_size"]

# --- protobuf ---------------------------------------------------------------------------------
# All field numbers here are below 16, so a tag is one byte, but for managedFields (17).


def _varint(value: int) -> int:
    """Bytes of a varint; a negative int64 takes 10."""
    if value < 0:
        return 10
    return 1 if value < 128 else (value.bit_length() + 6) // 7


def _utf8(text: str) -> int:
    # A lone surrogate is three bytes, as is the replacement character that Go writes for it.
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def _block(size: int) -> int:
    """A tag, the length and so many bytes: a string or a message."""
    return size + 2 if size < 128 else 1 + _varint(size) + size


def _texts(*texts: str) -> int:
    """Strings, each with its tag and length."""
    joined = "".join(texts)
    # Together they are short, so each is, and a byte says its length. So it is as a rule.
    if len(joined) < 128 and joined.isascii():
        return len(joined) + 2 * len(texts)
    return sum(_block(_utf8(text)) for text in texts)


def _map(items: Mapping[str, str]) -> int:
    return sum(_block(_texts(key, value)) for key, value in items.items())


def _timestamp(text: str | None) -> int:
    """A metav1.Time: seconds and nanos, both always written; nothing for the zero time."""
    if not text:
        return 0
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    return 1 + _varint(seconds) + 2


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _owner_protobuf(owner: OwnerReference) -> int:
    size = _texts(owner.kind, owner.name, owner.uid, owner.api_version)
    size += 2 * (owner.controller is not None)
    return size + 2 * (owner.block_owner_deletion is not None)


def _managed_fields_protobuf(entry: Mapping[str, Any]) -> int:
    names = ("manager", "operation", "apiVersion", "fieldsType", "subresource")
    size = _texts(*(entry.get(name) or "" for name in names))
    if entry.get("time"):
        size += _block(_timestamp(entry["time"]))
    if entry.get("fieldsV1") is not None:
        size += _block(_block(_json_value(entry["fieldsV1"], html=False)))
    return size


def _meta_protobuf(meta: ObjectMeta) -> int:
    extra = meta.extra
    size = _texts(
        meta.name,
        meta.generate_name,
        meta.namespace,
        extra.get("selfLink") or "",
        meta.uid,
        meta.resource_version,
    )
    size += 1 + _varint(meta.generation)
    size += _block(_timestamp(meta.creation_timestamp))
    if meta.deletion_timestamp:
        size += _block(_timestamp(meta.deletion_timestamp))
    if extra.get("deletionGracePeriodSeconds") is not None:
        size += 1 + _varint(extra["deletionGracePeriodSeconds"])
    size += _map(meta.labels) + _map(meta.annotations)
    size += sum(_block(_owner_protobuf(owner)) for owner in meta.owner_references)
    size += _texts(*extra.get("finalizers") or ())
    for entry in extra.get("managedFields") or ():
        size += _block(_managed_fields_protobuf(entry)) + 1
    return size


def _port_protobuf(port: EndpointPort) -> int:
    size = _texts(port.name, port.protocol)
    if port.port is not None:
        size += 1 + _varint(port.port)
    if port.app_protocol:
        size += _texts(port.app_protocol)
    return size


def _reference_protobuf(reference: ObjectReference) -> int:
    return _texts(
        reference.kind,
        reference.namespace,
        reference.name,
        reference.uid,
        reference.api_version,
        reference.resource_version,
        reference.field_path,
    )


def _conditions_protobuf(conditions: EndpointConditions) -> int:
    return 2 * conditions._stated.bit_count()


def _hints_protobuf(hints: EndpointHints) -> int:
    return sum(_block(_texts(name)) for name in (*hints.for_zones, *hints.for_nodes))


def _endpoint_protobuf(endpoint: Endpoint) -> int:
    named = filter(None, (endpoint.hostname, endpoint.node_name, endpoint.zone))
    size = _texts(*endpoint.addresses, *named)
    size += 2 + _conditions_protobuf(endpoint.conditions)
    if endpoint.target_ref is not None:
        size += _block(_reference_protobuf(endpoint.target_ref))
    if endpoint.extra:
        size += _map(endpoint.extra.get("deprecatedTopology") or {})
    if endpoint.hints or endpoint.hints._stated or "hints" in endpoint.extra:
        size += _block(_hints_protobuf(endpoint.hints))
    return size


_size_of: Final[Callable[[Endpoint], int]] = attrgetter("_size")


def protobuf_size(endpoint_slice: EndpointSlice) -> int:
    """Return the bytes of the slice's protobuf encoding.

    On the wire and in etcd an envelope comes on top (a magic number, kind and version; 40 to
    50 bytes an object).

    Complexity: O(n) for n endpoints.
    """
    size = _block(_meta_protobuf(endpoint_slice.metadata))
    endpoints = endpoint_slice.endpoints
    # An endpoint never changes, and is written in many slices: it is counted once.
    for endpoint in filterfalse(_size_of, endpoints):
        _assign(endpoint, "_size", _block(_endpoint_protobuf(endpoint)))
    size += sum(map(_size_of, endpoints))
    for port in endpoint_slice.ports:
        size += _block(_port_protobuf(port))
    return size + _texts(endpoint_slice.address_type)


def _address_protobuf(endpoint: Endpoint) -> int:
    """An address of Endpoints: unlike an Endpoint's, its hostname is written when empty."""
    size = _texts(endpoint.addresses[0], endpoint.hostname or "")
    if endpoint.node_name:
        size += _texts(endpoint.node_name)
    if endpoint.target_ref is not None:
        size += _block(_reference_protobuf(endpoint.target_ref))
    return size


def endpoints_protobuf_size(metadata: ObjectMeta, group: EndpointGroup) -> int:
    """Return the bytes of the protobuf encoding of core/v1 Endpoints with these endpoints.

    All stand in one subset, by their first address: the ready ones under addresses, the others
    under notReadyAddresses. (Kubernetes' own controller leaves terminating ones out.)

    Complexity: O(n) for n endpoints.
    """
    size = _block(_meta_protobuf(metadata))
    if not group.endpoints:
        return size
    subset = sum(_block(_address_protobuf(endpoint)) for endpoint in group.endpoints)
    # Unlike a slice's, the number of a port is written when it is none.
    subset += sum(
        _block(_port_protobuf(port) + 2 * (port.port is None)) for port in group.key.ports
    )
    return size + _block(subset)


# --- JSON -------------------------------------------------------------------------------------

#: What Go's encoding/json escapes: with two characters, or with six.
_ESCAPED: Final = re.compile('[\x00-\x1f"\\\\<>&\u2028\u2029]')
_SHORT_ESCAPES: Final = frozenset('"\\\b\f\n\r\t')
_HTML: Final = frozenset("<>&")


def _json_text(text: str, *, html: bool = True) -> int:
    """A string with its quotes. Go escapes <, > and & too, unless it is told not to."""
    size = 2 + _utf8(text)
    if _ESCAPED.search(text):
        for character in _ESCAPED.findall(text):
            if character in _HTML and not html:
                continue
            size += (2 if character in _SHORT_ESCAPES else 6) - _utf8(character)
    return size


def _json_object(members: Iterable[tuple[str, int]], *, html: bool = True) -> int:
    """Braces, quoted names, colons and commas around values of these sizes."""
    size = 1
    for name, value in members:
        size += _json_text(name, html=html) + 1 + value + 1
    return max(size, 2)


def _json_list(items: Iterable[int]) -> int:
    size = 1
    for item in items:
        size += item + 1
    return max(size, 2)


def _json_value(value: Any, *, html: bool = True) -> int:
    """Any JSON value, compact."""
    if value is None or value is True:
        return 4
    if value is False:
        return 5
    if isinstance(value, str):
        return _json_text(value, html=html)
    if isinstance(value, Mapping):
        members = ((name, _json_value(item, html=html)) for name, item in value.items())
        return _json_object(members, html=html)
    if isinstance(value, (list, tuple)):
        return _json_list(_json_value(item, html=html) for item in value)
    return len(repr(value))


def _json_members(*members: tuple[str, str | None]) -> list[tuple[str, int]]:
    """String members that are left out when empty."""
    return [(name, _json_text(value)) for name, value in members if value]


def _json_map(items: Mapping[str, str]) -> int:
    return _json_object((key, _json_text(value)) for key, value in items.items())


def _extra_members(extra: Mapping[str, Any]) -> list[tuple[str, int]]:
    return [(name, _json_value(value)) for name, value in extra.items()]


def _owner_json(owner: OwnerReference) -> int:
    members = [
        ("apiVersion", _json_text(owner.api_version)),
        ("kind", _json_text(owner.kind)),
        ("name", _json_text(owner.name)),
        ("uid", _json_text(owner.uid)),
    ]
    if owner.controller is not None:
        members.append(("controller", _json_value(owner.controller)))
    if owner.block_owner_deletion is not None:
        members.append(("blockOwnerDeletion", _json_value(owner.block_owner_deletion)))
    return _json_object(members + _extra_members(owner.extra))


def _meta_json(meta: ObjectMeta) -> int:
    members = _json_members(
        ("name", meta.name),
        ("generateName", meta.generate_name),
        ("namespace", meta.namespace),
        ("uid", meta.uid),
        ("resourceVersion", meta.resource_version),
        ("creationTimestamp", meta.creation_timestamp),
        ("deletionTimestamp", meta.deletion_timestamp),
    )
    if meta.generation:
        members.append(("generation", len(str(meta.generation))))
    if meta.labels:
        members.append(("labels", _json_map(meta.labels)))
    if meta.annotations:
        members.append(("annotations", _json_map(meta.annotations)))
    if meta.owner_references:
        members.append(("ownerReferences", _json_list(map(_owner_json, meta.owner_references))))
    return _json_object(members + _extra_members(meta.extra))


def _port_json(port: EndpointPort) -> int:
    members = [("name", _json_text(port.name)), ("protocol", _json_text(port.protocol))]
    if port.port is not None:
        members.append(("port", len(str(port.port))))
    members += _json_members(("appProtocol", port.app_protocol))
    return _json_object(members + _extra_members(port.extra))


def _reference_json(reference: ObjectReference) -> int:
    members = _json_members(
        ("kind", reference.kind),
        ("namespace", reference.namespace),
        ("name", reference.name),
        ("uid", reference.uid),
        ("apiVersion", reference.api_version),
        ("resourceVersion", reference.resource_version),
        ("fieldPath", reference.field_path),
    )
    return _json_object(members + _extra_members(reference.extra))


def _conditions_json(conditions: EndpointConditions, extra: Mapping[str, Any]) -> int:
    members = [
        (name, _json_value(value))
        for bit, name, value in (
            (1, "ready", conditions.ready),
            (2, "serving", conditions.serving),
            (4, "terminating", conditions.terminating),
        )
        if conditions._stated & bit
    ]
    return _json_object(members + _extra_members(extra))


def _hints_json(hints: EndpointHints, extra: Mapping[str, Any]) -> int:
    members = [
        (name, _json_list(_json_object([("name", _json_text(value))]) for value in values))
        for name, values in (("forZones", hints.for_zones), ("forNodes", hints.for_nodes))
        if values
    ]
    return _json_object(members + _extra_members(extra))


def _endpoint_json(endpoint: Endpoint) -> int:
    extra = endpoint.extra
    members = [
        ("addresses", _json_list(map(_json_text, endpoint.addresses))),
        ("conditions", _conditions_json(endpoint.conditions, extra.get("conditions") or {})),
    ]
    members += _json_members(
        ("hostname", endpoint.hostname),
        ("nodeName", endpoint.node_name),
        ("zone", endpoint.zone),
    )
    if endpoint.target_ref is not None:
        members.append(("targetRef", _reference_json(endpoint.target_ref)))
    if endpoint.hints or endpoint.hints._stated or "hints" in extra:
        members.append(("hints", _hints_json(endpoint.hints, extra.get("hints") or {})))
    members += [
        (name, _json_value(value))
        for name, value in extra.items()
        if name not in ("conditions", "hints")
    ]
    return _json_object(members)


def json_size(endpoint_slice: EndpointSlice) -> int:
    """Return the bytes of the slice's compact JSON, without apiVersion and kind.

    In lists, the API server leaves these two out; alone, a slice has 58 bytes more.

    Complexity: O(n) for n endpoints.
    """
    nulls = endpoint_slice._nulls
    ports, endpoints = endpoint_slice.ports, endpoint_slice.endpoints
    members = [
        ("metadata", _meta_json(endpoint_slice.metadata)),
        ("addressType", _json_text(endpoint_slice.address_type)),
        ("ports", 4 if nulls & 1 and not ports else _json_list(map(_port_json, ports))),
        (
            "endpoints",
            4 if nulls & 2 and not endpoints else _json_list(map(_endpoint_json, endpoints)),
        ),
    ]
    return _json_object(members + _extra_members(endpoint_slice.extra))


def _address_json(endpoint: Endpoint) -> int:
    members = _json_members(
        ("ip", endpoint.addresses[0]),
        ("hostname", endpoint.hostname),
        ("nodeName", endpoint.node_name),
    )
    if endpoint.target_ref is not None:
        members.append(("targetRef", _reference_json(endpoint.target_ref)))
    return _json_object(members)


def _plain_port_json(port: EndpointPort) -> int:
    """A port of Endpoints: unlike a slice's, its name is left out when empty, its number never."""
    members = _json_members(("name", port.name), ("protocol", port.protocol))
    members.append(("port", len(str(port.port or 0))))
    return _json_object(members + _json_members(("appProtocol", port.app_protocol)))


def endpoints_json_size(metadata: ObjectMeta, group: EndpointGroup) -> int:
    """Return the bytes of the compact JSON of core/v1 Endpoints, without apiVersion and kind.

    See `endpoints_protobuf_size`. Alone, the object has 37 bytes more.

    Complexity: O(n) for n endpoints.
    """
    members = [("metadata", _meta_json(metadata))]
    lists = []
    for name, is_ready in (("addresses", True), ("notReadyAddresses", False)):
        sizes = [
            _address_json(endpoint)
            for endpoint in group.endpoints
            if endpoint.conditions.ready is is_ready
        ]
        lists += [(name, _json_list(sizes))] if sizes else []
    if lists:
        if group.key.ports:
            lists.append(("ports", _json_list(map(_plain_port_json, group.key.ports))))
        members.append(("subsets", _json_list([_json_object(lists)])))
    return _json_object(members)
