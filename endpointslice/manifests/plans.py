"""A plan, out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from endpointslice.manifests.slices import encode_slice
from endpointslice.plan import CreateSlice, DeleteSlice, Operation, Plan, UpdateSlice

__all__ = ["encode_plan"]

_VERBS: Final[Mapping[type[Operation], str]] = {
    CreateSlice: "create",
    UpdateSlice: "update",
    DeleteSlice: "delete",
}


def encode_plan(plan: Plan) -> dict[str, Any]:
    """Write a plan as plain JSON.

    Returns:
        `operations`, in the order in which they must be carried out: each has `operation`
        (create, update or delete), `reasons`, and `object`, the slice to send, or the slice to
        delete as it stands. `unchanged` has the names of the slices that stay as they are,
        `minimumWrites` the fewest writes that any plan needs.

    Complexity: O(n) for n endpoints in written slices.
    """
    operations = [
        {
            "operation": _VERBS[type(operation)],
            "reasons": list(map(str, operation.reasons)),
            "object": encode_slice(operation.after or operation.before),
        }
        for operation in plan.operations
    ]
    return {
        "operations": operations,
        "unchanged": [current.name for current in plan.unchanged],
        "minimumWrites": plan.minimum_writes,
    }
