"""Service, Pod and Node of core/v1: the fields that we read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from sys import intern
from typing import Any, Final

from endpointslice.errors import ManifestError
from endpointslice.manifests.fields import (
    as_mapping,
    boolean_of,
    check_kind,
    decode_each,
    decode_within,
    integer_of,
    object_of,
    optional_string_of,
    required,
    string_map_of,
    string_of,
    strings_of,
)
from endpointslice.manifests.metadata import decode_meta
from endpointslice.models import (
    ContainerPort,
    Node,
    ObjectMeta,
    Pod,
    Protocol,
    Service,
    ServicePort,
)

__all__ = ["decode_node", "decode_pod", "decode_service"]

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


def _decode_pod_status(status: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "phase": intern(str(string_of(status, "phase"))),
        "ready": any(decode_each(status, "conditions", _decode_ready)),
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


def decode_node(manifest: Mapping[str, Any]) -> Node:
    """Read what of a Node decides where its endpoints are.

    Raises:
        ManifestError: It is not a v1 Node; the error names the path and the value.
    """
    as_mapping(manifest)
    check_kind(manifest, "Node", "v1")
    return Node(metadata=_named_object(manifest))
