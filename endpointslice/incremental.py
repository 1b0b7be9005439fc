"""The same plans from deltas: in time that goes by what changes, not by how much there is.

`reconcile` looks at every endpoint, for it knows nothing of the last time. Who keeps what it has
learned - where each endpoint sits, which slices are dirty, how full the others are - has to look
at what changes only. The strategies are the same, and so are the plans.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, compress, count, repeat
from operator import attrgetter, is_, is_not
from typing import Any, Final, TypeAlias, final

import attrs

from endpointslice.diff import (
    CleanSlices,
    Diff,
    DirtySlice,
    Partition,
    Reason,
    SliceIndex,
    diff_group,
    dirty_slice,
    index_endpoints,
    is_same,
    is_stale,
    is_visible,
    join_groups,
    make_diff,
    slice_reasons,
)
from endpointslice.errors import DuplicateEndpointError, ModelError
from endpointslice.models import (
    ANNOTATION_TRIGGER_TIME,
    DEFAULT_MAX_ENDPOINTS_PER_SLICE,
    Endpoint,
    EndpointGroup,
    EndpointKey,
    EndpointSlice,
    GroupKey,
    SliceTemplate,
    _key_of,
    _make_group,
    check_max_endpoints_per_slice,
    know_keys,
)
from endpointslice.packing import PackingStrategy
from endpointslice.packing.placement import partition_of
from endpointslice.plan import DeleteSlice, Plan, UpdateSlice, build_plan
from endpointslice.reconcile import DEFAULT_STRATEGY

__all__ = ["IncrementalReconciler"]

_name_of: Final[Callable[[EndpointSlice], str]] = attrgetter("metadata.name")
_order_of: Final[Callable[[_Group], Any]] = attrgetter("order")


@attrs.define(eq=False)
class _Held:
    """A slice as it stands, and what is wanted of it.

    Attributes:
        stored: The slice.
        reasons: Why it has to be written, whatever is wanted of its endpoints.
        wanted: What is wanted where it holds something else, by position; None for what is not
            wanted there.
        dirty: What a strategy was last told of it, if it was dirty.
    """

    stored: EndpointSlice
    reasons: list[Reason]
    wanted: dict[int, Endpoint | None] = attrs.Factory(dict)
    dirty: DirtySlice | None = None

    def content(self, i: int) -> Endpoint | None:
        """What is wanted in a position."""
        return self.wanted.get(i, self.stored.endpoints[i])

    def want(self, i: int, endpoint: Endpoint | None) -> None:
        """Want something in a position: what stands there is wanted if it is the same."""
        if endpoint is not None and endpoint == self.stored.endpoints[i]:
            self.wanted.pop(i, None)
        else:
            self.wanted[i] = endpoint


class _Group:
    """The endpoints of one group, and where they sit.

    Attributes:
        key: The group.
        order: Where it stands among the groups.
        is_wanted: Whether somebody asks for it, though it be empty.
        count: How many endpoints are desired.
        stored: Its slices, by name.
        new: Desired endpoints that are in no slice.
        last: The desired endpoints as they were last handed over whole; None since they have
            changed otherwise.
    """

    __slots__ = (
        "_capacity",
        "_copies",
        "_dirty",
        "_held",
        "_home",
        "_index",
        "_partition",
        "count",
        "is_wanted",
        "key",
        "last",
        "new",
        "order",
        "stored",
    )

    def __init__(self, key: GroupKey, capacity: int, partition: Partition | None) -> None:
        self.key = key
        self.order = key.sort_key
        self.is_wanted = False
        self.count = 0
        self.stored: dict[str, EndpointSlice] = {}
        self.new: dict[EndpointKey, Endpoint] = {}
        self.last: tuple[Endpoint, ...] | None = None
        self._capacity = capacity
        self._held: dict[str, _Held] = {}
        self._dirty: dict[str, _Held] = {}
        self._home: dict[EndpointKey, _Held] = {}
        #: Where else an endpoint stands; that it does is rare, and found out by comparing all.
        self._copies: dict[EndpointKey, list[_Held]] = {}
        self._partition = partition
        self._index = SliceIndex(label=None if partition is None else partition.label)

    # --- what is wanted

    @property
    def endpoints(self) -> Iterator[Endpoint]:
        """All that are desired, each once."""
        for name in sorted(self._held):
            held = self._held[name]
            if held.wanted:
                places = map(held.content, range(len(held.stored.endpoints)))
                yield from filter(None, places)
            else:
                yield from held.stored.endpoints
        yield from self.new.values()

    def wanted(self, key: EndpointKey) -> Endpoint | None:
        """The endpoint of that identity as it is desired. Complexity: O(c), c the capacity."""
        held = self._home.get(key)
        return self.new.get(key) if held is None else held.content(held.stored.keys.index(key))

    def want(self, key: EndpointKey, endpoint: Endpoint | None) -> Endpoint | None:
        """Desire an endpoint, or none of that identity; return what was desired before.

        Complexity: O(c) for a capacity of c.
        """
        held = self._home.get(key)
        if held is None:
            before = self.new.pop(key, None)
            if endpoint is not None:
                self.new[key] = endpoint
        else:
            i = held.stored.keys.index(key)
            before = held.content(i)
            held.want(i, endpoint)
            self._refresh(held)
        self.count += (endpoint is not None) - (before is not None)
        return before

    @property
    def is_idle(self) -> bool:
        """Whether nobody would miss it."""
        return not (self.is_wanted or self.count or self.stored)

    def differences(
        self, endpoints: tuple[Endpoint, ...]
    ) -> Iterable[tuple[EndpointKey, Endpoint | None]]:
        """What changes if these are desired, and no others; it may name what does not change.

        Raises:
            DuplicateEndpointError: Two of them share a key.
        """
        if self.last is not None:
            gone, coming = _changed_part(self.last, endpoints)
            # Each of them costs more than in a comparison of all.
            if len(gone) + len(coming) <= len(endpoints) // _FEW:
                return self._few_differences(index_endpoints(gone), index_endpoints(coming))
        left = index_endpoints(endpoints)
        if self._copies:
            unwanted = [(e.key, None) for e in self.endpoints if e.key not in left]
            return chain(unwanted, left.items())
        found: list[tuple[EndpointKey, Endpoint | None]] = []
        for held in self._held.values():
            stored = held.stored
            here = tuple(map(left.pop, stored.keys, _NONE))
            if held.wanted or not is_same(here, stored.endpoints):
                other = map(is_not, here, stored.endpoints)
                found += compress(zip(stored.keys, here, strict=True), other)
                found += [(stored.keys[i], here[i]) for i in held.wanted]
        found += [(key, None) for key in self.new if key not in left]
        return chain(found, left.items())

    def _few_differences(
        self, gone: Mapping[EndpointKey, Endpoint], coming: Mapping[EndpointKey, Endpoint]
    ) -> Iterable[tuple[EndpointKey, Endpoint | None]]:
        for key, endpoint in coming.items():
            other = None if key in gone else self.wanted(key)
            if other is not None:
                raise DuplicateEndpointError(key, other, endpoint)
        return chain(
            ((key, None) for key in gone if key not in coming),
            ((key, endpoint) for key, endpoint in coming.items() if gone.get(key) is not endpoint),
        )

    # --- what stands

    def put(self, stored: EndpointSlice, reasons: list[Reason], *, desired: bool = False) -> None:
        """Take a slice up; if it is `desired`, so is what it holds. Complexity: O(m) endpoints."""
        held = _Held(stored, reasons)
        keys = stored.keys
        self.stored[stored.name] = stored
        self._held[stored.name] = held
        self._index.note(stored.name, stored)
        if self._home.keys().isdisjoint(keys) and len(set(keys)) == len(keys):
            self._home.update(zip(keys, repeat(held)))
            if desired:
                self.count += len(keys)
            else:
                wanted = list(map(self.new.pop, keys, _NONE))
                for i in compress(count(), map(is_not, wanted, stored.endpoints)):
                    held.want(i, wanted[i])
        else:
            self._put_beside(held, desired=desired)
        self._refresh(held)

    def _put_beside(self, held: _Held, *, desired: bool) -> None:
        """Find places for what a slice holds, of which some stands elsewhere as well, or twice."""
        for i, key in enumerate(held.stored.keys):
            if key in self._home:
                self._copies.setdefault(key, []).append(held)
                held.want(i, None)
                continue
            self._home[key] = held
            if desired:
                self.count += 1
            else:
                held.want(i, self.new.pop(key, None))

    def take(self, name: str) -> None:
        """Let a slice go: what is wanted of it is new. Complexity: O(m) for m endpoints."""
        held = self._held.pop(name)
        del self.stored[name]
        self._dirty.pop(name, None)
        self._index.note(name, None)
        if self._copies:
            self._take_from_beside(held)
            return
        keys = held.stored.keys
        for key in keys:
            del self._home[key]
        self.new.update(zip(keys, held.stored.endpoints, strict=True))
        for i, endpoint in held.wanted.items():
            if endpoint is None:
                del self.new[keys[i]]
            else:
                self.new[keys[i]] = endpoint

    def _take_from_beside(self, held: _Held) -> None:
        """Let go what a slice holds, some of which stands elsewhere as well: that is its place."""
        keys = held.stored.keys
        for key in keys:
            if key in self._copies:
                others = [other for other in self._copies.pop(key) if other is not held]
                if others:
                    self._copies[key] = others
        for i, key in enumerate(keys):
            if self._home.get(key) is not held:
                continue
            del self._home[key]
            endpoint = held.content(i)
            heirs = self._copies.pop(key, None)
            if heirs is not None:
                heir, *others = heirs
                if others:
                    self._copies[key] = others
                self._home[key] = heir
                heir.want(heir.stored.keys.index(key), endpoint)
                self._refresh(heir)
            elif endpoint is not None:
                self.new[key] = endpoint

    def observe(self, stored: EndpointSlice, reasons: list[Reason]) -> None:
        """Take note of what a slice of the group has become. Complexity: O(m) for m endpoints."""
        held = self._held[stored.name]
        was = held.stored
        if stored.keys == was.keys and stored.endpoints == was.endpoints:
            held.stored = self.stored[stored.name] = stored
            held.reasons = reasons
            self._index.note(stored.name, stored)
            self._refresh(held)
        else:
            self.take(stored.name)
            self.put(stored, reasons)

    def settle(self, after: EndpointSlice, template: SliceTemplate) -> bool:
        """Take note of an update if it brought in what is new, and took out what is unwanted.

        Returns:
            Whether it is so; if not, endpoints have moved, and nothing has been done.

        Complexity: O(c) for a capacity of c, in copies; O(e) for e endpoints that changed.
        """
        name = after.metadata.name
        held = self._held.get(name)
        added = None if held is None or self._copies else self._arrivals(held, after)
        if held is None or added is None:
            return False
        before, wanted = held.stored, held.wanted
        keys = before.keys
        gone = [i for i, endpoint in wanted.items() if endpoint is None]
        if gone or added:
            left = list(keys)
            for i in sorted(gone, reverse=True):
                del self._home[left.pop(i)]
            for endpoint in added:
                key = endpoint.key
                del self.new[key]
                self._home[key] = held
                left.append(key)
            keys = tuple(left)
        know_keys(after, keys)
        if after.metadata is not before.metadata or self._partition is not None:
            held.reasons = slice_reasons(after, template, self._partition)
        if wanted:
            held.wanted = {}
        held.stored = self.stored[name] = after
        self._index.note(name, after)
        self._refresh(held)
        return True

    def _arrivals(self, held: _Held, after: EndpointSlice) -> tuple[Endpoint, ...] | None:
        """What came into a slice, if nothing moved; else None."""
        if held.dirty is not None:
            kept = held.dirty.endpoints
        elif not held.wanted:
            kept = held.stored.endpoints
        else:
            return None
        if after.ports is not held.stored.ports:
            return None
        endpoints = after.endpoints
        if endpoints is kept:
            return ()
        added = endpoints[len(kept) :]
        keys = list(map(_key_of, added))
        is_new = len(set(keys)) == len(keys) and all(map(is_, map(self.new.get, keys), added))
        return added if is_new and endpoints[: len(kept)] == kept else None

    def _refresh(self, held: _Held) -> None:
        """Tell whether a slice is dirty."""
        held.dirty = None
        name = held.stored.name
        if held.wanted or held.reasons or len(held.stored.endpoints) > self._capacity:
            self._dirty[name] = held
        else:
            self._dirty.pop(name, None)

    # --- what a strategy sees

    def diff(self, template: SliceTemplate) -> Diff:
        """Compare the group. Complexity: O(d (c + log d) + a log a), d dirty slices and a new."""
        if self._copies or not self.count:
            return diff_group(
                self.key,
                tuple(self.endpoints),
                self.stored.values(),
                template=template,
                max_endpoints_per_slice=self._capacity,
                is_wanted=self.is_wanted,
                partition=self._partition,
            )
        dirty = []
        for name in sorted(self._dirty):
            held = self._dirty[name]
            held.dirty = dirty_slice(held.stored, held.wanted, held.reasons, self._capacity)
            dirty.append(held.dirty)
        new = self.new
        return make_diff(
            self.key,
            self._capacity,
            tuple(dirty),
            CleanSlices(self.stored, self._dirty, self._index, self._index.label),
            tuple(map(new.__getitem__, sorted(new))) if new else (),
            self.count,
            self.stored,
        )


def _changed_part(
    before: tuple[Endpoint, ...], after: tuple[Endpoint, ...]
) -> tuple[tuple[Endpoint, ...], tuple[Endpoint, ...]]:
    """Cut off what both begin with and what both end with: pointers alone are compared.

    Tuples of the same objects are found equal without a look at any of these.
    """
    if before == after:
        return (), ()
    shorter = min(len(before), len(after))
    begin = next(compress(count(), map(is_not, before, after)), shorter)
    backwards = map(is_not, reversed(before), reversed(after))
    end = min(next(compress(count(), backwards), shorter), shorter - begin)
    return before[begin : len(before) - end], after[begin : len(after) - end]


#: Less than one in so many is looked up one by one.
_FEW: Final = 8
_NONE: Final = repeat(None)


class _Shelf:
    """Slices, of which a picture can be taken at little cost.

    Two levels of tuples, in which each slice keeps its place: a change copies little, and a
    picture never changes.
    """

    __slots__ = ("_free", "_parts", "_places")

    def __init__(self) -> None:
        self._parts: list[tuple[EndpointSlice | None, ...]] = []
        self._places: dict[str, int] = {}
        self._free: list[int] = []

    def put(self, stored: EndpointSlice) -> None:
        """Add a slice, or put it in the place of the one of its name."""
        name = stored.name
        place = self._places.get(name)
        if place is None:
            if not self._free:
                first = len(self._parts) * _PART
                self._parts.append((None,) * _PART)
                self._free.extend(range(first + _PART - 1, first - 1, -1))
            place = self._places[name] = self._free.pop()
        self._set(place, stored)

    def remove(self, name: str) -> None:
        """Remove the slice of that name."""
        place = self._places.pop(name)
        self._free.append(place)
        self._set(place, None)

    def _set(self, place: int, stored: EndpointSlice | None) -> None:
        part = list(self._parts[place // _PART])
        part[place % _PART] = stored
        self._parts[place // _PART] = tuple(part)

    def picture(self) -> tuple[tuple[EndpointSlice | None, ...], ...]:
        """The slices as they stand now. Complexity: O(s / 32) for s slices."""
        return tuple(self._parts)


#: A change copies so many, and one for each so many: there are 1,000 slices as a rule at most.
_PART: Final = 32


def _others(
    picture: tuple[tuple[EndpointSlice | None, ...], ...], written: Collection[str]
) -> tuple[EndpointSlice, ...]:
    slices = filter(None, chain.from_iterable(picture))
    return tuple(sorted((stored for stored in slices if stored.name not in written), key=_name_of))


_Removed: TypeAlias = Iterable[EndpointGroup] | Mapping[GroupKey, Iterable[EndpointKey]]


@final
class IncrementalReconciler:
    """Plans for one owner's slices, from what changes.

    It holds the desired endpoints and the slices as they were last told, and an index of both.
    Whatever it is told, its plan equals the one that `reconcile` makes of the same two, for every
    strategy. (What is no part of equality, as a target's resource version, may be that of the
    slice where the content is the same.)

    - What is desired at first is what the slices hold. `apply` takes changes, `replace` a
      whole new state.
    - A plan is taken to be carried out: slices that it updates and deletes are from then on as
      they are after it. Slices that it creates are not there until they are observed, for the
      server names them. Tell what the server answers by `observe`: it has the new resource
      version. Where an update or a delete was refused or did not happen, `observe` what stands
      instead, or `forget` what is gone; the next plan repairs it.
    - A call that fails, for its input or in a strategy, leaves everything as it was.

    It is a plain object with state, for one owner: it starts no thread, takes no lock, and must
    not be used by two threads at once.

    Args:
        current: Slices in any order; see `reconcile`.
        template: What every slice carries.
        strategy: Decides who sits where.
        max_endpoints_per_slice: Capacity in endpoints, 1..1000.

    Raises:
        ModelError: The capacity is not 1..1000, or two slices have one name, or one has none.

    Complexity: O(n + s log s) for n endpoints in s slices.
    """

    __slots__ = (
        "_capacity",
        "_groups",
        "_in_order",
        "_partition",
        "_shelf",
        "_stale",
        "_strategy",
        "_template",
        "_where",
    )

    def __init__(
        self,
        current: Iterable[EndpointSlice] = (),
        *,
        template: SliceTemplate,
        strategy: PackingStrategy = DEFAULT_STRATEGY,
        max_endpoints_per_slice: int = DEFAULT_MAX_ENDPOINTS_PER_SLICE,
    ) -> None:
        self._template = template
        self._strategy = strategy
        self._partition = partition_of(strategy)
        self._capacity = check_max_endpoints_per_slice(max_endpoints_per_slice)
        self._load(current, None)

    def _load(
        self, current: Iterable[EndpointSlice], desired: Iterable[EndpointGroup] | None
    ) -> None:
        """Start anew; by default what the slices hold is desired."""
        meta = self._template.metadata
        visible: dict[str, EndpointSlice] = {}
        for stored in current:
            if is_visible(stored.metadata, meta):
                name = _checked_name(stored)
                if name in visible:
                    raise ModelError("current", "must not hold two slices of one name", name)
                visible[name] = stored
        self._groups: dict[GroupKey, _Group] = {}
        self._in_order: list[_Group] = []
        #: Slices of a stale owner, by name.
        self._stale: dict[str, EndpointSlice] = {}
        #: The group of each slice.
        self._where: dict[str, _Group] = {}
        self._shelf = _Shelf()
        for group in desired or ():
            made = self._group(group.key)
            made.is_wanted = True
            made.new.update(zip(map(_key_of, group.endpoints), group.endpoints, strict=True))
            made.count += len(group.endpoints)
        for name in sorted(visible):
            stored = visible[name]
            if is_stale(stored.metadata, meta):
                self._stale[name] = stored
                continue
            self._shelf.put(stored)
            group_of = self._group(stored.group_key)
            reasons = slice_reasons(stored, self._template, self._partition)
            group_of.put(stored, reasons, desired=desired is None)
            group_of.is_wanted = group_of.is_wanted or desired is None
            self._where[name] = group_of

    # --- what is known

    @property
    def slices(self) -> tuple[EndpointSlice, ...]:
        """The owner's slices as they were last told, by name. Complexity: O(s log s)."""
        stale = self._stale.values()
        return tuple(sorted(chain(_others(self._shelf.picture(), ()), stale), key=_name_of))

    @property
    def desired(self) -> tuple[EndpointGroup, ...]:
        """The groups that are desired, in canonical order. Complexity: O(n)."""
        return tuple(
            _make_group(group.key, tuple(group.endpoints))
            for group in self._in_order
            if group.is_wanted
        )

    @property
    def template(self) -> SliceTemplate:
        """What every slice carries."""
        return self._template

    @property
    def strategy(self) -> PackingStrategy:
        """What decides who sits where."""
        return self._strategy

    @property
    def max_endpoints_per_slice(self) -> int:
        """The capacity, in endpoints."""
        return self._capacity

    def configure(
        self,
        *,
        template: SliceTemplate | None = None,
        strategy: PackingStrategy | None = None,
        max_endpoints_per_slice: int | None = None,
    ) -> None:
        """Change what plans are made by; the next plan is the first to do so.

        Args:
            template: What every slice carries from now on: as before by default. If it says
                more than another trigger time, everything is indexed anew. Slices that become
                this owner's by it, of another Service or manager before, have to be observed.
            strategy: Decides who sits where. If it has another partition, everything is indexed
                anew.
            max_endpoints_per_slice: Capacity in endpoints, 1..1000.

        Raises:
            ModelError: The capacity is not 1..1000.

        Complexity: O(1) for a strategy or a trigger time, else O(n).
        """
        capacity = self._capacity
        if max_endpoints_per_slice is not None:
            capacity = check_max_endpoints_per_slice(max_endpoints_per_slice)
        strategy = self._strategy if strategy is None else strategy
        template = self._template if template is None else template
        partition = partition_of(strategy)
        is_same = _timeless(template) == _timeless(self._template)
        self._strategy, self._template = strategy, template
        if not is_same or capacity != self._capacity or partition != self._partition:
            slices, desired = self.slices, self.desired
            self._capacity = capacity
            self._partition = partition
            self._load(slices, desired)

    # --- what changes

    def apply(self, upserted: Iterable[EndpointGroup] = (), removed: _Removed = ()) -> Plan:
        """Change what is desired, and plan the writes that it takes.

        Without arguments: plan what is left to do.

        Args:
            upserted: Endpoints that are new or have changed, by group. The group is wanted from
                now on, also if it names none: an empty group without ports is a placeholder.
            removed: Endpoints that are not desired any more: groups, of whose endpoints the
                identity counts, or the identities by group. What is not there is no error. A
                group that names no endpoint, and has none left, is no longer wanted. Removals
                come first: what is upserted as well is desired.

        Returns:
            The plan; see `reconcile`.

        Raises:
            DuplicateEndpointError: Two upserted endpoints of one group share a key.
            ModelError: An item is no group, or an identity is none.

        Complexity: O(e + w c) for e endpoints that change and w slices of capacity c that are
            dirty or written, in what is done outside of the strategy.
        """
        coming = [(key, index_endpoints(found)) for key, found in _by_group(upserted, "upserted")]
        if isinstance(removed, Mapping):
            going = [(key, _checked_keys(key, keys)) for key, keys in removed.items()]
        else:
            going = [
                (key, tuple(map(_key_of, found))) for key, found in _by_group(removed, "removed")
            ]
        change = _Change()
        try:
            for group_key, keys in going:
                group = self._groups.get(group_key)
                if group is None:
                    continue
                is_left = bool(keys or group.count)
                change.ask_for(group, is_wanted=group.is_wanted and is_left)
                for key in keys:
                    change.want(group, key, None)
            for group_key, endpoints in coming:
                group = self._group(group_key)
                change.ask_for(group, is_wanted=True)
                for key, endpoint in endpoints.items():
                    change.want(group, key, endpoint)
            return self._plan()
        except BaseException:
            change.undo()
            raise

    def replace(self, groups: Iterable[EndpointGroup]) -> Plan:
        """Hand over a whole new desired state, and plan the writes that it takes.

        What is the same object as in the last state that was handed over, up to the first and
        from the last that differs, is not looked at.

        Args:
            groups: All groups that the owner should have, in any order; see `reconcile`.

        Returns:
            The plan; see `reconcile`.

        Raises:
            DuplicateEndpointError: Two desired endpoints of one group share a key.
            ModelError: An item is no group.

        Complexity: O(n) for n endpoints, at the cost of a comparison of pointers for those that
            are not looked at; and as `apply` for those that change.
        """
        desired = dict(_by_group(groups, "groups"))
        change = _Change()
        try:
            for key in desired:
                self._group(key)
            for group in self._in_order:
                change.ask_for(group, is_wanted=group.key in desired)
                change.want_all(group, desired.get(group.key, ()))
            return self._plan()
        except BaseException:
            change.undo()
            raise

    def observe(self, stored: EndpointSlice) -> None:
        """Take note of a slice as it stands: what a write answered, or a watch reported.

        A slice of another owner, or one that is being deleted, is as good as gone.

        Raises:
            ModelError: It has no name.

        Complexity: O(m) for m endpoints in it.
        """
        meta = self._template.metadata
        if stored.metadata.namespace not in ("", meta.namespace):
            return
        name = _checked_name(stored)
        if not is_visible(stored.metadata, meta):
            self.forget(name)
            return
        if is_stale(stored.metadata, meta):
            self.forget(name)
            self._stale[name] = stored
            return
        reasons = slice_reasons(stored, self._template, self._partition)
        group = self._group(stored.group_key)
        if self._where.get(name) is group:
            group.observe(stored, reasons)
        else:
            self.forget(name)
            group.put(stored, reasons)
            self._where[name] = group
        self._shelf.put(stored)

    def forget(self, name: str) -> None:
        """Take note that a slice is gone; what is desired of it is to be placed anew.

        A name that is not known is no error. Complexity: O(m) for m endpoints in it.
        """
        self._stale.pop(name, None)
        group = self._where.pop(name, None)
        if group is not None:
            group.take(name)
            self._shelf.remove(name)

    # --- planning

    def _group(self, key: GroupKey) -> _Group:
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(key, self._capacity, self._partition)
            insort(self._in_order, group, key=_order_of)
        return group

    def _plan(self) -> Plan:
        template = self._template
        groups = [group for group in self._in_order if not group.is_idle]
        diffs = [group.diff(template) for group in groups]
        state = join_groups(diffs, self._stale.values(), template)
        picture = self._shelf.picture()
        plan = build_plan(
            state,
            map(self._strategy.pack, state.groups),
            unchanged=lambda written: partial(_others, picture, written),
        )
        self._carry_out(plan)
        if len(groups) < len(self._in_order):
            self._in_order = groups
            self._groups = {group.key: group for group in groups}
        return plan

    def _carry_out(self, plan: Plan) -> None:
        """Take the slices to be as they are after the plan, but for those that it creates."""
        template = self._template
        moved: list[UpdateSlice | DeleteSlice] = []
        for operation in plan.operations:
            if isinstance(operation, UpdateSlice):
                after = operation.after
                if self._where[after.metadata.name].settle(after, template):
                    self._shelf.put(after)
                else:
                    moved.append(operation)
            elif isinstance(operation, DeleteSlice):
                moved.append(operation)
        for operation in moved:
            self.forget(operation.before.name)
        for operation in moved:
            if operation.after is not None:
                self.observe(operation.after)


