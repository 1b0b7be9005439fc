"""What drives endpoints: nodes, pods with their lives, and the controllers of pods.

A small model of the cluster around one Service. Time is a number of milliseconds that jumps from
one event to the next, chance is a `Random` with a seed: the same seed gives the same history on
every machine. Who goes when a ReplicaSet has too many pods, and how far a roll-out may go, are
Kubernetes' own rules; how long a pod takes to start and to end is a `Life`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from heapq import heappop, heappush
from itertools import count

# The package has no randomness but here, where it is seeded.
from random import Random
from typing import Final, TypeAlias, TypeVar, final

import attrs

from endpointslice.models import FrozenDict
from endpointslice.simulate.traces import Change, PodState, Trace

__all__ = [
    "LIFE",
    "Cluster",
    "Deployment",
    "Life",
    "Pod",
    "PodSet",
    "StatefulSet",
    "choose_victims",
    "roll_on",
    "to_count",
]

#: A range of milliseconds, without its end: each is as likely as any other.
Range: TypeAlias = tuple[int, int]

_Key = TypeVar("_Key", int, tuple[int, ...])

#: A ReplicaSet creates or deletes at most so many pods before it looks again: burstReplicas.
_BURST_REPLICAS: Final = 500
#: Requests that a controller may send at once: --kube-api-burst of kube-controller-manager.
_BURST_REQUESTS: Final = 30
#: How long a controller takes to see a change and to act on it, in milliseconds.
_REACTION: Final = (20, 120)
#: The scheduler takes the best of so many nodes: of a large cluster it looks at a sample only.
_SCORED_NODES: Final = 10
#: How long before a trace its first pods were made: an hour, in milliseconds.
_HISTORY: Final = 3_600_000


@final
@attrs.frozen(kw_only=True)
class Life:
    """How long the parts of a pod's life take, each a range of milliseconds.

    Attributes:
        start: From its creation until it has an IP, and so an endpoint.
        ready: From there until it is ready.
        recover: From when its node is back until it is ready again.
        terminate: From when it is asked to go until it is gone.
    """

    start: Range = (300, 1_500)
    ready: Range = (2_500, 12_000)
    recover: Range = (1_000, 10_000)
    terminate: Range = (2_500, 30_500)


#: As in the recorded traces: ready after some seconds, gone within half a minute.
LIFE: Final = Life()


@final
@attrs.define(eq=False, kw_only=True)
class Pod:
    """A pod, as the controller that owns it sees it.

    Attributes:
        number: Its number in the trace.
        uid: Its uid there.
        name: Its name there; "" for one that follows from the number.
        created: When, in milliseconds.
        node: The number of its node; None if it is not scheduled.
        is_running: Whether it was started, so that it has an IP.
        ready_since: Since when it is ready, in milliseconds; None if it is not.
        restarts: How often its container was restarted.
        deletion_cost: Its annotation controller.kubernetes.io/pod-deletion-cost.
    """

    number: int
    uid: str
    name: str = ""
    created: int = 0
    node: int | None = 0
    is_running: bool = True
    ready_since: int | None = None
    restarts: int = 0
    deletion_cost: int = 0

    @property
    def is_ready(self) -> bool:
        """Whether it is ready."""
        return self.ready_since is not None


@final
@attrs.define(eq=False, kw_only=True)
class PodSet:
    """The pods of one revision: what a ReplicaSet owns.

    Attributes:
        replicas: How many are wanted.
        active: Those that were not asked to go, by number.
        ready: How many of them are ready.
        requests: Requests on their way. Until all are answered nothing more is asked for.
    """

    replicas: int = 0
    active: dict[int, Pod] = attrs.field(factory=dict, repr=False)
    ready: int = 0
    requests: int = 0

    @property
    def available(self) -> int:
        """How many are ready and will stay."""
        return min(self.ready, self.replicas)


# --- the rules --------------------------------------------------------------------------------


def choose_victims(
    pods: Collection[Pod], wanted: int, *, ranks: Mapping[int, int], now: int, rng: Random
) -> list[Pod]:
    """Return the pods that a ReplicaSet deletes when it has too many, the first one first.

    A pod that is not scheduled goes before one that is, a pending one before a running one, one
    that is not ready before one that is; then the one of lower deletion cost, then the one whose
    node holds more pods of the owner. Where the whole seconds differ since which two are ready,
    then the one goes whose age since then is a lower power of two, or the one of smaller uid if
    it is the same. Otherwise the one with more restarts goes, and then creation decides as
    readiness did.

    What is left is a tie, and that makes it no order: two pods of one second tie although a third
    may come between them by uid. What a sort makes of that depends on what it happens to
    compare. This one divides the pods at one picked by chance, as a quicksort does.

    Args:
        pods: The active pods of the ReplicaSet.
        wanted: How many are to go, at most all.
        ranks: How many active pods of the owner, whatever their ReplicaSet, are on each node.
        now: When, in milliseconds.
        rng: What ties are decided by.

    Complexity: O(n) for n pods; O(n wanted) where most of them tie.
    Source: k8s.io/kubernetes pkg/controller/controller_utils.go, ActivePodsWithRanks, with
    LogarithmicScaleDown and PodDeletionCost; replica_set.go, getPodsToDelete.
    """
    victims: list[Pod] = []
    standings = [
        (
            pod.node is not None,
            pod.is_running,
            pod.ready_since is not None,
            pod.deletion_cost,
            -ranks.get(pod.node, 0) if pod.node is not None else 0,
        )
        for pod in pods
    ]
    for equals in _classes(pods, standings):
        for peers in _classes(equals, [_age(pod.ready_since, now) for pod in equals]):
            rng.shuffle(peers)
            facts = [_Peer(pod, now) for pod in peers]
            victims += [peer.pod for peer in _first(facts, wanted - len(victims))]
            if len(victims) == wanted:
                return victims
    return victims


def _classes(pods: Iterable[Pod], keys: Iterable[_Key]) -> Iterator[list[Pod]]:
    """Yield the pods in lists of equal key, the lowest key first."""
    left = list(zip(keys, pods, strict=True))
    while left:
        lowest = min(key for key, _ in left)
        yield [pod for key, pod in left if key == lowest]
        left = [(key, pod) for key, pod in left if key != lowest]


def _second(moment: int | None) -> int | None:
    """The API keeps whole seconds."""
    return None if moment is None else moment // 1000


def _age(moment: int | None, now: int) -> int:
    """The power of two that an age in nanoseconds reaches; 0 if there is none."""
    if moment is None:
        return 0
    return max(0, (now - moment // 1000 * 1000) * 1_000_000).bit_length()


class _Peer:
    """What decides between pods that are equal down to the age since when they are ready."""

    __slots__ = ("before_uid", "created", "pod", "ready", "uid")

    def __init__(self, pod: Pod, now: int) -> None:
        self.pod = pod
        self.uid = pod.uid
        self.ready = _second(pod.ready_since)
        self.created = _second(pod.created)
        self.before_uid = (-pod.restarts, _age(pod.created, now))

    def goes_before(self, other: _Peer) -> bool:
        if self.ready == other.ready:
            if self.before_uid != other.before_uid:
                return self.before_uid < other.before_uid
            if self.created == other.created:
                return False
        return self.uid < other.uid


def _first(peers: list[_Peer], wanted: int) -> list[_Peer]:
    """The first so many of a quicksort, which leaves the others as they are."""
    found: list[_Peer] = []
    while peers and len(found) < wanted:
        pivot, *rest = peers
        before = [peer for peer in rest if peer.goes_before(pivot)]
        found += _first(before, wanted - len(found))
        if len(found) < wanted:
            found.append(pivot)
            peers = [peer for peer in rest if not peer.goes_before(pivot)]
    return found


def to_count(value: int | str, total: int, *, round_up: bool) -> int:
    """Return how many of a total a count or a percentage is: 3, or "25%".

    Source: k8s.io/apimachinery pkg/util/intstr, GetScaledValueFromIntOrPercent.
    """
    if isinstance(value, int):
        return value
    hundredths = int(value.removesuffix("%")) * total
    return -(-hundredths // 100) if round_up else hundredths // 100


def roll_on(
    *, replicas: int, surge: int, unavailable: int, new: PodSet, old: PodSet
) -> tuple[int, int]:
    """Return how many pods the new and the old ReplicaSet get in the next step of a roll-out.

    The new one grows as far as the surge allows. Where it cannot, the old one loses what is not
    ready anyway, and what is not needed to have all but `unavailable` pods ready.

    Source: k8s.io/kubernetes pkg/controller/deployment/rolling.go, reconcileNewReplicaSet and
    reconcileOldReplicaSets.
    """
    total = new.replicas + old.replicas
    if new.replicas < replicas and total < replicas + surge:
        return min(replicas, new.replicas + replicas + surge - total), old.replicas
    needed = replicas - unavailable
    room = total - needed - (new.replicas - new.available)
    if room <= 0:
        return new.replicas, old.replicas
    left = old.replicas - min(room, old.replicas - old.available)
    spare = max(0, new.available + old.available - needed)
    return new.replicas, left - min(left, spare)


# --- the cluster ------------------------------------------------------------------------------


@final
class Cluster:
    """Nodes, and the pods of one owner on them.

    It is as old as an hour when its trace begins, so that the first pods have an age.

    Args:
        nodes: How many nodes there are; node i is in zone i mod zones.
        zones: How many zones.
        seed: Of all that is left to chance, the pods' uids included.
        requests_per_second: How fast its controllers may ask (--kube-api-qps).
        life: How long the parts of pods' lives take.
    """

    def __init__(
        self,
        *,
        nodes: int,
        zones: int = 3,
        seed: int = 0,
        requests_per_second: int = 20,
        life: Life = LIFE,
    ) -> None:
        self.nodes = nodes
        self.zones = zones
        self.now = -_HISTORY
        self.rng = Random(seed)
        #: How many active pods each node holds.
        self.ranks = dict.fromkeys(range(nodes), 0)
        #: What the owner does about a change.
        self.controller: Callable[[], None] = lambda: None
        self._life = life
        self._gap = 1000 // requests_per_second
        self._next_request = self.now
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._event_numbers = count()
        self._pod_numbers = count()
        self._is_awake = False
        self._residents: list[dict[int, Pod]] = [{} for _ in range(nodes)]
        self._owners: dict[int, PodSet] = {}
        self._is_cordoned = [False] * nodes
        self._is_down = [False] * nodes
        self._changes: list[Change] = []
        self._seen: dict[int, Pod] = {}

    # --- time -----------------------------------------------------------------------------

    def after(self, delay: int, event: Callable[[], None]) -> None:
        """Have something happen in so many milliseconds."""
        heappush(self._events, (self.now + delay, next(self._event_numbers), event))

    def run(self, duration: int) -> None:
        """Let so many milliseconds go by."""
        end = self.now + duration
        self.run_until(lambda: self._events[0][0] > end)
        self.now = end

    def run_until(self, is_enough: Callable[[], bool] = lambda: False) -> None:
        """Let events happen until it is enough, or until nothing is left to happen."""
        while self._events and not is_enough():
            self.now, _, event = heappop(self._events)
            event()

    def begin(self) -> None:
        """Wait until all is quiet, then begin the trace with what is there."""
        self.run_until()
        assert self.now <= 0, "the first pods take longer than there is time"
        self.now = 0
        for pod in self.pods():
            self._tell(pod, PodState.READY if pod.is_ready else PodState.NOT_READY)

    def trace(self, name: str) -> Trace:
        """Return what happened since it began, with a second of peace at its end."""
        named = [pod for pod in self._seen.values() if pod.name]
        return Trace(
            name=name,
            nodes=self.nodes,
            zones=self.zones,
            changes=tuple(self._changes),
            duration=self.now + 1000,
            pod_names=FrozenDict((pod.number, pod.name) for pod in named),
            pod_uids=FrozenDict((pod.number, pod.uid) for pod in self._seen.values()),
        )

    def wake(self) -> None:
        """Let the controller see what has changed, in a moment."""
        if not self._is_awake:
            self._is_awake = True
            self.after(self.rng.randrange(*_REACTION), self._control)

    def _control(self) -> None:
        self._is_awake = False
        self.controller()

    def request(self, pods: PodSet, action: Callable[[], object]) -> None:
        """Have the controller ask for something as soon as its rate allows."""
        burst = self.now - (_BURST_REQUESTS - 1) * self._gap
        self._next_request = max(self._next_request + self._gap, burst)
        pods.requests += 1
        self.after(max(0, self._next_request - self.now), partial(self._answer, pods, action))

    def _answer(self, pods: PodSet, action: Callable[[], object]) -> None:
        pods.requests -= 1
        action()
        self.wake()

    # --- pods -----------------------------------------------------------------------------

    def pods(self) -> list[Pod]:
        """Return all pods that were not asked to go, by number."""
        active = (pod for pods in self._residents for pod in pods.values() if self.is_active(pod))
        return sorted(active, key=lambda pod: pod.number)

    def is_empty(self, node: int) -> bool:
        """Whether a node holds no pod, not even one that terminates."""
        return not self._residents[node]

    def pods_on(self, node: int) -> list[Pod]:
        """Return all pods on a node, those that terminate too, by number."""
        return [pod for _, pod in sorted(self._residents[node].items())]

    def is_there(self, pod: Pod) -> bool:
        """Whether a pod is not gone."""
        return pod.number in self._residents[_node_of(pod)]

    def is_active(self, pod: Pod) -> bool:
        """Whether a pod is there and was not asked to go."""
        return pod.number in self._owners

    def create(self, owner: PodSet, name: str = "") -> Pod:
        """Make a pod, which will start on some node and turn ready."""
        number = next(self._pod_numbers)
        uid = f"{self.rng.getrandbits(128):032x}"
        uid = "-".join((uid[:8], uid[8:12], uid[12:16], uid[16:20], uid[20:]))
        node = self._schedule()
        pod = Pod(number=number, uid=uid, name=name, created=self.now, node=node, is_running=False)
        self.ranks[node] += 1
        self._residents[node][number] = pod
        self._owners[number] = owner
        owner.active[number] = pod
        self.after(self.rng.randrange(*self._life.start), partial(self._start, pod))
        return pod

    def _schedule(self) -> int:
        """The node with the fewest pods of some that are open, picked by chance."""
        open_nodes = [i for i, cordoned in enumerate(self._is_cordoned) if not cordoned]
        scored = self.rng.sample(open_nodes, min(_SCORED_NODES, len(open_nodes)))
        return min(scored, key=self.ranks.__getitem__)

    def _start(self, pod: Pod) -> None:
        is_down = self._is_down[_node_of(pod)]
        if self.is_active(pod) and not pod.is_running and not is_down:
            pod.is_running = True
            self._tell(pod, PodState.NOT_READY)
            delay = self.rng.randrange(*self._life.ready)
            self.after(delay, partial(self.set_ready, pod, is_ready=True))

    def set_ready(self, pod: Pod, *, is_ready: bool) -> None:
        """Change a pod's readiness; of no avail if it goes or its node is down."""
        if not self.is_active(pod) or self._is_down[_node_of(pod)]:
            return
        if is_ready != pod.is_ready:
            self._owners[pod.number].ready += 1 if is_ready else -1
            pod.ready_since = self.now if is_ready else None
            self._tell(pod, PodState.READY if is_ready else PodState.NOT_READY)
            self.wake()

    def restart(self, pod: Pod) -> None:
        """Have a pod's container crash and start again."""
        self.set_ready(pod, is_ready=False)
        pod.restarts += 1
        delay = self.rng.randrange(*self._life.ready)
        self.after(delay, partial(self.set_ready, pod, is_ready=True))

    def delete(self, pod: Pod) -> None:
        """Ask a pod to go: it terminates for a while, or is gone at once if it never started.

        One that is not ready terminates without serving; a trace has no letter for that, and
        says that it serves.
        """
        if self.is_active(pod):
            self._disown(pod)
            if pod.is_running:
                self._tell(pod, PodState.TERMINATING)
                self.after(self.rng.randrange(*self._life.terminate), partial(self._remove, pod))
            else:
                self._remove(pod)

    def _disown(self, pod: Pod) -> None:
        owner = self._owners.pop(pod.number)
        del owner.active[pod.number]
        owner.ready -= pod.is_ready
        self.ranks[_node_of(pod)] -= 1
        self.wake()

    def _remove(self, pod: Pod) -> None:
        if self._residents[_node_of(pod)].pop(pod.number, None):
            if pod.is_running:
                self._tell(pod, None)
            self.wake()

    def _tell(self, pod: Pod, state: PodState | None) -> None:
        if self.now >= 0:
            node = None if pod.number in self._seen else pod.node
            self._seen[pod.number] = pod
            self._changes.append(Change(self.now, pod.number, state, node))

    # --- nodes ----------------------------------------------------------------------------

    def cordon(self, node: int) -> None:
        """Let no more pods come to a node."""
        self._is_cordoned[node] = True

    def uncordon(self, node: int) -> None:
        """Let pods come to a node again."""
        self._is_cordoned[node] = False

    def drain(self, node: int) -> None:
        """Cordon a node, and evict its pods within a second."""
        self.cordon(node)
        for pod in self.pods_on(node):
            self.after(self.rng.randrange(1000), partial(self.delete, pod))

    def fail(self, node: int) -> None:
        """Lose touch with a node: all its pods count as not ready, and no more come."""
        self.cordon(node)
        for pod in self.pods_on(node):
            self.set_ready(pod, is_ready=False)
        self._is_down[node] = True

    def evict(self, node: int) -> None:
        """Give up a node that is down: its pods are gone at once, as no one can end them."""
        for pod in self.pods_on(node):
            if self.is_active(pod):
                self._disown(pod)
            self._remove(pod)

    def recover(self, node: int) -> None:
        """Have a node back, with the pods that are still on it."""
        self._is_down[node] = False
        self.uncordon(node)
        for pod in self.pods_on(node):
            if pod.is_running:
                delay = self.rng.randrange(*self._life.recover)
                self.after(delay, partial(self.set_ready, pod, is_ready=True))
            else:
                self.after(self.rng.randrange(*self._life.start), partial(self._start, pod))


