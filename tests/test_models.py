"""Values: frozen, compared by meaning, refused at the door if they cannot exist."""

from __future__ import annotations

import copy
import ipaddress
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from attrs.exceptions import FrozenInstanceError
from hypothesis import assume, example, given
from hypothesis import strategies as st

from endpointslice import (
    AddressType,
    ContainerPort,
    Endpoint,
    EndpointConditions,
    EndpointGroup,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    FrozenDict,
    GroupKey,
    ModelError,
    Node,
    ObjectMeta,
    ObjectReference,
    OwnerReference,
    Pod,
    Protocol,
    Service,
    ServicePort,
    SliceTemplate,
)
from endpointslice.models import (
    _make_group,
    _make_slice,
    canonical_ip,
    check_max_endpoints_per_slice,
)
from tests.builders import FQDN, HTTP, IPV4, IPV6, METRICS, Case, cases, endpoint, group, stored

_TARGET: Final = ObjectReference("Pod", "shop", "web-1", "uid-1", "v1", "spec", "7")
_ENDPOINT: Final = Endpoint(
    ("10.0.0.1",),
    EndpointConditions(ready=False),
    "h",
    "node-1",
    "a",
    _TARGET,
    EndpointHints(for_zones=("a",)),
    {"future": 1},
)

#: One value of every class.
VALUES: Final[tuple[Any, ...]] = (
    FrozenDict({"a": 1}),
    EndpointConditions(),
    EndpointHints(for_nodes=("n",)),
    _TARGET,
    _ENDPOINT,
    HTTP,
    METRICS,
    GroupKey(address_type=IPV4, ports=(HTTP,)),
    group(1, 2),
    OwnerReference(api_version="v1", kind="Service", name="web", uid="u"),
    ObjectMeta(name="web", labels=FrozenDict({"a": "b"})),
    stored("web-1", 1, 2),
    SliceTemplate(metadata=ObjectMeta()),
    ServicePort(port=80, target_port="http"),
    Service(metadata=ObjectMeta(name="web"), ports=(ServicePort(port=80),)),
    ContainerPort(container_port=80),
    Pod(metadata=ObjectMeta(name="web-1"), pod_ips=("10.0.0.1",)),
    Node(metadata=ObjectMeta(name="node-1")),
)
_MODELS: Final = tuple(value for value in VALUES if attrs.has(type(value)))
every_value = pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
every_model = pytest.mark.parametrize("value", _MODELS, ids=lambda value: type(value).__name__)


def refused(make: Callable[[], object], field: str, value: object) -> None:
    with pytest.raises(ModelError) as caught:
        make()
    error = caught.value
    assert (error.field, error.value) == (field, value)
    assert field in str(error)


# --- what holds for every value -----------------------------------------------------------------


@every_value
def test_values_can_be_pickled_and_copied(value: Any) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(value, protocol))
        assert type(again) is type(value)
        assert again == value
        assert hash(again) == hash(value)
        assert repr(again) == repr(value)
    assert copy.deepcopy(value) == value
    assert copy.copy(value) == value


@every_model
def test_models_are_frozen(value: Any) -> None:
    for name in [field.name for field in attrs.fields(type(value))]:
        before = getattr(value, name)
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, before)
        with pytest.raises(FrozenInstanceError):
            delattr(value, name)
        assert getattr(value, name) == before
    with pytest.raises((FrozenInstanceError, AttributeError)):
        value.something_new = 1
    assert not hasattr(value, "__dict__")


@every_model
def test_a_model_evolved_by_nothing_is_equal(value: Any) -> None:
    again = attrs.evolve(value)
    assert again is not value
    assert type(again) is type(value)
    assert again == value
    assert repr(again) == repr(value)


@every_value
def test_values_of_different_classes_differ(value: Any) -> None:
    assert [other for other in VALUES if other == value] == [value]
    assert value != object()
    assert value != 1


@every_model
def test_models_cannot_be_told_apart_from_their_copies_in_a_set(value: Any) -> None:
    assert {value, attrs.evolve(value)} == {value}


# --- FrozenDict -----------------------------------------------------------------------------


def test_a_frozen_dict_reads_like_a_dict() -> None:
    frozen = FrozenDict({"b": 1, "a": 2})
    assert frozen == {"a": 2, "b": 1}
    assert list(frozen) == ["b", "a"]
    assert frozen["a"] == frozen.get("a") == 2
    assert frozen | {"c": 3} == {"a": 2, "b": 1, "c": 3}
    assert repr(frozen) == "{'b': 1, 'a': 2}"
    assert isinstance(frozen, dict)


def test_equal_frozen_dicts_have_equal_hashes() -> None:
    first, second = FrozenDict({"a": 1, "b": 2}), FrozenDict({"b": 2, "a": 1})
    assert first == second
    assert hash(first) == hash(second)
    assert {first: "x"}[second] == "x"


