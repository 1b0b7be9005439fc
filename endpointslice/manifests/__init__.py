"""Kubernetes JSON objects <-> models: the door in, and the door out.

A manifest is a plain dict, as `json.load`, a YAML loader or any client's `to_dict` gives it.
Decoding never changes it and keeps no reference to it. What is not modelled survives a round
trip, in this **canonical form**:

- `apiVersion` and `kind` are always written; discovery.k8s.io/v1beta1 is read and becomes v1;
- null, "", {} and an absent key of `metadata`, an endpoint or a port are the same, and not
  written; so are `ports` and `endpoints` that are absent and null: they are written as null;
- a port's `name` and `protocol` are always written, as the API server defaults them.
"""

from endpointslice.manifests.core import decode_node, decode_pod, decode_service
from endpointslice.manifests.objects import (
    DecodedObjects,
    decode_objects,
    is_known_kind,
    iter_objects,
)
from endpointslice.manifests.plans import encode_plan
from endpointslice.manifests.slices import decode_slice, encode_slice

__all__ = [
    "DecodedObjects",
    "decode_node",
    "decode_objects",
    "decode_pod",
    "decode_service",
    "decode_slice",
    "encode_plan",
    "encode_slice",
    "is_known_kind",
    "iter_objects",
]
