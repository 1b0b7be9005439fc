"""SliceTracker: a cache that lacks a write of ours is stale, and no other ever is."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from typing import Any, Final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpointslice import (
    CreateSlice,
    DeleteSlice,
    EndpointSlice,
    Operation,
    Plan,
    SliceTracker,
    UpdateSlice,
)
from tests.builders import stored

EMPTY: Final = SliceTracker()


def at(
    revision: int | str, name: str = "web-a", *, uid: str = "uid-a", generation: int = 1
) -> EndpointSlice:
    """A slice as it was written at a revision."""
    before = stored(name, uid=uid, generation=generation)
    return attrs.evolve(
        before, metadata=attrs.evolve(before.metadata, resource_version=str(revision))
    )


def deleting(*befores: EndpointSlice) -> Plan:
    return Plan(tuple(DeleteSlice(before, ()) for before in befores))


# --- an oracle: a server, and a watch that lags -------------------------------------------------

NAMES: Final = ("web-a", "web-b", "web-c")


class World:
    """An API server with a log, a cache that has read some of it, and the controller's tracker.

    The oracle is one number: the newest revision of those writes of ours that the tracker was
    told. The cache lacks one of them if it has read less of the log.
    """

    def __init__(self, choose: Callable[[int], int]) -> None:
        self.choose = choose
        #: What is written at each revision, and whether it is a deletion.
        self.log: list[tuple[EndpointSlice, bool]] = []
        self.server: dict[str, EndpointSlice] = {}
        self.cache: dict[str, EndpointSlice] = {}
        self.read = 0
        self.answers: list[EndpointSlice] = []
        self.tracker = SliceTracker()
        self.newest = 0

    @property
    def is_behind(self) -> bool:
        return self.read < self.newest

    def write(self, name: str, meta: dict[str, Any], *, is_deletion: bool = False) -> EndpointSlice:
        base = self.server.get(name) or stored(name, uid=f"uid-{len(self.log)}")
        version = str(len(self.log) + 1)
        written = attrs.evolve(
            base, metadata=attrs.evolve(base.metadata, resource_version=version, **meta)
        )
        self.log.append((written, is_deletion))
        if is_deletion:
            del self.server[name]
        else:
            self.server[name] = written
        return written

    def change(self, name: str) -> EndpointSlice:
        """Create it, or change it, with a new generation or without."""
        found = self.server.get(name)
        generation = found.metadata.generation if found else 0
        return self.write(name, {"generation": generation + (not found or self.choose(2))})

    def others(self) -> None:
        name = NAMES[self.choose(len(NAMES))]
        match self.choose(3) if name in self.server else 0:
            case 0:
                self.change(name)
            case 1:
                self.write(name, {"deletion_timestamp": "2026-06-01T00:00:00Z"})
            case _:
                self.write(name, {}, is_deletion=True)

    def ours(self) -> None:
        """Plan from the cache if it is not stale, carry it out, and be answered some day."""
        if self.tracker.is_stale(self.cache.values()):
            return
        done: list[Operation] = []
        for name in NAMES:
            cached, now = self.cache.get(name), self.server.get(name)
            choice = self.choose(3)
            if choice == 0:
                continue
            # Who was written meanwhile is not written by us: a conflict.
            if cached != now:
                continue
            if cached is None:
                self.answers.append(self.change(name))
                done.append(CreateSlice(self.answers[-1], ()))
            elif choice == 1:
                self.answers.append(self.change(name))
                done.append(UpdateSlice(cached, self.answers[-1], ()))
            else:
                gone = self.write(name, {}, is_deletion=True)
                done.append(DeleteSlice(cached, ()))
                self.newest = max(self.newest, int(gone.metadata.resource_version))
        self.tracker = self.tracker.planned(Plan(tuple(done)))

    def answer(self) -> None:
        if self.answers:
            answer = self.answers.pop(self.choose(len(self.answers)))
            self.tracker = self.tracker.observed(answer)
            self.newest = max(self.newest, int(answer.metadata.resource_version))

    def hear(self) -> None:
        if self.read == len(self.log):
            return
        item, is_deletion = self.log[self.read]
        self.read += 1
        if is_deletion:
            del self.cache[item.name]
            self.tracker = self.tracker.deleted(item)
        else:
            self.cache[item.name] = item
            if self.choose(2):
                self.tracker = self.tracker.observed(item)

    def resync(self) -> None:
        """Be told of the whole cache once more."""
        for item in self.cache.values():
            self.tracker = self.tracker.observed(item)

    def list_anew(self) -> None:
        """The watch has expired, or the process began anew: what was deleted, nobody tells."""
        self.cache, self.read = dict(self.server), len(self.log)
        self.tracker = SliceTracker(resource_version=str(self.read))

    def step(self) -> None:
        often = (self.ours, self.answer, self.hear, self.hear)
        acts = (*often, *often, self.others, self.resync, self.list_anew)
        acts[self.choose(len(acts))]()

    def catch_up(self) -> None:
        while self.answers:
            self.answer()
        while self.read < len(self.log):
            self.hear()


#: Bytes are drawn short; what is made of a seed is as long as it takes to get into trouble.
HISTORIES: Final = st.tuples(st.integers(0, 2**32), st.integers(0, 150))


def world_of(seed: int) -> World:
    return World(random.Random(seed).randrange)


@given(history=HISTORIES)
def test_a_cache_is_stale_exactly_as_long_as_it_lacks_a_write_that_was_told(
    history: tuple[int, int],
) -> None:
    seed, steps = history
    world = world_of(seed)
    for _ in range(steps):
        world.step()
        assert world.tracker.is_stale(world.cache.values()) is world.is_behind


@given(history=HISTORIES)
def test_it_never_wedges_and_remembers_only_what_stands_when_the_watch_catches_up(
    history: tuple[int, int],
) -> None:
    seed, steps = history
    world = world_of(seed)
    for _ in range(steps):
        world.step()
    world.catch_up()
    assert not world.tracker.is_stale(world.cache.values())
    tracker = world.tracker.planned(Plan())
    assert tracker._standing.keys() <= {item.metadata.uid for item in world.server.values()}
    assert not tracker._gone


@given(history=HISTORIES)
def test_a_tracker_is_a_value(history: tuple[int, int]) -> None:
    seed, steps = history
    one, other = world_of(seed), world_of(seed)
    for _ in range(steps // 5):
        before = one.tracker
        copy = pickle.loads(pickle.dumps(before))
        one.step()
        other.step()
        assert before == copy
    assert one.tracker == other.tracker
    assert hash(one.tracker) == hash(other.tracker)


# --- one by one -------------------------------------------------------------------------------


def test_nothing_is_stale_for_a_process_that_begins() -> None:
    assert not EMPTY.is_stale([])
    assert not EMPTY.is_stale([at(5)])


def test_a_plan_of_creates_and_updates_counts_from_its_answers_on() -> None:
    create = CreateSlice(stored("", 0), ())
    update = UpdateSlice(at(5), at(5), ())
    assert EMPTY.planned(Plan((create, update))) is EMPTY


def test_what_was_created_is_missed_until_it_is_there() -> None:
    tracker = EMPTY.observed(at(5))
    assert tracker.is_stale([])
    assert tracker.is_stale([at(4, "web-b", uid="uid-b")])
    assert not tracker.is_stale([at(5)])


@pytest.mark.parametrize(
    ("cached", "is_stale"),
    [
        (at(4, generation=1), True),
        (at(5, generation=2), True),
        (at(6, generation=2), False),
        (at(7, generation=2), False),
        (at(7, generation=3), False),
        (at("", generation=1), True),
        (at("", generation=2), False),
        (at("rv-6", generation=1), True),
        (at("9" * 21, generation=2), False),
        (at("٦", generation=2), False),
    ],
)
def test_a_slice_that_was_updated_must_be_there_in_that_version(
    cached: EndpointSlice, is_stale: bool
) -> None:
    assert EMPTY.observed(at(6, generation=2)).is_stale([cached]) is is_stale


def test_what_was_deleted_is_stale_until_it_is_gone() -> None:
    tracker = EMPTY.observed(at(5)).planned(deleting(at(5)))
    assert tracker.is_stale([at(5)])
    assert tracker.is_stale([at(4)])
    assert not tracker.is_stale([])
    assert not tracker.deleted(at(6)).is_stale([at(5)])


def test_a_delete_that_others_made_vain_is_not_waited_for() -> None:
    assert not EMPTY.planned(deleting(at(5))).is_stale([at(6)])


def test_a_slice_that_we_deleted_is_not_missed_whatever_the_watch_still_says_of_it() -> None:
    assert not EMPTY.planned(deleting(at(5))).observed(at(5)).is_stale([])


def test_a_plan_takes_the_place_of_the_one_before() -> None:
    planned = EMPTY.planned(deleting(at(5), at(3, "web-b", uid="uid-b")))
    assert planned.planned(deleting(at(5))) == EMPTY.planned(deleting(at(5)))
    assert planned.planned(Plan()) == EMPTY


def test_a_slice_that_others_made_again_under_its_name_is_another_slice() -> None:
    again = at(8, uid="uid-new")
    assert not EMPTY.observed(at(5, generation=3)).is_stale([again])
    assert not EMPTY.planned(deleting(at(5))).is_stale([again])
    # One of that name which was there before ours says nothing of ours.
    assert EMPTY.observed(at(5)).is_stale([at(3, uid="uid-old")])


def test_a_slice_that_others_deleted_is_forgotten() -> None:
    tracker = EMPTY.observed(at(5)).deleted(at(6))
    assert not tracker.is_stale([])
    assert tracker == SliceTracker(resource_version="6")


def test_an_answer_that_is_told_after_the_slice_was_deleted_is_no_news() -> None:
    heard = EMPTY.deleted(at(6))
    assert heard.observed(at(5)) is heard
    assert heard.observed(at(7, "web-b", uid="uid-b")).is_stale([])


def test_a_slice_that_is_missing_where_newer_ones_are_was_deleted() -> None:
    newer = at(6, "web-b", uid="uid-b")
    assert not EMPTY.observed(at(5)).is_stale([newer])
    # Versions that are no numbers have no order, so it may be still to come.
    assert EMPTY.observed(at("rv-5")).is_stale([newer])


def test_a_late_answer_is_no_news_to_who_has_listed_since() -> None:
    listed = SliceTracker(resource_version="7")
    assert listed.observed(at(5)) is listed


def test_an_answer_that_came_before_the_deletion_of_another_slice_is_no_longer_waited_for() -> None:
    tracker = EMPTY.observed(at(5)).deleted(at(6, "web-b", uid="uid-b"))
    assert not tracker.is_stale([])


def test_older_answers_change_nothing_and_a_deletion_never_turns_the_clock_back() -> None:
    tracker = EMPTY.observed(at(5))
    assert tracker.observed(at(5)) is tracker
    assert tracker.observed(at(4)) is tracker
    assert EMPTY.deleted(at(10)).deleted(at(9)).resource_version == "10"


def test_a_slice_without_a_uid_is_known_by_its_name() -> None:
    assert not EMPTY.observed(at(5, uid="")).is_stale([at(5, uid="")])
    assert EMPTY.observed(at(5, uid="")).is_stale([at(4, "web-b", uid="")])
