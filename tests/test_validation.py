"""What the API server refuses: its recorded answers, and each rule by name."""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from endpointslice import (
    CreateSlice,
    DeleteSlice,
    Endpoint,
    ErrorType,
    UpdateSlice,
    Violation,
    decode_slice,
    encode_plan,
    encode_slice,
    reconcile,
    validate_plan,
    validate_slice,
    validate_update,
)
from tests.builders import FQDN, TEMPLATE, endpoint, group, stored

_DATA: Final = Path(__file__).parent / "data"
_EXAMPLES: Final = Path(__file__).parent.parent / "docs" / "examples"


def told(violations: tuple[Violation, ...]) -> list[tuple[str, str]]:
    return [(item.field, item.type.removeprefix("FieldValue")) for item in violations]


def manifest(**fields: Any) -> dict[str, Any]:
    """A slice that the server takes; None takes a field away."""
    whole = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-abc", "namespace": "shop"},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
        **fields,
    }
    return {name: value for name, value in whole.items() if value is not None}


def with_meta(**fields: Any) -> dict[str, Any]:
    return manifest(metadata={"name": "web-abc", "namespace": "shop", **fields})


def with_endpoint(kind: str = "IPv4", **fields: Any) -> dict[str, Any]:
    address = {"IPv4": "10.0.0.1", "IPv6": "fd00::1", "FQDN": "a.example.com"}[kind]
    return manifest(addressType=kind, endpoints=[{"addresses": [address], **fields}])


def with_address(kind: str, *addresses: Any) -> dict[str, Any]:
    return manifest(addressType=kind, endpoints=[{"addresses": list(addresses)}])


# --- recorded ---------------------------------------------------------------------------------


@lru_cache
def writes() -> tuple[Any, ...]:
    """What a real server answered to creates and updates of slices."""
    with gzip.open(_DATA / "real" / "writes.jsonl.gz", "rt", encoding="utf-8") as lines:
        return tuple(map(json.loads, lines))


@pytest.mark.parametrize("case", writes(), ids=lambda case: case["case"])
def test_a_real_server_gives_the_same_causes_in_the_same_order(case: Any) -> None:
    if "old" in case:
        found = validate_update(case["old"], case["new"])
    else:
        found = validate_slice(case["new"])
    assert [[item.field, str(item.type)] for item in found] == case["causes"]


def test_the_recorded_answers_are_of_many_kinds() -> None:
    refused = [case for case in writes() if case["causes"]]
    assert (len(writes()), len(refused)) == (48, 17)
    assert sum("old" in case for case in refused) == 3


