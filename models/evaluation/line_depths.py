"""Strong features of real stars against the emulator at literature labels, and the table of Balmer cores.

``python -m cempstream.models.evaluation.line_depths --real FOLDER --out FOLDER`` writes ``features.csv``
(residuals by Teff, log g and [Fe/H]) and ``balmer_deepening.csv``, the table that training uses.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cempstream.models.emulator.emulator import Emulator
from cempstream.models.evaluation.forward import GRID, StarComparison, compare_stars, read_stars
from cempstream.models.training.balmer import BALMER_AIR, CORE_AA, TABLE
from cempstream.processors.grid import Array, air_to_vacuum

#: Windows of the other features, air Å; a feature's level is the mean of its two sidebands.
FEATURES: dict[str, tuple[tuple[float, float], ...]] = {
    "Ca K": ((3925.7, 3941.7), (3903.0, 3920.0), (4000.0, 4020.0)),
    "Ca H": ((3962.5, 3974.5), (3903.0, 3920.0), (4000.0, 4020.0)),
    "Ca 4227": ((4222.25, 4234.75), (4211.0, 4219.75), (4241.0, 4251.0)),
    "CN 3883": ((3846.0, 3883.0), (3760.0, 3780.0), (3894.0, 3910.0)),
    "CN 4142": ((4142.1, 4177.1), (4083.9, 4096.4), (4244.1, 4284.1)),
    "CH G": ((4281.4, 4316.4), (4266.4, 4282.6), (4318.9, 4335.1)),
    "C2 4737": ((4650.0, 4740.0), (4611.5, 4630.3), (4742.8, 4756.5)),
    "C2 5165": ((5028.0, 5165.0), (4985.0, 5025.0), (5210.0, 5250.0)),
    "Mg b": ((5160.1, 5192.6), (5142.6, 5161.4), (5191.4, 5206.4)),
    "Na D": ((5876.9, 5909.4), (5860.6, 5875.7), (5922.1, 5948.1)),
    "Ca T": ((8484.0, 8562.0), (8474.0, 8484.0), (8563.0, 8577.0)),
}
TEFF_BINS = ((3900, 4400), (4400, 4800), (4800, 5200), (5200, 5800), (5800, 6300), (6300, 7000))
LOGG_BINS = ((-1.0, 3.3), (3.3, 6.0))
FEH_BINS = ((-4.5, -1.0), (-1.0, -0.3), (-0.3, 0.6))

#: Nodes of the table in K; hotter stars than the last are as the last.
NODES = np.array([4200.0, 4600.0, 5000.0, 5600.0, 6100.0, 6600.0])
#: In Ca H and in CN: what is seen there is not hydrogen, so it only adds to the scatter.
BLENDED = ("He", "H8")
_SIDES_AA = (12.0, 25.0)
_REFITS = 8
_CLIP = 2.5


def core_depth(flux: Array, wave_aa: Array, centre_air: float) -> Array:
    """Return the depth of a core below its surroundings: mean over ±2.2 Å against that at 12 to 25 Å.

    Parameters
    ----------
    flux
        Flux over a smooth continuum, shape ``(n, n_wave)``; NaN where there is none.
    wave_aa
        Vacuum Å, shape ``(n_wave,)``.
    """
    distance = np.abs(wave_aa - air_to_vacuum(np.array([centre_air]))[0])
    core, sides = distance < CORE_AA, (distance > _SIDES_AA[0]) & (distance < _SIDES_AA[1])
    return np.asarray(flux[:, sides].mean(axis=1) - flux[:, core].mean(axis=1))


def feature_depth(flux: Array, wave_aa: Array, windows: Sequence[tuple[float, float]]) -> Array:
    """Return the mean depth in a window below the mean of its two sidebands (air Å)."""
    means = []
    for window in windows:
        low, high = air_to_vacuum(np.array(window))
        means.append(flux[:, (wave_aa >= low) & (wave_aa <= high)].mean(axis=1))
    return np.asarray(0.5 * (means[1] + means[2]) - means[0])


def residual_depths(comparisons: Sequence[StarComparison]) -> dict[str, Array]:
    """Return observed minus emulated depth of each star, by feature; NaN where it was not observed."""
    observed, emulated = (
        np.stack([getattr(c, name) for c in comparisons]) for name in ("observed", "emulated")
    )
    wave = GRID.wave
    found = {
        name: core_depth(observed, wave, centre) - core_depth(emulated, wave, centre)
        for name, centre in BALMER_AIR.items()
    }
    for name, windows in FEATURES.items():
        found[name] = feature_depth(observed, wave, windows) - feature_depth(emulated, wave, windows)
    return found


def binned(residuals: dict[str, Array], labels: Array, least: int = 3) -> Iterator[dict[str, str]]:
    """Yield median and scatter of each feature in each bin that holds enough stars."""
    teff, logg, feh = labels[:, :3].T
    for name, values in residuals.items():
        for (t0, t1), (g0, g1), (m0, m1) in (
            (t, g, m) for t in TEFF_BINS for g in LOGG_BINS for m in FEH_BINS
        ):
            inside = (teff >= t0) & (teff < t1) & (logg >= g0) & (logg < g1) & (feh >= m0) & (feh < m1)
            kept = values[inside & np.isfinite(values)]
            if kept.size < least:
                continue
            yield {
                "feature": name,
                "teff": f"{t0}..{t1}",
                "logg": f"{g0:g}..{g1:g}",
                "feh": f"{m0:g}..{m1:g}",
                "n": str(kept.size),
                "median": f"{np.median(kept):.3f}",
                "scatter": f"{_spread(kept):.3f}",
            }


def fit_deepening(values: Array, teff: Array, feh: Array) -> tuple[Array, Array, Array]:
    """Fit a deepening that is linear between nodes of Teff, at [Fe/H] = -2 and 0, without outliers.

    Returns
    -------
    tuple
        At the nodes: the value at [Fe/H] = -2, at 0, and the scatter in the cooler and hotter half.
    """
    known = np.isfinite(values)
    values, teff, feh = values[known], teff[known], feh[known]
    basis = np.stack([np.interp(teff, NODES, row) for row in np.eye(NODES.size)], axis=1)
    share = np.clip((feh + 2.0) / 2.0, 0.0, 1.0)[:, None]
    design = np.concatenate([basis * (1.0 - share), basis * share], axis=1)
    # Neighbouring nodes differ little: a weak tie where few stars are.
    n = NODES.size
    tie = np.zeros((2 * (n - 2), 2 * n))
    for half in range(2):
        for i in range(n - 2):
            tie[half * (n - 2) + i, half * n + i : half * n + i + 3] = (0.5, -1.0, 0.5)
    kept = np.ones(values.size, dtype=bool)
    for _ in range(_REFITS):
        left = np.concatenate([design[kept], tie])
        right = np.concatenate([values[kept], np.zeros(len(tie))])
        found = np.linalg.lstsq(left, right, rcond=None)[0]
        error = values - design @ found
        kept = np.abs(error) < _CLIP * _spread(error)
    border = 0.5 * (NODES[2] + NODES[3])
    cool, is_cool_node = teff < border, border > NODES
    scatter = np.where(is_cool_node, *(_spread(error[part]) for part in (cool, ~cool)))
    return found[:n], found[n:], scatter


def _spread(values: Array) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def balmer_rows(residuals: dict[str, Array], labels: Array) -> Iterator[dict[str, str]]:
    """Yield the rows of the table of Balmer cores."""
    teff, feh = labels[:, 0], labels[:, 2]
    for name in BALMER_AIR:
        poor, rich, scatter = fit_deepening(residuals[name], teff, feh)
        if name in BLENDED:
            scatter = np.hypot(scatter, np.abs(np.stack([poor, rich])).mean(axis=0))
            poor, rich = np.zeros_like(poor), np.zeros_like(rich)
        for node, *values in zip(NODES, poor, rich, scatter, strict=True):
            columns = zip(("poor", "rich", "scatter"), (f"{value:.4f}" for value in values), strict=True)
            yield {"line": name, "teff": f"{node:g}", **dict(columns)}


def write_tables(real: Path, out: Path) -> None:
    """Measure the stars of a folder and write both tables."""
    stars, _ = read_stars(real)
    comparisons = compare_stars(stars, Emulator.load())
    labels = np.stack([c.star.labels for c in comparisons])
    residuals = residual_depths(comparisons)
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "features.csv", list(binned(residuals, labels)), "")
    is_miles = np.array([c.star.sample == "miles_dev" for c in comparisons])
    chosen = {name: values[is_miles] for name, values in residuals.items()}
    note = (
        "# Observed minus emulated depth of Balmer cores: mean over +-2.2 A at 2.5 A FWHM, continuum = 1,\n"
        f"# at [Fe/H] = -2 (poor) and 0 (rich), from {int(is_miles.sum())} stars of MILES' development half\n"
        "# (Sanchez-Blazquez et al. 2006; Cenarro et al. 2007). Made by\n"
        "# python -m cempstream.models.evaluation.line_depths --real FOLDER --out FOLDER\n"
    )
    _write(out / TABLE.name, list(balmer_rows(chosen, labels[is_miles])), note)


def _write(path: Path, rows: Sequence[dict[str, str]], note: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        stream.write(note)
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--real", type=Path, required=True, help="folder of miles_dev and the benchmarks")
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    arguments = parser.parse_args()
    write_tables(arguments.real, arguments.out)


if __name__ == "__main__":
    main()
