"""Files of a library: whole or absent, resumed, joined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cempstream.models.emulator.labels import LABEL_NAMES
from cempstream.models.synthesis.chunks import (
    LibraryRows,
    chunk_path,
    computed,
    merge,
    read_rows,
    write_rows,
)
from cempstream.models.synthesis.grid_run import run_grid
from cempstream.models.synthesis.grid_spectrum import LIBRARY_CONTINUUM_WAVE, LIBRARY_WAVE
from cempstream.models.synthesis.grid_stars import EVERYTHING, STRATA, sobol_labels
from cempstream.models.synthesis.linelists import LineSet
from cempstream.models.training.emulator.stellar_library import read_library
from cempstream.streams.commands.synth import synth_app


def rows_of(
    stratum: str, indices: list[int], line_set: LineSet = LineSet.CLEANED, level: float = 0.9
) -> LibraryRows:
    """Return rows with true labels and a flat spectrum."""
    n = len(indices)
    return LibraryRows(
        np.full((n, LIBRARY_WAVE.size), level, dtype=np.float16),
        np.full((n, LIBRARY_CONTINUUM_WAVE.size), 1e5, dtype=np.float32),
        sobol_labels(STRATA[stratum], 7, np.array(indices)),
        np.full(n, stratum),
        np.full(n, 7),
        np.array(indices),
        np.full(n, line_set.value),
    )


def write(folder: Path, rows: LibraryRows) -> Path:
    path = chunk_path(folder, str(rows.stratum[0]), 7, LineSet(str(rows.line_set[0])), int(rows.index[0]))
    write_rows(path, rows)
    return path


def test_a_chunk_comes_back_as_it_was(tmp_path: Path) -> None:
    rows = rows_of("cemp", [4, 5])
    back = read_rows(write(tmp_path, rows))
    np.testing.assert_array_equal(back.labels, rows.labels)
    np.testing.assert_array_equal(back.norm, rows.norm)
    assert back.stratum.tolist() == ["cemp", "cemp"]
    assert [path.name for path in tmp_path.iterdir()] == ["cleaned_cemp_7_000004.npz"]


def test_rows_must_fit_each_other() -> None:
    rows = rows_of("cemp", [1, 2])
    with pytest.raises(ValueError, match=r"norm has shape \(1, 12570\); \(2, 12570\) fits"):
        LibraryRows(
            rows.norm[:1], rows.continuum, rows.labels, rows.stratum, rows.seed, rows.index, rows.line_set
        )


def test_a_finished_run_computes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # Synspec could not even be compiled
    write(tmp_path, rows_of(EVERYTHING, list(range(8))))
    write(tmp_path, rows_of("cemp", [0, 1]))
    seen: list[tuple[int, int]] = []
    run = run_grid(
        8, 7, 1, tmp_path, tmp_path / "cache", {"cemp": 2}, progress=lambda *counts: seen.append(counts)
    )
    assert (run.n_computed, run.n_before, run.failures) == (0, 10, ())
    assert seen == [(10, 10)]


def test_chunks_of_other_lines_do_not_count(tmp_path: Path) -> None:
    write(tmp_path, rows_of("cemp", [0], LineSet.PUBLISHED))
    assert computed(tmp_path, LineSet.CLEANED) == set()
    assert computed(tmp_path, LineSet.PUBLISHED) == {("cemp", 7, 0)}


def test_merging_takes_each_star_once_and_cleaned_before_published(tmp_path: Path) -> None:
    write(tmp_path, rows_of(EVERYTHING, [0, 1, 2], LineSet.PUBLISHED, level=0.5))
    write(tmp_path, rows_of(EVERYTHING, [2, 3], LineSet.CLEANED, level=0.9))
    write(tmp_path, rows_of("cemp", [2]))
    rows = merge([tmp_path])
    assert list(zip(rows.stratum.tolist(), rows.index.tolist(), strict=True)) == [
        ("cemp", 2),
        (EVERYTHING, 0),
        (EVERYTHING, 1),
        (EVERYTHING, 2),
        (EVERYTHING, 3),
    ]
    np.testing.assert_allclose(rows.norm[:, 0], [0.9, 0.5, 0.5, 0.9, 0.9], atol=1e-3)


def test_the_shared_library_is_read_and_joined(shared_data: Path, tmp_path: Path) -> None:
    shared = shared_data / "synthetic" / "library.npz"
    rows = merge([shared, write(tmp_path, rows_of(EVERYTHING, [0, 895]))])
    assert len(rows.index) == 809
    assert (rows.line_set == LineSet.CLEANED.value).sum() == 2
    out = tmp_path / "library.npz"
    write_rows(out, rows, with_grids=True)
    with np.load(shared) as old, np.load(out) as new:
        assert set(old.files) <= set(new.files)
        at = np.searchsorted(new["index"], old["index"][1:])
        np.testing.assert_array_equal(new["norm"][at], old["norm"][1:])


def test_the_emulator_reads_a_merged_library(tmp_path: Path) -> None:
    out = tmp_path / "library.npz"
    write_rows(out, rows_of("turnoff", [0, 1, 2]), with_grids=True)
    library = read_library([out])
    assert library.labels.shape == (3, len(LABEL_NAMES))
    np.testing.assert_allclose(library.norm, 0.9, atol=1e-3)


def test_the_command_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("FC", raising=False)
    options = ["--n", "1", "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    result = CliRunner().invoke(synth_app, ["grid", *options])
    assert result.exit_code == 1
    assert "compiled with gfortran, which is not on PATH" in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_command_refuses_unknown_strata(tmp_path: Path) -> None:
    result = CliRunner().invoke(synth_app, ["grid", "--out", str(tmp_path), "--stratum", "halo=3"])
    assert result.exit_code == 2
    assert "cemp, cool_giant, turnoff, metal_rich" in " ".join(result.stderr.replace("│", " ").split())


def test_the_command_merges(tmp_path: Path) -> None:
    write(tmp_path / "chunks", rows_of("cemp", [0, 1]))
    out = tmp_path / "library.npz"
    result = CliRunner().invoke(synth_app, ["merge", str(tmp_path / "chunks"), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "2 spectra, 2 of them with cleaned lines" in result.stdout
    assert len(read_rows(out).index) == 2


def test_nothing_to_merge_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no \.npz file in"):
        merge([tmp_path])
