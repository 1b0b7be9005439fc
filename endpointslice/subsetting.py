"""Which of m endpoints each of n clients should use, where nobody can hold all of them.

Four published algorithms of one shape. Each takes the names of clients, endpoints (or their keys)
and how many of them a client wants, and returns a [`Subset`][endpointslice.subsetting.Subset] for
each client. All are pure: what looks random comes from BLAKE2b of the names, and what is decided
is decided on whole numbers, so that every client works out the same by itself.

| | Load | An endpoint goes | A client goes |
|---|---|---|---|
| `deterministic_subsets` | even within 1 | nearly all change | after the last: nothing |
| `aperture_subsets` | exactly even, by shares | many change | many change |
| `rendezvous_subsets` | as chance has it | the fewest changes | nothing |
| `ringsteady_subsets` | nearly even | the last: the fewest changes | the last: nothing |

All but rendezvous go by the number of each client, and ringsteady and deterministic subsetting by
the number of each endpoint too. Numbers follow from names, so that the order of the input does not
matter: `web-9` comes before `web-10`, and whoever goes moves all after it up by one. To keep the
numbers of those who stay, arrange them with [`keep_places`][endpointslice.subsetting.keep_places]
and say `numbered=True`.

If fewer endpoints are there than a client wants, it gets all of them; if none are, none.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from hashlib import blake2b
from heapq import nsmallest
from itertools import chain, combinations
from typing import Final, Generic, TypeVar, final

import attrs

from endpointslice.errors import ModelError
from endpointslice.models import Endpoint, FrozenDict

__all__ = [
    "Balance",
    "Churn",
    "Subset",
    "SubsettingReport",
    "aperture_subsets",
    "deterministic_subsets",
    "evaluate_subsetting",
    "keep_places",
    "rendezvous_subsets",
    "ringsteady_subsets",
]

_E = TypeVar("_E", str, Endpoint)

_DIGITS: Final = re.compile("([0-9]+)")
#: Bits of a position on the ring: more than there are numbers.
_RING_BITS: Final = 64


@final
@attrs.frozen
class Subset(Generic[_E]):
    """What one client uses.

    Attributes:
        endpoints: Each once. With rendezvous the best comes first; else as they stand on the ring
            or were dealt.
        shares: How much of the client's traffic each of them should get, in the same order. They
            add up to 1, and are equal with all algorithms but the aperture.
    """

    endpoints: tuple[_E, ...]
    shares: tuple[Fraction, ...]


# --- who is who -------------------------------------------------------------------------------


def _by_key(field: str, items: Iterable[_E]) -> dict[str, _E]:
    if isinstance(items, str):
        raise ModelError(field, "must be a list, not one string", items)
    found: dict[str, _E] = {}
    for position, item in enumerate(items):
        if isinstance(item, Endpoint):
            key: str = item.key
        elif isinstance(item, str):
            key = item
        else:
            raise ModelError(f"{field}[{position}]", "must be an Endpoint or a string", item)
        if key in found:
            raise ModelError(f"{field}[{position}]", "must not be there twice", key)
        found[key] = item
    return found


def _names(field: str, names: Iterable[str]) -> list[str]:
    found = _by_key(field, names)
    for position, item in enumerate(found.values()):
        if not isinstance(item, str):
            raise ModelError(f"{field}[{position}]", "must be a string", item)
    return list(found)


def _count(field: str, value: int) -> int:
    if type(value) is not int or value < 1:
        raise ModelError(field, "must be a whole number, 1 or more", value)
    return value


def _natural(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """What to sort names by, so that the numbers in them count: web-9 before web-10."""
    parts: list[str | tuple[int, str]] = list(_DIGITS.split(name))
    for position in range(1, len(parts), 2):
        digits = str(parts[position]).lstrip("0")
        # The longer number is the greater. int() refuses thousands of digits.
        parts[position] = (len(digits), digits)
    return parts, name


def _digest(*texts: str) -> bytes:
    return blake2b("\0".join(texts).encode(errors="surrogatepass"), digest_size=8).digest()


def _arranged(
    clients: Iterable[str], endpoints: Iterable[_E], size: int, *, numbered: bool
) -> tuple[list[str], dict[str, _E], int]:
    """Return both in the order of their numbers, and how many endpoints a client gets."""
    names, found = _names("clients", clients), _by_key("endpoints", endpoints)
    if not numbered:
        names.sort(key=_natural)
        found = {key: found[key] for key in sorted(found, key=_natural)}
    return names, found, min(_count("size", size), len(found))


def keep_places(before: Iterable[_E], after: Iterable[_E]) -> tuple[_E, ...]:
    """Arrange those who are there now so that who stays keeps its number, if it can.

    Who is new takes the place of one who has gone, in the order of names; if more come than went,
    the others are appended. If more went than came, the last move into the places left empty, the
    very last into the first. So one that goes costs one move at most, one that comes or replaces
    another costs none. A name that changes at each restart, as a Deployment's Pods have, is no
    number to keep; with this, controllers that remember the last arrangement have one.

    Args:
        before: The arrangement before: clients or endpoints, each once; or none, to begin with.
        after: Who is there now, in any order.

    Returns:
        All of `after`, each once, in the order of their numbers: 0, 1, 2 and so on.

    Raises:
        ModelError: One is there twice in a list, or is neither a string nor an Endpoint.

    Complexity: O(n log n) for n in both.
    """
    found = _by_key("after", after)
    places = [key if key in found else None for key in _by_key("before", before)]
    seated = set(places)
    coming = sorted((key for key in found if key not in seated), key=_natural)
    empty = [number for number, key in enumerate(places) if key is None]
    for number, key in zip(empty, coming, strict=False):
        places[number] = key
    places += coming[len(empty) :]
    for number in empty[len(coming) :]:
        while places and places[-1] is None:
            places.pop()
        if number < len(places):
            places[number] = places.pop()
    return tuple(found[key] for key in places if key is not None)


# --- algorithms -------------------------------------------------------------------------------


def _evenly(endpoints: Sequence[_E]) -> Subset[_E]:
    return Subset(tuple(endpoints), (Fraction(1, len(endpoints) or 1),) * len(endpoints))


def deterministic_subsets(
    clients: Iterable[str], endpoints: Iterable[_E], size: int, *, numbered: bool = False
) -> FrozenDict[str, Subset[_E]]:
    """Deal all endpoints out to one round of clients after another.

    A round is as many clients as there are whole hands of `size` in m endpoints. For each round
    the endpoints are shuffled anew, and each client of it gets the next hand. So in a round no
    endpoint is used twice, and if `size` divides m, each is used exactly once: the numbers of
    clients that endpoints have differ by at most 1. Otherwise each round leaves m mod `size`
    endpoints out; these go around, so that the numbers differ by at most 2, and by 1 after whole
    rounds.

    The price is churn. An endpoint more or less changes every shuffle, and at times how many
    clients a round has; then nearly all connections change. A client more or less after the last
    changes nothing for the others.

    Args:
        clients: Names, each once.
        endpoints: Endpoints or their keys, each once.
        size: How many endpoints a client gets, 1 or more; at most all.
        numbered: Whether both come in the order of their numbers. If not, they are numbered by
            name, and the order of the input does not matter.

    Returns:
        What each client uses, with equal shares.

    Raises:
        ModelError: A client or an endpoint is there twice or is none; `size` is less than 1.

    Complexity: O(r m log m + n `size`) for n clients in r = n `size` / m rounds.
    Source: Site Reliability Engineering (O'Reilly 2016), chapter 20; who is left out goes around
        as in Ward, Wankadia and Guliani, Reinventing Backend Subsetting at Google (ACM Queue
        20:5, 2022). The shuffle here is a sort by BLAKE2b of the round and the key, or the
        number where endpoints are numbered.
    """
    names, found, size = _arranged(clients, endpoints, size, numbered=numbered)
    if not size:
        return FrozenDict((name, _evenly(())) for name in names)
    items = list(found.values())
    marks = [str(place) if numbered else key for place, key in enumerate(found)]
    hands, rest = divmod(len(items), size)
    subsets = {}
    for number, start in enumerate(range(0, len(names), hands)):
        left_out = {(number * rest + i) % len(items) for i in range(rest)}
        cards = sorted(
            (_digest(str(number), mark), place)
            for place, mark in enumerate(marks)
            if place not in left_out
        )
        for hand, name in enumerate(names[start : start + hands]):
            dealt = cards[hand * size : (hand + 1) * size]
            subsets[name] = _evenly([items[place] for _, place in dealt])
    return FrozenDict(subsets)


def rendezvous_subsets(
    clients: Iterable[str], endpoints: Iterable[_E], size: int
) -> FrozenDict[str, Subset[_E]]:
    """Give each client the endpoints that score lowest with it.

    The score is a hash of both names, so what a client uses depends on no other client, and what
    it prefers of two endpoints on no other endpoint. If an endpoint goes, each client that used
    it takes its next one and no other connection changes: 1 in m of all, the fewest that any
    algorithm can change. If one comes, the same backwards. No client that comes or goes changes
    anything for another, and nobody needs a number.

    The price is balance: the number of clients of an endpoint varies as chance has it, with a
    variance of its mean, n `size` / m, times 1 - `size` / m. Where the mean is low, some
    endpoints have no client at all.

    Args:
        clients: Names, each once. One client alone gets the same as among others.
        endpoints: Endpoints or their keys, each once.
        size: How many endpoints a client gets, 1 or more; at most all.

    Returns:
        What each client uses, the lowest score first, with equal shares. The order of the input
        does not matter.

    Raises:
        ModelError: A client or an endpoint is there twice or is none; `size` is less than 1.

    Complexity: O(n m) for n clients and m endpoints.
    Source: gRFC A68, random_subsetting. There each client draws a salt at random; here its salt
        is its name, and the hash is BLAKE2b. Highest random weight: Thaler and Ravishankar 1998.
    """
    names, found, size = _arranged(clients, endpoints, size, numbered=False)
    keys = list(found)
    encoded = [key.encode(errors="surrogatepass") for key in keys]
    subsets = {}
    for name in names:
        salted = blake2b(f"{name}\0".encode(errors="surrogatepass"), digest_size=8)
        scores = []
        for key in encoded:
            score = salted.copy()
            score.update(key)
            scores.append(score.digest())
        best = nsmallest(size, zip(scores, keys, strict=True))
        subsets[name] = _evenly([found[key] for _, key in best])
    return FrozenDict(subsets)


def aperture_subsets(
    clients: Iterable[str], endpoints: Iterable[_E], size: int, *, numbered: bool = False
) -> FrozenDict[str, Subset[_E]]:
    """Give each client an arc of a ring of endpoints, so that the arcs cover it evenly.

    The m endpoints divide the ring evenly, and so do the n clients. The arc of a client begins
    where its part does, and is as many whole parts of clients long as it takes to be `size`
    endpoints or more. So each point of the ring is in equally many arcs, and if each client sends
    to each endpoint by how much of its arc that is, all endpoints get exactly n / m of a client's
    traffic, whatever n and m are.

    The prices: at both ends of an arc endpoints can be in it with a part only, and take a
    connection all the same, so the numbers of connections are not even; a client has one
    connection more than `size` at times, and many more where there are far fewer clients than
    endpoints. All boundaries move when an endpoint or a client comes or goes, by the less the
    nearer they are to the start of the ring.

    Args:
        clients: Names, each once.
        endpoints: Endpoints or their keys, each once.
        size: How many endpoints a client gets at least, 1 or more; at most all.
        numbered: Whether both come in the order in which they stand on the ring. If not, clients
            are numbered by name, endpoints stand in the order of a hash, lest neighbours by name
            (on one node, in one zone) be neighbours, and the order of the input does not matter.

    Returns:
        What each client uses, with the share of its traffic that each endpoint should get.

    Raises:
        ModelError: A client or an endpoint is there twice or is none; `size` is less than 1.

    Complexity: O(m log m + c) for c connections.
    Source: Twitter Finagle, DeterministicAperture.dApertureWidth and Ring.weight, there with
        floating-point numbers and an epsilon.
    """
    names, found, size = _arranged(clients, endpoints, size, numbered=numbered)
    if not size:
        return FrozenDict((name, _evenly(())) for name in names)
    if not numbered:
        found = {key: found[key] for key in sorted(found, key=lambda key: (_digest(key), key))}
    items = list(found.values())
    n, m = len(names), len(items)
    # Whole numbers: the ring is n * m long, an endpoint n, the part of a client m.
    width = -(-size * n // m) * m
    subsets = {}
    for number, name in enumerate(names):
        begin = number * m
        end = begin + width
        overlaps: dict[int, int] = {}
        for place in range(begin // n, -(-end // n)):
            overlap = min(end, (place + 1) * n) - max(begin, place * n)
            # An arc that is nearly the whole ring may have both ends in one endpoint.
            overlaps[place % m] = overlaps.get(place % m, 0) + overlap
        subsets[name] = Subset(
            tuple(items[place] for place in overlaps),
            tuple(Fraction(overlap, width) for overlap in overlaps.values()),
        )
    return FrozenDict(subsets)


def _corput(number: int) -> int:
    """Where a number stands on the ring: its binary digits, mirrored."""
    return int(f"{number:0{_RING_BITS}b}"[::-1], 2)


def ringsteady_subsets(
    clients: Iterable[str], endpoints: Iterable[_E], size: int, *, numbered: bool = False
) -> FrozenDict[str, Subset[_E]]:
    """Give each client the next endpoints on a ring, on which the next number halves a gap.

    Number i stands at the i-th place of the binary van der Corput sequence: 0, 1/2, 1/4, 3/4,
    1/8 and so on, clients and endpoints alike. A client gets the first `size` endpoints at or
    after its place. So:

    - Places never change. If the endpoint of the highest number goes, each client that used it
      takes one further on the ring, and no other connection changes: n `size` / m on average, the
      fewest that any algorithm can change. If one comes, the same backwards. The last client that
      comes or goes changes nothing for the others.
    - The places of any number of clients and endpoints are spread evenly, so load is nearly even.
      It is exactly even where there are as many clients as endpoints, and where there is a
      multiple of as many and m is a power of two. Otherwise the gaps are of two widths, and
      endpoints after the narrow ones have fewer clients, down to half where `size` is 1.

    The price: who shares one endpoint shares nearly all of them, as all subsets are neighbours
    on one ring. And only the last may go at little cost: if names decide, anyone else who goes
    moves all after it. With `keep_places`, one more moves at most.

    Args:
        clients: Names, each once.
        endpoints: Endpoints or their keys, each once.
        size: How many endpoints a client gets, 1 or more; at most all.
        numbered: Whether both come in the order of their numbers. If not, they are numbered by
            name, and the order of the input does not matter.

    Returns:
        What each client uses, in the order of the ring, with equal shares.

    Raises:
        ModelError: A client or an endpoint is there twice or is none; `size` is less than 1.

    Complexity: O(m log m + n (log m + `size`)) for n clients and m endpoints.
    Source: Ward, Wankadia and Guliani, Reinventing Backend Subsetting at Google (ACM Queue 20:5,
        2022), Ringsteady Subsetting, without scaling places to the number of tasks.
    """
    names, found, size = _arranged(clients, endpoints, size, numbered=numbered)
    ring = sorted((_corput(number), item) for number, item in enumerate(found))
    places = [place for place, _ in ring]
    around = [found[key] for _, key in ring] * 2
    subsets = {}
    for number, name in enumerate(names):
        start = bisect_left(places, _corput(number)) % (len(places) or 1)
        subsets[name] = _evenly(around[start : start + size])
    return FrozenDict(subsets)


# --- measure ----------------------------------------------------------------------------------


@final
@attrs.frozen(kw_only=True)
class Balance:
    """How evenly something falls on all endpoints; both are 1 if each has the same.

    Attributes:
        max_to_mean: What the endpoint with the most has, by what they have on average.
        min_to_mean: The same of the one with the least.
    """

    max_to_mean: Fraction
    min_to_mean: Fraction


@final
@attrs.frozen(kw_only=True)
class Churn:
    """What part of all connections changes for those who stay.

    Counted are connections that open and connections that close between a client and an endpoint
    that are both there before and after, by the number of all connections before: 2 if every
    client changes all it has. If one that went comes back, the same connections change back.

    Attributes:
        mean: Over the samples.
        worst: Of the samples.
    """

    mean: Fraction
    worst: Fraction


@final
@attrs.frozen(kw_only=True)
class SubsettingReport:
    """What an algorithm makes of some clients and endpoints.

    Attributes:
        connections: Pairs of a client and an endpoint that it uses.
        least: The fewest endpoints that a client uses.
        most: The most endpoints that a client uses.
        connection_balance: How evenly connections fall on endpoints.
        traffic_balance: How evenly traffic does, if each client sends as much and by its shares.
        endpoint_goes: Churn when one endpoint goes, or comes back. Where each client keeps as
            many as before, each that used it needs another: over all endpoints, 1 / m on average
            is the least that can be.
        endpoint_replaced: Churn when one endpoint goes and one of another, arbitrary name comes,
            as in a roll-out. It could be 0.
        client_goes: Churn when one client goes, or comes back. It could be 0.
        distinct_subsets: Different sets of endpoints that clients have. If one client does harm to
            all that it uses, no other loses all it has if every set is different.
        pairs_met: Pairs of endpoints that at least one client has both of.
        pairs_possible: As many pairs as there could be: all, or what subsets of this size can hold
            if no two of them share a pair.
        closest_pair: How many clients have both of the pair that most have both of.
    """

    connections: int
    least: int
    most: int
    connection_balance: Balance
    traffic_balance: Balance
    endpoint_goes: Churn
    endpoint_replaced: Churn
    client_goes: Churn
    distinct_subsets: int
    pairs_met: int
    pairs_possible: int
    closest_pair: int


_Sets = Mapping[str, frozenset[str]]


def _balance(loads: Iterable[Fraction], endpoints: int) -> Balance:
    found = list(loads)
    mean = sum(found, Fraction(0)) / endpoints
    least = min(found) if len(found) == endpoints else Fraction(0)
    return Balance(max_to_mean=max(found) / mean, min_to_mean=least / mean)


def _spread(names: Iterable[str], samples: int) -> list[str]:
    """So many of them, evenly spread by number, the last among them."""
    found = sorted(names, key=_natural)
    count = min(samples, len(found))
    return [found[(i + 1) * len(found) // count - 1] for i in range(count)]


def _changes(before: _Sets, after: _Sets, passing: frozenset[str]) -> int:
    """Connections that open or close between those who are there before and after."""
    return sum(len((before[name] ^ after[name]) - passing) for name in after)


def _churn(changes: Iterable[int], connections: int) -> Churn:
    found = [Fraction(count, connections) for count in changes]
    return Churn(mean=sum(found, Fraction(0)) / len(found), worst=max(found))


def evaluate_subsetting(
    algorithm: Callable[[Sequence[str], Sequence[str], int], Mapping[str, Subset[str]]],
    clients: Iterable[str],
    endpoints: Iterable[_E],
    size: int,
    *,
    samples: int = 8,
) -> SubsettingReport:
    """Measure how even an algorithm's load is, what a change costs, and who shares what.

    Args:
        algorithm: One of this module, or another of that shape; `numbered` can be given to it with
            `functools.partial`. When somebody goes, it gets what `keep_places` makes of the rest.
        clients: Names, each once, at least one.
        endpoints: Endpoints or their keys, each once, at least one.
        size: How many endpoints a client wants, 1 or more.
        samples: For how many endpoints and clients it is tried what changes if they go; evenly
            spread by number, the last among them.

    Returns:
        Exact figures. They do not depend on the order of the input if the algorithm does not.

    Raises:
        ModelError: There are no clients or no endpoints; or what the algorithm raises.

    Complexity: 3 `samples` + 1 runs of the algorithm, and O(n `size`^2) for pairs.
    """
    names, keys = _names("clients", clients), list(_by_key("endpoints", endpoints))
    if not names or not keys:
        raise ModelError("endpoints" if names else "clients", "must not be empty")
    _count("size", size), _count("samples", samples)

    def sets(clients: Sequence[str], endpoints: Sequence[str]) -> _Sets:
        found = algorithm(clients, endpoints, size)
        return {name: frozenset(subset.endpoints) for name, subset in found.items()}

    def without(all_of_them: list[str], one: str, *new: str) -> tuple[str, ...]:
        return keep_places(all_of_them, [*(item for item in all_of_them if item != one), *new])

    subsets = algorithm(names, keys, size)
    before = {name: frozenset(subset.endpoints) for name, subset in subsets.items()}
    loads = Counter(chain.from_iterable(before.values()))
    traffic: dict[str, Fraction] = {}
    for subset in subsets.values():
        for key, share in zip(subset.endpoints, subset.shares, strict=True):
            traffic[key] = traffic.get(key, Fraction(0)) + share
    goes, replaced = [], []
    for key in _spread(keys, samples):
        goes.append(_changes(before, sets(names, without(keys, key)), frozenset((key,))))
        new = _digest("new", key).hex()
        after = sets(names, without(keys, key, new))
        replaced.append(_changes(before, after, frozenset((key, new))))
    leaves = [
        _changes(before, sets(without(names, name), keys), frozenset())
        for name in _spread(names, samples)
    ]
    connections = loads.total()
    sizes = [len(used) for used in before.values()]
    pairs = Counter(chain.from_iterable(combinations(sorted(s), 2) for s in before.values()))
    return SubsettingReport(
        connections=connections,
        least=min(sizes),
        most=max(sizes),
        connection_balance=_balance(map(Fraction, loads.values()), len(keys)),
        traffic_balance=_balance(traffic.values(), len(keys)),
        endpoint_goes=_churn(goes, connections),
        endpoint_replaced=_churn(replaced, connections),
        client_goes=_churn(leaves, connections),
        distinct_subsets=len(set(before.values())),
        pairs_met=len(pairs),
        pairs_possible=min(
            len(keys) * (len(keys) - 1) // 2, sum(count * (count - 1) // 2 for count in sizes)
        ),
        closest_pair=max(pairs.values(), default=0),
    )
