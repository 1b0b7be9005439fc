"""What Kubernetes' controllers do to objects behind everybody's back: garbage and namespaces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from endpointslice.testing.ownership import update_owners
from endpointslice.testing.resources import NAMESPACES, Resource
from endpointslice.testing.store import Store, Stored
from endpointslice.testing.writes import Writer, is_finished

_MANAGER = "kube-controller-manager"


def collect(store: Store, served: Iterable[Resource], writer: Writer, now: str) -> None:
    """Delete what has no owner any more, and what is in namespaces that are being deleted."""
    resources = list({(item.group, item.plural): item for item in served}.values())
    while _collect_once(store, resources, writer):
        pass
    for namespace in store.objects(NAMESPACES):
        if "deletionTimestamp" in namespace.manifest["metadata"]:
            _empty(store, resources, writer, namespace, now)


def _all(store: Store, resources: list[Resource]) -> list[tuple[Resource, Stored]]:
    return [(resource, item) for resource in resources for item in store.objects(resource)]


def _collect_once(store: Store, resources: list[Resource], writer: Writer) -> bool:
    """One round; whether anything was done."""
    objects = _all(store, resources)
    dependents: dict[str, int] = Counter()
    for _, item in objects:
        for owner in item.manifest["metadata"].get("ownerReferences") or ():
            dependents[owner.get("uid")] += bool(owner.get("blockOwnerDeletion"))
    staying = {
        item.manifest["metadata"]["uid"]
        for _, item in objects
        if "foregroundDeletion" not in (item.manifest["metadata"].get("finalizers") or ())
    }
    is_changed = False
    for resource, item in objects:
        meta = item.manifest["metadata"]
        owners = meta.get("ownerReferences") or ()
        if (
            owners
            and "deletionTimestamp" not in meta
            and all(owner.get("uid") not in staying for owner in owners)
        ):
            writer.remove(resource, item)
            is_changed = True
        elif "foregroundDeletion" in (meta.get("finalizers") or ()) and not dependents[meta["uid"]]:
            _finish(store, resource, item, "foregroundDeletion")
            is_changed = True
        elif "orphan" in (meta.get("finalizers") or ()):
            for kind, dependent in objects:
                _disown(store, kind, dependent, meta["uid"])
            _finish(store, resource, item, "orphan")
            return True
    return is_changed


def _empty(
    store: Store, resources: list[Resource], writer: Writer, namespace: Stored, now: str
) -> None:
    for resource, item in _all(store, resources):
        if item.namespace == namespace.name:
            writer.remove(resource, item)
    left = [
        (resource, item)
        for resource, item in _all(store, resources)
        if item.namespace == namespace.name
    ]
    if not left:
        store.remove(NAMESPACES, namespace)
        return
    before = namespace.manifest
    status = {**before["status"], "conditions": _conditions(left, now)}
    if status == before["status"]:
        return
    after = {**before, "metadata": dict(before["metadata"]), "status": status}
    after["metadata"]["managedFields"] = update_owners(
        NAMESPACES,
        before,
        after,
        base=before,
        manager=_MANAGER,
        subresource="status",
        now=now,
    )
    store.put(NAMESPACES, after)


def _conditions(left: list[tuple[Resource, Stored]], now: str) -> list[dict[str, Any]]:
    kinds = Counter(resource.qualified for resource, _ in left)
    finalizers = Counter(
        name for _, item in left for name in item.manifest["metadata"].get("finalizers") or ()
    )
    remain = ", ".join(f"{kind} has {count} resource instances" for kind, count in kinds.items())
    wait = ", ".join(f"{name} in {count} resource instances" for name, count in finalizers.items())
    told = (
        (
            "DiscoveryFailure",
            "False",
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        (
            "GroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "ContentFailure",
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
    )
    conditions = [
        (f"NamespaceDeletion{kind}", status, reason, message)
        for kind, status, reason, message in told
    ]
    conditions += [
        (
            "NamespaceContentRemaining",
            "True",
            "SomeResourcesRemain",
            f"Some resources are remaining: {remain}",
        ),
        (
            "NamespaceFinalizersRemaining",
            "True",
            "SomeFinalizersRemain",
            f"Some content in the namespace has finalizers remaining: {wait}",
        ),
    ]
    return [
        {
            "type": kind,
            "status": status,
            "lastTransitionTime": now,
            "reason": reason,
            "message": message,
        }
        for kind, status, reason, message in conditions
    ]


def _finish(store: Store, resource: Resource, old: Stored, finalizer: str) -> None:
    """Take a finalizer from an object, which is deleted if it was the last."""
    meta = dict(old.manifest["metadata"])
    meta["finalizers"] = [name for name in meta["finalizers"] if name != finalizer]
    if is_finished(meta):
        store.remove(resource, old)
    else:
        store.put(resource, {**old.manifest, "metadata": meta})


def _disown(store: Store, resource: Resource, old: Stored, uid: str) -> None:
    """Take an owner from an object, if it has it."""
    meta = dict(old.manifest["metadata"])
    owners = meta.get("ownerReferences") or []
    kept = [owner for owner in owners if owner.get("uid") != uid]
    if len(kept) < len(owners):
        meta["ownerReferences"] = kept
        store.put(resource, {**old.manifest, "metadata": meta})
