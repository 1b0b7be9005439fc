"""Who owns which field: managedFields, and server-side apply.

Lists are told apart by what an EndpointSlice needs: its endpoints and ports are one field each, as
are most lists; owners have their uid as a key, finalizers are a set, and some well-known lists of
other kinds have the key that Kubernetes gives them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from endpointslice.testing.messages import StatusError, bad_request, cause
from endpointslice.testing.resources import SLICES, Resource

#: Steps from the top: `f:NAME`, `k:{KEY}` for an item of a list, `v:VALUE` for one of a set.
FieldPath: TypeAlias = tuple[str, ...]
#: What a field holds; a map or a list of items stands in it too, as a field of its own.
Fields: TypeAlias = dict[FieldPath, Any]

_CONTAINER: Final = object()
#: An item of a list is owned by who states it, besides its fields.
_ITEM: Final = object()
#: What the server keeps itself, or what says which object it is.
_UNOWNED: Final = frozenset(
    [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "managedFields",
    ]
)
_ITEM_KEYS: Final = {
    "ownerReferences": ("uid",),
    "conditions": ("type",),
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
}
_SERVICE_KEYS: Final = {**_ITEM_KEYS, "ports": ("port", "protocol")}
#: Items that are owned as a whole.
_ATOMIC_ITEMS: Final = frozenset(["ownerReferences"])
_SETS: Final = frozenset(["finalizers"])
_MAPS: Final = frozenset(["labels", "annotations", "data", "stringData", "binaryData"])
_ATOMIC_MAPS: Final = frozenset(["selector"])


def _keys_of(resource: Resource) -> Mapping[str, tuple[str, ...]]:
    return _SERVICE_KEYS if resource.kind == "Service" else _ITEM_KEYS


def fields_of(resource: Resource, manifest: Mapping[str, Any]) -> Fields:
    """Each field that can have an owner."""
    fields: Fields = {}
    keys = _keys_of(resource)
    for name, value in manifest.items():
        if name in {"apiVersion", "kind"}:
            continue
        if name == "metadata":
            for part, item in value.items():
                if part not in _UNOWNED:
                    _collect(fields, ("f:metadata", f"f:{part}"), part, item, keys)
        elif resource is SLICES:
            if value is not None:
                fields[(f"f:{name}",)] = value
        else:
            _collect(fields, (f"f:{name}",), name, value, keys)
    return fields


def _collect(
    fields: Fields, path: FieldPath, name: str, value: Any, keys: Mapping[str, tuple[str, ...]]
) -> None:
    if isinstance(value, dict) and value and name not in _ATOMIC_MAPS:
        if name in _MAPS:
            fields[path] = _CONTAINER
        for part, item in value.items():
            _collect(fields, (*path, f"f:{part}"), "" if name in _MAPS else part, item, keys)
    elif isinstance(value, list) and value and name in _SETS:
        fields[path] = _CONTAINER
        for item in value:
            fields[*path, f"v:{json.dumps(item)}"] = item
    elif isinstance(value, list) and value and name in keys and _is_keyed(value):
        fields[path] = _CONTAINER
        for item in value:
            step = (*path, _item_step(item, keys[name]))
            if name in _ATOMIC_ITEMS:
                fields[step] = item
            else:
                fields[step] = _ITEM
                for part, inner in item.items():
                    _collect(fields, (*step, f"f:{part}"), part, inner, keys)
    else:
        fields[path] = value


def _is_keyed(items: list[Any]) -> bool:
    return all(isinstance(item, dict) for item in items)


def _item_step(item: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    # Kubernetes takes the default for a key that is absent; the only such key is a protocol.
    values = {key: item.get(key, "TCP" if key == "protocol" else None) for key in keys}
    return f"k:{json.dumps(values, separators=(',', ':'))}"


# --- managedFields ----------------------------------------------------------------------------


class Owner:
    """One entry of managedFields."""

    __slots__ = ("api_version", "fields", "manager", "operation", "subresource", "time")

    def __init__(
        self,
        manager: str,
        operation: str,
        api_version: str,
        subresource: str,
        fields: set[FieldPath],
        time: str | None,
    ) -> None:
        self.manager = manager
        self.operation = operation
        self.api_version = api_version
        self.subresource = subresource
        self.fields = fields
        self.time = time

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What tells it from other entries; whoever applies is the same in all versions."""
        version = "" if self.operation == "Apply" else self.api_version
        return self.manager, self.operation, version, self.subresource

    def __str__(self) -> str:
        using = "" if self.operation == "Apply" else f" using {self.api_version}"
        part = f' with subresource "{self.subresource}"' if self.subresource else ""
        return f'"{self.manager}"{part}{using}'

    def encode(self) -> dict[str, Any]:
        """As it stands in managedFields."""
        entry: dict[str, Any] = {
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": _encode_paths(self.fields),
            "subresource": self.subresource,
        }
        return {name: value for name, value in entry.items() if value not in (None, "")}


