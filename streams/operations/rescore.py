"""A recorded night scored again: the packets of a topic between two times, with one bundle or two.

Results keep their ``record_id``, are marked as archival and go to the scores and to the topic of archival
alerts, never to a live alert topic. A packet that cannot be scored was a dead letter that night, so it is
only counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice

from confluent_kafka import Message

from cempstream.processors.outcome import Classification, Outcome
from cempstream.processors.spectrum import BadSpectrum
from cempstream.schemas.stamp import Tense
from cempstream.streams.kafka.messages import PacketOrigin, header_pairs
from cempstream.streams.kafka.outputs import MessageWriter
from cempstream.streams.kafka.publisher import Publisher
from cempstream.streams.operations.compare import Comparer
from cempstream.streams.scoring.pipeline import Pipeline

_PLANTED = ("injection", "test")


@dataclass(frozen=True, slots=True, eq=False)
class RecordedPacket:
    """A recorded packet and its place."""

    value: bytes = field(repr=False)
    origin: PacketOrigin


@dataclass(slots=True)
class Again:
    """Counts of what became of a night's packets.

    Attributes
    ----------
    n_planted
        Injections and tests of that night; they are not stars and are left out.
    """

    n_scored: int = 0
    n_candidates: int = 0
    n_planted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    @property
    def n_read(self) -> int:
        """Packets that were scored or rejected."""
        return self.n_scored + self.rejected.total()

    def count(self, outcomes: Iterable[Outcome]) -> None:
        """Count the outcomes of a batch."""
        for outcome in outcomes:
            if isinstance(outcome, Classification):
                self.n_scored += 1
                self.n_candidates += outcome.decision.is_candidate
            else:
                self.rejected[outcome.reason.value] += 1


def recorded_packets(messages: Iterable[Message], again: Again) -> Iterator[RecordedPacket]:
    """Yield the night's own packets; injections and tests are counted and left out."""
    for message in messages:
        origin = _origin(message)
        try:
            is_planted = origin.tense in _PLANTED
        except BadSpectrum as bad:  # it was a dead letter that night
            again.rejected[bad.reason.value] += 1
            continue
        if is_planted:
            again.n_planted += 1
        else:
            yield RecordedPacket(message.value() or b"", origin)


async def publish_again(
    packets: Iterator[RecordedPacket],
    pipeline: Pipeline,
    writer: MessageWriter,
    publisher: Publisher,
    again: Again,
    *,
    tense: Tense,
    batch_size: int,
) -> None:
    """Score packets batch by batch and publish the results, marked with a tense.

    Raises
    ------
    DeliveryFailed
        The broker did not take every message.
    ModelBroken
        The models fail on good spectra.
    """
    async with publisher:
        while batch := list(islice(packets, batch_size)):
            ingested_at = datetime.now(UTC)
            outcomes = pipeline.classify_packets([packet.value for packet in batch])
            again.count(outcomes)
            scored = [
                (outcome, _marked(packet.origin, tense))
                for packet, outcome in zip(batch, outcomes, strict=True)
                if isinstance(outcome, Classification)
            ]
            messages = writer.write(
                [outcome for outcome, _ in scored],
                [origin for _, origin in scored],
                ingested_at,
                datetime.now(UTC),
            )
            await publisher.publish(messages)


def compare_again(
    packets: Iterator[RecordedPacket],
    old: Pipeline,
    new: Pipeline,
    comparer: Comparer,
    again: Again,
    *,
    batch_size: int,
) -> None:
    """Score packets with both bundles and compare; `again` counts the new one's results; publish nothing."""
    while batch := list(islice(packets, batch_size)):
        values = [packet.value for packet in batch]
        before, after = old.classify_packets(values), new.classify_packets(values)
        again.count(after)
        for one, other in zip(before, after, strict=True):
            comparer.add(one, other)


def _marked(origin: PacketOrigin, tense: Tense) -> PacketOrigin:
    headers = tuple(header for header in origin.headers if header[0] != "tense")
    return replace(origin, headers=(*headers, ("tense", tense.encode())))


def _origin(message: Message) -> PacketOrigin:
    return PacketOrigin(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp_ms=message.timestamp()[1],
        key=message.key(),
        headers=header_pairs(message.headers()),
    )
