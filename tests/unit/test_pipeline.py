"""The pipeline: one outcome per packet, in order, whatever the packets are."""

from dataclasses import replace

import numpy as np
import pytest

from cempstream.processors.decide import Policy
from cempstream.processors.outcome import Classification, Rejected
from cempstream.processors.spectrum import BadSpectrum, Reason, Spectrum
from cempstream.streams.scoring.pipeline import ModelBroken, Pipeline, Route
from tests.support.fakes import ThresholdChain, make_spectrum

POLICY = Policy("1", prior=3e-4, threshold=0.5)


def pipeline_over(chain: ThresholdChain, spectra: dict[bytes, Spectrum]) -> Pipeline:
    def decode(packet: bytes) -> Spectrum:
        if packet not in spectra:
            raise BadSpectrum(Reason.NOT_AVRO, "magic byte is 0x99; it must be 0x00")
        return spectra[packet]

    route = Route(chain, (600.0, 1e5), lambda survey: POLICY, make_spectrum("reference"))  # type: ignore[arg-type]
    return Pipeline(decode, [route])


def many(n_spec: int) -> dict[bytes, Spectrum]:
    return {f"p{i}".encode(): make_spectrum(f"s{i}") for i in range(n_spec)}


def test_every_packet_gets_one_outcome_in_order() -> None:
    spectra = {b"a": make_spectrum("a"), b"b": make_spectrum("b", level=0.4)}
    first, second, third = pipeline_over(ThresholdChain(), spectra).classify_packets(
        [b"a", b"\x99junk", b"b"]
    )
    assert isinstance(first, Classification)
    assert not first.decision.is_candidate
    assert second == Rejected(b"\x99junk", Reason.NOT_AVRO, "")
    assert isinstance(third, Classification)
    assert third.decision.is_candidate


def test_a_poison_row_costs_itself_alone() -> None:
    chain = ThresholdChain(poison=frozenset({"s13"}))
    outcomes = pipeline_over(chain, many(64)).classify_packets(list(many(64)))
    rejected = [o for o in outcomes if isinstance(o, Rejected)]
    assert [o.reason for o in rejected] == [Reason.PROCESSING_ERROR]
    assert rejected[0].spectrum_id == "s13"
    assert outcomes.index(rejected[0]) == 13
    assert chain.batches.count(["s13"]) == 2, "a packet that fails alone is tried twice"


@pytest.mark.parametrize("n_poison", [8, 63, 64])
def test_a_batch_of_rubbish_costs_itself_alone(n_poison: int) -> None:
    chain = ThresholdChain(poison=frozenset(f"s{i}" for i in range(n_poison)))
    outcomes = pipeline_over(chain, many(64)).classify_packets(list(many(64)))
    assert [isinstance(o, Rejected) for o in outcomes] == [i < n_poison for i in range(64)]
    assert {o.reason for o in outcomes if isinstance(o, Rejected)} == {Reason.PROCESSING_ERROR}


def test_a_model_that_fails_on_its_reference_is_broken_even_for_a_single_packet() -> None:
    chain = ThresholdChain(poison=frozenset({"s0", "reference"}))
    with pytest.raises(ModelBroken, match="reference"):
        pipeline_over(chain, many(1)).classify_packets(list(many(1)))


def test_a_resolution_that_no_bundle_serves_is_a_dead_letter_that_says_what_is_served() -> None:
    low = replace(make_spectrum("low"), resolving_power=200.0)
    (outcome,) = pipeline_over(ThresholdChain(), {b"low": low}).classify_packets([b"low"])
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.UNSUPPORTED_RESOLUTION
    assert "R = 200" in outcome.detail
    assert "600" in outcome.detail


def test_what_is_sharper_than_any_bundle_goes_to_the_sharpest_and_is_flagged() -> None:
    chains = ThresholdChain(), ThresholdChain()
    sharp = replace(make_spectrum("sharp"), resolving_power=40_000.0, flags=("medium_estimated",))
    routes = [
        Route(chain, served, lambda survey: POLICY, make_spectrum("reference"))  # type: ignore[arg-type]
        for chain, served in zip(chains, ((100.0, 600.0), (600.0, 10_000.0)), strict=True)
    ]
    (outcome,) = Pipeline(lambda packet: sharp, routes).classify_packets([b"sharp"])
    assert isinstance(outcome, Classification)
    assert chains[1].batches == [["sharp"]]
    assert outcome.flags == ("medium_estimated", "resolution_degraded")


def test_surveys_keep_their_own_policy() -> None:
    seen: list[str] = []

    def policy(survey: str) -> Policy:
        seen.append(survey)
        return POLICY

    spectra = {b"a": make_spectrum("a", survey="desi"), b"b": make_spectrum("b")}
    chain = ThresholdChain()
    route = Route(chain, (600.0, 1e5), policy, make_spectrum("reference"))  # type: ignore[arg-type]
    outcomes = Pipeline(spectra.__getitem__, [route]).classify_packets([b"a", b"b", b"a"])
    assert [o.spectrum.survey for o in outcomes if isinstance(o, Classification)] == [
        "desi",
        "lamost",
        "desi",
    ]
    assert sorted(seen) == ["desi", "lamost"]


def test_a_spectrum_with_arrays_of_other_length_is_refused_by_name() -> None:
    with pytest.raises(BadSpectrum, match=r"'ivar' has 10 values; the wavelength grid has 3840") as caught:
        replace(make_spectrum(), ivar=np.ones(10, dtype=np.float32))
    assert caught.value.reason is Reason.LENGTH_MISMATCH
