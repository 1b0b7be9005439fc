"""JSON, merge and strategic merge patches."""

from __future__ import annotations

import copy
from typing import Any, Final

from endpointslice.testing.messages import StatusError, bad_request

#: By which field the items of a list are told apart in a strategic merge patch; a list that is
#: not named is replaced as a whole. `ports` are only merged in a Service's spec.
_MERGE_KEYS: Final = {
    "ownerReferences": "uid",
    "conditions": "type",
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "addresses": "type",
    "taints": "key",
}
_SETS: Final = frozenset(["finalizers"])


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def json_patch(target: Any, operations: Any) -> Any:
    """RFC 6902.

    Raises:
        StatusError: An operation cannot be carried out, or a test fails.
    """
    if not isinstance(operations, list):
        raise bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    document = copy.deepcopy(target)
    try:
        for operation in operations:
            document = _operate(document, operation)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError):
        raise StatusError(
            422,
            "Invalid",
            "the server rejected our request due to an error in our request",
            {},
        ) from None
    return document


def _operate(document: Any, operation: dict[str, Any]) -> Any:
    path = _pointer(operation["path"])
    match operation["op"]:
        case "add":
            return _add(document, path, copy.deepcopy(operation["value"]))
        case "remove":
            _remove(document, path)
        case "replace":
            _get(document, path)
            if not path:
                return copy.deepcopy(operation["value"])
            _remove(document, path)
            return _add(document, path, copy.deepcopy(operation["value"]))
        case "move":
            source = _pointer(operation["from"])
            value = _get(document, source)
            _remove(document, source)
            return _add(document, path, value)
        case "copy":
            return _add(document, path, copy.deepcopy(_get(document, _pointer(operation["from"]))))
        case "test":
            if _get(document, path) != operation["value"]:
                raise ValueError
        case _:
            raise ValueError
    return document


def _pointer(text: str) -> list[str]:
    if not text:
        return []
    if not text.startswith("/"):
        raise ValueError
    return [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]


def _step(container: Any, part: str) -> Any:
    if isinstance(container, list):
        return container[_index(part)]
    if isinstance(container, dict):
        return container[part]
    raise KeyError(part)


def _index(part: str) -> int:
    if not part.isdecimal():
        raise ValueError
    return int(part)


def _get(document: Any, path: list[str]) -> Any:
    for part in path:
        document = _step(document, part)
    return document


def _add(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    container = _get(document, path[:-1])
    if isinstance(container, list):
        at = len(container) if path[-1] == "-" else _index(path[-1])
        if at > len(container):
            raise IndexError
        container.insert(at, value)
    elif isinstance(container, dict):
        container[path[-1]] = value
    else:
        raise KeyError(path[-1])
    return document


def _remove(document: Any, path: list[str]) -> None:
    container = _get(document, path[:-1])
    if isinstance(container, list):
        del container[_index(path[-1])]
    elif isinstance(container, dict):
        del container[path[-1]]
    else:
        raise KeyError(path[-1])


def strategic_patch(target: Any, patch: Any, kind: str) -> Any:
    """Kubernetes' own: as a merge patch, but that some lists are merged by a key.

    Args:
        target: The object.
        patch: What to change.
        kind: Of the object.
    """
    keys = {**_MERGE_KEYS, "ports": "port"} if kind == "Service" else _MERGE_KEYS
    try:
        return _strategic(target, patch, keys)
    except (AttributeError, TypeError):
        raise bad_request("error decoding patch: a value is of a wrong type") from None


def _strategic(target: Any, patch: dict[str, Any], keys: dict[str, str]) -> dict[str, Any]:
    directive = patch.get("$patch")
    if directive == "replace":
        return {name: value for name, value in patch.items() if name != "$patch"}
    merged = dict(target) if isinstance(target, dict) else {}
    if (retained := patch.get("$retainKeys")) is not None:
        merged = {name: value for name, value in merged.items() if name in retained}
    for name, value in patch.items():
        if name.startswith("$deleteFromPrimitiveList/"):
            field = name.partition("/")[2]
            if field in merged:
                merged[field] = [item for item in merged[field] if item not in value]
        elif name.startswith("$"):
            continue
        elif value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            merged[name] = _strategic(merged.get(name), value, keys)
        elif isinstance(value, list) and name in _SETS:
            old = merged.get(name) or []
            merged[name] = old + [item for item in value if item not in old]
        elif isinstance(value, list) and name in keys:
            merged[name] = _merge_items(merged.get(name) or [], value, keys[name], keys)
        else:
            merged[name] = value
    return merged


def _merge_items(old: list[Any], new: list[Any], key: str, keys: dict[str, str]) -> list[Any]:
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in new):
        return [item for item in new if "$patch" not in item]
    merged = list(old)
    for item in new:
        at = next((i for i, found in enumerate(merged) if found.get(key) == item.get(key)), None)
        if item.get("$patch") == "delete":
            if at is not None:
                del merged[at]
        elif at is None:
            merged.append(_strategic({}, item, keys))
        else:
            merged[at] = _strategic(merged[at], item, keys)
    return merged
