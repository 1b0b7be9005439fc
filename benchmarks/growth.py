"""10 times the work must take at most 14 times the time: `python -m benchmarks.growth [--check]`.

The work is 10 Services of n / 10 endpoints against one of n, so that both touch as much memory:
what grows is then the algorithm, more than the misses of the processor's caches. For the same
reason it is done where n is 10,000; `--n 100000` shows what the caches do beyond. `--single`
compares with one Service of n / 10 endpoints, which stays in the caches.

Medians of interleaved rounds, with the default strategy. A scenario that fails is measured again,
and its best ratio counts. Only memory order is gated: shuffled, the caches decide. Nanoseconds are
printed, never gated.
"""

from __future__ import annotations

import argparse
import sys
from typing import Final

from benchmarks.compare import check, run_reconcile
from benchmarks.scenarios import Kind, Order, build
from benchmarks.timing import frozen_inputs, interleaved, table
from endpointslice.reconcile import DEFAULT_STRATEGY

__all__ = ["growth", "main"]

_LIMIT: Final = 14.0
_TRIES: Final = 4


def growth(
    kind: Kind, n: int, order: Order, rounds: int, *, tries: int, single: bool
) -> tuple[float, float, float]:
    """Return the seconds for n / 10 and for n endpoints, and the best ratio of some tries."""
    small = [build(kind, n // 10, order) for _ in range(1 if single else 10)]
    large = build(kind, n, order)
    check(large)

    def run_small() -> None:
        for scenario in small:
            run_reconcile(scenario, DEFAULT_STRATEGY)

    found: list[tuple[float, float, float]] = []
    with frozen_inputs():
        for _ in range(tries):
            times = interleaved(
                {"small": run_small, "large": lambda: run_reconcile(large, DEFAULT_STRATEGY)},
                rounds,
            )
            one = times["small"] / len(small)
            found.append((times["large"] / one, one, times["large"]))
            if found[-1][0] <= _LIMIT:
                break
    ratio, one, whole = min(found)
    return one, whole, ratio


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 if growth is too high")
    parser.add_argument("--single", action="store_true", help="against one small Service")
    parser.add_argument("--n", type=int, default=10_000, help="the larger size")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    n: int = options.n
    rows = []
    worst = 0.0
    for kind in Kind:
        for order in Order:
            one, whole, ratio = growth(
                kind, n, order, options.rounds, tries=_TRIES, single=options.single
            )
            if order is Order.MEMORY:
                worst = max(worst, ratio)
            rows.append((kind, order, f"{one * 1e3:.2f}", f"{whole * 1e3:.1f}", f"{ratio:.1f}x"))
    heads = ("scenario", "order", f"n = {n // 10:,} ms", f"n = {n:,} ms", f"<= {_LIMIT:.0f}x")
    print(table(heads, rows))
    if worst > _LIMIT:
        print(f"\n10 times the work takes {worst:.1f} times the time")
    return int(options.check and worst > _LIMIT)


if __name__ == "__main__":
    sys.exit(main())
