"""The command `simulate`: what it runs, prints, draws and refuses, and how it ends."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import attrs
import pytest
from click.testing import CliRunner, Result

from endpointslice.cli import plots, simulation_rendering
from endpointslice.cli.commands import cli
from endpointslice.cli.simulation import Simulation, run_simulation
from endpointslice.packing import Generational, KubernetesPacking, MinimalWrites, Partitioned
from endpointslice.simulate import Job, Trace, decode_trace, read_trace, simulate, workloads
from endpointslice.simulate import Result as JobResult

ROOT: Final = Path(__file__).parent.parent
STEPS: Final = ("WRITES", "RATIO", "BYTES", "RATIO", "PEAK", "FILL", "MOVED")

Write = Callable[..., str]


def history(**more: Any) -> dict[str, Any]:
    """Thirty pods on three nodes; then one after another terminates and goes."""
    steps: list[dict[str, Any]] = [{"add": [[i, i % 3, "r"] for i in range(30)]}]
    for i in range(0, 30, 2):
        steps += [{"set": [[i, "t"]]}, {"del": [i]}]
    return {"nodes": 3, "zones": 1, "steps": steps, **more}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes JSON, or text as it is, to a file and returns its path."""

    def _write(content: Any = None, name: str = "mine.json") -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content or history())
        path.write_text(text)
        return str(path)

    return _write


