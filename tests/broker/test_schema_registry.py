"""A real schema registry: our schemas are registered, the worker takes its ids, and standard readers read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

from cempstream import AlertStream
from cempstream.schemas.codec import decode_spectrum, encode_spectrum
from cempstream.schemas.packets import HEADER_BYTES, use_own_ids
from cempstream.schemas.registry import Kind, latest, schema, schema_id
from cempstream.streams.kafka.schema_registry import (
    KindsOfTopics,
    RegistryError,
    SchemaRegistry,
    kinds_of_topics,
    take_registry,
)
from cempstream.streams.settings import TopicSettings
from cempstream.streams.subscriber.sieve import Undecodable
from tests.broker.schema_registry import RegistryServer, why_not_installed
from tests.support.night import Topics, WorkerProcess, read_all, send
from tests.support.spectra import template_packets, template_spectra
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

on_kafka = pytest.mark.parametrize("broker", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)

N_SPEC = 60


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    """Return the address of a running registry."""
    if (problem := why_not_installed()) is not None:
        if os.environ.get("CI"):
            pytest.fail(problem)
        pytest.skip(problem)
    with RegistryServer() as server:
        yield server.url


@pytest.fixture(autouse=True)
def own_ids() -> Iterator[None]:
    yield
    use_own_ids()


def register(registry: str, topics: Topics) -> str:
    """Register as an operator does; return what the command says."""
    done = subprocess.run(
        [sys.executable, "-m", "cempstream", "schema", "register", "--registry", registry],
        env={**os.environ, **topics.environment()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def header_id(packet: bytes) -> int:
    return int.from_bytes(packet[1:HEADER_BYTES], "big")


@on_kafka
def test_every_packet_carries_an_id_that_standard_readers_resolve(bootstrap: str, registry: str) -> None:
    topics = Topics.create(bootstrap)
    said = register(registry, topics)
    assert f"{topics.alerts}-value: {latest(Kind.ALERT)} is " in said
    assert register(registry, topics) == said, "registering again changes nothing"
    settings = {"CEMP_POLICY__PRIOR": "0.5", "CEMP_SCHEMAS__REGISTRY": registry}
    with WorkerProcess(bootstrap, topics, **settings) as worker:
        worker.wait_ready()
        send(bootstrap, topics.spectra, template_packets(N_SPEC))
        wait_until(
            lambda: len(read_all(bootstrap, topics.scores)) >= N_SPEC, worker.process.log_tail, timeout_s=120
        )
    alerts = [message.value() or b"" for message in read_all(bootstrap, topics.alerts)]
    assert alerts
    with SchemaRegistryClient({"url": registry}) as client:
        read = AvroDeserializer(client)
        by_others: list[dict[str, Any]] = [
            read(packet, SerializationContext(topics.alerts, MessageField.VALUE)) for packet in alerts
        ]
        for topic, kind in ((topics.scores, Kind.SCORE), (topics.heartbeat, Kind.HEARTBEAT)):
            packet = read_all(bootstrap, topic)[-1].value() or b""
            assert header_id(packet) != schema_id(kind, latest(kind))
            assert read(packet, SerializationContext(topic, MessageField.VALUE))

    bad: list[Undecodable] = []
    with AlertStream(bootstrap, topics.alerts, start="earliest", until="now", on_error=bad.append) as stream:
        assert not list(stream)
    assert len(bad) == len(alerts)
    assert "registry" in bad[0].detail
    config = {"schema.registry.url": registry}
    with AlertStream(
        bootstrap,
        topics.alerts,
        start="earliest",
        until="now",
        config=config,
        heartbeats=topics.heartbeat,
    ) as stream:
        by_us = {str(alert.alert_id): alert.p_cemp for alert in stream}
    assert by_us == {str(alert["alert_id"]): alert["p_cemp"] for alert in by_others}


@on_kafka
def test_a_worker_whose_registry_lacks_its_schemas_says_what_to_do(bootstrap: str, registry: str) -> None:
    topics = Topics.create(bootstrap)
    with WorkerProcess(bootstrap, topics, CEMP_SCHEMAS__REGISTRY=registry) as worker:
        assert worker.process.wait(timeout_s=120) == 1
        assert "register it with `cempstream schema register`" in worker.process.log_tail()


def registered(registry: str, topics: KindsOfTopics) -> list[tuple[str, str, int]]:
    with SchemaRegistry({"url": registry}) as client:
        return list(client.register(topics))


def topic_settings() -> TopicSettings:
    tag = uuid.uuid4().hex[:8]
    return TopicSettings(spectra=(f"survey.{tag}",), alerts=f"alerts.{tag}")


def test_ours_is_read_beside_the_registrys(registry: str) -> None:
    (spectrum,) = template_spectra(1)
    ours = encode_spectrum(spectrum)
    topics = kinds_of_topics(topic_settings())
    registered(registry, topics)
    take_registry({"url": registry}, topics, writes=True)
    theirs = encode_spectrum(spectrum)
    assert theirs[:HEADER_BYTES] != ours[:HEADER_BYTES]
    assert theirs[HEADER_BYTES:] == ours[HEADER_BYTES:]
    for packet in (ours, theirs):
        assert decode_spectrum(packet).spectrum_id == spectrum.spectrum_id
    use_own_ids()
    assert encode_spectrum(spectrum) == ours


def test_a_schema_that_is_registered_later_is_read_without_a_restart(
    registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spectrum,) = template_spectra(1)
    settings = topic_settings()
    topics = kinds_of_topics(settings)
    registered(registry, topics)
    take_registry({"url": registry}, topics, writes=True)
    newer = {**schema(Kind.SPECTRUM)}
    newer["fields"] = [*newer["fields"], {"name": "seeing", "type": ["null", "double"], "default": None}]
    with SchemaRegistryClient({"url": registry}) as client:
        number = client.register_schema(f"{settings.spectra[0]}-value", Schema(json.dumps(newer), "AVRO"))
    packet = encode_spectrum(spectrum)
    # The new field comes last: null is the branch 0.
    packet = b"\0" + number.to_bytes(4, "big") + packet[HEADER_BYTES:] + b"\0"
    monkeypatch.setattr("cempstream.streams.kafka.schema_registry._ASK_AGAIN_S", 0.0)
    assert decode_spectrum(packet).spectrum_id == spectrum.spectrum_id


def test_an_incompatible_schema_is_refused_by_the_registry(registry: str) -> None:
    settings = topic_settings()
    registered(registry, kinds_of_topics(settings))
    broken = {**schema(Kind.ALERT), "fields": schema(Kind.ALERT)["fields"][1:]}
    with (
        SchemaRegistryClient({"url": registry}) as client,
        pytest.raises(SchemaRegistryError, match=r"(?i)compatib"),
    ):
        client.register_schema(f"{settings.alerts}-value", Schema(json.dumps(broken), "AVRO"))


def test_an_address_where_no_registry_is_gives_one_line(registry: str) -> None:
    wrong = registry.removesuffix("/apis/ccompat/v7") + "/nothing"
    with pytest.raises(RegistryError, match=r"/nothing"):
        registered(wrong, {"a": Kind.ALERT})
    with pytest.raises(RegistryError, match="has no score"):
        take_registry({"url": registry}, {"never": Kind.SCORE}, writes=True)
