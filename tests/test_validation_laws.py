"""Laws of validation: nothing crashes it, plans break no rule, and schemas agree."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import import_module
from importlib.resources import files
from typing import Any, Final

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from endpointslice import (
    Generational,
    KubernetesPacking,
    MinimalWrites,
    PackingStrategy,
    Rendezvous,
    Repack,
    SingleObject,
    Violation,
    decode_slice,
    encode_slice,
    reconcile,
    validate_plan,
    validate_slice,
    validate_update,
    validation,
)
from endpointslice.errors import ManifestError
from tests.builders import IPV4, IPV6, Case, cases
from tests.conformance import read_cases
from tests.manifest_builders import JSON
from tests.test_conformance import _DATA

STRATEGIES: Final[list[PackingStrategy]] = [
    MinimalWrites(),
    Generational(),
    KubernetesPacking(),
    Rendezvous(),
    Repack(),
    SingleObject(),
]
every_strategy = pytest.mark.parametrize(
    "strategy", STRATEGIES, ids=lambda strategy: type(strategy).__name__
)

# --- nonsense ---------------------------------------------------------------------------------

_SOUND: Final[dict[str, Any]] = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {
        "name": "web-a",
        "generateName": "web-",
        "namespace": "shop",
        "labels": {"app": "web"},
        "annotations": {"a": "b"},
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": "u", "controller": True}
        ],
        "finalizers": ["example.com/hold"],
        "creationTimestamp": "2026-06-01T00:00:00Z",
        "deletionTimestamp": None,
        "deletionGracePeriodSeconds": None,
        "managedFields": [{"manager": "kubectl"}],
    },
    "addressType": "IPv4",
    "ports": [{"name": "http", "port": 80, "protocol": "TCP", "appProtocol": "h2c"}],
    "endpoints": [
        {
            "addresses": ["10.0.0.1"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "hostname": "web-0",
            "nodeName": "node-1",
            "zone": "a",
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web-0", "uid": "u"},
            "hints": {"forZones": [{"name": "a"}], "forNodes": [{"name": "node-1"}]},
            "deprecatedTopology": {"rack": "r1"},
        }
    ],
}


def _places(value: object, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a value."""
    inner: list[tuple[Any, object]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [at, *(place for key, item in inner for place in _places(item, (*at, key)))]


def _put(value: Any, at: tuple[Any, ...], new: object) -> Any:
    if not at:
        return new
    key, *rest = at
    if isinstance(value, dict):
        return {**value, key: _put(value[key], tuple(rest), new)}
    return [_put(item, tuple(rest), new) if i == key else item for i, item in enumerate(value)]


_PLACES: Final = _places(_SOUND)
#: What no JSON reader gives, and some other may.
_ODD: Final = st.sampled_from(
    [float("nan"), b"bytes", {1, 2}, {None: 1}, {("a",): [1]}, object, (), range(3)]
)


@st.composite
def nonsense(draw: st.DrawFn, odd: st.SearchStrategy[Any] = _ODD) -> Any:
    """A sound slice, in which anything stands in a few places."""
    found: Any = _SOUND
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.sampled_from(_PLACES))
        try:
            found = _put(found, at, draw(JSON | odd))
        except (IndexError, KeyError, TypeError):  # it stood in what has gone
            continue
    return found


def _nested(depth: int, kind: type) -> Any:
    found: Any = None
    for _ in range(depth):
        found = {"endpoints": found} if kind is dict else [found]
    return found


@given(nonsense(), nonsense())
@example(None, None)
def test_nothing_crashes_on_nonsense(old: Any, new: Any) -> None:
    _assert_judged(old, new)


def test_nothing_crashes_on_a_number_of_too_many_digits() -> None:
    huge = 16**5000
    for at in _PLACES:
        _assert_judged(_SOUND, _put(_SOUND, at, huge))


def test_nothing_crashes_on_what_is_nested_deep() -> None:
    deep = {**_SOUND, "endpoints": _nested(100_000, list), "ports": _nested(100_000, dict)}
    again = {**deep, "endpoints": _nested(100_000, list)}
    for old, new in ((deep, again), (deep, _SOUND), ({**_SOUND, "endpoints": [deep]}, deep)):
        _assert_judged(old, new)
    assert len(validate_update(deep, again)) > 0


def _assert_judged(old: Any, new: Any) -> None:
    for found in (validate_slice(new), validate_update(old, new)):
        assert all(isinstance(item, Violation) for item in found)
        assert all(str(item).startswith(item.field) for item in found)
        assert found or new is not None


