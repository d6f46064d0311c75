"""Nothing is lost between two topics, whatever ends the worker; and what Faust alone would lose."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from cempstream.streams.rehearsal.child_process import ChildProcess
from cempstream.streams.rehearsal.embedded import Broker, EmbeddedBroker

# what Faust does by itself need not be shown on every broker
only_on_kafka = pytest.mark.parametrize(
    "broker", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True
)
pytestmark = pytest.mark.timeout(400)

N_MESSAGES = 3_000
N_PARTITIONS = 4
BATCH_SIZE = 20  # as in batch_app
# at most 20 events per 10 ms and batch in flight, 0.25 s between commits and as much for a busy machine
MAX_REPEATS = 2_000 * 0.5 + 3 * BATCH_SIZE
TIMEOUT_S = 120

_FOLDER = Path(__file__).parent
_ENTRIES = {
    "faust": [sys.executable, "-m", "faust", "-A", "batch_app", "worker", "-l", "warn"],
    "run_worker": [sys.executable, "batch_app.py"],
}


class Flow:
    """Numbers in a source topic, workers that copy them to a target topic, and what has arrived there."""

    def __init__(self, bootstrap: str, new_topic: Callable[..., str]) -> None:
        self.source, self.target = new_topic(N_PARTITIONS), new_topic(N_PARTITIONS)
        self._bootstrap = bootstrap
        self._group = f"test-{uuid.uuid4().hex[:8]}"
        self._workers: list[ChildProcess] = []
        self._producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})

    def feed(self, n_messages: int = N_MESSAGES, first: int = 0) -> None:
        for number in range(first, first + n_messages):
            self._producer.produce(self.source, str(number).encode(), str(number).encode())
        assert self._producer.flush(30) == 0

    def worker(self, entry: str = "run_worker", **env: str | float) -> ChildProcess:
        worker = ChildProcess(
            _ENTRIES[entry],
            cwd=_FOLDER,
            env={
                **os.environ,
                "BOOTSTRAP": self._bootstrap,
                "GROUP": self._group,
                "SOURCE": self.source,
                "TARGET": self.target,
                "PYTHONPATH": str(_FOLDER.parents[1]),
                **{key: str(value) for key, value in env.items()},
            },
        )
        self._workers.append(worker)
        return worker

    def arrived(self) -> Counter[int]:
        """Count every number in the target topic, reading to its end until it is quiet."""
        consumer = Consumer({"bootstrap.servers": self._bootstrap, "group.id": "count", "log_level": 0})
        partitions = [TopicPartition(self.target, i, 0) for i in range(N_PARTITIONS)]
        consumer.assign(partitions)
        found: Counter[int] = Counter()
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 0.8 or not _is_at_end(consumer, partitions):
            for message in consumer.consume(5_000, timeout=0.2):
                found[int(message.value())] += 1
                quiet_since = time.monotonic()
        consumer.close()
        return found

    def n_committed(self) -> int:
        """Return how many events the group has committed."""
        consumer = Consumer({"bootstrap.servers": self._bootstrap, "group.id": self._group, "log_level": 0})
        partitions = [TopicPartition(self.source, i) for i in range(N_PARTITIONS)]
        committed = consumer.committed(partitions, timeout=20)
        consumer.close()
        return sum(max(0, partition.offset) for partition in committed)

    def wait_for(self, n_different: int, timeout_s: float = TIMEOUT_S) -> Counter[int]:
        """Wait until so many different numbers have arrived."""
        deadline = time.monotonic() + timeout_s
        while len(found := self.arrived()) < n_different:
            assert time.monotonic() < deadline, f"{len(found)} of {n_different} arrived: {self.output()}"
        return found

    def wait_until_copying(self, worker: ChildProcess, n_given: int = 1) -> None:
        """Wait until the worker has copied `n_given` events."""
        deadline = time.monotonic() + TIMEOUT_S
        while _last_number(worker) < n_given:
            assert worker.is_running, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.02)

    def output(self) -> str:
        return "\n".join(worker.log_tail() for worker in self._workers)

    def end(self) -> None:
        for worker in self._workers:
            worker.kill()


def _is_at_end(consumer: Consumer, partitions: list[TopicPartition]) -> bool:
    return all(
        max(0, at.offset) >= consumer.get_watermark_offsets(at, timeout=20)[1]
        for at in consumer.position(partitions)
    )


def _last_number(worker: ChildProcess) -> int:
    # Faust's command line turns what is printed into log lines
    numbers = re.findall(r"(?:^|\] )(\d+) *$", worker.log_tail(), re.MULTILINE)
    return int(numbers[-1]) if numbers else 0


@pytest.fixture
def flow(bootstrap: str, new_topic: Callable[..., str]) -> Iterator[Flow]:
    flow = Flow(bootstrap, new_topic)
    yield flow
    flow.end()


@pytest.mark.parametrize("entry", list(_ENTRIES))
def test_sigterm_exits_0_and_repeats_nothing_an_exception_exits_1_and_loses_nothing(
    flow: Flow, entry: str
) -> None:
    flow.feed()
    first = flow.worker(entry)
    flow.wait_until_copying(first)
    first.send_signal(signal.SIGTERM)
    assert first.wait(TIMEOUT_S) == 0  # 1 where its own deadline had to end it
    found = flow.arrived()
    assert 0 < len(found) < N_MESSAGES
    assert set(found.values()) == {1}
    assert flow.n_committed() == len(found)  # so that nothing is repeated

    second = flow.worker(entry, FAIL_AFTER=(N_MESSAGES - len(found)) // 2)
    assert second.wait(TIMEOUT_S) == 1
    assert len(found) < len(flow.arrived()) < N_MESSAGES

    flow.worker(entry)
    assert len(flow.wait_for(N_MESSAGES)) == N_MESSAGES


def test_a_kill_loses_nothing_and_repeats_little(flow: Flow) -> None:
    flow.feed()
    first = flow.worker()
    flow.wait_until_copying(first, 500)
    first.kill()
    flow.worker()
    found = flow.wait_for(N_MESSAGES)
    assert len(found) == N_MESSAGES
    assert sum(found.values()) - N_MESSAGES <= MAX_REPEATS


def test_batches_delivered_out_of_order_are_not_committed_out_of_order(flow: Flow) -> None:
    flow.feed()
    first = flow.worker(HANG_FIRST="1")
    flow.wait_until_copying(first, BATCH_SIZE + 1)
    time.sleep(1.0)  # four commit intervals
    first.kill()
    before = flow.arrived()
    assert flow.n_committed() == 0
    flow.worker()
    assert flow.wait_for(N_MESSAGES) == Counter(range(N_MESSAGES)) + before


def test_a_second_worker_takes_its_share_and_nothing_is_lost(flow: Flow) -> None:
    flow.feed(500)
    first = flow.worker()
    flow.wait_until_copying(first)
    second = flow.worker()
    n_fed = 500
    deadline = time.monotonic() + TIMEOUT_S
    while _last_number(second) == 0:
        assert time.monotonic() < deadline, flow.output()
        flow.feed(50, first=n_fed)
        n_fed += 50
        time.sleep(0.1)
    found = flow.wait_for(n_fed)
    assert set(found) == set(range(n_fed))
    # Faust forgets what was acknowledged since the last commit before it says that partitions move
    assert sum(found.values()) - n_fed <= MAX_REPEATS
    assert first.is_running


def test_a_message_does_not_wait_for_the_fetch(flow: Flow) -> None:
    """Faust lets a fetch wait for 1.5 s; here it is for longer than this test."""
    worker = flow.worker(FETCH_WAIT_S=10 * TIMEOUT_S)
    for number in range(5):
        flow.feed(1, first=number)
        flow.wait_until_copying(worker, number + 1)


@only_on_kafka
def test_faust_take_loses_the_batch_that_failed(flow: Flow) -> None:
    """Why `take` is banned. If this fails, Faust has fixed it."""
    flow.feed()
    broken = flow.worker(READER="take", FAIL_AFTER=N_MESSAGES // 2)
    flow.wait_until_copying(broken, N_MESSAGES // 4)
    time.sleep(3)
    assert broken.is_running
    broken.kill()
    flow.worker(READER="take")
    time.sleep(10)
    assert len(flow.arrived()) < N_MESSAGES


@only_on_kafka
def test_faust_noack_take_loses_nothing_but_stalls_in_silence(flow: Flow) -> None:
    """Why `EventBatches` ends the process. If this fails, Faust has fixed it."""
    flow.feed()
    broken = flow.worker(READER="noack_take", FAIL_AFTER=N_MESSAGES // 2)
    flow.wait_until_copying(broken, N_MESSAGES // 4)
    time.sleep(3)
    stalled = flow.arrived()
    time.sleep(3)
    assert broken.is_running
    assert flow.arrived() == stalled
    assert len(stalled) < N_MESSAGES
    broken.kill()
    flow.worker(READER="noack_take")
    assert len(flow.wait_for(N_MESSAGES)) == N_MESSAGES


def test_a_worker_whose_broker_is_gone_ends_with_a_failure_in_bounded_time() -> None:
    with EmbeddedBroker() as broker:
        flow = _flow_on(broker)
        flow.feed(200)
        worker = flow.worker(STOP_DEADLINE_S=5)
        flow.wait_until_copying(worker, 200)
        flow.feed(N_MESSAGES)
        flow.wait_until_copying(worker, 300)
    assert worker.wait(TIMEOUT_S) == 1
    flow.end()


def _flow_on(broker: Broker) -> Flow:
    names = iter(["source", "target"])

    def new_topic(n_partitions: int) -> str:
        name = next(names)
        command = [sys.executable, "-c", _CREATE_TOPIC, broker.bootstrap, name, str(n_partitions)]
        subprocess.run(command, check=True, timeout=30)
        return name

    return Flow(broker.bootstrap, new_topic)


_CREATE_TOPIC = """
import sys
from confluent_kafka.admin import AdminClient, NewTopic
admin = AdminClient({"bootstrap.servers": sys.argv[1]})
admin.create_topics([NewTopic(sys.argv[2], int(sys.argv[3]), 1)])[sys.argv[2]].result(timeout=20)
"""
