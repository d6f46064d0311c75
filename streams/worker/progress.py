"""The worker's progress: which partitions it has, how much waits there, and whether the stream moves."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from faust.types import TP

from cempstream.schemas.heartbeat import WorkerState
from cempstream.streams.kafka.gaps import Gap, GapReason
from cempstream.streams.kafka.messages import PacketOrigin
from cempstream.streams.telemetry import notices
from cempstream.streams.telemetry.metrics import Metrics
from cempstream.streams.worker.breaker import Breakers
from cempstream.streams.worker.heart import Pulse
from cempstream.streams.worker.kept import KeptTimes
from cempstream.streams.worker.lag import LagMeter
from cempstream.streams.worker.waiting import WaitingTime

#: A consumer that has messages waiting and takes none for this long has silently stopped.
STALL_S = 75.0

#: An output may wait so long for a slow line: what ends the wait sooner is that nothing moves at all.
DELIVERY_TIMEOUT_S = 300.0

#: How often a worker looks at itself.
WATCH_INTERVAL_S = 1.0


class Progress:
    """Follow what the worker has read and what waits.

    Parameters
    ----------
    lag
        Measures how much waits.
    kept
        Asks how long messages are kept.
    breakers
        While a topic's is open, taking nothing from it is intended.
    """

    def __init__(self, lag: LagMeter, kept: KeptTimes, breakers: Breakers, metrics: Metrics) -> None:
        self._lag = lag
        self._kept = kept
        self._breakers = breakers
        self._metrics = metrics
        self._waiting = WaitingTime()
        self._assignment: frozenset[TP] = frozenset()
        self._n_waiting: Counter[str] = Counter()
        self._waited_s = 0.0
        now_s = time.monotonic()
        self._moved_at_s = dict.fromkeys(breakers.topics, now_s)

    @property
    def has_partitions(self) -> bool:
        """Whether the broker has given this worker something to read."""
        return bool(self._assignment)

    @property
    def stall_s(self) -> float:
        """For how long nothing may move while something waits."""
        return STALL_S

    @property
    def held(self) -> list[str]:
        """The topics of which the breaker lets nothing through but probes."""
        return [topic for topic in self._breakers.topics if self.is_topic_held(topic)]

    def is_topic_held(self, topic: str) -> bool:
        """Whether the breaker lets nothing of a topic through but probes."""
        return self._breakers[topic].is_open

    @property
    def is_held(self) -> bool:
        """Whether nothing but probes is let through from any topic that this worker has partitions of."""
        topics = {tp.topic for tp in self._assignment} or self._breakers.topics
        return all(self.is_topic_held(topic) for topic in topics)

    @property
    def pulse(self) -> Pulse:
        """What a heartbeat says about the stream now."""
        if not self.has_partitions:
            return Pulse(self._state, None, None)
        return Pulse(self._state, self._n_waiting.total(), self._waited_s)

    @property
    def _state(self) -> WorkerState:
        if self.is_held:
            return "paused"
        return "running" if self.has_partitions else "starting"

    def is_live(self) -> str | None:
        """Say what is wrong with the stream, None where it moves or has nothing to do."""
        for topic, n_waiting in self._n_waiting.items():
            idle_s = time.monotonic() - self._moved_at_s[topic]
            if n_waiting and not self.is_topic_held(topic) and idle_s > STALL_S:
                return f"messages wait in {topic} and none was taken for {idle_s:.0f} s"
        return None

    def is_ready(self) -> str | None:
        """Say why the worker does not consume, None where it does."""
        if self.is_held:
            return f"the breaker is open: too many dead letters of {', '.join(self.held)}"
        return None if self.has_partitions else "no partitions are assigned yet"

    def deliver(self, origins: Iterable[PacketOrigin]) -> None:
        """Note that the outcomes of these packets are delivered."""
        for origin in origins:
            self._waiting.deliver((origin.topic, origin.partition), origin.timestamp_ms / 1000)
            self.move(origin.topic)

    def move(self, topic: str) -> None:
        """Note that something of a topic was delivered, be it part of a batch; for any thread."""
        self._moved_at_s[topic] = time.monotonic()

    async def skip(self, gap: Gap) -> None:
        """Count and say what the broker no longer holds, and between which times it was sent, where known."""
        topic, partition = gap.place
        self._metrics.skipped.labels(topic, gap.reason.value).inc(gap.n_offsets)
        sent_after, sent_before = None, None
        if gap.reason is GapReason.RETENTION:
            last_s = self._waiting.last_delivered_s(gap.place)
            sent_after = None if last_s is None else datetime.fromtimestamp(last_s, UTC)
            sent_before = await self._kept.ask_when_sent(gap.place, gap.goes_on_at)
        notices.offsets_skipped(
            str(gap),
            gap.reason.value,
            topic,
            partition,
            gap.offsets,
            goes_on_at=gap.goes_on_at,
            sent=(sent_after, sent_before),
        )

    def watch(self, consumer: Any) -> None:
        """See what is assigned and how much waits."""
        assignment = frozenset(consumer.assignment())
        if assignment != self._assignment:
            notices.partitions_changed(self._assignment - assignment, assignment - self._assignment)
            self._assignment = assignment
            self._waiting.forget()
            self._metrics.forget_partitions()
        self._metrics.ready.set(self.is_ready() is None)
        lags = self._lag.measure(consumer)
        self._waited_s = 0.0
        for partition, lag in lags.items():
            labels = (partition.topic, str(partition.partition))
            waited_s = self._waiting.measure(tuple(partition), lag, time.time())
            self._waited_s = max(self._waited_s, waited_s)
            self._metrics.lag_messages.labels(*labels).set(lag)
            self._metrics.lag_seconds.labels(*labels).set(waited_s)
        n_waiting: Counter[str] = Counter()
        for partition, lag in lags.items():
            n_waiting[partition.topic] += lag
        self._n_waiting = n_waiting  # whole: other threads read it
        for topic in self._breakers.topics:
            if not self._n_waiting[topic]:
                self._moved_at_s[topic] = time.monotonic()

    async def ask(self, consumer: Any) -> None:
        """Ask the broker where the partitions end, which `watch` uses, and how long it keeps messages."""
        await self._lag.ask(consumer)
        for topic, kept_s in (await self._kept.ask_retention({tp.topic for tp in self._assignment})).items():
            self._metrics.retention.labels(topic).set(kept_s)

    async def wait_while_held(self, topic: str) -> None:
        """Wait until a topic's breaker is closed or due for a probe."""
        while (wait_s := self._breakers[topic].wait_s(time.monotonic())) > 0:
            self._metrics.ready.set(self.is_ready() is None)
            await asyncio.sleep(min(wait_s, 0.5))
