"""Rendezvous: its laws, and what it does to small cases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from unittest.mock import patch
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpointslice import (
    CreateSlice,
    DeleteSlice,
    Endpoint,
    EndpointKey,
    EndpointSlice,
    GroupKey,
    ObjectReference,
    Plan,
    UpdateSlice,
    apply_plan,
    check_plan,
    reconcile,
)
from endpointslice.diff import diff_state
from endpointslice.packing import Packing, Rendezvous, rendezvous
from tests.builders import HTTP, TEMPLATE, Case, cases, endpoint, group, stored

Seating = frozenset[frozenset[EndpointKey]]


def digits(key: EndpointKey) -> str:
    return format(crc32(key.encode()), "032b")


def seating(keys: Iterable[EndpointKey], capacity: int, start: str = "") -> Seating:
    """Who should sit together, said again: halve what does not fit, digit by digit."""
    found = frozenset(key for key in keys if digits(key).startswith(start))
    if len(found) <= capacity:
        return frozenset({found} if found else ())
    return seating(found, capacity, start + "0") | seating(found, capacity, start + "1")


def seating_of(slices: Iterable[EndpointSlice], key: GroupKey) -> Seating:
    return frozenset(frozenset(s.keys) for s in slices if s.endpoints and s.group_key == key)


def plan_of(desired: Sequence[Endpoint], current: Sequence[EndpointSlice], capacity: int) -> Plan:
    groups = [group(*desired)]
    plan = reconcile(
        groups,
        current,
        template=TEMPLATE,
        strategy=Rendezvous(),
        max_endpoints_per_slice=capacity,
    )
    assert check_plan(plan, desired=groups, current=current, max_endpoints_per_slice=capacity) == ()
    return plan


def moved(before: Iterable[EndpointSlice], after: Iterable[EndpointSlice]) -> int:
    homes = {key: item.name for item in before for key in item.keys}
    return sum(homes.get(key, item.name) != item.name for item in after for key in item.keys)


# --- a function of the desired set alone ------------------------------------------------------


@given(case=cases())
def test_who_sits_together_is_a_function_of_the_desired_set_alone(case: Case) -> None:
    state = diff_state(
        case.desired,
        case.current,
        template=case.template,
        max_endpoints_per_slice=case.capacity,
    )
    plan = reconcile(
        case.desired,
        case.current,
        template=case.template,
        strategy=Rendezvous(),
        max_endpoints_per_slice=case.capacity,
    )
    after = apply_plan(case.ours, plan)
    wanted = {item.key: [endpoint.key for endpoint in item.endpoints] for item in case.desired}
    for diff in state.groups:
        if not diff.is_empty:
            keys = wanted.get(diff.key, [])
            assert seating_of(after, diff.key) == seating(keys, case.capacity)


#: One step: which endpoints change, and to which content (-1: they go).
STEPS = st.lists(st.dictionaries(st.integers(0, 60), st.integers(-1, 3), max_size=9), max_size=12)


@given(steps=STEPS, capacity=st.integers(1, 9))
def test_over_any_history_few_move_and_few_slices_are_written(
    steps: list[dict[int, int]], capacity: int
) -> None:
    contents: dict[int, int] = {}
    current: tuple[EndpointSlice, ...] = ()
    for step in steps:
        was = dict(contents)
        contents |= step
        contents = {number: variant for number, variant in contents.items() if variant >= 0}
        desired = [endpoint(number, variant) for number, variant in contents.items()]
        plan = plan_of(desired, current, capacity)
        after = apply_plan(current, plan)
        assert seating_of(after, group().key) == seating((e.key for e in desired), capacity)
        different = len(was.keys() ^ contents.keys())
        changed = sum(contents.get(number, variant) != variant for number, variant in was.items())
        assert moved(current, after) <= different * (capacity // 2)
        assert len(plan.operations) <= 2 * different + changed
        current = after


@given(
    numbers=st.sets(st.integers(0, 60), max_size=30),
    other=st.integers(0, 60),
    capacity=st.integers(1, 9),
)
def test_one_endpoint_more_or_less_writes_two_slices_and_moves_half_a_slice_at_most(
    numbers: set[int], other: int, capacity: int
) -> None:
    fewer = [endpoint(number) for number in sorted(numbers - {other})]
    more = [*fewer, endpoint(other)]
    for before, then in ((fewer, more), (more, fewer)):
        current = apply_plan((), plan_of(before, (), capacity))
        plan = plan_of(then, current, capacity)
        assert 1 <= len(plan.operations) <= 2
        assert moved(current, apply_plan(current, plan)) <= capacity // 2


def pod(number: int) -> Endpoint:
    """As a Deployment's Pods are called: names and addresses count upwards."""
    return Endpoint(
        (f"10.{number // 62500}.{number // 250 % 250}.{number % 250 + 1}",),
        target_ref=ObjectReference("Pod", "prod", f"web-7d4b9c6f5d-{number:05d}"),
    )


def test_on_average_one_of_a_thousand_writes_one_slice_and_moves_less_than_two() -> None:
    desired = [pod(number) for number in range(900)]
    current = apply_plan((), plan_of(desired, (), 100))
    writes = moves = 0
    for number in range(900, 1100):
        desired.append(pod(number))
        plan = plan_of(desired, current, 100)
        after = apply_plan(current, plan)
        writes += len(plan.operations)
        moves += moved(current, after)
        current = after
    assert writes <= 1.05 * 200
    assert moves <= 2 * 200


