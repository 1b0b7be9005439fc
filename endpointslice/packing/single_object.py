"""What there was before slices: one object for everything."""

from __future__ import annotations

from itertools import chain
from typing import final

import attrs

from endpointslice.diff import Diff, Reason
from endpointslice.models import MAX_ADDRESSES_PER_ENDPOINTS, Endpoint
from endpointslice.packing.placement import Packing, Placement

__all__ = ["SingleObject"]


@final
@attrs.frozen
class SingleObject:
    """Keep all endpoints in one slice, as the Endpoints API keeps them in one object.

    Every change writes that one object, whole. It lists at most 1,000 endpoints: ready ones
    first, then those that are not ready yet, then those that terminate, and among equals the
    lower keys; who is left out is in no slice. It is there to be compared with, and for mirrors of
    Endpoints objects, which have a slice for each list of ports.

    The capacity that it is given does not matter to it. Below 1,000 a slice may therefore be
    over that capacity, and such a slice is not written for it; above 1,000 endpoints some are
    missing. `check_plan` says both, and `minimum_writes` is then the bound of those who place
    all endpoints, in slices that are not over capacity. With a capacity of 1,000 and up to
    1,000 endpoints a plan is sound, and has at most the writes that it takes to have one slice.

    The old API leaves terminating endpoints out; here they are kept, as in any slice, so an
    endpoint that ends is two changes and not one.

    Complexity: O(n log n) for n endpoints.
    Source: k8s.io/kubernetes pkg/controller/endpoint/endpoints_controller.go, truncateEndpoints.
    """

    def pack(self, diff: Diff) -> Packing:
        """Place all endpoints in one slice, each once, but for those above 1,000."""
        if diff.is_empty:
            return Packing(())
        dirty = {item.name: item for item in diff.dirty}
        counts = {item.name: item.count for item in diff.clean}
        counts |= {name: len(item.endpoints) for name, item in dirty.items()}
        wrong = {name for name, item in dirty.items() if item.reasons != (Reason.OVER_CAPACITY,)}

        def inside(name: str) -> tuple[Endpoint, ...]:
            return dirty[name].endpoints if name in dirty else diff.open(name)

        name = min(counts, key=lambda name: (-counts[name], name in wrong, name), default="")
        others = sorted(counts.keys() - {name})
        rest = [*diff.new, *chain.from_iterable(map(inside, others))]
        placements = [Placement(other) for other in others]
        full = min(diff.desired_count, MAX_ADDRESSES_PER_ENDPOINTS)
        is_right = name in counts.keys() - wrong and counts[name] == full
        if is_right and rest:
            # It is full: is there anybody outside who should be in it instead?
            last = max(map(_place, inside(name))) if name in dirty else diff.span(name, _place)[1]
            is_right = last < min(map(_place, rest))
        if not is_right:
            here = inside(name) if name else ()
            chosen = sorted(chain(here, rest), key=_place)[:MAX_ADDRESSES_PER_ENDPOINTS]
            keys = {endpoint.key for endpoint in chosen}
            kept = tuple(endpoint for endpoint in here if endpoint.key in keys)
            stays = {endpoint.key for endpoint in kept}
            added = tuple(endpoint for endpoint in chosen if endpoint.key not in stays)
            if name or added:
                placements.append(Placement(name, kept, added))
        return Packing(tuple(placements))


def _place(endpoint: Endpoint) -> str:
    """Who is listed first if not all can be."""
    conditions = endpoint.conditions
    rank = 0 if conditions.ready else 2 if conditions.terminating else 1
    return f"{rank}{endpoint.key}"
