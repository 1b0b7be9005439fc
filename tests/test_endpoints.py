"""The Endpoints API: codec, subsets, conversions and mirrors, case by case."""

from __future__ import annotations

import gzip
import json
import pickle
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from endpointslice import (
    LABEL_MANAGED_BY,
    LABEL_SERVICE_NAME,
    MAX_ADDRESSES_PER_ENDPOINTS,
    MIRRORING_MANAGED_BY,
    AddressType,
    CreateSlice,
    DeleteSlice,
    Endpoint,
    EndpointAddress,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    FrozenDict,
    Generational,
    Loss,
    LossReason,
    ManifestError,
    ModelError,
    NotMirrored,
    ObjectMeta,
    ObjectReference,
    OwnerReference,
    Reason,
    Service,
    UpdateSlice,
    apply_plan,
    canonical_subsets,
    check_plan,
    decode_endpoints,
    decode_node,
    decode_objects,
    decode_pod,
    decode_service,
    decode_slice,
    encode_endpoints,
    endpoints_to_groups,
    losses_in_endpoints,
    losses_in_slices,
    merge_slices,
    mirror,
    mirror_template,
    reconcile,
    reconcile_service,
    select_endpoints,
    slices_to_endpoints,
    why_not_mirrored,
)

_DATA: Final = Path(__file__).parent / "data" / "real"
META: Final = ObjectMeta(namespace="shop", name="web", uid="e1")
HTTP: Final = EndpointPort(name="http", port=80)
HTTPS: Final = EndpointPort(name="https", port=443)
_OVER: Final = "endpoints.kubernetes.io/over-capacity"


def address(ip: str, **fields: Any) -> EndpointAddress:
    return EndpointAddress(ip=ip, **fields)


def subset(*ips: str, not_ready: tuple[str, ...] = (), ports: Any = (HTTP,)) -> EndpointSubset:
    return EndpointSubset(
        addresses=map(address, ips), not_ready_addresses=map(address, not_ready), ports=ports
    )


def old(*subsets: EndpointSubset, **meta: Any) -> Endpoints:
    return Endpoints(metadata=attrs.evolve(META, **meta), subsets=subsets)


def told(endpoints: Endpoints, **options: Any) -> list[tuple[str, list[int | None], list[str]]]:
    """Groups in short: family, ports, addresses with a mark for those that are not ready."""
    return [
        (
            str(group.key.address_type),
            [port.port for port in group.key.ports],
            [item.addresses[0] + "!" * (not item.conditions.ready) for item in group.endpoints],
        )
        for group in endpoints_to_groups(endpoints, **options)
    ]


def lost(endpoints: Endpoints, **options: Any) -> dict[str, tuple[str, ...]]:
    losses = losses_in_slices(endpoints, **options)
    return {str(loss.reason): loss.addresses for loss in losses}


def numbered(count: int, start: int = 0, third: int = 0) -> list[str]:
    return [f"10.{third}.{i // 250}.{i % 250}" for i in range(start, start + count)]


# --- the codec --------------------------------------------------------------------------------

MANIFEST: Final[dict[str, Any]] = {
    "apiVersion": "v1",
    "kind": "Endpoints",
    "metadata": {"name": "web", "namespace": "shop", "futureField": 1},
    "subsets": [
        {
            "addresses": [
                {
                    "ip": "10.0.0.1",
                    "hostname": "h",
                    "nodeName": "n1",
                    "targetRef": {"kind": "Pod", "name": "web-1", "uid": "u1"},
                    "futureField": [1],
                },
                {"ip": "fd00::1"},
            ],
            "notReadyAddresses": [{"ip": "10.0.0.2"}],
            "ports": [
                {"name": "http", "port": 80, "protocol": "TCP", "appProtocol": "h2c"},
                {"port": 53, "protocol": "UDP"},
            ],
            "futureField": "x",
        }
    ],
    "futureField": {"a": None},
}


def test_an_object_survives_decode_and_encode() -> None:
    endpoints = decode_endpoints(MANIFEST)
    assert encode_endpoints(endpoints) == MANIFEST
    assert pickle.loads(pickle.dumps(endpoints)) == endpoints
    assert hash(endpoints) == hash(decode_endpoints(MANIFEST))
    (found,) = endpoints.subsets
    first, second = found.addresses
    assert first == EndpointAddress(
        ip="10.0.0.1",
        hostname="h",
        node_name="n1",
        target_ref=ObjectReference(kind="Pod", name="web-1", uid="u1"),
    )
    assert first.identity == ("10.0.0.1", "u1")
    assert (second.identity, second.address_type) == (("fd00::1", ""), AddressType.IPV6)
    assert [port.name for port in found.ports] == ["http", ""]


