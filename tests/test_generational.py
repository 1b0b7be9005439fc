"""Generational packing: its laws, and what it does to small cases."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpointslice import (
    AddressType,
    ChurnTracker,
    CreateSlice,
    DeleteSlice,
    Endpoint,
    EndpointConditions,
    EndpointGroup,
    EndpointPort,
    EndpointSlice,
    ExitOrder,
    Generational,
    GroupKey,
    ModelError,
    Moves,
    ObjectMeta,
    ObjectReference,
    Plan,
    SliceTemplate,
    apply_plan,
    check_plan,
    reconcile,
)
from endpointslice.diff import diff_state
from endpointslice.simulate import Change, PodState, Trace, follow
from tests.builders import Case, cases

READY = EndpointConditions()
COMING = EndpointConditions(ready=False, serving=False)
GOING = EndpointConditions(ready=False, terminating=True)
STATES = {"r": READY, "n": COMING, "t": GOING}
KEY = GroupKey(address_type=AddressType.IPV4, ports=(EndpointPort(port=80),))
TEMPLATE = SliceTemplate(metadata=ObjectMeta(namespace="shop", generate_name="web-"))


def pod(number: int, state: str = "r", *, node: int | None = None, name: str = "") -> Endpoint:
    target = ObjectReference(
        "Pod", "shop", name or f"web-{number:03d}", f"{number * 7919 % 1000:03d}"
    )
    place = number if node is None else node
    return Endpoint(
        (f"10.0.{number // 250}.{number % 250 + 1}",),
        STATES[state],
        None,
        f"node-{place:03d}",
        "zone-a",
        target,
    )


def pods(start: int, stop: int, state: str = "r") -> list[Endpoint]:
    return [pod(number, state) for number in range(start, stop)]


def stored(name: str, *endpoints: Endpoint) -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(namespace="shop", name=name, resource_version="1"),
        address_type=AddressType.IPV4,
        ports=KEY.ports,
        endpoints=endpoints,
    )


def plan_of(
    strategy: Generational,
    desired: list[Endpoint],
    *current: EndpointSlice,
    capacity: int = 4,
) -> Plan:
    groups = [EndpointGroup(key=KEY, endpoints=tuple(desired))]
    plan = reconcile(
        groups, current, template=TEMPLATE, strategy=strategy, max_endpoints_per_slice=capacity
    )
    assert check_plan(plan, desired=groups, current=current, max_endpoints_per_slice=capacity) == ()
    return plan


def number(endpoint: Endpoint) -> int:
    *_, high, low = map(int, endpoint.addresses[0].split("."))
    return high * 250 + low - 1


def numbers(stored: EndpointSlice | None) -> list[int]:
    assert stored is not None
    return sorted(map(number, stored.endpoints))


def written(plan: Plan) -> dict[str, list[int]]:
    """Which numbers each slice that is written holds, by its name, "" for a new one."""
    return {
        operation.before.name if operation.before else "": []
        if operation.after is None
        else numbers(operation.after)
        for operation in plan.operations
    }


# --- laws over histories ----------------------------------------------------------------------

#: One step: for each Pod touched, what becomes of it ("-": it goes).
STEPS = st.lists(
    st.dictionaries(st.integers(0, 39), st.sampled_from("nrrtt-"), max_size=12), max_size=12
)
STRATEGIES = st.builds(
    Generational,
    min_fill=st.sampled_from((0.3, 0.75, 0.9, 1.0)),
    exit_order=st.sampled_from(ExitOrder),
    moves=st.sampled_from(Moves),
)


@given(strategy=STRATEGIES, steps=STEPS, capacity=st.integers(1, 7), per_node=st.integers(1, 8))
def test_bounds_hold_over_any_history(
    strategy: Generational, steps: list[dict[int, str]], capacity: int, per_node: int
) -> None:
    pods: dict[int, Endpoint] = {}
    current: tuple[EndpointSlice, ...] = ()
    for step in steps:
        for number, state in step.items():
            pods.pop(number, None)
            if state != "-":
                pods[number] = pod(number, state, node=number // per_node)
        plan = plan_of(strategy, list(pods.values()), *current, capacity=capacity)
        after = apply_plan(current, plan)
        if not plan.is_empty:
            check_bounds(strategy, plan, current, after, len(pods), capacity)
        assert plan_of(strategy, list(pods.values()), *after, capacity=capacity).is_empty
        current = after


def check_bounds(
    strategy: Generational,
    plan: Plan,
    current: tuple[EndpointSlice, ...],
    after: tuple[EndpointSlice, ...],
    n: int,
    capacity: int,
) -> None:
    homes = {key: item.name for item in current for key in item.keys}
    moved = [
        (key, item.name)
        for item in after
        for key in item.keys
        if key in homes and homes[key] != item.name
    ]
    bound = ceil(n / (Fraction(str(strategy.min_fill)) * capacity)) + 2
    if strategy.moves is Moves.NEVER:
        assert not moved
        assert len(plan.operations) == plan.minimum_writes
        return
    assert len(after) <= bound
    if len(current) + len(plan.creates) <= bound:
        assert len(plan.operations) <= plan.minimum_writes + 1
    if strategy.moves is Moves.UNCHANGED:
        was = {e.key: e for item in current for e in item.endpoints}
        now = {e.key: e for item in after for e in item.endpoints}
        assert all(was[key] == now[key] for key, _ in moved)


@given(steps=STEPS, capacity=st.integers(1, 7))
def test_the_order_of_the_input_does_not_matter(steps: list[dict[int, str]], capacity: int) -> None:
    first = {number: state for step in steps[::2] for number, state in step.items()}
    then = {number: state for step in steps for number, state in step.items()}
    before = [pod(number, state) for number, state in first.items() if state != "-"]
    current = apply_plan((), plan_of(Generational(), before, capacity=capacity))
    desired = [pod(number, state) for number, state in then.items() if state != "-"]
    assert plan_of(Generational(), desired, *current, capacity=capacity) == plan_of(
        Generational(), desired[::-1], *current[::-1], capacity=capacity
    )


# --- small cases ------------------------------------------------------------------------------


def test_new_pods_go_into_a_nursery_of_their_own() -> None:
    full = stored("web-a", pod(1), pod(2), pod(3))
    plan = plan_of(Generational(), [pod(1), pod(2), pod(3), pod(4, "n")], full)
    (create,) = plan.operations
    assert isinstance(create, CreateSlice)
    assert numbers(create.after) == [4]


def test_a_pod_that_begins_to_terminate_moves_to_the_other_dying_ones() -> None:
    current = (
        stored("web-a", pod(1), pod(2), pod(3)),
        stored("web-b", pod(4, "t"), pod(5, "t")),
    )
    desired = [pod(1, "t"), pod(2), pod(3), pod(4, "t")]
    receiver, giver = plan_of(Generational(), desired, *current).operations
    assert numbers(receiver.after) == [1, 4]
    assert numbers(giver.after) == [2, 3]


def test_where_it_takes_two_hot_slices_the_dying_share_the_one_that_is_dying() -> None:
    current = (
        stored("web-a", *pods(1, 4, "n"), pod(11)),
        stored("web-b", *pods(4, 6, "t"), pod(12)),
        stored("web-c", *pods(6, 9)),
    )
    desired = [*pods(1, 4, "n"), *pods(4, 7, "t"), pod(7), pod(8)]
    assert written(plan_of(Generational(), desired, *current)) == {
        "web-b": [3, 4, 5, 6],
        "web-a": [1, 2],
        "web-c": [7, 8],
    }


def test_pods_that_leave_with_their_node_come_to_sit_together() -> None:
    current = (
        stored("web-a", pod(1, node=1), pod(2, node=2), pod(9)),
        stored("web-b", pod(3, node=1), pod(4, node=2), pod(8)),
    )
    desired = [pod(1, node=1), pod(2, node=2), pod(3, node=1), pod(4, node=2)]
    update, delete = plan_of(Generational(exit_order="node"), desired, *current).operations
    assert isinstance(delete, DeleteSlice)
    assert numbers(update.after) == [1, 2, 3, 4]


def test_sparse_clean_slices_are_folded_when_something_is_written_anyway() -> None:
    current = [stored(f"web-{i}", pod(i)) for i in range(8)]
    desired = [pod(i) for i in range(8)]
    assert plan_of(Generational(), desired, *current).is_empty
    plan = plan_of(Generational(min_fill=1.0), [*desired[:7]], *current)
    assert len(apply_plan(current, plan)) == ceil(7 / 4) + 2


def test_a_clean_slice_takes_in_others_where_no_written_one_has_room() -> None:
    full = stored("web-full", *(pod(i) for i in range(20, 24)))
    current = [full, *(stored(f"web-{i}", pod(i)) for i in range(8))]
    desired = [*(pod(i, "n") for i in range(20, 24)), *(pod(i) for i in range(8))]
    plan = plan_of(Generational(min_fill=1.0), desired, *current)
    assert len(apply_plan(current, plan)) == ceil(12 / 4) + 2


def test_sparse_slices_are_folded_into_just_so_much_room() -> None:
    sparse = [stored(f"web-{i}", pod(10 * i), pod(10 * i + 1)) for i in range(1, 8)]
    others = [endpoint for item in sparse for endpoint in item.endpoints]
    dirty = stored("web-a", pod(0), pod(1))
    plan = plan_of(Generational(min_fill=1.0), [pod(0, "n"), pod(1), *others], dirty, *sparse)
    assert written(plan) == {
        "web-a": [0, 1, 10, 11],
        "web-1": [],
        "web-2": [20, 21, 30, 31],
        "web-3": [],
    }


def test_a_sparse_slice_may_be_folded_into_room_in_two() -> None:
    sparse = [stored(f"web-{i}", pod(10 * i), pod(10 * i + 1)) for i in range(1, 8)]
    others = [endpoint for item in sparse for endpoint in item.endpoints]
    dirty = (stored("web-a", *pods(0, 3)), stored("web-b", *pods(3, 6)))
    desired = [pod(0, "n"), pod(1), pod(2), pod(3, "n"), pod(4), pod(5), *others]
    # What is not ready now may not move, so that both slices are left with room for one.
    strategy = Generational(min_fill=1.0, moves=Moves.UNCHANGED)
    assert written(plan_of(strategy, desired, *dirty, *sparse)) == {
        "web-a": [0, 1, 2, 11],
        "web-b": [3, 4, 5, 10],
        "web-1": [],
        "web-2": [20, 21, 30, 31],
        "web-3": [],
    }


@given(
    capacity=st.integers(1, 8),
    sizes=st.lists(st.integers(0, 8), min_size=2, max_size=14),
    min_fill=st.sampled_from((0.3, 0.75, 1.0)),
)
def test_what_is_folded_leaves_no_clean_slice_that_is_written_as_it_is(
    capacity: int, sizes: list[int], min_fill: float
) -> None:
    current = [
        stored(f"web-{i:02}", *pods(10 * i, 10 * i + min(size, capacity)))
        for i, size in enumerate(sizes)
    ]
    desired = [pod(999), *(e for item in current for e in item.endpoints)]
    groups = [EndpointGroup(key=KEY, endpoints=tuple(desired))]
    state = diff_state(groups, current, template=TEMPLATE, max_endpoints_per_slice=capacity)
    (diff,) = state.groups
    clean = {item.name for item in diff.clean}
    placements = Generational(min_fill=min_fill).pack(diff).placements
    assert all(
        item.added or item.kept != diff.open(item.name) or not item.endpoints
        for item in placements
        if item.name in clean
    )
    left = len(clean.difference(item.name for item in placements))
    held = left + sum(bool(item.endpoints) for item in placements)
    assert held <= ceil(len(desired) / (Fraction(str(min_fill)) * capacity)) + 2


def test_nothing_is_folded_where_nothing_may_move() -> None:
    sparse = [stored(f"web-{i}", pod(i)) for i in range(8)]
    strategy = Generational(min_fill=1.0, moves=Moves.NEVER)
    plan = plan_of(strategy, [pod(0, "n"), *pods(1, 8)], *sparse)
    assert written(plan) == {"web-0": [0]}


def test_a_slice_that_another_group_leaves_becomes_the_nursery() -> None:
    other = attrs.evolve(stored("web-x", pod(50)), ports=(EndpointPort(port=81),))
    (update,) = plan_of(
        Generational(), [pod(1, "n"), pod(2, "n")], stored("web-a", pod(1, "n")), other
    ).updates
    assert (update.before.name, numbers(update.after)) == ("web-x", [2])


def test_a_clean_slice_is_written_only_if_something_comes_into_it() -> None:
    current = (
        stored("web-a", pod(1), pod(2), pod(3)),
        stored("web-b", pod(4, "n")),
    )
    desired = [pod(1, "t"), pod(2), pod(3), pod(4, "n")]
    (update,) = plan_of(Generational(moves=Moves.NEVER), desired, *current).operations
    assert (update.before and update.before.name) == "web-a"


def test_a_hot_slice_that_has_room_for_all_is_the_nursery() -> None:
    nursery, other = stored("web-a", pod(0, "n")), stored("web-b", pod(1))
    desired = [pod(0, "n"), *pods(1, 5)]
    assert written(plan_of(Generational(), desired, nursery, other)) == {"web-a": [0, 2, 3, 4]}
    more = [*desired, pod(5)]
    assert written(plan_of(Generational(), more, nursery, other)) == {"": [2, 3, 4, 5]}
    # Of several the emptiest is: it costs the fewest bytes.
    others = [stored("web-c", pod(2, "t")), stored("web-b", pod(3, "n"), pod(1))]
    desired = [pod(0, "n"), pod(1), pod(2, "t"), pod(3, "n"), pod(4)]
    assert written(plan_of(Generational(), desired, nursery, *others)) == {"web-a": [0, 4]}


def test_above_the_fill_bound_new_pods_go_to_the_emptiest_slice_instead_of_a_nursery() -> None:
    current = [stored("web-8", pod(8), pod(9)), *(stored(f"web-{i}", pod(i)) for i in range(8))]
    plan = plan_of(Generational(min_fill=1.0), [pod(i) for i in range(11)], *current)
    assert not plan.creates
    assert 10 in numbers(next(item.after for item in plan.updates))


@pytest.mark.parametrize(
    ("sizes", "new", "expected"),
    [
        pytest.param([2, 2, 2, 2, 1], 4, {"": 4}, id="there may be one more"),
        pytest.param([3, 2, 2, 2, 1], 3, {"": 3}, id="one more, though another has room"),
        pytest.param([2, 2, 2, 2, 1], 5, {"": 4, "web-4": 2}, id="one too many"),
        pytest.param([2, 2, 2, 2, 1], 8, {"": 4}, id="there may be two more"),
        pytest.param([2, 2, 2, 1, 1, 1], 5, {"web-3": 3, "web-4": 4}, id="two too many"),
    ],
)
def test_as_many_slices_are_opened_instead_of_created_as_there_would_be_too_many(
    sizes: list[int], new: int, expected: dict[str, int]
) -> None:
    current = [stored(f"web-{i}", *pods(9 * i, 9 * i + size)) for i, size in enumerate(sizes)]
    desired = [*(e for item in current for e in item.endpoints), *pods(100, 100 + new)]
    plan = plan_of(Generational(min_fill=1.0), desired, *current)
    assert {name: len(held) for name, held in written(plan).items()} == expected
    assert not plan.deletes
    assert len(apply_plan(current, plan)) == ceil(len(desired) / 4) + 2


def test_no_more_slices_are_opened_than_have_room_for_all() -> None:
    current = [stored(f"web-{i}", *pods(9 * i, 9 * i + size)) for i, size in enumerate([2] * 3)]
    current += [stored(f"web-{i}", pod(9 * i)) for i in range(3, 6)]
    desired = [*(e for item in current for e in item.endpoints), *pods(100, 107)]
    plan = plan_of(Generational(min_fill=1.0), desired, *current)
    # Two sparse slices have room for six: one is opened, and one is created. Another is then
    # folded into what is left, and is used for the one that is created.
    assert {name: len(held) for name, held in written(plan).items()} == {
        "web-3": 4,
        "web-4": 2,
        "web-5": 4,
    }


def test_what_changes_may_keep_the_fill_bound_from_being_met() -> None:
    current = [stored(f"web-{i}", pod(i)) for i in range(8)]
    strategy = Generational(min_fill=1.0, moves=Moves.UNCHANGED)
    plan = plan_of(strategy, [pod(i, "t") for i in range(8)], *current)
    assert [numbers(item.after) for item in plan.updates] == [[i] for i in range(8)]


@pytest.mark.parametrize("moves", Moves)
def test_a_slice_over_capacity_is_split_even_if_nothing_may_move(moves: Moves) -> None:
    big = stored("web-a", *(pod(i) for i in range(6)))
    plan = plan_of(Generational(moves=moves), [pod(i, "n") for i in range(6)], big)
    assert sorted(len(item.endpoints) for item in apply_plan((big,), plan)) == [2, 4]


# --- one slice more, if it pays ---------------------------------------------------------------


def later(volatile: int, size: int, *, everywhere: int, events: int, capacity: int) -> int:
    """What a slice costs later on, said again, in thousandths of a write.

    Of so many volatile endpoints everywhere, twice as many changes are to come; so many come in
    a plan. A write is worth 0.12, and the bytes of a full slice 0.2 more.
    """
    changes = 2 * everywhere
    price = 120 + 200 * size // capacity
    return volatile * changes * price // (changes + min(events, changes) * volatile)


@pytest.mark.parametrize(
    ("state", "times", "capacity", "pays_from"),
    [
        ("t", 1, 4, None),
        ("t", 1, 10, 8),
        ("t", 1, 16, 7),
        # What was ready and is not any more will go on changing: it counts four times more.
        ("n", 5, 4, 3),
        ("n", 5, 10, 2),
        ("n", 5, 16, 2),
    ],
)
def test_one_more_slice_is_written_exactly_if_that_costs_less_in_the_end(
    state: str, times: int, capacity: int, pays_from: int | None
) -> None:
    for dying in range(1, capacity + 1):
        current = [
            stored(f"web-{i:02}", *pods(capacity * i, capacity * (i + 1))) for i in range(dying)
        ]
        desired = [pod(i, "r" if i % capacity else state) for i in range(capacity * dying)]
        plan = plan_of(Generational(), desired, *current, capacity=capacity)

        def cost(slices: int, each: int, size: int, n: int = dying) -> int:
            return slices * times * later(each, size, everywhere=n, events=n, capacity=capacity)

        pays = 1100 + cost(1, dying, dying) < cost(dying, 1, capacity)
        assert len(plan.operations) == plan.minimum_writes + pays
        if pays:
            assert written(plan)[""] == [i * capacity for i in range(dying)]
        assert pays is (pays_from is not None and dying >= pays_from)


@pytest.mark.parametrize("capacity", [4, 10, 16])
def test_the_one_more_is_a_hot_slice_with_room_if_that_is_cheaper_than_a_new_one(
    capacity: int,
) -> None:
    choices = set()
    for hot in range(1, capacity):
        for dying in range(1, capacity - hot + 1):
            current = [
                stored(f"web-{i:02}", *pods(capacity * i, capacity * (i + 1))) for i in range(dying)
            ]
            desired = [pod(i, "r" if i % capacity else "t") for i in range(capacity * dying)]
            known = pods(500, 500 + hot, "t")
            current.append(stored("web-hot", *known))
            plan = plan_of(Generational(), [*desired, *known], *current, capacity=capacity)

            def cost(each: int, size: int, events: int = dying, n: int = dying + hot) -> int:
                return later(each, size, everywhere=n, events=events, capacity=capacity)

            none = dying * cost(1, capacity)
            one = 1000 + cost(hot + dying, hot + dying) - cost(hot, hot)
            new = 1100 + cost(dying, dying)
            best = min(none, one, new)
            names = {"web-hot", ""} & written(plan).keys()
            assert names == (set() if none == best else {"web-hot"} if one == best else {""})
            assert len(plan.operations) == plan.minimum_writes + len(names)
            choices |= names
    assert choices == ({"web-hot"} if capacity > 4 else set())


def test_a_hot_slice_without_room_for_all_the_dying_is_left_alone() -> None:
    current = [stored(f"web-{i:02}", *pods(10 * i, 10 * (i + 1))) for i in range(9)]
    desired = [pod(i, "r" if i % 10 else "t") for i in range(90)]
    for hot in (1, 2):
        known = pods(200, 200 + hot, "t")
        plan = plan_of(
            Generational(), [*desired, *known], *current, stored("web-hot", *known), capacity=10
        )
        assert ("web-hot" in written(plan)) is (hot == 1)
        assert ("" in written(plan)) is (hot == 2)


def test_of_hot_slices_with_room_the_emptiest_takes_the_dying() -> None:
    current = [stored(f"web-{i:02}", *pods(10 * i, 10 * (i + 1))) for i in range(9)]
    known = [*pods(200, 203, "t"), *pods(210, 211, "t"), *pods(220, 221, "t"), *pods(300, 301)]
    current += [
        stored("web-a", *known[:3]),
        stored("web-c", known[3]),
        stored("web-b", known[4]),
        stored("web-cold", known[5]),
    ]
    desired = [pod(i, "r" if i % 10 else "t") for i in range(90)]
    found = written(plan_of(Generational(), [*desired, *known], *current, capacity=10))
    assert found["web-b"] == [*range(0, 90, 10), 220]
    assert not {"web-a", "web-c", "web-cold"} & found.keys()


def test_flapping_endpoints_are_gathered_though_it_costs_a_write() -> None:
    calm = [pod(i) for i in range(2, 16)]
    current = (
        stored("web-a", pod(0), *calm[:7]),
        stored("web-b", pod(1), *calm[7:]),
    )
    desired = [pod(0, "n"), pod(1, "n"), *calm]
    plan = plan_of(Generational(), desired, *current, capacity=8)
    assert plan.minimum_writes == 2
    assert [numbers(create.after) for create in plan.creates] == [[0, 1]]
    # They come up again in the slice that they share, and go down in it.
    after = apply_plan(current, plan)
    for state in "rn":
        again = plan_of(Generational(), [pod(0, state), pod(1, "n"), *calm], *after, capacity=8)
        assert len(again.operations) <= 1
        after = apply_plan(after, again)


def test_an_endpoint_that_is_not_ready_yet_is_not_taken_for_a_flapping_one() -> None:
    calm = [pod(i) for i in range(2, 16)]
    current = (stored("web-a", pod(0, "n"), *calm[:7]), stored("web-b", pod(1, "n"), *calm[7:]))
    desired = [pod(0), pod(1), *calm]
    plan = plan_of(Generational(), desired, *current, capacity=8)
    assert len(plan.operations) == plan.minimum_writes == 2
    assert not plan.creates


def test_at_the_fill_bound_flapping_endpoints_are_gathered_in_a_cold_slice_with_room() -> None:
    current = [stored(f"web-{i}", *pods(16 * i, 16 * i + 16)) for i in range(3)]
    current += [stored(f"web-x{i:02}", *pods(500 + 16 * i, 513 + 16 * i)) for i in range(11)]
    members = [number(e) for item in current for e in item.endpoints]
    desired = [pod(i, "n" if i in {0, 16, 32} else "r") for i in members]
    full = Generational(min_fill=1.0)
    assert len(current) == ceil(len(desired) / 16) + 2
    assert written(plan_of(full, desired, *current, capacity=16))["web-x00"] == [
        *(0, 16, 32),
        *range(500, 513),
    ]
    # Below it they get a slice of their own.
    assert written(plan_of(Generational(), desired, *current, capacity=16))[""] == [0, 16, 32]


def test_a_cold_slice_may_take_in_all_that_is_settled_so_that_the_dying_have_a_slice() -> None:
    current = [stored(f"web-{i}", *pods(16 * i, 16 * i + 16)) for i in range(8)]
    desired = [pod(i, "r" if i % 16 else "t") for i in range(128)]
    known = pods(500, 501)
    plan = plan_of(
        Generational(), [*desired, *known], *current, stored("web-cold", *known), capacity=16
    )
    found = written(plan)
    assert found["web-cold"] == [*range(1, 16), 500]
    assert found["web-0"] == [*range(0, 128, 16)]


def nursery(
    settled: int, coming: int, *, cold: list[int], full: int = 0, min_fill: float = 0.75
) -> dict[str, int]:
    """What is written when one more turns ready in a nursery, and how full it is then.

    Beside the nursery there are cold slices of these sizes, and nurseries that are full.
    """
    others = [pods(200 + 40 * i, 200 + 40 * i + size) for i, size in enumerate(cold)]
    nurseries = [pods(600 + 40 * i, 640 + 40 * i, "n") for i in range(full)]
    current = [stored("web-hot", *pods(0, settled - 1), *pods(settled - 1, settled + coming, "n"))]
    current += [stored(f"web-cold-{i}", *held) for i, held in enumerate(others)]
    current += [stored(f"web-full-{i}", *held) for i, held in enumerate(nurseries)]
    desired = [*pods(0, settled), *pods(settled, settled + coming, "n")]
    desired += [endpoint for held in (*others, *nurseries) for endpoint in held]
    plan = plan_of(Generational(min_fill=min_fill), desired, *current, capacity=40)
    return {name: len(held) for name, held in written(plan).items()}


def test_a_cold_slice_is_written_to_take_in_what_has_settled_in_a_nursery() -> None:
    assert nursery(20, 20, cold=[15]) == {"web-cold-0": 35, "web-hot": 20}
    # That pays only where many are still to come.
    assert nursery(20, 10, cold=[15]) == {"web-hot": 30}


def test_the_cold_slice_is_the_fullest_that_has_room_for_all_or_else_the_emptiest() -> None:
    assert nursery(20, 20, cold=[5, 20, 15]) == {"web-cold-1": 40, "web-hot": 20}
    assert nursery(20, 20, cold=[22, 21, 23]) == {"web-cold-1": 40, "web-hot": 21}


def test_where_no_cold_slice_has_room_for_a_quarter_of_a_slice_a_new_one_is_written() -> None:
    # Either half may move into it.
    assert nursery(20, 20, cold=[30]) == {"": 20, "web-hot": 20}
    assert nursery(20, 20, cold=[31]) == {"": 20, "web-hot": 20}
    # But not where the fill bound allows no other.
    assert nursery(20, 20, cold=[31] * 12, min_fill=1.0) == {"web-hot": 40}
    # A quarter of it is room enough.
    assert nursery(10, 30, cold=[30], full=7) == {"web-cold-0": 40, "web-hot": 30}
    assert nursery(10, 30, cold=[31], full=7) == {"": 30, "web-hot": 10}


def test_what_has_settled_is_taken_in_only_if_it_is_a_quarter_of_a_slice() -> None:
    assert nursery(10, 30, cold=[20], full=7) == {"web-cold-0": 30, "web-hot": 30}
    assert nursery(9, 31, cold=[20], full=7) == {"": 31, "web-hot": 9}


@pytest.mark.parametrize(("others", "pays"), [(9, True), (10, False)])
def test_the_one_more_is_created_only_below_the_fill_bound(others: int, pays: bool) -> None:
    # Ten full slices, and others with too little room to take anything in.
    current = [stored(f"web-{i:02}", *pods(10 * i, 10 * i + 10)) for i in range(10)]
    current += [stored(f"web-x{i}", *pods(500 + 10 * i, 508 + 10 * i)) for i in range(others)]
    desired = [
        pod(number(e), "t" if number(e) < 100 and number(e) % 10 == 0 else "r")
        for item in current
        for e in item.endpoints
    ]
    assert (len(current) < ceil(len(desired) / 10) + 2) is pays
    plan = plan_of(Generational(min_fill=1.0), desired, *current, capacity=10)
    assert (len(plan.creates) == 1) is pays
    assert len(plan.operations) == plan.minimum_writes + pays


def test_a_hot_slice_that_is_opened_instead_of_created_leaves_room_below_the_fill_bound() -> None:
    current = [stored(f"web-{i:02}", *pods(10 * i, 10 * i + 10)) for i in range(20)]
    dying = [pod(i, "r" if i % 10 else "t") for i in range(200)]
    known = pod(300, "t")
    plan = plan_of(
        Generational(min_fill=1.0),
        [*dying, known, pod(301, "n")],
        *(*current, stored("web-hot", known)),
        capacity=10,
    )
    found = written(plan)
    # The hot one cannot hold all the dying. One more takes in what has settled in another.
    assert {number for number in found["web-hot"] if number % 10 == 0} >= {0, 10, 20, 300}
    assert not any(number % 10 == 0 for number in found[""])
    assert len(plan.operations) == plan.minimum_writes + 1


# --- who is volatile --------------------------------------------------------------------------


def web(number: int, state: str = "r") -> Endpoint:
    """A StatefulSet's Pod."""
    return pod(number, state, name=f"web-{number}")