def test_a_frozen_dict_of_what_cannot_be_hashed_cannot_be_hashed() -> None:
    with pytest.raises(TypeError):
        hash(FrozenDict({"a": [1]}))


_CHANGES: Final[dict[str, Callable[[Any], object]]] = {
    "set": lambda frozen: frozen.__setitem__("a", 2),
    "delete": lambda frozen: frozen.__delitem__("a"),
    "update": lambda frozen: frozen.update(a=2),
    "or": lambda frozen: frozen.__ior__({"a": 2}),
    "clear": lambda frozen: frozen.clear(),
    "pop": lambda frozen: frozen.pop("a"),
    "pop with default": lambda frozen: frozen.pop("b", None),
    "popitem": lambda frozen: frozen.popitem(),
    "setdefault": lambda frozen: frozen.setdefault("b", 2),
}


@pytest.mark.parametrize("change", _CHANGES.values(), ids=_CHANGES)
def test_a_frozen_dict_cannot_change(change: Callable[[Any], object]) -> None:
    frozen = FrozenDict({"a": 1})
    with pytest.raises(TypeError, match="cannot change"):
        change(frozen)
    assert frozen == {"a": 1}


def test_maps_are_copied_and_frozen_ones_shared() -> None:
    labels = {"a": "b"}
    meta = ObjectMeta(labels=labels)
    labels["a"] = "c"
    assert meta.labels == {"a": "b"}
    assert type(meta.labels) is FrozenDict
    assert attrs.evolve(meta, annotations=meta.labels).annotations is meta.labels


# --- identity and content -----------------------------------------------------------------------


def test_the_key_is_addresses_hostname_and_target() -> None:
    assert _ENDPOINT.key == "10.0.0.1\0h\0shop\0web-1"
    assert Endpoint(("10.0.0.1",)).key == "10.0.0.1\0\0\0"


_OF_THE_KEY: Final[dict[str, dict[str, Any]]] = {
    "addresses": {"addresses": ("10.0.0.2",)},
    "more addresses": {"addresses": ("10.0.0.1", "10.0.0.2")},
    "hostname": {"hostname": "other"},
    "no hostname": {"hostname": None},
    "namespace": {"target_ref": attrs.evolve(_TARGET, namespace="x")},
    "name": {"target_ref": attrs.evolve(_TARGET, name="x")},
    "no target": {"target_ref": None},
}
_OF_THE_CONTENT: Final[dict[str, dict[str, Any]]] = {
    "ready": {"conditions": EndpointConditions(ready=True)},
    "serving": {"conditions": EndpointConditions(ready=False, serving=False)},
    "terminating": {"conditions": EndpointConditions(ready=False, terminating=True)},
    "node": {"node_name": "other"},
    "no node": {"node_name": None},
    "zone": {"zone": "other"},
    "no zone": {"zone": None},
    "kind": {"target_ref": attrs.evolve(_TARGET, kind="x")},
    "uid": {"target_ref": attrs.evolve(_TARGET, uid="x")},
    "api version": {"target_ref": attrs.evolve(_TARGET, api_version="x")},
    "field path": {"target_ref": attrs.evolve(_TARGET, field_path="x")},
    "zones": {"hints": EndpointHints(for_zones=("a", "b"))},
    "nodes": {"hints": EndpointHints(for_nodes=("a",))},
    "no hints": {"hints": EndpointHints()},
}
_OF_NEITHER: Final[dict[str, dict[str, Any]]] = {
    "resource version": {"target_ref": attrs.evolve(_TARGET, resource_version="8")},
    "unknown fields of the target": {"target_ref": attrs.evolve(_TARGET, extra={"x": 1})},
    "unknown fields": {"extra": {"x": 1}},
    "deprecatedTopology": {"extra": {"deprecatedTopology": {"rack": "r"}}},
    "what of the conditions is stated": {
        "conditions": EndpointConditions(ready=False, serving=True, stated=3)
    },
    "that hints are stated": {"hints": EndpointHints(for_zones=("a",), stated=True)},
}


@pytest.mark.parametrize("change", _OF_THE_KEY.values(), ids=_OF_THE_KEY)
def test_endpoints_with_another_identity_have_another_key(change: dict[str, Any]) -> None:
    other = attrs.evolve(_ENDPOINT, **change)
    assert other.key != _ENDPOINT.key
    assert other != _ENDPOINT


@pytest.mark.parametrize("change", _OF_THE_CONTENT.values(), ids=_OF_THE_CONTENT)
def test_endpoints_with_another_content_have_the_key_and_differ(change: dict[str, Any]) -> None:
    other = attrs.evolve(_ENDPOINT, **change)
    assert other.key == _ENDPOINT.key
    assert other != _ENDPOINT
    assert hash(other) == hash(_ENDPOINT)


