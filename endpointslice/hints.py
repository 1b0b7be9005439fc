"""Who should use which endpoint: hints for desired groups, assigned before packing.

Hints are part of an endpoint's content, so they are decided first and packed afterwards: one
pass, and a slice whose hints are right is never written.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Protocol, final

import attrs

from endpointslice.models import (
    NO_HINTS,
    Endpoint,
    EndpointGroup,
    EndpointHints,
    Service,
)

__all__ = [
    "HintFallback",
    "HintFallbackReason",
    "HintPolicy",
    "NoHints",
    "PreferSameNode",
    "PreferSameZone",
    "hint_policy",
]

_ANNOTATION_MODE = "service.kubernetes.io/topology-mode"
_ANNOTATION_MODE_DEPRECATED = "service.kubernetes.io/topology-aware-hints"


class HintFallbackReason(StrEnum):
    """Why a Service that asks for hints gets none."""

    #: topology-mode Auto, which divides endpoints by the CPUs of zones: not done here.
    AUTO_NOT_SUPPORTED = "TopologyModeAutoNotSupported"
    #: A trafficDistribution that this version does not know; the API says to ignore it.
    UNKNOWN_TRAFFIC_DISTRIBUTION = "UnknownTrafficDistribution"


@final
@attrs.frozen(kw_only=True)
class HintFallback:
    """Something that was asked for and not done, and why."""

    reason: HintFallbackReason
    value: str


class HintPolicy(Protocol):
    """Decides the hints of desired endpoints. A frozen value; a pure function of its input."""

    def assign(self, groups: Iterable[EndpointGroup]) -> tuple[EndpointGroup, ...]:
        """Return the same groups, with hints as the policy says and no others."""
        ...


def _is_ready(endpoint: Endpoint) -> bool:
    return endpoint.conditions.ready


def _with_hints(groups: Iterable[EndpointGroup], decide: _Decide) -> tuple[EndpointGroup, ...]:
    result = []
    for group in groups:
        endpoints = []
        for endpoint in group.endpoints:
            hints = decide(endpoint) if _is_ready(endpoint) else NO_HINTS
            endpoints.append(endpoint if hints == endpoint.hints else endpoint.with_hints(hints))
        result.append(EndpointGroup(key=group.key, endpoints=tuple(endpoints)))
    return tuple(result)


class _Decide(Protocol):
    def __call__(self, endpoint: Endpoint, /) -> EndpointHints: ...


@final
@attrs.frozen
class NoHints:
    """Every consumer may use every endpoint."""

    def assign(self, groups: Iterable[EndpointGroup]) -> tuple[EndpointGroup, ...]:
        """Remove all hints. Complexity: O(n) for n endpoints."""
        return _with_hints(groups, lambda _endpoint: NO_HINTS)


@final
@attrs.frozen
class PreferSameZone:
    """A ready endpoint is for the zone that it is in.

    Source: k8s.io/endpointslice trafficdist/trafficdist.go, preferCloseHeuristic. Endpoints
    that are not ready get no hint; the reference leaves on them whatever was there.
    """

    def assign(self, groups: Iterable[EndpointGroup]) -> tuple[EndpointGroup, ...]:
        """Hint each ready endpoint to its zone, if it has one. Complexity: O(n)."""
        shared: dict[str | None, EndpointHints] = {}

        def decide(endpoint: Endpoint) -> EndpointHints:
            zone = endpoint.zone
            hints = shared.get(zone)
            if hints is None:
                hints = shared[zone] = EndpointHints(for_zones=(zone,) if zone else ())
            return hints

        return _with_hints(groups, decide)


@final
@attrs.frozen
class PreferSameNode:
    """A ready endpoint is for the node that it is on, and for its zone where that has none.

    Source: k8s.io/endpointslice trafficdist/trafficdist.go, preferCloseHeuristic.
    """

    def assign(self, groups: Iterable[EndpointGroup]) -> tuple[EndpointGroup, ...]:
        """Hint each ready endpoint to its zone and node. Complexity: O(n)."""
        shared: dict[tuple[str | None, str | None], EndpointHints] = {}

        def decide(endpoint: Endpoint) -> EndpointHints:
            place = (endpoint.zone, endpoint.node_name)
            hints = shared.get(place)
            if hints is None:
                zone, node = place
                hints = shared[place] = EndpointHints(
                    for_zones=(zone,) if zone else (), for_nodes=(node,) if node else ()
                )
            return hints

        return _with_hints(groups, decide)


def hint_policy(service: Service) -> tuple[HintPolicy, tuple[HintFallback, ...]]:
    """Return the policy that a Service asks for, and what of its wishes cannot be met.

    The annotation topology-mode has precedence over trafficDistribution; of its two spellings
    the deprecated one counts, as in the reference.

    Source: k8s.io/endpointslice reconciler.go, reconcileByAddressType; utils.go, hintsEnabled.
    """
    annotations = service.metadata.annotations
    mode = annotations.get(_ANNOTATION_MODE_DEPRECATED, annotations.get(_ANNOTATION_MODE))
    if mode in ("Auto", "auto"):
        reason = HintFallbackReason.AUTO_NOT_SUPPORTED
        return NoHints(), (HintFallback(reason=reason, value=mode),)
    match service.traffic_distribution:
        case None:
            return NoHints(), ()
        case "PreferClose" | "PreferSameZone":
            return PreferSameZone(), ()
        case "PreferSameNode":
            return PreferSameNode(), ()
        case other:
            reason = HintFallbackReason.UNKNOWN_TRAFFIC_DISTRIBUTION
            return NoHints(), (HintFallback(reason=reason, value=other),)
