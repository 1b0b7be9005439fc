"""`endpointslice route`: what it reads, prints, refuses, and how it exits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.test_cli import Write, errors, node, run, service, stored, write

__all__ = ["write"]

EXAMPLE: Final = sorted(
    map(str, (Path(__file__).parent.parent / "docs" / "examples" / "topo-edge").glob("*.json"))
)


def endpoint(
    number: int, host: str = "n1", state: str = "ready", *, zones: str = "", nodes: str = ""
) -> dict[str, Any]:
    ready, terminating = state == "ready", state in ("terminating", "ended")
    return {
        "addresses": [f"10.0.0.{number}"],
        "conditions": {
            "ready": ready,
            "serving": state in ("ready", "terminating"),
            "terminating": terminating,
        },
        "nodeName": host,
        "zone": f"z{host[1:]}",
        "targetRef": {"kind": "Pod", "namespace": "shop", "name": f"web-{number}"},
        "hints": {
            "forZones": [{"name": name} for name in zones.split()],
            "forNodes": [{"name": name} for name in nodes.split()],
        },
    }


def route(*arguments: str, status: int = 0) -> str:
    result = run("route", *arguments, "--from-node", "n1")
    assert result.exit_code == status, result.output
    return result.stdout


def route_data(*arguments: str, status: int = 0) -> Any:
    return json.loads(route(*arguments, "-o", "json", status=status))


def test_the_table_tells_where_traffic_goes_and_why_not_elsewhere(write: Write) -> None:
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080}]
    dump = write(
        service(type="NodePort", externalTrafficPolicy="Local", ports=ports),
        node(),
        stored("web-a", endpoint(1), endpoint(2, "n2"), endpoint(3, "n1", "ended")),
    )
    assert route(dump).splitlines() == [
        "From n1 in zone z1",
        "",
        "Service shop/web",
        "",
        "  IPv4 http 80/TCP",
        "    internal traffic goes to 2 of 3 endpoints (policy Cluster)",
        "      > 10.0.0.1:8080  web-1  n1  z1",
        "      > 10.0.0.2:8080  web-2  n2  z2",
        "      x 10.0.0.3:8080  web-3  n1  z1  not serving",
        "    external traffic goes to 1 of 3 endpoints (policy Local)",
        "      > 10.0.0.1:8080  web-1  n1  z1",
        "      x 10.0.0.2:8080  web-2  n2  z2  other node",
        "      x 10.0.0.3:8080  web-3  n1  z1  not serving",
    ]


def test_both_kinds_of_traffic_are_told_once_if_they_go_to_the_same(write: Write) -> None:
    asked = service(externalIPs=["203.0.113.1"])
    dump = write(asked, stored("web-a", endpoint(1, state="terminating")))
    text = route(dump)
    assert "internal and external traffic goes to 1 of 1 endpoint (policy Cluster)" in text
    assert "> 10.0.0.1:8080  web-1  n1  z1  terminating" in text


def test_hints_are_told_and_why_they_are_ignored(write: Write) -> None:
    by_zone = [endpoint(1, "n1", zones="z1"), endpoint(2, "n2", zones="z2 z3")]
    dump = write(service(), node(), stored("web-a", *by_zone))
    assert "(policy Cluster; hints for the same zone)" in route(dump)
    assert "web-2  n2  z2  hinted to other zones: z2, z3" in route(dump)
    assert "(policy Cluster; hints ignored: no hint for zone)" in route(dump, "--zone", "z9")
    without_node = write(service(), stored("web-a", *by_zone))
    assert "(policy Cluster; hints ignored: node without zone)" in route(without_node)
    assert route(without_node).startswith("From n1 in no zone\n")

    by_node = [endpoint(1, "n1", nodes="n1"), endpoint(2, "n2", nodes="n2")]
    dump = write(service(), node(), stored("web-a", *by_node))
    assert "(policy Cluster; hints for the same node)" in route(dump)
    assert "web-2  n2  z2  hinted to other nodes: n2" in route(dump)


def test_traffic_that_goes_nowhere_is_dropped_or_rejected(write: Write) -> None:
    local = service(internalTrafficPolicy="Local")
    dump = write(local, stored("web-a", endpoint(1, "n2")))
    told = "internal traffic is dropped: endpoints are on other nodes only (policy Local)"
    assert told in route(dump)
    dump = write(local, stored("web-a", endpoint(1, "n2", "unready")))
    told = "internal traffic is rejected: there is no endpoint to go to (policy Local)"
    assert told in route(dump)
    assert "internal traffic is rejected" in route(write(service()))
    assert "it has no ports, so nothing is routed" in route(write(service(ports=[])))


def test_a_copy_that_does_not_count_is_told_with_its_slice(write: Write) -> None:
    old, new = stored("web-a", endpoint(1)), stored("web-b", endpoint(1, "n2"))
    new["metadata"]["resourceVersion"] = "8"
    dump = write(service(), old, new)
    text = route(dump)
    assert "> 10.0.0.1:8080  web-1  n2  z2" in text
    assert "x 10.0.0.1:8080  web-1  n1  z1  another copy counts than that in web-a" in text
    (port,) = route_data(dump)["services"][0]["ports"]
    (unused,) = port["internal"]["unused"]
    assert (unused["reason"], unused["slice"], unused["node"]) == ("Superseded", "web-a", "n1")


def test_each_family_of_a_dual_stack_service_is_routed_by_itself(write: Write) -> None:
    v6 = stored("web-6", endpoint(1))
    v6 |= {"addressType": "IPv6", "endpoints": [endpoint(1) | {"addresses": ["fd00::1"]}]}
    dump = write(service(ipFamilies=["IPv6", "IPv4"]), stored("web-4", endpoint(1)), v6)
    assert route(dump, "-o", "name") == "10.0.0.1:8080\n[fd00::1]:8080\n"
    assert [item["addressType"] for item in route_data(dump)["services"][0]["ports"]] == [
        "IPv4",
        "IPv6",
    ]


def test_table_shortens_what_wide_shows_in_full(write: Write) -> None:
    unready = [endpoint(100 + i, state="unready") for i in range(9)]
    dump = write(service(), stored("web-a", *map(endpoint, range(1, 11)), *unready))
    text = route(dump)
    assert "> ... and 2 more (-o wide shows all)" in text
    assert "x ... and 1 more, not ready (-o wide shows all)" in text
    assert len(text.splitlines()) == len(route(dump, "-o", "wide").splitlines()) - 1
    assert "... and" not in route(dump, "-o", "wide")


def test_json_and_yaml_say_the_same(write: Write) -> None:
    dump = write(service(), node(), stored("web-a", endpoint(1), endpoint(2, state="unready")))
    data = route_data(dump)
    assert yaml.safe_load(route(dump, "-o", "yaml")) == data
    here = {
        "address": "10.0.0.1",
        "port": 8080,
        "target": "web-1",
        "node": "n1",
        "zone": "z1",
        "ready": True,
        "serving": True,
        "terminating": False,
        "forZones": [],
        "forNodes": [],
    }
    there = here | {"address": "10.0.0.2", "target": "web-2", "ready": False, "serving": False}
    assert data == {
        "node": "n1",
        "zone": "z1",
        "services": [
            {
                "namespace": "shop",
                "name": "web",
                "ports": [
                    {
                        "addressType": "IPv4",
                        "name": "http",
                        "port": 80,
                        "protocol": "TCP",
                        "hasEndpoints": True,
                        "topology": "Anywhere",
                        "ignoredHints": [],
                        "internal": {
                            "policy": "Cluster",
                            "endpoints": [here],
                            "unused": [there | {"reason": "NotReady"}],
                        },
                        "external": None,
                    }
                ],
            }
        ],
        "notRouted": [],
        "notTouched": [],
        "errors": [],
    }


def test_endpoints_without_target_node_and_zone_are_shown(write: Write) -> None:
    bare = {"addresses": ["10.0.0.1"], "hostname": "db"}
    dump = write(service(), stored("web-a", bare, {"addresses": ["10.0.0.2"]}))
    assert "> 10.0.0.1:8080  db  -  -" in route(dump)
    assert "> 10.0.0.2:8080  -   -  -" in route(dump)


@pytest.mark.parametrize(
    ("spec", "labels", "told"),
    [
        ({"clusterIP": "None"}, {}, "it is headless"),
        ({"type": "ExternalName"}, {}, "it is of type ExternalName"),
        ({}, {"service.kubernetes.io/service-proxy-name": "cilium"}, "cilium routes it"),
    ],
)
def test_what_kube_proxy_leaves_alone_is_not_routed(
    write: Write, spec: dict[str, Any], labels: dict[str, str], told: str
) -> None:
    asked = service(**spec)
    asked["metadata"]["labels"] = labels
    dump = write(asked, service("db"), stored("web-a", endpoint(1)))
    assert f"Not routed: shop/web: {told}" in route(dump)
    (omitted,) = route_data(dump)["notRouted"]
    assert (omitted["name"], omitted["isError"]) == ("web", False)


def test_service_narrows_what_is_shown(write: Write) -> None:
    dump = write(service(), service("db"), stored("x-a", app="x"))
    both = route(dump)
    assert both.index("Service shop/db") < both.index("Service shop/web")
    assert "Not routed: 1 slice of Services that were not given: shop/x" in both
    alone = route(dump, "--service", "shop/db")
    assert "Service shop/db" in alone
    assert "shop/web" not in alone
    assert "Not routed" not in alone
    assert route_data(dump)["notTouched"] == [
        {"namespace": "shop", "service": "x", "slices": ["x-a"]}
    ]


def test_many_services_that_were_not_given_are_counted(write: Write) -> None:
    dump = write(service(), *(stored(f"{name}-a", app=name) for name in "abcd"))
    told = "4 slices of Services that were not given: shop/a, shop/b, shop/c and 1 more"
    assert told in route(dump)
    assert "shop/c, shop/d" in route(dump, "-o", "wide")


# --- what is wrong ----------------------------------------------------------------------------


def test_a_service_is_not_routed_without_one_of_its_slices(write: Write) -> None:
    bad = stored("web-b", {"addresses": ["10.0.0.300"]})
    other = stored("db-a", endpoint(9), app="db")
    dump = write(service(), service("db"), stored("web-a", endpoint(1)), bad, other)
    result = run("route", dump, "--from-node", "n1")
    assert result.exit_code == 2
    (line,) = errors(result)
    assert "EndpointSlice shop/web-b" in line
    assert "Service shop/db" in result.stdout
    assert "Service shop/web" not in result.stdout
    assert "Not routed: shop/web: " in result.stdout
    assert "could not be read, and may hold endpoints of it" in result.stdout
    data = route_data(dump, status=2)
    assert [(item["name"], item["isError"]) for item in data["notRouted"]] == [("web", True)]
    assert len(data["errors"]) == 1


def test_a_slice_without_readable_labels_may_be_of_any_service_of_its_namespace(
    write: Write,
) -> None:
    bad = stored("odd")
    bad["metadata"]["labels"] = 7
    elsewhere = service("db")
    elsewhere["metadata"]["namespace"] = "data"
    dump = write(service(), elsewhere, bad)
    data = route_data(dump, status=2)
    assert [item["name"] for item in data["notRouted"]] == ["web"]
    assert [item["name"] for item in data["services"]] == ["db"]


def test_a_bad_service_or_node_does_not_take_the_others_down(write: Write) -> None:
    bad_node = node()
    bad_node["metadata"]["labels"] = 7
    dump = write(service(), service("db", ports=7), bad_node, stored("web-a", endpoint(1)))
    data = route_data(dump, status=2)
    assert [item["name"] for item in data["services"]] == ["web"]
    assert [item["name"] for item in data["notRouted"]] == ["db"]
    assert data["zone"] is None
    assert len(data["errors"]) == 2


def test_a_file_that_is_no_kubernetes_object_takes_nothing_down(write: Write) -> None:
    dump = write(service(), stored("web-a", endpoint(1)))
    data = route_data(dump, write('"hello"', name="odd.json"), status=2)
    assert [item["name"] for item in data["services"]] == ["web"]


def test_a_node_that_is_not_there_is_told_from_those_that_are(write: Write) -> None:
    dump = write(service(), node())
    result = run("route", dump, "--from-node", "n7")
    assert (result.exit_code, result.stdout) == (2, "")
    assert errors(result) == ["error: --from-node n7: no such Node in the input, which has n1"]
    assert run("route", dump, "--from-node", "n7", "--zone", "z7").exit_code == 0
    assert run("route", write(service()), "--from-node", "n7").exit_code == 0


def test_an_input_without_services_and_a_service_that_is_not_there_are_errors(
    write: Write,
) -> None:
    result = run("route", write(node()), "--from-node", "n1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert errors(result) == ["error: there is no Service in the input"]
    result = run("route", write(service()), "--from-node", "n1", "--service", "shop/x")
    assert result.exit_code == 2
    told = "error: --service shop/x: no such Service in the input, which has shop/web"
    assert errors(result) == [told]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Missing option '--from-node'"),
        (["--from-node", "n1"], "Missing argument 'FILE...'"),
        (["--from-node", "n1", "nowhere.json"], "'nowhere.json' does not exist"),
        (["--from-node", "n1", "-o", "csv", "-"], "'csv' is not one of"),
    ],
)
def test_a_wrong_command_line_is_named_and_exits_with_2(arguments: list[str], told: str) -> None:
    result = run("route", *arguments, stdin="{}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_a_policy_that_nobody_knows_counts_as_cluster(write: Write) -> None:
    odd = service(internalTrafficPolicy="Nearby", trafficDistribution="PreferMoon")
    dump = write(odd, stored("web-a", endpoint(1, "n2")))
    assert "goes to 1 of 1 endpoint (policy Cluster)" in route(dump)


def test_the_real_controllers_hints_keep_traffic_in_its_zone_and_on_its_node() -> None:
    for number in range(1, 13):
        name = f"node-{number:02d}"
        result = run("route", *EXAMPLE, "--from-node", name, "-o", "json")
        assert result.exit_code == 0
        data = json.loads(result.stdout)
        ports = {item["name"]: item["ports"][0] for item in data["services"]}
        assert [ports[item]["topology"] for item in ("auto-few", "edge", "edge-node")] == [
            "Anywhere",
            "SameZone",
            "SameNode",
        ]
        near = {item["zone"] for item in ports["edge"]["internal"]["endpoints"]}
        assert near == {data["zone"]}
        here = {item["node"] for item in ports["edge-node"]["internal"]["endpoints"]}
        assert here == {name}
        assert len(ports["edge"]["internal"]["endpoints"]) in (7, 8)
