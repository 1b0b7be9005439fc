"""The seam to an API client: one request as a value, one answer as a value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Protocol, final

import attrs

from endpointslice.errors import ModelError

__all__ = ["Answer", "AsyncSliceClient", "SliceClient", "SliceRequest", "Verb"]

#: What the API server takes for the name of a slice and of a namespace: nothing in it has a
#: meaning in a path, so that no name from outside can ask for another object.
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_MAX_NAME: Final = 253
_MAX_NAMESPACE: Final = 63
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@final
class Verb(StrEnum):
    """What is asked of the API server."""

    CREATE = "create"
    #: Replace the whole object; the manifest carries the resourceVersion.
    UPDATE = "update"
    #: Server-side apply.
    APPLY = "apply"
    DELETE = "delete"
    GET = "get"
    LIST = "list"


#: What is asked of one slice.
_OF_A_SLICE: Final = frozenset((Verb.UPDATE, Verb.APPLY, Verb.DELETE, Verb.GET))


def check_name(path: str, value: str) -> None:
    """Refuse what is no name of a slice."""
    if len(value) > _MAX_NAME or not _NAME.fullmatch(value):
        raise ModelError(path, "must be a DNS subdomain of at most 253 characters", value)


def check_namespace(path: str, value: str) -> None:
    """Refuse what is no name of a namespace."""
    if len(value) > _MAX_NAMESPACE or not _NAMESPACE.fullmatch(value):
        raise ModelError(path, "must be a DNS label of at most 63 characters", value)


@final
@attrs.frozen(kw_only=True)
class SliceRequest:
    """One request on EndpointSlices of one namespace.

    Attributes:
        verb: What to do.
        namespace: Where; a DNS label.
        name: The slice, a DNS subdomain; "" for LIST, and for a CREATE by generateName.
        manifest: The object to send with CREATE, UPDATE and APPLY: plain JSON.
        uid: DELETE only the object with this uid; "" for any.
        resource_version: DELETE the object only at this version; "" for any.
        label_selector: LIST only what it selects; "" for all.
        limit: LIST at most so many at once; 0 for all.
        continue_token: LIST from here; what the list before says, "" for the first.
        field_manager: The name under which CREATE, UPDATE and APPLY own fields; "" leaves it to
            the client.
        force: APPLY takes fields over that others own.
        dry_run: The server does all but store it.

    Raises:
        ModelError: The namespace or the name is none.
    """

    verb: Verb
    namespace: str
    name: str = ""
    manifest: Mapping[str, Any] | None = None
    uid: str = ""
    resource_version: str = ""
    label_selector: str = ""
    limit: int = 0
    continue_token: str = ""
    field_manager: str = ""
    force: bool = False
    dry_run: bool = False

    def __attrs_post_init__(self) -> None:
        check_namespace("namespace", self.namespace)
        # A delete without a name would be one of all slices.
        if self.name or self.verb in _OF_A_SLICE:
            check_name("name", self.name)


@final
@attrs.frozen(kw_only=True)
class Answer:
    """What came back.

    Attributes:
        status: The HTTP status; 0 if there was no answer, or a 2xx that is not the API server's,
            so that nobody knows what happened.
        body: The object, the list, or for a failure the Status; plain JSON. Empty for a failure
            without a JSON object.
        retry_after: Seconds that the server asks to wait; None if it does not say.
        error: For status 0, what went wrong, in a few words and without secrets: nearly always the
            type of the exception.
    """

    status: int
    body: Mapping[str, Any] = _NOTHING
    retry_after: float | None = None
    error: str = ""


class SliceClient(Protocol):
    """Whatever can carry out a request: a client of your own needs this one method."""

    def send(self, request: SliceRequest) -> Answer:
        """Send one request, once, and return what came back.

        A status of any kind and a lost connection are answers and never raise; the client does
        not repeat a request by itself. A success without its JSON object is no answer: status 0.
        """
        ...


class AsyncSliceClient(Protocol):
    """The same for asyncio."""

    async def send(self, request: SliceRequest) -> Answer:
        """Send one request, once, and return what came back; as `SliceClient.send`."""
        ...
