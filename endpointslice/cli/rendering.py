"""Reports -> text, as tables for people and as JSON, YAML and names for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs

from endpointslice import (
    CreateSlice,
    Endpoint,
    EndpointSlice,
    Explanation,
    GroupKey,
    SkippedPod,
    UpdateSlice,
    encode_plan,
    explain_plan,
    protobuf_size,
)
from endpointslice.cli.inspection import Inspection
from endpointslice.cli.planning import PlannedService, Report, joined, title
from endpointslice.cli.printing import (
    Line,
    console,
    plural,
    print_json,
    print_lines,
    print_yaml,
    words,
)
from endpointslice.cli.reading import Problem

__all__ = ["render_inspections", "render_report"]

_RESOURCE: Final = "endpointslice.discovery.k8s.io"
#: How many endpoints of one slice that share a fate the table shows; `-o wide` shows all.
_SHOWN_ENDPOINTS: Final = 8
#: How many names a list in a sentence has before "and N more".
_SHOWN_NAMES: Final = 3

_CREATE: Final = ("+", "create", "green")
_UPDATE: Final = ("~", "update", "yellow")
_DELETE: Final = ("-", "delete", "red")


def render_report(report: Report, output: str) -> None:
    """Print what `plan` found."""
    match output:
        case "json":
            print_json(_report_data(report))
        case "yaml":
            print_yaml(_report_data(report))
        case "name":
            for item in report.planned:
                for operation in item.result.plan.operations:
                    _, verb, _ = _verb(operation)
                    stored = operation.after or operation.before
                    namespace = stored.metadata.namespace
                    place = f" -n {namespace}" if namespace else ""
                    sys.stdout.write(f"{verb} {_RESOURCE}/{_slice_name(stored)}{place}\n")
        case _:
            print_lines(_report_lines(report, wide=output == "wide"))


def render_inspections(
    inspections: Sequence[Inspection], problems: Sequence[Problem], nodes: int, output: str
) -> None:
    """Print what `inspect` found."""
    match output:
        case "json":
            print_json(_inspections_data(inspections, problems, nodes))
        case "yaml":
            print_yaml(_inspections_data(inspections, problems, nodes))
        case "name":
            for name in dict.fromkeys(item.title for item in inspections):
                sys.stdout.write(f"{name}\n")
        case _:
            _print_inspections(inspections, nodes, wide=output == "wide")


# --- plan, for people -------------------------------------------------------------------------


def _listed(names: Sequence[str], shown: int = _SHOWN_NAMES) -> str:
    text = ", ".join(names[:shown])
    return text if len(names) <= shown else f"{text} and {len(names) - shown:,} more"


def _report_lines(report: Report, *, wide: bool) -> Iterator[Line]:
    changed = [item for item in report.planned if not item.result.plan.is_empty]
    same = [item for item in report.planned if item.result.plan.is_empty]
    for item in changed:
        yield from _service_lines(item, wide=wide)
        yield []
    if same:
        yield [("No changes: ", "bold"), (_listed_services(same, wide=wide), "")]
        for item in same if wide else same[:_SHOWN_NAMES]:
            yield from _note_lines(item, wide=wide)
    for omission in report.omitted:
        name = joined(omission.namespace, omission.name)
        style = "bold red" if omission.is_error else "bold"
        yield [(f"Not planned: {name}: ", style), (omission.reason, "")]
    if report.unclaimed:
        count = sum(len(item.slices) for item in report.unclaimed)
        names = [joined(item.namespace, item.service or "<none>") for item in report.unclaimed]
        yield [
            ("Not touched: ", "bold"),
            (f"{plural(count, 'slice')} of Services that were not given: ", ""),
            (_listed(names, len(names) if wide else _SHOWN_NAMES), ""),
        ]
    if same or report.omitted or report.unclaimed:
        yield []
    yield from _total_lines(report)


def _listed_services(items: Sequence[PlannedService], *, wide: bool) -> str:
    names = [
        f"{title(item.service)} ({plural(len(item.result.plan.unchanged), 'slice')})"
        for item in items
    ]
    return _listed(names, len(names) if wide else _SHOWN_NAMES)


def _total_lines(report: Report) -> Iterator[Line]:
    cost = report.cost
    failed = sum(item.is_error for item in report.omitted)
    yield [
        ("Plan: ", "bold"),
        (f"{cost.creates} to create", "green" if cost.creates else ""),
        (", ", ""),
        (f"{cost.updates} to update", "yellow" if cost.updates else ""),
        (", ", ""),
        (f"{cost.deletes} to delete", "red" if cost.deletes else ""),
        (".", ""),
        (f" {plural(failed, 'Service')} could not be planned." if failed else "", "bold red"),
    ]
    if not report.has_changes:
        return
    fewest = report.minimum_writes
    bound = "the minimum" if fewest == cost.writes else f"the minimum is {fewest}"
    price = f"{plural(cost.writes, 'write')} ({bound}), {plural(cost.bytes_written, 'byte')}"
    if report.watchers:
        sent = cost.bytes_on_wire(report.watchers)
        price += f"; {plural(sent, 'byte')} sent to {plural(report.watchers, 'watching node')}"
    yield [("Price: ", "bold"), (f"{price}.", "")]


def _service_lines(item: PlannedService, *, wide: bool) -> Iterator[Line]:
    cost = item.cost
    counts = [
        (cost.endpoints_added, "come"),
        (cost.endpoints_removed, "go"),
        (cost.endpoints_changed, "change"),
        (cost.endpoints_moved, "move"),
    ]
    fates = ", ".join(f"{count:,} {fate}" for count, fate in counts if count)
    summary = f"  endpoints: {fates}" if fates else ""
    yield [(f"Service {title(item.service)}", "bold"), (summary, "dim")]
    for explanation in explain_plan(item.result.plan):
        yield []
        yield from _slice_lines(explanation, wide=wide)
    if item.left_alone or item.result.skipped or item.result.hint_fallbacks or item.warnings:
        yield []
    yield from _note_lines(item, wide=wide, indent="  ")


def _note_lines(item: PlannedService, *, wide: bool, indent: str = "") -> Iterator[Line]:
    """What to know of a Service besides its writes."""
    # Below a list of Services, a note says which one it is about.
    about = "" if indent else f"{title(item.service)}: "
    for warning in item.warnings:
        yield [(f"{indent}warning: ", "bold yellow"), (f"{about}{warning}", "")]
    skipped: dict[str, list[SkippedPod]] = {}
    for pod in item.result.skipped:
        skipped.setdefault(str(pod.reason), []).append(pod)
    for reason, pods in sorted(skipped.items()):
        names = [f"{pod.name} ({pod.detail})" if pod.detail else pod.name for pod in pods]
        yield [
            (f"{indent}skipped: ", "bold"),
            (f"{about}{plural(len(pods), 'Pod')}, {reason}: ", ""),
            (_listed(names, len(names) if wide else _SHOWN_NAMES), "dim"),
        ]
    for fallback in item.result.hint_fallbacks:
        kind = fallback.address_type
        told = fallback.value if kind is None else f"{fallback.value}, {kind}: {fallback.detail}"
        effect = "which is ignored" if kind is None else "so endpoints have none"
        text = f"{about}{words(fallback.reason)} ({told}), {effect}"
        yield [(f"{indent}hints: ", "bold"), (text, "")]
    for manager, count in item.left_alone.items():
        text = f"{about}{plural(count, 'slice')} managed by {manager or '<none>'}"
        yield [(f"{indent}left alone: ", "bold"), (text, "")]


def _verb(operation: object) -> tuple[str, str, str]:
    if isinstance(operation, CreateSlice):
        return _CREATE
    return _UPDATE if isinstance(operation, UpdateSlice) else _DELETE


def _slice_name(stored: EndpointSlice) -> str:
    """Its name, or what the API server will make one of."""
    return stored.name or f"{stored.metadata.generate_name}*"


def _ports(key: GroupKey) -> str:
    ports = (f"{port.name}:{port.port}" if port.name else str(port.port) for port in key.ports)
    return ",".join(ports) or "no ports"


def _slice_lines(explanation: Explanation, *, wide: bool) -> Iterator[Line]:
    operation = explanation.operation
    sign, verb, style = _verb(operation)
    before, after = operation.before, operation.after
    stored = after or before
    assert stored is not None
    sizes = [len(item.endpoints) for item in (before, after) if item is not None]
    before_count = f"{sizes[0]:,} -> " if sizes[0] != sizes[-1] else ""
    count = f"{before_count}{plural(sizes[-1], 'endpoint')}"
    facts = [str(explanation.key.address_type), _ports(explanation.key), count]
    if before is not None and before.ports != stored.ports:
        facts[1] = f"{_ports(before.group_key)} -> {facts[1]}"
    if wide:
        facts.append(plural(protobuf_size(stored), "byte"))
    yield [(f"  {sign} {verb} ", f"bold {style}"), (_slice_name(stored), "bold")]
    yield [(f"      {'  '.join(facts)}", "dim")]
    reasons = ", ".join(words(str(reason)) for reason in explanation.reasons)
    yield [(f"      because {reasons}", "dim")]
    rows = list(_endpoint_rows(explanation, wide=wide))
    width = _column_widths(rows)
    for mark, color, cells in rows:
        text = "  ".join(cell.ljust(size) for cell, size in zip(cells, width, strict=False))
        yield [(f"      {mark} {text}".rstrip(), color)]


_Row: TypeAlias = tuple[str, str, tuple[str, ...]]


def _column_widths(rows: Iterable[_Row]) -> list[int]:
    """How wide each column of full rows is."""
    columns = zip(*(cells for _, _, cells in rows if len(cells) > 1), strict=True)
    return [max(map(len, column)) for column in columns] or [0]


def _endpoint_rows(explanation: Explanation, *, wide: bool) -> Iterator[_Row]:
    """What happens to each endpoint: its addresses, its target, where it is, and what is new."""
    fates: list[tuple[str, str, list[tuple[Endpoint, str]]]] = [
        ("+", "green", [(item, _state(item)) for item in explanation.added]),
        ("~", "yellow", [(new, _differences(old, new)) for old, new in explanation.changed]),
        ("-", "red", [(item, "") for item in explanation.removed]),
        (">", "cyan", [(item, f"from {name}") for item, name in explanation.moved_in]),
        ("<", "cyan", [(item, "to another slice") for item in explanation.moved_out]),
    ]
    for mark, color, endpoints in fates:
        shown = len(endpoints) if wide else _SHOWN_ENDPOINTS
        for endpoint, news in endpoints[:shown]:
            target = endpoint.target_ref.name if endpoint.target_ref else endpoint.hostname
            cells = [",".join(endpoint.addresses), target or "-", endpoint.node_name or "-"]
            cells += [endpoint.zone or "-"] if wide else []
            yield mark, color, (*cells, news)
        hidden = len(endpoints) - shown
        if hidden > 0:
            yield mark, color, (f"... and {hidden:,} more (-o wide shows all)",)


def _state(endpoint: Endpoint) -> str:
    conditions = endpoint.conditions
    ready = "ready" if conditions.ready else "not ready"
    return f"{ready}, terminating" if conditions.terminating else ready


def _zones_and_nodes(endpoint: Endpoint) -> str:
    return ",".join((*endpoint.hints.for_zones, *endpoint.hints.for_nodes))


_FIELDS: Final[Mapping[str, Callable[[Endpoint], object]]] = {
    "ready": lambda endpoint: endpoint.conditions.ready,
    "serving": lambda endpoint: endpoint.conditions.serving,
    "terminating": lambda endpoint: endpoint.conditions.terminating,
    "node": lambda endpoint: endpoint.node_name,
    "zone": lambda endpoint: endpoint.zone,
    "hints": _zones_and_nodes,
    "uid": lambda endpoint: endpoint.target_ref and endpoint.target_ref.uid,
}


def _differences(before: Endpoint, after: Endpoint) -> str:
    found = []
    for name, read in _FIELDS.items():
        old, new = read(before), read(after)
        if old != new:
            found.append(f"{name} {_shown(old)} -> {_shown(new)}")
    return ", ".join(found) or "target"


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value or "none")


# --- plan, for programs -----------------------------------------------------------------------


def _cost_data(report: Report | PlannedService, watchers: int) -> dict[str, int]:
    cost = report.cost
    return {
        "creates": cost.creates,
        "updates": cost.updates,
        "deletes": cost.deletes,
        "writes": cost.writes,
        "bytesWritten": cost.bytes_written,
        "watchers": watchers,
        "bytesOnWire": cost.bytes_on_wire(watchers),
        "endpointsAdded": cost.endpoints_added,
        "endpointsRemoved": cost.endpoints_removed,
        "endpointsChanged": cost.endpoints_changed,
        "endpointsMoved": cost.endpoints_moved,
    }


def _report_data(report: Report) -> dict[str, Any]:
    return {
        "services": [
            {
                "namespace": item.service.metadata.namespace,
                "name": item.service.metadata.name,
                **encode_plan(item.result.plan),
                "cost": _cost_data(item, report.watchers),
                "skipped": [
                    {**attrs.asdict(pod), "reason": str(pod.reason)} for pod in item.result.skipped
                ],
                "hintFallbacks": [
                    {
                        "reason": str(fallback.reason),
                        "value": fallback.value,
                        "addressType": fallback.address_type and str(fallback.address_type),
                        "detail": fallback.detail,
                    }
                    for fallback in item.result.hint_fallbacks
                ],
                "leftAlone": dict(item.left_alone),
                "warnings": list(item.warnings),
            }
            for item in report.planned
        ],
        "notPlanned": [
            {
                "namespace": item.namespace,
                "name": item.name,
                "reason": item.reason,
                "isError": item.is_error,
            }
            for item in report.omitted
        ],
        "notTouched": [
            {"namespace": item.namespace, "service": item.service, "slices": list(item.slices)}
            for item in report.unclaimed
        ],
        "cost": _cost_data(report, report.watchers),
        "minimumWrites": report.minimum_writes,
        "errors": list(map(str, report.problems)),
    }


# --- inspect ----------------------------------------------------------------------------------


def _totals(inspections: Sequence[Inspection]) -> dict[str, int]:
    return {
        "services": len({(item.namespace, item.service) for item in inspections}),
        "slices": sum(len(item.slices) for item in inspections),
        "idealSlices": sum(item.ideal_slices for item in inspections),
        "wastedSlices": sum(item.wasted_slices for item in inspections),
        "endpoints": sum(item.endpoints for item in inspections),
        "readyEndpoints": sum(item.ready for item in inspections),
        "duplicates": sum(item.duplicates for item in inspections),
        "capacity": sum(item.capacity for item in inspections),
        "bytes": sum(item.bytes for item in inspections),
    }


def _inspections_data(
    inspections: Sequence[Inspection], problems: Sequence[Problem], nodes: int
) -> dict[str, Any]:
    return {
        "services": [
            {
                "namespace": item.namespace,
                "service": item.service,
                "manager": item.manager,
                "slices": list(item.slices),
                "idealSlices": item.ideal_slices,
                "endpoints": item.endpoints,
                "readyEndpoints": item.ready,
                "duplicates": item.duplicates,
                "capacity": item.capacity,
                "bytes": item.bytes,
                "updateBytes": item.update_bytes,
                "updateBytesOnWire": item.update_bytes * nodes,
                "largestSliceBytes": item.largest_bytes,
                "problems": list(item.problems),
            }
            for item in inspections
        ],
        "totals": _totals(inspections),
        "nodes": nodes,
        "errors": list(map(str, problems)),
    }


def _fill(endpoints: int, capacity: int) -> str:
    return f"{endpoints / capacity:.0%}" if capacity else "-"


def _print_inspections(inspections: Sequence[Inspection], nodes: int, *, wide: bool) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for name in ("NAMESPACE", "SERVICE", "MANAGER") if wide else ("NAMESPACE", "SERVICE"):
        table.add_column(name, no_wrap=True)
    numbers = ["SLICES", "IDEAL", "ENDPOINTS", "FILL", "DUPLICATES"]
    numbers += ["READY", "BYTES", "LARGEST"] if wide else []
    for name in (*numbers, "BYTES/UPDATE"):
        table.add_column(name, no_wrap=True, justify="right")
    for item in inspections:
        names = [item.namespace or "<none>", item.service or "<none>"]
        cells = [
            str(len(item.slices)),
            str(item.ideal_slices),
            f"{item.endpoints:,}",
            _fill(item.endpoints, item.capacity),
            f"{item.duplicates:,}",
        ]
        if wide:
            names.append(item.manager or "<none>")
            cells += [f"{item.ready:,}", f"{item.bytes:,}", f"{item.largest_bytes:,}"]
        style = "yellow" if item.wasted_slices or item.duplicates else ""
        table.add_row(*names, *cells, f"{item.update_bytes * nodes:,}", style=style)
    console().print(table, soft_wrap=True)
    print_lines(_inspection_lines(inspections, nodes))


def _inspection_lines(inspections: Sequence[Inspection], nodes: int) -> Iterator[Line]:
    yield []
    noisy = [item for item in inspections if item.problems]
    if noisy:
        yield [("Problems", "bold")]
        for item in noisy:
            for problem in item.problems:
                yield [(f"  {item.title}", "yellow"), (f": {problem}", "")]
        yield []
    totals = _totals(inspections)
    slices = totals["slices"]
    needed = slices - totals["wastedSlices"]
    fill = _fill(totals["endpoints"], totals["capacity"])
    yield [
        ("Total: ", "bold"),
        (f"{plural(totals['services'], 'Service')}, ", ""),
        (f"{plural(totals['endpoints'], 'endpoint')} in {plural(slices, 'slice')}", ""),
        (f" where {needed:,} would do" if needed < slices else "", "yellow"),
        (f" ({fill} full)", ""),
        (f", {plural(totals['duplicates'], 'duplicate')}", ""),
        (f", {plural(totals['bytes'], 'byte')}.", ""),
    ]
    watching = "one watching node" if nodes == 1 else f"{nodes:,} watching nodes"
    yield [(f"BYTES/UPDATE: what a change of one endpoint sends to {watching}, on average.", "dim")]
