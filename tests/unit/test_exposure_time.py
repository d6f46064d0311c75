"""Exposure times: the CCD equation and its limits; fluxes and moonlight against the literature."""

from __future__ import annotations

import numpy as np
import pytest

from cempstream.models.emulator.emulator import Emulator
from cempstream.models.emulator.labels import LABEL_NAMES
from cempstream.processors.grid import Array, air_to_vacuum
from cempstream.streams.observing.exposure_time import (
    BANDS,
    QUESTIONS,
    Question,
    exposure_s,
    moonlight_mag,
    n_exposures,
    needed_snr,
    reached_snr,
    star_flux,
)
from cempstream.streams.observing.instrument import Instrument, load_instrument

ECHELLE = load_instrument("echelle-8m")
WAVE_AA = 4308.0


def change(**what: object) -> Instrument:
    return Instrument.model_validate(ECHELLE.model_dump() | what)


@pytest.mark.parametrize("magnitude", [10.0, 14.0, 16.0, 18.0])
@pytest.mark.parametrize("snr", [10.0, 50.0])
def test_the_time_reaches_the_snr(magnitude: float, snr: float) -> None:
    flux = star_flux(magnitude, BANDS["r"], 5000.0, WAVE_AA)
    seconds = exposure_s(flux, np.array(1.3), np.array(21.5), snr, ECHELLE, WAVE_AA)
    reached = reached_snr(flux, np.array(1.3), np.array(21.5), seconds, ECHELLE, WAVE_AA)
    assert float(reached) == pytest.approx(snr, rel=1e-6)


def test_bright_stars_need_time_by_their_photons_alone() -> None:
    """Without sky, dark current and read noise, t = (S/N)² / rate."""
    quiet = change(read_noise_e=0.0, dark_e_per_h=0.0)
    flux = star_flux(12.0, BANDS["V"], 5000.0, WAVE_AA)
    dimmed = flux * 10 ** (-0.4 * quiet.extinction_mag.at(WAVE_AA) * 1.5)
    caught = dimmed * quiet.area_cm2 * quiet.efficiency.at(WAVE_AA) * quiet.aperture_fraction
    rate = caught * (WAVE_AA / 40000 / 4) * WAVE_AA / 1.98645e-8
    seconds = exposure_s(flux, np.array(1.5), np.array(40.0), 30.0, quiet, WAVE_AA)
    assert float(seconds) == pytest.approx(30.0**2 / float(rate), rel=1e-6)


def test_in_read_noise_time_goes_with_the_snr_and_in_sky_with_its_square() -> None:
    flux = star_flux(20.0, BANDS["V"], 5000.0, WAVE_AA)
    noisy = change(read_noise_e=1000.0, max_exposure_s=1e12)
    one, two = (exposure_s(flux, np.array(1.0), np.array(40.0), snr, noisy, WAVE_AA) for snr in (5.0, 10.0))
    assert float(two / one) == pytest.approx(2.0, rel=0.01)
    bright_sky = change(read_noise_e=0.0)
    one, two = (
        exposure_s(flux, np.array(1.0), np.array(10.0), snr, bright_sky, WAVE_AA) for snr in (5.0, 10.0)
    )
    assert float(two / one) == pytest.approx(4.0, rel=0.01)


def test_airmass_moonlight_and_faintness_cost_time() -> None:
    flux = star_flux(np.array([15.0, 16.0]), BANDS["r"], 5000.0, WAVE_AA)

    def time(airmass: float, sky: float) -> Array:
        return exposure_s(flux, np.array(airmass), np.array(sky), 20.0, ECHELLE, WAVE_AA)

    assert (time(2.0, 22.0) > time(1.0, 22.0)).all()
    assert (time(1.0, 18.0) > time(1.0, 22.0)).all()
    assert time(1.0, 22.0)[1] > 2.5 * time(1.0, 22.0)[0]
    assert np.isinf(time(np.inf, 22.0)).all()


def test_a_long_exposure_is_split() -> None:
    assert n_exposures(np.array([1.0, 1800.0, 1801.0, 5400.0]), ECHELLE).tolist() == [1, 1, 2, 3]


def test_a_star_of_v_0_sends_a_thousand_photons() -> None:
    """Some 1,000 photons a second, cm² and Å (Bessell, Castelli & Plez 1998 have 996 for V)."""
    flux = star_flux(0.0, BANDS["V"], 9600.0, BANDS["V"].pivot_aa)
    assert float(flux) * BANDS["V"].pivot_aa / 1.98645e-8 == pytest.approx(1000.0, rel=0.02)


def test_cool_stars_are_faint_in_the_blue() -> None:
    cool, hot = star_flux(15.0, BANDS["r"], np.array([4500.0, 6500.0]), WAVE_AA)
    red = BANDS["r"].zero_flux * 1e-6
    assert cool < red < hot * 1.1
    # B_λ(4308 Å) / B_λ(6176 Å) at 4500 K by Planck's law.
    assert cool / red == pytest.approx((6176 / 4308) ** 5 * np.expm1(5.177) / np.expm1(7.422), rel=2e-3)


def test_bands_agree_where_they_are_the_same_light() -> None:
    """AB and Vega systems differ by 0.02 mag in V and 0.1 to 0.2 in G and R."""
    for name in ("V", "G", "R", "BP", "B"):
        band = BANDS[name]
        ab = 0.10885 / band.pivot_aa**2
        assert abs(2.5 * np.log10(ab / band.zero_flux)) < 0.25, name


