"""The command line: what it reads, prints, refuses, and how it exits."""

from __future__ import annotations

import codecs
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from endpointslice.cli import reading
from endpointslice.cli.commands import cli

MANAGER = "endpointslice-controller.k8s.io"
Write = Callable[..., str]


# --- objects ----------------------------------------------------------------------------------


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": "shop", "name": name, "uid": f"{name}-uid"},
        "spec": {
            "clusterIP": "10.96.0.1",
            "ipFamilies": ["IPv4"],
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
            "selector": {"app": name},
            **spec,
        },
    }


def pod(number: int = 1, app: str = "web", *, ready: bool = True) -> dict[str, Any]:
    ip = f"10.0.0.{number}"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "shop", "name": f"{app}-{number}", "labels": {"app": app}},
        "spec": {"nodeName": "n1", "containers": [{"name": "main"}]},
        "status": {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


def node() -> dict[str, Any]:
    labels = {"topology.kubernetes.io/zone": "z1"}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": labels}}


def endpoint(number: int = 1, app: str = "web", *, ready: bool = True) -> dict[str, Any]:
    return {
        "addresses": [f"10.0.0.{number}"],
        "conditions": {"ready": ready, "serving": ready, "terminating": False},
        "nodeName": "n1",
        "zone": "z1",
        "targetRef": {"kind": "Pod", "namespace": "shop", "name": f"{app}-{number}"},
    }


def stored(
    name: str = "web-a",
    *endpoints: dict[str, Any],
    app: str = "web",
    manager: str = MANAGER,
) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": "shop",
            "name": name,
            "uid": f"{name}-uid",
            "resourceVersion": "7",
            "labels": {
                "kubernetes.io/service-name": app,
                "endpointslice.kubernetes.io/managed-by": manager,
            },
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Service", "name": app, "uid": f"{app}-uid"}
            ],
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": list(endpoints),
    }


