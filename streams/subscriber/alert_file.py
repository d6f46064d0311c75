"""Alerts from a recorded file, with the interface of `AlertStream`."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

from cempstream.schemas.alert import Alert
from cempstream.schemas.packets import HEADER_BYTES
from cempstream.schemas.registry import Kind, kind_and_version
from cempstream.streams.subscriber.memory import N_REMEMBERED, AlertMemory
from cempstream.streams.subscriber.sieve import TENSES, AlertSieve, Known, OnError
from cempstream.streams.times import parse_time


class AlertFile:
    """Alerts from a file: JSON lines as ``cempstream listen --json`` writes them, or one Avro packet.

    Parameters
    ----------
    path
        The file, also gzipped.
    start, until
        Keep alerts published at or after, and before, these times (ISO 8601 or datetime); ``"earliest"`` and
        ``"now"`` keep all.
    where, tenses, on_error, n_remembered, known
        As for `AlertStream`.

    Raises
    ------
    ValueError
        `start`, `until`, `where` or `known` cannot be understood.
    OSError
        The file cannot be read; raised while iterating.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        start: str | datetime = "earliest",
        until: str | datetime | None = None,
        where: str | None = None,
        tenses: Iterable[str] = TENSES,
        on_error: OnError = "raise",
        n_remembered: int = N_REMEMBERED,
        known: Known = None,
    ) -> None:
        self.path = Path(path)
        self._start = None if start == "earliest" else parse_time(start)
        self._until = None if until is None or until == "now" else parse_time(until)
        self._sieve = AlertSieve(where, tenses, on_error, known)
        self._shown = AlertMemory(n_remembered=n_remembered)
        self._file: IO[bytes] | None = None
        self._messages: Iterator[tuple[int, bytes]] = iter(())

    def open(self) -> None:
        """Open the file; iterating and ``with`` call this."""
        if self._file is None:
            self._file = _open(self.path)
            self._messages = _messages(self._file)

    def close(self) -> None:
        """Close the file; there are no alerts after that."""
        self._messages = iter(())
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Alert]:
        return self

    def __next__(self) -> Alert:
        self.open()
        for number, packet in self._messages:
            alert = self._sieve.sift(packet, self.path.name, 0, number)
            if alert is None or not self._is_in_range(alert.published_at):
                continue
            is_repeat = alert.alert_id in self._shown
            self._shown.add(alert.alert_id)
            if not is_repeat:
                return alert
        self.close()
        raise StopIteration

    def _is_in_range(self, moment: datetime) -> bool:
        return (self._start is None or moment >= self._start) and (
            self._until is None or moment < self._until
        )


def holds_alerts(path: Path) -> bool:
    """Say whether a file's first bytes look like alerts: JSON, or the Avro packet of an alert."""
    try:
        with _open(path) as file:
            head = file.read(1024)
    except (OSError, EOFError, zlib.error):
        return False  # its reader will say what is wrong
    known = kind_and_version(int.from_bytes(head[1:HEADER_BYTES])) if head[:1] == b"\0" else None
    return head.lstrip().startswith(b"{") or (known is not None and known[0] is Kind.ALERT)


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        is_gzipped = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path)) if is_gzipped else path.open("rb")


def _messages(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the messages of a file with their line's number.

    A zero byte begins an Avro packet. A brace alone on its line begins an alert over many lines, as jq writes
    it.
    """
    first = file.readline()
    if first[:1] == b"\0" or first.strip() == b"{":
        yield 1, first + file.read()
        return
    for number, line in enumerate(chain([first], file), start=1):
        if line.strip():
            yield number, line
