"""The server against the recorded answers of a real one, and the page that says so."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from tests.apiserver_replay import (
    HIDDEN,
    OBSERVED,
    Outcome,
    Replay,
    load,
    replay_all,
    table,
)

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "testing.md"
CASES = [case["case"] for case in load()]


@functools.cache
def outcomes() -> tuple[Outcome, ...]:
    return tuple(replay_all())


@pytest.mark.parametrize(
    "number", range(len(CASES)), ids=lambda number: f"{number} {CASES[number]}"
)
def test_an_answer_is_as_recorded(number: int) -> None:
    assert not outcomes()[number].differences


def test_every_recorded_case_is_replayed() -> None:
    assert len(CASES) == 157
    assert [outcome.case for outcome in outcomes()] == CASES
    assert {*HIDDEN, *OBSERVED} <= {*CASES}


def test_the_page_has_the_table_of_what_matches() -> None:
    assert table(list(outcomes())) in PAGE.read_text(encoding="utf-8")


def test_a_comparison_sees_what_differs() -> None:
    replay = Replay()
    theirs = {"uid": "a", "resourceVersion": "5", "ports": None}
    ours = {"uid": "b", "resourceVersion": "9", "ports": None}
    assert not replay.compare(theirs, ours)
    assert replay.compare(theirs, {**ours, "uid": "c"}) == [".uid: c for a"]
    assert replay.compare({**theirs, "ports": []}, ours)
    assert replay.compare({"a": 1}, {"a": 1, "b": 2}) == [".b: too much"]
    assert replay.compare({"a": "x is 5 of 7"}, {"a": "x is 9 of 8"})
    assert not replay.compare({"a": "x is 5 of 7"}, {"a": "x is 9 of 7"})
