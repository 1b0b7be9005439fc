"""The examples of docs/examples print what the documentation says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from endpointslice import decode_objects
from endpointslice.cli.commands import cli
from endpointslice.cli.strategies import STRATEGIES

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"


def files(name: str) -> list[str]:
    return sorted(str(path) for path in (EXAMPLES / name).glob("*.json"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.mark.parametrize("strategy", ["kubernetes", "minimal", "minimal-no-merge", "generational"])
def test_the_roll_out_takes_four_updates_where_slices_stay_as_they_were_found(
    strategy: str,
) -> None:
    result = run("plan", *files("web-rolling"), "--strategy", strategy)
    assert result.exit_code == 1
    assert "Plan: 0 to create, 4 to update, 0 to delete." in result.stdout
    assert "4 writes (the minimum), 30,610 bytes" in result.stdout
    assert "367,320 bytes sent to 12 watching nodes" in result.stdout


def test_the_roll_out_says_what_happens_to_each_endpoint() -> None:
    lines = [line.split() for line in run("plan", *files("web-rolling")).stdout.splitlines()]
    came = ["+", "10.244.8.3", "web-55fd686485-6srkx", "node-08", "not", "ready"]
    went = ["-", "10.244.8.6", "web-745f649f8b-4dvlt", "node-08"]
    ready = "~ 10.244.5.12 web-55fd686485-4dkfj node-05 ready false -> true, serving false -> true"
    ending = "~ 10.244.6.6 web-745f649f8b-2wf9j node-06 ready true -> false, terminating false"
    assert came in lines
    assert went in lines
    assert ready.split() in lines
    assert [*ending.split(), "->", "true"] in lines
    assert [
        "because",
        "endpoints",
        "changed,",
        "endpoints",
        "added,",
        "endpoints",
        "moved",
        "in",
    ] in lines
    moved = [line for line in lines if line[:1] == [">"]]
    assert [">", "10.244.11.7", "web-745f649f8b-d275s", "node-11", "from", "web-rx6wf"] in moved


def test_the_roll_out_says_which_pods_have_no_endpoint_and_why() -> None:
    result = run("plan", *files("web-rolling"), "-o", "wide")
    (skipped,) = [line for line in result.stdout.splitlines() if "skipped:" in line]
    assert "7 Pods, NoIP: web-55fd686485-47h44, " in skipped
    assert " more" not in skipped


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("name", "note"), [("headless-db", "data/db"), ("fragmented", "backend")])
def test_a_cluster_at_rest_needs_nothing(name: str, note: str, strategy: str) -> None:
    result = run("plan", *files(name), "--strategy", strategy)
    assert result.exit_code == 0
    assert f"No changes: {note}" in result.stdout
    assert "Plan: 0 to create, 0 to update, 0 to delete." in result.stdout


def test_inspect_says_that_two_slices_would_do_where_there_are_ten() -> None:
    result = run("inspect", str(EXAMPLES / "fragmented" / "endpointslices.json"))
    assert result.exit_code == 0
    row = next(line for line in result.stdout.splitlines() if line.startswith("backend"))
    assert row.split() == ["backend", "api", "10", "2", "120", "12%", "0", "2,055"]
    assert "backend/api: 10 slices where 2 would do" in result.stdout
    assert "120 endpoints in 10 slices where 2 would do (12% full)" in result.stdout


def test_all_examples_are_read_in_one_go_and_the_worst_service_comes_first() -> None:
    every = [file for name in ("web-rolling", "headless-db", "fragmented") for file in files(name)]
    assert run("inspect", *every, "-o", "name").stdout.split() == [
        "backend/api",
        "shop/web",
        "data/db",
    ]
    planned = run("plan", *every)
    assert (planned.exit_code, planned.stderr) == (1, "")
    assert "No changes: backend/api (10 slices), data/db (4 slices)" in planned.stdout


def test_the_mirrors_of_the_example_hold_what_the_endpoints_objects_hold() -> None:
    result = run("convert", str(EXAMPLES / "selectorless" / "endpoints.json"))
    assert (result.exit_code, result.stderr) == (0, "")
    made = decode_objects([json.loads(result.stdout)]).slices
    kept = decode_objects([json.loads((EXAMPLES / "selectorless/endpointslices.json").read_text())])
    contents = [
        {
            (item.group_key, item.metadata.generate_name, one)
            for item in slices
            if item.metadata.generate_name != "ext-skip-"
            for one in item.endpoints
        }
        for slices in (made, kept.slices)
    ]
    assert contents[0] == contents[1]
    assert len(contents[0]) == 7


@pytest.mark.parametrize("name", ["web-rolling", "headless-db", "fragmented"])
def test_every_object_of_the_examples_can_be_read(name: str) -> None:
    found = decode_objects(json.loads(Path(file).read_text()) for file in files(name))
    assert found.problems == ()
    assert len(found.nodes) == 12
    assert found.services
    assert found.pods
    assert found.slices
