"""Print what n decoded endpoints take, as JSON: `python -m benchmarks.memory [N]`.

In a process of its own, for the resident set is the whole process's. The slices are read one by
one from JSON text, as a client that pages or streams does; the parsed JSON of all of them at
once would take several times what the models do.
"""

from __future__ import annotations

import gc
import json
import re
import sys
import tracemalloc
from pathlib import Path
from random import Random

from benchmarks.scenarios import CAPACITY, Population, slice_texts
from endpointslice import EndpointSlice, decode_slice

__all__ = ["measure"]


def _resident(field: str) -> int | None:
    """Bytes of VmRSS or VmHWM; None where there is no /proc."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _decode(texts: list[str]) -> list[EndpointSlice]:
    return [decode_slice(json.loads(text)) for text in texts]


def measure(n: int, *, trace: bool) -> dict[str, int | None]:
    """Decode n endpoints; return how many bytes they take."""
    texts = list(slice_texts(Population(Random(1), max(1, n // 30)).rows(n)))
    _decode(texts[:1])
    gc.collect()
    if trace:
        tracemalloc.start()
        slices = _decode(texts)
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        found: dict[str, int | None] = {"traced_held": held, "traced_peak": peak}
    else:
        before = _resident("VmRSS")
        slices = _decode(texts)
        after = _resident("VmRSS")
        found = {"resident": None if before is None or after is None else after - before}
    assert len(slices) == n // CAPACITY
    return found


if __name__ == "__main__":
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    # Tracing itself takes memory, so what is resident is looked at first.
    print(json.dumps({**measure(size, trace=False), **measure(size, trace=True)}))
