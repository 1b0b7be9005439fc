"""What must be written whatever a strategy decides, and why."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from endpointslice import (
    ANNOTATION_TRIGGER_TIME,
    LABEL_HEADLESS,
    DuplicateEndpointError,
    EndpointGroup,
    EndpointSlice,
    FrozenDict,
    ModelError,
    Reason,
    SliceTemplate,
)
from endpointslice.diff import (
    CleanSlice,
    Diff,
    DirtySlice,
    StateDiff,
    diff_group,
    diff_state,
    sorted_reasons,
)
from tests.builders import (
    HTTP,
    HTTP_ALT,
    IPV6,
    METRICS,
    OLD_OWNER,
    OTHER_KIND,
    OWNER,
    SECOND_OWNER,
    TEMPLATE,
    endpoint,
    endpoints,
    group,
    group_key,
    stored,
)


def state_of(
    desired: list[EndpointGroup],
    current: list[EndpointSlice],
    capacity: int = 3,
    template: SliceTemplate = TEMPLATE,
) -> StateDiff:
    return diff_state(desired, current, template=template, max_endpoints_per_slice=capacity)


def diff_of(
    desired: EndpointGroup, *current: EndpointSlice, capacity: int = 3, **options: Any
) -> Diff:
    (diff,) = state_of([desired], list(current), capacity, **options).groups
    return diff


def names(items: Any) -> list[str]:
    return [item.name for item in items]


# --- endpoints --------------------------------------------------------------------------------


def test_slices_that_hold_what_is_wanted_are_clean() -> None:
    diff = diff_of(group(1, 2, 3), stored("web-1", 3), stored("web-0", 1, 2))
    assert diff.is_empty
    assert diff.clean == (CleanSlice("web-0", 2), CleanSlice("web-1", 1))
    assert diff.dirty == diff.new == ()
    assert diff.desired_count == 3
    assert diff.slices_needed == 0
    assert diff.open("web-0") == endpoints(1, 2)
    assert diff.stored("web-1") == stored("web-1", 3)


def test_equal_endpoints_are_as_good_as_the_very_same() -> None:
    shared = group(1, 2)
    same = attrs.evolve(stored("web-0"), endpoints=shared.endpoints)
    assert diff_of(shared, same).is_empty
    assert diff_of(shared, stored("web-0", 1, 2)).is_empty


def test_a_slice_is_dirty_if_an_endpoint_in_it_changes() -> None:
    diff = diff_of(group(1, endpoint(2, 1)), stored("web-0", 1, 2))
    assert diff.dirty == (
        DirtySlice(
            "web-0",
            (endpoint(1), endpoint(2, 1)),
            frozenset({endpoint(2).key}),
            (Reason.ENDPOINTS_CHANGED,),
        ),
    )
    assert not diff.is_empty


def test_hints_that_change_are_told_from_other_changes() -> None:
    hinted = diff_of(group(endpoint(1, 2), 2), stored("web-0", 1, 2))
    assert hinted.dirty[0].reasons == (Reason.HINTS_CHANGED,)
    mixed = diff_of(group(endpoint(1, 2), endpoint(2, 1)), stored("web-0", 1, 2))
    assert mixed.dirty[0].reasons == (Reason.ENDPOINTS_CHANGED,)


def test_a_slice_is_dirty_if_an_endpoint_in_it_goes() -> None:
    diff = diff_of(group(2), stored("web-0", 1, 2))
    assert diff.dirty == (
        DirtySlice("web-0", endpoints(2), frozenset(), (Reason.ENDPOINTS_REMOVED,), removed=1),
    )


def test_a_slice_says_how_many_endpoints_go_from_it() -> None:
    diff = diff_of(
        group(endpoint(1, 1), 2, 3, 4),
        stored("web-0", 1, 8, 9),
        stored("web-1", 2, 2, 7),
        stored("web-2", 3, labels={"left": "over"}),
        stored("web-3", 6),
        stored("web-4", 4),
    )
    assert {item.name: item.removed for item in diff.dirty} == {
        "web-0": 2,
        "web-1": 2,
        "web-2": 0,
        "web-3": 1,
    }
    (nobodys,) = state_of([], [stored("web-0", 1, 2)]).groups
    assert nobodys.dirty[0].removed == 2


def test_what_a_slice_over_capacity_must_give_away_does_not_go() -> None:
    diff = diff_of(group(1, 2, 3, 4), stored("web-0", 1, 2, 3, 4, 9))
    assert (len(diff.dirty[0].endpoints), diff.dirty[0].removed) == (4, 1)


def test_a_slice_is_dirty_if_it_is_over_capacity() -> None:
    diff = diff_of(group(1, 2, 3, 4), stored("web-0", 1, 2, 3, 4))
    assert diff.dirty[0].reasons == (Reason.OVER_CAPACITY,)
    less = diff_of(group(1, 2, 3), stored("web-0", 1, 2, 3, 4))
    assert less.dirty[0].reasons == (Reason.ENDPOINTS_REMOVED,)


def test_new_endpoints_come_in_order_of_their_keys() -> None:
    diff = diff_of(group(3, 1, 2, 0), stored("web-0", 1))
    assert diff.new == endpoints(0, 2, 3)
    assert diff.slices_needed == 1


def test_the_order_of_endpoints_in_a_slice_does_not_matter() -> None:
    assert diff_of(group(1, 2, 3), stored("web-0", 3, 1, 2)).is_empty


def test_fields_that_are_not_modelled_survive_a_change() -> None:
    old = endpoint(1, extra={"deprecatedTopology": FrozenDict({"rack": "r1"})})
    diff = diff_of(group(endpoint(1, 1)), stored("web-0", old))
    assert diff.dirty[0].endpoints[0].extra == old.extra
    assert diff.dirty[0].endpoints == (endpoint(1, 1),)
    own = endpoint(1, 1, extra={"mine": 1})
    diff = diff_of(group(own), stored("web-0", old))
    assert diff.dirty[0].endpoints[0].extra == {"mine": 1}
    unchanged = diff_of(group(1, 2), stored("web-0", old, endpoint(2, 1)))
    assert unchanged.dirty[0].endpoints[0] is old


def test_clean_slices_say_how_many_of_their_endpoints_will_change_again() -> None:
    leaving = endpoint(2, 1)
    diff = diff_of(group(1, leaving), stored("web-0", 1, leaving))
    assert diff.clean == (CleanSlice("web-0", 2, 1),)


# --- duplicates -------------------------------------------------------------------------------


def test_two_desired_endpoints_of_one_identity_are_refused() -> None:
    one, other = endpoint(1), endpoint(1, 3)
    with pytest.raises(DuplicateEndpointError) as caught:
        diff_of(group(5, one, 6, other))
    assert caught.value == DuplicateEndpointError(one.key, one, other)
    with pytest.raises(DuplicateEndpointError):
        state_of([group(1), group(2, 1)], [])


def test_one_identity_in_two_groups_is_no_duplicate() -> None:
    state = state_of([group(1), group(1, ports=(HTTP_ALT,)), group(1, kind=IPV6)], [])
    assert [len(diff.new) for diff in state.groups] == [1, 1, 1]


def test_an_endpoint_twice_in_a_slice_stays_once() -> None:
    diff = diff_of(group(1, 2), stored("web-0", 1, 1, 2, 1))
    assert diff.dirty == (
        DirtySlice("web-0", endpoints(1, 2), frozenset(), (Reason.DUPLICATES_REMOVED,), removed=2),
    )


def test_of_two_copies_in_clean_slices_the_one_of_the_lower_name_stays() -> None:
    diff = diff_of(group(1, 2, 3), stored("web-0", 1, 2), stored("web-1", 1, 3))
    assert names(diff.clean) == ["web-0"]
    assert diff.dirty[0].reasons == (Reason.DUPLICATES_REMOVED,)


def test_of_two_copies_the_one_in_a_slice_that_is_clean_otherwise_stays() -> None:
    diff = diff_of(group(1, 2), stored("web-0", 1, 9), stored("web-1", 1, 2))
    assert names(diff.clean) == ["web-1"]
    assert diff.dirty[0].endpoints == ()
    assert diff.dirty[0].reasons == (Reason.ENDPOINTS_REMOVED, Reason.DUPLICATES_REMOVED)


def test_of_two_copies_in_dirty_slices_the_one_that_is_right_stays() -> None:
    diff = diff_of(group(1), stored("web-0", endpoint(1, 1), 8), stored("web-1", 1, 9))
    assert [len(item.endpoints) for item in diff.dirty] == [0, 1]


def test_a_slice_that_shares_endpoints_with_many_is_written_and_the_others_are_not() -> None:
    diff = diff_of(
        group(1, 2, 3, 4),
        stored("web-0", 1, 2, 3),
        stored("web-1", 1, 4),
        stored("web-2", 2),
        stored("web-3", 3),
    )
    assert names(diff.dirty) == ["web-0"]
    assert names(diff.clean) == ["web-1", "web-2", "web-3"]


def test_three_copies_in_clean_slices_cost_two_writes() -> None:
    diff = diff_of(group(1), stored("web-0", 1), stored("web-1", 1), stored("web-2", 1))
    assert names(diff.clean) == ["web-0"]


def test_copies_of_what_nobody_wants_are_just_removed() -> None:
    diff = diff_of(group(1), stored("web-0", 9, 9), stored("web-1", 9, 1))
    assert [item.reasons for item in diff.dirty] == [(Reason.ENDPOINTS_REMOVED,)] * 2


# --- metadata ---------------------------------------------------------------------------------


def _reasons(before: EndpointSlice, template: SliceTemplate = TEMPLATE) -> tuple[Reason, ...]:
    diff = diff_of(group(1), before, template=template)
    return diff.dirty[0].reasons if diff.dirty else ()


def _template(**changes: Any) -> SliceTemplate:
    return SliceTemplate(metadata=attrs.evolve(TEMPLATE.metadata, **changes))


def test_labels_that_are_missing_or_too_much_make_a_slice_dirty() -> None:
    assert _reasons(stored("web-0", 1, labels={"app": "db"})) == (Reason.LABELS_CHANGED,)
    assert _reasons(stored("web-0", 1, labels={"left": "over"})) == (Reason.LABELS_CHANGED,)


def test_the_headless_label_only_rides_on_writes() -> None:
    headless = _template(labels={**TEMPLATE.metadata.labels, LABEL_HEADLESS: ""})
    assert _reasons(stored("web-0", 1), headless) == ()
    assert _reasons(stored("web-0", 1, labels={LABEL_HEADLESS: ""})) == ()
    both = stored("web-0", 1, labels={LABEL_HEADLESS: "", "left": "over"})
    assert _reasons(both) == (Reason.LABELS_CHANGED,)


def test_annotations_of_the_template_count_but_for_the_trigger_time() -> None:
    stamped = _template(annotations={ANNOTATION_TRIGGER_TIME: "now"})
    assert _reasons(stored("web-0", 1), stamped) == ()
    noted = _template(annotations={ANNOTATION_TRIGGER_TIME: "now", "note": "a"})
    assert _reasons(stored("web-0", 1), noted) == (Reason.ANNOTATIONS_CHANGED,)
    assert _reasons(stored("web-0", 1, annotations={"note": "b"})) == ()


def test_an_owner_that_is_missing_makes_a_slice_dirty() -> None:
    assert _reasons(stored("web-0", 1, owner_references=())) == (Reason.OWNER_CHANGED,)
    assert _reasons(stored("web-0", 1, owner_references=(OTHER_KIND,))) == (Reason.OWNER_CHANGED,)
    assert _reasons(stored("web-0", 1, owner_references=(OTHER_KIND, OWNER))) == ()
    both = _template(owner_references=(OWNER, SECOND_OWNER))
    assert _reasons(stored("web-0", 1), both) == (Reason.OWNER_CHANGED,)


def test_reasons_come_in_one_order_and_once() -> None:
    given = [Reason.EMPTY, Reason.RECYCLED, Reason.LABELS_CHANGED, Reason.EMPTY]
    assert sorted_reasons(given) == (Reason.LABELS_CHANGED, Reason.RECYCLED, Reason.EMPTY)


# --- whose slices they are --------------------------------------------------------------------


@pytest.mark.parametrize(
    "foreign",
    [
        stored("web-0", 1, labels={"kubernetes.io/service-name": "db"}),
        stored("web-0", 1, labels={"endpointslice.kubernetes.io/managed-by": "me"}),
        stored("web-0", 1, namespace="elsewhere"),
        stored("web-0", 1, deletion_timestamp="2026-07-01T00:00:00Z"),
    ],
    ids=["another Service", "another manager", "another namespace", "pending deletion"],
)
def test_slices_that_are_not_ours_do_not_exist(foreign: EndpointSlice) -> None:
    # Not even for their names.
    state = state_of([group(1)], [foreign, stored("web-0", 9)])
    assert state == state_of([group(1)], [stored("web-0", 9)])


def test_slices_of_a_stale_owner_are_set_aside_by_name() -> None:
    old = [stored(f"web-{i}", i, owner_references=(OLD_OWNER, OTHER_KIND)) for i in (2, 1)]
    state = state_of([group(1)], old)
    assert state.stale == (old[1], old[0])
    assert state.groups[0].new == endpoints(1)


def test_a_slice_without_a_namespace_is_ours() -> None:
    assert diff_of(group(1), stored("web-0", 1, namespace="")).is_empty


def test_a_slice_must_have_a_name_of_its_own() -> None:
    with pytest.raises(ModelError) as caught:
        state_of([], [stored("", 1)])
    assert caught.value.field == "current"
    with pytest.raises(ModelError) as caught:
        state_of([], [stored("web-0", 1), stored("web-0", 2, ports=())])
    assert caught.value == ModelError("current", "must not hold two slices of one name", "web-0")


@pytest.mark.parametrize("capacity", [0, -1, 1001, True, 2.0, "100"])
def test_a_capacity_that_the_api_does_not_allow_is_refused(capacity: Any) -> None:
    with pytest.raises(ModelError) as caught:
        state_of([], [], capacity)
    assert caught.value == ModelError("max_endpoints_per_slice", "must be 1..1000", capacity)


@pytest.mark.parametrize("capacity", [1, 1000])
def test_the_capacities_that_the_api_allows_are_taken(capacity: int) -> None:
    assert diff_of(group(1), stored("web-0", 1), capacity=capacity).is_empty


# --- groups -----------------------------------------------------------------------------------


def test_groups_come_in_canonical_order_and_several_of_one_key_are_one() -> None:
    state = state_of(
        [group(1, kind=IPV6), group(2, ports=(HTTP_ALT,)), group(3), group(4, ports=(HTTP_ALT,))],
        [stored("web-0", 9, ports=())],
    )
    assert [diff.key for diff in state.groups] == [
        group_key(),
        group_key(HTTP),
        group_key(HTTP_ALT),
        group_key(HTTP, kind=IPV6),
    ]
    assert state.groups[2].new == endpoints(2, 4)


def test_ports_in_another_order_are_the_same_group() -> None:
    diff = diff_of(
        group(1, 2, ports=(HTTP, METRICS)),
        stored("web-0", 1, ports=(METRICS, HTTP)),
        stored("web-1", 2, ports=(HTTP, METRICS)),
    )
    assert diff.is_empty


def test_an_empty_group_without_ports_needs_a_placeholder() -> None:
    assert diff_of(group(ports=())).needs_placeholder
    assert diff_of(group(ports=())).slices_needed == 1
    assert not diff_of(group(ports=())).is_empty
    assert diff_of(group(ports=()), stored("web-0", ports=())).is_empty
    assert diff_of(group()).is_empty


def test_one_empty_slice_is_placeholder_enough() -> None:
    diff = diff_of(group(ports=()), stored("web-1", ports=()), stored("web-0", ports=()))
    assert names(diff.clean) == ["web-0"]
    assert diff.dirty == (DirtySlice("web-1", (), frozenset(), (Reason.EMPTY,)),)


def test_a_dirty_slice_is_no_placeholder_yet() -> None:
    diff = diff_of(group(ports=()), stored("web-0", 1, ports=()))
    assert diff.needs_placeholder
    assert names(diff.dirty) == ["web-0"]


def test_empty_slices_of_a_group_with_endpoints_are_clean() -> None:
    assert diff_of(group(1), stored("web-0", 1), stored("web-1")).is_empty


def test_slices_of_a_group_that_nobody_wants_are_dirty() -> None:
    (diff,) = state_of([], [stored("web-0", 1), stored("web-1")]).groups
    assert [item.reasons for item in diff.dirty] == [
        (Reason.ENDPOINTS_REMOVED, Reason.GROUP_NOT_WANTED),
        (Reason.GROUP_NOT_WANTED,),
    ]
    assert not diff.needs_placeholder


def test_a_group_by_itself_can_be_compared() -> None:
    diff = diff_group(
        group_key(HTTP),
        endpoints(1, 2),
        [stored("web-0", 1)],
        template=TEMPLATE,
        max_endpoints_per_slice=3,
    )
    assert diff == diff_of(group(1, 2), stored("web-0", 1))


# --- ports that change ------------------------------------------------------------------------


def test_a_slice_of_a_group_that_is_gone_is_adopted_by_the_group_that_wants_its_endpoints() -> None:
    gone, heir = state_of(
        [group(1, 2, 3, ports=(HTTP_ALT,))], [stored("web-0", 1, endpoint(2, 1), 9)]
    ).groups
    assert gone.dirty == ()
    assert heir.dirty == (
        DirtySlice(
            "web-0",
            endpoints(1, 2),
            frozenset(item.key for item in endpoints(1, 2)),
            (Reason.PORTS_CHANGED, Reason.ENDPOINTS_REMOVED),
            removed=1,
            adopted=True,
        ),
    )
    assert heir.new == endpoints(3)
    assert heir.stored("web-0").ports == (HTTP,)


def test_a_slice_is_adopted_by_the_group_that_wants_most_of_it() -> None:
    _, some, most = state_of(
        [group(1, ports=(HTTP_ALT,)), group(1, 2, ports=(METRICS,))], [stored("web-0", 1, 2)]
    ).groups
    assert some.dirty == ()
    assert names(most.dirty) == ["web-0"]


def test_an_endpoint_is_adopted_once() -> None:
    _, heir = state_of(
        [group(1, 2, ports=(HTTP_ALT,))], [stored("web-0", 1), stored("web-1", 1, 2)]
    ).groups
    assert [(item.name, len(item.endpoints)) for item in heir.dirty] == [("web-0", 1), ("web-1", 1)]


def test_an_adopted_slice_says_what_else_is_wrong_with_it() -> None:
    wrong = stored("web-0", 1, 2, 3, 4, labels={"left": "over"}, owner_references=())
    _, heir = state_of([group(1, 2, 3, 4, ports=(HTTP_ALT,))], [wrong]).groups
    assert heir.dirty[0].reasons == (
        Reason.LABELS_CHANGED,
        Reason.OWNER_CHANGED,
        Reason.PORTS_CHANGED,
        Reason.OVER_CAPACITY,
    )


def test_a_slice_is_not_adopted_by_another_address_type() -> None:
    gone, heir = state_of([group(1, kind=IPV6)], [stored("web-0", 1)]).groups
    assert names(gone.dirty) == ["web-0"]
    assert heir.dirty == ()


def test_a_slice_whose_endpoints_nobody_wants_is_not_adopted() -> None:
    gone, heir = state_of([group(2, ports=(HTTP_ALT,))], [stored("web-0", 1)]).groups
    assert names(gone.dirty) == ["web-0"]
    assert heir.dirty == ()
    assert heir.recyclable == 1


def test_slices_of_a_group_that_is_still_wanted_are_not_adopted() -> None:
    still, other = state_of([group(1), group(2, ports=(HTTP_ALT,))], [stored("web-0", 1, 2)]).groups
    assert names(still.dirty) == ["web-0"]
    assert other.dirty == ()


# --- slices to spare --------------------------------------------------------------------------


def test_spare_slices_are_promised_within_an_address_type_first_come_first_served() -> None:
    state = state_of(
        [
            group(*range(4), ports=(HTTP_ALT,)),
            group(5, ports=(METRICS,)),
            group(6, kind=IPV6),
        ],
        [stored("web-0", 7), stored("web-1", 8), stored("web-2", 9)],
    )
    assert {diff.key: diff.recyclable for diff in state.groups} == {
        group_key(HTTP): 0,
        group_key(HTTP_ALT): 2,
        group_key(METRICS): 1,
        group_key(HTTP, kind=IPV6): 0,
    }


# --- what a strategy may ask of clean slices --------------------------------------------------


def test_clean_slices_are_a_sequence_by_name() -> None:
    going = endpoint(4, 1)
    current = (
        stored("web-2", 1, 2),
        stored("web-1", 3),
        stored("web-3", 5),
        stored("web-0", going),
    )
    clean = diff_of(group(1, 2, 3, 5, going), *current).clean
    items = (
        CleanSlice("web-0", 1, 1),
        CleanSlice("web-1", 1),
        CleanSlice("web-2", 2),
        CleanSlice("web-3", 1),
    )
    assert clean == items
    assert clean == clean
    assert clean != items[1:]
    assert clean[1] == items[1]
    assert clean[-2:] == items[-2:]
    assert len(clean) == 4
    assert repr(clean) == repr(items)


def test_clean_slices_are_found_by_fill_and_heat() -> None:
    going = endpoint(4, 1)
    current = (
        stored("web-2", 1, 2),
        stored("web-1", 3),
        stored("web-3", 5),
        stored("web-0", going),
        stored("web-4", 6, 7),
    )
    clean = diff_of(group(1, 2, 3, 5, 7, going), *current).clean
    assert names(clean) == ["web-0", "web-1", "web-2", "web-3"]
    assert names(clean.sparsest(hot=True)) == ["web-0"]
    assert names(clean.sparsest(hot=False)) == ["web-1", "web-3", "web-2"]
    assert names(clean.fullest(2, hot=False)) == ["web-2", "web-1", "web-3"]
    assert names(clean.fullest(1, hot=True)) == ["web-0"]
    assert clean.volatile == 1
    assert names(clean.sparsest()) == ["web-0", "web-1", "web-3", "web-2"]
    assert names(clean.fullest(2)) == ["web-2", "web-0", "web-1", "web-3"]
    assert names(clean.fullest(1)) == ["web-0", "web-1", "web-3"]
    assert names(clean.fullest(0)) == []
