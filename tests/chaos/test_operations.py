"""Nothing is lost, and nobody is paged for it, while people do their work beside a stream that runs."""

from __future__ import annotations

import random
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cempstream.models.promotion import promote, rollback
from cempstream.processors.spectrum import Spectrum
from cempstream.schemas.alert import decode_alert
from cempstream.schemas.codec import encode_spectrum, peek_ids
from cempstream.schemas.exposure import Exposure, decode_exposure
from cempstream.streams.rehearsal.child_process import ChildProcess
from tests.broker.kafka import KafkaBroker
from tests.chaos.harness import EVEN, N_LATER, Supervisor, close_case, now, wait_scored
from tests.chaos.ledger_table import Table
from tests.support.bundles import add_version, shift_cemp
from tests.support.night import Topics, WorkerProcess, read_all, send
from tests.support.spectra import template_spectra
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(900)]

N_EXPOSURES, SIZE = 12, 50
N_ARCHIVAL = 300


@contextmanager
def command(*words: str) -> Iterator[ChildProcess]:
    """Run ``cempstream`` as a process."""
    with ChildProcess([sys.executable, "-m", "cempstream", *words]) as process:
        yield process


@pytest.fixture
def topics(kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch) -> Topics:
    topics = Topics.create(kafka.bootstrap)
    for name, value in topics.environment().items():
        monkeypatch.setenv(name, value)
    return topics


def test_an_exposure_watch_that_is_killed_again_and_again(
    kafka: KafkaBroker, topics: Topics, table: Table
) -> None:
    """Each exposure is reported once and as complete, whichever watch has seen how much of it."""
    spectra = [
        replace(spectrum, exposure_id=f"e{i % N_EXPOSURES}", exposure_size=SIZE)
        for i, spectrum in enumerate(template_spectra(N_EXPOSURES * SIZE, seed=31))
    ]
    random.Random(32).shuffle(spectra)
    packets = [encode_spectrum(spectrum) for spectrum in spectra]
    third = len(packets) // 3
    watch = ("exposures", "watch", "--bootstrap", kafka.bootstrap, "--port", "0")
    with WorkerProcess(kafka.bootstrap, topics, **EVEN) as worker:
        worker.wait_ready(180)
        for n_sent in (third, 2 * third):
            with command(*watch) as process:
                send(kafka.bootstrap, topics.spectra, packets[n_sent - third : n_sent])
                wait_scored(worker, n_sent)
                process.send_signal(signal.SIGKILL)
                assert process.wait(30) == -signal.SIGKILL
        with command(*watch) as process:
            send(kafka.bootstrap, topics.spectra, packets[2 * third :])
            close_case("exposure watch killed twice", kafka.bootstrap, topics, packets, table)
            wait_until(
                lambda: len(reports(kafka.bootstrap, topics)) >= N_EXPOSURES,
                lambda: process.log_tail(),
                every_s=1.0,
            )
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    found = reports(kafka.bootstrap, topics)
    assert Counter(report.exposure_id for report in found) == {f"e{i}": 1 for i in range(N_EXPOSURES)}
    assert {(r.status, r.n_expected, r.n_scored, r.n_missing) for r in found} == {("complete", SIZE, SIZE, 0)}


def reports(bootstrap: str, topics: Topics) -> list[Exposure]:
    return [decode_exposure(message.value() or b"") for message in read_all(bootstrap, topics.exposures)]


