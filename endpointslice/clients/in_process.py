"""The API server of `endpointslice.testing`, without sockets: asked in one's own thread."""

from __future__ import annotations

from typing import final

import attrs

from endpointslice.clients.requests import Answer, SliceRequest
from endpointslice.clients.wire import answer_of, call_of, lost
from endpointslice.testing import Cluster, HttpRequest

__all__ = ["AsyncClusterSlices", "ClusterSlices"]


@final
@attrs.frozen(eq=False)
class ClusterSlices:
    """EndpointSlices through a `Cluster`: the same requests and answers as over HTTP.

    Attributes:
        cluster: The server.
    """

    cluster: Cluster = attrs.field(repr=False)

    def send(self, request: SliceRequest) -> Answer:
        """Send one request, once, and return what came back; as `SliceClient.send`."""
        call = call_of(request)
        asked = HttpRequest.of(call.method, call.target, call.content or b"", headers=call.headers)
        try:
            response = self.cluster.handle(asked)
        except ConnectionError as error:
            return lost(error)
        return answer_of(response.status, response.headers.get("Retry-After"), response.body)


@final
@attrs.frozen(eq=False)
class AsyncClusterSlices:
    """The same for asyncio; it never waits.

    Attributes:
        cluster: The server.
    """

    cluster: Cluster = attrs.field(repr=False)

    async def send(self, request: SliceRequest) -> Answer:
        """Send one request, once, and return what came back; as `SliceClient.send`."""
        return ClusterSlices(self.cluster).send(request)
