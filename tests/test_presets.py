"""Published estimates beside exact figures: both as they are, and a reason where they differ."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from endpointslice import (
    AddressType,
    Endpoint,
    EndpointGroup,
    EndpointPort,
    GroupKey,
    ObjectMeta,
    ObjectReference,
)
from endpointslice.cli.commands import cli
from endpointslice.packing import Generational, KubernetesPacking
from endpointslice.simulate import Change, PodState, Trace, presets
from endpointslice.simulate.presets import PRESETS, Figure, blog, kep_752
from endpointslice.sizing import endpoints_json_size, endpoints_protobuf_size

KB, MB, GB, TB = (10 ** (3 * power) for power in range(1, 5))

Find = Callable[..., Figure]


def finder(figures: tuple[Figure, ...]) -> Find:
    def find(case: str, event: str, layout: str, what: str) -> Figure:
        (found,) = [
            item
            for item in figures
            if (item.case.startswith(case), item.event, item.what) == (True, event, what)
            and item.layout == layout
        ]
        return found

    return find


@pytest.fixture(scope="module")
def announced() -> tuple[Figure, ...]:
    return blog()


@pytest.fixture(scope="module")
def estimated() -> tuple[Figure, ...]:
    return kep_752()


ONE = "one Endpoints object"
REPLACED = "all Pods are replaced, and each costs one write"
ROLLED = "all Pods are replaced, a quarter at a time, with one sync a second"


# --- the announcement -------------------------------------------------------------------------


def test_the_announcement_says_what_it_said(announced: tuple[Figure, ...]) -> None:
    find = finder(announced)
    assert find("5,000", "at rest", ONE, "largest object").published == 1.5 * MB
    assert find("5,000", "one endpoint changes", ONE, "sent").published == 4.5 * GB
    assert find("5,000", REPLACED, ONE, "sent").published == 22 * TB
    assert find("15 ", "at rest", "slices of 5", "objects").published == 3


def endpoints(count: int) -> tuple[Endpoint, ...]:
    """As many Pods, of which each has a name, a uid and an address as long as those of others."""
    return tuple(
        Endpoint(
            (f"10.{pod // 62500}.{pod // 250 % 250}.{pod % 250 + 1}",),
            node_name=f"node-{pod % 3000:03d}",
            target_ref=ObjectReference("Pod", "prod", f"web-7d4b9c6f5d-{pod:05d}", "u" * 36),
        )
        for pod in range(count)
    )


def test_an_endpoints_object_has_its_exact_size(announced: tuple[Figure, ...]) -> None:
    port = EndpointPort(port=8080, name="http")
    group = EndpointGroup(
        key=GroupKey(address_type=AddressType.IPV4, ports=(port,)), endpoints=endpoints(5_000)
    )
    moment = "2026-01-01T00:00:00Z"
    meta = ObjectMeta(
        namespace="prod",
        name="web",
        uid="u" * 36,
        resource_version="123456789",
        creation_timestamp=moment,
        labels={"app": "web", "endpoints.kubernetes.io/managed-by": "endpoint-controller"},
        annotations={"endpoints.kubernetes.io/last-change-trigger-time": moment},
    )
    find = finder(announced)
    size = find("5,000", "at rest", ONE, "largest object").measured
    assert size == endpoints_protobuf_size(meta, group)
    as_json = find("5,000", "at rest", ONE, "largest as JSON").measured
    assert as_json == endpoints_json_size(meta, group)
    # One that is not ready is as large as one that is.
    changed = find("5,000", "one endpoint changes", ONE, "sent").measured
    assert changed == size * 3_000
    assert find("5,000", REPLACED, ONE, "sent").measured == size * 3_000 * 5_000


def test_a_slice_is_sent_where_all_of_an_endpoints_object_was(
    announced: tuple[Figure, ...],
) -> None:
    find = finder(announced)
    for case, layout, slices in (
        ("5,000", "slices of 100", 50),
        ("15 ", "slices of 5", 3),
        ("100,000", "slices of 100", 1_000),
        ("100,000", "slices of 1000", 100),
    ):
        nodes = 1 if case == "15 " else 3_000
        assert find(case, "at rest", layout, "objects").measured == slices
        sent = find(case, "one endpoint changes", layout, "sent").measured
        # Another slice may have shorter addresses.
        largest = find(case, "at rest", layout, "largest object").measured
        assert 0.98 < sent / nodes / largest <= 1
        assert sent < find(case, "one endpoint changes", ONE, "sent").measured


def test_a_service_of_100_000_endpoints_fits_etcd_in_slices_alone(
    announced: tuple[Figure, ...],
) -> None:
    find = finder(announced)
    whole = find("100,000", "at rest", ONE, "largest object")
    assert whole.measured > 1.5 * MB
    assert "etcd" in whole.because
    for layout in ("slices of 100", "slices of 1000"):
        part = find("100,000", "at rest", layout, "largest object")
        assert part.measured < 1.5 * MB
        assert part.because == ""


def test_in_a_real_roll_out_ours_sends_least_and_the_reference_no_less_than_one_object(
    announced: tuple[Figure, ...],
) -> None:
    find = finder(announced)
    layouts = (ONE, "slices of 100, kubernetes", "slices of 100, generational")
    one, theirs, ours = (find("5,000", ROLLED, layout, "sent").measured for layout in layouts)
    assert ours < 0.5 * theirs
    assert 0.9 < theirs / one < 1.1
    writes = [find("5,000", ROLLED, layout, "writes").measured for layout in layouts]
    assert writes[0] < writes[2] < writes[1]


def test_what_leaves_endpoints_early_is_not_written_again() -> None:
    changes = [
        Change(0, 0, PodState.READY, 0),
        Change(0, 1, PodState.READY, 0),
        Change(1000, 0, PodState.TERMINATING),
        Change(2000, 0, None),
    ]
    trace = Trace(name="x", nodes=1, zones=1, changes=tuple(changes), duration=3000)
    _, one = presets._measure(presets._OneObject(), trace)
    assert [bill.writes for bill in one] == [1, 1, 0]
    _, slices = presets._measure(presets._slices_of(100), trace)
    assert [bill.writes for bill in slices] == [1, 1, 1]


@pytest.mark.parametrize("strategy", [KubernetesPacking(), Generational()])
def test_one_change_costs_one_write_whatever_the_strategy(strategy: Any) -> None:
    trace = presets._one_change(1_000, 100)
    _, bills = presets._measure(presets._slices_of(100, strategy), trace)
    assert [bill.writes for bill in bills] == [10, 1]


# --- KEP-752 ----------------------------------------------------------------------------------


def test_the_design_document_says_what_it_said(estimated: tuple[Figure, ...]) -> None:
    find = finder(estimated)
    layouts = (ONE, "slices of 100", "slices of 1")

    def published(case: str, event: str, what: str) -> list[int | None]:
        return [find(case, event, layout, what).published for layout in layouts]

    large, small, made, change = "20,000", "20 ", "the Service is created", "one endpoint changes"
    assert published(large, made, "writes") == [1, 200, 20_000]
    assert published(large, made, "largest object") == [2 * MB, 10 * KB, 1 * KB]
    assert published(large, made, "events") == [5_000, 1_000_000, 100_000_000]
    assert published(large, made, "sent") == [10 * GB] * 3
    assert published(large, change, "events") == [5_000] * 3
    assert published(large, change, "sent") == [10 * GB, 50 * MB, 5 * MB]
    assert published(large, REPLACED, "writes") == [20_000] * 3
    assert published(large, REPLACED, "events") == [100_000_000] * 3
    assert published(large, REPLACED, "sent") == [200 * TB, 1 * TB, 100 * GB]
    assert published(small, made, "writes") == [1, 1, 20]
    assert published(small, made, "largest object") == [1 * KB] * 3
    assert published(small, made, "events") == [10, 10, 200]
    assert published(small, made, "sent") == [10 * KB, 10 * KB, 200 * KB]
    assert published(small, change, "events") == [1] * 3
    assert published(small, change, "sent") == [10 * KB] * 3
    assert published(small, REPLACED, "writes") == [20] * 3
    assert published(small, REPLACED, "events") == [200] * 3
    assert published(small, REPLACED, "sent") == [200 * KB] * 3


def test_writes_and_events_are_as_published_but_for_one_slip(
    estimated: tuple[Figure, ...],
) -> None:
    wrong = [item for item in estimated if item.unit != "bytes" and item.ratio != 1]
    assert [(item.case, item.event, item.what) for item in wrong] == [
        ("20 endpoints, 10 nodes", "one endpoint changes", "events")
    ] * 3
    assert {item.measured for item in wrong} == {10}


def test_the_exact_sizes_are_near_the_estimates_where_endpoints_are_many(
    estimated: tuple[Figure, ...],
) -> None:
    find = finder(estimated)
    size = find("20,000", "the Service is created", ONE, "largest object")
    assert size.ratio == pytest.approx(1.06, abs=0.01)
    part = find("20,000", "the Service is created", "slices of 100", "largest object")
    assert part.ratio == pytest.approx(1.24, abs=0.01)
    # Ten times as much as published: what a slice of one endpoint holds is mostly metadata.
    sent = find("20,000", "the Service is created", "slices of 1", "sent")
    assert sent.measured == pytest.approx(49 * GB, rel=0.02)


# --- both -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_every_figure_that_differs_says_why(name: str, request: pytest.FixtureRequest) -> None:
    fixture = {"blog": "announced", "kep-752": "estimated"}[name]
    for figure in request.getfixturevalue(fixture):
        if figure.ratio is not None:
            differs = not 0.9 <= figure.ratio <= 1.1
            assert bool(figure.because) == differs, figure


def test_a_figure_that_was_not_published_has_no_ratio() -> None:
    figure = Figure(case="", event="", layout="", what="sent", unit="bytes", measured=7)
    assert figure.ratio is None


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["simulate", "--preset", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_presets_are_printed_as_table_json_and_csv(
    announced: tuple[Figure, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "endpointslice.cli.simulation_rendering.PRESETS", {"blog": lambda: announced}
    )
    found = json.loads(run("blog", "-o", "json"))
    assert found["preset"] == "blog"
    size = next(item for item in found["figures"] if item["published"] == 1.5 * MB)
    assert size["ratio"] == round(size["measured"] / size["published"], 4)
    table = list(csv.DictReader(io.StringIO(run("blog", "-o", "csv"))))
    for row, item in zip(table, found["figures"], strict=True):
        assert row == {name: "" if value is None else str(value) for name, value in item.items()}
    text = run("blog")
    assert "5,000 endpoints, 3,000 nodes" in text
    (line,) = [line for line in text.splitlines() if "1.50 MB" in line]
    assert line.split()[-5:] == ["MB", "529", "kB", f"{size['ratio']:.2f}", "[1]"]
    assert "[1] 1.5 MB is what etcd takes" in text
    assert max(map(len, text.splitlines())) < 80
