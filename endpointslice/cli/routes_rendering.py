"""Routes -> text, as tables for people and as JSON, YAML and names for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

from endpointslice import Backend, Selection, Topology, TrafficPolicy, Unused, UnusedReason
from endpointslice.cli.planning import joined, title
from endpointslice.cli.printing import Line, plural, print_json, print_lines, print_yaml, words
from endpointslice.cli.routes import Route, Routes

__all__ = ["render_routes"]

#: How many endpoints that share a fate the table shows; `-o wide` shows all.
_SHOWN_ENDPOINTS: Final = 8
#: How many names a list in a sentence has before "and N more".
_SHOWN_NAMES: Final = 3


def render_routes(found: Routes, output: str) -> None:
    """Print what `route` found."""
    match output:
        case "json":
            print_json(_data(found))
        case "yaml":
            print_yaml(_data(found))
        case "name":
            for item in found.services:
                for route in item.routes:
                    for backend in route.selection.reachable:
                        sys.stdout.write(f"{backend}\n")
        case _:
            print_lines(_lines(found, wide=output == "wide"))


# --- for people -------------------------------------------------------------------------------


def _lines(found: Routes, *, wide: bool) -> Iterator[Line]:
    place = f"in zone {found.zone}" if found.zone else "in no zone"
    yield [("From ", "bold"), (f"{found.node_name} {place}", "")]
    for item in found.services:
        yield []
        yield [(f"Service {title(item.service)}", "bold")]
        if not item.routes:
            yield [("  it has no ports, so nothing is routed", "")]
        for route in item.routes:
            yield from _route_lines(route, wide=wide)
    if found.omitted or found.unclaimed:
        yield []
    for omission in found.omitted:
        name = joined(omission.namespace, omission.name)
        style = "bold red" if omission.is_error else "bold"
        yield [(f"Not routed: {name}: ", style), (omission.reason, "")]
    if found.unclaimed:
        count = sum(len(item.slices) for item in found.unclaimed)
        names = [joined(item.namespace, item.service or "<none>") for item in found.unclaimed]
        shown = names if wide else names[:_SHOWN_NAMES]
        more = f" and {len(names) - len(shown):,} more" if len(names) > len(shown) else ""
        text = f"{plural(count, 'slice')} of Services that were not given: {', '.join(shown)}{more}"
        yield [("Not routed: ", "bold"), (text, "")]


def _traffic(route: Route) -> dict[TrafficPolicy, str]:
    """What traffic each policy is for."""
    selection = route.selection
    kinds = {selection.internal_policy: "internal traffic"}
    if selection.external_policy is selection.internal_policy:
        kinds[selection.internal_policy] = "internal and external traffic"
    elif selection.external_policy is not None:
        kinds[selection.external_policy] = "external traffic"
    return kinds


def _route_lines(route: Route, *, wide: bool) -> Iterator[Line]:
    selection, port = route.selection, route.port
    name = f"{port.name} " if port.name else ""
    yield []
    yield [(f"  {selection.port.address_type} {name}{port.port}/{port.protocol}", "bold")]
    for policy, kind in _traffic(route).items():
        used = selection.used_by(policy)
        if used:
            goal = f"goes to {len(used):,} of {plural(len(selection.backends), 'endpoint')}"
        elif selection.has_endpoints:
            goal = "is dropped: endpoints are on other nodes only"
        else:
            goal = "is rejected: there is no endpoint to go to"
        yield [
            (f"    {kind} {goal}", "" if used else "yellow"),
            (f" ({'; '.join(_facts(selection, policy))})", "dim"),
        ]
        yield from _endpoint_lines(used, route.unused[policy], wide=wide)


def _facts(selection: Selection, policy: TrafficPolicy) -> Iterator[str]:
    """What decides between the endpoints that could be used."""
    yield f"policy {policy}"
    if policy is TrafficPolicy.CLUSTER:
        if selection.topology is not Topology.ANYWHERE:
            yield f"hints for the {words(selection.topology)}"
        for reason in selection.ignored_hints:
            yield f"hints ignored: {words(reason)}"


_Row: TypeAlias = tuple[str, str, tuple[str, ...]]


def _endpoint_lines(
    used: Sequence[Backend], unused: Sequence[Unused], *, wide: bool
) -> Iterator[Line]:
    rows = list(_rows(used, unused, wide=wide))
    columns = zip(*(cells for _, _, cells in rows if len(cells) > 1), strict=True)
    widths = [max(map(len, column)) for column in columns] or [0]
    for mark, color, cells in rows:
        text = "  ".join(cell.ljust(size) for cell, size in zip(cells, widths, strict=False))
        yield [(f"      {mark} {text}".rstrip(), color)]


def _rows(used: Sequence[Backend], unused: Sequence[Unused], *, wide: bool) -> Iterator[_Row]:
    """Each endpoint: where it is, its target, and why it is not used."""
    fates: dict[str, list[tuple[Backend, str]]] = {
        "": [(item, "" if item.endpoint.conditions.ready else "terminating") for item in used]
    }
    for item in unused:
        fates.setdefault(item.reason, []).append((item.backend, _why(item)))
    for reason, backends in fates.items():
        mark, color = ("x", "dim") if reason else (">", "green")
        shown = len(backends) if wide else _SHOWN_ENDPOINTS
        for backend, note in backends[:shown]:
            endpoint = backend.endpoint
            target = endpoint.target_ref.name if endpoint.target_ref else endpoint.hostname
            places = (target or "-", endpoint.node_name or "-", endpoint.zone or "-")
            yield mark, color, (str(backend), *places, note)
        hidden = len(backends) - shown
        if hidden > 0:
            told = f", {words(reason)}" if reason else ""
            yield mark, color, (f"... and {hidden:,} more{told} (-o wide shows all)",)


def _why(item: Unused) -> str:
    hints = item.backend.endpoint.hints
    match item.reason:
        case UnusedReason.HINTED_TO_OTHER_ZONES:
            return f"{words(item.reason)}: {', '.join(hints.for_zones)}"
        case UnusedReason.HINTED_TO_OTHER_NODES:
            return f"{words(item.reason)}: {', '.join(hints.for_nodes)}"
        case UnusedReason.SUPERSEDED:
            return f"another copy counts than that in {item.slice_name}"
        case _:
            return words(item.reason)


# --- for programs -----------------------------------------------------------------------------


def _data(found: Routes) -> dict[str, Any]:
    return {
        "node": found.node_name,
        "zone": found.zone,
        "services": [
            {
                "namespace": item.service.metadata.namespace,
                "name": item.service.metadata.name,
                "ports": list(map(_route_data, item.routes)),
            }
            for item in found.services
        ],
        "notRouted": [
            {
                "namespace": item.namespace,
                "name": item.name,
                "reason": item.reason,
                "isError": item.is_error,
            }
            for item in found.omitted
        ],
        "notTouched": [
            {"namespace": item.namespace, "service": item.service, "slices": list(item.slices)}
            for item in found.unclaimed
        ],
        "errors": list(map(str, found.problems)),
    }


def _route_data(route: Route) -> dict[str, Any]:
    selection = route.selection
    return {
        "addressType": str(selection.port.address_type),
        "name": route.port.name,
        "port": route.port.port,
        "protocol": str(route.port.protocol),
        "hasEndpoints": selection.has_endpoints,
        "topology": str(selection.topology),
        "ignoredHints": list(map(str, selection.ignored_hints)),
        "internal": _traffic_data(route, selection.internal_policy),
        "external": _traffic_data(route, selection.external_policy),
    }


def _traffic_data(route: Route, policy: TrafficPolicy | None) -> dict[str, Any] | None:
    if policy is None:
        return None
    return {
        "policy": str(policy),
        "endpoints": list(map(_endpoint_data, route.selection.used_by(policy))),
        "unused": [
            {
                **_endpoint_data(item.backend),
                "reason": str(item.reason),
                **({"slice": item.slice_name} if item.slice_name else {}),
            }
            for item in route.unused[policy]
        ],
    }


def _endpoint_data(backend: Backend) -> dict[str, Any]:
    endpoint = backend.endpoint
    return {
        "address": backend.address,
        "port": backend.port,
        "target": endpoint.target_ref.name if endpoint.target_ref else None,
        "node": endpoint.node_name,
        "zone": endpoint.zone,
        "ready": endpoint.conditions.ready,
        "serving": endpoint.conditions.serving,
        "terminating": endpoint.conditions.terminating,
        "forZones": list(endpoint.hints.for_zones),
        "forNodes": list(endpoint.hints.for_nodes),
    }
