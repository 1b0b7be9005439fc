"""`kubernetes_asyncio`, and `kubernetes.aio`, the asyncio half of the official client."""

from __future__ import annotations

from typing import Any, final

import aiohttp
import attrs

from endpointslice.clients.requests import Answer, SliceRequest
from endpointslice.clients.wire import answer_of, call_of, lost

__all__ = ["KubernetesAsyncioSlices"]


@final
@attrs.frozen(eq=False)
class KubernetesAsyncioSlices:
    """EndpointSlices through the `ApiClient` of `kubernetes_asyncio.client` or `kubernetes.aio`.

    The client gives the server, who asks, the connections, the proxy and TLS. Its models and its
    conversion of request bodies, which cost more than the request, are gone round: JSON goes out
    and JSON comes in.

    One request is one request: aiohttp, which by itself repeats a PUT, DELETE or GET once if the
    connection is lost, is kept from it for these requests alone; so are redirects, and
    `Configuration.retries` and `client_go_retries` of `kubernetes.aio` do not count. The time
    limit is the session's; if you set none, the one of aiohttp, 5 minutes.

    Attributes:
        api_client: The client.
    """

    api_client: Any = attrs.field(repr=False)

    async def send(self, request: SliceRequest) -> Answer:
        """Send one request, once, and return what came back; as `SliceClient.send`."""
        call = call_of(request)
        client = self.api_client
        headers = {**client.default_headers, **call.headers}
        if client.cookie:
            headers["Cookie"] = client.cookie
        # `kubernetes.aio` wants to know more. A token of Kubernetes is never in the query.
        details = (f"/{call.path}", call.method, None) if hasattr(client, "param_serialize") else ()
        await client.update_params_for_auth(headers, [], ["BearerToken"], *details)
        rest = client.rest_client
        if rest.pool_manager is None:  # `kubernetes.aio` before its first request
            rest.pool_manager = rest._create_pool_manager()
        yours = getattr(client.configuration, "client_session_kwargs", None) or {}
        try:
            async with rest.pool_manager.request(
                call.method,
                client.configuration.host + call.target,
                data=call.content,
                headers=headers,
                proxy=rest.proxy,
                proxy_headers=rest.proxy_headers,
                server_hostname=client.configuration.tls_server_name,
                allow_redirects=False,
                middlewares=(*yours.get("middlewares", ()), _once),
            ) as response:
                data = await response.read()
        except _LostError as error:
            return lost(error.reason)
        except (aiohttp.ClientError, OSError) as error:
            return lost(error)
        return answer_of(response.status, response.headers.get("Retry-After"), data)


class _LostError(aiohttp.ClientError):
    """A lost connection under a name for which aiohttp does not repeat the request."""

    def __init__(self, reason: Exception) -> None:
        super().__init__()
        self.reason = reason


async def _once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _LostError(error) from error
