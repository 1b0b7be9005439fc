"""What a strategy sees of a group: slices that must be written, summaries of the others."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from typing import Any, Final, final, overload

import attrs

from endpointslice.diff.ownership import Reason
from endpointslice.models import (
    Endpoint,
    EndpointKey,
    EndpointSlice,
    GroupKey,
    SliceTemplate,
    open_twin,
)

__all__ = [
    "CleanSlice",
    "CleanSlices",
    "Diff",
    "DirtySlice",
    "SliceIndex",
    "StateDiff",
    "make_diff",
]


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
