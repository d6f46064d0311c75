"""Small files of spectra as surveys write them, with known content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from astropy.io import fits

from cempstream.processors.grid import Array

#: Strong lines in air (Å): enough of a star for a velocity.
_LINES_AIR = (3933.66, 3968.47, 4101.73, 4226.73, 4340.46, 4383.55, 4861.32, 5172.68, 5183.6, 5269.54, 5892.0)


def star(
    wave: Array, *, snr: float = 50.0, seed: int = 0, shift_kms: float = 0.0, fwhm_aa: float = 2.7
) -> Array:
    """Return a noisy star of level 100 with Gaussian lines at air wavelengths and a forest of weak ones."""
    rng = np.random.default_rng(seed)
    weak = np.random.default_rng(99).uniform(3600, 7000, 600)
    depth = np.concatenate([np.full(len(_LINES_AIR), 0.6), np.random.default_rng(98).uniform(0.02, 0.2, 600)])
    centre = np.concatenate([_LINES_AIR, weak]) * (1 + shift_kms / 299_792.458)
    sigma = fwhm_aa / 2.3548
    flux = np.full(wave.size, 100.0)
    for line, strength in zip(centre, depth, strict=True):
        near = slice(*np.searchsorted(wave, (line - 6 * sigma, line + 6 * sigma)))
        flux[near] *= 1 - strength * np.exp(-0.5 * ((wave[near] - line) / sigma) ** 2)
    return flux + rng.normal(0.0, 100.0 / snr, wave.size)


def lamost_cards(**changes: Any) -> fits.Header:
    """Return the cards of a LAMOST header that a reader may use, and some that it must not."""
    header = fits.Header()
    cards: dict[str, Any] = {
        "TELESCOP": "LAMOST",
        "ORIGIN": "NAOC-LAMOST",
        "DATA_V": "LAMOST DR7",
        "VERSPIPE": "v2.9.8",
        "DATE": "2021-09-17T17:10:52",
        "DATE-OBS": "2019-04-01T14:03:00",
        "LMJD": 58575,
        "PLANID": "HD103621N361936B01",
        "SPID": 3,
        "FIBERID": 7,
        "RA": 158.209454,
        "DEC": 35.693413,
        "DESIG": "LAMOST J103250.26+354136.2",
        "MAGTYPE": "gri",
        "MAG1": 17.0,
        "MAG2": 16.24,
        "MAG3": 99.0,
        "COEFF0": 3.5682,
        "COEFF1": 1e-4,
        "CLASS": "STAR",
        "Z": 0.0123,
        **changes,
    }
    for key, value in cards.items():
        if value is not None:
            header[key] = value
    return header


def write_lamost_image(path: Path, rows: Array, **cards: Any) -> Path:
    """Write the five-row image of LAMOST to DR7; rows are flux, ivar, wavelength, AND-mask, OR-mask."""
    fits.PrimaryHDU(rows.astype(np.float32), header=lamost_cards(**cards)).writeto(path)
    return path


def write_lamost_table(path: Path, rows: Array, **cards: Any) -> Path:
    """Write the one-row table ``COADD`` of LAMOST since DR8, every vector float32."""
    names = ("FLUX", "IVAR", "WAVELENGTH", "ANDMASK", "ORMASK", "NORMALIZATION")
    vectors = [*rows, np.ones_like(rows[0])]
    n_pix = rows.shape[1]
    columns = [
        fits.Column(name=name, format=f"{n_pix}E", array=vector[None].astype(np.float32))
        for name, vector in zip(names, vectors, strict=True)
    ]
    table = fits.BinTableHDU.from_columns(columns, name="COADD")
    header = lamost_cards(**{"DATA_V": "LAMOST DR9", **cards})
    fits.HDUList([fits.PrimaryHDU(header=header), table]).writeto(path)
    return path


def write_table(
    path: Path, columns: dict[str, Array], *, units: dict[str, str] | None = None, **cards: Any
) -> Path:
    """Write a FITS table of one HDU with float64, logical, integer or string columns."""
    made = []
    for name, values in columns.items():
        kind = {
            "f": "D",
            "b": "L",
            "i": "K" if values.dtype.itemsize == 8 else "J",
            "S": f"{values.dtype.itemsize}A",
        }[values.dtype.kind]
        form = f"{values.shape[1]}{kind}" if values.ndim == 2 else kind
        made.append(fits.Column(name=name, format=form, array=values, unit=(units or {}).get(name)))
    primary = fits.PrimaryHDU()
    for key, value in cards.items():
        primary.header[key] = value
    fits.HDUList([primary, fits.BinTableHDU.from_columns(made, name="COADD")]).writeto(path)
    return path


def write_sdss(
    path: Path, columns: dict[str, Array], *, catalogue: dict[str, Array] | None = None, **cards: Any
) -> Path:
    """Write an SDSS ``spec`` file: the pixels' table and, if given, the row of the catalogue."""
    forms = {"f": "E", "i": "J"}
    pixels = [fits.Column(name=n, format=forms[v.dtype.kind], array=v) for n, v in columns.items()]
    primary = fits.PrimaryHDU()
    stated = {
        "PLATEID": 3586,
        "MJD": 55181,
        "FIBERID": 500,
        "PLUG_RA": 6.7,
        "PLUG_DEC": 0.01,
        "RA": 8.0,
        **cards,
    }
    for key, value in stated.items():
        primary.header[key] = value
    hdus = [primary, fits.BinTableHDU.from_columns(pixels, name="COADD")]
    if catalogue is not None:
        row = [fits.Column(name=n, format=f"{v.size}E", array=v[None]) for n, v in catalogue.items()]
        hdus.append(fits.BinTableHDU.from_columns(row, name="SPALL"))
    fits.HDUList(hdus).writeto(path)
    return path


def gaussian_resolution(n_targets: int, n_pix: int, sigma_pix: float) -> Array:
    """Return DESI resolution matrices, by diagonals, of a Gaussian LSF."""
    offset = np.arange(11) - 5
    profile = np.exp(-0.5 * (offset / sigma_pix) ** 2)
    return np.broadcast_to((profile / profile.sum())[None, :, None], (n_targets, 11, n_pix)).astype(
        np.float32
    )


def write_desi(path: Path, arms: dict[str, dict[str, Array]], fibres: dict[str, Array]) -> Path:
    """Write a DESI coadd: per arm the images of WAVELENGTH, FLUX, IVAR, MASK, RESOLUTION."""
    forms = {"f": "D", "i": "K", "S": "2A"}
    columns = [fits.Column(name=n, format=forms[v.dtype.kind], array=v) for n, v in fibres.items()]
    hdus: list[Any] = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="FIBERMAP")]
    hdus[0].header["DEPNAM18"] = "SPECPROD"
    hdus[0].header["DEPVER18"] = "fuji"
    for arm, images in arms.items():
        hdus += [fits.ImageHDU(image, name=f"{arm}_{name}") for name, image in images.items()]
    fits.HDUList(hdus).writeto(path)
    return path


def write_cess(path: Path, bands: dict[str, dict[str, Array]], **tables: tuple[list[str], Array]) -> Path:
    """Write a CSST file as CESS does; ``tables`` are arrays with their columns' names."""
    with h5py.File(path, "w") as file:
        n_sources = next(iter(bands.values()))["flux_ujy_with_noise"].shape[0]
        file["ID"] = np.arange(1001, 1001 + n_sources)
        for name, (labels, values) in tables.items():
            file[name] = values
            file[name].attrs["name"] = labels
        for band, arrays in bands.items():
            for name, values in arrays.items():
                file[f"{band}/{name}"] = values
    return path
