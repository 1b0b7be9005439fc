"""Carry a plan out on values: apply it, and see after every prefix that it is safe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Set
from itertools import chain, count, repeat
from operator import is_
from typing import TypeAlias, assert_never

import attrs

from endpointslice.errors import ConflictError, ModelError
from endpointslice.models import (
    LABEL_MANAGED_BY,
    LABEL_SERVICE_NAME,
    Endpoint,
    EndpointGroup,
    EndpointKey,
    EndpointSlice,
    GroupKey,
    _key_of,
)
from endpointslice.plan.operations import CreateSlice, DeleteSlice, Operation, Plan, UpdateSlice

__all__ = ["apply_plan", "check_plan"]


def _label(stored: EndpointSlice) -> str:
    return f"{stored.metadata.namespace}/{stored.metadata.name}"


def apply_plan(
    current: Iterable[EndpointSlice], plan: Plan, *, names: Iterator[str] | None = None
) -> tuple[EndpointSlice, ...]:
    """Return the slices that stand after a plan, as the API server would leave them.

    Args:
        current: The slices that stand now, in any order; those that the plan does not know stay.
        plan: The plan.
        names: Names for the slices that it creates, in order; by default generate_name and the
            lowest free number of five digits.

    Returns:
        All slices, by namespace and name. Versions are as in the plan: only a server makes
        new ones.

    Raises:
        ConflictError: A slice that the plan writes is not there, or not as it was, or a name
            that it creates is taken.
        ModelError: `names` has too few.

    Complexity: O(n log n) for n slices.
    """
    state = {(stored.metadata.namespace, stored.name): stored for stored in current}
    numbers: dict[tuple[str, str], Iterator[int]] = {}
    for operation in plan.operations:
        match operation:
            case CreateSlice(after=after):
                namespace, name = after.metadata.namespace, after.metadata.name
                if not name and names is not None:
                    name = next(names, "")
                elif not name:
                    prefix = (namespace, after.metadata.generate_name)
                    name = _free_name(prefix, state, numbers.setdefault(prefix, count()))
                if not name:
                    raise ModelError("names", "must have one for each slice that is created")
                created = attrs.evolve(after, metadata=attrs.evolve(after.metadata, name=name))
                place = (namespace, name)
                if place in state:
                    raise ConflictError(_label(created), "is there already")
                state[place] = created
            case UpdateSlice(before=before, after=after):
                state[_standing(state, before)] = after
            case DeleteSlice(before=before):
                del state[_standing(state, before)]
            case _ as unreachable:
                assert_never(unreachable)
    return tuple(state[place] for place in sorted(state))


def _free_name(
    prefix: tuple[str, str], state: Container[tuple[str, str]], numbers: Iterator[int]
) -> str:
    """A name as the server would make it, but for the random part."""
    namespace, start = prefix
    names = (f"{start}{number:05d}" for number in numbers)
    return next(name for name in names if (namespace, name) not in state)


def _standing(
    state: Mapping[tuple[str, str], EndpointSlice], before: EndpointSlice
) -> tuple[str, str]:
    place = (before.metadata.namespace, before.name)
    stands = state.get(place)
    if stands is None:
        raise ConflictError(_label(before), "is not there")
    if stands is not before and stands != before:
        raise ConflictError(_label(before), "is not as it was when the plan was made")
    return place


# --- checking ---------------------------------------------------------------------------------

#: One endpoint of one group: with other ports it is another backend to consumers.
_Place: TypeAlias = tuple[GroupKey, EndpointKey]
_Copies: TypeAlias = dict[_Place, list[Endpoint]]
_Members: TypeAlias = dict[GroupKey, dict[EndpointKey, Endpoint]]


def check_plan(
    plan: Plan,
    *,
    desired: Iterable[EndpointGroup],
    current: Iterable[EndpointSlice],
    max_endpoints_per_slice: int,
) -> tuple[str, ...]:
    """Check that a plan is complete, and safe after every prefix.

    1. **No black hole**: what is there before and after is never in no slice.
    2. **No invention**: every copy has its content of before or of after.
    3. **Capacity**: no slice that is written exceeds it.
    4. **Ownership**: no update changes a slice's manager, its address type, or its owner, nor
       drops the resource version that it was planned against.
    5. **Completeness**: afterwards each desired endpoint is there exactly once, as desired, and
       nothing else is; a group that is wanted and empty, without ports, has its placeholder.

    It trusts nothing that made the plan: it replays the operations on `current`.

    Args:
        plan: The plan.
        desired: The groups that it was made for.
        current: The slices that it was made for; whatever the plan does not name is foreign.
        max_endpoints_per_slice: The capacity that it was made for.

    Returns:
        One sentence for each violation, in the order of the plan; () for a sound plan.

    Complexity: O(n) for n endpoints in `current` and the plan.
    """
    wanted: _Members = {}
    for group in desired:
        members = zip(map(_key_of, group.endpoints), group.endpoints, strict=True)
        wanted.setdefault(group.key, {}).update(members)
    named = [*plan.unchanged, *_written(plan)]
    owners, namespaces = set(map(_owner, named)), {item.metadata.namespace for item in named} - {""}
    problems: list[str] = []
    if len(owners) > 1 or len(namespaces) > 1:
        problems.append("the plan: names slices of several managers, Services or namespaces")
    ours: dict[str, EndpointSlice] = {}
    foreign: set[tuple[str, str]] = set()
    for stored in current:
        meta = stored.metadata
        if (
            meta.deletion_timestamp is None
            and _owner(stored) in owners
            and (not meta.namespace or meta.namespace in namespaces)
        ):
            ours[stored.name] = stored
        else:
            foreign.add((meta.namespace, stored.name))
    state = dict(ours)
    shared = _shared_owners(plan)
    for i, operation in enumerate(plan.operations):
        problems += _misfits(operation, state, foreign, shared, max_endpoints_per_slice)
        _carry_out(operation, state, f"\0{i}")
    problems += _misplaced(plan, wanted, ours, state)
    return tuple(problems)


def _owner(stored: EndpointSlice) -> tuple[str | None, str | None]:
    labels = stored.metadata.labels
    return (labels.get(LABEL_SERVICE_NAME), labels.get(LABEL_MANAGED_BY))


def _shared_owners(plan: Plan) -> Set[str]:
    """The uids that own every slice that stands after a plan: those of the plan's own owners."""
    after = [*plan.unchanged, *(item.after for item in plan.operations if item.after is not None)]
    uids = [{owner.uid for owner in item.metadata.owner_references} for item in after]
    return set[str]().union(*uids).intersection(*uids)


