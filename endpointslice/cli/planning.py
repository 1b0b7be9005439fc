"""Objects -> a plan for each Service that can be planned, and why the others cannot.

One rule keeps this safe: **a Service is planned only if all that decides its slices could be
read.** A plan without one of its slices would put endpoints in twice; one without a Pod or a Node
would take healthy endpoints out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar, final

import attrs

from endpointslice import (
    LABEL_MANAGED_BY,
    LABEL_SERVICE_NAME,
    Cost,
    Endpoints,
    EndpointSlice,
    Node,
    PackingStrategy,
    Pod,
    Service,
    ServicePlan,
    SkipReason,
    price_plan,
    reconcile_service,
    select_pods,
)
from endpointslice.cli.reading import Objects, Problem

__all__ = [
    "Omission",
    "Options",
    "PlannedService",
    "Report",
    "Unclaimed",
    "failed_services",
    "in_order",
    "joined",
    "plan_services",
    "title",
    "unclaimed_slices",
    "unread_slice",
]

_Object = TypeVar("_Object", Service, Pod, Node, EndpointSlice, Endpoints)


@final
@attrs.frozen(kw_only=True)
class Options:
    """How to plan."""

    strategy: PackingStrategy
    max_endpoints_per_slice: int
    managed_by: str
    trigger_time: str | None = None


@final
@attrs.frozen(kw_only=True)
class PlannedService:
    """One Service and what its slices need.

    Attributes:
        left_alone: How many of its slices are of other managers, by manager.
        warnings: What to know before the plan is carried out.
    """

    service: Service
    result: ServicePlan
    cost: Cost
    left_alone: Mapping[str, int]
    warnings: tuple[str, ...] = ()


@final
@attrs.frozen(kw_only=True)
class Omission:
    """A Service that is not planned.

    Attributes:
        is_error: It should have been; otherwise its slices are not ours to write.
    """

    namespace: str
    name: str
    reason: str
    is_error: bool


@final
@attrs.frozen(kw_only=True)
class Unclaimed:
    """Slices whose Service was not given. A service of "" means that they name none."""

    namespace: str
    service: str
    slices: tuple[str, ...]


@final
@attrs.frozen(kw_only=True)
class Report:
    """What `plan` prints: everything by namespace and name.

    Attributes:
        watchers: How many Nodes watch the slices.
    """

    planned: tuple[PlannedService, ...]
    omitted: tuple[Omission, ...]
    unclaimed: tuple[Unclaimed, ...]
    problems: tuple[Problem, ...]
    watchers: int

    @property
    def cost(self) -> Cost:
        """The price of all plans together."""
        return sum((item.cost for item in self.planned), Cost())

    @property
    def minimum_writes(self) -> int:
        """The fewest writes with which any plans could do the same."""
        return sum(item.result.plan.minimum_writes for item in self.planned)

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to write."""
        return any(not item.result.plan.is_empty for item in self.planned)

    @property
    def has_errors(self) -> bool:
        """Whether anything could not be read or planned."""
        return bool(self.problems) or any(item.is_error for item in self.omitted)


def title(item: _Object) -> str:
    """How people call an object: namespace/name."""
    return joined(item.metadata.namespace, item.metadata.name)


def joined(namespace: str, name: str) -> str:
    """Return namespace/name, or the name alone if there is no namespace."""
    return f"{namespace}/{name}" if namespace else name


def plan_services(
    objects: Objects, options: Options, *, only: frozenset[str] = frozenset(), watchers: int | None
) -> Report:
    """Plan every Service.

    Args:
        objects: Everything that was read.
        options: How to plan.
        only: Services to narrow to, as namespace/name; all if empty.
        watchers: How many Nodes watch the slices; as many as were read if None.

    Complexity: O(s n) at most for s Services of one namespace and its n Pods.
    """
    pods = _by_namespace(objects.pods)
    slices = _by_namespace(objects.slices)
    planned: list[PlannedService] = []
    omitted = failed_services(objects.problems, only)
    for service in in_order(objects.services):
        if only and title(service) not in only:
            continue
        namespace = service.metadata.namespace
        selected = select_pods(service, pods.get(namespace, ()))
        current = [
            item
            for item in slices.get(namespace, ())
            if item.metadata.labels.get(LABEL_SERVICE_NAME) == service.metadata.name
        ]
        reason = _not_ours(service)
        fault = None if reason else _fault(service, selected, objects, options.managed_by)
        if reason is None and fault is None:
            item = _planned(service, selected, objects.nodes, current, options)
            fault = _invalid_pod(item.result)
            if fault is None:
                planned.append(item)
        if reason or fault:
            omitted.append(
                Omission(
                    namespace=namespace,
                    name=service.metadata.name,
                    reason=reason or fault or "",
                    is_error=fault is not None,
                )
            )
    omitted.sort(key=lambda item: (item.namespace, item.name))
    return Report(
        planned=tuple(planned),
        omitted=tuple(omitted),
        unclaimed=() if only else unclaimed_slices(objects),
        problems=objects.problems,
        watchers=len(objects.nodes) if watchers is None else watchers,
    )


