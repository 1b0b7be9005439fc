"""The law of `IncrementalReconciler`: its plans are those of `reconcile`, whatever happens.

A history is a model beside the reconciler: what is desired, what the API server has, and what the
reconciler may believe of that. In each step something changes, in the desired state, on the
server or in the configuration; now and then a plan is asked for, compared with the one that
`reconcile` makes of the same two, and carried out whole, in part, or against conflicts.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from endpointslice import (
    ANNOTATION_TRIGGER_TIME,
    CreateSlice,
    DuplicateEndpointError,
    Endpoint,
    EndpointGroup,
    EndpointKey,
    EndpointSlice,
    FrozenDict,
    GroupKey,
    IncrementalReconciler,
    Packing,
    PackingStrategy,
    Plan,
    SliceTemplate,
    UpdateSlice,
    reconcile,
)
from endpointslice.diff import Diff
from endpointslice.packing import SingleObject
from tests.builders import (
    IPV4,
    IPV6,
    OLD_OWNER,
    PORT_SETS,
    TEMPLATE,
    TEMPLATES,
    VARIANTS,
    endpoint,
    group_key,
    stored,
)
from tests.test_reconcile_laws import _NAMES, STRATEGIES

_KEYS = tuple(group_key(*ports, kind=kind) for kind in (IPV4, IPV6) for ports in PORT_SETS[:3])
_UNIVERSE = 14
_ALL = [*STRATEGIES, SingleObject()]
_EXTRAS: tuple[dict[str, Any], ...] = ({}, {"deprecatedTopology": {"rack": "r1"}})

Desired = dict[GroupKey, dict[EndpointKey, Endpoint]]


def _flat(groups: Desired) -> dict[GroupKey, frozenset[Endpoint]]:
    return {key: frozenset(members.values()) for key, members in groups.items()}


class History:
    """One history, and what must be true after each step."""

    def __init__(self, random: Random, strategy: PackingStrategy) -> None:
        self.random = random
        self.strategy = strategy
        self.capacity = random.choice((1, 2, 3, 5))
        self.template: SliceTemplate = TEMPLATE
        self.made = 0
        self.version = 0
        self.server: dict[str, EndpointSlice] = {}
        for _ in range(random.randrange(4)):
            self.add_slice()
        self.believed = {name: item for name, item in self.server.items() if self.is_visible(item)}
        self.desired: Desired = {}
        for name in sorted(self.believed):
            item = self.believed[name]
            if self.is_stale(item):
                continue
            members = self.desired.setdefault(item.group_key, {})
            for member in item.endpoints:
                members.setdefault(member.key, member)
        self.inc = IncrementalReconciler(
            random.sample(list(self.server.values()), len(self.server)),
            template=self.template,
            strategy=strategy,
            max_endpoints_per_slice=self.capacity,
        )
        self.check()

    # --- the model

    def is_visible(self, item: EndpointSlice) -> bool:
        ours, theirs = self.template.metadata, item.metadata
        return theirs.deletion_timestamp is None and all(
            theirs.labels.get(label) == value
            for label, value in ours.labels.items()
            if label.endswith(("service-name", "managed-by"))
        )

    def is_stale(self, item: EndpointSlice) -> bool:
        owners = {owner.uid for owner in self.template.metadata.owner_references}
        return bool(owners) and item.metadata.owner_references == (OLD_OWNER,)

    def member(self, key: GroupKey) -> Endpoint:
        number, variant = self.random.randrange(_UNIVERSE), self.random.randrange(VARIANTS)
        extra = self.random.choice(_EXTRAS)
        return endpoint(number, variant, key.address_type, extra=extra)

    def slice_of(self, name: str) -> EndpointSlice:
        """A slice as somebody else may have left it: doubled endpoints, another owner."""
        random = self.random
        key = random.choice(_KEYS)
        members = [self.member(key) for _ in range(random.randrange(5))]
        if random.random() < 0.7:
            members = list({member.key: member for member in members}.values())
        changes: dict[str, Any] = {}
        if random.random() < 0.1:
            changes["owner_references"] = (OLD_OWNER,)
        if random.random() < 0.05:
            changes["deletion_timestamp"] = "2026-07-02T00:00:00Z"
        labels = random.choice(({}, {}, {}, {"app": "other"}))
        if random.random() < 0.05:
            labels = {"endpointslice.kubernetes.io/managed-by": "somebody"}
        return stored(
            name,
            *members,
            ports=key.ports,
            kind=key.address_type,
            labels=labels,
            **changes,
        )

    def versioned(self, item: EndpointSlice, name: str) -> EndpointSlice:
        self.version += 1
        meta = attrs.evolve(item.metadata, name=name, resource_version=str(self.version))
        return attrs.evolve(item, metadata=meta)

    def add_slice(self) -> str:
        self.made += 1
        # Not in the order of their making.
        name = f"web-{self.made * 7 % 23:02}-{self.made}"
        self.server[name] = self.versioned(self.slice_of(name), name)
        return name

    # --- telling

    def tell(self, name: str) -> None:
        """Report what the server has of that name."""
        item = self.server.get(name)
        if item is None:
            self.inc.forget(name)
            self.believed.pop(name, None)
        else:
            self.inc.observe(item)
            if self.is_visible(item):
                self.believed[name] = item
            else:
                self.believed.pop(name, None)

    def expected(self, desired: Desired) -> Plan:
        groups = [
            EndpointGroup(key=key, endpoints=tuple(members.values()))
            for key, members in desired.items()
        ]
        return reconcile(
            self.random.sample(groups, len(groups)),
            self.random.sample(list(self.believed.values()), len(self.believed)),
            template=self.template,
            strategy=self.strategy,
            max_endpoints_per_slice=self.capacity,
        )

    def carry_out(self, plan: Plan) -> None:
        """What becomes of a plan, and what the reconciler is told of it."""
        random = self.random
        for operation in plan.operations:
            if isinstance(operation, UpdateSlice):
                self.believed[operation.before.name] = operation.after
            elif operation.before is not None:
                del self.believed[operation.before.name]
        done = len(plan.operations)
        if random.random() < 0.4:
            done = random.randrange(done + 1)
        says_all = random.random() < 0.5
        for number, operation in enumerate(plan.operations):
            if number >= done:
                if operation.before is not None:
                    if random.random() < 0.2:
                        self.meddle(operation.before.name)  # which is why it was refused
                    self.tell(operation.before.name)
                continue
            if isinstance(operation, CreateSlice):
                self.made += 1
                name = f"web-{self.made * 7 % 23:02}-{self.made}"
                self.server[name] = self.versioned(operation.after, name)
                self.tell(name)
            elif operation.after is not None:
                name = operation.before.name
                self.server[name] = self.versioned(operation.after, name)
                if says_all:
                    self.tell(name)
            else:
                self.server.pop(operation.before.name, None)
        if not says_all:
            # The model goes on with what the reconciler believes.
            for name, item in self.believed.items():
                self.server[name] = item

    def meddle(self, name: str) -> None:
        if self.random.random() < 0.3:
            self.server.pop(name, None)
        else:
            self.server[name] = self.versioned(self.slice_of(name), name)

    # --- steps

    def changes(self) -> None:
        """Upsert and remove a few, in several groups at once."""
        random = self.random
        upserted: Desired = {}
        removed: dict[GroupKey, list[EndpointKey]] = {}
        after = {key: dict(members) for key, members in self.desired.items()}
        for _ in range(random.choice((0, 1, 1, 1, 2, 6))):
            key = random.choice(_KEYS[: random.choice((1, len(_KEYS)))])
            member = self.member(key)
            if random.random() < 0.45:
                removed.setdefault(key, []).append(member.key)
            elif random.random() < 0.05:
                removed.setdefault(key, [])
            elif random.random() < 0.05:
                upserted.setdefault(key, {})
            else:
                upserted.setdefault(key, {})[member.key] = member
        for key, keys in removed.items():
            members = after.get(key)
            if members is None:
                continue
            if not keys and not members:
                del after[key]
            for one in keys:
                members.pop(one, None)
        for key, coming in upserted.items():
            after.setdefault(key, {}).update(coming)
        groups = [
            EndpointGroup(key=key, endpoints=tuple(members.values()))
            for key, members in upserted.items()
        ]
        self.ask(after, lambda: self.inc.apply(upserted=groups, removed=removed))

    def replaces(self) -> None:
        """Hand over a whole state: other groups, or the last one with a few changes."""
        random = self.random
        after: Desired = {}
        if random.random() < 0.5:
            after = {key: dict(members) for key, members in self.desired.items()}
            for members in after.values():
                for one in random.sample(sorted(members), min(len(members), random.randrange(3))):
                    del members[one]
        for _ in range(random.randrange(8)):
            key = random.choice(_KEYS)
            member = self.member(key)
            after.setdefault(key, {})[member.key] = member
        groups = [
            EndpointGroup(key=key, endpoints=tuple(members.values()))
            for key, members in after.items()
        ]
        self.ask(after, lambda: self.inc.replace(groups))
        if random.random() < 0.5:
            self.ask(after, lambda: self.inc.replace(groups))

    def ask(self, after: Desired, call: Callable[[], Plan]) -> None:
        plan = self.expected(after)
        assert call() == plan
        self.desired = after
        self.carry_out(plan)

    def fails(self) -> None:
        """A call that fails leaves everything as it was."""
        before = self.inc.desired
        key = self.random.choice(_KEYS)
        members = [self.member(key) for _ in range(3)]
        twice = EndpointGroup(key=key, endpoints=(*members, members[0]))
        with pytest.raises(DuplicateEndpointError):
            self.inc.apply(upserted=[twice], removed={key: [m.key for m in members]})
        with pytest.raises(DuplicateEndpointError):
            self.inc.replace([twice])
        self.inc.configure(strategy=_Broken())
        one = EndpointGroup(key=key, endpoints=(members[0],))
        other = {key: [member.key for member in members[1:]] for key in _KEYS}
        calls: tuple[Callable[[], Plan], ...] = (
            lambda: self.inc.apply(upserted=[one], removed=other),
            lambda: self.inc.replace([one]),
        )
        for call in calls:
            with pytest.raises(ZeroDivisionError):
                call()
        self.inc.configure(strategy=self.strategy)
        assert [(group.key, set(group.endpoints)) for group in self.inc.desired] == [
            (group.key, set(group.endpoints)) for group in before
        ]

    def configures(self) -> None:
        random = self.random
        if random.random() < 0.5:
            self.capacity = random.choice((1, 2, 3, 5))
            self.inc.configure(max_endpoints_per_slice=self.capacity)
        else:
            template = random.choice(TEMPLATES)
            if random.random() < 0.5:
                annotations = dict(template.metadata.annotations)
                annotations[ANNOTATION_TRIGGER_TIME] = f"2026-07-01T00:00:{self.made % 60:02}Z"
                meta = attrs.evolve(template.metadata, annotations=FrozenDict(annotations))
                template = attrs.evolve(template, metadata=meta)
            self.template = template
            self.inc.configure(template=template)

    def meddles(self) -> None:
        """Somebody else writes a slice, makes one, or deletes one."""
        if self.server and self.random.random() < 0.7:
            name = self.random.choice(sorted(self.server))
            self.meddle(name)
        else:
            name = self.add_slice()
        self.tell(name)

    def step(self) -> None:
        steps = (self.changes,) * 6 + (self.replaces, self.fails, self.configures)
        self.random.choice((*steps, self.meddles, self.meddles))()
        self.check()

    def check(self) -> None:
        assert self.inc.slices == tuple(self.believed[name] for name in sorted(self.believed))
        assert {group.key: frozenset(group.endpoints) for group in self.inc.desired} == _flat(
            self.desired
        )
        assert all(len(set(group.endpoints)) == len(group.endpoints) for group in self.inc.desired)


@attrs.frozen
class _Broken:
    """A strategy that fails."""

    def pack(self, diff: Diff) -> Packing:
        raise ZeroDivisionError


@pytest.mark.parametrize("strategy", _ALL, ids=[*_NAMES, "SingleObject"])
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), steps=st.integers(50, 70))
@example(seed=0, steps=300)
def test_the_plan_is_that_of_reconcile(strategy: PackingStrategy, seed: int, steps: int) -> None:
    history = History(Random(seed), strategy)
    for _ in range(steps):
        history.step()
