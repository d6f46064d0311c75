"""Log lines go to stderr through a queue and a thread, so that a full pipe stops no one but that thread.

A process that logs to a pipe stops when nothing reads the pipe: the line waits, and whatever wrote it too.
Here a line that does not fit into the queue is dropped and counted, and a later line says how many were.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable

from cempstream.streams.telemetry import notices

#: Lines that may wait; most are shorter than a kilobyte.
MOST_WAITING = 1000

#: The end of the process waits so long for the lines that wait.
_FLUSH_S = 1.0

#: A stderr that someone has made non-blocking is tried again so often.
_RETRY_S = 0.1


class UnblockedHandler(logging.Handler):
    """Writes to a descriptor from a separate thread.

    Parameters
    ----------
    descriptor
        Where lines go, written whole and in UTF-8.
    on_dropped
        Called with the number of lines that were dropped, from the thread that logged or from the writer's.
    """

    def __init__(self, descriptor: int, on_dropped: Callable[[int], object]) -> None:
        super().__init__()
        self.on_dropped = on_dropped
        self._descriptor = descriptor
        self._lines: queue.Queue[str] = queue.Queue(MOST_WAITING)
        self._n_unsaid = 0
        self._counting = threading.Lock()
        threading.Thread(target=self._run, name="log-writer", daemon=True).start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Queue a line that passes the filters; without a lock, for whoever holds one may wait."""
        passed = self.filter(record)
        if passed:
            self.emit(record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line; never waits."""
        try:
            line = self.format(record)
        except (TypeError, ValueError) as error:
            line = f"a message cannot be written, {record.msg!r}: {error}"
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._drop()

    def flush(self) -> None:
        """Return when all lines are written, or after a second."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, _FLUSH_S)

    def _run(self) -> None:
        while True:
            line = self._lines.get()
            try:
                self._write(line)
                if self._n_unsaid and self._lines.empty():  # here the lines are missing
                    with self._counting:
                        n_dropped, self._n_unsaid = self._n_unsaid, 0
                    notices.log_lines_dropped(n_dropped)
            except OSError:  # no room on the disk, or the reader is gone
                self._drop()
            finally:
                self._lines.task_done()

    def _write(self, line: str) -> None:
        data = f"{line}\n".encode(errors="backslashreplace")
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                time.sleep(_RETRY_S)

    def _drop(self) -> None:
        with self._counting:
            self._n_unsaid += 1
        self.on_dropped(1)


def never_block(on_dropped: Callable[[int], object]) -> None:
    """Have everything that is logged to stderr written by a separate thread; calling it again is harmless."""
    root = logging.getLogger()
    for handler in tuple(root.handlers):
        if isinstance(handler, UnblockedHandler):
            handler.on_dropped = on_dropped
        elif isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stderr, sys.__stderr__):
            with contextlib.suppress(OSError):  # a stderr that is no file, in a test
                descriptor = handler.stream.fileno()
                unblocked = UnblockedHandler(descriptor, on_dropped)
                unblocked.setLevel(handler.level)
                unblocked.setFormatter(handler.formatter)
                for its_filter in handler.filters:
                    unblocked.addFilter(its_filter)
                root.addHandler(unblocked)
                root.removeHandler(handler)


def flush_logs() -> None:
    """Wait for lines that wait, a second at most; before an end that runs nothing else."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, UnblockedHandler):
            handler.flush()
