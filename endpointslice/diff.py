"""Step 1, shared by all strategies: current slices against desired groups.

A slice is **dirty** if it must be written whatever a strategy decides: an endpoint in it has
changed or is no longer wanted, its labels, annotations, owner or ports must change, or it is
over capacity. All others are **clean**. Desired endpoints that are in no slice are **new**.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from heapq import merge
from itertools import chain, compress, repeat
from operator import is_not
from typing import Any, Final, final, overload

import attrs

from endpointslice.errors import DuplicateEndpointError, ModelError
from endpointslice.models import (
    ANNOTATION_TRIGGER_TIME,
    LABEL_HEADLESS,
    LABEL_MANAGED_BY,
    LABEL_SERVICE_NAME,
    AddressType,
    Endpoint,
    EndpointGroup,
    EndpointKey,
    EndpointSlice,
    GroupKey,
    ObjectMeta,
    SliceTemplate,
    _key_of,
    _same_contents,
    check_max_endpoints_per_slice,
    open_twin,
)

__all__ = [
    "CleanSlice",
    "CleanSlices",
    "Diff",
    "DirtySlice",
    "Partition",
    "Reason",
    "SliceIndex",
    "StateDiff",
    "diff_group",
    "diff_state",
]


class Reason(StrEnum):
    """Why a slice is written. The order is the one in which reasons are given."""

    LABELS_CHANGED = "LabelsChanged"
    #: Its label names another part than that of its endpoints, or they are of several.
    PART_CHANGED = "PartChanged"
    ANNOTATIONS_CHANGED = "AnnotationsChanged"
    OWNER_CHANGED = "OwnerChanged"
    PORTS_CHANGED = "PortsChanged"
    OVER_CAPACITY = "OverCapacity"
    ENDPOINTS_CHANGED = "EndpointsChanged"
    HINTS_CHANGED = "HintsChanged"
    ENDPOINTS_REMOVED = "EndpointsRemoved"
    DUPLICATES_REMOVED = "DuplicatesRemoved"
    ENDPOINTS_ADDED = "EndpointsAdded"
    ENDPOINTS_MOVED_IN = "EndpointsMovedIn"
    ENDPOINTS_MOVED_OUT = "EndpointsMovedOut"
    #: A slice that would be deleted is used for what would be created.
    RECYCLED = "Recycled"
    #: The empty slice that says: the Service exists and has no endpoints.
    PLACEHOLDER = "Placeholder"
    #: No endpoint is left in it.
    EMPTY = "Empty"
    #: No endpoint has these ports or this address type any more.
    GROUP_NOT_WANTED = "GroupNotWanted"
    #: It belongs to an owner of the same kind and another uid, which is gone.
    STALE_OWNER = "StaleOwner"


_REASON_ORDER = {reason: i for i, reason in enumerate(Reason)}


def sorted_reasons(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Return each reason once, in the order of the enum."""
    found = set(reasons)
    return tuple(found if len(found) < 2 else sorted(found, key=_REASON_ORDER.__getitem__))


@final
@attrs.frozen(kw_only=True)
class Partition:
    """Who may share a slice: endpoints of one part, which the slice carries as a label.

    The slice's part is compared with its endpoints and not with the template, so that a strategy
    may trust the label of a clean slice. A slice without endpoints is for all.

    Attributes:
        label: The label's name.
        key: The part of an endpoint, as its content says; None or "" if it is for all.
        shared: The label's value on slices that are for all.
        is_open: Whether slices that are for all may hold endpoints of any part.
    """

    label: str
    key: Callable[[Endpoint], str | None]
    shared: str
    is_open: bool = False

    def holds(self, stored: EndpointSlice) -> bool:
        """Whether a slice's label says what it holds. Complexity: O(m) for m endpoints."""
        value = stored.metadata.labels.get(self.label)
        if self.is_open and value == self.shared:
            return True
        parts = {part or self.shared for part in set(map(self.key, stored.endpoints))}
        return (parts or {self.shared}) == {value}


