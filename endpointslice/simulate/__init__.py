"""Histories of endpoints, and what a strategy makes of them over thousands of syncs.

traces (what happens) -> runs (a controller that syncs) -> reports (what it cost).
"""

from endpointslice.simulate.reports import (
    Job,
    Mean,
    Result,
    Row,
    TraceSource,
    compare,
    run_all,
    summarize,
)
from endpointslice.simulate.runs import Run, Step, Sync, follow, simulate
from endpointslice.simulate.traces import (
    TICK,
    Change,
    PodState,
    Trace,
    TraceFile,
    decode_trace,
    encode_trace,
    read_trace,
)

__all__ = [
    "TICK",
    "Change",
    "Job",
    "Mean",
    "PodState",
    "Result",
    "Row",
    "Run",
    "Step",
    "Sync",
    "Trace",
    "TraceFile",
    "TraceSource",
    "compare",
    "decode_trace",
    "encode_trace",
    "follow",
    "read_trace",
    "run_all",
    "simulate",
    "summarize",
]
