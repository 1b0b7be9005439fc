"""What endpoints take in memory: `python -m benchmarks.memory [--n 100000] [--markdown]`.

The models of decoded slices, and an `IncrementalReconciler` over them besides. Each size is
measured in processes of its own, for the resident set is the whole process's, and tracing itself
takes memory. The slices are read one by one from JSON text, as a client that pages or streams
does; the parsed JSON of all of them at once would take several times what the models do. What is
resident of few endpoints is less than what they take, for they get room that was there before.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from benchmarks.cases import STRATEGIES
from benchmarks.scenarios import CAPACITY, Population, slice_texts, template
from benchmarks.timing import table
from endpointslice import IncrementalReconciler, decode_slice

__all__ = ["main", "memory"]

_SIZES = (100_000,)


def _resident() -> int:
    """Bytes of the resident set; 0 where there is no /proc."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _measure(n: int, look: Callable[[], int]) -> list[int]:
    """Return what is held of n endpoints: as models, and with an index over them."""
    texts = list(slice_texts(Population(Random(1), max(1, n // 30)).rows(n)))
    decode_slice(json.loads(texts[0]))
    gc.collect()
    before = look()
    slices = [decode_slice(json.loads(text)) for text in texts]
    gc.collect()
    models = look()
    index = IncrementalReconciler(
        slices,
        template=template(),
        strategy=STRATEGIES["default"],
        max_endpoints_per_slice=CAPACITY,
    )
    gc.collect()
    whole = look()
    assert len(index.slices) == len(slices) == n // CAPACITY
    return [models - before, whole - before]


def _traced() -> int:
    return tracemalloc.get_traced_memory()[0]


def memory(sizes: Sequence[int], *, markdown: bool) -> str:
    """Return the table: bytes an endpoint."""
    rows = []
    for n in sizes:
        cells = [f"{n:,}"]
        for way in ("--traced", "--resident"):
            command = [sys.executable, "-m", __spec__.name, way, "--n", str(n)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            models, whole = json.loads(done.stdout)
            cells += [f"{models / n:,.0f}", f"{whole / n:,.0f}"]
        rows.append(cells)
    heads = (
        "bytes an endpoint, n",
        "models, traced",
        "with an index, traced",
        "models, resident",
        "with an index, resident",
    )
    return table(heads, rows, markdown=markdown)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--n", type=int, nargs="*", default=_SIZES, help="numbers of endpoints")
    parser.add_argument("--markdown", action="store_true")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--traced", action="store_true", help="measure one size, in this process")
    way.add_argument("--resident", action="store_true", help="the same by the resident set")
    options = parser.parse_args()
    if options.traced or options.resident:
        if options.traced:
            tracemalloc.start()
        (n,) = options.n
        print(json.dumps(_measure(n, _traced if options.traced else _resident)))
    else:
        print(memory(options.n, markdown=options.markdown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
