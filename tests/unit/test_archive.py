"""Tables of packets, and the ledger that lets no row be lost or doubled."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from cempstream.schemas.alert import decode_alert
from cempstream.schemas.registry import Kind, sample
from cempstream.schemas.score import decode_score
from cempstream.streams.archive.columns import columns_of
from cempstream.streams.archive.follow import compact
from cempstream.streams.archive.ledger import ArchiveError, Ledger
from cempstream.streams.archive.tables import Subject, Table

TABLE = pa.table({"topic": ["t"] * 3, "partition": [0] * 3, "offset": [4, 5, 6]})
PLACE = ("t", 0)


class Message:
    """As much of librdkafka's message as a table reads."""

    def __init__(
        self, value: bytes, offset: int = 7, headers: Any = None, at: datetime | None = None
    ) -> None:
        self._value, self._offset, self._headers = value, offset, headers
        self._at = at or datetime(2026, 11, 20, 20, tzinfo=UTC)

    def value(self) -> bytes:
        return self._value

    def topic(self) -> str:
        return "a.topic"

    def partition(self) -> int:
        return 1

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return None

    def headers(self) -> Any:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return 1, round(self._at.timestamp() * 1000)


def row_of(subject: Subject, message: Message, longitude_deg: float = 0.0) -> tuple[str, dict[str, Any]]:
    table = Table(subject, longitude_deg)
    row = table.row(message)  # type: ignore[arg-type]
    (values,) = table.table([row]).to_pylist()
    return row.folder, values


def test_a_score_is_a_row_of_all_that_it_says() -> None:
    score = decode_score(sample(Kind.SCORE))
    folder, row = row_of(Subject.SCORES, Message(sample(Kind.SCORE)))
    assert folder.endswith(f"/survey={score.survey}")
    assert (row["topic"], row["partition"], row["offset"], row["unreadable"]) == ("a.topic", 1, 7, None)
    assert row["spectrum_id"] == score.spectrum_id
    assert (row["p_cemp"], row["snr"], row["flags"]) == (score.p_cemp, score.snr, list(score.flags))
    assert (row["feh"], row["feh_lo"], row["feh_hi"]) == (
        score.parameters.feh.value,
        score.parameters.feh.lo,
        score.parameters.feh.hi,
    )
    assert row["decision_is_candidate"] == score.decision.is_candidate
    assert row["observed_at"] == score.observed_at
    assert "survey" not in row


def test_an_alert_keeps_all_but_its_spectrum() -> None:
    alert = decode_alert(sample(Kind.ALERT))
    _, row = row_of(Subject.ALERTS, Message(sample(Kind.ALERT)))
    assert row["alert_id"] == str(alert.alert_id)
    assert row["subclass_p_cemp_s"] == alert.subclass_p.cemp_s
    assert dict(row["lines"]).keys() == alert.lines.keys()
    assert [visit["spectrum_id"] for visit in row["visits"]] == [visit.spectrum_id for visit in alert.visits]
    assert "spectrum" not in row
    assert {column.path[0] for column in columns_of(Kind.ALERT)} >= set(type(alert).model_fields) - {
        "spectrum"
    }


def test_a_dead_letter_is_a_row_with_its_packet() -> None:
    headers = [("error.reason", b"not_avro"), ("orig.topic", b"x.spectra"), ("orig.offset", b"12")]
    folder, row = row_of(Subject.DEAD_LETTERS, Message(b"\x01\x02", headers=headers))
    assert folder == "night=2026-11-20/survey=__HIVE_DEFAULT_PARTITION__"
    assert (row["reason"], row["from_topic"], row["from_offset"]) == ("not_avro", "x.spectra", 12)
    assert row["packet"] == b"\x01\x02"


def test_what_cannot_be_read_is_a_row_that_says_why() -> None:
    _, row = row_of(Subject.SCORES, Message(b"no packet"))
    assert row["unreadable"].startswith("not_avro")
    assert (row["offset"], row["p_cemp"], row["flags"]) == (7, None, None)


@pytest.mark.parametrize(
    ("hour", "longitude_deg", "night"),
    [
        (20, 0.0, "2026-11-20"),
        (11, 0.0, "2026-11-19"),
        (12, 0.0, "2026-11-20"),
        (3, 117.6, "2026-11-19"),
        (11, 117.6, "2026-11-20"),
        (11, -155.5, "2026-11-19"),
    ],
)
def test_a_night_is_named_by_its_evening_at_the_telescope(
    hour: int, longitude_deg: float, night: str
) -> None:
    message = Message(b"", at=datetime(2026, 11, 20, hour, tzinfo=UTC))
    assert row_of(Subject.DEAD_LETTERS, message, longitude_deg)[0].startswith(f"night={night}/")