def test_while_a_stateful_set_rolls_the_next_in_line_join_those_that_change() -> None:
    current = [
        stored("web-a", *map(web, (0, 3, 5))),
        stored("web-b", *map(web, (1, 2, 4))),
    ]
    desired = [web(5, "t"), web(4, "n"), *map(web, (0, 1, 2, 3))]
    # An eighth of a slice is next, though one at least.
    assert written(plan_of(Generational(), desired, *current, capacity=15)) == {
        "web-a": [0, 3, 4, 5],
        "web-b": [1, 2],
    }
    assert written(plan_of(Generational(), desired, *current, capacity=16)) == {
        "web-a": [0, 2, 3, 4, 5],
        "web-b": [1],
    }
    plain = Generational(exit_order=ExitOrder.UID)
    assert written(plan_of(plain, desired, *current, capacity=16)) == {
        "web-a": [0, 3, 4, 5],
        "web-b": [1, 2],
    }


def test_who_is_called_volatile_is_gathered_like_those_that_are() -> None:
    def flaps(endpoint: Endpoint) -> bool:
        return number(endpoint) in {0, 3, 5}

    current = (stored("web-a", *pods(0, 3)), stored("web-b", *pods(3, 6)))
    desired = [pod(0, "n"), pod(1), pod(2), pod(3, "n"), pod(4), pod(5)]
    assert written(plan_of(Generational(), desired, *current)) == {
        "web-a": [0, 1, 2, 3],
        "web-b": [4, 5],
    }
    assert written(plan_of(Generational(volatile=flaps), desired, *current)) == {
        "web-b": [0, 3, 4, 5],
        "web-a": [1, 2],
    }


