"""From the client that you have to the seam: which one it is, without importing any."""

from __future__ import annotations

import inspect
from importlib import import_module
from types import ModuleType
from typing import Any, Final

from endpointslice.clients.requests import AsyncSliceClient, SliceClient
from endpointslice.errors import ModelError

__all__ = ["as_async_slice_client", "as_slice_client"]

#: Neither for asyncio nor not, as it never waits.
_CLUSTER: Final = "endpointslice.testing.cluster.Cluster"
_ASYNCIO: Final = ("kubernetes_asyncio", "KubernetesAsyncioSlices")
#: Where a class says it is from, and the module and class here that take it.
_SYNC: Final = {
    "kubernetes.client.api_client.ApiClient": ("kubernetes", "KubernetesSlices"),
    "kubernetes.client.api.discovery_v1_api.DiscoveryV1Api": ("kubernetes", "KubernetesSlices"),
    "lightkube.core.client.Client": ("lightkube", "LightkubeSlices"),
    "kr8s.Api": ("kr8s", "Kr8sSlices"),
    _CLUSTER: ("in_process", "ClusterSlices"),
}
_ASYNC: Final = {
    "kubernetes.aio.client.api_client.ApiClient": _ASYNCIO,
    "kubernetes.aio.client.api.discovery_v1_api.DiscoveryV1Api": _ASYNCIO,
    "kubernetes_asyncio.client.api_client.ApiClient": _ASYNCIO,
    "kubernetes_asyncio.client.api.discovery_v1_api.DiscoveryV1Api": _ASYNCIO,
    "lightkube.core.async_client.AsyncClient": ("lightkube", "AsyncLightkubeSlices"),
    "kr8s._api.Api": ("kr8s", "AsyncKr8sSlices"),
    _CLUSTER: ("in_process", "AsyncClusterSlices"),
}

_WHAT: Final = (
    "must be an ApiClient or DiscoveryV1Api, a client of lightkube or kr8s, or have a method send"
)
_IS_ASYNC: Final = "must not be one for asyncio: apply_plan_to_async and list_slices_async take it"
_NOT_ASYNC: Final = "must be one for asyncio: apply_plan_to and list_slices take the other kind"


def as_slice_client(client: object) -> SliceClient:
    """Take a client as it is.

    Args:
        client: A `kubernetes.client.ApiClient` or `DiscoveryV1Api`, a `lightkube.Client`, what
            `kr8s.api()` returns, an `endpointslice.testing.Cluster`, or an object with a method
            `send` as of `SliceClient`. It stays yours to close.

    Returns:
        An adapter to the client; the object itself if it has `send`.

    Raises:
        ModelError: It is none of these, or one for asyncio; the value is the name of its type.
        ImportError: The client is of a version that its extra would not install.
    """
    adapted: SliceClient = _adapted(client, in_asyncio=False)
    return adapted


def as_async_slice_client(client: object) -> AsyncSliceClient:
    """Take a client for asyncio as it is.

    Args:
        client: A `kubernetes.aio.client.ApiClient` or `DiscoveryV1Api`, the same of
            `kubernetes_asyncio`, a `lightkube.AsyncClient`, what `await kr8s.asyncio.api()`
            returns, or an object with an `async def send` as of `AsyncSliceClient`. It stays
            yours to close.

    Returns:
        An adapter to the client; the object itself if it has `send`.

    Raises:
        ModelError: It is none of these, or one without asyncio; the value is the name of its
            type.
        ImportError: The client is of a version that its extra would not install.
    """
    adapted: AsyncSliceClient = _adapted(client, in_asyncio=True)
    return adapted


def _adapted(client: Any, *, in_asyncio: bool) -> Any:
    wanted, other = (_ASYNC, _SYNC) if in_asyncio else (_SYNC, _ASYNC)
    name = _name(type(client))
    # A synchronous client can be made of the asynchronous one: the nearest class decides.
    for ancestor in type(client).__mro__:
        origin = _name(ancestor)
        if origin in wanted:
            module, adapter = wanted[origin]
            adapt = getattr(_imported(module, origin), adapter)
            return adapt(getattr(client, "api_client", client))
        if origin in other:
            raise _wrong_door(name, in_asyncio=in_asyncio)
    send = getattr(client, "send", None)
    if not callable(send):
        raise ModelError("client", _WHAT, name)
    if inspect.iscoroutinefunction(send) is not in_asyncio:
        raise _wrong_door(name, in_asyncio=in_asyncio)
    return client


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _imported(module: str, origin: str) -> ModuleType:
    try:
        return import_module(f"endpointslice.clients.{module}")
    except ImportError as error:
        # The client is there, so it is of a version that needs, or has, other modules.
        extra = origin.partition(".")[0].replace("_", "-")
        error.add_note(f"endpointslice[{extra}] installs the versions that it was tried with")
        raise


def _wrong_door(name: str, *, in_asyncio: bool) -> ModelError:
    return ModelError("client", _NOT_ASYNC if in_asyncio else _IS_ASYNC, name)
