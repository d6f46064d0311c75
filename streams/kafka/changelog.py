"""A compacted topic as the changelog of a table: what it holds, and whether it is still the one we know."""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import OFFSET_BEGINNING, TopicCollection
from confluent_kafka.admin import AdminClient

from cempstream.errors import FixableError
from cempstream.streams.kafka.messages import Headers, header_pairs
from cempstream.streams.kafka.topic_reader import read_partition
from cempstream.streams.kafka.topics import CLEANUP, TopicAdmin
from cempstream.streams.settings import KafkaSettings

#: Of every message of a changelog: which topic it was written to.
_IDENTITY = "changelog"

_TIMEOUT_S = 10.0
#: librdkafka's name of the last message of a partition.
_LAST_MESSAGE = -2001


class UnfitTopics(FixableError, RuntimeError):
    """Two topics do not belong together, or one is not compacted; the message says which and what to do."""


class Changelog:
    """Read a changelog.

    A topic that is deleted and made again has the old name. So each message says to which topic it was
    written; where the newest of a partition does not say ours, the partition does not hold all it should.
    """

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self.topic = topic
        self._kafka = kafka
        self._admin = AdminClient(
            {"bootstrap.servers": kafka.bootstrap, "log_level": 0, **kafka.client_config()}
        )
        self._identity = b""

    def identify(self) -> None:
        """Ask the broker which topic bears the name now.

        Raises
        ------
        KafkaException
            There is none, or the broker does not answer.
        TimeoutError
            Not even librdkafka answers.
        """
        asked = self._admin.describe_topics(TopicCollection([self.topic]), request_timeout=_TIMEOUT_S)
        self._identity = str(asked[self.topic].result(2 * _TIMEOUT_S).topic_id).encode()

    @property
    def headers(self) -> Headers:
        """What every message must bear."""
        return ((_IDENTITY, self._identity),)

    def is_lost(self, partition: int) -> bool:
        """Whether a partition is empty, or its newest message was written to an earlier topic of the name."""
        read = [*read_partition(self._kafka, self.topic, partition, _LAST_MESSAGE)]
        return not read or dict(header_pairs(read[-1].headers())).get(_IDENTITY) != self._identity

    def read(self, partition: int, start: int | None) -> Iterator[tuple[int, bytes, bytes | None]]:
        """Yield what a partition holds from an offset, or from its beginning, to its end.

        Each is an offset, a key, and a value; None deletes what came before of the key.
        """
        first = OFFSET_BEGINNING if start is None else start
        for message in read_partition(self._kafka, self.topic, partition, first):
            offset = message.offset()
            assert offset is not None, "it was read from the broker"
            yield offset, message.key() or b"", message.value()


def require_changelog(kafka: KafkaSettings, source: str, changelog: str) -> None:
    """Make sure that a changelog is compacted and has the partitions of the topic that it is made from.

    Raises
    ------
    UnfitTopics
        It is not so.
    """
    states = TopicAdmin(kafka).states([source, changelog])
    missing = [name for name in (source, changelog) if name not in states]
    if missing:
        raise UnfitTopics(
            f"there is no topic {' and no topic '.join(missing)}; create with `cempstream topics create`"
        )
    ours, theirs = states[changelog], states[source]
    if ours.n_partitions != theirs.n_partitions:
        raise UnfitTopics(
            f"{changelog} has {ours.n_partitions} partitions and {source} has {theirs.n_partitions}; a star "
            "must have the same number in both, so give the smaller as many (`cempstream topics create "
            "--partitions N --alter`) before anything is written to it"
        )
    if (cleanup := ours.config.get(CLEANUP, "compact")) != "compact":
        raise UnfitTopics(
            f"{changelog} has {CLEANUP}={cleanup}; the broker would delete stars, so it must be compact "
            "(`cempstream topics create --alter`)"
        )
