"""What the stream's tests share: new topics, a worker as a process, and the ledger."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from cempstream.schemas.score import Score, decode_score
from cempstream.streams.rehearsal.child_process import ChildProcess
from cempstream.streams.rehearsal.embedded import free_port
from tests.support.topics import create_topics

MAX_MESSAGE_BYTES = 16 * 1024 * 1024

#: A topic is at its end when nothing has come for this long.
_QUIET_S = 1.5


@dataclass(frozen=True)
class Topics:
    """Topics that no other test uses, and how a worker is told of them."""

    spectra: str
    scores: str
    alerts: str
    alerts_json: str
    dlq: str
    heartbeat: str
    alerts_archival: str
    exposures: str
    observations: str
    stars: str

    @classmethod
    def create(cls, bootstrap: str, *, partitions: int = 2, replication: int = 1) -> Self:
        """Create a set of topics with new names."""
        tag = uuid.uuid4().hex[:8]
        kinds = ("spectra", "scores", "alerts", "json", "dlq", "beat", "past", "exposures", "seen", "stars")
        topics = cls(*(f"{name}.{tag}.v1" for name in kinds))
        admin = AdminClient({"bootstrap.servers": bootstrap})
        names = [*vars(topics).values()]
        config = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
        many = (topics.spectra, topics.observations, topics.stars)
        compact = {**config, "cleanup.policy": "compact"}
        new = [
            NewTopic(
                *(n, partitions if n in many else 1, replication),
                config=compact if n == topics.stars else config,
            )
            for n in names
        ]
        create_topics(admin, new)
        return topics

    def create_changelog(self, bootstrap: str, *, partitions: int = 2) -> None:
        """Create the changelog of stars again, once the broker has deleted it."""
        admin = AdminClient({"bootstrap.servers": bootstrap})
        config = {"max.message.bytes": str(MAX_MESSAGE_BYTES), "cleanup.policy": "compact"}
        deadline = time.monotonic() + 60
        while self.stars in admin.list_topics(timeout=10).topics:
            assert time.monotonic() < deadline, f"{self.stars} is still there"
            time.sleep(0.1)
        create_topics(admin, [NewTopic(self.stars, partitions, 1, config=config)])

    def environment(self) -> dict[str, str]:
        """Settings of a worker on these topics."""
        settings = {
            "SPECTRA": json.dumps([self.spectra]),
            "SCORES": self.scores,
            "ALERTS": self.alerts,
            "ALERTS_JSON": self.alerts_json,
            "DLQ": self.dlq,
            "HEARTBEAT": self.heartbeat,
            "ALERTS_ARCHIVAL": self.alerts_archival,
            "EXPOSURES": self.exposures,
            "OBSERVATIONS": self.observations,
            "STARS": self.stars,
        }
        return {f"CEMP_TOPICS__{name}": value for name, value in settings.items()}


class WorkerProcess:
    """``cempstream worker``, or another verb that runs until it is stopped, as a separate process."""

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        *,
        module: str | None = None,
        verb: Sequence[str] = ("worker",),
        arguments: Sequence[str] = (),
        log_path: Path | None = None,
        **settings: str,
    ) -> None:
        self.port = free_port()
        environment = {
            **os.environ,
            "CEMP_KAFKA__BOOTSTRAP": bootstrap,
            "CEMP_KAFKA__GROUP": f"group-{topics.spectra}",
            "CEMP_STARS__GROUP": f"group-{topics.observations}",
            "CEMP_KAFKA__SESSION_TIMEOUT_S": "6",
            "CEMP_KAFKA__HEARTBEAT_INTERVAL_S": "1.5",
            "CEMP_METRICS__PORT": str(self.port),
            "CEMP_MODELS__THREADS": "1",
            **topics.environment(),
            **settings,
        }
        command = ["-m", module] if module else ["-m", "cempstream", *verb]
        self.process = ChildProcess(
            [sys.executable, *command, *arguments], env=environment, log_path=log_path
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.stop(timeout_s=30)

    def get(self, path: str) -> tuple[int, str]:
        """Ask its health server; status 0 where nothing listens."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
        except (URLError, OSError):
            return 0, ""

    def wait_ready(self, timeout_s: float = 150.0) -> None:
        """Return once it consumes."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.get("/ready")[0] == 200:
                return
            assert self.process.is_running, self.process.log_tail()
            time.sleep(0.1)
        raise AssertionError(f"not ready after {timeout_s} s: {self.get('/ready')} {self.process.log_tail()}")

    def metric(self, name: str) -> float:
        """Sum a metric over its labels, or return that with the labels that the name has."""
        lines = [line for line in self.get("/metrics")[1].splitlines() if line.startswith(name)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line[len(name)] in " {")


@dataclass
class Ledger:
    """What became of the packets of one test: every one is scored or a dead letter."""

    scores: dict[str, list[Score]] = field(default_factory=dict)
    dead: dict[tuple[str, int, int], list[Message]] = field(default_factory=dict)
    alerts: Counter[str] = field(default_factory=Counter)
    alert_packets: list[bytes] = field(default_factory=list)
    alert_lines: list[bytes] = field(default_factory=list)

    @property
    def n_accounted(self) -> int:
        """Packets with an outcome."""
        return len(self.scores) + len(self.dead)

    @property
    def n_repeats(self) -> int:
        """Outcomes beyond the first."""
        return sum(len(s) - 1 for s in self.scores.values()) + sum(len(m) - 1 for m in self.dead.values())

    def reasons(self) -> Counter[str]:
        """Dead letters by reason."""
        return Counter(headers(first)["error.reason"] for first, *_ in self.dead.values())


def headers(message: Message) -> dict[str, str]:
    """Return a message's headers as text."""
    return {name: (value or b"").decode("utf-8", "replace") for name, value in message.headers() or ()}


