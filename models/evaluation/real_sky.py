"""Results of a bundle on real spectra: libraries with known parameters, survey stars and contaminants.

These spectra must not be used for training or tuning, as they are the only real test.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from cempstream.models.evaluation.slit import as_blue_slit
from cempstream.processors.grid import Array
from cempstream.processors.outcome import Classification
from cempstream.processors.readers import expand_paths, read_spectra
from cempstream.processors.spectrum import BadSpectrum, Flag, Spectrum

#: Spectra to results, one each, in their order.
ScoreSpectra: TypeAlias = Callable[[Sequence[Spectrum]], Sequence[Classification | BadSpectrum]]

#: The CEMP star of the MILES development half.
MILES_CEMP = "HD187216"

#: Temperatures at which the library's [Fe/H] can be compared with ours, DESIGN.md section 7.
MILES_TEFF = (4000.0, 6800.0)

_BATCH = 64


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    Attributes
    ----------
    error
        1σ of a mean (by its scatter) or of a share (Wilson's half interval); NaN for a single star's value.
    detail
        Names or classes to inspect.
    """

    sample: str
    name: str
    value: float
    error: float
    n: int
    detail: str = ""


def check_real_sky(score: ScoreSpectra, folder: Path) -> list[Figure]:
    """Measure all sets that are in the folder of real spectra."""
    figures: list[Figure] = []
    for file, measure in (
        ("miles_dev", _miles),
        ("metal_poor_benchmarks", _benchmarks),
        ("rrlyr", _rr_lyrae),
    ):
        if (folder / f"{file}.npz").is_file():
            rows = _rows(folder / f"{file}.csv")
            spectra = list(read_spectra(folder / f"{file}.npz"))
            figures += measure(score_all(score, spectra), rows, "")
            if file != "rrlyr":  # these already are blue slit spectra
                rng = np.random.default_rng(1)
                slit = [as_blue_slit(s, rng) if isinstance(s, Spectrum) else s for s in spectra]
                figures += measure(score_all(score, slit), rows, " as a blue slit")
    for survey in ("lamost", "sdss", "desi"):
        if (folder / survey).is_dir():
            stream = (s for path in expand_paths([folder / survey]) for s in read_spectra(path))
            figures += _survey(survey, score_all(score, stream))
    return figures


def score_all(score: ScoreSpectra, spectra: Iterable[object]) -> list[Classification | None]:
    """Score spectra in batches; None where a spectrum was bad."""
    batch: list[Spectrum] = []
    results: list[Classification | None] = []
    places: list[int] = []

    def flush() -> None:
        for place, result in zip(places, score(batch), strict=True):
            results[place] = result if isinstance(result, Classification) else None
        batch.clear()
        places.clear()

    for spectrum in spectra:
        results.append(None)
        if isinstance(spectrum, Spectrum):
            batch.append(spectrum)
            places.append(len(results) - 1)
        if len(batch) == _BATCH:
            flush()
    if batch:
        flush()
    return results


def _miles(results: list[Classification | None], rows: list[dict[str, str]], how: str) -> list[Figure]:
    sample = "MILES" + how
    teff, feh = (np.array([number(row[name]) for row in rows]) for name in ("Teff", "FeH"))
    found = _estimates(results, "feh")
    known = np.isfinite(feh) & np.isfinite(found)
    kept = known & (teff >= MILES_TEFF[0]) & (teff <= MILES_TEFF[1])
    error = found - feh
    figures = [
        mean_figure(sample, "feh_mae", np.abs(error[kept])),
        mean_figure(sample, "feh_bias", error[kept]),
    ]
    for low, high in ((-4.0, -2.0), (-2.0, -1.0), (-1.0, -0.3), (-0.3, 0.6)):
        inside = kept & (feh >= low) & (feh < high)
        figures.append(mean_figure(sample, f"feh_bias {low:g}..{high:g}", error[inside]))
    for low, high in ((4000.0, 4600.0), (4600.0, 5300.0), (5300.0, 6100.0), (6100.0, 6800.0)):
        inside = kept & (teff >= low) & (teff < high)
        figures.append(mean_figure(sample, f"feh_bias {low:g}..{high:g} K", error[inside]))
    figures.append(mean_figure(sample, "teff_mae", np.abs(_estimates(results, "teff") - teff)[kept]))
    is_cemp = np.array([row["name"] == MILES_CEMP for row in rows])
    alarm = _candidates(results)
    names = [
        f"{row['name']}({row['sptype']},{_text(result)})"
        for row, result, on in zip(rows, results, alarm & ~is_cemp, strict=True)
        if on
    ]
    figures.append(share_figure(sample, "false_alarms", alarm[~is_cemp], " ".join(names)))
    for i in np.flatnonzero(is_cemp):
        figures.append(_star(sample, MILES_CEMP, results[i]))
    ood = _flagged(results)
    for name, inside in (
        ("ood 4000..6800 K", kept),
        ("ood < 3800 K", teff < 3800),
        ("ood > 8500 K", teff > 8500),
    ):
        figures.append(share_figure(sample, name, ood[inside]))
    order = np.argsort([-1.0 if r is None or c else -r.p_cemp for r, c in zip(results, is_cemp, strict=True)])
    highest = [f"{rows[i]['name']}({_text(results[i])})" for i in order if not is_cemp[i]][:8]
    figures.append(
        Figure(sample, "highest p of the others", float("nan"), float("nan"), 8, " ".join(highest))
    )
    return figures


