"""Who is expected to leave next, as far as endpoints tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from endpointslice import Endpoint, EndpointConditions, ExitOrder, ModelError, ObjectReference
from endpointslice.packing.exit_order import Departures, to_exit_order

STATES = {
    "r": EndpointConditions(),
    "n": EndpointConditions(ready=False, serving=False),
    "t": EndpointConditions(ready=False, terminating=True),
}


def pod(name: str, state: str = "r", *, node: str | None = None, uid: str = "") -> Endpoint:
    """A Pod's endpoint, on a node of its own unless told; its address follows from its name."""
    digest = crc32(name.encode())
    address = ".".join(("10", *(str(digest >> shift & 255) for shift in (16, 8, 0))))
    target = ObjectReference("Pod", "shop", name, uid)
    return Endpoint((address,), STATES[state], None, node or f"node-{name}", "zone-a", target)


def names(endpoints: Sequence[Endpoint], positions: Sequence[int] | None = None) -> str:
    chosen = range(len(endpoints)) if positions is None else positions
    return " ".join(e.target_ref.name for i in chosen if (e := endpoints[i]).target_ref)


def sort(
    endpoints: Sequence[Endpoint],
    order: ExitOrder = ExitOrder.AUTO,
    *,
    seen: Sequence[Endpoint] | None = None,
    late: Sequence[bool] = (),
) -> str:
    return names(endpoints, positions(endpoints, order, seen=seen, late=late))


def positions(
    endpoints: Sequence[Endpoint],
    order: ExitOrder,
    *,
    seen: Sequence[Endpoint] | None = None,
    late: Sequence[bool] = (),
) -> list[int]:
    departures = Departures(order, [endpoints if seen is None else seen])
    keys = frozenset(
        endpoint.key for endpoint, is_late in zip(endpoints, late, strict=False) if is_late
    )
    at = {endpoint.key: i for i, endpoint in enumerate(endpoints)}
    return [at[endpoint.key] for endpoint in departures.sorted(endpoints, keys)]


def pods_of(text: str, uids: str = "") -> list[Endpoint]:
    """Pods as `NAME`, `NAME@NODE`, or `NAME@NODE!` for one that terminates; a uid for each."""
    found = []
    for word, uid in zip_longest(text.split(), uids.split(), fillvalue=""):
        name, _, node = word.rstrip("!").partition("@")
        found.append(pod(name, "t" if word.endswith("!") else "r", node=node, uid=uid))
    return found


# --- which order it is ------------------------------------------------------------------------


def test_a_stateful_set_goes_from_its_highest_ordinal_downwards() -> None:
    pods = pods_of("web-9@n web-10@n web-0@n web-2@m")
    assert sort(pods) == "web-10 web-9 web-2 web-0"
    assert sort(pods, ExitOrder.ORDINAL) == "web-10 web-9 web-2 web-0"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param("db-4", id="another owner"),
        pytest.param("web-07", id="a leading zero"),
        pytest.param("web-x", id="no digits"),
        pytest.param("web-", id="no ordinal"),
        pytest.param("web-\N{ARABIC-INDIC DIGIT FOUR}", id="digits that Kubernetes does not use"),
        pytest.param("web-" + 5_000 * "1", id="more digits than Python makes a number of"),
    ],
)
def test_one_name_that_is_no_ordinal_means_that_it_is_no_stateful_set(other: str) -> None:
    pods = pods_of(f"web-1 web-2 {other}", uids="b c a")
    assert sort(pods) == f"{other} web-1 web-2"  # by uid
    # Asked for ordinals where there are none, all stays as it is.
    assert sort(pods, ExitOrder.ORDINAL) == names(pods)


def test_an_endpoint_without_a_target_has_no_ordinal_and_no_uid() -> None:
    pods = [*pods_of("web-1 web-2", uids="b a"), Endpoint(("10.0.0.1",), node_name="n")]
    assert positions(pods, ExitOrder.AUTO) == [2, 1, 0]
    assert positions(pods, ExitOrder.ORDINAL) == [0, 1, 2]


def test_an_endpoint_that_was_not_in_sight_counts_as_the_first_ordinal() -> None:
    pods = pods_of("web-0 web-4 web-2")
    assert sort(pods, seen=pods[:1] + pods[2:]) == "web-2 web-0 web-4"


def test_where_nodes_hold_two_on_average_the_fullest_node_goes_first() -> None:
    assert sort(pods_of("a@n b@m c@m d@m", uids="4 3 2 1")) == "b c d a"
    less = pods_of("a@n b@m c@m", uids="4 3 2")
    assert sort(less) == "c b a"
    assert sort(less, ExitOrder.NODE) == "b c a"


def test_equally_full_nodes_go_by_name() -> None:
    assert sort(pods_of("a@n b@m c@l d@n e@m f@l")) == "c f b e a d"


