"""Objects -> where the traffic of each Service goes from one node, and why not elsewhere.

The rule of `planning` holds here too: a Service is routed only if all that decides it could be
read. Without one of its slices, traffic would seem to go elsewhere than it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, final

import attrs

from endpointslice import (
    LABEL_SERVICE_NAME,
    EndpointSlice,
    Selection,
    Service,
    ServicePort,
    ServicePortName,
    TrafficPolicy,
    Unused,
    address_types,
    explain,
    merge_slices,
    select_endpoints,
)
from endpointslice.cli.planning import (
    Omission,
    Unclaimed,
    failed_services,
    in_order,
    title,
    unclaimed_slices,
    unread_slice,
)
from endpointslice.cli.reading import Objects, Problem

__all__ = ["Route", "RoutedService", "Routes", "route_services"]

#: By this label a Service says that somebody else than kube-proxy routes it.
_LABEL_PROXY: Final = "service.kubernetes.io/service-proxy-name"


@final
@attrs.frozen(kw_only=True)
class Route:
    """One port of a Service, for one type of addresses.

    Attributes:
        unused: Why each endpoint that a policy does not use is not, for the policies there are.
    """

    port: ServicePort
    selection: Selection
    unused: Mapping[TrafficPolicy, tuple[Unused, ...]]


@final
@attrs.frozen(kw_only=True)
class RoutedService:
    """A Service and its ports, by type of addresses and then as the Service lists them."""

    service: Service
    routes: tuple[Route, ...]


@final
@attrs.frozen(kw_only=True)
class Routes:
    """What `route` prints: everything by namespace and name.

    Attributes:
        zone: The zone of the node; None if it has none, or nobody knows.
        omitted: Services that are not routed.
        unclaimed: Slices whose Service was not given.
    """

    node_name: str
    zone: str | None
    services: tuple[RoutedService, ...]
    omitted: tuple[Omission, ...]
    unclaimed: tuple[Unclaimed, ...]
    problems: tuple[Problem, ...]

    @property
    def has_errors(self) -> bool:
        """Whether anything could not be read or routed."""
        return bool(self.problems) or any(item.is_error for item in self.omitted)


def route_services(
    objects: Objects, *, node_name: str, zone: str | None, only: frozenset[str] = frozenset()
) -> Routes:
    """Route every Service from one node.

    Args:
        objects: Everything that was read.
        node_name: The node that traffic comes from, or comes in at.
        zone: Its zone; that of the Node of this name if None.
        only: Services to narrow to, as namespace/name; all if empty.

    Complexity: O(n log n) for n endpoints times ports, but O(s p) for s Services and p problems.
    """
    if zone is None:
        zones = (node.zone for node in objects.nodes if node.metadata.name == node_name)
        zone = next(zones, None)
    slices: dict[tuple[str, str], list[EndpointSlice]] = {}
    for stored in objects.slices:
        owner = (stored.metadata.namespace, stored.metadata.labels.get(LABEL_SERVICE_NAME, ""))
        slices.setdefault(owner, []).append(stored)
    routed = []
    omitted = failed_services(objects.problems, only)
    for service in in_order(objects.services):
        if only and title(service) not in only:
            continue
        meta = service.metadata
        reason = _not_routed(service)
        fault = unread_slice(meta.namespace, meta.name, objects.problems)
        if reason or fault:
            omitted.append(
                Omission(
                    namespace=meta.namespace,
                    name=meta.name,
                    reason=reason or fault or "",
                    is_error=not reason,
                )
            )
            continue
        current = slices.get((meta.namespace, meta.name), [])
        routes = _routes(service, current, node_name, zone)
        routed.append(RoutedService(service=service, routes=tuple(routes)))
    omitted.sort(key=lambda item: (item.namespace, item.name))
    return Routes(
        node_name=node_name,
        zone=zone,
        services=tuple(routed),
        omitted=tuple(omitted),
        unclaimed=() if only else unclaimed_slices(objects),
        problems=objects.problems,
    )


def _not_routed(service: Service) -> str | None:
    """Why kube-proxy has nothing to do with a Service."""
    if service.type == "ExternalName":
        return "it is of type ExternalName, which has no endpoints"
    if service.cluster_ip == "None":
        return "it is headless: its clients choose among all ready endpoints, which DNS tells them"
    proxy = service.metadata.labels.get(_LABEL_PROXY)
    if proxy:
        return f"{proxy} routes it, as its label {_LABEL_PROXY} says"
    return None


def _routes(
    service: Service, slices: Sequence[EndpointSlice], node_name: str, zone: str | None
) -> Iterable[Route]:
    merged = merge_slices(slices)
    for kind in address_types(service):
        for port in service.ports:
            name = ServicePortName(
                namespace=service.metadata.namespace,
                service=service.metadata.name,
                address_type=kind,
                name=port.name,
                protocol=port.protocol,
            )
            selection = select_endpoints(
                service, name, merged.get(name, ()), node_name=node_name, zone=zone
            )
            policies = dict.fromkeys((selection.internal_policy, selection.external_policy))
            yield Route(
                port=port,
                selection=selection,
                unused={
                    policy: explain(selection, policy, slices)
                    for policy in policies
                    if policy is not None
                },
            )
