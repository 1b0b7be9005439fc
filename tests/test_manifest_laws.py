"""What holds for every manifest: nothing is lost, nothing is shared, nothing but a typed error."""

from __future__ import annotations

import copy
import json
import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from endpointslice import (
    Endpoint,
    EndpointHints,
    EndpointSlice,
    ManifestError,
    ObjectMeta,
    decode_node,
    decode_objects,
    decode_pod,
    decode_service,
    decode_slice,
    encode_slice,
)
from tests.builders import Case, cases, endpoint, stored
from tests.manifest_builders import JSON, SLICES, Manifest

# --- the canonical form, said again -----------------------------------------------------------

_META_FIELDS: Final = [
    "namespace",
    "name",
    "generateName",
    "uid",
    "resourceVersion",
    "generation",
    "labels",
    "annotations",
    "ownerReferences",
    "creationTimestamp",
    "deletionTimestamp",
]
_REFERENCE_FIELDS: Final = [
    "kind",
    "namespace",
    "name",
    "uid",
    "apiVersion",
    "fieldPath",
    "resourceVersion",
]


def _tidy(manifest: Manifest, known: list[str]) -> Manifest:
    """Leave out what is null, and what is modelled and empty."""
    return {
        name: value
        for name, value in manifest.items()
        if value is not None and not (name in known and value in ("", 0, {}, []))
    }


def _canonical_owner(owner: Manifest) -> Manifest:
    return {**dict.fromkeys(["apiVersion", "kind", "name", "uid"], ""), **_tidy(owner, [])}


def _canonical_meta(meta: Manifest | None) -> Manifest:
    result = _tidy(meta or {}, _META_FIELDS)
    if "ownerReferences" in result:
        result["ownerReferences"] = list(map(_canonical_owner, result["ownerReferences"]))
    return result


def _canonical_port(port: Manifest) -> Manifest:
    return {"name": "", "protocol": "TCP", **_tidy(port, ["appProtocol", "protocol"])}


def _canonical_endpoint(member: Manifest) -> Manifest:
    result = _tidy(member, ["hostname", "nodeName", "zone"])
    result["conditions"] = _tidy(result.get("conditions", {}), [])
    if "targetRef" in result:
        result["targetRef"] = _tidy(result["targetRef"], _REFERENCE_FIELDS)
    if "hints" in result:
        result["hints"] = _tidy(result["hints"], ["forZones", "forNodes"])
    return result


def canonical(manifest: Manifest) -> Manifest:
    """The canonical form of an EndpointSlice, as the package documents it."""
    ports, endpoints = manifest.get("ports"), manifest.get("endpoints")
    return {
        **_tidy(manifest, []),
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": _canonical_meta(manifest.get("metadata")),
        "ports": None if ports is None else list(map(_canonical_port, ports)),
        "endpoints": None if endpoints is None else list(map(_canonical_endpoint, endpoints)),
    }


def spelled(manifest: object) -> str:
    """The JSON, in which 1, 1.0 and true differ."""
    return json.dumps(manifest, sort_keys=True)


# --- round trips ------------------------------------------------------------------------------

FULL: Final[Manifest] = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {
        "name": "web-1",
        "namespace": "shop",
        "generateName": "web-",
        "uid": "u-1",
        "resourceVersion": "12",
        "generation": 3,
        "labels": {"kubernetes.io/service-name": "web"},
        "annotations": {"note": "ä"},
        "creationTimestamp": "2026-06-01T00:00:00Z",
        "deletionTimestamp": "2026-06-02T00:00:00Z",
        "deletionGracePeriodSeconds": 30,
        "finalizers": ["example.com/hold"],
        "managedFields": [
            {
                "manager": "kubectl",
                "operation": "Update",
                "apiVersion": "discovery.k8s.io/v1",
                "time": "2026-06-01T00:00:00Z",
                "fieldsType": "FieldsV1",
                "fieldsV1": {"f:endpoints": {}, "f:metadata": {"f:labels": {".": {}}}},
            }
        ],
        "ownerReferences": [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "name": "web",
                "uid": "u-0",
                "controller": True,
                "blockOwnerDeletion": False,
                "futureOwner": [1],
            }
        ],
        "futureMeta": {"a": [None, 1.5]},
    },
    "addressType": "IPv4",
    "ports": [
        {
            "name": "http",
            "protocol": "TCP",
            "port": 80,
            "appProtocol": "h2c",
            "futurePort": {"deep": [{"er": False}]},
        }
    ],
    "endpoints": [
        {
            "addresses": ["10.0.0.1", "10.0.0.2"],
            "conditions": {"ready": True, "terminating": False, "warm": "yes"},
            "hostname": "web-0",
            "nodeName": "node-1",
            "zone": "a",
            "targetRef": {
                "kind": "Pod",
                "namespace": "shop",
                "name": "web-0",
                "uid": "u-2",
                "resourceVersion": "11",
                "futureRef": 0,
            },
            "hints": {"forZones": [{"name": "a"}], "forRacks": [{"name": "r"}]},
            "deprecatedTopology": {"rack": "r"},
            "futureEndpoint": "",
        },
        {"addresses": ["10.0.0.3"], "conditions": {}, "hints": {}, "targetRef": {}},
    ],
    "futureSlice": [[{}], {}],
}


