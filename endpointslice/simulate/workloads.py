"""The workloads that strategies are measured on: what Services go through, on a model cluster.

`WORKLOADS` is the one place that says how large each is and what happens in it. The rules that
their pods go by, and how long they take, are in `clusters`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, final

import attrs

from endpointslice.errors import ModelError
from endpointslice.models import FrozenDict
from endpointslice.simulate.clusters import Cluster, Deployment, Pod, StatefulSet
from endpointslice.simulate.traces import TICK, Trace

__all__ = ["WORKLOADS", "Workload"]

_MINUTE: Final = 60 * TICK
_HOUR: Final = 60 * _MINUTE


@final
@attrs.frozen(kw_only=True)
class Workload:
    """A kind of history: for each seed a trace. It is a value, and can be pickled.

    Attributes:
        name: What it and its traces are called.
        summary: What happens, in a line.
        pods: How many pods the Service has in the beginning.
        nodes: How many nodes there are, in three zones.
        requests_per_second: How many pods its controllers can create or delete in a second.
        story: What happens: makes the pods of a cluster, begins its trace, and acts.
        parameters: What the story is told besides.
    """

    name: str
    summary: str
    pods: int
    nodes: int
    requests_per_second: int = 200
    story: Callable[..., None] = attrs.field(repr=False)
    parameters: Mapping[str, Any] = FrozenDict()

    def trace(self, seed: int) -> Trace:
        """Return what happened, the same for the same seed on every machine."""
        cluster = Cluster(
            nodes=self.nodes,
            zones=3,
            seed=seed,
            requests_per_second=self.requests_per_second,
        )
        self.story(cluster, self.pods, **self.parameters)
        return cluster.trace(self.name)

    def scaled(self, scale: float) -> Workload:
        """Return the same with a share of its pods and nodes, for a quick look.

        At least 10 pods and 6 nodes are left, if there were so many. How long things take, and
        how fast they are asked for, stays as it is.

        Raises:
            ModelError: The scale is not above 0 and at most 1.
        """
        if not 0 < scale <= 1:
            raise ModelError("scale", "must be above 0 and at most 1", scale)
        return attrs.evolve(
            self,
            pods=max(min(10, self.pods), round(self.pods * scale)),
            nodes=max(min(6, self.nodes), round(self.nodes * scale)),
        )


# --- what happens -----------------------------------------------------------------------------


def _roll_out(
    cluster: Cluster, pods: int, *, surge: int | str, unavailable: int | str, times: int = 1
) -> None:
    web = Deployment(cluster, pods, max_surge=surge, max_unavailable=unavailable)
    cluster.begin()
    for _ in range(times):
        cluster.run(TICK)
        web.roll_out()
        cluster.run_until()


def _roll_out_stateful(cluster: Cluster, pods: int) -> None:
    web = StatefulSet(cluster, pods)
    cluster.begin()
    cluster.run(TICK)
    web.roll_out()
    cluster.run_until()


def _autoscale(
    cluster: Cluster, pods: int, *, peak: int, times: int, period: int, up: int, down: int
) -> None:
    """Grow to `peak` times the pods and shrink again, by `up` and `down` percent a period."""
    web = Deployment(cluster, pods)
    cluster.begin()
    cluster.run(TICK)
    for _ in range(times):
        while web.replicas < pods * peak:
            web.scale(min(pods * peak, web.replicas + max(1, web.replicas * up // 100)))
            cluster.run(period)
        cluster.run(3 * period)
        while web.replicas > pods:
            web.scale(max(pods, web.replicas - max(1, web.replicas * down // 100)))
            cluster.run(period)
        cluster.run(3 * period)
    cluster.run_until()


def _scale(cluster: Cluster, pods: int, *, percents: tuple[int, ...], pause: int) -> None:
    """Go through these percentages of the pods, and pause when each is reached."""
    web = Deployment(cluster, pods)
    cluster.begin()
    cluster.run(TICK)
    for percent in percents:
        web.scale(pods * percent // 100)
        cluster.run_until()
        cluster.run(pause)


def _drain(cluster: Cluster, pods: int, *, percent: int, period: int) -> None:
    """Drain a share of the nodes, one each period, and leave them closed."""
    Deployment(cluster, pods)
    cluster.begin()
    cluster.run(TICK)
    for node in range(_share(percent, cluster.nodes)):
        cluster.drain(node)
        cluster.run(period)
    cluster.run_until()


def _upgrade(cluster: Cluster, pods: int, *, reboot: int) -> None:
    """Drain every node, wait until it is empty, and bring it back after a while."""
    Deployment(cluster, pods)
    cluster.begin()
    for node in range(cluster.nodes):
        cluster.run(TICK)
        cluster.drain(node)
        cluster.run(TICK)
        cluster.run_until(partial(cluster.is_empty, node))
        cluster.run(reboot)
        cluster.uncordon(node)
    cluster.run_until()


def _fail_nodes(
    cluster: Cluster, pods: int, *, failures: int, period: int, toleration: int, repair: int
) -> None:
    """Lose a node in each period; its pods are given up if it is not back in time."""
    Deployment(cluster, pods)
    cluster.begin()
    nodes = cluster.rng.sample(range(cluster.nodes), min(failures, cluster.nodes // 2))
    for i, node in enumerate(nodes):
        moment = TICK + i * period + cluster.rng.randrange(period)
        cluster.after(moment, partial(cluster.fail, node))
        cluster.after(moment + toleration, partial(cluster.evict, node))
        cluster.after(moment + repair, partial(cluster.recover, node))
    cluster.run_until()


def _lose_zone(
    cluster: Cluster,
    pods: int,
    *,
    outage: int,
    spread: int,
    toleration: int,
    percent: int,
    eviction: int,
) -> None:
    """Lose all nodes of a zone; a share is given up, one each `eviction`, before it is back."""
    Deployment(cluster, pods)
    cluster.begin()
    zone = cluster.rng.randrange(cluster.zones)
    nodes = range(zone, cluster.nodes, cluster.zones)
    for node in nodes:
        cluster.after(TICK + cluster.rng.randrange(spread), partial(cluster.fail, node))
        cluster.after(outage + cluster.rng.randrange(spread), partial(cluster.recover, node))
    for i, node in enumerate(nodes[: _share(percent, len(nodes))]):
        cluster.after(toleration + spread + i * eviction, partial(cluster.evict, node))
    cluster.run_until()


def _flap(cluster: Cluster, pods: int, *, percent: int, period: int, duration: int) -> None:
    """Have the same few pods turn not ready and ready again, twice in each period or so."""
    Deployment(cluster, pods)
    cluster.begin()

    def flip(pod: Pod) -> None:
        cluster.set_ready(pod, is_ready=not pod.is_ready)
        cluster.after(1 + cluster.rng.randrange(period), partial(flip, pod))

    for pod in cluster.rng.sample(cluster.pods(), _share(percent, pods)):
        cluster.after(TICK + cluster.rng.randrange(period), partial(flip, pod))
    cluster.run(duration)


def _evict(cluster: Cluster, pods: int, *, percent: int, burst: int, duration: int) -> None:
    """Have a share of the pods evicted here and there, up to `burst` of them at once."""
    Deployment(cluster, pods)
    cluster.begin()

    def evict(count: int) -> None:
        for pod in cluster.rng.sample(cluster.pods(), count):
            cluster.delete(pod)

    left = _share(percent, pods)
    while left:
        count = min(left, 1 + cluster.rng.randrange(1 + cluster.rng.randrange(burst)))
        cluster.after(TICK + cluster.rng.randrange(duration), partial(evict, count))
        left -= count
    cluster.run_until()


def _reclaim(cluster: Cluster, pods: int, *, percent: int, duration: int, refill: int) -> None:
    """Take a share of the nodes away, one after another; another comes for each in a while."""
    spares = range(_share(percent, cluster.nodes))
    for node in spares:
        cluster.cordon(node)
    Deployment(cluster, pods)
    cluster.begin()
    used = cluster.rng.sample(range(len(spares), cluster.nodes), len(spares))
    for spare, node in zip(spares, used, strict=True):
        moment = TICK + cluster.rng.randrange(duration)
        cluster.after(moment, partial(cluster.drain, node))
        cluster.after(moment + refill, partial(cluster.uncordon, spare))
    cluster.run_until()


def _live_a_day(
    cluster: Cluster,
    pods: int,
    *,
    swing: int,
    period: int,
    roll_outs: tuple[int, ...],
    drains: tuple[int, ...],
    crashes: int,
) -> None:
    """A day: the autoscaler follows the load, with roll-outs, drains and crashes in between."""
    web = Deployment(cluster, pods)
    cluster.begin()
    day = 24 * _HOUR

    def follow(moment: int) -> None:
        # The load is lowest at midnight and highest at noon.
        height = abs(day // 2 - moment) * 2 - day // 2
        noise = cluster.rng.randrange(-2, 3)
        if not web.is_rolling:
            web.scale(max(1, pods - pods * swing * height // (day // 2 * 100) + noise))

    def crash() -> None:
        (pod,) = cluster.rng.sample(cluster.pods(), 1)
        cluster.restart(pod)

    def drain(node: int) -> None:
        cluster.drain(node)
        cluster.after(5 * _MINUTE, partial(cluster.uncordon, node))

    for moment in range(period, day, period):
        cluster.after(moment, partial(follow, moment))
    for moment in roll_outs:
        cluster.after(moment, web.roll_out)
    for node, moment in enumerate(drains):
        cluster.after(moment, partial(drain, node))
    for _ in range(crashes):
        cluster.after(TICK + cluster.rng.randrange(day - _HOUR), crash)
    cluster.run_until()


def _share(percent: int, total: int) -> int:
    """So many percent of a total, at least 1."""
    return max(1, total * percent // 100)


# --- the suite --------------------------------------------------------------------------------

#: The suite, by name, in the order in which reports list it.
WORKLOADS: Final[Mapping[str, Workload]] = FrozenDict(
    (workload.name, workload)
    for workload in (
        Workload(
            name="roll-out-1000",
            summary="1,000 pods, one a node, rolled twice: surge 25 %, unavailable 25 %",
            pods=1_000,
            nodes=3_000,
            story=_roll_out,
            parameters=FrozenDict(surge="25%", unavailable="25%", times=2),
        ),
        Workload(
            name="roll-out-300-x3",
            summary="300 pods rolled three times in a row: surge 10 %, unavailable 10 %",
            pods=300,
            nodes=100,
            story=_roll_out,
            parameters=FrozenDict(surge="10%", unavailable="10%", times=3),
        ),
        Workload(
            name="roll-out-5000",
            summary="5,000 pods rolled: surge 1 %, none unavailable",
            pods=5_000,
            nodes=1_000,
            story=_roll_out,
            parameters=FrozenDict(surge="1%", unavailable=0),
        ),
        Workload(
            name="roll-out-10-x3",
            summary="a small Service: 10 pods rolled three times",
            pods=10,
            nodes=10,
            requests_per_second=20,
            story=_roll_out,
            parameters=FrozenDict(surge="25%", unavailable="25%", times=3),
        ),
        Workload(
            name="stateful-150",
            summary="a StatefulSet of 150 rolled, one pod after another",
            pods=150,
            nodes=50,
            story=_roll_out_stateful,
        ),
        Workload(
            name="autoscale-2000-x3",
            summary="200 pods to 2,000 and back, three times",
            pods=200,
            nodes=100,
            story=_autoscale,
            parameters=FrozenDict(peak=10, times=3, period=16 * TICK, up=25, down=10),
        ),
        Workload(
            name="scale-down-10000",
            summary="10,000 pods to 1,000 at once, at 20 requests a second",
            pods=10_000,
            nodes=500,
            requests_per_second=20,
            story=_scale,
            parameters=FrozenDict(percents=(10,), pause=0),
        ),
        Workload(
            name="scale-to-zero-500-x2",
            summary="500 pods to none and back, twice, at 20 requests a second",
            pods=500,
            nodes=100,
            requests_per_second=20,
            story=_scale,
            parameters=FrozenDict(percents=(0, 100, 0, 100), pause=_MINUTE),
        ),
        Workload(
            name="drain-2000",
            summary="20 of 100 nodes, with 2,000 pods, drained one after another",
            pods=2_000,
            nodes=100,
            story=_drain,
            parameters=FrozenDict(percent=20, period=21 * TICK),
        ),
        Workload(
            name="upgrade-2000",
            summary="each of 100 nodes, with 2,000 pods, drained and brought back",
            pods=2_000,
            nodes=100,
            story=_upgrade,
            parameters=FrozenDict(reboot=_MINUTE),
        ),
        Workload(
            name="node-failures-2000",
            summary="10 of 100 nodes, with 2,000 pods, fail and come back after 10 minutes",
            pods=2_000,
            nodes=100,
            story=_fail_nodes,
            parameters=FrozenDict(
                failures=10,
                period=2 * _MINUTE,
                toleration=5 * _MINUTE,
                repair=10 * _MINUTE,
            ),
        ),
        Workload(
            name="zone-outage-3000",
            summary="one of three zones, with 3,000 pods, is lost for 7 minutes",
            pods=3_000,
            nodes=90,
            story=_lose_zone,
            parameters=FrozenDict(
                outage=7 * _MINUTE,
                spread=10 * TICK,
                toleration=5 * _MINUTE,
                percent=35,
                eviction=10 * TICK,
            ),
        ),
        Workload(
            name="flapping-2000",
            summary="2 % of 2,000 pods turn not ready and ready again and again",
            pods=2_000,
            nodes=100,
            story=_flap,
            parameters=FrozenDict(percent=2, period=9 * TICK, duration=200 * TICK),
        ),
        Workload(
            name="evictions-3000",
            summary="600 of 3,000 pods are evicted here and there, up to 10 at once",
            pods=3_000,
            nodes=100,
            story=_evict,
            parameters=FrozenDict(percent=20, burst=10, duration=400 * TICK),
        ),
        Workload(
            name="spot-3000",
            summary="200 of 1,000 small nodes, with 3,000 pods, are taken away and replaced",
            pods=3_000,
            nodes=1_200,
            story=_reclaim,
            parameters=FrozenDict(percent=16, duration=400 * TICK, refill=90 * TICK),
        ),
        Workload(
            name="day-500",
            summary="a day of some 500 pods: load, two roll-outs, two drains, a few crashes",
            pods=500,
            nodes=50,
            story=_live_a_day,
            parameters=FrozenDict(
                swing=20,
                period=15 * _MINUTE,
                roll_outs=(10 * _HOUR, 15 * _HOUR),
                drains=(3 * _HOUR, 4 * _HOUR),
                crashes=40,
            ),
        ),
    )
)
