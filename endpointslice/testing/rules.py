"""What the server refuses, and in which words; what it sets on a write."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from endpointslice.testing.messages import StatusError, cause
from endpointslice.testing.resources import DEFINITIONS, SLICES, Resource
from endpointslice.testing.schema import type_error
from endpointslice.validation import (
    ErrorType,
    Violation,
    _label_problems,
    _subdomain_problems,
    validate_slice,
    validate_update,
)

#: The server's words for ours; what does not stand here is said in ours.
_WORDS: Final = {
    "must be an IP address": "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
    "must not have leading zeros": "must not have leading 0s",
    "must be IPv4": "must be an IPv4 address",
    "must be IPv6": "must be an IPv6 address",
    "must not be unspecified": "may not be unspecified (0.0.0.0 or ::)",
    "must not be loopback": "may not be in the loopback range (127.0.0.0/8, ::1/128)",
    "must not be link-local": "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
    "must not be link-local multicast": (
        "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
    ),
    "must not change": "field is immutable",
    "must be at most 253 bytes": "must be no more than 253 characters",
    "must be at most 63 bytes": "must be no more than 63 characters",
    "must be lower case letters, digits, '-' and '.', and begin and end with a letter or digit "
    "around each '.'": (
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
        "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex "
        r"used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    ),
    "must be lower case letters, digits and '-', and begin and end with a letter or digit": (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
        "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex "
        "used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    ),
}
_REQUIRED: Final = {
    "metadata.name": "name or generateName is required",
    "addresses": "must contain at least 1 address",
}
_SUPPORTED: Final = {
    "addressType": '"FQDN", "IPv4", "IPv6"',
    "protocol": '"SCTP", "TCP", "UDP"',
}
_IN_FORM: Final = "must be in canonical form, "


def _explain(violation: Violation) -> str:
    """A violation in the server's words."""
    field = re.sub(r"\[\d+\]", "", violation.field)
    last = field if field.startswith("metadata.") else field.rpartition(".")[2]
    value = json.dumps(violation.value, ensure_ascii=False)
    match violation.type:
        case ErrorType.REQUIRED:
            words = _REQUIRED.get(last)
            return f"Required value: {words}" if words else "Required value"
        case ErrorType.DUPLICATE:
            return f"Duplicate value: {value}"
        case ErrorType.NOT_SUPPORTED:
            return f"Unsupported value: {value}: supported values: {_SUPPORTED.get(last, '')}"
        case ErrorType.TOO_MANY:
            limit = re.sub(r"\D", "", violation.detail)
            return f"Too many: {violation.value}: must have at most {limit} items"
        case ErrorType.TOO_LONG:
            limit = re.sub(r"\D", "", violation.detail)
            return f"Too long: may not be more than {limit} bytes"
        case ErrorType.FORBIDDEN:
            new = "{" + ", ".join(map(json.dumps, _strings(violation.value))) + "}"
            return (
                "Forbidden: no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{new}"
            )
        case _:
            if violation.detail.startswith(_IN_FORM):
                words = f'must be in canonical form ("{violation.detail.removeprefix(_IN_FORM)}")'
            else:
                words = _WORDS.get(violation.detail, violation.detail)
            return f"Invalid value: {value}: {words}"


def _strings(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else []


def invalid(resource: Resource, name: str, violations: Iterable[Violation]) -> StatusError:
    """The answer to what breaks rules."""
    causes = [cause(item.type, _explain(item), item.field) for item in violations]
    texts = [f"{item['field']}: {item['message']}" for item in causes]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = {**resource.details(name), "kind": resource.kind, "causes": causes}
    return StatusError(
        422,
        "Invalid",
        f'{resource.qualified_kind} "{name}" is invalid: {text}',
        details,
    )


def check(resource: Resource, manifest: Mapping[str, Any], old: Mapping[str, Any] | None) -> None:
    """Refuse what breaks the rules of its kind.

    Args:
        resource: What it is; EndpointSlices are judged whole, of others the name is.
        manifest: What is to be stored.
        old: What is stored; None for a create.

    Raises:
        StatusError: Unprocessable, with all that is wrong; or it cannot be decoded.
    """
    if resource is SLICES:
        found = validate_slice(manifest) if old is None else validate_update(old, manifest)
    else:
        found = tuple(_violations(resource, manifest))
    if not found:
        return
    for item in found:
        if item.type is ErrorType.TYPE_INVALID:
            raise type_error(resource, item.field, item.detail)
    raise invalid(resource, manifest["metadata"].get("name", ""), found)


def _violations(resource: Resource, manifest: Mapping[str, Any]) -> Iterable[Violation]:
    name = manifest["metadata"].get("name", "")
    if not name:
        yield Violation("metadata.name", ErrorType.REQUIRED, "")
        return
    if resource is DEFINITIONS:
        yield from _definition_violations(name, manifest.get("spec") or {})
    is_label = resource.kind in {"Namespace", "Service"}
    for words in (_label_problems if is_label else _subdomain_problems)(name):
        yield Violation("metadata.name", ErrorType.INVALID, words, name)


def _definition_violations(name: str, spec: Mapping[str, Any]) -> Iterable[Violation]:
    names = spec.get("names") or {}
    for field, value in (
        ("spec.group", spec.get("group")),
        ("spec.names.kind", names.get("kind")),
        ("spec.names.plural", names.get("plural")),
        ("spec.versions", spec.get("versions")),
    ):
        if not value:
            yield Violation(field, ErrorType.REQUIRED, "")
    for i, version in enumerate(spec.get("versions") or ()):
        if not (version or {}).get("name"):
            yield Violation(f"spec.versions[{i}].name", ErrorType.REQUIRED, "")
    wanted = f"{names.get('plural')}.{spec.get('group')}"
    if name != wanted:
        words = 'must be spec.names.plural+"."+spec.group'
        yield Violation("metadata.name", ErrorType.INVALID, words, name)


def bumps_generation(resource: Resource, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a write changes what is wanted, so that generation grows."""
    unwanted = {"metadata", "kind", "apiVersion"}
    if resource.has_status:
        unwanted.add("status")
    if any(old.get(name) != new.get(name) for name in (old.keys() | new.keys()) - unwanted):
        return True
    # The EndpointSlice strategy counts labels, alone of all metadata.
    return resource is SLICES and old["metadata"].get("labels") != new["metadata"].get("labels")
