"""Endpoints of core/v1, the older API."""

from __future__ import annotations

from collections.abc import Mapping
from sys import intern
from typing import Any, Final

from endpointslice.collector import collector_paused
from endpointslice.manifests.fields import (
    as_mapping,
    check_kind,
    decode_each,
    decode_within,
    optional_string_of,
    required,
    string_of,
    thaw,
    unmodelled,
)
from endpointslice.manifests.metadata import decode_meta, encode_meta
from endpointslice.manifests.slices import (
    _decode_port,
    _decode_reference,
    _encode_port,
    _encode_reference,
)
from endpointslice.models import EndpointAddress, EndpointPort, Endpoints, EndpointSubset

__all__ = ["decode_endpoints", "encode_endpoints"]

_ENDPOINTS_FIELDS: Final = frozenset(["apiVersion", "kind", "metadata", "subsets"])
_SUBSET_FIELDS: Final = frozenset(["addresses", "notReadyAddresses", "ports"])
_ADDRESS_FIELDS: Final = frozenset(["ip", "hostname", "nodeName", "targetRef"])


def _decode_address(manifest: Mapping[str, Any]) -> EndpointAddress:
    reference = manifest.get("targetRef")
    node_name = string_of(manifest, "nodeName")
    return EndpointAddress(
        ip=required(string_of(manifest, "ip"), "ip"),
        hostname=optional_string_of(manifest, "hostname"),
        node_name=intern(str(node_name)),
        target_ref=(
            None if reference is None else decode_within("targetRef", _decode_reference, reference)
        ),
        extra=unmodelled(manifest, _ADDRESS_FIELDS),
    )


def _decode_numbered_port(manifest: Mapping[str, Any]) -> EndpointPort:
    port = _decode_port(manifest)
    required(port.port, "port")
    return port


def _decode_subset(manifest: Mapping[str, Any]) -> EndpointSubset:
    return EndpointSubset(
        addresses=decode_each(manifest, "addresses", _decode_address),
        not_ready_addresses=decode_each(manifest, "notReadyAddresses", _decode_address),
        ports=decode_each(manifest, "ports", _decode_numbered_port),
        extra=unmodelled(manifest, _SUBSET_FIELDS),
    )


def decode_endpoints(manifest: Mapping[str, Any]) -> Endpoints:
    """Read an Endpoints object.

    What stands in the place of an IP address and is none is read as it is, as the API server does
    not refuse to read it, and found out when the object is converted.

    Args:
        manifest: v1, as JSON; apiVersion and kind may be absent.

    Returns:
        Its model: IP addresses in canonical form; fields that are not modelled are in `extra`. The
        garbage collector is paused meanwhile, for the whole process.

    Raises:
        ManifestError: It is not such an object; the error names the path and the value.

    Complexity: O(n) for n addresses.
    Source: k8s.io/api/core/v1/types.go.
    """
    as_mapping(manifest)
    check_kind(manifest, "Endpoints", "v1")
    with collector_paused():
        return Endpoints(
            metadata=decode_meta(manifest),
            subsets=decode_each(manifest, "subsets", _decode_subset),
            extra=unmodelled(manifest, _ENDPOINTS_FIELDS),
        )


def _encode_address(address: EndpointAddress) -> dict[str, Any]:
    manifest: dict[str, Any] = {"ip": address.ip}
    if address.hostname:
        manifest["hostname"] = address.hostname
    if address.node_name:
        manifest["nodeName"] = address.node_name
    if address.target_ref is not None:
        manifest["targetRef"] = _encode_reference(address.target_ref)
    if address.extra:
        manifest.update(thaw(address.extra))
    return manifest


def _encode_plain_port(port: EndpointPort) -> dict[str, Any]:
    """A port of Endpoints: unlike a slice's, its name is left out when empty."""
    manifest = _encode_port(port)
    if not port.name:
        del manifest["name"]
    return manifest


def _encode_subset(subset: EndpointSubset) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "addresses": list(map(_encode_address, subset.addresses)),
        "notReadyAddresses": list(map(_encode_address, subset.not_ready_addresses)),
        "ports": list(map(_encode_plain_port, subset.ports)),
    }
    manifest = {name: value for name, value in manifest.items() if value}
    manifest.update(thaw(subset.extra))
    return manifest


def encode_endpoints(endpoints: Endpoints) -> dict[str, Any]:
    """Write an Endpoints object as v1 JSON.

    Returns:
        A new dict of plain JSON values, which any client takes as the body of a request. Lists that
        are empty are left out, as the API server leaves them out.

    Complexity: O(n) for n addresses.
    """
    manifest: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": encode_meta(endpoints.metadata),
    }
    if endpoints.subsets:
        manifest["subsets"] = list(map(_encode_subset, endpoints.subsets))
    manifest.update(thaw(endpoints.extra))
    return manifest
