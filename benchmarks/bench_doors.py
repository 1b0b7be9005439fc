"""The doors: Pods to groups, JSON objects to models and back, sizes."""

from __future__ import annotations

import json
from functools import lru_cache
from random import Random
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.scenarios import (
    CAPACITY,
    PORTS,
    SIZES,
    Population,
    pods_and_nodes,
    service,
    slice_texts,
)
from benchmarks.timing import benchmarked
from endpointslice import (
    EndpointSlice,
    decode_pods,
    decode_slice,
    decode_slices,
    encode_slices,
    group_endpoints,
    json_size,
    protobuf_size,
    reconcile_service,
    select_pods,
)


@lru_cache(maxsize=1)
def _manifests(n: int) -> list[dict[str, Any]]:
    return [
        json.loads(text) for text in slice_texts(Population(Random(1), max(1, n // 30)).rows(n))
    ]


@lru_cache(maxsize=1)
def _slices(n: int) -> list[EndpointSlice]:
    return list(decode_slices(_manifests(n)))


_pods = lru_cache(maxsize=1)(pods_and_nodes)


@pytest.mark.parametrize("n", SIZES)
def test_decode_slices(benchmark: BenchmarkFixture, n: int) -> None:
    manifests = _manifests(n)
    slices = benchmarked(benchmark, lambda: decode_slices(manifests), n)
    assert len(slices) == n // CAPACITY
    assert sum(len(stored.endpoints) for stored in slices) == n


@pytest.mark.parametrize("n", SIZES)
def test_decode_each_slice(benchmark: BenchmarkFixture, n: int) -> None:
    manifests = _manifests(n)
    slices = benchmarked(benchmark, lambda: tuple(map(decode_slice, manifests)), n)
    assert slices == tuple(_slices(n))


@pytest.mark.parametrize("n", SIZES)
def test_decode_pods(benchmark: BenchmarkFixture, n: int) -> None:
    manifests = [row.pod_manifest() for row in Population(Random(1), max(1, n // 30)).rows(n)]
    pods = benchmarked(benchmark, lambda: decode_pods(manifests), n)
    assert len(pods) == n


@pytest.mark.parametrize("n", SIZES)
def test_encode_slices(benchmark: BenchmarkFixture, n: int) -> None:
    slices = _slices(n)
    manifests = benchmarked(benchmark, lambda: encode_slices(slices), n)
    assert manifests == _manifests(n)


@pytest.mark.parametrize("n", SIZES)
def test_group_endpoints(benchmark: BenchmarkFixture, n: int) -> None:
    pods, nodes = _pods(n)
    owner = service()
    grouping = benchmarked(
        benchmark,
        lambda: group_endpoints(owner, select_pods(owner, pods), nodes),
        n,
    )
    (found,) = grouping.groups
    assert grouping.skipped == ()
    assert len(found.endpoints) == n
    assert found.key.ports[0].port == PORTS[0]["port"]


@pytest.mark.parametrize("n", SIZES)
def test_reconcile_service_cold(benchmark: BenchmarkFixture, n: int) -> None:
    pods, nodes = _pods(n)
    owner = service()
    found = benchmarked(benchmark, lambda: reconcile_service(owner, pods, nodes, ()), n)
    assert len(found.plan.creates) == len(found.plan.operations) == n // CAPACITY


@pytest.mark.parametrize("n", SIZES)
def test_protobuf_size(benchmark: BenchmarkFixture, n: int) -> None:
    slices = _slices(n)
    found = benchmarked(benchmark, lambda: sum(map(protobuf_size, slices)), n)
    assert n * 100 < found < n * 200


@pytest.mark.parametrize("n", SIZES)
def test_json_size(benchmark: BenchmarkFixture, n: int) -> None:
    slices = _slices(n)
    found = benchmarked(benchmark, lambda: sum(map(json_size, slices)), n)
    assert found > n * 250