def _node_of(pod: Pod) -> int:
    assert pod.node is not None, "the scheduler leaves no pod waiting"
    return pod.node


# --- the owners -------------------------------------------------------------------------------


@final
class Deployment:
    """Replicas that are all alike, in a new ReplicaSet and, during a roll-out, an old one.

    Args:
        cluster: Where its pods are.
        replicas: How many there are.
        max_surge: How many more a roll-out may make: a count, or a percentage, rounded up.
        max_unavailable: How many may be missing meanwhile, rounded down. If both come to
            nothing it is 1, for else a roll-out could not move.
    """

    def __init__(
        self,
        cluster: Cluster,
        replicas: int,
        *,
        max_surge: int | str = "25%",
        max_unavailable: int | str = "25%",
    ) -> None:
        self.replicas = replicas
        self.new = PodSet()
        self.old = PodSet()
        self._cluster = cluster
        self._max_surge = max_surge
        self._max_unavailable = max_unavailable
        cluster.controller = self._sync
        cluster.wake()

    @property
    def surge(self) -> int:
        """How many more pods than replicas there may be."""
        return to_count(self._max_surge, self.replicas, round_up=True)

    @property
    def unavailable(self) -> int:
        """How many of the replicas may be missing."""
        missing = to_count(self._max_unavailable, self.replicas, round_up=False)
        return min(self.replicas, missing or (0 if self.surge else 1))

    @property
    def is_rolling(self) -> bool:
        """Whether there are pods of an old revision."""
        return self.old.replicas > 0

    def scale(self, replicas: int) -> None:
        """Change how many replicas there are; not during a roll-out."""
        assert not self.is_rolling, "to scale two ReplicaSets in proportion is not modelled"
        self.replicas = replicas
        self._cluster.wake()

    def roll_out(self) -> None:
        """Replace all pods by those of a new revision; not during another roll-out."""
        assert not self.is_rolling, "more than one old ReplicaSet is not modelled"
        self.old, self.new = self.new, PodSet()
        self._cluster.wake()

    def _sync(self) -> None:
        before = (self.new.replicas, self.old.replicas)
        if self.is_rolling:
            self.new.replicas, self.old.replicas = roll_on(
                replicas=self.replicas,
                surge=self.surge,
                unavailable=self.unavailable,
                new=self.new,
                old=self.old,
            )
        else:
            self.new.replicas = self.replicas
        if (self.new.replicas, self.old.replicas) != before:
            self._cluster.wake()
        for pods in (self.new, self.old):
            self._manage(pods)

    def _manage(self, pods: PodSet) -> None:
        """Have the missing pods created, or those that are too many deleted."""
        if pods.requests:
            return
        cluster = self._cluster
        missing = pods.replicas - len(pods.active)
        for _ in range(min(missing, _BURST_REPLICAS)):
            cluster.request(pods, partial(cluster.create, pods))
        if missing < 0:
            victims = choose_victims(
                pods.active.values(),
                min(-missing, _BURST_REPLICAS),
                ranks=cluster.ranks,
                now=cluster.now,
                rng=cluster.rng,
            )
            for pod in victims:
                cluster.request(pods, partial(cluster.delete, pod))


