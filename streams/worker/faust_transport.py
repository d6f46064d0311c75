"""Faust's aiokafka transport with fixes for packets of tens of kilobytes.

Each method fixes one fault of faust-streaming 0.15.3 and says what it cost, measured with LAMOST packets of
31 KB on two cores. Delete a method when Faust has fixed its fault.
"""

import asyncio
from contextlib import suppress
from typing import Any

from faust.transport.drivers import aiokafka
from faust.types import TP
from faust.types.transports import ConsumerT
from mode.services import WaitResults

from cempstream.streams.worker.batch_guard import guard_batches

_FETCH_MAX_WAIT_S = 0.05
_FULL_BUFFER_RETRY_S = 0.01


async def commit_all(consumer: ConsumerT) -> None:
    """Commit what has been acknowledged by now.

    `commit` may only wait for an earlier commit, and then returns False; so it is called once more.
    """
    if not await consumer.commit():
        await consumer.commit()


class ConsumerThread(aiokafka.AIOKafkaConsumerThread):
    """The thread that fetches from the broker."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        """Ask the broker to answer an empty fetch soon; with Faust it waits 1.5 s.

        Apache Kafka answers when something arrives, but the embedded broker looks only after half that
        time: at 100/s it added 0.4 s (median) and 0.8 s (p99), with 0.1 s it added 0.04 s and 0.06 s.
        """
        guard_batches()
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = round(_FETCH_MAX_WAIT_S * 1000)
        return consumer

    async def on_thread_stop(self) -> None:
        """End in order also when the broker is gone.

        aiokafka cancels the fetches that wait for a retry and does not catch their cancellation; the thread
        would end with a traceback, and Faust would wait for it forever.
        """
        with suppress(asyncio.CancelledError):
            await super().on_thread_stop()


class Consumer(aiokafka.Consumer):
    """Passes fetched messages to the streams, and commits."""

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def wait_first(self, *waits: Any, timeout: Any = None) -> WaitResults:
        """Deliver a message at once if nothing stands in its way.

        Faust makes four tasks per message (delivery, suspended flow, stop, crash) and waits for the first.
        This takes half of the event loop's time, and a delivery nearly always ends at once.
        """
        delivery = waits[0]
        if len(waits) != 2 or timeout is not None or not asyncio.iscoroutine(delivery):
            return await super().wait_first(*waits, timeout=timeout)
        task = asyncio.ensure_future(delivery)
        await asyncio.sleep(0)
        if not task.done():
            return await super().wait_first(task, *waits[1:])
        for other in waits[1:]:
            other.close()
        return WaitResults([delivery], [task.result()], self.should_stop)

    async def _wait_next_records(self, timeout: float) -> Any:
        """Continue to fetch as soon as a full buffer has room.

        When every partition's buffer is full Faust sleeps for a second: with 60 ms per batch of 64
        (1,066/s) a buffer of 512 messages gave 664/s, one of 256 gave 510/s.
        """
        while self._buffered_partitions and not self._active_partitions and not self.should_stop:
            await asyncio.sleep(_FULL_BUFFER_RETRY_S)
        return await super()._wait_next_records(timeout)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit before partitions move; Faust loses what was acknowledged since the last commit."""
        await commit_all(self)
        await super().on_partitions_revoked(revoked)

    async def on_stop(self) -> None:
        """Commit everything; Faust commits nothing at its end while a periodic commit is running."""
        await commit_all(self)
        await super().on_stop()


class Transport(aiokafka.Transport):
    """Faust's aiokafka transport with the consumer above."""

    Consumer = Consumer