def test_who_is_going_already_does_not_make_a_node_full() -> None:
    pods = pods_of("a@n! b@n! c@n d@m e@m")
    assert sort(pods, ExitOrder.NODE) == "d e a b c"
    # Three are left on two nodes: that is less than two a node.
    assert sort(pods_of("x-a@n! x-b@n! x-c@n x-d@m x-e@m", uids="2 3 4 5 1")) == (
        "x-e x-a x-b x-c x-d"
    )


def test_a_drained_node_does_not_count_for_the_average() -> None:
    # Two are left on one node: the other holds nobody who stays.
    assert sort(pods_of("x-a@n! x-b@n! x-c@m x-d@m", uids="1 2 4 3")) == "x-c x-d x-a x-b"
    # Two are left on two nodes.
    assert sort(pods_of("x-a@n! x-b@n x-c@m x-d@m!", uids="1 2 4 3")) == "x-a x-b x-d x-c"


def test_all_in_sight_say_how_full_a_node_is() -> None:
    pods = pods_of("a@n b@m")
    assert sort(pods, ExitOrder.NODE) == "b a"
    assert sort(pods, ExitOrder.NODE, seen=[*pods, *pods_of("c@n")]) == "a b"
    more = pods_of("a@n b@m", uids="2 1")
    assert sort(more) == "b a"
    assert sort(more, seen=[*more, *pods_of("c@n d@n")]) == "a b"


def test_by_uid_and_by_key_ask_nothing_else() -> None:
    pods = pods_of("web-1@n web-2@n web-3@m", uids="b c a")
    assert sort(pods, ExitOrder.UID) == "web-3 web-1 web-2"
    backwards = sorted(pods, key=lambda endpoint: endpoint.key, reverse=True)
    assert sort(backwards, ExitOrder.KEY) == names(backwards[::-1])


# --- owners and nurseries ---------------------------------------------------------------------


def test_an_owner_that_loses_endpoints_comes_before_others() -> None:
    pods = pods_of("new-a old-a new-b old-b", uids="1 9 2 8")
    assert sort(pods) == "new-a new-b old-b old-a"
    assert sort(pods, seen=[*pods, pod("old-c", "t")]) == "old-b old-a new-a new-b"
    # An endpoint that is not ready yet is not lost.
    assert sort(pods, seen=[*pods, pod("old-c", "n")]) == "new-a new-b old-b old-a"


@pytest.mark.parametrize("order", ExitOrder)
def test_owners_count_in_every_order(order: ExitOrder) -> None:
    pods = pods_of("new-a@n old-b@m", uids="1 2")
    if pods[0].key > pods[1].key:
        pods.reverse()
    assert sort(pods, order, seen=[*pods, pod("new-c", "t")]) == "new-a old-b"
    assert sort(pods, order, seen=[*pods, pod("old-c", "t")]) == "old-b new-a"


def test_what_sits_in_a_nursery_comes_last_where_owners_do_not_tell() -> None:
    pods = pods_of("web-a web-b web-c")
    late = [True, False, False]
    assert sort(pods, late=late) == "web-b web-c web-a"
    # All are of the owner that loses one, or none of them is.
    assert sort(pods, late=late, seen=[*pods, pod("web-d", "t")]) == "web-b web-c web-a"
    assert sort(pods, late=late, seen=[*pods, pod("old-d", "t")]) == "web-b web-c web-a"


def test_where_owners_tell_a_nursery_says_nothing() -> None:
    pods = pods_of("old-a new-a old-b")
    late = [True, False, False]
    assert sort(pods, late=late, seen=[*pods, pod("old-c", "t")]) == "old-a old-b new-a"


# --- next in line -----------------------------------------------------------------------------


def in_line(text: str, count: int, order: ExitOrder = ExitOrder.AUTO) -> str:
    """The names that are next; of Pods as `NAME`, `NAME!` and `NAME?` for one not ready yet."""
    states = {"!": "t", "?": "n"}
    pods = [pod(word.rstrip("!?"), states.get(word[-1], "r")) for word in text.split()]
    keys = Departures(order, [pods]).next_in_line(count)
    assert keys <= {endpoint.key for endpoint in pods}
    return names([endpoint for endpoint in pods if endpoint.key in keys])


def test_next_in_line_are_those_below_the_lowest_ordinal_that_is_not_settled() -> None:
    assert in_line("web-0 web-1 web-2 web-3 web-4! web-5? web-6", 2) == "web-2 web-3"
    assert in_line("web-0 web-1 web-2 web-3? web-4 web-5", 1) == "web-2"
    assert in_line("web-0 web-1! web-2", 5) == "web-0"
    assert in_line("web-0! web-1 web-2", 5) == ""
    # Ordinals count, not those that are in sight.
    assert in_line("web-0 web-7 web-9!", 2) == "web-7"


