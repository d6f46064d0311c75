"""Follow topics into an archive: what was read is written in batches, each with where it goes on."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from cempstream.streams.archive.ledger import ArchiveError, Ledger
from cempstream.streams.archive.tables import Row, Subject, Table
from cempstream.streams.kafka.places import Place, is_about_a_group, partitions_of, place_of
from cempstream.streams.kafka.topic_reader import open_consumer
from cempstream.streams.settings import Settings

logger = logging.getLogger(__name__)

_CHUNK = 1000
_POLL_S = 0.2

#: New partitions are asked for so often.
_PARTITIONS_EVERY_S = 60.0


class Follower:
    """Reads the topics of some subjects on from where an archive stands.

    Parameters
    ----------
    n_rows
        A batch is written when it has so many rows.
    every_s
        Or when its first row is so old, in seconds.
    longitude_deg
        Of the telescope, for the names of nights.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        subjects: Sequence[Subject],
        *,
        n_rows: int,
        every_s: float,
        longitude_deg: float = 0.0,
    ) -> None:
        self._ledger = ledger
        self._kafka = settings.kafka
        tables = [Table(subject, longitude_deg) for subject in subjects]
        self._table_of = {topic: table for table in tables for topic in table.subject.topics(settings.topics)}
        self._n_rows = n_rows
        self._every_s = every_s
        self._rows: list[Row] = []
        self._began_s = 0.0
        self._next: dict[Place, int] = dict(ledger.held.next_offsets)

    def run(self, *, to_end: bool, on_written: Callable[[int], None]) -> None:
        """Read and write until interrupted, or until every partition has ended.

        Raises
        ------
        ArchiveError
            A topic was set back or made anew: its numbers stand for other messages now.
        NoBroker, NoSuchTopic, NoAnswer, KafkaException
            The topics cannot be read.
        """
        with open_consumer(self._kafka) as consumer:
            ended: set[Place] = set()
            places: set[Place] = set()
            asked_s = -_PARTITIONS_EVERY_S
            try:
                while not (to_end and places and ended == places):
                    if time.monotonic() - asked_s >= _PARTITIONS_EVERY_S:
                        asked_s = time.monotonic()
                        places = self._assign(consumer, places)
                    for message in self._messages(consumer, ended):
                        self._take(consumer, message)
                    if self._is_due():
                        self._write(on_written)
            finally:
                self._write(on_written)

    def _assign(self, consumer: Consumer, known: set[Place]) -> set[Place]:
        places = set(partitions_of(consumer, list(self._table_of)))
        if new := places - known:
            consumer.incremental_assign(
                [TopicPartition(*place, self._next.get(place, OFFSET_BEGINNING)) for place in sorted(new)]
            )
        return places

    def _messages(self, consumer: Consumer, ended: set[Place]) -> Iterator[Message]:
        for message in consumer.consume(_CHUNK, timeout=_POLL_S):
            error = message.error()
            if error is None:
                ended.discard(place_of(message)[0])
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(place_of(message)[0])
            elif not is_about_a_group(error):
                raise KafkaException(error)

    def _take(self, consumer: Consumer, message: Message) -> None:
        place, offset = place_of(message)
        expected = self._next.get(place)
        if expected is not None and offset < expected:
            raise ArchiveError(
                f"{place[0]}/{place[1]} has a message {offset} where {expected} is next: the topic was set "
                "back or made anew, and what is archived had these numbers; archive it into another folder"
            )
        if expected is not None and offset > expected:
            low, _ = consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
            if low > expected:
                logger.error(
                    "%d messages of %s/%d were deleted before they were archived: %d to %d",
                    *(low - expected, *place, expected, low - 1),
                )
        if not self._rows:
            self._began_s = time.monotonic()
        self._rows.append(self._table_of[place[0]].row(message))
        self._next[place] = offset + 1

    def _is_due(self) -> bool:
        if not self._rows:
            return False
        return len(self._rows) >= self._n_rows or time.monotonic() - self._began_s >= self._every_s

    def _write(self, on_written: Callable[[int], None]) -> None:
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        self._ledger.commit(list(self._tables(rows)), self._next)
        on_written(len(rows))

    def _tables(self, rows: Sequence[Row]) -> Iterator[tuple[str, object]]:
        by_folder: Mapping[tuple[str, str], list[Row]] = defaultdict(list)
        for row in rows:
            by_folder[self._table_of[row.topic].subject, row.folder].append(row)
        for (subject, folder), members in sorted(by_folder.items()):
            yield f"{subject}/{folder}", self._table_of[members[0].topic].table(members)


def compact(ledger: Ledger, *, least: int = 2) -> tuple[int, int]:
    """Put the files of each folder together; return how many there were and are in the folders touched.

    Parameters
    ----------
    least
        Folders with fewer files stay as they are.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    n_before = n_after = 0
    by_folder = groupby(sorted(ledger.held.files), key=lambda path: path.rpartition("/")[0])
    for folder, paths in [(folder, list(paths)) for folder, paths in by_folder]:
        if len(paths) < least:
            continue
        tables = [pq.ParquetFile(ledger.folder / path).read() for path in paths]
        whole = pa.concat_tables(tables, promote_options="default")
        order = [(name, "ascending") for name in ("topic", "partition", "offset")]
        ledger.commit([(folder, whole.sort_by(order))], {}, replaces=paths)
        n_before += len(paths)
        n_after += 1
    return n_before, n_after
