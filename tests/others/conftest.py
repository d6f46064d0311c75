"""The environment of those who read alerts: `make others-test` makes it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOME = Path(os.environ.get("CEMP_OTHERS", ROOT / ".venv-others"))


def runner(home: Path) -> Callable[..., str]:
    """Return a function that runs an environment's Python in this checkout, and returns its stdout."""
    python = home / "bin" / "python"

    def run(*words: str | Path, **environment: str) -> str:
        done = subprocess.run(
            [python, *map(str, words)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    return run


@pytest.fixture(scope="session")
def others() -> Callable[..., str]:
    """Return the runner of the environment that `make others-test` makes."""
    if not (HOME / "bin" / "python").exists():
        pytest.skip(f"there is no {HOME}: make others-test")
    return runner(HOME)


@pytest.fixture(scope="session")
def gcn_core() -> Path:
    """Return the folder of GCN's core schemas."""
    folder = HOME / "gcn" / "node_modules" / "@nasa-gcn" / "schema" / "gcn" / "notices" / "core"
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}: make others-test")
    return folder
