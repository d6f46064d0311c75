"""The subscriber's client, as far as it needs no broker."""

from __future__ import annotations

import logging

import pytest
from confluent_kafka import KafkaError

from cempstream.streams.subscriber.client import AlertStream


def test_a_broker_that_is_away_is_said_once_and_not_at_every_try(caplog: pytest.LogCaptureFixture) -> None:
    stream = AlertStream("127.0.0.1:1")
    with caplog.at_level(logging.WARNING):
        for i in range(20):
            stream._note(KafkaError(KafkaError._TRANSPORT, f"refused (after {i} ms)"))
        stream._note(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    assert [record.getMessage() for record in caplog.records] == [
        "refused (after 0 ms)",
        "1/1 brokers are down",
    ]
