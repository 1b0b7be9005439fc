"""Label and field selectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from endpointslice.testing.messages import bad_request
from endpointslice.testing.resources import Resource

#: Whether an object is selected.
Selector: TypeAlias = Callable[[Mapping[str, Any]], bool]
_Test: TypeAlias = Callable[[Mapping[str, str]], bool]

_METADATA: Final = ("metadata.name", "metadata.namespace")
#: By which fields of other kinds the API server selects.
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "Event": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "Namespace": ("status.phase",),
    "Node": ("spec.unschedulable",),
    "Pod": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.phase",
        "status.podIP",
    ),
    "Secret": ("type",),
    "Service": ("spec.clusterIP", "spec.type"),
}
_TOKEN: Final = re.compile(r"\s*(==|!=|=|!|<|>|\(|\)|,|[^\s=!<>(),]+)")


def select_all(_: Mapping[str, Any]) -> bool:
    """No selector."""
    return True


def selector_of(resource: Resource, label_selector: str, field_selector: str) -> Selector:
    """Both selectors of a request.

    Args:
        resource: Of which resource; by which fields it can be selected depends on it.
        label_selector: Equality-based or set-based.
        field_selector: Fields that are, or are not, equal to a value.

    Raises:
        StatusError: One cannot be read, or selects by a field that is not supported.
    """
    if not label_selector.strip() and not field_selector.strip():
        return select_all
    labels = _label_tests(label_selector)
    fields = list(_field_tests(resource, field_selector))

    def selects(item: Mapping[str, Any]) -> bool:
        names = item["metadata"].get("labels") or {}
        return all(test(names) for test in labels) and all(
            (_field(item, field) == value) is wanted for field, value, wanted in fields
        )

    return selects


class _Tokens:
    """What is left of a selector to read."""

    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)
        self._next = 0

    def peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self._next += 1
        return token


def _unexpected(found: str, expected: str) -> Exception:
    return bad_request(f"unable to parse requirement: found '{found}', expected: {expected}")


def _label_tests(text: str) -> list[_Test]:
    tokens = _Tokens(text)
    tests: list[_Test] = []
    while tokens.peek():
        tests.append(_requirement(tokens))
        if tokens.peek():
            separator = tokens.take()
            if separator != ",":
                raise _unexpected(separator, "',' or 'end of string'")
            if not tokens.peek():
                raise _unexpected("", "identifier after ','")
    return tests


def _requirement(tokens: _Tokens) -> _Test:
    key = tokens.take()
    if key == "!":
        absent = tokens.take()
        return lambda labels: absent not in labels
    if key in {"=", "==", "!=", "(", ")", ",", "<", ">"}:
        raise _unexpected(key, "!, identifier, or 'end of string'")
    match tokens.peek():
        case "" | ",":
            return lambda labels: key in labels
        case "=" | "==":
            tokens.take()
            value = _value(tokens)
            return lambda labels: labels.get(key) == value
        case "!=":
            tokens.take()
            value = _value(tokens)
            return lambda labels: labels.get(key) != value
        case "in":
            tokens.take()
            values = _values(tokens)
            return lambda labels: labels.get(key) in values
        case "notin":
            tokens.take()
            values = _values(tokens)
            return lambda labels: labels.get(key) not in values
        case ("<" | ">") as sign:
            tokens.take()
            return _comparison(key, sign, tokens.take())
        case other:
            raise _unexpected(other, "in, notin, =, ==, !=, gt, lt")


def _comparison(key: str, sign: str, text: str) -> _Test:
    try:
        bound = int(text)
    except ValueError:
        raise bad_request(
            f"unable to parse requirement: values[0][{key}]: Invalid value: {text!r}"
        ) from None

    def compares(labels: Mapping[str, str]) -> bool:
        try:
            value = int(labels.get(key, ""))
        except ValueError:
            return False
        return value < bound if sign == "<" else value > bound

    return compares


def _value(tokens: _Tokens) -> str:
    """One value, which may be empty."""
    return "" if tokens.peek() in {"", ","} else tokens.take()


def _values(tokens: _Tokens) -> frozenset[str]:
    opening = tokens.take()
    if opening != "(":
        raise _unexpected(opening, "'('")
    values = []
    while True:
        values.append("" if tokens.peek() in {",", ")"} else tokens.take())
        separator = tokens.take()
        if separator == ")":
            return frozenset(values)
        if separator != ",":
            raise _unexpected(separator, "',' or ')'")


def _field(item: Mapping[str, Any], path: str) -> str:
    value: Any = item
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _field_tests(resource: Resource, text: str) -> Iterator[tuple[str, str, bool]]:
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"(.*?)(==|!=|=)(.*)", part)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        field, sign, value = match.groups()
        known = (*_METADATA, *_FIELDS.get(resource.kind, ()))
        if field not in known:
            names = ", ".join(f'"{name}"' for name in known)
            raise bad_request(f'"{field}" is not a known field selector: only {names}')
        yield field, value, sign != "!="
