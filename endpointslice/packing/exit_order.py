"""Who leaves soonest: what Kubernetes' controllers decide, as far as endpoints tell."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from functools import cached_property
from itertools import chain, compress
from operator import attrgetter, not_
from typing import Final

from endpointslice.errors import ModelError
from endpointslice.models import Endpoint, EndpointKey, _is_volatile_of, _key_of

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

#: A leading zero is none of Kubernetes', nor is another alphabet's digit. A name has at most 253
#: characters; of thousands of digits Python refuses to make a number.
_ORDINAL: Final = re.compile(r"0|[1-9][0-9]{0,252}")

_node_of: Final[Callable[[Endpoint], str | None]] = attrgetter("node_name")
is_terminating: Final[Callable[[Endpoint], bool]] = attrgetter("conditions.terminating")


class Departures:
    """What can be told of who leaves next from the endpoints that are in sight.

    Args:
        order: What they are expected to leave by.
        seen: All endpoints in sight, in parts: joining them would cost a good deal.
        volatile: Those of them that are not ready, or terminate; found if they are not given.

    Source: ActivePodsWithRanks of k8s.io/kubernetes pkg/controller/controller_utils.go, and
    its StatefulSet controller.
    """

    def __init__(
        self,
        order: ExitOrder,
        seen: Sequence[Sequence[Endpoint]],
        volatile: Sequence[Endpoint] | None = None,
    ) -> None:
        if volatile is None:
            volatile = list(filter(_is_volatile_of, chain.from_iterable(seen)))
        self._seen = seen
        self._volatile = volatile
        self._order = order

    @cached_property
    def _ordinals(self) -> dict[EndpointKey, int]:
        """The ordinals of all in sight; of some orders nobody asks."""
        is_asked = self._order is ExitOrder.AUTO or self._order is ExitOrder.ORDINAL
        return _ordinals(chain.from_iterable(self._seen)) if is_asked else {}

    def next_in_line(self, count: int) -> frozenset[EndpointKey]:
        """Return the `count` that a StatefulSet is going to replace next, while it does so.

        They are those below the lowest ordinal that is not settled. Complexity: O(n).
        """
        if not self._volatile or not self._ordinals:
            return frozenset()
        turn = min(self._ordinals[endpoint.key] for endpoint in self._volatile)
        return frozenset(
            key for key, ordinal in self._ordinals.items() if turn - count <= ordinal < turn
        )

    def sorted(
        self, endpoints: Sequence[Endpoint], late: frozenset[EndpointKey] = frozenset()
    ) -> list[Endpoint]:
        """Return endpoints, those that are expected to leave soonest first.

        Owners that are losing endpoints come before others: a roll-out goes on taking the old
        ReplicaSet's. Where owners do not tell, those marked as `late` come last. Ties stay as
        they are.

        Complexity: O(n log n).
        """
        if len(endpoints) < 2:
            return list(endpoints)
        going = [endpoint for endpoint in self._volatile if endpoint.conditions.terminating]
        result = self._sorted(endpoints, going)
        losing = set(map(_owner_of, going))
        if losing:
            stays = [_owner_of(endpoint) not in losing for endpoint in result]
            if True in stays and False in stays:
                return _parted(result, stays)
        return _parted(result, [endpoint.key in late for endpoint in result]) if late else result

    def _sorted(self, endpoints: Sequence[Endpoint], going: Sequence[Endpoint]) -> list[Endpoint]:
        order = self._order
        if order is ExitOrder.AUTO and self._ordinals:
            order = ExitOrder.ORDINAL
        if order is ExitOrder.AUTO or order is ExitOrder.NODE:
            at: defaultdict[str | None, list[Endpoint]] = defaultdict(list)
            for endpoint in endpoints:
                at[endpoint.node_name].append(endpoint)
            if len(endpoints) < sum(map(len, self._seen)):
                # Two passes: where endpoints lie scattered, to hash between reads doubles the time.
                staying = Counter([endpoint.node_name for part in self._seen for endpoint in part])
            else:
                staying = Counter({node: len(found) for node, found in at.items()})
            staying.subtract(map(_node_of, going))
            if order is ExitOrder.NODE or staying.total() >= _SHARED_NODE * len(+staying):
                nodes = sorted(at, key=lambda node: node or "")
                nodes.sort(key=staying.__getitem__, reverse=True)
                return list(chain.from_iterable(map(at.__getitem__, nodes)))
            order = ExitOrder.UID
        if order is ExitOrder.KEY:
            return sorted(endpoints, key=_key_of)
        if order is ExitOrder.UID:
            return sorted(endpoints, key=uid_of)
        return sorted(endpoints, key=lambda endpoint: -self._ordinals.get(endpoint.key, 0))


def _parted(endpoints: Sequence[Endpoint], is_last: Sequence[bool]) -> list[Endpoint]:
    """Put those that are marked behind the others; ties stay as they are."""
    return [*compress(endpoints, map(not_, is_last)), *compress(endpoints, is_last)]


def uid_of(endpoint: Endpoint) -> str:
    """The uid of the object behind an endpoint; "" if there is none."""
    target = endpoint.target_ref
    return "" if target is None else target.uid


def _owner_of(endpoint: Endpoint) -> str:
    """What a controller names its Pods after: a ReplicaSet's has the hash of the template."""
    target = endpoint.target_ref
    return "" if target is None else target.name.rpartition("-")[0]


def _ordinals(endpoints: Iterable[Endpoint]) -> dict[EndpointKey, int]:
    """The ordinals by which a StatefulSet names its Pods, if all of them have one."""
    found: dict[EndpointKey, int] = {}
    owner = None
    for endpoint in endpoints:
        target = endpoint.target_ref
        prefix, _, digits = ("", "", "") if target is None else target.name.rpartition("-")
        if not _ORDINAL.fullmatch(digits) or owner not in {None, prefix}:
            return {}
        owner = prefix
        found[endpoint.key] = int(digits)
    return found
