"""Manifests -> what the API server would refuse of them -> text."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, final

import attrs

from endpointslice import Violation, validate_slice
from endpointslice.cli.planning import joined
from endpointslice.cli.printing import Line, print_json, print_lines, print_yaml
from endpointslice.cli.reading import Manifest, Manifests
from endpointslice.errors import _shown

__all__ = ["Refusal", "render_refusals", "validate_manifests"]

#: JSON has numbers of any size, and hardly a reader of JSON has.
_MAX_INTEGER_BITS = 64


@final
@attrs.frozen(kw_only=True)
class Refusal:
    """A rule that an object of a file breaks."""

    place: Manifest
    violation: Violation


def validate_manifests(manifests: Iterable[Manifest]) -> tuple[Refusal, ...]:
    """Judge slices as if kubectl created them: a namespace is filled in."""
    return tuple(
        Refusal(place=place, violation=violation)
        for place in manifests
        for violation in validate_slice(_with_namespace(place.manifest))
    )


def _with_namespace(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = manifest.get("metadata")
    if not isinstance(meta, Mapping) or meta.get("namespace"):
        return manifest
    return {**manifest, "metadata": {**meta, "namespace": "default"}}


def render_refusals(refusals: tuple[Refusal, ...], manifests: Manifests, output: str) -> None:
    """Print what `validate` found."""
    match output:
        case "json":
            print_json(_data(refusals, manifests))
        case "yaml":
            print_yaml(_data(refusals, manifests))
        case "name":
            for name in dict.fromkeys(joined(*_name_of(item.place)) for item in refusals):
                sys.stdout.write(f"{name}\n")
        case _:
            print_lines(_lines(refusals))


def _lines(refusals: tuple[Refusal, ...]) -> Iterator[Line]:
    for item in refusals:
        path = ".".join(filter(None, (item.place.path, item.violation.field)))
        told = attrs.evolve(item.violation, field=path)
        yield [(f"{item.place.source}:", "bold"), (str(told), "")]


def _name_of(place: Manifest) -> tuple[str, str]:
    """Namespace and name; "" where there is none that can be told."""
    meta = place.manifest.get("metadata")
    known = meta if isinstance(meta, Mapping) else {}
    namespace, name = (known.get(part) for part in ("namespace", "name"))
    return (
        namespace if isinstance(namespace, str) else "",
        name if isinstance(name, str) else "",
    )


def _data(refusals: tuple[Refusal, ...], manifests: Manifests) -> dict[str, Any]:
    return {
        "violations": [_refusal_data(item) for item in refusals],
        "slices": len(manifests.found),
        "errors": [str(problem) for problem in manifests.problems],
    }


def _refusal_data(item: Refusal) -> dict[str, Any]:
    namespace, name = _name_of(item.place)
    return {
        "source": item.place.source,
        "path": item.place.path,
        "namespace": namespace,
        "name": name,
        "field": item.violation.field,
        "type": str(item.violation.type),
        "detail": item.violation.detail,
        "value": _json_value(item.violation.value),
    }


def _json_value(value: object) -> object:
    is_small = not isinstance(value, int) or value.bit_length() <= _MAX_INTEGER_BITS
    if value is None or (isinstance(value, (str, int)) and is_small):
        return value
    return _shown(value)
