"""The Python interpreters of this machine, for the versions that cempstream says it runs on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def claimed() -> list[str]:
    """Return the versions in the classifiers of pyproject.toml: ``3.11`` and so on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    last = [classifier.rpartition(" :: ")[2] for classifier in project["classifiers"]]
    return [version for version in last if version.startswith("3.")]


@cache
def found() -> dict[str, Path]:
    """Return an interpreter for each claimed version that this machine has one of."""
    return {
        version: path
        for version in claimed()
        if (path := next((path for path in _candidates(version) if _runs(path, version)), None)) is not None
    }


def _candidates(version: str) -> Iterator[Path]:
    """Yield where an interpreter may be: this one, the PATH, pyenv's, and those that uv has installed."""
    yield Path(sys.executable)
    for folder in os.get_exec_path():
        yield Path(folder) / f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python"))
    if uv := shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}"):
        find = [uv, "python", "find", "--no-project", "--managed-python", "--no-python-downloads", version]
        printed = subprocess.run(find, capture_output=True, text=True, timeout=60, check=False).stdout.strip()
        if printed:
            yield Path(printed)


def _runs(path: Path, version: str) -> bool:
    """Say whether it is an interpreter of that version; a shim of pyenv may stand for none."""
    if not path.is_file():
        return False
    ask = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    return (
        subprocess.run(ask, capture_output=True, text=True, timeout=60, check=False).stdout.strip() == version
    )
