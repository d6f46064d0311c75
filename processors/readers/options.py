"""Options for reading a file, and the error for a file that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cempstream.errors import FixableError
from cempstream.plain import shown
from cempstream.processors.readers.columns import split_unit, wave_unit_of
from cempstream.processors.readers.vocabulary import layout_of
from cempstream.processors.spectrum import Frame, Medium


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What the caller states about a file; for None the file's value is used, or else an estimate.

    Attributes
    ----------
    medium, frame
        Of the wavelengths.
    resolving_power
        λ/FWHM, one number for the whole file.
    survey
        Short name in lower case.
    wave_unit
        Of the wavelengths of plain tables, text and archives: ``AA``, ``nm``, ``um``, ``log10(AA)`` …
    columns
        Names of the columns of a text or ``.npy`` table in their order, as ``("wave", "flux", "error")``; a
        ``-`` for a column to skip.
    """

    medium: Medium | None = None
    frame: Frame | None = None
    resolving_power: float | None = None
    survey: str | None = None
    wave_unit: str | None = None
    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.medium not in (None, "air", "vacuum"):
            raise ValueError(f"medium is {self.medium!r}; it must be air or vacuum")
        if self.frame not in (None, "observed", "rest"):
            raise ValueError(f"frame is {self.frame!r}; it must be observed or rest")
        if self.resolving_power is not None and not 1.0 < self.resolving_power < 1e6:
            raise ValueError(
                f"resolving power is {self.resolving_power}; it must be λ/FWHM, between 1 and 1e6"
            )
        if self.survey is not None and not self.survey.strip():
            raise ValueError("survey is empty; it must name the survey")
        if self.wave_unit is not None and (
            not self.wave_unit.strip() or wave_unit_of(self.wave_unit) is None
        ):
            raise ValueError(
                f"wave unit is {self.wave_unit!r}; it must be a length such as AA, nm or um, or log10(AA)"
            )
        if self.columns is not None and layout_of(split_unit(name)[0] for name in self.columns) is None:
            raise ValueError(
                f"columns are {','.join(self.columns)!r}; they must name wave and flux: wave,flux,error"
            )


class UnreadableFile(FixableError):
    """A file of which no spectrum can be read; other files are not affected.

    Attributes
    ----------
    path
        As it was given.
    why, remedy
        What is wrong and what would be right, in a few words each.
    """

    def __init__(self, path: Path, why: str, remedy: str) -> None:
        # Parsers' messages may hold line breaks and the damaged bytes.
        self.path = path
        self.why = one_line(why)
        self.remedy = one_line(remedy)
        super().__init__(f"{shown(path)}: {self.why}; {self.remedy}")


def one_line(text: str, *, longest: int = 240) -> str:
    """Return text as one printable line, cut to a limited length."""
    return shown(" ".join(text.split()), longest=longest)
