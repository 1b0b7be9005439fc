"""Service, Pod and Node of core/v1: the fields that we read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from math import ceil
from operator import itemgetter
from sys import intern
from typing import Any, Final

from endpointslice.collector import collector_paused
from endpointslice.errors import ManifestError
from endpointslice.manifests.fields import (
    as_mapping,
    boolean_of,
    check_kind,
    decode_each,
    decode_items,
    decode_within,
    integer_of,
    object_of,
    optional_string_of,
    required,
    string_map_of,
    string_of,
    strings_of,
)
from endpointslice.manifests.metadata import decode_meta, time_of
from endpointslice.models import (
    ContainerPort,
    Node,
    ObjectMeta,
    Pod,
    Protocol,
    Service,
    ServicePort,
)

__all__ = ["decode_node", "decode_pod", "decode_pods", "decode_service"]

_PROTOCOLS: Final = tuple(map(str, Protocol))


def _decode_service_port(manifest: Mapping[str, Any]) -> ServicePort:
    target = manifest.get("targetPort")
    if target is not None and not isinstance(target, str):
        if type(target) is not int:
            raise ManifestError("targetPort", "must be a port number or name", target)
        target = integer_of(manifest, "targetPort", 0, 65535)
    protocol = string_of(manifest, "protocol") or "TCP"
    if protocol not in _PROTOCOLS:
        raise ManifestError("protocol", f"must be one of {', '.join(_PROTOCOLS)}", protocol)
    return ServicePort(
        port=required(integer_of(manifest, "port", 1, 65535), "port"),
        name=string_of(manifest, "name"),
        protocol=Protocol(protocol),
        target_port=target or None,
        app_protocol=optional_string_of(manifest, "appProtocol"),
        node_port=integer_of(manifest, "nodePort", 0, 65535) or None,
    )


def _named_object(manifest: Mapping[str, Any]) -> ObjectMeta:
    meta = decode_meta(manifest)
    required(meta.name, "metadata.name")
    return meta


def _spec(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return as_mapping(required(manifest.get(name), name), name)


def _decode_ingress(manifest: Mapping[str, Any]) -> str:
    """The IP of a load balancer, if Nodes take its traffic themselves."""
    return string_of(manifest, "ip") if string_of(manifest, "ipMode") in ("", "VIP") else ""


def _decode_service_status(status: Mapping[str, Any]) -> tuple[str, ...]:
    balancer = object_of(status, "loadBalancer")
    return decode_within(
        "loadBalancer", lambda found: decode_each(found, "ingress", _decode_ingress), balancer
    )


def decode_service(manifest: Mapping[str, Any]) -> Service:
    """Read what of a Service decides its slices, and who may use which endpoint of them.

    Raises:
        ManifestError: It is not a v1 Service; the error names the path and the value.
    """
    as_mapping(manifest)
    check_kind(manifest, "Service", "v1")
    meta = _named_object(manifest)
    spec = _spec(manifest, "spec")
    balancers = decode_within("status", _decode_service_status, object_of(manifest, "status"))
    try:
        return Service(
            metadata=meta,
            selector=string_map_of(spec, "selector"),
            ports=decode_each(spec, "ports", _decode_service_port),
            type=string_of(spec, "type") or "ClusterIP",
            cluster_ip=string_of(spec, "clusterIP"),
            ip_families=strings_of(spec, "ipFamilies"),
            publish_not_ready_addresses=boolean_of(spec, "publishNotReadyAddresses") or False,
            traffic_distribution=optional_string_of(spec, "trafficDistribution"),
            internal_traffic_policy=optional_string_of(spec, "internalTrafficPolicy"),
            external_traffic_policy=optional_string_of(spec, "externalTrafficPolicy"),
            external_ips=strings_of(spec, "externalIPs"),
            load_balancer_ips=tuple(filter(None, balancers)),
        )
    except ManifestError as error:
        raise error.within("spec") from None


@lru_cache(maxsize=1024)
def _shared_container_port(number: int, name: str, protocol: str) -> ContainerPort:
    return ContainerPort(container_port=number, name=name, protocol=protocol)


def _decode_container_port(manifest: Mapping[str, Any]) -> ContainerPort:
    return _shared_container_port(
        required(integer_of(manifest, "containerPort", 1, 65535), "containerPort"),
        string_of(manifest, "name"),
        string_of(manifest, "protocol") or "TCP",
    )


def _decode_container(manifest: Mapping[str, Any]) -> tuple[ContainerPort, ...]:
    return decode_each(manifest, "ports", _decode_container_port)


def _decode_sidecar(manifest: Mapping[str, Any]) -> tuple[ContainerPort, ...]:
    if string_of(manifest, "restartPolicy") != "Always":
        return ()
    return _decode_container(manifest)


def _decode_pod_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    containers = decode_each(spec, "containers", _decode_container)
    sidecars = decode_each(spec, "initContainers", _decode_sidecar)
    return {
        "node_name": intern(str(string_of(spec, "nodeName"))),
        "hostname": string_of(spec, "hostname"),
        "subdomain": string_of(spec, "subdomain"),
        "container_ports": tuple(port for ports in containers + sidecars for port in ports),
    }


def _decode_pod_ip(manifest: Mapping[str, Any]) -> str:
    return string_of(manifest, "ip")


def _decode_ready(manifest: Mapping[str, Any]) -> bool:
    return manifest.get("type") == "Ready" and manifest.get("status") == "True"


def _decode_transition(manifest: Mapping[str, Any]) -> tuple[bool, str | None] | None:
    if manifest.get("type") != "Ready":
        return None
    return manifest.get("status") == "True", time_of(manifest, "lastTransitionTime")


def _decode_pod_status(status: Mapping[str, Any]) -> dict[str, Any]:
    transitions = list(filter(None, decode_each(status, "conditions", _decode_transition)))
    return {
        "phase": intern(str(string_of(status, "phase"))),
        "ready": any(map(itemgetter(0), transitions)),
        "ready_transition_time": transitions[0][1] if transitions else None,
        "pod_ip": string_of(status, "podIP"),
        "pod_ips": tuple(filter(None, decode_each(status, "podIPs", _decode_pod_ip))),
    }


def decode_pod(manifest: Mapping[str, Any]) -> Pod:
    """Read what of a Pod decides its endpoint.

    Raises:
        ManifestError: It is not a v1 Pod; the error names the path and the value.
    """
    as_mapping(manifest)
    check_kind(manifest, "Pod", "v1")
    meta = _named_object(manifest)
    spec = decode_within("spec", _decode_pod_spec, _spec(manifest, "spec"))
    status = decode_within("status", _decode_pod_status, _spec(manifest, "status"))
    return Pod(metadata=meta, **spec, **status)


def decode_pods(manifests: Iterable[Mapping[str, Any]]) -> tuple[Pod, ...]:
    """Read many Pods: as `decode_pod`, in less time.

    The garbage collector is paused meanwhile, for the whole process, and turned on again
    whatever happens. For input of which some may be bad, `decode_objects` reads the rest.

    Args:
        manifests: Any number, as `decode_pod` takes them.

    Returns:
        Their models, in the same order.

    Raises:
        ManifestError: One cannot be read; the path begins with its position, as in
            `[17].spec.nodeName`.

    Complexity: O(n) for n Pods.
    """
    with collector_paused():
        return decode_items(manifests, decode_pod)


#: A number, then a suffix: of ten or of two to some power, or an exponent.
#: Source: k8s.io/apimachinery pkg/api/resource, the grammar of Quantity.
_QUANTITY: Final = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))"
    r"(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]{1,3}))?"
)
_SUFFIXES: Final = {
    **{suffix: Fraction(10) ** (3 * (i - 3)) for i, suffix in enumerate("num")},
    **{suffix: Fraction(1000) ** (i + 1) for i, suffix in enumerate("kMGTPE")},
    **{f"{suffix}i": Fraction(1024) ** (i + 1) for i, suffix in enumerate("KMGTPE")},
}
#: No quantity that means something is longer.
_MAX_QUANTITY: Final = 64


@lru_cache(maxsize=1024)
def _milli(quantity: str) -> int | None:
    """A quantity in thousandths, rounded up; None if it is none."""
    match = _QUANTITY.fullmatch(quantity) if len(quantity) <= _MAX_QUANTITY else None
    if match is None:
        return None
    value = Fraction(match["number"])
    if match["suffix"]:
        value *= _SUFFIXES[match["suffix"]]
    elif match["exponent"]:
        value *= Fraction(10) ** int(match["exponent"])
    return ceil(1000 * value)


def _decode_cpu(manifest: Mapping[str, Any]) -> int:
    value = manifest.get("cpu")
    if value is None:
        return 0
    milli = _milli(str(value)) if type(value) in (str, int, float) else None
    if milli is None or milli < 0:
        raise ManifestError("cpu", "must be a quantity of 0 or more, as 2, 0.5 or 1500m", value)
    return milli


def _decode_node_status(status: Mapping[str, Any]) -> dict[str, Any]:
    allocatable = status.get("allocatable")
    return {
        "ready": any(decode_each(status, "conditions", _decode_ready)),
        "allocatable_cpu": (
            0 if allocatable is None else decode_within("allocatable", _decode_cpu, allocatable)
        ),
    }


def decode_node(manifest: Mapping[str, Any]) -> Node:
    """Read what of a Node decides where its endpoints are, and who should use them.

    A Node without a status is not ready.

    Raises:
        ManifestError: It is not a v1 Node; the error names the path and the value.
    """
    as_mapping(manifest)
    check_kind(manifest, "Node", "v1")
    meta = _named_object(manifest)
    status = manifest.get("status")
    if status is None:
        return Node(metadata=meta)
    return Node(metadata=meta, **decode_within("status", _decode_node_status, status))
