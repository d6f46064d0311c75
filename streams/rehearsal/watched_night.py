"""A night as an operator sees it: the processes, a simulated feed, Prometheus, and one picture of all."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import typer

from cempstream.models.simulator import load_mix
from cempstream.processors.spectrum import Spectrum
from cempstream.streams.kafka.feed import feed_publisher, send_at_rate, spectrum_message
from cempstream.streams.kafka.messages import OutMessage
from cempstream.streams.kafka.publisher import DeliveryFailed
from cempstream.streams.rehearsal.child_process import ChildProcess
from cempstream.streams.rehearsal.embedded import free_port
from cempstream.streams.rehearsal.local_stream import LocalStream, topic_environment
from cempstream.streams.rehearsal.night_picture import save_night
from cempstream.streams.rehearsal.night_spectra import VISITS, cemp_share, simulate_spectra
from cempstream.streams.rehearsal.prometheus_server import EVALUATION_S, SCRAPE_S, PrometheusServer
from cempstream.streams.rehearsal.worker_process import WorkerFailed

_TICK_S = 0.5
_SAY_EVERY_S = 15.0

_EXPOSURE_SIZE = 250

#: One packet of this many is malformed: far fewer than raise an alert.
_MALFORMED_EVERY = 50

#: Time in which the rules' last evaluation has recorded the last scrape.
_SETTLE_S = 2.0 * SCRAPE_S + EVALUATION_S


@dataclass(frozen=True, slots=True)
class Plan:
    """The parameters of the night.

    Attributes
    ----------
    stars
        Whether each star is observed several times, and followed.
    """

    survey: str
    mix: str
    seed: int
    minutes: float
    rate: float
    out: Path
    stars: bool = False

    @property
    def n_spec(self) -> int:
        """Spectra of the night."""
        return max(1, round(60 * self.minutes * self.rate))


def watch_night(plan: Plan, stream: LocalStream, *, stay: bool) -> None:
    """Feed a stream and draw what Prometheus saw of it; an interrupt ends it early, with its picture.

    Parameters
    ----------
    stay
        Stay up after the feed, until an interrupt.

    Raises
    ------
    WorkerFailed, MonitorError
        A process did not start, or ended early.
    """
    _say("broker", f"{stream.broker_name} at {stream.kafka.bootstrap}")
    mix = load_mix(plan.mix)
    share = cemp_share(mix)
    (sample,) = simulate_spectra(plan.survey, mix, 1, plan.seed)
    stream.wait_ready()
    worker = f"127.0.0.1:{stream.worker.port}"
    _say("worker", f"http://{worker}/metrics, log in {plan.out / 'worker.log'}")
    exposures = free_port()
    targets = {"cempstream": [worker], "cempstream-exposures": [f"127.0.0.1:{exposures}"]}
    if stream.follower is not None:
        stars = f"127.0.0.1:{stream.follower.port}"
        targets["cempstream-stars"] = [stars]
        _say("stars", f"http://{stars}/metrics, log in {plan.out / 'stars.log'}")
    with (
        _exposure_watch(plan, stream, exposures) as watch,
        PrometheusServer(plan.out / "prometheus", targets) as prometheus,
    ):
        _say("exposures", f"http://127.0.0.1:{exposures}/metrics, log in {plan.out / 'exposures.log'}")
        _say("prometheus", f"{prometheus.url}/alerts")

        def check() -> None:
            stream.check()
            prometheus.check()
            if not watch.is_running:
                raise WorkerFailed(f"the watch on exposures has ended: {watch.log_tail()}")

        began_s = time.time()
        feed = ChildProcess(_feed_command(plan, stream), log_path=plan.out / "feed.log")
        malformed = Malformed(stream, sample.spectrum, plan.rate / _MALFORMED_EVERY)
        try:
            with feed, malformed:
                _wait_while(lambda: feed.is_running, check, stream, prometheus)
                if feed.returncode:
                    raise WorkerFailed(f"the feed ended with status {feed.returncode}: {feed.log_tail()}")
            settled_s = time.monotonic() + _SETTLE_S
            _wait_while(lambda: time.monotonic() < settled_s, check, stream, prometheus)
            if stay:
                typer.echo("all stays up until Ctrl-C; to subscribe, in another terminal:")
                typer.echo(stream.listen_command("current"))
                _wait_while(lambda: True, check, stream, prometheus)
        except KeyboardInterrupt:
            typer.echo("interrupted: the picture shows the night so far")
        picture = plan.out / "night.png"
        title = f"A simulated night of {plan.survey.upper()}"
        save_night(prometheus, began_s, time.time(), picture, title, cemp_share=share)
        _say("night", _state(stream, prometheus))
        _say("picture", str(picture))


def _wait_while(
    goes_on: Callable[[], bool], check: Callable[[], None], stream: LocalStream, prometheus: PrometheusServer
) -> None:
    """Wait, check that everything runs, and print the night's progress now and then."""
    said_s = time.monotonic()
    while goes_on():
        check()
        if time.monotonic() - said_s > _SAY_EVERY_S:
            said_s = time.monotonic()
            _say(time.strftime("%H:%M:%S"), _state(stream, prometheus))
        time.sleep(_TICK_S)