@pytest.mark.parametrize(
    "path",
    [
        *sorted(_EXAMPLES.glob("*/endpointslices.json")),
        *sorted(set((_DATA / "real").glob("*.json.gz")) - {_DATA / "real" / "endpoints.json.gz"}),
    ],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_nothing_is_wrong_with_what_a_real_server_stored(path: Path) -> None:
    data = path.read_bytes()
    document = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    slices = document.get("endpointSlices", document.get("items", ()))
    assert slices
    for item in slices:
        assert validate_slice(item) == ()
        assert validate_slice(decode_slice(item)) == ()
        assert validate_update(item, item) == ()


# --- the whole --------------------------------------------------------------------------------


def test_what_the_server_takes_breaks_no_rule() -> None:
    assert validate_slice(manifest()) == ()


def test_a_violation_tells_where_what_kind_and_what_value() -> None:
    (found,) = validate_slice(with_address("IPv4", "10.0.0.1", "10.0.0.300"))
    assert found == Violation(
        "endpoints[0].addresses[1]", ErrorType.INVALID, "must be an IP address", "10.0.0.300"
    )
    assert str(found) == "endpoints[0].addresses[1]: must be an IP address, got '10.0.0.300'"
    assert found.type == "FieldValueInvalid"
    assert hash(found) == hash(attrs.evolve(found, value="other"))


def test_a_violation_of_the_whole_has_no_field() -> None:
    (found,) = validate_slice([1])  # type: ignore[arg-type]
    assert str(found) == "must be an object, got [1]"
    assert validate_slice(None) == validate_slice({})  # type: ignore[arg-type]
    assert validate_update([1], [1]) == (found,)  # type: ignore[arg-type]


def test_an_empty_object_lacks_what_is_required() -> None:
    assert told(validate_slice({})) == [
        ("metadata.name", "Required"),
        ("metadata.namespace", "Required"),
        ("addressType", "Required"),
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"kind": "Service"}, [("kind", "NotSupported")]),
        ({"kind": 1}, [("kind", "TypeInvalid")]),
        ({"apiVersion": "discovery.k8s.io/v1beta1"}, [("apiVersion", "NotSupported")]),
        ({"apiVersion": None, "kind": None}, []),
        ({"addressType": ""}, [("addressType", "Required")]),
        ({"addressType": "IP"}, [("addressType", "NotSupported")]),
        ({"addressType": 4}, [("addressType", "TypeInvalid")]),
        ({"metadata": []}, [("metadata", "TypeInvalid")]),
        ({"ports": None, "endpoints": None}, []),
        ({"ports": {}}, [("ports", "TypeInvalid")]),
        ({"endpoints": "10.0.0.1"}, [("endpoints", "TypeInvalid")]),
        ({"endpoints": [None]}, [("endpoints[0].addresses", "Required")]),
        ({"endpoints": [5]}, [("endpoints[0]", "TypeInvalid")]),
        ({"futureField": [1, None]}, []),
    ],
)
def test_rules_of_the_whole(fields: Any, expected: Any) -> None:
    assert told(validate_slice({**manifest(), **fields})) == expected


def test_a_slice_has_a_thousand_endpoints_at_most() -> None:
    many = [{"addresses": [f"10.0.{i // 250}.{i % 250}"]} for i in range(1001)]
    assert validate_slice(manifest(endpoints=many[:1000])) == ()
    many[0] = {"addresses": ["nonsense"]}  # the server says no more
    (found,) = validate_slice(manifest(endpoints=many))
    assert (found.field, found.type, found.value) == ("endpoints", ErrorType.TOO_MANY, 1001)


def test_each_of_several_endpoints_is_told() -> None:
    wrong = [{"addresses": ["nope"]}, {}, {"addresses": ["127.0.0.1"]}, {"addresses": ["10.0.0.1"]}]
    assert told(validate_slice(manifest(endpoints=wrong))) == [
        ("endpoints[0].addresses[0]", "Invalid"),
        ("endpoints[1].addresses", "Required"),
        ("endpoints[2].addresses[0]", "Invalid"),
    ]


# --- ports ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ({}, []),
        (None, []),
        ({"name": "", "protocol": "SCTP", "port": None, "appProtocol": None}, []),
        ({"port": 70_000}, []),  # the server looks at no more than the type
        ({"port": 2**31}, [(".port", "TypeInvalid")]),
        ({"port": True}, [(".port", "TypeInvalid")]),
        ({"port": "80"}, [(".port", "TypeInvalid")]),
        ({"name": "a" * 63}, []),
        ({"name": "a" * 64}, [(".name", "Invalid")]),
        ({"name": "A" * 64}, [(".name", "Invalid")] * 2),
        ({"name": "a.b"}, [(".name", "Invalid")]),
        ({"name": "web\n"}, [(".name", "Invalid")]),
        ({"name": 1}, [(".name", "TypeInvalid")]),
        ({"protocol": ""}, [(".protocol", "NotSupported")]),
        ({"protocol": "tcp"}, [(".protocol", "NotSupported")]),
        ({"protocol": ["TCP"]}, [(".protocol", "TypeInvalid")]),
        ({"appProtocol": "HTTP"}, []),
        ({"appProtocol": "example.com/my_proto.v1"}, []),
        ({"appProtocol": ""}, [(".appProtocol", "Invalid")] * 2),
        ({"appProtocol": "/x"}, [(".appProtocol", "Invalid")]),
        ({"appProtocol": "A/-"}, [(".appProtocol", "Invalid")] * 2),
        ({"appProtocol": "a/b/c"}, [(".appProtocol", "Invalid")]),
        ({"appProtocol": "a" * 64}, [(".appProtocol", "Invalid")]),
        ({"appProtocol": {}}, [(".appProtocol", "TypeInvalid")]),
        (80, [("", "TypeInvalid")]),
    ],
)
def test_rules_of_a_port(port: Any, expected: list[tuple[str, str]]) -> None:
    wanted = [(f"ports[0]{field}", type_) for field, type_ in expected]
    assert told(validate_slice(manifest(ports=[port]))) == wanted


