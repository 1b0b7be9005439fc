"""The inputs that everything here measures, the same in every run and under every hash seed.

One Service of n endpoints in full slices of 100, and what is desired of it: the same, one
endpoint replaced, all of them, and so on. Every scenario comes in two orders:

- **memory order**: the desired endpoints were made, and are listed, in the order in which they
  stand in the slices;
- **shuffled**: they are listed in another order. Beyond the size of the caches this is what
  costs most, and it is what a controller sees.

Each scenario can be made twice, from the same JSON: as models for the library, as plain dicts
for the naive reconcile. The two share nothing. Where a benchmark needs several Services of one
size that share nothing, each has another seed.
"""

from __future__ import annotations

import copy
import gc
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import cache, lru_cache
from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from endpointslice import (
    Endpoint,
    EndpointGroup,
    EndpointSlice,
    GroupKey,
    Node,
    Pod,
    Service,
    SliceTemplate,
    decode_node,
    decode_pod,
    decode_service,
    decode_slice,
    slice_template,
)

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = [
    "CAPACITY",
    "PORTS",
    "SERVICES",
    "SIZES",
    "SMALL",
    "Dicts",
    "Kind",
    "Left",
    "Manifest",
    "Order",
    "Population",
    "Row",
    "Scenario",
    "Some",
    "build",
    "build_dicts",
    "slice_texts",
    "some",
    "standing",
    "take_over",
]

#: Endpoints per slice: the default of the reference.
CAPACITY: Final = 100
#: Endpoints per slice where what is measured is the work for each slice.
SMALL: Final = 10
SIZES: Final = (100, 1_000, 10_000, 100_000)
_SEED: Final = 20_240_229
#: How many Services are kept for the next scenario: as many as a growth gate has.
SERVICES: Final = 11
#: Endpoints per node.
_PODS_PER_NODE: Final = 30
_ZONES: Final = ("zone-a", "zone-b", "zone-c")

Manifest = dict[str, Any]
_T = TypeVar("_T")


class Kind(StrEnum):
    """What is desired of the endpoints that stand in the slices."""

    NOOP_SHARED = "no-op, shared objects"
    NOOP_DISTINCT = "no-op, distinct objects"
    ONE_REPLACED = "one replaced"
    PERCENT_REPLACED = "1 % replaced"
    ALL_REPLACED = "all replaced"
    UNREADY = "10 % unready"
    COLD = "cold create"


class Order(StrEnum):
    """How the desired endpoints lie, against the slices."""

    MEMORY = "memory order"
    SHUFFLED = "shuffled"


@attrs.frozen
class Row:
    """What makes one endpoint."""

    number: int
    address: str
    pod: str
    uid: str
    node: str
    zone: str
    ready: bool = True

    def endpoint(self) -> Manifest:
        """Return it as discovery/v1 has it."""
        return {
            "addresses": [self.address],
            "conditions": {"ready": self.ready, "serving": self.ready, "terminating": False},
            "nodeName": self.node,
            "zone": self.zone,
            "targetRef": {
                "kind": "Pod",
                "namespace": "shop",
                "name": self.pod,
                "uid": self.uid,
            },
        }

    def pod_manifest(self) -> Manifest:
        """Return the Pod that it comes from."""
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "namespace": "shop",
                "name": self.pod,
                "uid": self.uid,
                "labels": {"app": "web"},
            },
            "spec": {
                "nodeName": self.node,
                "containers": [{"name": "web", "ports": [{"name": "http", "containerPort": 8080}]}],
            },
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": str(self.ready)}],
                "podIP": self.address,
                "podIPs": [{"ip": self.address}],
            },
        }


def shuffled(items: Sequence[_T], random: Random) -> list[_T]:
    """Return the items in another order. Only `random()` is the same in every Python."""
    keys = [random.random() for _ in items]
    return [items[i] for i in sorted(range(len(items)), key=keys.__getitem__)]


@attrs.define
class Population:
    """An endless supply of Pods, each unlike all others, the same for each seed."""

    random: Random
    nodes: int
    made: int = 0

    def row(self) -> Row:
        """Make one."""
        number = self.made
        self.made += 1
        node = int(self.random.random() * self.nodes)
        # An odd factor permutes the numbers below a power of two: no address comes twice, and
        # they are in no order.
        host = (number * 0x9E3779 + 0x5A17) % (1 << 24)
        token = f"{int(self.random.random() * (1 << 52)):013x}"
        return Row(
            number,
            f"10.{host >> 16}.{host >> 8 & 255}.{host & 255}",
            f"web-7d4b9c6f5-{token[:5]}{number:05x}",
            f"{host:08x}-{token[:4]}-4{token[4:7]}-9{token[7:10]}-{token[1:]}",
            f"node-{node:04}",
            _ZONES[node % len(_ZONES)],
        )

    def rows(self, count: int) -> list[Row]:
        """Make so many."""
        return [self.row() for _ in range(count)]


SERVICE: Final[Manifest] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"namespace": "shop", "name": "web", "uid": "11111111-2222-4333-8444-555555555555"},
    "spec": {
        "clusterIP": "10.96.0.10",
        "ipFamilies": ["IPv4"],
        "selector": {"app": "web"},
        "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
    },
}

