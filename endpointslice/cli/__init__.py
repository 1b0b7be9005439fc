"""The command line: `endpointslice`, and `kubectl endpointslice`.

reading (files -> models) -> planning or inspection (models -> a report) -> rendering (a report ->
text); validating (manifests -> what is wrong with them -> text); simulation (workloads and traces
-> a report) -> simulation_rendering and plots; commands ties them together. Everything here needs
the extra `cli`, and plots the extra `plot`, but for this module, which says so where one is
missing.
"""

from __future__ import annotations

import gc
import signal
import sys
import traceback
from io import TextIOWrapper
from pathlib import PurePath

__all__ = ["main"]

_MISSING = """\
error: {user} needs {name}, which is not installed; install the extra `{extra}`:
    python -m pip install 'endpointslice[{extra}]'
"""
#: Which extra brings what, and what needs it.
_EXTRAS = {
    "click": ("cli", "the command line"),
    "rich": ("cli", "the command line"),
    "yaml": ("cli", "the command line"),
    "matplotlib": ("plot", "--plot"),
}
#: Neither 0 nor 1, which say whether there is something to do.
_FAILED = 2
#: As a shell reports a program that was interrupted.
_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit as it says."""
    # A short life: objects are made, rendered and done with, and the collector, which finds no
    # garbage among millions of new dicts, would take most of the time.
    gc.disable()
    if hasattr(signal, "SIGPIPE"):
        # When whoever reads our output has enough, as `head` does, end as other programs do.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may know ASCII only
    try:
        status = _run()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRAS:
            raise
        extra, user = _EXTRAS[missing]
        sys.stderr.write(_MISSING.format(user=user, name=missing, extra=extra))
        status = _FAILED
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except MemoryError:
        sys.stderr.write("error: the input does not fit into memory\n")
        status = _FAILED
    except Exception:  # noqa: BLE001
        # Our own bug. Python would exit with 1, which here means "there are changes".
        traceback.print_exc()
        status = _FAILED
    sys.exit(status)


def _run() -> int:
    import click

    from endpointslice.cli.commands import cli

    program = PurePath(sys.argv[0]).name
    names = {"kubectl-endpointslice": "kubectl endpointslice", "__main__.py": "endpointslice"}
    try:
        status = cli.main(prog_name=names.get(program, program), standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return _INTERRUPTED
    return status if isinstance(status, int) else 0
