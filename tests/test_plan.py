"""Plans: what is in them, how they are applied, checked, priced and explained."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs
import pytest

from endpointslice import (
    ANNOTATION_TRIGGER_TIME,
    LABEL_MANAGED_BY,
    ConflictError,
    Cost,
    CreateSlice,
    DeleteSlice,
    EndpointGroup,
    EndpointSlice,
    FrozenDict,
    KubernetesPacking,
    MinimalWrites,
    ModelError,
    ObjectMeta,
    Operation,
    Packing,
    Placement,
    Plan,
    Reason,
    SliceTemplate,
    UpdateSlice,
    apply_plan,
    check_plan,
    explain_plan,
    price_plan,
    protobuf_size,
    reconcile,
)
from endpointslice.diff import Diff
from endpointslice.plan import without_creates
from tests.builders import (
    HTTP,
    HTTP_ALT,
    IPV6,
    OLD_OWNER,
    OWNER,
    SAME_KIND,
    SECOND_OWNER,
    TEMPLATE,
    endpoint,
    endpoints,
    group,
    group_key,
    stored,
)


def plan_for(desired: list[EndpointGroup], current: list[EndpointSlice], **options: Any) -> Plan:
    options.setdefault("template", TEMPLATE)
    options.setdefault("max_endpoints_per_slice", 3)
    options.setdefault("strategy", MinimalWrites())
    return reconcile(desired, current, **options)


def problems_of(
    operations: list[Operation],
    desired: list[EndpointGroup],
    current: list[EndpointSlice],
    unchanged: tuple[EndpointSlice, ...] = (),
    capacity: int = 3,
) -> tuple[str, ...]:
    return check_plan(
        Plan(tuple(operations), unchanged),
        desired=desired,
        current=current,
        max_endpoints_per_slice=capacity,
    )


def with_meta(item: EndpointSlice, **changes: Any) -> EndpointSlice:
    return attrs.evolve(item, metadata=attrs.evolve(item.metadata, **changes))


def update(before: EndpointSlice, after: EndpointSlice) -> UpdateSlice:
    return UpdateSlice(before, after, (Reason.ENDPOINTS_CHANGED,))


def create(after: EndpointSlice) -> CreateSlice:
    return CreateSlice(with_meta(after, name="", resource_version=""), (Reason.ENDPOINTS_ADDED,))


def delete(before: EndpointSlice) -> DeleteSlice:
    return DeleteSlice(before, (Reason.EMPTY,))


@attrs.frozen
class Fixed:
    """A strategy that answers what a test says."""

    answer: Callable[[Diff], Packing]

    def pack(self, diff: Diff) -> Packing:
        return self.answer(diff)


# --- the values -------------------------------------------------------------------------------


def test_a_plan_tells_its_operations_by_what_they_do() -> None:
    one, two, three = (stored(f"web-{i}", i) for i in range(3))
    plan = Plan((create(one), update(two, three), delete(three)))
    assert plan.creates == (create(one),)
    assert plan.updates == (update(two, three),)
    assert plan.deletes == (delete(three),)
    assert not plan.is_empty
    assert Plan().is_empty
    assert plan.creates[0].before is None
    assert plan.deletes[0].after is None
    assert pickle.loads(pickle.dumps(plan)) == plan


# --- order ------------------------------------------------------------------------------------


def test_operations_come_as_creates_then_updates_then_deletes() -> None:
    plan = plan_for(
        [group(1, 2), group(3, kind=IPV6)],
        [
            stored("web-0", endpoint(1, 1)),
            stored("web-1", 9, ports=(HTTP_ALT,)),
            stored("web-2", 8, template=_stale(), ports=(HTTP_ALT,)),
        ],
    )
    assert [type(item) for item in plan.operations] == [
        CreateSlice,
        UpdateSlice,
        DeleteSlice,
        DeleteSlice,
    ]
    assert [item.before.name for item in plan.deletes] == ["web-1", "web-2"]
    assert plan.deletes[1].reasons == (Reason.STALE_OWNER,)


def _stale() -> SliceTemplate:
    return SliceTemplate(metadata=attrs.evolve(TEMPLATE.metadata, owner_references=(OLD_OWNER,)))


def test_whoever_takes_endpoints_over_is_written_before_whoever_gives_them() -> None:
    current = [stored("web-0", 1, 2, 3), stored("web-1", 4, endpoint(5, 1))]
    plan = plan_for([group(1, 2, 3, 4, 5)], current, max_endpoints_per_slice=2)
    # web-0 gives 3 away, web-1 has no room for it: the create comes first.
    (made,) = plan.creates
    assert made.after.endpoints == endpoints(3)
    assert made.reasons == (Reason.ENDPOINTS_MOVED_IN,)
    gives, changes = plan.updates
    assert gives.reasons == (Reason.OVER_CAPACITY, Reason.ENDPOINTS_MOVED_OUT)
    assert changes.reasons == (Reason.ENDPOINTS_CHANGED,)


def test_moves_decide_the_order_of_updates_and_not_names() -> None:
    current = [stored("web-0", 1, 2, 3), stored("web-1", 4, 9)]
    plan = plan_for([group(1, 2, 3, 4)], current, max_endpoints_per_slice=2)
    assert [item.before.name for item in plan.updates] == ["web-1", "web-0"]
    assert plan.updates[0].reasons == (Reason.ENDPOINTS_REMOVED, Reason.ENDPOINTS_MOVED_IN)


def test_a_strategy_that_moves_endpoints_in_a_cycle_is_refused() -> None:
    current = [stored("web-0", endpoint(1, 1), 2), stored("web-1", endpoint(3, 1), 4)]

    def swap(diff: Diff) -> Packing:
        first, second = diff.dirty
        return Packing(
            (
                Placement(first.name, first.endpoints[:1], second.endpoints[1:]),
                Placement(second.name, second.endpoints[:1], first.endpoints[1:]),
            )
        )

    with pytest.raises(ModelError) as caught:
        plan_for([group(1, 2, 3, 4)], current, strategy=Fixed(swap))
    assert caught.value == ModelError("packing", "must not move endpoints in a cycle")


def test_recycling_within_a_group_makes_no_cycle() -> None:
    """A new slice takes from one that takes from the slice that could be recycled for it."""
    current = [stored("web-0", endpoint(1, 1)), stored("web-1", endpoint(2, 1))]

    def rotate(diff: Diff) -> Packing:
        first, second = diff.dirty
        return Packing(
            (
                Placement("", (), first.endpoints),
                Placement(first.name, (), second.endpoints),
                Placement(second.name),
            )
        )

    desired = [group(1, 2)]
    plan = plan_for(desired, current, strategy=Fixed(rotate))
    assert [type(item) for item in plan.operations] == [CreateSlice, UpdateSlice, DeleteSlice]
    assert check_plan(plan, desired=desired, current=current, max_endpoints_per_slice=3) == ()
    assert len(apply_plan(current, plan)) == 2


def test_a_slice_that_gives_nothing_is_recycled_for_endpoints_that_move() -> None:
    current = [stored("web-0", endpoint(1, 1)), stored("web-1", 9)]

    def into_a_new_one(diff: Diff) -> Packing:
        first, second = diff.dirty
        return Packing(
            (
                Placement("", (), first.endpoints),
                Placement(first.name),
                Placement(second.name),
            )
        )

    desired = [group(1)]
    plan = plan_for(desired, current, strategy=Fixed(into_a_new_one))
    assert [(type(item), item.before and item.before.name) for item in plan.operations] == [
        (UpdateSlice, "web-1"),
        (DeleteSlice, "web-0"),
    ]
    assert Reason.RECYCLED in plan.operations[0].reasons
    assert check_plan(plan, desired=desired, current=current, max_endpoints_per_slice=3) == ()


@pytest.mark.parametrize("takes_first", [True, False])
def test_slices_are_recycled_in_order_and_those_that_give_for_what_is_new_alone(
    takes_first: bool,
) -> None:
    current = [stored("web-0", endpoint(1, 1)), stored("web-1", 9), stored("web-2", 8)]

    def into_new_ones(diff: Diff) -> Packing:
        gives, *others = diff.dirty
        made = [Placement("", (), gives.endpoints), Placement("", (), diff.new)]
        freed = [Placement(item.name) for item in (gives, *others)]
        return Packing((*(made if takes_first else reversed(made)), *freed))

    desired = [group(1, 5)]
    plan = plan_for(desired, current, strategy=Fixed(into_new_ones))
    assert {item.before.name: item.after.endpoints for item in plan.updates} == {
        "web-0": endpoints(5),
        "web-1": endpoints(1),
    }
    assert [item.before.name for item in plan.deletes] == ["web-2"]
    assert check_plan(plan, desired=desired, current=current, max_endpoints_per_slice=3) == ()


def test_a_slice_is_recycled_for_another_group_of_its_address_type_alone() -> None:
    current = [stored("web-0", 1), stored("web-1", 2, kind=IPV6)]
    plan = plan_for([group(8, ports=(HTTP_ALT,)), group(9, ports=(HTTP_ALT,))][:1], current)
    (recycled,) = plan.updates
    assert recycled.before.name == "web-0"
    assert recycled.after.ports == (HTTP_ALT,)
    assert recycled.after.metadata.resource_version == "rv-web-0"
    assert recycled.reasons == (
        Reason.ENDPOINTS_REMOVED,
        Reason.ENDPOINTS_ADDED,
        Reason.RECYCLED,
        Reason.GROUP_NOT_WANTED,
    )
    assert [item.before.name for item in plan.deletes] == ["web-1"]


def test_without_moves_a_recycled_slice_keeps_the_order_of_names() -> None:
    current = [stored("web-0", 1, 9), stored("web-1", 7, ports=(HTTP_ALT,))]
    desired = [group(1, 2, 3, 4)]
    plan = plan_for(desired, current)
    assert [item.before.name for item in plan.updates] == ["web-0", "web-1"]
    assert check_plan(plan, desired=desired, current=current, max_endpoints_per_slice=3) == ()


def test_a_strategy_that_puts_more_into_a_slice_than_the_api_allows_is_refused() -> None:
    def all_in_one(diff: Diff) -> Packing:
        return Packing((Placement("", (), diff.new),))

    with pytest.raises(ModelError) as caught:
        plan_for([group(*range(1001))], [], strategy=Fixed(all_in_one))
    assert caught.value == ModelError("endpoints", "must be at most 1000 endpoints", 1001)


# --- metadata ---------------------------------------------------------------------------------


def test_created_slices_have_no_name_uid_or_version_of_the_template() -> None:
    template = SliceTemplate(
        metadata=attrs.evolve(
            TEMPLATE.metadata,
            name="leak",
            uid="leak",
            resource_version="leak",
            generation=7,
            creation_timestamp="2026-01-01T00:00:00Z",
            deletion_timestamp="2026-01-01T00:00:00Z",
            extra={"managedFields": ()},
        )
    )
    (made,) = plan_for([group(1)], [], template=template).creates
    own = TEMPLATE.metadata
    assert made.after.metadata == ObjectMeta(
        namespace=own.namespace,
        generate_name=own.generate_name,
        labels=own.labels,
        annotations=own.annotations,
        owner_references=own.owner_references,
    )


def test_an_update_carries_the_template_and_keeps_the_rest() -> None:
    own = TEMPLATE.metadata
    template = SliceTemplate(
        metadata=attrs.evolve(
            own,
            annotations=FrozenDict({ANNOTATION_TRIGGER_TIME: "now", "example.com/a": "new"}),
            owner_references=(OWNER, SECOND_OWNER),
        )
    )
    before = with_meta(
        stored("web-0", 1),
        uid="u",
        labels=FrozenDict({**own.labels, "left": "over"}),
        annotations=FrozenDict({"note": "by hand", "example.com/a": "old"}),
        owner_references=(SAME_KIND, OWNER),
        extra=FrozenDict({"finalizers": ("x",)}),
    )
    (written,) = plan_for([group(1)], [before], template=template).updates
    assert written.after == with_meta(
        before,
        labels=own.labels,
        annotations=FrozenDict(
            {"note": "by hand", "example.com/a": "new", ANNOTATION_TRIGGER_TIME: "now"}
        ),
        owner_references=(SAME_KIND, OWNER, SECOND_OWNER),
    )
    assert written.reasons == (
        Reason.LABELS_CHANGED,
        Reason.ANNOTATIONS_CHANGED,
        Reason.OWNER_CHANGED,
    )


def test_an_old_trigger_time_goes_with_the_next_write() -> None:
    before = with_meta(stored("web-0", 9), annotations={ANNOTATION_TRIGGER_TIME: "then"})
    (written,) = plan_for([group(1)], [before]).updates
    assert written.after.metadata.annotations == {}


# --- apply ------------------------------------------------------------------------------------


def test_applying_a_plan_leaves_the_slices_that_it_does_not_know() -> None:
    other = stored("db-0", 7, labels={"kubernetes.io/service-name": "db"})
    current = [stored("web-1", 9), other]
    after = apply_plan(current, plan_for([group(1), group(2, ports=(HTTP_ALT,))], current))
    assert [item.name for item in after] == ["db-0", "web-00000", "web-1"]
    assert after[0] == other


def test_created_slices_get_the_lowest_free_names() -> None:
    current = [stored("web-00000", 1), stored("web-00002", 2)]
    plan = plan_for([group(*range(1, 10))], current, max_endpoints_per_slice=2)
    names = [item.name for item in apply_plan(current, plan)]
    assert names == ["web-00000", "web-00001", "web-00002", "web-00003", "web-00004"]


def test_a_free_name_is_free_in_its_namespace() -> None:
    current = [stored("web-00000", 1, namespace="elsewhere")]
    plan = plan_for([group(1), group(2, kind=IPV6)], current)
    names = [(item.metadata.namespace, item.name) for item in apply_plan(current, plan)]
    assert names == [("elsewhere", "web-00000"), ("shop", "web-00000"), ("shop", "web-00001")]


def test_created_slices_take_the_names_that_are_given() -> None:
    plan = plan_for([group(1), group(2, kind=IPV6)], [])
    after = apply_plan([], plan, names=iter(["b", "a", "unused"]))
    assert [(item.name, item.address_type) for item in after] == [("a", IPV6), ("b", "IPv4")]


@pytest.mark.parametrize("names", [[], ["a"], ["a", ""]])
def test_too_few_names_are_refused(names: list[str]) -> None:
    plan = plan_for([group(1), group(2, kind=IPV6)], [])
    with pytest.raises(ModelError, match="one for each slice"):
        apply_plan([], plan, names=iter(names))


def test_a_create_that_has_a_name_keeps_it() -> None:
    named = stored("web-0", 1)
    assert apply_plan([], Plan((CreateSlice(named, ()),))) == (named,)


def _conflicts() -> Iterator[Any]:
    one, two = stored("web-0", 1), stored("web-0", 2)
    missing, moved = "is not there", "is not as it was when the plan was made"
    yield pytest.param([], update(one, two), missing, id="an update of a missing slice")
    yield pytest.param([], delete(one), missing, id="a delete of a missing slice")
    yield pytest.param([two], update(one, two), moved, id="an update of another content")
    yield pytest.param([two], delete(one), moved, id="a delete of another content")
    newer = with_meta(one, resource_version="newer")
    yield pytest.param([newer], update(one, two), moved, id="an update of another version")
    taken = CreateSlice(one, ())
    yield pytest.param([two], taken, "is there already", id="a create of a name that is taken")


@pytest.mark.parametrize(("current", "operation", "message"), list(_conflicts()))
def test_a_plan_that_does_not_fit_is_a_conflict(
    current: list[EndpointSlice], operation: Operation, message: str
) -> None:
    with pytest.raises(ConflictError) as caught:
        apply_plan(current, Plan((operation,)))
    assert caught.value == ConflictError("shop/web-0", message)


def test_equal_slices_are_as_good_as_the_very_same() -> None:
    one, two = stored("web-0", 1), stored("web-0", 2)
    assert apply_plan([pickle.loads(pickle.dumps(one))], Plan((update(one, two),))) == (two,)


def test_slices_of_one_name_in_two_namespaces_are_told_apart() -> None:
    here, there = stored("web-0", 1), stored("web-0", 1, namespace="elsewhere")
    assert apply_plan([here, there], Plan((delete(here),))) == (there,)


# --- check: every kind of mutation is caught --------------------------------------------------

#: Before and after of a plan with every kind of operation, one of which must wait for another.
BEFORE: Final = [
    stored("web-0", 1, 2, 3, 10),
    stored("web-1", 4, endpoint(5, 1), 9),
    stored("web-2", 6, ports=(HTTP_ALT,)),
    stored("web-3", 20),
    stored("web-4", 30, template=_stale()),
]
WANTED: Final = [group(1, 2, 3, 10, 4, 5, 20), group(7, kind=IPV6)]


def whole_plan() -> Plan:
    return plan_for(WANTED, BEFORE, strategy=MinimalWrites(merge=False))


def problems_with(plan: Plan, capacity: int = 3) -> tuple[str, ...]:
    return check_plan(plan, desired=WANTED, current=BEFORE, max_endpoints_per_slice=capacity)


def test_the_plan_to_be_mutated_is_sound_and_has_every_operation() -> None:
    plan = whole_plan()
    assert problems_with(plan) == ()
    assert [type(item).__name__[:6] for item in plan.operations] == [
        "Create",
        "Update",
        "Update",
        "Delete",
        "Delete",
    ]
    assert [item.name for item in plan.unchanged] == ["web-3"]
    # 10 moves from web-0 to web-1, which has the higher name.
    assert [item.before.name for item in plan.updates] == ["web-1", "web-0"]


@pytest.mark.parametrize("i", range(5))
def test_check_plan_tells_an_operation_that_is_missing(i: int) -> None:
    plan = whole_plan()
    less = plan.operations[:i] + plan.operations[i + 1 :]
    assert problems_with(attrs.evolve(plan, operations=less))


@pytest.mark.parametrize("i", range(5))
def test_check_plan_tells_an_operation_that_comes_twice(i: int) -> None:
    plan = whole_plan()
    more = (*plan.operations, plan.operations[i])
    assert problems_with(attrs.evolve(plan, operations=more))


def test_check_plan_tells_a_giver_that_is_written_before_the_taker() -> None:
    plan = whole_plan()
    a, b, c, d, e = plan.operations
    assert problems_with(attrs.evolve(plan, operations=(a, c, b, d, e))) == (
        f"update of 'web-0': {endpoint(10).key!r} is in no slice after it",
    )


def test_check_plan_lets_operations_change_places_that_do_not_touch_each_other() -> None:
    plan = whole_plan()
    a, b, c, d, e = plan.operations
    assert problems_with(attrs.evolve(plan, operations=(e, d, b, c, a))) == ()


def _mutated(change: Callable[[EndpointSlice], EndpointSlice], i: int = 1) -> Plan:
    plan = whole_plan()
    operation = plan.operations[i]
    assert operation.after is not None
    changed: Any = attrs.evolve(operation, after=change(operation.after))
    return attrs.evolve(plan, operations=(*plan.operations[:i], changed, *plan.operations[i + 1 :]))


def _relabelled(item: EndpointSlice, **labels: str) -> EndpointSlice:
    return with_meta(item, labels=FrozenDict({**item.metadata.labels, **labels}))


_MUTATIONS: Final[dict[str, tuple[Callable[[EndpointSlice], EndpointSlice], str]]] = {
    "drops an endpoint": (
        lambda item: attrs.evolve(item, endpoints=item.endpoints[1:]),
        "is there 0 times",
    ),
    "doubles an endpoint": (
        lambda item: attrs.evolve(item, endpoints=(*item.endpoints[:2], item.endpoints[0])),
        "is there 2 times",
    ),
    "changes content": (
        lambda item: attrs.evolve(item, endpoints=(endpoint(4, 3), *item.endpoints[1:])),
        "is not as desired",
    ),
    "invents an endpoint": (
        lambda item: attrs.evolve(item, endpoints=(endpoint(99), *item.endpoints[:2])),
        "which nobody wants",
    ),
    "changes the ports": (
        lambda item: attrs.evolve(item, ports=(HTTP_ALT,)),
        "is there 0 times",
    ),
    "holds too many": (
        lambda item: attrs.evolve(item, endpoints=(*item.endpoints, endpoint(21))),
        "holds 4 endpoints, more than 3",
    ),
    "drops the owner": (lambda item: with_meta(item, owner_references=()), "drops an owner"),
    "changes the owner": (
        lambda item: with_meta(item, owner_references=(OLD_OWNER,)),
        "drops an owner",
    ),
    "has two controllers": (
        lambda item: with_meta(item, owner_references=(OLD_OWNER, OWNER)),
        "gives it a second controller",
    ),
    "changes the manager": (
        lambda item: _relabelled(item, **{LABEL_MANAGED_BY: "me"}),
        "changes its manager to 'me'",
    ),
    "changes the name": (lambda item: with_meta(item, name="web-9"), "becomes shop/web-9"),
    "changes the namespace": (
        lambda item: with_meta(item, namespace="elsewhere"),
        "becomes elsewhere/web-1",
    ),
    "loses the version": (
        lambda item: with_meta(item, resource_version=""),
        "has resource version '', not that of before",
    ),
    "changes the address type": (
        lambda item: attrs.evolve(item, address_type=IPV6, endpoints=()),
        "changes its address type to IPv6",
    ),
}


@pytest.mark.parametrize("name", _MUTATIONS)
def test_check_plan_tells_an_update_that(name: str) -> None:
    change, told = _MUTATIONS[name]
    problems = problems_with(_mutated(change))
    assert any(told in problem for problem in problems), problems


def test_check_plan_tells_a_create_over_capacity() -> None:
    plan = _mutated(lambda item: attrs.evolve(item, endpoints=endpoints(7, 8, 9, 11, kind=IPV6)), 0)
    assert any(
        item == "create of 'web-': holds 4 endpoints, more than 3" for item in problems_with(plan)
    )


def test_check_plan_tells_content_that_only_exists_on_the_way() -> None:
    before, on_the_way = stored("web-0", 1), stored("web-0", endpoint(1, 3))
    there_and_back: list[Operation] = [update(before, on_the_way), update(on_the_way, before)]
    problems = problems_of(there_and_back, [group(1)], [before])
    assert problems == (
        f"update of 'web-0': {endpoint(1).key!r} has content of neither before nor after",
    )


def test_check_plan_tells_a_slice_that_does_not_stand_as_the_plan_says() -> None:
    one, two = stored("web-0", 1), stored("web-0", 2)
    assert problems_of([update(one, two)], [group(2)], [with_meta(one, uid="another")]) == (
        "update of 'web-0': the slice does not stand as the plan says",
    )
    assert "delete of 'web-0': the slice does not stand as the plan says" in problems_of(
        [delete(one)], [], []
    )


def test_check_plan_tells_a_slice_taken_from_another_owner_of_the_same_kind() -> None:
    ours = stored("web-1", 2)
    before = stored("web-0", 1, owner_references=(attrs.evolve(OLD_OWNER, controller=None),))
    after = with_meta(before, owner_references=(*before.metadata.owner_references, OWNER))
    assert problems_of([update(before, after)], [group(1, 2)], [before, ours], (ours,)) == (
        "update of 'web-0': takes a slice of another owner of the same kind",
    )


def test_check_plan_lets_a_slice_of_one_owner_have_the_other_of_two() -> None:
    template = SliceTemplate(
        metadata=attrs.evolve(TEMPLATE.metadata, owner_references=(OWNER, SAME_KIND))
    )
    current = [stored("web-0", 1), stored("web-1", 2, owner_references=(SAME_KIND,))]
    plan = plan_for([group(1, 2)], current, template=template)
    assert plan.updates
    assert problems_of(list(plan.operations), [group(1, 2)], current, plan.unchanged) == ()


@pytest.mark.parametrize(
    "foreign",
    [
        stored("db-0", 7, labels={"kubernetes.io/service-name": "db"}),
        stored("web-9", 7, labels={LABEL_MANAGED_BY: "somebody.example.com"}),
        stored("web-9", 7, namespace="elsewhere"),
        stored("web-9", 7, deletion_timestamp="2026-07-01T00:00:00Z"),
    ],
    ids=["another Service", "another manager", "another namespace", "pending deletion"],
)
def test_check_plan_tells_a_slice_that_is_none_of_ours(foreign: EndpointSlice) -> None:
    ours = stored("web-0", 1)
    current = [ours, foreign]
    assert problems_of([], [group(1)], current, (ours,)) == ()
    assert problems_of([delete(foreign)], [group(1)], current, (ours,))
    assert problems_of([update(foreign, foreign)], [group(1)], current, (ours,))


def test_check_plan_says_that_a_slice_pending_deletion_is_somebody_elses() -> None:
    ours, dying = stored("web-0", 1), stored("web-1", 2, deletion_timestamp="now")
    assert problems_of([delete(dying)], [group(1)], [ours, dying], (ours,)) == (
        "delete of 'web-1': the slice belongs to somebody else, or is pending deletion",
    )


def test_check_plan_takes_slices_without_a_namespace_for_ours() -> None:
    ours, nowhere = stored("web-0", 1), stored("web-1", 2, namespace="")
    assert problems_of([], [group(1, 2)], [ours, nowhere], (ours, nowhere)) == ()


def test_check_plan_tells_an_endpoint_that_a_written_slice_shares_with_one_that_is_not() -> None:
    left_alone, before = stored("web-0", 1), stored("web-1", 2)
    after = stored("web-1", 1, 2)
    assert problems_of([update(before, after)], [group(1, 2)], [left_alone, before]) == (
        f"after the plan: {endpoint(1).key!r} is there 2 times",
    )


def test_check_plan_tells_what_is_wrong_in_slices_that_nobody_writes() -> None:
    right, twice, old = stored("web-0", 1), stored("web-1", 1), stored("web-2", endpoint(2, 1))
    unwanted, before = stored("web-3", 3), stored("web-4", 4)
    current = [right, twice, old, unwanted, before]
    written: list[Operation] = [update(before, stored("web-4", 5))]
    assert problems_of(written, [group(1, 2, 5)], current) == (
        f"after the plan: {endpoint(1).key!r} is there 2 times",
        f"after the plan: {endpoint(2).key!r} is not as desired",
        f"after the plan: {endpoint(3).key!r} is there, which nobody wants",
    )


def test_check_plan_tells_what_is_missing_from_a_plan_without_operations() -> None:
    assert problems_of([], [group(1)], []) == (
        f"after the plan: {endpoint(1).key!r} is there 0 times",
    )
    assert problems_of([], [group(ports=())], []) == ("after the plan: IPv4 has no placeholder",)
    assert problems_of([], [group()], []) == ()


def test_check_plan_tells_a_black_hole_between_groups() -> None:
    """Endpoints change ports crosswise: with other ports each is another backend."""
    current = [stored("a-1", 1, 2, 3), stored("a-2", 4), stored("b-1", 5, ports=(HTTP_ALT,))]
    desired = [group(1, 2, 3, 5), group(4, ports=(HTTP_ALT,))]
    for strategy in (MinimalWrites(), MinimalWrites(merge=False)):
        plan = plan_for(desired, current, strategy=strategy, max_endpoints_per_slice=2)
        assert problems_of(list(plan.operations), desired, current, plan.unchanged, 2) == ()


# --- price and explanations -------------------------------------------------------------------


def test_a_plan_costs_what_its_operations_send() -> None:
    plan = whole_plan()
    sent: list[Any] = [item.after or item.before for item in plan.operations]
    cost = price_plan(plan)
    assert cost == Cost(
        creates=1,
        updates=2,
        deletes=2,
        bytes_written=sum(map(protobuf_size, sent)),
        endpoints_added=1,
        endpoints_removed=3,
        endpoints_changed=1,
        endpoints_moved=1,
    )
    assert cost.writes == 5
    assert cost.bytes_on_wire(10) == 10 * cost.bytes_written
    assert price_plan(Plan()) == Cost()
    assert cost + Cost() == cost
    assert (cost + cost).writes == 10
    with pytest.raises(TypeError):
        cost + 1  # type: ignore[operator]


def test_explanations_say_who_comes_goes_changes_and_moves() -> None:
    created, taker, giver, gone, stale = explain_plan(whole_plan())
    assert created.key == group_key(HTTP, kind=IPV6)
    assert created.added == endpoints(7, kind=IPV6)
    assert created.reasons == (Reason.ENDPOINTS_ADDED,)
    assert taker.removed == endpoints(9)
    assert taker.changed == ((endpoint(5, 1), endpoint(5)),)
    assert taker.moved_in == ((endpoint(10), "web-0"),)
    assert taker.reasons == (
        Reason.ENDPOINTS_CHANGED,
        Reason.ENDPOINTS_REMOVED,
        Reason.ENDPOINTS_MOVED_IN,
    )
    assert giver.moved_out == endpoints(10)
    assert not any((giver.added, giver.removed, giver.changed, giver.moved_in))
    assert gone.key == group_key(HTTP_ALT)
    assert gone.removed == endpoints(6)
    assert stale.operation.before == BEFORE[-1]
    assert stale.removed == endpoints(30)


def test_an_endpoint_that_moves_and_changes_is_told_as_both() -> None:
    current = [stored("web-0", 1, 2, endpoint(3, 1)), stored("web-1", 4, 9)]
    plan = plan_for([group(1, 2, 3, 4)], current, max_endpoints_per_slice=2)
    taker, giver = explain_plan(plan)
    assert taker.moved_in == ((endpoint(3), "web-0"),)
    assert taker.changed == ((endpoint(3, 1), endpoint(3)),)
    assert giver.moved_out == (endpoint(3, 1),)


def test_a_recycled_slice_loses_what_it_held_and_gains_what_it_holds() -> None:
    current = [stored("web-0", 1, 2)]
    (told,) = explain_plan(plan_for([group(3, 2, ports=(HTTP_ALT,))], current[:1]))
    # With other ports, 2 is another backend.
    assert told.key == group_key(HTTP_ALT)
    assert told.added == endpoints(2, 3)
    assert told.removed == endpoints(1, 2)
    assert not any((told.changed, told.moved_in, told.moved_out))
    (told,) = explain_plan(plan_for([group(3, ports=(HTTP_ALT,))], current[:1]))
    assert Reason.RECYCLED in told.reasons
    assert told.added == endpoints(3)
    assert told.removed == endpoints(1, 2)


def test_an_adopted_slice_says_that_its_ports_change() -> None:
    plan = plan_for([group(1, 2, ports=(HTTP_ALT,))], [stored("web-0", 1, 2)])
    (told,) = explain_plan(plan)
    assert told.reasons == (Reason.PORTS_CHANGED,)
    assert told.added == told.removed == endpoints(1, 2)


def test_what_a_recycled_slice_held_may_be_elsewhere_in_its_group() -> None:
    current = [stored("web-0", 1, 2), stored("web-1", endpoint(1, 1), 9, 8)]
    plan = plan_for([group(1, 2), group(5, ports=(HTTP_ALT,))], current, max_endpoints_per_slice=2)
    (told,) = explain_plan(plan)
    assert told.reasons[-1] is Reason.RECYCLED
    assert told.moved_out == (endpoint(1, 1),)
    assert told.removed == endpoints(9, 8)
    assert told.added == endpoints(5)


# --- an owner that is being deleted -----------------------------------------------------------


def test_a_plan_without_creates_is_the_same_plan_if_it_has_none() -> None:
    plan = plan_for([group(1)], [stored("web-0", 2)])
    assert without_creates(plan) is plan


def test_without_creates_new_endpoints_are_left_out_and_the_rest_is_written() -> None:
    current = [stored("web-0", endpoint(1, 1))]
    plan = without_creates(plan_for([group(1), group(2, kind=IPV6)], current))
    assert [type(item) for item in plan.operations] == [UpdateSlice]
    assert plan.minimum_writes == 1


def test_without_creates_nobody_gives_endpoints_to_a_slice_that_never_comes() -> None:
    current = [stored("web-0", 1, 2, 3), stored("web-1", 4, 5)]
    whole = plan_for([group(1, 2, 3, 4, 5)], current, max_endpoints_per_slice=2)
    assert [type(item) for item in whole.operations] == [CreateSlice, UpdateSlice]
    plan = without_creates(whole)
    assert plan == Plan((), tuple(current), 0)


def test_without_creates_the_giver_to_an_update_that_falls_away_stays_too() -> None:
    current = [stored("web-0", endpoint(1, 1)), stored("web-1", endpoint(2, 1))]

    def rotate(diff: Diff) -> Packing:
        first, second = diff.dirty
        return Packing(
            (
                Placement("", (), first.endpoints),
                Placement(first.name, (), second.endpoints),
                Placement(second.name),
            )
        )

    plan = without_creates(plan_for([group(1, 2)], current, strategy=Fixed(rotate)))
    assert plan == Plan((), tuple(current), 0)


def test_kubernetes_packing_recycles_what_it_would_delete() -> None:
    current = [stored("web-0", 9), stored("web-1", 8, ports=(HTTP_ALT,))]
    plan = plan_for([group(1)], current, strategy=KubernetesPacking())
    assert [(type(item), item.before and item.before.name) for item in plan.operations] == [
        (UpdateSlice, "web-0"),
        (DeleteSlice, "web-1"),
    ]
