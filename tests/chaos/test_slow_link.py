"""Nothing is lost on a slow line, which ends no worker, and none on one that swallows all it is given."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.broker.conftest import need_kafka
from tests.broker.linked_kafka import LinkedKafka
from tests.chaos.harness import N_HELD, N_LATER, Supervisor, close_case, now, wait_scored
from tests.chaos.ledger_table import Table
from tests.support.night import Topics, send

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(900)]

#: A hundredth of what a worker takes in; four batches in flight need more than 30 s to leave.
BYTES_PER_S = 150_000

N_SLOW = 300


@pytest.fixture(scope="module")
def linked() -> Iterator[LinkedKafka]:
    need_kafka()
    with LinkedKafka() as kafka:
        yield kafka


def test_a_slow_line(linked: LinkedKafka, packets: list[bytes], table: Table) -> None:
    topics = Topics.create(linked.bootstrap)
    with Supervisor(linked.bootstrap, topics, CEMP_KAFKA__BOOTSTRAP=linked.linked) as supervisor:
        supervisor.wait_ready()
        send(linked.bootstrap, topics.spectra, packets[:500])
        wait_scored(supervisor, 500)
        linked.link.bytes_per_s = BYTES_PER_S
        disturbed_at = now()
        began_s = time.monotonic()
        send(linked.bootstrap, topics.spectra, packets[500 : 500 + N_SLOW])
        wait_scored(supervisor, 500 + N_SLOW, timeout_s=600)
        print(f"\n{N_SLOW / (time.monotonic() - began_s):.1f} spectra/s at {BYTES_PER_S / 1e3:.0f} kB/s")
        assert supervisor.statuses == [], supervisor.first_log
        linked.link.bytes_per_s = None
        close_case(
            f"line throttled to {BYTES_PER_S / 1e3:.0f} kB/s",
            linked.bootstrap,
            topics,
            packets[: 500 + N_SLOW],
            table,
            disturbed_at=disturbed_at,
        )


def test_a_network_that_swallows_all(linked: LinkedKafka, packets: list[bytes], table: Table) -> None:
    """Every connection stays open and carries nothing more, as when a firewall forgets it; new ones do."""
    topics = Topics.create(linked.bootstrap)
    settings = {"CEMP_KAFKA__BOOTSTRAP": linked.linked, "CEMP_KAFKA__REQUEST_TIMEOUT_S": "10"}
    with Supervisor(linked.bootstrap, topics, **settings) as supervisor:
        supervisor.wait_ready()
        send(linked.bootstrap, topics.spectra, packets[:-N_LATER])
        wait_scored(supervisor, 200)
        linked.link.swallow()
        disturbed_at = now()
        send(linked.bootstrap, topics.spectra, packets[-N_LATER:])
        close_case(
            "connections stay open and carry nothing",
            linked.bootstrap,
            topics,
            packets,
            table,
            n_faults=1,
            n_read_again=N_HELD,  # the outputs' connections may be renewed before that of the commits
            disturbed_at=disturbed_at,
        )
        assert supervisor.statuses == [], supervisor.first_log
