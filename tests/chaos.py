"""Two replicas of a controller in a storm: all that an API server, a watch and others do to them.

A *history* is a world made from one seed: an API server in this process, two replicas of one
controller that plan from caches that lag, another manager, a person with kubectl, a garbage
collector. They take turns, one request at a time, as the seed has it. After **every** write the
`Judge` compares what a watcher sees with what it may see. Then the faults stop, and all must be
well after a few syncs. Nothing waits and nothing reads a clock, so a seed is a history.

    python -m tests.chaos --table
    python -m tests.chaos --seed 17
"""

from __future__ import annotations

import argparse
import json
import random
import types
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal, TypeAlias

import attrs

from endpointslice import (
    LABEL_MANAGED_BY,
    LABEL_SERVICE_NAME,
    Endpoint,
    EndpointGroup,
    EndpointKey,
    EndpointSlice,
    FrozenDict,
    GroupKey,
    PackingStrategy,
    Plan,
    SliceCache,
    SliceTemplate,
    SliceTracker,
    check_plan,
    decode_slice,
    encode_slice,
    merge_slices,
    reconcile,
)
from endpointslice.clients import (
    Answer,
    ApplyResult,
    OperationResult,
    Outcome,
    RetryPolicy,
    SliceRequest,
    Verb,
    apply_plan_to_async,
    as_slice_client,
    list_slices,
)
from endpointslice.errors import ApiError
from endpointslice.plan import DeleteSlice
from endpointslice.testing import (
    ApiServer,
    Cluster,
    ConnectionDroppedError,
    Fault,
    FaultKind,
    HttpRequest,
    Watch,
)
from tests.builders import IPV4, IPV6, OWNER, PORT_SETS, TEMPLATE, VARIANTS, endpoint
from tests.test_reconcile_laws import STRATEGIES, content

NAMESPACE: Final = "shop"
SERVICE: Final = "web"
OTHER: Final = "somebody.example.com"
STEPS: Final = 40
#: Syncs of both replicas, after the faults have stopped, in which all must be well.
MAX_SYNCS: Final = 8

_SLICES: Final = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
_SERVICES: Final = f"/api/v1/namespaces/{NAMESPACE}/services"
_QUOTAS: Final = f"/api/v1/namespaces/{NAMESPACE}/resourcequotas"
_HOLD: Final = "example.com/hold"
#: Numbers of endpoints: that come and go, that only a person adds, and the other manager's.
_UNIVERSE: Final = range(12)
_BY_HAND: Final = range(50, 53)
_FOREIGN: Final = range(70, 76)
_ON_READS: Final = (
    FaultKind.TOO_MANY_REQUESTS,
    FaultKind.INTERNAL_ERROR,
    FaultKind.UNAVAILABLE,
    FaultKind.TIMEOUT,
    FaultKind.DROP_BEFORE,
)
_ON_WRITES: Final = (
    *_ON_READS,
    FaultKind.CONFLICT,
    FaultKind.TIMEOUT_AFTER,
    FaultKind.DROP_AFTER,
    "late",
)

_Place: TypeAlias = tuple[GroupKey, EndpointKey]
Send: TypeAlias = Callable[[SliceRequest], Answer]
#: One in so many histories is played over HTTP, through one client or another.
OVER_HTTP: Final = 47


class ViolationError(AssertionError):
    """What may never happen has happened."""


# --- what is wanted ---------------------------------------------------------------------------

_endpoint = lru_cache(None)(endpoint)


@lru_cache(64)
def _template(uid: str, tier: str) -> SliceTemplate:
    own = TEMPLATE.metadata
    labels = FrozenDict({**own.labels, "tier": tier} if tier else own.labels)
    owners = (attrs.evolve(OWNER, uid=uid),)
    return attrs.evolve(
        TEMPLATE, metadata=attrs.evolve(own, labels=labels, owner_references=owners)
    )


@attrs.frozen(kw_only=True, eq=False)
class View:
    """What somebody takes to be wanted: the Service's uid and label, and endpoints by group."""

    uid: str
    tier: str
    groups: tuple[EndpointGroup, ...]
    places: Mapping[_Place, Endpoint]

    @property
    def template(self) -> SliceTemplate:
        return _template(self.uid, self.tier)

    @classmethod
    def of(cls, uid: str, tier: str, wanted: Mapping[GroupKey, Mapping[int, int]]) -> View:
        groups = tuple(
            EndpointGroup(
                key=key,
                endpoints=tuple(_endpoint(n, v, key.address_type) for n, v in members.items()),
            )
            for key, members in wanted.items()
        )
        places = {(group.key, item.key): item for group in groups for item in group.endpoints}
        return cls(uid=uid, tier=tier, groups=groups, places=places)


def _describe(place: _Place) -> str:
    key, who = place
    ports = ",".join(str(port.port) for port in key.ports)
    return f"{who.split(chr(0))[0]} of {key.address_type}[{ports}]"


# --- who writes, and what they did ------------------------------------------------------------


@attrs.frozen(kw_only=True, eq=False)
class Actor:
    """Who writes; a replica's plan with what it knew: a view, and a cache of a revision."""

    name: str
    view: View | None = None
    since: int = 0


@attrs.frozen(eq=False)
class Event:
    """One write, as a watcher sees it."""

    type: str
    manifest: Mapping[str, Any]
    stored: EndpointSlice

    @property
    def version(self) -> int:
        return int(self.stored.metadata.resource_version)


@lru_cache(8192)
def _event(line: bytes) -> Event | None:
    """A line of a watch; None if it says that the watch is too old."""
    read = json.loads(line)
    if read["type"] == "ERROR":
        assert read["object"]["code"] == 410
        return None
    return Event(read["type"], read["object"], decode_slice(read["object"]))


@attrs.define(eq=False)
class Sent:
    """One request, and what it did to the store, then or later."""

    request: SliceRequest
    events: list[Event] = attrs.Factory(list)
    is_lost: bool = False
    is_late: bool = False


