"""Current slices against desired groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, compress, repeat
from operator import is_not
from typing import Any, Final

import attrs

from endpointslice.diff.ownership import Partition, Reason, Standing, sorted_reasons
from endpointslice.diff.values import (
    CleanSlices,
    Diff,
    DirtySlice,
    StateDiff,
    make_diff,
)
from endpointslice.errors import DuplicateEndpointError, ModelError
from endpointslice.models import (
    AddressType,
    Endpoint,
    EndpointGroup,
    EndpointKey,
    EndpointSlice,
    GroupKey,
    SliceTemplate,
    _key_of,
    _same_contents,
    check_max_endpoints_per_slice,
    open_twin,
)

__all__ = [
    "diff_group",
    "diff_state",
    "differs_in_hints_only",
    "dirty_slice",
    "index_endpoints",
    "is_same",
    "join_groups",
]


# --- one group --------------------------------------------------------------------------------

_NONE = repeat(None)


def index_endpoints(endpoints: Sequence[Endpoint]) -> dict[EndpointKey, Endpoint]:
    """Endpoints by key.

    Raises:
        DuplicateEndpointError: Two of them share a key.
    """
    found = {endpoint.key: endpoint for endpoint in endpoints}
    if len(found) != len(endpoints):
        (key, _), *_ = Counter(map(_key_of, endpoints)).most_common(1)
        first, second, *_ = (endpoint for endpoint in endpoints if endpoint.key == key)
        raise DuplicateEndpointError(key, first, second)
    return found


def is_same(found: tuple[Endpoint | None, ...], stored: tuple[Endpoint, ...]) -> bool:
    """Whether a slice holds what is wanted. In C throughout: this runs for every endpoint."""
    if not stored or found[0] is stored[0]:
        # Shared objects: a comparison of pointers, which reads no endpoint.
        return found == stored
    if found[0] is None or found[0] != stored[0]:
        return False
    return all(found) and _same_contents(found, stored)  # type: ignore[arg-type]


def _has_duplicates(clean: Sequence[EndpointSlice], touched: Sequence[_Touched]) -> bool:
    """Whether a desired endpoint stands in two places: the first to come took it, one missed it.

    Only what was missed is hashed, unless that is the greater part.
    """
    missed = set(chain.from_iterable(item.missed for item in touched))
    if not missed:
        return False
    if len(missed) < sum(len(stored.endpoints) for stored in clean):
        if not all(missed.isdisjoint(stored.keys) for stored in clean):
            return True
        hits = (sum(map(missed.__contains__, item.stored.keys)) for item in touched)
        return sum(hits) != sum(len(item.missed) for item in touched)
    matched = chain(
        chain.from_iterable(stored.keys for stored in clean),
        chain.from_iterable(item.matched() for item in touched),
    )
    return not missed.isdisjoint(matched)


def _updated(wanted: Endpoint, stored: Endpoint) -> Endpoint:
    """The wanted content; unmodelled fields of the stored endpoint survive."""
    return wanted.with_extra(stored.extra) if stored.extra and not wanted.extra else wanted


class _Touched:
    """A slice that does not hold just what is wanted, while its group is compared.

    Attributes:
        stored: The slice.
        reasons: Why it must be written.
        wanted: What is wanted where it holds something else, by position; None for what is not
            wanted there. None if nothing in it is wanted.
        missed: Keys of what is not wanted in it.
    """

    __slots__ = ("missed", "reasons", "stored", "wanted")

    def __init__(
        self,
        stored: EndpointSlice,
        found: tuple[Endpoint | None, ...],
        reasons: Sequence[Reason],
    ) -> None:
        self.stored = stored
        self.reasons = [*reasons]
        self.wanted: dict[int, Endpoint | None] | None = None
        self.missed: Sequence[EndpointKey] = stored.keys
        if any(found):
            endpoints = stored.endpoints
            # Only what is not the very same object is looked at.
            odd = compress(range(len(found)), map(is_not, found, endpoints))
            self.wanted = {i: found[i] for i in odd if not _is_equal(found[i], endpoints[i])}
            self.missed = [stored.keys[i] for i, want in self.wanted.items() if want is None]

    def matched(self) -> Iterable[EndpointKey]:
        """Keys of what is wanted in it."""
        wanted = self.wanted
        if wanted is None:
            return ()
        return (key for i, key in enumerate(self.stored.keys) if wanted.get(i, key) is not None)

    def freeze(self, doubled: Collection[EndpointKey], capacity: int) -> DirtySlice:
        """Decide what stays. `doubled` is all that is wanted if anything stands twice, or empty."""
        twice = set(map(doubled.__contains__, self.missed)) if doubled else {False}
        if True in twice:
            self.reasons.append(Reason.DUPLICATES_REMOVED)
        removed = Reason.ENDPOINTS_REMOVED if False in twice else None
        return dirty_slice(self.stored, self.wanted, self.reasons, capacity, removed)


def dirty_slice(
    stored: EndpointSlice,
    wanted: Mapping[int, Endpoint | None] | None,
    reasons: Sequence[Reason],
    capacity: int,
    removed: Reason | None = Reason.ENDPOINTS_REMOVED,
) -> DirtySlice:
    """Say what stays in a slice, and why it must be written.

    Args:
        stored: The slice.
        wanted: What is wanted where it holds something else, by position; None for what is not
            wanted there. Or None if nothing in it is wanted.
        reasons: Why it must be written, as far as it is not for its endpoints.
        capacity: In endpoints.
        removed: The reason for what is not wanted there.

    Complexity: O(m) for m endpoints, in one copy; else O(w) for those that are wanted otherwise.
    """
    kept: list[Any] = [] if wanted is None else list(stored.endpoints)
    found = list(reasons)
    changed: list[EndpointKey] = []
    gone = len(stored.endpoints) - len(kept)
    hints_only = True
    for i, want in wanted.items() if wanted else ():
        was = stored.endpoints[i]
        if want is None:
            kept[i] = None
            gone += 1
        else:
            kept[i] = _updated(want, was) if was.extra else want
            changed.append(want.key)
            hints_only = hints_only and differs_in_hints_only(want, was)
    endpoints: tuple[Endpoint, ...] = tuple(filter(None, kept)) if gone else tuple(kept)
    if changed:
        found.append(Reason.HINTS_CHANGED if hints_only else Reason.ENDPOINTS_CHANGED)
    if gone and removed is not None:
        found.append(removed)
    if len(endpoints) > capacity:
        found.append(Reason.OVER_CAPACITY)
    made = _OpenDirty()
    made.name = stored.name
    made.endpoints = endpoints
    made.changed = frozenset(changed)
    made.reasons = sorted_reasons(found)
    made.removed = gone
    made.adopted = False
    made.__class__ = DirtySlice
    return made  # type: ignore[no-any-return]


_OpenDirty: Final = open_twin(DirtySlice)


def _is_equal(found: Endpoint | None, stored: Endpoint) -> bool:
    return found is not None and found == stored


def differs_in_hints_only(one: Endpoint, other: Endpoint) -> bool:
    """Whether two endpoints of one identity are equal, or would be with the same hints."""
    content = one._state.rpartition("\0")[0]
    return one._uid == other._uid and content == other._state.rpartition("\0")[0]


def diff_group(
    key: GroupKey,
    desired: Sequence[Endpoint],
    current: Iterable[EndpointSlice],
    *,
    template: SliceTemplate,
    max_endpoints_per_slice: int,
    is_wanted: bool = True,
    partition: Partition | None = None,
    standing: Standing | None = None,
) -> Diff:
    """Compare one group's slices with its n desired endpoints.

    Args:
        key: The group.
        desired: Its endpoints, in any order, each key once.
        current: Its slices, in any order, each name once.
        template: What every slice carries.
        max_endpoints_per_slice: Capacity in endpoints, 1..1000.
        is_wanted: Whether somebody asks for the group; an empty group without ports that is
            wanted has a placeholder slice.
        partition: Who may share a slice; by default everybody.
        standing: What is known already of where slices stand with the template's owner.

    Returns:
        The Diff. An endpoint that stands in several slices stays in the one that was written
        last; if resource versions do not tell, where that costs no write, or else in the one of
        the lowest name.

    Raises:
        DuplicateEndpointError: Two desired endpoints share a key.

    Complexity: O(n + m log m + a log a) for m slices and a new endpoints.
    """
    capacity = max_endpoints_per_slice
    standing = standing or Standing(template, partition)
    slices = sorted(current, key=lambda stored: stored.metadata.name)
    left = index_endpoints(desired)
    found = (tuple(map(left.pop, stored.keys, _NONE)) for stored in slices)
    clean, touched = _compare(slices, found, standing, capacity)
    doubled: Mapping[EndpointKey, Endpoint] = {}
    if touched and _has_duplicates(clean, touched):
        doubled = wanted = index_endpoints(desired)
        clean, touched = _resolve_duplicates(slices, wanted, standing, capacity)
    needs_placeholder = False
    if not desired:
        # Whatever is clean now is empty. One such slice serves as the placeholder.
        keep = 1 if is_wanted and not key.ports else 0
        reason = Reason.EMPTY if is_wanted else Reason.GROUP_NOT_WANTED
        touched += [_Touched(stored, (), [reason]) for stored in clean[keep:]]
        needs_placeholder = keep > len(clean)
        if not is_wanted:
            for item in touched:
                item.reasons.append(reason)
    dirty = {item.stored.name: item.freeze(doubled, capacity) for item in touched}
    by_name = {stored.name: stored for stored in slices}
    return make_diff(
        key,
        capacity,
        tuple(map(dirty.__getitem__, sorted(dirty))),
        CleanSlices(by_name, dirty, label=None if partition is None else partition.label),
        tuple(sorted(left.values(), key=_key_of)),
        len(desired),
        by_name,
        needs_placeholder=needs_placeholder,
    )


def _compare(
    slices: Iterable[EndpointSlice],
    matches: Iterable[tuple[Endpoint | None, ...]],
    standing: Standing,
    capacity: int,
) -> tuple[list[EndpointSlice], list[_Touched]]:
    """Part slices that hold just what is wanted of each from others."""
    clean: list[EndpointSlice] = []
    touched: list[_Touched] = []
    for stored, found in zip(slices, matches, strict=True):
        reasons = standing.reasons(stored)
        if is_same(found, stored.endpoints) and not reasons and len(found) <= capacity:
            clean.append(stored)
        else:
            touched.append(_Touched(stored, found, reasons))
    return clean, touched


def _resolve_duplicates(
    slices: Sequence[EndpointSlice],
    wanted: Mapping[EndpointKey, Endpoint],
    standing: Standing,
    capacity: int,
) -> tuple[list[EndpointSlice], list[_Touched]]:
    """Decide which copy of an endpoint stays: the newest; or one whose slice need not be written.

    The newest is the one copy that no other writer is about to take away. Whoever moves an
    endpoint writes the slice that gets it first, and takes it out of the other only if that still
    stands at the version it was planned against, which is older. So a slice with the highest
    version of all that hold it keeps it, however many write at a time; docs/explanation/
    packing.md has the proof.

    Where versions say nothing, and two copies are both in slices that are clean otherwise, one
    of these must be written. Choosing the fewest is vertex cover; this takes the slice with most
    such conflicts first.
    """
    homes: dict[EndpointKey, dict[int, bool]] = {}  # where it is, and whether as wanted
    is_dirty = []
    for i, stored in enumerate(slices):
        dirty = bool(standing.reasons(stored))
        dirty = dirty or len(set(stored.keys)) < len(stored.keys)
        for endpoint in stored.endpoints:
            want = wanted.get(endpoint.key)
            dirty = dirty or want is None or want != endpoint
            if want is not None:
                homes.setdefault(endpoint.key, {}).setdefault(i, want == endpoint)
        is_dirty.append(dirty or len(stored.endpoints) > capacity)
    shared = {key: copies for key, copies in homes.items() if len(copies) > 1}

    owner: dict[EndpointKey, int] = {}
    revisions = [stored.metadata.revision for stored in slices]
    for key, copies in shared.items():
        *older, newest = sorted(copies, key=revisions.__getitem__)
        if revisions[older[0]] and revisions[older[-1]] < revisions[newest]:
            owner[key] = newest
            for i in older:
                is_dirty[i] = True
    unknown = {key: copies for key, copies in shared.items() if key not in owner}

    rivals = {key: {i for i in copies if not is_dirty[i]} for key, copies in unknown.items()}
    conflicts: dict[int, set[EndpointKey]] = {i: set() for i in range(len(slices))}
    for key, holders in rivals.items():
        for i in holders if len(holders) > 1 else ():
            conflicts[i].add(key)
    while any(conflicts.values()):
        worst = max(conflicts, key=lambda i: (len(conflicts[i]), i))
        is_dirty[worst] = True
        for key in conflicts.pop(worst):
            rivals[key].remove(worst)
            if len(rivals[key]) == 1:
                conflicts[min(rivals[key])].discard(key)

    def keeper(copies: Mapping[int, bool]) -> int:
        return min(copies, key=lambda i: (is_dirty[i], not copies[i], i))

    owner.update((key, keeper(copies)) for key, copies in unknown.items())
    matches = []
    for i, stored in enumerate(slices):
        placed: set[EndpointKey] = set()
        found: list[Endpoint | None] = []
        for key in stored.keys:
            stays = owner.get(key, i) == i and key not in placed
            placed.add(key)
            found.append(wanted.get(key) if stays else None)
        matches.append(tuple(found))
    return _compare(slices, matches, standing, capacity)


# --- all groups -------------------------------------------------------------------------------


def diff_state(
    desired: Iterable[EndpointGroup],
    current: Iterable[EndpointSlice],
    *,
    template: SliceTemplate,
    max_endpoints_per_slice: int,
    partition: Partition | None = None,
) -> StateDiff:
    """Compare all slices of one owner with all groups that it should have.

    Args:
        desired: Groups in any order; several with one key count as one.
        current: Slices in any order. Those of another namespace, Service or manager than the
            template's are ignored.
        template: What every slice carries.
        max_endpoints_per_slice: Capacity in endpoints, 1..1000.
        partition: Who may share a slice; by default everybody.

    Returns:
        A Diff for each group. A slice of a group that is gone, holding endpoints that another
        group of its address type wants, is that group's, to change its ports in place.

    Raises:
        DuplicateEndpointError: Two desired endpoints of one group share a key.
        ModelError: The capacity is not 1..1000, or a slice has no name, or that of another.

    Complexity: O(n log n) at most, O(n) if little is new, for n endpoints.
    """
    check_max_endpoints_per_slice(max_endpoints_per_slice)
    wanted: dict[GroupKey, tuple[Endpoint, ...]] = {}
    for group in desired:
        wanted[group.key] = wanted.get(group.key, ()) + group.endpoints
    stale: list[EndpointSlice] = []
    slices: dict[GroupKey, list[EndpointSlice]] = {}
    by_ports: dict[tuple[object, int], GroupKey] = {}
    names: set[str] = set()
    standing = Standing(template, partition)
    for stored in current:
        visible, stale_owner, _ = standing.of(stored.metadata)
        if not visible:
            continue
        name = stored.metadata.name
        if not name:
            raise ModelError("current", "must hold slices that have a name", stored)
        if name in names:
            raise ModelError("current", "must not hold two slices of one name", name)
        names.add(name)
        if stale_owner:
            stale.append(stored)
            continue
        # Many slices share their ports: put each in order only once.
        spelling = (stored.address_type, id(stored.ports))
        key = by_ports.get(spelling)
        if key is None:
            key = by_ports[spelling] = stored.group_key
        slices.setdefault(key, []).append(stored)
    diffs = {
        key: diff_group(
            key,
            wanted.get(key, ()),
            slices.get(key, ()),
            template=template,
            partition=partition,
            standing=standing,
            max_endpoints_per_slice=max_endpoints_per_slice,
            is_wanted=key in wanted,
        )
        for key in sorted({**wanted, **slices}, key=lambda key: key.sort_key)
    }
    return join_groups(diffs.values(), stale, template)


def join_groups(
    diffs: Collection[Diff], stale: Collection[EndpointSlice], template: SliceTemplate
) -> StateDiff:
    """Make the state of its groups, in canonical order: those in need get what others can spare.

    Complexity: O(g) for g groups, and O(n) for n endpoints where one is gone and another new.
    """
    if len(diffs) > 1:
        diffs = _share_spare(_adopt(diffs))
    made = _OpenState()
    made.groups = tuple(diffs)
    made.stale = tuple(sorted(stale, key=lambda stored: stored.name)) if stale else ()
    made.template = template
    made.__class__ = StateDiff
    return made  # type: ignore[no-any-return]


_OpenState: Final = open_twin(StateDiff)


def _adopt(diffs: Collection[Diff]) -> Collection[Diff]:
    """Give slices of groups that are gone to the groups that want their endpoints now.

    So a Service whose targetPort changes has each slice updated in place, and no endpoint is
    out of all slices at any time.
    """
    gone = [diff for diff in diffs if not diff.desired_count and diff.dirty]
    heirs = [diff for diff in diffs if diff.new]
    if not gone or not heirs:
        return diffs
    left = {diff.key: {endpoint.key: endpoint for endpoint in diff.new} for diff in heirs}
    adopted: dict[GroupKey, list[tuple[DirtySlice, EndpointSlice]]] = {}
    given: set[str] = set()
    for diff in gone:
        for item in diff.dirty:
            stored = diff.stored(item.name)
            votes = [
                (sum(map(left[heir.key].__contains__, dict.fromkeys(stored.keys))), heir)
                for heir in heirs
                if heir.key.address_type is diff.key.address_type
            ]
            most, heir = max(votes, key=lambda vote: vote[0], default=(0, diff))
            if not most:
                continue
            pool = left[heir.key]
            kept = tuple(
                _updated(pool.pop(endpoint.key), endpoint)
                for endpoint in stored.endpoints
                if endpoint.key in pool
            )
            reasons = [Reason.PORTS_CHANGED, *_metadata_reasons_of(item)]
            if len(kept) < len(stored.endpoints):
                reasons.append(Reason.ENDPOINTS_REMOVED)
            if len(kept) > heir.max_endpoints_per_slice:
                reasons.append(Reason.OVER_CAPACITY)
            heir_slice = DirtySlice(
                item.name,
                kept,
                frozenset(map(_key_of, kept)),
                sorted_reasons(reasons),
                len(stored.endpoints) - len(kept),
                adopted=True,
            )
            adopted.setdefault(heir.key, []).append((heir_slice, stored))
            given.add(item.name)
    result = []
    for diff in diffs:
        dirty = [item for item in diff.dirty if item.name not in given]
        stays = {name: stored for name, stored in diff._stored.items() if name not in given}
        for item, stored in adopted.get(diff.key, ()):
            dirty.append(item)
            stays[stored.name] = stored
        dirty.sort(key=lambda item: item.name)
        new = left[diff.key].values() if diff.key in left else diff.new
        result.append(attrs.evolve(diff, dirty=tuple(dirty), new=tuple(new), stored=stays))
    return result


def _share_spare(diffs: Collection[Diff]) -> list[Diff]:
    """Tell groups that need more slices how many the others can spare, first come first served."""
    spare = dict.fromkeys(AddressType, 0)
    for diff in diffs:
        spare[diff.key.address_type] += max(0, len(diff.dirty) - diff.slices_needed)
    result = []
    for diff in diffs:
        kind = diff.key.address_type
        gets = min(spare[kind], max(0, diff.slices_needed - len(diff.dirty)))
        spare[kind] -= gets
        result.append(attrs.evolve(diff, recyclable=gets) if gets else diff)
    return result


def _metadata_reasons_of(item: DirtySlice) -> list[Reason]:
    return [reason for reason in item.reasons if reason in _METADATA_REASONS]


_METADATA_REASONS: Final = (
    Reason.LABELS_CHANGED,
    Reason.PART_CHANGED,
    Reason.ANNOTATIONS_CHANGED,
    Reason.OWNER_CHANGED,
)
