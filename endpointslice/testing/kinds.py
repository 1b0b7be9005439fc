"""What a kind of its own gets or needs: namespaces, Pods, Services, quotas, definitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from endpointslice.testing.calls import Call
from endpointslice.testing.messages import StatusError, cause, number_in
from endpointslice.testing.resources import (
    DEFINITIONS,
    NAMESPACES,
    PODS,
    QUOTAS,
    SERVICES,
    Resource,
)
from endpointslice.testing.store import Store, Stored

#: Seconds that a Pod has to end, if nobody says how many.
_GRACE: Final = 30


def check_namespace(store: Store, call: Call, meta: Mapping[str, Any]) -> None:
    """Refuse to create in a namespace that is not there, or is being deleted."""
    found = store.get(NAMESPACES, call.namespace)
    if found is None:
        message = f'namespaces "{call.namespace}" not found'
        raise StatusError(404, "NotFound", message, NAMESPACES.details(call.namespace))
    if "deletionTimestamp" in found.manifest["metadata"]:
        name = meta.get("name") or meta.get("generateName", "")
        message = (
            f'{call.resource.qualified} "{name}" is forbidden: unable to create new content '
            f"in namespace {call.namespace} because it is being terminated"
        )
        details = call.resource.details(name)
        details["causes"] = [
            cause(
                "NamespaceTerminating",
                f"namespace {call.namespace} is being terminated",
                "metadata.namespace",
            )
        ]
        raise StatusError(403, "Forbidden", message, details)


def check_quotas(store: Store, resource: Resource, meta: Mapping[str, Any]) -> None:
    """Refuse to create more than a ResourceQuota allows, of those that count objects."""
    namespace = meta.get("namespace", "")
    counted = f"count/{resource.qualified}"
    for quota in store.objects(QUOTAS) if namespace else ():
        hard = (quota.manifest.get("spec") or {}).get("hard") or {}
        limit = number_in(str(hard.get(counted)))
        if quota.namespace != namespace or limit is None:
            continue
        used = sum(item.namespace == namespace for item in store.objects(resource))
        if used + 1 > limit:
            name = meta["name"]
            message = (
                f'{resource.qualified} "{name}" is forbidden: exceeded quota: {quota.name}, '
                f"requested: {counted}=1, used: {counted}={used}, "
                f"limited: {counted}={limit}"
            )
            raise StatusError(403, "Forbidden", message, resource.details(name))


def prepare(store: Store, resource: Resource, manifest: dict[str, Any]) -> None:
    """Give an object what its kind gets on create."""
    if resource is NAMESPACES:
        manifest["spec"] = {"finalizers": ["kubernetes"]}
        manifest["status"] = {"phase": "Active"}
    elif resource is PODS:
        manifest["status"] = {"phase": "Pending"}
    elif resource is SERVICES:
        _give_addresses(manifest["spec"], store.revision)
    elif resource is DEFINITIONS:
        manifest["status"] = _definition_status(manifest.get("spec") or {})
    elif resource.has_status and resource.is_custom:
        manifest.pop("status", None)


def _give_addresses(spec: dict[str, Any], number: int) -> None:
    if spec["type"] == "ExternalName" or spec.get("clusterIPs"):
        return
    if not spec.get("clusterIP"):
        high, low = divmod(number, 250)
        given = [
            f"10.96.{high}.{low + 1}" if family == "IPv4" else f"fd00:10:96::{high + 1}:{low + 1:x}"
            for family in spec["ipFamilies"]
        ]
        spec["clusterIP"] = given[0]
        spec["clusterIPs"] = given
    else:
        spec["clusterIPs"] = [spec["clusterIP"]]


def grace_of(resource: Resource, old: Stored, options: Mapping[str, Any]) -> int:
    """How many seconds an object has to end: only a Pod on a node has any."""
    spec = old.manifest.get("spec")
    if resource is not PODS or not isinstance(spec, dict) or not spec.get("nodeName"):
        return 0
    if old.manifest.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
        return 0
    said = (options.get("gracePeriodSeconds"), spec.get("terminationGracePeriodSeconds"))
    return next((int(seconds) for seconds in said if seconds is not None), _GRACE)


def _definition_status(spec: Mapping[str, Any]) -> dict[str, Any]:
    names = spec.get("names") or {}
    accepted = {"listKind": f"{names.get('kind', '')}List", **names}
    conditions = [
        {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts"},
        {"type": "Established", "status": "True", "reason": "InitialNamesAccepted"},
    ]
    stored = [item["name"] for item in spec.get("versions") or () if item.get("storage")]
    return {"conditions": conditions, "acceptedNames": accepted, "storedVersions": stored}


def keep_addresses(resource: Resource, old: Mapping[str, Any], new: dict[str, Any]) -> None:
    """Give a Service that states no address the one that it had."""
    if resource is SERVICES and new["spec"]["type"] != "ExternalName":
        for name in ("clusterIP", "clusterIPs"):
            if not new["spec"].get(name) and old["spec"].get(name):
                new["spec"][name] = old["spec"][name]
