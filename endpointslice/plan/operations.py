"""The values: one operation is one API call, a plan is an ordered sequence of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias, final

import attrs

from endpointslice.diff import Reason
from endpointslice.models import EndpointKey, EndpointSlice, GroupKey, open_twin

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
@attrs.frozen(weakref_slot=False)
class UpdateSlice:
    """Replace a slice. `after` carries the resource_version that it was planned against."""

    before: EndpointSlice
    after: EndpointSlice
    reasons: tuple[Reason, ...]


def update_slice(
    before: EndpointSlice, after: EndpointSlice, reasons: tuple[Reason, ...]
) -> UpdateSlice:
    """Make an UpdateSlice, of which plans have many."""
    made = _OpenUpdate()
    made.before = before
    made.after = after
    made.reasons = reasons
    made.__class__ = UpdateSlice
    return made  # type: ignore[no-any-return]


_OpenUpdate: Final = open_twin(UpdateSlice)


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


def places(stored: EndpointSlice | None) -> set[tuple[GroupKey, EndpointKey]]:
    """Which endpoints of which group a slice holds: with other ports it is another backend."""
    if stored is None:
        return set()
    group = stored.group_key
    return {(group, key) for key in stored.keys}


_Slices: TypeAlias = tuple[EndpointSlice, ...]


def _gathered(unchanged: _Slices | Callable[[], _Slices]) -> _Slices:
    return unchanged() if callable(unchanged) else unchanged


@final
@attrs.frozen(weakref_slot=False)
class Plan:
    """What to write, in order.

    Attributes:
        operations: One API call each, in an order that is safe after every prefix.
        minimum_writes: The fewest writes with which any plan reaches the same state.
    """

    operations: tuple[Operation, ...] = ()
    #: Or how to gather them: there may be thousands, and hardly anybody asks.
    _unchanged: _Slices | Callable[[], _Slices] = attrs.field(default=(), eq=_gathered, repr=False)
    minimum_writes: int = 0

    @property
    def unchanged(self) -> tuple[EndpointSlice, ...]:
        """The owner's slices that stay as they are, by name. Gathered when first asked for."""
        found = _gathered(self._unchanged)
        object.__setattr__(self, "_unchanged", found)
        return found

    def __reduce__(self) -> tuple[type[Plan], tuple[object, ...]]:
        return Plan, (self.operations, self.unchanged, self.minimum_writes)

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


def make_plan(
    operations: tuple[Operation, ...],
    unchanged: _Slices | Callable[[], _Slices],
    minimum_writes: int,
) -> Plan:
    """Make a Plan; `unchanged` are its slices, or how to gather them."""
    made = _OpenPlan()
    made.operations = operations
    made._unchanged = unchanged
    made.minimum_writes = minimum_writes
    made.__class__ = Plan
    return made  # type: ignore[no-any-return]


_OpenPlan: Final = open_twin(Plan)
