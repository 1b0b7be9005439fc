"""Reports: many runs through any executor, and how they compare."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, Final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpointslice import (
    Cost,
    Generational,
    KubernetesPacking,
    MinimalWrites,
    Packing,
    PackingStrategy,
)
from endpointslice.diff import Diff
from endpointslice.errors import UnsoundPlanError
from endpointslice.models import FrozenDict, ObjectReference
from endpointslice.simulate import (
    Change,
    Job,
    PodState,
    Result,
    Run,
    Sync,
    Trace,
    compare,
    run_all,
    simulate,
    summarize,
)
from tests.test_traces import trace, traces

READY: Final = PodState.READY
KUBERNETES, MINIMAL, GENERATIONAL = KubernetesPacking(), MinimalWrites(), Generational()


@attrs.frozen
class Growing:
    """A source of traces: so many pods as the seed says come, one a second."""

    name: str = "growing"

    def trace(self, seed: int) -> Trace:
        changes = (Change(1000 * pod, pod, READY, 0) for pod in range(seed))
        return attrs.evolve(trace(*changes), name=self.name, reference=FrozenDict(writes=10))


JOBS: Final = tuple(
    Job(source=Growing(), strategy=strategy, seed=seed, max_endpoints_per_slice=2)
    for seed in (3, 5, 1)
    for strategy in (KUBERNETES, MINIMAL)
)


# --- jobs -------------------------------------------------------------------------------------


def test_a_job_runs_its_strategy_on_its_trace() -> None:
    one = attrs.evolve(Growing().trace(3), nodes=9)
    job = Job(source=one, strategy=MINIMAL, max_endpoints_per_slice=2, sync_period=500)
    assert job.run() == Result(
        job=job,
        run=simulate(one, MINIMAL, max_endpoints_per_slice=2, sync_period=500),
        nodes=9,
        reference={"writes": 10},
    )


def test_a_job_makes_the_trace_of_its_seed() -> None:
    for seed in (4, 2, 4):
        job = Job(source=Growing(), strategy=MINIMAL, seed=seed)
        assert job.run().run == simulate(Growing().trace(seed), MINIMAL)


def test_a_job_can_give_pods_random_uids() -> None:
    seen: list[ObjectReference | None] = []

    @attrs.frozen
    class Spy:
        def pack(self, diff: Diff) -> Packing:
            seen.extend(endpoint.target_ref for endpoint in diff.new)
            return MINIMAL.pack(diff)

    for random_uids in (False, True):
        Job(source=Growing(), strategy=Spy(), seed=1, random_uids=random_uids).run()
    plain, random = (target.uid for target in seen if target is not None)
    made = Growing().trace(1).with_random_uids(1).endpoint(0, 0, READY).target_ref
    assert made is not None
    assert random == made.uid != plain


def test_a_job_can_be_pickled_and_says_little_of_its_trace() -> None:
    job = Job(source=Growing().trace(3), strategy=GENERATIONAL)
    assert pickle.loads(pickle.dumps(job)) == job
    assert repr(job).startswith("Job(source=growing, strategy=Generational(")


@attrs.frozen
class Losing:
    """A strategy that loses every endpoint."""

    def pack(self, diff: Diff) -> Packing:
        return Packing(())


def test_a_job_checks_plans_unless_it_is_told_not_to() -> None:
    job = Job(source=Growing(), strategy=Losing(), seed=1)
    with pytest.raises(UnsoundPlanError):
        job.run()
    assert attrs.evolve(job, check=False).run().run.writes == 0


# --- executors --------------------------------------------------------------------------------


def _processes() -> Executor:
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


@pytest.mark.parametrize(
    "pool", [lambda: ThreadPoolExecutor(3), _processes], ids=["threads", "processes"]
)
def test_results_do_not_depend_on_the_executor(pool: Callable[[], Executor]) -> None:
    history = Growing().trace(7)
    jobs = [
        Job(source=history, strategy=strategy, sync_period=period, max_endpoints_per_slice=2)
        for strategy in (KUBERNETES, MINIMAL, GENERATIONAL)
        for period in (100, 5000)
    ]
    here = list(run_all(jobs))
    assert [result.job for result in here] == jobs
    told: list[Result] = []
    with pool() as executor:
        assert list(run_all(jobs, executor, progress=told.append)) == here
    assert sorted(map(repr, told)) == sorted(map(repr, here))


@given(st.lists(traces(), max_size=4), st.sampled_from((KUBERNETES, MINIMAL, GENERATIONAL)))
def test_results_come_in_the_order_of_the_jobs(
    histories: list[Trace], strategy: PackingStrategy
) -> None:
    jobs = [Job(source=one, strategy=strategy) for one in histories]
    with ThreadPoolExecutor(2) as executor:
        assert list(run_all(jobs, executor)) == list(run_all(jobs)) == [job.run() for job in jobs]


class Manual(Executor):
    """An executor whose jobs are done when a test says so."""

    def __init__(self, *now: int) -> None:
        self.futures: list[Future[Any]] = []
        self._work: list[Callable[[], Any]] = []
        self._now = now

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.futures.append(future)
        self._work.append(lambda: fn(*args, **kwargs))
        for i in self._now if len(self.futures) == len(JOBS) else ():
            self.finish(i)
        return future

    def finish(self, i: int) -> None:
        try:
            self.futures[i].set_result(self._work[i]())
        except UnsoundPlanError as error:
            self.futures[i].set_exception(error)


def test_what_is_done_early_waits_for_what_comes_before_it_and_is_told_at_once() -> None:
    executor = Manual(3, 2)
    here = [job.run() for job in JOBS]
    told: list[Result] = []

    def tell(result: Result) -> None:
        told.append(result)
        if len(told) == 2:
            executor.finish(0)
        if len(told) == 3:
            executor.finish(1)

    results = run_all(JOBS, executor, progress=tell)
    assert next(results) == here[0]
    assert told == [here[2], here[3], here[0]]
    assert [next(results), next(results), next(results)] == here[1:4]
    assert told == [here[2], here[3], here[0], here[1]]


def test_who_stops_early_has_what_came_so_far_and_cancels_the_rest() -> None:
    executor = Manual(0, 1, 4)
    seen = []
    results = run_all(JOBS, executor)
    seen += [next(results), next(results)]
    results.close()
    assert seen == [JOBS[0].run(), JOBS[1].run()]
    assert [future.cancelled() for future in executor.futures] == [
        False,
        False,
        True,
        True,
        False,
        True,
    ]


def test_an_interrupt_while_waiting_cancels_the_rest() -> None:
    executor = Manual(0)

    def interrupt(result: Result) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_all(JOBS, executor, progress=interrupt))
    assert [future.cancelled() for future in executor.futures] == [False] + [True] * 5


def test_jobs_are_taken_as_they_are_needed() -> None:
    taken = []

    def jobs() -> Iterator[Job]:
        for job in JOBS:
            taken.append(job)
            yield job

    results = run_all(jobs(), progress=lambda result: taken.append(result.job))
    next(results)
    assert taken == [JOBS[0]] * 2
    next(results)
    assert taken == [JOBS[0]] * 2 + [JOBS[1]] * 2


def test_more_jobs_than_are_handed_over_at_once_are_all_done() -> None:
    jobs = [Job(source=trace(), strategy=MINIMAL, seed=i) for i in range(600)]
    with ThreadPoolExecutor(2) as executor:
        assert [result.job.seed for result in run_all(jobs, executor)] == list(range(600))


def test_a_job_that_fails_is_raised_in_its_turn() -> None:
    jobs = [
        *JOBS[:2],
        *(Job(source=Growing(), strategy=Losing(), seed=i) for i in (1, 2)),
        *JOBS[2:4],
    ]
    executor = Manual(5, 4, 3, 2, 1, 0)
    results = run_all(jobs, executor)
    assert [next(results), next(results)] == [JOBS[0].run(), JOBS[1].run()]
    with pytest.raises(UnsoundPlanError):
        next(results)
    assert list(results) == []


# --- comparing --------------------------------------------------------------------------------


def made(
    name: str,
    strategy: PackingStrategy,
    seed: int = 0,
    *,
    writes: int = 4,
    size: int = 100,
    slices: int = 2,
    reference: Mapping[str, int] = FrozenDict(),
    **options: Any,
) -> Result:
    """A result as if a run of two syncs had cost so much."""
    job = Job(source=Growing(name), strategy=strategy, seed=seed, **options)
    first = Cost(creates=1, bytes_written=size - 1, endpoints_moved=2)
    second = Cost(updates=writes - 1, bytes_written=1, endpoints_moved=1)
    run = Run(
        trace=name,
        strategy=strategy,
        max_endpoints_per_slice=job.max_endpoints_per_slice,
        sync_period=job.sync_period,
        syncs=(
            Sync(at=1000, cost=first, slices=slices, endpoints=50 * slices),
            Sync(at=2000, cost=second, slices=1, endpoints=100),
        ),
    )
    return Result(job=job, run=run, nodes=1, reference=reference)


def test_a_row_says_what_a_run_cost_and_how_that_compares() -> None:
    mine, base = (
        made("a", MINIMAL, writes=6, size=300, slices=3),
        made("a", KUBERNETES, writes=12, size=200, slices=2),
    )
    row, other = compare([mine, base])
    assert (row.name, row.strategy, row.random_uids) == ("a", MINIMAL, False)
    assert (row.max_endpoints_per_slice, row.sync_period, row.runs) == (100, 1000, 1)
    assert (row.writes, row.bytes_written, row.endpoints_moved) == (6, 300, 3)
    assert (row.peak_slices, row.final_slices, row.longest_plan) == (3, 1, 5)
    assert (row.mean_fill, row.lower_bound) == (0.75, 2)
    assert row.writes_ratio == pytest.approx(0.5)
    assert row.bytes_ratio == pytest.approx(1.5)
    assert row.peak_slices_ratio == pytest.approx(1.5)
    assert row.bound_ratio == pytest.approx(3)
    assert other.strategy == KUBERNETES
    assert (other.writes_ratio, other.bytes_ratio, other.peak_slices_ratio) == (1, 1, 1)


def test_a_row_is_the_mean_of_its_seeds_and_its_ratios_are_geometric() -> None:
    (row, _) = compare(
        [
            made("a", MINIMAL, 1, writes=2),
            made("a", KUBERNETES, 1, writes=8),
            made("a", KUBERNETES, 2, writes=8),
            made("a", MINIMAL, 2, writes=8),
        ]
    )
    assert (row.runs, row.writes) == (2, 5)
    assert row.writes_ratio == pytest.approx(0.5)


def test_a_run_is_compared_with_the_baselines_run_of_the_same_trace() -> None:
    results = [
        made("a", KUBERNETES, 1, writes=10),
        made("a", KUBERNETES, 2, writes=20),
        made("a", KUBERNETES, 1, writes=30, sync_period=500),
        made("a", KUBERNETES, 1, writes=40, random_uids=True),
        made("a", KUBERNETES, 1, writes=50, max_endpoints_per_slice=10),
        made("b", KUBERNETES, 1, writes=60),
    ]
    mine = [
        made(item.job.source.name, MINIMAL, writes=10, **_options(item.job)) for item in results
    ]
    for one, rival in zip(mine, results, strict=True):
        row = compare([one, *results])[0]
        assert row.writes_ratio == pytest.approx(10 / rival.run.writes)


def _options(job: Job) -> dict[str, Any]:
    return {
        "seed": job.seed,
        "sync_period": job.sync_period,
        "random_uids": job.random_uids,
        "max_endpoints_per_slice": job.max_endpoints_per_slice,
    }


def test_rows_are_one_for_each_history_and_strategy_in_the_order_of_their_first_results() -> None:
    rows = compare(
        [
            made("b", MINIMAL, 1),
            made("a", KUBERNETES, 1),
            made("b", MINIMAL, 2),
            made("b", MINIMAL, 1, sync_period=5),
            made("b", KUBERNETES, 1),
        ]
    )
    assert [(row.name, row.strategy, row.sync_period, row.runs) for row in rows] == [
        ("b", MINIMAL, 1000, 2),
        ("a", KUBERNETES, 1000, 1),
        ("b", MINIMAL, 5, 1),
        ("b", KUBERNETES, 1000, 1),
    ]


def test_without_a_baseline_there_are_no_ratios_to_it() -> None:
    (row,) = compare([made("a", MINIMAL)])
    assert (row.writes_ratio, row.bytes_ratio, row.peak_slices_ratio) == (None, None, None)
    assert row.bound_ratio == pytest.approx(2)
    (row, _) = compare([made("a", MINIMAL, 1), made("a", MINIMAL, 2), made("a", KUBERNETES, 2)])
    assert row.writes_ratio == 1


def test_any_strategy_can_be_the_baseline() -> None:
    rows = compare([made("a", MINIMAL, writes=8), made("a", KUBERNETES)], baseline=MINIMAL)
    assert [row.writes_ratio for row in rows] == [1, pytest.approx(0.5)]


def test_the_recorded_totals_can_be_the_baseline() -> None:
    recorded = {"writes": 8, "bytes": 50, "peak_slices": 4, "steps_with_change": 2}
    (row,) = compare([made("a", MINIMAL, reference=recorded)], baseline=None)
    assert row.writes_ratio == pytest.approx(0.5)
    assert row.bytes_ratio == pytest.approx(2)
    assert row.peak_slices_ratio == pytest.approx(0.5)
    (row,) = compare([made("a", MINIMAL, reference={"writes": 8})], baseline=None)
    assert row.writes_ratio == pytest.approx(0.5)
    assert row.bytes_ratio is None


def test_nothing_compares_with_nothing_as_one() -> None:
    jobs = [Job(source=trace(), strategy=strategy) for strategy in (MINIMAL, KUBERNETES)]
    (row, _) = compare(run_all(jobs))
    assert (row.writes_ratio, row.bytes_ratio, row.bound_ratio) == (1, 1, 1)
    (row,) = compare([made("a", MINIMAL, reference={"writes": 0})], baseline=None)
    assert row.writes_ratio is None


def test_a_summary_is_the_geometric_mean_over_histories() -> None:
    rows = compare(
        [
            made("a", MINIMAL, writes=2, size=400, slices=3),
            made("a", KUBERNETES, writes=8, size=100, slices=3),
            made("b", MINIMAL, writes=8, size=100, slices=3),
            made("b", KUBERNETES, writes=8, size=100, slices=12),
            made("c", MINIMAL, writes=8),
        ]
    )
    mean, base = summarize(rows)
    ratios = (mean.writes_ratio, mean.bytes_ratio, mean.peak_slices_ratio, mean.bound_ratio)
    assert ratios == pytest.approx((0.5, 2, 0.5, 16 ** (1 / 3)))
    assert attrs.astuple(mean, recurse=False)[:6] == (MINIMAL, False, 100, 1000, None, 3)
    assert (base.strategy, base.rows, base.writes_ratio) == (KUBERNETES, 2, 1)


def test_a_summary_tells_periods_capacities_and_controls_apart() -> None:
    options: list[dict[str, Any]] = [
        {},
        {"sync_period": 5},
        {"random_uids": True},
        {"max_endpoints_per_slice": 5},
    ]
    rows = compare(made("a", MINIMAL, **option) for option in options)
    assert [
        (mean.sync_period, mean.random_uids, mean.max_endpoints_per_slice, mean.rows)
        for mean in summarize(rows)
    ] == [(1000, False, 100, 1), (5, False, 100, 1), (1000, True, 100, 1), (1000, False, 5, 1)]
    assert summarize([]) == ()
