"""The meaning of column names in all formats: one place for all the words that files use.

A name is split into words: ``ERR_IVAR``, ``flux_ivar`` and ``ivar`` all mean an inverse variance of the flux,
``wave_err`` and ``sky_sigma`` do not. Headers are interpreted in ``statements``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from cempstream.processors.spectrum import Frame, Medium

#: How a column states the noise: 1/σ², σ, σ², or flux/σ.
NoiseKind = Literal["ivar", "error", "variance", "snr"]
#: Whether a value that is not 0 marks a pixel as bad or as good.
MaskSense = Literal["bad", "good"]

ID_NAMES = ("spectrum_id", "specid", "spec_id", "ids", "id")

_WORD = re.compile(r"[\s_\-./]+")

_WAVE_WORDS = {
    "wave", "waves", "wavelength", "wavelengths", "lambda", "lambdas", "lam", "wl", "wvl", "wav", "λ",
    "loglam", "loglambda", "logwave", "logwavelength",
}  # fmt: skip
_LOG_WORDS = {"log", "log10", "ln"}
_UNIT_WORDS = {
    "a": "aa", "aa": "aa", "ang": "aa", "angstrom": "aa", "angstroms": "aa", "å": "aa", "nm": "nm",
    "um": "um", "μm": "um", "micron": "um", "microns": "um",
}  # fmt: skip
_MEDIUM_WORDS: Mapping[str, Medium] = {"air": "air", "vac": "vacuum", "vacuum": "vacuum"}
_FRAME_WORDS: Mapping[str, Frame] = {
    "obs": "observed", "observed": "observed", "helio": "observed", "bary": "observed", "topo": "observed",
    "rest": "rest", "restframe": "rest",
}  # fmt: skip
#: Words that change nothing about what a column is.
_NEUTRAL = {
    "flux", "fluxes", "flam", "flambda", "f", "lambda", "λ", "spec", "spectrum", "opt", "stat", "total",
    "tot", "per", "pix", "pixel", "density", "reduced", "cal", "calibrated", "corr", "corrected", "norm",
    "normalized", "normalised", "1d",
}  # fmt: skip
#: Words that distinguish two fluxes of one table; each has a separate noise.
_VARIANTS = {"reduced", "cal", "calibrated", "corr", "corrected", "norm", "normalized", "normalised"}
_FLUX_WORDS = {"flux", "fluxes", "flam", "flambda", "intensity"}
_IVAR_WORDS = {"ivar", "invar", "invvar", "invariance"}
_VARIANCE_WORDS = {"var", "variance", "sigma2", "err2"}
_SNR_WORDS = {"snr", "sn"}
_ERROR_WORDS = {
    "err", "errs", "error", "errors", "sigma", "sig", "std", "stddev", "stdev", "unc", "uncert",
    "uncertainty", "uncertainties", "noise", "rms",
}  # fmt: skip
_INVERSE_WORDS = {"inv", "inverse"}
#: One letter that means an error only together with the flux: CDS's ``e_flux``.
_ERROR_LETTERS = {"e", "d"}
#: Words of columns that may hold a noise in a form that is not known here.
_PERHAPS_NOISE = {
    "weight", "weights", "wht", "wgt", "cov", "covar", "covariance", "confidence", "scatter", "df", "nsr",
}  # fmt: skip
#: Ends of longer words that mean the same: ``inverr``, ``istd``, ``pcterr``.
_PERHAPS_NOISE_ENDS = ("err", "error", "sig", "sigma", "std", "var", "noise")
_NOISE_WORDS = _IVAR_WORDS | _VARIANCE_WORDS | _SNR_WORDS | _ERROR_WORDS
#: Quantities other than the flux that a noise may belong to.
_OTHER_QUANTITIES = _WAVE_WORDS | {
    "sky", "bkg", "bkgd", "background", "cont", "continuum", "model", "rv", "velocity", "res", "resolution",
    "mask", "flag", "flags", "quality", "offset", "disp", "wdisp", "dispersion",
}  # fmt: skip

_BAD_NAMES = {
    "mask", "bad", "badpix", "badpixel", "badpixels", "badmask", "isbad", "bpm", "dq", "qual", "quality",
    "flag", "flags", "andmask", "optmask", "fluxmask", "maskflux", "pixmask", "pixelmask", "dataquality",
    "fluxflag", "fluxquality", "qualityflag", "dqflag", "qualflag", "pixelflag", "pixelflags", "pixelquality",
    "pixquality", "qualitymask", "bitmask", "maskbits", "badpixmask", "badpixelmask", "masked", "ismasked",
    "flagged", "rejected", "status", "pixstatus", "pixelstatus", "fluxstatus", "statusflag",
    "cosmic", "cosmics", "cosmicray", "cosmicrays", "crmask", "outlier", "outliers",
}  # fmt: skip
#: Words that themselves say what a value other than 0 means.
CERTAIN_NAMES = {
    "bad", "badpix", "badpixel", "badpixels", "badmask", "isbad", "bpm", "badpixmask", "badpixelmask",
    "masked", "ismasked", "rejected",
}  # fmt: skip
_GOOD_NAMES = {
    "good", "goodpix", "goodpixel", "goodpixels", "goodmask", "isgood", "gpm", "valid", "isvalid",
    "validmask", "ok", "isok", "usable", "use", "used", "keep", "unmasked",
}  # fmt: skip

_TRUE = {"true", "t", "yes", "y", "1", "on"}
_FALSE = {"false", "f", "no", "n", "0", "off"}
_GOOD_WORDS, _BAD_WORDS = {"good", "ok", "valid"}, {"bad", "masked", "rejected", "invalid"}


def split_medium(unit: str) -> tuple[str, Medium | None]:
    """Split a unit that also names the medium: ``Angstrom (air)``, ``vacuum, nm``."""
    words = [word for word in re.split(r"[\s,;()]+", unit) if word]
    media = [_MEDIUM_WORDS[word.lower()] for word in words if word.lower() in _MEDIUM_WORDS]
    if not media:
        return unit, None
    return " ".join(word for word in words if word.lower() not in _MEDIUM_WORDS), media[0]


def truth_of(value: object) -> bool | None:
    """Return the truth value of a logical, a number or a word in a card or cell; None if it has none."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return {1.0: True, 0.0: False}.get(float(value))
    word = str(value).strip().strip("'\"").lower()
    return True if word in _TRUE else False if word in _FALSE else None


