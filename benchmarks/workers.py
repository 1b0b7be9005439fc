"""Two revisions of the package side by side, each in a process of its own.

The package imports itself by its name, so a process holds one revision. That is as well: two in
one process would lie between each other in memory, and share strings, types' caches and what the
collector has to look at. The processes run one at a time, in turn, each with the processor's
caches for itself, and make their inputs with the same code: the benchmarks of this checkout.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import tarfile
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any, Final

import attrs

import endpointslice
from benchmarks.cases import CASES, Case, Thing
from benchmarks.timing import samples

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

__all__ = ["HERE", "Worker", "revision", "side_by_side", "worker"]

#: The checkout.
HERE: Final = Path(__file__).parent.parent


@attrs.frozen
class Worker:
    """A process that measures with the package of one folder."""

    process: subprocess.Popen[str]

    def _ask(self, *question: object) -> list[float] | None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(question), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("a worker ended; what it said stands above")
        found: list[float] | None = json.loads(answer)
        return found

    @property
    def is_alive(self) -> bool:
        """Whether it answers: it does not if its revision lacks what every case needs."""
        try:
            self.forget()
        except (BrokenPipeError, RuntimeError):
            return False
        return True

    def has(self, case: Case, thing: str, n: int) -> bool:
        """Make a thing, run it once, and say whether this revision has it."""
        return self._ask("make", case.title, thing, n) is not None

    def samples(self, thing: str) -> list[float]:
        """Run a thing of the case for a while; return the CPU seconds of each call."""
        return self._ask("run", thing) or []

    def forget(self) -> None:
        """Drop all things that were made."""
        self._ask("forget")


@contextmanager
def worker(folder: Path) -> Generator[Worker]:
    """Start a process with the `endpointslice` and the `benchmarks` of a folder."""
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    with subprocess.Popen(
        [sys.executable, "-m", __name__, str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Worker(process)
        finally:
            process.kill()


@contextmanager
def revision(name: str) -> Generator[Path]:
    """Put the package of a git revision into a folder that is thrown away, and our benchmarks."""
    archive = subprocess.run(
        ["git", "archive", name, "endpointslice"], cwd=HERE, check=True, capture_output=True
    ).stdout
    with TemporaryDirectory() as folder:
        with tarfile.open(fileobj=BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        shutil.copytree(HERE / "benchmarks", Path(folder, "benchmarks"))
        yield Path(folder)


def side_by_side(
    case: Case, n: int, columns: Mapping[str, tuple[Worker, str]], rounds: int
) -> dict[str, list[float]]:
    """Return the CPU seconds of calls, by column, in rounds that run each column in turn.

    A column says which process runs which thing of the case. One that its revision does not have
    is left out.
    """
    for process, _ in columns.values():
        process.forget()
    found: dict[str, list[float]] = {
        name: [] for name, (process, thing) in columns.items() if process.has(case, thing, n)
    }
    for _ in range(rounds):
        for name in found:
            process, thing = columns[name]
            found[name] += process.samples(thing)
    return found


def _serve(questions: IO[str], answers: IO[str]) -> None:
    things: dict[str, Thing] = {}
    for line in questions:
        answer: list[float] | None = []
        question: list[Any] = json.loads(line)
        match question:
            case ["make", title, name, n]:
                try:
                    things[name] = CASES[title].things[name](n, 0)
                    things[name]()
                except ImportError:
                    answer = None
                gc.freeze()
            case ["run", name]:
                answer = samples(things[name])
            case ["forget"]:
                things.clear()
                gc.unfreeze()
            case _:
                raise AssertionError(question)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    assert Path(endpointslice.__file__).is_relative_to(sys.argv[1]), endpointslice.__file__
    _serve(sys.stdin, sys.stdout)
