"""The card of a model bundle: what its files are, what they were made from, and their limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cempstream.processors.classify import Calibration
from cempstream.processors.grid import LogGrid
from cempstream.processors.outcome import PARAMETERS, SUBCLASSES
from cempstream.processors.purity import PurityTable
from cempstream.processors.regress import IntervalTable, SkyError

#: The graphs that every bundle has, in the order in which they run.
GRAPHS = ("denoise", "features", "classify", "regress")
#: The graph that a bundle may have beside them, which takes photometry.
FUSE = "fuse"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
#: A plain name, which cannot lead out of its folder.
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Probability = Annotated[float, Field(gt=0.0, lt=1.0)]

#: Smallest S/N per Å of the training spectra of every bundle so far.
TRAINED_SNR_PER_AA = 3.0


class _Part(BaseModel):
    """A frozen part of a card; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class GridCard(_Part):
    """The logarithmic vacuum grid on which the graphs work."""

    log10_start: float
    log10_step: float
    n_pix: int

    @property
    def grid(self) -> LogGrid:
        """Return the grid in the processors' form."""
        return LogGrid(self.log10_start, self.log10_step, self.n_pix)


class ArrayCard(_Part):
    """An input or output of a graph; a dimension is a number, or the name of a dynamic axis."""

    name: str
    shape: tuple[int | str, ...]
    dtype: Literal["float32"] = "float32"


class GraphCard(_Part):
    """One ONNX file."""

    file: FileName
    sha256: Sha256
    inputs: tuple[ArrayCard, ...]
    outputs: tuple[ArrayCard, ...]
    mflop: float = Field(description="floating-point operations per spectrum in millions, 2 × MAC")


class TemplatesCard(_Part):
    """The templates' file."""

    file: FileName
    sha256: Sha256
    n_templates: int
    n_velocity: int


class ParameterCard(_Part):
    """One regressed parameter and the range in which the bundle was trained."""

    name: str
    unit: str
    low: float
    high: float


class CalibrationCard(_Part):
    """The calibrated logit at the prior is scale · logit + offset."""

    scale: float = Field(gt=0.0)
    offset: float
    prior: Probability

    @property
    def calibration(self) -> Calibration:
        """Return the calibration in the processors' form."""
        return Calibration(self.scale, self.offset, self.prior)


class ThresholdCard(_Part):
    """Smallest p_cemp for an alert at a prior, with the result on held-out spectra."""

    prior: Probability
    threshold: Probability
    recall: float
    purity: float
    observed_from: Probability | None = Field(
        default=None, description="p_cemp below which a spectrum need not be added to others of its star"
    )
    observed_dropped: float | None = Field(
        default=None, description="share of the other sources of S/N 10 and more that this leaves out"
    )


class PurityPointCard(_Part):
    """A threshold within a bin of S/N and what it gave; intervals are 95 %."""

    threshold: Probability
    purity: float
    low: float
    high: float
    recall: float
    false_rate: float
    effective_negatives: int


class PurityBinCard(_Part):
    """A bin of S/N per Å with its operating points, by increasing threshold."""

    snr_from: float = Field(description="S/N per Å")
    points: tuple[PurityPointCard, ...] = Field(min_length=1)


class PurityCard(_Part):
    """How many of the alerts are right, within bins of S/N.

    Attributes
    ----------
    snr_per_aa
        S/N that a result gives, per pixel of the models' grid, over the S/N per Å of the spectrum.
    bins
        Each ends where the next begins.
    """

    prior: Probability
    snr_per_aa: float = Field(gt=0.0)
    sample: str
    bins: tuple[PurityBinCard, ...] = Field(min_length=1)

    @property
    def table(self) -> PurityTable:
        """Return the table in the processors' form."""
        n_points = max(len(one.points) for one in self.bins)
        columns = {}
        for name in ("threshold", "recall", "false_rate"):
            column = np.full((len(self.bins), n_points), np.nan)
            for row, one in enumerate(self.bins):
                column[row, : len(one.points)] = [getattr(point, name) for point in one.points]
            columns[name] = column
        edges = np.array([one.snr_from for one in self.bins[1:]]) * self.snr_per_aa
        return PurityTable(self.prior, edges, **columns)


class ModelErrorCard(_Part):
    """The model's own error on real stars, added to intervals in quadrature.

    Attributes
    ----------
    sigma
        1σ by giant and dwarf, metal-poor and not, parameter; in their units.
    n_stars
        Real stars that it was fitted on.
    """

    logg_edge: float
    feh_edge: float
    sigma: tuple[tuple[tuple[float, ...], ...], ...]
    n_stars: int


class IntervalCard(_Part):
    """Factors from the network's 1σ to a 68 % interval, per S/N and [Fe/H] bin (Mondrian conformal)."""

    snr_edges: tuple[float, ...]
    feh_edges: tuple[float, ...]
    scale: tuple[tuple[tuple[float, ...], ...], ...]
    model_error: ModelErrorCard | None = None

    @property
    def table(self) -> IntervalTable:
        """Return the factors in the processors' form."""
        error = self.model_error
        return IntervalTable(
            np.array(self.snr_edges),
            np.array(self.feh_edges),
            np.array(self.scale),
            SkyError(error.logg_edge, error.feh_edge, np.array(error.sigma)) if error else None,
        )