def test_null_empty_and_absent_are_the_same() -> None:
    bare = {"metadata": {"name": "web"}}
    spellings: list[dict[str, Any]] = [{}, {"subsets": None}, {"subsets": []}]
    for subsets in spellings:
        endpoints = decode_endpoints({**bare, **subsets})
        assert endpoints == Endpoints(metadata=ObjectMeta(name="web"))
        assert encode_endpoints(endpoints) == {"apiVersion": "v1", "kind": "Endpoints", **bare}
    empty: dict[str, Any] = {"addresses": None, "notReadyAddresses": [], "ports": None}
    assert decode_endpoints({**bare, "subsets": [empty]}).subsets == (EndpointSubset(),)


@pytest.mark.parametrize(
    ("subsets", "path"),
    [
        ({}, "subsets"),
        ([None], "subsets[0]"),
        ([{"addresses": {}}], "subsets[0].addresses"),
        ([{"addresses": [{}]}], "subsets[0].addresses[0].ip"),
        ([{"addresses": [{"ip": ""}]}], "subsets[0].addresses[0].ip"),
        ([{"notReadyAddresses": [{"ip": 7}]}], "subsets[0].notReadyAddresses[0].ip"),
        ([{"addresses": [{"ip": "x", "hostname": 1}]}], "subsets[0].addresses[0].hostname"),
        ([{"addresses": [{"ip": "x", "nodeName": 1}]}], "subsets[0].addresses[0].nodeName"),
        ([{"addresses": [{"ip": "x", "targetRef": 1}]}], "subsets[0].addresses[0].targetRef"),
        ([{"ports": [{"name": "http"}]}], "subsets[0].ports[0].port"),
        ([{"ports": [{"port": 0}]}], "subsets[0].ports[0].port"),
        ([{"ports": [{"port": 80, "protocol": "ICMP"}]}], "subsets[0].ports[0].protocol"),
    ],
)
def test_what_is_no_endpoints_object_is_refused_with_its_path(subsets: Any, path: str) -> None:
    with pytest.raises(ManifestError) as caught:
        decode_endpoints({"metadata": {"name": "web"}, "subsets": subsets})
    assert caught.value.path == path


@pytest.mark.parametrize("manifest", [{"kind": "Endpoint"}, {"apiVersion": "v2"}, [], None])
def test_another_kind_is_refused(manifest: Any) -> None:
    with pytest.raises(ManifestError):
        decode_endpoints(manifest)


def test_decode_objects_knows_endpoints() -> None:
    found = decode_objects([{"kind": "EndpointsList", "apiVersion": "v1", "items": [MANIFEST]}])
    assert found.endpoints == (decode_endpoints(MANIFEST),)
    assert found.problems == ()


def test_models_refuse_what_cannot_be() -> None:
    with pytest.raises(ModelError) as caught:
        EndpointAddress(ip=7)  # type: ignore[arg-type]
    assert caught.value == ModelError("ip", "must be a string", 7)
    with pytest.raises(ModelError) as caught:
        EndpointSubset(ports=[HTTP, EndpointPort(port=None)])
    assert caught.value.field == "ports[1].port"


@pytest.mark.parametrize(
    ("spelled", "canonical", "kind"),
    [
        ("10.0.0.1", "10.0.0.1", AddressType.IPV4),
        ("010.000.0.01", "10.0.0.1", AddressType.IPV4),
        ("::ffff:10.0.0.1", "10.0.0.1", AddressType.IPV4),
        ("FD00:0::1", "fd00::1", AddressType.IPV6),
        ("nonsense", "nonsense", None),
        ("10.0.0.256", "10.0.0.256", None),
        ("", "", None),
    ],
)
def test_addresses_are_canonical(spelled: str, canonical: str, kind: AddressType | None) -> None:
    found = EndpointAddress(ip=spelled)
    assert (found.ip, found.address_type) == (canonical, kind)


# --- subsets ----------------------------------------------------------------------------------


def test_addresses_of_the_same_ports_are_one_subset() -> None:
    assert canonical_subsets([subset("10.0.0.2"), subset("10.0.0.1")]) == (
        subset("10.0.0.1", "10.0.0.2"),
    )


def test_ports_of_the_same_addresses_are_one_subset() -> None:
    apart = [subset("10.0.0.1", ports=[port]) for port in (HTTPS, HTTP)]
    assert canonical_subsets(apart) == (subset("10.0.0.1", ports=[HTTP, HTTPS]),)


def test_ports_with_other_addresses_are_parted() -> None:
    both = subset("10.0.0.1", ports=[HTTP, HTTPS])
    assert canonical_subsets([both, subset("10.0.0.2", ports=[HTTPS])]) == (
        subset("10.0.0.1", ports=[HTTP]),
        subset("10.0.0.1", "10.0.0.2", ports=[HTTPS]),
    )