def test_a_replay_into_a_topic_that_is_live(
    kafka: KafkaBroker, topics: Topics, packets: list[bytes], table: Table, tmp_path: Path
) -> None:
    """Spectra of an old night come between those of this one: all are scored, and no old one pages anyone."""
    old = template_spectra(N_ARCHIVAL, seed=33, tag="old")
    file = tmp_path / "old.npz"
    write(file, old)
    live = packets[:1500]
    with WorkerProcess(kafka.bootstrap, topics, **EVEN) as worker:
        worker.wait_ready(180)
        where = ("--bootstrap", kafka.bootstrap, "--topic", topics.spectra)
        with command("replay", str(file), *where, "--survey", "lamost", "--rate", "60") as replay:
            wait_scored(worker, 20)
            for n_before in range(0, len(live), 300):
                send(kafka.bootstrap, topics.spectra, live[n_before : n_before + 300])
                wait_scored(worker, 20 + n_before + 300)
            assert replay.wait(120) == 0, replay.log_tail()
        ledger = close_case(
            "an old night is replayed into the live topic",
            kafka.bootstrap,
            topics,
            [*live, *map(encode_spectrum, old)],
            table,
        )
    assert not ledger.dead
    order = [peek_ids(message.value() or b"")[0] for message in read_all(kafka.bootstrap, topics.spectra)]
    is_old = [name in {spectrum.spectrum_id for spectrum in old} for name in order]
    assert sum(a != b for a, b in pairwise(is_old)) > 4, "they are mixed"
    tenses = {name: score.tense for name, (score, *_) in ledger.scores.items()}
    assert tenses == {
        **{str(peek_ids(packet)[0]): "current" for packet in live},
        **{spectrum.spectrum_id: "archival" for spectrum in old},
    }
    quiet = read_all(kafka.bootstrap, topics.alerts_archival)
    candidates = {s.spectrum_id for (s, *_) in ledger.scores.values() if s.decision.is_candidate}
    assert {decode_alert(message.value() or b"").spectrum_id for message in quiet} == {
        name for name in candidates if tenses[name] == "archival"
    }
    assert quiet


def write(path: Path, spectra: list[Spectrum]) -> None:
    np.savez(
        path,
        wave=np.tile(spectra[0].grid.wave, len(spectra)),
        flux=np.concatenate([spectrum.flux for spectrum in spectra]),
        ivar=np.concatenate([spectrum.ivar for spectrum in spectra]),
        offsets=np.arange(len(spectra) + 1) * spectra[0].grid.n_pix,
        ids=np.array([spectrum.spectrum_id for spectrum in spectra]),
        medium="vacuum",
        frame=spectra[0].frame,
        resolving_power=spectra[0].resolving_power,
    )


def test_a_promotion_and_its_rollback_under_load(
    kafka: KafkaBroker, topics: Topics, packets: list[bytes], table: Table, tmp_path: Path
) -> None:
    """After each the worker is asked to end, and the next one serves what is then active."""
    root = tmp_path / "bundles"
    add_version(root, "1.0.0")
    add_version(root, "2.0.0", shift_cemp(-2.0))
    promote(root, "mid", "1.0.0")
    settings = {"CEMP_MODELS__ROOT": str(root), "CEMP_MODELS__BUNDLES": '["mid"]'}
    share = (len(packets) - N_LATER) // 2
    with Supervisor(kafka.bootstrap, topics, **settings) as supervisor:
        supervisor.wait_ready()
        for i, change in enumerate((lambda: promote(root, "mid", "2.0.0"), lambda: rollback(root, "mid"))):
            send(kafka.bootstrap, topics.spectra, packets[i * share : (i + 1) * share])
            wait_scored(supervisor, 200)
            change()
            supervisor.worker.process.send_signal(signal.SIGTERM)
            changed_at = now()
            supervisor.wait_ended(i + 1)
        send(kafka.bootstrap, topics.spectra, packets[2 * share :])
        ledger = close_case(
            "bundle promoted and rolled back under load",
            kafka.bootstrap,
            topics,
            packets,
            table,
            disturbed_at=changed_at,
        )
        assert supervisor.statuses == [0, 0]
    scores = sorted((scores[0] for scores in ledger.scores.values()), key=lambda score: score.published_at)
    served = [score.bundle for score in scores]
    changes = [b for a, b in pairwise(["", *served]) if a != b]
    assert changes == ["mid-1.0.0", "mid-2.0.0", "mid-1.0.0"]
