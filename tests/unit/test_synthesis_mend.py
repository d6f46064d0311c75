"""Taking impossible CH lines out of published spectra: where they matter, what is done, what is left."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from typer.testing import CliRunner

from cempstream.models.synthesis import mend as mending
from cempstream.models.synthesis.chunks import MENDED, LibraryRows, merge, read_rows, write_rows
from cempstream.models.synthesis.grid_spectrum import LIBRARY_CONTINUUM_WAVE, LIBRARY_WAVE
from cempstream.models.synthesis.grid_stars import EVERYTHING, STRATA, Star, sobol_labels
from cempstream.models.synthesis.linelists import LineSet, MoogLines
from cempstream.models.synthesis.synspec import RawSpectrum, SynspecRunner
from cempstream.processors.grid import Array
from cempstream.streams.commands.synth import synth_app

STAR = Star(5000.0, 2.5, -2.0, 1.0, 0.5, 0.4, 0.3, 0.5, 0.0, 20.0, 1.5)
#: A strong line and a weak one, far from each other.
STRONG_AA, WEAK_AA = 5453.0, 6500.0


def ch_lines(log_gf: tuple[float, float]) -> MoogLines:
    return MoogLines(
        np.array([STRONG_AA, WEAK_AA]),
        np.array(["106.00112", "106.00112"]),
        np.array([1.0, 1.0]),
        np.array(log_gf),
        np.array(["BX10R285", "BX10R285"]),
    )


class FlatLayers:
    """Atmospheres with layers from 4000 K to 7000 K."""

    def interpolate(self, teff_k: float, logg: float, mh: float) -> Array:
        temperature = np.linspace(4000.0, 7000.0, 72)
        return np.stack(
            [np.ones(72), temperature, np.full(72, 1e4), np.full(72, 1e12)],
            axis=1,
        )


@dataclass
class CleanSynspec:
    """Computes a flat spectrum at 0.9 of a continuum of 2 wherever it is asked, and remembers where."""

    atmospheres: FlatLayers = field(default_factory=FlatLayers)
    asked: list[Array] = field(default_factory=list)

    def __call__(self, star: Star, pieces: Array) -> RawSpectrum:
        self.asked.append(pieces)
        wave = np.concatenate([np.arange(low, high + 0.05, 0.05) for low, high in pieces])
        ends = np.array([3600.0, 10000.0])
        return RawSpectrum(wave, np.full(wave.shape, 1.8), ends, np.full(2, 2.0))


def test_more_carbon_makes_the_lines_stronger_and_heat_weaker() -> None:
    grid = cast("mending.AtmosphereGrid", FlatLayers())
    rich, _ = mending.molecules_over_continuum(STAR, grid)
    poor, at = mending.molecules_over_continuum(
        Star(5000, 2.5, -2, 0.0, 0.5, 0.4, 0.3, 0.5, 0, 20, 1.5), grid
    )
    hot, _ = mending.molecules_over_continuum(Star(7000, 2.5, -2, 1.0, 0.5, 0.4, 0.3, 0.5, 0, 20, 1.5), grid)
    assert at == pytest.approx(0.85 * 5000, abs=25)
    assert 0.9 < rich - poor < 2.0
    assert hot < rich - 0.5


def test_what_a_strong_line_spoils_is_computed_again_and_a_weak_one_lightened() -> None:
    grid = cast("mending.AtmosphereGrid", FlatLayers())
    log_ch, temperature = mending.molecules_over_continuum(STAR, grid)
    at_unit = log_ch - 5040.0 / temperature + np.log10(20 / 21)
    lines = ch_lines((0.5 - at_unit, -3.0 - at_unit))
    norm = np.full(LIBRARY_WAVE.shape, 0.9, dtype=np.float16)
    strong, weak = np.searchsorted(LIBRARY_WAVE, (STRONG_AA, WEAK_AA))
    norm[strong - 2 : strong + 3] = 0.6
    synspec = CleanSynspec()
    mended = mending.mend(norm, STAR, lines, cast("SynspecRunner", synspec)).astype(np.float64)
    ((low, high),) = synspec.asked[0]
    assert low < STRONG_AA - 1.5
    assert high > STRONG_AA + 1.5
    assert high - low < 9.0
    np.testing.assert_allclose(mended[strong - 2 : strong + 3], 0.9, atol=1e-3)
    assert 0.0005 < mended[weak] - 0.9 < 0.003
    far = np.abs(LIBRARY_WAVE - STRONG_AA) > 10
    far &= np.abs(LIBRARY_WAVE - WEAK_AA) > 10
    np.testing.assert_array_equal(mended[far], norm[far].astype(np.float64))


def test_a_star_without_the_lines_stays_as_it_is() -> None:
    synspec = CleanSynspec()
    norm = np.linspace(0.5, 1.0, LIBRARY_WAVE.size).astype(np.float16)
    mended = mending.mend(norm, STAR, ch_lines((-30.0, -30.0)), cast("SynspecRunner", synspec))
    np.testing.assert_array_equal(mended, norm)
    assert synspec.asked == []


def test_pieces_at_the_ends_reach_beyond_them() -> None:
    opacity = np.zeros(LIBRARY_WAVE.shape)
    opacity[[0, 5000, -1]] = 1.0
    pieces = mending.find_pieces(opacity)
    assert pieces.shape == (3, 2)
    assert pieces[0, 0] < LIBRARY_WAVE[0] - 5
    assert pieces[2, 1] > LIBRARY_WAVE[-1] + 5
    assert pieces[1].tolist() == LIBRARY_WAVE[[4997, 5003]].tolist()


def rows_of(line_set: str, indices: list[int]) -> LibraryRows:
    n = len(indices)
    return LibraryRows(
        np.full((n, LIBRARY_WAVE.size), 0.9, dtype=np.float16),
        np.full((n, LIBRARY_CONTINUUM_WAVE.size), 1e5, dtype=np.float32),
        sobol_labels(STRATA[EVERYTHING], 7, np.array(indices)),
        np.full(n, EVERYTHING),
        np.full(n, 7),
        np.array(indices),
        np.full(n, line_set),
    )


def test_mended_rows_are_taken_before_published_and_after_cleaned(tmp_path: Path) -> None:
    for line_set, indices in (
        (LineSet.PUBLISHED.value, [0, 1, 2]),
        (MENDED, [1, 2]),
        (LineSet.CLEANED.value, [2]),
    ):
        write_rows(tmp_path / f"{line_set}.npz", rows_of(line_set, indices))
    assert merge([tmp_path]).line_set.tolist() == ["published", "mended", "cleaned"]


def test_the_command_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # Synspec could not even be compiled
    monkeypatch.delenv("FC", raising=False)
    library = tmp_path / "library.npz"
    write_rows(library, rows_of(LineSet.PUBLISHED.value, [0, 1]), with_grids=True)
    options = ["mend", str(library), "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    refused = CliRunner().invoke(synth_app, options)
    assert refused.exit_code == 1
    assert "cempstream synth mend: Synspec is compiled with gfortran" in refused.stderr
    write_rows(tmp_path / "out" / "mended_sobol_7_000000.npz", rows_of(MENDED, [0, 1]))
    done = CliRunner().invoke(synth_app, options)
    assert done.exit_code == 0, done.output
    assert "0 spectra mended, 2 were there, 0 failed" in done.stdout
    assert read_rows(tmp_path / "out" / "mended_sobol_7_000000.npz").line_set.tolist() == [MENDED] * 2
