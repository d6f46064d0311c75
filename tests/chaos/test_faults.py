"""Nothing is lost, whatever breaks: real workers, a real broker, real signals."""

from __future__ import annotations

import random
import signal
import time

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from cempstream.processors.spectrum import Reason
from tests.broker.kafka import KafkaBroker, KafkaCluster
from tests.chaos.conftest import Row, Table
from tests.chaos.harness import Supervisor, close_case, missing, wait_scored
from tests.night import Topics, WorkerProcess, headers, read_ledger, send
from tests.poison import poison
from tests.spectra import template_spectra

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(420)]

#: What a kill may repeat: the batches in flight and what was delivered within a commit interval (0.25 s) at a
#: rate that two cores do not pass (4,000/s).
REPEATS_PER_KILL = 2 * 64 + 1000


def test_the_ledger_catches_a_dropped_spectrum(
    kafka: KafkaBroker, packets: list[bytes], table: Table
) -> None:
    """One packet is never sent although it is counted: the ledger must miss exactly that one."""
    topics = Topics.create(kafka.bootstrap)
    with WorkerProcess(kafka.bootstrap, topics) as worker:
        worker.wait_ready()
        send(kafka.bootstrap, topics.spectra, packets[:299])
        wait_scored(worker, 299)
    assert missing(read_ledger(kafka.bootstrap, topics), 300) == 1
    table.rows.append(Row("one spectrum dropped on purpose (the ledger's own test)", 300, 1, 0, None))


def test_kill_in_mid_batch_again_and_again(kafka: KafkaBroker, packets: list[bytes], table: Table) -> None:
    topics = Topics.create(kafka.bootstrap)
    n_kills = 3
    with Supervisor(kafka.bootstrap, topics) as supervisor:
        supervisor.wait_ready()
        send(kafka.bootstrap, topics.spectra, packets)
        killed_at = 0.0
        for _ in range(n_kills):
            supervisor.wait_ready()
            wait_scored(supervisor.worker, 100)
            killed_at = time.monotonic()
            supervisor.worker.process.send_signal(signal.SIGKILL)
            time.sleep(1.0)
        supervisor.wait_ready()
        recovery_s = time.monotonic() - killed_at
        close_case(
            "kill -9 of the worker, three times",
            kafka.bootstrap,
            topics,
            len(packets),
            table,
            max_repeats=n_kills * REPEATS_PER_KILL,
            recovery_s=recovery_s,
        )
        assert supervisor.n_restarts >= n_kills


def test_sigterm_under_load_ends_cleanly(kafka: KafkaBroker, packets: list[bytes], table: Table) -> None:
    topics = Topics.create(kafka.bootstrap)
    send(kafka.bootstrap, topics.spectra, packets)
    with WorkerProcess(kafka.bootstrap, topics) as worker:
        worker.wait_ready()
        wait_scored(worker, 200)
        start = time.monotonic()
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(timeout_s=30) == 0
        assert time.monotonic() - start < 20
    with WorkerProcess(kafka.bootstrap, topics) as worker:
        worker.wait_ready()
        close_case("SIGTERM under load", kafka.bootstrap, topics, len(packets), table, max_repeats=0)


def test_broker_killed_and_restarted(kafka: KafkaBroker, packets: list[bytes], table: Table) -> None:
    topics = Topics.create(kafka.bootstrap)
    with Supervisor(kafka.bootstrap, topics) as supervisor:
        supervisor.wait_ready()
        send(kafka.bootstrap, topics.spectra, packets)
        wait_scored(supervisor.worker, 200)
        kafka.kill()
        time.sleep(3)
        kafka.start()
        back_at = time.monotonic()
        supervisor.wait_ready(120)
        close_case(
            "broker killed and started on its log",
            kafka.bootstrap,
            topics,
            len(packets),
            table,
            max_repeats=2 * REPEATS_PER_KILL,
            recovery_s=time.monotonic() - back_at,
        )


