"""Choose the templates of a bundle: a coarse, diverse set of noise-free spectra after our processors."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cempstream.models.training.augment import Degrader
from cempstream.models.training.computed_contaminants import add_hydrogen, add_tio
from cempstream.models.training.instruments import Instrument
from cempstream.models.training.star_labels import COLUMN
from cempstream.models.training.stars import Stars
from cempstream.processors.grid import Array, vacuum_to_air

#: Labels in which templates are spread, and one unit of each that looks about alike.
_SPREAD = (("teff", 700.0), ("logg", 1.2), ("feh", 0.8), ("cfe", 0.7))
_N_HOT, _N_COOL = 12, 6

#: Teff, log g, [Fe/H], [C/Fe] of the templates used for velocities, beside hot and TiO ones.
_VELOCITY_LABELS = (
    (6800, 4.2, -0.3, 0.0),
    (6400, 4.1, -2.5, 0.3),
    (5800, 4.3, -0.2, 0.0),
    (5200, 2.5, -2.5, 0.2),
    (5000, 4.6, 0.0, 0.0),
    (4700, 1.5, -3.0, 0.3),
    (4700, 2.0, -1.0, 0.0),
    (4300, 1.3, 0.0, 0.0),
    (4200, 4.7, -0.2, 0.0),
    (4700, 1.5, -2.2, 2.2),
    (5400, 3.0, -2.4, 1.8),
    (6200, 3.8, -2.3, 2.2),
)


@dataclass(frozen=True, slots=True, eq=False)
class Templates:
    """Templates of a bundle.

    Attributes
    ----------
    norm
        float16, shape ``(n_templates, n_pix)``, rest frame.
    labels
        float32, shape ``(n_templates, 4)``: Teff, log g, [Fe/H], [C/Fe].
    velocity
        Rows used for cross-correlation.
    """

    norm: Array = field(repr=False)
    labels: Array = field(repr=False)
    velocity: Array


def choose_templates(
    pool: Stars,
    wave: Array,
    continuum_wave: Array,
    degrader: Degrader,
    instrument: Instrument,
    n: int,
    seed: int,
) -> Templates:
    """Choose ``n`` templates from a pool of stars, farthest first in label space, and make hot and M ones."""
    rng = np.random.default_rng(seed)
    wave_air = vacuum_to_air(wave)
    columns = [COLUMN[name] for name, _ in _SPREAD]
    scaled = pool.labels[:, columns] / np.array([unit for _, unit in _SPREAD])
    wanted = np.array(_VELOCITY_LABELS) / np.array([unit for _, unit in _SPREAD])
    first = [int(np.argmin(np.sum((scaled - point) ** 2, axis=1))) for point in wanted]
    chosen = list(dict.fromkeys(first))
    n_velocity = len(chosen)
    distance = np.min([np.sum((scaled - scaled[row]) ** 2, axis=1) for row in chosen], axis=0)
    while len(chosen) < n - _N_HOT - _N_COOL:
        row = int(distance.argmax())
        chosen.append(row)
        distance = np.minimum(distance, np.sum((scaled - scaled[row]) ** 2, axis=1))
    norm, cont, labels = pool.norm[chosen], pool.continuum[chosen], pool.labels[chosen][:, columns]
    hot_norm, hot_labels = _hot(wave_air, rng)
    cool_norm, cool_labels = _cool(pool, wave_air, rng)
    flat = np.ones((_N_HOT + _N_COOL, cont.shape[1]), dtype=np.float32)
    stars = Stars(
        np.zeros((n, pool.labels.shape[1])),
        np.concatenate([norm, hot_norm, cool_norm]).astype(np.float32),
        np.concatenate([cont, flat]),
    )
    rest = degrader.noise_free(stars, wave, continuum_wave, instrument)
    velocity = [*range(n_velocity), *range(n - _N_HOT - _N_COOL, n, 5)]
    return Templates(
        rest.astype(np.float16),
        np.concatenate([labels, hot_labels, cool_labels]).astype(np.float32),
        np.array(velocity, dtype=np.int64),
    )


def _hot(wave_air: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Stars of 7500 to 20,000 K: hydrogen alone, narrower and shallower with temperature."""
    teff = np.linspace(7500, 20000, _N_HOT)
    depth = np.interp(teff, [7500, 9500, 20000], [0.65, 0.75, 0.45])
    width = np.where(np.arange(_N_HOT) % 2 == 0, 10.0, 5.0)
    norm = [
        add_hydrogen(np.ones_like(wave_air), wave_air, d, w, rng) for d, w in zip(depth, width, strict=True)
    ]
    logg = np.where(width > 7, 4.0, 3.0)
    # Their abundances are unknown: NaN.
    return np.stack(norm), np.stack([teff, logg, np.full(_N_HOT, np.nan), np.full(_N_HOT, np.nan)], axis=1)


def _cool(pool: Stars, wave_air: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Stars with TiO, on the coolest metal-rich star of the pool."""
    teff, feh = pool.labels[:, COLUMN["teff"]], pool.labels[:, COLUMN["feh"]]
    base = pool.norm[int(np.argmin(np.abs(teff - 3950) / 200 + np.abs(feh)))]
    strength = np.linspace(0.06, 0.6, _N_COOL)
    norm = [add_tio(base, wave_air, s, rng) for s in strength]
    labels = np.stack([3900 - 1000 * strength, np.full(_N_COOL, 4.0), np.zeros(_N_COOL), np.zeros(_N_COOL)])
    return np.stack(norm), labels.T
