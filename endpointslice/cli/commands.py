"""The commands, their options and their help."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from concurrent.futures import BrokenExecutor
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click

from endpointslice import (
    DEFAULT_MANAGED_BY,
    DEFAULT_MAX_ENDPOINTS_PER_SLICE,
    MAX_ENDPOINTS_PER_SLICE,
    MIRRORING_MANAGED_BY,
    ModelError,
    ObjectMeta,
    Service,
    slice_template,
)
from endpointslice.cli.conversion import convert_to_endpoints, convert_to_slices
from endpointslice.cli.inspection import inspect_slices
from endpointslice.cli.planning import Options, joined, plan_services, title
from endpointslice.cli.printing import print_json, print_yaml
from endpointslice.cli.reading import KINDS, Manifests, Objects, read_manifests, read_objects
from endpointslice.cli.rendering import render_inspections, render_report
from endpointslice.cli.routes import route_services
from endpointslice.cli.routes_rendering import render_routes
from endpointslice.cli.strategies import (
    STRATEGIES,
    checked_strategy,
    complete_strategy,
    strategy_title,
)
from endpointslice.cli.validating import render_refusals, validate_manifests
from endpointslice.errors import TraceError
from endpointslice.packing import PackingStrategy
from endpointslice.reconcile import DEFAULT_STRATEGY

if TYPE_CHECKING:
    from endpointslice.simulate import TraceSource

__all__ = ["cli"]

_CHANGES: Final = 1
_ERROR: Final = 2
#: As a shell reports a program that was interrupted.
_INTERRUPTED: Final = 130
#: In seconds. A controller that waits for more than a day is a slip.
_LONGEST_PERIOD: Final = 86_400

_EPILOG = """\b
Examples:
  Plan a Service from files, and from a live cluster:
    endpointslice plan services.json pods.json nodes.json endpointslices.json
    kubectl get services,pods,nodes,endpointslices -A -o json | endpointslice plan -
  Find the Services whose slices waste most:
    kubectl get endpointslices -A -o json | endpointslice inspect -

\b
As a kubectl plugin, every command is `kubectl endpointslice ...` too.

\b
Shell completion; put the line into your shell's start-up file:
  bash    eval "$(_ENDPOINTSLICE_COMPLETE=bash_source endpointslice)"
  zsh     eval "$(_ENDPOINTSLICE_COMPLETE=zsh_source endpointslice)"
  fish    _ENDPOINTSLICE_COMPLETE=fish_source endpointslice | source

Colour is used on a terminal only; NO_COLOR=1 turns it off."""

_PLAN_EPILOG = """\b
Examples:
  What would a live cluster's Services need?
    kubectl get services,pods,nodes,endpointslices -A -o json | endpointslice plan -
  One Service, packed as Kubernetes itself does it:
    endpointslice plan --service shop/web --strategy kubernetes *.json
  What would slices of at most 500 endpoints cost on 2,000 nodes?
    endpointslice plan --max-endpoints-per-slice 500 --nodes 2000 dump.json
  The operations, in the order in which they must be carried out:
    endpointslice plan dump.json -o json | jq '.services[].operations[]'

\b
Signs:
  slices       + create   ~ update   - delete
  endpoints    + comes    ~ changes  - goes    > moves in   < moves out

\b
Exit status:
  0    there is nothing to do
  1    there are changes
  2    something could not be read or planned, or the command line is wrong; what could be
       planned is printed all the same
"""

_INSPECT_EPILOG = """\b
Examples:
  Look at a live cluster:
    kubectl get endpointslices -A -o json | endpointslice inspect -
  What does a change of one endpoint cost with 5,000 nodes watching?
    endpointslice inspect --nodes 5000 endpointslices.json
  The Service that wastes most:
    endpointslice inspect endpointslices.json -o name | head -n 1

\b
Columns:
  IDEAL           how few slices would do
  FILL            endpoints, of what the slices have room for
  DUPLICATES      endpoints that stand in the slices once more
  BYTES/UPDATE    what a change of one endpoint sends to all nodes, on average: each gets
                  the endpoint's whole slice

\b
Exit status:
  0    everything could be read
  2    something could not be read, or the command line is wrong; what could be read is
       printed all the same
