"""Small values, and generators of whole cases in which edge cases are dense.

Endpoints are named by small numbers, so that the same few turn up in many places: twice in a
slice, in two slices, in two groups. Capacities are 1..5. A number stands for an identity, a
variant for a content: variant 0 is the common one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

import attrs
from hypothesis import strategies as st

from endpointslice import (
    DEFAULT_MANAGED_BY,
    LABEL_HEADLESS,
    LABEL_MANAGED_BY,
    LABEL_SERVICE_NAME,
    AddressType,
    Endpoint,
    EndpointConditions,
    EndpointGroup,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    FrozenDict,
    GroupKey,
    ObjectMeta,
    ObjectReference,
    OwnerReference,
    Protocol,
    SliceTemplate,
)

_T = TypeVar("_T")

IPV4: Final = AddressType.IPV4
IPV6: Final = AddressType.IPV6
FQDN: Final = AddressType.FQDN

HTTP: Final = EndpointPort(port=80, name="http")
HTTP_ALT: Final = EndpointPort(port=81, name="http")
METRICS: Final = EndpointPort(port=90, name="metrics", protocol=Protocol.UDP, app_protocol="h2c")

#: The port sets that groups have. Reordered, the last is still the same group.
PORT_SETS: Final = ((), (HTTP,), (HTTP_ALT,), (HTTP, METRICS))

OWNER: Final = OwnerReference(
    api_version="v1", kind="Service", name="web", uid="uid-1", controller=True
)
OLD_OWNER: Final = attrs.evolve(OWNER, uid="uid-0")
OTHER_KIND: Final = OwnerReference(api_version="v1", kind="ConfigMap", name="x", uid="uid-9")
SAME_KIND: Final = attrs.evolve(OWNER, name="web-b", uid="uid-3", controller=None)
SECOND_OWNER: Final = OwnerReference(api_version="example/v1", kind="Zone", name="a", uid="uid-2")

_LABELS: Final = {LABEL_SERVICE_NAME: "web", LABEL_MANAGED_BY: DEFAULT_MANAGED_BY}

TEMPLATE: Final = SliceTemplate(
    metadata=ObjectMeta(
        namespace="shop",
        generate_name="web-",
        labels=FrozenDict({"app": "web", **_LABELS}),
        owner_references=(OWNER,),
    )
)

#: Templates that differ in what they carry.
TEMPLATES: Final = (
    TEMPLATE,
    SliceTemplate(
        metadata=ObjectMeta(namespace="shop", generate_name="web-", labels=FrozenDict(_LABELS))
    ),
    SliceTemplate(
        metadata=attrs.evolve(
            TEMPLATE.metadata,
            labels=FrozenDict({"app": "web", LABEL_HEADLESS: "", **_LABELS}),
            annotations=FrozenDict(
                {
                    "endpoints.kubernetes.io/last-change-trigger-time": "2026-07-01T00:00:00Z",
                    "example.com/zone": "a",
                }
            ),
            owner_references=(OWNER, SECOND_OWNER),
        )
    ),
    SliceTemplate(metadata=attrs.evolve(TEMPLATE.metadata, owner_references=(OWNER, SAME_KIND))),
    SliceTemplate(
        metadata=attrs.evolve(TEMPLATE.metadata, annotations=FrozenDict({"note": "ours"})),
        owns_annotations=True,
    ),
    attrs.evolve(TEMPLATE, owns_annotations=True),
)

_CONTENTS: Final[tuple[dict[str, Any], ...]] = (
    {"node_name": "node-1", "zone": "a"},
    {
        "node_name": "node-1",
        "zone": "a",
        "conditions": EndpointConditions(ready=False, serving=True, terminating=True),
    },
    {"node_name": "node-1", "zone": "a", "hints": EndpointHints(for_zones=("a",))},
    {"node_name": "node-2"},
)
VARIANTS: Final = len(_CONTENTS)


def endpoint(number: int, variant: int = 0, kind: AddressType = IPV4, **changes: Any) -> Endpoint:
    """The endpoint of Pod `number`, with one of a few contents."""
    address = {
        IPV4: f"10.0.{number // 256}.{number % 256}",
        IPV6: f"fd00::{number + 1:x}",
        FQDN: f"pod-{number}.example.com",
    }[kind]
    fields: dict[str, Any] = {
        "addresses": (address,),
        "target_ref": ObjectReference("Pod", "shop", f"web-{number}", f"pod-uid-{number}"),
        **_CONTENTS[variant],
        **changes,
    }
    return Endpoint(**fields)


def part_of(member: Endpoint) -> str | None:
    """A part by identity and content; of one content it is the same for all, of one none."""
    assert member.target_ref is not None
    number = int(member.target_ref.name.rpartition("-")[2])
    if member.node_name == "node-2":
        return None
    if member.hints.for_zones:
        return "c"
    return "abc"[number % 2 if member.conditions.ready else 2 - number % 3]


def endpoints(*numbers: int, kind: AddressType = IPV4) -> tuple[Endpoint, ...]:
    """Endpoints with the common content."""
    return tuple(endpoint(number, kind=kind) for number in numbers)


def group_key(*ports: EndpointPort, kind: AddressType = IPV4) -> GroupKey:
    """A group's key."""
    return GroupKey(address_type=kind, ports=ports)