def test_what_is_canonical_comes_back_as_it_was() -> None:
    assert canonical(FULL) == FULL
    assert spelled(encode_slice(decode_slice(FULL))) == spelled(FULL)


@given(manifest=SLICES)
@example(manifest={"addressType": "IPv4", "endpoints": [], "ports": []})
@example(manifest={"addressType": "FQDN", "metadata": {"creationTimestamp": None}})
def test_encoding_a_decoded_manifest_gives_its_canonical_form(manifest: Manifest) -> None:
    encoded = encode_slice(decode_slice(manifest))
    assert spelled(encoded) == spelled(canonical(manifest))
    assert spelled(canonical(encoded)) == spelled(encoded)


@given(manifest=SLICES)
@example(manifest=FULL)
def test_a_slice_survives_its_manifest_pickling_and_evolving(manifest: Manifest) -> None:
    model = decode_slice(manifest)
    spelling = spelled(encode_slice(model))
    for again in (
        decode_slice(encode_slice(model)),
        pickle.loads(pickle.dumps(model)),
        attrs.evolve(model, endpoints=map(attrs.evolve, model.endpoints)),
    ):
        assert again == model
        assert spelled(encode_slice(again)) == spelling
        keys = [member.key for member in model.endpoints]
        assert [member.key for member in again.endpoints] == keys


@given(case=cases())
def test_what_a_program_builds_comes_back_from_its_manifest(case: Case) -> None:
    for current in case.current:
        encoded = encode_slice(current)
        again = decode_slice(json.loads(json.dumps(encoded)))
        assert again == current
        assert [member.extra for member in again.endpoints] == [
            member.extra for member in current.endpoints
        ]
        assert spelled(encode_slice(again)) == spelled(encoded)


@given(
    stated=st.tuples(*[st.none() | st.booleans()] * 3),
    changes=st.dictionaries(
        st.sampled_from(["ready", "serving", "terminating"]), st.booleans(), max_size=3
    ),
)
def test_conditions_that_a_program_changes_are_written(
    stated: tuple[bool | None, ...], changes: dict[str, bool]
) -> None:
    names = ("ready", "serving", "terminating")
    manifest = {
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": dict(zip(names, stated, strict=True))}
        ],
    }
    model = decode_slice(manifest)
    (member,) = model.endpoints
    changed = attrs.evolve(member, conditions=attrs.evolve(member.conditions, **changes))
    (again,) = decode_slice(encode_slice(attrs.evolve(model, endpoints=(changed,)))).endpoints
    assert again.conditions == changed.conditions


# --- nothing shared ---------------------------------------------------------------------------


def _scramble(value: Any) -> None:
    """Change everything in a JSON value that can be changed."""
    if isinstance(value, dict):
        for item in value.values():
            _scramble(item)
        value.clear()
        value["scrambled"] = True
    elif isinstance(value, list):
        for item in value:
            _scramble(item)
        value[:] = ["scrambled"]


@given(manifest=SLICES)
@example(manifest=FULL)
def test_decoding_and_encoding_share_nothing_with_their_manifests(manifest: Manifest) -> None:
    mine = copy.deepcopy(manifest)
    before = spelled(mine)
    model = decode_slice(mine)
    assert spelled(mine) == before
    encoded = encode_slice(model)
    spelling = spelled(encoded)
    _scramble(mine)
    assert spelled(encode_slice(model)) == spelling
    _scramble(encoded)
    assert spelled(encode_slice(model)) == spelling


# --- v1beta1 ----------------------------------------------------------------------------------