@pytest.mark.parametrize("change", _OF_NEITHER.values(), ids=_OF_NEITHER)
def test_what_no_consumer_sees_is_no_part_of_equality(change: dict[str, Any]) -> None:
    other = attrs.evolve(_ENDPOINT, **change)
    assert other.key == _ENDPOINT.key
    assert other == _ENDPOINT


def test_every_two_contents_differ() -> None:
    contents = [attrs.evolve(_ENDPOINT, **change) for change in _OF_THE_CONTENT.values()]
    for i, first in enumerate(contents):
        assert [other for other in contents if other == first] == [contents[i]]


@pytest.mark.parametrize("name", ["hostname", "node_name", "zone"])
def test_empty_and_unset_are_the_same(name: str) -> None:
    changes: list[dict[str, Any]] = [{name: ""}, {name: None}]
    empty, unset = (attrs.evolve(_ENDPOINT, **change) for change in changes)
    assert empty == unset
    assert empty.key == unset.key


def test_empty_and_unset_are_the_same_in_ports_and_metadata() -> None:
    assert EndpointPort(port=1, app_protocol="") == EndpointPort(port=1)
    assert ServicePort(port=1, app_protocol="") == ServicePort(port=1)
    assert ObjectMeta(creation_timestamp="", deletion_timestamp="") == ObjectMeta()
    service = Service(metadata=ObjectMeta(), traffic_distribution="")
    assert service == Service(metadata=ObjectMeta())


def test_the_order_of_addresses_is_no_part_of_identity_or_content() -> None:
    first = Endpoint(("10.0.0.1", "10.0.0.2"))
    second = Endpoint(("10.0.0.2", "10.0.0.1"))
    assert first == second
    assert first.key == second.key
    assert second.addresses == ("10.0.0.2", "10.0.0.1")


@pytest.mark.parametrize(
    "addresses", [("10.0.0.1",), ("10.0.0.2", "10.0.0.1"), ("b", "a."), ("fd00::2", "fd00::1")]
)
def test_what_is_made_of_an_endpoint_keeps_its_addresses(addresses: tuple[str, ...]) -> None:
    first = attrs.evolve(_ENDPOINT, addresses=addresses)
    kinds = [kind for kind in AddressType if _fits(first, kind)]
    assert kinds
    for again in (
        pickle.loads(pickle.dumps(first)),
        copy.copy(first),
        attrs.evolve(first, hints=None),
        first.with_hints(EndpointHints(for_zones=("z",))),
        first.with_extra({"later": 1}),
    ):
        assert again.addresses == addresses
        assert again.key == first.key
        assert [kind for kind in AddressType if _fits(again, kind)] == kinds
    assert first.with_extra({"later": 1}) == first
    assert first.with_extra({"later": 1}).extra == {"later": 1}
    hinted = first.with_hints(EndpointHints(for_zones=("z",)))
    assert hinted != first
    assert hinted.with_hints(first.hints) == first


def _fits(member: Endpoint, kind: AddressType) -> bool:
    try:
        EndpointGroup(key=GroupKey(address_type=kind), endpoints=(member,))
    except ModelError:
        return False
    return True


def test_endpoints_of_one_node_share_what_they_have_in_common() -> None:
    one, two = (
        Endpoint((f"10.0.0.{i}",), node_name="node-1", target_ref=ObjectReference(uid=f"u{i}"))
        for i in (1, 2)
    )
    assert one._state is two._state
    assert one != attrs.evolve(one, target_ref=two.target_ref)


def test_a_target_of_empty_names_has_the_identity_of_none() -> None:
    assert Endpoint(("10.0.0.1",), target_ref=ObjectReference()).key == Endpoint(("10.0.0.1",)).key


_PARTS: Final = st.sampled_from(["", "a", "b", "ab", ",", "\1", "\2", "1", "ü"])


@given(
    first=st.tuples(*[_PARTS] * 8, st.lists(_PARTS, max_size=2), st.lists(_PARTS, max_size=2)),
    second=st.tuples(*[_PARTS] * 8, st.lists(_PARTS, max_size=2), st.lists(_PARTS, max_size=2)),
)
def test_endpoints_are_equal_only_if_every_part_is(
    first: tuple[Any, ...], second: tuple[Any, ...]
) -> None:
    def make(parts: tuple[Any, ...]) -> Endpoint:
        hostname, node, zone, kind, namespace, name, uid, version, zones, nodes = parts
        return Endpoint(
            ("10.0.0.1",),
            hostname=hostname,
            node_name=node,
            zone=zone,
            target_ref=ObjectReference(kind, namespace, name, uid, version),
            hints=EndpointHints(for_zones=zones, for_nodes=nodes),
        )

    assume(all(text >= " " for parts in (first, second) for names in parts[8:] for text in names))
    # Hypothesis seldom draws two that differ in one part alone.
    for i in range(len(first)):
        near = (*first[:i], second[i], *first[i + 1 :])
        assert (make(first) == make(near)) is (first == near)
    assert (make(first) == make(second)) is (first == second)