"""

_ROUTE_EPILOG = """\b
Examples:
  Where does traffic go from a node of a live cluster?
    kubectl get services,nodes,endpointslices -A -o json | endpointslice route - --from-node node-03
  One Service, as seen from a zone that has no node yet:
    endpointslice route --service shop/web --from-node new --zone eu-1d *.json
  Who gets no traffic from there, and why?
    endpointslice route dump.json --from-node node-03 -o json |
      jq '.services[].ports[].internal.unused[] | {address, reason}'

\b
Signs:
  > traffic goes there    x it does not

\b
Exit status:
  0    everything could be read
  2    something could not be read or routed, or the command line is wrong; what could be
       routed is printed all the same
"""

_CONVERT_EPILOG = """\b
Examples:
  What slices would hold what an Endpoints object holds?
    kubectl get endpoints my-db -o json | endpointslice convert -
  Slices of one's own, to be created:
    endpointslice convert endpoints.yaml --managed-by db-sync.example.com -o yaml |
      kubectl create -f -
  The Endpoints object that Kubernetes would keep for a Service:
    kubectl get endpointslices -l kubernetes.io/service-name=web -o json | endpointslice convert -

\b
Exit status:
  0    everything was converted; what the other kind cannot say is told on standard error
  2    something could not be read or converted, or the command line is wrong; what could be
       converted is printed all the same
"""

_VALIDATE_EPILOG = """\b
Examples:
  Would the API server take these slices?
    endpointslice validate slices.yaml
  What would it answer, field by field?
    endpointslice validate slices.yaml -o json | jq '.violations[] | {field, type}'

\b
Exit status:
  0    the API server would take every slice
  1    it would refuse some
  2    something could not be read, or the command line is wrong; what could be read is
       validated all the same
"""

_SIMULATE_EPILOG = """\b
Examples:
  What does each strategy write in the whole suite, and what does Kubernetes?
    endpointslice simulate --workload all
  One workload with five seeds, drawn too:
    endpointslice simulate --workload roll-out-1000 --seeds 5 --plot roll-out.html
  Your own cluster's history, at two syncs a second, with 5,000 nodes watching:
    endpointslice simulate --trace mine.json.gz --batch-period 0.5 --nodes 5000
  How much of a gain hangs on uids? Compare with:
    endpointslice simulate --workload all --random-uids
  The arithmetic of the announcement of EndpointSlices, with exact bytes:
    endpointslice simulate --preset blog

\b
Columns:
  RATIO        of WRITES, and of BYTES, to those of kubernetes; less is better
  BYTES        protobuf bytes of every slice that is written or deleted, each once
  PEAK         the most slices at a time; FINAL is how many are left
  FILL         endpoints, of what the slices have room for, as a mean over all syncs
  MOVED        endpoints that change slice
  SENT         bytes that go to all nodes that watch
  LONGEST      the most writes in one sync

\b
Exit status:
  0    everything was run
  2    something could not be read or written, or the command line is wrong
  130  it was interrupted; what was done by then is printed