def test_who_is_not_ready_in_one_place_is_not_ready_at_that_port() -> None:
    overlap = [
        subset("10.0.0.1", not_ready=("10.0.0.3", "10.0.0.1"), ports=[HTTP]),
        subset("10.0.0.2", ports=[HTTP, HTTPS]),
        subset(not_ready=("10.0.0.2",), ports=[HTTPS]),
    ]
    for given in (overlap, overlap[::-1]):
        assert canonical_subsets(given) == (
            subset("10.0.0.2", not_ready=("10.0.0.1", "10.0.0.3"), ports=[HTTP]),
            subset(not_ready=("10.0.0.2",), ports=[HTTPS]),
        )
    assert lost(old(*overlap)) == {"Conflicting": ("10.0.0.1", "10.0.0.2")}
    assert lost(old(*overlap[::-1])) == {"Conflicting": ("10.0.0.1", "10.0.0.2")}


def test_addresses_are_told_apart_by_the_uid_of_their_target() -> None:
    twins = [address("10.0.0.1", target_ref=ObjectReference(uid=uid)) for uid in ("b", "a")]
    given = EndpointSubset(addresses=[*twins, address("10.0.0.1")], ports=[HTTP])
    (found,) = canonical_subsets([given])
    assert [item.identity[1] for item in found.addresses] == ["", "a", "b"]


def test_of_an_address_that_is_described_twice_the_first_description_counts() -> None:
    given = [
        EndpointSubset(addresses=[address("10.0.0.1", node_name=name)], ports=[port])
        for name, port in (("n1", HTTPS), ("n2", HTTP))
    ]
    (found,) = canonical_subsets(given)
    assert found.addresses == (address("10.0.0.1", node_name="n1"),)
    assert lost(old(*given)) == {"Conflicting": ("10.0.0.1",)}


def test_addresses_without_ports_are_kept() -> None:
    bare = subset("10.0.0.1", ports=())
    assert canonical_subsets([bare, subset("10.0.0.2")]) == (bare, subset("10.0.0.2"))
    assert told(old(bare)) == [("IPv4", [], ["10.0.0.1"])]
    # The same addresses with ports say more.
    for given in ([bare, subset("10.0.0.1")], [subset("10.0.0.1"), bare]):
        assert canonical_subsets(given) == (subset("10.0.0.1"),)


def test_empty_and_repeated_subsets_say_nothing() -> None:
    given = [subset(), EndpointSubset(), subset("10.0.0.1"), subset("10.0.0.1")]
    assert canonical_subsets(given) == (subset("10.0.0.1"),)
    assert canonical_subsets([]) == ()
    assert lost(old(*given)) == {}


# --- Endpoints -> groups ----------------------------------------------------------------------


def test_each_family_of_a_subset_is_a_group_and_not_ready_stays_so() -> None:
    endpoints = old(subset("10.0.0.1", "fd00::1", not_ready=("10.0.0.2", "fd00::2")))
    assert told(endpoints) == [
        ("IPv4", [80], ["10.0.0.1", "10.0.0.2!"]),
        ("IPv6", [80], ["fd00::1", "fd00::2!"]),
    ]


def test_an_endpoint_says_what_its_address_says() -> None:
    target = ObjectReference("Pod", "shop", "web-1", "u1")
    found = address("10.0.0.1", hostname="h", node_name="n1", target_ref=target)
    (group,) = endpoints_to_groups(old(EndpointSubset(addresses=[found], ports=[HTTP])))
    assert group.endpoints == (
        Endpoint(("10.0.0.1",), hostname="h", node_name="n1", target_ref=target),
    )


def test_spellings_of_one_address_are_one_endpoint() -> None:
    endpoints = old(subset("010.0.0.1", "::ffff:10.0.0.1", "10.0.0.1"))
    assert told(endpoints) == [("IPv4", [80], ["10.0.0.1"])]


def test_what_is_no_address_is_left_out_and_told() -> None:
    bad = EndpointSubset(
        addresses=[address("nonsense"), address("10.0.0.1"), address("10.0.0.2", hostname="a\0b")],
        not_ready_addresses=[address("")],
        ports=[HTTP],
    )
    assert told(old(bad)) == [("IPv4", [80], ["10.0.0.1"])]
    assert lost(old(bad)) == {"Invalid": ("", "10.0.0.2", "nonsense")}
    # They take nobody's place.
    assert told(old(bad), max_endpoints_per_subset=1) == told(old(bad))