@attrs.define(eq=False)
class Tried:
    """All that was sent for one operation, and what it is said to have come to."""

    naming: str
    sent: list[Sent] = attrs.Factory(list)
    result: OperationResult | None = None

    @property
    def events(self) -> list[Event]:
        return [event for one in self.sent for event in one.events]

    @property
    def is_lost(self) -> bool:
        return any(one.is_lost for one in self.sent)


# --- the judge --------------------------------------------------------------------------------


def is_ours(stored: EndpointSlice) -> bool:
    labels = stored.metadata.labels
    return (
        labels.get(LABEL_MANAGED_BY) == TEMPLATE.metadata.labels[LABEL_MANAGED_BY]
        and labels.get(LABEL_SERVICE_NAME) == SERVICE
    )


def _is_live(stored: EndpointSlice | None) -> bool:
    return stored is not None and is_ours(stored) and stored.metadata.deletion_timestamp is None


def _held(stored: EndpointSlice | None) -> dict[_Place, Endpoint]:
    """What a slice says of whom, as long as we answer for it."""
    if stored is None or not _is_live(stored):
        return {}
    return {(stored.group_key, item.key): item for item in stored.endpoints}


def _uids(stored: EndpointSlice) -> list[str]:
    return [owner.uid for owner in stored.metadata.owner_references]


class Judge:
    """Sees every write at once, and says whether it may be.

    **Nothing is lost.** A plan that wants an endpoint and takes a copy of it away leaves another.
    It is excused if it could not know better: the endpoint was taken away by others (a person, a
    view that did not want it, or such an excused plan) after the plan's cache was as it was.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.standing: dict[str, Event] = {}
        #: What each object was, by uid; None when it was gone.
        self.past: dict[str, list[EndpointSlice | None]] = {}
        self.cache: Final = SliceCache()
        self.known: set[tuple[Any, ...]] = set()
        self.uid = ""
        self.effects = 0
        self._cluster: Final = cluster
        self._watch: Final = cluster.watch(f"{_SLICES}?resourceVersion={cluster.resource_version}")
        self._copies: Counter[_Place] = Counter()
        self._taken: dict[_Place, int] = {}

    def learn(self, view: View) -> None:
        """Be told what is wanted now."""
        self.uid = view.uid
        self.allow(view.places.items())

    def allow(self, items: Iterable[tuple[_Place, Endpoint]]) -> None:
        """Be told what may be seen from now on."""
        self.known.update((*place, content(item)) for place, item in items)

    def see(self, actor: Actor) -> list[Event]:
        """Judge what was written since the last time, which is one actor's work."""
        events = []
        for line in self._watch.read():
            event = _event(line)
            assert event is not None
            events.append(event)
            self.effects += 1
            before = self.standing.get(event.stored.name)
            if event.type == "DELETED":
                del self.standing[event.stored.name]
                self._judge(actor, event, before, None)
            else:
                self.standing[event.stored.name] = event
                self._judge(actor, event, before, event)
        return events

    def _judge(self, actor: Actor, event: Event, before: Event | None, after: Event | None) -> None:
        old = None if before is None else before.stored
        new = None if after is None else after.stored
        self.past.setdefault(event.stored.metadata.uid, []).append(new)
        if actor.view is not None:
            self._check_rights(actor, event, before, after)
        held, holds = _held(old), _held(new)
        for place in held.keys() - holds.keys():
            self._copies[place] -= 1
        for place in holds.keys() - held.keys():
            self._copies[place] += 1
        for place, item in holds.items():
            if (*place, content(item)) not in self.known:
                raise ViolationError(
                    f"{actor.name} shows {_describe(place)} as it never was: {item}"
                )
        for place in held:
            if place not in holds:
                self._check_loss(actor, event, place)
        self._check_view(event.stored, new)

    def _check_loss(self, actor: Actor, event: Event, place: _Place) -> None:
        view = actor.view
        is_excused = (
            view is None
            or place not in view.places
            # Of another Service, which has been deleted, or will have been.
            or (view.uid != self.uid and view.uid not in _uids(event.stored))
            or self._taken.get(place, 0) > actor.since
        )
        if is_excused:
            self._taken[place] = event.version
        elif not self._copies[place]:
            raise ViolationError(
                f"{actor.name}, which wants {_describe(place)}, took the last copy of it out of "
                f"{event.stored.name} at {event.version}, knowing all up to {actor.since}"
            )

    def _check_view(self, stored: EndpointSlice, new: EndpointSlice | None) -> None:
        """What routing makes of it: nobody is missing who stands in a slice."""
        if new is None:
            self.cache.delete(stored.metadata.namespace, stored.name)
        else:
            self.cache.update(new)
        for change in self.cache.take_changes():
            for gone in change.removed:
                for event in self.standing.values():
                    kind, ports = event.stored.address_type, event.stored.ports
                    if kind is not change.port.address_type or not any(
                        (port.name, port.protocol, port.port)
                        == (change.port.name, change.port.protocol, gone.port)
                        for port in ports
                    ):
                        continue
                    if any(item.addresses[0] == gone.address for item in event.stored.endpoints):
                        raise ViolationError(
                            f"routing lost {gone}, which is in {event.stored.name}"
                        )

    def _check_rights(
        self, actor: Actor, event: Event, before: Event | None, after: Event | None
    ) -> None:
        name = event.stored.name
        for one in (before, after):
            if one is not None and not is_ours(one.stored):
                raise ViolationError(f"{actor.name} touched {name}, which is another's")
        if after is None:
            return
        assert actor.view is not None
        if before is None:
            if _uids(after.stored) != [actor.view.uid]:
                raise ViolationError(f"{actor.name} created {name} for {_uids(after.stored)}")
            return
        old, new = before.stored, after.stored
        if old.address_type is not new.address_type:
            raise ViolationError(f"{actor.name} changed the address type of {name}")
        if _uids(new)[: len(_uids(old))] != _uids(old) or (
            len(_uids(new)) > len(_uids(old)) and _uids(old)
        ):
            raise ViolationError(f"{actor.name} changed the owners of {name}")
        if dict(old.metadata.annotations) != dict(new.metadata.annotations):
            raise ViolationError(f"{actor.name} changed annotations of {name}")
        if before.manifest["metadata"].get("finalizers") != after.manifest["metadata"].get(
            "finalizers"
        ):
            raise ViolationError(f"{actor.name} changed finalizers of {name}")
        if old.group_key == new.group_key:
            stays = {item.key: item for item in new.endpoints}
            for item in old.endpoints:
                if item.key in stays and item.extra and stays[item.key].extra != item.extra:
                    raise ViolationError(
                        f"{actor.name} lost unknown fields of {item.key} in {name}"
                    )

    # --- what it is said to have done ---------------------------------------------------------

    def check_result(self, tried: Tried) -> None:
        """Judge what one operation is said to have come to."""
        result = tried.result
        assert result is not None
        operation, outcome, events = result.operation, result.outcome, tried.events
        if outcome is Outcome.SKIPPED:
            if tried.sent:
                raise ViolationError(f"{result} was sent")
        elif not tried.sent or result.requests != len(tried.sent):
            raise ViolationError(f"{result} is said to have taken {result.requests} requests")
        elif outcome in (Outcome.REFUSED, Outcome.FAILED):
            if events:
                raise ViolationError(f"{result}, and it had its effect")
        elif outcome is Outcome.CONFLICT and events and not tried.is_lost:
            # What had its effect, and no answer, may have been undone before it was read back.
            raise ViolationError(f"{result}, and it had its effect")
        if not result.is_done:
            return
        if isinstance(operation, DeleteSlice):
            last = self.past[operation.before.metadata.uid][-1]
            if last is not None and last.metadata.deletion_timestamp is None:
                raise ViolationError(f"{result}, and it stands")
            return
        stored, after = result.stored, operation.after
        assert after is not None
        if stored is None:
            raise ViolationError(f"{result}, and nobody knows where")
        if operation.before is not None and (
            stored.metadata.resource_version == operation.before.metadata.resource_version
        ):
            raise ViolationError(f"{result}, and nobody has written it")
        was = [
            one
            for one in self.past.get(stored.metadata.uid, ())
            if one is not None and one.metadata.resource_version == stored.metadata.resource_version
        ]
        if not was or (was[0].group_key, was[0].endpoints) != (after.group_key, after.endpoints):
            raise ViolationError(f"{result}, and it never stood so")

    def check_copies(self, tried: Tried) -> bool:
        """Judge how often one operation created its slice; say whether it was more than once."""
        made = [event.stored for event in tried.events if event.type == "ADDED"]
        if len(made) < 2:
            return False
        # One that a person has given to another manager since is nobody's concern here.
        last = [(one, self.past[one.metadata.uid][-1]) for one in made]
        standing = [one for one, now in last if now is not None and is_ours(now)]
        is_late = any(one.is_late and one.events for one in tried.sent)
        if len(standing) > 1 and (tried.naming == "deterministic" or not is_late):
            raise ViolationError(f"one operation created {[one.name for one in standing]}")
        return True


