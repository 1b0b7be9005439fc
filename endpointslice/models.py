"""Every value of the library: discovery.k8s.io/v1, the sliver of core/v1 we read, limits.

All of them are frozen, compare by meaning and can be pickled. A list of the API is a tuple, a
map a [`FrozenDict`][endpointslice.models.FrozenDict]. What we do not model is kept in `extra`
and written back as it was.

Two rules hold everywhere:

- **Identity is `key`, content is `==`.** Two endpoints with one key are the same backend, seen
  at two moments; they are equal if nothing that a consumer can see differs.
- **One meaning, one representation.** A condition that the API leaves unset is what the API
  says it means; "" and unset are the same; IP addresses are canonical.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Any, Final, NewType, NoReturn, Self, TypeVar, final

import attrs

from endpointslice.errors import ModelError

__all__ = [
    "ANNOTATION_TRIGGER_TIME",
    "DEFAULT_MANAGED_BY",
    "DEFAULT_MAX_ENDPOINTS_PER_SLICE",
    "LABEL_HEADLESS",
    "LABEL_MANAGED_BY",
    "LABEL_SERVICE_NAME",
    "LABEL_ZONE",
    "MAX_ADDRESSES_PER_ENDPOINT",
    "MAX_ADDRESSES_PER_ENDPOINTS",
    "MAX_ENDPOINTS_PER_SLICE",
    "NO_HINTS",
    "AddressType",
    "ContainerPort",
    "Endpoint",
    "EndpointAddress",
    "EndpointConditions",
    "EndpointGroup",
    "EndpointHints",
    "EndpointKey",
    "EndpointPort",
    "EndpointSlice",
    "EndpointSubset",
    "Endpoints",
    "FrozenDict",
    "GroupKey",
    "Node",
    "ObjectMeta",
    "ObjectReference",
    "OwnerReference",
    "Pod",
    "Protocol",
    "Service",
    "ServicePort",
    "SliceTemplate",
    "canonical_ip",
    "check_max_endpoints_per_slice",
    "packed_ip",
]

#: What kube-controller-manager's --max-endpoints-per-slice defaults to.
DEFAULT_MAX_ENDPOINTS_PER_SLICE: Final = 100
#: The API server's limit (pkg/apis/discovery/validation, maxEndpoints).
MAX_ENDPOINTS_PER_SLICE: Final = 1000
#: The API server's limit (pkg/apis/discovery/validation, maxAddresses).
MAX_ADDRESSES_PER_ENDPOINT: Final = 100
#: How many addresses Kubernetes puts into an Endpoints object; it lists no more of a Service.
#: Source: k8s.io/kubernetes pkg/controller/endpoint/endpoints_controller.go, maxCapacity.
MAX_ADDRESSES_PER_ENDPOINTS: Final = 1000

LABEL_SERVICE_NAME: Final = "kubernetes.io/service-name"
LABEL_MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
LABEL_HEADLESS: Final = "service.kubernetes.io/headless"
LABEL_ZONE: Final = "topology.kubernetes.io/zone"
ANNOTATION_TRIGGER_TIME: Final = "endpoints.kubernetes.io/last-change-trigger-time"

#: The name by which Kubernetes' own controller marks its slices.
DEFAULT_MANAGED_BY: Final = "endpointslice-controller.k8s.io"

_K = TypeVar("_K")
_V = TypeVar("_V")
_Enum = TypeVar("_Enum", bound=StrEnum)

_assign = object.__setattr__


@final
class FrozenDict(dict[_K, _V]):
    """A dict that cannot change, so that it can be hashed and shared.

    It equals any dict with the same items. Lookups are the plain dict's.

    >>> FrozenDict(app="web") == {"app": "web"}
    True
    """

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[type[Self], tuple[dict[_K, _V]]]:
        return (type(self), (dict(self),))

    def __repr__(self) -> str:
        return dict.__repr__(self)

    def _immutable(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise TypeError("a FrozenDict cannot change")

    __setitem__ = __delitem__ = __ior__ = _immutable
    clear = pop = popitem = setdefault = update = _immutable


def _freeze_map(value: Mapping[str, Any]) -> FrozenDict[str, Any]:
    return value if type(value) is FrozenDict else FrozenDict(value)


def _to_strings(values: Iterable[str]) -> tuple[str, ...]:
    if isinstance(values, str):
        raise ModelError("value", "must be a list of strings, not one string", values)
    return tuple(values)


_EMPTY: Final[FrozenDict[str, Any]] = FrozenDict()


def _freeze_strings(value: Mapping[str, str]) -> FrozenDict[str, str]:
    return value if type(value) is FrozenDict else FrozenDict(value)


class AddressType(StrEnum):
    """What the addresses of a slice are. It never changes in the life of a slice."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"
    FQDN = "FQDN"


