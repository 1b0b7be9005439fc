"""The example docs/examples/vm_endpoints, as it runs: processes, and an API server on loopback."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Self

import attrs
import kopf
import kubernetes_asyncio.client
import pytest
import yaml
from kubernetes.client import ApiClient, Configuration

from endpointslice import (
    EndpointSlice,
    Plan,
    SliceCache,
    decode_service,
    decode_slice,
    encode_slice,
    slice_template,
    validate_slice,
)
from endpointslice.clients import ApplyResult, apply_plan_to
from endpointslice.testing import ApiServer, Cluster, Denial, Fault, FaultKind, HttpRequest

EXAMPLE: Final = Path(__file__).parent.parent / "docs" / "examples" / "vm_endpoints"
BACKENDS: Final = "/apis/example.com/v1/namespaces/legacy/externalbackends"
SLICES: Final = "/apis/discovery.k8s.io/v1/namespaces/legacy/endpointslices"
SERVICES: Final = "/api/v1/namespaces/legacy/services"
#: Seconds: far more than anything here takes, so that what runs into it hangs.
DEADLINE: Final = 60.0
WRITES: Final = frozenset(("POST", "PUT", "PATCH", "DELETE"))
NEVER: Final = "100000"

#: An endpoint as consumers see it: address, port, ready, serving, terminating, zone.
Seen = tuple[str, int, bool, bool, bool, str | None]


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((EXAMPLE / name).read_text(encoding="utf-8")))


def request(cluster: Cluster, method: str, target: str, body: object = b"") -> dict[str, Any]:
    patch = "application/merge-patch+json" if method == "PATCH" else "application/json"
    response = cluster.handle(HttpRequest.of(method, target, body, content_type=patch))
    assert response.status < 300, response.json()
    return dict(response.json())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    """A server with the Service of the example, and what an ExternalBackend is."""
    cluster = Cluster(namespaces=["legacy"])
    cluster.load([*documents("crd.yaml"), *documents("service.yaml")])
    with ApiServer(cluster) as server:
        server.write_kubeconfig(tmp_path / "kubeconfig")
        yield server


@pytest.fixture
def cluster(server: ApiServer) -> Cluster:
    return server.cluster


class Program:
    """A process that runs one of the programs; what it prints goes to a file."""

    def __init__(self, kubeconfig: Path, arguments: Iterable[str], resync: str) -> None:
        self.log = kubeconfig.with_name("log")
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "RESYNC_SECONDS": resync}
        with self.log.open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"it never came to it:\n{self.log.read_text(encoding='utf-8')}")
            time.sleep(0.02)

    def terminate(self) -> int:
        self._process.terminate()
        return self._process.wait(timeout=DEADLINE)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Program]:
    """Start the operator, or the loop."""

    def start(name: str = "operator", *, resync: str = NEVER) -> Program:
        run = ["-m", "kopf", "run", "--standalone", "-A", str(EXAMPLE / "vm_operator.py")]
        arguments = run if name == "operator" else [str(EXAMPLE / "loop.py"), "legacy"]
        return Program(tmp_path / "kubeconfig", arguments, resync)

    return start


# --- what should be, and what is --------------------------------------------------------------


def asked_for(cluster: Cluster) -> set[Seen]:
    """What the ExternalBackends of the Service say of IP addresses, malformed ones left out."""
    return {
        (
            machine["address"],
            port["port"],
            machine.get("healthy", True) and not machine.get("draining", False),
            machine.get("healthy", True),
            machine.get("draining", False),
            machine.get("zone"),
        )
        for backend in cluster.objects("externalbackends")
        if backend["spec"]["service"] == "billing"
        and "deletionTimestamp" not in backend["metadata"]
        for port in backend["spec"]["ports"]
        for machine in backend["spec"]["backends"]
        if machine["address"] not in BAD and not machine["address"].endswith(".net")
    }


def seen(cluster: Cluster) -> set[Seen]:
    """What a consumer of the slices sees, of the IP addresses."""
    found = SliceCache(decode_slice(item) for item in cluster.objects("endpointslices"))
    return {
        (
            backend.address,
            backend.port,
            backend.endpoint.conditions.ready,
            backend.endpoint.conditions.serving,
            backend.endpoint.conditions.terminating,
            backend.endpoint.zone,
        )
        for port, backends in found.backends.items()
        if port.address_type != "FQDN"
        for backend in backends
    }


def copies(cluster: Cluster) -> list[tuple[str, str]]:
    """Endpoints that stand more than once, as those that move do for a moment."""
    found = Counter(
        (str(item["ports"]), endpoint["addresses"][0])
        for item in cluster.objects("endpointslices")
        for endpoint in item["endpoints"] or ()
    )
    return [place for place, count in found.items() if count > 1]


def is_right(cluster: Cluster) -> bool:
    return seen(cluster) == asked_for(cluster) and not copies(cluster)


def names_seen(cluster: Cluster) -> list[str]:
    return [
        address
        for item in cluster.objects("endpointslices")
        if item["addressType"] == "FQDN"
        for endpoint in item["endpoints"]
        for address in endpoint["addresses"]
    ]


def check(cluster: Cluster) -> None:
    """What must hold of the slices at rest."""
    stored = cluster.objects("endpointslices")
    (service,) = cluster.objects("services", "legacy")
    for item in stored:
        assert validate_slice(item) == ()
        (owner,) = item["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("Service", service["metadata"]["uid"])
    assert copies(cluster) == []


def writes(cluster: Cluster) -> list[tuple[str, int]]:
    return [
        (item.method, item.status)
        for item in cluster.requests
        if item.method in WRITES and item.path.startswith(SLICES)
    ]


def status_of(cluster: Cluster, name: str) -> Mapping[str, Any]:
    for item in cluster.objects("externalbackends"):
        if item["metadata"]["name"] == name and "status" in item:
            found: Mapping[str, Any] = item["status"]
            return found
    return {}


def is_said(cluster: Cluster, name: str, reason: str) -> bool:
    """Whether a status says so of what is asked for now."""
    (generation,) = (
        item["metadata"]["generation"]
        for item in cluster.objects("externalbackends")
        if item["metadata"]["name"] == name
    )
    status = status_of(cluster, name)
    said = status and (status["observedGeneration"], status["conditions"][0]["reason"])
    return said == (generation, reason)


def change(cluster: Cluster, name: str, **spec: Any) -> None:
    request(cluster, "PATCH", f"{BACKENDS}/{name}", {"spec": spec})


def machines(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    found = request(cluster, "GET", f"{BACKENDS}/{name}")
    return [dict(machine) for machine in found["spec"]["backends"]]


def create_all(cluster: Cluster) -> None:
    for document in documents("backends.yaml"):
        request(cluster, "POST", BACKENDS, document)


# --- the pure part ----------------------------------------------------------------------------


@contextmanager
def example_on_path() -> Iterator[None]:
    sys.path.insert(0, str(EXAMPLE))
    try:
        yield
    finally:
        sys.path.remove(str(EXAMPLE))


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with example_on_path():
        spec.loader.exec_module(module)
    return module


#: What is no address, or none that the API server takes; each would have a whole slice refused.
BAD: Final = (
    "",
    "10.0.0.300",
    "010.0.0.1",
    "127.0.0.1",
    "169.254.1.1",
    "224.0.0.1",
    "0.0.0.0",
    "::1",
    "fe80::1%eth0",
    "2001:db8::zz",
    "::ffff:192.0.2.1",
    "No_Name.example.net",
    "../../pods",
)


def external_backend(name: str, *backends: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    ports = [{"name": "https", "port": 8443}]
    spec = {"service": "billing", "ports": ports, "backends": list(backends), **spec}
    return {"metadata": {"name": name, "namespace": "legacy"}, "spec": spec}


@pytest.mark.parametrize("address", BAD)
def test_a_malformed_address_is_named_and_takes_nobody_down(address: str) -> None:
    found = load("wanted").wanted(
        [
            external_backend("a", {"address": "192.0.2.1"}, {"address": address}),
            external_backend("b", {"address": "192.0.2.2"}),
        ]
    )
    (group,) = found.groups
    assert [endpoint.addresses for endpoint in group.endpoints] == [("192.0.2.1",), ("192.0.2.2",)]
    assert list(found.problems) == ["a"]
    assert all(text.startswith("spec.backends[1]") for text in found.problems["a"])
    assert dict(found.endpoints) == {"a": 1, "b": 1}


def test_a_malformed_hostname_is_named() -> None:
    found = load("wanted").wanted(
        [external_backend("a", {"address": "192.0.2.1", "hostname": "A_1"})]
    )
    assert found.groups == []
    (problem,) = found.problems["a"]
    assert problem.startswith("spec.backends[0].hostname: ")


def test_malformed_ports_are_named_once() -> None:
    backends = [{"address": "192.0.2.1"}, {"address": "192.0.2.2"}]
    found = load("wanted").wanted([external_backend("a", *backends, ports=[{"port": 0}])])
    assert found.groups == []
    (problem,) = found.problems["a"]
    assert problem.startswith("spec.ports[0].port")


def test_a_machine_that_is_there_twice_counts_once_and_the_later_name_is_told() -> None:
    found = load("wanted").wanted(
        [
            external_backend("b", {"address": "2001:db8:0::1", "healthy": False}),
            external_backend("a", {"address": "2001:db8::1"}),
        ]
    )
    (group,) = found.groups
    (endpoint,) = group.endpoints
    assert endpoint.conditions.ready
    assert found.problems == {"b": ["spec.backends[0]: 2001:db8::1 is there twice"]}


# --- the operator -----------------------------------------------------------------------------


def test_the_operator_follows_the_backends_and_a_restart_writes_nothing(
    cluster: Cluster, start: Callable[..., Program]
) -> None:
    create_all(cluster)
    with start() as operator:
        operator.wait_for(lambda: is_said(cluster, "billing-rack-1", "Written"))
        operator.wait_for(lambda: is_said(cluster, "billing-rack-2", "Written"))
        check(cluster)
        assert is_right(cluster)
        assert names_seen(cluster) == ["billing.dc2.example.net"]
        assert status_of(cluster, "billing-rack-2")["endpoints"] == 3
        assert {item["addressType"] for item in cluster.objects("endpointslices")} == {
            "FQDN",
            "IPv4",
            "IPv6",
        }

        # Health flips, a machine comes, and one goes.
        first = machines(cluster, "billing-rack-1")
        change(cluster, "billing-rack-1", backends=[first[0], {**first[1], "healthy": True}])
        second = machines(cluster, "billing-rack-2")
        added = {"address": "192.0.2.22", "zone": "zone-b", "draining": True}
        change(cluster, "billing-rack-2", backends=[*second, added])
        operator.wait_for(lambda: is_right(cluster))
        check(cluster)

        # One that cannot be taken is told of, in the status and in an Event; others go on.
        bad = [{"address": "10.0.0.300"}, {"address": "192.0.2.23"}]
        change(cluster, "billing-rack-2", backends=[*second, *bad])
        operator.wait_for(lambda: is_said(cluster, "billing-rack-2", "InvalidBackends"))
        assert is_right(cluster)
        (problem,) = status_of(cluster, "billing-rack-2")["problems"]
        assert "10.0.0.300" in problem
        assert problem.startswith("spec.backends[3].address: ")
        operator.wait_for(lambda: bool(cluster.objects("events")))
        (event,) = cluster.objects("events")
        assert (event["reason"], event["type"]) == ("InvalidBackends", "Warning")
        assert operator.terminate() == 0

    before, version = len(cluster.requests), cluster.resource_version
    with start(resync="0.1") as operator:
        operator.wait_for(
            lambda: sum(item.path == SLICES for item in cluster.requests[before:]) >= 6
        )
        assert operator.terminate() == 0
    # Neither slices nor statuses nor Events.
    assert {item.method for item in cluster.requests[before:]} == {"GET"}
    assert cluster.resource_version == version

    with start() as operator:
        request(cluster, "DELETE", f"{BACKENDS}/billing-rack-2")
        operator.wait_for(lambda: len(cluster.objects("externalbackends")) == 1)
        assert is_right(cluster)
        assert names_seen(cluster) == []
        request(cluster, "DELETE", f"{BACKENDS}/billing-rack-1")
        operator.wait_for(lambda: not cluster.objects("externalbackends"))
        assert cluster.objects("endpointslices") == ()
        assert operator.terminate() == 0


def test_the_operator_needs_no_more_rights_than_its_role_gives(
    cluster: Cluster, start: Callable[..., Program]
) -> None:
    (role,) = (item for item in documents("rbac.yaml") if item["kind"] == "ClusterRole")
    granted = {
        (verb, resource.partition("/")[0])
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    # Slices of the Service that others left behind, so that there is something to delete too.
    (service,) = cluster.objects("services", "legacy")
    template = slice_template(decode_service(service), managed_by="vm-endpoints.example.com")
    left = decode_slice({"metadata": {"namespace": "legacy", "name": "x"}, "addressType": "IPv6"})
    meta = template.metadata
    cluster.load(
        encode_slice(attrs.evolve(left, metadata=attrs.evolve(meta, name=f"billing-{i}")))
        for i in range(3)
    )
    first, second = documents("backends.yaml")
    second["spec"]["backends"].append({"address": "10.0.0.300"})
    cluster.load([first, second])
    plurals = {item for _, item in granted} | {"pods", "nodes", "secrets", "namespaces"}
    verbs = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
    cluster.deny(
        *(
            Denial(verb=verb, resource=plural)
            for plural in sorted(plurals)
            for verb in verbs
            if (verb, plural) not in granted
        )
    )
    with start() as operator:
        operator.wait_for(lambda: is_said(cluster, "billing-rack-1", "Written"))
        operator.wait_for(lambda: is_said(cluster, "billing-rack-2", "InvalidBackends"))
        operator.wait_for(lambda: bool(cluster.objects("events")))
    assert is_right(cluster)
    assert ("DELETE", 200) in writes(cluster)


def test_the_operator_waits_for_the_service_and_begins_anew_with_a_new_one(
    cluster: Cluster, start: Callable[..., Program]
) -> None:
    (service,) = documents("service.yaml")
    request(cluster, "DELETE", f"{SERVICES}/billing")
    create_all(cluster)
    with start(resync="0.2") as operator:
        operator.wait_for(lambda: is_said(cluster, "billing-rack-1", "NoService"))
        assert writes(cluster) == []
        request(cluster, "POST", SERVICES, service)
        operator.wait_for(lambda: is_said(cluster, "billing-rack-1", "Written"))
        operator.wait_for(lambda: is_right(cluster))
        check(cluster)

        # A Service that is made again is another owner: its slices are made again too.
        request(cluster, "DELETE", f"{SERVICES}/billing")
        request(cluster, "POST", SERVICES, service)
        cluster.collect_garbage()
        (uid,) = (item["metadata"]["uid"] for item in cluster.objects("services", "legacy"))
        operator.wait_for(
            lambda: all(
                item["metadata"]["ownerReferences"][0]["uid"] == uid
                for item in cluster.objects("endpointslices")
            )
        )
        operator.wait_for(lambda: is_right(cluster))
        check(cluster)

        # Without it an ExternalBackend can go all the same.
        request(cluster, "DELETE", f"{SERVICES}/billing")
        operator.wait_for(lambda: is_said(cluster, "billing-rack-1", "NoService"))
        request(cluster, "DELETE", f"{BACKENDS}/billing-rack-1")
        operator.wait_for(lambda: len(cluster.objects("externalbackends")) == 1)


def test_the_operator_moves_backends_from_one_service_to_another(
    cluster: Cluster, start: Callable[..., Program]
) -> None:
    (service,) = documents("service.yaml")
    request(cluster, "POST", SERVICES, {**service, "metadata": {"name": "other"}})
    create_all(cluster)
    with start() as operator:
        operator.wait_for(lambda: is_said(cluster, "billing-rack-1", "Written"))
        change(cluster, "billing-rack-1", service="other")
        operator.wait_for(lambda: is_said(cluster, "billing-rack-1", "Written"))
    by_service: dict[str, set[str]] = {}
    for item in cluster.objects("endpointslices"):
        name = item["metadata"]["labels"]["kubernetes.io/service-name"]
        addresses = {endpoint["addresses"][0] for endpoint in item["endpoints"]}
        by_service.setdefault(name, set()).update(addresses)
    assert by_service["other"] == {"192.0.2.10", "192.0.2.11", "2001:db8::10"}
    assert by_service["billing"] == {"192.0.2.20", "192.0.2.21", "billing.dc2.example.net"}


def test_the_operator_plans_anew_after_a_conflict(
    cluster: Cluster, start: Callable[..., Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    create_all(cluster)
    with start() as operator:
        operator.wait_for(lambda: is_said(cluster, "billing-rack-1", "Written"))
        operator.wait_for(lambda: is_said(cluster, "billing-rack-2", "Written"))
        served = cluster.open

        def written_by_another_first(incoming: HttpRequest) -> Any:
            if incoming.method == "PUT" and incoming.path.startswith(SLICES):
                monkeypatch.setattr(cluster, "open", served)
                mark = {"metadata": {"annotations": {"example.com/seen-by": "somebody else"}}}
                served(
                    HttpRequest.of(
                        "PATCH", incoming.path, mark, content_type="application/merge-patch+json"
                    )
                )
            return served(incoming)

        monkeypatch.setattr(cluster, "open", written_by_another_first)
        first = machines(cluster, "billing-rack-1")
        change(cluster, "billing-rack-1", backends=[{**first[0], "healthy": False}])
        operator.wait_for(lambda: is_said(cluster, "billing-rack-1", "Written"))
        assert is_right(cluster)
        check(cluster)
        assert ("PUT", 409) in writes(cluster)
        # What the other wrote stands.
        found = [item["metadata"].get("annotations") for item in cluster.objects("endpointslices")]
        assert {"example.com/seen-by": "somebody else"} in found


NAME: Final = ("legacy", "billing")


class Synced:
    """The operator's sync in this process, whose watches show what the test says."""

    def __init__(self, cluster: Cluster, operator: ModuleType, api: object) -> None:
        self.cluster = cluster
        self.memo = kopf.Memo(state=operator.State(api))
        self.backends = documents("backends.yaml")
        self.slices: list[EndpointSlice] = []
        self._operator = operator

    async def __call__(self, *, trust_watch: bool = True) -> list[tuple[str, str]]:
        """Sync, and return what was asked of the server: methods, and kinds."""
        before = len(self.cluster.requests)
        (service,) = self.cluster.objects("services", "legacy")
        try:
            await self._operator.sync(
                NAME,
                memo=self.memo,
                backends={NAME: self.backends},
                services={NAME: [decode_service(service)]},
                slices={NAME: self.slices},
                trust_watch=trust_watch,
            )
        finally:
            asked = self.cluster.requests[before:]
        return [(item.method, item.path.removeprefix(SLICES)[:1]) for item in asked]

    def tell_deleted(self, last: Mapping[str, Any]) -> None:
        self._operator.slice_event(
            type="DELETED",
            namespace=last["metadata"]["namespace"],
            labels=last["metadata"]["labels"],
            body=last,
            memo=self.memo,
        )

    def show(self) -> None:
        self.slices = [*map(decode_slice, self.cluster.objects("endpointslices"))]


