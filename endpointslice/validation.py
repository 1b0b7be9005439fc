"""The API server's judgement of an EndpointSlice, before the API server is asked.

The rules are those of Kubernetes 1.36, and each violation has the field and the type with which the
server reports it; the wording is ours. What the server refuses because it cannot decode it, a port
that is a string for instance, is `FieldValueTypeInvalid`. What it overwrites itself (generation,
creationTimestamp, managedFields) is not judged.

A manifest is read as the server reads it: null and absent are the same, defaults are filled in,
unknown fields are ignored, and a name is made from generateName where there is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, TypeAlias, assert_never, final

import attrs

from endpointslice.errors import _shown
from endpointslice.manifests import encode_slice
from endpointslice.models import (
    _IPV4,
    _IPV4_MAPPED,
    _IPV6,
    LABEL_ZONE,
    MAX_ADDRESSES_PER_ENDPOINT,
    MAX_ENDPOINTS_PER_SLICE,
    AddressType,
    EndpointSlice,
    FrozenDict,
    Protocol,
    _address_families,
    _canonical_ipv6,
    packed_ip,
)
from endpointslice.plan import CreateSlice, DeleteSlice, Plan, UpdateSlice

__all__ = ["ErrorType", "Violation", "validate_plan", "validate_slice", "validate_update"]

#: The API server's limits (pkg/apis/discovery/validation).
_MAX_PORTS: Final = 20_000
_MAX_HINTS: Final = 8
_MAX_TOPOLOGY_LABELS: Final = 16
#: In bytes, keys and values (apimachinery api/validation, TotalAnnotationSizeLimitB).
_MAX_ANNOTATIONS: Final = 256 * 1024
#: RFC 1123, in bytes.
_MAX_LABEL: Final = 63
_MAX_SUBDOMAIN: Final = 253
#: What of generateName goes into a name, and how many characters are put behind it.
_MAX_GENERATED_BASE: Final = 58
_SUFFIX: Final = "x" * 5


class ErrorType(StrEnum):
    """What kind of error a violation is, in the words of the API server's answers."""

    REQUIRED = "FieldValueRequired"
    DUPLICATE = "FieldValueDuplicate"
    INVALID = "FieldValueInvalid"
    NOT_SUPPORTED = "FieldValueNotSupported"
    FORBIDDEN = "FieldValueForbidden"
    TOO_LONG = "FieldValueTooLong"
    TOO_MANY = "FieldValueTooMany"
    INTERNAL = "InternalError"
    TYPE_INVALID = "FieldValueTypeInvalid"


@final
@attrs.frozen
class Violation:
    """One rule that an object breaks.

    Attributes:
        field: Where, as the API server writes it: `endpoints[0].addresses[1]`; "" for the whole.
        type: What kind of error it is.
        detail: What is wrong, in our words.
        value: The offending value; None if there is none.
    """

    field: str
    type: ErrorType
    detail: str
    value: object = attrs.field(default=None, hash=False)

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        shown = "" if self.value is None else f", got {_shown(self.value)}"
        return f"{where}{self.detail}{shown}"


_Found: TypeAlias = list[Violation]
_Problems: TypeAlias = tuple[str, ...]


def validate_slice(endpoint_slice: Mapping[str, Any] | EndpointSlice) -> tuple[Violation, ...]:
    """Say what the API server would refuse if it were asked to create a slice.

    Args:
        endpoint_slice: A manifest, which may be any nonsense, or a model, which is judged as
            `encode_slice` writes it.

    Returns:
        What is wrong with it, in the order of metadata, addressType, ports, endpoints; nothing if
        the server would take it.

    Complexity: O(n) for n endpoints.
    Source: pkg/apis/discovery/validation/validation.go, validateEndpointSlice.
    """
    found: _Found = []
    manifest = _manifest_of(found, endpoint_slice)
    if manifest is not None:
        _check_slice(found, manifest, None)
    return tuple(found)


