"""Reconcile: every scenario, size and order."""

from __future__ import annotations

from functools import lru_cache

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cases import run_naive, run_reconcile
from benchmarks.compare import check
from benchmarks.scenarios import SIZES, Kind, Order, Scenario, build, build_dicts
from benchmarks.timing import benchmarked
from endpointslice import (
    KubernetesPacking,
    MinimalWrites,
    PackingStrategy,
    apply_plan,
    check_plan,
    reconcile,
)


@lru_cache(maxsize=1)
def _scenario(kind: Kind, n: int, order: Order) -> Scenario:
    return build(kind, n, order)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("kind", Kind)
def test_reconcile(benchmark: BenchmarkFixture, kind: Kind, order: Order, n: int) -> None:
    scenario = _scenario(kind, n, order)
    check(scenario)
    plan = benchmarked(benchmark, lambda: run_reconcile(scenario), n)
    assert len(plan.operations) == scenario.creates + scenario.updates
    assert len(plan.unchanged) == len(scenario.current) - scenario.updates


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("kind", [Kind.NOOP_SHARED, Kind.PERCENT_REPLACED, Kind.COLD])
def test_naive_reconcile(benchmark: BenchmarkFixture, kind: Kind, n: int) -> None:
    scenario = _scenario(kind, n, Order.SHUFFLED)
    dicts = build_dicts(kind, n, Order.SHUFFLED)
    plan = benchmarked(benchmark, lambda: run_naive(dicts), n)
    assert len(plan.creates) + len(plan.updates) == scenario.creates + scenario.updates


@pytest.mark.parametrize(
    "strategy",
    [KubernetesPacking(), MinimalWrites(), MinimalWrites(merge=False)],
    ids=["kubernetes", "minimal", "minimal-no-merge"],
)
@pytest.mark.parametrize("kind", [Kind.PERCENT_REPLACED, Kind.ALL_REPLACED, Kind.COLD])
def test_strategies(benchmark: BenchmarkFixture, kind: Kind, strategy: PackingStrategy) -> None:
    scenario = _scenario(kind, 10_000, Order.SHUFFLED)
    plan = benchmarked(
        benchmark,
        lambda: reconcile(
            scenario.desired, scenario.current, template=scenario.template, strategy=strategy
        ),
        scenario.n,
    )
    assert len(plan.operations) == scenario.creates + scenario.updates == plan.minimum_writes


def test_check_plan(benchmark: BenchmarkFixture) -> None:
    scenario = _scenario(Kind.PERCENT_REPLACED, 10_000, Order.SHUFFLED)
    plan = run_reconcile(scenario)
    problems = benchmarked(
        benchmark,
        lambda: check_plan(
            plan,
            desired=scenario.desired,
            current=scenario.current,
            max_endpoints_per_slice=100,
        ),
        scenario.n,
    )
    assert problems == ()


def test_apply_plan(benchmark: BenchmarkFixture) -> None:
    scenario = _scenario(Kind.PERCENT_REPLACED, 10_000, Order.SHUFFLED)
    plan = run_reconcile(scenario)
    after = benchmarked(benchmark, lambda: apply_plan(scenario.current, plan), scenario.n)
    assert len(after) == len(scenario.current)
