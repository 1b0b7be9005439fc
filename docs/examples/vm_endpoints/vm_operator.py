"""A kopf operator that writes EndpointSlices of Services from ExternalBackends.

It plans from what its watches have shown. It asks the API server instead where these are not to
be trusted: while they lack what it has written, after a conflict, and every `RESYNC_SECONDS`.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
import kopf
from kubernetes_asyncio import client, config
from wanted import MANAGED_BY, Wanted, wanted

from endpointslice import (
    LABEL_MANAGED_BY,
    LABEL_SERVICE_NAME,
    EndpointSlice,
    Service,
    SliceTracker,
    decode_service,
    decode_slice,
    reconcile,
    slice_template,
)
from endpointslice.clients import apply_plan_to_async, list_slices_async
from endpointslice.errors import ApiError

BACKENDS = ("example.com", "v1", "externalbackends")
SLICES = ("discovery.k8s.io", "v1", "endpointslices")
RESYNC_SECONDS = float(os.environ.get("RESYNC_SECONDS", "60"))
#: Seconds until something is tried again that somebody else has to put right.
PATIENCE = min(10.0, RESYNC_SECONDS)

#: Namespace and name.
ServiceName = tuple[str, str]


@attrs.define
class State:
    """What the operator remembers of each Service between two syncs."""

    api: client.ApiClient
    #: One sync of a Service at a time, however many of its ExternalBackends change.
    locks: defaultdict[ServiceName, asyncio.Lock] = attrs.Factory(lambda: defaultdict(asyncio.Lock))
    trackers: defaultdict[ServiceName, SliceTracker] = attrs.Factory(
        lambda: defaultdict(SliceTracker)
    )
    #: Services whose last plan met slices that the watch had not shown.
    doubted: set[ServiceName] = attrs.Factory(set)


class NotReadyError(kopf.TemporaryError):
    """Not all endpoints are in slices. It is tried again; the reason goes into the status."""

    def __init__(self, reason: str, message: str, delay: float) -> None:
        super().__init__(message, delay=delay)
        self.reason = reason


@kopf.on.login()
def log_in(**kwargs: Any) -> Any:
    """Read the kubeconfig, or in a Pod its service account."""
    return kopf.login_with_kubeconfig(**kwargs) or kopf.login_with_service_account(**kwargs)


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    """Connect."""
    # The schema of the status has no room for what kopf would keep there.
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage()
    await config.load_config()
    memo.state = State(client.ApiClient())


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: Any) -> None:
    """Disconnect."""
    await memo.state.api.close()


# --- what the watches have shown --------------------------------------------------------------


@kopf.index(*BACKENDS)
def backends(namespace: str, spec: kopf.Spec, body: kopf.Body, **_: Any) -> Mapping[Any, Any]:
    """All ExternalBackends, by their Service."""
    return {(namespace, spec.get("service")): dict(body)}


@kopf.index("v1", "services")
def services(namespace: str, name: str, body: kopf.Body, **_: Any) -> Mapping[Any, Any]:
    """All Services."""
    return {(namespace, name): decode_service(dict(body))}


@kopf.index(*SLICES, labels={LABEL_MANAGED_BY: MANAGED_BY})
def slices(
    namespace: str, labels: Mapping[str, str], body: kopf.Body, **_: Any
) -> Mapping[Any, Any]:
    """Our slices, by their Service."""
    return {(namespace, labels.get(LABEL_SERVICE_NAME, "")): decode_slice(dict(body))}


@kopf.on.event(*SLICES, labels={LABEL_MANAGED_BY: MANAGED_BY})
def slice_event(
    type: str,  # noqa: A002 - kopf calls it so
    namespace: str,
    labels: Mapping[str, str],
    body: kopf.Body,
    memo: kopf.Memo,
    **_: Any,
) -> None:
    """Note that a slice is gone, so that nobody waits for it."""
    if type == "DELETED":
        service_name = (namespace, labels.get(LABEL_SERVICE_NAME, ""))
        trackers = memo.state.trackers
        trackers[service_name] = trackers[service_name].deleted(decode_slice(dict(body)))


# --- what is done -----------------------------------------------------------------------------


@kopf.on.resume(*BACKENDS)
@kopf.on.create(*BACKENDS)
@kopf.on.update(*BACKENDS)
async def changed(old: Mapping[str, Any] | None, namespace: str, **kwargs: Any) -> None:
    """Write what has changed."""
    former = ((old or {}).get("spec") or {}).get("service", kwargs["spec"]["service"])
    if former != kwargs["spec"]["service"] and kwargs["services"].get((namespace, former)):
        await sync((namespace, former), **kwargs)
    await sync_and_report(namespace=namespace, **kwargs)


@kopf.timer(*BACKENDS, interval=RESYNC_SECONDS, initial_delay=RESYNC_SECONDS)
async def resync(**kwargs: Any) -> None:
    """Look at what stands: Services change, and others may have written our slices."""
    await sync_and_report(trust_watch=False, **kwargs)


@kopf.on.delete(*BACKENDS)
async def deleted(namespace: str, **kwargs: Any) -> None:
    """Take the endpoints of an ExternalBackend out before it goes."""
    service_name = (namespace, kwargs["spec"]["service"])
    if kwargs["services"].get(service_name):
        await sync(service_name, **kwargs)


async def sync(
    service_name: ServiceName,
    /,
    *,
    memo: kopf.Memo,
    backends: kopf.Index[ServiceName, Mapping[str, Any]],
    services: kopf.Index[ServiceName, Service],
    slices: kopf.Index[ServiceName, EndpointSlice],
    trust_watch: bool = True,
    **_: Any,
) -> tuple[Wanted, int]:
    """Make the slices of one Service right, and return what is in them and how many there are.

    Raises:
        NotReadyError: They are not.
    """
    state: State = memo.state
    namespace, name = service_name
    async with state.locks[service_name]:
        (service,) = services.get(service_name, (None,))
        if service is None or service.metadata.deletion_timestamp is not None:
            raise NotReadyError("NoService", f"there is no Service {name}", delay=PATIENCE)
        found = wanted(
            backend
            for backend in backends.get(service_name, ())
            if "deletionTimestamp" not in backend["metadata"]
        )
        current: Sequence[EndpointSlice] = tuple(slices.get(service_name, ()))
        tracker = state.trackers[service_name]
        if not trust_watch or service_name in state.doubted or tracker.is_stale(current):
            try:
                listed = await list_slices_async(
                    state.api, namespace, service=name, managed_by=MANAGED_BY
                )
            except ApiError as error:
                raise NotReadyError("NotRead", str(error), delay=PATIENCE) from error
            current = listed.slices
        template = slice_template(service, managed_by=MANAGED_BY)
        plan = reconcile(found.groups, current, template=template)
        # A new Pod of the operator starts before the old one ends: with deterministic names both
        # cannot create the same slice.
        result = await apply_plan_to_async(
            state.api, plan, naming="deterministic", field_manager=MANAGED_BY
        )
        # Deletions may have been noted while the requests were under way.
        state.trackers[service_name] = result.tracked(state.trackers[service_name])
        if result.is_stale:
            state.doubted.add(service_name)
            raise NotReadyError("Conflict", str(result.not_done[0]), delay=1)
        if not result.is_complete:
            delay = result.retry_after or PATIENCE
            raise NotReadyError("NotWritten", str(result.not_done[0]), delay=delay)
        state.doubted.discard(service_name)
        return found, len(current) + len(plan.creates) - len(plan.deletes)


# --- what is said of it -----------------------------------------------------------------------


async def sync_and_report(
    *,
    namespace: str,
    name: str,
    spec: kopf.Spec,
    body: kopf.Body,
    status: kopf.Status,
    patch: kopf.Patch,
    **kwargs: Any,
) -> None:
    """Sync, and put what became of it into the status, and into an Event if it is news."""
    problems: list[str] = []
    counts = {key: status[key] for key in ("endpoints", "slices") if key in status}
    failure = None
    try:
        found, written = await sync((namespace, spec["service"]), **kwargs)
    except NotReadyError as error:
        failure = error
        verdict = ("False", error.reason, str(error))
    else:
        counts = {"endpoints": found.endpoints.get(name, 0), "slices": written}
        problems = list(found.problems.get(name, ()))
        verdict = ("True", "Written", "")
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            verdict = ("False", "InvalidBackends", f"left out: {problems[0]}{more}")
    said = {
        **counts,
        "observedGeneration": body["metadata"].get("generation", 0),
        "problems": problems,
        "conditions": [condition(status, *verdict)],
    }
    if said != {key: status[key] for key in said if key in status}:
        patch.status.update(said)
    if problems and problems != status.get("problems"):
        kopf.warn(body, reason="InvalidBackends", message=verdict[2])
    if failure is not None:
        raise failure


def condition(
    status: Mapping[str, Any], value: str, reason: str, message: str
) -> Mapping[str, Any]:
    """The condition Ready, which keeps its time while it stays what it is."""
    before = (status.get("conditions") or [{}])[0]
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    since = before.get("lastTransitionTime") if before.get("status") == value else now
    return {
        "type": "Ready",
        "status": value,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
    }