def at_rest(app: str = "web") -> list[dict[str, Any]]:
    """A Service of one Pod whose slice is right."""
    return [service(app), pod(1, app), stored(f"{app}-a", endpoint(1, app), app=app)]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write objects as a kubectl List, or any text or bytes, and return the path."""

    def _write(*content: Any, name: str = "dump.json") -> str:
        path = tmp_path / name
        if len(content) == 1 and isinstance(content[0], bytes):
            path.write_bytes(content[0])
        elif len(content) == 1 and isinstance(content[0], str):
            path.write_text(content[0])
        else:
            path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": content}))
        return str(path)

    return _write


def run(*arguments: str, stdin: str | bytes | None = None) -> Result:
    result = CliRunner().invoke(cli, arguments, input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def errors(result: Result) -> list[str]:
    """The lines of an error that is clear: each names itself, none is of a traceback."""
    lines = result.stderr.splitlines()
    assert all(line.startswith("error: ") for line in lines), result.stderr
    return lines


# --- reading ----------------------------------------------------------------------------------


def test_any_mix_of_json_yaml_lists_documents_and_stdin_gives_the_same_plan(write: Write) -> None:
    items = [service(), pod(1), pod(2), node(), stored("web-a", endpoint(1))]
    expected = run("plan", write(*items)).stdout
    documents = "---\n".join(["# a comment\n", *map(yaml.safe_dump, items)])
    joined = "\n".join(map(json.dumps, items))
    powershell = codecs.BOM_UTF16_LE + json.dumps(items).encode("utf-16-le")
    typed = {
        "kind": "PodList",
        "apiVersion": "v1",
        "items": [
            {k: v for k, v in pod(n).items() if k not in ("kind", "apiVersion")} for n in (1, 2)
        ],
    }
    rest = write(service(), node(), stored("web-a", endpoint(1)), name="rest.json")
    assert "1 to create" in expected
    assert run("plan", write(documents, name="all.yaml")).stdout == expected
    assert run("plan", "-", stdin=joined).stdout == expected
    assert run("plan", "-f", "-", stdin=documents).stdout == expected
    assert run("plan", write(powershell, name="utf16.json")).stdout == expected
    assert run("plan", write(json.dumps(typed), name="pods.json"), "-f", rest).stdout == expected


def test_yaml_keeps_timestamps_and_addresses_that_look_like_numbers_as_text(write: Write) -> None:
    address = "2001:10:20:30:40:50:51:52"
    slice_ = stored("web-a", {"addresses": [address]})
    slice_["addressType"] = "IPv6"
    slice_["metadata"]["creationTimestamp"] = "2026-11-23T02:23:38Z"
    text = yaml.safe_dump(slice_)
    for plain in (address, slice_["metadata"]["creationTimestamp"]):
        assert f"'{plain}'" in text
        text = text.replace(f"'{plain}'", plain)
    result = run("inspect", write(text, name="slices.yaml"), "-o", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["totals"]["endpoints"] == 1


def test_v1beta1_slices_are_read(write: Write) -> None:
    old = stored("web-a", endpoint(1))
    old["apiVersion"] = "discovery.k8s.io/v1beta1"
    del old["endpoints"][0]["zone"]
    old["endpoints"][0]["topology"] = {"topology.kubernetes.io/zone": "z1"}
    result = run("plan", write(service(), pod(1), node(), old))
    assert (result.exit_code, result.stderr) == (0, "")
    assert "No changes: shop/web (1 slice)" in result.stdout


def test_objects_of_other_kinds_and_groups_are_ignored(write: Write) -> None:
    knative = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "x"}}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}}
    result = run("plan", write(*at_rest(), node(), knative, deployment))
    assert (result.exit_code, result.stderr) == (0, "")


def test_one_object_in_two_files_counts_once(write: Write) -> None:
    again = stored("web-a", endpoint(1))
    again["metadata"]["managedFields"] = [{"manager": "kube-controller-manager"}]
    dump = write(*at_rest(), node())
    result = run("plan", dump, dump, write(again, name="again.json"))
    assert (result.exit_code, result.stderr) == (0, "")


# --- plan -------------------------------------------------------------------------------------


def test_plan_shows_creates_updates_and_deletes_with_reasons(write: Write) -> None:
    dump = write(
        *(service("web"), pod(1, ready=False), pod(3), node()),
        stored("web-a", endpoint(1), endpoint(2)),
        *(service("new"), pod(4, "new")),
        service("old", ports=[{"name": "http", "port": 80, "targetPort": "none"}]),
        stored("old-a", endpoint(5, "old"), app="old"),
    )
    result = run("plan", dump, "--nodes", "10")
    text = " ".join(result.stdout.split())
    assert result.exit_code == 1
    assert "+ create new-* IPv4 http:8080 1 endpoint because endpoints added" in text
    assert "~ update web-a IPv4 http:8080 2 endpoints because endpoints changed" in text
    assert "+ 10.0.0.3 web-3 n1 ready" in text
    assert "~ 10.0.0.1 web-1 n1 ready true -> false, serving true -> false" in text
    assert "- 10.0.0.2 web-2 n1" in text
    assert "http:8080 -> no ports 1 -> 0 endpoints" in text
    assert "warning: no Pod that it selects was given, so all of its endpoints go" in text
    assert "Plan: 1 to create, 2 to update, 0 to delete." in text
    assert "3 writes (the minimum)" in text
    assert "sent to 10 watching nodes." in text
    assert "watching" not in run("plan", dump, "--nodes", "0").stdout


def test_plan_shows_which_endpoints_move_and_from_where(write: Write) -> None:
    half = [endpoint(n) for n in range(1, 4)]
    other = [endpoint(n) for n in range(4, 7)]
    other[0]["conditions"]["ready"] = False
    half[0]["conditions"]["ready"] = False
    slices = [stored("web-a", *half), stored("web-b", *other)]
    dump = write(service(), *(pod(n) for n in range(1, 7)), node(), *slices)
    merged = run("plan", dump, "--strategy", "minimal").stdout.splitlines()
    assert any(
        line.split()[:2] == [">", "10.0.0.4"] and line.endswith("from web-b") for line in merged
    )
    assert "  - delete web-b" in merged
    kept = run("plan", dump, "--strategy", "minimal-no-merge").stdout
    assert "Plan: 0 to create, 2 to update, 0 to delete." in kept


def test_table_shortens_what_wide_shows_in_full(write: Write) -> None:
    dump = write(service(), *(pod(n) for n in range(1, 31)), node())
    table, wide = run("plan", dump).stdout, run("plan", dump, "-o", "wide").stdout
    assert "... and 22 more (-o wide shows all)" in table
    # They stand in the order in which a StatefulSet's Pods go.
    assert "10.0.0.1 " not in table
    assert "10.0.0.1 " in wide
    assert "z1" in wide
    assert " more" not in wide


def test_json_and_yaml_say_the_same_in_the_order_of_the_plan(write: Write) -> None:
    web = service(), pod(1, ready=False), stored("web-a", endpoint(1))
    dump = write(*web, node(), stored("x-a", app="x"), service("y", selector={}))
    as_json, as_yaml = run("plan", dump, "-o", "json"), run("plan", dump, "-o", "yaml")
    data = json.loads(as_json.stdout)
    assert yaml.safe_load(as_yaml.stdout) == data
    assert as_json.exit_code == as_yaml.exit_code == 1
    (planned,) = data["services"]
    (operation,) = planned["operations"]
    assert (operation["operation"], operation["reasons"]) == ("update", ["EndpointsChanged"])
    assert operation["object"]["metadata"]["resourceVersion"] == "7"
    assert planned["cost"]["writes"] == planned["minimumWrites"] == 1
    assert planned["cost"]["bytesOnWire"] == planned["cost"]["bytesWritten"]
    assert [item["name"] for item in data["notPlanned"]] == ["y"]
    assert data["notTouched"] == [{"namespace": "shop", "service": "x", "slices": ["x-a"]}]
    assert data["errors"] == []


def test_names_are_arguments_of_kubectl(write: Write) -> None:
    web = service(), pod(1, ready=False), stored("web-a", endpoint(1))
    dump = write(*web, node(), service("new"), pod(3, "new"))
    assert run("plan", dump, "-o", "name").stdout.splitlines() == [
        "create endpointslice.discovery.k8s.io/new-* -n shop",
        "update endpointslice.discovery.k8s.io/web-a -n shop",
    ]


def test_service_narrows_the_plan(write: Write) -> None:
    dump = write(*at_rest("web"), *at_rest("api"), pod(2, "api"), node())
    assert run("plan", dump).exit_code == 1
    assert run("plan", dump, "--service", "shop/web").exit_code == 0
    assert run("plan", dump, "--service", "shop/api", "--service", "shop/web").exit_code == 1


def test_services_without_selector_are_not_ours_to_plan(write: Write) -> None:
    dump = write(
        service("none", selector={}),
        service("alias", type="ExternalName"),
        stored("none-a", app="none"),
    )
    result = run("plan", dump)
    assert result.exit_code == 0
    assert "Not planned: shop/alias: it is of type ExternalName" in result.stdout
    assert "Not planned: shop/none: it has no selector" in result.stdout
    assert "Not touched" not in result.stdout


def test_slices_of_other_services_and_managers_are_not_touched(write: Write) -> None:
    foreign = stored("web-z", endpoint(9), manager="somebody.example")
    result = run("plan", write(*at_rest(), node(), foreign, stored("x-a", app="x")))
    assert result.exit_code == 0
    assert "Not touched: 1 slice of Services that were not given: shop/x" in result.stdout
    assert "left alone: shop/web: 1 slice managed by somebody.example" in result.stdout


def test_a_service_that_is_being_deleted_gets_no_slice(write: Write) -> None:
    leaving = service()
    leaving["metadata"]["deletionTimestamp"] = "2026-11-23T02:23:38Z"
    result = run("plan", write(leaving, pod(1), node()))
    assert result.exit_code == 0
    assert "the Service is being deleted, so no slice is created" in result.stdout


def test_hints_that_cannot_be_given_are_reported(write: Write) -> None:
    result = run("plan", write(*at_rest()[1:], service(trafficDistribution="Never"), node()))
    told = "hints: shop/web: unknown traffic distribution (Never), which is ignored"
    assert told in result.stdout


def test_hints_that_are_not_possible_are_reported_with_the_figures(write: Write) -> None:
    wish = service()
    wish["metadata"]["annotations"] = {"service.kubernetes.io/topology-mode": "Auto"}
    dump = write(*at_rest()[1:], wish, node())
    told = "hints: shop/web: insufficient node info (Auto, IPv4: no Node is ready), so endpoints"
    assert told in run("plan", dump).stdout
    (planned,) = json.loads(run("plan", dump, "-o", "json").stdout)["services"]
    assert planned["hintFallbacks"] == [
        {
            "reason": "InsufficientNodeInfo",
            "value": "Auto",
            "addressType": "IPv4",
            "detail": "no Node is ready",
        }
    ]


def test_trigger_time_goes_on_what_is_written(write: Write) -> None:
    dump = write(service(), pod(1), node())
    moment = "2026-11-23T02:23:38.123456789Z"
    data = json.loads(run("plan", dump, "--trigger-time", moment, "-o", "json").stdout)
    written = data["services"][0]["operations"][0]["object"]["metadata"]["annotations"]
    assert list(written.values()) == [moment]


def test_managed_by_chooses_whose_slices_are_planned(write: Write) -> None:
    result = run("plan", write(*at_rest(), node()), "--managed-by", "me.example")
    assert result.exit_code == 1
    assert "1 to create, 0 to update, 0 to delete" in result.stdout
    assert f"left alone: 1 slice managed by {MANAGER}" in result.stdout


def test_a_lower_maximum_splits_slices(write: Write) -> None:
    dump = write(
        service(),
        *(pod(n) for n in range(1, 4)),
        node(),
        stored("web-a", *map(endpoint, (1, 2, 3))),
    )
    result = run("plan", dump, "--max-endpoints-per-slice", "2")
    assert "because over capacity" in result.stdout
    assert "1 to create, 1 to update" in result.stdout


# --- inspect ----------------------------------------------------------------------------------


def test_inspect_finds_every_kind_of_waste(write: Write) -> None:
    ownerless, unlabelled = stored("api-a", endpoint(1), app="api"), stored("lost")
    unlabelled["metadata"]["labels"] = {}
    ownerless["metadata"]["ownerReferences"] = []
    stale, leaving = stored("db-b", endpoint(2, "db"), app="db"), stored("db-c", app="db")
    stale["metadata"]["ownerReferences"][0]["uid"] = "gone"
    leaving["metadata"]["deletionTimestamp"] = "2026-11-23T02:23:38Z"
    dump = write(
        *(stored("web-a", endpoint(1), endpoint(2)), stored("web-b", endpoint(1)), stored("web-c")),
        *(ownerless, stored("api-b", endpoint(1), app="api", manager="other.example"), unlabelled),
        *(stored("db-a", *(endpoint(n, "db") for n in range(1, 5)), app="db"), stale, leaving),
    )
    result = run("inspect", dump, "--max-endpoints-per-slice", "3", "-o", "json")
    data = json.loads(result.stdout)
    problems = {
        (item["service"], item["manager"]): " / ".join(item["problems"])
        for item in data["services"]
    }
    assert result.exit_code == 0
    web = problems["web", MANAGER]
    assert "3 slices where 1 would do / 1 of 3 endpoints are duplicates" in web
    assert "1 empty slice: web-c" in web
    assert (
        "other managers write slices of this Service too: other.example" in problems["api", MANAGER]
    )
    assert "no owner, so nothing removes them with the Service: api-a" in problems["api", MANAGER]
    assert "1 slice over 3 endpoints: db-a" in problems["db", MANAGER]
    assert "owned by 2 Services of one name" in problems["db", MANAGER]
    assert "1 slice being deleted: db-c" in problems["db", MANAGER]
    assert "no label kubernetes.io/service-name" in problems["", ""]
    assert "no label endpointslice.kubernetes.io/managed-by" in problems["", ""]
    assert data["services"][0]["service"] == "web"
    assert data["totals"]["slices"] == 9


def test_inspect_tells_what_an_update_costs_on_many_nodes(write: Write) -> None:
    dump = write(stored("web-a", endpoint(1), endpoint(2)), stored("web-b", endpoint(3)))
    one = json.loads(run("inspect", dump, "-o", "json").stdout)["services"][0]
    many = json.loads(run("inspect", dump, "-o", "json", "--nodes", "500").stdout)["services"][0]
    assert one["updateBytesOnWire"] == one["updateBytes"]
    assert many["updateBytesOnWire"] == 500 * one["updateBytes"]
    assert one["bytes"] / 2 < one["updateBytes"] < one["largestSliceBytes"]
    assert "sends to 500 watching nodes" in run("inspect", dump, "--nodes", "500").stdout


def test_a_placeholder_is_no_waste(write: Write) -> None:
    empty = stored()
    empty["ports"] = empty["endpoints"] = None
    data = json.loads(run("inspect", write(empty), "-o", "json").stdout)
    assert data["services"][0]["idealSlices"] == 1
    assert data["services"][0]["problems"] == []


def test_wide_tables_are_never_cut(write: Write) -> None:
    name = "x" * 200
    dump = write(stored(f"{name}-a", endpoint(1), app=name))
    result = run("inspect", dump, "-o", "wide")
    row = next(line for line in result.stdout.splitlines() if name in line)
    assert row.split()[:3] == ["shop", name, MANAGER]
    assert yaml.safe_load(run("inspect", dump, "-o", "yaml").stdout)["totals"]["services"] == 1


# --- bad input --------------------------------------------------------------------------------


def changed(manifest: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The same manifest with another value at a path; None removes it."""
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    target: Any = manifest
    for part in parents:
        target = target[part]
    if value is None:
        del target[last]
    else:
        target[last] = value
    return manifest


