"""The model's own error: found where it is missing, and only as large as it is."""

import csv
import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cempstream.models.evaluation.labelled_stars import (
    COMPARED,
    LABEL_ERROR,
    LabelledStars,
    Residuals,
    read_labelled,
    residuals,
    with_photometry,
)
from cempstream.models.evaluation.model_errors import fit_model_errors
from cempstream.processors.decide import Policy
from cempstream.processors.grid import Array
from cempstream.processors.outcome import PARAMETERS, Classification, Estimate
from cempstream.processors.spectrum import Spectrum
from tests.support.fakes import classification, make_spectrum

FEH = PARAMETERS.index("feh")
RNG = np.random.default_rng(5)
N = 6000


def drawn(model: float, noise: float = 0.1, *, label: float = 1.0) -> Residuals:
    """Return dwarfs and giants whose errors are noise, the label's and, for giants in [Fe/H], the model's."""
    logg = np.where(np.arange(N) % 2, 1.5, 4.5)
    estimate = np.stack([np.full(N, 5000.0), logg, np.full(N, -2.0), np.zeros(N)], axis=1)
    unit = LABEL_ERROR / LABEL_ERROR[2]
    error = noise * unit * RNG.standard_normal((N, 4)) + label * LABEL_ERROR * RNG.standard_normal((N, 4))
    error[logg < 3.5, 2] += model * RNG.standard_normal((logg < 3.5).sum())
    # The central 68 % of a Gaussian is 0.9945 sigma on either side.
    return Residuals(estimate, error, np.tile(0.9945 * noise * unit, (N, 1)))


@pytest.mark.parametrize("model", [0.2, 0.5])
def test_the_missing_error_is_found_in_the_group_that_has_it_and_nowhere_else(model: float) -> None:
    card = fit_model_errors([drawn(model)])
    sigma = np.array(card.sigma)
    assert sigma[0, 0, FEH] == pytest.approx(model, rel=0.06)
    assert sigma[1, 0, FEH] < 0.04
    assert sigma[0, 0, PARAMETERS.index("ac")] == pytest.approx(
        np.hypot(sigma[0, 0, FEH], sigma[0, 0, PARAMETERS.index("cfe")]), abs=1e-4
    )
    assert not sigma[..., PARAMETERS.index("bafe")].any()
    assert card.n_stars == N


def test_intervals_that_are_wide_enough_get_nothing() -> None:
    found = drawn(0.0, label=0.0)
    sigma = np.array(fit_model_errors([replace(found, half=2.0 * found.half)]).sigma)
    assert not sigma.any()


def test_a_group_without_stars_has_the_error_of_all() -> None:
    found = drawn(0.4)
    sigma = np.array(fit_model_errors([found]).sigma)
    assert 0.0 < sigma[0, 1, FEH] < sigma[0, 0, FEH]
    assert sigma[0, 1, FEH] == sigma[1, 1, FEH]


def test_without_any_label_nothing_is_added() -> None:
    found = drawn(0.4)
    none = replace(found, error=np.full_like(found.error, np.nan))
    assert not np.array(fit_model_errors([none]).sigma).any()


def stars(n: int) -> LabelledStars:
    labels = np.array([[5000.0 + 10 * i, 2.0, -2.0, np.nan if i else 0.3] for i in range(n)])
    return LabelledStars([make_spectrum(f"s{i}") for i in range(n)], labels)


def says(teff: float) -> Classification:
    found = classification(make_spectrum("s"), 0.1, Policy("1", 3e-4, 0.5))
    return replace(found, parameters={name: Estimate(teff, teff - 50.0, teff + 70.0) for name in PARAMETERS})


def test_residuals_are_found_minus_literature_and_half_of_the_interval() -> None:
    known = stars(3)
    found = residuals(lambda spectra: [says(5100.0) for _ in spectra], known.spectra, known.labels)
    np.testing.assert_allclose(found.error[:, 0], [100.0, 90.0, 80.0])
    np.testing.assert_allclose(found.half, 60.0)
    assert np.isfinite(found.error[:, COMPARED.index("cfe")]).tolist() == [True, False, False]


def test_photometry_is_drawn_about_the_labels_with_the_errors_it_states() -> None:
    many = 4000
    labels = np.tile([5000.0, 2.0, -2.0, 0.0], (many, 1))
    seen = with_photometry([make_spectrum("s")] * many, labels)
    teff, logg = (np.array([getattr(s, name) for s in seen]) for name in ("teff_phot", "logg_phot"))
    errors = {(s.teff_phot_error, s.logg_phot_error) for s in seen}
    assert errors == {(100.0, 0.25)}
    assert teff.mean() == pytest.approx(5000.0, abs=5.0)
    assert (teff.std(), logg.std()) == pytest.approx((100.0, 0.25), rel=0.05)


def write_library(folder: Path) -> None:
    """Write a small MILES: two stars, one of them too hot."""
    wave = np.arange(3600.0, 7400.0, 0.9)
    flux = np.tile(1.0 + 0.1 * np.sin(wave / 7.0), 2)
    np.savez(
        folder / "miles_dev.npz",
        wave=np.tile(wave, 2),
        flux=flux,
        ivar=np.full(flux.size, 1e4),
        offsets=np.array([0, wave.size, 2 * wave.size]),
    )
    with (folder / "miles_dev.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "name", "sptype", "Teff", "logg", "FeH"])
        rows.writerow(["m1", "HD006229", "K0", "5200", "2.5", "-1.1"])
        rows.writerow(["m2", "HD000001", "A0", "9500", "4.0", "0.0"])


def test_literature_carbon_is_the_median_of_what_was_measured(tmp_path: Path) -> None:
    write_library(tmp_path)
    table = tmp_path / "abundances.csv.gz"
    with gzip.open(table, "wt", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["name", "simbad", "CFe", "C_upper_limit"])
        for name, simbad, cfe, limit in (
            ("one", "HD 6229", "0.1", "False"),
            ("HD 6229", "HD 6229", "0.3", "False"),
            ("HD 6229", "other", "0.5", "False"),
            ("HD 6229", "other", "9.0", "True"),
            ("HD 6229", "other", "", "False"),
        ):
            rows.writerow([name, simbad, cfe, limit])
    found = read_labelled(tmp_path, table)
    assert len(found) == 1
    np.testing.assert_allclose(found.labels, [[5200.0, 2.5, -1.1, 0.3]])
    assert isinstance(found.spectra[0], Spectrum)
    alone: Array = read_labelled(tmp_path).labels
    assert np.isnan(alone[0, 3])


def test_a_folder_without_stars_has_none(tmp_path: Path) -> None:
    assert len(read_labelled(tmp_path)) == 0


def test_the_view_that_needs_most_decides() -> None:
    needs, enough = drawn(0.4), drawn(0.0, noise=0.6)
    both = np.array(fit_model_errors([needs, enough]).sigma)
    assert both[0, 0, FEH] == np.array(fit_model_errors([needs]).sigma)[0, 0, FEH] > 0.3
