"""Tables that astropy writes: read back, they have the CSV's numbers, with units, UCDs and what made them."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import parse
from astropy.io.votable.ucd import parse_ucd
from astropy.table import QTable
from rich.console import Console

from cempstream.plain import csv_cell
from cempstream.processors.decide import Policy
from cempstream.processors.outcome import Rejected
from cempstream.processors.spectrum import Flag, Reason
from cempstream.streams.scoring import result_files as module
from cempstream.streams.scoring.result import Result, Results
from cempstream.streams.scoring.result_files import SUFFIXES, check_table_name, open_table
from cempstream.streams.scoring.result_table import COLUMN_INFO, COLUMNS, ResultCell
from cempstream.streams.scoring.result_text import HEADINGS, short_cells, terminal_table
from tests.support.fakes import classification, make_spectrum

FORMATS = {".ecsv": "ascii.ecsv", ".fits": "fits", ".vot": "votable"}
LONG_ID = "4611686018427387905"  # float64 would round it
HOSTILE = "a\x1b[2J\x00\n\u202e<b>&'\"é星"


@pytest.fixture(scope="module")
def results() -> Results:
    """Two scored stars of two surveys at two priors, and two rejected ones."""
    one = replace(make_spectrum("s1"), object_id=LONG_ID, ra=123.456789012345, dec=-1.5)
    two = replace(make_spectrum("s2"), object_id=HOSTILE, survey="sdss")
    return Results(
        [
            Result("night.fits", one, classification(one, 0.9, Policy("1", prior=3e-4, threshold=0.5))),
            Result(None, two, classification(two, float("nan"), Policy("2", prior=0.1, threshold=0.7))),
            Result("night.fits", None, Rejected(b"", Reason.NO_PIXELS, "no pixels", HOSTILE, "sdss")),
            Result("x.fits", make_spectrum("s4"), Rejected(b"", Reason.LOW_COVERAGE, "too little", "s4")),
        ]
    )


@pytest.fixture(params=FORMATS)
def read(request: pytest.FixtureRequest, results: Results, tmp_path: Path) -> tuple[QTable, str]:
    """Return the results as a format gives them back, and the format."""
    path = tmp_path / f"out{request.param}"
    results.write(path)
    return QTable.read(path, format=FORMATS[request.param]), request.param


def csv_rows(results: Results) -> list[dict[str, str]]:
    text = io.StringIO()
    with open_table(text) as write:
        for result in results:
            write(result)
    return list(csv.DictReader(io.StringIO(text.getvalue())))


def test_names_order_units_and_numbers_are_the_csvs(read: tuple[QTable, str], results: Results) -> None:
    table, _ = read
    assert table.colnames == list(COLUMNS)
    rows = csv_rows(results)
    for column in COLUMN_INFO:
        cells = [row[column.name] for row in rows]
        if column.kind is float:
            values = np.ma.filled(np.ma.asarray(u.Quantity(table[column.name]).value), np.nan)
            values = np.asarray(getattr(values, "unmasked", values), dtype=float)
            np.testing.assert_array_equal(values, [float(cell or "nan") for cell in cells], column.name)
            assert (table[column.name].unit or u.one) == u.Unit(column.unit), column.name
        elif column.kind is bool:
            assert list(table[column.name]) == [cell == "true" for cell in cells]


def test_long_ids_are_exact_and_what_does_not_print_is_escaped(read: tuple[QTable, str]) -> None:
    table, suffix = read
    ids = [str(value) for value in table["object_id"]]
    assert ids[0] == LONG_ID
    letters = "é星" if suffix != ".fits" else r"\xe9\u661f"  # FITS text is ASCII
    assert ids[1] == rf"a\x1b[2J\x00\n\u202e<b>&'\"{letters}".replace(r"\"", '"')
    assert str(table["spectrum_id"][2]) == ids[1]
    assert [str(value) for value in table["reason"][2:]] == ["no_pixels", "low_coverage"]


def test_ecsv_keeps_ucds_and_what_made_the_table(results: Results, tmp_path: Path) -> None:
    results.write(tmp_path / "out.ecsv")
    table = QTable.read(tmp_path / "out.ecsv")
    assert table.meta == results.table.meta
    assert [policy["prior"] for policy in table.meta["policies"]] == [3e-4, 0.1]
    assert [policy["survey"] for policy in table.meta["policies"]] == ["lamost", "sdss"]
    for column in COLUMN_INFO:
        assert table[column.name].info.meta["ucd"] == column.ucd
        assert table[column.name].info.description == column.description


def test_fits_is_valid_and_says_all_of_it_in_its_header(results: Results, tmp_path: Path) -> None:
    results.write(tmp_path / "out.fits")
    with fits.open(tmp_path / "out.fits") as file:
        file.verify("exception")
        header = file["RESULTS"].header
        for i, column in enumerate(COLUMN_INFO, start=1):
            assert header[f"TUCD{i}"] == column.ucd
            assert header[f"TCOMM{i}"] == column.description
        comment = str(header["COMMENT"])
    assert "survey lamost: prior 0.0003, threshold 0.5, policy 1" in comment
    assert "survey sdss: prior 0.1, threshold 0.7, policy 2" in comment


def test_votable_is_valid_and_has_ucds(results: Results, tmp_path: Path) -> None:
    results.write(tmp_path / "out.vot")
    table = parse(tmp_path / "out.vot", verify="exception").get_first_table()
    assert {field.name: field.ucd for field in table.fields} == {c.name: c.ucd for c in COLUMN_INFO}
    assert "survey sdss: prior 0.1, threshold 0.7" in " ".join(table.description.split())
    assert next(field.unit for field in table.fields if field.name == "rv_kms") == u.km / u.s


def test_ucds_are_words_of_the_standard() -> None:
    for column in COLUMN_INFO:
        assert parse_ucd(column.ucd, check_controlled_vocabulary=True, has_colon=True), column.name


def test_an_empty_table_is_a_table(tmp_path: Path) -> None:
    for suffix, name in FORMATS.items():
        Results([]).write(tmp_path / f"out{suffix}")
        assert QTable.read(tmp_path / f"out{suffix}", format=name).colnames == list(COLUMNS)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_rows_are_written_as_they_come(
    results: Results, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where there are more than fit into a group of rows, and a last group that is not full."""
    monkeypatch.setattr(module, "_ROWS_PER_GROUP", 3)
    path = tmp_path / f"out{suffix}"
    with open_table(path) as write:
        for result in [*results] * 2:
            write(result)
    wanted = [result.row for result in results] * 2
    if suffix == ".csv":
        assert list(csv.DictReader(io.StringIO(path.read_text()))) == csv_rows(results) * 2
    elif suffix == ".jsonl":
        assert [json.loads(line) for line in path.read_text().splitlines()] == wanted
        assert "星" in path.read_text()
    else:
        import pyarrow.parquet as pq

        file = pq.ParquetFile(path)
        assert file.read().to_pylist() == wanted
        assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [3, 3, 2]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_table_that_fails_leaves_the_older_one(results: Results, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    path.write_text("older")

    def fail() -> None:
        with open_table(path) as write:
            write(results[0])
            assert path.read_text() == "older"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "older"


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_table_may_be_read_by_whom_the_umask_lets(results: Results, tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        results.write(tmp_path / "out.csv")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert (tmp_path / "out.csv").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_name_that_is_no_tables_is_refused(tmp_path: Path) -> None:
    check_table_name(tmp_path / "out.vot")
    with pytest.raises(ValueError, match=r"must end in \.csv, \.jsonl, .*\.vot"):
        check_table_name(tmp_path / "out.xlsx")
    with pytest.raises(ValueError, match="there is no folder"):
        check_table_name(tmp_path / "none" / "out.csv")


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"), ("+1+1", "'+1+1"), ("-x", "'-x"), ("@a", "'@a"), ("\tx", r"'\tx"),
        ("\rx", r"'\rx"), ("-12.5", "-12.5"), ("+7", "+7"), ("a=b", "a=b"), ("", ""),
        (True, "true"), (False, "false"), (None, None), (-1.5, -1.5), (3, 3),
        ("-12.5.1", "'-12.5.1"), ("+" + 41 * "1", "'+" + 41 * "1"),
    ],
)  # fmt: skip
def test_a_cell_is_no_formula(value: ResultCell, cell: ResultCell) -> None:
    assert csv_cell(value) == cell


