"""Kubernetes JSON objects <-> models: the door in, and the door out.

A manifest is a plain dict, as `json.load`, a YAML loader or any client's `to_dict` gives it.
Decoding never changes it and keeps no reference to it. What is not modelled survives a round
trip, in this **canonical form**:

- `apiVersion` and `kind` are always written; discovery.k8s.io/v1beta1 is read and becomes v1;
- null and an absent key are the same, and not written; so are "", 0, {} and [] of a field that
  is modelled. Within what is not modelled nothing changes;
- `ports` and `endpoints` that are null or absent are written as null;
- an endpoint's `conditions` are always written, and a port's `name` and `protocol`, as the API
  server defaults them; `hints` and `targetRef` that are {} stay so;
- all four names of an owner are written, empty or not;
- of the zones and nodes of hints the name alone is kept.
"""

from endpointslice.manifests.core import decode_node, decode_pod, decode_pods, decode_service
from endpointslice.manifests.endpoints import decode_endpoints, encode_endpoints
from endpointslice.manifests.objects import (
    DecodedObjects,
    decode_objects,
    is_known_kind,
    iter_objects,
)
from endpointslice.manifests.plans import encode_plan
from endpointslice.manifests.slices import decode_slice, decode_slices, encode_slice, encode_slices

__all__ = [
    "DecodedObjects",
    "decode_endpoints",
    "decode_node",
    "decode_objects",
    "decode_pod",
    "decode_pods",
    "decode_service",
    "decode_slice",
    "decode_slices",
    "encode_endpoints",
    "encode_plan",
    "encode_slice",
    "encode_slices",
    "is_known_kind",
    "iter_objects",
]
