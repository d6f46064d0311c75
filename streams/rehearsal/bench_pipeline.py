"""Measure the pipeline against the bare networks: what everything around them costs, stage by stage."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

import onnxruntime as ort

from cempstream.models.pinned import open_bundle
from cempstream.processors.chain import ProcessorChain
from cempstream.processors.graph import Graph, Tensor
from cempstream.processors.grid import Array
from cempstream.processors.outcome import Classification
from cempstream.processors.velocity import shift_to_rest
from cempstream.schemas.codec import decode_spectrum, encode_spectrum
from cempstream.streams.kafka.messages import PacketOrigin
from cempstream.streams.kafka.outputs import MessageWriter
from cempstream.streams.rehearsal.bench_load import PixelLayout, load_spectra
from cempstream.streams.rehearsal.machine import Machine, this_machine
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.scoring.pipeline import Pipeline
from cempstream.streams.settings import Settings
from cempstream.streams.telemetry.metrics import STAGES
from cempstream.streams.worker.heap import keep_freed_memory

_WARM_UP_BATCHES = 3


@dataclass(frozen=True, slots=True)
class StageCost:
    """The time of one stage, in µs a spectrum.

    Attributes
    ----------
    networks_us
        The part of it within ONNX Runtime.
    """

    stage: str
    total_us: float
    networks_us: float


@dataclass(frozen=True, slots=True)
class PipelineReport:
    """Rates in spectra/s, medians over the repeats of one run.

    Attributes
    ----------
    bare
        The four graphs chained, on prepared inputs.
    pipeline
        Packets to outcomes.
    with_outputs
        Packets to the messages that would be published.
    ratio, ratio_with_outputs
        The latter two over the first.
    """

    layout: str
    packet_bytes: int
    bundle: str
    provider: str
    onnxruntime: str
    threads: int
    batch_size: int
    n_spectra: int
    n_alerts: int
    repeats: int
    bare: float
    pipeline: float
    with_outputs: float
    ratio: float
    ratio_with_outputs: float
    stages: tuple[StageCost, ...]
    machine: Machine


def measure_pipeline(
    settings: Settings, layout: PixelLayout, *, n_batches: int, repeats: int, on_repeat: Callable[[], None]
) -> PipelineReport:
    """Measure; the three take turns batch by batch, so that a busy machine slows all of them alike."""
    machine = this_machine()
    keep_freed_memory()
    clock = StageClock()
    pipeline = load_pipeline(settings, timer=clock.stage)
    bundle = open_bundle(settings.models.bundles[0], settings.models.root, settings.models.keys)
    size = settings.batch.size
    packets = [encode_spectrum(s) for s in load_spectra(bundle, size * n_batches, layout)]
    batches = [packets[i : i + size] for i in range(0, len(packets), size)]
    chain = pipeline.routes[0].chain
    prepared = [_prepare(chain, batch) for batch in batches]
    writer = MessageWriter(settings.topics, settings.limits)
    for batch, inputs in zip(batches[:_WARM_UP_BATCHES], prepared, strict=False):
        _run_graphs(chain, inputs)
        _run_all(pipeline, writer, batch)
    n_alerts = sum(
        isinstance(outcome, Classification) and outcome.decision.is_candidate
        for batch in batches
        for outcome in pipeline.classify_packets(batch)
    )
    clock.attach(chain)
    bare, inner, whole = [], [], []
    for _ in range(repeats):
        bare_s = inner_s = whole_s = 0.0
        for batch, inputs in zip(batches, prepared, strict=True):
            with clock.paused():
                bare_s += _seconds(_run_graphs, chain, inputs)
            inner_s += _seconds(pipeline.classify_packets, batch)
            with clock.paused():
                whole_s += _seconds(_run_all, pipeline, writer, batch)
        bare.append(len(packets) / bare_s)
        inner.append(len(packets) / inner_s)
        whole.append(len(packets) / whole_s)
        on_repeat()
    n_timed = len(packets) * repeats
    stages = tuple(
        StageCost(name, 1e6 * clock.total_s[name] / n_timed, 1e6 * clock.networks_s[name] / n_timed)
        for name in STAGES
    )
    outputs_us = 1e6 / median(whole) - 1e6 / median(inner)
    return PipelineReport(
        layout=layout.value,
        packet_bytes=round(sum(map(len, packets)) / len(packets)),
        bundle=chain.name,
        provider=settings.models.provider.value,
        onnxruntime=ort.__version__,
        threads=settings.models.threads,
        batch_size=size,
        n_spectra=len(packets),
        n_alerts=n_alerts,
        repeats=repeats,
        bare=median(bare),
        pipeline=median(inner),
        with_outputs=median(whole),
        ratio=median(b / a for a, b in zip(bare, inner, strict=True)),
        ratio_with_outputs=median(b / a for a, b in zip(bare, whole, strict=True)),
        stages=(*stages, StageCost("outputs", outputs_us, 0.0)),
        machine=machine,
    )


class StageClock:
    """Adds up the time of the stages, and the networks' part of it."""

    def __init__(self) -> None:
        self.total_s: defaultdict[str, float] = defaultdict(float)
        self.networks_s: defaultdict[str, float] = defaultdict(float)
        self._stage = ""
        self._is_paused = False

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; the pipeline calls it."""
        self._stage, start = name, time.perf_counter()
        try:
            yield
        finally:
            if not self._is_paused:
                self.total_s[name] += time.perf_counter() - start

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Run without counting."""
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False

    def attach(self, chain: ProcessorChain) -> None:
        """Time the graphs of a chain, and forget what was counted before."""
        for processor in (chain.denoise, chain.extract, chain.classify, chain.regress):
            processor.graph = _TimedGraph(processor.graph, self)
        self.total_s.clear()
        self.networks_s.clear()

    def count_network(self, seconds: float) -> None:
        """Add a graph's time to the stage that runs."""
        if not self._is_paused:
            self.networks_s[self._stage] += seconds


