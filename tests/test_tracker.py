"""ChurnTracker: who flaps is found, who lives a quiet life is not, and nothing else matters."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence, Set
from typing import Any, Final

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from endpointslice import (
    CreateSlice,
    DeleteSlice,
    Endpoint,
    EndpointHints,
    EndpointKey,
    EndpointSlice,
    ModelError,
    Plan,
    UpdateSlice,
    explain_plan,
    reconcile,
)
from endpointslice.tracker import ChurnTracker
from tests.builders import HTTP_ALT, Case, cases, endpoint, endpoints, stored

#: A content that differs from the common one in its conditions.
DOWN: Final = 1
#: Hot is who changed in the last plan, and nobody else.
LAST_PLAN: Final = ChurnTracker(half_life=1, threshold=1)

NUMBERS: Final = st.frozensets(st.integers(0, 5))
HISTORIES: Final = st.lists(NUMBERS, max_size=40)


def update(before: EndpointSlice, after: EndpointSlice) -> Plan:
    return Plan((UpdateSlice(before, after, ()),))


def changing(numbers: Iterable[int]) -> Plan:
    """A plan in which these endpoints change, one stays as it is, and one goes."""
    numbers = sorted(numbers)
    before = stored("web-a", *numbers, 98, 99)
    return update(before, stored("web-a", *(endpoint(i, DOWN) for i in numbers), 98))


def keys(*numbers: int) -> set[EndpointKey]:
    return {item.key for item in endpoints(*numbers)}


def observed(tracker: ChurnTracker, plans: Iterable[Plan]) -> ChurnTracker:
    for plan in plans:
        tracker = tracker.observe(plan)
    return tracker


def every(plans: int, *, times: int = 1) -> list[Plan]:
    """An endpoint changes in the first of so many plans, so many times over."""
    return [changing((0,)), *(changing(()) for _ in range(plans - 1))] * times


@st.composite
def trackers(draw: st.DrawFn) -> ChurnTracker:
    half_life = draw(st.integers(1, 20))
    return ChurnTracker(half_life=half_life, threshold=draw(st.integers(1, half_life)))


# --- laws -------------------------------------------------------------------------------------


def heats(tracker: ChurnTracker, history: Sequence[Set[int]]) -> dict[int, float]:
    """The same said naively: after each plan everything cools, then what changed is heated."""
    found = dict.fromkeys(range(6), 0.0)
    for numbers in history:
        for number in found:
            cooled = found[number] * 0.5 ** (1 / tracker.half_life)
            heated = min(2.0 * tracker.threshold, cooled + 1)
            found[number] = heated if number in numbers else cooled
    return found


@given(tracker=trackers(), history=HISTORIES)
def test_hot_is_whose_decayed_count_of_changes_reaches_the_threshold(
    tracker: ChurnTracker, history: list[frozenset[int]]
) -> None:
    hot = observed(tracker, map(changing, history)).hot
    for number, heat in heats(tracker, history).items():
        (key,) = keys(number)
        # Moments are rounded down to a small part of a plan.
        if heat >= tracker.threshold * 1.01:
            assert key in hot
        elif heat < tracker.threshold * 0.99:
            assert key not in hot


@given(
    half_life=st.integers(3, 1_000_000),
    gaps=st.lists(st.integers(0, 30), max_size=3),
)
@example(half_life=1_000_000, gaps=[0, 0, 0])
def test_a_quiet_life_of_three_changes_never_gets_hot(half_life: int, gaps: list[int]) -> None:
    tracker = ChurnTracker(half_life=half_life)
    for gap in gaps:
        tracker = observed(tracker, [changing(())] * gap).observe(changing((0,)))
        assert not tracker.hot


@given(half_life=st.integers(1, 100))
def test_every_threshold_that_is_allowed_can_be_reached(half_life: int) -> None:
    tracker = ChurnTracker(half_life=half_life, threshold=half_life)
    assert observed(tracker, every(1, times=10 * half_life)).hot


@given(tracker=trackers(), changes=st.integers(1, 200), then=HISTORIES)
def test_who_calms_down_is_forgotten_after_one_half_life_at_most(
    tracker: ChurnTracker, changes: int, then: list[frozenset[int]]
) -> None:
    hot = observed(tracker, every(1, times=changes))
    calm = [changing(numbers - {0}) for numbers in then]
    calm += [changing(())] * (tracker.half_life + 1 - len(calm))
    assert keys(0).isdisjoint(observed(hot, calm).hot)


@given(
    history=HISTORIES,
    max_tracked=st.integers(1, 6),
    half_life=st.integers(1, 8),
)
def test_no_more_are_remembered_than_was_asked_for(
    history: list[frozenset[int]], max_tracked: int, half_life: int
) -> None:
    tracker = ChurnTracker(half_life=half_life, threshold=1, max_tracked=max_tracked)
    for numbers in history:
        tracker = tracker.observe(changing(numbers))
        assert len(tracker._hot_until) <= max_tracked
        assert tracker.hot <= set(tracker._hot_until)


@given(history=HISTORIES, then=NUMBERS)
def test_observing_changes_no_tracker_but_makes_a_new_one(
    history: list[frozenset[int]], then: frozenset[int]
) -> None:
    tracker = observed(LAST_PLAN, map(changing, history))
    same, before = observed(LAST_PLAN, map(changing, history)), tracker.hot
    tracker.observe(changing(then))
    assert tracker == same
    assert tracker.hot == before


@given(history=HISTORIES)
def test_equal_histories_make_equal_trackers_with_one_hash(history: list[frozenset[int]]) -> None:
    one, other = (observed(ChurnTracker(), map(changing, history)) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one == pickle.loads(pickle.dumps(one))
    assert one.hot == pickle.loads(pickle.dumps(one)).hot


def plan_of(case: Case) -> Plan:
    return reconcile(
        case.desired,
        case.current,
        template=case.template,
        max_endpoints_per_slice=case.capacity,
    )


@given(case=cases(duplicates=False, stale=False))
def test_those_count_whose_content_is_explained_to_change_in_more_than_hints(case: Case) -> None:
    plan = plan_of(case)
    changed = {
        endpoint.key
        for item in explain_plan(plan)
        for was, endpoint in item.changed
        if was.with_hints(endpoint.hints) != endpoint
    }
    assert LAST_PLAN.observe(plan).hot == changed


@given(case=cases(), data=st.data())
def test_the_order_of_operations_does_not_matter(case: Case, data: st.DataObject) -> None:
    plan = plan_of(case)
    other = attrs.evolve(plan, operations=tuple(data.draw(st.permutations(plan.operations))))
    assert LAST_PLAN.observe(plan) == LAST_PLAN.observe(other)


# --- when it gets hot, and cold again -----------------------------------------------------------


def test_who_goes_down_and_comes_up_twice_is_hot() -> None:
    tracker = ChurnTracker()
    assert [bool(tracker.hot)] + [
        bool((tracker := tracker.observe(changing((0,)))).hot) for _ in range(4)
    ] == [False, False, False, False, True]


@pytest.mark.parametrize(("plans", "is_hot"), [(32, True), (37, True), (38, False), (64, False)])
def test_who_changes_in_one_of_so_many_plans_gets_hot_or_not(plans: int, is_hot: bool) -> None:
    tracker = observed(ChurnTracker(), every(plans, times=20))
    assert tracker.observe(changing((0,)))(endpoint(0)) is is_hot


def test_a_flapping_endpoint_that_calms_down_is_hot_for_one_more_half_life() -> None:
    hot = observed(ChurnTracker(), every(1, times=30))
    calm = [observed(hot, [changing(())] * plans)(endpoint(0)) for plans in (0, 63, 64, 65)]
    assert calm == [True, True, True, False]


def test_a_tracker_answers_for_the_endpoint_whatever_it_says_now() -> None:
    tracker = LAST_PLAN.observe(changing((0, 1)))
    assert tracker.hot == keys(0, 1)
    assert [tracker(endpoint(i, variant)) for i in range(3) for variant in (0, DOWN)] == [
        True,
        True,
        True,
        True,
        False,
        False,
    ]


def test_of_too_many_the_half_with_least_heat_is_forgotten() -> None:
    tracker = ChurnTracker(half_life=4, threshold=1, max_tracked=4)
    tracker = observed(tracker, [changing((3,)), changing((3,)), changing((0, 1, 2))])
    assert tracker.hot == keys(0, 1, 2, 3)
    assert tracker.observe(changing((4,))).hot == keys(3, 4)


def test_of_equal_ones_the_higher_keys_are_forgotten() -> None:
    assert attrs.evolve(LAST_PLAN, max_tracked=3).observe(changing(range(5))).hot == keys(0, 1)
    # 1 has been tracked for longer than 0, but both have all the heat that counts.
    longer = observed(
        ChurnTracker(half_life=2, threshold=1, max_tracked=2),
        [changing((1,)), *[changing((0, 1))] * 3],
    )
    assert longer.observe(changing((0, 1, 2))).hot == keys(0)


# --- what is no change --------------------------------------------------------------------------

HINTED: Final = endpoint(0, hints=EndpointHints(for_zones=("b",)))


@pytest.mark.parametrize(
    "plan",
    [
        Plan((CreateSlice(stored("", 0), ()),)),
        Plan((DeleteSlice(stored("web-a", 0), ()),)),
        update(stored("web-a", 1), stored("web-a", 1, 0)),
        update(stored("web-a", 0, 1), stored("web-a", 1)),
        update(stored("web-a", 0, 1), stored("web-a", 1, 0)),
        update(stored("web-a", 0), stored("web-a", 0, labels={"app": "api"})),
        update(stored("web-a", 0), stored("web-a", HINTED)),
        update(stored("web-a", 0), stored("web-a", endpoint(0, DOWN), ports=(HTTP_ALT,))),
        update(stored("web-a", 0), stored("web-a", endpoint(0, DOWN, target_ref=None))),
        Plan(
            (
                UpdateSlice(stored("web-b", 1), stored("web-b", 1, 0), ()),
                UpdateSlice(stored("web-a", 0, 2), stored("web-a", 2), ()),
            )
        ),
        update(stored("web-a", endpoint(0, DOWN), 0), stored("web-a", 0)),
        update(stored("web-a", 0, endpoint(0, DOWN)), stored("web-a", 0)),
    ],
    ids=[
        "to come in a new slice",
        "to go with its slice",
        "to come",
        "to go",
        "another order",
        "another label of the slice",
        "other hints",
        "other ports",
        "another identity",
        "to move",
        "to lose a wrong copy, the first",
        "to lose a wrong copy, the second",
    ],
)
def test_it_is_no_change_of_an_endpoint(plan: Plan) -> None:
    assert not LAST_PLAN.observe(plan).hot


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": DOWN},
        {"node_name": "node-9"},
        {"zone": None},
        {"variant": DOWN, "hints": EndpointHints(for_zones=("b",))},
    ],
    ids=["readiness", "node", "zone", "readiness and hints"],
)
def test_it_is_a_change_of_an_endpoint(changes: dict[str, Any]) -> None:
    plan = update(stored("web-a", 0), stored("web-a", endpoint(0, **changes)))
    assert LAST_PLAN.observe(plan).hot == keys(0)


def test_who_moves_and_changes_has_changed() -> None:
    receiver = UpdateSlice(stored("web-b", 1), stored("web-b", 1, endpoint(0, DOWN)), ())
    giver = UpdateSlice(stored("web-a", 0, 2), stored("web-a", 2), ())
    assert LAST_PLAN.observe(Plan((receiver, giver))).hot == keys(0)


def test_a_change_in_two_groups_counts_once() -> None:
    down: tuple[Endpoint, ...] = (endpoint(0, DOWN),)
    both = Plan(
        (
            UpdateSlice(stored("web-a", 0), stored("web-a", *down), ()),
            UpdateSlice(
                stored("web-b", 0, ports=(HTTP_ALT,)),
                stored("web-b", *down, ports=(HTTP_ALT,)),
                (),
            ),
        )
    )
    assert ChurnTracker().observe(both) == ChurnTracker().observe(Plan(both.operations[:1]))


def test_an_empty_plan_takes_no_time() -> None:
    tracker = LAST_PLAN.observe(changing((0,)))
    assert tracker.observe(Plan()) is tracker


def test_where_nothing_has_changed_yet_there_is_nothing_to_remember() -> None:
    assert LAST_PLAN.observe(changing(())) is LAST_PLAN


def test_slices_that_are_not_written_are_not_looked_at() -> None:
    unreadable: Any = (None,)
    plan = Plan(changing((0,)).operations, unreadable)
    assert LAST_PLAN.observe(plan).hot == keys(0)


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "limit"),
    [
        ("half_life", 0, 1_000_000),
        ("half_life", 1_000_001, 1_000_000),
        ("half_life", 1.5, 1_000_000),
        ("threshold", 0, 64),
        ("threshold", 65, 64),
        ("threshold", True, 64),
        ("max_tracked", 0, 1_000_000),
        ("max_tracked", "many", 1_000_000),
    ],
)
def test_numbers_out_of_range_are_refused(field: str, value: Any, limit: int) -> None:
    with pytest.raises(ModelError) as caught:
        ChurnTracker(**{field: value})
    assert caught.value == ModelError(field, f"must be 1..{limit}", value)
