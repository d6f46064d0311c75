"""A worker, or what follows stars, as a separate process, as in production, watched from outside."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import typer

from cempstream.errors import FixableError
from cempstream.streams.rehearsal.child_process import ChildProcess
from cempstream.streams.rehearsal.embedded import free_port

_POLL_S = 0.1
_SAY_EVERY_S = 15.0
#: Loading takes seconds, on a busy machine minutes; the end of the process is noticed at once.
_READY_TIMEOUT_S = 600.0
_STOP_TIMEOUT_S = 30.0


class WorkerFailed(FixableError, RuntimeError):
    """A worker ended or never became ready; the message holds the end of its log."""


class WorkerProcess:
    """``cempstream worker`` or ``stars run`` as a child process, with settings in its environment.

    Parameters
    ----------
    settings
        ``CEMP_<GROUP>__<FIELD>`` to its value; they win over the environment's.
    log_path
        File of its log; None keeps a temporary one, whose end `WorkerFailed` quotes.
    verb
        ``("stars", "run")`` follows stars.
    """

    def __init__(
        self,
        settings: Mapping[str, str],
        log_path: Path | None = None,
        *,
        verb: Sequence[str] = ("worker",),
    ) -> None:
        self.port = free_port()
        self._name = "the worker" if len(verb) == 1 else f"`{' '.join(verb)}`"
        self._process = ChildProcess(
            [sys.executable, "-m", "cempstream", *verb],
            env={**os.environ, **settings, "CEMP_METRICS__PORT": str(self.port)},
            log_path=log_path,
        )

    def wait_ready(self, timeout_s: float = _READY_TIMEOUT_S) -> None:
        """Return once it consumes; until then print now and then that it still starts.

        Raises
        ------
        WorkerFailed
            It ended, or `timeout_s` passed.
        """
        began_s = said_s = time.monotonic()
        while self._get("/ready")[0] != 200:
            self.check()
            now_s = time.monotonic()
            if now_s - began_s > timeout_s:
                raise WorkerFailed(f"{self._name} is not ready after {timeout_s:g} s: {self._log()}")
            if now_s - said_s > _SAY_EVERY_S:
                said_s = now_s
                typer.echo(f"{self._name} is still starting, for {now_s - began_s:.0f} s now", err=True)
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Raise `WorkerFailed` if it has ended."""
        if not self._process.is_running:
            raise WorkerFailed(f"{self._name} ended with status {self._process.returncode}: {self._log()}")

    def metric(self, name: str) -> float:
        """Return a metric, summed over its labels; 0 if absent."""
        lines = (line for line in self._get("/metrics")[1].splitlines() if line.startswith(name))
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line[len(name)] in " {")

    def cpu_s(self) -> float:
        """Return the CPU time that it has used, user and system, in seconds."""
        # The name in parentheses may hold blanks; what follows it is counted from the state, field 3.
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> tuple[int, int]:
        """Return resident memory, now and its maximum so far."""
        values = {
            name: int(value.split()[0]) * 1024
            for name, _, value in (line.partition(":") for line in self._proc("status").splitlines())
            if name in ("VmRSS", "VmHWM")
        }
        return values["VmRSS"], values["VmHWM"]

    def stop(self) -> None:
        """Ask it to end in order, as its supervisor would."""
        self._process.stop(timeout_s=_STOP_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()
        else:  # interrupted or failed: its last spectra are not needed
            self._process.kill()

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self._process.pid}/{name}").read_text()

    def _log(self) -> str:
        lines = self._process.log_tail().splitlines()
        return " / ".join(lines[-3:]) or "it printed nothing"

    def _get(self, path: str) -> tuple[int, str]:
        """Ask its health server; status 0 if nothing answers."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, ""
        except (URLError, OSError):
            return 0, ""
