"""Faults put into a running night raise their alerts within two minutes, which clear after the fix.

Three workers, each with its own topics, on one Apache Kafka and one Prometheus with the rules and
intervals as shipped. The faults come at the same time, one to a worker.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from confluent_kafka import Producer

from cempstream.streams.rehearsal.night_picture import save_night
from cempstream.streams.rehearsal.prometheus_server import PrometheusServer
from tests.broker.conftest import need_kafka
from tests.broker.kafka import KafkaBroker
from tests.support.night import Topics, WorkerProcess, send
from tests.support.spectra import template_packets
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

WITHIN_S = 120.0
RATE = 8.0
N_POISON = 300


@contextmanager
def steady_feed(bootstrap: str, topics: list[str], packets: list[bytes]) -> Iterator[None]:
    """Send good packets to every topic at a steady rate for as long as the block lasts."""
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 5})
    ending = threading.Event()

    def run() -> None:
        for packet in itertools.cycle(packets):
            if ending.wait(1 / RATE):
                return
            for topic in topics:
                producer.produce(topic, packet, headers={"tense": b"test"})
            producer.poll(0)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
        producer.flush(30)


def test_faults_raise_their_alerts_in_time_and_these_clear(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    need_kafka()
    stall_file = tmp_path / "stall"
    with ExitStack() as stack:
        kafka = stack.enter_context(KafkaBroker())
        for_stall, for_poison, for_death = (Topics.create(kafka.bootstrap) for _ in range(3))
        stalling = stack.enter_context(
            WorkerProcess(
                kafka.bootstrap,
                for_stall,
                module="tests.monitor.stalling_worker",
                CEMP_TEST_STALL_FILE=str(stall_file),
            )
        )
        poisoned = stack.enter_context(
            WorkerProcess(kafka.bootstrap, for_poison, CEMP_METRICS__ALLOW_PROBE="true")
        )
        doomed = stack.enter_context(WorkerProcess(kafka.bootstrap, for_death))
        workers = (stalling, poisoned, doomed)
        for worker in workers:
            worker.wait_ready(120)
        at = {worker: f"127.0.0.1:{worker.port}" for worker in workers}
        prometheus = stack.enter_context(
            PrometheusServer(tmp_path / "prometheus", {"cempstream": list(at.values())})
        )
        sources = [for_stall.spectra, for_poison.spectra, for_death.spectra]
        stack.enter_context(steady_feed(kafka.bootstrap, sources, template_packets(100, seed=9)))
        began_s = time.time()

        def firing() -> set[tuple[str, str]]:
            return prometheus.firing()

        wait_until(
            lambda: len(prometheus.query("rate(cemp_spectra_total{outcome='scored'}[20s]) > 1")) == 3,
            lambda: f"not every worker scores: {prometheus.query('cemp_spectra_total')}",
            60,
        )
        assert not firing(), "nothing is wrong yet"

        stall_file.touch()
        doomed.process.kill()
        send(kafka.bootstrap, for_poison.spectra, [b"\x99junk"] * N_POISON, {"tense": b"test"})
        injected_s = time.monotonic()
        expected = {
            "stall": ("CempStalled", at[stalling]),
            "poison burst": ("CempDeadLetters", ""),
            "breaker": ("CempBreakerOpen", at[poisoned]),
            "dead worker": ("CempWorkerDown", at[doomed]),
        }
        raised_s: dict[str, float] = {}

        def note() -> bool:
            now = firing()
            for fault, alert in expected.items():
                if alert in now and fault not in raised_s:
                    raised_s[fault] = time.monotonic() - injected_s
                    mend[fault]()
            return raised_s.keys() == expected.keys()

        def restart() -> None:
            again = WorkerProcess(kafka.bootstrap, for_death, CEMP_METRICS__PORT=str(doomed.port))
            stack.enter_context(again)

        mend: dict[str, Callable[[], None]] = {
            "stall": stall_file.unlink,
            "poison burst": lambda: None,
            "breaker": lambda: None,
            "dead worker": restart,
        }
        wait_until(
            note,
            lambda: f"raised {raised_s}; fires {firing()}; {poisoned.get('/ready')}",
            WITHIN_S,
            every_s=0.5,
        )
        mended_s = time.monotonic()

        def cleared() -> bool:
            if poisoned.get("/ready")[0] != 200:  # as the operator's page says
                with urlopen(Request(f"http://{at[poisoned]}/breaker/probe", method="POST"), timeout=5):
                    pass
            return not firing()

        wait_until(cleared, lambda: f"still fires: {firing()}", 2 * WITHIN_S, every_s=0.5)
        record_property("raised_s", raised_s)
        record_property("cleared_s", time.monotonic() - mended_s)
        picture = tmp_path / "night.png"
        save_night(prometheus, began_s, time.time(), picture, "Three faults")
        assert picture.stat().st_size > 20_000
        history = prometheus.query_range(
            'count by (alertname) (ALERTS{alertstate="firing"})', began_s, time.time(), 5
        )
        names = {curve.labels["alertname"] for curve in history}
        assert names >= {name for name, _ in expected.values()}
        print(f"raised after {raised_s}, all clear {time.monotonic() - mended_s:.0f} s later: {names}")
