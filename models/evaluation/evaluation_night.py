"""A simulated night for counting rare false alarms: natural shares, all dangerous kinds kept.

A rate of 3e-5 cannot be measured on a thousand spectra. Millions of sources are drawn in their natural
shares, which takes seconds; the share kept of each kind depends on how often it is mistaken for a CEMP star,
and each kept source is weighted to represent the others (importance sampling).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cempstream.models.carbon_evolution import carbon_correction
from cempstream.models.emulator.emulator import Emulator
from cempstream.models.simulator import (
    Mix,
    Observed,
    SimulatedBatch,
    Sources,
    Strata,
    SurveyProfile,
    draw_sources,
    load_profile,
    simulate,
)
from cempstream.models.simulator.sources import KIND_CODE
from cempstream.processors.grid import Array

_PILOT_SOURCES = 200_000


@dataclass(frozen=True, slots=True)
class NightStratum:
    """A kind of source and the share of it that is kept."""

    name: str
    share: float


#: From the most to the least dangerous; a source belongs to the first that fits.
NIGHT_STRATA = (
    NightStratum("CEMP", 1.0),
    NightStratum("beside the border", 1.0),
    NightStratum("carbon stars", 1.0),
    NightStratum("metal-poor and hot", 1.0),
    NightStratum("metal-poor, some carbon", 0.06),
    NightStratum("very metal-poor", 0.06),
    NightStratum("metal-poor", 0.006),
    NightStratum("carbon-rich disc", 0.01),
    NightStratum("sky", 1.0),
    NightStratum("galaxies, quasars, broken fibres", 0.012),
    NightStratum("other contaminants", 0.003),
    NightStratum("ordinary", 0.0007),
)
_CODE = {stratum.name: code for code, stratum in enumerate(NIGHT_STRATA)}
_FAINT = [KIND_CODE[kind] for kind in ("galaxy", "quasar", "broken_fibre")]
_CARBON_KINDS = [KIND_CODE[kind] for kind in ("ch_star", "carbon_dwarf", "r_star")]


@dataclass(frozen=True, slots=True)
class NightStrata(Strata):
    """The strata of an evaluation night; the shares are in ``NIGHT_STRATA``."""

    def kept(self, sources: Sources) -> Array:
        """Return the share kept of the stratum of each source."""
        return np.array([stratum.share for stratum in NIGHT_STRATA])[stratum_of(sources)]


def stratum_of(sources: Sources) -> Array:
    """Return the index into ``NIGHT_STRATA`` of each source."""
    return _stratum(sources.labels, sources.is_star, sources.kind)


def stratum_of_truth(truth: Array) -> Array:
    """Return the index into ``NIGHT_STRATA`` of each row of a simulated truth."""
    labels = np.stack([truth[n].astype(np.float64) for n in ("teff", "logg", "feh", "cfe")], axis=1)
    kind = np.array([KIND_CODE[str(kind)] for kind in truth["kind"]])
    return _stratum(np.nan_to_num(labels), np.isfinite(truth["teff"]), kind)


def _stratum(labels: Array, is_star: Array, kind: Array) -> Array:
    teff, logg, feh, cfe = labels[:, :4].T
    corrected = cfe + carbon_correction(logg, feh, cfe)
    conditions = {
        "sky": kind == KIND_CODE["sky"],
        "galaxies, quasars, broken fibres": np.isin(kind, _FAINT),
        "other contaminants": ~is_star,
        "CEMP": (feh < -1.0) & (cfe >= 0.7),
        "beside the border": (feh < -0.8) & ((cfe > 0.35) | (corrected >= 0.7)),
        "carbon stars": (cfe > 0.7) | np.isin(kind, _CARBON_KINDS),
        "metal-poor and hot": (feh < -1.3) & (teff > 5900),
        "metal-poor, some carbon": (feh < -1.0) & (cfe > 0.15),
        "very metal-poor": feh < -1.3,
        "metal-poor": feh < -0.8,
        "carbon-rich disc": cfe > 0.45,
    }
    codes = [_CODE[name] for name in conditions]
    return np.select(list(conditions.values()), codes, _CODE["ordinary"])


def night_batches(
    surveys: Sequence[str], n_natural: int, seed: int, mix: Mix, emulator: Emulator
) -> Iterator[SimulatedBatch]:
    """Simulate a night of about ``n_natural`` natural sources, shared evenly by the surveys.

    A survey's gratings are taken one by one: ``csst:GV`` is one of them.
    """
    pilot = NightStrata().kept(draw_sources(_PILOT_SOURCES, mix, np.random.default_rng(seed)))
    n_each = int(np.ceil(n_natural / len(surveys) * pilot.mean()))
    for i, survey in enumerate(surveys):
        yield from simulate(
            profile_of(survey), n_each, seed + i, mix, strata=NightStrata(), emulator=emulator
        )


def profile_of(survey: str) -> SurveyProfile:
    """Return a survey's profile, of one grating where the name says which."""
    name, _, grating = survey.partition(":")
    profile = load_profile(name)
    if not grating:
        return profile
    chosen = tuple(g for g in profile.grating if g.name == grating)
    return profile.model_copy(update={"grating": chosen})


def kept_batches(folder: Path, make: Callable[[], Iterable[SimulatedBatch]]) -> Iterator[SimulatedBatch]:
    """Yield the spectra of a night from a folder, or simulate and store them there.

    The same night tests every version of a bundle, and simulating takes three times as long as scoring.
    """
    complete = folder / "complete"
    if complete.is_file():
        for path in sorted(folder.glob("*.npz")):
            yield _read_batch(path)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for number, batch in enumerate(make()):
        seen = batch.observed
        arrays: dict[str, Any] = {name: getattr(seen, name) for name in ("flux", "ivar", "mask", "snr")}
        arrays |= {"resolving_power": seen.resolving_power, "truth": batch.truth}
        arrays |= {"position_deg": batch.position_deg, "exposure_id": batch.exposure_id}
        arrays |= {"survey": batch.profile.survey, "grating": batch.grating.name}
        if seen.contamination is not None:
            arrays["contamination"] = seen.contamination
        np.savez(folder / f"{number:05d}.npz", **arrays)
        yield batch
    complete.touch()


def _read_batch(path: Path) -> SimulatedBatch:
    with np.load(path, allow_pickle=False) as kept:
        power = kept["resolving_power"]
        seen = Observed(
            flux=kept["flux"],
            ivar=kept["ivar"],
            mask=kept["mask"],
            resolving_power=float(power) if power.ndim == 0 else power,
            contamination=kept.get("contamination"),
            snr=kept["snr"],
        )
        survey, grating = str(kept["survey"]), str(kept["grating"])
        profile = profile_of(f"{survey}:{grating}" if grating else survey)
        return SimulatedBatch(
            profile, profile.grating[0], str(kept["exposure_id"]), seen, kept["truth"], kept["position_deg"]
        )
