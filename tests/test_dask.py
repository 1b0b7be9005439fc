"""Runs on a Dask cluster are those that are made here."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor

import pytest
from distributed import Client, LocalCluster

from endpointslice.packing import Generational, KubernetesPacking
from endpointslice.simulate import Job, compare, decode_trace, run_all
from endpointslice.simulate.workloads import WORKLOADS


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    """Two workers of one thread each, in this process."""
    cluster = LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    )
    with cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
        yield client.get_executor()


def jobs() -> Iterator[Job]:
    """Runs of a workload, of which each worker makes its traces, and of a trace that is sent."""
    steps = [{"add": [[i, i % 3, "n"] for i in range(20)]}, {"set": [[i, "r"] for i in range(20)]}]
    sent = decode_trace({"nodes": 3, "zones": 1, "steps": steps}, name="sent")
    for source in (WORKLOADS["roll-out-10-x3"], sent):
        for seed in range(2):
            for strategy in (KubernetesPacking(), Generational()):
                yield Job(source=source, strategy=strategy, seed=seed, max_endpoints_per_slice=5)


def test_results_of_a_dask_cluster_are_those_of_this_process(executor: Executor) -> None:
    here = list(run_all(jobs()))
    there = list(run_all(jobs(), executor))
    assert there == here
    assert compare(there) == compare(here)


def test_progress_is_told_of_every_run_of_a_dask_cluster(executor: Executor) -> None:
    told: list[Job] = []
    results = list(run_all(jobs(), executor, progress=lambda result: told.append(result.job)))
    assert len(told) == len(results) == 8
