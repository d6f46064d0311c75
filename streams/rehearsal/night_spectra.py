"""The spectra of a demonstration night: simulated ones whose truth is known, and those of files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cempstream.models.simulator import draw_sources, load_profile, simulate
from cempstream.models.simulator.mix import Mix
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers import UnreadableFile, expand_paths, read_spectra
from cempstream.processors.spectrum import Spectrum
from cempstream.schemas.stamp import Tense

#: Visits of each star where stars are followed.
VISITS = 3

_SHARE_DRAWS = 50_000


@dataclass(frozen=True, slots=True, eq=False)
class NightSpectrum:
    """One spectrum of the night.

    Attributes
    ----------
    tense
        ``test`` for simulated spectra, ``archival`` for those of files.
    is_cemp
        The truth; None where it is not known.
    kind
        What the source is, as the simulator names it; empty for files.
    visit
        Counts the visits of its star, from 0.
    """

    spectrum: Spectrum = field(repr=False)
    tense: Tense
    is_cemp: bool | None
    kind: str
    visit: int = 0


@dataclass(frozen=True, slots=True)
class FileSpectra:
    """The spectra of files, and a line for each unfit spectrum and each unreadable file."""

    spectra: tuple[NightSpectrum, ...]
    complaints: tuple[str, ...]


def simulate_spectra(survey: str, mix: Mix, n_spec: int, seed: int, visits: int = 1) -> list[NightSpectrum]:
    """Simulate a survey's spectra with truth; every star is newly drawn, so none was trained on."""
    night = []
    for batch in simulate(load_profile(survey), n_spec, seed, mix, visits=visits):
        truth = zip(batch.truth["is_cemp"].tolist(), batch.truth["kind"].tolist(), strict=True)
        for spectrum, (is_cemp, kind) in zip(batch.spectra(), truth, strict=True):
            night.append(NightSpectrum(spectrum, "test", is_cemp, kind, batch.visit))
    return night


def cemp_share(mix: Mix) -> float:
    """Return the fraction of CEMP stars among a mix's sources."""
    labels = draw_sources(_SHARE_DRAWS, mix, np.random.default_rng(0))
    feh, cfe = labels.labels[:, 2], labels.labels[:, 3]
    return float(np.clip(np.mean(labels.is_star & (feh < -1.0) & (cfe >= 0.7)), 1e-5, 0.5))


def read_files(paths: Iterable[Path]) -> FileSpectra:
    """Read every spectrum of files and folders."""
    spectra: list[NightSpectrum] = []
    complaints = []
    for path in expand_paths(list(paths)):
        try:
            for read in read_spectra(path):
                if isinstance(read, Rejected):
                    complaints.append(f"{path}: {read.reason.value}: {read.detail}")
                else:
                    spectra.append(NightSpectrum(read, "archival", None, ""))
        except UnreadableFile as error:
            complaints.append(str(error))
    return FileSpectra(tuple(spectra), tuple(complaints))
