"""The subscriber's client: alerts from Kafka as typed values.

    with AlertStream("broker:9092", start="2026-11-20T03:00Z", where="p_cemp > 0.95 and snr > 20") as stream:
        for alert in stream:
            point_the_telescope_at(alert.ra, alert.dec)
            alert.ack()

Delivery is at least once: alerts that a named group did not acknowledge come again. A repeat of an
acknowledged alert is recognised by its ``alert_id`` and dropped, also after a restart if ``state`` names a
file.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from cempstream.schemas.alert import Alert
from cempstream.schemas.registry import Kind
from cempstream.streams.kafka.places import (
    HOPELESS,
    NoAnswer,
    Place,
    StreamError,
    ask_places,
    is_about_a_group,
    name_places,
    partitions_of,
    place_of,
)
from cempstream.streams.kafka.schema_registry import take_registry
from cempstream.streams.subscriber.ending import Callbacks, close_within
from cempstream.streams.subscriber.heartbeats import HEARTBEAT_TOPIC, HeartbeatWatch
from cempstream.streams.subscriber.lag import count_unread
from cempstream.streams.subscriber.memory import N_REMEMBERED, AlertMemory
from cempstream.streams.subscriber.newest import Newest
from cempstream.streams.subscriber.partition import Partition
from cempstream.streams.subscriber.sieve import TENSES, AlertSieve, Known, OnError, UndecodableError
from cempstream.streams.subscriber.start import (
    StartingPoints,
    consumer_config,
    registry_config,
    starting_points,
)
from cempstream.streams.times import parse_start, parse_until

logger = logging.getLogger(__name__)

ALERTS_TOPIC = "cemp.alerts.v1"

#: For this long after `until` the broker may still deliver messages sent before it.
_GRACE = timedelta(seconds=2)
_NEW_PARTITIONS_EVERY_S = 60.0
_COMMITTED_TIMEOUT_S = 15.0

#: A warning of the same kind is not repeated sooner.
_WARN_AGAIN_S = 60.0

#: The broker's answer to the last commit is waited for so long; librdkafka would wait a minute.
_CLOSE_PATIENCE_S = 10.0

#: A reader that is to end and hears nothing for so long has no answer; joining a group may take most of it.
#: After 60 s librdkafka itself would say so, in its own words.
_SILENCE_S = 55.0


class AlertStream:
    """Alerts from Kafka, as an iterator and a context manager.

    Parameters
    ----------
    bootstrap
        ``host:port[,host:port…]``.
    topics
        Topics of alerts, Avro or JSON.
    start
        ``"earliest"``, ``"latest"``, a time (ISO 8601 or datetime: what was published since), or ``-100``
        for the last hundred messages. A named group starts there only the first time (with ``-100`` in every
        partition), later after what it has acknowledged.
    until
        A time at which to end, ``"now"`` to end where the topics end, or None to wait forever.
    where
        Filter, for example ``"p_cemp > 0.95 and snr > 20"``.
    group
        Name under which alerts are acknowledged, and shared between its readers. Without one a reader gets
        every alert, and the broker remembers nothing.
    tenses
        Which alerts; injections and tests are left out unless asked for.
    on_error
        ``"raise"`` an `UndecodableError`, or a function that is given each `Undecodable`.
    n_remembered
        How many of the latest alerts are remembered, to recognise repeats.
    state
        File that remembers which alerts were acknowledged, so that repeats are also dropped after a restart;
        created if absent. Readers of one group may share it.
    config
        More of librdkafka's configuration: ``security.protocol``, ``sasl.username`` and so on; and of the
        survey's schema registry, where it has one: ``schema.registry.url``,
        ``schema.registry.basic.auth.user.info`` and so on.
    heartbeats
        Topic where workers say that they live, for `heartbeat_age`.
    known
        Files of known stars, whose matches then stand in the alerts; a `KnownStars` for watchlists, regions
        and another radius.

    Raises
    ------
    ValueError
        `bootstrap`, `start`, `until`, `where`, `config` or `known` cannot be understood.
    StreamError
        Broker, topic or permission is missing; raised when opening and iterating.
    """

    def __init__(
        self,
        bootstrap: str,
        topics: Iterable[str] = (ALERTS_TOPIC,),
        *,
        start: str | int | datetime = "latest",
        until: str | datetime | None = None,
        where: str | None = None,
        group: str | None = None,
        tenses: Iterable[str] = TENSES,
        on_error: OnError = "raise",
        n_remembered: int = N_REMEMBERED,
        state: Path | str | None = None,
        config: Mapping[str, Any] | None = None,
        heartbeats: str = HEARTBEAT_TOPIC,
        known: Known = None,
    ) -> None:
        self.topics = (topics,) if isinstance(topics, str) else tuple(topics)
        self._start = parse_start(start)
        self._until = parse_until(until)
        self._group = group
        self._sieve = AlertSieve(where, tenses, on_error, known)
        self._acknowledged = AlertMemory(state, n_remembered)
        #: Alerts handed out and not acknowledged yet, and where each came from.
        self._handed_out: dict[str, Place] = {}
        #: Without a group or a file nothing keeps an acknowledgement: an alert handed out is done.
        self._is_handing_out_enough = group is None and state is None
        self._config = consumer_config(bootstrap, group, config or {})
        self._registry = registry_config(config or {})
        self._consumer: Consumer | None = None
        self._messages: Iterator[Message] = iter(())
        self._points = StartingPoints({}, {})
        self._partitions: dict[Place, Partition] = {}
        self._has_assignment = False
        self._is_closed = False
        self._problem: KafkaError | None = None
        self._warned_s: dict[int, float] = {}
        self._callbacks = Callbacks()
        self._heartbeat_topic = heartbeats
        self._heartbeats: HeartbeatWatch | None = None

    def open(self) -> None:
        """Connect and find where to start; iterating and ``with`` call this."""
        if self._consumer is not None or self._is_closed:
            return
        if self._registry:
            held = {**dict.fromkeys(self.topics, Kind.ALERT), self._heartbeat_topic: Kind.HEARTBEAT}
            take_registry(self._registry, held, writes=False)
        self._points = starting_points(self._config, self.topics, self._start)
        self._consumer = Consumer(
            {**self._config, "error_cb": self._callbacks.keep(self._note)},
            logger=logging.getLogger("rdkafka"),
        )
        if self._group is None:
            self._assign(self._consumer, [TopicPartition(*at) for at in self._points.offsets])
        else:
            self._consumer.subscribe(
                list(self.topics),
                on_assign=self._callbacks.keep(self._assign),
                on_revoke=self._callbacks.keep(self._forget),
            )
        self._messages = self._read(self._consumer)

    def close(self) -> None:
        """Tell the broker what was acknowledged, and leave; there are no alerts after that.

        A broker that does not answer is not waited for longer than ten seconds. Alerts that were acknowledged
        last may then come again.
        """
        self._is_closed = True
        self._messages = iter(())
        if self._heartbeats is not None:
            self._heartbeats.close()
        consumer, self._consumer = self._consumer, None
        try:
            if consumer is not None and not close_within(consumer, _CLOSE_PATIENCE_S) and self._group:
                at = self._config["bootstrap.servers"]
                logger.warning("no answer from %s: what was acknowledged last may come again", at)
        finally:
            self._handed_out.clear()
            self._acknowledged.close()

    def lag(self) -> int | None:
        """Return how many messages wait that this reader has not taken; None before it was given partitions.

        Raises
        ------
        StreamError
            The broker does not answer.
        """
        self.open()
        if self._consumer is None or not self._has_assignment:
            return None
        read_to = {place: partition.read_to for place, partition in self._partitions.items()}
        return self._count_unread(self._consumer, read_to)

    def heartbeat_age(self) -> float | None:
        """Return how many seconds ago a worker was last heard; None if none ever was.

        A worker says once a second that it lives. Where processes read different topics (workers, and what
        follows stars) the oldest counts; those that have stopped count only if all have.

        Raises
        ------
        StreamError
            The broker does not answer, has no topic of heartbeats, or forbids reading it.
        """
        if self._heartbeats is None:
            self._heartbeats = HeartbeatWatch(self._config, self._heartbeat_topic)
            self._heartbeats.start()
        return self._heartbeats.age_s()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Alert]:
        return self

    def __next__(self) -> Alert:
        self.open()
        for message in self._messages:
            place, offset = place_of(message)
            partition = self._partitions[place]
            partition.next_offset = offset + 1
            try:
                alert = self._sieve.sift(message.value() or b"", *place, offset)
            except UndecodableError:
                self._store(place)
                raise
            if alert is None or self._is_repeat(alert.alert_id):
                self._store(place)
                continue
            if self._is_handing_out_enough:
                self._acknowledged.add(alert.alert_id)
            else:
                self._handed_out[alert.alert_id] = place
                partition.unacknowledged[offset] = None
                alert.on_ack(partial(self._acknowledge, alert.alert_id, place, offset))
            return alert
        raise StopIteration

    def _is_repeat(self, alert_id: str) -> bool:
        """Whether an alert was acknowledged, or is handed out now from a partition that we still have.

        One that was handed out before its partition was taken from us is no repeat: it comes again because it
        was not acknowledged.
        """
        return alert_id in self._acknowledged or alert_id in self._handed_out

    def _acknowledge(self, alert_id: str, place: Place, offset: int) -> None:
        if self._is_closed:  # what the broker is not told must not be remembered either
            return
        self._acknowledged.add(alert_id)
        self._handed_out.pop(alert_id, None)
        if place in self._partitions:  # else another reader of the group has it now
            self._partitions[place].unacknowledged.pop(offset, None)
            self._store(place)

    def _store(self, place: Place) -> None:
        """Let librdkafka commit, within a second, how far this partition is acknowledged."""
        resume_at = self._partitions[place].resume_at
        if self._group is None or self._consumer is None or resume_at is None:
            return
        try:
            self._consumer.store_offsets(offsets=[TopicPartition(*place, resume_at)])
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:  # it has just been taken from us
                raise

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Start every partition at what the group acknowledged, or else at the starting point."""
        points = self._points
        committed = ask_places(consumer, partitions, _COMMITTED_TIMEOUT_S) if self._group else []
        known = {(part.topic, part.partition): part.offset for part in committed if part.offset >= 0}
        starts = []
        for part in partitions:
            place = (part.topic, part.partition)
            # A partition created after we started is read from its first message.
            start = known.get(place, points.offsets.get(place, OFFSET_BEGINNING))
            starts.append(TopicPartition(*place, start))
            not_before_ms = 0 if place in known or place not in points.offsets else points.not_before_ms
            self._partitions[place] = Partition(not_before_ms, start)
        consumer.assign(starts)
        self._has_assignment = True

    def _forget(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        lost = {(part.topic, part.partition) for part in partitions}
        for place in lost:
            self._partitions.pop(place, None)
        self._handed_out = {
            alert_id: place for alert_id, place in self._handed_out.items() if place not in lost
        }

    def _read(self, consumer: Consumer) -> Iterator[Message]:
        """Yield the messages within the range asked for, then end."""
        if isinstance(self._start, int) and self._group is None:
            yield from self._last_messages(consumer, -self._start)
        looked_at_s = time.monotonic()
        waited_s = 0.0
        while not self._is_over(consumer):
            polled_at_s = time.monotonic()
            message = self._callbacks.poll(consumer)
            # Only the waiting here counts: whoever reads may take minutes over an alert.
            waited_s = 0.0 if message is not None else waited_s + time.monotonic() - polled_at_s
            if waited_s > _SILENCE_S and self._has_passed():
                raise self._no_answer()
            if message is not None and self._is_wanted(consumer, message):
                yield message
            if self._problem is not None:
                raise StreamError(f"{self._config['bootstrap.servers']}: {self._problem.str()}")
            if self._group is None and time.monotonic() - looked_at_s > _NEW_PARTITIONS_EVERY_S:
                self._take_new_partitions(consumer)
                looked_at_s = time.monotonic()

    def _last_messages(self, consumer: Consumer, n_last: int) -> Iterator[Message]:
        """Yield the newest `n_last` of all partitions in the order of their times, then newer ones."""
        newest = Newest(self._points, n_last)
        heard_at_s = time.monotonic()
        while not newest.is_complete:  # without a pause: nothing is handed out meanwhile
            message = self._callbacks.poll(consumer)
            if message is not None:
                heard_at_s = time.monotonic()
            elif time.monotonic() - heard_at_s > _SILENCE_S:
                raise self._no_answer()
            if self._problem is not None:
                raise StreamError(f"{self._config['bootstrap.servers']}: {self._problem.str()}")
            if message is not None and self._is_wanted(consumer, message):
                newest.take(message)
        yield from newest

    def _no_answer(self) -> NoAnswer:
        waiting = [place for place, partition in self._partitions.items() if not partition.is_at_end]
        about = name_places(waiting or self._partitions) if self._partitions else "the group's partitions"
        return NoAnswer(about, str(self._config["bootstrap.servers"]), f"silent for {_SILENCE_S:g} s")

    def _is_wanted(self, consumer: Consumer, message: Message) -> bool:
        """Note errors and ends of partitions; say whether this is a message within the range."""
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            self._note(error)
            return False
        partition = self._partitions.get(place_of(message)[0])
        if partition is None or partition.is_over:
            return False
        partition.is_at_end = error is not None
        if error is not None:
            return False
        time_ms = message.timestamp()[1]
        if isinstance(self._until, datetime) and time_ms >= self._until.timestamp() * 1000:
            partition.is_over = True
            consumer.pause([TopicPartition(*place_of(message)[0])])
            return False
        return time_ms >= partition.not_before_ms

    def _is_over(self, consumer: Consumer) -> bool:
        if self._until is None or not self._has_assignment:
            return False
        has_passed = self._has_passed()
        for partition in self._partitions.values():
            partition.is_over |= partition.is_at_end and has_passed
        if not all(partition.is_over for partition in self._partitions.values()):
            return False
        if self._until != "now":  # a partition says once that it has no more, and then nothing: does it live?
            self._count_unread(consumer, dict.fromkeys(self._partitions, 0))
        return True

    def _has_passed(self) -> bool:
        if self._until is None:
            return False
        return self._until == "now" or datetime.now(UTC) > self._until + _GRACE

    def _count_unread(self, consumer: Consumer, read_to: Mapping[Place, int]) -> int:
        try:
            return sum(count_unread(consumer, read_to).values())
        except NoAnswer as error:
            raise error.at(str(self._config["bootstrap.servers"])) from error

    def _take_new_partitions(self, consumer: Consumer) -> None:
        try:
            places = partitions_of(consumer, self.topics)
        except StreamError as error:  # the broker is not reachable; it is asked again
            logger.warning("%s", error)
            return
        new = [place for place in places if place not in self._partitions]
        for place in new:
            self._partitions[place] = Partition()
        if new:
            consumer.incremental_assign([TopicPartition(*place, OFFSET_BEGINNING) for place in new])

    def _note(self, error: KafkaError) -> None:
        """Keep an error that waiting does not fix; after the others librdkafka reconnects by itself."""
        if self._group is None and is_about_a_group(error):
            return
        if error.fatal() or error.code() in HOPELESS:
            self._problem = error
        elif time.monotonic() - self._warned_s.get(error.code(), -inf) > _WARN_AGAIN_S:
            self._warned_s[error.code()] = time.monotonic()  # it tries to connect many times a second
            logger.warning("%s", error.str())
