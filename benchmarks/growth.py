"""How the time grows with the work.

    python -m benchmarks.growth --check     # the gates of CI; exit with 1 if one is not met
    python -m benchmarks.growth --table [--n 1000000] [--markdown]

**The gates.** 10 times the work takes at most 14 times the time, and a change at 10 times the
endpoints at most twice. The work is 10 Services of n / 10 endpoints against one of n, so that both
touch as much memory: what grows is then the algorithm, more than the misses of the processor's
caches. For the same reason only memory order is gated, and where n is 4,000, or 1,000 of what is
larger, of which the caches hold most; but for changes, where n is 100,000, so that work for each
slice would show. A sort alone takes 13 times the time. Medians of interleaved rounds. What fails
is measured again, and its best ratio counts. Nanoseconds are printed, never gated.

**The table.** Nanoseconds an endpoint at sizes from 100 on, and in brackets how often that is what
`{e.key: e for e in endpoints}` over the desired endpoints takes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from statistics import median
from typing import Final

import attrs

from benchmarks.cases import APPLY, DECODE, DOORS, RECONCILE, TAKE_OVER, WHOLE, Case, Thing
from benchmarks.scenarios import Kind, Order
from benchmarks.timing import duration, frozen_inputs, interleaved, table

__all__ = ["growth_table", "main"]

_LIMIT: Final = 14.0
_LIMIT_OF_CHANGES: Final = 2.0
_N: Final = 4_000
_N_OF_DOORS: Final = 1_000
_N_OF_CHANGES: Final = 100_000
_TRIES: Final = 6
_ROUNDS: Final = 5
_SIZES: Final = (100, 1_000, 10_000, 100_000, 1_000_000)


@attrs.frozen
class _Gate:
    """What must not take more than so many times the time for 10 times the work."""

    title: str
    make: Callable[[int, int], Thing]
    n: int = _N
    limit: float = _LIMIT

    def measure(self) -> tuple[float, float, float]:
        """Return the seconds for n / 10 and for n endpoints, and the best ratio of some tries."""
        small = [self.make(self.n // 10, seed) for seed in range(10)]
        large = self.make(self.n, 10)

        def run_small() -> None:
            for thing in small:
                thing()

        found: list[tuple[float, float, float]] = []
        with frozen_inputs():
            for _ in range(_TRIES):
                times = interleaved({"small": run_small, "large": large}, _ROUNDS)
                one, whole = median(times["small"]) / len(small), median(times["large"])
                found.append((whole / one, one, whole))
                if found[-1][0] <= self.limit:
                    break
        ratio, one, whole = min(found)
        return one, whole, ratio


def _gates() -> Iterator[_Gate]:
    for kind in Kind:
        case = RECONCILE[kind, Order.MEMORY]
        yield _Gate(case.title, case.things["default"])
    for case in TAKE_OVER:
        for name, make in case.things.items():
            yield _Gate(f"{case.title}, {name}", make)
    for name in ("decode_slice, one by one, from dicts", "decode_slices, from dicts"):
        yield _Gate(name, DECODE.things[name])
    for case in DOORS:
        yield _Gate(case.title, case.things["default"], _N_OF_DOORS)
    for case in WHOLE:
        yield _Gate(case.title, case.things["default"])
    for case in APPLY:
        if case.changes == 1:
            for name, make in case.things.items():
                yield _Gate(f"{case.title}, {name}", make, _N_OF_CHANGES, _LIMIT_OF_CHANGES)


def _check() -> bool:
    """Print every gate; say whether all are met."""
    rows = []
    is_met = True
    for gate in _gates():
        one, whole, ratio = gate.measure()
        is_met &= ratio <= gate.limit
        verdict = "ok" if ratio <= gate.limit else "TOO MUCH"
        sizes = f"{gate.n // 10:,} -> {gate.n:,}"
        limit = f"<= {gate.limit:g}"
        rows.append(
            (gate.title, sizes, duration(one), duration(whole), f"{ratio:.2f}", limit, verdict)
        )
    print(table(("work", "n", "small", "large", "ratio", "", ""), rows))
    return is_met


def growth_table(most: int, *, markdown: bool) -> str:
    """Return nanoseconds an endpoint, and their ratio to the floor, up to some size."""
    sizes = [n for n in _SIZES if n <= most]
    cells: dict[str, list[str]] = {}
    for n in sizes:
        for case in RECONCILE.values():
            cells.setdefault(case.title, []).append(_cell(case, n))
    heads = ("ns an endpoint (times the floor)", *(f"n = {n:,}" for n in sizes))
    rows = [(title, *found) for title, found in cells.items()]
    return table(heads, rows, markdown=markdown)


def _cell(case: Case, n: int) -> str:
    things = {name: case.things[name](n, 0) for name in ("default", "floor")}
    with frozen_inputs():
        times = interleaved(things, _ROUNDS if n <= 100_000 else 1)
    found, floor = (median(times[name]) for name in things)
    return f"{found / n * 1e9:,.0f} ({found / floor:.1f})"


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true", help="the gates")
    action.add_argument("--table", action="store_true", help="the table")
    parser.add_argument("--n", type=int, default=_SIZES[-1], help="the largest size")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    if options.check:
        return 0 if _check() else 1
    print(growth_table(options.n, markdown=options.markdown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