def held(folder: Path) -> list[int]:
    """Return the offsets that a reader of the folder finds."""
    files = [str(path) for path in folder.glob("*/night=*/survey=*/*.parquet")]
    table = ds.dataset(files).to_table() if files else TABLE.slice(0, 0)
    return sorted(table["offset"].to_pylist())


def test_what_is_committed_is_there_and_known_after_a_restart(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.commit([("scores/night=1/survey=a", TABLE)], {PLACE: 7})
        with pytest.raises(ArchiveError, match="another process"):
            Ledger(tmp_path)
    with Ledger(tmp_path) as ledger:
        assert ledger.held.next_offsets == {PLACE: 7}
        assert sum(ledger.held.files.values()) == 3
    assert held(tmp_path) == [4, 5, 6]


class _Killed(BaseException):
    """A writer that is killed."""


@pytest.mark.parametrize("moment", ["the files are aside", "the line is torn", "the line is written"])
def test_a_writer_that_is_killed_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    folder = "scores/night=1/survey=a"
    with Ledger(tmp_path) as ledger:
        ledger.commit([(folder, TABLE)], {PLACE: 7})
        before = (tmp_path / "manifest.jsonl").stat().st_size

        def killed(*_: object, **__: object) -> None:
            raise _Killed

        name = "_settle" if moment != "the files are aside" else "dumps"
        monkeypatch.setattr(*((ledger, name) if name == "_settle" else (json, name)), killed)
        with pytest.raises(_Killed):
            ledger.commit([(folder, TABLE)], {PLACE: 10})
        monkeypatch.undo()
    if moment == "the line is torn":
        os.truncate(tmp_path / "manifest.jsonl", before + 20)
    assert held(tmp_path) == [4, 5, 6]
    with Ledger(tmp_path) as ledger:
        is_done = moment == "the line is written"
        assert ledger.held.next_offsets == {PLACE: 10 if is_done else 7}
        if not is_done:
            ledger.commit([(folder, TABLE)], {PLACE: 10})
    assert held(tmp_path) == [4, 4, 5, 5, 6, 6]
    assert not list((tmp_path / ".aside").iterdir())


def test_compacting_keeps_every_row_in_order(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        for first in (6, 3, 0):
            table = pa.table(
                {"topic": ["t"] * 3, "partition": [0] * 3, "offset": [first, first + 1, first + 2]}
            )
            ledger.commit([("scores/night=1/survey=a", table)], {PLACE: first})
        ledger.commit([("scores/night=2/survey=a", TABLE)], {PLACE: 10})
        before = held(tmp_path)
        assert compact(ledger) == (3, 1)
        assert compact(ledger) == (0, 0)
    assert held(tmp_path) == before
    (whole,) = (tmp_path / "scores" / "night=1").glob("*/*.parquet")
    assert pq.ParquetFile(whole).read()["offset"].to_pylist() == list(range(9))
    with Ledger(tmp_path) as ledger:
        assert ledger.held.next_offsets == {PLACE: 10}


def test_compacting_that_is_killed_doubles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise _Killed

    with Ledger(tmp_path) as ledger:
        for _ in range(2):
            ledger.commit([("scores/night=1/survey=a", TABLE)], {PLACE: 7})
        before = held(tmp_path)
        monkeypatch.setattr(ledger, "_settle", killed)
        with pytest.raises(_Killed):
            compact(ledger)
    with Ledger(tmp_path):
        assert held(tmp_path) == before


@pytest.mark.parametrize("line", ["[]", "{}", "no json"])
def test_a_folder_that_is_no_archive_is_left_as_it_is(tmp_path: Path, line: str) -> None:
    (tmp_path / "manifest.jsonl").write_text(line + "\n")
    with pytest.raises(ArchiveError, match=r"manifest.jsonl, line 1: this is no manifest"):
        Ledger(tmp_path)
    assert (tmp_path / "manifest.jsonl").read_text() == line + "\n"


def test_tables_without_their_manifest_are_not_added_to(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.commit([("scores/night=1/survey=a", TABLE)], {PLACE: 7})
    (tmp_path / "manifest.jsonl").unlink()
    with pytest.raises(ArchiveError, match="is missing, but there are tables"):
        Ledger(tmp_path)
    assert held(tmp_path) == [4, 5, 6]


def test_what_is_no_archive_is_not_made_one_by_compacting(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"is no archive: it has no manifest\.jsonl"):
        Ledger(tmp_path / "none", is_old=True)
    assert not (tmp_path / "none").exists()
