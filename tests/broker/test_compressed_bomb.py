"""A compressed batch that unpacks to too much: its packets become dead letters, and the worker goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.broker.conftest import need_kafka
from tests.broker.kafka import KafkaBroker
from tests.support.night import Topics, WorkerProcess, headers, send, wait_for
from tests.support.spectra import template_packets

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

N_GOOD = 40
BOMB_BYTES = 100 * 1024 * 1024
CODECS = ("zstd", "gzip", "lz4")


def send_bomb(bootstrap: str, topic: str, codec: str) -> None:
    """Publish one packet of zeros; the broker looks at the packed size alone."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": codec,
            "message.max.bytes": 2 * BOMB_BYTES,
            "queue.buffering.max.kbytes": 1024 * 1024,
        }
    )
    errors: list[object] = []
    producer.produce(topic, bytes(BOMB_BYTES), on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(60) == 0
    assert errors == [None]


def test_bombs_among_good_packets() -> None:
    need_kafka()
    good = template_packets(N_GOOD, seed=71)
    with KafkaBroker() as kafka:
        topics = Topics.create(kafka.bootstrap, partitions=1)
        send(kafka.bootstrap, topics.spectra, good[:20])
        for codec in CODECS:
            send_bomb(kafka.bootstrap, topics.spectra, codec)
        send(kafka.bootstrap, topics.spectra, good[20:])
        with WorkerProcess(kafka.bootstrap, topics) as worker:
            worker.wait_ready(150)
            ledger = wait_for(kafka.bootstrap, topics, N_GOOD + len(CODECS))
            status = Path(f"/proc/{worker.process.pid}/status").read_text()
    assert (len(ledger.scores), len(ledger.dead), ledger.n_repeats) == (N_GOOD, len(CODECS), 0)
    for (_, _, offset), (letter, *_) in ledger.dead.items():
        assert 20 <= offset < 20 + len(CODECS)
        assert b"unpacks to more than 67108864 bytes" in (letter.value() or b"")
        assert headers(letter)["error.reason"] == "not_avro"
    most_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert most_kb < 700 * 1024, f"{most_kb // 1024} MiB"
