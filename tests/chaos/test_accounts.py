"""First of all: the suite's ledger notices a missing spectrum."""

from __future__ import annotations

import pytest

from tests.broker.kafka import KafkaBroker
from tests.chaos.harness import close_case, n_missing
from tests.chaos.ledger_table import Row, Table
from tests.support.night import Topics, WorkerProcess, read_ledger, send

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(300)]


def test_the_ledger_catches_a_dropped_spectrum(
    kafka: KafkaBroker, packets: list[bytes], table: Table
) -> None:
    """One packet is never sent although it is counted: the ledger must miss exactly that one."""
    topics = Topics.create(kafka.bootstrap)
    with WorkerProcess(kafka.bootstrap, topics) as worker:
        worker.wait_ready(180)
        send(kafka.bootstrap, topics.spectra, packets[:-1])
        close_case("before the dropped one", kafka.bootstrap, topics, packets[:-1], Table())
    n_lost = n_missing(read_ledger(kafka.bootstrap, topics), packets)
    table.rows.append(Row("one dropped on purpose: the ledger's own test", len(packets), n_lost, 0, 0))
    assert n_lost == 1
