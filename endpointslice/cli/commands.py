"""The commands, their options and their help."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Final, NoReturn

import click

from endpointslice import (
    DEFAULT_MANAGED_BY,
    DEFAULT_MAX_ENDPOINTS_PER_SLICE,
    MAX_ENDPOINTS_PER_SLICE,
    ModelError,
    ObjectMeta,
    Service,
    slice_template,
)
from endpointslice.cli.inspection import inspect_slices
from endpointslice.cli.planning import Options, joined, plan_services, title
from endpointslice.cli.reading import KINDS, Objects, read_objects
from endpointslice.cli.rendering import render_inspections, render_report
from endpointslice.cli.strategies import (
    STRATEGIES,
    checked_strategy,
    complete_strategy,
    strategy_title,
)
from endpointslice.packing import PackingStrategy
from endpointslice.reconcile import DEFAULT_STRATEGY

__all__ = ["cli"]

_CHANGES: Final = 1
_ERROR: Final = 2

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
            count = len(known)
            some = ", ".join(sorted(known)[:5]) + (", ..." if count > 5 else "")
            _fail(objects, f"--service {name}: no such Service in the input, which has {some}")
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


def _read(files: tuple[str, ...], kinds: frozenset[str]) -> Objects:
    if not files:
        raise click.UsageError("Missing argument 'FILE...'; '-' reads standard input.")
    return read_objects(files, stdin=sys.stdin.buffer, kinds=kinds)


def _complain(objects: Objects) -> None:
    sys.stdout.flush()
    for problem in objects.problems:
        click.echo(f"error: {problem}", err=True)


def _fail(objects: Objects, message: str) -> NoReturn:
    """Say what could not be read and what is missing, and stop."""
    _complain(objects)
    found = ", ".join(f"{count} {kind}" for kind, count in objects.ignored.items())
    click.echo(f"error: {message}" + (f" (ignored: {found})" if found else ""), err=True)
    click.get_current_context().exit(_ERROR)
