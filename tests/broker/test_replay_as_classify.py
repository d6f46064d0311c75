"""The same files give the same numbers through Kafka and without it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cempstream import classify
from cempstream.processors.outcome import PARAMETERS
from cempstream.streams.cli import app
from cempstream.streams.operations.verify import SAME_PROVIDER
from tests.support.night import Topics, WorkerProcess, wait_for

pytestmark = [pytest.mark.shared, pytest.mark.timeout(240)]


def test_replayed_files_score_as_classified_ones(bootstrap: str, shared_data: Path) -> None:
    real = shared_data / "real"
    files = [*sorted((real / "lamost").glob("*.fits.gz"))[::6], *sorted((real / "sdss").glob("*.fits.gz"))]
    files += sorted((real / "desi").glob("*.fits.gz"))
    rows = {row["spectrum_id"]: row for row in classify(files)}
    topics = Topics.create(bootstrap)
    arguments = ["--bootstrap", bootstrap, "--topic", topics.spectra]
    with WorkerProcess(bootstrap, topics) as worker:
        worker.wait_ready()
        result = CliRunner().invoke(app, ["replay", *map(str, files), *arguments])
        assert result.exit_code == 0, result.output
        ledger = wait_for(bootstrap, topics, len(rows))
    scored = {name: row for name, row in rows.items() if row["status"] == "scored"}
    assert set(ledger.scores) == set(scored)
    assert len(ledger.dead) == len(rows) - len(scored)
    for name, (score,) in ledger.scores.items():
        row = scored[name]
        assert score.p_cemp == pytest.approx(row["p_cemp"], abs=SAME_PROVIDER)
        assert score.p_cemp_corrected == pytest.approx(row["p_cemp_corrected"], abs=SAME_PROVIDER)
        assert score.decision.is_candidate == row["is_candidate"]
        for parameter in PARAMETERS:
            estimate = getattr(score.parameters, parameter)
            measured = [estimate.value, estimate.lo, estimate.hi]
            expected = [row[f"{parameter}{end}"] for end in ("", "_lo", "_hi")]
            assert measured == pytest.approx(expected, rel=1e-5, abs=1e-5)
