"""How results are written for a person: at a terminal, on pictures and on pages alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from urllib.parse import quote

from cempstream.plain import shown
from cempstream.processors.bands import CEMP_BANDS
from cempstream.processors.outcome import Estimate
from cempstream.processors.spectrum import Flag
from cempstream.schemas.sky import Match

MISSING = "—"

_LONGEST_NAME = 60
_MATCH_TEXT = {"known": "known as", "watchlist": "watched:", "region": "in the region"}

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

#: What a flag means to a person who sees it for the first time.
FLAG_MEANING: Mapping[str, str] = {
    Flag.MEDIUM_ESTIMATED: "air or vacuum wavelengths: not stated, estimated",
    Flag.FRAME_ESTIMATED: "rest frame or observed: not stated, estimated",
    Flag.RESOLVING_POWER_ESTIMATED: "resolving power: not stated, estimated",
    Flag.IVAR_ESTIMATED: "noise: not stated, estimated from the flux",
    Flag.NOISE_NOT_UNDERSTOOD: "a column that may be a noise is not understood",
    Flag.COLUMNS_BY_ORDER: "columns taken by their order: no header names them",
    Flag.RESOLUTION_DEGRADED: "sharper than the models: smoothed to their resolution",
    Flag.NOISE_DOUBTFUL: "the noise that is stated does not fit the scatter of the flux",
    Flag.NOISE_NOT_UNDERSTOOD: "a column may hold the noise and was not understood",
    Flag.COLUMNS_BY_ORDER: "columns without names, taken by their order",
    Flag.RV_UNCERTAIN: "the velocity is uncertain",
    Flag.LOW_SNR: "the signal is too low for firm numbers",
    Flag.PARTIAL_COVERAGE: "part of the models' range is missing",
    Flag.OUT_OF_DISTRIBUTION: "unlike every star of the training: its parameters mean nothing",
    Flag.OUT_OF_RANGE: "a parameter lies at the edge of what the models know",
    Flag.CONTAMINATED: "a neighbour's light is in it",
    Flag.PHOTOMETRY_DISAGREES: "photometry and parallax give another temperature or gravity",
    Flag.EXTENDED: "imaging finds it extended, so it is no candidate",
    Flag.IMPURE_AT_SNR: "at this S/N too few with such a probability are right, so it is no candidate",
    Flag.BELOW_TRAINED_SNR: "below the S/N of every training spectrum: p and parameters are a guess",
}

_INDEX_TEXT = {
    "lick_cn1": "Lick CN1",
    "lick_cn2": "Lick CN2",
    "lick_ca4227": "Lick Ca 4227",
    "lick_g4300": "Lick G4300 (CH)",
    "lick_fe4383": "Lick Fe 4383",
    "lick_fe4531": "Lick Fe 4531",
    "lick_c24668": "Lick C2 4668",
    "lick_hbeta": "Lick Hβ",
    "lick_mg1": "Lick Mg1",
    "lick_mg2": "Lick Mg2",
    "lick_mgb": "Lick Mg b",
    "lick_fe5270": "Lick Fe 5270",
    "lick_fe5335": "Lick Fe 5335",
    "lick_hdelta_a": "Lick Hδ A",
    "lick_hgamma_a": "Lick Hγ A",
    "lick_cahk": "Lick Ca H+K",
    "c2_4382": "C2 4382",
    "c2_4737": "C2 4737",
    "c2_5165": "C2 5165",
    "c2_5636": "C2 5636",
    "cn_6926": "CN 6926",
    "cn_7872": "CN 7872",
    "ca_k": "Ca II K (PyHammer)",
    "g_band": "CH G (PyHammer)",
    "k6": "Ca II K, 6 Å",
    "k12": "Ca II K, 12 Å",
    "k18": "Ca II K, 18 Å",
    "kp": "KP (Ca II K)",
    "gp": "GP (CH G)",
    "gpe": "GPE (CH G, wide)",
    "egp": "EGP (CH G, one side)",
    "hp2": "HP2 (Hδ)",
    "s3839": "S(3839) (CN)",
    "ch4300": "CH(4300)",
    "ew_c2_4737": "EW C2 4737",
    "ew_c2_5635": "EW C2 5635",
    "ba4554": "Ba II 4554",
    "sr4077": "Sr II 4077",
}

_UNIT_OF_KIND = {"ew": "Å", "mag": "mag", "colour": "mag", "ratio": ""}
_INDEX_UNIT = {"kp": "Å"} | {band.name: _UNIT_OF_KIND[band.kind] for band in CEMP_BANDS}


def subclass_text(name: str) -> str:
    """Return a subclass as a person writes it."""
    return _SUBCLASS_TEXT.get(name, name)


def flag_text(flag: str) -> str:
    """Return a flag in words: ``low snr``."""
    return flag.replace("_", " ")


def match_text(match: Match) -> tuple[str, str]:
    """Return what a match is and of what: ``known as``, ``HD 1 (jinabase, 0.4″)``."""
    kind, catalogue = _MATCH_TEXT.get(match.kind, match.kind), shown(match.catalogue, longest=_LONGEST_NAME)
    if match.kind == "region":
        return kind, catalogue
    name = shown(match.name, longest=_LONGEST_NAME) or "a star"
    return kind, f"{name} ({catalogue}, {match.separation_arcsec:.1f}″)"


def index_text(name: str) -> tuple[str, str]:
    """Return the usual name of a line index, and its unit; an unknown name stays as it is."""
    return _INDEX_TEXT.get(name, name), _INDEX_UNIT.get(name, "")


def estimate_text(name: str, estimate: Estimate) -> str:
    """Return a parameter with its 68 % interval, or a dash where the spectrum cannot tell."""
    form, unit = next((form, unit) for key, _, form, unit in PARAMETER_TEXT if key == name)
    if not math.isfinite(estimate.value):
        return MISSING
    plain = form.replace("+", "")
    up, down = plain.format(estimate.hi - estimate.value), plain.format(estimate.value - estimate.lo)
    spread = f"± {up}" if up == down else f"+{up} −{down}"
    return f"{signed(estimate.value, form)} {spread} {unit}".rstrip()


def signed(value: float, form: str = "{:+.2f}") -> str:
    """Return a number with a true minus sign, or a dash where there is none."""
    return form.format(value).replace("-", "−") if math.isfinite(value) else MISSING


def probability_text(p: float) -> str:
    """Return a probability with a sensible number of digits: ``0.970``, ``2e-5``, ``1 − 6e-5``."""
    if not math.isfinite(p):
        return MISSING
    if 0.001 <= p <= 0.999:
        return f"{p:.3f}"
    return _power(p) if p < 0.001 else f"1 − {_power(1 - p)}"


def _power(p: float) -> str:
    if p <= 0:
        return "0"
    digit, _, exponent = f"{p:.0e}".partition("e")
    return f"{digit}e{int(exponent)}"


def is_on_sky(ra: float, dec: float) -> bool:
    """Say whether two numbers are a position, in degrees; a packet may hold any."""
    return math.isfinite(ra) and abs(dec) <= 90.0


def sexagesimal(ra: float | None, dec: float | None) -> str:
    """Return a position as telescopes take it, ``10:45:08.24 +41:23:45.6``; ``ra`` and ``dec`` in degrees."""
    if ra is None or dec is None or not is_on_sky(ra, dec):
        return "no position"
    # Rounded once and as an integer: 59.996 s must become the next minute, not 60.00 s.
    hundredths = round(ra % 360.0 * 24_000.0) % 8_640_000
    tenths = round(abs(dec) * 36_000.0)
    hours = f"{hundredths // 360_000:02d}:{hundredths // 6_000 % 60:02d}:{hundredths % 6_000 / 100:05.2f}"
    sign = "-" if dec < 0 else "+"
    return f"{hours} {sign}{tenths // 36_000:02d}:{tenths // 600 % 60:02d}:{tenths % 600 / 10:04.1f}"


def sky_links(ra: float | None, dec: float | None) -> tuple[tuple[str, str], ...]:
    """Return name and address of catalogue pages at a position; ``ra`` and ``dec`` in degrees, ICRS."""
    if ra is None or dec is None or not is_on_sky(ra, dec):
        return ()
    place = quote(f"{ra:.6f} {dec:+.6f}")
    return (
        (
            "SIMBAD",
            f"https://simbad.cds.unistra.fr/simbad/sim-coo?Coord={place}&CooFrame=ICRS"
            "&Radius=5&Radius.unit=arcsec",
        ),
        (
            "Gaia DR3",
            f"https://vizier.cds.unistra.fr/viz-bin/VizieR-4?-source=I/355/gaiadr3&-c={place}&-c.rs=5",
        ),
        ("Aladin", f"https://aladin.cds.unistra.fr/AladinLite/?target={place}&fov=0.05"),
        (
            "Legacy Surveys",
            f"https://www.legacysurvey.org/viewer?ra={ra:.6f}&dec={dec:.6f}&layer=ls-dr10&zoom=16",
        ),
    )