_ZONE: Final = "topology.kubernetes.io/zone"
_HOSTNAME: Final = "kubernetes.io/hostname"


@given(
    zone=st.sampled_from([None, "a"]),
    node=st.sampled_from([None, "node-1"]),
    in_map=st.booleans(),
    others=st.dictionaries(st.sampled_from(["rack", "region"]), st.just("r")),
)
def test_v1beta1_says_in_its_topology_what_v1_says_in_fields(
    zone: str | None, node: str | None, in_map: bool, others: dict[str, str]
) -> None:
    topology = dict(others)
    if zone:
        topology[_ZONE] = zone
    if node and in_map:
        topology[_HOSTNAME] = node
    beta = {
        "apiVersion": "discovery.k8s.io/v1beta1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": node, "topology": topology}],
    }
    before = copy.deepcopy(beta)
    encoded = encode_slice(decode_slice(beta))
    assert beta == before
    member: Manifest = {"addresses": ["10.0.0.1"], "conditions": {}}
    if zone:
        member["zone"] = zone
    if node:
        member["nodeName"] = node
    if others:
        member["deprecatedTopology"] = others
    assert encoded["apiVersion"] == "discovery.k8s.io/v1"
    assert encoded["endpoints"] == [member]


# --- nonsense ---------------------------------------------------------------------------------

_SERVICE: Final[Manifest] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
    "spec": {
        "selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": "http", "protocol": "TCP", "name": "http"}],
        "clusterIP": "10.96.0.1",
        "ipFamilies": ["IPv4"],
        "publishNotReadyAddresses": False,
        "trafficDistribution": "PreferClose",
        "type": "ClusterIP",
    },
}
_POD: Final[Manifest] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web-0", "namespace": "shop", "deletionTimestamp": None},
    "spec": {
        "nodeName": "node-1",
        "hostname": "web-0",
        "subdomain": "web",
        "containers": [{"ports": [{"containerPort": 80, "name": "http", "protocol": "TCP"}]}],
        "initContainers": [{"restartPolicy": "Always", "ports": [{"containerPort": 90}]}],
    },
    "status": {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}
_NODE: Final[Manifest] = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node-1", "labels": {_ZONE: "a"}, "annotations": {"a": "b"}},
    "status": {
        "allocatable": {"cpu": "3920m"},
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}
_DOORS: Final[dict[str, tuple[Manifest, Callable[[Manifest], object]]]] = {
    "slice": (FULL, decode_slice),
    "service": (_SERVICE, decode_service),
    "pod": (_POD, decode_pod),
    "node": (_NODE, decode_node),
}
Step = str | int


def _places(value: Any, path: tuple[Step, ...] = ()) -> Iterator[tuple[Step, ...]]:
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for name, item in items:
        yield (*path, name)
        yield from _places(item, (*path, name))


def _at(value: Any, path: str) -> Any:
    """What a path of an error leads to."""
    for name, position in re.findall(r"([^.\[\]]+)(?=[.\[]|$)|\[([^\]]*)\]", path):
        value = value[int(position) if isinstance(value, list) else name or position]
    return value


def _refusal(decode: Callable[[Manifest], object], manifest: Manifest) -> ManifestError | None:
    try:
        decode(manifest)
    except ManifestError as error:
        return error
    return None


@pytest.mark.parametrize("door", _DOORS)
@given(data=st.data())
def test_nonsense_anywhere_is_read_or_refused_by_path_and_value(
    door: str, data: st.DataObject
) -> None:
    valid, decode = _DOORS[door]
    manifest = copy.deepcopy(valid)
    place = data.draw(st.sampled_from(list(_places(valid))))
    parent: Any = manifest
    for step in place[:-1]:
        parent = parent[step]
    parent[place[-1]] = data.draw(JSON)
    before = spelled(manifest)
    error = _refusal(decode, manifest)
    if error is not None:
        assert error.message
        counted = re.search(r"at most|must be 1\.\.100 ", error.message)
        if error.value is not None and not counted and not re.search("[<ü]", error.path):
            assert spelled(_at(manifest, error.path)) == spelled(error.value)
    assert spelled(manifest) == before


#: As Kubernetes writes an endpoint of a Pod, for which there is a path of its own.
_PLAIN: Final[Manifest] = {
    "addresses": ["10.0.0.1"],
    "conditions": {"ready": True, "serving": True, "terminating": False},
    "hostname": "web-0",
    "nodeName": "node-1",
    "zone": "a",
    "hints": {"forZones": [{"name": "a"}]},
    "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web-0", "uid": "u"},
}


