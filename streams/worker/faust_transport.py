"""Faust's aiokafka transport with fixes for packets of tens of kilobytes.

Each method fixes one fault of faust-streaming 0.15.3 and says what it cost, measured with LAMOST packets of
31 KB on two cores. Delete a method when Faust has fixed its fault.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

from aiokafka.client import ConnectionGroup  # type: ignore[import-untyped] # published without types
from aiokafka.errors import (  # type: ignore[import-untyped] # published without types
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from confluent_kafka import KafkaException
from faust.transport.drivers import aiokafka
from faust.types import TP
from faust.types.transports import ConsumerT
from mode.services import WaitResults

from cempstream.streams.kafka.gaps import Committed, Extent, ask_committed, find_gap
from cempstream.streams.kafka.places import Place, StreamError, name_places
from cempstream.streams.kafka.trail import Trail, find_cuts
from cempstream.streams.settings import KafkaSettings
from cempstream.streams.worker.batch_guard import guard_batches
from cempstream.streams.worker.trails import Trails

logger = logging.getLogger(__name__)

_FETCH_MAX_WAIT_S = 0.05
_FULL_BUFFER_RETRY_S = 0.01

#: What is under way in a partition has this long to be delivered before reading starts anew there.
_DRAIN_S = 30.0
_DRAIN_LOOK_S = 0.05

#: A broker that does not answer whether a log is the one that was read does not hold up the reading longer.
_CHECK_S = 20.0
_PLACE_S = 4.0


async def commit_all(consumer: ConsumerT) -> None:
    """Commit what has been acknowledged by now.

    `commit` may only wait for an earlier commit, and then returns False; so it is called once more.
    """
    if not await consumer.commit():
        await consumer.commit()


class ConsumerThread(aiokafka.AIOKafkaConsumerThread):
    """The thread that fetches from the broker.

    Attributes
    ----------
    texts
        The offsets to be committed next, with what goes with them; Faust leaves no room for it.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.texts: dict[TP, tuple[int, str]] = {}

    def _create_worker_consumer(self, transport: Any) -> Any:
        """Ask the broker to answer an empty fetch soon; with Faust it waits 1.5 s.

        Apache Kafka answers when something arrives, but the embedded broker looks only after half that
        time: at 100/s it added 0.4 s (median) and 0.8 s (p99), with 0.1 s it added 0.04 s and 0.06 s.
        """
        guard_batches()
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = round(_FETCH_MAX_WAIT_S * 1000)
        commit = consumer.commit

        async def commit_with_trails(offsets: Mapping[Any, Any]) -> None:
            await commit({tp: self._with_trail(tp, place) for tp, place in offsets.items()})

        consumer.commit = commit_with_trails
        return consumer

    def _with_trail(self, tp: Any, place: Any) -> Any:
        """Add to a commit what goes with it, where that was written for this offset."""
        offset, text = self.texts.get(TP(*tp), (-1, ""))
        return place._replace(metadata=text) if offset == place.offset else place

    async def on_thread_stop(self) -> None:
        """End in order also when the broker is gone.

        aiokafka cancels the fetches that wait for a retry and does not catch their cancellation; the thread
        would end with a traceback, and Faust would wait for it forever.
        """
        with suppress(asyncio.CancelledError):
            await super().on_thread_stop()


