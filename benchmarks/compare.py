"""The library against a naive reconcile, side by side in one run.

    python -m benchmarks.compare [--n 100000] [--rounds 7] [--markdown]

Prints medians of CPU time, measured in interleaved rounds, so that the ratios mean something on a
machine that does other work too. `floor` is `{e.key: e for e in endpoints}` over the desired
endpoints, the least that anything of the kind must do. `unordered` is the naive reconcile without
its sort of what is new, so that its answer depends on the order of its input; `ours` packs as it
does, `default` as `reconcile` does if no strategy is named. Nothing is gated: the exit status is 0.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.memory import __name__ as _memory
from benchmarks.naive import NaivePlan, naive_reconcile
from benchmarks.scenarios import CAPACITY, PORTS, Kind, Order, Scenario, build, slice_manifest
from benchmarks.timing import frozen_inputs, interleaved, table
from endpointslice import KubernetesPacking, PackingStrategy, Plan, reconcile
from endpointslice.reconcile import DEFAULT_STRATEGY

__all__ = ["check", "main", "run_naive", "run_reconcile"]

#: At least so many times as fast as the naive reconcile, in either order.
_TARGETS: Final = {
    Kind.NOOP_SHARED: 10,
    Kind.NOOP_DISTINCT: 4,
    Kind.ONE_REPLACED: 8,
    Kind.ALL_REPLACED: 4,
}
_AS_THE_REFERENCE: Final = KubernetesPacking()
_GROWTH_TARGET: Final = 14
_MEMORY_TARGET: Final = 80_000_000
_IMPORT_TARGET: Final = 60_000


def run_reconcile(scenario: Scenario, strategy: PackingStrategy = _AS_THE_REFERENCE) -> Plan:
    """Plan a scenario with the library, as the reference packs unless told otherwise."""
    return reconcile(
        scenario.desired,
        scenario.current,
        template=scenario.template,
        strategy=strategy,
        max_endpoints_per_slice=CAPACITY,
    )


def _naive_template() -> dict[str, Any]:
    meta = slice_manifest("", ())["metadata"]
    wanted = ("namespace", "generateName", "labels", "ownerReferences")
    return {name: meta[name] for name in wanted}


_NAIVE_TEMPLATE: Final = _naive_template()


def run_naive(scenario: Scenario, *, ordered: bool = True) -> NaivePlan:
    """Plan a scenario the naive way."""
    return naive_reconcile(
        scenario.naive_desired,
        scenario.naive_current,
        template=_NAIVE_TEMPLATE,
        address_type="IPv4",
        ports=PORTS,
        capacity=CAPACITY,
        ordered=ordered,
    )


def check(scenario: Scenario) -> None:
    """Assert that both answers are right.

    There are as many writes as there must be, to slices of the same names and sizes, and these
    hold the same Pods: which Pod is in which slice is for each to choose.
    """
    plan = run_reconcile(scenario)
    counts = (len(plan.creates), len(plan.updates), len(plan.deletes))
    assert counts == (scenario.creates, scenario.updates, 0), (scenario.kind, counts)
    naive = run_naive(scenario)
    assert counts == (len(naive.creates), len(naive.updates), len(naive.deletes)), scenario.kind
    after = [create.after for create in plan.creates] + [update.after for update in plan.updates]
    naive_after = naive.creates + naive.updates
    assert Counter((stored.name, len(stored.endpoints)) for stored in after) == Counter(
        (stored["metadata"].get("name", ""), len(stored["endpoints"])) for stored in naive_after
    )
    assert Counter(
        (endpoint.target_ref.name, endpoint.conditions.ready)
        for stored in after
        for endpoint in stored.endpoints
        if endpoint.target_ref is not None
    ) == Counter(
        (endpoint["targetRef"]["name"], endpoint["conditions"]["ready"])
        for stored in naive_after
        for endpoint in stored["endpoints"]
    )


def _floor(scenario: Scenario) -> Callable[[], object]:
    endpoints = scenario.endpoints
    return lambda: {endpoint.key: endpoint for endpoint in endpoints}


def time_scenario(kind: Kind, n: int, order: Order, rounds: int) -> dict[str, float]:
    """Return the medians of `naive`, `unordered`, `ours`, `default` and `floor`, in seconds."""
    scenario = build(kind, n, order)
    check(scenario)
    with frozen_inputs():
        return interleaved(
            {
                "naive": lambda: run_naive(scenario),
                "unordered": lambda: run_naive(scenario, ordered=False),
                "ours": lambda: run_reconcile(scenario),
                "default": lambda: run_reconcile(scenario, DEFAULT_STRATEGY),
                "floor": _floor(scenario),
            },
            rounds,
        )


def import_time(rounds: int) -> float:
    """Return the microseconds that `import endpointslice` takes after `import attrs`.

    Compiled once, as an installed package is, to a place that is thrown away.
    """
    command = [sys.executable, "-X", "importtime", "-c", "import attrs; import endpointslice"]
    found = []
    with TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(rounds + 1):
            done = subprocess.run(
                command, check=True, capture_output=True, text=True, env=environment
            )
            line = re.search(r"\|\s*(\d+) \| endpointslice$", done.stderr, re.MULTILINE)
            assert line is not None
            found.append(int(line[1]))
    return median(found[1:])


def memory(n: int) -> dict[str, int | None]:
    """Return what n decoded endpoints take, in bytes, measured in a new process."""
    done = subprocess.run(
        [sys.executable, "-m", _memory, str(n)], check=True, capture_output=True, text=True
    )
    found: dict[str, int | None] = json.loads(done.stdout)
    return found


def _verdict(ok: bool) -> str:
    return "ok" if ok else "MISSED"


def _megabytes(size: int | None) -> str:
    return "?" if size is None else f"{size / 1e6:.1f} MB"


def _scenarios(n: int, rounds: int, *, markdown: bool) -> str:
    rows = []
    for kind in Kind:
        for order in Order:
            large = time_scenario(kind, n, order, rounds)
            small = time_scenario(kind, n // 10, order, rounds)
            ratio = large["naive"] / large["ours"]
            growth = large["ours"] / small["ours"]
            target = _TARGETS.get(kind)
            rows.append(
                (
                    kind,
                    order,
                    f"{large['naive'] * 1e3:.1f}",
                    f"{large['unordered'] * 1e3:.1f}",
                    f"{large['ours'] * 1e3:.1f}",
                    f"{large['default'] * 1e3:.1f}",
                    f"{ratio:.1f}x",
                    "" if target is None else f">= {target}x {_verdict(ratio >= target)}",
                    f"{large['floor'] * 1e3:.1f}",
                    f"{large['ours'] / large['floor']:.2f}",
                    f"{growth:.1f}x",
                    _verdict(growth <= _GROWTH_TARGET),
                )
            )
    heads = (
        "scenario",
        "order",
        "naive ms",
        "unordered",
        "ours ms",
        "default",
        "ratio",
        "target",
        "floor ms",
        "ours/floor",
        "growth",
        f"<= {_GROWTH_TARGET}x",
    )
    return table(heads, rows, markdown=markdown)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--n", type=int, default=100_000, help="endpoints, a multiple of 1,000")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    n: int = options.n
    print(f"n = {n:,}, slices of {CAPACITY}, median CPU time of {options.rounds} rounds;")
    print(f"growth: from n = {n // 10:,} to n = {n:,}; Python {sys.version.split()[0]}\n")
    print(_scenarios(n, options.rounds, markdown=options.markdown), end="\n\n")
    found = memory(n)
    imported = import_time(options.rounds)
    held = found["traced_peak"]
    rows = [
        (
            f"memory of {n:,} decoded endpoints, peak",
            _megabytes(held),
            f"< {_MEMORY_TARGET * n // 100_000 / 1e6:.1f} MB",
            "?" if held is None else _verdict(held < _MEMORY_TARGET * n / 100_000),
        ),
        ("... when decoded", _megabytes(found["traced_held"]), "", ""),
        ("... resident set", _megabytes(found["resident"]), "", ""),
        (
            "import, beyond attrs",
            f"{imported / 1e3:.1f} ms",
            f"< {_IMPORT_TARGET // 1000} ms",
            _verdict(imported < _IMPORT_TARGET),
        ),
    ]
    print(table(("", "found", "target", ""), rows, markdown=options.markdown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
