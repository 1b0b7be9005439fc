"""What a controller remembers between syncs: which endpoints keep changing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, compress
from math import floor, log2
from typing import Final, final

import attrs

from endpointslice.diff import differs_in_hints_only
from endpointslice.errors import ModelError
from endpointslice.models import (
    Endpoint,
    EndpointKey,
    EndpointSlice,
    FrozenDict,
    GroupKey,
    _assign,
)
from endpointslice.plan import Plan

__all__ = ["ChurnTracker"]

#: Parts of a plan in which moments are counted: as whole numbers, so that the last bits of a
#: logarithm, which differ between machines, decide nothing.
_PLAN: Final = 1024
#: More is a slip. Up to here all moments are exact in a float.
_LIMIT: Final = 1_000_000


def _check(field: str, value: int, limit: int) -> None:
    if type(value) is not int or not 1 <= value <= limit:
        raise ModelError(field, f"must be 1..{limit}", value)


@final
@attrs.frozen(kw_only=True)
class ChurnTracker:
    """Finds flapping endpoints: those that changed so often lately that they will again.

    Each change of an endpoint adds 1 to its *heat*, and each plan that writes cools all: heat
    halves in `half_life` plans. Heat above twice the threshold does not count, so that who calms
    down is hot for at most one more half-life.

    - **A change** is that an endpoint stays in its group and its content differs, hints left
      aside; it counts once for each plan. To come, to go and to move is none. Hints say how a
      Service shares out all its endpoints, which is no trait of one of them.
    - **Time** is counted in plans, for it is plans that cost: where the changes of several
      endpoints share a plan, it pays to keep these endpoints together; where each has a plan of
      its own it does not, however little time is between.
    - **Identity** is `key` alone: where two groups have an endpoint, one backend flaps.

    A Pod changes three times in a quiet life, when it turns ready, terminates and stops serving.
    That never makes it hot by default, for what lies back counts for less than 1. To go down and
    come up twice within a few plans does, or to change every `half_life / 2` plans.

    Keep one for each Service. A frozen value; `observe` returns the next one.

    Attributes:
        half_life: In how many plans that write heat halves, 1..1,000,000.
        threshold: The heat from which on an endpoint is hot, 1..half_life, so that it can be
            reached.
        max_tracked: How many endpoints are remembered at most, 1..1,000,000. If there would be
            more, half as many are kept: those with most heat, and of equal ones the lower keys.
        hot: The identities of all hot endpoints, whether they are still there or not.

    Raises:
        ModelError: A number is out of its range.
    """

    # Of 2,000 endpoints of which 40 flap (the example trace flap-2000-2pct) these find all 40
    # within 60 plans, and nobody on the other traces. Half of the half-life misses who changes
    # less than once in 18 plans; twice as much keeps for too long who has calmed down.
    half_life: int = 64
    threshold: int = 3
    # Half of it is what changes within one half-life at 32 changes in a plan.
    max_tracked: int = 4096
    hot: frozenset[EndpointKey] = attrs.field(init=False, default=frozenset(), eq=False, repr=False)
    _now: int = attrs.field(init=False, default=0, repr=False)
    #: When each one's heat falls, or fell, below the threshold unless it changes again. All cool
    #: at one rate, so one number is an endpoint's heat at any time, and the hotter has the
    #: higher one: cooling writes nothing.
    _hot_until: FrozenDict[EndpointKey, int] = attrs.field(
        init=False, default=FrozenDict(), repr=False
    )

    def __attrs_post_init__(self) -> None:
        _check("half_life", self.half_life, _LIMIT)
        _check("threshold", self.threshold, self.half_life)
        _check("max_tracked", self.max_tracked, _LIMIT)

    def __call__(self, endpoint: Endpoint) -> bool:
        """Return whether an endpoint is hot: likely to change again soon."""
        return endpoint.key in self.hot

    def observe(self, plan: Plan) -> ChurnTracker:
        """Return what is known after a plan; this very value if that is nothing new.

        Args:
            plan: What was written. Plans are observed in order, each once.

        Complexity: O(w) for w endpoints in written slices, and if any of them changed one copy
            in C of what is tracked; O(t log t) where half of t tracked endpoints is forgotten.
        """
        changed = _changed(plan)
        if plan.is_empty or not (changed or self._hot_until):
            return self
        now = self._now + _PLAN
        hot_until = self._heated(changed, now) if changed else self._hot_until
        candidates = chain(self.hot, changed)
        new = attrs.evolve(self)
        _assign(new, "hot", frozenset(key for key in candidates if hot_until.get(key, 0) >= now))
        _assign(new, "_now", now)
        _assign(new, "_hot_until", hot_until)
        return new

    def _heated(self, changed: Sequence[EndpointKey], now: int) -> FrozenDict[EndpointKey, int]:
        half_life = self.half_life * _PLAN
        hot_until = dict(self._hot_until)
        for key in changed:
            heat = 1.0
            if key in hot_until:
                heat += self.threshold * 2.0 ** ((hot_until[key] - now) / half_life)
            left = floor(half_life * log2(heat / self.threshold))
            hot_until[key] = now + min(left, half_life)
        if len(hot_until) > self.max_tracked:
            order = sorted(hot_until, key=lambda key: (-hot_until[key], key))
            hot_until = {key: hot_until[key] for key in order[: -(-self.max_tracked // 2)]}
        return FrozenDict(hot_until)


def _changed(plan: Plan) -> list[EndpointKey]:
    """The identities of endpoints that change and stay in their group, each once, in order."""
    groups: dict[GroupKey, tuple[list[EndpointSlice], list[EndpointSlice]]] = {}
    for operation in plan.operations:
        for i, stored in enumerate((operation.before, operation.after)):
            if stored is not None:
                groups.setdefault(stored.group_key, ([], []))[i].append(stored)
    changed: set[EndpointKey] = set()
    for before, after in groups.values():
        # Nearly all endpoints are the very objects that stood here before: pass these by.
        stood = set(map(id, chain.from_iterable(stored.endpoints for stored in before)))
        fresh = [e for stored in after for e in stored.endpoints if id(e) not in stood]
        keys = {endpoint.key for endpoint in fresh}
        copies: dict[EndpointKey, list[Endpoint]] = {}
        for stored in before:
            for endpoint in compress(stored.endpoints, map(keys.__contains__, stored.keys)):
                copies.setdefault(endpoint.key, []).append(endpoint)
        for endpoint in fresh:
            was = copies.get(endpoint.key, ())
            # Of several copies before, those that said something else were wrong.
            if was and not any(differs_in_hints_only(copy, endpoint) for copy in was):
                changed.add(endpoint.key)
    return sorted(changed)
