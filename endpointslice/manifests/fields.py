"""Read one field of a manifest; errors carry its path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeVar

from endpointslice.errors import ManifestError, ModelError
from endpointslice.models import FrozenDict

_Model = TypeVar("_Model")
NOTHING: Final[FrozenDict[str, Any]] = FrozenDict()


#: More than any object of Kubernetes has, and far from what the interpreter can follow.
_MAX_DEPTH: Final = 100


def freeze(value: Any, depth: int = 0) -> Any:
    """An immutable copy of any JSON value; what is none is refused."""
    if depth > _MAX_DEPTH:
        raise ManifestError("", f"must not be nested more than {_MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        return FrozenDict(
            {check_name(name): freeze(item, depth + 1) for name, item in value.items()}
        )
    if isinstance(value, (list, tuple)):
        return tuple(freeze(item, depth + 1) for item in value)
    if value is not None and not isinstance(value, (str, int, float)):
        raise ManifestError("", "must be a JSON value", value)
    return value


def check_name(name: object) -> str:
    """The name of a field, which JSON has as strings alone, and YAML as anything."""
    if not isinstance(name, str):
        raise ManifestError("", "must have strings as names", name)
    return name


def thaw(value: Any) -> Any:
    """The plain JSON value of what `freeze` made."""
    if isinstance(value, Mapping):
        return {name: thaw(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return list(map(thaw, value))
    return value


def as_mapping(value: object, path: str = "") -> Mapping[str, Any]:
    """The value, which must be an object."""
    if type(value) is not dict and not isinstance(value, Mapping):
        raise ManifestError(path, "must be an object", value)
    return value


def object_of(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object; null and absent are empty."""
    value = manifest.get(name)
    return NOTHING if value is None else as_mapping(value, name)


def list_of(manifest: Mapping[str, Any], name: str) -> list[Any] | tuple[Any, ...]:
    """A list; null and absent are empty."""
    value = manifest.get(name)
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        raise ManifestError(name, "must be a list", value)
    return value


def string_of(manifest: Mapping[str, Any], name: str) -> str:
    """A string; null and absent are ""."""
    value = manifest.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ManifestError(name, "must be a string", value)
    return value


def optional_string_of(manifest: Mapping[str, Any], name: str) -> str | None:
    """A string; null, absent and "" are None."""
    return string_of(manifest, name) or None


def boolean_of(manifest: Mapping[str, Any], name: str) -> bool | None:
    """True, false, or None for null and absent."""
    value = manifest.get(name)
    if value is not None and not isinstance(value, bool):
        raise ManifestError(name, "must be true or false", value)
    return value


def integer_of(manifest: Mapping[str, Any], name: str, lowest: int, highest: int) -> int | None:
    """A whole number in a range, or None for null and absent."""
    value = manifest.get(name)
    if value is None:
        return None
    if type(value) is not int or not lowest <= value <= highest:
        raise ManifestError(name, f"must be a whole number, {lowest}..{highest}", value)
    return value


def required(value: Any, name: str) -> Any:
    """The value, which must be there."""
    if value in (None, ""):
        raise ManifestError(name, "is required")
    return value


def string_map_of(manifest: Mapping[str, Any], name: str) -> FrozenDict[str, str]:
    """A map of strings; null and absent are empty."""
    value = object_of(manifest, name)
    for key, text in value.items():
        if not isinstance(key, str):
            raise ManifestError(name, "must have strings as names", key)
        if not isinstance(text, str):
            raise ManifestError(f"{name}[{key}]", "must be a string", text)
    return FrozenDict(value) if value else NOTHING


def shared_string_map_of(manifest: Mapping[str, Any], name: str) -> FrozenDict[str, str]:
    """A map of strings that many objects have in common: one for all of them."""
    found = string_map_of(manifest, name)
    return _shared_map(tuple(found.items())) if found else found


@lru_cache(maxsize=4096)
def _shared_map(items: tuple[tuple[str, str], ...]) -> FrozenDict[str, str]:
    return FrozenDict(items)


def strings_of(manifest: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of strings; null and absent are empty."""
    values = list_of(manifest, name)
    for i, value in enumerate(values):
        if not isinstance(value, str):
            raise ManifestError(f"{name}[{i}]", "must be a string", value)
    return tuple(values)


def unmodelled(manifest: Mapping[str, Any], known: frozenset[str]) -> FrozenDict[str, Any]:
    """What is not modelled. Null says nothing, so it is not kept."""
    if manifest.keys() <= known:
        return NOTHING
    found = {}
    for name, value in manifest.items():
        if check_name(name) not in known and value is not None:
            try:
                found[name] = freeze(value)
            except ManifestError as error:
                raise error.within(name) from None
    return FrozenDict(found)


def decode_each(
    manifest: Mapping[str, Any], name: str, decode: Callable[[Mapping[str, Any]], _Model]
) -> tuple[_Model, ...]:
    """Decode every object of a list; errors carry the position."""
    return decode_items(list_of(manifest, name), decode, name)


def decode_items(
    items: Iterable[object], decode: Callable[[Mapping[str, Any]], _Model], name: str = ""
) -> tuple[_Model, ...]:
    """Decode every object of a list of this name; errors carry the position."""
    result: list[_Model] = []
    for item in items:
        try:
            result.append(decode(as_mapping(item)))
        except ManifestError as error:
            raise error.within(f"{name}[{len(result)}]") from None
        except ModelError as error:
            raise as_manifest_error(error).within(f"{name}[{len(result)}]") from None
    return tuple(result)


def as_manifest_error(error: ModelError) -> ManifestError:
    """What is wrong with a model is wrong with the manifest, at the same place as JSON names it."""
    path = _SNAKE.sub(lambda match: match[1].upper(), error.field)
    return ManifestError(path, error.message, error.value)


_SNAKE: Final = re.compile("_([a-z])")


def check_kind(manifest: Mapping[str, Any], kind: str, *versions: str) -> None:
    """The type, where it is stated: items of a list as clients give it state none."""
    stated = string_of(manifest, "kind")
    if stated and stated != kind:
        raise ManifestError("kind", f"must be {kind}", stated)
    version = string_of(manifest, "apiVersion")
    if version and version not in versions:
        raise ManifestError("apiVersion", f"must be {' or '.join(versions)}", version)


def decode_within(
    name: str, decode: Callable[[Mapping[str, Any]], _Model], value: object
) -> _Model:
    """Decode an object that is a field of another."""
    try:
        return decode(as_mapping(value))
    except ManifestError as error:
        raise error.within(name) from None
