"""Errors carry what is wrong as values, and survive what errors go through."""

from __future__ import annotations

import copy
import pickle
from typing import Final

import pytest

from endpointslice import (
    ConflictError,
    DuplicateEndpointError,
    Endpoint,
    EndpointSliceError,
    ManifestError,
    ModelError,
    TraceError,
    UnsoundPlanError,
)

_ONE: Final = Endpoint(("10.0.0.1",), zone="a")
_OTHER: Final = Endpoint(("10.0.0.1",), zone="b")

ERRORS: Final[tuple[EndpointSliceError, ...]] = (
    EndpointSliceError(),
    EndpointSliceError("what"),
    ManifestError("", "must be an object"),
    ManifestError("endpoints[3].addresses[0]", "is not an address", "nonsense"),
    ManifestError("endpoints[3].addresses[0]", "is not an address", ["a", {"list": 1}]),
    ModelError("max_endpoints_per_slice", "must be 1..1000", 0),
    DuplicateEndpointError(_ONE.key, _ONE, _OTHER),
    ConflictError("shop/web-1", "is not there"),
    TraceError("", "is no JSON"),
    TraceError("steps[3].set[0]", "names a pod that is not there", 5),
    UnsoundPlanError(3000, ("web-1 holds 101 endpoints",)),
    UnsoundPlanError(3000, ("web-1 holds 101 endpoints", "10.0.0.1 is missing")),
)
each_error = pytest.mark.parametrize("error", ERRORS, ids=repr)


@each_error
def test_errors_can_be_pickled_and_copied(error: EndpointSliceError) -> None:
    for again in (
        pickle.loads(pickle.dumps(error)),
        copy.copy(error),
        copy.deepcopy(error),
    ):
        assert again is not error
        assert again == error
        assert hash(again) == hash(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


@each_error
def test_errors_are_equal_if_type_and_payload_are(error: EndpointSliceError) -> None:
    equal = [other for other in ERRORS if other == error]
    assert equal == [error]
    assert error != error.args
    assert type(error)(*error.payload) == error


def test_errors_of_two_types_differ_though_their_payload_is_the_same() -> None:
    manifest: EndpointSliceError = ManifestError("port", "must be 1..65535", 0)
    model: EndpointSliceError = ModelError("port", "must be 1..65535", 0)
    assert manifest.payload == model.payload
    assert manifest != model


@each_error
def test_every_error_is_caught_by_the_base(error: EndpointSliceError) -> None:
    with pytest.raises(EndpointSliceError) as caught:
        raise error
    assert caught.value is error
    assert caught.value.payload == error.args


def test_a_manifest_error_names_path_and_value() -> None:
    error = ManifestError("endpoints[3].addresses[0]", "is not an address", "nonsense")
    assert (error.path, error.message, error.value) == (
        "endpoints[3].addresses[0]",
        "is not an address",
        "nonsense",
    )
    assert str(error) == "endpoints[3].addresses[0]: is not an address, got 'nonsense'"
    assert str(ManifestError("", "must be an object")) == "must be an object"
    assert str(ManifestError("spec", "is required")) == "spec: is required"


def test_values_that_are_false_are_shown() -> None:
    assert str(ManifestError("port", "must be 1..65535", 0)) == "port: must be 1..65535, got 0"
    assert str(ModelError("port", "must be 1..65535", False)).endswith("got False")


def test_a_model_error_names_field_and_value() -> None:
    error = ModelError("max_endpoints_per_slice", "must be 1..1000", 1001)
    assert (error.field, error.message, error.value) == (
        "max_endpoints_per_slice",
        "must be 1..1000",
        1001,
    )
    assert str(error) == "max_endpoints_per_slice: must be 1..1000, got 1001"
    assert str(ModelError("name", "is required")) == "name: is required"


def test_a_duplicate_error_names_the_identity_and_both_endpoints() -> None:
    error = DuplicateEndpointError(_ONE.key, _ONE, _OTHER)
    assert (error.key, error.first, error.second) == (_ONE.key, _ONE, _OTHER)
    assert repr(_ONE.key) in str(error)
    assert str(error).count("10.0.0.1") == 3


def test_a_conflict_error_names_the_slice() -> None:
    error = ConflictError("shop/web-1", "is not there")
    assert (error.name, error.message) == ("shop/web-1", "is not there")
    assert str(error) == "shop/web-1: is not there"


def test_a_trace_error_names_path_and_value() -> None:
    error = TraceError("steps[3].set[0]", "names a pod that is not there", 5)
    assert (error.path, error.message, error.value) == (
        "steps[3].set[0]",
        "names a pod that is not there",
        5,
    )
    assert str(error) == "steps[3].set[0]: names a pod that is not there, got 5"
    assert str(TraceError("", "is no JSON")) == "is no JSON"


def test_an_error_of_an_unsound_plan_names_the_sync_and_the_problems() -> None:
    error = UnsoundPlanError(3000, ("web-1 holds 101 endpoints", "10.0.0.1 is missing"))
    assert error.at == 3000
    assert error.problems == ("web-1 holds 101 endpoints", "10.0.0.1 is missing")
    assert str(error) == "sync at 3000 ms: web-1 holds 101 endpoints (and 1 more)"
    assert str(UnsoundPlanError(0, ("it is wrong",))) == "sync at 0 ms: it is wrong"


def test_a_long_value_is_cut_in_the_message_and_whole_in_the_attribute() -> None:
    value = "x" * 10_000
    error = ManifestError("metadata.name", "must not be so long", value)
    assert error.value == value
    assert str(error).endswith("...")
    assert len(str(error)) < 200


def test_a_lone_surrogate_in_a_value_does_not_break_the_message() -> None:
    assert "\\ud800" in str(ManifestError("kind", "must be Pod", "\ud800"))
    assert str(ManifestError("kind", "must be Pod", "\ud800")).encode()


@pytest.mark.parametrize(
    ("path", "prefix", "expected"),
    [
        ("", "spec", "spec"),
        ("name", "metadata", "metadata.name"),
        ("[3]", "endpoints", "endpoints[3]"),
        ("[3].zone", "items[0].endpoints", "items[0].endpoints[3].zone"),
        ("a.b", "c[1]", "c[1].a.b"),
    ],
)
def test_within_puts_the_path_below_another(path: str, prefix: str, expected: str) -> None:
    error = ManifestError(path, "is wrong", 7)
    assert error.within(prefix) == ManifestError(expected, "is wrong", 7)
    assert error.path == path