def run(*arguments: str, small: bool = True) -> Result:
    """Run the command in this process, on slices of ten."""
    options = ("--max-endpoints-per-slice", "10", "--jobs", "1") if small else ()
    result = CliRunner().invoke(cli, ["simulate", *arguments, *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def data(*arguments: str, small: bool = True) -> Any:
    result = run(*arguments, "-o", "json", small=small)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def by_strategy(runs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {item["strategy"]: item for item in runs}


# --- what is run ------------------------------------------------------------------------------


def test_runs_have_the_totals_of_the_library(write: Write) -> None:
    file = write()
    (found, baseline) = data("--trace", file, "--strategy", "generational,kubernetes")["runs"]
    trace = read_trace(Path(file))
    run = simulate(trace, Generational(), max_endpoints_per_slice=10)
    base = simulate(trace, KubernetesPacking(), max_endpoints_per_slice=10)
    assert found == {
        "workload": "mine",
        "seed": 0,
        "strategy": "generational",
        "writes": run.writes,
        "creates": run.cost.creates,
        "updates": run.cost.updates,
        "deletes": run.cost.deletes,
        "bytesWritten": run.bytes_written,
        "watchers": 3,
        "bytesOnWire": run.bytes_on_wire(3),
        "bytesPerWatcher": run.bytes_written,
        "peakSlices": run.peak_slices,
        "finalSlices": run.final_slices,
        "meanFill": round(run.mean_fill, 4),
        "endpointsMoved": run.endpoints_moved,
        "longestPlan": run.longest_plan,
        "lowerBound": run.lower_bound,
        "ratios": {
            "writes": round(run.writes / base.writes, 4),
            "bytesWritten": round(run.bytes_written / base.bytes_written, 4),
            "bytesPerWatcher": round(run.bytes_written / base.bytes_written, 4),
            "peakSlices": round(run.peak_slices / base.peak_slices, 4),
            "lowerBound": round(run.writes / run.lower_bound, 4),
        },
    }
    assert set(baseline["ratios"].values()) == {1.0, baseline["ratios"]["lowerBound"]}


def test_kubernetes_is_run_to_compare_with_though_nobody_asks_for_it(write: Write) -> None:
    asked = data("--trace", write(), "--strategy", "minimal")["runs"]
    assert [item["strategy"] for item in asked] == ["kubernetes", "minimal"]


def test_strategies_come_in_the_order_asked_for_and_each_once(write: Write) -> None:
    found = data(
        *("--trace", write(), "--strategy", "minimal, generational:min_fill=0.9"),
        *("--strategy", "kubernetes,minimal:merge=true,minimal"),
    )
    names = ["minimal", "generational:min_fill=0.9", "kubernetes"]
    assert [item["strategy"] for item in found["runs"]] == names
    assert [item["strategy"] for item in found["summary"]] == names


def test_by_default_what_is_interesting_is_compared(write: Write) -> None:
    names = [item["strategy"] for item in data("--trace", write())["runs"]]
    assert names == ["kubernetes", "minimal", "generational"]


def test_the_default_capacity_and_period_are_those_of_kubernetes(write: Write) -> None:
    found = data("--trace", write(), small=False)
    assert (found["maxEndpointsPerSlice"], found["batchPeriod"]) == (100, 1.0)
    assert {item["peakSlices"] for item in found["runs"]} == {1}


def test_nodes_are_those_of_the_trace_or_as_many_as_are_said(write: Write) -> None:
    file = write()
    (first, *_) = data("--trace", file)["runs"]
    (many, *_) = data("--trace", file, "--nodes", "5000")["runs"]
    assert (first["watchers"], many["watchers"]) == (3, 5000)
    assert many["bytesOnWire"] == 5000 * many["bytesWritten"] == 5000 * first["bytesWritten"]


def test_a_longer_batch_period_means_fewer_syncs(write: Write) -> None:
    file = write()
    bounds = [
        data("--trace", file, "--batch-period", period)["runs"][0]["lowerBound"]
        for period in ("0", "0.5", "1", "5")
    ]
    # Thirty pods come in the first second, and then there is one change in every second.
    assert bounds == [60, 32, 31, 7]


def test_workloads_are_run_for_every_seed_and_traces_once(write: Write) -> None:
    arguments = ("--workload", "roll-out-10-x3", "--trace", write(), "--strategy", "kubernetes")
    found = data(*arguments, "--seeds", "2")
    seeds = [(item["workload"], item["seed"]) for item in found["runs"]]
    assert seeds == [("roll-out-10-x3", 0), ("roll-out-10-x3", 1), ("mine", 0)]
    assert found["runs"][0]["bytesWritten"] != found["runs"][1]["bytesWritten"]
    again = data(*arguments, "--seeds", "2", "--random-uids")
    assert [item["seed"] for item in again["runs"]] == [0, 1, 0, 1]


def test_random_uids_are_those_of_the_seed(write: Write) -> None:
    file = write()
    options = ("--trace", file, "--strategy", "generational:exit_order=uid", "--random-uids")
    found = data(*options, "--seeds", "3")
    assert found["randomUids"]
    trace = read_trace(Path(file))
    expected = [
        simulate(
            trace.with_random_uids(seed), Generational(exit_order="uid"), max_endpoints_per_slice=10
        ).writes
        for seed in range(3)
    ]
    runs = [item for item in found["runs"] if item["strategy"] != "kubernetes"]
    assert [item["writes"] for item in runs] == expected


def test_all_is_every_workload_and_a_name_counts_once(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = [
        attrs.evolve(workloads.WORKLOADS["roll-out-10-x3"], name=name, pods=count)
        for name, count in (("one", 1), ("two", 2))
    ]
    monkeypatch.setattr(workloads, "WORKLOADS", {item.name: item for item in small})
    for names in (["all"], ["one,two,one"], ["two,all"], ["one", "--workload", "two"]):
        found = data("--workload", *names, "--strategy", "kubernetes")
        assert [item["workload"] for item in found["runs"]] == ["one", "two"]


def test_two_traces_of_one_name_are_told_apart(write: Write) -> None:
    first, other = write(), write(history(zones=2), name="other/mine.json")
    found = data("--trace", first, "--trace", other, "--trace", first, "--strategy", "kubernetes")
    assert [item["workload"] for item in found["runs"]] == ["mine", other]


def test_what_kubectl_saw_on_a_watch_is_a_trace_too(tmp_path: Path) -> None:
    def event(kind: str, at: float, pod: int, *, ready: bool) -> dict[str, Any]:
        status = {
            "podIP": f"10.0.0.{pod}",
            "podIPs": [{"ip": f"10.0.0.{pod}"}],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        }
        meta = {"name": f"web-{pod}", "namespace": "shop", "uid": f"uid-{pod}"}
        manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "status": status}
        return {"type": kind, "at": at, "object": manifest | {"spec": {"nodeName": "n1"}}}

    events = [event("ADDED", 1e9, pod, ready=True) for pod in range(1, 4)]
    events += [event("MODIFIED", 1e9 + 2, 1, ready=False), event("DELETED", 1e9 + 4, 2, ready=True)]
    path = tmp_path / "watch.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, events)).encode()))
    (found,) = data("--trace", str(path), "--strategy", "kubernetes")["runs"]
    assert (found["workload"], found["writes"], found["lowerBound"]) == ("watch", 3, 3)


def test_the_old_api_can_be_compared_with_though_it_leaves_endpoints_out(write: Write) -> None:
    steps = [{"add": [[i, 0, "r"] for i in range(1001)]}, {"set": [[7, "n"]]}]
    file = write({"nodes": 1, "zones": 1, "steps": steps})
    found = by_strategy(data("--trace", file, "--strategy", "single-object")["runs"])
    assert found["single-object"]["writes"] == 2


def test_results_do_not_depend_on_the_number_of_processes(write: Write) -> None:
    arguments = ("--workload", "roll-out-10-x3", "--trace", write(), "--seeds", "2", "-o", "json")
    alone = run(*arguments, "--jobs", "1", small=False)
    together = run(*arguments, "--jobs", "2", small=False)
    assert alone.exit_code == together.exit_code == 0
    assert alone.stdout == together.stdout


# --- what is printed --------------------------------------------------------------------------


def rows(text: str) -> dict[str, list[str]]:
    """The table's rows by their first words: the last one of each name."""
    found = {}
    for line in text.splitlines():
        name, *cells = line.strip().split("  ")
        found[name.strip()] = [cell.strip() for cell in cells if cell.strip()]
    return found


def test_the_table_has_a_row_for_each_strategy_and_the_lower_bound(write: Write) -> None:
    file = write()
    result = run("--trace", file)
    table = rows(result.stdout)
    assert table["STRATEGY"] == list(STEPS)
    runs = by_strategy(data("--trace", file)["runs"])
    for name, item in runs.items():
        writes, ratio, *_, peak, fill, moved = table[name]
        assert writes == str(item["writes"])
        assert ratio == f"{item['ratios']['writes']:.2f}"
        assert (peak, moved) == (str(item["peakSlices"]), str(item["endpointsMoved"]))
        assert fill == f"{item['meanFill']:.0%}"
    bound = runs["kubernetes"]["lowerBound"]
    assert table["lower bound"] == [str(bound), f"{bound / runs['kubernetes']['writes']:.2f}"]
    assert "slices of 10, a sync every 1 s" in result.stdout
    assert "mean" not in result.stdout


def test_totals_of_another_implementation_stand_beside_ours(write: Write) -> None:
    totals = {"writes": 90, "bytes": 123_456, "peak_slices": 4}
    file = write(history(reference=totals))
    table = rows(run("--trace", file).stdout)
    base = by_strategy(data("--trace", file)["runs"])["kubernetes"]
    ratios = [f"{90 / base['writes']:.2f}", f"{123_456 / base['bytesWritten']:.2f}"]
    assert table["reference (recorded)"] == ["90", ratios[0], "123 kB", ratios[1], "4"]
    assert data("--trace", file)["references"] == [{"workload": "mine", "totals": totals}]
    some = rows(run("--trace", write(history(reference={"writes": 90}))).stdout)
    assert some["reference (recorded)"] == ["90", ratios[0]]


def test_several_workloads_are_summed_up_by_their_geometric_mean(write: Write) -> None:
    other = write(history(steps=history()["steps"][:9]), name="other.json")
    arguments = ("--trace", write(), "--trace", other, "--strategy", "minimal")
    found = data(*arguments)
    ratios = [item["ratios"]["writes"] for item in found["runs"] if item["strategy"] == "minimal"]
    (summary,) = [item for item in found["summary"] if item["strategy"] == "minimal"]
    assert summary["workloads"] == 2
    assert summary["ratios"]["writes"] == pytest.approx((ratios[0] * ratios[1]) ** 0.5, abs=1e-3)
    text = run(*arguments).stdout
    assert "geometric mean of 2 workloads" in text
    assert rows(text)["minimal"][0] == f"{summary['ratios']['writes']:.2f}"


def test_seeds_are_averaged_over(write: Write) -> None:
    arguments = ("--workload", "roll-out-10-x3", "--strategy", "kubernetes", "--seeds", "3")
    writes = [item["writes"] for item in data(*arguments)["runs"]]
    text = run(*arguments).stdout
    assert "roll-out-10-x3, mean of 3 seeds" in text
    assert rows(text)["kubernetes"][0] == f"{sum(writes) / 3:.0f}"


def test_strategies_are_run_by_zone_too_and_what_is_sent_is_shown(write: Write) -> None:
    arguments = ("--trace", write(), "--strategy", "minimal", "--partition-by", "zone")
    whole, by_zone = (
        by_strategy(data(*arguments)["runs"]),
        simulate(
            read_trace(Path(write())),
            Partitioned("zone", MinimalWrites()),
            max_endpoints_per_slice=10,
        ),
    )
    assert list(whole) == ["kubernetes", "minimal", "minimal by zone"]
    assert whole["minimal by zone"]["writes"] == by_zone.writes
    assert whole["minimal by zone"]["bytesOnWire"] == by_zone.bytes_on_wire(3)
    assert whole["minimal by zone"]["bytesPerWatcherByZone"] == list(by_zone.bytes_received)
    assert "bytesPerWatcherByZone" not in whole["minimal"]
    table = rows(run(*arguments).stdout)
    assert table["STRATEGY"][-2:] == ["SENT", "RATIO"]
    ratio = whole["minimal by zone"]["ratios"]["bytesPerWatcher"]
    assert f"{ratio:.2f}" in run(*arguments).stdout
    wide = run(*arguments, "-o", "wide").stdout
    assert "minimal by zone" in wide


def test_wide_tables_show_more(write: Write) -> None:
    file = write()
    result = run("--trace", file, "--nodes", "1000", "-o", "wide")
    table = rows(result.stdout)
    base = by_strategy(data("--trace", file)["runs"])["kubernetes"]
    assert table["STRATEGY"][7:] == ["CREATES", "UPDATES", "DELETES", "SENT", "FINAL", "LONGEST"]
    counts = [base[name] for name in ("creates", "updates", "deletes")]
    assert table["kubernetes"][7:10] == list(map(str, counts))
    assert table["kubernetes"][10] == f"{base['bytesWritten'] / 1000:.1f} MB"


def test_the_table_fits_a_narrow_terminal() -> None:
    traces = sorted(ROOT.glob("docs/examples/traces/*.json.gz"))
    result = run("--trace", str(min(traces, key=lambda path: path.stat().st_size)))
    assert max(map(len, result.stdout.splitlines())) < 80


def test_csv_says_what_json_says(write: Write) -> None:
    arguments = ("--trace", write(), "--workload", "roll-out-10-x3")
    table = list(csv.DictReader(io.StringIO(run(*arguments, "-o", "csv").stdout)))
    for row, item in zip(table, data(*arguments)["runs"], strict=True):
        ratios = item.pop("ratios")
        expected = item | {f"{name}Ratio": ratio for name, ratio in ratios.items()}
        assert row == {name: str(value) for name, value in expected.items()}


def test_syncs_are_listed_only_if_asked_for(write: Write) -> None:
    file = write()
    assert all("syncs" not in item for item in data("--trace", file)["runs"])
    (item, *_) = data("--trace", file, "--syncs")["runs"]
    syncs = item["syncs"]
    assert sum(sync["writes"] for sync in syncs) == item["writes"]
    assert sum(sync["bytesWritten"] for sync in syncs) == item["bytesWritten"]
    assert max(sync["slices"] for sync in syncs) == item["peakSlices"]
    assert (syncs[0]["at"], syncs[0]["endpoints"], syncs[-1]["endpoints"]) == (1.0, 30, 15)


def test_a_trace_without_changes_compares_as_nothing_to_nothing(write: Write) -> None:
    file = write({"nodes": 1, "zones": 1, "steps": []})
    assert rows(run("--trace", file).stdout)["minimal"][:2] == ["0", "1.00"]
    assert data("--trace", file)["runs"][0]["ratios"]["writes"] == 1.0


def test_the_reference_page_names_every_field(write: Write) -> None:
    file = write(history(reference={"writes": 1}))
    found = data("--trace", file, "--syncs", "--partition-by", "zone")
    found["runs"] = found["runs"][-1:]
    page = (ROOT / "docs/reference/command-line.md").read_text()
    section = page.partition("## `endpointslice simulate`")[2].partition("\n## ")[0]

    def fields(value: Any) -> Iterable[str]:
        if isinstance(value, list):
            value = value[0]
        if isinstance(value, dict):
            for name, inner in value.items():
                yield name
                yield from () if name == "totals" else fields(inner)

    for name in fields(found):
        assert f"{name}`" in section or f"{name}[]`" in section, name


def test_help_lists_the_workloads() -> None:
    text = CliRunner().invoke(cli, ["simulate", "--help"]).stdout
    for item in workloads.WORKLOADS.values():
        assert item.name in text
    assert "Examples:" in text
    assert "Exit status:" in text


def test_the_shell_completes_names_of_workloads() -> None:
    environment = {
        "_ENDPOINTSLICE_COMPLETE": "bash_complete",
        "COMP_WORDS": "endpointslice simulate --workload roll-out-1",
        "COMP_CWORD": "3",
    }
    result = CliRunner().invoke(cli, prog_name="endpointslice", env=environment)
    assert result.stdout.split() == ["plain,roll-out-1000", "plain,roll-out-10-x3"]


def test_progress_is_shown_on_a_terminal_alone(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert run("--trace", write()).stderr == ""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with simulation_rendering.progress_bar() as tell:
        tell(1, 7)
    assert "1/7" in terminal.getvalue()


# --- pictures ---------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a page refers to, its tags and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [
            value or "" for name, value in attributes if name in ("href", "src", "xlink:href")
        ]

    def handle_data(self, text: str) -> None:
        self.words.append(text)


def test_a_plot_is_written_in_the_format_of_its_suffix(write: Write, tmp_path: Path) -> None:
    file = write()
    for name in ("plot.png", "plot.svg", "PLOT.HTML"):
        assert run("--trace", file, "--plot", str(tmp_path / name)).exit_code == 0
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert ET.parse(tmp_path / "plot.svg").getroot().tag.endswith("svg")
    page = Page((tmp_path / "PLOT.HTML").read_text())
    assert page.tags.count("svg") == 1
    assert {"kubernetes", "generational", "STRATEGY"} <= set(map(str.strip, page.words))


def test_a_page_needs_nothing_else(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "plot.html"
    run("--trace", write(), "--plot", str(path))
    page = Page(path.read_text())
    assert all(link.startswith("#") for link in page.links)
    assert not {"script", "link", "img"} & set(page.tags)


def test_names_on_a_page_are_text(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "plot.html"
    run("--trace", write(name="a<b>&amp;.json"), "--plot", str(path))
    page = Page(path.read_text())
    assert "a<b>&amp;" in page.words


def test_the_same_runs_give_the_same_plot(write: Write, tmp_path: Path) -> None:
    file, first, second = write(), tmp_path / "a.svg", tmp_path / "b.svg"
    for path in (first, second):
        run("--trace", file, "--plot", str(path))
    assert first.read_bytes() == second.read_bytes()


def test_a_plot_adds_a_curve_and_no_row(write: Write, tmp_path: Path) -> None:
    file = write()
    drawn: list[plots.Chart] = []

    def keep(_path: Path, charts: Iterable[plots.Chart], **_: Any) -> None:
        drawn.extend(charts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "write_plot", keep)
        plain = run("--trace", file, "--strategy", "generational:min_fill=0.9")
        both = run(
            *("--trace", file, "--strategy", "generational:min_fill=0.9"),
            *("--plot", str(tmp_path / "plot.png")),
        )
    assert plain.stdout == both.stdout
    (chart,) = drawn
    assert list(chart.runs) == ["kubernetes", "generational:min_fill=0.9"]
    assert list(chart.curve) == [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert chart.curve[0.9] == chart.runs["generational:min_fill=0.9"]
    trace = read_trace(Path(file))
    assert chart.curve[0.5] == simulate(
        trace, Generational(min_fill=0.5), max_endpoints_per_slice=10
    )


def test_a_trace_that_nothing_happens_in_can_be_drawn(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    file = write({"nodes": 1, "zones": 1, "steps": []})
    assert run("--trace", file, "--plot", str(path)).exit_code == 0
    assert path.exists()


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing option '--workload', '--trace' or '--preset'"),
        (["--workload", "nope"], "'nope' is none of all, roll-out-1000, "),
        (["--workload", "all", "--strategy", "nope"], "must be one of kubernetes, minimal, "),
        (
            ["--workload", "all", "--strategy", "generational:min_fill=0"],
            "min_fill: must be a number above",
        ),
        (["--workload", "all", "--strategy", "generational:min_fill=1.01"], "at most 1, got 1.01"),
        (["--workload", "all", "--strategy", "generational:min_fill=nan"], "min_fill"),
        (["--workload", "all", "--max-endpoints-per-slice", "1001"], "1001 is not in the range"),
        (["--workload", "all", "--batch-period", "-1"], "-1.0 is not in the range"),
        (["--workload", "all", "--batch-period", "nan"], "nan is not in the range"),
        (["--workload", "all", "--seeds", "0"], "0 is not in the range"),
        (["--workload", "all", "--jobs", "0"], "0 is not in the range"),
        (["--workload", "all", "--plot", "plot.gif"], "does not end in one of .png, .svg, .html"),
        (["--workload", "all", "--plot", "nosuch/plot.png"], "'nosuch' is no folder to write to"),
        (["--workload", "all", "--plot", "."], "is a directory"),
        (["--trace", "nosuch.json"], "'nosuch.json' does not exist"),
        (["--preset", "nope"], "'nope' is not one of 'blog', 'kep-752'"),
        (["--preset", "blog", "--workload", "all"], "--preset goes without --workload"),
    ],
)
def test_a_wrong_command_line_is_refused(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments, small=False)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"steps": [{"set": [[7, "r"]]}]}, "steps[0].set[0]: "),
        ({"steps": [{"add": [[7, 0, "r"]]}, {"add": [[7, 0, "r"]]}]}, "steps[1].add[0]: "),
        ({"steps": [{"add": [[7, 3, "r"]]}]}, "steps[0].add[0]: "),
        ({"zones": 0, "steps": []}, "zones: "),
        ('{"nodes": 3, "zones": 1, "steps": [{"add": [[1', "is no JSON"),
        ("", "is no JSON"),
        ("[1, 2]", "must be an object"),
    ],
)
def test_a_bad_trace_is_named_in_one_line(write: Write, content: Any, message: str) -> None:
    if isinstance(content, dict):
        content = {"nodes": 3, "zones": 1, **content}
    good, bad = write(), write(content, name="bad.json")
    result = run("--trace", good, "--trace", bad)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {bad}: {message}")
    assert result.stdout == ""


def test_a_gzip_file_that_is_cut_short_is_named_in_one_line(tmp_path: Path) -> None:
    for name in ("cut.json.gz", "cut.jsonl.gz"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(json.dumps(history()).encode())[:-9])
        result = run("--trace", str(path))
        assert result.exit_code == 2
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"error: {path}: is a broken gzip file")