@final
@attrs.frozen(weakref_slot=False)
class DirtySlice:
    """A slice that must be written.

    Attributes:
        name: Its name.
        endpoints: What stays in it unless a strategy moves it, with its new content, in stored
            order.
        changed: The identities of those that change content.
        reasons: Why it must be written.
        removed: How many endpoints go from it.
        adopted: It belonged to a group that is no longer wanted and holds endpoints that this
            group wants, as when a Service's targetPort changes.
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    changed: frozenset[EndpointKey]
    reasons: tuple[Reason, ...]
    removed: int = 0
    adopted: bool = False


@final
@attrs.frozen(weakref_slot=False)
class CleanSlice:
    """All that a strategy may know of a slice that need not be written, but for its span.

    Attributes:
        name: Its name.
        count: How many endpoints it has.
        volatile: How many of these are sure to change again.
    """

    name: str
    count: int
    volatile: int = 0


_OpenClean: Final = open_twin(CleanSlice)


def _summary(name: str, count: int, volatile: int) -> CleanSlice:
    made = _OpenClean()
    made.name = name
    made.count = count
    made.volatile = volatile
    made.__class__ = CleanSlice
    return made  # type: ignore[no-any-return]


class SliceIndex:
    """Summaries of slices, to be found by name, by how full a slice is, and by what is volatile.

    What becomes of slices is noted at once, and looked at when somebody asks.
    """

    __slots__ = (
        "_cold",
        "_count",
        "_hot",
        "_noted",
        "_parts",
        "_summaries",
        "_values",
        "_volatile",
        "label",
    )

    def __init__(self, slices: Iterable[EndpointSlice] = (), label: str | None = None) -> None:
        self._summaries: dict[str, CleanSlice] = {}
        self.label = label
        #: With a label, an index for each value of it, and each slice's value.
        self._parts: dict[str | None, SliceIndex] = {}
        self._values: dict[str, str | None] = {}
        #: The names of the slices of each count, in order; with volatile endpoints, and without.
        self._hot: dict[int, list[str]] = {}
        self._cold: dict[int, list[str]] = {}
        self._volatile = 0
        self._count = 0
        #: Slices as they are now, and None for those that are gone, since somebody asked.
        self._noted: dict[str, EndpointSlice | None] = {stored.name: stored for stored in slices}

    def note(self, name: str, stored: EndpointSlice | None) -> None:
        """Take note of what a slice has become; None if it is gone. Complexity: O(1)."""
        self._noted[name] = stored

    def __getitem__(self, name: str) -> CleanSlice:
        self._catch_up()
        return self._summaries[name]

    @property
    def volatile(self) -> int:
        """How many endpoints of all slices are volatile. For the cost see `sparsest`."""
        self._catch_up()
        return self._volatile

    @property
    def count(self) -> int:
        """How many endpoints all slices have. For the cost see `sparsest`."""
        self._catch_up()
        return self._count

    @property
    def summaries(self) -> Mapping[str, CleanSlice]:
        """All of them, by name. For the cost see `sparsest`."""
        self._catch_up()
        return self._summaries

    def part(self, value: str) -> SliceIndex:
        """Those whose label has that value. For the cost see `sparsest`."""
        self._catch_up()
        return self._parts.get(value) or SliceIndex()

    def by_name(self) -> list[CleanSlice]:
        """All of them. Complexity: O(s log s)."""
        self._catch_up()
        return list(map(self._summaries.__getitem__, sorted(self._summaries)))

    def sparsest(self, *, hot: bool | None) -> Iterator[CleanSlice]:
        """Those that are hot, or are not, or all: by count, then name.

        Complexity: O(c) for the first, for a capacity of c. Beside that, O(log s + c) for each
        slice that was noted since anything was asked, and a move of O(s) bytes, for s slices.
        """
        self._catch_up()
        return self._walk(hot, sorted(self._counts(hot)))

    def fullest(self, *, hot: bool | None, most: int) -> Iterator[CleanSlice]:
        """Those of at most so many endpoints by falling count, then name; else as `sparsest`."""
        self._catch_up()
        counts = (number for number in self._counts(hot) if number <= most)
        return self._walk(hot, sorted(counts, reverse=True))

    def _catch_up(self) -> None:
        for name, stored in self._noted.items():
            was = self._summaries.pop(name, None)
            if was is not None:
                self._volatile -= was.volatile
                self._count -= was.count
                names = self._buckets(was)[was.count]
                del names[bisect_left(names, name)]
                if not names:
                    del self._buckets(was)[was.count]
            if stored is not None:
                item = _summary(name, len(stored.endpoints), stored.volatile_count)
                self._summaries[name] = item
                self._volatile += item.volatile
                self._count += item.count
                insort(self._buckets(item).setdefault(item.count, []), name)
        if self.label is not None:
            self._part_noted(self.label)
        self._noted = {}

    def _part_noted(self, label: str) -> None:
        for name, stored in self._noted.items():
            if name in self._values:
                self._parts[self._values.pop(name)].note(name, None)
            if stored is not None:
                value = self._values[name] = stored.metadata.labels.get(label)
                self._parts.setdefault(value, SliceIndex()).note(name, stored)

    def _buckets(self, item: CleanSlice) -> dict[int, list[str]]:
        return self._hot if item.volatile else self._cold

    def _counts(self, hot: bool | None) -> Iterable[int]:
        return {**self._hot, **self._cold} if hot is None else self._hot if hot else self._cold

    def _walk(self, hot: bool | None, counts: Iterable[int]) -> Iterator[CleanSlice]:
        for number in counts:
            parts = (self._hot.get(number, ()), self._cold.get(number, ()))
            names = merge(*parts) if hot is None else parts[not hot]
            yield from map(self._summaries.__getitem__, names)


@final
class CleanSlices(Sequence[CleanSlice]):
    """The slices of a group that need not be written, by name.

    A strategy that asks for a few of them, the fullest or those that are hot, should ask by
    these methods: whoever keeps an index of all slices answers without a look at the others.

    Args:
        stored: All slices of the group, by name.
        dirty: The names of those that are dirty.
        index: Of all slices of the group, the dirty ones among them; made when it is needed by
            default.
        label: The label that says which part of a partition a slice holds, if there is one.
    """

    __slots__ = ("_by_name", "_dirty", "_index", "_stored", "label")

    def __init__(
        self,
        stored: Mapping[str, Any],
        dirty: Collection[str],
        index: SliceIndex | None = None,
        label: str | None = None,
    ) -> None:
        self.label = label
        self._stored = stored
        self._dirty = dirty
        self._index = index
        self._by_name: tuple[CleanSlice, ...] | None = None

    def __len__(self) -> int:
        return len(self._stored) - len(self._dirty)

    @overload
    def __getitem__(self, place: int) -> CleanSlice: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[CleanSlice, ...]: ...
    def __getitem__(self, place: int | slice) -> CleanSlice | tuple[CleanSlice, ...]:
        return self._all()[place]

    def __iter__(self) -> Iterator[CleanSlice]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (CleanSlices, tuple)) and self._all() == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._all())

    @property
    def volatile(self) -> int:
        """How many endpoints of them all are volatile. Complexity: O(d) for d dirty slices."""
        index = self._indexed()
        return index.volatile - sum(index[name].volatile for name in self._dirty)

    @property
    def endpoint_count(self) -> int:
        """How many endpoints they have together. Complexity: O(d) for d dirty slices."""
        index = self._indexed()
        return index.count - sum(index[name].count for name in self._dirty)

    def part(self, value: str) -> CleanSlices:
        """Return those whose label has that value. Complexity: O(d) for d dirty slices."""
        index = self._indexed().part(value)
        stored = index.summaries
        return CleanSlices(stored, [name for name in self._dirty if name in stored], index)

    def sparsest(self, *, hot: bool | None = None) -> Iterator[CleanSlice]:
        """Yield the emptiest first; ties go to the lower name.

        Args:
            hot: Only those that have volatile endpoints, or only those that have none.

        Complexity: O(c + d) for the first, for a capacity of c and d dirty slices.
        """
        return self._clean(self._indexed().sparsest(hot=hot))

    def fullest(self, most: int, *, hot: bool | None = None) -> Iterator[CleanSlice]:
        """Yield those of at most so many endpoints, the fullest first; else as `sparsest`."""
        return self._clean(self._indexed().fullest(hot=hot, most=most))

    def _all(self) -> tuple[CleanSlice, ...]:
        if self._by_name is None:
            self._by_name = tuple(self._clean(self._indexed().by_name()))
        return self._by_name

    def _indexed(self) -> SliceIndex:
        if self._index is None:
            # There is no need to look into the dirty ones.
            self._stored = {k: v for k, v in self._stored.items() if k not in self._dirty}
            self._dirty = ()
            self._index = SliceIndex(self._stored.values(), self.label)
        return self._index

    def _clean(self, items: Iterable[CleanSlice]) -> Iterator[CleanSlice]:
        dirty = self._dirty
        return iter(items) if not dirty else (item for item in items if item.name not in dirty)


@final
@attrs.frozen(weakref_slot=False)
class Diff:
    """One group's current slices against its desired endpoints: what a strategy sees.

    Attributes:
        key: The group.
        max_endpoints_per_slice: Capacity in endpoints, 1..1000.
        dirty: Slices that must be written, by name.
        clean: Summaries of the slices that need not be, by name.
        new: Desired endpoints that are in no slice, by key.
        desired_count: How many endpoints are desired, new ones among them.
        needs_placeholder: The group is wanted though it is empty, and has no clean slice: one
            slice must exist afterwards.
        recyclable: So many creates cost nothing, for slices of other groups that must be
            written and can be spared are recycled for them.
    """

    key: GroupKey
    max_endpoints_per_slice: int
    dirty: tuple[DirtySlice, ...]
    clean: CleanSlices
    new: tuple[Endpoint, ...]
    desired_count: int
    needs_placeholder: bool
    _stored: Mapping[str, EndpointSlice] = attrs.field(repr=False, eq=False)
    recyclable: int = 0

    @property
    def is_empty(self) -> bool:
        """Nothing to do: no slice is dirty, no endpoint new, no placeholder missing."""
        return not (self.dirty or self.new or self.needs_placeholder)

    @property
    def slices_needed(self) -> int:
        """How many slices hold all that no clean slice holds."""
        endpoints = sum(len(item.endpoints) for item in self.dirty) + len(self.new)
        return max(-(-endpoints // self.max_endpoints_per_slice), int(self.needs_placeholder))

    def open(self, name: str) -> tuple[Endpoint, ...]:
        """Return the endpoints of a clean slice that the strategy has decided to write."""
        return self._stored[name].endpoints

    def span(self, name: str, place: Callable[[Endpoint], str]) -> tuple[str, str]:
        """Return the lowest and the highest place of a clean slice's endpoints.

        A summary, as the count is, of a slice that is not empty: two places, whoever is between
        them. A strategy that gives each slice a range of its own sees by it which slices keep to
        theirs, and opens no other than those that do not.

        Args:
            name: The slice.
            place: Where an endpoint stands in the strategy's own order.

        Complexity: O(m) for m endpoints in the slice.
        """
        places = list(map(place, self._stored[name].endpoints))
        return min(places), max(places)

    def part_of(self, name: str) -> str | None:
        """Return the part that a slice's label names; None if it has no such label."""
        label = self.clean.label
        return None if label is None else self._stored[name].metadata.labels.get(label)

    def part(self, value: str, dirty: tuple[DirtySlice, ...], new: tuple[Endpoint, ...]) -> Diff:
        """Return the diff of one part of a partition: these, and clean slices with its label."""
        clean = self.clean.part(value)
        count = clean.endpoint_count + len(new) + sum(len(item.endpoints) for item in dirty)
        return make_diff(
            self.key, self.max_endpoints_per_slice, dirty, clean, new, count, self._stored
        )

    def stored(self, name: str) -> EndpointSlice:
        """Return a slice as it stands. For whoever carries a packing out, not for strategies."""
        return self._stored[name]

    @property
    def slices(self) -> Collection[EndpointSlice]:
        """All slices as they stand. For whoever carries a packing out, not for strategies."""
        return self._stored.values()


