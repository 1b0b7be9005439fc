"""What an answer means, one by one: a client of one's own says what the server says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf, nan
from typing import Any, Final

import attrs
import pytest

from endpointslice import (
    LABEL_SERVICE_NAME,
    CreateSlice,
    DeleteSlice,
    EndpointSlice,
    FrozenDict,
    ModelError,
    Operation,
    Plan,
    SliceTracker,
    UpdateSlice,
    encode_slice,
    price_plan,
    reconcile,
)
from endpointslice.clients import (
    Answer,
    ApplyResult,
    OperationResult,
    Outcome,
    RetryPolicy,
    SliceRequest,
    Verb,
    apply_plan_to,
    apply_plan_to_async,
    list_slices,
    list_slices_async,
)
from endpointslice.clients.wire import answer_of
from endpointslice.errors import ApiError, ApplyError
from tests.builders import IPV6, OLD_OWNER, TEMPLATE, group, stored

SURE: Final = RetryPolicy(random=lambda: 0.5)
LOST: Final = Answer(status=0, error="RemoteDisconnected")


def failure(status: int, reason: str = "", message: str = "", **details: Any) -> Answer:
    body = {"kind": "Status", "reason": reason, "message": message, "details": details}
    return Answer(status=status, body=body)


def missing(name: str) -> Answer:
    return failure(404, "NotFound", f"{name} not found", name=name, kind="endpointslices")


def busy(retry_after: float | None = None) -> Answer:
    return attrs.evolve(failure(429, "TooManyRequests"), retry_after=retry_after)


def shown(item: EndpointSlice, **meta: Any) -> Answer:
    """A slice as the server shows it."""
    item = attrs.evolve(item, metadata=attrs.evolve(item.metadata, **meta))
    return Answer(status=200, body=encode_slice(item))


def listed(*items: EndpointSlice, token: str = "", version: str = "7") -> Answer:
    meta = {"continue": token, "resourceVersion": version}
    return Answer(status=200, body={"metadata": meta, "items": [encode_slice(i) for i in items]})


@attrs.define
class Script:
    """A client that gives the answers of a list, and keeps what it was asked."""

    answers: list[Answer | Callable[[SliceRequest], Answer]]
    requests: list[SliceRequest] = attrs.Factory(list)
    waits: list[float] = attrs.Factory(list)

    def send(self, request: SliceRequest) -> Answer:
        self.requests.append(request)
        answer = self.answers.pop(0)
        return answer(request) if callable(answer) else answer

    @property
    def verbs(self) -> list[str]:
        return [str(request.verb) for request in self.requests]


@attrs.define
class AsyncScript:
    """The same with `async`."""

    script: Script

    async def send(self, request: SliceRequest) -> Answer:
        await asyncio.sleep(0)
        return self.script.send(request)


def carried_out(script: Script, plan: Plan, **options: Any) -> ApplyResult:
    """What both doors make of a script, which must be the same."""
    options = {"retry": SURE, **options}
    other = Script(list(script.answers))

    async def sleep(seconds: float) -> None:
        other.waits.append(seconds)

    there = asyncio.run(apply_plan_to_async(AsyncScript(other), plan, sleep=sleep, **options))
    here = apply_plan_to(script, plan, sleep=script.waits.append, **options)
    assert here == there
    assert (script.requests, script.waits, script.answers) == (
        other.requests,
        other.waits,
        other.answers,
    )
    assert script.answers == []
    return here


def accepted(request: SliceRequest) -> Answer:
    """The server does what it is asked."""
    manifest = dict(request.manifest or {})
    meta = dict(manifest.get("metadata", {}))
    meta.setdefault("name", f"{meta.get('generateName', '')}x7k2p")
    meta.update(uid="uid-new", resourceVersion="100", generation=2)
    return Answer(status=201, body={**manifest, "metadata": meta})


DELETED: Final = Answer(status=200, body={"kind": "Status", "status": "Success"})

BEFORE: Final = stored("web-a", 1, 2, uid="uid-a")
AFTER: Final = stored("web-a", 2, 3, uid="uid-a")
NEW: Final = attrs.evolve(stored("", 9), metadata=attrs.evolve(TEMPLATE.metadata))
CREATE: Final = CreateSlice(NEW, ())
UPDATE: Final = UpdateSlice(BEFORE, AFTER, ())
DELETE: Final = DeleteSlice(stored("web-z", 8, uid="uid-z"), ())


def plan_of(*operations: Operation) -> Plan:
    return Plan(operations)


def outcomes(result: ApplyResult) -> list[str]:
    return [str(item.outcome) for item in result.results]


# --- what is sent -----------------------------------------------------------------------------


def test_operations_are_sent_in_the_order_of_the_plan() -> None:
    script = Script([accepted, accepted, DELETED])
    result = carried_out(script, plan_of(CREATE, UPDATE, DELETE))
    assert result.is_complete
    assert not result.is_stale
    assert result.not_done == ()
    assert script.requests == [
        SliceRequest(verb=Verb.CREATE, namespace="shop", manifest=encode_slice(NEW)),
        SliceRequest(
            verb=Verb.UPDATE, namespace="shop", name="web-a", manifest=encode_slice(AFTER)
        ),
        SliceRequest(
            verb=Verb.DELETE,
            namespace="shop",
            name="web-z",
            uid="uid-z",
            resource_version="rv-web-z",
        ),
    ]
    assert result.requests == 3
    assert result.retries == 0
    assert script.waits == []
    assert result.written == plan_of(CREATE, UPDATE, DELETE)
    assert result.cost == price_plan(plan_of(CREATE, UPDATE, DELETE))
    assert result.outcomes == {Outcome.APPLIED: 3}
    result.raise_for_failure()


def test_an_empty_plan_sends_nothing() -> None:
    script = Script([])
    assert carried_out(script, Plan()) == ApplyResult()
    assert ApplyResult().is_complete


def test_what_is_stored_has_the_name_and_the_versions_that_the_server_gave() -> None:
    result = carried_out(Script([accepted, accepted]), plan_of(CREATE, UPDATE))
    created, updated = (item.stored for item in result.results)
    assert created is not None
    assert updated is not None
    assert created.name == f"{NEW.metadata.generate_name}x7k2p"
    assert (created.metadata.uid, created.metadata.resource_version) == ("uid-new", "100")
    assert updated.endpoints == AFTER.endpoints
    assert updated.metadata.generation == 2
    tracker = result.tracked(SliceTracker())
    assert tracker.is_stale([BEFORE])
    assert not tracker.is_stale([created, updated])


def test_what_the_server_makes_of_a_slice_is_read_from_its_answer() -> None:
    def changed(request: SliceRequest) -> Answer:
        answer = accepted(request)
        return attrs.evolve(answer, body={**answer.body, "endpoints": []})

    def odd(request: SliceRequest) -> Answer:
        answer = accepted(request)
        return attrs.evolve(answer, body={**answer.body, "endpoints": 7})

    def nameless(request: SliceRequest) -> Answer:
        answer = accepted(request)
        return attrs.evolve(answer, body={**answer.body, "metadata": {"labels": 7}})

    script = Script([changed, odd, nameless])
    result = carried_out(script, plan_of(CREATE, CREATE, CREATE))
    first, second, third = (item.stored for item in result.results)
    assert first is not None
    assert first.endpoints == ()
    assert first.metadata.uid == "uid-new"
    assert (second, third) == (None, None)
    assert result.tracked(SliceTracker()).is_stale([first]) is False


def test_options_go_with_every_request() -> None:
    script = Script([accepted, accepted, DELETED])
    result = carried_out(
        script, plan_of(CREATE, UPDATE, DELETE), field_manager="vm-controller", dry_run=True
    )
    assert all(request.dry_run for request in script.requests)
    assert [r.field_manager for r in script.requests] == ["vm-controller", "vm-controller", ""]
    assert result.dry_run
    assert result.is_complete
    assert result.written == Plan()
    tracker = SliceTracker()
    assert result.tracked(tracker) is tracker


def test_server_side_apply_takes_the_place_of_update() -> None:
    before, after = (
        attrs.evolve(item, metadata=attrs.evolve(item.metadata, extra={"managedFields": []}))
        for item in (BEFORE, AFTER)
    )
    script = Script([accepted, accepted])
    options = {"server_side": True, "force_conflicts": True, "field_manager": "vm-controller"}
    carried_out(script, plan_of(CREATE, UpdateSlice(before, after, ())), **options)
    create, apply = script.requests
    assert (create.verb, create.force) == (Verb.CREATE, False)
    assert (apply.verb, apply.force, apply.name) == (Verb.APPLY, True, "web-a")
    assert apply.manifest == encode_slice(AFTER)


def test_an_older_copy_is_not_relied_upon_where_its_slice_was_not_written() -> None:
    """9 is to stay in web-a, written anew, and to leave web-b, whose copy is the newer one."""
    operations: list[Operation] = [
        CreateSlice(elsewhere(stored("", 2), name="web-c", resource_version=""), ()),
        UpdateSlice(stored("web-a", 1, 2, 9), stored("web-a", 1, 9), ()),
        DeleteSlice(stored("web-b", 9), ()),
    ]
    result = carried_out(Script([failure(422)]), plan_of(*operations))
    assert outcomes(result) == ["refused", "skipped", "skipped"]


def labelled(item: EndpointSlice, **labels: str) -> EndpointSlice:
    return elsewhere(item, labels=FrozenDict({**item.metadata.labels, **labels}))


def test_labels_that_go_are_not_left_to_server_side_apply() -> None:
    script = Script([accepted, accepted, accepted])
    operations = [
        UpdateSlice(labelled(BEFORE, tier="front"), AFTER, ()),
        UpdateSlice(elsewhere(BEFORE, annotations=FrozenDict(note="x")), AFTER, ()),
        UpdateSlice(BEFORE, labelled(AFTER, tier="front"), ()),
    ]
    carried_out(script, plan_of(*operations), server_side=True, field_manager="vm-controller")
    assert script.verbs == ["update", "update", "apply"]
    assert script.requests[0].manifest == encode_slice(AFTER)


def test_an_operation_is_told_as_soon_as_it_is_known() -> None:
    told: list[OperationResult] = []
    script = Script([accepted, failure(409), shown(BEFORE, resource_version="other")])
    result = apply_plan_to(script, plan_of(CREATE, UPDATE, DELETE), on_operation=told.append)
    assert tuple(told) == result.results
    assert outcomes(result) == ["applied", "conflict", "skipped"]


# --- what the door refuses --------------------------------------------------------------------


def elsewhere(item: EndpointSlice, **meta: Any) -> EndpointSlice:
    return attrs.evolve(item, metadata=attrs.evolve(item.metadata, **meta))


def update_of(**meta: Any) -> UpdateSlice:
    return UpdateSlice(elsewhere(BEFORE, **meta), elsewhere(AFTER, **meta), ())


@pytest.mark.parametrize(
    ("operations", "options", "field"),
    [
        ([UPDATE], {"namespace": "bank"}, "plan.operations[0].before.metadata.namespace"),
        (
            [CREATE, update_of(namespace="bank")],
            {},
            "plan.operations[1].before.metadata.namespace",
        ),
        ([update_of(namespace="")], {}, "plan.operations[0].before.metadata.namespace"),
        ([update_of(namespace="../x")], {}, "plan.operations[0].before.metadata.namespace"),
        ([update_of(namespace="a" * 64)], {}, "plan.operations[0].before.metadata.namespace"),
        (
            [update_of(resource_version="")],
            {},
            "plan.operations[0].before.metadata.resource_version",
        ),
        ([update_of(name="")], {}, "plan.operations[0].before.metadata.name"),
        ([update_of(name="a/../b")], {}, "plan.operations[0].before.metadata.name"),
        ([update_of(name="a%2fb")], {}, "plan.operations[0].before.metadata.name"),
        ([update_of(name="a" * 254)], {}, "plan.operations[0].before.metadata.name"),
        (
            [CreateSlice(elsewhere(NEW, name="a?b"), ())],
            {},
            "plan.operations[0].after.metadata.name",
        ),
        *(
            (
                [UPDATE, CreateSlice(elsewhere(NEW, generate_name=prefix), ())],
                {"naming": "deterministic"},
                "plan.operations[1].after.metadata.generate_name",
            )
            for prefix in ("Web-", "web..", "-web", "wéb-", "../web", "web\n", "w" * 253)
        ),
        (
            [UPDATE, CreateSlice(elsewhere(NEW, labels={LABEL_SERVICE_NAME: "a,b"}), ())],
            {},
            LABEL_SERVICE_NAME,
        ),
        ([UPDATE], {"naming": "random"}, "naming"),
        ([UPDATE], {"server_side": True}, "field_manager"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_before_anything_is_sent(
    operations: list[Operation], options: dict[str, Any], field: str
) -> None:
    script = Script([])
    with pytest.raises(ModelError) as caught:
        apply_plan_to(script, plan_of(*operations), **options)
    assert caught.value.field == field
    assert script.requests == []
    with pytest.raises(ModelError, match=caught.value.message):
        asyncio.run(apply_plan_to_async(AsyncScript(script), plan_of(*operations), **options))
    assert script.requests == []


@pytest.mark.parametrize("verb", [Verb.UPDATE, Verb.APPLY, Verb.DELETE, Verb.GET])
def test_a_request_about_a_slice_has_its_name(verb: Verb) -> None:
    with pytest.raises(ModelError) as caught:
        SliceRequest(verb=verb, namespace="shop")
    assert caught.value.field == "name"


@pytest.mark.parametrize("value", [0, -1, inf, nan])
@pytest.mark.parametrize("field", ["attempts", "first_wait", "longest_wait"])
def test_a_retry_policy_has_only_numbers_above_0(field: str, value: float) -> None:
    with pytest.raises(ModelError) as caught:
        RetryPolicy(**{field: value})  # type: ignore[arg-type]
    assert caught.value == ModelError(field, "must be above 0, and finite", value)


# --- conflicts --------------------------------------------------------------------------------


def test_a_slice_that_others_have_written_is_a_conflict_and_stops_the_plan() -> None:
    theirs = stored("web-a", 1, uid="uid-a", generation=3)
    theirs = elsewhere(theirs, resource_version="other")
    script = Script([failure(409, "Conflict", "has been modified"), shown(theirs)])
    result = carried_out(script, plan_of(UPDATE, DELETE))
    assert script.verbs == ["update", "get"]
    assert outcomes(result) == ["conflict", "skipped"]
    first, second = result.results
    assert (first.status, first.reason, first.message) == (409, "Conflict", "has been modified")
    assert first.stored == theirs
    assert first.requests == 2
    assert second.requests == 0
    assert result.is_stale
    assert not result.is_complete
    assert result.written == Plan()
    with pytest.raises(ApplyError) as caught:
        result.raise_for_failure()
    assert caught.value == ApplyError(
        (
            "update of shop/web-a: conflict (409 Conflict): has been modified",
            "delete of shop/web-z: skipped: because of update of shop/web-a: conflict",
        ),
        2,
    )
    assert str(caught.value).count("\n") == 2


def test_an_update_of_a_slice_that_is_gone_is_a_conflict() -> None:
    result = carried_out(Script([missing("web-a")]), plan_of(UPDATE))
    assert outcomes(result) == ["conflict"]
    assert result.results[0].stored is None


def test_a_slice_that_is_gone_when_it_is_read_back_is_a_conflict() -> None:
    result = carried_out(Script([failure(409), missing("web-a")]), plan_of(UPDATE))
    assert outcomes(result) == ["conflict"]


def test_an_update_that_another_replica_has_made_is_found() -> None:
    script = Script([failure(409), shown(AFTER, resource_version="other", generation=7)])
    result = carried_out(script, plan_of(UPDATE))
    assert outcomes(result) == ["found"]
    assert result.is_complete
    found = result.results[0].stored
    assert found is not None
    assert found.metadata.resource_version == "other"
    assert str(result.results[0]) == "update of shop/web-a: found"


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {}},
        {"annotations": {}},
        {"owner_references": ()},
        {"deletion_timestamp": "2026-11-24T00:00:00Z"},
    ],
)
def test_an_update_is_not_found_in_a_slice_that_lacks_anything_of_it(
    change: dict[str, Any],
) -> None:
    before, after = (elsewhere(item, annotations={"note": "x"}) for item in (BEFORE, AFTER))
    script = Script([failure(409), shown(after, resource_version="other", **change)])
    result = carried_out(script, plan_of(UpdateSlice(before, after, ())))
    assert outcomes(result) == ["conflict"]


@pytest.mark.parametrize("what", ["labels", "annotations"])
def test_an_update_is_not_found_while_what_it_was_to_take_away_still_stands(what: str) -> None:
    before = elsewhere(AFTER, **{what: {**getattr(AFTER.metadata, what), "old": "x"}})
    plan = plan_of(UpdateSlice(before, AFTER, ()))
    undone = Script([LOST, shown(before), accepted])
    assert outcomes(carried_out(undone, plan)) == ["applied"]
    overtaken = Script([failure(409), shown(before, resource_version="other")])
    assert outcomes(carried_out(overtaken, plan)) == ["conflict"]
    # What others add is theirs.
    added = {what: {**getattr(AFTER.metadata, what), "new": "x"}}
    done = Script([LOST, shown(AFTER, resource_version="other", **added)])
    assert outcomes(carried_out(done, plan)) == ["found"]


def test_a_conflict_with_something_else_is_tried_again() -> None:
    script = Script([failure(409, "Conflict"), shown(BEFORE), accepted])
    result = carried_out(script, plan_of(UPDATE))
    assert outcomes(result) == ["applied"]
    assert script.verbs == ["update", "get", "update"]
    assert script.waits == [0.125]
    assert result.retries == 1
    assert result.waited == 0.125


def test_a_conflict_that_stays_is_given_up() -> None:
    script = Script([failure(409, "Conflict"), shown(BEFORE)] * 2)
    result = carried_out(
        script, plan_of(UPDATE, DELETE), retry=RetryPolicy(attempts=2, random=lambda: 0.5)
    )
    assert outcomes(result) == ["failed", "skipped"]


def test_a_conflict_whose_cause_cannot_be_read_stops_the_plan() -> None:
    script = Script([failure(409, "Conflict"), failure(403, "Forbidden")])
    result = carried_out(script, plan_of(UPDATE, DELETE))
    assert outcomes(result) == ["conflict", "skipped"]
    assert result.results[0].stored is None


def test_a_slice_that_cannot_be_understood_is_a_conflict() -> None:
    odd = Answer(status=200, body={"metadata": {"name": 7}})
    result = carried_out(Script([failure(409), odd]), plan_of(UPDATE))
    assert outcomes(result) == ["conflict"]


def test_fields_that_others_own_are_a_refusal_for_this_slice_alone() -> None:
    conflict = failure(409, "Conflict", causes=[{"reason": "FieldManagerConflict"}])
    script = Script([conflict, DELETED])
    result = carried_out(
        script, plan_of(UPDATE, DELETE), server_side=True, field_manager="vm-controller"
    )
    assert outcomes(result) == ["refused", "applied"]


def test_a_delete_of_what_is_gone_is_done() -> None:
    result = carried_out(Script([missing("web-z")]), plan_of(DELETE))
    assert outcomes(result) == ["found"]
    assert result.written == plan_of(DELETE)


@pytest.mark.parametrize(
    "change", [{"uid": "uid-other"}, {"deletion_timestamp": "2026-11-24T00:00:00Z"}]
)
def test_a_delete_is_done_if_its_slice_is_gone_or_going(change: dict[str, Any]) -> None:
    answer = shown(DELETE.before, resource_version="other", **change)
    result = carried_out(Script([failure(409), answer]), plan_of(DELETE))
    assert outcomes(result) == ["found"]
    assert result.results[0].stored is None


def test_a_delete_of_a_slice_that_others_have_written_is_a_conflict() -> None:
    answer = shown(DELETE.before, resource_version="other")
    result = carried_out(Script([failure(409), answer]), plan_of(DELETE))
    assert outcomes(result) == ["conflict"]
    nameless = DeleteSlice(elsewhere(DELETE.before, uid=""), ())
    result = carried_out(Script([failure(409), answer]), plan_of(nameless))
    assert outcomes(result) == ["conflict"]


# --- creates ----------------------------------------------------------------------------------


def test_a_name_that_the_server_made_and_is_taken_is_made_again() -> None:
    script = Script([failure(409, "AlreadyExists"), accepted])
    result = carried_out(script, plan_of(CREATE))
    assert outcomes(result) == ["applied"]
    assert script.verbs == ["create", "create"]


def test_a_conflict_of_a_quota_with_itself_is_tried_again() -> None:
    script = Script([failure(409, "Conflict", "resourcequotas"), accepted])
    assert outcomes(carried_out(script, plan_of(CREATE))) == ["applied"]


def test_names_can_be_deterministic() -> None:
    first, second = Script([accepted, accepted]), Script([accepted, accepted])
    plan = plan_of(CREATE, CREATE)
    carried_out(first, plan, naming="deterministic")
    carried_out(second, plan, naming="deterministic")
    assert first.requests == second.requests
    names = [request.name for request in first.requests]
    assert len(set(names)) == 2
    prefix = NEW.metadata.generate_name
    assert all(name.startswith(prefix) and len(name) == len(prefix) + 10 for name in names)
    assert [r.manifest["metadata"]["name"] for r in first.requests if r.manifest] == names


def test_a_deterministic_name_is_the_first_that_no_slice_of_the_plan_has() -> None:
    (first, second) = Script([accepted, accepted]), Script([accepted])
    carried_out(first, plan_of(CREATE, CREATE), naming="deterministic")
    names = [request.name for request in first.requests]
    plan = Plan((CREATE,), (stored(names[0], 5),))
    carried_out(second, plan, naming="deterministic")
    assert [request.name for request in second.requests] == names[1:]


def test_a_deterministic_name_depends_on_owner_and_group_and_not_on_content() -> None:
    other_ports = attrs.evolve(NEW, ports=())
    other_family = attrs.evolve(stored("", kind=IPV6), metadata=NEW.metadata)
    other_service = elsewhere(
        NEW, labels={**NEW.metadata.labels, "kubernetes.io/service-name": "api"}
    )
    other_owner = elsewhere(NEW, owner_references=(OLD_OWNER,))
    same = attrs.evolve(NEW, endpoints=stored("", 1, 2).endpoints)
    names = []
    for after in (NEW, other_ports, other_family, other_service, other_owner, same):
        script = Script([accepted])
        carried_out(script, plan_of(CreateSlice(after, ())), naming="deterministic")
        names += [script.requests[0].name]
    assert len(set(names)) == 5
    assert names[0] == names[5]


def test_a_deterministic_name_is_no_longer_than_a_generated_one() -> None:
    script = Script([accepted])
    create = CreateSlice(elsewhere(NEW, generate_name="a" * 200), ())
    carried_out(script, plan_of(create), naming="deterministic")
    assert len(script.requests[0].name) == 63


def test_a_name_of_ones_own_is_kept() -> None:
    script = Script([accepted])
    carried_out(
        script, plan_of(CreateSlice(elsewhere(NEW, name="mine"), ())), naming="deterministic"
    )
    assert script.requests[0].name == "mine"


def test_a_create_that_another_replica_has_made_is_found() -> None:
    def theirs(request: SliceRequest) -> Answer:
        return shown(NEW, name=request.name, uid="uid-b", resource_version="5")

    script = Script([failure(409, "AlreadyExists"), theirs])
    result = carried_out(script, plan_of(CREATE), naming="deterministic")
    assert outcomes(result) == ["found"]
    assert script.verbs == ["create", "get"]
    found = result.results[0].stored
    assert found is not None
    assert found.metadata.uid == "uid-b"


def test_a_slice_of_ours_under_the_name_that_holds_something_else_is_a_conflict() -> None:
    def theirs(request: SliceRequest) -> Answer:
        return shown(attrs.evolve(NEW, endpoints=()), name=request.name, resource_version="5")

    script = Script([failure(409, "AlreadyExists"), theirs])
    result = carried_out(script, plan_of(CREATE, DELETE), naming="deterministic")
    assert outcomes(result) == ["conflict", "skipped"]
    assert result.is_stale


@pytest.mark.parametrize("change", [{"labels": {}}, {"deletion_timestamp": "2026-11-24T00:00:00Z"}])
def test_a_name_that_others_have_is_passed_over(change: dict[str, Any]) -> None:
    def theirs(request: SliceRequest) -> Answer:
        return shown(NEW, name=request.name, resource_version="5", **change)

    script = Script([failure(409, "AlreadyExists"), theirs, accepted])
    result = carried_out(script, plan_of(CREATE), naming="deterministic")
    assert outcomes(result) == ["applied"]
    first, _, second = (request.name for request in script.requests)
    assert first != second
    assert script.waits == []


def test_names_are_not_passed_over_for_ever() -> None:
    def theirs(request: SliceRequest) -> Answer:
        return shown(NEW, name=request.name, labels={}, resource_version="5")

    script = Script([failure(409, "AlreadyExists"), theirs] * 100)
    result = carried_out(script, plan_of(CREATE), naming="deterministic")
    assert outcomes(result) == ["conflict"]
    assert result.requests == 200


# --- lost answers -----------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [LOST, failure(408), failure(500), failure(503), failure(504)])
def test_an_update_whose_answer_was_lost_is_found_out_by_reading_back(lost: Answer) -> None:
    done = Script([lost, shown(AFTER, resource_version="8")])
    assert outcomes(carried_out(done, plan_of(UPDATE))) == ["found"]
    undone = Script([lost, shown(BEFORE), accepted])
    assert outcomes(carried_out(undone, plan_of(UPDATE))) == ["applied"]
    assert undone.verbs == ["update", "get", "update"]
    assert len(undone.waits) == 1
    overtaken = Script([lost, shown(stored("web-a", 4), resource_version="8")])
    assert outcomes(carried_out(overtaken, plan_of(UPDATE))) == ["conflict"]


def test_a_slice_that_nobody_has_written_is_not_found_as_wanted() -> None:
    """It has all labels that are wanted, and one that is to go."""
    before = labelled(BEFORE, tier="front")
    script = Script([LOST, shown(before), accepted])
    result = carried_out(script, plan_of(UpdateSlice(before, BEFORE, ())))
    assert outcomes(result) == ["applied"]
    assert script.verbs == ["update", "get", "update"]


def test_a_delete_whose_answer_was_lost_is_found_out_by_reading_back() -> None:
    done = Script([LOST, missing("web-z")])
    assert outcomes(carried_out(done, plan_of(DELETE))) == ["found"]
    undone = Script([LOST, shown(DELETE.before), DELETED])
    assert outcomes(carried_out(undone, plan_of(DELETE))) == ["applied"]


def test_a_create_whose_answer_was_lost_is_looked_for_among_the_slices_of_the_service() -> None:
    known = stored("web-known", 9)
    found = elsewhere(NEW, name="web-new", uid="uid-n")
    script = Script([LOST, listed(known, found)])
    plan = Plan((CREATE, UpdateSlice(stored("web-known", 1), known, ())), ())
    script.answers.append(accepted)
    result = carried_out(script, plan)
    assert outcomes(result) == ["found", "applied"]
    assert result.results[0].stored == found
    assert script.requests[1] == SliceRequest(
        verb=Verb.LIST,
        namespace="shop",
        label_selector=",".join(
            f"{name}={NEW.metadata.labels[name]}"
            for name in ("kubernetes.io/service-name", "endpointslice.kubernetes.io/managed-by")
        ),
        limit=500,
    )


def test_a_create_that_is_nowhere_to_be_found_is_sent_again() -> None:
    theirs = stored("web-b", 9, labels={"endpointslice.kubernetes.io/managed-by": "somebody"})
    script = Script([LOST, listed(theirs), LOST, Answer(status=200, body={"items": [7]}), accepted])
    result = carried_out(script, plan_of(CREATE))
    assert outcomes(result) == ["applied"]
    assert script.verbs == ["create", "list", "create", "list", "create"]
    assert result.retries == 2


def test_a_create_that_may_have_been_written_since_is_not_made_again() -> None:
    since = elsewhere(stored("web-new", 4), uid="uid-n")  # and all that it held has been taken out
    result = carried_out(Script([LOST, listed(since)]), plan_of(CREATE, DELETE))
    assert outcomes(result) == ["conflict", "skipped"]
    assert result.results[0].stored == since
    going = elsewhere(since, deletion_timestamp="2026-11-24T00:00:00Z")
    result = carried_out(Script([LOST, listed(going), accepted]), plan_of(CREATE))
    assert outcomes(result) == ["applied"]


def test_what_others_have_written_must_be_seen_before_the_next_plan() -> None:
    theirs = elsewhere(stored("web-a", 1, uid="uid-a", generation=3), resource_version="9")
    result = carried_out(Script([failure(409), shown(theirs)]), plan_of(UPDATE))
    tracker = result.tracked(SliceTracker())
    assert tracker.is_stale([BEFORE])
    assert not tracker.is_stale([theirs])


def test_a_slice_that_was_created_before_is_not_taken_for_the_next_one() -> None:
    first = elsewhere(NEW, name=f"{NEW.metadata.generate_name}x7k2p")
    second = elsewhere(NEW, name="web-second")
    script = Script([accepted, LOST, listed(first, second), LOST, listed(first, second), accepted])
    result = carried_out(script, plan_of(CREATE, CREATE, CREATE))
    assert outcomes(result) == ["applied", "found", "applied"]
    assert result.results[1].stored == second


def test_a_deterministic_create_whose_answer_was_lost_is_read_back_by_its_name() -> None:
    def made(request: SliceRequest) -> Answer:
        return shown(NEW, name=request.name)

    def not_made(request: SliceRequest) -> Answer:
        return missing(request.name)

    script = Script([LOST, made, LOST, not_made, accepted])
    result = carried_out(script, plan_of(CREATE, CREATE), naming="deterministic")
    assert outcomes(result) == ["found", "applied"]
    assert script.verbs == ["create", "get", "create", "get", "create"]


@pytest.mark.parametrize("refusal", [failure(403), failure(422), busy(3600)])
def test_what_had_no_answer_stays_unknown_though_its_repetition_is_refused(refusal: Answer) -> None:
    script = Script([LOST, shown(BEFORE), refusal])
    result = carried_out(script, plan_of(UPDATE))
    assert outcomes(result) == ["unknown"]
    assert result.results[0].status == refusal.status
    assert result.written.is_empty


def test_what_cannot_be_read_back_is_unknown_and_stops_the_plan() -> None:
    for script in (
        Script([LOST, failure(403)]),
        Script([LOST] * 5),
        Script([LOST, busy(), LOST, LOST, LOST]),
    ):
        result = carried_out(script, plan_of(UPDATE, DELETE))
        assert outcomes(result) == ["unknown", "skipped"]
        assert result.written == Plan()
        assert result.results[0].message == "RemoteDisconnected"
    for script in (Script([LOST, failure(403)]), Script([LOST] * 5)):
        assert outcomes(carried_out(script, plan_of(CREATE, DELETE))) == ["unknown", "skipped"]


def test_the_server_is_left_in_peace_between_two_attempts() -> None:
    script = Script([failure(500)] * 5)
    result = carried_out(script, plan_of(UPDATE))
    assert script.waits == [0.125, 0.25, 0.5, 1.0]
    assert (result.requests, result.retries, result.waited) == (5, 4, 1.875)


@pytest.mark.parametrize("data", [b"", b"<html>Sign in</html>", b"[]", b"7", b"{" * 100_000, b"{}"])
def test_a_success_that_is_not_the_api_servers_is_none(data: bytes) -> None:
    answer = answer_of(200, None, data)
    assert answer == Answer(status=0, error="a 200 that is not the API server's")
    for operation in (UPDATE, DELETE):
        result = carried_out(Script([answer] * 5), plan_of(operation))
        assert outcomes(result) == ["unknown"]
    assert answer_of(403, None, data) == Answer(status=403)


# --- later ------------------------------------------------------------------------------------


def test_a_server_that_asks_to_wait_is_waited_for() -> None:
    script = Script([busy(2.0), busy(), accepted])
    result = carried_out(script, plan_of(UPDATE))
    assert outcomes(result) == ["applied"]
    assert script.verbs == ["update"] * 3
    assert script.waits == [2.125, 0.25]


def test_a_server_that_asks_to_wait_for_long_is_left_alone() -> None:
    script = Script([busy(3600.0)])
    result = carried_out(script, plan_of(UPDATE, DELETE))
    assert outcomes(result) == ["failed", "skipped"]
    assert script.waits == []
    assert result.retry_after == 3600.0


def test_a_server_that_is_always_busy_is_given_up() -> None:
    script = Script([busy()] * 5)
    assert outcomes(carried_out(script, plan_of(CREATE))) == ["failed"]


def test_each_operation_has_its_own_attempts() -> None:
    script = Script([*[busy()] * 4, accepted, *[busy()] * 4, accepted])
    assert outcomes(carried_out(script, plan_of(CREATE, UPDATE))) == ["applied", "applied"]


def test_a_wait_grows_up_to_the_longest() -> None:
    policy = RetryPolicy(attempts=5000, first_wait=1.0, longest_wait=8.0, random=lambda: 1.0)
    assert [policy.wait(k) for k in (1, 2, 3, 4, 5, 4999)] == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert policy.wait(5000) is None
    assert policy.wait(1, 8.0) == 9.0
    assert policy.wait(1, 8.5) is None
    assert [policy.wait(1, odd) for odd in (-5.0, inf, nan)] == [1.0, None, None]
    assert 0.0 <= (RetryPolicy().wait(1) or 0.0) < 0.25


# --- refusals ---------------------------------------------------------------------------------


def moving_plan() -> Plan:
    """An update that receives from the next, which receives from a delete, and one apart."""
    return plan_of(
        UpdateSlice(stored("web-a", 1), stored("web-a", 1, 2), ()),
        UpdateSlice(stored("web-b", 2, 3), stored("web-b", 3, 4), ()),
        UpdateSlice(stored("web-c", 5), stored("web-c", 5, 6), ()),
        DeleteSlice(stored("web-d", 4, uid="d"), ()),
        DeleteSlice(stored("web-e", uid="e"), ()),
    )


@pytest.mark.parametrize("status", [400, 413, 422])
def test_who_gives_endpoints_to_a_slice_that_was_refused_is_skipped(status: int) -> None:
    script = Script([failure(status, "Invalid", "no"), accepted, DELETED])
    result = carried_out(script, moving_plan())
    assert outcomes(result) == ["refused", "skipped", "applied", "skipped", "applied"]
    assert [request.name for request in script.requests] == ["web-a", "web-c", "web-e"]
    assert result.results[1].message == "it would give endpoints to a slice that was not written"
    assert not result.is_stale


def test_an_older_copy_in_a_slice_that_was_refused_is_nothing_to_rely_upon() -> None:
    """Another replica keeps the newer copy, in web-b, and is about to take away the older one."""
    plan = plan_of(
        UpdateSlice(stored("web-a", 1, 2), stored("web-a", 1, 3), ()),
        UpdateSlice(stored("web-b", 1, 4), stored("web-b", 4), ()),
    )
    result = carried_out(Script([failure(422)]), plan)
    assert outcomes(result) == ["refused", "skipped"]


def test_an_endpoint_that_changes_ports_is_not_given_to_the_slice_that_was_refused() -> None:
    """With other ports it is another backend: only what leaves its group can be missing."""
    plan = plan_of(
        UpdateSlice(stored("web-a", 1, ports=()), stored("web-a", 1, 2, ports=()), ()),
        UpdateSlice(stored("web-b", 2), stored("web-b", 3), ()),
    )
    result = carried_out(Script([failure(422), accepted]), plan)
    assert outcomes(result) == ["refused", "applied"]


@pytest.mark.parametrize(
    "refusal",
    [
        failure(403, "Forbidden", 'endpointslices "web-x" is forbidden: exceeded quota: few'),
        failure(403, "Forbidden", causes=[{"reason": "NamespaceTerminating"}]),
    ],
)
def test_where_nothing_can_be_created_the_rest_is_done(refusal: Answer) -> None:
    plan = plan_of(
        CREATE,
        CreateSlice(attrs.evolve(NEW, endpoints=stored("", 2).endpoints), ()),
        UPDATE,
        UpdateSlice(stored("web-b", 2, 3), stored("web-b", 3, 4), ()),
        DELETE,
    )
    result = carried_out(Script([refusal, accepted, DELETED]), plan)
    assert outcomes(result) == ["refused", "skipped", "applied", "skipped", "applied"]
    assert result.results[1].message == "because of create of shop/web-*: refused"


@pytest.mark.parametrize(
    "refusal",
    [
        failure(403, "Forbidden", 'User "vm" cannot create resource "endpointslices"'),
        failure(401, "Unauthorized"),
        Answer(status=404),
        failure(404, "NotFound", "the server could not find the requested resource"),
        failure(404, "NotFound", 'namespaces "shop" not found', name="shop", kind="namespaces"),
        failure(405, "MethodNotAllowed"),
        Answer(status=302),
        failure(403, causes=7),
        failure(403, causes=[7]),
        Answer(status=403, body={"details": 7, "message": 7, "reason": 7}),
    ],
)
def test_where_nothing_can_be_written_all_that_was_not_done_is_told(refusal: Answer) -> None:
    result = carried_out(Script([refusal]), plan_of(CREATE, UPDATE, DELETE))
    assert outcomes(result) == ["refused", "skipped", "skipped"]
    assert result.results[0].status == refusal.status
    with pytest.raises(ApplyError) as caught:
        result.raise_for_failure()
    assert len(caught.value.problems) == caught.value.operations == 3
    assert caught.value.problems[0].startswith(f"create of shop/web-*: refused ({refusal.status}")


def test_what_a_server_says_is_told_on_one_line_and_moves_no_terminal() -> None:
    evil = failure(403, "Forb\x1b[2Jidden", "no\r\nlevel=info all is well\x07 \u202e \ud800 ü")
    result = carried_out(Script([evil]), plan_of(UPDATE))
    (item,) = result.results
    assert item.message == evil.body["message"]
    words = r"no\r\nlevel=info all is well\x07 \u202e \ud800 ü"
    assert str(item) == rf"update of shop/web-a: refused (403 Forb\x1b[2Jidden): {words}"
    with pytest.raises(ApplyError) as caught:
        result.raise_for_failure()
    assert caught.value.problems == (str(item),)
    error = both_lists(Script([evil]), "shop")
    assert str(error) == rf"list of slices in shop: 403 Forb\x1b[2Jidden: {words}"


@pytest.mark.parametrize("operation", [UPDATE, DELETE])
def test_a_server_without_the_api_has_not_deleted_anything(operation: Operation) -> None:
    result = carried_out(Script([Answer(status=404)]), plan_of(operation))
    assert outcomes(result) == ["refused"]


def test_a_slice_that_was_created_is_told_by_its_name() -> None:
    again = CreateSlice(attrs.evolve(NEW, endpoints=stored("", 2).endpoints), ())
    result = carried_out(Script([accepted, failure(422, "Invalid", "no")]), plan_of(CREATE, again))
    assert [str(item) for item in result.results] == [
        "create of shop/web-x7k2p: applied",
        "create of shop/web-*: refused (422 Invalid): no",
    ]


# --- what is no answer ------------------------------------------------------------------------


def test_what_a_client_raises_says_how_far_the_plan_came() -> None:
    def broken(request: SliceRequest) -> Answer:
        raise LookupError("no such plugin")

    def here() -> object:
        return apply_plan_to(Script([accepted, broken]), plan_of(CREATE, UPDATE, DELETE))

    def there() -> object:
        client = AsyncScript(Script([accepted, broken]))
        return asyncio.run(apply_plan_to_async(client, plan_of(CREATE, UPDATE, DELETE)))

    for door in (here, there):
        with pytest.raises(LookupError) as caught:
            door()
        (note,) = caught.value.__notes__
        assert note.startswith("1 of 3 operations were carried out")


def test_an_error_that_takes_no_note_is_raised_all_the_same() -> None:
    @dataclass(frozen=True)
    class FrozenError(Exception):
        code: int

    def broken(request: SliceRequest) -> Answer:
        raise FrozenError(7)

    with pytest.raises(FrozenError):
        apply_plan_to(Script([broken]), plan_of(UPDATE))
    with pytest.raises(FrozenError):
        asyncio.run(apply_plan_to_async(AsyncScript(Script([broken])), plan_of(UPDATE)))


def test_what_a_callback_raises_says_how_far_the_plan_came() -> None:
    def callback(result: OperationResult) -> None:
        raise LookupError

    with pytest.raises(LookupError) as caught:
        apply_plan_to(Script([accepted]), plan_of(CREATE, UPDATE), on_operation=callback)
    assert caught.value.__notes__[0].startswith("1 of 2")


def test_a_plan_that_is_cancelled_says_how_far_it_came() -> None:
    class Slow:
        async def send(self, request: SliceRequest) -> Answer:
            if request.verb is Verb.UPDATE:
                await asyncio.Event().wait()
            return accepted(request)

    async def run() -> list[str]:
        task = asyncio.create_task(apply_plan_to_async(Slow(), plan_of(CREATE, UPDATE)))
        await asyncio.sleep(0.01)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            return error.__notes__
        return []

    assert asyncio.run(run())[0].startswith("1 of 2 operations were carried out")


# --- lists ------------------------------------------------------------------------------------


def both_lists(script: Script, *args: Any, **options: Any) -> Any:
    """What both doors list, or the error that both raise."""
    other = Script(list(script.answers))

    async def sleep(seconds: float) -> None:
        other.waits.append(seconds)

    found: list[Any] = []
    for door in ("sync", "async"):
        try:
            if door == "sync":
                found += [list_slices(script, *args, sleep=script.waits.append, **options)]
            else:
                coroutine = list_slices_async(AsyncScript(other), *args, sleep=sleep, **options)
                found += [asyncio.run(coroutine)]
        except (ApiError, ModelError) as error:
            found += [error]
    assert found[0] == found[1]
    assert (script.requests, script.waits) == (other.requests, other.waits)
    return found[0]


def test_slices_are_listed_page_by_page() -> None:
    one, two = stored("web-a", 1), stored("web-b", 2)
    script = Script([listed(one, token="t"), listed(two)])
    found = both_lists(script, "shop", service="web", managed_by="me.example.org")
    assert found.slices == (one, two)
    assert found.problems == ()
    assert found.resource_version == "7"
    assert [request.continue_token for request in script.requests] == ["", "t"]
    assert {request.label_selector for request in script.requests} == {
        "kubernetes.io/service-name=web,endpointslice.kubernetes.io/managed-by=me.example.org"
    }


def test_a_list_whose_pages_have_expired_is_asked_for_at_once() -> None:
    one = stored("web-a", 1)
    script = Script([listed(one, token="t"), failure(410, "Expired"), listed(one, version="9")])
    found = both_lists(script, "shop")
    assert found.slices == (one,)
    assert found.resource_version == "9"
    assert [(r.limit, r.continue_token) for r in script.requests] == [
        (500, ""),
        (500, "t"),
        (0, ""),
    ]
    assert script.requests[0].label_selector == ""


def test_a_list_is_tried_again() -> None:
    script = Script([LOST, busy(1.0), failure(503), listed()])
    assert both_lists(script, "shop", retry=SURE).slices == ()
    assert script.waits == [0.125, 1.125, 0.5]


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        (
            [failure(403, "Forbidden", "no")],
            ApiError("list of slices in shop", 403, "Forbidden", "no"),
        ),
        ([LOST] * 5, ApiError("list of slices in shop", 0, "", "RemoteDisconnected")),
        (
            [Answer(status=0)] * 5,
            ApiError("list of slices in shop", 0, "", "the connection was lost"),
        ),
        ([failure(410, "Expired")], ApiError("list of slices in shop", 410, "Expired", "")),
    ],
)
def test_a_list_that_is_not_given_is_an_error(answers: Iterable[Answer], error: ApiError) -> None:
    assert both_lists(Script(list(answers)), "shop", retry=SURE) == error


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"items": 7},
        {"items": {"web-a": {}}},
        {"items": "web-a"},
        {"items": [], "metadata": 7},
        {"items": [], "metadata": ["7"]},
    ],
)
def test_what_is_no_list_does_not_pass_for_an_empty_one(body: dict[str, Any]) -> None:
    odd = Answer(status=200, body=body)
    error = both_lists(Script([odd] * 5), "shop", retry=SURE)
    words = "what came back is no page of a list"
    assert error == ApiError("list of slices in shop", 0, "", words)
    assert both_lists(Script([odd, listed()]), "shop", retry=SURE).slices == ()
    # Nor does it say that a slice was not created.
    result = carried_out(Script([LOST, odd, odd, odd, odd]), plan_of(CREATE))
    assert outcomes(result) == ["unknown"]


def test_a_list_without_items_is_empty() -> None:
    body = {"items": None, "metadata": {"resourceVersion": "7"}}
    found = both_lists(Script([Answer(status=200, body=body)]), "shop")
    assert (found.slices, found.resource_version) == ((), "7")


@pytest.mark.parametrize("tokens", [["t", "t"], ["t", "u", "t"]])
def test_pages_that_lead_back_are_not_followed_for_ever(tokens: list[str]) -> None:
    pages = [listed(stored("web-a", 1), token=token) for token in tokens]
    script = Script([*pages, *pages[-1:] * 4])
    assert isinstance(both_lists(script, "shop", retry=SURE), ApiError)
    assert script.answers == []


def test_a_list_that_expires_though_asked_for_at_once_is_an_error() -> None:
    script = Script([listed(token="t"), failure(410), listed(token="u"), failure(410, "Expired")])
    error = both_lists(script, "shop")
    assert error == ApiError("list of slices in shop", 410, "Expired", "")


def test_an_api_error_is_one_sentence() -> None:
    assert str(ApiError("list of slices in shop", 403, "Forbidden", "no")) == (
        "list of slices in shop: 403 Forbidden: no"
    )
    assert str(ApiError("list", 0, "", "refused")) == "list: no answer: refused"


def test_a_slice_that_cannot_be_read_does_not_take_the_others_down() -> None:
    good = encode_slice(stored("web-a", 1))
    body = {"metadata": {"resourceVersion": "7"}, "items": [{"addressType": "IPX"}, good, 7]}
    found = both_lists(Script([Answer(status=200, body=body)]), "shop")
    assert found.slices == (stored("web-a", 1),)
    assert [problem.path for problem in found.problems] == ["items[0].addressType", "items[2]"]


@pytest.mark.parametrize("value", ["a,b", "a b", "a=b", "x" * 64, "-a", "a)", "a\n"])
def test_a_name_from_outside_never_becomes_a_selector(value: str) -> None:
    script = Script([])
    error = both_lists(script, "shop", service=value)
    assert isinstance(error, ModelError)
    assert error.value == value
    assert script.requests == []


# --- with the rest ----------------------------------------------------------------------------


def test_a_plan_of_reconcile_is_carried_out() -> None:
    plan = reconcile([group(1, 2, 3)], [stored("web-a", 1, 7)], template=TEMPLATE)
    script = Script([accepted] * len(plan.operations))
    result = carried_out(script, plan)
    assert result.is_complete
    assert result.written.operations == plan.operations
