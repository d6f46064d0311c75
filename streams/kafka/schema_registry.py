"""A schema registry that speaks as Confluent's does: our schemas are registered in it, and its ids are taken.

Every topic of ours has its subject there, ``<topic>-value``, as standard deserialisers expect.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeAlias
from urllib.parse import urlsplit

from cempstream.errors import FixableError, install_hint
from cempstream.schemas.avro_schema import Schema, SchemaError
from cempstream.schemas.packets import take_ids, when_unknown
from cempstream.schemas.registry import Kind, latest, schema, schema_text, versions
from cempstream.streams.addresses import is_loopback

if TYPE_CHECKING:  # settings need more than the base install
    from cempstream.streams.settings import Settings, TopicSettings

logger = logging.getLogger(__name__)

#: Within a major version readers of any minor version read packets of any other; so it shall stay.
_COMPATIBILITY = "FULL_TRANSITIVE"

_TIMEOUT_S = 10

#: A packet with an unknown id has the registry asked again, but not more often than this.
_ASK_AGAIN_S = 30.0

_NOT_FOUND = 404

#: Topics and the kind of their packets; several topics may hold one kind.
KindsOfTopics: TypeAlias = Mapping[str, Kind]


class RegistryError(FixableError, RuntimeError):
    """The schema registry does not answer, refuses, or lacks a schema; the message says what to do."""


def kinds_of_topics(topics: TopicSettings) -> dict[str, Kind]:
    """Return which topics hold packets, and of which kind; dead letters and alerts as JSON have no schema."""
    return {
        **dict.fromkeys(topics.spectra, Kind.SPECTRUM),
        topics.scores: Kind.SCORE,
        topics.scores_shadow: Kind.SCORE,
        topics.alerts: Kind.ALERT,
        topics.alerts_archival: Kind.ALERT,
        topics.heartbeat: Kind.HEARTBEAT,
        topics.exposures: Kind.EXPOSURE,
        topics.observations: Kind.OBSERVATION,
        topics.stars: Kind.STAR,
    }


class SchemaRegistry:
    """A client of a registry, to be used in a ``with`` block.

    Parameters
    ----------
    config
        As of `confluent_kafka.schema_registry.SchemaRegistryClient`: ``url``, and where it is asked for
        ``basic.auth.user.info``, ``ssl.ca.location`` and so on.

    Raises
    ------
    RegistryError
        The package of the client is not installed, or the configuration is impossible.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._url = str(config.get("url", ""))
        parts = urlsplit(self._url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
            raise RegistryError(
                f"'{shown}' is not the address of a schema registry; one is written https://host:port/path, "
                "without name and password"
            )
        is_secret = "basic.auth.user.info" in config
        if is_secret and parts.scheme == "http" and not is_loopback(parts.hostname):
            raise RegistryError(f"{self._url}: a password goes over https only; write https://{parts.netloc}")
        try:
            from confluent_kafka.schema_registry import SchemaRegistryClient
        except ModuleNotFoundError as error:
            hint = install_hint("registry")
            raise RegistryError(
                f"a schema registry needs {error.name}, which is not installed: {hint}"
            ) from None
        try:
            self._client = SchemaRegistryClient({"timeout": _TIMEOUT_S, "max.retries": 1, **config})
        except (ValueError, TypeError, OSError) as error:
            raise RegistryError(f"schema registry: {error}") from error

    def __enter__(self) -> Self:
        self._client.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: object) -> None:
        self._client.__exit__(*raised)  # type: ignore[no-untyped-call]

    def register(self, topics: KindsOfTopics) -> Iterator[tuple[str, str, int]]:
        """Register every version of every kind under its topics; yield subject, version and id.

        What is registered already stays as it is.

        Raises
        ------
        RegistryError
            The registry does not answer or refuses.
        """
        from confluent_kafka.schema_registry import Schema as Registered

        for topic, kind in topics.items():
            subject = _subject(topic)
            for version in versions(kind):
                with self._asked(f"{kind} {version} of {subject}"):
                    number = self._client.register_schema(
                        subject, Registered(schema_text(kind, version), "AVRO")
                    )
                    if version == versions(kind)[0]:  # a subject must exist before it can be told
                        self._client.set_compatibility(subject, _COMPATIBILITY)
                yield subject, str(version), number

    def schemas(self, topic: str, kind: Kind) -> dict[int, Schema]:
        """Return what is registered under a topic by id: our versions, and others.

        Raises
        ------
        RegistryError
            The registry does not answer or refuses.
        """
        from confluent_kafka.schema_registry import Schema as Registered

        subject = _subject(topic)
        found: dict[int, Schema] = {}
        with self._asked(subject):
            for number in self._found(self._client.get_versions, subject) or ():
                theirs = self._client.get_version(subject, number)
                if theirs.schema.schema_type == "AVRO" and theirs.schema_id is not None:
                    found[theirs.schema_id] = json.loads(theirs.schema.schema_str or "null")
            # The registry tells our schemas from others, whatever form it gives them.
            for version in versions(kind):
                asked = Registered(schema_text(kind, version), "AVRO")
                if (ours := self._found(self._client.lookup_schema, subject, asked)) is not None:
                    found[ours.schema_id] = schema(kind, version)
        return found

    @contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        try:
            yield
        except SchemaRegistryError as error:
            raise RegistryError(
                f"the schema registry at {self._url} refuses {what}: {error.error_message} "
                f"(status {error.http_status_code})"
            ) from error
        except Exception as error:
            # The client lets through what its HTTP library raises, which is httpx or its successor.
            is_http = type(error).__module__.startswith("httpx")
            if not (is_http or isinstance(error, (OSError, ValueError))):
                raise
            raise RegistryError(
                f"the schema registry at {self._url} gives no answer that can be read "
                f"({type(error).__name__}: {error}); is that its address, with the path before /subjects?"
            ) from error

    def _found(self, ask: Callable[..., Any], *of: Any) -> Any:
        """Return an answer; None where there is no such thing."""
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        try:
            return ask(*of)
        except SchemaRegistryError as error:
            if error.http_status_code == _NOT_FOUND:
                return None
            raise


