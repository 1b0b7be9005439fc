"""Strategies, the values that they answer with, and the bound that they are held to."""

from __future__ import annotations

from itertools import chain
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpointslice import (
    Endpoint,
    EndpointGroup,
    EndpointSlice,
    ExitOrder,
    Generational,
    KubernetesPacking,
    MinimalWrites,
    ModelError,
    Moves,
    ObjectReference,
    Packing,
    PackingStrategy,
    Partitioned,
    Placement,
    Rendezvous,
    Repack,
    SingleObject,
    apply_plan,
    check_plan,
    minimum_writes,
    packing,
    reconcile,
)
from endpointslice.diff import CleanSlice, Diff, StateDiff, diff_state
from endpointslice.packing.exit_order import Departures
from endpointslice.packing.placement import best_fit, place_rest
from tests.builders import (
    HTTP_ALT,
    IPV6,
    OLD_OWNER,
    TEMPLATE,
    VARIANTS,
    Case,
    cases,
    endpoint,
    endpoints,
    group,
    stored,
)

STRATEGIES: list[PackingStrategy] = [
    MinimalWrites(),
    MinimalWrites(merge=False),
    KubernetesPacking(),
]
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES, ids=str)


def state_of(
    desired: list[EndpointGroup], current: list[EndpointSlice], capacity: int = 3
) -> StateDiff:
    return diff_state(desired, current, template=TEMPLATE, max_endpoints_per_slice=capacity)


def diff_of(desired: EndpointGroup, *current: EndpointSlice, capacity: int = 3) -> Diff:
    (diff,) = state_of([desired], list(current), capacity).groups
    return diff


def seats(strategy: PackingStrategy, diff: Diff) -> dict[str, list[int]]:
    """Which numbers each written slice holds; new slices are called new-0, new-1."""
    new = 0
    result = {}
    for placement in strategy.pack(diff).placements:
        name = placement.name
        if not name:
            name, new = f"new-{new}", new + 1
        result[name] = list(map(number, placement.endpoints))
    return result


def number(item: Endpoint) -> int:
    assert item.target_ref is not None
    return int(item.target_ref.name.removeprefix("web-"))


# --- placements -------------------------------------------------------------------------------


def test_a_placement_stores_what_was_there_before_what_comes() -> None:
    one, two = endpoints(1, 2)
    assert Placement("web-0", (two,), (one,)).endpoints == (two, one)
    kept = endpoints(1, 2)
    assert Placement("web-0", kept).endpoints is kept
    assert Placement("web-0").endpoints == ()


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, "full-but-one"), (2, "a"), (3, "empty"), (4, None)],
)
def test_best_fit_takes_the_slice_that_is_filled_best(count: int, expected: str | None) -> None:
    clean = [
        CleanSlice("full", 3),
        CleanSlice("full-but-one", 2),
        CleanSlice("empty", 0),
        CleanSlice("b", 1),
        CleanSlice("a", 1),
    ]
    found = best_fit(clean, count, 3)
    assert (found and found.name) == expected


def test_the_rest_fills_new_slices_and_then_the_clean_one_that_fits_best() -> None:
    diff = diff_of(group(*range(1, 11)), stored("web-0", 1, 2), stored("web-1", 3))
    placements = place_rest(diff, diff.new)
    assert [(item.name, list(map(number, item.endpoints))) for item in placements] == [
        ("", [10, 4, 5]),
        ("", [6, 7, 8]),
        ("web-0", [1, 2, 9]),
    ]
    assert placements[-1].kept == endpoints(1, 2)
    assert place_rest(diff, ()) == []


def test_the_rest_goes_to_a_new_slice_if_no_clean_one_has_room() -> None:
    diff = diff_of(group(1, 2, 3, 4, 5), stored("web-0", 1, 2, 3))
    assert [item.name for item in place_rest(diff, diff.new)] == [""]


def test_the_rest_leaves_clean_slices_alone_where_another_group_spares_a_slice() -> None:
    state = state_of([group(1, 2)], [stored("web-0", 1), stored("web-1", 9, ports=(HTTP_ALT,))])
    diff = next(item for item in state.groups if item.new)
    assert diff.recyclable == 1
    assert [item.name for item in place_rest(diff, diff.new)] == [""]
    alone = diff_of(group(1, 2), stored("web-0", 1))
    assert [item.name for item in place_rest(alone, alone.new)] == ["web-0"]


# --- all strategies ---------------------------------------------------------------------------