def test_ports_have_names_of_their_own() -> None:
    ports = [{"name": "a"}, {}, {"name": "a"}, {"name": ""}, {"name": 1}, {"name": 1}]
    assert told(validate_slice(manifest(ports=ports))) == [
        ("ports[2].name", "Duplicate"),
        ("ports[3].name", "Duplicate"),
        ("ports[4].name", "TypeInvalid"),
        ("ports[5].name", "TypeInvalid"),
    ]


def test_there_are_20_000_ports_at_most() -> None:
    ports = [{"name": f"p{i}"} for i in range(20_001)]
    assert validate_slice(manifest(ports=ports[:-1])) == ()
    assert told(validate_slice(manifest(ports=ports))) == [("ports", "TooMany")]


# --- addresses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("IPv4", "0.0.0.1"),
        ("IPv4", "128.0.0.1"),
        ("IPv4", "169.253.255.255"),
        ("IPv4", "224.0.1.0"),  # multicast, which the server takes if it is not link-local
        ("IPv4", "255.255.255.255"),
        ("IPv6", "::2"),
        ("IPv6", "::102:304"),
        ("IPv6", "fd00::1"),
        ("IPv6", "fec0::1"),
        ("IPv6", "ff01::1"),
        ("IPv6", "ff05::2"),
        ("FQDN", "a.b"),
        ("FQDN", "a.example.com."),
        ("FQDN", "10.0.0.1"),
        ("FQDN", f"{'a' * 63}.b"),
    ],
)
def test_addresses_that_the_server_takes(kind: str, address: str) -> None:
    assert validate_slice(with_address(kind, address)) == ()
    assert validate_slice(with_address(kind, address, address)) == ()  # not the common case


@pytest.mark.parametrize(
    ("kind", "address", "detail"),
    [
        ("IPv4", "", "must be an IP address"),
        ("IPv4", " 10.0.0.1", "must be an IP address"),
        ("IPv4", "10.0.0.1\n", "must be an IP address"),
        ("IPv4", "10.0.0.1\0", "must be an IP address"),
        ("IPv4", "10.0.0", "must be an IP address"),
        ("IPv4", "10.0.0.256", "must be an IP address"),
        ("IPv4", "10.0.0.\u0661", "must be an IP address"),
        ("IPv4", "10.0.0.\ud800", "must be an IP address"),
        ("IPv4", "10.0.0.01", "must not have leading zeros"),
        ("IPv4", "000010.0.0.1", "must not have leading zeros"),
        ("IPv4", "127.0.0.01", "must not have leading zeros"),
        ("IPv4", "::ffff:10.0.0.1", "must not be an IPv4-mapped IPv6 address"),
        ("IPv4", "0.0.0.0", "must not be unspecified"),
        ("IPv4", "127.1.2.3", "must not be loopback"),
        ("IPv4", "169.254.0.1", "must not be link-local"),
        ("IPv4", "224.0.0.1", "must not be link-local multicast"),
        ("IPv6", "::ffff:a00:1", "must not be an IPv4-mapped IPv6 address"),
        ("IPv6", "fe80::1%eth0", "must be an IP address"),
        ("IPv6", "FD00::1", "must be in canonical form, fd00::1"),
        ("IPv6", "fd00:0::1", "must be in canonical form, fd00::1"),
        ("IPv6", "::1.2.3.4", "must be in canonical form, ::102:304"),
        ("IPv6", "fd00::1.2.3.04", "must not have leading zeros"),
        ("IPv6", "fd00::00001", "must not have leading zeros"),
        ("IPv6", "::", "must not be unspecified"),
        ("IPv6", "::1", "must not be loopback"),
        ("IPv6", "fe80::1", "must not be link-local"),
        ("IPv6", "febf::1", "must not be link-local"),
        ("IPv6", "ff02::1", "must not be link-local multicast"),
        ("IPv6", "ff12::1", "must not be link-local multicast"),
        ("FQDN", "a", "must be a domain of two parts or more"),
        ("FQDN", f"{'a' * 64}.b", "must be at most 63 bytes"),
    ],
)
def test_addresses_that_the_server_refuses(kind: str, address: str, detail: str) -> None:
    (found,) = validate_slice(with_address(kind, address))
    assert found == Violation("endpoints[0].addresses[0]", ErrorType.INVALID, detail, address)