def is_bad_cell(text: str, sense: MaskSense) -> bool | None:
    """Return whether the text of a mask's cell marks a bad pixel; None if it is not clear."""
    word = text.strip().strip("'\"").lower()
    if word in _GOOD_WORDS or word in _BAD_WORDS:
        return word in _BAD_WORDS
    truth = truth_of(word)
    if truth is None:
        try:
            truth = (int(word, 16) if word.startswith("0x") else float(word)) != 0.0
        except ValueError:
            return None
    return truth == (sense == "bad")


@dataclass(frozen=True, slots=True)
class Layout:
    """The meaning of a table's columns; names as the table writes them.

    Attributes
    ----------
    wave, wave_unit, log
        The column of wavelengths, and what its name states: the unit ('' if none), and ``log10`` or ``ln``
        for logarithms.
    medium, frame
        What the name of the wavelengths states.
    noises
        Columns of noise, the best first.
    masks
        Columns that mark pixels, and what a value other than 0 means.
    puzzles
        Columns that might be a noise, in an unknown form.
    """

    wave: str
    flux: str
    wave_unit: str = ""
    log: str = ""
    medium: Medium | None = None
    frame: Frame | None = None
    noises: tuple[tuple[str, NoiseKind], ...] = ()
    masks: tuple[tuple[str, MaskSense], ...] = ()
    puzzles: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All columns that hold a value per pixel."""
        return (self.wave, self.flux, *(name for name, _ in (*self.noises, *self.masks)))


def layout_of(names: Iterable[str], *, mask_means_good: bool = False) -> Layout | None:
    """Return the meaning of columns by their names; None if wavelength or flux is missing.

    Parameters
    ----------
    names
        Names of the columns, without units, in upper or lower case.
    mask_means_good
        Whether ``mask`` is 1 for good pixels, as in PypeIt's files.
    """
    names = list(dict.fromkeys(names))
    waves = sorted((rank, i) for i, name in enumerate(names) if (rank := _wave_rank(name)) is not None)
    fluxes = sorted((rank, i) for i, name in enumerate(names) if (rank := _flux_rank(name)) is not None)
    if not waves or not fluxes:
        return None
    wave, flux = names[waves[0][1]], names[fluxes[0][1]]
    words = _words(wave)
    variant = {*_words(flux)} & _VARIANTS
    noises = [(name, kind) for name in names if (kind := noise_kind(name)) is not None]
    kinds = [one for one in noises if {*_words(one[0])} & _VARIANTS == variant]
    if not kinds and len(fluxes) == 1:  # a plain error beside the only flux, which may be normalized
        kinds = [one for one in noises if not {*_words(one[0])} & _VARIANTS]
    order: list[NoiseKind] = ["ivar", "error", "variance", "snr"]
    # PypeIt's masks are recognised by the other columns, also in a table without its header.
    mask_means_good = mask_means_good or "wave_grid_mid" in {name.lower() for name in names}
    masks = [(name, sense) for name in names if (sense := mask_sense(name, mask_means_good)) is not None]
    return Layout(
        wave=wave,
        flux=flux,
        wave_unit=next((_UNIT_WORDS[word] for word in words[1:] if word in _UNIT_WORDS), ""),
        log="ln" if "ln" in words else "log10" if any(word.startswith("log") for word in words) else "",
        medium=next((_MEDIUM_WORDS[word] for word in words if word in _MEDIUM_WORDS), None),
        frame=next((_FRAME_WORDS[word] for word in words if word in _FRAME_WORDS), None),
        noises=tuple(sorted(kinds, key=lambda one: order.index(one[1]))),
        masks=tuple(masks),
        puzzles=tuple(name for name in names if _may_be_noise(name)) if not kinds else (),
    )


def noise_kind(name: str) -> NoiseKind | None:
    """Return which kind of noise of the flux a column's name means; None if it is not one."""
    words = set(_words(name))
    if words == {"s", "n"} or {"signal", "noise"} <= words:
        return "snr"
    rest = words - _NEUTRAL
    if rest & _INVERSE_WORDS and rest & _VARIANCE_WORDS and rest <= _INVERSE_WORDS | _VARIANCE_WORDS:
        return "ivar"
    if rest and rest <= _ERROR_LETTERS and (words & _FLUX_WORDS or {"f", "lambda"} <= words):
        return "error"
    if not rest or not rest <= _NOISE_WORDS | _ERROR_LETTERS or not rest & _NOISE_WORDS:
        return None
    if rest & _IVAR_WORDS:
        return "ivar"
    if rest & _SNR_WORDS:
        return "snr"
    return "variance" if rest & _VARIANCE_WORDS else "error"


