"""``cempstream simulate`` to files: no broker, the same bytes twice."""

import csv
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cempstream.streams.cli import app


def test_a_night_to_a_file_needs_no_broker_and_is_the_same_twice(tmp_path: Path) -> None:
    for name in ("one", "two"):
        arguments = f"simulate --survey lamost --n 12 --seed 5 --stratified --out {tmp_path}/{name}.npz"
        result = CliRunner().invoke(app, arguments.split())
        assert result.exit_code == 0, result.output
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    truth = (tmp_path / "one.truth.csv").read_text()
    assert truth == (tmp_path / "two.truth.csv").read_text()
    rows = list(csv.DictReader(truth.splitlines()))
    assert max(float(row["weight"]) for row in rows) >= 10
    assert sum(float(row["weight"]) == 1 for row in rows) >= 3


@pytest.mark.parametrize("survey", ["sdss", "desi", "csst"])
def test_the_same_seed_gives_the_same_bytes_for_every_survey(tmp_path: Path, survey: str) -> None:
    for name, seed in (("one", 5), ("two", 5), ("other", 6)):
        arguments = f"simulate --survey {survey} --n 8 --seed {seed} --out {tmp_path}/{name}.npz"
        result = CliRunner().invoke(app, arguments.split())
        assert result.exit_code == 0, result.output
    one, two, other = ((tmp_path / f"{name}.npz").read_bytes() for name in ("one", "two", "other"))
    assert one == two
    assert one != other


def test_an_unknown_survey_is_one_line_with_those_that_there_are(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["simulate", "--survey", "weave", "--out", str(tmp_path / "n.npz")])
    assert result.exit_code == 2
    assert "lamost" in result.output


def test_the_truth_can_be_parquet(tmp_path: Path) -> None:
    from pyarrow import parquet

    arguments = f"simulate --n 3 --seed 1 --out {tmp_path}/n.npz --truth {tmp_path}/n.parquet"
    result = CliRunner().invoke(app, arguments.split())
    assert result.exit_code == 0, result.output
    table = parquet.read_table(tmp_path / "n.parquet").to_pydict()
    assert table["spectrum_id"] == [f"sim-1-{i:08d}" for i in range(3)]
    assert np.isfinite(table["snr"]).all()