@pytest.mark.parametrize("address", [".", "a..b", "A.example.com", "*.example.com", "a.b" * 100])
def test_names_that_are_no_domain(address: str) -> None:
    expected = [("endpoints[0].addresses[0]", "Invalid")]
    assert told(validate_slice(with_address("FQDN", address))) == expected


@pytest.mark.parametrize(
    ("kind", "addresses", "expected"),
    [
        ("IPv4", ["fd00::1"], ["addresses"]),
        ("IPv6", ["10.0.0.1"], ["addresses"]),
        ("IPv4", ["10.0.0.1", "ff02::1"], ["addresses", "addresses[1]"]),
        ("IPv6", ["169.254.1.1"], ["addresses", "addresses[0]"]),
        ("IP", ["nonsense", ""], []),  # of an unknown type none is looked at
    ],
)
def test_addresses_of_the_other_family(kind: str, addresses: Any, expected: Any) -> None:
    found = told(validate_slice(with_address(kind, *addresses)))
    assert [field for field, _ in found if field != "addressType"] == [
        f"endpoints[0].{field}" for field in expected
    ]


def test_an_endpoint_has_one_to_a_hundred_addresses() -> None:
    many = [f"10.0.0.{i}" for i in range(101)]
    assert validate_slice(with_address("IPv4", *many[:100])) == ()
    assert told(validate_slice(with_address("IPv4", *many))) == [
        ("endpoints[0].addresses", "TooMany")
    ]
    assert told(validate_slice(with_address("IPv4"))) == [("endpoints[0].addresses", "Required")]
    assert told(validate_slice(with_address("FQDN", ""))) == [
        ("endpoints[0].addresses[0]", "Required")
    ]
    assert told(validate_slice(with_address("IPv4", None, 7))) == [
        ("endpoints[0].addresses[0]", "Invalid"),
        ("endpoints[0].addresses[1]", "TypeInvalid"),
    ]


# --- the rest of an endpoint ------------------------------------------------------------------


