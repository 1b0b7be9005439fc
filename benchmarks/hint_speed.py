"""Hints of topology-mode Auto for 100,000 endpoints over 10 zones.

    python -m benchmarks.hint_speed

Beside them, what the reconcile takes that follows: endpoints whose hints stay are the objects of
the slices, so it need not compare them.
"""

from __future__ import annotations

from functools import partial
from itertools import cycle
from statistics import median

import attrs

from benchmarks.scenarios import Kind, Order, Scenario, build, group
from benchmarks.timing import frozen_inputs, interleaved, table
from endpointslice import (
    Endpoint,
    EndpointGroup,
    EndpointSlice,
    FrozenDict,
    Node,
    ObjectMeta,
    ProportionalZones,
    SliceTemplate,
    decode_slice,
    encode_slice,
    reconcile,
)

_ZONES = tuple(f"zone-{i}" for i in range(10))
_POLICY = ProportionalZones()


def nodes() -> list[Node]:
    """A Node in each zone, of one of three sizes."""
    return [
        Node(
            metadata=ObjectMeta(
                name=f"node-{zone}", labels=FrozenDict({"topology.kubernetes.io/zone": zone})
            ),
            ready=True,
            allocatable_cpu=cpu,
        )
        for zone, cpu in zip(_ZONES, cycle((3920, 4420, 4920)), strict=False)
    ]


@attrs.frozen
class HintScenario:
    """Endpoints without hints, and slices in which they have hints already."""

    desired: EndpointGroup
    current: tuple[EndpointSlice, ...]
    template: SliceTemplate

    def decide(self) -> tuple[EndpointGroup, ...]:
        """Give the endpoints their hints."""
        decision = _POLICY.decide(
            [self.desired], nodes=nodes(), current=self.current, template=self.template
        )
        assert decision.fallbacks == ()
        return decision.groups


def scenario(kind: Kind, n: int, order: Order) -> HintScenario:
    """Make one of the scenarios, with endpoints in ten zones."""
    plain: Scenario = build(kind, n, order)
    zones = {item.key: zone for item, zone in zip(plain.endpoints, cycle(_ZONES), strict=False)}

    def zoned(item: Endpoint) -> Endpoint:
        zone = zones.get(item.key, _ZONES[0])
        return Endpoint(
            item.addresses, item.conditions, None, item.node_name, zone, item.target_ref
        )

    desired = group(map(zoned, plain.endpoints))
    slices = [
        attrs.evolve(stored, endpoints=tuple(map(zoned, stored.endpoints)))
        for stored in plain.current
    ]
    held = [EndpointGroup(key=stored.group_key, endpoints=stored.endpoints) for stored in slices]
    hinted = _POLICY.decide(held, nodes=nodes()).groups
    current = tuple(
        decode_slice(encode_slice(attrs.evolve(stored, endpoints=found.endpoints)))
        for stored, found in zip(slices, hinted, strict=True)
    )
    return HintScenario(desired, current, plain.template)


def main(n: int = 100_000, rounds: int = 9) -> None:
    """Print a table."""
    rows = []
    kinds = {
        "all stay": Kind.NOOP_DISTINCT,
        "1 % replaced": Kind.PERCENT_REPLACED,
        "all new": Kind.COLD,
    }
    for name, kind in kinds.items():
        for order in Order:
            found = scenario(kind, n, order)
            hinted = found.decide()
            with frozen_inputs():
                times = interleaved(
                    {
                        "hints": found.decide,
                        "reconcile": partial(
                            reconcile, hinted, found.current, template=found.template
                        ),
                    },
                    rounds,
                )
            rows.append(
                (name, str(order), *(f"{1e3 * median(found):.0f} ms" for found in times.values()))
            )
    print(table(("hints", "order", "hints", "reconcile with them"), rows))


if __name__ == "__main__":
    main()
