"""How long to wait for what others do: as long as it moves."""

from __future__ import annotations

import time

_LIMIT_S = 120.0
#: A look counts no more than this, so that a laptop that slept, or a night that was suspended, is not late.
_LONGEST_LOOK_S = 1.0


class Patience:
    """Is over when nothing has moved for a while.

    Parameters
    ----------
    limit_s
        How long nothing may move.
    """

    def __init__(self, limit_s: float = _LIMIT_S) -> None:
        self._limit_s = limit_s
        self._still_s = 0.0
        self._looked_s = time.monotonic()
        self._progress: tuple[object, ...] = ()

    def is_over(self, *progress: object) -> bool:
        """Note how far things are, and say whether they have stood still for too long."""
        now_s = time.monotonic()
        self._still_s += min(now_s - self._looked_s, _LONGEST_LOOK_S)
        self._looked_s = now_s
        if progress != self._progress:
            self._progress, self._still_s = progress, 0.0
        return self._still_s > self._limit_s
