"""``cempstream classify`` on the shipped bundle: statuses, messages and the real sky."""

import csv
import os
import pty
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from astropy.table import QTable
from typer.testing import CliRunner, Result

from cempstream import classify
from cempstream.streams.cli import app
from tests.support.spectra import write_stars


def invoke(*args: object) -> Result:
    return CliRunner().invoke(app, ["classify", *map(str, args)])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three stars in a file."""
    path = tmp_path_factory.mktemp("files") / "stars.npz"
    write_stars(path, 3)
    return path


def test_the_table_is_written_and_the_summary_is_no_output(good: Path, tmp_path: Path) -> None:
    result = invoke(good, "--out", tmp_path / "out.csv")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr.startswith("3 spectra of 1 files: 3 scored, 0 rejected, ")
    rows = rows_of(tmp_path / "out.csv")
    assert [row["spectrum_id"] for row in rows] == ["t1-00000", "t1-00001", "t1-00002"]
    for row in rows:
        assert float(row["teff_lo"]) < float(row["teff"]) < float(row["teff_hi"])


def test_photometry_of_a_table_stands_beside_the_spectra(good: Path, tmp_path: Path) -> None:
    table = tmp_path / "stars.csv"
    table.write_text("id,G,BP,RP,ebv,parallax,parallax_error\nt1-00001,14.8,15.2,14.2,0.02,0.1,0.005\n")
    result = invoke(good, "--photometry", table, "--out", tmp_path / "out.csv")
    assert result.exit_code == 0, result.output
    assert "1 of them found in" in result.stderr
    first, second, _ = rows_of(tmp_path / "out.csv")
    assert first["teff_phot"] == ""
    assert 4900 < float(second["teff_phot"]) < 5300
    assert 1.9 < float(second["logg_phot"]) < 2.5
    missing = invoke(good, "--photometry", tmp_path / "nowhere.csv")
    assert missing.exit_code != 0


def test_without_out_the_table_is_the_output(good: Path) -> None:
    result = invoke(good)
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 4


def test_at_a_terminal_a_person_can_read_it(good: Path) -> None:
    screen, terminal = pty.openpty()
    run = subprocess.Popen(
        [sys.executable, "-m", "cempstream", "classify", str(good)],
        stdout=terminal,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "100", "TERM": "dumb"},
    )
    os.close(terminal)
    text = b""
    with suppress(OSError):  # a terminal that is gone ends so
        while part := os.read(screen, 4096):
            text += part
    _, errors = run.communicate(timeout=100)
    os.close(screen)
    lines = [line.rstrip() for line in text.decode().splitlines()]
    assert run.returncode == 0
    assert " ".join(lines[1].split()) == "name S/N km/s K [Fe/H] [C/Fe] p(CEMP) subclass notes"
    assert [line.replace("★", " ").split()[0] for line in lines[2:]] == ["t1-00000", "t1-00001", "t1-00002"]
    assert errors.decode().startswith("3 spectra of 1 files")


@pytest.mark.parametrize(
    ("suffix", "form"), [(".ecsv", "ascii.ecsv"), (".fits", "fits"), (".vot", "votable")]
)
def test_the_tables_of_astronomers_have_the_csvs_numbers(
    good: Path, tmp_path: Path, suffix: str, form: str
) -> None:
    assert invoke(good, "--out", tmp_path / f"out{suffix}").exit_code == 0
    invoke(good, "--out", tmp_path / "out.csv")
    table = QTable.read(tmp_path / f"out{suffix}", format=form)
    rows = rows_of(tmp_path / "out.csv")
    assert [float(value) for value in table["p_cemp"]] == [float(row["p_cemp"]) for row in rows]
    assert [value.to_value("K") for value in table["teff"]] == [float(row["teff"]) for row in rows]


def test_an_unreadable_file_is_one_line_and_the_others_are_done(good: Path, tmp_path: Path) -> None:
    junk = tmp_path / "junk.fits"
    junk.write_bytes(b"\x00" * 100)
    result = invoke(junk, good, tmp_path / "absent.fits", "--out", tmp_path / "out.csv")
    assert result.exit_code == 1
    assert len(rows_of(tmp_path / "out.csv")) == 3
    complaints = result.stderr.splitlines()
    assert len(complaints) == 3
    assert complaints[0].startswith(str(junk))
    assert complaints[1].startswith(str(tmp_path / "absent.fits"))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--out", "table.xlsx"), ".parquet"),
        (("--out", "no/such/folder/table.csv"), "no folder"),
        (("--medium", "water"), "--medium"),
        (("--resolving-power", "0"), "resolving power"),
        (("--provider", "abacus"), "--provider"),
        ((), "files"),
    ],
)
def test_a_wrong_argument_is_one_line_and_status_2(good: Path, args: tuple[str, ...], words: str) -> None:
    result = invoke(*((good, *args) if args else ()))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr


def test_a_provider_that_does_not_load_refuses_and_says_what_to_install(good: Path) -> None:
    result = invoke(good, "--provider", "cuda")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "cempstream[gpu]" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_python_gives_the_same_rows(good: Path, tmp_path: Path) -> None:
    invoke(good, "--out", tmp_path / "out.csv")
    rows = classify(good)
    written = rows_of(tmp_path / "out.csv")
    assert [row["p_cemp"] for row in rows] == [float(row["p_cemp"]) for row in written]
    assert list(rows[0]) == list(written[0])


def test_what_the_file_does_not_say_can_be_said(good: Path) -> None:
    plain = classify(good)
    shifted = classify(good, medium="air", survey="mine")
    assert {row["survey"] for row in shifted} == {"mine"}
    difference = [
        float(b["rv_kms"] or 0) - float(a["rv_kms"] or 0) for a, b in zip(plain, shifted, strict=True)
    ]
    assert np.median(difference) == pytest.approx(83.0, abs=15.0), (
        "vacuum wavelengths taken for air look redshifted"
    )


@pytest.mark.shared
def test_no_real_spectrum_is_lost(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "real"
    files = sorted((folder / "lamost").glob("*.fits.gz"))[::12]
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for path in (
        *files,
        *sorted((folder / "sdss").glob("*.fits.gz")),
        *sorted((folder / "desi").glob("*.gz")),
    ):
        shutil.copy(path, mixed)
    result = invoke(mixed, "--out", tmp_path / "out.csv")
    assert result.exit_code == 0, result.stderr
    rows = rows_of(tmp_path / "out.csv")
    assert len(rows) == len(files) + 28 + 10
    assert {row["status"] for row in rows} <= {"scored", "rejected"}
    assert [row["file"] for row in rows] == sorted(row["file"] for row in rows)
    scored = {row["file"] for row in rows if row["status"] == "scored"}
    assert {str(mixed / path.name) for path in files} <= scored
