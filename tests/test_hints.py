"""Who should use which endpoint: what a Service asks for, and what its endpoints get."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpointslice import (
    Endpoint,
    EndpointConditions,
    EndpointGroup,
    EndpointHints,
    FrozenDict,
    HintFallback,
    HintFallbackReason,
    HintPolicy,
    NoHints,
    ObjectMeta,
    PreferSameNode,
    PreferSameZone,
    ProportionalZones,
    Service,
    hint_policy,
)
from tests.builders import HTTP, HTTP_ALT, cases, endpoint, group

_MODE: Final = "service.kubernetes.io/topology-mode"
_DEPRECATED: Final = "service.kubernetes.io/topology-aware-hints"
_NOT_READY: Final = EndpointConditions(ready=False, serving=False)
_TERMINATING: Final = EndpointConditions(ready=False, serving=True, terminating=True)
#: Ready though terminating, as publishNotReadyAddresses makes it.
_PUBLISHED: Final = EndpointConditions(ready=True, serving=False, terminating=True)
POLICIES: Final[tuple[HintPolicy, ...]] = (NoHints(), PreferSameZone(), PreferSameNode())
every_policy = pytest.mark.parametrize("policy", POLICIES, ids=repr)


def service(distribution: str | None = None, **annotations: str) -> Service:
    names = {"mode": _MODE, "deprecated": _DEPRECATED}
    stated = FrozenDict({names[name]: value for name, value in annotations.items()})
    return Service(
        metadata=ObjectMeta(name="web", annotations=stated), traffic_distribution=distribution
    )


def hinted(policy: HintPolicy, **fields: Any) -> EndpointHints:
    """What one endpoint gets."""
    (result,) = policy.assign([group(endpoint(1, **fields))])
    return result.endpoints[0].hints


# --- what a Service asks for ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("distribution", "policy"),
    [
        (None, NoHints()),
        ("", NoHints()),
        ("PreferClose", PreferSameZone()),
        ("PreferSameZone", PreferSameZone()),
        ("PreferSameNode", PreferSameNode()),
    ],
)
def test_the_traffic_distribution_chooses_the_policy(
    distribution: str | None, policy: HintPolicy
) -> None:
    assert hint_policy(service(distribution)) == (policy, ())


@pytest.mark.parametrize("distribution", ["preferclose", "PreferFar"])
def test_an_unknown_traffic_distribution_is_ignored_and_said(distribution: str) -> None:
    reason = HintFallbackReason.UNKNOWN_TRAFFIC_DISTRIBUTION
    assert hint_policy(service(distribution)) == (
        NoHints(),
        (HintFallback(reason=reason, value=distribution),),
    )


@pytest.mark.parametrize("name", ["mode", "deprecated"])
@pytest.mark.parametrize("mode", ["Auto", "auto"])
@pytest.mark.parametrize("distribution", [None, "PreferSameZone", "PreferFar"])
def test_topology_mode_auto_has_precedence(name: str, mode: str, distribution: str | None) -> None:
    assert hint_policy(service(distribution, **{name: mode})) == (ProportionalZones(), ())


@pytest.mark.parametrize("mode", ["", "Disabled", "disabled"])
def test_topology_mode_disabled_leaves_the_traffic_distribution(mode: str) -> None:
    assert hint_policy(service("PreferClose", mode=mode)) == (PreferSameZone(), ())


@pytest.mark.parametrize("mode", ["AUTO", "other"])
def test_an_unknown_topology_mode_is_ignored_and_said(mode: str) -> None:
    told = HintFallback(reason=HintFallbackReason.UNKNOWN_TOPOLOGY_MODE, value=mode)
    assert hint_policy(service("PreferClose", mode=mode)) == (PreferSameZone(), (told,))
    policy, both = hint_policy(service("PreferFar", mode=mode))
    assert policy == NoHints()
    assert [item.value for item in both] == [mode, "PreferFar"]


def test_of_the_two_spellings_of_the_mode_the_deprecated_one_counts() -> None:
    off = service("PreferClose", mode="Auto", deprecated="Disabled")
    assert hint_policy(off) == (PreferSameZone(), ())
    assert hint_policy(service(mode="Disabled", deprecated="auto")) == (ProportionalZones(), ())


# --- what an endpoint gets ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "zone", "same_zone", "same_node"),
    [
        (
            "n",
            "a",
            EndpointHints(for_zones=("a",)),
            EndpointHints(for_zones=("a",), for_nodes=("n",)),
        ),
        ("n", None, EndpointHints(), EndpointHints(for_nodes=("n",))),
        (None, "a", EndpointHints(for_zones=("a",)), EndpointHints(for_zones=("a",))),
        (None, None, EndpointHints(), EndpointHints()),
        ("", "", EndpointHints(), EndpointHints()),
    ],
)
def test_a_ready_endpoint_is_for_where_it_is(
    node: str | None, zone: str | None, same_zone: EndpointHints, same_node: EndpointHints
) -> None:
    assert hinted(PreferSameZone(), node_name=node, zone=zone) == same_zone
    assert hinted(PreferSameNode(), node_name=node, zone=zone) == same_node
    assert hinted(NoHints(), node_name=node, zone=zone) == EndpointHints()


@every_policy
@pytest.mark.parametrize("conditions", [_NOT_READY, _TERMINATING])
def test_an_endpoint_that_is_not_ready_gets_no_hint_and_loses_what_it_had(
    policy: HintPolicy, conditions: EndpointConditions
) -> None:
    had = EndpointHints(for_zones=("a",))
    assert hinted(policy, conditions=conditions, hints=had) == EndpointHints()


def test_an_endpoint_that_is_published_as_ready_is_ready() -> None:
    assert hinted(PreferSameZone(), conditions=_PUBLISHED) == EndpointHints(for_zones=("a",))


@every_policy
def test_hints_of_before_are_replaced(policy: HintPolicy) -> None:
    had = EndpointHints(for_zones=("old",), for_nodes=("old",))
    assert hinted(policy, hints=had) == hinted(policy)


@every_policy
def test_an_endpoint_whose_hints_are_right_is_the_same_object(policy: HintPolicy) -> None:
    once = policy.assign([group(1, 2, endpoint(3, 1), endpoint(4, 3))])
    twice = policy.assign(once)
    assert twice == once
    for before, after in zip(once[0].endpoints, twice[0].endpoints, strict=True):
        assert before is after


def test_endpoints_of_one_place_share_their_hints() -> None:
    (result,) = PreferSameNode().assign([group(1, 2)])
    first, second = result.endpoints
    assert first.hints is second.hints


@every_policy
@given(data=st.data())
def test_hints_change_hints_and_nothing_else(policy: HintPolicy, data: st.DataObject) -> None:
    desired = data.draw(cases()).desired
    result = policy.assign(iter(desired))

    def without_hints(groups: tuple[EndpointGroup, ...]) -> list[tuple[Endpoint, ...]]:
        return [
            tuple(member.with_hints(EndpointHints()) for member in item.endpoints)
            for item in groups
        ]

    assert [item.key for item in result] == [item.key for item in desired]
    assert without_hints(result) == without_hints(desired)
    for item in result:
        for member in item.endpoints:
            if not member.conditions.ready:
                assert not member.hints


@every_policy
def test_a_policy_gives_every_group_its_hints(policy: HintPolicy) -> None:
    groups = [group(1), group(2, ports=(HTTP_ALT,)), group()]
    result = policy.assign(groups)
    assert [item.key for item in result] == [item.key for item in groups]
    assert [len(item.endpoints) for item in result] == [1, 1, 0]
    assert policy.assign([]) == ()
    assert result[0].key.ports == (HTTP,)


@every_policy
def test_policies_are_values(policy: HintPolicy) -> None:
    assert [policy == other for other in POLICIES].count(True) == 1
    assert hash(policy) == hash(type(policy)())
