"""End a worker that has no partition while some partitions belong to no worker.

A consumer may silently fail to join its group, or be given nothing (compare Faust issues 175, 629 and 640).
Only the broker knows whether a worker without partitions is a spare or is lost. So it is asked, on a
connection and in a thread that need no event loop.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from faust.types import TP

from cempstream.streams.kafka.groups import list_groups
from cempstream.streams.kafka.places import NoAnswer

#: A rebalance leaves partitions without a worker for up to Faust's ``broker_rebalance_timeout``, 60 s.
PATIENCE_S = 90.0

_INTERVAL_S = 5.0
#: Long: where an answer comes after its time, an assertion of librdkafka may end the process. Only this
#: watch's thread waits.
_TIMEOUT_S = 60.0


class OrphanWatch:
    """Call `on_lost` if the worker is idle and partitions have belonged to no worker for `PATIENCE_S`.

    Parameters
    ----------
    admin
        Asked for the group's members and the topics' partitions, only while the worker is idle.
    group, topics
        What the worker consumes.
    is_idle
        Whether the worker has no partition.
    on_lost
        Takes the partitions without a worker; called in the watch's thread, once.
    """

    def __init__(
        self,
        admin: AdminClient,
        group: str,
        topics: Collection[str],
        *,
        is_idle: Callable[[], bool],
        on_lost: Callable[[frozenset[TP]], object],
    ) -> None:
        self._admin, self._group, self._topics = admin, group, tuple(topics)
        self._is_idle, self._on_lost = is_idle, on_lost
        self._thread = threading.Thread(target=self._watch, name="orphan-watch", daemon=True)

    def start(self) -> None:
        """Watch in a separate thread until the process ends."""
        self._thread.start()

    def _watch(self) -> None:
        since_s: float | None = None
        while True:
            time.sleep(_INTERVAL_S)
            orphans = self.find() if self._is_idle() else frozenset()
            if not orphans or not self._is_idle():
                since_s = None
                continue
            now_s = time.monotonic()
            since_s = now_s if since_s is None else since_s
            if now_s - since_s >= PATIENCE_S:
                self._on_lost(orphans)
                return

    def find(self) -> frozenset[TP]:
        """Return the partitions that belong to no member; none if the broker does not say."""
        try:
            owned = self._owned()
            return frozenset() if owned is None else self._partitions() - owned
        except (KafkaException, NoAnswer, TimeoutError):  # no broker, or no permission
            return frozenset()

    def _partitions(self) -> frozenset[TP]:
        found = set()
        asked = self._admin.describe_topics(TopicCollection([*self._topics]), request_timeout=_TIMEOUT_S)
        for name, answer in asked.items():
            try:
                found |= {TP(name, partition.id) for partition in answer.result(2 * _TIMEOUT_S).partitions}
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
        return frozenset(found)

    def _owned(self) -> frozenset[TP] | None:
        list_groups(self._admin, _TIMEOUT_S)  # a silent broker ends it here
        asked = self._admin.describe_consumer_groups([self._group], request_timeout=_TIMEOUT_S)
        try:
            group = asked[self._group].result(2 * _TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
                raise
            return frozenset()  # no worker has ever joined
        if group.state == ConsumerGroupState.STABLE and not group.members:
            return None  # the embedded broker never names members
        return frozenset(
            TP(place.topic, place.partition)
            for member in group.members
            for place in member.assignment.topic_partitions
        )
