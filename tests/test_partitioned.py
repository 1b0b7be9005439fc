"""`Partitioned`: who is of which part, what is refused, and what a few plans look like."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpointslice import (
    LABEL_FOR_ZONE,
    CreateSlice,
    Endpoint,
    EndpointConditions,
    EndpointGroup,
    EndpointHints,
    EndpointSlice,
    Generational,
    IncrementalReconciler,
    MinimalWrites,
    ModelError,
    PackingStrategy,
    Partitioned,
    Plan,
    Reason,
    apply_plan,
    check_plan,
    reconcile,
)
from endpointslice.diff import CleanSlices, diff_group
from tests.builders import HTTP, TEMPLATE, endpoint, group, group_key, stored

NOT_READY = EndpointConditions(ready=False)


def in_zones(*zones: str | None, **changes: Any) -> tuple[Endpoint, ...]:
    return tuple(endpoint(i, zone=zone, **changes) for i, zone in enumerate(zones))


def plan_of(
    members: tuple[Endpoint, ...],
    *current: EndpointSlice,
    strategy: PackingStrategy | None = None,
    capacity: int = 3,
) -> Plan:
    desired = [group(*members)] if members else [group(ports=())]
    plan = reconcile(
        desired,
        current,
        template=TEMPLATE,
        strategy=strategy or Partitioned("zone", MinimalWrites()),
        max_endpoints_per_slice=capacity,
    )
    assert not check_plan(plan, desired=desired, current=current, max_endpoints_per_slice=capacity)
    return plan


def held(slices: tuple[EndpointSlice, ...]) -> dict[str, list[int]]:
    """Which numbers slices hold, by the label."""
    found: dict[str, list[int]] = {}
    for item in slices:
        members = found.setdefault(item.metadata.labels[LABEL_FOR_ZONE], [])
        members += [int(e.addresses[0].rpartition(".")[2]) for e in item.endpoints]
    return {part: sorted(members) for part, members in found.items()}


def in_zone(name: str, zone: str, *members: Endpoint | int) -> EndpointSlice:
    return stored(name, *members, labels={LABEL_FOR_ZONE: zone})


# --- who is of which part ---------------------------------------------------------------------


def test_a_slice_holds_one_zone_and_says_which() -> None:
    slices = apply_plan((), plan_of(in_zones("a", "b", None, "a", "", "c")))
    assert held(slices) == {"a": [0, 3], "b": [1], "c": [5], "all": [2, 4]}
    assert len(slices) == 4


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"hints": EndpointHints(for_zones=("b",))}, "b"),
        ({"hints": EndpointHints(for_zones=("b", "c"))}, "all"),
        ({}, "all"),
        ({"conditions": NOT_READY}, "a"),
        ({"conditions": NOT_READY, "hints": EndpointHints(for_zones=("b",))}, "b"),
        ({"conditions": NOT_READY, "zone": None}, "all"),
    ],
)
def test_by_hint_an_endpoint_lives_with_the_zone_that_it_is_for(
    changes: dict[str, Any], part: str
) -> None:
    member = endpoint(0, **{"zone": "a", **changes})
    plan = plan_of((member,), strategy=Partitioned("hint"))
    assert held(apply_plan((), plan)) == {part: [0]}


def test_the_placeholder_is_for_all() -> None:
    plan = plan_of(())
    assert [item.reasons for item in plan.operations] == [(Reason.PLACEHOLDER,)]
    (made,) = apply_plan((), plan)
    assert made.metadata.labels[LABEL_FOR_ZONE] == "all"
    assert plan_of((), made).is_empty
    (freed,) = plan_of((), stored("web-0", ports=(), labels={LABEL_FOR_ZONE: "a"})).updates
    assert freed.after.metadata.labels[LABEL_FOR_ZONE] == "all"


def test_the_label_is_the_strategys_own_whatever_the_template_says() -> None:
    labels = {**TEMPLATE.metadata.labels, LABEL_FOR_ZONE: "somewhere"}
    template = attrs.evolve(TEMPLATE, metadata=attrs.evolve(TEMPLATE.metadata, labels=labels))
    desired = [group(*in_zones("a"))]
    strategy = Partitioned("zone")
    plan = reconcile(desired, (), template=template, strategy=strategy)
    slices = apply_plan((), plan)
    assert held(slices) == {"a": [0]}
    assert reconcile(desired, slices, template=template, strategy=strategy).is_empty


def test_another_strategy_takes_the_label_away() -> None:
    plan = plan_of(in_zones("a"), in_zone("web-0", "a", *in_zones("a")), strategy=MinimalWrites())
    (update,) = plan.updates
    assert update.reasons == (Reason.LABELS_CHANGED,)
    assert update.after.metadata.labels == TEMPLATE.metadata.labels


# --- slices that are there ---------------------------------------------------------------------


def test_a_slice_of_one_part_is_given_the_label_in_place() -> None:
    members = in_zones("a", "a")
    (update,) = plan_of(members, stored("web-0", *members)).operations
    assert update.reasons == (Reason.PART_CHANGED,)
    assert update.after is not None
    assert update.after.metadata.labels[LABEL_FOR_ZONE] == "a"


def test_a_slice_stays_with_the_part_that_most_of_it_is_of() -> None:
    members = in_zones("b", "a", "b")
    before = in_zone("web-0", "a", *in_zones("a", "a", "a"))
    create, update = plan_of(members, before).operations
    assert isinstance(create, CreateSlice)
    assert update.after is not None
    assert held((create.after, update.after)) == {"a": [1], "b": [0, 2]}
    assert Reason.PART_CHANGED in update.reasons
    # As many of each: then it keeps its label.
    plan = plan_of(members[:2], in_zone("web-0", "a", *in_zones("a", "a")))
    (kept,) = plan.updates
    assert kept.after.metadata.labels[LABEL_FOR_ZONE] == "a"


def test_endpoints_that_would_go_round_in_a_cycle_go_to_a_created_slice() -> None:
    """Each slice has what the other needs, and each update would have to come first."""
    a, b = in_zones("a", "a"), tuple(endpoint(i, zone="b") for i in (2, 3))
    current = (in_zone("web-a", "a", *a), in_zone("web-b", "b", *b))
    swapped = (endpoint(0, zone="b"), a[1], endpoint(2, zone="a"), b[1])
    plan = plan_of(swapped, *current, capacity=2)
    assert [type(item).__name__ for item in plan.operations] == [
        "CreateSlice",
        "UpdateSlice",
        "UpdateSlice",
    ]
    assert held(apply_plan(current, plan)) == {"a": [1, 2], "b": [0, 3]}


def test_what_goes_round_finds_room_in_slices_that_are_created_anyway() -> None:
    a, b = in_zones("a", "a"), tuple(endpoint(i, zone="b") for i in (2, 3))
    current = (in_zone("web-a", "a", *a), in_zone("web-b", "b", *b))
    swapped = (endpoint(0, zone="b"), a[1], endpoint(2, zone="a"), b[1])
    new = tuple(endpoint(i, zone=zone) for i, zone in enumerate("aabb", start=4))
    plan = plan_of((*swapped, *new), *current, capacity=2)
    assert len(plan.creates) <= 3
    after = apply_plan(current, plan)
    assert held(after) == {"a": [1, 2, 4, 5], "b": [0, 3, 6, 7]}


@given(
    zones=st.lists(st.sampled_from(("a", "b", "c", None)), min_size=1, max_size=60),
    capacity=st.integers(1, 7),
)
def test_slices_without_parts_are_taken_over_with_one_write_more_for_each_part(
    zones: list[str | None], capacity: int
) -> None:
    members = in_zones(*zones)
    current = tuple(
        stored(f"web-{i:03}", *members[i : i + capacity]) for i in range(0, len(zones), capacity)
    )
    plan = plan_of(members, *current, capacity=capacity)
    counts = Counter(zones)
    needed = sum(-(-count // capacity) for count in counts.values())
    fewest = max(len(current), needed)
    assert fewest <= len(plan.operations) <= fewest + len(counts)
    after = apply_plan(current, plan)
    assert len(after) == needed
    assert plan_of(members, *after, capacity=capacity).is_empty


# --- small parts ------------------------------------------------------------------------------


def test_small_parts_share_until_they_are_large_and_not_again_until_half_of_that() -> None:
    strategy = Partitioned("zone", MinimalWrites(), min_part=4)
    slices: tuple[EndpointSlice, ...] = ()

    def sync(*zones: str) -> dict[str, list[int]]:
        nonlocal slices
        slices = apply_plan(
            slices, plan_of(in_zones(*zones), *slices, strategy=strategy, capacity=10)
        )
        return held(slices)

    assert sync("a", "b", "a") == {"all": [0, 1, 2]}
    # Those that stand in a slice that need not be written are not in sight.
    assert sync("a", "b", "a", "a", "a") == {"all": [0, 1, 2, 3, 4]}
    assert sync("a", "a", "a", "a", "b") == {"a": [0, 1, 2, 3], "all": [4]}
    assert sync("a", "a") == {"a": [0, 1]}
    assert sync("a") == {"all": [0]}


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"key": "region"}, "key"),
        ({"key": 5}, "key"),
        ({"key": "zone", "label": ""}, "label"),
        ({"key": "zone", "label": "Example.com/zone"}, "label"),
        ({"key": "zone", "label": "kubernetes.io/service-name"}, "label"),
        ({"key": "zone", "label": 5}, "label"),
        ({"key": "zone", "shared": ""}, "part"),
        ({"key": "zone", "shared": "a b"}, "part"),
        ({"key": "zone", "shared": None}, "part"),
        ({"key": "zone", "min_part": -1}, "min_part"),
        ({"key": "zone", "min_part": True}, "min_part"),
    ],
)
def test_what_is_no_partition_is_refused(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(ModelError) as caught:
        Partitioned(**arguments)
    assert caught.value.field == field


@pytest.mark.parametrize("zone", ["x" * 64, "-a", "a/b", "ä"])
def test_a_part_that_is_no_label_value_is_refused(zone: str) -> None:
    with pytest.raises(ModelError) as caught:
        plan_of(in_zones(zone))
    assert (caught.value.field, caught.value.value) == ("part", zone)


def test_a_diff_that_knows_no_parts_is_refused() -> None:
    diff = diff_group(
        group_key(HTTP), in_zones("a"), (), template=TEMPLATE, max_endpoints_per_slice=3
    )
    with pytest.raises(ModelError):
        Partitioned("zone").pack(diff)
    assert diff.clean.label is None
    held = diff_group(
        group_key(HTTP),
        in_zones("a"),
        [stored("web-0", 0)],
        template=TEMPLATE,
        max_endpoints_per_slice=3,
    )
    assert held.part_of("web-0") is None


# --- what is kept -----------------------------------------------------------------------------


def test_what_is_inside_may_change_without_a_look_at_every_endpoint() -> None:
    members = in_zones("a", "b")
    current = apply_plan((), plan_of(members))
    inc = IncrementalReconciler(
        current, template=TEMPLATE, strategy=Partitioned("zone", MinimalWrites())
    )
    groups = inc._groups
    inc.configure(strategy=Partitioned("zone", Generational()))
    assert inc._groups is groups
    assert inc.apply().is_empty
    inc.configure(strategy=Partitioned("hint", Generational()))
    assert inc._groups is not groups
    assert not inc.apply().is_empty


def test_clean_slices_can_be_counted_by_part() -> None:
    slices = {f"web-{i}": in_zone(f"web-{i}", "ab"[i % 2], 2 * i, 2 * i + 1) for i in range(5)}
    clean = CleanSlices(slices, {"web-2"}, label=LABEL_FOR_ZONE)
    assert [item.name for item in clean.part("a")] == ["web-0", "web-4"]
    assert (clean.endpoint_count, clean.part("b").endpoint_count) == (8, 4)
    assert len(clean.part("c")) == clean.part("c").endpoint_count == 0


def test_the_same_group_given_in_parts_is_parted_the_same() -> None:
    members = in_zones("a", "b", "a")
    whole = plan_of(members)
    parts = [EndpointGroup(key=group_key(HTTP), endpoints=(member,)) for member in members]
    assert whole == reconcile(
        parts,
        (),
        template=TEMPLATE,
        strategy=Partitioned("zone", MinimalWrites()),
        max_endpoints_per_slice=3,
    )