# --- a replica --------------------------------------------------------------------------------


@types.coroutine
def _ask(request: SliceRequest | None) -> Generator[SliceRequest | None, Answer, Answer]:
    """Leave a request, or a pause, to whoever drives the coroutine by hand."""
    return (yield request)


class Run:
    """A plan that is being carried out, one request at a time."""

    def __init__(self, storm: Storm, plan: Plan, actor: Actor) -> None:
        self.plan: Final = plan
        self.result: ApplyResult | None = None
        self._storm: Final = storm
        self._actor: Final = actor
        self._tried: list[Tried] = [Tried(storm.naming)]
        self._coroutine: Coroutine[SliceRequest | None, Answer | None, ApplyResult] = (
            apply_plan_to_async(
                self,
                plan,
                naming=storm.naming,
                server_side=storm.server_side,
                force_conflicts=storm.server_side,
                field_manager="controller",
                retry=RetryPolicy(attempts=storm.rng.randint(1, 5), random=storm.rng.random),
                on_operation=self._on_operation,
                sleep=self._sleep,
            )
        )
        self._request: SliceRequest | None = None
        self._resume(None)

    async def send(self, request: SliceRequest) -> Answer:
        return await _ask(request)

    async def _sleep(self, seconds: float) -> None:
        await _ask(None)

    def step(self) -> None:
        """Send one request, or end one pause."""
        self._resume(None if self._request is None else self._send(self._request))

    def end(self, *, after_sending: bool = False) -> None:
        """Die; perhaps after one more request, whose answer nobody sees."""
        if after_sending and self._request is not None:
            self._send(self._request)
        self._coroutine.close()

    @property
    def last_write(self) -> int:
        """The version of the last write that it knows to be its own, or as good as its own."""
        versions = [0]
        for tried in self._tried:
            if tried.result is not None and tried.result.is_done:
                stored = tried.result.stored
                if stored is not None:
                    versions.append(int(stored.metadata.resource_version))
                elif isinstance(tried.result.operation, DeleteSlice):
                    versions += [event.version for event in tried.events]
        return max(versions)

    def _send(self, request: SliceRequest) -> Answer:
        sent = Sent(request)
        self._tried[-1].sent.append(sent)
        return self._storm.perform(sent, self._actor, self._tried[-1])

    def _resume(self, answer: Answer | None) -> None:
        try:
            self._request = self._coroutine.send(answer)
        except StopIteration as end:
            self.result = end.value

    def _on_operation(self, result: OperationResult) -> None:
        tried = self._tried[-1]
        tried.result = result
        self._storm.tell("%s: %s", self._actor.name, result)
        self._storm.counts[f"outcome {result.outcome}"] += 1
        self._storm.judge.check_result(tried)
        if self._storm.judge.check_copies(tried):
            self._storm.counts["second copy"] += 1
        self._tried.append(Tried(self._storm.naming))