def test_broker_unreachable_for_a_minute(kafka: KafkaBroker, packets: list[bytes], table: Table) -> None:
    topics = Topics.create(kafka.bootstrap)
    with Supervisor(kafka.bootstrap, topics) as supervisor:
        supervisor.wait_ready()
        send(kafka.bootstrap, topics.spectra, packets)
        wait_scored(supervisor.worker, 200)
        kafka.send_signal(signal.SIGSTOP)
        time.sleep(60)
        kafka.send_signal(signal.SIGCONT)
        back_at = time.monotonic()
        supervisor.wait_ready(120)
        close_case(
            "broker silent for a minute",
            kafka.bootstrap,
            topics,
            len(packets),
            table,
            max_repeats=2 * REPEATS_PER_KILL,
            recovery_s=time.monotonic() - back_at,
        )


def test_one_of_three_brokers_killed(packets: list[bytes], table: Table) -> None:
    with KafkaCluster(3) as cluster:
        topics = Topics.create(cluster.bootstrap, replication=3)
        with Supervisor(cluster.bootstrap, topics) as supervisor:
            supervisor.wait_ready()
            send(cluster.bootstrap, topics.spectra, packets)
            wait_scored(supervisor.worker, 200)
            killed_at = time.monotonic()
            cluster.nodes[1].kill()
            supervisor.wait_ready(120)
            close_case(
                "one of three brokers killed",
                cluster.bootstrap,
                topics,
                len(packets),
                table,
                max_repeats=2 * REPEATS_PER_KILL,
                recovery_s=time.monotonic() - killed_at,
            )


def test_workers_join_and_leave(kafka: KafkaBroker, packets: list[bytes], table: Table) -> None:
    topics = Topics.create(kafka.bootstrap, partitions=4)
    with WorkerProcess(kafka.bootstrap, topics) as first:
        first.wait_ready()
        send(kafka.bootstrap, topics.spectra, packets[:1000])
        wait_scored(first, 100)
        with WorkerProcess(kafka.bootstrap, topics) as second:
            second.wait_ready()
            send(kafka.bootstrap, topics.spectra, packets[1000:])
            wait_scored(second, 50)
        close_case(
            "a second worker joins and leaves under load",
            kafka.bootstrap,
            topics,
            len(packets),
            table,
            max_repeats=2 * REPEATS_PER_KILL,
        )


def test_partitions_grow(kafka: KafkaBroker, packets: list[bytes], table: Table) -> None:
    topics = Topics.create(kafka.bootstrap, partitions=2)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    with WorkerProcess(kafka.bootstrap, topics, CEMP_KAFKA__METADATA_MAX_AGE_S="5") as worker:
        worker.wait_ready()
        send(kafka.bootstrap, topics.spectra, packets[:1000])
        admin.create_partitions([NewPartitions(topics.spectra, 6)])[topics.spectra].result(20)
        send(kafka.bootstrap, topics.spectra, packets[1000:])
        close_case(
            "partitions grow from two to six",
            kafka.bootstrap,
            topics,
            len(packets),
            table,
            max_repeats=REPEATS_PER_KILL,
        )


def test_poison_of_every_kind_at_five_per_cent(
    kafka: KafkaBroker, packets: list[bytes], table: Table
) -> None:
    (victim,) = template_spectra(1, seed=12)
    kinds = list(poison(victim).values())
    n_bad = len(packets) // 20
    bad = [kinds[i % len(kinds)] for i in range(n_bad)]
    mixed = [*packets, *(packet for packet, _ in bad)]
    random.Random(13).shuffle(mixed)
    topics = Topics.create(kafka.bootstrap)
    with WorkerProcess(kafka.bootstrap, topics) as worker:
        worker.wait_ready()
        send(kafka.bootstrap, topics.spectra, mixed)
        ledger = close_case(
            "poison of every kind at 5 %", kafka.bootstrap, topics, len(mixed), table, max_repeats=0
        )
        assert worker.process.is_running
    assert len(ledger.dead) == n_bad
    assert sorted(ledger.reasons().elements()) == sorted(reason.value for _, reason in bad)