class FusedCard(_Part):
    """Calibration of what is said of stars with photometric Teff and log g."""

    cemp: CalibrationCard
    cemp_corrected: CalibrationCard
    intervals: IntervalCard


class OodCard(_Part):
    """Out-of-distribution score above which a spectrum is flagged, and how many stars that flags."""

    threshold: Probability
    cemp_lost: float = Field(description="share of CEMP stars flagged")
    stars_lost: float = Field(description="share of all stars flagged")
    contaminants_found: float


class ScoreCard(_Part):
    """One measured figure: what, on how many spectra, with a 68 % interval by bootstrap over stars."""

    name: str
    value: float
    low: float
    high: float
    n: int
    unit: str = ""
    sample: str


class TrainingCard(_Part):
    """What the bundle was made from; with the code's version, enough to reproduce it."""

    data: tuple[str, ...]
    seed: int
    n_spectra: int
    n_stars: int
    held_out: str
    config: dict[str, int | float | str | bool | None]
    command: str


class Card(_Part):
    """The full description of a bundle.

    Attributes
    ----------
    resolving_power
        λ/FWHM to which sharper spectra are smoothed.
    served
        Smallest and largest λ/FWHM of the spectra that the bundle is meant for.
    low_coverage
        Good fraction of the grid below which a result is flagged.
    parameters
        The parameters in the order of ``PARAMETERS``; some may not be measurable at its resolution.
    attribution_edges_aa
        Edges of the attribution's bins, vacuum Å, rest frame.
    """

    name: str
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    code_version: str
    training: TrainingCard
    grid: GridCard
    resolving_power: float
    served: tuple[float, float]
    sigma_pix: float
    low_coverage: float = 0.7
    graphs: dict[str, GraphCard]
    templates: TemplatesCard
    subclasses: tuple[str, ...]
    parameters: tuple[ParameterCard, ...]
    label_system: Literal["1D_LTE"] = "1D_LTE"
    abundances: Literal["Asplund2009"] = "Asplund2009"
    cemp: CalibrationCard
    cemp_corrected: CalibrationCard
    thresholds: tuple[ThresholdCard, ...]
    purity: PurityCard | None = None
    intervals: IntervalCard
    fused: FusedCard | None = None
    ood: OodCard
    attribution_edges_aa: tuple[float, ...]
    weaknesses: tuple[str, ...]
    scores: tuple[ScoreCard, ...]

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Card:
        if (names := tuple(self.graphs)) not in (GRAPHS, (*GRAPHS, FUSE)):
            raise ValueError(f"the graphs are {names}; they must be {GRAPHS}, and may be '{FUSE}' as well")
        if (FUSE in self.graphs) != (self.fused is not None):
            raise ValueError(f"the graph '{FUSE}' and its calibration 'fused' go together; one is missing")
        if self.subclasses != SUBCLASSES:
            raise ValueError(f"the subclasses are {self.subclasses}; this code serves {SUBCLASSES}")
        names = tuple(parameter.name for parameter in self.parameters)
        if not names or names != tuple(name for name in PARAMETERS if name in names):
            raise ValueError(f"the parameters are {names}; this code serves {PARAMETERS}")
        if not self.thresholds:
            raise ValueError("no threshold is given; at least one prior needs one")
        for part in (self, self.fused):
            if part is not None:
                part.intervals.table  # noqa: B018 - checks its shape
        if self.purity is not None:
            self.purity.table  # noqa: B018 - checks its order
        return self

    @property
    def trained_snr(self) -> float:
        """Return the smallest S/N of the training spectra, per pixel of the grid; 0 where it is not known."""
        return 0.0 if self.purity is None else TRAINED_SNR_PER_AA * self.purity.snr_per_aa

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """Return the parameters that the bundle does not measure."""
        measured = {parameter.name for parameter in self.parameters}
        return tuple(name for name in PARAMETERS if name not in measured)

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Return the trained range of each parameter by its name."""
        return {parameter.name: (parameter.low, parameter.high) for parameter in self.parameters}

    def threshold(self, prior: float) -> float:
        """Return the threshold at a prior, interpolated between the card's priors in the logits of both."""
        return _interpolated({t.prior: t.threshold for t in self.thresholds}, prior)

    def observed_from(self, prior: float) -> float | None:
        """Return the p_cemp at a prior from which a spectrum may add to its star; None where untold."""
        told = {t.prior: t.observed_from for t in self.thresholds if t.observed_from is not None}
        return _interpolated(told, prior) if told else None


def _interpolated(by_prior: Mapping[float, float], prior: float) -> float:
    """Interpolate between the logits of both."""
    rows = sorted((_logit(known), _logit(p)) for known, p in by_prior.items())
    priors, ps = zip(*rows, strict=True)
    return float(1.0 / (1.0 + np.exp(-np.interp(_logit(prior), priors, ps))))


def _logit(p: float) -> float:
    return float(np.log(p / (1.0 - p)))
