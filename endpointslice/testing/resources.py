"""Which resources there are, and the documents by which clients discover them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, final

import attrs

__all__ = ["Resource"]

#: What can be asked of every resource.
VERBS: Final = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
)


@final
@attrs.frozen(kw_only=True)
class Resource:
    """A kind of object, and how it is served.

    Attributes:
        group: "" for the core group.
        version: Of the group.
        kind: In the singular, with capitals.
        plural: As it stands in paths.
        short_names: For people.
        is_namespaced: Whether its objects live in a namespace.
        has_status: Whether /status is a subresource, so that status is written there alone.
        has_generation: Whether the server counts changes to what is wanted.
        returns_deleted: Whether DELETE answers with the object in place of a Status.
        categories: Groups of resources that kubectl knows by one name.
        is_custom: Whether a CustomResourceDefinition defines it.
    """

    group: str = ""
    version: str = "v1"
    kind: str
    plural: str
    short_names: tuple[str, ...] = ()
    is_namespaced: bool = True
    has_status: bool = False
    has_generation: bool = False
    returns_deleted: bool = False
    categories: tuple[str, ...] = ()
    is_custom: bool = False

    @property
    def api_version(self) -> str:
        """As it stands in manifests."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The plural with the group, as messages have it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """The kind with the group, as messages have it."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    def details(self, name: str) -> dict[str, Any]:
        """How a Status names one of its objects."""
        details = {"name": name, "group": self.group, "kind": self.plural}
        return {key: value for key, value in details.items() if value}


SLICES: Final = Resource(
    group="discovery.k8s.io", kind="EndpointSlice", plural="endpointslices", has_generation=True
)
NAMESPACES: Final = Resource(
    kind="Namespace",
    plural="namespaces",
    short_names=("ns",),
    is_namespaced=False,
    has_status=True,
    returns_deleted=True,
)
SERVICES: Final = Resource(
    kind="Service",
    plural="services",
    short_names=("svc",),
    has_status=True,
    returns_deleted=True,
    categories=("all",),
)
PODS: Final = Resource(
    kind="Pod",
    plural="pods",
    short_names=("po",),
    has_status=True,
    has_generation=True,
    returns_deleted=True,
    categories=("all",),
)
NODES: Final = Resource(
    kind="Node", plural="nodes", short_names=("no",), is_namespaced=False, has_status=True
)
QUOTAS: Final = Resource(
    kind="ResourceQuota", plural="resourcequotas", short_names=("quota",), has_status=True
)
DEFINITIONS: Final = Resource(
    group="apiextensions.k8s.io",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    short_names=("crd", "crds"),
    is_namespaced=False,
    has_status=True,
    has_generation=True,
)


def _workload(kind: str, short_name: str) -> Resource:
    return Resource(
        group="apps",
        kind=kind,
        plural=f"{kind.lower()}s",
        short_names=(short_name,),
        has_status=True,
        has_generation=True,
        categories=("all",),
    )


BUILT_IN: Final = (
    NAMESPACES,
    SERVICES,
    PODS,
    NODES,
    QUOTAS,
    Resource(kind="Endpoints", plural="endpoints", short_names=("ep",)),
    Resource(kind="Event", plural="events", short_names=("ev",)),
    Resource(kind="ConfigMap", plural="configmaps", short_names=("cm",)),
    Resource(kind="Secret", plural="secrets"),
    Resource(kind="ServiceAccount", plural="serviceaccounts", short_names=("sa",)),
    SLICES,
    Resource(group="events.k8s.io", kind="Event", plural="events", short_names=("ev",)),
    Resource(group="coordination.k8s.io", kind="Lease", plural="leases"),
    _workload("Deployment", "deploy"),
    _workload("ReplicaSet", "rs"),
    _workload("StatefulSet", "sts"),
    _workload("DaemonSet", "ds"),
    DEFINITIONS,
)


def resources_of(definition: Mapping[str, Any]) -> list[Resource]:
    """What a CustomResourceDefinition defines, one resource for each served version."""
    spec = definition["spec"]
    names = spec["names"]
    return [
        Resource(
            group=spec["group"],
            version=version["name"],
            kind=names["kind"],
            plural=names["plural"],
            short_names=tuple(names.get("shortNames") or ()),
            is_namespaced=spec.get("scope", "Namespaced") == "Namespaced",
            has_status="status" in (version.get("subresources") or {}),
            has_generation=True,
            categories=tuple(names.get("categories") or ()),
            is_custom=True,
        )
        for version in spec.get("versions") or ()
        if version.get("served", True)
    ]


