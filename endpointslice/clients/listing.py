"""Read the slices of a Service, page by page, from the API server itself."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, final

import attrs

from endpointslice.clients.adapters import as_async_slice_client, as_slice_client
from endpointslice.clients.driving import (
    Session,
    Steps,
    drive,
    drive_async,
    field,
    is_lost,
    is_put_off,
    words_of,
)
from endpointslice.clients.requests import (
    Answer,
    SliceRequest,
    Verb,
)
from endpointslice.clients.retries import RetryPolicy
from endpointslice.errors import ApiError, ManifestError, ModelError
from endpointslice.manifests import decode_slice, decode_slices
from endpointslice.models import LABEL_MANAGED_BY, LABEL_SERVICE_NAME, EndpointSlice

__all__ = ["ListedSlices", "list_slices", "list_slices_async"]

#: As many as kubectl asks for at once.
_PAGE: Final = 500
_GONE: Final = 410
#: What may stand as the value of a label. None of it means anything in a selector.
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


@final
@attrs.frozen(kw_only=True)
class ListedSlices:
    """What a list gave.

    Attributes:
        slices: Those that can be read, in the order of the server: by namespace and name.
        problems: Why the others cannot; the path is that within the list.
        resource_version: The version of the list, for a watch or a `SliceTracker` that begins
            with it.
    """

    slices: tuple[EndpointSlice, ...]
    problems: tuple[ManifestError, ...] = ()
    resource_version: str = ""


def selector_of(labels: Mapping[str, str | None]) -> str:
    """Return the selector of the labels that have a value.

    Raises:
        ModelError: A value is no value of a label, and could mean something else.
    """
    terms = []
    for name, value in labels.items():
        if value is None:
            continue
        if not _LABEL_VALUE.fullmatch(value):
            raise ModelError(name, "must be a label's value of at most 63 characters", value)
        terms.append(f"{name}={value}")
    return ",".join(terms)


def list_items(
    session: Session, namespace: str, selector: str
) -> Steps[tuple[list[Mapping[str, Any]], str] | Answer]:
    """Ask for all that a selector selects: the items and their version, or the last failure."""
    items: list[Mapping[str, Any]] = []
    limit, token = _PAGE, ""
    followed: set[str] = set()
    while True:
        request = SliceRequest(
            verb=Verb.LIST,
            namespace=namespace,
            label_selector=selector,
            limit=limit,
            continue_token=token,
        )
        answer = yield from session.send(request)
        if answer.status == 200 and not _is_page(answer.body, followed):
            # It is not to pass for an empty list: whoever plans from that creates all anew.
            answer = Answer(status=0, error="what came back is no page of a list")
        if answer.status == _GONE and token and limit:
            # The version that the pages are of is forgotten: all at once it cannot be.
            items, limit, token = [], 0, ""
        elif is_lost(answer) or is_put_off(answer):
            if not (yield from session.rest(answer)):
                return answer
        elif answer.status != 200:
            return answer
        else:
            items += answer.body["items"] or ()
            meta = answer.body.get("metadata") or {}
            token = field(meta, "continue")
            if not token:
                return items, field(meta, "resourceVersion")
            followed.add(token)


def _is_page(body: Mapping[str, Any], followed: set[str]) -> bool:
    """Whether it is a page of a list, and not one that leads back to where others led."""
    items, meta = body.get("items", ""), body.get("metadata") or {}
    return (
        (items is None or isinstance(items, list))
        and isinstance(meta, Mapping)
        and field(meta, "continue") not in followed
    )


def list_slices(
    client: object,
    namespace: str,
    *,
    service: str | None = None,
    managed_by: str | None = None,
    retry: RetryPolicy = RetryPolicy(),
    sleep: Callable[[float], object] = time.sleep,
) -> ListedSlices:
    """Read the slices of a namespace, or of one Service, as they stand now.

    It never reads from a cache of the server, so what it gives is no older than the call.

    Args:
        client: As for `apply_plan_to`.
        namespace: Where.
        service: Only those of this Service.
        managed_by: Only those of this manager.
        retry: When to try again.
        sleep: Waits for so many seconds.

    Returns:
        The slices, and what cannot be read.

    Raises:
        ModelError: A name is none; nothing has been sent.
        ApiError: The server does not give them.

    Complexity: O(n) for n endpoints, and one request for 500 slices.
    """
    return drive(as_slice_client(client), _list(namespace, service, managed_by, retry), sleep)


async def list_slices_async(
    client: object,
    namespace: str,
    *,
    service: str | None = None,
    managed_by: str | None = None,
    retry: RetryPolicy = RetryPolicy(),
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> ListedSlices:
    """Read slices with an asyncio client; as `list_slices` in all else."""
    return await drive_async(
        as_async_slice_client(client), _list(namespace, service, managed_by, retry), sleep
    )


def _list(
    namespace: str, service: str | None, managed_by: str | None, retry: RetryPolicy
) -> Steps[ListedSlices]:
    selector = selector_of({LABEL_SERVICE_NAME: service, LABEL_MANAGED_BY: managed_by})
    answer = yield from list_items(Session(retry), namespace, selector)
    if isinstance(answer, Answer):
        raise ApiError(f"list of slices in {namespace}", answer.status, *words_of(answer))
    items, version = answer
    try:
        return ListedSlices(slices=decode_slices(items), resource_version=version)
    except ManifestError:
        pass
    slices: list[EndpointSlice] = []
    problems: list[ManifestError] = []
    for i, item in enumerate(items):
        try:
            slices.append(decode_slice(item))
        except ManifestError as error:
            problems.append(error.within(f"items[{i}]"))
    return ListedSlices(slices=tuple(slices), problems=tuple(problems), resource_version=version)
