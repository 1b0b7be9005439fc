"""What the server makes of a manifest: fields it does not know go, defaults are filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from endpointslice.testing.messages import bad_request
from endpointslice.testing.resources import NAMESPACES, SLICES, Resource
from endpointslice.testing.shapes import type_problems

#: In the order in which they are written.
METADATA: Final = (
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
)
#: Nobody has written a selfLink since Kubernetes 1.20, and nobody may be told that it is unknown.
_KNOWN_METADATA: Final = frozenset([*METADATA, "selfLink"])
_SLICE: Final = ("addressType", "endpoints", "ports")
_PORT: Final = ("name", "protocol", "port", "appProtocol")
_CONDITIONS: Final = ("ready", "serving", "terminating")
_REFERENCE: Final = (
    "kind",
    "namespace",
    "name",
    "uid",
    "apiVersion",
    "resourceVersion",
    "fieldPath",
)
_HINTS: Final = ("forZones", "forNodes")
#: The inner fields of an endpoint that are objects.
_PARTS: Final = {"conditions": _CONDITIONS, "targetRef": _REFERENCE, "hints": _HINTS}
_ENDPOINT: Final = frozenset(
    ["addresses", "hostname", "deprecatedTopology", "nodeName", "zone", *_PARTS]
)
_KNOWN_PARTS: Final = {name: frozenset(fields) for name, fields in _PARTS.items()}


def read_manifest(resource: Resource, sent: Any) -> tuple[dict[str, Any], list[str]]:
    """A manifest as the server stores it, less what only a write adds.

    Args:
        resource: What it must be.
        sent: What was sent.

    Returns:
        The manifest, with defaults, and the paths of the fields that are not known. Values of a
        wrong type stay as they are.

    Raises:
        StatusError: It is no object of this kind at all.
    """
    if not isinstance(sent, dict):
        raise bad_request(f"the object provided is unrecognized (must be of type {resource.kind})")
    _check_kind(resource, sent)
    for field, detail in type_problems(resource, sent):
        raise type_error(resource, field, detail)
    unknown: list[str] = []
    meta = sent.get("metadata")
    manifest: dict[str, Any] = {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": _read_metadata(meta or {}, unknown),
    }
    if resource is NAMESPACES and manifest["metadata"].get("name"):
        labels = dict(manifest["metadata"].get("labels") or {})
        labels["kubernetes.io/metadata.name"] = manifest["metadata"]["name"]
        manifest["metadata"]["labels"] = labels
    if resource is SLICES:
        unknown += sorted(sent.keys() - {*_SLICE, *manifest})
        manifest["addressType"] = sent.get("addressType")
        manifest["endpoints"] = _read_endpoints(sent.get("endpoints"), unknown)
        manifest["ports"] = _read_ports(sent.get("ports"), unknown)
    else:
        rest = {name: value for name, value in sent.items() if name not in manifest}
        manifest.update(_DEFAULTS.get(resource.kind, _as_it_is)(rest))
    return manifest, unknown


def _decoding(resource: Resource) -> str:
    return f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'


def empty_to_null(resource: Resource, manifest: dict[str, Any]) -> None:
    """Lists that are empty, as they come back from etcd."""
    if resource is SLICES:
        for name in ("endpoints", "ports"):
            manifest[name] = manifest[name] or None


def _check_kind(resource: Resource, sent: Mapping[str, Any]) -> None:
    kind, version = sent.get("kind") or resource.kind, sent.get("apiVersion")
    version = version or resource.api_version
    if (kind, version) != (resource.kind, resource.api_version):
        sent_version = str(version).rpartition("/")[2]
        domain = resource.group.partition(".")[0] or "core"
        raise bad_request(
            f'{kind} in version "{sent_version}" cannot be handled as a {resource.kind}: '
            f"converting ({sent_version}.{kind}) to ({domain}.{resource.kind}): unknown conversion"
        )


def strict_error(resource: Resource, unknown: list[str]) -> Exception:
    """What fieldValidation=Strict answers to fields that are not known."""
    fields = ", ".join(f'unknown field "{path}"' for path in unknown)
    return bad_request(f"{_decoding(resource)}: strict decoding error: {fields}")


def type_error(resource: Resource, field: str, detail: str) -> Exception:
    """What is answered to a value of a wrong type."""
    return bad_request(f"{_decoding(resource)}: json: cannot unmarshal {field}: {detail}")


def _read_metadata(meta: Mapping[str, Any], unknown: list[str]) -> dict[str, Any]:
    unknown += [f"metadata.{name}" for name in meta if name not in _KNOWN_METADATA]
    read = {}
    for name in METADATA:
        value = meta.get(name)
        if value is not None and value not in ("", {}, []):
            read[name] = value
    return read


def _read_endpoints(sent: Any, unknown: list[str]) -> Any:
    if not isinstance(sent, list):
        return sent
    return [_read_endpoint(item, i, unknown) for i, item in enumerate(sent)]


def _read_endpoint(sent: Any, i: int, unknown: list[str]) -> Any:
    if not isinstance(sent, dict):
        return sent
    if _is_plain(sent):
        return sent
    read: dict[str, Any] = {"addresses": sent.get("addresses"), "conditions": {}}
    for name, value in sent.items():
        if name not in _ENDPOINT:
            unknown.append(f"endpoints[{i}].{name}")
        elif value is None or name == "deprecatedTopology":
            continue
        elif name in _PARTS and isinstance(value, dict):
            known = value.keys() <= _KNOWN_PARTS[name] and None not in value.values()
            read[name] = value if known else _read_part(value, f"endpoints[{i}].{name}", unknown)
        else:
            read[name] = value
    return read


def _is_plain(sent: dict[str, Any]) -> bool:
    """Whether there is nothing to drop and no default to fill in, as with nearly all endpoints."""
    if not (
        sent.keys() <= _ENDPOINT
        and "conditions" in sent
        and "deprecatedTopology" not in sent
        and None not in sent.values()
    ):
        return False
    for name, known in _KNOWN_PARTS.items():
        part = sent.get(name)
        if part is not None and not (
            type(part) is dict and part.keys() <= known and None not in part.values()
        ):
            return False
    return True


def _read_part(sent: dict[str, Any], path: str, unknown: list[str]) -> dict[str, Any]:
    fields = _PARTS[path.rpartition(".")[2]]
    unknown += [f"{path}.{name}" for name in sent if name not in fields]
    return {name: sent[name] for name in fields if sent.get(name) is not None}


def _read_ports(sent: Any, unknown: list[str]) -> Any:
    if not isinstance(sent, list):
        return sent
    ports: list[Any] = []
    for i, item in enumerate(sent):
        if not isinstance(item, dict):
            ports.append(item)
            continue
        unknown += [f"ports[{i}].{name}" for name in item if name not in _PORT]
        port = {"name": "", "protocol": "TCP"}
        port.update({name: item[name] for name in _PORT if item.get(name) is not None})
        ports.append(port)
    return ports


# --- other kinds ------------------------------------------------------------------------------


def _as_it_is(rest: dict[str, Any]) -> dict[str, Any]:
    return rest


def _object(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _pod(rest: dict[str, Any]) -> dict[str, Any]:
    status = {"phase": "Pending", **_object(rest.get("status"))}
    return {**rest, "spec": _object(rest.get("spec")), "status": status}


def _service(rest: dict[str, Any]) -> dict[str, Any]:
    stated = {name: value for name, value in _object(rest.get("spec")).items() if value != []}
    spec: dict[str, Any] = {"type": "ClusterIP", "sessionAffinity": "None"}
    if stated.get("type") != "ExternalName":
        spec["ipFamilies"] = ["IPv4"]
        spec["ipFamilyPolicy"] = "SingleStack"
        spec["internalTrafficPolicy"] = "Cluster"
    spec.update({name: value for name, value in stated.items() if value is not None})
    ports = [
        {"protocol": "TCP", "targetPort": port.get("port"), **port}
        for port in spec.get("ports") or ()
        if isinstance(port, dict)
    ]
    if ports:
        spec["ports"] = ports
    return {**rest, "spec": spec, "status": {"loadBalancer": {}, **_object(rest.get("status"))}}


_DEFAULTS: Final = {"Pod": _pod, "Service": _service}
