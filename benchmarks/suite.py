"""What strategies cost over time: recorded traces, real recordings and the workloads, measured.

    python -m benchmarks.suite                      # everything, as Markdown
    python -m benchmarks.suite --traces --real      # parts of it; --help lists them
    python -m benchmarks.suite --suite --seeds 5 --json suite-runs.json
    python -m benchmarks.suite --check              # a small suite against suite.json
    python -m benchmarks.suite --update             # write suite.json

Ratios are to the reference: to the totals that were recorded where a trace has them, and to the
run of `KubernetesPacking` on the same history else. Means are geometric. Each plan is checked,
which takes half of the time, unless `--no-check` is given. What several parts need is run once.
The tables of docs/explanation/measurements.md are this report.

`--check` fails if any count differs. A change that is meant belongs in the changelog, under
Plans.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any, Final

import attrs

from benchmarks.counted import Counted, Counts, differences
from benchmarks.timing import table
from endpointslice import (
    Generational,
    KubernetesPacking,
    MinimalWrites,
    PackingStrategy,
    Partitioned,
    Rendezvous,
    Repack,
)
from endpointslice.simulate import (
    TICK,
    WORKLOADS,
    Job,
    Mean,
    Result,
    Row,
    Run,
    Trace,
    TraceSource,
    Workload,
    compare,
    read_trace,
    run_all,
    summarize,
)

__all__ = ["RECORDED", "TRACES", "main", "small_jobs"]

RECORDED: Final = Path(__file__).with_name("suite.json")
TRACES: Final = Path(__file__).parent.parent / "docs" / "examples" / "traces"

_REFERENCE: Final = KubernetesPacking()
_DEFAULT: Final = Generational()
_FULLER: Final = Generational(min_fill=0.9)
_STRATEGIES: Final[dict[str, PackingStrategy]] = {
    "KubernetesPacking": _REFERENCE,
    "MinimalWrites": MinimalWrites(),
    "Generational(0.9)": _FULLER,
    "Generational": _DEFAULT,
}
_MORE: Final[dict[str, PackingStrategy]] = {
    "MinimalWrites(merge=False)": MinimalWrites(merge=False),
    "Rendezvous": Rendezvous(),
    "Repack": Repack(),
}
#: By what they are compared with: the same without a partition.
_BY_ZONE: Final = {
    inner: Partitioned("zone", inner) for inner in (_DEFAULT, MinimalWrites(), _REFERENCE)
}
#: Writes, and bytes that a watcher gets, to those of the same strategy without a partition.
_ZONE_TARGETS: Final = (1.15, 0.36)
_FILLS: Final = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
_NAMES: Final[dict[PackingStrategy, str]] = {
    strategy: name for name, strategy in (_STRATEGIES | _MORE).items()
}
_NAMES.update((whole, f"{_NAMES[inner]} by zone") for inner, whole in _BY_ZONE.items())

#: Writes, bytes and peak slices, as ratios to the reference, at most; ALGORITHMS.md, section 7.
_TARGETS: Final[dict[PackingStrategy, tuple[float, float, float]]] = {
    MinimalWrites(): (0.95, 1.10, 1.05),
    _FULLER: (0.49, 0.40, 1.15),
    _DEFAULT: (0.46, 0.37, 1.25),
}
#: How far `KubernetesPacking` may be from what was recorded of the reference.
_PARITY: Final = 0.03


# --- what happens -----------------------------------------------------------------------------


@attrs.frozen
class Recorded:
    """A recorded trace, or its first seconds; it is the same for all seeds."""

    name: str
    seconds: int | None = None

    def trace(self, seed: int) -> Trace:
        trace = read_trace(TRACES / f"{self.name}.json.gz")
        if self.seconds is None:
            return trace
        end = self.seconds * TICK
        changes = tuple(change for change in trace.changes if change.at < end)
        return attrs.evolve(trace, changes=changes, duration=end)


def _recorded() -> tuple[list[Recorded], list[Recorded]]:
    """The traces that have what the reference wrote, and the recordings of a real cluster."""
    sources = [Recorded(path.name.split(".")[0]) for path in sorted(TRACES.glob("*.json.gz"))]
    real = [source for source in sources if source.name.startswith("real-")]
    return [source for source in sources if source not in real], real


@attrs.frozen(kw_only=True)
class Part:
    """A section of the report: the runs that it takes, and the text that is made of them."""

    command: str
    title: str
    jobs: Sequence[Job]
    write: Callable[[Sequence[Result]], Iterator[str]]


def _jobs(
    sources: Iterable[TraceSource],
    strategies: Iterable[PackingStrategy],
    *,
    seeds: int = 1,
    random_uids: Iterable[bool] = (False,),
    capacities: Iterable[int] = (100,),
    periods: Iterable[int] = (TICK,),
) -> list[Job]:
    """Every combination; a recorded trace is run once for all seeds."""
    return [
        Job(
            source=source,
            seed=seed,
            strategy=strategy,
            random_uids=is_random,
            max_endpoints_per_slice=capacity,
            sync_period=period,
        )
        for source in sources
        for seed in range(seeds if isinstance(source, Workload) else 1)
        for capacity, period, is_random, strategy in product(
            capacities, periods, random_uids, strategies
        )
    ]


def _parts(options: argparse.Namespace) -> list[Part]:
    """What was asked for; everything, if nothing was."""
    traces, real = _recorded()
    histories: list[TraceSource] = [*traces, *WORKLOADS.values()]
    strategies = list((_STRATEGIES | (_MORE if options.more else {})).values())
    seeds: int = options.seeds
    more = " --more" if options.more else ""
    many = f" --seeds {seeds}" if seeds > 1 else ""
    parts = {
        "targets": Part(
            command=f"--targets{many}",
            title="Means and targets",
            jobs=_jobs(histories, _STRATEGIES.values(), seeds=seeds),
            write=_write_targets,
        ),
        "traces": Part(
            command=f"--traces{more}",
            title="Recorded traces",
            jobs=_jobs(traces, strategies),
            write=_write_traces,
        ),
        "real": Part(
            command="--real",
            title="A real cluster",
            jobs=_jobs(
                real,
                _STRATEGIES.values(),
                random_uids=(False, True),
                capacities=(10, 100),
                periods=(100, 500, 1_000),
            ),
            write=_write_real,
        ),
        "suite": Part(
            command=f"--suite{many}{more}",
            title="Workloads",
            jobs=_jobs(WORKLOADS.values(), strategies, seeds=seeds),
            write=_write_suite,
        ),
        "control": Part(
            command=f"--control{many}",
            title="Control: random uids",
            jobs=_jobs(histories, (_REFERENCE, _DEFAULT), seeds=seeds, random_uids=(False, True)),
            write=_write_control,
        ),
        "periods": Part(
            command=f"--periods{many}",
            title="Sync periods",
            jobs=_jobs(
                histories, (_REFERENCE, _DEFAULT), seeds=seeds, periods=(100, 500, 1_000, 5_000)
            ),
            write=_write_periods,
        ),
        "zones": Part(
            command=f"--zones{many}",
            title="Slices by zone",
            jobs=_jobs(histories, [*_BY_ZONE, *_BY_ZONE.values()], seeds=seeds),
            write=_write_zones,
        ),
        "min_fill_curve": Part(
            command=f"--min-fill-curve{many}",
            title="What a fill costs",
            jobs=_jobs(
                histories,
                (_REFERENCE, *(Generational(min_fill=fill) for fill in _FILLS)),
                seeds=seeds,
            ),
            write=_write_curve,
        ),
    }
    chosen = [part for name, part in parts.items() if getattr(options, name)]
    return chosen or list(parts.values())


# --- tables -----------------------------------------------------------------------------------


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _pair(row: Row | Mean) -> str:
    """Writes and bytes, to those of the reference."""
    return f"{_ratio(row.writes_ratio)} / {_ratio(row.bytes_ratio)}"


def _name(strategy: PackingStrategy) -> str:
    if strategy not in _NAMES and isinstance(strategy, Generational):
        return f"Generational({strategy.min_fill:g})"
    return _NAMES[strategy]


def _grouped(rows: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
    """Leave out the first cell where it is that of the row before."""
    before = None
    for row in rows:
        yield ("", *row[1:]) if row[0] == before else row
        before = row[0]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return table(heads, rows, markdown=True)


def _rows_table(rows: Iterable[Row]) -> str:
    heads = (
        "history, bound",
        "strategy",
        "writes",
        "kB",
        "peak slices",
        "fill",
        "moves",
        "longest plan",
        "writes, ratio",
        "bytes, ratio",
        "slices, ratio",
        "writes to bound",
    )
    cells = [
        (
            f"{row.name}, {row.lower_bound:,.0f}",
            _name(row.strategy),
            f"{row.writes:,.0f}",
            f"{row.bytes_written / 1_000:,.0f}",
            f"{row.peak_slices:,.0f}",
            f"{row.mean_fill:.2f}",
            f"{row.endpoints_moved:,.0f}",
            f"{row.longest_plan:,.0f}",
            _ratio(row.writes_ratio),
            _ratio(row.bytes_ratio),
            _ratio(row.peak_slices_ratio),
            _ratio(row.bound_ratio),
        )
        for row in rows
    ]
    return _table(heads, _grouped(cells))


def _means_table(rows: Iterable[Row]) -> str:
    """Geometric means, and what is aimed at."""
    heads = ("strategy", "histories", "writes", "bytes", "peak slices", "writes to bound")
    return _table(
        heads,
        [
            (
                _name(mean.strategy),
                f"{mean.rows}",
                *_against_target(
                    (mean.writes_ratio, mean.bytes_ratio, mean.peak_slices_ratio),
                    _TARGETS.get(mean.strategy),
                ),
                _ratio(mean.bound_ratio),
            )
            for mean in summarize(rows)
        ],
    )


def _against_target(
    ratios: Sequence[float | None], targets: Sequence[float] | None
) -> Iterator[str]:
    aims: Sequence[float | None] = targets or [None] * len(ratios)
    for value, target in zip(ratios, aims, strict=True):
        if value is None or target is None:
            yield "-" if value is None else f"{value:.3f}"
        elif value <= target:
            yield f"{value:.3f} (<= {target:.2f}: met)"
        else:
            yield f"{value:.3f} (<= {target:.2f}: missed by {value - target:.3f})"


def _worst(results: Sequence[Result], *, baseline: PackingStrategy | None) -> Iterator[str]:
    """Where the default does worst, and whether it keeps the bound of its fill."""
    rows = [
        row
        for seed in sorted({result.job.seed for result in results})
        for row in compare(
            [result for result in results if result.job.seed == seed], baseline=baseline
        )
        if row.strategy == _DEFAULT
    ]
    for what, ratios in (
        ("writes", [(row.writes_ratio or 0, row.name) for row in rows]),
        ("bytes", [(row.bytes_ratio or 0, row.name) for row in rows]),
    ):
        worst, name = max(ratios)
        above = sum(ratio > 1 for ratio, _ in ratios)
        yield (
            f"The default's worst run in {what} is {worst:.3f} of the reference, in {name}; "
            f"of its {len(rows)} runs {above} are above 1."
        )
    excess = max(
        _excess(result.run, result.job.strategy)
        for result in results
        if isinstance(result.job.strategy, Generational)
    )
    yield (
        "Slices beyond ceil(n / (min_fill * c)) + 2 after any plan of `Generational`: "
        f"{max(0, excess)}."
    )


def _excess(run: Run, strategy: Generational) -> int:
    """How many slices there are at most beyond the bound; negative if always fewer."""
    room = strategy.min_fill * run.max_endpoints_per_slice
    return max(sync.slices - ceil(sync.endpoints / room) - 2 for sync in run.syncs)


# --- sections ---------------------------------------------------------------------------------


def _write_targets(results: Sequence[Result]) -> Iterator[str]:
    traces = compare([result for result in results if result.reference], baseline=None)
    workloads = compare([result for result in results if not result.reference])
    for title, rows in (
        ("The recorded traces, to what the reference wrote:", traces),
        ("The workloads, to `KubernetesPacking`:", workloads),
        ("All of them:", traces + workloads),
    ):
        yield title
        yield _means_table(rows)


def _write_traces(results: Sequence[Result]) -> Iterator[str]:
    rows = compare(results, baseline=None)
    yield _rows_table(rows)
    yield _means_table(rows)
    yield from _worst(results, baseline=None)
    ratios = [
        ratio
        for row in rows
        if row.strategy == _REFERENCE
        for ratio in (row.writes_ratio, row.bytes_ratio)
        if ratio is not None
    ]
    furthest = max(ratios, key=lambda ratio: abs(ratio - 1))
    verdict = "met" if abs(furthest - 1) <= _PARITY else "missed"
    yield (
        "`KubernetesPacking` is furthest from what was recorded of the reference at "
        f"{furthest:.3f} (within {_PARITY:.0%}: {verdict})."
    )


def _write_suite(results: Sequence[Result]) -> Iterator[str]:
    rows = compare(results)
    yield _rows_table(rows)
    yield _means_table(rows)
    yield from _worst(results, baseline=_REFERENCE)


def _write_real(results: Sequence[Result]) -> Iterator[str]:
    rows = {
        (row.name, row.max_endpoints_per_slice, row.sync_period, row.random_uids, row.strategy): row
        for row in compare(results)
    }
    strategies = [strategy for strategy in _STRATEGIES.values() if strategy != _REFERENCE]
    places = dict.fromkeys(key[:3] for key in rows)
    heads = (
        "recording",
        "c",
        "period",
        "bound",
        "reference",
        _name(_DEFAULT),
        *(f"{_name(strategy)}, ratios" for strategy in strategies),
        "random uids, ratios",
    )
    cells = []
    for place in places:
        base = rows[*place, False, _REFERENCE]
        found = [rows[*place, False, strategy] for strategy in strategies]
        cells.append(
            (
                place[0],
                f"{place[1]}",
                _seconds(place[2]),
                f"{base.lower_bound:,.0f}",
                f"{base.writes:,.0f}",
                f"{rows[*place, False, _DEFAULT].writes:,.0f}",
                *(_pair(row) for row in found),
                _pair(rows[*place, True, _DEFAULT]),
            )
        )
    yield _table(heads, _grouped(cells))
    means = {
        (mean.max_endpoints_per_slice, mean.sync_period, mean.random_uids): mean
        for mean in summarize(rows.values())
        if mean.strategy == _DEFAULT
    }
    yield _table(
        ("c", "period", "Generational: writes, bytes", "random uids: writes, bytes"),
        [
            (f"{capacity}", _seconds(period), _pair(mean), _pair(means[capacity, period, True]))
            for (capacity, period, is_random), mean in means.items()
            if not is_random
        ],
    )
    above = [
        f"{name}, c = {capacity}, {_seconds(period)}"
        for name, capacity, period in places
        if rows[name, capacity, period, False, _DEFAULT].writes
        > rows[name, capacity, period, False, _REFERENCE].writes
    ]
    yield f"The default writes more than the reference in: {'; '.join(above) or 'none'}."


def _seconds(period: int) -> str:
    return f"{period / TICK:g} s"


def _pivot(
    results: Sequence[Result], column: Callable[[Row], str], columns: Sequence[str]
) -> Iterator[str]:
    """The default's writes and bytes, a row for each history, and their geometric means."""
    rows = [row for row in compare(results) if row.strategy == _DEFAULT]
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        cells.setdefault(row.name, {})[column(row)] = _pair(row)
    means = {name: summarize([row for row in rows if column(row) == name])[0] for name in columns}
    last = [f"{mean.writes_ratio:.3f} / {mean.bytes_ratio:.3f}" for mean in means.values()]
    bounds = [_ratio(mean.bound_ratio) for mean in means.values()]
    yield _table(
        ("writes / bytes to the reference's", *columns),
        [
            *((name, *(found[key] for key in columns)) for name, found in cells.items()),
            ("**geometric mean**", *last),
            ("writes to bound", *bounds),
        ],
    )


