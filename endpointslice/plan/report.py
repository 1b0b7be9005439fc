"""Say what a plan costs, and why each slice is written: as data, for others to render."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress, count, filterfalse
from operator import is_not
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


_Keys: TypeAlias = dict[GroupKey, set[EndpointKey]]
#: Where an endpoint of a group was, and how it was.
_Homes: TypeAlias = dict[GroupKey, dict[EndpointKey, tuple[str, Endpoint]]]


def explain_plan(plan: Plan) -> tuple[Explanation, ...]:
    """Say why each slice is written, and what happens to its endpoints.

    Returns:
        One explanation for each operation, in the plan's order; endpoints in stored order.

    Complexity: O(n) for n endpoints.
    """
    # Most endpoints stay where they are. Only those that come or go are looked for elsewhere.
    comes: _Keys = {}
    goes: _Keys = {}
    for operation in plan.operations:
        before, after = operation.before, operation.after
        if after is not None:
            comes.setdefault(after.group_key, set()).update(_beyond(after, before))
        if before is not None:
            goes.setdefault(before.group_key, set()).update(_beyond(before, after))
    homes: _Homes = {}
    for operation in plan.operations:
        before = operation.before
        if before is not None:
            group = before.group_key
            found = comes.get(group, set()).intersection(before.keys)
            known = homes.setdefault(group, {})
            for endpoint in before.endpoints if found else ():
                if endpoint.key in found:
                    known.setdefault(endpoint.key, (before.name, endpoint))
    elsewhere: _Keys = {}
    for stored in (*plan.unchanged, *(operation.after for operation in plan.operations)):
        if stored is not None:
            group = stored.group_key
            found = goes.get(group, set()).intersection(stored.keys)
            elsewhere.setdefault(group, set()).update(found)
    return tuple(_explained(operation, homes, elsewhere) for operation in plan.operations)


def _beyond(one: EndpointSlice, other: EndpointSlice | None) -> set[EndpointKey]:
    """Identities that a slice has in one state and, in that group, not in the other."""
    if other is None or other.group_key != one.group_key:
        return set(one.keys)
    return set(one.keys).difference(other.keys)


def _explained(operation: Operation, homes: _Homes, elsewhere: _Keys) -> Explanation:
    before, after = operation.before, operation.after
    key = (operation.after or operation.before).group_key
    old: dict[EndpointKey, Endpoint] = {}
    old_key = key
    if before is not None:
        old_key = before.group_key
        old = dict(zip(before.keys, before.endpoints, strict=True))
    added, changed, moved_in = [], [], []
    stays: Mapping[EndpointKey, Endpoint] = old if old_key == key else {}
    keys: Sequence[EndpointKey] = () if after is None else after.keys
    new: Sequence[Endpoint] = () if after is None else after.endpoints
    found = list(map(stays.get, keys))
    for i in compress(count(), map(is_not, found, new)):
        was, endpoint = found[i], new[i]
        if was is None and endpoint.key in homes.get(key, {}):
            home, was = homes[key][endpoint.key]
            moved_in.append((endpoint, home))
        if was is None:
            added.append(endpoint)
        elif was != endpoint:
            changed.append((was, endpoint))
    kept = set(keys) if old_key == key else set[EndpointKey]()
    lost = [old[name] for name in filterfalse(kept.__contains__, old)]
    still_there = elsewhere.get(old_key, set())
    return Explanation(
        operation=operation,
        key=key,
        reasons=operation.reasons,
        added=tuple(added),
        removed=tuple(item for item in lost if item.key not in still_there),
        changed=tuple(changed),
        moved_in=tuple(moved_in),
        moved_out=tuple(item for item in lost if item.key in still_there),
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
