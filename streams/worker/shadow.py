"""A second bundle scores what the first one scores, to a topic of its own; it alerts nobody.

It sees every packet of the night, after the first bundle's outcome is delivered. What goes wrong with it is
said and counted and never stops the worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from cempstream.processors.outcome import Classification, Outcome
from cempstream.schemas.score import encode_score
from cempstream.schemas.stamp import Stamp
from cempstream.streams.kafka.messages import OutMessage, PacketOrigin
from cempstream.streams.kafka.publisher import DeliveryFailed, Publisher
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.scoring.pipeline import ModelBroken, Pipeline
from cempstream.streams.settings import Settings
from cempstream.streams.telemetry import notices
from cempstream.streams.telemetry.metrics import Metrics


class Shadow:
    """Score packets with the bundle ``models.shadow`` of the settings.

    Raises
    ------
    BundleError, ProviderUnavailable
        It cannot be loaded: whoever asked for it hears so at the start.
    """

    def __init__(self, settings: Settings, publisher: Publisher, metrics: Metrics) -> None:
        assert settings.models.shadow is not None, "made only where it is asked for"
        models = settings.models.model_copy(update={"bundles": (settings.models.shadow,), "shadow": None})
        self._pipeline: Pipeline | None = load_pipeline(settings.model_copy(update={"models": models}))
        self.bundle = self._pipeline.routes[0].chain.name
        self._topic = settings.topics.scores_shadow
        self._publisher = publisher
        self._count = metrics.shadow_spectra
        self._turn = asyncio.Semaphore(1)  # one batch at a time: the first bundle has the other cores
        self._is_failing = False

    async def score(
        self, packets: Sequence[bytes], origins: Sequence[PacketOrigin], ingested_at: datetime
    ) -> None:
        """Score a batch and return when its scores are delivered, or have failed."""
        async with self._turn:
            if self._pipeline is None:
                return
            try:
                outcomes = await asyncio.to_thread(self._pipeline.classify_packets, packets)
            except ModelBroken as error:
                self._pipeline = None
                self._count.labels("failed").inc(len(packets))
                notices.shadow_failed(
                    self.bundle, f"{error}; it scores no more until the worker is restarted"
                )
                return
            messages = await asyncio.to_thread(self._write, outcomes, origins, ingested_at)
        try:
            await self._publisher.publish(messages)
        except DeliveryFailed as error:
            self._count.labels("failed").inc(len(packets))
            if not self._is_failing:  # one line for an outage
                notices.shadow_failed(self.bundle, f"its scores are not delivered: {error}")
            self._is_failing = True
            return
        self._is_failing = False
        self._count.labels("scored").inc(len(messages))
        self._count.labels("rejected").inc(len(packets) - len(messages))

    def _write(
        self, outcomes: Sequence[Outcome], origins: Sequence[PacketOrigin], ingested_at: datetime
    ) -> list[OutMessage]:
        now = datetime.now(UTC)
        return [
            OutMessage(
                self._topic,
                outcome.spectrum.key.encode(),
                encode_score(outcome, Stamp(origin.tense, ingested_at, now, now)),
            )
            for outcome, origin in zip(outcomes, origins, strict=True)
            if isinstance(outcome, Classification)
        ]
