"""Counted work: writes, bytes and moves of every strategy, exact.

    python -m benchmarks.counted            # print
    python -m benchmarks.counted --check    # compare with counted.json; exit with 1 if it differs
    python -m benchmarks.counted --write    # write counted.json
    python -m benchmarks.counted --line     # its totals, the line of this release for the docs

Every scenario is planned in both orders, and the counts must agree. The histories are hundreds
of small steps each, one plan a step, as a controller makes them. A change here that is meant
belongs in the changelog, under Plans.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Final

import attrs

from benchmarks.scenarios import (
    CAPACITY,
    Kind,
    Order,
    Population,
    Row,
    build,
    group,
    shuffled,
    slice_manifest,
    template,
)
from benchmarks.timing import table
from endpointslice import (
    Cost,
    Endpoint,
    EndpointSlice,
    Generational,
    KubernetesPacking,
    MinimalWrites,
    PackingStrategy,
    Plan,
    apply_plan,
    decode_slice,
    price_plan,
    reconcile,
)

__all__ = ["STRATEGIES", "count_all", "main", "release_line"]

_FILE: Final = Path(__file__).with_name("counted.json")
_SIZES: Final = (100, 1_000, 10_000)
STRATEGIES: Final[dict[str, PackingStrategy]] = {
    "KubernetesPacking": KubernetesPacking(),
    "MinimalWrites": MinimalWrites(),
    "MinimalWrites(merge=False)": MinimalWrites(merge=False),
    "Generational": Generational(),
}
#: Small slices, so that a history of a few hundred endpoints has a dozen of them.
_HISTORY_CAPACITY: Final = 25

Counts = dict[str, int]
Counted = dict[str, dict[str, Counts]]


def _counts(cost: Cost, minimum: int) -> Counts:
    return {
        "creates": cost.creates,
        "updates": cost.updates,
        "deletes": cost.deletes,
        "bytes_written": cost.bytes_written,
        "endpoints_moved": cost.endpoints_moved,
        "minimum_writes": minimum,
    }


def _plan(
    desired: Iterable[Endpoint],
    current: Iterable[EndpointSlice],
    strategy: PackingStrategy,
    capacity: int,
) -> Plan:
    return reconcile(
        [group(desired)],
        current,
        template=template(),
        strategy=strategy,
        max_endpoints_per_slice=capacity,
    )


def count_scenario(kind: Kind, n: int) -> dict[str, Counts]:
    """Count what each strategy does in one scenario."""
    found: dict[str, Counts] = {}
    for order in Order:
        scenario = build(kind, n, order)
        for name, strategy in STRATEGIES.items():
            plan = _plan(scenario.endpoints, scenario.current, strategy, CAPACITY)
            counts = _counts(price_plan(plan), plan.minimum_writes)
            assert found.setdefault(name, counts) == counts, (kind, n, name, "depends on order")
    return found


# --- histories --------------------------------------------------------------------------------


@attrs.frozen
class _Backend:
    """A Pod at some moment: starting, serving, or on its way out."""

    row: Row
    terminating: bool = False

    def endpoint(self) -> Endpoint:
        manifest = self.row.endpoint()
        manifest["conditions"]["terminating"] = self.terminating
        if self.terminating:
            manifest["conditions"]["ready"] = False
        stored = slice_manifest("web", ())
        stored["endpoints"] = [manifest]
        return decode_slice(stored).endpoints[0]


_State = dict[int, _Backend]


def _with_rows(rows: Iterable[Row]) -> _State:
    return {row.number: _Backend(row) for row in rows}


def rolling_update(random: Random) -> Iterator[_State]:
    """Replace 400 Pods, 20 more than wanted at a time: starting, ready, terminating, gone."""
    population = Population(random, 20)
    state = _with_rows(population.rows(400))
    old = shuffled(sorted(state), random)
    starting: list[tuple[int, int]] = []
    leaving: list[tuple[int, int]] = []
    step = 0
    while old or starting or leaving:
        step += 1
        yield dict(state)
        for due, number in list(leaving):
            if due <= step:
                leaving.remove((due, number))
                del state[number]
        for due, number in list(starting):
            if due <= step:
                starting.remove((due, number))
                state[number] = _Backend(attrs.evolve(state[number].row, ready=True))
                if old:
                    victim = old.pop()
                    state[victim] = attrs.evolve(state[victim], terminating=True)
                    leaving.append((step + 3, victim))
        for _ in range(min(2, 20 - len(starting), len(old) - len(starting))):
            row = attrs.evolve(population.row(), ready=False)
            state[row.number] = _Backend(row)
            starting.append((step + 2 + int(random.random() * 8), row.number))
    yield dict(state)


def scale_down_and_up(random: Random) -> Iterator[_State]:
    """500 Pods, down to 50, up to 300, and down to 100; a few each step."""
    population = Population(random, 20)
    state = _with_rows(population.rows(500))
    leaving: list[int] = []
    yield dict(state)
    for goal in (50, 300, 100):
        while len(state) != goal or leaving:
            for number in leaving:
                del state[number]
            leaving.clear()
            for _ in range(min(5, goal - len(state))):
                row = population.row()
                state[row.number] = _Backend(row)
            leaving += shuffled(sorted(state), random)[: max(0, min(5, len(state) - goal))]
            for number in leaving:
                state[number] = attrs.evolve(state[number], terminating=True)
            yield dict(state)


def flapping(random: Random) -> Iterator[_State]:
    """10 of 400 Pods turn unready and ready again, each at its own time."""
    state = _with_rows(Population(random, 20).rows(400))
    sick = shuffled(sorted(state), random)[:10]
    for _ in range(250):
        yield dict(state)
        for number in sick:
            if random.random() < 0.2:
                row = state[number].row
                state[number] = _Backend(attrs.evolve(row, ready=not row.ready))


def node_drain(random: Random) -> Iterator[_State]:
    """20 nodes of 20 Pods each, drained one after the other; each Pod comes up elsewhere."""
    population = Population(random, 20)
    state = _with_rows(population.rows(400))
    for node in sorted({backend.row.node for backend in state.values()}):
        victims = [number for number in sorted(state) if state[number].row.node == node]
        for i in range(0, len(victims), 4):
            batch = victims[i : i + 4]
            for number in batch:
                state[number] = attrs.evolve(state[number], terminating=True)
            yield dict(state)
            for number in batch:
                del state[number]
                row = population.row()
                state[row.number] = _Backend(row)
            yield dict(state)


_HISTORIES: Final[dict[str, Callable[[Random], Iterator[_State]]]] = {
    "rolling update of 400": rolling_update,
    "scale 500, 50, 300, 100": scale_down_and_up,
    "10 of 400 flap": flapping,
    "drain of 20 nodes": node_drain,
}


def count_history(states: Iterable[Iterable[Endpoint]]) -> dict[str, Counts]:
    """Plan and apply step after step with each strategy; return the sums."""
    steps = list(map(list, states))
    found = {}
    for name, strategy in STRATEGIES.items():
        names = (f"web-{i:05}" for i in range(1_000_000))
        current: tuple[EndpointSlice, ...] = ()
        cost, minimum, peak = Cost(), 0, 0
        for desired in steps:
            plan = _plan(desired, current, strategy, _HISTORY_CAPACITY)
            cost += price_plan(plan)
            minimum += plan.minimum_writes
            current = apply_plan(current, plan, names=names)
            peak = max(peak, len(current))
        assert _plan(steps[-1], current, strategy, _HISTORY_CAPACITY).is_empty
        found[name] = {
            "steps": len(steps),
            **_counts(cost, minimum),
            "slices_at_peak": peak,
            "slices_at_end": len(current),
        }
    return found


def _endpoints(states: Iterator[_State]) -> Iterator[list[Endpoint]]:
    """The endpoints of each state. What does not change is the same object."""
    made: dict[_Backend, Endpoint] = {}
    for state in states:
        made = {backend: made.get(backend) or backend.endpoint() for backend in state.values()}
        yield list(made.values())


def count_all() -> Counted:
    """Count everything."""
    counted = {f"{kind}, n = {n:,}": count_scenario(kind, n) for kind in Kind for n in _SIZES}
    for name, history in _HISTORIES.items():
        counted[f"history: {name}"] = count_history(_endpoints(history(Random(7))))
    return counted


# --- command line -----------------------------------------------------------------------------


def _rows(counted: Counted) -> dict[tuple[str, str, str], int]:
    return {
        (case, strategy, name): value
        for case, strategies in counted.items()
        for strategy, counts in strategies.items()
        for name, value in counts.items()
    }


def differences(recorded: Counted, found: Counted) -> list[tuple[str, ...]]:
    """Return what differs: case, strategy, count, recorded, found, ratio."""
    one, other = _rows(recorded), _rows(found)
    rows: list[tuple[str, ...]] = []
    for key in sorted(one.keys() | other.keys()):
        was, now = one.get(key), other.get(key)
        if was != now:
            ratio = f"{now / was:.2f}x" if was and now is not None else ""
            rows.append(
                (*key, *("-" if value is None else f"{value}" for value in (was, now)), ratio)
            )
    return rows


def release_line() -> str:
    """Return this version and, by strategy, all that is recorded: writes / bytes / moves."""
    recorded: Counted = json.loads(_FILE.read_text(encoding="utf-8"))
    project = tomllib.loads((_FILE.parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    cells = [project["project"]["version"]]
    for name in STRATEGIES:
        counts = [strategies[name] for strategies in recorded.values()]
        writes = sum(item["creates"] + item["updates"] + item["deletes"] for item in counts)
        size = sum(item["bytes_written"] for item in counts)
        moved = sum(item["endpoints_moved"] for item in counts)
        cells.append(f"{writes:,} / {size:,} / {moved:,}")
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.counted", description=__doc__)
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="compare with counted.json")
    action.add_argument("--write", action="store_true", help="write counted.json")
    action.add_argument("--line", action="store_true", help="print the totals of counted.json")
    options = parser.parse_args()
    if options.line:
        print(release_line())
        return 0
    found = count_all()
    if options.write:
        _FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"wrote {len(_rows(found))} counts to {_FILE.name}")
        return 0
    if not options.check:
        heads = ("case", "strategy", "count", "found")
        print(table(heads, [(*key, value) for key, value in _rows(found).items()]))
        return 0
    recorded: Counted = json.loads(_FILE.read_text(encoding="utf-8"))
    changed = differences(recorded, found)
    if changed:
        print(table(("case", "strategy", "count", "recorded", "found", "ratio"), changed))
        print(
            f"\n{len(changed)} counts differ; if they should, --write, and say so in CHANGELOG.md"
        )
        return 1
    print(f"{len(_rows(found))} counts as recorded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
