"""Published estimates of what endpoints cost a cluster, done again with exact bytes.

Sources: the announcement of EndpointSlices on the Kubernetes blog (2 September 2020), and the
estimation in KEP-752, which proposed them. Where our figures differ, they say why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain, pairwise
from typing import Final, TypeAlias, final

import attrs

from endpointslice.models import (
    ANNOTATION_TRIGGER_TIME,
    Endpoint,
    EndpointGroup,
    EndpointSlice,
    FrozenDict,
    ObjectMeta,
)
from endpointslice.packing import Generational, KubernetesPacking, PackingStrategy
from endpointslice.plan import price_plan
from endpointslice.simulate.clusters import Cluster, Deployment
from endpointslice.simulate.runs import Step, follow
from endpointslice.simulate.traces import TICK, Change, PodState, Trace
from endpointslice.sizing import (
    endpoints_json_size,
    endpoints_protobuf_size,
    json_size,
    protobuf_size,
)

__all__ = ["PRESETS", "Figure", "blog", "kep_752"]


@final
@attrs.frozen(kw_only=True)
class Figure:
    """One number, as it was published and as it is with real objects.

    Attributes:
        case: The cluster that it is about.
        event: What happens in it.
        layout: How its endpoints are stored.
        what: What is counted.
        unit: "objects", "writes", "events" or "bytes".
        measured: The number with our objects.
        published: As it was published; None if it was not.
        because: Why the two differ, or what to know of it; "" if there is nothing to say.
    """

    case: str
    event: str
    layout: str
    what: str
    unit: str
    measured: int
    published: int | None = None
    because: str = ""

    @property
    def ratio(self) -> float | None:
        """What is measured, as a multiple of what was published."""
        return None if self.published is None else self.measured / self.published


# --- objects ----------------------------------------------------------------------------------

_MOMENT: Final = "2026-01-01T00:00:00Z"


def _stored(made: EndpointSlice) -> EndpointSlice:
    """A slice of a trace with all the metadata that it has in a cluster."""
    meta = attrs.evolve(
        made.metadata,
        uid=made.metadata.owner_references[0].uid,
        resource_version="123456789",
        generation=1,
        creation_timestamp=_MOMENT,
        annotations=FrozenDict({ANNOTATION_TRIGGER_TIME: _MOMENT}),
    )
    return attrs.evolve(made, metadata=meta)


def _endpoints_meta(made: EndpointSlice) -> ObjectMeta:
    """The metadata of the Endpoints object of a slice's Service."""
    labels = {"app": "web", "endpoints.kubernetes.io/managed-by": "endpoint-controller"}
    return attrs.evolve(
        _stored(made).metadata,
        name="web",
        generate_name="",
        generation=0,
        labels=FrozenDict(labels),
        owner_references=(),
    )


# --- layouts ----------------------------------------------------------------------------------


@final
@attrs.frozen
class _Bill:
    """What is written: how many objects, and their protobuf bytes."""

    writes: int
    bytes: int


@final
@attrs.frozen(kw_only=True)
class _Rest:
    """What stands: how many objects, and the bytes of the largest."""

    objects: int
    protobuf: int
    json: int


@final
@attrs.frozen(kw_only=True)
class _OneObject:
    """All endpoints in one Endpoints object, as there was before slices; without its limits."""

    name: str = "one Endpoints object"
    #: Who makes the slices that the endpoints are read from; it does not matter.
    strategy: PackingStrategy = KubernetesPacking()
    max_endpoints_per_slice: int = 1000

    def rest(self, step: Step) -> _Rest:
        meta, group = _endpoints_of(step)
        return _Rest(
            objects=1,
            protobuf=endpoints_protobuf_size(meta, group),
            json=endpoints_json_size(meta, group),
        )

    def bill(self, before: Step | None, step: Step) -> _Bill:
        meta, group = _endpoints_of(step)
        if before and set(_endpoints_of(before)[1].endpoints) == set(group.endpoints):
            return _Bill(0, 0)
        return _Bill(1, endpoints_protobuf_size(meta, group))


def _endpoints_of(step: Step) -> tuple[ObjectMeta, EndpointGroup]:
    """The Endpoints object: Pods that begin to terminate are taken out of it."""
    endpoints: Iterator[Endpoint] = (
        endpoint
        for made in step.slices
        for endpoint in made.endpoints
        if not endpoint.conditions.terminating
    )
    first = step.slices[0]
    return _endpoints_meta(first), EndpointGroup(key=first.group_key, endpoints=tuple(endpoints))


