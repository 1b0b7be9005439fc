"""The rules by which a Service's Pods become endpoints, one by one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, Final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpointslice import (
    ANNOTATION_TRIGGER_TIME,
    DEFAULT_MANAGED_BY,
    LABEL_HEADLESS,
    LABEL_MANAGED_BY,
    LABEL_SERVICE_NAME,
    LABEL_ZONE,
    AddressType,
    ContainerPort,
    Endpoint,
    EndpointConditions,
    EndpointGroup,
    EndpointPort,
    FrozenDict,
    Grouping,
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
    SkippedPod,
    SkipReason,
    address_types,
    decode_pod,
    group_endpoints,
    reconcile_service,
    select_pods,
    slice_template,
)

IPV4: Final = AddressType.IPV4
IPV6: Final = AddressType.IPV6
_PORT: Final = ServicePort(port=80, name="http", target_port=8080)


def service(name: str = "web", labels: dict[str, str] | None = None, **fields: Any) -> Service:
    meta = ObjectMeta(namespace="shop", name=name, uid="uid-1", labels=FrozenDict(labels or {}))
    defaults: dict[str, Any] = {
        "metadata": meta,
        "selector": {"app": "web"},
        "ports": (_PORT,),
        "cluster_ip": "10.96.0.1",
        "ip_families": ("IPv4",),
    }
    return Service(**{**defaults, **fields})


def pod(number: int = 1, *, deleted: bool = False, **fields: Any) -> Pod:
    meta = ObjectMeta(
        namespace=fields.pop("namespace", "shop"),
        name=fields.pop("name", f"web-{number}"),
        uid=f"uid-pod-{number}",
        labels=FrozenDict(fields.pop("labels", {"app": "web"})),
        deletion_timestamp="2026-06-01T00:00:00Z" if deleted else None,
    )
    defaults: dict[str, Any] = {
        "metadata": meta,
        "phase": "Running",
        "ready": True,
        "pod_ip": f"10.0.0.{number}",
        "pod_ips": (f"10.0.0.{number}",),
        "node_name": "node-1",
    }
    return Pod(**{**defaults, **fields})


def node(name: str = "node-1", zone: str | None = "a") -> Node:
    labels = {} if zone is None else {LABEL_ZONE: zone}
    return Node(metadata=ObjectMeta(name=name, labels=FrozenDict(labels)))


def grouped(*pods: Pod, nodes: Iterable[Node] = (node(),), **fields: Any) -> Grouping:
    return group_endpoints(service(**fields), pods, nodes)


def only(grouping: Grouping) -> Endpoint:
    """The one endpoint that was made."""
    assert grouping.skipped == ()
    (found,) = [member for group in grouping.groups for member in group.endpoints]
    return found


def skipped(grouping: Grouping) -> tuple[SkipReason, str]:
    """Why the one Pod was left out."""
    assert [member for group in grouping.groups for member in group.endpoints] == []
    (found,) = grouping.skipped
    return found.reason, found.detail


def names(group: EndpointGroup) -> list[str]:
    return [member.target_ref.name for member in group.endpoints if member.target_ref]


def placeholder(kind: AddressType = IPV4) -> EndpointGroup:
    return EndpointGroup(key=GroupKey(address_type=kind))


# --- which Pods are looked at -------------------------------------------------------------------


def test_pods_whose_labels_have_all_of_the_selector_are_selected() -> None:
    wanted = service(selector={"app": "web", "tier": "front"})
    right = pod(1, labels={"app": "web", "tier": "front", "more": "x"})
    pods = [
        pod(2, labels={"app": "web"}),
        right,
        pod(3, labels={"app": "web", "tier": "back"}),
        pod(4, labels={}),
    ]
    assert select_pods(wanted, pods) == (right,)


def test_pods_of_other_namespaces_are_not_selected() -> None:
    assert select_pods(service(), [pod(1, namespace="elsewhere")]) == ()


def test_selected_pods_keep_their_order() -> None:
    pods = [pod(3), pod(1), pod(2)]
    assert select_pods(service(), iter(pods)) == tuple(pods)


def test_without_a_selector_all_pods_of_the_namespace_are_kept() -> None:
    pods = [pod(1, labels={}), pod(2, labels={"other": "x"}), pod(3, namespace="elsewhere")]
    assert select_pods(service(selector={}), pods) == tuple(pods[:2])


# --- which Pods count ---------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_is_skipped(phase: str) -> None:
    assert skipped(grouped(pod(phase=phase))) == (SkipReason.TERMINAL_PHASE, phase)
    ended = grouped(pod(phase=phase), publish_not_ready_addresses=True)
    assert skipped(ended) == (SkipReason.TERMINAL_PHASE, phase)


@pytest.mark.parametrize("phase", ["Pending", "Running", "Unknown", ""])
def test_a_pod_that_has_not_ended_counts(phase: str) -> None:
    assert only(grouped(pod(phase=phase))).addresses == ("10.0.0.1",)


def test_a_pod_without_an_ip_is_skipped() -> None:
    bare = pod(pod_ip="", pod_ips=())
    assert skipped(grouped(bare)) == (SkipReason.NO_IP, "")
    assert skipped(grouped(bare, publish_not_ready_addresses=True)) == (SkipReason.NO_IP, "")


def test_a_pod_with_pod_ip_alone_has_no_address() -> None:
    assert skipped(grouped(pod(pod_ips=()))) == (SkipReason.NO_IP_OF_FAMILY, "")


def test_a_pod_without_an_ip_of_the_family_is_skipped() -> None:
    found = grouped(pod(pod_ips=("fd00::1", "fd00::2")))
    assert skipped(found) == (SkipReason.NO_IP_OF_FAMILY, "fd00::1, fd00::2")


def test_a_terminating_pod_counts() -> None:
    assert only(grouped(pod(deleted=True))).conditions.terminating


def test_a_pod_that_holds_nonsense_is_skipped_and_the_others_survive() -> None:
    found = grouped(pod(1, pod_ips=("nonsense",)), pod(2))
    assert names(found.groups[0]) == ["web-2"]
    (skip,) = found.skipped
    assert (skip.namespace, skip.name, skip.reason) == ("shop", "web-1", SkipReason.INVALID)
    assert "nonsense" in skip.detail


def test_a_pod_with_too_many_addresses_is_skipped() -> None:
    many = tuple(f"10.1.0.{i}" for i in range(101))
    reason, detail = skipped(grouped(pod(pod_ips=many)))
    assert reason is SkipReason.INVALID
    assert "101" in detail


def test_a_pod_whose_named_port_is_no_port_is_skipped() -> None:
    found = grouped(
        pod(container_ports=(ContainerPort(container_port=0, name="web"),)),
        ports=(ServicePort(port=80, target_port="web"),),
    )
    assert skipped(found)[0] is SkipReason.INVALID


# --- conditions -----------------------------------------------------------------------------


@pytest.mark.parametrize("ready", [False, True])
@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("publish", [False, True])
def test_ready_is_serving_and_staying_or_published_anyway(
    ready: bool, deleted: bool, publish: bool
) -> None:
    found = only(grouped(pod(ready=ready, deleted=deleted), publish_not_ready_addresses=publish))
    assert found.conditions == EndpointConditions(
        ready=publish or (ready and not deleted), serving=ready, terminating=deleted
    )


def test_a_deletion_timestamp_that_is_empty_is_none() -> None:
    empty = attrs.evolve(pod(), metadata=attrs.evolve(pod().metadata, deletion_timestamp=""))
    assert only(grouped(empty)).conditions == EndpointConditions()


# --- what an endpoint says ----------------------------------------------------------------------


def test_the_target_is_the_pod() -> None:
    found = only(grouped(pod()))
    assert found.target_ref == ObjectReference("Pod", "shop", "web-1", "uid-pod-1")
    assert found.target_ref.resource_version == ""


def test_the_hostname_is_set_if_the_subdomain_is_the_service() -> None:
    assert only(grouped(pod(hostname="h", subdomain="web"))).hostname == "h"


@pytest.mark.parametrize(
    ("hostname", "subdomain"), [("h", "other"), ("h", ""), ("", "web"), ("", "")]
)
def test_the_hostname_is_not_set_otherwise(hostname: str, subdomain: str) -> None:
    assert only(grouped(pod(hostname=hostname, subdomain=subdomain))).hostname is None


def test_the_hostname_is_not_set_for_a_pod_of_another_namespace() -> None:
    foreign = pod(hostname="h", subdomain="web", namespace="elsewhere")
    assert only(grouped(foreign)).hostname is None


def test_node_and_zone_are_those_of_the_pods_node() -> None:
    found = only(grouped(pod(node_name="node-2"), nodes=[node(), node("node-2", "b")]))
    assert (found.node_name, found.zone) == ("node-2", "b")


@pytest.mark.parametrize("zone", [None, ""])
def test_a_node_without_a_zone_gives_none(zone: str | None) -> None:
    found = only(grouped(pod(), nodes=[node(zone=zone)]))
    assert (found.node_name, found.zone) == ("node-1", None)


@pytest.mark.parametrize("name", ["gone", ""])
def test_a_pod_on_a_missing_node_is_skipped(name: str) -> None:
    assert skipped(grouped(pod(node_name=name))) == (SkipReason.NODE_NOT_FOUND, name)


def test_a_pod_on_a_missing_node_is_kept_if_it_is_to_be_published() -> None:
    found = only(grouped(pod(node_name="gone"), publish_not_ready_addresses=True))
    assert (found.node_name, found.zone) == ("gone", None)
    found = only(grouped(pod(node_name=""), publish_not_ready_addresses=True))
    assert (found.node_name, found.zone) == (None, None)


# --- addresses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelled", "kind", "address"),
    [
        ("10.0.0.1", IPV4, "10.0.0.1"),
        ("010.000.0.01", IPV4, "10.0.0.1"),
        ("::ffff:10.0.0.1", IPV4, "10.0.0.1"),
        ("FD00:0::0:1", IPV6, "fd00::1"),
    ],
)
def test_addresses_are_put_in_canonical_form(spelled: str, kind: AddressType, address: str) -> None:
    found = grouped(pod(pod_ips=(spelled,)), ip_families=(str(kind),))
    assert found.groups[0].key.address_type is kind
    assert only(found).addresses == (address,)


def test_all_addresses_of_the_family_count_in_their_order() -> None:
    found = only(grouped(pod(pod_ips=("10.0.0.9", "fd00::1", "10.0.0.1"))))
    assert found.addresses == ("10.0.0.9", "10.0.0.1")


def test_a_dual_stack_service_has_a_group_for_each_family() -> None:
    dual = pod(pod_ips=("10.0.0.1", "fd00::1"))
    found = grouped(dual, ip_families=("IPv6", "IPv4"))
    assert [group.key.address_type for group in found.groups] == [IPV4, IPV6]
    assert [group.endpoints[0].addresses for group in found.groups] == [
        ("10.0.0.1",),
        ("fd00::1",),
    ]


def test_a_pod_with_one_family_of_two_is_not_skipped() -> None:
    found = grouped(pod(), ip_families=("IPv4", "IPv6"))
    assert found.skipped == ()
    assert [len(group.endpoints) for group in found.groups] == [1, 0]
    assert found.groups[1] == placeholder(IPV6)


@pytest.mark.parametrize(
    ("families", "cluster_ip", "kind", "expected"),
    [
        (("IPv4",), "10.96.0.1", "ClusterIP", (IPV4,)),
        (("IPv6",), "10.96.0.1", "ClusterIP", (IPV6,)),
        (("IPv6", "IPv4"), "fd00::1", "ClusterIP", (IPV4, IPV6)),
        (("IPv4", "IPv4"), "", "ClusterIP", (IPV4,)),
        (("IPv4",), "None", "ClusterIP", (IPV4,)),
        # older than dual stack
        ((), "10.96.0.1", "ClusterIP", (IPV4,)),
        ((), "fd00::1", "ClusterIP", (IPV6,)),
        ((), "None", "ClusterIP", (IPV4, IPV6)),
        ((), "", "ClusterIP", (IPV4, IPV6)),
        (("IPv5",), "10.96.0.1", "ClusterIP", (IPV4,)),
        (("IPv4",), "10.96.0.1", "LoadBalancer", (IPV4,)),
        ((), "", "ExternalName", ()),
        (("IPv4",), "", "ExternalName", ()),
    ],
)
def test_the_address_types_are_the_ip_families_or_those_that_the_cluster_ip_tells(
    families: tuple[str, ...], cluster_ip: str, kind: str, expected: tuple[AddressType, ...]
) -> None:
    asked = service(ip_families=families, cluster_ip=cluster_ip, type=kind)
    assert address_types(asked) == expected


def test_an_external_name_has_no_groups_at_all() -> None:
    found = grouped(pod(), type="ExternalName")
    assert found.groups == ()


# --- ports --------------------------------------------------------------------------------------


def ports(found: Grouping) -> list[tuple[tuple[str, int | None], ...]]:
    return [tuple((port.name, port.port) for port in group.key.ports) for group in found.groups]


def test_a_target_port_that_is_a_number_needs_no_container_port() -> None:
    assert ports(grouped(pod())) == [(("http", 8080),)]


def test_without_a_target_port_the_port_itself_counts() -> None:
    assert ports(grouped(pod(), ports=(ServicePort(port=80),))) == [(("", 80),)]


def test_ports_keep_name_protocol_and_application_protocol() -> None:
    asked = ServicePort(port=1, name="n", protocol=Protocol.SCTP, app_protocol="h2c")
    found = grouped(pod(), ports=(asked,))
    assert found.groups[0].key.ports == (
        EndpointPort(port=1, name="n", protocol=Protocol.SCTP, app_protocol="h2c"),
    )


_NAMED: Final = (ServicePort(port=80, name="http", target_port="web"),)


def _containers(*found: tuple[str, int]) -> tuple[ContainerPort, ...]:
    return tuple(ContainerPort(container_port=number, name=name) for name, number in found)


def test_a_named_target_port_is_looked_up_in_each_pod() -> None:
    found = grouped(
        pod(1, container_ports=_containers(("web", 8080))),
        pod(2, container_ports=_containers(("other", 1), ("web", 9090))),
        pod(3, container_ports=_containers(("web", 8080), ("more", 2))),
        ports=_NAMED,
    )
    assert ports(found) == [(("http", 8080),), (("http", 9090),)]
    assert [names(group) for group in found.groups] == [["web-1", "web-3"], ["web-2"]]


def test_the_first_container_port_of_a_name_counts() -> None:
    found = grouped(pod(container_ports=_containers(("web", 2), ("web", 1))), ports=_NAMED)
    assert ports(found) == [(("http", 2),)]


def test_a_named_port_of_another_protocol_does_not_match() -> None:
    mixed = (
        ContainerPort(container_port=53, name="web", protocol="UDP"),
        ContainerPort(container_port=54, name="web", protocol="TCP"),
    )
    assert ports(grouped(pod(container_ports=mixed), ports=_NAMED)) == [(("http", 54),)]
    assert ports(grouped(pod(container_ports=mixed[:1]), ports=_NAMED)) == [()]


def _pod_with_sidecar(restart_policy: str | None) -> Pod:
    return decode_pod(
        {
            "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web"}},
            "spec": {
                "nodeName": "node-1",
                "containers": [{"ports": [{"name": "app", "containerPort": 1}]}],
                "initContainers": [
                    {
                        "restartPolicy": restart_policy,
                        "ports": [
                            {"name": "web", "containerPort": 15001},
                            {"name": "app", "containerPort": 2},
                        ],
                    }
                ],
            },
            "status": {"podIPs": [{"ip": "10.0.0.1"}]},
        }
    )


def test_named_ports_are_found_in_sidecars_after_the_containers() -> None:
    both = (*_NAMED, ServicePort(port=81, name="z", target_port="app"))
    found = grouped(_pod_with_sidecar("Always"), ports=both)
    assert ports(found) == [(("http", 15001), ("z", 1))]


@pytest.mark.parametrize("policy", [None, "Never"])
def test_named_ports_are_not_found_in_other_init_containers(policy: str | None) -> None:
    assert ports(grouped(_pod_with_sidecar(policy), ports=_NAMED)) == [()]


def test_a_port_that_the_pod_lacks_is_left_out_and_the_pod_stays() -> None:
    found = grouped(pod(), ports=(*_NAMED, ServicePort(port=81, name="metrics")))
    assert ports(found) == [(("metrics", 81),)]
    assert names(found.groups[0]) == ["web-1"]


def test_a_pod_that_has_none_of_the_ports_stays_in_a_group_without_ports() -> None:
    found = grouped(pod(1), pod(2, container_ports=_containers(("web", 8080))), ports=_NAMED)
    assert ports(found) == [(), (("http", 8080),)]
    assert [names(group) for group in found.groups] == [["web-1"], ["web-2"]]


@pytest.mark.parametrize("cluster_ip", ["None", ""])
def test_a_headless_service_may_have_no_ports(cluster_ip: str) -> None:
    found = grouped(pod(), ports=(), cluster_ip=cluster_ip)
    assert ports(found) == [()]
    assert names(found.groups[0]) == ["web-1"]


def test_a_headless_service_may_have_ports() -> None:
    assert ports(grouped(pod(), cluster_ip="None")) == [(("http", 8080),)]


# --- groups -----------------------------------------------------------------------------------


def test_a_service_without_endpoints_has_the_placeholder() -> None:
    assert grouped().groups == (placeholder(),)
    assert grouped(pod(phase="Failed")).groups == (placeholder(),)


def test_a_service_without_endpoints_has_a_placeholder_for_each_family() -> None:
    found = grouped(ip_families=("IPv6", "IPv4"))
    assert found.groups == (placeholder(IPV4), placeholder(IPV6))


def test_ports_that_only_skipped_pods_have_make_no_group() -> None:
    found = grouped(
        pod(1, container_ports=_containers(("web", 1)), node_name="gone"),
        pod(2, container_ports=_containers(("web", 2))),
        ports=_NAMED,
    )
    assert ports(found) == [(("http", 2),)]


def test_groups_without_endpoints_are_only_placeholders() -> None:
    found = grouped(pod(phase="Failed"))
    assert [group.key.ports for group in found.groups] == [()]


def test_skipped_pods_are_in_the_order_of_their_names() -> None:
    found = grouped(pod(3, phase="Failed"), pod(1, pod_ip="", pod_ips=()), pod(2, node_name="x"))
    assert found.skipped == (
        SkippedPod(namespace="shop", name="web-1", reason=SkipReason.NO_IP),
        SkippedPod(namespace="shop", name="web-2", reason=SkipReason.NODE_NOT_FOUND, detail="x"),
        SkippedPod(
            namespace="shop", name="web-3", reason=SkipReason.TERMINAL_PHASE, detail="Failed"
        ),
    )


def test_the_last_of_several_pods_with_one_name_counts() -> None:
    found = grouped(pod(1, ready=False), pod(1, ready=True))
    assert only(found).conditions.ready


def test_endpoints_are_ordered_by_namespace_and_name() -> None:
    made = [("b", "web-1"), ("a", "web-2"), ("b", "web-0"), ("a", "web-10")]
    ended = [("b", "x"), ("a", "y")]
    found = grouped(
        *(pod(i, namespace=space, name=name) for i, (space, name) in enumerate(made, 1)),
        *(pod(9, namespace=space, name=name, phase="Failed") for space, name in ended),
    )
    (only_group,) = found.groups
    targets = [member.target_ref for member in only_group.endpoints]
    assert [(target.namespace, target.name) for target in targets if target] == sorted(made)
    assert [(skip.namespace, skip.name) for skip in found.skipped] == sorted(ended)


@pytest.mark.parametrize(
    "addresses",
    [("10.0.0.1",), ("010.0.0.1",), ("fd00::1",), ("FD00::1", "10.0.0.1"), ("10.0.0.1",) * 2],
)
def test_endpoints_are_as_their_constructor_makes_them(addresses: tuple[str, ...]) -> None:
    one = pod(pod_ips=addresses, hostname="a", subdomain="web")
    found = grouped(one, ip_families=("IPv4", "IPv6"))
    members = [member for group in found.groups for member in group.endpoints]
    assert members
    for member in members:
        again = attrs.evolve(member)
        assert (again, repr(again)) == (member, repr(member))
        assert again._families == member._families


def test_pods_of_other_ports_do_not_mix_however_they_alternate() -> None:
    pods = [pod(i, container_ports=_containers(("web", 8000 + i % 2))) for i in range(1, 7)]
    found = grouped(*pods, ports=_NAMED)
    assert [(group.key.ports[0].port, names(group)) for group in found.groups] == [
        (8000, ["web-2", "web-4", "web-6"]),
        (8001, ["web-1", "web-3", "web-5"]),
    ]


@given(data=st.data())
def test_the_order_of_pods_and_nodes_does_not_matter(data: st.DataObject) -> None:
    pods = [
        pod(
            i,
            ready=i % 2 == 0,
            pod_ips=((f"10.0.0.{i}",), (f"10.0.0.{i}", f"fd00::{i}"), (f"fd00::{i}",), ())[i % 4],
            container_ports=_containers(("web", 8080 + i % 3)),
            node_name=f"node-{i % 3}",
        )
        for i in range(1, 13)
    ]
    nodes = [node("node-0"), node("node-1", "b"), node("unused", "c")]
    families = ("IPv4", "IPv6")
    expected = grouped(*pods, nodes=nodes, ports=_NAMED, ip_families=families)
    found = grouped(
        *data.draw(st.permutations(pods)),
        nodes=data.draw(st.permutations(nodes)),
        ports=_NAMED,
        ip_families=data.draw(st.permutations(families)),
    )
    assert found == expected
    members = [member.target_ref for group in found.groups for member in group.endpoints]
    told = {target.name for target in members if target} | {skip.name for skip in found.skipped}
    assert told == {one.metadata.name for one in pods}


# --- the template -----------------------------------------------------------------------------


def test_a_slice_carries_the_labels_of_its_service_and_the_reserved_ones() -> None:
    meta = slice_template(service(labels={"app": "web", "tier": "front"})).metadata
    assert meta.namespace == "shop"
    assert meta.labels == {
        "app": "web",
        "tier": "front",
        LABEL_SERVICE_NAME: "web",
        LABEL_MANAGED_BY: DEFAULT_MANAGED_BY,
    }


def test_reserved_labels_of_the_service_are_not_copied() -> None:
    labels = {LABEL_SERVICE_NAME: "x", LABEL_MANAGED_BY: "y", LABEL_HEADLESS: "z", "app": "web"}
    assert slice_template(service(labels=labels)).metadata.labels == {
        "app": "web",
        LABEL_SERVICE_NAME: "web",
        LABEL_MANAGED_BY: DEFAULT_MANAGED_BY,
    }


@pytest.mark.parametrize("cluster_ip", ["None", ""])
def test_slices_of_a_headless_service_are_marked(cluster_ip: str) -> None:
    labels = slice_template(service(cluster_ip=cluster_ip)).metadata.labels
    assert labels[LABEL_HEADLESS] == ""


def test_the_manager_can_be_another() -> None:
    labels = slice_template(service(), managed_by="me.example.com").metadata.labels
    assert labels[LABEL_MANAGED_BY] == "me.example.com"


def test_the_owner_is_the_service() -> None:
    assert slice_template(service()).metadata.owner_references == (
        OwnerReference(
            api_version="v1",
            kind="Service",
            name="web",
            uid="uid-1",
            controller=True,
            block_owner_deletion=True,
        ),
    )


def test_annotations_of_the_service_are_not_copied() -> None:
    meta = attrs.evolve(service().metadata, annotations=FrozenDict({"a": "b"}))
    assert slice_template(service(metadata=meta)).metadata.annotations == {}


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("web", "web-"),
        ("web-", "web--"),
        ("w", "w-"),
        ("a.b", "a.b-"),
        ("0", "0-"),
        ("x" * 252, "x" * 252 + "-"),
        ("x" * 253, "x" * 253),
        ("Web", "Web"),
        ("web_1", "web_1"),
        ("-web", "-web"),
        ("a..b", "a..b"),
        ("a.-b", "a.-b"),
        ("a-.b", "a-.b"),
        ("wäb", "wäb"),
        ("web\n", "web\n"),
    ],
)
def test_generated_names_have_a_dash_unless_that_would_be_no_name(name: str, prefix: str) -> None:
    assert slice_template(service(name)).metadata.generate_name == prefix


# --- the trigger time -------------------------------------------------------------------------

_EAST: Final = timezone(timedelta(hours=5, minutes=30))


def stamped(moment: datetime | str) -> str:
    meta = slice_template(service(), trigger_time=moment).metadata
    assert meta.annotations.keys() == {ANNOTATION_TRIGGER_TIME}
    return meta.annotations[ANNOTATION_TRIGGER_TIME]


def test_without_a_trigger_time_there_is_no_annotation() -> None:
    assert slice_template(service()).metadata.annotations == {}


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC), "2026-06-01T12:00:00Z"),
        (datetime(2026, 6, 1, 12, 0, 0, 120000, tzinfo=UTC), "2026-06-01T12:00:00.12Z"),
        (datetime(2026, 6, 1, 12, 0, 0, 1, tzinfo=UTC), "2026-06-01T12:00:00.000001Z"),
        (datetime(2026, 6, 1, 2, 0, 0, tzinfo=_EAST), "2026-05-31T20:30:00Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
    ],
)
def test_a_datetime_is_written_in_utc(moment: datetime, text: str) -> None:
    assert stamped(moment) == text


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        ("2026-06-01T12:00:00Z", "2026-06-01T12:00:00Z"),
        ("2026-06-01t12:00:00z", "2026-06-01T12:00:00Z"),
        ("2026-06-01T12:00:00.123456789Z", "2026-06-01T12:00:00.123456789Z"),
        ("2026-06-01T12:00:00.120000000Z", "2026-06-01T12:00:00.12Z"),
        ("2026-06-01T12:00:00.000Z", "2026-06-01T12:00:00Z"),
        ("2026-06-01T12:00:00.000000001+02:00", "2026-06-01T10:00:00.000000001Z"),
        ("2026-06-01T00:30:00-01:00", "2026-06-01T01:30:00Z"),
        ("2026-06-01T00:30:00+00:00", "2026-06-01T00:30:00Z"),
        ("2024-02-29T23:59:59-23:59", "2024-03-01T23:58:59Z"),
    ],
)
def test_a_string_is_kept_to_the_nanosecond(moment: str, text: str) -> None:
    assert stamped(moment) == text


class _Nowhere(tzinfo):
    """A time zone that does not know its offset, so that a datetime in it is naive."""

    def utcoffset(self, _moment: datetime | None) -> None:
        return None

    def dst(self, _moment: datetime | None) -> None:
        return None

    def tzname(self, _moment: datetime | None) -> None:
        return None


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 6, 1),  # noqa: DTZ001
        datetime(2026, 6, 1, tzinfo=_Nowhere()),
        datetime(1, 1, 1, tzinfo=_EAST),
        datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5))),
        "",
        "yesterday",
        "2026-06-01",
        "2026-06-01T12:00:00",
        "2026-06-01 12:00:00Z",
        "2026-06-01T12:00Z",
        "2026-06-01T12:00:00.Z",
        "2026-06-01T12:00:00,5Z",
        "2026-06-01T12:00:00.1234567890Z",
        "2026-13-01T12:00:00Z",
        "2026-02-29T12:00:00Z",
        "2026-06-01T24:00:00Z",
        "2026-06-01T12:00:60Z",
        "2026-06-01T12:00:00+24:00",
        "2026-06-01T12:00:00+02:60",
        "2026-06-01T12:00:00+0200",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "2026-06-01T12:00:00.\u0663Z",
        "\u0662026-06-01T12:00:00Z",
        "2026-06-01T12:00:00Z\n",
    ],
)
def test_a_trigger_time_that_is_none_is_refused(moment: datetime | str) -> None:
    with pytest.raises(ModelError) as caught:
        slice_template(service(), trigger_time=moment)
    assert caught.value.field == "trigger_time"
    assert caught.value.value == moment


@given(moment=st.datetimes(timezones=st.timezones()), nanoseconds=st.integers(0, 999))
def test_a_trigger_time_is_the_same_moment_in_the_shortest_spelling(
    moment: datetime, nanoseconds: int
) -> None:
    offset = moment.utcoffset()
    assert offset is not None
    try:
        expected = moment.astimezone(UTC)
    except OverflowError:
        with pytest.raises(ModelError):
            stamped(moment)
        return
    text = stamped(moment)
    assert datetime.fromisoformat(text) == expected
    assert text.endswith("Z")
    assert "." not in text or text[-2] != "0"
    digits = f"{expected:%f}{nanoseconds:03}"
    spelled = f"{expected.replace(microsecond=0, tzinfo=None).isoformat()}.{digits}Z"
    assert stamped(spelled).rstrip("Z").partition(".")[2] == digits.rstrip("0")


def test_the_trigger_time_rides_on_writes_and_causes_none() -> None:
    first = reconcile_service(
        service(), [pod()], [node()], [], trigger_time="2026-06-01T12:00:00Z"
    ).plan
    (created,) = first.creates
    stored = attrs.evolve(created.after, metadata=attrs.evolve(created.after.metadata, name="s"))
    assert stored.metadata.annotations[ANNOTATION_TRIGGER_TIME] == "2026-06-01T12:00:00Z"
    later = "2026-06-02T12:00:00Z"
    idle = reconcile_service(service(), [pod()], [node()], [stored], trigger_time=later).plan
    assert idle.is_empty
    busy = reconcile_service(service(), [pod(2)], [node()], [stored], trigger_time=later).plan
    (updated,) = busy.updates
    assert updated.after.metadata.annotations[ANNOTATION_TRIGGER_TIME] == later
