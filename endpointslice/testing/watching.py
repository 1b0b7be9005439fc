"""A watch: what was written since, as one client sees it."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, final

import attrs

from endpointslice.testing.faults import ConnectionDroppedError
from endpointslice.testing.messages import StatusError, dump
from endpointslice.testing.resources import Resource
from endpointslice.testing.selectors import Selector
from endpointslice.testing.store import Change, Store, Stored

__all__ = ["Watch", "WatchEvent"]


@final
@attrs.frozen(kw_only=True)
class WatchEvent:
    """What a watch says.

    Attributes:
        type: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR.
        object: The object; for ERROR a Status.
    """

    type: str
    object: dict[str, Any]


@final
@attrs.frozen(kw_only=True)
class WatchOptions:
    """What is watched, and from where on."""

    resource: Resource
    namespace: str
    selects: Selector
    since: int
    seconds: float | None
    has_bookmarks: bool


@final
class Watch:
    """One client's watch, which reads when it wants to: a client may lag as far as it likes.

    It is thread-safe. A watch that is told that what it asks for is too old, or that was cut off,
    is over.
    """

    def __init__(
        self,
        options: WatchOptions,
        first: Iterable[bytes],
        *,
        store: Store,
        changed: threading.Condition,
        visible: Callable[[], int],
        is_cut: Callable[[Change], bool],
    ) -> None:
        """Made by `Cluster.watch`."""
        self._options: Final = options
        self._store: Final = store
        self._changed: Final = changed
        self._visible: Final = visible
        self._is_cut: Final = is_cut
        self._next = deque(first)
        self._since = options.since
        self._is_over = False
        self._half = b""

    @property
    def options(self) -> WatchOptions:
        """What is watched."""
        return self._options

    @property
    def is_over(self) -> bool:
        """Whether nothing will come any more."""
        with self._changed:
            return self._is_over and not self._next

    def events(self, limit: int | None = None) -> tuple[WatchEvent, ...]:
        """What is there to see now, in order, and at most so many events.

        Raises:
            ConnectionDroppedError: The watch was cut off.
        """
        return tuple(
            WatchEvent(type=event["type"], object=event["object"])
            for event in map(json.loads, self.read(limit))
        )

    def read(self, limit: int | None = None, *, timeout: float = 0.0) -> list[bytes]:
        """As `events`, as lines of JSON; waits so many seconds for the first.

        Raises:
            ConnectionDroppedError: The watch was cut off.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                self._look()
                if self._next or self._is_over:
                    break
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            if self._half and not self._next:
                raise ConnectionDroppedError("the watch was cut off")
            count = len(self._next) if limit is None else min(limit, len(self._next))
            return [self._next.popleft() for _ in range(count)]

    @property
    def half_line(self) -> bytes:
        """What of an event was sent before the watch was cut off."""
        return self._half

    def end(self) -> None:
        """Let nothing come any more."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def fail(self, event: bytes) -> None:
        """Say one thing more, and end."""
        with self._changed:
            self._next.append(event)
            self.end()

    def bookmark(self) -> bytes:
        """Up to which resource version everything has been seen."""
        with self._changed:
            return bookmark(self._options.resource, self._since)

    def _look(self) -> None:
        if self._is_over:
            return
        options = self._options
        if self._since < self._store.first:
            # It lags so far behind that what it has not seen is forgotten.
            self._next.append(too_old(self._since, self._store.first))
            self._is_over = True
            return
        until = self._visible()
        at = (options.resource.group, options.resource.plural)
        for change in self._store.changes(self._since, until):
            self._since = change.version
            if change.resource != at:
                continue
            if options.namespace and change.new.namespace != options.namespace:
                continue
            line = self._line(change)
            if line is None:
                continue
            if self._is_cut(change):
                self._half = line[: len(line) // 2]
                self._is_over = True
                return
            self._next.append(line)
        self._since = max(self._since, until)

    def _line(self, change: Change) -> bytes | None:
        """The change as this watch sees it, whose selector an object may enter and leave."""
        selects, resource = self._options.selects, self._options.resource
        was = change.old is not None and selects(change.old.manifest)
        if change.is_delete:
            return event("DELETED", change.new.body_for(resource)) if was else None
        if selects(change.new.manifest):
            return event("MODIFIED" if was else "ADDED", change.new.body_for(resource))
        if not was or change.old is None:
            return None
        meta = {**change.old.manifest["metadata"], "resourceVersion": str(change.version)}
        return event("DELETED", dump({**change.old.manifest, "metadata": meta}))


def event(kind: str, body: bytes) -> bytes:
    """A line of a watch."""
    return b'{"type":"' + kind.encode() + b'","object":' + body + b"}\n"


def too_old(since: int, oldest: int) -> bytes:
    """A line that says that a watch cannot go on."""
    error = StatusError(410, "Expired", f"too old resource version: {since} ({oldest})")
    return event("ERROR", dump(error.status))


def initial_events(resource: Resource, objects: Iterable[Stored]) -> list[bytes]:
    """What is there already."""
    return [event("ADDED", item.body_for(resource)) for item in objects]


def bookmark(resource: Resource, version: int, *, is_initial_end: bool = False) -> bytes:
    """A line that says how far a watch is."""
    meta: dict[str, Any] = {"resourceVersion": str(version), "creationTimestamp": None}
    if is_initial_end:
        meta["annotations"] = {"k8s.io/initial-events-end": "true"}
    body = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}
    return event("BOOKMARK", dump(body))
