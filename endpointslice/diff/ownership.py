"""Whose a slice is, and why its metadata must be written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import final

import attrs

from endpointslice.models import (
    ANNOTATION_TRIGGER_TIME,
    LABEL_HEADLESS,
    LABEL_MANAGED_BY,
    LABEL_SERVICE_NAME,
    Endpoint,
    EndpointSlice,
    ObjectMeta,
    SliceTemplate,
)

__all__ = [
    "Partition",
    "Reason",
    "Standing",
    "is_stale",
    "is_visible",
    "metadata_reasons",
    "slice_reasons",
    "sorted_reasons",
]


class Reason(StrEnum):
    """Why a slice is written. The order is the one in which reasons are given."""

    LABELS_CHANGED = "LabelsChanged"
    #: Its label names another part than that of its endpoints, or they are of several.
    PART_CHANGED = "PartChanged"
    ANNOTATIONS_CHANGED = "AnnotationsChanged"
    OWNER_CHANGED = "OwnerChanged"
    PORTS_CHANGED = "PortsChanged"
    OVER_CAPACITY = "OverCapacity"
    ENDPOINTS_CHANGED = "EndpointsChanged"
    HINTS_CHANGED = "HintsChanged"
    ENDPOINTS_REMOVED = "EndpointsRemoved"
    DUPLICATES_REMOVED = "DuplicatesRemoved"
    ENDPOINTS_ADDED = "EndpointsAdded"
    ENDPOINTS_MOVED_IN = "EndpointsMovedIn"
    ENDPOINTS_MOVED_OUT = "EndpointsMovedOut"
    #: A slice that would be deleted is used for what would be created.
    RECYCLED = "Recycled"
    #: The empty slice that says: the Service exists and has no endpoints.
    PLACEHOLDER = "Placeholder"
    #: No endpoint is left in it.
    EMPTY = "Empty"
    #: No endpoint has these ports or this address type any more.
    GROUP_NOT_WANTED = "GroupNotWanted"
    #: It belongs to an owner of the same kind and another uid, which is gone.
    STALE_OWNER = "StaleOwner"


_REASON_ORDER = {reason: i for i, reason in enumerate(Reason)}


def sorted_reasons(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Return each reason once, in the order of the enum."""
    found = set(reasons)
    return tuple(found if len(found) < 2 else sorted(found, key=_REASON_ORDER.__getitem__))


@final
@attrs.frozen(kw_only=True)
class Partition:
    """Who may share a slice: endpoints of one part, which the slice carries as a label.

    The slice's part is compared with its endpoints and not with the template, so that a strategy
    may trust the label of a clean slice. A slice without endpoints is for all.

    Attributes:
        label: The label's name.
        key: The part of an endpoint, as its content says; None or "" if it is for all.
        shared: The label's value on slices that are for all.
        is_open: Whether slices that are for all may hold endpoints of any part.
    """

    label: str
    key: Callable[[Endpoint], str | None]
    shared: str
    is_open: bool = False

    def holds(self, stored: EndpointSlice) -> bool:
        """Whether a slice's label says what it holds. Complexity: O(m) for m endpoints."""
        value = stored.metadata.labels.get(self.label)
        if self.is_open and value == self.shared:
            return True
        parts = {part or self.shared for part in set(map(self.key, stored.endpoints))}
        return (parts or {self.shared}) == {value}


def is_visible(meta: ObjectMeta, template: ObjectMeta) -> bool:
    """Slices of another namespace, Service or manager do not exist for us, nor do dying ones.

    Source: k8s.io/kubernetes endpointslice_controller.go, dropEndpointSlicesPendingDeletion.
    """
    if meta.deletion_timestamp is not None:
        return False
    if meta.namespace and meta.namespace != template.namespace:
        return False
    return meta.labels == template.labels or all(
        meta.labels.get(label) == template.labels.get(label)
        for label in (LABEL_MANAGED_BY, LABEL_SERVICE_NAME)
    )