class Consumer(aiokafka.Consumer):
    """Passes fetched messages to the streams, and commits.

    A stream that takes nothing for a while must not keep messages from the others. Faust would wait until a
    full queue has room, with everything that it fetched in the same answer in hand. So what a stream that is
    held has no room for is left out, to be fetched again.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._held: dict[str, Any] = {}
        self._left_out: dict[TP, int] = {}
        self._without_room: set[TP] = set()
        self._trails = Trails()
        self._checked: dict[TP, Any] = {}
        self._n_revoked = 0

    def hold(self, topic: str, queue: Any) -> None:
        """Leave out what does not fit into the queue of a topic's stream, which takes nothing for a while."""
        self._held[topic] = queue

    def release(self, topic: str) -> None:
        """Wait again for room in the queue of a topic's stream."""
        self._held.pop(topic, None)

    def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        """Yield what is fetched, round the topics; where there are several, without what has no room."""
        fetched = super().getmany(timeout)
        return fetched if len(self.app.agents) < 2 else self._leave_out(fetched)

    async def _leave_out(self, fetched: AsyncIterator[tuple[TP, Any]]) -> AsyncIterator[tuple[TP, Any]]:
        async for tp, message in fetched:
            if tp in self._left_out:
                continue
            queue = self._held.get(tp.topic)
            if queue is not None and queue.qsize() >= queue.pressure_high_size:
                full = TP(*tp)  # the fetched name is aiokafka's, which equals Faust's and is none
                self._left_out[full] = message.offset
                self._without_room.add(full)
                self.on_buffer_full(full)
                continue
            yield tp, message

    async def _make_good(self) -> None:
        """Go back to what was left out, and fetch it as soon as there is room."""
        if self._left_out:
            left_out, self._left_out = self._left_out, {}
            with suppress(IllegalStateError):  # they move: whoever has them next begins at what is committed
                await self.seek_wait(left_out)
        for tp in [*self._without_room]:
            queue = self._held.get(tp.topic)
            if queue is None or queue.qsize() <= queue.pressure_drop_size:
                self._without_room.remove(tp)
                self.on_buffer_drop(tp)

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
        await self._make_good()
        while self._buffered_partitions and not self._active_partitions and not self.should_stop:
            await asyncio.sleep(_FULL_BUFFER_RETRY_S)
            await self._make_good()
        return await super()._wait_next_records(timeout)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        """Fetch, and where the group's place does not exist start where the log is the one that was read.

        aiokafka would start at its first message, but say nothing, and Faust would then drop what lies below
        its old place.
        """
        try:
            fetched = dict(await super()._getmany(active_partitions, timeout))
        except NoOffsetForPartitionError as error:
            positions: dict[Any, int | None] = {error.args[0]: None}
        except OffsetOutOfRangeError as error:
            positions = error.args[0]
        else:
            await self._check(active_partitions or (), fetched)
            for tp, records in fetched.items():
                self._trails.read(tp, records[-1])
            return fetched
        for place, position in positions.items():
            with suppress(KafkaError):  # the broker does not answer: the next fetch says it again
                tp = TP(*place)
                await self._start_anew(tp, position, (await self._find_cuts([tp])).get(tp))
        return {}

    async def _check(self, active_partitions: Iterable[TP], fetched: dict[Any, Any]) -> None:
        """Over a new connection, see whether the logs are those that were read, before anything is passed on.

        Only where a leader has changed or begun anew can a log have been cut. What is fetched already is left
        out, and fetched again.
        """
        if self._kafka is None or not self.flow_active:
            return
        connections = {tp: self._connection(tp) for tp in active_partitions}
        new = [tp for tp, one in connections.items() if one is not None and one is not self._checked.get(tp)]
        if not new:
            return
        n_revoked = self._n_revoked
        places = {}
        for tp in new:
            records = fetched.pop(tp, None)
            places[tp] = records[0].offset if records else await self._place(tp)
        known = {tp: place for tp, place in places.items() if place is not None}
        cuts = await self._find_cuts(known)
        if n_revoked != self._n_revoked or not self.flow_active:
            return  # they move: whoever has them next begins at what is committed
        with suppress(IllegalStateError, KafkaError):
            await self.seek_wait(known)
            for tp, place in known.items():
                if tp not in cuts or await self._start_anew(tp, place, cuts[tp]):
                    self._checked[tp] = connections[tp]

    async def _place(self, tp: TP) -> int | None:
        """Return from where a partition is fetched next; None where the thread that fetches does not say."""
        with suppress(TimeoutError, IllegalStateError):
            async with asyncio.timeout(_PLACE_S):
                return await self.position(tp)
        return None

    async def _find_cuts(self, tps: Iterable[TP]) -> dict[TP, int]:
        """Return the partitions whose log is not the one that was read, as far as the broker answers."""
        places, n_revoked = [*tps], self._n_revoked
        if self._kafka is None or not places:
            return {}
        new = [tp for tp in places if tp not in self._trails]
        committed: dict[Any, Committed] = {}
        try:
            async with asyncio.timeout(_CHECK_S):
                if new:
                    committed = await asyncio.to_thread(ask_committed, self._kafka, new)
                if n_revoked != self._n_revoked:
                    return {}
                for tp in new:
                    self._trails.begin(tp, committed[tp].trail if tp in committed else Trail())
                trails: dict[Place, Trail] = {tp: self._trails.until_now(tp) for tp in places}
                cuts = await asyncio.to_thread(find_cuts, self._kafka, trails)
        except (TimeoutError, StreamError, KafkaException) as error:
            of = name_places(places)
            logger.warning("whether the log of %s is the one that was read is not known: %s", of, error)
            for tp in new if n_revoked == self._n_revoked else ():
                self._trails.begin(tp, Trail())  # what is read from now on is known again
            return {}
        return {TP(*place): offset for place, offset in cuts.items()}

    async def _start_anew(self, tp: TP, position: int | None, in_common: int | None) -> bool:
        """Go to where the log is the one that was read, and say whether that is done.

        Where nothing tells up to where it is, all that the log holds is read again. Acknowledgements of old
        messages must not pass for new ones, so those are delivered first.

        Raises
        ------
        TimeoutError
            They are not delivered in time; the process ends, and its next life starts with none under way.
        """
        extent = Extent((await self.earliest_offsets(tp))[tp], (await self.highwaters(tp))[tp])
        gap = None if position is None else find_gap(tp, position, extent, in_common)
        if position is not None and gap is None:
            return True
        async with asyncio.timeout(_DRAIN_S):
            while any(message.tp == tp for message in self.unacked):
                await asyncio.sleep(_DRAIN_LOOK_S)
        start = extent.first if gap is None else gap.goes_on_at
        if gap is not None:
            await commit_all(self)  # one that has begun must not come after ours
            for known in (self._acked, self._acked_index, self._gap):
                known.pop(tp, None)
            self._trails.go_back(tp, start)
            if not await self._commit({tp: start}):
                return False
            self._committed_offset[tp] = start or None
        await self.seek_wait({tp: start})
        on_gap = self.app.on_gap  # type: ignore[attr-defined] # the app is ours
        if gap is not None and on_gap is not None:
            await on_gap(gap)
        return True

    def ack(self, message: Any) -> bool:
        """Note a message as acknowledged."""
        is_new: bool = super().ack(message)
        if is_new:
            self._trails.acknowledge(message)
        return is_new

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit, and with each offset the marks of what was read before it."""
        thread: Any = self._thread
        thread.texts |= {tp: (offset, self._trails.commit(tp, offset)) for tp, offset in offsets.items()}
        return await super()._commit(offsets)

    @property
    def _kafka(self) -> KafkaSettings | None:
        kafka: KafkaSettings | None = self.app.kafka  # type: ignore[attr-defined] # the app is ours
        return kafka

    def _connection(self, tp: TP) -> Any:
        """Return the connection to the broker that leads a partition; None where there is none."""
        thread: Any = self._thread
        client = thread._consumer._client
        connection = client._conns.get((client.cluster.leader_for_partition(tp), ConnectionGroup.DEFAULT))
        return connection if connection is not None and connection.connected() else None

    async def perform_seek(self) -> None:
        """Go to the group's places, and tell the app of it before anything is read."""
        await super().perform_seek()
        on_assigned = self.app.on_assigned  # type: ignore[attr-defined] # the app is ours
        if on_assigned is not None:
            await on_assigned(self)

    async def read_again(self, partitions: Collection[TP]) -> bool:
        """Move the group to the first message that partitions hold, and read from there.

        For `on_assigned`: later there may be acknowledgements under way. False where they have moved away.
        """
        first = await self.earliest_offsets(*partitions)
        for tp, offset in first.items():
            self._trails.go_back(tp, offset)
        if not await self._commit(first):
            return False
        for tp, offset in first.items():
            self._committed_offset[tp] = offset or None
        await self.seek_wait(first)
        return True

    def is_connected(self) -> bool:
        """Whether there is a connection to each broker that leads one of our partitions."""
        return all(self._connection(tp) is not None for tp in self.assignment())

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit before partitions move; Faust loses what was acknowledged since the last commit."""
        await commit_all(self)
        self._n_revoked += 1
        self._checked.clear()
        self._trails.forget()
        self._left_out.clear()  # Faust begins every partition at what is committed
        self._without_room.clear()
        await super().on_partitions_revoked(revoked)

    async def on_stop(self) -> None:
        """Commit everything; Faust commits nothing at its end while a periodic commit is running."""
        await commit_all(self)
        await super().on_stop()


class Transport(aiokafka.Transport):
    """Faust's aiokafka transport with the consumer above."""

    Consumer = Consumer