def _checked_name(stored: EndpointSlice) -> str:
    if not stored.name:
        raise ModelError("current", "must hold slices that have a name", stored)
    return stored.name


def _checked_keys(group: object, keys: Iterable[EndpointKey]) -> tuple[EndpointKey, ...]:
    if not isinstance(group, GroupKey):
        raise ModelError("removed", "must have GroupKey values as keys", group)
    found = () if isinstance(keys, str) else tuple(keys)
    if isinstance(keys, str) or not all(isinstance(key, str) for key in found):
        raise ModelError("removed", "must hold the keys of endpoints, in a list", keys)
    return found


def _timeless(template: SliceTemplate) -> SliceTemplate:
    """What makes slices be written: the trigger time never does."""
    annotations = dict(template.metadata.annotations)
    annotations.pop(ANNOTATION_TRIGGER_TIME, None)
    metadata = attrs.evolve(template.metadata, annotations=annotations)
    return attrs.evolve(template, metadata=metadata)


def _by_group(
    groups: Iterable[EndpointGroup], field: str
) -> Collection[tuple[GroupKey, tuple[Endpoint, ...]]]:
    """The endpoints of each group; several with one key count as one."""
    pairs = []
    for group in groups:
        if not isinstance(group, EndpointGroup):
            raise ModelError(field, "must hold EndpointGroup values", group)
        pairs.append((group.key, group.endpoints))
    if len(pairs) < 2:
        return pairs
    found: dict[GroupKey, tuple[Endpoint, ...]] = {}
    for key, endpoints in pairs:
        found[key] = found[key] + endpoints if key in found else endpoints
    return found.items()


