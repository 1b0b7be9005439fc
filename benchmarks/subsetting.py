"""The table of docs/explanation/subsetting.md: `python -m benchmarks.subsetting [--check]`.

Each algorithm on 300 clients x 300 endpoints x 10, on numbers that divide nothing, and on 1,000 x
5,000 x 20, and whether it has the
property that was published of it. Everything but the time, which `--times` prints, is the same on
every machine. It takes a minute.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from itertools import chain
from time import process_time
from typing import Final

from benchmarks.timing import table
from endpointslice import (
    Subset,
    SubsettingReport,
    aperture_subsets,
    deterministic_subsets,
    evaluate_subsetting,
    rendezvous_subsets,
    ringsteady_subsets,
)

__all__ = ["ALGORITHMS", "PROPERTIES", "SIZES", "main", "names", "row"]

Subsets = Mapping[str, Subset[str]]
Algorithm = Callable[[Sequence[str], Sequence[str], int], Subsets]
#: Clients, endpoints, and how many of them a client wants.
Size = tuple[int, int, int]

SIZES: Final[tuple[Size, ...]] = ((300, 300, 10), (250, 301, 10), (1000, 5000, 20))
SAMPLES: Final = 10

ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    "deterministic": deterministic_subsets,
    "deterministic, numbered": partial(deterministic_subsets, numbered=True),
    "aperture": aperture_subsets,
    "aperture, numbered": partial(aperture_subsets, numbered=True),
    "rendezvous": rendezvous_subsets,
    "ringsteady": ringsteady_subsets,
    "ringsteady, numbered": partial(ringsteady_subsets, numbered=True),
}
HEADS: Final = (
    "algorithm",
    "connections max / min",
    "traffic max / min",
    "endpoint goes",
    "endpoint replaced",
    "client goes",
    "pairs met",
    "closest pair",
)


def names(size: Size) -> tuple[list[str], list[str]]:
    """The names of the clients and the endpoints."""
    n, m, _ = size
    return [f"node-{i}" for i in range(n)], [f"web-{i}" for i in range(m)]


def row(name: str, report: SubsettingReport, size: Size) -> tuple[str, ...]:
    """One line of the table."""
    n, m, _ = size
    balances = (report.connection_balance, report.traffic_balance)
    return (
        name,
        *(f"{float(b.max_to_mean):.2f} / {float(b.min_to_mean):.2f}" for b in balances),
        f"{float(report.endpoint_goes.mean * m):,.1f}",
        f"{float(report.endpoint_replaced.mean * m):,.1f}",
        f"{float(report.client_goes.mean * n):,.1f}",
        f"{100 * report.pairs_met / report.pairs_possible:.0f} %",
        f"{report.closest_pair}",
    )


# --- what was published of each -----------------------------------------------------------------


def _loads(subsets: Subsets) -> Counter[str]:
    return Counter(chain.from_iterable(subset.endpoints for subset in subsets.values()))


def _changes(before: Subsets, after: Subsets) -> list[int]:
    """Of each client of both, how many endpoints it took on."""
    return [
        len(set(after[name].endpoints) - set(before[name].endpoints))
        for name in before
        if name in after
    ]


Property = tuple[str, bool]


def _deterministic(size: Size) -> Iterator[Property]:
    n, m, wanted = size
    clients, endpoints = names(size)
    subsets = list(deterministic_subsets(clients, endpoints, wanted).values())
    loads = Counter(chain.from_iterable(subset.endpoints for subset in subsets))
    spread = max(loads.values()) - min(loads[key] for key in endpoints)
    hands, rest = divmod(m, wanted)
    bound = 2 if rest else 1
    yield f"load is even within {bound}: it differs by {spread}", spread <= bound
    rounds = [
        list(chain.from_iterable(subset.endpoints for subset in subsets[start : start + hands]))
        for start in range(0, n - hands + 1, hands)
    ]
    once = all(len(set(dealt)) == len(dealt) == m - rest for dealt in rounds)
    yield f"each of {len(rounds)} whole rounds deals {m - rest:,} of {m:,} endpoints once", once


def _aperture(size: Size) -> Iterator[Property]:
    n, m, wanted = size
    clients, endpoints = names(size)
    traffic: Counter[str] = Counter()
    subsets = aperture_subsets(clients, endpoints, wanted)
    for subset in subsets.values():
        for key, share in zip(subset.endpoints, subset.shares, strict=True):
            traffic[key] += share  # type: ignore[assignment]
    even = {traffic[key] for key in endpoints} == {Fraction(n, m)}
    yield f"every endpoint gets {Fraction(n, m)} of a client's traffic exactly", even
    least = min(len(subset.endpoints) for subset in subsets.values())
    yield f"every client has {least} endpoints or more", least >= wanted


def _rendezvous(size: Size) -> Iterator[Property]:
    n, m, wanted = size
    clients, endpoints = names(size)
    before = rendezvous_subsets(clients, endpoints, wanted)
    loads = _loads(before)
    gone = endpoints[m // 2]
    others = [key for key in endpoints if key != gone]
    changes = _changes(before, rendezvous_subsets(clients, others, wanted))
    least = sum(changes) == loads[gone] and max(changes) <= 1
    yield "an endpoint goes: its clients take one other each, nothing else changes", least
    mean = Fraction(sum(loads[key] for key in endpoints), m * n * wanted)
    yield f"so 1 in {1 / mean} connections changes on average", mean == Fraction(1, m)
    alone = all(
        rendezvous_subsets([name], endpoints, wanted)[name] == before[name] for name in clients[:5]
    )
    yield "a client alone has what it has among others", alone


def _ringsteady(size: Size) -> Iterator[Property]:
    _, _, wanted = size
    clients, endpoints = names(size)
    before = ringsteady_subsets(clients, endpoints, wanted)
    loads = _loads(before)
    changes = _changes(before, ringsteady_subsets(clients, endpoints[:-1], wanted))
    least = sum(changes) == loads[endpoints[-1]] and max(changes) <= 1
    yield "the last endpoint goes: its clients take one other each, nothing else changes", least
    changes = _changes(before, ringsteady_subsets(clients[:-1], endpoints, wanted))
    yield "the last client goes: nothing changes", not any(changes)
    theirs = _loads(rendezvous_subsets(clients, endpoints, wanted))
    ours, chance = (
        (min(found[key] for key in endpoints), max(found.values())) for found in (loads, theirs)
    )
    sentence = "load is nearly even: {} to {}, where chance makes it {} to {}"
    yield sentence.format(*ours, *chance), ours[1] - ours[0] <= 2


PROPERTIES: Final[Mapping[str, Callable[[Size], Iterator[Property]]]] = {
    "deterministic": _deterministic,
    "aperture": _aperture,
    "rendezvous": _rendezvous,
    "ringsteady": _ringsteady,
}


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.subsetting", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a property fails")
    parser.add_argument("--times", action="store_true", help="only the CPU time of each")
    options = parser.parse_args()
    failed = False
    for size in SIZES:
        clients, endpoints = names(size)
        if options.times:
            times = []
            for name, algorithm in ALGORITHMS.items():
                began = process_time()
                algorithm(clients, endpoints, size[2])
                times.append((name, f"{(process_time() - began) * 1e3:.1f}"))
            print(f"{table((' x '.join(map(str, size)), 'ms'), times)}\n")
            continue
        reports = {
            name: evaluate_subsetting(algorithm, clients, endpoints, size[2], samples=SAMPLES)
            for name, algorithm in ALGORITHMS.items()
        }
        rows = [row(name, report, size) for name, report in reports.items()]
        print(f"### {size[0]:,} clients, {size[1]:,} endpoints, {size[2]} for each\n")
        print(f"{table(HEADS, rows, markdown=True)}\n")
        for name, check in PROPERTIES.items():
            for sentence, holds in check(size):
                failed |= not holds
                print(f"- {name}: {sentence}{'' if holds else ' - NOT SO'}")
        print()
    return int(options.check and failed)


if __name__ == "__main__":
    sys.exit(main())