def in_process(server: ApiServer, story: Callable[[Synced], Awaitable[None]]) -> None:
    async def tell() -> None:
        configuration = kubernetes_asyncio.client.Configuration(host=server.url)
        async with kubernetes_asyncio.client.ApiClient(configuration) as api:
            await story(Synced(server.cluster, load("vm_operator"), api))

    asyncio.run(tell())
    check(server.cluster)


LISTED: Final = ("GET", "")
CREATED: Final = ("POST", "")
UPDATED: Final = ("PUT", "/")


def test_the_operator_does_not_plan_upon_a_watch_that_lacks_what_it_has_written(
    server: ApiServer,
) -> None:
    async def story(sync: Synced) -> None:
        assert await sync() == [CREATED] * 3
        # The watch has shown nothing yet, and more is wanted.
        sync.backends[0]["spec"]["backends"].append({"address": "192.0.2.12"})
        assert await sync() == [LISTED, UPDATED]
        # Now it has, and nobody asks the server any more.
        sync.show()
        assert await sync() == []

    in_process(server, story)


def test_the_operator_asks_the_server_after_a_conflict_until_all_is_written(
    server: ApiServer,
) -> None:
    async def story(sync: Synced) -> None:
        await sync()
        sync.show()
        for stored in sync.slices:
            mark = {"metadata": {"annotations": {"example.com/seen-by": "somebody else"}}}
            request(sync.cluster, "PATCH", f"{SLICES}/{stored.name}", mark)
        sync.backends[0]["spec"]["backends"][0]["healthy"] = False
        with pytest.raises(kopf.TemporaryError, match="conflict"):
            await sync()
        assert await sync() == [LISTED, UPDATED]
        sync.show()
        assert await sync() == []

    in_process(server, story)


