"""One packet of every kind that a night can go wrong with, and the reasons it may become a dead letter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cempstream.processors.spectrum import Reason, Spectrum
from cempstream.schemas.codec import spectrum_record
from cempstream.schemas.packets import pack
from cempstream.schemas.registry import Kind


def packet_with(spectrum: Spectrum, **fields: Any) -> bytes:
    """Return a spectrum's packet with some fields of its record replaced, unchecked."""
    record: Mapping[str, Any] = {**spectrum_record(spectrum), **fields}
    return pack(Kind.SPECTRUM, record)


def poison(spectrum: Spectrum) -> dict[str, tuple[bytes, Reason]]:
    """Return malformed packets by kind, each with the reason that it should be rejected for."""
    good = packet_with(spectrum)
    n_pix = spectrum.n_pix
    nan = np.full(n_pix, np.nan, dtype="<f4").tobytes()
    short = np.ones(n_pix - 7, dtype="<f4").tobytes()
    none = {"log10_start": 3.57, "log10_step": 1e-4, "n_pix": 0}
    absurd = {"log10_start": 300.0, "log10_step": 1e-4, "n_pix": n_pix}
    flux = good.find(np.ascontiguousarray(spectrum.flux, dtype="<f4").tobytes())
    lying = bytearray(good)
    # The length of the flux, a zigzag varint just before it, now says 2 GiB.
    n_length = len(_varint(spectrum.n_pix * 4))
    lying[flux - n_length : flux] = _varint(2**31)
    return {
        "truncated": (good[: len(good) // 2], Reason.TRUNCATED),
        "not_avro": (b"\x99" + good[1:], Reason.NOT_AVRO),
        "empty": (b"", Reason.NOT_AVRO),
        "wrong_version": (b"\0" + (10_900).to_bytes(4, "big") + good[5:], Reason.UNSUPPORTED_VERSION),
        "nan_everywhere": (packet_with(spectrum, flux=nan), Reason.NO_GOOD_PIXELS),
        "other_length": (packet_with(spectrum, ivar=short), Reason.LENGTH_MISMATCH),
        "no_pixels": (packet_with(spectrum, grid=none, flux=b"", ivar=b""), Reason.NO_PIXELS),
        "absurd_wavelengths": (packet_with(spectrum, grid=absurd), Reason.BAD_WAVELENGTH),
        "lying_length": (bytes(lying), Reason.TRUNCATED),
        "low_resolution": (packet_with(spectrum, resolving_power=50.0), Reason.UNSUPPORTED_RESOLUTION),
    }


def _varint(value: int) -> bytes:
    """Encode a non-negative length as Avro does (zigzag, seven bits a byte)."""
    value <<= 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