@every_strategy
def test_nothing_to_do_is_an_empty_packing(strategy: PackingStrategy) -> None:
    assert strategy.pack(diff_of(group(1, 2), stored("web-0", 1, 2))) == Packing(())


@every_strategy
def test_changed_endpoints_stay_where_they_are(strategy: PackingStrategy) -> None:
    diff = diff_of(group(1, 2), stored("web-0", endpoint(1, 1), 2), stored("web-1"))
    assert strategy.pack(diff) == Packing((Placement("web-0", endpoints(1, 2)),))


@every_strategy
def test_new_endpoints_fill_dirty_slices_before_clean_ones(strategy: PackingStrategy) -> None:
    diff = diff_of(group(1, 2, 3), stored("web-0", 1), stored("web-1", 2, 9))
    assert seats(strategy, diff) == {"web-1": [2, 3]}


@every_strategy
def test_fuller_slices_are_filled_first_and_equal_ones_by_name(strategy: PackingStrategy) -> None:
    diff = diff_of(
        group(1, 2, 3, 4, 7),
        stored("web-0", endpoint(1, 1)),
        stored("web-1", endpoint(2, 1), 3),
        stored("web-2", endpoint(4, 1)),
    )
    merges = strategy == MinimalWrites()
    assert seats(strategy, diff) == (
        {"web-1": [2, 3, 4], "web-0": [1, 7], "web-2": []}
        if merges
        else {"web-1": [2, 3, 7], "web-0": [1], "web-2": [4]}
    )


@every_strategy
def test_what_no_dirty_slice_has_room_for_fills_the_best_clean_one(
    strategy: PackingStrategy,
) -> None:
    diff = diff_of(
        group(1, 2, 3, 4, 5, 8),
        stored("web-0", 1),
        stored("web-1", 2, 3),
        stored("web-2", 4, endpoint(5, 1), 9),
    )
    capacity_left = {number(item) for item in diff.new}
    assert capacity_left == {8}
    assert seats(strategy, diff) == {"web-2": [4, 5, 8]}
    more = diff_of(
        group(1, 2, 3, 4, 5, 6, 8),
        stored("web-0", 1),
        stored("web-1", 2, 3),
        stored("web-2", 4, 5, 6),
    )
    assert seats(strategy, more) == {"web-1": [2, 3, 8]}


@every_strategy
def test_whole_slices_of_new_endpoints_are_created(strategy: PackingStrategy) -> None:
    found = seats(strategy, diff_of(group(*range(1, 8)), stored("web-0", 1)))
    assert {name: len(held) for name, held in found.items()} == {"new-0": 3, "new-1": 3}
    assert sorted(chain.from_iterable(found.values())) == [2, 3, 4, 5, 6, 7]


@every_strategy
def test_an_emptied_slice_is_free(strategy: PackingStrategy) -> None:
    diff = diff_of(group(1), stored("web-0", 1), stored("web-1", 9))
    assert strategy.pack(diff) == Packing((Placement("web-1"),))


# --- what strategies look at ------------------------------------------------------------------


class EveryThird:
    """Foresees a third of all changes, and has a name that is the same in every process."""

    def __call__(self, item: Endpoint) -> bool:
        return number(item) % 3 == 0

    def __repr__(self) -> str:
        return "every third"


#: All that there are, in all the ways in which they choose what to write.
LOOKING: list[PackingStrategy] = [
    *STRATEGIES,
    MinimalWrites(exit_order=ExitOrder.AUTO),
    *(Generational(moves=moves) for moves in Moves),
    *(Generational(exit_order=order, min_fill=1) for order in ExitOrder),
    Generational(volatile=EveryThird()),
    Rendezvous(),
    Repack(),
    SingleObject(),
]
every_way = pytest.mark.parametrize("strategy", LOOKING, ids=str)


def test_all_strategies_are_looked_at() -> None:
    public = (getattr(packing, name) for name in packing.__all__)
    known = {item for item in public if hasattr(item, "pack")}
    # A partitioned one looks at what the one inside does.
    others = {PackingStrategy, Partitioned}
    assert {type(strategy) for strategy in LOOKING} == known - others


