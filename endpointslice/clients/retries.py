"""When to ask again, and for how long to wait before."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import inf
from typing import Any, final

import attrs

from endpointslice.errors import ModelError

__all__ = ["RetryPolicy"]


def _is_positive(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not 0 < value < inf:
        raise ModelError(attribute.name, "must be above 0, and finite", value)


@final
@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How often a request is sent again that failed for now, and after how long.

    The wait before the k-th repetition is a random part of `first_wait * 2**(k-1)`, at most
    `longest_wait`: many controllers that fail at one time do not come back at one time. If the
    server says how long to wait, it is that long and up to `first_wait` longer; if that is more
    than `longest_wait`, the request is given up, and the caller told when to come back.

    Attributes:
        attempts: How often one operation is tried in all, reading back included; at least 1.
        first_wait: Seconds, above 0.
        longest_wait: Seconds, above 0.
        random: Numbers from 0 to below 1.

    Raises:
        ModelError: A number is out of its range.
    """

    attempts: int = attrs.field(default=5, validator=_is_positive)
    first_wait: float = attrs.field(default=0.25, validator=_is_positive)
    longest_wait: float = attrs.field(default=30.0, validator=_is_positive)
    random: Callable[[], float] = attrs.field(default=random.random, repr=False)

    def wait(self, failures: int, retry_after: float | None = None) -> float | None:
        """Return for how many seconds to wait after so many failures; None to give up."""
        if failures >= self.attempts:
            return None
        # No number is not within the limit either.
        if retry_after is not None and not retry_after <= self.longest_wait:
            return None
        chance = self.random()
        if retry_after is not None:
            return max(0.0, retry_after) + chance * self.first_wait
        # Beyond 2**60 there is nothing to tell apart, and a float ends.
        return chance * min(self.longest_wait, self.first_wait * 2.0 ** min(failures - 1, 60))
