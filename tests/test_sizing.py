"""Sizes are those of the bytes, which this file writes out by itself."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from datetime import datetime
from typing import Any, Final

import attrs
import pytest
from hypothesis import example, given

from endpointslice import (
    AddressType,
    Endpoint,
    EndpointConditions,
    EndpointGroup,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    FrozenDict,
    GroupKey,
    ObjectMeta,
    ObjectReference,
    OwnerReference,
    decode_slice,
    encode_slice,
    json_size,
    protobuf_size,
)
from endpointslice.sizing import endpoints_json_size, endpoints_protobuf_size
from tests.builders import Case, cases
from tests.manifest_builders import ODD_TEXT, SLICES, Manifest

# --- an encoder, written from the .proto files of k8s.io/api ------------------------------------


def _varint(value: int) -> bytes:
    value %= 2**64  # negative numbers are written as two's complement
    result = bytearray()
    while value > 127:
        result.append(value % 128 + 128)
        value //= 128
    result.append(value)
    return bytes(result)


def _number(field: int, value: int) -> bytes:
    return _varint(field * 8) + _varint(value)


def _block(field: int, content: bytes) -> bytes:
    return _varint(field * 8 + 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _block(field, text.encode(errors="surrogatepass"))


def _texts(manifest: Manifest, fields: Mapping[str, int]) -> bytes:
    """Strings of Go that are no pointers: written though empty."""
    return b"".join(_text(field, manifest.get(name) or "") for name, field in fields.items())


def _pointers(manifest: Manifest, fields: Mapping[str, int]) -> bytes:
    """Strings and bools behind pointers: written if set."""
    result = b""
    for name, field in fields.items():
        value = manifest.get(name)
        if isinstance(value, bool):
            result += _number(field, value)
        elif value:
            result += _text(field, value)
    return result


def _map(field: int, items: Mapping[str, str] | None) -> bytes:
    return b"".join(
        _block(field, _text(1, key) + _text(2, value)) for key, value in (items or {}).items()
    )


def _each(field: int, messages: Iterable[bytes]) -> bytes:
    return b"".join(_block(field, message) for message in messages)


def _time(text: str | None) -> bytes:
    if not text:
        return b""
    return _number(1, int(datetime.fromisoformat(text).timestamp() // 1)) + _number(2, 0)


def _owner(owner: Manifest) -> bytes:
    return _texts(owner, {"kind": 1, "name": 3, "uid": 4, "apiVersion": 5}) + _pointers(
        owner, {"controller": 6, "blockOwnerDeletion": 7}
    )


def _managed_fields(entry: Manifest) -> bytes:
    result = _texts(
        entry,
        {"manager": 1, "operation": 2, "apiVersion": 3, "fieldsType": 6, "subresource": 8},
    )
    if entry.get("time"):
        result += _block(4, _time(entry["time"]))
    if entry.get("fieldsV1") is not None:
        result += _block(7, _block(1, go_json(entry["fieldsV1"], html=False)))
    return result


def _metadata(meta: Manifest) -> bytes:
    result = _texts(
        meta,
        {
            "name": 1,
            "generateName": 2,
            "namespace": 3,
            "selfLink": 4,
            "uid": 5,
            "resourceVersion": 6,
        },
    )
    result += _number(7, meta.get("generation") or 0)
    result += _block(8, _time(meta.get("creationTimestamp")))
    if meta.get("deletionTimestamp"):
        result += _block(9, _time(meta["deletionTimestamp"]))
    if meta.get("deletionGracePeriodSeconds") is not None:
        result += _number(10, meta["deletionGracePeriodSeconds"])
    result += _map(11, meta.get("labels")) + _map(12, meta.get("annotations"))
    result += _each(13, map(_owner, meta.get("ownerReferences") or ()))
    result += b"".join(_text(14, text) for text in meta.get("finalizers") or ())
    return result + _each(17, map(_managed_fields, meta.get("managedFields") or ()))


_REFERENCE: Final = {
    "kind": 1,
    "namespace": 2,
    "name": 3,
    "uid": 4,
    "apiVersion": 5,
    "resourceVersion": 6,
    "fieldPath": 7,
}


def _endpoint(member: Manifest) -> bytes:
    result = b"".join(_text(1, address) for address in member["addresses"])
    conditions = {"ready": 1, "serving": 2, "terminating": 3}
    result += _block(2, _pointers(member["conditions"], conditions))
    result += _pointers(member, {"hostname": 3, "nodeName": 6, "zone": 7})
    reference = member.get("targetRef")
    if reference is not None:
        result += _block(4, _texts(reference, _REFERENCE))
    result += _map(5, member.get("deprecatedTopology"))
    hints = member.get("hints")
    if hints is not None:
        result += _block(
            8,
            _each(1, (_text(1, item["name"]) for item in hints.get("forZones") or ()))
            + _each(2, (_text(1, item["name"]) for item in hints.get("forNodes") or ())),
        )
    return result


def _port(port: Manifest) -> bytes:
    result = _texts(port, {"name": 1, "protocol": 2})
    if port.get("port") is not None:
        result += _number(3, port["port"])
    return result + _pointers(port, {"appProtocol": 4})


def go_protobuf(manifest: Manifest) -> bytes:
    """The bytes of an encoded EndpointSlice."""
    return (
        _block(1, _metadata(manifest["metadata"]))
        + _each(2, map(_endpoint, manifest["endpoints"] or ()))
        + _each(3, map(_port, manifest["ports"] or ()))
        + _text(4, manifest["addressType"])
    )


def _address(address: Manifest) -> bytes:
    result = _texts(address, {"ip": 1})
    if "targetRef" in address:
        result += _block(2, _texts(address["targetRef"], _REFERENCE))
    return result + _texts(address, {"hostname": 3}) + _pointers(address, {"nodeName": 4})


def _endpoints_port(port: Manifest) -> bytes:
    result = _texts(port, {"name": 1}) + _number(2, port["port"]) + _texts(port, {"protocol": 3})
    return result + _pointers(port, {"appProtocol": 4})


def _endpoints_protobuf(manifest: Manifest) -> bytes:
    """The bytes of an encoded core/v1 Endpoints."""
    return _block(1, _metadata(manifest["metadata"])) + _each(
        2,
        (
            _each(1, map(_address, subset.get("addresses", ())))
            + _each(2, map(_address, subset.get("notReadyAddresses", ())))
            + _each(3, map(_endpoints_port, subset.get("ports", ())))
            for subset in manifest.get("subsets", ())
        ),
    )


def _endpoints(metadata: Manifest, group: EndpointGroup) -> Manifest:
    """The Endpoints object with these endpoints, as its controller writes it."""
    encoded = bare(
        EndpointSlice(
            metadata=ObjectMeta(),
            address_type=group.key.address_type,
            ports=group.key.ports,
            endpoints=group.endpoints,
        )
    )
    if not encoded["endpoints"]:
        return {"metadata": metadata}
    lists: dict[str, list[Any]] = {"addresses": [], "notReadyAddresses": []}
    for member in encoded["endpoints"]:
        kept = ("hostname", "nodeName", "targetRef")
        address = {"ip": member["addresses"][0]} | {k: member[k] for k in kept if k in member}
        is_ready = member["conditions"].get("ready", True)
        lists["addresses" if is_ready else "notReadyAddresses"].append(address)
    lists["ports"] = [
        {k: v for k, v in port.items() if v} | {"port": port.get("port") or 0}
        for port in encoded["ports"]
    ]
    return {
        "metadata": metadata,
        "subsets": [{name: members for name, members in lists.items() if members}],
    }


def go_json(value: Any, *, html: bool = True) -> bytes:
    """Compact JSON with the escapes of Go, which are more than Python's."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    special = "[\u2028\u2029<>&]" if html else "[\u2028\u2029]"
    text = re.sub(special, lambda match: f"\\u{ord(match[0]):04x}", text)
    return text.encode(errors="surrogatepass")


