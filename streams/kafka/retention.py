"""How long a topic keeps its messages, and how old one is: what is not read in that time is deleted."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined] # imported there, not re-exported by name
    AdminClient,
    ConfigResource,
)

from cempstream.streams.kafka.places import Place
from cempstream.streams.kafka.topic_reader import ask_first, open_consumer
from cempstream.streams.settings import KafkaSettings

RETENTION = "retention.ms"

#: A topic that is also limited by its size may delete sooner than it says.
RETENTION_BYTES = "retention.bytes"

_TIMEOUT_S = 4.0


def ask_retention(admin: AdminClient, topics: Collection[str]) -> dict[str, float]:
    """Ask how many seconds topics keep a message, infinite where for ever.

    Topics of which the broker does not tell, or may not tell us, are left out.
    """
    kept: dict[str, float] = {}
    if not topics:
        return kept
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in topics]
    for resource, answer in admin.describe_configs(resources, request_timeout=_TIMEOUT_S).items():
        try:
            entry = answer.result(2 * _TIMEOUT_S).get(RETENTION)
        except (KafkaException, TimeoutError):
            continue
        if entry is not None:
            kept[resource.name] = seconds_kept(int(entry.value))
    return kept


def seconds_kept(retention_ms: int) -> float:
    """Return a topic's retention in seconds; negative means for ever."""
    return math.inf if retention_ms < 0 else retention_ms / 1000


def ask_when_sent(kafka: KafkaSettings, offsets: Mapping[Place, int]) -> dict[Place, datetime]:
    """Ask when the first message from an offset on was sent, of each partition.

    Those that have none yet, whose message has no time, or that do not answer in seconds are left out.
    """
    sent: dict[Place, datetime] = {}
    with suppress(KafkaException), open_consumer(kafka) as consumer:
        for place, message in ask_first(consumer, offsets, _TIMEOUT_S).items():
            _, milliseconds = message.timestamp()
            if message.error() is None and milliseconds > 0:
                sent[place] = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return sent
