"""The Endpoints API: an object of 5,000 addresses to slices, and back."""

from __future__ import annotations

from typing import Any

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.timing import benchmarked
from endpointslice import (
    EndpointSlice,
    apply_plan,
    decode_endpoints,
    encode_endpoints,
    encode_slices,
    endpoints_to_groups,
    mirror_template,
    reconcile,
    slices_to_endpoints,
)

_ADDRESSES = 5000


def _manifest() -> dict[str, Any]:
    addresses = [
        {
            "ip": f"10.0.{i >> 8}.{i & 255}",
            "nodeName": f"node-{i % 50}",
            "targetRef": {
                "kind": "Pod",
                "namespace": "shop",
                "name": f"web-{i}",
                "uid": f"{i:032x}",
            },
        }
        for i in range(_ADDRESSES)
    ]
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}]
    return {
        "metadata": {"namespace": "shop", "name": "web", "uid": "e1"},
        "subsets": [{"addresses": addresses, "ports": ports}],
    }


def _to_slices(manifest: dict[str, Any]) -> tuple[EndpointSlice, ...]:
    endpoints = decode_endpoints(manifest)
    plan = reconcile(endpoints_to_groups(endpoints), (), template=mirror_template(endpoints))
    encode_slices(create.after for create in plan.creates)
    return apply_plan((), plan)


def test_from_a_manifest_to_those_of_its_slices(benchmark: BenchmarkFixture) -> None:
    manifest = _manifest()
    made = benchmarked(benchmark, lambda: _to_slices(manifest), _ADDRESSES)
    assert sum(len(item.endpoints) for item in made) == _ADDRESSES


def test_from_slices_to_a_manifest(benchmark: BenchmarkFixture) -> None:
    slices = _to_slices(_manifest())
    made = benchmarked(benchmark, lambda: encode_endpoints(slices_to_endpoints(slices)), _ADDRESSES)
    (subset,) = made["subsets"]
    assert len(subset["addresses"]) == 1000