def _write_control(results: Sequence[Result]) -> Iterator[str]:
    names = ("uids as they are", "random uids")
    yield from _pivot(results, lambda row: names[row.random_uids], names)


def _write_periods(results: Sequence[Result]) -> Iterator[str]:
    periods = sorted({result.job.sync_period for result in results})
    yield from _pivot(
        results, lambda row: _seconds(row.sync_period), [_seconds(period) for period in periods]
    )


def _write_zones(results: Sequence[Result]) -> Iterator[str]:
    means = []
    base = compare(results, baseline=_REFERENCE)
    for inner, by_zone in _BY_ZONE.items():
        found = [result for result in results if result.job.strategy in (inner, by_zone)]
        rows = compare(found, baseline=inner)
        plain = {row.name: row for row in rows if row.strategy == inner}
        rows = tuple(row for row in rows if row.strategy == by_zone)
        mean = summarize(rows)[0]
        aims = _against_target((mean.writes_ratio, mean.received_ratio), _ZONE_TARGETS)
        (other,) = summarize(row for row in base if row.strategy == by_zone)
        cells = (*aims, _ratio(mean.peak_slices_ratio), _pair(other), _ratio(other.received_ratio))
        means.append((_name(inner), f"{mean.rows}", *cells))
        if inner == _DEFAULT:
            floors = _changing_zones(found)
            yield _table(
                (
                    "history",
                    "writes",
                    "by zone",
                    "ratio",
                    "floor",
                    "kB to a watcher",
                    "by zone",
                    "ratio",
                    "slices, ratio",
                    "moves",
                    "by zone",
                ),
                [
                    (
                        row.name,
                        f"{plain[row.name].writes:,.0f}",
                        f"{row.writes:,.0f}",
                        _ratio(row.writes_ratio),
                        _ratio(floors[row.name] / plain[row.name].writes),
                        f"{plain[row.name].bytes_received / 1_000:,.0f}",
                        f"{row.bytes_received / 1_000:,.0f}",
                        _ratio(row.received_ratio),
                        _ratio(row.peak_slices_ratio),
                        f"{plain[row.name].endpoints_moved:,.0f}",
                        f"{row.endpoints_moved:,.0f}",
                    )
                    for row in rows
                ],
            )
    heads = ("by zone", "histories", "writes", "bytes to a watcher", "slices")
    yield "To the same strategy without; the last two columns are to `KubernetesPacking` without:"
    yield _table((*heads, "writes / bytes", "to a watcher"), means)


