"""The processors around the networks, on networks whose outputs are written down: which number goes where."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from cempstream.processors.bands import CEMP_BANDS
from cempstream.processors.batch import NormalisedBatch
from cempstream.processors.chain import FlagLimits, ProcessorChain
from cempstream.processors.classify import BandNamer, Calibration, Scorer
from cempstream.processors.continuum import Normaliser
from cempstream.processors.decide import Policy
from cempstream.processors.denoise import DenoisedBatch, Denoiser
from cempstream.processors.features import FeatureExtractor, Features
from cempstream.processors.graph import ModelError
from cempstream.processors.grid import Array, LogGrid
from cempstream.processors.lines import LineIndices, LineMeter
from cempstream.processors.outcome import PARAMETERS, SUBCLASSES, Classification, Provenance
from cempstream.processors.rebin import Rebinner
from cempstream.processors.regress import IntervalTable, Regressor
from cempstream.processors.spectrum import BadSpectrum, Reason, Spectrum
from cempstream.processors.templates import TemplateMatcher, TemplateMatches
from cempstream.processors.velocity import VelocityFinder
from tests.support.graphs import Formula, Host

GRID = LogGrid(3.57, 1e-4, 3840)
LN = np.log


def features(tokens: Array, snr: Array) -> Features:
    n_spec = len(snr)
    none = np.empty((n_spec, 0))
    return Features(
        Host(tokens), LineIndices((), none, none), TemplateMatches(np.zeros((n_spec, 4)), snr), snr, snr
    )


#: Teff, log g, [Fe/H], [C/Fe], A(C), [Ba/Fe] of three stars, and their errors in the network's own measure.
MEAN = np.array(
    [[5000, 2.0, -2.5, 1.5, 7.5, 0.3], [6000, 4.0, -1.0, 0.5, 8.0, 0.1], [4500, 1.0, -3.0, 2.0, 7.0, 1.0]]
)
SIGMA = np.array([100, 0.2, 0.1, 0.15, 0.3, 0.4])
INTERVALS = IntervalTable(
    np.array([10.0]), np.array([-2.0]), np.array([[[1.0], [2.0]], [[3.0], [4.0]]]) * np.ones(len(PARAMETERS))
)


def regressor(unmeasured: tuple[str, ...] = ()) -> Regressor:
    """Return a regressor that reads its answer from the tokens; its correction names its arguments."""
    graph = Formula(lambda given: {"mean": given["tokens"], "log_sigma": np.tile(LN(SIGMA), (3, 1))})
    return Regressor(graph, INTERVALS, lambda logg, feh, cfe: 100 * logg + 10 * feh + cfe, unmeasured)


def test_an_interval_is_the_networks_sigma_times_the_factor_of_the_stars_bin() -> None:
    """Bins: S/N 5 and [Fe/H] -2.5 has 1, S/N 50 and -1 has 4, S/N 50 and -3 has 3."""
    found = regressor()(features(MEAN.astype(np.float32), np.array([5.0, 50.0, 50.0])))
    half = np.array([[1.0], [4.0], [3.0]]) * SIGMA
    np.testing.assert_allclose(found.value, MEAN, rtol=1e-6)
    np.testing.assert_allclose(found.lo, MEAN - half, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.hi, MEAN + half, rtol=1e-5, atol=1e-6)
    assert np.all(found.lo < found.hi)
    assert found.is_measured.tolist() == [True] * 6


def test_the_carbon_a_star_was_born_with_comes_from_logg_feh_and_cfe() -> None:
    found = regressor()(features(MEAN, np.full(3, 50.0)))
    np.testing.assert_allclose(found.cfe_corrected, [176.5, 390.5, 72.0])


def test_what_a_bundle_cannot_measure_is_nan_and_still_corrects() -> None:
    found = regressor(("logg", "bafe"))(features(MEAN.copy(), np.full(3, 50.0)))
    for column in (found.value, found.lo, found.hi):
        assert np.isnan(column).tolist() == [[False, True, False, False, False, True]] * 3
    assert found.is_measured.tolist() == [True, False, True, True, True, False]
    np.testing.assert_allclose(found.cfe_corrected, [176.5, 390.5, 72.0])


def scores_of(tokens: Array, prior: float = 0.5) -> tuple[Array, ...]:
    names = ("logit_cemp", "logit_cemp_corrected", "logit_ood")
    graph = Formula(
        lambda given: {
            **{name: given["tokens"][:, i] for i, name in enumerate(names)},
            "logit_subclass": given["tokens"][:, 3:7],
            "attribution": given["tokens"][:, 7:],
        }
    )
    scorer = Scorer(graph, Calibration(1.0, 0.0, 0.5), Calibration(2.0, 1.0, 0.5))
    found = scorer(features(tokens, np.ones(len(tokens))), prior)
    return found.p_cemp, found.p_cemp_corrected, found.ood, found.subclass_p, found.attribution


def test_each_logit_becomes_its_own_probability() -> None:
    """Logits ln 3, 0 and -ln 4 are 3/4, 1/2 and 1/5; the second is first doubled and raised by one."""
    tokens = np.array([[LN(3.0), 0.0, -LN(4.0), LN(1.0), LN(2.0), LN(3.0), LN(4.0), 0.7, 0.3]] * 2)
    tokens[1, 3:7] += 1000.0
    p, corrected, ood, subclass, attribution = scores_of(tokens)
    np.testing.assert_allclose(p, 0.75)
    np.testing.assert_allclose(corrected, np.e / (1 + np.e))
    np.testing.assert_allclose(ood, 0.2)
    np.testing.assert_allclose(subclass, [[0.1, 0.2, 0.3, 0.4]] * 2)
    np.testing.assert_allclose(attribution, [[0.7, 0.3]] * 2)


def test_a_rare_class_needs_better_evidence_and_ood_does_not_ask() -> None:
    """At a prior of 1/4 where the network learnt 1/2, odds fall by three: 3 to 1 becomes even."""
    tokens = np.array([[LN(3.0), LN(3.0) / 2 - 0.5, 0.0, 0, 0, 0, 0, 1.0]])
    p, corrected, ood, subclass, _ = scores_of(tokens, prior=0.25)
    np.testing.assert_allclose([p[0], corrected[0], ood[0]], [0.5, 0.5, 0.5])
    np.testing.assert_allclose(subclass, 0.25)


def test_the_heaviest_bands_are_named_first_and_four_of_them() -> None:
    edges = np.arange(3800.0, 8100.0, 10.0)
    namer = BandNamer(edges)
    falling = np.linspace(1.5, 0.5, edges.size - 1) / (edges.size - 1)
    (bands,) = namer(falling[None])
    assert [band.name for band in bands] == ["CH G", "C2 5636", "C2 5165", "C2 4737"]
    # 200 of 4,290 Å, where the weight is 1.38 times the mean.
    assert bands[0].weight == pytest.approx(200 / 4290 * 1.38, rel=0.01)
    assert all(band.weight == round(band.weight, 4) for band in bands)
    assert len(namer(np.full((1, edges.size - 1), 1.0), 2)[0]) == 2


def test_a_bin_counts_for_a_window_by_the_part_that_lies_in_it() -> None:
    namer = BandNamer(np.array([3000.0, 4300.0, 9000.0]))
    low, high = 4201.18, 4401.24  # CH G in vacuum
    np.testing.assert_allclose(
        namer.share[namer.names.index("CH G")], [(4300 - low) / 1300, (high - 4300) / 4700], rtol=1e-4
    )


def test_the_denoiser_keeps_the_raw_spectrum() -> None:
    norm = np.linspace(0.5, 1.5, 3840, dtype=np.float32)[None]
    batch = NormalisedBatch(GRID, norm, 4 * norm, norm)
    found = Denoiser(Formula(lambda given: {"clean": given["norm"] - given["ivar"]}))(batch)
    np.testing.assert_array_equal(found.norm.numpy(), norm)
    np.testing.assert_array_equal(found.ivar.numpy(), 4 * norm)
    np.testing.assert_array_equal(found.clean.numpy(), -3 * norm)


def test_the_trunk_sees_all_three_and_snr_is_the_mean_of_good_pixels() -> None:
    norm = np.full((3, 3840), 0.5, dtype=np.float32)
    ivar = np.zeros_like(norm)
    ivar[0, :960] = 25.0
    ivar[1, 7] = 4.0  # one good pixel; of the third none is good
    denoised = DenoisedBatch(Host(norm), Host(ivar), Host(norm + 1))
    extract = FeatureExtractor(
        Formula(lambda given: {"tokens": given["norm"] + 10 * given["ivar"] + 100 * given["clean"]}),
        LineMeter(GRID, CEMP_BANDS),
        TemplateMatcher(np.ones((1, 3840)), np.array([[5000.0, 2.0, -2.0, 1.0]])),
    )
    found = extract(NormalisedBatch(GRID, norm, ivar, norm), denoised)
    assert (found.tokens.numpy()[0, 0], found.tokens.numpy()[1, 0]) == (400.5, 150.5)
    np.testing.assert_allclose(found.snr, [5.0, 2.0, 0.0])
    np.testing.assert_allclose(found.coverage, [0.25, 1 / 3840, 0.0])
    assert found.lines.names == (*(band.name for band in CEMP_BANDS), "kp")
    assert found.templates.labels.tolist()[0] == [5000.0, 2.0, -2.0, 1.0]


# The chain as a whole, with lines that the velocity can be taken from.

EDGES = np.linspace(3800.0, 9000.0, 9)
POLICY = Policy("1", 0.5, 0.9)
LABELS = np.array([[5000.0, 2.0, -2.0, 1.0], [6000.0, 4.0, -1.0, 0.0]])


def star(depth: float = 0.5, rv_kms: float = 0.0) -> Array:
    rest = GRID.wave / (1 + rv_kms / 299792.458)
    lines = (3934.8, 4306.0, 4862.7, 5175.3, 5893.6, 6564.6, 8544.4)
    return np.asarray(1 - depth * sum(np.exp(-0.5 * ((rest - centre) / 6) ** 2) for centre in lines))


def spectrum(name: str = "s", flux: Array | None = None, ivar: float = 1e4, **given: object) -> Spectrum:
    flux = star() if flux is None else flux
    return Spectrum(
        spectrum_id=name,
        survey="test",
        grid=GRID,
        flux=flux.astype(np.float32),
        ivar=np.full(GRID.n_pix, ivar, dtype=np.float32),
        resolving_power=1800.0,
        reduced_at=datetime.fromisoformat("2026-03-01T12:00:00Z"),
        **given,  # type: ignore[arg-type]
    )


LIMITS = FlagLimits(ood_score=0.5, ranges={"feh": (-4.0, 0.0), "teff": (4000.0, 7000.0)})


def chain(*, ood: float = 0.1, feh: float = -2.5, **given: object) -> ProcessorChain:
    """Return a chain whose networks say: p 0.75 and 0.6, subclasses 0.1 to 0.4, the given ood and [Fe/H]."""

    def classify(given: dict[str, Array]) -> dict[str, Array]:
        n_spec = len(given["tokens"])
        return {
            "logit_cemp": np.full(n_spec, LN(3.0)),
            "logit_cemp_corrected": np.full(n_spec, LN(1.5)),
            "logit_subclass": np.tile(LN([0.1, 0.2, 0.3, 0.4]), (n_spec, 1)),
            "logit_ood": np.full(n_spec, LN(ood / (1 - ood))),
            "attribution": np.full((n_spec, 8), 0.125),
        }

    def regress(given: dict[str, Array]) -> dict[str, Array]:
        mean = np.tile([5000.0, 2.0, feh, 1.5, 7.5, 0.3], (len(given["tokens"]), 1))
        return {"mean": mean, "log_sigma": np.tile(LN(SIGMA), (len(mean), 1))}

    bank = np.stack([star(), star(0.1)])
    return ProcessorChain(
        name="written 1.0",
        rebin=Rebinner(GRID, 1800.0, min_pixels=1000),
        normalise=Normaliser(96.0),
        find_velocity=VelocityFinder(GRID, bank),
        denoise=Denoiser(Formula(lambda given: {"clean": given["norm"]})),
        extract=FeatureExtractor(
            Formula(lambda given: {"tokens": given["clean"]}),
            LineMeter(GRID, CEMP_BANDS),
            TemplateMatcher(bank, LABELS),
        ),
        classify=Scorer(Formula(classify), Calibration(1.0, 0.0, 0.5), Calibration(1.0, 0.0, 0.5)),
        regress=Regressor(Formula(regress), INTERVALS, lambda logg, feh, cfe: cfe + 0.25),
        name_bands=BandNamer(EDGES),
        attribution_edges_aa=EDGES,
        provenance=(Provenance("trunk", "1.0", "00", "CPU"),),
        **{"limits": LIMITS, **given},  # type: ignore[arg-type]
    )


def process(made: ProcessorChain, *spectra: Spectrum) -> list[Classification]:
    found = made.process_spectra(spectra, POLICY)
    assert all(isinstance(result, Classification) for result in found)
    return found  # type: ignore[return-value]


def test_every_number_of_a_result_is_the_one_its_name_says() -> None:
    (found,) = process(chain(), spectrum(flux=star(rv_kms=150.0), flags=("ivar_estimated",)))
    assert (found.spectrum.spectrum_id, found.bundle) == ("s", "written 1.0")
    assert found.snr == pytest.approx(100.0, rel=0.03)
    assert found.flags == ("ivar_estimated",)
    assert found.rv_kms == pytest.approx(150.0, abs=6.0)
    assert found.rv_error_kms is not None
    assert 0 < found.rv_error_kms < 10
    # The continuum is a running mean, so the deep lines are shallower than the template's own.
    match = found.template
    assert (match.teff, match.logg, match.feh, match.cfe) == (5000.0, 2.0, -2.0, 1.0)
    assert match.chi2 > 0
    assert set(found.lines) == {*(band.name for band in CEMP_BANDS), "kp"}
    value, error = found.lines["lick_hbeta"]
    assert value > 3 * error > 0
    teff, feh = found.parameters["teff"], found.parameters["feh"]
    assert (teff.value, feh.value) == (5000.0, -2.5)
    assert (teff.lo, teff.hi) == pytest.approx((4700.0, 5300.0))
    assert list(found.parameters) == list(PARAMETERS)
    assert found.cfe_corrected == 1.75
    assert (found.p_cemp, found.p_cemp_corrected, found.ood_score) == pytest.approx((0.75, 0.6, 0.1))
    assert list(found.subclass_p) == list(SUBCLASSES)
    assert list(found.subclass_p.values()) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert found.subclass == "undetermined"
    np.testing.assert_array_equal(found.attribution, np.full(8, 0.125))
    np.testing.assert_array_equal(found.attribution_wave_aa, EDGES)
    assert len(found.bands) == 4
    assert not found.decision.is_candidate
    assert found.provenance[0].name == "trunk"
    assert (found.photometric, found.rebinned) == (None, None)


def test_a_spectrum_that_may_belong_to_a_star_is_kept_as_it_was_rebinned() -> None:
    follow = replace(POLICY, observed_from=0.7)
    given = (
        replace(spectrum(flux=star(rv_kms=150.0)), resolving_power=900.0),
        replace(spectrum("t"), resolving_power=9000.0),
    )
    for sent, found in zip(given, chain().process_spectra(given, follow), strict=True):
        assert isinstance(found, Classification)
        assert found.photometric is None
        kept = found.rebinned
        assert kept is not None
        assert kept.grid == GRID
        seen = chain().rebin([sent])
        np.testing.assert_array_equal(kept.flux, seen.flux[0])
        np.testing.assert_array_equal(kept.ivar, seen.ivar[0])
        assert kept.resolving_power == min(sent.typical_resolving_power, 1800.0)
        assert (kept.shift_kms, kept.is_shift_certain) == (found.rv_kms, "rv_uncertain" not in found.flags)
    (lower,) = chain().process_spectra(given[:1], replace(POLICY, observed_from=0.8))
    assert isinstance(lower, Classification)
    assert lower.rebinned is None


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        ({"ivar": 16.0}, "low_snr"),
        ({"contamination": np.full(3840, 0.2, np.float32)}, "contaminated"),
        ({"contamination": np.full(3840, np.nan, np.float32)}, "contaminated"),
        ({"contamination": np.full(3840, 0.05, np.float32)}, None),
        ({"contamination": np.full(3840, 0.15, np.float32)}, "contaminated"),
        ({"contamination": (np.arange(3840) < 384).astype(np.float32)}, None),  # exactly a tenth
        ({"teff_phot": 9999.0, "teff_phot_error": 1.0}, "photometry_disagrees"),
        ({"teff_phot": 9999.0}, None),
        ({"flux": np.ones(3840), "ivar": 100.0}, "rv_uncertain"),
        ({"flux": np.ones(3840), "ivar": 100.0, "rv_kms": 20.0}, None),
        ({"flux": np.ones(3840), "ivar": 100.0, "frame": "rest"}, None),
    ],
)
def test_what_is_odd_about_a_spectrum_is_flagged(given: dict[str, object], flag: str | None) -> None:
    (found,) = process(chain(), spectrum(**given))  # type: ignore[arg-type]
    assert found.flags == (() if flag is None else (flag,))


@pytest.mark.parametrize(("n_good", "flags"), [(2687, ("partial_coverage",)), (2688, ())])
def test_seven_tenths_of_the_grid_are_enough(n_good: int, flags: tuple[str, ...]) -> None:
    mask = (np.arange(3840) >= n_good).astype(np.uint8)
    assert process(chain(), spectrum(mask=mask, frame="rest"))[0].flags == flags


def test_the_limit_of_signal_to_noise_is_enough() -> None:
    (found,) = process(chain(), spectrum())
    at_limit = chain(limits=FlagLimits(ood_score=0.5, ranges={}, low_snr=found.snr))
    assert process(at_limit, spectrum())[0].flags == ()


@pytest.mark.parametrize(
    ("made", "flags"),
    [
        (chain(ood=0.6), ("out_of_distribution",)),
        (chain(ood=0.5), ()),
        (chain(feh=-4.1), ("out_of_range",)),
        (chain(feh=0.1), ("out_of_range",)),
        (chain(feh=-3.9), ()),
        (chain(feh=0.0), ()),
        (chain(feh=-4.0), ()),
    ],
)
def test_what_is_odd_about_an_answer_is_flagged(made: ProcessorChain, flags: tuple[str, ...]) -> None:
    assert process(made, spectrum())[0].flags == flags


def test_a_velocity_that_is_given_is_taken_and_one_removed_is_zero() -> None:
    moved = star(rv_kms=150.0)
    measured, given, rest = process(
        chain(),
        spectrum("a", moved),
        spectrum("b", moved, rv_kms=-77.0),
        spectrum("c", star(), rv_kms=-77.0, frame="rest"),
    )
    assert measured.rv_kms == pytest.approx(150.0, abs=6.0)
    assert measured.rv_error_kms
    assert (given.rv_kms, given.rv_error_kms) == (-77.0, 0.0)
    assert (rest.rv_kms, rest.rv_error_kms) == (0.0, 0.0)


def test_at_low_resolution_the_shift_is_no_velocity() -> None:
    made = chain(measures_velocity=False)
    measured, given = process(made, spectrum(), spectrum(rv_kms=12.0))
    assert (measured.rv_kms, measured.rv_error_kms) == (None, None)
    assert (given.rv_kms, given.rv_error_kms) == (12.0, None)


def test_a_bad_spectrum_among_good_ones_costs_itself_alone() -> None:
    """Three bad ones, each with its own reason, between stars that keep their places."""
    hole = np.zeros(3840, dtype=np.uint8)
    hole[500:] = 1
    first, empty, second, narrow, third = chain().process_spectra(
        [
            spectrum("a", star(rv_kms=-200.0)),
            spectrum("b", ivar=0.0),
            spectrum("c", star(rv_kms=0.0)),
            spectrum("d", mask=hole),
            spectrum("e", star(rv_kms=200.0)),
        ],
        POLICY,
    )
    for result, name, rv_kms in ((first, "a", -200.0), (second, "c", 0.0), (third, "e", 200.0)):
        assert isinstance(result, Classification)
        assert result.spectrum.spectrum_id == name
        assert result.rv_kms == pytest.approx(rv_kms, abs=6.0)
    assert isinstance(empty, BadSpectrum)
    assert isinstance(narrow, BadSpectrum)
    assert (empty.reason, narrow.reason) == (Reason.NO_GOOD_PIXELS, Reason.LOW_COVERAGE)
    assert "none of 3840 pixels" in empty.detail
    assert chain().process_spectra([spectrum(ivar=0.0)], POLICY)[0].__class__ is BadSpectrum


@pytest.mark.parametrize(
    ("feh", "magnitude", "priority"),
    [
        (-2.5, 12.0, 0.75 * (0.5 + 0.15 + 0.2)),
        (-2.5, 20.0, 0.75 * (0.5 + 0.15)),
        (-2.5, None, 0.75 * (0.5 + 0.15 + 0.1)),
        (-3.9, 24.0, 0.75 * (0.5 + 0.29)),
        (-0.5, 8.0, 0.75 * (0.5 + 0.2)),
        (-6.0, 15.333, 0.6 + 0.75 * 0.2 * 4.667 / 8),
    ],
)
def test_rare_and_bright_stars_are_more_urgent(feh: float, magnitude: float | None, priority: float) -> None:
    """p · (0.5 + 0.3 · rarity + 0.2 · brightness): rarity from [Fe/H] -1 to -4, brightness to 12 mag."""
    photometry = {} if magnitude is None else {"r": (magnitude, 0.1)}
    (found,) = process(chain(feh=feh), spectrum(photometry=photometry))
    assert found.decision.priority == round(priority, 4)


def test_a_magnitude_is_the_first_band_that_is_known() -> None:
    """Each band is a magnitude fainter than the one before it, and one more is left out each time."""
    bands = {band: (12.0 + i, 0.1) for i, band in enumerate(("G", "phot_g", "r", "R", "V", "g", "i"))}
    urgencies = []
    for first in range(8):
        left = dict(reversed(list(bands.items())[first:]))
        (found,) = process(chain(), spectrum(photometry={"y": (0.0, 0.1), **left}))
        urgencies.append(found.decision.priority)
    fading = [0.75 * (0.65 + 0.2 * (8 - i) / 8) for i in range(7)]
    assert urgencies == pytest.approx([*fading, 0.5625], abs=1e-4)


def test_a_network_that_answers_nan_is_broken_and_names_its_rows() -> None:
    made = chain(feh=np.nan, limits=FlagLimits(0.5, {}))
    with pytest.raises(ModelError, match=r"'parameters' is not finite in row\(s\) \[0, 1, 2, 3, 4\] of 6"):
        made.process_spectra([spectrum()] * 6, POLICY)


def test_stages_are_timed_in_their_order() -> None:
    stages = []

    def timer(stage: str) -> AbstractContextManager[None]:
        stages.append(stage)
        return nullcontext()

    chain().process_spectra([spectrum()], POLICY, timer)
    assert stages == [
        "rebin",
        "normalise",
        "velocity",
        "denoise",
        "features",
        "classify",
        "regress",
        "photometry",
        "decide",
    ]