_LABELS: Final = {f"k{i}": "v" for i in range(17)}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"nodeName": "node-1.example.com", "zone": "Any Zone!", "hostname": "web-0"}, []),
        ({"nodeName": None, "zone": None, "hostname": None, "hints": None}, []),
        ({"nodeName": ""}, [("nodeName", "Invalid")]),
        ({"nodeName": "Bad_Node"}, [("nodeName", "Invalid")]),
        ({"nodeName": "A" * 254}, [("nodeName", "Invalid")] * 2),
        ({"nodeName": 1}, [("nodeName", "TypeInvalid")]),
        ({"hostname": ""}, [("hostname", "Invalid")]),
        ({"hostname": "a.b"}, [("hostname", "Invalid")]),
        ({"hostname": ["web"]}, [("hostname", "TypeInvalid")]),
        ({"zone": {}}, [("zone", "TypeInvalid")]),
        ({"conditions": {}}, []),
        ({"conditions": {"ready": None, "warm": "yes"}}, []),
        ({"conditions": {"ready": "true"}}, [("conditions.ready", "TypeInvalid")]),
        ({"conditions": {"terminating": 0}}, [("conditions.terminating", "TypeInvalid")]),
        ({"conditions": []}, [("conditions", "TypeInvalid")]),
        ({"targetRef": {"kind": "", "name": None, "future": 1}}, []),
        ({"targetRef": {"uid": 1}}, [("targetRef.uid", "TypeInvalid")]),
        ({"targetRef": "Pod"}, [("targetRef", "TypeInvalid")]),
        ({"deprecatedTopology": {"rack": "r1"}}, []),
        ({"deprecatedTopology": {"rack": None}}, []),
        ({"deprecatedTopology": {"bad key": "r1"}}, [("deprecatedTopology", "Invalid")]),
        ({"deprecatedTopology": {"rack": "a b"}}, [("deprecatedTopology", "Invalid")]),
        ({"deprecatedTopology": _LABELS}, [("deprecatedTopology", "TooMany")]),
        ({"deprecatedTopology": []}, [("deprecatedTopology", "TypeInvalid")]),
        ({"deprecatedTopology": {1: "x"}}, [("deprecatedTopology", "TypeInvalid")]),
        ({"deprecatedTopology": {"rack": 1}}, [("deprecatedTopology[rack]", "TypeInvalid")]),
        (
            {"deprecatedTopology": {"topology.kubernetes.io/zone": "a"}},
            [("deprecatedTopology[topology.kubernetes.io/zone]", "InternalError")],
        ),
        ({"hints": {}}, []),
        ({"hints": []}, [("hints", "TypeInvalid")]),
        ({"hints": {"forZones": None, "forNodes": []}}, []),
        ({"hints": {"forZones": [{"name": "A_z"}], "forNodes": [{"name": "n-1"}]}}, []),
        ({"hints": {"forZones": {}}}, [("hints.forZones", "TypeInvalid")]),
        ({"hints": {"forZones": [{"name": "no!"}]}}, [("hints.forZones[0].name", "Invalid")]),
        ({"hints": {"forZones": [{}, None]}}, [("hints.forZones[1].name", "Duplicate")]),
        ({"hints": {"forZones": ["a"]}}, [("hints.forZones[0]", "TypeInvalid")]),
        ({"hints": {"forZones": [{"name": 1}]}}, [("hints.forZones[0].name", "TypeInvalid")]),
        ({"hints": {"forNodes": [{"name": ""}]}}, [("hints.forNodes[0].name", "Invalid")]),
        (
            {"hints": {"forZones": [{"name": "a"}] * 9, "forNodes": [{"name": ""}]}},
            [("hints.forZones", "TooMany")],
        ),
        (
            {"hints": {"forZones": [{"name": "!"}], "forNodes": [{"name": "a"}] * 9}},
            [("hints.forZones[0].name", "Invalid"), ("hints.forNodes", "TooMany")],
        ),
        (
            {"hints": {"forNodes": [{"name": "A"}, {"name": "A"}]}},
            [
                ("hints.forNodes[0].name", "Invalid"),
                ("hints.forNodes[1].name", "Duplicate"),
                ("hints.forNodes[1].name", "Invalid"),
            ],
        ),
    ],
)
@pytest.mark.parametrize("kind", ["IPv4", "IPv6", "FQDN"])
def test_rules_of_an_endpoint(kind: str, fields: Any, expected: list[tuple[str, str]]) -> None:
    wanted = [(f"endpoints[0].{field}", type_) for field, type_ in expected]
    assert told(validate_slice(with_endpoint(kind, **fields))) == wanted


# --- metadata ---------------------------------------------------------------------------------

