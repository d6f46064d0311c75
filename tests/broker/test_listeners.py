"""Every process of ours listens on the loopback address alone, seen from the system's own tables."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest

from cempstream.streams.rehearsal.child_process import ChildProcess
from cempstream.streams.rehearsal.embedded import EmbeddedBroker, free_port
from tests.support.night import Topics, WorkerProcess

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's"),
]

_LISTEN = "0A"


def listeners(pid: int) -> set[tuple[str, int]]:
    """Return the addresses on which a process, or one that it started, takes connections."""
    inodes = {
        os.readlink(link).removeprefix("socket:[").removesuffix("]")
        for member in [pid, *children(pid)]
        for link in Path(f"/proc/{member}/fd").iterdir()
        if link.is_symlink() and os.readlink(link).startswith("socket:")
    }
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and fields[9] in inodes:
                address, port = fields[1].split(":")
                found.add((_readable(address), int(port, 16)))
    return found


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *children(int(child))]
    return found


def _readable(address: str) -> str:
    words = [bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8)]
    raw = b"".join(words)
    return str(IPv4Address(raw) if len(raw) == 4 else socket.inet_ntop(socket.AF_INET6, raw))


def wait_for_listener(process: ChildProcess, port: int) -> set[tuple[str, int]]:
    deadline_s = time.monotonic() + 60
    while True:
        assert process.is_running, process.log_tail()
        found = listeners(process.pid)
        if port in {number for _, number in found}:
            return found
        assert time.monotonic() < deadline_s, found
        time.sleep(0.2)


@pytest.fixture(scope="module")
def stream() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


def test_worker_watch_and_broker_are_on_loopback_alone(stream: EmbeddedBroker) -> None:
    topics = Topics.create(stream.bootstrap)
    port = free_port()
    command = [sys.executable, "-m", "cempstream", "exposures", "watch", "--port", str(port)]
    environment = {**os.environ, **topics.environment(), "CEMP_KAFKA__BOOTSTRAP": stream.bootstrap}
    with (
        WorkerProcess(stream.bootstrap, topics) as worker,
        ChildProcess(command, env=environment) as watch,
    ):
        worker.wait_ready()
        found = {
            "worker": listeners(worker.process.pid),
            "watch": wait_for_listener(watch, port),
            "broker": listeners(broker_pid(stream)),
        }
    assert found["worker"] == {("127.0.0.1", worker.port)}
    assert found["watch"] == {("127.0.0.1", port)}
    assert found["broker"]
    for addresses in found.values():
        assert all(ip_address(address).is_loopback for address, _ in addresses)


def test_an_address_that_is_set_is_taken(stream: EmbeddedBroker) -> None:
    topics = Topics.create(stream.bootstrap)
    with WorkerProcess(stream.bootstrap, topics, CEMP_METRICS__HOST="127.0.0.2") as worker:
        assert wait_for_listener(worker.process, worker.port) == {("127.0.0.2", worker.port)}


def test_this_would_notice_a_listener_on_every_address() -> None:
    with socket.socket() as open_to_all:
        open_to_all.bind(("0.0.0.0", 0))
        open_to_all.listen()
        assert ("0.0.0.0", open_to_all.getsockname()[1]) in listeners(os.getpid())


def broker_pid(broker: EmbeddedBroker) -> int:
    assert broker._process is not None
    return broker._process.pid
