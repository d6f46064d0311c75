"""The baselines that the networks must beat: a cut in two line indices, and gradient-boosted trees on all.

Both read what the service measures anyway; neither needs more than numpy and ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cempstream.models.bundle import BundleError
from cempstream.models.card import CalibrationCard
from cempstream.processors.grid import Array

#: Baselines that come with the package, ``trees-<bundle>.onnx`` with a card beside it.
BASELINES = Path(__file__).parent / "baselines"

_CUT_INDICES = ("gpe", "egp")
_MAX_FEH = -1.0
#: Temperatures within which the cut is defined, K.
_TEFF_RANGE = (4000.0, 7000.0)


class CutCard(BaseModel):
    """GPE and EGP of carbon-normal stars as a function of the nearest template, and their scatter.

    Attributes
    ----------
    coefficient
        Per index: of 1, θ, θ², [Fe/H], θ [Fe/H] with θ = 5040 K / Teff.
    scatter
        Per index: robust 1σ about it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    coefficient: dict[str, tuple[float, ...]]
    scatter: dict[str, Annotated[float, Field(gt=0.0)]]


class TreesCard(BaseModel):
    """The card of the trees: their file and what it was made from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: str
    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    features: tuple[str, ...]
    n_trees: int
    depth: int
    calibration: CalibrationCard
    cut: CutCard
    surveys: tuple[str, ...]
    n_spectra: int
    n_cemp: int
    seed: int
    note: str


def cut_terms(teff: Array, feh: Array) -> Array:
    """Return the terms of the carbon-normal locus, shape ``(n, 5)``."""
    theta = 5040.0 / np.clip(teff, *_TEFF_RANGE)
    return np.stack([np.ones_like(theta), theta, theta**2, feh, theta * feh], axis=1)


def index_cut(lines: Array, names: Sequence[str], template: Array, card: CutCard) -> Array:
    """Score spectra by how far GPE and EGP lie above the locus of carbon-normal stars.

    The nearest template gives temperature and metallicity. The smaller excess of the two counts, in units of
    the locus' scatter; stars whose template has [Fe/H] ≥ -1, and those without the indices, score lowest
    (after Placco et al. 2011, with templates instead of colours).

    Parameters
    ----------
    lines
        Line indices, shape ``(n, n_lines)``.
    template
        Teff, log g, [Fe/H] … of the nearest template, shape ``(n, >= 3)``.

    Returns
    -------
    Array
        Shape ``(n,)``.
    """
    terms = cut_terms(template[:, 0].astype(np.float64), template[:, 2].astype(np.float64))
    excess = []
    for name in _CUT_INDICES:
        expected = terms @ np.array(card.coefficient[name])
        excess.append((lines[:, list(names).index(name)] - expected) / card.scatter[name])
    score = np.minimum(*excess)
    is_valid = np.isfinite(score) & (template[:, 2] < _MAX_FEH)
    return np.where(is_valid, score, -100.0)


def fit_cut(lines: Array, names: Sequence[str], template: Array, is_normal: Array) -> CutCard:
    """Fit the locus of carbon-normal metal-poor stars by least squares, outliers clipped at 3σ."""
    rows = is_normal & (template[:, 2] < _MAX_FEH)
    coefficient, scatter = {}, {}
    for name in _CUT_INDICES:
        value = lines[:, list(names).index(name)].astype(np.float64)
        used = rows & np.isfinite(value) & np.isfinite(template[:, :3]).all(axis=1)
        terms = cut_terms(template[used, 0].astype(np.float64), template[used, 2].astype(np.float64))
        y, keep = value[used], np.ones(int(used.sum()), dtype=bool)
        for _ in range(4):
            best = np.linalg.lstsq(terms[keep], y[keep], rcond=None)[0]
            residual = y - terms @ best
            sigma = 1.4826 * float(np.median(np.abs(residual[keep] - np.median(residual[keep]))))
            keep = np.abs(residual) < 3 * sigma
        coefficient[name] = tuple(float(f"{c:.6g}") for c in best)
        scatter[name] = float(f"{sigma:.6g}")
    return CutCard(coefficient=coefficient, scatter=scatter)


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """Gradient-boosted trees on line indices and S/N, in ONNX Runtime."""

    card: TreesCard
    model: bytes = field(repr=False)

    @classmethod
    def load(cls, bundle: str, folder: Path = BASELINES) -> Trees:
        """Read the trees of a bundle.

        Raises
        ------
        FileNotFoundError
            There are none for it.
        BundleError
            The file does not match its card.
        """
        text = (folder / f"trees-{bundle}.json").read_text(encoding="utf-8")
        card = TreesCard.model_validate_json(text)
        model = (folder / card.file).read_bytes()
        if sha256(model).hexdigest() != card.sha256:
            raise BundleError(f"{folder / card.file} is not the file that its card describes")
        return cls(card, model)

    def __call__(self, lines: Array, names: Sequence[str], snr: Array, prior: float) -> Array:
        """Return the calibrated probability of CEMP at a prior, shape ``(n,)``."""
        logit = tree_logit(self.model, tree_features(lines, names, snr, self.card.features))
        return self.card.calibration.calibration(logit, prior)


def tree_features(lines: Array, names: Sequence[str], snr: Array, features: Sequence[str]) -> Array:
    """Return the trees' inputs, float32; unmeasured values are NaN, which trees accept."""
    known = {name: lines[:, i] for i, name in enumerate(names)} | {"log_snr": np.log(np.maximum(snr, 0.1))}
    return np.stack([known[name] for name in features], axis=1).astype(np.float32)


def tree_logit(model: bytes, features: Array) -> Array:
    """Run the trees; shape ``(n,)``."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    probability = session.run(["probabilities"], {session.get_inputs()[0].name: features})[0][:, 1]
    p = np.clip(probability.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.asarray(np.log(p / (1 - p)))
