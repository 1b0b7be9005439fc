"""What a plan, or many, cost a cluster."""

from __future__ import annotations

from typing import Self, final

import attrs

__all__ = ["Cost"]


@final
@attrs.frozen(kw_only=True)
class Cost:
    """The price of writes. Costs add up, so a history's cost is the sum of its plans'.

    Attributes:
        creates: Slices created.
        updates: Slices updated.
        deletes: Slices deleted.
        bytes_written: Protobuf bytes of every object that is written or deleted, each once. A
            delete counts, for the API server sends the last state to every watcher.
        endpoints_added: Endpoints that were in no slice of their group before.
        endpoints_removed: Endpoints that are in no slice of their group afterwards.
        endpoints_changed: Endpoints that stay and whose content changes.
        endpoints_moved: Endpoints that stay in their group and change slice. Consumers see two
            copies of each for a moment.
    """

    creates: int = 0
    updates: int = 0
    deletes: int = 0
    bytes_written: int = 0
    endpoints_added: int = 0
    endpoints_removed: int = 0
    endpoints_changed: int = 0
    endpoints_moved: int = 0

    @property
    def writes(self) -> int:
        """API calls: creates, updates and deletes."""
        return self.creates + self.updates + self.deletes

    def bytes_on_wire(self, watchers: int) -> int:
        """Bytes that the API server sends: every write goes to every watcher whole."""
        return self.bytes_written * watchers

    def __add__(self, other: Self) -> Self:
        if not isinstance(other, Cost):
            return NotImplemented
        return type(self)(
            **{
                field.name: getattr(self, field.name) + getattr(other, field.name)
                for field in attrs.fields(Cost)
            }
        )
