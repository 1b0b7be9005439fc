"""Histories of endpoints, and what a strategy makes of them over thousands of syncs.

clusters -> workloads, or recordings -> traces (what happens) -> runs (a controller that syncs)
-> reports (what it cost).
"""

from endpointslice.simulate.clusters import (
    Cluster,
    Deployment,
    Life,
    Pod,
    PodSet,
    StatefulSet,
)
from endpointslice.simulate.recordings import read_watch, trace_from_watch
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
from endpointslice.simulate.workloads import WORKLOADS, Workload

__all__ = [
    "TICK",
    "WORKLOADS",
    "Change",
    "Cluster",
    "Deployment",
    "Job",
    "Life",
    "Mean",
    "Pod",
    "PodSet",
    "PodState",
    "Result",
    "Row",
    "Run",
    "StatefulSet",
    "Step",
    "Sync",
    "Trace",
    "TraceFile",
    "TraceSource",
    "Workload",
    "compare",
    "decode_trace",
    "encode_trace",
    "follow",
    "read_trace",
    "read_watch",
    "run_all",
    "simulate",
    "summarize",
    "trace_from_watch",
]
