"""A whole stream for a demonstration or a measurement: broker, topics, a worker, `stars run`."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

from cempstream.schemas.stamp import Tense
from cempstream.streams.kafka.topics import TopicAdmin, plan_topics
from cempstream.streams.rehearsal.embedded import EmbeddedBroker
from cempstream.streams.rehearsal.worker_process import WorkerProcess
from cempstream.streams.settings import KafkaSettings, TopicSettings, read_settings

_PARTITIONS = 2

#: Joining a group takes half the session timeout on the embedded broker.
_EMBEDDED_SESSION = {"CEMP_KAFKA__SESSION_TIMEOUT_S": "6", "CEMP_KAFKA__HEARTBEAT_INTERVAL_S": "1.5"}
_SESSION = {"CEMP_KAFKA__SESSION_TIMEOUT_S": "10", "CEMP_KAFKA__HEARTBEAT_INTERVAL_S": "3"}


class LocalStream:
    """Start broker, topics, a worker and, if asked for, `stars run`; end them all however the block ends.

    Parameters
    ----------
    purpose
        First part of the topics' names.
    bootstrap
        A Kafka broker to use, with new topics that are deleted at the end; None means the embedded broker.
    worker_settings
        ``CEMP_<GROUP>__<FIELD>`` to value, for the worker.
    worker_log
        Where the worker's log is kept.
    follows_stars
        Whether `stars run` runs too and alerts of what has an ``object_id``.
    follower_log
        Where its log is kept.

    Attributes
    ----------
    follower
        The process of `stars run`, where stars are followed.
    """

    def __init__(
        self,
        purpose: str,
        bootstrap: str | None,
        worker_settings: Mapping[str, str],
        *,
        worker_log: Path | None = None,
        follows_stars: bool = False,
        follower_log: Path | None = None,
    ) -> None:
        self._bootstrap = bootstrap
        self._worker_settings = worker_settings
        self._worker_log = worker_log
        self._follows_stars = follows_stars
        self._follower_log = follower_log
        self._stack = ExitStack()
        tag = f"{purpose}.{uuid.uuid4().hex[:8]}"
        self.topics = TopicSettings(
            spectra=(f"{tag}.spectra.v1",),
            scores=f"{tag}.scores.v1",
            alerts=f"{tag}.alerts.v1",
            alerts_json=f"{tag}.alerts.json.v1",
            scores_shadow=f"{tag}.scores.shadow.v1",
            alerts_archival=f"{tag}.alerts.archival.v1",
            dlq=f"{tag}.dlq.v1",
            heartbeat=f"{tag}.heartbeat.v1",
            exposures=f"{tag}.exposures.v1",
            observations=f"{tag}.observations.v1",
            stars=f"{tag}.stars.v1",
        )
        self.kafka: KafkaSettings
        self.broker_name: str
        self.worker: WorkerProcess
        self.follower: WorkerProcess | None = None

    @property
    def source(self) -> str:
        """Topic of the spectra."""
        return self.topics.spectra[0]

    def wait_ready(self) -> None:
        """Return once the worker consumes, and who follows stars.

        Raises
        ------
        WorkerFailed
            One ended, or is not ready for minutes.
        """
        self.worker.wait_ready()
        if self.follower is not None:
            self.follower.wait_ready()

    def check(self) -> None:
        """Raise `WorkerFailed` if a process has ended."""
        self.worker.check()
        if self.follower is not None:
            self.follower.check()

    def listen_command(self, *tenses: Tense) -> str:
        """Return the line that subscribes to this stream's alerts of some tenses, ready to paste."""
        topics = [self.topics.alerts, *([self.topics.alerts_archival] if "archival" in tenses else [])]
        options = [("--bootstrap", self.kafka.bootstrap), ("--start", "earliest")]
        options += [("--heartbeats", self.topics.heartbeat)]
        options += [("--topic", topic) for topic in topics] + [("--tense", tense) for tense in tenses]
        return shlex.join([*_own_program(), "listen", *chain.from_iterable(options)])

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self._bootstrap is None:
                broker = stack.enter_context(EmbeddedBroker())
                self.broker_name, bootstrap, session = broker.name, broker.bootstrap, _EMBEDDED_SESSION
            else:
                self.broker_name, bootstrap, session = "Kafka", self._bootstrap, _SESSION
            self.kafka = read_settings(kafka={"bootstrap": bootstrap}).kafka
            admin = TopicAdmin(self.kafka)
            if self._bootstrap is not None:
                admin.metadata()  # reports a missing broker plainly; creating topics would only time out
            plans = plan_topics(self.topics, n_partitions=_PARTITIONS, replication=1, retention_days=1)
            admin.create(plans)
            if self._bootstrap is not None:
                stack.callback(_delete, admin, [plan.name for plan in plans])
            settings = {
                **session,
                **self._worker_settings,
                **topic_environment(self.topics),
                "CEMP_KAFKA__BOOTSTRAP": bootstrap,
                "CEMP_KAFKA__GROUP": self.source,
                "CEMP_SCHEMAS__REGISTRY": "",  # it does not know these topics
                "CEMP_STARS__ENABLED": str(self._follows_stars).lower(),
                "CEMP_STARS__GROUP": self.topics.observations,
            }
            self.worker = stack.enter_context(WorkerProcess(settings, self._worker_log))
            if self._follows_stars:
                following = WorkerProcess(settings, self._follower_log, verb=("stars", "run"))
                self.follower = stack.enter_context(following)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def topic_environment(topics: TopicSettings) -> dict[str, str]:
    """Return the environment variables that name the topics."""
    return {
        f"CEMP_TOPICS__{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in topics.model_dump().items()
    }


def _own_program() -> list[str]:
    """Return how to call the running command: its name if the shell finds the same file, else its path."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return [sys.executable, "-m", "cempstream"]
    found = shutil.which(program.name)
    if found is not None and program.exists() and Path(found).samefile(program):
        return [program.name]
    return [str(program)]


def _delete(admin: TopicAdmin, names: list[str]) -> None:
    for future in admin.client.delete_topics(names).values():
        future.result(10)
