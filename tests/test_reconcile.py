"""The two doors."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any, Final

import attrs
import pytest

from endpointslice import (
    ANNOTATION_TRIGGER_TIME,
    DEFAULT_MANAGED_BY,
    LABEL_MANAGED_BY,
    DuplicateEndpointError,
    EndpointHints,
    Generational,
    HintFallbackReason,
    KubernetesPacking,
    MinimalWrites,
    ModelError,
    Node,
    NoHints,
    ObjectMeta,
    Plan,
    Pod,
    PreferSameZone,
    ProportionalZones,
    Reason,
    Service,
    ServicePlan,
    ServicePort,
    SkipReason,
    apply_plan,
    reconcile,
    reconcile_service,
)
from endpointslice.reconcile import DEFAULT_STRATEGY
from tests.builders import TEMPLATE, endpoint, group, stored

SERVICE: Final = Service(
    metadata=ObjectMeta(namespace="shop", name="web", uid="service-uid", labels={"app": "web"}),
    selector={"app": "web"},
    ports=(ServicePort(port=80, name="http", target_port=8080),),
    cluster_ip="10.96.0.1",
    ip_families=("IPv4",),
)
NODES: Final = tuple(
    Node(
        metadata=ObjectMeta(
            name=f"node-{zone}", labels={"topology.kubernetes.io/zone": f"zone-{zone}"}
        )
    )
    for zone in "ab"
)


def service(**changes: Any) -> Service:
    meta = {
        name: changes.pop(name)
        for name in ("deletion_timestamp", "annotations", "namespace")
        if name in changes
    }
    return attrs.evolve(SERVICE, metadata=attrs.evolve(SERVICE.metadata, **meta), **changes)


def pod(number: int, **changes: Any) -> Pod:
    fields: dict[str, Any] = {
        "metadata": ObjectMeta(
            namespace="shop", name=f"web-{number}", uid=f"uid-{number}", labels={"app": "web"}
        ),
        "phase": "Running",
        "ready": True,
        "pod_ip": f"10.0.0.{number}",
        "pod_ips": (f"10.0.0.{number}",),
        "node_name": "node-a",
    }
    return Pod(**{**fields, **changes})


# --- reconcile: groups ------------------------------------------------------------------------


def test_reconcile_plans_groups_of_any_source() -> None:
    plan = reconcile([group(1, 2)], [], template=TEMPLATE)
    (made,) = plan.creates
    assert set(made.after.endpoints) == {endpoint(1), endpoint(2)}
    assert made.reasons == (Reason.ENDPOINTS_ADDED,)
    assert plan.minimum_writes == 1


def test_reconcile_takes_any_iterable_and_reads_it_once() -> None:
    plan = reconcile(iter([group(1)]), iter([stored("web-0", 2)]), template=TEMPLATE)
    assert len(plan.updates) == 1


def test_reconcile_holds_100_endpoints_in_a_slice_unless_told_otherwise() -> None:
    plan = reconcile([group(*range(101))], [], template=TEMPLATE)
    assert [len(item.after.endpoints) for item in plan.creates] == [51, 50]
    plan = reconcile([group(*range(101))], [], template=TEMPLATE, strategy=MinimalWrites())
    assert [len(item.after.endpoints) for item in plan.creates] == [100, 1]


def test_reconcile_of_nothing_is_nothing() -> None:
    assert reconcile([], [], template=TEMPLATE) == Plan()


def test_reconcile_deletes_the_slices_of_groups_that_are_gone() -> None:
    plan = reconcile([], [stored("web-0", 1)], template=TEMPLATE)
    (deleted,) = plan.deletes
    assert deleted.reasons == (Reason.ENDPOINTS_REMOVED, Reason.EMPTY, Reason.GROUP_NOT_WANTED)


def test_reconcile_uses_the_strategy_that_it_is_given() -> None:
    current = [stored("web-0", endpoint(1, 1)), stored("web-1", endpoint(2, 1))]
    merged = reconcile([group(1, 2)], current, template=TEMPLATE)
    kept = reconcile([group(1, 2)], current, template=TEMPLATE, strategy=KubernetesPacking())
    assert (len(merged.deletes), len(kept.deletes)) == (1, 0)


def test_reconcile_refuses_what_cannot_be() -> None:
    with pytest.raises(DuplicateEndpointError):
        reconcile([group(1, endpoint(1, 1))], [], template=TEMPLATE)
    with pytest.raises(ModelError, match="1001"):
        reconcile([], [], template=TEMPLATE, max_endpoints_per_slice=1001)


# --- reconcile_service: a Service and its Pods ------------------------------------------------


def test_a_service_gets_slices_of_its_ready_and_unready_pods() -> None:
    pods = [pod(1), pod(2, ready=False), pod(3, phase="Failed")]
    result = reconcile_service(SERVICE, pods, NODES, [])
    (made,) = result.plan.creates
    assert [item.addresses for item in made.after.endpoints] == [("10.0.0.1",), ("10.0.0.2",)]
    assert [item.conditions.ready for item in made.after.endpoints] == [True, False]
    assert {item.zone for item in made.after.endpoints} == {"zone-a"}
    assert made.after.ports[0].port == 8080
    meta = made.after.metadata
    assert (meta.namespace, meta.generate_name, meta.name) == ("shop", "web-", "")
    assert meta.labels == {
        "app": "web",
        "kubernetes.io/service-name": "web",
        LABEL_MANAGED_BY: DEFAULT_MANAGED_BY,
    }
    assert [owner.uid for owner in meta.owner_references] == ["service-uid"]
    assert ANNOTATION_TRIGGER_TIME not in meta.annotations


def test_a_service_whose_slices_are_right_needs_nothing() -> None:
    pods = [pod(1), pod(2)]
    after = apply_plan([], reconcile_service(SERVICE, pods, NODES, []).plan)
    again = reconcile_service(SERVICE, pods, NODES, after)
    assert again == ServicePlan(plan=Plan((), after, 0))


def test_a_service_without_pods_has_the_placeholder() -> None:
    (made,) = reconcile_service(SERVICE, [], NODES, []).plan.creates
    assert made.reasons == (Reason.PLACEHOLDER,)
    assert made.after.endpoints == made.after.ports == ()


def test_pods_that_the_service_does_not_select_are_ignored() -> None:
    other = pod(2, metadata=ObjectMeta(namespace="shop", name="db", labels={"app": "db"}))
    there = pod(3, metadata=ObjectMeta(namespace="else", name="web-3", labels={"app": "web"}))
    (made,) = reconcile_service(SERVICE, [pod(1), other, there], NODES, []).plan.creates
    assert [item.addresses for item in made.after.endpoints] == [("10.0.0.1",)]


def test_pods_that_get_no_endpoint_are_named_with_the_reason() -> None:
    result = reconcile_service(SERVICE, [pod(1), pod(2, node_name="node-z")], NODES, [])
    (skipped,) = result.skipped
    assert (skipped.name, skipped.reason) == ("web-2", SkipReason.NODE_NOT_FOUND)
    assert len(result.plan.creates[0].after.endpoints) == 1


def test_an_external_name_service_has_no_slices() -> None:
    external = service(type="ExternalName", cluster_ip="", ip_families=())
    assert reconcile_service(external, [pod(1)], NODES, []).plan == Plan()


def test_a_service_that_becomes_external_loses_its_slices() -> None:
    current = apply_plan([], reconcile_service(SERVICE, [pod(1)], NODES, []).plan)
    external = service(type="ExternalName", cluster_ip="", ip_families=())
    plan = reconcile_service(external, [pod(1)], NODES, current).plan
    assert [item.before for item in plan.operations] == list(current)
    assert plan.deletes == plan.operations


def test_a_service_that_is_being_deleted_gets_no_creates() -> None:
    dying = service(deletion_timestamp="2026-07-01T00:00:00Z")
    assert reconcile_service(dying, [pod(1)], NODES, []).plan.is_empty
    current = apply_plan([], reconcile_service(SERVICE, [pod(1), pod(2)], NODES, []).plan)
    pods = [pod(1), pod(2, ready=False), *(pod(i) for i in range(3, 6))]
    plan = reconcile_service(
        dying, pods, NODES, current, max_endpoints_per_slice=3, strategy=MinimalWrites()
    ).plan
    (written,) = plan.operations
    assert written in plan.updates
    assert len(written.after.endpoints) == 3


def test_the_service_says_what_hints_it_wants() -> None:
    hinted = service(traffic_distribution="PreferSameZone")
    pods = [pod(1), pod(2, node_name="node-b")]
    (made,) = reconcile_service(hinted, pods, NODES, []).plan.creates
    assert {item.node_name: item.hints for item in made.after.endpoints} == {
        "node-a": EndpointHints(for_zones=("zone-a",)),
        "node-b": EndpointHints(for_zones=("zone-b",)),
    }
    (made,) = reconcile_service(hinted, pods, NODES, [], hints=NoHints()).plan.creates
    assert not any(item.hints for item in made.after.endpoints)
    (made,) = reconcile_service(SERVICE, pods, NODES, [], hints=PreferSameZone()).plan.creates
    assert all(item.hints for item in made.after.endpoints)


def test_a_wish_for_hints_that_cannot_be_met_is_told() -> None:
    wishful = service(traffic_distribution="PreferSomewhereElse")
    (fallback,) = reconcile_service(wishful, [pod(1)], NODES, []).hint_fallbacks
    assert fallback.reason in HintFallbackReason
    assert reconcile_service(wishful, [pod(1)], NODES, [], hints=NoHints()).hint_fallbacks == ()


def test_topology_mode_auto_goes_by_the_nodes_and_by_the_slices_that_are_there() -> None:
    wish = service(annotations={"service.kubernetes.io/topology-mode": "Auto"})
    sized = [attrs.evolve(node, ready=True, allocatable_cpu=4000) for node in NODES]
    pods = [pod(i, node_name="node-a" if i < 4 else "node-b") for i in range(6)]
    made = reconcile_service(wish, pods, iter(sized), iter([]))
    assert made.hint_fallbacks == ()
    current = apply_plan([], made.plan)
    hints = [item.hints.for_zones for item in current[0].endpoints]
    assert Counter(hints) == {("zone-a",): 3, ("zone-b",): 3}
    assert reconcile_service(wish, iter(pods), iter(sized), iter(current)).plan.is_empty
    # With one less, hints would not be given; but they are, and stay.
    fewer = reconcile_service(wish, pods[1:], sized, current)
    assert fewer.hint_fallbacks == ()
    (fallback,) = reconcile_service(wish, pods[1:], sized, []).hint_fallbacks
    assert fallback.reason is HintFallbackReason.MIN_ALLOCATION_EXCEEDS_OVERLOAD_THRESHOLD
    strict = ProportionalZones(hysteresis=False)
    (fallback,) = reconcile_service(SERVICE, pods[1:], sized, current, hints=strict).hint_fallbacks
    assert fallback.reason is HintFallbackReason.MIN_ALLOCATION_EXCEEDS_OVERLOAD_THRESHOLD


def test_another_manager_writes_its_own_slices_and_leaves_the_others() -> None:
    current = apply_plan([], reconcile_service(SERVICE, [pod(1)], NODES, []).plan)
    plan = reconcile_service(SERVICE, [pod(1)], NODES, current, managed_by="me.example.com").plan
    (made,) = plan.creates
    assert made.after.metadata.labels[LABEL_MANAGED_BY] == "me.example.com"
    assert plan.operations == plan.creates
    assert plan.unchanged == ()


@pytest.mark.parametrize(
    ("given", "stored_as"),
    [
        ("2026-07-01T10:00:00.000000001Z", "2026-07-01T10:00:00.000000001Z"),
        (datetime(2026, 7, 1, 10, tzinfo=UTC), "2026-07-01T10:00:00Z"),
    ],
)
def test_the_trigger_time_rides_on_writes_and_causes_none(
    given: datetime | str, stored_as: str
) -> None:
    result = reconcile_service(SERVICE, [pod(1)], NODES, [], trigger_time=given)
    after = apply_plan([], result.plan)
    assert after[0].metadata.annotations == {ANNOTATION_TRIGGER_TIME: stored_as}
    later = reconcile_service(SERVICE, [pod(1)], NODES, after, trigger_time="2026-07-02T00:00:00Z")
    assert later.plan.is_empty


def test_both_doors_have_the_same_default_strategy() -> None:
    assert Generational() == DEFAULT_STRATEGY
    pods = [pod(i) for i in range(1, 8)]
    by_default = reconcile_service(SERVICE, pods, NODES, [], max_endpoints_per_slice=3)
    assert by_default == reconcile_service(
        SERVICE, pods, NODES, [], max_endpoints_per_slice=3, strategy=DEFAULT_STRATEGY
    )
