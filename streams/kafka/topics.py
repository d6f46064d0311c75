"""The topics: how each must be configured, what the broker has, and how to bring it up to the plan."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined] # imported there, not re-exported by name
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
)

from cempstream.streams.kafka.places import NoAnswer, is_silence, no_broker, partitions_told
from cempstream.streams.kafka.retention import RETENTION
from cempstream.streams.settings import MIB, KafkaSettings, TopicSettings

_TIMEOUT_S = 30.0
_ANSWER_S = 5.0
_LOOK_AGAIN_S = 0.1
_DAY_MS = 24 * 3600 * 1000

SIZE = "max.message.bytes"
IN_SYNC = "min.insync.replicas"
TIMESTAMPS = "message.timestamp.type"
CLEANUP = "cleanup.policy"

#: A survey's packet that is too large must reach us, so that it becomes a dead letter and is not lost.
MAX_INPUT_BYTES = 64 * MIB
#: A dead letter is the packet with its key and the headers that say why.
_DEAD_LETTER_EXTRA_BYTES = MIB
_RESULT_BYTES = 2 * MIB
_RESULT_DAYS = 30
#: A star with as many spectra as are kept, each as long as `mid` makes it.
_STAR_BYTES = 5 * MIB
_HEARTBEAT_DAYS = 1


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """How a topic must be configured.

    Attributes
    ----------
    replication
        Copies of each partition.
    config
        Topic properties, as Kafka names them.
    """

    name: str
    n_partitions: int
    replication: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TopicState:
    """How a topic is configured."""

    name: str
    n_partitions: int
    replication: int
    config: Mapping[str, str]

    def number(self, name: str) -> int | None:
        """Return a property as a number; None where the broker does not say."""
        value = self.config.get(name, "")
        return int(value) if value.lstrip("-").isdecimal() else None

    def departs_from(self, plan: TopicPlan) -> list[str]:
        """Say what is below the plan; what is above it is the operator's choice."""
        problems = []
        if self.n_partitions < plan.n_partitions:
            problems.append(f"{self.n_partitions} partitions, {plan.n_partitions} planned")
        for name, wanted in plan.config.items():
            value = self.config.get(name)
            number = self.number(name)
            if value is None:
                continue
            is_less = value != wanted if number is None else -1 < number < int(wanted)
            if is_less:
                problems.append(f"{name} is {value}, {wanted} planned")
        return problems


def plan_topics(
    topics: TopicSettings, *, n_partitions: int, replication: int, retention_days: float
) -> list[TopicPlan]:
    """Return the plan of every topic.

    The dead-letter topic takes larger messages than the input. Results are kept longer than spectra, because
    the survey has the spectra.
    """
    durability = {IN_SYNC: "2"} if replication >= 3 else {}

    def plan(name: str, size_bytes: int, days: float, partitions: int) -> TopicPlan:
        config = {SIZE: str(size_bytes), RETENTION: str(round(days * _DAY_MS)), **durability}
        return TopicPlan(name, partitions, replication, config)

    results = (
        topics.scores, topics.scores_shadow, topics.alerts, topics.alerts_json, topics.alerts_archival
    )  # fmt: skip
    return [
        *(plan(name, MAX_INPUT_BYTES, retention_days, n_partitions) for name in topics.spectra),
        *(plan(name, _RESULT_BYTES, _RESULT_DAYS, n_partitions) for name in results),
        plan(topics.dlq, MAX_INPUT_BYTES + _DEAD_LETTER_EXTRA_BYTES, _RESULT_DAYS, n_partitions),
        plan(topics.observations, _RESULT_BYTES, _RESULT_DAYS, n_partitions),
        TopicPlan(
            topics.stars,
            n_partitions,
            replication,
            {SIZE: str(_STAR_BYTES), CLEANUP: "compact", **durability},
        ),
        plan(topics.heartbeat, MIB, _HEARTBEAT_DAYS, 1),
        plan(topics.exposures, MIB, _RESULT_DAYS, 1),
    ]


