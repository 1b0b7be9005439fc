"""Simulations and presets -> text, as tables for people and as JSON and CSV for programs."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby, zip_longest
from pathlib import Path
from statistics import fmean
from textwrap import wrap
from typing import Any, Final

import attrs

from endpointslice.cli.printing import Line, print_json, print_lines
from endpointslice.cli.simulation import BASELINE, Report
from endpointslice.cli.strategies import strategy_title
from endpointslice.packing import Partitioned
from endpointslice.simulate import Mean, Result, Row, compare, summarize
from endpointslice.simulate.presets import PRESETS, Figure

__all__ = ["plot_simulation", "progress_bar", "render_preset", "render_simulation"]

_HEAD: Final = ("STRATEGY", "WRITES", "RATIO", "BYTES", "RATIO", "PEAK", "FILL", "MOVED")
#: How long a line of a note is.
_NOTE_WIDTH: Final = 79
_WIDE_HEAD: Final = (*_HEAD, "CREATES", "UPDATES", "DELETES", "SENT", "FINAL", "LONGEST")
#: What is of interest where not everything is sent to everybody.
_SENT_HEAD: Final = (*_HEAD, "SENT", "RATIO")


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int], None]]:
    """Show on a terminal how many runs are done, as what it yields is told, of how many."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), "runs, about", TimeRemainingColumn(), "left")
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def render_simulation(report: Report, output: str, *, with_syncs: bool) -> None:
    """Print what `simulate` found."""
    match output:
        case "json":
            print_json(_report_data(report, with_syncs=with_syncs))
        case "csv":
            _print_csv(_flat(_run_data(report, *pair)) for pair in _runs(report))
        case _:
            print_lines(_report_lines(report, wide=output == "wide"))


def _print_csv(rows: Iterable[Mapping[str, Any]]) -> None:
    writer = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(sys.stdout, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)


# --- simulate, for programs -------------------------------------------------------------------


def _runs(report: Report) -> Iterator[tuple[Result, Row]]:
    """Each result, and how it alone compares."""
    for _, group in groupby(report.compared, lambda item: (item.job.source.name, item.job.seed)):
        results = list(group)
        yield from zip(results, compare(results), strict=True)


def _run_data(report: Report, item: Result, row: Row) -> dict[str, Any]:
    cost = item.run.cost
    watchers = report.watchers_of(item)
    return {
        "workload": row.name,
        "seed": item.job.seed,
        "strategy": strategy_title(row.strategy),
        "writes": cost.writes,
        "creates": cost.creates,
        "updates": cost.updates,
        "deletes": cost.deletes,
        "bytesWritten": cost.bytes_written,
        "watchers": watchers,
        "bytesOnWire": item.run.bytes_on_wire(watchers),
        "bytesPerWatcher": round(row.bytes_received),
        "peakSlices": item.run.peak_slices,
        "finalSlices": item.run.final_slices,
        "meanFill": round(row.mean_fill, 4),
        "endpointsMoved": cost.endpoints_moved,
        "longestPlan": item.run.longest_plan,
        "lowerBound": item.run.lower_bound,
        "ratios": _ratios_data(row),
    }


def _ratios_data(item: Row | Mean) -> dict[str, float | None]:
    ratios = {
        "writes": item.writes_ratio,
        "bytesWritten": item.bytes_ratio,
        "bytesPerWatcher": item.received_ratio,
        "peakSlices": item.peak_slices_ratio,
        "lowerBound": item.bound_ratio,
    }
    return {name: None if ratio is None else round(ratio, 4) for name, ratio in ratios.items()}


