"""The subscriber's install: the wheel's base package alone in an environment, on a stream that runs."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cempstream.streams.kafka.topic_reader import count_messages
from cempstream.streams.rehearsal.embedded import Broker
from cempstream.streams.settings import KafkaSettings
from tests.support.night import Topics, WorkerProcess, send
from tests.support.spectra import template_packets

pytestmark = [pytest.mark.install, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
N_PACKETS = 200


@dataclass
class BaseInstall:
    """An environment with cempstream and what it depends on, no extra."""

    folder: Path

    def run(self, *command: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.folder / "bin" / command[0], *command[1:]],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseInstall:
    """Build the wheel and install it into an empty environment."""
    folder = tmp_path_factory.mktemp("base")
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check")
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([sys.executable, *wheel], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    (built,) = folder.glob("cempstream-*.whl")
    subprocess.run([folder / "env" / "bin" / "python", *pip, "install", str(built)], check=True)
    return BaseInstall(folder / "env")


@pytest.fixture(scope="module")
def stream(broker: Broker) -> Iterator[tuple[str, Topics, int]]:
    """Run a worker over templates at even odds; give its topics and how many alerts there are."""
    bootstrap = broker.bootstrap
    topics = Topics.create(bootstrap)
    with WorkerProcess(bootstrap, topics, CEMP_POLICY__PRIOR="0.5") as worker:
        worker.wait_ready()
        send(bootstrap, topics.spectra, template_packets(N_PACKETS))
        kafka = KafkaSettings(bootstrap=bootstrap)
        deadline_s = time.monotonic() + 60
        while count_messages(kafka, [topics.scores])[topics.scores] < N_PACKETS:
            assert time.monotonic() < deadline_s, worker.process.log_tail()
            time.sleep(0.5)
        n_alerts = count_messages(kafka, [topics.alerts])[topics.alerts]
        assert n_alerts > 0
        yield bootstrap, topics, n_alerts


def test_listen_gives_every_alert_of_a_running_stream(
    base: BaseInstall, stream: tuple[str, Topics, int]
) -> None:
    bootstrap, topics, n_alerts = stream
    arguments = (
        "--bootstrap",
        bootstrap,
        "--topic",
        topics.alerts,
        "--start",
        "earliest",
        "-n",
        str(n_alerts),
    )
    lines = base.run("cempstream", "listen", "--json", *arguments).stdout.splitlines()
    alerts = [json.loads(line) for line in lines]
    assert len({alert["alert_id"] for alert in alerts}) == n_alerts
    assert all(0.0 <= alert["p_cemp"] <= 1.0 for alert in alerts)


@pytest.mark.kafka
@pytest.mark.parametrize("broker", ["kafka"], indirect=True)  # Debian's kcat cannot talk to the embedded one
def test_kcat_reads_the_json_topic(stream: tuple[str, Topics, int]) -> None:
    if shutil.which("kcat") is None:
        pytest.skip("kcat is not on PATH")
    bootstrap, topics, n_alerts = stream
    command = [
        "kcat",
        "-q",
        "-b",
        bootstrap,
        "-C",
        "-t",
        topics.alerts_json,
        "-o",
        "beginning",
        "-c",
        str(n_alerts),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    alerts = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({alert["alert_id"] for alert in alerts}) == n_alerts
    assert {"p_cemp", "ra", "dec"} <= set(alerts[0])
