"""A supervisor as systemd or Kubernetes would be, and the check that every case ends with."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import pytest

from cempstream.schemas.score import Score
from tests.chaos.conftest import Row, Table
from tests.night import Ledger, Topics, WorkerProcess, wait_for

#: Fields of a score that say when and not what.
_TIMES = frozenset({"ingested_at", "inferred_at", "published_at"})

#: Batches of another size take other matrix kernels: the last bits of a number may differ.
_TOLERANCE = 1e-5


class Supervisor:
    """Keep one worker running: start it again when it ends by itself with an error."""

    def __init__(self, bootstrap: str, topics: Topics, **settings: str) -> None:
        self._arguments = (bootstrap, topics)
        self._settings = settings
        self.worker = WorkerProcess(bootstrap, topics, **settings)
        self.n_restarts = 0
        self.statuses: list[int] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self.worker.process.stop(timeout_s=30)

    def _watch(self) -> None:
        while not self._stopping.wait(0.2):
            status = self.worker.process.returncode
            if status is None:
                continue
            self.statuses.append(status)
            self.worker.process.stop()
            self.n_restarts += 1
            bootstrap, topics = self._arguments
            self.worker = WorkerProcess(bootstrap, topics, **self._settings)

    def wait_ready(self, timeout_s: float = 90.0) -> None:
        """Return once the worker of the moment consumes."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.worker.get("/ready")[0] == 200:
                return
            time.sleep(0.1)
        raise AssertionError(f"no worker was ready within {timeout_s} s: {self.worker.process.log_tail()}")


def missing(ledger: Ledger, n_packets: int) -> int:
    """Return how many packets have no outcome."""
    return n_packets - ledger.n_accounted


def close_case(
    case: str,
    bootstrap: str,
    topics: Topics,
    n_packets: int,
    table: Table,
    *,
    max_repeats: int,
    recovery_s: float | None = None,
    timeout_s: float = 180.0,
) -> Ledger:
    """Read the ledger, hold it against what went in, and add the case to the table."""
    ledger = wait_for(bootstrap, topics, n_packets, timeout_s)
    lost = missing(ledger, n_packets)
    table.rows.append(Row(case, n_packets, lost, ledger.n_repeats, recovery_s))
    assert lost == 0, f"{lost} of {n_packets} packets have no outcome"
    assert ledger.n_repeats <= max_repeats
    for first, *others in ledger.scores.values():
        for other in others:
            _assert_same(first, other)
    n_candidates = sum(scores[0].decision.is_candidate for scores in ledger.scores.values())
    assert len(ledger.alerts) >= min(n_candidates, 1)
    return ledger


def _assert_same(first: Score, other: Score) -> None:
    one, two = _numbers(first), _numbers(other)
    assert one.keys() == two.keys()
    for name, value in one.items():
        if isinstance(value, float):
            assert two[name] == pytest.approx(value, rel=_TOLERANCE, abs=_TOLERANCE, nan_ok=True), name
        else:
            assert two[name] == value, name


def _numbers(score: Score) -> dict[str, object]:
    """Flatten a score without its times."""
    flat: dict[str, object] = {}

    def walk(prefix: str, value: object) -> None:
        if isinstance(value, dict):
            for name, part in value.items():
                walk(f"{prefix}.{name}", part)
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            for i, part in enumerate(value):
                walk(f"{prefix}[{i}]", part)
        else:
            flat[prefix] = value

    walk("score", score.model_dump(exclude=set(_TIMES)))
    return flat


def wait_scored(worker: WorkerProcess, n_scored: int, timeout_s: float = 60.0) -> None:
    """Return once a worker has delivered this many outcomes: it is in the middle of its work."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if worker.metric("cemp_spectra_total") >= n_scored:
            return
        time.sleep(0.02)
    raise AssertionError(f"{worker.metric('cemp_spectra_total')} outcomes after {timeout_s} s")
