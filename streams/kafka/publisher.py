"""Publishing: a batch of messages is delivered completely, or the caller gets an error.

It uses confluent-kafka: Faust's ``topic.send`` costs two thirds of a worker's rate when awaited per message.
Here a delivery report costs one decrement; only the last of a batch wakes the event loop.
"""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from cempstream.errors import FixableError
from cempstream.streams.kafka.messages import OutMessage

logger = logging.getLogger(__name__)

_POLL_S = 0.1
"""The poll thread wakes by itself on a delivery report; this bounds how long `stop` waits for it."""

_QUEUE_FULL_RETRY_S = 0.005

_STATISTICS_MS = 1000

_BY_KEY = -1


class DeliveryFailed(FixableError, RuntimeError):
    """The broker did not confirm every message of a batch.

    Attributes
    ----------
    topic
        Where the first message that failed was going.
    error
        librdkafka's error for it.
    n_failed, n_messages
        How many of the batch failed, and its size.
    """

    def __init__(self, topic: str, error: KafkaError, n_failed: int, n_messages: int) -> None:
        super().__init__(
            f"{n_failed} of {n_messages} messages not delivered, the first to {topic!r}: "
            f"{error.str()} ({error.name()})"
        )
        self.topic = topic
        self.error = error
        self.n_failed = n_failed
        self.n_messages = n_messages


class _Batch:
    """Count down a batch's delivery reports and resolve one future for all of them."""

    def __init__(
        self, n_messages: int, loop: asyncio.AbstractEventLoop, on_delivery: Callable[[], object] | None
    ) -> None:
        self.delivered: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._on_delivery = on_delivery
        self._n_messages = n_messages
        self._n_left = n_messages
        self._n_failed = 0
        self._first_failure: tuple[str, KafkaError] | None = None
        self._lock = threading.Lock()  # reports come in the poll thread, refusals in the event loop's

    def report(self, error: KafkaError | None, message: Message) -> None:
        """Take one delivery report; called by librdkafka."""
        if error is None:
            if self._on_delivery is not None:
                self._on_delivery()
            self._count(1)
        else:
            self.fail(message.topic() or "", error, 1)

    def fail(self, topic: str, error: KafkaError, n_messages: int) -> None:
        """Count `n_messages` as failed."""
        with self._lock:
            self._n_failed += n_messages
            self._first_failure = self._first_failure or (topic, error)
        self._count(n_messages)

    def _count(self, n_messages: int) -> None:
        with self._lock:
            self._n_left -= n_messages
            is_last = self._n_left == 0
        if is_last and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._resolve)

    def _resolve(self) -> None:
        if self.delivered.done():  # the caller was cancelled
            return
        if self._first_failure is None:
            self.delivered.set_result(None)
        else:
            topic, error = self._first_failure
            self.delivered.set_exception(DeliveryFailed(topic, error, self._n_failed, self._n_messages))


