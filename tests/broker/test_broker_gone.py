"""A worker whose broker is gone ends in order when asked to, and does not fill its log."""

import signal
import time

import pytest

from cempstream.streams.rehearsal.embedded import EmbeddedBroker
from tests.support.night import Topics, WorkerProcess


@pytest.mark.timeout(240)
def test_sigterm_ends_a_worker_whose_broker_has_gone() -> None:
    with EmbeddedBroker() as broker:
        topics = Topics.create(broker.bootstrap)
        worker = WorkerProcess(broker.bootstrap, topics)
        with worker:
            worker.wait_ready()
            broker.stop()
            time.sleep(3.0)  # its consumer asks again and again
            worker.process.send_signal(signal.SIGTERM)
            status = worker.process.wait(60)
            said = worker.process.log_tail()
    assert status == 0, said
    assert "Traceback" not in said
    assert said.count("the worker has stopped") == 1
    assert said.count("Unable connect to node") == 1, "once a minute, not thirty times a second"
