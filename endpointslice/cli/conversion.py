"""Endpoints -> EndpointSlices, and back, and what is lost on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

import attrs

from endpointslice import (
    LABEL_SERVICE_NAME,
    EndpointSlice,
    Loss,
    LossReason,
    encode_endpoints,
    encode_slice,
    endpoints_to_groups,
    losses_in_endpoints,
    losses_in_slices,
    mirror_template,
    reconcile,
    slices_to_endpoints,
)
from endpointslice.cli.planning import joined, title, unread_slice
from endpointslice.cli.reading import Objects

__all__ = ["Conversion", "convert_to_endpoints", "convert_to_slices"]

#: What becomes of so many addresses.
_TOLD: Final[Mapping[LossReason, str]] = {
    LossReason.TRUNCATED: "left out: more than 1,000",
    LossReason.INVALID: "left out: no slice can hold them",
    LossReason.FQDN: "left out: names, and no IPs",
    LossReason.TERMINATING: "left out: terminating",
    LossReason.CONFLICTING: "described in two ways, of which one is kept",
    LossReason.CONDITIONS: "listed without the conditions serving and terminating",
    LossReason.MORE_ADDRESSES: "listed without further addresses of the same endpoint",
    LossReason.ALL_PORTS: "listed without ports that have no number",
    LossReason.ZONE: "listed without zone",
    LossReason.HINTS: "listed without hints",
}
#: How many addresses a line names.
_SHOWN: Final = 3


@final
@attrs.frozen(kw_only=True)
class Conversion:
    """What objects were converted to.

    Attributes:
        manifests: The new objects, by namespace and name of their Services.
        lost: What is lost, a line for each object and reason.
        problems: Objects that could not be converted, and why.
    """

    manifests: tuple[dict[str, Any], ...]
    lost: tuple[str, ...]
    problems: tuple[str, ...] = ()


def convert_to_slices(
    objects: Objects, *, managed_by: str, max_endpoints_per_slice: int
) -> Conversion:
    """Make slices of all Endpoints objects, without names, as they are to be created."""
    manifests: list[dict[str, Any]] = []
    lost: list[str] = []
    for endpoints in sorted(objects.endpoints, key=title):
        plan = reconcile(
            endpoints_to_groups(endpoints),
            (),
            template=mirror_template(endpoints, managed_by=managed_by),
            max_endpoints_per_slice=max_endpoints_per_slice,
        )
        manifests += [encode_slice(create.after) for create in plan.creates]
        lost += _lines(title(endpoints), losses_in_slices(endpoints))
    return Conversion(manifests=tuple(manifests), lost=tuple(lost))


def convert_to_endpoints(objects: Objects) -> Conversion:
    """Make an Endpoints object of the slices of each Service, if all of them could be read."""
    manifests: list[dict[str, Any]] = []
    lost: list[str] = []
    problems: list[str] = []
    owned: dict[tuple[str, str], list[EndpointSlice]] = {}
    for stored in objects.slices:
        name = stored.metadata.labels.get(LABEL_SERVICE_NAME, "")
        if name:
            owned.setdefault((stored.metadata.namespace, name), []).append(stored)
        else:
            problems.append(f"{title(stored)} has no label {LABEL_SERVICE_NAME}")
    for owner, slices in sorted(owned.items()):
        fault = unread_slice(*owner, objects.problems)
        if fault is not None:
            problems.append(f"{joined(*owner)} is not converted: {fault}")
            continue
        manifests.append(encode_endpoints(slices_to_endpoints(slices)))
        lost += _lines(joined(*owner), losses_in_endpoints(slices))
    return Conversion(manifests=tuple(manifests), lost=tuple(lost), problems=tuple(problems))


def _lines(name: str, losses: tuple[Loss, ...]) -> list[str]:
    lines = []
    for loss in losses:
        count = len(loss.addresses)
        shown = ", ".join(loss.addresses[:_SHOWN]) + (", ..." if count > _SHOWN else "")
        noun = "address" if count == 1 else "addresses"
        lines.append(f"{name}: {count:,} {noun} {_TOLD[loss.reason]} ({shown})")
    return lines
