"""The whole stream on a broker: packets in, every one scored or a dead letter, alerts out."""

from __future__ import annotations

import json
import random
import signal
import time

import pytest
from confluent_kafka import Producer

from cempstream.processors.outcome import Classification
from cempstream.schemas.alert import decode_alert
from cempstream.schemas.heartbeat import Heartbeat, decode_heartbeat
from cempstream.streams.operations.verify import SAME_PROVIDER
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.settings import Settings
from tests.support.night import Reader, Topics, WorkerProcess, headers, read_all, send, wait_for
from tests.support.poison import poison
from tests.support.spectra import template_packets, template_spectra

pytestmark = pytest.mark.timeout(240)

#: The prior makes alerts rare; at even odds a few hundred templates give some.
EVEN = {"CEMP_POLICY__PRIOR": "0.5"}


def test_stream_scores_as_the_pipeline_does(bootstrap: str) -> None:
    packets = template_packets(300)
    topics = Topics.create(bootstrap)
    with WorkerProcess(bootstrap, topics, **EVEN) as worker:
        worker.wait_ready()
        send(bootstrap, topics.spectra, packets)
        ledger = wait_for(bootstrap, topics, len(packets))
        assert worker.metric("cemp_spectra_total") == len(packets)
        assert worker.metric("cemp_end_to_end_latency_seconds_count") == len(packets)
    assert len(ledger.scores) == len(packets)
    assert not ledger.dead
    settings = Settings(policy={"prior": 0.5}, models={"threads": 1})  # type: ignore[arg-type]
    outcomes = load_pipeline(settings).classify_packets(packets)
    n_candidates = 0
    for outcome in outcomes:
        assert isinstance(outcome, Classification)
        (score,) = ledger.scores[outcome.spectrum.spectrum_id]
        assert score.p_cemp == pytest.approx(outcome.p_cemp, abs=SAME_PROVIDER)
        assert score.parameters.feh.value == pytest.approx(outcome.parameters["feh"].value, abs=1e-4)
        n_candidates += outcome.decision.is_candidate
    assert n_candidates > 0
    assert ledger.alerts.total() == n_candidates


def test_alerts_say_the_same_in_avro_and_json(bootstrap: str) -> None:
    topics = Topics.create(bootstrap)
    with WorkerProcess(bootstrap, topics, **EVEN) as worker:
        worker.wait_ready()
        send(bootstrap, topics.spectra, template_packets(200, seed=2), {"tense": b"test"})
        wait_for(bootstrap, topics, 200)
    avro = {
        a.alert_id: a for a in (decode_alert(m.value() or b"") for m in read_all(bootstrap, topics.alerts))
    }
    text = [json.loads(m.value() or b"") for m in read_all(bootstrap, topics.alerts_json)]
    assert avro
    assert {line["alert_id"] for line in text} == set(avro)
    for line in text:
        alert = avro[line["alert_id"]]
        assert line["p_cemp"] == pytest.approx(alert.p_cemp)
        assert line["alert_tense"] == "test"
        assert alert.to_spectrum().n_pix == 3909


def test_malformed_packets_cost_themselves_alone(bootstrap: str) -> None:
    good = template_packets(400, seed=3)
    (victim,) = template_spectra(1, seed=4)
    kinds = poison(victim)
    bad = [packet for packet, _ in kinds.values()] * 2
    huge = [b"\0" * (8 * 1024 * 1024)]
    packets = [*good, *bad, *huge]
    random.Random(5).shuffle(packets)
    topics = Topics.create(bootstrap)
    breaker = {"CEMP_BREAKER__SHARE": "1.0"}
    with WorkerProcess(bootstrap, topics, **breaker) as worker:
        worker.wait_ready()
        send(bootstrap, topics.spectra, packets, {"exposure": b"e1"})
        ledger = wait_for(bootstrap, topics, len(packets))
        assert worker.get("/live")[0] == 200
        assert worker.get("/ready")[0] == 200
    assert len(ledger.scores) == len(good)
    assert len(ledger.dead) == len(bad) + 1
    expected = [reason.value for _, reason in kinds.values()] * 2 + ["too_large"]
    assert sorted(ledger.reasons().elements()) == sorted(expected)
    originals = {packet for packet in bad}
    for first, *_ in ledger.dead.values():
        facts = headers(first)
        assert facts["orig.topic"] == topics.spectra
        assert facts["orig.header.exposure"] == "e1"
        if facts["error.reason"] == "too_large":
            assert len(first.value() or b"") == 64 * 1024
            assert facts["orig.size"] == str(8 * 1024 * 1024)
        else:
            assert (first.value() or b"") in originals


