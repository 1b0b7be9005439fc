"""Time several things side by side, so that what disturbs one disturbs all."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from time import process_time_ns
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["benchmarked", "frozen_inputs", "interleaved", "table"]


_T = TypeVar("_T")


@contextmanager
def frozen_inputs() -> Generator[None]:
    """Take what stands now out of the garbage collector's sight.

    So whatever is timed pays for its own garbage and not for that of its neighbours.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def interleaved(
    things: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    least_ns: int = 2_000_000,
    warm_up: bool = True,
) -> dict[str, float]:
    """Return the median CPU time of each, in seconds.

    Every round runs each of them in turn, as often as takes `least_ns` at the first try.
    """
    repeats = {}
    for name, thing in things.items():
        if warm_up:
            thing()
        began = process_time_ns()
        thing()
        repeats[name] = max(1, least_ns // max(1, process_time_ns() - began))
    samples: dict[str, list[float]] = {name: [] for name in things}
    for _ in range(rounds):
        for name, thing in things.items():
            count = repeats[name]
            began = process_time_ns()
            for _ in range(count):
                thing()
            samples[name].append((process_time_ns() - began) / count / 1e9)
    return {name: median(found) for name, found in samples.items()}


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