def test_endpoints_that_differ_in_the_uid_of_their_target_alone_are_one() -> None:
    twins = [
        address("10.0.0.1", target_ref=ObjectReference("Pod", "shop", "db-0", uid))
        for uid in ("b", "a")
    ]
    endpoints = old(EndpointSubset(addresses=twins, ports=[HTTP]))
    (group,) = endpoints_to_groups(endpoints)
    (found,) = group.endpoints
    assert found.target_ref == ObjectReference("Pod", "shop", "db-0", "b")
    assert lost(endpoints) == {"Conflicting": ("10.0.0.1",)}
    mixed = EndpointSubset(addresses=twins[:1], not_ready_addresses=twins[1:], ports=[HTTP])
    assert told(old(mixed)) == [("IPv4", [80], ["10.0.0.1!"])]


def test_ports_of_one_name_are_parted_for_no_slice_can_have_them() -> None:
    nameless = [EndpointPort(port=number) for number in (80, 443, 53)]
    endpoints = old(
        *(subset("10.0.0.1", ports=[port]) for port in nameless),
        subset("10.0.0.1", ports=[HTTP, HTTPS]),
    )
    assert told(endpoints) == [
        ("IPv4", [53, 80, 443], ["10.0.0.1"]),
        ("IPv4", [80], ["10.0.0.1"]),
        ("IPv4", [443], ["10.0.0.1"]),
    ]
    for group in endpoints_to_groups(endpoints):
        names = [port.name for port in group.key.ports]
        assert len(set(names)) == len(names)


def test_a_limit_counts_ready_addresses_first_and_both_families_together() -> None:
    endpoints = old(subset("10.0.0.2", "fd00::1", "10.0.0.1", not_ready=("10.0.0.0",)))
    assert told(endpoints, max_endpoints_per_subset=3) == [
        ("IPv4", [80], ["10.0.0.1", "10.0.0.2"]),
        ("IPv6", [80], ["fd00::1"]),
    ]
    assert lost(endpoints, max_endpoints_per_subset=3) == {"Truncated": ("10.0.0.0",)}
    assert lost(endpoints, max_endpoints_per_subset=4) == {}


# --- slices -> Endpoints ----------------------------------------------------------------------


def stored(name: str, *members: Endpoint, ports: Any = (HTTP,), **fields: Any) -> EndpointSlice:
    labels = {LABEL_SERVICE_NAME: "web", LABEL_MANAGED_BY: "m", **fields.pop("labels", {})}
    return EndpointSlice(
        metadata=ObjectMeta(
            namespace=fields.pop("namespace", "shop"),
            name=name,
            labels=FrozenDict(labels),
            annotations=FrozenDict(fields.pop("annotations", {})),
        ),
        address_type=fields.pop("kind", AddressType.IPV4),
        ports=ports,
        endpoints=members,
    )


def lost_of(*slices: EndpointSlice) -> dict[str, tuple[str, ...]]:
    return {str(loss.reason): loss.addresses for loss in losses_in_endpoints(slices)}


NOT_READY: Final = EndpointConditions(ready=False, serving=False)
GOING: Final = EndpointConditions(ready=False, serving=True, terminating=True)


def test_slices_of_both_families_are_merged() -> None:
    slices = [
        stored("web-a", Endpoint(("10.0.0.2",)), Endpoint(("10.0.0.1",), NOT_READY)),
        stored("web-b", Endpoint(("fd00::1",)), kind=AddressType.IPV6),
        stored("web-c", Endpoint(("10.0.0.9",)), ports=[HTTPS]),
    ]
    made = slices_to_endpoints(slices)
    assert made == slices_to_endpoints(slices[::-1])
    assert made.metadata == ObjectMeta(namespace="shop", name="web")
    assert made.subsets == (
        subset("10.0.0.2", "fd00::1", not_ready=("10.0.0.1",)),
        subset("10.0.0.9", ports=[HTTPS]),
    )
    assert lost_of(*slices) == {}


def test_an_address_says_what_its_endpoint_says() -> None:
    target = ObjectReference("Pod", "shop", "web-1", "u1")
    item = Endpoint(("10.0.0.1",), hostname="h", node_name="n1", target_ref=target)
    (found,) = slices_to_endpoints([stored("web-a", item)]).subsets
    assert found.addresses == (
        address("10.0.0.1", hostname="h", node_name="n1", target_ref=target),
    )


