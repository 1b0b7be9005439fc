"""`lightkube`, with and without asyncio."""

from __future__ import annotations

from typing import Any, Final, final

import attrs
import httpx2
import msgspec
from lightkube.core.generic_client import BasicRequest
from lightkube.resources.discovery_v1 import EndpointSlice

from endpointslice.clients.requests import Answer, SliceRequest, Verb
from endpointslice.clients.wire import answer_of, call_of, lost
from endpointslice.errors import ModelError

__all__ = ["AsyncLightkubeSlices", "LightkubeSlices"]

_READS: Final = frozenset((Verb.GET, Verb.LIST))


@final
@attrs.frozen(eq=False)
class LightkubeSlices:
    """EndpointSlices through a `lightkube.Client`.

    The client gives the server, who asks, the connections, the proxy, TLS and the time limit
    (10 s unless you set it). Its methods know no preconditions of a DELETE and lose the body of
    a response, so this goes below them, to the generic client that they share. What you gave
    the client as its `field_manager` holds here too. A client that was given `dry_run` takes
    only dry runs: nobody shall think that it has written.

    One request is one request, but for a 401 with a token from a file or a program: the client
    reads the token anew and asks once more. Redirects are not followed.

    As many threads may share it as may share the client.

    Attributes:
        client: The client.
    """

    client: Any = attrs.field(repr=False)

    def send(self, request: SliceRequest) -> Answer:
        """Send one request, once, and return what came back; as `SliceClient.send`."""
        generic = self.client._client
        try:
            response = generic.send(_prepared(generic, request))
        except httpx2.RequestError as error:
            return lost(error)
        return _answer(response)


@final
@attrs.frozen(eq=False)
class AsyncLightkubeSlices:
    """EndpointSlices through a `lightkube.AsyncClient`; else as `LightkubeSlices`.

    Attributes:
        client: The client.
    """

    client: Any = attrs.field(repr=False)

    async def send(self, request: SliceRequest) -> Answer:
        """Send one request, once, and return what came back; as `SliceClient.send`."""
        generic = self.client._client
        try:
            response = await generic.send(_prepared(generic, request))
        except httpx2.RequestError as error:
            return lost(error)
        return _answer(response)


def _prepared(generic: Any, request: SliceRequest) -> httpx2.Request:
    # What the client adds to each write, it says only of a request that it prepares itself.
    defaults = generic.prepare_request(
        "patch", EndpointSlice, {}, "any", headers={"Content-Type": "application/json"}
    ).params
    if "dryRun" in defaults and request.verb not in _READS and not request.dry_run:
        raise ModelError("dry_run", "must be set, for the client stores nothing", False)
    field_manager = request.field_manager or defaults.get("fieldManager", "")
    call = call_of(attrs.evolve(request, field_manager=field_manager))
    prepared: httpx2.Request = generic.build_adapter_request(
        BasicRequest(
            method=call.method,
            url=call.path,
            params=dict(call.query),
            data=None if call.content is None else msgspec.Raw(call.content),
            headers=call.headers,
        )
    )
    return prepared


def _answer(response: httpx2.Response) -> Answer:
    return answer_of(response.status_code, response.headers.get("Retry-After"), response.content)
