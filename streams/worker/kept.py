"""How long the broker keeps what this worker reads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from datetime import datetime

from confluent_kafka.admin import AdminClient

from cempstream.streams.kafka.places import Place
from cempstream.streams.kafka.retention import ask_retention, ask_when_sent
from cempstream.streams.settings import KafkaSettings

#: An operator may change it at any time.
_ASK_AGAIN_S = 300.0


class KeptTimes:
    """Ask the broker for times of what it keeps, without holding up the event loop."""

    def __init__(self, admin: AdminClient, kafka: KafkaSettings) -> None:
        self._admin = admin
        self._kafka = kafka
        self._asked_at_s: dict[str, float] = {}

    async def ask_retention(self, topics: Collection[str]) -> dict[str, float]:
        """Return how many seconds topics keep a message; those that were asked for lately are left out."""
        now_s = time.monotonic()
        due = [name for name in topics if now_s - self._asked_at_s.get(name, -_ASK_AGAIN_S) >= _ASK_AGAIN_S]
        self._asked_at_s |= dict.fromkeys(due, now_s)
        return await asyncio.to_thread(ask_retention, self._admin, due)

    async def ask_when_sent(self, place: Place, offset: int) -> datetime | None:
        """Return when the first message from an offset on was sent; None where nothing tells."""
        known = await asyncio.to_thread(ask_when_sent, self._kafka, {place: offset})
        return known.get(place)
