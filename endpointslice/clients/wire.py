"""What a request is in HTTP, and what an HTTP response says: the same for every client."""

from __future__ import annotations

import json
from typing import Any, Final, assert_never, final
from urllib.parse import quote, urlencode

import attrs

from endpointslice.clients.requests import Answer, SliceRequest, Verb

__all__ = ["HttpCall", "answer_of", "call_of", "lost"]

_ROOT: Final = "apis/discovery.k8s.io/v1/namespaces"
_JSON: Final = "application/json"
#: JSON is YAML; every server since 1.16 takes this type for a server-side apply.
_APPLY: Final = "application/apply-patch+yaml"


@final
@attrs.frozen(kw_only=True)
class HttpCall:
    """A request in HTTP, without what only the client knows: the server, and who asks.

    Attributes:
        method: `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
        path: Below the server's URL, quoted, without a slash at the start.
        query: Names and values, not quoted.
        headers: `Accept`, and `Content-Type` if there is a body.
        content: The body, the same bytes through every client; None for none.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str]
    content: bytes | None = attrs.field(default=None, repr=False)

    @property
    def target(self) -> str:
        """Path and query, quoted, with a slash at the start."""
        query = urlencode(self.query)
        return f"/{self.path}?{query}" if query else f"/{self.path}"


def call_of(request: SliceRequest) -> HttpCall:
    """Say a request in HTTP.

    Complexity: O(size of the manifest).
    Source: Kubernetes API reference, EndpointSlice v1 discovery.k8s.io.
    """
    collection = f"{_ROOT}/{quote(request.namespace, safe='')}/endpointslices"
    item = f"{collection}/{quote(request.name, safe='')}"
    match request.verb:
        case Verb.CREATE:
            return _write("POST", collection, request, _JSON)
        case Verb.UPDATE:
            return _write("PUT", item, request, _JSON)
        case Verb.APPLY:
            return _write("PATCH", item, request, _APPLY)
        case Verb.DELETE:
            return HttpCall(
                method="DELETE",
                path=item,
                headers={"Accept": _JSON, "Content-Type": _JSON},
                content=_json(_delete_options(request)),
            )
        case Verb.GET:
            return HttpCall(method="GET", path=item, headers={"Accept": _JSON})
        case Verb.LIST:
            query = (
                ("labelSelector", request.label_selector),
                ("limit", str(request.limit or "")),
                ("continue", request.continue_token),
            )
            return HttpCall(
                method="GET",
                path=collection,
                query=tuple(pair for pair in query if pair[1]),
                headers={"Accept": _JSON},
            )
        case _:
            assert_never(request.verb)


def answer_of(status: int, retry_after: str | None, data: bytes) -> Answer:
    """Read a response.

    The API server answers with a JSON object that says its kind, always. A 2xx without one is of
    somebody between, as of a proxy that wants a login, and nobody knows what became of the
    request.

    Args:
        status: The HTTP status.
        retry_after: The header of that name; only seconds count, not a date.
        data: The body.
    """
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        body = {}
    if 200 <= status < 300 and "kind" not in body:
        return Answer(status=0, error=f"a {status} that is not the API server's")
    seconds = (retry_after or "").strip()
    return Answer(
        status=status,
        body=body,
        retry_after=float(seconds) if seconds.isascii() and seconds.isdecimal() else None,
    )


def lost(error: Exception) -> Answer:
    """Say that there was no response.

    The type says enough; the text of an error may hold what nobody else shall read.
    """
    return Answer(status=0, error=type(error).__name__)


def _write(method: str, path: str, request: SliceRequest, content_type: str) -> HttpCall:
    query = (
        ("dryRun", "All" if request.dry_run else ""),
        ("fieldManager", request.field_manager),
        ("force", "true" if request.force else ""),
    )
    return HttpCall(
        method=method,
        path=path,
        query=tuple(pair for pair in query if pair[1]),
        headers={"Accept": _JSON, "Content-Type": content_type},
        content=_json(dict(request.manifest or {})),
    )


def _delete_options(request: SliceRequest) -> dict[str, Any]:
    """All options in the body: the API server reads none from the query if there is one."""
    options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
    preconditions = {"uid": request.uid, "resourceVersion": request.resource_version}
    if any(preconditions.values()):
        options["preconditions"] = {name: value for name, value in preconditions.items() if value}
    if request.dry_run:
        options["dryRun"] = ["All"]
    return options


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
