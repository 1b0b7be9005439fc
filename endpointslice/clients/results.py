"""What became of a plan: one value for each operation, and what to do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, final

import attrs

from endpointslice.cost import Cost
from endpointslice.errors import ApplyError, on_one_line
from endpointslice.incremental import IncrementalReconciler
from endpointslice.models import EndpointSlice
from endpointslice.plan import CreateSlice, DeleteSlice, Operation, Plan, UpdateSlice, price_plan
from endpointslice.tracker import SliceTracker

__all__ = ["ApplyResult", "OperationResult", "Outcome"]

_VERBS: Final[Mapping[type[Operation], str]] = {
    CreateSlice: "create",
    UpdateSlice: "update",
    DeleteSlice: "delete",
}


@final
class Outcome(StrEnum):
    """What became of one operation."""

    #: The server says that it did it.
    APPLIED = "applied"
    #: What was wanted stands: an answer was lost, or another replica has done it.
    FOUND = "found"
    #: Somebody else has written or deleted the slice, or has the name: the plan is stale.
    CONFLICT = "conflict"
    #: The server will not do it, however often it is asked.
    REFUSED = "refused"
    #: The server could not do it now, and did not do it.
    FAILED = "failed"
    #: Nobody knows whether it was done: the connection was lost, or the server failed.
    UNKNOWN = "unknown"
    #: It was not sent.
    SKIPPED = "skipped"


_DONE: Final = frozenset((Outcome.APPLIED, Outcome.FOUND))


@final
@attrs.frozen(kw_only=True)
class OperationResult:
    """What became of one operation.

    Attributes:
        operation: What was to be done.
        outcome: What became of it.
        stored: The slice as it stands, if that is known: what was written, with the name and the
            versions that the server gave it, or for a conflict what the other has written. None
            if there is none.
        status: HTTP status of the answer that decided; 0 if there was none.
        reason: The server's word for it, as `AlreadyExists`; "" if it has none.
        message: The server's sentence, or why the operation was not sent; "" if it was done.
        requests: How many were sent for it.
    """

    operation: Operation
    outcome: Outcome
    stored: EndpointSlice | None = None
    status: int = 0
    reason: str = ""
    message: str = ""
    requests: int = 0

    @property
    def is_done(self) -> bool:
        """Whether what the operation is for stands now."""
        return self.outcome in _DONE

    @property
    def title(self) -> str:
        """The operation in words: `update of shop/web-x7k2p`.

        A slice that is created has the name that the server gave it, or `web-*` until there is one.
        """
        written = self.operation.before or self.operation.after
        assert written is not None
        stored = self.stored.name if self.stored is not None else ""
        name = written.name or stored or f"{written.metadata.generate_name}*"
        return f"{_VERBS[type(self.operation)]} of {written.metadata.namespace}/{name}"

    def __str__(self) -> str:
        words = " ".join(filter(None, [str(self.status or ""), self.reason]))
        outcome = f"{self.outcome} ({words})" if words and not self.is_done else str(self.outcome)
        return on_one_line(": ".join(filter(None, [self.title, outcome, self.message])))


@final
@attrs.frozen(kw_only=True)
class ApplyResult:
    """What became of a plan.

    Attributes:
        results: One for each operation of the plan, in its order.
        requests: How many requests were sent, those to read back included.
        retries: How many of them repeated one that had failed for now.
        waited: Seconds that were spent waiting for the server to recover.
        retry_after: Seconds after which the server wants to be asked again, where that was too
            long to wait for; None if it did not say.
        dry_run: Nothing was stored.
    """

    results: tuple[OperationResult, ...] = ()
    requests: int = 0
    retries: int = 0
    waited: float = 0.0
    retry_after: float | None = None
    dry_run: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether all that the plan is for stands now."""
        return all(result.is_done for result in self.results)

    @property
    def is_stale(self) -> bool:
        """Whether the plan was made from slices that have changed: list again, plan again."""
        return any(result.outcome is Outcome.CONFLICT for result in self.results)

    @property
    def not_done(self) -> tuple[OperationResult, ...]:
        """All operations of which it is not sure that they were carried out, in order."""
        return tuple(result for result in self.results if not result.is_done)

    @property
    def outcomes(self) -> Mapping[Outcome, int]:
        """How many operations came to which outcome; those that none came to are left out."""
        counts = Counter(result.outcome for result in self.results)
        return {outcome: counts[outcome] for outcome in Outcome if counts[outcome]}

    @property
    def written(self) -> Plan:
        """The part of the plan that was carried out, here or by another replica.

        Without the slices that stayed as they are. What may or may not have been done is not in
        it, and after a dry run nothing is.
        """
        done = (result.operation for result in self.results if result.is_done)
        return Plan(() if self.dry_run else tuple(done))

    @property
    def cost(self) -> Cost:
        """What was written: writes, bytes, moves."""
        return price_plan(self.written)

    def tracked(self, tracker: SliceTracker) -> SliceTracker:
        """Return what a tracker knows after this: what was written, and at which versions.

        Of a slice that others have written it knows what they wrote, so that nobody plans again
        from a cache that has not heard of it.

        Complexity: O(w s) for w writes and s slices that it knows then, in copies in C.
        """
        if self.dry_run:
            return tracker
        tracker = tracker.planned(self.written)
        for result in self.results:
            if result.stored is not None and (
                result.is_done or result.operation.before is not None
            ):
                tracker = tracker.observed(result.stored)
        return tracker

    def tell(self, reconciler: IncrementalReconciler) -> None:
        """Tell a reconciler what stands, as far as it is known; it took all for carried out.

        What was written stands as the server answered, what others wrote as it was read back,
        and the rest as it was before. A slice that is gone is forgotten. Where an outcome is
        unknown, list the slices again before too long: a create may have made one.

        Complexity: O(n) for n endpoints in written slices.
        """
        for result in self.results:
            before, is_delete = result.operation.before, result.operation.after is None
            stands = before if self.dry_run else result.stored or before
            if stands is None or (is_delete and result.is_done and not self.dry_run):
                continue
            if result.outcome is Outcome.CONFLICT and result.status == 404:
                reconciler.forget(stands.name)
            else:
                reconciler.observe(stands)

    def raise_for_failure(self) -> None:
        """Do nothing if all is done.

        Raises:
            ApplyError: With one sentence for each operation that is not.
        """
        if self.not_done:
            raise ApplyError(tuple(map(str, self.not_done)), len(self.results))