BAD_SLICES = {
    "unknown apiVersion": ("apiVersion", "discovery.k8s.io/v9", "'discovery.k8s.io/v9'"),
    "missing addressType": ("addressType", None, "addressType: is required"),
    "unknown addressType": ("addressType", "IPv5", "'IPv5'"),
    "address of the wrong family": (
        *("endpoints.0.addresses.0", "fd00::1"),
        "endpoints[0].addresses[0]: is not a canonical IPv4 address, got 'fd00::1'",
    ),
    "address that is not canonical": (
        *("endpoints.0.addresses.0", "FD00::1"),
        "endpoints[0].addresses[0]: must be in canonical form (fd00::1), got 'FD00::1'",
    ),
    "no address": ("endpoints.0.addresses.0", "nope!", "endpoints[0].addresses[0]"),
    "1,001 endpoints": ("endpoints", [endpoint()] * 1001, "endpoints: must be at most 1000"),
    "101 addresses": (
        *("endpoints.0.addresses", [f"10.0.1.{n}" for n in range(101)]),
        "endpoints[0].addresses: must be 1..100 addresses, got 101",
    ),
    "port out of range": ("ports.0.port", 65536, "ports[0].port: must be a whole number"),
    "string for a list": ("endpoints", "10.0.0.1", "endpoints: must be a list, got '10.0.0.1'"),
    "string for addresses": ("endpoints.0.addresses", "10.0.0.1", "endpoints[0].addresses: must"),
    "no name": ("metadata.name", None, "metadata.name: is required"),
}


