"""The survey simulator against known answers: light, resolution, noise, motion, shares, reproducibility."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from cempstream.models.emulator.emulator import Emulator
from cempstream.models.emulator.grids import EMULATOR_GRID
from cempstream.models.emulator.labels import check_labels
from cempstream.models.simulator import (
    SimulatedBatch,
    Strata,
    SurveyProfile,
    draw_sources,
    draw_stratified,
    load_mix,
    load_profile,
    observe,
    redden,
    scale_to_magnitude,
    simulate,
)
from cempstream.models.simulator.contaminants import Starlight, contaminant_flux
from cempstream.models.simulator.mix import CONTAMINANTS, Mix
from cempstream.models.simulator.night_files import write_night
from cempstream.models.simulator.sources import KIND_CODE
from cempstream.processors.constants import LIGHT_KMS
from cempstream.processors.grid import Array, vacuum_to_air
from cempstream.processors.readers import read_spectra
from cempstream.processors.spectrum import Spectrum

SURVEYS = ("lamost", "sdss", "desi", "csst")
WAVE = EMULATOR_GRID.wave


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    return Emulator.load()


@pytest.fixture(scope="module")
def mix() -> Mix:
    return load_mix("galaxy")


def ideal(**exposure: float) -> SurveyProfile:
    """A telescope without faults, sky or detector noise: 1 m², 1,000 s, half of the light."""
    flat = {"wave_aa": [5000.0], "value": [0.5]}
    return SurveyProfile.model_validate(
        {
            "survey": "ideal",
            "source": "none",
            "flux_unit": "absolute",
            "exposure_size": 100,
            "grating": [
                {
                    "pixels": {"kind": "linear", "start": 4500.0, "step": 0.5, "n_pix": 3000},
                    "resolving_power": {"wave_aa": [4500.0, 6000.0], "value": [1500.0, 2500.0]},
                    "throughput": flat,
                }
            ],
            "exposure": {
                "area_cm2": 1e4,
                "exposure_s": 1000.0,
                "aperture_arcsec2": 1.0,
                "sky_mag_arcsec2": {"wave_aa": [5000.0], "value": [60.0]},
                "line_sky": 0.0,
                "read_noise_e": 0.0,
                **exposure,
            },
            "magnitudes": {
                "name": "v",
                "band_aa": [5000, 6000],
                "bright": 14.0,
                "faint": 16.0,
                "slope": 0.2,
            },
        }
    )


def observe_flat(profile: SurveyProfile, magnitude: float, n: int) -> tuple[Array, Array, Array]:
    """Observe a source of constant F_ν; return its true flux at the pixels, and flux and ivar as seen."""
    rng = np.random.default_rng(5)
    flux = np.tile(1e8 / WAVE**2, (n, 1)).astype(np.float32)
    flux = scale_to_magnitude(flux, np.full(n, magnitude), profile.magnitudes.band_aa)
    seen = observe(flux, np.zeros(n), profile, profile.grating[0], rng)
    return np.interp(profile.grating[0].wave, WAVE, flux[0]), seen.flux, seen.ivar


def observe_spike(profile: SurveyProfile, centre_aa: float, velocity_kms: float = 0.0) -> tuple[Array, Array]:
    """Observe a line as narrow as the library's on nothing; return the pixels (vacuum) and the line."""
    sigma = centre_aa / 5000.0 / 2.3548
    line = 1e9 * np.exp(-0.5 * ((WAVE - centre_aa) / sigma) ** 2)
    grating = profile.grating[0]
    seen = observe(
        line[None, :].astype(np.float32),
        np.array([velocity_kms]),
        profile,
        grating,
        np.random.default_rng(1),
    )
    return grating.wave, seen.flux[0].astype(np.float64)


def moments(wave: Array, line: Array) -> tuple[float, float]:
    line = np.where(line > 1e-3 * line.max(), line, 0.0)
    centroid = float((wave * line).sum() / line.sum())
    return centroid, float(np.sqrt(((wave - centroid) ** 2 * line).sum() / line.sum()))


def test_a_magnitude_is_as_many_photons_as_it_means() -> None:
    # AB 15 is 3.631e-20 10^(-6) erg/s/cm²/Hz; at 5500 Å a photon is 3.612e-12 erg and 1 Å 9.91e10 Hz.
    photons_per_aa = 3.6308e-20 * 1e-6 * (2.998e18 / 5500.0**2) / (1.98645e-8 / 5500.0)
    expected_electrons = photons_per_aa * 1e4 * 1000.0 * 0.5 * 0.5
    truth, flux, ivar = observe_flat(ideal(), 15.0, 400)
    at = np.searchsorted(ideal().grating[0].wave, 5500.0)
    snr = flux[:, at].mean() / flux[:, at].std()
    assert flux[:, at].mean() == pytest.approx(truth[at], rel=0.01)
    assert snr == pytest.approx(np.sqrt(expected_electrons), rel=0.12)
    assert np.sqrt(ivar[0, at]) * truth[at] == pytest.approx(np.sqrt(expected_electrons), rel=0.01)


