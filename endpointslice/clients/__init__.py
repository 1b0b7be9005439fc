"""Carry a plan out with an API client, and find out what became of it.

The shell around the pure core: it sends, waits and reads back. What decides is without I/O, and
the same for every client, sync or async.
"""

from endpointslice.clients.adapters import as_async_slice_client, as_slice_client
from endpointslice.clients.applying import apply_plan_to, apply_plan_to_async
from endpointslice.clients.listing import ListedSlices, list_slices, list_slices_async
from endpointslice.clients.requests import (
    Answer,
    AsyncSliceClient,
    SliceClient,
    SliceRequest,
    Verb,
)
from endpointslice.clients.results import ApplyResult, OperationResult, Outcome
from endpointslice.clients.retries import RetryPolicy

__all__ = [
    "Answer",
    "ApplyResult",
    "AsyncSliceClient",
    "ListedSlices",
    "OperationResult",
    "Outcome",
    "RetryPolicy",
    "SliceClient",
    "SliceRequest",
    "Verb",
    "apply_plan_to",
    "apply_plan_to_async",
    "as_async_slice_client",
    "as_slice_client",
    "list_slices",
    "list_slices_async",
]
