"""Who leaves soonest: what Kubernetes' controllers decide, as far as endpoints tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from itertools import chain
from operator import attrgetter
from typing import Final

from endpointslice.errors import ModelError
from endpointslice.models import Endpoint, EndpointKey, _key_of

__all__ = ["Departures", "ExitOrder", "to_exit_order"]


class ExitOrder(StrEnum):
    """Which settled endpoints are expected to leave together, and so should sit together."""

    #: By ordinal where the names are a StatefulSet's, by node where nodes hold several
    #: endpoints, by uid otherwise.
    AUTO = "auto"
    #: By node, the fullest first: a ReplicaSet scales down there, and a drain takes a node whole.
    NODE = "node"
    #: By the target's uid, by which a ReplicaSet chooses among Pods of one age.
    UID = "uid"
    #: By the number that ends the target's name, downwards, as a StatefulSet goes.
    ORDINAL = "ordinal"
    #: By identity, which says nothing of who leaves.
    KEY = "key"


def to_exit_order(value: str) -> ExitOrder:
    """Return the member of that value.

    Raises:
        ModelError: There is none.
    """
    try:
        return ExitOrder(value)
    except ValueError:
        raise ModelError("exit_order", f"must be one of {', '.join(ExitOrder)}", value) from None


#: So many endpoints a node must hold on average for nodes to be what endpoints leave by.
_SHARED_NODE: Final = 2

_node_of: Final[Callable[[Endpoint], str | None]] = attrgetter("node_name")
is_terminating: Final[Callable[[Endpoint], bool]] = attrgetter("conditions.terminating")


class Departures:
    """What can be told of who leaves next from the endpoints that are in sight.

    Source: ActivePodsWithRanks of k8s.io/kubernetes pkg/controller/controller_utils.go, and
    its StatefulSet controller.
    """

    def __init__(self, order: ExitOrder, seen: Sequence[Endpoint]) -> None:
        self._seen = seen
        self._ordinals: dict[EndpointKey, int] = {}
        if order is ExitOrder.AUTO or order is ExitOrder.ORDINAL:
            self._ordinals = _ordinals(seen)
        if order is ExitOrder.AUTO and self._ordinals:
            order = ExitOrder.ORDINAL
        self._order = order

    def next_in_line(self, count: int) -> frozenset[EndpointKey]:
        """Return the `count` that a StatefulSet is going to replace next, while it does so.

        They are those below the lowest ordinal that is not settled. Complexity: O(n).
        """
        if not self._ordinals:
            return frozenset()
        moving = [self._ordinals[e.key] for e in self._seen if e.conditions.is_volatile]
        turn = min(moving, default=0)
        return frozenset(
            key for key, ordinal in self._ordinals.items() if turn - count <= ordinal < turn
        )

    def sorted(self, endpoints: Sequence[Endpoint], late: Sequence[bool]) -> list[int]:
        """Return positions of endpoints, those that are expected to leave soonest first.

        Owners that are losing endpoints come before others: a roll-out goes on taking the old
        ReplicaSet's. Where owners do not tell, those marked as `late` come last. Ties stay as
        they are.

        Complexity: O(n log n).
        """
        positions: list[int] = list(range(len(endpoints)))
        going = list(filter(is_terminating, self._seen))
        order = self._order
        if order is ExitOrder.AUTO or order is ExitOrder.NODE:
            at: dict[str | None, list[int]] = {}
            for position, node in enumerate(map(_node_of, endpoints)):
                at.setdefault(node, []).append(position)
            staying = Counter({node: len(found) for node, found in at.items()})
            if len(endpoints) < len(self._seen):
                staying = Counter(map(_node_of, self._seen))
            staying.subtract(map(_node_of, going))
            if order is ExitOrder.AUTO and staying.total() < _SHARED_NODE * len(+staying):
                order = ExitOrder.UID
            else:
                nodes = sorted(at, key=lambda node: (-staying[node], node or ""))
                positions = list(chain.from_iterable(map(at.__getitem__, nodes)))
        if order is ExitOrder.KEY:
            positions.sort(key=list(map(_key_of, endpoints)).__getitem__)
        elif order is ExitOrder.UID:
            positions.sort(key=list(map(uid_of, endpoints)).__getitem__)
        elif order is ExitOrder.ORDINAL:
            ordinals = [-self._ordinals.get(endpoint.key, 0) for endpoint in endpoints]
            positions.sort(key=ordinals.__getitem__)
        stays: Sequence[bool] = late
        if going:
            losing = set(map(_owner_of, going))
            by_owner = [_owner_of(endpoint) not in losing for endpoint in endpoints]
            if any(by_owner) and not all(by_owner):
                stays = by_owner
        if any(stays):
            positions.sort(key=stays.__getitem__)
        return positions


def uid_of(endpoint: Endpoint) -> str:
    """The uid of the object behind an endpoint; "" if there is none."""
    target = endpoint.target_ref
    return "" if target is None else target.uid


def _owner_of(endpoint: Endpoint) -> str:
    """What a controller names its Pods after: a ReplicaSet's has the hash of the template."""
    target = endpoint.target_ref
    return "" if target is None else target.name.rpartition("-")[0]


def _ordinals(endpoints: Sequence[Endpoint]) -> dict[EndpointKey, int]:
    """The ordinals by which a StatefulSet names its Pods, if all of them have one."""
    found: dict[EndpointKey, int] = {}
    owner = None
    for endpoint in endpoints:
        target = endpoint.target_ref
        prefix, _, digits = ("", "", "") if target is None else target.name.rpartition("-")
        # A leading zero is none of Kubernetes', nor is another alphabet's digit.
        is_ordinal = digits.isdecimal() and digits == str(int(digits))
        if not is_ordinal or owner not in {None, prefix}:
            return {}
        owner = prefix
        found[endpoint.key] = int(digits)
    return found
