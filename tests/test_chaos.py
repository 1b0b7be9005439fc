"""Two replicas in a storm of faults lose nothing, and the judge who says so has eyes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest.mock import PropertyMock, patch

import attrs
import pytest

from endpointslice import EndpointSlice, ObjectMeta, Plan, SliceTracker
from endpointslice.clients import Outcome, SliceRequest, Verb, applying
from endpointslice.clients.results import ApplyResult
from endpointslice.diff import ownership
from endpointslice.plan import build
from tests.chaos import FAULTS, OVER_HTTP, deaths, histories, history
from tests.test_reconcile_laws import STRATEGIES

HISTORIES = 2000
#: What once went wrong, and a history in which it does if what repaired it is taken away again.
#: Smaller cases of the same are in tests/test_writers_laws.py and tests/test_apply_plan_to.py.
PAST = {
    "two replicas, two copies": 18,
    "an update that is no write": 28,
    "an older copy in a slice that was not written": 1012,
    "no answer, then a quota": 60,
    "no answer, then a conflict": 433,
    "no answer to an update that takes a label away": 26,
    "a label that server-side apply leaves": 3,
}


def test_two_replicas_in_a_storm_lose_nothing() -> None:
    reports = histories(range(HISTORIES))
    assert [f"seed {item.seed}: {item.violation}" for item in reports if item.violation] == []
    total: Counter[str] = Counter()
    for report in reports:
        total.update(report.counts)
        assert report.syncs > 0
    assert all(total[fault] > HISTORIES / 20 for fault in FAULTS), total
    assert all(total[f"outcome {outcome}"] > HISTORIES / 20 for outcome in Outcome), total
    assert sum(report.effects for report in reports) > 10 * HISTORIES


@pytest.mark.parametrize("what", PAST)
def test_what_went_wrong_goes_well(what: str) -> None:
    assert history(PAST[what]).violation == ""


@pytest.mark.parametrize("strategy", range(len(STRATEGIES)))
def test_a_replica_may_die_after_each_request_of_its_plan(strategy: int) -> None:
    assert sum(deaths(strategy + len(STRATEGIES) * i) for i in range(1, 7)) > 6


def test_a_seed_is_a_history() -> None:
    """The same, word for word, in another process with other hashes."""
    told: list[str] = []
    history(11, log=told.append)
    assert len(told) > 100
    for hash_seed in ("1", "2"):
        again = subprocess.run(
            [sys.executable, "-m", "tests.chaos", "--seed", "11"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert again.stdout.splitlines() == told


# --- the judge --------------------------------------------------------------------------------


def _unguarded(verb: Verb) -> Callable[..., SliceRequest]:
    """Requests that do not say which version they are for."""
    original = applying._Writer._request

    def request(self: Any, operation: Any, name: str) -> SliceRequest:
        made = original(self, operation, name)
        if made.verb is verb and made.manifest is not None:
            made.manifest["metadata"].pop("resourceVersion", None)
        return attrs.evolve(made, resource_version="") if made.verb is verb else made

    return request


def _takes_unknown_for_failed(operation: Any, outcome: Outcome, *rest: Any) -> Any:
    is_unknown = outcome is Outcome.UNKNOWN
    return _RESULT(operation, Outcome.FAILED if is_unknown else outcome, *rest)


def _loses_annotations(write: Any, stored: EndpointSlice, template: Any) -> EndpointSlice:
    made = _REWRITTEN(write, stored, template)
    return attrs.evolve(made, metadata=attrs.evolve(made.metadata, annotations={}))


def _creates_blindly(self: Any, operation: Any, *rest: Any) -> Any:
    if operation.before is None:
        return applying._Found.UNTOUCHED, None
    return (yield from _READ_BACK(self, operation, *rest))


def _whole(result: ApplyResult) -> Plan:
    return Plan(tuple(item.operation for item in result.results))


_RESULT = applying._result
_REWRITTEN = build._rewritten
_READ_BACK = applying._Writer._read_back
_ORDER = build._order_by_moves

#: What is taken away, and what the judge must say to it.
SABOTAGE: dict[str, tuple[Any, str]] = {
    "the newest copy is nothing special": (
        patch.object(ObjectMeta, "revision", new_callable=PropertyMock, return_value=0),
        "took the last copy",
    ),
    "a slice is written as it stands": (
        patch.object(build, "_is_idle", lambda write: False),
        "nobody has written it|took the last copy",
    ),
    "labels that go are left to server-side apply": (
        patch.object(applying, "_takes_away", lambda operation: False),
        "nobody has written it",
    ),
    "givers do not wait for receivers": (
        patch.object(applying, "_given", lambda operation: set()),
        "took the last copy",
    ),
    "moves in any order": (
        patch.object(build, "_order_by_moves", lambda draft: _ORDER(draft)[::-1]),
        "is in no slice after it",
    ),
    "deletes without a version": (
        patch.object(applying._Writer, "_request", _unguarded(Verb.DELETE)),
        "which is another's|took the last copy",
    ),
    "updates without a version": (
        patch.object(applying._Writer, "_request", _unguarded(Verb.UPDATE)),
        "took the last copy|which is another's|nobody has written it",
    ),
    "what is found is wanted": (
        patch.object(applying, "_is_wanted", lambda stands, after: True),
        "it never stood so",
    ),
    "unknown is failed": (
        patch.object(applying, "_result", _takes_unknown_for_failed),
        "it had its effect",
    ),
    "a create is repeated blindly": (
        patch.object(applying._Writer, "_read_back", _creates_blindly),
        "one operation created",
    ),
    "no cache is stale": (
        patch.object(SliceTracker, "is_stale", lambda self, slices: False),
        "plans without its write",
    ),
    "nothing is tracked": (
        patch.object(ApplyResult, "tracked", lambda self, tracker: tracker),
        "plans without its write",
    ),
    "deletions are not told": (
        patch.object(SliceTracker, "deleted", lambda self, last: self),
        "waits for ever",
    ),
    "annotations of others": (
        patch.object(build, "_rewritten", _loses_annotations),
        "changed annotations",
    ),
    "slices of others": (
        patch.object(ownership, "is_visible", lambda meta, template: True),
        "several managers|another's",
    ),
    "slices of a Service that is gone": (
        patch.object(ownership, "is_stale", lambda meta, template: False),
        "second controller|changed the owners",
    ),
    "written is what was planned": (
        patch.object(ApplyResult, "written", property(_whole)),
        "waits for ever",
    ),
}


@pytest.mark.parametrize("what", SABOTAGE)
def test_the_judge_sees(what: str) -> None:
    sabotage, sentence = SABOTAGE[what]
    with sabotage:
        ends = (history(seed).violation for seed in range(1, 300) if seed % OVER_HTTP)
        found = next(filter(None, ends), "")
    assert re.search(sentence, found), found
