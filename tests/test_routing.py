"""Merging, selecting and explaining, by example."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from itertools import pairwise, permutations
from typing import Any, Final

import attrs
import pytest

from endpointslice import (
    ANNOTATION_TRIGGER_TIME,
    LABEL_SERVICE_NAME,
    AddressType,
    Backend,
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointsChange,
    EndpointSlice,
    FrozenDict,
    ModelError,
    ObjectMeta,
    ObjectReference,
    Protocol,
    Selection,
    Service,
    ServicePort,
    ServicePortName,
    SliceCache,
    Topology,
    TrafficPolicy,
    Unused,
    UnusedReason,
    explain,
    merge_slices,
    select_endpoints,
)

READY: Final = EndpointConditions()
NOT_READY: Final = EndpointConditions(ready=False, serving=False)
TERMINATING: Final = EndpointConditions(ready=False, serving=True, terminating=True)
ENDING: Final = EndpointConditions(ready=False, serving=False, terminating=True)
HTTP: Final = EndpointPort(port=8080, name="http")
PORT: Final = ServicePortName(namespace="shop", service="web", address_type="IPv4", name="http")
PORT_6: Final = attrs.evolve(PORT, address_type="IPv6")
CLUSTER: Final = TrafficPolicy.CLUSTER
LOCAL: Final = TrafficPolicy.LOCAL


def endpoint(
    address: str = "10.0.0.1",
    conditions: EndpointConditions = READY,
    *,
    pod: str = "",
    uid: str = "",
    node: str | None = None,
    zone: str | None = None,
    zones: Sequence[str] = (),
    nodes: Sequence[str] = (),
) -> Endpoint:
    return Endpoint(
        [address],
        conditions,
        node_name=node,
        zone=zone,
        target_ref=ObjectReference("Pod", "shop", pod, uid) if pod else None,
        hints=EndpointHints(for_zones=zones, for_nodes=nodes),
    )


def stored(
    name: str,
    *endpoints: Endpoint,
    version: str = "",
    time: str = "",
    ports: Sequence[EndpointPort] = (HTTP,),
    kind: str = "IPv4",
    service: str = "web",
) -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(
            namespace="shop",
            name=name,
            resource_version=version,
            labels=FrozenDict({LABEL_SERVICE_NAME: service} if service else {}),
            annotations=FrozenDict({ANNOTATION_TRIGGER_TIME: time} if time else {}),
        ),
        address_type=AddressType(kind),
        ports=ports,
        endpoints=endpoints,
    )


def service(**fields: Any) -> Service:
    ports = (ServicePort(port=80, name="http", node_port=fields.pop("node_port", None)),)
    return Service(metadata=ObjectMeta(namespace="shop", name="web"), **{"ports": ports, **fields})


def winner(*slices: EndpointSlice) -> Endpoint:
    """The endpoint that counts, which must be the same for every order of the input."""
    merged = {merge_slices(order) for order in permutations(slices)}
    ((found,),) = (backends.values() for backends in merged)
    (backend,) = found
    return backend.endpoint


# --- merging ----------------------------------------------------------------------------------


def test_merging_keeps_each_address_and_port_once_in_order() -> None:
    metrics = EndpointPort(port=9090, name="metrics", protocol=Protocol.UDP)
    one, two = endpoint("10.0.0.1"), endpoint("10.0.0.2")
    merged = merge_slices(
        [
            stored("b", two, one, ports=(metrics, HTTP)),
            stored("a", one),
            stored("c", one, ports=(attrs.evolve(HTTP, port=81),)),
        ]
    )
    metrics_port = attrs.evolve(PORT, name="metrics", protocol="UDP")
    assert merged == {
        PORT: (
            Backend("10.0.0.1", 81, one),
            Backend("10.0.0.1", 8080, one),
            Backend("10.0.0.2", 8080, two),
        ),
        metrics_port: (Backend("10.0.0.1", 9090, one), Backend("10.0.0.2", 9090, two)),
    }
    assert list(merged) == [PORT, metrics_port]


def test_each_type_of_addresses_is_merged_by_itself() -> None:
    v4, v6 = endpoint("10.0.0.1", pod="web-1"), endpoint("fd00::1", pod="web-1")
    merged = merge_slices([stored("a", v4), stored("b", v6, kind="IPv6")])
    assert merged == {
        PORT: (Backend("10.0.0.1", 8080, v4),),
        PORT_6: (Backend("fd00::1", 8080, v6),),
    }
    assert [str(found) for backends in merged.values() for found in backends] == [
        "10.0.0.1:8080",
        "[fd00::1]:8080",
    ]


def test_services_of_one_name_in_two_namespaces_are_two() -> None:
    other = stored("a", endpoint())
    other = attrs.evolve(other, metadata=attrs.evolve(other.metadata, namespace="test"))
    merged = merge_slices([stored("a", endpoint()), other])
    assert [port.namespace for port in merged] == ["shop", "test"]


def test_traffic_goes_to_the_first_address_of_an_endpoint() -> None:
    several = Endpoint(["10.0.0.9", "10.0.0.1"])
    assert merge_slices([stored("a", several)])[PORT] == (Backend("10.0.0.9", 8080, several),)


@pytest.mark.parametrize(
    "nowhere",
    [
        stored("a", endpoint(), service=""),
        stored("a", endpoint(), ports=()),
        stored("a", endpoint(), ports=(EndpointPort(port=None, name="http"),)),
        stored("a"),
    ],
    ids=["no Service", "no ports", "all ports", "no endpoints"],
)
def test_slices_that_say_nowhere_to_go_count_for_nothing(nowhere: EndpointSlice) -> None:
    assert merge_slices([nowhere]) == {}
    cache = SliceCache([nowhere])
    assert cache.take_changes() == ()
    assert cache.slices == (nowhere,)


def test_two_slices_of_one_name_are_refused() -> None:
    with pytest.raises(ModelError) as caught:
        merge_slices([stored("a", endpoint()), stored("a")])
    assert caught.value == ModelError("slices", "must have a name of its own each", "a")


def test_of_a_move_in_flight_the_copy_that_was_written_last_wins() -> None:
    """kubernetes/kubernetes#135334: the Pod stops serving while it moves to another slice."""
    old = endpoint(pod="web-1", uid="u", node="n1")
    new = endpoint(pod="web-1", uid="u", node="n1", conditions=ENDING)
    assert winner(stored("a", old, version="99"), stored("b", new, version="100")) == new
    assert winner(stored("b", old, version="99"), stored("a", new, version="100")) == new
    # And back: it is what was written last that counts, not which state is worse.
    assert winner(stored("a", new, version="99"), stored("b", old, version="100")) == old