def mask_sense(name: str, mask_means_good: bool = False) -> MaskSense | None:
    """Return what a value other than 0 means in a column of this name; None if it is not a mask."""
    plain = "".join(_WORD.split(name.strip().lower()))
    if plain in _GOOD_NAMES:
        return "good"
    if plain not in _BAD_NAMES:
        return None
    return "good" if mask_means_good and plain.endswith("mask") and plain not in CERTAIN_NAMES else "bad"


def _words(name: str) -> list[str]:
    """Split a name into words; ``fluxerr`` and ``eflux`` are two words each."""
    words: list[str] = []
    for word in _WORD.split(name.strip().lower()):
        rest = word.replace("flux", "", 1) if word != "fluxes" else ""
        if "flux" in word and rest in _NOISE_WORDS | _ERROR_LETTERS | {"norm", "cal"}:
            words += ["flux", rest]
        elif word:
            words.append(word)
    return words


def _wave_rank(name: str) -> int | None:
    """Return the rank of a column as the wavelengths, the lowest is best; None if it holds none."""
    words = [word for word in _words(name) if word != "opt"]
    if words == ["spectral", "axis"]:
        return 1
    extra = {*words} - _WAVE_WORDS - _LOG_WORDS
    if not {*words} & _WAVE_WORDS or extra - _UNIT_WORDS.keys() - _MEDIUM_WORDS.keys() - _FRAME_WORDS.keys():
        return None
    return 3 * len(extra) + bool({*words} & _LOG_WORDS) + ("air" in extra)


def _flux_rank(name: str) -> int | None:
    words = _words(name)
    if words == ["f", "lambda"]:
        return 1
    if not {*words} & _FLUX_WORDS or {*words} - _NEUTRAL - _FLUX_WORDS:
        return None
    return len(words)


def _may_be_noise(name: str) -> bool:
    words, others = {*_words(name)}, tuple(_OTHER_QUANTITIES)
    may_be = (
        bool(words & (_NOISE_WORDS | _PERHAPS_NOISE))
        or any(word.endswith(_PERHAPS_NOISE_ENDS) for word in words if not word.startswith(others))
        or ("u" in words and bool(words & _FLUX_WORDS))
    )
    return may_be and not words & _OTHER_QUANTITIES
