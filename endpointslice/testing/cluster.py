"""The API server without I/O: a request in, a response out, and what it is told to do wrong."""

from __future__ import annotations

import hmac
import json
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, final
from urllib.parse import unquote

import attrs

from endpointslice.testing.calls import Call, not_found
from endpointslice.testing.controllers import collect
from endpointslice.testing.faults import (
    AFTER,
    Fault,
    FaultKind,
    Faults,
    Injected,
    fault_response,
    is_verb,
)
from endpointslice.testing.listing import list_objects, parse_version
from endpointslice.testing.messages import (
    HttpRequest,
    HttpResponse,
    StatusError,
    answer,
    bad_request,
    dump,
    invalid_options,
    is_true,
    number_in,
    refusal,
)
from endpointslice.testing.resources import (
    BUILT_IN,
    DEFINITIONS,
    Resource,
    discovery_of,
    resources_of,
)
from endpointslice.testing.selectors import Selector, selector_of
from endpointslice.testing.store import Change, Store
from endpointslice.testing.watching import (
    Watch,
    WatchOptions,
    bookmark,
    initial_events,
    too_old,
)
from endpointslice.testing.writes import Writer

__all__ = ["Cluster", "Denial", "Served"]

_SYSTEM_NAMESPACES: Final = ("default", "kube-node-lease", "kube-public", "kube-system")
_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
_HEALTH: Final = frozenset(["/healthz", "/livez", "/readyz"])
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch"}


@final
@attrs.frozen(kw_only=True)
class Served:
    """One request that was answered.

    Attributes:
        method: The HTTP method.
        path: Without the query.
        status: The HTTP status; 0 if the connection was dropped.
    """

    method: str
    path: str
    status: int


@final
@attrs.frozen(kw_only=True)
class Denial:
    """What the user may not do: 403.

    Attributes:
        verb: Kubernetes' word, as of `Fault`; "" for all.
        resource: The plural; "" for all.
        namespace: Where; "" for everywhere.

    Raises:
        ModelError: There is no such verb.
    """

    verb: str = attrs.field(default="", validator=is_verb)
    resource: str = ""
    namespace: str = ""