def test_a_plot_that_cannot_be_written_loses_no_result(write: Write, tmp_path: Path) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "plot.png"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "write_plot", fail)
        result = run("--trace", write(), "--plot", str(path))
    assert result.exit_code == 2
    assert result.stderr == f"error: {path} cannot be written: No space left on device\n"
    assert "lower bound" in result.stdout


def test_a_plot_without_the_extra_says_what_to_install_before_anything_is_run(
    tmp_path: Path,
) -> None:
    code = "import sys; sys.modules['matplotlib'] = None; import endpointslice.cli as c; c.main()"
    arguments = ["simulate", "--workload", "all", "--plot", str(tmp_path / "plot.png")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=ROOT,
    )
    assert done.returncode == 2
    assert "--plot needs matplotlib, which is not installed" in done.stderr
    assert "python -m pip install 'endpointslice[plot]'" in done.stderr
    assert done.stdout == ""


def test_other_commands_import_nothing_that_only_this_one_needs() -> None:
    code = (
        "import sys; from endpointslice.cli.commands import cli; "
        "print([name for name in ('matplotlib', 'numpy', 'rich', 'multiprocessing', "
        "'endpointslice.simulate') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "[]\n"


# --- how it ends ------------------------------------------------------------------------------


def test_an_interrupt_prints_what_is_done_so_far(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Job.run
    left = iter(range(5))

    def interrupted(job: Job) -> JobResult:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return make(job)

    monkeypatch.setattr(Job, "run", interrupted)
    files = [write(name=f"{name}.json") for name in ("first", "second")]
    result = run(*(word for file in files for word in ("--trace", file)))
    assert result.exit_code == 130
    assert "first" in result.stdout
    # Two of three strategies do not compare.
    assert "second" not in result.stdout
    assert result.stderr == "interrupted: 5 of 6 runs were made\n"


def test_an_interrupt_before_the_first_result_prints_no_table(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_job: Job) -> JobResult:
        raise KeyboardInterrupt

    monkeypatch.setattr(Job, "run", interrupted)
    result = run("--trace", write())
    assert (result.exit_code, result.stdout) == (130, "")
    found = run("--trace", write(), "-o", "json")
    assert json.loads(found.stdout)["isComplete"] is False


def small_simulation(*sources: Any) -> Simulation:
    return Simulation(
        sources=sources,
        strategies=(MinimalWrites(),),
        seeds=1,
        random_uids=False,
        max_endpoints_per_slice=10,
        sync_period=1000,
    )


def test_an_interrupt_ends_the_processes_and_keeps_what_they_made() -> None:
    trace = decode_trace(history(), name="mine")
    traces = [attrs.evolve(trace, name=f"mine-{i}") for i in range(20)]

    def interrupt(done: int, _total: int) -> None:
        if done == 3:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    report = run_simulation(
        small_simulation(*traces), processes=2, watchers=None, progress=interrupt
    )
    assert 3 <= len(report.results) < 40
    assert not report.is_complete
    assert report.jobs == 40
    assert signal.getsignal(signal.SIGINT) is before


@attrs.frozen
class Deadly:
    """A source of traces that is the end of who asks for one."""

    name: str = "deadly"
    summary: str = ""

    def trace(self, seed: int) -> Trace:
        os._exit(1)


def test_a_process_that_is_killed_is_an_error_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workloads, "WORKLOADS", {"deadly": Deadly()})
    result = run("--workload", "deadly", "--jobs", "2", small=False)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: a process was killed")
    assert len(result.stderr.splitlines()) == 1
