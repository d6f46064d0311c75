"""A supervisor as systemd or Kubernetes would be, and the check that every case ends with."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from inspect import signature
from itertools import pairwise
from types import TracebackType
from typing import Self

import numpy as np
import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from pydantic import BaseModel

from cempstream.schemas.alert import Alert, alert_from_json, decode_alert
from cempstream.schemas.codec import peek_ids
from cempstream.schemas.score import Score
from cempstream.streams.settings import BatchSettings, KafkaSettings
from cempstream.streams.worker.faust_app import new_app
from tests.chaos.ledger_table import Row, Table
from tests.support.night import Ledger, Topics, WorkerProcess, wait_for

#: Alerts are rare at the sky's own prior; at even odds some of a few hundred templates are candidates.
EVEN = {"CEMP_POLICY__PRIOR": "0.5"}

#: So many are sent only after a fault in the middle of the work: some are left, however fast it went.
N_LATER = 500

#: Fields of a result that say when and not what.
_TIMES = frozenset({"ingested_at", "inferred_at", "published_at"})

#: Batches of another size take other matrix kernels, and the last bits of a number differ: measured, up to
#: 1e-5 of a probability, an abundance or a χ², 3e-4 km/s in a velocity, and 3e-4 Å in the width of a line,
#: whose windows move with the velocity. Shares and priorities are rounded to four decimals, up or down.
_RELATIVE = 3e-5
_ABSOLUTE = 1.1e-4
_ABSOLUTE_IN_LINES = 2e-3

#: Of the weights of an attribution, whose gradient jumps where a last bit takes a pixel over an edge: 9e-4.
_ABSOLUTE_IN_ATTRIBUTION = 2e-3

_COMMIT_INTERVAL = timedelta(seconds=KafkaSettings().commit_interval_s)
_IN_FLIGHT = BatchSettings().size * BatchSettings().max_in_flight

#: So many packets a worker holds beyond those in flight: all may be repeated where outputs are delivered and
#: commits are not.
N_HELD = signature(new_app).parameters["max_buffered"].default

#: A supervisor's pause, so that a worker that cannot start does not keep the machine busy.
_RESTART_PAUSE_S = 1.0

_WHOLE_LOG_BYTES = 4 * 1024 * 1024


class Supervisor:
    """Keep one worker running: start it again when it ends by itself."""

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        verb: Sequence[str] = ("worker",),
        module: str | None = None,
        arguments: Sequence[str] = (),
        **settings: str,
    ) -> None:
        self._start = partial(
            WorkerProcess,
            *(bootstrap, topics),
            verb=verb,
            module=module,
            arguments=arguments,
            **{**EVEN, **settings},
        )
        self.worker = self._start()
        self.statuses: list[int] = []
        self.first_log = self.last_words = ""
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
        while not self._stopping.wait(0.1):
            status = self.worker.process.returncode
            if status is None:
                continue
            self.last_words = self.worker.process.log_tail()
            self.first_log = self.first_log or self.worker.process.log_tail(_WHOLE_LOG_BYTES)
            self.statuses.append(status)
            self.worker.process.stop()
            if self._stopping.wait(_RESTART_PAUSE_S):
                return
            self.worker = self._start()

    def wait_ready(self, timeout_s: float = 180.0) -> None:
        """Return once the current worker consumes."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.worker.get("/ready")[0] == 200:
                return
            time.sleep(0.1)
        raise AssertionError(
            f"no worker was ready within {timeout_s} s; they ended with {self.statuses}, the last said: "
            f"{self.last_words}; this one: {self.worker.process.log_tail()}"
        )

    def wait_ended(self, n_ends: int, timeout_s: float = 240.0) -> None:
        """Return once workers have ended so many times."""
        deadline = time.monotonic() + timeout_s
        while len(self.statuses) < n_ends:
            assert time.monotonic() < deadline, f"no worker has ended: {self.worker.process.log_tail()}"
            time.sleep(0.05)


def wait_scored(who: WorkerProcess | Supervisor, n_scored: int, timeout_s: float = 240.0) -> None:
    """Return once a worker, or the supervisor's of the moment, has delivered this many outcomes."""
    wait_counted(who, "cemp_spectra_total", n_scored, timeout_s)