def make_diff(
    key: GroupKey,
    max_endpoints_per_slice: int,
    dirty: tuple[DirtySlice, ...],
    clean: CleanSlices,
    new: tuple[Endpoint, ...],
    desired_count: int,
    stored: Mapping[str, EndpointSlice],
    *,
    needs_placeholder: bool = False,
) -> Diff:
    """Make a Diff; `stored` are all slices of the group by name, `clean` among them."""
    made = _OpenDiff()
    made.key = key
    made.max_endpoints_per_slice = max_endpoints_per_slice
    made.dirty = dirty
    made.clean = clean
    made.new = new
    made.desired_count = desired_count
    made.needs_placeholder = needs_placeholder
    made._stored = stored
    made.recyclable = 0
    made.__class__ = Diff
    return made  # type: ignore[no-any-return]


_OpenDiff: Final = open_twin(Diff)


@final
@attrs.frozen(weakref_slot=False)
class StateDiff:
    """All groups of one owner.

    Attributes:
        groups: One Diff for each group that is wanted or has slices, in canonical order.
        stale: Slices of a stale owner, by name: to be deleted and used for nothing else.
        template: What every slice of the owner carries.
    """

    groups: tuple[Diff, ...]
    stale: tuple[EndpointSlice, ...]
    template: SliceTemplate