def test_nobody_is_asked_about_endpoints_in_slices_that_are_not_written() -> None:
    asked: list[int] = []

    def flaps(endpoint: Endpoint) -> bool:
        asked.append(number(endpoint))
        return False

    current = (stored("web-a", *pods(0, 3)), stored("web-b", *pods(3, 6)))
    desired = [pod(0, "n"), *pods(1, 7)]
    plan_of(Generational(volatile=flaps), desired, *current)
    assert set(asked) == {1, 2, 6}


#: 60 Pods, of which two flap: one is down while the other is up.
FLAPPING = Trace(
    name="flapping",
    nodes=60,
    zones=1,
    changes=(
        *(Change(0, i, PodState.READY, i) for i in range(60)),
        Change(1000, 20, PodState.NOT_READY),
        *(
            Change(1000 * second, i, PodState.NOT_READY if down else PodState.READY)
            for second in range(2, 40)
            for i, down in ((0, second % 2), (20, not second % 2))
        ),
    ),
    duration=40_000,
)


def test_a_tracker_learns_who_flaps_and_then_these_sit_together() -> None:
    def last_writes(strategy: Generational) -> list[int]:
        steps = list(follow(FLAPPING, strategy, max_endpoints_per_slice=25))
        return [len(step.plan.operations) for step in steps[-30:]]

    # Whoever is up looks settled.
    assert last_writes(Generational()) == [2] * 30
    assert last_writes(Generational(volatile=ChurnTracker())) == [1] * 30