"""

_CONVERTED_KINDS: Final = frozenset(("Endpoints", "EndpointSlice"))

_file = click.Path(exists=True, dir_okay=False, allow_dash=True)
_files = click.argument("files", nargs=-1, type=_file, metavar="FILE...")
_more_files = click.option(
    "-f",
    "--filename",
    "more_files",
    multiple=True,
    type=_file,
    metavar="FILE",
    help="Another file, as kubectl has it; '-' is standard input. May be repeated.",
)
_output = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "yaml", "name"]),
    default="table",
    show_default=True,
    help="How to print the result.",
)
_max_endpoints = click.option(
    "--max-endpoints-per-slice",
    type=click.IntRange(1, MAX_ENDPOINTS_PER_SLICE),
    default=DEFAULT_MAX_ENDPOINTS_PER_SLICE,
    show_default=True,
    metavar="N",
    help="How many endpoints a slice may hold.",
)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)
@click.version_option(version("endpointslice"), prog_name="endpointslice")
def cli() -> None:
    """Plan Kubernetes EndpointSlices, and see how well they are packed.

    Nothing is ever written to a cluster: commands read what kubectl prints, and print what they
    find.
    """


def _checked_time(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> str | None:
    try:
        slice_template(Service(metadata=ObjectMeta(name="any")), trigger_time=value)
    except ModelError as error:
        raise click.BadParameter(f"{error.value!r} {error.message}") from None
    return value


@cli.command(epilog=_PLAN_EPILOG, short_help="Show what would be written, why, and the price.")
@_files
@_more_files
@click.option(
    "--service",
    "only",
    multiple=True,
    metavar="NAMESPACE/NAME",
    help="Plan this Service only. May be repeated.",
)
@_max_endpoints
@click.option(
    "--strategy",
    callback=checked_strategy,
    shell_complete=complete_strategy,
    default=strategy_title(DEFAULT_STRATEGY),
    show_default=True,
    metavar="NAME[:OPTION=VALUE]...",
    help=f"Who sits where: one of {', '.join(STRATEGIES)}; with its options, as in "
    "generational:min_fill=0.9:moves=never.",
)
@click.option(
    "--nodes",
    type=click.IntRange(min=0),
    metavar="N",
    help="How many nodes watch the slices, for the price.  [default: the Nodes in the input]",
)
@click.option(
    "--managed-by",
    default=DEFAULT_MANAGED_BY,
    show_default=True,
    metavar="NAME",
    help="Who writes the slices; those of other managers are left alone.",
)
@click.option(
    "--trigger-time",
    callback=_checked_time,
    metavar="TIME",
    help="When the change happened that is being answered, as RFC 3339; goes on what is written.",
)
@_output
@click.pass_context
def plan(
    context: click.Context,
    files: tuple[str, ...],
    more_files: tuple[str, ...],
    only: tuple[str, ...],
    max_endpoints_per_slice: int,
    strategy: PackingStrategy,
    nodes: int | None,
    managed_by: str,
    trigger_time: str | None,
    output: str,
) -> None:
    """Show what would be written to make Services' slices right, why, and what it costs.

    Reads Services, Pods, Nodes and EndpointSlices from FILEs, '-' being standard input: JSON or
    YAML, single objects, lists of any kind or several documents, in any mix. Objects of other
    kinds are ignored.

    A Service is planned only if all that decides its slices could be read. Services without a
    selector and of type ExternalName are not planned: their slices are somebody else's.
    """
    objects = _read(files + more_files, KINDS)
    _check_services(objects, only)
    options = Options(
        strategy=strategy,
        max_endpoints_per_slice=max_endpoints_per_slice,
        managed_by=managed_by,
        trigger_time=trigger_time,
    )
    report = plan_services(objects, options, only=frozenset(only), watchers=nodes)
    _complain(objects)
    render_report(report, output)
    if report.has_errors:
        context.exit(_ERROR)
    context.exit(_CHANGES if report.has_changes else 0)


@cli.command(epilog=_INSPECT_EPILOG, short_help="Show how well slices are packed.")
@_files
@_more_files
@_max_endpoints
@click.option(
    "--nodes",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    metavar="N",
    help="How many nodes watch the slices.",
)
@_output
@click.pass_context
def inspect(
    context: click.Context,
    files: tuple[str, ...],
    more_files: tuple[str, ...],
    max_endpoints_per_slice: int,
    nodes: int,
    output: str,
) -> None:
    """Show how well each Service's endpoints are packed, and what is wrong with its slices.

    Reads EndpointSlices from FILEs, '-' being standard input, as JSON or YAML; objects of other
    kinds are ignored. There is one row for each Service and manager of slices, those that waste
    most slices first.
    """
    objects = _read(files + more_files, frozenset({"EndpointSlice"}))
    if not objects.slices:
        _fail(objects, "there is no EndpointSlice in the input")
    inspections = inspect_slices(objects.slices, max_endpoints_per_slice=max_endpoints_per_slice)
    _complain(objects)
    render_inspections(inspections, objects.problems, nodes, output)
    context.exit(_ERROR if objects.problems else 0)


@cli.command(epilog=_ROUTE_EPILOG, short_help="Show where traffic goes, and why not elsewhere.")
@_files
@_more_files
@click.option(
    "--from-node",
    "node",
    required=True,
    metavar="NODE",
    help="The node that traffic comes from, or comes in at.",
)
@click.option(
    "--zone",
    metavar="ZONE",
    help="The zone of this node.  [default: that of the Node in the input, if it is there]",
)
@click.option(
    "--service",
    "only",
    multiple=True,
    metavar="NAMESPACE/NAME",
    help="Route this Service only. May be repeated.",
)
@_output
@click.pass_context
def route(
    context: click.Context,
    files: tuple[str, ...],
    more_files: tuple[str, ...],
    node: str,
    zone: str | None,
    only: tuple[str, ...],
    output: str,
) -> None:
    """Show where the traffic of Services goes from one node, and why not elsewhere.

    Reads Services, EndpointSlices and Nodes from FILEs, '-' being standard input, as JSON or YAML;
    objects of other kinds are ignored. It decides as kube-proxy on that node does, by traffic
    policies, by hints for nodes and then for zones, and by what state endpoints are in.

    A Service is routed only if all of its slices could be read.
    """
    objects = _read(files + more_files, frozenset({"Service", "EndpointSlice", "Node"}))
    _check_services(objects, only)
    nodes = {item.metadata.name for item in objects.nodes}
    nodes |= {item.name or "" for item in objects.problems if item.kind == "Node"}
    if zone is None and nodes and node not in nodes:
        _fail(objects, f"--from-node {node}: no such Node in {_listed(nodes)}")
    found = route_services(objects, node_name=node, zone=zone, only=frozenset(only))
    _complain(objects)
    render_routes(found, output)
    context.exit(_ERROR if found.has_errors else 0)


@cli.command(epilog=_VALIDATE_EPILOG, short_help="Show what the API server would refuse.")
@_files
@_more_files
@_output
@click.pass_context
def validate(
    context: click.Context, files: tuple[str, ...], more_files: tuple[str, ...], output: str
) -> None:
    """Show what the API server would refuse of EndpointSlices, one problem a line.

    Reads EndpointSlices from FILEs, '-' being standard input, as JSON or YAML; objects of other
    kinds are ignored. Each is judged by the rules of Kubernetes 1.36 as if it were created. A
    slice without a namespace is judged as if it had one, for kubectl fills it in.
    """
    manifests = read_manifests(
        _given(files + more_files), stdin=sys.stdin.buffer, kind="EndpointSlice"
    )
    if not manifests.found:
        _fail(manifests, "there is no EndpointSlice in the input")
    refusals = validate_manifests(manifests.found)
    _complain(manifests)
    render_refusals(refusals, manifests, output)
    if manifests.problems:
        context.exit(_ERROR)
    context.exit(_CHANGES if refusals else 0)


class _SimulateCommand(click.Command):
    """Lists the workloads in its help, which no other command need import."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write them before the examples."""
        from endpointslice.simulate.workloads import WORKLOADS

        with formatter.section("Workloads"):
            formatter.write_dl([(item.name, item.summary) for item in WORKLOADS.values()])
        super().format_epilog(ctx, formatter)


