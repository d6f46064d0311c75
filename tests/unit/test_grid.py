"""Grids as values."""

import numpy as np
import pytest

from cempstream.processors.grid import LogGrid, air_to_vacuum, vacuum_to_air

GRID = LogGrid(3.6, 1e-4, 2000)


def test_a_part_of_a_grid_has_its_very_pixels() -> None:
    wave = GRID.wave
    part = GRID.within(4200.0, 4300.0)
    np.testing.assert_allclose(part.wave, wave[(wave >= 4200.0) & (wave <= 4300.0)], rtol=1e-12)


def test_a_part_beyond_the_grid_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"no pixel lies between 9000 and 9100 Å; .* from 3981\.1 to 6308\.1 Å"
    ):
        GRID.within(9000.0, 9100.0)


def test_air_and_vacuum_are_those_of_sodium() -> None:
    """The D lines as NIST's atomic spectra database has them."""
    air, vacuum = np.array([5889.95095, 5895.92424]), np.array([5891.58332, 5897.55814])
    assert air_to_vacuum(air) == pytest.approx(vacuum, abs=3e-4)
    assert vacuum_to_air(vacuum) == pytest.approx(air, abs=3e-4)
    ultraviolet = np.array([3300.0, 3933.0, 9000.0])
    assert vacuum_to_air(air_to_vacuum(ultraviolet)) == pytest.approx(ultraviolet, abs=1e-4)