# --- where settled endpoints go ---------------------------------------------------------------


def test_new_slices_of_settled_endpoints_share_them_evenly() -> None:
    def sizes(desired: list[Endpoint], *current: EndpointSlice, capacity: int) -> list[int]:
        plan = plan_of(Generational(), desired, *current, capacity=capacity)
        return [len(item.after.endpoints) for item in plan.creates]

    assert sizes(pods(0, 101), capacity=100) == [51, 50]
    assert sizes(pods(0, 200), capacity=100) == [100, 100]
    assert sizes(pods(0, 9), capacity=4) == [3, 3, 3]
    # What is written anyway is filled first.
    dirty = stored("web-a", *pods(0, 4))
    assert sizes(pods(1, 16), dirty, capacity=10) == [5]
    assert sizes(pods(1, 26), dirty, capacity=10) == [8, 7]
    # Those that are volatile sit in as few as hold them.
    assert sizes(pods(0, 11, "n"), capacity=10) == [10, 1]
    assert sizes([*pods(0, 12), *pods(12, 15, "n")], capacity=10) == [10, 5]


@pytest.mark.parametrize(
    ("order", "together"),
    [
        (ExitOrder.AUTO, [1, 2, 3, 4]),
        (ExitOrder.NODE, [1, 2, 3, 4]),
        (ExitOrder.UID, [0, 3, 4, 6]),
        (ExitOrder.KEY, [0, 1, 2, 3]),
    ],
)
def test_written_slices_that_fit_into_fewer_are_laid_out_in_exit_order(
    order: ExitOrder, together: list[int]
) -> None:
    def at(*numbers: int) -> list[Endpoint]:
        return [pod(i, node=int(i in {1, 2, 3, 4})) for i in numbers]

    current = [
        stored("web-0", *at(0, 3, 9)),
        stored("web-1", *at(1, 4, 10)),
        stored("web-2", *at(2, 5, 11)),
    ]
    desired = at(0, 1, 2, 3, 4, 6)
    assert [e.target_ref and e.target_ref.uid for e in at(0, 6, 4, 3)] == [
        "000",
        "514",
        "676",
        "757",
    ]
    found = written(plan_of(Generational(exit_order=order), desired, *current))
    assert [] in found.values()
    assert together in found.values()


