"""The breaker in a running worker: it opens in place, is seen, and probes by itself and by command."""

from __future__ import annotations

import time

import pytest
from typer.testing import CliRunner

from cempstream.streams.cli import app
from tests.support.night import Topics, WorkerProcess, send, wait_for
from tests.support.spectra import template_packets
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(240)

N_JUNK, N_GOOD = 128, 200
JUNK = [b"\x99 junk %03d" % i for i in range(N_JUNK)]
#: One batch is the window, so that the flood's first batches open it.
SMALL = {"CEMP_BREAKER__WINDOW": "50", "CEMP_BATCH__SIZE": "32", "CEMP_BATCH__MAX_IN_FLIGHT": "1"}


def open_breaker(bootstrap: str, topics: Topics, worker: WorkerProcess) -> None:
    worker.wait_ready(150)
    send(bootstrap, topics.spectra, JUNK)
    wait_until(lambda: worker.metric("cemp_breaker_open") == 1, "the breaker did not open")
    wait_until(lambda: worker.get("/ready")[0] == 503, "it is not seen from outside")
    assert "breaker is open" in worker.get("/ready")[1]
    assert worker.get("/live")[0] == 200, "it stays up: a supervisor must not restart it"


def test_it_opens_in_place_and_probes_by_command(bootstrap: str) -> None:
    topics = Topics.create(bootstrap, partitions=1)
    settings = {**SMALL, "CEMP_BREAKER__PROBE_AFTER_S": "3600", "CEMP_METRICS__ALLOW_PROBE": "true"}
    with WorkerProcess(bootstrap, topics, **settings) as worker:
        open_breaker(bootstrap, topics, worker)
        n_dead = worker.metric("cemp_dlq_total")
        assert n_dead < N_JUNK, "the rest of the flood is held back"
        send(bootstrap, topics.spectra, template_packets(N_GOOD, seed=61))
        time.sleep(2)
        assert worker.metric("cemp_dlq_total") == n_dead
        assert worker.metric("cemp_spectra_total") == n_dead

        def probe_and_look() -> bool:
            result = CliRunner().invoke(app, ["dlq", "probe", "--worker", f"127.0.0.1:{worker.port}"])
            assert result.exit_code == 0, result.output
            assert "the next batch is let through" in result.stdout
            return worker.metric("cemp_breaker_open") == 0

        wait_until(probe_and_look, "no probe closed it")
        ledger = wait_for(bootstrap, topics, N_JUNK + N_GOOD)
        wait_until(lambda: worker.get("/ready")[0] == 200, "it is not ready again")
    assert (len(ledger.scores), len(ledger.dead), ledger.n_repeats) == (N_GOOD, N_JUNK, 0)


def test_it_probes_by_itself(bootstrap: str) -> None:
    topics = Topics.create(bootstrap, partitions=1)
    with WorkerProcess(bootstrap, topics, CEMP_BREAKER__PROBE_AFTER_S="1", **SMALL) as worker:
        open_breaker(bootstrap, topics, worker)
        send(bootstrap, topics.spectra, template_packets(N_GOOD, seed=62))
        ledger = wait_for(bootstrap, topics, N_JUNK + N_GOOD)
        wait_until(lambda: worker.get("/ready")[0] == 200, "it is not ready again")
    assert (len(ledger.scores), len(ledger.dead), ledger.n_repeats) == (N_GOOD, N_JUNK, 0)


def test_a_worker_that_is_not_there_is_said() -> None:
    result = CliRunner().invoke(app, ["dlq", "probe", "--worker", "127.0.0.1:1"])
    assert result.exit_code == 1
    assert result.stderr.startswith("127.0.0.1:1: ")