def is_stale(meta: ObjectMeta, template: ObjectMeta) -> bool:
    """It has owners of our owners' kind, and none of them is ours."""
    if meta.owner_references == template.owner_references:
        return False
    for kind in {(ours.kind, ours.api_version) for ours in template.owner_references}:
        ours, theirs = (
            {owner.uid for owner in owners if (owner.kind, owner.api_version) == kind}
            for owners in (template.owner_references, meta.owner_references)
        )
        if theirs and ours.isdisjoint(theirs):
            return True
    return False


def slice_reasons(
    stored: EndpointSlice, template: SliceTemplate, partition: Partition | None
) -> list[Reason]:
    """What of a slice, but for what is wanted of its endpoints, makes it be written."""
    if partition is None:
        return metadata_reasons(stored.metadata, template)
    reasons = metadata_reasons(stored.metadata, template, partition.label)
    return reasons if partition.holds(stored) else [*reasons, Reason.PART_CHANGED]


def metadata_reasons(
    meta: ObjectMeta, template: SliceTemplate, label: str | None = None
) -> list[Reason]:
    """What of a slice's metadata makes it be written, but for the label of a partition."""
    reasons = []
    ours = template.metadata
    if meta.labels != ours.labels:
        labels, asked = dict(meta.labels), dict(ours.labels)
        if label is not None:
            labels.pop(label, None)
            asked.pop(label, None)
        # As in the reference, this one only rides on writes: a Service never turns headless,
        # so a slice that says otherwise is a slip that can wait.
        if labels.pop(LABEL_HEADLESS, None) is not None or LABEL_HEADLESS in asked:
            asked.pop(LABEL_HEADLESS, None)
        if labels != asked:
            reasons.append(Reason.LABELS_CHANGED)
    theirs, wanted = meta.annotations, ours.annotations
    for name in {**theirs, **wanted} if template.owns_annotations else wanted:
        if name != ANNOTATION_TRIGGER_TIME and theirs.get(name) != wanted.get(name):
            reasons.append(Reason.ANNOTATIONS_CHANGED)
            break
    if meta.owner_references != ours.owner_references:
        uids = {owner.uid for owner in meta.owner_references}
        if not all(owner.uid in uids for owner in ours.owner_references):
            reasons.append(Reason.OWNER_CHANGED)
    return reasons


class Standing:
    """Where slices stand with the owner of a template: judged once for what shares its labels.

    Slices are read or made many at a time, and then their labels, annotations and owners are the
    same objects as a rule.
    """

    __slots__ = ("_known", "_label", "_partition", "_template")

    def __init__(self, template: SliceTemplate, partition: Partition | None = None) -> None:
        self._template = template
        self._partition = partition
        self._label = None if partition is None else partition.label
        #: With the metadata that was judged, lest others be made where its parts were.
        self._known: dict[
            tuple[object, ...], tuple[ObjectMeta, tuple[bool, bool, Sequence[Reason]]]
        ] = {}

    def of(self, meta: ObjectMeta) -> tuple[bool, bool, Sequence[Reason]]:
        """Whether a slice is visible, whether it is stale, and why its metadata must be written."""
        labels, annotations, owners = meta.labels, meta.annotations, meta.owner_references
        key = (id(labels), id(annotations), id(owners), meta.namespace, meta.deletion_timestamp)
        known = self._known.get(key)
        if known is None:
            ours = self._template
            visible = is_visible(meta, ours.metadata)
            stale = visible and is_stale(meta, ours.metadata)
            is_ours = visible and not stale
            reasons = tuple(metadata_reasons(meta, ours, self._label)) if is_ours else ()
            known = self._known[key] = (meta, (visible, stale, reasons))
        return known[1]

    def reasons(self, stored: EndpointSlice) -> Sequence[Reason]:
        """Why a slice that is visible and not stale must be written; see `slice_reasons`."""
        reasons = self.of(stored.metadata)[2]
        if self._partition is None or self._partition.holds(stored):
            return reasons
        return (*reasons, Reason.PART_CHANGED)
