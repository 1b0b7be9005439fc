"""What the documentation says is so: its code runs, its output is today's, its tables are whole.

Blocks of code are told apart by their language:

- `python` is run, all blocks of a page in one namespace. If "It prints:" and a `text` block
  follow, that is what it must print. Pages that talk to a cluster (`SERVED`) are run as programs,
  with a kubeconfig that leads to an API server on loopback.
- `py` needs what is not here, a cluster for instance; it is compiled only.
- `console`: each command `$ endpointslice ...` is run, and must print what stands below it, where
  `...` stands for anything; `$ echo $?` shows its exit status. Other commands are not run.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import yaml

from benchmarks.counted import STRATEGIES as COUNTED_STRATEGIES
from benchmarks.counted import release_line
from endpointslice import HintFallbackReason, IgnoredHints, SkipReason, UnusedReason
from endpointslice.cli.strategies import STRATEGIES
from endpointslice.clients import Outcome
from endpointslice.diff import Reason
from endpointslice.testing import ApiServer, Cluster

ROOT: Final = Path(__file__).parent.parent
DOCS: Final = ROOT / "docs"
#: What people read and write: the pages that mkdocs builds, and the files at the top.
PAGES: Final = {
    str(page.relative_to(ROOT)): page.read_text(encoding="utf-8")
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
}
#: Pages whose code reads a kubeconfig, and finds the Service legacy/billing on the server.
SERVED: Final = (
    "README.md",
    "docs/how-to/carry-out-a-plan.md",
    "docs/how-to/use-kr8s.md",
    "docs/how-to/use-kubernetes-asyncio.md",
    "docs/how-to/use-kubernetes.md",
    "docs/how-to/use-lightkube.md",
    "docs/how-to/watch-your-controller.md",
)
#: What stands between what one block of a page and the next one print.
_BREAK: Final = "--- the next block ---"
_FENCE: Final = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_LINK: Final = re.compile(r"(?<!\!)\[[^\]\n]*(?:\n[^\]\n]*)?\]\((?P<target>[^)\s]+)\)")
_MAIN_COMMAND: Final = re.compile(r"(?:.*&& )?(?:\.venv/bin/)?endpointslice (?P<arguments>[^|>]*)")


@attrs.frozen
class Block:
    """A fenced block of a page, and whether it is what the block before it prints."""

    language: str
    body: str
    line: int
    is_output: bool


def blocks(page: str) -> Iterator[Block]:
    text = PAGES[page]
    for match in _FENCE.finditer(text):
        indent = len(match["indent"])
        body = "".join(line[indent:] or "\n" for line in match["body"].splitlines(keepends=True))
        before = text[: match.start()]
        said = before.rstrip().rpartition("\n")[2]
        yield Block(match["language"], body, before.count("\n") + 1, said.endswith("It prints:"))


def pages_with(language: str) -> list[str]:
    return [page for page in PAGES if any(item.language == language for item in blocks(page))]


def assert_prints(want: str, got: str, where: str) -> None:
    flags = ELLIPSIS | NORMALIZE_WHITESPACE
    if not OutputChecker().check_output(want, got, flags):
        pytest.fail(f"{where} promises\n{want}\nbut it is\n{got}", pytrace=False)


# --- code -------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [page for page in pages_with("python") if page not in SERVED])
def test_python_on_a_page_runs_and_prints_what_it_says(
    page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    namespace: dict[str, Any] = {"__name__": "docs"}
    printed = ""
    for block in blocks(page):
        where = f"{page}:{block.line}"
        if block.language == "python":
            # Line numbers of tracebacks are those of the page.
            code = compile("\n" * block.line + block.body, str(ROOT / page), "exec")
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(code, namespace)
            printed = output.getvalue()
        elif block.is_output:
            assert_prints(block.body, printed, where)
            printed = ""


@pytest.mark.parametrize("page", SERVED)
def test_python_that_talks_to_a_cluster_runs_and_prints_what_its_page_says(
    page: str, tmp_path: Path
) -> None:
    # One program for each page, for clients read the environment when they are imported.
    program = f"print({_BREAK!r})\n".join(
        block.body for block in blocks(page) if block.language == "python"
    )
    service = DOCS / "examples" / "vm_endpoints" / "service.yaml"
    cluster = Cluster(namespaces=["legacy"])
    cluster.load([yaml.safe_load(service.read_text(encoding="utf-8"))])
    with ApiServer(cluster) as server:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "KUBECONFIG": str(server.write_kubeconfig(tmp_path / "config"))},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    printed = iter(done.stdout.split(f"{_BREAK}\n"))
    output = ""
    for block in blocks(page):
        if block.language == "python":
            output = next(printed)
        elif block.is_output:
            assert_prints(block.body, output, f"{page}:{block.line}")
            output = ""


@pytest.mark.parametrize("page", pages_with("py"))
def test_python_that_needs_a_cluster_compiles(page: str) -> None:
    for block in blocks(page):
        if block.language == "py":
            compile("\n" * block.line + block.body, str(ROOT / page), "exec")


def commands(body: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output that stands below it."""
    joined = body.replace("\\\n", " ")
    for part in re.split(r"^\$ ", joined, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield re.sub(r"\s+", " ", command.partition(" #")[0]).strip(), output


def run_command_line(arguments: str) -> subprocess.CompletedProcess[str]:
    words: list[str] = []
    for word in shlex.split(arguments):
        found = (
            sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(word)) if "*" in word else []
        )
        words += found or [word]
    return subprocess.run(
        [sys.executable, "-m", "endpointslice", *words],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("page", pages_with("console"))
def test_commands_on_a_page_print_what_it_says(page: str) -> None:
    status: int | None = None
    for block in blocks(page):
        for command, output in commands(block.body) if block.language == "console" else ():
            where = f"{page}:{block.line}: {command}"
            match = _MAIN_COMMAND.fullmatch(command)
            if command == "echo $?":
                assert status is not None, where
                assert_prints(output, f"{status}\n", where)
            elif match is not None:
                done = run_command_line(match["arguments"])
                status = done.returncode
                # As on a terminal, where errors and advice stand with the rest.
                assert_prints(output, done.stdout + done.stderr, where) if output.strip() else None
            else:
                status = None


def test_the_main_job_of_the_readme_is_checked() -> None:
    matches = [
        match["arguments"]
        for block in blocks("README.md")
        if block.language == "console"
        for command, output in commands(block.body)
        if (match := _MAIN_COMMAND.fullmatch(command)) and output.strip()
    ]
    assert any(arguments.startswith("plan ") for arguments in matches)


# --- tables and pictures ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "heading", "enum"),
    [
        ("read-a-plan", "| Reason |", Reason),
        ("read-a-plan", "| Skipped because |", SkipReason),
        ("read-a-plan", "| Hints |", HintFallbackReason),
        ("see-where-traffic-goes", "| Hints ignored |", IgnoredHints),
        ("see-where-traffic-goes", "| Not used |", UnusedReason),
    ],
)
def test_a_table_of_reasons_lists_every_reason_in_order(
    name: str, heading: str, enum: type[StrEnum]
) -> None:
    _, found, rest = PAGES[f"docs/how-to/{name}.md"].partition(f"\n{heading}")
    assert found, heading
    table = rest.partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE) == [
        str(member) for member in enum
    ]