def _planned(
    service: Service,
    pods: Sequence[Pod],
    nodes: Sequence[Node],
    current: Sequence[EndpointSlice],
    options: Options,
) -> PlannedService:
    result = reconcile_service(
        service,
        pods,
        nodes,
        current,
        strategy=options.strategy,
        max_endpoints_per_slice=options.max_endpoints_per_slice,
        managed_by=options.managed_by,
        trigger_time=options.trigger_time,
    )
    left_alone: dict[str, int] = {}
    for item in current:
        manager = item.metadata.labels.get(LABEL_MANAGED_BY, "")
        if manager != options.managed_by:
            left_alone[manager] = left_alone.get(manager, 0) + 1
    cost = price_plan(result.plan)
    warnings = []
    if cost.endpoints_removed and not pods:
        warnings.append("no Pod that it selects was given, so all of its endpoints go")
    if service.metadata.deletion_timestamp is not None:
        warnings.append("the Service is being deleted, so no slice is created")
    return PlannedService(
        service=service,
        result=result,
        cost=cost,
        left_alone=dict(sorted(left_alone.items())),
        warnings=tuple(warnings),
    )


# --- what cannot be planned -------------------------------------------------------------------


def _not_ours(service: Service) -> str | None:
    """Why Kubernetes' own controller would not look after the Service's slices."""
    if service.type == "ExternalName":
        return "it is of type ExternalName, which has no endpoints"
    if not service.selector:
        return "it has no selector, so whoever looks after its endpoints writes its slices"
    return None


def _fault(
    service: Service, selected: Sequence[Pod], objects: Objects, managed_by: str
) -> str | None:
    """Why a plan for the Service could be wrong."""
    for problem in objects.problems:
        harm = _harm(problem, service, selected, managed_by)
        if harm:
            return f"{problem.source} could not be read, {harm}"
    if not objects.nodes and any(pod.node_name and pod.pod_ips for pod in selected):
        return "no Node was given, and without theirs its Pods get no endpoint; give the Nodes too"
    return None


def _invalid_pod(result: ServicePlan) -> str | None:
    """A Pod that was read and cannot have an endpoint with what it holds, if there is one."""
    for pod in result.skipped:
        if pod.reason is SkipReason.INVALID:
            where = joined(pod.namespace, pod.name)
            return f"Pod {where}: {pod.detail}, and without it its endpoint would go"
    return None


def _harm(
    problem: Problem, service: Service, selected: Sequence[Pod], managed_by: str
) -> str | None:
    """What a plan for the Service would do for want of what could not be read, if anything."""
    if problem.is_foreign or problem.kind == "Service":
        return None
    if problem.kind == "Node":
        concerned = any(problem.name in (None, pod.node_name) for pod in selected)
        return "and without it the endpoints on it would go" if concerned else None
    if problem.namespace not in (None, service.metadata.namespace):
        return None
    labels = problem.labels
    match problem.kind:
        case "EndpointSlice":
            concerned = labels is None or (
                labels.get(LABEL_SERVICE_NAME) == service.metadata.name
                and labels.get(LABEL_MANAGED_BY) == managed_by
            )
            return "and without it its endpoints would be put in twice" if concerned else None
        case "Pod":
            concerned = labels is None or service.selector.items() <= labels.items()
            return "and without it its endpoint would go" if concerned else None
        case _:
            return "and it may hold Pods, Nodes or slices of this Service"


def failed_services(problems: Iterable[Problem], only: frozenset[str]) -> list[Omission]:
    """Services that could not be read themselves, each once."""
    names = {
        (problem.namespace or "", problem.name): problem
        for problem in problems
        if problem.kind == "Service" and problem.name
    }
    return [
        Omission(namespace=namespace, name=name or "", reason=str(problem), is_error=True)
        for (namespace, name), problem in names.items()
        if not only or joined(namespace, name or "") in only
    ]


def unclaimed_slices(objects: Objects) -> tuple[Unclaimed, ...]:
    """Slices whose Service was not given, by Service."""
    given = {(item.metadata.namespace, item.metadata.name) for item in objects.services}
    given |= {
        (problem.namespace or "", problem.name or "")
        for problem in objects.problems
        if problem.kind == "Service"
    }
    found: dict[tuple[str, str], list[str]] = {}
    for item in objects.slices:
        owner = (item.metadata.namespace, item.metadata.labels.get(LABEL_SERVICE_NAME, ""))
        if owner not in given:
            found.setdefault(owner, []).append(item.name)
    return tuple(
        Unclaimed(namespace=namespace, service=service, slices=tuple(sorted(names)))
        for (namespace, service), names in sorted(found.items())
    )


def unread_slice(namespace: str, service: str, problems: Iterable[Problem]) -> str | None:
    """Why not all slices of a Service may be known."""
    for problem in problems:
        labels = problem.labels
        if (
            not problem.is_foreign
            and problem.kind in ("", "EndpointSlice")
            and problem.namespace in (None, namespace)
            and (labels is None or labels.get(LABEL_SERVICE_NAME) == service)
        ):
            return f"{problem.source} could not be read, and may hold endpoints of it"
    return None


def _by_namespace(items: Iterable[_Object]) -> dict[str, list[_Object]]:
    found: dict[str, list[_Object]] = {}
    for item in items:
        found.setdefault(item.metadata.namespace, []).append(item)
    return found


def in_order(services: Iterable[Service]) -> list[Service]:
    """Services by namespace and name."""
    return sorted(services, key=lambda item: (item.metadata.namespace, item.metadata.name))