_OWNER: Final = {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": "u"}
_CONTROLLER: Final = {**_OWNER, "controller": True}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": "a.b-1"}, []),
        ({"name": ""}, [("name", "Required")]),
        ({"name": "Bad_Name"}, [("name", "Invalid")]),
        ({"name": "a" * 254}, [("name", "Invalid")]),
        ({"name": "ü" * 127}, [("name", "Invalid")] * 2),  # 254 bytes
        ({"name": "\ud800"}, [("name", "Invalid")]),
        ({"name": 1}, [("name", "TypeInvalid")]),
        ({"name": "", "generateName": "web-"}, []),
        ({"name": None, "generateName": "a" * 252 + "-"}, []),
        ({"name": None, "generateName": "x" * 300}, [("generateName", "Invalid")]),
        ({"name": None, "generateName": "-"}, [("generateName", "Invalid"), ("name", "Invalid")]),
        ({"name": "web", "generateName": "Web-"}, [("generateName", "Invalid")]),
        ({"name": None, "generateName": 1}, [("generateName", "TypeInvalid")]),
        ({"namespace": ""}, [("namespace", "Required")]),
        ({"namespace": "a.b"}, [("namespace", "Invalid")]),
        ({"namespace": []}, [("namespace", "TypeInvalid")]),
        (
            {"uid": 1, "resourceVersion": 2},
            [("uid", "TypeInvalid"), ("resourceVersion", "TypeInvalid")],
        ),
        ({"generation": -1}, []),
        ({"generation": "1"}, [("generation", "TypeInvalid")]),
        ({"creationTimestamp": "2026-06-01T00:00:00Z"}, []),
        ({"creationTimestamp": "2026-06-01T00:00:00.25+02:00"}, []),
        ({"creationTimestamp": ""}, []),
        ({"creationTimestamp": "2026-06-31T00:00:00Z"}, [("creationTimestamp", "TypeInvalid")]),
        ({"creationTimestamp": "2026-06-01"}, [("creationTimestamp", "TypeInvalid")]),
        ({"creationTimestamp": 5}, [("creationTimestamp", "TypeInvalid")]),
        ({"labels": {"example.com/app": "web", "a": "", "b": None}}, []),
        ({"labels": {"bad key": "bad value!", "x/y/z": "v"}}, [("labels", "Invalid")] * 3),
        ({"labels": {"a": "v" * 64}}, [("labels", "Invalid")]),
        ({"labels": {"a": 1}}, [("labels[a]", "TypeInvalid")]),
        ({"labels": {None: "a"}}, [("labels", "TypeInvalid")]),
        ({"labels": ["a"]}, [("labels", "TypeInvalid")]),
        ({"annotations": {"Example.COM/Any": "thing at all\n"}}, []),
        ({"annotations": {"no key": ""}}, [("annotations", "Invalid")]),
        ({"annotations": {"a": "x" * (256 * 1024 - 1)}}, []),
        ({"annotations": {"a": "x" * 256 * 1024}}, [("annotations", "TooLong")]),
        ({"annotations": {"a": "ü" * 128 * 1024}}, [("annotations", "TooLong")]),
        ({"ownerReferences": [_OWNER, _CONTROLLER]}, []),
        ({"ownerReferences": [{**_OWNER, "apiVersion": "apps/v1"}]}, []),
        ({"ownerReferences": [_CONTROLLER] * 3}, [("ownerReferences", "Invalid")] * 2),
        (
            {"ownerReferences": [None]},
            [
                (f"ownerReferences.{name}", "Invalid")
                for name in ("apiVersion", "kind", "name", "uid")
            ],
        ),
        (
            {"ownerReferences": [{**_OWNER, "apiVersion": "a/b/c"}]},
            [("ownerReferences.apiVersion", "Invalid")],
        ),
        (
            {"ownerReferences": [{**_OWNER, "apiVersion": "apps/"}]},
            [("ownerReferences.apiVersion", "Invalid")],
        ),
        ({"ownerReferences": [{**_OWNER, "kind": "Event"}]}, [("ownerReferences", "Invalid")]),
        (
            {"ownerReferences": [{**_OWNER, "uid": 1, "controller": "yes"}]},
            [
                ("ownerReferences[0].uid", "TypeInvalid"),
                ("ownerReferences[0].controller", "TypeInvalid"),
            ],
        ),
        ({"finalizers": ["example.com/hold", "kubernetes", "orphan"]}, []),
        ({"finalizers": ["hold"]}, [("finalizers[0]", "Invalid")]),
        ({"finalizers": ["a b/c"]}, [("finalizers", "Invalid")]),
        ({"finalizers": ["orphan", "foregroundDeletion"]}, [("finalizers", "Invalid")]),
        ({"finalizers": [1]}, [("finalizers[0]", "TypeInvalid")]),
        ({"managedFields": [{"operation": "what the server writes itself"}]}, []),
        ({"managedFields": [1]}, [("managedFields[0]", "TypeInvalid")]),
    ],
)
def test_rules_of_metadata(fields: Any, expected: list[tuple[str, str]]) -> None:
    wanted = [(f"metadata.{field}", type_) for field, type_ in expected]
    assert told(validate_slice(with_meta(**fields))) == wanted


