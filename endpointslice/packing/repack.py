"""The naive baseline: from scratch, sorted and dense."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import final

import attrs

from endpointslice.diff import Diff
from endpointslice.models import Endpoint, EndpointKey, _key_of
from endpointslice.packing.placement import Packing, lay_out

__all__ = ["Repack"]


@final
@attrs.frozen
class Repack:
    """Sort all endpoints by key and cut them into full slices, but for the last.

    What a controller does that thinks of nothing but today: no strategy has fewer slices, and
    hardly one has more writes, for one endpoint that comes or goes shifts all that stand behind
    it. Slices that hold what they should already are neither opened nor written, for the API
    server makes no event of such a write; so a change of content alone writes one slice.

    After every plan that writes anything, who sits with whom is a function of the set of
    identities and the capacity alone. One endpoint more or less writes up to every slice, and
    moves one endpoint out of each.

    Complexity: O(n log n) for n endpoints, as a rule.
    """

    def pack(self, diff: Diff) -> Packing:
        """Place every endpoint of the dirty slices and every new one, each exactly once."""
        if diff.is_empty:
            return Packing(())
        written = {item.name: item.endpoints for item in diff.dirty}
        loose = {e.key: e for e in chain(diff.new, *written.values())}
        runs = {item.name: diff.span(item.name, _key_of) for item in diff.clean if item.count}
        while mixed := _mixed(loose, runs):
            for name in mixed:
                del runs[name]
                written[name] = diff.open(name)
                loose.update((endpoint.key, endpoint) for endpoint in written[name])
        parts = _cut(diff, loose, runs, written)

        def lowest(name: str) -> str:
            return min(map(_key_of, written[name]))

        spare = [item.name for item in diff.clean if not item.count]
        # The order of slices is kept: what is sorted then crosses each border in one direction.
        order = sorted((name for name, held in written.items() if held), key=lowest)
        seats = dict(zip(order, range(len(parts)), strict=False))
        return lay_out(parts, written, spare, seats)


def _mixed(loose: Iterable[str], runs: Mapping[str, tuple[str, str]]) -> list[str]:
    """Slices among whose endpoints others belong: they are cut up in any case."""
    places = sorted(chain(loose, *runs.values()))
    return [
        name
        for name, (low, high) in runs.items()
        if bisect_right(places, low) < bisect_left(places, high)
    ]


def _cut(
    diff: Diff,
    loose: Mapping[EndpointKey, Endpoint],
    runs: Mapping[str, tuple[str, str]],
    written: dict[str, tuple[Endpoint, ...]],
) -> list[list[Endpoint]]:
    """Cut the sorted endpoints; slices that are no piece of them are opened and written."""
    capacity = diff.max_endpoints_per_slice
    counts = {item.name: item.count for item in diff.clean}
    order = sorted(
        [*((key, "") for key in loose), *((low, name) for name, (low, _) in runs.items())]
    )
    parts: list[list[Endpoint]] = [[]]
    for key, name in order:
        if not name:
            parts[-1].append(loose[EndpointKey(key)])
        elif parts[-1] or (counts[name] < capacity and key != order[-1][0]):
            written[name] = diff.open(name)
            parts[-1] += sorted(written[name], key=_key_of)
        while len(parts[-1]) >= capacity:
            parts[-1:] = [parts[-1][:capacity], parts[-1][capacity:]]
    return parts if parts[-1] else parts[:-1]
