"""Dead letters, written and read: what a packet was, where it came from and why it was refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

from confluent_kafka import Message

from cempstream.processors.outcome import Rejected
from cempstream.processors.spectrum import Reason
from cempstream.streams.kafka.messages import Headers, OutMessage, PacketOrigin, header_pairs
from cempstream.streams.settings import LimitSettings

#: Header of a packet that counts how often it was sent again.
ATTEMPTS = "requeue.attempts"

#: Headers of a dead letter: why it was refused, and the digest of the packet.
REASON = "error.reason"
_DETAIL = "error.detail"
_WHOLE = "orig.is_whole"
SHA256 = "orig.sha256"

_ORIGINAL = "orig.header."
_CUT = "orig.cut"
_DETAIL_CHARS = 500

#: How much of a packet's key, and of its headers with their names, a dead letter keeps, in bytes. Most take
#: a few hundred; a gateway that writes megabytes there must not make its dead letters undeliverable.
_MOST_OF_KEY = 1024
_MOST_OF_HEADERS = 16 * 1024


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
        Where the packet came from, with its partition and offset there; empty if unknown.
    size_bytes
        Of the packet; `packet` may hold only its head.
    is_whole
        Whether `packet`, `key` and `headers` are all of it.
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
    headers: Headers
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
            Where to send it; None means where it came from.
        """
        headers = tuple(header for header in self.headers if header[0] != ATTEMPTS)
        return OutMessage(
            topic or self.topic,
            self.key,
            self.packet,
            (*headers, (ATTEMPTS, str(self.attempts + 1).encode())),
        )


def write_dead_letter(
    rejected: Rejected, origin: PacketOrigin, topic: str, limits: LimitSettings
) -> OutMessage:
    """Return the dead-letter message of a refused packet.

    Parameters
    ----------
    topic
        The dead-letter topic.
    limits
        How much of the packet is kept.
    """
    packet = rejected.packet
    is_kept = len(packet) <= limits.max_packet_bytes
    key, headers, cut = _bounded(origin)
    is_whole = is_kept and not cut
    facts: Mapping[str, str] = {
        REASON: rejected.reason.value,
        _DETAIL: rejected.detail[:_DETAIL_CHARS],
        "error.stage": "pipeline",
        "orig.topic": origin.topic,
        "orig.partition": str(origin.partition),
        "orig.offset": str(origin.offset),
        "orig.timestamp": str(origin.timestamp_ms),
        "orig.size": str(len(packet)),
        SHA256: sha256(packet).hexdigest(),
        _WHOLE: str(is_whole).lower(),
        **({_CUT: cut} if cut else {}),
    }
    return OutMessage(
        topic,
        key,
        packet if is_kept else packet[: limits.dead_letter_head_bytes],
        (
            *((name, value.encode()) for name, value in facts.items()),
            *((f"{_ORIGINAL}{name}", value) for name, value in headers),
        ),
    )


def without_packet(letter: OutMessage, why: str) -> OutMessage:
    """Return a dead letter without its packet, for a broker that refuses its size: origin and digest stay.

    The packet can be read at its origin for as long as that topic keeps it.
    """
    told = dict(letter.headers)
    told[_DETAIL] = f"{Reason.UNDELIVERABLE}: {why}; before: ".encode() + told[_DETAIL]
    told |= {REASON: Reason.UNDELIVERABLE.value.encode(), _WHOLE: b"false", _CUT: b"packet and headers"}
    facts = tuple((name, value) for name, value in told.items() if not name.startswith(_ORIGINAL))
    return OutMessage(letter.topic, letter.key, b"", facts)


def _bounded(origin: PacketOrigin) -> tuple[bytes | None, Headers, str]:
    """Return the key and headers that are kept, and a text that says what was cut; empty if nothing was."""
    cut = []
    key = origin.key
    if key is not None and len(key) > _MOST_OF_KEY:
        cut.append(f"key of {len(key)} bytes")
        key = key[:_MOST_OF_KEY]
    kept: list[tuple[str, bytes]] = []
    room = _MOST_OF_HEADERS
    for name, value in origin.headers:
        size = len(_ORIGINAL) + len(name.encode()) + len(value)
        if size <= room:
            kept.append((name, value))
            room -= size
    if len(kept) < len(origin.headers):
        n_cut, n_all = len(origin.headers) - len(kept), len(origin.headers)
        n_bytes = sum(len(name.encode()) + len(value) for name, value in origin.headers)
        cut.append(f"{n_cut} of {n_all} headers, {n_bytes} bytes in all")
    return key, tuple(kept), "; ".join(cut)


def read_dead_letter(message: Message) -> DeadLetter:
    """Read a message of the dead-letter topic; a missing or malformed header affects only its own field."""
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
        reason=facts.get(REASON, "unknown"),
        detail=facts.get(_DETAIL, ""),
        stage=facts.get("error.stage", ""),
        topic=facts.get("orig.topic", ""),
        topic_partition=_number(facts.get("orig.partition"), -1),
        topic_offset=_number(facts.get("orig.offset"), -1),
        size_bytes=size,
        sha256=facts.get(SHA256, ""),
        is_whole=len(packet) == size and not facts.get(_CUT),
        key=message.key(),
        packet=packet,
        headers=headers,
        attempts=_number(dict(headers).get(ATTEMPTS, b"").decode("ascii", "replace"), 0),
    )


def original_header(headers: Headers, name: str) -> bytes | None:
    """Return a header of the original packet from its dead letter's headers; None if it had none."""
    return dict(headers).get(f"{_ORIGINAL}{name}")


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.lstrip("-").isdecimal() else otherwise
