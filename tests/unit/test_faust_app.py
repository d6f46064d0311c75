"""The settings of Faust that the worker relies on, its credentials, and how its process ends."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faust
import mode
import pytest

from cempstream.streams.settings import KafkaSettings
from cempstream.streams.worker import faust_app as module
from cempstream.streams.worker.faust_app import (
    App,
    BoundedWorker,
    broker_credentials,
    new_app,
    raw_topic,
    run_worker,
)
from cempstream.streams.worker.faust_transport import Transport

pytestmark = pytest.mark.timeout(20)


@pytest.fixture
def app() -> App:
    return new_app("group", "127.0.0.1:1")


def test_what_a_caller_chooses_is_set() -> None:
    app = new_app(
        "group",
        "one:1,two:2",
        session_timeout_s=21.0,
        heartbeat_s=4.0,
        commit_interval_s=0.7,
        max_fetch_bytes=5000,
        max_buffered=77,
        stream_recovery_delay=9.0,
    )
    conf = app.conf
    assert conf.id == "group"
    assert [str(url) for url in conf.broker] == ["kafka://one:1", "kafka://two:2"]
    assert (conf.broker_session_timeout, conf.broker_heartbeat_interval) == (21.0, 4.0)
    assert (conf.broker_commit_interval, conf.consumer_max_fetch_size) == (0.7, 5000)
    assert (conf.stream_buffer_maxsize, conf.stream_recovery_delay) == (77, 9.0)


def test_the_worker_makes_nothing_on_the_broker_and_opens_no_port(app: App) -> None:
    conf = app.conf
    assert conf.topic_disable_leader
    assert not conf.topic_allow_declare
    assert conf.table_standby_replicas == 0
    assert not conf.web_enabled


def test_a_fetch_holds_more_than_a_batch(app: App) -> None:
    """Of 64 packets of LAMOST of 31 KB."""
    assert app.conf.consumer_max_fetch_size > 64 * 31_000
    assert app.conf.stream_buffer_maxsize > 2 * 64


def test_a_failed_agent_ends_the_process_and_a_held_one_delays_no_rebalance(app: App) -> None:
    assert app.conf.agent_supervisor is mode.CrashingSupervisor
    assert not app.conf.stream_wait_empty
    assert app.conf.Worker is BoundedWorker
    assert not app.conf.worker_redirect_stdouts


def test_a_place_that_does_not_exist_is_ours_to_decide(app: App) -> None:
    assert app.conf.consumer_auto_offset_reset == "none"
    assert isinstance(app._new_transport(), Transport)
    assert app._new_transport().app is app


async def test_the_preparation_is_made_once_also_when_faust_starts_the_app(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    async def on_first_start(self: faust.App) -> None:
        started.append("faust")

    monkeypatch.setattr(faust.App, "on_first_start", on_first_start)
    app.preparation = lambda: started.append("models")
    await app.on_first_start()
    app.prepare()
    assert started == ["models", "faust"]


async def test_an_end_that_takes_too_long_is_cut_short(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, statuses = threading.Event(), []

    def end_at_once(status: int) -> None:
        statuses.append(status)
        ended.set()

    async def on_stop(self: faust.Worker) -> None:
        await asyncio.to_thread(ended.wait, 15)  # the broker is gone: Faust would wait for it forever

    monkeypatch.setattr(module, "STOP_DEADLINE_S", 0.01)
    monkeypatch.setattr(module, "end_at_once", end_at_once)
    monkeypatch.setattr(faust.Worker, "on_stop", on_stop)
    await BoundedWorker(app, loop=asyncio.get_running_loop()).on_stop()
    assert statuses == [1]


async def test_an_end_in_time_is_fausts_own(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = []

    async def on_stop(self: faust.Worker) -> None:
        stopped.append(self)

    monkeypatch.setattr(faust.Worker, "on_stop", on_stop)
    worker = BoundedWorker(app, loop=asyncio.get_running_loop())
    before = set(threading.enumerate())
    await worker.on_stop()
    assert stopped == [worker]
    (clock,) = set(threading.enumerate()) - before
    assert clock.daemon  # a process that has ended otherwise does not wait for its clock
    assert isinstance(clock, threading.Timer)
    clock.cancel()


def settings(protocol: str, **options: Any) -> KafkaSettings:
    return KafkaSettings.model_validate({"security_protocol": protocol, **options})


def test_a_plain_broker_needs_no_credentials() -> None:
    assert broker_credentials(settings("PLAINTEXT")) is None


def test_an_encrypted_broker_is_checked() -> None:
    found = broker_credentials(settings("SSL"))
    assert isinstance(found, faust.SSLCredentials)
    assert found.context.verify_mode is ssl.CERT_REQUIRED
    assert found.context.check_hostname


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_name_password_and_mechanism_are_the_settings(protocol: str) -> None:
    found = broker_credentials(
        settings(protocol, username="reader", password="word", sasl_mechanism="SCRAM-SHA-256")
    )
    assert isinstance(found, faust.SASLCredentials)
    assert (found.username, found.password) == ("reader", "word")
    assert found.mechanism.value == "SCRAM-SHA-256"
    assert (found.ssl_context is not None) == (protocol == "SASL_SSL")


def test_an_authority_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        broker_credentials(settings("SSL", ca_file=tmp_path / "none.pem"))


def test_our_certificate_is_shown_to_a_broker_that_asks(tmp_path: Path) -> None:
    certificate = tmp_path / "ours.pem"
    certificate.write_text("no certificate")
    with pytest.raises(ssl.SSLError):
        broker_credentials(settings("SSL", cert_file=certificate))


def test_events_of_a_topic_are_bytes(app: App) -> None:
    topic = raw_topic(app, "lamost", "desi")
    assert sorted(topic.topics) == ["desi", "lamost"]
    assert (topic.key_type, topic.value_type) == (bytes, bytes)
    assert (topic.key_serializer, topic.value_serializer) == ("raw", "raw")


@pytest.fixture
def no_loop() -> Iterator[None]:
    yield
    asyncio.set_event_loop(None)


def test_the_worker_runs_on_its_loop_and_writes_no_escape_codes(
    app: App, monkeypatch: pytest.MonkeyPatch, no_loop: None
) -> None:
    made: list[faust.Worker] = []

    def execute(self: faust.Worker) -> None:
        made.append(self)
        raise SystemExit(0)

    monkeypatch.setattr(BoundedWorker, "execute_from_commandline", execute)
    with pytest.raises(SystemExit) as ended:
        run_worker(app)
    assert ended.value.code == 0
    (worker,) = made
    assert isinstance(worker, BoundedWorker)
    assert worker.app is app
    assert app.finalized
    assert worker.loop is asyncio.get_event_loop_policy().get_event_loop()
    assert worker.spinner is None
    assert worker.quiet
    assert not worker.override_logging
    assert worker.stdout is worker.stderr
    worker.loop.close()
