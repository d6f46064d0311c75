"""The command line: quick help, one line for what a person can fix, and nothing beyond the base install."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from cempstream.streams import interrupts
from cempstream.streams.cli import VERBS, app
from cempstream.streams.rehearsal.worker_process import WorkerFailed
from cempstream.streams.telemetry.logs import (
    JsonFormatter,
    KeyValueFormatter,
    LogFormat,
    LogLevel,
    configure_logging,
)

#: What only the extras bring.
EXTRAS = (
    "aiokafka",
    "astropy",
    "faust",
    "h5py",
    "matplotlib",
    "onnxruntime",
    "prometheus_client",
    "pyarrow",
    "pydantic_settings",
    "scipy",
    "torch",
)


def run(*args: str, absent: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the command line in a separate process in which some packages cannot be imported."""
    program = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({absent!r}))\n"
        f"sys.argv[1:] = {list(args)!r}\n"
        "from cempstream.streams.cli import main\n"
        "try:\n    main()\n"
        "finally:\n"
        f"    heavy = [name for name in {EXTRAS!r} if sys.modules.get(name)]\n"
        "    print('imported:', *heavy)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )


def test_help_names_every_verb_and_imports_nothing_heavy() -> None:
    result = run("--help")
    assert result.returncode == 0
    for verb in VERBS.values():
        assert f" {verb.name} " in result.stdout
    assert result.stdout.rstrip().endswith("imported:")


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout == "cempstream 0.1.0\n"


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--bogus"], "cempstream: No such option: --bogus"),
        (["listne"], "cempstream: No such command 'listne'. Did you mean 'listen'?"),
        (["topics", "creat"], "cempstream topics: No such command 'creat'. Did you mean 'create'"),
        (
            ["topics", "create", "--partitions", "0"],
            "cempstream topics create: Invalid value for '--partitions'",
        ),
    ],
)
def test_a_wrong_argument_is_one_line_and_status_2(args: list[str], line: str) -> None:
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("verb", ["topics", "dlq", "bundle", "schema"])
def test_a_verb_of_several_shows_its_help_and_no_more(verb: str) -> None:
    result = CliRunner().invoke(app, [verb])
    assert (result.exit_code, result.stderr) == (2, "")
    assert "Commands" in result.stdout


@pytest.mark.parametrize(("verb", "extra"), [("worker", "cpu"), ("topics", "cpu"), ("dlq", "cpu")])
def test_a_verb_whose_extra_is_absent_names_it(verb: str, extra: str) -> None:
    result = run(verb, "--help", absent=EXTRAS)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1
    assert f"'{verb}' needs " in result.stderr
    assert f"pip install 'cempstream[{extra}]'" in result.stderr


@pytest.mark.parametrize("args", [("listen", "--help"), ("schema", "show", "alert")])
def test_a_subscribers_verb_needs_no_extra(args: tuple[str, ...]) -> None:
    result = run(*args, absent=EXTRAS)
    assert result.returncode == 0, result.stderr


def test_a_broker_that_is_absent_is_one_line_and_status_1() -> None:
    result = run("topics", "list", "--bootstrap", "127.0.0.1:1")
    assert result.returncode == 1
    assert result.stderr.startswith("cempstream: no broker answers at 127.0.0.1:1")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [(["--help"], 0, b"--bootstrap"), (["--file", "\u03bb Boo.jsonl"], 1, b" Boo.jsonl: No such file")],
)
def test_no_character_ends_a_command(encoding: str, words: list[str], status: int, said: bytes) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "cempstream", "listen", *words],
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert result.returncode == status, result.stderr
    assert said in result.stdout + result.stderr
    assert b"Traceback" not in result.stderr


@pytest.mark.parametrize(
    "other",
    [AttributeError("'ExitStack' object has no attribute '_push_cm_exit'"), WorkerFailed("it is gone")],
)
def test_what_ctrl_c_turned_into_is_still_ctrl_c(monkeypatch: pytest.MonkeyPatch, other: Exception) -> None:
    def versions(_: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise other

    monkeypatch.setattr("cempstream.streams.commands.schema.versions", versions)
    monkeypatch.setattr("cempstream.streams.interrupts._came", False)
    interrupts.end_at_once()
    try:
        result = CliRunner().invoke(app, ["schema", "list"])
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert (result.exit_code, result.stderr) == (130, "cempstream: interrupted\n")


def test_without_ctrl_c_an_error_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def versions(_: object) -> None:
        raise WorkerFailed("it is gone")

    monkeypatch.setattr("cempstream.streams.commands.schema.versions", versions)
    result = CliRunner().invoke(app, ["schema", "list"])
    assert (result.exit_code, result.stderr) == (1, "cempstream: it is gone\n")


def test_an_impossible_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEMP_BATCH__SIZE", "0")
    result = CliRunner().invoke(app, ["topics", "list"])
    assert result.exit_code == 1
    assert result.stderr.startswith("cempstream: CEMP_BATCH__SIZE: ")


def test_log_options_may_stand_behind_the_verb() -> None:
    result = run("schema", "list", "--log-format", "json", "--log-level=debug")
    assert result.returncode == 0, result.stderr
    assert "alert: 1.0" in result.stdout
    assert CliRunner().invoke(app, ["schema", "list", "--log-level", "loud"]).exit_code == 2


@pytest.mark.parametrize(("level", "is_heard"), [("info", False), ("debug", True)])
def test_a_librarys_chatter_is_heard_only_on_request(level: str, is_heard: bool) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        configure_logging(LogLevel(level), LogFormat.TEXT)
        assert logging.getLogger("faust.worker").isEnabledFor(logging.INFO) is is_heard
        assert logging.getLogger("aiokafka").isEnabledFor(logging.WARNING)
        assert logging.getLogger("cempstream.streams.worker.agent").isEnabledFor(logging.INFO)
    finally:
        logging.captureWarnings(False)
        for name in ("aiokafka", "faust", "matplotlib", "mode"):
            logging.getLogger(name).setLevel(logging.NOTSET)
        logging.getLogger().handlers[:], level_before = before
        logging.getLogger().setLevel(level_before)


def _record(**extra: object) -> logging.LogRecord:
    record = logging.LogRecord("stream", logging.WARNING, "", 0, "dead letter %s", ("not_avro",), None)
    vars(record).update(created=1_800_000_000.5, **extra)
    return record


def test_a_log_line_is_key_value() -> None:
    assert KeyValueFormatter().format(_record(spectrum_id="s 1", exposure_id="e1")) == (
        'time=2027-01-15T08:00:00.500+00:00 level=warning logger=stream message="dead letter not_avro" '
        'spectrum_id="s 1" exposure_id=e1'
    )


def test_a_log_line_is_json_on_request() -> None:
    assert json.loads(JsonFormatter().format(_record(spectrum_id="s 1"))) == {
        "time": "2027-01-15T08:00:00.500+00:00",
        "level": "warning",
        "logger": "stream",
        "message": "dead letter not_avro",
        "spectrum_id": "s 1",
    }