def test_without_versions_the_trigger_time_says_which_copy_was_written_last() -> None:
    old, new = endpoint(pod="web-1", uid="u"), endpoint(pod="web-1", uid="u", conditions=ENDING)
    early, late = "2026-07-01T10:00:00.5Z", "2026-07-01T12:00:00.25+01:00"
    assert winner(stored("a", old, time=early), stored("b", new, time=late)) == new
    assert winner(stored("b", old, time=early), stored("a", new, time=late)) == new
    # Versions are better, and what is no time says nothing.
    assert winner(stored("a", old, version="2", time=early), stored("b", new, time=late)) == old
    for odd in ("yesterday", "2026-07-01T10:00:00", ""):
        assert winner(stored("b", old, time=odd), stored("a", new, time=late)) == new


@pytest.mark.parametrize("version", ["", "abc", "12a", "-5", "٣", "0"])
def test_what_is_no_version_is_older_than_any(version: str) -> None:
    old, new = endpoint(pod="web-1", node="n1"), endpoint(pod="web-1", node="n2")
    assert winner(stored("b", old, version=version), stored("a", new, version="1")) == new


def test_versions_are_numbers_of_any_length() -> None:
    old, new = endpoint(pod="web-1", node="n1"), endpoint(pod="web-1", node="n2")
    versions = ["9", "10", "0011", "18446744073709551616", "9" * 5000]
    for low, high in pairwise(versions):
        assert winner(stored("b", old, version=low), stored("a", new, version=high)) == new


