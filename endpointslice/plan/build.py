"""Packings -> ordered operations: recycle, put in safe order, carry metadata along."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

import attrs

from endpointslice.diff import Diff, Reason, StateDiff, sorted_reasons
from endpointslice.models import (
    ANNOTATION_TRIGGER_TIME,
    AddressType,
    EndpointKey,
    EndpointSlice,
    FrozenDict,
    GroupKey,
    ObjectMeta,
)
from endpointslice.packing import Packing, Placement, minimum_writes
from endpointslice.plan.operations import (
    CreateSlice,
    DeleteSlice,
    Operation,
    Plan,
    UpdateSlice,
)

__all__ = ["build_plan", "without_creates"]


@attrs.define(eq=False)
class _Write:
    """One operation while the plan is put together.

    Attributes:
        diff: The group that the slice belongs to afterwards.
        stored: The slice that is written; None for a create.
        placement: What it holds afterwards.
        reasons: Why it is written, so far.
    """

    diff: Diff
    stored: EndpointSlice | None
    placement: Placement
    reasons: list[Reason]

    @property
    def name(self) -> str:
        return self.placement.name

    def lost(self) -> Iterable[EndpointKey]:
        """Identities that the slice holds now and not afterwards, in stored order."""
        if self.stored is None:
            return ()
        stays = {endpoint.key for endpoint in self.placement.endpoints}
        return [key for key in self.stored._keys if key not in stays]


@attrs.define
class _Draft:
    """The operations of a plan, by what they do."""

    creates: list[_Write] = attrs.Factory(list)
    updates: list[_Write] = attrs.Factory(list)
    deletes: list[_Write] = attrs.Factory(list)
    has_moves: bool = False


def build_plan(state: StateDiff, packings: Iterable[Packing]) -> Plan:
    """Turn packings into ordered operations.

    Slices that a group frees are recycled for what another group of the same address type would
    create; the rest is created and deleted.

    Args:
        state: All groups of one owner.
        packings: One for each group of `state`, in the same order.

    Returns:
        The plan. Creates come by group and position; updates by group and name, unless moves
        ask for another order; deletes by group and name, slices of a stale owner last.

    Complexity: O(n + s log s) for n endpoints in s written slices.
    Source: k8s.io/endpointslice reconciler.go, finalize.
    """
    draft = _Draft()
    for diff, packing in zip(state.groups, packings, strict=True):
        if packing.placements or diff.needs_placeholder:
            _add_group(draft, diff, packing)
    _recycle(draft)
    updates = _order_by_moves(draft) if draft.has_moves else draft.updates
    template = state.template.metadata
    operations: list[Operation] = [
        CreateSlice(_new_slice(write, template), sorted_reasons(write.reasons))
        for write in draft.creates
    ]
    for write in updates:
        assert write.stored is not None
        after = _rewritten(write, write.stored, template)
        operations.append(UpdateSlice(write.stored, after, sorted_reasons(write.reasons)))
    for write in draft.deletes:
        assert write.stored is not None
        operations.append(DeleteSlice(write.stored, sorted_reasons(write.reasons)))
    operations += [DeleteSlice(stored, (Reason.STALE_OWNER,)) for stored in state.stale]
    written = {write.name for write in draft.updates + draft.deletes}
    return Plan(tuple(operations), _unchanged(state, written), minimum_writes(state))


def _add_group(draft: _Draft, diff: Diff, packing: Packing) -> None:
    dirty = {item.name: item for item in diff.dirty}
    placements = sorted(packing.placements, key=lambda item: item.name)
    needs_placeholder = diff.needs_placeholder
    for placement in placements:
        name = placement.name
        if not name:
            draft.creates.append(_Write(diff, None, placement, [Reason.ENDPOINTS_ADDED]))
            continue
        stored = diff.stored(name)
        item = dirty.get(name)
        write = _Write(diff, stored, placement, [] if item is None else list(item.reasons))
        if item is not None and item.adopted:
            draft.has_moves = True
        if placement.added:
            write.reasons.append(Reason.ENDPOINTS_ADDED)
        if placement.kept or placement.added:
            draft.updates.append(write)
        elif needs_placeholder:
            needs_placeholder = False
            write.reasons.append(Reason.PLACEHOLDER)
            draft.updates.append(write)
        else:
            write.reasons.append(Reason.EMPTY)
            draft.deletes.append(write)
    if needs_placeholder:
        draft.creates.append(_Write(diff, None, Placement(""), [Reason.PLACEHOLDER]))
    if sum(len(placement.added) for placement in placements) > len(diff.new):
        draft.has_moves = True


def _recycle(draft: _Draft) -> None:
    """Let slices that would be deleted be what would be created: one write instead of two.

    Pairs are made in order, within an address type, which can never change.
    """
    free: dict[AddressType, list[_Write]] = {}
    for write in draft.deletes:
        free.setdefault(write.diff.key.address_type, []).append(write)
    creates: list[_Write] = []
    recycled: set[int] = set()
    for write in draft.creates:
        candidates = free.get(write.diff.key.address_type)
        if not candidates:
            creates.append(write)
            continue
        donor = candidates.pop(0)
        recycled.add(id(donor))
        placement = attrs.evolve(write.placement, name=donor.name)
        reasons = [*write.reasons, Reason.RECYCLED]
        draft.updates.append(_Write(write.diff, donor.stored, placement, reasons))
        draft.has_moves = True
    draft.creates = creates
    draft.deletes = [write for write in draft.deletes if id(write) not in recycled]
    if recycled:
        draft.updates.sort(key=lambda write: (write.diff.key.sort_key, write.name))


def _order_by_moves(draft: _Draft) -> list[_Write]:
    """Put every update after those that take over what it loses; note moves as reasons.

    Ties go by group and name. Within a group moves make no cycle. Between groups they can,
    where endpoints change ports crosswise; an endpoint with other ports is another endpoint to
    consumers, so such a cycle is cut at its first slice.
    """
    arrivals: dict[tuple[AddressType, EndpointKey], list[_Write]] = {}
    for write in (*draft.creates, *draft.updates):
        kind = write.diff.key.address_type
        for endpoint in write.placement.added:
            arrivals.setdefault((kind, endpoint.key), []).append(write)
        if write.stored is not None and write.stored.group_key != write.diff.key:
            for endpoint in write.placement.kept:
                arrivals.setdefault((kind, endpoint.key), []).append(write)
    position = {id(write): i for i, write in enumerate(draft.updates)}
    waiting_for: list[set[int]] = [set() for _ in draft.updates]
    releases: list[list[int]] = [[] for _ in draft.updates]
    for write in (*draft.updates, *draft.deletes):
        assert write.stored is not None
        kind = write.stored.address_type
        before = write.stored.group_key
        for key in write.lost():
            for receiver in arrivals.get((kind, key), ()):
                if receiver.diff.key == before:
                    receiver.reasons.append(Reason.ENDPOINTS_MOVED_IN)
                    write.reasons.append(Reason.ENDPOINTS_MOVED_OUT)
                source, target = position.get(id(write)), position.get(id(receiver))
                if source is not None and target is not None and target not in waiting_for[source]:
                    waiting_for[source].add(target)
                    releases[target].append(source)
    blocked = [len(found) for found in waiting_for]
    ready = [i for i, count in enumerate(blocked) if not count]
    heapify(ready)
    left = set(range(len(blocked)))
    order: list[_Write] = []
    while left:
        i = heappop(ready) if ready else min(left)
        if i not in left:
            continue
        left.remove(i)
        order.append(draft.updates[i])
        for released in releases[i]:
            blocked[released] -= 1
            if not blocked[released]:
                heappush(ready, released)
    return order


def _unchanged(state: StateDiff, written: set[str]) -> tuple[EndpointSlice, ...]:
    left = [
        diff.stored(item.name)
        for diff in state.groups
        for items in (diff.dirty, diff.clean)
        for item in items
        if item.name not in written
    ]
    left.sort(key=lambda stored: stored.name)
    return tuple(left)


def _new_slice(write: _Write, template: ObjectMeta) -> EndpointSlice:
    return EndpointSlice(
        metadata=template,
        address_type=write.diff.key.address_type,
        ports=write.diff.key.ports,
        endpoints=write.placement.endpoints,
    )


def _rewritten(write: _Write, stored: EndpointSlice, template: ObjectMeta) -> EndpointSlice:
    """The stored slice with its new content. All that we do not manage stays."""
    key = write.diff.key
    return EndpointSlice(
        metadata=_rewritten_metadata(stored.metadata, template),
        address_type=stored.address_type,
        ports=stored.ports if stored.group_key == key else key.ports,
        endpoints=write.placement.endpoints,
        extra=stored.extra,
    )


def _rewritten_metadata(stored: ObjectMeta, template: ObjectMeta) -> ObjectMeta:
    annotations = dict(stored.annotations)
    annotations.pop(ANNOTATION_TRIGGER_TIME, None)
    annotations.update(template.annotations)
    uids = {owner.uid for owner in stored.owner_references}
    missing = tuple(owner for owner in template.owner_references if owner.uid not in uids)
    return ObjectMeta(
        namespace=stored.namespace,
        name=stored.name,
        generate_name=stored.generate_name,
        uid=stored.uid,
        resource_version=stored.resource_version,
        generation=stored.generation,
        labels=template.labels,
        annotations=FrozenDict(annotations),
        owner_references=stored.owner_references + missing,
        creation_timestamp=stored.creation_timestamp,
        deletion_timestamp=stored.deletion_timestamp,
        extra=stored.extra,
    )


def without_creates(plan: Plan) -> Plan:
    """Return the plan as it is for an owner that is being deleted: no slice is created.

    A new slice would race with the garbage collector. Operations that only move endpoints into
    such a slice fall away with it, so that nothing is lost before its time.

    Complexity: O(n) for n endpoints in written slices.
    Source: k8s.io/endpointslice reconciler.go, finalize.
    """
    gone: set[tuple[GroupKey, EndpointKey]] = set()
    for create in plan.creates:
        gone.update((create.after.group_key, key) for key in create.after._keys)
    if not plan.creates:
        return plan
    kept: list[Operation] = []
    unchanged = list(plan.unchanged)
    for operation in plan.operations:
        if isinstance(operation, CreateSlice):
            continue
        before, after = operation.before, operation.after
        stays = set() if after is None else set(after._keys)
        group = before.group_key
        if any((group, key) in gone for key in before._keys if key not in stays):
            unchanged.append(before)
        else:
            kept.append(operation)
    unchanged.sort(key=lambda stored: stored.name)
    return Plan(tuple(kept), tuple(unchanged), min(plan.minimum_writes, len(kept)))
