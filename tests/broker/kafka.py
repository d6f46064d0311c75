"""Apache Kafka (KRaft) from its published artifacts: a broker, and a cluster of three, for tests.

``install_kafka.sh`` fetches the jars. Everything listens on the loopback address.
"""

import base64
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from cempstream.streams.rehearsal.child_process import ChildProcess
from cempstream.streams.rehearsal.embedded import BrokerError, free_port, wait_until_serving

JARS = Path(os.environ.get("CEMP_KAFKA_JARS", Path(__file__).resolve().parents[2] / ".cache" / "kafka"))

_START_TIMEOUT_S = 180.0

#: For brokers that a test kills, see `KafkaBroker`.
KILLED_MS = 6000


def why_not_installed() -> str | None:
    """Say what is missing to run Apache Kafka here, None where nothing is."""
    if shutil.which("java") is None:
        return "java (17 or later) is not on PATH"
    if not (JARS / "kafka-pom.xml").is_file():
        return f"{JARS} is empty: run tests/broker/install_kafka.sh"
    return None


class KafkaBroker:
    """One Kafka node, broker and controller, whose log and address survive `stop`, `kill` and `restart`.

    Parameters
    ----------
    config
        Further broker settings; they override ours. A large message needs ``message.max.bytes``.
    silence_ms
        How long a node may say nothing before it counts as gone. A machine with more to do than cores stalls
        for seconds, and nothing can be created on a node that is gone; but one that was killed may come back
        only after this time: `KILLED_MS` is for those.
    node_id, ports, voters, cluster_id
        Its place in a cluster; leave them alone for a single node.
    """

    name = "Apache Kafka"

    def __init__(
        self,
        config: Mapping[str, str | int] | None = None,
        *,
        silence_ms: int = 60_000,
        node_id: int = 1,
        ports: tuple[int, int] | None = None,
        voters: Sequence[str] = (),
        cluster_id: str | None = None,
    ) -> None:
        self._port, controller_port = ports or (free_port(), free_port())
        # removed by `remove`, and at the latest when we are collected
        self._temporary = tempfile.TemporaryDirectory(prefix="cempstream-kafka-", ignore_cleanup_errors=True)
        self._folder = Path(self._temporary.name)
        self._cluster_id = cluster_id or _new_cluster_id()
        self._process: ChildProcess | None = None
        self._format_arguments: tuple[str, ...] = ()
        self._client_config: Mapping[str, str] = {}
        n_nodes = max(1, len(voters))
        self._settings: dict[str, str | int] = {
            "process.roles": "broker,controller",
            "node.id": node_id,
            "listeners": f"PLAINTEXT://127.0.0.1:{self._port},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self._port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": ",".join(voters) or f"{node_id}@127.0.0.1:{controller_port}",
            "log.dirs": str(self._folder / "log"),
            "default.replication.factor": n_nodes,
            "min.insync.replicas": min(2, n_nodes),
            "offsets.topic.replication.factor": n_nodes,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": n_nodes,
            "transaction.state.log.min.isr": min(2, n_nodes),
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": n_nodes,
            "share.coordinator.state.topic.min.isr": min(2, n_nodes),
            "broker.session.timeout.ms": silence_ms,
            "broker.heartbeat.interval.ms": 500,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            "message.max.bytes": 16 * 1024 * 1024,
            "replica.fetch.max.bytes": 16 * 1024 * 1024,
            "num.network.threads": 2,
            "num.io.threads": 4,
            "log.segment.bytes": 128 * 1024 * 1024,
            **(config or {}),
        }

    @property
    def bootstrap(self) -> str:
        """``host:port`` for clients."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Process id of the running broker."""
        if self._process is None:
            raise BrokerError("the broker is not running")
        return self._process.pid

    @property
    def log_folder(self) -> Path:
        """Where it keeps its topics."""
        return self._folder / "log"

    def start(self) -> None:
        """Start, on the log of the run before if there is one, and return when the broker serves."""
        self.launch()
        self.wait_until_serving()

    def launch(self) -> None:
        """Start without waiting: the nodes of a cluster wait for each other."""
        if (problem := why_not_installed()) is not None:
            raise BrokerError(problem)
        properties = self._folder / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in self._settings.items()))
        if not (self.log_folder / "meta.properties").exists():
            # one word: an id may begin with a hyphen
            cluster_id = f"--cluster-id={self._cluster_id}"
            tool = ["kafka.tools.StorageTool", "format", cluster_id, "-c", str(properties)]
            command = _java(*tool, *self._format_arguments)
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_START_TIMEOUT_S, check=False
            )
            if done.returncode:
                raise BrokerError(f"the log could not be formatted: {done.stdout}{done.stderr}")
        self._process = ChildProcess(
            _java("kafka.Kafka", str(properties)), log_path=self._folder / "output.log"
        )

    def wait_until_serving(self, n_brokers: int = 1) -> None:
        """Return once the broker answers and knows `n_brokers`, itself included."""
        assert self._process is not None, "launched before"
        try:
            wait_until_serving(
                self.bootstrap,
                self._process,
                _START_TIMEOUT_S,
                n_brokers=n_brokers,
                client_config=self._client_config,
            )
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Shut down in order and keep the log; harmless when it does not run."""
        if self._process is not None:
            self._process.stop(timeout_s=30)
            self._process = None

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL) and keep the log."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def wait_ended(self, timeout_s: float = 60.0) -> int:
        """Wait until it ends by itself and return its exit status; it can be started again."""
        assert self._process is not None, "launched before"
        status = self._process.wait(timeout_s)
        self.kill()
        return status

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the broker: SIGSTOP makes it silent, SIGCONT lets it go on."""
        if self._process is None:
            raise BrokerError("the broker is not running")
        self._process.send_signal(number)

    def restart(self) -> None:
        """Stop and start again, with the same log and address."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Delete the log; for when it will not start again."""
        self._temporary.cleanup()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self.remove()


class KafkaCluster:
    """Several Kafka nodes that replicate to each other; any one of three may be killed."""

    name = "Apache Kafka cluster"

    def __init__(self, n_nodes: int = 3, config: Mapping[str, str | int] | None = None) -> None:
        ports = [(free_port(), free_port()) for _ in range(n_nodes)]
        voters = [f"{i}@127.0.0.1:{controller}" for i, (_, controller) in enumerate(ports, start=1)]
        cluster_id = _new_cluster_id()
        self.nodes = [
            KafkaBroker(
                config, silence_ms=KILLED_MS, node_id=i, ports=pair, voters=voters, cluster_id=cluster_id
            )
            for i, pair in enumerate(ports, start=1)
        ]

    @property
    def bootstrap(self) -> str:
        """``host:port`` of every node, for clients."""
        return ",".join(node.bootstrap for node in self.nodes)

    def start(self) -> None:
        """Start every node and return when all serve."""
        try:
            for node in self.nodes:
                node.launch()
            for node in self.nodes:
                node.wait_until_serving(len(self.nodes))
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Shut every node down in order."""
        for node in self.nodes:
            node.stop()

    def kill(self) -> None:
        """End every node as a power cut would."""
        for node in self.nodes:
            node.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        for node in self.nodes:
            node.remove()


def _java(*arguments: str) -> list[str]:
    return [
        "java",
        "-Xms64m",
        "-Xmx512m",
        "-XX:+UseSerialGC",  # two cores are shared with the worker and the feed
        "-XX:TieredStopAtLevel=1",  # two thirds of the start's CPU time, and it lives for seconds
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-cp",
        f"{JARS}/*",
        *arguments,
    ]


def _new_cluster_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
