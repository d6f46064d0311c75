"""A night is archived while it runs, by a writer that is killed again and again: tables are topics."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.dataset as ds
import pytest
from confluent_kafka import Message

from cempstream.schemas.score import decode_score
from cempstream.streams.rehearsal.child_process import ChildProcess
from tests.support.night import Topics, WorkerProcess, read_all, send, wait_for
from tests.support.poison import poison
from tests.support.spectra import template_packets, template_spectra

pytestmark = pytest.mark.timeout(280)

N_SPEC = 600


def archive(bootstrap: str, topics: Topics, folder: Path, *words: str) -> ChildProcess:
    """Start ``cempstream archive write``."""
    return ChildProcess(
        [
            sys.executable,
            "-m",
            "cempstream",
            "archive",
            "write",
            str(folder),
            "--bootstrap",
            bootstrap,
            *words,
        ],
        env={**os.environ, **topics.environment()},
    )


def place_of(message: Message) -> tuple[str | None, int | None, int | None]:
    return message.topic(), message.partition(), message.offset()


def rows_of(folder: Path, subject: str) -> list[dict[str, object]]:
    files = [str(path) for path in (folder / subject).glob("night=*/survey=*/*.parquet")]
    return list(ds.dataset(files, partitioning=None).to_table().to_pylist()) if files else []


def test_the_tables_are_the_topics_whenever_the_writer_is_killed(bootstrap: str, tmp_path: Path) -> None:
    (victim,) = template_spectra(1, seed=4)
    bad = [packet for packet, _ in poison(victim).values()]
    topics = Topics.create(bootstrap)
    folder = tmp_path / "night"
    packets = [*template_packets(N_SPEC), *bad]
    settings = {"CEMP_POLICY__PRIOR": "0.5", "CEMP_BREAKER__SHARE": "1.0"}
    n_killed = 0
    with WorkerProcess(bootstrap, topics, **settings) as worker:
        worker.wait_ready()
        send(bootstrap, topics.spectra, packets)
        while worker.metric("cemp_spectra_total") < N_SPEC or n_killed < 3:
            # Batches of 20 rows, so that a kill finds it in the middle of one.
            with archive(bootstrap, topics, folder, "--rows", "20", "--every", "0.1") as writer:
                before = len(rows_of(folder, "scores"))
                deadline = time.monotonic() + 60
                while len(rows_of(folder, "scores")) <= before and time.monotonic() < deadline:
                    if len(rows_of(folder, "scores")) >= N_SPEC:
                        break
                    time.sleep(0.05)
                writer.send_signal(signal.SIGKILL)
                writer.wait(timeout_s=30)
                n_killed += 1
        wait_for(bootstrap, topics, N_SPEC, len(bad))
    last = archive(bootstrap, topics, folder, "--until", "now")
    with last:
        assert last.wait(timeout_s=120) == 0, last.log_tail()
    for subject, topic in (
        ("scores", topics.scores),
        ("alerts", topics.alerts),
        ("dead_letters", topics.dlq),
    ):
        messages = read_all(bootstrap, topic)
        rows = rows_of(folder, subject)
        assert sorted((row["topic"], row["partition"], row["offset"]) for row in rows) == sorted(
            map(place_of, messages)
        ), subject
        assert len(rows) > 0
    by_id = {row["record_id"]: row for row in rows_of(folder, "scores")}
    for message in read_all(bootstrap, topics.scores):
        score = decode_score(message.value() or b"")
        assert by_id[str(score.record_id)]["p_cemp"] == score.p_cemp

    compacted = subprocess.run(
        [sys.executable, "-m", "cempstream", "archive", "compact", str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "files are" in compacted.stdout
    assert {row["record_id"] for row in rows_of(folder, "scores")} == set(by_id)
    assert len(rows_of(folder, "scores")) == len(by_id)
