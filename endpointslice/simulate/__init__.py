"""Histories of endpoints, and what a strategy makes of them over thousands of syncs.

traces (what happens) -> runs (a controller that syncs) -> reports (what it cost).
"""

from endpointslice.simulate.traces import TICK, Change, PodState, Trace

__all__ = ["TICK", "Change", "PodState", "Trace"]