def test_noise_is_what_ivar_says_also_with_a_detector() -> None:
    profile = ideal(read_noise_e=4.0, n_rows=6, dark_e_per_s=0.01)
    truth, flux, ivar = observe_flat(profile, 17.5, 100)
    pull = (flux - truth) * np.sqrt(ivar)
    assert abs(float(pull.mean())) < 0.01
    assert float(pull.std()) == pytest.approx(1.0, abs=0.01)


def test_resolution_follows_the_profile_along_the_spectrum() -> None:
    for centre, power in ((4800.0, 1700.0), (5700.0, 2300.0)):
        wave, line = observe_spike(ideal(), centre)
        _, sigma = moments(wave, line)
        assert centre / (2.3548 * sigma) == pytest.approx(power, rel=0.03)


@pytest.mark.parametrize("velocity_kms", [-350.0, -7.0, 0.0, 42.0, 500.0])
def test_a_line_moves_by_its_velocity(velocity_kms: float) -> None:
    wave, line = observe_spike(ideal(), 5300.0, velocity_kms)
    centroid, _ = moments(wave, line)
    assert LIGHT_KMS * (centroid / 5300.0 - 1) == pytest.approx(velocity_kms, abs=1.0)


def test_air_pixels_hold_lines_at_their_air_wavelengths() -> None:
    profile = ideal()
    grating = profile.grating[0].model_copy(update={"medium": "air"})
    profile = profile.model_copy(update={"grating": (grating,)})
    _, line = observe_spike(profile, 5300.0)
    centroid, _ = moments(grating.pixels.grid.wave, line)
    assert centroid == pytest.approx(float(vacuum_to_air(np.array([5300.0]))[0]), abs=0.02)


def test_a_wrong_zero_point_moves_lines_by_at_most_its_pixels() -> None:
    profile = ideal()
    profile = profile.model_copy(update={"faults": profile.faults.model_copy(update={"zero_point_pix": 3.0})})
    n = 60
    sigma = 5300.0 / 5000.0 / 2.3548
    line = np.tile(1e9 * np.exp(-0.5 * ((WAVE - 5300.0) / sigma) ** 2), (n, 1)).astype(np.float32)
    seen = observe(line, np.zeros(n), profile, profile.grating[0], np.random.default_rng(2))
    offsets = [moments(profile.grating[0].wave, row.astype(float))[0] - 5300.0 for row in seen.flux]
    assert 1.0 < np.max(np.abs(offsets)) < 1.6  # three pixels of half an Å
    assert abs(float(np.mean(offsets))) < 0.35


def test_reddening_follows_its_definition() -> None:
    flux = redden(np.ones((1, WAVE.size), dtype=np.float32), np.array([0.3]))[0]
    in_b, in_v = (-2.5 * np.log10(np.interp(w, WAVE, flux)) for w in (4400.0, 5500.0))
    assert in_v == pytest.approx(3.1 * 0.3, rel=0.03)
    assert in_b - in_v == pytest.approx(0.3, rel=0.1)


@pytest.mark.parametrize("survey", SURVEYS)
def test_the_same_seed_gives_the_same_night_and_a_longer_one_begins_with_it(
    survey: str, mix: Mix, emulator: Emulator
) -> None:
    profile = load_profile(survey)
    short = list(simulate(profile, 9, 3, mix, emulator=emulator))
    again = list(simulate(profile, 9, 3, mix, emulator=emulator))
    longer = list(simulate(profile, 40, 3, mix, emulator=emulator))
    other = list(simulate(profile, 9, 4, mix, emulator=emulator))
    assert sum(len(batch) for batch in short) == 9
    for one, two, more, else_ in zip(short, again, longer, other, strict=True):
        n = len(one)
        for name in ("flux", "ivar", "mask"):
            values = getattr(one.observed, name)
            assert values.tobytes() == getattr(two.observed, name).tobytes()
            assert values.tobytes() == getattr(more.observed, name)[:n].tobytes()
        assert one.truth.tobytes() == two.truth.tobytes()
        assert not np.array_equal(one.observed.flux, else_.observed.flux)


@pytest.mark.parametrize("survey", SURVEYS)
def test_simulated_spectra_are_sound_spectra(survey: str, mix: Mix, emulator: Emulator) -> None:
    profile = load_profile(survey)
    spectra = [s for b in simulate(profile, 64, 1, mix, emulator=emulator) for s in b.spectra()]
    assert len(spectra) == 64
    for spectrum in spectra:
        assert spectrum.survey == survey
        assert np.isfinite(spectrum.flux).all()
        assert np.isfinite(spectrum.ivar).all()
        wave = spectrum.grid.wave
        outside = (wave < WAVE[0]) | (wave > WAVE[-1])
        assert (spectrum.ivar[outside] == 0).all()
        assert np.mean(spectrum.ivar[~outside] > 0) > 0.9