def test_violations_of_labels_do_not_depend_on_their_order() -> None:
    labels = {"b c": "1", "a b": "2", "c d": "!"}
    found = validate_slice(with_meta(labels=labels))
    assert [item.value for item in found] == ["a b", "b c", "c d", "!"]
    assert found == validate_slice(with_meta(labels=dict(reversed(labels.items()))))


# --- updates ----------------------------------------------------------------------------------


def test_the_address_type_cannot_change() -> None:
    old, new = manifest(endpoints=[]), manifest(addressType="IPv6", endpoints=[])
    assert validate_update(old, new) == (
        Violation("addressType", ErrorType.INVALID, "must not change", "IPv6"),
    )
    gone = manifest(addressType=None, endpoints=[])
    assert told(validate_update(old, gone)) == [
        ("addressType", "Required"),
        ("addressType", "Invalid"),
    ]
    odd = {**old, "addressType": []}
    assert told(validate_update(old, odd)) == [("addressType", "TypeInvalid")]


_BAD: Final = [{"addresses": ["10.1.2.04"], "nodeName": "Bad_Node"}]


@pytest.mark.parametrize(
    "spelled",
    [
        _BAD,
        tuple(_BAD),
        [{**_BAD[0], "conditions": {}, "zone": None}],
        [{**_BAD[0], "hints": {"forZones": []}}],
    ],
)
def test_what_is_wrong_with_endpoints_is_let_pass_if_none_changes(spelled: Any) -> None:
    old = manifest(endpoints=_BAD)
    assert len(validate_slice(old)) == 2
    assert validate_update(old, {**with_meta(labels={"a": "b"}), "endpoints": spelled}) == ()


@pytest.mark.parametrize(
    "changed",
    [
        [{**_BAD[0], "nodeName": "Bad_Node_2"}],
        [*_BAD, {"addresses": ["10.0.0.1"]}],
        [{**_BAD[0], "conditions": {"ready": False}}],
    ],
)
def test_one_change_and_all_endpoints_are_looked_at(changed: Any) -> None:
    found = validate_update(manifest(endpoints=_BAD), manifest(endpoints=changed))
    assert told(found) == [
        ("endpoints[0].addresses[0]", "Invalid"),
        ("endpoints[0].nodeName", "Invalid"),
    ]