@pytest.mark.parametrize("case", BAD_SLICES)
def test_a_bad_slice_is_named_and_its_service_alone_is_not_planned(write: Write, case: str) -> None:
    path, value, message = BAD_SLICES[case]
    bad = changed(stored("web-a", endpoint(1)), path, value)
    dump = write(service("web"), pod(1), node(), bad, *at_rest("api"), pod(2, "api"))
    planned = run("plan", dump)
    (line,) = errors(planned)
    assert line.startswith(f"error: {dump}: items[3] (EndpointSlice shop")
    assert message in line
    assert planned.exit_code == 2
    assert "Not planned: shop/web: " in planned.stdout
    assert "without it its endpoints would be put in twice" in planned.stdout
    assert "Plan: 1 to create, 0 to update, 0 to delete. 1 Service could not" in planned.stdout
    inspected = run("inspect", dump)
    assert errors(inspected) == [line]
    assert inspected.exit_code == 2
    assert "api" in inspected.stdout


BAD_FILES = {
    "empty": (b"", "is empty"),
    "blank": (b"  \n\n", "is empty"),
    "comments only": (b"# nothing\n---\n", "is empty"),
    "truncated": (b'{"kind": "List", "items": [{"kind": "Po', "is cut short: the JSON breaks off"),
    "truncated after a value": (b'{"kind": "List"', "is cut short"),
    "no JSON": (b'{"kind": oops}', "is not JSON: Expecting value at line 1, column 10"),
    "half a character": (b'{"kind": "\\ud800"}', "is not JSON: \\ud800 is half a character"),
    "a huge number": (b'{"kind": ' + b"9" * 5000 + b"}", "is not JSON: "),
    "no YAML": (b"kind: Service: List\n", "is neither JSON nor YAML: mapping values"),
    "control characters": (b"kind: \x01\n", "is neither JSON nor YAML"),
    "a bad number in YAML": (b"port: 0b_\n", "is neither JSON nor YAML"),
    "binary": (bytes(range(256)), "is neither JSON nor YAML: byte 128 is 0x80"),
    "a sentence": (b"Hello there", "must be an object, got 'Hello there'"),
    "a number": (b"[17]", "must be an object, got 17"),
    "too deep": (b"[" * 100_000, "is nested too deep"),
    "no kind": (b'{"writes": 7}', "kind: is required"),
    "a string for items": (b'{"kind": "List", "items": "x"}', "items: must be a list, got 'x'"),
}