def group(
    *members: Endpoint | int, ports: Iterable[EndpointPort] = (HTTP,), kind: AddressType = IPV4
) -> EndpointGroup:
    """A desired group; numbers stand for endpoints with the common content."""
    return EndpointGroup(
        key=GroupKey(address_type=kind, ports=tuple(ports)),
        endpoints=tuple(endpoint(m, kind=kind) if isinstance(m, int) else m for m in members),
    )


def stored(
    name: str,
    *members: Endpoint | int,
    ports: Iterable[EndpointPort] = (HTTP,),
    kind: AddressType = IPV4,
    template: SliceTemplate = TEMPLATE,
    labels: Mapping[str, str] | None = None,
    **meta: Any,
) -> EndpointSlice:
    """A slice as the API server stores it; `labels` are laid over the template's."""
    own = template.metadata
    return EndpointSlice(
        metadata=attrs.evolve(
            own,
            name=name,
            resource_version=f"rv-{name}",
            labels=FrozenDict({**own.labels, **(labels or {})}),
            **meta,
        ),
        address_type=kind,
        ports=tuple(ports),
        endpoints=tuple(endpoint(m, kind=kind) if isinstance(m, int) else m for m in members),
    )


# --- generators -------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Case:
    """What `reconcile` is asked."""

    desired: tuple[EndpointGroup, ...]
    current: tuple[EndpointSlice, ...]
    template: SliceTemplate = TEMPLATE
    capacity: int = 2

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """Show a counterexample on a few lines."""
        printer.text(f"capacity {self.capacity}, template {TEMPLATES.index(self.template)}")
        for item in self.desired:
            ports = [port.port for port in item.key.ports]
            printer.text(f"\n  want {item.key.address_type} {ports} {_told(item.endpoints)}")
        for one in self.current:
            ports = [port.port for port in one.ports]
            kind = one.address_type
            printer.text(f"\n  has {one.name} {kind} {ports} {_told(one.endpoints)}")
            if one.metadata.namespace != self.template.metadata.namespace:
                printer.text(" in another namespace")
            if one.metadata.deletion_timestamp is not None:
                printer.text(" pending deletion")
            if one.metadata.labels != self.template.metadata.labels:
                printer.text(f" labels {dict(one.metadata.labels)}")
            if one.metadata.annotations != self.template.metadata.annotations:
                printer.text(f" annotations {dict(one.metadata.annotations)}")
            if one.metadata.owner_references != self.template.metadata.owner_references:
                printer.text(f" owners {[owner.uid for owner in one.metadata.owner_references]}")

    @property
    def ours(self) -> tuple[EndpointSlice, ...]:
        """The slices that the plan may look at, those of a stale owner among them."""
        return tuple(item for item in self.current if is_ours(item, self.template))

    @property
    def foreign(self) -> tuple[EndpointSlice, ...]:
        """All others."""
        return tuple(item for item in self.current if not is_ours(item, self.template))

    @property
    def stale(self) -> tuple[EndpointSlice, ...]:
        """The slices of a stale owner."""
        return tuple(item for item in self.ours if is_stale(item, self.template))

    @property
    def live(self) -> tuple[EndpointSlice, ...]:
        """The slices that can be updated."""
        return tuple(item for item in self.ours if not is_stale(item, self.template))


def _told(members: Iterable[Endpoint]) -> str:
    return " ".join(
        f"{m.target_ref.name if m.target_ref else m.addresses[0]}"
        + ("" if m == endpoint(0, 0) else f"/{_variant_of(m)}")
        for m in members
    )


def _variant_of(member: Endpoint) -> int:
    for variant, fields in enumerate(_CONTENTS):
        plain = Endpoint(
            member.addresses, hostname=member.hostname, target_ref=member.target_ref, **fields
        )
        if plain == member:
            return variant
    return -1


def is_ours(item: EndpointSlice, template: SliceTemplate) -> bool:
    """Said again, independently: namespace, Service and manager are ours, and it stays."""
    mine, its = template.metadata, item.metadata
    return (
        its.deletion_timestamp is None
        and its.namespace == mine.namespace
        and its.labels.get(LABEL_SERVICE_NAME) == mine.labels.get(LABEL_SERVICE_NAME)
        and its.labels.get(LABEL_MANAGED_BY) == mine.labels.get(LABEL_MANAGED_BY)
    )


