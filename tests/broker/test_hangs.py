"""A worker whose stderr takes nothing goes on; one that hangs is not told of as alive, and ends."""

from __future__ import annotations

import signal

import pytest

from tests.support.night import Topics, WorkerProcess, send, wait_for
from tests.support.notify_socket import NotifySocket
from tests.support.spectra import template_packets

pytestmark = pytest.mark.timeout(300)

N_STARS = 60
#: More than lines may wait.
N_JUNK = 1500


def test_a_full_stderr_holds_up_nothing(bootstrap: str) -> None:
    topics = Topics.create(bootstrap)
    worker = WorkerProcess(
        bootstrap, topics, module="tests.support.full_pipe", arguments=("worker",), CEMP_BREAKER__SHARE="1.0"
    )
    with worker:
        worker.wait_ready()
        send(bootstrap, topics.spectra, [b"\x99junk %d" % i for i in range(N_JUNK)])
        send(bootstrap, topics.spectra, template_packets(N_STARS, seed=61))
        ledger = wait_for(bootstrap, topics, N_STARS + N_JUNK)
        assert (len(ledger.scores), len(ledger.dead)) == (N_STARS, N_JUNK)
        assert worker.get("/live") == (200, "ok\n")
        assert worker.metric("cemp_log_lines_dropped_total") > 0
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(timeout_s=60) == 0


def test_a_worker_that_hangs_is_not_told_of_as_alive(bootstrap: str) -> None:
    topics = Topics.create(bootstrap)
    fault = {"CEMP_TEST_FAULT": "hung-at-once", "CEMP_TEST_STALL_S": "5"}
    with NotifySocket() as told:
        worker = WorkerProcess(
            bootstrap, topics, module="tests.chaos.faulty_worker", NOTIFY_SOCKET=told.path, **fault
        )
        with worker:
            worker.wait_ready()
            send(bootstrap, topics.spectra, template_packets(10, seed=62))
            before = told.wait_for("STATUS=hangs on purpose")
            assert before[0] == "READY=1"
            assert before.count("WATCHDOG=1") == len(before) - 2 > 0
            assert worker.process.wait(timeout_s=120) == 1
            assert told.rest() == []
