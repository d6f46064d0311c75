"""A second bundle scores what the first one scores, to its own topic; it alerts no one.

It is offered every packet of the night, after the first bundle's outcome is delivered. However slow it is,
and whatever it raises, the night goes on: it works in its own thread, and no acknowledgement waits for it.
Packets that it is too slow for are dropped and counted.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from datetime import UTC, datetime

from cempstream.processors.outcome import Classification
from cempstream.schemas.score import encode_score
from cempstream.schemas.stamp import Stamp
from cempstream.streams.kafka.messages import OutMessage, PacketOrigin
from cempstream.streams.kafka.outputs import refuse_unknown_tenses
from cempstream.streams.kafka.publisher import DeliveryFailed, Publisher
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.settings import Settings
from cempstream.streams.telemetry import notices
from cempstream.streams.telemetry.metrics import Metrics

#: Batches that may wait for the shadow; with 64 packets of 31 KB each they take 32 MB.
_MOST_WAITING = 16


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    packets: Sequence[bytes]
    origins: Sequence[PacketOrigin]
    ingested_at: datetime


class Shadow:
    """Score packets with the bundle ``models.shadow`` of the settings.

    Raises
    ------
    BundleError, ProviderUnavailable
        It cannot be loaded; the worker then does not start.
    """

    def __init__(self, settings: Settings, publisher: Publisher, metrics: Metrics) -> None:
        assert settings.models.shadow is not None, "made only where it is asked for"
        models = settings.models.model_copy(update={"bundles": (settings.models.shadow,), "shadow": None})
        self._pipeline = load_pipeline(settings.model_copy(update={"models": models}))
        self.bundle = self._pipeline.routes[0].chain.name
        self._topic = settings.topics.scores_shadow
        self._publisher = publisher
        self._count = metrics.shadow_spectra
        self._jobs: queue.Queue[_Job] = queue.Queue(_MOST_WAITING)
        self._is_over = threading.Event()
        self._is_failing = False
        self._is_behind = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; ``loop`` is the publisher's. The thread ends with the process, even where it hangs."""
        threading.Thread(target=self._run, args=(loop,), name="shadow", daemon=True).start()

    def stop(self) -> None:
        """Take no more; what waits is dropped."""
        self._is_over.set()

    def offer(self, packets: Sequence[bytes], origins: Sequence[PacketOrigin], ingested_at: datetime) -> None:
        """Have a batch scored when its turn comes; never waits. Entry i of ``origins`` is packet i's."""
        try:
            if self._is_over.is_set():
                raise queue.Full
            self._jobs.put_nowait(_Job(packets, origins, ingested_at))
        except queue.Full:
            self._count.labels("dropped").inc(len(packets))
            if not self._is_behind and not self._is_over.is_set():  # one line per stretch of dropped batches
                notices.shadow_failed(self.bundle, "it is too slow for the stream and misses spectra")
            self._is_behind = True

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._is_over.is_set():
            try:
                job = self._jobs.get(timeout=0.5)
            except queue.Empty:
                self._is_behind = False
                continue
            try:
                messages = self._score(job)
            except Exception as error:  # noqa: BLE001 - a bundle on trial may raise anything
                self._is_over.set()
                self._count.labels("failed").inc(len(job.packets))
                notices.shadow_failed(
                    self.bundle,
                    f"{type(error).__name__}: {error}; it scores no more until the worker is restarted",
                )
                return
            self._publish(messages, len(job.packets), loop)

    def _score(self, job: _Job) -> list[OutMessage]:
        outcomes = self._pipeline.classify_packets(job.packets)
        outcomes = refuse_unknown_tenses(job.packets, outcomes, job.origins)
        now = datetime.now(UTC)
        return [
            self._message(outcome, Stamp(origin.tense, job.ingested_at, now, now))
            for outcome, origin in zip(outcomes, job.origins, strict=True)
            if isinstance(outcome, Classification)
        ]

    def _message(self, outcome: Classification, stamp: Stamp) -> OutMessage:
        return OutMessage(self._topic, outcome.spectrum.key.encode(), encode_score(outcome, stamp))

    def _publish(
        self, messages: Sequence[OutMessage], n_packets: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        sending = self._publisher.publish(messages)
        try:
            asyncio.run_coroutine_threadsafe(sending, loop).result()
        except (CancelledError, RuntimeError) as error:
            if not isinstance(error, DeliveryFailed):  # the loop has ended, and the worker with it
                sending.close()
                return
            self._count.labels("failed").inc(n_packets)
            if not self._is_failing:  # one line per outage
                notices.shadow_failed(self.bundle, f"its scores are not delivered: {error}")
            self._is_failing = True
            return
        self._is_failing = False
        self._count.labels("scored").inc(len(messages))
        self._count.labels("rejected").inc(n_packets - len(messages))
