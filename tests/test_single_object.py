"""SingleObject: its laws, and what it does to small cases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from endpointslice import (
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    Plan,
    UpdateSlice,
    apply_plan,
    check_plan,
    reconcile,
)
from endpointslice.diff import diff_state
from endpointslice.packing import Packing, SingleObject, single_object
from tests.builders import TEMPLATE, Case, cases, endpoint, endpoints, group, stored

COMING = EndpointConditions(ready=False, serving=False)
GOING = EndpointConditions(ready=False, serving=True, terminating=True)


@contextmanager
def at_most(count: int) -> Iterator[None]:
    """The one object lists so many: a thousand endpoints are too many for many cases."""
    with patch.object(single_object, "MAX_ADDRESSES_PER_ENDPOINTS", count):
        yield


def plan_of(desired: Sequence[Endpoint], *current: EndpointSlice, capacity: int = 1000) -> Plan:
    return reconcile(
        [group(*desired)],
        current,
        template=TEMPLATE,
        strategy=SingleObject(),
        max_endpoints_per_slice=capacity,
    )


def plan_of_case(case: Case) -> Plan:
    return reconcile(
        case.desired,
        case.current,
        template=case.template,
        strategy=SingleObject(),
        max_endpoints_per_slice=case.capacity,
    )


def listed_first(desired: Iterable[Endpoint]) -> list[Endpoint]:
    def rank(item: Endpoint) -> tuple[bool, bool, str]:
        return (not item.conditions.ready, item.conditions.terminating, item.key)

    return sorted(desired, key=rank)


# --- laws -------------------------------------------------------------------------------------

limits = st.integers(1, 7)


@given(case=cases(), most=limits)
def test_there_is_one_slice_and_those_who_come_first_are_in_it(case: Case, most: int) -> None:
    state = diff_state(
        case.desired,
        case.current,
        template=case.template,
        max_endpoints_per_slice=case.capacity,
    )
    with at_most(most):
        after = apply_plan(case.ours, plan_of_case(case))
    wanted = {item.key: item.endpoints for item in case.desired}
    for diff in state.groups:
        if not diff.is_empty:
            slices = [item for item in after if item.group_key == diff.key]
            is_wanted = diff.desired_count or (diff.key in wanted and not diff.key.ports)
            assert len(slices) == (1 if is_wanted else 0)
            listed = listed_first(wanted.get(diff.key, ()))[:most]
            found = [endpoint for item in slices for endpoint in item.endpoints]
            assert listed_first(found) == listed


@given(case=cases(), most=limits)
@example(case=Case(desired=(group(1, 2, 3),), current=(stored("a", 1, 2, 3),)), most=2)
@example(case=Case(desired=(group(1, 2, 3),), current=(stored("a", 1, 2),)), most=2)
@example(case=Case(desired=(group(1, 2, 3),), current=(stored("a", 2, 3),)), most=2)
def test_reconciling_again_finds_nothing_to_do(case: Case, most: int) -> None:
    with at_most(most):
        after = apply_plan(case.current, plan_of_case(case))
        again = Case(
            desired=case.desired, current=after, template=case.template, capacity=case.capacity
        )
        assert plan_of_case(again).operations == ()


@given(case=cases(), most=limits)
def test_only_the_capacity_and_those_left_out_are_amiss(case: Case, most: int) -> None:
    with at_most(most):
        plan = plan_of_case(case)
    problems = check_plan(
        plan, desired=case.desired, current=case.current, max_endpoints_per_slice=case.capacity
    )
    left_out = any(len(item.endpoints) > most for item in case.desired)
    for problem in problems:
        is_missing = problem.endswith("is there 0 times")
        is_over = f"more than {case.capacity}" in problem
        assert (is_missing and left_out) or (is_over and most > case.capacity)


@given(case=cases(capacities=(5,), universe=5, over_capacity=False))
def test_a_plan_is_sound_where_the_one_object_holds_all(case: Case) -> None:
    plan = plan_of_case(case)
    problems = check_plan(
        plan, desired=case.desired, current=case.current, max_endpoints_per_slice=case.capacity
    )
    assert problems == ()


@given(case=cases(), most=limits, data=st.data())
def test_the_order_of_the_input_does_not_matter(case: Case, most: int, data: st.DataObject) -> None:
    shuffled = Case(
        desired=tuple(
            group(
                *data.draw(st.permutations(item.endpoints)),
                ports=item.key.ports,
                kind=item.key.address_type,
            )
            for item in data.draw(st.permutations(case.desired))
        ),
        current=tuple(data.draw(st.permutations(case.current))),
        template=case.template,
        capacity=case.capacity,
    )
    with at_most(most):
        assert plan_of_case(shuffled) == plan_of_case(case)


@given(
    steps=st.lists(st.dictionaries(st.integers(0, 9), st.integers(-1, 3), max_size=4), max_size=8),
    most=st.integers(1, 12),
    capacity=st.integers(1, 12),
)
def test_a_change_of_what_is_listed_is_one_write_whatever_the_capacity(
    steps: list[dict[int, int]], most: int, capacity: int
) -> None:
    contents: dict[int, int] = {}
    current: tuple[EndpointSlice, ...] = ()
    listed: list[Endpoint] = []
    for step in steps:
        contents |= step
        desired = [endpoint(i, variant) for i, variant in contents.items() if variant >= 0]
        with at_most(most):
            plan = plan_of(desired, *current, capacity=capacity)
        was, listed = listed, listed_first(desired)[:most]
        assert len(plan.operations) == (was != listed)
        current = apply_plan(current, plan)


# --- small cases ------------------------------------------------------------------------------


def test_of_a_thousand_and_two_the_last_two_are_left_out() -> None:
    desired = endpoints(*range(1002))
    (create,) = plan_of(desired).operations
    assert create.after is not None
    assert set(create.after.endpoints) == set(listed_first(desired)[:1000])
    current = apply_plan((), plan_of(desired))
    assert plan_of(desired, *current).is_empty
    assert plan_of(desired, *current, capacity=100).is_empty
    problems = check_plan(
        plan_of(desired), desired=[group(*desired)], current=(), max_endpoints_per_slice=1000
    )
    assert len(problems) == 2


def test_ready_ones_come_first_and_those_that_terminate_last() -> None:
    one, two, three, four = endpoints(1, 2, 3, 4)
    coming, going = endpoint(1, conditions=COMING), endpoint(2, conditions=GOING)
    with at_most(2):
        current = apply_plan((), plan_of([one, two, three, four]))
        assert current[0].endpoints == (one, two)
        current = apply_plan(current, plan_of([coming, going, three, four], *current))
        assert set(current[0].endpoints) == {three, four}
        current = apply_plan(current, plan_of([coming, going, three], *current))
        assert set(current[0].endpoints) == {three, coming}


def test_a_change_of_one_who_is_left_out_writes_nothing() -> None:
    with at_most(2):
        current = apply_plan((), plan_of(endpoints(1, 2, 3)))
        assert plan_of([*endpoints(1, 2), endpoint(3, conditions=GOING)], *current).is_empty
        assert plan_of(endpoints(1, 2), *current).is_empty


def test_slices_become_one_with_the_first_change_and_it_is_the_fullest() -> None:
    current = stored("web-a", 1), stored("web-b", 2, 3), stored("web-c", 4, 5)
    assert plan_of(endpoints(1, 2, 3, 4, 5), *current).is_empty
    update, *deletes = plan_of(endpoints(1, 2, 3, 4, 5, 6), *current).operations
    assert isinstance(update, UpdateSlice)
    assert update.before.name == "web-b"
    assert len(update.after.endpoints) == 6
    assert [item.before and item.before.name for item in deletes] == ["web-a", "web-c"]


def test_a_slice_over_capacity_is_written_only_if_something_is_wrong_with_it() -> None:
    big = stored("web-a", 1, 2, 3, 4)
    assert plan_of(endpoints(1, 2, 3, 4), big, capacity=2).is_empty
    (update,) = plan_of(endpoints(1, 2, 3), big, capacity=2).operations
    assert update.after is not None
    assert update.after.endpoints == endpoints(1, 2, 3)


@pytest.mark.parametrize("count", [0, 3])
def test_nothing_to_do_is_an_empty_packing(count: int) -> None:
    numbers = range(count)
    state = diff_state(
        [group(*numbers, ports=())],
        [stored("web-a", *numbers, ports=())],
        template=TEMPLATE,
        max_endpoints_per_slice=3,
    )
    assert SingleObject().pack(state.groups[0]) == Packing(())
