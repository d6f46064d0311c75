"""A worker whose classifier fails on purpose: once, always on one star, or always (``CEMP_TEST_FAULT``)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cempstream.processors.chain import ProcessorChain, StageTimer, untimed
from cempstream.processors.decide import Policy
from cempstream.processors.graph import ModelError
from cempstream.processors.outcome import Classification
from cempstream.processors.spectrum import BadSpectrum, Spectrum
from cempstream.streams import worker
from cempstream.streams.faust_app import run_worker
from cempstream.streams.logs import LogFormat, LogLevel, configure_logging
from cempstream.streams.pipeline import Pipeline, Route
from cempstream.streams.settings import Settings

#: The star on which the model always fails.
POISON_SUFFIX = "-00123"


class FaultyChain:
    """A real chain that raises first."""

    def __init__(self, chain: ProcessorChain, fault: str) -> None:
        self.chain = chain
        self.fault = fault
        self.name = chain.name
        self.provenance = chain.provenance
        self.n_failures = 0

    def __call__(
        self, spectra: Sequence[Spectrum], policy: Policy, timer: StageTimer = untimed
    ) -> list[Classification | BadSpectrum]:
        """Fail as told, else classify."""
        is_hit = {
            "once": self.n_failures == 0,
            "row": any(s.spectrum_id.endswith(POISON_SUFFIX) for s in spectra),
            "always": True,
        }[self.fault]
        if is_hit:
            self.n_failures += 1
            raise ModelError(f"on purpose ({self.fault})")
        return self.chain(spectra, policy, timer)


def main() -> None:
    """Run a worker whose pipeline is faulty."""
    configure_logging(LogLevel.INFO, LogFormat.TEXT)
    real = worker.load_pipeline

    def load_faulty(settings: Settings, timer: StageTimer = untimed) -> Pipeline:
        pipeline = real(settings, timer)
        fault = os.environ["CEMP_TEST_FAULT"]
        routes = [
            Route(FaultyChain(r.chain, fault), r.resolving_power, r.policy, r.reference)  # type: ignore[arg-type]
            for r in pipeline.routes
        ]
        return Pipeline(pipeline.decode, routes, pipeline.timer)

    worker.load_pipeline = load_faulty
    run_worker(worker.create_app(Settings()))


if __name__ == "__main__":
    main()