@pytest.mark.parametrize(("ghost", "pod"), [("1", "2"), ("2", "1"), ("", "")])
def test_a_pod_that_uses_an_ip_again_wins_over_the_one_that_still_ends(
    ghost: str, pod: str
) -> None:
    """kubernetes/kubernetes#135593: whichever of the two was written last."""
    for conditions in (READY, NOT_READY):
        for left in (TERMINATING, ENDING):
            new = endpoint(pod="web-2", uid="v", conditions=conditions)
            old = endpoint(pod="web-1", uid="u", conditions=left)
            assert winner(stored("a", old, version=ghost), stored("b", new, version=pod)) == new
            assert winner(stored("b", old, version=ghost), stored("a", new, version=pod)) == new
            assert winner(stored("a", old, new)) == winner(stored("a", new, old)) == new


def test_a_move_and_a_ghost_at_once() -> None:
    ghost = endpoint(pod="web-1", conditions=TERMINATING)
    stale = endpoint(pod="web-2", conditions=READY)
    slices = [stored("a", ghost, version="9"), stored("b", stale, version="2")]
    assert winner(*slices) == stale
    # The new Pod has stopped as well, as its newest copy says: nobody stays, so the newest counts.
    new = endpoint(pod="web-2", conditions=ENDING)
    assert winner(*slices, stored("c", new, version="3")) == ghost
    assert winner(*slices, stored("c", new, version="10")) == new


def test_a_pod_of_the_same_name_is_the_same_endpoint_later() -> None:
    """A StatefulSet's Pod is made again: of one name only one can be there."""
    old = endpoint(pod="db-0", uid="u", conditions=READY)
    new = endpoint(pod="db-0", uid="v", conditions=TERMINATING)
    assert winner(stored("a", old, version="4"), stored("b", new, version="5")) == new


def test_of_copies_that_nothing_tells_apart_the_slice_decides() -> None:
    one, two = endpoint(pod="web-1", node="n1"), endpoint(pod="web-1", node="n2")
    assert winner(stored("a", one), stored("b", two)) == two
    assert winner(stored("a", two), stored("b", one)) == one
    assert winner(stored("b", endpoint(pod="web-1", conditions=ENDING)), stored("a", one)) == one


def test_in_one_slice_the_last_copy_that_stays_counts_and_if_none_does_the_first() -> None:
    one, two = endpoint(node="n1"), endpoint(node="n2")
    assert winner(stored("a", one, two)) == two
    assert winner(stored("a", two, one)) == one
    going, gone = endpoint(node="n1", conditions=TERMINATING), endpoint(conditions=ENDING)
    assert winner(stored("a", going, gone)) == going
    assert winner(stored("a", gone, going)) == gone
    assert winner(stored("a", going, one, gone)) == one


# --- following a watch ------------------------------------------------------------------------


def test_a_cache_gives_what_has_changed_since_it_was_asked() -> None:
    one, two, three = (endpoint(f"10.0.0.{i}") for i in (1, 2, 3))
    cache = SliceCache([stored("a", two, one)])
    assert cache.take_changes() == (
        EndpointsChange(
            port=PORT, added=(Backend("10.0.0.1", 8080, one), Backend("10.0.0.2", 8080, two))
        ),
    )
    assert cache.take_changes() == ()
    unready = endpoint("10.0.0.2", conditions=NOT_READY)
    cache.update(stored("a", three, unready))
    assert cache.take_changes() == (
        EndpointsChange(
            port=PORT,
            added=(Backend("10.0.0.3", 8080, three),),
            changed=((Backend("10.0.0.2", 8080, two), Backend("10.0.0.2", 8080, unready)),),
            removed=(Backend("10.0.0.1", 8080, one),),
        ),
    )
    cache.delete("shop", "a")
    (change,) = cache.take_changes()
    assert [str(item) for item in change.removed] == ["10.0.0.2:8080", "10.0.0.3:8080"]
    assert (cache.backends, cache.slices) == ({}, ())


