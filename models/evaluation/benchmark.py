"""The open benchmark: simulated sets that never change, and the figures of anybody's predictions for them.

A set is a night of one survey in the halo mix, of stars that no bundle was trained on, with its truth. Who
takes part trains on whatever else there is; that the truth is known is a matter of trust.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from pydantic import BaseModel, ConfigDict, TypeAdapter
from scipy.stats import bootstrap

from cempstream.errors import FixableError
from cempstream.models.simulator import load_mix, load_profile
from cempstream.models.simulator.night_files import TruthFile, write_night
from cempstream.models.simulator.simulator import simulate
from cempstream.processors.grid import Array

SETS = Path(__file__).with_name("benchmark.toml")

#: Labels that may be predicted, each with the unit of its errors.
LABELS = {"teff": "K", "logg": "dex", "feh": "dex", "cfe": "dex", "ac": "dex"}

_N_REPLICAS = 200
_SEED = 1


class BenchmarkError(FixableError, ValueError):
    """A set or a table of predictions is not what it should be; the message says what would be right."""


class BenchmarkSet(BaseModel):
    """One set, as `SETS` lists it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    survey: str
    mix: str
    n: int
    seed: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a set, with its 95 % interval and the number of spectra that it stands on."""

    name: str
    unit: str
    value: float
    lo: float
    hi: float
    n: int


def benchmark_sets() -> dict[str, BenchmarkSet]:
    """Return the sets by name."""
    listed = tomllib.loads(SETS.read_text(encoding="utf-8"))["set"]
    return {one.name: one for one in TypeAdapter(list[BenchmarkSet]).validate_python(listed)}


def write_set(one: BenchmarkSet, folder: Path) -> tuple[Path, Path, str]:
    """Simulate a set; return the files of spectra and truth, and the sha256 of the first."""
    spectra, truth = folder / f"{one.name}.npz", folder / f"{one.name}.truth.csv"
    profile = load_profile(one.survey)
    with TruthFile(truth) as truth_file:

        def batches() -> Any:
            for batch in simulate(profile, one.n, one.seed, load_mix(one.mix)):
                yield batch
                truth_file.write(batch.truth)

        write_night(spectra, profile, one.n, batches())
    with spectra.open("rb") as file:
        digest = sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return spectra, truth, digest.hexdigest()


def score_predictions(predictions: Table, truth: Table) -> list[Figure]:
    """Return the figures of predictions.

    Parameters
    ----------
    predictions
        Columns ``spectrum_id`` and ``p_cemp``, from 0 to 1; if they are there ``is_candidate``, the labels of
        `LABELS`, and each label's 68 % interval as ``<label>_lo`` and ``<label>_hi``. A spectrum that is
        missing, or without a number, is one without an answer: its p is 0, and its labels do not count.
    truth
        Of the set, as `write_set` writes it.

    Raises
    ------
    BenchmarkError
        A column or a value is not what it should be.
    """
    from sklearn import metrics

    row = _rows(predictions, truth)
    said = np.where(row >= 0, _numbers(predictions, "p_cemp")[row], np.nan)
    p = np.nan_to_num(said)
    if not np.all((p >= 0) & (p <= 1)):
        raise BenchmarkError(f"'p_cemp' has {p.min():g} to {p.max():g}; it must lie between 0 and 1")
    is_cemp = _flags(truth, "is_cemp")
    says_so = p >= 0.5
    if "is_candidate" in predictions.colnames:
        says_so = (row >= 0) & _flags(predictions, "is_candidate")[row]
    decided = (
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
        ("f1", metrics.f1_score),
    )
    figures = [
        _figure("answered", "", lambda answered: float(answered.mean()), np.isfinite(said)),
        _figure("auc", "", metrics.roc_auc_score, is_cemp, p),
        _figure("average_precision", "", metrics.average_precision_score, is_cemp, p),
        *(_figure(name, "", partial(score, zero_division=0), is_cemp, says_so) for name, score in decided),
    ]
    for label, unit in LABELS.items():
        if label in predictions.colnames:
            figures += _label_figures(label, unit, predictions, truth, row)
    return figures


def _label_figures(label: str, unit: str, predictions: Table, truth: Table, row: Array) -> list[Figure]:
    """Return error, bias and coverage of a label, of the metal-poor stars that have both."""
    true = _numbers(truth, label)
    found = np.where(row >= 0, _numbers(predictions, label)[row], np.nan)
    is_used = np.isfinite(true) & np.isfinite(found) & (_numbers(truth, "feh") < -1)
    error = (found - true)[is_used]
    if not error.size:
        return []
    figures = [
        _figure(f"{label}_mae", unit, lambda e: float(np.abs(e).mean()), error),
        _figure(f"{label}_rmse", unit, lambda e: math.sqrt(float((e**2).mean())), error),
        _figure(f"{label}_bias", unit, lambda e: float(e.mean()), error),
    ]
    if {f"{label}_lo", f"{label}_hi"} <= set(predictions.colnames):
        lo, hi = (_numbers(predictions, f"{label}_{end}")[row][is_used] for end in ("lo", "hi"))
        is_inside = (lo <= true[is_used]) & (true[is_used] <= hi)
        figures.append(_figure(f"{label}_coverage", "", lambda inside: float(inside.mean()), is_inside))
    return figures


def _figure(name: str, unit: str, measure: Callable[..., float], *columns: Array) -> Figure:
    """Return a figure with its interval: percentiles of bootstrap samples of the spectra."""
    value = float(measure(*columns))
    replicas = bootstrap(
        columns,
        lambda *drawn: _or_nan(measure, *drawn),
        n_resamples=_N_REPLICAS,
        paired=len(columns) > 1,
        vectorized=False,
        method="percentile",
        rng=_SEED,
    ).bootstrap_distribution
    lo, hi = np.nanpercentile(replicas, [2.5, 97.5]) if np.isfinite(replicas).any() else (math.nan, math.nan)
    return Figure(name, unit, value, float(lo), float(hi), len(columns[0]))


def _or_nan(measure: Callable[..., float], *drawn: Array) -> float:
    """Return NaN for a sample without CEMP stars, or of nothing else: it has no AUC."""
    if len(drawn) > 1 and len(np.unique(drawn[0])) < 2:
        return math.nan
    return float(measure(*drawn))


def _rows(predictions: Table, truth: Table) -> Array:
    """Return the row of each true spectrum among the predictions, -1 where it is missing."""
    for name in ("spectrum_id", "p_cemp"):
        if name not in predictions.colnames:
            raise BenchmarkError(f"there is no column '{name}'; there are {', '.join(predictions.colnames)}")
    ids = [str(name) for name in predictions["spectrum_id"]]
    place = {name: i for i, name in enumerate(ids)}
    if len(place) < len(ids):
        twice = next(name for i, name in enumerate(ids) if place[name] != i)
        raise BenchmarkError(f"spectrum_id '{twice}' stands twice; a spectrum has one prediction")
    known = {str(name) for name in truth["spectrum_id"]}
    if strange := [name for name in ids if name not in known]:
        raise BenchmarkError(
            f"spectrum_id '{strange[0]}' and {len(strange) - 1} more are not of this set; is it another's?"
        )
    return np.array([place.get(str(name), -1) for name in truth["spectrum_id"]])


def _numbers(table: Table, name: str) -> Array:
    """Return a column as numbers; NaN where a cell is empty."""
    column = np.ma.asarray(table[name])
    if np.ma.getmaskarray(column).all():
        return np.full(len(column), np.nan)
    try:
        return np.asarray(np.ma.filled(column.astype(np.float64), np.nan))
    except ValueError:
        raise BenchmarkError(f"'{name}' holds text; numbers, or empty cells, would be right") from None


def _flags(table: Table, name: str) -> Array:
    return np.array([str(value).lower() in ("true", "1") for value in table[name]])
