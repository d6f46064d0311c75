"""Measure the whole stream from Kafka to Kafka: rate, CPU, latency, drain and memory of one worker."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from cempstream.errors import FixableError
from cempstream.models.pinned import open_bundle
from cempstream.processors.spectrum import Spectrum
from cempstream.schemas.codec import encode_spectrum
from cempstream.schemas.score import decode_score
from cempstream.streams.kafka.feed import feed_publisher, send_at_rate, spectrum_message
from cempstream.streams.kafka.messages import OutMessage
from cempstream.streams.rehearsal.arrivals import Arrivals
from cempstream.streams.rehearsal.bench_load import PixelLayout, load_spectra
from cempstream.streams.rehearsal.local_stream import LocalStream
from cempstream.streams.rehearsal.machine import Machine, this_machine
from cempstream.streams.settings import Settings

_PHASE_TIMEOUT_S = 180.0
_DISTINCT_SPECTRA = 500
_WARM_UP_SPECTRA = 640
_MIB = 2**20


class Unaccounted(FixableError, RuntimeError):
    """Spectra went in and did not come out within the time allowed."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from a spectrum's reduction.

    Attributes
    ----------
    published_p50_s, published_p99_s
        Until the worker publishes its score.
    received_p50_s, received_p99_s
        Until a subscriber has it.
    """

    rate: float
    n_spectra: int
    published_p50_s: float
    published_p99_s: float
    received_p50_s: float
    received_p99_s: float


@dataclass(frozen=True, slots=True)
class StreamReport:
    """One run: one worker, broker and feed on the same machine.

    Attributes
    ----------
    rate
        Spectra/s from Kafka to Kafka: a burst over the time from its first packet sent to its last score
        delivered, median of the bursts.
    cpu_s_per_1000
        The worker's CPU seconds for 1,000 spectra, over all bursts.
    drain_s
        That time, of each burst and the median.
    memory_mib, memory_peak_mib
        The worker's resident memory after the last burst, and at most.
    n_in, n_scored, n_dead
        Ledger of the whole run.
    n_alerts
        Alerts among the scored: each costs fifty times what a score does.
    """

    layout: str
    packet_bytes: int
    broker: str
    bundle: str
    provider: str
    threads: int
    batch_size: int
    burst: int
    rate: float
    cpu_s_per_1000: float
    drain_s: float
    drains_s: tuple[float, ...]
    latency: Latency
    memory_mib: float
    memory_peak_mib: float
    n_in: int
    n_scored: int
    n_dead: int
    n_alerts: int
    machine: Machine


def measure_stream(
    settings: Settings,
    layout: PixelLayout,
    *,
    bootstrap: str | None,
    burst: int,
    repeats: int,
    latency_rate: float,
    latency_s: float,
    worker_settings: dict[str, str],
    say: Callable[[str], None],
) -> StreamReport:
    """Measure.

    Raises
    ------
    WorkerFailed
        The worker did not start, or ended.
    Unaccounted
        A spectrum is neither scored nor a dead letter.
    """
    machine = this_machine()
    bundle = open_bundle(settings.models.bundles[0], settings.models.root, settings.models.keys)
    spectra = load_spectra(bundle, _DISTINCT_SPECTRA, layout)
    packets = [encode_spectrum(spectrum) for spectrum in spectra]
    with LocalStream("bench", bootstrap, worker_settings) as stream:
        say(f"broker: {stream.broker_name} at {stream.kafka.bootstrap}; the worker starts")
        stream.worker.wait_ready()
        results = (stream.topics.scores, stream.topics.dlq)
        with Arrivals(stream.kafka, (*results, stream.topics.alerts)) as arrivals:
            run = _Run(stream, arrivals)
            say("warming up")
            run.burst(spectra, packets, _WARM_UP_SPECTRA)
            cpu_before_s, drains_s = stream.worker.cpu_s(), []
            for i in range(repeats):
                say(f"burst {i + 1} of {repeats}: {burst} spectra")
                drains_s.append(run.burst(spectra, packets, burst))
            cpu_s = stream.worker.cpu_s() - cpu_before_s
            say(f"latency at {latency_rate:g}/s for {latency_s:g} s")
            latency = run.steady(spectra, latency_rate, latency_s)
            memory, peak = stream.worker.memory_bytes()
            n_scored, n_dead = (arrivals.count(topic) for topic in results)
            n_alerts = arrivals.count(stream.topics.alerts)
            broker_name = stream.broker_name
    return StreamReport(
        layout=layout.value,
        packet_bytes=round(sum(map(len, packets)) / len(packets)),
        broker=broker_name,
        bundle=bundle.name,
        provider=settings.models.provider.value,
        threads=settings.models.threads,
        batch_size=settings.batch.size,
        burst=burst,
        rate=burst / median(drains_s),
        cpu_s_per_1000=1000 * cpu_s / (burst * repeats),
        drain_s=median(drains_s),
        drains_s=tuple(drains_s),
        latency=latency,
        memory_mib=memory / _MIB,
        memory_peak_mib=peak / _MIB,
        n_in=run.n_sent,
        n_scored=n_scored,
        n_dead=n_dead,
        n_alerts=n_alerts,
        machine=machine,
    )


class _Run:
    """The phases of one measurement on one stream."""

    def __init__(self, stream: LocalStream, arrivals: Arrivals) -> None:
        self._stream = stream
        self._arrivals = arrivals
        self._results = (stream.topics.scores, stream.topics.dlq)
        self.n_sent = 0

    def burst(self, spectra: Sequence[Spectrum], packets: Sequence[bytes], n_spec: int) -> float:
        """Send packets as fast as the broker takes them; return the seconds until all have an outcome."""
        began_s = time.monotonic()
        pairs = itertools.islice(itertools.cycle(zip(spectra, packets, strict=True)), n_spec)
        self._send((OutMessage(self._stream.source, s.key.encode(), packet) for s, packet in pairs), rate=0.0)
        self._wait()
        return time.monotonic() - began_s

    def steady(self, spectra: Sequence[Spectrum], rate: float, seconds: float) -> Latency:
        """Send spectra at a steady rate, each stamped as reduced when it is sent."""
        self._arrivals.take()
        n_spec = round(rate * seconds)
        sent = itertools.islice(itertools.cycle(spectra), n_spec)
        self._send((spectrum_message(s, self._stream.source, "current") for s in sent), rate)
        self._wait()
        published, received = [], []
        for arrival in self._arrivals.take():
            if arrival.topic == self._stream.topics.scores:
                score = decode_score(arrival.value)
                published.append((score.published_at - score.reduced_at).total_seconds())
                received.append((arrival.received_at - score.reduced_at).total_seconds())
        p50, p99 = np.percentile(published, [50, 99])
        received_p50, received_p99 = np.percentile(received, [50, 99])
        return Latency(rate, n_spec, float(p50), float(p99), float(received_p50), float(received_p99))

    def _send(self, messages: Iterable[OutMessage], rate: float) -> None:
        async def send() -> None:
            async with feed_publisher(self._stream.kafka) as publisher:
                async for n_messages, error in send_at_rate(publisher, iter(messages), rate):
                    if error is not None:
                        raise error
                    self.n_sent += n_messages

        asyncio.run(send())

    def _wait(self) -> None:
        deadline_s = time.monotonic() + _PHASE_TIMEOUT_S
        while not self._arrivals.wait_for(self.n_sent, self._results, timeout_s=1.0):
            self._stream.worker.check()
            if time.monotonic() > deadline_s:
                n_out = self._arrivals.count(*self._results)
                raise Unaccounted(
                    f"{self.n_sent} spectra went in, {n_out} outcomes came out in {_PHASE_TIMEOUT_S:g} s"
                )
