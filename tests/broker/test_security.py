"""Apache Kafka with SCRAM, TLS and ACLs: each may do what it needs and no more, and no secret is told."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import NewTopic
from typer.testing import CliRunner

from cempstream.schemas.score import decode_score
from cempstream.streams.cli import app
from cempstream.streams.kafka.places import StreamError
from cempstream.streams.kafka.topic_reader import read_topic
from cempstream.streams.settings import KafkaSettings
from cempstream.streams.subscriber.client import AlertStream
from tests.broker.conftest import need_kafka
from tests.broker.secure_kafka import ADMIN, MECHANISM, SecureKafka
from tests.support.night import Topics, WorkerProcess
from tests.support.spectra import template_packets
from tests.support.topics import create_topics

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

N_SPECTRA = 60
GROUP = "cempstream.night"


@pytest.fixture(scope="module")
def kafka() -> Iterator[SecureKafka]:
    need_kafka()
    with SecureKafka(("worker", "subscriber", "survey")) as kafka:
        yield kafka


@pytest.fixture(scope="module")
def topics(kafka: SecureKafka) -> Topics:
    """Return topics with a recorded exposure, and grant worker and subscriber what they need."""
    kinds = ("spectra", "scores", "alerts", "json", "dlq", "beat", "past", "exposures", "seen", "stars")
    topics = Topics(*kinds)
    admin = kafka.admin()
    create_topics(admin, [NewTopic(name, 1, 1) for name in kinds])
    with pytest.MonkeyPatch.context() as patch:
        settings = {**topics.environment(), **kafka.environment(ADMIN), "CEMP_KAFKA__GROUP": GROUP}
        for name, value in settings.items():
            patch.setenv(name, value)
        arguments = ["topics", "grant", "--worker", "worker", "--subscriber", "subscriber"]
        result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "User:worker may read topic spectra" in result.stdout
    assert "User:worker may describe_configs topic spectra" in result.stdout
    assert "User:subscriber may read group subscriber.*" in result.stdout
    produce(kafka, ADMIN, "spectra", template_packets(N_SPECTRA, seed=41))
    return topics


def produce(kafka: SecureKafka, user: str, topic: str, values: list[bytes]) -> None:
    """Publish as a user; raises what the broker says."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0, **kafka.client_config(user)})
    errors: list[object] = []
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: error and errors.append(error))
    assert producer.flush(30) == 0
    if errors:
        raise KafkaException(errors[0])


def settings(kafka: SecureKafka, user: str, password: str | None = None) -> KafkaSettings:
    return KafkaSettings(
        bootstrap=kafka.bootstrap,
        security_protocol="SASL_SSL",
        sasl_mechanism=MECHANISM,  # type: ignore[arg-type] # one of the literal's own values
        username=user,
        password=password or kafka.passwords[user],  # type: ignore[arg-type] # pydantic makes it a secret
        ca_file=kafka.ca_file,
    )


@dataclass(frozen=True)
class Night:
    """What a worker with the rights of one has done and said."""

    log: str
    metrics: str


@pytest.fixture(scope="module")
def night(kafka: SecureKafka, topics: Topics, tmp_path_factory: pytest.TempPathFactory) -> Night:
    log_path = tmp_path_factory.mktemp("secure") / "worker.log"
    secure = {**kafka.environment("worker"), "CEMP_KAFKA__GROUP": GROUP, "CEMP_POLICY__PRIOR": "0.5"}
    logged = {"arguments": ("--log-level", "debug"), "log_path": log_path}
    with WorkerProcess(kafka.bootstrap, topics, **logged, **secure) as worker:
        worker.wait_ready()
        deadline_s = time.monotonic() + 60
        while worker.metric("cemp_spectra_total") < N_SPECTRA and time.monotonic() < deadline_s:
            time.sleep(0.2)
        time.sleep(1.5)  # a heartbeat and a commit
        metrics = worker.get("/metrics")[1]
        worker.process.send_signal(15)
        assert worker.process.wait(30) == 0
    return Night(log_path.read_text(), metrics)


def test_a_worker_scores_with_the_rights_it_was_given_and_tells_no_secret(
    kafka: SecureKafka, topics: Topics, night: Night
) -> None:
    scores = [decode_score(m.value() or b"") for m in read_topic(settings(kafka, ADMIN), topics.scores)]
    assert len({score.spectrum_id for score in scores}) == N_SPECTRA
    assert list(read_topic(settings(kafka, ADMIN), topics.heartbeat))
    assert len(night.log) > 2000, "at debug level Faust and aiokafka say what they are configured with"
    for text in (night.log, night.metrics):
        for password in kafka.passwords.values():
            assert password not in text