def wait_counted(who: WorkerProcess | Supervisor, metric: str, n: int, timeout_s: float = 240.0) -> None:
    """Return once a process, or the supervisor's of the moment, has counted so many in a metric."""
    deadline = time.monotonic() + timeout_s
    while True:
        process = who.worker if isinstance(who, Supervisor) else who
        if (n_now := process.metric(metric)) >= n:
            return
        assert time.monotonic() < deadline, f"{metric} is {n_now}: {process.process.log_tail()}"
        time.sleep(0.02)


def close_case(
    case: str,
    bootstrap: str,
    topics: Topics,
    packets: Iterable[bytes],
    table: Table,
    *,
    n_poison: int = 0,
    n_faults: int = 0,
    n_read_again: int = 0,
    mended_at: datetime | None = None,
    disturbed_at: datetime | None = None,
    timeout_s: float = 300.0,
    outcomes_within_s: float = 60.0,
) -> Ledger:
    """Wait until all is committed, compare the ledger with what was sent, and add the case to the table.

    Parameters
    ----------
    packets, n_poison
        The good packets that went in, and the number of bad ones.
    n_faults
        How many times work may have been repeated.
    n_read_again
        How many packets had an outcome when the log was read again from its start.
    mended_at
        When the fault was over: recovery is from here to the first outcome after it.
    disturbed_at
        When a fault began that the stream should survive: recovery is the longest silence since.
    timeout_s, outcomes_within_s
        How long to wait until all is committed, and then for outcomes that are missing.
    """
    expected = {name for name in (peek_ids(packet)[0] for packet in packets) if name is not None}
    n_packets = len(expected) + n_poison
    wait_committed(bootstrap, topics, timeout_s)
    ledger = wait_for(bootstrap, topics, n_packets, outcomes_within_s)
    buried = {name for name in _dead_ids(ledger) if name in expected}
    n_dead_poison = len(ledger.dead) - len(buried)
    n_lost = len(expected - ledger.scores.keys() - buried) + max(0, n_poison - n_dead_poison)
    allowed = n_read_again + n_faults * (busiest(ledger, _COMMIT_INTERVAL) + _IN_FLIGHT)
    recovery_s = None
    if mended_at is not None:
        recovery_s = _first_after(ledger, mended_at)
    elif disturbed_at is not None:
        recovery_s = _longest_silence(ledger, disturbed_at)
    table.rows.append(Row(case, n_packets, n_lost, ledger.n_repeats, allowed, recovery_s))
    assert n_lost == 0, f"{n_lost} of {n_packets} packets have no outcome"
    assert ledger.scores.keys() <= expected, "nothing is scored that was not sent"
    assert not ledger.scores.keys() & buried, "nothing is scored and a dead letter"
    assert n_dead_poison == n_poison, f"{n_dead_poison} dead letters of {n_poison} bad packets"
    assert ledger.n_repeats <= allowed, f"{ledger.n_repeats} repeats, {allowed} are allowed"
    _check_repeats(ledger.scores.values())
    _check_alerts(ledger)
    return ledger


def n_missing(ledger: Ledger, packets: Iterable[bytes]) -> int:
    """Return how many packets have no outcome."""
    names = {peek_ids(packet)[0] for packet in packets}
    return len(names - ledger.scores.keys() - _dead_ids(ledger))


def busiest(ledger: Ledger, interval: timedelta) -> int:
    """Return how many outcomes the busiest interval of this length has seen: interval times highest rate."""
    times = _published(ledger)
    return max((bisect_right(times, start + interval) - i for i, start in enumerate(times)), default=0)


def _published(ledger: Ledger) -> list[datetime]:
    return sorted(score.published_at for scores in ledger.scores.values() for score in scores)


def _first_after(ledger: Ledger, moment: datetime) -> float:
    return min((t - moment).total_seconds() for t in _published(ledger) if t > moment)


def _longest_silence(ledger: Ledger, since: datetime) -> float:
    times = [since, *(t for t in _published(ledger) if t > since)]
    return max((b - a).total_seconds() for a, b in pairwise(times))


