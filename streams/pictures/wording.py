"""How a finding's numbers are written for a person, on pictures, pages and tables alike."""

from __future__ import annotations

import math

from cempstream.processors.outcome import Estimate

#: Name, how the field writes it, its digits and its unit, in the order in which they are shown.
PARAMETER_TEXT = (
    ("teff", "Teff", "{:.0f}", "K"),
    ("logg", "log g", "{:.2f}", ""),
    ("feh", "[Fe/H]", "{:+.2f}", ""),
    ("cfe", "[C/Fe]", "{:+.2f}", ""),
    ("ac", "A(C)", "{:.2f}", ""),
    ("bafe", "[Ba/Fe]", "{:+.2f}", ""),
)

_SUBCLASS_TEXT = {
    "cemp_no": "CEMP-no",
    "cemp_s": "CEMP-s",
    "cemp_r": "CEMP-r",
    "undetermined": "undetermined",
}


def subclass_text(name: str) -> str:
    """Return a subclass as a person writes it."""
    return _SUBCLASS_TEXT.get(name, name)


def estimate_text(name: str, estimate: Estimate) -> str:
    """Return a parameter with its 68 % interval, or a dash where the spectrum cannot tell."""
    form, unit = next((form, unit) for key, _, form, unit in PARAMETER_TEXT if key == name)
    if not math.isfinite(estimate.value):
        return "—"
    plain = form.replace("+", "")
    up, down = plain.format(estimate.hi - estimate.value), plain.format(estimate.value - estimate.lo)
    spread = f"± {up}" if up == down else f"+{up} −{down}"
    value = form.format(estimate.value).replace("-", "−")
    return f"{value} {spread} {unit}".rstrip()


def probability_text(p: float) -> str:
    """Return a probability with as many digits as it deserves."""
    if 0.001 <= p <= 0.999:
        return f"{p:.3f}"
    return f"{p:.1e}" if p < 0.001 else f"1 − {1 - p:.0e}"


def position_text(ra: float | None, dec: float | None) -> str:
    """Return a position in degrees and in the sexagesimal form that telescopes take."""
    if ra is None or dec is None:
        return "position unknown"
    ra_s = round(ra * 240, 2) % 86400
    dec_s = round(abs(dec) * 3600, 1)
    return (
        f"{ra:.5f}  {dec:+.5f}\n"
        f"{int(ra_s // 3600):02d}:{int(ra_s // 60 % 60):02d}:{ra_s % 60:05.2f} "
        f"{'-' if dec < 0 else '+'}{int(dec_s // 3600):02d}:{int(dec_s // 60 % 60):02d}:{dec_s % 60:04.1f}"
    ).replace("-", "−")
