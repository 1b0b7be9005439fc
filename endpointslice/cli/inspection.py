"""EndpointSlices -> how well each Service's endpoints are packed, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import final

import attrs

from endpointslice import (
    LABEL_MANAGED_BY,
    LABEL_SERVICE_NAME,
    EndpointSlice,
    measure_fill,
    protobuf_size,
)
from endpointslice.cli.planning import joined

__all__ = ["Inspection", "inspect_slices"]


@final
@attrs.frozen(kw_only=True)
class Inspection:
    """The slices that one manager keeps for one Service.

    Attributes:
        service: The Service that they name; "" if they name none.
        manager: Who writes them; "" if they do not say.
        slices: Their names, in order.
        endpoints: How many endpoints stand in them, copies among them.
        ready: How many of these are ready.
        duplicates: How many are copies.
        ideal_slices: How many slices would do: for each group ceil(endpoints / capacity), and
            one at least for each address type.
        capacity: How many endpoints the slices can hold.
        bytes: Protobuf bytes of all of them.
        update_bytes: What a change of one endpoint sends to one watcher: the size of its slice,
            averaged over all endpoints and rounded up.
        largest_bytes: The size of the largest slice: the most that a change sends.
        problems: What is wrong, one sentence each.
    """

    namespace: str
    service: str
    manager: str
    slices: tuple[str, ...]
    endpoints: int
    ready: int
    duplicates: int
    ideal_slices: int
    capacity: int
    bytes: int
    update_bytes: int
    largest_bytes: int
    problems: tuple[str, ...]

    @property
    def title(self) -> str:
        """How people call the Service: namespace/name."""
        return joined(self.namespace, self.service or "<none>")

    @property
    def wasted_slices(self) -> int:
        """How many slices there are too many."""
        return max(0, len(self.slices) - self.ideal_slices)


def inspect_slices(
    slices: Iterable[EndpointSlice], *, max_endpoints_per_slice: int
) -> tuple[Inspection, ...]:
    """Look at every Service's slices.

    Returns:
        One Inspection for each namespace, Service and manager: those that waste most slices
        first, then those with most duplicates, then those with the dearest updates.

    Complexity: O(n log n) for n endpoints.
    """
    owned: dict[tuple[str, str], dict[str, list[EndpointSlice]]] = {}
    for item in slices:
        labels = item.metadata.labels
        owner = (item.metadata.namespace, labels.get(LABEL_SERVICE_NAME, ""))
        manager = labels.get(LABEL_MANAGED_BY, "")
        owned.setdefault(owner, {}).setdefault(manager, []).append(item)
    found = [
        _inspection(owner, manager, items, sorted(managers), max_endpoints_per_slice)
        for owner, managers in owned.items()
        for manager, items in managers.items()
    ]
    found.sort(
        key=lambda item: (
            -item.wasted_slices,
            -item.duplicates,
            -item.update_bytes,
            (item.namespace, item.service, item.manager),
        )
    )
    return tuple(found)


def _inspection(
    owner: tuple[str, str],
    manager: str,
    slices: Sequence[EndpointSlice],
    managers: Sequence[str],
    max_endpoints_per_slice: int,
) -> Inspection:
    slices = sorted(slices, key=lambda item: item.name)
    fill = measure_fill(slices, max_endpoints_per_slice=max_endpoints_per_slice)
    ideal, duplicates = fill.desired_slices, fill.duplicates
    total = fill.endpoints + duplicates
    sizes = [protobuf_size(item) for item in slices]
    sent = sum(size * len(item.endpoints) for size, item in zip(sizes, slices, strict=True))
    problems = []
    if len(slices) > ideal:
        problems.append(f"{len(slices)} slices where {ideal} would do")
    if duplicates:
        problems.append(f"{duplicates} of {total} endpoints are duplicates")
    problems += _problems(slices, owner[1], manager, ideal, max_endpoints_per_slice)
    others = [other or "<none>" for other in managers if other != manager]
    if others and owner[1]:
        problems.append(f"other managers write slices of this Service too: {', '.join(others)}")
    return Inspection(
        namespace=owner[0],
        service=owner[1],
        manager=manager,
        slices=tuple(item.name for item in slices),
        endpoints=total,
        ready=sum(endpoint.conditions.ready for item in slices for endpoint in item.endpoints),
        duplicates=duplicates,
        ideal_slices=ideal,
        capacity=len(slices) * max_endpoints_per_slice,
        bytes=sum(sizes),
        update_bytes=-(-sent // total) if total else 0,
        largest_bytes=max(sizes),
        problems=tuple(problems),
    )


def _problems(
    slices: Sequence[EndpointSlice], service: str, manager: str, ideal: int, capacity: int
) -> Iterable[str]:
    """What is wrong with single slices, worst first."""
    over = [item for item in slices if len(item.endpoints) > capacity]
    if over:
        yield f"{_count(over, 'slice')} over {capacity} endpoints: {_names(over)}"
    if not service:
        yield f"no label {LABEL_SERVICE_NAME}, so no consumer reads them: {_names(slices)}"
    if not manager:
        yield f"no label {LABEL_MANAGED_BY}, so no controller looks after them: {_names(slices)}"
    empty = [item for item in slices if not item.endpoints]
    if empty and len(slices) > ideal:
        yield f"{_count(empty, 'empty slice')}: {_names(empty)}"
    orphans = [item for item in slices if not item.metadata.owner_references]
    if orphans and service:
        yield f"no owner, so nothing removes them with the Service: {_names(orphans)}"
    by_owner: Mapping[str, None] = dict.fromkeys(
        owner.uid
        for item in slices
        for owner in item.metadata.owner_references
        if owner.kind == "Service"
    )
    if len(by_owner) > 1:
        yield f"owned by {len(by_owner)} Services of one name, some of them gone: {_names(slices)}"
    leaving = [item for item in slices if item.metadata.deletion_timestamp is not None]
    if leaving:
        yield f"{_count(leaving, 'slice')} being deleted: {_names(leaving)}"


def _count(items: Sequence[EndpointSlice], noun: str) -> str:
    return f"{len(items)} {noun}" + ("s" if len(items) != 1 else "")


def _names(items: Sequence[EndpointSlice]) -> str:
    names = ", ".join(item.name for item in items[:3])
    return names if len(items) <= 3 else f"{names} and {len(items) - 3} more"
