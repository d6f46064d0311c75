"""A worker that fails on purpose, in the way that ``CEMP_TEST_FAULT`` names.

``once``, ``row``, ``always``: the classifier raises once, whenever one star is in the batch, or always.
``hung-model``, ``hung-loop``, ``deaf``: after a few hundred spectra the models do not return, the event loop
does not, or the consumer fetches nothing more and says nothing of it. ``hung-at-once``: the event loop does
not return from the first batch, before any of Faust's timers has run. ``never-joins``, ``given-nothing``: the
consumer never asks for partitions, or the group's leader gives none to anybody. ``CEMP_TEST_STALL_S``
shortens the wait.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Any

from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

from cempstream.processors.chain import ProcessorChain, StageTimer, untimed
from cempstream.processors.decide import Policy
from cempstream.processors.graph import ModelError
from cempstream.processors.outcome import Classification
from cempstream.processors.spectrum import BadSpectrum, Spectrum
from cempstream.streams.scoring.pipeline import Pipeline, Route
from cempstream.streams.settings import Settings
from cempstream.streams.telemetry.logs import LogFormat, LogLevel, configure_logging
from cempstream.streams.telemetry.watchdog import notify
from cempstream.streams.worker import create, faust_transport, orphans, progress
from cempstream.streams.worker.agent import Classifier, Processed
from cempstream.streams.worker.faust_app import run_worker

#: The star on which the model always fails.
POISON_SUFFIX = "-000000000123"

#: A stall comes in the middle of the work.
N_BEFORE_STALL = 300

_FOR_EVER_S = 3600.0


class FaultyChain:
    """A real chain that raises, or hangs, first."""

    def __init__(self, chain: ProcessorChain, fault: str) -> None:
        self.chain = chain
        self.fault = fault
        self.name = chain.name
        self.provenance = chain.provenance
        self.n_failures = 0
        self.n_spectra = 0

    def process_spectra(
        self, spectra: Sequence[Spectrum], policy: Policy, timer: StageTimer = untimed
    ) -> list[Classification | BadSpectrum]:
        """Fail as told, else classify."""
        self.n_spectra += len(spectra)
        if self.fault == "hung-model":
            if self.n_spectra > N_BEFORE_STALL:
                time.sleep(_FOR_EVER_S)
        elif {
            "once": self.n_failures == 0,
            "row": any(s.spectrum_id.endswith(POISON_SUFFIX) for s in spectra),
            "always": True,
        }[self.fault]:
            self.n_failures += 1
            raise ModelError(f"on purpose ({self.fault})")
        return self.chain.process_spectra(spectra, policy, timer)


def fail_in_models(fault: str) -> None:
    """Make every chain faulty."""
    real = create.load_pipeline

    def load_faulty(settings: Settings, timer: StageTimer = untimed) -> Pipeline:
        pipeline = real(settings, timer)
        routes = [
            Route(FaultyChain(r.chain, fault), r.resolving_power, r.policy, r.reference)  # type: ignore[arg-type]
            for r in pipeline.routes
        ]
        return Pipeline(pipeline.decode, routes, pipeline.timer)

    create.load_pipeline = load_faulty


def hang_event_loop(after: int) -> None:
    """Deliver so many spectra, then never return to the event loop."""
    real = Classifier._deliver
    n_delivered = 0

    async def deliver(self: Classifier, processed: Processed) -> None:
        nonlocal n_delivered
        await real(self, processed)
        n_delivered += len(processed.outcomes)
        if n_delivered > after:
            notify("STATUS=hangs on purpose")
            time.sleep(_FOR_EVER_S)

    Classifier._deliver = deliver  # type: ignore[method-assign]


def go_deaf() -> None:
    """Fetch until something is delivered, then wait forever silently; heartbeats to the group continue."""
    real_fetch, real_deliver = faust_transport.ConsumerThread._fetch_records, Classifier._deliver
    n_delivered = 0

    async def fetch(self: Any, *args: Any, **kwargs: Any) -> Any:
        if n_delivered:
            await asyncio.sleep(1)
            return {}
        return await real_fetch(self, *args, **kwargs)

    async def deliver(self: Classifier, processed: Processed) -> None:
        nonlocal n_delivered
        await real_deliver(self, processed)
        n_delivered += len(processed.outcomes)

    faust_transport.ConsumerThread._fetch_records = fetch
    Classifier._deliver = deliver  # type: ignore[method-assign]


def never_join() -> None:
    """Wait forever before joining the group."""

    async def subscribe(self: Any, topics: Any) -> None:
        await asyncio.sleep(_FOR_EVER_S)

    faust_transport.ConsumerThread.subscribe = subscribe  # type: ignore[method-assign]


def give_nothing() -> None:
    """Join, and as the group's leader find no partition to give."""
    real = RoundRobinPartitionAssignor.assign.__func__

    def assign(cls: Any, cluster: Any, members: Any) -> Any:
        cluster.partitions_for_topic = lambda topic: None
        return real(cls, cluster, members)

    RoundRobinPartitionAssignor.assign = classmethod(assign)


def fail(fault: str) -> None:
    """Install the fault, and shorten the time until it is noticed."""
    noticed_after_s = os.environ.get("CEMP_TEST_STALL_S")
    if noticed_after_s is not None and fault in ("never-joins", "given-nothing"):
        orphans.PATIENCE_S = float(noticed_after_s)
    elif noticed_after_s is not None:
        progress.STALL_S = float(noticed_after_s)
    match fault:
        case "hung-loop":
            hang_event_loop(N_BEFORE_STALL)
        case "hung-at-once":
            hang_event_loop(0)
        case "deaf":
            go_deaf()
        case "never-joins":
            never_join()
        case "given-nothing":
            give_nothing()
        case _:
            fail_in_models(fault)


def main() -> None:
    """Run a faulty worker."""
    configure_logging(LogLevel.INFO, LogFormat.TEXT)
    fail(os.environ["CEMP_TEST_FAULT"])
    run_worker(create.create_app(Settings()))


if __name__ == "__main__":
    main()
