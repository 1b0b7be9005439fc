"""What the server is told to do wrong, and what it did wrong."""

from __future__ import annotations

import random
from enum import StrEnum
from typing import Any, Final, final

import attrs

from endpointslice.errors import ModelError
from endpointslice.testing.messages import HttpResponse, StatusError, refusal
from endpointslice.testing.resources import VERBS, Resource

__all__ = ["ConnectionDroppedError", "Fault", "FaultKind", "Injected"]


class ConnectionDroppedError(ConnectionError):
    """The connection was lost, and there is no answer."""


@final
class FaultKind(StrEnum):
    """A way to fail."""

    #: 409, as if another had written in between.
    CONFLICT = "conflict"
    #: 429 with Retry-After.
    TOO_MANY_REQUESTS = "too-many-requests"
    #: 500.
    INTERNAL_ERROR = "internal-error"
    #: 503 with Retry-After.
    UNAVAILABLE = "unavailable"
    #: 504; what was asked for has not been done.
    TIMEOUT = "timeout"
    #: 504 after what was asked for has been done.
    TIMEOUT_AFTER = "timeout-after"
    #: The connection is lost before anything was done.
    DROP_BEFORE = "drop-before"
    #: The connection is lost after what was asked for has been done.
    DROP_AFTER = "drop-after"
    #: A written object is seen by watches only after more writes: a cache is stale.
    DELAY_EVENTS = "delay-events"
    #: A watch is told that what it asks for is too old: 410.
    EXPIRE_WATCH = "expire-watch"
    #: A watch is cut off in the middle of an event.
    CUT_WATCH = "cut-watch"


#: These happen after the request was carried out.
AFTER: Final = frozenset([FaultKind.TIMEOUT_AFTER, FaultKind.DROP_AFTER])
_ON_EVENTS: Final = frozenset([FaultKind.DELAY_EVENTS, FaultKind.CUT_WATCH])


def is_verb(_: object, attribute: attrs.Attribute[Any], value: str) -> None:
    """Refuse what would match nothing: a test that injects nothing cannot fail."""
    if value not in ("", *VERBS):
        raise ModelError(attribute.name, f"must be one of {', '.join(VERBS)}", value)


def _is_some(_: object, attribute: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and value < 1:
        raise ModelError(attribute.name, "must be at least 1", value)


@final
@attrs.frozen(kw_only=True)
class Fault:
    """What to do wrong, with which requests, and how often.

    Attributes:
        kind: What happens.
        verb: Only with this verb of Kubernetes: create, update, patch, delete, get, list, watch,
            deletecollection; "" for any. A dry run is as any other.
        resource: Only with objects of this plural; "" for any.
        namespace: Only there; "" for anywhere.
        name: Only with this object; "" for any. A create by generateName has no name.
        skip: How many requests that match are let through first.
        times: How often it happens; None for always.
        rate: How probable it is each time, by the seed of the cluster.
        retry_after: Seconds to wait, for 429 and 503.
        writes: For DELAY_EVENTS, after how many more writes the event is seen.

    Raises:
        ModelError: There is no such verb, as there is none called `PUT`; or it never happens.
    """

    kind: FaultKind
    verb: str = attrs.field(default="", validator=is_verb)
    resource: str = ""
    namespace: str = ""
    name: str = ""
    skip: int = 0
    times: int | None = attrs.field(default=1, validator=_is_some)
    rate: float = 1.0
    retry_after: int = 1
    writes: int = 1


@final
@attrs.frozen(kw_only=True)
class Injected:
    """One fault that happened.

    Attributes:
        kind: What happened.
        verb: Of the request; "watch" for an event.
        resource: The plural.
        namespace: Where; "" for the whole cluster.
        name: The object; "" if it is not known.
    """

    kind: FaultKind
    verb: str
    resource: str
    namespace: str
    name: str


class _Armed:
    """A fault, and how often it can still happen."""

    __slots__ = ("fault", "left", "skip")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.skip = fault.skip
        self.left = fault.times


class Faults:
    """The faults that are in force, in the order in which they were told."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._armed: list[_Armed] = []
        self.injected: list[Injected] = []

    def add(self, fault: Fault) -> None:
        self._armed.append(_Armed(fault))

    def clear(self) -> None:
        self._armed.clear()

    def on_request(self, verb: str, resource: str, namespace: str, name: str) -> Fault | None:
        """What goes wrong with a request."""
        return self._next(verb, resource, namespace, name, None)

    def on_event(self, kind: FaultKind, resource: str, namespace: str, name: str) -> Fault | None:
        """What goes wrong with an event."""
        return self._next("watch", resource, namespace, name, kind)

    def _next(
        self,
        verb: str,
        resource: str,
        namespace: str,
        name: str,
        kind: FaultKind | None,
    ) -> Fault | None:
        for armed in self._armed:
            fault = armed.fault
            if (
                (fault.kind in _ON_EVENTS if kind is None else fault.kind is not kind)
                or (fault.kind is FaultKind.EXPIRE_WATCH and verb != "watch")
                or (fault.verb and fault.verb != verb)
                or (fault.resource and fault.resource != resource)
                or (fault.namespace and fault.namespace != namespace)
                or (fault.name and fault.name != name)
            ):
                continue
            if fault.rate < 1.0 and self._chance.random() >= fault.rate:
                continue
            if armed.skip:
                armed.skip -= 1
                continue
            if armed.left is not None:
                armed.left -= 1
                if not armed.left:
                    self._armed.remove(armed)
            self.injected.append(
                Injected(
                    kind=fault.kind, verb=verb, resource=resource, namespace=namespace, name=name
                )
            )
            return fault
        return None


def fault_response(fault: Fault, resource: Resource, name: str) -> HttpResponse:
    """What a fault answers.

    Raises:
        ConnectionDroppedError: Nothing.
    """
    wait = {"retryAfterSeconds": fault.retry_after}
    match fault.kind:
        case FaultKind.CONFLICT:
            error = modified(resource, name)
        case FaultKind.TOO_MANY_REQUESTS:
            message = "Too many requests, please try again later."
            error = StatusError(429, "TooManyRequests", message, wait)
        case FaultKind.INTERNAL_ERROR:
            message = "Internal error occurred: an injected fault"
            details = {"causes": [{"message": "an injected fault"}]}
            error = StatusError(500, "InternalError", message, details)
        case FaultKind.UNAVAILABLE:
            message = "the server is currently unable to handle the request"
            error = StatusError(503, "ServiceUnavailable", message, wait)
        case FaultKind.TIMEOUT | FaultKind.TIMEOUT_AFTER:
            message = "Timeout: request did not complete within the requested timeout"
            error = StatusError(504, "Timeout", message, {})
        case _:
            raise ConnectionDroppedError(f"injected fault: {fault.kind}")
    return refusal(error)


def modified(resource: Resource, name: str) -> StatusError:
    """The conflict of a stale resourceVersion."""
    return StatusError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {resource.qualified} "{name}": the object has been '
        "modified; please apply your changes to the latest version and try again",
        resource.details(name),
    )