class Protocol(StrEnum):
    """The IP protocol of a port."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


# --- addresses --------------------------------------------------------------------------------

_IPV4, _IPV6, _FQDN = 1, 2, 4
_TYPE_IPV4, _TYPE_IPV6 = AddressType.IPV4, AddressType.IPV6
_IPV4_MAPPED: Final = bytes(10) + b"\xff\xff"
_FAMILY_BIT: Final = {AddressType.IPV4: _IPV4, AddressType.IPV6: _IPV6, AddressType.FQDN: _FQDN}
#: What `_address_families` says of a canonical IP.
_IP_FAMILIES: Final = {AddressType.IPV4: _IPV4 | _FQDN, AddressType.IPV6: _IPV6}
#: RFC 1123 subdomain, at most 253 characters; the API allows one trailing dot.
_SUBDOMAIN: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*"
)


def _address_families(address: object) -> int:
    """Which address types accept this spelling, as a bit mask; 0 for none.

    IPs count in canonical form only: one address, one spelling, one identity.
    """
    if not isinstance(address, str):
        return 0
    try:
        if ":" in address:
            packed = inet_pton(AF_INET6, address)
            is_canonical = _canonical_ipv6(packed) == address
            return _IPV6 if is_canonical and not packed.startswith(_IPV4_MAPPED) else 0
        inet_pton(AF_INET, address)
    except (OSError, ValueError):
        return _FQDN if _SUBDOMAIN.fullmatch(address.removesuffix(".")) else 0
    return _IPV4 | _FQDN


def _canonical_ipv6(packed: bytes) -> str:
    """RFC 5952, as Go's net/netip spells it: hexadecimal only, but for IPv4-mapped addresses."""
    text = inet_ntop(AF_INET6, packed)
    if "." in text and not text.startswith("::ffff:"):
        # The C library writes the last 32 bits of ::/96 with dots; RFC 5952 keeps that for
        # well-known prefixes.
        high, low = packed[12] << 8 | packed[13], packed[14] << 8 | packed[15]
        text = f"::{high:x}:{low:x}" if high else f"::{low:x}"
    return text


# --- endpoints --------------------------------------------------------------------------------

#: Identity of an endpoint within its group: sorted addresses, hostname, and namespace and name
#: of its target, in one string that no two identities share.
#: Source: k8s.io/endpointslice util/endpointset.go, hashEndpoint.
EndpointKey = NewType("EndpointKey", str)


@final
@attrs.frozen(kw_only=True)
class EndpointConditions:
    """What an endpoint can be used for now.

    Attributes:
        ready: It takes new connections. Never true while terminating, unless the Service
            publishes addresses that are not ready.
        serving: As `ready`, whatever `terminating` says.
        terminating: It is going away.
    """

    ready: bool = True
    serving: bool = True
    terminating: bool = False
    #: Which of the three the stored object states (1 ready, 2 serving, 4 terminating). The
    #: others are what the API says an unset condition means. Spelling, so no part of equality.
    _stated: int = attrs.field(default=7, eq=False, repr=False)
    #: Whether they are sure to change: not ready yet, or going away.
    is_volatile: bool = attrs.field(init=False, eq=False, repr=False)
    _code: str = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        for name in ("ready", "serving", "terminating"):
            if not isinstance(getattr(self, name), bool):
                raise ModelError(name, "must be a bool", getattr(self, name))
        # What differs from what the API says of an unset condition has to be stated.
        needed = (not self.ready) + 2 * (self.serving != self.ready) + 4 * self.terminating
        _assign(self, "_stated", self._stated | needed)
        code = self.ready + 2 * self.serving + 4 * self.terminating
        _assign(self, "_code", str(code))
        _assign(self, "is_volatile", self.terminating or not self.ready)


@final
@attrs.frozen(kw_only=True)
class EndpointHints:
    """Who should use an endpoint: consumers in these zones, on these nodes.

    No hints are `EndpointHints()`, which is false.
    """

    for_zones: tuple[str, ...] = attrs.field(default=(), converter=_to_strings)
    for_nodes: tuple[str, ...] = attrs.field(default=(), converter=_to_strings)
    #: The stored object has a `hints` object, though an empty one. Spelling, not meaning.
    _stated: bool = attrs.field(default=False, eq=False, repr=False)
    _code: str = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        for name in ("for_zones", "for_nodes"):
            for i, value in enumerate(getattr(self, name)):
                _check_text(f"{name}[{i}]", value)
        code = "\2".join(("\1".join(self.for_zones), "\1".join(self.for_nodes)))
        _assign(self, "_code", code if self else "")

    def __bool__(self) -> bool:
        return bool(self.for_zones or self.for_nodes)


NO_HINTS: Final = EndpointHints()
_DEFAULT_CONDITIONS: Final = EndpointConditions()


def _check_text(field: str, value: object) -> None:
    if not isinstance(value, str):
        raise ModelError(field, "must be a string", value)
    if not value or any(character < " " for character in value):
        raise ModelError(field, "must hold characters, and no control characters", value)


@final
@attrs.frozen(init=False, eq=False, weakref_slot=False)
class ObjectReference:
    """The object behind an endpoint, a Pod as a rule.

    `resource_version` is no part of equality: it changes with every write of the target, and a
    slice that followed it would be written as often.
    """

    kind: str
    namespace: str
    name: str
    uid: str
    api_version: str
    field_path: str
    resource_version: str
    extra: FrozenDict[str, Any] = attrs.field(repr=False)

    def __init__(
        self,
        kind: str = "",
        namespace: str = "",
        name: str = "",
        uid: str = "",
        api_version: str = "",
        field_path: str = "",
        resource_version: str = "",
        extra: Mapping[str, Any] = _EMPTY,
    ) -> None:
        _assign(self, "__class__", _OpenReference)
        new: Any = self  # the same object, open while it has the twin's class
        new.kind = kind
        new.namespace = namespace
        new.name = name
        new.uid = uid
        new.api_version = api_version
        new.field_path = field_path
        new.resource_version = resource_version
        new.extra = extra if type(extra) is FrozenDict else FrozenDict(extra)
        new.__class__ = ObjectReference

    def _identity(self) -> tuple[str, ...]:
        return (
            self.kind,
            self.namespace,
            self.name,
            self.uid,
            self.api_version,
            self.field_path,
        )

    def __eq__(self, other: object) -> bool:
        if type(other) is not ObjectReference:
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())


