"""What bounds the writes on the eight recorded traces: `python -m benchmarks.limits`.

All are ratios to the recorded reference:

- **a write a sync**: no strategy can have fewer writes than there are syncs with a change.
- **oracle**: `Generational` where uids tell in which order the pods will leave.
- **as it is**: `Generational`.
- **no order**: `Generational` with an exit order that says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Final

import attrs

from endpointslice import Generational
from endpointslice.simulate import PodState, Trace, read_trace, simulate

_TRACES: Final = Path(__file__).parent.parent / "docs" / "examples" / "traces"


def told_when(trace: Trace) -> Trace:
    """Return the trace with uids in the order in which pods leave."""
    leaves = {
        change.pod: change.at
        for change in trace.changes
        if change.state is None or change.state is PodState.TERMINATING
    }
    pods = sorted({change.pod for change in trace.changes})
    last = trace.duration + 1
    return attrs.evolve(
        trace, pod_uids={pod: f"{leaves.get(pod, last):012}-{pod:06}" for pod in pods}
    )


def _writes(trace: Trace, exit_order: str) -> int:
    return simulate(trace, Generational(exit_order=exit_order), check=False).writes


_COLUMNS: Final[dict[str, Callable[[Trace], int]]] = {
    "a write a sync": lambda trace: trace.reference["steps_with_change"],
    "oracle": lambda trace: _writes(told_when(trace), "uid"),
    "as it is": lambda trace: _writes(trace, "auto"),
    "no order": lambda trace: _writes(trace, "key"),
}


def main() -> None:
    """Print the table."""
    print("| trace |", " | ".join(_COLUMNS), "|")
    print("|---|" + "---:|" * len(_COLUMNS))
    rows = []
    for path in sorted(_TRACES.glob("*.json.gz")):
        trace = read_trace(path)
        if trace.reference:
            rows.append([count(trace) / trace.reference["writes"] for count in _COLUMNS.values()])
            print(f"| {trace.name} |", " | ".join(f"{ratio:.2f}" for ratio in rows[-1]), "|")
    means = [prod(column) ** (1 / len(rows)) for column in zip(*rows, strict=True)]
    print("| **geometric mean** |", " | ".join(f"{mean:.2f}" for mean in means), "|")


if __name__ == "__main__":
    main()