def bare(endpoint_slice: EndpointSlice) -> Manifest:
    """As it stands in a list of the API server."""
    manifest = encode_slice(endpoint_slice)
    del manifest["apiVersion"], manifest["kind"]
    return manifest


# --- laws -------------------------------------------------------------------------------------


@given(manifest=SLICES)
@example(manifest={"addressType": "IPv4", "ports": [], "endpoints": []})
@example(
    manifest={
        "addressType": "IPv4",
        "metadata": {"managedFields": [{"fieldsV1": {'v:"a<b"': {"c>&d": "<>"}}}]},
    }
)
def test_sizes_are_those_of_the_encoded_slice(manifest: Manifest) -> None:
    model = decode_slice(manifest)
    encoded = bare(model)
    assert json_size(model) == len(go_json(encoded))
    assert protobuf_size(model) == len(go_protobuf(encoded))


@given(case=cases())
def test_sizes_of_what_a_program_builds_are_those_of_its_manifest(case: Case) -> None:
    for model in case.current:
        encoded = bare(model)
        assert json_size(model) == len(go_json(encoded))
        assert protobuf_size(model) == len(go_protobuf(encoded))
        again = decode_slice(encoded)
        assert (json_size(again), protobuf_size(again)) == (json_size(model), protobuf_size(model))