#: What a consumer can see.
_SEEN: Final = (
    "addresses",
    "conditions",
    "hostname",
    "node_name",
    "zone",
    "target_ref",
    "hints",
)


@given(case=cases())
def test_equality_agrees_with_what_attributes_say(case: Case) -> None:
    members = [m for item in case.current for m in item.endpoints]
    members += [m for item in case.desired for m in item.endpoints]
    for one in members[:8]:
        for other in members:
            same = all(getattr(one, name) == getattr(other, name) for name in _SEEN)
            assert (one == other) is same


def test_conditions_are_what_unset_ones_mean() -> None:
    assert EndpointConditions() == EndpointConditions(ready=True, serving=True, terminating=False)
    assert EndpointConditions(stated=0) == EndpointConditions()
    assert hash(EndpointConditions(stated=0)) == hash(EndpointConditions())


def test_no_hints_are_false() -> None:
    assert not EndpointHints()
    assert not EndpointHints(stated=True)
    assert EndpointHints(stated=True) == EndpointHints()
    assert EndpointHints(for_zones=("a",))
    assert EndpointHints(for_nodes=("a",))


def test_references_compare_without_their_version() -> None:
    assert attrs.evolve(_TARGET, resource_version="8") == _TARGET
    assert hash(attrs.evolve(_TARGET, resource_version="8")) == hash(_TARGET)
    for name in ("kind", "namespace", "name", "uid", "api_version", "field_path"):
        change: dict[str, Any] = {name: "x"}
        assert attrs.evolve(_TARGET, **change) != _TARGET
    assert _TARGET != "Pod"
    assert _TARGET.__eq__("Pod") is NotImplemented


def test_an_endpoint_evolves_field_by_field() -> None:
    changed = attrs.evolve(_ENDPOINT, zone="b", addresses=["10.0.0.2"], hostname=None)
    assert (changed.zone, changed.addresses, changed.hostname) == ("b", ("10.0.0.2",), None)
    assert changed.key == "10.0.0.2\0\0shop\0web-1"
    assert changed.extra == {"future": 1}
    assert _ENDPOINT.zone == "a"
    refused(lambda: attrs.evolve(_ENDPOINT, addresses=()), "addresses", 0)


def test_an_endpoint_with_other_hints_or_unknown_fields_keeps_the_rest() -> None:
    hints = EndpointHints(for_nodes=("n",))
    assert _ENDPOINT.with_hints(hints) == attrs.evolve(_ENDPOINT, hints=hints)
    assert _ENDPOINT.with_hints(hints).extra == _ENDPOINT.extra
    other = _ENDPOINT.with_extra({"x": 1})
    assert other == _ENDPOINT
    assert other.extra == {"x": 1}
    assert other.hints == _ENDPOINT.hints


# --- addresses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "canonical"),
    [
        ("10.0.0.1", IPV4, "10.0.0.1"),
        ("0.0.0.0", IPV4, "0.0.0.0"),
        ("255.255.255.255", IPV4, "255.255.255.255"),
        # Leading zeros count as decimal.
        ("010.000.0.08", IPV4, "10.0.0.8"),
        ("000000001.2.3.4", IPV4, "1.2.3.4"),
        # IPv4 in IPv6
        ("::ffff:10.0.0.1", IPV4, "10.0.0.1"),
        ("::ffff:a00:1", IPV4, "10.0.0.1"),
        ("0:0:0:0:0:FFFF:0a00:0001", IPV4, "10.0.0.1"),
        ("::10.0.0.1", IPV6, "::a00:1"),
        ("64:ff9b::10.0.0.1", IPV6, "64:ff9b::a00:1"),
        ("::ffff:0:10.0.0.1", IPV6, "::ffff:0:a00:1"),
        # RFC 5952
        ("::", IPV6, "::"),
        ("::1", IPV6, "::1"),
        ("::1:2", IPV6, "::1:2"),
        ("0:0:0:0:0:0:1:0", IPV6, "::1:0"),
        ("2001:DB8::ABCD", IPV6, "2001:db8::abcd"),
        ("2001:0db8:0:0:1:0:0:1", IPV6, "2001:db8::1:0:0:1"),
        ("2001:db8:0:0:0:1:0:0", IPV6, "2001:db8::1:0:0"),
        ("2001:db8:0:1:1:1:1:1", IPV6, "2001:db8:0:1:1:1:1:1"),
        ("2001:db8::0:1:1:1:1", IPV6, "2001:db8::1:1:1:1"),
        ("fd00:0:0::0:0:0", IPV6, "fd00::"),
    ],
)
def test_ips_have_one_canonical_form(text: str, kind: AddressType, canonical: str) -> None:
    assert canonical_ip(text) == (kind, canonical)
    assert canonical_ip(canonical) == (kind, canonical)
    assert Endpoint((canonical,)).addresses == (canonical,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0",
        "10.0.0.1.2",
        "10.0.0.256",
        "10.0.0.-1",
        "10.0.0.1 ",
        "10.0.0.1\n",
        "10.0.0.0x1",
        "10.0.0.\u0661",
        "167772161",
        "web.example.com",
        ":",
        ":::",
        "1::2::3",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "12345::",
        "g::",
        "fe80::1%eth0",
        "[::1]",
        "::1/128",
        "::1\0",
        "::\ud800",
    ],
)
def test_what_is_no_ip_is_refused(text: str) -> None:
    refused(lambda: canonical_ip(text), "address", text)


