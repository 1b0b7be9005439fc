"""Many runs, on any number of machines, and how they compare: as data, for others to render."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from functools import lru_cache
from itertools import islice
from math import exp, log
from statistics import fmean
from typing import Final, Protocol, TypeAlias, final

import attrs

from endpointslice.hints import HintPolicy
from endpointslice.models import DEFAULT_MAX_ENDPOINTS_PER_SLICE, FrozenDict
from endpointslice.packing import KubernetesPacking, PackingStrategy
from endpointslice.simulate.runs import Run, simulate
from endpointslice.simulate.traces import TICK, Trace

__all__ = ["Job", "Mean", "Result", "Row", "TraceSource", "compare", "run_all", "summarize"]

#: So many jobs are handed to an executor before the first of them is done: enough for many cores.
_AHEAD: Final = 256
_KUBERNETES: Final = KubernetesPacking()


class TraceSource(Protocol):
    """Makes traces: of one name, and for each seed another, always the same."""

    @property
    def name(self) -> str:
        """What its traces are called in reports."""
        ...

    def trace(self, seed: int) -> Trace:
        """Make one."""
        ...

    def __hash__(self) -> int: ...


# --- running ----------------------------------------------------------------------------------


@final
@attrs.frozen(kw_only=True)
class Job:
    """A run to be made. A value that can be pickled, so that it can be made elsewhere.

    Attributes:
        source: What happens: a trace, or what makes one, which costs less to send.
        strategy: Decides who sits where.
        seed: Which of the traces that the source makes.
        random_uids: Whether pods get other uids, which say nothing of who goes when.
        max_endpoints_per_slice: Capacity in endpoints, 1..1000.
        sync_period: How often the controller looks, in milliseconds.
        check: Whether each plan is checked.
        hints: Who should use which endpoint; nobody in particular by default.
    """

    source: Trace | TraceSource = attrs.field(repr=lambda source: source.name)
    strategy: PackingStrategy
    seed: int = 0
    random_uids: bool = False
    max_endpoints_per_slice: int = DEFAULT_MAX_ENDPOINTS_PER_SLICE
    sync_period: int = TICK
    check: bool = True
    hints: HintPolicy | None = None

    def run(self) -> Result:
        """Make the run; see `simulate` for what is raised."""
        return _result(self, _outcome(self))


#: What comes back from where a job ran: all of a result but the job, which may hold a long trace.
_Outcome: TypeAlias = tuple[Run, int, Mapping[str, int]]


def _outcome(job: Job) -> _Outcome:
    source = job.source
    trace = source if isinstance(source, Trace) else _trace_of(source, job.seed)
    run = simulate(
        trace.with_random_uids(job.seed) if job.random_uids else trace,
        job.strategy,
        max_endpoints_per_slice=job.max_endpoints_per_slice,
        sync_period=job.sync_period,
        check=job.check,
        hints=job.hints,
    )
    return run, trace.nodes, trace.reference


def _result(job: Job, outcome: _Outcome) -> Result:
    run, nodes, reference = outcome
    return Result(job=job, run=run, nodes=nodes, reference=reference)


@lru_cache(maxsize=1)
def _trace_of(source: TraceSource, seed: int) -> Trace:
    """The trace last made: jobs that differ in the strategy alone come one after the other."""
    return source.trace(seed)


@final
@attrs.frozen(kw_only=True)
class Result:
    """What came of a job.

    Attributes:
        job: The job.
        run: The run.
        nodes: How many nodes the trace has; each of them watches.
        reference: Totals that another implementation had on the trace, by name.
    """

    job: Job
    run: Run
    nodes: int
    reference: Mapping[str, int] = FrozenDict()


def run_all(
    jobs: Iterable[Job],
    executor: Executor | None = None,
    *,
    progress: Callable[[Result], object] | None = None,
) -> Generator[Result, None, None]:
    """Make many runs and yield what came of them, in the order of the jobs.

    What has been yielded does not depend on the executor. Whoever stops early, by an interrupt
    say, has all that came so far; jobs that were not begun never are.

    Args:
        jobs: The jobs, taken as they are needed.
        executor: Where they run: any of the standard library's interface, which is not shut
            down. None makes them here, one after the other.
        progress: Is told each result as soon as it is there, in whatever order, by whoever
            takes the results.

    Raises:
        UnsoundPlanError: A plan of one of the runs is unsound.
    """
    tell = progress or _nobody
    if executor is None:
        for job in jobs:
            result = job.run()
            tell(result)
            yield result
        return
    waiting = iter(jobs)
    queue: deque[tuple[Job, Future[_Outcome]]] = deque()
    running: set[Future[_Outcome]] = set()
    try:
        while True:
            for job in islice(waiting, _AHEAD - len(running)):
                future = executor.submit(_outcome, job)
                running.add(future)
                queue.append((job, future))
            if not queue:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for job, future in queue:
                # A failure waits for its turn: which of several is raised is no matter of luck.
                if future in done and future.exception() is None:
                    tell(_result(job, future.result()))
            while queue and queue[0][1] not in running:
                job, future = queue.popleft()
                yield _result(job, future.result())
    finally:
        for _, future in queue:
            future.cancel()


def _nobody(_result: Result) -> None:
    """Hear nothing."""


# --- comparing --------------------------------------------------------------------------------


@final
@attrs.frozen(kw_only=True)
class Row:
    """What one strategy made of one history: means over the seeds.

    Ratios are geometric means over the seeds; None where there is nothing to compare with.

    Attributes:
        name: The trace, or what made it.
        strategy: The strategy.
        random_uids: Whether pods had other uids.
        max_endpoints_per_slice: Capacity in endpoints.
        sync_period: How often the controller looked, in milliseconds.
        hints: Who should have used which endpoint.
        runs: How many runs there were, one a seed.
        writes: How many writes there were.
        bytes_written: Protobuf bytes of all objects written or deleted.
        bytes_received: Bytes that a watcher gets, as the mean over the zones.
        peak_slices: The most slices after a sync.
        final_slices: How many slices there are in the end.
        mean_fill: How full slices are, 0 to 1.
        endpoints_moved: How often an endpoint changed slice.
        longest_plan: The most writes in one sync.
        lower_bound: The fewest writes that any strategy needs.
        writes_ratio: Writes, to those of the baseline.
        bytes_ratio: Bytes, to those of the baseline.
        received_ratio: Bytes that a watcher gets, to those of the baseline.
        peak_slices_ratio: Peak slices, to those of the baseline.
        bound_ratio: Writes, to the lower bound.
    """

    name: str
    strategy: PackingStrategy
    random_uids: bool
    max_endpoints_per_slice: int
    sync_period: int
    hints: HintPolicy | None
    runs: int
    writes: float
    bytes_written: float
    bytes_received: float
    peak_slices: float
    final_slices: float
    mean_fill: float
    endpoints_moved: float
    longest_plan: float
    lower_bound: float
    writes_ratio: float | None
    bytes_ratio: float | None
    received_ratio: float | None
    peak_slices_ratio: float | None
    bound_ratio: float | None


@final
@attrs.frozen(kw_only=True)
class Mean:
    """How a strategy does over several histories: geometric means of the ratios of their rows.

    Attributes:
        strategy: The strategy.
        random_uids: Whether pods had other uids.
        max_endpoints_per_slice: Capacity in endpoints.
        sync_period: How often the controller looked, in milliseconds.
        hints: Who should have used which endpoint.
        rows: Over how many rows.
        writes_ratio: Writes, to those of the baseline; None if no row has it.
        bytes_ratio: Bytes, to those of the baseline.
        received_ratio: Bytes that a watcher gets, to those of the baseline.
        peak_slices_ratio: Peak slices, to those of the baseline.
        bound_ratio: Writes, to the lower bound.
    """

    strategy: PackingStrategy
    random_uids: bool
    max_endpoints_per_slice: int
    sync_period: int
    hints: HintPolicy | None
    rows: int
    writes_ratio: float | None
    bytes_ratio: float | None
    received_ratio: float | None
    peak_slices_ratio: float | None
    bound_ratio: float | None


#: What a run must have in common with the baseline's run: all but the strategy.
_Place: TypeAlias = tuple[str, int, bool, int, int, HintPolicy | None]


def _place(job: Job) -> _Place:
    return (
        job.source.name,
        job.seed,
        job.random_uids,
        job.max_endpoints_per_slice,
        job.sync_period,
        job.hints,
    )


def compare(
    results: Iterable[Result], *, baseline: PackingStrategy | None = _KUBERNETES
) -> tuple[Row, ...]:
    """Put what came of many jobs together: a row for each strategy and history.

    Args:
        results: The results, in any number and order. Histories are told apart by name.
        baseline: The strategy to compare with, by its run of the same trace; None for the totals
            that the trace itself has as its `reference`.

    Returns:
        The rows, in the order in which the first result of each comes.
    """
    found = tuple(results)
    rivals = {
        _place(item.job): _totals(item.run) for item in found if item.job.strategy == baseline
    }
    rows: dict[tuple[object, ...], list[Result]] = {}
    for item in found:
        name, _, *rest = _place(item.job)
        rows.setdefault((name, item.job.strategy, *rest), []).append(item)
    return tuple(
        _row(
            [item.run for item in items],
            [
                item.reference if baseline is None else rivals.get(_place(item.job), {})
                for item in items
            ],
            items[0].job,
        )
        for items in rows.values()
    )


def _totals(run: Run) -> dict[str, float]:
    """A run's totals, by the names that a trace's reference has for them, and one more."""
    return {
        "writes": run.writes,
        "bytes": run.bytes_written,
        "received": fmean(run.bytes_received),
        "peak_slices": run.peak_slices,
    }


def _row(runs: Sequence[Run], bases: Sequence[Mapping[str, float]], job: Job) -> Row:
    def ratio(name: str) -> float | None:
        pairs = zip(map(_totals, runs), bases, strict=True)
        return _geometric_mean(_ratio(mine[name], base.get(name)) for mine, base in pairs)

    return Row(
        name=job.source.name,
        strategy=job.strategy,
        random_uids=job.random_uids,
        max_endpoints_per_slice=job.max_endpoints_per_slice,
        sync_period=job.sync_period,
        hints=job.hints,
        runs=len(runs),
        writes=fmean(run.writes for run in runs),
        bytes_written=fmean(run.bytes_written for run in runs),
        bytes_received=fmean(fmean(run.bytes_received) for run in runs),
        peak_slices=fmean(run.peak_slices for run in runs),
        final_slices=fmean(run.final_slices for run in runs),
        mean_fill=fmean(run.mean_fill for run in runs),
        endpoints_moved=fmean(run.endpoints_moved for run in runs),
        longest_plan=fmean(run.longest_plan for run in runs),
        lower_bound=fmean(run.lower_bound for run in runs),
        writes_ratio=ratio("writes"),
        bytes_ratio=ratio("bytes"),
        received_ratio=ratio("received"),
        peak_slices_ratio=ratio("peak_slices"),
        bound_ratio=_geometric_mean(_ratio(run.writes, run.lower_bound) for run in runs),
    )


def summarize(rows: Iterable[Row]) -> tuple[Mean, ...]:
    """Return how each strategy does over all histories, in the order of the rows.

    Rows count as one each, however many runs they are of.
    """
    by_strategy: dict[tuple[PackingStrategy, bool, int, int, HintPolicy | None], list[Row]] = {}
    for row in rows:
        key = (
            row.strategy,
            row.random_uids,
            row.max_endpoints_per_slice,
            row.sync_period,
            row.hints,
        )
        by_strategy.setdefault(key, []).append(row)
    return tuple(
        Mean(
            strategy=strategy,
            random_uids=random_uids,
            max_endpoints_per_slice=capacity,
            sync_period=period,
            hints=hints,
            rows=len(items),
            writes_ratio=_geometric_mean(item.writes_ratio for item in items),
            bytes_ratio=_geometric_mean(item.bytes_ratio for item in items),
            received_ratio=_geometric_mean(item.received_ratio for item in items),
            peak_slices_ratio=_geometric_mean(item.peak_slices_ratio for item in items),
            bound_ratio=_geometric_mean(item.bound_ratio for item in items),
        )
        for (strategy, random_uids, capacity, period, hints), items in by_strategy.items()
    )


def _ratio(value: float, base: float | None) -> float | None:
    """Of nothing to nothing it is 1; of something to nothing, or to what is unknown, none."""
    if base:
        return value / base
    return 1.0 if base == value else None


def _geometric_mean(ratios: Iterable[float | None]) -> float | None:
    known = [ratio for ratio in ratios if ratio is not None]
    if not known:
        return None
    return exp(fmean(map(log, known))) if min(known) > 0 else 0.0
