"""Workloads, traces and strategies -> runs, on all cores."""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, final

import attrs

from endpointslice.errors import TraceError
from endpointslice.packing import (
    Generational,
    KubernetesPacking,
    PackingStrategy,
    Partitioned,
    SingleObject,
)
from endpointslice.simulate import Job, Result, Trace, TraceSource, read_trace, run_all
from endpointslice.simulate.recordings import read_watch

__all__ = ["BASELINE", "Report", "Simulation", "read_traces", "run_simulation"]

#: What every strategy is compared with, asked for or not.
BASELINE: Final = KubernetesPacking()
#: Each `min_fill` of the curve of a plot.
_CURVE: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@final
@attrs.frozen(kw_only=True)
class Simulation:
    """What to run.

    Attributes:
        sources: Traces and what makes them, each of another name.
        strategies: Who decides; the baseline is run too.
        seeds: How many traces each source makes; a trace is always the same.
        random_uids: Whether pods get other uids. Then a trace is another for each seed.
        max_endpoints_per_slice: Capacity in endpoints.
        sync_period: How often the controller looks, in milliseconds.
        partition_by: What each strategy partitions slices by, when it is run a second time.
        has_curve: Whether `Generational` is run with several `min_fill` too, on the first seed.
    """

    sources: tuple[Trace | TraceSource, ...]
    strategies: tuple[PackingStrategy, ...]
    seeds: int
    random_uids: bool
    max_endpoints_per_slice: int
    sync_period: int
    partition_by: str | None = None
    has_curve: bool = False

    @property
    def compared(self) -> tuple[PackingStrategy, ...]:
        """The strategies, each once; the baseline comes first if nobody asked for it."""
        asked = tuple(dict.fromkeys(self.strategies))
        whole = asked if BASELINE in asked else (BASELINE, *asked)
        key = self.partition_by
        return whole if key is None else (*whole, *(Partitioned(key, item) for item in asked))

    @property
    def curve(self) -> tuple[Generational, ...]:
        """The strategies of the curve."""
        return tuple(Generational(min_fill=fill) for fill in _CURVE if self.has_curve)

    def jobs(self) -> Iterator[Job]:
        """Yield the runs to make; those of one trace come one after the other."""
        for source in self.sources:
            is_fixed = isinstance(source, Trace) and not self.random_uids
            for seed in range(1 if is_fixed else self.seeds):
                strategies = self.compared if seed else (*self.compared, *self.curve)
                for strategy in dict.fromkeys(strategies):
                    yield Job(
                        source=source,
                        strategy=strategy,
                        seed=seed,
                        random_uids=self.random_uids,
                        max_endpoints_per_slice=self.max_endpoints_per_slice,
                        sync_period=self.sync_period,
                        # It leaves out what is above 1,000, as the old API does.
                        check=not isinstance(getattr(strategy, "inner", strategy), SingleObject),
                    )


@final
@attrs.frozen(kw_only=True)
class Report:
    """What came of a simulation.

    Attributes:
        simulation: What was to run.
        results: What was run, in the order of its jobs.
        jobs: How many runs there were to make.
        watchers: How many nodes watch the slices; as many as each trace has if None.
    """

    simulation: Simulation
    results: tuple[Result, ...]
    jobs: int
    watchers: int | None

    @property
    def is_complete(self) -> bool:
        """Whether everything was run."""
        return len(self.results) == self.jobs

    def watchers_of(self, result: Result) -> int:
        """How many nodes watch the slices of a run."""
        return result.nodes if self.watchers is None else self.watchers

    @property
    def compared(self) -> list[Result]:
        """The results of the strategies to compare, on traces that all of them were run on."""
        compared = self.simulation.compared
        results = [item for item in self.results if item.job.strategy in compared]
        count = Counter(_place(item.job) for item in results)
        return [item for item in results if count[_place(item.job)] == len(compared)]


def _place(job: Job) -> tuple[str, int]:
    return (job.source.name, job.seed)


def read_traces(files: Iterable[str], taken: Iterable[str]) -> list[Trace]:
    """Read traces, each file once. Each has a name of its own: the file's, or all of its path.

    Args:
        files: Paths; one of JSON lines, `.jsonl`, is what was seen on a watch.
        taken: Names that are taken.

    Raises:
        TraceError: A file is no trace; its path says which one.
        OSError: It cannot be read.
    """
    names = set(taken)
    traces = []
    for file in dict.fromkeys(files):
        try:
            is_watch = file.removesuffix(".gz").endswith(".jsonl")
            trace = (read_watch if is_watch else read_trace)(Path(file))
        except TraceError as error:
            path = f"{file}: {error.path}" if error.path else file
            raise TraceError(path, error.message, error.value) from None
        name = file if trace.name in names else trace.name
        names.add(name)
        traces.append(attrs.evolve(trace, name=name))
    return traces


def run_simulation(
    simulation: Simulation,
    *,
    processes: int,
    watchers: int | None,
    progress: Callable[[int, int], object],
) -> Report:
    """Make all runs, or as many as there are when an interrupt comes.

    Args:
        simulation: What to run.
        processes: How many processes to do it in. The results do not depend on it.
        watchers: See `Report`.
        progress: Is told how many runs are made, of how many.

    Raises:
        BrokenProcessPool: A process was killed, as one that takes too much memory may be.
    """
    jobs = list(simulation.jobs())
    done: list[Result] = []

    def tell(result: Result) -> None:
        done.append(result)
        progress(len(done), len(jobs))

    progress(0, len(jobs))
    with suppress(KeyboardInterrupt), _workers(min(processes, len(jobs))) as executor:
        for _ in run_all(jobs, executor, progress=tell):
            pass
    order = {_identity(job): place for place, job in enumerate(jobs)}
    done.sort(key=lambda result: order[_identity(result.job)])
    return Report(simulation=simulation, results=tuple(done), jobs=len(jobs), watchers=watchers)


def _identity(job: Job) -> tuple[str, int, PackingStrategy]:
    """What tells one of a simulation's jobs from the others."""
    return (job.source.name, job.seed, job.strategy)


@contextmanager
def _workers(count: int) -> Iterator[Executor | None]:
    """Have so many processes, and leave none behind, however it ends; None for this one alone.

    An interrupt comes out as KeyboardInterrupt, at once.
    """
    if count <= 1:
        yield None
        return
    executor = ProcessPoolExecutor(
        count,
        # The one way that every platform has, and that is safe beside a progress bar's thread.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_ignore_interrupts,
    )
    others = multiprocessing.active_children()
    is_interrupted = False

    def stop(*_: object) -> None:
        nonlocal is_interrupted
        is_interrupted = True
        for process in multiprocessing.active_children():
            if process not in others:
                process.terminate()

    # A terminal sends Ctrl-C to all of its processes, those too that only begin.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Writing to a process that has ended is an error like others here, and no end of ours.
    pipe = signal.signal(signal.SIGPIPE, signal.SIG_IGN) if hasattr(signal, "SIGPIPE") else None
    try:
        for _ in range(count):
            executor.submit(_ignore_interrupts)
        # To end the processes ends what they run with an error, and the pool with them.
        # To cancel what they run would not stop it.
        signal.signal(signal.SIGINT, stop)
        with executor:
            yield executor
    except BrokenProcessPool:
        if is_interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        if pipe is not None:
            signal.signal(signal.SIGPIPE, pipe)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