def test_settled_endpoints_stay_where_they_are_if_as_many_slices_are_needed() -> None:
    current = (stored("web-a", *pods(1, 5)), stored("web-b", *pods(5, 9)))
    assert written(plan_of(Generational(), [*pods(1, 4), *pods(5, 8)], *current)) == {
        "web-a": [1, 2, 3],
        "web-b": [5, 6, 7],
    }


def test_new_endpoints_that_are_ready_keep_out_of_the_hot_slice() -> None:
    current = (stored("web-a", *pods(1, 4)), stored("web-b", *pods(4, 7)))
    desired = [pod(1, "t"), pod(2), pod(3), pod(4), pod(5), pod(7)]
    assert written(plan_of(Generational(), desired, *current)) == {
        "web-a": [1, 2, 3],
        "web-b": [4, 5, 7],
    }


def test_what_was_a_nursery_a_moment_ago_stays_together_and_goes_last() -> None:
    current = (
        stored("web-a", pod(1), pod(5), pod(9)),
        stored("web-b", pod(3, "n"), pod(4, "n")),
        stored("web-c", pod(0), pod(6), pod(8)),
    )
    desired = [pod(i) for i in (0, 1, 3, 4, 5, 6)]
    uids = [(e.target_ref.uid, number(e)) for e in desired if e.target_ref]
    assert [i for _, i in sorted(uids)] == [0, 6, 5, 4, 3, 1]
    found = written(plan_of(Generational(), desired, *current))
    assert sorted(found.values()) == [[], [0, 1, 5, 6], [3, 4]]


