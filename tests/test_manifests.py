"""The door in: what is read, and how what is wrong is told."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from endpointslice import (
    AddressType,
    ContainerPort,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    FrozenDict,
    KubernetesPacking,
    ManifestError,
    Node,
    Pod,
    Protocol,
    Service,
    ServicePort,
    decode_node,
    decode_objects,
    decode_pod,
    decode_pods,
    decode_service,
    decode_slice,
    decode_slices,
    encode_plan,
    encode_slice,
    encode_slices,
    is_known_kind,
    iter_objects,
    json_size,
    protobuf_size,
    reconcile,
)
from tests.builders import TEMPLATE, endpoint, group, stored
from tests.manifest_builders import Manifest

# --- manifests to make bad ----------------------------------------------------------------------


def slice_manifest(**changes: Any) -> Manifest:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "shop"},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}],
        **changes,
    }


def service_manifest(**spec: Any) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}], **spec},
    }


def pod_manifest(**changes: Any) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web-0", "namespace": "shop"},
        "spec": {"containers": []},
        "status": {},
        **changes,
    }


def node_manifest(name: str = "node-1", **changes: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, **changes}


def with_endpoint(**fields: Any) -> Manifest:
    """A slice whose second endpoint has these fields."""
    return slice_manifest(
        endpoints=[{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"], **fields}]
    )


def with_metadata(**fields: Any) -> Manifest:
    return slice_manifest(metadata={"name": "web-1", **fields})


def with_port(**fields: Any) -> Manifest:
    return slice_manifest(ports=[{"name": "http", "port": 80}, fields])


def nested(depth: int, innermost: object = 1) -> Any:
    """Lists and objects in turn, so many of them."""
    value = innermost
    for i in range(depth):
        value = [value] if i % 2 else {"a": value}
    return value


Decoder = Callable[[Manifest], object]
_MANY: Final = [f"10.1.0.{i}" for i in range(101)]

# --- bad slices -------------------------------------------------------------------------------

BAD_SLICES: Final[dict[str, tuple[object, str, object]]] = {
    "nothing": (None, "", None),
    "a string": ("EndpointSlice", "", "EndpointSlice"),
    "a list": ([], "", []),
    "wrong kind": (slice_manifest(kind="Pod"), "kind", "Pod"),
    "a kind that is no string": (slice_manifest(kind=["Pod"]), "kind", ["Pod"]),
    "unknown apiVersion": (
        slice_manifest(apiVersion="discovery.k8s.io/v2"),
        "apiVersion",
        "discovery.k8s.io/v2",
    ),
    "apiVersion of the core": (slice_manifest(apiVersion="v1"), "apiVersion", "v1"),
    "apiVersion that is no string": (slice_manifest(apiVersion=1), "apiVersion", 1),
    "missing addressType": (slice_manifest(addressType=None), "addressType", None),
    "empty addressType": (slice_manifest(addressType=""), "addressType", None),
    "unknown addressType": (slice_manifest(addressType="ipv4"), "addressType", "ipv4"),
    "addressType that is no string": (slice_manifest(addressType=4), "addressType", 4),
    # addresses
    "an address of the wrong family": (
        with_endpoint(addresses=["fd00::1"]),
        "endpoints[1].addresses[0]",
        "fd00::1",
    ),
    "an IPv4 address in an IPv6 slice": (
        slice_manifest(addressType="IPv6"),
        "endpoints[0].addresses[0]",
        "10.0.0.1",
    ),
    "a name in an IPv4 slice": (
        with_endpoint(addresses=["example.com"]),
        "endpoints[1].addresses[0]",
        "example.com",
    ),
    "an IPv6 address in an FQDN slice": (
        slice_manifest(addressType="FQDN", endpoints=[{"addresses": ["::1"]}]),
        "endpoints[0].addresses[0]",
        "::1",
    ),
    "two families in one endpoint": (
        with_endpoint(addresses=["10.0.0.2", "::1"]),
        "endpoints[1].addresses",
        ("10.0.0.2", "::1"),
    ),
    "an IPv4 address with leading zeros": (
        with_endpoint(addresses=["10.0.0.02"]),
        "endpoints[1].addresses[0]",
        "10.0.0.02",
    ),
    "an IPv6 address in capitals": (
        slice_manifest(addressType="IPv6", endpoints=[{"addresses": ["FD00::1"]}]),
        "endpoints[0].addresses[0]",
        "FD00::1",
    ),
    "an IPv6 address written out": (
        slice_manifest(addressType="IPv6", endpoints=[{"addresses": ["::1", "fd00:0::1"]}]),
        "endpoints[0].addresses[1]",
        "fd00:0::1",
    ),
    "an IPv4-mapped IPv6 address": (
        slice_manifest(addressType="IPv6", endpoints=[{"addresses": ["::ffff:10.0.0.1"]}]),
        "endpoints[0].addresses[0]",
        "::ffff:10.0.0.1",
    ),
    "an IPv6 address with a zone": (
        slice_manifest(addressType="IPv6", endpoints=[{"addresses": ["fe80::1%eth0"]}]),
        "endpoints[0].addresses[0]",
        "fe80::1%eth0",
    ),
    "no address at all": (
        with_endpoint(addresses=["10.0.0.1", "not an address"]),
        "endpoints[1].addresses[1]",
        "not an address",
    ),
    "an empty address": (with_endpoint(addresses=[""]), "endpoints[1].addresses[0]", ""),
    "half of a surrogate pair as an address": (
        with_endpoint(addresses=["\ud800"]),
        "endpoints[1].addresses[0]",
        "\ud800",
    ),
    "NUL in an address": (
        with_endpoint(addresses=["10.0.0.2\0"]),
        "endpoints[1].addresses[0]",
        "10.0.0.2\0",
    ),
    "an address that is a number": (
        with_endpoint(addresses=[167772162]),
        "endpoints[1].addresses[0]",
        167772162,
    ),
    "an address that is null": (
        with_endpoint(addresses=["10.0.0.1", None]),
        "endpoints[1].addresses[1]",
        None,
    ),
    "one string for all addresses": (
        with_endpoint(addresses="10.0.0.2"),
        "endpoints[1].addresses",
        "10.0.0.2",
    ),
    "0 addresses": (with_endpoint(addresses=[]), "endpoints[1].addresses", 0),
    "addresses that are null": (with_endpoint(addresses=None), "endpoints[1].addresses", 0),
    "101 addresses": (with_endpoint(addresses=_MANY), "endpoints[1].addresses", 101),
    # endpoints
    "1,001 endpoints": (
        slice_manifest(endpoints=[{"addresses": ["10.0.0.1"]}] * 1001),
        "endpoints",
        1001,
    ),
    "endpoints that are a string": (slice_manifest(endpoints="many"), "endpoints", "many"),
    "endpoints that are an object": (slice_manifest(endpoints={}), "endpoints", {}),
    "an endpoint that is a string": (
        slice_manifest(endpoints=[{"addresses": ["10.0.0.1"]}, "10.0.0.2"]),
        "endpoints[1]",
        "10.0.0.2",
    ),
    "an endpoint that is null": (slice_manifest(endpoints=[None]), "endpoints[0]", None),
    "conditions that are a list": (
        with_endpoint(conditions=["ready"]),
        "endpoints[1].conditions",
        ["ready"],
    ),
    "a condition that is a string": (
        with_endpoint(conditions={"ready": "True"}),
        "endpoints[1].conditions.ready",
        "True",
    ),
    "a condition that is a number": (
        with_endpoint(conditions={"ready": True, "terminating": 1}),
        "endpoints[1].conditions.terminating",
        1,
    ),
    "hostname that is a number": (with_endpoint(hostname=7), "endpoints[1].hostname", 7),
    "nodeName that is a list": (with_endpoint(nodeName=["n"]), "endpoints[1].nodeName", ["n"]),
    "zone that is false": (with_endpoint(zone=False), "endpoints[1].zone", False),
    "NUL in a zone": (
        with_endpoint(zone="a\0b"),
        "endpoints[1].zone",
        "a\0b",
    ),
    "NUL in a nodeName": (with_endpoint(nodeName="\0"), "endpoints[1].nodeName", "\0"),
    "NUL in the field path of targetRef": (
        with_endpoint(zone="a", targetRef={"name": "web-0", "fieldPath": "a\0"}),
        "endpoints[1].targetRef.fieldPath",
        "a\0",
    ),
    "targetRef that is a string": (with_endpoint(targetRef="Pod"), "endpoints[1].targetRef", "Pod"),
    "name of targetRef that is a number": (
        with_endpoint(targetRef={"name": 1}),
        "endpoints[1].targetRef.name",
        1,
    ),
    "hints that are a list": (with_endpoint(hints=[]), "endpoints[1].hints", []),
    "forZones that is a string": (
        with_endpoint(hints={"forZones": "a"}),
        "endpoints[1].hints.forZones",
        "a",
    ),
    "a zone of hints that is a string": (
        with_endpoint(hints={"forZones": [{"name": "a"}, "b"]}),
        "endpoints[1].hints.forZones[1]",
        "b",
    ),
    "a zone of hints without a name": (
        with_endpoint(hints={"forZones": [{}]}),
        "endpoints[1].hints.forZones[0].name",
        None,
    ),
    "a node of hints that is a number": (
        with_endpoint(hints={"forNodes": [{"name": 1}]}),
        "endpoints[1].hints.forNodes[0].name",
        1,
    ),
    "control characters in a zone of hints": (
        with_endpoint(hints={"forZones": [{"name": "a\1b"}]}),
        "endpoints[1].hints.forZones[0].name",
        "a\1b",
    ),
    "deprecatedTopology that is a string": (
        with_endpoint(deprecatedTopology="x"),
        "endpoints[1].deprecatedTopology",
        "x",
    ),
    "deprecatedTopology that holds a number": (
        with_endpoint(deprecatedTopology={"rack": 1}),
        "endpoints[1].deprecatedTopology[rack]",
        1,
    ),
    # ports
    "ports that are a string": (slice_manifest(ports="http"), "ports", "http"),
    "a port that is a number": (slice_manifest(ports=[80]), "ports[0]", 80),
    "port 0": (with_port(port=0), "ports[1].port", 0),
    "port -1": (with_port(port=-1), "ports[1].port", -1),
    "port 65536": (with_port(port=65536), "ports[1].port", 65536),
    "a port that is a string": (with_port(port="80"), "ports[1].port", "80"),
    "a port that is true": (with_port(port=True), "ports[1].port", True),
    "a port with a fraction": (with_port(port=80.0), "ports[1].port", 80.0),
    "an unknown protocol": (with_port(protocol="HTTP"), "ports[1].protocol", "HTTP"),
    "a protocol in small letters": (with_port(protocol="tcp"), "ports[1].protocol", "tcp"),
    "a port name that is a number": (with_port(name=1), "ports[1].name", 1),
    "appProtocol that is a list": (with_port(appProtocol=[]), "ports[1].appProtocol", []),
    # metadata
    "metadata that is a list": (slice_manifest(metadata=[]), "metadata", []),
    "a name that is a number": (with_metadata(name=7), "metadata.name", 7),
    "labels that are a list": (with_metadata(labels=["a"]), "metadata.labels", ["a"]),
    "a label that is a number": (with_metadata(labels={"a": 1}), "metadata.labels[a]", 1),
    "an annotation that is null": (
        with_metadata(annotations={"a": None}),
        "metadata.annotations[a]",
        None,
    ),
    "a negative generation": (with_metadata(generation=-1), "metadata.generation", -1),
    "a generation that is a string": (with_metadata(generation="1"), "metadata.generation", "1"),
    "creationTimestamp yesterday": (
        with_metadata(creationTimestamp="yesterday"),
        "metadata.creationTimestamp",
        "yesterday",
    ),
    "deletionTimestamp that is a number": (
        with_metadata(deletionTimestamp=1),
        "metadata.deletionTimestamp",
        1,
    ),
    "finalizers that hold a number": (
        with_metadata(finalizers=[1]),
        "metadata.finalizers[0]",
        1,
    ),
    "finalizers that are a string": (with_metadata(finalizers="x"), "metadata.finalizers", "x"),
    "managedFields that are a string": (
        with_metadata(managedFields="x"),
        "metadata.managedFields",
        "x",
    ),
    "managedFields that hold a string": (
        with_metadata(managedFields=["x"]),
        "metadata.managedFields[0]",
        "x",
    ),
    "a manager that is a number": (
        with_metadata(managedFields=[{}, {"manager": 1}]),
        "metadata.managedFields[1].manager",
        1,
    ),
    "a time of managedFields that is none": (
        with_metadata(managedFields=[{"time": "noon"}]),
        "metadata.managedFields[0].time",
        "noon",
    ),
    "fieldsV1 that are a string": (
        with_metadata(managedFields=[{"fieldsV1": "f:a"}]),
        "metadata.managedFields[0].fieldsV1",
        "f:a",
    ),
    "selfLink that is a number": (with_metadata(selfLink=1), "metadata.selfLink", 1),
    "a grace period with a fraction": (
        with_metadata(deletionGracePeriodSeconds=1.5),
        "metadata.deletionGracePeriodSeconds",
        1.5,
    ),
    "ownerReferences that are an object": (
        with_metadata(ownerReferences={}),
        "metadata.ownerReferences",
        {},
    ),
    "an owner whose uid is a number": (
        with_metadata(ownerReferences=[{"uid": 1}]),
        "metadata.ownerReferences[0].uid",
        1,
    ),
    "an owner whose controller is a string": (
        with_metadata(ownerReferences=[{"controller": "yes"}]),
        "metadata.ownerReferences[0].controller",
        "yes",
    ),
    # nesting
    "unknown fields 950 deep": (slice_manifest(future=nested(950)), "future", None),
    "unknown fields of metadata 950 deep": (
        with_metadata(future=nested(950)),
        "metadata.future",
        None,
    ),
    "managedFields 950 deep": (
        with_metadata(managedFields=[{"fieldsV1": nested(950)}]),
        "metadata.managedFields",
        None,
    ),
    "unknown fields of an owner 950 deep": (
        with_metadata(ownerReferences=[{"future": nested(950)}]),
        "metadata.ownerReferences[0].future",
        None,
    ),
    "unknown fields of a port 950 deep": (with_port(future=nested(950)), "ports[1].future", None),
    "unknown fields of an endpoint 950 deep": (
        with_endpoint(future=nested(950)),
        "endpoints[1].future",
        None,
    ),
    "unknown conditions 950 deep": (
        with_endpoint(conditions={"future": nested(950)}),
        "endpoints[1].conditions.future",
        None,
    ),
    "unknown hints 950 deep": (
        with_endpoint(hints={"future": nested(950)}),
        "endpoints[1].hints.future",
        None,
    ),
    "unknown fields of targetRef 950 deep": (
        with_endpoint(targetRef={"future": nested(950)}),
        "endpoints[1].targetRef.future",
        None,
    ),
    "addresses 5,000 deep": (
        with_endpoint(addresses=nested(5001)),
        "endpoints[1].addresses",
        nested(5001),
    ),
    # what is no JSON
    "an unknown field that is a set": (slice_manifest(future={1}), "future", {1}),
    "an unknown field that holds bytes": (
        with_metadata(future=[{"a": b"x"}]),
        "metadata.future",
        b"x",
    ),
    "an unknown field whose name is a number": ({"addressType": "IPv4", 2: 1}, "", 2),
    "an unknown field that holds a name that is a number": (
        slice_manifest(future={"a": {1: 2}}),
        "future",
        1,
    ),
    "a label whose name is a number": (with_metadata(labels={1: "a"}), "metadata.labels", 1),
}

BAD_SERVICES: Final[dict[str, tuple[object, str, object]]] = {
    "wrong kind": ({**service_manifest(), "kind": "Node"}, "kind", "Node"),
    "unknown apiVersion": (
        {**service_manifest(), "apiVersion": "serving.knative.dev/v1"},
        "apiVersion",
        "serving.knative.dev/v1",
    ),
    "no name": ({**service_manifest(), "metadata": {}}, "metadata.name", None),
    "no metadata": ({**service_manifest(), "metadata": None}, "metadata.name", None),
    "no spec": ({**service_manifest(), "spec": None}, "spec", None),
    "a spec that is a string": ({**service_manifest(), "spec": "x"}, "spec", "x"),
    "ports that are a string": (service_manifest(ports="80"), "spec.ports", "80"),
    "a port without a number": (
        service_manifest(ports=[{"port": 80}, {"name": "x"}]),
        "spec.ports[1].port",
        None,
    ),
    "port 0": (service_manifest(ports=[{"port": 0}]), "spec.ports[0].port", 0),
    "port 70000": (service_manifest(ports=[{"port": 70000}]), "spec.ports[0].port", 70000),
    "targetPort 70000": (
        service_manifest(ports=[{"port": 80, "targetPort": 70000}]),
        "spec.ports[0].targetPort",
        70000,
    ),
    "targetPort -1": (
        service_manifest(ports=[{"port": 80, "targetPort": -1}]),
        "spec.ports[0].targetPort",
        -1,
    ),
    "targetPort true": (
        service_manifest(ports=[{"port": 80, "targetPort": True}]),
        "spec.ports[0].targetPort",
        True,
    ),
    "targetPort that is a list": (
        service_manifest(ports=[{"port": 80, "targetPort": [80]}]),
        "spec.ports[0].targetPort",
        [80],
    ),
    "protocol HTTP": (
        service_manifest(ports=[{"port": 80, "protocol": "HTTP"}]),
        "spec.ports[0].protocol",
        "HTTP",
    ),
    "a selector that is a string": (service_manifest(selector="app"), "spec.selector", "app"),
    "a selector that holds a number": (
        service_manifest(selector={"app": 1}),
        "spec.selector[app]",
        1,
    ),
    "ipFamilies that is a string": (
        service_manifest(ipFamilies="IPv4"),
        "spec.ipFamilies",
        "IPv4",
    ),
    "ipFamilies that holds a number": (
        service_manifest(ipFamilies=["IPv6", 4]),
        "spec.ipFamilies[1]",
        4,
    ),
    "publishNotReadyAddresses that is a string": (
        service_manifest(publishNotReadyAddresses="true"),
        "spec.publishNotReadyAddresses",
        "true",
    ),
    "trafficDistribution that is a list": (
        service_manifest(trafficDistribution=[]),
        "spec.trafficDistribution",
        [],
    ),
    "clusterIP that is a list": (service_manifest(clusterIP=["None"]), "spec.clusterIP", ["None"]),
}

BAD_PODS: Final[dict[str, tuple[object, str, object]]] = {
    "wrong kind": (pod_manifest(kind="Service"), "kind", "Service"),
    "unknown apiVersion": (pod_manifest(apiVersion="v2"), "apiVersion", "v2"),
    "no name": (pod_manifest(metadata={"namespace": "shop"}), "metadata.name", None),
    "no spec": (pod_manifest(spec=None), "spec", None),
    "no status": (pod_manifest(status=None), "status", None),
    "a status that is a string": (pod_manifest(status="Running"), "status", "Running"),
    "a phase that is a number": (pod_manifest(status={"phase": 1}), "status.phase", 1),
    "podIPs that are a string": (
        pod_manifest(status={"podIPs": "10.0.0.1"}),
        "status.podIPs",
        "10.0.0.1",
    ),
    "podIPs that hold strings": (
        pod_manifest(status={"podIPs": [{"ip": "10.0.0.1"}, "10.0.0.2"]}),
        "status.podIPs[1]",
        "10.0.0.2",
    ),
    "a podIP that is a number": (
        pod_manifest(status={"podIPs": [{"ip": 1}]}),
        "status.podIPs[0].ip",
        1,
    ),
    "conditions that are an object": (
        pod_manifest(status={"conditions": {"Ready": True}}),
        "status.conditions",
        {"Ready": True},
    ),
    "containers that are a string": (
        pod_manifest(spec={"containers": "web"}),
        "spec.containers",
        "web",
    ),
    "a containerPort out of range": (
        pod_manifest(spec={"containers": [{}, {"ports": [{"containerPort": 65536}]}]}),
        "spec.containers[1].ports[0].containerPort",
        65536,
    ),
    "a container's port without a number": (
        pod_manifest(spec={"containers": [{"ports": [{"name": "http"}]}]}),
        "spec.containers[0].ports[0].containerPort",
        None,
    ),
    "a sidecar's port that is a string": (
        pod_manifest(
            spec={"initContainers": [{"restartPolicy": "Always", "ports": ["http"]}]},
        ),
        "spec.initContainers[0].ports[0]",
        "http",
    ),
    "nodeName that is a list": (pod_manifest(spec={"nodeName": []}), "spec.nodeName", []),
}

BAD_NODES: Final[dict[str, tuple[object, str, object]]] = {
    "wrong kind": (node_manifest(kind="Pod"), "kind", "Pod"),
    "unknown apiVersion": (
        node_manifest(apiVersion="longhorn.io/v1beta2"),
        "apiVersion",
        "longhorn.io/v1beta2",
    ),
    "no name": (node_manifest(name=""), "metadata.name", None),
    "labels that are a string": (
        node_manifest(metadata={"name": "n", "labels": "x"}),
        "metadata.labels",
        "x",
    ),
}


def shape(value: object) -> list[object]:
    """All of a value in one flat list, however deep it is."""
    waiting = [value]
    found: list[object] = []
    while waiting:
        one = waiting.pop()
        found.append(type(one))
        if isinstance(one, dict):
            found += one
            waiting += one.values()
        elif isinstance(one, list):
            found.append(len(one))
            waiting += one
        else:
            found.append(one)
    return found


def _refuses(decode: Decoder, manifest: Any, path: str, value: object) -> ManifestError:
    before = shape(manifest)
    with pytest.raises(ManifestError) as caught:
        decode(manifest)
    error = caught.value
    assert error.path == path
    assert shape(error.value) == shape(value)
    assert error.message
    assert path in str(error)
    assert shape(manifest) == before
    return error


@pytest.mark.parametrize(("manifest", "path", "value"), BAD_SLICES.values(), ids=BAD_SLICES)
def test_a_bad_slice_is_refused_by_path_and_value(
    manifest: object, path: str, value: object
) -> None:
    _refuses(decode_slice, manifest, path, value)


@pytest.mark.parametrize(("manifest", "path", "value"), BAD_SERVICES.values(), ids=BAD_SERVICES)
def test_a_bad_service_is_refused_by_path_and_value(
    manifest: object, path: str, value: object
) -> None:
    _refuses(decode_service, manifest, path, value)


@pytest.mark.parametrize(("manifest", "path", "value"), BAD_PODS.values(), ids=BAD_PODS)
def test_a_bad_pod_is_refused_by_path_and_value(manifest: object, path: str, value: object) -> None:
    _refuses(decode_pod, manifest, path, value)


@pytest.mark.parametrize(("manifest", "path", "value"), BAD_NODES.values(), ids=BAD_NODES)
def test_a_bad_node_is_refused_by_path_and_value(
    manifest: object, path: str, value: object
) -> None:
    _refuses(decode_node, manifest, path, value)


@pytest.mark.parametrize(
    ("address_type", "address", "advice"),
    [
        ("IPv6", "FD00::1", "fd00::1"),
        ("IPv6", "0:0:0:0:0:0:0:1", "::1"),
        ("IPv6", "::10.0.0.1", "::a00:1"),
        ("IPv6", "::ffff:10.0.0.1", "10.0.0.1"),
        ("IPv6", "::ffff:a00:1", "10.0.0.1"),
    ],
)
def test_an_address_spelled_otherwise_is_told_how_to_spell_it(
    address_type: str, address: str, advice: str
) -> None:
    manifest = slice_manifest(addressType=address_type, endpoints=[{"addresses": [address]}])
    error = _refuses(decode_slice, manifest, "endpoints[0].addresses[0]", address)
    assert f"{advice})" in error.message


def test_limits_are_allowed() -> None:
    most = slice_manifest(
        endpoints=[{"addresses": [f"10.0.{i // 256}.{i % 256}"]} for i in range(1000)]
    )
    assert len(decode_slice(most).endpoints) == 1000
    assert len(decode_slice(with_endpoint(addresses=_MANY[:100])).endpoints[1].addresses) == 100
    assert [port.port for port in decode_slice(with_port(port=65535)).ports] == [80, 65535]
    assert decode_slice(with_port(port=1)).ports[1].port == 1
    assert decode_slice(with_port()).ports[1].port is None


def test_nesting_that_people_write_is_kept() -> None:
    manifest = slice_manifest(future=nested(90))
    assert encode_slice(decode_slice(manifest))["future"] == nested(90)
    assert json_size(decode_slice(manifest)) > 90


def test_half_of_a_surrogate_pair_comes_back() -> None:
    manifest = json.loads(json.dumps(with_endpoint(zone="\ud800", hostname="\udfff")))
    manifest["metadata"]["labels"] = {"\ud800": "\ud800"}
    model = decode_slice(manifest)
    assert model.endpoints[1].zone == "\ud800"
    encoded = encode_slice(model)
    assert encoded["endpoints"][1]["hostname"] == "\udfff"
    assert encoded["metadata"]["labels"] == {"\ud800": "\ud800"}
    assert protobuf_size(model) > 0
    assert json_size(model) > 0


# --- slices -----------------------------------------------------------------------------------


def test_a_slice_is_read_field_by_field() -> None:
    model = decode_slice(
        slice_manifest(
            ports=[{"name": "http", "port": 80, "protocol": "UDP", "appProtocol": "h2c"}],
            endpoints=[
                {
                    "addresses": ["10.0.0.1"],
                    "conditions": {"ready": False, "serving": True, "terminating": True},
                    "hostname": "web-0",
                    "nodeName": "node-1",
                    "zone": "a",
                    "targetRef": {
                        "kind": "Pod",
                        "namespace": "shop",
                        "name": "web-0",
                        "uid": "u",
                        "apiVersion": "v1",
                        "fieldPath": "spec",
                        "resourceVersion": "7",
                    },
                    "hints": {"forZones": [{"name": "a"}], "forNodes": [{"name": "node-1"}]},
                }
            ],
        )
    )
    assert (model.name, model.metadata.namespace) == ("web-1", "shop")
    assert model.address_type is AddressType.IPV4
    assert model.ports == (
        EndpointPort(port=80, name="http", protocol=Protocol.UDP, app_protocol="h2c"),
    )
    (member,) = model.endpoints
    assert member.addresses == ("10.0.0.1",)
    assert member.conditions == EndpointConditions(ready=False, serving=True, terminating=True)
    assert (member.hostname, member.node_name, member.zone) == ("web-0", "node-1", "a")
    assert member.hints == EndpointHints(for_zones=("a",), for_nodes=("node-1",))
    reference = member.target_ref
    assert reference is not None
    assert (reference.kind, reference.namespace, reference.name) == ("Pod", "shop", "web-0")
    assert (reference.uid, reference.api_version) == ("u", "v1")
    assert (reference.field_path, reference.resource_version) == ("spec", "7")


def test_kind_and_version_may_be_absent_as_in_lists() -> None:
    manifest = slice_manifest()
    del manifest["kind"], manifest["apiVersion"]
    assert decode_slice(manifest) == decode_slice(slice_manifest())


@pytest.mark.parametrize("absent", [{}, None])
def test_conditions_that_are_absent_mean_ready(absent: object) -> None:
    model = decode_slice(with_endpoint(conditions=absent))
    assert model.endpoints[1].conditions == EndpointConditions()
    assert encode_slice(model)["endpoints"][1]["conditions"] == {}


@pytest.mark.parametrize(
    ("stated", "ready", "serving", "terminating"),
    [
        ({}, True, True, False),
        ({"ready": True}, True, True, False),
        ({"ready": False}, False, False, False),
        ({"ready": None, "serving": False}, True, False, False),
        ({"ready": False, "serving": True}, False, True, False),
        ({"terminating": True}, True, True, True),
        ({"ready": False, "terminating": True}, False, False, True),
    ],
)
def test_a_condition_that_is_not_stated_means_what_the_api_says(
    stated: dict[str, bool | None], ready: bool, serving: bool, terminating: bool
) -> None:
    model = decode_slice(with_endpoint(conditions=stated))
    expected = EndpointConditions(ready=ready, serving=serving, terminating=terminating)
    assert model.endpoints[1].conditions == expected
    written = {name: value for name, value in stated.items() if value is not None}
    assert encode_slice(model)["endpoints"][1]["conditions"] == written


def test_lists_that_are_null_stay_null_and_lists_that_are_empty_stay_empty() -> None:
    spellings: tuple[list[object] | None, ...] = (None, [])
    for value in spellings:
        model = decode_slice(slice_manifest(ports=value, endpoints=value))
        encoded = encode_slice(model)
        assert encoded["ports"] == value
        assert encoded["endpoints"] == value


def test_endpoints_share_what_is_the_same() -> None:
    member = {
        "addresses": ["10.0.0.1"],
        "conditions": {"ready": True},
        "hints": {"forZones": [{"name": "a"}]},
    }
    first, second = decode_slice(
        slice_manifest(endpoints=[copy.deepcopy(member), copy.deepcopy(member)])
    ).endpoints
    assert first.conditions is second.conditions
    assert first.hints is second.hints


def test_tuples_are_lists() -> None:
    manifest = slice_manifest(endpoints=({"addresses": ("10.0.0.1",)},), ports=(), future=(1, ()))
    encoded = encode_slice(decode_slice(manifest))
    assert encoded["endpoints"] == [{"addresses": ["10.0.0.1"], "conditions": {}}]
    assert encoded["future"] == [1, []]


def test_what_was_encoded_is_plain_json() -> None:
    model = decode_slice(slice_manifest(future={"a": [1, {"b": None}]}))
    encoded = encode_slice(model)
    assert json.loads(json.dumps(encoded)) == encoded

    def plain(value: object) -> bool:
        if type(value) is dict:
            return all(type(name) is str and plain(item) for name, item in value.items())
        if type(value) is list:
            return all(map(plain, value))
        return value is None or type(value) in (str, int, bool, float)

    assert plain(encoded)


# --- many at once ---------------------------------------------------------------------------


def _pods_manifest() -> Manifest:
    return {
        "metadata": {"name": "web-0", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"nodeName": "node-1"},
        "status": {"podIPs": [{"ip": "10.0.0.1"}]},
    }


def test_many_are_read_and_written_as_each_is() -> None:
    manifests = [slice_manifest(), slice_manifest(endpoints=[]), slice_manifest(ports=None)]
    slices = decode_slices(iter(manifests))
    assert slices == tuple(map(decode_slice, manifests))
    assert encode_slices(iter(slices)) == list(map(encode_slice, slices))
    assert decode_pods([_pods_manifest()] * 2) == (decode_pod(_pods_manifest()),) * 2
    assert (decode_slices([]), decode_pods([]), encode_slices([])) == ((), (), [])


def test_what_is_written_of_many_shares_nothing() -> None:
    first, second = encode_slices([decode_slice(slice_manifest())] * 2)
    first["metadata"]["name"] = first["ports"][0]["name"] = "other"
    first["endpoints"][0]["addresses"].append("10.0.0.9")
    assert second == encode_slice(decode_slice(slice_manifest()))


def test_a_bad_one_of_many_is_told_by_its_position() -> None:
    bad = slice_manifest(endpoints=[{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.01"]}])
    with pytest.raises(ManifestError) as caught:
        decode_slices([slice_manifest(), slice_manifest(), bad])
    assert caught.value.path == "[2].endpoints[1].addresses[0]"
    assert caught.value.value == "10.0.0.01"
    nothing: Any = None
    with pytest.raises(ManifestError) as caught:
        decode_slices([slice_manifest(), nothing])
    assert (caught.value.path, caught.value.message) == ("[1]", "must be an object")
    unnamed = _pods_manifest()
    unnamed["spec"]["nodeName"] = 7
    with pytest.raises(ManifestError) as caught:
        decode_pods([unnamed])
    assert (caught.value.path, caught.value.value) == ("[0].spec.nodeName", 7)


def _again(value: Any) -> Any:
    """The same, of other objects."""
    return json.loads(json.dumps(value))


def test_what_many_have_in_common_is_there_once() -> None:
    owner = {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": "u", "controller": True}
    meta = {"name": "web-1", "namespace": "shop", "labels": {"a": "b"}, "ownerReferences": [owner]}
    member = {
        "addresses": ["10.0.0.1"],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": "node-1",
        "zone": "zone-a",
        "hints": {"forZones": [{"name": "zone-a"}]},
        "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web-1", "uid": "u"},
    }
    other = {**member, "addresses": ["10.0.0.2"]}
    manifest = slice_manifest(metadata=meta, endpoints=[member, other])
    first, second = decode_slices([_again(manifest), _again(manifest)])
    assert first.metadata.namespace is second.metadata.namespace
    assert first.metadata.labels is second.metadata.labels
    assert first.metadata.owner_references[0] is second.metadata.owner_references[0]
    assert first.ports[0] is second.ports[0]
    one, two = first.endpoints[0], second.endpoints[1]
    assert one.target_ref is not None
    assert two.target_ref is not None
    for name in ("conditions", "node_name", "zone", "hints", "_state"):
        assert getattr(one, name) is getattr(two, name), name
    assert one.target_ref.kind is two.target_ref.kind
    assert one.target_ref.namespace is two.target_ref.namespace


def test_what_is_shared_is_not_what_only_some_have() -> None:
    owner = {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": "u"}
    port = {"name": "http", "port": 80, "protocol": "TCP"}
    manifests = [
        slice_manifest(
            metadata={"name": "web-1", "ownerReferences": [{**owner, **extra}]},
            ports=[{**port, **extra}],
        )
        for extra in ({}, {"later": 1}, {"later": 2}, {})
    ]
    slices = decode_slices(manifests)
    assert [item.ports[0].extra.get("later") for item in slices] == [None, 1, 2, None]
    owners = [item.metadata.owner_references[0].extra.get("later") for item in slices]
    assert owners == [None, 1, 2, None]


# --- v1beta1 ----------------------------------------------------------------------------------


def _beta(**member: Any) -> EndpointSlice:
    manifest = slice_manifest(
        apiVersion="discovery.k8s.io/v1beta1", endpoints=[{"addresses": ["10.0.0.1"], **member}]
    )
    before = copy.deepcopy(manifest)
    result = decode_slice(manifest)
    assert manifest == before
    return result


def test_v1beta1_is_read_and_written_as_v1() -> None:
    model = _beta()
    assert model == decode_slice(slice_manifest(endpoints=[{"addresses": ["10.0.0.1"]}]))
    assert encode_slice(model)["apiVersion"] == "discovery.k8s.io/v1"


def test_v1beta1_has_zone_and_node_in_its_topology() -> None:
    topology = {
        "topology.kubernetes.io/zone": "a",
        "topology.kubernetes.io/region": "r",
        "kubernetes.io/hostname": "node-1",
    }
    (member,) = _beta(topology=topology).endpoints
    assert (member.zone, member.node_name) == ("a", "node-1")
    assert member.extra == {"deprecatedTopology": {"topology.kubernetes.io/region": "r"}}


def test_v1beta1_hostname_that_is_not_the_node_stays_in_the_topology() -> None:
    (member,) = _beta(nodeName="node-1", topology={"kubernetes.io/hostname": "x"}).endpoints
    assert member.node_name == "node-1"
    assert member.extra == {"deprecatedTopology": {"kubernetes.io/hostname": "x"}}


def test_v1beta1_hostname_that_is_the_node_is_not_said_twice() -> None:
    (member,) = _beta(nodeName="n", topology={"kubernetes.io/hostname": "n"}).endpoints
    assert member.node_name == "n"
    assert member.extra == {}


@pytest.mark.parametrize(
    ("topology", "where", "value"), [("x", "", "x"), ({"rack": 1}, "[rack]", 1)]
)
def test_v1beta1_with_a_bad_topology_is_refused(
    topology: object, where: str, value: object
) -> None:
    manifest = slice_manifest(
        apiVersion="discovery.k8s.io/v1beta1",
        endpoints=[{"addresses": ["10.0.0.1"], "topology": topology}],
    )
    _refuses(decode_slice, manifest, f"endpoints[0].topology{where}", value)


def test_v1_has_no_topology() -> None:
    model = decode_slice(with_endpoint(topology={"topology.kubernetes.io/zone": "a"}))
    assert model.endpoints[1].zone is None
    assert model.endpoints[1].extra == {"topology": {"topology.kubernetes.io/zone": "a"}}


# --- core/v1 ----------------------------------------------------------------------------------


def test_a_service_is_read_field_by_field() -> None:
    model = decode_service(
        service_manifest(
            ports=[
                {
                    "port": 80,
                    "name": "http",
                    "targetPort": "web",
                    "protocol": "UDP",
                    "appProtocol": "h2c",
                    "nodePort": 30080,
                },
                {"port": 81, "targetPort": 8081},
                {"port": 82, "targetPort": 0},
                {"port": 83, "targetPort": ""},
                {"port": 84},
            ],
            type="LoadBalancer",
            clusterIP="10.96.0.1",
            ipFamilies=["IPv6", "IPv4"],
            publishNotReadyAddresses=True,
            trafficDistribution="PreferClose",
        )
    )
    assert isinstance(model, Service)
    assert (model.metadata.namespace, model.metadata.name) == ("shop", "web")
    assert model.selector == {"app": "web"}
    assert model.ports == (
        ServicePort(
            port=80,
            name="http",
            protocol=Protocol.UDP,
            target_port="web",
            app_protocol="h2c",
            node_port=30080,
        ),
        ServicePort(port=81, target_port=8081),
        ServicePort(port=82),
        ServicePort(port=83),
        ServicePort(port=84),
    )
    assert (model.type, model.cluster_ip) == ("LoadBalancer", "10.96.0.1")
    assert model.ip_families == ("IPv6", "IPv4")
    assert model.publish_not_ready_addresses is True
    assert model.traffic_distribution == "PreferClose"


def test_who_may_use_a_service_is_read_field_by_field() -> None:
    manifest = {
        "metadata": {"name": "web"},
        "spec": {
            "internalTrafficPolicy": "Local",
            "externalTrafficPolicy": "Cluster",
            "externalIPs": ["203.0.113.1"],
            "ports": [{"port": 80, "nodePort": 30080}, {"port": 81, "nodePort": 0}],
        },
        "status": {
            "loadBalancer": {
                "ingress": [
                    {"ip": "203.0.113.2"},
                    {"ip": "203.0.113.3", "ipMode": "VIP"},
                    {"ip": "203.0.113.4", "ipMode": "Proxy"},
                    {"hostname": "lb.example.com"},
                ]
            }
        },
    }
    model = decode_service(manifest)
    assert (model.internal_traffic_policy, model.external_traffic_policy) == ("Local", "Cluster")
    assert model.external_ips == ("203.0.113.1",)
    # The Nodes see nothing of what a load balancer of mode Proxy takes.
    assert model.load_balancer_ips == ("203.0.113.2", "203.0.113.3")
    assert [port.node_port for port in model.ports] == [30080, None]


@pytest.mark.parametrize(
    ("part", "value", "path"),
    [
        ("spec", {"internalTrafficPolicy": 1}, "spec.internalTrafficPolicy"),
        ("spec", {"externalTrafficPolicy": []}, "spec.externalTrafficPolicy"),
        ("spec", {"externalIPs": [1]}, "spec.externalIPs[0]"),
        ("spec", {"ports": [{"port": 1, "nodePort": 65536}]}, "spec.ports[0].nodePort"),
        ("status", 1, "status"),
        ("status", {"loadBalancer": 1}, "status.loadBalancer"),
        ("status", {"loadBalancer": {"ingress": 1}}, "status.loadBalancer.ingress"),
        (
            "status",
            {"loadBalancer": {"ingress": [{"ip": 1}]}},
            "status.loadBalancer.ingress[0].ip",
        ),
    ],
)
def test_a_service_that_nobody_could_use_is_refused(part: str, value: object, path: str) -> None:
    with pytest.raises(ManifestError) as caught:
        decode_service({"metadata": {"name": "web"}, "spec": {}, part: value})
    assert caught.value.path == path


def test_a_service_with_an_empty_spec_has_the_defaults() -> None:
    model = decode_service({"metadata": {"name": "web"}, "spec": {}})
    assert model == Service(metadata=model.metadata)
    assert model.type == "ClusterIP"
    assert model.publish_not_ready_addresses is False


def test_a_pod_is_read_field_by_field() -> None:
    model = decode_pod(
        pod_manifest(
            metadata={
                "name": "web-0",
                "namespace": "shop",
                "uid": "u",
                "labels": {"app": "web"},
                "deletionTimestamp": "2026-06-01T00:00:00Z",
            },
            spec={
                "nodeName": "node-1",
                "hostname": "web-0",
                "subdomain": "web",
                "containers": [
                    {"ports": [{"containerPort": 80, "name": "http", "protocol": "UDP"}]},
                    {"name": "no-ports"},
                    {"ports": [{"containerPort": 90}]},
                ],
                "initContainers": [
                    {"ports": [{"containerPort": 1}]},
                    {"restartPolicy": "Never", "ports": [{"containerPort": 2}]},
                    {"restartPolicy": "Always", "ports": [{"containerPort": 3}]},
                ],
            },
            status={
                "phase": "Running",
                "podIP": "10.0.0.1",
                "podIPs": [{"ip": "10.0.0.1"}, {"ip": ""}, {"ip": "fd00::1"}],
                "conditions": [
                    {"type": "Initialized", "status": "True"},
                    {"type": "Ready", "status": "True"},
                ],
            },
        )
    )
    assert isinstance(model, Pod)
    assert (model.metadata.uid, model.metadata.labels) == ("u", {"app": "web"})
    assert model.metadata.deletion_timestamp == "2026-06-01T00:00:00Z"
    assert (model.phase, model.ready, model.pod_ip) == ("Running", True, "10.0.0.1")
    assert model.pod_ips == ("10.0.0.1", "fd00::1")
    assert (model.node_name, model.hostname, model.subdomain) == ("node-1", "web-0", "web")
    assert model.container_ports == (
        ContainerPort(container_port=80, name="http", protocol="UDP"),
        ContainerPort(container_port=90),
        ContainerPort(container_port=3),
    )


@pytest.mark.parametrize(
    "conditions",
    [
        None,
        [],
        [{"type": "Ready", "status": "False"}],
        [{"type": "Ready", "status": "Unknown"}],
        [{"type": "ContainersReady", "status": "True"}],
        [{}],
    ],
)
def test_a_pod_is_ready_only_if_it_says_so(conditions: object) -> None:
    assert decode_pod(pod_manifest(status={"conditions": conditions})).ready is False


@pytest.mark.parametrize(
    ("conditions", "time"),
    [
        ([], None),
        ([{"type": "Ready", "status": "True"}], None),
        ([{"type": "Ready", "lastTransitionTime": None}], None),
        ([{"type": "Initialized", "lastTransitionTime": "2026-06-01T00:00:01Z"}], None),
        (
            [
                {"type": "Initialized", "lastTransitionTime": "2026-06-01T00:00:01Z"},
                {"type": "Ready", "lastTransitionTime": "2026-06-01T00:00:02Z"},
                {"type": "Ready", "lastTransitionTime": "2026-06-01T00:00:03Z"},
            ],
            "2026-06-01T00:00:02Z",
        ),
    ],
)
def test_a_pod_says_when_its_ready_condition_changed_last(
    conditions: object, time: str | None
) -> None:
    pod = decode_pod(pod_manifest(status={"conditions": conditions}))
    assert pod.ready_transition_time == time


@pytest.mark.parametrize("time", ["yesterday", 5])
def test_a_time_of_a_ready_condition_that_is_none_is_refused(time: object) -> None:
    conditions = [{"type": "Initialized"}, {"type": "Ready", "lastTransitionTime": time}]
    manifest = pod_manifest(status={"conditions": conditions})
    _refuses(decode_pod, manifest, "status.conditions[1].lastTransitionTime", time)


def test_a_node_is_where_its_label_says() -> None:
    labels = {"topology.kubernetes.io/zone": "a", "other": "b"}
    model = decode_node(node_manifest(metadata={"name": "n", "labels": labels}))
    assert isinstance(model, Node)
    assert (model.metadata.name, model.zone) == ("n", "a")
    assert decode_node(node_manifest()).zone is None


def _node_status(**status: Any) -> Node:
    model = decode_node({**node_manifest(), "status": status})
    assert isinstance(model, Node)
    return model


@pytest.mark.parametrize(
    ("cpu", "milli"),
    [
        ("1500m", 1500),
        ("2", 2000),
        ("0.5", 500),
        (".5", 500),
        ("2.", 2000),
        ("+3", 3000),
        ("1e3", 1_000_000),
        ("1E3", 1_000_000),
        ("1e-3", 1),
        ("2k", 2_000_000),
        ("1Ki", 1_024_000),
        ("1E", 10**21),
        ("100u", 1),
        ("1n", 1),
        ("1000000n", 1),
        ("3.9201", 3921),
        ("-0", 0),
        (4, 4000),
        (0.25, 250),
        (None, 0),
    ],
)
def test_a_node_has_so_many_thousandths_of_a_cpu(cpu: object, milli: int) -> None:
    assert _node_status(allocatable={"cpu": cpu, "memory": "x"}).allocatable_cpu == milli


@pytest.mark.parametrize(
    "cpu",
    [
        "",
        "-1",
        "-1m",
        "m",
        "1 ",
        "1,5",
        "1mi",
        "1e",
        "1e1.5",
        "1e1000",
        "0x10",
        "\u0661",
        "1" * 65,
        True,
        -1,
        float("nan"),
        [],
    ],
)
def test_cpus_that_are_no_quantity_or_less_than_nothing_are_refused(cpu: object) -> None:
    manifest = {**node_manifest(), "status": {"allocatable": {"cpu": cpu}}}
    with pytest.raises(ManifestError) as caught:
        decode_node(manifest)
    assert caught.value.path == "status.allocatable.cpu"
    assert caught.value.value is cpu


@pytest.mark.parametrize(
    ("status", "ready"), [("True", True), ("False", False), ("Unknown", False)]
)
def test_a_node_is_ready_only_if_it_says_so(status: str, ready: bool) -> None:
    pressure = {"type": "MemoryPressure", "status": "True"}
    model = _node_status(conditions=[pressure, {"type": "Ready", "status": status}])
    assert model.ready is ready
    assert _node_status().ready is False
    assert _node_status().allocatable_cpu == 0
    assert decode_node(node_manifest()) == _node_status()


def test_what_we_do_not_read_of_pods_may_be_any_nonsense() -> None:
    odd = pod_manifest(
        spec={"containers": [{"env": "x"}], "volumes": nested(950), "tolerations": 7},
        status={"message": 3, "podIPs": []},
    )
    assert decode_pod(odd) == decode_pod(pod_manifest())


# --- lists ------------------------------------------------------------------------------------


def paths(document: object) -> list[str]:
    return [path for path, _ in iter_objects(document)]


def objects(document: object) -> list[object]:
    return [manifest for _, manifest in iter_objects(document)]


def test_an_object_is_its_own_only_item() -> None:
    assert list(iter_objects(node_manifest())) == [("", node_manifest())]


@pytest.mark.parametrize("kind", ["List", None])
def test_a_list_is_its_items_in_order(kind: str | None) -> None:
    items = [node_manifest("a"), pod_manifest(), node_manifest("b")]
    document = {"apiVersion": "v1", "kind": kind, "items": items}
    assert list(iter_objects(document)) == [
        ("items[0]", items[0]),
        ("items[1]", items[1]),
        ("items[2]", items[2]),
    ]


def test_a_bare_array_is_its_items_in_order() -> None:
    items = [node_manifest("a"), node_manifest("b")]
    assert list(iter_objects(items)) == [("[0]", items[0]), ("[1]", items[1])]
    assert objects(tuple(items)) == items


def test_items_of_a_typed_list_get_its_kind_and_version() -> None:
    bare = {"metadata": {"name": "a"}}
    stating = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b"}}
    null = {"apiVersion": None, "kind": None, "metadata": {"name": "c"}}
    document = {"apiVersion": "v9", "kind": "NodeList", "items": [bare, stating, null]}
    before = copy.deepcopy(document)
    assert objects(document) == [
        {"apiVersion": "v9", "kind": "Node", "metadata": {"name": "a"}},
        stating,
        {"apiVersion": "v9", "kind": "Node", "metadata": {"name": "c"}},
    ]
    assert document == before


@pytest.mark.parametrize(
    ("kind", "version", "item", "found"),
    [
        ("ServiceList", "v1", service_manifest(), "services"),
        ("PodList", "v1", pod_manifest(), "pods"),
        ("NodeList", "v1", node_manifest(), "nodes"),
        ("EndpointSliceList", "discovery.k8s.io/v1", slice_manifest(), "slices"),
        ("EndpointSliceList", "discovery.k8s.io/v1beta1", slice_manifest(), "slices"),
    ],
)
def test_typed_lists_are_read_as_the_server_prints_them(
    kind: str, version: str, item: Manifest, found: str
) -> None:
    bare = {name: value for name, value in item.items() if name not in ("kind", "apiVersion")}
    result = decode_objects([{"kind": kind, "apiVersion": version, "items": [bare, bare]}])
    assert result.problems == ()
    assert len(getattr(result, found)) == 2


@pytest.mark.parametrize("items", [[], None])
def test_an_empty_list_is_no_object(items: object) -> None:
    assert objects({"kind": "PodList", "apiVersion": "v1", "items": items}) == []
    assert objects({"kind": "List", "items": items}) == []
    assert objects([]) == []


def test_lists_may_hold_lists() -> None:
    inner = {"kind": "NodeList", "apiVersion": "v1", "items": [{"metadata": {"name": "a"}}]}
    document = {"kind": "List", "items": [[node_manifest("b")], inner]}
    assert list(iter_objects(document, "part")) == [
        ("part.items[0][0]", node_manifest("b")),
        ("part.items[1].items[0]", node_manifest("a")),
    ]


@pytest.mark.parametrize("odd", [None, 1, "Pod", True])
def test_what_is_no_object_is_an_error_among_the_objects(odd: object) -> None:
    found = objects([node_manifest("a"), odd, node_manifest("b")])
    assert found == [
        node_manifest("a"),
        ManifestError("[1]", "must be an object", odd),
        node_manifest("b"),
    ]


def test_items_that_are_no_list_are_an_error() -> None:
    (error,) = objects({"kind": "PodList", "items": {"kind": "Pod"}})
    assert error == ManifestError("items", "must be a list", {"kind": "Pod"})


def _chain(depth: int, wrap: Callable[[object], object]) -> object:
    document: object = node_manifest()
    for _ in range(depth):
        document = wrap(document)
    return document


_WRAPS: Final[tuple[Callable[[object], object], ...]] = (
    lambda item: [item],
    lambda item: {"kind": "List", "items": [item]},
    lambda item: {"kind": "NodeList", "items": [item]},
)


@pytest.mark.parametrize("wrap", _WRAPS)
@pytest.mark.parametrize("depth", [20, 950, 5000])
def test_lists_are_taken_apart_at_any_depth(wrap: Callable[[object], object], depth: int) -> None:
    found = decode_objects([[_chain(depth, wrap), node_manifest("b")]])
    assert [node.metadata.name for node in found.nodes] == ["node-1", "b"]
    assert found.problems == ()


# --- decode_objects ---------------------------------------------------------------------------


def test_objects_of_all_kinds_are_sorted_out_in_the_order_of_the_input() -> None:
    found = decode_objects(
        [
            {"kind": "List", "items": [node_manifest("b"), pod_manifest(), slice_manifest()]},
            service_manifest(),
            [node_manifest("a"), {"kind": "ConfigMap"}, {"kind": "ConfigMap"}, {"kind": "Cat"}],
        ]
    )
    assert found.services == (decode_service(service_manifest()),)
    assert found.pods == (decode_pod(pod_manifest()),)
    assert [node.metadata.name for node in found.nodes] == ["b", "a"]
    assert found.slices == (decode_slice(slice_manifest()),)
    assert found.problems == ()
    assert found.ignored == {"Cat": 1, "ConfigMap": 2}
    assert list(found.ignored) == ["Cat", "ConfigMap"]


def test_nothing_is_found_in_nothing() -> None:
    found = decode_objects([])
    assert (found.services, found.pods, found.nodes, found.slices) == ((), (), (), ())
    assert (found.problems, found.ignored) == ((), {})


def test_malformed_items_in_the_middle_do_not_lose_the_others() -> None:
    bad_pod = pod_manifest(status=None)
    found = decode_objects(
        [
            {
                "kind": "List",
                "items": [
                    node_manifest("a"),
                    None,
                    bad_pod,
                    {"metadata": {"name": "kindless"}},
                    {"kind": 7},
                    {"kind": "Node", "metadata": "x"},
                    with_endpoint(addresses=["nonsense!"]),
                    node_manifest("b"),
                ],
            },
            "junk",
            node_manifest("c"),
        ]
    )
    assert [node.metadata.name for node in found.nodes] == ["a", "b", "c"]
    assert [(problem.path, problem.value) for problem in found.problems] == [
        ("items[1]", None),
        ("items[2] (Pod shop/web-0).status", None),
        ("items[3]", None),
        ("items[4]", 7),
        ("items[5] (Node).metadata", "x"),
        ("items[6] (EndpointSlice shop/web-1).endpoints[1].addresses[0]", "nonsense!"),
        ("", "junk"),
    ]


def test_a_problem_of_an_object_that_stands_alone_names_the_object() -> None:
    (problem,) = decode_objects([pod_manifest(status=None)]).problems
    assert problem.path == "(Pod shop/web-0).status"


def test_kinds_of_other_api_groups_are_not_ours() -> None:
    knative = {**service_manifest(), "apiVersion": "serving.knative.dev/v1"}
    longhorn = node_manifest(apiVersion="longhorn.io/v1beta2")
    foreign_slice = slice_manifest(apiVersion="example.com/v1")
    typed = {
        "kind": "ServiceList",
        "apiVersion": "serving.knative.dev/v1",
        "items": [{"metadata": {"name": "x"}}],
    }
    found = decode_objects([knative, longhorn, foreign_slice, typed, node_manifest()])
    assert found.problems == ()
    assert found.ignored == {"EndpointSlice": 1, "Node": 1, "Service": 2}
    assert (found.services, found.slices) == ((), ())
    assert len(found.nodes) == 1


@pytest.mark.parametrize(
    ("kind", "version", "known"),
    [
        ("Service", "v1", True),
        ("Pod", None, True),
        ("Node", "", True),
        ("Pod", "v2", True),
        ("EndpointSlice", "discovery.k8s.io/v1", True),
        ("EndpointSlice", "discovery.k8s.io/v1beta1", True),
        ("EndpointSlice", None, True),
        ("Service", "serving.knative.dev/v1", False),
        ("Node", "longhorn.io/v1beta2", False),
        ("Pod", "discovery.k8s.io/v1", False),
        ("EndpointSlice", "example.com/v1", False),
        ("Endpoints", "v1", True),
        ("ConfigMap", "v1", False),
        ("pod", "v1", False),
        ("", "v1", False),
        (None, "v1", False),
        (["Pod"], "v1", False),
        ({}, "v1", False),
    ],
)
def test_known_kinds_are_those_of_kubernetes_itself(
    kind: object, version: object, known: bool
) -> None:
    assert is_known_kind({"kind": kind, "apiVersion": version}) is known


# --- plans ------------------------------------------------------------------------------------


def test_a_plan_is_written_in_the_order_of_its_operations() -> None:
    plan = reconcile(
        [group(1, 2, 3, endpoint(4, 1))],
        [stored("web-1", 1), stored("web-2", 9, ports=()), stored("web-3", 2, 3)],
        template=TEMPLATE,
        strategy=KubernetesPacking(),
        max_endpoints_per_slice=2,
    )
    encoded = encode_plan(plan)
    assert json.loads(json.dumps(encoded)) == encoded
    assert encoded["minimumWrites"] == plan.minimum_writes
    assert encoded["unchanged"] == [item.name for item in plan.unchanged]
    assert len(encoded["operations"]) == len(plan.operations) > 0
    for written, operation in zip(encoded["operations"], plan.operations, strict=True):
        item = operation.after or operation.before
        assert written["object"] == encode_slice(item)
        assert written["reasons"] == list(map(str, operation.reasons))
        assert (
            written["operation"]
            == {
                "CreateSlice": "create",
                "UpdateSlice": "update",
                "DeleteSlice": "delete",
            }[type(operation).__name__]
        )


def test_a_plan_of_every_kind_of_operation_names_each() -> None:
    verbs = set()
    for desired, current in (
        ([group(1)], []),
        ([group(1)], [stored("web-1", 2)]),
        ([], [stored("web-1", 2)]),
    ):
        plan = reconcile(desired, current, template=TEMPLATE)
        verbs |= {item["operation"] for item in encode_plan(plan)["operations"]}
    assert verbs == {"create", "update", "delete"}


def test_what_is_decoded_is_frozen_to_the_core() -> None:
    model = decode_slice(slice_manifest(future={"a": [{"b": 1}]}))
    hash(model.extra)
    assert model.extra == FrozenDict({"future": FrozenDict({"a": (FrozenDict({"b": 1}),)})})
    assert hash(model) == hash(decode_slice(slice_manifest(future={"a": [{"b": 1}]})))