@pytest.mark.parametrize("command", ["plan", "inspect"])
@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_named_with_what_is_wrong(write: Write, case: str, command: str) -> None:
    content, message = BAD_FILES[case]
    file = write(content, name="bad.json")
    lines = errors(result := run(command, file))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert lines[0].startswith(f"error: {file}: ")
    assert message in lines[0]


def test_nothing_is_planned_without_a_file_that_may_hold_anything(write: Write) -> None:
    good = write(*at_rest(), node(), name="good.json")
    result = run("plan", good, write('{"items": [', name="cut.json"))
    assert result.exit_code == 2
    assert "Not planned: shop/web: " in result.stdout
    assert "may hold Pods, Nodes or slices of this Service" in result.stdout


def test_a_file_that_is_no_kubernetes_object_takes_nothing_down(write: Write) -> None:
    result = run("plan", write(*at_rest(), node()), write('{"writes": 7}', name="counts.json"))
    assert result.exit_code == 2
    assert "No changes: shop/web" in result.stdout


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("status", None, "status: is required"),
        ("spec.containers", "x", "spec.containers: must be a list, got 'x'"),
        ("status.podIPs.0", "10.0.0.1", "status.podIPs[0]: must be an object, got '10.0.0.1'"),
        ("metadata.labels", ["web"], "metadata.labels: must be an object"),
    ],
)
def test_a_service_is_not_planned_without_one_of_its_pods(
    write: Write, path: str, value: Any, message: str
) -> None:
    bad = changed(pod(1), path, value)
    result = run("plan", write(service(), bad, pod(2), node(), stored("web-a", endpoint(1))))
    (line,) = errors(result)
    assert "items[1] (Pod shop/web-1)" in line
    assert message in line
    assert result.exit_code == 2
    assert "without it its endpoint would go" in result.stdout
    assert "Plan: 0 to create, 0 to update, 0 to delete." in result.stdout