@given(
    packed=st.binary(min_size=16, max_size=16)
    | st.lists(
        st.sampled_from([b"\0\0", b"\0\1", b"\1\0", b"\xff\xff"]), min_size=8, max_size=8
    ).map(b"".join)
)
@example(packed=bytes(16))
@example(packed=bytes(12) + b"\1\2\3\4")
def test_ipv6_is_spelled_as_rfc_5952_says(packed: bytes) -> None:
    address = ipaddress.IPv6Address(packed)
    assume(address.ipv4_mapped is None)
    expected = (IPV6, address.compressed)
    for spelling in (address.compressed, address.exploded, address.compressed.upper()):
        assert canonical_ip(spelling) == expected
        made = spelling == address.compressed
        assert _is_address(spelling) is made


@given(parts=st.lists(st.integers(0, 255), min_size=4, max_size=4), zeros=st.integers(0, 3))
def test_ipv4_is_spelled_without_leading_zeros(parts: list[int], zeros: int) -> None:
    plain = ".".join(map(str, parts))
    padded = ".".join("0" * zeros + str(part) for part in parts)
    assert canonical_ip(padded) == (IPV4, plain)
    assert Endpoint((plain,)).addresses == (plain,)


def _is_address(text: str) -> bool:
    try:
        Endpoint((text,))
    except ModelError:
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        (IPV4, "10.0.0.1"),
        (IPV6, "fd00::1"),
        (FQDN, "web.example.com"),
        (FQDN, "web.example.com."),
        (FQDN, "a" * 253),
        (FQDN, "1.web-2"),
        # It has the form of a name, too.
        (FQDN, "10.0.0.1"),
    ],
)
def test_addresses_of_the_type_are_taken(kind: AddressType, address: str) -> None:
    member = Endpoint((address,))
    assert EndpointGroup(key=GroupKey(address_type=kind), endpoints=(member,)).endpoints
    assert EndpointSlice(metadata=ObjectMeta(), address_type=kind, endpoints=(member,)).endpoints


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        (IPV4, "fd00::1"),
        (IPV4, "web"),
        (IPV4, "10.0.0.01"),
        (IPV6, "10.0.0.1"),
        (IPV6, "web"),
        (FQDN, "fd00::1"),
    ],
)
def test_addresses_of_another_type_are_refused(kind: AddressType, address: str) -> None:
    members = (endpoint(1, kind=kind), Endpoint((address,)))
    where = "endpoints[1].addresses[0]"
    refused(
        lambda: EndpointGroup(key=GroupKey(address_type=kind), endpoints=members), where, address
    )
    refused(
        lambda: EndpointSlice(metadata=ObjectMeta(), address_type=kind, endpoints=members),
        where,
        address,
    )


def test_the_address_that_is_wrong_is_named_among_right_ones() -> None:
    members = (endpoint(1), endpoint(2), Endpoint(("10.0.0.3", "10.0.0.4")), Endpoint(("a",)))
    refused(
        lambda: EndpointGroup(key=GroupKey(address_type=IPV4), endpoints=members),
        "endpoints[3].addresses[0]",
        "a",
    )