def _flat(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same without a mapping in it."""
    ratios = {f"{name}Ratio": ratio for name, ratio in data["ratios"].items()}
    return {name: value for name, value in data.items() if name != "ratios"} | ratios


def _syncs_data(item: Result) -> list[dict[str, Any]]:
    return [
        {
            "at": sync.at / 1000,
            "writes": sync.cost.writes,
            "bytesWritten": sync.cost.bytes_written,
            "slices": sync.slices,
            "endpoints": sync.endpoints,
        }
        for sync in item.run.syncs
    ]


def _report_data(report: Report, *, with_syncs: bool) -> dict[str, Any]:
    simulation = report.simulation
    runs = []
    for item, row in _runs(report):
        more: dict[str, Any] = {}
        if isinstance(item.job.strategy, Partitioned):
            more["bytesPerWatcherByZone"] = item.run.bytes_received
        if with_syncs:
            more["syncs"] = _syncs_data(item)
        runs.append(_run_data(report, item, row) | more)
    references = {item.job.source.name: item.reference for item in report.compared}
    rows = compare(report.compared)
    return {
        "maxEndpointsPerSlice": simulation.max_endpoints_per_slice,
        "batchPeriod": simulation.sync_period / 1000,
        "randomUids": simulation.random_uids,
        "baseline": strategy_title(BASELINE),
        "runs": runs,
        "references": [
            {"workload": name, "totals": dict(totals)}
            for name, totals in references.items()
            if totals
        ],
        "summary": [
            {
                "strategy": strategy_title(mean.strategy),
                "workloads": mean.rows,
                "ratios": _ratios_data(mean),
                "meanFill": round(_mean_fill(rows, mean), 4),
            }
            for mean in summarize(rows)
        ],
        "isComplete": report.is_complete,
    }


def _mean_fill(rows: Iterable[Row], mean: Mean) -> float:
    return fmean(row.mean_fill for row in rows if row.strategy == mean.strategy)


# --- simulate, for people ---------------------------------------------------------------------


def _cells(report: Report, *, wide: bool) -> Iterator[tuple[str, ...]]:
    """Yield a table: its head, and for each workload a single cell and then its rows.

    Last are the geometric means over all workloads, if there are several.
    """
    by_part = report.simulation.partition_by is not None
    yield _WIDE_HEAD if wide else _SENT_HEAD if by_part else _HEAD
    results: dict[tuple[str, object], list[Result]] = {}
    for item in report.compared:
        results.setdefault((item.job.source.name, item.job.strategy), []).append(item)
    rows = compare(report.compared)
    workloads = [(name, list(group)) for name, group in groupby(rows, lambda row: row.name)]
    for name, group in workloads:
        seeds = group[0].runs
        yield (f"{name}, mean of {seeds} seeds" if seeds > 1 else name,)
        for row in group:
            found = results[name, row.strategy]
            sent = (_size(_sent(report, found)), _ratio(row.received_ratio)) if by_part else ()
            more = _more_cells(report, found) if wide else sent
            yield (*_row_cells(row), *more)
        baseline = next(row for row in group if row.strategy == BASELINE)
        reference = results[name, BASELINE][0].reference
        if reference:
            yield _reference_cells(reference, baseline)
        yield _bound_cells(baseline)
    if len(workloads) > 1:
        yield (f"geometric mean of {len(workloads)} workloads",)
        for mean in summarize(rows):
            last = ("", "", _ratio(mean.received_ratio)) if by_part and not wide else ()
            yield (*_mean_cells(mean, _mean_fill(rows, mean)), *last)


def _row_cells(row: Row) -> tuple[str, ...]:
    return (
        f"  {strategy_title(row.strategy)}",
        f"{row.writes:,.0f}",
        _ratio(row.writes_ratio),
        _size(row.bytes_written),
        _ratio(row.bytes_ratio),
        f"{row.peak_slices:,.0f}",
        f"{row.mean_fill:.0%}",
        f"{row.endpoints_moved:,.0f}",
    )


def _more_cells(report: Report, results: Sequence[Result]) -> tuple[str, ...]:
    runs = [item.run for item in results]
    return (
        f"{fmean(run.cost.creates for run in runs):,.0f}",
        f"{fmean(run.cost.updates for run in runs):,.0f}",
        f"{fmean(run.cost.deletes for run in runs):,.0f}",
        _size(_sent(report, results)),
        f"{fmean(run.final_slices for run in runs):,.0f}",
        f"{fmean(run.longest_plan for run in runs):,.0f}",
    )


def _sent(report: Report, results: Sequence[Result]) -> float:
    return fmean(item.run.bytes_on_wire(report.watchers_of(item)) for item in results)


def _reference_cells(totals: Mapping[str, int], baseline: Row) -> tuple[str, ...]:
    """What another implementation had, as far as the trace says, compared with the baseline."""
    writes, size, peak = (totals.get(name) for name in ("writes", "bytes", "peak_slices"))
    return (
        "  reference (recorded)",
        "" if writes is None else f"{writes:,}",
        "" if writes is None else _ratio(writes / max(1.0, baseline.writes)),
        "" if size is None else _size(size),
        "" if size is None else _ratio(size / max(1.0, baseline.bytes_written)),
        "" if peak is None else f"{peak:,}",
    )


def _bound_cells(baseline: Row) -> tuple[str, ...]:
    ratio = baseline.bound_ratio
    bound = _ratio(1 / ratio) if ratio else "-"
    return ("  lower bound", f"{baseline.lower_bound:,.0f}", bound)


def _mean_cells(mean: Mean, fill: float) -> tuple[str, ...]:
    return (
        f"  {strategy_title(mean.strategy)}",
        "",
        _ratio(mean.writes_ratio),
        "",
        _ratio(mean.bytes_ratio),
        f"{_ratio(mean.peak_slices_ratio)}x",
        f"{fill:.0%}",
    )


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _size(count: float) -> str:
    """Bytes to three digits, in powers of a thousand."""
    units = ("B", "kB", "MB", "GB", "TB")
    power = 0
    while count >= 999.5 and power < len(units) - 1:
        count /= 1000
        power += 1
    digits = 0 if not power or count >= 99.95 else 1 if count >= 9.995 else 2
    return f"{count:.{digits}f} {units[power]}"


def _report_lines(report: Report, *, wide: bool) -> Iterator[Line]:
    if not report.compared:
        return
    yield from _table_lines(list(_cells(report, wide=wide)))
    yield []
    yield [(_caption(report), "dim")]


def _table_lines(rows: Sequence[Sequence[str]]) -> Iterator[Line]:
    """Lines of a table, its head first; a row of one cell heads those below it."""
    head = rows[0]
    columns = zip_longest(*(row for row in rows if len(row) > 1), fillvalue="")
    widths = [max(map(len, column)) for column in columns]
    for row in rows:
        is_head = row is head or len(row) == 1
        used = max(i for i, cell in enumerate(row) if cell)
        line = [(row[0].ljust(widths[0] if used else 0), "bold" if is_head else "")]
        for name, cell, width in zip(head[1:], row[1 : used + 1], widths[1:], strict=False):
            line.append((f"  {cell:>{width}}", "bold" if is_head else _style(name, cell)))
        yield line


def _style(column: str, cell: str) -> str:
    """A ratio that is a gain is green, one that is a loss is red, to the digits that it has."""
    if column != "RATIO" or not cell or cell == "-":
        return ""
    ratio = float(cell)
    return "green" if ratio < 1 else "red" if ratio > 1 else ""


def _caption(report: Report) -> str:
    """How the runs were made."""
    simulation = report.simulation
    facts = [
        f"slices of {simulation.max_endpoints_per_slice}",
        f"a sync every {simulation.sync_period / 1000:g} s",
    ]
    if simulation.random_uids:
        facts.append("random uids")
    return ", ".join(facts)


def plot_simulation(report: Report, path: Path) -> None:
    """Draw the traces of the first seed."""
    from endpointslice.cli.plots import Chart, write_plot

    charts = []
    first = [item for item in report.results if not item.job.seed]
    curve = report.simulation.curve
    compared = sorted(report.simulation.compared, key=lambda strategy: strategy != BASELINE)
    for name, group in groupby(first, lambda item: item.job.source.name):
        runs = {item.job.strategy: item.run for item in group}
        charts.append(
            Chart(
                title=name,
                runs={strategy_title(item): runs[item] for item in compared},
                curve={item.min_fill: runs[item] for item in curve},
            )
        )
    rows = list(_cells(report, wide=True))
    write_plot(path, charts, caption=_caption(report), rows=rows)


# --- presets ----------------------------------------------------------------------------------


def render_preset(name: str, output: str) -> None:
    """Print published estimates beside exact figures."""
    figures = PRESETS[name]()
    match output:
        case "json":
            print_json({"preset": name, "figures": list(map(_figure_data, figures))})
        case "csv":
            _print_csv(map(_figure_data, figures))
        case _:
            print_lines(_figure_lines(figures))


def _figure_data(figure: Figure) -> dict[str, Any]:
    data = attrs.asdict(figure)
    because, ratio = data.pop("because"), figure.ratio
    return data | {"ratio": None if ratio is None else round(ratio, 4), "because": because}


def _figure_lines(figures: Sequence[Figure]) -> Iterator[Line]:
    for case, group in groupby(figures, lambda figure: figure.case):
        notes: dict[str, int] = {}
        rows: list[tuple[str, ...]] = [(case, "PUBLISHED", "MEASURED", "RATIO", "")]
        event = ""
        for figure in group:
            if figure.event != event:
                event = figure.event
                rows.append((f"  {event}",))
            because = figure.because
            note = f"[{notes.setdefault(because, len(notes) + 1)}]" if because else ""
            published = "" if figure.published is None else _amount(figure.published, figure.unit)
            rows.append(
                (
                    f"    {figure.layout}: {figure.what}",
                    published,
                    _amount(figure.measured, figure.unit),
                    "" if figure.ratio is None else _ratio(figure.ratio),
                    note,
                )
            )
        yield from _table_lines(rows)
        yield []
        for because, number in notes.items():
            lines = wrap(
                because, _NOTE_WIDTH, initial_indent=f"  [{number}] ", subsequent_indent="      "
            )
            yield from ([(line, "dim")] for line in lines)
        if notes:
            yield []


def _amount(count: int, unit: str) -> str:
    return _size(count) if unit == "bytes" else f"{count:,}"