def _dead_ids(ledger: Ledger) -> set[str]:
    names = (peek_ids(first.value() or b"")[0] for first, *_ in ledger.dead.values())
    return {name for name in names if name is not None}


def _check_repeats(groups: Iterable[Sequence[Score] | Sequence[Alert]]) -> None:
    for first, *others in groups:
        for other in others:
            _assert_same(_numbers(first), _numbers(other))


def _check_alerts(ledger: Ledger) -> None:
    """Every candidate of this night has an alert, nothing else has one, and the JSON says so too."""
    candidates = {
        name
        for name, (first, *_) in ledger.scores.items()
        if first.decision.is_candidate and first.tense != "archival"
    }
    alerts: dict[str, list[Alert]] = {}
    for packet in ledger.alert_packets:
        alert = decode_alert(packet)
        alerts.setdefault(alert.spectrum_id, []).append(alert)
    assert alerts.keys() == candidates, f"{len(alerts)} alerts of {len(candidates)} candidates"
    assert all(len({alert.alert_id for alert in group}) == 1 for group in alerts.values())
    _check_repeats(alerts.values())
    in_json = {alert_from_json(line).alert_id for line in ledger.alert_lines}
    in_avro = {group[0].alert_id for group in alerts.values()}
    assert in_json == in_avro, f"{len(in_json)} alerts in JSON of {len(in_avro)}"


def _assert_same(one: dict[str, object], two: dict[str, object]) -> None:
    assert one.keys() == two.keys()
    for name, value in one.items():
        if isinstance(value, np.ndarray):  # the spectrum itself
            np.testing.assert_array_equal(two[name], value, err_msg=name)
        elif isinstance(value, float):
            limit = _ABSOLUTE
            if name.startswith((".lines.", ".rv_")):
                limit = _ABSOLUTE_IN_LINES
            elif name.startswith(
                (".attribution.", ".bands[")
            ):  # of an alert; a band's weight is a sum of them
                limit = _ABSOLUTE_IN_ATTRIBUTION
            assert two[name] == pytest.approx(value, rel=_RELATIVE, abs=limit, nan_ok=True), name
        else:
            assert two[name] == value, name


def _numbers(result: Score | Alert) -> dict[str, object]:
    """Flatten a result without its times."""
    flat: dict[str, object] = {}

    def walk(name: str, value: object) -> None:
        if isinstance(value, BaseModel):
            for field, part in value:
                if name or field not in _TIMES:
                    walk(f"{name}.{field}", part)
        elif isinstance(value, dict):
            for key, part in value.items():
                walk(f"{name}.{key}", part)
        elif isinstance(value, tuple | list):
            for i, part in enumerate(value):
                walk(f"{name}[{i}]", part)
        elif hasattr(value, "__dataclass_fields__"):
            for field in value.__dataclass_fields__:
                walk(f"{name}.{field}", getattr(value, field))
        else:
            flat[name] = value

    walk("", result)
    return flat


def wait_committed(bootstrap: str, topics: Topics, timeout_s: float, topic: str | None = None) -> None:
    """Return once the group has committed everything that was sent: from here on nothing more comes.

    Parameters
    ----------
    topic
        What the group reads, by which it is named; None means the spectra.
    """
    topic = topic or topics.spectra
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"group-{topic}", "log_level": 0})
    deadline = time.monotonic() + timeout_s
    done, ends = [], [-1]
    try:
        while done != ends:
            assert time.monotonic() < deadline, f"{sum(done)} of {sum(ends)} committed after {timeout_s} s"
            time.sleep(0.3)
            try:
                known = consumer.list_topics(topic, timeout=10).topics[topic]
                partitions = [TopicPartition(topic, number) for number in known.partitions]
                ends = [consumer.get_watermark_offsets(p, timeout=10)[1] for p in partitions]
                done = [max(0, p.offset) for p in consumer.committed(partitions, timeout=10)]
            except KafkaException:  # the broker is what the case has broken
                continue
    finally:
        consumer.close()


def now() -> datetime:
    """Return the time, as the results carry it."""
    return datetime.now(UTC)
