"""The small suite fails where a count is not the recorded one, and shows both."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from benchmarks import suite
from endpointslice.simulate import WORKLOADS

HISTORY = "real-rollout-one-bucket"


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is recorded of one history; the others take longer, and CI runs them all."""
    jobs = [job for job in suite.small_jobs() if job.source.name == HISTORY]
    file = tmp_path / "suite.json"
    counts = json.loads(suite.RECORDED.read_text(encoding="utf-8"))
    file.write_text(json.dumps({HISTORY: counts[HISTORY]}), encoding="utf-8")
    monkeypatch.setattr(suite, "RECORDED", file)
    monkeypatch.setattr(suite, "small_jobs", lambda: jobs)
    monkeypatch.setattr(suite, "ProcessPoolExecutor", ThreadPoolExecutor)
    return file


def test_the_small_suite_costs_what_is_recorded(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert suite.main(["--check"]) == 0
    assert capsys.readouterr().out == "8 runs of 1 histories cost as recorded\n"


def test_a_count_that_differs_fails_and_is_shown(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts: dict[str, Any] = json.loads(recorded.read_text(encoding="utf-8"))
    found = counts[HISTORY]["Generational"]["writes"]
    counts[HISTORY]["Generational"]["writes"] = found - 1
    recorded.write_text(json.dumps(counts), encoding="utf-8")

    assert suite.main(["--check"]) == 1
    _, _, row, *rest = capsys.readouterr().out.splitlines()
    assert row.split()[:5] == [HISTORY, "Generational", "writes", f"{found - 1}", f"{found}"]
    assert rest == ["", "1 counts differ; if they should, --update, and say so in CHANGELOG.md"]


def test_a_history_that_is_not_recorded_fails(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded.write_text("{}", encoding="utf-8")
    assert suite.main(["--check"]) == 1
    assert HISTORY in capsys.readouterr().out


def test_an_update_records_what_is_found(recorded: Path) -> None:
    before = json.loads(recorded.read_text(encoding="utf-8"))
    recorded.write_text("{}", encoding="utf-8")
    assert suite.main(["--update"]) == 0
    assert json.loads(recorded.read_text(encoding="utf-8")) == before
    assert suite.main(["--check"]) == 0


def test_the_small_suite_has_every_workload_and_every_trace() -> None:
    names = {job.source.name for job in suite.small_jobs()}
    traces = {path.name.partition(".")[0] for path in suite.TRACES.glob("*.json.gz")}
    assert names == traces | set(WORKLOADS)