class _Text(str):
    __slots__ = ()


_ODD: Final = JSON | st.sampled_from(
    [0, 1, 1.0, "", "a\0", _Text("b"), ["10.0.0.1", "10.0.0.2"], ["fd00::1"], [7], ["::01"], []]
)


#: What of it may be odd, or absent, or too much.
_SPOTS: Final = [("", name) for name in [*_PLAIN, "later"]] + [
    (part, name)
    for part in ("conditions", "hints", "targetRef")
    for name in [*_PLAIN[part], "later"]
]
_ABSENT: Final = object()


@given(
    changes=st.dictionaries(
        st.sampled_from(_SPOTS), st.just(_ABSENT) | st.booleans() | _ODD, max_size=3
    )
)
@example(changes={})
@example(changes={("conditions", "ready"): 1})
@example(changes={("", "addresses"): [7], ("", "hints"): {"forZones": [{"name": ""}]}})
def test_an_endpoint_is_read_or_refused_the_same_however_it_is_spelled(
    changes: dict[tuple[str, str], Any],
) -> None:
    member = copy.deepcopy(_PLAIN)
    for (part, name), value in sorted(changes.items(), key=lambda item: item[0], reverse=True):
        parent = member[part] if part else member
        if value is _ABSENT:
            parent.pop(name, None)
        else:
            parent[name] = value
    # Only a dict takes the short path.
    assert _read(member) == _read(MappingProxyType(member))


def _read(member: Mapping[str, Any]) -> tuple[object, ...]:
    """Everything that can be told of an endpoint, or of why it is none."""
    try:
        (one,) = decode_slice({"addressType": "IPv4", "endpoints": [member]}).endpoints
    except ManifestError as error:
        return error.path, error.message, repr(error.value)
    hidden = one.key, one._state, one._uid, one._families, one.extra
    return repr(one), hidden, spelled(encode_slice(stored_as(one)))


def stored_as(member: Endpoint) -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(name="web-1"), address_type="IPv4", endpoints=(member,)
    )


@pytest.mark.parametrize("door", _DOORS)
def test_the_objects_that_nonsense_is_put_in_are_sound(door: str) -> None:
    valid, decode = _DOORS[door]
    assert decode(valid) == decode(copy.deepcopy(valid))


@given(documents=st.lists(JSON | SLICES, max_size=3))
@example(documents=[{"kind": "List", "items": [{"kind": ["Pod"]}, {"kind": {}}, 1, None]}])
@example(documents=[{"kind": "PodList", "items": {"kind": "Pod"}}])
@example(documents=[{"kind": "Pod", "apiVersion": 1, "metadata": {"name": []}}])
def test_no_document_is_too_odd_for_decode_objects(documents: list[Any]) -> None:
    before = spelled(documents)
    found = decode_objects(documents)
    assert spelled(documents) == before
    assert all(isinstance(problem, ManifestError) for problem in found.problems)


@given(position=st.integers(0, 3), junk=JSON)
def test_one_bad_item_never_loses_the_others(position: int, junk: Any) -> None:
    good = [_SERVICE, _POD, _NODE, FULL]
    items = [*good[:position], {"kind": "Pod", "apiVersion": "v1", "metadata": junk}]
    items += good[position:]
    found = decode_objects([{"kind": "List", "apiVersion": "v1", "items": items}])
    assert found.services == (decode_service(_SERVICE),)
    assert found.pods == (decode_pod(_POD),)
    assert found.nodes == (decode_node(_NODE),)
    assert found.slices == (decode_slice(FULL),)
    (problem,) = found.problems
    assert problem.path.startswith(f"items[{position}] (Pod")


# --- found before -----------------------------------------------------------------------------


def test_hints_that_only_hold_unknown_fields_are_written() -> None:
    member = endpoint(1, extra={"hints": {"forRacks": 1}})
    (encoded,) = encode_slice(stored("web-1", member))["endpoints"]
    assert encoded["hints"] == {"forRacks": 1}


def test_no_hints_lose_to_what_is_modelled() -> None:
    member = Endpoint(
        ("10.0.0.1",), hints=EndpointHints(for_nodes=("n",)), extra={"hints": {"x": 1}}
    )
    item: EndpointSlice = stored("web-1", member)
    (encoded,) = encode_slice(item)["endpoints"]
    assert encoded["hints"] == {"forNodes": [{"name": "n"}], "x": 1}
