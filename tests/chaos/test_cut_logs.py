"""A log that was cut below the group's place and has grown past it again hides nothing."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner

from cempstream.streams.cli import app
from tests.broker.conftest import need_kafka
from tests.broker.kafka import KILLED_MS, KafkaBroker
from tests.chaos.harness import EVEN, close_case, now, wait_committed
from tests.chaos.ledger_table import Table
from tests.chaos.test_gaps import ends, score_and_stop, wait_skipped
from tests.support.night import MAX_MESSAGE_BYTES, Topics, WorkerProcess, send
from tests.support.topics import create_topics

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(900)]

#: A worker that sleeps for a while stays in its group.
LONG = {"CEMP_KAFKA__SESSION_TIMEOUT_S": "120", "CEMP_KAFKA__REQUEST_TIMEOUT_S": "120"}

N_BEFORE, N_AFTER = 1000, 1600


@pytest.fixture
def broker() -> Iterator[KafkaBroker]:
    """Return a broker of this case alone."""
    need_kafka()
    config = {"auto.create.topics.enable": "false", "message.max.bytes": MAX_MESSAGE_BYTES}
    with KafkaBroker(config, silence_ms=KILLED_MS) as broker:
        yield broker


def cut_power(broker: KafkaBroker, topic: str, share_kept: float) -> int:
    """Kill the broker, cut from a topic's log what had not reached the disk, start it; return how many.

    Kafka flushes nothing by itself: what it has confirmed is in the system's memory for a while. What is left
    of a message is removed by its own recovery.
    """
    before = ends(broker.bootstrap, topic)
    broker.kill()
    for number in before:
        (segment,) = (broker.log_folder / f"{topic}-{number}").glob("*.log")
        os.truncate(segment, int(segment.stat().st_size * share_kept))
    broker.start()
    after = ends(broker.bootstrap, topic)
    assert all(0 < after[number] < before[number] for number in before), (before, after)
    return sum(before.values()) - sum(after.values())


def test_a_power_cut_that_loses_what_was_read_while_no_worker_runs(
    broker: KafkaBroker, packets: list[bytes], table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = Topics.create(broker.bootstrap)
    score_and_stop(broker.bootstrap, topics, packets[:N_BEFORE])
    n_cut = cut_power(broker, topics.spectra, 0.6)
    send(broker.bootstrap, topics.spectra, packets[N_BEFORE:][:N_AFTER])
    for name, value in topics.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CEMP_KAFKA__GROUP", f"group-{topics.spectra}")
    examined = CliRunner().invoke(app, ["doctor", "--json", "--bootstrap", broker.bootstrap])
    said = [finding["said"] for finding in map(json.loads, examined.stdout.splitlines())]
    assert sum("does not hold at offset" in words for words in said) == 2, said
    started_at = now()
    with WorkerProcess(broker.bootstrap, topics, **EVEN) as worker:
        worker.wait_ready(180)
        wait_skipped(worker, n_cut)
        close_case(
            "a power cut loses what was read, and the log grows past it",
            broker.bootstrap,
            topics,
            packets[: N_BEFORE + N_AFTER],
            table,
            n_read_again=n_cut,
            mended_at=started_at,
        )
        assert 'reason="log_replaced"' in worker.get("/metrics")[1]
        assert worker.metric("cemp_skipped_total") < 2 * n_cut + 200


def test_a_power_cut_that_loses_what_a_worker_has_read(
    broker: KafkaBroker, packets: list[bytes], table: Table
) -> None:
    """The worker sleeps meanwhile: it sees a connection that breaks, and a log that is long enough."""
    topics = Topics.create(broker.bootstrap)
    with WorkerProcess(broker.bootstrap, topics, **LONG, **EVEN) as worker:
        worker.wait_ready(180)
        send(broker.bootstrap, topics.spectra, packets[:N_BEFORE])
        wait_committed(broker.bootstrap, topics, 240)
        worker.process.send_signal(signal.SIGSTOP)
        n_cut = cut_power(broker, topics.spectra, 0.6)
        send(broker.bootstrap, topics.spectra, packets[N_BEFORE:][:N_AFTER])
        awake_at = now()
        worker.process.send_signal(signal.SIGCONT)
        wait_skipped(worker, n_cut)
        close_case(
            "a power cut loses what a worker has read, and the log grows past it",
            broker.bootstrap,
            topics,
            packets[: N_BEFORE + N_AFTER],
            table,
            n_faults=1,
            n_read_again=n_cut,
            mended_at=awake_at,
        )


def test_a_topic_that_is_made_again_and_filled_past_the_place(
    kafka: KafkaBroker, packets: list[bytes], table: Table
) -> None:
    topics = Topics.create(kafka.bootstrap)
    score_and_stop(kafka.bootstrap, topics, packets[:N_BEFORE])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.delete_topics([topics.spectra], operation_timeout=30)[topics.spectra].result(30)
    create_topics(admin, [NewTopic(topics.spectra, 2, 1)])
    send(kafka.bootstrap, topics.spectra, packets[N_BEFORE:][:N_AFTER])
    started_at = now()
    with WorkerProcess(kafka.bootstrap, topics, **EVEN) as worker:
        worker.wait_ready(180)
        close_case(
            "a topic is made again while no worker runs, and filled past the group's place",
            kafka.bootstrap,
            topics,
            packets[: N_BEFORE + N_AFTER],
            table,
            mended_at=started_at,
        )