def test_the_page_on_carrying_out_has_every_outcome() -> None:
    page = PAGES["docs/how-to/carry-out-a-plan.md"]
    table = page.partition("\n| Answer | On | Outcome |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) >= {str(outcome) for outcome in Outcome}


def test_the_picture_of_the_floors_is_the_contract_of_the_linter() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = project["tool"]["importlinter"]["contracts"]
    (picture,) = (
        block.body
        for block in blocks("docs/explanation/architecture.md")
        if block.body.startswith(f"{contract['layers'][0]}\n")
    )
    assert picture.splitlines() == contract["layers"]


def test_the_reference_of_the_command_line_has_every_option() -> None:
    from endpointslice.cli.commands import cli

    page = PAGES["docs/reference/command-line.md"]
    for name, command in cli.commands.items():
        _, found, section = page.partition(f"## `endpointslice {name}")
        assert found, name
        section = section.partition("\n## ")[0]
        for parameter in command.params:
            for option in parameter.opts:
                assert option == "files" or f"`{option}" in section, f"{name} {option}"


def test_the_reference_of_the_command_line_has_every_strategy_with_its_options() -> None:
    section = PAGES["docs/reference/command-line.md"].partition("\n### Strategies\n")[2]
    rows = dict(re.findall(r"^\| `([\w-]+)` \|(.*)\|$", section, flags=re.MULTILINE))
    for name, strategy in STRATEGIES.items():
        values = attrs.asdict(strategy, recurse=False)  # type: ignore[arg-type]
        for option, value in values.items():
            if isinstance(value, StrEnum):
                assert all(f"`{member}`" in rows[name] for member in type(value)), name
            assert f"`{option}" in rows[name], name


@pytest.mark.parametrize("arguments", ["plan", "inspect", "route --from-node node-03"])
def test_the_reference_of_the_command_line_has_every_field(arguments: str) -> None:
    page = PAGES["docs/reference/command-line.md"]
    done = run_command_line(f"{arguments} docs/examples/web-rolling/*.json -o json")
    title = f"## `endpointslice {arguments.partition(' ')[0]} FILE...`\n"
    section = page.partition(title)[2].partition("\n## ")[0]
    for name in fields_of(json.loads(done.stdout)):
        assert re.search(rf"`(?:services\[\])?[\w\[\].]*\b{name}(?:\[\])?`", section), name


def fields_of(data: object) -> Iterator[str]:
    """The names of all fields of an answer; objects and maps are not looked into."""
    if isinstance(data, list):
        for item in data:
            yield from fields_of(item)
    elif isinstance(data, dict):
        for name, value in data.items():
            yield name
            if name not in ("object", "leftAlone"):
                yield from fields_of(value)


# --- extras -----------------------------------------------------------------------------------


def test_every_extra_that_is_named_is_there_as_it_is_spelled() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = [ROOT / "docs" / "examples" / "vm_endpoints" / "requirements.txt"]
    texts = [*PAGES.values(), *(file.read_text(encoding="utf-8") for file in needs)]
    named = {
        extra
        for text in texts
        for extras in re.findall(r"(?:endpointslice|['\"]\.)\[([\w,-]+)\]", text)
        for extra in extras.split(",")
    }
    assert named >= {"cli", "kr8s", "kubernetes", "kubernetes-asyncio", "lightkube"}
    # With an underscore pip before 23.3 installs nothing, and only warns.
    assert named <= {re.sub("[-_.]+", "-", name) for name in project["optional-dependencies"]}


# --- links ------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ +(.+)$", _FENCE.sub("", text), flags=re.MULTILINE)
    return {
        re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in headings
    }


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = _FENCE.sub("", PAGES[page])
    for match in _LINK.finditer(text):
        target, _, anchor = match["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = ((ROOT / page).parent / target).resolve() if target else ROOT / page
        assert file.exists(), match["target"]
        name = str(file.relative_to(ROOT))
        if anchor and name in PAGES and not name.startswith("docs/reference/"):
            assert anchor in anchors(PAGES[name]), match["target"]


def test_the_table_of_generational_packing_is_what_the_benchmark_counts() -> None:
    counted = json.loads((ROOT / "benchmarks" / "counted.json").read_text())
    text = (ROOT / "docs" / "explanation" / "packing.md").read_text()
    for name, found in counted.items():
        if name.startswith("history: "):
            ours, theirs = found["Generational"], found["KubernetesPacking"]
            writes = [
                item["creates"] + item["updates"] + item["deletes"] for item in (theirs, ours)
            ]
            ratio = f"{writes[1] / writes[0]:.2f}"
            size = f"{ours['bytes_written'] / theirs['bytes_written']:.2f}"
            row = f"| {theirs['steps']} | {writes[0]:,} | {writes[1]:,} | {ratio} | {size} |"
            assert f"| {name.removeprefix('history: ')} {row}" in text


def test_the_last_line_of_counted_work_is_that_of_this_release() -> None:
    section = PAGES["docs/explanation/performance.md"].partition("\n## Counted work\n")[2]
    lines = re.findall(r"^\|.*\|$", section.partition("\n## ")[0], flags=re.MULTILINE)
    heads = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert heads == ["release", *COUNTED_STRATEGIES]
    assert lines[-1] == release_line()
