"""Every table of docs/explanation/performance.md, as Markdown: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from benchmarks.compare import commit, compare
from benchmarks.counted import release_line
from benchmarks.growth import growth_table
from benchmarks.incremental import incremental
from benchmarks.memory import memory


def _sizes(least: int, most: int) -> list[int]:
    sizes = [least]
    while sizes[-1] < most:
        sizes.append(sizes[-1] * 10)
    return sizes


def _parts(before: str | None, n: int, most: int, rounds: int) -> Iterator[str]:
    command = "```console\n$ python -m benchmarks.{}\n```"
    option = f" --before {before}" if before else ""
    yield command.format(f"compare{option}")
    yield from compare(n, rounds, before, markdown=True)
    yield command.format("incremental")
    yield incremental(_sizes(1_000, most), rounds, markdown=True)
    yield command.format("growth --table")
    yield growth_table(most, markdown=True)
    yield command.format("memory")
    yield memory(_sizes(min(n, 10_000), n), markdown=True)
    yield command.format("counted --line")
    yield release_line()


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--before", default="HEAD~1", help="a git revision to compare with")
    parser.add_argument("--n", type=int, default=100_000, help="endpoints where one size is shown")
    parser.add_argument("--most", type=int, default=1_000_000, help="endpoints at most")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    before = commit(options.before)
    print(f"Python {sys.version.split()[0]}; before: {before}")
    for part in _parts(before, options.n, options.most, options.rounds):
        print(f"\n{part}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