def validate_update(
    old: Mapping[str, Any] | EndpointSlice, new: Mapping[str, Any] | EndpointSlice
) -> tuple[Violation, ...]:
    """Say what the API server would refuse if a slice were to take the place of a stored one.

    What is wrong with endpoints is let pass if none of them changes: they may have been stored
    under older rules. resourceVersion may be absent; then the update is unconditional. The server
    answers another name, namespace or uid before it validates, as a conflict or a bad request;
    here each is a field that cannot change.

    Args:
        old: The slice that is stored, as `validate_slice` takes it.
        new: The slice that is sent.

    Returns:
        What is wrong with the new one, as of `validate_slice`, and after it what may not change.

    Complexity: O(n) for n endpoints.
    Source: pkg/apis/discovery/validation/validation.go, ValidateEndpointSliceUpdate; apimachinery
    api/validation/objectmeta.go, ValidateObjectMetaAccessorUpdate; registry/rest/update.go.
    """
    found: _Found = []
    stored = _manifest_of([], old) or {}
    wanted = _manifest_of(found, new)
    if wanted is not None:
        _check_slice(found, wanted, stored)
        _check_change(found, stored, wanted)
    return tuple(found)


def validate_plan(plan: Plan) -> tuple[Violation, ...]:
    """Say what the API server would refuse of a plan's writes, whoever made the plan.

    Returns:
        As of `validate_slice` for creates and `validate_update` for updates, in the order of the
        operations; fields are those of `encode_plan`: `operations[3].object.endpoints[0].hostname`.

    Complexity: O(n) for n endpoints in written slices.
    """
    found: _Found = []
    for i, operation in enumerate(plan.operations):
        match operation:
            case CreateSlice(after=after):
                violations = validate_slice(after)
            case UpdateSlice(before=before, after=after):
                violations = validate_update(before, after)
            case DeleteSlice():
                continue
            case _:
                assert_never(operation)
        found += [
            attrs.evolve(item, field=f"operations[{i}].object.{item.field}") for item in violations
        ]
    return tuple(found)


# --- reading, as the server decodes -----------------------------------------------------------

_Kind: TypeAlias = tuple[type | tuple[type, ...], str, Any]
#: What is accepted, how to call it, and what null stands for.
_OBJECT: Final[_Kind] = (Mapping, "must be an object", FrozenDict())
_LIST: Final[_Kind] = ((list, tuple), "must be a list", ())
_STRING: Final[_Kind] = (str, "must be a string", "")
_BOOLEAN: Final[_Kind] = (bool, "must be true or false", False)
_INT32: Final = (-(2**31), 2**31 - 1)
_INT64: Final = (-(2**63), 2**63 - 1)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)


def _read(found: _Found, field: str, value: object, kind: _Kind) -> Any:
    """The value; None if it is of another type, of which then all is said."""
    accepted, words, zero = kind
    if value is None:
        return zero
    if isinstance(value, accepted):
        return value
    found.append(Violation(field, ErrorType.TYPE_INVALID, words, value))
    return None


def _read_integer(found: _Found, field: str, value: object, limits: tuple[int, int]) -> None:
    lowest, highest = limits
    if value is not None and (type(value) is not int or not lowest <= value <= highest):
        words = f"must be a whole number, {lowest}..{highest}"
        found.append(Violation(field, ErrorType.TYPE_INVALID, words, value))


def _read_time(found: _Found, field: str, value: object) -> None:
    text = _read(found, field, value, _STRING)
    if text and not _is_time(text):
        found.append(Violation(field, ErrorType.TYPE_INVALID, "must be an RFC 3339 time", text))


def _is_time(text: str) -> bool:
    try:
        return bool(_TIME.fullmatch(text) and datetime.fromisoformat(text))
    except ValueError:
        return False


def _read_items(found: _Found, field: str, value: object, kind: _Kind) -> Iterator[tuple[str, Any]]:
    """The items of a list that are of a type, each with its path."""
    for i, item in enumerate(_read(found, field, value, _LIST) or ()):
        path = f"{field}[{i}]"
        read = _read(found, path, item, kind)
        if read is not None:
            yield path, read


def _read_map(found: _Found, field: str, value: object) -> list[tuple[str, str]]:
    """The items of a map of strings, in order."""
    pairs = []
    for name, text in (_read(found, field, value, _OBJECT) or {}).items():
        if not isinstance(name, str):
            found.append(
                Violation(field, ErrorType.TYPE_INVALID, "must have strings as names", name)
            )
        elif (read := _read(found, f"{field}[{name}]", text, _STRING)) is not None:
            pairs.append((name, read))
    return sorted(pairs)


def _manifest_of(found: _Found, subject: object) -> Mapping[str, Any] | None:
    if isinstance(subject, EndpointSlice):
        return encode_slice(subject)
    manifest: Mapping[str, Any] | None = _read(found, "", subject, _OBJECT)
    return manifest