def test_what_endpoints_cannot_say_is_told() -> None:
    published = EndpointConditions(ready=True, serving=False)
    ending = EndpointConditions(ready=True, serving=True, terminating=True)
    slices = [
        stored(
            "web-a",
            Endpoint(("10.0.0.1",), GOING),
            Endpoint(("10.0.0.2",), published),
            Endpoint(("10.0.0.3",), ending),
            Endpoint(("10.0.0.5", "10.0.0.4")),
            Endpoint(("10.0.0.6",), zone="z1"),
            Endpoint(("10.0.0.7",), hints=EndpointHints(for_zones=("z1",))),
        ),
        stored("web-b", Endpoint(("10.0.0.8",)), ports=[EndpointPort(port=None)]),
        stored("web-c", Endpoint(("db.example.org",)), kind=AddressType.FQDN),
    ]
    assert slices_to_endpoints(slices).subsets == (
        subset("10.0.0.8", ports=()),
        subset("10.0.0.2", "10.0.0.3", "10.0.0.5", "10.0.0.6", "10.0.0.7"),
    )
    assert losses_in_endpoints(slices) == (
        Loss(reason=LossReason.FQDN, addresses=("db.example.org",)),
        Loss(reason=LossReason.TERMINATING, addresses=("10.0.0.1",)),
        Loss(reason=LossReason.CONDITIONS, addresses=("10.0.0.2", "10.0.0.3")),
        Loss(reason=LossReason.MORE_ADDRESSES, addresses=("10.0.0.5",)),
        Loss(reason=LossReason.ALL_PORTS, addresses=("10.0.0.8",)),
        Loss(reason=LossReason.ZONE, addresses=("10.0.0.6",)),
        Loss(reason=LossReason.HINTS, addresses=("10.0.0.7",)),
    )


def test_an_endpoint_that_is_moving_is_listed_once() -> None:
    copies = [stored("web-a", Endpoint(("10.0.0.1",))), stored("web-b", Endpoint(("10.0.0.1",)))]
    assert slices_to_endpoints(copies).subsets == (subset("10.0.0.1"),)
    assert lost_of(*copies) == {}
    changed = [copies[0], stored("web-b", Endpoint(("10.0.0.1",), NOT_READY, hostname="h"))]
    for given in (changed, changed[::-1]):
        (found,) = slices_to_endpoints(given).subsets
        assert found.not_ready_addresses == (address("10.0.0.1"),)
        assert lost_of(*given) == {"Conflicting": ("10.0.0.1",)}


def test_metadata_is_what_all_slices_have() -> None:
    slices = [
        stored("web-a", labels={"app": "web", "x": "1"}, annotations={"a": "b", "c": "d"}),
        stored("web-b", labels={"app": "web"}, annotations={"a": "b", _OVER: "truncated"}),
    ]
    assert slices_to_endpoints(slices).metadata == ObjectMeta(
        namespace="shop", name="web", labels={"app": "web"}, annotations={"a": "b"}
    )


def test_metadata_can_be_that_of_the_stored_object() -> None:
    stands = attrs.evolve(META, resource_version="7", annotations={_OVER: "warning", "a": "b"})
    made = slices_to_endpoints([stored("web-a", Endpoint(("10.0.0.1",)))], metadata=stands)
    assert made.metadata == attrs.evolve(stands, annotations={"a": "b"})
    assert slices_to_endpoints([], metadata=META) == Endpoints(metadata=META)
    assert slices_to_endpoints([]) == Endpoints(metadata=ObjectMeta())


@pytest.mark.parametrize("other", [{"namespace": "b"}, {"labels": {LABEL_SERVICE_NAME: "db"}}])
def test_slices_of_several_services_are_refused(other: dict[str, Any]) -> None:
    with pytest.raises(ModelError) as caught:
        slices_to_endpoints([stored("web-a"), stored("web-b", **other)])
    assert caught.value.field == "slices"


def _many(ready: int, not_ready: int, port: EndpointPort, third: int) -> list[EndpointSlice]:
    ips = numbered(ready + not_ready, third=third)
    members = [Endpoint((ip,)) for ip in ips[:ready]]
    members += [Endpoint((ip,), NOT_READY) for ip in ips[ready:]]
    return [
        stored(f"web-{port.port}-{i}", *members[i : i + 1000], ports=[port])
        for i in range(0, len(members), 1000)
    ]


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ((600, 0), (400, 0), [(600, 0), (400, 0)]),
        ((600, 400), (400, 200), [(600, 0), (400, 0)]),
        ((1500, 10), (500, 0), [(750, 0), (250, 0)]),
        ((900, 0), (0, 500), [(900, 0), (0, 100)]),
        ((300, 900), (100, 300), [(300, 450), (100, 150)]),
        ((1001, 0), (1, 5), [(1000, 0)]),
        ((0, 1100), (0, 0), [(0, 1000)]),
        ((0, 1), (1000, 0), [(1000, 0)]),
    ],
)
def test_a_thousand_addresses_are_listed_ready_ones_first(
    first: tuple[int, int], second: tuple[int, int], kept: list[tuple[int, int]]
) -> None:
    slices = _many(*first, HTTP, 0) + _many(*second, HTTPS, 1)
    made = slices_to_endpoints(slices)
    found = [(len(item.addresses), len(item.not_ready_addresses)) for item in made.subsets]
    assert found == kept
    total = sum(first) + sum(second)
    gone = total - MAX_ADDRESSES_PER_ENDPOINTS
    assert len(lost_of(*slices).get("Truncated", ())) == max(0, gone)
    assert made.metadata.annotations == ({_OVER: "truncated"} if gone > 0 else {})
    for item in made.subsets:
        assert list(item.addresses) == sorted(item.addresses, key=lambda one: one.ip)


