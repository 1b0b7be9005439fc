"""Hard partition: each slice holds endpoints of one part, and a label says which."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import chain, compress
from operator import attrgetter, not_
from typing import Any, Final, TypeAlias, TypeVar, final

import attrs

from endpointslice.diff import Diff, DirtySlice, Partition
from endpointslice.errors import ModelError
from endpointslice.models import (
    LABEL_HEADLESS,
    LABEL_MANAGED_BY,
    LABEL_SERVICE_NAME,
    Endpoint,
    EndpointKey,
    FrozenDict,
    _key_of,
)
from endpointslice.packing.generational import Generational
from endpointslice.packing.placement import (
    Packing,
    PackingStrategy,
    Placement,
    placed,
    topological_order,
)

__all__ = ["LABEL_FOR_ZONE", "Partitioned"]

#: The label by which consumers select slices. Source: KEP-2004, which named it.
LABEL_FOR_ZONE: Final = "endpointslice.kubernetes.io/for-zone"

_PartOf: TypeAlias = Callable[[Endpoint], str | None]

# Source: k8s.io/apimachinery pkg/util/validation, IsValidLabelValue and IsQualifiedName.
_VALUE: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_NAME: Final = re.compile(
    r"(?:(?=[^/]{1,253}/)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*/)?"
    + _VALUE.pattern
)
#: Labels that say whose a slice is.
_TAKEN: Final = (LABEL_HEADLESS, LABEL_MANAGED_BY, LABEL_SERVICE_NAME)


def _zone_by_hints(endpoint: Endpoint) -> str | None:
    """The one zone whose consumers use an endpoint.

    One that is not ready has no hints and is used by nobody: it waits in its own zone.
    """
    zones = endpoint.hints.for_zones
    if len(zones) == 1:
        return zones[0]
    return None if zones or endpoint.conditions.ready else endpoint.zone


_KEYS: Final[Mapping[str, _PartOf]] = {"zone": attrgetter("zone"), "hint": _zone_by_hints}


def _check_key(_instance: object, _field: object, value: Any) -> None:
    if not callable(value) and value not in _KEYS:
        raise ModelError("key", f"must be one of {', '.join(_KEYS)}, or a function", value)


def _check_label(_instance: object, _field: object, value: object) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value) or value in _TAKEN:
        raise ModelError("label", "must be the name of a label that nobody else sets", value)


def _check_value(_instance: object, _field: object, value: object) -> None:
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise ModelError("part", "must be the value of a label, of 1..63 characters", value)


def _check_count(_instance: object, _field: object, value: object) -> None:
    if type(value) is not int or value < 0:
        raise ModelError("min_part", "must be a whole number, at least 0", value)


@final
@attrs.frozen
class Partitioned:
    """Keep parts apart, so that a consumer watches its own by a label selector.

    Each slice carries the label with the part of its endpoints, and holds no others; slices that
    are for all carry `shared`. A consumer of part p selects `label in (p, shared)` and sees all
    endpoints of its part and those for all, at each moment of every plan.

    1. A dirty slice belongs to the part that most of its endpoints are of by now; it keeps these,
       and the others are new to their parts.
    2. Slices of several parts whose label names none of them, as before the first plan, are
       emptied one after the other into slices for one part each, and hold another part
       afterwards. To take over all slices of a group costs, for each part, at most one write
       more than there are slices before or needed after.
    3. `inner` packs each part by itself: what it promises of a group - fill, writes, bytes - holds
       for each part, as if the others did not exist.
    4. Where slices of several parts would exchange endpoints in a cycle, no order of updates is
       safe after every prefix; so some go to a slice that is created for their part.

    `minimum_writes` is the bound of those who need not keep parts apart. Endpoints that change in
    p parts at once are p writes at least, and one where all share a slice.

    Attributes:
        key: "zone" for the zone that an endpoint is in; "hint" for the one zone that its hints
            say it is for, or its own while it is not ready and has none; or a pure function of an
            endpoint's content. An endpoint of no part, "" or None, is for all, as one is with
            hints for several zones.
        inner: Decides who sits where within a part.
        label: The label's name. It is this strategy's, whatever the template says of it.
        shared: The label's value on slices that are for all, the placeholder among them.
        min_part: A part with fewer endpoints may share the slices that are for all. It gets
            slices of its own once so many are in sight, that is in slices with its label, in
            slices that are written, or new; and loses them with less than half. A part that has
            grown may thus share for a while, until its endpoints are written anyway.

    Raises:
        ModelError: An attribute is none; in `pack`, a part that is no label value.

    Complexity: that of `inner` for the parts in which something changes, and O(w) for w endpoints
        in written slices.
    Source: KEP-2004 and KEP-2030, which planned such slices, and were not built.
    """

    key: str | _PartOf = attrs.field(validator=_check_key)
    inner: PackingStrategy = Generational()
    label: str = attrs.field(default=LABEL_FOR_ZONE, validator=_check_label)
    shared: str = attrs.field(default="all", validator=_check_value)
    min_part: int = attrs.field(default=0, kw_only=True, validator=_check_count)

    @property
    def partition(self) -> Partition:
        """Who may share a slice."""
        return Partition(
            label=self.label,
            key=_KEYS[self.key] if isinstance(self.key, str) else self.key,
            shared=self.shared,
            is_open=self.min_part > 0,
        )

    def pack(self, diff: Diff) -> Packing:
        """Place every endpoint of the dirty slices and every new one, each exactly once.

        Raises:
            ModelError: A part is no label value, or the diff was not made for this partition.
        """
        if diff.is_empty:
            return Packing(())
        if diff.clean.label != self.label:
            raise ModelError("diff", f"must be made for the label {self.label}", diff.clean.label)
        return Packing(tuple(_Parts(diff, self).placements()))


_Groups: TypeAlias = Mapping[str, Sequence[Endpoint]]
#: With its part.
_Placed: TypeAlias = tuple[str, Placement]
_T = TypeVar("_T")


def _batched(items: Sequence[_T], size: int) -> list[tuple[_T, ...]]:
    return [tuple(items[i : i + size]) for i in range(0, len(items), size)]


_name_of: Final = attrgetter("name")


@attrs.define(eq=False)
class _Part:
    """What of a part is in sight.

    Attributes:
        dirty: Slices that belong to it.
        new: What is in no slice, and what is in one that does not belong to it.
    """

    dirty: list[DirtySlice] = attrs.Factory(list)
    new: list[Endpoint] = attrs.Factory(list)


class _Parts:
    """A diff, sorted by part, while its packing is put together."""

    def __init__(self, diff: Diff, strategy: Partitioned) -> None:
        self._diff = diff
        self._strategy = strategy
        self._key = strategy.partition.key
        self._parts: dict[str, _Part] = {}
        #: The slice of those that leave it because they are of another part.
        self._strays: dict[EndpointKey, str] = {}
        self._taken_over: list[_Placed] = []
        self._names: dict[str | None, str] = {}
        if strategy.min_part:
            self._find_small()
        mixed: list[tuple[str, _Groups]] = []
        for part, members in self._grouped(diff.new).items():
            self._part(part).new += members
        for item in diff.dirty:
            groups = self._grouped(item.endpoints)
            label = diff.part_of(item.name)
            if len(groups) > 1 and label not in groups:
                mixed.append((item.name, groups))
            else:
                self._take_home(item, groups, label)
        if mixed:
            self._take_over(mixed)

    def placements(self) -> list[Placement]:
        diff, strategy, shared = self._diff, self._strategy, self._strategy.shared
        result = self._taken_over
        if diff.needs_placeholder and not diff.dirty:
            result.append((shared, Placement("")))
        subs = {}
        for part in sorted(self._parts):
            held = self._parts[part]
            dirty = tuple(sorted(held.dirty, key=_name_of))
            subs[part] = diff.part(part, dirty, tuple(sorted(held.new, key=_key_of)))
        self._share_spare(subs)
        packed = [
            (part, item)
            for part, sub in subs.items()
            for item in strategy.inner.pack(sub).placements
        ]
        result += self._without_cycles(packed) if self._strays else packed
        labels = {part: FrozenDict({strategy.label: part}) for part in (shared, *dict(result))}
        return [
            # One that is emptied may become the placeholder.
            placed(item.name, item.kept, item.added, labels[part if item.endpoints else shared])
            for part, item in result
        ]

    # --- who is of which part

    def _name(self, value: str | None) -> str:
        """The part of those that the key says this of."""
        name = self._names.get(value)
        if name is None:
            if value:
                _check_value(None, None, value)
            name = self._names[value] = value or self._strategy.shared
        return name

    def _find_small(self) -> None:
        """Let parts with few endpoints share."""
        diff, least = self._diff, self._strategy.min_part
        seen = chain(diff.new, *(item.endpoints for item in diff.dirty))
        labels = {diff.part_of(item.name) for item in diff.dirty}
        for value, count in Counter(map(self._key, seen)).items():
            clean = diff.clean.part(self._name(value))
            has_slices = bool(clean) or value in labels
            if (count + clean.endpoint_count) * (1 + has_slices) < least:
                self._names[value] = self._strategy.shared

    def _grouped(self, endpoints: Sequence[Endpoint]) -> _Groups:
        """Endpoints by part, in their order."""
        values = list(map(self._key, endpoints))
        names = {value: self._name(value) for value in set(values)}
        if len(names) == 1:
            return {names[values[0]]: endpoints}
        found: dict[str, list[Endpoint]] = {}
        for value, endpoint in zip(values, endpoints, strict=True):
            found.setdefault(names[value], []).append(endpoint)
        return found

    def _part(self, part: str) -> _Part:
        return self._parts.setdefault(part, _Part())

    # --- slices that belong to a part

    def _take_home(self, item: DirtySlice, groups: _Groups, label: str | None) -> None:
        """Give a slice to the part that most of it is of."""

        def share(part: str) -> tuple[int, bool, str]:
            return (-len(groups[part]), part != label, part)

        # What holds nothing can be any part's.
        home = min(groups, key=share, default=label or self._strategy.shared)
        if len(groups) > 1:
            kept = tuple(groups[home])
            changed = item.changed.intersection(map(_key_of, kept))
            item = attrs.evolve(item, endpoints=kept, changed=changed)
            for part, members in groups.items():
                if part != home:
                    self._stray(part, members, item.name)
        self._part(home).dirty.append(item)

    def _stray(self, part: str, members: Iterable[Endpoint], name: str) -> None:
        for endpoint in members:
            self._part(part).new.append(endpoint)
            self._strays[endpoint.key] = name

    def _share_spare(self, subs: dict[str, Diff]) -> None:
        """Tell parts that need more slices how many others can spare, first come first served.

        Not where endpoints cross over: a slice that is left late takes in nobody who moves.
        """
        spare = self._diff.recyclable
        if not self._strays:
            spare += sum(max(0, len(sub.dirty) - sub.slices_needed) for sub in subs.values())
        for part, sub in subs.items():
            gets = min(spare, max(0, sub.slices_needed - len(sub.dirty)))
            spare -= gets
            if gets:
                subs[part] = attrs.evolve(sub, recyclable=gets)

    # --- slices that belong to none

    def _take_over(self, mixed: Sequence[tuple[str, _Groups]]) -> None:
        """Empty mixed slices one after the other, and use each for a part once it is empty.

        Each part's endpoints are cut into full slices in the order in which they stand. What is
        too few for that is new to a part that has slices, else it gets one, too. Slices that
        belong to a part take over nothing that would make them wait for a mixed one, so they can
        be written before.
        """
        capacity = self._diff.max_endpoints_per_slice
        lined: dict[str, list[tuple[int, Endpoint]]] = {}
        for i, (_, groups) in enumerate(mixed):
            for part, members in groups.items():
                lined.setdefault(part, []).extend((i, endpoint) for endpoint in members)
        chunks: list[tuple[str, Sequence[tuple[int, Endpoint]]]] = []
        for part in sorted(lined):
            line = lined[part]
            odd = 0
            if self._diff.clean.part(part) or self._part(part).dirty:
                odd = len(line) % capacity
                for i, endpoint in line[:odd]:
                    self._stray(part, [endpoint], mixed[i][0])
            chunks += [(part, chunk) for chunk in _batched(line[odd:], capacity)]
        # Those that begin first come first: then few parts are far ahead of the others.
        chunks.sort(key=lambda chunk: chunk[1][0][0])
        left = Counter(i for _, chunk in chunks for i, _ in chunk)
        free = [i for i in range(len(mixed)) if not left[i]]
        for part, chunk in chunks:
            for i, _ in chunk:
                left[i] -= 1
                if not left[i]:
                    heappush(free, i)
            host = heappop(free) if free else None
            kept = tuple(endpoint for i, endpoint in chunk if i == host)
            added = tuple(endpoint for i, endpoint in chunk if i != host)
            name = "" if host is None else mixed[host][0]
            self._taken_over.append((part, Placement(name, kept, added)))
        used = {item.name for _, item in self._taken_over}
        unused = [name for name, _ in mixed if name not in used]
        self._taken_over += [(self._strategy.shared, Placement(name)) for name in unused]

    # --- what no order of updates would carry over safely

    def _without_cycles(self, packed: Sequence[_Placed]) -> list[_Placed]:
        """Let strays that would go round in a cycle go to slices that are created instead."""
        capacity = self._diff.max_endpoints_per_slice
        homes = dict(self._strays)
        for held in self._parts.values():
            for one in held.dirty:
                homes.update((endpoint.key, one.name) for endpoint in one.endpoints)
        dirty = {one.name for one in self._diff.dirty}
        for _, item in packed:
            if item.name and item.name not in dirty:
                opened = self._diff.open(item.name)
                homes.update((endpoint.key, item.name) for endpoint in opened)
        position = {item.name: i for i, (_, item) in enumerate(packed) if item.name}
        givers = [
            [position.get(homes.get(endpoint.key, "")) for endpoint in item.added if item.name]
            for _, item in packed
        ]
        waits: list[dict[int, bool]] = [{} for _ in packed]
        for receiver, found in enumerate(givers):
            for giver in found:
                if giver is not None:
                    waits[giver][receiver] = packed[giver][0] == packed[receiver][0]
        rank = {i: place for place, i in enumerate(topological_order(waits))}
        result: list[_Placed] = []
        late: dict[str, Sequence[Endpoint]] = {}
        for i, (part, item) in enumerate(packed):
            is_late = [giver is not None and rank[giver] < rank[i] for giver in givers[i]]
            if any(is_late):
                late[part] = (*late.get(part, ()), *compress(item.added, is_late))
                # It gives endpoints away, so that there is something left to write.
                added = tuple(compress(item.added, map(not_, is_late)))
                result.append((part, Placement(item.name, item.kept, added)))
            else:
                result.append((part, item))
        for i, (part, item) in enumerate(result):
            if part in late and not item.name:
                room = capacity - len(item.added)
                result[i] = (part, Placement("", (), (*item.added, *late[part][:room])))
                late[part] = late[part][room:]
        for part, members in late.items():
            result += [(part, Placement("", (), chunk)) for chunk in _batched(members, capacity)]
        return result
