"""The clients, each opened with a kubeconfig, asked through its adapter, and closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from pathlib import Path
from typing import Any, Final

import kr8s
import kr8s.asyncio
import kubernetes.aio.config
import kubernetes.config
import kubernetes_asyncio.config
import lightkube
from kr8s._async_utils import as_sync_func

from endpointslice.clients.adapters import as_async_slice_client, as_slice_client
from endpointslice.clients.requests import Answer, SliceRequest

Send = Callable[[SliceRequest], Answer]
Open = Callable[[Path], AbstractContextManager[Send]]
OpenAsync = Callable[[Path], AbstractAsyncContextManager[Any]]


@contextmanager
def open_kubernetes(config: Path) -> Iterator[Send]:
    with kubernetes.config.new_client_from_config(str(config)) as client:
        yield as_slice_client(client).send


@contextmanager
def open_lightkube(config: Path) -> Iterator[Send]:
    with lightkube.Client(lightkube.KubeConfig.from_file(config)) as client:
        yield as_slice_client(client).send


@contextmanager
def open_kr8s(config: Path) -> Iterator[Send]:
    client = kr8s.api(kubeconfig=str(config))
    try:
        yield as_slice_client(client).send
    finally:
        as_sync_func(close_kr8s)(client)


async def close_kr8s(client: Any) -> None:
    if client._session is not None:
        await client._session.aclose()


@asynccontextmanager
async def opened_aio(config: Path) -> AsyncIterator[Any]:
    async with await kubernetes.aio.config.new_client_from_config(str(config)) as client:
        yield client


@asynccontextmanager
async def opened_kubernetes_asyncio(config: Path) -> AsyncIterator[Any]:
    async with await kubernetes_asyncio.config.new_client_from_config(str(config)) as client:
        yield client


@asynccontextmanager
async def opened_lightkube(config: Path) -> AsyncIterator[Any]:
    client = lightkube.AsyncClient(lightkube.KubeConfig.from_file(config))
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def opened_kr8s(config: Path) -> AsyncIterator[Any]:
    client = await kr8s.asyncio.api(kubeconfig=str(config))
    try:
        yield client
    finally:
        await close_kr8s(client)


ASYNC: Final[dict[str, OpenAsync]] = {
    "kubernetes.aio": opened_aio,
    "kubernetes_asyncio": opened_kubernetes_asyncio,
    "lightkube-async": opened_lightkube,
    "kr8s-async": opened_kr8s,
}


def in_loop(opened: OpenAsync) -> Open:
    """The client in an event loop of its own, to be asked from outside of it."""

    @contextmanager
    def open_client(config: Path) -> Iterator[Send]:
        with asyncio.Runner() as runner:
            context = opened(config)
            adapter = as_async_slice_client(runner.run(context.__aenter__()))
            try:
                yield lambda request: runner.run(adapter.send(request))
            finally:
                runner.run(context.__aexit__(None, None, None))

    return open_client


SYNC: Final[dict[str, Open]] = {
    "kubernetes": open_kubernetes,
    "lightkube": open_lightkube,
    "kr8s": open_kr8s,
}
CLIENTS: Final[dict[str, Open]] = {
    **SYNC,
    **{name: in_loop(opened) for name, opened in ASYNC.items()},
}
