"""The end of a process that hangs, and what its supervisor is told while it does not.

The end comes from a thread that needs neither the event loop, nor Python's lock, nor a stderr that takes
anything. systemd is told over ``NOTIFY_SOCKET`` that the process is ready and, as long as its event loop
turns and its work moves, that it lives (``WatchdogSec``).
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import socket
import stat
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import Any, NoReturn

from cempstream.streams.telemetry.log_writer import flush_logs

#: What does not begin its work within this time does not begin it at all. Models load in seconds, on a busy
#: machine in minutes.
START_S = 600.0

#: How often an event loop proves that it turns.
TURN_S = 1.0

#: After how long without a turn ``/live`` says so.
_STUCK_S = 30.0

#: How long one write to the journal's socket may wait; a traceback is some hundred of them.
_JOURNAL_WAIT_US = 1000


class Watchdog:
    """End the process when its event loop does not turn or its work does not move.

    Parameters
    ----------
    is_live
        Return None, or what keeps the work from moving.
    """

    def __init__(self, is_live: Callable[[], str | None]) -> None:
        self._is_live = is_live
        self._turned_at_s: float | None = None

    def is_live(self) -> str | None:
        """Say what is wrong with the loop or the work; None where all is well. For any thread."""
        stuck_s = 0.0 if self._turned_at_s is None else time.monotonic() - self._turned_at_s
        if stuck_s > _STUCK_S:
            return f"the event loop has not turned for {stuck_s:.0f} s"
        return self._is_live()

    async def run(self, limit_s: float) -> None:
        """Put off the end of the process again and again; it comes ``limit_s`` after the last time."""
        end_without_memory()
        notify("READY=1")
        while True:
            self._turned_at_s = time.monotonic()
            if self._is_live() is None:
                end_after(limit_s)
                notify("WATCHDOG=1")
            await asyncio.sleep(TURN_S)


def end_after(limit_s: float) -> None:
    """End the process after so long, with the stacks of its threads on stderr, unless called again before."""
    faulthandler.dump_traceback_later(limit_s, exit=True, file=_unblocked_stderr())  # in its own thread


def end_without_memory() -> None:
    """Have the process end when a thread of it has no memory left.

    A thread that dies for that before it runs leaves who started it waiting for ever, and what a callback of
    librdkafka was to say is never said. Nothing is lost by the end: what is not delivered is read again.
    """
    sys.unraisablehook = partial(_end_if_no_memory, sys.unraisablehook)
    threading.excepthook = partial(_end_if_no_memory, threading.excepthook)


def _end_if_no_memory(otherwise: Callable[[Any], object], unhandled: Any) -> None:
    """Take the place of a hook of Python's for what no one has handled."""
    if issubclass(unhandled.exc_type, MemoryError):
        say_unblocked("no memory is left: the process ends\n")
        os._exit(1)  # and nothing else: whatever runs may ask for memory
    otherwise(unhandled)


def end_at_once(status: int) -> NoReturn:
    """End without running anything else; lines that are logged have a second to be written."""
    flush_logs()
    os._exit(status)


def say_unblocked(text: str) -> None:
    """Write to stderr what it takes at once."""
    with suppress(OSError):
        os.write(_unblocked_stderr(), text.encode(errors="backslashreplace"))


def dump_stacks() -> None:
    """Write the stacks of all threads to stderr, as far as it takes them at once."""
    faulthandler.dump_traceback(file=_unblocked_stderr(), all_threads=True)


def notify(state: str) -> None:
    """Tell systemd, where it has started us; never waits (``man sd_notify``)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.setblocking(False)
        ours.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


@cache
def _unblocked_stderr() -> int:
    """Return a descriptor of stderr on which no write waits, without changing it for those who share it."""
    try:
        kind = os.fstat(2).st_mode
        if stat.S_ISREG(
            kind
        ):  # never full in a way that blocks; two places in one file would overwrite each other
            return 2
        if stat.S_ISSOCK(kind):  # the journal's, which cannot be opened once more
            with socket.socket(fileno=os.dup(2)) as journal:
                wait = struct.pack("ll", 0, _JOURNAL_WAIT_US)
                journal.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)
            return 2
        return os.open("/proc/self/fd/2", os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # it may not be opened once more: the end must come, if need be without stacks
        return os.open(os.devnull, os.O_WRONLY)
