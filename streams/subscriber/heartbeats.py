"""Whether whoever fills the stream is alive: its heartbeats, read beside the alerts.

A stream without candidates and a stream without workers look alike to a subscriber. A worker says once a
second that it lives; so does the process that follows stars. Each reads certain topics; where none of those
that read the same topics is heard any more, no alert of theirs will come.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from cempstream.plain import shown
from cempstream.schemas.heartbeat import Heartbeat, WorkerState, decode_heartbeat
from cempstream.schemas.packets import PacketError
from cempstream.streams.kafka.places import NoAnswer, StreamError, place_of
from cempstream.streams.subscriber.ending import POLL_S, close_within
from cempstream.streams.subscriber.start import starting_points

logger = logging.getLogger(__name__)

HEARTBEAT_TOPIC = "cemp.heartbeat.v1"

#: A heart beats once a second; one that is not heard for so long is taken for dead.
SILENT_S = 3.5

#: After so long a process that was killed is no longer waited for.
_FORGET_S = 3600.0

#: How far back to look for who has been alive.
_LAST_MESSAGES = 200

_ANSWER_TIMEOUT_S = 20.0
_CLOSE_PATIENCE_S = 5.0

#: What some processes read: those with the same topics share the work.
Topics: TypeAlias = tuple[str, ...]


class Life(StrEnum):
    """How it stands with the processes that read some topics."""

    ALIVE = "alive"
    PAUSED = "paused"
    SILENT = "silent"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Sign:
    """How it stands, and how many seconds ago the last of them was heard."""

    life: Life
    age_s: float


@dataclass(frozen=True, slots=True)
class _Heard:
    topics: Topics
    state: WorkerState
    at_s: float


class Roll:
    """Who was heard, and when; times are seconds of any clock that only goes forward."""

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}

    def hear(self, heartbeat: Heartbeat, at_s: float) -> None:
        """Note a heartbeat; one that is older than what was heard of the same process changes nothing."""
        before = self._heard.get(heartbeat.worker_id)
        if before is None or at_s >= before.at_s:
            self._heard[heartbeat.worker_id] = _Heard(heartbeat.topics, heartbeat.state, at_s)

    def judge(self, now_s: float) -> dict[Topics, Sign]:
        """Say how it stands, by the topics that are read; an hour after the others one is forgotten."""
        newest_s = max((one.at_s for one in self._heard.values()), default=now_s)
        members: dict[Topics, list[_Heard]] = {}
        for one in self._heard.values():
            if one.at_s >= newest_s - _FORGET_S:
                members.setdefault(one.topics, []).append(one)
        return {topics: _judge(of_topics, now_s) for topics, of_topics in members.items()}

    def age_s(self, now_s: float) -> float | None:
        """Return the age of the last heartbeat, of those topics where it is oldest; None if there was none.

        Processes that have stopped count only where all have.
        """
        signs = self.judge(now_s).values()
        running = [sign.age_s for sign in signs if sign.life is not Life.STOPPED]
        return max(running, default=min((sign.age_s for sign in signs), default=None))


def _judge(members: list[_Heard], now_s: float) -> Sign:
    last = max(members, key=lambda one: one.at_s)
    age_s = now_s - last.at_s
    here = [one.state for one in members if one.state != "stopping" and now_s - one.at_s <= SILENT_S]
    if here:
        return Sign(Life.PAUSED if all(state == "paused" for state in here) else Life.ALIVE, age_s)
    return Sign(Life.STOPPED if last.state == "stopping" else Life.SILENT, age_s)


class HeartbeatWatch:
    """Follow the heartbeats in a separate thread, from the last ones that the topic holds.

    Parameters
    ----------
    config
        The subscriber's configuration of librdkafka.
    topic
        Topic of heartbeats.
    on_change
        Is told in one line when a stream falls silent, stops, pauses or is alive again, and when heartbeats
        cannot be read; called in the thread.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        topic: str = HEARTBEAT_TOPIC,
        on_change: Callable[[str], object] | None = None,
    ) -> None:
        self._topic = topic
        self._on_change = on_change or (lambda line: None)
        self._config = {**config, "group.id": "cempstream-heartbeats", "enable.auto.commit": False}
        self._roll = Roll()
        self._lock = threading.Lock()
        self._problem: KafkaError | None = None
        self._refusal: StreamError | None = None
        self._has_caught_up = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeats", daemon=True)

    def start(self) -> None:
        """Begin to follow; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Stop following."""
        self._ending.set()
        self._thread.join(_CLOSE_PATIENCE_S)

    def age_s(self) -> float | None:
        """Return how many seconds ago the last heartbeat was sent, as `Roll.age_s`.

        Raises
        ------
        StreamError
            The broker does not answer, has no such topic, or forbids reading it.
        """
        if not self._has_caught_up.wait(_ANSWER_TIMEOUT_S):
            raise NoAnswer(f"heartbeats on {self._topic}", str(self._config["bootstrap.servers"]))
        if self._refusal is not None:
            raise self._refusal
        with self._lock:
            return self._roll.age_s(time.monotonic())

    @property
    def problem(self) -> KafkaError | None:
        """What keeps heartbeats from being heard at the moment, if anything."""
        return self._problem

    def signs(self) -> dict[Topics, Sign] | None:
        """Return how it stands now, by the topics that are read; None before that is known. Never waits.

        Raises
        ------
        StreamError
            As `age_s`, but for a broker that does not answer.
        """
        if not self._has_caught_up.is_set():
            return None
        if self._refusal is not None:
            raise self._refusal
        with self._lock:
            return self._roll.judge(time.monotonic())

    def _run(self) -> None:
        try:
            self._follow()
        except (StreamError, KafkaException) as error:
            self._refusal = error if isinstance(error, StreamError) else StreamError(str(error))
            self._on_change(f"whether a worker is alive is not known: {error}")
        finally:
            self._has_caught_up.set()

    def _follow(self) -> None:
        points = starting_points(self._config, (self._topic,), -_LAST_MESSAGES)
        consumer = Consumer({**self._config, "error_cb": self._note, "log_level": 0})
        try:
            consumer.assign([TopicPartition(*place, offset) for place, offset in points.offsets.items()])
            unread = {place for place, offset in points.offsets.items() if offset < points.ends[place]}
            told = _Told(self._topic, self._on_change, time.monotonic())
            while not self._ending.is_set():
                message = consumer.poll(POLL_S)
                if message is not None and self._is_one(message):
                    place, offset = place_of(message)
                    self._hear(message, is_old=offset < points.ends.get(place, 0))
                    if offset + 1 >= points.ends.get(place, 0):
                        unread.discard(place)
                if not unread:
                    self._has_caught_up.set()
                    with self._lock:
                        signs = self._roll.judge(time.monotonic())
                    told.tell(signs, time.monotonic(), self._problem)
        finally:
            close_within(consumer, _CLOSE_PATIENCE_S)

    def _is_one(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            self._problem = None
        elif error.code() != KafkaError._PARTITION_EOF:
            self._note(error)
        return error is None

    def _hear(self, message: Message, *, is_old: bool) -> None:
        """Note a heartbeat: an old one has the age that the clocks give it, and what comes now is new."""
        try:
            heartbeat = decode_heartbeat(message.value() or b"")
        except PacketError as problem:
            logger.debug("not a heartbeat: %s", problem)
            return
        ago_s = max(0.0, time.time() - message.timestamp()[1] / 1000) if is_old else 0.0
        with self._lock:
            self._roll.hear(heartbeat, time.monotonic() - ago_s)

    def _note(self, error: KafkaError) -> None:
        self._problem = error


class _Told:
    """Tell each change once."""

    def __init__(self, topic: str, on_change: Callable[[str], object], began_s: float) -> None:
        self._topic = topic
        self._on_change = on_change
        self._began_s = began_s
        self._lives: dict[Topics, Life] = {}
        self._has_missed_all = False

    def tell(self, signs: Mapping[Topics, Sign], now_s: float, problem: KafkaError | None) -> None:
        if not signs and not self._has_missed_all and now_s - self._began_s > SILENT_S:
            self._has_missed_all = True
            self._on_change(f"no worker was ever heard on {self._topic}: alerts may never come")
        for topics, sign in signs.items():
            before = self._lives.get(topics, Life.SILENT if self._has_missed_all else Life.ALIVE)
            if sign.life is not before:
                self._on_change(describe_sign(topics, sign, problem))
            self._lives[topics] = sign.life


def describe_sign(
    topics: Topics, sign: Sign, problem: KafkaError | None = None, *, with_age: bool = True
) -> str:
    """Say in one line how it stands with the processes that read some topics.

    Parameters
    ----------
    problem
        What keeps us from hearing them, if anything.
    with_age
        Whether to say for how long one was not heard, which is another text every time.
    """
    who = f"the worker of {', '.join(map(shown, topics))}" if topics else "the worker"
    match sign.life:
        case Life.ALIVE:
            return f"{who} is alive"
        case Life.PAUSED:
            return f"{who} is paused: too many of its packets cannot be scored"
        case Life.STOPPED:
            return f"{who} has stopped: no alerts come until it runs again"
    why = f" ({problem.str()})" if problem is not None else ""
    silent = f"has not been heard for {sign.age_s:.1f} s" if with_age else "is silent"
    return f"{who} {silent}{why}: no alerts come until it runs again"
