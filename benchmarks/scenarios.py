"""The inputs that everything here measures, the same in every run and under every hash seed.

One Service of n endpoints in full slices of 100, and what is desired of it: the same, one
endpoint replaced, all of them, and so on. Every scenario comes in two orders:

- **memory order**: the desired endpoints were made, and are listed, in the order in which they
  stand in the slices;
- **shuffled**: they are listed in another order. Beyond the size of the caches this is what
  costs most, and it is what a controller sees.

Each scenario is made twice, from the same JSON: as models for the library, as plain dicts for
the naive reconcile. The two share nothing, so that neither spoils the other's caches.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from random import Random
from typing import Any, Final, TypeVar

import attrs

from endpointslice import (
    Endpoint,
    EndpointGroup,
    EndpointSlice,
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

__all__ = [
    "CAPACITY",
    "SIZES",
    "Kind",
    "Manifest",
    "Order",
    "Population",
    "Row",
    "Scenario",
    "build",
    "slice_texts",
]

#: Endpoints per slice: the default of the reference.
CAPACITY: Final = 100
SIZES: Final = (100, 1_000, 10_000, 100_000)
_SEED: Final = 20_240_229
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
    """One input, as models and as plain dicts, and the counts of writes that answer it.

    Attributes:
        kind: What is desired.
        order: How it lies.
        n: How many endpoints are desired.
        desired: As models.
        current: As models.
        template: As a model.
        naive_desired: As dicts, in the same order as `desired`.
        naive_current: As dicts.
        creates: How many slices every strategy creates.
        updates: How many it updates.
    """

    kind: Kind
    order: Order
    n: int
    desired: tuple[EndpointGroup, ...]
    current: tuple[EndpointSlice, ...]
    template: SliceTemplate
    naive_desired: list[Manifest]
    naive_current: list[Manifest]
    creates: int
    updates: int

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The desired endpoints."""
        return self.desired[0].endpoints


def _replaced(kind: Kind, rows: Sequence[Row], population: Population) -> dict[int, Row]:
    """Which endpoints are other than they stand in the slices, and what they are."""
    n = len(rows)
    counts = {
        Kind.NOOP_DISTINCT: n,
        Kind.ONE_REPLACED: 1,
        Kind.PERCENT_REPLACED: max(1, n // 100),
        Kind.ALL_REPLACED: n,
        Kind.UNREADY: n // 10,
        Kind.COLD: n,
    }
    chosen = sorted(shuffled(range(n), population.random)[: counts.get(kind, 0)])
    if kind in (Kind.NOOP_DISTINCT, Kind.COLD):
        return {i: rows[i] for i in chosen}
    if kind is Kind.UNREADY:
        return {i: attrs.evolve(rows[i], ready=False) for i in chosen}
    return {i: population.row() for i in chosen}


def _overlaid(items: list[_T], other: dict[int, _T]) -> list[_T]:
    """The items, with others in some places; or the others alone."""
    return [other[i] if i in other else items[i] for i in range(len(items) or len(other))]


def group(endpoints: Iterable[Endpoint]) -> EndpointGroup:
    """Return the Service's only group, with these endpoints."""
    key = decode_slice(slice_manifest("web", ())).group_key
    return EndpointGroup(key=key, endpoints=tuple(endpoints))


def build(kind: Kind, n: int, order: Order = Order.MEMORY) -> Scenario:
    """Make one scenario of n endpoints, n a multiple of 100."""
    assert n % CAPACITY == 0
    gc.disable()  # there is nothing to collect, and looking for it takes most of the time
    try:
        return _build(kind, n, order)
    finally:
        gc.enable()


def _build(kind: Kind, n: int, order: Order) -> Scenario:
    random = Random(_SEED)
    population = Population(random, max(1, n // _PODS_PER_NODE))
    rows = population.rows(n)
    other = _replaced(kind, rows, population)
    stands = [] if kind is Kind.COLD else rows
    current = _decoded(stands)
    made = _decoded(list(other.values()))
    desired = _overlaid(
        [endpoint for stored in current for endpoint in stored.endpoints],
        dict(zip(other, (item for stored in made for item in stored.endpoints), strict=True)),
    )
    naive_current = _loaded(stands)
    naive_made = _loaded(list(other.values()))
    naive_desired = _overlaid(
        [item for stored in naive_current for item in stored["endpoints"]],
        dict(
            zip(other, (item for stored in naive_made for item in stored["endpoints"]), strict=True)
        ),
    )
    if order is Order.SHUFFLED:
        places = shuffled(range(n), random)
        desired = [desired[i] for i in places]
        naive_desired = [naive_desired[i] for i in places]
    # Slices are full, so what is new fits exactly where something went.
    written = 0
    if kind is not Kind.NOOP_DISTINCT:
        written = len({i // CAPACITY for i in other})
    return Scenario(
        kind=kind,
        order=order,
        n=n,
        desired=(group(desired),),
        current=tuple(current),
        template=template(),
        naive_desired=naive_desired,
        naive_current=naive_current,
        creates=written if kind is Kind.COLD else 0,
        updates=0 if kind is Kind.COLD else written,
    )


def pods_and_nodes(n: int) -> tuple[tuple[Pod, ...], tuple[Node, ...]]:
    """Return n Pods that the Service selects, in no order, and their Nodes."""
    random = Random(_SEED)
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