# --- discovery --------------------------------------------------------------------------------


def _version_document(version: str) -> dict[str, str]:
    major, minor, *_ = version.removeprefix("v").split(".")
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(minor) - 1),
        "gitVersion": version,
        "gitCommit": "0" * 40,
        "gitTreeState": "clean",
        "buildDate": "2026-07-01T00:00:00Z",
        "goVersion": "go1.27.3",
        "compiler": "gc",
        "platform": "linux/amd64",
    }


_NO_CLIENT_CIDR: Final = [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1"}]


def discovery_of(resources: Iterable[Resource], path: str, version: str) -> dict[str, Any] | None:
    """The document that is served under a path: `/api`, `/apis/GROUP`, `/openapi/v3`, ..."""
    served = list(resources)
    match path.strip("/").split("/"):
        case ["version"]:
            return _version_document(version)
        case ["api"]:
            return {
                "kind": "APIVersions",
                "versions": ["v1"],
                "serverAddressByClientCIDRs": _NO_CLIENT_CIDR,
            }
        case ["apis"]:
            names = sorted({item.group for item in served if item.group})
            groups = [_group(served, name) for name in names]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ["api", name]:
            return _resource_list(served, "", name)
        case ["apis", group]:
            found = any(item.group == group for item in served)
            return (
                {"kind": "APIGroup", "apiVersion": "v1", **_group(served, group)} if found else None
            )
        case ["apis", group, name]:
            return _resource_list(served, group, name)
        case ["openapi", "v3"]:
            return {
                "paths": {
                    root: {"serverRelativeURL": f"/openapi/v3/{root}"}
                    for root in sorted({_root_of(item) for item in served})
                }
            }
        case ["openapi", "v3", *rest]:
            return _openapi(served, "/".join(rest))
        case _:
            return None


def _group(served: list[Resource], name: str) -> dict[str, Any]:
    found = sorted({item.version for item in served if item.group == name}, key=_age)
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in found]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _age(version: str) -> tuple[int, int, int]:
    """The order of versions: stable ones first, then beta, then alpha, and newer ones first."""
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if match is None:
        return 3, 0, 0
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return stage, -int(match[1]), -int(match[3] or 0)


def _resource_list(served: list[Resource], group: str, version: str) -> dict[str, Any] | None:
    found = [item for item in served if (item.group, item.version) == (group, version)]
    if not found:
        return None
    resources = []
    for item in sorted(found, key=lambda item: item.plural):
        entry: dict[str, Any] = {
            "name": item.plural,
            "singularName": item.kind.lower(),
            "namespaced": item.is_namespaced,
            "kind": item.kind,
            "verbs": VERBS,
        }
        if item.short_names:
            entry["shortNames"] = list(item.short_names)
        if item.categories:
            entry["categories"] = list(item.categories)
        resources.append(entry)
        if item.has_status:
            resources.append(
                {
                    "name": f"{item.plural}/status",
                    "singularName": "",
                    "namespaced": item.is_namespaced,
                    "kind": item.kind,
                    "verbs": ["get", "patch", "update"],
                }
            )
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": found[0].api_version,
        "resources": resources,
    }


def _root_of(item: Resource) -> str:
    return f"apis/{item.api_version}" if item.group else f"api/{item.version}"


def _openapi(served: list[Resource], root: str) -> dict[str, Any] | None:
    """As much as kubectl asks for: that each kind takes `fieldValidation`."""
    paths = {}
    for item in served:
        if _root_of(item) == root:
            middle = "/namespaces/{namespace}" if item.is_namespaced else ""
            kind = {"group": item.group, "version": item.version, "kind": item.kind}
            names = ("dryRun", "fieldManager", "fieldValidation", "force")
            paths[f"/{root}{middle}/{item.plural}/{{name}}"] = {
                "patch": {
                    "operationId": f"patch{item.kind}",
                    "parameters": [
                        {"name": name, "in": "query", "schema": {"type": "string"}}
                        for name in names
                    ],
                    "responses": {"200": {"description": "OK"}},
                    "x-kubernetes-action": "patch",
                    "x-kubernetes-group-version-kind": kind,
                }
            }
    if not paths:
        return None
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
    }
