"""Requests and responses as values, and how the API server says no."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, final
from urllib.parse import parse_qsl, urlsplit

import attrs

__all__ = ["HttpRequest", "HttpResponse"]

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_NUMBER: Final = re.compile("[0-9]{1,18}")


def dump(value: object) -> bytes:
    """JSON as the server writes it: compact, and UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def is_true(value: str | None) -> bool:
    """What a parameter says; the server takes anything but 0 and false for true."""
    return value is not None and value.lower() not in {"0", "false"}


def number_in(text: object) -> int | None:
    """A count in a parameter or a quota; None if it is none, or more than an int64 holds."""
    return int(text) if isinstance(text, str) and _NUMBER.fullmatch(text) else None


@final
@attrs.frozen(kw_only=True)
class HttpRequest:
    """One HTTP request.

    Attributes:
        method: In capitals.
        path: Without the query, as it stands in the request line.
        query: The parameters, decoded; of several with one name the last.
        headers: With names in small letters. They may hold a token, so they are not shown.
        body: What was sent.
    """

    method: str
    path: str
    query: Mapping[str, str] = _NOTHING
    headers: Mapping[str, str] = attrs.field(default=_NOTHING, repr=False)
    body: bytes = attrs.field(default=b"", repr=False)

    @classmethod
    def of(
        cls,
        method: str,
        target: str,
        body: object = b"",
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] = _NOTHING,
    ) -> HttpRequest:
        """A request on a path with a query, and a body that may be JSON.

        Args:
            method: As in `HttpRequest`.
            target: Path and query: `/api/v1/namespaces?limit=2`.
            body: Bytes are sent as they are, and anything else as JSON.
            content_type: Of the body, if there is one.
            headers: Others.
        """
        sent = body if isinstance(body, bytes) else dump(body)
        names = {name.lower(): value for name, value in headers.items()}
        if sent:
            names.setdefault("content-type", content_type)
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        return cls(method=method, path=parts.path, query=query, headers=names, body=sent)


@final
@attrs.frozen(kw_only=True)
class HttpResponse:
    """One HTTP response.

    Attributes:
        status: The HTTP status.
        headers: As they are sent.
        body: What is sent.
    """

    status: int
    headers: Mapping[str, str] = _NOTHING
    body: bytes = attrs.field(default=b"", repr=False)

    def json(self) -> Any:
        """The body, decoded.

        Raises:
            ValueError: It is no JSON.
        """
        return json.loads(self.body)


class StatusError(Exception):
    """What the server refuses; it becomes the answer.

    Attributes:
        code: The HTTP status.
        status: The Status, which is the body of the answer.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata or {},
            "status": "Failure",
            "message": message,
        }
        if reason:
            self.status["reason"] = reason
        if details is not None:
            self.status["details"] = details
        self.status["code"] = code


def answer(code: int, value: object, warnings: tuple[str, ...] = ()) -> HttpResponse:
    """JSON, with warnings in the header that kubectl prints."""
    headers = {"Content-Type": "application/json"}
    if warnings:
        headers["Warning"] = ", ".join(f"299 - {json.dumps(text)}" for text in warnings)
    body = value if isinstance(value, bytes) else dump(value)
    return HttpResponse(status=code, headers=headers, body=body)


def refusal(error: StatusError) -> HttpResponse:
    """The answer to what is refused."""
    seconds = error.status.get("details", {}).get("retryAfterSeconds")
    headers = {"Content-Type": "application/json"}
    if seconds is not None:
        headers["Retry-After"] = str(seconds)
    return HttpResponse(status=error.code, headers=headers, body=dump(error.status))


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def cause(reason: str, message: str, field: str) -> dict[str, str]:
    return {"reason": reason, "message": message, "field": field}


def invalid_options(kind: str, field: str, reason: str, message: str) -> StatusError:
    """What is wrong with the parameters of a request."""
    return StatusError(
        422,
        "Invalid",
        f'{kind}.meta.k8s.io "" is invalid: {field}: {message}',
        {"group": "meta.k8s.io", "kind": kind, "causes": [cause(reason, message, field)]},
    )
