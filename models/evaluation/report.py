"""A report of independent sections: one self-contained page, and all its numbers as JSON."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import numpy as np
from matplotlib.figure import Figure

from cempstream.models.statistics import Measured

_TEMPLATES = Path(__file__).parent / "templates"
_DPI = 72

#: Types of a cell or a number in a report.
Value: TypeAlias = Measured | float | int | str | bool | None


class NoInput(RuntimeError):
    """A section cannot be written because something it needs was not given; the message says what."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows of values under headings; measured ones are written with interval and sample size."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]

    @property
    def text(self) -> list[list[str]]:
        """The cells as text."""
        return [[_text(value) for value in row] for row in self.rows]


@dataclass(frozen=True, slots=True, eq=False)
class ReportPicture:
    """A plot as PNG with its caption."""

    caption: str
    png: bytes = field(repr=False)

    @property
    def base64(self) -> str:
        """The picture in base64, for a page."""
        return b64encode(self.png).decode("ascii")


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """One question and its answer.

    Attributes
    ----------
    missing
        Missing inputs; empty if the section was measured.
    """

    key: str
    title: str
    lead: str = ""
    tables: Sequence[Table] = ()
    pictures: Sequence[ReportPicture] = ()
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A section that is not written yet."""

    key: str
    title: str
    write: Callable[[], Section]


def chosen(questions: Sequence[Question], keys: Sequence[str]) -> list[Question]:
    """Return the questions of these keys, or all of them if none is given.

    Raises
    ------
    ValueError
        Naming a key that no question has.
    """
    known = [question.key for question in questions]
    for key in keys:
        if key not in known:
            raise ValueError(f"there is no section '{key}'; there are {', '.join(known)}")
    return [question for question in questions if not keys or question.key in keys]


def answer(questions: Sequence[Question], told: Callable[[str], None]) -> list[Section]:
    """Write the sections one by one; one without its input says so, and the others are written."""
    sections = []
    for question in questions:
        told(question.title)
        try:
            sections.append(question.write())
        except NoInput as error:
            sections.append(Section(question.key, question.title, missing=str(error)))
    return sections


def draw(figure: Figure, caption: str) -> ReportPicture:
    """Turn a figure into a picture."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return ReportPicture(caption, buffer.getvalue())


def write_report(
    folder: Path, title: str, lead: str, facts: Mapping[str, Value], sections: Sequence[Section]
) -> tuple[Path, Path]:
    """Write ``index.html`` and ``report.json`` into a folder and return their paths."""
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup, escape

    folder.mkdir(parents=True, exist_ok=True)
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True)
    # Commands are between backticks in the text.
    environment.filters["commands"] = lambda text: Markup(
        re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    )
    page = environment.get_template("report.html.j2").render(
        title=title,
        lead=lead,
        facts=[(name, _text(value)) for name, value in facts.items()],
        sections=sections,
    )
    html, numbers = folder / "index.html", folder / "report.json"
    html.write_text(page + "\n", encoding="utf-8")
    record = {
        "title": title,
        "facts": {name: _json(value) for name, value in facts.items()},
        "sections": [_record(section) for section in sections],
    }
    numbers.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return html, numbers


def _record(section: Section) -> dict[str, object]:
    return {
        "key": section.key,
        "title": section.title,
        "lead": section.lead,
        "missing": section.missing,
        "tables": [
            {
                "caption": table.caption,
                "rows": [
                    {name: _json(value) for name, value in zip(table.columns, row, strict=True)}
                    for row in table.rows
                ],
            }
            for table in section.tables
        ],
    }


def _json(value: Value) -> object:
    if isinstance(value, Measured):
        return value.record
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _text(value: Value) -> str:
    if isinstance(value, Measured):
        return value.text
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
    return value
