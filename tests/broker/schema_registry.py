"""A schema registry (Apicurio) from its published archive, for tests; ``install_registry.sh`` fetches it."""

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from cempstream.streams.rehearsal.child_process import ChildProcess
from cempstream.streams.rehearsal.embedded import free_port
from tests.support.waiting import wait_until

JARS = Path(__file__).resolve().parents[2] / ".cache" / "registry"


def why_not_installed() -> str | None:
    """Say what is missing to run the registry here, None where nothing is."""
    if shutil.which("java") is None:
        return "java (17 or later) is not on PATH"
    if not (JARS / "registry-pom.xml").is_file():
        return f"{JARS} is empty: run tests/broker/install_registry.sh"
    return None


class RegistryServer:
    """A registry that keeps what it is told in memory, on the loopback address."""

    def __init__(self) -> None:
        self._port = free_port()
        (jar,) = JARS.glob("*-runner.jar")
        self._process = ChildProcess(
            [
                "java",
                "-Dquarkus.http.host=127.0.0.1",
                f"-Dquarkus.http.port={self._port}",
                "-jar",
                str(jar),
            ],
            cwd=JARS,
            env={**os.environ, "LOG_LEVEL": "WARN"},
        )

    @property
    def url(self) -> str:
        """Where it speaks as Confluent's does."""
        return f"http://127.0.0.1:{self._port}/apis/ccompat/v7"

    def _serves(self) -> bool:
        assert self._process.returncode is None, self._process.log_tail()
        try:
            return httpx.get(f"{self.url}/subjects", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def __enter__(self) -> Self:
        wait_until(self._serves, self._process.log_tail, timeout_s=120)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stop()