def _split(values: Iterable[str]) -> list[str]:
    """What is listed with commas or by repetition, each once."""
    parts = (part.strip() for value in values for part in value.split(","))
    return list(dict.fromkeys(filter(None, parts)))


def _checked_workloads(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[TraceSource, ...]:
    from endpointslice.simulate.workloads import WORKLOADS

    names = _split(values)
    for name in names:
        if name != "all" and name not in WORKLOADS:
            known = ", ".join(WORKLOADS)
            raise click.BadParameter(f"{name!r} is none of all, {known}.")
    chosen = WORKLOADS if "all" in names else names
    return tuple(WORKLOADS[name] for name in chosen)


def _complete_workload(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    from endpointslice.simulate.workloads import WORKLOADS

    return [name for name in ("all", *WORKLOADS) if name.startswith(incomplete)]


def _checked_strategies(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[PackingStrategy, ...]:
    return tuple(checked_strategy(context, parameter, value) for value in _split(values))


def _checked_period(_context: click.Context, _parameter: click.Parameter, value: float) -> int:
    """Milliseconds; 0 answers every change at once, as far as a millisecond can tell."""
    if not 0 <= value <= _LONGEST_PERIOD:
        raise click.BadParameter(f"{value} is not in the range 0<=x<={_LONGEST_PERIOD}.")
    return max(1, round(value * 1000))


@cli.command(epilog=_CONVERT_EPILOG, short_help="Turn Endpoints into EndpointSlices, and back.")
@_files
@_more_files
@click.option(
    "--to",
    type=click.Choice(["endpointslices", "endpoints"]),
    help="What to make, where there are objects of both kinds.  [default: of those that are "
    "there, the others]",
)
@_max_endpoints
@click.option(
    "--managed-by",
    default=MIRRORING_MANAGED_BY,
    show_default=True,
    metavar="NAME",
    help="Who writes the slices. Those of another manager than the default do not belong to the "
    "Endpoints object, and stay when it goes.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["json", "yaml"]),
    default="json",
    show_default=True,
    help="How to print the result.",
)
@click.pass_context
def convert(
    context: click.Context,
    files: tuple[str, ...],
    more_files: tuple[str, ...],
    to: str | None,
    max_endpoints_per_slice: int,
    managed_by: str,
    output: str,
) -> None:
    """Turn Endpoints into EndpointSlices, or the slices of each Service into Endpoints.

    Reads both from FILEs, '-' being standard input, as JSON or YAML; objects of other kinds are
    ignored. Prints one List. All that is given is converted, though Kubernetes itself may not
    mirror it. What the other kind cannot say is told on standard error.
    """
    objects = _read(files + more_files, _CONVERTED_KINDS)
    if to is None and objects.slices and objects.endpoints:
        _fail(objects, "there are Endpoints and EndpointSlices in the input; say --to which")
    to = to or ("endpoints" if objects.slices else "endpointslices")
    if not (objects.slices if to == "endpoints" else objects.endpoints):
        _fail(objects, f"there is nothing in the input to make {to} of")
    found = (
        convert_to_endpoints(objects)
        if to == "endpoints"
        else convert_to_slices(
            objects, managed_by=managed_by, max_endpoints_per_slice=max_endpoints_per_slice
        )
    )
    printed = {"apiVersion": "v1", "kind": "List", "items": list(found.manifests)}
    (print_json if output == "json" else print_yaml)(printed)
    _complain(objects)
    for problem in found.problems:
        click.echo(f"error: {problem}", err=True)
    for line in found.lost:
        click.echo(f"lost: {line}", err=True)
    context.exit(_ERROR if objects.problems or found.problems else 0)


def _checked_plot(
    _context: click.Context, _parameter: click.Parameter, value: Path | None
) -> Path | None:
    from endpointslice.cli.plots import PLOT_SUFFIXES

    if value is None:
        return None
    if value.suffix.lower() not in PLOT_SUFFIXES:
        raise click.BadParameter(f"'{value}' does not end in one of {', '.join(PLOT_SUFFIXES)}.")
    if not os.access(value.parent, os.W_OK):
        raise click.BadParameter(
            f"'{value}' cannot be written: '{value.parent}' is no folder to write to."
        )
    import_module("matplotlib")  # if it is missing, main says so, before all is run
    return value


@cli.command(
    cls=_SimulateCommand,
    epilog=_SIMULATE_EPILOG,
    short_help="Show what strategies cost over time.",
)
@click.option(
    "--workload",
    "workloads",
    multiple=True,
    callback=_checked_workloads,
    shell_complete=_complete_workload,
    metavar="NAME,...|all",
    help="What happens: workloads of the suite, listed below. May be repeated.",
)
@click.option(
    "--trace",
    "traces",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="What happens: a recorded history as JSON, gzipped or not. May be repeated.",
)
@click.option(
    "--partition-by",
    type=click.Choice(["zone"]),
    help="Run each strategy also with slices of one zone each, which the Nodes of other zones need "
    "not watch, and show what is sent.",
)
@click.option(
    "--strategy",
    "strategies",
    multiple=True,
    default=("kubernetes,minimal,generational",),
    show_default=True,
    callback=_checked_strategies,
    shell_complete=complete_strategy,
    metavar="NAME[:OPTION=VALUE]...,...",
    help=f"Who sits where: {', '.join(STRATEGIES)}; with options as in "
    "generational:min_fill=0.9. May be repeated. kubernetes is run in any case, to compare with.",
)
@click.option(
    "--nodes",
    type=click.IntRange(min=0),
    metavar="N",
    help="How many nodes watch the slices.  [default: as many as there are in what happens]",
)
@_max_endpoints
@click.option(
    "--batch-period",
    type=float,
    default=1,
    show_default=True,
    callback=_checked_period,
    metavar="SECONDS",
    help="How often the controller syncs: --endpoint-updates-batch-period of "
    "kube-controller-manager.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="K",
    help="How many histories of each workload to average over.",
)
@click.option(
    "--random-uids",
    is_flag=True,
    help="Give Pods random uids. What a strategy then gains less, it owes to the order in which "
    "Kubernetes picks victims by uid.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="How many processes to use.  [default: as many as there are cores]",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=_checked_plot,
    metavar="FILE",
    help="Draw writes and fill over time, and writes against slices, into a .png, .svg or .html. "
    "Runs generational with six more min_fill, for a curve.",
)
@click.option(
    "--preset",
    type=click.Choice(["blog", "kep-752"]),
    help="Instead of a simulation: published estimates of what endpoints cost, done again with "
    "exact bytes.",
)
@click.option("--syncs", "with_syncs", is_flag=True, help="List every sync too, in -o json.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "csv"]),
    default="table",
    show_default=True,
    help="How to print the result.",
)
@click.pass_context
def simulate(
    context: click.Context,
    workloads: tuple[TraceSource, ...],
    traces: tuple[str, ...],
    partition_by: str | None,
    strategies: tuple[PackingStrategy, ...],
    nodes: int | None,
    max_endpoints_per_slice: int,
    batch_period: int,
    seeds: int,
    random_uids: bool,
    jobs: int | None,
    plot: Path | None,
    preset: str | None,
    with_syncs: bool,
    output: str,
) -> None:
    """Show what strategies write over thousands of syncs, as Pods come and go.

    What happens to a Service's Pods is a workload of the suite, made up by the rules of
    Kubernetes' own controllers, or a recorded trace. Each strategy answers it sync by sync; each
    plan is checked to be complete and safe.
    """
    from endpointslice.cli import simulation_rendering as rendering
    from endpointslice.cli.simulation import Simulation, read_traces, run_simulation

    if preset is not None:
        if workloads or traces or plot:
            raise click.UsageError("--preset goes without --workload, --trace and --plot.")
        rendering.render_preset(preset, output)
        return
    if not workloads and not traces:
        raise click.UsageError(
            "Missing option '--workload', '--trace' or '--preset'; --help lists the workloads."
        )
    try:
        read = read_traces(traces, [item.name for item in workloads])
    except (TraceError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        context.exit(_ERROR)
    simulation = Simulation(
        sources=(*workloads, *read),
        strategies=strategies,
        partition_by=partition_by,
        seeds=seeds,
        random_uids=random_uids,
        max_endpoints_per_slice=max_endpoints_per_slice,
        sync_period=batch_period,
        has_curve=plot is not None,
    )
    try:
        with rendering.progress_bar() as progress:
            report = run_simulation(
                simulation, processes=jobs or os.cpu_count() or 1, watchers=nodes, progress=progress
            )
    except BrokenExecutor:
        click.echo(
            "error: a process was killed, for want of memory perhaps; try fewer --jobs", err=True
        )
        context.exit(_ERROR)
    rendering.render_simulation(report, output, with_syncs=with_syncs)
    if not report.is_complete:
        sys.stdout.flush()
        click.echo(f"interrupted: {len(report.results)} of {report.jobs} runs were made", err=True)
        context.exit(_INTERRUPTED)
    if plot is not None:
        try:
            rendering.plot_simulation(report, plot)
        except OSError as error:
            click.echo(f"error: {plot} cannot be written: {error.strerror}", err=True)
            context.exit(_ERROR)


def _given(files: tuple[str, ...]) -> tuple[str, ...]:
    if not files:
        raise click.UsageError("Missing argument 'FILE...'; '-' reads standard input.")
    return files


def _read(files: tuple[str, ...], kinds: frozenset[str]) -> Objects:
    return read_objects(_given(files), stdin=sys.stdin.buffer, kinds=kinds)


def _check_services(objects: Objects, only: tuple[str, ...]) -> None:
    """There must be a Service, and those that are asked for."""
    if not objects.services:
        _fail(objects, "there is no Service in the input")
    known = {title(service) for service in objects.services}
    known |= {
        joined(problem.namespace or "", problem.name or "")
        for problem in objects.problems
        if problem.kind == "Service"
    }
    for name in only:
        if name not in known:
            _fail(objects, f"--service {name}: no such Service in {_listed(known)}")


def _listed(known: set[str]) -> str:
    some = ", ".join(sorted(known)[:5]) + (", ..." if len(known) > 5 else "")
    return f"the input, which has {some}"


def _complain(objects: Objects | Manifests) -> None:
    sys.stdout.flush()
    for problem in objects.problems:
        click.echo(f"error: {problem}", err=True)


def _fail(objects: Objects | Manifests, message: str) -> NoReturn:
    """Say what could not be read and what is missing, and stop."""
    _complain(objects)
    found = ", ".join(f"{count} {kind}" for kind, count in objects.ignored.items())
    click.echo(f"error: {message}" + (f" (ignored: {found})" if found else ""), err=True)
    click.get_current_context().exit(_ERROR)