# --- mirrors ----------------------------------------------------------------------------------


def counts(plan: Any) -> tuple[int, int, int]:
    return (len(plan.creates), len(plan.updates), len(plan.deletes))


def test_a_subset_has_one_slice_for_each_family() -> None:
    endpoints = old(subset(*numbered(999), "fd00::1"), labels={"team": "db"})
    plan = mirror(endpoints, [])
    assert counts(plan) == (2, 0, 0)
    assert [len(item.after.endpoints) for item in plan.creates] == [999, 1]
    for create in plan.creates:
        assert create.after.metadata == ObjectMeta(
            namespace="shop",
            generate_name="web-",
            labels={
                "team": "db",
                LABEL_SERVICE_NAME: "web",
                LABEL_MANAGED_BY: "endpointslicemirroring-controller.k8s.io",
            },
            owner_references=(
                OwnerReference(
                    api_version="v1",
                    kind="Endpoints",
                    name="web",
                    uid="e1",
                    controller=True,
                    block_owner_deletion=True,
                ),
            ),
        )
    assert mirror(endpoints, apply_plan([], plan)).is_empty


def test_another_strategy_has_slices_as_small_as_one_likes() -> None:
    endpoints = old(subset(*numbered(250)))
    plan = mirror(endpoints, [], strategy=Generational(), max_endpoints_per_slice=100)
    assert counts(plan) == (3, 0, 0)


def test_of_a_subset_a_thousand_addresses_are_mirrored_and_that_is_told() -> None:
    endpoints = old(subset(*numbered(1000), not_ready=tuple(numbered(5, third=1))))
    plan = mirror(endpoints, [])
    (create,) = plan.creates
    assert {item.conditions.ready for item in create.after.endpoints} == {True}
    (loss,) = losses_in_slices(endpoints, max_endpoints_per_subset=1000)
    assert (loss.reason, len(loss.addresses)) == (LossReason.TRUNCATED, 5)


@pytest.mark.parametrize("most", [0, 1001, True, "5"])
def test_a_limit_that_cannot_be_is_refused(most: Any) -> None:
    with pytest.raises(ModelError) as caught:
        mirror(old(), [], max_endpoints_per_subset=most)
    assert caught.value.field == "max_endpoints_per_subset"


def test_annotations_are_mirrored_all_of_them_and_no_others() -> None:
    trigger = "endpoints.kubernetes.io/last-change-trigger-time"
    applied = "kubectl.kubernetes.io/last-applied-configuration"
    noted = {"a": "b", trigger: "2026-11-23T00:00:00Z", applied: "{}"}
    endpoints = old(subset("10.0.0.1"), annotations=FrozenDict(noted))
    (slice_,) = apply_plan([], mirror(endpoints, []))
    assert slice_.metadata.annotations == {"a": "b"}
    more = attrs.evolve(
        slice_, metadata=attrs.evolve(slice_.metadata, annotations={"a": "b", applied: "{}"})
    )
    plan = mirror(endpoints, [more])
    (update,) = plan.operations
    assert (type(update), update.reasons) == (UpdateSlice, (Reason.ANNOTATIONS_CHANGED,))
    assert mirror(endpoints, apply_plan([more], plan)).is_empty
    # Without any, none is left.
    plain = old(subset("10.0.0.1"))
    (left,) = apply_plan([more], mirror(plain, [more]))
    assert left.metadata.annotations == {}
    assert mirror(plain, [left]).is_empty
    # The trigger time only rides on writes.
    timed = attrs.evolve(
        left, metadata=attrs.evolve(left.metadata, annotations={trigger: "2026-11-23T00:00:00Z"})
    )
    assert mirror(plain, [timed]).is_empty


def test_without_a_uid_nobody_owns_the_slices() -> None:
    assert mirror_template(old(uid="")).metadata.owner_references == ()
    assert mirror_template(old(), managed_by="m").metadata.owner_references == ()
    assert mirror_template(old(), managed_by="m").metadata.labels[LABEL_MANAGED_BY] == "m"
    assert mirror_template(old()).metadata.labels[LABEL_MANAGED_BY] == MIRRORING_MANAGED_BY


def service(**fields: Any) -> Service:
    return Service(metadata=ObjectMeta(namespace="shop", name="web"), **fields)


ELSEWHERE: Final = Service(metadata=ObjectMeta(namespace="b", name="web"))