# --- ownership and metadata -------------------------------------------------------------------


def is_visible(meta: ObjectMeta, template: ObjectMeta) -> bool:
    """Slices of another namespace, Service or manager do not exist for us, nor do dying ones.

    Source: k8s.io/kubernetes endpointslice_controller.go, dropEndpointSlicesPendingDeletion.
    """
    if meta.deletion_timestamp is not None:
        return False
    if meta.namespace and meta.namespace != template.namespace:
        return False
    return meta.labels == template.labels or all(
        meta.labels.get(label) == template.labels.get(label)
        for label in (LABEL_MANAGED_BY, LABEL_SERVICE_NAME)
    )


def is_stale(meta: ObjectMeta, template: ObjectMeta) -> bool:
    """It has owners of our owners' kind, and none of them is ours."""
    if meta.owner_references == template.owner_references:
        return False
    for kind in {(ours.kind, ours.api_version) for ours in template.owner_references}:
        ours, theirs = (
            {owner.uid for owner in owners if (owner.kind, owner.api_version) == kind}
            for owners in (template.owner_references, meta.owner_references)
        )
        if theirs and ours.isdisjoint(theirs):
            return True
    return False


def slice_reasons(
    stored: EndpointSlice, template: SliceTemplate, partition: Partition | None
) -> list[Reason]:
    """What of a slice, but for what is wanted of its endpoints, makes it be written."""
    if partition is None:
        return metadata_reasons(stored.metadata, template)
    reasons = metadata_reasons(stored.metadata, template, partition.label)
    return reasons if partition.holds(stored) else [*reasons, Reason.PART_CHANGED]


