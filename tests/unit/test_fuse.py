"""Photometry beside the spectrum: which rows it changes, and which it must leave alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from cempstream.processors.bands import CEMP_BANDS
from cempstream.processors.chain import FlagLimits, ProcessorChain
from cempstream.processors.classify import BandNamer, Calibration, ClassScores, Scorer
from cempstream.processors.continuum import Normaliser
from cempstream.processors.decide import Policy
from cempstream.processors.denoise import Denoiser
from cempstream.processors.features import FeatureExtractor, Features
from cempstream.processors.fuse import Fuser, known_of
from cempstream.processors.grid import Array, LogGrid
from cempstream.processors.lines import LineIndices, LineMeter
from cempstream.processors.outcome import PARAMETERS, Classification, PhotometricEstimate, Provenance
from cempstream.processors.rebin import Rebinner
from cempstream.processors.regress import IntervalTable, ParameterEstimates, Regressor
from cempstream.processors.spectrum import Flag, Spectrum
from cempstream.processors.templates import TemplateMatcher, TemplateMatches
from cempstream.processors.velocity import VelocityFinder
from tests.support.graphs import Formula, Host

NAN = float("nan")
N_PARAMETERS = len(PARAMETERS)
ONE = IntervalTable(np.array([]), np.array([]), np.ones((1, 1, N_PARAMETERS)))
TWO = IntervalTable(np.array([]), np.array([]), np.full((1, 1, N_PARAMETERS), 2.0))
#: What the written networks say of a spectrum alone.
ALONE = np.array([5000.0, 2.0, -2.0, 1.0, 7.4, 0.0])


def classify(given: dict[str, Array]) -> dict[str, Array]:
    """Say a logit that is the mean token."""
    logit = given["tokens"].mean(axis=(1, 2))
    return {
        "logit_cemp": logit,
        "logit_cemp_corrected": logit,
        "logit_subclass": np.zeros((len(logit), 4)),
        "logit_ood": np.full(len(logit), -5.0),
        "attribution": np.full((len(logit), 8), 0.125),
    }


def regress(given: dict[str, Array]) -> dict[str, Array]:
    """Say that the mean token, in hundreds of K, is added to the temperature."""
    mean = np.tile(ALONE, (len(given["tokens"]), 1))
    mean[:, 0] += 100.0 * given["tokens"].mean(axis=(1, 2))
    return {"mean": mean, "log_sigma": np.zeros_like(mean)}


def fuse(given: dict[str, Array]) -> dict[str, Array]:
    """Move the tokens as far as the photometric temperature lies from the spectrum's, in hundreds of K."""
    assert given["known"].dtype == np.float32
    away = (given["known"][:, 0] - given["mean"][:, 0]) / 100.0
    return {"fused": given["tokens"] + away[:, None, None]}


def scorer() -> Scorer:
    return Scorer(Formula(classify), Calibration(1.0, 0.0, 0.5), Calibration(1.0, 0.0, 0.5))


def regressor(table: IntervalTable) -> Regressor:
    return Regressor(Formula(regress), table, lambda logg, feh, cfe: cfe + 0.25)


FUSER = Fuser(
    Formula(fuse),
    Scorer(Formula(classify), Calibration(3.0, 0.0, 0.5), Calibration(3.0, 0.0, 0.5)),
    regressor(TWO),
)


def features_of(n: int) -> Features:
    none = np.empty((n, 0))
    snr = np.arange(1.0, n + 1)
    matches = TemplateMatches(np.zeros((n, 4)), snr)
    return Features(Host(np.zeros((n, 3, 2))), LineIndices((), none, none), matches, snr, snr)


def said_alone(n: int) -> tuple[ClassScores, ParameterEstimates]:
    seen = features_of(n)
    return scorer()(seen, 0.5), regressor(ONE)(seen)


def test_only_the_rows_with_photometry_change_and_all_their_columns_do() -> None:
    scores, parameters = said_alone(3)
    known = np.zeros((3, 4), dtype=np.float32)
    known[1] = (5200.0, 100.0, 0.0, 0.0)
    fused, numbers = FUSER(features_of(3), scores, parameters, known, 0.5)
    # Away by 2: the logit is 2, by the fuser's own calibration 6; the temperature 200 K more.
    np.testing.assert_allclose(fused.p_cemp, [0.5, 1 / (1 + np.exp(-6.0)), 0.5])
    np.testing.assert_allclose(numbers.value[:, 0], [5000.0, 5200.0, 5000.0])
    np.testing.assert_allclose((numbers.hi - numbers.value)[:, 0], [1.0, 2.0, 1.0])
    np.testing.assert_allclose(numbers.cfe_corrected, 1.25)
    np.testing.assert_array_equal(numbers.is_measured, parameters.is_measured)


def test_what_was_said_of_the_spectra_alone_is_not_written_over() -> None:
    scores, parameters = said_alone(1)
    before = parameters.value.copy()
    FUSER(features_of(1), scores, parameters, np.array([[5500, 90, 2, 0.1]], np.float32), 0.5)
    np.testing.assert_array_equal(parameters.value, before)
    assert scores.p_cemp.tolist() == [0.5]