class Replica:
    """One process of the controller: its cache, its view, its tracker, its plan under way."""

    def __init__(self, storm: Storm, name: str) -> None:
        self.name: Final = name
        self.view: View = storm.truth[-1]
        self.run: Run | None = None
        self.is_quiet = False
        self._storm: Final = storm
        self._cache: dict[str, EndpointSlice] | None = None
        self._version = 0
        #: Of the last write that it knows to be its own.
        self._wrote = 0
        self._tracker = SliceTracker()
        self._watch: Watch | None = None

    def look(self, limit: int | None = None, *, is_cut: bool = False) -> None:
        """Hear some of what the watch has to say."""
        if self._cache is None or self._watch is None:
            return
        storm = self._storm
        if is_cut:
            storm.cluster.inject(Fault(kind=FaultKind.CUT_WATCH))
        try:
            lines = self._watch.read(limit)
        except ConnectionDroppedError:
            storm.counts[FaultKind.CUT_WATCH] += 1
            storm.tell("%s: watch cut off", self.name)
            self._watch_from_here()
            return
        finally:
            if is_cut:
                storm.cluster.clear_faults()
        for line in lines:
            event = _event(line)
            if event is None:
                self._cache = None
                storm.tell("%s: watch too old", self.name)
                return
            self._version = event.version
            if event.type == "DELETED":
                self._cache.pop(event.stored.name, None)
                self._tracker = self._tracker.deleted(event.stored)
            else:
                self._cache[event.stored.name] = event.stored
                if storm.rng.random() < 0.3:
                    self._tracker = self._tracker.observed(event.stored)
        if lines:
            storm.tell("%s: saw up to %d", self.name, self._version)

    def expire(self) -> None:
        """Lose the watch, and be told that the next one is too old."""
        if self._cache is None:
            return
        self._storm.counts[FaultKind.EXPIRE_WATCH] += 1
        self._storm.cluster.inject(Fault(kind=FaultKind.EXPIRE_WATCH))
        self._watch_from_here()

    def die(self, *, after_sending: bool = False) -> None:
        """Start anew: from a list, or from a cache of the server's that lags as the old one did."""
        if self.run is not None:
            self.run.end(after_sending=after_sending)
        self.run = None
        if self._storm.rng.random() < 0.5:
            self._cache = None
        else:
            self._storm.counts["restart with a stale cache"] += 1
            self._tracker = SliceTracker(resource_version=str(self._version))
            self._wrote = 0
        self._storm.tell("%s: dies", self.name)

    def advance(self) -> None:
        """Begin a sync, or go one request further with the one under way."""
        if self.run is None:
            self._begin()
            return
        self.run.step()
        if self.run.result is not None:
            self._finish(self.run, self.run.result)

    def catch_up(self) -> None:
        """Hear everything, and know what is wanted."""
        self.view = self._storm.truth[-1]
        for _ in range(3):
            # A watch may turn out to be cut off, and the next one to be too old.
            if self._cache is None:
                self._list()
            self.look()
        assert self._cache is not None
        if self.run is None and self._tracker.is_stale(self._cache.values()):
            raise ViolationError(f"{self.name} waits for ever: {self._tracker}")

    def _list(self) -> None:
        storm = self._storm
        client = _Listing(storm)
        try:
            listed = list_slices(
                client,
                NAMESPACE,
                service=SERVICE,
                retry=RetryPolicy(attempts=3, random=storm.rng.random),
                sleep=lambda seconds: None,
            )
        except ApiError:
            storm.tell("%s: list failed", self.name)
            return
        self._cache = {item.name: item for item in listed.slices}
        self._version = int(listed.resource_version)
        self._tracker = SliceTracker(resource_version=listed.resource_version)
        self._watch_from_here()
        storm.tell("%s: lists, up to %d", self.name, self._version)

    def _watch_from_here(self) -> None:
        cluster = self._storm.cluster
        if self._watch is not None:
            cluster.close(self._watch)
        self._watch = cluster.watch(
            f"{_SLICES}?labelSelector={LABEL_SERVICE_NAME}%3D{SERVICE}"
            f"&resourceVersion={self._version}"
        )

    def _begin(self) -> None:
        storm = self._storm
        self.is_quiet = False
        if storm.rng.random() < 0.6:
            self.view = storm.truth[-1]
        if storm.rng.random() < 0.3:
            self.look(storm.rng.choice((1, 2, None)))
        if self._cache is None:
            self._list()
        if self._cache is None:
            return
        current = tuple(self._cache.values())
        if self._tracker.is_stale(current):
            storm.counts["stale"] += 1
            storm.tell("%s: waits for its own writes", self.name)
            self.look(storm.rng.choice((1, 2, None)))
            return
        if self._wrote > self._version:
            raise ViolationError(
                f"{self.name} plans without its write {self._wrote}: {self._tracker}"
            )
        plan = storm.plan(self.view, current)
        storm.counts["syncs"] += 1
        if plan.is_empty:
            self.is_quiet = True
            return
        if self._version < storm.last_version:
            storm.counts["plan from a cache that lags"] += 1
        if self.view is not storm.truth[-1]:
            storm.counts["plan from a view that lags"] += 1
        if storm.rng.random() < 0.5:
            self._tracker = self._tracker.planned(plan)
        storm.counts["update without a change"] += sum(
            item.before == item.after for item in plan.updates
        )
        storm.tell(
            "%s: plans %d writes, knowing all up to %d",
            self.name,
            len(plan.operations),
            self._version,
        )
        actor = Actor(name=self.name, view=self.view, since=self._version)
        self.run = Run(storm, plan, actor)

    def _finish(self, run: Run, result: ApplyResult) -> None:
        storm = self._storm
        sent = sum(item.requests for item in result.results)
        if (result.requests, len(result.results)) != (sent, len(run.plan.operations)):
            raise ViolationError(f"{self.name}: {result} does not add up")
        self._wrote = max(self._wrote, run.last_write)
        self.run = None
        self._tracker = result.tracked(self._tracker)
        storm.counts["requests repeated"] += result.retries
        if result.is_stale and storm.rng.random() < 0.5:
            self._cache = None


