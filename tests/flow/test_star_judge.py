"""The shipped bundle scores the co-add of a star's visits better than each of them."""

from dataclasses import replace

import numpy as np
import pytest

from cempstream.processors.outcome import Classification
from cempstream.processors.spectrum import Spectrum
from cempstream.processors.stars.observation import Observation, observe
from cempstream.processors.stars.star import Star, fold_all
from cempstream.schemas.codec import encode_spectrum
from cempstream.streams.operations.verify import SAME_PROVIDER
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.scoring.pipeline import Pipeline
from cempstream.streams.scoring.star_judge import StarJudge
from cempstream.streams.scoring.stars import observing
from cempstream.streams.settings import read_settings
from tests.support.spectra import template_spectra, visits_of

N_VISITS = 4


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return observing(load_pipeline(read_settings()))


def observations(pipeline: Pipeline, spectra: list[Spectrum]) -> list[Observation]:
    outcomes = pipeline.classify_packets([encode_spectrum(spectrum) for spectrum in spectra])
    assert all(isinstance(outcome, Classification) for outcome in outcomes)
    seen = [observe(outcome) for outcome in outcomes if isinstance(outcome, Classification)]
    assert None not in seen
    return [one for one in seen if one is not None]


def test_the_sum_has_the_signal_of_all_visits_and_is_the_same_in_any_order(pipeline: Pipeline) -> None:
    for star in template_spectra(3, seed=5, snr=1e4):
        seen = observations(pipeline, visits_of(star, N_VISITS, snr=8.0))
        judge = StarJudge(pipeline)
        empty = Star(object_id="one", tense="observed")
        folded = fold_all(empty, seen, judge).star
        backwards = fold_all(empty, seen[::-1], judge).star
        said, other = folded.said, backwards.said
        assert said is not None
        assert other is not None
        assert said.snr == pytest.approx(np.sqrt(N_VISITS) * np.mean([o.said.snr for o in seen]), rel=0.05)
        assert said.p_cemp == pytest.approx(other.p_cemp, abs=SAME_PROVIDER)
        one, bright = seen[0].said, observations(pipeline, [star])[0].said
        assert said.rv_error_kms is not None
        assert one.rv_error_kms is not None
        assert said.rv_error_kms < one.rv_error_kms
        worst = max(abs(o.said.parameters["teff"].value - bright.parameters["teff"].value) for o in seen)
        assert abs(said.parameters["teff"].value - bright.parameters["teff"].value) < worst


def test_a_single_visit_says_what_its_spectrum_said(pipeline: Pipeline) -> None:
    (star,) = template_spectra(1, seed=8, snr=25.0)
    (seen,) = observations(pipeline, [replace(star, object_id="one")])
    said = fold_all(Star(object_id="one", tense="observed"), [seen], StarJudge(pipeline)).star.said
    assert said is not None
    assert said.p_cemp == pytest.approx(seen.said.p_cemp, abs=SAME_PROVIDER)
    assert said.rv_kms == pytest.approx(seen.said.rv_kms, abs=0.1)


def test_a_bundle_that_is_not_served_cannot_score_a_sum(pipeline: Pipeline) -> None:
    (seen,) = observations(pipeline, template_spectra(1, seed=8))
    foreign = replace(seen, said=replace(seen.said, bundle="elsewhere-1.0.0"))
    assert StarJudge(pipeline)([(foreign,), (seen,)])[0] is None


def test_nothing_is_kept_unless_the_policy_asks_for_it() -> None:
    pipeline = load_pipeline(read_settings())
    (outcome,) = pipeline.classify_packets([encode_spectrum(template_spectra(1)[0])])
    assert isinstance(outcome, Classification)
    assert outcome.rebinned is None
    assert observe(outcome) is None
