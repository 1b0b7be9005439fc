"""Step 1, shared by all strategies: current slices against desired groups.

A slice is **dirty** if it must be written whatever a strategy decides: an endpoint in it has
changed or is no longer wanted, its labels, annotations, owner or ports must change, or it is
over capacity. All others are **clean**. Desired endpoints that are in no slice are **new**.
"""

from endpointslice.diff.compare import (
    diff_group,
    diff_state,
    differs_in_hints_only,
    dirty_slice,
    index_endpoints,
    is_same,
    join_groups,
)
from endpointslice.diff.ownership import (
    Partition,
    Reason,
    is_stale,
    is_visible,
    metadata_reasons,
    slice_reasons,
    sorted_reasons,
)
from endpointslice.diff.values import (
    CleanSlice,
    CleanSlices,
    Diff,
    DirtySlice,
    SliceIndex,
    StateDiff,
    make_diff,
)

__all__ = [
    "CleanSlice",
    "CleanSlices",
    "Diff",
    "DirtySlice",
    "Partition",
    "Reason",
    "SliceIndex",
    "StateDiff",
    "diff_group",
    "diff_state",
    "differs_in_hints_only",
    "dirty_slice",
    "index_endpoints",
    "is_same",
    "is_stale",
    "is_visible",
    "join_groups",
    "make_diff",
    "metadata_reasons",
    "slice_reasons",
    "sorted_reasons",
]
