"""Carry a plan out: in order, no further than is safe, and with an account of every operation.

Everything that decides lives here, without I/O: what is sent, what an answer means, what is tried
again, what is read back, and what must not be sent any more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from enum import Enum, auto
from itertools import islice
from typing import Any, Final, Literal, TypeAlias, assert_never, final

import attrs

from endpointslice.clients.adapters import as_async_slice_client, as_slice_client
from endpointslice.clients.driving import (
    Session,
    Steps,
    drive,
    drive_async,
    field,
    is_lost,
    is_put_off,
    words_of,
)
from endpointslice.clients.listing import list_items, selector_of
from endpointslice.clients.naming import DeterministicNames
from endpointslice.clients.requests import (
    Answer,
    SliceRequest,
    Verb,
    check_name,
    check_namespace,
)
from endpointslice.clients.results import ApplyResult, OperationResult, Outcome
from endpointslice.clients.retries import RetryPolicy
from endpointslice.errors import ManifestError, ModelError
from endpointslice.manifests import decode_slice, encode_slice
from endpointslice.manifests.metadata import decode_meta
from endpointslice.models import (
    LABEL_MANAGED_BY,
    LABEL_SERVICE_NAME,
    EndpointKey,
    EndpointSlice,
    GroupKey,
    ObjectMeta,
)
from endpointslice.plan import CreateSlice, DeleteSlice, Operation, Plan, UpdateSlice
from endpointslice.plan.operations import places

__all__ = ["apply_plan_to", "apply_plan_to_async"]

_Place: TypeAlias = tuple[GroupKey, EndpointKey]
Naming: TypeAlias = Literal["generated", "deterministic"]
_OnOperation: TypeAlias = Callable[[OperationResult], object]

#: Names that others have are passed over, but not for ever.
_MAX_NAMES: Final = 100
#: Refusals that are about one object: another may well be taken.
_OF_ONE_OBJECT: Final = frozenset((400, 413, 422))


@final
@attrs.frozen(kw_only=True)
class _Options:
    naming: Naming
    server_side: bool
    force_conflicts: bool
    field_manager: str
    dry_run: bool
    retry: RetryPolicy
    on_operation: _OnOperation | None


def apply_plan_to(
    client: object,
    plan: Plan,
    *,
    namespace: str | None = None,
    naming: Naming = "generated",
    server_side: bool = False,
    force_conflicts: bool = False,
    field_manager: str = "",
    dry_run: bool = False,
    retry: RetryPolicy = RetryPolicy(),
    on_operation: _OnOperation | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> ApplyResult:
    """Carry out a plan with an API client.

    Operations are sent in the order of the plan, one after the other.

    | Answer | What it means | What is done |
    |---|---|---|
    | 2xx | applied | go on |
    | 404 to a delete; a conflict with what is wanted | found: it stands as wanted | go on |
    | 409, 404 to an update | conflict: others have written it | read what stands, **stop** |
    | 400, 413, 422; fields that others own | refused, for this slice | go on, with care |
    | 403, a quota or the end of a namespace | refused, for every create | go on without creates |
    | 403, 401, 404 without such an API, others | refused | **stop** |
    | 429 | failed | wait, try again; at last **stop** |
    | 5xx, or none | unknown | wait, read back, and if nothing was done try again; **stop** |

    - **Stop** means that the rest is skipped. A plan from slices that have changed is void, for
      a create would make a second slice; and a server that does not answer is left in peace.
    - **With care** means that whoever would give endpoints away to a slice that was not written
      is skipped too: no endpoint that is there before and after the plan is ever in no slice.
    - **Never blindly**: an update and a delete carry the version they were planned against. One
      whose answer was lost is tried again only if the slice still stands at that version; a
      create by generateName only if the Service has no slice that the plan does not know. A
      request that is still on its way then can make a second slice; with deterministic names it
      cannot.

    Args:
        client: A `kubernetes`, `lightkube` or `kr8s` client, or anything with a `send`, as
            `as_slice_client` says.
        plan: The plan. Every slice that it updates or deletes has a resource version.
        namespace: Where the plan may write; None for where it says.
        naming: `deterministic` gives a slice that is created a name made of its owner, group and
            number instead of the server's random one, so that a create that is replayed by
            another replica, or after a crash, is refused instead of done twice.
        server_side: Update with server-side apply. It needs a field manager, and the conflicts
            forced for slices that were created, or updated before, without it. What others own
            of a slice stays. Slices are created as ever, and an update that takes labels or
            annotations away is an ordinary one, for an apply would leave them.
        force_conflicts: Take over fields that other managers own.
        field_manager: Who writes, as managedFields show it; "" leaves it to the client.
        dry_run: The server checks everything, admission included, and stores nothing.
        retry: When to try again.
        on_operation: Told what became of each operation as soon as that is known, skipped ones
            included; for progress and metrics.
        sleep: Waits for so many seconds.

    Returns:
        What became of every operation. It does not raise for what the server says.

    Raises:
        ModelError: The plan is for another namespace, or for several, or has names or owners that
            cannot be, or an update or delete has no resource version, or the client is none:
            nothing has been sent.
        Exception: What the client or the callback raises beside, with a note that says how far
            the plan was carried out.

    Complexity: O(n) for n endpoints in written slices, and the requests.
    """
    options = _Options(
        naming=naming,
        server_side=server_side,
        force_conflicts=force_conflicts,
        field_manager=field_manager,
        dry_run=dry_run,
        retry=retry,
        on_operation=on_operation,
    )
    return drive(as_slice_client(client), _apply(plan, namespace, options), sleep)


async def apply_plan_to_async(
    client: object,
    plan: Plan,
    *,
    namespace: str | None = None,
    naming: Naming = "generated",
    server_side: bool = False,
    force_conflicts: bool = False,
    field_manager: str = "",
    dry_run: bool = False,
    retry: RetryPolicy = RetryPolicy(),
    on_operation: _OnOperation | None = None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> ApplyResult:
    """Carry out a plan with an asyncio client, also of `kubernetes_asyncio`; else `apply_plan_to`.

    If it is cancelled, the operation under way may or may not have been carried out; what was
    done before is safe, as after every prefix of a plan. The callback is called, not awaited.
    """
    options = _Options(
        naming=naming,
        server_side=server_side,
        force_conflicts=force_conflicts,
        field_manager=field_manager,
        dry_run=dry_run,
        retry=retry,
        on_operation=on_operation,
    )
    return await drive_async(as_async_slice_client(client), _apply(plan, namespace, options), sleep)


# --- at the door ------------------------------------------------------------------------------


def _check(plan: Plan, namespace: str | None, options: _Options) -> None:
    if options.naming not in ("generated", "deterministic"):
        raise ModelError("naming", "must be generated or deterministic", options.naming)
    if options.server_side and not options.field_manager:
        raise ModelError("field_manager", "must be set for server-side apply", "")
    for i, operation in enumerate(plan.operations):
        before, after = operation.before, operation.after
        for side, stored in (("before", before), ("after", after)):
            if stored is None:
                continue
            path, meta = f"plan.operations[{i}].{side}.metadata", stored.metadata
            check_namespace(f"{path}.namespace", meta.namespace)
            namespace = meta.namespace if namespace is None else namespace
            if meta.namespace != namespace:
                raise ModelError(f"{path}.namespace", f"must be {namespace!r}", meta.namespace)
            if before is not None or meta.name:
                check_name(f"{path}.name", meta.name)
            elif options.naming == "deterministic":
                check_name(f"{path}.generate_name", f"{meta.generate_name}0")
            if before is None:
                _selector(meta)
            elif not meta.resource_version:
                why = "must be set, so that no write undoes what others have written"
                raise ModelError(f"{path}.resource_version", why, "")


def _selector(meta: ObjectMeta) -> str:
    """What selects the slices of an owner."""
    names = (LABEL_SERVICE_NAME, LABEL_MANAGED_BY)
    return selector_of({name: meta.labels.get(name) for name in names})


# --- the plan ---------------------------------------------------------------------------------


@final
class _Scope(Enum):
    """What a failure makes impossible, or unsafe, besides the operation itself."""

    NOTHING = auto()
    CREATES = auto()
    ALL = auto()


def _apply(plan: Plan, namespace: str | None, options: _Options) -> Steps[ApplyResult]:
    _check(plan, namespace, options)
    session = Session(options.retry)
    writer = _Writer(plan, options, session)
    results: list[OperationResult] = []
    # What is not written where it was to be; and why nothing, or no create, is to be sent any more.
    missing: set[_Place] = set()
    stopped = no_creates = ""
    try:
        for operation in plan.operations:
            skipped = stopped or (no_creates if isinstance(operation, CreateSlice) else "")
            if not skipped and missing and not missing.isdisjoint(_given(operation)):
                skipped = "it would give endpoints to a slice that was not written"
            if skipped:
                result = OperationResult(
                    operation=operation, outcome=Outcome.SKIPPED, message=skipped
                )
            else:
                result, scope = yield from writer.write(operation)
                if scope is _Scope.ALL:
                    stopped = f"because of {result.title}: {result.outcome}"
                elif scope is _Scope.CREATES:
                    no_creates = f"because of {result.title}: {result.outcome}"
            results.append(result)
            if not result.is_done:
                # Also what is there already: it may be an older copy, which others take away.
                missing |= places(operation.after)
            if options.on_operation is not None:
                options.on_operation(result)
    except BaseException as error:
        done = sum(result.is_done for result in results)
        with suppress(Exception):  # Some take no note, as frozen dataclasses.
            error.add_note(
                f"{done} of {len(plan.operations)} operations were carried out, of the first "
                f"{len(results)}; of the next one, if it was begun, it is not known"
            )
        raise
    return ApplyResult(
        results=tuple(results),
        requests=session.requests,
        retries=session.retries,
        waited=session.waited,
        retry_after=session.retry_after,
        dry_run=options.dry_run,
    )


def _given(operation: Operation) -> set[_Place]:
    """Which endpoints a slice holds before an operation and not after it."""
    return places(operation.before) - places(operation.after)


# --- one operation ----------------------------------------------------------------------------


@final
class _Found(Enum):
    """What is seen when a slice is read back."""

    WANTED = auto()
    UNTOUCHED = auto()
    CHANGED = auto()
    #: The name belongs to somebody else.
    TAKEN = auto()
    HIDDEN = auto()


_Standing: TypeAlias = tuple[_Found, EndpointSlice | None]
_Verdict: TypeAlias = tuple[OperationResult, _Scope]


@final
@attrs.define
class _Writer:
    """Carries out one operation at a time."""

    plan: Plan
    options: _Options
    session: Session
    _names: DeterministicNames | None = attrs.field(default=None, init=False)
    #: Slices that this run has created: none of them can be the one whose answer was lost.
    _created: set[str] = attrs.field(factory=set, init=False)

    def write(self, operation: Operation) -> Steps[_Verdict]:
        """Send an operation until it is clear what became of it."""
        session = self.session
        session.failures, sent = 0, session.requests
        result, scope = yield from self._write(operation)
        return attrs.evolve(result, requests=session.requests - sent), scope

    def _write(self, operation: Operation) -> Steps[_Verdict]:
        names = self._candidates(operation)
        request = self._request(operation, next(names))
        # What had no answer may still be on its way, whatever is said to its repetition.
        refused, failed = Outcome.REFUSED, Outcome.FAILED
        while True:
            answer = yield from self.session.send(request)
            if 200 <= answer.status < 300:
                stored = _stored(operation, request.manifest, answer)
                if operation.before is None and stored is not None:
                    self._created.add(stored.name)
                return _result(operation, Outcome.APPLIED, answer, stored), _Scope.NOTHING
            if is_put_off(answer):
                if not (yield from self.session.rest(answer)):
                    return _result(operation, failed, answer), _Scope.ALL
                continue
            lost = is_lost(answer)
            if lost:
                refused = failed = Outcome.UNKNOWN
                if not (yield from self.session.rest(answer)):
                    return _result(operation, Outcome.UNKNOWN, answer), _Scope.ALL
            elif not _is_contested(operation, request, answer):
                return _result(operation, refused, answer), _scope_of(answer)
            found, stored = yield from self._read_back(operation, request, answer)
            match found:
                case _Found.WANTED:
                    return _result(operation, Outcome.FOUND, answer, stored), _Scope.NOTHING
                case _Found.UNTOUCHED:
                    # The conflict was with something else, as with a quota's own count.
                    if not lost and not (yield from self.session.rest(answer)):
                        return _result(operation, failed, answer), _Scope.ALL
                case _Found.TAKEN if name := next(names, ""):
                    request = self._request(operation, name)
                case _Found.CHANGED | _Found.TAKEN:
                    return _result(operation, Outcome.CONFLICT, answer, stored), _Scope.ALL
                case _Found.HIDDEN:
                    outcome = Outcome.UNKNOWN if lost else Outcome.CONFLICT
                    return _result(operation, outcome, answer), _Scope.ALL
                case _ as unreachable:
                    assert_never(unreachable)

    def _candidates(self, operation: Operation) -> Iterator[str]:
        """The names that a slice may have, the best first; "" for one that the server makes."""
        if not isinstance(operation, CreateSlice):
            return iter((operation.before.name,))
        name = operation.after.name
        if name or self.options.naming == "generated":
            return iter((name,))
        if self._names is None:
            self._names = DeterministicNames.beside(self.plan)
        return islice(self._names.candidates(operation), _MAX_NAMES)

    def _request(self, operation: Operation, name: str) -> SliceRequest:
        options = self.options
        if isinstance(operation, DeleteSlice):
            meta = operation.before.metadata
            return SliceRequest(
                verb=Verb.DELETE,
                namespace=meta.namespace,
                name=name,
                uid=meta.uid,
                resource_version=meta.resource_version,
                dry_run=options.dry_run,
            )
        manifest = encode_slice(operation.after)
        if name:
            manifest["metadata"]["name"] = name
        verb = Verb.CREATE
        if isinstance(operation, UpdateSlice):
            is_applied = options.server_side and not _takes_away(operation)
            verb = Verb.APPLY if is_applied else Verb.UPDATE
        if verb is Verb.APPLY:
            # Who owns what is the server's to say.
            manifest["metadata"].pop("managedFields", None)
        return SliceRequest(
            verb=verb,
            namespace=operation.after.metadata.namespace,
            name=name,
            manifest=manifest,
            field_manager=options.field_manager,
            force=verb is Verb.APPLY and options.force_conflicts,
            dry_run=options.dry_run,
        )

    def _read_back(
        self, operation: Operation, request: SliceRequest, answer: Answer
    ) -> Steps[_Standing]:
        """Find out what stands where an operation was to write."""
        if _is_missing(answer, request.name):
            return _without(operation), None
        if isinstance(operation, CreateSlice) and not request.name:
            if not is_lost(answer):
                return _Found.UNTOUCHED, None
            return (yield from self._search(operation))
        get = SliceRequest(verb=Verb.GET, namespace=request.namespace, name=request.name)
        while True:
            answer = yield from self.session.send(get)
            if is_lost(answer) or is_put_off(answer):
                if not (yield from self.session.rest(answer)):
                    return _Found.HIDDEN, None
            elif answer.status == 200:
                return _compared(operation, answer.body)
            elif _is_missing(answer, request.name):
                return _without(operation), None
            else:
                return _Found.HIDDEN, None

    def _search(self, create: CreateSlice) -> Steps[_Standing]:
        """Look for a slice that was created under a name that nobody knows."""
        after = create.after
        meta = after.metadata
        answer = yield from list_items(self.session, meta.namespace, _selector(meta))
        if isinstance(answer, Answer):
            return _Found.HIDDEN, None
        known = self._created.union(stored.name for stored in self.plan.unchanged)
        known.update(item.before.name for item in self.plan.operations if item.before is not None)
        decoded = filter(None, map(_decoded, answer[0]))
        strange = [
            stands
            for stands in decoded
            if stands.name not in known
            and stands.metadata.deletion_timestamp is None
            and _is_alike(stands, after)
        ]
        for stands in strange:
            if _is_wanted(stands, create):
                self._created.add(stands.name)
                return _Found.WANTED, stands
        # A slice of the same owner that the plan does not know may be this one, written since. And
        # if it is not, the plan is as stale.
        return (_Found.CHANGED, strange[0]) if strange else (_Found.UNTOUCHED, None)


def _result(
    operation: Operation, outcome: Outcome, answer: Answer, stored: EndpointSlice | None = None
) -> OperationResult:
    done = outcome in (Outcome.APPLIED, Outcome.FOUND)
    reason, message = ("", "") if done else words_of(answer)
    return OperationResult(
        operation=operation,
        outcome=outcome,
        stored=stored,
        status=answer.status,
        reason=reason,
        message=message,
    )


def _takes_away(operation: UpdateSlice) -> bool:
    """Whether labels or annotations go. Server-side apply leaves those that it has not put there.

    Those that came with the create, too; so it would be sent for ever, and change nothing.
    """
    before, after = operation.before.metadata, operation.after.metadata
    return not (
        before.labels.keys() <= after.labels.keys()
        and before.annotations.keys() <= after.annotations.keys()
    )


# --- what an answer means ---------------------------------------------------------------------


def _details(answer: Answer) -> Mapping[str, Any]:
    details = answer.body.get("details")
    return details if isinstance(details, Mapping) else {}


def _has_cause(answer: Answer, reason: str) -> bool:
    causes = _details(answer).get("causes")
    return isinstance(causes, list) and any(
        isinstance(cause, Mapping) and cause.get("reason") == reason for cause in causes
    )


def _is_missing(answer: Answer, name: str) -> bool:
    """Whether an object is not there; where the API is not there, no object is named."""
    return answer.status == 404 and _details(answer).get("name") == name


def _is_contested(operation: Operation, request: SliceRequest, answer: Answer) -> bool:
    """Whether somebody else may have been here before."""
    if answer.status == 409:
        return not _has_cause(answer, "FieldManagerConflict")
    return operation.before is not None and _is_missing(answer, request.name)


def _scope_of(answer: Answer) -> _Scope:
    """What else a refusal makes impossible."""
    if answer.status in _OF_ONE_OBJECT or _has_cause(answer, "FieldManagerConflict"):
        return _Scope.NOTHING
    is_full = "exceeded quota" in field(answer.body, "message")
    if answer.status == 403 and (is_full or _has_cause(answer, "NamespaceTerminating")):
        return _Scope.CREATES
    return _Scope.ALL


# --- what stands ------------------------------------------------------------------------------


def _decoded(manifest: Mapping[str, Any]) -> EndpointSlice | None:
    try:
        return decode_slice(manifest)
    except ManifestError:
        return None


def _stored(
    operation: Operation, sent: Mapping[str, Any] | None, answer: Answer
) -> EndpointSlice | None:
    """What was written, as the server has it: its metadata, and what it made of the rest."""
    after = operation.after
    if after is None or sent is None:
        return None
    # Nearly always it is what was sent, and need not be read again.
    for name in ("addressType", "ports", "endpoints"):
        if answer.body.get(name) != sent.get(name):
            return _decoded(answer.body)
    try:
        return attrs.evolve(after, metadata=decode_meta(answer.body))
    except ManifestError:
        return None


def _is_wanted(stands: EndpointSlice, operation: CreateSlice | UpdateSlice) -> bool:
    """Whether a slice is what an operation was to make of it, whoever did it."""
    after = operation.after
    meta, wanted = stands.metadata, after.metadata
    was = wanted if operation.before is None else operation.before.metadata
    return (
        meta.deletion_timestamp is None
        and stands.address_type is after.address_type
        and stands.ports == after.ports
        and stands.endpoints == after.endpoints
        and _has_become(meta.labels, was.labels, wanted.labels)
        and _has_become(meta.annotations, was.annotations, wanted.annotations)
        and set(wanted.owner_references) <= set(meta.owner_references)
    )


def _has_become(
    stands: Mapping[str, str], before: Mapping[str, str], after: Mapping[str, str]
) -> bool:
    """Whether all is there that was wanted, and nothing that was to go; others may add theirs."""
    gone = before.keys() - after.keys()
    return after.items() <= stands.items() and gone.isdisjoint(stands)


def _without(operation: Operation) -> _Found:
    """What it means that there is no slice of the name."""
    match operation:
        case CreateSlice():
            return _Found.UNTOUCHED
        case UpdateSlice():
            return _Found.CHANGED
        case DeleteSlice():
            return _Found.WANTED
        case _ as unreachable:
            assert_never(unreachable)


def _compared(operation: Operation, manifest: Mapping[str, Any]) -> _Standing:
    """What it means that a slice stands."""
    stands = _decoded(manifest)
    if stands is None:
        return _Found.CHANGED, None
    if not isinstance(operation, DeleteSlice) and _is_wanted(stands, operation):
        return _Found.WANTED, stands
    meta = stands.metadata
    is_going = meta.deletion_timestamp is not None
    match operation:
        case CreateSlice(after=after):
            is_ours = not is_going and _is_alike(stands, after)
            return (_Found.CHANGED if is_ours else _Found.TAKEN), stands
        case DeleteSlice(before=before) if is_going or before.metadata.uid not in ("", meta.uid):
            return _Found.WANTED, None
        case UpdateSlice(before=before) | DeleteSlice(before=before):
            is_untouched = meta.resource_version == before.metadata.resource_version
            return (_Found.UNTOUCHED if is_untouched else _Found.CHANGED), stands
        case _ as unreachable:
            assert_never(unreachable)


def _is_alike(stands: EndpointSlice, after: EndpointSlice) -> bool:
    """Whether a slice has the owner that another is to have."""
    return all(
        stands.metadata.labels.get(name) == after.metadata.labels.get(name)
        for name in (LABEL_SERVICE_NAME, LABEL_MANAGED_BY)
    )
