"""The garbage collector, paused while many values are made."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["collector_paused"]


@contextmanager
def collector_paused() -> Generator[None]:
    """Turn the collector of cycles off, and on again afterwards if it was on.

    Nothing that is made here is ever part of a cycle, but the collector goes through all of it
    again and again while it grows: that is a third of the time of a bulk decode.

    **The switch is the process's**, not the thread's: meanwhile no cycles of other threads are
    collected either. What reference counts free is freed as ever. Where several threads do this
    at once, the first to come ends the pause for all, which costs the others time and nothing
    else. A collector that was off stays off.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
