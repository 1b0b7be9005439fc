"""Every table of docs/explanation/performance.md, as Markdown.

python -m benchmarks               # print
python -m benchmarks --update      # write them into the page
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.compare import commit, compare
from benchmarks.growth import growth_table
from benchmarks.incremental import incremental
from benchmarks.memory import memory

_PAGE: Final = Path(__file__).parent.parent / "docs" / "explanation" / "performance.md"


def _sizes(least: int, most: int) -> list[int]:
    sizes = [least]
    while sizes[-1] < most:
        sizes.append(sizes[-1] * 10)
    return sizes


def _parts(before: str | None, n: int, most: int, rounds: int) -> Iterator[tuple[str, str]]:
    """Yield the name of a command and what it prints."""
    option = f" --before {before}" if before else ""
    yield f"compare{option}", "\n\n".join(compare(n, rounds, before, markdown=True))
    yield "incremental", incremental(_sizes(1_000, most), rounds, markdown=True)
    yield "growth --table", growth_table(most, markdown=True)
    yield "memory", memory([n], markdown=True)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--update", action="store_true", help="write the tables into the page")
    parser.add_argument("--before", default="HEAD~1", help="a git revision to compare with")
    parser.add_argument("--n", type=int, default=100_000, help="endpoints where one size is shown")
    parser.add_argument("--most", type=int, default=1_000_000, help="endpoints at most")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    page = _PAGE.read_text(encoding="utf-8")
    for command, text in _parts(commit(options.before), options.n, options.most, options.rounds):
        part = f"```console\n$ python -m benchmarks.{command}\n```\n\n{text}\n"
        print(part, flush=True)
        name = command.partition(" ")[0]
        head, start, rest = page.partition(f"<!-- tables of {name} -->\n")
        _, end, tail = rest.partition("<!-- end -->")
        assert end, name
        page = f"{head}{start}\n{part}\n{end}{tail}"
    if options.update:
        _PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