@pytest.mark.parametrize("count", [500, 900, 1300, 2000, 3000])
def test_slices_of_names_that_count_upwards_are_more_than_half_full(count: int) -> None:
    slices = apply_plan((), plan_of([pod(number) for number in range(count)], (), 100))
    assert 0.55 <= count / len(slices) / 100 <= 0.9


@given(
    steps=st.lists(st.sets(st.integers(0, 30), max_size=20), max_size=5),
    capacity=st.integers(1, 4),
    checksums=st.integers(1, 3),
)
def test_keys_of_one_checksum_are_told_apart_by_themselves(
    steps: list[set[int]], capacity: int, checksums: int
) -> None:
    with patch.object(rendezvous, "crc32", lambda data: crc32(data) % checksums):
        current: tuple[EndpointSlice, ...] = ()
        for numbers in steps:
            desired = [endpoint(number) for number in sorted(numbers)]
            current = apply_plan(current, plan_of(desired, current, capacity))
            anew = apply_plan((), plan_of(desired, (), capacity))
            assert seating_of(current, group().key) == seating_of(anew, group().key)


# --- what it looks at -------------------------------------------------------------------------


def test_a_span_is_the_lowest_and_the_highest_place() -> None:
    state = diff_state(
        [group(1, 2, 3, 4)],
        [stored("web-a", 3, 1, 2)],
        template=TEMPLATE,
        max_endpoints_per_slice=5,
    )
    low, high = state.groups[0].span("web-a", lambda endpoint: f"place of {endpoint.addresses[0]}")
    assert (low, high) == ("place of 10.0.0.1", "place of 10.0.0.3")


# --- small cases ------------------------------------------------------------------------------


def by_place(count: int, start: str = "") -> list[Endpoint]:
    """The first endpoints whose checksums begin so, in the order of their places."""
    found = [e for e in map(endpoint, range(500)) if digits(e.key).startswith(start)]
    return sorted(found[:count], key=lambda e: digits(e.key))


def test_a_slice_that_splits_keeps_the_greater_part() -> None:
    low, high = by_place(1, "0"), by_place(3, "1")
    plan = plan_of([*low, *high], [stored("web-a", *low, *high[1:])], 3)
    create, update = plan.operations
    assert isinstance(create, CreateSlice)
    assert isinstance(update, UpdateSlice)
    assert create.after.endpoints == tuple(low)
    assert set(update.after.endpoints) == set(high)


def test_two_slices_that_fit_one_merge_in_the_fuller() -> None:
    low, high = by_place(2, "0"), by_place(1, "1")
    current = [stored("web-a", *high, by_place(3, "1")[-1]), stored("web-b", *low)]
    update, delete = plan_of([*low, *high], current, 3).operations
    assert isinstance(update, UpdateSlice)
    assert isinstance(delete, DeleteSlice)
    assert update.before.name == "web-b"
    assert set(update.after.endpoints) == {*low, *high}


def test_a_change_of_content_moves_nobody() -> None:
    desired = list(map(endpoint, range(20)))
    current = apply_plan((), plan_of(desired, (), 4))
    (update,) = plan_of([endpoint(0, 1), *desired[1:]], current, 4).operations
    assert update.after is not None
    assert update.before is not None
    assert update.after.keys == update.before.keys


def test_slices_that_would_exchange_endpoints_are_created_anew_and_then_deleted() -> None:
    low, high = by_place(2, "0"), by_place(2, "1")
    current = [stored("web-a", low[0], high[0]), stored("web-b", low[1], high[1])]
    desired = [*low, *high, *by_place(3, "1")[2:]]
    plan = plan_of(desired, current, 3)
    assert [len(plan.creates), len(plan.updates), len(plan.deletes)] == [1, 1, 1]


def test_slices_of_another_strategy_are_taken_over_with_the_first_change() -> None:
    numbers = range(12)
    current = [stored(f"web-{i}", *numbers[i : i + 4]) for i in (0, 4, 8)]
    desired = list(map(endpoint, numbers))
    assert plan_of(desired, current, 4).is_empty
    after = apply_plan(current, plan_of([endpoint(0, 1), *desired[1:]], current, 4))
    assert seating_of(after, group().key) == seating((e.key for e in desired), 4)


def test_an_empty_slice_is_filled_before_another_is_created() -> None:
    placeholder = stored("web-a", ports=())
    groups = [group(1, 2, 3, ports=())]
    plan = reconcile(
        groups,
        [placeholder],
        template=TEMPLATE,
        strategy=Rendezvous(),
        max_endpoints_per_slice=3,
    )
    (update,) = plan.operations
    assert update.before == placeholder


def test_nothing_to_do_is_an_empty_packing() -> None:
    state = diff_state(
        [group(1, 2, ports=(HTTP,))],
        [stored("web-a", 1), stored("web-b", 2)],
        template=TEMPLATE,
        max_endpoints_per_slice=3,
    )
    assert Rendezvous().pack(state.groups[0]) == Packing(())