class _Ids:
    """The ids of a registry, taken at the start and again when a packet has an unknown one."""

    def __init__(self, config: Mapping[str, Any], topics: KindsOfTopics, *, writes: bool) -> None:
        self._config = config
        self._topics = topics
        self._writes = writes
        self._asked_at: dict[Kind, float] = {}

    def take_all(self) -> None:
        with SchemaRegistry(self._config) as registry:
            for kind in dict.fromkeys(self._topics.values()):
                self._take(kind, registry)

    def _take(self, kind: Kind, registry: SchemaRegistry) -> None:
        self._asked_at[kind] = time.monotonic()
        found: dict[int, Schema] = {}
        subjects = [topic for topic, held in self._topics.items() if held == kind]
        for topic in subjects:
            found |= registry.schemas(topic, kind)
        try:
            problems = take_ids(kind, found, writes=self._writes)
        except SchemaError:
            raise RegistryError(
                f"the schema registry has no {kind} {latest(kind)} under "
                f"{', '.join(map(_subject, subjects))}; register it with `cempstream schema register`"
            ) from None
        for problem in problems:
            logger.warning("the registry's %s", problem)

    def take_again(self, kind: Kind) -> None:
        asked_at = self._asked_at.get(kind)
        if asked_at is None or time.monotonic() - asked_at < _ASK_AGAIN_S:
            return
        try:
            with SchemaRegistry(self._config) as registry:
                self._take(kind, registry)
        except RegistryError as error:  # the packet is refused as it would be without a registry
            logger.warning("%s", error)


def use_registry(settings: Settings) -> None:
    """Take the ids of the registry that is set, for this process; without one ours stay.

    Raises
    ------
    RegistryError
        It does not answer, or lacks a version that we write.
    """
    if settings.schemas.registry is not None:
        take_registry(settings.schemas.client_config(), kinds_of_topics(settings.topics), writes=True)


def take_registry(config: Mapping[str, Any], topics: KindsOfTopics, *, writes: bool) -> None:
    """Take a registry's ids for the packets of some topics, for this process.

    Parameters
    ----------
    config
        As of `SchemaRegistry`.
    writes
        Whether such packets are written too.

    Raises
    ------
    RegistryError
        It does not answer, or lacks a version that we write.
    """
    ids = _Ids(config, topics, writes=writes)
    ids.take_all()
    when_unknown(ids.take_again)


def _subject(topic: str) -> str:
    return f"{topic}-value"
