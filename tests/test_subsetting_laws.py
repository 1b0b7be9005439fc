"""Subsetting: its laws, each algorithm said again in the simplest way, and the page's table."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from hashlib import blake2b
from itertools import chain, combinations
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.subsetting import ALGORITHMS, PROPERTIES, SAMPLES, SIZES, names, row
from endpointslice import (
    Subset,
    aperture_subsets,
    deterministic_subsets,
    evaluate_subsetting,
    keep_places,
    rendezvous_subsets,
    ringsteady_subsets,
)

ROOT: Final = Path(__file__).parent.parent

Subsets = Mapping[str, Subset[str]]
Algorithm = Callable[[Sequence[str], Sequence[str], int], Subsets]

each_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)

#: Names in the order of their numbers; of the second kind they are in no order of names.
NAMES: Final = (
    [f"web-{number}" for number in range(40)],
    [blake2b(b"%d" % number, digest_size=3).hexdigest() for number in range(40)],
)
counts = st.integers(0, 40)
sizes = st.integers(1, 12)
kinds = st.sampled_from(NAMES)
names_of = st.builds(lambda kind, count: kind[:count], kinds, counts)


def loads_of(subsets: Subsets, endpoints: Iterable[str]) -> list[int]:
    found = Counter(chain.from_iterable(subset.endpoints for subset in subsets.values()))
    return [found[key] for key in endpoints]


def traffic_of(subsets: Subsets, endpoints: Iterable[str]) -> list[Fraction]:
    pairs = [
        (key, share)
        for subset in subsets.values()
        for key, share in zip(subset.endpoints, subset.shares, strict=True)
    ]
    return [sum((share for key, share in pairs if key == one), Fraction(0)) for one in endpoints]


def taken_on(before: Subsets, after: Subsets) -> dict[str, int]:
    """Of each client that stays, how many endpoints it has that it did not have."""
    return {
        name: len(set(after[name].endpoints) - set(before[name].endpoints))
        for name in before
        if name in after
    }


# --- of all -----------------------------------------------------------------------------------


@each_algorithm
@given(clients=names_of, endpoints=names_of, size=sizes)
def test_each_client_has_as_many_different_endpoints_as_it_wants(
    algorithm: Algorithm, clients: list[str], endpoints: list[str], size: int
) -> None:
    subsets = algorithm(clients, endpoints, size)
    assert sorted(subsets) == sorted(clients)
    for subset in subsets.values():
        used = subset.endpoints
        assert len(set(used)) == len(used) == len(subset.shares)
        assert set(used) <= set(endpoints)
        assert len(used) >= min(size, len(endpoints))
        assert sum(subset.shares) == (1 if used else 0)
        assert all(share > 0 for share in subset.shares)
        if algorithm not in (ALGORITHMS["aperture"], ALGORITHMS["aperture, numbered"]):
            assert len(used) == min(size, len(endpoints))
            assert len(set(subset.shares)) <= 1


@pytest.mark.parametrize(
    "algorithm",
    [deterministic_subsets, aperture_subsets, rendezvous_subsets, ringsteady_subsets],
)
@given(clients=names_of, endpoints=names_of, size=sizes, data=st.data())
def test_the_order_of_the_input_does_not_matter(
    algorithm: Algorithm, clients: list[str], endpoints: list[str], size: int, data: st.DataObject
) -> None:
    others = data.draw(st.permutations(clients)), data.draw(st.permutations(endpoints))
    assert list(algorithm(*others, size).items()) == list(
        algorithm(clients, endpoints, size).items()
    )


@pytest.mark.parametrize("algorithm", [deterministic_subsets, aperture_subsets, ringsteady_subsets])
@given(clients=counts, endpoints=counts, size=sizes, kind=kinds)
def test_where_all_are_numbered_names_do_not_matter(
    algorithm: Any, clients: int, endpoints: int, size: int, kind: list[str]
) -> None:
    subsets = algorithm(kind[:clients], kind[:endpoints], size, numbered=True)
    numbers = {name: number for number, name in enumerate(kind)}
    others = algorithm(NAMES[0][:clients], NAMES[0][:endpoints], size, numbered=True)
    assert [
        ([numbers[key] for key in subset.endpoints], subset.shares) for subset in subsets.values()
    ] == [
        ([int(key.removeprefix("web-")) for key in subset.endpoints], subset.shares)
        for subset in others.values()
    ]


# --- deterministic ----------------------------------------------------------------------------


@given(clients=names_of, endpoints=names_of, size=sizes, numbered=st.booleans())
@example(clients=NAMES[0][:5], endpoints=NAMES[0][:7], size=4, numbered=False)
def test_deterministic_rounds_deal_each_endpoint_once_and_what_is_left_out_goes_around(
    clients: list[str], endpoints: list[str], size: int, numbered: bool
) -> None:
    subsets = deterministic_subsets(clients, endpoints, size, numbered=numbered)
    if not endpoints:
        return
    hands = max(1, len(endpoints) // size)
    dealt = [subset.endpoints for subset in subsets.values()]
    for start in range(0, len(dealt), hands):
        used = list(chain.from_iterable(dealt[start : start + hands]))
        assert len(used) == len(set(used))
    loads = loads_of(subsets, endpoints)
    is_even = len(endpoints) % size == 0 or len(dealt) % hands == 0
    assert max(loads) - min(loads) <= (1 if is_even else 2)


@given(clients=names_of, endpoints=names_of, size=sizes)
def test_deterministic_clients_after_the_last_change_nothing(
    clients: list[str], endpoints: list[str], size: int
) -> None:
    subsets = deterministic_subsets(clients, endpoints, size, numbered=True)
    fewer = deterministic_subsets(clients[:-1], endpoints, size, numbered=True)
    assert all(subsets[name] == subset for name, subset in fewer.items())


# --- aperture ---------------------------------------------------------------------------------


@given(clients=names_of, endpoints=names_of, size=sizes)
def test_an_aperture_gives_all_endpoints_the_same_traffic(
    clients: list[str], endpoints: list[str], size: int
) -> None:
    subsets = aperture_subsets(clients, endpoints, size)
    found = traffic_of(subsets, endpoints)
    assert found == [Fraction(len(clients), len(endpoints) or 1)] * len(endpoints)


@given(n=st.integers(1, 12), m=st.integers(1, 12), size=sizes)
def test_an_aperture_is_what_its_cells_are(n: int, m: int, size: int) -> None:
    """The ring cut into n * m cells, of which endpoint j has n and client i begins at i * m."""
    parts = next(count for count in range(1, n + 1) if count * m >= min(size, m) * n)
    subsets = aperture_subsets(NAMES[0][:n], NAMES[0][:m], size, numbered=True)
    for number, name in enumerate(NAMES[0][:n]):
        cells = Counter(
            NAMES[0][cell % (n * m) // n] for cell in range(number * m, number * m + parts * m)
        )
        found = dict(zip(subsets[name].endpoints, subsets[name].shares, strict=True))
        assert found == {key: Fraction(count, parts * m) for key, count in cells.items()}


# --- rendezvous -------------------------------------------------------------------------------


@given(clients=names_of, endpoints=names_of, size=sizes)
def test_rendezvous_takes_the_lowest_hashes(
    clients: list[str], endpoints: list[str], size: int
) -> None:
    subsets = rendezvous_subsets(clients, endpoints, size)
    for name in clients:
        by_score = sorted(
            endpoints, key=lambda key: blake2b(f"{name}\0{key}".encode(), digest_size=8).digest()
        )
        assert subsets[name].endpoints == tuple(by_score[:size])
        assert rendezvous_subsets([name], endpoints, size)[name] == subsets[name]


def test_equal_hashes_are_told_apart_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    class Same:
        def __init__(self, *_args: object, **_kwargs: object) -> None: ...

        def copy(self) -> Same:
            return self

        def update(self, _data: bytes) -> None: ...

        def digest(self) -> bytes:
            return b"same"

    monkeypatch.setattr("endpointslice.subsetting.blake2b", Same)
    for order in ("ABCD", "DCBA"):
        for algorithm in (rendezvous_subsets, deterministic_subsets, aperture_subsets):
            assert algorithm(["x"], list(order), 2)["x"].endpoints[:2] == ("A", "B")


@given(clients=names_of, endpoints=names_of.filter(bool), size=sizes, data=st.data())
def test_rendezvous_changes_no_more_than_it_must_whoever_goes(
    clients: list[str], endpoints: list[str], size: int, data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(endpoints))
    before = rendezvous_subsets(clients, endpoints, size)
    after = rendezvous_subsets(clients, [key for key in endpoints if key != gone], size)
    for name, subset in before.items():
        kept = tuple(key for key in subset.endpoints if key != gone)
        assert after[name].endpoints[: len(kept)] == kept
        is_replaced = gone in subset.endpoints and len(endpoints) > size
        assert len(after[name].endpoints) == len(kept) + is_replaced


# --- ringsteady -------------------------------------------------------------------------------


def place(number: int) -> Fraction:
    """The binary van der Corput sequence, by its recurrence."""
    return Fraction(number % 2, 2) + place(number // 2) / 2 if number else Fraction(0)


@given(n=counts, m=counts, size=sizes)
def test_ringsteady_takes_the_next_ones_around_the_ring(n: int, m: int, size: int) -> None:
    subsets = ringsteady_subsets(NAMES[0][:n], NAMES[0][:m], size)
    for number, name in enumerate(NAMES[0][:n]):
        by_distance = sorted(range(m), key=lambda other: (place(other) - place(number)) % 1)
        assert subsets[name].endpoints == tuple(NAMES[0][other] for other in by_distance[:size])


@given(n=counts, m=st.integers(1, 40), size=sizes)
def test_ringsteady_changes_no_more_than_it_must_when_the_last_goes(
    n: int, m: int, size: int
) -> None:
    clients, endpoints = NAMES[0][:n], NAMES[0][:m]
    before = ringsteady_subsets(clients, endpoints, size)
    changes = taken_on(before, ringsteady_subsets(clients, endpoints[:-1], size))
    assert changes == {
        name: int(endpoints[-1] in subset.endpoints and m > size) for name, subset in before.items()
    }
    fewer = ringsteady_subsets(clients[:-1], endpoints, size)
    assert all(before[name] == subset for name, subset in fewer.items())


@given(exponent=st.integers(0, 4), times=st.integers(1, 3), m=st.integers(1, 40), size=sizes)
def test_ringsteady_is_exactly_even_where_all_gaps_are_alike(
    exponent: int, times: int, m: int, size: int
) -> None:
    power: int = 2**exponent
    many = [str(number) for number in range(times * power)]
    even = loads_of(ringsteady_subsets(many, NAMES[0][:power], size), NAMES[0][:power])
    assert even == [times * min(size, power)] * power
    as_many = loads_of(ringsteady_subsets(NAMES[0][:m], NAMES[0][:m], size), NAMES[0][:m])
    assert as_many == [min(size, m)] * m


# --- places -----------------------------------------------------------------------------------


@given(
    before=st.permutations(NAMES[1]),
    after=st.permutations(NAMES[1]),
    counts=st.tuples(counts, counts),
)
def test_places_are_kept_by_all_that_can(
    before: list[str], after: list[str], counts: tuple[int, int]
) -> None:
    before, after = before[: counts[0]], after[: counts[1]]
    arranged = keep_places(before, after)
    assert sorted(arranged) == sorted(after)
    assert keep_places(before, sorted(after)) == arranged
    assert keep_places(arranged, after) == arranged
    for number, key in enumerate(before):
        if key in after and number < len(after):
            assert arranged[number] == key
    gone, come = set(before) - set(after), set(after) - set(before)
    moved = [
        key for number, key in enumerate(before) if key in after and arranged.index(key) != number
    ]
    assert len(moved) <= max(0, len(gone) - len(come))


@pytest.mark.parametrize("algorithm", [deterministic_subsets, aperture_subsets, ringsteady_subsets])
@given(endpoints=st.permutations(NAMES[1]), size=sizes, number=st.integers(0, 39))
def test_who_is_replaced_in_its_place_changes_nothing_else(
    algorithm: Any, endpoints: list[str], size: int, number: int
) -> None:
    gone = endpoints[number]
    after = keep_places(endpoints, [*endpoints[:number], "new", *endpoints[number + 1 :]])
    before = algorithm(NAMES[0], endpoints, size, numbered=True)
    for name, subset in algorithm(NAMES[0], after, size, numbered=True).items():
        assert subset.endpoints == tuple(
            "new" if key == gone else key for key in before[name].endpoints
        )


# --- measures ---------------------------------------------------------------------------------


@each_algorithm
@given(n=st.integers(1, 9), m=st.integers(1, 9), size=st.integers(1, 5), kind=kinds)
def test_a_report_counts_what_is_there(
    algorithm: Algorithm, n: int, m: int, size: int, kind: list[str]
) -> None:
    clients, endpoints = kind[:n], kind[9 : 9 + m]
    report = evaluate_subsetting(algorithm, clients, endpoints, size, samples=9)
    subsets = algorithm(clients, endpoints, size)
    used = {name: set(subset.endpoints) for name, subset in subsets.items()}
    loads, traffic = loads_of(subsets, endpoints), traffic_of(subsets, endpoints)
    assert report.connections == sum(loads)
    assert (report.least, report.most) == (
        min(map(len, used.values())),
        max(map(len, used.values())),
    )
    for balance, found in ((report.connection_balance, loads), (report.traffic_balance, traffic)):
        assert balance.max_to_mean * sum(found) == max(found) * m
        assert balance.min_to_mean * sum(found) == min(found) * m
    met = [
        sum({one, other} <= found for found in used.values())
        for one, other in combinations(endpoints, 2)
    ]
    assert report.pairs_met == sum(map(bool, met)) <= report.pairs_possible
    assert report.closest_pair == max(met, default=0)
    assert report.distinct_subsets == len(set(map(frozenset, used.values())))

    def changes(clients_after: Sequence[str], endpoints_after: Sequence[str]) -> int:
        after = algorithm(clients_after, endpoints_after, size)
        return sum(
            (key in used[name]) != (key in after[name].endpoints)
            for name in clients
            for key in endpoints
            if name in clients_after and key in endpoints_after
        )

    goes, leaves = (
        [keep_places(everyone, [name for name in everyone if name != one]) for one in everyone]
        for everyone in (endpoints, clients)
    )
    found = [changes(clients, others) for others in goes]
    assert report.endpoint_goes.mean * m * report.connections == sum(found)
    assert report.endpoint_goes.worst * report.connections == max(found)
    found = [changes(others, endpoints) for others in leaves]
    assert report.client_goes.mean * n * report.connections == sum(found)
    assert report.client_goes.worst * report.connections == max(found)
    assert 0 <= report.endpoint_replaced.mean <= report.endpoint_replaced.worst <= 2


def test_samples_are_spread_and_the_last_is_among_them() -> None:
    clients, endpoints = NAMES[0][:7], NAMES[0]
    tried = []

    def spy(names: Sequence[str], keys: Sequence[str], size: int) -> Subsets:
        tried.append((set(clients) - set(names), set(endpoints) - set(keys)))
        return rendezvous_subsets(names, keys, size)

    evaluate_subsetting(spy, clients, endpoints, 3, samples=4)
    gone = [sorted(keys) for _, keys in tried if keys]
    assert gone == [[f"web-{number}"] for number in (9, 9, 19, 19, 29, 29, 39, 39)]
    left = [sorted(found) for found, _ in tried if found]
    assert left == [["web-0"], ["web-2"], ["web-4"], ["web-6"]]


# --- the table --------------------------------------------------------------------------------

PAGE: Final = (ROOT / "docs" / "explanation" / "subsetting.md").read_text(encoding="utf-8")
SMALL: Final = SIZES[:2]


@pytest.mark.parametrize("size", SMALL, ids=str)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_table_of_the_page_is_what_the_benchmark_makes(
    name: str, size: tuple[int, int, int]
) -> None:
    clients, endpoints = names(size)
    report = evaluate_subsetting(ALGORITHMS[name], clients, endpoints, size[2], samples=SAMPLES)
    cells = row(name, report, size)
    section = PAGE.partition(f"### {size[0]} clients, {size[1]} endpoints, {size[2]} for each\n")[2]
    (line,) = [
        line
        for line in section.partition("\n### ")[0].splitlines()
        if line.replace(" ", "").startswith(f"|{name}|".replace(" ", ""))
    ]
    assert [cell.strip() for cell in line.strip("|").split("|")] == list(cells)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", ["deterministic", "aperture", "ringsteady"])
def test_each_algorithm_has_its_published_property(name: str, size: tuple[int, int, int]) -> None:
    found = list(PROPERTIES[name](size))
    assert found
    assert [sentence for sentence, holds in found if not holds] == []
    for sentence, _ in found:
        assert f"- {name}: {sentence}\n" in PAGE


def test_rendezvous_has_its_published_property() -> None:
    for sentence, holds in PROPERTIES["rendezvous"](SIZES[0]):
        assert holds, sentence
        assert f"- rendezvous: {sentence}\n" in PAGE


# --- hash seeds -------------------------------------------------------------------------------

_SCRIPT: Final = """

from benchmarks.subsetting import ALGORITHMS
from endpointslice import evaluate_subsetting, keep_places
clients = [f"node-{i}" for i in range(23)]
endpoints = [f"10.0.0.{i}" for i in range(37)]
for algorithm in ALGORITHMS.values():
    subsets = algorithm(clients, endpoints, 5)
    print([(name, s.endpoints, [str(x) for x in s.shares]) for name, s in subsets.items()])
    print(evaluate_subsetting(algorithm, clients, endpoints, 5))
print(keep_places(endpoints, [*endpoints[9:20], *clients]))
"""


def test_subsets_do_not_depend_on_the_hash_seed() -> None:
    answers = set()
    for seed in ("0", "1", "42"):
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        answers.add(done.stdout)
    assert len(answers) == 1
    assert len(answers.pop().splitlines()) == 2 * len(ALGORITHMS) + 1