def test_the_operator_waits_for_no_slice_of_which_the_watch_says_that_it_is_gone(
    server: ApiServer,
) -> None:
    async def story(sync: Synced) -> None:
        await sync()
        sync.show()
        newest = max(sync.slices, key=lambda stored: int(stored.metadata.resource_version))
        gone = request(sync.cluster, "GET", f"{SLICES}/{newest.name}")
        request(sync.cluster, "DELETE", f"{SLICES}/{newest.name}")
        sync.show()
        sync.tell_deleted(gone)
        assert await sync() == [CREATED]

    in_process(server, story)


def test_the_operator_looks_at_what_stands_from_time_to_time_whatever_its_watch_says(
    server: ApiServer,
) -> None:
    async def story(sync: Synced) -> None:
        await sync()
        sync.show()
        # A watch that was broken meanwhile never tells of it.
        request(sync.cluster, "DELETE", f"{SLICES}/{sync.slices[0].name}")
        assert await sync() == []
        assert await sync(trust_watch=False) == [LISTED, CREATED]

    in_process(server, story)


def test_the_operator_says_what_it_may_not_do_and_goes_on_when_it_may(
    cluster: Cluster, start: Callable[..., Program]
) -> None:
    cluster.load(documents("backends.yaml"))
    cluster.deny(Denial(verb="create", resource="endpointslices"))
    with start(resync="0.2") as operator:
        operator.wait_for(lambda: is_said(cluster, "billing-rack-1", "NotWritten"))
        cluster.deny()
        cluster.deny(Denial(verb="list", resource="endpointslices", namespace="legacy"))
        operator.wait_for(lambda: is_said(cluster, "billing-rack-1", "NotRead"))
        cluster.deny()
        operator.wait_for(lambda: is_said(cluster, "billing-rack-1", "Written"))
        operator.wait_for(lambda: is_right(cluster))
    check(cluster)