def test_sigterm_commits_what_is_done(bootstrap: str) -> None:
    packets = template_packets(200, seed=6)
    topics = Topics.create(bootstrap)
    with WorkerProcess(bootstrap, topics) as worker:
        worker.wait_ready()
        send(bootstrap, topics.spectra, packets[:100])
        wait_for(bootstrap, topics, 100)
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(timeout_s=60) == 0  # 1 where its own deadline had to end it
    with WorkerProcess(bootstrap, topics) as worker:
        worker.wait_ready()
        send(bootstrap, topics.spectra, packets[100:])
        ledger = wait_for(bootstrap, topics, 200)
    assert len(ledger.scores) == 200
    assert ledger.n_repeats == 0


def test_heartbeat_tells_silence_from_death(bootstrap: str) -> None:
    topics = Topics.create(bootstrap)

    def beats() -> list[Heartbeat]:
        with Reader(bootstrap, topics.heartbeat) as reader:
            reader.read(0.5, time.monotonic() + 10)  # between two beats
            return [decode_heartbeat(m.value() or b"") for m in reader.messages]

    began_s = time.time()
    with WorkerProcess(bootstrap, topics) as worker:
        worker.wait_ready()
        send(bootstrap, topics.spectra, [*template_packets(40, seed=7), b"junk"])
        wait_for(bootstrap, topics, 41)
        deadline = time.monotonic() + 30
        while not ((silent := beats()) and silent[-1].n_in == 41) and time.monotonic() < deadline:
            time.sleep(0.5)
        assert began_s < worker.metric("cemp_heartbeat_timestamp_seconds") < time.time()
        worker.process.kill()
    first, last = silent[0], silent[-1]
    assert (last.state, last.n_in, last.n_scored, last.n_dead_letters) == ("running", 41, 40, 1)
    assert (last.provider, last.topics, last.lag_messages) == ("cpu", (topics.spectra,), 0)
    assert [bundle.split("/")[0] for bundle in last.bundles] == ["mid", "low"]
    assert last.last_spectrum_at is not None
    assert first.started_at == last.started_at < last.last_spectrum_at <= last.sent_at
    n_beats = len(beats())
    time.sleep(2.5)
    assert len(beats()) == n_beats


@pytest.mark.parametrize("broker", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
def test_the_end_of_a_transaction_is_not_taken_for_a_message_that_waits(bootstrap: str) -> None:
    """A partition that ends with two such marks would else lag for ever, and a lag that stays is a stall."""
    topics = Topics.create(bootstrap, partitions=1)
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": topics.spectra})
    producer.init_transactions(30)
    producer.begin_transaction()
    for packet in template_packets(20, seed=8):
        producer.produce(topics.spectra, packet)
    producer.commit_transaction(30)
    producer.begin_transaction()
    producer.produce(topics.spectra, b"never meant to be")
    producer.flush(30)
    producer.abort_transaction(30)
    with WorkerProcess(bootstrap, topics) as worker:
        worker.wait_ready()
        wait_for(bootstrap, topics, 20)
        deadline = time.monotonic() + 60
        while worker.metric("cemp_spectra_total") < 20 or worker.metric("cemp_consumer_lag_messages"):
            assert time.monotonic() < deadline, worker.get("/metrics")[1]
            time.sleep(0.5)