def test_a_worker_with_a_wrong_password_says_so_and_not_which(
    kafka: SecureKafka, topics: Topics, tmp_path: Path
) -> None:
    secure = kafka.environment("worker")
    secure.pop("CEMP_KAFKA__PASSWORD_FILE")
    secure["CEMP_KAFKA__PASSWORD"] = "not-the-password-7ac1"
    with WorkerProcess(kafka.bootstrap, topics, log_path=tmp_path / "worker.log", **secure) as worker:
        assert worker.process.wait(60) == 1
    log = (tmp_path / "worker.log").read_text()
    assert "cannot start" in log
    assert "not-the-password-7ac1" not in log


@pytest.mark.usefixtures("night")
def test_a_subscriber_reads_alerts_and_nothing_else(kafka: SecureKafka, topics: Topics) -> None:
    config = kafka.client_config("subscriber")
    names = [topics.alerts]
    with AlertStream(
        kafka.bootstrap, names, start="earliest", until="now", config=config, tenses=("current",)
    ) as stream:
        assert list(stream)
    with AlertStream(
        kafka.bootstrap, names, start="earliest", until="now", group="subscriber.mine", config=config
    ) as stream:
        for alert in stream:
            alert.ack()
    for forbidden in (topics.spectra, topics.scores, topics.dlq):
        with pytest.raises(StreamError):
            AlertStream(kafka.bootstrap, [forbidden], start="earliest", until="now", config=config).open()
    other = AlertStream(kafka.bootstrap, names, start="earliest", group=GROUP, config=config)
    with other, pytest.raises(StreamError, match="Group authorization failed"):
        next(other)
    for topic in (topics.alerts, topics.spectra):
        with pytest.raises(KafkaException, match=r"(?i)authori[sz]"):
            produce(kafka, "subscriber", topic, [b"a false alert"])


@pytest.mark.usefixtures("night")
def test_a_worker_may_not_write_spectra_nor_read_alerts(kafka: SecureKafka, topics: Topics) -> None:
    with pytest.raises(KafkaException, match=r"(?i)authori[sz]"):
        produce(kafka, "worker", topics.spectra, [b"a false spectrum"])
    assert reading_fails(kafka, "worker", topics.alerts)
    assert not reading_fails(kafka, "worker", topics.spectra)
    alerts = read_topic(settings(kafka, "subscriber"), topics.alerts)
    assert list(alerts), "a reader without a group needs no right on one"


def test_who_was_granted_nothing_sees_nothing(kafka: SecureKafka, topics: Topics) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": "x",
            "log_level": 0,
            **kafka.client_config("survey"),
        }
    )
    assert not consumer.list_topics(timeout=10).topics
    consumer.close()


@pytest.mark.parametrize(
    "change",
    [
        {"sasl.password": "wrong"},
        {"sasl.username": "nobody"},
        {"security.protocol": "PLAINTEXT"},
        {"security.protocol": "SSL"},
        {"ssl.ca.location": "/etc/hostname-is-no-certificate"},
    ],
)
def test_without_the_right_credentials_there_is_no_connection(
    kafka: SecureKafka, topics: Topics, change: dict[str, str]
) -> None:
    properties = {**kafka.client_config("subscriber"), **change}
    if change.get("security.protocol"):
        properties = {n: v for n, v in properties.items() if not n.startswith("sasl.")}
    with pytest.raises(KafkaException):
        Consumer(
            {"bootstrap.servers": kafka.bootstrap, "group.id": "x", "log_level": 0, **properties}
        ).list_topics(timeout=3)


def test_tls_is_refused_to_a_broker_that_our_authority_does_not_know(
    kafka: SecureKafka, topics: Topics, tmp_path: Path
) -> None:
    other = SecureKafka(())  # never started: only its certificate is wanted
    properties = {**kafka.client_config("subscriber"), "ssl.ca.location": str(other.ca_file)}
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "x", "log_level": 0, **properties})
    with pytest.raises(KafkaException):
        consumer.list_topics(timeout=3)
    other.remove()


def test_nothing_that_connected_was_in_the_clear(kafka: SecureKafka, topics: Topics) -> None:
    listeners = re.findall(r"^(?:advertised\.)?listeners=(.*)$", kafka.properties(), re.M)
    assert len(listeners) == 2
    for listener in ",".join(listeners).split(","):
        assert listener.startswith(("SASL_SSL://127.0.0.1:", "CONTROLLER://127.0.0.1:"))


def reading_fails(kafka: SecureKafka, user: str, topic: str) -> bool:
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": GROUP,
            "enable.partition.eof": True,
            "log_level": 0,
            **kafka.client_config(user),
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    message = consumer.poll(15)
    assert message is not None
    error = message.error()
    consumer.close()
    return error is not None and error.name() == "TOPIC_AUTHORIZATION_FAILED"