@attrs.frozen(eq=False)
class _Listing:
    """A client whose reads fail now and then."""

    storm: Storm

    def send(self, request: SliceRequest) -> Answer:
        return self.storm.perform(Sent(request), Actor(name="reader"), None)


# --- the world --------------------------------------------------------------------------------


@contextmanager
def connected(seed: int, cluster: Cluster) -> Iterator[Send]:
    """Send requests to a cluster: in this process, or now and then over HTTP with a real client."""
    if seed % OVER_HTTP:
        yield as_slice_client(cluster).send
        return
    from tests.clients import CLIENTS

    name = sorted(CLIENTS)[seed // OVER_HTTP % len(CLIENTS)]
    with (
        ApiServer(cluster) as server,
        TemporaryDirectory() as folder,
        warnings.catch_warnings(action="ignore", category=UserWarning),
    ):
        config = server.write_kubeconfig(Path(folder) / "config")
        with CLIENTS[name](config) as send:
            yield send


_Late: TypeAlias = tuple[Sent, Actor, Tried | None]


class Storm:
    """One history."""

    def __init__(
        self,
        seed: int,
        cluster: Cluster,
        send: Send,
        *,
        log: Callable[[str], object] | None = None,
    ) -> None:
        self.rng: Final = random.Random(seed)
        self.strategy: Final[PackingStrategy] = STRATEGIES[seed % len(STRATEGIES)]
        self.capacity: Final = self.rng.randint(2, 5)
        self.naming: Final[Literal["generated", "deterministic"]] = (
            "generated" if self.rng.random() < 0.5 else "deterministic"
        )
        self.server_side: Final = self.rng.random() < 0.4
        self.fault_rate: Final = self.rng.choice((0.1, 0.25, 0.5))
        #: One replica after the other is being replaced by one with another strategy.
        self.is_upgraded: Final = self.rng.random() < 0.1
        self.counts: Final[Counter[str]] = Counter()
        self.cluster: Final = cluster
        self._send_with: Final = send
        self.truth: Final[list[View]] = []
        self.judge: Final = Judge(self.cluster)
        self._log: Final = log
        self._late: list[_Late] = []
        self._is_calm = False
        self._uid = self._make_service()
        self._tier = ""
        self._wanted: dict[GroupKey, dict[int, int]] = {}
        for _ in range(self.rng.choice((1, 1, 2, 3))):
            self._add_group()
        self._publish()
        self.tell(
            "seed %d: %s, %d per slice, %s names, %s",
            seed,
            self.strategy,
            self.capacity,
            self.naming,
            "server-side apply" if self.server_side else "updates",
        )
        self._strew()
        self.replicas: Final = (Replica(self, "A"), Replica(self, "B"))

    def tell(self, text: str, *values: object) -> None:
        if self._log is not None:
            self._log(text % values)

    @property
    def last_version(self) -> int:
        """Of the last write to a slice."""
        return max((event.version for event in self.judge.standing.values()), default=0)

    def plan(self, view: View, current: Sequence[EndpointSlice]) -> Plan:
        strategy = self.strategy
        if self.is_upgraded and not self._is_calm:
            strategy = self.rng.choice(STRATEGIES)
        plan = reconcile(
            view.groups,
            current,
            template=view.template,
            strategy=strategy,
            max_endpoints_per_slice=self.capacity,
        )
        problems = check_plan(
            plan,
            desired=view.groups,
            current=current,
            max_endpoints_per_slice=self.capacity,
        )
        if problems:
            raise ViolationError(f"the plan is not sound: {problems}")
        return plan

    # --- requests ---------------------------------------------------------------------------------

    def perform(self, sent: Sent, actor: Actor, tried: Tried | None) -> Answer:
        """Carry out a request of a replica, or what is left of it when a fault has been at it."""
        request = sent.request
        fault = self._fault(request)
        if fault == "late":
            self.counts["late"] += 1
            self._late.append((sent, actor, tried))
            sent.is_lost = sent.is_late = True
            self.tell("%s: %s %s, and no answer", actor.name, request.verb, request.name)
            return Answer(status=0, error="TimeoutError")
        if isinstance(fault, FaultKind):
            self.counts[fault] += 1
            wait = self.rng.choice((1, 5, 3600))
            self.cluster.inject(Fault(kind=fault, retry_after=wait))
        answer = self._send(sent, actor)
        self.tell(
            "%s: %s %s -> %d%s",
            actor.name,
            request.verb,
            request.name,
            answer.status,
            f" ({fault})" if fault else "",
        )
        sent.is_lost = sent.is_lost or answer.status == 0 or answer.status >= 500
        if answer.status == 403 and "exceeded quota" in str(answer.body.get("message")):
            self.counts["refused by a quota"] += 1
        return answer

    def _send(self, sent: Sent, actor: Actor) -> Answer:
        self.counts["requests"] += 1
        answer = self._send_with(sent.request)
        for event in self.judge.see(actor):
            sent.events.append(event)
            self._tell_event(event)
        return answer

    def _fault(self, request: SliceRequest) -> FaultKind | str | None:
        if self._is_calm or self.rng.random() >= self.fault_rate:
            return None
        is_read = request.verb in (Verb.GET, Verb.LIST)
        return self.rng.choice(_ON_READS if is_read else _ON_WRITES)

    def _come_late(self) -> None:
        """Let a request take effect whose sender has given up."""
        if not self._late:
            return
        sent, actor, tried = self._late.pop(self.rng.randrange(len(self._late)))
        self.tell("%s of %s comes late", sent.request.verb, actor.name)
        self._send(sent, actor)
        if sent.events:
            self.counts["late, and took effect"] += 1
        if tried is not None:
            if tried.result is not None:
                self.judge.check_result(tried)
            if self.judge.check_copies(tried):
                self.counts["second copy"] += 1

    def _by_hand(self, method: str, target: str, body: object = b"", *, actor: str) -> Any:
        """What others do; the server fails them not."""
        response = self.cluster.handle(HttpRequest.of(method, target, body))
        for event in self.judge.see(Actor(name=actor)):
            self._tell_event(event)
        assert response.status < 300 or response.status == 403, (method, target, response.json())
        return response.json()

    def _tell_event(self, event: Event) -> None:
        stored = event.stored
        self.tell(
            "    %d %s %s%s [%s] %s",
            event.version,
            event.type,
            stored.name,
            "" if stored.metadata.deletion_timestamp is None else " (dying)",
            ",".join(str(port.port) for port in stored.ports),
            " ".join(item.addresses[0] for item in stored.endpoints),
        )

    # --- what is wanted -----------------------------------------------------------------------

    def _make_service(self) -> str:
        body = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": SERVICE},
            "spec": {"clusterIP": "None", "ports": [{"port": 80}]},
        }
        return str(self._by_hand("POST", _SERVICES, body, actor="person")["metadata"]["uid"])

    def _publish(self) -> None:
        view = View.of(self._uid, self._tier, self._wanted)
        self.judge.learn(view)
        self.truth.append(view)

    def _add_group(self) -> None:
        kind = self.rng.choice((IPV4, IPV4, IPV6))
        key = GroupKey(address_type=kind, ports=self.rng.choice(PORT_SETS))
        if key not in self._wanted:
            numbers = self.rng.sample(_UNIVERSE, self.rng.randint(0, len(_UNIVERSE)))
            self._wanted[key] = dict.fromkeys(numbers, 0)

    def _change(self) -> None:
        """Let something else be wanted."""
        rng = self.rng
        if not self._wanted or rng.random() < 0.05:
            self._add_group()
        if rng.random() < 0.05:
            self._tier = rng.choice(("", "front", "back"))
        if self._wanted:
            key = rng.choice(list(self._wanted))
            members = self._wanted[key]
            match rng.randrange(12):
                case 0 | 1 | 2 | 3 if members:
                    members[rng.choice(list(members))] = rng.randrange(VARIANTS)
                case 4 | 5 | 6:
                    for number in rng.sample(_UNIVERSE, rng.randint(1, 4)):
                        members.setdefault(number, 0)
                case 7 | 8 | 9:
                    for number in rng.sample(list(members), min(len(members), rng.randint(1, 4))):
                        del members[number]
                case 10:
                    other = GroupKey(address_type=key.address_type, ports=rng.choice(PORT_SETS))
                    self._wanted[other] = self._wanted.pop(key) | self._wanted.get(other, {})
                case 11 if len(self._wanted) > 1:
                    del self._wanted[key]
        self._publish()
        if self._log is not None:
            self.tell("wanted: %s", " ".join(map(_describe, self.truth[-1].places)))

    def _recreate(self) -> None:
        """Delete the Service and make it again."""
        self.counts["Service made again"] += 1
        self._by_hand("DELETE", f"{_SERVICES}/{SERVICE}", actor="person")
        self._uid = self._make_service()
        self._publish()
        self.tell("Service made again")

    # --- what others do -----------------------------------------------------------------------

    def _strew(self) -> None:
        """Begin with slices that are more or less right."""
        for key, members in self._wanted.items():
            left = [n for n in members if self.rng.random() < 0.8]
            while left:
                size = self.rng.randint(1, self.capacity)
                some, left = left[:size], left[size:]
                held = [_endpoint(n, self.rng.choice((0, 0, 1)), key.address_type) for n in some]
                self.judge.allow(((key, item.key), item) for item in held)
                self._make_slice(key, held, self.truth[-1].template, "setup")

    def _make_slice(
        self, key: GroupKey, held: Sequence[Endpoint], template: SliceTemplate, actor: str
    ) -> None:
        body = encode_slice(
            EndpointSlice(
                metadata=template.metadata,
                address_type=key.address_type,
                ports=key.ports,
                endpoints=tuple(held),
            )
        )
        self._by_hand("POST", _SLICES, body, actor=actor)

    def _act_as_other(self) -> None:
        """Let the other manager write its own slices of the same Service."""
        rng = self.rng
        self.counts["write of another manager"] += 1
        theirs = [
            event
            for event in self.judge.standing.values()
            if event.stored.metadata.labels[LABEL_MANAGED_BY] == OTHER
        ]
        if not theirs or rng.random() < 0.3:
            own = TEMPLATE.metadata
            labels = FrozenDict({**own.labels, LABEL_MANAGED_BY: OTHER})
            template = attrs.evolve(
                TEMPLATE, metadata=attrs.evolve(own, labels=labels, owner_references=())
            )
            held = [_endpoint(n) for n in rng.sample(_FOREIGN, 2)]
            self._make_slice(
                GroupKey(address_type=IPV4, ports=PORT_SETS[1]), held, template, "other"
            )
            return
        event = rng.choice(theirs)
        if rng.random() < 0.3:
            self._delete(event, "other")
            return
        body = json.loads(json.dumps(event.manifest))
        body["endpoints"] = (body.get("endpoints") or [])[:1]
        body["metadata"].setdefault("annotations", {})["theirs"] = str(rng.random())
        self._put(body, "other")

    def _put(self, body: dict[str, Any], actor: str) -> None:
        self._by_hand("PUT", f"{_SLICES}/{body['metadata']['name']}", body, actor=actor)

    def _delete(self, event: Event, actor: str) -> None:
        self._by_hand("DELETE", f"{_SLICES}/{event.stored.name}", actor=actor)

    def _meddle(self) -> None:
        """Let a person do something to one of our slices."""
        rng = self.rng
        mine = [event for event in self.judge.standing.values() if _is_live(event.stored)]
        if not mine:
            return
        event = rng.choice(mine)
        stored = event.stored
        body = json.loads(json.dumps(event.manifest))
        meta = body["metadata"]
        members = body["endpoints"] = body.get("endpoints") or []
        what = rng.choice(
            ("delete", "delete", "take out", "put in", "note", "hold", "field", "steal", "label")
        )
        match what:
            case "delete":
                self.counts["slice deleted by hand"] += 1
                self._delete(event, "person")
                return
            case "take out" if members:
                members.pop(rng.randrange(len(members)))
            case "put in" if len(members) < self.capacity:
                item = _endpoint(rng.choice(_BY_HAND), kind=stored.address_type)
                if item.key in stored.keys:
                    return
                self.judge.allow([((stored.group_key, item.key), item)])
                members.append(_manifest_of(item))
            case "note":
                meta.setdefault("annotations", {})["note"] = str(rng.randrange(100))
            case "label":
                meta["labels"]["note"] = "by-hand"
            case "hold":
                self.counts["finalizer"] += 1
                meta["finalizers"] = [_HOLD]
            case "field" if members:
                rng.choice(members)["deprecatedTopology"] = {"rack": f"r{rng.randrange(9)}"}
            case "steal":
                meta["labels"][LABEL_MANAGED_BY] = OTHER
            case _:
                return
        self.counts["slice edited by hand"] += 1
        self.tell("person: %s %s", what, stored.name)
        self._put(body, "person")

    def _let_go(self) -> None:
        """Take all finalizers away."""
        for event in list(self.judge.standing.values()):
            if event.manifest["metadata"].get("finalizers"):
                body = json.loads(json.dumps(event.manifest))
                del body["metadata"]["finalizers"]
                self._put(body, "person")

    def _set_quota(self) -> None:
        """Allow as many slices as there are, and no more; or again any number."""
        if self.cluster.objects("resourcequotas"):
            self._by_hand("DELETE", f"{_QUOTAS}/few", actor="person")
            return
        self.counts["quota"] += 1
        hard = {"count/endpointslices.discovery.k8s.io": str(len(self.judge.standing))}
        body = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "few"},
            "spec": {"hard": hard},
        }
        self._by_hand("POST", _QUOTAS, body, actor="person")

    def _collect(self) -> None:
        self.cluster.collect_garbage()
        gone = self.judge.see(Actor(name="collector"))
        for event in gone:
            self._tell_event(event)
        self.counts["slice collected as garbage"] += len(gone)

    # --- the storm, and after -----------------------------------------------------------------

    def step(self) -> None:
        """Let one thing happen."""
        acts = {
            self._let_work: 140,
            self._let_look: 20,
            self._change: 10,
            self._meddle: 6,
            self._act_as_other: 4,
            self._come_late: 6,
            self._kill: 6,
            self._expire: 2,
            self._set_quota: 2,
            self._recreate: 1,
            self._collect: 1,
            self._let_go: 2,
        }
        self.rng.choices(list(acts), list(acts.values()))[0]()

    def _let_work(self) -> None:
        """Let a replica go on for a while, for a new reason or not."""
        rng, replica = self.rng, self.rng.choice(self.replicas)
        if rng.random() < 0.3:
            self._change()
        for _ in range(rng.randint(1, 15)):
            replica.advance()
            if replica.is_quiet or rng.random() < 0.1:
                break

    def _let_look(self) -> None:
        rng = self.rng
        rng.choice(self.replicas).look(rng.choice((1, 2, 3, None)), is_cut=rng.random() < 0.1)

    def _kill(self) -> None:
        replica = self.rng.choice(self.replicas)
        is_between = replica.run is not None and self.rng.random() < 0.5
        self.counts["death between request and answer" if is_between else "death"] += 1
        replica.die(after_sending=is_between)

    def _expire(self) -> None:
        self.rng.choice(self.replicas).expire()

    def calm(self) -> None:
        """Let the faults stop."""
        self._is_calm = True
        self.cluster.clear_faults()

    def settle(self) -> int:
        """Let the faults stop; return after how many syncs all was well."""
        self.tell("--- calm")
        self.calm()
        while self._late:
            self._come_late()
        for replica in self.replicas:
            while replica.run is not None:
                replica.advance()
        self._let_go()
        if self.cluster.objects("resourcequotas"):
            self._set_quota()
        self._collect()
        for syncs in range(1, MAX_SYNCS + 1):
            for replica in self.replicas:
                replica.catch_up()
            for replica in self.replicas:
                replica.advance()
            if all(replica.is_quiet for replica in self.replicas):
                self._check_end()
                return syncs
            while running := [item for item in self.replicas if item.run is not None]:
                self.rng.choice(running).advance()
        raise ViolationError(f"all is not well after {MAX_SYNCS} syncs")

    def _check_end(self) -> None:
        view = self.truth[-1]
        slices = [event.stored for event in self.judge.standing.values()]
        ours = [item for item in slices if is_ours(item)]
        found = Counter((item.group_key, key) for item in ours for key in item.keys)
        if found != Counter(view.places.keys()):
            odd = [
                place
                for place in {**found, **view.places}
                if found[place] != (place in view.places)
            ]
            raise ViolationError(f"in the end there is something else than wanted: {odd}")
        for item in ours:
            for member in item.endpoints:
                if content(member) != content(view.places[item.group_key, member.key]):
                    raise ViolationError(f"in the end {member} is not as wanted")
        if not self.plan(view, slices).is_empty:
            raise ViolationError("in the end there is a plan")
        if self.judge.cache.backends != merge_slices(slices):
            raise ViolationError("routing from events and routing from slices differ")


