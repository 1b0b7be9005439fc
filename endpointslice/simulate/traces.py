"""What happens to a Service's endpoints over time, whoever made it happen.

A trace is a recorded or a made-up history: numbered pods appear on numbered nodes, turn ready,
terminate and go. It knows nothing of slices, so that any strategy can be run on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, final

import attrs

from endpointslice.models import FrozenDict

__all__ = ["TICK", "Change", "PodState", "Trace"]

#: A step of a trace, in milliseconds.
TICK: Final = 1000


class PodState(StrEnum):
    """What a pod's endpoint says, by the letter that a trace has for it."""

    NOT_READY = "n"
    READY = "r"
    #: Terminating, and serving still.
    TERMINATING = "t"


@final
@attrs.frozen
class Change:
    """What happens to one pod at one moment.

    Attributes:
        at: When, in milliseconds from the start.
        pod: Its number, 0 or above.
        state: What it is from now on; None if it is gone.
        node: The number of its node, where it appears; None in all later changes.
    """

    at: int
    pod: int
    state: PodState | None
    node: int | None = None


@final
@attrs.frozen(kw_only=True)
class Trace:
    """The life of all pods of one Service.

    Attributes:
        name: What it is called in reports.
        nodes: How many nodes there are, numbered from 0.
        zones: How many zones; node i is in zone i mod zones.
        changes: What happens, in order of time.
        duration: How long it is, in milliseconds; no change comes later.
        pod_names: Names of pods whose name does not follow from their number.
        pod_uids: Uids of pods whose uid does not follow from their number.
        reference: Totals that another implementation had on this trace, by name.
    """

    name: str
    nodes: int
    zones: int
    changes: tuple[Change, ...] = attrs.field(repr=False)
    duration: int
    pod_names: Mapping[int, str] = attrs.field(default=FrozenDict(), repr=False)
    pod_uids: Mapping[int, str] = attrs.field(default=FrozenDict(), repr=False)
    reference: Mapping[str, int] = attrs.field(default=FrozenDict(), repr=False)