# --- slices over capacity ---------------------------------------------------------------------


@given(case=cases(), strategy=STRATEGIES)
def test_a_slice_over_capacity_only_gives(case: Case, strategy: Generational) -> None:
    state = diff_state(
        case.desired, case.current, template=case.template, max_endpoints_per_slice=case.capacity
    )
    for diff in state.groups:
        found = {item.name: item for item in strategy.pack(diff).placements}
        for item in diff.dirty:
            if len(item.endpoints) > case.capacity:
                kept = found[item.name].kept
                assert found[item.name].added == ()
                assert len(kept) == case.capacity
                # Of what changes two copies would disagree, so it goes last.
                changed = [endpoint.key in item.changed for endpoint in kept]
                assert sum(changed) == min(case.capacity, len(item.changed))


def test_what_a_slice_over_capacity_gives_goes_to_slices_that_are_written() -> None:
    big, other = stored("web-a", *pods(0, 6)), stored("web-b", pod(10), pod(11), pod(12))
    desired = [*pods(0, 5), pod(5, "t"), pod(10), pod(11)]
    assert written(plan_of(Generational(), desired, big, other)) == {
        "web-b": [3, 4, 10, 11],
        "web-a": [0, 1, 2, 5],
    }
    # Those that are volatile sit together, for all that the slice keeps its own.
    desired = [pod(0, "t"), *pods(1, 6), pod(10, "t"), pod(11)]
    assert written(plan_of(Generational(), desired, big, other)) == {
        "web-b": [4, 5, 10, 11],
        "web-a": [0, 1, 2, 3],
    }


