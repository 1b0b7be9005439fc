"""The API server over HTTP, on loopback."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self, final

from endpointslice.testing.cluster import Cluster
from endpointslice.testing.faults import ConnectionDroppedError
from endpointslice.testing.messages import HttpRequest, HttpResponse
from endpointslice.testing.watching import Watch

__all__ = ["ApiServer"]

#: In bytes: a line of a request's head, and more of a body than the server takes at all.
_MAX_LINE: Final = 64 * 1024
_MAX_HEADERS: Final = 200
_MAX_BODY: Final = 8 * 1024 * 1024
#: Seconds: how long a watch waits at once, and how long it lasts if nobody says.
_POLL: Final = 30.0
_WATCH: Final = 1_800.0
#: Seconds that a client has to take what is sent last.
_PATIENCE: Final = 1.0


class _BadRequestError(Exception):
    """What was sent is no HTTP."""


@final
class ApiServer:
    """A Kubernetes API server on a free port of loopback, with a thread for each connection.

    Use it in a `with` statement: it serves within, and ends all connections when it is left.
    """

    def __init__(
        self,
        cluster: Cluster | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Serve nothing yet.

        Args:
            cluster: What to serve; by default an empty one.
            ssl_context: Serve HTTPS with its certificate; plain HTTP by default.
        """
        self._cluster: Final = cluster if cluster is not None else Cluster()
        self._ssl_context: Final = ssl_context
        self._listener: socket.socket | None = None
        self._port = 0
        self._lock: Final = threading.Lock()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._acceptor: threading.Thread | None = None
        self._is_closing = False

    @property
    def cluster(self) -> Cluster:
        """What is served."""
        return self._cluster

    @property
    def url(self) -> str:
        """Where, without a slash at the end."""
        scheme = "https" if self._ssl_context is not None else "http"
        return f"{scheme}://127.0.0.1:{self._port}"

    def kubeconfig(self, *, certificate_authority: str = "") -> dict[str, Any]:
        """What clients and kubectl read to find the server.

        Args:
            certificate_authority: The path of the certificate to trust, for HTTPS.
        """
        where, token = {"server": self.url}, self._cluster.token
        if certificate_authority:
            where["certificate-authority"] = certificate_authority
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": where}],
            "users": [{"name": "test", "user": {"token": token} if token else {}}],
            "contexts": [
                {
                    "name": "test",
                    "context": {"cluster": "test", "user": "test", "namespace": "default"},
                }
            ],
            "current-context": "test",
        }

    def write_kubeconfig(self, path: Path, *, certificate_authority: str = "") -> Path:
        """Write `kubeconfig` to a file, as JSON, which is YAML too; only its owner may read it.

        Returns:
            The path.
        """
        config = self.kubeconfig(certificate_authority=certificate_authority)
        path.touch(mode=0o600)
        path.chmod(0o600)  # it may have been there already
        path.write_text(json.dumps(config, indent=2), encoding="utf-8")
        return path

    def __enter__(self) -> Self:
        self._is_closing = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._port = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name="apiserver", daemon=True)
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all connections and threads; a second time it does nothing."""
        listener, acceptor = self._listener, self._acceptor
        if listener is None or acceptor is None:
            return
        self._listener = None
        with self._lock:
            self._is_closing = True
            threads = list(self._connections)
            connections = list(self._connections.values())
        # On Linux alone does this wake who accepts; a connection does everywhere.
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
        acceptor.join()
        listener.close()
        self._cluster.end_watches()
        for connection in connections:
            _shut(connection, socket.SHUT_RD)
        for thread, connection in zip(threads, connections, strict=True):
            # Who is in the middle of an answer may end it, if the client reads it.
            thread.join(_PATIENCE)
            _shut(connection, socket.SHUT_RDWR)
            thread.join()

    # --- connections --------------------------------------------------------------------------

    def _accept(self) -> None:
        listener = self._listener
        while listener is not None:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                if self._is_closing:
                    connection.close()
                    return
                thread = threading.Thread(
                    target=self._serve, args=(connection,), name="apiserver", daemon=True
                )
                self._connections[thread] = connection
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._ssl_context is not None:
                connection = self._ssl_context.wrap_socket(connection, server_side=True)
                with self._lock:
                    self._connections[threading.current_thread()] = connection
            with connection, connection.makefile("rb") as reader:
                while not self._is_closing and self._exchange(connection, reader):
                    pass
        except OSError:
            # The client went away, or is to believe that the server did: ConnectionDroppedError.
            pass
        finally:
            connection.close()
            with self._lock:
                self._connections.pop(threading.current_thread(), None)

    def _exchange(self, connection: socket.socket, reader: BinaryIO) -> bool:
        """Serve one request; whether another may follow."""
        try:
            request = _read_request(connection, reader)
        except _BadRequestError as error:
            _refuse(connection, reader, str(error))
            return False
        if request is None:
            return False
        opened = self._cluster.open(request)
        is_last = request.headers.get("connection", "").lower() == "close"
        if isinstance(opened, Watch):
            try:
                return self._stream(connection, opened) and not is_last
            finally:
                self._cluster.close(opened)
        _respond(connection, opened, is_last=is_last)
        return not is_last

    def _stream(self, connection: socket.socket, watch: Watch) -> bool:
        """Send a watch until it ends; whether the connection can be used again."""
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        seconds = watch.options.seconds
        deadline = time.monotonic() + (_WATCH if seconds is None else seconds)
        try:
            while not self._is_closing and not watch.is_over:
                left = deadline - time.monotonic()
                if left <= 0:
                    if watch.options.has_bookmarks:
                        connection.sendall(_chunk(watch.bookmark()))
                    break
                lines = watch.read(timeout=min(left, _POLL))
                if lines:
                    connection.sendall(_chunk(b"".join(lines)))
        except ConnectionDroppedError:
            connection.sendall(_chunk(watch.half_line))
            return False
        connection.sendall(b"0\r\n\r\n")
        return True


def _shut(connection: socket.socket, how: int) -> None:
    # The plain method: that of a TLS socket would let its thread write on without TLS.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, how)


def _refuse(connection: socket.socket, reader: BinaryIO, words: str) -> None:
    """Answer what is no HTTP, and read what else was sent, lest it be answered with a reset."""
    response = HttpResponse(status=400, body=words.encode())
    _respond(connection, response, is_last=True)
    _shut(connection, socket.SHUT_WR)
    connection.settimeout(_PATIENCE)
    reader.read(_MAX_BODY)


# --- HTTP/1.1 ---------------------------------------------------------------------------------


def _read_line(reader: BinaryIO) -> bytes:
    line = reader.readline(_MAX_LINE)
    if len(line) == _MAX_LINE:
        raise _BadRequestError("a line is too long")
    return line


def _read_request(connection: socket.socket, reader: BinaryIO) -> HttpRequest | None:
    """The next request; None if there is none any more."""
    line = _read_line(reader)
    if not line:
        return None
    parts = line.decode("latin-1").split()
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise _BadRequestError("not an HTTP/1.1 request")
    method, target, version = parts
    headers: dict[str, str] = {}
    while (line := _read_line(reader)) not in (b"\r\n", b"\n", b""):
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or len(headers) > _MAX_HEADERS:
            raise _BadRequestError("not a header")
        headers[name.strip().lower()] = value.strip()
    if version == "HTTP/1.0":
        headers["connection"] = "close"
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    return HttpRequest.of(method, target, _read_body(reader, headers), headers=headers)


def _read_body(reader: BinaryIO, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return _read_exactly(reader, _size(headers.get("content-length", "0"), 10))
    body = b""
    while size := _size(_read_line(reader).decode("latin-1").partition(";")[0].strip(), 16):
        body += _read_exactly(reader, size)
        _read_line(reader)
        if len(body) > _MAX_BODY:
            raise _BadRequestError("the body is too large")
    while _read_line(reader) not in (b"\r\n", b"\n", b""):
        pass
    return body


def _size(text: str, base: int) -> int:
    try:
        size = int(text, base)
    except ValueError:
        size = -1
    if not 0 <= size <= _MAX_BODY:
        raise _BadRequestError("the body has no good length")
    return size


def _read_exactly(reader: BinaryIO, size: int) -> bytes:
    body = reader.read(size) if size else b""
    if len(body) < size:
        raise ConnectionDroppedError("the client went away")
    return body


def _respond(connection: socket.socket, response: HttpResponse, *, is_last: bool) -> None:
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    lines.append(f"Content-Length: {len(response.body)}")
    if is_last:
        lines.append("Connection: close")
    head = "\r\n".join(lines) + "\r\n\r\n"
    connection.sendall(head.encode("utf-8") + response.body)


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"
