"""Laws of several writers at a time: nobody takes away the copy that another relies upon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs
from hypothesis import example, given
from hypothesis import strategies as st

from endpointslice import EndpointGroup, EndpointSlice, Operation, Plan
from tests.builders import Case, cases, group, stored
from tests.test_reconcile_laws import STRATEGIES, copies, plan_of, wanted

State = Mapping[str, EndpointSlice]


@attrs.define
class Writer:
    """Somebody who plans from what it has seen, which may be old, and writes step by step."""

    strategy: int
    seen: int = 0
    left: list[Operation] = attrs.Factory(list)


class Server:
    """Slices with versions; a write is taken only at the version that it was planned against."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.version = 0
        self.states: list[State] = [{}]
        for item in case.ours:
            self.states[0] = {**self.states[0], item.name: self.versioned(item, item.name)}

    def versioned(self, item: EndpointSlice, name: str) -> EndpointSlice:
        self.version += 1
        meta = attrs.evolve(item.metadata, name=name, resource_version=str(self.version))
        return attrs.evolve(item, metadata=meta)

    def look(self, writer: Writer, lag: int, gone: frozenset[int] = frozenset()) -> None:
        """Let a writer see a state, not older than what it saw before, and plan.

        It takes those of a few Pods for gone, which the others do not know yet.
        """
        writer.seen = max(writer.seen, len(self.states) - 1 - lag)
        state = self.states[writer.seen]
        case = attrs.evolve(
            self.case,
            desired=tuple(without(item, gone) for item in self.case.desired),
            current=(*state.values(), *self.case.foreign),
        )
        writer.left = list(plan_of(case, STRATEGIES[writer.strategy]).operations)

    def write(self, writer: Writer) -> None:
        """Carry out the next operation of a plan; one that is refused ends it."""
        operation, *writer.left = writer.left
        state = dict(self.states[-1])
        before, after = operation.before, operation.after
        if before is not None:
            stands = state.pop(before.name, None)
            if stands is None or stands.metadata.revision != before.metadata.revision:
                writer.left = []
                return
            if after == stands:
                # The API server makes no new version of what is written as it stands.
                return
        if after is not None:
            name = after.name or f"new-{self.version}"
            state[name] = self.versioned(after, name)
        self.states.append(state)


def without(item: EndpointGroup, gone: frozenset[int]) -> EndpointGroup:
    names = {f"web-{number}" for number in gone}
    left = [e for e in item.endpoints if e.target_ref is None or e.target_ref.name not in names]
    return attrs.evolve(item, endpoints=tuple(left))


#: The first writer puts 3 into web-b, and is about to delete web-a, for it takes 9 for gone. The
#: second takes 1 for gone instead: it must write web-b, and web-a has just what it wants.
RELIED_UPON: Final = Case(
    desired=(group(1, 2, 3, 9),),
    current=(stored("web-a", 3, 9), stored("web-b", 1, 2, 7)),
    capacity=3,
)
_LOOKS: Final = [(0, 0, frozenset((9,))), (0, -1, frozenset[int]())]
_OVERTAKES: Final = [(1, 0, frozenset((1,))), (1, -1, frozenset[int]()), *_LOOKS[1:]]

#: The first writer moves 3 to web-a, where an older copy of it stands already: no write, to the
#: API server, that would hinder the second from taking that copy away.
NO_WRITE: Final = Case(
    desired=(group(1, 2, 3, 9),),
    current=(stored("web-a", 1, 2, 3), stored("web-b", 3, 9)),
    capacity=3,
)
#: The same where nothing else is in the slice that could change its place.
NO_WRITE_OF_ONE: Final = Case(
    desired=(group(1, 2, 3, 9),),
    current=(stored("web-a", 3), stored("web-b", 1, 2, 3, 9)),
    capacity=3,
)
_AT_ONCE: Final = [
    (0, 0, frozenset((9,))),
    (1, 0, frozenset((1,))),
    *[(0, -1, frozenset[int]())] * 3,
    *[(1, -1, frozenset[int]())] * 3,
]


@given(
    case=cases(),
    strategies=st.lists(st.integers(0, len(STRATEGIES) - 1), min_size=2, max_size=3),
    moves=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(-1, 4),
            st.frozensets(st.integers(0, 9), max_size=2),
        ),
        max_size=40,
    ),
)
@example(case=RELIED_UPON, strategies=[0, 1], moves=_LOOKS + _OVERTAKES)
@example(case=NO_WRITE, strategies=[0, 0], moves=_AT_ONCE)
@example(case=NO_WRITE, strategies=[2, 2], moves=_AT_ONCE)
@example(case=NO_WRITE_OF_ONE, strategies=[5, 6], moves=_AT_ONCE)
@example(case=NO_WRITE_OF_ONE, strategies=[6, 6], moves=_AT_ONCE)
def test_however_many_write_no_endpoint_that_all_want_is_ever_lost(
    case: Case, strategies: list[int], moves: list[tuple[int, int, frozenset[int]]]
) -> None:
    server = Server(case)
    writers = [Writer(strategy) for strategy in strategies]
    for number, lag, gone in moves:
        writer = writers[number % len(writers)]
        if lag >= 0:
            server.look(writer, lag, gone)
        elif writer.left:
            server.write(writer)
    known = frozenset[int]().union(*(gone for _, lag, gone in moves if lag >= 0))
    common = attrs.evolve(case, desired=tuple(without(item, known) for item in case.desired))
    names = {item.name for item in case.live}
    live = [item for item in server.states[0].values() if item.name in names]
    lasting = copies(live).keys() & wanted(common).keys()
    for state in server.states:
        assert lasting <= copies(state.values()).keys()


@given(
    case=cases(),
    strategies=st.lists(st.integers(0, len(STRATEGIES) - 1), min_size=2, max_size=3),
    moves=st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 4)), max_size=20),
)
def test_whatever_several_writers_leave_behind_one_of_them_puts_right(
    case: Case, strategies: list[int], moves: list[tuple[int, int]]
) -> None:
    server = Server(case)
    writers = [Writer(strategy) for strategy in strategies]
    for number, lag in moves:
        writer = writers[number % len(writers)]
        if lag >= 0:
            server.look(writer, lag)
        elif writer.left:
            server.write(writer)
    last = writers[0]
    server.look(last, 0)
    while last.left:
        server.write(last)
    found = copies(server.states[-1].values())
    assert all(len(contents) == 1 for contents in found.values())
    assert {place: contents[0] for place, contents in found.items()} == wanted(case)
    server.look(last, 0)
    assert Plan(tuple(last.left)).is_empty