class TopicAdmin:
    """Read, create and change a broker's topics.

    Parameters
    ----------
    kafka
        Where the broker is and how to reach it.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self.bootstrap = kafka.bootstrap
        # Errors come as exceptions; librdkafka would also log every refused connection.
        self._errors: list[KafkaError] = []
        config: dict[str, Any] = {**kafka.client_config(), "log_level": 0, "error_cb": self._errors.append}
        self.client = AdminClient({"bootstrap.servers": kafka.bootstrap, **config})

    def metadata(self, timeout_s: float = _ANSWER_S) -> Any:
        """Return the cluster's brokers and topics.

        Raises
        ------
        NoBroker
            None answers; the message says why.
        """
        try:
            return self.client.list_topics(timeout=timeout_s)
        except KafkaException as error:
            self.client.poll(0)  # this is what calls error_cb
            raise no_broker(self.bootstrap, self._errors, error.args[0].str()) from None

    def _answer(self, future: Future[Any], about: str) -> Any:
        """Wait for the broker's answer.

        Raises
        ------
        NoAnswer
            It does not answer in time.
        KafkaException
            It refuses.
        """
        try:
            return future.result(_TIMEOUT_S)
        except TimeoutError:
            raise NoAnswer(about, self.bootstrap, f"silent for {_TIMEOUT_S:g} s") from None
        except KafkaException as error:
            if not is_silence(error.args[0]):
                raise
            raise NoAnswer(about, self.bootstrap, error.args[0].str()) from None

    def states(self, names: Iterable[str] | None = None) -> dict[str, TopicState]:
        """Return the state of those of the named topics that exist, or of all that are not Kafka's own."""
        known = self.metadata().topics
        wanted = (
            [n for n in known if not n.startswith("__")]
            if names is None
            else [n for n in names if n in known]
        )
        resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in wanted]
        futures = self.client.describe_configs(resources) if resources else {}
        configs = {}
        for resource, future in futures.items():
            entries = self._answer(future, f"the settings of {resource.name}").values()
            configs[resource.name] = {entry.name: str(entry.value) for entry in entries}
        return {
            name: TopicState(
                name,
                len(partitions_told(name, known[name])),
                min((len(p.replicas) for p in known[name].partitions.values()), default=0),
                configs[name],
            )
            for name in wanted
        }

    def create(self, plans: Iterable[TopicPlan]) -> set[str]:
        """Create the topics that do not exist and return the names of those created."""
        topics = [
            NewTopic(
                plan.name,
                num_partitions=plan.n_partitions,
                replication_factor=plan.replication,
                config=dict(plan.config),
            )
            for plan in plans
        ]
        created = set()
        for name, future in self.client.create_topics(topics).items():
            try:
                self._answer(future, f"making {name}")
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
            else:
                created.add(name)
        deadline_s = time.monotonic() + _TIMEOUT_S
        # A broker lists a topic a little after confirming it; a worker that does not see it refuses to start.
        while not created <= self.metadata().topics.keys() and time.monotonic() < deadline_s:
            time.sleep(_LOOK_AGAIN_S)
        return created

    def grant(self, rights: Iterable[Any]) -> None:
        """Grant rights; those already granted stay.

        Raises
        ------
        KafkaException
            The broker has no authorizer, or we may not.
        """
        self.metadata()  # reports a missing broker plainly; granting would only time out
        for granted in self.client.create_acls(list(rights), request_timeout=_TIMEOUT_S).values():
            self._answer(granted, "rights")

    def delete(self, name: str) -> None:
        """Delete a topic; a broker that does not allow it keeps it."""
        for future in self.client.delete_topics([name]).values():
            with suppress(KafkaException, NoAnswer):
                self._answer(future, f"deleting {name}")

    def alter(self, plan: TopicPlan, state: TopicState) -> None:
        """Bring a topic up to its plan: properties and partitions; never fewer partitions."""
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in plan.config.items()
        ]
        resource = ConfigResource(ConfigResource.Type.TOPIC, plan.name, incremental_configs=entries)
        for future in self.client.incremental_alter_configs([resource]).values():
            self._answer(future, f"changing {plan.name}")
        if state.n_partitions < plan.n_partitions:
            for future in self.client.create_partitions(
                [NewPartitions(plan.name, plan.n_partitions)]
            ).values():
                self._answer(future, f"more partitions of {plan.name}")
