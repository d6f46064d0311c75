"""A worker whose models stand still for as long as a file exists (``CEMP_TEST_STALL_FILE``)."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from cempstream.processors.chain import ProcessorChain, StageTimer, untimed
from cempstream.processors.decide import Policy
from cempstream.processors.outcome import Classification
from cempstream.processors.spectrum import BadSpectrum, Spectrum
from cempstream.streams.scoring.pipeline import Pipeline, Route
from cempstream.streams.settings import Settings
from cempstream.streams.telemetry.logs import LogFormat, LogLevel, configure_logging
from cempstream.streams.worker import create
from cempstream.streams.worker.faust_app import run_worker

_POLL_S = 0.1


class StallingChain:
    """A real chain that waits first."""

    def __init__(self, chain: ProcessorChain, stall_file: Path) -> None:
        self.chain = chain
        self.stall_file = stall_file
        self.name = chain.name
        self.provenance = chain.provenance

    def process_spectra(
        self, spectra: Sequence[Spectrum], policy: Policy, timer: StageTimer = untimed
    ) -> list[Classification | BadSpectrum]:
        """Wait while the file is there, then classify."""
        while self.stall_file.exists():
            time.sleep(_POLL_S)
        return self.chain.process_spectra(spectra, policy, timer)


def main() -> None:
    """Run a worker that stalls on command."""
    configure_logging(LogLevel.INFO, LogFormat.TEXT)
    real = create.load_pipeline
    stall_file = Path(os.environ["CEMP_TEST_STALL_FILE"])

    def load_stalling(settings: Settings, timer: StageTimer = untimed) -> Pipeline:
        pipeline = real(settings, timer)
        routes = [
            Route(StallingChain(r.chain, stall_file), r.resolving_power, r.policy, r.reference)  # type: ignore[arg-type]
            for r in pipeline.routes
        ]
        return Pipeline(pipeline.decode, routes, pipeline.timer)

    create.load_pipeline = load_stalling
    run_worker(create.create_app(Settings()))


if __name__ == "__main__":
    main()
