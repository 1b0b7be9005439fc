"""Strategies as they are spelled on the command line: `NAME` or `NAME:OPTION=VALUE:...`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, TypeAlias

import attrs
import click

from endpointslice.errors import ModelError
from endpointslice.packing import (
    Generational,
    KubernetesPacking,
    MinimalWrites,
    PackingStrategy,
    Partitioned,
    Rendezvous,
    Repack,
    SingleObject,
)

__all__ = [
    "STRATEGIES",
    "checked_strategy",
    "complete_strategy",
    "parse_strategy",
    "strategy_title",
]

#: What each name stands for. Its options are the strategy's own attributes.
STRATEGIES: Final[Mapping[str, PackingStrategy]] = {
    "kubernetes": KubernetesPacking(),
    "minimal": MinimalWrites(),
    "minimal-no-merge": MinimalWrites(merge=False),
    "generational": Generational(),
    "rendezvous": Rendezvous(),
    "repack": Repack(),
    "single-object": SingleObject(),
}

_Value: TypeAlias = bool | int | float | StrEnum


def parse_strategy(text: str) -> PackingStrategy:
    """Return the strategy that a text stands for.

    >>> parse_strategy("minimal:merge=false")
    MinimalWrites(merge=False, exit_order=None)

    Args:
        text: A name of `STRATEGIES`, and options: `generational:min_fill=0.9:moves=never`.

    Raises:
        ModelError: There is no such name, option or value; the error names those that there
            are.
    """
    name, *options = text.split(":")
    if name not in STRATEGIES:
        raise ModelError("strategy", f"must be one of {', '.join(STRATEGIES)}", name)
    strategy: Any = STRATEGIES[name]
    known = _options(strategy)
    chosen: dict[str, object] = {}
    for option in options:
        field, _, value = option.partition("=")
        if field not in known:
            usage = ", ".join(known) or "none"
            raise ModelError(
                f"strategy {name}", f"must have options as OPTION=VALUE: {usage}", option
            )
        if field in chosen:
            raise ModelError(f"strategy {name}", "must have an option only once", option)
        chosen[field] = _to_value(field, known[field], value)
    evolved: PackingStrategy = attrs.evolve(strategy, **chosen)
    return evolved


def strategy_title(strategy: PackingStrategy) -> str:
    """Return the shortest text for a strategy: its name, and the options that are not default.

    One that is partitioned is called after what is inside.

    `parse_strategy` makes the same strategy of any other, but for what no text can say. A strategy
    of
    another kind than those of `STRATEGIES` is called as it calls itself.

    >>> strategy_title(Generational(min_fill=0.9))
    'generational:min_fill=0.9'
    """
    if isinstance(strategy, Partitioned):
        return f"{strategy_title(strategy.inner)} by {strategy.key}"
    for name, plain in STRATEGIES.items():
        if type(plain) is type(strategy):
            default = _options(plain)
            options = [
                f"{field}={_to_text(value)}"
                for field, value in _options(strategy).items()
                if value != default[field]
            ]
            return ":".join((name, *options))
    return str(strategy)


def _options(strategy: PackingStrategy) -> dict[str, _Value | None]:
    """The attributes whose values can be spelled: plain ones, and those that are converted."""
    fields = attrs.fields(type(strategy))  # type: ignore[arg-type]
    values = {field: getattr(strategy, field.name) for field in fields}
    return {
        field.name: value
        for field, value in values.items()
        if field.converter is not None or isinstance(value, _Value)
    }


def _to_value(field: str, default: _Value | None, text: str) -> object:
    """A value of the default's type; a member of an enum is left to the strategy's converter."""
    match default:
        case bool():
            if text not in ("true", "false"):
                raise ModelError(field, "must be one of true, false", text)
            return text == "true"
        case int() | float():
            try:
                return type(default)(text)
            except ValueError:
                raise ModelError(field, "must be a number", text) from None
        case _:
            return text


def _to_text(value: _Value | None) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def checked_strategy(
    _context: click.Context, _parameter: click.Parameter, value: str
) -> PackingStrategy:
    """Return the strategy that an option stands for: a callback."""
    try:
        return parse_strategy(value)
    except ModelError as error:
        raise click.BadParameter(str(error)) from None


def complete_strategy(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Offer the names that begin so, for shell completion."""
    return [name for name in STRATEGIES if name.startswith(incomplete)]
