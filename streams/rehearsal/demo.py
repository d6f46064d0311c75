"""The demonstration: a simulated night through a worker, with alerts, pictures and accounts."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import get_args

import typer
from rich.console import Console

from cempstream.models.sessions import Provider
from cempstream.models.simulator.mix import Mix
from cempstream.processors.stars.life import AlertType
from cempstream.streams.kafka.feed import feed_publisher, send_at_rate, spectrum_message
from cempstream.streams.kafka.messages import OutMessage
from cempstream.streams.kafka.topic_reader import count_messages
from cempstream.streams.pictures.pages import INDEX, write_index
from cempstream.streams.rehearsal.arrivals import Arrivals
from cempstream.streams.rehearsal.ledger import Ledger
from cempstream.streams.rehearsal.live_table import LiveTable, Moment, PlainLines, Watch
from cempstream.streams.rehearsal.local_stream import LocalStream
from cempstream.streams.rehearsal.night_spectra import VISITS, NightSpectrum, read_files, simulate_spectra
from cempstream.streams.rehearsal.painter import Painter
from cempstream.streams.rehearsal.patience import Patience
from cempstream.streams.rehearsal.star_ledger import StarLedger

#: However many spectra the files hold, the feed takes no longer than this.
_LONGEST_FEED_S = 40.0
_TICK_S = 0.2
#: The drawing processes load Matplotlib first and run at low priority: on a busy machine that takes minutes.
_FIRST_PICTURE_S = 900.0
_LEAST_RECALL = 0.5

_LEAD = (
    "Likely carbon-enhanced metal-poor stars, the surest first; the truth is the simulator's. "
    "No star of this night was trained on."
)
_LEAD_STARS = (
    f"Stars observed {VISITS} times and followed: which alerts there were of each, the surest first. "
    "The truth is the simulator's. No star of this night was trained on."
)
#: With fewer CEMP stars recall is a matter of chance.
_FEWEST_CEMP = 10


@dataclass(frozen=True, slots=True)
class Night:
    """What the demo does.

    Attributes
    ----------
    prior
        The worker's. It is not the mix's own fraction of CEMP stars: a programme for metal-poor stars also
        has more carbon-normal ones, and those are the stars that a CEMP star is confused with.
    stars
        Whether each star is observed several times, and followed over its visits.
    """

    survey: str
    mix: Mix
    n_spec: int
    rate: float
    seed: int
    prior: float
    files: tuple[Path, ...]
    out: Path
    bootstrap: str | None
    provider: Provider
    stars: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """How the night went.

    Attributes
    ----------
    facts
        Name and value, for a person.
    remarks
        Shortcomings that are no failure: pictures that were not drawn.
    failures
        What must not happen.
    """

    facts: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...] = field(default=())
    failures: tuple[str, ...] = field(default=())


@contextmanager
def rehearse(night: Night, began_s: float) -> Iterator[tuple[Report, LocalStream]]:
    """Run the night from the broker's start to the index page; the stream stays up while the block runs.

    Every wait lasts as long as something moves: a slow machine takes longer, but does not fail.

    Parameters
    ----------
    began_s
        When the command began, of the monotonic clock.

    Raises
    ------
    WorkerFailed
        The worker did not start, or ended.
    """
    console = Console()
    watch: Watch = LiveTable(console) if console.is_terminal else PlainLines()
    worker_settings = {
        "CEMP_POLICY__PRIOR": str(night.prior),
        "CEMP_MODELS__PROVIDER": night.provider.value,
        # A demonstration shows dead letters; it does not stop because of them.
        "CEMP_BREAKER__SHARE": "1.0",
    }
    worker_log, follower_log = night.out / "worker.log", night.out / "stars.log"
    for log_path in (worker_log, follower_log):
        log_path.unlink(missing_ok=True)
    with (
        Painter(night.out) as painter,
        LocalStream(
            *("demo", night.bootstrap, worker_settings),
            worker_log=worker_log,
            follows_stars=night.stars,
            follower_log=follower_log,
        ) as stream,
    ):
        typer.echo(f"broker: {stream.broker_name} at {stream.kafka.bootstrap}", err=True)
        # The worker loads its models meanwhile.
        visits = VISITS if night.stars else 1
        simulated = simulate_spectra(night.survey, night.mix, night.n_spec, night.seed, visits)
        read = read_files(night.files)
        for complaint in read.complaints:
            typer.echo(complaint, err=True)
        spectra = [*simulated, *read.spectra]
        random.Random(night.seed).shuffle(spectra)
        spectra.sort(key=lambda item: item.visit)
        stream.wait_ready()
        topics = stream.topics
        ledger = StarLedger(topics) if night.stars else Ledger(topics)
        of_stars = (topics.observations, topics.stars) if night.stars else ()
        read_too = (topics.scores, topics.alerts, topics.alerts_archival, topics.dlq, *of_stars)
        with (
            Arrivals(stream.kafka, read_too) as arrivals,
            Feed(stream, ledger, spectra, max(night.rate, len(spectra) / _LONGEST_FEED_S)) as feed,
            watch,
        ):

            def look(phase: str) -> None:
                feed.check()
                stream.check()
                new = ledger.book(arrivals.take())
                for seen in new:
                    if not (night.stars and seen.alert.object_id):  # a star is drawn once, with its life
                        painter.draw(seen)
                watch.show(ledger, Moment(phase, len(spectra), painter.n_done), new)

            patience = Patience()
            while feed.is_running or not (ledger.is_balanced() and _all_observed(stream, ledger)):
                look("the night goes on" if feed.is_running else "the last outcomes")
                if patience.is_over(ledger.n_sent, ledger.n_out, len(ledger.alerts)):
                    break
                time.sleep(_TICK_S)
            for life in ledger.lives() if isinstance(ledger, StarLedger) else ():
                painter.draw_life(life)
            patience = Patience(_FIRST_PICTURE_S)
            while not painter.is_idle and not patience.is_over(painter.n_done):
                look("the last pictures")
                time.sleep(_TICK_S)
        yield _finish(night, ledger, painter, stream, len(read.complaints), began_s), stream


def _all_observed(stream: LocalStream, ledger: Ledger) -> bool:
    """Return whether the ledger knows every observation that the worker has sent."""
    if not isinstance(ledger, StarLedger):
        return True
    # It counts a spectrum once all that became of it is delivered, and only then is the topic complete.
    if stream.worker.metric("cemp_spectra_total") < ledger.n_sent:
        return False
    topic = stream.topics.observations
    return ledger.n_observations >= count_messages(stream.kafka, [topic])[topic]


def _finish(
    night: Night, ledger: Ledger, painter: Painter, stream: LocalStream, n_unfit: int, began_s: float
) -> Report:
    """Check the accounts and write the index page."""
    quality = ledger.quality()
    alerts_said = "alerts that stand" if night.stars else "alerts"
    rows = painter.rows()
    reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(ledger.dead_reasons.items()))
    facts = (
        ("in", f"{ledger.n_sent} spectra, {night.n_spec} of them simulated"),
        ("scored", str(ledger.n_scored)),
        ("dead letters", f"{ledger.n_dead}" + (f" ({reasons})" if reasons else "")),
        ("unaccounted", str(len(ledger.unaccounted()))),
        *_alert_facts(ledger),
        ("latency p50", f"{ledger.latency_s(50):.3f} s, reduced to published"),
        ("latency p99", f"{ledger.latency_s(99):.3f} s"),
        ("recall", f"{_percent(quality.recall)} ({quality.n_found} of {quality.n_cemp} CEMP stars)"),
        ("purity", f"{_percent(quality.purity)} ({quality.n_found} of {quality.n_alerts} {alerts_said})"),
        ("mix", f"{night.mix.name}, prior {night.prior:.2g}, seed {night.seed}"),
        ("broker", f"{stream.broker_name} at {stream.kafka.bootstrap}"),
        ("took", f"{time.monotonic() - began_s:.0f} s"),
    )
    index = night.out / INDEX
    write_index(
        index,
        rows,
        title=f"A simulated night of {night.survey.upper()}",
        lead=_LEAD_STARS if night.stars else _LEAD,
        summary=facts,
    )
    remarks, failures = verdict(ledger, painter.n_queued - len(rows))
    pages = ("pictures", f"{len(rows)} and {index}")
    unfit = (("unfit", f"{n_unfit} in files"),) if n_unfit else ()
    return Report((*facts, pages, *unfit), remarks, failures)


def _alert_facts(ledger: Ledger) -> list[tuple[str, str]]:
    if not isinstance(ledger, StarLedger):
        return [
            ("alerts", f"{len(ledger.alerts)}, {ledger.quality().n_alerts} of them of simulated stars"),
        ]
    types = ledger.alert_types()
    return [
        ("observations", f"{ledger.n_observations}, of spectra that could be of a CEMP star"),
        ("stars", f"{len(ledger.lives())} alerted of, {len(ledger.broken_lives())} faults in their lives"),
        ("alerts", ", ".join(f"{types[name]} {name}" for name in get_args(AlertType))),
    ]


def verdict(ledger: Ledger, n_late: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return remarks and failures; only accounts that do not balance and a low recall are failures.

    Parameters
    ----------
    n_late
        Pictures that were not drawn.
    """
    remarks, failures = [], ledger.faults()
    quality = ledger.quality()
    if quality.n_cemp >= _FEWEST_CEMP and quality.recall < _LEAST_RECALL:
        failures.append(
            f"recall is {_percent(quality.recall)}; at least {_percent(_LEAST_RECALL)} is expected"
        )
    if n_late:
        remarks.append(f"{n_late} pictures were not drawn; the alerts are all there")
    return tuple(remarks), tuple(failures)