def test_a_move_from_slice_to_slice_is_no_change() -> None:
    one = endpoint(pod="web-1")
    cache = SliceCache([stored("a", one, version="1")])
    cache.take_changes()
    cache.update(stored("b", one, version="2"))
    assert cache.take_changes() == ()
    cache.update(stored("a", version="3"))
    assert cache.take_changes() == ()
    assert cache.backends == {PORT: (Backend("10.0.0.1", 8080, one),)}


def test_a_copy_that_is_written_again_as_it_was_can_win() -> None:
    old, new = endpoint(pod="web-1", node="n1"), endpoint(pod="web-1", node="n2")
    cache = SliceCache([stored("a", old, version="1"), stored("b", new, version="2")])
    cache.take_changes()
    cache.update(stored("a", old, version="3"))
    (change,) = cache.take_changes()
    assert change.changed == ((Backend("10.0.0.1", 8080, new), Backend("10.0.0.1", 8080, old)),)


def test_what_changes_and_changes_back_is_no_change() -> None:
    cache = SliceCache([stored("a", endpoint())])
    cache.take_changes()
    cache.update(stored("a", endpoint(conditions=NOT_READY)))
    cache.update(stored("b", endpoint("10.0.0.2")))
    cache.delete("shop", "b")
    cache.update(stored("a", endpoint()))
    assert cache.take_changes() == ()


def test_ports_and_services_of_a_slice_can_change() -> None:
    one = endpoint()
    cache = SliceCache([stored("a", one)])
    cache.take_changes()
    cache.update(stored("a", one, ports=(HTTP, EndpointPort(port=1, name="x"))))
    (change,) = cache.take_changes()
    assert (change.port.name, change.added) == ("x", (Backend("10.0.0.1", 1, one),))
    cache.update(stored("a", one, service="other", ports=(attrs.evolve(HTTP, port=81),)))
    other, web_http, web_x = cache.take_changes()
    assert (other.port.service, str(other.added[0])) == ("other", "10.0.0.1:81")
    assert (web_http.port, str(web_http.removed[0])) == (PORT, "10.0.0.1:8080")
    assert (web_x.port.name, str(web_x.removed[0])) == ("x", "10.0.0.1:1")


def test_of_three_copies_two_can_go_in_any_order() -> None:
    copies = [stored(name, endpoint(node=name), version=name) for name in "123"]
    for first, second in permutations("123", 2):
        cache = SliceCache(copies)
        cache.delete("shop", first)
        cache.delete("shop", second)
        (left,) = {"1", "2", "3"} - {first, second}
        assert cache.backends[PORT][0].endpoint.node_name == left


def test_a_slice_that_is_not_there_is_none_to_forget() -> None:
    cache = SliceCache([stored("a", endpoint())])
    cache.delete("shop", "b")
    cache.delete("test", "a")
    assert len(cache.backends[PORT]) == 1


# --- policies ---------------------------------------------------------------------------------

_POLICIES: Final = [(None, CLUSTER), ("Cluster", CLUSTER), ("Local", LOCAL), ("Nonsense", CLUSTER)]


def selected(
    asked: Service,
    *endpoints: Endpoint,
    node: str = "n1",
    zone: str | None = "a",
    port: ServicePortName = PORT,
) -> Selection:
    backends = [Backend(item.addresses[0], 8080, item) for item in endpoints]
    return select_endpoints(asked, port, backends, node_name=node, zone=zone)