def is_stale(item: EndpointSlice, template: SliceTemplate) -> bool:
    """Said again, independently: an owner of our owner's kind, none of which is ours."""
    ours = template.metadata.owner_references
    for kind in {owner.kind for owner in ours}:
        theirs = {o.uid for o in item.metadata.owner_references if o.kind == kind}
        if theirs and not theirs & {o.uid for o in ours if o.kind == kind}:
            return True
    return False


_EXTRAS: Final = (
    FrozenDict[str, Any](),
    FrozenDict[str, Any]({"deprecatedTopology": FrozenDict({"rack": "r1"})}),
    FrozenDict[str, Any]({"conditions": FrozenDict({"warm": True}), "futureField": (1, "two")}),
)
_SLICE_EXTRA: Final = FrozenDict[str, Any]({"futureTopLevel": 1})
_META_EXTRA: Final = FrozenDict[str, Any](
    {"finalizers": ("example.com/hold",), "managedFields": (FrozenDict({"manager": "kubectl"}),)}
)


@lru_cache(None)
def _metadata(template: int, name: str, trouble: str) -> ObjectMeta:
    """The metadata of a stored slice, with one kind of trouble."""
    own = TEMPLATES[template].metadata
    labels = dict(own.labels)
    annotations = dict(own.annotations)
    changes: dict[str, Any] = {}
    match trouble:
        case "no label":
            labels.pop("app", None)
            labels["left"] = "over"
        case "no headless label":
            labels.pop(LABEL_HEADLESS, None)
        case "other annotations":
            annotations = {"note": "by hand"}
        case "no owner":
            changes["owner_references"] = ()
        case "fewer owners":
            changes["owner_references"] = own.owner_references[1:]
        case "stale owner":
            changes["owner_references"] = (OLD_OWNER, OTHER_KIND)
        case "more owners":
            changes["owner_references"] = (OTHER_KIND, *own.owner_references)
        case "other manager":
            labels[LABEL_MANAGED_BY] = "somebody.example.com"
        case "no manager":
            labels.pop(LABEL_MANAGED_BY)
        case "other service":
            labels[LABEL_SERVICE_NAME] = "db"
        case "other namespace":
            changes["namespace"] = "elsewhere"
        case "pending deletion":
            changes["deletion_timestamp"] = "2026-07-02T00:00:00Z"
        case "extras":
            changes["extra"] = _META_EXTRA
        case _:
            assert not trouble, trouble
    return attrs.evolve(
        own,
        name=name,
        uid=f"uid-{name}",
        resource_version=f"rv-{name}",
        generation=3,
        creation_timestamp="2026-06-01T00:00:00Z",
        labels=FrozenDict(labels),
        annotations=FrozenDict(annotations),
        **changes,
    )


_OWN_TROUBLES: Final = (
    "no label",
    "no headless label",
    "other annotations",
    "no owner",
    "fewer owners",
    "more owners",
    "extras",
)
_FOREIGN_TROUBLES: Final[tuple[str, ...]] = (
    "other manager",
    "no manager",
    "other service",
    "other namespace",
    "pending deletion",
)


class Choices:
    """Bytes read as choices; 0 is the simplest one, and what is read beyond the end."""

    def __init__(self, data: bytes) -> None:
        self._bytes = iter(data)

    def below(self, limit: int) -> int:
        return next(self._bytes, 0) % limit

    def of(self, values: Sequence[_T]) -> _T:
        return values[self.below(len(values))]

    def out_of(self, values: list[_T]) -> _T:
        return values.pop(self.below(len(values)))


@lru_cache(None)
def _shared(number: int, variant: int, kind: AddressType, extra: int, copy: int) -> Endpoint:
    """Endpoints are made once, for cases are many; `copy` tells equal ones apart."""
    return endpoint(number, variant, kind, extra=_EXTRAS[extra])