def _encode_paths(paths: Iterable[FieldPath]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    nodes = []
    for path in sorted(paths):
        node = tree
        for step in path:
            node = node.setdefault(step, {})
        nodes.append(node)
    for node in nodes:
        if node:
            node["."] = {}
    return tree


def _decode_paths(tree: object, path: FieldPath = ()) -> Iterator[FieldPath]:
    if not isinstance(tree, Mapping) or not tree:
        if path:
            yield path
        return
    for step, inner in tree.items():
        if step == ".":
            yield path
        else:
            yield from _decode_paths(inner, (*path, step))


def owners_of(manifest: Mapping[str, Any]) -> list[Owner]:
    """The entries of an object."""
    entries = manifest["metadata"].get("managedFields") or ()
    return [
        Owner(
            entry.get("manager", ""),
            entry.get("operation", "Update"),
            entry.get("apiVersion", ""),
            entry.get("subresource", ""),
            set(_decode_paths(entry.get("fieldsV1") or {})),
            entry.get("time"),
        )
        for entry in entries
        if entry
    ]


def encode_owners(owners: Iterable[Owner]) -> list[dict[str, Any]]:
    """The entries of those who own anything, in the server's order."""
    kept = [owner for owner in owners if owner.fields]
    kept.sort(key=lambda o: (o.operation, o.time or "", o.manager, o.api_version, o.subresource))
    return [owner.encode() for owner in kept]


def _self(
    owners: list[Owner], manager: str, operation: str, resource: Resource, subresource: str
) -> Owner:
    """The entry of who asks, which is added if there is none."""
    wanted = Owner(manager, operation, resource.api_version, subresource, set(), None)
    for owner in owners:
        if owner.identity == wanted.identity:
            return owner
    owners.append(wanted)
    return wanted


def update_owners(
    resource: Resource,
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any],
    *,
    base: Mapping[str, Any] | None,
    manager: str,
    subresource: str,
    now: str,
) -> list[dict[str, Any]]:
    """The managedFields after a write that is no apply: who changes a field owns it alone.

    Args:
        resource: What it is.
        old: The object before; None for a create.
        new: The object after.
        base: Whose managedFields to begin with.
        manager: Who asks.
        subresource: Where; "" for the object itself.
        now: The time.
    """
    before = fields_of(resource, old) if old is not None else {}
    after = fields_of(resource, new)
    changed = {path for path, value in after.items() if before.get(path, before) != value}
    gone = before.keys() - after.keys()
    owners = owners_of(base) if base is not None else []
    mine = _self(owners, manager, "Update", resource, subresource)
    for owner in owners:
        owner.fields -= gone
        if owner is not mine:
            owner.fields -= changed
    if changed:
        mine.fields |= changed
        mine.time = now
    return encode_owners(owners)


# --- server-side apply ------------------------------------------------------------------------


