"""Of which types the fields are that the server itself looks at, so that nonsense is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from endpointslice.testing.resources import Resource

#: A type; a dict for an object, of which fields that are not named may be anything; a list for a
#: list of one shape; a tuple for a map from strings to one shape. Null is allowed, but not in a
#: list.
_OWNER: Final = {"apiVersion": str, "kind": str, "name": str, "uid": str}
_METADATA: Final = {
    "name": str,
    "generateName": str,
    "namespace": str,
    "uid": str,
    "resourceVersion": str,
    "generation": int,
    "creationTimestamp": str,
    "deletionTimestamp": str,
    "deletionGracePeriodSeconds": int,
    "labels": (str,),
    "annotations": (str,),
    "ownerReferences": [_OWNER],
    "finalizers": [str],
    "managedFields": [{"manager": str, "operation": str, "apiVersion": str, "time": str}],
}
_KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "Service": {
        "spec": {
            "type": str,
            "clusterIP": str,
            "clusterIPs": [str],
            "ipFamilies": [str],
            "ports": [{"port": int}],
        },
        "status": {},
    },
    "Pod": {"spec": {"nodeName": str, "terminationGracePeriodSeconds": int}, "status": {}},
    "Namespace": {"spec": {}, "status": {}},
    "ResourceQuota": {"spec": {"hard": {}}},
    "CustomResourceDefinition": {
        "spec": {
            "group": str,
            "scope": str,
            "names": {"kind": str, "plural": str, "shortNames": [str], "categories": [str]},
            "versions": [{"name": str, "subresources": {}}],
        }
    },
    "DeleteOptions": {
        "gracePeriodSeconds": int,
        "propagationPolicy": str,
        "preconditions": {"uid": str, "resourceVersion": str},
    },
}


def type_problems(resource: Resource, sent: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each value of another type than the server can use: where, and what it must be."""
    yield from _problems(sent.get("metadata"), _METADATA, "metadata")
    if not resource.is_custom:
        yield from _problems(sent, _KINDS.get(resource.kind, {}), "")


def option_problems(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """As `type_problems`, for the options of a delete."""
    yield from _problems(options, _KINDS["DeleteOptions"], "")


def _problems(value: Any, shape: Any, path: str) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    match shape:
        case type():
            if type(value) is not shape:
                yield path, f"must be of type {shape.__name__}"
        case Mapping() | tuple():
            if not isinstance(value, Mapping):
                yield path, "must be an object"
                return
            for name in value:
                inner = shape.get(name) if isinstance(shape, Mapping) else shape[0]
                if inner is not None:
                    yield from _problems(value[name], inner, f"{path}.{name}".lstrip("."))
        case _:
            if not isinstance(value, list):
                yield path, "must be a list"
                return
            for i, item in enumerate(value):
                if item is None:
                    yield f"{path}[{i}]", "must not be null"
                yield from _problems(item, shape[0], f"{path}[{i}]")