@pytest.mark.parametrize(("internal", "policy"), _POLICIES)
@pytest.mark.parametrize(("external", "outside"), _POLICIES)
def test_policies_are_those_of_the_service(
    internal: str | None, policy: TrafficPolicy, external: str | None, outside: TrafficPolicy
) -> None:
    here, there = endpoint("10.0.0.1", node="n1"), endpoint("10.0.0.2", node="n2")
    policies = {"internal_traffic_policy": internal, "external_traffic_policy": external}
    inside = selected(service(**policies), here, there)
    assert (inside.internal_policy, inside.external_policy) == (policy, None)
    assert inside.external is None
    assert (inside.cluster is None) == (policy is LOCAL)
    assert (inside.local is None) == (policy is CLUSTER)

    both = selected(service(node_port=30080, **policies), here, there)
    assert (both.internal_policy, both.external_policy) == (policy, outside)
    for policy_of, used in ((policy, both.internal), (outside, both.external)):
        assert used is not None
        assert len(used) == (1 if policy_of is LOCAL else 2)
    # From within the cluster an outside address can be short-circuited to any endpoint.
    assert both.cluster is not None
    assert len(both.cluster) == 2
    assert (both.local is not None) == (LOCAL in (policy, outside))


@pytest.mark.parametrize("field", ["external_ips", "load_balancer_ips"])
def test_an_outside_address_counts_for_its_own_family(field: str) -> None:
    for address, is_ipv4 in (("203.0.113.1", True), ("2001:db8::1", False)):
        asked = service(**{field: (address,)})
        assert (selected(asked).external_policy is None) != is_ipv4
        assert (selected(asked, port=PORT_6).external_policy is None) == is_ipv4


@pytest.mark.parametrize(
    "port",
    [
        attrs.evolve(PORT, name="https"),
        attrs.evolve(PORT, protocol="UDP"),
        attrs.evolve(PORT, service="db"),
        attrs.evolve(PORT, namespace="test"),
    ],
)
def test_a_port_of_another_service_is_refused(port: ServicePortName) -> None:
    with pytest.raises(ModelError) as caught:
        selected(service(), port=port)
    assert caught.value == ModelError("port", "is none of the Service's", port)


@pytest.mark.parametrize(("field", "value"), [("address_type", "IPv5"), ("protocol", "tcp")])
def test_a_port_that_cannot_be_is_refused(field: str, value: str) -> None:
    with pytest.raises(ModelError):
        attrs.evolve(PORT, **{field: value})


# --- state and hints --------------------------------------------------------------------------


def addresses(backends: Sequence[Backend] | None) -> list[str] | None:
    return None if backends is None else [item.address[-1] for item in backends]


def test_terminating_endpoints_are_the_last_resort_of_each_policy_by_itself() -> None:
    asked = service(node_port=30080, external_traffic_policy="Local")
    here = endpoint("10.0.0.1", TERMINATING, node="n1")
    there = endpoint("10.0.0.2", READY, node="n2")
    ended = endpoint("10.0.0.3", ENDING, node="n1")
    unready = endpoint("10.0.0.4", NOT_READY, node="n1")
    found = selected(asked, here, there, ended, unready)
    assert addresses(found.internal) == ["2"]
    assert addresses(found.external) == ["1"]
    assert addresses(found.reachable) == ["1", "2"]
    assert found.has_endpoints
    found = selected(asked, here, ended, unready, node="n2")
    assert addresses(found.internal) == ["1"]
    assert addresses(found.external) == []
    found = selected(asked, ended, unready)
    assert (found.internal, found.external, found.has_endpoints) == ((), (), False)


def test_no_node_has_endpoints_that_are_on_none() -> None:
    asked = service(internal_traffic_policy="Local")
    assert addresses(selected(asked, endpoint(node=""), endpoint(), node="").local) == []


