"""Requests that the publisher had to send once more, by librdkafka's own account."""

from __future__ import annotations

import json
import time

from confluent_kafka import Producer

from cempstream.streams.kafka.publisher import Publisher


def statistics_of_a_producer() -> str:
    """Return what a librdkafka producer says of itself, on a broker that it simulates."""
    seen: list[str] = []
    config = {"test.mock.num.brokers": 1, "statistics.interval.ms": 200, "stats_cb": seen.append}
    producer = Producer(config)
    producer.produce("t", b"x")
    producer.flush(10)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not (seen and json.loads(seen[-1])["txmsgs"]):
        producer.poll(0.1)
    return seen[-1]


def test_retries_are_counted_once_from_what_librdkafka_says() -> None:
    told: list[int] = []
    publisher = Publisher("127.0.0.1:1", on_retries=told.append)
    statistics = json.loads(statistics_of_a_producer())
    brokers = statistics["brokers"]
    assert brokers
    publisher._read_statistics(json.dumps(statistics))
    assert told == [], "a quiet broker: nothing was sent again"
    for n_retries in (2, 2, 5):
        next(iter(brokers.values()))["txretries"] = n_retries
        publisher._read_statistics(json.dumps(statistics))
    assert told == [2, 3]