def _manifest_of(item: Endpoint) -> dict[str, Any]:
    one = EndpointSlice(metadata=TEMPLATE.metadata, address_type=IPV4, ports=(), endpoints=())
    one = attrs.evolve(
        one, address_type=IPV6 if ":" in item.addresses[0] else IPV4, endpoints=(item,)
    )
    made: dict[str, Any] = encode_slice(one)["endpoints"][0]
    return made


@attrs.frozen(kw_only=True)
class Report:
    """What one history came to.

    Attributes:
        seed: What made it.
        counts: What happened how often.
        effects: Writes that were judged.
        syncs: After how many syncs all was well, once the faults had stopped.
        violation: What may not have happened; "" if nothing has.
    """

    seed: int
    counts: Counter[str]
    effects: int = 0
    syncs: int = 0
    violation: str = ""


def history(seed: int, *, steps: int = STEPS, log: Callable[[str], object] | None = None) -> Report:
    """Play one history to its end, or to the first violation."""
    cluster = Cluster(seed=seed, namespaces=[NAMESPACE])
    with connected(seed, cluster) as send:
        storm = Storm(seed, cluster, send, log=log)
        syncs, violation = 0, ""
        try:
            for _ in range(steps):
                storm.step()
            syncs = storm.settle()
        except ViolationError as error:
            violation = str(error)
            storm.tell("VIOLATION: %s", violation)
    return Report(
        seed=seed,
        counts=storm.counts,
        effects=storm.judge.effects,
        syncs=syncs,
        violation=violation,
    )


