"""Features: line indices, the nearest template and the networks' shared tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cempstream.processors.batch import NormalisedBatch
from cempstream.processors.denoise import DenoisedBatch
from cempstream.processors.graph import Graph, Tensor
from cempstream.processors.grid import Array
from cempstream.processors.lines import LineIndices, LineMeter
from cempstream.processors.templates import TemplateMatcher, TemplateMatches


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Inputs of the classifier and the regressor, and measurements for a person to read.

    Attributes
    ----------
    tokens
        The trunk's output, shape ``(n_spec, n_tokens, n_channels)``, on the models' device.
    lines, templates
        Measured on the raw spectrum, not the denoised one.
    snr
        Mean S/N per good pixel, shape ``(n_spec,)``.
    coverage
        Good fraction of the grid, shape ``(n_spec,)``.
    """

    tokens: Tensor
    lines: LineIndices
    templates: TemplateMatches
    snr: Array
    coverage: Array


class FeatureExtractor:
    """Measure rest-frame spectra.

    Parameters
    ----------
    graph
        The trunk: inputs ``norm``, ``ivar`` and ``clean``, output ``tokens``.
    """

    def __init__(self, graph: Graph, lines: LineMeter, templates: TemplateMatcher) -> None:
        self.graph = graph
        self.lines = lines
        self.templates = templates

    def __call__(self, batch: NormalisedBatch, denoised: DenoisedBatch) -> Features:
        """Measure a batch."""
        tokens = self.graph(norm=denoised.norm, ivar=denoised.ivar, clean=denoised.clean)["tokens"]
        n_good = np.count_nonzero(batch.ivar, axis=1)
        return Features(
            tokens=tokens,
            lines=self.lines(batch),
            templates=self.templates(batch),
            snr=np.sqrt(batch.ivar).sum(axis=1) / np.maximum(n_good, 1),
            coverage=n_good / batch.grid.n_pix,
        )
