"""Label and field selectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from endpointslice.testing.messages import bad_request

#: Whether an object is selected.
Selector: TypeAlias = Callable[[Mapping[str, Any]], bool]
_Test: TypeAlias = Callable[[Mapping[str, str]], bool]

_TOKEN: Final = re.compile(r"\s*(==|!=|=|!|<|>|\(|\)|,|[^\s=!<>(),]+)")


def select_all(_: Mapping[str, Any]) -> bool:
    """No selector."""
    return True


def selector_of(label_selector: str, field_selector: str) -> Selector:
    """Both selectors of a request.

    Raises:
        StatusError: One cannot be read, or selects by a field that is not supported.
    """
    if not label_selector.strip() and not field_selector.strip():
        return select_all
    labels = _label_tests(label_selector)
    fields = list(_field_tests(field_selector))

    def selects(item: Mapping[str, Any]) -> bool:
        meta = item["metadata"]
        names = meta.get("labels") or {}
        return all(test(names) for test in labels) and all(
            (meta.get(field, "") == value) is wanted for field, value, wanted in fields
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


def _field_tests(text: str) -> Iterator[tuple[str, str, bool]]:
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"(.*?)(==|!=|=)(.*)", part)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        field, sign, value = match.groups()
        if field not in {"metadata.name", "metadata.namespace"}:
            raise bad_request(
                f'"{field}" is not a known field selector: only "metadata.name", '
                '"metadata.namespace"'
            )
        yield field.removeprefix("metadata."), value, sign != "!="
