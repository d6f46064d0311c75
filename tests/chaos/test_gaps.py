"""What Kafka itself has dropped is counted and said, and what is left of the log is read to its end."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.broker.kafka import KILLED_MS, KafkaBroker
from tests.chaos.harness import EVEN, Supervisor, close_case, now, wait_committed
from tests.chaos.ledger_table import Table
from tests.support.night import MAX_MESSAGE_BYTES, Topics, WorkerProcess, read_all, send
from tests.support.topics import create_topics

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(900)]

SKIPPED = "cemp_skipped_total"


def ends(bootstrap: str, topic: str) -> dict[int, int]:
    """Return where each of the two partitions ends, once the broker knows it."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "ends", "log_level": 0})
    deadline = time.monotonic() + 60
    try:
        while True:
            try:
                places = {n: TopicPartition(topic, n) for n in (0, 1)}
                return {n: consumer.get_watermark_offsets(at, timeout=10)[1] for n, at in places.items()}
            except KafkaException:  # it has just started, and leads nothing yet
                assert time.monotonic() < deadline
                time.sleep(0.2)
    finally:
        consumer.close()


def score_and_stop(bootstrap: str, topics: Topics, packets: list[bytes]) -> None:
    """Let a worker score packets, commit, and end."""
    send(bootstrap, topics.spectra, packets)
    with WorkerProcess(bootstrap, topics, **EVEN) as worker:
        worker.wait_ready(180)
        wait_committed(bootstrap, topics, 240)
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(timeout_s=60) == 0


def wait_skipped(worker: WorkerProcess, n_skipped: int, timeout_s: float = 30.0) -> None:
    """Return once a worker has counted so many offsets."""
    deadline = time.monotonic() + timeout_s
    while (n_now := worker.metric(SKIPPED)) < n_skipped:
        assert time.monotonic() < deadline, f"{n_now} of {n_skipped}: {worker.process.log_tail()}"
        time.sleep(0.1)


def test_what_expires_unread_is_counted_once(
    kafka: KafkaBroker, packets: list[bytes], table: Table, tmp_path: Path
) -> None:
    """Of one partition some is left, of the other nothing."""
    topics = Topics.create(kafka.bootstrap)
    score_and_stop(kafka.bootstrap, topics, packets[:200])
    at = ends(kafka.bootstrap, topics.spectra)
    send(kafka.bootstrap, topics.spectra, packets[200:600])
    n_left = {0: 0, 1: 20}
    cuts = {n: end - n_left[n] for n, end in ends(kafka.bootstrap, topics.spectra).items()}
    sent = read_all(kafka.bootstrap, topics.spectra)
    kept = [
        m.value() or b""
        for m in sent
        if not at[m.partition() or 0] <= (m.offset() or 0) < cuts[m.partition() or 0]
    ]
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    places = [TopicPartition(topics.spectra, n, cut) for n, cut in cuts.items()]
    for deleted in admin.delete_records(places).values():
        deleted.result(30)
    n_skipped = sum(cuts[n] - at[n] for n in cuts)
    assert n_skipped == 380
    log = tmp_path / "log"
    started_at = now()
    with WorkerProcess(kafka.bootstrap, topics, log_path=log, **EVEN) as worker:
        worker.wait_ready(180)
        wait_skipped(worker, n_skipped)
        close_case(
            f"{n_skipped} spectra expire unread, {n_skipped} are counted",
            kafka.bootstrap,
            topics,
            kept,
            table,
            mended_at=started_at,
        )
        assert worker.metric(SKIPPED) == n_skipped
        assert worker.metric("cemp_retention_seconds") == 7 * 86400, "Kafka's own default"
    said = [line for line in log.read_text().splitlines() if "event=offsets_skipped" in line]
    assert len(said) == 2
    for number, cut in cuts.items():
        (line,) = [line for line in said if f"first_offset={at[number]} last_offset={cut - 1}" in line]
        assert ("sent_before=" in line) == (n_left[number] > 0), "what is left tells when at the latest"
    with WorkerProcess(kafka.bootstrap, topics, **EVEN) as second:
        second.wait_ready(180)
        send(kafka.bootstrap, topics.spectra, packets[600:700])
        close_case("worker after an expiry", kafka.bootstrap, topics, [*kept, *packets[600:700]], Table())
        assert second.metric(SKIPPED) == 0, "said once"