def deaths(seed: int) -> int:
    """Let a replica die after each request of a plan in turn; return of how many.

    Before its answer and after it; then the other replica goes on, and the one that is born again.

    Raises:
        ViolationError: It did not end well.
    """
    died = 0
    while True:
        for after_sending in (False, True):
            cluster = Cluster(seed=seed, namespaces=[NAMESPACE])
            storm = Storm(seed, cluster, as_slice_client(cluster).send)
            storm.calm()
            first, _ = storm.replicas
            for replica in storm.replicas:
                replica.catch_up()
                replica.advance()
            for _ in range(died):
                first.advance()
            if first.run is None:
                return died
            first.die(after_sending=after_sending)
            storm.settle()
        died += 1


def histories(seeds: Iterable[int], *, jobs: int = 2, steps: int = STEPS) -> list[Report]:
    """Play many histories, in several processes."""
    if jobs == 1:
        return [history(seed, steps=steps) for seed in seeds]
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        return list(pool.map(partial(history, steps=steps), seeds, chunksize=20))


# --- counting ---------------------------------------------------------------------------------

FAULTS: Final[Mapping[str, str]] = {
    FaultKind.CONFLICT: "409 Conflict, though nobody has written",
    FaultKind.TOO_MANY_REQUESTS: "429 with Retry-After: 1 s, 5 s or an hour",
    FaultKind.INTERNAL_ERROR: "500",
    FaultKind.UNAVAILABLE: "503 with Retry-After",
    FaultKind.TIMEOUT: "504, and nothing was done",
    FaultKind.TIMEOUT_AFTER: "504, and it was done",
    FaultKind.DROP_BEFORE: "connection lost before the effect",
    FaultKind.DROP_AFTER: "connection lost after the effect",
    "late": "no answer, and the effect comes later",
    FaultKind.CUT_WATCH: "watch cut off in the middle of an event",
    FaultKind.EXPIRE_WATCH: "watch too old: 410",
    "death": "process dies between two requests",
    "death between request and answer": "process dies before the answer comes",
    "restart with a stale cache": "process starts with a cache that lags",
    "plan from a cache that lags": "plan from a cache that lags",
    "plan from a view that lags": "plan for endpoints that are no longer wanted so",
    "refused by a quota": "create refused by a quota",
    "slice edited by hand": "slice edited by a person",
    "slice deleted by hand": "slice deleted by a person",
    "finalizer": "finalizer put on a slice",
    "write of another manager": "write of another manager",
    "Service made again": "Service deleted and made again",
    "slice collected as garbage": "slice deleted by the garbage collector",
}


