"""trigger_time: the earliest change that is newer than what was seen before."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpointslice import ModelError, ObjectMeta, Pod, Service, TriggerTimes, trigger_time

START: Final = datetime(2026, 6, 1, tzinfo=UTC)


def second(number: int) -> str:
    return (START + timedelta(seconds=number)).isoformat().replace("+00:00", "Z")


def service(created: str | None = second(0)) -> Service:
    return Service(metadata=ObjectMeta(namespace="shop", name="web", creation_timestamp=created))


def pods(times: Mapping[str, str | None]) -> list[Pod]:
    return [
        Pod(metadata=ObjectMeta(namespace="shop", name=name), ready_transition_time=time)
        for name, time in times.items()
    ]


def synced(*states: Mapping[str, str | None], created: str | None = second(0)) -> TriggerTimes:
    """What is found at the last of so many syncs."""
    found = None
    for state in states:
        found = trigger_time(service(created), pods(state), found)
    assert found is not None
    return found


# --- a law ------------------------------------------------------------------------------------

STATES: Final = st.dictionaries(
    st.sampled_from(["web-0", "web-1", "web-2"]), st.none() | st.integers(-3, 5)
)


@given(states=st.lists(STATES, min_size=2, max_size=6), created=st.none() | st.integers(-3, 5))
def test_it_is_the_earliest_that_is_newer_than_at_the_sync_before(
    states: list[dict[str, int | None]], created: int | None
) -> None:
    told = None if created is None else second(created)
    found = synced(
        *(
            {name: None if time is None else second(time) for name, time in state.items()}
            for state in states
        ),
        created=told,
    )
    *_, before, now = states
    newer = [
        time
        for name, time in now.items()
        if time is not None and ((seen := before.get(name)) is None or time > seen)
    ]
    assert found.time == (second(min(newer)) if newer else None)


@given(state=STATES, data=st.data())
def test_the_order_of_the_pods_does_not_matter(
    state: dict[str, int | None], data: st.DataObject
) -> None:
    told = pods({name: None if time is None else second(time) for name, time in state.items()})
    first = trigger_time(service(), [])
    other = data.draw(st.permutations(told))
    assert trigger_time(service(), told, first) == trigger_time(service(), other, first)


# --- one by one -------------------------------------------------------------------------------


def test_the_first_sync_answers_that_the_service_was_created() -> None:
    assert synced({"web-0": second(-5)}).time == second(0)
    assert synced({"web-0": second(-5)}, created=None).time is None


def test_a_service_that_was_made_again_is_a_change() -> None:
    again = trigger_time(service(second(9)), [], synced({}))
    assert (again.time, again.service) == (second(9), second(9))


def test_nothing_that_changed_has_no_time() -> None:
    state = {"web-0": second(5), "web-1": None}
    assert synced(state, state).time is None


def test_a_pod_that_goes_has_no_time_and_is_forgotten() -> None:
    found = synced({"web-0": second(5), "web-1": second(6)}, {"web-1": second(6)})
    assert (found.time, found.pods) == (None, {"web-1": second(6)})


def test_a_sync_that_failed_has_not_answered() -> None:
    first = synced({})
    failed = trigger_time(service(), pods({"web-0": second(5)}), first)
    again = trigger_time(service(), pods({"web-0": second(5), "web-1": second(8)}), first)
    assert (failed.time, again.time) == (second(5), second(5))


@pytest.mark.parametrize(
    ("before", "now", "time"),
    [
        (
            "2026-06-01T00:00:05Z",
            "2026-06-01T00:00:05.000000001Z",
            "2026-06-01T00:00:05.000000001Z",
        ),
        ("2026-06-01T00:00:05.5Z", "2026-06-01T00:00:05.05Z", None),
        ("2026-06-01T00:00:05.5Z", "2026-06-01T00:00:05Z", None),
        ("2026-06-01T00:00:05Z", "2026-06-01T02:00:05+02:00", None),
        ("2026-06-01T00:00:05Z", "2026-06-01T00:00:05.0Z", None),
        ("2026-06-01T00:00:05Z", "2026-06-01T01:00:06+01:00", "2026-06-01T00:00:06Z"),
    ],
)
def test_times_compare_as_moments_to_the_nanosecond(
    before: str, now: str, time: str | None
) -> None:
    assert synced({"web-0": before}, {"web-0": now}).time == time


def test_of_moments_within_a_second_the_earliest_counts() -> None:
    state = {"web-0": "2026-06-01T00:00:05.5Z", "web-1": "2026-06-01T00:00:05Z"}
    assert synced({}, state).time == "2026-06-01T00:00:05Z"


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(ModelError, match="RFC 3339"):
        synced({}, {"web-0": "2026-06-01"})
