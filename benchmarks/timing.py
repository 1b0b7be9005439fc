"""Time several things side by side, so that what disturbs one disturbs all."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from statistics import median
from time import process_time_ns
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = [
    "LEAST_NS",
    "benchmarked",
    "duration",
    "frozen_inputs",
    "interleaved",
    "p99",
    "samples",
    "table",
]

#: A round runs a thing again and again for so long, in nanoseconds.
LEAST_NS: Final = 2_000_000

_K = TypeVar("_K")
_T = TypeVar("_T")


@contextmanager
def frozen_inputs() -> Generator[None]:
    """Take what stands now out of the garbage collector's sight.

    So whatever is timed pays for its own garbage and not for that of its neighbours. Without a
    collection before, which takes long and leaves the processor's caches cold.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _timed(thing: Callable[[], object], count: int) -> list[int]:
    times = []
    for _ in range(count):
        began = process_time_ns()
        thing()
        times.append(process_time_ns() - began)
    return times


@cache
def _overhead() -> int:
    """What timing itself takes, for a call of a few microseconds a tenth of it."""
    return int(median(_timed(lambda: None, 1_000)))


def samples(thing: Callable[[], object], least_ns: int = LEAST_NS) -> list[float]:
    """Return the CPU seconds of each of as many calls as take `least_ns`, one at least."""
    times: list[int] = []
    spent = 0
    while not times or spent < least_ns:
        count = 1 if not times else min(1_000, 1 + least_ns * len(times) // max(1, spent))
        times += _timed(thing, count)
        spent = sum(times)
    return [max(0, time - _overhead()) / 1e9 for time in times]


def interleaved(
    things: Mapping[_K, Callable[[], object]], rounds: int, *, least_ns: int = LEAST_NS
) -> dict[_K, list[float]]:
    """Return the CPU seconds of calls of each thing, in rounds that run each of them in turn."""
    for thing in things.values():
        thing()
    found: dict[_K, list[float]] = {name: [] for name in things}
    for _ in range(rounds):
        for name, thing in things.items():
            found[name] += samples(thing, least_ns)
    return found


def p99(times: Sequence[float]) -> float:
    """Return what 99 of 100 calls take at most."""
    return sorted(times)[len(times) * 99 // 100]


def benchmarked(benchmark: Any, thing: Callable[[], _T], n: int) -> _T:
    """Run a thing with pytest-benchmark's fixture, which has no types, and return its result.

    The number of rounds is fixed, for calibration takes longer than what it calibrates.
    """
    with frozen_inputs():
        result: _T = benchmark.pedantic(
            thing,
            rounds=20 if n < 10_000 else 10 if n < 100_000 else 5,
            iterations=max(1, 1_000 // n),
            warmup_rounds=1,
        )
    return result


def duration(seconds: float) -> str:
    """Write it with three digits."""
    unit, name = next(
        (unit for unit in ((1.0, "s"), (1e-3, "ms")) if seconds >= unit[0]), (1e-6, "us")
    )
    value = seconds / unit
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {name}"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, markdown: bool = False) -> str:
    """Lay out a table, the first column to the left and the others to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]

    def line(row: Sequence[str]) -> str:
        laid = [row[0].ljust(widths[0])]
        laid += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        return f"| {' | '.join(laid)} |" if markdown else "  ".join(laid).rstrip()

    rule = ["-" * width for width in widths]
    if markdown:
        rule[1:] = [f"{dashes[:-1]}:" for dashes in rule[1:]]
    return "\n".join([line(heads), line(rule), *map(line, cells)])
