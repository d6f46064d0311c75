"""Denoise: a noisy normalised spectrum and its ivar in, the clean one out; the raw one is kept."""

from __future__ import annotations

from dataclasses import dataclass

from cempstream.processors.batch import NormalisedBatch
from cempstream.processors.graph import Graph, Tensor


@dataclass(frozen=True, slots=True, eq=False)
class DenoisedBatch:
    """A batch on the models' device.

    Attributes
    ----------
    norm, ivar, clean
        Raw normalised flux, its inverse variance and the denoised flux, shape ``(n_spec, n_pix)``.
    """

    norm: Tensor
    ivar: Tensor
    clean: Tensor


class Denoiser:
    """Run the denoising network on rest-frame spectra.

    Parameters
    ----------
    graph
        Inputs ``norm`` and ``ivar``, output ``clean``.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def __call__(self, batch: NormalisedBatch) -> DenoisedBatch:
        """Denoise a batch."""
        norm, ivar = self.graph.put(batch.norm), self.graph.put(batch.ivar)
        return DenoisedBatch(norm, ivar, self.graph(norm=norm, ivar=ivar)["clean"])
