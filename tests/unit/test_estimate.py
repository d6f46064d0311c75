"""What files do not say: noise, resolution, medium and frame of spectra where the answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cempstream.processors.estimate import (
    AIR_VACUUM_KMS,
    LineVelocity,
    _minimum,
    contradicts_scatter,
    estimate_fwhm_pix,
    estimate_ivar,
    estimate_medium_and_frame,
    measure_line_velocity,
    resolving_power_of,
)
from cempstream.processors.grid import air_to_vacuum
from cempstream.processors.readers import expand_paths, read_spectra
from cempstream.processors.spectrum import Frame, Medium, Spectrum
from tests.support.survey_files import star

WAVE = 3850.0 + 0.9 * np.arange(3200)
GOOD = np.ones(WAVE.size, dtype=bool)


@pytest.mark.parametrize(("snr", "most"), [(5.0, 1.1), (30.0, 1.3), (150.0, 2.0)])
def test_noise_of_a_star_with_lines(snr: float, most: float) -> None:
    """It is never too small; dense lines at high S/N make it too large."""
    ivar = estimate_ivar(star(WAVE, snr=snr), GOOD)
    assert 0.9 < snr / 100.0 / np.sqrt(np.median(ivar)) < most


def test_noise_follows_the_wavelength() -> None:
    rng = np.random.default_rng(1)
    sigma = np.where(WAVE < 5000, 5.0, 1.0)
    ivar = estimate_ivar(100.0 + rng.normal(size=WAVE.size) * sigma, GOOD)
    found = ivar**-0.5
    assert np.median(found[WAVE < 4900]) == pytest.approx(5.0, rel=0.15)
    assert np.median(found[WAVE > 5100]) == pytest.approx(1.0, rel=0.15)


@pytest.mark.parametrize("step", [2, 3, 7, 20])
def test_bad_pixels_have_no_noise_and_make_none(step: int) -> None:
    flux, good = star(WAVE, snr=10.0), GOOD.copy()
    good[::step] = False
    spoiled = np.where(good, flux, 1e6)
    ivar = estimate_ivar(spoiled, good)
    assert np.all(ivar[~good] == 0)
    assert np.sqrt(np.median(ivar[good])) == pytest.approx(0.1, rel=0.35)


@pytest.mark.parametrize("flux", [np.zeros(500), np.full(500, np.nan), np.ones(4)])
def test_nothing_to_tell_noise_from_gives_none(flux: np.ndarray) -> None:
    assert np.all(estimate_ivar(np.nan_to_num(flux), np.isfinite(flux)) == 0)


def test_smooth_flux_is_not_infinitely_precise() -> None:
    ivar = estimate_ivar(np.linspace(1.0, 2.0, 500), np.ones(500, dtype=bool))
    assert 500 < np.median(np.linspace(1.0, 2.0, 500) * np.sqrt(ivar)) <= 1500


def test_only_constants_are_held_against_the_scatter() -> None:
    flux = star(WAVE, snr=100.0)
    assert contradicts_scatter(flux, np.full(WAVE.size, 1e-4), GOOD)
    assert not contradicts_scatter(flux, np.ones(WAVE.size), GOOD)
    assert not contradicts_scatter(flux, np.linspace(1e-4, 2e-4, WAVE.size), GOOD)


@pytest.mark.parametrize("fwhm_pix", [2.2, 3.0, 4.0])
def test_width_of_the_lines_is_found(fwhm_pix: float) -> None:
    spectra = [(WAVE, star(WAVE, seed=seed, fwhm_aa=0.9 * fwhm_pix), GOOD) for seed in range(4)]
    assert estimate_fwhm_pix(spectra) == pytest.approx(fwhm_pix, rel=0.15)


def test_without_spectra_the_width_is_the_usual_one() -> None:
    assert estimate_fwhm_pix([]) == pytest.approx(2.4, rel=0.1)
    assert resolving_power_of(np.array([5000.0, 5001.0, 5002.0]), 2.5)[1] == pytest.approx(5001 / 2.5)


@pytest.mark.parametrize("shift_kms", [-300.0, 0.0, 45.0])
def test_velocity_of_strong_lines(shift_kms: float) -> None:
    found = measure_line_velocity(WAVE, star(WAVE, shift_kms=shift_kms), GOOD)
    assert found is not None
    assert found.velocity_kms == pytest.approx(shift_kms, abs=12.0)
    assert found.correlation > 0.4


def test_vacuum_read_as_air_looks_redshifted() -> None:
    found = measure_line_velocity(air_to_vacuum(WAVE), star(WAVE), GOOD)
    assert found is not None
    assert found.velocity_kms == pytest.approx(AIR_VACUUM_KMS, abs=12.0)


def velocities(centre_kms: float, spread_kms: float, n_stars: int) -> list[LineVelocity | None]:
    """Return confident velocities from a seed."""
    draws = np.random.default_rng(2).normal(centre_kms, spread_kms, n_stars)
    return [LineVelocity(float(v), 0.6) for v in draws]


@pytest.mark.parametrize(
    ("centre_kms", "spread_kms", "medium", "frame"),
    [
        (0.0, 8.0, "air", "rest"),
        (AIR_VACUUM_KMS, 8.0, "vacuum", "rest"),
        (0.0, 60.0, "air", "observed"),
        (AIR_VACUUM_KMS, 60.0, "vacuum", "observed"),
    ],
)
def test_many_stars_tell_medium_and_frame(
    centre_kms: float, spread_kms: float, medium: Medium, frame: Frame
) -> None:
    assert estimate_medium_and_frame(velocities(centre_kms, spread_kms, 24)) == (medium, frame)


def test_what_the_file_says_is_not_questioned() -> None:
    at_rest_in_air = velocities(0.0, 8.0, 24)
    assert estimate_medium_and_frame(at_rest_in_air, medium="vacuum")[0] == "vacuum"
    assert estimate_medium_and_frame(at_rest_in_air, frame="observed")[1] == "observed"


def test_nothing_measured_is_taken_as_surveys_have_it() -> None:
    weak = [LineVelocity(0.0, 0.1), None]
    assert estimate_medium_and_frame(weak) == ("vacuum", "observed")


def test_noise_of_real_spectra(shared_data: Path) -> None:
    """The published noise of LAMOST and SDSS spectra is found again, within a factor of two."""
    real = shared_data / "real"
    paths = expand_paths([real / "lamost"])[::14] + expand_paths([real / "sdss"])[::3]
    ratios = []
    for path in paths:
        (spectrum,) = read_spectra(path)
        assert isinstance(spectrum, Spectrum)
        good = spectrum.ivar > 0
        found = estimate_ivar(spectrum.flux, good)
        ratios.append(float(np.median(np.sqrt(spectrum.ivar[good] / found[good]))))
    assert 0.8 < np.median(ratios) < 1.2
    assert np.mean([0.5 < ratio < 2.0 for ratio in ratios]) > 0.95


def test_medium_of_real_stars(shared_data: Path) -> None:
    """LAMOST's wavelengths are vacuum, heliocentric: 24 of its stars show it."""
    found = []
    for path in expand_paths([shared_data / "real" / "lamost"])[::11]:
        (spectrum,) = read_spectra(path)
        assert isinstance(spectrum, Spectrum)
        found.append(measure_line_velocity(spectrum.grid.wave, spectrum.flux, spectrum.ivar > 0))
    assert estimate_medium_and_frame(found) == ("vacuum", "observed")


@pytest.mark.parametrize(
    ("cost", "where"),
    [([4.0, 1.0, 0.0, 1.0, 4.0], 30.0), ([4.0, 1.0, 1.0, 4.0, 9.0], 25.0), ([2.0, 2.0, 2.0, 2.0, 2.0], 20.0),
     ([3.0, 2.0, 1.0, 0.0, -1.0], 40.0)],
    ids=["at-a-point", "between-two", "flat", "straight"],
)  # fmt: skip
def test_a_minimum_lies_where_a_parabola_has_it(cost: list[float], where: float) -> None:
    """Costs of (x - a)² have theirs at a; without a bend nothing tells more than the lowest point."""
    assert _minimum(np.arange(10.0, 60.0, 10.0), np.array(cost)) == pytest.approx(where)
