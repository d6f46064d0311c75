"""``cempstream classify --stars`` on the shipped bundles: one row per star, in any order of its spectra."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io.votable.ucd import parse_ucd
from astropy.table import QTable
from rich.console import Console
from typer.testing import CliRunner, Result

from cempstream.models.simulator import load_mix, load_profile, simulate
from cempstream.models.simulator.night_files import write_night
from cempstream.processors.spectrum import Spectrum
from cempstream.streams.cli import app
from cempstream.streams.operations.verify import SAME_PROVIDER
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.scoring.classifier import Classifier
from cempstream.streams.scoring.files import classify_spectra
from cempstream.streams.scoring.pipeline import Pipeline
from cempstream.streams.scoring.result_text import terminal_table_of_stars
from cempstream.streams.scoring.star_result import STAR_COLUMN_INFO, StarResult
from cempstream.streams.scoring.stars import observing, results_of_stars
from cempstream.streams.settings import read_settings
from tests.support.spectra import template_spectra, visits_of, write_spectra

FORMATS = {".ecsv": "ascii.ecsv", ".fits": "fits", ".vot": "votable"}
COLUMNS = [column.name for column in STAR_COLUMN_INFO]


def invoke(*args: object) -> Result:
    return CliRunner().invoke(app, ["classify", "--stars", *map(str, args)])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def visits() -> list[list[Spectrum]]:
    """Three visits of two stars, and one of a third."""
    stars = template_spectra(3, seed=11, snr=1e4)
    return [visits_of(star, n, snr=10.0) for star, n in zip(stars, (3, 3, 1), strict=True)]


@pytest.fixture(scope="module")
def files(visits: list[list[Spectrum]], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A file per night."""
    folder = tmp_path_factory.mktemp("nights")
    paths = []
    for night in range(3):
        paths.append(folder / f"night-{night}.npz")
        write_spectra(paths[-1], [star[night] for star in visits if night < len(star)])
    return paths


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return observing(load_pipeline(read_settings()))


def folded(pipeline: Pipeline, spectra: Sequence[Spectrum]) -> list[StarResult]:
    reads = ((None, spectrum) for spectrum in spectra)
    return list(results_of_stars(classify_spectra(reads, pipeline), pipeline))


def assert_the_same(one: Mapping[str, str], other: Mapping[str, str]) -> None:
    for name in COLUMNS:
        if name in ("p_cemp_growth", "bands", "lines"):  # several numbers in one cell
            continue
        try:
            assert float(one[name]) == pytest.approx(float(other[name]), rel=1e-4, abs=1e-5), name
        except ValueError:
            assert one[name] == other[name], name


def test_a_row_per_star_in_any_order_of_its_files(files: list[Path], tmp_path: Path) -> None:
    result = invoke(*files, "--out", tmp_path / "out.csv")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert result.stderr.splitlines()[1].startswith("3 stars: ")
    rows = rows_of(tmp_path / "out.csv")
    assert list(rows[0]) == COLUMNS
    assert [row["n_observations"] for row in rows] == ["3", "3", "1"]
    assert [row["n_coadded"] for row in rows] == ["3", "3", "1"]
    assert rows[0]["spectrum_ids"].split(";") == [f"t11-00000-visit-{i}" for i in range(3)]
    assert rows[0]["first_observed"] < rows[0]["last_observed"]
    for row in rows:
        assert row["status"] == "scored"
        assert float(row["cfe_lo"]) < float(row["cfe"]) < float(row["cfe_hi"])
        assert len(row["p_cemp_growth"].split(";")) == int(row["n_observations"])
        assert float(row["p_cemp_growth"].split(";")[-1]) == pytest.approx(float(row["p_cemp"]), rel=1e-3)
    assert invoke(*reversed(files), *files, "--out", tmp_path / "again.csv").exit_code == 0
    again = {row["object_id"]: row for row in rows_of(tmp_path / "again.csv")}
    for row in rows:
        other = again[row["object_id"]]
        assert other["n_replaced"] == other["n_observations"]  # every file was given twice
        assert_the_same(row, {**other, "n_replaced": row["n_replaced"]})


def test_one_spectrum_says_of_its_star_what_it_says_alone(files: list[Path], tmp_path: Path) -> None:
    invoke(files[0], "--out", tmp_path / "stars.csv")
    CliRunner().invoke(app, ["classify", str(files[0]), "--out", str(tmp_path / "single.csv")])
    for star, single in zip(rows_of(tmp_path / "stars.csv"), rows_of(tmp_path / "single.csv"), strict=True):
        assert star["object_id"] == single["object_id"]
        assert star["is_candidate"] == single["is_candidate"]
        for name in ("p_cemp", "teff", "feh", "cfe", "cfe_lo", "cfe_hi", "snr"):
            assert float(star[name]) == pytest.approx(float(single[name]), rel=2e-3, abs=2e-3), name


def test_spectra_without_a_name_of_their_star_are_stars_by_themselves(tmp_path: Path) -> None:
    write_spectra(tmp_path / "nameless.npz", template_spectra(2))
    result = invoke(tmp_path / "nameless.npz", "--out", tmp_path / "out.csv")
    assert result.exit_code == 0
    assert "2 spectra have no object_id: each counts as a star by itself" in result.stderr
    assert [row["n_observations"] for row in rows_of(tmp_path / "out.csv")] == ["1", "1"]


