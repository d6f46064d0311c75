"""The agent: it reads batches, has them classified, publishes the outcomes, and acknowledges.

At least once: offsets are committed only after the broker has confirmed every output of a packet. On an
infrastructure error the process ends with a non-zero status and its supervisor starts it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import KafkaError
from faust.types import EventT

from cempstream.processors.outcome import Outcome
from cempstream.streams.kafka.credentials import CredentialsWatch
from cempstream.streams.kafka.dead_letters import without_packet
from cempstream.streams.kafka.messages import OutMessage, PacketOrigin
from cempstream.streams.kafka.outputs import MessageWriter, refuse_unknown_tenses
from cempstream.streams.kafka.publisher import DeliveryFailed, Publisher
from cempstream.streams.scoring.pipeline import ModelBroken, Pipeline
from cempstream.streams.settings import BatchSettings
from cempstream.streams.telemetry import notices
from cempstream.streams.telemetry.watchdog import Watchdog
from cempstream.streams.worker.accounts import Accounts
from cempstream.streams.worker.batches import EventBatch, EventBatches
from cempstream.streams.worker.heart import Heart
from cempstream.streams.worker.progress import Progress
from cempstream.streams.worker.shadow import Shadow


@dataclass(frozen=True, slots=True, eq=False)
class Processed:
    """A scored batch, ready to be published."""

    outcomes: list[Outcome]
    origins: list[PacketOrigin]
    messages: list[OutMessage]


@dataclass(slots=True, eq=False)
class Agent:
    """What stands between the broker and the pipeline.

    Attributes
    ----------
    settings
        How packets are gathered, and how many batches are under way.
    shadow
        Scores every batch once more, after its delivery; None where none is asked for.
    bundles
        What is served, as ``name/version``.
    """

    settings: BatchSettings
    pipeline: Pipeline
    writer: MessageWriter
    publisher: Publisher
    accounts: Accounts
    progress: Progress
    heart: Heart
    watchdog: Watchdog
    credentials: CredentialsWatch
    shadow: Shadow | None
    bundles: tuple[str, ...]
    _slots: asyncio.Semaphore = field(init=False)
    _is_publishing: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.settings.concurrent)

    async def run(self, stream: Any) -> None:
        """Consume until the app stops."""
        batches = EventBatches(
            stream,
            size=self.settings.size,
            within_s=self.settings.within_s,
            max_in_flight=self.settings.max_in_flight,
        )
        # Before the first packet: Faust's timers begin only after the first assignment.
        alive = asyncio.create_task(self.watchdog.run(self.progress.stall_s))
        async with self.publisher, batches as ready:
            self._is_publishing = True
            if self.shadow is not None:
                self.shadow.start(asyncio.get_running_loop())
            try:
                async for batch in ready:
                    await self.progress.wait_while_held()
                    handled = asyncio.ensure_future(self._handle(batch))
                    batch.ack_when(handled)
                    if self.progress.is_held:  # a probe: nothing more is let through until it is judged
                        await asyncio.wait([handled])
            except ModelBroken as error:  # the process ends, and its supervisor would not log why
                notices.model_broken(str(error))
                raise
            finally:
                alive.cancel()
                if self.shadow is not None:
                    self.shadow.stop()
                self._is_publishing = False
                tally = self.accounts.tally
                notices.stopped(self.bundles, tally.n_scored, tally.n_dead_letters, tally.n_alerts)

    async def _handle(self, batch: EventBatch) -> None:
        """Classify a batch, off the event loop, and return when its messages are delivered.

        Batches overlap: while one waits for the broker, or works outside the networks, another uses the
        core.
        """
        ingested_at = datetime.now(UTC)
        async with self._slots:
            self.accounts.count_batch(batch.reason.value, batch.queue_wait_s)
            processed = await asyncio.to_thread(self._process, batch.events, ingested_at)
        await self._deliver(processed)
        if self.shadow is not None:
            packets = [event.value or b"" for event in batch.events]
            self.shadow.offer(packets, processed.origins, ingested_at)

    def _process(self, events: Sequence[EventT[bytes]], ingested_at: datetime) -> Processed:
        """Classify packets and write their messages; runs in a thread, off the event loop."""
        packets = [event.value or b"" for event in events]
        origins = [_origin(event) for event in events]
        outcomes = refuse_unknown_tenses(packets, self.pipeline.classify_packets(packets), origins)
        messages = self.writer.write(outcomes, origins, ingested_at, datetime.now(UTC))
        return Processed(outcomes, origins, messages)

    async def _deliver(self, processed: Processed) -> None:
        """Publish a batch's messages and book it once they are delivered.

        A dead letter that is too large for its topic is sent without its packet, so that no packet is large
        enough to stop the stream.
        """
        letters = [message for message in processed.messages if message.topic == self.writer.topics.dlq]
        others = [message for message in processed.messages if message.topic != self.writer.topics.dlq]
        await self.publisher.publish(others, self.progress.move)
        try:
            await self.publisher.publish(letters, self.progress.move)
        except DeliveryFailed as failed:
            if failed.error.code() != KafkaError.MSG_SIZE_TOO_LARGE:
                raise
            await self.publisher.publish([without_packet(letter, str(failed)) for letter in letters])
        self.accounts.book(processed.outcomes, processed.origins, datetime.now(UTC))
        self.progress.deliver(processed.origins)

    async def beat(self) -> None:
        """Send a heartbeat, once the publisher runs."""
        if self._is_publishing:
            await self.heart.beat(self.progress.pulse, self.accounts.tally)


def _origin(event: EventT[bytes]) -> PacketOrigin:
    message = event.message
    headers = message.headers or []
    pairs = list(headers.items()) if isinstance(headers, Mapping) else headers
    return PacketOrigin(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=round((message.timestamp or 0) * 1000),
        key=message.key,
        headers=tuple((str(name), bytes(value or b"")) for name, value in pairs),
    )