class Publisher:
    """An idempotent producer (``acks=all``) for asyncio.

    Use it as an async context manager, or call `start` and `stop`.

    Parameters
    ----------
    bootstrap
        ``host:port[,host:port…]``.
    linger_s
        How long a message may wait for others to be sent in the same request.
    compression
        ``none``, ``lz4`` or ``zstd``. Float arrays hardly compress.
    max_message_bytes
        Largest message, key and headers included, before compression. A dead letter is larger than its
        packet, so this exceeds the input's limit.
    batch_bytes
        Size from which a request is sent. A large one may take a slow line longer than a request may take;
        of many small ones librdkafka sends five and then turns in circles until the brokers, which it keeps
        from the processor, have confirmed one (its issues 2565 and 3692).
    max_queue_bytes, max_queue_messages
        How much may be queued here; `publish` waits when the queue is full.
    delivery_timeout_s
        After how long an unconfirmed message counts as failed. It should outlast a broker's restart.
    client_config
        Further librdkafka properties (security and the like); they override the above.
    on_retries
        Called from a thread with the number of requests that were sent again since the last call.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        linger_s: float = 0.002,
        compression: str = "lz4",
        max_message_bytes: int = 6 * 1024 * 1024,
        batch_bytes: int = 256 * 1024,
        max_queue_bytes: int = 64 * 1024 * 1024,
        max_queue_messages: int = 20_000,
        delivery_timeout_s: float = 30.0,
        client_config: Mapping[str, str | int | float | bool] | None = None,
        on_retries: Callable[[int], None] | None = None,
    ) -> None:
        self._config: dict[str, object] = {
            "bootstrap.servers": bootstrap,
            "client.id": "cempstream",
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": linger_s * 1000,
            "compression.type": compression,
            "message.max.bytes": max_message_bytes,
            "queue.buffering.max.kbytes": max_queue_bytes // 1024,
            "queue.buffering.max.messages": max_queue_messages,
            "batch.size": batch_bytes,
            "message.timeout.ms": round(delivery_timeout_s * 1000),
            # a key goes to the same partition as with the Java client and aiokafka
            "partitioner": "murmur2_random",
            **(client_config or {}),
        }
        self._on_retries = on_retries
        self._n_retries = 0
        if on_retries is not None:
            self._config |= {"statistics.interval.ms": _STATISTICS_MS, "stats_cb": self._read_statistics}
        self._producer: Producer | None = None
        self._poller: threading.Thread | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        """Create the producer and the thread that collects its delivery reports."""
        self._producer = Producer(self._config, logger=logging.getLogger("rdkafka"))
        self._stopping.clear()
        self._poller = threading.Thread(
            target=self._poll, args=(self._producer,), name="publisher-poll", daemon=True
        )
        self._poller.start()

    async def publish(
        self, messages: Sequence[OutMessage], on_delivery: Callable[[], object] | None = None
    ) -> None:
        """Hand over the messages and return when the broker has confirmed every one.

        Calls may overlap. ``on_delivery`` is called from a thread for each message that is confirmed.

        Raises
        ------
        DeliveryFailed
            At least one message was refused, or not confirmed in time. The others may have arrived.
        """
        if not messages:
            return
        producer = self._started()
        batch = _Batch(len(messages), asyncio.get_running_loop(), on_delivery)
        for i_message, message in enumerate(messages):
            try:
                await _produce(producer, message, batch)
            except KafkaException as refused:  # too large, or the producer has met a fatal error
                batch.fail(message.topic, refused.args[0], len(messages) - i_message)
                break
        await batch.delivered

    async def stop(self, timeout_s: float = 10.0) -> None:
        """Wait for the messages in flight, then end; those left after `timeout_s` fail."""
        producer, self._producer = self._producer, None
        if producer is None or self._poller is None:
            return
        self._stopping.set()
        await asyncio.to_thread(self._poller.join)
        n_left = await asyncio.to_thread(producer.flush, timeout_s)
        if n_left:
            logger.warning("%d messages were not delivered within %g s of the end", n_left, timeout_s)
            producer.purge()
            await asyncio.to_thread(producer.flush, 1.0)

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _started(self) -> Producer:
        if self._producer is None:
            raise RuntimeError("the publisher is not running: call start() or use it in an async with block")
        return self._producer

    def _read_statistics(self, statistics: str) -> None:
        """Read librdkafka's statistics; they count from the producer's creation."""
        n_retries = sum(broker["txretries"] for broker in json.loads(statistics)["brokers"].values())
        if n_retries > self._n_retries and self._on_retries is not None:
            self._on_retries(n_retries - self._n_retries)
        self._n_retries = n_retries

    def _poll(self, producer: Producer) -> None:
        while not self._stopping.is_set():
            producer.poll(_POLL_S)


async def _produce(producer: Producer, message: OutMessage, batch: _Batch) -> None:
    """Queue one message in librdkafka, waiting while its queue is full."""
    while True:
        try:
            producer.produce(
                message.topic,
                value=message.value,
                key=message.key,
                headers=list(message.headers),
                partition=_BY_KEY if message.partition is None else message.partition,
                on_delivery=batch.report,
            )
        except BufferError:
            await asyncio.sleep(_QUEUE_FULL_RETRY_S)
        else:
            return