def check_looks(strategy: PackingStrategy, state: StateDiff) -> None:
    """No strategy opens a clean slice unless it writes it: another content, or none."""
    for diff in state.groups:
        opened: list[str] = []

        def open_slice(self: Diff, name: str, opened: list[str] = opened) -> tuple[Endpoint, ...]:
            opened.append(name)
            return self.stored(name).endpoints

        with patch.object(Diff, "open", open_slice):
            placements = {item.name: item for item in strategy.pack(diff).placements}
        assert len(opened) == len(set(opened))
        clean = {item.name for item in diff.clean}
        assert set(opened) <= clean
        assert {name for name in clean & placements.keys() if diff.stored(name).endpoints} <= set(
            opened
        )
        for name in opened:
            held = {endpoint.key for endpoint in placements[name].endpoints}
            assert not held or held != set(diff.stored(name).keys)


@every_way
@given(case=cases())
def test_no_strategy_looks_into_a_clean_slice_that_it_does_not_write(
    strategy: PackingStrategy, case: Case
) -> None:
    state = diff_state(
        case.desired, case.current, template=case.template, max_endpoints_per_slice=case.capacity
    )
    check_looks(strategy, state)


@every_way
@given(
    steps=st.lists(
        st.dictionaries(st.integers(0, 40), st.integers(-1, VARIANTS - 1), max_size=12), max_size=8
    ),
    capacity=st.integers(1, 9),
)
def test_nor_does_it_over_any_history_of_its_own_and_all_plans_are_sound(
    strategy: PackingStrategy, steps: list[dict[int, int]], capacity: int
) -> None:
    contents: dict[int, int] = {}
    current: tuple[EndpointSlice, ...] = ()
    for step in steps:
        contents |= step
        desired = [group(*(endpoint(i, state) for i, state in contents.items() if state >= 0))]
        check_looks(strategy, state_of(desired, list(current), capacity))
        plan = reconcile(
            desired,
            current,
            template=TEMPLATE,
            strategy=strategy,
            max_endpoints_per_slice=capacity,
        )
        if not isinstance(strategy, SingleObject):  # it does not keep to the capacity
            assert not check_plan(
                plan, desired=desired, current=current, max_endpoints_per_slice=capacity
            )
        current = apply_plan(current, plan)


# --- KubernetesPacking ------------------------------------------------------------------------


def test_kubernetes_deletes_an_emptied_slice_though_endpoints_are_left_for_it() -> None:
    diff = diff_of(group(1, 2, 3, 4), stored("web-0", 1, 2, 3), stored("web-1", 9))
    assert seats(KubernetesPacking(), diff) == {"web-1": [], "new-0": [4]}
    assert seats(MinimalWrites(), diff) == {"web-1": [4]}


def test_kubernetes_keeps_an_empty_slice_that_needs_other_labels() -> None:
    diff = diff_of(group(1), stored("web-0", 1), stored("web-1", labels={"left": "over"}))
    assert seats(KubernetesPacking(), diff) == {"web-1": []}
    filled = diff_of(group(1, 2), stored("web-0", 1), stored("web-1", labels={"left": "over"}))
    assert seats(KubernetesPacking(), filled) == {"web-1": [2]}


def test_kubernetes_never_splits_a_slice_over_capacity() -> None:
    diff = diff_of(group(1, 2, 3, 4), stored("web-0", 1, 2, 3, 4))
    assert diff.dirty
    assert KubernetesPacking().pack(diff) == Packing(())
    assert seats(MinimalWrites(), diff) == {"web-0": [1, 2, 3], "new-0": [4]}
    changed = diff_of(group(1, 2, 3, 4, 5), stored("web-0", endpoint(1, 1), 2, 3, 4))
    assert seats(KubernetesPacking(), changed) == {"web-0": [1, 2, 3, 4], "new-0": [5]}


def test_kubernetes_takes_slices_in_which_only_hints_change_for_unchanged_ones() -> None:
    diff = diff_of(
        group(endpoint(1, 2), 2, 3, 4, 5),
        stored("web-0", 1),
        stored("web-1", 2, endpoint(3, 1)),
    )
    # web-1 is filled first; what is left fits web-0, which is written for its hints anyway.
    found = seats(KubernetesPacking(), diff)
    assert {name: len(held) for name, held in found.items()} == {"web-0": 2, "web-1": 3}
    assert found["web-0"][0] == 1
    small = diff_of(group(endpoint(1, 2)), stored("web-0", 1))
    assert KubernetesPacking().pack(small) == Packing((Placement("web-0", (endpoint(1, 2),)),))


