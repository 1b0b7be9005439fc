"""The API server over HTTP: connections, streams, kubectl."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from endpointslice.testing import ApiServer, Cluster, Fault, FaultKind, HttpRequest
from endpointslice.testing.__main__ import main

SLICES: Final = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"


def a_slice(name: str = "web-1", **changes: Any) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": "web"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"]}],
        "ports": [{"name": "http", "port": 80}],
        **changes,
    }


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer(Cluster(namespaces=["shop"])) as running:
        yield running


@pytest.fixture
def connection(server: ApiServer) -> Iterator[http.client.HTTPConnection]:
    opened = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    yield opened
    opened.close()


def ask(
    connection: http.client.HTTPConnection, method: str, target: str, body: Any = None
) -> tuple[int, dict[str, Any]]:
    sent = None if body is None else json.dumps(body)
    connection.request(method, target, sent, {"Content-Type": "application/json"})
    with connection.getresponse() as answered:
        return answered.status, json.loads(answered.read())


def raw(server: ApiServer, sent: bytes) -> bytes:
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as opened:
        opened.sendall(sent)
        opened.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: opened.recv(65536), b""))


def test_one_connection_serves_many_requests(connection: http.client.HTTPConnection) -> None:
    assert ask(connection, "POST", SLICES, a_slice())[0] == 201
    used = connection.sock
    status, found = ask(connection, "GET", f"{SLICES}/web-1")
    assert (status, found["endpoints"][0]["addresses"]) == (200, ["10.0.0.1"])
    assert ask(connection, "GET", f"{SLICES}/other")[0] == 404
    assert connection.sock is used


def test_answers_are_those_of_the_cluster(
    server: ApiServer, connection: http.client.HTTPConnection
) -> None:
    ask(connection, "POST", SLICES, a_slice())
    for target in (SLICES, f"{SLICES}?limit=x&labelSelector=a%20in%20(b)", "/apis", "/version"):
        _, found = ask(connection, "GET", target)
        assert found == server.cluster.handle(HttpRequest.of("GET", target)).json()


def test_a_watch_streams_until_its_time_is_over(
    server: ApiServer, connection: http.client.HTTPConnection
) -> None:
    version = server.cluster.resource_version
    target = f"{SLICES}?watch=1&resourceVersion={version}&timeoutSeconds=1&allowWatchBookmarks=1"
    connection.request("GET", target)
    with connection.getresponse() as answered:
        server.cluster.handle(HttpRequest.of("POST", SLICES, a_slice()))
        first = json.loads(answered.readline())
        assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "web-1")
        last = json.loads(answered.readline())
        assert last["type"] == "BOOKMARK"
        assert last["object"]["metadata"]["resourceVersion"] == server.cluster.resource_version
        assert answered.readline() == b""
    assert ask(connection, "GET", "/version")[0] == 200


def test_a_dropped_connection_has_no_answer(
    server: ApiServer, connection: http.client.HTTPConnection
) -> None:
    server.cluster.inject(
        Fault(kind=FaultKind.DROP_BEFORE, verb="create"),
        Fault(kind=FaultKind.DROP_AFTER, verb="create"),
    )
    for has_effect in (False, True):
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            ask(connection, "POST", SLICES, a_slice())
        connection.close()
        assert bool(server.cluster.objects("endpointslices")) is has_effect


def test_a_watch_that_is_cut_ends_in_the_middle_of_a_line(
    server: ApiServer, connection: http.client.HTTPConnection
) -> None:
    server.cluster.inject(Fault(kind=FaultKind.CUT_WATCH))
    version = server.cluster.resource_version
    connection.request("GET", f"{SLICES}?watch=1&resourceVersion={version}")
    with connection.getresponse() as answered:
        server.cluster.handle(HttpRequest.of("POST", SLICES, a_slice()))
        with pytest.raises(http.client.IncompleteRead) as raised:
            answered.read()
    assert raised.value.partial.startswith(b'{"type":"ADDED"')
    assert not raised.value.partial.endswith(b"\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / SPDY/9\r\n\r\n", b"400"),
        (b"GET /version HTTP/1.1\r\nno header\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: -4\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /version HTTP/1.1\r\nConnection: close\r\n\r\n", b"200"),
        (b"GET /version HTTP/1.0\r\n\r\n", b"200"),
        (b"POST /version HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc", b""),
    ],
)
def test_what_is_sent_may_be_nonsense(server: ApiServer, sent: bytes, status: bytes) -> None:
    answered = raw(server, sent)
    assert answered[:12].endswith(status)
    assert bool(answered) is bool(status)


def test_a_body_may_come_in_chunks_and_wait_for_leave(server: ApiServer) -> None:
    body = json.dumps(a_slice()).encode()
    head = (
        f"POST {SLICES} HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    ).encode()
    half = len(body) // 2
    chunks = b"".join(
        f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in (body[:half], body[half:])
    )
    answered = raw(server, head + chunks + b"0\r\n\r\n")
    assert answered.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n")


def test_leaving_ends_streams_and_threads_and_the_port() -> None:
    before = threading.active_count()
    cluster = Cluster()
    with ApiServer(cluster) as server:
        opened = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
        opened.request("GET", "/api/v1/pods?watch=1&resourceVersion=1")
        answered = opened.getresponse()
        assert threading.active_count() == before + 2
    assert answered.read() == b""
    answered.close()
    opened.close()
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        raw(server, b"GET / HTTP/1.1\r\n\r\n")
    server.close()


def test_many_clients_write_at_once_and_nothing_is_lost(server: ApiServer) -> None:
    def write(worker: int) -> None:
        opened = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
        statuses.extend(
            ask(opened, "POST", SLICES, a_slice(f"w{worker}-{i}"))[0] for i in range(20)
        )
        opened.close()

    statuses: list[int] = []
    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [201] * 100
    found = server.cluster.objects("endpointslices")
    assert len({item["metadata"]["resourceVersion"] for item in found}) == 100


def test_a_kubeconfig_holds_the_token_and_is_for_its_owner(tmp_path: Path) -> None:
    with ApiServer(Cluster(token="s3cret-token")) as server:
        path = tmp_path / "config"
        path.touch(mode=0o644)
        assert server.write_kubeconfig(path, certificate_authority="/ca.pem") == path
        written = json.loads(path.read_text(encoding="utf-8"))
        assert written["users"][0]["user"] == {"token": "s3cret-token"}
        assert written["clusters"][0]["cluster"] == {
            "server": server.url,
            "certificate-authority": "/ca.pem",
        }
        assert path.stat().st_mode & 0o077 == 0
        assert "s3cret" not in repr(server)


# --- kubectl ----------------------------------------------------------------------------------

Kubectl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(server: ApiServer, tmp_path: Path) -> dict[str, str]:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on PATH")
    path = server.write_kubeconfig(tmp_path / "config")
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KUBECONFIG": str(path)}


@pytest.fixture
def kubectl(environment: dict[str, str]) -> Kubectl:
    def run(
        *arguments: str, manifest: object = None, status: int = 0
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["kubectl", "-n", "shop", *arguments],
            env=environment,
            input=json.dumps(manifest),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return run


def test_kubectl_reads(kubectl: Kubectl, server: ApiServer) -> None:
    kubectl("create", "-f", "-", manifest=a_slice())
    assert "Server Version: v1.36.2" in kubectl("version").stdout
    assert "web-1" in kubectl("get", "endpointslices").stdout
    assert kubectl("get", "endpointslice", "-A", "-l", "a!=b", "-o", "name").stdout == (
        "endpointslice.discovery.k8s.io/web-1\n"
    )
    whole = json.loads(kubectl("get", "endpointslice", "web-1", "-o", "json").stdout)
    (stored,) = server.cluster.objects("endpointslices")
    stored["metadata"].pop("managedFields")
    assert whole == stored
    assert "10.0.0.1" in kubectl("describe", "endpointslice", "web-1").stdout
    assert "default" in kubectl("get", "ns").stdout
    assert "NotFound" in kubectl("get", "endpointslice", "x", status=1).stderr


def test_kubectl_writes(kubectl: Kubectl, server: ApiServer) -> None:
    # With the defaults spelled out, or kubectl sees a difference each time.
    manifest = a_slice(
        endpoints=[{"addresses": ["10.0.0.1"], "conditions": {}}],
        ports=[{"name": "http", "port": 80, "protocol": "TCP"}],
    )

    def stored() -> dict[str, Any]:
        (found,) = server.cluster.objects("endpointslices")
        return found

    assert "created" in kubectl("create", "-f", "-", manifest=manifest).stdout
    assert "AlreadyExists" in kubectl("create", "-f", "-", manifest=manifest, status=1).stderr
    manifest["endpoints"].append({"addresses": ["10.0.0.2"], "conditions": {}})
    assert "configured" in kubectl("apply", "-f", "-", manifest=manifest).stdout
    assert len(stored()["endpoints"]) == 2
    assert "unchanged" in kubectl("apply", "-f", "-", manifest=manifest).stdout
    kubectl("label", "endpointslice", "web-1", "a=b")
    assert stored()["metadata"]["labels"]["a"] == "b"
    kubectl("annotate", "endpointslice", "web-1", "c=d")
    assert stored()["metadata"]["annotations"]["c"] == "d"
    manifest["endpoints"].pop()
    assert "replaced" in kubectl("replace", "-f", "-", manifest=manifest).stdout
    assert len(stored()["endpoints"]) == 1
    assert "a" not in stored()["metadata"]["labels"]
    kubectl(
        "patch", "endpointslice", "web-1", "--type=merge", '-p={"metadata":{"labels":{"e":"f"}}}'
    )
    assert stored()["metadata"]["labels"]["e"] == "f"
    assert "dry run" in kubectl("delete", "endpointslice", "web-1", "--dry-run=server").stdout
    assert stored()
    assert "deleted" in kubectl("delete", "endpointslice", "web-1").stdout
    assert not server.cluster.objects("endpointslices")


def test_kubectl_applies_on_the_server(kubectl: Kubectl, server: ApiServer) -> None:
    manifest = a_slice()
    done = kubectl("apply", "--server-side", "-f", "-", manifest=manifest)
    assert "serverside-applied" in done.stdout
    manifest["endpoints"] = [{"addresses": ["10.0.0.9"]}]
    other = ("apply", "--server-side", "--field-manager=other", "-f", "-")
    refused = kubectl(*other, manifest=manifest, status=1).stderr
    assert 'conflicts with "kubectl":' in refused or 'conflict with "kubectl"' in refused
    kubectl(*other, "--force-conflicts", manifest=manifest)
    (found,) = server.cluster.objects("endpointslices")
    assert found["endpoints"][0]["addresses"] == ["10.0.0.9"]
    done = kubectl("diff", "--server-side", "--field-manager=other", "-f", "-", manifest=manifest)
    assert not done.stdout


def test_kubectl_is_told_what_is_wrong(kubectl: Kubectl) -> None:
    bad = a_slice(endpoints=[{"addresses": ["10.0.0.300"]}])
    told = kubectl("create", "-f", "-", manifest=bad, status=1).stderr
    assert 'endpoints[0].addresses[0]: Invalid value: "10.0.0.300"' in told
    unknown = a_slice(bogus=1)
    told = kubectl("create", "-f", "-", manifest=unknown, status=1).stderr
    assert 'unknown field "bogus"' in told


def test_kubectl_watches(kubectl: Kubectl, environment: dict[str, str], server: ApiServer) -> None:
    command = ["kubectl", "-n", "shop", "get", "endpointslices", "-o", "name", "--watch-only"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        try:
            deadline = time.monotonic() + 30
            while not any(item.path == SLICES for item in server.cluster.requests):
                assert time.monotonic() < deadline, "kubectl does not watch"
                time.sleep(0.01)
            kubectl("create", "-f", "-", manifest=a_slice())
            assert watching.stdout.readline() == "endpointslice.discovery.k8s.io/web-1\n"
            kubectl("delete", "endpointslice", "web-1")
            assert watching.stdout.readline() == "endpointslice.discovery.k8s.io/web-1\n"
        finally:
            watching.kill()


# --- TLS --------------------------------------------------------------------------------------


def test_https_is_served_with_the_certificate_that_it_is_given(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not on PATH, to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(certificate))
    with ApiServer(ssl_context=context) as server:
        address = server.url.removeprefix("https://")
        opened = http.client.HTTPSConnection(address, timeout=10, context=trusting)
        assert ask(opened, "GET", "/version")[0] == 200
        opened.close()
        doubting = http.client.HTTPSConnection(
            address, timeout=10, context=ssl.create_default_context()
        )
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(doubting, "GET", "/version")
        doubting.close()


def test_it_serves_from_the_command_line_until_interrupted(tmp_path: Path) -> None:
    config = tmp_path / "config"
    files = sorted(map(str, Path("docs/examples/web-rolling").glob("*.json")))
    command = [sys.executable, "-m", "endpointslice.testing", "--kubeconfig", str(config), *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        process.stdout.readline()
        try:
            assert json.loads(config.read_text(encoding="utf-8"))["clusters"][0]["cluster"] == {
                "server": url
            }
            where = f"{url}/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"
            with urllib.request.urlopen(where, timeout=30) as answer:
                found = json.load(answer)
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert len(found["items"]) > 1
    assert {item["metadata"]["namespace"] for item in found["items"]} == {"shop"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "Expecting property name"),
        ("[7]", "must be an object, got 7"),
        ('{"apiVersion": "example.com/v1", "kind": "Thing"}', 'no matches for kind "Thing"'),
    ],
)
def test_the_command_line_says_what_it_cannot_serve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    file = tmp_path / "objects.json"
    file.write_text(text, encoding="utf-8")
    assert main(["--kubeconfig", str(tmp_path / "config"), str(file)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert told in shown.err
    assert not (tmp_path / "config").exists()
    assert main(["--kubeconfig", str(tmp_path / "config"), str(tmp_path / "none")]) == 2
