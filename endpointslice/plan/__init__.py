"""Packings -> ordered operations; then apply, check, price and explain them.

A plan is safe if the process dies between any two operations, because an endpoint only moves to
a slice that is written earlier: creates, then updates (receivers before givers), then deletes.
"""

from endpointslice.plan.build import build_plan, without_creates
from endpointslice.plan.operations import (
    CreateSlice,
    DeleteSlice,
    Operation,
    Plan,
    UpdateSlice,
)
from endpointslice.plan.replay import apply_plan, check_plan
from endpointslice.plan.report import Explanation, explain_plan, price_plan

__all__ = [
    "CreateSlice",
    "DeleteSlice",
    "Explanation",
    "Operation",
    "Plan",
    "UpdateSlice",
    "apply_plan",
    "build_plan",
    "check_plan",
    "explain_plan",
    "price_plan",
    "without_creates",
]
