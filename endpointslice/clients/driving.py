"""Rules without I/O, and the two loops that carry them out: one waits, one awaits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, Final, TypeAlias, TypeVar, final

import attrs

from endpointslice.clients.requests import Answer, AsyncSliceClient, SliceClient, SliceRequest
from endpointslice.clients.retries import RetryPolicy

__all__ = ["Pause", "Session", "Steps", "drive", "drive_async", "words_of"]

_T = TypeVar("_T")
_TOO_MANY_REQUESTS: Final = 429


@final
@attrs.frozen
class Pause:
    """Wait for so many seconds before going on."""

    seconds: float


#: What rules ask for, one step at a time: a request, to be told its answer, or a pause.
Steps: TypeAlias = Generator[SliceRequest | Pause, Answer | None, _T]


def is_lost(answer: Answer) -> bool:
    """Whether nobody knows what became of the request; 408 is a proxy's word for it."""
    return answer.status in (0, 408) or answer.status >= 500


def is_put_off(answer: Answer) -> bool:
    """Whether the server has done nothing, and wants to be asked again later."""
    return answer.status == _TOO_MANY_REQUESTS


def field(body: Mapping[str, Any], name: str) -> str:
    """A string of a Status; "" if there is none."""
    value = body.get(name)
    return value if isinstance(value, str) else ""


def words_of(answer: Answer) -> tuple[str, str]:
    """The server's word and sentence for a failure; for a lost connection what is known of it."""
    if answer.status == 0:
        return "", answer.error or "the connection was lost"
    message = field(answer.body, "message")
    if not message and answer.status == 404:
        message = "the server does not serve discovery.k8s.io/v1, or not at this address"
    elif not message and 300 <= answer.status < 400:
        message = "redirects are not followed"
    return field(answer.body, "reason"), message


@final
@attrs.define
class Session:
    """Sends requests and counts them.

    Attributes:
        policy: When to ask again.
        failures: How many there were since the operation under way was begun.
        requests: How many were sent.
        retries: How many times something was tried again.
        waited: Seconds of all pauses.
        retry_after: What the server asked for when a request was given up.
    """

    policy: RetryPolicy
    failures: int = 0
    requests: int = 0
    retries: int = 0
    waited: float = 0.0
    retry_after: float | None = None

    def send(self, request: SliceRequest) -> Steps[Answer]:
        """Send a request once."""
        self.requests += 1
        answer = yield request
        assert answer is not None
        return answer

    def rest(self, failure: Answer) -> Steps[bool]:
        """Pause after a failure; say whether to try again."""
        self.failures += 1
        seconds = self.policy.wait(self.failures, failure.retry_after)
        if seconds is None:
            self.retry_after = failure.retry_after
            return False
        self.retries += 1
        self.waited += seconds
        yield Pause(seconds)
        return True


def drive(client: SliceClient, steps: Steps[_T], sleep: Callable[[float], object]) -> _T:
    """Carry steps out, one after the other."""
    reply: Answer | None = None
    while True:
        try:
            step = steps.send(reply)
        except StopIteration as end:
            value: _T = end.value
            return value
        try:
            if isinstance(step, Pause):
                sleep(step.seconds)
                reply = None
            else:
                reply = client.send(step)
        except BaseException as error:
            # The rules may have something to say about how far they came.
            steps.throw(error)
            raise


async def drive_async(
    client: AsyncSliceClient, steps: Steps[_T], sleep: Callable[[float], Awaitable[object]]
) -> _T:
    """Carry steps out, one after the other, and let others run meanwhile."""
    reply: Answer | None = None
    while True:
        try:
            step = steps.send(reply)
        except StopIteration as end:
            value: _T = end.value
            return value
        try:
            if isinstance(step, Pause):
                await sleep(step.seconds)
                reply = None
            else:
                reply = await client.send(step)
        except BaseException as error:
            steps.throw(error)
            raise
