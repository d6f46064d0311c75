"""Cases from the field, run through reader and models as ``cempstream classify`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cempstream.processors.outcome import Classification
from cempstream.processors.readers import ReadOptions, expand_paths
from cempstream.streams.scoring.files import classify_files
from cempstream.streams.scoring.pipeline import Pipeline
from cempstream.streams.scoring.result import Result


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What came of a folder or file: an outcome per spectrum, a line per file that could not be read."""

    results: list[Result]
    complaints: list[str]

    @property
    def scored(self) -> list[Classification]:
        """The spectra that were scored, in order."""
        return [r.outcome for r in self.results if isinstance(r.outcome, Classification)]


def run_case(pipeline: Pipeline, path: Path, **options: str | float) -> CaseResult:
    """Classify the file or folder at a path."""
    complaints: list[str] = []
    results = classify_files(
        expand_paths([path]),
        pipeline,
        options=ReadOptions(**options),  # type: ignore[arg-type]
        on_unreadable=lambda error: complaints.append(str(error)),
    )
    return CaseResult(list(results), complaints)
