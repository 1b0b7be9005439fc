"""The older Endpoints API: from it to slices and back, and mirrors of it.

An Endpoints object has the name of its Service and holds all of its addresses, of both families,
in subsets: lists of addresses, ready and not ready, that have the same ports. What of an object
the other API cannot say is data (`losses_in_slices`, `losses_in_endpoints`), never an error.

Source: k8s.io/kubernetes pkg/controller/endpointslicemirroring, pkg/controller/endpoint and
pkg/api/v1/endpoints.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import chain
from operator import attrgetter
from typing import Final, TypeAlias, final

import attrs

from endpointslice.errors import ModelError
from endpointslice.grouping import _generate_name
from endpointslice.models import (
    _IP_FAMILIES,
    ANNOTATION_TRIGGER_TIME,
    LABEL_MANAGED_BY,
    LABEL_SERVICE_NAME,
    MAX_ADDRESSES_PER_ENDPOINTS,
    MAX_ENDPOINTS_PER_SLICE,
    AddressType,
    Endpoint,
    EndpointAddress,
    EndpointConditions,
    EndpointGroup,
    EndpointKey,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    FrozenDict,
    GroupKey,
    ObjectMeta,
    OwnerReference,
    Service,
    SliceTemplate,
    _fill_endpoint,
    _make_group,
    _OpenEndpoint,
)
from endpointslice.packing import PackingStrategy, SingleObject
from endpointslice.plan import Plan, without_creates
from endpointslice.reconcile import reconcile

__all__ = [
    "ANNOTATION_LEADER",
    "ANNOTATION_OVER_CAPACITY",
    "LABEL_SKIP_MIRROR",
    "MIRRORING_MANAGED_BY",
    "Loss",
    "LossReason",
    "NotMirrored",
    "canonical_subsets",
    "endpoints_to_groups",
    "losses_in_endpoints",
    "losses_in_slices",
    "mirror",
    "mirror_template",
    "slices_to_endpoints",
    "why_not_mirrored",
]

#: The name by which Kubernetes' own mirroring controller marks its slices.
MIRRORING_MANAGED_BY: Final = "endpointslicemirroring-controller.k8s.io"
#: "true" on an Endpoints object says that somebody else writes its slices.
LABEL_SKIP_MIRROR: Final = "endpointslice.kubernetes.io/skip-mirror"
#: An Endpoints object that has it is a lock, and holds no addresses.
ANNOTATION_LEADER: Final = "control-plane.alpha.kubernetes.io/leader"
#: "truncated" says that addresses were left out for want of room. Kubernetes 1.21 wrote "warning":
#: there are more than 1,000 addresses, and all of them are listed still.
ANNOTATION_OVER_CAPACITY: Final = "endpoints.kubernetes.io/over-capacity"

_TRUNCATED: Final = "truncated"
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_UNMIRRORED_ANNOTATIONS: Final = frozenset((ANNOTATION_TRIGGER_TIME, _LAST_APPLIED))
#: What is a slice's own, and no Endpoints object's.
_SLICE_LABELS: Final = frozenset((LABEL_SERVICE_NAME, LABEL_MANAGED_BY))
_SLICE_ANNOTATIONS: Final = _UNMIRRORED_ANNOTATIONS | {ANNOTATION_OVER_CAPACITY}


class LossReason(StrEnum):
    """Why something is not in what an object was converted to."""

    #: Left out: there are more addresses than may be listed.
    TRUNCATED = "Truncated"
    #: Left out: it is no IP address, or what belongs to it cannot be in any slice.
    INVALID = "Invalid"
    #: Left out: Endpoints objects hold IP addresses only.
    FQDN = "FQDN"
    #: Left out: it terminates and is not ready. Endpoints objects cannot say that it serves still.
    TERMINATING = "Terminating"
    #: It is described in two ways, or is ready and not ready; one of them counts.
    CONFLICTING = "Conflicting"
    #: Endpoints objects say of one that is listed neither that it serves nor that it terminates.
    CONDITIONS = "Conditions"
    #: Of the addresses of an endpoint the first one is listed.
    MORE_ADDRESSES = "MoreAddresses"
    #: Endpoints objects have no way to say that all ports are meant.
    ALL_PORTS = "AllPorts"
    ZONE = "Zone"
    HINTS = "Hints"


@final
@attrs.frozen(kw_only=True)
class Loss:
    """What is lost in a conversion.

    Attributes:
        reason: What it is, and why.
        addresses: Whom it concerns, each once, in order.
    """

    reason: LossReason
    addresses: tuple[str, ...]


_Losses: TypeAlias = dict[LossReason, dict[str, None]]


def _lose(losses: _Losses, reason: LossReason, *addresses: str) -> None:
    losses.setdefault(reason, {}).update(dict.fromkeys(addresses))


def _told(losses: _Losses) -> tuple[Loss, ...]:
    return tuple(
        Loss(reason=reason, addresses=tuple(sorted(losses[reason])))
        for reason in LossReason
        if reason in losses
    )


# --- subsets ----------------------------------------------------------------------------------

_Identity: TypeAlias = tuple[str, str]
_identity_of: Final = attrgetter("identity")


def canonical_subsets(subsets: Iterable[EndpointSubset]) -> tuple[EndpointSubset, ...]:
    """Put addresses and ports into the subsets that Kubernetes puts them into.

    Each port has all addresses that have it in any subset, and ports that have the same addresses,
    in the same state, are one subset. An address is known by its IP and the uid of its target. One
    that is ready and not ready at the same port is not ready there. One that has ports, and stands
    in a subset without ports too, may lose the latter.

    Args:
        subsets: Any number, in any order.

    Returns:
        Subsets in the order of their ports; within them, addresses by IP, then uid. The same for
        every order of the input, but that where one address is described in several ways the first
        one counts.

    Complexity: O(n log n) for n addresses times ports.
    Source: pkg/api/v1/endpoints util.go, RepackSubsets; there, subsets and ports are in the order
    of a hash.
    """
    subsets = tuple(subsets)
    known: dict[_Identity, EndpointAddress] = {}
    for address in _all_addresses(subsets):
        known.setdefault(address.identity, address)
    return _repack(subsets, known, {})


def _all_addresses(subsets: Iterable[EndpointSubset]) -> Iterable[EndpointAddress]:
    return chain.from_iterable((*item.addresses, *item.not_ready_addresses) for item in subsets)


def _repack(
    subsets: Sequence[EndpointSubset],
    known: Mapping[_Identity, EndpointAddress],
    losses: _Losses,
) -> tuple[EndpointSubset, ...]:
    """`known` has one description of each address."""
    by_port: dict[EndpointPort | None, dict[_Identity, bool]] = {}
    for subset in subsets:
        states = dict.fromkeys(map(_identity_of, subset.addresses), True)
        states.update(dict.fromkeys(map(_identity_of, subset.not_ready_addresses), False))
        if len(states) < len(subset.addresses) + len(subset.not_ready_addresses):
            _note_overlap(subset, losses)
        for port in (subset.ports or (None,)) if states else ():
            found = by_port.setdefault(port, {})
            for identity, ready in states.items():
                if found.setdefault(identity, ready) is not ready:
                    found[identity] = False
                    _lose(losses, LossReason.CONFLICTING, identity[0])
    together: dict[frozenset[tuple[_Identity, bool]], list[EndpointPort]] = {}
    for port, found in by_port.items():
        ports = together.setdefault(frozenset(found.items()), [])
        if port is not None:
            ports.append(port)
    made = []
    for members, ports in together.items():
        order = sorted(members)
        made.append(
            EndpointSubset(
                addresses=[known[identity] for identity, ready in order if ready],
                not_ready_addresses=[known[identity] for identity, ready in order if not ready],
                ports=sorted(ports, key=attrgetter("sort_key")),
            )
        )
    made.sort(key=lambda subset: [port.sort_key for port in subset.ports])
    return tuple(made)


def _note_overlap(subset: EndpointSubset, losses: _Losses) -> None:
    ready = set(map(_identity_of, subset.addresses))
    for identity in map(_identity_of, subset.not_ready_addresses):
        if identity in ready:
            _lose(losses, LossReason.CONFLICTING, identity[0])


# --- Endpoints -> groups ----------------------------------------------------------------------

#: An address says whether it is ready, and nothing else.
_CONDITIONS: Final = {
    ready: EndpointConditions(ready=ready, serving=ready, stated=1) for ready in (True, False)
}


def endpoints_to_groups(
    endpoints: Endpoints, *, max_endpoints_per_subset: int | None = None
) -> tuple[EndpointGroup, ...]:
    """Return the endpoint groups that say what an Endpoints object says.

    Its subsets are made canonical first. Each is one group for each family that its addresses are
    of, but that ports of one name, which no slice can have, are parted. Addresses that are not
    ready are endpoints that are not ready. Those that differ in the uid of their target alone are
    one endpoint, as slices know it: the last one, not ready ones being last.

    Args:
        endpoints: The Endpoints object.
        max_endpoints_per_subset: How many addresses of each canonical subset count, the ready ones
            first; all by default.

    Returns:
        Groups in canonical order, none without endpoints. What is left out, and why, says
        `losses_in_slices`.

    Complexity: O(n log n) for n addresses times ports.
    Source: pkg/controller/endpointslicemirroring reconciler.go, reconcile, and utils.go,
    addressToEndpoint.
    """
    return _groups(endpoints, max_endpoints_per_subset, {})


def losses_in_slices(
    endpoints: Endpoints, *, max_endpoints_per_subset: int | None = None
) -> tuple[Loss, ...]:
    """Return what `endpoints_to_groups` leaves out, in the order of `LossReason`.

    Complexity: as `endpoints_to_groups`.
    """
    losses: _Losses = {}
    _groups(endpoints, max_endpoints_per_subset, losses)
    return _told(losses)


def _groups(endpoints: Endpoints, most: int | None, losses: _Losses) -> tuple[EndpointGroup, ...]:
    known: dict[_Identity, EndpointAddress] = {}
    for address in _all_addresses(endpoints.subsets):
        if known.setdefault(address.identity, address) != address:
            _lose(losses, LossReason.CONFLICTING, address.ip)
    groups = []
    for subset in _repack(endpoints.subsets, known, losses):
        found = _endpoints_of(subset, most, losses)
        for ports in _with_unique_names(subset.ports):
            groups += [
                _make_group(GroupKey(address_type=kind, ports=ports), tuple(members.values()))
                for kind, members in found.items()
            ]
    groups.sort(key=lambda group: group.key.sort_key)
    return tuple(groups)


def _endpoints_of(
    subset: EndpointSubset, most: int | None, losses: _Losses
) -> dict[AddressType, dict[EndpointKey, Endpoint]]:
    """The endpoints of a subset by family, at most so many addresses of it."""
    found: dict[AddressType, dict[EndpointKey, Endpoint]] = {}
    count = 0
    for ready, addresses in ((True, subset.addresses), (False, subset.not_ready_addresses)):
        conditions = _CONDITIONS[ready]
        for address in addresses:
            kind = address.address_type
            if count == most:
                _lose(losses, LossReason.TRUNCATED, address.ip)
                continue
            try:
                if kind is None:
                    raise ModelError("ip", "is not an IP address", address.ip)
                endpoint = _fill_endpoint(
                    _OpenEndpoint(),
                    address.ip,
                    _IP_FAMILIES[kind],
                    conditions,
                    address.hostname,
                    address.node_name,
                    None,
                    address.target_ref,
                )
            except ModelError:
                _lose(losses, LossReason.INVALID, address.ip)
                continue
            count += 1
            members = found.setdefault(kind, {})
            if endpoint.key in members:
                _lose(losses, LossReason.CONFLICTING, address.ip)
            members[endpoint.key] = endpoint
    return found


def _with_unique_names(ports: Iterable[EndpointPort]) -> list[list[EndpointPort]]:
    """Part ports so that no two of a list have one name, in as few lists as that takes."""
    lists: list[list[EndpointPort]] = [[]]
    seen: Counter[str] = Counter()
    for port in ports:
        i = seen[port.name]
        seen[port.name] += 1
        if i == len(lists):
            lists.append([])
        lists[i].append(port)
    return lists


# --- slices -> Endpoints ----------------------------------------------------------------------


def slices_to_endpoints(
    slices: Iterable[EndpointSlice], *, metadata: ObjectMeta | None = None
) -> Endpoints:
    """Merge the slices of a Service into one Endpoints object.

    It lists at most 1,000 addresses; if it leaves some out, it says so in the annotation
    `endpoints.kubernetes.io/over-capacity`, as "truncated". Ready addresses go first; where not all
    of one kind, ready or not, have room, each subset gets a part that goes by how many it has, the
    lower addresses. Endpoints that terminate are left out unless they are ready, as Kubernetes
    leaves them out. What else is not said, and of whom, says `losses_in_endpoints`.

    Args:
        slices: All slices of one Service, in any order, of both families as the case may be. (For
            a dual-stack Service Kubernetes lists the first of its ipFamilies alone.)
        metadata: What the object carries, but for that annotation. By default namespace and name
            from the slices, and the labels and annotations that all of them have.

    Returns:
        The object, its subsets canonical; the same for every order of the input.

    Raises:
        ModelError: The slices are not all of one namespace and Service.

    Complexity: O(n log n) for n endpoints times ports.
    Source: pkg/controller/endpoint/endpoints_controller.go, syncService and truncateEndpoints.
    """
    slices = tuple(slices)
    meta = _common_metadata(slices)
    if metadata is not None:
        meta = metadata
    subsets, is_truncated = _listed(slices, {})
    annotations = dict(meta.annotations)
    annotations.pop(ANNOTATION_OVER_CAPACITY, None)
    if is_truncated:
        annotations[ANNOTATION_OVER_CAPACITY] = _TRUNCATED
    return Endpoints(
        metadata=attrs.evolve(meta, annotations=FrozenDict(annotations)), subsets=subsets
    )


def losses_in_endpoints(slices: Iterable[EndpointSlice]) -> tuple[Loss, ...]:
    """Return what `slices_to_endpoints` leaves out, in the order of `LossReason`.

    Complexity: as `slices_to_endpoints`.
    """
    losses: _Losses = {}
    _listed(tuple(slices), losses)
    return _told(losses)


def _common_metadata(slices: Sequence[EndpointSlice]) -> ObjectMeta:
    metas = [stored.metadata for stored in slices]
    services = {(meta.namespace, meta.labels.get(LABEL_SERVICE_NAME, "")) for meta in metas}
    if len(services) > 1:
        raise ModelError("slices", "must all be of one Service", sorted(services))
    if not metas:
        return ObjectMeta()
    ((namespace, name),) = services
    return ObjectMeta(
        namespace=namespace,
        name=name,
        labels=_common([meta.labels for meta in metas], _SLICE_LABELS),
        annotations=_common([meta.annotations for meta in metas], _SLICE_ANNOTATIONS),
    )


def _common(maps: Sequence[Mapping[str, str]], without: frozenset[str]) -> FrozenDict[str, str]:
    return FrozenDict(
        (name, value)
        for name, value in sorted(maps[0].items())
        if name not in without and all(other.get(name) == value for other in maps)
    )


def _listed(
    slices: Sequence[EndpointSlice], losses: _Losses
) -> tuple[tuple[EndpointSubset, ...], bool]:
    """The subsets of an object that lists what slices hold, and whether that is not all."""
    subsets = [_subset_of(stored, losses) for stored in slices]
    known: dict[_Identity, EndpointAddress] = {}
    # Slices have no order, so who comes first is decided by what is said.
    for address in sorted(_all_addresses(subsets), key=_content_of):
        if known.setdefault(address.identity, address) != address:
            _lose(losses, LossReason.CONFLICTING, address.ip)
    return _truncate(_repack(subsets, known, losses), losses)


def _content_of(address: EndpointAddress) -> tuple[str, ...]:
    target = address.target_ref
    reference = () if target is None else target._identity()
    return (address.ip, address.hostname or "", address.node_name or "", *reference)


def _subset_of(stored: EndpointSlice, losses: _Losses) -> EndpointSubset:
    if stored.address_type is AddressType.FQDN:
        names = (endpoint.addresses for endpoint in stored.endpoints)
        _lose(losses, LossReason.FQDN, *chain.from_iterable(names))
        return EndpointSubset()
    ready: list[EndpointAddress] = []
    not_ready: list[EndpointAddress] = []
    for endpoint in stored.endpoints:
        conditions = endpoint.conditions
        addresses = endpoint.addresses
        if conditions.terminating and not conditions.ready:
            _lose(losses, LossReason.TERMINATING, addresses[0])
            continue
        address = EndpointAddress(
            ip=addresses[0],
            hostname=endpoint.hostname,
            node_name=endpoint.node_name,
            target_ref=endpoint.target_ref,
        )
        (ready if conditions.ready else not_ready).append(address)
        is_more = conditions.terminating or conditions.serving is not conditions.ready
        for reason, is_lost in (
            (LossReason.CONDITIONS, is_more),
            (LossReason.MORE_ADDRESSES, len(addresses) > 1),
            (LossReason.ZONE, endpoint.zone),
            (LossReason.HINTS, endpoint.hints),
        ):
            if is_lost:
                _lose(losses, reason, address.ip)
    ports = [port for port in stored.ports if port.port is not None]
    if len(ports) < len(stored.ports):
        listed = (address.ip for address in (*ready, *not_ready))
        _lose(losses, LossReason.ALL_PORTS, *listed)
    return EndpointSubset(addresses=ready, not_ready_addresses=not_ready, ports=ports)


def _truncate(
    subsets: tuple[EndpointSubset, ...], losses: _Losses
) -> tuple[tuple[EndpointSubset, ...], bool]:
    """Leave out what is beyond 1,000 addresses, and whatever subset has none left.

    Source: pkg/controller/endpoint/endpoints_controller.go, truncateEndpoints; exact here.
    """
    ready = _shares([len(subset.addresses) for subset in subsets], MAX_ADDRESSES_PER_ENDPOINTS)
    room = MAX_ADDRESSES_PER_ENDPOINTS - sum(ready)
    not_ready = _shares([len(subset.not_ready_addresses) for subset in subsets], room)
    gone: list[EndpointAddress] = []
    made = []
    for subset, some, others in zip(subsets, ready, not_ready, strict=True):
        gone += subset.addresses[some:] + subset.not_ready_addresses[others:]
        if some or others:
            kept = attrs.evolve(
                subset,
                addresses=subset.addresses[:some],
                not_ready_addresses=subset.not_ready_addresses[:others],
            )
            made.append(kept)
    if gone:
        _lose(losses, LossReason.TRUNCATED, *(address.ip for address in gone))
    return tuple(made), bool(gone)


def _shares(counts: Sequence[int], room: int) -> list[int]:
    """How many of each have room, in proportion; rounded up, so that the last may get less."""
    total = sum(counts)
    left = min(room, total)
    shares = []
    for count in counts:
        share = min(count, left, -(-count * room // total)) if count else 0
        left -= share
        shares.append(share)
    return shares


# --- mirrors ----------------------------------------------------------------------------------


class NotMirrored(StrEnum):
    """Why an Endpoints object has no mirror."""

    #: Its label says that somebody else writes its slices.
    SKIPPED = "Skipped"
    #: It is a lock of a leader election.
    LEADER_ELECTION = "LeaderElection"
    #: There is no Service of its name.
    NO_SERVICE = "NoService"
    #: Its Service has a selector, so that its slices are made from Pods.
    HAS_SELECTOR = "HasSelector"


def why_not_mirrored(
    endpoints: Endpoints, services: Iterable[Service] | None = None
) -> NotMirrored | None:
    """Return why Kubernetes would not mirror an Endpoints object; None if it would.

    Args:
        endpoints: The Endpoints object.
        services: Services, among them its own if there is one. By default it is taken to have one,
            without a selector.

    Complexity: O(s) for s Services.
    Source: pkg/controller/endpointslicemirroring endpointslicemirroring_controller.go,
    syncEndpoints and shouldMirror.
    """
    meta = endpoints.metadata
    if meta.labels.get(LABEL_SKIP_MIRROR) == "true":
        return NotMirrored.SKIPPED
    if ANNOTATION_LEADER in meta.annotations:
        return NotMirrored.LEADER_ELECTION
    if services is None:
        return None
    for service in services:
        its = service.metadata
        if (its.namespace, its.name) == (meta.namespace, meta.name):
            return NotMirrored.HAS_SELECTOR if service.selector else None
    return NotMirrored.NO_SERVICE


def mirror_template(
    endpoints: Endpoints, *, managed_by: str = MIRRORING_MANAGED_BY
) -> SliceTemplate:
    """Return what every slice of an Endpoints object carries.

    Labels and annotations are those of the object, all of them and no others, but for its trigger
    time and kubectl's last-applied-configuration; with the Service's name and the manager as
    labels. Its owner is the object, if this has a uid.

    Args:
        endpoints: The Endpoints object.
        managed_by: Who writes the slices. Those of a manager of another name are meant to outlive
            the object, and have no owner.

    Source: pkg/controller/endpointslicemirroring utils.go, newEndpointSlice.
    """
    meta = endpoints.metadata
    annotations = {
        name: value
        for name, value in meta.annotations.items()
        if name not in _UNMIRRORED_ANNOTATIONS
    }
    owner = OwnerReference(
        api_version="v1",
        kind="Endpoints",
        name=meta.name,
        uid=meta.uid,
        controller=True,
        block_owner_deletion=True,
    )
    is_owner = bool(meta.uid) and managed_by == MIRRORING_MANAGED_BY
    labels = {**meta.labels, LABEL_SERVICE_NAME: meta.name, LABEL_MANAGED_BY: managed_by}
    return SliceTemplate(
        metadata=ObjectMeta(
            namespace=meta.namespace,
            generate_name=_generate_name(meta.name),
            labels=FrozenDict(labels),
            annotations=FrozenDict(annotations),
            owner_references=(owner,) if is_owner else (),
        ),
        owns_annotations=True,
    )


#: A subset has one slice for each family that its addresses are of.
_ONE_SLICE: Final = SingleObject()


def mirror(
    endpoints: Endpoints,
    current: Iterable[EndpointSlice],
    *,
    services: Iterable[Service] | None = None,
    strategy: PackingStrategy = _ONE_SLICE,
    max_endpoints_per_subset: int = MAX_ENDPOINTS_PER_SLICE,
    max_endpoints_per_slice: int = MAX_ENDPOINTS_PER_SLICE,
) -> Plan:
    """Plan the writes that make the slices of an Endpoints object its mirror.

    By default each canonical subset has one slice for each family that its addresses are of, as in
    Kubernetes. An object that is not to be mirrored (see `why_not_mirrored`) loses its slices; for
    one that is being deleted, none is created. Of one that is gone already, give the name alone,
    without subsets.

    Args:
        endpoints: The Endpoints object.
        current: Slices in any order; see `reconcile`. Those of other managers than the mirroring
            controller are never touched.
        services: Services, among them its own if there is one. By default it is taken to have one,
            without a selector.
        strategy: Decides who sits where.
        max_endpoints_per_subset: How many addresses of each canonical subset are mirrored, 1..1000.
            Who is left out, and why, says `losses_in_slices`.
        max_endpoints_per_slice: Capacity in endpoints, 1..1000; for other strategies, as by default
            a slice holds its subset.

    Returns:
        The plan: empty if there is nothing to do; the same for every order of the slices.

    Raises:
        ModelError: A limit is not 1..1000, or two slices have one name.

    Complexity: O(n log n) for n addresses times ports.
    Source: pkg/controller/endpointslicemirroring reconciler.go, reconcile.
    """
    most = max_endpoints_per_subset
    if type(most) is not int or not 1 <= most <= MAX_ENDPOINTS_PER_SLICE:
        raise ModelError("max_endpoints_per_subset", f"must be 1..{MAX_ENDPOINTS_PER_SLICE}", most)
    is_mirrored = why_not_mirrored(endpoints, services) is None
    plan = reconcile(
        endpoints_to_groups(endpoints, max_endpoints_per_subset=most) if is_mirrored else (),
        current,
        template=mirror_template(endpoints),
        strategy=strategy,
        max_endpoints_per_slice=max_endpoints_per_slice,
    )
    return plan if endpoints.metadata.deletion_timestamp is None else without_creates(plan)
