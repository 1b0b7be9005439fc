"""The official client, `kubernetes`: the synchronous half."""

from __future__ import annotations

from typing import Any, final

import attrs
from urllib3.exceptions import HTTPError

from endpointslice.clients.requests import Answer, SliceRequest
from endpointslice.clients.wire import answer_of, call_of, lost

__all__ = ["KubernetesSlices"]


@final
@attrs.frozen(eq=False)
class KubernetesSlices:
    """EndpointSlices through a `kubernetes.client.ApiClient`.

    The client gives the server, who asks, the connections, the proxy and TLS. Its models and its
    conversion of request bodies, which cost more than the request, are gone round: JSON goes out
    and JSON comes in.

    One request is one request: the repetitions of urllib3, which the client leaves on (three for
    a lost PUT, DELETE or GET, and for their 429 and 503 with Retry-After), are switched off for
    these requests alone; so are redirects, and `Configuration.retries` and `client_go_retries`
    do not count. There is no time limit, as the client has none.

    As many threads may share it as may share the client.

    Attributes:
        api_client: The client.
    """

    api_client: Any = attrs.field(repr=False)

    def send(self, request: SliceRequest) -> Answer:
        """Send one request, once, and return what came back; as `SliceClient.send`."""
        call = call_of(request)
        client = self.api_client
        headers = {**client.default_headers, **call.headers}
        if client.cookie:
            headers["Cookie"] = client.cookie
        # Since 37 the client wants to know more. A token of Kubernetes is never in the query.
        details = (f"/{call.path}", call.method, None) if hasattr(client, "param_serialize") else ()
        client.update_params_for_auth(headers, [], ["BearerToken"], *details)
        try:
            response = client.rest_client.pool_manager.request(
                call.method,
                client.configuration.host + call.target,
                body=call.content,
                headers=headers,
                retries=False,
            )
        except HTTPError as error:
            return lost(error)
        return answer_of(response.status, response.headers.get("Retry-After"), response.data)