def _changing_zones(results: Iterable[Result]) -> dict[str, float]:
    """In how many zones something changes, sync by sync: each of them is a write at least."""
    found: dict[str, list[int]] = {}
    for result in results:
        counts = [sum(size > 0 for size in sync.received) for sync in result.run.syncs]
        if isinstance(result.job.strategy, Partitioned):
            found.setdefault(result.job.source.name, []).append(sum(counts))
    return {name: sum(totals) / len(totals) for name, totals in found.items()}


def _write_curve(results: Sequence[Result]) -> Iterator[str]:
    rows = compare(results)
    fills: dict[PackingStrategy, list[float]] = {}
    for row in rows:
        fills.setdefault(row.strategy, []).append(row.mean_fill)
    yield _table(
        ("min_fill", "writes", "bytes", "peak slices", "mean fill"),
        [
            (
                f"{mean.strategy.min_fill:.2f}"
                if isinstance(mean.strategy, Generational)
                else _name(mean.strategy),
                *_against_target(
                    (mean.writes_ratio, mean.bytes_ratio, mean.peak_slices_ratio), None
                ),
                f"{sum(fills[mean.strategy]) / len(fills[mean.strategy]):.2f}",
            )
            for mean in summarize(rows)
        ],
    )


# --- the small suite --------------------------------------------------------------------------

