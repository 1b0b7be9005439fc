"""Repack: its laws, and what it does to small cases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from endpointslice import (
    Endpoint,
    EndpointKey,
    EndpointSlice,
    Plan,
    apply_plan,
    check_plan,
    reconcile,
)
from endpointslice.diff import Diff, diff_state
from endpointslice.packing import Repack
from tests.builders import TEMPLATE, Case, cases, endpoint, group, stored


def pieces(keys: Iterable[EndpointKey], capacity: int) -> list[list[EndpointKey]]:
    order = sorted(keys)
    return [order[i : i + capacity] for i in range(0, len(order), capacity)]


def plan_of(desired: Sequence[Endpoint], *current: EndpointSlice, capacity: int = 3) -> Plan:
    groups = [group(*desired)]
    plan = reconcile(
        groups, current, template=TEMPLATE, strategy=Repack(), max_endpoints_per_slice=capacity
    )
    assert check_plan(plan, desired=groups, current=current, max_endpoints_per_slice=capacity) == ()
    return plan


def held(slices: Iterable[EndpointSlice]) -> list[list[EndpointKey]]:
    return sorted(sorted(item.keys) for item in slices if item.endpoints)


def numbers(plan: Plan) -> dict[str, list[int]]:
    """What each slice that is written holds, by the numbers of the endpoints."""
    found = {}
    for operation in plan.operations:
        name = "" if operation.before is None else operation.before.name
        members = () if operation.after is None else operation.after.endpoints
        found[name] = sorted(int(e.addresses[0].rpartition(".")[2]) for e in members)
    return found


# --- laws -------------------------------------------------------------------------------------


@given(case=cases())
def test_slices_are_full_pieces_of_the_sorted_endpoints(case: Case) -> None:
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
        strategy=Repack(),
        max_endpoints_per_slice=case.capacity,
    )
    after = apply_plan(case.ours, plan)
    wanted = {item.key: [endpoint.key for endpoint in item.endpoints] for item in case.desired}
    for diff in state.groups:
        if not diff.is_empty:
            mine = [item for item in after if item.group_key == diff.key]
            assert held(mine) == pieces(wanted.get(diff.key, ()), case.capacity)


@given(
    steps=st.lists(st.sets(st.integers(0, 40), max_size=25), min_size=2, max_size=6),
    capacity=st.integers(1, 7),
)
def test_no_slice_is_created_and_none_deleted_but_for_their_number(
    steps: list[set[int]], capacity: int
) -> None:
    # What is sorted shifts one way at each border: there is no cycle to be cut.
    current: tuple[EndpointSlice, ...] = ()
    for members in steps:
        plan = plan_of(list(map(endpoint, sorted(members))), *current, capacity=capacity)
        difference = ceil(len(members) / capacity) - len(current)
        assert len(plan.creates) == max(0, difference)
        assert len(plan.deletes) == max(0, -difference)
        current = apply_plan(current, plan)


# --- small cases ------------------------------------------------------------------------------

A, B, C = stored("web-a", 1, 2, 3), stored("web-b", 4, 5, 6), stored("web-c", 7, 8)


def test_one_that_goes_shifts_all_that_stand_behind_it() -> None:
    desired = [endpoint(number) for number in (1, 3, 4, 5, 6, 7, 8)]
    plan = plan_of(desired, A, B, C)
    assert numbers(plan) == {"web-a": [1, 3, 4], "web-b": [5, 6, 7], "web-c": [8]}
    assert [item.before.name for item in plan.updates] == ["web-a", "web-b", "web-c"]


def test_one_that_comes_shifts_them_the_other_way() -> None:
    plan = plan_of(list(map(endpoint, range(9))), A, B, C)
    assert numbers(plan) == {"web-a": [0, 1, 2], "web-b": [3, 4, 5], "web-c": [6, 7, 8]}
    assert [item.before.name for item in plan.updates] == ["web-c", "web-b", "web-a"]


def test_slices_before_the_change_are_left_alone_and_not_opened() -> None:
    state = diff_state(
        [group(*range(1, 8))], [A, B, C], template=TEMPLATE, max_endpoints_per_slice=3
    )
    with patch.object(Diff, "open", side_effect=AssertionError):
        (placement,) = Repack().pack(state.groups[0]).placements
    assert placement.name == "web-c"


def test_a_change_of_content_writes_one_slice() -> None:
    desired = [endpoint(number, int(number == 5)) for number in range(1, 9)]
    assert numbers(plan_of(desired, A, B, C)) == {"web-b": [4, 5, 6]}


def test_a_slice_in_the_midst_of_another_may_be_as_it_should() -> None:
    inner = stored("web-b", 3, 4, 5)
    around = stored("web-a", 0, 1, 6)
    plan = plan_of(list(map(endpoint, range(8))), around, inner, stored("web-c", 7))
    assert numbers(plan) == {"web-c": [6, 7], "web-a": [0, 1, 2]}


def test_slices_that_would_exchange_endpoints_are_created_anew_and_then_deleted() -> None:
    desired = [endpoint(1, 1), *map(endpoint, (2, 3, 4))]
    plan = plan_of(desired, stored("web-a", 1, 4), stored("web-b", 2, 3), capacity=2)
    assert numbers(plan) == {"": [1, 2], "web-b": [3, 4], "web-a": []}


def test_of_slices_in_a_cycle_the_one_that_keeps_fewest_is_freed() -> None:
    current = stored("web-a", 1, 2, 3, 8), stored("web-b", 4, 5, 6)
    plan = plan_of(list(map(endpoint, range(1, 9))), *current, capacity=4)
    assert numbers(plan) == {"": [5, 6, 7, 8], "web-a": [1, 2, 3, 4], "web-b": []}