def test_kubernetes_deletes_slices_of_other_ports_and_creates_new_ones() -> None:
    state = state_of([group(1, 2)], [stored("web-0", 1, 2, ports=(HTTP_ALT,))])
    diff = next(item for item in state.groups if item.desired_count)
    found = seats(KubernetesPacking(), diff)
    assert found["web-0"] == []
    assert sorted(found["new-0"]) == [1, 2]
    assert seats(MinimalWrites(), diff) == {"web-0": [1, 2]}


def test_kubernetes_scatters_new_endpoints_in_an_order_that_is_always_the_same() -> None:
    diff = diff_of(group(*range(30)), capacity=10)
    (first, *_) = seats(KubernetesPacking(), diff).values()
    assert first == [20, 16, 12, 19, 8, 18, 5, 3, 13, 17]
    assert first != sorted(first)


def test_kubernetes_scatters_endpoints_whose_names_are_no_unicode() -> None:
    odd = endpoint(1, target_ref=ObjectReference("Pod", "shop", "web-\ud800"))
    diff = diff_of(EndpointGroup(key=group().key, endpoints=(odd, *endpoints(2))))
    (created,) = KubernetesPacking().pack(diff).placements
    assert set(created.added) == {odd, *endpoints(2)}


# --- MinimalWrites ----------------------------------------------------------------------------


def test_merging_lays_dirty_slices_out_in_as_few_as_hold_them() -> None:
    current = [stored(f"web-{i}", endpoint(i, 1)) for i in range(4)]
    diff = diff_of(group(0, 1, 2, 3), *current)
    assert seats(MinimalWrites(), diff) == {
        "web-0": [0, 2, 3],
        "web-1": [1],
        "web-2": [],
        "web-3": [],
    }
    assert seats(MinimalWrites(merge=False), diff) == {f"web-{i}": [i] for i in range(4)}


def test_merging_never_touches_a_clean_slice_that_need_not_be_written() -> None:
    diff = diff_of(group(0, 1, 2), stored("web-0", 0), stored("web-1", 1), stored("web-2", 2, 9))
    assert seats(MinimalWrites(), diff) == {"web-2": [2]}


def test_a_slice_over_capacity_gives_away_its_last_endpoints() -> None:
    diff = diff_of(group(0, 1, 2, 3, 4), stored("web-0", 0, 1, 2, 3), stored("web-1", 4, 9))
    for strategy in STRATEGIES[:2]:
        assert seats(strategy, diff) == {"web-0": [0, 1, 2], "web-1": [4, 3]}


def on_nodes(text: str) -> list[Endpoint]:
    """Endpoints as `NUMBER@NODE`."""
    words = (word.split("@") for word in text.split())
    return [endpoint(int(i), node_name=node) for i, node in words]


def test_in_exit_order_those_that_leave_together_share_a_slice() -> None:
    members = on_nodes("1@m 2@n 3@m 4@n 5@m 6@n 7@m 8@m")
    diff = diff_of(group(*members), capacity=4)
    assert seats(MinimalWrites(), diff) == {"new-0": [1, 2, 3, 4], "new-1": [5, 6, 7, 8]}
    by_node = MinimalWrites(exit_order=ExitOrder.NODE)
    assert seats(by_node, diff) == {"new-0": [1, 3, 5, 7], "new-1": [8, 2, 4, 6]}
    # As they are StatefulSet's, the highest ordinals leave first.
    by_ordinal = MinimalWrites(exit_order=ExitOrder.AUTO)
    assert seats(by_ordinal, diff) == {"new-0": [8, 7, 6, 5], "new-1": [4, 3, 2, 1]}


def test_in_exit_order_what_is_left_of_emptied_slices_is_placed_with_what_is_new() -> None:
    current = [
        stored("web-0", *on_nodes("0@l 1@l"), 10),
        stored("web-1", *on_nodes("2@n"), 11),
        stored("web-2", *on_nodes("3@m 4@n"), 12),
    ]
    members = on_nodes("0@l 1@l 2@n 3@m 4@n 5@m 6@n")
    diff = diff_of(group(*members), *current, capacity=4)
    assert seats(MinimalWrites(), diff) == {"web-0": [0, 1, 2, 5], "web-2": [3, 4, 6], "web-1": []}
    by_node = MinimalWrites(exit_order=ExitOrder.NODE)
    assert seats(by_node, diff) == {"web-0": [0, 1, 2, 6], "web-2": [3, 4, 5], "web-1": []}


