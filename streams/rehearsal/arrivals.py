"""Read a stream's output as it is written, with the time at which each message came."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from confluent_kafka import OFFSET_BEGINNING, KafkaException, Message, TopicPartition

from cempstream.streams.kafka.places import is_about_a_group, partitions_of
from cempstream.streams.kafka.topic_reader import open_consumer
from cempstream.streams.settings import KafkaSettings

_POLL_S = 0.05
_CHUNK = 500
_END_OF_PARTITION = -191


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """One message.

    Attributes
    ----------
    received_at
        UTC, when it was taken from the client.
    """

    topic: str
    value: bytes = field(repr=False)
    headers: Mapping[str, str]
    received_at: datetime


class Arrivals:
    """Collect the messages of some topics in a thread, from their beginning.

    Raises
    ------
    KafkaException
        From `take`: the broker refused or is gone.
    """

    def __init__(self, kafka: KafkaSettings, topics: tuple[str, ...]) -> None:
        self._kafka = kafka
        self._topics = topics
        self._lock = threading.Lock()
        self._new: list[Arrival] = []
        self._counts = dict.fromkeys(topics, 0)
        self._error: KafkaException | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._read, name="arrivals", daemon=True)

    def take(self) -> list[Arrival]:
        """Return the messages that came since the last call."""
        with self._lock:
            if self._error is not None:
                raise self._error
            new, self._new = self._new, []
        return new

    def count(self, *topics: str) -> int:
        """Return how many messages of these topics have come."""
        with self._lock:
            if self._error is not None:
                raise self._error
            return sum(self._counts[topic] for topic in topics)

    def wait_for(self, n_messages: int, topics: tuple[str, ...], timeout_s: float) -> bool:
        """Wait until this many messages have come; False if the time is up first."""
        deadline_s = time.monotonic() + timeout_s
        while self.count(*topics) < n_messages:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.01)
        return True

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()

    def _read(self) -> None:
        try:
            with open_consumer(self._kafka) as consumer:
                consumer.assign(
                    [
                        TopicPartition(*place, OFFSET_BEGINNING)
                        for place in partitions_of(consumer, self._topics)
                    ]
                )
                while not self._ending.is_set():
                    messages = consumer.consume(_CHUNK, timeout=_POLL_S)
                    now = datetime.now(UTC)
                    arrived = []
                    for message in messages:
                        error = message.error()
                        if error is None:
                            arrived.append(
                                Arrival(message.topic() or "", message.value() or b"", _headers(message), now)
                            )
                        elif error.code() != _END_OF_PARTITION and not is_about_a_group(error):
                            raise KafkaException(error)
                    with self._lock:
                        self._new += arrived
                        for arrival in arrived:
                            self._counts[arrival.topic] += 1
        except KafkaException as error:
            with self._lock:
                self._error = error


def _headers(message: Message) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else (value or b"").decode("utf-8", "replace")
        for name, value in dict(message.headers() or []).items()
    }