@pytest.mark.parametrize(
    "address",
    [
        "",
        ".",
        "web..example.com",
        "web.example.com..",
        "Web.example.com",
        "-web",
        "web-",
        "web-.com",
        "a_b",
        "a" * 254,
        "web example",
        "web\n",
        "ümlaut",
        "::ffff:10.0.0.1",
        "FD00::1",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    refused(lambda: Endpoint((address,)), "addresses[0]", address)
    refused(lambda: Endpoint(("10.0.0.1", address)), "addresses[1]", address)


def test_an_endpoint_has_1_to_100_addresses_of_one_family() -> None:
    many = tuple(f"10.0.0.{i}" for i in range(101))
    assert len(Endpoint(many[:100]).addresses) == 100
    refused(lambda: Endpoint(many), "addresses", 101)
    refused(lambda: Endpoint(()), "addresses", 0)
    mixed = ("10.0.0.1", "fd00::1")
    refused(lambda: Endpoint(mixed), "addresses", mixed)
    assert Endpoint(("10.0.0.1", "web")).addresses == ("10.0.0.1", "web")


def test_addresses_are_a_list_of_strings() -> None:
    assert Endpoint(["10.0.0.1"]).addresses == ("10.0.0.1",)
    assert Endpoint(iter(["10.0.0.1", "10.0.0.2"])).addresses == ("10.0.0.1", "10.0.0.2")
    refused(lambda: Endpoint("10.0.0.1"), "addresses", "10.0.0.1")
    refused(lambda: Endpoint((7,)), "addresses[0]", 7)  # type: ignore[arg-type]
    refused(lambda: Endpoint(("10.0.0.1", None)), "addresses[1]", None)  # type: ignore[arg-type]


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("hostname", {"hostname": "a\0"}),
        ("node_name", {"node_name": "\0"}),
        ("zone", {"hostname": "a", "zone": "\0b"}),
        ("target_ref.kind", {"target_ref": ObjectReference(kind="\0")}),
        ("target_ref.namespace", {"target_ref": ObjectReference(namespace="\0")}),
        ("target_ref.name", {"target_ref": ObjectReference(name="\0")}),
        ("target_ref.uid", {"target_ref": ObjectReference(uid="\0")}),
        ("target_ref.api_version", {"target_ref": ObjectReference(api_version="\0")}),
        ("target_ref.field_path", {"target_ref": ObjectReference(field_path="\0")}),
    ],
)
def test_names_hold_no_nul(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(ModelError) as caught:
        Endpoint(("10.0.0.1",), **fields)
    assert caught.value.field == field
    assert "\0" in str(caught.value.value)


@pytest.mark.parametrize("value", ["", "a\0", "\1", "\2", "a\nb", 7, None])
@pytest.mark.parametrize("name", ["for_zones", "for_nodes"])
def test_hints_are_names(name: str, value: Any) -> None:
    fields: dict[str, Any] = {name: ("a", value)}
    refused(lambda: EndpointHints(**fields), f"{name}[1]", value)


@pytest.mark.parametrize("name", ["for_zones", "for_nodes"])
def test_one_string_is_no_list_of_names(name: str) -> None:
    fields: dict[str, Any] = {name: "a"}
    refused(lambda: EndpointHints(**fields), "value", "a")


def test_one_string_is_no_list_of_families() -> None:
    refused(
        lambda: Service(metadata=ObjectMeta(), ip_families="IPv4"),
        "value",
        "IPv4",
    )


@pytest.mark.parametrize("name", ["ready", "serving", "terminating"])
@pytest.mark.parametrize("value", [None, 0, 1, "True"])
def test_conditions_are_bools(name: str, value: Any) -> None:
    refused(lambda: EndpointConditions(**{name: value}), name, value)


@pytest.mark.parametrize("stated", range(8))
@pytest.mark.parametrize(
    ("values", "needed"),
    [
        ((True, True, False), 0),
        ((True, True, True), 4),
        ((True, False, False), 2),
        ((True, False, True), 6),
        ((False, False, False), 1),
        ((False, False, True), 5),
        ((False, True, False), 3),
        ((False, True, True), 7),
    ],
)
def test_conditions_that_unset_would_not_mean_are_stated(
    stated: int, values: tuple[bool, bool, bool], needed: int
) -> None:
    ready, serving, terminating = values
    made = EndpointConditions(ready=ready, serving=serving, terminating=terminating, stated=stated)
    assert made._stated == stated | needed


# --- ports and groups -----------------------------------------------------------------------


@pytest.mark.parametrize("port", [0, -1, 65536, "80", 80.0, True])
def test_ports_are_1_to_65535(port: Any) -> None:
    refused(lambda: EndpointPort(port=port), "port", port)
    refused(lambda: ServicePort(port=port), "port", port)
    if not isinstance(port, str):
        refused(lambda: ServicePort(port=1, target_port=port), "target_port", port)
    refused(lambda: ServicePort(port=1, node_port=port), "node_port", port)


def test_port_limits_are_allowed() -> None:
    assert EndpointPort(port=1) != EndpointPort(port=65535)
    assert EndpointPort(port=None).port is None
    assert ServicePort(port=1, target_port=65535).target_port == 65535
    assert ServicePort(port=1, target_port="http").target_port == "http"
    refused(lambda: ServicePort(port=None), "port", None)  # type: ignore[arg-type]


def test_protocols_are_known() -> None:
    assert EndpointPort(port=1, protocol="UDP").protocol is Protocol.UDP
    refused(
        lambda: EndpointPort(port=1, protocol="HTTP"),
        "protocol",
        "HTTP",
    )
    refused(
        lambda: ServicePort(port=1, protocol="tcp"),
        "protocol",
        "tcp",
    )
    refused(lambda: EndpointPort(port=1, name=7), "name", 7)  # type: ignore[arg-type]


def test_address_types_are_known() -> None:
    key = GroupKey(address_type="IPv6")
    assert key.address_type is AddressType.IPV6
    refused(
        lambda: GroupKey(address_type="IPv5"),
        "address_type",
        "IPv5",
    )
    refused(
        lambda: EndpointSlice(metadata=ObjectMeta(), address_type=""),
        "address_type",
        "",
    )


_PORTS: Final = (
    EndpointPort(port=2, name="a"),
    EndpointPort(port=None, name="b"),
    EndpointPort(port=1, name="b"),
    EndpointPort(port=1, name="b", app_protocol="h2c"),
    EndpointPort(port=3, name="b"),
    EndpointPort(port=1, name="b", protocol=Protocol.UDP),
)


@given(ports=st.permutations(_PORTS))
def test_a_group_has_its_ports_in_canonical_order(ports: list[EndpointPort]) -> None:
    key = GroupKey(address_type=IPV4, ports=tuple(ports))
    assert key.ports == _PORTS
    assert key == GroupKey(address_type=IPV4, ports=_PORTS)
    assert hash(key) == hash(GroupKey(address_type=IPV4, ports=_PORTS))


@given(ports=st.permutations(_PORTS))
def test_a_slice_has_its_ports_as_they_are_stored(ports: list[EndpointPort]) -> None:
    item = EndpointSlice(metadata=ObjectMeta(), address_type=IPV4, ports=tuple(ports))
    assert item.ports == tuple(ports)
    assert item.group_key == GroupKey(address_type=IPV4, ports=_PORTS)


def test_unknown_fields_of_ports_do_not_part_groups() -> None:
    odd = attrs.evolve(HTTP, extra={"future": 1})
    assert odd == HTTP
    assert GroupKey(address_type=IPV4, ports=(odd,)) == GroupKey(address_type=IPV4, ports=(HTTP,))


@pytest.mark.parametrize("seed", ["1", "2"])
def test_a_group_is_found_by_its_key_in_a_process_that_hashes_otherwise(seed: str) -> None:
    item = stored("web-1", 1, ports=_PORTS)
    assert len({item.group_key}) == 1
    code = (
        "import pickle, sys\n"
        "from endpointslice import GroupKey\n"
        "key = pickle.load(sys.stdin.buffer).group_key\n"
        "assert key in {GroupKey(address_type=key.address_type, ports=key.ports)}\n"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(item),
        check=True,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )


def test_groups_are_ordered_by_address_type_and_ports() -> None:
    keys = [
        GroupKey(address_type=kind, ports=ports)
        for kind in (FQDN, IPV4, IPV6)
        for ports in ((), (_PORTS[0],), _PORTS, (_PORTS[1],))
    ]
    backwards = keys[::-1]
    assert sorted(backwards, key=lambda key: key.sort_key) == keys


def test_groups_hold_endpoints() -> None:
    refused(
        lambda: EndpointGroup(
            key=GroupKey(address_type=IPV4),
            endpoints=(endpoint(1), "10.0.0.1"),  # type: ignore[arg-type]
        ),
        "endpoints",
        "10.0.0.1",
    )
    many = EndpointGroup(
        key=GroupKey(address_type=IPV4),
        endpoints=(endpoint(i) for i in range(2000)),
    )
    assert len(many.endpoints) == 2000


def test_a_group_that_a_simulation_makes_is_the_group_that_anybody_makes() -> None:
    key, members = GroupKey(address_type=IPV4, ports=(HTTP,)), (endpoint(1), endpoint(2))
    simulated, made = _make_group(key, members), EndpointGroup(key=key, endpoints=members)
    assert simulated == made
    assert hash(simulated) == hash(made)
    assert pickle.loads(pickle.dumps(simulated)) == made


# --- objects ----------------------------------------------------------------------------------


def test_a_slice_holds_0_to_1000_endpoints() -> None:
    assert len(stored("web-1", *range(1000)).endpoints) == 1000
    refused(lambda: stored("web-1", *range(1001)), "endpoints", 1001)
    assert stored("web-1").endpoints == ()


def test_a_slice_is_named_by_its_metadata() -> None:
    assert stored("web-1").name == "web-1"
    assert EndpointSlice(metadata=ObjectMeta(), address_type=IPV4).name == ""


def test_a_slice_knows_the_keys_of_its_endpoints() -> None:
    item = stored("web-1", 2, 1)
    assert item.keys == (endpoint(2).key, endpoint(1).key)
    assert item.keys is item.keys
    assert attrs.evolve(item, endpoints=()).keys == ()
    assert pickle.loads(pickle.dumps(item)).keys == item.keys


def test_a_slice_knows_its_group() -> None:
    item = stored("web-1", 1, ports=(METRICS, HTTP))
    assert item.group_key == GroupKey(address_type=IPV4, ports=(HTTP, METRICS))
    assert item.group_key is item.group_key
    assert attrs.evolve(item, ports=(HTTP,)).group_key.ports == (HTTP,)
    assert pickle.loads(pickle.dumps(item)).group_key == item.group_key


def test_a_slice_that_a_plan_makes_is_the_slice_that_anybody_makes() -> None:
    members = (endpoint(1), endpoint(2))
    fields: dict[str, Any] = {
        "metadata": ObjectMeta(name="web-1"),
        "address_type": IPV4,
        "ports": (HTTP,),
        "endpoints": members,
        "extra": FrozenDict({"future": 1}),
    }
    planned, made = _make_slice(**fields), EndpointSlice(**fields)
    assert planned == made
    assert hash(planned) == hash(made)
    assert repr(planned) == repr(made)
    for field in attrs.fields(EndpointSlice):
        assert getattr(planned, field.name) == getattr(made, field.name)
    assert planned.keys == made.keys
    assert pickle.loads(pickle.dumps(planned)) == made
    fields["endpoints"] = members[:1] * 1001
    refused(lambda: _make_slice(**fields), "endpoints", 1001)


def test_how_empty_lists_are_spelled_is_no_part_of_equality() -> None:
    meta = ObjectMeta()
    assert EndpointSlice(metadata=meta, address_type=IPV4, nulls=3) == EndpointSlice(
        metadata=meta, address_type=IPV4
    )


def test_slices_differ_by_what_is_stored() -> None:
    item = stored("web-1", 1)
    for changes in (
        {"metadata": attrs.evolve(item.metadata, resource_version="x")},
        {"ports": ()},
        {"endpoints": ()},
        {"extra": {"x": 1}},
    ):
        assert attrs.evolve(item, **changes) != item


def test_a_slice_counts_its_volatile_endpoints() -> None:
    states = [
        EndpointConditions(ready=ready, serving=True, terminating=terminating)
        for ready in (False, True)
        for terminating in (False, True)
    ]
    assert [item.is_volatile for item in states] == [True, True, False, True]
    item = stored("web-1", *(endpoint(i, conditions=state) for i, state in enumerate(states)))
    assert item.volatile_count == 3
    assert item.volatile_count == 3
    assert attrs.evolve(item, endpoints=()).volatile_count == 0
    assert pickle.loads(pickle.dumps(item)).volatile_count == 3


@pytest.mark.parametrize("value", [0, -1, 1001, "100", 100.0, True, None])
def test_a_capacity_is_1_to_1000(value: Any) -> None:
    refused(lambda: check_max_endpoints_per_slice(value), "max_endpoints_per_slice", value)


def test_capacity_limits_are_allowed() -> None:
    assert check_max_endpoints_per_slice(1) == 1
    assert check_max_endpoints_per_slice(1000) == 1000


def test_lists_become_tuples() -> None:
    meta = ObjectMeta(
        owner_references=[OwnerReference(api_version="v1", kind="a", name="b", uid="c")]
    )
    assert type(meta.owner_references) is tuple
    pod = Pod(metadata=meta, pod_ips=["10.0.0.1"], container_ports=[])
    assert (pod.pod_ips, pod.container_ports) == (("10.0.0.1",), ())
    service = Service(metadata=meta, ports=[], ip_families=["IPv4"])
    assert (service.ports, service.ip_families) == ((), ("IPv4",))
    item = EndpointSlice(metadata=meta, address_type=IPV4, ports=[HTTP], endpoints=[endpoint(1)])
    assert (item.ports, item.endpoints) == ((HTTP,), (endpoint(1),))


@pytest.mark.parametrize(("labels", "zone"), [({}, None), ({"x": "y"}, None)])
def test_a_node_without_the_label_is_in_no_zone(labels: dict[str, str], zone: None) -> None:
    assert Node(metadata=ObjectMeta(labels=FrozenDict(labels))).zone is zone


@pytest.mark.parametrize("cpu", [-1, 0.5, "2", True])
def test_cpus_of_a_node_are_a_number_of_thousandths(cpu: Any) -> None:
    with pytest.raises(ModelError) as caught:
        Node(metadata=ObjectMeta(name="n"), allocatable_cpu=cpu)
    assert (caught.value.field, caught.value.value) == ("allocatable_cpu", cpu)