@given(case=cases())
def test_sizes_of_endpoints_are_those_of_the_encoded_object(case: Case) -> None:
    for group in case.desired:
        manifest = _endpoints({"name": "web", "namespace": "shop"}, group)
        metadata = ObjectMeta(name="web", namespace="shop")
        assert endpoints_json_size(metadata, group) == len(go_json(manifest))
        assert endpoints_protobuf_size(metadata, group) == len(_endpoints_protobuf(manifest))


# --- examples ---------------------------------------------------------------------------------


def _slice(*members: Endpoint, **fields: Any) -> EndpointSlice:
    meta = fields.pop("metadata", ObjectMeta())
    return EndpointSlice(metadata=meta, address_type=AddressType.IPV4, endpoints=members, **fields)


def test_the_encoder_writes_what_protoc_would() -> None:
    member = Endpoint(("10.0.0.1",), EndpointConditions(ready=True, stated=1), node_name="n")
    model = _slice(member, ports=(EndpointPort(port=443, name="s"),))
    written = go_protobuf(bare(model))
    metadata = "0a 10 0a00 1200 1a00 2200 2a00 3200 3800 4200"
    endpoint = "12 11 0a 08 31302e302e302e31 12 02 0801 32 01 6e"
    port = "1a 0b 0a 01 73 12 03 544350 18 bb03"
    address_type = "22 04 49507634"
    assert written == bytes.fromhex(metadata + endpoint + port + address_type)
    assert protobuf_size(model) == len(written)


def test_the_least_slice_has_a_size_that_can_be_counted() -> None:
    model = _slice()
    assert json_size(model) == len('{"metadata":{},"addressType":"IPv4","ports":[],"endpoints":[]}')
    # Eight empty fields of the metadata, a tag and a length around them, and six for "IPv4".
    assert protobuf_size(model) == 16 + 2 + 6


def test_lists_that_are_null_are_four_bytes_of_json_and_none_of_protobuf() -> None:
    empty = decode_slice({"addressType": "IPv4", "ports": [], "endpoints": []})
    null = decode_slice({"addressType": "IPv4", "ports": None, "endpoints": None})
    assert json_size(null) == json_size(empty) + 4
    assert protobuf_size(null) == protobuf_size(empty)


@pytest.mark.parametrize("text", ODD_TEXT)
def test_every_text_has_the_size_of_its_bytes_wherever_it_stands(text: str) -> None:
    target = ObjectReference(text, text, text, text, text, text, text)
    owner = OwnerReference(api_version=text, kind=text, name=text, uid=text)
    meta = ObjectMeta(
        name=text,
        labels=FrozenDict({text: text}),
        annotations=FrozenDict({text: text}),
        owner_references=(owner,),
        extra=FrozenDict({"finalizers": (text,), "selfLink": text}),
    )
    member = Endpoint(
        ("10.0.0.1",),
        hostname=text,
        node_name=text,
        zone=text,
        target_ref=target,
        extra={"deprecatedTopology": {text: text}},
    )
    port = EndpointPort(port=80, name=text, app_protocol=text)
    model = _slice(member, metadata=meta, ports=(port,))
    assert json_size(model) == len(go_json(bare(model)))
    assert protobuf_size(model) == len(go_protobuf(bare(model)))


@pytest.mark.parametrize(
    ("escaped", "size"),
    [("<", 6), ("&", 6), ("\u2028", 6), ("\x01", 6), ("\n", 2), ("\b", 2), ('"', 2), ("\x7f", 1)],
)
def test_json_escapes_are_those_of_go(escaped: str, size: int) -> None:
    plain, odd = (
        _slice(metadata=ObjectMeta(annotations=FrozenDict({"note": text})))
        for text in ("x", f"x{escaped}")
    )
    assert json_size(odd) - json_size(plain) == size


@pytest.mark.parametrize("length", [63, 64, 125, 126, 127, 128, 129, 16_383, 16_384])
@pytest.mark.parametrize("letter", ["a", "\u00e4"])
def test_a_text_of_any_length_is_counted_beside_others(letter: str, length: int) -> None:
    text = letter * length
    target = ObjectReference("Pod", "shop", text, "uid")
    meta = ObjectMeta(name="web", generate_name=text, labels=FrozenDict({"app": text}))
    model = _slice(
        Endpoint(("10.0.0.1",), node_name=text, zone="a", target_ref=target),
        Endpoint(("10.0.0.2",), node_name="n", zone="a", hints=EndpointHints(for_zones=(text,))),
        metadata=meta,
    )
    assert protobuf_size(model) == len(go_protobuf(bare(model)))


