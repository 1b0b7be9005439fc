"""Runs -> pictures: writes and fill over time, and what a fill costs in writes.

Needs the extra `plot`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from io import BytesIO
from itertools import accumulate, cycle, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

import attrs

from endpointslice.simulate import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["PLOT_SUFFIXES", "Chart", "write_plot"]

#: What a plot can be written as.
PLOT_SUFFIXES: Final = (".png", ".svg", ".html")

#: Color, line and marker.
_Style: TypeAlias = tuple[str, Any, str]

#: The colours of Okabe and Ito, which the colour-blind can tell apart, each with a line and a
#: marker of its own, for paper without colours. The first is for what is compared against.
_STYLES: Final[Sequence[_Style]] = (
    ("#555555", "-", "s"),
    ("#0072B2", "-", "o"),
    ("#D55E00", "--", "^"),
    ("#009E73", "-.", "D"),
    ("#CC79A7", (0, (3, 1, 1, 1, 1, 1)), "v"),
    ("#E69F00", "--", "P"),
    ("#56B4E9", "-.", "X"),
)
_CURVE_COLOR: Final = "#999999"
_BOUND: Final[Any] = {"color": "#000000", "linestyle": ":", "linewidth": 1}
_ROW_INCHES: Final = (13.0, 3.4)
_HEAD_INCHES: Final = 0.7
_DOTS_PER_INCH: Final = 150

#: Up to how many seconds of history the axis of time counts in this unit, and its length.
_UNITS: Final = (("seconds", 300, 1), ("minutes", 3 * 3600, 60), ("hours", 10**9, 3600))

_TITLE: Final = "EndpointSlice strategies compared"
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 84em; padding: 0 1em; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .1em 1em .1em 0; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
tr:first-child th {{ border-bottom: 1px solid; }}
svg {{ height: auto; max-width: 100%; }}
div {{ overflow-x: auto; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{caption}</p>
{picture}
<div>
<table>
{rows}
</table>
</div>
</body>
</html>
"""


@final
@attrs.frozen(kw_only=True)
class Chart:
    """One row of pictures: what each strategy made of one trace.

    Attributes:
        title: What it is called.
        runs: By the name of the strategy, what is compared against first.
        curve: `Generational` by its `min_fill`, ascending.
    """

    title: str
    runs: Mapping[str, Run]
    curve: Mapping[float, Run]


def write_plot(
    path: Path, charts: Sequence[Chart], *, caption: str, rows: Sequence[Sequence[str]]
) -> None:
    """Draw charts, one below the other, into a file of one of `PLOT_SUFFIXES`.

    Args:
        path: The file; one that exists is replaced.
        charts: At least one; all have the same strategies.
        caption: How the runs were made.
        rows: A table of the results for a page of HTML, its head first.

    Raises:
        OSError: The file cannot be written.
        ModuleNotFoundError: The extra `plot` is not installed.
    """
    suffix = path.suffix.lower()
    if suffix != ".html":
        path.write_bytes(_drawn(charts, caption, suffix[1:]))
        return
    svg = _drawn(charts, "", "svg").decode()
    page = _PAGE.format(
        title=_TITLE,
        caption=escape(caption),
        picture=f'<svg role="img" aria-label="{_TITLE}"' + svg.partition("<svg")[2],
        rows="\n".join(_html_rows(rows)),
    )
    path.write_text(page, encoding="utf-8")


