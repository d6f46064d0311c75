"""The ledger catches wrong workers: each of `wrong_worker` must fail the check that every case ends with."""

from __future__ import annotations

import signal

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.broker.kafka import KafkaBroker
from tests.chaos.harness import EVEN, close_case, wait_committed
from tests.chaos.ledger_table import Table
from tests.chaos.wrong_worker import WRONG
from tests.support.night import MAX_MESSAGE_BYTES, Topics, WorkerProcess, send
from tests.support.poison import poison
from tests.support.spectra import template_spectra

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(300)]

N_PACKETS = 300

#: Long enough to read all outcomes, short because what is missing never comes.
_OUTCOMES_S = 8.0


def check(kafka: KafkaBroker, topics: Topics, packets: list[bytes], n_poison: int) -> None:
    """Do what every case ends with."""
    close_case(
        "a wrong worker",
        kafka.bootstrap,
        topics,
        packets,
        Table(),
        n_poison=n_poison,
        timeout_s=120,
        outcomes_within_s=_OUTCOMES_S,
    )


def start(kafka: KafkaBroker, topics: Topics, wrong: str | None) -> WorkerProcess:
    """Start a wrong worker, or the right one."""
    if wrong is None:
        return WorkerProcess(kafka.bootstrap, topics, **EVEN)
    return WorkerProcess(
        kafka.bootstrap, topics, module="tests.chaos.wrong_worker", **EVEN, CEMP_TEST_WRONG=wrong
    )


def test_every_wrong_worker_is_tried() -> None:
    tried = {*ALONE, "swallows-failures", "acknowledges-first"}
    assert tried == WRONG.keys()
    assert len(tried) >= 8


#: What the check says of workers that are wrong whenever they work.
ALONE = {
    "drops-the-last": "packets have no outcome",
    "drops-dead-letters": "packets have no outcome",
    "drops-alerts": r"^0 alerts of \d+ candidates",
    "drops-json": r"^0 alerts in JSON of \d+",
    "sends-twice": r"\d+ repeats, 0 are allowed",
    "mixes-rows": "packets have no outcome",
    "reads-past-one": "packets have no outcome",
}


@pytest.mark.parametrize("wrong", [None, *ALONE])
def test_a_wrong_worker_is_caught_and_the_right_one_is_not(
    kafka: KafkaBroker, packets: list[bytes], wrong: str | None
) -> None:
    topics = Topics.create(kafka.bootstrap)
    bad = [packet for packet, _ in poison(template_spectra(1, seed=3)[0]).values()]
    send(kafka.bootstrap, topics.spectra, [*packets[:N_PACKETS], *bad])
    with start(kafka, topics, wrong):
        if wrong is None:
            check(kafka, topics, packets[:N_PACKETS], len(bad))
        else:
            with pytest.raises(AssertionError, match=ALONE[wrong]):
                check(kafka, topics, packets[:N_PACKETS], len(bad))


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_acknowledges_first_is_caught(
    kafka: KafkaBroker, packets: list[bytes], end: signal.Signals
) -> None:
    topics = Topics.create(kafka.bootstrap)
    send(kafka.bootstrap, topics.spectra, packets[:N_PACKETS])
    with start(kafka, topics, "acknowledges-first") as wrong:
        wait_committed(kafka.bootstrap, topics, 120)
        wrong.process.send_signal(end)
        assert wrong.process.wait(timeout_s=60) is not None
    with start(kafka, topics, None) as right:
        right.wait_ready(120)
        with pytest.raises(AssertionError, match=f"{N_PACKETS} of {N_PACKETS} packets have no outcome"):
            check(kafka, topics, packets[:N_PACKETS], 0)


def test_a_worker_that_swallows_failures_is_caught(kafka: KafkaBroker, packets: list[bytes]) -> None:
    topics = Topics.create(kafka.bootstrap)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    limit_scores(admin, topics, 100)
    send(kafka.bootstrap, topics.spectra, packets[:N_PACKETS])
    with start(kafka, topics, "swallows-failures"):
        wait_committed(kafka.bootstrap, topics, 120)
        limit_scores(admin, topics, MAX_MESSAGE_BYTES)
        with pytest.raises(AssertionError, match=f"{N_PACKETS} of {N_PACKETS} packets have no outcome"):
            check(kafka, topics, packets[:N_PACKETS], 0)


def limit_scores(admin: AdminClient, topics: Topics, n_bytes: int) -> None:
    """Set the largest message that the scores topic takes."""
    entry = ConfigEntry("max.message.bytes", str(n_bytes), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topics.scores, incremental_configs=[entry])
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(30)
