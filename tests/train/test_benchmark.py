"""The benchmark's figures on answers that are known, its sets, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from typer.testing import CliRunner

pytest.importorskip("sklearn")

from cempstream.models.evaluation.benchmark import (
    BenchmarkError,
    Figure,
    benchmark_sets,
    score_predictions,
    write_set,
)
from cempstream.streams.cli import app

N = 200


@pytest.fixture
def truth() -> Table:
    """Half are CEMP stars, all are metal-poor but the last ten."""
    feh = np.linspace(-4.0, -1.5, N)
    feh[-10:] = 0.0
    is_cemp = ["True" if i % 2 else "False" for i in range(N)]
    return Table({"spectrum_id": [f"s{i}" for i in range(N)], "is_cemp": is_cemp, "feh": feh})


def figures(predictions: Table, truth: Table) -> dict[str, Figure]:
    return {figure.name: figure for figure in score_predictions(predictions, truth)}


def perfect(truth: Table) -> Table:
    p = [0.9 if flag == "True" else 0.1 for flag in truth["is_cemp"]]
    return Table({"spectrum_id": truth["spectrum_id"], "p_cemp": p, "feh": truth["feh"]})


def test_a_perfect_answer(truth: Table) -> None:
    found = figures(perfect(truth), truth)
    for name in ("answered", "auc", "average_precision", "precision", "recall", "f1"):
        assert (found[name].value, found[name].lo, found[name].hi) == (1.0, 1.0, 1.0)
    assert found["feh_mae"].value == found["feh_rmse"].value == found["feh_bias"].value == 0.0
    assert found["feh_mae"].n == N - 10, "of the metal-poor stars"
    assert found["auc"].n == N


def test_the_order_of_the_rows_says_nothing(truth: Table) -> None:
    rng = np.random.default_rng(2)
    answer = perfect(truth)
    answer["p_cemp"] = rng.uniform(size=N)
    assert score_predictions(answer[rng.permutation(N)], truth) == score_predictions(answer, truth)


def test_errors_bias_and_coverage_by_hand(truth: Table) -> None:
    answer = perfect(truth)
    error = np.where(np.arange(N) % 2, 0.3, -0.1)
    answer["feh"] = truth["feh"] + error
    answer["feh_lo"], answer["feh_hi"] = answer["feh"] - 0.2, answer["feh"] + 0.2
    found = figures(answer, truth)
    assert found["feh_mae"].value == pytest.approx(0.2)
    assert found["feh_bias"].value == pytest.approx(0.1)
    assert found["feh_rmse"].value == pytest.approx(np.sqrt(0.05))
    assert found["feh_coverage"].value == 0.5
    assert found["feh_coverage"].lo < 0.5 < found["feh_coverage"].hi


def test_guesses_have_no_skill_and_decisions_count_where_they_are_given(truth: Table) -> None:
    answer = perfect(truth)
    answer["p_cemp"] = 0.7
    found = figures(answer, truth)
    assert (found["auc"].value, found["precision"].value, found["recall"].value) == (0.5, 0.5, 1.0)
    answer["is_candidate"] = ["true" if i in (1, 2, 3) else "false" for i in range(N)]
    found = figures(answer, truth)
    assert (found["precision"].value, found["recall"].value) == (pytest.approx(2 / 3), 2 / (N / 2))


def test_what_is_not_answered_counts_as_no(truth: Table) -> None:
    answer = perfect(truth)[2:]  # one CEMP star is missing
    found = figures(answer, truth)
    assert found["answered"].value == 1 - 2 / N
    assert found["recall"].value == 1 - 1 / (N / 2)
    assert found["feh_mae"].n == N - 10 - 2
    answer["p_cemp"][0] = np.nan  # of a carbon-normal star
    assert figures(answer, truth)["answered"].value == 1 - 3 / N


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.remove_column("p_cemp"), "no column 'p_cemp'; there are spectrum_id, feh"),
        (lambda t: t.add_row(t[0]), "'s0' stands twice"),
        (
            lambda t: t.add_row({"spectrum_id": "odd", "p_cemp": 0.5, "feh": 0.0}),
            "'odd' and 0 more are not of",
        ),
        (lambda t: t.replace_column("p_cemp", t["p_cemp"] * 100), "must lie between 0 and 1"),
        (lambda t: t.replace_column("feh", np.full(len(t), "low")), "'feh' holds text"),
    ],
)
def test_what_is_refused(truth: Table, change: object, words: str) -> None:
    answer = perfect(truth)
    change(answer)  # type: ignore[operator] # one of the functions above
    with pytest.raises(BenchmarkError, match=words):
        score_predictions(answer, truth)


def test_the_sets_are_read_and_a_small_one_is_written_twice_alike(tmp_path: Path) -> None:
    sets = benchmark_sets()
    assert len({one.seed for one in sets.values()}) == len(sets)
    small = sets["lamost-1"].model_copy(update={"n": 64})
    (tmp_path / "again").mkdir()
    spectra, truth, digest = write_set(small, tmp_path)
    assert write_set(small, tmp_path / "again")[2] == digest
    assert len(np.load(spectra)["ids"]) == len(Table.read(truth)) == 64


def test_the_command_for_a_person_and_a_program(truth: Table, tmp_path: Path) -> None:
    perfect(truth).write(tmp_path / "p.csv")
    truth.write(tmp_path / "t.csv")
    words = ["benchmark", "score", str(tmp_path / "p.csv"), "--truth", str(tmp_path / "t.csv")]
    told = CliRunner().invoke(app, words)
    assert ["f1", "1", "1", "…", "1", "200"] in [line.split() for line in told.stdout.splitlines()]
    facts = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert {fact["name"] for fact in facts} >= {"auc", "feh_bias"}