@final
@attrs.frozen(kw_only=True)
class _Slices:
    """Endpoints in slices that a strategy packs."""

    name: str
    strategy: PackingStrategy
    max_endpoints_per_slice: int

    def rest(self, step: Step) -> _Rest:
        largest = _stored(max(step.slices, key=protobuf_size))
        return _Rest(
            objects=len(step.slices), protobuf=protobuf_size(largest), json=json_size(largest)
        )

    def bill(self, _before: Step | None, step: Step) -> _Bill:
        cost = price_plan(step.plan)
        made = step.slices[0]
        # All slices of a trace lack the same metadata.
        missing = protobuf_size(_stored(made)) - protobuf_size(made)
        named = len(made.name) * cost.creates  # a server gives names of one length
        return _Bill(cost.writes, cost.bytes_written + missing * cost.writes + named)


_Layout: TypeAlias = _OneObject | _Slices

_ENDPOINTS: Final = _OneObject()


def _slices_of(capacity: int, strategy: PackingStrategy | None = None, name: str = "") -> _Layout:
    """Slices of a size; where Pods come or change one at a time all strategies do the same."""
    return _Slices(
        name=f"slices of {capacity}{name}",
        strategy=strategy or KubernetesPacking(),
        max_endpoints_per_slice=capacity,
    )


def _measure(layout: _Layout, trace: Trace) -> tuple[_Rest, list[_Bill]]:
    """What stands after the first sync of a trace, and what each sync writes."""
    steps = follow(
        trace,
        layout.strategy,
        max_endpoints_per_slice=layout.max_endpoints_per_slice,
        check=False,
    )
    first = next(steps)
    bills = [layout.bill(None, first)]
    for before, step in pairwise(chain([first], steps)):
        bills.append(layout.bill(before, step))
    return layout.rest(first), bills


# --- what happens -----------------------------------------------------------------------------

#: How fast controllers may ask in clusters of thousands of nodes; the default is 20.
_REQUESTS_PER_SECOND: Final = 100