def _percent(share: float) -> str:
    return "—" if share != share else f"{100 * share:.0f} %"


class Feed:
    """Send the night's spectra at a steady rate, in a separate thread.

    Each is stamped as reduced when it is sent: its latency counts from there.
    """

    def __init__(
        self, stream: LocalStream, ledger: Ledger, spectra: Sequence[NightSpectrum], rate: float
    ) -> None:
        self._stream = stream
        self._ledger = ledger
        self._spectra = spectra
        self._rate = rate
        self._ending = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    @property
    def is_running(self) -> bool:
        """Whether spectra are still to be sent."""
        return self._thread.is_alive()

    def check(self) -> None:
        """Raise the error that ended the feed early."""
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._send())
        except BaseException as error:  # noqa: BLE001 - not handled here: `check` raises it in the main thread
            self._error = error

    async def _send(self) -> None:
        async with feed_publisher(self._stream.kafka) as publisher:
            async for _, error in send_at_rate(publisher, self._messages(), self._rate):
                if error is not None:
                    self._ledger.n_undelivered += error.n_failed

    def _messages(self) -> Iterator[OutMessage]:
        for item in self._spectra:
            if self._ending.is_set():
                return
            now = replace(item.spectrum, reduced_at=datetime.now(UTC))
            message = spectrum_message(now, self._stream.source, item.tense)
            self._ledger.enter(item, sha256(message.value or b"").hexdigest())
            yield message