def _benchmarks(results: list[Classification | None], rows: list[dict[str, str]], how: str) -> list[Figure]:
    return [
        _star("benchmarks" + how, f"{row['id']} (lit. {row['FeH'][:5]}, {row['CFe'][:5]})", result)
        for row, result in zip(rows, results, strict=True)
    ]


def _rr_lyrae(results: list[Classification | None], rows: list[dict[str, str]], how: str) -> list[Figure]:
    alarm = _candidates(results)
    names = sorted({row["star"] for row, on in zip(rows, alarm, strict=True) if on})
    return [
        share_figure("RR Lyrae", "false_alarms", alarm, " ".join(names)),
        mean_figure("RR Lyrae", "feh", _estimates(results, "feh")),
        share_figure("RR Lyrae", "ood", _flagged(results)),
    ]


def _survey(survey: str, results: list[Classification | None]) -> list[Figure]:
    alarm = _candidates(results)
    names = [
        f"{r.spectrum.spectrum_id}({_text(r)})" for r, on in zip(results, alarm, strict=True) if on and r
    ]
    return [
        share_figure(survey, "candidates", alarm, " ".join(names)),
        share_figure(survey, "ood", _flagged(results)),
        share_figure(survey, "rejected", np.array([r is None for r in results])),
    ]


def _estimates(results: list[Classification | None], name: str) -> Array:
    return np.array([np.nan if r is None else r.parameters[name].value for r in results])


def _candidates(results: list[Classification | None]) -> Array:
    return np.array([r is not None and r.decision.is_candidate for r in results], dtype=bool)


def _flagged(results: list[Classification | None]) -> Array:
    return np.array([r is None or Flag.OUT_OF_DISTRIBUTION in r.flags for r in results], dtype=bool)


def mean_figure(sample: str, name: str, values: Array) -> Figure:
    """Return the mean of the finite values, with its error."""
    values = values[np.isfinite(values)]
    n = values.size
    if n < 2:
        return Figure(sample, name, float("nan"), float("nan"), n)
    return Figure(sample, name, float(values.mean()), float(values.std(ddof=1) / np.sqrt(n)), n)


def share_figure(sample: str, name: str, claims: Array, detail: str = "") -> Figure:
    """Return the share of true values, with Wilson's half interval."""
    n = claims.size
    if n == 0:
        return Figure(sample, name, float("nan"), float("nan"), 0, detail)
    p = float(claims.mean())
    return Figure(sample, name, p, float(np.sqrt(p * (1 - p) / n + 0.25 / n**2) / (1 + 1 / n)), n, detail)


def _star(sample: str, name: str, result: Classification | None) -> Figure:
    if result is None:
        return Figure(sample, f"p {name}", float("nan"), float("nan"), 0, "rejected")
    said = "candidate" if result.decision.is_candidate else "not a candidate"
    return Figure(sample, f"p {name}", result.p_cemp, float("nan"), 1, f"{said}, {_text(result)}")


def _text(result: Classification | None) -> str:
    if result is None:
        return "rejected"
    value = {name: estimate.value for name, estimate in result.parameters.items()}
    return f"p {result.p_cemp:.2g} {value['teff']:.0f} K {value['feh']:+.2f} {value['cfe']:+.2f}"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def number(text: str) -> float:
    """Return a table's number, NaN where a cell holds none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