@pytest.mark.parametrize("ip", ["10.0.0.256", "nope"])
def test_a_service_is_not_planned_if_a_pod_holds_no_address(write: Write, ip: str) -> None:
    bad = changed(pod(1), "status.podIPs.0.ip", ip)
    result = run("plan", write(service(), bad, node(), stored("web-a", endpoint(1))))
    assert result.exit_code == 2
    assert "Not planned: shop/web: Pod shop/web-1: " in result.stdout
    assert repr(ip) in result.stdout


def test_an_object_without_readable_labels_may_be_of_any_service_of_its_namespace(
    write: Write,
) -> None:
    lost = changed(stored("x"), "metadata.labels", "?")
    nameless = {"metadata": {"namespace": "shop", "name": "what"}}
    shapeless = {"apiVersion": "v1", "kind": "Pod", "metadata": "?"}
    for bad in (lost, nameless, shapeless):
        result = run("plan", write(*at_rest(), node(), bad))
        assert result.exit_code == 2
        assert "Not planned: shop/web: " in result.stdout


def test_a_bad_pod_of_another_service_or_namespace_does_no_harm(write: Write) -> None:
    other, elsewhere = changed(pod(3, "api"), "status", None), changed(pod(4), "status", None)
    elsewhere["metadata"]["namespace"] = "elsewhere"
    result = run("plan", write(*at_rest(), node(), other, elsewhere))
    assert result.exit_code == 2
    assert len(errors(result)) == 2
    assert "No changes: shop/web" in result.stdout


