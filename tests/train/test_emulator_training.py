"""Training of the emulator, on a small library that the shipped emulator made."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cempstream.models.emulator.emulator import Emulator
from cempstream.models.emulator.grids import EMULATOR_GRID
from cempstream.models.simulator import draw_sources, load_mix
from cempstream.models.training.emulator.stellar_library import Library, read_library, stellar_files
from cempstream.processors.grid import vacuum_to_air

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def library() -> Library:
    labels = draw_sources(96, load_mix("halo"), np.random.default_rng(4)).labels
    spectra = Emulator.load()(labels)
    nodes = np.linspace(3650.0, 9940.0, 40)
    at_nodes = np.stack([np.interp(nodes, EMULATOR_GRID.wave, row) for row in spectra.continuum])
    no = np.zeros(96, dtype=bool)
    return Library(labels, spectra.norm, no, no, no, nodes, np.log(at_nodes))


def train_once(library: Library, out: Path, n_steps: int) -> float:
    from cempstream.models.training.emulator.train import Config, export, train_emulator

    config = Config(n_components=20, n_continuum=6, n_hidden=32, n_members=1, n_steps=n_steps, batch=32)
    network, basis = train_emulator(library, config)
    with warnings.catch_warnings():
        # torch announces another exporter, which needs another dependency.
        warnings.simplefilter("ignore", DeprecationWarning)
        scores = export(network, basis, library, config, out)
    return scores[0].median


def test_training_learns_and_the_same_seed_gives_the_same_network(library: Library, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    untrained = train_once(library, tmp_path / "untrained", 1)
    trained = train_once(library, tmp_path / "one", 150)
    train_once(library, tmp_path / "two", 150)
    assert trained < 0.5 * untrained
    one, two = (Emulator.load(tmp_path / name)(library.labels[:5]).norm for name in ("one", "two"))
    np.testing.assert_array_equal(one, two)
    scores_again(library, tmp_path / "one", trained)


def scores_again(library: Library, folder: Path, trained: float) -> None:
    """Scoring again finds the same, and follows a library that has lost stars to estimates."""
    from cempstream.models.training.emulator.train import score_again

    assert score_again(library, folder)[0].median == trained
    half = np.arange(96) < 48
    scores = score_again(replace(library, is_estimated=half), folder)
    assert scores[0].n_spec == (library.is_held_out & ~half).sum() > 0
    card = json.loads((folder / "card.json").read_text())
    assert card["held_out"][0]["n_spec"] == scores[0].n_spec
    # Stars that were added where it matters are judged in their corner alone.
    n_hot = {s.where: s.n_spec for s in scores}["Teff > 4500 K"]
    scores = score_again(replace(library, is_estimated=half, is_stratum=~half), folder)
    assert scores[0].n_spec == 0
    assert {s.where: s.n_spec for s in scores}["Teff > 4500 K"] == n_hot > 0


def test_held_out_stars_stay_held_out_when_the_library_grows(library: Library) -> None:
    half = Library(
        library.labels[:48],
        library.norm[:48],
        library.is_cleaned[:48],
        library.is_estimated[:48],
        library.is_stratum[:48],
        library.continuum_wave,
        library.log_continuum[:48],
    )
    np.testing.assert_array_equal(half.is_held_out, library.is_held_out[:48])
    assert 0 < half.is_held_out.sum() < 24


def test_chunks_are_read_from_air_to_vacuum(tmp_path: Path) -> None:
    wave = 3640.0 * np.exp(8e-5 * np.arange(12570))
    line = 1 - 0.5 * np.exp(-0.5 * ((wave - 6562.8) / 1.0) ** 2)
    labels = draw_sources(3, load_mix("galaxy"), np.random.default_rng(1)).labels
    names = ("teff", "logg", "feh", "cfe", "nfe", "ofe", "afe", "sfe", "rfe", "r1213", "vmic")
    np.savez(
        tmp_path / "chunk.npz",
        norm=np.tile(line.astype(np.float16), (3, 1)),
        cont=np.ones((3, 128), dtype=np.float32),
        **dict(zip(names, labels.T, strict=True)),
    )
    found = read_library(stellar_files([tmp_path]))
    deepest = EMULATOR_GRID.wave[np.argmin(found.norm[0])]
    assert vacuum_to_air(np.array([deepest]))[0] == pytest.approx(6562.8, abs=0.3)
    # Repeats of a star count once, and what was computed without impossible lines is preferred.
    with np.load(tmp_path / "chunk.npz") as chunk:
        np.savez(
            tmp_path / "later.npz",
            line_set=np.full(3, "cleaned"),
            stratum=np.array(["sobol", "cemp", "sobol"]),
            **chunk,
        )
    again = read_library([tmp_path / "chunk.npz", tmp_path / "later.npz"])
    assert len(again.labels) == 3
    assert again.is_cleaned.all()
    assert again.is_stratum.sum() == 1
    assert not found.is_cleaned.any()
    assert not found.is_stratum.any()
    # Estimated ones teach like cleaned ones, but do not judge.
    with np.load(tmp_path / "chunk.npz") as chunk:
        np.savez(tmp_path / "estimated.npz", line_set=np.full(3, "estimated"), **chunk)
    estimated = read_library([tmp_path / "chunk.npz", tmp_path / "estimated.npz"])
    assert estimated.is_cleaned.all()
    assert estimated.is_estimated.all()
    assert not again.is_estimated.any()
