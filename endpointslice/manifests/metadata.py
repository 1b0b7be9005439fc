"""ObjectMeta, which every object has."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from sys import intern
from typing import Any, Final

import attrs

from endpointslice.errors import ManifestError
from endpointslice.manifests.fields import (
    boolean_of,
    decode_each,
    integer_of,
    object_of,
    optional_string_of,
    shared_string_map_of,
    string_map_of,
    string_of,
    strings_of,
    thaw,
    unmodelled,
)
from endpointslice.models import FrozenDict, ObjectMeta, OwnerReference

_META_FIELDS: Final = frozenset(
    [
        "namespace",
        "name",
        "generateName",
        "uid",
        "resourceVersion",
        "generation",
        "labels",
        "annotations",
        "ownerReferences",
        "creationTimestamp",
        "deletionTimestamp",
    ]
)
_OWNER_FIELDS: Final = frozenset(
    ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"]
)


@lru_cache(maxsize=4096)
def _shared_owner(
    api_version: str,
    kind: str,
    name: str,
    uid: str,
    controller: bool | None,
    block_owner_deletion: bool | None,
) -> OwnerReference:
    return OwnerReference(
        api_version=api_version,
        kind=kind,
        name=name,
        uid=uid,
        controller=controller,
        block_owner_deletion=block_owner_deletion,
    )


def _decode_owner(manifest: Mapping[str, Any]) -> OwnerReference:
    owner = _shared_owner(
        string_of(manifest, "apiVersion"),
        string_of(manifest, "kind"),
        string_of(manifest, "name"),
        string_of(manifest, "uid"),
        boolean_of(manifest, "controller"),
        boolean_of(manifest, "blockOwnerDeletion"),
    )
    extra = unmodelled(manifest, _OWNER_FIELDS)
    return attrs.evolve(owner, extra=extra) if extra else owner


def time_of(manifest: Mapping[str, Any], name: str) -> str | None:
    """An RFC 3339 time, as it is spelled."""
    text = optional_string_of(manifest, name)
    if text is not None:
        try:
            datetime.fromisoformat(text)
        except ValueError:
            raise ManifestError(name, "must be an RFC 3339 time", text) from None
    return text


def _check_managed_fields(entry: Mapping[str, Any]) -> None:
    for name in ("manager", "operation", "apiVersion", "fieldsType", "subresource"):
        string_of(entry, name)
    time_of(entry, "time")
    object_of(entry, "fieldsV1")


def _unmodelled_meta(meta: Mapping[str, Any]) -> FrozenDict[str, Any]:
    """What is not modelled; what of it the API knows must be as the API says."""
    extra = unmodelled(meta, _META_FIELDS)
    if extra:
        string_of(extra, "selfLink")
        integer_of(extra, "deletionGracePeriodSeconds", -(2**63), 2**63 - 1)
        strings_of(extra, "finalizers")
        decode_each(extra, "managedFields", _check_managed_fields)
    return extra


def decode_meta(manifest: Mapping[str, Any]) -> ObjectMeta:
    """Read the metadata of an object."""
    meta = object_of(manifest, "metadata")
    try:
        return ObjectMeta(
            namespace=intern(str(string_of(meta, "namespace"))),
            name=string_of(meta, "name"),
            generate_name=string_of(meta, "generateName"),
            uid=string_of(meta, "uid"),
            resource_version=string_of(meta, "resourceVersion"),
            generation=integer_of(meta, "generation", 0, 2**63 - 1) or 0,
            labels=shared_string_map_of(meta, "labels"),
            annotations=string_map_of(meta, "annotations"),
            owner_references=decode_each(meta, "ownerReferences", _decode_owner),
            creation_timestamp=time_of(meta, "creationTimestamp"),
            deletion_timestamp=time_of(meta, "deletionTimestamp"),
            extra=_unmodelled_meta(meta),
        )
    except ManifestError as error:
        raise error.within("metadata") from None


def _encode_owner(owner: OwnerReference) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
    }
    if owner.controller is not None:
        manifest["controller"] = owner.controller
    if owner.block_owner_deletion is not None:
        manifest["blockOwnerDeletion"] = owner.block_owner_deletion
    manifest.update(thaw(owner.extra))
    return manifest


def encode_meta(meta: ObjectMeta) -> dict[str, Any]:
    """Write metadata; what is empty is left out."""
    manifest: dict[str, Any] = {
        "name": meta.name,
        "generateName": meta.generate_name,
        "namespace": meta.namespace,
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
        "generation": meta.generation,
        "creationTimestamp": meta.creation_timestamp,
        "deletionTimestamp": meta.deletion_timestamp,
        "labels": dict(meta.labels),
        "annotations": dict(meta.annotations),
        "ownerReferences": list(map(_encode_owner, meta.owner_references)),
    }
    manifest = {name: value for name, value in manifest.items() if value}
    manifest.update(thaw(meta.extra))
    return manifest
