"""What every client must do through its adapter, over HTTP: one request, and one answer.

The requests run against a real server on loopback, because what is to be seen is what the client
does on its way: quoting, repeating, following, hiding.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import aiohttp
import attrs
import httpx
import httpx2
import kubernetes.aio.client
import kubernetes.client
import kubernetes_asyncio.client
import lightkube
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from endpointslice.clients.adapters import as_async_slice_client, as_slice_client
from endpointslice.clients.requests import Answer, SliceRequest, Verb
from endpointslice.errors import ModelError
from endpointslice.testing import (
    ApiServer,
    Cluster,
    Denial,
    Fault,
    FaultKind,
    HttpRequest,
    HttpResponse,
    Watch,
)
from tests.clients import ASYNC, CLIENTS, SYNC, Open, OpenAsync, Send

# kr8s warns of servers that are newer than itself.
pytestmark = pytest.mark.filterwarnings("ignore:Kubernetes version:UserWarning")

TOKEN: Final = "hunter2-is-the-token"
NAMESPACE: Final = "shop"
SLICES: Final = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
NAME: Final = "web-1.a-b.example"
#: As little as the API server says.
OBJECT: Final = b'{"kind":"EndpointSlice"}'

# --- the server -------------------------------------------------------------------------------


class Tap:
    """What reaches the server, and what it is told to answer instead of its own."""

    def __init__(self, cluster: Cluster) -> None:
        self._open = cluster.open
        self.requests: list[HttpRequest] = []
        self.script: list[HttpResponse | Callable[[], None]] = []

    def __call__(self, request: HttpRequest) -> HttpResponse | Watch:
        if "/version" in request.path:  # kr8s asks before anything else
            return self._open(HttpRequest.of("GET", "/version", headers=request.headers))
        self.requests.append(request)
        if self.script:
            scripted = self.script.pop(0)
            if isinstance(scripted, HttpResponse):
                return scripted
            scripted()
        return self._open(request)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(namespaces=[NAMESPACE], token=TOKEN)


@pytest.fixture
def tap(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Tap:
    tap = Tap(cluster)
    monkeypatch.setattr(cluster, "open", tap)
    return tap


@pytest.fixture
def server(cluster: Cluster, tap: Tap) -> Iterator[ApiServer]:
    with ApiServer(cluster) as server:
        yield server


@pytest.fixture
def config(server: ApiServer, tmp_path: Path) -> Path:
    return server.write_kubeconfig(tmp_path / "config")


@pytest.fixture(params=CLIENTS)
def send(request: pytest.FixtureRequest, config: Path) -> Iterator[Send]:
    with CLIENTS[request.param](config) as send:
        yield send


def a_slice(name: str = NAME, *, endpoints: int = 1, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": "web"},
            **metadata,
        },
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": [f"10.0.{i // 250}.{i % 250}"],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "hints": {"forZones": [{"name": "zone-a"}]},
                "nodeName": f"node-{i}",
                "targetRef": {"kind": "Pod", "namespace": NAMESPACE, "name": f"web-{i}"},
                "zone": "zone-a",
            }
            for i in range(endpoints)
        ],
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
    }


def ask(verb: Verb, **fields: Any) -> SliceRequest:
    return SliceRequest(verb=verb, namespace=NAMESPACE, **fields)


def create(manifest: Mapping[str, Any] | None = None, **fields: Any) -> SliceRequest:
    return ask(Verb.CREATE, manifest=manifest or a_slice(), **fields)


def stored(cluster: Cluster) -> dict[str, Any]:
    """The slices, by name."""
    found = cluster.objects("endpointslices", NAMESPACE)
    return {item["metadata"]["name"]: item for item in found}


def load(cluster: Cluster, *manifests: dict[str, Any]) -> dict[str, Any]:
    cluster.load(manifests or [a_slice()])
    return stored(cluster)


#: One request of each verb, on a slice that is there: `web-1...` is, `new` is not.
def each_verb(manifest: Mapping[str, Any]) -> dict[Verb, SliceRequest]:
    changed = {**manifest, "endpoints": [{"addresses": ["10.9.9.9"]}]}
    applied = a_slice(labels={"applied": "yes"})
    return {
        Verb.CREATE: create(a_slice("new")),
        Verb.UPDATE: ask(Verb.UPDATE, name=NAME, manifest=changed),
        Verb.APPLY: ask(Verb.APPLY, name=NAME, manifest=applied, field_manager="mine", force=True),
        Verb.DELETE: ask(Verb.DELETE, name=NAME, uid=manifest["metadata"]["uid"]),
        Verb.GET: ask(Verb.GET, name=NAME),
        Verb.LIST: ask(Verb.LIST),
    }


WRITES: Final = (Verb.CREATE, Verb.UPDATE, Verb.APPLY, Verb.DELETE)
#: What the API server calls them.
WORDS: Final = {Verb.APPLY: "patch"}


# --- each verb --------------------------------------------------------------------------------


def test_a_slice_is_created(send: Send, cluster: Cluster, tap: Tap) -> None:
    answer = send(create(field_manager="mine"))
    assert (answer.status, answer.retry_after, answer.error) == (201, None, "")
    assert answer.body == stored(cluster)[NAME]
    assert answer.body["metadata"]["uid"]
    assert answer.body["metadata"]["managedFields"][0]["manager"] == "mine"
    assert [(got.method, got.path) for got in tap.requests] == [("POST", SLICES)]


def test_the_server_makes_up_a_name(send: Send, cluster: Cluster) -> None:
    manifest = a_slice(generateName="web-")
    del manifest["metadata"]["name"]
    answer = send(create(manifest))
    assert answer.status == 201
    assert list(stored(cluster)) == [answer.body["metadata"]["name"]]


def test_an_update_replaces_the_whole_slice(send: Send, cluster: Cluster, tap: Tap) -> None:
    before = load(cluster, a_slice(annotations={"old": "1"}))[NAME]
    manifest = a_slice(resourceVersion=before["metadata"]["resourceVersion"], labels={"new": "1"})
    answer = send(ask(Verb.UPDATE, name=NAME, manifest=manifest))
    assert answer.status == 200
    assert answer.body == stored(cluster)[NAME]
    assert answer.body["metadata"]["labels"] == {"new": "1"}
    assert "annotations" not in answer.body["metadata"]
    assert [(got.method, got.path) for got in tap.requests] == [("PUT", f"{SLICES}/{NAME}")]


def test_an_apply_owns_what_it_says(send: Send, cluster: Cluster, tap: Tap) -> None:
    manifest = a_slice()
    answer = send(ask(Verb.APPLY, name=NAME, manifest=manifest, field_manager="me & you"))
    assert answer.status == 201
    (entry,) = stored(cluster)[NAME]["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("me & you", "Apply")
    other = {**manifest, "endpoints": []}
    request = ask(Verb.APPLY, name=NAME, manifest=other, field_manager="other")
    refused = send(request)
    assert (refused.status, refused.body["reason"]) == (409, "Conflict")
    assert stored(cluster)[NAME]["endpoints"] == manifest["endpoints"]
    assert send(attrs.evolve(request, force=True)).status == 200
    assert not stored(cluster)[NAME].get("endpoints")
    assert {(got.method, got.path) for got in tap.requests} == {("PATCH", f"{SLICES}/{NAME}")}


def test_a_slice_is_deleted_if_it_is_the_one(send: Send, cluster: Cluster, tap: Tap) -> None:
    metadata = load(cluster)[NAME]["metadata"]
    uid, version = metadata["uid"], metadata["resourceVersion"]
    for fields in (
        {"uid": "another"},
        {"resource_version": "1"},
        {"uid": uid, "resource_version": "1"},
    ):
        refused = send(ask(Verb.DELETE, name=NAME, **fields))
        assert (refused.status, refused.body["reason"]) == (409, "Conflict")
    assert NAME in stored(cluster)
    assert send(ask(Verb.DELETE, name=NAME, uid=uid, resource_version=version)).status == 200
    assert stored(cluster) == {}
    assert {(got.method, got.path) for got in tap.requests} == {("DELETE", f"{SLICES}/{NAME}")}


def test_a_slice_is_deleted_whichever_it_is(send: Send, cluster: Cluster) -> None:
    load(cluster)
    assert send(ask(Verb.DELETE, name=NAME)).status == 200
    assert stored(cluster) == {}


def test_a_slice_is_read(send: Send, cluster: Cluster) -> None:
    load(cluster)
    answer = send(ask(Verb.GET, name=NAME))
    assert (answer.status, answer.body) == (200, stored(cluster)[NAME])


def test_a_list_is_read_in_pages(send: Send, cluster: Cluster, tap: Tap) -> None:
    load(cluster, *(a_slice(f"web-{i}") for i in range(5)))
    found, token = [], ""
    while True:
        answer = send(ask(Verb.LIST, limit=2, continue_token=token))
        assert answer.status == 200
        found.append([item["metadata"]["name"] for item in answer.body["items"]])
        token = answer.body["metadata"].get("continue", "")
        if not token:
            break
    assert found == [["web-0", "web-1"], ["web-2", "web-3"], ["web-4"]]
    assert len(tap.requests) == 3


def test_a_list_is_selected(send: Send, cluster: Cluster, tap: Tap) -> None:
    load(
        cluster,
        a_slice("a", labels={"app.example/tier": "front"}),
        a_slice("b", labels={"app.example/tier": "back", "spot": "yes"}),
        a_slice("c", labels={"app.example/tier": "back"}),
    )
    selector = "app.example/tier in (back,front), app.example/tier!=front,!spot"
    answer = send(ask(Verb.LIST, label_selector=selector))
    assert [item["metadata"]["name"] for item in answer.body["items"]] == ["c"]
    assert tap.requests[0].query == {"labelSelector": selector}


@pytest.mark.parametrize("selector", ["x=1&limit=1", "x=1#y", "x=%26+ü", "a=b;c", "../../pods"])
def test_a_selector_never_becomes_anything_else(send: Send, tap: Tap, selector: str) -> None:
    tap.script.append(HttpResponse(status=200, body=OBJECT))
    send(ask(Verb.LIST, label_selector=selector, continue_token="a+/b==&c"))
    assert tap.requests[0].path == SLICES
    assert tap.requests[0].query == {"labelSelector": selector, "continue": "a+/b==&c"}


# --- what the server refuses ------------------------------------------------------------------


@pytest.mark.parametrize("verb", [Verb.UPDATE, Verb.DELETE, Verb.GET])
def test_a_slice_that_is_not_there_is_404(send: Send, cluster: Cluster, verb: Verb) -> None:
    manifest = a_slice(resourceVersion="1") if verb is Verb.UPDATE else None
    answer = send(ask(verb, name=NAME, manifest=manifest))
    assert (answer.status, answer.body["reason"]) == (404, "NotFound")
    assert answer.body["details"]["name"] == NAME


def test_both_conflicts_say_which_they_are(send: Send, cluster: Cluster, tap: Tap) -> None:
    load(cluster)
    again = send(create())
    assert (again.status, again.body["reason"]) == (409, "AlreadyExists")
    stale = send(ask(Verb.UPDATE, name=NAME, manifest=a_slice(resourceVersion="1")))
    assert (stale.status, stale.body["reason"]) == (409, "Conflict")
    assert len(tap.requests) == 2


def test_an_expired_list_is_410(send: Send, cluster: Cluster) -> None:
    load(cluster, *(a_slice(f"web-{i}") for i in range(3)))
    token = send(ask(Verb.LIST, limit=1)).body["metadata"]["continue"]
    load(cluster, a_slice("later"))
    cluster.expire_watches(lists=True)
    answer = send(ask(Verb.LIST, limit=1, continue_token=token))
    assert (answer.status, answer.body["reason"]) == (410, "Expired")


def test_what_is_invalid_comes_with_its_causes(send: Send, tap: Tap) -> None:
    answer = send(create({**a_slice(), "addressType": "Carrier pigeon"}))
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert [cause["field"] for cause in answer.body["details"]["causes"]] == ["addressType"]
    assert len(tap.requests) == 1


def test_who_has_no_right_is_told_so_once(send: Send, cluster: Cluster, tap: Tap) -> None:
    cluster.deny(Denial(verb="create"))
    answer = send(create())
    assert (answer.status, answer.body["reason"]) == (403, "Forbidden")
    assert len(tap.requests) == 1


def test_a_server_without_slices_is_404(tmp_path: Path) -> None:
    cluster = Cluster(namespaces=[NAMESPACE], without=["discovery.k8s.io/v1"])
    with ApiServer(cluster) as server:
        config = server.write_kubeconfig(tmp_path / "config")
        for name, open_client in CLIENTS.items():
            with open_client(config) as send:
                answer = send(ask(Verb.LIST))
            assert (name, answer.status) == (name, 404)


@pytest.mark.parametrize(
    ("kind", "status", "retry_after"),
    [
        (FaultKind.CONFLICT, 409, None),
        (FaultKind.TOO_MANY_REQUESTS, 429, 3.0),
        (FaultKind.INTERNAL_ERROR, 500, None),
        (FaultKind.UNAVAILABLE, 503, 3.0),
        (FaultKind.TIMEOUT, 504, None),
    ],
)
def test_a_failing_server_is_asked_once(
    send: Send,
    cluster: Cluster,
    tap: Tap,
    kind: FaultKind,
    status: int,
    retry_after: float | None,
) -> None:
    requests = each_verb(load(cluster)[NAME])
    for count, request in enumerate(requests.values(), start=1):
        cluster.inject(Fault(kind=kind, retry_after=3))
        answer = send(request)
        assert (answer.status, answer.retry_after) == (status, retry_after)
        assert answer.body["code"] == status
        assert len(tap.requests) == count


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("kind", [FaultKind.DROP_BEFORE, FaultKind.DROP_AFTER])
def test_a_lost_connection_is_told_and_not_repeated(
    send: Send, cluster: Cluster, tap: Tap, verb: Verb, kind: FaultKind
) -> None:
    before = load(cluster)
    send(ask(Verb.GET, name=NAME))  # so that there is a kept connection to lose
    cluster.inject(Fault(kind=kind, verb=WORDS.get(verb, verb.value)))
    answer = send(each_verb(before[NAME])[verb])
    assert (answer.status, answer.body, answer.retry_after) == (0, {}, None)
    assert answer.error.isidentifier()
    assert len(tap.requests) == 2
    is_done = verb in WRITES and kind is FaultKind.DROP_AFTER
    assert (stored(cluster) != before) is is_done
    assert send(ask(Verb.LIST)).status == 200


def test_nobody_listens(send: Send, server: ApiServer) -> None:
    server.close()
    answer = send(ask(Verb.GET, name=NAME))
    assert (answer.status, answer.body) == (0, {})
    assert answer.error.isidentifier()


# --- odd answers ------------------------------------------------------------------------------

HTML: Final = b"<html>Bad gateway</html>"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (502, HTML),
        (500, b""),
        (503, b"[1]"),
        (404, b"\xff\xfe"),
        (500, b"{" * 9),
        (500, b"[" * 10**5),
    ],
    ids=["html", "empty", "list", "no text", "cut", "deep"],
)
def test_a_body_that_is_no_object_is_left_out(
    send: Send, tap: Tap, status: int, body: bytes
) -> None:
    tap.script.append(HttpResponse(status=status, body=body))
    assert send(create()) == Answer(status=status)
    assert len(tap.requests) == 1


@pytest.mark.parametrize(
    "body", [HTML, b"", b"{" * 9, b'{"login": "/"}'], ids=["html", "empty", "cut", "other"]
)
def test_a_success_without_an_object_is_as_good_as_none(send: Send, tap: Tap, body: bytes) -> None:
    tap.script.append(HttpResponse(status=200, body=body))
    assert send(create()) == Answer(status=0, error="a 200 that is not the API server's")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(send: Send, cluster: Cluster, tap: Tap, status: int) -> None:
    for request in each_verb(load(cluster)[NAME]).values():
        tap.requests.clear()
        elsewhere = {"Location": "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"}
        tap.script.append(HttpResponse(status=status, headers=elsewhere))
        assert send(request) == Answer(status=status)
        assert len(tap.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("-1", None),
        ("1e9", None),
        ("nan", None),
        ("", None),
    ],
)
def test_seconds_to_wait_are_read(send: Send, tap: Tap, header: str, seconds: float | None) -> None:
    tap.script.append(HttpResponse(status=429, headers={"Retry-After": header}, body=b"{}"))
    assert send(create()) == Answer(status=429, retry_after=seconds)


# --- what is sent -----------------------------------------------------------------------------


@pytest.mark.parametrize("verb", WRITES)
def test_a_dry_run_leaves_everything_as_it_is(
    send: Send, cluster: Cluster, tap: Tap, verb: Verb
) -> None:
    before = load(cluster)
    request = each_verb(before[NAME])[verb]
    answer = send(attrs.evolve(request, dry_run=True))
    assert answer.status in (200, 201)
    assert stored(cluster) == before
    assert send(request).status == answer.status
    assert stored(cluster) != before
    assert len(tap.requests) == 2


def test_a_hundred_endpoints_arrive_byte_for_byte(send: Send, cluster: Cluster, tap: Tap) -> None:
    manifest = a_slice(
        endpoints=100,
        annotations={"note": 'ümlaut 日本 \U0001f600 a<b>&c \u2028 quote" back\\slash'},
    )
    answer = send(create(manifest))
    assert answer.status == 201
    assert tap.requests[0].body == json.dumps(manifest, separators=(",", ":")).encode()
    assert tap.requests[0].headers["content-type"] == "application/json"
    for field in ("endpoints", "ports"):
        assert json.dumps(answer.body[field]) == json.dumps(manifest[field])
    note = manifest["metadata"]["annotations"]
    assert answer.body["metadata"]["annotations"] == note
    assert stored(cluster)[NAME]["metadata"]["annotations"] == note


def test_a_manifest_is_not_changed(send: Send) -> None:
    manifest = a_slice()
    send(create(manifest, dry_run=True, field_manager="mine"))
    assert manifest == a_slice()


@pytest.mark.parametrize("open_client", CLIENTS.values(), ids=CLIENTS)
def test_a_server_below_a_path_keeps_its_path(
    server: ApiServer, tap: Tap, tmp_path: Path, open_client: Open
) -> None:
    config = server.kubeconfig()
    config["clusters"][0]["cluster"]["server"] += "/k8s/clusters/c-1"
    path = tmp_path / "below"
    path.write_text(json.dumps(config))
    with open_client(path) as send:
        tap.script.append(HttpResponse(status=200, body=OBJECT))
        assert send(ask(Verb.GET, name=NAME)).status == 200
    assert tap.requests[0].path == f"/k8s/clusters/c-1{SLICES}/{NAME}"


# --- secrets and TLS --------------------------------------------------------------------------


def test_no_token_is_ever_told(
    send: Send, cluster: Cluster, tap: Tap, server: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answers = [send(request) for request in each_verb(load(cluster)[NAME]).values()]
    for kind in (FaultKind.DROP_BEFORE, FaultKind.TOO_MANY_REQUESTS, FaultKind.INTERNAL_ERROR):
        cluster.inject(Fault(kind=kind))
        answers.append(send(ask(Verb.LIST)))
    tap.script.append(HttpResponse(status=401, body=b"{}"))
    answers.append(send(ask(Verb.LIST)))
    server.close()
    answers.append(send(ask(Verb.LIST)))
    assert answers[-1].status == 0
    assert all(got.headers["authorization"] == f"Bearer {TOKEN}" for got in tap.requests)
    assert TOKEN not in repr(answers)
    assert TOKEN not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("endpointslice")]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    certificate, private = folder / "tls.crt", folder / "tls.key"
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private


@pytest.mark.parametrize("name", CLIENTS)
def test_a_server_is_trusted_as_the_client_trusts_it(
    certificate: tuple[Path, Path], cluster: Cluster, tap: Tap, tmp_path: Path, name: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with ApiServer(cluster, ssl_context=context) as server:
        trusting = server.write_kubeconfig(
            tmp_path / "trusting", certificate_authority=str(certificate[0])
        )
        with CLIENTS[name](trusting) as send:
            assert send(create()).status == 201
        assert len(tap.requests) == 1
        doubting = server.write_kubeconfig(tmp_path / "doubting")
        if name.startswith("kr8s"):  # asks for the version before there is anything to adapt
            with pytest.raises(httpx.ConnectError), CLIENTS[name](doubting):
                pass
            return
        with CLIENTS[name](doubting) as send:
            answer = send(create(a_slice("new")))
        assert (answer.status, answer.body) == (0, {})
        assert answer.error in {"SSLError", "ConnectError", "ClientConnectorCertificateError"}
        assert len(tap.requests) == 1


# --- what is each client's own ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["kr8s", "kr8s-async"])
def test_kr8s_loads_its_credentials_anew_after_a_401(
    server: ApiServer, config: Path, tap: Tap, name: str
) -> None:
    with CLIENTS[name](config) as send:
        renewed = server.kubeconfig()
        renewed["users"][0]["user"]["token"] = "renewed"
        config.write_text(json.dumps(renewed))
        refused = HttpResponse(status=401, body=b"{}")
        welcome = HttpResponse(status=200, body=OBJECT)
        tap.script += [refused, welcome, welcome]
        assert send(ask(Verb.GET, name=NAME)).status == 200
        assert send(ask(Verb.GET, name=NAME)).status == 200
        tap.script += [refused, refused]
        assert send(ask(Verb.GET, name=NAME)).status == 401
    tokens = [got.headers["authorization"].removeprefix("Bearer ") for got in tap.requests]
    assert tokens == [TOKEN, "renewed", "renewed", "renewed", "renewed"]


@pytest.mark.parametrize("name", sorted(CLIENTS.keys() - {"kr8s", "kr8s-async"}))
def test_the_others_are_told_of_a_401_at_once(config: Path, tap: Tap, name: str) -> None:
    with CLIENTS[name](config) as send:
        tap.script.append(HttpResponse(status=401, body=b"{}"))
        assert send(ask(Verb.GET, name=NAME)) == Answer(status=401)
    assert len(tap.requests) == 1


@pytest.mark.parametrize("open_client", SYNC.values(), ids=SYNC)
def test_threads_share_a_client(
    config: Path, cluster: Cluster, tap: Tap, open_client: Open
) -> None:
    with open_client(config) as send, ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda i: send(create(a_slice(f"web-{i}"))), range(40)))
    assert [answer.status for answer in answers] == [201] * 40
    assert [answer.body["metadata"]["name"] for answer in answers] == [
        f"web-{i}" for i in range(40)
    ]
    assert len(tap.requests) == len(stored(cluster)) == 40


@pytest.mark.parametrize("opened", ASYNC.values(), ids=ASYNC)
def test_tasks_share_a_client(config: Path, cluster: Cluster, tap: Tap, opened: OpenAsync) -> None:
    async def main() -> list[Answer]:
        async with opened(config) as client:
            adapter = as_async_slice_client(client)
            requests = [create(a_slice(f"web-{i}")) for i in range(40)]
            return await asyncio.gather(*map(adapter.send, requests))

    answers = asyncio.run(main())
    assert [answer.body["metadata"]["name"] for answer in answers] == [
        f"web-{i}" for i in range(40)
    ]
    assert len(tap.requests) == len(stored(cluster)) == 40


@pytest.mark.parametrize("opened", ASYNC.values(), ids=ASYNC)
def test_a_cancelled_request_ends_as_a_cancelled_task(
    config: Path, cluster: Cluster, tap: Tap, opened: OpenAsync
) -> None:
    asked, answer_now = threading.Event(), threading.Event()

    def hang() -> None:
        asked.set()
        answer_now.wait()

    async def main() -> None:
        async with opened(config) as client:
            adapter = as_async_slice_client(client)
            tap.script.append(hang)
            task = asyncio.create_task(adapter.send(create()))
            await asyncio.to_thread(asked.wait)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            answer_now.set()
            assert (await adapter.send(ask(Verb.LIST))).status == 200

    asyncio.run(main())


def test_a_time_limit_of_the_client_is_no_answer(server: ApiServer, config: Path, tap: Tap) -> None:
    answer_now = threading.Event()
    limit = httpx2.Timeout(5, read=0.01)

    def hang() -> None:
        answer_now.wait()

    async def main() -> list[Answer]:
        async with (
            lightkube.AsyncClient(lightkube_config(config), timeout=limit) as light,
            kubernetes.aio.client.ApiClient(
                aio_config(server, timeout=aiohttp.ClientTimeout(sock_read=0.01))
            ) as aio,
            ASYNC["kr8s-async"](config) as kr8s_api,
        ):
            kr8s_api.timeout = httpx.Timeout(5, read=0.01)
            return [
                await as_async_slice_client(client).send(create())
                for client in (light, aio, kr8s_api)
            ]

    tap.script += [hang] * 4
    try:
        with lightkube.Client(lightkube_config(config), timeout=limit) as light:
            answers = [as_slice_client(light).send(create()), *asyncio.run(main())]
    finally:
        answer_now.set()
    assert answers == [
        Answer(status=0, error="ReadTimeout"),
        Answer(status=0, error="ReadTimeout"),
        Answer(status=0, error="SocketTimeoutError"),
        Answer(status=0, error="APITimeoutError"),
    ]
    assert len(tap.requests) == 4


def lightkube_config(config: Path) -> lightkube.KubeConfig:
    return lightkube.KubeConfig.from_file(config)


def aio_config(server: ApiServer, **session: Any) -> Any:
    settings = kubernetes.aio.client.Configuration(
        host=server.url, api_key={"BearerToken": f"Bearer {TOKEN}"}
    )
    settings.client_session_kwargs = session
    return settings


def test_repetitions_that_the_official_client_was_told_to_make_are_not_made(
    server: ApiServer, cluster: Cluster, tap: Tap
) -> None:
    settings = kubernetes.client.Configuration(
        host=server.url, api_key={"authorization": f"Bearer {TOKEN}"}, retries=5
    )
    settings.client_go_retries = True
    in_asyncio = aio_config(server)
    in_asyncio.retries = 5
    in_asyncio.client_go_retries = True
    requests = [*each_verb(load(cluster)[NAME]).values()]
    cluster.inject(Fault(kind=FaultKind.TOO_MANY_REQUESTS, times=None))

    async def main() -> list[Answer]:
        async with kubernetes.aio.client.ApiClient(in_asyncio) as client:
            return [await as_async_slice_client(client).send(request) for request in requests]

    with kubernetes.client.ApiClient(settings) as client:
        answers = [as_slice_client(client).send(request) for request in requests]
    answers += asyncio.run(main())
    assert {answer.status for answer in answers} == {429}
    assert len(tap.requests) == len(answers) == 12


def test_the_headers_of_the_official_client_are_sent(
    server: ApiServer, config: Path, tap: Tap
) -> None:
    async def main(settings: Any, module: Any) -> None:
        async with module.ApiClient(settings, "X-Tenant", "b", "session=2") as client:
            await as_async_slice_client(client).send(ask(Verb.LIST))

    settings = kubernetes.client.Configuration(host=server.url)
    with kubernetes.client.ApiClient(settings, "X-Tenant", "a", "session=1") as client:
        client.user_agent = "ours/1"
        as_slice_client(client).send(ask(Verb.LIST))
    asyncio.run(main(aio_config(server), kubernetes.aio.client))
    other = kubernetes_asyncio.client.Configuration(host=server.url)
    asyncio.run(main(other, kubernetes_asyncio.client))
    sent = [(got.headers["x-tenant"], got.headers["cookie"]) for got in tap.requests]
    assert sent == [("a", "session=1"), ("b", "session=2"), ("b", "session=2")]
    assert tap.requests[0].headers["user-agent"] == "ours/1"


def test_the_middlewares_of_the_session_stay(server: ApiServer, tap: Tap) -> None:
    async def sign(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        request.headers["X-Signed"] = "yes"
        return await handler(request)

    async def main() -> None:
        settings = aio_config(server, middlewares=[sign])
        async with kubernetes.aio.client.ApiClient(settings) as client:
            await as_async_slice_client(client).send(ask(Verb.LIST))

    asyncio.run(main())
    assert tap.requests[0].headers["x-signed"] == "yes"


@pytest.mark.parametrize("verb", WRITES)
def test_what_lightkube_was_told_of_each_write_holds(
    config: Path, cluster: Cluster, tap: Tap, verb: Verb
) -> None:
    before = load(cluster)
    request = attrs.evolve(each_verb(before[NAME])[verb], field_manager="", dry_run=True)
    with lightkube.Client(lightkube_config(config), field_manager="theirs", dry_run=True) as client:
        adapter = as_slice_client(client)
        assert adapter.send(request).status in (200, 201)
        adapter.send(attrs.evolve(request, field_manager="mine"))
        with pytest.raises(ModelError) as caught:
            adapter.send(attrs.evolve(request, dry_run=False))
    assert caught.value.field == "dry_run"
    assert stored(cluster) == before
    if verb is not Verb.DELETE:
        assert [got.query["fieldManager"] for got in tap.requests] == ["theirs", "mine"]
