"""The consumer's side: slices -> the endpoints that traffic from one node goes to, and why.

Three steps, as kube-proxy takes them and whoever else reads slices has to:

1. **Merge.** A Service's endpoints are spread over slices, and one can stand in several: while it
   moves, its old slice and its new one are seen at different times. What counts is where traffic
   can go, so endpoints are told apart by port and address, and of several copies one wins.
2. **Select.** The Service's traffic policies, the hints on its endpoints and what state these are
   in decide which of them a node uses.
3. **Explain.** Each of the others has its reason.

`merge_slices` looks at all slices; `SliceCache` follows a watch, and gives what has changed.

**Of copies with one address and port, the winner** is found in three steps, of which no step
depends on the order of the input:

- *In one slice*, which is written at one moment: the last that is not terminating, and if all
  are, the first. So does kube-proxy.
- *Of one endpoint in several slices* (the same `key`: addresses, hostname, target): the copy in
  the slice that was written last. It moves, or its move broke off; whatever wrote the newest slice
  knew best, though its copy be the one that stopped serving (kubernetes/kubernetes#135334).
- *Of different endpoints* (an IP is used again while the Pod that had it still ends): one that is
  not terminating, whenever it was written (kubernetes/kubernetes#135593); among several such, or
  if all are terminating, the one of the newest slice.

Which slice was written last, its `resourceVersion` says: Kubernetes counts all writes of a
resource in one sequence (KEP-5504). Where there is none to compare, the time in the annotation
`endpoints.kubernetes.io/last-change-trigger-time` does; where that is equal too, one that is not
terminating wins, and then the higher name of slice. A slice that somebody else touches in the
midst of a move counts as newer than it should until the move is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeAlias, assert_never, final

import attrs

from endpointslice.errors import ModelError
from endpointslice.models import (
    ANNOTATION_TRIGGER_TIME,
    LABEL_SERVICE_NAME,
    AddressType,
    Endpoint,
    EndpointKey,
    EndpointSlice,
    FrozenDict,
    Protocol,
    Service,
    _to_address_type,
    _to_member,
    _to_protocol,
)

__all__ = [
    "Backend",
    "EndpointsChange",
    "IgnoredHints",
    "Selection",
    "ServicePortName",
    "SliceCache",
    "Topology",
    "TrafficPolicy",
    "Unused",
    "UnusedReason",
    "explain",
    "merge_slices",
    "select_endpoints",
]


@final
@attrs.frozen(kw_only=True, cache_hash=True)
class ServicePortName:
    """One port of one Service, for one type of addresses: what traffic is routed by.

    A dual-stack Service has each port twice, and each is routed by itself.
    """

    namespace: str = ""
    service: str
    address_type: AddressType = attrs.field(converter=_to_address_type)
    name: str = ""
    protocol: Protocol = attrs.field(default=Protocol.TCP, converter=_to_protocol)

    @property
    def sort_key(self) -> tuple[str, ...]:
        """Canonical order: namespace, Service, address type, name, protocol."""
        return (self.namespace, self.service, self.address_type, self.name, self.protocol)


@final
@attrs.frozen
class Backend:
    """Where traffic can go: an endpoint, at its first address and one port number."""

    address: str
    port: int
    endpoint: Endpoint

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


@final
@attrs.frozen(kw_only=True)
class EndpointsChange:
    """What a proxy must program for one port of a Service; each part by address and port.

    Attributes:
        port: The port.
        added: Where traffic can go and could not.
        changed: Where it could and still can, before and after: conditions, node, hints and such.
        removed: Where it no longer can, as it was.
    """

    port: ServicePortName
    added: tuple[Backend, ...] = ()
    changed: tuple[tuple[Backend, Backend], ...] = ()
    removed: tuple[Backend, ...] = ()


# --- merging ----------------------------------------------------------------------------------

#: A port of a Service and its number there, of which slices can have several for one name.
_Place: TypeAlias = tuple[ServicePortName, int]
_Members: TypeAlias = dict[str, Endpoint]
#: When a slice was written: version, trigger time.
_Moment: TypeAlias = tuple[int, str, datetime]
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class _Held:
    """A slice of the cache: the only copy that it has at each address, and where it counts."""

    __slots__ = ("alone", "members", "places", "stored", "written")

    def __init__(self, stored: EndpointSlice) -> None:
        self.stored = stored
        self.written = _written(stored)
        self.members: _Members = {}
        self.places: tuple[_Place, ...] = ()
        #: What stands in the index for an address that is in no other slice.
        self.alone = (self,)

    def seniority(self, address: str) -> tuple[_Moment, bool, str]:
        """How new its copy of an endpoint is; the greater, the newer."""
        settled = not self.members[address].conditions.terminating
        return (self.written, settled, self.stored.name)


def _written(stored: EndpointSlice) -> _Moment:
    version = stored.metadata.resource_version.lstrip("0")
    if not (version.isascii() and version.isdigit()):
        version = ""
    trigger_time = _NEVER
    stated = stored.metadata.annotations.get(ANNOTATION_TRIGGER_TIME)
    if stated:
        try:
            found = datetime.fromisoformat(stated)
            trigger_time = found if found.tzinfo else _NEVER
        except ValueError:
            pass  # somebody's own notion of time says nothing
    # Numbers of equally many digits compare as text, however many.
    return (len(version), version, trigger_time)


def _places_of(stored: EndpointSlice) -> tuple[_Place, ...]:
    """Where a slice's endpoints count; nowhere without a Service or a port number."""
    service = stored.metadata.labels.get(LABEL_SERVICE_NAME)
    if not service:
        return ()
    namespace, kind = stored.metadata.namespace, stored.address_type
    places = {
        (
            ServicePortName(
                namespace=namespace,
                service=service,
                address_type=kind,
                name=port.name,
                protocol=port.protocol,
            ),
            port.port,
        ): None
        for port in stored.ports
        if port.port is not None
    }
    return tuple(places)


