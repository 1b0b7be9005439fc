"""`endpointslice convert`: what it reads, prints, says to be lost, refuses, and how it exits."""

from __future__ import annotations

import json
from typing import Any

import yaml

from tests.test_cli import Write, at_rest, endpoint, node, run, service, stored, write

__all__ = ["write"]


def old(name: str = "web", *subsets: dict[str, Any], **meta: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"namespace": "shop", "name": name, **meta},
        "subsets": list(subsets),
    }


def subset(*ips: str, port: int = 80, not_ready: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "addresses": [{"ip": ip} for ip in ips],
        "notReadyAddresses": [{"ip": ip} for ip in not_ready],
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
    }


def converted(*arguments: str, stdin: str | None = None) -> list[dict[str, Any]]:
    result = run("convert", *arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["apiVersion"], found["kind"]) == ("v1", "List")
    items: list[dict[str, Any]] = found["items"]
    return items


def test_endpoints_become_slices_as_the_mirroring_controller_marks_them(write: Write) -> None:
    (made,) = converted(write(old("web", subset("10.0.0.1"), uid="u1", labels={"a": "b"})))
    assert made["metadata"] == {
        "namespace": "shop",
        "generateName": "web-",
        "labels": {
            "a": "b",
            "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
        },
        "ownerReferences": [
            {
                "apiVersion": "v1",
                "kind": "Endpoints",
                "name": "web",
                "uid": "u1",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    assert made["ports"] == [{"name": "http", "port": 80, "protocol": "TCP"}]
    assert made["endpoints"] == [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}]


def test_slices_of_another_manager_do_not_belong_to_the_object(write: Write) -> None:
    path = write(old("web", subset("10.0.0.1"), uid="u1"))
    (made,) = converted(path, "--managed-by", "db.example.com")
    assert made["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == "db.example.com"
    assert "ownerReferences" not in made["metadata"]


def test_many_objects_of_many_addresses_come_in_order(write: Write) -> None:
    ips = [f"10.0.{i // 200}.{i % 200}" for i in range(250)]
    path = write(old("web", subset(*ips)), old("db", subset("10.1.0.1", "fd00::1")), service())
    made = converted(path)
    assert [item["metadata"]["generateName"] for item in made] == ["db-"] * 2 + ["web-"] * 3
    counts = [len(item["endpoints"]) for item in made]
    assert (counts[:2], sum(counts[2:])) == ([1, 1], 250)
    assert [item["addressType"] for item in made[:2]] == ["IPv4", "IPv6"]
    assert len(converted(path, "--max-endpoints-per-slice", "1000")) == 3


def test_slices_become_endpoints_from_standard_input() -> None:
    gone = {**endpoint(3), "conditions": {"ready": False, "serving": True, "terminating": True}}
    objects = [
        stored("web-a", endpoint(1), endpoint(2, ready=False), gone),
        stored("db-a", endpoint(9, "db"), app="db"),
    ]
    result = run("convert", "-", "-o", "yaml", stdin=json.dumps(objects))
    assert result.exit_code == 0
    db, web = yaml.safe_load(result.stdout)["items"]
    assert db["metadata"] == {"namespace": "shop", "name": "db"}
    (found,) = web["subsets"]
    assert [item["ip"] for item in found["addresses"]] == ["10.0.0.1"]
    assert [item["ip"] for item in found["notReadyAddresses"]] == ["10.0.0.2"]
    assert result.stderr.splitlines() == [
        "lost: shop/db: 1 address listed without zone (10.0.0.9)",
        "lost: shop/web: 1 address left out: terminating (10.0.0.3)",
        "lost: shop/web: 2 addresses listed without zone (10.0.0.1, 10.0.0.2)",
    ]


def test_truncation_is_told(write: Write) -> None:
    ips = [f"10.0.{i // 200}.{i % 200}" for i in range(1100)]
    slices = converted(write(old("web", subset(*ips))), "--max-endpoints-per-slice", "1000")
    for i, item in enumerate(slices):
        item["metadata"]["name"] = f"web-{i}"
    result = run("convert", "-", stdin=json.dumps(slices))
    (made,) = json.loads(result.stdout)["items"]
    assert len(made["subsets"][0]["addresses"]) == 1000
    assert made["metadata"]["annotations"] == {"endpoints.kubernetes.io/over-capacity": "truncated"}
    (line,) = result.stderr.splitlines()
    assert line.startswith("lost: shop/web: 100 addresses left out: more than 1,000 (")
    assert line.endswith(", ...)")


def test_what_no_slice_can_hold_is_told(write: Write) -> None:
    result = run("convert", write(old("web", subset("10.0.0.1", "nonsense"))))
    assert result.exit_code == 0
    assert (
        result.stderr == "lost: shop/web: 1 address left out: no slice can hold them (nonsense)\n"
    )


def test_of_both_kinds_one_must_be_chosen(write: Write) -> None:
    path = write(old("web", subset("10.0.0.1")), stored("db-a", endpoint(9, "db"), app="db"))
    result = run("convert", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "say --to which" in result.stderr
    assert [item["kind"] for item in converted(path, "--to", "endpoints")] == ["Endpoints"]
    assert [item["kind"] for item in converted(path, "--to", "endpointslices")] == ["EndpointSlice"]


def test_nothing_to_convert_is_an_error(write: Write) -> None:
    result = run("convert", write(service()))
    assert result.exit_code == 2
    assert "nothing in the input to make endpointslices of (ignored: 1 Service)" in result.stderr
    path = write(old("web", subset("10.0.0.1")))
    assert run("convert", path, "--to", "endpoints").exit_code == 2


def test_a_bad_object_does_not_lose_the_others(write: Write) -> None:
    bad = old("bad", {"addresses": [{"ip": 7}]})
    result = run("convert", write(bad, old("web", subset("10.0.0.1"))))
    assert result.exit_code == 2
    assert len(json.loads(result.stdout)["items"]) == 1
    assert "Endpoints shop/bad): subsets[0].addresses[0].ip: must be a string" in result.stderr


def test_slices_that_cannot_be_told_to_be_a_services_are_an_error(write: Write) -> None:
    nobody = stored("stray", endpoint(1))
    del nobody["metadata"]["labels"]["kubernetes.io/service-name"]
    result = run("convert", write(nobody, stored("db-a", endpoint(9, "db"), app="db")))
    assert result.exit_code == 2
    assert [item["metadata"]["name"] for item in json.loads(result.stdout)["items"]] == ["db"]
    assert "error: shop/stray has no label kubernetes.io/service-name" in result.stderr


def test_a_service_of_which_a_slice_cannot_be_read_is_not_converted(write: Write) -> None:
    bad = stored("web-b", {"addresses": ["nonsense!"]})
    db = stored("db-a", endpoint(9, "db"), app="db")
    result = run("convert", write(stored("web-a", endpoint(1)), bad, db))
    assert result.exit_code == 2
    assert [item["metadata"]["name"] for item in json.loads(result.stdout)["items"]] == ["db"]
    assert "error: shop/web is not converted: " in result.stderr


def test_plans_do_not_look_at_endpoints(write: Write) -> None:
    bad = old("bad", {"addresses": [{"ip": 7}]})
    assert run("plan", write(*at_rest(), node(), bad)).exit_code == 0
