"""What a controller remembers between syncs: its own writes, and who and what has changed.

Three values, one question each. `SliceTracker`: is the cache as new as what was written?
`trigger_time`: which change does this sync answer? `ChurnTracker`: which endpoints keep changing?
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, compress
from math import floor, log2
from typing import Any, Final, TypeAlias, final

import attrs

from endpointslice.diff import differs_in_hints_only
from endpointslice.errors import ModelError
from endpointslice.grouping import rfc3339_nano
from endpointslice.models import (
    Endpoint,
    EndpointKey,
    EndpointSlice,
    FrozenDict,
    GroupKey,
    Pod,
    Service,
    _assign,
    revision_of,
)
from endpointslice.plan import Plan

__all__ = ["ChurnTracker", "SliceTracker", "TriggerTimes", "trigger_time"]

_NOTHING: Final[FrozenDict[str, Any]] = FrozenDict()

# --- who keeps changing -----------------------------------------------------------------------

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


# --- what was written -------------------------------------------------------------------------

#: Generation, and resource version; 0 for what is no number.
_Version: TypeAlias = tuple[int, int]


def _version(stored: EndpointSlice) -> _Version:
    return stored.metadata.generation, stored.metadata.revision


def _precedes(one: _Version, other: _Version) -> bool:
    """Whether one version of a slice is older than another, as far as can be told."""
    return one < other if one[1] and other[1] else one[0] < other[0]


def _identity(stored: EndpointSlice) -> str:
    """A slice that is made again has its name, but not its uid."""
    return stored.metadata.uid or stored.name


@final
@attrs.frozen(kw_only=True)
class SliceTracker:
    """Recognises a cache that is older than what was written, which must not be planned upon.

    A plan from a cache that lags behind a watch writes again what has been written: updates and
    deletes are refused, but creates make second slices. Tell this value what was written, ask
    it before each plan, and wait for the next event while it says that the cache is stale.

    | Happens | Tell | The cache from then on |
    |---|---|---|
    | a create or an update is answered | `observed(answer)` | must show that version, or newer |
    | a plan was carried out, or its first part | `planned(plan)` | must not show what it deleted |
    | a write is refused, or its outcome is unknown | nothing | |
    | the watch says that a slice is gone | `deleted(slice)` | need not show it any more |
    | the watch says that one came or changed | nothing; `observed` does no harm | |
    | the process starts, or the watch lists anew | begin a new one, with the list's version | |

    - **Name and uid** of what a plan creates are known from the answer alone, so a create counts
      from there on. One whose answer was lost is unknown here; the next plan removes what is twice.
    - **It never wedges.** What others write is newer, so it satisfies whoever waits for our write.
      What others delete is forgotten when the watch says so, also if the answer to our write is
      told after that: a watch tells in order, so who has heard of a revision has heard of all
      before. For the same reason nobody waits for a slice that is missing from a cache which shows
      anything newer: it has been deleted. A slice that is deleted and made again under its name has
      another uid, and is another slice. A delete that was refused, because somebody had written
      the slice, is not waited for once the cache shows what they wrote.
    - **Versions** are generations, and of one generation the resource versions, as a change of
      annotations or owners makes no new generation. Resource versions are compared as numbers,
      which they are in Kubernetes; any other says nothing.
    - **Memory** is what was observed and still stands, and what the last plan deleted.

    Keep one for each Service. An empty one takes nothing for stale. A frozen value; its methods
    return the next one, or this very value if they are told nothing new.

    Attributes:
        resource_version: How far the cache is known to have heard at least: the version of the
            list that it was filled with ("" if that is not known), then of the last deletion.

    Source: k8s.io/kubernetes pkg/controller/util/endpointslice, EndpointSliceTracker; that waits
    for ever for what others have deleted before its write was noted (k/k#141592).
    """

    resource_version: str = ""
    #: What the cache must show, and at which version at least.
    _standing: FrozenDict[str, _Version] = attrs.field(default=_NOTHING, repr=False)
    #: What the cache must not show, in the version that was deleted or an older one.
    _gone: FrozenDict[str, _Version] = attrs.field(default=_NOTHING, repr=False)

    def planned(self, plan: Plan) -> SliceTracker:
        """Return what is known after a plan was carried out, or as much of it as was.

        Its deletes take the place of those of the plan before, for a plan is made from a cache
        that has seen these. So it may be told before the first request is sent, and again with
        the operations that were carried out, if those are not all.

        Args:
            plan: What was written. Leave out what was refused, and what may not have happened.

        Complexity: O(w) for w writes, and if there were or are deletes O(s) for s slices.
        """
        gone = {_identity(item.before): _version(item.before) for item in plan.deletes}
        if gone == self._gone:
            return self
        standing = {key: self._standing[key] for key in self._standing if key not in gone}
        return attrs.evolve(self, standing=FrozenDict(standing), gone=FrozenDict(gone))

    def observed(self, answer: EndpointSlice) -> SliceTracker:
        """Return what is known after the API server has answered with a slice.

        Args:
            answer: What it says to a create, an update or a read. In any order, and as often as
                one likes; the newest counts.

        Complexity: O(s) for s slices that were observed and still stand.
        """
        key, version = _identity(answer), _version(answer)
        if key in self._gone or 0 < version[1] <= revision_of(self.resource_version):
            return self
        if key in self._standing and not _precedes(self._standing[key], version):
            return self
        return attrs.evolve(self, standing=FrozenDict({**self._standing, key: version}))

    def deleted(self, last: EndpointSlice) -> SliceTracker:
        """Return what is known after the cache was told that a slice is gone.

        Tell this only what the watch says, also of a slice that has come to belong to another
        Service; never the answer to a delete, for the cache does not know of it yet.

        Args:
            last: The slice as the event has it: with the resource version of the deletion.

        Complexity: O(s) for s slices that were observed and still stand.
        """
        standing, gone = (
            FrozenDict({key: known[key] for key in known if key != _identity(last)})
            for known in (self._standing, self._gone)
        )
        versions = (self.resource_version, last.metadata.resource_version)
        heard = max(versions, key=revision_of)
        return attrs.evolve(self, resource_version=heard, standing=standing, gone=gone)

    def is_stale(self, slices: Iterable[EndpointSlice]) -> bool:
        """Return whether a cache lacks something that was written.

        Args:
            slices: All that the cache holds of the Service, or more, in any order; also those that
                are being deleted and those of other managers. The cache is fed by one watch, and
                by no answers.

        Complexity: O(s) for s slices.
        """
        shown = {_identity(stored): _version(stored) for stored in slices}
        heard = max((number for _, number in shown.values()), default=0)
        heard = max(heard, revision_of(self.resource_version))
        for key, version in self._standing.items():
            if key not in shown:
                if not 0 < version[1] <= heard:
                    return True
            elif _precedes(shown[key], version):
                return True
        return any(
            key in shown and not _precedes(version, shown[key])
            for key, version in self._gone.items()
        )


# --- which change is answered -----------------------------------------------------------------


@final
@attrs.frozen(kw_only=True)
class TriggerTimes:
    """When a Service and its Pods changed last, as of one sync.

    Attributes:
        time: When the change happened that this sync answers, for `slice_template` and
            `reconcile_service`: RFC 3339 in UTC, to the nanosecond. None if none is known.
        service: When the Service was created, as it is spelled there.
        pods: When each Pod became ready or ceased to be, by its name, as it is spelled there.
    """

    time: str | None
    service: str | None
    pods: FrozenDict[str, str]


def trigger_time(
    service: Service, pods: Iterable[Pod], previous: TriggerTimes | None = None
) -> TriggerTimes:
    """Find out when the change happened that a sync answers.

    That is the earliest of the times that are newer than at the sync before, of the same Pod or
    Service: when a Pod's Ready condition changed, when the Service was created. Without a sync
    before it is when the Service was created. A Pod that goes is no change that has a time; of an
    object that changes twice between two syncs the second counts.

    Times compare as moments, to the nanosecond, in whatever zone they are spelled. Kubernetes
    writes whole seconds, so the latency that is measured against them is too long by up to one.

    Args:
        service: The Service.
        pods: The Pods that it selects, in any order; Pods without a time do not count.
        previous: What this function returned at the sync before, None at the first. A sync that
            fails has not answered: hand its `previous` to the next one as well.

    Returns:
        The time, and what to hand over at the next sync.

    Raises:
        ModelError: What has changed has a time that is none in RFC 3339.

    Complexity: O(n) for n Pods; only times that differ from those of before are read.
    Source: k8s.io/endpointslice util/trigger_time_tracker.go.
    """
    found = {
        pod.metadata.name: pod.ready_transition_time
        for pod in pods
        if pod.ready_transition_time is not None
    }
    created = service.metadata.creation_timestamp
    seen: Mapping[str, str] = _NOTHING if previous is None else previous.pods
    changes = [(created, None if previous is None else previous.service)]
    if previous is not None:
        changes += [(time, seen.get(name)) for name, time in found.items()]
    newer = [moment for time, before in changes if (moment := _moment_after(time, before))]
    return TriggerTimes(
        time=f"{min(newer)}Z" if newer else None, service=created, pods=FrozenDict(found)
    )


def _moment_after(time: str | None, before: str | None) -> str:
    """A time that is newer than another, in a spelling that sorts by time; "" if it is not."""
    if time is None or time == before:
        return ""
    moment = _moment(time)
    return moment if before is None or _moment(before) < moment else ""


def _moment(time: str) -> str:
    # Without the Z the digits of a fraction come after the end of a text that has none.
    return rfc3339_nano(time).removesuffix("Z")
