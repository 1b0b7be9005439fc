"""Packings -> ordered operations: recycle, put in safe order, carry metadata along."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain, filterfalse
from operator import attrgetter, itemgetter
from typing import Final

import attrs

from endpointslice.diff import Diff, Reason, StateDiff, sorted_reasons
from endpointslice.models import (
    ANNOTATION_TRIGGER_TIME,
    AddressType,
    Endpoint,
    EndpointKey,
    EndpointSlice,
    FrozenDict,
    GroupKey,
    ObjectMeta,
    SliceTemplate,
    _key_of,
    _make_slice,
)
from endpointslice.packing import Packing, Placement, minimum_writes
from endpointslice.packing.placement import topological_order
from endpointslice.plan.operations import (
    CreateSlice,
    DeleteSlice,
    Operation,
    Plan,
    make_plan,
    places,
    update_slice,
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
        home: The group that the slice belongs to now; None for a create, and for a slice that
            was adopted: nobody is left of its group.
        holds: Endpoints whose one copy that counts is in the slice now: they stay in their
            group if no strategy moves them. Not those of a slice adopted from another group.
    """

    diff: Diff
    stored: EndpointSlice | None
    placement: Placement
    reasons: set[Reason]
    home: Diff | None = None
    holds: tuple[Endpoint, ...] = ()

    @property
    def name(self) -> str:
        return self.placement.name

    @property
    def arrives(self) -> tuple[Endpoint, ...]:
        """What it holds afterwards and did not before: all, if it was another group's."""
        return self.placement.added if self.home is self.diff else self.placement.endpoints


@attrs.define
class _Draft:
    """The operations of a plan, by what they do."""

    creates: list[_Write] = attrs.Factory(list)
    updates: list[_Write] = attrs.Factory(list)
    deletes: list[_Write] = attrs.Factory(list)
    has_moves: bool = False


def build_plan(
    state: StateDiff,
    packings: Iterable[Packing],
    *,
    unchanged: Callable[[Collection[str]], Callable[[], tuple[EndpointSlice, ...]]] | None = None,
) -> Plan:
    """Turn packings into ordered operations.

    Slices that a group frees are recycled for what another group of the same address type would
    create; the rest is created and deleted.

    Args:
        state: All groups of one owner.
        packings: One for each group of `state`, in the same order.
        unchanged: How to gather, when somebody asks, all slices but those of these names; by
            default they are gathered at once.

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
    if draft.has_moves:
        _renew(draft)
    updates = _order_by_moves(draft) if draft.has_moves else draft.updates
    template = state.template
    labelled = _Labelled(template)
    operations: list[Operation] = []
    for write in draft.creates:
        after = _new_slice(write, labelled[write.placement.labels].metadata)
        operations.append(CreateSlice(after, sorted_reasons(write.reasons)))
    for write in updates:
        assert write.stored is not None
        wanted, labels = template, write.placement.labels
        if labels:
            wanted = labelled[labels]
            if not labels.items() <= write.stored.metadata.labels.items():
                write.reasons.add(Reason.PART_CHANGED)
        after = _rewritten(write, write.stored, wanted)
        operations.append(update_slice(write.stored, after, sorted_reasons(write.reasons)))
    for write in draft.deletes:
        assert write.stored is not None
        operations.append(DeleteSlice(write.stored, sorted_reasons(write.reasons)))
    operations += [DeleteSlice(stored, (Reason.STALE_OWNER,)) for stored in state.stale]
    written = {write.name for write in draft.updates + draft.deletes}
    gather = _unchanged(state, written) if unchanged is None else unchanged(written)
    return make_plan(tuple(operations), gather, minimum_writes(state))


class _Labelled(dict[FrozenDict[str, str], SliceTemplate]):
    """What slices carry, by the labels that they have beside the template's."""

    def __init__(self, template: SliceTemplate) -> None:
        self._template = template

    def __missing__(self, labels: FrozenDict[str, str]) -> SliceTemplate:
        ours = self._template.metadata
        metadata = ObjectMeta(
            namespace=ours.namespace,
            generate_name=ours.generate_name,
            labels=FrozenDict({**ours.labels, **labels}) if labels else ours.labels,
            annotations=ours.annotations,
            owner_references=ours.owner_references,
        )
        made = self[labels] = attrs.evolve(self._template, metadata=metadata)
        return made


