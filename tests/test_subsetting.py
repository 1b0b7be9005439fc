"""Subsetting: examples, what is refused, and what is measured."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from fractions import Fraction
from functools import partial
from typing import Any, Final, assert_type

import pytest

from endpointslice import (
    Endpoint,
    FrozenDict,
    ModelError,
    Subset,
    SubsettingReport,
    aperture_subsets,
    deterministic_subsets,
    evaluate_subsetting,
    keep_places,
    rendezvous_subsets,
    ringsteady_subsets,
)
from endpointslice.subsetting import Balance, Churn

ALGORITHMS: Final[tuple[Any, ...]] = (
    deterministic_subsets,
    rendezvous_subsets,
    aperture_subsets,
    ringsteady_subsets,
)
each_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)
ONE: Final = Fraction(1)


def letters(subsets: Mapping[str, Subset[str]]) -> list[str]:
    return ["".join(subset.endpoints) for subset in subsets.values()]


# --- examples ---------------------------------------------------------------------------------


def test_deterministic_subsets_deal_a_shuffled_hand_to_each_client_of_a_round() -> None:
    dealt = letters(deterministic_subsets(["0", "1", "2", "3"], list("ABCDEF"), 3))
    assert sorted(dealt[0] + dealt[1]) == sorted(dealt[2] + dealt[3]) == list("ABCDEF")
    assert {frozenset(hand) for hand in dealt[:2]} != {frozenset(hand) for hand in dealt[2:]}


def test_deterministic_subsets_leave_out_others_in_each_round() -> None:
    clients = [str(number) for number in range(6)]
    dealt = letters(deterministic_subsets(clients, list("ABCDE"), 2, numbered=True))
    rounds = ["".join(dealt[i : i + 2]) for i in range(0, 6, 2)]
    assert ["".join(sorted(set("ABCDE") - set(hands))) for hands in rounds] == ["A", "B", "C"]


def test_an_aperture_has_parts_of_endpoints_at_its_ends() -> None:
    # In sixths of the ring, A is 0 to 3 and B 3 to 6; arcs are 0 to 4, 2 to 6 and 4 to 8.
    assert aperture_subsets(["a", "b", "c"], ["A", "B"], 1, numbered=True) == {
        "a": Subset(("A", "B"), (Fraction(3, 4), Fraction(1, 4))),
        "b": Subset(("A", "B"), (Fraction(1, 4), Fraction(3, 4))),
        "c": Subset(("B", "A"), (Fraction(1, 2), Fraction(1, 2))),
    }


def test_an_aperture_with_both_ends_in_one_endpoint_has_it_once() -> None:
    # In fifteenths, B is 5 to 10, and the arc of the fourth client all but 6 to 9.
    subsets = aperture_subsets(list("abcde"), list("ABC"), 2, numbered=True)
    assert subsets["d"] == Subset(
        ("B", "C", "A"), (Fraction(2, 12), Fraction(5, 12), Fraction(5, 12))
    )


def test_ringsteady_places_are_those_of_the_van_der_corput_sequence() -> None:
    # A at 0, B at 1/2, C at 1/4, D at 3/4, E at 1/8: on the ring A E C B D.
    subsets = ringsteady_subsets([str(number) for number in range(6)], list("ABCDE"), 2)
    assert letters(subsets) == ["AE", "BD", "CB", "DA", "EC", "DA"]


def test_rendezvous_prefers_by_the_names_alone() -> None:
    few = rendezvous_subsets(["node-1"], list("ABCDEF"), 3)["node-1"].endpoints
    assert (
        rendezvous_subsets(["node-2", "node-1"], list("FEDCBA"), 2)["node-1"].endpoints == few[:2]
    )
    assert few == ("D", "F", "E")


def test_numbers_in_names_count() -> None:
    names = ["web-10", "web-9", "web-09", "web-", "10", "9", "web-1a2", "é", f"web-{'9' * 5000}"]
    found = ringsteady_subsets(names, ["A"], 1)
    assert list(found) == [
        *("9", "10", "web-", "web-1a2", "web-09", "web-9", "web-10"),
        *(f"web-{'9' * 5000}", "é"),
    ]


@each_algorithm
def test_endpoints_come_back_as_they_are(algorithm: Any) -> None:
    endpoints = [Endpoint([f"10.0.0.{i}"], zone="a") for i in range(7)]
    by_object = algorithm(["x", "y"], endpoints, 3)
    by_key = algorithm(["x", "y"], [endpoint.key for endpoint in endpoints], 3)
    for name in ("x", "y"):
        assert all(any(found is e for e in endpoints) for found in by_object[name].endpoints)
        assert tuple(e.key for e in by_object[name].endpoints) == by_key[name].endpoints
        assert by_object[name].shares == by_key[name].shares


def test_results_have_the_types_that_are_documented() -> None:
    endpoints = [Endpoint(["10.0.0.1"])]
    assert_type(rendezvous_subsets(["x"], endpoints, 1), FrozenDict[str, Subset[Endpoint]])
    assert_type(ringsteady_subsets(["x"], ["A"], 1), FrozenDict[str, Subset[str]])
    assert_type(keep_places(endpoints, endpoints), tuple[Endpoint, ...])
    report = assert_type(
        evaluate_subsetting(partial(aperture_subsets, numbered=True), ["x"], endpoints, 1),
        SubsettingReport,
    )
    assert pickle.loads(pickle.dumps(report)) == report


# --- what there is too little of --------------------------------------------------------------


@each_algorithm
def test_a_client_that_wants_more_than_there_are_gets_all(algorithm: Any) -> None:
    for size in (3, 4, 10**30):
        subsets = algorithm(["x", "y"], list("ABC"), size)
        assert [sorted(subset.endpoints) for subset in subsets.values()] == [list("ABC")] * 2
        assert {share for subset in subsets.values() for share in subset.shares} == {ONE / 3}


@each_algorithm
def test_where_no_endpoints_are_each_client_gets_none(algorithm: Any) -> None:
    assert algorithm(["x", "y"], [], 3) == {"x": Subset((), ()), "y": Subset((), ())}


@each_algorithm
def test_where_no_clients_are_nobody_gets_any(algorithm: Any) -> None:
    assert algorithm([], list("ABC"), 3) == {}
    assert algorithm([], [], 3) == {}


# --- what is refused --------------------------------------------------------------------------

_SIZE: Final = "must be a whole number, 1 or more"
_ENDPOINT: Final = "must be an Endpoint or a string"
A: Final = Endpoint(["10.0.0.1"], zone="a")
A_AGAIN: Final = Endpoint(["10.0.0.1"], zone="b")

BAD: Final[tuple[tuple[Any, Any, Any, ModelError], ...]] = (
    (["x"], ["A"], 0, ModelError("size", _SIZE, 0)),
    (["x"], ["A"], -1, ModelError("size", _SIZE, -1)),
    (["x"], ["A"], True, ModelError("size", _SIZE, True)),
    (["x"], ["A"], 2.0, ModelError("size", _SIZE, 2.0)),
    (["x", "y", "x"], ["A"], 1, ModelError("clients[2]", "must not be there twice", "x")),
    (["x"], ["A", "A"], 1, ModelError("endpoints[1]", "must not be there twice", "A")),
    (["x"], [A, A_AGAIN], 1, ModelError("endpoints[1]", "must not be there twice", A.key)),
    (["x"], [A, A.key], 1, ModelError("endpoints[1]", "must not be there twice", A.key)),
    ("xyz", ["A"], 1, ModelError("clients", "must be a list, not one string", "xyz")),
    (["x"], "ABC", 1, ModelError("endpoints", "must be a list, not one string", "ABC")),
    (["x", None], ["A"], 1, ModelError("clients[1]", _ENDPOINT, None)),
    (["x", A], ["A"], 1, ModelError("clients[1]", "must be a string", A)),
    (["x"], ["A", 7], 1, ModelError("endpoints[1]", _ENDPOINT, 7)),
)


@pytest.mark.parametrize(("clients", "endpoints", "size", "error"), BAD)
def test_what_cannot_be_is_refused(
    clients: Any, endpoints: Any, size: Any, error: ModelError
) -> None:
    for algorithm in ALGORITHMS:
        with pytest.raises(ModelError) as refused:
            algorithm(clients, endpoints, size)
        assert refused.value == error
        with pytest.raises(ModelError) as refused:
            evaluate_subsetting(algorithm, clients, endpoints, size)
        assert refused.value == error


def test_there_must_be_something_to_measure() -> None:
    for clients, endpoints, field in (([], ["A"], "clients"), (["x"], [], "endpoints")):
        with pytest.raises(ModelError) as refused:
            evaluate_subsetting(rendezvous_subsets, clients, endpoints, 1)
        assert refused.value == ModelError(field, "must not be empty")
    with pytest.raises(ModelError) as refused:
        evaluate_subsetting(rendezvous_subsets, ["x"], ["A"], 1, samples=0)
    assert refused.value == ModelError("samples", _SIZE, 0)


def test_no_place_is_for_two() -> None:
    with pytest.raises(ModelError) as refused:
        keep_places(["A"], ["B", "B"])
    assert refused.value == ModelError("after[1]", "must not be there twice", "B")
    with pytest.raises(ModelError) as refused:
        keep_places(["A", "A"], ["B"])
    assert refused.value == ModelError("before[1]", "must not be there twice", "A")


# --- places -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "arranged"),
    [
        ("", "", ""),
        ("", "BAC", "ABC"),
        ("CAB", "ABC", "CAB"),
        ("CAB", "ABCED", "CABDE"),
        ("ABC", "CAZ", "AZC"),
        ("ABCD", "ACDYZ", "AYCDZ"),
        ("ABCD", "BCD", "DBC"),
        ("ABCDE", "BDE", "EBD"),
        ("ABCDE", "CDZ", "ZDC"),
        ("ABC", "AB", "AB"),
        ("ABCD", "B", "B"),
        ("ABC", "", ""),
        ("AB", "CD", "CD"),
    ],
)
def test_who_stays_keeps_its_place(before: str, after: str, arranged: str) -> None:
    assert "".join(keep_places(list(before), list(after))) == arranged


def test_an_endpoint_keeps_its_place_when_its_content_changes() -> None:
    other = Endpoint(["10.0.0.2"])
    (first, second) = keep_places([other, A], [A_AGAIN, other])
    assert first is other
    assert second is A_AGAIN


# --- measures ---------------------------------------------------------------------------------


def test_a_report_of_a_small_ring() -> None:
    # Four endpoints on one ring, A C B D; three clients, each with two of them: AC, BD, CB.
    ring = partial(ringsteady_subsets, numbered=True)
    report = evaluate_subsetting(ring, list("xyz"), list("ABCD"), 2, samples=1)
    even = Balance(max_to_mean=Fraction(2) / Fraction(3, 2), min_to_mean=1 / Fraction(3, 2))
    # D goes: y takes A for it. Z comes instead: nothing else changes. z goes: nothing changes.
    assert report == SubsettingReport(
        connections=6,
        least=2,
        most=2,
        connection_balance=even,
        traffic_balance=even,
        endpoint_goes=Churn(mean=Fraction(1, 6), worst=Fraction(1, 6)),
        endpoint_replaced=Churn(mean=Fraction(0), worst=Fraction(0)),
        client_goes=Churn(mean=Fraction(0), worst=Fraction(0)),
        distinct_subsets=3,
        pairs_met=3,
        pairs_possible=3,
        closest_pair=1,
    )


def test_an_endpoint_that_nobody_uses_counts_as_one_that_has_nothing() -> None:
    report = evaluate_subsetting(rendezvous_subsets, ["x"], list("ABC"), 1)
    assert report.connection_balance == Balance(max_to_mean=Fraction(3), min_to_mean=Fraction(0))
    assert report.traffic_balance == report.connection_balance
    assert (report.pairs_met, report.pairs_possible, report.closest_pair) == (0, 0, 0)


def test_the_only_endpoint_goes_and_nothing_is_left_to_change() -> None:
    for algorithm in ALGORITHMS:
        report = evaluate_subsetting(algorithm, ["x"], ["A"], 1)
        assert (
            report.endpoint_goes == report.client_goes == Churn(mean=Fraction(0), worst=Fraction(0))
        )
