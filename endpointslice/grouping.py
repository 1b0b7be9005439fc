"""Service + Pods + Nodes -> the EndpointGroups that should exist, by Kubernetes' rules.

Every rule names its source in k8s.io/endpointslice. What the reference logs or emits as events
is data here: each Pod that is left out is in `skipped`, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Final, final

import attrs

from endpointslice.collector import collector_paused
from endpointslice.errors import ModelError
from endpointslice.models import (
    _IP_FAMILIES,
    ANNOTATION_TRIGGER_TIME,
    DEFAULT_MANAGED_BY,
    LABEL_HEADLESS,
    LABEL_MANAGED_BY,
    LABEL_SERVICE_NAME,
    AddressType,
    ContainerPort,
    Endpoint,
    EndpointConditions,
    EndpointGroup,
    EndpointPort,
    FrozenDict,
    GroupKey,
    Node,
    ObjectMeta,
    ObjectReference,
    OwnerReference,
    Pod,
    Service,
    ServicePort,
    SliceTemplate,
    _fill_endpoint,
    _make_group,
    _OpenEndpoint,
    canonical_ip,
)

__all__ = [
    "Grouping",
    "SkipReason",
    "SkippedPod",
    "address_types",
    "group_endpoints",
    "select_pods",
    "slice_template",
]


class SkipReason(StrEnum):
    """Why a Pod has no endpoint."""

    #: It has ended (phase Succeeded or Failed).
    TERMINAL_PHASE = "TerminalPhase"
    #: It has no IP yet.
    NO_IP = "NoIP"
    #: None of its IPs is of a family that the Service has.
    NO_IP_OF_FAMILY = "NoIPOfFamily"
    #: Its Node is unknown; the Pod may be a leftover of a Node that is gone.
    NODE_NOT_FOUND = "NodeNotFound"
    #: It holds a value that no endpoint can have.
    INVALID = "Invalid"


@final
@attrs.frozen(kw_only=True)
class SkippedPod:
    """A Pod that the Service selects and that gets no endpoint."""

    namespace: str
    name: str
    reason: SkipReason
    detail: str = ""


@final
@attrs.frozen(kw_only=True)
class Grouping:
    """What `group_endpoints` found.

    Attributes:
        groups: In canonical order, none without endpoints but for placeholders: an address
            type that the Service has and no Pod serves has one group, empty and without ports.
        skipped: Ordered by namespace and name.
    """

    groups: tuple[EndpointGroup, ...]
    skipped: tuple[SkippedPod, ...]


def select_pods(service: Service, pods: Iterable[Pod]) -> tuple[Pod, ...]:
    """Return the Pods in the Service's namespace that its selector matches, in their order.

    A Service without a selector selects nothing by itself: whoever looks after its endpoints
    chooses the Pods, so all of the namespace's that are given are kept.
    """
    namespace = service.metadata.namespace
    wanted = service.selector.items()
    return tuple(
        [
            pod
            for pod in pods
            if (meta := pod.metadata).namespace == namespace and wanted <= meta.labels.items()
        ]
    )


def address_types(service: Service) -> tuple[AddressType, ...]:
    """Return the address types that a Service's slices have, IPv4 first.

    They are its ipFamilies. An object of before dual stack has none: then the family of its
    clusterIP, or both if it is headless. An ExternalName Service is a name and has none.

    Source: k8s.io/endpointslice utils.go, getAddressTypesForService.
    """
    if service.type == "ExternalName":
        return ()
    found = tuple(kind for kind in _IP_TYPES if str(kind) in service.ip_families)
    if found:
        return found
    if _is_headless(service):
        return _IP_TYPES
    return (AddressType.IPV6 if ":" in service.cluster_ip else AddressType.IPV4,)


_IP_TYPES: Final = (AddressType.IPV4, AddressType.IPV6)


def _is_headless(service: Service) -> bool:
    return service.cluster_ip in ("", "None")


def _endpoint_port(
    service_port: ServicePort, ports: Iterable[ContainerPort]
) -> EndpointPort | None:
    """Resolve a Service's port for one Pod; None if the Pod has no such port.

    Source: k8s.io/endpointslice utils.go, FindPort.
    """
    target = service_port.target_port
    number = service_port.port if target is None else target
    if isinstance(number, str):
        named = (
            port.container_port
            for port in ports
            if port.name == number and port.protocol == service_port.protocol
        )
        found = next(named, None)
        if found is None:
            return None
        number = found
    return EndpointPort(
        port=number,
        name=service_port.name,
        protocol=service_port.protocol,
        app_protocol=service_port.app_protocol,
    )


def _endpoint_ports(
    service: Service, container_ports: tuple[ContainerPort, ...]
) -> tuple[EndpointPort, ...]:
    """Resolve all ports; a port that the Pod lacks is left out.

    Source: k8s.io/endpointslice utils.go, getEndpointPorts.
    """
    resolved = (_endpoint_port(port, container_ports) for port in service.ports)
    return tuple(port for port in resolved if port is not None)


#: Every combination that Pods have, shared by all endpoints.
_CONDITIONS: Final = {
    (ready, serving, terminating): EndpointConditions(
        ready=ready, serving=serving, terminating=terminating
    )
    for ready in (False, True)
    for serving in (False, True)
    for terminating in (False, True)
}


def group_endpoints(service: Service, pods: Iterable[Pod], nodes: Iterable[Node]) -> Grouping:
    """Build the endpoint groups that a Service should have.

    - A Pod counts unless it has ended or has no IP; terminating Pods count.
      Source: util/controller_utils.go, ShouldPodBeInEndpoints.
    - `serving` is the Pod's Ready condition, `terminating` its deletionTimestamp, `ready` is
      serving and not terminating, or publishNotReadyAddresses. Source: utils.go, podToEndpoint.
    - `hostname` is set only if the Pod's subdomain is the Service's name.
      Source: util/controller_utils.go, ShouldSetHostname.
    - A Pod whose Node is unknown is skipped, unless publishNotReadyAddresses.
      Source: reconciler.go, reconcileByAddressType.
    - Named target ports are looked up in each Pod, so one Service may have several groups.
    - A family that no endpoint serves gets the empty placeholder group.

    Args:
        service: The Service.
        pods: The Pods that it selects (see `select_pods`), in any order; the last of several
            with one name counts.
        nodes: Nodes, in any order; those that no Pod names do not matter.

    Returns:
        The groups, and the Pods left out. Endpoints are ordered by Pod name. The garbage collector
        is paused meanwhile, for the whole process.

    Complexity: O(n log n) for n Pods.
    """
    with collector_paused():
        return _group_endpoints(service, pods, nodes)


def _group_endpoints(service: Service, pods: Iterable[Pod], nodes: Iterable[Node]) -> Grouping:
    # Few strings for the zones, however many nodes: they stay in the processor's caches.
    spelled: dict[str | None, str | None] = {}
    zones = {
        node.metadata.name: spelled.setdefault(zone, zone)
        for node in nodes
        for zone in (node.zone,)
    }
    types = address_types(service)
    publish = service.publish_not_ready_addresses
    by_name = {(pod.metadata.namespace, pod.metadata.name): pod for pod in pods}
    # By ports, those of endpoints and of containers: the endpoints of each address type, in the
    # order of `types`.
    members: dict[tuple[EndpointPort, ...], tuple[list[Endpoint], ...]] = {}
    resolved: dict[tuple[ContainerPort, ...], tuple[list[Endpoint], ...]] = {}
    skipped: list[SkippedPod] = []
    seen: tuple[ContainerPort, ...] | None = None
    places: tuple[list[Endpoint], ...] = ()
    # Pods are read in the order in which they came, which is that of memory, and not sorted
    # before something smaller has been made of them.
    for pod in by_name.values():
        try:
            reason, detail = _skip_reason(pod, zones, publish=publish)
            if reason is None:
                # Most Pods have the ports of the one before, which is seen without a hash.
                if pod.container_ports != seen:
                    if pod.container_ports not in resolved:
                        ports = _endpoint_ports(service, pod.container_ports)
                        resolved[pod.container_ports] = members.setdefault(
                            ports, tuple([] for _ in types)
                        )
                    seen = pod.container_ports
                    places = resolved[seen]
                made = _endpoints_of(pod, service, zones.get(pod.node_name), types)
                for i, endpoint in made:
                    places[i].append(endpoint)
                if not made:
                    reason, detail = SkipReason.NO_IP_OF_FAMILY, ", ".join(pod.pod_ips)
        except (ModelError, ValueError) as error:
            reason, detail = SkipReason.INVALID, str(error)
        if reason is not None:
            skipped.append(
                SkippedPod(
                    namespace=pod.metadata.namespace,
                    name=pod.metadata.name,
                    reason=reason,
                    detail=detail,
                )
            )
    namespaces = {namespace for namespace, _ in by_name}
    order = _name_of_target if len(namespaces) == 1 else _namespace_and_name_of_target
    groups = [
        _make_group(GroupKey(address_type=kind, ports=ports), tuple(sorted(found, key=order)))
        for ports, places in members.items()
        for kind, found in zip(types, places, strict=True)
        if found
    ]
    served = {group.key.address_type for group in groups}
    groups += [
        EndpointGroup(key=GroupKey(address_type=kind)) for kind in types if kind not in served
    ]
    groups.sort(key=lambda group: group.key.sort_key)
    skipped.sort(key=lambda pod: (pod.namespace, pod.name))
    return Grouping(groups=tuple(groups), skipped=tuple(skipped))


_name_of_target: Final = attrgetter("target_ref.name")
_namespace_and_name_of_target: Final = attrgetter("target_ref.namespace", "target_ref.name")


def _skip_reason(
    pod: Pod, zones: dict[str, str | None], *, publish: bool
) -> tuple[SkipReason | None, str]:
    if pod.phase in ("Succeeded", "Failed"):
        return SkipReason.TERMINAL_PHASE, pod.phase
    if not pod.pod_ips and not pod.pod_ip:
        return SkipReason.NO_IP, ""
    if pod.node_name not in zones and not publish:
        return SkipReason.NODE_NOT_FOUND, pod.node_name
    return None, ""


def _endpoints_of(
    pod: Pod, service: Service, zone: str | None, types: tuple[AddressType, ...]
) -> Sequence[tuple[int, Endpoint]]:
    """A Pod's endpoints, at most one of each address type, which is told by its position.

    Source: k8s.io/endpointslice utils.go, getEndpointAddresses (podIPs alone are read).
    """
    meta = pod.metadata
    is_ready = pod.ready
    terminating = meta.deletion_timestamp is not None
    ready = service.publish_not_ready_addresses or (is_ready and not terminating)
    conditions = _CONDITIONS[ready, is_ready, terminating]
    hostname = pod.hostname or None
    if hostname is not None and (
        pod.subdomain != service.metadata.name or meta.namespace != service.metadata.namespace
    ):
        hostname = None
    target = ObjectReference("Pod", meta.namespace, meta.name, meta.uid)
    node_name = pod.node_name or None
    if len(pod.pod_ips) == 1:
        kind, address = canonical_ip(pod.pod_ips[0])
        if kind not in types:
            return ()
        families = _IP_FAMILIES[kind]
        endpoint = _fill_endpoint(
            _OpenEndpoint(), address, families, conditions, hostname, node_name, zone, target
        )
        return ((types.index(kind), endpoint),)
    found = [canonical_ip(text) for text in pod.pod_ips]
    made = []
    for i, kind in enumerate(types):
        addresses = tuple(address for family, address in found if family is kind)
        if addresses:
            made.append((i, Endpoint(addresses, conditions, hostname, node_name, zone, target)))
    return made


# --- the template -----------------------------------------------------------------------------

_RESERVED_LABELS: Final = frozenset((LABEL_SERVICE_NAME, LABEL_MANAGED_BY, LABEL_HEADLESS))
#: RFC 1123 subdomain, as a prefix: the last character may be a dash.
_NAME_PREFIX: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[-a-z0-9.]*[-a-z0-9])?")
_BAD_DOT: Final = re.compile(r"\.[-.]|-\.")
_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)


def _generate_name(service_name: str) -> str:
    """The prefix of slice names: with a dash, unless that would be no valid name.

    Source: k8s.io/endpointslice utils.go, getEndpointSlicePrefix.
    """
    prefix = f"{service_name}-"
    valid = _NAME_PREFIX.fullmatch(prefix) and not _BAD_DOT.search(prefix)
    return prefix if valid else service_name


def rfc3339_nano(moment: datetime | str) -> str:
    """UTC, with as many digits of the second's fraction as say something.

    Source: Go's time.RFC3339Nano.
    """
    if isinstance(moment, datetime) and moment.utcoffset() is None:
        raise ModelError("trigger_time", "must have a time zone", moment)
    try:
        text = moment.astimezone(UTC).isoformat() if isinstance(moment, datetime) else moment
        match = _RFC3339.fullmatch(text)
        if match is None:
            raise ValueError
        seconds, fraction, zone = match.groups()
        whole = datetime.fromisoformat(seconds.upper())
        if zone.upper() != "Z":
            hours, minutes = int(zone[1:3]), int(zone[4:6])
            offset = timedelta(hours=hours, minutes=minutes)
            whole = whole - offset if zone[0] == "+" else whole + offset
    except (ValueError, OverflowError):
        raise ModelError("trigger_time", "must be an RFC 3339 time", moment) from None
    digits = (fraction or "").rstrip("0")
    return whole.isoformat() + (f".{digits}" if digits else "") + "Z"


def slice_template(
    service: Service,
    *,
    managed_by: str = DEFAULT_MANAGED_BY,
    trigger_time: datetime | str | None = None,
) -> SliceTemplate:
    """Return what every slice of a Service carries.

    Its labels are the Service's, but for the reserved ones: the Service's name, who manages
    the slice, and the headless mark. Its owner is the Service.

    Args:
        service: The Service.
        managed_by: Who writes the slices; slices of anybody else are never touched.
        trigger_time: When the change happened that is being answered: an aware datetime, or
            RFC 3339, kept to the nanosecond. It is put on slices that are written, and never
            makes one be written.

    Raises:
        ModelError: The trigger time has no time zone, or is none.

    Source: k8s.io/endpointslice utils.go, newEndpointSlice, setEndpointSliceLabels and
    addTriggerTimeAnnotation.
    """
    meta = service.metadata
    labels = {k: v for k, v in meta.labels.items() if k not in _RESERVED_LABELS}
    if _is_headless(service):
        labels[LABEL_HEADLESS] = ""
    labels[LABEL_SERVICE_NAME] = meta.name
    labels[LABEL_MANAGED_BY] = managed_by
    annotations = {}
    if trigger_time is not None:
        annotations[ANNOTATION_TRIGGER_TIME] = rfc3339_nano(trigger_time)
    owner = OwnerReference(
        api_version="v1",
        kind="Service",
        name=meta.name,
        uid=meta.uid,
        controller=True,
        block_owner_deletion=True,
    )
    return SliceTemplate(
        metadata=ObjectMeta(
            namespace=meta.namespace,
            generate_name=_generate_name(meta.name),
            labels=FrozenDict(labels),
            annotations=FrozenDict(annotations),
            owner_references=(owner,),
        )
    )