def send(
    bootstrap: str,
    topic: str,
    packets: Iterable[bytes],
    header: Mapping[str, bytes] | None = None,
    *,
    timestamp_ms: int = 0,
) -> int:
    """Publish packets and wait until the broker has them all; at time 0 each has that of its sending."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,  # what was sent once is there once, also over a broker's death
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "linger.ms": 5,
            # By default a burst goes to one partition for 10 ms: of 1,500 packets, 21 to one of four.
            "sticky.partitioning.linger.ms": 0,
            "queue.buffering.max.kbytes": 256 * 1024,
            # With more of them waiting, librdkafka turns in circles and keeps the brokers from the processor.
            "queue.buffering.max.messages": 64,
        }
    )
    failed: list[object] = []
    n_sent = 0

    def report(error: object, _: Message) -> None:
        if error is not None:
            failed.append(error)

    for packet in packets:
        while True:
            try:
                producer.produce(
                    topic, packet, headers=dict(header or {}), timestamp=timestamp_ms, on_delivery=report
                )
                break
            except BufferError:
                producer.poll(0.05)
        producer.poll(0)
        n_sent += 1
    assert producer.flush(60) == 0
    assert not failed, failed[:3]
    return n_sent


class Reader:
    """Read topics from their beginning and keep what was read.

    How far a topic reaches is found by reading up to its watermark and on until it is quiet: the embedded
    broker's watermarks lag, and a fetch may take long on a busy machine.
    """

    def __init__(self, bootstrap: str, *topics: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": uuid.uuid4().hex,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "fetch.message.max.bytes": MAX_MESSAGE_BYTES,
            }
        )
        known = self._consumer.list_topics(timeout=30).topics
        self._partitions = [TopicPartition(t, p, 0) for t in topics for p in known[t].partitions]
        self._consumer.assign(self._partitions)
        self.messages: list[Message] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def read(self, quiet_s: float, deadline_s: float) -> None:
        """Read to the end and until nothing has come for ``quiet_s``, or until the deadline (monotonic)."""
        last_s = time.monotonic()
        while (now_s := time.monotonic()) < deadline_s:
            if now_s - last_s >= quiet_s and self._is_at_end():
                return
            for message in self._consumer.consume(500, timeout=0.2):
                if message.error() is None:
                    self.messages.append(message)
                    last_s = time.monotonic()

    def _is_at_end(self) -> bool:
        try:
            return all(
                max(0, position.offset) >= self._consumer.get_watermark_offsets(position, timeout=5)[1]
                for position in self._consumer.position(self._partitions)
            )
        except KafkaException:  # a broker that was broken on purpose
            return False


def read_all(bootstrap: str, topic: str) -> list[Message]:
    """Read a topic from its beginning to where it ends now."""
    with Reader(bootstrap, topic) as reader:
        reader.read(_QUIET_S, time.monotonic() + 60)
        return reader.messages


def read_ledger(bootstrap: str, topics: Topics) -> Ledger:
    """Read what became of everything until now."""
    return wait_for(bootstrap, topics, 0, 60.0)


def wait_for(bootstrap: str, topics: Topics, n_packets: int, timeout_s: float = 120.0) -> Ledger:
    """Return the ledger once every packet has an outcome, or after the time is up."""
    deadline_s = time.monotonic() + timeout_s
    with Reader(bootstrap, topics.scores, topics.dlq, topics.alerts, topics.alerts_json) as reader:
        while True:
            reader.read(_QUIET_S, deadline_s)
            ledger = _ledger(reader.messages, topics)
            if ledger.n_accounted >= n_packets or time.monotonic() > deadline_s:
                return ledger


def _ledger(messages: Iterable[Message], topics: Topics) -> Ledger:
    ledger = Ledger()
    for message in messages:
        if message.topic() == topics.scores:
            score = decode_score(message.value() or b"")
            ledger.scores.setdefault(score.spectrum_id, []).append(score)
        elif message.topic() == topics.dlq:
            origin = headers(message)
            key = (origin["orig.topic"], int(origin["orig.partition"]), int(origin["orig.offset"]))
            ledger.dead.setdefault(key, []).append(message)
        elif message.topic() == topics.alerts:
            ledger.alerts[(message.key() or b"").decode()] += 1
            ledger.alert_packets.append(message.value() or b"")
        else:
            ledger.alert_lines.append(message.value() or b"")
    return ledger
