"""Errors of the emulator on spectra that it was not trained on, by band and by corner of label space."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from cempstream.models.emulator.emulator import Emulator
from cempstream.models.emulator.grids import line_spread_matrix
from cempstream.models.training.emulator.stellar_library import Library
from cempstream.processors.grid import Array, LogGrid

#: The grid and resolving power of the ``mid`` models, to the ends of the library.
REPORT_GRID = LogGrid(3.5614, 1e-4, 4364)
REPORT_RESOLVING_POWER = 1800.0

#: Limits of |Δ norm| on held-out stars.
MEDIAN_LIMIT, P95_LIMIT, P95_BAND_LIMIT = 0.0025, 0.012, 0.03

#: Vacuum Å.
BANDS = {
    "Ca K": (3925.0, 3945.0),
    "CH G": (4281.0, 4317.0),
    "C2 4737": (4651.0, 4741.0),
    "C2 5165": (5030.0, 5167.0),
    "CN 3883": (3847.0, 3885.0),
    "Mg b": (5162.0, 5194.0),
    "Hβ": (4849.0, 4878.0),
    "Ba II 4554": (4550.0, 4560.0),
}


@dataclass(frozen=True, slots=True)
class EmulatorError:
    """|Δ normalised flux| over the pixels of ``n_spec`` held-out stars."""

    where: str
    n_spec: int
    median: float
    p95: float


def score_held_out(emulator: Emulator, library: Library) -> list[EmulatorError]:
    """Compare the emulator at R = 1800 with the held-out stars that have the lines which it serves.

    All pixels and bands are judged on stars that fill label space evenly, corners on every star: a stratum
    added where the emulator is worst would otherwise make the whole look worse.
    """
    is_served = library.is_cleaned == (emulator.card["library"]["lines"] == "cleaned")
    held_out = library.is_held_out & is_served & ~library.is_estimated
    labels = library.labels[held_out]
    matrix = line_spread_matrix(REPORT_GRID, REPORT_RESOLVING_POWER)
    truth = (matrix @ library.norm[held_out].T).T
    error = np.abs(emulator.at(REPORT_RESOLVING_POWER, REPORT_GRID)(labels).norm - truth)
    even = ~library.is_stratum[held_out]
    scores = [_score("all pixels", error, even)]
    for name, (low, high) in BANDS.items():
        inside = (REPORT_GRID.wave >= low) & (REPORT_GRID.wave <= high)
        scores.append(_score(name, error[:, inside], even))
    scores += [_score(name, error, members) for name, members in corners(labels).items()]
    return scores


def corners(labels: Array) -> dict[str, Array]:
    """Return parts of label space by name, each a bool array of shape ``(n,)``."""
    teff, logg, feh, cfe, _, ofe = labels[:, :6].T
    # Solar C/O is 0.55: above this [C/O] carbon outnumbers oxygen.
    is_carbon_star = cfe - ofe > 0.26
    is_cemp = (feh < -1) & (cfe >= 0.7)
    return {
        "CEMP": is_cemp,
        "CEMP, Teff > 4500 K": is_cemp & (teff > 4500),
        "CEMP giants 4500-5500 K": is_cemp & (teff > 4500) & (teff < 5500) & (logg < 3),
        "CEMP turn-off > 5800 K": is_cemp & (teff > 5800),
        "metal-poor, carbon-normal": (feh < -1) & (cfe < 0.7),
        "[Fe/H] > -1, carbon-normal": (feh >= -1) & (cfe < 0.3),
        "Teff < 4500 K, C/O < 1": (teff <= 4500) & ~is_carbon_star,
        "Teff < 4500 K, C/O > 1": (teff <= 4500) & is_carbon_star,
        "Teff > 4500 K": teff > 4500,
        "[Fe/H] < -3": feh < -3,
    }


def as_table(scores: list[EmulatorError]) -> list[dict[str, object]]:
    """Return the scores as rows for the card, rounded to what they mean; None where there are no stars."""
    return [{**asdict(s), "median": _rounded(s.median), "p95": _rounded(s.p95)} for s in scores]


def check_bars(scores: list[EmulatorError]) -> list[dict[str, object]]:
    """Return what is asked of the emulator, what it reaches and whether that is enough."""
    by_name = {score.where: score for score in scores}
    overall = by_name["all pixels"]
    worst = max((by_name[name] for name in BANDS), key=lambda score: score.p95)
    return [
        {"what": what, "value": round(value, 5), "limit": limit, "is_met": value <= limit}
        for what, value, limit in (
            ("median of all pixels", overall.median, MEDIAN_LIMIT),
            ("95th percentile of all pixels", overall.p95, P95_LIMIT),
            (f"95th percentile of the worst band ({worst.where})", worst.p95, P95_BAND_LIMIT),
        )
    ]


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 5)


def _score(where: str, error: Array, members: Array) -> EmulatorError:
    chosen = error[members]
    if chosen.size == 0:
        return EmulatorError(where, 0, float("nan"), float("nan"))
    median, p95 = np.percentile(chosen, [50, 95])
    return EmulatorError(where, int(members.sum()), float(median), float(p95))