def test_without_any_photometry_no_network_is_asked() -> None:
    scores, parameters = said_alone(2)

    def never(given: dict[str, Array]) -> dict[str, Array]:
        raise AssertionError("the fusing network was asked")

    found = replace(FUSER, graph=Formula(never))(
        features_of(2), scores, parameters, known_of([None, None]), 0.5
    )
    assert found == (scores, parameters)


@pytest.mark.parametrize(
    ("estimate", "row"),
    [
        (None, [0, 0, 0, 0]),
        (PhotometricEstimate(5100.0, 80.0, 2.2, 0.2), [5100, 80, 2.2, 0.2]),
        (PhotometricEstimate(5100.0, 80.0, NAN, NAN), [5100, 80, 0, 0]),
        (PhotometricEstimate(NAN, NAN, 2.2, 0.2), [0, 0, 2.2, 0.2]),
        (
            PhotometricEstimate(5100.0, NAN, 2.2, 0.2),
            [0, 0, 2.2, 0.2],
        ),
    ],
)
def test_what_is_not_known_is_zero(estimate: PhotometricEstimate | None, row: list[float]) -> None:
    np.testing.assert_allclose(known_of([estimate])[0], row, rtol=1e-6)


# The chain as a whole.

GRID = LogGrid(3.57, 1e-4, 3840)
EDGES = np.linspace(3800.0, 9000.0, 9)


def chain(fuser: Fuser | None) -> ProcessorChain:
    rest = sum(np.exp(-0.5 * ((GRID.wave - at) / 6) ** 2) for at in (3934.8, 4306.0, 4862.7, 5175.3, 6564.6))
    bank = np.stack([1 - 0.5 * rest, 1 - 0.1 * rest])
    return ProcessorChain(
        name="written 1.0",
        rebin=Rebinner(GRID, 1800.0, min_pixels=1000),
        normalise=Normaliser(96.0),
        find_velocity=VelocityFinder(GRID, bank),
        denoise=Denoiser(Formula(lambda given: {"clean": given["norm"]})),
        extract=FeatureExtractor(
            Formula(lambda given: {"tokens": np.zeros((len(given["norm"]), 3, 2))}),
            LineMeter(GRID, CEMP_BANDS),
            TemplateMatcher(bank, np.array([[5000.0, 2.0, -2.0, 1.0], [6000.0, 4.0, -1.0, 0.0]])),
        ),
        classify=scorer(),
        regress=regressor(IntervalTable(np.array([]), np.array([]), np.full((1, 1, N_PARAMETERS), 150.0))),
        name_bands=BandNamer(EDGES),
        attribution_edges_aa=EDGES,
        limits=FlagLimits(ood_score=0.5, ranges={}),
        provenance=(Provenance("trunk", "1.0", "00", "CPU"),),
        fuse=fuser,
    )


def star(**known: float) -> Spectrum:
    return Spectrum(
        spectrum_id="s",
        survey="test",
        grid=GRID,
        flux=np.ones(GRID.n_pix, dtype=np.float32),
        ivar=np.full(GRID.n_pix, 1e4, dtype=np.float32),
        resolving_power=1800.0,
        reduced_at=datetime(2026, 3, 1, tzinfo=UTC),
        **known,  # type: ignore[arg-type]
    )


def process(fuser: Fuser | None, *spectra: Spectrum) -> list[Classification]:
    found = chain(fuser).process_spectra(spectra, Policy("1", 0.5, 0.9))
    assert all(isinstance(one, Classification) for one in found)
    return found  # type: ignore[return-value]


def test_a_star_whose_photometry_agrees_is_judged_by_both_and_says_so() -> None:
    bare, agreeing = process(FUSER, star(), star(teff_phot=5150.0, teff_phot_error=80.0))
    assert bare.parameters["teff"].value == 5000.0
    assert bare.photometric is None
    assert agreeing.parameters["teff"].value == pytest.approx(5150.0, abs=0.1)
    assert agreeing.photometric is not None
    assert agreeing.photometric.is_used
    assert agreeing.decision.is_candidate
    assert not bare.decision.is_candidate


def test_a_star_whose_photometry_contradicts_its_spectrum_is_judged_by_the_spectrum_alone() -> None:
    (found,) = process(FUSER, star(teff_phot=6500.0, teff_phot_error=80.0))
    assert found.parameters["teff"].value == 5000.0
    assert Flag.PHOTOMETRY_DISAGREES in found.flags
    assert found.photometric is not None
    assert not found.photometric.is_used


def test_a_bundle_without_the_fusing_network_compares_and_does_not_use() -> None:
    near, far = process(
        None,
        star(teff_phot=5150.0, teff_phot_error=80.0),
        star(teff_phot=6500.0, teff_phot_error=80.0),
    )
    for found in (near, far):
        assert found.parameters["teff"].value == 5000.0
        assert found.photometric is not None
        assert not found.photometric.is_used
    assert Flag.PHOTOMETRY_DISAGREES not in near.flags
    assert Flag.PHOTOMETRY_DISAGREES in far.flags
