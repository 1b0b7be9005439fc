"""Lists: in pieces, and as they were at a resource version."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from endpointslice.testing.messages import (
    StatusError,
    bad_request,
    dump,
    invalid_options,
    number_in,
)
from endpointslice.testing.resources import Resource
from endpointslice.testing.selectors import Selector, select_all
from endpointslice.testing.store import Store

_TOO_OLD = "The resourceVersion for the provided list is too old."
_CONTINUE_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can "
    "start a new list without the continue parameter, or use the continue token in this response "
    "to retrieve the remainder of the results. Continuing with the provided token results in an "
    "inconsistent list - objects that were created, modified, or deleted between the time the "
    "first chunk was returned and now may show up in the list."
)


def parse_version(text: str) -> int:
    """A resource version; 0 for "".

    Raises:
        ValueError: It is none.
    """
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"strconv.ParseUint: parsing {json.dumps(text)}: invalid syntax")
    return int(text)


def list_objects(
    store: Store,
    resource: Resource,
    namespace: str,
    selects: Selector,
    query: Mapping[str, str],
    visible: int,
) -> bytes:
    """Answer a list.

    Args:
        store: The objects.
        resource: Of which resource.
        namespace: Where; "" for everywhere.
        selects: Which of them.
        query: The parameters.
        visible: What a cache has seen; a list at resourceVersion 0 is answered from there.

    Raises:
        StatusError: The parameters are nonsense, or what they ask for is not known any more.
    """
    version, start, limit = _where(store, query, visible)
    found = store.objects(resource, version)
    prefix = f"{namespace}/" if namespace else ""
    found = [
        item
        for item in found
        if item.key.startswith(prefix)
        and (not start or item.key[len(prefix) :] >= start)
        and selects(item.manifest)
    ]
    meta: dict[str, Any] = {"resourceVersion": str(version)}
    if limit and len(found) > limit:
        last = found[limit - 1].key[len(prefix) :]
        # What the watch cache serves is told from what etcd serves by a slash.
        slash = "/" if version >= store.watch_floor else ""
        meta["continue"] = _token(version, f"{slash}{last}\0")
        if selects is select_all:
            meta["remainingItemCount"] = len(found) - limit
        found = found[:limit]
    head = dump(
        {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": meta}
    )
    items = b",".join(_item(resource, item.body_for(resource)) for item in found)
    return head[:-1] + b',"items":[' + items + b"]}"


def _item(resource: Resource, body: bytes) -> bytes:
    """An object as it stands in a list: one of a built-in kind without its kind."""
    kind = dump({"kind": resource.kind, "apiVersion": resource.api_version})[:-1] + b","
    is_custom = resource.is_custom
    return b"{" + body[len(kind) :] if not is_custom and body.startswith(kind) else body


def _where(store: Store, query: Mapping[str, str], visible: int) -> tuple[int, str, int]:
    """The version to list, from which key on, and how many."""
    text, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
    try:
        wanted = parse_version(text)
    except ValueError as error:
        field = f"resourceVersion: Invalid value: {json.dumps(text)}"
        raise bad_request(f"invalid resource version: {field}: {error}") from None
    limit = number_in(query.get("limit")) or 0
    if token := query.get("continue", ""):
        version, start = _read_token(token)
        if version < 0:
            return store.revision, start, limit
        if version < store.list_floor:
            rest = {"continue": _token(-1, start)}
            raise StatusError(410, "Expired", _CONTINUE_TOO_OLD, metadata=rest)
        return version, start, limit
    if match and not text:
        raise invalid_options(
            "ListOptions",
            "resourceVersionMatch",
            "FieldValueForbidden",
            "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        )
    if wanted > store.revision:
        raise too_large(wanted, store.revision)
    if text == "0":
        return visible, "", 0
    if wanted and (match == "Exact" or (limit and not match)):
        if wanted < store.list_floor:
            raise StatusError(410, "Expired", _TOO_OLD)
        return wanted, "", limit
    return store.revision, "", limit


def too_large(wanted: int, current: int) -> StatusError:
    """The answer to a version that is still to come."""
    return StatusError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {wanted}, current: {current}",
        {
            "causes": [
                {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
            ],
            "retryAfterSeconds": 1,
        },
    )


def _token(version: int, start: str) -> str:
    text = dump({"v": "meta.k8s.io/v1", "rv": version, "start": start})
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, str]:
    said = "invalid continue token: continue key is not valid: "
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:
        raise bad_request(f"{said}illegal base64 data at input byte 0") from None
    try:
        read = json.loads(text)
        return int(read["rv"]), str(read["start"]).removeprefix("/")
    except (ValueError, KeyError, TypeError, OverflowError):
        byte = f"\\x{text[0]:02x}" if text[:1] >= b"\x80" else text[:1].decode()
        raise bad_request(
            f"{said}invalid character '{byte}' looking for beginning of value"
        ) from None
