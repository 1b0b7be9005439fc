"""The true minimum of writes, for tiny cases, by trying everything.

It knows nothing of the library: groups, endpoints and contents are plain tuples here. A final
state says for each existing slice, and for as many new ones as could be needed, what it holds.
A slice is written if what it holds, the group it is in or its metadata is not what it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

#: Address type, and ports.
Group = tuple[str, str]
#: Identity, and content.
Member = tuple[str, str]


class OldSlice(NamedTuple):
    """A slice that stands."""

    group: Group
    members: tuple[Member, ...]
    has_right_metadata: bool
    is_stale: bool


#: What a slot holds in the end: None if there is no slice.
Held = tuple[Group, frozenset[str]] | None


def fewest_writes(
    desired: Mapping[Group, Mapping[str, str]], current: Sequence[OldSlice], capacity: int
) -> int:
    """Try every final state; return the writes of the cheapest.

    Args:
        desired: Groups that are wanted: identity -> content.
        current: Slices that stand.
        capacity: Endpoints in a slice.
    """
    live = [item for item in current if not item.is_stale]
    stale = len(current) - len(live)
    # Address types share nothing: a slice never changes its own.
    kinds = {kind for kind, _ in desired} | {item.group[0] for item in live}
    return stale + sum(
        _fewest(
            {group: members for group, members in desired.items() if group[0] == kind},
            [item for item in live if item.group[0] == kind],
            capacity,
        )
        for kind in kinds
    )


def _fewest(
    desired: Mapping[Group, Mapping[str, str]], live: Sequence[OldSlice], capacity: int
) -> int:
    wanted = [(group, name) for group in desired for name in desired[group]]
    slots = len(live) + len(wanted) + sum(not members for members in desired.values())
    best = slots + 1
    for seats in _seatings(wanted, len(live), slots, capacity):
        for final in _completions(seats, desired, live, slots):
            best = min(best, _writes(final, desired, live))
    return best


def _seatings(
    wanted: Sequence[tuple[Group, str]], old: int, slots: int, capacity: int
) -> Iterator[dict[int, tuple[Group, frozenset[str]]]]:
    """Every way to seat the endpoints; new slots are alike, so they are opened in order."""

    def seat(
        i: int, seats: dict[int, tuple[Group, frozenset[str]]]
    ) -> Iterator[dict[int, tuple[Group, frozenset[str]]]]:
        if i == len(wanted):
            yield seats
            return
        group, name = wanted[i]
        opened = max((slot for slot in seats if slot >= old), default=old - 1)
        for slot in range(min(opened + 2, slots)):
            has = seats.get(slot, (group, frozenset()))
            if has[0] == group and len(has[1]) < capacity:
                yield from seat(i + 1, {**seats, slot: (group, has[1] | {name})})

    return seat(0, {})


def _completions(
    seats: Mapping[int, tuple[Group, frozenset[str]]],
    desired: Mapping[Group, Mapping[str, str]],
    live: Sequence[OldSlice],
    slots: int,
) -> Iterator[list[Held]]:
    """Every way to have or not to have the slices that hold nothing.

    A group with endpoints may keep empty slices, which cost nothing; one without endpoints has
    one slice if it has no ports, the placeholder, and none if it has.
    """
    base: list[Held] = [seats.get(slot) for slot in range(slots)]
    for i, item in enumerate(live):
        if base[i] is None and not item.members and desired.get(item.group):
            base[i] = (item.group, frozenset())
    placeholders = [group for group, members in desired.items() if not members and not group[1]]

    def place(i: int, final: list[Held]) -> Iterator[list[Held]]:
        if i == len(placeholders):
            yield final
            return
        for slot, held in enumerate(final):
            if held is None or not held[1]:
                yield from place(
                    i + 1, [*final[:slot], (placeholders[i], frozenset()), *final[slot + 1 :]]
                )

    return place(0, base)


def _writes(
    final: Sequence[Held], desired: Mapping[Group, Mapping[str, str]], live: Sequence[OldSlice]
) -> int:
    writes = sum(held is not None for held in final[len(live) :])
    for held, item in zip(final, live, strict=False):
        if held is None:
            writes += 1
            continue
        group, names = held
        after = sorted((name, desired[group][name]) for name in names)
        same = group == item.group and after == sorted(item.members) and item.has_right_metadata
        writes += not same
    return writes