def _state(stream: LocalStream, prometheus: PrometheusServer) -> str:
    metric = stream.worker.metric
    firing = ", ".join(sorted({name for name, _ in prometheus.firing()}))
    followed = ""
    if (follower := stream.follower) is not None:
        n_stars, n_alerts = follower.metric("cemp_stars_held"), follower.metric("cemp_star_alerts_total")
        followed = f" {n_stars:.0f} stars followed, {n_alerts:.0f} alerts of them;"
    return (
        f"{metric('cemp_spectra_total'):.0f} out, {metric('cemp_dlq_total'):.0f} of them dead letters; "
        f"{metric('cemp_candidates_total'):.0f} candidates;{followed} alerts: {firing or 'none'}"
    )


def _say(what: str, text: str) -> None:
    typer.echo(f"{what:<10}  {text}")


def _feed_command(plan: Plan, stream: LocalStream) -> list[str]:
    options = {
        "n": plan.n_spec,
        "rate": plan.rate,
        "survey": plan.survey,
        "mix": plan.mix,
        "seed": plan.seed,
        "tense": "current",  # the latency objective covers no other tense; the topic is this night's own
        "topic": stream.source,
        "bootstrap": stream.kafka.bootstrap,
        "truth": plan.out / "truth.csv",
        "exposure-size": _EXPOSURE_SIZE,
        "visits": VISITS if plan.stars else 1,
    }
    words = itertools.chain.from_iterable((f"--{name}", str(value)) for name, value in options.items())
    return [sys.executable, "-m", "cempstream", "simulate", *words]


def _exposure_watch(plan: Plan, stream: LocalStream, port: int) -> ChildProcess:
    command = [sys.executable, "-m", "cempstream", "exposures", "watch"]
    return ChildProcess(
        [*command, "--bootstrap", stream.kafka.bootstrap, "--port", str(port)],
        env={**os.environ, **topic_environment(stream.topics)},
        log_path=plan.out / "exposures.log",
    )


class Malformed:
    """Send packets that cannot be scored, as every night has a few, in a separate thread.

    Parameters
    ----------
    sample
        What they are made from.
    rate
        Packets a second.
    """

    def __init__(self, stream: LocalStream, sample: Spectrum, rate: float) -> None:
        self._kafka = stream.kafka
        self._rate = rate
        good = spectrum_message(sample, stream.source, "current")
        too_coarse = replace(sample, resolving_power=50.0)
        packet = good.value or b""
        self._kinds = (
            replace(good, value=packet[: len(packet) // 2]),
            replace(good, value=b"\x99" + packet[1:]),
            spectrum_message(too_coarse, stream.source, "current"),
        )
        self._ending = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._send()), name="malformed", daemon=True
        )
        self.n_undelivered = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()

    async def _send(self) -> None:
        async with feed_publisher(self._kafka) as publisher:
            async for _, error in send_at_rate(publisher, self._messages(), self._rate):
                self.n_undelivered += error.n_failed if isinstance(error, DeliveryFailed) else 0

    def _messages(self) -> Iterator[OutMessage]:
        for message in itertools.cycle(self._kinds):
            if self._ending.is_set():
                return
            yield message
