"""The rule that a skip is a failure in CI, tried on a suite that skips in every way."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import pytest

@pytest.fixture
def data():
    pytest.skip("no data")

def test_in_fixture(data): ...

def test_in_body():
    pytest.skip("no body")

@pytest.mark.skipif(True, reason="no platform")
def test_by_mark(): ...

def test_good(): ...
"""


def _outcome(folder: Path, ci: str) -> tuple[int, str]:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--continue-on-collection-errors",
            folder,
        ],
        env={**os.environ, "CI": ci},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def test_in_ci_a_skip_is_a_failure(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parents[1] / "conftest.py", tmp_path)
    (tmp_path / "test_skips.py").write_text(SUITE)
    (tmp_path / "test_module.py").write_text("import pytest\npytest.importorskip('no_such_module')")
    status, output = _outcome(tmp_path, "")
    assert status == 0
    assert output.splitlines()[-1].startswith("1 passed, 4 skipped")
    status, output = _outcome(tmp_path, "true")
    assert status == pytest.ExitCode.TESTS_FAILED
    for reason in ("no data", "no body", "no platform", "no_such_module"):
        assert reason in output
    assert output.splitlines()[-1].startswith("1 failed, 1 passed, 3 errors")
