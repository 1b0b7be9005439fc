"""What a write does: create, update, patch, apply, delete."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any, Final, final

import attrs

from endpointslice.testing.faults import modified
from endpointslice.testing.listing import parse_version
from endpointslice.testing.messages import (
    HttpResponse,
    StatusError,
    answer,
    bad_request,
    cause,
    dump,
    invalid_options,
)
from endpointslice.testing.ownership import apply_fields, check_applied, update_owners
from endpointslice.testing.patches import json_patch, merge_patch, strategic_patch
from endpointslice.testing.resources import (
    DEFINITIONS,
    NAMESPACES,
    PODS,
    QUOTAS,
    SERVICES,
    Resource,
)
from endpointslice.testing.rules import bumps_generation, check
from endpointslice.testing.schema import read_manifest, strict_error
from endpointslice.testing.selectors import Selector
from endpointslice.testing.store import Store, Stored, key_of

#: Of which random names are made, and how many characters they have.
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX: Final = 5
_MAX_BASE: Final = 58
_NAME_ATTEMPTS: Final = 8
#: What the server reads, in bytes.
_MAX_BODY: Final = 3 * 1024 * 1024
_OPTIONS: Final = {
    "create": "CreateOptions",
    "update": "UpdateOptions",
    "patch": "PatchOptions",
    "delete": "DeleteOptions",
    "deletecollection": "DeleteOptions",
}
#: Seconds that a Pod has to end, if nobody says how many.
_GRACE: Final = 30
_KEPT_METADATA: Final = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
)


@final
@attrs.frozen(kw_only=True)
class Call:
    """A request on objects of a resource.

    Attributes:
        verb: Kubernetes' word.
        resource: Of which resource.
        namespace: Where; "" for the whole cluster.
        name: Which; "" for a collection.
        subresource: "status", or "" for the object itself.
        query: The parameters.
        headers: With names in small letters.
        body: What was sent.
    """

    verb: str
    resource: Resource
    namespace: str
    name: str
    subresource: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def key(self) -> str:
        return key_of(self.namespace, self.name)

    @property
    def manager(self) -> str:
        """Under which name fields are owned: as it is told, or by the name of the client."""
        said = self.query.get("fieldManager", "")
        return said or self.headers.get("user-agent", "").partition("/")[0] or "unknown"


def _decode(call: Call, body: bytes) -> Any:
    if len(body) > _MAX_BODY:
        message = f"Request entity too large: limit is {_MAX_BODY}"
        raise StatusError(413, "RequestEntityTooLarge", message)
    try:
        return json.loads(body)
    except ValueError as error:
        shown = body.decode(errors="replace")
        words = "unexpected end of JSON input" if _is_cut_short(shown) else str(error)
        raise bad_request(
            f"the object provided is unrecognized (must be of type {call.resource.kind}): "
            f"couldn't get version/kind; json parse error: {words} ({shown[:100]})"
        ) from None


def _is_cut_short(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.pos >= len(text.rstrip())
    return False


class Writer:
    """Writes to a store as the API server does."""

    def __init__(self, store: Store, chance: random.Random, now: Callable[[], str]) -> None:
        self._store: Final = store
        self._chance: Final = chance
        self._now: Final = now
        self._services = 0

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
        """Put an object there as it is, with its status.

        Raises:
            StatusError: It is refused.
        """
        read, _ = read_manifest(resource, manifest)
        read["metadata"].pop("resourceVersion", None)
        call = Call(
            verb="create",
            resource=resource,
            namespace=read["metadata"].get("namespace", "default")
            if resource.is_namespaced
            else "",
            name="",
            subresource="",
            query={},
            headers={},
            body=b"",
        )
        status = read.get("status")
        self._create(call, read, dry_run=False)
        name = read["metadata"]["name"]
        stored = self._store.get(resource, key_of(call.namespace, name))
        if status is not None and stored is not None and stored.manifest.get("status") != status:
            self.set_status(resource, stored, status, "unknown")

    def remove(self, resource: Resource, old: Stored) -> None:
        """Delete an object, as far as its finalizers let it."""
        self._delete(resource, old, {"gracePeriodSeconds": 0}, dry_run=False)

    def finish(self, resource: Resource, old: Stored, finalizer: str) -> None:
        """Take a finalizer from an object, which is deleted if it was the last."""
        meta = dict(old.manifest["metadata"])
        meta["finalizers"] = [name for name in meta["finalizers"] if name != finalizer]
        if _is_finished(meta):
            self._store.remove(resource, old)
        else:
            self._store.put(resource, {**old.manifest, "metadata": meta})

    def disown(self, resource: Resource, old: Stored, uid: str) -> None:
        """Take an owner from an object, if it has it."""
        meta = dict(old.manifest["metadata"])
        owners = meta.get("ownerReferences") or []
        kept = [owner for owner in owners if owner["uid"] != uid]
        if len(kept) < len(owners):
            meta["ownerReferences"] = kept
            self._store.put(resource, {**old.manifest, "metadata": meta})

    def set_status(
        self, resource: Resource, old: Stored, status: Mapping[str, Any], manager: str
    ) -> None:
        """Write what is the case with an object."""
        manifest = {**old.manifest, "metadata": dict(old.manifest["metadata"]), "status": status}
        if manifest["status"] == old.manifest.get("status"):
            return
        manifest["metadata"]["managedFields"] = update_owners(
            resource,
            old.manifest,
            manifest,
            base=old.manifest,
            manager=manager,
            subresource="status",
            now=self._now(),
        )
        self._store.put(resource, manifest)

    # --- create -------------------------------------------------------------------------------

    def _create_from(self, call: Call) -> HttpResponse:
        dry_run = _is_dry_run(call, call.query.get("dryRun"))
        manifest, unknown = read_manifest(call.resource, _decode(call, call.body))
        warnings = _warnings(call, manifest, unknown)
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
            self._check_namespace(call, meta)
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            meta.pop(name, None)
        meta.pop("managedFields", None)
        now = self._now()
        meta["uid"] = self._new_uid()
        meta["creationTimestamp"] = now
        if resource.has_generation:
            meta["generation"] = 1
        else:
            meta.pop("generation", None)
        self._prepare(resource, manifest)
        if not meta.get("name") and isinstance(meta.get("generateName"), str):
            meta["name"] = self._new_name(resource, meta.get("namespace", ""), meta["generateName"])
        check(resource, manifest, None)
        if "resourceVersion" in meta:
            message = "resourceVersion should not be set on objects to be created"
            raise StatusError(500, "", message)
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
        meta["managedFields"] = owners
        if self._store.get(resource, key_of(meta.get("namespace", ""), meta["name"])):
            name = meta["name"]
            message = f'{resource.qualified} "{name}" already exists'
            raise StatusError(409, "AlreadyExists", message, resource.details(name))
        self._check_quotas(resource, meta)
        if dry_run:
            return dump(manifest)
        return self._put(resource, manifest)

    def _check_namespace(self, call: Call, meta: Mapping[str, Any]) -> None:
        found = self._store.get(NAMESPACES, call.namespace)
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

    def _check_quotas(self, resource: Resource, meta: Mapping[str, Any]) -> None:
        namespace = meta.get("namespace", "")
        counted = f"count/{resource.qualified}"
        for quota in self._store.objects(QUOTAS) if namespace else ():
            hard = (quota.manifest.get("spec") or {}).get("hard") or {}
            if quota.namespace != namespace or counted not in hard:
                continue
            used = sum(item.namespace == namespace for item in self._store.objects(resource))
            if used + 1 > int(hard[counted]):
                name = meta["name"]
                message = (
                    f'{resource.qualified} "{name}" is forbidden: exceeded quota: {quota.name}, '
                    f"requested: {counted}=1, used: {counted}={used}, "
                    f"limited: {counted}={hard[counted]}"
                )
                raise StatusError(403, "Forbidden", message, resource.details(name))

    def _prepare(self, resource: Resource, manifest: dict[str, Any]) -> None:
        """What a kind of its own gets on create."""
        meta = manifest["metadata"]
        if resource is NAMESPACES and meta.get("name"):
            labels = {**meta.get("labels", {}), "kubernetes.io/metadata.name": meta["name"]}
            meta["labels"] = labels
        elif resource is PODS:
            manifest["status"] = {"phase": "Pending"}
        elif resource is SERVICES:
            self._give_addresses(manifest["spec"])
        elif resource is DEFINITIONS:
            manifest["status"] = _definition_status(manifest.get("spec") or {})
        elif resource.has_status and resource.is_custom:
            manifest.pop("status", None)

    def _give_addresses(self, spec: dict[str, Any]) -> None:
        if spec["type"] == "ExternalName" or spec.get("clusterIPs"):
            return
        if not spec.get("clusterIP"):
            self._services += 1
            high, low = divmod(self._services, 250)
            given = [
                f"10.96.{high}.{low + 1}"
                if family == "IPv4"
                else f"fd00:10:96::{high + 1}:{low + 1:x}"
                for family in spec["ipFamilies"]
            ]
            spec["clusterIP"] = given[0]
            spec["clusterIPs"] = given
        else:
            spec["clusterIPs"] = [spec["clusterIP"]]

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
        dry_run = _is_dry_run(call, call.query.get("dryRun"))
        manifest, unknown = read_manifest(call.resource, _decode(call, call.body))
        warnings = _warnings(call, manifest, unknown)
        name = manifest["metadata"].get("name")
        if not name:
            raise bad_request(
                f"the name of the object ({call.name} based on URL) was undeterminable: name must "
                "be provided"
            )
        self._check_same_object(call, manifest["metadata"])
        body = self._replace(call, self._find(call), manifest, dry_run=dry_run)
        return answer(200, body, warnings)

    @staticmethod
    def _check_same_object(call: Call, meta: Mapping[str, Any]) -> None:
        name = meta.get("name")
        if name != call.name:
            raise bad_request(
                f"the name of the object ({name}) does not match the name on the URL ({call.name})"
            )
        if call.resource.is_namespaced and meta.get("namespace", call.namespace) != call.namespace:
            raise bad_request(
                f"the namespace of the object ({meta['namespace']}) does not match the namespace "
                f"on the URL ({call.namespace})"
            )

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
        if resource.has_generation and bumps_generation(resource, stored, manifest):
            meta["generation"] = before.get("generation", 0) + 1
        check(resource, manifest, stored)
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
        meta["managedFields"] = owners
        meta["resourceVersion"] = before["resourceVersion"]
        manifest["metadata"] = {key: meta[key] for key in _order(meta)}
        if _is_same(stored, manifest):
            return old.body_for(resource)
        if dry_run:
            return dump(manifest)
        if _is_finished(manifest["metadata"]):
            self._store.remove(resource, old)
            return dump(manifest)
        return self._put(resource, manifest)

    def _patch(self, call: Call) -> HttpResponse:
        dry_run = _is_dry_run(call, call.query.get("dryRun"))
        kind = call.headers.get("content-type", "").partition(";")[0].strip()
        if kind == "application/apply-patch+yaml":
            return self._apply(call, dry_run=dry_run)
        patch = _decode(call, call.body)
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
                accepted = "application/json-patch+json, application/merge-patch+json, "
                message = (
                    "the body of the request was in an unknown format - accepted media types "
                    f"include: {accepted}application/apply-patch+yaml"
                )
                raise StatusError(415, "UnsupportedMediaType", message)
        manifest, unknown = read_manifest(call.resource, patched)
        warnings = _warnings(call, manifest, unknown)
        self._check_same_object(call, manifest["metadata"])
        return answer(200, self._replace(call, old, manifest, dry_run=dry_run), warnings)

    def _apply(self, call: Call, *, dry_run: bool) -> HttpResponse:
        if not call.query.get("fieldManager"):
            raise invalid_options(
                "PatchOptions",
                "fieldManager",
                "FieldValueRequired",
                "Required value: is required for apply patch",
            )
        sent = _decode(call, call.body)
        applied, unknown = read_manifest(call.resource, sent)
        if unknown:
            raise StatusError(
                500,
                "",
                f"failed to create typed patch object: .{unknown[0]}: field not declared in schema",
            )
        warnings = _warnings(call, applied, [])
        check_applied(applied)
        meta = applied["metadata"]
        meta.setdefault("name", call.name)
        self._check_same_object(call, meta)
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
            force=call.query.get("force") in {"true", "1"},
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
        options = _delete_options(call)
        dry_run = _is_dry_run(call, options.get("dryRun"))
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
                details = {"name": call.name, "group": resource.group, "kind": resource.kind}
                details = {key: value for key, value in details.items() if value}
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
        grace = _grace_of(resource, old, options)
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
        options = _delete_options(call)
        dry_run = _is_dry_run(call, options.get("dryRun"))
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


def not_found(resource: Resource, name: str) -> StatusError:
    """The answer if there is no such object."""
    message = f'{resource.qualified} "{name}" not found'
    return StatusError(404, "NotFound", message, resource.details(name))


def _is_dry_run(call: Call, value: object) -> bool:
    values = value if isinstance(value, list) else [value] if value else []
    if not values:
        return False
    if values == ["All"]:
        return True
    message = f'Unsupported value: {json.dumps(values)}: supported values: "All"'
    raise invalid_options(_OPTIONS[call.verb], "dryRun", "FieldValueNotSupported", message)


def _warnings(call: Call, manifest: Mapping[str, Any], unknown: list[str]) -> tuple[str, ...]:
    """What the server says besides; fields that it does not know are told or refused."""
    validation = call.query.get("fieldValidation", "Warn")
    if unknown and validation == "Strict":
        raise strict_error(call.resource, unknown)
    told = () if validation == "Ignore" else tuple(f'unknown field "{path}"' for path in unknown)
    if manifest.get("addressType") == "FQDN" and call.resource.kind == "EndpointSlice":
        told += ("spec.addressType: FQDN endpoints are deprecated",)
    return told


def _without_status(resource: Resource, manifest: dict[str, Any]) -> dict[str, Any]:
    if not resource.has_status:
        return manifest
    return {name: value for name, value in manifest.items() if name != "status"}


_ORDER: Final = (
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


def _order(meta: Mapping[str, Any]) -> list[str]:
    """The fields of metadata that are stated, as they are written."""
    return [name for name in _ORDER if meta.get(name) not in (None, "", {}, [])]


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


def _is_finished(meta: Mapping[str, Any]) -> bool:
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


def _delete_options(call: Call) -> dict[str, Any]:
    """What stands in the body, or in the query."""
    options = _decode(call, call.body) if call.body.strip() else {}
    if not isinstance(options, dict):
        raise bad_request("the object provided is unrecognized (must be of type DeleteOptions)")
    for name in ("gracePeriodSeconds", "propagationPolicy", "dryRun"):
        if name in call.query and options.get(name) is None:
            options[name] = call.query[name]
    return options


def _grace_of(resource: Resource, old: Stored, options: Mapping[str, Any]) -> int:
    """How many seconds an object has to end: only a Pod on a node has any."""
    spec = old.manifest.get("spec")
    if resource is not PODS or not isinstance(spec, dict) or not spec.get("nodeName"):
        return 0
    if old.manifest.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
        return 0
    said = options.get("gracePeriodSeconds")
    return int(spec.get("terminationGracePeriodSeconds", _GRACE) if said is None else said)


def _deleted(resource: Resource, old: Stored) -> dict[str, Any]:
    details = {**resource.details(old.name), "uid": old.manifest["metadata"]["uid"]}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }


def _definition_status(spec: Mapping[str, Any]) -> dict[str, Any]:
    names = spec.get("names") or {}
    accepted = {"listKind": f"{names.get('kind', '')}List", **names}
    conditions = [
        {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts"},
        {"type": "Established", "status": "True", "reason": "InitialNamesAccepted"},
    ]
    stored = [item["name"] for item in spec.get("versions") or () if item.get("storage")]
    return {"conditions": conditions, "acceptedNames": accepted, "storedVersions": stored}