def test_a_service_is_not_planned_without_the_nodes_of_its_pods(write: Write) -> None:
    missing = run("plan", write(*at_rest()))
    assert missing.exit_code == 2
    assert "no Node was given" in missing.stdout
    broken = run("plan", write(*at_rest(), changed(node(), "metadata.labels", "x")))
    assert broken.exit_code == 2
    assert "without it the endpoints on it would go" in broken.stdout


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("spec", None, "spec: is required"),
        ("spec.ports.0.port", 0, "spec.ports[0].port: must be a whole number, 1..65535, got 0"),
        ("apiVersion", "v2", "apiVersion: must be v1, got 'v2'"),
    ],
)
def test_a_bad_service_does_not_take_the_others_down(
    write: Write, path: str, value: Any, message: str
) -> None:
    bad = changed(service("bad"), path, value)
    dump = write(*at_rest(), node(), bad, stored("bad-a", app="bad"))
    result = run("plan", dump)
    assert result.exit_code == 2
    assert message in errors(result)[0]
    assert "No changes: shop/web" in result.stdout
    assert "Not planned: shop/bad: " in result.stdout
    assert "Not touched" not in result.stdout
    assert run("plan", dump, "--service", "shop/bad").exit_code == 2


def test_two_services_of_one_name_are_not_planned(write: Write) -> None:
    one, two = write(*at_rest(), node(), name="a.json"), write(service(type="x"), name="b.json")
    result = run("plan", one, two)
    (line,) = errors(result) if "there is no" not in result.stderr else errors(result)[:1]
    assert result.exit_code == 2
    assert "is another object of one name than" in line
    assert one in line
    assert two in line


def test_two_versions_of_one_slice_are_an_error_that_names_both(write: Write) -> None:
    newer = changed(stored("web-a", endpoint(2)), "metadata.resourceVersion", "8")
    one, two = write(*at_rest(), node(), name="a.json"), write(newer, newer, name="b.json")
    result = run("plan", one, two)
    (line,) = errors(result)
    assert result.exit_code == 2
    assert f"{two}: items[0] (EndpointSlice shop/web-a)" in line
    assert f"{one}: items[2] (EndpointSlice shop/web-a)" in line
    assert "uid web-a-uid at resourceVersion 7" in line
    assert "Not planned: shop/web: " in result.stdout


@pytest.mark.parametrize("kind", ["Deployment", "Service"])
def test_an_input_without_what_is_asked_for_is_an_error(write: Write, kind: str) -> None:
    dump = write({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "x"}})
    for command, what in (("plan", "Service"), ("inspect", "EndpointSlice")):
        result = run(command, dump)
        assert result.exit_code == 2
        assert errors(result) == [f"error: there is no {what} in the input (ignored: 1 {kind})"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-endpoints-per-slice", "0"], "0 is not in the range 1<=x<=1000"),
        (["--max-endpoints-per-slice", "1001"], "1001 is not in the range 1<=x<=1000"),
        (["--max-endpoints-per-slice", "many"], "'many' is not a valid integer"),
        (["--strategy", "best"], "strategy: must be one of kubernetes, minimal, "),
        (["--nodes", "-1"], "-1 is not in the range"),
        (["--trigger-time", "yesterday"], "'yesterday' must be an RFC 3339 time"),
        (["-o", "xml"], "'table', 'wide', 'json', 'yaml', 'name'"),
        (["--service", "shop/nope"], "--service shop/nope: no such Service in the input"),
        (["nosuch.json"], "'nosuch.json' does not exist"),
        (["."], "'.' is a directory"),
        (["--frobnicate"], "--frobnicate"),
    ],
)
def test_a_wrong_argument_is_named_and_exits_with_2(
    write: Write, arguments: list[str], message: str
) -> None:
    result = run("plan", write(*at_rest(), node()), *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_a_service_that_is_not_there_is_told_from_those_that_are(write: Write) -> None:
    many = write(*(service(f"web-{n}") for n in range(7)))
    (line,) = errors(run("plan", many, "--service", "shop/web"))
    assert line.endswith(
        "which has shop/web-0, shop/web-1, shop/web-2, shop/web-3, shop/web-4, ..."
    )


def test_no_file_at_all_is_a_usage_error() -> None:
    result = run("plan")
    assert result.exit_code == 2
    assert "Missing argument 'FILE...'; '-' reads standard input." in result.stderr


def test_a_file_that_may_not_be_read_is_named(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    dump = write(*at_rest())
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert errors(run("inspect", dump))[0] == f"error: {dump}: cannot be read: Permission denied"


def test_yaml_that_would_take_minutes_is_refused_with_the_reason(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_MAX_YAML_BYTES", 1000)
    dump = write(yaml.safe_dump_all(at_rest()), name="big.yaml")
    assert "give it as JSON" in errors(run("inspect", dump))[0]
    assert run("inspect", write(*at_rest())).exit_code == 0


# --- the program ------------------------------------------------------------------------------


def program(
    *arguments: str, code: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    start = ["-c", code] if code else ["-m", "endpointslice"]
    return subprocess.run(
        [sys.executable, *start, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


def test_the_program_exits_as_kubectl_diff_does(write: Write) -> None:
    rest = program("plan", write(*at_rest(), node(), name="rest.json"))
    changes = program("plan", write(*at_rest(), pod(2), node(), name="changes.json"))
    wrong = program("plan", "nosuch.json")
    assert (rest.returncode, changes.returncode, wrong.returncode) == (0, 1, 2)
    assert "1 to create" in changes.stdout
    assert "Traceback" not in wrong.stderr
    assert "\x1b" not in rest.stdout + changes.stdout


def test_the_program_says_its_version_and_how_it_is_used() -> None:
    assert program("--version").stdout.startswith("endpointslice, version ")
    assert "Shell completion" in program("-h").stdout
    for command in ("plan", "inspect"):
        text = program(command, "--help").stdout
        assert "Examples:" in text
        assert "Exit status:" in text


def test_completion_is_that_of_click() -> None:
    script = program(_ENDPOINTSLICE_COMPLETE="bash_source")
    assert script.returncode == 0
    assert "complete" in script.stdout


@pytest.mark.parametrize("missing", ["click", "rich", "yaml"])
def test_without_the_extra_it_says_what_to_install(write: Write, missing: str) -> None:
    file = write(yaml.safe_dump(stored("web-a", endpoint(1))), name="slices.yaml")
    code = f"import sys; sys.modules[{missing!r}] = None; import endpointslice.cli as c; c.main()"
    result = program("inspect", file, code=code)
    assert result.returncode == 2
    assert f"needs {missing}, which is not installed" in result.stderr
    assert "python -m pip install 'endpointslice[cli]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_our_own_bug_is_never_taken_for_changes() -> None:
    code = "import endpointslice.cli as c\ndef fail(): raise {}\nc._run = fail\nc.main()"
    assert program(code=code.format("RuntimeError('bug')")).returncode == 2
    assert program(code=code.format("MemoryError")).stderr == (
        "error: the input does not fit into memory\n"
    )
    assert program(code=code.format("KeyboardInterrupt")).returncode == 130


def test_colour_is_for_terminals_and_no_color_is_honoured(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    pty = pytest.importorskip("pty")
    dump = write(service(), pod(1, ready=False), stored("web-a", endpoint(1)), node())

    def on_terminal(**environment: str) -> str:
        main, child = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "endpointslice", "plan", dump],
            stdout=child,
            env={**os.environ, "TERM": "xterm-256color", **environment},
        ):
            os.close(child)
            chunks = []
            while True:
                try:
                    chunk = os.read(main, 65536)
                except OSError:
                    break
                if not chunk:
                    break
                chunks.append(chunk)
        os.close(main)
        return b"".join(chunks).decode()

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1;33m  ~ update " in on_terminal()
    assert "\x1b" not in on_terminal(NO_COLOR="1")
