"""What a change costs with an index: `python -m benchmarks.incremental [--markdown]`.

Median and 99th percentile of the CPU time of one call, from 1,000 to 1,000,000 endpoints in full
slices of 100. 1,000 endpoints here and there change, and then all of them change back, again and
again; the calls of all cases of one size are interleaved. What stands is out of the collector's
sight, as after `gc.freeze()`. Nothing is gated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from statistics import median

from benchmarks.cases import APPLY, WHOLE
from benchmarks.timing import duration, frozen_inputs, interleaved, p99, table

__all__ = ["incremental", "main"]

_SIZES = (1_000, 10_000, 100_000, 1_000_000)
_LEAST_NS = 30_000_000


def _measure(n: int, rounds: int) -> dict[tuple[str, str], tuple[float, float]]:
    """Return median and p99 by case and strategy, in seconds."""
    found = {}
    for cases, few in ((APPLY, rounds), (WHOLE, min(rounds, 3))):
        things = {
            (case.title, name): make(n, 0) for case in cases for name, make in case.things.items()
        }
        with frozen_inputs():
            times = interleaved(things, few, least_ns=_LEAST_NS)
        for case in cases:
            for name in case.things:
                sample = [time / case.changes for time in times[case.title, name]]
                found[case.title, name] = (median(sample), p99(sample))
    return found


def incremental(sizes: Sequence[int], rounds: int, *, markdown: bool) -> str:
    """Return the table."""
    found = [_measure(n, rounds) for n in sizes]
    rows = []
    for case in (*APPLY, *WHOLE):
        for name in case.things:
            cells = []
            for times in found:
                middle, high = times[case.title, name]
                is_one = case in WHOLE
                cells.append(duration(middle) + ("" if is_one else f" / {duration(high)}"))
            rows.append((case.title, name, *cells))
    heads = ("median / 99th percentile", "strategy", *(f"n = {n:,}" for n in sizes))
    return table(heads, rows, markdown=markdown)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.incremental", description=__doc__)
    parser.add_argument("--n", type=int, nargs="*", default=_SIZES, help="numbers of endpoints")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    print(incremental(options.n, options.rounds, markdown=options.markdown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