def _one_change(pods: int, nodes: int) -> Trace:
    """So many ready Pods come at once, and then one of them turns not ready."""
    coming = [Change(0, pod, PodState.READY, pod % nodes) for pod in range(pods)]
    change = Change(TICK, pods // 2, PodState.NOT_READY)
    return Trace(
        name="one change", nodes=nodes, zones=3, changes=(*coming, change), duration=2 * TICK
    )


def _roll_out(pods: int, nodes: int) -> Trace:
    """A Deployment replaces all Pods as it does by default, a quarter of them at a time."""
    cluster = Cluster(nodes=nodes, requests_per_second=_REQUESTS_PER_SECOND)
    web = Deployment(cluster, pods)
    cluster.begin()
    cluster.run(TICK)
    web.roll_out()
    cluster.run_until()
    return cluster.trace("roll-out")


@final
@attrs.define(kw_only=True)
class _Case:
    """Collects the figures of one cluster."""

    pods: int
    nodes: int
    trace: Trace = attrs.field(init=False)
    figures: list[Figure] = attrs.field(init=False, factory=list)

    @trace.default
    def _one_change(self) -> Trace:
        return _one_change(self.pods, self.nodes)

    @property
    def name(self) -> str:
        return f"{_counted(self.pods, 'endpoint')}, {_counted(self.nodes, 'node')}"

    def add(
        self,
        event: str,
        layout: _Layout,
        what: str,
        measured: int,
        published: int | None = None,
        because: str = "",
    ) -> None:
        self.figures.append(
            Figure(
                case=self.name,
                event=event,
                layout=layout.name,
                what=what,
                unit="bytes" if what in _BYTES else what,
                measured=measured,
                published=published,
                because=because,
            )
        )

    def by_event(self) -> list[Figure]:
        """The figures, those of an event together."""
        events = list(dict.fromkeys(figure.event for figure in self.figures))
        return sorted(self.figures, key=lambda figure: events.index(figure.event))

    def bills(self, layout: _Layout) -> tuple[_Rest, _Bill, _Bill]:
        """What stands when all endpoints have come, what that cost, and what one change costs."""
        rest, (creation, change) = _measure(layout, self.trace)
        return rest, creation, change


#: What is counted in bytes: the largest object, and what goes to all nodes.
_SIZE: Final = "largest object"
_JSON: Final = "largest as JSON"
_SENT: Final = "sent"
_BYTES: Final = frozenset({_SIZE, _JSON, _SENT})


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("s" if count != 1 else "")


# --- the announcement -------------------------------------------------------------------------

_AT_REST: Final = "at rest"
_ONE_CHANGE: Final = "one endpoint changes"
_ONE_BY_ONE: Final = "all Pods are replaced, and each costs one write"
_ROLL_OUT: Final = "all Pods are replaced, a quarter at a time, with one sync a second"
_FOLLOWS: Final = "follows from the size of the object"
#: What etcd takes at once by default.
_ETCD_LIMIT: Final = 1_500_000


def blog() -> tuple[Figure, ...]:
    """Return the arithmetic of the announcement.

    Its Service has 5,000 Pods and its cluster 3,000 nodes: 1.5 MB of Endpoints, 4.5 GB for each
    change and more than 22 TB for a roll-out. It splits 15 Pods over three slices, and says that
    slices hold 100,000 endpoints of a Service and more.
    """
    return (*_large_service(), *_small_service(), *_largest_service())


def _large_service() -> list[Figure]:
    case = _Case(pods=5_000, nodes=3_000)
    pods, nodes = case.pods, case.nodes
    one, slices = _ENDPOINTS, _slices_of(100)
    rest, _, change = case.bills(one)
    sent = change.bytes * nodes
    too_large = (
        "1.5 MB is what etcd takes at once by default, and 300 bytes for each Pod; these take "
        f"{rest.protobuf / pods:.0f} each as protobuf, which etcd stores and kube-proxy gets, and "
        f"{rest.json / pods:.0f} as JSON"
    )
    case.add(_AT_REST, one, "objects", rest.objects)
    case.add(_AT_REST, one, _SIZE, rest.protobuf, _ETCD_LIMIT, too_large)
    case.add(_AT_REST, one, _JSON, rest.json)
    case.add(_ONE_CHANGE, one, _SENT, sent, 4_500_000_000, _FOLLOWS)
    case.add(_ONE_BY_ONE, one, _SENT, sent * pods, 22_000_000_000_000, _FOLLOWS)
    rest, _, change = case.bills(slices)
    case.add(_AT_REST, slices, "objects", rest.objects)
    case.add(_AT_REST, slices, _SIZE, rest.protobuf)
    case.add(_AT_REST, slices, _JSON, rest.json)
    case.add(_ONE_CHANGE, slices, _SENT, change.bytes * nodes)
    case.add(
        _ONE_BY_ONE,
        slices,
        _SENT,
        change.bytes * nodes * pods,
        because="one write of one slice for each Pod, whatever the strategy",
    )
    trace = _roll_out(pods, nodes)
    notes = {
        one: "many Pods change between two syncs, and one write tells of them all",
        _slices_of(100, KubernetesPacking(), ", kubernetes"): (
            "the Pods that change are spread over nearly all slices, so nearly all are written at "
            "nearly every sync"
        ),
        _slices_of(100, Generational(), ", generational"): (
            "the Pods that change sit together, so few slices are written"
        ),
    }
    for layout, because in notes.items():
        _, (_, *bills) = _measure(layout, trace)
        case.add(_ROLL_OUT, layout, "writes", sum(bill.writes for bill in bills))
        total = sum(bill.bytes for bill in bills)
        case.add(_ROLL_OUT, layout, _SENT, total * nodes, because=because)
    return case.by_event()


def _small_service() -> list[Figure]:
    case = _Case(pods=15, nodes=1)
    for layout, published in ((_ENDPOINTS, 1), (_slices_of(5), 3)):
        rest, _, change = case.bills(layout)
        case.add(_AT_REST, layout, "objects", rest.objects, published)
        case.add(_AT_REST, layout, _SIZE, rest.protobuf)
        case.add(_ONE_CHANGE, layout, _SENT, change.bytes)
    return case.by_event()


def _largest_service() -> list[Figure]:
    case = _Case(pods=100_000, nodes=3_000)
    for layout in (_ENDPOINTS, _slices_of(100), _slices_of(1000)):
        rest, _, change = case.bills(layout)
        because = (
            f"more than the {_ETCD_LIMIT / 1e6:g} MB that etcd takes at once by default"
            if rest.protobuf > _ETCD_LIMIT
            else ""
        )
        case.add(_AT_REST, layout, "objects", rest.objects)
        case.add(_AT_REST, layout, _SIZE, rest.protobuf, because=because)
        case.add(_ONE_CHANGE, layout, _SENT, change.bytes * case.nodes)
    return case.by_event()


# --- KEP-752 ----------------------------------------------------------------------------------

_CREATION: Final = "the Service is created"
_EACH_NODE: Final = "published as one event for all nodes; each gets one"


@final
@attrs.frozen(kw_only=True)
class _Column:
    """What the design document says of a layout; events and bytes are those of all nodes."""

    layout: _Layout
    creation: int
    size: int
    creation_events: int
    creation_sent: int
    change_events: int
    change_sent: int
    roll_out_events: int
    roll_out_sent: int


_KB: Final = 1_000
_MB: Final = 1_000_000
_GB: Final = 1_000_000_000
_TB: Final = 1_000_000_000_000

_KEP_LARGE: Final = (
    _Column(
        layout=_ENDPOINTS,
        creation=1,
        size=2 * _MB,
        creation_events=5_000,
        creation_sent=10 * _GB,
        change_events=5_000,
        change_sent=10 * _GB,
        roll_out_events=100_000_000,
        roll_out_sent=200 * _TB,
    ),
    _Column(
        layout=_slices_of(100),
        creation=200,
        size=10 * _KB,
        creation_events=1_000_000,
        creation_sent=10 * _GB,
        change_events=5_000,
        change_sent=50 * _MB,
        roll_out_events=100_000_000,
        roll_out_sent=1 * _TB,
    ),
    _Column(
        layout=_slices_of(1),
        creation=20_000,
        size=1 * _KB,
        creation_events=100_000_000,
        creation_sent=10 * _GB,
        change_events=5_000,
        change_sent=5 * _MB,
        roll_out_events=100_000_000,
        roll_out_sent=100 * _GB,
    ),
)
_KEP_SMALL: Final = tuple(
    _Column(
        layout=layout,
        creation=writes,
        size=1 * _KB,
        creation_events=10 * writes,
        creation_sent=10 * writes * _KB,
        change_events=1,
        change_sent=10 * _KB,
        roll_out_events=200,
        roll_out_sent=200 * _KB,
    )
    for layout, writes in ((_ENDPOINTS, 1), (_slices_of(100), 1), (_slices_of(1), 20))
)


def kep_752() -> tuple[Figure, ...]:
    """Return the tables of the design document: 20,000 endpoints on 5,000 nodes, and 20 on 10.

    They compare one Endpoints object with slices of 100 and slices of one endpoint. A roll-out
    is one write for each endpoint there.
    """
    return (
        *_tables(_Case(pods=20_000, nodes=5_000), _KEP_LARGE),
        *_tables(_Case(pods=20, nodes=10), _KEP_SMALL),
    )


def _tables(case: _Case, columns: tuple[_Column, ...]) -> list[Figure]:
    nodes, pods = case.nodes, case.pods
    measured = [case.bills(column.layout) for column in columns]
    whole, hundred, single = (rest.protobuf for rest, _, _ in measured)
    each = (hundred - single) / (min(pods, 100) - 1)
    notes = {
        columns[0]: f"an endpoint takes {whole / pods:.0f} bytes, where 100 were reckoned with"
        if pods > 100
        else f"20 endpoints take {whole} bytes: 100 bytes each, as in the larger case, are 2 kB",
        columns[1]: f"an endpoint takes {each:.0f} bytes, with its zone and its conditions, and "
        f"the metadata of a slice {single - each:.0f}",
        columns[2]: f"published as an upper bound; {single - each:.0f} bytes of it are metadata",
    }
    for column, (rest, creation, change) in zip(columns, measured, strict=True):
        size_ratio = rest.protobuf / column.size
        own = f"published for 100 bytes an endpoint, but each event has {rest.protobuf}"
        for event, what, value, published, note in (
            (_CREATION, "writes", creation.writes, column.creation, ""),
            (_CREATION, _SIZE, rest.protobuf, column.size, notes[column]),
            (_CREATION, "events", creation.writes * nodes, column.creation_events, ""),
            (_CREATION, _SENT, creation.bytes * nodes, column.creation_sent, own),
            (_ONE_CHANGE, "events", change.writes * nodes, column.change_events, _EACH_NODE),
            (_ONE_CHANGE, _SENT, change.bytes * nodes, column.change_sent, ""),
            (_ONE_BY_ONE, "writes", change.writes * pods, pods, ""),
            (_ONE_BY_ONE, "events", change.writes * nodes * pods, column.roll_out_events, ""),
            (_ONE_BY_ONE, _SENT, change.bytes * nodes * pods, column.roll_out_sent, ""),
        ):
            ratio = value / published
            is_same = 0.9 <= ratio <= 1.1
            follows = what == _SENT and 0.9 <= ratio / size_ratio <= 1.1
            because = "" if is_same else _FOLLOWS if follows else note
            case.add(event, column.layout, what, value, published, because)
    return case.by_event()


#: By the name that `--preset` takes.
PRESETS: Final[Mapping[str, Callable[[], tuple[Figure, ...]]]] = FrozenDict(
    {"blog": blog, "kep-752": kep_752}
)
