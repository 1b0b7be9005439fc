"""How well what stands is packed."""

from __future__ import annotations

import pytest

from endpointslice import (
    Endpoint,
    EndpointGroup,
    EndpointPort,
    EndpointSlice,
    Fill,
    GroupKey,
    MinimalWrites,
    ModelError,
    ObjectMeta,
    SliceTemplate,
    apply_plan,
    measure_fill,
    reconcile,
)


def slice_of(
    name: str, *addresses: str, address_type: str = "IPv4", port: int = 80
) -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(namespace="shop", name=name),
        address_type=address_type,
        ports=[EndpointPort(port=port)],
        endpoints=[Endpoint([address]) for address in addresses],
    )


def test_nothing_is_full() -> None:
    assert measure_fill([]) == Fill()


def test_each_group_needs_its_own_slices() -> None:
    slices = [
        slice_of("a", "10.0.0.1", "10.0.0.2"),
        slice_of("b", "10.0.0.3"),
        slice_of("c", "10.0.0.1", port=81),
        slice_of("d", "2001:db8::1", address_type="IPv6"),
    ]
    assert measure_fill(slices) == Fill(slices=4, desired_slices=3, endpoints=5)
    assert measure_fill(slices, max_endpoints_per_slice=2) == Fill(
        slices=4, desired_slices=4, endpoints=5
    )


def test_a_copy_counts_once_and_needs_no_room() -> None:
    slices = [slice_of("a", "10.0.0.1", "10.0.0.2"), slice_of("b", "10.0.0.2")]
    assert measure_fill(slices, max_endpoints_per_slice=2) == Fill(
        slices=2, desired_slices=1, endpoints=2, duplicates=1
    )


def test_a_placeholder_is_wanted_only_where_its_address_type_has_no_endpoints() -> None:
    assert measure_fill([slice_of("a")]) == Fill(slices=1, desired_slices=1)
    slices = [slice_of("a"), slice_of("b", "10.0.0.1", port=81)]
    assert measure_fill(slices) == Fill(slices=2, desired_slices=1, endpoints=1)
    slices = [slice_of("a", address_type="IPv6"), slice_of("b", "10.0.0.1")]
    assert measure_fill(slices) == Fill(slices=2, desired_slices=2, endpoints=1)


def test_fills_add_up() -> None:
    one = measure_fill([slice_of("a", "10.0.0.1")])
    other = measure_fill([slice_of("b", "10.0.0.1"), slice_of("c", "10.0.0.1")])
    assert one + other == Fill(slices=3, desired_slices=2, endpoints=2, duplicates=1)
    assert one + Fill() == one


def test_the_capacity_is_checked() -> None:
    with pytest.raises(ModelError):
        measure_fill([], max_endpoints_per_slice=0)


@pytest.mark.parametrize("count", [1, 7, 8, 20])
def test_what_the_fewest_writes_make_of_nothing_is_the_optimum(count: int) -> None:
    key = GroupKey(address_type="IPv4", ports=[EndpointPort(port=80)])
    group = EndpointGroup(key=key, endpoints=[Endpoint([f"10.0.0.{i}"]) for i in range(count)])
    template = SliceTemplate(metadata=ObjectMeta(namespace="shop", generate_name="web-"))
    plan = reconcile(
        [group], [], template=template, strategy=MinimalWrites(), max_endpoints_per_slice=7
    )
    fill = measure_fill(apply_plan([], plan), max_endpoints_per_slice=7)
    assert fill.slices == fill.desired_slices == -(-count // 7)
    assert fill.endpoints == count