class _TimedGraph:
    def __init__(self, graph: Graph, clock: StageClock) -> None:
        self._graph = graph
        self._clock = clock

    def put(self, array: Array) -> Tensor:
        return self._graph.put(array)

    def __call__(self, **inputs: Tensor) -> Mapping[str, Tensor]:
        start = time.perf_counter()
        try:
            return self._graph(**inputs)
        finally:
            self._clock.count_network(time.perf_counter() - start)


def _prepare(chain: ProcessorChain, packets: Sequence[bytes]) -> tuple[Array, Array]:
    """Return norm and ivar as the first graph gets them."""
    normalised = chain.normalise(chain.rebin([decode_spectrum(packet) for packet in packets]))
    rest = shift_to_rest(normalised, chain.find_velocity(normalised).rv_kms)
    return rest.norm, rest.ivar


def _run_graphs(chain: ProcessorChain, inputs: tuple[Array, Array]) -> None:
    """Run what any program with these networks must run: inputs in, four graphs, results out."""
    denoise, features = chain.denoise.graph, chain.extract.graph
    norm, ivar = denoise.put(inputs[0]), denoise.put(inputs[1])
    clean = denoise(norm=norm, ivar=ivar)["clean"]
    tokens = features(norm=norm, ivar=ivar, clean=clean)["tokens"]
    for graph in (chain.classify.graph, chain.regress.graph):
        for tensor in graph(tokens=tokens).values():
            tensor.numpy()


def _run_all(pipeline: Pipeline, writer: MessageWriter, packets: Sequence[bytes]) -> None:
    now = datetime.now(UTC)
    outcomes = pipeline.classify_packets(packets)
    origins = [PacketOrigin("bench.spectra.v1", 0, i, 0, b"key", ()) for i in range(len(packets))]
    writer.write(outcomes, origins, now, datetime.now(UTC))


def _seconds(run: Callable[..., object], *args: object) -> float:
    start = time.perf_counter()
    run(*args)
    return time.perf_counter() - start