def _add_group(draft: _Draft, diff: Diff, packing: Packing) -> None:
    dirty = {item.name: item for item in diff.dirty}
    placements = sorted(packing.placements, key=_name_of)
    needs_placeholder = diff.needs_placeholder
    has_moves = sum([len(placement.added) for placement in placements]) > len(diff.new)
    draft.has_moves = draft.has_moves or has_moves
    new: set[EndpointKey] = set()
    if has_moves:
        # To the group, what adopted slices bring is new as well.
        sources = (diff.new, *(item.endpoints for item in diff.dirty if item.adopted))
        new.update(map(_key_of, chain.from_iterable(sources)))
    for placement in placements:
        name = placement.name
        is_added = not has_moves or not new.isdisjoint(map(_key_of, placement.added))
        if not name:
            reasons = {Reason.ENDPOINTS_ADDED} if is_added else set()
            if not placement.added:
                needs_placeholder = False
                reasons = {Reason.PLACEHOLDER}
            draft.creates.append(_Write(diff, None, placement, reasons))
            continue
        stored = diff.stored(name)
        item = dirty.get(name)
        write = _Write(diff, stored, placement, set(() if item is None else item.reasons))
        if item is not None and item.adopted:
            draft.has_moves = True
        else:
            write.home = diff
            write.holds = stored.endpoints if item is None else item.endpoints
        if placement.added and is_added:
            write.reasons.add(Reason.ENDPOINTS_ADDED)
        if placement.kept or placement.added:
            draft.updates.append(write)
        elif needs_placeholder:
            needs_placeholder = False
            write.reasons.add(Reason.PLACEHOLDER)
            draft.updates.append(write)
        else:
            write.reasons.add(Reason.EMPTY)
            draft.deletes.append(write)
    if needs_placeholder:
        draft.creates.append(_Write(diff, None, Placement(""), {Reason.PLACEHOLDER}))


_name_of: Final[Callable[[Placement], str]] = attrgetter("name")


def _recycle(draft: _Draft) -> None:
    """Let slices that would be deleted be what would be created: one write instead of two.

    Pairs are made in order, within an address type, which can never change. A slice whose
    endpoints move away must be written late, one that endpoints move into early: no slice is
    both, lest the moves of a group come full circle.

    Complexity: O(n + c + d) for n endpoints in c creates and d deletes.
    """
    if not draft.creates or not draft.deletes:
        return
    takers: set[int] = set()
    if draft.has_moves:
        by_diff = {id(write.diff): write.diff for write in draft.creates}
        new = {i: set(map(_key_of, diff.new)) for i, diff in by_diff.items()}
        for write in draft.creates:
            added = map(_key_of, write.placement.added)
            if not new[id(write.diff)].issuperset(added):
                takers.add(id(write))
    early_groups = {write.diff.key for write in draft.creates if id(write) in takers}
    # By position, lowest first: those that any create may have, and those that no taker may.
    free: dict[tuple[AddressType, bool], deque[int]] = {}
    for i, write in enumerate(draft.deletes):
        key = write.diff.key
        # What a freed slice holds goes to others of its group, all of it.
        is_late = bool(write.holds) and key in early_groups
        free.setdefault((key.address_type, is_late), deque()).append(i)
    # Within one group what is new comes from no slice, whoever takes it in.
    writes = (*draft.creates, *draft.updates, *draft.deletes)
    several_groups = len({id(write.diff) for write in writes}) > 1
    creates: list[_Write] = []
    recycled: set[int] = set()
    for write in draft.creates:
        kind = write.diff.key.address_type
        queues = [free.get((kind, False))]
        if id(write) not in takers:
            queues.append(free.get((kind, True)))
        queue = min(filter(None, queues), key=itemgetter(0), default=None)
        if queue is None:
            creates.append(write)
            continue
        i = queue.popleft()
        recycled.add(i)
        donor = draft.deletes[i]
        placement = attrs.evolve(write.placement, name=donor.name)
        reasons = (write.reasons | donor.reasons | {Reason.RECYCLED}) - {Reason.EMPTY}
        draft.updates.append(
            _Write(write.diff, donor.stored, placement, reasons, donor.home, donor.holds)
        )
        draft.has_moves = draft.has_moves or several_groups
    draft.creates = creates
    draft.deletes = [write for i, write in enumerate(draft.deletes) if i not in recycled]
    if recycled:
        draft.updates.sort(key=lambda write: (write.diff.key.sort_key, write.name))


