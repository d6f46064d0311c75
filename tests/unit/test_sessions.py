"""What a session says of itself."""

from __future__ import annotations

import onnxruntime as ort
import pytest

from cempstream.models import sessions
from cempstream.models.sessions import OrtGraph, Provider
from cempstream.streams.scoring.assemble import build_chain
from tests.support.spectra import mid_bundle


def test_provenance_names_the_provider_that_runs_and_not_the_one_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A runtime that fell back in silence must show in what Prometheus and every alert are told."""
    real = sessions._open

    def fall_back(model: bytes, provider: Provider, threads: int) -> ort.InferenceSession:
        return real(model, Provider.CPU, threads)

    monkeypatch.setattr(sessions, "_open", fall_back)
    bundle = mid_bundle()
    graph = OrtGraph("classify", bundle.graphs["classify"], Provider.CUDA)
    assert graph.provider is Provider.CPU
    chain = build_chain(bundle, Provider.CUDA)
    assert {model.provider for model in chain.provenance} == {"cpu"}
