"""Read every outcome as it is published, and report of each exposure whether it is complete.

There is one reader for all partitions and workers, because an exposure's spectra are spread over them by
star. It joins no group and commits nothing. After a restart it reads some hours back, and learns from its own
topic what it reported before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import get_args

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from cempstream.processors.identity import stated_version
from cempstream.schemas.exposure import (
    Exposure,
    ExposureOfPacket,
    ExposureStatus,
    decode_exposure,
    encode_exposure,
    peek_exposure,
)
from cempstream.schemas.packets import PacketError, unpack
from cempstream.schemas.registry import Kind
from cempstream.streams.kafka.dead_letters import original_header
from cempstream.streams.kafka.messages import OutMessage, header_pairs
from cempstream.streams.kafka.places import NoAnswer, Place, is_about_a_group, name_places, partitions_of
from cempstream.streams.kafka.publisher import Publisher
from cempstream.streams.kafka.topic_reader import at_time, open_consumer, read_topic
from cempstream.streams.operations.exposure_book import ExposureBook, ExposureKey, Seen, Step
from cempstream.streams.settings import KafkaSettings, TopicSettings
from cempstream.streams.telemetry import notices
from cempstream.streams.telemetry.metrics import (
    LATENCY_BUCKETS_S,
    SURVEY_LABELS,
    log_lines_dropped,
    survey_label,
)

logger = logging.getLogger(__name__)

_CHUNK = 500
_POLL_S = 0.25
_ANSWER_S = 5.0
_NEW_PARTITIONS_EVERY_S = 30.0

#: A watch that has asked the broker nothing for this long hangs.
STALL_S = 60.0


class ExposureMetrics:
    """The Prometheus metrics of exposures, in their own registry."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        self.exposures = Counter(
            "cemp_exposures", "Exposures reported, by how.", ["survey", "status"], registry=registry
        )
        self.missing = Counter(
            "cemp_exposure_missing_spectra",
            "Spectra without an outcome in exposures reported as incomplete.",
            ["survey"],
            registry=registry,
        )
        self.latency = Histogram(
            "cemp_exposure_latency_seconds",
            "From an exposure's first reduction to its last outcome, of complete ones.",
            ["survey"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.open = Gauge("cemp_exposures_open", "Exposures that wait for spectra.", registry=registry)
        self.oldest = Gauge(
            "cemp_exposure_oldest_open_seconds",
            "Since when nothing was added to the open exposure that waits longest.",
            registry=registry,
        )
        self.log_lines_dropped = log_lines_dropped(registry)
        self.unattributed = Counter(
            "cemp_exposure_unattributed",
            "Outcomes of which nothing tells the exposure.",
            ["kind"],
            registry=registry,
        )

        # To Prometheus a counter that appears with its first count has not increased; it would miss a fault.
        for survey in SURVEY_LABELS:
            self.missing.labels(survey)
            for status in get_args(ExposureStatus):
                self.exposures.labels(survey, status)

    def count(self, event: Exposure) -> None:
        """Count an event that has been delivered."""
        survey = survey_label(event.survey)
        self.exposures.labels(survey, event.status).inc()
        if event.status == "incomplete":
            self.missing.labels(survey).inc(event.n_missing)
        elif event.latency_seconds is not None and event.latency_seconds >= 0:
            self.latency.labels(survey).observe(event.latency_seconds)


class ExposureWatch:
    """Watch the exposures of a stream.

    Parameters
    ----------
    timeout_s, book
        See `ExposureBook`.
    lookback_s
        How far back to read at the start: longer than any exposure takes.
    reads_spectra
        Whether to read what the survey sends, too: only so an exposure is known of which nothing was scored.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topics: TopicSettings,
        *,
        timeout_s: float,
        lookback_s: float,
        reads_spectra: bool = True,
    ) -> None:
        self._kafka = kafka
        self._topics = topics
        self._read = (topics.scores, topics.dlq, *(topics.spectra if reads_spectra else ()))
        self._lookback = timedelta(seconds=lookback_s)
        self.book = ExposureBook(timeout_s, knows_sent=reads_spectra)
        self.metrics = ExposureMetrics()
        self.publisher = Publisher(kafka.bootstrap, client_config=kafka.client_config())
        self._behind: set[tuple[str, int]] = set()
        self._known: set[tuple[str, int]] = set()
        self._has_caught_up = False
        self._no_answer: str | None = None
        self._ends: dict[Place, int] = {}
        self._moved_at_s = time.monotonic()

    def is_live(self) -> str | None:
        """Say what is wrong; None while it reads."""
        idle_s = time.monotonic() - self._moved_at_s
        return f"nothing was asked of the broker for {idle_s:.0f} s" if idle_s > STALL_S else None

    def is_ready(self) -> str | None:
        """Say why no exposure can be called incomplete yet; None once it can."""
        if not self._has_caught_up:
            return "still reading what was published before the start"
        return self._no_answer

    async def run(self, ending: asyncio.Event) -> None:
        """Watch until `ending` is set.

        Raises
        ------
        KafkaException, DeliveryFailed, NoAnswer, NoSuchTopic
            The broker is gone or refuses; the supervisor starts the process again.
        """
        since = datetime.now(UTC) - self._lookback
        await asyncio.to_thread(self._remember, since)
        async with self.publisher:
            with open_consumer(self._kafka) as consumer:
                await asyncio.to_thread(self._assign, consumer, since)
                looked_at_s = time.monotonic()
                while not ending.is_set():
                    messages = await asyncio.to_thread(consumer.consume, _CHUNK, _POLL_S)
                    self._moved_at_s = time.monotonic()
                    await self._handle(messages, consumer)
                    if self._moved_at_s - looked_at_s > _NEW_PARTITIONS_EVERY_S:
                        await asyncio.to_thread(self._take_new_partitions, consumer)
                        looked_at_s = self._moved_at_s

    async def _handle(self, messages: Sequence[Message], consumer: Consumer) -> None:
        now = datetime.now(UTC)
        events = [event for seen in self._outcomes(messages) for event in self.book.take(seen, now)]
        if self._has_caught_up and self.book.has_overdue(now):
            self._no_answer = await asyncio.to_thread(self._find_silence, consumer)
            if self._no_answer is None:
                events += self.book.overdue(now)
        if events:
            await self.publisher.publish([self._message(event) for event in events])
        for event in events:
            self.metrics.count(event)
            if event.status == "incomplete":
                n_seen = event.n_expected - event.n_missing
                notices.exposure_incomplete(
                    event.survey, event.exposure_id, n_seen, event.n_expected, event.n_received
                )
        self.metrics.open.set(self.book.n_open)
        self.metrics.oldest.set(self.book.oldest_s(now))

    def _outcomes(self, messages: Sequence[Message]) -> Iterator[Seen]:
        for message in messages:
            error = message.error()
            if error is None:
                seen = self._step(message)
                if seen is not None:
                    yield seen
            elif error.code() == KafkaError._PARTITION_EOF:
                self._behind.discard((message.topic() or "", message.partition() or 0))
                self._has_caught_up |= not self._behind
            elif not is_about_a_group(error):
                raise KafkaException(error)

    def _step(self, message: Message) -> Seen | None:
        if message.topic() == self._topics.scores:
            return self._read_score(message)
        if message.topic() == self._topics.dlq:
            return self._read_dead_letter(message)
        return self._read_spectrum(message)

    def _read_score(self, message: Message) -> Seen | None:
        try:
            # Not `decode_score`: its checks take three times as long, and a worker wrote this packet.
            record = unpack(Kind.SCORE, message.value() or b"")
        except PacketError as problem:
            logger.error("a score cannot be read: %s", problem)
            self.metrics.unattributed.labels("score").inc()
            return None
        if record["tense"] != "current" or not record.get("exposure_size"):
            return None
        return Seen(
            ExposureKey(record["survey"], record["exposure_id"], stated_version(record["reduction_version"])),
            record["exposure_size"],
            record["spectrum_id"],
            Step.SCORED,
            record["published_at"],
            is_alert=record["decision"]["is_candidate"],
            reduced_at=record["reduced_at"],
        )

    def _read_dead_letter(self, message: Message) -> Seen | None:
        tense = original_header(header_pairs(message.headers()), "tense")
        if not _is_tonights([] if tense is None else [tense]):
            return None
        packet = peek_exposure(message.value() or b"")
        if packet is None:
            self.metrics.unattributed.labels("dead_letter").inc()
            return None
        return _seen(packet, Step.DEAD, message)

    def _read_spectrum(self, message: Message) -> Seen | None:
        tenses = [value for name, value in header_pairs(message.headers()) if name == "tense"]
        packet = peek_exposure(message.value() or b"") if _is_tonights(tenses) else None
        # Of a packet that does not say its exposure, the dead letter will be counted.
        return None if packet is None else _seen(packet, Step.SENT, message)

    def _message(self, event: Exposure) -> OutMessage:
        headers = (("survey", event.survey.encode()), ("status", event.status.encode()))
        key = f"{event.survey}/{event.exposure_id}".encode()
        return OutMessage(self._topics.exposures, key, encode_exposure(event), headers)

    def _remember(self, since: datetime) -> None:
        """Learn what was reported before; a long topic must not look like a hang."""
        for event in read_exposures(self._kafka, self._topics.exposures, since):
            self.book.remember(event)
            self._moved_at_s = time.monotonic()

    def _partitions(self, consumer: Consumer) -> set[Place]:
        return set(partitions_of(consumer, self._read))

    def _assign(self, consumer: Consumer, since: datetime) -> None:
        self._known = self._partitions(consumer)
        self._behind = set(self._known)
        starts = [TopicPartition(*place) for place in sorted(self._known)]
        consumer.assign(at_time(consumer, starts, round(since.timestamp() * 1000)))

    def _find_silence(self, consumer: Consumer) -> str | None:
        """Say which partition may hold outcomes that we were not given; None where there is none.

        A partition that brings nothing and one whose broker is away look alike: so before an exposure is
        called incomplete each is asked where it ends.
        """
        for place in sorted(self._known - self._ends.keys()):
            self._moved_at_s = time.monotonic()
            try:
                _, end = consumer.get_watermark_offsets(TopicPartition(*place), timeout=_ANSWER_S)
            except KafkaException as error:
                return str(NoAnswer(f"the end of {name_places([place])}", reason=error.args[0].str()))
            self._ends[place] = end
        for place, end in self._ends.items():
            if end > consumer.get_watermark_offsets(TopicPartition(*place), cached=True)[1]:
                return f"{name_places([place])} has not been read to its end"
        self._ends.clear()
        return None

    def _take_new_partitions(self, consumer: Consumer) -> None:
        new = self._partitions(consumer) - self._known
        self._known |= new
        if new:
            consumer.incremental_assign([TopicPartition(*place, OFFSET_BEGINNING) for place in sorted(new)])


def _is_tonights(tenses: Iterable[bytes]) -> bool:
    """Say whether a packet with these headers ``tense`` is tonight's, as the worker reads them."""
    return {tense.strip().lower() for tense in tenses} <= {b"current"}


def _seen(packet: ExposureOfPacket, step: Step, message: Message) -> Seen | None:
    """Return a step of a packet that belongs to an exposure of known size."""
    if not packet.exposure_size:
        return None
    _, sent_ms = message.timestamp()
    return Seen(
        ExposureKey(packet.survey, packet.exposure_id, stated_version(packet.reduction_version)),
        packet.exposure_size,
        packet.spectrum_id,
        step,
        # A producer may state no time; then the exposure has waited since we saw this.
        datetime.fromtimestamp(sent_ms / 1000, UTC) if sent_ms > 0 else datetime.now(UTC),
    )


def read_exposures(kafka: KafkaSettings, topic: str, since: datetime | None) -> Iterator[Exposure]:
    """Yield a topic's events about exposures; what cannot be read is logged."""
    for message in read_topic(kafka, topic, since=since):
        try:
            yield decode_exposure(message.value() or b"")
        except PacketError as problem:
            logger.error("an event about an exposure cannot be read: %s", problem)