PORTS: Final[list[Manifest]] = [{"name": "http", "protocol": "TCP", "port": 8080}]


def service() -> Service:
    """Return the Service that owns everything here."""
    return decode_service(SERVICE)


def template() -> SliceTemplate:
    """Return what each of its slices carries."""
    return slice_template(service())


def slice_manifest(name: str, rows: Sequence[Row]) -> Manifest:
    """Return a stored slice."""
    meta = template().metadata
    owner = meta.owner_references[0]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": meta.namespace,
            "name": name,
            "generateName": meta.generate_name,
            "uid": f"22222222-2222-4333-8444-{name[-12:]:0>12}",
            "resourceVersion": "1000",
            "labels": dict(meta.labels),
            "ownerReferences": [
                {
                    "apiVersion": owner.api_version,
                    "kind": owner.kind,
                    "name": owner.name,
                    "uid": owner.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "addressType": "IPv4",
        "ports": PORTS,
        "endpoints": [row.endpoint() for row in rows],
    }


def slice_texts(rows: Sequence[Row]) -> Iterator[str]:
    """Yield full slices of these endpoints, as JSON."""
    for i in range(0, len(rows), CAPACITY):
        yield json.dumps(slice_manifest(f"web-{i // CAPACITY:05}", rows[i : i + CAPACITY]))


def _decoded(rows: Sequence[Row]) -> list[EndpointSlice]:
    return [decode_slice(json.loads(text)) for text in slice_texts(rows)]


def _loaded(rows: Sequence[Row]) -> list[Manifest]:
    return [json.loads(text) for text in slice_texts(rows)]


@attrs.frozen(kw_only=True)
class Scenario:
    """One input, and the counts of writes that answer it.

    Attributes:
        kind: What is desired.
        order: How it lies.
        n: How many endpoints are desired.
        desired: The Service's only group.
        current: Its slices.
        template: What each of them carries.
        creates: How many slices every strategy creates.
        updates: How many it updates.
    """

    kind: Kind
    order: Order
    n: int
    desired: tuple[EndpointGroup, ...]
    current: tuple[EndpointSlice, ...]
    template: SliceTemplate
    creates: int
    updates: int

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The desired endpoints."""
        return self.desired[0].endpoints


@attrs.frozen
class Dicts:
    """The input of a scenario as the naive reconcile takes it, in the same order."""

    desired: list[Manifest]
    current: list[Manifest]


@attrs.frozen
class _Change:
    """What is other than it stands, and the order in which all of it is listed."""

    other: dict[int, Row]
    places: Sequence[int]

    def listed(self, items: list[_T], made: Iterable[_T]) -> list[_T]:
        """The items that stand, those overlaid that are other, in the order of the list."""
        other = dict(zip(self.other, made, strict=True))
        return [other[i] if i in other else items[i] for i in self.places]


@contextmanager
def _no_collector() -> Generator[None]:
    """There is nothing to collect, and looking for it takes most of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@lru_cache(maxsize=SERVICES)
def _population(n: int, seed: int) -> tuple[list[Row], Population]:
    """The endpoints that stand, and where others come from."""
    population = Population(Random(_SEED + seed), max(1, n // _PODS_PER_NODE))
    return population.rows(n), population


@lru_cache(maxsize=SERVICES)
def standing(n: int, seed: int = 0) -> tuple[EndpointSlice, ...]:
    """Return slices of n endpoints. All scenarios of one size and seed share them."""
    with _no_collector():
        return tuple(_decoded(_population(n, seed)[0]))


@lru_cache(maxsize=1)
def _standing_dicts(n: int, seed: int) -> list[Manifest]:
    return _loaded(_population(n, seed)[0])


@lru_cache(maxsize=1)
def _places(n: int, seed: int) -> list[int]:
    """Another order of the endpoints."""
    return shuffled(range(n), Random(_SEED + seed))


@lru_cache(maxsize=1)
def _other(kind: Kind, n: int, seed: int) -> dict[int, Row]:
    """Which endpoints are other than they stand in the slices, and what they are."""
    rows, source = _population(n, seed)
    population = copy.deepcopy(source)
    counts = {
        Kind.ONE_REPLACED: 1,
        Kind.PERCENT_REPLACED: max(1, n // 100),
        Kind.ALL_REPLACED: n,
        Kind.UNREADY: n // 10,
    }
    if kind in (Kind.NOOP_DISTINCT, Kind.COLD):
        return dict(enumerate(rows))
    chosen = sorted(shuffled(range(n), population.random)[: counts[kind]]) if kind in counts else ()
    if kind is Kind.UNREADY:
        return {i: attrs.evolve(rows[i], ready=False) for i in chosen}
    return {i: population.row() for i in chosen}


def _change(kind: Kind, n: int, order: Order, seed: int) -> _Change:
    places = range(n) if order is Order.MEMORY else _places(n, seed)
    return _Change(_other(kind, n, seed), places)


@lru_cache(maxsize=2)
def _made(kind: Kind, n: int, seed: int) -> list[Endpoint]:
    """What is other than it stands; both orders share it."""
    with _no_collector():
        return decoded_endpoints(list(_other(kind, n, seed).values()))


def group(endpoints: Iterable[Endpoint]) -> EndpointGroup:
    """Return the Service's only group, with these endpoints."""
    return EndpointGroup(key=_group_key(), endpoints=tuple(endpoints))


@cache
def _group_key() -> GroupKey:
    return decode_slice(slice_manifest("web", ())).group_key


def decoded_endpoints(rows: Sequence[Row]) -> list[Endpoint]:
    """Return them as models, made one after the other."""
    return [endpoint for stored in _decoded(rows) for endpoint in stored.endpoints]


def build(kind: Kind, n: int, order: Order = Order.MEMORY, *, seed: int = 0) -> Scenario:
    """Make one scenario of n endpoints."""
    change = _change(kind, n, order, seed)
    stored = standing(n, seed)
    standing_endpoints = [endpoint for item in stored for endpoint in item.endpoints]
    desired = change.listed(standing_endpoints, _made(kind, n, seed))
    # Slices are full, or there is one alone, so what is new fits exactly where something went.
    written = 0
    if kind is not Kind.NOOP_DISTINCT:
        written = len({i // CAPACITY for i in change.other})
    is_cold = kind is Kind.COLD
    return Scenario(
        kind=kind,
        order=order,
        n=n,
        desired=(group(desired),),
        current=() if is_cold else stored,
        template=template(),
        creates=written if is_cold else 0,
        updates=0 if is_cold else written,
    )


def build_dicts(kind: Kind, n: int, order: Order = Order.MEMORY) -> Dicts:
    """Make the same scenario for the naive reconcile."""
    change = _change(kind, n, order, 0)
    stored = _standing_dicts(n, 0)
    with _no_collector():
        made = _loaded(list(change.other.values()))
        desired = change.listed(
            [endpoint for item in stored for endpoint in item["endpoints"]],
            [endpoint for item in made for endpoint in item["endpoints"]],
        )
    return Dicts(desired, [] if kind is Kind.COLD else stored)


@attrs.frozen
class Some:
    """Some endpoints from here and there, in no order, and what they may turn into.

    Attributes:
        stand: As they stand in the slices.
        equal: The same, made anew.
        unready: The same, no longer ready.
        new: As many others.
    """

    stand: list[Endpoint]
    equal: list[Endpoint]
    unready: list[Endpoint]
    new: list[Endpoint]


def some(n: int, count: int, *, seed: int = 0) -> Some:
    """Choose so many of the n endpoints that stand."""
    rows, source = _population(n, seed)
    population = copy.deepcopy(source)
    stand = [endpoint for item in standing(n, seed) for endpoint in item.endpoints]
    places = shuffled(range(n), population.random)[:count]
    chosen = [rows[i] for i in places]
    with _no_collector():
        return Some(
            [stand[i] for i in places],
            decoded_endpoints(chosen),
            decoded_endpoints([attrs.evolve(row, ready=False) for row in chosen]),
            decoded_endpoints(population.rows(len(chosen))),
        )


class Left(StrEnum):
    """Slices that a strategy did not pack, which it takes over."""

    OVER_CAPACITY = "over capacity"
    FRAGMENTED = "fragmented"


def take_over(left: Left, n: int, *, seed: int = 0) -> Scenario:
    """Make a scenario of many small slices that somebody else left; 1 % of n is new.

    The capacity is a tenth of the usual one, for what would grow is the work for each slice.
    Slices over capacity hold ten times as much; fragmented ones a tenth to all of it.
    """
    rows, population = _population(n, seed)
    random = Random(_SEED + seed)
    with _no_collector():
        stored: list[EndpointSlice] = []
        taken = 0
        while taken < n:
            size = CAPACITY if left is Left.OVER_CAPACITY else 1 + int(random.random() * SMALL)
            text = json.dumps(slice_manifest(f"web-{len(stored):05}", rows[taken : taken + size]))
            stored.append(decode_slice(json.loads(text)))
            taken += size
        new = decoded_endpoints(copy.deepcopy(population).rows(n // 100))
    stays = [endpoint for item in stored for endpoint in item.endpoints][len(new) :]
    return Scenario(
        kind=Kind.PERCENT_REPLACED,
        order=Order.MEMORY,
        n=n,
        desired=(group(stays + new),),
        current=tuple(stored),
        template=template(),
        creates=0,
        updates=0,
    )


def pods_and_nodes(n: int, seed: int = 0) -> tuple[tuple[Pod, ...], tuple[Node, ...]]:
    """Return n Pods that the Service selects, in no order, and their Nodes."""
    random = Random(_SEED + seed)
    count = max(1, n // _PODS_PER_NODE)
    rows = shuffled(Population(random, count).rows(n), random)
    pods = tuple(decode_pod(row.pod_manifest()) for row in rows)
    nodes = tuple(
        decode_node(
            {
                "metadata": {
                    "name": f"node-{i:04}",
                    "labels": {"topology.kubernetes.io/zone": _ZONES[i % len(_ZONES)]},
                }
            }
        )
        for i in range(count)
    )
    return pods, nodes
