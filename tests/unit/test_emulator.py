"""The emulator: labels in, spectra out; what it does not know it refuses by name."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from cempstream.models.emulator.emulator import DATA, Emulator
from cempstream.models.emulator.grids import EMULATOR_GRID, line_spread_matrix
from cempstream.models.emulator.labels import LABEL_NAMES, LabelOutOfRange
from cempstream.processors.grid import Array, LinearGrid, LogGrid, air_to_vacuum

GIANT = [4800.0, 1.7, -2.2, 1.6, 1.0, 0.4, 0.4, 1.5, 0.5, 20.0, 1.8]
MID = LogGrid(3.57, 1e-4, 3840)


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    return Emulator.load()


def labels_with(**changes: float) -> Array:
    row = np.array([GIANT])
    for name, value in changes.items():
        row[0, LABEL_NAMES.index(name)] = value
    return row


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("teff", 7500.0),
        ("logg", 0.1),
        ("feh", 0.9),
        ("cfe", 3.2),
        ("r1213", 200.0),
        ("vmic", float("nan")),
        ("ofe", 1.5),
        ("nfe", 2.5),
    ],
)
def test_a_label_outside_the_library_is_refused_by_name(emulator: Emulator, name: str, value: float) -> None:
    with pytest.raises(LabelOutOfRange, match=f"'{name}'"):
        emulator(labels_with(**{name: value}))


def test_labels_of_another_width_are_refused(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="teff, logg"):
        emulator(np.zeros((2, 4)))


def test_sampling_at_1800_equals_smoothing_the_full_spectrum(emulator: Emulator) -> None:
    full = emulator(np.array([GIANT]))
    sampled = emulator.at(1800.0, MID)(np.array([GIANT]))
    matrix = line_spread_matrix(MID, 1800.0)
    np.testing.assert_allclose(sampled.norm[0], matrix @ full.norm[0], atol=2e-4)
    np.testing.assert_allclose(sampled.continuum[0], matrix @ full.continuum[0], rtol=1e-4)


def test_more_carbon_deepens_ch_and_c2_and_hardly_the_continuum_between(emulator: Emulator) -> None:
    sampled = emulator.at(1800.0, MID)
    poor, rich = (sampled(labels_with(cfe=cfe, nfe=-0.3)).norm[0] for cfe in (0.0, 2.0))
    wave = MID.wave

    def mean_change(low: float, high: float) -> float:
        low, high = air_to_vacuum(np.array([low, high]))
        inside = (wave > low) & (wave < high)
        return float((rich - poor)[inside].mean())

    assert mean_change(4290, 4315) < -0.1
    assert mean_change(5100, 5165) < -0.05
    assert abs(mean_change(8480, 8680)) < 0.01


def test_rows_do_not_depend_on_their_neighbours(emulator: Emulator) -> None:
    rows = np.concatenate([labels_with(feh=feh) for feh in np.linspace(-3, -1.2, 7)])
    together = emulator(rows).norm
    np.testing.assert_allclose(together[3], emulator(rows[3:4]).norm[0], atol=1e-5)


def test_a_grid_beyond_the_library_is_refused(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="3600"):
        emulator.at(1800.0, LinearGrid(3600.0, 1.0, 1000))


@pytest.mark.parametrize("power", [500.0, 1800.0, 3500.0])
def test_the_line_spread_matrix_reaches_the_resolving_power_that_is_asked_for(power: float) -> None:
    # A line as wide as the library's own, smoothed: its width must be the one that is asked for.
    centre = 5500.0
    sigma = centre / 5000.0 / 2.3548
    line = np.exp(-0.5 * ((EMULATOR_GRID.wave - centre) / sigma) ** 2)
    grid = LinearGrid(5300.0, 0.2, 2001)
    seen = line_spread_matrix(grid, power) @ line
    centroid = float((grid.wave * seen).sum() / seen.sum())
    spread = float(np.sqrt(((grid.wave - centroid) ** 2 * seen).sum() / seen.sum()))
    assert centroid == pytest.approx(centre, abs=0.02)
    assert centre / (2.3548 * spread) == pytest.approx(power, rel=0.03)


def test_a_file_that_its_card_does_not_describe_is_refused(tmp_path: Path) -> None:
    folder = copytree(DATA, tmp_path / "emulator")
    (folder / "basis.npz").write_bytes((folder / "basis.npz").read_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"basis\.npz has sha256"):
        Emulator.load(folder)


def test_a_card_with_other_labels_is_refused(tmp_path: Path) -> None:
    folder = copytree(DATA, tmp_path / "emulator")
    card = json.loads((folder / "card.json").read_text())
    card["labels"] = card["labels"][::-1]
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match="labels"):
        Emulator.load(folder)