def test_the_same_spectrum_twice_has_one_id(kafka: KafkaBroker, packets: list[bytes], table: Table) -> None:
    topics = Topics.create(kafka.bootstrap)
    with WorkerProcess(kafka.bootstrap, topics) as worker:
        worker.wait_ready()
        send(kafka.bootstrap, topics.spectra, [*packets[:500], *packets[:500]])
        wait_scored(worker, 1000)
        ledger = close_case("every spectrum sent twice", kafka.bootstrap, topics, 500, table, max_repeats=500)
    assert ledger.n_repeats == 500
    assert all(len({score.record_id for score in scores}) == 1 for scores in ledger.scores.values())


def test_an_output_that_refuses_stops_the_worker_until_it_is_mended(
    kafka: KafkaBroker, packets: list[bytes], table: Table
) -> None:
    """The scores topic takes nothing larger than a hundred bytes: fail-stop, nothing acknowledged."""
    from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

    topics = Topics.create(kafka.bootstrap)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})

    def limit(n_bytes: int) -> None:
        entry = ConfigEntry("max.message.bytes", str(n_bytes), incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topics.scores, incremental_configs=[entry])
        for done in admin.incremental_alter_configs([resource]).values():
            done.result(20)

    limit(100)
    with Supervisor(kafka.bootstrap, topics) as supervisor:
        supervisor.wait_ready()
        send(kafka.bootstrap, topics.spectra, packets[:500])
        deadline = time.monotonic() + 60
        while not supervisor.statuses and time.monotonic() < deadline:
            time.sleep(0.2)
        assert supervisor.statuses, "the worker did not stop"
        assert 0 not in supervisor.statuses
        limit(1024 * 1024)
        mended_at = time.monotonic()
        supervisor.wait_ready(120)
        close_case(
            "scores topic refuses, then takes them",
            kafka.bootstrap,
            topics,
            500,
            table,
            max_repeats=0,
            recovery_s=time.monotonic() - mended_at,
        )


@pytest.mark.parametrize(
    ("fault", "n_dead"), [("once", 0), ("row", 1)], ids=["fails once", "fails on one row"]
)
def test_a_failing_session(
    kafka: KafkaBroker, packets: list[bytes], table: Table, fault: str, n_dead: int
) -> None:
    topics = Topics.create(kafka.bootstrap)
    with WorkerProcess(
        kafka.bootstrap, topics, module="tests.chaos.faulty_worker", CEMP_TEST_FAULT=fault
    ) as worker:
        worker.wait_ready()
        send(kafka.bootstrap, topics.spectra, packets[:500])
        ledger = close_case(
            f"ONNX session fails ({fault})", kafka.bootstrap, topics, 500, table, max_repeats=0
        )
        assert worker.process.is_running
    assert len(ledger.dead) == n_dead
    assert all(
        headers(first)["error.reason"] == Reason.PROCESSING_ERROR.value for first, *_ in ledger.dead.values()
    )


def test_a_session_that_always_fails_stops_the_worker_unacknowledged(
    kafka: KafkaBroker, packets: list[bytes], table: Table
) -> None:
    topics = Topics.create(kafka.bootstrap)
    send(kafka.bootstrap, topics.spectra, packets[:300])
    with WorkerProcess(
        kafka.bootstrap, topics, module="tests.chaos.faulty_worker", CEMP_TEST_FAULT="always"
    ) as worker:
        assert worker.process.wait(timeout_s=90) == 1
    assert read_ledger(kafka.bootstrap, topics).n_accounted == 0
    with WorkerProcess(kafka.bootstrap, topics) as worker:
        worker.wait_ready()
        close_case(
            "ONNX session always fails, then is mended", kafka.bootstrap, topics, 300, table, max_repeats=0
        )