def test_a_newer_reduction_replaces_the_older_one(pipeline: Pipeline, visits: list[list[Spectrum]]) -> None:
    first, second, third = visits[0]
    newer = replace(second, flux=third.flux, reduced_at=second.reduced_at.replace(year=2100))
    (star,) = folded(pipeline, [newer, first, second])
    (only,) = folded(pipeline, [first, newer])
    assert (star.row["n_observations"], star.row["n_replaced"]) == (2, 1)
    assert star.row["p_cemp"] == pytest.approx(only.row["p_cemp"], abs=SAME_PROVIDER)


def test_an_empty_visit_is_counted_and_changes_nothing(
    pipeline: Pipeline, visits: list[list[Spectrum]]
) -> None:
    first, second, third = visits[0]
    empty = replace(third, ivar=np.zeros_like(third.ivar))
    alone = replace(empty, object_id="dark")
    star, dark = folded(pipeline, [first, empty, second, alone])
    (without,) = folded(pipeline, [first, second])
    assert (star.row["n_observations"], star.row["n_rejected"]) == (2, 1)
    assert star.row["p_cemp"] == pytest.approx(without.row["p_cemp"], abs=SAME_PROVIDER)
    assert dark.is_rejected
    assert not dark.is_candidate
    assert dark.row["status"] == "rejected"
    assert dark.row["reason"] == "no_good_pixels"
    assert (dark.row["n_observations"], dark.row["n_rejected"], dark.row["is_candidate"]) == (0, 1, None)


def test_stars_of_two_surveys_with_one_number_are_two(
    pipeline: Pipeline, visits: list[list[Spectrum]]
) -> None:
    first, second, _ = visits[0]
    assert len(folded(pipeline, [first, replace(second, survey="sdss")])) == 2


def test_gratings_are_added_up_each_for_itself_and_joined(tmp_path: Path) -> None:
    profile = load_profile("csst")
    batches = simulate(profile, 32, 5, load_mix("halo"), visits=2)
    write_night(tmp_path / "night.npz", profile, 32, batches, visits=2)
    result = invoke(tmp_path / "night.npz", "--out", tmp_path / "out.csv")
    assert result.exit_code == 0, result.stderr
    whole = [row for row in rows_of(tmp_path / "out.csv") if row["n_observations"] == "4"]
    for row in whole:
        assert row["gratings"] == "GI;GV"
        assert row["bundle"].startswith("low-")
    joined = [row for row in whole if row["n_coadded"] == "4"]
    parts = [row for row in whole if row["n_coadded"] != "4"]
    assert len(joined) > 2
    assert {row["grating"] for row in joined} == {"GV+GI"}
    assert parts, "neighbours fall on some"
    assert not [row for row in parts if "contaminated" in row["flags"]], "what is left out has their light"


@pytest.mark.parametrize("suffix", [".ecsv", ".fits", ".vot", ".jsonl", ".parquet"])
def test_every_format_has_the_csvs_numbers(files: list[Path], tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    assert invoke(*files, "--out", path).exit_code == 0
    invoke(*files, "--out", tmp_path / "out.csv")
    rows = rows_of(tmp_path / "out.csv")
    if suffix in FORMATS:
        table = QTable.read(path, format=FORMATS[suffix])
        assert table.colnames == COLUMNS
        counts, p_cemp = table["n_observations"].tolist(), table["p_cemp"].tolist()
        assert [value.to_value("K") for value in table["teff"]] == [float(row["teff"]) for row in rows]
    else:
        cells = (
            pq.read_table(path).to_pylist()
            if suffix == ".parquet"
            else [json.loads(line) for line in path.read_text().splitlines()]
        )
        counts, p_cemp = ([row[name] for row in cells] for name in ("n_observations", "p_cemp"))
    assert counts == [int(row["n_observations"]) for row in rows] == [3, 3, 1]
    assert p_cemp == [float(row["p_cemp"]) for row in rows]


def test_every_column_has_a_meaning() -> None:
    assert len(set(COLUMNS)) == len(COLUMNS)
    for column in STAR_COLUMN_INFO:
        parse_ucd(column.ucd, check_controlled_vocabulary=True)
        assert column.description


def test_at_a_terminal_a_row_says_how_often_the_star_was_seen(
    pipeline: Pipeline, visits: list[list[Spectrum]]
) -> None:
    dark = replace(visits[2][0], object_id="dark", ivar=np.zeros_like(visits[2][0].ivar))
    stars = folded(pipeline, [*visits[0], dark])
    text = io.StringIO()
    Console(file=text, width=120).print(terminal_table_of_stars(stars))
    lines = text.getvalue().splitlines()
    assert "visits" in lines[1]
    assert lines[2].replace("★", " ").split()[:2] == ["star-t11-00000", "3"]
    assert "no_good_pixels" in text.getvalue()


def test_a_program_gets_the_same_stars_as_a_table(files: list[Path], tmp_path: Path) -> None:
    assert invoke(*files, "--out", tmp_path / "out.csv").exit_code == 0
    table = Classifier("mid").classify_stars(files)
    rows = rows_of(tmp_path / "out.csv")
    assert table.colnames == COLUMNS
    assert table["teff"].unit == "K"
    assert list(table["object_id"]) == [row["object_id"] for row in rows]
    np.testing.assert_allclose(table["p_cemp"], [float(row["p_cemp"]) for row in rows], rtol=1e-4)
    assert table.meta["bundles"]
