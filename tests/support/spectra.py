"""Spectra of known stars for tests: a bundle's own templates on LAMOST's pixels, with noise from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np

from cempstream.models.bundle import BUNDLES, Bundle, load_bundle, newest_bundle
from cempstream.processors.grid import LogGrid
from cempstream.processors.spectrum import Spectrum
from cempstream.schemas.codec import encode_spectrum

LAMOST_GRID = LogGrid(3.5682, 1e-4, 3909)


@cache
def mid_bundle() -> Bundle:
    """Return the newest ``mid`` bundle."""
    return load_bundle(newest_bundle(BUNDLES, "mid"))


def template_spectra(n_spec: int, *, seed: int = 1, snr: float = 30.0, tag: str = "") -> list[Spectrum]:
    """Return noisy templates with velocities, on LAMOST's pixels (a packet of 31 KB)."""
    rng = np.random.default_rng(seed)
    bundle = mid_bundle()
    grid = bundle.card.grid.grid
    bank = bundle.templates
    rows = rng.integers(len(bank.norm), size=n_spec)
    velocity = rng.normal(0.0, 100.0, n_spec)
    log_wave = np.log(grid.wave)
    log_target = np.log(LAMOST_GRID.wave)
    now = datetime.now(UTC)
    spectra = []
    for i, (row, rv) in enumerate(zip(rows, velocity, strict=True)):
        norm = np.interp(log_target - np.log1p(rv / 299792.458), log_wave, bank.norm[row])
        level = 1000.0 * (LAMOST_GRID.wave / 5000.0) ** rng.uniform(-2, 2)
        noise = level / snr
        flux = norm * level + rng.normal(size=norm.size) * noise
        spectra.append(
            Spectrum(
                spectrum_id=f"t{seed}{tag}-{i:05d}",
                survey="lamost",
                grid=LAMOST_GRID,
                flux=flux.astype(np.float32),
                ivar=(noise**-2.0).astype(np.float32),
                resolving_power=1800.0,
                reduced_at=now,
                exposure_id=f"e{seed}{tag}",
                reduction_version="test",
                ra=float(rng.uniform(0, 360)),
                dec=float(rng.uniform(-10, 60)),
            )
        )
    return spectra


def template_packets(n_spec: int, *, seed: int = 1, tag: str = "") -> list[bytes]:
    """Return the packets of noisy templates."""
    return [encode_spectrum(spectrum) for spectrum in template_spectra(n_spec, seed=seed, tag=tag)]


def visits_of(star: Spectrum, n_visits: int, *, snr: float, seed: int = 3) -> list[Spectrum]:
    """Return spectra of a bright star an hour apart, each with noise of its own."""
    rng = np.random.default_rng(seed)
    noise = np.abs(np.median(star.flux)) / snr
    return [
        replace(
            star,
            spectrum_id=f"{star.spectrum_id}-visit-{i}",
            object_id=star.object_id or f"star-{star.spectrum_id}",
            observed_at=star.reduced_at + timedelta(hours=i),
            flux=(star.flux + rng.normal(0, noise, star.n_pix)).astype(np.float32),
            ivar=np.full(star.n_pix, noise**-2, dtype=np.float32),
        )
        for i in range(n_visits)
    ]


def write_stars(path: Path, n_spec: int) -> None:
    """Write noisy templates into an ``.npz`` file that `classify` reads."""
    write_spectra(path, template_spectra(n_spec))


def write_spectra(path: Path, stars: Sequence[Spectrum]) -> None:
    """Write spectra, with the names of their stars where they have one, into an ``.npz`` file."""
    named = {}
    if any(star.object_id for star in stars):
        named = {
            "object_id": np.array([star.object_id or "" for star in stars]),
            "date_obs": np.array(
                [star.observed_at.isoformat() if star.observed_at else "" for star in stars]
            ),
        }
    np.savez(
        path,
        **named,
        wave=np.concatenate([star.grid.wave for star in stars]),
        flux=np.concatenate([star.flux for star in stars]),
        ivar=np.concatenate([star.ivar for star in stars]),
        offsets=np.cumsum([0, *(star.n_pix for star in stars)]),
        ids=np.array([star.spectrum_id for star in stars]),
        medium="vacuum",
        frame="observed",
        resolving_power=1800.0,
    )
