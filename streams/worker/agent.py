"""The agent: it reads batches, has them classified, publishes the outcomes, and acknowledges.

At least once: offsets are committed only after the broker has confirmed every output of a packet. On an
infrastructure error the process ends with a non-zero status and its supervisor starts it again.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from confluent_kafka import KafkaError
from faust.types import EventT

from cempstream.processors.outcome import Outcome
from cempstream.streams.kafka.credentials import CredentialsRefused, CredentialsRenewed, CredentialsWatch
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
from cempstream.streams.worker.faust_transport import Consumer
from cempstream.streams.worker.heart import Heart
from cempstream.streams.worker.progress import Progress
from cempstream.streams.worker.shadow import Shadow

#: The last heartbeat of a process waits so long for the broker.
_FAREWELL_S = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Processed:
    """A scored batch, ready to be published."""

    outcomes: list[Outcome]
    origins: list[PacketOrigin]
    messages: list[OutMessage]


@dataclass(slots=True, eq=False)
class Agent(ABC):
    """What stands between the broker and the work: it takes batches, and acknowledges what is handled.

    Attributes
    ----------
    settings
        How packets are gathered, and how many batches are under way.
    bundles
        What is served, as ``name/version``.
    """

    settings: BatchSettings
    publisher: Publisher
    accounts: Accounts
    progress: Progress
    heart: Heart
    watchdog: Watchdog
    credentials: CredentialsWatch
    bundles: tuple[str, ...]
    _watches: list[asyncio.Task[None]] = field(default_factory=list, init=False)
    _n_running: int = field(default=0, init=False)

    @abstractmethod
    async def handle(self, batch: EventBatch) -> None:
        """Do the work of a batch, and return when its messages are delivered."""

    async def run(self, topic: str, stream: Any) -> None:
        """Consume a topic until the app stops; topics are read at the same time, each by itself."""
        batches = EventBatches(
            stream,
            size=self.settings.size,
            within_s=self.settings.within_s,
            max_in_flight=self.settings.max_in_flight,
        )
        consumer: Consumer = stream.app.consumer
        async with self._running(stream.app), batches as ready:
            try:
                async for batch in ready:
                    if not self.progress.is_topic_held(topic):
                        consumer.release(topic)
                        batch.ack_when(self.handle(batch))
                        continue
                    consumer.hold(topic, stream.channel.queue)
                    ready.hold(batch)
                    await self.progress.wait_while_held(topic)
                    probe = asyncio.ensure_future(self.handle(batch))
                    batch.ack_when(probe)
                    await asyncio.wait([probe])  # nothing more is let through until it is judged
            except ModelBroken as error:  # the process ends, and its supervisor would not log why
                notices.model_broken(str(error))
                raise

    @asynccontextmanager
    async def _running(self, app: Any) -> AsyncIterator[None]:
        """Have all that the topics share running while at least one of them is consumed."""
        self._n_running += 1
        try:
            if self._n_running == 1:
                self._start(app)
            yield
        finally:
            self._n_running -= 1
            if self._n_running == 0:
                await self._stop()

    def _start(self, app: Any) -> None:
        # Before the first packet: Faust's timers begin only after the first assignment.
        watches = self.watchdog.run(self.progress.stall_s), self._watch_credentials(app)
        self._watches = [asyncio.create_task(watch) for watch in watches]
        self.publisher.start()

    async def _stop(self) -> None:
        for watch in self._watches:
            watch.cancel()
        tally = self.accounts.tally
        notices.stopped(self.bundles, tally.n_scored, tally.n_dead_letters, tally.n_alerts)
        await self._say_farewell()
        await self.publisher.stop()

    async def _say_farewell(self) -> None:
        """Let subscribers know that the process stops, and has not died; a silent broker holds up no end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                await self.heart.beat(replace(self.progress.pulse, state="stopping"), self.accounts.tally)

    async def _watch_credentials(self, app: Any) -> None:
        consumer: Consumer = app.consumer
        try:
            await self.credentials.watch(lambda: self.heart.is_heard and consumer.is_connected())
        except (CredentialsRefused, CredentialsRenewed) as ended:
            notices.credentials_ended(str(ended))
            await app.crash(ended)

    async def beat(self) -> None:
        """Send a heartbeat, once the publisher runs."""
        if self._n_running:
            await self.heart.beat(self.progress.pulse, self.accounts.tally)

    async def _bury(self, letters: Sequence[OutMessage], move: Callable[[], object]) -> None:
        """Publish dead letters.

        One that is too large for its topic is sent without its packet, so that no packet is large enough to
        stop the stream.
        """
        try:
            await self.publisher.publish(letters, move)
        except DeliveryFailed as failed:
            if failed.error.code() != KafkaError.MSG_SIZE_TOO_LARGE:
                raise
            await self.publisher.publish([without_packet(letter, str(failed)) for letter in letters])


@dataclass(slots=True, eq=False)
class Classifier(Agent):
    """The agent of a worker: its work is the pipeline.

    Attributes
    ----------
    shadow
        Scores every batch once more, after its delivery; None where none is asked for.
    """

    pipeline: Pipeline
    writer: MessageWriter
    shadow: Shadow | None
    _slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.settings.concurrent)

    def _start(self, app: Any) -> None:
        Agent._start(self, app)  # a class with slots is made anew, which `super()` does not know
        if self.shadow is not None:
            self.shadow.start(asyncio.get_running_loop())

    async def _stop(self) -> None:
        if self.shadow is not None:
            self.shadow.stop()
        await Agent._stop(self)

    async def handle(self, batch: EventBatch) -> None:
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
        origins = [origin_of(event) for event in events]
        outcomes = refuse_unknown_tenses(packets, self.pipeline.classify_packets(packets), origins)
        messages = self.writer.write(outcomes, origins, ingested_at, datetime.now(UTC))
        return Processed(outcomes, origins, messages)

    async def _deliver(self, processed: Processed) -> None:
        """Publish a batch's messages and book it once they are delivered."""
        letters = [message for message in processed.messages if message.topic == self.writer.topics.dlq]
        others = [message for message in processed.messages if message.topic != self.writer.topics.dlq]
        move = partial(self.progress.move, processed.origins[0].topic)  # a batch is of one topic
        await self.publisher.publish(others, move)
        await self._bury(letters, move)
        self.accounts.book(processed.outcomes, processed.origins, datetime.now(UTC))
        self.progress.deliver(processed.origins)


def origin_of(event: EventT[bytes]) -> PacketOrigin:
    """Return where an event's packet came from."""
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