def _written(plan: Plan) -> list[EndpointSlice]:
    """The slices that operations name, before and after."""
    sides = ((operation.before, operation.after) for operation in plan.operations)
    return [stored for both in sides for stored in both if stored is not None]


def _misplaced(
    plan: Plan,
    wanted: _Members,
    before: Mapping[str, EndpointSlice],
    after: Mapping[str, EndpointSlice],
) -> Iterator[str]:
    """What is wrong with who sits where, in the end and on the way there."""
    holders = {stored.group_key for stored in after.values()}
    empty = [group for group, members in wanted.items() if not members and not group.ports]
    bare = [group for group in empty if group not in holders]
    if not bare and _is_sound(plan, wanted, before, after):
        return
    first, last = _copies(before.values()), _copies(after.values())
    yield from _incomplete(wanted, last)
    for group in bare:
        yield f"after the plan: {group.address_type} has no placeholder"
    yield from _unsafe_prefixes(plan, first, last)


def _is_sound(
    plan: Plan,
    wanted: _Members,
    before: Mapping[str, EndpointSlice],
    after: Mapping[str, EndpointSlice],
) -> bool:
    """Whether there is surely nothing wrong with who sits where.

    Nearly every plan is sound, and most endpoints stay where they are: they are passed over in C.
    """
    held: _Members = {}
    for stored in after.values():
        members = zip(stored.keys, stored.endpoints, strict=True)
        held.setdefault(stored.group_key, {}).update(members)
    copies = sum(len(stored.endpoints) for stored in after.values())
    if copies > sum(map(len, held.values())) or _filled(held) != _filled(wanted):
        return False
    # Of those that are there in the end, only one that leaves a slice can be missing on the way.
    moving: dict[GroupKey, set[EndpointKey]] = {}
    for operation in plan.operations:
        old, new = operation.before, operation.after
        if new is not None:
            found = map(held.get(new.group_key, {}).get, new.keys)
            if not all(map(is_, found, new.endpoints)):
                return False
        if old is not None:
            group = old.group_key
            keys = set(old.keys)
            # A slice that holds an endpoint twice can lose one copy of it: it is not looked into.
            if len(keys) == len(old.keys) and new is not None and new.group_key == group:
                keys.difference_update(new.keys)
            moving.setdefault(group, set()).update(keys & held.get(group, {}).keys())
    return _are_always_there(plan, moving, before)


def _filled(members: _Members) -> _Members:
    return {group: found for group, found in members.items() if found}


def _are_always_there(
    plan: Plan,
    moving: Mapping[GroupKey, Set[EndpointKey]],
    before: Mapping[str, EndpointSlice],
) -> bool:
    """Whether those that move are in some written slice after every operation.

    A copy in a slice that is not written would do as well, but hardly any has one.
    """

    def places(stored: EndpointSlice) -> list[_Place]:
        group = stored.group_key
        found = filter(moving.get(group, set()).__contains__, stored.keys)
        return list(zip(repeat(group), found))

    names = {item.before.name for item in plan.operations if item.before is not None}
    written = (stored for name, stored in before.items() if name in names)
    counts = Counter(chain.from_iterable(map(places, written)))
    for operation in plan.operations:
        if operation.after is not None:
            counts.update(places(operation.after))
        if operation.before is not None:
            lost = places(operation.before)
            counts.subtract(lost)
            if any(counts[place] <= 0 for place in lost):
                return False
    return True


