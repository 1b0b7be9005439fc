"""Manifests of EndpointSlices, in every spelling, with unknown fields at every level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hypothesis import strategies as st

Manifest = dict[str, Any]

#: Text that escapes, sizes and codecs trip over. The last is half of a pair, which JSON can spell.
ODD_TEXT: Final = (
    "",
    "web",
    "x" * 127,
    "x" * 128,
    "ümlaut",
    "日本",
    "\U0001f600",
    "a<b>&c",
    'quote" back\\slash',
    "tab\tline\nreturn\r\b\f\x01\x7f",
    "\u2028\u2029",
    "\ud800",
)
TEXT: Final = st.sampled_from(ODD_TEXT)
#: Names may be anything but hold the character that parts them in a key.
NAMES: Final = st.sampled_from([text for text in ODD_TEXT if "\0" not in text])
#: Any JSON.
JSON: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
#: Unknown fields are kept whatever they hold; a few odd values, because these are fast.
_ODD_JSON: Final = st.sampled_from(
    [
        None,
        False,
        True,
        0,
        -(2**63),
        1.0,
        -1.5e300,
        "",
        "a<b>&c",
        '\u2028\ud800"',
        [],
        {},
        [None, 1, [True, {"": []}]],
        {"futureField": None, "a<b": {"ü": [{"x": 1.5}, ""]}},
    ]
)
_UNKNOWN: Final = {"futureField": _ODD_JSON, "future.field/ü<": _ODD_JSON}
_FLAG: Final = st.none() | st.booleans()
_TIMES: Final = st.sampled_from(
    [
        None,
        "2026-06-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00Z",
        "2038-01-19T03:14:08+02:00",
        "9999-12-31T23:59:59Z",
    ]
)
_MAPS: Final = st.none() | st.dictionaries(TEXT, TEXT, max_size=2)


def _object(
    required: Mapping[str, st.SearchStrategy[Any]], optional: Mapping[str, st.SearchStrategy[Any]]
) -> st.SearchStrategy[Manifest]:
    known = {name: st.none() | values for name, values in optional.items()}
    return st.fixed_dictionaries(dict(required), optional={**known, **_UNKNOWN})


OWNERS: Final = _object(
    {},
    {
        "apiVersion": TEXT,
        "kind": TEXT,
        "name": TEXT,
        "uid": TEXT,
        "controller": _FLAG,
        "blockOwnerDeletion": _FLAG,
    },
)
MANAGED_FIELDS: Final = _object(
    {},
    {
        "manager": TEXT,
        "operation": TEXT,
        "apiVersion": TEXT,
        "time": _TIMES,
        "fieldsType": TEXT,
        "fieldsV1": st.dictionaries(TEXT, _ODD_JSON, max_size=2),
        "subresource": TEXT,
    },
)
METADATA: Final = _object(
    {},
    {
        "name": TEXT,
        "generateName": TEXT,
        "namespace": TEXT,
        "selfLink": TEXT,
        "uid": TEXT,
        "resourceVersion": TEXT,
        "generation": st.sampled_from([0, 1, 127, 128, 2**63 - 1]),
        "labels": _MAPS,
        "annotations": _MAPS,
        "ownerReferences": st.lists(OWNERS, max_size=1),
        "creationTimestamp": _TIMES,
        "deletionTimestamp": _TIMES,
        "deletionGracePeriodSeconds": st.sampled_from([-1, 0, 30, 2**63 - 1]),
        "finalizers": st.lists(TEXT, max_size=2),
        "managedFields": st.lists(MANAGED_FIELDS, max_size=1),
    },
)
PORTS: Final = _object(
    {},
    {
        "name": TEXT,
        "port": st.sampled_from([1, 127, 128, 65535]),
        "protocol": st.sampled_from(["", "TCP", "UDP", "SCTP"]),
        "appProtocol": TEXT,
    },
)
REFERENCES: Final = _object(
    {},
    dict.fromkeys(
        ["kind", "namespace", "name", "uid", "apiVersion", "fieldPath", "resourceVersion"], NAMES
    ),
)
CONDITIONS: Final = _object({}, dict.fromkeys(["ready", "serving", "terminating"], _FLAG))
_ZONES: Final = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(["a", "zone-b", "ümlaut", "x" * 128])}),
    max_size=2,
)
HINTS: Final = _object({}, {"forZones": _ZONES, "forNodes": _ZONES})
ADDRESSES: Final = {
    "IPv4": ("10.0.0.1", "10.0.0.2", "255.255.255.255"),
    "IPv6": ("::1", "fd00::2", "2001:db8:1:2:3:4:5:6"),
    "FQDN": ("a.example.com", "b.example.com.", "x"),
}
_BY_TYPE: Final = {
    address_type: _object(
        {"addresses": st.lists(st.sampled_from(addresses), min_size=1, max_size=2)},
        {
            "conditions": CONDITIONS,
            "hostname": NAMES,
            "nodeName": NAMES,
            "zone": NAMES,
            "targetRef": REFERENCES,
            "hints": HINTS,
            "deprecatedTopology": _MAPS,
        },
    )
    for address_type, addresses in ADDRESSES.items()
}


def _slices_of(address_type: str) -> st.SearchStrategy[Manifest]:
    return _object(
        {"addressType": st.just(address_type)},
        {
            "apiVersion": st.sampled_from(["", "discovery.k8s.io/v1"]),
            "kind": st.sampled_from(["", "EndpointSlice"]),
            "metadata": METADATA,
            "ports": st.lists(PORTS, max_size=1),
            "endpoints": st.lists(_BY_TYPE[address_type], max_size=2),
        },
    )


#: Valid EndpointSlices as JSON, most of them spelled in another than the canonical way.
SLICES: Final = st.sampled_from(sorted(ADDRESSES)).flatmap(_slices_of)