def test_what_a_slice_over_capacity_keeps_makes_no_slice_of_settled_ones_hot() -> None:
    big, full = stored("web-a", *pods(0, 5, "n")), stored("web-b", *pods(10, 13), pod(13, "n"))
    desired = [*pods(0, 5, "n"), *pods(10, 14)]
    assert written(plan_of(Generational(), desired, big, full)) == {
        "": [4],
        "web-a": [0, 1, 2, 3],
        "web-b": [10, 11, 12, 13],
    }


# --- moves ------------------------------------------------------------------------------------


def test_moves_say_who_may_leave_a_slice() -> None:
    current = (
        stored("web-a", pod(1, "n"), pod(2), pod(3)),
        stored("web-b", pod(4, "t"), pod(5, "t")),
    )
    desired = [pod(1, "n"), pod(2), pod(3, "t"), pod(4, "t")]

    def found(moves: Moves) -> dict[str, list[int]]:
        return written(plan_of(Generational(moves=moves), desired, *current))

    assert found(Moves.ANY) == {"web-b": [1, 3, 4], "web-a": [2]}
    assert found(Moves.UNCHANGED) == {"web-b": [1, 4], "web-a": [2, 3]}
    assert found(Moves.NEVER) == {"web-b": [4], "web-a": [1, 2, 3]}


