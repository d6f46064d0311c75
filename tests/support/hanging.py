"""A process that hangs in the way that its argument names, and is to be ended by its own watchdog.

``stuck``: the event loop does not turn. ``idle``: it turns, and its work does not move. ``holding``: Python's
lock is never given back. With ``full`` its stderr is a full pipe, with ``socket`` a full socket.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import sys
import time

from cempstream.streams.telemetry.watchdog import Watchdog, notify
from tests.support.full_pipe import fill

_LIMIT_S = 2.0
_FOR_EVER_S = 3600

_others: list[socket.socket] = []


async def hang(how: str) -> None:
    """Live for two turns, say that the hang begins, and hang."""
    begun = False
    alive = asyncio.create_task(Watchdog(lambda: "nothing moves" if begun else None).run(_LIMIT_S))
    await asyncio.sleep(2.5)
    begun = how == "idle"
    notify("STATUS=hangs on purpose")
    if how == "stuck":
        time.sleep(_FOR_EVER_S)
    elif how == "holding":
        ctypes.PyDLL(None).sleep(_FOR_EVER_S)
    await alive


def spoil_stderr(what: str) -> None:
    """Make stderr take nothing."""
    if what == "full":
        _, full = os.pipe()
    else:
        ours, other = socket.socketpair()
        _others.append(other)
        full = ours.detach()
    fill(full)
    os.dup2(full, 2)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        spoil_stderr(sys.argv[2])
    asyncio.run(hang(sys.argv[1]))
