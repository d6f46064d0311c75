"""Grids as values."""

import numpy as np
import pytest

from cempstream.processors.grid import (
    ExplicitGrid,
    LinearGrid,
    LogGrid,
    air_to_vacuum,
    grid_of,
    vacuum_to_air,
)

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


@pytest.mark.parametrize(
    "grid",
    [LogGrid(3.5682, 1e-4, 3909), LogGrid(3.56823457, 1.234567e-4, 3000),
     LinearGrid(3600.1234, 0.8123457, 7781), LinearGrid(1000.0, 1000.0, 3)],
    ids=["LAMOST", "all-digits", "linear", "three-pixels"],
)  # fmt: skip
def test_evenly_spaced_pixels_are_found_again(grid: LogGrid | LinearGrid) -> None:
    assert grid_of(grid.wave) == grid


def test_digits_that_a_file_does_not_have_make_no_other_grid() -> None:
    """Ends off by less than the last digit of start and step; the grid stays one, and its matrix shared."""
    pixels = np.arange(3001)
    log_wave = 3.56823457 + 1.234567e-4 * pixels + 3e-9 + 3000 * 2e-11 * (pixels == 3000)
    assert grid_of(10**log_wave) == LogGrid(3.56823457, 1.234567e-4, 3001)
    wave = 3600.1234 + 0.8123457 * pixels + 3e-5 + 3000 * 3e-8 * (pixels == 3000)
    assert grid_of(wave) == LinearGrid(3600.1234, 0.8123457, 3001)


@pytest.mark.parametrize("grid", [LogGrid(3.6, 1e-4, 2000), LinearGrid(4000.0, 1.0, 4000)], ids=repr)
def test_an_uneven_grid_is_kept_as_it_is(grid: LogGrid | LinearGrid) -> None:
    """Even is what lies within two hundredths of a pixel."""
    wave = grid.wave
    bump = np.sin(np.linspace(0.0, np.pi, wave.size)) * np.gradient(wave)
    assert grid_of(wave + 0.015 * bump) == grid
    uneven = grid_of(wave + 0.025 * bump)
    assert isinstance(uneven, ExplicitGrid)
    np.testing.assert_array_equal(uneven.wave, wave + 0.025 * bump)


@pytest.mark.parametrize(
    "wave",
    [[5000.0, 5001.0], [-1.0, 1.0, 3.0], [0.0, 1.0, 2.0], [3.0, 2.0, 1.0], [1.0, np.nan, 3.0],
     [1.0, 2.0, np.inf]],
    ids=str,
)  # fmt: skip
def test_what_is_no_grid_of_wavelengths_is_kept_too(wave: list[float]) -> None:
    assert isinstance(grid_of(np.array(wave)), ExplicitGrid)


def test_explicit_grids_are_equal_where_their_wavelengths_are() -> None:
    wave = np.array([4000.0, 4001.0, 4005.0])
    assert ExplicitGrid(wave) == ExplicitGrid(wave[::-1][::-1])
    assert hash(ExplicitGrid(wave)) == hash(ExplicitGrid(wave.copy()))
    assert ExplicitGrid(wave) != ExplicitGrid(np.nextafter(wave, 0))
    assert ExplicitGrid(wave).n_pix == 3


def test_a_part_of_a_grid_has_the_pixels_at_its_ends() -> None:
    low, high = GRID.wave[[10, 20]]
    assert GRID.within(low, high).n_pix == 11


def test_an_explicit_grid_holds_wavelengths_as_contiguous_float64_whatever_it_was_given() -> None:
    given = np.arange(4000, 4020, dtype=np.float32)[::2]
    grid = ExplicitGrid(given)
    assert (grid.wave.dtype, grid.wave.flags.c_contiguous, grid.n_pix) == (np.float64, True, 10)
    assert grid == ExplicitGrid(given.astype(float).copy())
    assert grid != ExplicitGrid(given + 1)
