"""What ExternalBackends ask for: the pure part, which `vm_operator.py` and `loop.py` share."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any

import attrs

from endpointslice import (
    Endpoint,
    EndpointGroup,
    EndpointKey,
    EndpointSlice,
    GroupKey,
    ManifestError,
    decode_slice,
    validate_slice,
)

#: Who writes the slices. Slices with another name are left alone, and nobody else touches these.
MANAGED_BY = "vm-endpoints.example.com"


@attrs.frozen
class Wanted:
    """What the ExternalBackends of one Service ask for.

    Attributes:
        groups: For `reconcile`.
        endpoints: How many of them each ExternalBackend has, by its name.
        problems: What cannot be taken, by the name of the ExternalBackend.
    """

    groups: list[EndpointGroup]
    endpoints: Mapping[str, int]
    problems: Mapping[str, list[str]]


def wanted(backends: Iterable[Mapping[str, Any]]) -> Wanted:
    """Read all ExternalBackends of one Service. What is wrong in one of them is left out."""
    groups: dict[GroupKey, dict[EndpointKey, Endpoint]] = defaultdict(dict)
    endpoints: Counter[str] = Counter()
    problems: dict[str, list[str]] = defaultdict(list)
    for backend in sorted(backends, key=lambda item: item["metadata"]["name"]):
        name, spec = backend["metadata"]["name"], backend["spec"]
        if faults := faults_in(manifest_of(spec, "IPv4")):
            problems[name] += [f"spec.{fault}" for fault in faults]
            continue
        for i, machine in enumerate(spec.get("backends") or ()):
            manifest = manifest_of(spec, *address_of(machine), machine)
            if faults := faults_in(manifest):
                at = f"spec.backends[{i}]"
                for fault in faults:
                    where = fault.replace("addresses[0]", "address").replace("endpoints[0]", at)
                    problems[name].append(where)
                continue
            read: EndpointSlice = decode_slice(manifest)
            (endpoint,) = read.endpoints
            if endpoint.key in groups[read.group_key]:
                problems[name].append(f"spec.backends[{i}]: {endpoint.addresses[0]} is there twice")
                continue
            groups[read.group_key][endpoint.key] = endpoint
            endpoints[name] += 1
    return Wanted(
        [EndpointGroup(key=key, endpoints=found.values()) for key, found in groups.items()],
        endpoints,
        problems,
    )


def address_of(machine: Mapping[str, Any]) -> tuple[str, str]:
    """The type of an address, and the one spelling that EndpointSlices take."""
    address = str(machine.get("address"))
    try:
        found = ip_address(address)
    except ValueError:
        # 10.0.0.300 would pass for a name, but no top level domain is a number.
        is_name = not address.rpartition(".")[2].isdigit() and ":" not in address
        return ("FQDN" if is_name else "IPv4"), address
    return f"IPv{found.version}", str(found)


def manifest_of(
    spec: Mapping[str, Any],
    address_type: str,
    address: str = "",
    machine: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """An EndpointSlice of one machine, or of none: what the API server will be asked to take."""
    endpoints = []
    if machine is not None:
        is_healthy, is_draining = machine.get("healthy", True), machine.get("draining", False)
        conditions = {
            "ready": is_healthy and not is_draining,
            "serving": is_healthy,
            "terminating": is_draining,
        }
        names = {key: machine[key] for key in ("hostname", "zone") if machine.get(key)}
        endpoints = [{"addresses": [address], "conditions": conditions, **names}]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"namespace": "any", "name": "any"},
        "addressType": address_type,
        "ports": [{"protocol": "TCP", **port} for port in spec.get("ports") or ()],
        "endpoints": endpoints,
    }


def faults_in(manifest: Mapping[str, Any]) -> list[str]:
    """What the API server would refuse, which it does for a whole slice if one endpoint is bad."""
    faults = [str(violation) for violation in validate_slice(manifest)]
    if not faults:
        try:
            decode_slice(manifest)
        except ManifestError as error:  # such as a port 0, which the server lets pass
            faults = [str(error)]
    return faults
