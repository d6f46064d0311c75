"""How long to wait for something: as long as it makes progress."""

from __future__ import annotations

import time

_LIMIT_S = 120.0
#: The time between two looks counts at most this much, so that a suspended laptop or process is not late.
_LONGEST_LOOK_S = 1.0


class Patience:
    """Runs out when nothing has moved for a while.

    Parameters
    ----------
    limit_s
        How long there may be no progress.
    """

    def __init__(self, limit_s: float = _LIMIT_S) -> None:
        self._limit_s = limit_s
        self._still_s = 0.0
        self._looked_s = time.monotonic()
        self._progress: tuple[object, ...] = ()

    def is_over(self, *progress: object) -> bool:
        """Note the progress so far, and say whether there was none for too long."""
        now_s = time.monotonic()
        self._still_s += min(now_s - self._looked_s, _LONGEST_LOOK_S)
        self._looked_s = now_s
        if progress != self._progress:
            self._progress, self._still_s = progress, 0.0
        return self._still_s > self._limit_s