def _members_of(stored: EndpointSlice) -> _Members:
    addresses = [endpoint.addresses[0] for endpoint in stored.endpoints]
    members = dict(zip(addresses, stored.endpoints, strict=True))
    if len(members) < len(addresses):
        members = {}
        for address, endpoint in zip(addresses, stored.endpoints, strict=True):
            if address not in members or not endpoint.conditions.terminating:
                members[address] = endpoint
    return members


def _winner(holders: tuple[_Held, ...], address: str) -> Endpoint:
    """The copy that counts, of those in one slice or more."""
    if len(holders) == 1:
        return holders[0].members[address]
    newest: dict[EndpointKey, Endpoint] = {}
    for held in sorted(holders, key=lambda held: held.seniority(address), reverse=True):
        copy = held.members[address]
        newest.setdefault(copy.key, copy)
    copies = newest.values()
    staying = (copy for copy in copies if not copy.conditions.terminating)
    return next(staying, next(iter(copies)))


class _Differences:
    """What is being found to have changed for one port."""

    __slots__ = ("added", "changed", "removed")

    def __init__(self) -> None:
        self.added: list[Backend] = []
        self.changed: list[tuple[Backend, Backend]] = []
        self.removed: list[Backend] = []

    def at(self, port: ServicePortName) -> EndpointsChange | None:
        """The change of the port, if there is any."""
        if not (self.added or self.changed or self.removed):
            return None
        return EndpointsChange(
            port=port,
            added=_sorted(self.added),
            changed=tuple(sorted(self.changed, key=lambda both: _by_address(both[0]))),
            removed=_sorted(self.removed),
        )