@given(nonsense(JSON))
@example(_put(_SOUND, ("endpoints", 0, "hints"), {"forZones": [None]}))
@example(_put(_SOUND, ("ports", 0), None))
def test_a_slice_that_breaks_no_rule_can_be_decoded(manifest: Any) -> None:
    if validate_slice(manifest) != ():
        return
    refused = ""
    try:
        model = decode_slice(manifest)
    except ManifestError as error:
        refused = str(error)
    else:
        assert validate_slice(model) == ()
    # What only the server takes: some ports; zones and nodes of hints without a name; null in a
    # list or a map, which it reads as what says nothing; and what stands in fields that are not
    # modelled.
    endpoint = ("endpoints[0].hints.for", "endpoints[0].deprecatedTopology")
    taken = ("ports[0].port", "ports[0]: ", "metadata", *endpoint)
    assert not refused or refused.startswith(taken)


def _all_manifests() -> list[Any]:
    return [case["input"] for case in read_cases(_DATA / "validate.jsonl.gz")]


@given(nonsense())
@example(_SOUND)
def test_the_common_case_is_told_as_all_others_are(manifest: Any) -> None:
    _assert_no_shortcut_matters(manifest)


def test_the_common_case_is_told_as_all_others_are_in_recorded_slices() -> None:
    for manifest in _all_manifests():
        _assert_no_shortcut_matters(manifest)


def _assert_no_shortcut_matters(manifest: Any) -> None:
    expected = list(map(str, validate_slice(manifest)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "_is_plain", lambda endpoint, family: False)
        assert list(map(str, validate_slice(manifest))) == expected


# --- plans ------------------------------------------------------------------------------------


def _result(case: Case, strategy: PackingStrategy) -> Any:
    return reconcile(
        case.desired,
        case.current,
        template=case.template,
        strategy=strategy,
        max_endpoints_per_slice=case.capacity,
    )


@every_strategy
@given(case=cases(over_capacity=False, kinds=(IPV4, IPV6)))
def test_the_server_takes_every_write_of_every_strategy(
    strategy: PackingStrategy, case: Case
) -> None:
    plan = _result(case, strategy)
    assert validate_plan(plan) == ()
    for operation in plan.operations:
        if operation.after is not None:
            assert validate_slice(operation.after) == ()
            assert validate_slice(encode_slice(operation.after)) == ()


@every_strategy
@given(case=cases(over_capacity=False))
def test_every_write_fits_the_published_schema(strategy: PackingStrategy, case: Case) -> None:
    validator = _schema()
    for operation in _result(case, strategy).operations:
        if operation.after is not None:
            assert list(validator.iter_errors(encode_slice(operation.after))) == []


@lru_cache
def _schema() -> Any:
    """The JSON schema of discovery.k8s.io/v1, as Kubernetes 1.36 publishes it."""
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / "v1.36.0-local"
    schema, definitions = (
        json.loads((folder / name).read_text(encoding="utf-8"))
        for name in ("endpointslice-discovery-v1.json", "_definitions.json")
    )
    jsonschema, referencing = map(import_module, ("jsonschema", "referencing"))
    registry = referencing.Resource.from_contents(definitions) @ referencing.Registry()
    return jsonschema.Draft202012Validator(schema, registry=registry)


def test_the_schema_refuses_what_is_of_another_type() -> None:
    assert list(_schema().iter_errors(_SOUND)) == []
    wrong = [
        {**_SOUND, "addressType": 4},
        {**_SOUND, "endpoints": [{"addresses": "10.0.0.1"}]},
        {**_SOUND, "endpoints": [{"addresses": [], "conditions": {"ready": "true"}}]},
        {**_SOUND, "ports": [{"port": "80"}]},
        {**_SOUND, "metadata": {"labels": {"a": 1}}},
    ]
    for manifest in wrong:
        assert list(_schema().iter_errors(manifest)) != []
        assert "FieldValueTypeInvalid" in {item.type for item in validate_slice(manifest)}


@given(cases())
def test_a_wrong_endpoint_makes_one_write_wrong(case: Case) -> None:
    wrong = tuple(
        attrs.evolve(
            group,
            endpoints=tuple(
                type(item)(item.addresses, hostname="No Label") for item in group.endpoints
            ),
        )
        for group in case.desired
    )
    plan = _result(attrs.evolve(case, desired=wrong, current=()), MinimalWrites())
    found = validate_plan(plan)
    assert len(found) == sum(len(group.endpoints) for group in wrong)
    assert {item.field.rpartition(".")[2] for item in found} <= {"hostname"}
