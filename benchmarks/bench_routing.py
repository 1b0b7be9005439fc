"""The consumer's side: a watch followed slice by slice, and all of it at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import cycle
from random import Random

import attrs
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.scenarios import CAPACITY, SIZES, Population, slice_texts
from benchmarks.timing import benchmarked
from endpointslice import (
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    Service,
    ServicePort,
    SliceCache,
    decode_slice,
    merge_slices,
    select_endpoints,
)

_EVENTS = 100


@lru_cache(maxsize=1)
def _slices(n: int) -> list[EndpointSlice]:
    return [
        decode_slice(json.loads(text))
        for text in slice_texts(Population(Random(1), max(1, n // 30)).rows(n))
    ]


def _again(stored: EndpointSlice, version: int, place: int) -> EndpointSlice:
    """The slice as a watch shows it next: new objects throughout, one endpoint not ready."""
    members = [
        Endpoint(
            item.addresses,
            EndpointConditions(ready=i != place % len(stored.endpoints)),
            item.hostname,
            item.node_name,
            item.zone,
            item.target_ref,
        )
        for i, item in enumerate(stored.endpoints)
    ]
    meta = attrs.evolve(stored.metadata, resource_version=str(10**9 + version))
    return attrs.evolve(stored, metadata=meta, endpoints=members)


@pytest.mark.parametrize("n", SIZES)
def test_100_updates_of_a_slice_and_what_each_changes(benchmark: BenchmarkFixture, n: int) -> None:
    slices = _slices(n)
    chosen = Random(2).choices(slices, k=_EVENTS)
    # Each event changes something: what it did the last time is undone by one that is like it.
    rounds: Iterator[list[EndpointSlice]] = cycle(
        [_again(stored, i, place) for i, stored in enumerate(chosen)] for place in (1, 2)
    )
    cache = SliceCache(slices)
    cache.take_changes()

    def follow() -> int:
        changed = 0
        for stored in next(rounds):
            cache.update(stored)
            changed += sum(len(change.changed) for change in cache.take_changes())
        return changed

    # Of a few slices most events are about one that an earlier event has changed already.
    assert benchmarked(benchmark, follow, n) >= min(_EVENTS, n // CAPACITY)


@pytest.mark.parametrize("n", SIZES)
def test_merge_slices(benchmark: BenchmarkFixture, n: int) -> None:
    slices = _slices(n)
    merged = benchmarked(benchmark, lambda: merge_slices(slices), n)
    assert {len(backends) for backends in merged.values()} == {n}


@pytest.mark.parametrize("n", SIZES)
def test_select_endpoints(benchmark: BenchmarkFixture, n: int) -> None:
    port, backends = next(iter(merge_slices(_slices(n)).items()))
    meta = attrs.evolve(_slices(n)[0].metadata, namespace=port.namespace, name=port.service)
    service = Service(metadata=meta, ports=(ServicePort(port=80, name=port.name),))
    found = benchmarked(
        benchmark,
        lambda: select_endpoints(service, port, backends, node_name="node-001", zone="zone-a"),
        n,
    )
    assert len(found.internal) == n