def test_a_row_names_its_file(results: Results) -> None:
    assert [row["file"] for row in csv_rows(results)] == ["night.fits", "", "night.fits", "x.fits"]
    latin = os.fsdecode(b"nuit-\xe9.fits")  # a name that is not UTF-8
    (row,) = csv_rows(Results([Result(latin, None, Rejected(b"", Reason.NO_PIXELS, "no pixels"))]))
    assert row["file"] == r"nuit-\udce9.fits"


# --- for a person


@pytest.mark.parametrize(("n_results", "is_cut"), [(59, False), (60, False), (61, True)])
def test_a_notebook_says_that_it_shows_the_first_sixty(n_results: int, is_cut: bool) -> None:
    rejected = Result(None, None, Rejected(b"", Reason.NO_PIXELS, "no pixels"))
    shown = Results([rejected] * n_results)._repr_html_()
    assert ("; the first 60" in shown) == is_cut
    assert shown.count("<tr>") == 1 + min(n_results, 60)


def printed(results: Results, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(terminal_table(results))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_person_sees_ten_columns_candidates_marked_and_reasons(results: Results) -> None:
    assert len(HEADINGS) == 10
    lines = printed(results, 160).splitlines()
    assert ["p(CEMP)" in line for line in lines[:2]] == [False, True]
    assert sum("★" in line for line in lines) == sum(result.is_candidate for result in results) == 1
    assert next(line for line in lines if "★" in line).split()[1] == LONG_ID
    assert "rejected, no_pixels: no pixels" in printed(results, 160)


def test_names_are_harmless_and_numbers_never_cut(results: Results) -> None:
    for width in (60, 80, 160):
        text = printed(results, width)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert all(len(line) <= width for line in text.splitlines())
        for cell in short_cells(results[0])[2:8]:
            assert cell in text
    named = replace(make_spectrum("s"), object_id="[red]star[/red] [/]")
    star = Result(None, named, classification(named, 0.9, Policy("1", prior=3e-4, threshold=0.5)))
    assert "[red]star[/red] [/]" in printed(Results([star]), 160)


def test_a_spectrum_unlike_the_training_has_no_parameters() -> None:
    spectrum = make_spectrum("s")
    outcome = classification(spectrum, 0.9, Policy("1", prior=3e-4, threshold=0.5))
    known = short_cells(Result(None, spectrum, outcome))
    odd = short_cells(Result(None, spectrum, replace(outcome, flags=(Flag.OUT_OF_DISTRIBUTION.value,))))
    assert "—" not in known[4:7]
    assert odd[4:7] == ("—", "—", "—")
    assert odd[9] == "out of distribution"