@attrs.frozen(kw_only=True)
class _World:
    """What cases are made of, and how; see `cases`."""

    universe: int
    capacities: Sequence[int]
    keys: tuple[GroupKey, ...]
    max_desired: int
    duplicates: bool
    over_capacity: bool
    troubles: tuple[str, ...]
    max_groups: int
    max_slices: int

    @property
    def part(self) -> int:
        """How many bytes stand for one group, or for one slice."""
        return 5 + 4 * self.universe

    @property
    def size(self) -> int:
        """How many bytes stand for a case."""
        return self.part * (1 + self.max_groups + self.max_slices)

    def case(self, drawn: bytes) -> Case:
        """Build the case that some bytes stand for: a part for all, each group, each slice."""
        choices, *parts = (
            Choices(drawn[i : i + self.part]) for i in range(0, self.size, self.part)
        )
        groups = parts[: 1 + choices.below(self.max_groups)]
        slices = parts[self.max_groups :][: choices.below(self.max_slices + 1)]
        capacity = choices.of(self.capacities)
        template = choices.below(len(TEMPLATES))
        # Slices hold the very objects that are wanted, or equal ones.
        copy = choices.below(2)
        free = list(self.keys)
        used: list[GroupKey] = []
        wanted: dict[GroupKey, dict[int, int]] = {}
        left = self.max_desired
        for choices in groups:
            used.append(choices.out_of(free))
            if choices.below(4) < 3 or self.max_groups == 1:
                members = wanted[used[-1]] = self._members(choices, left)
                left -= len(members)
        names = [f"web-{i}" for i in range(len(slices))]
        taken: set[tuple[GroupKey, int]] = set()
        dead = _FOREIGN_TROUBLES
        if TEMPLATES[template].metadata.owner_references:
            dead += ("stale owner",)
        current = []
        for choices in slices:
            name, key = choices.out_of(names), choices.of(used)
            trouble = choices.of(self.troubles) if choices.below(4) == 3 else ""
            ports = key.ports[::-1] if choices.below(2) else key.ports
            held = []
            for number, variant in self._held(choices, wanted.get(key, {}), capacity):
                if not self.duplicates and trouble not in dead:
                    if (key, number) in taken:
                        continue
                    taken.add((key, number))
                extra = choices.below(len(_EXTRAS)) if trouble == "extras" else 0
                held.append(_shared(number, variant, key.address_type, extra, copy))
            current.append(
                EndpointSlice(
                    metadata=_metadata(template, name, trouble),
                    address_type=key.address_type,
                    ports=ports,
                    endpoints=tuple(held),
                    extra=_SLICE_EXTRA if trouble == "extras" else _EXTRAS[0],
                )
            )
        desired = tuple(
            EndpointGroup(
                key=key,
                endpoints=tuple(
                    _shared(number, variant, key.address_type, 0, 0)
                    for number, variant in members.items()
                ),
            )
            for key, members in wanted.items()
        )
        return Case(
            desired=desired,
            current=tuple(current),
            template=TEMPLATES[template],
            capacity=capacity,
        )

    def _members(self, choices: Choices, most: int) -> dict[int, int]:
        """Which numbers a group wants, with which contents."""
        numbers = list(range(self.universe))
        return {
            choices.out_of(numbers): choices.below(VARIANTS) if choices.below(3) == 2 else 0
            for _ in range(choices.below(min(self.universe, most) + 1))
        }

    def _held(
        self, choices: Choices, right: Mapping[int, int], capacity: int
    ) -> Iterator[tuple[int, int]]:
        """What a slice holds: mostly what is wanted of it, mostly with the right content."""
        likely = sorted(right) or [0]
        most = self.universe if self.over_capacity else capacity
        for _ in range(choices.below(most + 1)):
            number = choices.below(self.universe) if choices.below(3) == 2 else choices.of(likely)
            variant = right.get(number, 0)
            doubt = choices.below(5)
            if doubt > 1:
                variant = choices.below(VARIANTS) if doubt == 4 else 0
            yield number, variant


def cases(
    *,
    universe: int = 7,
    max_slices: int = 5,
    max_groups: int = 4,
    max_desired: int = 99,
    capacities: Sequence[int] = range(1, 6),
    kinds: tuple[AddressType, ...] = (IPV4, IPV6),
    port_sets: tuple[tuple[EndpointPort, ...], ...] = PORT_SETS,
    duplicates: bool = True,
    over_capacity: bool = True,
    foreign: bool = True,
    stale: bool = True,
) -> st.SearchStrategy[Case]:
    """Whole cases: desired groups, and slices that are more or less right.

    Drawing is what takes time, so one string of bytes is drawn, and plain Python makes a case
    of it.
    """
    world = _World(
        universe=universe,
        capacities=capacities,
        keys=tuple(
            GroupKey(address_type=kind, ports=ports) for kind in kinds for ports in port_sets
        ),
        max_desired=max_desired,
        duplicates=duplicates,
        over_capacity=over_capacity,
        troubles=(
            *_OWN_TROUBLES,
            *("stale owner",) * (2 * stale),
            *_FOREIGN_TROUBLES * foreign,
        ),
        max_groups=max_groups,
        max_slices=max_slices,
    )
    return st.binary(min_size=world.size, max_size=world.size).map(world.case)


def tiny_cases(*, one_group: bool = False) -> st.SearchStrategy[Case]:
    """Cases small enough for the oracle, without duplicates."""
    return cases(
        universe=4,
        max_slices=3,
        max_groups=1 if one_group else 2,
        max_desired=4,
        capacities=(1, 2),
        kinds=(IPV4,) if one_group else (IPV4, IPV6),
        port_sets=((), (HTTP,), (HTTP_ALT,)),
        duplicates=False,
        foreign=False,
    )
