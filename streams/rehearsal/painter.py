"""Draw the alerts' pictures during the night, in processes of low priority."""

from __future__ import annotations

import os
from multiprocessing import get_context
from multiprocessing.pool import AsyncResult
from pathlib import Path
from types import TracebackType
from typing import Self

from cempstream.schemas.alert import decode_alert
from cempstream.schemas.star import decode_star
from cempstream.streams.pictures.finding import finding_of_alert
from cempstream.streams.pictures.pages import INDEX, IndexRow, index_row, life_text, unique_stem, write_star
from cempstream.streams.rehearsal.child_process import unheard_ctrl_c
from cempstream.streams.rehearsal.ledger import AlertSeen
from cempstream.streams.rehearsal.star_ledger import Life

_NICENESS = 3
_PROCESSES = 2
_TRUTH = {True: "CEMP star", False: "not CEMP", None: None}


class Painter:
    """Draw alerts into a folder.

    Parameters
    ----------
    folder
        Where the pictures go; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken = {Path(INDEX).stem}
        self._jobs: list[tuple[AlertSeen, str | None, AsyncResult[str]]] = []
        with unheard_ctrl_c():  # this process gets it, and ends them
            # Spawned, not forked: this process has threads.
            self._pool = get_context("spawn").Pool(_PROCESSES, initializer=os.nice, initargs=(_NICENESS,))

    @property
    def n_done(self) -> int:
        """Pictures that are drawn."""
        return sum(job.ready() for *_, job in self._jobs)

    @property
    def n_queued(self) -> int:
        """Pictures that were asked for."""
        return len(self._jobs)

    @property
    def is_idle(self) -> bool:
        """Whether no picture waits to be drawn."""
        return self.n_done == self.n_queued

    def draw(self, seen: AlertSeen) -> None:
        """Queue an alert's picture and page."""
        stem = unique_stem(seen.alert.spectrum_id, self._taken)
        self._jobs.append((seen, None, self._pool.apply_async(_draw, (seen.packet, self._folder, stem))))

    def draw_life(self, life: Life) -> None:
        """Queue the pictures and the page of a star with its alerts."""
        stem = unique_stem(life.state.star.object_id, self._taken)
        packets = [seen.packet for seen in life.alerts]
        job = self._pool.apply_async(_draw_life, (life.packet, packets, self._folder, stem))
        self._jobs.append((life.alerts[-1], life_text([seen.alert for seen in life.alerts]), job))

    def rows(self) -> list[IndexRow]:
        """Return the index page's rows of what is drawn, the surest first.

        Raises
        ------
        Exception
            The error of drawing: a picture that cannot be drawn is a bug.
        """
        rows = [
            index_row(finding_of_alert(seen.alert), job.get(), _TRUTH[seen.is_cemp], seen.latency_s, life)
            for seen, life, job in self._jobs
            if job.ready()
        ]
        return sorted(rows, key=lambda row: -row.p_cemp)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.terminate()
        self._pool.join()


def _draw(packet: bytes, folder: Path, stem: str) -> str:
    return write_star(folder, stem, finding_of_alert(decode_alert(packet)))


def _draw_life(star: bytes, alerts: list[bytes], folder: Path, stem: str) -> str:
    decoded = [decode_alert(packet) for packet in alerts]
    return write_star(folder, stem, finding_of_alert(decoded[-1]), (decode_star(star), decoded))
