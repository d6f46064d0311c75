"""Nothing is lost when the worker is killed, is stopped or stalls, or its machine fails."""

from __future__ import annotations

import resource
import signal
import time
from datetime import timedelta
from pathlib import Path

import pytest

from cempstream.streams.worker import create, faust_app, lag, orphans, progress
from tests.broker.kafka import KafkaBroker
from tests.chaos import jumping_worker
from tests.chaos.harness import EVEN, N_LATER, Supervisor, close_case, now, wait_committed, wait_scored
from tests.chaos.ledger_table import Table
from tests.support.night import Topics, WorkerProcess, read_all, send
from tests.support.poison import poison
from tests.support.spectra import template_spectra

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(900)]

#: What a worker that may not grow has left.
SPARE_BYTES = 16 * 1024 * 1024


def test_kill_in_mid_batch_again_and_again(kafka: KafkaBroker, packets: list[bytes], table: Table) -> None:
    """Every start of the worker has its own packets, however fast the one before was."""
    topics = Topics.create(kafka.bootstrap)
    n_kills, share = 3, len(packets) // 4
    with Supervisor(kafka.bootstrap, topics) as supervisor:
        for i in range(n_kills):
            send(kafka.bootstrap, topics.spectra, packets[i * share : (i + 1) * share])
            wait_scored(supervisor, 100)
            killed_at = now()
            n_ends = len(supervisor.statuses)
            supervisor.worker.process.send_signal(signal.SIGKILL)
            supervisor.wait_ended(n_ends + 1)
        send(kafka.bootstrap, topics.spectra, packets[n_kills * share :])
        close_case(
            f"kill -9 of the worker, {n_kills} times",
            kafka.bootstrap,
            topics,
            packets,
            table,
            n_faults=n_kills,
            mended_at=killed_at,
        )
        assert supervisor.statuses == [-signal.SIGKILL] * n_kills


def test_sigterm_under_load_ends_cleanly(kafka: KafkaBroker, packets: list[bytes], table: Table) -> None:
    topics = Topics.create(kafka.bootstrap)
    with WorkerProcess(kafka.bootstrap, topics, **EVEN) as first:
        first.wait_ready(180)
        send(kafka.bootstrap, topics.spectra, packets[:-N_LATER])
        wait_scored(first, 200)
        stopped_at = now()
        first.process.send_signal(signal.SIGTERM)
        assert first.process.wait(timeout_s=60) == 0  # 1 where its own deadline had to end it
    send(kafka.bootstrap, topics.spectra, packets[-N_LATER:])
    with WorkerProcess(kafka.bootstrap, topics, **EVEN) as second:
        second.wait_ready(180)
        close_case("SIGTERM under load", kafka.bootstrap, topics, packets, table, disturbed_at=stopped_at)


def test_a_worker_that_sleeps_past_its_session(
    kafka: KafkaBroker, packets: list[bytes], table: Table
) -> None:
    """Another has its partitions when it wakes, with batches in hand that the other has delivered too."""
    topics = Topics.create(kafka.bootstrap, partitions=4)
    with (
        Supervisor(kafka.bootstrap, topics) as supervisor,
        WorkerProcess(kafka.bootstrap, topics, **EVEN) as other,
    ):
        supervisor.wait_ready()
        other.wait_ready(180)
        send(kafka.bootstrap, topics.spectra, packets[:-N_LATER])
        wait_scored(supervisor, 100)
        asleep = supervisor.worker.process
        asleep.send_signal(signal.SIGSTOP)
        try:
            disturbed_at = now()
            wait_committed(kafka.bootstrap, topics, 120)
        finally:
            asleep.send_signal(signal.SIGCONT)
        send(kafka.bootstrap, topics.spectra, packets[-N_LATER:])
        close_case(
            "SIGSTOP of one of two workers past its session",
            kafka.bootstrap,
            topics,
            packets,
            table,
            n_faults=2,  # its sleep, and its end if it does not go on
            disturbed_at=disturbed_at,
        )
        supervisor.wait_ready()


