"""Text on standard output: styled lines for people, JSON and YAML for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

__all__ = ["Line", "console", "plural", "print_json", "print_lines", "print_yaml", "words"]

#: A line is its parts, each with its style.
Line: TypeAlias = list[tuple[str, str]]


def console() -> Console:
    """Colour on a terminal only, and no line is ever cut: a terminal wraps, a pipe need not."""
    from rich.console import Console

    plain = bool(os.environ.get("NO_COLOR")) or not sys.stdout.isatty()
    return Console(
        file=sys.stdout,
        color_system=None if plain else "auto",
        width=100_000,
        highlight=False,
        markup=False,
        emoji=False,
    )


def print_lines(lines: Iterable[Line]) -> None:
    """Print lines, styled on a terminal."""
    console().print(_Lines(lines), end="", soft_wrap=True)


class _Lines:
    """Styled lines that rich neither measures nor wraps: there can be 100,000 of them."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        for line in self.lines:
            for text, style in line:
                yield Segment(text, console.get_style(style) if style else None)
            yield Segment.line()


def print_json(data: object) -> None:
    """Print a value as JSON."""
    json.dump(data, sys.stdout, indent=2)
    sys.stdout.write("\n")


def print_yaml(data: object) -> None:
    """Print a value as YAML, its members in their own order."""
    import yaml

    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    yaml.dump(data, sys.stdout, Dumper=dumper, sort_keys=False)


def words(camel: str) -> str:
    """EndpointsMovedIn -> endpoints moved in."""
    return "".join(f" {char.lower()}" if char.isupper() else char for char in camel).strip()


def plural(count: int, noun: str) -> str:
    """Return how many there are of a regular noun: 1 slice, 2,000 slices."""
    return f"{count:,} {noun}" + ("s" if count != 1 else "")
