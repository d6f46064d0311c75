"""Spectra as FITS images: IRAF's one-dimensional, ``equispec`` and ``multispec`` files, and similar ones.

An image holds one spectrum, or one per row; planes after the first are bands of the same spectra, named by
``BANDIDn``: sky, background, and σ, which is read. Images of the same shape in other extensions may hold the
noise or a mask. Medium, frame, resolution, time and position are read from the header as for tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Literal

import numpy as np

from cempstream.processors.grid import Array
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers.dispersion import (
    Axis,
    BadDispersion,
    has_axis,
    linear_axis,
    multispec_axes,
    wat_text,
)
from cempstream.processors.readers.fits_file import Cards, FitsFile
from cempstream.processors.readers.generic import Entry, GenericTable, read_table, tell
from cempstream.processors.readers.options import ReadOptions
from cempstream.processors.readers.tables import statements
from cempstream.processors.readers.vocabulary import Layout, MaskSense, NoiseKind, mask_sense, noise_kind
from cempstream.processors.spectrum import Medium, Spectrum

#: An image with more rows than any spectrograph has fibres is an image of the sky.
_MOST_ROWS = 10_000
_MOST_VALUES = 1 << 26
_LEAST_PIXELS = 8
_UNCALIBRATED_UNITS = ("electron", "count", "photon", "adu")


def spectral_image(file: FitsFile) -> int | None:
    """Return the extension whose image holds spectra; None if there is none."""
    for index in range(len(file)):
        shape, cards = file.shape(index), file.cards(index)
        if not 1 <= len(shape) <= 3 or shape[-1] < _LEAST_PIXELS or 0 in shape:
            continue
        if noise_kind(file.names[index]) or mask_sense(file.names[index]):
            continue
        is_single = all(length == 1 for length in shape[:-1])
        is_small = prod(shape[:-1]) <= _MOST_ROWS and prod(shape) <= _MOST_VALUES
        if is_small and has_axis(cards) and (is_single or _is_iraf(cards)):
            return index
    return None


def read_image(file: FitsFile, index: int, options: ReadOptions) -> Iterator[Spectrum | Rejected]:
    """Read the spectra of an image, in the order of its rows."""
    cards, image = file.cards(index), file.image(index).astype(np.float64)
    bands = image.reshape((1,) * (3 - image.ndim) + image.shape)
    names = [(cards.text(f"BANDID{i + 1}") or "").lower() for i in range(len(bands))]
    arrays: dict[str, Array] = {"flux": bands[0]}
    noises: list[tuple[str, NoiseKind]] = []
    masks: list[tuple[str, MaskSense]] = []
    for name, band in list(zip(names, bands, strict=True))[1:]:
        if name.startswith("sigma"):
            arrays["sigma"] = band
            noises.append(("sigma", "error"))
    for other in range(len(file)):
        name = file.names[other]
        kind, sense = noise_kind(name), mask_sense(name)
        if other == index or not (kind or sense) or name in arrays or file.shape(other) != file.shape(index):
            continue
        arrays[name] = file.image(other).astype(np.float64).reshape(bands[0].shape)
        if kind:
            noises.append((name, kind))
        elif sense:
            masks.append((name, sense))
    _tell_of_unit(file, cards)
    try:
        axes = _axes(cards, bands[0].shape)
        table = GenericTable(
            layout=Layout(
                wave="wavelength",
                flux="flux",
                log=axes[0].log,
                medium=_medium(axes[0], cards),
                noises=tuple(noises),
                masks=tuple(masks),
            ),
            entries=[
                _entry(file, cards, row, {"wavelength": axis.values, **_rows(arrays, row)}, len(axes))
                for row, axis in enumerate(axes)
            ],
            wave_unit=axes[0].unit or None,
            said=statements(file, index),
        )
        yield from read_table(file.source, table, options)
    except ValueError as error:
        remedy = getattr(error, "remedy", "state the wavelengths by CRVAL1, CDELT1 and CRPIX1, or as a table")
        raise file.source.unreadable(str(error), remedy) from error


def _rows(arrays: Mapping[str, Array], row: int) -> dict[str, Array]:
    return {name: array[row] for name, array in arrays.items()}


def _entry(file: FitsFile, cards: Cards, row: int, values: dict[str, Array], n_rows: int) -> Entry:
    """Return one row; each of several rows is an aperture, and ``APIDn`` names its target."""
    if n_rows == 1:
        return Entry(values)
    aperture = (cards.text(f"APNUM{row + 1}") or str(row + 1)).split()[0]
    name = cards.text(f"APID{row + 1}")
    return Entry(
        values,
        said={"object": name} if name else {},
        spectrum_id=f"{file.source.stem}-ap{aperture}",
    )


def _is_iraf(cards: Cards) -> bool:
    """Return whether the rows of an image are spectra; it may be an image of the sky."""
    kind = (cards.text("CTYPE1") or "").upper()
    system = wat_text(cards, 0).replace(" ", "").lower()
    return (
        kind.startswith("MULTISPE")
        or "system=multispec" in system
        or "system=equispec" in system
        or cards.text("APNUM1") is not None
        or cards.text("BANDID1") is not None
    )


def _axes(cards: Cards, shape: tuple[int, ...]) -> list[Axis]:
    """Return the dispersion axis of each row."""
    n_rows, n_pix = shape
    kind = (cards.text("CTYPE1") or "").upper()
    system = wat_text(cards, 0).replace(" ", "").lower()
    if not kind.startswith("MULTISPE") and "system=multispec" not in system:
        return [linear_axis(cards, n_pix)] * n_rows
    axes = multispec_axes(cards, n_pix)
    missing = [row + 1 for row in range(n_rows) if row + 1 not in axes]
    if missing:
        raise BadDispersion(f"WAT2 has no spec{missing[0]}, and the image has {n_rows} rows")
    return [axes[row + 1] for row in range(n_rows)]


def _medium(axis: Axis, cards: Cards) -> Medium | None:
    media: dict[str, Literal["air", "vacuum"]] = {"air": "air", "vacuum": "vacuum"}
    label = wat_text(cards, 1).lower()
    stated = "vacuum" if "vacuum" in label else "air" if "air wavelength" in label else ""
    return media.get(axis.medium or stated)


def _tell_of_unit(file: FitsFile, cards: Cards) -> None:
    unit = cards.text("BUNIT") or ""
    if any(word in unit.lower() for word in _UNCALIBRATED_UNITS):
        tell(file.source, f"its flux is in '{unit}': make sure that the sky is subtracted")
