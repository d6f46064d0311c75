"""A bundle put together: what of it goes where, and the spectrum that tells sound models from broken ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pytest

from cempstream.models.bundle import Bundle
from cempstream.models.carbon_evolution import carbon_correction
from cempstream.models.sessions import Provider
from cempstream.processors.chain import ProcessorChain
from cempstream.processors.decide import Policy
from cempstream.processors.outcome import Classification
from cempstream.processors.spectrum import BadSpectrum, Spectrum
from cempstream.streams.scoring.assemble import build_chain, corrected_cfe, load_pipeline, reference_spectrum
from cempstream.streams.settings import BatchSettings, ModelSettings, Settings
from tests.support.spectra import mid_bundle


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return mid_bundle()


@pytest.fixture(scope="module")
def chain(bundle: Bundle) -> ProcessorChain:
    return build_chain(bundle, Provider.CPU, threads=1)


@pytest.fixture(scope="module")
def reference(bundle: Bundle) -> Spectrum:
    return reference_spectrum(bundle)


def test_the_reference_is_a_template_at_rest_as_the_models_see_it(
    bundle: Bundle, reference: Spectrum
) -> None:
    np.testing.assert_array_equal(reference.flux, bundle.templates.norm[0].astype(np.float32))
    assert reference.grid == bundle.card.grid.grid
    assert reference.frame == "rest"
    assert reference.typical_resolving_power == bundle.card.resolving_power
    assert reference.ivar == pytest.approx(50.0**2)  # S/N 50 of a flux about one
    assert reference.reduced_at.utcoffset() == timedelta(0)
    assert reference.reduced_at.year == 2000  # the same for every worker


def test_the_models_score_their_reference_as_the_template_that_it_is(
    bundle: Bundle, chain: ProcessorChain, reference: Spectrum
) -> None:
    (scored,) = chain.process_spectra([reference], Policy("1", prior=3e-4, threshold=0.5))
    assert isinstance(scored, Classification)
    teff, _, feh = bundle.templates.labels[0, :3]
    assert (scored.template.teff, scored.template.feh) == (
        pytest.approx(teff, rel=0.05),
        pytest.approx(feh, abs=0.5),
    )
    assert scored.snr == pytest.approx(50.0, rel=0.1)
    assert scored.rv_kms == 0.0
    assert scored.bundle == bundle.name == f"{bundle.card.name}-{bundle.card.version}"


def test_what_the_card_says_is_what_the_processors_do(bundle: Bundle, chain: ProcessorChain) -> None:
    card = bundle.card
    assert chain.measures_velocity
    assert chain.rebin.target == card.grid.grid
    assert chain.rebin.resolving_power == card.resolving_power
    assert chain.rebin.min_pixels == round(0.052 * card.grid.grid.n_pix)
    assert chain.limits.ood_score == card.ood.threshold
    assert chain.limits.ranges == card.ranges
    assert chain.limits.low_coverage == card.low_coverage
    assert chain.attribution_edges_aa.tolist() == list(card.attribution_edges_aa)
    assert {one.name for one in chain.provenance} == {
        f"{card.name}.{part}" for part in (*card.graphs, "manifest")
    }
    for one in chain.provenance:
        name = one.name.rpartition(".")[2]
        assert one.sha256 == (bundle.sha256 if name == "manifest" else card.graphs[name].sha256)
        assert (one.version, one.provider) == (card.version, Provider.CPU.value)


def test_a_bundle_is_warmed_with_one_spectrum_and_with_a_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    score = ProcessorChain.process_spectra

    def counted(
        chain: ProcessorChain, spectra: Sequence[Spectrum], policy: Policy
    ) -> list[Classification | BadSpectrum]:
        sizes.append(len(spectra))
        return score(chain, spectra, policy)

    monkeypatch.setattr(ProcessorChain, "process_spectra", counted)
    load_pipeline(Settings(models=ModelSettings(bundles=("low",)), batch=BatchSettings(size=3)))
    assert sizes == [1, 3]


def test_stars_were_born_with_more_carbon_than_a_giant_shows() -> None:
    """Placco et al. 2014: what the first dredge-up took is added."""
    logg, feh, cfe = np.array([1.0, 4.5]), np.array([-2.5, -2.5]), np.array([0.3, 0.3])
    taken = carbon_correction(logg, feh, cfe)
    assert taken[0] > 0.2
    np.testing.assert_allclose(corrected_cfe(logg, feh, cfe), cfe + taken)
