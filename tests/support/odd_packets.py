"""Spectrum packets that the schema allows and no survey should send: every field at its extremes.

May import cempstream's processors and schemas.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

import numpy as np

from cempstream.processors.grid import Array, ExplicitGrid, LinearGrid, LogGrid, WavelengthGrid
from cempstream.processors.spectrum import BadSpectrum, Spectrum
from cempstream.schemas.codec import encode_spectrum

_GRIDS: tuple[WavelengthGrid, ...] = (
    LogGrid(3.5682, 1e-4, 3909),
    LogGrid(3.4, 3e-4, 2500),
    LogGrid(3.55, 1e-3, 500),
    LinearGrid(3600.0, 0.8, 7781),
    LinearGrid(1000.0, 10.0, 2900),
    LinearGrid(4000.0, 1e-6, 300),
    LogGrid(3.6, 1e-9, 1000),
    LinearGrid(5000.0, 1.0, 1),
    ExplicitGrid(np.sort(3500.0 + 5000.0 * np.random.default_rng(1).random(3000))),
    ExplicitGrid(np.concatenate([np.arange(3700.0, 4100.0), np.arange(8900.0, 9400.0)])),
)
_SCALES = (1.0, 1e-30, 1e-17, 1e-10, 1e10, 1e17, 1e19, 1e30, 3e38)
_SNRS = (0.0, 1e-6, 0.5, 5.0, 50.0, 1e4, 1e9, 1e20)
_VALUES = np.array([0, 1e38, -1e38, 3.4e38, 1e-38, 1e-45, -1e-45, np.nan, np.inf, -np.inf], dtype=np.float32)
_TIMES = (datetime(1, 1, 2, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))
T = TypeVar("T")

_TEXTS = ("", "x", "=1+1", "\x1b[2J", "$\\frac{$", "../../etc", "名", "a" * 1000, "\x00", "\n")


def odd_spectrum(rng: np.random.Generator, spectrum_id: str) -> Spectrum:
    """Return a spectrum of ordinary shape with some of its fields at an extreme.

    Raises
    ------
    BadSpectrum
        The fields drawn break a rule, so that there is no such spectrum.
    """
    grid = _pick(rng, _GRIDS)
    flux, ivar = _arrays(rng, grid.n_pix)
    return Spectrum(
        spectrum_id=spectrum_id,
        survey=_pick(rng, ("lamost", "desi", "csst", "$", "a" * 200)),
        grid=grid,
        flux=flux,
        ivar=ivar,
        medium=_pick(rng, ("air", "vacuum")),
        frame=_pick(rng, ("observed", "rest")),
        resolving_power=_power(rng, grid.n_pix),
        reduced_at=_pick(rng, (*_TIMES, datetime.now(UTC))),
        observed_at=_pick(rng, (None, *_TIMES)),
        exposure_id=_pick(rng, _TEXTS),
        exposure_size=_pick(rng, (None, 0, 1, -1, 2**31 - 1)),
        reduction_version=_pick(rng, _TEXTS),
        object_id=_pick(rng, (None, *_TEXTS)),
        ra=_pick(rng, (None, 0.0, 360.0, 1e-300)),
        dec=_pick(rng, (None, -90.0, 90.0, -0.0)),
        epoch=_pick(rng, (None, 0.0, -1e308, np.inf, np.nan)),
        gaia_source_id=_pick(rng, (None, 0, -1, 2**63 - 1)),
        wave_zero_error_aa=_pick(rng, (None, 0.0, -1.0, 1e30, np.nan)),
        mask=_mask(rng, grid.n_pix),
        contamination=_contamination(rng, grid.n_pix),
        flux_unit=_pick(rng, ("absolute", "relative")),
        grating=_pick(rng, (None, "GV", *_TEXTS)),
        rv_kms=_pick(rng, (None, 0.0, 299_792.0, -299_792.0, 5e4, 1e-300)),
        photometry=_pick(rng, ({}, {"G": (np.nan, np.inf)}, {"r": (-1e30, -1.0)}, {"": (1e308, 0.0)})),
        uri=_pick(rng, (None, *_TEXTS)),
        flags=_pick(rng, ((), ("ivar_estimated",), ("unheard of", "\x1b[31m"))),
    )


def odd_packets(n: int, seed: int) -> list[bytes]:
    """Return packets of ``n`` spectra ``odd-<seed>-<i>``, the same for the same seed."""
    rng = np.random.default_rng(seed)
    packets: list[bytes] = []
    while len(packets) < n:
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # as the codec reads them
                packets.append(encode_spectrum(odd_spectrum(rng, f"odd-{seed}-{len(packets)}")))
        except BadSpectrum:
            continue
    return packets


def _pick(rng: np.random.Generator, choices: tuple[T, ...]) -> T:
    return choices[int(rng.integers(len(choices)))]


def _arrays(rng: np.random.Generator, n_pix: int) -> tuple[Array, Array]:
    shape = _pick(rng, ("star", "star", "star", "flat", "noise", "zero", "ramp", "spikes"))
    pixels = np.arange(n_pix)
    level = {
        "star": 1.0 + 0.3 * np.sin(pixels / 300.0) - 0.4 * np.exp(-(((pixels % 400) - 200) ** 2) / 50.0),
        "flat": np.ones(n_pix),
        "noise": np.zeros(n_pix),
        "zero": np.zeros(n_pix),
        "ramp": np.exp(-pixels / max(n_pix, 1) * 60.0),
        "spikes": np.where(pixels % 97 == 0, 1e30, 1.0),
    }[shape]
    scale, snr = _pick(rng, _SCALES), _pick(rng, _SNRS)
    noise = rng.normal(size=n_pix) / max(snr, 1e-3)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        flux = (scale * (level + (noise if shape != "zero" else 0.0))).astype(np.float32)
        ivar = np.full(n_pix, (snr / scale) ** 2).astype(np.float32)
    if rng.random() < 0.2:
        ivar = (ivar * rng.random(n_pix).astype(np.float32) ** 20).astype(np.float32)
    for array in (flux, ivar):
        if rng.random() < 0.3:
            hit = rng.random(n_pix) < _pick(rng, (0.001, 0.1, 0.9, 1.0))
            array[hit] = rng.choice(_VALUES, hit.sum())
    return flux, ivar


def _power(rng: np.random.Generator, n_pix: int) -> float | Array:
    value = _pick(rng, (1.001, 50.0, 200.0, 499.0, 1800.0, 1800.0, 1800.0, 5000.0, 9e5))
    if rng.random() < 0.7:
        return value
    power = np.full(n_pix, value, dtype=np.float32)
    hit = rng.random(n_pix) < _pick(rng, (0.01, 0.9))
    power[hit] = rng.choice(_VALUES, hit.sum())
    return power


def _mask(rng: np.random.Generator, n_pix: int) -> Array | None:
    share = _pick(rng, (None, None, 0.0, 0.1, 1.0))
    return None if share is None else (255 * (rng.random(n_pix) < share)).astype(np.uint8)


def _contamination(rng: np.random.Generator, n_pix: int) -> Array | None:
    value = _pick(rng, (None, None, 0.0, 0.5, -1.0, 1e38, np.nan, np.inf))
    return None if value is None else np.full(n_pix, value, dtype=np.float32)
