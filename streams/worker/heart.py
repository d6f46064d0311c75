"""The worker's heartbeat, once a second: a subscriber can tell a quiet stream from a dead worker.

A heartbeat that cannot be delivered never stops the worker; only an outcome that cannot be delivered does.
``/metrics`` says how old the last heartbeat is.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cempstream.schemas.heartbeat import Heartbeat, WorkerState, encode_heartbeat
from cempstream.streams.kafka.messages import OutMessage
from cempstream.streams.kafka.publisher import DeliveryFailed, Publisher
from cempstream.streams.telemetry.metrics import Metrics
from cempstream.streams.worker.accounts import Tally

logger = logging.getLogger(__name__)

#: Of heartbeats that are sent once a second, even by a busy worker.
_LATELY_S = 15.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """What the heartbeat says about the stream now.

    Attributes
    ----------
    lag_messages, lag_seconds
        None before the broker has said how far its topics reach.
    """

    state: WorkerState
    lag_messages: int | None
    lag_seconds: float | None


class Heart:
    """Send heartbeats.

    Parameters
    ----------
    bundles
        What is served, as ``name/version``.
    provider
        ONNX Runtime execution provider.
    topics
        What is read.
    """

    def __init__(
        self,
        publisher: Publisher,
        metrics: Metrics,
        topic: str,
        *,
        bundles: Sequence[str],
        provider: str,
        topics: Sequence[str],
        code_version: str,
    ) -> None:
        self._publisher = publisher
        self._metrics = metrics
        self._topic = topic
        self._bundles = tuple(bundles)
        self._provider = provider
        self._topics = tuple(topics)
        self._code_version = code_version
        self._worker_id = f"{socket.gethostname()}:{os.getpid()}"
        self._started_at = datetime.now(UTC)
        self._is_failing = False
        self._delivered_at_s = time.monotonic()

    @property
    def is_heard(self) -> bool:
        """Whether a heartbeat was delivered lately."""
        return time.monotonic() - self._delivered_at_s < _LATELY_S

    def compose(self, pulse: Pulse, tally: Tally, sent_at: datetime) -> Heartbeat:
        """Return the heartbeat to send now."""
        return Heartbeat(
            worker_id=self._worker_id,
            sent_at=sent_at,
            started_at=self._started_at,
            state=pulse.state,
            code_version=self._code_version,
            bundles=self._bundles,
            provider=self._provider,
            topics=self._topics,
            lag_messages=pulse.lag_messages,
            lag_seconds=pulse.lag_seconds,
            last_spectrum_at=tally.last_spectrum_at,
            n_in=tally.n_scored + tally.n_dead_letters,
            n_scored=tally.n_scored,
            n_dead_letters=tally.n_dead_letters,
            n_alerts=tally.n_alerts,
        )

    async def beat(self, pulse: Pulse, tally: Tally) -> None:
        """Send one heartbeat and return when the broker has it, or after a timeout."""
        packet = encode_heartbeat(self.compose(pulse, tally, datetime.now(UTC)))
        try:
            await self._publisher.publish([OutMessage(self._topic, self._worker_id.encode(), packet)])
        except DeliveryFailed as error:
            if not self._is_failing:  # one line per outage, not one a second
                logger.warning("no heartbeat is delivered: %s", error)
            self._is_failing = True
        else:
            self._is_failing = False
            self._delivered_at_s = time.monotonic()
            self._metrics.heartbeat.set(time.time())
