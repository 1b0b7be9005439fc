"""A real cluster at rest needs nothing.

tests/data/real holds what a Kubernetes 1.36 cluster stored, cut to what is read: Services, their
Pods and slices in full, and the zones and CPUs of the Nodes. Its controller had nothing left to do.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from endpointslice import (
    EndpointGroup,
    EndpointSlice,
    Generational,
    HintFallbackReason,
    KubernetesPacking,
    MinimalWrites,
    Node,
    PackingStrategy,
    Pod,
    Service,
    ServicePlan,
    apply_plan,
    check_plan,
    decode_node,
    decode_pod,
    decode_service,
    decode_slice,
    encode_slice,
    reconcile_service,
)

_DATA: Final = Path(__file__).parent / "data" / "real"
RECORDINGS: Final = ("web-rolling", "headless-db", "fragmented", "topo")
STRATEGIES: Final = [
    MinimalWrites(),
    MinimalWrites(merge=False),
    Generational(),
    KubernetesPacking(),
]

every_strategy = pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
#: Generational takes the occasion to fold slices, which costs writes once.
per_plan = pytest.mark.parametrize(
    "strategy", [item for item in STRATEGIES if not isinstance(item, Generational)], ids=str
)
every_recording = pytest.mark.parametrize("recording", RECORDINGS)


@attrs.frozen
class Cluster:
    services: tuple[Service, ...]
    pods: tuple[Pod, ...]
    nodes: tuple[Node, ...]
    slices: tuple[EndpointSlice, ...]

    def plan(self, service: Service, **options: Any) -> ServicePlan:
        return reconcile_service(service, self.pods, self.nodes, self.slices, **options)

    def slices_of(self, service: Service) -> tuple[EndpointSlice, ...]:
        return tuple(
            item
            for item in self.slices
            if item.metadata.namespace == service.metadata.namespace
            and item.metadata.labels["kubernetes.io/service-name"] == service.metadata.name
        )


def manifests(recording: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]]
    found = json.loads(gzip.decompress((_DATA / f"{recording}.json.gz").read_bytes()))
    return found


@lru_cache
def cluster(recording: str) -> Cluster:
    found = manifests(recording)
    return Cluster(
        services=tuple(map(decode_service, found["services"])),
        pods=tuple(map(decode_pod, found["pods"])),
        nodes=tuple(map(decode_node, found["nodes"])),
        slices=tuple(map(decode_slice, found["endpointSlices"])),
    )


@every_recording
@every_strategy
def test_a_cluster_at_rest_needs_no_writes(recording: str, strategy: PackingStrategy) -> None:
    found = cluster(recording)
    for service in found.services:
        result = found.plan(service, strategy=strategy)
        assert result.plan.operations == ()
        assert result.plan.minimum_writes == 0
        assert result.plan.unchanged == tuple(
            sorted(found.slices_of(service), key=lambda item: item.name)
        )
        reasons = [item.reason for item in result.hint_fallbacks]
        few = HintFallbackReason.INSUFFICIENT_NUMBER_OF_ENDPOINTS
        assert reasons == ([few] if service.metadata.name == "auto-few" else [])


@every_recording
@every_strategy
def test_slices_made_from_nothing_hold_what_the_cluster_stores(
    recording: str, strategy: PackingStrategy
) -> None:
    found = cluster(recording)
    for service in found.services:
        empty = attrs.evolve(found, slices=())
        plan = empty.plan(service, strategy=strategy).plan
        made = apply_plan((), plan)
        assert _hint_counts(made) == _hint_counts(found.slices_of(service))
        if service.metadata.name != "auto-uneven":  # which endpoints go elsewhere is arbitrary
            assert _contents(made) == _contents(found.slices_of(service))
        labels = {item.metadata.labels for item in found.slices_of(service)}
        assert {item.metadata.labels for item in made} == labels
        for item in made:
            assert item.metadata.owner_references == (
                found.slices_of(service)[0].metadata.owner_references
            )


def _hint_counts(slices: tuple[EndpointSlice, ...]) -> Counter[tuple[Any, ...]]:
    return Counter(
        (item.group_key, endpoint.hints) for item in slices for endpoint in item.endpoints
    )


def _contents(slices: tuple[EndpointSlice, ...]) -> set[tuple[Any, ...]]:
    return {(item.group_key, endpoint) for item in slices for endpoint in item.endpoints}


@every_recording
def test_what_the_server_stores_survives_decode_and_encode(recording: str) -> None:
    for manifest in manifests(recording)["endpointSlices"]:
        assert encode_slice(decode_slice(manifest)) == manifest


@per_plan
def test_a_pod_that_is_gone_costs_a_fragmented_service_one_write(
    strategy: PackingStrategy,
) -> None:
    found = cluster("fragmented")
    (service,) = found.services
    gone = attrs.evolve(found, pods=found.pods[1:])
    plan = gone.plan(service, strategy=strategy).plan
    assert len(plan.operations) == plan.minimum_writes == 1
    after = apply_plan(found.slices, plan)
    assert sum(len(item.endpoints) for item in after) == len(found.pods) - 1


@pytest.mark.parametrize("strategy", STRATEGIES[:2], ids=str)
def test_a_lower_capacity_splits_the_slices_of_a_real_service(strategy: PackingStrategy) -> None:
    found = cluster("web-rolling")
    (service,) = found.services
    plan = found.plan(service, strategy=strategy, max_endpoints_per_slice=25).plan
    after = apply_plan(found.slices, plan)
    assert max(len(item.endpoints) for item in after) <= 25
    assert _contents(after) == _contents(found.slices)
    desired = [EndpointGroup(key=item.group_key, endpoints=item.endpoints) for item in after]
    problems = check_plan(plan, desired=desired, current=found.slices, max_endpoints_per_slice=25)
    assert problems == ()