#: Small slices, so that a few hundred endpoints have a dozen of them.
_SMALL_CAPACITY: Final = 25
_SMALL_PODS: Final = 200
_SMALL_SHARE: Final = 0.25
_SMALL_SECONDS: Final = 40
_SMALL: Final = tuple((_STRATEGIES | _MORE).values())


def small_jobs() -> list[Job]:
    """What `--check` runs: every history, but short or with few pods."""
    traces, real = _recorded()
    sources: list[TraceSource] = [
        *(attrs.evolve(source, seconds=_SMALL_SECONDS) for source in traces),
        *real,
        *(w.scaled(min(_SMALL_SHARE, _SMALL_PODS / w.pods)) for w in WORKLOADS.values()),
    ]
    capacities = (_SMALL_CAPACITY,)
    return _jobs(sources, _SMALL, capacities=capacities) + _jobs(
        sources, (_DEFAULT,), capacities=capacities, random_uids=(True,)
    )


def _counts(run: Run) -> Counts:
    return {
        "writes": run.writes,
        "bytes_written": run.bytes_written,
        "peak_slices": run.peak_slices,
        "final_slices": run.final_slices,
        "endpoints_moved": run.endpoints_moved,
        "longest_plan": run.longest_plan,
        "lower_bound": run.lower_bound,
    }


