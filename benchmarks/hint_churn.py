"""Writes that hints alone cause, over the life of a Service that grows and shrinks.

    python -m benchmarks.hint_churn

Three zones, topology-mode Auto. Pods come to random zones and random ones go, and their number
swings around those at which hints are just possible; or it hardly changes, and the Nodes do. What
is counted: slices that are written for nothing but their hints, all writes, how often hints are
given or taken away, hints that change while they are given, and syncs after which some zone is
overloaded by over 30 %.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Final

import attrs

from endpointslice import (
    Endpoint,
    EndpointGroup,
    EndpointPort,
    EndpointSlice,
    FrozenDict,
    GroupKey,
    KubernetesPacking,
    Node,
    ObjectMeta,
    ObjectReference,
    ProportionalZones,
    Reason,
    SliceTemplate,
    apply_plan,
    reconcile,
)

_KEY: Final = GroupKey(address_type="IPv4", ports=(EndpointPort(port=8080),))
_TEMPLATE: Final = SliceTemplate(metadata=ObjectMeta(namespace="shop", generate_name="web-"))
POLICIES: Final = {
    "the reference's rule": ProportionalZones(sticky=False, hysteresis=False),
    "hysteresis only": ProportionalZones(sticky=False),
    "sticky only": ProportionalZones(hysteresis=False),
    "sticky, with hysteresis": ProportionalZones(),
}


@attrs.frozen(kw_only=True)
class Swing:
    """A Service whose number of endpoints wanders between two numbers.

    Attributes:
        low: The fewest endpoints.
        high: The most.
        step: How many come or go in one sync at most.
        cpu: Milli-CPUs of each zone.
        capacity: Endpoints in a slice at most.
        syncs: How many syncs.
        nodes: By how much the CPUs of a zone may differ from their usual amount, in per cent, as
            Nodes come and go; they change at every tenth sync.
    """

    low: int
    high: int
    step: int
    cpu: tuple[int, ...]
    capacity: int = 100
    syncs: int = 400
    nodes: int = 0


SWINGS: Final = {
    "9 to 14, equal zones": Swing(low=9, high=14, step=1, cpu=(4000, 4000, 4000), capacity=5),
    "12 to 40, unequal zones": Swing(low=12, high=40, step=4, cpu=(8000, 4000, 2000), capacity=10),
    "600 to 900, unequal zones": Swing(low=600, high=900, step=30, cpu=(8000, 6000, 4000)),
    "Nodes come and go": Swing(low=990, high=1000, step=2, cpu=(40000, 30000, 20000), nodes=40),
}


@attrs.frozen
class Churn:
    """What a policy led to.

    Attributes:
        hints_only: Slices written for nothing but their hints.
        writes: All writes.
        switches: How often hints were given or taken away.
        changed: Hints that changed while they were given before and after.
        overloaded: Syncs after which a zone was overloaded by over 30 %.
    """

    hints_only: int
    writes: int
    switches: int
    changed: int
    overloaded: int


def _node(zone: str, cpu: int) -> Node:
    labels = FrozenDict({"topology.kubernetes.io/zone": zone})
    meta = ObjectMeta(name=f"node-{zone}", labels=labels)
    return Node(metadata=meta, ready=True, allocatable_cpu=cpu)


def churn(swing: Swing, policy: ProportionalZones, seed: int = 1) -> Churn:
    """Live through a swing by a policy, with the reference's packing."""
    random = Random(seed)
    zones = [f"zone-{i}" for i in range(len(swing.cpu))]
    cpus = list(swing.cpu)
    current: tuple[EndpointSlice, ...] = ()
    alive: list[Endpoint] = []
    born = hints_only = writes = switches = changed = overloaded = 0
    were_given = False
    goal = swing.high
    for sync in range(swing.syncs):
        if swing.nodes and sync % 10 == 9:
            place = random.randrange(len(cpus))
            percent = random.randint(100 - swing.nodes, 100 + swing.nodes)
            cpus[place] = swing.cpu[place] * percent // 100
        if len(alive) == goal:
            goal = random.randint(swing.low, swing.high)
        for _ in range(random.randint(1, swing.step)):
            if len(alive) < goal:
                zone = random.choices(zones, swing.cpu)[0]
                address = f"10.{born // 62500}.{born // 250 % 250}.{born % 250 + 1}"
                target = ObjectReference("Pod", "shop", f"web-{born:05d}", f"uid-{born}")
                alive.append(Endpoint((address,), node_name=zone, zone=zone, target_ref=target))
                born += 1
            elif len(alive) > goal:
                del alive[random.randrange(len(alive))]
        decision = policy.decide(
            [EndpointGroup(key=_KEY, endpoints=alive)],
            nodes=list(map(_node, zones, cpus)),
            current=current,
            template=_TEMPLATE,
        )
        plan = reconcile(
            decision.groups,
            current,
            template=_TEMPLATE,
            strategy=KubernetesPacking(),
            max_endpoints_per_slice=swing.capacity,
        )
        hints_only += sum(item.reasons == (Reason.HINTS_CHANGED,) for item in plan.updates)
        writes += len(plan.operations)
        are_given = not decision.fallbacks
        switches += are_given != were_given
        were_given = are_given
        hints = {
            item.key: item.hints for stored in current for item in stored.endpoints if item.hints
        }
        for item in decision.groups[0].endpoints if are_given else ():
            changed += hints.get(item.key, item.hints) != item.hints
        counts = Counter(
            zone for item in decision.groups[0].endpoints for zone in item.hints.for_zones
        )
        overloaded += are_given and any(
            13 * counts[zone] * sum(cpus) < 10 * len(alive) * cpu
            for zone, cpu in zip(zones, cpus, strict=True)
        )
        names = (f"web-{len(current)}-{born}-{i}" for i in range(len(plan.creates)))
        current = apply_plan(current, plan, names=names)
    return Churn(hints_only, writes, switches, changed, overloaded)


def main() -> None:
    """Print a table."""
    seeds = range(1, 6)
    print(f"{'':28}{'HINTS ONLY':>12}{'WRITES':>9}{'SWITCHES':>10}{'CHANGED':>9}{'OVERLOADED':>12}")
    for name, swing in SWINGS.items():
        print(f"{name} ({len(seeds)} seeds of {swing.syncs} syncs)")
        for title, policy in POLICIES.items():
            found = [churn(swing, policy, seed) for seed in seeds]
            columns = [sum(column) for column in zip(*map(attrs.astuple, found), strict=True)]
            widths = (12, 9, 10, 9, 12)
            figures = [f"{number:>{width},}" for number, width in zip(columns, widths, strict=True)]
            print(f"  {title:26}{''.join(figures)}")


if __name__ == "__main__":
    main()
