"""Nothing is lost when the broker moves to another address and its name follows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.conftest import need_kafka
from tests.broker.linked_kafka import LinkedKafka
from tests.chaos.harness import N_HELD, N_LATER, Supervisor, close_case, now, wait_scored
from tests.chaos.ledger_table import Table
from tests.support.night import Topics, send

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(900)]

#: Reserved for tests: no resolver knows it.
NAME = "kafka.test"

#: A name follows some time after its machine.
_LATE_S = 5.0


@pytest.fixture(scope="module")
def named() -> Iterator[LinkedKafka]:
    need_kafka()
    with LinkedKafka(host=NAME) as kafka:
        yield kafka


def test_the_name_of_the_broker_means_another_address(
    named: LinkedKafka, packets: list[bytes], table: Table, tmp_path: Path
) -> None:
    """Nothing answers at the old address any more; the worker finds the new one without a restart."""
    topics = Topics.create(named.bootstrap)
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {NAME}\n")
    with Supervisor(
        named.bootstrap,
        topics,
        module="tests.support.own_names",
        arguments=(str(hosts), "worker"),
        CEMP_KAFKA__BOOTSTRAP=named.linked,
    ) as supervisor:
        supervisor.wait_ready()
        send(named.bootstrap, topics.spectra, packets[:-N_LATER])
        wait_scored(supervisor, 200)
        named.move("127.0.0.2")
        time.sleep(_LATE_S)
        hosts.write_text(f"127.0.0.1 localhost\n127.0.0.2 {NAME}\n")  # in place: a new file is not seen
        mended_at = now()
        send(named.bootstrap, topics.spectra, packets[-N_LATER:])
        close_case(
            "the broker's name means another address",
            named.bootstrap,
            topics,
            packets,
            table,
            n_faults=1,
            n_read_again=N_HELD,  # the outputs' connections may be renewed before that of the commits
            mended_at=mended_at,
        )
        assert min(named.link.n_carried) > 0, "the worker has come to the new address"
        assert supervisor.statuses == [], supervisor.first_log
