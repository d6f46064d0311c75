"""Files in, a table out: every spectrum has one row, in order, whatever stands beside it."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cempstream.processors.decide import Policy
from cempstream.processors.outcome import Rejected
from cempstream.processors.readers import UnreadableFile
from cempstream.processors.spectrum import Reason
from cempstream.schemas.codec import decode_spectrum
from cempstream.streams.scoring.files import classify_files
from cempstream.streams.scoring.pipeline import Pipeline, Route
from cempstream.streams.scoring.result import Result
from cempstream.streams.scoring.result_files import SUFFIXES, open_table
from cempstream.streams.scoring.result_table import COLUMNS
from tests.support.fakes import GRID, ThresholdChain, classification, make_spectrum

POLICY = Policy("1", prior=3e-4, threshold=0.5)


def pipeline_over(chain: ThresholdChain) -> Pipeline:
    route = Route(chain, (600.0, 1e5), lambda survey: POLICY, make_spectrum("reference"))  # type: ignore[arg-type]
    return Pipeline(decode_spectrum, [route])


def write_npz(path: Path, levels: dict[str, float | None], resolving_power: float = 1800.0) -> Path:
    """Write flat spectra, one per name; one whose level is None has no pixels."""
    flux = [
        np.full(0 if level is None else GRID.n_pix, level or 0.0, dtype=np.float32)
        for level in levels.values()
    ]
    sizes = [array.size for array in flux]
    np.savez(
        path,
        wave=np.concatenate([GRID.wave[:size] for size in sizes]),
        flux=np.concatenate(flux),
        ivar=np.full(sum(sizes), 400.0, dtype=np.float32),
        offsets=np.cumsum([0, *sizes]),
        ids=np.array(list(levels)),
        medium="vacuum",
        frame="observed",
        resolving_power=resolving_power,
    )
    return path


def run(paths: list[Path], chain: ThresholdChain, batch_size: int = 64) -> tuple[list[Result], list[str]]:
    complaints: list[str] = []
    results = classify_files(
        paths,
        pipeline_over(chain),
        batch_size=batch_size,
        on_unreadable=lambda error: complaints.append(str(error)),
    )
    return list(results), complaints


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_rows_stand_in_the_files_order_whatever_the_batch(tmp_path: Path, batch_size: int) -> None:
    first = write_npz(tmp_path / "a.npz", {"a1": 1.0, "bad": None, "a3": 0.4, "a4": 1.0})
    blunt = write_npz(tmp_path / "b.npz", {"b1": 1.0}, resolving_power=50.0)
    last = write_npz(tmp_path / "c.npz", {f"c{i}": 0.4 for i in range(5)})
    results, complaints = run([first, blunt, last], ThresholdChain(), batch_size)
    assert complaints == []
    rows = [result.row for result in results]
    assert [row["spectrum_id"] for row in rows] == [
        "a1",
        "bad",
        "a3",
        "a4",
        "b1",
        "c0",
        "c1",
        "c2",
        "c3",
        "c4",
    ]
    assert [row["status"] for row in rows] == [
        "scored",
        "rejected",
        "scored",
        "scored",
        "rejected",
        *["scored"] * 5,
    ]
    assert rows[1]["reason"] == "no_pixels"
    assert rows[4]["reason"] == "unsupported_resolution"
    assert [row["is_candidate"] for row in rows[:4]] == [False, None, True, False]
    assert [row["file"] for row in rows] == [str(p) for p in (*[first] * 4, blunt, *[last] * 5)]


def test_no_batch_is_larger_than_asked(tmp_path: Path) -> None:
    chain = ThresholdChain()
    run(
        [write_npz(tmp_path / f"{i}.npz", dict.fromkeys("uvwxyz", 1.0)) for i in range(3)],
        chain,
        batch_size=4,
    )
    assert [len(batch) for batch in chain.batches] == [4, 4, 4, 4, 2]


def test_good_files_are_done_though_others_cannot_be_read(tmp_path: Path) -> None:
    junk = tmp_path / "junk.fits"
    junk.write_bytes(b"SIMPLE  = and nothing more")
    good = [write_npz(tmp_path / f"{name}.npz", {name: 1.0}) for name in ("first", "last")]
    results, complaints = run([good[0], junk, tmp_path / "absent.fits", good[1]], ThresholdChain())
    assert [r.spectrum.spectrum_id for r in results if r.spectrum] == ["first", "last"]
    assert len(complaints) == 2
    assert complaints[0].startswith(str(junk))
    assert "absent.fits" in complaints[1]


def test_a_poison_spectrum_is_a_rejected_row_in_its_place(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", dict.fromkeys((f"s{i}" for i in range(40)), 1.0))
    results, _ = run([path], ThresholdChain(poison=frozenset({"s7"})))
    assert [r.outcome.reason for r in results if isinstance(r.outcome, Rejected)] == [Reason.PROCESSING_ERROR]
    assert isinstance(results[7].outcome, Rejected)


def test_the_error_of_an_unreadable_file_reaches_a_caller_who_raises(tmp_path: Path) -> None:
    def refuse(error: UnreadableFile) -> None:
        raise error

    with pytest.raises(UnreadableFile):
        list(classify_files([tmp_path / "absent"], pipeline_over(ThresholdChain()), on_unreadable=refuse))


def test_every_format_holds_the_same_table(tmp_path: Path) -> None:
    star = make_spectrum("s1")
    good = classification(star, 0.9, POLICY)
    rejected = Rejected(b"", Reason.NO_PIXELS, 'no pixels; one "at least", please', "s2", "sdss")
    results = [Result("a.fits", star, good), Result("a.fits", None, rejected)]
    rows = [result.row for result in results]
    for suffix in SUFFIXES:
        with open_table(tmp_path / f"out{suffix}") as write:
            for result in results:
                write(result)
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == rows
    with (tmp_path / "out.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert list(table[0]) == list(COLUMNS)
    assert float(table[0]["p_cemp"]) == rows[0]["p_cemp"]
    assert table[0]["is_candidate"] == "true"
    assert [table[1][name] for name in ("spectrum_id", "survey", "status", "reason", "teff", "detail")] == [
        "s2", "sdss", "rejected", "no_pixels", "", 'no pixels; one "at least", please',
    ]  # fmt: skip


def test_the_columns_that_users_rely_on() -> None:
    parameters = [
        f"{name}{end}" for name in ("teff", "logg", "feh", "cfe", "ac", "bafe") for end in ("", "_lo", "_hi")
    ]
    assert {
        "spectrum_id", "survey", "status", "reason", "snr", "rv_kms", *parameters, "cfe_corrected", "p_cemp",
        "p_cemp_corrected", "subclass", "ood_score", "is_candidate", "flags", "bundle",
    } <= set(COLUMNS)  # fmt: skip


def test_what_is_not_finite_is_nothing(tmp_path: Path) -> None:
    star = make_spectrum("s1")
    outcome = classification(star, float("nan"), POLICY)
    result = Result("a", star, outcome)
    assert result.row["p_cemp"] is None
    with open_table(tmp_path / "out.jsonl") as write:
        write(result)
    assert json.loads((tmp_path / "out.jsonl").read_text())["p_cemp"] is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_run_that_fails_leaves_the_older_table(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out{suffix}"
    out.write_text("older")
    with pytest.raises(RuntimeError, match="stop"), open_table(out):
        raise RuntimeError("stop")
    assert out.read_text() == "older"
    assert list(tmp_path.iterdir()) == [out]


def test_without_a_file_the_table_goes_to_stdout_as_csv() -> None:
    star = make_spectrum("s1")
    stdout = io.StringIO()
    with open_table(stdout) as write:
        write(Result("a", star, classification(star, 0.9, POLICY)))
    header, row = stdout.getvalue().splitlines()
    assert header == ",".join(COLUMNS)
    assert row.startswith("s1,lamost,scored,,20.0,12.5,1.0,0.5,1.5")