def metadata_reasons(
    meta: ObjectMeta, template: SliceTemplate, label: str | None = None
) -> list[Reason]:
    """What of a slice's metadata makes it be written, but for the label of a partition."""
    reasons = []
    ours = template.metadata
    if meta.labels != ours.labels:
        labels, asked = dict(meta.labels), dict(ours.labels)
        if label is not None:
            labels.pop(label, None)
            asked.pop(label, None)
        # As in the reference, this one only rides on writes: a Service never turns headless,
        # so a slice that says otherwise is a slip that can wait.
        if labels.pop(LABEL_HEADLESS, None) is not None or LABEL_HEADLESS in asked:
            asked.pop(LABEL_HEADLESS, None)
        if labels != asked:
            reasons.append(Reason.LABELS_CHANGED)
    theirs, wanted = meta.annotations, ours.annotations
    for name in {**theirs, **wanted} if template.owns_annotations else wanted:
        if name != ANNOTATION_TRIGGER_TIME and theirs.get(name) != wanted.get(name):
            reasons.append(Reason.ANNOTATIONS_CHANGED)
            break
    if meta.owner_references != ours.owner_references:
        uids = {owner.uid for owner in meta.owner_references}
        if not all(owner.uid in uids for owner in ours.owner_references):
            reasons.append(Reason.OWNER_CHANGED)
    return reasons