def _counted(results: Iterable[Result]) -> Counted:
    found: Counted = {}
    for result in results:
        name = _name(result.job.strategy) + (", random uids" if result.job.random_uids else "")
        found.setdefault(result.job.source.name, {})[name] = _counts(result.run)
    return found


def _check(found: Counted) -> int:
    recorded: Counted = json.loads(RECORDED.read_text(encoding="utf-8"))
    changed = differences(recorded, found)
    if changed:
        print(table(("history", "strategy", "count", "recorded", "found", "ratio"), changed))
        print(
            f"\n{len(changed)} counts differ; if they should, --update, and say so in CHANGELOG.md"
        )
        return 1
    histories = f"{len(found)} histories"
    print(f"{sum(map(len, found.values()))} runs of {histories} cost as recorded")
    return 0


# --- command line -----------------------------------------------------------------------------


def _as_json(part: Part, result: Result) -> dict[str, Any]:
    job = result.job
    return {
        "part": part.title,
        "history": job.source.name,
        "strategy": _name(job.strategy),
        "seed": job.seed,
        "random_uids": job.random_uids,
        "max_endpoints_per_slice": job.max_endpoints_per_slice,
        "sync_period": job.sync_period,
        "nodes": result.nodes,
        **_counts(result.run),
        "mean_fill": result.run.mean_fill,
        "reference": dict(result.reference),
    }