def test_node_hints_come_before_zone_hints() -> None:
    found = selected(
        service(),
        endpoint("10.0.0.1", nodes=["n1"], zones=["b"]),
        endpoint("10.0.0.2", nodes=["n2"], zones=["a"]),
        endpoint("10.0.0.3", NOT_READY),
        endpoint("10.0.0.4", NOT_READY, nodes=["n1"]),
    )
    assert found.topology is Topology.SAME_NODE
    assert (addresses(found.cluster), found.ignored_hints) == (["1"], ())


@pytest.mark.parametrize(
    ("hints", "zone", "topology", "ignored"),
    [
        ([{}, {}], "a", "Anywhere", []),
        ([{"nodes": ["n2"]}, {}], "a", "Anywhere", ["MissingNodeHint"]),
        ([{"nodes": ["n2"]}, {"nodes": ["n3"]}], "a", "Anywhere", ["NoHintForNode"]),
        ([{"nodes": ["n1"]}, {"nodes": ["n3", "n1"]}], "a", "SameNode", []),
        ([{"zones": ["a"]}, {}], "a", "Anywhere", ["MissingZoneHint"]),
        ([{"zones": ["b"]}, {"zones": ["c"]}], "a", "Anywhere", ["NoHintForZone"]),
        ([{"zones": ["b"]}, {"zones": ["c"]}], None, "Anywhere", ["NodeWithoutZone"]),
        ([{"zones": ["b"]}, {"zones": ["c"]}], "", "Anywhere", ["NodeWithoutZone"]),
        ([{"zones": ["b"]}, {"zones": ["c", "a"]}], "a", "SameZone", []),
        (
            [{"nodes": ["n2"], "zones": ["a"]}, {"zones": ["b"]}],
            "a",
            "SameZone",
            ["MissingNodeHint"],
        ),
        (
            [{"nodes": ["n2"], "zones": ["a"]}, {"nodes": ["n3"]}],
            "a",
            "Anywhere",
            ["NoHintForNode", "MissingZoneHint"],
        ),
    ],
)
def test_hints_are_followed_only_if_all_ready_endpoints_have_them_and_one_is_for_here(
    hints: list[dict[str, Any]], zone: str | None, topology: str, ignored: list[str]
) -> None:
    endpoints = [endpoint(f"10.0.0.{i}", **given) for i, given in enumerate(hints)]
    found = selected(service(), *endpoints, zone=zone)
    assert (found.topology, found.ignored_hints) == (topology, tuple(ignored))
    near = {"Anywhere": endpoints, "SameNode": endpoints, "SameZone": endpoints}[topology]
    if topology == "SameZone":
        near = [item for item in endpoints if "a" in item.hints.for_zones]
    assert [item.endpoint for item in found.internal] == near


def test_hints_of_endpoints_that_are_not_ready_count_for_nothing() -> None:
    found = selected(service(), endpoint(conditions=TERMINATING, nodes=["n2"], zones=["b"]))
    assert (found.topology, found.ignored_hints) == (Topology.ANYWHERE, ())
    assert addresses(found.internal) == ["1"]


def test_hints_do_not_matter_where_no_traffic_uses_the_cluster() -> None:
    found = selected(
        service(internal_traffic_policy="Local"), endpoint(node="n1", zones=["b"]), zone="b"
    )
    assert (found.topology, addresses(found.internal)) == (Topology.ANYWHERE, ["1"])


def test_a_port_without_endpoints_goes_nowhere() -> None:
    found = selected(service())
    assert (found.internal, found.reachable, found.has_endpoints) == ((), (), False)


# --- explaining -------------------------------------------------------------------------------


def reasons(selection: Selection, policy: TrafficPolicy) -> dict[str, UnusedReason]:
    return {item.backend.address[-1]: item.reason for item in explain(selection, policy)}