def test_slitless_bands_of_a_source_share_its_object_and_carry_what_slitless_spectra_suffer(
    mix: Mix, emulator: Emulator
) -> None:
    profile = load_profile("csst")
    blue, red = simulate(profile, 120, 2, mix, emulator=emulator)
    assert (blue.grating.name, red.grating.name) == ("GV", "GI")
    assert list(blue.truth["object_id"]) == list(red.truth["object_id"])
    contamination = blue.observed.contamination
    assert contamination is not None
    is_clean = ~contamination.any(axis=1)
    assert 0.5 < is_clean.mean() < 0.95
    assert contamination.min() >= 0.0
    assert contamination.max() <= 1.0
    first = blue.spectra()[0]
    assert first.grating == "GV"
    assert first.wave_zero_error_aa == pytest.approx(3 * 5.25 / 3**0.5)
    power = np.array([s.resolving_power for s in blue.spectra()])
    assert power.max() <= 315  # a point source's
    assert power.min() < 150  # an extended one's


@pytest.mark.parametrize("name", ["galaxy", "halo"])
def test_every_source_lies_in_the_emulators_range(name: str) -> None:
    check_labels(draw_sources(20_000, load_mix(name), np.random.default_rng(8)).labels)


def test_the_natural_mix_has_its_rare_stars_in_their_shares(mix: Mix) -> None:
    sources = draw_sources(300_000, mix, np.random.default_rng(1))
    feh, cfe = sources.labels[:, 2], sources.labels[:, 3]
    is_cemp = sources.is_star & (feh < -1) & (cfe >= 0.7)
    assert 1e-4 < is_cemp.mean() < 1e-3
    assert np.mean(sources.kind == KIND_CODE["hot_star"]) == pytest.approx(
        mix.contaminants["hot_star"], rel=0.05
    )
    metal_poor = sources.is_star & (feh < -2)
    assert 0.08 < is_cemp[metal_poor].mean() < 0.25


def test_cemp_stars_fall_into_groups_of_carbon(mix: Mix) -> None:
    sources = draw_sources(60_000, load_mix("halo"), np.random.default_rng(2))
    feh, cfe, sfe = sources.labels[:, 2], sources.labels[:, 3], sources.labels[:, 7]
    is_cemp = sources.is_star & (feh < -1) & (cfe >= 0.7)
    carbon = feh + cfe + 8.43
    assert np.median(carbon[is_cemp & (sfe > 1)]) > 7.3
    assert np.median(carbon[is_cemp & (sfe < 0)]) < 7.0
    assert np.median(feh[is_cemp & (sfe < 0)]) < np.median(feh[is_cemp & (sfe > 1)])


def test_strata_keep_the_hard_ones_and_their_weights_restore_the_natural_shares(mix: Mix) -> None:
    strata = Strata(ordinary=0.02, contaminant=0.02, metal_poor=0.2)
    rng = np.random.default_rng(11)
    parts = [draw_stratified(2000, mix, strata, rng) for _ in range(4)]
    labels = np.concatenate([sources.labels for sources, _ in parts])
    is_star = np.concatenate([sources.is_star for sources, _ in parts])
    weight = np.concatenate([w for _, w in parts])
    natural = draw_sources(300_000, mix, rng)
    poor = natural.is_star & (natural.labels[:, 2] < -1)
    share = weight[is_star & (labels[:, 2] < -1)].sum() / weight.sum()
    assert share == pytest.approx(poor.mean(), rel=0.1)
    assert weight[~is_star].sum() / weight.sum() == pytest.approx(1 - natural.is_star.mean(), rel=0.15)
    is_near = is_star & (labels[:, 2] < -0.8) & (labels[:, 3] > 0.35)
    assert is_near.mean() > 10 * weight[is_near].sum() / weight.sum()


def test_a_share_of_zero_is_refused_because_its_weight_would_be_infinite() -> None:
    with pytest.raises(ValueError, match="'ordinary' is 0"):
        Strata(ordinary=0.0)


@pytest.mark.parametrize("kind", CONTAMINANTS)
def test_contaminants_are_finite_light(kind: str, emulator: Emulator) -> None:
    labels = draw_sources(6, load_mix("galaxy"), np.random.default_rng(3)).labels
    spectra = emulator(labels)
    flux = contaminant_flux(kind, Starlight(spectra.norm, spectra.continuum), np.random.default_rng(4))
    assert flux.shape == (6, WAVE.size)
    assert np.isfinite(flux).all()
    if kind == "sky":
        assert not flux.any()
    elif kind != "broken_fibre":
        assert (flux >= 0).all()
        assert flux.std(axis=1).all()


