"""`kr8s`, with and without asyncio."""

from __future__ import annotations

import ssl
from typing import Any, final

import attrs
import httpx
from kr8s import APITimeoutError
from kr8s._async_utils import as_sync_func

from endpointslice.clients.requests import Answer, SliceRequest
from endpointslice.clients.wire import HttpCall, answer_of, call_of, lost

__all__ = ["AsyncKr8sSlices", "Kr8sSlices"]


@final
@attrs.frozen(eq=False)
class AsyncKr8sSlices:
    """EndpointSlices through what `await kr8s.asyncio.api()` returns.

    The client gives the server, who asks, the connections, the proxy, TLS and the time limit
    (none unless you set `api.timeout`). Its objects, which know no PUT, are gone round: JSON
    goes out and JSON comes in.

    One request is one request, but for a 401: the credentials are loaded anew, and it is asked
    once more. kr8s by itself asks up to four times after a 401, and after a 403 too. Redirects
    are not followed.

    Attributes:
        api: The client.
    """

    api: Any = attrs.field(repr=False)

    async def send(self, request: SliceRequest) -> Answer:
        """Send one request, once, and return what came back; as `SliceClient.send`."""
        call = call_of(request)
        answer = await self._ask(call)
        if answer.status != 401:
            return answer
        await self.api.async_reauthenticate()
        return await self._ask(call)

    async def _ask(self, call: HttpCall) -> Answer:
        headers = dict(call.headers)
        if self.api.auth.token:  # newer than the one of kr8s' session after a 401
            headers["Authorization"] = f"Bearer {self.api.auth.token}"
        root, _, rest = call.path.partition("/")
        try:
            async with self.api.call_api(
                call.method,
                version="",
                base=f"/{root}",
                url=rest,
                raise_for_status=False,
                params=call.query,
                content=call.content,
                headers=headers,
                follow_redirects=False,
            ) as response:
                return answer_of(
                    response.status_code, response.headers.get("Retry-After"), response.content
                )
        except (httpx.RequestError, APITimeoutError, ssl.SSLError) as error:
            return lost(error)


@final
@attrs.frozen(eq=False)
class Kr8sSlices:
    """EndpointSlices through what `kr8s.api()` returns; else as `AsyncKr8sSlices`.

    All requests, of whichever thread, run in the one thread that kr8s keeps for its calls.

    Attributes:
        api: The client.
    """

    api: Any = attrs.field(repr=False)

    def send(self, request: SliceRequest) -> Answer:
        """Send one request, once, and return what came back; as `SliceClient.send`."""
        return as_sync_func(AsyncKr8sSlices(self.api).send)(request)
