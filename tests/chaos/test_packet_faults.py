"""Nothing is lost when packets are malformed, repeated, too many at once, or break a model."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka.admin import AdminClient

from cempstream.processors.grid import Array
from cempstream.processors.spectrum import Reason
from cempstream.schemas.codec import peek_ids
from cempstream.schemas.score import decode_score
from cempstream.streams.telemetry.metrics import LATENCY_BUCKETS_S
from tests.broker.kafka import KafkaBroker
from tests.chaos.backlog import numbered
from tests.chaos.harness import EVEN, close_case, now, wait_committed, wait_scored
from tests.chaos.ledger_table import Row, Table
from tests.support.night import Reader, Topics, WorkerProcess, headers, read_all, read_ledger, send
from tests.support.odd_packets import odd_packets
from tests.support.poison import poison
from tests.support.spectra import template_spectra

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(900)]

MEMORY_BAR_BYTES = 1024**3
N_ODD = 20_000


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
    with WorkerProcess(kafka.bootstrap, topics, **EVEN) as worker:
        worker.wait_ready(180)
        send(kafka.bootstrap, topics.spectra, mixed)
        ledger = close_case(
            "poison of every kind at 5 %", kafka.bootstrap, topics, packets, table, n_poison=n_bad
        )
        assert worker.get("/ready")[0] == 200
    assert sorted(ledger.reasons().elements()) == sorted(reason.value for _, reason in bad)


def test_packets_without_a_time(kafka: KafkaBroker, packets: list[bytes], table: Table) -> None:
    """A producer may send none (-1): how long such packets wait is not known, and they are scored alike."""
    (victim,) = template_spectra(1, seed=12)
    bad = [packet for packet, _ in poison(victim).values()]
    topics = Topics.create(kafka.bootstrap)
    with WorkerProcess(kafka.bootstrap, topics, **EVEN) as worker:
        worker.wait_ready(180)
        send(kafka.bootstrap, topics.spectra, [*packets[:1000], *bad], timestamp_ms=-1)
        sent = read_all(kafka.bootstrap, topics.spectra)
        assert {message.timestamp()[1] for message in sent} == {-1}
        ledger = close_case(
            "packets without a time",
            kafka.bootstrap,
            topics,
            packets[:1000],
            table,
            n_poison=len(bad),
        )
        assert worker.metric("cemp_consumer_lag_seconds") < 60, "not since 1970"
        assert worker.get("/live")[0] == worker.get("/ready")[0] == 200
    assert {headers(first)["orig.timestamp"] for first, *_ in ledger.dead.values()} == {"-1"}


def test_odd_but_valid_packets_cost_themselves_alone(kafka: KafkaBroker, table: Table) -> None:
    """Every field at its extremes: whatever no model can score is a dead letter, and the worker stays."""
    odd = odd_packets(N_ODD, seed=19)
    topics = Topics.create(kafka.bootstrap)
    with WorkerProcess(kafka.bootstrap, topics, CEMP_BREAKER__SHARE="1", **EVEN) as worker:
        worker.wait_ready(180)
        send(kafka.bootstrap, topics.spectra, odd)
        case = "odd but valid packets, every field at its extremes"
        ledger = close_case(case, kafka.bootstrap, topics, odd, table, timeout_s=800)
        assert worker.process.is_running, worker.process.log_tail()
    assert ledger.scores
    assert ledger.reasons()[Reason.PROCESSING_ERROR.value] == 0


def test_the_same_spectrum_twice_has_one_id(kafka: KafkaBroker, packets: list[bytes], table: Table) -> None:
    topics = Topics.create(kafka.bootstrap)
    twice = packets[:1500]
    repeats = Table()
    with WorkerProcess(kafka.bootstrap, topics, **EVEN) as worker:
        worker.wait_ready(180)
        send(kafka.bootstrap, topics.spectra, [*twice, *twice])
        wait_scored(worker, 2 * len(twice))
        # as many as were sent, whatever the rate
        ledger = close_case("", kafka.bootstrap, topics, twice, repeats, n_faults=len(twice), timeout_s=300)
    assert ledger.n_repeats == len(twice)
    assert all(len({score.record_id for score in scores}) == 1 for scores in ledger.scores.values())
    table.rows.append(Row("every spectrum sent twice", len(twice), 0, ledger.n_repeats, len(twice)))


@pytest.mark.parametrize(
    ("fault", "case", "n_dead"),
    [("once", "ONNX session fails once", 0), ("row", "ONNX session always fails on one spectrum", 1)],
    ids=["fails once", "fails on one row"],
)
def test_a_failing_session(
    kafka: KafkaBroker, packets: list[bytes], table: Table, fault: str, case: str, n_dead: int
) -> None:
    topics = Topics.create(kafka.bootstrap)
    with WorkerProcess(
        kafka.bootstrap, topics, module="tests.chaos.faulty_worker", **EVEN, CEMP_TEST_FAULT=fault
    ) as worker:
        worker.wait_ready(180)
        send(kafka.bootstrap, topics.spectra, packets)
        ledger = close_case(case, kafka.bootstrap, topics, packets, table)
        assert worker.get("/ready")[0] == 200
    assert len(ledger.dead) == n_dead
    assert all(
        headers(first)["error.reason"] == Reason.PROCESSING_ERROR.value for first, *_ in ledger.dead.values()
    )


def test_a_session_that_always_fails_stops_the_worker_unacknowledged(
    kafka: KafkaBroker, packets: list[bytes], table: Table
) -> None:
    topics = Topics.create(kafka.bootstrap)
    send(kafka.bootstrap, topics.spectra, packets)
    with WorkerProcess(
        kafka.bootstrap, topics, module="tests.chaos.faulty_worker", **EVEN, CEMP_TEST_FAULT="always"
    ) as worker:
        assert worker.process.wait(timeout_s=180) == 1
    assert read_ledger(kafka.bootstrap, topics).n_accounted == 0
    mended_at = now()
    with WorkerProcess(kafka.bootstrap, topics, **EVEN) as worker:
        worker.wait_ready(180)
        close_case(
            "ONNX session always fails, then is fixed",
            kafka.bootstrap,
            topics,
            packets,
            table,
            mended_at=mended_at,
        )


@pytest.mark.timeout(2400)
def test_a_backlog_of_a_hundred_thousand(kafka: KafkaBroker, stars: list[bytes], table: Table) -> None:
    """One worker under its memory bar, and a histogram that says how long the spectra really waited."""
    n_spectra = 100_000
    n_bytes = n_spectra * len(stars[0])
    n_free = shutil.disk_usage(tempfile.gettempdir()).free
    assert n_free > 1.3 * n_bytes, f"the broker's log needs {1.3 * n_bytes / 1e9:.1f} GB, {n_free} B are free"
    topics = Topics.create(kafka.bootstrap)
    sent: set[str | None] = set()

    def packets() -> Iterator[bytes]:
        for packet in numbered(stars, n_spectra):
            sent.add(peek_ids(packet)[0])
            yield packet

    send(kafka.bootstrap, topics.spectra, packets())
    with WorkerProcess(kafka.bootstrap, topics) as worker:
        worker.wait_ready()
        wait_committed(kafka.bootstrap, topics, 2000)
        peak_bytes = _peak_memory(worker)
        with Reader(kafka.bootstrap, topics.scores, topics.dlq) as reader:
            deadline_s = time.monotonic() + 300
            while len(reader.messages) < n_spectra and time.monotonic() < deadline_s:
                reader.read(2.0, deadline_s)
        # One score after the other: all of them at once, decoded, are gigabytes.
        waits_s: dict[str, float] = {}
        for message in reader.messages:
            assert message.topic() == topics.scores
            score = decode_score(message.value() or b"")
            waits_s[score.spectrum_id] = (score.published_at - score.reduced_at).total_seconds()
        _check_histogram(worker, np.array(list(waits_s.values())))
    n_lost, n_repeats = len(sent - waits_s.keys()), len(reader.messages) - len(waits_s)
    table.rows.append(Row(f"backlog of {n_spectra:,}", n_spectra, n_lost, n_repeats, 0))
    print(f"peak memory {peak_bytes / 2**20:.0f} MiB, {max(waits_s.values()):.0f} s for the last")
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.delete_topics([topics.spectra])[topics.spectra].result(30)  # three gigabytes
    assert n_lost == n_repeats == 0
    assert peak_bytes < MEMORY_BAR_BYTES


def _peak_memory(worker: WorkerProcess) -> int:
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _check_histogram(worker: WorkerProcess, waits_s: Array) -> None:
    """Hold the worker's histogram against the times that its results carry.

    A result is published when it is handed over and counted when it is delivered, a moment later.
    """
    moment_s = 5.0
    assert np.ptp(waits_s) > 20, "the last waited longer than the first"
    assert worker.metric("cemp_end_to_end_latency_seconds_count") == len(waits_s)
    mean_s = worker.metric("cemp_end_to_end_latency_seconds_sum") / len(waits_s)
    assert 0 <= mean_s - waits_s.mean() < moment_s
    for edge_s in LATENCY_BUCKETS_S:
        n_told = _bucket(worker, edge_s)
        assert np.sum(waits_s <= edge_s - moment_s) <= n_told <= np.sum(waits_s <= edge_s)


def _bucket(worker: WorkerProcess, edge_s: float) -> float:
    start = f'cemp_end_to_end_latency_seconds_bucket{{le="{float(edge_s)}"'
    (line,) = (line for line in worker.get("/metrics")[1].splitlines() if line.startswith(start))
    return float(line.rsplit(" ", 1)[1])
