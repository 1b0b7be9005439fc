"""IncrementalReconciler, case by case; test_incremental_laws.py has its law."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

import attrs
import pytest

from endpointslice import (
    ANNOTATION_TRIGGER_TIME,
    CreateSlice,
    DeleteSlice,
    DuplicateEndpointError,
    EndpointGroup,
    EndpointHints,
    EndpointSlice,
    FrozenDict,
    IncrementalReconciler,
    KubernetesPacking,
    MinimalWrites,
    ModelError,
    Packing,
    Plan,
    SliceTemplate,
    UpdateSlice,
    apply_plan,
    reconcile,
)
from endpointslice.diff import Diff, Reason
from tests.builders import (
    HTTP,
    HTTP_ALT,
    IPV6,
    OLD_OWNER,
    TEMPLATE,
    TEMPLATES,
    endpoint,
    endpoints,
    group,
    group_key,
    stored,
)

KEY = group_key(HTTP)


def made(*current: EndpointSlice, **options: Any) -> IncrementalReconciler:
    options = {"strategy": MinimalWrites(), "max_endpoints_per_slice": 3, **options}
    return IncrementalReconciler(current, template=TEMPLATE, **options)


def numbers(groups: Iterable[EndpointGroup]) -> list[tuple[int | None, list[str]]]:
    """Port and addresses of each group."""
    return [
        (
            found.key.ports[0].port if found.key.ports else None,
            sorted(member.addresses[0].rpartition(".")[2] for member in found.endpoints),
        )
        for found in groups
    ]


def written(plan: Plan) -> list[tuple[str, str]]:
    return [(type(item).__name__, (item.before or item.after).name) for item in plan.operations]


# --- what is desired --------------------------------------------------------------------------


def test_what_the_slices_hold_is_desired_at_first() -> None:
    reconciler = made(stored("web-1", 1, 2), stored("web-2", ports=()), stored("x", 9, kind=IPV6))
    assert [found.key for found in reconciler.desired] == [
        group_key(),
        group_key(HTTP),
        group_key(HTTP, kind=IPV6),
    ]
    assert reconciler.desired[1].endpoints == endpoints(1, 2)
    assert reconciler.apply().is_empty


def test_one_endpoint_that_stands_twice_is_desired_once_as_the_lower_name_has_it() -> None:
    reconciler = made(stored("web-2", endpoint(1, 1)), stored("web-1", 1))
    assert reconciler.desired == (group(1),)
    plan = reconciler.apply()
    assert written(plan) == [("DeleteSlice", "web-2")]
    assert plan.operations[0].reasons == (Reason.DUPLICATES_REMOVED, Reason.EMPTY)
    assert reconciler.apply().is_empty


def test_endpoints_come_change_and_go() -> None:
    reconciler = made(stored("web-1", 1, 2))
    plan = reconciler.apply(upserted=[group(3)])
    assert written(plan) == [("UpdateSlice", "web-1")]
    assert reconciler.slices[0].endpoints == endpoints(1, 2, 3)
    plan = reconciler.apply(upserted=[group(endpoint(2, 1))], removed=[group(1)])
    assert reconciler.slices[0].endpoints == (endpoint(2, 1), endpoint(3))
    assert plan.operations[0].reasons == (Reason.ENDPOINTS_CHANGED, Reason.ENDPOINTS_REMOVED)
    assert numbers(reconciler.desired) == [(80, ["2", "3"])]
    assert reconciler.apply(upserted=[group(3)]).is_empty


def test_identities_by_group_can_be_removed_too() -> None:
    reconciler = made(stored("web-1", 1, 2))
    reconciler.apply(removed={KEY: (endpoint(2).key for _ in range(1))})
    assert numbers(reconciler.desired) == [(80, ["1"])]


def test_what_is_removed_and_upserted_at_once_is_desired() -> None:
    reconciler = made(stored("web-1", 1, 2))
    assert reconciler.apply([group(endpoint(1, 3))], [group(1, 2)]).operations
    assert reconciler.desired == (group(endpoint(1, 3)),)


def test_what_is_not_there_can_be_removed() -> None:
    reconciler = made(stored("web-1", 1))
    assert reconciler.apply(removed=[group(7), group(1, ports=(HTTP_ALT,))]).is_empty
    assert numbers(reconciler.desired) == [(80, ["1"])]


def test_a_group_that_runs_empty_is_wanted_until_it_is_removed() -> None:
    reconciler = made(stored("web-1", 1, ports=()))
    plan = reconciler.apply(removed=[group(1, ports=())])
    assert [item.reasons for item in plan.updates] == [
        (Reason.ENDPOINTS_REMOVED, Reason.PLACEHOLDER)
    ]
    assert numbers(reconciler.desired) == [(None, [])]
    assert reconciler.apply().is_empty
    plan = reconciler.apply(removed=[group(ports=())])
    assert [item.reasons for item in plan.deletes] == [(Reason.EMPTY, Reason.GROUP_NOT_WANTED)]
    assert numbers(reconciler.desired) == []
    assert reconciler.apply(removed=[group(ports=())]).is_empty


def test_a_group_that_holds_endpoints_is_not_removed_with_them() -> None:
    reconciler = made(stored("web-1", 1))
    assert reconciler.apply(removed=[group()]).is_empty
    assert numbers(reconciler.desired) == [(80, ["1"])]


def test_an_empty_group_that_is_upserted_is_a_placeholder() -> None:
    reconciler = made()
    plan = reconciler.apply(upserted=[group(ports=())])
    assert [item.reasons for item in plan.creates] == [(Reason.PLACEHOLDER,)]
    # It is not there until it is observed.
    assert len(reconciler.apply().creates) == 1
    reconciler.observe(stored("web-1", ports=()))
    assert reconciler.apply().is_empty


def test_a_change_of_ports_is_made_in_place() -> None:
    reconciler = made(stored("web-1", 1, 2))
    plan = reconciler.apply([group(1, 2, ports=(HTTP_ALT,))], [group(1, 2)])
    assert written(plan) == [("UpdateSlice", "web-1")]
    assert reconciler.slices[0].ports == (HTTP_ALT,)
    assert reconciler.apply(removed=[group()]).is_empty
    assert numbers(reconciler.desired) == [(81, ["1", "2"])]


# --- what stands ------------------------------------------------------------------------------


def test_what_is_created_counts_once_it_is_observed() -> None:
    reconciler = made()
    plan = reconciler.apply(upserted=[group(1, 2)])
    assert not reconciler.slices
    assert reconciler.apply() == plan
    (created,) = apply_plan((), plan, names=iter(["web-a"]))
    reconciler.observe(created)
    assert reconciler.slices == (created,)
    assert reconciler.apply().is_empty


def test_updates_and_deletes_are_taken_to_be_carried_out() -> None:
    current = (stored("web-1", 1), stored("web-2", 2), stored("web-3", 3, owner_references=()))
    reconciler = made(*current)
    plan = reconciler.apply(removed=[group(1)], upserted=[group(endpoint(2, 1))])
    assert written(plan) == [
        ("UpdateSlice", "web-2"),
        ("DeleteSlice", "web-1"),
        ("DeleteSlice", "web-3"),
    ]
    assert reconciler.slices == tuple(sorted(apply_plan(current, plan), key=lambda item: item.name))
    assert reconciler.apply().is_empty


def test_what_did_not_happen_is_repaired_by_the_next_plan() -> None:
    before = stored("web-1", 1, 2)
    reconciler = made(before, stored("web-2", 3))
    first = reconciler.apply(upserted=[group(endpoint(1, 1))], removed=[group(3)])
    assert len(first.operations) == 2
    for operation in first.operations:
        assert operation.before is not None
        reconciler.observe(operation.before)
    assert reconciler.apply() == first
    assert reconciler.apply().is_empty


def test_a_resource_version_is_taken_over() -> None:
    reconciler = made(stored("web-1", 1, 2))
    (update,) = reconciler.apply(removed=[group(2)]).updates
    assert update.after.metadata.resource_version == "rv-web-1"
    meta = attrs.evolve(update.after.metadata, resource_version="2")
    reconciler.observe(attrs.evolve(update.after, metadata=meta))
    (update,) = reconciler.apply(upserted=[group(3)]).updates
    assert update.before.metadata.resource_version == "2"
    assert update.after.metadata.resource_version == "2"


def test_a_foreign_edit_is_undone() -> None:
    reconciler = made(stored("web-1", 1, 2))
    reconciler.observe(stored("web-1", endpoint(1, 3), 7))
    (update,) = reconciler.apply().updates
    assert set(update.after.endpoints) == set(endpoints(1, 2))
    reconciler.observe(stored("web-1", 1, 2, labels={"app": "other"}))
    (update,) = reconciler.apply().updates
    assert update.reasons == (Reason.LABELS_CHANGED,)


def test_a_slice_that_is_gone_is_made_anew() -> None:
    reconciler = made(stored("web-1", 1, 2), stored("web-2", 3))
    reconciler.forget("web-1")
    reconciler.forget("web-1")
    assert [item.name for item in reconciler.slices] == ["web-2"]
    assert numbers(reconciler.desired) == [(80, ["1", "2", "3"])]
    (update,) = reconciler.apply().updates
    assert update.after.endpoints == endpoints(3, 1, 2)


def test_slices_of_others_do_not_exist() -> None:
    foreign = stored("web-9", 1, labels={"endpointslice.kubernetes.io/managed-by": "me"})
    elsewhere = stored("web-1", 7, namespace="elsewhere")
    reconciler = made(stored("web-1", 1), foreign, elsewhere)
    reconciler.observe(elsewhere)
    reconciler.observe(foreign)
    assert [item.name for item in reconciler.slices] == ["web-1"]
    assert reconciler.apply().is_empty
    # One that somebody takes over, or deletes, is gone.
    reconciler.observe(stored("web-1", 1, deletion_timestamp="2026-07-02T00:00:00Z"))
    assert not reconciler.slices
    assert len(reconciler.apply().creates) == 1


def test_slices_of_a_stale_owner_are_deleted() -> None:
    stale = stored("web-1", 1, owner_references=(OLD_OWNER,))
    reconciler = made(stale, stored("web-2", 2))
    assert numbers(reconciler.desired) == [(80, ["2"])]
    assert [item.name for item in reconciler.slices] == ["web-1", "web-2"]
    plan = reconciler.apply()
    assert plan.operations == (DeleteSlice(stale, (Reason.STALE_OWNER,)),)
    assert [item.name for item in reconciler.slices] == ["web-2"]
    reconciler.observe(stale)
    assert reconciler.apply() == plan
    # Adopted by somebody who sets the owner right.
    reconciler.observe(stale)
    reconciler.observe(stored("web-1", 1))
    (delete,) = reconciler.apply().deletes
    assert delete.reasons == (Reason.ENDPOINTS_REMOVED, Reason.EMPTY)


def test_a_slice_may_change_its_ports() -> None:
    reconciler = made(stored("web-1", 1, 2))
    reconciler.observe(stored("web-1", 1, 2, ports=(HTTP_ALT,)))
    (update,) = reconciler.apply().updates
    assert update.after.ports == (HTTP,)
    assert Reason.PORTS_CHANGED in update.reasons


# --- a whole new state ------------------------------------------------------------------------


def test_a_whole_state_can_be_handed_over() -> None:
    current = (stored("web-1", 1, 2, 3), stored("web-2", 4, 5), stored("web-3", 6, ports=()))
    reconciler = made(*current)
    desired = [group(endpoint(1, 1), 3, 5, 7), group(8, ports=(HTTP_ALT,))]
    plan = reconciler.replace(desired)
    assert plan == reconcile(
        desired,
        current,
        template=TEMPLATE,
        strategy=MinimalWrites(),
        max_endpoints_per_slice=3,
    )
    assert numbers(reconciler.desired) == [(80, ["1", "3", "5", "7"]), (81, ["8"])]


@pytest.mark.parametrize(
    "after",
    [
        (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16),
        (1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16),
        (1, 2, 3, 4, 5, 6, 20, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16),
        (1, 2, 3, 4, 5, 6, 20, 8, 9, 10, 11, 12, 13, 14, 15, 16),
        (20, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16),
        (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 20),
        (1, 3, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16),
        (16,),
        (),
    ],
    ids=["same", "fewer", "more", "other", "first", "last", "reordered", "one", "none"],
)
def test_a_state_that_shares_objects_with_the_last_is_compared_by_them(
    after: tuple[int, ...],
) -> None:
    members = {number: endpoint(number) for number in range(1, 21)}
    before = [members[number] for number in range(1, 17)]
    current = [stored(f"web-{i:02}", *before[i : i + 3]) for i in range(0, 16, 3)]
    reconciler = made(*current)
    assert reconciler.replace([group(*before)]).is_empty
    desired = [group(*map(members.__getitem__, after))]
    assert reconciler.replace(desired) == reconcile(
        desired,
        current,
        template=TEMPLATE,
        strategy=MinimalWrites(),
        max_endpoints_per_slice=3,
    )


def test_a_change_of_content_is_found_among_shared_objects() -> None:
    members = list(endpoints(*range(1, 17)))
    reconciler = made(*(stored(f"web-{i:02}", *members[i : i + 3]) for i in range(0, 16, 3)))
    reconciler.replace([group(*members)])
    members[4] = endpoint(5, 1)
    (update,) = reconciler.replace([group(*members)]).updates
    assert update.before.name == "web-03"
    # What `apply` has changed since is no secret to the next state.
    reconciler.apply(removed=[group(1)])
    (update,) = reconciler.replace([group(*members)]).updates
    assert update.before.name == "web-00"


def test_an_endpoint_of_the_shared_part_must_not_come_again() -> None:
    members = endpoints(*range(1, 17))
    reconciler = made(max_endpoints_per_slice=20)
    reconciler.replace([group(*members)])
    with pytest.raises(DuplicateEndpointError):
        reconciler.replace([group(*members, endpoint(3, 1))])
    assert reconciler.desired == (group(*members),)


# --- configuration ----------------------------------------------------------------------------


def test_a_lower_capacity_splits_slices() -> None:
    reconciler = made(stored("web-1", 1, 2, 3))
    reconciler.configure(max_endpoints_per_slice=2)
    assert reconciler.max_endpoints_per_slice == 2
    plan = reconciler.apply()
    assert [len(item.after.endpoints) for item in plan.creates] == [1]
    assert [len(item.after.endpoints) for item in plan.updates] == [2]
    assert plan.updates[0].reasons == (Reason.OVER_CAPACITY, Reason.ENDPOINTS_MOVED_OUT)


def test_a_template_is_put_on_all_slices() -> None:
    reconciler = made(stored("web-1", 1), stored("web-2", 2))
    reconciler.configure(template=TEMPLATES[1])
    assert reconciler.template == TEMPLATES[1]
    plan = reconciler.apply(removed=[group(2)])
    assert {reason for item in plan.operations for reason in item.reasons} >= {
        Reason.LABELS_CHANGED
    }
    assert all(item.metadata.labels == TEMPLATES[1].metadata.labels for item in reconciler.slices)


def test_a_trigger_time_makes_nothing_be_written() -> None:
    reconciler = made(stored("web-1", 1), stored("web-2", 2))
    annotations = FrozenDict({ANNOTATION_TRIGGER_TIME: "2026-07-02T00:00:00Z"})
    meta = attrs.evolve(TEMPLATE.metadata, annotations=annotations)
    reconciler.configure(template=SliceTemplate(metadata=meta))
    assert reconciler.apply().is_empty
    (update,) = reconciler.apply(upserted=[group(endpoint(2, 1))]).updates
    assert update.after.metadata.annotations == annotations


def test_a_strategy_can_be_changed() -> None:
    reconciler = made(stored("web-1", 1, 2), stored("web-2", 3))
    reconciler.configure(strategy=KubernetesPacking())
    assert reconciler.strategy == KubernetesPacking()
    assert written(reconciler.apply(removed=[group(3)])) == [("DeleteSlice", "web-2")]


# --- plans ------------------------------------------------------------------------------------


def test_a_plan_does_not_change_with_what_comes_later() -> None:
    current = [stored(f"web-{i:03}", i) for i in range(80)]
    reconciler = made(*current)
    plan = reconciler.apply(upserted=[group(endpoint(5, 1))])
    other = reconciler.apply(upserted=[group(endpoint(6, 1))])
    reconciler.forget("web-007")
    reconciler.observe(stored("web-100", 100))
    assert [item.name for item in plan.unchanged] == [
        item.name for item in current if item.name != "web-005"
    ]
    assert plan.unchanged[5] is current[6]
    assert pickle.loads(pickle.dumps(other)) == other
    assert len(other.unchanged) == 79
    assert hash(other) == hash(pickle.loads(pickle.dumps(other)))


# --- bad input --------------------------------------------------------------------------------


def test_bad_input_is_refused_and_changes_nothing() -> None:
    reconciler = made(stored("web-1", 1, 2))
    with pytest.raises(ModelError, match="upserted: must hold EndpointGroup"):
        reconciler.apply(upserted=[endpoint(1)])  # type: ignore[list-item]
    with pytest.raises(ModelError, match="removed: must hold EndpointGroup"):
        reconciler.apply(upserted=[group(3)], removed=[endpoint(1)])  # type: ignore[list-item]
    with pytest.raises(ModelError, match="groups: must hold EndpointGroup"):
        reconciler.replace([group(3), None])  # type: ignore[list-item]
    with pytest.raises(DuplicateEndpointError):
        reconciler.apply(upserted=[group(3), group(endpoint(3, 1))], removed=[group(1)])
    with pytest.raises(ModelError, match="have a name"):
        reconciler.observe(stored("", 1))
    with pytest.raises(ModelError, match=r"1\.\.1000"):
        reconciler.configure(max_endpoints_per_slice=0, strategy=KubernetesPacking())
    assert reconciler.strategy == MinimalWrites()
    assert numbers(reconciler.desired) == [(80, ["1", "2"])]
    assert reconciler.apply().is_empty


@pytest.mark.parametrize(
    "removed",
    [{KEY: endpoint(1).key}, {KEY: [endpoint(1)]}, {"IPv4": [endpoint(1).key]}],
    ids=["one string", "an endpoint", "no group"],
)
def test_what_names_no_identity_is_refused(removed: Any) -> None:
    reconciler = made(stored("web-1", 1, 2))
    with pytest.raises(ModelError, match="removed: must h"):
        reconciler.apply(upserted=[group(3)], removed=removed)
    assert numbers(reconciler.desired) == [(80, ["1", "2"])]


def test_a_configuration_that_is_none_changes_nothing() -> None:
    reconciler = made(stored("web-1", 1, 2))
    with pytest.raises(AttributeError):
        reconciler.configure(strategy=KubernetesPacking(), template="x")  # type: ignore[arg-type]
    assert reconciler.strategy == MinimalWrites()
    assert reconciler.template == TEMPLATE


@attrs.frozen
class _Hinting:
    """A strategy that goes beyond its duty: it changes what it places."""

    def pack(self, diff: Diff) -> Packing:
        packing = MinimalWrites().pack(diff)
        hints = EndpointHints(for_zones=("b",))
        return Packing(
            tuple(
                attrs.evolve(item, added=tuple(e.with_hints(hints) for e in item.added))
                for item in packing.placements
            )
        )


def test_what_a_strategy_makes_of_an_endpoint_is_not_what_is_desired() -> None:
    reconciler = made(stored("web-1", 1), strategy=_Hinting())
    reconciler.apply(upserted=[group(2)])
    assert reconciler.desired == (group(1, 2),)
    (update,) = reconciler.apply().updates
    assert update.reasons == (Reason.HINTS_CHANGED,)


@attrs.frozen
class _Twice:
    """A strategy with a fault: it places what is new twice in one slice."""

    def pack(self, diff: Diff) -> Packing:
        packing = MinimalWrites().pack(diff)
        return Packing(
            tuple(attrs.evolve(item, added=item.added * 2) for item in packing.placements)
        )


def test_what_a_strategy_places_twice_is_repaired_by_the_next_plan() -> None:
    reconciler = made(stored("web-1", 1), strategy=_Twice())
    reconciler.apply(upserted=[group(2)])
    assert reconciler.slices[0].endpoints == endpoints(1, 2, 2)
    assert reconciler.desired == (group(1, 2),)
    (update,) = reconciler.apply().updates
    assert update.reasons == (Reason.DUPLICATES_REMOVED,)
    assert update.after.endpoints == endpoints(1, 2)
    assert reconciler.apply().is_empty


def test_bad_slices_are_refused() -> None:
    with pytest.raises(ModelError, match="two slices of one name"):
        made(stored("web-1", 1), stored("web-1", 2))
    with pytest.raises(ModelError, match="have a name"):
        made(stored("", 1))
    with pytest.raises(ModelError, match=r"1\.\.1000"):
        made(max_endpoints_per_slice=1001)


def test_operations_are_those_of_reconcile() -> None:
    reconciler = made(stored("web-1", 1, 2, 3))
    plan = reconciler.apply(upserted=[group(4)], removed=[group(2)])
    assert isinstance(plan.operations[0], UpdateSlice)
    assert not any(isinstance(item, CreateSlice) for item in plan.operations)
    assert plan.minimum_writes == 1