class Standing:
    """Where slices stand with the owner of a template: judged once for what shares its labels.

    Slices are read or made many at a time, and then their labels, annotations and owners are the
    same objects as a rule.
    """

    __slots__ = ("_known", "_label", "_partition", "_template")

    def __init__(self, template: SliceTemplate, partition: Partition | None = None) -> None:
        self._template = template
        self._partition = partition
        self._label = None if partition is None else partition.label
        #: With the metadata that was judged, lest others be made where its parts were.
        self._known: dict[
            tuple[object, ...], tuple[ObjectMeta, tuple[bool, bool, Sequence[Reason]]]
        ] = {}

    def of(self, meta: ObjectMeta) -> tuple[bool, bool, Sequence[Reason]]:
        """Whether a slice is visible, whether it is stale, and why its metadata must be written."""
        labels, annotations, owners = meta.labels, meta.annotations, meta.owner_references
        key = (id(labels), id(annotations), id(owners), meta.namespace, meta.deletion_timestamp)
        known = self._known.get(key)
        if known is None:
            ours = self._template
            visible = is_visible(meta, ours.metadata)
            stale = visible and is_stale(meta, ours.metadata)
            is_ours = visible and not stale
            reasons = tuple(metadata_reasons(meta, ours, self._label)) if is_ours else ()
            known = self._known[key] = (meta, (visible, stale, reasons))
        return known[1]

    def reasons(self, stored: EndpointSlice) -> Sequence[Reason]:
        """Why a slice that is visible and not stale must be written; see `slice_reasons`."""
        reasons = self.of(stored.metadata)[2]
        if self._partition is None or self._partition.holds(stored):
            return reasons
        return (*reasons, Reason.PART_CHANGED)


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
            hints_only = hints_only and _differs_in_hints_only(want, was)
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


def _differs_in_hints_only(one: Endpoint, other: Endpoint) -> bool:
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
        The Diff. An endpoint that stands in several slices stays where that costs no write, or
        else in the one of the lowest name.

    Raises:
        DuplicateEndpointError: Two desired endpoints share a key.

    Complexity: O(n + m log m + a log a) for m slices and a new endpoints.
    """
    capacity = max_endpoints_per_slice
    standing = standing or Standing(template, partition)
    slices = sorted(current, key=lambda stored: stored.metadata.name)
    left = index_endpoints(desired)
    clean, touched = _compare(slices, left, standing, capacity)
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
    slices: Sequence[EndpointSlice],
    left: dict[EndpointKey, Endpoint],
    standing: Standing,
    capacity: int,
) -> tuple[list[EndpointSlice], list[_Touched]]:
    """Part slices that hold just what is wanted from others; what is found is taken from `left`."""
    pop = left.pop
    clean: list[EndpointSlice] = []
    touched: list[_Touched] = []
    for stored in slices:
        found = tuple(map(pop, stored.keys, _NONE))
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
    """Decide which copy of an endpoint stays: one whose slice need not be written.

    Where two copies are both in slices that are clean otherwise, one of these must be written.
    Choosing the fewest is vertex cover; this takes the slice with most such conflicts first.
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

    rivals = {key: {i for i in copies if not is_dirty[i]} for key, copies in shared.items()}
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

    owner = {key: keeper(copies) for key, copies in shared.items()}
    clean: list[EndpointSlice] = []
    touched: list[_Touched] = []
    for i, stored in enumerate(slices):
        placed: set[EndpointKey] = set()
        matches: list[Endpoint | None] = []
        for key in stored.keys:
            stays = owner.get(key, i) == i and key not in placed
            placed.add(key)
            matches.append(wanted.get(key) if stays else None)
        found = tuple(matches)
        reasons = standing.reasons(stored)
        if is_same(found, stored.endpoints) and not reasons and len(found) <= capacity:
            clean.append(stored)
        else:
            touched.append(_Touched(stored, found, reasons))
    return clean, touched


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