@final
class SliceCache:
    """The slices that a watch has shown, and what has changed for whoever routes by them.

    Feed it every event, and take the changes whenever they are to be programmed: what changed and
    changed back in between is none. What it says depends on the slices that it holds alone, not
    on the events that led there. Changes are kept until they are taken: who only looks at
    `backends` should take them all the same.

    Slices of any number of Services may be mixed. Those without a Service are held and count for
    nothing, as do ports without a number (they stand for all ports).

    Args:
        slices: The slices that stand at first; all that is in them counts as a change.

    Raises:
        ModelError: Two of these have one namespace and name.

    Complexity: O(n) to build for n endpoints times ports. O(m) for an event whose slice has m
    endpoints, before and after together, whatever the others hold.
    """

    __slots__ = ("_contested", "_index", "_pending", "_slices")

    def __init__(self, slices: Iterable[EndpointSlice] = ()) -> None:
        self._slices: dict[tuple[str, str], _Held] = {}
        #: The slices that have an address, for each place; one at least.
        self._index: dict[_Place, dict[str, tuple[_Held, ...]]] = {}
        #: Addresses that are in several slices. A dict, as its order is the same everywhere.
        self._contested: dict[_Place, dict[str, None]] = {}
        #: What counted when the changes were last taken, where something may have changed.
        self._pending: dict[_Place, dict[str, Endpoint | None]] = {}
        for stored in slices:
            if (stored.metadata.namespace, stored.name) in self._slices:
                raise ModelError("slices", "must have a name of its own each", stored.name)
            self.update(stored)

    @property
    def slices(self) -> tuple[EndpointSlice, ...]:
        """The slices that it holds, by namespace and name."""
        return tuple(self._slices[name].stored for name in sorted(self._slices))

    @property
    def backends(self) -> FrozenDict[ServicePortName, tuple[Backend, ...]]:
        """Where traffic can go: for each port, by address and number. O(n log n)."""
        found: dict[ServicePortName, list[Backend]] = {}
        for (port, number), index in self._index.items():
            found.setdefault(port, []).extend(
                Backend(address, number, _winner(holders, address))
                for address, holders in index.items()
            )
        return FrozenDict({port: _sorted(found[port]) for port in sorted(found, key=_sort_key)})

    def update(self, stored: EndpointSlice) -> None:
        """Take a slice that was added or modified; of one name the last one stands."""
        name = (stored.metadata.namespace, stored.name)
        held = self._slices.get(name)
        if held is None:
            held = self._slices[name] = _Held(stored)
        self._replace(held, stored, _members_of(stored), _places_of(stored))

    def delete(self, namespace: str, name: str) -> None:
        """Forget a slice that was deleted; one that is not there is none to forget."""
        held = self._slices.pop((namespace, name), None)
        if held is not None:
            self._replace(held, held.stored, {}, ())

    def take_changes(self) -> tuple[EndpointsChange, ...]:
        """Return what has changed since the last call, and start anew.

        Returns:
            One value for each port that has changed, by its sort key.

        Complexity: O(m log m) for the m endpoints that may have changed.
        """
        found: dict[ServicePortName, _Differences] = {}
        for (port, number), before in self._pending.items():
            index = self._index.get((port, number), {})
            differences = found.setdefault(port, _Differences())
            for address, old in before.items():
                holders = index.get(address)
                if holders is None:
                    if old is not None:
                        differences.removed.append(Backend(address, number, old))
                    continue
                new = _winner(holders, address)
                if old is None:
                    differences.added.append(Backend(address, number, new))
                elif old is not new and old != new:
                    both = (Backend(address, number, old), Backend(address, number, new))
                    differences.changed.append(both)
        self._pending = {}
        changes = (found[port].at(port) for port in sorted(found, key=_sort_key))
        return tuple(change for change in changes if change is not None)

    def _replace(
        self, held: _Held, stored: EndpointSlice, now: _Members, now_at: tuple[_Place, ...]
    ) -> None:
        """Let a slice hold something else."""
        was, was_at = held.members, held.places
        # As `old != endpoint` says, without a call for each.
        differing = [
            address
            for address, new in now.items()
            if (old := was.get(address)) is not new and (old is None or old != new)
        ]
        differing += [address for address in was if address not in now]
        for place in dict.fromkeys((*was_at, *now_at)):
            touched = differing
            if place not in now_at:
                touched = list(was)
            elif place not in was_at:
                touched = list(now)
            elif place in self._contested:
                # Its copies are of another moment now, which decides between them and others.
                touched = differing + list(filter(self._contested[place].__contains__, now))
            self._note(place, touched)
            self._reindex(place, held, now if place in now_at else {}, touched)
        held.stored, held.members, held.places = stored, now, now_at
        held.written = _written(stored)

    def _note(self, place: _Place, addresses: Iterable[str]) -> None:
        """Remember what counts now, if it has not been noted since the changes were taken."""
        index = self._index.get(place, {})
        noted = self._pending.setdefault(place, {})
        for address in addresses:
            if address not in noted:
                holders = index.get(address)
                noted[address] = _winner(holders, address) if holders else None

    def _reindex(
        self, place: _Place, held: _Held, members: _Members, addresses: Iterable[str]
    ) -> None:
        index = self._index.setdefault(place, {})
        contested = self._contested.setdefault(place, {})
        for address in addresses:
            holders = index.get(address, ())
            if address in members:
                if not holders:
                    index[address] = held.alone
                elif held not in holders:
                    index[address] = (*holders, held)
                    contested[address] = None
            elif len(holders) == 1:
                del index[address]
            else:
                index[address] = others = tuple(item for item in holders if item is not held)
                if len(others) == 1:
                    del contested[address]
        if not contested:
            del self._contested[place]
        if not index:
            del self._index[place]


