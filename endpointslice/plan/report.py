"""Say what a plan costs, and why each slice is written: as data, for others to render."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias, final

import attrs

from endpointslice.cost import Cost
from endpointslice.diff import Reason
from endpointslice.models import Endpoint, EndpointKey, EndpointSlice, GroupKey
from endpointslice.plan.operations import Operation, Plan
from endpointslice.sizing import protobuf_size

__all__ = ["Explanation", "explain_plan", "price_plan"]


@final
@attrs.frozen(kw_only=True)
class Explanation:
    """Why one slice is written, and what happens to whom.

    Attributes:
        operation: The operation.
        key: The slice's group afterwards; before, for a delete.
        reasons: Why, in the order of `Reason`.
        added: Endpoints of the group that were in no slice of it before.
        removed: Endpoints that are in no slice of their group afterwards.
        changed: Endpoints whose content changes, before and after; those that move in too.
        moved_in: Endpoints that come from another slice of the group, and its name.
        moved_out: Endpoints that go to another slice of the group.
    """

    operation: Operation
    key: GroupKey
    reasons: tuple[Reason, ...]
    added: tuple[Endpoint, ...] = ()
    removed: tuple[Endpoint, ...] = ()
    changed: tuple[tuple[Endpoint, Endpoint], ...] = ()
    moved_in: tuple[tuple[Endpoint, str], ...] = ()
    moved_out: tuple[Endpoint, ...] = ()


#: Where an endpoint of a group was, and how it was.
_Homes: TypeAlias = Mapping[tuple[GroupKey, EndpointKey], tuple[str, Endpoint]]
_Contents: TypeAlias = dict[tuple[GroupKey, EndpointKey], Endpoint]


def _contents(slices: Iterable[EndpointSlice | None]) -> _Contents:
    found: _Contents = {}
    for stored in slices:
        if stored is not None:
            key = stored.group_key
            for endpoint in stored.endpoints:
                found.setdefault((key, endpoint.key), endpoint)
    return found


def explain_plan(plan: Plan) -> tuple[Explanation, ...]:
    """Say why each slice is written, and what happens to its endpoints.

    Returns:
        One explanation for each operation, in the plan's order; endpoints in stored order.

    Complexity: O(n) for n endpoints.
    """
    homes: dict[tuple[GroupKey, EndpointKey], tuple[str, Endpoint]] = {}
    for operation in plan.operations:
        if operation.before is not None:
            key = operation.before.group_key
            for endpoint in operation.before.endpoints:
                homes.setdefault((key, endpoint.key), (operation.before.name, endpoint))
    after = _contents((*plan.unchanged, *(operation.after for operation in plan.operations)))
    return tuple(_explained(operation, homes, after) for operation in plan.operations)


def _explained(operation: Operation, homes: _Homes, after: _Contents) -> Explanation:
    before_slice, after_slice = operation.before, operation.after
    key = (operation.after or operation.before).group_key
    old: dict[EndpointKey, Endpoint] = {}
    old_key = key
    if before_slice is not None:
        old_key = before_slice.group_key
        old = {endpoint.key: endpoint for endpoint in before_slice.endpoints}
    added, changed, moved_in = [], [], []
    new: Sequence[Endpoint] = () if after_slice is None else after_slice.endpoints
    same_group = old_key == key
    for endpoint in new:
        was = old.get(endpoint.key) if same_group else None
        if was is None and (key, endpoint.key) in homes:
            home, was = homes[key, endpoint.key]
            moved_in.append((endpoint, home))
        if was is None:
            added.append(endpoint)
        elif was != endpoint:
            changed.append((was, endpoint))
    stays = {endpoint.key for endpoint in new} if same_group else frozenset[EndpointKey]()
    lost = [endpoint for name, endpoint in old.items() if name not in stays]
    return Explanation(
        operation=operation,
        key=key,
        reasons=operation.reasons,
        added=tuple(added),
        removed=tuple(item for item in lost if (old_key, item.key) not in after),
        changed=tuple(changed),
        moved_in=tuple(moved_in),
        moved_out=tuple(item for item in lost if (old_key, item.key) in after),
    )


def price_plan(plan: Plan) -> Cost:
    """Return what a plan costs.

    Sizes are of the objects as they are sent: what the server adds to a slice that it creates
    (name, uid, versions, time) is not in them.

    Complexity: O(n) for n endpoints in written slices.
    """
    explained = explain_plan(plan)
    sent = (operation.after or operation.before for operation in plan.operations)
    return Cost(
        creates=len(plan.creates),
        updates=len(plan.updates),
        deletes=len(plan.deletes),
        bytes_written=sum(map(protobuf_size, sent)),
        endpoints_added=sum(len(item.added) for item in explained),
        endpoints_removed=sum(len(item.removed) for item in explained),
        endpoints_changed=sum(len(item.changed) for item in explained),
        endpoints_moved=sum(len(item.moved_in) for item in explained),
    )
