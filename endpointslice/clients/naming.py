"""Names that two replicas, or one before and after a crash, make alike."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from typing import Final, final

import attrs

from endpointslice.models import LABEL_MANAGED_BY, LABEL_SERVICE_NAME, EndpointSlice
from endpointslice.plan import CreateSlice, Plan

__all__ = ["DeterministicNames"]

#: Of a name, as much as the API server keeps of generateName when it makes one up, less what the
#: longer suffix here takes, so that no name is longer than 63.
_MAX_PREFIX: Final = 53
_SUFFIX: Final = 10


def _owner(after: EndpointSlice) -> str:
    """Who a slice is for, and what group it is in: all that tells its names from others'."""
    meta = after.metadata
    facts = [
        meta.namespace,
        meta.labels.get(LABEL_SERVICE_NAME, ""),
        meta.labels.get(LABEL_MANAGED_BY, ""),
        sorted(owner.uid for owner in meta.owner_references),
        str(after.address_type),
        [
            [port.name, str(port.protocol), port.port, port.app_protocol or ""]
            for port in after.ports
        ],
    ]
    return json.dumps(facts, ensure_ascii=True)


@final
@attrs.define
class DeterministicNames:
    """Names the slices that a plan creates: each group has slots, and each slot one name.

    A create takes the first slot whose name no slice of the owner has. So whoever plans from the
    same slices takes the same slots, whatever the slice is to hold, and the second is refused.

    Attributes:
        taken: Names that are not to be given.
    """

    taken: set[str]
    _slots: Counter[str] = attrs.field(factory=Counter, init=False)

    @classmethod
    def beside(cls, plan: Plan) -> DeterministicNames:
        """Return names that none of a plan's slices has."""
        written = (item.before or item.after for item in plan.operations)
        return cls({stored.name for stored in (*plan.unchanged, *written)})

    def candidates(self, create: CreateSlice) -> Iterator[str]:
        """Yield the names of the free slots of the group, in order; each one is given once.

        Complexity: O(1) a name, and once for each operation O(p) for p ports.
        """
        after = create.after
        owner = _owner(after)
        prefix = after.metadata.generate_name[:_MAX_PREFIX]
        while True:
            slot = self._slots[owner]
            self._slots[owner] += 1
            name = prefix + sha256(f"{owner}#{slot}".encode()).hexdigest()[:_SUFFIX]
            if name not in self.taken:
                self.taken.add(name)
                yield name
