"""Laws of the Endpoints API: what conversions keep, and what mirrors come to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import attrs
from hypothesis import example, given
from hypothesis import strategies as st

from endpointslice import (
    LABEL_MANAGED_BY,
    LABEL_SERVICE_NAME,
    MAX_ADDRESSES_PER_ENDPOINTS,
    MIRRORING_MANAGED_BY,
    AddressType,
    Endpoint,
    EndpointAddress,
    EndpointConditions,
    EndpointGroup,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    FrozenDict,
    Generational,
    LossReason,
    MinimalWrites,
    ObjectMeta,
    ObjectReference,
    Protocol,
    SingleObject,
    apply_plan,
    canonical_subsets,
    check_plan,
    decode_endpoints,
    decode_slice,
    encode_endpoints,
    encode_slice,
    endpoints_to_groups,
    losses_in_endpoints,
    losses_in_slices,
    mirror,
    slices_to_endpoints,
    validate_plan,
)

_PORTS: Final = (
    EndpointPort(name="http", port=80),
    EndpointPort(name="http", port=81),
    EndpointPort(name="dns", port=53, protocol=Protocol.UDP),
    EndpointPort(port=80),
    EndpointPort(port=443, app_protocol="h2c"),
)
_IPS: Final = ("10.0.0.1", "10.0.0.2", "10.0.0.10", "fd00::1", "fd00::2")
#: Other spellings of these, and what is no address.
_ODD_IPS: Final = (*_IPS, "010.0.0.1", "::ffff:10.0.0.2", "FD00::0:1", "nonsense", "10.0.0")
_NODES: Final = (None, "n1", "n2")


def _target(number: int | None) -> ObjectReference | None:
    # Two uids have one name, as Pods of a StatefulSet that come back have.
    if number is None:
        return None
    return ObjectReference("Pod", "shop", f"db-{number // 2}", f"u{number}")


@st.composite
def addresses(draw: st.DrawFn, ips: tuple[str, ...] = _ODD_IPS) -> EndpointAddress:
    return EndpointAddress(
        ip=draw(st.sampled_from(ips)),
        hostname=draw(st.sampled_from([None, None, "h"])),
        node_name=draw(st.sampled_from(_NODES)),
        target_ref=_target(draw(st.sampled_from([None, 1, 2, 3]))),
    )


_PORT_LISTS: Final = st.lists(st.sampled_from(_PORTS), max_size=3, unique=True)


@st.composite
def subsets(draw: st.DrawFn) -> EndpointSubset:
    return EndpointSubset(
        addresses=draw(st.lists(addresses(), max_size=4)),
        not_ready_addresses=draw(st.lists(addresses(), max_size=3)),
        ports=draw(_PORT_LISTS),
    )


@st.composite
def objects(draw: st.DrawFn) -> Endpoints:
    return Endpoints(
        metadata=ObjectMeta(
            namespace="shop",
            name="web",
            uid=draw(st.sampled_from(["e1", "e1", "e2", ""])),
            labels=draw(st.sampled_from([FrozenDict(), FrozenDict({"team": "db"})])),
            annotations=draw(st.sampled_from([FrozenDict(), FrozenDict({"a": "b"})])),
        ),
        subsets=draw(st.lists(subsets(), max_size=4)),
    )


#: One address, one description: then the order of subsets means nothing.
def _described_once(some: Iterable[EndpointSubset]) -> list[EndpointSubset]:
    known: dict[tuple[str, str], EndpointAddress] = {}

    def the(items: Iterable[EndpointAddress]) -> list[EndpointAddress]:
        return [known.setdefault(item.identity, item) for item in items]

    return [
        attrs.evolve(
            item,
            addresses=the(item.addresses),
            not_ready_addresses=the(item.not_ready_addresses),
        )
        for item in some
    ]


@given(st.lists(subsets(), max_size=4), st.randoms(use_true_random=False))
def test_canonical_subsets_do_not_depend_on_order(some: list[EndpointSubset], random: Any) -> None:
    some = _described_once(some)
    found = canonical_subsets(some)

    def mixed(items: Iterable[Any]) -> list[Any]:
        found = list(items)
        random.shuffle(found)
        return found

    others = [
        attrs.evolve(
            item,
            addresses=mixed(item.addresses),
            not_ready_addresses=mixed(item.not_ready_addresses),
            ports=mixed(item.ports),
        )
        for item in mixed(some)
    ]
    assert canonical_subsets(others) == found


@given(st.lists(subsets(), max_size=4))
def test_canonical_subsets_are_canonical(some: list[EndpointSubset]) -> None:
    found = canonical_subsets(some)
    assert canonical_subsets(found) == found
    ports = [port for item in found for port in item.ports]
    assert len(set(ports)) == len(ports)
    for item in found:
        ready, others = ({one.identity for one in part} for part in _parts(item))
        assert ready or others
        assert ready.isdisjoint(others)


def _parts(item: EndpointSubset) -> tuple[tuple[EndpointAddress, ...], ...]:
    return (item.addresses, item.not_ready_addresses)


def _said(some: Iterable[EndpointSubset]) -> dict[tuple[Any, ...], bool]:
    """Who is ready at which port: said again, one address and one port at a time."""
    found: dict[tuple[Any, ...], bool] = {}
    for item in some:
        for port in item.ports or (None,):
            for ready, part in zip((True, False), _parts(item), strict=True):
                for one in part:
                    key = (port, *one.identity)
                    found[key] = ready and found.get(key, True)
    return found


@given(st.lists(subsets(), max_size=4))
def test_canonical_subsets_say_what_the_subsets_said(some: list[EndpointSubset]) -> None:
    before, after = _said(some), _said(canonical_subsets(some))
    with_ports = {key: ready for key, ready in before.items() if key[0] is not None}
    assert {key: ready for key, ready in after.items() if key[0] is not None} == with_ports
    for (port, *identity), ready in before.items():
        if port is None:  # kept, unless the same is said of a port
            assert any(key[1:] == tuple(identity) for key in after), ready


@given(objects())
def test_an_object_survives_encode_and_decode(endpoints: Endpoints) -> None:
    assert decode_endpoints(encode_endpoints(endpoints)) == endpoints


# --- slices -> Endpoints -> groups --------------------------------------------------------------

_NAMED: Final = _PORTS[:3]
_BY_FAMILY: Final = {AddressType.IPV4: _IPS[:3], AddressType.IPV6: _IPS[3:]}


@st.composite
def slices(draw: st.DrawFn) -> list[EndpointSlice]:
    """Slices of one Service that hold nothing but what Endpoints can say, each endpoint once."""
    found = []
    taken: dict[tuple[Any, ...], Endpoint] = {}
    for i in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(list(_BY_FAMILY)))
        ports = draw(st.lists(st.sampled_from(_NAMED), min_size=1, max_size=2, unique_by=_name_of))
        members = []
        for ip in draw(st.lists(st.sampled_from(_BY_FAMILY[kind]), unique=True)):
            ready = draw(st.booleans())
            one = taken.setdefault(
                (ip, ready),
                Endpoint(
                    (ip,),
                    EndpointConditions(ready=ready, serving=ready),
                    node_name=draw(st.sampled_from(_NODES)),
                    target_ref=ObjectReference("Pod", "shop", f"web-{ip}-{ready}", f"{ip}{ready}"),
                ),
            )
            members.append(one)
        found.append(
            EndpointSlice(
                metadata=ObjectMeta(
                    namespace="shop",
                    name=f"web-{i}",
                    labels=FrozenDict({LABEL_SERVICE_NAME: "web", LABEL_MANAGED_BY: "m"}),
                ),
                address_type=kind,
                ports=ports,
                endpoints=members,
            )
        )
    return found


def _name_of(port: EndpointPort) -> str:
    return port.name


def _facts(groups: Iterable[EndpointGroup | EndpointSlice]) -> set[tuple[Any, ...]]:
    """Which endpoint has which port."""
    found = set()
    for group in groups:
        key = group.key if isinstance(group, EndpointGroup) else group.group_key
        found |= {(key.address_type, p, e) for p in key.ports for e in group.endpoints}
    return found


@given(slices(), st.randoms(use_true_random=False))
def test_what_both_can_say_survives(some: list[EndpointSlice], random: Any) -> None:
    endpoints = slices_to_endpoints(some)
    assert losses_in_endpoints(some) == ()
    assert losses_in_slices(endpoints) == ()
    assert _facts(endpoints_to_groups(endpoints)) == _facts(some)
    assert endpoints.subsets == canonical_subsets(endpoints.subsets)
    assert slices_to_endpoints(random.sample(some, len(some))) == endpoints


_COUNTS: Final = st.integers(0, 700)


@given(st.lists(st.tuples(_COUNTS, _COUNTS), max_size=3))
@example([(0, 700), (0, 301)])
@example([(500, 1), (500, 0)])
def test_truncation_keeps_a_thousand_and_prefers_ready(parts: list[tuple[int, int]]) -> None:
    some, number = [], 0
    for i, (ready, others) in enumerate(parts):
        members = []
        for j in range(ready + others):
            ip = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
            members.append(Endpoint((ip,), _CONDITIONS[j < ready]))
            number += 1
        for start in range(0, len(members), 1000):
            piece = EndpointSlice(
                metadata=ObjectMeta(name=f"web-{i}-{start}"),
                address_type=AddressType.IPV4,
                ports=[EndpointPort(name="http", port=80 + i)],
                endpoints=members[start : start + 1000],
            )
            some.append(piece)
    made = slices_to_endpoints(some)
    ready = sum(len(item.addresses) for item in made.subsets)
    others = sum(len(item.not_ready_addresses) for item in made.subsets)
    wanted = [sum(column) for column in zip(*parts, strict=True)] or [0, 0]
    assert ready == min(wanted[0], MAX_ADDRESSES_PER_ENDPOINTS)
    assert others == min(wanted[1], MAX_ADDRESSES_PER_ENDPOINTS - ready)
    is_truncated = sum(wanted) > MAX_ADDRESSES_PER_ENDPOINTS
    assert bool(made.metadata.annotations) is is_truncated
    reasons = {loss.reason: len(loss.addresses) for loss in losses_in_endpoints(some)}
    gone = sum(wanted) - ready - others
    assert reasons == ({LossReason.TRUNCATED: gone} if gone else {})
    assert all(item.addresses or item.not_ready_addresses for item in made.subsets)


_CONDITIONS: Final = {
    True: EndpointConditions(),
    False: EndpointConditions(ready=False, serving=False),
}

# --- mirrors ----------------------------------------------------------------------------------

_LIMITS: Final = st.sampled_from([1, 2, 3, 1000])


@given(objects(), objects(), _LIMITS, _LIMITS, st.randoms(use_true_random=False))
def test_a_mirror_converges_and_is_idempotent(
    before: Endpoints, after: Endpoints, few: int, most: int, random: Any
) -> None:
    current = list(apply_plan([], mirror(before, [], max_endpoints_per_subset=few)))
    plan = mirror(after, current, max_endpoints_per_subset=most)
    desired = endpoints_to_groups(after, max_endpoints_per_subset=most)
    assert check_plan(plan, desired=desired, current=current, max_endpoints_per_slice=1000) == ()
    assert mirror(after, random.sample(current, len(current)), max_endpoints_per_subset=most) == (
        plan
    )
    made = apply_plan(current, plan)
    assert mirror(after, made, max_endpoints_per_subset=most).is_empty
    assert _facts(made) == _facts(desired)
    # One slice for each group, and no more operations than slices before and after.
    assert len(made) == len(desired)
    assert len(plan.operations) <= len(current) + len(desired)


@given(objects())
def test_every_slice_of_a_mirror_can_be_sent(endpoints: Endpoints) -> None:
    for create in mirror(endpoints, []).creates:
        manifest = encode_slice(create.after)
        assert decode_slice(manifest) == create.after
        names = [port["name"] for port in manifest["ports"]]
        assert len(set(names)) == len(names)
        assert all("port" in port for port in manifest["ports"])
        assert 1 <= len(manifest["endpoints"]) <= 1000
        ips = [one["addresses"][0] for one in manifest["endpoints"]]
        assert {EndpointAddress(ip=ip).address_type for ip in ips} == {manifest["addressType"]}
        assert all(owner["uid"] for owner in manifest["metadata"].get("ownerReferences", ()))
        labels = manifest["metadata"]["labels"]
        assert labels[LABEL_MANAGED_BY] == MIRRORING_MANAGED_BY
        assert labels[LABEL_SERVICE_NAME] == "web"


@given(objects(), objects(), _LIMITS)
def test_the_server_takes_every_write_of_a_mirror(
    before: Endpoints, after: Endpoints, limit: int
) -> None:
    first = mirror(before, [], max_endpoints_per_subset=limit)
    plan = mirror(after, apply_plan([], first), max_endpoints_per_subset=limit)
    assert validate_plan(first) == ()
    assert validate_plan(plan) == ()


@given(objects(), objects(), st.sampled_from([Generational(), MinimalWrites(), SingleObject()]))
def test_strategies_mirror_the_same(before: Endpoints, after: Endpoints, strategy: Any) -> None:
    options: Any = {"strategy": strategy}
    if strategy != SingleObject():
        options["max_endpoints_per_slice"] = 2
    current = apply_plan([], mirror(before, [], **options))
    made = apply_plan(current, mirror(after, current, **options))
    assert _facts(made) == _facts(endpoints_to_groups(after))
