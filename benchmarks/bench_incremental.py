"""Plans from changes: one and many, and whole states, at every size."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cases import APPLY, WHOLE, Case
from benchmarks.scenarios import CAPACITY, SIZES
from benchmarks.timing import benchmarked
from endpointslice import IncrementalReconciler, Plan

_STRATEGIES = ["default", "MinimalWrites"]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("strategy", _STRATEGIES)
@pytest.mark.parametrize("case", APPLY, ids=lambda case: case.title)
def test_apply(benchmark: BenchmarkFixture, case: Case, strategy: str, n: int) -> None:
    # A change takes as long whatever n is, so there are as many rounds at every size.
    plan: Any = benchmarked(benchmark, case.things[strategy](n, 0), SIZES[0])
    assert isinstance(plan, Plan)
    assert plan.is_empty == (case.title == "an upsert that changes nothing")


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.title)
def test_whole_state(benchmark: BenchmarkFixture, case: Case, n: int) -> None:
    found: Any = benchmarked(benchmark, case.things["default"](n, 0), n)
    if isinstance(found, IncrementalReconciler):
        assert len(found.slices) == n // CAPACITY
    else:
        assert found.is_empty
        assert len(found.unchanged) == n // CAPACITY
