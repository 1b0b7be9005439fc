"""The values: one operation is one API call, a plan is an ordered sequence of them."""

from __future__ import annotations

from typing import TypeAlias, final

import attrs

from endpointslice.diff import Reason
from endpointslice.models import EndpointSlice

__all__ = ["CreateSlice", "DeleteSlice", "Operation", "Plan", "UpdateSlice"]


@final
@attrs.frozen
class CreateSlice:
    """Create a slice; the API server names it after its generate_name."""

    after: EndpointSlice
    reasons: tuple[Reason, ...]

    @property
    def before(self) -> None:
        """There was none."""
        return None


@final
@attrs.frozen
class UpdateSlice:
    """Replace a slice. `after` carries the resource_version that it was planned against."""

    before: EndpointSlice
    after: EndpointSlice
    reasons: tuple[Reason, ...]


@final
@attrs.frozen
class DeleteSlice:
    """Delete a slice."""

    before: EndpointSlice
    reasons: tuple[Reason, ...]

    @property
    def after(self) -> None:
        """There is none."""
        return None


Operation: TypeAlias = CreateSlice | UpdateSlice | DeleteSlice


@final
@attrs.frozen
class Plan:
    """What to write, in order.

    Attributes:
        operations: One API call each, in an order that is safe after every prefix.
        unchanged: The owner's slices that stay as they are, by name.
        minimum_writes: The fewest writes with which any plan reaches the same state.
    """

    operations: tuple[Operation, ...] = ()
    unchanged: tuple[EndpointSlice, ...] = ()
    minimum_writes: int = 0

    @property
    def creates(self) -> tuple[CreateSlice, ...]:
        """The creates, in order."""
        return tuple(item for item in self.operations if isinstance(item, CreateSlice))

    @property
    def updates(self) -> tuple[UpdateSlice, ...]:
        """The updates, in order."""
        return tuple(item for item in self.operations if isinstance(item, UpdateSlice))

    @property
    def deletes(self) -> tuple[DeleteSlice, ...]:
        """The deletes, in order."""
        return tuple(item for item in self.operations if isinstance(item, DeleteSlice))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.operations
