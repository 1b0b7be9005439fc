"""The facade: the straight line, on one screen."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, final

import attrs

from endpointslice.diff import diff_state
from endpointslice.grouping import SkippedPod, group_endpoints, select_pods, slice_template
from endpointslice.hints import HintFallback, HintPolicy, assign_hints, hint_policy
from endpointslice.models import (
    DEFAULT_MANAGED_BY,
    DEFAULT_MAX_ENDPOINTS_PER_SLICE,
    EndpointGroup,
    EndpointSlice,
    Node,
    Pod,
    Service,
    SliceTemplate,
)
from endpointslice.packing import Generational, PackingStrategy
from endpointslice.packing.placement import partition_of
from endpointslice.plan import Plan, build_plan, without_creates

__all__ = ["DEFAULT_STRATEGY", "ServicePlan", "reconcile", "reconcile_service"]

#: At most one write more than the fewest for a plan, and far fewer over an endpoint's life.
DEFAULT_STRATEGY: Final[PackingStrategy] = Generational()


def reconcile(
    desired: Iterable[EndpointGroup],
    current: Iterable[EndpointSlice],
    *,
    template: SliceTemplate,
    strategy: PackingStrategy = DEFAULT_STRATEGY,
    max_endpoints_per_slice: int = DEFAULT_MAX_ENDPOINTS_PER_SLICE,
) -> Plan:
    """Plan the writes that turn the current slices into the desired groups.

    Args:
        desired: All groups that the template's owner should have, in any order. Hints are taken
            as given.
        current: Slices in any order. Only those of the template's namespace, Service and
            manager are looked at; of these, slices of a stale owner are deleted.
        template: What every slice carries.
        strategy: Decides who sits where.
        max_endpoints_per_slice: Capacity in endpoints, 1..1000.

    Returns:
        The plan: empty if there is nothing to do; the same for every order of the input.

    Raises:
        DuplicateEndpointError: Two desired endpoints of one group share a key.
        ModelError: The capacity is not 1..1000, or two slices have one name.

    Complexity: O(n log n) at most, O(n) if little is new, for n endpoints.
    Source: k8s.io/endpointslice reconciler.go, reconcileByAddressType.
    """
    state = diff_state(
        desired,
        current,
        template=template,
        max_endpoints_per_slice=max_endpoints_per_slice,
        partition=partition_of(strategy),
    )
    return build_plan(state, map(strategy.pack, state.groups))


@final
@attrs.frozen(kw_only=True)
class ServicePlan:
    """What `reconcile_service` answers.

    Attributes:
        plan: The writes.
        skipped: Pods that the Service selects and that get no endpoint, and why.
        hint_fallbacks: What of the Service's wishes for hints could not be met, and why.
    """

    plan: Plan
    skipped: tuple[SkippedPod, ...] = ()
    hint_fallbacks: tuple[HintFallback, ...] = ()


def reconcile_service(
    service: Service,
    pods: Iterable[Pod],
    nodes: Iterable[Node],
    current: Iterable[EndpointSlice],
    *,
    strategy: PackingStrategy = DEFAULT_STRATEGY,
    max_endpoints_per_slice: int = DEFAULT_MAX_ENDPOINTS_PER_SLICE,
    managed_by: str = DEFAULT_MANAGED_BY,
    hints: HintPolicy | None = None,
    trigger_time: datetime | str | None = None,
) -> ServicePlan:
    """Plan the writes that make a Service's slices right.

    Args:
        service: The Service. While it is being deleted, no slice is created.
        pods: Pods in any order; those that it does not select are ignored. A Service without a
            selector takes all of its namespace.
        nodes: Nodes in any order: where endpoints are, and the CPUs of zones.
        current: Slices in any order; see `reconcile`. Hints that they have stay if they can.
        strategy: Decides who sits where.
        max_endpoints_per_slice: Capacity in endpoints, 1..1000.
        managed_by: Who writes the slices; slices of anybody else are never touched.
        hints: Who should use which endpoint; by default what the Service's annotations and
            trafficDistribution say.
        trigger_time: When the change happened that is being answered; see `slice_template`.

    Returns:
        The plan, the Pods left out, and wishes for hints that were not met.

    Raises:
        ModelError: The capacity is not 1..1000, two slices have one name, or the trigger time
            is none.

    Complexity: O(n log n) for n Pods.
    """
    nodes, current = tuple(nodes), tuple(current)
    policy, unknown = hint_policy(service) if hints is None else (hints, ())
    template = slice_template(service, managed_by=managed_by, trigger_time=trigger_time)
    grouping = group_endpoints(service, select_pods(service, pods), nodes)
    decision = assign_hints(
        policy, grouping.groups, nodes=nodes, current=current, template=template
    )
    plan = reconcile(
        decision.groups,
        current,
        template=template,
        strategy=strategy,
        max_endpoints_per_slice=max_endpoints_per_slice,
    )
    if service.metadata.deletion_timestamp is not None:
        plan = without_creates(plan)
    return ServicePlan(
        plan=plan, skipped=grouping.skipped, hint_fallbacks=unknown + decision.fallbacks
    )
