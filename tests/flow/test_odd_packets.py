"""Packets that the schema allows and no survey should send, through the real models."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from cempstream.processors.outcome import Classification, Rejected
from cempstream.processors.spectrum import Reason
from cempstream.schemas.codec import decode_spectrum, encode_spectrum
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.scoring.pipeline import Pipeline
from cempstream.streams.settings import Settings
from tests.support.odd_packets import odd_packets
from tests.support.spectra import template_spectra


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(Settings())


def test_odd_but_valid_packets_are_scored_or_say_what_is_wrong_with_them(pipeline: Pipeline) -> None:
    packets = odd_packets(256, seed=1)
    outcomes = [
        outcome for i in range(0, 256, 64) for outcome in pipeline.classify_packets(packets[i : i + 64])
    ]
    reasons = Counter(o.reason for o in outcomes if isinstance(o, Rejected))
    assert len(outcomes) == 256
    assert reasons[Reason.PROCESSING_ERROR] == 0
    scored = [o for o in outcomes if isinstance(o, Classification)]
    assert len(scored) > 20
    assert all(np.isfinite([o.p_cemp, o.ood_score, o.snr]).all() for o in scored)


@pytest.mark.parametrize("unit", [1e-17, 1e-12, 1e12, 1e17])
def test_a_spectrum_scores_alike_in_any_unit(pipeline: Pipeline, unit: float) -> None:
    packets = [encode_spectrum(star) for star in template_spectra(8, seed=3, snr=30.0)]
    stars = [decode_spectrum(packet) for packet in packets]
    others = [
        encode_spectrum(
            replace(
                star,
                flux=(star.flux * unit).astype(np.float32),
                ivar=(star.ivar.astype(np.float64) / unit**2).astype(np.float32),
            )
        )
        for star in stars
    ]
    before, after = pipeline.classify_packets(packets), pipeline.classify_packets(others)
    for one, other in zip(before, after, strict=True):
        assert isinstance(one, Classification)
        assert isinstance(other, Classification)
        assert other.p_cemp == pytest.approx(one.p_cemp, rel=1e-3, abs=1e-6)
        assert other.snr == pytest.approx(one.snr, rel=1e-4)
        assert other.parameters["feh"].value == pytest.approx(one.parameters["feh"].value, abs=1e-3)