def _html_rows(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows of a table; one of a single cell heads those below it."""
    for i, row in enumerate(rows):
        if len(row) == 1:
            yield f'<tr><th colspan="{len(rows[0])}">{escape(row[0])}</th></tr>'
            continue
        tag = "td" if i else "th"
        cells = "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row)
        yield f"<tr>{cells}</tr>"


def _drawn(charts: Sequence[Chart], caption: str, suffix: str) -> bytes:
    import matplotlib as mpl

    # No date and no random ids: the same runs give the same file.
    metadata = {"svg": {"Date": None}, "png": {"Software": None}}[suffix]
    look: Any = {
        "axes.spines.right": False,
        "axes.spines.top": False,
        "font.size": 9,
        "svg.hashsalt": "endpointslice",
    }
    with mpl.rc_context(look):
        figure = _figure(charts, caption)
        data = BytesIO()
        figure.savefig(data, format=suffix, dpi=_DOTS_PER_INCH, metadata=metadata)
    return data.getvalue()


def _figure(charts: Sequence[Chart], caption: str) -> Figure:
    from matplotlib.figure import Figure

    width, height = _ROW_INCHES
    figure = Figure(figsize=(width, height * len(charts) + _HEAD_INCHES), layout="constrained")
    grid = figure.subplots(len(charts), 3, squeeze=False)
    styles = dict(zip(charts[0].runs, cycle(_STYLES), strict=False))
    for axes, chart in zip(grid, charts, strict=True):
        writes, fill, tradeoff = axes
        _draw_writes(writes, chart, styles)
        _draw_fill(fill, chart, styles)
        _draw_tradeoff(tradeoff, chart, styles)
        for picture, name in zip(axes, ("writes", "fill", "writes against slices"), strict=True):
            picture.set_title(f"{chart.title}: {name}", loc="left", fontsize=10)
            picture.grid(visible=True, color="#dddddd", linewidth=0.6)
            picture.set_axisbelow(True)
    figure.legend(
        handles=list(_legend(styles, has_curve=bool(charts[0].curve))),
        alignment="left",
        frameon=False,
        loc="outside upper left",
        ncols=6,
        title=caption,
    )
    return figure


def _legend(styles: Mapping[str, _Style], *, has_curve: bool) -> Iterator[Line2D]:
    from matplotlib.lines import Line2D

    for name, (color, line, marker) in styles.items():
        yield Line2D([], [], color=color, linestyle=line, marker=marker, label=name)
    if has_curve:
        yield Line2D(
            [],
            [],
            color=_CURVE_COLOR,
            linewidth=1,
            marker=".",
            label="generational by min_fill",
        )
    yield Line2D([], [], label="lower bound", **_BOUND)


def _time_unit(runs: Mapping[str, Run]) -> tuple[str, float]:
    """The unit of an axis of time, and how many milliseconds it has."""
    end = max((run.syncs[-1].at for run in runs.values() if run.syncs), default=0)
    name, _, seconds = next(unit for unit in _UNITS if end <= unit[1] * 1000)
    return name, seconds * 1000


def _draw_writes(axes: Axes, chart: Chart, styles: Mapping[str, _Style]) -> None:
    unit, length = _time_unit(chart.runs)
    for name, run in chart.runs.items():
        color, line, _ = styles[name]
        times = [0.0, *(sync.at / length for sync in run.syncs)]
        totals = [0, *accumulate(sync.cost.writes for sync in run.syncs)]
        axes.plot(times, totals, color=color, linestyle=line, drawstyle="steps-post")
    bound = max(chart.runs.values(), key=lambda run: run.lower_bound)
    times = [sync.at / length for sync in bound.syncs]
    axes.plot([0, *times], range(bound.lower_bound + 1), drawstyle="steps-post", **_BOUND)
    axes.set_xlabel(f"time, {unit}")
    axes.set_ylabel("writes so far")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:,.0f}")


def _draw_fill(axes: Axes, chart: Chart, styles: Mapping[str, _Style]) -> None:
    unit, length = _time_unit(chart.runs)
    for name, run in chart.runs.items():
        color, line, _ = styles[name]
        capacity = run.max_endpoints_per_slice
        times = [sync.at / length for sync in run.syncs]
        fills = [sync.endpoints / (sync.slices * capacity) for sync in run.syncs]
        axes.plot(times, fills, color=color, linestyle=line, drawstyle="steps-post", linewidth=1.2)
    axes.set_xlabel(f"time, {unit}")
    axes.set_ylabel("endpoints / room in slices")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def _draw_tradeoff(axes: Axes, chart: Chart, styles: Mapping[str, _Style]) -> None:
    from matplotlib.ticker import MaxNLocator

    curve = [(fill, _mean_slices(run), run.writes) for fill, run in chart.curve.items()]
    axes.plot(
        [slices for _, slices, _ in curve],
        [writes for _, _, writes in curve],
        color=_CURVE_COLOR,
        linewidth=1,
        marker=".",
        zorder=1,
    )
    ends = zip(curve[:: max(1, len(curve) - 1)], (7, -14), strict=False)
    for (fill, slices, writes), below in ends:
        axes.annotate(
            f"{fill:g}",
            (slices, writes),
            color="#666666",
            fontsize=8,
            ha="center",
            textcoords="offset points",
            xytext=(0, below),
        )
    for name, run in chart.runs.items():
        color, _, marker = styles[name]
        axes.plot([_mean_slices(run)], [run.writes], color=color, linestyle="", marker=marker)
    axes.axhline(max(run.lower_bound for run in chart.runs.values()), **_BOUND)
    axes.set_xlabel("slices, mean over time")
    axes.set_ylabel("writes")
    axes.margins(0.12)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")


def _mean_slices(run: Run) -> float:
    """How many slices there were on average, from the first sync to the last."""
    spans = [(now.slices, after.at - now.at) for now, after in pairwise(run.syncs)]
    total = sum(span for _, span in spans)
    if not total:
        return float(run.final_slices)
    return sum(slices * span for slices, span in spans) / total