def test_where_nothing_may_move_no_more_is_written_than_must_be() -> None:
    # One of nine full slices has room for the new one.
    current = [stored(f"web-{i:02}", *pods(10 * i, 10 * i + 10 - (i == 8))) for i in range(9)]
    desired = [*(pod(i, "r" if i % 10 else "t") for i in range(89)), pod(200, "n")]
    plan = plan_of(Generational(moves=Moves.NEVER), desired, *current, capacity=10)
    assert len(plan.operations) == plan.minimum_writes == 9
    assert written(plan)["web-08"] == [*range(80, 89), 200]


@pytest.mark.parametrize("hot", [1, 2])
def test_where_all_that_would_gather_change_now_and_may_not_move_no_more_is_written(
    hot: int,
) -> None:
    current = [stored(f"web-{i:02}", *pods(10 * i, 10 * (i + 1))) for i in range(9)]
    known = pods(200, 200 + hot, "t")
    desired = [*(pod(i, "r" if i % 10 else "t") for i in range(90)), *known]
    strategy = Generational(moves=Moves.UNCHANGED)
    plan = plan_of(strategy, desired, *current, stored("web-hot", *known), capacity=10)
    assert [item.before.name for item in plan.operations if item.before] == [
        item.name for item in current
    ]


@given(case=cases(), strategy=STRATEGIES)
def test_only_who_may_move_leaves_a_slice_that_is_not_over_capacity(
    case: Case, strategy: Generational
) -> None:
    state = diff_state(
        case.desired, case.current, template=case.template, max_endpoints_per_slice=case.capacity
    )
    for diff in state.groups:
        found = {item.name: item for item in strategy.pack(diff).placements}
        for item in diff.dirty:
            if len(item.endpoints) <= case.capacity:
                stays = {endpoint.key for endpoint in found[item.name].kept}
                left = {endpoint.key for endpoint in item.endpoints} - stays
                if strategy.moves is Moves.UNCHANGED:
                    assert not left & item.changed
                if strategy.moves is Moves.NEVER:
                    assert not left


# --- options ----------------------------------------------------------------------------------


def test_the_fill_bound_is_exact() -> None:
    # 9 endpoints are 5 slices of 3 that are six tenths full; to a float they are just more.
    assert 9 / (0.6 * 3) > 5
    current = [stored(f"web-{i}", pod(i)) for i in range(9)]
    plan = plan_of(Generational(min_fill=0.6), [pod(0, "t"), *pods(1, 9)], *current, capacity=3)
    assert len(apply_plan(current, plan)) == 5 + 2


@pytest.mark.parametrize("min_fill", [0, -0.5, 1.1, float("nan"), True, "0.5", None])
def test_min_fill_is_a_fraction(min_fill: Any) -> None:
    with pytest.raises(ModelError) as caught:
        Generational(min_fill=min_fill)
    assert (caught.value.field, caught.value.value) == ("min_fill", min_fill)


@pytest.mark.parametrize("min_fill", [1, 1.0, 1e-300])
def test_min_fill_may_be_one_or_next_to_nothing(min_fill: float) -> None:
    plan = plan_of(Generational(min_fill=min_fill), [pod(1, "n")], stored("web-a", pod(1)))
    assert written(plan) == {"web-a": [1]}


def test_unknown_orders_and_moves_are_named_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match="auto, node, uid, ordinal, key"):
        Generational(exit_order="age")
    with pytest.raises(ModelError, match="any, unchanged, never"):
        Generational(moves="sometimes")


def test_no_slice_more_is_written_where_what_changes_must_stay() -> None:
    current = (
        stored("web-a", *(pod(i) for i in range(4))),
        stored("web-b", *(pod(i) for i in range(4, 8))),
        stored("web-h", pod(8, "t")),
    )
    desired = [pod(i, "n" if i in {0, 4} else "r") for i in range(8)] + [pod(8, "t")]
    groups = [EndpointGroup(key=KEY, endpoints=tuple(desired))]
    state = diff_state(groups, current, template=TEMPLATE, max_endpoints_per_slice=4)
    packing = Generational(moves=Moves.UNCHANGED).pack(state.groups[0])
    assert [item.name for item in packing.placements] == ["web-a", "web-b"]