@final
class StatefulSet:
    """Pods with names that stay, made one after another and rolled one after another.

    Args:
        cluster: Where its pods are.
        replicas: How many there are, from ordinal 0 on.
        name: What its pods are named after: `web-0`, `web-1` and so on.
    """

    def __init__(self, cluster: Cluster, replicas: int, *, name: str = "web") -> None:
        self.replicas = replicas
        self._cluster = cluster
        self._name = name
        self._pods = PodSet()
        self._by_ordinal: dict[int, Pod] = {}
        self._rolled = cluster.now
        cluster.controller = self._sync
        cluster.wake()

    def scale(self, replicas: int) -> None:
        """Change how many replicas there are."""
        self.replicas = replicas
        self._cluster.wake()

    def roll_out(self) -> None:
        """Replace all pods, from the highest ordinal down, each when the last one is ready."""
        self._rolled = self._cluster.now
        self._cluster.wake()

    def _sync(self) -> None:
        cluster, pods = self._cluster, self._by_ordinal
        if self._pods.requests or any(
            cluster.is_there(pod) and not cluster.is_active(pod) for pod in pods.values()
        ):
            return
        for ordinal in range(self.replicas):
            pod = pods.get(ordinal)
            if pod is None or not cluster.is_there(pod):
                cluster.request(self._pods, partial(self._create, ordinal))
                return
            if not pod.is_ready:
                return
        there = sorted((o for o, pod in pods.items() if cluster.is_there(pod)), reverse=True)
        for ordinal in there:
            if ordinal >= self.replicas or pods[ordinal].created <= self._rolled:
                cluster.request(self._pods, partial(cluster.delete, pods[ordinal]))
                return

    def _create(self, ordinal: int) -> None:
        self._by_ordinal[ordinal] = self._cluster.create(self._pods, f"{self._name}-{ordinal}")
