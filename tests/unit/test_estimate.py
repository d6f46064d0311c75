"""What files do not say: noise, resolution, medium and frame of spectra where the answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cempstream.processors import estimate as estimate_module
from cempstream.processors.constants import FWHM_PER_SIGMA, LIGHT_KMS
from cempstream.processors.estimate import (
    AIR_VACUUM_KMS,
    LineVelocity,
    _binned_power,
    _block_medians,
    _minimum,
    _velocity_density,
    contradicts_scatter,
    estimate_fwhm_pix,
    estimate_ivar,
    estimate_medium_and_frame,
    measure_line_velocity,
    resolving_power_of,
    scatter_over_noise,
    smooth,
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
    weak = [LineVelocity(0.0, 0.29), None]
    assert estimate_medium_and_frame(weak) == ("vacuum", "observed")
    assert estimate_medium_and_frame(weak, medium="air") == ("air", "observed")
    assert estimate_medium_and_frame([], frame="rest") == ("vacuum", "rest")


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


def white(n_pix: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n_pix)


@pytest.mark.parametrize(
    ("kernel", "order"), [("_FAR_KERNEL", 2), ("_NEAR_KERNEL", 4), ("_NEAREST_KERNEL", 8)]
)
def test_a_difference_does_not_see_what_is_smooth(kernel: str, order: int) -> None:
    """A difference of order n takes polynomials below n to zero; noise is what it should leave as it is."""
    weights = getattr(estimate_module, kernel)
    pixels = np.arange(400.0) / 100.0
    good = np.ones(400, dtype=bool)
    polynomial = 1000.0 + pixels ** (order - 1)
    assert np.abs(_block_medians(polynomial, good, kernel=weights)).max() < 1e-9
    noise = _block_medians(white(40_000), np.ones(40_000, dtype=bool), kernel=weights)
    assert np.median(noise) == pytest.approx(1.0, rel=0.02)


def test_a_bad_pixel_between_those_of_a_difference_does_no_harm() -> None:
    """Differences two pixels apart are known where every second pixel is bad, those of neighbours are not."""
    good = np.arange(4000) % 2 == 0
    flux = np.where(good, white(4000), 0.0)
    far = _block_medians(flux, good, kernel=estimate_module._FAR_KERNEL)
    assert np.median(far) == pytest.approx(1.0, rel=0.05)
    assert np.isnan(_block_medians(flux, good, kernel=estimate_module._NEAR_KERNEL)).all()


def test_noise_that_is_shared_by_neighbours_is_found_whole() -> None:
    """Interpolation mixes neighbours, and only pixels two apart tell how large the noise is."""
    noise = white(40_001)
    shared = 100.0 + 0.8 * noise[1:] + 0.2 * noise[:-1]
    sigma = np.median(estimate_ivar(shared, np.ones(40_000, dtype=bool))) ** -0.5
    assert 0.85 < sigma / np.hypot(0.8, 0.2) < 1.0  # fourth differences see 0.79 of it
    alone = np.median(estimate_ivar(100.0 + noise, np.ones(noise.size, dtype=bool))) ** -0.5
    assert alone == pytest.approx(1.0, rel=0.08)  # the smaller of two scatters: a little less


def test_noise_changes_where_it_changes() -> None:
    """Blocks of 100 pixels blur a step, but do not move it."""
    n_pix, step = 3000, 1450
    sigma = np.where(np.arange(n_pix) < step, 1.0, 5.0)
    good = np.ones(n_pix, dtype=bool)
    found = np.mean([estimate_ivar(100 + white(n_pix, i) * sigma, good) ** -0.5 for i in range(60)], axis=0)
    assert found[: step - 110] == pytest.approx(1.0, rel=0.2)
    assert found[step + 110 :] == pytest.approx(5.0, rel=0.2)
    # Of a block that lies half on either side the median lies between the two.
    assert np.argmin(np.abs(found - 3.0)) == pytest.approx(step + 30, abs=40)


def test_the_level_beyond_the_ends_is_no_noise() -> None:
    good = np.ones(24, dtype=bool)
    found = [np.median(estimate_ivar(1000.0 + white(24, i), good)) ** -0.5 for i in range(30)]
    assert 0.5 < np.median(found) < 1.5


@pytest.mark.parametrize("block", [0, 1, 7])
def test_an_emission_line_is_not_taken_for_noise(block: int) -> None:
    flux = 100.0 + white(1000)
    flux[100 * block + 30 : 100 * block + 60] += 500.0 * np.hanning(30)
    assert np.max(estimate_ivar(flux, np.ones(1000, dtype=bool)) ** -0.5) < 2.0


def test_an_ivar_contradicts_the_scatter_from_a_factor_of_three_on() -> None:
    flux = 100.0 + 0.1 * white(4000)
    good = np.ones(flux.size, dtype=bool)

    def is_refused(factor: float, n_pix: int = 4000) -> bool:
        return contradicts_scatter(flux[:n_pix], np.full(n_pix, (0.1 * factor) ** -2), good[:n_pix])

    assert [is_refused(sigma) for sigma in (0.25, 0.4, 1.0, 2.5, 4.0)] == [True, False, False, False, True]
    assert [is_refused(0.1, n_pix) for n_pix in (63, 64)] == [False, True]  # of a few pixels nothing is said
    bad = np.arange(flux.size) % 50 == 0
    masked = np.where(bad, 0.0, 1600.0)
    assert contradicts_scatter(flux, masked, ~bad)
    assert contradicts_scatter(flux, np.full(4000, 1600.0) * (1 + 1e-8 * white(4000)), good)
    assert not contradicts_scatter(flux, np.full(4000, 1600.0) * (1 + 1e-4 * white(4000)), good)


def test_the_scatter_over_the_noise_is_one_where_the_noise_is_right() -> None:
    flux = 100.0 + 2.0 * white(4000)
    good = np.arange(flux.size) % 40 > 0
    flux[~good] = 1e6
    assert scatter_over_noise(flux, np.full(4000, 0.25), good) == pytest.approx(1.0, rel=0.1)
    assert scatter_over_noise(flux, np.full(4000, 1.0), good) == pytest.approx(2.0, rel=0.1)
    assert scatter_over_noise(flux, np.zeros(4000), good) is None
    few = np.zeros(4000, dtype=bool)
    few[:64] = True
    assert scatter_over_noise(flux[few], np.ones(64), few[few]) is not None
    few[0] = False
    assert scatter_over_noise(flux, np.ones(4000), few) is None


def stellar_noise(fwhm_pix: float, *, seed: int, noise: float = 0.02, n_pix: int = 3000) -> np.ndarray:
    """Return a level of 100 with structure on all scales, seen by an instrument, and photon noise."""
    frequency = np.fft.rfftfreq(n_pix)
    blurred = np.exp(-0.5 * (2 * np.pi * fwhm_pix / FWHM_PER_SIGMA * frequency) ** 2)
    power = np.maximum(frequency, 1e-3) ** -0.5
    structure = np.fft.irfft(np.fft.rfft(white(n_pix, seed)) * np.sqrt(power) * blurred, n_pix)
    return np.asarray(
        100.0 * (1 + 0.05 * structure / structure.std() + 0.05 * noise * white(n_pix, seed + 100))
    )


@pytest.mark.parametrize("fwhm_pix", [2.2, 3.5, 6.0, 12.0])
@pytest.mark.parametrize("low_aa", [3850.0, 7000.0])
def test_a_width_is_found_from_the_power_that_it_leaves(fwhm_pix: float, low_aa: float) -> None:
    """Also where a spectrum has nothing between 3800 and 6800 Å, from all that it has."""
    wave = low_aa + 0.9 * np.arange(3000)
    good = np.ones(3000, dtype=bool)
    spectra = [(wave, stellar_noise(fwhm_pix, seed=seed), good) for seed in range(3)]
    nothing = [(wave, np.ones(3000), good), (wave, spectra[0][1], np.arange(3000) < 50)]
    assert estimate_fwhm_pix([*spectra, *nothing]) == pytest.approx(fwhm_pix, rel=0.06)


def test_few_good_pixels_tell_no_noise() -> None:
    flux = 100.0 + white(400)
    some = np.arange(400) < 16
    assert np.all(estimate_ivar(flux, some)[some] > 0)
    few = np.arange(400) < 15
    assert np.all(estimate_ivar(flux, few) == 0)


def test_beyond_the_optical_nothing_is_looked_at() -> None:
    wave = 3850.0 + 1.8 * np.arange(3000)
    inside = wave < 6800
    good = np.ones(3000, dtype=bool)
    flux = np.where(inside, stellar_noise(6.0, seed=1), stellar_noise(2.2, seed=2))
    assert estimate_fwhm_pix([(wave, flux, good)] * 3) == pytest.approx(6.0, rel=0.1)


def test_noise_alone_leaves_the_usual_width() -> None:
    wave = 3850.0 + 0.9 * np.arange(3000)
    found = estimate_fwhm_pix([(wave, 100 + white(3000), np.ones(3000, dtype=bool))])
    assert 1.5 < found < 3.0


@pytest.mark.parametrize(
    ("parts", "sigma"),
    [("_REST_VELOCITIES", 41.4), ("_OBSERVED_VELOCITIES", 97.7), ("_WIDTH_SPREADS", 0.268)],
)
def test_what_is_expected_is_a_density(parts: str, sigma: float) -> None:
    """It integrates to one, and its variance is that of its parts."""
    mixture = getattr(estimate_module, parts)
    widest = max(width for _, width in mixture)
    x = np.linspace(-8 * widest, 8 * widest, 20_001)
    density = estimate_module._mixture(x, mixture)
    assert np.trapezoid(density, x) == pytest.approx(1.0, rel=1e-6)
    assert np.sqrt(np.trapezoid(density * x**2, x)) == pytest.approx(sigma, rel=2e-3)


def test_pairs_of_medium_and_frame_are_all_that_there_are() -> None:
    pairs = {(medium, frame): share for medium, frame, share in estimate_module._PAIRS}
    assert set(pairs) == {(m, f) for m in ("air", "vacuum") for f in ("observed", "rest")}
    assert sum(pairs.values()) == pytest.approx(1.0)


def test_stars_at_rest_are_less_spread_than_observed_ones() -> None:
    assert _velocity_density(np.zeros(1), "rest") > _velocity_density(np.zeros(1), "observed")
    assert _velocity_density(np.full(1, 80.0), "rest") < _velocity_density(np.full(1, 80.0), "observed")


def test_smoothing_keeps_a_level_a_slope_and_the_light_of_a_line() -> None:
    pixels = np.arange(201.0)
    assert smooth(np.full(201, 7.0), 5.0) == pytest.approx(7.0)
    assert smooth(3.0 * pixels, 5.0)[30:-30] == pytest.approx(3.0 * pixels[30:-30])
    seen = smooth((pixels == 100).astype(float), 5.0)
    assert seen.sum() == pytest.approx(1.0)
    assert np.sum(seen * (pixels - 100) ** 2) == pytest.approx(25.0, rel=0.01)
    assert seen[100] == pytest.approx(1 / (5 * np.sqrt(2 * np.pi)), rel=1e-3)
    # At the ends it reflects about the last pixel, which is not repeated.
    edge = np.array([5.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    both = np.concatenate([edge[:0:-1], edge, np.zeros(10)])
    assert smooth(edge, 1.0)[0] == pytest.approx(smooth(both, 1.0)[5], rel=1e-3)


def test_the_power_of_a_wave_lies_at_its_frequency() -> None:
    n_pix, frequency = 4000, 0.2
    wave = 0.1 * np.sin(2 * np.pi * frequency * np.arange(n_pix))
    found, power, count = _binned_power(100.0 * (1.0 + wave))
    assert found[np.argmax(power)] == pytest.approx(frequency, abs=0.47 / 70)
    assert np.all(np.diff(found) > 0)
    assert (found[0], found[-1]) == (pytest.approx(0.0334, abs=1e-3), pytest.approx(0.4967, abs=1e-3))
    assert count.sum() == np.count_nonzero(np.fft.rfftfreq(n_pix) > 0.03)
    # Parseval: half of a sine's power is at the positive frequency, and a Hann taper passes 3/8 of it.
    assert (power * count).sum() == pytest.approx(0.5 * 0.1**2 / 2 * n_pix**2 * 3 / 8, rel=0.01)


def test_noise_has_the_same_power_at_every_frequency() -> None:
    """White noise of contrast σ has σ²·n·3/8 per mode behind the taper."""
    n_pix = 40_000
    _, power, count = _binned_power(100.0 + 0.5 * white(n_pix))
    assert power == pytest.approx(0.005**2 * n_pix * 3 / 8, rel=0.35)
    assert np.average(power, weights=count) == pytest.approx(0.005**2 * n_pix * 3 / 8, rel=0.03)


def listed_lines(wave: np.ndarray, velocity_kms: float = 0.0) -> np.ndarray:
    """Return the line list itself as an absorption spectrum, 100 km/s wide, on a slope."""
    centre, weight = estimate_module._LINES_AIR.T
    distance_kms = (np.log(wave) - np.log(centre)[:, None]) * LIGHT_KMS - velocity_kms
    return np.asarray(
        (1 - 0.07 * weight @ np.exp(-0.5 * (distance_kms / 100.0) ** 2)) * (wave / 5000.0) ** -0.5
    )


@pytest.mark.parametrize("velocity_kms", [-690.0, -401.0, 0.0, 7.0, 333.0, 690.0])
def test_the_line_list_itself_correlates_with_itself(velocity_kms: float) -> None:
    wave = 3840.0 + 0.6 * np.arange(8300)
    good = np.ones(wave.size, dtype=bool)
    found = measure_line_velocity(wave, listed_lines(wave, velocity_kms), good)
    assert found is not None
    assert found.velocity_kms == pytest.approx(velocity_kms, abs=1.0)
    assert found.correlation == pytest.approx(1.0, abs=0.02)


def test_lines_of_night_sky_and_air_and_bad_pixels_are_not_looked_at() -> None:
    wave = 3840.0 + 0.6 * np.arange(8300)
    flux, good = listed_lines(wave), np.ones(wave.size, dtype=bool)
    plain = measure_line_velocity(wave, flux, good)
    assert plain is not None
    for low, high in estimate_module._NOT_STELLAR_AA:
        flux[(wave > low + 1) & (wave < high - 1)] *= 0.85
    flux[3000:3200] = 1e9
    good[3000:3200] = False
    spoiled = measure_line_velocity(wave, flux, good)
    assert spoiled is not None
    assert spoiled.velocity_kms == pytest.approx(plain.velocity_kms, abs=3.0)
    assert spoiled.correlation > 0.8  # 0.7 where they are looked at: 15 % less light also moves the level


def test_a_short_or_empty_or_flat_spectrum_has_no_velocity() -> None:
    wave = 4000.0 + 0.6 * np.arange(8000)
    flux, good = listed_lines(wave), np.ones(wave.size, dtype=bool)

    def measured(wave: np.ndarray, flux: np.ndarray, good: np.ndarray) -> bool:
        return measure_line_velocity(wave, flux, good) is not None

    assert measured(wave, flux, good)
    assert not measured(wave, flux, np.arange(wave.size) < 63)
    assert not measured(wave, np.ones(wave.size), good)
    assert [measured(wave[wave < end], flux[wave < end], good[wave < end]) for end in (4380, 4450)] == [
        False,
        True,
    ]
    infrared = wave + 5000.0
    assert not measured(infrared, flux, good)
    assert measured(wave + 3700.0, flux, good)


def test_where_a_twentieth_of_the_light_is_left_lines_are_measured_against_that() -> None:
    """Above it a dark part has a separate continuum; below it all of it looks like one deep line."""
    wave = 3840.0 + 0.6 * np.arange(8300)
    good = np.ones(wave.size, dtype=bool)
    lit = listed_lines(wave)

    def correlation(left: float) -> float:
        found = measure_line_velocity(wave, np.where(wave > 7900, left, 1.0) * lit, good)
        assert found is not None
        return found.correlation

    bright, above, below = (correlation(share) for share in (0.1, 0.06, 0.03))
    assert above > 0.85 * bright
    assert below < 0.75 * above


def test_where_a_tenth_of_the_light_is_left_structure_is_measured_against_that() -> None:
    n_pix, frequency = 4000, 0.2
    wave = 0.1 * np.sin(2 * np.pi * frequency * np.arange(n_pix))
    inside = np.abs(np.arange(n_pix) - n_pix // 2) < 700

    def peak(left: float) -> float:
        return float(_binned_power(np.where(inside, left * (1 + wave), 1.0))[1].max())

    assert peak(0.12) == pytest.approx(peak(0.5), rel=0.1)
    assert peak(0.12) / peak(0.05) == pytest.approx(2.0**2, rel=0.15)


def test_a_difference_with_one_bad_pixel_is_none() -> None:
    """Every window of five pixels has one bad one: not a single fourth difference is whole."""
    good = np.arange(4000) % 5 > 0
    assert np.isnan(_block_medians(white(4000), good, kernel=estimate_module._NEAR_KERNEL)).all()


def test_bins_without_a_mode_are_left_out() -> None:
    """Of 64 pixels there are fewer frequencies than bins."""
    frequency, power, count = _binned_power(100.0 + white(64))
    assert count.min() >= 1
    assert count.sum() == np.count_nonzero(np.fft.rfftfreq(64) > 0.03) < estimate_module._FREQUENCY_BINS
    assert np.all(np.diff(frequency) > 0)
    assert np.isfinite(power).all()


@pytest.mark.parametrize("outside", ["blue", "red"])
def test_beyond_the_lines_of_the_list_nothing_is_correlated(outside: str) -> None:
    """Deep false lines below 3850 Å and above 8750 Å, at another velocity, change nothing."""
    wave = 3400.0 + 0.6 * np.arange(10_500)
    far = wave < 3850 if outside == "blue" else wave > 8750
    flux = listed_lines(wave)
    spoiled = np.where(far & (np.arange(wave.size) // 8 % 5 == 0), 0.4 * flux, flux)
    good = np.ones(wave.size, dtype=bool)
    plain, found = (measure_line_velocity(wave, one, good) for one in (flux, spoiled))
    assert plain is not None
    assert found is not None
    assert (found.velocity_kms, found.correlation) == (plain.velocity_kms, plain.correlation)
