"""How far the broker's clock is from ours, by the times that it stamps on messages."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaException, Message, Producer

from cempstream.streams.kafka.places import NoAnswer
from cempstream.streams.settings import KafkaSettings

_PROBE_TIMEOUT_S = 10.0


def clock_offset(kafka: KafkaSettings, topic: str) -> tuple[float | None, float]:
    """Return the broker's clock minus ours, and the largest error of that, in seconds.

    Parameters
    ----------
    topic
        Takes a few empty messages, and stamps them when they are appended; without such stamps the first is
        None.

    Raises
    ------
    NoAnswer, KafkaException
        The broker does not take them.
    """
    stamps: list[tuple[float, int, int]] = []

    def delivered(error: Any, message: Message) -> None:
        if error is not None:
            raise KafkaException(error)
        kind, milliseconds = message.timestamp()
        stamps.append((time.time(), kind, milliseconds))

    producer = Producer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "acks": "all",
            "linger.ms": 0,
            "log_level": 0,
            **kafka.client_config(),
        }
    )
    best: tuple[float | None, float] = (None, float("inf"))
    # The first message also opens the connection; of the others the quickest is the most exact.
    for _ in range(4):
        sent_s = time.time()
        producer.produce(topic, b"", on_delivery=delivered)
        if producer.flush(_PROBE_TIMEOUT_S):
            raise NoAnswer("a message", kafka.bootstrap)
        arrived_s, kind, milliseconds = stamps[-1]
        if kind != TIMESTAMP_LOG_APPEND_TIME:
            return None, 0.0
        error_s = (arrived_s - sent_s) / 2 + 0.001
        if error_s < best[1]:
            best = (milliseconds / 1000 - (sent_s + arrived_s) / 2, error_s)
    return best