def _run(jobs: Sequence[Job], processes: int) -> list[Result]:
    """Run all jobs, with a line on standard error that says how far it is."""
    done = 0
    is_terminal = sys.stderr.isatty()

    def tell(result: Result) -> None:
        nonlocal done
        done += 1
        line = f"{done}/{len(jobs)} {result.job.source.name} {_name(result.job.strategy)}"
        if is_terminal:
            print(f"\r{line:<79.79}", end="", file=sys.stderr, flush=True)
        elif done % 50 == 0 or done == len(jobs):
            print(line, file=sys.stderr, flush=True)

    with ProcessPoolExecutor(processes) as executor:
        results = list(run_all(jobs, executor, progress=tell))
    if is_terminal:
        print(file=sys.stderr)
    return results


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.suite",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, text in (
        ("--targets", "the means of the recorded traces and the workloads"),
        ("--traces", "the recorded traces, against what the reference wrote"),
        ("--real", "the recordings of a real cluster"),
        ("--suite", "the workloads"),
        ("--control", "both with random uids"),
        ("--periods", "both at several sync periods"),
        ("--zones", "both with slices partitioned by zone, against those that are not"),
        ("--min-fill-curve", "both with Generational at several min_fill"),
        ("--more", "with more strategies, in --traces and --suite"),
        ("--check", "compare a small suite with suite.json"),
        ("--update", "write suite.json"),
    ):
        parser.add_argument(name, action="store_true", help=text)
    parser.add_argument(
        "--no-check", dest="is_checked", action="store_false", help="do not check the plans"
    )
    parser.add_argument("--seeds", type=int, default=1, help="histories of each workload")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run to a file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    options = _options(arguments)
    if options.check or options.update:
        found = _counted(_run(small_jobs(), options.jobs))
        if not options.update:
            return _check(found)
        RECORDED.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"wrote the counts of {sum(map(len, found.values()))} runs to {RECORDED.name}")
        return 0
    unchecked = "" if options.is_checked else " --no-check"
    runs: list[dict[str, Any]] = []
    known: dict[Job, Result] = {}
    for part in _parts(options):
        jobs = [attrs.evolve(job, check=options.is_checked) for job in part.jobs]
        missing = [job for job in jobs if job not in known]
        known.update(zip(missing, _run(missing, options.jobs), strict=True))
        results = [known[job] for job in jobs]
        text = "\n\n".join(part.write(results))
        print(
            f"## {part.title}\n\n"
            f"```console\n$ python -m benchmarks.suite {part.command}{unchecked}\n```\n\n{text}\n",
            flush=True,
        )
        runs += [_as_json(part, result) for result in results]
    if options.json:
        options.json.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
