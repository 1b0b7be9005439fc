"""Generational packing: its laws, and what it does to small cases."""

from __future__ import annotations

from math import ceil

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpointslice import (
    AddressType,
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
from endpointslice.diff import CleanSlice, Diff, DirtySlice, diff_state

READY = EndpointConditions()
COMING = EndpointConditions(ready=False, serving=False)
GOING = EndpointConditions(ready=False, terminating=True)
STATES = {"r": READY, "n": COMING, "t": GOING}
KEY = GroupKey(address_type=AddressType.IPV4, ports=(EndpointPort(port=80),))
TEMPLATE = SliceTemplate(metadata=ObjectMeta(namespace="shop", generate_name="web-"))


def pod(number: int, state: str = "r", *, node: int | None = None) -> Endpoint:
    target = ObjectReference("Pod", "shop", f"web-{number:03d}", f"{number * 7919 % 1000:03d}")
    place = number if node is None else node
    return Endpoint(
        (f"10.0.{number // 250}.{number % 250 + 1}",),
        STATES[state],
        None,
        f"node-{place:03d}",
        "zone-a",
        target,
    )


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


def numbers(stored: EndpointSlice | None) -> list[int]:
    assert stored is not None
    return sorted(int(e.target_ref.name[-3:]) for e in stored.endpoints if e.target_ref)


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
    bound = ceil(n / (strategy.min_fill * capacity)) + 2
    if strategy.moves is Moves.NEVER:
        assert not moved
        assert len(plan.operations) <= plan.minimum_writes + 1
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


def test_above_the_fill_bound_new_pods_go_to_the_emptiest_slice_instead_of_a_nursery() -> None:
    current = [stored("web-8", pod(8), pod(9)), *(stored(f"web-{i}", pod(i)) for i in range(8))]
    plan = plan_of(Generational(min_fill=1.0), [pod(i) for i in range(11)], *current)
    assert not plan.creates
    assert 10 in numbers(next(item.after for item in plan.updates))


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


def test_it_looks_into_no_clean_slice_that_it_does_not_write() -> None:
    dirty = DirtySlice("web-b", (pod(1, "n"),), frozenset((pod(1).key,)), ())
    diff = Diff(
        key=KEY,
        max_endpoints_per_slice=4,
        dirty=(dirty,),
        clean=(CleanSlice("web-a", 4, 1), CleanSlice("web-c", 3)),
        new=(pod(2, "n"),),
        desired_count=9,
        needs_placeholder=False,
        stored={},
    )
    (placement,) = Generational().pack(diff).placements
    assert (placement.name, len(placement.endpoints)) == ("web-b", 2)


def test_exit_order_by_itself_tells_drains_from_roll_outs() -> None:
    def sorted_by(endpoints: list[Endpoint]) -> str:
        group = EndpointGroup(key=KEY, endpoints=tuple(endpoints))
        state = diff_state([group], (), template=TEMPLATE, max_endpoints_per_slice=4)

        def seats(order: ExitOrder) -> list[set[str]]:
            placements = Generational(exit_order=order).pack(state.groups[0]).placements
            return [{endpoint.key for endpoint in item.endpoints} for item in placements]

        assert seats(ExitOrder.NODE) != seats(ExitOrder.UID)
        (found,) = (
            order
            for order in (ExitOrder.NODE, ExitOrder.UID)
            if seats(order) == seats(ExitOrder.AUTO)
        )
        return found

    crowded = [pod(i, node=i % 3) for i in range(12)]
    drained = [
        attrs.evolve(e, conditions=GOING) if i % 3 == 0 else e for i, e in enumerate(crowded)
    ]
    rolling = [
        attrs.evolve(e, conditions=GOING) if i in (0, 4, 8) else e for i, e in enumerate(crowded)
    ]
    assert sorted_by(crowded) == ExitOrder.NODE
    assert sorted_by(drained) == ExitOrder.NODE
    assert sorted_by(rolling) == ExitOrder.UID
    assert sorted_by([pod(i, node=11 - i) for i in range(12)]) == ExitOrder.UID


@pytest.mark.parametrize("min_fill", [0, -0.5, 1.1])
def test_min_fill_is_a_fraction(min_fill: float) -> None:
    with pytest.raises(ModelError) as caught:
        Generational(min_fill=min_fill)
    assert (caught.value.field, caught.value.value) == ("min_fill", min_fill)


def test_unknown_orders_and_moves_are_named_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match="auto, node, uid, key"):
        Generational(exit_order="age")
    with pytest.raises(ModelError, match="any, unchanged, never"):
        Generational(moves="sometimes")
