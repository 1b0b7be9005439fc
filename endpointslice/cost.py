"""What a plan, or many, cost a cluster; and how well what stands is packed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Self, TypeVar, final

import attrs

from endpointslice.models import (
    DEFAULT_MAX_ENDPOINTS_PER_SLICE,
    AddressType,
    EndpointKey,
    EndpointSlice,
    GroupKey,
    check_max_endpoints_per_slice,
)

__all__ = ["Cost", "Fill", "measure_fill"]

_T = TypeVar("_T", bound="Cost | Fill")


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
        return _sum(self, other)


@final
@attrs.frozen(kw_only=True)
class Fill:
    """How well endpoints are packed. Fills of Services add up.

    Attributes:
        slices: How many there are.
        desired_slices: How many would do.
        endpoints: How many are in them, each counted once.
        duplicates: How many copies there are besides.
    """

    slices: int = 0
    desired_slices: int = 0
    endpoints: int = 0
    duplicates: int = 0

    def __add__(self, other: Self) -> Self:
        if not isinstance(other, Fill):
            return NotImplemented
        return _sum(self, other)


def measure_fill(
    slices: Iterable[EndpointSlice],
    *,
    max_endpoints_per_slice: int = DEFAULT_MAX_ENDPOINTS_PER_SLICE,
) -> Fill:
    """Say how well the endpoints of one Service are packed.

    Args:
        slices: The slices that one manager keeps for the Service, in any order.
        max_endpoints_per_slice: Capacity in endpoints, 1..1000.

    Returns:
        The figures. It would do with ceil(endpoints / capacity) slices for each group, and with
        one for an address type without endpoints.

    Raises:
        ModelError: The capacity is not 1..1000.

    Complexity: O(n) for n endpoints.
    Source: k8s.io/endpointslice metrics/cache.go.
    """
    capacity = check_max_endpoints_per_slice(max_endpoints_per_slice)
    groups: defaultdict[GroupKey, set[EndpointKey]] = defaultdict(set)
    count = total = 0
    for stored in slices:
        count += 1
        total += len(stored.endpoints)
        groups[stored.group_key].update(stored.keys)
    desired: Counter[AddressType] = Counter()
    for group, keys in groups.items():
        desired[group.address_type] += -(-len(keys) // capacity)
    endpoints = sum(map(len, groups.values()))
    return Fill(
        slices=count,
        desired_slices=sum(max(1, needed) for needed in desired.values()),
        endpoints=endpoints,
        duplicates=total - endpoints,
    )


def _sum(some: _T, other: object) -> _T:
    """Add two values of one class, figure by figure."""
    names = [field.name for field in attrs.fields(type(some))]
    return type(some)(**{name: getattr(some, name) + getattr(other, name) for name in names})
