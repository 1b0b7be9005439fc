"""Histories of endpoints, and what a strategy makes of them over thousands of syncs.

traces (what happens) -> runs (a controller that syncs) -> reports (what it cost).
"""

from endpointslice.simulate.runs import Run, Step, Sync, follow, simulate
from endpointslice.simulate.traces import (
    TICK,
    Change,
    PodState,
    Trace,
    decode_trace,
    encode_trace,
    read_trace,
)

__all__ = [
    "TICK",
    "Change",
    "PodState",
    "Run",
    "Step",
    "Sync",
    "Trace",
    "decode_trace",
    "encode_trace",
    "follow",
    "read_trace",
    "simulate",
]