def _places(stored: EndpointSlice) -> Iterable[_Place]:
    return zip(repeat(stored.group_key), stored.keys)


def _copies(slices: Iterable[EndpointSlice]) -> _Copies:
    found: _Copies = {}
    for stored in slices:
        for place, endpoint in zip(_places(stored), stored.endpoints, strict=True):
            found.setdefault(place, []).append(endpoint)
    return found


def _title(operation: Operation) -> str:
    match operation:
        case CreateSlice(after=after):
            return f"create of {after.metadata.generate_name or after.name!r}"
        case UpdateSlice(before=before):
            return f"update of {before.name!r}"
        case DeleteSlice(before=before):
            return f"delete of {before.name!r}"
        case _ as unreachable:
            assert_never(unreachable)


def _carry_out(operation: Operation, state: dict[str, EndpointSlice], new_name: str) -> None:
    if operation.before is not None:
        state.pop(operation.before.name, None)
    if operation.after is not None:
        state[operation.after.name or new_name] = operation.after


def _misfits(
    operation: Operation,
    state: Mapping[str, EndpointSlice],
    foreign: Set[tuple[str, str]],
    owners: Set[str],
    capacity: int,
) -> Iterator[str]:
    """What is wrong with one operation by itself."""
    title = _title(operation)
    before, after = operation.before, operation.after
    if before is not None:
        if (before.metadata.namespace, before.name) in foreign:
            yield f"{title}: the slice belongs to somebody else, or is pending deletion"
        elif state.get(before.name) != before:
            yield f"{title}: the slice does not stand as the plan says"
    if after is None:
        return
    if len(after.endpoints) > capacity:
        yield f"{title}: holds {len(after.endpoints)} endpoints, more than {capacity}"
    if before is None:
        return
    old, new = before.metadata, after.metadata
    if (old.namespace, old.name) != (new.namespace, new.name):
        yield f"{title}: becomes {new.namespace}/{new.name}"
    if before.address_type is not after.address_type:
        yield f"{title}: changes its address type to {after.address_type}"
    if old.labels.get(LABEL_MANAGED_BY) != new.labels.get(LABEL_MANAGED_BY):
        yield f"{title}: changes its manager to {new.labels.get(LABEL_MANAGED_BY)!r}"
    uids = {owner.uid for owner in new.owner_references}
    if not all(owner.uid in uids for owner in old.owner_references):
        yield f"{title}: drops an owner"
    for kind in {(owner.kind, owner.api_version) for owner in new.owner_references}:
        theirs, then = (
            {owner.uid for owner in refs if (owner.kind, owner.api_version) == kind}
            for refs in (old.owner_references, new.owner_references)
        )
        if theirs and then - theirs and theirs.isdisjoint(owners):
            yield f"{title}: takes a slice of another owner of the same kind"
    if sum(owner.controller is True for owner in new.owner_references) > 1:
        yield f"{title}: gives it a second controller"
    if old.resource_version != new.resource_version:
        yield f"{title}: has resource version {new.resource_version!r}, not that of before"


def _incomplete(wanted: _Members, after: _Copies) -> Iterator[str]:
    """What is missing or too much when all is done."""
    places: dict[_Place, Endpoint] = {}
    for group, members in wanted.items():
        places.update(((group, key), endpoint) for key, endpoint in members.items())
    for place, endpoint in places.items():
        found = after.get(place, ())
        if len(found) != 1:
            yield f"after the plan: {place[1]!r} is there {len(found)} times"
        elif found[0] != endpoint:
            yield f"after the plan: {place[1]!r} is not as desired"
    for place in after:
        if place not in places:
            yield f"after the plan: {place[1]!r} is there, which nobody wants"


def _unsafe_prefixes(plan: Plan, before: _Copies, after: _Copies) -> Iterator[str]:
    """What goes wrong between two operations."""
    counts = Counter({place: len(copies) for place, copies in before.items()})
    for operation in plan.operations:
        title = _title(operation)
        if operation.after is not None:
            gained = list(_places(operation.after))
            counts.update(gained)
            strange = {
                place
                for place, endpoint in zip(gained, operation.after.endpoints, strict=True)
                if endpoint not in after.get(place, ()) and endpoint not in before.get(place, ())
            }
            for place in filter(strange.__contains__, dict.fromkeys(gained)):
                yield f"{title}: {place[1]!r} has content of neither before nor after"
        if operation.before is not None:
            lost = list(_places(operation.before))
            counts.subtract(lost)
            for place in dict.fromkeys(lost):
                if counts[place] <= 0 and place in before and place in after:
                    yield f"{title}: {place[1]!r} is in no slice after it"