def test_an_offset_past_the_end_loses_nothing_new(
    kafka: KafkaBroker, packets: list[bytes], table: Table
) -> None:
    topics = Topics.create(kafka.bootstrap)
    n_before = 300
    score_and_stop(kafka.bootstrap, topics, packets[:n_before])
    too_far = {n: end + 1000 for n, end in ends(kafka.bootstrap, topics.spectra).items()}
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    places = [TopicPartition(topics.spectra, n, offset) for n, offset in too_far.items()]
    asked = ConsumerGroupTopicPartitions(f"group-{topics.spectra}", places)
    for answer in admin.alter_consumer_group_offsets([asked]).values():
        answer.result(30)
    send(kafka.bootstrap, topics.spectra, packets[n_before:1000])
    started_at = now()
    with WorkerProcess(kafka.bootstrap, topics, **EVEN) as worker:
        worker.wait_ready(180)
        wait_skipped(worker, 2000 + n_before - 1000)
        assert worker.metric(SKIPPED) == 2000 + n_before - 1000
        assert 'reason="log_ends_below"' in worker.get("/metrics")[1]
        close_case(
            "the group's offset is set past the end",
            kafka.bootstrap,
            topics,
            packets[:1000],
            table,
            n_read_again=n_before,
            mended_at=started_at,
        )


def test_a_disk_set_back_loses_nothing_new(packets: list[bytes], table: Table, tmp_path: Path) -> None:
    """The broker comes back with its log of an hour ago under a worker that has read on."""
    config = {"auto.create.topics.enable": "false", "message.max.bytes": MAX_MESSAGE_BYTES}
    with KafkaBroker(config, silence_ms=KILLED_MS) as broker:
        topics = Topics.create(broker.bootstrap)
        with Supervisor(broker.bootstrap, topics) as supervisor:
            supervisor.wait_ready()
            send(broker.bootstrap, topics.spectra, packets[:200])
            wait_committed(broker.bootstrap, topics, 240)
            broker.stop()
            shutil.copytree(broker.log_folder, tmp_path / "log")
            broker.start()
            send(broker.bootstrap, topics.spectra, packets[200:1200])
            wait_committed(broker.bootstrap, topics, 240)
            broker.kill()
            shutil.rmtree(broker.log_folder)
            shutil.copytree(tmp_path / "log", broker.log_folder)
            broker.start()
            set_back_at = now()
            send(broker.bootstrap, topics.spectra, packets[1200:1600])
            close_case(
                "the broker's disk is set back",
                broker.bootstrap,
                topics,
                [*packets[:200], *packets[1200:1600]],
                table,
                n_faults=2,
                n_read_again=200,
                mended_at=set_back_at,
            )


def test_a_topic_that_is_deleted_and_made_again(
    kafka: KafkaBroker, packets: list[bytes], table: Table
) -> None:
    """Its offsets begin at 0 again and soon pass those that the worker has read: it skips none of them."""
    topics = Topics.create(kafka.bootstrap)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    n_before, n_after = 400, 1000
    with Supervisor(kafka.bootstrap, topics, CEMP_KAFKA__METADATA_MAX_AGE_S="5") as supervisor:
        supervisor.wait_ready()
        send(kafka.bootstrap, topics.spectra, packets[:n_before])
        wait_committed(kafka.bootstrap, topics, 240)
        admin.delete_topics([topics.spectra], operation_timeout=30)[topics.spectra].result(30)
        create_topics(admin, [NewTopic(topics.spectra, 2, 1)])
        made_at = now()
        send(kafka.bootstrap, topics.spectra, packets[n_before : n_before + n_after])
        close_case(
            "the spectra's topic is deleted and made again",
            kafka.bootstrap,
            topics,
            packets[: n_before + n_after],
            table,
            n_faults=1,
            mended_at=made_at,
        )
