"""Draw the alerts' pictures while the night goes on, in processes that leave the worker its share."""

from __future__ import annotations

import os
import signal
from multiprocessing import get_context
from multiprocessing.pool import AsyncResult
from pathlib import Path
from types import TracebackType
from typing import Self

from cempstream.schemas.alert import decode_alert
from cempstream.streams.commands.explain import unique_stem
from cempstream.streams.pictures.finding import finding_of_alert
from cempstream.streams.pictures.pages import Entry
from cempstream.streams.pictures.picture import save_picture
from cempstream.streams.rehearsal.ledger import AlertSeen

_NICENESS = 3
_PROCESSES = 2
_TRUTH = {True: "CEMP star", False: "not CEMP", None: "—"}


class Painter:
    """Draw alerts into a folder.

    Parameters
    ----------
    folder
        Where the pictures go; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken: set[str] = set()
        self._jobs: list[tuple[AlertSeen, str, AsyncResult[None]]] = []
        # Spawned, not forked: this process has threads.
        self._pool = get_context("spawn").Pool(_PROCESSES, initializer=_start)

    @property
    def n_done(self) -> int:
        """Pictures that are drawn."""
        return sum(job.ready() for _, _, job in self._jobs)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be drawn."""
        return self.n_done == len(self._jobs)

    def draw(self, seen: AlertSeen) -> None:
        """Queue an alert's picture."""
        name = unique_stem(seen.alert.spectrum_id, self._taken) + ".png"
        self._jobs.append((seen, name, self._pool.apply_async(_draw, (seen.packet, self._folder / name))))

    def entries(self) -> list[Entry]:
        """Return the index page's rows of what is drawn, the surest first.

        Raises
        ------
        Exception
            Whatever drawing raised: a picture that cannot be drawn is a bug.
        """
        entries = []
        for seen, name, job in self._jobs:
            if job.ready():
                job.get()
                entries.append(
                    Entry(finding_of_alert(seen.alert), name, _TRUTH[seen.is_cemp], seen.latency_s)
                )
        return sorted(entries, key=lambda entry: -entry.finding.p_cemp)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.terminate()
        self._pool.join()


def _start() -> None:
    """Let Ctrl-C end the parent, which ends us."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICENESS)


def _draw(packet: bytes, path: Path) -> None:
    save_picture(finding_of_alert(decode_alert(packet)), path)
