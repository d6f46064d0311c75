"""The breaker in a running worker: it opens in place, is seen, and probes by itself and by command."""

from __future__ import annotations

import json
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


def test_one_surveys_rubbish_does_not_stop_another(bootstrap: str) -> None:
    """The flood is larger than the queue of its topic, so that what is fetched of it stands in the way."""
    topics = Topics.create(bootstrap, partitions=2)
    bad, good = topics.spectra, Topics.create(bootstrap, partitions=2).spectra
    settings = {
        "CEMP_TOPICS__SPECTRA": json.dumps([bad, good]),
        "CEMP_BREAKER__WINDOW": "50",
        "CEMP_BREAKER__PROBE_AFTER_S": "3600",
        "CEMP_BATCH__SIZE": "256",
        "CEMP_METRICS__ALLOW_PROBE": "true",
    }
    n_junk, n_more = 3000, 1000
    with WorkerProcess(bootstrap, topics, **settings) as worker:

        def is_held(topic: str) -> bool:
            return worker.metric(f'cemp_breaker_open{{topic="{topic}"}}') == 1

        def n_scored() -> float:
            return worker.metric("cemp_spectra_total") - worker.metric("cemp_dlq_total")

        worker.wait_ready(150)
        send(bootstrap, bad, (b"\x99 junk %d" % i for i in range(n_junk)))
        wait_until(lambda: is_held(bad), "its breaker did not open")
        send(bootstrap, good, template_packets(N_GOOD, seed=63))
        send(bootstrap, bad, (b"\x99 more junk %d" % i for i in range(n_more)))
        send(bootstrap, good, template_packets(N_GOOD, seed=64))
        wait_until(lambda: n_scored() == 2 * N_GOOD, lambda: f"only {n_scored()} of the good are scored")
        assert worker.metric("cemp_dlq_total") < n_junk, "the rest of the flood is held back"
        assert is_held(bad)
        assert not is_held(good)
        assert worker.get("/ready")[0] == worker.get("/live")[0] == 200

        send(bootstrap, bad, template_packets(N_GOOD, seed=65))
        place = f"127.0.0.1:{worker.port}"
        n_sent = n_junk + n_more + 3 * N_GOOD

        def probe() -> None:
            result = CliRunner().invoke(app, ["dlq", "probe", "--worker", place, "--topic", bad])
            assert result.exit_code == 0, result.output

        def is_read_to_its_end() -> bool:
            probe()
            return worker.metric("cemp_spectra_total") == n_sent

        def is_closed() -> bool:
            probe()
            return not is_held(bad)

        wait_until(is_read_to_its_end, "probes do not bring the rest", 120)
        send(bootstrap, bad, template_packets(N_GOOD, seed=66))  # the last batch may have been mixed
        wait_until(is_closed, "good packets do not close it")
        ledger = wait_for(bootstrap, topics, n_sent + N_GOOD)
        unknown = CliRunner().invoke(app, ["dlq", "probe", "--worker", place, "--topic", "desi.spectra.v1"])
        assert unknown.exit_code == 1
        assert unknown.stderr == f"{place}: it does not read desi.spectra.v1\n"
    counted = len(ledger.scores), len(ledger.dead), ledger.n_repeats
    assert counted == (4 * N_GOOD, n_junk + n_more, 0)
    assert {topic for topic, *_ in ledger.dead} == {bad}


def test_partitions_move_while_a_topic_is_held_and_nothing_is_lost(bootstrap: str) -> None:
    """A second worker comes and goes: what the first had left out is read by whoever has the partition."""
    topics = Topics.create(bootstrap, partitions=2)
    bad, good = topics.spectra, Topics.create(bootstrap, partitions=2).spectra
    settings = {
        "CEMP_TOPICS__SPECTRA": json.dumps([bad, good]),
        "CEMP_BREAKER__WINDOW": "50",
        "CEMP_BREAKER__PROBE_AFTER_S": "1",
        "CEMP_BATCH__SIZE": "256",
    }
    n_junk = 3000

    def n_held(worker: WorkerProcess) -> float:
        return worker.metric(f'cemp_breaker_open{{topic="{bad}"}}')

    def n_waiting(worker: WorkerProcess) -> float:
        return worker.metric("cemp_consumer_lag_messages")

    with WorkerProcess(bootstrap, topics, **settings) as first:
        first.wait_ready(150)
        send(bootstrap, bad, (b"\x99 junk %d" % i for i in range(n_junk)))
        wait_until(lambda: n_held(first) == 1, "its breaker did not open")
        send(bootstrap, good, template_packets(N_GOOD, seed=67))
        send(bootstrap, bad, template_packets(N_GOOD, seed=68))
        with WorkerProcess(bootstrap, topics, **settings) as second:
            second.wait_ready(150)
            send(bootstrap, good, template_packets(N_GOOD, seed=69))
            wait_until(lambda: second.metric("cemp_spectra_total") > 0, "it has nothing to read")
        send(bootstrap, good, template_packets(N_GOOD, seed=70))
        ledger = wait_for(bootstrap, topics, n_junk + 4 * N_GOOD)
        assert first.process.is_running, first.process.log_tail()
        wait_until(lambda: n_waiting(first) == 0, lambda: f"{n_waiting(first)} wait")
    assert (len(ledger.scores), len(ledger.dead)) == (4 * N_GOOD, n_junk)


def test_a_worker_that_is_not_there_is_said() -> None:
    result = CliRunner().invoke(app, ["dlq", "probe", "--worker", "127.0.0.1:1"])
    assert result.exit_code == 1
    assert result.stderr.startswith("127.0.0.1:1: ")