def test_in_exit_order_a_slice_over_capacity_gives_what_it_gave_without() -> None:
    diff = diff_of(group(*range(7)), stored("web-0", *range(5)), capacity=3)
    assert seats(MinimalWrites(), diff) == {"web-0": [0, 1, 2], "new-0": [3, 4, 5], "new-1": [6]}
    strategy = MinimalWrites(exit_order=ExitOrder.ORDINAL)
    assert seats(strategy, diff) == {"web-0": [0, 1, 2], "new-0": [6, 5, 4], "new-1": [3]}


@pytest.mark.parametrize("merge", [True, False])
@given(case=cases(), order=st.sampled_from(ExitOrder))
def test_exit_order_changes_who_is_placed_and_nothing_else(
    merge: bool, case: Case, order: ExitOrder
) -> None:
    state = diff_state(
        case.desired, case.current, template=case.template, max_endpoints_per_slice=case.capacity
    )
    for diff in state.groups:
        plain = MinimalWrites(merge=merge).pack(diff).placements
        found = MinimalWrites(merge=merge, exit_order=order).pack(diff).placements
        assert [(item.name, item.kept, len(item.added)) for item in found] == [
            (item.name, item.kept, len(item.added)) for item in plain
        ]
        placed = [endpoint for item in found for endpoint in item.added]
        assert sorted(placed, key=lambda e: e.key) == sorted(
            (endpoint for item in plain for endpoint in item.added), key=lambda e: e.key
        )
        seen = [*(item.endpoints for item in diff.dirty), diff.new]
        assert Departures(order, seen).sorted(placed) == placed


def test_an_exit_order_that_is_none_is_refused() -> None:
    assert MinimalWrites(exit_order="uid") == MinimalWrites(exit_order=ExitOrder.UID)
    assert MinimalWrites(exit_order=None) == MinimalWrites()
    with pytest.raises(ModelError) as caught:
        MinimalWrites(exit_order="age")
    assert (caught.value.field, caught.value.value) == ("exit_order", "age")


# --- the bound --------------------------------------------------------------------------------

_CLEAN = stored("web-0", 1, 2, 3)


@pytest.mark.parametrize(
    ("expected", "desired", "current"),
    [
        pytest.param(0, [group(1, 2, 3)], [_CLEAN], id="nothing to do"),
        pytest.param(1, [group(1, 2, 3, 4)], [_CLEAN], id="a new endpoint"),
        pytest.param(1, [group(1, 2)], [_CLEAN], id="an endpoint gone"),
        pytest.param(2, [group(*range(1, 10))], [_CLEAN], id="new endpoints for two slices more"),
        pytest.param(
            2,
            [group(*range(6))],
            [stored("web-0", 0, 9), stored("web-1", 1, 8)],
            id="new endpoints that dirty slices have room for",
        ),
        pytest.param(
            3,
            [group(*range(7))],
            [stored("web-0", 0, 9), stored("web-1", 1, 8)],
            id="one more than dirty slices have room for",
        ),
        pytest.param(1, [group(ports=())], [], id="a placeholder that is missing"),
        pytest.param(0, [group(ports=())], [stored("web-0", ports=())], id="a placeholder"),
        pytest.param(
            1,
            [group(ports=())],
            [stored("web-0", 1, ports=())],
            id="a slice that becomes the placeholder",
        ),
        pytest.param(
            1,
            [group(ports=())],
            [stored("web-0", 1)],
            id="a slice of other ports that becomes the placeholder",
        ),
        pytest.param(
            1,
            [group(7, ports=(HTTP_ALT,))],
            [stored("web-0", 1)],
            id="a slice that is recycled",
        ),
        pytest.param(
            2,
            [group(7, kind=IPV6)],
            [stored("web-0", 1)],
            id="a slice of another address type, which cannot be",
        ),
        pytest.param(
            2,
            [group(1)],
            [
                stored("web-0", 1),
                stored("web-1", 1, labels={"left": "over"}),
                stored("web-2", 9),
            ],
            id="copies: the clean one stays, the others are written",
        ),
    ],
)
def test_minimum_writes(
    expected: int, desired: list[EndpointGroup], current: list[EndpointSlice]
) -> None:
    assert minimum_writes(state_of(desired, current)) == expected


def test_slices_of_a_stale_owner_are_writes_that_nothing_spares() -> None:
    stale = stored("web-9", 1, owner_references=(OLD_OWNER,))
    assert minimum_writes(state_of([group(1)], [stale])) == 2
    assert minimum_writes(state_of([group(1)], [stale, stored("web-0", 1)])) == 1