def test_nobody_is_next_while_all_are_settled() -> None:
    assert in_line("web-0 web-1 web-2", 2) == ""


def test_nobody_is_next_where_it_is_no_stateful_set_or_another_order_is_wanted() -> None:
    assert in_line("web-0 web-a web-2!", 2) == ""
    for order in ExitOrder:
        told = "web-1" if order in {ExitOrder.AUTO, ExitOrder.ORDINAL} else ""
        assert in_line("web-0 web-1 web-2!", 1, order) == told


# --- laws -------------------------------------------------------------------------------------

#: For each Pod, by its name: state, node, uid, and whether it sits in a nursery.
SEEN = st.dictionaries(
    st.builds("{}-{}".format, st.sampled_from(("old", "new")), st.integers(0, 30)),
    st.tuples(
        st.sampled_from("rrrnt"), st.sampled_from("nmo"), st.sampled_from("abc"), st.booleans()
    ),
    max_size=14,
).map(
    lambda drawn: [
        (pod(name, state, node=node, uid=uid), late)
        for name, (state, node, uid, late) in drawn.items()
    ]
)


def rank(
    order: ExitOrder, endpoints: Sequence[Endpoint], late: Sequence[bool]
) -> Callable[[int], tuple[object, ...]]:
    """Where all in sight are sorted: said again, as what one endpoint is sorted by."""
    going = [e for e in endpoints if e.conditions.terminating]
    staying = [e for e in endpoints if not e.conditions.terminating]
    targets = [e.target_ref for e in endpoints if e.target_ref is not None]
    owners = {target.name.split("-")[0] for target in targets}
    if order is ExitOrder.AUTO:
        nodes = {e.node_name for e in staying}
        is_shared = len(staying) >= 2 * len(nodes)
        by_node = ExitOrder.NODE if is_shared else ExitOrder.UID
        order = ExitOrder.ORDINAL if len(owners) == 1 else by_node
    losing = {e.target_ref.name.split("-")[0] for e in going if e.target_ref}

    def place(i: int) -> tuple[object, ...]:
        endpoint = endpoints[i]
        target = endpoint.target_ref
        assert target is not None
        owner, ordinal = target.name.split("-")
        stays = owner not in losing if 0 < len(losing & owners) < len(owners) else late[i]
        node = endpoint.node_name
        by: dict[ExitOrder, tuple[object, ...]] = {
            ExitOrder.NODE: (-sum(e.node_name == node for e in staying), node or ""),
            ExitOrder.UID: (target.uid,),
            ExitOrder.ORDINAL: (-int(ordinal) if len(owners) == 1 else 0,),
            ExitOrder.KEY: (endpoint.key,),
        }
        return (stays, *by[order], i)

    return place


@given(order=st.sampled_from(ExitOrder), seen=SEEN)
@example(order=ExitOrder.AUTO, seen=[])
def test_what_endpoints_are_sorted_by(order: ExitOrder, seen: list[tuple[Endpoint, bool]]) -> None:
    endpoints = [endpoint for endpoint, _ in seen]
    late = [is_late for _, is_late in seen]
    found = positions(endpoints, order, late=late)
    assert found == sorted(range(len(endpoints)), key=rank(order, endpoints, late))


@given(order=st.sampled_from(ExitOrder), seen=SEEN, count=st.integers(1, 5))
def test_who_is_next_is_settled_and_in_sight(
    order: ExitOrder, seen: list[tuple[Endpoint, bool]], count: int
) -> None:
    endpoints = [endpoint for endpoint, _ in seen]
    keys = Departures(order, [endpoints]).next_in_line(count)
    assert len(keys) <= count
    assert keys <= {e.key for e in endpoints if not e.conditions.is_volatile}


@given(order=st.sampled_from(ExitOrder), seen=SEEN, data=st.data())
def test_part_of_what_is_in_sight_is_sorted_as_it_is_among_all(
    order: ExitOrder, seen: list[tuple[Endpoint, bool]], data: st.DataObject
) -> None:
    endpoints = [endpoint for endpoint, _ in seen]
    everywhere = names(endpoints, positions(endpoints, order)).split()
    part = [endpoint for endpoint in endpoints if data.draw(st.booleans())]
    found = names(part, positions(part, order, seen=endpoints)).split()
    for owner in ("old", "new"):
        mine = [name for name in found if name.startswith(owner)]
        assert mine == [name for name in everywhere if name in mine]


# --- spelling ---------------------------------------------------------------------------------


def test_an_order_is_known_by_its_value() -> None:
    assert [to_exit_order(order.value) for order in ExitOrder] == list(ExitOrder)
    with pytest.raises(ModelError) as caught:
        to_exit_order("age")
    assert caught.value == ModelError(
        "exit_order", "must be one of auto, node, uid, ordinal, key", "age"
    )