def test_each_endpoint_that_is_not_used_has_its_reason() -> None:
    asked = service(node_port=30080, external_traffic_policy="Local")
    endpoints = [
        endpoint("10.0.0.1", READY, node="n1", zones=["a"]),
        endpoint("10.0.0.2", READY, node="n2", zones=["b"]),
        endpoint("10.0.0.3", TERMINATING, node="n1"),
        endpoint("10.0.0.4", ENDING, node="n1"),
        endpoint("10.0.0.5", NOT_READY, node="n1"),
        endpoint("10.0.0.6", NOT_READY),
    ]
    found = selected(asked, *endpoints)
    assert reasons(found, CLUSTER) == {
        "2": UnusedReason.HINTED_TO_OTHER_ZONES,
        "3": UnusedReason.TERMINATING,
        "4": UnusedReason.NOT_SERVING,
        "5": UnusedReason.NOT_READY,
        "6": UnusedReason.NOT_READY,
    }
    assert reasons(found, LOCAL) == {
        "2": UnusedReason.OTHER_NODE,
        "3": UnusedReason.TERMINATING,
        "4": UnusedReason.NOT_SERVING,
        "5": UnusedReason.NOT_READY,
        "6": UnusedReason.OTHER_NODE,
    }
    hinted = [
        endpoint("10.0.0.1", nodes=["n1"], zones=["a"]),
        endpoint("10.0.0.2", nodes=["n2"], zones=["a"]),
    ]
    assert reasons(selected(asked, *hinted), CLUSTER) == {"2": UnusedReason.HINTED_TO_OTHER_NODES}


def test_traffic_that_a_port_does_not_have_cannot_be_explained() -> None:
    found = selected(service())
    for policy, ask in ((LOCAL, explain), (LOCAL, Selection.used_by)):
        with pytest.raises(ModelError) as caught:
            ask(found, policy)
        assert caught.value == ModelError("policy", "is that of no traffic of the port", policy)


def test_copies_that_lost_are_told_with_their_slice() -> None:
    stale, new = endpoint(pod="web-1", node="n1"), endpoint(pod="web-1", node="n2")
    slices = [
        stored("c", new, version="3"),
        stored("b", stale, version="2"),
        stored("d", new, version="1"),
        stored("e", stale, version="1", service="other"),
        stored("f", stale, ports=(attrs.evolve(HTTP, port=81),), version="9"),
    ]
    merged = merge_slices(slices[:4])
    found = select_endpoints(service(), PORT, merged[PORT], node_name="n1")
    assert explain(found, CLUSTER, slices) == (
        Unused(Backend("10.0.0.1", 8080, stale), UnusedReason.SUPERSEDED, "b"),
    )


def test_values_can_be_pickled() -> None:
    found = selected(service(node_port=30080), endpoint(node="n1", zones=["a"]))
    assert pickle.loads(pickle.dumps(found)) == found
    assert hash(found) == hash(pickle.loads(pickle.dumps(found)))
    assert pickle.loads(pickle.dumps(found)).reachable == found.reachable


def test_a_pod_that_is_made_anew_where_it_was_is_a_change() -> None:
    old, new = endpoint(pod="web-0", uid="1"), endpoint(pod="web-0", uid="2")
    cache = SliceCache([stored("web-1", old)])
    cache.take_changes()
    cache.update(stored("web-1", new))
    (change,) = cache.take_changes()
    ((backend,),) = cache.backends.values()
    assert backend.endpoint == new
    assert [(was.endpoint, now.endpoint) for was, now in change.changed] == [(old, new)]


def test_policies_can_be_given_by_their_names() -> None:
    here, there = endpoint(node="n1"), endpoint("10.0.0.2", node="n2")
    selection = selected(service(node_port=30000, external_traffic_policy="Local"), here, there)
    assert selection.used_by("Local") == selection.used_by(LOCAL)  # type: ignore[arg-type]
    assert explain(selection, "Local") == explain(selection, LOCAL)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="policy"):
        selection.used_by("x")  # type: ignore[arg-type]
