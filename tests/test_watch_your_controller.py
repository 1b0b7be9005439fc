"""The metrics of docs/how-to/watch-your-controller.md, scraped after a few syncs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from endpointslice import (
    Endpoint,
    EndpointGroup,
    EndpointPort,
    EndpointSlice,
    GroupKey,
    Service,
    SkippedPod,
    SkipReason,
    apply_plan,
    decode_service,
    reconcile,
    slice_template,
)
from endpointslice.clients import ApplyResult, apply_plan_to, list_slices
from endpointslice.testing import Cluster, Denial, Fault, FaultKind
from tests.test_docs import blocks

#: k8s.io/endpointslice metrics/metrics.go: the type here, and the labels.
THEIRS: Final = {
    "changes": ("gauge", {"operation"}),
    "desired_endpoint_slices": ("gauge", set()),
    "endpoints_added_per_sync": ("histogram", set()),
    "endpoints_desired": ("gauge", set()),
    "endpoints_removed_per_sync": ("histogram", set()),
    "endpointslices_changed_per_sync": ("histogram", {"topology", "traffic_distribution"}),
    "num_endpoint_slices": ("gauge", set()),
    "services_count_by_traffic_distribution": ("gauge", {"traffic_distribution"}),
    "syncs": ("gauge", {"result"}),
}


@attrs.define
class Controller:
    """One that syncs when it is told to, and counts."""

    cluster: Cluster
    metrics: Any
    registry: CollectorRegistry

    def sync(
        self,
        name: str,
        count: int,
        *,
        current: tuple[EndpointSlice, ...] | None = None,
        skipped: tuple[SkippedPod, ...] = (),
        **options: Any,
    ) -> ApplyResult:
        service = self.service(name)
        client = self.cluster
        if current is None:
            current = list_slices(client, "shop", service=name).slices
        key = GroupKey(address_type="IPv4", ports=[EndpointPort(port=80)])
        endpoints = [Endpoint([f"10.0.{i // 250}.{i % 250 + 1}"]) for i in range(count)]
        plan = reconcile(
            [EndpointGroup(key=key, endpoints=endpoints)],
            current,
            template=slice_template(service, managed_by="test"),
        )
        result = apply_plan_to(client, plan, sleep=lambda _: None)
        stand = apply_plan(current, result.written)
        self.metrics.synced(service, result, stand, skipped=skipped, **options)
        return result

    def service(self, name: str) -> Service:
        (found,) = (
            item
            for item in self.cluster.objects("services", "shop")
            if item["metadata"]["name"] == name
        )
        return decode_service(found)

    def scrape(self) -> dict[str, float]:
        text = generate_latest(self.registry).decode()
        return {
            sample.name + spelled(sample.labels): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def theirs(self, name: str) -> float:
        return self.scrape()[f"endpoint_slice_controller_{name}"]


def spelled(labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return f"{{{inner}}}" if inner else ""


@pytest.fixture(scope="module")
def make_metrics() -> Callable[[CollectorRegistry], Any]:
    """The class of the page."""
    code = next(
        item.body
        for item in blocks("docs/how-to/watch-your-controller.md")
        if item.language == "python"
    )
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    made: Callable[[CollectorRegistry], Any] = namespace["ControllerMetrics"]
    return made


@pytest.fixture
def controller(make_metrics: Callable[[CollectorRegistry], Any]) -> Controller:
    cluster = Cluster(namespaces=["shop"])
    specs: dict[str, dict[str, Any]] = {
        "plain": {},
        "near": {"trafficDistribution": "PreferClose"},
        "own": {"trafficDistribution": "example.com/fair"},
        "auto": {"trafficDistribution": "PreferClose"},
    }
    auto = {"service.kubernetes.io/topology-mode": "Auto"}
    for name, spec in specs.items():
        meta = {"name": name, "namespace": "shop", "annotations": auto if name == "auto" else {}}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": meta}
        cluster.load([{**service, "spec": {"ports": [{"port": 80}], **spec}}])
    registry = CollectorRegistry()
    return Controller(cluster, make_metrics(registry), registry)


def test_the_names_types_and_labels_are_those_of_kubernetes(controller: Controller) -> None:
    controller.sync("near", 3)
    text = generate_latest(controller.registry).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        labels = {name for sample in family.samples for name in sample.labels}
        found[family.name] = (family.type, labels - {"le"})
    prefix = "endpoint_slice_controller_"
    assert {
        name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)
    } == THEIRS
    assert all(name.startswith((prefix, "endpointslice_")) for name in found)
    assert "_created" not in text
    for name in ("added", "removed"):
        assert f'{prefix}endpoints_{name}_per_sync_bucket{{le="32768.0"}} 1.0' in text


def test_what_is_written_is_counted(controller: Controller) -> None:
    controller.sync("plain", 120)
    controller.sync("plain", 100)
    controller.sync("plain", 100)
    assert controller.theirs("endpoints_added_per_sync_count") == 3
    assert controller.theirs("endpoints_added_per_sync_sum") == 120
    assert controller.theirs("endpoints_removed_per_sync_sum") == 20
    changes = {
        operation: controller.theirs(f'changes{{operation="{operation}"}}')
        for operation in ("create", "update", "delete")
    }
    assert changes["create"] == 2
    written = '{topology="Disabled",traffic_distribution=""}'
    assert controller.theirs(f"endpointslices_changed_per_sync_sum{written}") == sum(
        changes.values()
    )
    assert controller.theirs(f"endpointslices_changed_per_sync_count{written}") == 3
    assert controller.theirs('syncs{result="success"}') == 3
    scraped = controller.scrape()
    assert scraped['endpointslice_operations_total{outcome="applied"}'] == sum(changes.values())
    assert scraped["endpointslice_requests_total"] == sum(changes.values())
    assert scraped["endpointslice_written_bytes_total"] > 0


def test_the_gauges_are_sums_over_services_and_forget_those_that_are_gone(
    controller: Controller,
) -> None:
    pods = [
        SkippedPod(namespace="shop", name="a", reason=SkipReason.NO_IP),
        SkippedPod(namespace="shop", name="b", reason=SkipReason.NO_IP),
    ]
    controller.sync("plain", 120)
    controller.sync("near", 5, skipped=tuple(pods))
    controller.sync("own", 5)
    controller.sync("auto", 5, skipped=tuple(pods[:1]))
    assert controller.theirs("endpoints_desired") == 135
    assert controller.theirs("num_endpoint_slices") == 5
    assert controller.theirs("desired_endpoint_slices") == 5
    assert controller.scrape()['endpointslice_pods_skipped{reason="NoIP"}'] == 3
    by_wish = 'services_count_by_traffic_distribution{{traffic_distribution="{}"}}'.format
    assert controller.theirs(by_wish("PreferClose")) == 2
    assert controller.theirs(by_wish("ImplementationSpecific")) == 1
    changed = (
        'endpointslices_changed_per_sync_sum{{topology="{}",traffic_distribution="{}"}}'.format
    )
    assert controller.theirs(changed("Disabled", "PreferClose")) == 1
    assert controller.theirs(changed("Auto", "")) == 1
    assert controller.theirs(changed("Disabled", "ImplementationSpecific")) == 1

    controller.sync("near", 5, skipped=tuple(pods[:1]))
    assert controller.scrape()['endpointslice_pods_skipped{reason="NoIP"}'] == 2
    for name in ("plain", "near", "own", "auto"):
        controller.metrics.forget(controller.service(name))
    assert controller.theirs("endpoints_desired") == 0
    assert controller.theirs("num_endpoint_slices") == 0
    assert controller.theirs("desired_endpoint_slices") == 0
    assert controller.scrape()['endpointslice_pods_skipped{reason="NoIP"}'] == 0
    assert controller.theirs(by_wish("PreferClose")) == 0


def test_a_service_that_is_not_well_packed_shows(controller: Controller) -> None:
    controller.sync("plain", 300)
    controller.sync("plain", 40)
    fills = controller.theirs("num_endpoint_slices"), controller.theirs("desired_endpoint_slices")
    assert fills[1] == 1
    assert len(controller.cluster.objects("endpointslices")) == fills[0]


def test_failures_and_retries_show(controller: Controller) -> None:
    cluster = controller.cluster
    controller.metrics.stale()
    cluster.inject(Fault(kind=FaultKind.TOO_MANY_REQUESTS, verb="create", retry_after=2))
    assert controller.sync("plain", 5).is_complete
    scraped = controller.scrape()
    assert scraped["endpointslice_retries_total"] == 1
    assert scraped["endpointslice_waited_seconds_total"] >= 2
    assert scraped["endpointslice_requests_total"] == 2

    # A conflict: planned from slices that have changed since.
    old = list_slices(cluster, "shop").slices
    controller.sync("plain", 0)
    assert controller.sync("plain", 3, current=old).is_stale
    cluster.deny(Denial(verb="create", resource="endpointslices"))
    assert not controller.sync("near", 3).is_complete
    scraped = controller.scrape()
    assert scraped['endpointslice_operations_total{outcome="conflict"}'] == 1
    assert scraped['endpointslice_operations_total{outcome="refused"}'] == 1
    assert controller.theirs('syncs{result="stale"}') == 1
    assert controller.theirs('syncs{result="error"}') == 2
    assert controller.theirs('syncs{result="success"}') == 2
    near = '{topology="Disabled",traffic_distribution="PreferClose"}'
    assert f"endpoint_slice_controller_endpointslices_changed_per_sync_sum{near}" not in scraped


def test_latency_is_measured_from_the_change_to_the_last_write(controller: Controller) -> None:
    now = datetime(2026, 1, 1, 0, 0, 10, 500_000, tzinfo=UTC)
    since = "2026-01-01T00:00:08.250000000Z"
    controller.sync("plain", 5, trigger_time=since, now=now)
    controller.sync("plain", 5, trigger_time=since, now=now)  # which writes nothing
    scraped = controller.scrape()
    name = "endpointslice_programming_duration_seconds"
    assert scraped[f"{name}_count"] == 1
    assert scraped[f"{name}_sum"] == pytest.approx(2.25)
    assert scraped[f'{name}_bucket{{le="3.0"}}'] == 1
    assert scraped[f'{name}_bucket{{le="2.0"}}'] == 0
