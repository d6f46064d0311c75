"""Decode messages and keep the alerts that a subscriber asked for; all sources of alerts use it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from cempstream.errors import FixableError
from cempstream.processors.spectrum import Reason
from cempstream.schemas.alert import Alert, alert_from_json, decode_alert
from cempstream.schemas.packets import PacketError
from cempstream.streams.observing.known_stars import Catalogues, KnownStars
from cempstream.streams.subscriber.where import Predicate, compile_where

#: What a subscriber gets unless it asks for more: neither planted spectra nor tests.
TENSES = ("current", "archival")


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A message that cannot be read as an alert; it is never skipped silently.

    Attributes
    ----------
    source, partition, offset
        Topic and place; for a file its name, 0 and the line's number.
    """

    source: str
    partition: int
    offset: int
    reason: Reason
    detail: str
    packet: bytes = field(repr=False)

    def __str__(self) -> str:
        return f"{self.source}/{self.partition}@{self.offset}: {self.reason}: {self.detail}"


class UndecodableError(FixableError, ValueError):
    """Raised for an `Undecodable`; to iterate on gives the next message.

    Attributes
    ----------
    undecodable
        The message and its place.
    """

    def __init__(self, undecodable: Undecodable) -> None:
        super().__init__(str(undecodable))
        self.undecodable = undecodable


#: Raise an `UndecodableError`, or call a function with each `Undecodable`.
OnError: TypeAlias = Literal["raise"] | Callable[[Undecodable], None]

#: What alerts are compared with: files of known stars, or more than that as a `KnownStars`.
Known: TypeAlias = KnownStars | Catalogues | None


class AlertSieve:
    """Read messages, and keep those of the tenses asked for that pass the filter.

    The source drops repeats: it knows what was acknowledged.

    Parameters
    ----------
    where
        Filter, see `cempstream.streams.subscriber.where`; None keeps everything.
    tenses
        Values of ``alert_tense`` that are kept.
    on_error
        What becomes of an `Undecodable`.
    known
        What is looked up at the position of every alert, before the filter.

    Raises
    ------
    FilterError
        The filter cannot be understood.
    CatalogueError, OSError
        A file of known stars cannot be read.
    """

    def __init__(
        self,
        where: str | None = None,
        tenses: Iterable[str] = TENSES,
        on_error: OnError = "raise",
        known: Known = None,
    ) -> None:
        self._known = known if isinstance(known, KnownStars | None) else KnownStars(known)
        self._passes: Predicate = compile_where(where) if where else lambda alert: True
        self._tenses = frozenset(tenses)
        self._on_error = on_error

    def sift(self, packet: bytes, source: str, partition: int, offset: int) -> Alert | None:
        """Return the alert of a message (Avro or JSON), or None where it is not wanted."""
        try:
            alert = alert_from_json(packet) if packet[:1] == b"{" else decode_alert(packet)
        except PacketError as error:
            bad = Undecodable(source, partition, offset, error.reason, error.detail, packet)
            if self._on_error == "raise":
                raise UndecodableError(bad) from error
            self._on_error(bad)
            return None
        if alert.alert_tense not in self._tenses:
            return None
        if self._known is not None:
            alert = self._known.mark(alert)
        return alert if self._passes(alert) else None