def test_only_endpoints_are_let_pass() -> None:
    wrong = {**with_meta(labels={"a b": ""}), "ports": [{"protocol": "x"}], "endpoints": [3]}
    assert told(validate_update(wrong, wrong)) == [
        ("metadata.labels", "Invalid"),
        ("ports[0].protocol", "NotSupported"),
        ("endpoints[0]", "TypeInvalid"),  # what cannot be decoded cannot have been stored
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"uid": "u"}, {}, []),
        ({"uid": "u"}, {"uid": "u"}, []),
        ({"uid": "u"}, {"uid": "v"}, [("uid", "Invalid")]),
        ({}, {"name": "web-b"}, [("name", "Invalid")]),
        ({}, {"namespace": "data"}, [("namespace", "Invalid")]),
        ({"resourceVersion": "1"}, {"resourceVersion": "2"}, []),
        ({"generation": 9}, {"generation": 1}, []),
        ({}, {"deletionTimestamp": "2026-06-01T00:00:00Z"}, [("deletionTimestamp", "Invalid")]),
        (
            {"deletionTimestamp": "2026-06-01T00:00:00Z"},
            {"deletionTimestamp": "2026-06-02T00:00:00Z"},
            [],
        ),
        ({"deletionGracePeriodSeconds": 0}, {}, []),
        (
            {"deletionGracePeriodSeconds": 0},
            {"deletionGracePeriodSeconds": 1},
            [("deletionGracePeriodSeconds", "Invalid")],
        ),
        ({}, {"finalizers": ["example.com/a"]}, []),
        (
            {"deletionTimestamp": "2026-06-01T00:00:00Z", "finalizers": ["a.b/c", "a.b/d"]},
            {"finalizers": ["a.b/d"]},
            [],
        ),
        (
            {"deletionTimestamp": "2026-06-01T00:00:00Z", "finalizers": ["a.b/c"]},
            {"finalizers": ["a.b/d", "a.b/c", "a.b/e"]},
            [("finalizers", "Forbidden")],
        ),
    ],
)
def test_what_metadata_cannot_change(old: Any, new: Any, expected: Any) -> None:
    found = validate_update(with_meta(**old), with_meta(**new))
    assert told(found) == [(f"metadata.{field}", type_) for field, type_ in expected]


# --- plans ------------------------------------------------------------------------------------


def test_a_plan_is_judged_write_by_write() -> None:
    bad = endpoint(1, hostname="Not A Label")
    plan = reconcile(
        [group(bad, 2), group(3, ports=())],
        [stored("web-a", bad, 7), stored("web-b", 9, kind=FQDN)],
        template=TEMPLATE,
    )
    kinds = [type(operation) for operation in plan.operations]
    assert set(kinds) == {CreateSlice, UpdateSlice, DeleteSlice}
    (found,) = validate_plan(plan)
    at = kinds.index(UpdateSlice)
    assert found.field.startswith(f"operations[{at}].object.endpoints[")
    assert found.field.endswith("].hostname")
    assert encode_plan(plan)["operations"][at]["object"]["endpoints"]
    assert validate_plan(reconcile([group(2)], [], template=TEMPLATE)) == ()


def test_a_create_that_the_server_would_refuse_is_told() -> None:
    wrong = attrs.evolve(TEMPLATE, metadata=attrs.evolve(TEMPLATE.metadata, namespace=""))
    plan = reconcile([group(1)], [], template=wrong)
    assert isinstance(plan.operations[0], CreateSlice)
    assert told(validate_plan(plan)) == [("operations[0].object.metadata.namespace", "Required")]


def test_a_delete_is_never_refused() -> None:
    plan = reconcile([], [stored("Bad_Name", 1)], template=TEMPLATE)
    assert [type(item) for item in plan.operations] == [DeleteSlice]
    assert validate_plan(plan) == ()


def test_a_model_is_judged_as_it_is_written() -> None:
    model = stored("web-a", endpoint(1, kind=FQDN), kind=FQDN)
    assert validate_slice(model) == ()
    assert validate_update(model, model) == ()
    # Models know the families of addresses, not each rule of the server.
    local = stored("web-a", Endpoint(("127.0.0.1",)))
    assert told(validate_slice(local)) == [("endpoints[0].addresses[0]", "Invalid")]
    assert validate_update(local, local) == ()
    assert validate_update(encode_slice(local), local) == ()
