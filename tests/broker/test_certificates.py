"""Kafka that asks for a client's certificate: worker, operator and subscriber each show one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cempstream.streams.settings import KafkaSettings, read_settings
from cempstream.streams.subscriber.client import AlertStream
from tests.broker.conftest import need_kafka
from tests.broker.linked_kafka import CertifiedKafka
from tests.support.night import Topics, WorkerProcess, send, wait_for
from tests.support.spectra import template_packets

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

N_SPECTRA = 60


@pytest.fixture(scope="module")
def kafka() -> Iterator[CertifiedKafka]:
    need_kafka()
    with CertifiedKafka() as kafka:
        yield kafka


@pytest.fixture
def client(kafka: CertifiedKafka, tmp_path: Path) -> dict[str, str]:
    return kafka.certify_client(tmp_path)


def kafka_settings(environment: dict[str, str]) -> KafkaSettings:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return read_settings().kafka


def test_a_night_with_certificates(kafka: CertifiedKafka, client: dict[str, str]) -> None:
    topics = Topics.create(kafka.bootstrap)
    send(kafka.bootstrap, topics.spectra, template_packets(N_SPECTRA, seed=71))
    with WorkerProcess(kafka.linked, topics, CEMP_POLICY__PRIOR="0.5", **client) as worker:
        worker.wait_ready()
        ledger = wait_for(kafka.bootstrap, topics, N_SPECTRA)
        assert len(ledger.scores) == N_SPECTRA
        assert ledger.alerts
        assert worker.metric("cemp_credentials_refused") == 0
    config = kafka_settings(client).client_config()
    with AlertStream(
        kafka.linked, [topics.alerts], start="earliest", until="now", config=config, tenses=("current",)
    ) as stream:
        assert {alert.spectrum_id for alert in stream} == set(ledger.alerts)


def list_topics(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cempstream", "topics", "list"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_an_operator_shows_one_too(client: dict[str, str]) -> None:
    assert list_topics(client).returncode == 0


@pytest.mark.parametrize("lacks", ["CERT", "KEY_PASSWORD"])
def test_without_it_no_one_is_let_in(client: dict[str, str], lacks: str, tmp_path: Path) -> None:
    if lacks == "CERT":
        client = {name: value for name, value in client.items() if "CERT" not in name and "KEY" not in name}
    else:
        (tmp_path / "password.pem").write_text("not-the-password")
    refused = list_topics(client)
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1, refused.stderr
    assert "not-the-password" not in refused.stderr
