"""Wavelengths from a FITS header: linear and logarithmic axes, and IRAF's ``multispec`` functions.

Conventions: FITS WCS papers I and III (Greisen et al. 2002, 2006) for ``CRVAL1``, ``CDELT1`` or ``CD1_1``,
``CRPIX1`` and ``-LOG``; IRAF's (Valdes 1993, ADASS 2, 467; ``help specwcs``) for ``DC-FLAG`` and
``WAT2``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from cempstream.processors.grid import Array
from cempstream.processors.readers.fits_file import Cards
from cempstream.processors.spectrum import MAX_PIXELS

#: A card of a long text holds 68 characters; its trailing blanks count, but are lost in the header.
_CARD_LENGTH = 68
_MAX_CARDS = 999
_SPEC_NAME = re.compile(r"spec(\d{1,6})\s*=\s*\Z")
_ITEM = re.compile(r"(\w+)\s*=\s*(\"[^\"]*\"|\S+)")
_CHEBYSHEV, _LEGENDRE, _CUBIC_SPLINE, _LINEAR_SPLINE, _PIXELS, _SAMPLES = 1, 2, 3, 4, 5, 6
_MOST_TERMS = 100


class BadDispersion(ValueError):
    """A dispersion that cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The dispersion axis of an image.

    Attributes
    ----------
    unit
        Unit of its values as the header states it; '' if it does not.
    medium
        From the axis type: ``WAVE`` is vacuum, ``AWAV`` is air; '' for any other.
    log
        ``log10`` where the values are logarithms.
    """

    values: Array
    unit: str = ""
    medium: str = ""
    log: str = ""


def wat_text(cards: Cards, axis: int) -> str:
    """Return the text that the cards ``WATj_001``, ``WATj_002`` … hold."""
    parts: list[str] = []
    for number in range(1, _MAX_CARDS + 1):
        part = cards.text_as_written(f"WAT{axis}_{number:03d}")
        if part is None:
            break
        parts.append(part.ljust(_CARD_LENGTH))
    return "".join(parts).rstrip()


def wat_items(cards: Cards, axis: int) -> dict[str, str]:
    """Return the items of ``WATj`` by name: wtype, label, units."""
    return {name.lower(): value.strip('"') for name, value in _ITEM.findall(wat_text(cards, axis)[:4000])}


def has_axis(cards: Cards) -> bool:
    """Say whether a header states a dispersion axis."""
    has_step = any(cards.number(key) is not None for key in ("CDELT1", "CD1_1"))
    return bool(_spec_texts(cards)) or (cards.number("CRVAL1") is not None and has_step)


def linear_axis(cards: Cards, n_pix: int) -> Axis:
    """Return the one axis of all rows, by ``CRVAL1``, its step and ``CRPIX1``."""
    start, reference = cards.number("CRVAL1"), cards.number("CRPIX1")
    step = next(
        (value for key in ("CD1_1", "CDELT1") if (value := cards.number(key)) is not None and value != 0.0),
        None,
    )
    if start is None or step is None:
        raise BadDispersion("its header states no CRVAL1 and CDELT1 or CD1_1")
    kind = (cards.text("CTYPE1") or "").upper()
    unit = cards.text("CUNIT1") or wat_items(cards, 1).get("units", "")
    medium = {"WAVE": "vacuum", "AWAV": "air"}.get(kind[:4], "")
    if kind[:4] in ("FREQ", "ENER", "WAVN", "VRAD", "VOPT", "ZOPT", "VELO", "BETA", "PIXE", "RA--", "DEC-"):
        raise BadDispersion(f"its axis is {kind}, not wavelength")
    if cards.integer("DC-FLAG") == -1:
        raise BadDispersion("its DC-FLAG is -1: it has no wavelength calibration")
    offset = np.arange(1, n_pix + 1) - (1.0 if reference is None else reference)
    if kind.endswith("-LOG") and medium:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return Axis(start * np.exp(step * offset / start), unit, medium)
    values = start + step * offset
    is_log = (
        cards.integer("DC-FLAG") == 1
        or "LOG" in kind
        or "log" in wat_items(cards, 1).get("label", "").lower()
    )
    return Axis(values, "" if is_log else unit, medium, "log10" if is_log else "")


def multispec_axes(cards: Cards, n_pix: int) -> dict[int, Axis]:
    """Return the axes of a ``multispec`` image by row, counted from 1."""
    unit = wat_items(cards, 1).get("units", "")
    # Pixels are counted from the start of the original image, if this one was cut from it.
    scale, shift = cards.number("LTM1_1") or 1.0, cards.number("LTV1") or 0.0
    pixels = (np.arange(1, n_pix + 1) - shift) / scale
    found = _spec_texts(cards)
    if not found:
        raise BadDispersion("its header says multispec and has no WAT2 with spec1")
    return {row: Axis(_spec_values(text, pixels), unit) for row, text in found.items()}


def _spec_texts(cards: Cards) -> dict[int, str]:
    """Return the quoted texts after ``spec1 =``, ``spec2 =`` … in ``WAT2``."""
    parts = wat_text(cards, 2).split('"')
    pairs = zip(parts[::2], parts[1::2], strict=False)
    named = ((_SPEC_NAME.search(name[-40:]), text) for name, text in pairs)
    return {int(match[1]): text for match, text in named if match}


def _spec_values(text: str, pixels: Array) -> Array:
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError as error:
        raise BadDispersion(f"WAT2 holds '{text[:40]}', which are not numbers") from error
    if len(numbers) < 7 or not all(map(np.isfinite, numbers)):
        raise BadDispersion(f"WAT2 holds {len(numbers)} numbers for a spectrum; at least 7 are needed")
    kind, start, step, redshift = int(numbers[2]), numbers[3], numbers[4], numbers[6]
    with np.errstate(over="ignore", invalid="ignore"):
        if kind == 0:
            values = start + step * (pixels - 1)
        elif kind == 1:
            values = 10.0 ** (start + step * (pixels - 1))
        elif kind == 2:
            values = _functions(numbers[9:], pixels)
        else:
            raise BadDispersion(f"WAT2 says dispersion type {kind}: it has no wavelength calibration")
        return np.asarray(values / (1.0 + redshift))


def _functions(numbers: list[float], pixels: Array) -> Array:
    """Return the weighted sum of dispersion functions; each is weight, offset, type and its parameters."""
    total, place = np.zeros(pixels.size), 0
    while place + 3 <= len(numbers):
        weight, zero, kind = numbers[place], numbers[place + 1], int(numbers[place + 2])
        values, n_used = _function(kind, numbers[place + 3 :], pixels)
        total += weight * (zero + values)
        place += 3 + n_used
    if place == 0:
        raise BadDispersion("WAT2 announces a function and holds none")
    return total


def _function(kind: int, numbers: list[float], pixels: Array) -> tuple[Array, int]:
    if kind in (_PIXELS, _SAMPLES):
        return _sampled(kind, numbers, pixels)
    if kind not in (_CHEBYSHEV, _LEGENDRE, _CUBIC_SPLINE, _LINEAR_SPLINE):
        raise BadDispersion(
            f"WAT2 says function type {kind}; read are Chebyshev, Legendre, splines and samples (1 to 6)"
        )
    n_terms, low, high = _head(numbers, 3)
    n_coefficients = int(n_terms) + {_CUBIC_SPLINE: 3, _LINEAR_SPLINE: 1}.get(kind, 0)
    coefficients = np.array(numbers[3 : 3 + n_coefficients])
    if not 1 <= n_terms <= _MOST_TERMS or coefficients.size < n_coefficients or not high > low:
        raise BadDispersion(f"WAT2 holds a function of {n_terms:g} terms over {low:g} to {high:g}")
    if kind in (_CHEBYSHEV, _LEGENDRE):
        x = (2.0 * pixels - (high + low)) / (high - low)
        polynomial = np.polynomial.chebyshev.chebval if kind == _CHEBYSHEV else np.polynomial.legendre.legval
        return np.asarray(polynomial(x, coefficients)), 3 + n_coefficients
    s = np.clip((pixels - low) / (high - low) * n_terms, 0.0, n_terms)
    j = np.minimum(s.astype(int), int(n_terms) - 1)
    a, b = (j + 1) - s, s - j
    cubic = (a**3, 1 + 3 * a * (1 + a * b), 1 + 3 * b * (1 + a * b), b**3)
    weights = (a, b) if kind == _LINEAR_SPLINE else cubic
    values = sum(weight * coefficients[j + i] for i, weight in enumerate(weights))
    return np.asarray(values), 3 + n_coefficients


def _sampled(kind: int, numbers: list[float], pixels: Array) -> tuple[Array, int]:
    """Return listed wavelengths: one per pixel, or pairs of pixel and wavelength."""
    (n_listed,) = _head(numbers, 1)
    width = 2 if kind == _SAMPLES else 1
    if not 1 <= n_listed <= MAX_PIXELS or len(numbers) < 1 + width * int(n_listed):
        raise BadDispersion(f"WAT2 says {n_listed:g} samples and holds {len(numbers) - 1} numbers")
    listed = np.array(numbers[1 : 1 + width * int(n_listed)])
    if kind == _SAMPLES:
        return np.interp(pixels, listed[::2], listed[1::2]), 1 + listed.size
    return np.interp(pixels, np.arange(1, listed.size + 1), listed), 1 + listed.size


def _head(numbers: list[float], n: int) -> list[float]:
    if len(numbers) < n:
        raise BadDispersion("WAT2 ends in the middle of a function")
    return numbers[:n]
