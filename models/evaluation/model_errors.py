"""The model's own error on the real sky: what a 68 % interval needs beside noise, fitted on real stars.

Simulated stars obey the forward model exactly; real ones do not, and intervals that hold on the first are too
narrow for the second. The error that is missing is found for giants and dwarfs, metal-poor and not: the
smallest that, in quadrature with the interval and with the label's own error, covers 68 % of the stars.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import brentq

from cempstream.models.bundle import CARD_FILE, write_manifest
from cempstream.models.card import Card, ModelErrorCard
from cempstream.models.evaluation.labelled_stars import (
    COMPARED,
    GIANT_LOGG,
    LABEL_ERROR,
    POOR_FEH,
    LabelledStars,
    Residuals,
    residuals,
    seen_as,
    with_photometry,
)
from cempstream.models.evaluation.real_sky import ScoreSpectra
from cempstream.processors.grid import Array
from cempstream.processors.outcome import PARAMETERS

_COVERAGE = 0.68
#: A group of fewer stars takes the error of all.
_FEWEST = 12
_LARGEST = np.array([600.0, 1.5, 1.0, 1.0])


def fit_model_errors(found: Sequence[Residuals]) -> ModelErrorCard:
    """Fit the model's error in each group.

    Parameters
    ----------
    found
        Of the same stars in several views, of intervals without any model error. The view that needs most
        decides: where noise is small the model's error is seen, and it is no smaller elsewhere.
    """
    table = np.max([_missing_by_group(one) for one in found], axis=0)
    feh, cfe, ac = (PARAMETERS.index(name) for name in ("feh", "cfe", "ac"))
    table[..., ac] = np.hypot(table[..., feh], table[..., cfe])
    rounded = np.round(table, 4).tolist()
    return ModelErrorCard(
        logg_edge=GIANT_LOGG,
        feh_edge=POOR_FEH,
        sigma=tuple(tuple(tuple(cell) for cell in line) for line in rounded),
        n_stars=len(found[0].error),
    )


def _missing_by_group(found: Residuals) -> Array:
    giant, poor = found.estimate[:, 1] < GIANT_LOGG, found.estimate[:, 2] < POOR_FEH
    table = np.zeros((2, 2, len(PARAMETERS)))
    for k, name in enumerate(COMPARED):
        error, half = found.error[:, k], found.half[:, k]
        known = np.isfinite(error)
        everyone = _missing(error[known], half[known], k)
        for i, is_giant in enumerate((True, False)):
            for j, is_poor in enumerate((True, False)):
                group = known & (giant == is_giant) & (poor == is_poor)
                enough = group.sum() >= _FEWEST
                value = _missing(error[group], half[group], k) if enough else everyone
                table[i, j, PARAMETERS.index(name)] = value
    return table


def _missing(error: Array, half: Array, k: int) -> float:
    """Return the smallest error that brings the coverage to 68 %, 0 where none is missing."""
    if not error.size:
        return 0.0

    def short(sigma: float) -> float:
        reach = np.sqrt(half**2 + sigma**2 + LABEL_ERROR[k] ** 2)
        return float(np.quantile(np.abs(error) / reach, _COVERAGE)) - 1.0

    if short(0.0) <= 0.0:
        return 0.0
    if short(float(_LARGEST[k])) > 0.0:
        return float(_LARGEST[k])
    return float(brentq(short, 0.0, float(_LARGEST[k]), xtol=1e-4))


def add_model_errors(folder: Path, score: ScoreSpectra, stars: LabelledStars) -> Card:
    """Fit the model's error of a bundle and write it into its card and manifest.

    Parameters
    ----------
    folder
        Of a bundle whose card holds no model error.
    score
        What it says of spectra, as it is served.

    Raises
    ------
    ValueError
        The card holds a model error already: fitted twice it would count twice.
    """
    path = folder / CARD_FILE
    card = Card.model_validate_json(path.read_text(encoding="utf-8"))
    if card.intervals.model_error is not None:
        raise ValueError(f"{path} holds a model error already; train the bundle again to fit another")
    views = seen_as(stars, card.resolving_power)
    alone = fit_model_errors([residuals(score, seen, stars.labels) for seen in views.values()])
    changed = {"intervals": card.intervals.model_copy(update={"model_error": alone})}
    if card.fused is not None:
        fused = fit_model_errors(
            [residuals(score, with_photometry(seen, stars.labels), stars.labels) for seen in views.values()]
        )
        with_it = card.fused.intervals.model_copy(update={"model_error": fused})
        changed["fused"] = card.fused.model_copy(update={"intervals": with_it})  # type: ignore[assignment]
    card = card.model_copy(update=changed)
    text = json.dumps(card.model_dump(mode="json"), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    write_manifest(folder)
    return card