def merge_slices(
    slices: Iterable[EndpointSlice],
) -> FrozenDict[ServicePortName, tuple[Backend, ...]]:
    """Return where traffic can go, from all slices of any number of Services.

    Args:
        slices: Any number, in any order, of any Services and managers, each once. Those without
            the label `kubernetes.io/service-name` belong to no Service and count for nothing, as
            do ports without a number.

    Returns:
        For each port, by its sort key, what its traffic can go to: each address and port number
        once, and in this order. It says nothing yet of who may use it, or of whether it is ready.

    Raises:
        ModelError: Two slices have one namespace and name.

    Complexity: O(n log n) for n endpoints times ports.
    Source: kubernetes pkg/proxy/endpointslicecache.go, endpointInfoByServicePort; which copy wins
        departs from it, as the module says.
    """
    return SliceCache(slices).backends


def _sort_key(port: ServicePortName) -> tuple[str, ...]:
    return port.sort_key


def _by_address(backend: Backend) -> tuple[str, int]:
    return (backend.address, backend.port)


def _sorted(backends: Iterable[Backend]) -> tuple[Backend, ...]:
    return tuple(sorted(backends, key=_by_address))


# --- selecting --------------------------------------------------------------------------------


class TrafficPolicy(StrEnum):
    """Which endpoints traffic may go to, as a Service says."""

    #: Those of the whole cluster, though hints can narrow them.
    CLUSTER = "Cluster"
    #: Those on the node that the traffic comes from, or comes in at.
    LOCAL = "Local"


class Topology(StrEnum):
    """How near endpoints are that a node uses, as hints say."""

    ANYWHERE = "Anywhere"
    SAME_NODE = "SameNode"
    SAME_ZONE = "SameZone"


class IgnoredHints(StrEnum):
    """Why hints on ready endpoints are not followed from a node; the others are looked at next."""

    #: Some ready endpoint has no hint for any node.
    MISSING_NODE_HINT = "MissingNodeHint"
    #: No ready endpoint is for this node.
    NO_HINT_FOR_NODE = "NoHintForNode"
    #: Some ready endpoint has no hint for any zone.
    MISSING_ZONE_HINT = "MissingZoneHint"
    #: The node is in no zone.
    NODE_WITHOUT_ZONE = "NodeWithoutZone"
    #: No ready endpoint is for the zone of this node.
    NO_HINT_FOR_ZONE = "NoHintForZone"


@final
@attrs.frozen(kw_only=True)
class Selection:
    """Where the traffic of one port goes from one node.

    Attributes:
        port: The port.
        node_name: The node.
        backends: All that the port has, in the order of the input; the parts below too.
        internal_policy: For traffic to the cluster IP.
        external_policy: For traffic from outside, to node ports, load balancers and external IPs;
            None if the port has none of these.
        topology: What hints narrow `cluster` to.
        ignored_hints: Why hints that are there do not; node hints first, then zone hints.
        cluster: What policy Cluster may use; None if no traffic has this policy.
        local: What policy Local may use; None if no traffic has this policy.
    """

    port: ServicePortName
    node_name: str
    backends: tuple[Backend, ...] = attrs.field(repr=False)
    internal_policy: TrafficPolicy
    external_policy: TrafficPolicy | None
    topology: Topology = Topology.ANYWHERE
    ignored_hints: tuple[IgnoredHints, ...] = ()
    cluster: tuple[Backend, ...] | None
    local: tuple[Backend, ...] | None

    @property
    def internal(self) -> tuple[Backend, ...]:
        """Where traffic to the cluster IP goes."""
        return self.used_by(self.internal_policy)

    @property
    def external(self) -> tuple[Backend, ...] | None:
        """Where traffic from outside goes that comes in at this node; None if none can."""
        return None if self.external_policy is None else self.used_by(self.external_policy)

    @property
    def reachable(self) -> tuple[Backend, ...]:
        """What this node needs to know at all: `cluster` and `local`, each once."""
        used = set(map(_by_address, (*(self.cluster or ()), *(self.local or ()))))
        return tuple(item for item in self.backends if _by_address(item) in used)

    @property
    def has_endpoints(self) -> bool:
        """Whether any node has somewhere to send traffic; if not, it is refused, else dropped."""
        return bool(_usable(self.backends))

    def used_by(self, policy: TrafficPolicy) -> tuple[Backend, ...]:
        """Where traffic of a policy goes.

        Raises:
            ModelError: It is no policy, or the port has no traffic of it.
        """
        cluster = _to_member(TrafficPolicy, "policy", policy) is TrafficPolicy.CLUSTER
        used = self.cluster if cluster else self.local
        if used is None:
            raise ModelError("policy", "is that of no traffic of the port", policy)
        return used