class _OpenReference:
    """ObjectReference while it is being made: the same slots, not yet frozen."""

    __slots__ = ObjectReference.__slots__  # type: ignore[attr-defined]


@lru_cache(maxsize=1 << 15)
def _shared_state(
    conditions: str,
    node_name: str,
    zone: str,
    kind: str,
    api_version: str,
    field_path: str,
    hints: str,
) -> str:
    """What many endpoints of a node have in common, in one string; "" if a name holds NUL."""
    state = f"{conditions}{node_name}\0{zone}\0{kind}\0{api_version}\0{field_path}\0{hints}"
    return state if state.count("\0") == 5 else ""


@lru_cache(maxsize=1 << 15)
def _state_with(state: str, before: str, after: str) -> str:
    """The content with other hints: these stand last."""
    return state.removesuffix(before) + after


@final
@attrs.frozen(
    init=False,
    eq=False,
    slots=False,
    these={
        "addresses": attrs.field(),
        "conditions": attrs.field(),
        "hostname": attrs.field(),
        "node_name": attrs.field(),
        "zone": attrs.field(),
        "target_ref": attrs.field(),
        "hints": attrs.field(),
        "extra": attrs.field(repr=False),
        "key": attrs.field(init=False, repr=False),
    },
)
class Endpoint:
    """One backend: its addresses, and all that a consumer may want to know of it.

    Endpoints are equal if `key` and content are: conditions, node, zone, target, hints.
    `extra` (and the deprecatedTopology in it) is carried along and no part of that.

    Args:
        addresses: 1..100 addresses of one family; in canonical form if they are IPs.
        conditions: What it can be used for.
        hostname: Its DNS label; only endpoints of one hostname are interchangeable in DNS.
        node_name: The Node it runs on.
        zone: The zone it runs in.
        target_ref: The object behind it.
        hints: Who should use it.
        extra: Fields of the stored object that are not modelled, by their JSON names; those
            of its conditions and hints under these names.

    Raises:
        ModelError: An address is none, or a name holds control characters.
    """

    __slots__ = (
        "_addresses",
        "_families",
        "_size",
        "_state",
        "_uid",
        "conditions",
        "extra",
        "hints",
        "hostname",
        "key",
        "node_name",
        "target_ref",
        "zone",
    )

    conditions: EndpointConditions
    hostname: str | None
    node_name: str | None
    zone: str | None
    target_ref: ObjectReference | None
    hints: EndpointHints
    extra: FrozenDict[str, Any]
    key: EndpointKey
    #: Its addresses, if they are several. One alone is what `key` begins with.
    _addresses: tuple[str, ...] | None
    #: All content but the target's uid, in one string that the endpoints of a node share, so
    #: that contents are compared in C and mostly by pointer. Hints stand last.
    _state: str
    _uid: str
    _families: int
    #: Bytes that it takes in the protobuf of a slice; 0 until `protobuf_size` has counted them.
    _size: int

    # Written by hand because this is the hot door: assigning the slots of an open twin and
    # then closing it costs half of what the generated __init__ of a frozen class does.
    def __init__(
        self,
        addresses: Iterable[str],
        conditions: EndpointConditions = _DEFAULT_CONDITIONS,
        hostname: str | None = None,
        node_name: str | None = None,
        zone: str | None = None,
        target_ref: ObjectReference | None = None,
        hints: EndpointHints | None = None,
        extra: Mapping[str, Any] = _EMPTY,
    ) -> None:
        if hints is None:
            hints = NO_HINTS
        if type(addresses) is not tuple:
            addresses = _address_tuple(addresses)
        if len(addresses) == 1:
            joined = addresses[0]
            families = _address_families(joined)
        else:
            joined, families = _join_addresses(addresses)
        if not families:
            _refuse_addresses(addresses)
        _assign(self, "__class__", _OpenEndpoint)
        _fill_endpoint(
            self,
            joined,
            families,
            conditions,
            hostname,
            node_name,
            zone,
            target_ref,
            hints,
            extra if type(extra) is FrozenDict else FrozenDict(extra),
            addresses if len(addresses) > 1 else None,
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses, in the order in which they were given."""
        return self._addresses or (self.key.partition("\0")[0],)

    def __eq__(self, other: object) -> bool:
        if type(other) is not Endpoint:
            return NotImplemented
        return self.key == other.key and self._state == other._state and self._uid == other._uid

    def __hash__(self) -> int:
        return hash(self.key)

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        return (
            type(self),
            (
                self.addresses,
                self.conditions,
                self.hostname,
                self.node_name,
                self.zone,
                self.target_ref,
                self.hints,
                self.extra,
            ),
        )

    def with_hints(self, hints: EndpointHints) -> Endpoint:
        """Return this endpoint with other hints. Complexity: O(1)."""
        new: Any = _OpenEndpoint()  # nothing of it need be checked again
        new._addresses = self._addresses
        new.conditions = self.conditions
        new.hostname = self.hostname
        new.node_name = self.node_name
        new.zone = self.zone
        new.target_ref = self.target_ref
        new.hints = hints
        new.extra = self.extra
        new.key = self.key
        new._state = _state_with(self._state, self.hints._code, hints._code)
        new._uid = self._uid
        new._families = self._families
        new._size = 0
        new.__class__ = Endpoint
        return new  # type: ignore[no-any-return]

    def with_extra(self, extra: Mapping[str, Any]) -> Endpoint:
        """Return this endpoint with other unmodelled fields. Complexity: O(1)."""
        return _fill_endpoint(
            _OpenEndpoint(),
            self.key.partition("\0")[0],
            self._families,
            self.conditions,
            self.hostname,
            self.node_name,
            self.zone,
            self.target_ref,
            self.hints,
            _freeze_map(extra),
            self._addresses,
        )


class _OpenEndpoint:
    """Endpoint while it is being made: the same slots, not yet frozen."""

    __slots__ = Endpoint.__slots__


def _fill_endpoint(
    new: Any,
    joined: str,
    families: int,
    conditions: EndpointConditions,
    hostname: str | None,
    node_name: str | None,
    zone: str | None,
    target_ref: ObjectReference | None,
    hints: EndpointHints = NO_HINTS,
    extra: FrozenDict[str, Any] = _EMPTY,
    addresses: tuple[str, ...] | None = None,
) -> Endpoint:
    """Make an endpoint of one that is open.

    Whoever knows what `_address_families` says of an address has it made here, of a new
    `_OpenEndpoint`, in three quarters of the time that the constructor takes.

    `joined` is its address, or what the key of several begins with; `addresses` are these, if
    they are several. The rest is as the constructor has it.
    """
    if target_ref is None:
        key = f"{joined}\0{hostname or ''}\0\0"
        uid = kind = api_version = field_path = ""
    else:
        key = f"{joined}\0{hostname or ''}\0{target_ref.namespace}\0{target_ref.name}"
        uid, kind = target_ref.uid, target_ref.kind
        api_version, field_path = target_ref.api_version, target_ref.field_path
    state = _shared_state(
        conditions._code, node_name or "", zone or "", kind, api_version, field_path, hints._code
    )
    if key.count("\0") != 3 or not state or "\0" in uid:
        _refuse_names(hostname, node_name, zone, target_ref)
    new._addresses = addresses
    new.conditions = conditions
    new.hostname = hostname
    new.node_name = node_name
    new.zone = zone
    new.target_ref = target_ref
    new.hints = hints
    new.extra = extra
    new.key = key
    new._state = state
    new._uid = uid
    new._families = families
    new._size = 0
    new.__class__ = Endpoint
    return new  # type: ignore[no-any-return]


def _address_tuple(addresses: Iterable[str]) -> tuple[str, ...]:
    if isinstance(addresses, str):
        raise ModelError("addresses", "must be a list of addresses, not one string", addresses)
    return tuple(addresses)


def _join_addresses(addresses: tuple[str, ...]) -> tuple[str, int]:
    if not 1 <= len(addresses) <= MAX_ADDRESSES_PER_ENDPOINT:
        raise ModelError(
            "addresses",
            f"must be 1..{MAX_ADDRESSES_PER_ENDPOINT} addresses",
            len(addresses),
        )
    families = _IPV4 | _IPV6 | _FQDN
    for address in addresses:
        families &= _address_families(address)
    return (",".join(sorted(addresses)) if families else "", families)


def _refuse_addresses(addresses: tuple[str, ...]) -> NoReturn:
    for i, address in enumerate(addresses):
        if not isinstance(address, str):
            raise ModelError(f"addresses[{i}]", "must be a string", address)
        if not _address_families(address):
            raise ModelError(
                f"addresses[{i}]", _address_advice(address) or "is not an address", address
            )
    raise ModelError("addresses", "must all be of one family", addresses)


def _refuse_names(
    hostname: str | None, node_name: str | None, zone: str | None, target: ObjectReference | None
) -> NoReturn:
    names = {"hostname": hostname, "node_name": node_name, "zone": zone}
    if target is not None:
        for name in ("kind", "namespace", "name", "uid", "api_version", "field_path"):
            names[f"target_ref.{name}"] = getattr(target, name)
    field, value = next((name, value) for name, value in names.items() if value and "\0" in value)
    raise ModelError(field, "must not hold NUL characters", value)


def _address_advice(address: str) -> str | None:
    """What is wrong with an IP address that is spelled another way than the canonical one."""
    try:
        packed = inet_pton(AF_INET6, address)
    except (OSError, ValueError):
        return None
    if packed.startswith(_IPV4_MAPPED):
        return f"must not be an IPv4-mapped IPv6 address (say {inet_ntop(AF_INET, packed[12:])})"
    canonical = _canonical_ipv6(packed)
    return f"must be in canonical form ({canonical})"


def packed_ip(address: str) -> bytes | None:
    """Return the 4 or 16 bytes of an IP address, in any spelling of C; None if it is none."""
    try:
        return inet_pton(AF_INET6 if ":" in address else AF_INET, address)
    except (OSError, ValueError):
        return None


def canonical_ip(address: str) -> tuple[AddressType, str]:
    """Return the family of an IP address and its canonical form.

    IPv4 may have leading zeros, which count as decimal; an IPv4-mapped IPv6 address is IPv4.

    Raises:
        ModelError: It is not an IP address.

    Source: k8s.io/utils/net ParseIPSloppy, by which Kubernetes reads the IPs of Pods.
    """
    families = _address_families(address)
    if families & _IPV4:
        return _TYPE_IPV4, address
    if families & _IPV6:
        return _TYPE_IPV6, address
    try:
        if ":" not in address:
            if not _IPV4_SLOPPY.fullmatch(address):
                raise ValueError
            packed = inet_pton(AF_INET, ".".join(str(int(part)) for part in address.split(".")))
            return AddressType.IPV4, inet_ntop(AF_INET, packed)
        packed = inet_pton(AF_INET6, address)
    except (OSError, ValueError):
        raise ModelError("address", "is not an IP address", address) from None
    if packed.startswith(_IPV4_MAPPED):
        return AddressType.IPV4, inet_ntop(AF_INET, packed[12:])
    return AddressType.IPV6, _canonical_ipv6(packed)


_IPV4_SLOPPY: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){3}", re.ASCII)

_key_of: Final[Callable[[Endpoint], EndpointKey]] = attrgetter("key")
_is_volatile_of: Final[Callable[[Endpoint], bool]] = attrgetter("conditions.is_volatile")
_state_of: Final[Callable[[Endpoint], str]] = attrgetter("_state")
_uid_of: Final[Callable[[Endpoint], str]] = attrgetter("_uid")
_families_of: Final[Callable[[Endpoint], int]] = attrgetter("_families")


def _same_contents(some: Sequence[Endpoint], others: Sequence[Endpoint]) -> bool:
    """Whether endpoints of the same keys are equal, each to its counterpart. In C throughout."""
    return list(map(_state_of, some)) == list(map(_state_of, others)) and (
        list(map(_uid_of, some)) == list(map(_uid_of, others))
    )


def _same_but_hints(bare: Sequence[Endpoint], hinted: Sequence[Endpoint]) -> bool:
    """Whether the ones, which have no hints, are the others without theirs. In C throughout.

    It may say no of endpoints that have hints, though only these differ.
    """
    contents = map(str.startswith, map(_state_of, hinted), map(_state_of, bare))
    return all(contents) and list(map(_uid_of, bare)) == list(map(_uid_of, hinted))


def _check_families(address_type: AddressType, endpoints: tuple[Endpoint, ...]) -> None:
    """Every address must be of the slice's type. One pass in C, for there can be 100,000."""
    bit = _FAMILY_BIT[address_type]
    if all(map(bit.__and__, set(map(_families_of, endpoints)))):
        return
    where, address = next(
        (f"endpoints[{i}].addresses[{j}]", address)
        for i, endpoint in enumerate(endpoints)
        for j, address in enumerate(endpoint.addresses)
        if not _address_families(address) & bit
    )
    is_ip = address_type is not AddressType.FQDN
    what = f"canonical {address_type} address" if is_ip else "fully qualified domain name"
    raise ModelError(where, f"is not a {what}", address)


def _endpoint_tuple(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    result = tuple(endpoints)
    if not _ENDPOINT_TYPE.issuperset(map(type, result)):
        odd: object = next(item for item in result if type(item) not in _ENDPOINT_TYPE)
        raise ModelError("endpoints", "must be Endpoint values", odd)
    return result


_ENDPOINT_TYPE: Final[frozenset[type]] = frozenset((Endpoint,))


# --- ports and groups -------------------------------------------------------------------------


def _check_port(field: str, port: object) -> None:
    if type(port) is not int or not 1 <= port <= 65535:
        raise ModelError(field, "must be 1..65535", port)


def _to_member(enum: type[_Enum], field: str, value: str) -> _Enum:
    try:
        return enum(value)
    except ValueError:
        raise ModelError(field, f"must be one of {', '.join(enum)}", value) from None


def _to_optional(value: str | None) -> str | None:
    return value or None


def _to_protocol(value: str) -> Protocol:
    return _to_member(Protocol, "protocol", value)


def _to_address_type(value: str) -> AddressType:
    return _to_member(AddressType, "address_type", value)


@final
@attrs.frozen(kw_only=True)
class EndpointPort:
    """A port that every endpoint of a slice has.

    Attributes:
        port: 1..65535; None means all ports.
        name: Unique in the slice; "" if there is only one.
        protocol: TCP, UDP or SCTP.
        app_protocol: What is spoken there, as `kubernetes.io/h2c`.
    """

    port: int | None
    name: str = ""
    protocol: Protocol = attrs.field(default=Protocol.TCP, converter=_to_protocol)
    app_protocol: str | None = attrs.field(default=None, converter=_to_optional)
    extra: FrozenDict[str, Any] = attrs.field(
        default=_EMPTY, converter=_freeze_map, eq=False, repr=False
    )

    def __attrs_post_init__(self) -> None:
        if self.port is not None:
            _check_port("port", self.port)
        if not isinstance(self.name, str):
            raise ModelError("name", "must be a string", self.name)

    @property
    def sort_key(self) -> tuple[str, str, int, str]:
        """Canonical order: name, protocol, number, application protocol."""
        return (self.name, self.protocol, self.port or 0, self.app_protocol or "")


def _sorted_ports(ports: Iterable[EndpointPort]) -> tuple[EndpointPort, ...]:
    result = tuple(ports)
    return result if len(result) < 2 else tuple(sorted(result, key=lambda port: port.sort_key))


@final
@attrs.frozen(kw_only=True, cache_hash=True)
class GroupKey:
    """What all endpoints of a slice share: the type of address, and the ports.

    `ports` is put in canonical order, so that two spellings are one group.
    """

    address_type: AddressType = attrs.field(converter=_to_address_type)
    ports: tuple[EndpointPort, ...] = attrs.field(default=(), converter=_sorted_ports)

    @property
    def sort_key(self) -> tuple[str, tuple[tuple[str, str, int, str], ...]]:
        """Canonical order of groups: address type, then ports."""
        return (self.address_type, tuple(port.sort_key for port in self.ports))


@final
@attrs.frozen(kw_only=True)
class EndpointGroup:
    """The endpoints that are wanted for one address type and one set of ports.

    An empty group without ports asks for one empty slice, the placeholder that tells consumers
    that the Service exists and has no backends.

    Attributes:
        key: Address type and ports.
        endpoints: Any number, in any order; each identity at most once (checked when they are
            reconciled).

    Raises:
        ModelError: An address is not of the group's type.

    Complexity: O(n) for n endpoints.
    """

    key: GroupKey
    endpoints: tuple[Endpoint, ...] = attrs.field(default=(), converter=_endpoint_tuple)

    def __attrs_post_init__(self) -> None:
        _check_families(self.key.address_type, self.endpoints)


def _make_group(key: GroupKey, endpoints: tuple[Endpoint, ...]) -> EndpointGroup:
    """Make a group of endpoints whose addresses are known to be of its type."""
    made = object.__new__(EndpointGroup)
    _assign(made, "key", key)
    _assign(made, "endpoints", endpoints)
    return made


# --- objects ----------------------------------------------------------------------------------


@final
@attrs.frozen(kw_only=True)
class OwnerReference:
    """Who owns an object; what the garbage collector goes by."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None
    extra: FrozenDict[str, Any] = attrs.field(default=_EMPTY, converter=_freeze_map, repr=False)


def _to_owners(values: Iterable[OwnerReference]) -> tuple[OwnerReference, ...]:
    return tuple(values)


#: A revision of etcd has 64 bits. What is longer is none, and costs nothing to refuse.
_MAX_REVISION_DIGITS: Final = 20


def revision_of(resource_version: str) -> int:
    """The revision at which an object was written; 0 if that cannot be told."""
    text = resource_version
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_REVISION_DIGITS
    return int(text) if is_number else 0


@final
@attrs.frozen(kw_only=True)
class ObjectMeta:
    """What every object of the API has.

    `extra` holds finalizers, managedFields and whatever else the server stores, by JSON name.
    """

    namespace: str = ""
    name: str = ""
    generate_name: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: FrozenDict[str, str] = attrs.field(default=_EMPTY, converter=_freeze_strings)
    annotations: FrozenDict[str, str] = attrs.field(default=_EMPTY, converter=_freeze_strings)
    owner_references: tuple[OwnerReference, ...] = attrs.field(default=(), converter=_to_owners)
    creation_timestamp: str | None = attrs.field(default=None, converter=_to_optional)
    deletion_timestamp: str | None = attrs.field(default=None, converter=_to_optional)
    extra: FrozenDict[str, Any] = attrs.field(default=_EMPTY, converter=_freeze_map, repr=False)

    @property
    def revision(self) -> int:
        """The resource version as a number, of which the higher is the later; 0 if it is none."""
        return revision_of(self.resource_version)


def _to_ports(values: Iterable[EndpointPort]) -> tuple[EndpointPort, ...]:
    return tuple(values)


def open_twin(cls: type) -> Callable[[], Any]:
    """Return a class with the slots of a frozen one, in which they are open.

    Whoever makes many values of a class fills a twin and gives it the class: a frozen class
    assigns its own attributes one call each, which takes four times as long.
    """
    slots = cls.__slots__  # type: ignore[attr-defined]
    return type(f"Open{cls.__name__}", (), {"__slots__": slots})


@final
@attrs.frozen(kw_only=True, weakref_slot=False)
class EndpointSlice:
    """One stored object: a shard of a Service's endpoints.

    Attributes:
        metadata: Its name, labels, owner, version.
        address_type: Type of all addresses; immutable.
        ports: Ports of all endpoints, in the order in which they are stored.
        endpoints: 0..1000 endpoints, in the order in which they are stored.
        extra: Top-level fields that are not modelled, by their JSON names.

    Raises:
        ModelError: Too many endpoints, or an address that is not of `address_type`.
    """

    metadata: ObjectMeta
    address_type: AddressType = attrs.field(converter=_to_address_type)
    ports: tuple[EndpointPort, ...] = attrs.field(default=(), converter=_to_ports)
    endpoints: tuple[Endpoint, ...] = attrs.field(default=(), converter=_endpoint_tuple)
    extra: FrozenDict[str, Any] = attrs.field(default=_EMPTY, converter=_freeze_map, repr=False)
    #: Which lists the stored object spells null (1 ports, 2 endpoints): an empty list comes
    #: back from storage as null. Spelling, so no part of equality.
    _nulls: int = attrs.field(default=0, eq=False, repr=False)
    #: What `keys`, `group_key` and `volatile_count` found when they were first asked.
    _cached_keys: tuple[EndpointKey, ...] | None = attrs.field(
        init=False, default=None, eq=False, repr=False
    )
    _cached_group: GroupKey | None = attrs.field(init=False, default=None, eq=False, repr=False)
    _volatile: int = attrs.field(init=False, default=-1, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        endpoints = self.endpoints
        if len(endpoints) > MAX_ENDPOINTS_PER_SLICE:
            raise ModelError(
                "endpoints",
                f"must be at most {MAX_ENDPOINTS_PER_SLICE} endpoints",
                len(endpoints),
            )
        _check_families(self.address_type, endpoints)

    @property
    def name(self) -> str:
        """Its name; "" until it is created."""
        return self.metadata.name

    @property
    def keys(self) -> tuple[EndpointKey, ...]:
        """The identities of its endpoints, in order. Gathered when first asked for."""
        found = self._cached_keys
        if found is None:
            found = tuple(map(_key_of, self.endpoints))
            _assign(self, "_cached_keys", found)
        return found

    @property
    def volatile_count(self) -> int:
        """How many endpoints are not ready, or terminate. Counted when first asked for."""
        count = self._volatile
        if count < 0:
            count = sum(map(_is_volatile_of, self.endpoints))
            _assign(self, "_volatile", count)
        return count

    @property
    def group_key(self) -> GroupKey:
        """The group that it belongs to: address type and ports in canonical order."""
        found = self._cached_group
        if found is None:
            found = GroupKey(address_type=self.address_type, ports=self.ports)
            _assign(self, "_cached_group", found)
        return found


def _make_slice(
    metadata: ObjectMeta,
    address_type: AddressType,
    ports: tuple[EndpointPort, ...],
    endpoints: tuple[Endpoint, ...],
    extra: FrozenDict[str, Any] = _EMPTY,
) -> EndpointSlice:
    """Make a slice of endpoints that stand in a group of its type, and so have been checked."""
    if len(endpoints) > MAX_ENDPOINTS_PER_SLICE:
        raise ModelError(
            "endpoints", f"must be at most {MAX_ENDPOINTS_PER_SLICE} endpoints", len(endpoints)
        )
    made = _OpenSlice()
    made.metadata = metadata
    made.address_type = address_type
    made.ports = ports
    made.endpoints = endpoints
    made.extra = extra
    made._nulls = 0
    made._cached_keys = None
    made._cached_group = None
    made._volatile = -1
    made.__class__ = EndpointSlice
    return made  # type: ignore[no-any-return]


_OpenSlice: Final = open_twin(EndpointSlice)


def know_keys(stored: EndpointSlice, keys: tuple[EndpointKey, ...]) -> None:
    """Tell a slice the keys that it would have to gather."""
    _assign(stored, "_cached_keys", keys)


@final
@attrs.frozen(kw_only=True)
class SliceTemplate:
    """What every slice of one owner carries.

    Attributes:
        metadata: Namespace, generate_name, labels, annotations and owner references for new
            slices. Labels, owners and annotations that a stored slice lacks or has otherwise
            make it be written, but for two that only ride on writes made anyway: the
            trigger-time annotation and the headless label. Annotations that the template does
            not name are left alone; labels that it does not name are removed.
        owns_annotations: Annotations that the template does not name are removed too, but for the
            trigger time.
    """

    metadata: ObjectMeta
    owns_annotations: bool = False


def check_max_endpoints_per_slice(value: int) -> int:
    """Return the capacity if the API allows it.

    Raises:
        ModelError: It is not 1..1000.
    """
    if type(value) is not int or not 1 <= value <= MAX_ENDPOINTS_PER_SLICE:
        raise ModelError("max_endpoints_per_slice", f"must be 1..{MAX_ENDPOINTS_PER_SLICE}", value)
    return value


# --- core/v1, the sliver we read --------------------------------------------------------------


@final
@attrs.frozen(kw_only=True)
class ServicePort:
    """A port of a Service, and which port of the Pods it stands for.

    `target_port` is a number, or the name of a container port; None means the same as `port`.
    `node_port` is where every Node takes its traffic; None if none does.
    """

    port: int
    name: str = ""
    protocol: Protocol = attrs.field(default=Protocol.TCP, converter=_to_protocol)
    target_port: int | str | None = None
    app_protocol: str | None = attrs.field(default=None, converter=_to_optional)
    node_port: int | None = None

    def __attrs_post_init__(self) -> None:
        _check_port("port", self.port)
        if self.node_port is not None:
            _check_port("node_port", self.node_port)
        if self.target_port is not None and not isinstance(self.target_port, str):
            _check_port("target_port", self.target_port)


def _to_service_ports(values: Iterable[ServicePort]) -> tuple[ServicePort, ...]:
    return tuple(values)


@final
@attrs.frozen(kw_only=True)
class Service:
    """What of a Service decides its slices, and who may use which endpoint of them.

    `load_balancer_ips` are those at which Nodes take the load balancer's traffic (ipMode VIP).
    """

    metadata: ObjectMeta
    selector: FrozenDict[str, str] = attrs.field(default=_EMPTY, converter=_freeze_strings)
    ports: tuple[ServicePort, ...] = attrs.field(default=(), converter=_to_service_ports)
    type: str = "ClusterIP"
    cluster_ip: str = ""
    ip_families: tuple[str, ...] = attrs.field(default=(), converter=_to_strings)
    publish_not_ready_addresses: bool = False
    traffic_distribution: str | None = attrs.field(default=None, converter=_to_optional)
    internal_traffic_policy: str | None = attrs.field(default=None, converter=_to_optional)
    external_traffic_policy: str | None = attrs.field(default=None, converter=_to_optional)
    external_ips: tuple[str, ...] = attrs.field(default=(), converter=_to_strings)
    load_balancer_ips: tuple[str, ...] = attrs.field(default=(), converter=_to_strings)


@final
@attrs.frozen(kw_only=True)
class ContainerPort:
    """A port that a container names."""

    container_port: int
    name: str = ""
    protocol: str = "TCP"


def _to_container_ports(values: Iterable[ContainerPort]) -> tuple[ContainerPort, ...]:
    return tuple(values)


@final
@attrs.frozen(kw_only=True)
class Pod:
    """What of a Pod decides its endpoint.

    `container_ports` are those of the containers, then those of the sidecars (init containers
    with restartPolicy Always), in the order of the Pod: the first match of a name counts.
    `ready_transition_time` is when its Ready condition changed last, in RFC 3339; it decides
    nothing of the endpoint, and `trigger_time` reads it.
    """

    metadata: ObjectMeta
    phase: str = ""
    ready: bool = False
    pod_ip: str = ""
    pod_ips: tuple[str, ...] = attrs.field(default=(), converter=_to_strings)
    node_name: str = ""
    hostname: str = ""
    subdomain: str = ""
    container_ports: tuple[ContainerPort, ...] = attrs.field(
        default=(), converter=_to_container_ports
    )
    ready_transition_time: str | None = None


@final
@attrs.frozen(kw_only=True)
class Node:
    """What of a Node decides where an endpoint is, and who should use it.

    Attributes:
        metadata: Its name and labels, the zone among them.
        ready: Whether it says that it is ready.
        allocatable_cpu: What it has for Pods, in milli-CPUs; 0 if that is not known.
    """

    metadata: ObjectMeta
    ready: bool = False
    allocatable_cpu: int = 0

    def __attrs_post_init__(self) -> None:
        if type(self.allocatable_cpu) is not int or self.allocatable_cpu < 0:
            raise ModelError("allocatable_cpu", "must be 0 or more", self.allocatable_cpu)

    @property
    def zone(self) -> str | None:
        """Its zone, from the well-known label; None if it has none."""
        return self.metadata.labels.get(LABEL_ZONE) or None


# --- Endpoints, the older API -----------------------------------------------------------------


@final
@attrs.frozen(kw_only=True)
class EndpointAddress:
    """One address of an Endpoints object.

    Attributes:
        ip: Its IP in canonical form, or whatever else stands in the place of one.
        hostname: Its DNS label.
        node_name: The Node that it is on.
        target_ref: The object behind it.
        extra: Fields that are not modelled, by their JSON names.
        address_type: IPv4 or IPv6; None if `ip` is no IP address.
    """

    ip: str
    hostname: str | None = attrs.field(default=None, converter=_to_optional)
    node_name: str | None = attrs.field(default=None, converter=_to_optional)
    target_ref: ObjectReference | None = None
    extra: FrozenDict[str, Any] = attrs.field(
        default=_EMPTY, converter=_freeze_map, eq=False, repr=False
    )
    address_type: AddressType | None = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.ip, str):
            raise ModelError("ip", "must be a string", self.ip)
        try:
            kind, address = canonical_ip(self.ip)
        except ModelError:
            _assign(self, "address_type", None)
        else:
            _assign(self, "address_type", kind)
            _assign(self, "ip", address)

    @property
    def identity(self) -> tuple[str, str]:
        """What tells it from others in its object: its IP, and the uid of its target."""
        target = self.target_ref
        return (self.ip, "" if target is None else target.uid)


def _to_addresses(values: Iterable[EndpointAddress]) -> tuple[EndpointAddress, ...]:
    return tuple(values)


@final
@attrs.frozen(kw_only=True)
class EndpointSubset:
    """Addresses that have the same ports: each address has each of the ports.

    Attributes:
        addresses: Those that are ready.
        not_ready_addresses: Those that are not.
        ports: Their ports, each with a number; several must have names.
        extra: Fields that are not modelled, by their JSON names.

    Raises:
        ModelError: A port has no number: only slices can mean all ports.
    """

    addresses: tuple[EndpointAddress, ...] = attrs.field(default=(), converter=_to_addresses)
    not_ready_addresses: tuple[EndpointAddress, ...] = attrs.field(
        default=(), converter=_to_addresses
    )
    ports: tuple[EndpointPort, ...] = attrs.field(default=(), converter=_to_ports)
    extra: FrozenDict[str, Any] = attrs.field(
        default=_EMPTY, converter=_freeze_map, eq=False, repr=False
    )

    def __attrs_post_init__(self) -> None:
        for i, port in enumerate(self.ports):
            _check_port(f"ports[{i}].port", port.port)


def _to_subsets(values: Iterable[EndpointSubset]) -> tuple[EndpointSubset, ...]:
    return tuple(values)


@final
@attrs.frozen(kw_only=True)
class Endpoints:
    """The older API: one object with all addresses of the Service of its name.

    Attributes:
        metadata: Its name, which is that of the Service; labels, annotations, version.
        subsets: Addresses by the ports that they have.
        extra: Top-level fields that are not modelled, by their JSON names.
    """

    metadata: ObjectMeta
    subsets: tuple[EndpointSubset, ...] = attrs.field(default=(), converter=_to_subsets)
    extra: FrozenDict[str, Any] = attrs.field(default=_EMPTY, converter=_freeze_map, repr=False)
