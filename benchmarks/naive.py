"""A reconcile as one would write it over a client's objects: the baseline to beat.

Slices and endpoints are plain dicts, as `json.load` gives them; an endpoint's identity is
computed whenever it is needed; the packing is the reference's three steps, then recycling. It
makes the writes that `KubernetesPacking` makes, the same for every order of the input, and is not
made slow on purpose. It does less than the library all the same: one group, and no reasons, no
minimum, no order of writes, no check for duplicates.

Source: k8s.io/endpointslice reconciler.go, reconcileByPortMapping and finalize.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

__all__ = ["NaivePlan", "naive_reconcile"]

Manifest = dict[str, Any]
_KEPT_METADATA: Final = ("labels", "annotations", "ownerReferences")


class NaivePlan(NamedTuple):
    """What to write."""

    creates: list[Manifest]
    updates: list[Manifest]
    deletes: list[Manifest]


def endpoint_key(endpoint: Manifest) -> tuple[Any, ...]:
    """Return what makes an endpoint the same as another: addresses, hostname, target."""
    target = endpoint.get("targetRef") or {}
    return (
        tuple(sorted(endpoint["addresses"])),
        endpoint.get("hostname") or "",
        target.get("namespace", ""),
        target.get("name", ""),
    )


def _target(endpoint: Manifest) -> Manifest:
    target = endpoint.get("targetRef") or {}
    return {name: value for name, value in target.items() if name != "resourceVersion"}


def endpoints_equal(one: Manifest, other: Manifest) -> bool:
    """Return whether two endpoints of one key say the same."""
    return (
        one.get("nodeName") == other.get("nodeName")
        and one.get("zone") == other.get("zone")
        and one.get("conditions") == other.get("conditions")
        and one.get("hints") == other.get("hints")
        and _target(one) == _target(other)
    )


def _is_ours(stored: Manifest, template: Manifest) -> bool:
    labels = stored["metadata"].get("labels") or {}
    wanted = template["labels"]
    return all(
        labels.get(name) == wanted[name]
        for name in (
            "kubernetes.io/service-name",
            "endpointslice.kubernetes.io/managed-by",
        )
    )


def _metadata_differs(stored: Manifest, template: Manifest) -> bool:
    meta = stored["metadata"]
    return bool(
        (meta.get("labels") or {}) != template["labels"]
        or (meta.get("ownerReferences") or []) != template["ownerReferences"]
    )


def _written(stored: Manifest, template: Manifest, endpoints: list[Manifest]) -> Manifest:
    meta = {**stored["metadata"], **{k: v for k, v in template.items() if k in _KEPT_METADATA}}
    return {**stored, "metadata": meta, "endpoints": endpoints}


def _created(
    template: Manifest, address_type: str, ports: list[Manifest], endpoints: list[Manifest]
) -> Manifest:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": dict(template),
        "addressType": address_type,
        "ports": ports,
        "endpoints": endpoints,
    }


def _name(stored: Manifest) -> str:
    name: str = stored["metadata"]["name"]
    return name


def naive_reconcile(
    desired: list[Manifest],
    current: list[Manifest],
    *,
    template: Manifest,
    address_type: str,
    ports: list[Manifest],
    capacity: int,
    ordered: bool = True,
) -> NaivePlan:
    """Plan the writes that make `current` hold `desired`.

    Without `ordered` new endpoints are not sorted, as in the reference: that is faster, and the
    answer depends on the order of the input.
    """
    wanted = {endpoint_key(endpoint): endpoint for endpoint in desired}
    unchanged: list[Manifest] = []
    updates: list[tuple[Manifest, list[Manifest]]] = []
    deletes: list[Manifest] = []
    for stored in sorted(current, key=_name):
        if not _is_ours(stored, template):
            continue
        if stored["addressType"] != address_type or stored["ports"] != ports:
            deletes.append(stored)
            continue
        kept = []
        changed = False
        for endpoint in stored["endpoints"] or ():
            found = wanted.pop(endpoint_key(endpoint), None)
            if found is None:
                changed = True
                continue
            kept.append(found)
            if not endpoints_equal(endpoint, found):
                changed = True
        if not changed and not _metadata_differs(stored, template):
            unchanged.append(stored)
        elif kept:
            updates.append((stored, kept))
        else:
            deletes.append(stored)

    rest = list(wanted.values())
    if ordered:
        rest.sort(key=endpoint_key)
    taken = 0
    updates.sort(key=lambda item: (-len(item[1]), _name(item[0])))
    for _, kept in updates:
        room = max(0, capacity - len(kept))
        kept.extend(rest[taken : taken + room])
        taken = min(taken + room, len(rest))
    creates: list[Manifest] = []
    while taken < len(rest):
        chunk = rest[taken : taken + capacity]
        taken += len(chunk)
        fitting = [
            stored for stored in unchanged if len(stored["endpoints"]) + len(chunk) <= capacity
        ]
        if fitting and len(chunk) < capacity:
            fullest = min(fitting, key=lambda stored: (-len(stored["endpoints"]), _name(stored)))
            updates.append((fullest, fullest["endpoints"] + chunk))
        else:
            creates.append(_created(template, address_type, ports, chunk))

    written = [_written(stored, template, kept) for stored, kept in updates]
    recycled = min(len(creates), len(deletes))
    for create, donor in zip(creates[:recycled], deletes[:recycled], strict=True):
        written.append({**_written(donor, template, create["endpoints"]), "ports": ports})
    return NaivePlan(creates[recycled:], written, deletes[recycled:])
