"""Nothing is lost when a password is changed or a certificate expires: it is said, and renewal ends it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.conftest import need_kafka
from tests.broker.linked_kafka import CertifiedKafka, LinkedKafka, ScramKafka
from tests.chaos.harness import N_LATER, Supervisor, close_case, now, wait_scored
from tests.chaos.ledger_table import Table
from tests.support.night import Topics, send

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(900)]

USER = "worker"

#: A worker on a busy machine connects within this time of its certificate's making.
_CERTIFICATE_S = 90.0

#: A worker that the broker does not let in any more has to end within this time.
_ENDS_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def scram() -> Iterator[ScramKafka]:
    need_kafka()
    with ScramKafka() as kafka:
        yield kafka


@pytest.fixture(scope="module")
def certified() -> Iterator[CertifiedKafka]:
    need_kafka()
    with CertifiedKafka() as kafka:
        yield kafka


def wait_until_refused(supervisor: Supervisor, timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while supervisor.worker.metric("cemp_credentials_refused") != 1:
        assert time.monotonic() < deadline_s, supervisor.worker.process.log_tail()
        time.sleep(0.2)


def end_by_a_cut(kafka: LinkedKafka, supervisor: Supervisor) -> None:
    """Break the connections: a new one is refused, so the worker says so and ends, and none can start."""
    kafka.link.cut()
    began_s = time.monotonic()
    supervisor.wait_ended(1, _ENDS_WITHIN_S)
    print(f"\nended {time.monotonic() - began_s:.0f} s after the cut")
    assert supervisor.statuses[0] == 1
    assert "event=credentials_ended" in supervisor.first_log
    supervisor.wait_ended(2)
    assert "the worker cannot start: no broker answers" in supervisor.last_words


def test_a_password_that_is_changed(
    scram: ScramKafka, packets: list[bytes], table: Table, tmp_path: Path
) -> None:
    """The broker's is changed first, the connections break, and only then the file holds the new one."""
    topics = Topics.create(scram.bootstrap)
    file = tmp_path / "password"
    file.write_text("the first")
    scram.set_password(USER, "the first")
    with Supervisor(scram.bootstrap, topics, **scram.environment(USER, file)) as supervisor:
        supervisor.wait_ready()
        send(scram.bootstrap, topics.spectra, packets[:-N_LATER])
        wait_scored(supervisor, 200)
        scram.set_password(USER, "the second")
        end_by_a_cut(scram, supervisor)
        assert "Authentication failed" in supervisor.last_words
        send(scram.bootstrap, topics.spectra, packets[-N_LATER:])
        file.write_text("the second")
        close_case(
            "password changed, then the worker's file",
            scram.bootstrap,
            topics,
            packets,
            table,
            n_faults=2,
            mended_at=now(),
        )


def test_a_password_that_is_renewed_before_a_connection_breaks(
    scram: ScramKafka, packets: list[bytes], table: Table, tmp_path: Path
) -> None:
    """What is connected goes on; once its file holds the new password the worker ends, and starts anew."""
    topics = Topics.create(scram.bootstrap)
    file = tmp_path / "password"
    file.write_text("the first")
    scram.set_password(USER, "the first")
    with Supervisor(scram.bootstrap, topics, **scram.environment(USER, file)) as supervisor:
        supervisor.wait_ready()
        send(scram.bootstrap, topics.spectra, packets[:500])
        wait_scored(supervisor, 500)
        scram.set_password(USER, "the second")
        wait_until_refused(supervisor)
        assert "refuses our credentials" in supervisor.worker.get("/ready")[1]
        send(scram.bootstrap, topics.spectra, packets[500:1000])
        wait_scored(supervisor, 1000)
        assert supervisor.statuses == []
        file.write_text("the second")
        supervisor.wait_ended(1, _ENDS_WITHIN_S)
        ended_at = now()
        send(scram.bootstrap, topics.spectra, packets[1000:])
        assert supervisor.statuses == [1]
        assert "the files of credentials have changed" in supervisor.first_log
        close_case(
            "password renewed while connected",
            scram.bootstrap,
            topics,
            packets,
            table,
            n_faults=1,
            mended_at=ended_at,
        )


def test_a_client_certificate_that_expires(
    certified: CertifiedKafka, packets: list[bytes], table: Table, tmp_path: Path
) -> None:
    topics = Topics.create(certified.bootstrap)
    settings = certified.certify_client(tmp_path, _CERTIFICATE_S)
    with Supervisor(certified.bootstrap, topics, **settings) as supervisor:
        supervisor.wait_ready()
        send(certified.bootstrap, topics.spectra, packets[:-N_LATER])
        wait_scored(supervisor, 200)
        wait_until_refused(supervisor, 2 * _CERTIFICATE_S)
        end_by_a_cut(certified, supervisor)
        send(certified.bootstrap, topics.spectra, packets[-N_LATER:])
        certified.certify_client(tmp_path)
        close_case(
            "client certificate expires, then is renewed",
            certified.bootstrap,
            topics,
            packets,
            table,
            n_faults=2,
            mended_at=now(),
        )


def test_a_broker_certificate_that_expires(
    certified: CertifiedKafka, packets: list[bytes], table: Table, tmp_path: Path
) -> None:
    topics = Topics.create(certified.bootstrap)
    settings = certified.certify_client(tmp_path)
    certified.certify_broker(_CERTIFICATE_S)
    certified.restart()
    with Supervisor(certified.bootstrap, topics, **settings) as supervisor:
        supervisor.wait_ready()
        send(certified.bootstrap, topics.spectra, packets[:-N_LATER])
        wait_scored(supervisor, 200)
        wait_until_refused(supervisor, 2 * _CERTIFICATE_S)
        end_by_a_cut(certified, supervisor)
        assert "certificate" in supervisor.last_words
        send(certified.bootstrap, topics.spectra, packets[-N_LATER:])
        certified.certify_broker(86400.0)
        certified.restart()
        close_case(
            "broker certificate expires, then is renewed",
            certified.bootstrap,
            topics,
            packets,
            table,
            n_faults=2,
            mended_at=now(),
        )
