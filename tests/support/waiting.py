"""Waiting for a condition."""

import time
from collections.abc import Callable


def wait_until(
    is_so: Callable[[], bool], what: str | Callable[[], str], timeout_s: float = 60.0, *, every_s: float = 0.1
) -> None:
    """Return once the condition holds; else fail with a message, which may be a function."""
    deadline_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline_s, what if isinstance(what, str) else what()
        time.sleep(every_s)
