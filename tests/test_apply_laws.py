"""Laws of carrying a plan out: whatever is refused, nobody loses an endpoint for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from endpointslice import EndpointSlice, PackingStrategy, decode_slice, encode_slice
from endpointslice.clients import Answer, Outcome, SliceRequest, Verb, apply_plan_to
from tests.builders import Case, cases
from tests.test_reconcile_laws import copies, every_strategy, plan_of, wanted

REFUSED = Answer(status=422, body={"reason": "Invalid"})


@attrs.define
class Store:
    """Does what it is asked, and refuses what it is told to refuse.

    Attributes:
        slices: What stands, by name.
        refusals: Whether to refuse a request, one after the other; when they end, none.
        states: What stood after each request.
    """

    slices: dict[str, EndpointSlice]
    refusals: list[bool]
    states: list[Mapping[str, EndpointSlice]] = attrs.Factory(list)

    def send(self, request: SliceRequest) -> Answer:
        if self.refusals and self.refusals.pop(0):
            return REFUSED
        body = self._carried_out(request)
        self.states.append(dict(self.slices))
        return Answer(status=200, body=body)

    def _carried_out(self, request: SliceRequest) -> dict[str, Any]:
        if request.verb is Verb.DELETE:
            del self.slices[request.name]
            return {}
        assert request.manifest is not None
        asked = decode_slice(request.manifest)
        name = request.name or f"new-{len(self.states)}"
        assert (request.name in self.slices) is (request.verb is Verb.UPDATE)
        meta = attrs.evolve(asked.metadata, name=name, resource_version=f"rv-{len(self.states)}")
        self.slices[name] = attrs.evolve(asked, metadata=meta)
        return encode_slice(self.slices[name])


@every_strategy
@given(case=cases(), refusals=st.lists(st.booleans(), max_size=12))
def test_an_endpoint_that_is_wanted_is_there_all_the_time_whatever_is_refused(
    strategy: PackingStrategy, case: Case, refusals: list[bool]
) -> None:
    plan = plan_of(case, strategy)
    store = Store({item.name: item for item in case.ours}, list(refusals))
    lasting = copies(case.ours).keys() & wanted(case).keys()
    result = apply_plan_to(store, plan)
    for state in store.states:
        assert lasting <= copies(state.values()).keys()
    # Those that were sent came to what the server said, and the others were not sent.
    sent = [item for item in result.results if item.outcome is not Outcome.SKIPPED]
    answers = [*refusals, *[False] * len(sent)]
    for item, refused in zip(sent, answers, strict=False):
        assert item.outcome is (Outcome.REFUSED if refused else Outcome.APPLIED)
    assert len(store.states) == len(result.written.operations)
    if not any(refusals):
        assert result.is_complete


@every_strategy
@given(case=cases(), count=st.integers(min_value=0, max_value=6))
def test_a_plan_that_is_interrupted_is_finished_by_the_next(
    strategy: PackingStrategy, case: Case, count: int
) -> None:
    plan = plan_of(case, strategy)
    store = Store({item.name: item for item in case.ours}, [])

    class Dying:
        def send(self, request: SliceRequest) -> Answer:
            if len(store.states) == count:
                raise KeyboardInterrupt
            return store.send(request)

    try:
        apply_plan_to(Dying(), plan)
    except KeyboardInterrupt:
        assert len(store.states) == count
    half = attrs.evolve(case, current=(*store.slices.values(), *case.foreign))
    result = apply_plan_to(store, plan_of(half, strategy))
    assert result.is_complete
    assert {place: found[0] for place, found in copies(store.slices.values()).items()} == wanted(
        case
    )
    assert all(len(found) == 1 for found in copies(store.slices.values()).values())