@pytest.mark.parametrize(
    ("meta", "services", "why"),
    [
        ({}, None, None),
        ({}, [ELSEWHERE, service()], None),
        ({"labels": {"endpointslice.kubernetes.io/skip-mirror": "false"}}, None, None),
        (
            {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
            [service()],
            NotMirrored.SKIPPED,
        ),
        (
            {"annotations": {"control-plane.alpha.kubernetes.io/leader": ""}},
            None,
            NotMirrored.LEADER_ELECTION,
        ),
        ({}, [], NotMirrored.NO_SERVICE),
        ({}, [ELSEWHERE], NotMirrored.NO_SERVICE),
        ({}, [service(selector={"a": "b"})], NotMirrored.HAS_SELECTOR),
    ],
)
def test_what_is_not_to_be_mirrored_loses_its_slices(
    meta: dict[str, Any], services: Any, why: NotMirrored | None
) -> None:
    current = apply_plan([], mirror(old(subset("10.0.0.1")), []))
    endpoints = old(subset("10.0.0.1"), **meta)
    assert why_not_mirrored(endpoints, services) is why
    plan = mirror(endpoints, current, services=services)
    if why is None:
        assert plan.deletes == ()
    else:
        assert [type(item) for item in plan.operations] == [DeleteSlice]


def test_for_an_object_that_is_being_deleted_nothing_is_created() -> None:
    dying = old(subset("10.0.0.1", "fd00::1"), deletion_timestamp="2026-11-23T00:00:00Z")
    assert mirror(dying, []).is_empty
    current = apply_plan([], mirror(old(subset("10.0.0.2")), []))
    plan = mirror(dying, current)
    assert counts(plan) == (0, 1, 0)
    assert mirror(dying, apply_plan(current, plan)).is_empty


def test_slices_of_other_managers_are_left_alone() -> None:
    foreign = stored("web-a", Endpoint(("10.0.0.1",)))
    plan = mirror(old(), [foreign])
    assert plan.is_empty
    plan = mirror(old(subset("10.0.0.1")), [foreign])
    assert counts(plan) == (1, 0, 0)
    assert foreign in apply_plan([foreign], plan)


def test_slices_of_an_object_that_was_made_anew_are_deleted() -> None:
    current = apply_plan([], mirror(old(subset("10.0.0.1")), []))
    plan = mirror(old(subset("10.0.0.1"), uid="e2"), current)
    assert [item.reasons for item in plan.deletes] == [(Reason.STALE_OWNER,)]
    assert [type(item) for item in plan.operations] == [CreateSlice, DeleteSlice]


def test_several_slices_of_one_subset_become_one_when_something_changes() -> None:
    endpoints = old(subset("10.0.0.1", "10.0.0.2"))
    (whole,) = apply_plan([], mirror(endpoints, []))
    parts = [
        attrs.evolve(
            whole,
            metadata=attrs.evolve(whole.metadata, name=f"web-{i}"),
            endpoints=whole.endpoints[i : i + 1],
        )
        for i in range(2)
    ]
    assert mirror(endpoints, parts).is_empty
    more = old(subset("10.0.0.1", "10.0.0.2", "10.0.0.3"))
    plan = mirror(more, parts)
    assert counts(plan) == (0, 1, 1)
    assert mirror(more, apply_plan(parts, plan)).is_empty


def test_no_slice_is_lost_where_slices_are_recycled_while_another_family_comes() -> None:
    # The reference forgets the first create of whatever family for each slice that it recycles.
    before = old(subset("10.0.0.1", ports=[HTTP]), subset("10.0.0.2", ports=[HTTPS]))
    current = apply_plan([], mirror(before, []))
    after = old(
        subset("fd00::1", "10.0.0.3", ports=[EndpointPort(name="a", port=1)]),
        subset("fd00::2", "10.0.0.4", ports=[EndpointPort(name="b", port=2)]),
        subset("fd00::3", ports=[EndpointPort(name="c", port=3)]),
    )
    plan = mirror(after, current)
    assert counts(plan) == (3, 2, 0)
    desired = endpoints_to_groups(after)
    assert check_plan(plan, desired=desired, current=current, max_endpoints_per_slice=1000) == ()
    found = {
        (item.address_type, port.port): [one.addresses[0] for one in item.endpoints]
        for item in apply_plan(current, plan)
        for port in item.ports
    }
    assert found == {
        ("IPv4", 1): ["10.0.0.3"],
        ("IPv4", 2): ["10.0.0.4"],
        ("IPv6", 1): ["fd00::1"],
        ("IPv6", 2): ["fd00::2"],
        ("IPv6", 3): ["fd00::3"],
    }


# --- a real cluster ---------------------------------------------------------------------------


@lru_cache
def recording(name: str) -> Any:
    return json.loads(gzip.decompress((_DATA / f"{name}.json.gz").read_bytes()))


_REAL: Final = ("ext-big", "ext-db", "ext-multi", "ext-skip", "no-service")


@pytest.mark.parametrize("name", _REAL)
def test_the_mirrors_of_a_real_cluster_need_nothing(name: str) -> None:
    found = recording("selectorless")
    slices = list(map(decode_slice, found["endpointSlices"]))
    services = list(map(decode_service, found["services"]))
    assert [item["metadata"]["name"] for item in found["endpoints"]] == list(_REAL)
    (manifest,) = (item for item in found["endpoints"] if item["metadata"]["name"] == name)
    endpoints = decode_endpoints(manifest)
    assert encode_endpoints(endpoints) == manifest
    plan = mirror(endpoints, slices, services=services)
    assert plan.is_empty
    mirrored = {"ext-big": 1, "ext-db": 1, "ext-multi": 4}.get(name, 0)
    assert len(plan.unchanged) == mirrored
    # From nothing, the same endpoints are mirrored; of 1,100 the same 1,000.
    made = apply_plan([], mirror(endpoints, [], services=services))
    contents = [
        {(item.group_key, item.metadata.labels, one) for item in some for one in item.endpoints}
        for some in (made, plan.unchanged)
    ]
    assert contents[0] == contents[1]


@pytest.mark.parametrize("name", ["fragmented", "headless-db", "topo", "web-rolling"])
def test_the_slices_of_a_real_cluster_make_the_endpoints_that_it_stores(name: str) -> None:
    found = recording(name)
    families = {
        item["metadata"]["name"]: item["spec"]["ipFamilies"][0] for item in found["services"]
    }
    assert len(recording("endpoints")[name]) == len(families)
    for manifest in recording("endpoints")[name]:
        endpoints = decode_endpoints(manifest)
        slices = [
            item
            for item in map(decode_slice, found["endpointSlices"])
            if item.metadata.labels[LABEL_SERVICE_NAME] == endpoints.metadata.name
            and item.address_type == families[endpoints.metadata.name]
        ]
        made = slices_to_endpoints(slices)
        assert made.subsets == canonical_subsets(endpoints.subsets)
        ours = {**made.metadata.labels, "endpoints.kubernetes.io/managed-by": "endpoint-controller"}
        assert ours == endpoints.metadata.labels


def test_reconcile_takes_the_groups_of_an_endpoints_object() -> None:
    endpoints = old(subset(*numbered(150)))
    template = mirror_template(endpoints, managed_by="db-sync.example.com")
    plan = reconcile(endpoints_to_groups(endpoints), [], template=template)
    assert sum(len(item.after.endpoints) for item in plan.creates) == 150


# --- both families ----------------------------------------------------------------------------


def test_families_come_and_go_from_grouping_to_the_mirror() -> None:
    found = recording("web-rolling")
    (both,) = map(decode_service, found["services"])
    pods, nodes = tuple(map(decode_pod, found["pods"])), tuple(map(decode_node, found["nodes"]))
    slices: tuple[EndpointSlice, ...] = ()
    for families in (("IPv4",), ("IPv4", "IPv6"), ("IPv6",), ("IPv6", "IPv4")):
        service_ = attrs.evolve(both, ip_families=families)
        plan = reconcile_service(service_, pods, nodes, slices).plan
        before = {item.address_type for item in slices}
        written = {(item.after or item.before).address_type for item in plan.operations}
        assert written == before ^ set(families)  # the family that stays is not touched
        slices = apply_plan(slices, plan)
        assert {item.address_type for item in slices} == set(families)
        assert reconcile_service(service_, pods, nodes, slices).plan.is_empty

        endpoints = slices_to_endpoints(slices, metadata=META)
        groups = endpoints_to_groups(endpoints)
        assert {group.key.address_type for group in groups} == set(families)
        assert {len(group.endpoints) for group in groups} == {112}
        # To a consumer, the slices and the mirror have the same ready endpoints.
        made = apply_plan([], mirror(endpoints, []))
        assert _usable(service_, slices) == _usable(service_, made)
        assert {family for family, _ in _usable(service_, made)} == set(families)


def _usable(service_: Service, slices: Any) -> dict[tuple[str, str], set[str]]:
    renamed = [
        attrs.evolve(
            item,
            metadata=attrs.evolve(
                item.metadata, labels=FrozenDict({LABEL_SERVICE_NAME: service_.metadata.name})
            ),
        )
        for item in slices
    ]
    return {
        (str(port.address_type), port.name): {
            str(item)
            for item in select_endpoints(
                service_, port, backends, node_name="node-01", zone="eu-1a"
            ).internal
        }
        for port, backends in merge_slices(renamed).items()
    }