class _Change:
    """Changes of what is desired, and the way back."""

    __slots__ = ("_groups", "_wanted")

    def __init__(self) -> None:
        self._groups: list[tuple[_Group, bool, tuple[Endpoint, ...] | None]] = []
        self._wanted: list[tuple[_Group, EndpointKey, Endpoint | None]] = []

    def ask_for(self, group: _Group, *, is_wanted: bool) -> None:
        """Want a group, or want it no longer. It comes before what changes in the group."""
        self._groups.append((group, group.is_wanted, group.last))
        group.is_wanted = is_wanted

    def want(self, group: _Group, key: EndpointKey, endpoint: Endpoint | None) -> None:
        """Desire an endpoint, or none of that identity."""
        before = group.want(key, endpoint)
        if before is not endpoint:
            group.last = None
            self._wanted.append((group, key, before))

    def want_all(self, group: _Group, endpoints: tuple[Endpoint, ...]) -> None:
        """Desire these, and no others."""
        for key, endpoint in group.differences(endpoints):
            self.want(group, key, endpoint)
        group.last = endpoints

    def undo(self) -> None:
        """Desire what was desired before."""
        for group, key, endpoint in reversed(self._wanted):
            group.want(key, endpoint)
        for group, is_wanted, last in reversed(self._groups):
            group.is_wanted, group.last = is_wanted, last
