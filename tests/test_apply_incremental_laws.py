"""Laws of plans from changes: what became of one is all that the next needs to know."""

from __future__ import annotations

from typing import Final

import attrs
from hypothesis import given
from hypothesis import strategies as st

from endpointslice import (
    DeleteSlice,
    EndpointGroup,
    EndpointSlice,
    IncrementalReconciler,
    UpdateSlice,
    reconcile,
)
from endpointslice.clients import (
    ApplyResult,
    OperationResult,
    Outcome,
    RetryPolicy,
    apply_plan_to,
    list_slices,
)
from endpointslice.testing import Cluster, Fault, FaultKind
from tests.builders import HTTP, HTTP_ALT, TEMPLATE, endpoint, group, stored
from tests.test_reconcile_laws import STRATEGIES, copies

NAMESPACE: Final = TEMPLATE.metadata.namespace
#: The faults of writes; lists are not disturbed.
KINDS: Final = (
    FaultKind.CONFLICT,
    FaultKind.TOO_MANY_REQUESTS,
    FaultKind.UNAVAILABLE,
    FaultKind.DROP_BEFORE,
    FaultKind.DROP_AFTER,
)
ONCE: Final = RetryPolicy(attempts=1)


def listed(cluster: Cluster) -> tuple[EndpointSlice, ...]:
    return list_slices(cluster, NAMESPACE).slices


def list_again(cluster: Cluster, reconciler: IncrementalReconciler) -> None:
    """What a controller does where an outcome is unknown."""
    slices = listed(cluster)
    for name in {item.name for item in reconciler.slices} - {item.name for item in slices}:
        reconciler.forget(name)
    for item in slices:
        reconciler.observe(item)


def sync(
    cluster: Cluster, reconciler: IncrementalReconciler, changes: tuple[EndpointGroup, ...]
) -> ApplyResult:
    plan = reconciler.apply(upserted=changes)
    result = apply_plan_to(cluster, plan, retry=ONCE, sleep=lambda _: None)
    result.tell(reconciler)
    if Outcome.UNKNOWN in result.outcomes:
        list_again(cluster, reconciler)
    return result


@given(
    strategy=st.sampled_from(STRATEGIES),
    capacity=st.integers(1, 4),
    steps=st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.booleans()), max_size=4),
            st.lists(st.sampled_from(KINDS), max_size=3),
            st.integers(0, 9),
        ),
        max_size=8,
    ),
)
def test_a_reconciler_that_is_told_what_became_of_its_plans_ends_where_it_should(
    strategy: object,
    capacity: int,
    steps: list[tuple[list[tuple[int, int, bool]], list[FaultKind], int]],
) -> None:
    cluster = Cluster(namespaces=[NAMESPACE])
    reconciler = IncrementalReconciler(
        [],
        template=TEMPLATE,
        strategy=strategy,  # type: ignore[arg-type]
        max_endpoints_per_slice=capacity,
    )
    has_lost = False
    for changes, kinds, deleted in steps:
        cluster.inject(
            *(Fault(kind=kind, verb=verb) for kind in kinds for verb in ("create", "update"))
        )
        slices = listed(cluster)
        if deleted < len(slices):  # somebody deletes one, and nobody tells
            has_lost = True
            apply_plan_to(cluster, reconcile([], [slices[deleted]], template=TEMPLATE))
        upserted = {
            ports: {
                number: endpoint(number, variant)
                for number, variant, other in changes
                if other is ports
            }
            for ports in (False, True)
        }
        sync(
            cluster,
            reconciler,
            tuple(
                group(*members.values(), ports=(HTTP_ALT if other else HTTP,))
                for other, members in upserted.items()
                if members
            ),
        )
        cluster.clear_faults()
    if has_lost:  # of a slice that it has no reason to write
        list_again(cluster, reconciler)
    for _ in range(5):
        if sync(cluster, reconciler, ()).is_complete:
            break
    found = copies(listed(cluster))
    wanted = reconciler.desired
    assert sum(len(item.endpoints) for item in wanted) == sum(map(len, found.values()))
    assert reconcile(
        wanted,
        listed(cluster),
        template=TEMPLATE,
        strategy=strategy,  # type: ignore[arg-type]
        max_endpoints_per_slice=capacity,
    ).is_empty
    assert reconciler.apply().is_empty


def told(result: OperationResult, *, dry_run: bool = False) -> IncrementalReconciler:
    """A reconciler that has planned the update of its one slice, and is told what became of it."""
    before = result.operation.before
    assert before is not None
    reconciler = IncrementalReconciler([before], template=TEMPLATE)
    reconciler.apply(upserted=[group(7)])
    ApplyResult(results=(result,), dry_run=dry_run).tell(reconciler)
    return reconciler


def test_a_reconciler_knows_what_stands_after_each_outcome() -> None:
    before, after = stored("web-a", 1), stored("web-a", 1, 7)
    theirs = attrs.evolve(before, metadata=attrs.evolve(before.metadata, resource_version="9"))
    update = UpdateSlice(before, after, ())
    done = OperationResult(operation=update, outcome=Outcome.APPLIED, stored=after)
    assert told(done).slices == (after,)
    assert told(done, dry_run=True).slices == (before,)
    for outcome in (Outcome.REFUSED, Outcome.FAILED, Outcome.UNKNOWN, Outcome.SKIPPED):
        assert told(OperationResult(operation=update, outcome=outcome)).slices == (before,)
    conflict = OperationResult(operation=update, outcome=Outcome.CONFLICT, stored=theirs)
    assert told(conflict).slices == (theirs,)
    gone = OperationResult(operation=update, outcome=Outcome.CONFLICT, status=404)
    assert told(gone).slices == ()


def test_a_dry_run_deletes_nothing_that_a_reconciler_knows() -> None:
    before = stored("web-a", 1)
    done = OperationResult(operation=DeleteSlice(before, ()), outcome=Outcome.APPLIED)
    for dry_run, left in ((False, ()), (True, (before,))):
        reconciler = IncrementalReconciler([before], template=TEMPLATE)
        reconciler.apply(removed=[group(1)])
        assert reconciler.slices == ()
        ApplyResult(results=(done,), dry_run=dry_run).tell(reconciler)
        assert reconciler.slices == left
