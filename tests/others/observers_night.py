"""A night for observers, on one machine: ``make observers-night``.

A worker on a broker, a feed whose truth is known, and all that an observer has: a page in Chromium, VOEvents,
a TOM that fills, a list of targets for a site, and what that list yields against other ways. Every part is
the command that a person would type; in the end all must have had the same alerts.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cempstream import AlertFile
from cempstream.streams.rehearsal.child_process import ChildProcess
from cempstream.streams.rehearsal.local_stream import LocalStream
from tests.browser.conftest import Browser, new_chromium

_COMMAND = [sys.executable, "-m", "cempstream"]

#: A command may take so long on a busy machine.
_PATIENCE_S = 300.0

SITE = "La Palma"


@dataclass(frozen=True)
class Told:
    """What the night gave to whom, by the names of stars or their number.

    Attributes
    ----------
    listened
        Alerts that `listen` wrote.
    n_row, n_voevent, n_target
        Rows of the page, files of VOEvents, targets in the TOM.
    plan
        Stars in the order of the plan.
    yields
        What `targets --compare` printed.
    """

    n_spec: int
    listened: list[str]
    n_row: int
    n_voevent: int
    n_target: int
    plan: list[str]
    yields: str


def run_night(
    folder: Path, others: Callable[..., str], *, bootstrap: str | None = None, n_spec: int = 1200
) -> Told:
    """Run the night and return what each had of it.

    Parameters
    ----------
    folder
        Where all is written; created if absent.
    others
        Runs the Python of the environment that holds the TOM.
    bootstrap
        A broker; without one the embedded broker is started.
    n_spec
        Spectra of the feed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stream = stack.enter_context(
            LocalStream("observers", bootstrap, {}, worker_log=folder / "worker.log")
        )
        stream.wait_ready()
        read = ["--bootstrap", stream.kafka.bootstrap, "--topic", stream.topics.alerts, "--start", "earliest"]
        beats = ["--heartbeats", stream.topics.heartbeat]
        page = stack.enter_context(_running(folder, "page", *read, *beats, "--site", SITE, "--port", "0"))
        url = _said(page, folder / "page.log", "http://")
        voevents = folder / "voevents"
        exporting = stack.enter_context(
            _running(
                folder,
                *("export", "voevent", *read, "--to", str(voevents)),
                *("--ivorn", "ivo://example.org/cemp", "--contact", "An Observer <observer@example.org>"),
            )
        )
        browser = Browser(stack.enter_context(new_chromium()))
        browser.open(url, light="dark")

        _run(
            *("simulate", "--n", str(n_spec), "--mix", "halo", "--seed", "7", "--tense", "current"),
            *("--bootstrap", stream.kafka.bootstrap, "--topic", stream.source),
            *("--truth", str(folder / "truth.csv")),
        )
        stream.check()
        _wait("every spectrum to be scored", lambda: _n_scored(stream) >= n_spec)

        alerts = folder / "alerts.jsonl"
        alerts.write_text(_run("listen", *read, "--until", "now", "--json"))
        listened = [alert.name for alert in AlertFile(alerts)]
        browser.wait("row for every star", lambda: len(browser.rows()) >= len(set(listened)))
        browser.driver.save_screenshot(str(folder / "page.png"))
        _wait("a VOEvent of every alert", lambda: len(list(voevents.glob("*.xml"))) >= len(listened))
        n_target = _fill_tom(folder, others, stream)
        n_row = len(browser.rows())
        exporting.send_signal(signal.SIGINT)

    _run("targets", "--site", SITE, "--hours", "4", "--from", str(alerts), "--out", str(folder / "targets"))
    with (folder / "targets" / "targets.csv").open(newline="") as lines:
        plan = [row["name"] for row in csv.DictReader(lines)]
    n_each = len(set(listened)) // 2
    yields = _run(
        *("targets", "--site", SITE, "--hours", "4", "--from", str(alerts)),
        *("--compare", str(folder / "truth.csv"), "--each", str(n_each), "--nights", "2"),
    )
    (folder / "yield.txt").write_text(yields)
    return Told(n_spec, listened, n_row, len(list(voevents.glob("*.xml"))), n_target, plan, yields)


def _fill_tom(folder: Path, others: Callable[..., str], stream: LocalStream) -> int:
    """Let a TOM read the topic, and return how many targets it then has."""
    database = (folder / "tom.sqlite3").absolute()
    database.unlink(missing_ok=True)
    steps = [["manage", "migrate", "--verbosity", "0"], ["manage", "readstreams"], ["count"]]
    said = others(
        *("-m", "tests.others.play_tom", json.dumps(steps)),
        TOM_DATABASE=str(database),
        TOM_BROKER=stream.kafka.bootstrap,
        TOM_TOPIC=stream.topics.alerts,
    )
    return int(said.splitlines()[-1])


def _n_scored(stream: LocalStream) -> int:
    from tests.support.night import read_all

    return len(read_all(stream.kafka.bootstrap, stream.topics.scores))


@contextmanager
def _running(folder: Path, *words: str) -> Iterator[ChildProcess]:
    log = folder / f"{words[0]}.log"
    log.unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with ChildProcess([*_COMMAND, *words], env=environment, log_path=log) as process:
        yield process


def _run(*words: str) -> str:
    done = subprocess.run(
        [*_COMMAND, *words], capture_output=True, text=True, timeout=_PATIENCE_S, check=False
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def _said(process: ChildProcess, log: Path, beginning: str) -> str:
    """Return the first word of a process that begins so."""

    def words() -> list[str]:
        assert process.is_running, process.log_tail()
        return [word.rstrip(".,;") for word in log.read_text().split() if word.startswith(beginning)]

    _wait(f"{log.name} to name an address", lambda: bool(words()))
    return words()[0]


def _wait(what: str, is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        time.sleep(0.2)


def main() -> None:
    """Run the night and say what everyone had of it."""
    parser = argparse.ArgumentParser(description=run_night.__doc__)
    parser.add_argument("--out", type=Path, default=Path("observers-night"))
    parser.add_argument("--bootstrap", help="a Kafka broker; else the embedded one")
    parser.add_argument("--n", type=int, default=1200, help="spectra")
    parser.add_argument("--others", type=Path, required=True, help="the environment of the TOM")
    given = parser.parse_args()
    from tests.others.conftest import runner

    told = run_night(given.out, runner(given.others), bootstrap=given.bootstrap, n_spec=given.n)
    print(f"spectra {told.n_spec}, alerts {len(told.listened)} of {len(set(told.listened))} stars")
    print(f"rows {told.n_row}, VOEvents {told.n_voevent}, targets of the TOM {told.n_target}")
    print(f"planned {len(told.plan)} for 4 h at {SITE}: {', '.join(told.plan)}")
    print(told.yields)


if __name__ == "__main__":
    main()