# --- what strings must be ---------------------------------------------------------------------

_ALPHANUMERIC: Final = "and begin and end with a letter or digit"
_LABEL_SPELLING: Final = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_LABEL: Final = re.compile(_LABEL_SPELLING)
_SUBDOMAIN: Final = re.compile(rf"{_LABEL_SPELLING}(?:\.{_LABEL_SPELLING})*")
_NAME: Final = re.compile("[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
#: Zeros before other digits, in an IPv4 or in an IPv6 address.
_LEADING_ZEROS: Final = re.compile("(?<![0-9A-Fa-f])0+(?=[0-9A-Fa-f])")


def _bytes_of(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _check(text: str, limit: int, pattern: re.Pattern[str], words: str) -> _Problems:
    problems = []
    if _bytes_of(text) > limit:
        problems.append(f"must be at most {limit} bytes")
    if not pattern.fullmatch(text):
        problems.append(words)
    return tuple(problems)


# Few values are many endpoints' nodes and labels, so each is looked at once.
@lru_cache(maxsize=1 << 14)
def _label_problems(text: str) -> _Problems:
    """Why it is no label of RFC 1123."""
    words = f"must be lower case letters, digits and '-', {_ALPHANUMERIC}"
    return _check(text, _MAX_LABEL, _LABEL, words)


@lru_cache(maxsize=1 << 14)
def _subdomain_problems(text: str) -> _Problems:
    """Why it is no subdomain of RFC 1123, as the names of most objects are."""
    words = f"must be lower case letters, digits, '-' and '.', {_ALPHANUMERIC} around each '.'"
    return _check(text, _MAX_SUBDOMAIN, _SUBDOMAIN, words)


@lru_cache(maxsize=1 << 10)
def _label_value_problems(text: str) -> _Problems:
    """Why it is no value of a label."""
    words = f"must be empty, or letters, digits, '-', '_' and '.', {_ALPHANUMERIC}"
    return _check(text, _MAX_LABEL, _NAME, words) if text else ()


@lru_cache(maxsize=1 << 10)
def _qualified_name_problems(text: str) -> _Problems:
    """Why it is no key of a label, with or without a prefix."""
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        return ("must be a name, or a DNS subdomain, '/' and a name",)
    problems: list[str] = []
    if slash:
        found = _subdomain_problems(prefix) if prefix else ("must not be empty",)
        problems += [f"the part before '/' {item}" for item in found]
    if not name:
        problems.append("must have a name")
    words = f"must have a name of letters, digits, '-', '_' and '.', {_ALPHANUMERIC}"
    return (*problems, *_check(name, _MAX_LABEL, _NAME, words))


def _add(found: _Found, field: str, value: str, problems: _Problems) -> None:
    found += [Violation(field, ErrorType.INVALID, words, value) for words in problems]


def _check_name(
    found: _Found, field: str, value: object, problems_of: Callable[[str], _Problems]
) -> None:
    """Check a string that may be absent, though not empty."""
    text = _read(found, field, value, _STRING)
    if value is not None and text is not None:
        _add(found, field, text, problems_of(text))


# --- metadata ---------------------------------------------------------------------------------

_STRINGS_OF_METADATA: Final = ("uid", "resourceVersion", "selfLink")
_STANDARD_FINALIZERS: Final = frozenset(["kubernetes", "orphan", "foregroundDeletion"])
_KIND_OF_OBJECT: Final = {"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1"}


def _check_metadata(found: _Found, value: object) -> None:
    meta = _read(found, "metadata", value, _OBJECT)
    if meta is None:
        return
    for field in _STRINGS_OF_METADATA:
        _read(found, f"metadata.{field}", meta.get(field), _STRING)
    for field in ("creationTimestamp", "deletionTimestamp"):
        _read_time(found, f"metadata.{field}", meta.get(field))
    for field in ("generation", "deletionGracePeriodSeconds"):
        _read_integer(found, f"metadata.{field}", meta.get(field), _INT64)
    _check_object_name(found, meta)
    namespace = _read(found, "metadata.namespace", meta.get("namespace"), _STRING)
    if namespace == "":
        found.append(Violation("metadata.namespace", ErrorType.REQUIRED, "must have a namespace"))
    elif namespace:
        _add(found, "metadata.namespace", namespace, _label_problems(namespace))
    _check_labels(found, "metadata.labels", meta.get("labels"))
    _check_annotations(found, meta.get("annotations"))
    _check_owners(found, meta.get("ownerReferences"))
    _check_finalizers(found, meta.get("finalizers"))
    for _ in _read_items(found, "metadata.managedFields", meta.get("managedFields"), _OBJECT):
        pass


def _check_object_name(found: _Found, meta: Mapping[str, Any]) -> None:
    name = _read(found, "metadata.name", meta.get("name"), _STRING)
    base = _read(found, "metadata.generateName", meta.get("generateName"), _STRING)
    if base:
        # It is the beginning of a name, which may end with a dash.
        whole = f"{base[:-2]}a" if len(base) > 1 and base.endswith("-") else base
        _add(found, "metadata.generateName", base, _subdomain_problems(whole))
    if name is None or base is None:
        return
    if not name and not base:
        words = "must have a name, or a generateName"
        found.append(Violation("metadata.name", ErrorType.REQUIRED, words))
    else:
        name = name or base[:_MAX_GENERATED_BASE] + _SUFFIX
        _add(found, "metadata.name", name, _subdomain_problems(name))


def _check_labels(found: _Found, field: str, value: object) -> None:
    for name, text in _read_map(found, field, value):
        _add(found, field, name, _qualified_name_problems(name))
        _add(found, field, text, _label_value_problems(text))


def _check_annotations(found: _Found, value: object) -> None:
    annotations = _read_map(found, "metadata.annotations", value)
    for name, _ in annotations:
        _add(found, "metadata.annotations", name, _qualified_name_problems(name.lower()))
    if sum(_bytes_of(name) + _bytes_of(text) for name, text in annotations) > _MAX_ANNOTATIONS:
        words = f"must be at most {_MAX_ANNOTATIONS} bytes in all"
        found.append(Violation("metadata.annotations", ErrorType.TOO_LONG, words))


def _check_owners(found: _Found, value: object) -> None:
    # The server names no position in the list.
    field = "metadata.ownerReferences"
    controllers = 0
    for path, owner in _read_items(found, field, value, _OBJECT):
        names = {}
        for part in ("apiVersion", "kind", "name", "uid"):
            names[part] = _read(found, f"{path}.{part}", owner.get(part), _STRING)
            if names[part] == "":
                words = "must not be empty"
                found.append(Violation(f"{field}.{part}", ErrorType.INVALID, words, ""))
        version = names["apiVersion"]
        if version and (version.count("/") > 1 or version.endswith("/")):
            words = "must be a version, or a group, '/' and a version"
            found.append(Violation(f"{field}.apiVersion", ErrorType.INVALID, words, version))
        if (version, names["kind"]) == ("v1", "Event"):
            found.append(Violation(field, ErrorType.INVALID, "must not be an Event", owner))
        _read(found, f"{path}.blockOwnerDeletion", owner.get("blockOwnerDeletion"), _BOOLEAN)
        if _read(found, f"{path}.controller", owner.get("controller"), _BOOLEAN):
            controllers += 1
            if controllers > 1:
                words = "must have one controller at most"
                found.append(Violation(field, ErrorType.INVALID, words, owner))


def _check_finalizers(found: _Found, value: object) -> None:
    field = "metadata.finalizers"
    finalizers = list(_read_items(found, field, value, _STRING))
    for _, name in finalizers:
        _add(found, field, name, _qualified_name_problems(name))
    names = [name for _, name in finalizers]
    if "orphan" in names and "foregroundDeletion" in names:
        words = "must not have both orphan and foregroundDeletion"
        found.append(Violation(field, ErrorType.INVALID, words, names))
    for path, name in finalizers:
        if "/" not in name and name not in _STANDARD_FINALIZERS:
            words = "must have a domain, '/' and a name, unless it is one of Kubernetes' own"
            found.append(Violation(path, ErrorType.INVALID, words, name))


# --- the slice --------------------------------------------------------------------------------

_ADDRESS_TYPES: Final = tuple(sorted(AddressType))
_PROTOCOLS: Final = tuple(sorted(Protocol))
_FAMILIES: Final = {"IPv4": _IPV4, "IPv6": _IPV6}


def _check_slice(
    found: _Found, manifest: Mapping[str, Any], stored: Mapping[str, Any] | None
) -> None:
    for field, only in _KIND_OF_OBJECT.items():
        stated = _read(found, field, manifest.get(field), _STRING)
        if stated and stated != only:
            found.append(Violation(field, ErrorType.NOT_SUPPORTED, f"must be {only}", stated))
    _check_metadata(found, manifest.get("metadata"))
    kind = _read(found, "addressType", manifest.get("addressType"), _STRING)
    if kind == "":
        found.append(Violation("addressType", ErrorType.REQUIRED, "must have an address type"))
    elif kind is not None and kind not in _ADDRESS_TYPES:
        words = f"must be one of {', '.join(_ADDRESS_TYPES)}"
        found.append(Violation("addressType", ErrorType.NOT_SUPPORTED, words, kind))
    _check_ports(found, manifest.get("ports"))
    wrong: _Found = []
    _check_endpoints(wrong, manifest.get("endpoints"), kind)
    if wrong and stored is not None and _is_same_list(stored, manifest):
        wrong = [item for item in wrong if item.type is ErrorType.TYPE_INVALID]
    found += wrong


def _check_ports(found: _Found, value: object) -> None:
    ports = _read(found, "ports", value, _LIST)
    if ports is not None and len(ports) > _MAX_PORTS:
        words = f"must be at most {_MAX_PORTS} ports"
        found.append(Violation("ports", ErrorType.TOO_MANY, words, len(ports)))
        return
    names: set[str] = set()
    for path, port in _read_items(found, "ports", ports, _OBJECT):
        name = _read(found, f"{path}.name", port.get("name"), _STRING)
        if name:
            _add(found, f"{path}.name", name, _label_problems(name))
        if name in names:
            words = "must be the name of one port"
            found.append(Violation(f"{path}.name", ErrorType.DUPLICATE, words, name))
        elif name is not None:
            names.add(name)
        protocol = port.get("protocol")
        if protocol is not None and protocol not in _PROTOCOLS:
            text = _read(found, f"{path}.protocol", protocol, _STRING)
            if text is not None:
                words = f"must be one of {', '.join(_PROTOCOLS)}"
                found.append(Violation(f"{path}.protocol", ErrorType.NOT_SUPPORTED, words, text))
        _check_name(found, f"{path}.appProtocol", port.get("appProtocol"), _qualified_name_problems)
        _read_integer(found, f"{path}.port", port.get("port"), _INT32)


def _check_endpoints(found: _Found, value: object, kind: str | None) -> None:
    endpoints = _read(found, "endpoints", value, _LIST)
    if endpoints is None:
        return
    if len(endpoints) > MAX_ENDPOINTS_PER_SLICE:
        words = f"must be at most {MAX_ENDPOINTS_PER_SLICE} endpoints"
        found.append(Violation("endpoints", ErrorType.TOO_MANY, words, len(endpoints)))
        return
    family = _FAMILIES.get(kind or "", 0)
    for i, item in enumerate(endpoints):
        if family and _is_plain(item, family):
            continue
        path = f"endpoints[{i}]"
        endpoint = _read(found, path, item, _OBJECT)
        if endpoint is not None:
            _check_endpoint(found, path, endpoint, kind)


_BOOLEAN_TYPES: Final = frozenset([bool, type(None)])
_STRING_TYPES: Final = frozenset([str, type(None)])
#: How addresses begin among which there are some that no endpoint may have.
_SPECIAL_BEGINNINGS: Final = ("0.", "127.", "169.254.", "224.0.0.", "::", "fe", "ff")


def _is_plain(endpoint: object, family: int) -> bool:
    """Whether it is surely right, told in a quarter of the time: nearly all endpoints are."""
    if type(endpoint) is not dict:
        return False
    get = endpoint.get
    addresses, conditions, reference = get("addresses"), get("conditions"), get("targetRef")
    hostname, node_name, hints = get("hostname"), get("nodeName"), get("hints")
    if not (
        type(addresses) is list
        and len(addresses) == 1
        and get("deprecatedTopology") is None
        and type(get("zone")) in _STRING_TYPES
        and (
            conditions is None
            or (
                type(conditions) is dict
                and _BOOLEAN_TYPES.issuperset(map(type, conditions.values()))
            )
        )
        and (
            reference is None
            or (type(reference) is dict and _STRING_TYPES.issuperset(map(type, reference.values())))
        )
        and (node_name is None or (type(node_name) is str and not _subdomain_problems(node_name)))
        and (hostname is None or (type(hostname) is str and not _label_problems(hostname)))
    ):
        return False
    if hints is not None:
        found: _Found = []
        _check_hints(found, "", hints)
        if found:
            return False
    address = addresses[0]
    return bool(_address_families(address) & family) and not address.startswith(_SPECIAL_BEGINNINGS)


def _check_endpoint(
    found: _Found, path: str, endpoint: Mapping[str, Any], kind: str | None
) -> None:
    _check_addresses(found, f"{path}.addresses", endpoint.get("addresses"), kind)
    _check_name(found, f"{path}.nodeName", endpoint.get("nodeName"), _subdomain_problems)
    topology = endpoint.get("deprecatedTopology")
    if topology is not None:
        field = f"{path}.deprecatedTopology"
        if isinstance(topology, Mapping) and len(topology) > _MAX_TOPOLOGY_LABELS:
            words = f"must be at most {_MAX_TOPOLOGY_LABELS} labels"
            found.append(Violation(field, ErrorType.TOO_MANY, words, len(topology)))
        _check_labels(found, field, topology)
        if isinstance(topology, Mapping) and LABEL_ZONE in topology:
            words = "must stand in zone"
            found.append(Violation(f"{field}[{LABEL_ZONE}]", ErrorType.INTERNAL, words))
    _check_name(found, f"{path}.hostname", endpoint.get("hostname"), _label_problems)
    _check_hints(found, f"{path}.hints", endpoint.get("hints"))
    _read(found, f"{path}.zone", endpoint.get("zone"), _STRING)
    conditions = _read(found, f"{path}.conditions", endpoint.get("conditions"), _OBJECT) or {}
    for name in ("ready", "serving", "terminating"):
        _read(found, f"{path}.conditions.{name}", conditions.get(name), _BOOLEAN)
    reference = _read(found, f"{path}.targetRef", endpoint.get("targetRef"), _OBJECT) or {}
    for name in _REFERENCE_FIELDS:
        _read(found, f"{path}.targetRef.{name}", reference.get(name), _STRING)


_REFERENCE_FIELDS: Final = (
    "kind",
    "namespace",
    "name",
    "uid",
    "apiVersion",
    "resourceVersion",
    "fieldPath",
)


def _check_addresses(found: _Found, field: str, value: object, kind: str | None) -> None:
    addresses = _read(found, field, value, _LIST)
    if addresses is None:
        return
    if not addresses:
        found.append(Violation(field, ErrorType.REQUIRED, "must have an address"))
    elif len(addresses) > MAX_ADDRESSES_PER_ENDPOINT:
        words = f"must be at most {MAX_ADDRESSES_PER_ENDPOINT} addresses"
        found.append(Violation(field, ErrorType.TOO_MANY, words, len(addresses)))
    for path, address in _read_items(found, field, addresses, _STRING):
        if kind in _FAMILIES:
            _check_ip(found, field, path, address, kind)
        elif kind == AddressType.FQDN:
            _check_fqdn(found, path, address)


def _check_ip(found: _Found, field: str, path: str, address: str, kind: str) -> None:
    packed = packed_ip(address)
    if packed is None:
        # The server tells them apart: it once took zeros, which C takes for octal.
        is_padded = packed_ip(_LEADING_ZEROS.sub("", address)) is not None
        words = "must not have leading zeros" if is_padded else "must be an IP address"
        found.append(Violation(path, ErrorType.INVALID, words, address))
        return
    is_ipv6 = len(packed) == 16
    if is_ipv6 and packed.startswith(_IPV4_MAPPED):
        words = "must not be an IPv4-mapped IPv6 address"
        found.append(Violation(path, ErrorType.INVALID, words, address))
    elif is_ipv6 and (canonical := _canonical_ipv6(packed)) != address:
        words = f"must be in canonical form, {canonical}"
        found.append(Violation(path, ErrorType.INVALID, words, address))
    else:
        if is_ipv6 != (kind == "IPv6"):
            # The server names the list here, not the position.
            found.append(Violation(field, ErrorType.INVALID, f"must be {kind}", address))
        special = _special_use(packed)
        if special:
            words = f"must not be {special}"
            found.append(Violation(path, ErrorType.INVALID, words, address))


def _special_use(packed: bytes) -> str:
    """What an address is for, if that is nothing for an endpoint; else ""."""
    is_ipv6 = len(packed) == 16
    first, second = packed[0], packed[1]
    if not any(packed):
        return "unspecified"
    if packed == b"\0" * 15 + b"\1" if is_ipv6 else first == 127:
        return "loopback"
    if (first == 0xFE and second & 0xC0 == 0x80) if is_ipv6 else packed[:2] == b"\xa9\xfe":
        return "link-local"
    if (first == 0xFF and second & 0x0F == 2) if is_ipv6 else packed[:3] == b"\xe0\0\0":
        return "link-local multicast"
    return ""


def _check_fqdn(found: _Found, path: str, address: str) -> None:
    if not address:
        found.append(Violation(path, ErrorType.REQUIRED, "must not be empty"))
        return
    name = address.removesuffix(".")
    labels = name.split(".")
    problems = _subdomain_problems(name)
    if not problems and len(labels) < 2:
        problems = ("must be a domain of two parts or more",)
    elif not problems:
        problems = next(filter(None, map(_label_problems, labels)), ())
    if problems:
        found.append(Violation(path, ErrorType.INVALID, " and ".join(problems), address))


def _check_hints(found: _Found, path: str, value: object) -> None:
    hints = _read(found, path, value, _OBJECT)
    for name, problems_of in _HINTS if hints else ():
        field = f"{path}.{name}"
        items = _read(found, field, hints.get(name), _LIST)
        if items is not None and len(items) > _MAX_HINTS:
            words = f"must be at most {_MAX_HINTS} hints"
            found.append(Violation(field, ErrorType.TOO_MANY, words, len(items)))
            return  # as the server, which says nothing of the hints that follow
        seen: set[str] = set()
        for item, hint in _read_items(found, field, items, _OBJECT):
            text = _read(found, f"{item}.name", hint.get("name"), _STRING)
            if text is None:
                continue
            if text in seen:
                words = "must be the name of one hint"
                found.append(Violation(f"{item}.name", ErrorType.DUPLICATE, words, text))
            seen.add(text)
            _add(found, f"{item}.name", text, problems_of(text))


_HINTS: Final[tuple[tuple[str, Callable[[str], _Problems]], ...]] = (
    ("forZones", _label_value_problems),
    ("forNodes", _subdomain_problems),
)


# --- what may not change ----------------------------------------------------------------------

#: How deep the fields of a list of endpoints go: list, endpoint, hints, zones, zone.
_ENDPOINTS_DEPTH: Final = 5


def _is_same_list(stored: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    """Whether the endpoints are the same: null, absent and empty are."""
    old, new = stored.get("endpoints"), manifest.get("endpoints")
    return _is_equal(_stated(old, _ENDPOINTS_DEPTH), _stated(new, _ENDPOINTS_DEPTH))


def _stated(value: object, depth: int) -> object:
    """What an object states, less what is null or empty, to a depth."""
    if depth and isinstance(value, Mapping):
        pairs = {name: _stated(item, depth - 1) for name, item in value.items()}
        return {name: item for name, item in pairs.items() if item is not None} or None
    if depth and isinstance(value, (list, tuple)):
        return [_stated(item, depth - 1) for item in value] or None
    return value


def _is_equal(one: object, other: object) -> bool:
    try:
        return one == other
    except RecursionError:
        return False


def _check_change(found: _Found, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    words = "must not change"
    old, new = _metadata_of(stored), _metadata_of(wanted)
    is_deleted = old.get("deletionTimestamp") is not None
    if is_deleted:
        before, after = (_strings_of(meta.get("finalizers")) for meta in (old, new))
        added = [name for name in after if name not in before]
        if added:
            field = "metadata.finalizers"
            problem = "must not grow while the object is being deleted"
            found.append(Violation(field, ErrorType.FORBIDDEN, problem, added))
    for name in ("name", "namespace", "uid", "deletionTimestamp", "deletionGracePeriodSeconds"):
        value = new.get(name)
        # The server puts what is stored for what is not stated, and for another time of deletion.
        if value in (None, "") or (name == "deletionTimestamp" and is_deleted):
            continue
        if not _is_equal(value, old.get(name)):
            found.append(Violation(f"metadata.{name}", ErrorType.INVALID, words, value))
    before, kind = (_read([], "", item.get("addressType"), _STRING) for item in (stored, wanted))
    if kind is not None and kind != before:
        found.append(Violation("addressType", ErrorType.INVALID, words, kind))


def _metadata_of(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    meta: Mapping[str, Any] = _read([], "", manifest.get("metadata"), _OBJECT) or {}
    return meta


def _strings_of(value: object) -> list[str]:
    return [text for _, text in _read_items([], "", value, _STRING)]