def _renew(draft: _Draft) -> None:
    """Make slices anew that one endpoint is moved into where an older copy of it stands alone.

    To write such a slice as it stands is no write: the API server gives it no new version, so
    another writer that saw the newer copy may still take the older one away. Where more
    endpoints are in the slice, they change places instead (`_rewritten`).
    """
    idle = [
        write for write in draft.updates if len(write.placement.endpoints) == 1 and _is_idle(write)
    ]
    for write in idle:
        assert write.stored is not None
        created = attrs.evolve(write.placement, name="", kept=(), added=write.placement.endpoints)
        draft.updates.remove(write)
        draft.creates.append(_Write(write.diff, None, created, {Reason.ENDPOINTS_MOVED_IN}))
        write.placement = attrs.evolve(write.placement, kept=(), added=())
        draft.deletes.append(write)
    if idle:
        draft.creates.sort(key=lambda write: write.diff.key.sort_key)
        draft.deletes.sort(key=lambda write: (write.diff.key.sort_key, write.name))


def _is_idle(write: _Write) -> bool:
    """Whether a slice holds afterwards what it holds now, though endpoints move into it."""
    return (
        bool(write.placement.added)
        and write.stored is not None
        and write.home is write.diff
        and write.placement.endpoints == write.stored.endpoints
    )


def _order_by_moves(draft: _Draft) -> list[_Write]:
    """Put every update after those that take over what it loses; note moves as reasons.

    Ties go by group and name. Within a group moves make no cycle. Between groups they can,
    where endpoints change ports crosswise; an endpoint with other ports is another endpoint to
    consumers, so such a cycle is cut: at the first slice that no move within a group holds back.
    """
    arrivals: dict[AddressType, dict[EndpointKey, list[_Write]]] = {}
    for write in (*draft.creates, *draft.updates):
        arrived = arrivals.setdefault(write.diff.key.address_type, {})
        for key in map(_key_of, write.arrives):
            arrived.setdefault(key, []).append(write)
    position = {id(write): i for i, write in enumerate(draft.updates)}
    # For each update those that must come first, and whether for a move within its group.
    waits: list[dict[int, bool]] = [{} for _ in draft.updates]
    for write in (*draft.updates, *draft.deletes):
        assert write.stored is not None
        arrived = arrivals.get(write.diff.key.address_type, {})
        source = position.get(id(write))
        for receiver, within in _receivers(write, arrived):
            if within:
                receiver.reasons.add(Reason.ENDPOINTS_MOVED_IN)
                write.reasons.add(Reason.ENDPOINTS_MOVED_OUT)
            target = position.get(id(receiver))
            if source is not None and target is not None:
                waits[source][target] = within
    return [draft.updates[i] for i in topological_order(waits)]


