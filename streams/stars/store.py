"""The stars that are held, as packets: a cache of the changelog, in memory or in a file."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Held:
    """A star as it is held."""

    packet: bytes
    survey: str
    updated_at: datetime


class StarStore:
    """Hold packets by partition and key; for any thread.

    It is a cache: what a file holds of an earlier process is not looked at.

    Parameters
    ----------
    folder
        Where its file is made; None keeps all in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        place = ":memory:"
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / "stars.sqlite"
            file.unlink(missing_ok=True)
            place = str(file)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(place, check_same_thread=False, isolation_level=None)
        # Nothing of it is needed after a crash.
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(
            "CREATE TABLE stars (partition INTEGER, key BLOB, packet BLOB, survey TEXT, updated_s REAL, "
            "PRIMARY KEY (partition, key)) WITHOUT ROWID"
        )

    def get(self, partition: int, key: bytes) -> bytes | None:
        """Return a star's packet; None where it is not held."""
        with self._lock:
            query = "SELECT packet FROM stars WHERE partition = ? AND key = ?"
            row = self._database.execute(query, (partition, key)).fetchone()
        return None if row is None else bytes(row[0])

    def put(self, partition: int, stars: Mapping[bytes, Held | None]) -> None:
        """Hold stars in place of what is held of them; None lets one go."""
        rows = [
            (partition, key, star.packet, star.survey, star.updated_at.timestamp())
            for key, star in stars.items()
            if star is not None
        ]
        gone = [(partition, key) for key, star in stars.items() if star is None]
        with self._lock:
            self._database.execute("BEGIN")
            self._database.executemany("INSERT OR REPLACE INTO stars VALUES (?, ?, ?, ?, ?)", rows)
            self._database.executemany("DELETE FROM stars WHERE partition = ? AND key = ?", gone)
            self._database.execute("COMMIT")

    def drop(self, partition: int) -> None:
        """Let all stars of a partition go."""
        with self._lock:
            self._database.execute("DELETE FROM stars WHERE partition = ?", (partition,))

    def count(self) -> int:
        """Return how many stars are held."""
        with self._lock:
            return int(self._database.execute("SELECT COUNT(*) FROM stars").fetchone()[0])

    def surveys(self) -> list[str]:
        """Return the surveys of which stars are held."""
        with self._lock:
            rows = self._database.execute("SELECT DISTINCT survey FROM stars").fetchall()
        return [row[0] for row in rows]

    def silent(
        self, partitions: Iterable[int], survey: str, since: datetime, limit: int
    ) -> list[tuple[int, bytes]]:
        """Return partition and key of stars of a survey that have not changed since a time, some at once."""
        chosen = ", ".join(str(int(partition)) for partition in partitions)
        query = (
            "SELECT partition, key FROM stars WHERE survey = ? AND updated_s < ? "
            f"AND partition IN ({chosen}) LIMIT ?"
        )
        with self._lock:
            rows = self._database.execute(query, (survey, since.timestamp(), limit)).fetchall()
        return [(int(partition), bytes(key)) for partition, key in rows]

    def close(self) -> None:
        """End; nothing is held any more."""
        with self._lock:
            self._database.close()
