"""What a pass, the doors and a change cost, side by side in one run.

    python -m benchmarks.compare [--before REVISION] [--n 100000] [--rounds 5] [--markdown]

Prints medians of CPU time, measured in interleaved rounds, so that the ratios mean something on a
machine that does other work too:

- `floor` is `{e.key: e for e in endpoints}` over the desired endpoints, the least that anything
  of the kind must do;
- `naive` is the naive reconcile, `unordered` the same without its sort of what is new, where that
  is much, so that its answer depends on the order of its input, and `as naive` is
  `KubernetesPacking`, which packs as it does;
- `now` is the default strategy, and `before` is the same of another revision, by default the
  parent commit, in a process of its own.

Nothing is gated: the exit status is 0.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.cases import (
    APPLY,
    DECODE,
    DOORS,
    RECONCILE,
    TAKE_OVER,
    WHOLE,
    Case,
    run_naive,
    run_reconcile,
)
from benchmarks.scenarios import CAPACITY, Kind, Order, Scenario, build, build_dicts
from benchmarks.timing import duration, table
from benchmarks.workers import HERE, Worker, revision, side_by_side, worker

__all__ = ["check", "commit", "compare", "main"]

#: At least so many times as fast as the naive reconcile, in either order.
_NAIVE_TARGETS: Final = {
    Kind.NOOP_SHARED: 10,
    Kind.NOOP_DISTINCT: 4,
    Kind.ONE_REPLACED: 8,
    Kind.ALL_REPLACED: 4,
}
#: Milliseconds for 100,000 endpoints, in a quiet moment: in memory order, and shuffled.
_TARGETS: Final = {
    Kind.NOOP_SHARED: (18, 55),
    Kind.NOOP_DISTINCT: (40, 80),
    Kind.ONE_REPLACED: (20, 60),
    Kind.PERCENT_REPLACED: (22, 72),
    Kind.ALL_REPLACED: (65, 140),
    Kind.UNREADY: (35, 90),
    Kind.COLD: (90, 135),
}
#: Seconds for a change, and for 100,000 endpoints.
_AIMS_OF_CHANGES: Final = dict.fromkeys((case.title for case in APPLY), 12e-6)
_AIMS_OF_DOORS: Final = {"decode_slices, from dicts": 0.35, "group_endpoints": 0.30}


def check(scenario: Scenario) -> None:
    """Assert that both answers are right.

    There are as many writes as there must be, to slices of the same names and sizes, and these
    hold the same Pods: which Pod is in which slice is for each to choose.
    """
    plan = run_reconcile(scenario)
    counts = (len(plan.creates), len(plan.updates), len(plan.deletes))
    assert counts == (scenario.creates, scenario.updates, 0), (scenario.kind, counts)
    naive = run_naive(build_dicts(scenario.kind, scenario.n, scenario.order))
    assert counts == (len(naive.creates), len(naive.updates), len(naive.deletes)), scenario.kind
    after = [create.after for create in plan.creates] + [update.after for update in plan.updates]
    naive_after = naive.creates + naive.updates
    assert Counter((stored.name, len(stored.endpoints)) for stored in after) == Counter(
        (stored["metadata"].get("name", ""), len(stored["endpoints"])) for stored in naive_after
    )
    assert Counter(
        (endpoint.target_ref.name, endpoint.conditions.ready)
        for stored in after
        for endpoint in stored.endpoints
        if endpoint.target_ref is not None
    ) == Counter(
        (endpoint["targetRef"]["name"], endpoint["conditions"]["ready"])
        for stored in naive_after
        for endpoint in stored["endpoints"]
    )


def import_time(rounds: int) -> float:
    """Return the microseconds that `import endpointslice` takes after `import attrs`.

    Compiled once, as an installed package is, to a place that is thrown away.
    """
    command = [sys.executable, "-X", "importtime", "-c", "import attrs; import endpointslice"]
    found = []
    with TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(rounds + 1):
            done = subprocess.run(
                command, check=True, capture_output=True, text=True, env=environment
            )
            line = re.search(r"\|\s*(\d+) \| endpointslice$", done.stderr, re.MULTILINE)
            assert line is not None
            found.append(int(line[1]))
    return median(found[1:])


def _ratio(one: float | None, other: float | None) -> str:
    return f"{one / other:.2f}x" if one and other else "-"


def _time(seconds: float | None, factor: float = 1) -> str:
    return "-" if seconds is None else duration(seconds * factor)


class _Comparison:
    """Tables of medians, by the process of this checkout and that of another revision."""

    def __init__(self, now: Worker, before: Worker | None, rounds: int, *, markdown: bool) -> None:
        self._now = now
        self._before = before
        self._rounds = rounds
        self._markdown = markdown

    def _medians(
        self, case: Case, n: int, ours: Mapping[str, str], thing: str = "default"
    ) -> dict[str, float]:
        columns = {name: (self._now, found) for name, found in ours.items()}
        if self._before is not None:
            columns["before"] = (self._before, thing)
        found = side_by_side(case, n, columns, self._rounds)
        return {name: median(times) / case.changes for name, times in found.items()}

    def _table(self, heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
        return table(heads, rows, markdown=self._markdown)

    def full_pass(self, n: int) -> str:
        """Every scenario and order."""
        rows = []
        for (kind, order), case in RECONCILE.items():
            check(build(kind, min(n, 1_000), order))
            ours = {
                "floor": "floor",
                "naive": "naive",
                "as naive": "KubernetesPacking",
                "now": "default",
            }
            if kind in (Kind.ALL_REPLACED, Kind.COLD):
                ours["unordered"] = "unordered"
            found = self._medians(case, n, ours)
            target = _NAIVE_TARGETS.get(kind)
            aim = _TARGETS[kind][order is Order.SHUFFLED] * n / 100_000
            rows.append(
                (
                    kind,
                    order,
                    _time(found["floor"]),
                    _time(found["naive"]),
                    _time(found["unordered"]) if "unordered" in found else "",
                    _time(found["as naive"]),
                    _ratio(found["naive"], found["as naive"])
                    + (f" (>= {target}x)" if target else ""),
                    _time(found.get("before")),
                    f"{_time(found['now'])} (<= {aim:g} ms)",
                    _ratio(found.get("before"), found["now"]),
                    f"{found['now'] / found['floor']:.1f}",
                )
            )
        heads = (
            "scenario",
            "order",
            "floor",
            "naive",
            "unordered",
            "as naive",
            "naive / as naive",
            "before",
            "now (aim)",
            "before / now",
            "now / floor",
        )
        return self._table(heads, rows)

    def small(self) -> str:
        """Services as most are."""
        rows = []
        for n in (1, 10, 100):
            for kind in (Kind.NOOP_SHARED, Kind.NOOP_DISTINCT, Kind.ONE_REPLACED, Kind.COLD):
                case = RECONCILE[kind, Order.MEMORY]
                found = self._medians(case, n, {"naive": "naive", "now": "default"})
                rows.append((kind, f"{n}", *self._beside(found, "naive", "before", "now")))
        return self._table(("scenario", "n", "naive", "before", "now", "before / now"), rows)

    def _beside(self, found: Mapping[str, float], *names: str) -> list[str]:
        return [
            *(_time(found.get(name)) for name in names),
            _ratio(found.get("before"), found.get("now")),
        ]

    def doors(self, n: int) -> str:
        """In and out, for n endpoints or Pods."""
        rows = []
        for case in (*DOORS, *TAKE_OVER):
            found = self._medians(case, n, {"now": "default"})
            aim = _time(_AIMS_OF_DOORS.get(case.title), n / 100_000)
            rows.append((case.title, *self._beside(found, "before", "now"), aim))
        return self._table(("", "before", "now", "before / now", "aim"), rows)

    def decode(self, n: int) -> str:
        """Several ways to read n endpoints."""
        rows = []
        columns = {name: (self._now, name) for name in DECODE.things}
        if self._before is not None:
            columns |= {
                f"before: {name}": (self._before, name) for name in list(DECODE.things)[1:4]
            }
        found = side_by_side(DECODE, n, columns, self._rounds)
        least = median(found["json.loads alone"])
        for name, times in found.items():
            time = median(times)
            aim = _time(_AIMS_OF_DOORS.get(name), n / 100_000)
            rows.append((name, _time(time), f"{time / n * 1e6:.2f} us", _ratio(time, least), aim))
        return self._table(("", "time", "an endpoint", "to json alone", "aim"), rows)

    def changes(self, n: int) -> str:
        """One change and many."""
        rows = []
        for case in (*APPLY, *WHOLE):
            found = self._medians(case, n, {"now": "default"})
            aim = _time(_AIMS_OF_CHANGES.get(case.title))
            rows.append((case.title, *self._beside(found, "before", "now"), aim))
        return self._table(("", "before", "now", "before / now", "aim"), rows)


def compare(n: int, rounds: int, before: str | None, *, markdown: bool) -> Iterable[str]:
    """Yield headings and tables."""
    with ExitStack() as stack:
        now = stack.enter_context(worker(HERE))
        other = None
        if before is not None:
            other = stack.enter_context(worker(stack.enter_context(revision(before))))
            if not other.is_alive:
                yield f"{before} cannot be measured by these benchmarks."
                other = None
        comparison = _Comparison(now, other, rounds, markdown=markdown)
        yield f"A full pass, n = {n:,}, slices of {CAPACITY}:"
        yield comparison.full_pass(n)
        yield "Small Services, desired in memory order:"
        yield comparison.small()
        yield f"Changes alone, n = {n:,}:"
        yield comparison.changes(n)
        yield f"Decode, n = {n:,}:"
        yield comparison.decode(n)
        yield f"Other doors, and slices of others, which are smaller, n = {n:,}:"
        yield comparison.doors(n)
    imported = import_time(rounds)
    yield f"`import endpointslice` after `import attrs`: {imported / 1e3:.0f} ms (<= 60 ms)."


def commit(name: str) -> str | None:
    """Return the short name of a git revision; None where there is none."""
    if shutil.which("git") is None:
        return None
    done = subprocess.run(
        ["git", "rev-parse", "--short", "--verify", f"{name}^{{commit}}"],
        cwd=HERE,
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() or None


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--before", default="HEAD~1", help="a git revision")
    parser.add_argument("--n", type=int, default=100_000, help="endpoints, a multiple of 1,000")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    before = commit(options.before)
    print(f"Python {sys.version.split()[0]}; before: {before}")
    for part in compare(options.n, options.rounds, before, markdown=options.markdown):
        print(f"\n{part}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