def _receivers(
    write: _Write, arrived: Mapping[EndpointKey, Sequence[_Write]]
) -> Iterable[tuple[_Write, bool]]:
    """Who takes over what a slice holds now and not afterwards; whether by a move in its group.

    One that it holds for another group afterwards, with other ports, is lost to its group.
    """
    assert write.stored is not None
    if write.home is write.diff and len(write.placement.kept) == len(write.stored.endpoints):
        return ()  # It keeps whatever it holds.
    coming = list(filter(arrived.__contains__, write.stored.keys))
    if not coming:
        return ()
    stays = set(coming).intersection(map(_key_of, write.placement.endpoints))
    if write.home is write.diff:
        coming = list(filterfalse(stays.__contains__, coming))
    held = set(coming).intersection(map(_key_of, write.holds))
    found: dict[int, tuple[_Write, bool]] = {}
    for key in coming:
        for receiver in arrived[key]:
            within = receiver.diff is write.home and key in held
            if within or key not in stays:
                within = within or found.get(id(receiver), (receiver, False))[1]
                found[id(receiver)] = (receiver, within)
    return found.values()


def _unchanged(state: StateDiff, written: Collection[str]) -> tuple[EndpointSlice, ...]:
    slices = chain.from_iterable(diff.slices for diff in state.groups)
    left = [stored for stored in slices if stored.name not in written]
    left.sort(key=attrgetter("metadata.name"))
    return tuple(left)


def _new_slice(write: _Write, metadata: ObjectMeta) -> EndpointSlice:
    key = write.diff.key
    return _make_slice(metadata, key.address_type, key.ports, write.placement.endpoints)


def _rewritten(write: _Write, stored: EndpointSlice, template: SliceTemplate) -> EndpointSlice:
    """The stored slice with its new content. All that we do not manage stays."""
    endpoints = write.placement.endpoints
    if _is_idle(write):
        endpoints = (*endpoints[-1:], *endpoints[:-1])
    return _make_slice(
        _rewritten_metadata(stored.metadata, template),
        stored.address_type,
        stored.ports if write.home is write.diff else write.diff.key.ports,
        endpoints,
        stored.extra,
    )


def _rewritten_metadata(stored: ObjectMeta, template: SliceTemplate) -> ObjectMeta:
    ours = template.metadata
    left = FrozenDict[str, str]() if template.owns_annotations else stored.annotations
    if (
        stored.labels == ours.labels
        and stored.owner_references == ours.owner_references
        and not ours.annotations
        and left == stored.annotations
        and ANNOTATION_TRIGGER_TIME not in left
    ):
        return stored
    annotations = dict(left)
    annotations.pop(ANNOTATION_TRIGGER_TIME, None)
    annotations.update(ours.annotations)
    uids = {owner.uid for owner in stored.owner_references}
    missing = tuple(owner for owner in ours.owner_references if owner.uid not in uids)
    return ObjectMeta(
        namespace=stored.namespace,
        name=stored.name,
        generate_name=stored.generate_name,
        uid=stored.uid,
        resource_version=stored.resource_version,
        generation=stored.generation,
        labels=ours.labels,
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

    Complexity: O(n) for n endpoints in written slices, for each time that endpoints change ports
    crosswise.
    Source: k8s.io/endpointslice reconciler.go, finalize.
    """
    if not plan.creates:
        return plan
    gone: set[tuple[GroupKey, EndpointKey]] = set()
    for create in plan.creates:
        gone |= places(create.after)
    unchanged = list(plan.unchanged)
    kept: list[Operation] = [*plan.updates, *plan.deletes]
    # What falls away took endpoints over, too, and those that gave them fall away with it, also if
    # it had an older copy of them. They come later in the plan, but where endpoints change ports
    # crosswise.
    is_settled = False
    while not is_settled:
        left, kept, is_settled = kept, [], True
        for operation in left:
            assert operation.before is not None
            before, after = places(operation.before), places(operation.after)
            if gone.isdisjoint(before - after):
                kept.append(operation)
            else:
                gone |= after
                unchanged.append(operation.before)
                is_settled = False
    unchanged.sort(key=lambda stored: stored.name)
    return Plan(tuple(kept), tuple(unchanged), min(plan.minimum_writes, len(kept)))