def table(reports: Sequence[Report]) -> str:
    """Say in Markdown what happened how often, and what became of it."""
    total: Counter[str] = Counter()
    for report in reports:
        total.update(report.counts)
    lines = ["| Fault | Injected | In histories | Survived |", "|---|---:|---:|---:|"]
    for name, text in FAULTS.items():
        hit = [report for report in reports if report.counts[name]]
        survived = sum(report.counts[name] for report in hit if not report.violation)
        lines.append(f"| {text} | {total[name]:,} | {len(hit):,} | {survived:,} |")
    lines += ["", "| Outcome of an operation | Times |", "|---|---:|"]
    lines += [f"| {outcome} | {total[f'outcome {outcome}']:,} |" for outcome in Outcome]
    syncs = Counter(report.syncs for report in reports if not report.violation)
    spread = ", ".join(f"{number} in {syncs[number]:,}" for number in sorted(syncs))
    http = sum(not report.seed % OVER_HTTP for report in reports)
    lines += [
        "",
        f"- histories: {len(reports):,}, {http:,} of them over HTTP",
        f"- requests: {total['requests']:,}, {total['requests repeated']:,} of them repetitions",
        f"- writes judged: {sum(report.effects for report in reports):,}",
        f"- violations: {sum(bool(report.violation) for report in reports):,}",
        f"- syncs: {total['syncs']:,}",
        f"- times that a replica waited for its own writes: {total['stale']:,}",
        f"- second slices of one operation: {total['second copy']:,}",
        f"- syncs until all was well: {spread} histories",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Two replicas of a controller in a storm.")
    parser.add_argument("--seed", type=int, help="replay one history, and tell it")
    parser.add_argument("--table", action="store_true", help="play many, and count")
    parser.add_argument("--histories", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    if options.seed is not None:
        history(options.seed, log=print)
        return
    seeds = range(options.first, options.first + options.histories)
    reports = histories(seeds, jobs=options.jobs)
    if options.table:
        print(table(reports))
    for report in reports:
        if report.violation:
            print(f"seed {report.seed}: {report.violation}")


if __name__ == "__main__":
    main()
