"""The exception tree: whose fault it is, and the values that prove it.

Every error that this library raises on purpose is an [`EndpointSliceError`][
endpointslice.errors.EndpointSliceError]. The payload is in attributes; wording is not API.
"""

from __future__ import annotations

from typing import Any, Self, final

__all__ = [
    "ApiError",
    "ApplyError",
    "ConflictError",
    "DuplicateEndpointError",
    "EndpointSliceError",
    "ManifestError",
    "ModelError",
    "TraceError",
    "UnsoundPlanError",
]

#: Longest rendering of an offending value in a message; the attribute keeps all of it.
_SHOWN_VALUE_CHARS = 80


class EndpointSliceError(Exception):
    """Base of every error raised on purpose. Equal if type and payload are equal."""

    @property
    def payload(self) -> tuple[Any, ...]:
        """The values that the error carries, in the order of its constructor."""
        return self.args

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.args == other.args

    def __hash__(self) -> int:
        return hash((type(self), str(self.args[:1])))


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deep, or a number of too many digits
        return f"a {type(value).__name__} that is too big to be shown"
    if len(text) <= _SHOWN_VALUE_CHARS:
        return text
    return f"{text[: _SHOWN_VALUE_CHARS - 3]}..."


def on_one_line(text: str) -> str:
    """Return words of others with no line of its own, and with nothing that a terminal obeys."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


@final
class ManifestError(EndpointSliceError):
    """A Kubernetes object is not what the API says it must be.

    Attributes:
        path: Where, as the API server names it: `endpoints[3].addresses[0]`; "" for the whole.
        message: What is wrong with it.
        value: The offending value; None if there is none.
    """

    def __init__(self, path: str, message: str, value: object = None) -> None:
        super().__init__(path, message, value)
        self.path = path
        self.message = message
        self.value = value

    def within(self, prefix: str) -> Self:
        """Return the same error, with its path below `prefix`."""
        if not self.path:
            path = prefix
        elif self.path.startswith("["):
            path = prefix + self.path
        else:
            path = f"{prefix}.{self.path}"
        return type(self)(path, self.message, self.value)

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        shown = "" if self.value is None else f", got {_shown(self.value)}"
        return f"{where}{self.message}{shown}"


@final
class ModelError(EndpointSliceError):
    """A value was asked for that cannot exist.

    Attributes:
        field: The argument, as in `endpoints[3].addresses[0]`.
        message: What is wrong with it.
        value: The offending value; None if there is none.
    """

    def __init__(self, field: str, message: str, value: object = None) -> None:
        super().__init__(field, message, value)
        self.field = field
        self.message = message
        self.value = value

    def __str__(self) -> str:
        shown = "" if self.value is None else f", got {_shown(self.value)}"
        return f"{self.field}: {self.message}{shown}"


@final
class DuplicateEndpointError(EndpointSliceError):
    """Two desired endpoints of one group have the same identity.

    Attributes:
        key: The identity that they share.
        first: One of them, in the order of the input.
        second: The other.
    """

    def __init__(self, key: str, first: object, second: object) -> None:
        super().__init__(key, first, second)
        self.key = key
        self.first = first
        self.second = second

    def __str__(self) -> str:
        return (
            f"desired: two endpoints have the identity {self.key!r}: "
            f"{_shown(self.first)} and {_shown(self.second)}"
        )


@final
class ConflictError(EndpointSliceError):
    """A plan does not fit the slices that it is applied to.

    Attributes:
        name: The slice, as namespace/name.
        message: What does not fit.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name, message)
        self.name = name
        self.message = message

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


@final
class TraceError(EndpointSliceError):
    """A trace is no history that can be.

    Attributes:
        path: Where in it: `steps[3].set[0]`, `changes[17]`; "" for the whole.
        message: What is wrong with it.
        value: The offending value; None if there is none.
    """

    def __init__(self, path: str, message: str, value: object = None) -> None:
        super().__init__(path, message, value)
        self.path = path
        self.message = message
        self.value = value

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        shown = "" if self.value is None else f", got {_shown(self.value)}"
        return f"{where}{self.message}{shown}"


@final
class UnsoundPlanError(EndpointSliceError):
    """A strategy made a plan that `check_plan` finds fault with.

    Attributes:
        at: The sync that the plan was made for, in milliseconds from the start of the trace.
        problems: What is wrong with it, one sentence each.
    """

    def __init__(self, at: int, problems: tuple[str, ...]) -> None:
        super().__init__(at, problems)
        self.at = at
        self.problems = problems

    def __str__(self) -> str:
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        return f"sync at {self.at} ms: {self.problems[0]}{more}"


@final
class ApiError(EndpointSliceError):
    """The API server did not give what it was asked for.

    Attributes:
        request: What was asked, in words.
        status: The HTTP status; 0 if there was no answer.
        reason: The server's word for it, as `Forbidden`; "" if it has none.
        message: The server's sentence, or what became of the connection.
    """

    def __init__(self, request: str, status: int, reason: str, message: str) -> None:
        super().__init__(request, status, reason, message)
        self.request = request
        self.status = status
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        words = " ".join(filter(None, [str(self.status or "no answer"), self.reason]))
        return on_one_line(": ".join(filter(None, [self.request, words, self.message])))


@final
class ApplyError(EndpointSliceError):
    """A plan was not carried out, or not all of it.

    Attributes:
        problems: One sentence for each operation that was not done, in the order of the plan.
        operations: How many operations the plan has.
    """

    def __init__(self, problems: tuple[str, ...], operations: int) -> None:
        super().__init__(problems, operations)
        self.problems = problems
        self.operations = operations

    def __str__(self) -> str:
        head = f"{len(self.problems)} of {self.operations} operations were not carried out"
        return "\n  ".join([f"{head}:", *self.problems])
