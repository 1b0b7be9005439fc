"""Which client is it: recognised by its type, taken as it is, refused by the wrong door."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import kr8s
import kr8s.asyncio
import kubernetes.aio.client
import kubernetes.client
import kubernetes_asyncio.client
import lightkube
import pytest

from endpointslice.clients.adapters import as_async_slice_client, as_slice_client
from endpointslice.clients.in_process import AsyncClusterSlices, ClusterSlices
from endpointslice.clients.kr8s import AsyncKr8sSlices, Kr8sSlices
from endpointslice.clients.kubernetes import KubernetesSlices
from endpointslice.clients.kubernetes_asyncio import KubernetesAsyncioSlices
from endpointslice.clients.lightkube import AsyncLightkubeSlices, LightkubeSlices
from endpointslice.clients.requests import Answer, SliceRequest, Verb
from endpointslice.errors import ModelError
from endpointslice.testing import Cluster, Fault, FaultKind

GET = SliceRequest(verb=Verb.GET, namespace="shop", name="web-1")


def bare(cls: Any) -> Any:
    """An instance without what its constructor opens."""
    return cls.__new__(cls)


def with_api_client(cls: type, api_client: type) -> Any:
    api = bare(cls)
    api.api_client = bare(api_client)
    return api


class Own:
    """A client of one's own."""

    def send(self, request: SliceRequest) -> Answer:
        return Answer(status=200, body={"metadata": {"name": request.name}})


class AsyncOwn:
    async def send(self, request: SliceRequest) -> Answer:
        return Answer(status=200)


class OurLightkube(lightkube.Client):
    pass


SYNC: dict[str, tuple[Callable[[], Any], type]] = {
    "kubernetes": (lambda: bare(kubernetes.client.ApiClient), KubernetesSlices),
    "lightkube": (lambda: bare(lightkube.Client), LightkubeSlices),
    "a subclass": (lambda: bare(OurLightkube), LightkubeSlices),
    "kr8s": (lambda: bare(kr8s.Api), Kr8sSlices),
}
ASYNC: dict[str, tuple[Callable[[], Any], type]] = {
    "kubernetes.aio": (lambda: bare(kubernetes.aio.client.ApiClient), KubernetesAsyncioSlices),
    "kubernetes_asyncio": (
        lambda: bare(kubernetes_asyncio.client.ApiClient),
        KubernetesAsyncioSlices,
    ),
    "lightkube": (lambda: bare(lightkube.AsyncClient), AsyncLightkubeSlices),
    "kr8s": (lambda: bare(kr8s.asyncio.Api), AsyncKr8sSlices),
}


@pytest.mark.parametrize(("make", "adapter"), SYNC.values(), ids=SYNC)
def test_a_client_is_recognised_by_its_type(make: Callable[[], Any], adapter: type) -> None:
    assert type(as_slice_client(make())) is adapter


@pytest.mark.parametrize(("make", "adapter"), ASYNC.values(), ids=ASYNC)
def test_a_client_for_asyncio_is_recognised_by_its_type(
    make: Callable[[], Any], adapter: type
) -> None:
    assert type(as_async_slice_client(make())) is adapter


@pytest.mark.parametrize(
    ("door", "module"),
    [
        (as_slice_client, kubernetes.client),
        (as_async_slice_client, kubernetes.aio.client),
        (as_async_slice_client, kubernetes_asyncio.client),
    ],
    ids=["kubernetes", "kubernetes.aio", "kubernetes_asyncio"],
)
def test_an_api_group_stands_for_its_api_client(door: Callable[[Any], Any], module: Any) -> None:
    api = with_api_client(module.DiscoveryV1Api, module.ApiClient)
    assert door(api).api_client is api.api_client


@pytest.mark.parametrize("make", [Own, *(make for make, _ in SYNC.values())], ids=["own", *SYNC])
def test_a_client_without_asyncio_is_refused_where_one_with_it_is_wanted(
    make: Callable[[], Any],
) -> None:
    client = make()
    with pytest.raises(ModelError) as caught:
        as_async_slice_client(client)
    name = f"{type(client).__module__}.{type(client).__qualname__}"
    words = "must be one for asyncio: apply_plan_to and list_slices take the other kind"
    assert caught.value == ModelError("client", words, name)


