"""Objects, each change to them, and what they were at an earlier resource version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias, final

import attrs

from endpointslice.testing.messages import StatusError, dump
from endpointslice.testing.resources import Resource

#: Group and plural; all versions of a resource are the same objects.
ResourceKey: TypeAlias = tuple[str, str]


def key_of(namespace: str, name: str) -> str:
    """Where an object stands in the order of lists."""
    return f"{namespace}/{name}" if namespace else name


@final
@attrs.frozen(eq=False)
class Stored:
    """An object as it was written; nobody changes what it holds."""

    key: str
    namespace: str
    name: str
    version: int
    manifest: Mapping[str, Any]
    body: bytes

    def body_for(self, resource: Resource) -> bytes:
        """Its JSON in a version of its API."""
        if self.manifest["apiVersion"] == resource.api_version:
            return self.body
        return dump({**self.manifest, "apiVersion": resource.api_version})


@final
@attrs.frozen(eq=False)
class Change:
    """One write: what was there before, and what is after it.

    For a delete `new` is what was deleted, at the resource version of the delete.
    """

    version: int
    resource: ResourceKey
    old: Stored | None
    new: Stored
    is_delete: bool = False


#: In bytes: what etcd takes, and what the server's client of etcd sends.
_MAX_STORED: Final = 3 * 1024 * 1024 // 2
_MAX_MESSAGE: Final = 2 * 1024 * 1024


def _check_size(manifest: Mapping[str, Any]) -> None:
    size = _stored_size(manifest)
    if size > _MAX_MESSAGE:
        message = (
            "rpc error: code = ResourceExhausted desc = trying to send message larger than max "
            f"({size} vs. {_MAX_MESSAGE})"
        )
        raise StatusError(500, "", message)
    if size > _MAX_STORED:
        raise StatusError(500, "", "etcdserver: request is too large")


def _stored_size(value: object) -> int:
    """About how many bytes it takes in etcd, where no field has a name."""
    match value:
        case str():
            return len(value.encode(errors="surrogatepass")) + 2
        case Mapping():
            return sum(map(_stored_size, value.values())) + 3
        case list():
            return sum(map(_stored_size, value))
        case _:
            return 3


class Store:
    """All objects, by resource and key; the revision counts writes, as etcd's does."""

    def __init__(self, history: int) -> None:
        self.revision = 1
        #: Nothing older can be watched from.
        self.watch_floor = 0
        #: Nothing older can be listed.
        self.list_floor = 0
        self._history: Final = history
        self._objects: dict[ResourceKey, dict[str, Stored]] = {}
        #: Of all revisions after `first`, without a gap.
        self._changes: list[Change] = []
        self.first = self.revision

    def get(self, resource: Resource, key: str) -> Stored | None:
        """An object as it is now."""
        return self._objects.get((resource.group, resource.plural), {}).get(key)

    def put(self, resource: Resource, manifest: dict[str, Any]) -> Stored:
        """Write an object; its resourceVersion is set here."""
        manifest["metadata"]["resourceVersion"] = str(self.revision + 1)
        stored = self._stored(manifest, self.revision + 1)
        if len(stored.body) > _MAX_STORED:
            _check_size(manifest)
        self.revision += 1
        at = (resource.group, resource.plural)
        objects = self._objects.setdefault(at, {})
        self._record(Change(self.revision, at, objects.get(stored.key), stored))
        objects[stored.key] = stored
        return stored

    def remove(self, resource: Resource, old: Stored) -> None:
        """Take an object out, which counts as a write."""
        self.revision += 1
        meta = {**old.manifest["metadata"], "resourceVersion": str(self.revision)}
        gone = self._stored({**old.manifest, "metadata": meta}, self.revision)
        at = (resource.group, resource.plural)
        del self._objects[at][old.key]
        self._record(Change(self.revision, at, old, gone, is_delete=True))

    @staticmethod
    def _stored(manifest: Mapping[str, Any], version: int) -> Stored:
        meta = manifest["metadata"]
        namespace, name = meta.get("namespace", ""), meta["name"]
        key = key_of(namespace, name)
        return Stored(key, namespace, name, version, manifest, dump(manifest))

    def _record(self, change: Change) -> None:
        self._changes.append(change)
        if len(self._changes) > 2 * self._history:
            del self._changes[: -self._history]
            self.first = self._changes[0].version - 1
            self.forget(self.first)

    def forget(self, version: int, *, lists: bool = True) -> None:
        """Let nobody watch from before a version, nor list what was then."""
        self.watch_floor = max(self.watch_floor, version)
        if lists:
            self.list_floor = max(self.list_floor, version)

    def changes(self, since: int, until: int) -> Iterator[Change]:
        """What was written after a version, up to another, in order."""
        for at in range(max(since - self.first, 0), until - self.first):
            yield self._changes[at]

    def objects(self, resource: Resource, version: int | None = None) -> list[Stored]:
        """The objects of a resource as they are, or were at a version, in order."""
        at = (resource.group, resource.plural)
        objects = self._objects.get(at, {})
        if version is not None and version < self.revision:
            objects = dict(objects)
            for change in reversed(self._changes[max(version - self.first, 0) :]):
                if change.resource != at:
                    continue
                if change.old is None:
                    del objects[change.new.key]
                else:
                    objects[change.old.key] = change.old
        return [objects[key] for key in sorted(objects)]
