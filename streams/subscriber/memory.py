"""Which alerts were acknowledged, to recognise repeats; kept in a file, also after a restart."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from threading import Lock

from cempstream.errors import FixableError

#: Enough to recognise every repeat after a worker's restart.
N_REMEMBERED = 20_000

_LOCKED_TIMEOUT_S = 10.0


class MemoryFileError(FixableError, ValueError):
    """The file given for the memory is not one."""


class AlertMemory:
    """The ids of the latest acknowledged alerts.

    Readers of one group may share a file.

    Parameters
    ----------
    path
        SQLite file that keeps the ids, created if absent; None remembers until the process ends.
    n_remembered
        How many ids are kept.

    Raises
    ------
    MemoryFileError
        The file holds something else, or cannot be written.
    """

    def __init__(self, path: Path | str | None = None, n_remembered: int = N_REMEMBERED) -> None:
        self._n_remembered = n_remembered
        self._lock = Lock()  # alerts may be acknowledged from any thread
        name = str(path) if path is not None else ":memory:"
        try:
            self._ids = sqlite3.connect(
                name, timeout=_LOCKED_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._ids.execute("PRAGMA journal_mode = WAL")
            self._ids.execute("PRAGMA synchronous = NORMAL")  # a power cut costs no more than repeats
            self._ids.execute(
                "CREATE TABLE IF NOT EXISTS acknowledged (n INTEGER PRIMARY KEY, alert_id TEXT UNIQUE)"
            )
        except sqlite3.Error as error:
            raise MemoryFileError(
                f"{name} cannot be the memory of acknowledged alerts: {error}; give a file that is new "
                "or was made by an earlier run"
            ) from error

    def __contains__(self, alert_id: str) -> bool:
        with self._lock:
            found = self._ids.execute("SELECT 1 FROM acknowledged WHERE alert_id = ?", (alert_id,))
            return found.fetchone() is not None

    def add(self, alert_id: str) -> None:
        """Remember an alert, and forget the oldest beyond `n_remembered`."""
        with self._lock:
            # Replaced, so that an alert that is repeated stays among the latest.
            row = self._ids.execute("REPLACE INTO acknowledged (alert_id) VALUES (?)", (alert_id,))
            self._ids.execute(
                "DELETE FROM acknowledged WHERE n <= ?", ((row.lastrowid or 0) - self._n_remembered,)
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._ids.close()