def test_a_full_moon_makes_the_sky_some_three_magnitudes_brighter() -> None:
    """Krisciunas & Schaefer (1991), figure 3 and its text: 2 to 4 mag away from the full Moon."""
    full, half, new = (
        float(moonlight_mag(*(np.array(v) for v in (phase, 60.0, 60.0, 60.0)), 0.172, 21.59))
        for phase in (0.0, 90.0, 180.0)
    )
    assert 2.5 < full < 4.0
    assert 0.3 < half < 1.2
    assert new < 0.05
    below = moonlight_mag(*(np.array(v) for v in (0.0, -1.0, 60.0, 60.0)), 0.172, 21.59)
    assert float(below) == 0.0
    near, far = moonlight_mag(
        np.array(30.0), np.array(50.0), np.array(50.0), np.array([10.0, 90.0]), 0.172, 21.59
    )
    assert near > far


def test_what_a_question_needs_goes_with_the_resolving_power() -> None:
    """Cayrel (1988): 1.5 sqrt(FWHM δx) / (S/N) is the error of an equivalent width."""
    fwhm_aa = 4554.0 * np.hypot(1 / 40000, 7.0 / 299792.458)
    wanted = 1.5 * np.sqrt(fwhm_aa * 4554.0 / 40000 / 4) / 0.004
    assert needed_snr(QUESTIONS["ba"], ECHELLE) == pytest.approx(wanted)
    coarse = change(resolving_power=5000.0)
    assert needed_snr(QUESTIONS["ba"], coarse) > 4 * wanted
    fine = change(resolving_power=120_000.0, pixels_per_element=2.5)
    assert needed_snr(QUESTIONS["cfe"], fine) == pytest.approx(30 / np.sqrt(2.5))


def star(teff: float, logg: float, feh: float, **more: float) -> list[float]:
    usual = {"cfe": 1.0, "nfe": 0.5, "afe": 0.4, "ofe": 0.4, "sfe": 0.0, "rfe": 0.0, "r1213": 30.0}
    labels = {"teff": teff, "logg": logg, "feh": feh, "vmic": max(0.9, 2.13 - 0.23 * logg)} | usual | more
    return [labels[name] for name in LABEL_NAMES]


STARS = [(4900.0, 2.0), (5300.0, 2.6), (6000.0, 3.9)]


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    return Emulator.load()


def strength_aa(
    emulator: Emulator, weak: list[float], strong: list[float], first: float, last: float
) -> float:
    """Return by how much the equivalent width between two wavelengths (air Å) grows."""
    wave = np.asarray(emulator.wave)
    inside = (wave > float(air_to_vacuum(np.array(first)))) & (wave < float(air_to_vacuum(np.array(last))))
    norm = np.asarray(emulator(np.array([weak, strong])).norm, dtype=np.float64)
    return float(((norm[0] - norm[1]) * np.gradient(wave))[inside].sum())


@pytest.mark.parametrize(("teff", "logg"), STARS[:2])
def test_the_g_band_grows_as_the_question_takes_it(emulator: Emulator, teff: float, logg: float) -> None:
    """About 4 Å a dex of [C/Fe], of which 0.05 dex are the question's 0.2 Å."""
    for feh in (-2.5, -3.0, -3.5):
        weak, strong = (star(teff, logg, feh, cfe=cfe) for cfe in (1.0, 1.4))
        per_dex = strength_aa(emulator, weak, strong, 4297.0, 4317.0) / 0.4
        assert 0.6 * 4.0 < per_dex < 1.7 * 4.0
    assert QUESTIONS["cfe"].ew_error_aa == pytest.approx(0.05 * 4.0)


@pytest.mark.parametrize(("teff", "logg"), STARS[:2])
def test_the_lines_are_at_least_as_strong_as_the_questions_take_them(
    emulator: Emulator, teff: float, logg: float
) -> None:
    for feh in (-2.5, -3.0, -3.5):
        none, solar = (star(teff, logg, feh, sfe=sfe) for sfe in (-1.0, 0.0))
        barium = strength_aa(emulator, none, solar, 4552.0, 4556.0)
        assert barium > 0.018
        none, rich = (star(teff, logg, feh, rfe=rfe) for rfe in (-0.5, 1.0))
        europium = strength_aa(emulator, none, rich, 4127.8, 4131.8)
        assert europium > 0.010


@pytest.mark.parametrize(("teff", "logg"), [*STARS, (4500.0, 1.5)])
@pytest.mark.parametrize("question", QUESTIONS.values(), ids=lambda question: question.name)
def test_plancks_law_leads_near_the_continuum(
    emulator: Emulator, teff: float, logg: float, question: Question
) -> None:
    """Too faint by 0.35 mag at most, too bright by 0.6 in cool stars rich in carbon."""
    wave = np.asarray(emulator.wave)
    band, centre = BANDS["r"], float(air_to_vacuum(np.array(question.wave_aa)))
    for feh, cfe in ((-3.0, 0.7), (-3.0, 1.5), (-2.0, 0.7), (-2.0, 1.5)):
        flux = np.asarray(emulator(np.array([star(teff, logg, feh, cfe=cfe)])).flux[0], dtype=np.float64)
        continuum = np.percentile(flux[np.abs(wave - centre) < 25.0], 95)
        in_band = flux[(wave > 5500.0) & (wave < 7000.0)].mean()
        said = star_flux(0.0, band, teff, question.wave_aa) / band.zero_flux
        assert -0.35 < 2.5 * np.log10(said / (continuum / in_band)) < 0.6