@pytest.mark.parametrize(
    "changed",
    [
        lambda member: member.with_hints(EndpointHints(for_zones=("a",))),
        lambda member: member.with_extra({"deprecatedTopology": {"rack": "r1"}}),
        lambda member: attrs.evolve(member, zone="a"),
        lambda member: pickle.loads(pickle.dumps(member)),
        copy,
    ],
)
def test_what_is_made_of_an_endpoint_that_was_counted_has_its_own_size(
    changed: Callable[[Endpoint], Endpoint],
) -> None:
    member = Endpoint(("10.0.0.1",), node_name="n")
    counted = protobuf_size(_slice(member))
    model = _slice(changed(member), member)
    assert protobuf_size(model) == len(go_protobuf(bare(model)))
    assert protobuf_size(_slice(member)) == counted


@pytest.mark.parametrize("stated", range(8))
def test_a_condition_that_is_not_stated_takes_no_room(stated: int) -> None:
    none = _slice(Endpoint(("10.0.0.1",), EndpointConditions(stated=0)))
    some = _slice(Endpoint(("10.0.0.1",), EndpointConditions(stated=stated)))
    assert protobuf_size(some) - protobuf_size(none) == 2 * stated.bit_count()
    assert json_size(some) == len(go_json(bare(some)))


def test_hints_that_are_stated_and_empty_take_room() -> None:
    unstated = _slice(Endpoint(("10.0.0.1",), hints=EndpointHints()))
    stated = _slice(Endpoint(("10.0.0.1",), hints=EndpointHints(stated=True)))
    assert unstated == stated
    assert protobuf_size(stated) - protobuf_size(unstated) == 2
    assert json_size(stated) - json_size(unstated) == len(',"hints":{}')


@pytest.mark.parametrize("unknown", [{}, {"forRacks": [1]}])
def test_hints_with_unknown_fields_alone_take_room(unknown: Manifest) -> None:
    model = _slice(Endpoint(("10.0.0.1",), extra={"hints": unknown}))
    assert json_size(model) == len(go_json(bare(model)))
    assert protobuf_size(model) == len(go_protobuf(bare(model)))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (None, 0),
        ("1970-01-01T00:00:00Z", 4),
        ("1970-01-01T01:00:00+01:00", 4),
        ("1970-01-01T00:02:07Z", 4),
        ("1970-01-01T00:02:08Z", 5),
        ("1969-12-31T23:59:59Z", 13),
        ("2026-06-01T00:00:00Z", 8),
        ("2026-06-01T00:00:00", 8),
    ],
)
def test_a_time_is_its_seconds_and_no_nanoseconds(text: str | None, size: int) -> None:
    never = _slice()
    model = _slice(metadata=ObjectMeta(creation_timestamp=text))
    assert protobuf_size(model) - protobuf_size(never) == size


def test_unknown_fields_count_in_json_and_not_in_protobuf() -> None:
    plain = _slice(Endpoint(("10.0.0.1",)))
    unknown: FrozenDict[str, Any] = FrozenDict({"futureField": (1, None, {"a": 1.5})})
    odd = attrs.evolve(plain, extra=unknown)
    assert protobuf_size(odd) == protobuf_size(plain)
    assert json_size(odd) - json_size(plain) == len(',"futureField":[1,null,{"a":1.5}]')


def test_endpoints_have_the_bytes_that_protoc_would_write() -> None:
    group = EndpointGroup(
        key=GroupKey(address_type=AddressType.IPV4, ports=(EndpointPort(port=443, name="s"),)),
        endpoints=(
            Endpoint(("10.0.0.1",), node_name="n"),
            Endpoint(("10.0.0.2",), EndpointConditions(ready=False, serving=False)),
        ),
    )
    metadata = "0a 10 0a00 1200 1a00 2200 2a00 3200 3800 4200"
    ready = "0a 0f 0a 08 31302e302e302e31 1a 00 22 01 6e"
    not_ready = "12 0c 0a 08 31302e302e302e32 1a 00"
    port = "1a 0b 0a 01 73 10 bb03 1a 03 544350"
    written = bytes.fromhex(f"{metadata} 12 2c {ready} {not_ready} {port}")
    assert _endpoints_protobuf(_endpoints({}, group)) == written
    assert endpoints_protobuf_size(ObjectMeta(), group) == len(written)


def test_a_port_without_number_is_port_0_of_endpoints() -> None:
    ports = (EndpointPort(port=None),)
    group = EndpointGroup(
        key=GroupKey(address_type=AddressType.IPV4, ports=ports),
        endpoints=(Endpoint(("10.0.0.1",)),),
    )
    manifest = _endpoints({}, group)
    assert manifest["subsets"][0]["ports"] == [{"protocol": "TCP", "port": 0}]
    assert endpoints_json_size(ObjectMeta(), group) == len(go_json(manifest))
    assert endpoints_protobuf_size(ObjectMeta(), group) == len(_endpoints_protobuf(manifest))
