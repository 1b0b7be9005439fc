"""A Kubernetes API server to test a controller against: small, strict, and told to fail."""

from endpointslice.testing.cluster import Cluster, Denial, Served
from endpointslice.testing.faults import ConnectionDroppedError, Fault, FaultKind, Injected
from endpointslice.testing.messages import HttpRequest, HttpResponse, StatusError
from endpointslice.testing.server import ApiServer
from endpointslice.testing.watching import Watch, WatchEvent

__all__ = [
    "ApiServer",
    "Cluster",
    "ConnectionDroppedError",
    "Denial",
    "Fault",
    "FaultKind",
    "HttpRequest",
    "HttpResponse",
    "Injected",
    "Served",
    "StatusError",
    "Watch",
    "WatchEvent",
]
