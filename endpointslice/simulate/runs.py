"""A controller that syncs, on values: a trace and a strategy in, what it wrote out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from hashlib import md5
from itertools import count, groupby
from operator import add
from typing import Final, final

import attrs

from endpointslice.cost import Cost
from endpointslice.diff import Partition
from endpointslice.errors import ModelError, UnsoundPlanError
from endpointslice.hints import HintPolicy
from endpointslice.models import (
    DEFAULT_MANAGED_BY,
    DEFAULT_MAX_ENDPOINTS_PER_SLICE,
    LABEL_MANAGED_BY,
    LABEL_SERVICE_NAME,
    AddressType,
    Endpoint,
    EndpointGroup,
    EndpointPort,
    EndpointSlice,
    FrozenDict,
    GroupKey,
    ObjectMeta,
    OwnerReference,
    SliceTemplate,
    _make_group,
    check_max_endpoints_per_slice,
)
from endpointslice.packing import PackingStrategy, Partitioned
from endpointslice.packing.placement import partition_of
from endpointslice.plan import Plan, apply_plan, check_plan, price_plan
from endpointslice.reconcile import reconcile
from endpointslice.simulate.traces import TICK, Change, Trace
from endpointslice.sizing import protobuf_size

__all__ = ["Run", "Step", "Sync", "follow", "simulate"]

#: What the Service of every trace, prod/web, puts on its slices.
_TEMPLATE: Final = SliceTemplate(
    metadata=ObjectMeta(
        namespace="prod",
        generate_name="web-",
        labels=FrozenDict(
            {"app": "web", LABEL_SERVICE_NAME: "web", LABEL_MANAGED_BY: DEFAULT_MANAGED_BY}
        ),
        owner_references=(
            OwnerReference(
                api_version="v1",
                kind="Service",
                name="web",
                uid="5b1fe2a4-0c3e-4d0e-9a55-0c8c4bdc2a11",
                controller=True,
                block_owner_deletion=True,
            ),
        ),
    )
)
_GROUP: Final = GroupKey(
    address_type=AddressType.IPV4, ports=(EndpointPort(name="http", port=8080),)
)
#: What is wanted of a Service that no pod serves: a slice that says so.
_PLACEHOLDER: Final = EndpointGroup(key=GroupKey(address_type=AddressType.IPV4))
#: What the API server makes names of: no vowels, so that no name is a word.
_NAME_CHARACTERS: Final = "bcdfghjklmnpqrstvwxz2456789"


@final
@attrs.frozen(kw_only=True)
class Sync:
    """What one sync wrote.

    Attributes:
        at: When, in milliseconds from the start.
        cost: What its plan cost.
        slices: How many slices there are after it.
        endpoints: How many endpoints there are to be in them.
        received: The bytes that one watcher gets, by the number of its zone; () if each gets all
            that is written.
    """

    at: int
    cost: Cost
    slices: int
    endpoints: int
    received: tuple[int, ...] = ()


@final
@attrs.frozen(kw_only=True)
class Run:
    """What a strategy made of a trace.

    Attributes:
        trace: The trace's name.
        strategy: The strategy, as it was at the start.
        max_endpoints_per_slice: Capacity in endpoints.
        sync_period: How often the controller looks, in milliseconds.
        syncs: Those that found a change, in order of time.
    """

    trace: str
    strategy: PackingStrategy
    max_endpoints_per_slice: int
    sync_period: int
    syncs: tuple[Sync, ...] = attrs.field(repr=False)

    @property
    def cost(self) -> Cost:
        """What all syncs cost together."""
        return reduce(add, (sync.cost for sync in self.syncs), Cost())

    @property
    def writes(self) -> int:
        """How many writes there were."""
        return sum(sync.cost.writes for sync in self.syncs)

    @property
    def bytes_written(self) -> int:
        """Protobuf bytes of all objects written or deleted."""
        return sum(sync.cost.bytes_written for sync in self.syncs)

    @property
    def endpoints_moved(self) -> int:
        """How often an endpoint changed slice."""
        return sum(sync.cost.endpoints_moved for sync in self.syncs)

    @property
    def lower_bound(self) -> int:
        """The fewest writes that any strategy needs: one for each sync with a change."""
        return len(self.syncs)

    @property
    def peak_slices(self) -> int:
        """The most slices that there were after a sync."""
        return max((sync.slices for sync in self.syncs), default=0)

    @property
    def final_slices(self) -> int:
        """How many slices there are in the end."""
        return self.syncs[-1].slices if self.syncs else 0

    @property
    def mean_fill(self) -> float:
        """How full slices are, 0 to 1, as the mean over the syncs; 0 if there is none."""
        capacity = self.max_endpoints_per_slice
        fills = [sync.endpoints / (max(1, sync.slices) * capacity) for sync in self.syncs]
        return sum(fills) / max(1, len(fills))

    @property
    def longest_plan(self) -> int:
        """The most writes in one sync."""
        return max((sync.cost.writes for sync in self.syncs), default=0)

    @property
    def bytes_received(self) -> tuple[int, ...]:
        """The bytes that one watcher gets, by the number of its zone; one if all get the same.

        Where slices are partitioned, a watcher selects those of its own zone and those for all,
        and sees one that leaves its selection as deleted. Else every write goes to it whole.
        """
        if not any(sync.received for sync in self.syncs):
            return (self.bytes_written,)
        return tuple(map(sum, zip(*(sync.received for sync in self.syncs), strict=True)))

    def bytes_on_wire(self, watchers: int) -> int:
        """Bytes that the API server sends; watcher i is in zone i mod zones."""
        received = self.bytes_received
        zones = len(received)
        return sum(
            size * (watchers // zones + (zone < watchers % zones))
            for zone, size in enumerate(received)
        )


@final
@attrs.frozen(kw_only=True)
class Step:
    """A sync in full: the plan, and what stands after it.

    Attributes:
        at: When, in milliseconds from the start.
        plan: What was written.
        slices: All slices after it, by name.
        endpoints: How many endpoints there are to be in them.
    """

    at: int
    plan: Plan
    slices: tuple[EndpointSlice, ...]
    endpoints: int


def simulate(
    trace: Trace,
    strategy: PackingStrategy,
    *,
    max_endpoints_per_slice: int = DEFAULT_MAX_ENDPOINTS_PER_SLICE,
    sync_period: int = TICK,
    check: bool = True,
    hints: HintPolicy | None = None,
) -> Run:
    """Run a strategy on a trace and say what each sync cost.

    See `follow` for the arguments and errors.

    Complexity: O(n) for each sync that finds a change, for the n endpoints there are then.
    """
    steps = follow(
        trace,
        strategy,
        max_endpoints_per_slice=max_endpoints_per_slice,
        sync_period=sync_period,
        check=check,
        hints=hints,
    )
    partition = partition_of(strategy)
    zones = () if partition is None else trace.zone_names
    return Run(
        trace=trace.name,
        strategy=strategy,
        max_endpoints_per_slice=max_endpoints_per_slice,
        sync_period=sync_period,
        syncs=tuple(
            Sync(
                at=step.at,
                cost=price_plan(step.plan),
                slices=len(step.slices),
                endpoints=step.endpoints,
                received=tuple(_received(step.plan, partition, zone) for zone in zones),
            )
            for step in steps
        ),
    )


def follow(
    trace: Trace,
    strategy: PackingStrategy,
    *,
    max_endpoints_per_slice: int = DEFAULT_MAX_ENDPOINTS_PER_SLICE,
    sync_period: int = TICK,
    check: bool = True,
    hints: HintPolicy | None = None,
) -> Iterator[Step]:
    """Yield what a controller does as a trace goes by.

    It looks at every multiple of the period, and does something where the endpoints are not
    those of the last time: it reconciles and carries the plan out at once, as a server would,
    which gives new slices arbitrary names, the same in every run.

    Args:
        trace: What happens.
        strategy: Decides who sits where. If it has a `volatile` that can `observe` a plan, as a
            `ChurnTracker` can, it goes on with what that has learnt from each.
        max_endpoints_per_slice: Capacity in endpoints, 1..1000.
        sync_period: How often the controller looks, in milliseconds, at least 1.
        check: Whether each plan is checked by `check_plan`.
        hints: Who should use which endpoint; nobody in particular by default.

    Raises:
        ModelError: The capacity or the period is none.
        UnsoundPlanError: A plan is not complete, or not safe after every prefix.
    """
    check_max_endpoints_per_slice(max_endpoints_per_slice)
    if type(sync_period) is not int or sync_period < 1:
        raise ModelError("sync_period", "must be at least 1 ms", sync_period)
    return _steps(trace, strategy, max_endpoints_per_slice, sync_period, check, hints)


def _steps(
    trace: Trace,
    strategy: PackingStrategy,
    capacity: int,
    period: int,
    check: bool,
    hints: HintPolicy | None,
) -> Iterator[Step]:
    slices: tuple[EndpointSlice, ...] = ()
    names = _names()
    for at, endpoints in _states(trace, period):
        # A trace makes no other endpoints, and most are those of the sync before.
        desired: Sequence[EndpointGroup]
        desired = [_make_group(_GROUP, endpoints) if endpoints else _PLACEHOLDER]
        if hints is not None:
            desired = hints.assign(desired)
        plan = reconcile(
            desired,
            slices,
            template=_TEMPLATE,
            strategy=strategy,
            max_endpoints_per_slice=capacity,
        )
        if check:
            problems = check_plan(
                plan, desired=desired, current=slices, max_endpoints_per_slice=capacity
            )
            if problems:
                raise UnsoundPlanError(at, problems)
        slices = apply_plan(slices, plan, names=names)
        strategy = _learnt(strategy, plan)
        yield Step(at=at, plan=plan, slices=slices, endpoints=len(endpoints))


def _states(trace: Trace, period: int) -> Iterator[tuple[int, tuple[Endpoint, ...]]]:
    """Yield when the controller finds other endpoints than before, and all that it finds."""
    living: dict[int, Endpoint] = {}
    nodes: dict[int, int] = {}

    def sync_after(change: Change) -> int:
        return (change.at // period + 1) * period

    for at, changes in groupby(trace.changes, sync_after):
        before: dict[int, Endpoint | None] = {}
        for change in changes:
            pod = change.pod
            before.setdefault(pod, living.get(pod))
            if change.state is None:
                del living[pod]
                continue
            if change.node is not None:
                nodes[pod] = change.node
            living[pod] = trace.endpoint(pod, nodes[pod], change.state)
        if any(living.get(pod) != endpoint for pod, endpoint in before.items()):
            yield at, tuple(living.values())


def _received(plan: Plan, partition: Partition | None, zone: str) -> int:
    """Bytes that go to a watcher of a zone: of each slice that it selects or selected."""
    assert partition is not None
    label, values = partition.label, (zone, partition.shared)
    total = 0
    for operation in plan.operations:
        sides = (operation.after, operation.before)
        seen = [item for item in sides if item and item.metadata.labels.get(label) in values]
        # The API server tells of what is no longer selected as it was when it was.
        total += protobuf_size(seen[0]) if seen else 0
    return total


def _learnt(strategy: PackingStrategy, plan: Plan) -> PackingStrategy:
    """The strategy for the next sync: its own tracker, if it has one, has seen this plan."""
    if isinstance(strategy, Partitioned):
        return attrs.evolve(strategy, inner=_learnt(strategy.inner, plan))
    observe = getattr(getattr(strategy, "volatile", None), "observe", None)
    if observe is None:
        return strategy
    return attrs.evolve(strategy, volatile=observe(plan))  # type: ignore[misc]


def _names() -> Iterator[str]:
    """Names as the API server makes them, each once: they say nothing of who came first."""
    made: set[str] = set()
    for number in count():
        digest = int.from_bytes(md5(b"%d" % number, usedforsecurity=False).digest())
        name = "web-"
        for _ in range(5):
            digest, i = divmod(digest, len(_NAME_CHARACTERS))
            name += _NAME_CHARACTERS[i]
        if name not in made:
            made.add(name)
            yield name