def test_the_operator_heals_what_others_have_done_to_its_slices(
    cluster: Cluster, start: Callable[..., Program]
) -> None:
    create_all(cluster)
    with start(resync="0.2") as operator:
        operator.wait_for(lambda: is_right(cluster))
        for item in cluster.objects("endpointslices", "legacy"):
            name = item["metadata"]["name"]
            if item["addressType"] == "IPv4":
                request(cluster, "PATCH", f"{SLICES}/{name}", {"endpoints": []})
            else:
                request(cluster, "DELETE", f"{SLICES}/{name}")
        assert not is_right(cluster)
        operator.wait_for(lambda: is_right(cluster))
        operator.wait_for(lambda: names_seen(cluster) == ["billing.dc2.example.net"])
        check(cluster)


@pytest.mark.parametrize("name", ["operator", "loop"])
def test_what_a_killed_process_left_is_finished_by_the_next(
    name: str, cluster: Cluster, start: Callable[..., Program]
) -> None:
    create_all(cluster)
    # The answer to the second create is lost, and then nobody is served any more.
    cluster.inject(
        Fault(kind=FaultKind.DROP_AFTER, verb="create", resource="endpointslices", skip=1),
        Fault(kind=FaultKind.INTERNAL_ERROR, resource="endpointslices", times=None, skip=4),
    )
    with start(name) as program:
        program.wait_for(lambda: any(status == 0 for _, status in writes(cluster)))
        program.kill()
    cluster.clear_faults()
    assert cluster.objects("endpointslices")
    with start(name) as program:
        program.wait_for(lambda: is_right(cluster))
        program.wait_for(lambda: names_seen(cluster) == ["billing.dc2.example.net"])
        check(cluster)