@pytest.mark.parametrize(
    "make", [AsyncOwn, *(make for make, _ in ASYNC.values())], ids=["own", *ASYNC]
)
def test_a_client_for_asyncio_is_refused_where_one_without_it_is_wanted(
    make: Callable[[], Any],
) -> None:
    client = make()
    with pytest.raises(ModelError) as caught:
        as_slice_client(client)
    name = f"{type(client).__module__}.{type(client).__qualname__}"
    words = "must not be one for asyncio: apply_plan_to_async and list_slices_async take it"
    assert caught.value == ModelError("client", words, name)


def test_a_client_of_ones_own_needs_send_and_nothing_else() -> None:
    own, in_asyncio = Own(), AsyncOwn()
    assert as_slice_client(own) is own
    assert as_async_slice_client(in_asyncio) is in_asyncio
    assert as_slice_client(own).send(GET).body == {"metadata": {"name": "web-1"}}


@pytest.mark.parametrize("door", [as_slice_client, as_async_slice_client])
def test_what_is_no_client_is_refused_by_the_name_of_its_type_alone(
    door: Callable[[object], object],
) -> None:
    class Stranger:
        send = "not a method"

        def __repr__(self) -> str:
            return "Stranger(token='hunter2')"

    with pytest.raises(ModelError) as caught:
        door(Stranger())
    assert caught.value.field == "client"
    assert caught.value.value == f"{__name__}.{Stranger.__qualname__}"
    assert "hunter2" not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize("door", [as_slice_client, as_async_slice_client])
@pytest.mark.parametrize("client", [None, 7, lightkube.Client, {}], ids=repr)
def test_no_client_at_all_is_refused(door: Callable[[object], object], client: object) -> None:
    with pytest.raises(ModelError):
        door(client)


def test_a_client_of_another_version_is_told_from_which_extra_ours_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As with lightkube before 1.0, which has another HTTP library.
    monkeypatch.setitem(sys.modules, "httpx2", None)
    monkeypatch.delitem(sys.modules, "endpointslice.clients.lightkube")
    with pytest.raises(ImportError, match="httpx2") as caught:
        as_slice_client(bare(lightkube.Client))
    (note,) = caught.value.__notes__
    assert note == "endpointslice[lightkube] installs the versions that it was tried with"


def test_no_adapter_shows_the_client_that_it_holds() -> None:
    for make, adapter in [*SYNC.values(), *ASYNC.values()]:
        assert repr(adapter(make())) == f"{adapter.__name__}()"


def test_no_client_is_imported_to_recognise_one() -> None:
    script = """
import sys
from endpointslice.clients.adapters import as_slice_client
class Own:
    def send(self, request): ...
as_slice_client(Own())
print(sorted({name.partition(".")[0] for name in sys.modules} & {
    "kubernetes", "kubernetes_asyncio", "lightkube", "kr8s", "urllib3", "aiohttp", "httpx", "httpx2"
}))
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


@pytest.mark.parametrize("verb", [Verb.UPDATE, Verb.APPLY, Verb.DELETE, Verb.GET])
def test_a_request_on_one_slice_cannot_become_one_on_all(verb: Verb) -> None:
    with pytest.raises(ModelError) as caught:
        SliceRequest(verb=verb, namespace="shop")
    assert caught.value.field == "name"


def test_a_cluster_in_this_process_is_taken_by_both_doors() -> None:
    cluster = Cluster(namespaces=["shop"])
    client, other = as_slice_client(cluster), as_async_slice_client(cluster)
    assert (type(client), type(other)) == (ClusterSlices, AsyncClusterSlices)
    manifest = {"metadata": {"name": "web-1"}, "addressType": "IPv4", "endpoints": []}
    create = SliceRequest(verb=Verb.CREATE, namespace="shop", manifest=manifest)
    assert client.send(create).status == 201
    assert client.send(create).body["reason"] == "AlreadyExists"
    assert asyncio.run(other.send(GET)).body["metadata"]["name"] == "web-1"
    cluster.inject(
        Fault(kind=FaultKind.TOO_MANY_REQUESTS, retry_after=7), Fault(kind=FaultKind.DROP_BEFORE)
    )
    busy, lost = client.send(GET), client.send(GET)
    assert (busy.status, busy.retry_after, lost.status) == (429, 7.0, 0)