@final
class Cluster:
    """A Kubernetes API server without I/O: its objects, its rules and its faults.

    It is thread-safe, and deterministic: one history of requests with one seed gives the same
    names, uids, times, answers and faults.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        clock: Callable[[], float] | None = None,
        namespaces: Iterable[str] = (),
        without: Iterable[str] = (),
        token: str = "",
        user: str = "tester",
        version: str = "v1.36.2",
        history: int = 1_000,
    ) -> None:
        """Make an empty cluster.

        Args:
            seed: Of random names, uids and faults that are left to chance.
            clock: Seconds since 1970, for timestamps. By default they are seconds since
                2026-01-01, one for each write, so that two runs give the same objects.
            namespaces: Those to create besides the four that each cluster has.
            without: Which versions of API groups are not served: `discovery.k8s.io/v1`.
            token: The bearer token to ask for; "" for none.
            user: Who asks, for messages.
            version: Of Kubernetes, as `/version` tells it; the rules are those of 1.36.
            history: How many writes can at least be watched and listed from; older ones expire.
        """
        chance = random.Random(seed)  # noqa: S311 - reproducible, and nothing here is a secret
        self._changed: Final = threading.Condition(threading.RLock())
        self._store: Final = Store(history)
        self._clock: Final = clock or (lambda: _EPOCH + self._store.revision)
        self._faults: Final = Faults(chance)
        self._writer: Final = Writer(self._store, chance, self._now)
        self._without: Final = frozenset(without)
        self._token: Final = token.encode()
        self._user: Final = user
        self._version: Final = version
        self._denials: list[Denial] = []
        self._watches: list[Watch] = []
        self._requests: deque[Served] = deque(maxlen=100_000)
        self._seen = self._store.revision
        self._held: int | None = None
        self._delays: list[tuple[int, int]] = []
        self._custom: dict[str, list[Resource]] = {}
        names = sorted({*_SYSTEM_NAMESPACES, *namespaces})
        self.load(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names
        )

    # --- requests -----------------------------------------------------------------------------

    def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer a request; a watch is answered with what it can see now, and ends.

        Raises:
            ConnectionDroppedError: A fault lost the connection.
        """
        opened = self.open(request)
        if isinstance(opened, HttpResponse):
            return opened
        try:
            lines = opened.read()
        finally:
            self.close(opened)
        return answer(200, b"".join(lines))

    def open(self, request: HttpRequest) -> HttpResponse | Watch:
        """Answer a request; a watch is answered with itself, for the caller to read and close.

        Raises:
            ConnectionDroppedError: A fault lost the connection.
        """
        with self._changed:
            status = 0
            try:
                opened = self._open(request)
                status = opened.status if isinstance(opened, HttpResponse) else 200
            except StatusError as error:
                status = error.code
                opened = refusal(error)
            except RecursionError:
                status = 400
                opened = refusal(bad_request("the object is nested too deeply"))
            finally:
                self._requests.append(
                    Served(method=request.method, path=request.path, status=status)
                )
                self._after_writes()
            return opened

    def watch(self, target: str) -> Watch:
        """Watch, in this process: a client that sees what it reads, when it reads it.

        Args:
            target: Path and query:
                `/apis/discovery.k8s.io/v1/endpointslices?resourceVersion=7`.

        Raises:
            StatusError: It is refused.
            ConnectionDroppedError: A fault lost the connection.
        """
        request = HttpRequest.of("GET", target)
        opened = self.open(attrs.evolve(request, query={**request.query, "watch": "true"}))
        if isinstance(opened, HttpResponse):
            is_status = opened.headers["Content-Type"] == "application/json"
            status = opened.json() if is_status else {"message": opened.body.decode().strip()}
            raise StatusError(opened.status, status.get("reason", ""), status.get("message", ""))
        return opened

    def close(self, watch: Watch) -> None:
        """End a watch."""
        watch.end()
        with self._changed:
            if watch in self._watches:
                self._watches.remove(watch)

    def end_watches(self) -> None:
        """End all watches, as a server that goes down does."""
        with self._changed:
            for watch in self._watches:
                watch.end()
            self._watches.clear()

    @property
    def requests(self) -> tuple[Served, ...]:
        """What was answered, in order; the last 100,000."""
        with self._changed:
            return tuple(self._requests)

    @property
    def token(self) -> str:
        """The bearer token that is asked for; "" if there is none."""
        return self._token.decode()

    @property
    def resource_version(self) -> str:
        """The last write's."""
        with self._changed:
            return str(self._store.revision)

    def objects(self, plural: str, namespace: str = "") -> tuple[dict[str, Any], ...]:
        """What is stored, whatever a cache has seen of it.

        Args:
            plural: Of which resource, with the group if it is not plain: `events.events.k8s.io`.
            namespace: Where; "" for everywhere.

        Raises:
            StatusError: The resource is not served.
        """
        with self._changed:
            for resource in self._served():
                if plural in (resource.plural, resource.qualified):
                    return tuple(
                        json.loads(item.body)
                        for item in self._store.objects(resource)
                        if namespace in ("", item.namespace)
                    )
        raise StatusError(404, "NotFound", f'no matches for the resource "{plural}"')

    def load(self, manifests: Iterable[Mapping[str, Any]]) -> None:
        """Put objects there as they are, with their status, as if they had always been there.

        Raises:
            StatusError: A kind is not served, or an object is refused.
        """
        with self._changed:
            for manifest in manifests:
                self._make(manifest)

    # --- what it is told ----------------------------------------------------------------------

    def inject(self, *faults: Fault) -> None:
        """Tell the server to fail; of several faults that match, the one told first happens."""
        with self._changed:
            for fault in faults:
                self._faults.add(fault)

    def clear_faults(self) -> None:
        """Let nothing fail any more; delayed events are seen."""
        with self._changed:
            self._faults.clear()
            self._delays.clear()
            self._changed.notify_all()

    @property
    def injected(self) -> tuple[Injected, ...]:
        """The faults that happened, in order."""
        with self._changed:
            return tuple(self._faults.injected)

    def deny(self, *denials: Denial) -> None:
        """Take rights away from the user; without arguments they come back."""
        with self._changed:
            self._denials = [*self._denials, *denials] if denials else []

    def hold_watches(self) -> None:
        """Let no watch see what is written from now on: a cache that goes stale."""
        with self._changed:
            self._held = self._store.revision

    def release_watches(self) -> None:
        """Let watches see all that was written."""
        with self._changed:
            self._held = None
            self._delays.clear()
            self._changed.notify_all()

    def expire_watches(self, *, lists: bool = False) -> None:
        """Forget what was written, as a restart does: who watches from before now is told 410.

        Args:
            lists: Forget it for lists too, as compaction does.
        """
        with self._changed:
            self._store.forget(self._store.revision, lists=lists)
            self.release_watches()
            self.end_watches()

    def collect_garbage(self) -> None:
        """Do once what Kubernetes' garbage collector and namespace controller do all the time.

        Objects whose owners are all gone are deleted, foreground deletions are finished, and
        namespaces that are being deleted are emptied, and go when nothing is left.
        """
        with self._changed:
            collect(self._store, self._served(), self._writer, self._now())
            self._after_writes()

    # --- inside -------------------------------------------------------------------------------

    def _now(self) -> str:
        now = datetime.fromtimestamp(int(self._clock()), UTC)
        return now.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _served(self) -> list[Resource]:
        custom = [item for name in sorted(self._custom) for item in self._custom[name]]
        return [item for item in (*BUILT_IN, *custom) if item.api_version not in self._without]

    def _make(self, manifest: Mapping[str, Any]) -> None:
        version, kind = manifest.get("apiVersion"), manifest.get("kind")
        for resource in self._served():
            if (resource.api_version, resource.kind) == (version, kind):
                self._writer.load(resource, manifest)
                self._after_writes()
                return
        raise StatusError(404, "NotFound", f'no matches for kind "{kind}" in version "{version}"')

    def _open(self, request: HttpRequest) -> HttpResponse | Watch:
        if self._token and not self._is_known(request.headers.get("authorization", "")):
            raise StatusError(401, "Unauthorized", "Unauthorized")
        call = self._route(request)
        if call is None:
            return self._answer_other(request)
        self._check_rights(call)
        fault = self._faults.on_request(call.verb, call.resource.plural, call.namespace, call.name)
        if fault is not None and fault.kind is FaultKind.EXPIRE_WATCH:
            return self._watch(call, is_expired=True)
        if fault is not None and fault.kind not in AFTER:
            return fault_response(fault, call.resource, call.name)
        answered = self._carry_out(call)
        if fault is not None:
            if isinstance(answered, Watch):
                self.close(answered)
            return fault_response(fault, call.resource, call.name)
        return answered

    def _answer_other(self, request: HttpRequest) -> HttpResponse:
        """Answer what is about no objects."""
        if request.method == "GET" and request.path in _HEALTH:
            return _text(200, "ok")
        if request.method == "GET":
            document = discovery_of(self._served(), request.path, self._version)
            if document is not None:
                return answer(200, document)
        return _text(404, "404 page not found\n")

    def _is_known(self, authorization: str) -> bool:
        kind, _, token = authorization.partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self._token)

    def _route(self, request: HttpRequest) -> Call | None:
        parts = [unquote(part) for part in request.path.split("/")[1:]]
        match parts:
            case ["api", version, *rest]:
                group = ""
            case ["apis", group, version, *rest]:
                pass
            case _:
                return None
        namespace = ""
        match rest:
            case ["namespaces", namespace, plural, *rest] if plural not in {"status", "finalize"}:
                pass
            case [plural, *rest]:
                pass
            case _:
                return None
        name = rest[0] if rest else ""
        subresource = rest[1] if len(rest) > 1 else ""
        for resource in self._served():
            if (resource.group, resource.version, resource.plural) == (group, version, plural):
                break
        else:
            return None
        if len(rest) > 2 or (subresource and not (subresource == "status" and resource.has_status)):
            return None
        if bool(namespace) is not resource.is_namespaced and (namespace or name):
            return None
        return Call(
            verb=_verb(request, name),
            resource=resource,
            namespace=namespace,
            name=name,
            subresource=subresource,
            query=request.query,
            headers=request.headers,
            body=request.body,
        )

    def _check_rights(self, call: Call) -> None:
        resource = call.resource
        for denial in self._denials:
            if (
                denial.verb not in ("", call.verb)
                or denial.resource not in ("", resource.plural)
                or denial.namespace not in ("", call.namespace)
            ):
                continue
            named = f' "{call.name}"' if call.name else ""
            part = f"/{call.subresource}" if call.subresource else ""
            where = (
                f'in the namespace "{call.namespace}"' if call.namespace else "at the cluster scope"
            )
            raise StatusError(
                403,
                "Forbidden",
                f'{resource.qualified}{named} is forbidden: User "{self._user}" cannot {call.verb} '
                f'resource "{resource.plural}{part}" in API group "{resource.group}" {where}',
                resource.details(call.name),
            )

    def _carry_out(self, call: Call) -> HttpResponse | Watch:
        match call.verb:
            case "get":
                found = self._store.get(call.resource, call.key)
                if found is None:
                    raise not_found(call.resource, call.name)
                return answer(200, found.body_for(call.resource))
            case "list":
                return answer(
                    200,
                    list_objects(
                        self._store,
                        call.resource,
                        call.namespace,
                        _selector(call),
                        call.query,
                        self._visible(),
                    ),
                )
            case "watch":
                return self._watch(call)
            case "":
                message = "the server does not allow this method on the requested resource"
                raise StatusError(405, "MethodNotAllowed", message, {})
            case _:
                return self._writer.write(call, _selector(call))

    def _after_writes(self) -> None:
        """Notice what was written: delays, new kinds, and who waits for events."""
        if self._seen == self._store.revision:
            return
        for change in self._store.changes(self._seen, self._store.revision):
            if change.resource == (DEFINITIONS.group, DEFINITIONS.plural):
                if change.is_delete:
                    self._custom.pop(change.new.name, None)
                else:
                    self._custom[change.new.name] = resources_of(change.new.manifest)
            fault = self._faults.on_event(
                FaultKind.DELAY_EVENTS, change.resource[1], change.new.namespace, change.new.name
            )
            if fault is not None:
                self._delays.append((change.version, change.version + fault.writes))
        self._seen = self._store.revision
        self._changed.notify_all()

    # --- watches ------------------------------------------------------------------------------

    def _visible(self) -> int:
        """Up to which version watches see; all of them see the same."""
        revision = self._store.revision
        self._delays = [(at, until) for at, until in self._delays if until > revision]
        hidden = [at for at, _ in self._delays]
        if self._held is not None:
            hidden.append(self._held + 1)
        return min(hidden, default=revision + 1) - 1

    def _is_cut(self, change: Change) -> bool:
        fault = self._faults.on_event(
            FaultKind.CUT_WATCH, change.resource[1], change.new.namespace, change.new.name
        )
        return fault is not None

    def _watch(self, call: Call, *, is_expired: bool = False) -> Watch:
        text = call.query.get("resourceVersion", "")
        try:
            since = parse_version(text)
        except ValueError as error:
            message = f"resourceVersion: Invalid value: {dump(text).decode()}: {error}"
            raise StatusError(500, "", message) from None
        resource, visible, store = call.resource, self._visible(), self._store
        first: list[bytes] = []
        selects = _selector(call)
        sends_initial = is_true(call.query.get("sendInitialEvents"))
        if sends_initial and call.query.get("resourceVersionMatch") != "NotOlderThan":
            raise invalid_options(
                "ListOptions",
                "resourceVersionMatch",
                "FieldValueForbidden",
                "Forbidden: sendInitialEvents requires setting resourceVersionMatch to "
                "NotOlderThan",
            )
        has_bookmarks = is_true(call.query.get("allowWatchBookmarks"))
        # A fault forgets all that was written.
        floor = store.revision + 1 if is_expired else store.watch_floor
        if (sends_initial or not since) and not is_expired:
            found = [
                item
                for item in store.objects(resource, visible)
                if call.namespace in ("", item.namespace) and selects(item.manifest)
            ]
            first = initial_events(resource, found)
            since = visible
            if sends_initial and has_bookmarks:
                first.append(bookmark(resource, since, is_initial_end=True))
        watch = Watch(
            WatchOptions(
                resource=resource,
                namespace=call.namespace,
                selects=selects,
                since=since,
                seconds=number_in(call.query.get("timeoutSeconds")),
                has_bookmarks=has_bookmarks,
            ),
            first,
            store=store,
            changed=self._changed,
            visible=self._visible,
            is_cut=self._is_cut,
        )
        if since < floor:
            watch.fail(too_old(since, floor))
        else:
            self._watches.append(watch)
        return watch


def _selector(call: Call) -> Selector:
    fields = call.query.get("fieldSelector", "")
    if call.verb == "watch" and call.name:
        fields = f"metadata.name={call.name}"
    return selector_of(call.resource, call.query.get("labelSelector", ""), fields)


def _verb(request: HttpRequest, name: str) -> str:
    """Kubernetes' word for what is asked; "" for what cannot be asked."""
    match request.method:
        case "GET":
            if is_true(request.query.get("watch")):
                return "watch"
            return "get" if name else "list"
        case "DELETE":
            return "delete" if name else "deletecollection"
        case "POST" if name:
            return ""
        case "PUT" | "PATCH" if not name:
            return ""
        case method:
            return _VERBS.get(method, "")


def _text(status: int, words: str) -> HttpResponse:
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    return HttpResponse(status=status, headers=headers, body=words.encode())
