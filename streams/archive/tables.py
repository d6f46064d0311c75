"""What a topic's messages are as rows: where they stood, what they say, and in which folder they belong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import quote

import pyarrow as pa
from confluent_kafka import Message

from cempstream.schemas.packets import PacketError, unpack
from cempstream.schemas.registry import Kind
from cempstream.streams.archive.columns import Column, columns_of
from cempstream.streams.kafka.dead_letters import read_dead_letter
from cempstream.streams.settings import TopicSettings

#: How tools that read folders of Parquet write a value that is not there.
_NOTHING = "__HIVE_DEFAULT_PARTITION__"

#: File systems take 255 bytes; a name's characters may take three each.
_LONGEST_NAME = 80

#: Where each row stood: every table begins with it.
_PLACE = (
    ("topic", pa.string(), "where the message stood"),
    ("partition", pa.int32(), "its partition"),
    ("offset", pa.int64(), "its number there"),
    ("written_at", pa.timestamp("ms", tz="UTC"), "the message's time"),
    ("unreadable", pa.string(), "why the message could not be read; the columns after it are then empty"),
)

_LETTER = (
    ("reason", pa.string(), "why the packet was refused"),
    ("detail", pa.string(), "what was wrong with it"),
    ("from_topic", pa.string(), "where the packet came from"),
    ("from_partition", pa.int32(), "its partition there"),
    ("from_offset", pa.int64(), "its number there"),
    ("size_bytes", pa.int64(), "of the packet"),
    ("sha256", pa.string(), "of the packet"),
    ("is_whole", pa.bool_(), "whether the letter holds all of it"),
    ("attempts", pa.int32(), "how often it had been sent again"),
    ("packet", pa.binary(), "the packet, or its head"),
)


class Subject(StrEnum):
    """What can be archived; the names of the folders."""

    SCORES = "scores"
    ALERTS = "alerts"
    DEAD_LETTERS = "dead_letters"

    def topics(self, topics: TopicSettings) -> tuple[str, ...]:
        """Return the topics that hold it."""
        match self:
            case Subject.SCORES:
                return (topics.scores,)
            case Subject.ALERTS:
                return (topics.alerts, topics.alerts_archival)
            case Subject.DEAD_LETTERS:
                return (topics.dlq,)


@dataclass(frozen=True, slots=True)
class Row:
    """A message as a row.

    Attributes
    ----------
    folder
        ``night=…/survey=…``.
    values
        By column.
    """

    topic: str
    partition: int
    offset: int
    folder: str
    values: Mapping[str, Any]


class Table:
    """Turns messages of one subject into rows.

    Parameters
    ----------
    longitude_deg
        Of the telescope, east positive: a night is named by the date of its evening there.
    """

    def __init__(self, subject: Subject, longitude_deg: float = 0.0) -> None:
        self.subject = subject
        self._from_noon = timedelta(hours=longitude_deg / 15.0 - 12.0)
        self._columns: tuple[Column, ...] = ()
        named: Sequence[tuple[str, pa.DataType, str]] = _LETTER
        self._read: Callable[[Message], dict[str, Any]] = _letter
        if subject is not Subject.DEAD_LETTERS:
            kind = Kind.SCORE if subject is Subject.SCORES else Kind.ALERT
            # The survey is in the folder's name: a column of that name beside it would be read twice.
            self._columns = tuple(column for column in columns_of(kind) if column.name != "survey")
            named = [(column.name, column.type, column.doc) for column in self._columns]
            self._read = lambda message: unpack(kind, message.value() or b"")
        self.schema = pa.schema(
            [pa.field(name, kind, metadata={"doc": doc}) for name, kind, doc in (*_PLACE, *named)]
        )

    def row(self, message: Message) -> Row:
        """Return a message as a row; one that cannot be read is a row that says why."""
        written_at = datetime.fromtimestamp(max(0, message.timestamp()[1]) / 1000, UTC)
        place = message.topic() or "", message.partition() or 0, message.offset() or 0
        values: dict[str, Any] = {**dict.fromkeys(self.schema.names), "written_at": written_at}
        values |= dict(zip(("topic", "partition", "offset"), place, strict=True))
        survey, moment = None, written_at
        try:
            record = self._read(message)
        except PacketError as error:
            values["unreadable"] = str(error)
        else:
            survey, moment = record.get("survey"), record.get("observed_at") or written_at
            if self._columns:
                values |= {column.name: column.of(record) for column in self._columns}
            else:
                values |= record
        return Row(*place, f"night={self._night(moment)}/survey={_folder_name(survey)}", values)

    def table(self, rows: Sequence[Row]) -> pa.Table:
        """Return rows as a table."""
        return pa.Table.from_pylist([dict(row.values) for row in rows], schema=self.schema)

    def _night(self, moment: datetime) -> str:
        try:
            return (moment + self._from_noon).date().isoformat()
        except OverflowError:  # a packet may say the year 1 or 9999
            return moment.date().isoformat()


def _letter(message: Message) -> dict[str, Any]:
    letter = read_dead_letter(message)
    return {
        "reason": letter.reason,
        "detail": letter.detail,
        "from_topic": letter.topic,
        "from_partition": letter.topic_partition,
        "from_offset": letter.topic_offset,
        "size_bytes": letter.size_bytes,
        "sha256": letter.sha256,
        "is_whole": letter.is_whole,
        "attempts": letter.attempts,
        "packet": letter.packet,
    }


def _folder_name(survey: str | None) -> str:
    """Return a survey's name as a folder's: all but letters, digits and ``_-~.`` as ``%20``."""
    return quote(survey[:_LONGEST_NAME], safe="") if survey else _NOTHING