def test_a_worker_that_runs_out_of_memory(kafka: KafkaBroker, packets: list[bytes], table: Table) -> None:
    """It may take little more than it has before its first batch: it ends, and no packet is blamed.

    Batches are large: what is free inside the worker does for small ones.
    """
    topics = Topics.create(kafka.bootstrap)
    large = {"CEMP_BATCH__SIZE": "1000", "CEMP_BATCH__WITHIN_S": "1"}
    with Supervisor(kafka.bootstrap, topics, **large) as supervisor:
        supervisor.wait_ready()
        pid = supervisor.worker.process.pid
        n_pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
        limit = n_pages * resource.getpagesize() + SPARE_BYTES
        resource.prlimit(pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        send(kafka.bootstrap, topics.spectra, packets)
        supervisor.wait_ended(1)
        ended_at = now()
        ledger = close_case(
            "no memory left for the worker",
            kafka.bootstrap,
            topics,
            packets,
            table,
            n_faults=1,
            mended_at=ended_at,
        )
        assert len(supervisor.statuses) == 1, "the next has what it needs"
        print(f"\nended with {supervisor.statuses}: {supervisor.first_log[-300:]}")
    assert not ledger.dead


@pytest.mark.parametrize(
    ("fault", "last_words"),
    [
        ("hung-model", "the stream has stalled"),
        ("hung-loop", "Timeout (0:00:05)!"),
        ("hung-at-once", "Timeout (0:00:05)!"),
        ("deaf", "the stream has stalled"),
    ],
)
def test_a_stalled_stream_ends_the_worker(
    kafka: KafkaBroker, packets: list[bytes], table: Table, tmp_path: Path, fault: str, last_words: str
) -> None:
    """Noticed and ended with time to spare in two minutes; here the wait is a few seconds."""
    topics = Topics.create(kafka.bootstrap)
    stall = {"CEMP_TEST_FAULT": fault, "CEMP_TEST_STALL_S": "5"}
    send(kafka.bootstrap, topics.spectra, packets)
    log = tmp_path / "log"
    with WorkerProcess(
        kafka.bootstrap, topics, module="tests.chaos.faulty_worker", log_path=log, **EVEN, **stall
    ) as stalled:
        # No question is put to it before: a hang may come sooner than an answer.
        assert stalled.process.wait(timeout_s=180 + faust_app.STOP_DEADLINE_S) not in (0, None)
        ended_at = now()
    assert last_words in log.read_text()
    assert 0 < len(read_all(kafka.bootstrap, topics.scores)) < len(packets), "in the middle of its work"
    with WorkerProcess(kafka.bootstrap, topics, **EVEN) as healthy:
        healthy.wait_ready(180)
        close_case(
            f"worker stalls in silence ({fault})",
            kafka.bootstrap,
            topics,
            packets,
            table,
            n_faults=1,
            mended_at=ended_at,
        )


@pytest.mark.parametrize("fault", ["never-joins", "given-nothing"])
def test_a_worker_without_partitions_ends_where_nobody_reads_them(
    kafka: KafkaBroker, packets: list[bytes], table: Table, fault: str
) -> None:
    topics = Topics.create(kafka.bootstrap)
    stall = {"CEMP_TEST_FAULT": fault, "CEMP_TEST_STALL_S": "5"}
    send(kafka.bootstrap, topics.spectra, packets[:1000])
    with WorkerProcess(kafka.bootstrap, topics, module="tests.chaos.faulty_worker", **EVEN, **stall) as lost:
        assert lost.process.wait(timeout_s=90) == 1
        ended_at = now()
        assert "event=partitions_unread" in lost.process.log_tail(1 << 20)  # stacks follow it
    with WorkerProcess(kafka.bootstrap, topics, **EVEN) as healthy:
        healthy.wait_ready(180)
        close_case(
            f"worker gets no partition ({fault})",
            kafka.bootstrap,
            topics,
            packets[:1000],
            table,
            n_faults=1,
            mended_at=ended_at,
        )


def test_a_stall_is_over_within_two_minutes() -> None:
    """Of the waits that the tests before shorten: what waits is seen, found stale, and the end is bounded.

    A lost worker is ended by what the broker says of its group: beyond these waits as late as the answer is.
    """
    seen_s = create.ASK_INTERVAL_S + 3 * lag._TIMEOUT_S + progress.WATCH_INTERVAL_S
    assert seen_s + progress.STALL_S + faust_app.STOP_DEADLINE_S <= 120
    assert orphans.PATIENCE_S + 2 * orphans._INTERVAL_S <= 120


def test_a_full_disk_costs_the_log_and_no_spectrum(
    kafka: KafkaBroker, packets: list[bytes], table: Table
) -> None:
    """From the middle of the work on, no file of the worker's can grow: neither its log nor a temporary one.

    A limit on the process does what a full disk does, and only to it.
    """
    (victim,) = template_spectra(1, seed=12)
    bad = [packet for packet, _ in poison(victim).values()] * 3
    topics = Topics.create(kafka.bootstrap)
    with WorkerProcess(kafka.bootstrap, topics, **EVEN) as full:
        full.wait_ready(180)
        send(kafka.bootstrap, topics.spectra, [*bad[:10], *packets[:1000]])
        wait_scored(full, 100)
        while "event=dead_letter" not in full.process.log_tail():  # each is told, as long as there is room
            time.sleep(0.1)
        resource.prlimit(full.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        disturbed_at = now()
        log_before = full.process.log_tail()
        send(kafka.bootstrap, topics.spectra, [*bad[10:], *packets[1000:]])
        close_case(
            "disk full for the worker",
            kafka.bootstrap,
            topics,
            packets,
            table,
            n_poison=len(bad),
            disturbed_at=disturbed_at,
        )
        assert full.process.log_tail() == log_before, "not one of twenty dead letters is in the log"
        assert full.get("/ready")[0] == 200
        full.process.send_signal(signal.SIGTERM)
        assert full.process.wait(timeout_s=30) == 0


def test_a_clock_that_jumps_back(kafka: KafkaBroker, packets: list[bytes], table: Table) -> None:
    """The wall clock goes back by a day in the middle of the work."""
    topics = Topics.create(kafka.bootstrap)
    n_before = 1000
    with WorkerProcess(kafka.bootstrap, topics, module="tests.chaos.jumping_worker", **EVEN) as jumping:
        jumping.wait_ready(180)
        send(kafka.bootstrap, topics.spectra, packets[:n_before])
        wait_scored(jumping, n_before)
        jumping.process.send_signal(jumping_worker.SIGNAL)
        disturbed_at = now()
        send(kafka.bootstrap, topics.spectra, packets[n_before:])
        ledger = close_case("clock jumps back by a day", kafka.bootstrap, topics, packets, table)
        n_early = jumping.metric("cemp_negative_latency_total")
        n_timed = jumping.metric("cemp_end_to_end_latency_seconds_count")
        assert jumping.get("/live")[0] == jumping.get("/ready")[0] == 200
    published = [scores[0].published_at for scores in ledger.scores.values()]
    assert sum(moment < disturbed_at - timedelta(hours=12) for moment in published) == n_early
    assert n_early == len(packets) - n_before, "what seems to come from the future is counted, not measured"
    assert n_timed == n_before