# --- the loop ---------------------------------------------------------------------------------


def test_the_loop_is_short() -> None:
    assert len((EXAMPLE / "loop.py").read_text(encoding="utf-8").splitlines()) <= 60


def test_the_loop_follows_the_backends(cluster: Cluster, start: Callable[..., Program]) -> None:
    create_all(cluster)
    with start("loop") as loop:
        loop.wait_for(lambda: is_right(cluster))
        first = machines(cluster, "billing-rack-1")
        change(cluster, "billing-rack-1", backends=[{**first[1], "healthy": True}, *first[2:]])
        loop.wait_for(lambda: is_right(cluster))
        request(cluster, "DELETE", f"{BACKENDS}/billing-rack-2")
        loop.wait_for(lambda: is_right(cluster) and not names_seen(cluster))
        check(cluster)
        # An API server that fails and forgets what could be watched ends nothing.
        cluster.inject(Fault(kind=FaultKind.UNAVAILABLE, verb="list", resource="externalbackends"))
        cluster.expire_watches()
        change(cluster, "billing-rack-1", backends=first)
        loop.wait_for(lambda: is_right(cluster))
        check(cluster)


def test_the_loop_writes_nothing_twice_and_tries_again_after_a_conflict(
    server: ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = server.cluster
    loop = load("loop")
    create_all(cluster)
    first = machines(cluster, "billing-rack-1")
    change(cluster, "billing-rack-1", backends=[*first, {"address": "10.0.0.300"}])
    configuration = Configuration(host=server.url)
    with ApiClient(configuration) as api:
        assert loop.sync(api, "legacy")[0]
        assert is_right(cluster)
        assert "10.0.0.300" in capsys.readouterr().out
        written = writes(cluster)
        assert loop.sync(api, "legacy")[0]
        assert writes(cluster) == written

        # Another replica is ahead: it has written the same before this one does.
        change(cluster, "billing-rack-1", backends=[{**first[0], "healthy": False}])
        stored = cluster.objects("endpointslices")
        (slice_name,) = (
            item["metadata"]["name"] for item in stored if item["addressType"] == "IPv6"
        )

        def after_another(api: ApiClient, plan: Plan, **options: Any) -> ApplyResult:
            mark = {"metadata": {"annotations": {"example.com/seen-by": "somebody else"}}}
            request(cluster, "PATCH", f"{SLICES}/{slice_name}", mark)
            return apply_plan_to(api, plan, **options)

        with monkeypatch.context() as patched:
            patched.setattr(loop, "apply_plan_to", after_another)
            assert not loop.sync(api, "legacy")[0]
        assert "conflict (409 Conflict)" in capsys.readouterr().out
        assert loop.sync(api, "legacy")[0]
    assert is_right(cluster)
    check(cluster)
