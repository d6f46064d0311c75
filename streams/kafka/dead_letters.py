"""A dead letter as a value: what a packet was, where it came from and why it was refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from confluent_kafka import Message

from cempstream.streams.kafka.publisher import OutMessage

#: Counts, on a packet, how often it was sent again.
ATTEMPTS = "requeue.attempts"

_ORIGINAL = "orig.header."


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message of the dead-letter topic.

    Attributes
    ----------
    partition, offset
        Its own place in the dead-letter topic.
    died_at
        UTC; when it was written there.
    topic
        Where the packet came from, with its partition and offset there; empty where nothing says so.
    size_bytes
        Of the packet; `packet` may be no more than its head.
    is_whole
        Whether `packet` is all of it.
    headers
        The packet's own.
    attempts
        How often it had been sent again before.
    """

    partition: int
    offset: int
    died_at: datetime
    reason: str
    detail: str
    stage: str
    topic: str
    topic_partition: int
    topic_offset: int
    size_bytes: int
    sha256: str
    is_whole: bool
    key: bytes | None
    packet: bytes = field(repr=False)
    headers: tuple[tuple[str, bytes], ...]
    attempts: int

    @property
    def place(self) -> str:
        """``partition:offset`` in the dead-letter topic, by which commands name it."""
        return f"{self.partition}:{self.offset}"

    @property
    def origin(self) -> str:
        """``topic/partition@offset`` of the packet."""
        return f"{self.topic}/{self.topic_partition}@{self.topic_offset}" if self.topic else "unknown"

    def to_requeue(self, topic: str | None = None) -> OutMessage:
        """Return the packet as it was, key and headers included, with one more attempt counted.

        Parameters
        ----------
        topic
            Where to send it; None: where it came from.
        """
        headers = tuple(header for header in self.headers if header[0] != ATTEMPTS)
        return OutMessage(
            topic or self.topic,
            self.key,
            self.packet,
            (*headers, (ATTEMPTS, str(self.attempts + 1).encode())),
        )


def read_dead_letter(message: Message) -> DeadLetter:
    """Read a message of the dead-letter topic; a header that is absent or odd costs nothing but itself."""
    pairs = header_pairs(message.headers())
    facts = {name: value.decode("utf-8", "replace") for name, value in pairs}
    headers = tuple(
        (name.removeprefix(_ORIGINAL), value) for name, value in pairs if name.startswith(_ORIGINAL)
    )
    packet = message.value() or b""
    size = _number(facts.get("orig.size"), len(packet))
    return DeadLetter(
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        died_at=datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC),
        reason=facts.get("error.reason", "unknown"),
        detail=facts.get("error.detail", ""),
        stage=facts.get("error.stage", ""),
        topic=facts.get("orig.topic", ""),
        topic_partition=_number(facts.get("orig.partition"), -1),
        topic_offset=_number(facts.get("orig.offset"), -1),
        size_bytes=size,
        sha256=facts.get("orig.sha256", ""),
        is_whole=len(packet) == size,
        key=message.key(),
        packet=packet,
        headers=headers,
        attempts=_number(dict(headers).get(ATTEMPTS, b"").decode("ascii", "replace"), 0),
    )


def header_pairs(headers: object) -> list[tuple[str, bytes]]:
    """Return headers as librdkafka gives them: a list, or nothing; a value may be absent."""
    if not isinstance(headers, Iterable):
        return []
    return [(str(name), bytes(value or b"")) for name, value in headers]


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.lstrip("-").isdecimal() else otherwise