def select_endpoints(
    service: Service,
    port: ServicePortName,
    backends: Iterable[Backend],
    *,
    node_name: str,
    zone: str | None = None,
) -> Selection:
    """Select what a node uses of a port's endpoints.

    - **State**: the endpoints that are ready; only if a policy finds none, those that terminate
      and still serve, as a last resort. No others, ever.
    - **Policy**: a port needs the endpoints of the cluster unless internalTrafficPolicy is Local
      and nothing comes from outside: for traffic within the cluster to an outside address they
      count even if externalTrafficPolicy is Local. Any value but Local counts as Cluster.
    - **Hints** narrow those of the cluster: to this node if every ready endpoint is for some node
      and one at least for this one; if not, to this zone if the same is true of zones.

    Whether the Service asks for hints does not matter: whoever writes slices decides that.

    Args:
        service: The Service.
        port: One of its ports; each type of addresses is selected by itself.
        backends: What the port has after merging, in any order.
        node_name: The node that traffic comes from, or comes in at.
        zone: The zone of this node; None if it has none.

    Raises:
        ModelError: The port is none of the Service's.

    Complexity: O(n) for n endpoints.
    Source: kubernetes pkg/proxy/topology.go, CategorizeEndpoints; serviceport.go.
    """
    everything = tuple(backends)
    internal, external = _policies(service, port)
    topology = Topology.ANYWHERE
    ignored: tuple[IgnoredHints, ...] = ()
    cluster = local = None
    if internal is TrafficPolicy.CLUSTER or external is not None:
        topology, ignored = _topology(everything, node_name, zone)
        near = (item for item in _usable(everything) if _is_near(item, topology, node_name, zone))
        cluster = tuple(near)
    if TrafficPolicy.LOCAL in (internal, external):
        local = _usable(item for item in everything if _is_local(item, node_name))
    return Selection(
        port=port,
        node_name=node_name,
        backends=everything,
        internal_policy=internal,
        external_policy=external,
        topology=topology,
        ignored_hints=ignored,
        cluster=cluster,
        local=local,
    )


def _policies(
    service: Service, port: ServicePortName
) -> tuple[TrafficPolicy, TrafficPolicy | None]:
    """The policy of traffic from within the cluster, and of that from outside, if any comes."""
    meta = service.metadata
    own = [
        item
        for item in service.ports
        if (meta.namespace, meta.name, item.name, item.protocol)
        == (port.namespace, port.service, port.name, port.protocol)
    ]
    if not own:
        raise ModelError("port", "is none of the Service's", port)
    is_ipv6 = port.address_type is AddressType.IPV6
    outside = (*service.external_ips, *service.load_balancer_ips)
    is_external = own[0].node_port is not None or any((":" in ip) == is_ipv6 for ip in outside)
    return (
        _policy(service.internal_traffic_policy),
        _policy(service.external_traffic_policy) if is_external else None,
    )


def _policy(value: str | None) -> TrafficPolicy:
    return TrafficPolicy.LOCAL if value == TrafficPolicy.LOCAL else TrafficPolicy.CLUSTER


def _is_local(backend: Backend, node_name: str) -> bool:
    return bool(node_name) and backend.endpoint.node_name == node_name


def _is_ready(backend: Backend) -> bool:
    return backend.endpoint.conditions.ready


def _usable(backends: Iterable[Backend]) -> tuple[Backend, ...]:
    """The ready ones; if there are none, those that serve to the end."""
    known = tuple(backends)
    ready = tuple(filter(_is_ready, known))
    return ready or tuple(item for item in known if _is_last_resort(item))


def _is_last_resort(backend: Backend) -> bool:
    conditions = backend.endpoint.conditions
    return conditions.serving and conditions.terminating and not conditions.ready


def _is_near(backend: Backend, topology: Topology, node_name: str, zone: str | None) -> bool:
    hints = backend.endpoint.hints
    match topology:
        case Topology.ANYWHERE:
            return True
        case Topology.SAME_NODE:
            return node_name in hints.for_nodes
        case Topology.SAME_ZONE:
            return zone in hints.for_zones
        case _ as unreachable:
            assert_never(unreachable)


