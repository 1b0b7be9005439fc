"""Small values, and generators of whole cases in which edge cases are dense.

Endpoints are named by small numbers, so that the same few turn up in many places: twice in a
slice, in two slices, in two groups. Capacities are 1..5. A number stands for an identity, a
variant for a content: variant 0 is the common one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

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
    """Said again, independently of the library: namespace, Service and manager are ours."""
    mine, its = template.metadata, item.metadata
    return (
        its.namespace == mine.namespace
        and its.labels.get(LABEL_SERVICE_NAME) == mine.labels.get(LABEL_SERVICE_NAME)
        and its.labels.get(LABEL_MANAGED_BY) == mine.labels.get(LABEL_MANAGED_BY)
    )


def is_stale(item: EndpointSlice, template: SliceTemplate) -> bool:
    """Said again, independently: an owner of our owner's kind, none of which is ours."""
    return any(
        {o.uid for o in item.metadata.owner_references if o.kind == ours.kind}
        and ours.uid
        not in {o.uid for o in item.metadata.owner_references if o.kind == ours.kind}
        for ours in template.metadata.owner_references
    )


def _variants(rare: bool) -> st.SearchStrategy[int]:
    common = st.just(0)
    return st.one_of(common, common, st.integers(0, VARIANTS - 1)) if rare else common


_EXTRAS: Final = (
    FrozenDict[str, Any](),
    FrozenDict[str, Any]({"deprecatedTopology": FrozenDict({"rack": "r1"})}),
    FrozenDict[str, Any]({"conditions": FrozenDict({"warm": True}), "futureField": (1, "two")}),
)
_META_EXTRA: Final = FrozenDict[str, Any](
    {"finalizers": ("example.com/hold",), "managedFields": (FrozenDict({"manager": "kubectl"}),)}
)


def _metadata(template: SliceTemplate, name: str, trouble: str) -> ObjectMeta:
    """The metadata of a stored slice, with one kind of trouble."""
    own = template.metadata
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
        case "extras":
            changes["extra"] = _META_EXTRA
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
    "more owners",
    "extras",
)
_FOREIGN_TROUBLES: Final = ("other manager", "no manager", "other service", "other namespace")


def _troubles(foreign: bool, stale: bool) -> st.SearchStrategy[str]:
    none = st.just("")
    choices = [*_OWN_TROUBLES]
    choices += ["stale owner"] * (2 * stale)
    choices += _FOREIGN_TROUBLES * foreign
    return st.one_of(none, none, none, st.sampled_from(choices))


@st.composite
def cases(
    draw: st.DrawFn,
    *,
    universe: int = 7,
    max_slices: int = 5,
    max_groups: int = 4,
    capacities: st.SearchStrategy[int] = st.integers(1, 5),  # noqa: B008
    kinds: tuple[AddressType, ...] = (IPV4, IPV6),
    port_sets: tuple[tuple[EndpointPort, ...], ...] = PORT_SETS,
    duplicates: bool = True,
    over_capacity: bool = True,
    foreign: bool = True,
    stale: bool = True,
    one_group: bool = False,
) -> Case:
    """Whole cases: desired groups, and slices that are more or less right."""
    capacity = draw(capacities)
    template = draw(st.sampled_from(TEMPLATES))
    keys = [
        GroupKey(address_type=kind, ports=tuple(ports)) for kind in kinds for ports in port_sets
    ]
    used = draw(
        st.lists(
            st.sampled_from(keys), min_size=1, max_size=1 if one_group else max_groups, unique=True
        )
    )
    numbers = st.integers(0, universe - 1)
    wanted: dict[GroupKey, dict[int, int]] = {}
    for key in used:
        if one_group or draw(st.integers(0, 3)):
            chosen = draw(st.lists(numbers, max_size=universe, unique=True))
            wanted[key] = {number: draw(_variants(rare=True)) for number in chosen}
    current = []
    taken: set[tuple[GroupKey, int]] = set()
    count = draw(st.integers(0, max_slices))
    names = draw(st.permutations([f"web-{i}" for i in range(count)])) if count else []
    for name in names:
        key = draw(st.sampled_from(used))
        trouble = draw(_troubles(foreign, stale))
        size = universe if over_capacity else capacity
        likely = sorted(wanted.get(key, ())) or [0]
        pool = st.one_of(st.sampled_from(likely), st.sampled_from(likely), numbers)
        chosen = draw(st.lists(pool, max_size=size, unique=not duplicates))
        members = []
        for number in chosen:
            if not duplicates and trouble not in _FOREIGN_TROUBLES and trouble != "stale owner":
                if (key, number) in taken:
                    continue
                taken.add((key, number))
            right = wanted.get(key, {}).get(number, 0)
            variant = draw(st.one_of(st.just(right), st.just(right), _variants(rare=True)))
            extra = draw(st.sampled_from(_EXTRAS)) if trouble == "extras" else _EXTRAS[0]
            members.append(endpoint(number, variant, key.address_type, extra=extra))
        ports = draw(st.permutations(key.ports)) if len(key.ports) > 1 else key.ports
        current.append(
            EndpointSlice(
                metadata=_metadata(template, name, trouble),
                address_type=key.address_type,
                ports=tuple(ports),
                endpoints=tuple(members),
                extra=FrozenDict({"futureTopLevel": 1}) if trouble == "extras" else FrozenDict(),
            )
        )
    desired = tuple(
        EndpointGroup(
            key=key,
            endpoints=tuple(
                endpoint(number, variant, key.address_type) for number, variant in members.items()
            ),
        )
        for key, members in wanted.items()
    )
    return Case(desired=desired, current=tuple(current), template=template, capacity=capacity)


def tiny_cases(*, one_group: bool = False) -> st.SearchStrategy[Case]:
    """Cases small enough for the oracle, without duplicates."""
    return cases(
        universe=4,
        max_slices=3,
        max_groups=2,
        capacities=st.integers(1, 2),
        kinds=(IPV4,) if one_group else (IPV4, IPV6),
        port_sets=((), (HTTP,), (HTTP_ALT,)),
        duplicates=False,
        foreign=False,
        one_group=one_group,
    ).filter(lambda case: sum(len(item.endpoints) for item in case.desired) <= 4)


Builder = Callable[..., EndpointSlice]