def test_truth_says_what_the_labels_mean(emulator: Emulator) -> None:
    truth = np.concatenate(
        [b.truth for b in simulate(load_profile("lamost"), 256, 6, load_mix("halo"), emulator=emulator)]
    )
    is_star = np.isfinite(truth["feh"])
    with np.errstate(invalid="ignore"):
        expected = (truth["feh"] < -1) & (truth["cfe"] >= 0.7)
    np.testing.assert_array_equal(truth["is_cemp"], expected)
    assert truth["is_cemp"].sum() >= 5
    assert (truth["cfe_corrected"][is_star] >= truth["cfe"][is_star]).all()
    assert set(truth["subclass"][truth["is_cemp"]]) <= {"cemp_no", "cemp_s", "cemp_r", "undetermined"}
    assert set(truth["subclass"][~truth["is_cemp"]]) == {""}
    assert set(truth["population"][~is_star]) == {""}
    assert (truth["weight"] == 1).all()


@pytest.mark.parametrize("survey", ["lamost", "csst"])
def test_a_night_on_disk_is_what_the_readers_read(
    survey: str, mix: Mix, emulator: Emulator, tmp_path: Path
) -> None:
    profile = load_profile(survey)
    batches = list(simulate(profile, 21, 1, mix, emulator=emulator))
    truth = write_night(tmp_path / "one.npz", profile, 21, iter(batches))
    write_night(tmp_path / "two.npz", profile, 21, iter(batches))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    written = [spectrum for batch in batches for spectrum in batch.spectra()]
    read = list(read_spectra(tmp_path / "one.npz"))
    assert [s.spectrum_id for s in read if isinstance(s, Spectrum)] == list(truth["spectrum_id"])
    for one, two in zip(written, read, strict=True):
        assert isinstance(two, Spectrum)
        np.testing.assert_array_equal(one.ivar, two.ivar)
        np.testing.assert_array_equal(one.flux[one.ivar > 0], two.flux[two.ivar > 0])
        np.testing.assert_allclose(one.grid.wave, two.grid.wave, rtol=1e-6)
        np.testing.assert_allclose(one.resolving_power, two.resolving_power, rtol=1e-6)
        assert two.survey == survey


@pytest.mark.parametrize(("survey", "n"), [("lamost", 20), ("csst", 23)])
def test_visits_of_a_star_differ_in_their_noise_alone_and_are_read_as_visits(
    survey: str, n: int, mix: Mix, emulator: Emulator, tmp_path: Path
) -> None:
    profile = load_profile(survey)
    batches = list(simulate(profile, n, 1, mix, visits=3, emulator=emulator))
    (once, *_) = simulate(profile, n, 1, mix, emulator=emulator)
    truth = write_night(tmp_path / "night.npz", profile, n, iter(batches), visits=3)
    assert len(truth) == len(set(truth["spectrum_id"].tolist())) == n
    first = batches[0]
    np.testing.assert_array_equal(first.observed.flux, once.observed.flux[: len(first)])
    of_star = truth[truth["object_id"] == truth["object_id"][0]]
    assert len(of_star) == 3 * len(profile.grating)
    assert len(set(of_star["teff"].tolist())) == 1
    assert len(set(of_star["snr"].tolist())) == len(of_star)
    written = [spectrum for batch in batches for spectrum in batch.spectra()]
    for one, two in zip(written, read_spectra(tmp_path / "night.npz"), strict=True):
        assert isinstance(two, Spectrum)
        assert (two.spectrum_id, two.object_id, two.grating) == (
            one.spectrum_id,
            one.object_id,
            one.grating,
        )
        assert two.observed_at == one.observed_at
        np.testing.assert_array_equal(one.ivar, two.ivar)


def test_an_unknown_profile_or_mix_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(FileNotFoundError, match="csst, desi, lamost, sdss"):
        load_profile("weave")
    with pytest.raises(FileNotFoundError, match="galaxy, halo"):
        load_mix("bulge")


def test_a_misspelt_key_is_refused(tmp_path: Path) -> None:
    source = Path(load_profile.__code__.co_filename).parent / "profiles" / "lamost.toml"
    path = tmp_path / "mine.toml"
    path.write_text(source.read_text().replace("read_noise_e", "read_nosie_e"))
    with pytest.raises(ValidationError, match="read_nosie_e"):
        load_profile(path)


def test_batches_say_when_they_were_reduced(mix: Mix, emulator: Emulator) -> None:
    batch: SimulatedBatch = next(simulate(load_profile("lamost"), 2, 1, mix, emulator=emulator))
    observed_at, reduced_at = batch.spectra()[0].observed_at, batch.spectra()[0].reduced_at
    assert observed_at is not None
    assert observed_at < reduced_at