def _topology(
    backends: Iterable[Backend], node_name: str, zone: str | None
) -> tuple[Topology, tuple[IgnoredHints, ...]]:
    """What the hints of ready endpoints narrow them to, and why others of these do not."""
    hints = [item.endpoint.hints for item in backends if item.endpoint.conditions.ready]
    for_nodes = [item.for_nodes for item in hints]
    for_zones = [item.for_zones for item in hints]
    ignored = []
    if any(for_nodes):
        if not all(for_nodes):
            ignored.append(IgnoredHints.MISSING_NODE_HINT)
        elif any(node_name in nodes for nodes in for_nodes):
            return Topology.SAME_NODE, ()
        else:
            ignored.append(IgnoredHints.NO_HINT_FOR_NODE)
    if any(for_zones):
        if not all(for_zones):
            ignored.append(IgnoredHints.MISSING_ZONE_HINT)
        elif any(zone in zones for zones in for_zones):
            return Topology.SAME_ZONE, tuple(ignored)
        elif zone:
            ignored.append(IgnoredHints.NO_HINT_FOR_ZONE)
        else:
            ignored.append(IgnoredHints.NODE_WITHOUT_ZONE)
    return Topology.ANYWHERE, tuple(ignored)


# --- explaining -------------------------------------------------------------------------------


class UnusedReason(StrEnum):
    """Why traffic does not go to an endpoint; the first that holds, from the top."""

    #: Another copy with the same address and port counts.
    SUPERSEDED = "Superseded"
    #: It is on another node, or on none, and the policy is Local.
    OTHER_NODE = "OtherNode"
    #: It is not ready.
    NOT_READY = "NotReady"
    #: It terminates and no longer serves.
    NOT_SERVING = "NotServing"
    #: It still serves while it terminates, which counts only where none is ready.
    TERMINATING = "Terminating"
    #: It is ready, and for other nodes.
    HINTED_TO_OTHER_NODES = "HintedToOtherNodes"
    #: It is ready, and for other zones.
    HINTED_TO_OTHER_ZONES = "HintedToOtherZones"


@final
@attrs.frozen
class Unused:
    """An endpoint that traffic does not go to, and why.

    Attributes:
        slice_name: Where the copy is, if it lost against another one; "" for any other reason.
    """

    backend: Backend
    reason: UnusedReason
    slice_name: str = ""


def explain(
    selection: Selection, policy: TrafficPolicy, slices: Iterable[EndpointSlice] = ()
) -> tuple[Unused, ...]:
    """Say of each endpoint that traffic of a policy does not go to why it does not.

    Args:
        selection: What was selected.
        policy: Which traffic, as `selection.internal_policy`.
        slices: The slices that were merged: what lost there against another copy, and differs
            from it, is told too.

    Returns:
        One value for each backend that is not used, in their order, then the copies that lost,
        by slice.

    Raises:
        ModelError: It is no policy, or the port has no traffic of it.

    Complexity: O(n) for n endpoints.
    """
    policy = _to_member(TrafficPolicy, "policy", policy)
    used = set(map(_by_address, selection.used_by(policy)))
    unused = [
        Unused(backend, _reason(backend, selection, policy))
        for backend in selection.backends
        if _by_address(backend) not in used
    ]
    return (*unused, *_superseded(selection, slices))


def _reason(backend: Backend, selection: Selection, policy: TrafficPolicy) -> UnusedReason:
    conditions = backend.endpoint.conditions
    if policy is TrafficPolicy.LOCAL and not _is_local(backend, selection.node_name):
        return UnusedReason.OTHER_NODE
    if _is_last_resort(backend):
        return UnusedReason.TERMINATING
    if not conditions.ready:
        return UnusedReason.NOT_SERVING if conditions.terminating else UnusedReason.NOT_READY
    if selection.topology is Topology.SAME_NODE:
        return UnusedReason.HINTED_TO_OTHER_NODES
    return UnusedReason.HINTED_TO_OTHER_ZONES


def _superseded(selection: Selection, slices: Iterable[EndpointSlice]) -> Iterator[Unused]:
    """The copies of the port's endpoints that do not count."""
    winners = {(item.address, item.port): item.endpoint for item in selection.backends}
    for stored in sorted(slices, key=lambda stored: (stored.metadata.namespace, stored.name)):
        for port, number in _places_of(stored):
            for endpoint in stored.endpoints if port == selection.port else ():
                winner = winners.get((endpoint.addresses[0], number))
                if winner is not None and winner != endpoint:
                    copy = Backend(endpoint.addresses[0], number, endpoint)
                    yield Unused(copy, UnusedReason.SUPERSEDED, stored.name)
