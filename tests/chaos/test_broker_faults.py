"""Nothing is lost when the broker fails, moves partitions, or refuses what the worker writes."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from tests.broker.kafka import KafkaBroker, KafkaCluster
from tests.chaos.harness import EVEN, N_HELD, N_LATER, Supervisor, close_case, now, wait_scored
from tests.chaos.ledger_table import Table
from tests.support.night import MAX_MESSAGE_BYTES, Topics, WorkerProcess, send
from tests.support.topics import create_topics

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(900)]


def test_broker_killed_and_restarted(kafka: KafkaBroker, packets: list[bytes], table: Table) -> None:
    topics = Topics.create(kafka.bootstrap)
    with Supervisor(kafka.bootstrap, topics) as supervisor:
        supervisor.wait_ready()
        send(kafka.bootstrap, topics.spectra, packets[:-N_LATER])
        wait_scored(supervisor, 200)
        kafka.kill()
        time.sleep(3)
        kafka.start()
        mended_at = now()
        send(kafka.bootstrap, topics.spectra, packets[-N_LATER:])
        close_case(
            "broker killed and started on its log",
            kafka.bootstrap,
            topics,
            packets,
            table,
            n_faults=2,  # the broker's end, and the worker's if it waits no longer
            mended_at=mended_at,
        )


def test_a_full_disk_of_the_broker(kafka: KafkaBroker, packets: list[bytes], table: Table) -> None:
    """No file of its can grow: it ends at its next write, and is started when there is room again."""
    topics = Topics.create(kafka.bootstrap)
    with Supervisor(kafka.bootstrap, topics) as supervisor:
        supervisor.wait_ready()
        send(kafka.bootstrap, topics.spectra, packets[:-N_LATER])
        wait_scored(supervisor, 200)
        resource.prlimit(kafka.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        assert kafka.wait_ended() != 0
        kafka.start()
        mended_at = now()
        send(kafka.bootstrap, topics.spectra, packets[-N_LATER:])
        close_case(
            "disk full for the broker",
            kafka.bootstrap,
            topics,
            packets,
            table,
            n_faults=2,
            mended_at=mended_at,
        )


def test_broker_unreachable_for_a_minute(kafka: KafkaBroker, packets: list[bytes], table: Table) -> None:
    topics = Topics.create(kafka.bootstrap)
    with Supervisor(kafka.bootstrap, topics) as supervisor:
        supervisor.wait_ready()
        send(kafka.bootstrap, topics.spectra, packets[:-N_LATER])
        wait_scored(supervisor, 200)
        kafka.send_signal(signal.SIGSTOP)
        try:
            time.sleep(60)
        finally:
            kafka.send_signal(signal.SIGCONT)
        mended_at = now()
        send(kafka.bootstrap, topics.spectra, packets[-N_LATER:])
        close_case(
            "broker unreachable for a minute",
            kafka.bootstrap,
            topics,
            packets,
            table,
            n_faults=2,
            mended_at=mended_at,
        )


def test_one_of_three_brokers_killed(kafka: KafkaBroker, packets: list[bytes], table: Table) -> None:
    with KafkaCluster(3) as cluster:
        topics = Topics.create(cluster.bootstrap, replication=3)
        with Supervisor(cluster.bootstrap, topics) as supervisor:
            supervisor.wait_ready()
            send(cluster.bootstrap, topics.spectra, packets[:-N_LATER])
            wait_scored(supervisor, 200)
            disturbed_at = now()
            cluster.nodes[1].kill()
            send(cluster.bootstrap, topics.spectra, packets[-N_LATER:])
            close_case(
                "one of three brokers killed under load",
                cluster.bootstrap,
                topics,
                packets,
                table,
                n_faults=2,
                disturbed_at=disturbed_at,
            )


def test_workers_join_and_leave(kafka: KafkaBroker, packets: list[bytes], table: Table) -> None:
    topics = Topics.create(kafka.bootstrap, partitions=4)
    half = len(packets) // 2
    with WorkerProcess(kafka.bootstrap, topics, **EVEN) as first:
        first.wait_ready(180)
        send(kafka.bootstrap, topics.spectra, packets[:half])
        wait_scored(first, 100)
        disturbed_at = now()
        with WorkerProcess(kafka.bootstrap, topics, **EVEN) as second:
            second.wait_ready(180)
            send(kafka.bootstrap, topics.spectra, packets[half:])
            wait_scored(second, 50)
        close_case(
            "a second worker joins and leaves under load",
            kafka.bootstrap,
            topics,
            packets,
            table,
            n_faults=2,
            disturbed_at=disturbed_at,
        )


def test_partitions_grow(kafka: KafkaBroker, packets: list[bytes], table: Table) -> None:
    topics = Topics.create(kafka.bootstrap, partitions=2)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    half = len(packets) // 2
    with Supervisor(kafka.bootstrap, topics, CEMP_KAFKA__METADATA_MAX_AGE_S="5") as supervisor:
        supervisor.wait_ready()
        send(kafka.bootstrap, topics.spectra, packets[:half])
        disturbed_at = now()
        admin.create_partitions([NewPartitions(topics.spectra, 6)])[topics.spectra].result(30)
        send(kafka.bootstrap, topics.spectra, packets[half:])
        close_case(
            "partitions grow from two to six",
            kafka.bootstrap,
            topics,
            packets,
            table,
            n_faults=1,
            disturbed_at=disturbed_at,
        )


def _too_small(admin: AdminClient, topics: Topics) -> tuple[Callable[[], None], Callable[[], None]]:
    """The scores topic takes no message larger than a hundred bytes."""

    def limit(n_bytes: int) -> None:
        entry = ConfigEntry("max.message.bytes", str(n_bytes), incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topics.scores, incremental_configs=[entry])
        for done in admin.incremental_alter_configs([resource]).values():
            done.result(30)

    return (lambda: limit(100)), (lambda: limit(MAX_MESSAGE_BYTES))


def _absent(admin: AdminClient, topics: Topics) -> tuple[Callable[[], None], Callable[[], None]]:
    """The scores topic is deleted."""

    def delete() -> None:
        admin.delete_topics([topics.scores], operation_timeout=30)[topics.scores].result(30)

    def create() -> None:
        new = NewTopic(topics.scores, 1, 1, config={"max.message.bytes": str(MAX_MESSAGE_BYTES)})
        create_topics(admin, [new])

    return delete, create


def _forbidden(admin: AdminClient, topics: Topics) -> tuple[Callable[[], None], Callable[[], None]]:
    """The scores topic may be read and not written."""
    return _allow_alone(admin, topics.scores, AclOperation.READ)


def _allow_alone(
    admin: AdminClient, topic: str, operation: AclOperation
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Leave one right to a topic, and give back all: an ACL allows nothing that it does not name."""
    anyone = (ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*")

    def forbid() -> None:
        rule = AclBinding(*anyone, operation, AclPermissionType.ALLOW)
        for done in admin.create_acls([rule]).values():
            done.result(30)

    def allow() -> None:
        rule = AclBindingFilter(*anyone, AclOperation.ANY, AclPermissionType.ANY)
        for done in admin.delete_acls([rule]).values():
            done.result(30)

    return forbid, allow


@pytest.mark.parametrize(
    ("refusal", "case", "says"),
    [
        (_too_small, "scores topic takes no such size, then does", "MSG_SIZE_TOO_LARGE"),
        (_absent, "scores topic is missing, then made", "do not exist"),
        (_forbidden, "scores topic forbids writing, then allows it", "TOPIC_AUTHORIZATION_FAILED"),
    ],
    ids=["too large", "no such topic", "no authorisation"],
)
def test_an_output_that_refuses_stops_the_worker_until_it_is_mended(
    kafka: KafkaBroker,
    packets: list[bytes],
    table: Table,
    refusal: Callable[[AdminClient, Topics], tuple[Callable[[], None], Callable[[], None]]],
    case: str,
    says: str,
) -> None:
    """It stops without acknowledging; the supervisor's next worker continues when the topic is fixed."""
    topics = Topics.create(kafka.bootstrap)
    refuse, mend = refusal(AdminClient({"bootstrap.servers": kafka.bootstrap}), topics)
    with Supervisor(kafka.bootstrap, topics) as supervisor:
        supervisor.wait_ready()
        refuse()
        send(kafka.bootstrap, topics.spectra, packets)
        supervisor.wait_ended(2)
        assert 0 not in supervisor.statuses
        assert says in supervisor.last_words
        mend()
        mended_at = now()
        close_case(case, kafka.bootstrap, topics, packets, table, n_faults=0, mended_at=mended_at)


def test_an_input_that_may_not_be_read_for_a_while(
    kafka: KafkaBroker, packets: list[bytes], table: Table
) -> None:
    """In mid-work the spectra may be written and not read."""
    topics = Topics.create(kafka.bootstrap)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    forbid, allow = _allow_alone(admin, topics.spectra, AclOperation.WRITE)
    with Supervisor(kafka.bootstrap, topics) as supervisor:
        supervisor.wait_ready()
        send(kafka.bootstrap, topics.spectra, packets[:-N_LATER])
        wait_scored(supervisor, 200)
        forbid()
        send(kafka.bootstrap, topics.spectra, packets[-N_LATER:])
        supervisor.wait_ended(1)
        allow()
        assert 0 not in supervisor.statuses
        assert "TopicAuthorizationFailedError" in supervisor.first_log
        close_case(
            "reading the spectra is forbidden, then allowed",
            kafka.bootstrap,
            topics,
            packets,
            table,
            n_faults=1,
            n_read_again=N_HELD,  # nor may it commit
            mended_at=now(),
        )
