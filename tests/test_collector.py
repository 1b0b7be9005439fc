"""The garbage collector is paused, and comes back as it was."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any, Final

import pytest

from endpointslice import (
    ManifestError,
    decode_objects,
    decode_pods,
    decode_slices,
    encode_slices,
    group_endpoints,
)
from endpointslice.collector import collector_paused
from tests.builders import stored
from tests.test_grouping import node, pod, service

_SLICE: Final = {"addressType": "IPv4", "metadata": {"name": "web-1"}}
_POD: Final = {"metadata": {"name": "web-0"}, "spec": {}, "status": {}}


@pytest.fixture(params=[True, False], ids=["on", "off"])
def is_on(request: pytest.FixtureRequest) -> Iterator[bool]:
    """The collector is on, or off."""
    before = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    (gc.enable if before else gc.disable)()


def _watched(items: list[Any], seen: list[bool]) -> Iterator[Any]:
    """The items, and whether the collector is on while they are read."""
    for item in items:
        seen.append(gc.isenabled())
        yield item


def test_a_pause_ends_as_it_began(is_on: bool) -> None:
    with collector_paused():
        assert not gc.isenabled()
    assert gc.isenabled() is is_on


def test_a_pause_ends_with_what_is_raised(is_on: bool) -> None:
    with pytest.raises(ZeroDivisionError), collector_paused():
        raise ZeroDivisionError
    assert gc.isenabled() is is_on


def test_a_pause_within_a_pause_does_not_end_it(is_on: bool) -> None:
    with collector_paused():
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled() is is_on


@pytest.mark.parametrize(
    ("door", "items"),
    [
        (decode_slices, [_SLICE, _SLICE]),
        (decode_pods, [_POD]),
        (decode_objects, [{**_SLICE, "kind": "EndpointSlice"}]),
        (encode_slices, [stored("web-1", 1)]),
        (lambda pods: group_endpoints(service(), pods, (node(),)), [pod(1), pod(2)]),
    ],
    ids=["decode_slices", "decode_pods", "decode_objects", "encode_slices", "group_endpoints"],
)
def test_bulk_work_pauses_the_collector(door: Any, items: list[Any], is_on: bool) -> None:
    seen: list[bool] = []
    door(_watched(items, seen))
    assert seen == [False] * len(items)
    assert gc.isenabled() is is_on


def test_bad_input_leaves_the_collector_as_it_was(is_on: bool) -> None:
    with pytest.raises(ManifestError):
        decode_slices([_SLICE, {}])
    assert gc.isenabled() is is_on


def test_files_are_read_while_the_collector_is_paused(is_on: bool) -> None:
    reading = pytest.importorskip("endpointslice.cli.reading")

    class Watched:
        def read(self) -> bytes:
            seen.append(gc.isenabled())
            return b'{"kind": "EndpointSlice", "addressType": "IPv4", "metadata": {"name": "a"}}'

    seen: list[bool] = []
    assert len(reading.read_objects(["-"], stdin=Watched()).slices) == 1
    assert seen == [False]
    assert gc.isenabled() is is_on