def apply_fields(
    resource: Resource,
    old: Mapping[str, Any] | None,
    applied: dict[str, Any],
    *,
    manager: str,
    subresource: str,
    force: bool,
    now: str,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Apply a configuration to an object.

    Args:
        resource: What it is.
        old: The object before; None if there is none.
        applied: The configuration.
        manager: Who applies it.
        subresource: Where; "" for the object itself.
        force: Whether fields of others are taken over.
        now: The time.

    Returns:
        The object after, before defaults are filled in; and its managedFields.

    Raises:
        StatusError: Others own what is to change, and it is not forced.
    """
    # An apply owns what it states, and no map as such.
    wanted = {
        path for path, value in fields_of(resource, applied).items() if value is not _CONTAINER
    }
    owners = owners_of(old) if old is not None else []
    mine = _self(owners, manager, "Apply", resource, subresource)
    if old is None:
        mine.fields, mine.time = wanted, now
        return applied, encode_owners(owners)
    merged = _merge(old, applied, "", _keys_of(resource))
    before = fields_of(resource, old)
    after = fields_of(resource, merged)
    changed = {path for path, value in after.items() if before.get(path, before) != value}
    others = [owner for owner in owners if owner is not mine]
    conflicts = [(owner, sorted(changed & owner.fields)) for owner in others]
    if not force and any(paths for _, paths in conflicts):
        raise _conflict([(owner, paths) for owner, paths in conflicts if paths])
    for owner, paths in conflicts:
        owner.fields -= set(paths)
    kept = wanted.union(*(owner.fields for owner in others))
    dropped = {path for path in mine.fields if path not in kept and path in after}
    for path in sorted(dropped):
        # What stands in something that goes need not go by itself.
        if not any(path[:length] in dropped for length in range(1, len(path))):
            _drop(merged, path)
    mine.fields = wanted
    if changed or dropped:
        mine.time = now
    return merged, encode_owners(owners)


def _merge(old: Any, new: Any, name: str, keys: Mapping[str, tuple[str, ...]]) -> Any:
    if isinstance(old, Mapping) and isinstance(new, dict) and name not in _ATOMIC_MAPS:
        merged = dict(old)
        for part, value in new.items():
            merged[part] = _merge(old.get(part), value, part, keys)
        return merged
    if isinstance(old, list) and isinstance(new, list):
        if name in _SETS:
            return old + [item for item in new if item not in old]
        if name in keys and _is_keyed(old) and _is_keyed(new):
            steps = {_item_step(item, keys[name]): item for item in old}
            for item in new:
                step = _item_step(item, keys[name])
                found = steps.get(step)
                atomic = found is None or name in _ATOMIC_ITEMS
                steps[step] = item if atomic else _merge(found, item, "", keys)
            return list(steps.values())
    return new


def _drop(manifest: dict[str, Any], path: FieldPath) -> None:
    """Take a field out, copying what it stands in, for that may be shared."""
    node: Any = manifest
    for i, step in enumerate(path):
        is_last = i == len(path) - 1
        at = _position(node, step)
        if at is None:
            return
        if is_last:
            del node[at]
            return
        node[at] = dict(node[at]) if isinstance(node[at], dict) else list(node[at])
        node = node[at]


def _position(node: Any, step: str) -> Any:
    kind, _, text = step.partition(":")
    if kind == "f":
        return text if isinstance(node, dict) and text in node else None
    if not isinstance(node, list):
        return None
    wanted = json.loads(text)
    for i, item in enumerate(node):
        if item == wanted if kind == "v" else _has_key(item, wanted):
            return i
    return None


def _has_key(item: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return bool(json.loads(_item_step(item, tuple(wanted))[2:]) == wanted)


def _conflict(conflicts: list[tuple[Owner, list[FieldPath]]]) -> StatusError:
    causes = [
        cause("FieldManagerConflict", f"conflict with {owner}", _shown(path))
        for owner, paths in conflicts
        for path in paths
    ]
    if len(causes) == 1:
        text = f"1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        parts = [
            f"conflicts with {owner}:\n" + "\n".join(f"- {_shown(path)}" for path in paths)
            for owner, paths in conflicts
        ]
        text = f"{len(causes)} conflicts: " + "\n".join(parts)
    return StatusError(409, "Conflict", f"Apply failed with {text}", {"causes": causes})


def _shown(path: FieldPath) -> str:
    shown = ""
    for step in path:
        kind, _, text = step.partition(":")
        if kind == "f":
            shown += f".{text}"
        elif kind == "v":
            shown += f"[={text}]"
        else:
            pairs = json.loads(text).items()
            shown += f"[{','.join(f'{name}={json.dumps(value)}' for name, value in pairs)}]"
    return shown


def check_applied(applied: Mapping[str, Any]) -> None:
    """Refuse a configuration that states who owns what."""
    if applied["metadata"].get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
