"""Many objects at once: lists of all kinds, in any mix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, final

import attrs

from endpointslice.collector import collector_paused
from endpointslice.errors import ManifestError
from endpointslice.manifests.core import decode_node, decode_pod, decode_service
from endpointslice.manifests.endpoints import decode_endpoints
from endpointslice.manifests.slices import decode_slice
from endpointslice.models import Endpoints, EndpointSlice, FrozenDict, Node, Pod, Service

__all__ = ["DecodedObjects", "decode_objects", "is_known_kind", "iter_objects"]


def iter_objects(
    document: object, path: str = ""
) -> Iterator[tuple[str, Mapping[str, Any] | ManifestError]]:
    """Yield the objects of a document: itself, or the items of a List of any kind, in order.

    A list as kubectl prints it (`List`), as the API server does (`PodList`), and a bare JSON
    array are all taken apart, at any depth. Items of a typed list get its kind and version,
    which the server leaves out of them.

    Args:
        document: What a JSON or YAML loader gave.
        path: Where the document stands, for the paths that are yielded.

    Yields:
        The path of each object, as `items[4]`, and the object; or what is wrong, where something
        is no object. The others do not suffer.
    """
    # What is still to be taken apart, the next one last: recursion would limit the depth.
    waiting: list[tuple[str, object]] = [(path, document)]
    while waiting:
        where, found = waiting.pop()
        if isinstance(found, (list, tuple)):
            waiting += _placed(where, found)
            continue
        if not isinstance(found, Mapping):
            yield where, ManifestError(where, "must be an object", found)
            continue
        kind = found.get("kind")
        items = found.get("items")
        is_list = isinstance(kind, str) and kind.endswith("List") and "items" in found
        if kind != "List" and not is_list and not isinstance(items, list):
            yield where, found
            continue
        below = f"{where}.items".lstrip(".")
        if items is not None and not isinstance(items, (list, tuple)):
            yield below, ManifestError(below, "must be a list", items)
            continue
        defaults: dict[str, object] = {}
        if isinstance(kind, str) and kind != "List":
            defaults = {"kind": kind.removesuffix("List"), "apiVersion": found.get("apiVersion")}
        waiting += _placed(below, [_completed(item, defaults) for item in items or ()])


def _placed(path: str, items: Sequence[object]) -> list[tuple[str, object]]:
    """Items with their paths, the first one last."""
    return [(f"{path}[{i}]", items[i]) for i in reversed(range(len(items)))]


def _completed(item: object, defaults: Mapping[str, object]) -> object:
    """An item of a list, with what it does not state; null states nothing."""
    if not isinstance(item, Mapping) or not defaults:
        return item
    missing = {name: value for name, value in defaults.items() if item.get(name) is None}
    return {**item, **missing}


@final
@attrs.frozen(kw_only=True)
class DecodedObjects:
    """What `decode_objects` found, each in the order of the input.

    Attributes:
        problems: Objects that are not what they say, as errors; the others do not suffer.
        ignored: How many objects of other kinds there were, by kind.
    """

    services: tuple[Service, ...] = ()
    pods: tuple[Pod, ...] = ()
    nodes: tuple[Node, ...] = ()
    slices: tuple[EndpointSlice, ...] = ()
    endpoints: tuple[Endpoints, ...] = ()
    problems: tuple[ManifestError, ...] = ()
    ignored: FrozenDict[str, int] = attrs.field(default=FrozenDict(), repr=False)


#: The API group of a kind, where it has one.
_GROUPS: Final = {"EndpointSlice": "discovery.k8s.io"}

_DECODERS: Final[Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Any]]]] = {
    "Service": ("services", decode_service),
    "Pod": ("pods", decode_pod),
    "Node": ("nodes", decode_node),
    "EndpointSlice": ("slices", decode_slice),
    "Endpoints": ("endpoints", decode_endpoints),
}


def is_known_kind(manifest: Mapping[str, Any]) -> bool:
    """Whether it is a Service, Pod, Node, EndpointSlice or Endpoints of Kubernetes itself.

    Knative has a Service too, and Longhorn a Node, in API groups of their own.
    """
    kind, version = manifest.get("kind"), manifest.get("apiVersion")
    group = version.rpartition("/")[0] if isinstance(version, str) else ""
    return isinstance(kind, str) and kind in _DECODERS and group in ("", _GROUPS.get(kind, ""))


def decode_objects(documents: Iterable[object]) -> DecodedObjects:
    """Read Services, Pods, Nodes, EndpointSlices and Endpoints out of any mix of lists and objects.

    Args:
        documents: What a JSON or YAML loader gave, any number.

    Returns:
        The models by kind, and what could not be read. Objects of other kinds are counted. The
        garbage collector is paused meanwhile, as by `decode_slices`.

    Complexity: O(n) for n objects and endpoints.
    """
    found: dict[str, list[Any]] = {name: [] for name, _ in _DECODERS.values()}
    problems: list[ManifestError] = []
    ignored: dict[str, int] = {}
    with collector_paused():
        for document in documents:
            for path, manifest in iter_objects(document):
                if isinstance(manifest, ManifestError):
                    problems.append(manifest)
                    continue
                kind = manifest.get("kind")
                if not isinstance(kind, str) or not kind:
                    problems.append(ManifestError(path, "has no kind", kind))
                elif not is_known_kind(manifest):
                    ignored[kind] = ignored.get(kind, 0) + 1
                else:
                    name, decode = _DECODERS[kind]
                    try:
                        found[name].append(decode(manifest))
                    except ManifestError as error:
                        problems.append(error.within(_described(path, kind, manifest)))
    return DecodedObjects(
        **{name: tuple(models) for name, models in found.items()},
        problems=tuple(problems),
        ignored=FrozenDict(sorted(ignored.items())),
    )


def _described(path: str, kind: str, manifest: Mapping[str, Any]) -> str:
    """Name an object by what people know it by, and by where it stands."""
    meta = manifest.get("metadata")
    name = ""
    if isinstance(meta, Mapping):
        name = "/".join(
            str(meta[part]) for part in ("namespace", "name") if isinstance(meta.get(part), str)
        )
    label = f"{kind} {name}".rstrip()
    return f"{path} ({label})" if path else f"({label})"
