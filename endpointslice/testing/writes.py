"""What a write does: create, update, patch, apply, delete."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from endpointslice.testing.calls import (
    Call,
    check_same_object,
    decode_body,
    delete_options,
    is_dry_run,
    not_found,
    unsupported_media_type,
    warnings_of,
)
from endpointslice.testing.faults import modified
from endpointslice.testing.kinds import (
    check_namespace,
    check_quotas,
    grace_of,
    keep_addresses,
    prepare,
)
from endpointslice.testing.listing import parse_version
from endpointslice.testing.messages import (
    HttpResponse,
    StatusError,
    answer,
    bad_request,
    dump,
    invalid_options,
    is_true,
)
from endpointslice.testing.ownership import apply_fields, check_applied, update_owners
from endpointslice.testing.patches import json_patch, merge_patch, strategic_patch
from endpointslice.testing.resources import NAMESPACES, Resource
from endpointslice.testing.rules import bumps_generation, check
from endpointslice.testing.schema import METADATA, empty_to_null, read_manifest
from endpointslice.testing.selectors import Selector
from endpointslice.testing.store import Store, Stored, key_of

#: Of which random names are made, and how many characters they have.
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX: Final = 5
_MAX_BASE: Final = 58
_NAME_ATTEMPTS: Final = 8
_KEPT_METADATA: Final = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
)


class Writer:
    """Writes to a store as the API server does."""

    def __init__(self, store: Store, chance: random.Random, now: Callable[[], str]) -> None:
        self._store: Final = store
        self._chance: Final = chance
        self._now: Final = now

    def write(self, call: Call, selects: Selector) -> HttpResponse:
        """Carry out a request that writes.

        Raises:
            StatusError: It is refused.
        """
        match call.verb:
            case "create":
                return self._create_from(call)
            case "update":
                return self._update(call)
            case "patch":
                return self._patch(call)
            case "deletecollection":
                return self._delete_collection(call, selects)
            case _:
                return self._delete_from(call)

    # --- what the server itself does ----------------------------------------------------------

    def load(self, resource: Resource, manifest: Mapping[str, Any]) -> None:
        """Put an object there as it is, with its uid, its times and its status.

        Raises:
            StatusError: It is refused.
        """
        read, _ = read_manifest(resource, manifest)
        meta = read["metadata"]
        if resource.is_namespaced:
            namespace = meta.setdefault("namespace", "default")
            if self._store.get(NAMESPACES, namespace) is None:
                raise not_found(NAMESPACES, namespace)
        meta.setdefault("uid", self._new_uid())
        meta.setdefault("creationTimestamp", self._now())
        if resource.has_generation:
            meta.setdefault("generation", 1)
        empty_to_null(resource, read)
        stated = {name: read[name] for name in ("spec", "status") if manifest.get(name)}
        prepare(self._store, resource, read)
        check(resource, read, None)
        read["metadata"] = {name: meta[name] for name in _order(meta)}
        self._put(resource, {**read, **stated})

    def remove(self, resource: Resource, old: Stored) -> None:
        """Delete an object, as far as its finalizers let it."""
        self._delete(resource, old, {"gracePeriodSeconds": 0}, dry_run=False)

    # --- create -------------------------------------------------------------------------------

    def _create_from(self, call: Call) -> HttpResponse:
        dry_run = is_dry_run(call, call.query.get("dryRun"))
        manifest, unknown = read_manifest(call.resource, decode_body(call, call.body))
        warnings = warnings_of(call, manifest, unknown)
        body = self._create(call, manifest, dry_run=dry_run)
        return answer(201, body, warnings)

    def _create(
        self,
        call: Call,
        manifest: dict[str, Any],
        *,
        dry_run: bool,
        owners: list[dict[str, Any]] | None = None,
    ) -> bytes:
        resource = call.resource
        meta = manifest["metadata"]
        if resource.is_namespaced:
            if meta.get("namespace", call.namespace) != call.namespace:
                raise bad_request(
                    "the namespace of the provided object does not match the namespace sent on "
                    "the request"
                )
            meta["namespace"] = call.namespace
            check_namespace(self._store, call, meta)
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "managedFields"):
            meta.pop(name, None)
        now = self._now()
        meta["uid"] = self._new_uid()
        meta["creationTimestamp"] = now
        if resource.has_generation:
            meta["generation"] = 1
        else:
            meta.pop("generation", None)
        if owners is None:
            owners = update_owners(
                resource,
                None,
                _without_status(resource, manifest),
                base=None,
                manager=call.manager,
                subresource="",
                now=now,
            )
        empty_to_null(resource, manifest)
        prepare(self._store, resource, manifest)
        if not meta.get("name") and isinstance(meta.get("generateName"), str):
            meta["name"] = self._new_name(resource, meta.get("namespace", ""), meta["generateName"])
        check(resource, manifest, None)
        if "resourceVersion" in meta:
            message = "resourceVersion should not be set on objects to be created"
            raise StatusError(500, "", message)
        meta["managedFields"] = owners
        if self._store.get(resource, key_of(meta.get("namespace", ""), meta["name"])):
            name = meta["name"]
            message = f'{resource.qualified} "{name}" already exists'
            raise StatusError(409, "AlreadyExists", message, resource.details(name))
        check_quotas(self._store, resource, meta)
        if dry_run:
            return dump(manifest)
        return self._put(resource, manifest)

    def _new_uid(self) -> str:
        text = f"{self._chance.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

    def _new_name(self, resource: Resource, namespace: str, base: str) -> str:
        name = ""
        for _ in range(_NAME_ATTEMPTS if base else 0):
            suffix = "".join(self._chance.choices(_ALPHABET, k=_SUFFIX))
            name = base[:_MAX_BASE] + suffix
            if self._store.get(resource, key_of(namespace, name)) is None:
                break
        return name

    def _put(self, resource: Resource, manifest: dict[str, Any]) -> bytes:
        return self._store.put(resource, manifest).body_for(resource)

    # --- update and patch ---------------------------------------------------------------------

    def _update(self, call: Call) -> HttpResponse:
        dry_run = is_dry_run(call, call.query.get("dryRun"))
        manifest, unknown = read_manifest(call.resource, decode_body(call, call.body))
        warnings = warnings_of(call, manifest, unknown)
        name = manifest["metadata"].get("name")
        if not name:
            raise bad_request(
                f"the name of the object ({call.name} based on URL) was undeterminable: name must "
                "be provided"
            )
        check_same_object(call, manifest["metadata"])
        body = self._replace(call, self._find(call), manifest, dry_run=dry_run)
        return answer(200, body, warnings)

    def _find(self, call: Call) -> Stored:
        found = self._store.get(call.resource, call.key)
        if found is None:
            raise not_found(call.resource, call.name)
        return found

    def _replace(
        self,
        call: Call,
        old: Stored,
        manifest: dict[str, Any],
        *,
        dry_run: bool,
        owners: list[dict[str, Any]] | None = None,
    ) -> bytes:
        """Put a manifest in the place of what is stored, if nothing speaks against it."""
        resource, meta = call.resource, manifest["metadata"]
        before = old.manifest["metadata"]
        _check_preconditions(resource, old, meta)
        _keep_metadata(resource, before, meta)
        stored = {**old.manifest, "apiVersion": resource.api_version}
        if call.subresource:
            # A subresource changes its own part and nothing else.
            kept = {**before, "managedFields": meta.get("managedFields", [])}
            manifest = {**stored, "metadata": kept, "status": manifest.get("status")}
            meta = kept
        elif resource.has_status:
            manifest.pop("status", None)
            if "status" in stored:
                manifest["status"] = stored["status"]
        if owners is None:
            owners = update_owners(
                resource,
                stored,
                manifest,
                base=manifest if meta.get("managedFields") else stored,
                manager=call.manager,
                subresource=call.subresource,
                now=self._now(),
            )
        empty_to_null(resource, manifest)
        keep_addresses(resource, stored, manifest)
        if resource.has_generation and bumps_generation(resource, stored, manifest):
            meta["generation"] = before.get("generation", 0) + 1
        check(resource, manifest, stored)
        meta["managedFields"] = owners
        meta["resourceVersion"] = before["resourceVersion"]
        manifest["metadata"] = {key: meta[key] for key in _order(meta)}
        if _is_same(stored, manifest):
            return old.body_for(resource)
        if dry_run:
            return dump(manifest)
        if is_finished(manifest["metadata"]):
            self._store.remove(resource, old)
            return dump(manifest)
        return self._put(resource, manifest)

    def _patch(self, call: Call) -> HttpResponse:
        dry_run = is_dry_run(call, call.query.get("dryRun"))
        kind = call.headers.get("content-type", "").partition(";")[0].strip()
        if kind == "application/apply-patch+yaml":
            return self._apply(call, dry_run=dry_run)
        patch = decode_body(call, call.body)
        old = self._find(call)
        target = {**old.manifest, "apiVersion": call.resource.api_version}
        match kind:
            case "application/merge-patch+json":
                patched = merge_patch(target, patch)
            case "application/json-patch+json":
                patched = json_patch(target, patch)
            case "application/strategic-merge-patch+json" if not call.resource.is_custom:
                patched = strategic_patch(target, patch, call.resource.kind)
            case _:
                raise unsupported_media_type()
        manifest, unknown = read_manifest(call.resource, patched)
        warnings = warnings_of(call, manifest, unknown)
        check_same_object(call, manifest["metadata"])
        return answer(200, self._replace(call, old, manifest, dry_run=dry_run), warnings)

    def _apply(self, call: Call, *, dry_run: bool) -> HttpResponse:
        if not call.query.get("fieldManager"):
            raise invalid_options(
                "PatchOptions",
                "fieldManager",
                "FieldValueRequired",
                "Required value: is required for apply patch",
            )
        sent = decode_body(call, call.body)
        applied, unknown = read_manifest(call.resource, sent)
        if unknown:
            raise StatusError(
                500,
                "",
                f"failed to create typed patch object ({call.key}; {call.resource.api_version}, "
                f"Kind={call.resource.kind}): .{unknown[0]}: field not declared in schema",
            )
        warnings = warnings_of(call, applied, [])
        check_applied(applied)
        meta = applied["metadata"]
        meta.setdefault("name", call.name)
        check_same_object(call, meta)
        old = self._store.get(call.resource, call.key)
        # Ownership is told before defaults are filled in.
        stated = {**sent, "metadata": meta}
        if old is not None:
            _check_preconditions(call.resource, old, meta)
        elif call.subresource:
            raise not_found(call.resource, call.name)
        merged, owners = apply_fields(
            call.resource,
            old.manifest if old is not None else None,
            stated,
            manager=call.manager,
            subresource=call.subresource,
            force=is_true(call.query.get("force")),
            now=self._now(),
        )
        manifest, _ = read_manifest(call.resource, merged)
        if old is None:
            body = self._create(call, manifest, dry_run=dry_run, owners=owners)
            return answer(201, body, warnings)
        body = self._replace(call, old, manifest, dry_run=dry_run, owners=owners)
        return answer(200, body, warnings)

    # --- delete -------------------------------------------------------------------------------

    def _delete_from(self, call: Call) -> HttpResponse:
        options = delete_options(call)
        dry_run = is_dry_run(call, options.get("dryRun"))
        old = self._find(call)
        resource, meta = call.resource, old.manifest["metadata"]
        wanted = options.get("preconditions") or {}
        for field, words, happened in (
            ("uid", "UID", "The object might have been deleted and then recreated"),
            ("resourceVersion", "ResourceVersion", "The object might have been modified"),
        ):
            if wanted.get(field) not in (None, meta[field]):
                message = (
                    f'Operation cannot be fulfilled on {resource.qualified_kind} "{call.name}": '
                    f"the {words} in the precondition ({wanted[field]}) does not match the "
                    f"{words} in record ({meta[field]}). {happened}"
                )
                details = {**resource.details(call.name), "kind": resource.kind}
                raise StatusError(409, "Conflict", message, details)
        return answer(200, self._delete(resource, old, options, dry_run=dry_run))

    def _delete(
        self, resource: Resource, old: Stored, options: Mapping[str, Any], *, dry_run: bool
    ) -> bytes:
        meta = old.manifest["metadata"]
        finalizers = list(meta.get("finalizers") or ())
        policy = options.get("propagationPolicy")
        for name, word in (("foregroundDeletion", "Foreground"), ("orphan", "Orphan")):
            if policy == word and name not in finalizers:
                finalizers.append(name)
        grace = grace_of(resource, old, options)
        if not (finalizers or grace or resource is NAMESPACES):
            if not dry_run:
                self._store.remove(resource, old)
            if resource.returns_deleted:
                return old.body_for(resource)
            return dump(_deleted(resource, old))
        if "deletionTimestamp" in meta and grace >= meta.get("deletionGracePeriodSeconds", 0):
            return old.body_for(resource)
        marked = {
            **meta,
            "deletionTimestamp": self._now(),
            "deletionGracePeriodSeconds": grace,
            "finalizers": finalizers,
        }
        if meta.get("generation"):
            marked["generation"] = meta["generation"] + 1
        if not finalizers:
            del marked["finalizers"]
        manifest = {**old.manifest, "metadata": {key: marked[key] for key in _order(marked)}}
        if resource is NAMESPACES:
            del manifest["metadata"]["deletionGracePeriodSeconds"]
            manifest["status"] = {**manifest["status"], "phase": "Terminating"}
        if dry_run:
            return dump(manifest)
        return self._put(resource, manifest)

    def _delete_collection(self, call: Call, selects: Selector) -> HttpResponse:
        options = delete_options(call)
        dry_run = is_dry_run(call, options.get("dryRun"))
        resource = call.resource
        found = [
            item
            for item in self._store.objects(resource)
            if call.namespace in ("", item.namespace) and selects(item.manifest)
        ]
        for item in found:
            self._delete(resource, item, options, dry_run=dry_run)
        return answer(
            200,
            {
                "kind": f"{resource.kind}List",
                "apiVersion": resource.api_version,
                "metadata": {"resourceVersion": str(self._store.revision)},
                "items": [item.manifest for item in found],
            },
        )


# --- what requests have in common -------------------------------------------------------------


def _without_status(resource: Resource, manifest: dict[str, Any]) -> dict[str, Any]:
    if not resource.has_status:
        return manifest
    return {name: value for name, value in manifest.items() if name != "status"}


def _order(meta: Mapping[str, Any]) -> list[str]:
    """The fields of metadata that are stated, as they are written."""
    return [name for name in METADATA if meta.get(name) not in (None, "", {}, [])]


def _check_preconditions(resource: Resource, old: Stored, meta: Mapping[str, Any]) -> None:
    """Refuse to replace another object than the one that is meant."""
    before = old.manifest["metadata"]
    wanted = meta.get("uid")
    if wanted and wanted != before["uid"]:
        key = f"/registry/{resource.plural}/{old.key}"
        message = (
            f'Operation cannot be fulfilled on {resource.qualified} "{old.name}": StorageError: '
            f"invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
            f"Precondition failed: UID in precondition: {wanted}, UID in object meta: "
            f"{before['uid']}"
        )
        raise StatusError(409, "Conflict", message, resource.details(old.name))
    try:
        version = parse_version(meta.get("resourceVersion", ""))
    except ValueError as error:
        raise StatusError(500, "", str(error)) from None
    if version and version != old.version:
        raise modified(resource, old.name)


def _keep_metadata(resource: Resource, before: Mapping[str, Any], meta: dict[str, Any]) -> None:
    """What of metadata no client can change."""
    if resource.is_namespaced:
        meta["namespace"] = before["namespace"]
    for name in _KEPT_METADATA:
        if name in before:
            meta[name] = before[name]
        else:
            meta.pop(name, None)


def is_finished(meta: Mapping[str, Any]) -> bool:
    """Whether an object that is being deleted has nothing more to wait for."""
    waits = meta.get("finalizers") or meta.get("deletionGracePeriodSeconds")
    return "deletionTimestamp" in meta and not waits


def _is_same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a write changes nothing, so that nothing is written."""
    if any(old.get(name) != new.get(name) for name in (old.keys() | new.keys()) - {"metadata"}):
        return False
    before, after = dict(old["metadata"]), dict(new["metadata"])
    one, other = before.pop("managedFields", []), after.pop("managedFields", [])
    return before == after and _untimed(one) == _untimed(other)


def _untimed(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: entry[name] for name in entry if name != "time"} for entry in entries]


def _deleted(resource: Resource, old: Stored) -> dict[str, Any]:
    details = {**resource.details(old.name), "uid": old.manifest["metadata"]["uid"]}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }
