"""Say what a plan costs, and why each slice is written: as data, for others to render."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import compress, count, filterfalse
from operator import is_not
from typing import TypeAlias, final

import attrs

from endpointslice.cost import Cost
from endpointslice.diff import Reason
from endpointslice.models import Endpoint, EndpointKey, EndpointSlice, GroupKey, _key_of
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


@attrs.define(eq=False)
class _Group:
    """Who comes and goes in the slices of one group.

    Attributes:
        comes: Identities that a slice has afterwards and did not have before.
        goes: Identities that a slice had before and has not afterwards.
        homes: Where those that come were before, and how they were.
        stays: Those that go and are in some slice afterwards.
    """

    comes: set[EndpointKey] = attrs.Factory(set)
    goes: set[EndpointKey] = attrs.Factory(set)
    homes: dict[EndpointKey, tuple[str, Endpoint]] = attrs.Factory(dict)
    stays: set[EndpointKey] = attrs.Factory(set)


_Groups: TypeAlias = defaultdict[GroupKey, _Group]


@attrs.define(eq=False)
class _Change:
    """One operation, before and after compared.

    Attributes:
        operation: The operation.
        differing: What the slice holds afterwards and not just so before, each with how it was
            there; None if it was not there, or for another group.
        lost: What it held before and holds not afterwards, or for another group.
    """

    operation: Operation
    differing: list[tuple[Endpoint | None, Endpoint]]
    lost: list[Endpoint]


def explain_plan(plan: Plan) -> tuple[Explanation, ...]:
    """Say why each slice is written, and what happens to its endpoints.

    Returns:
        One explanation for each operation, in the plan's order; endpoints in stored order.

    Complexity: O(n) for n endpoints.
    """
    # Most endpoints stay where they are. Only those that come or go are looked for elsewhere.
    groups: _Groups = defaultdict(_Group)
    changes = [_compared(operation, groups) for operation in plan.operations]
    for operation in plan.operations:
        before, after = operation.before, operation.after
        if before is not None:
            _find_homes(groups[before.group_key], before)
        if after is not None:
            group = groups[after.group_key]
            group.stays.update(group.goes.intersection(after.keys))
    gone = set[EndpointKey]().union(*(group.goes - group.stays for group in groups.values()))
    for stored in plan.unchanged if gone else ():
        if not gone.isdisjoint(stored.keys):
            group = groups[stored.group_key]
            group.stays.update(group.goes.intersection(stored.keys))
    return tuple(_explained(change, groups) for change in changes)


def _compared(operation: Operation, groups: _Groups) -> _Change:
    before, after = operation.before, operation.after
    old: dict[EndpointKey, Endpoint] = {}
    if before is not None:
        old = dict(zip(before.keys, before.endpoints, strict=True))
    keys: Sequence[EndpointKey] = () if after is None else after.keys
    new: Sequence[Endpoint] = () if after is None else after.endpoints
    is_same_group = before is None or after is None or before.group_key == after.group_key
    found = [*map(old.get, keys)] if is_same_group else [None] * len(keys)
    differing = [(found[i], new[i]) for i in compress(count(), map(is_not, found, new))]
    kept = set(keys) if is_same_group else set[EndpointKey]()
    lost = [old[key] for key in filterfalse(kept.__contains__, old)]
    if after is not None:
        groups[after.group_key].comes.update(item.key for was, item in differing if was is None)
    if before is not None:
        groups[before.group_key].goes.update(map(_key_of, lost))
    return _Change(operation, differing, lost)


def _find_homes(group: _Group, stored: EndpointSlice) -> None:
    """Note which endpoints that come are in a slice; the first place counts."""
    if not group.comes.isdisjoint(stored.keys):
        for endpoint in stored.endpoints:
            if endpoint.key in group.comes:
                group.homes.setdefault(endpoint.key, (stored.name, endpoint))


def _explained(change: _Change, groups: _Groups) -> Explanation:
    operation = change.operation
    key = (operation.after or operation.before).group_key
    homes = groups[key].homes
    stays = groups[(operation.before or operation.after).group_key].stays
    added, changed, moved_in = [], [], []
    for there, endpoint in change.differing:
        home, was = "", there
        if was is None and endpoint.key in homes:
            home, was = homes[endpoint.key]
            moved_in.append((endpoint, home))
        if was is None:
            added.append(endpoint)
        elif was != endpoint:
            changed.append((was, endpoint))
    return Explanation(
        operation=operation,
        key=key,
        reasons=operation.reasons,
        added=tuple(added),
        removed=tuple(item for item in change.lost if item.key not in stays),
        changed=tuple(changed),
        moved_in=tuple(moved_in),
        moved_out=tuple(item for item in change.lost if item.key in stays),
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
