"""The package, installed with the oldest and with the newest versions that pyproject.toml allows, works.

Only wheels are taken: on a Python that came after a floor, the oldest is the oldest that has one.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.install.interpreters import ROOT, claimed, found
from tests.support.spectra import write_stars

pytestmark = [pytest.mark.install, pytest.mark.timeout(900)]

RESOLUTIONS = ("lowest-direct", "highest")

#: A tool of those who change the package, which needs one that is released without a wheel (yattag).
WITHOUT_WHEELS = "mutants"

#: The tests of commands and of the interface; they are quick and touch every package of the worker.
COMMAND_TESTS = (
    "tests/unit/test_cli.py",
    "tests/unit/test_readers_tables.py",
    "tests/contract/test_base_install.py",
    "tests/contract/test_bundle.py",
    "tests/flow/test_classifier.py",
    "tests/flow/test_classify_cli.py",
    "tests/flow/test_explain_cli.py",
)


@dataclass(frozen=True)
class Environment:
    """A virtual environment, made and filled by uv."""

    folder: Path

    def python(self, *arguments: str | Path, cwd: Path | None = None) -> str:
        """Run the environment's Python, by default from where nothing of the checkout can be imported."""
        return _output(self.folder / "bin" / "python", *arguments, cwd=cwd or self.folder)

    def command(self, *arguments: str | Path) -> str:
        """Run ``cempstream``; return what it prints."""
        return _output(self.folder / "bin" / "cempstream", *arguments, cwd=self.folder)

    def install(self, release: Path, resolution: str, extra: str = "") -> None:
        """Install what pyproject.toml asks for, then the released wheels, which are content with it.

        Asked for a wheel, uv takes the lowest version of the wheel alone and not of what it needs.
        """
        install = ("pip", "install", "--only-binary", ":all:", "--python", self.folder / "bin" / "python")
        extras = ("--extra", extra) if extra else ()
        _uv(*install, "--resolution", resolution, "--requirements", ROOT / "pyproject.toml", *extras)
        (wheel,) = release.glob("cempstream-*.whl")
        named = f"cempstream[{extra}]" if extra else "cempstream"
        _uv(*install, "--find-links", release, f"{named} @ {wheel.as_uri()}")


def _output(*command: str | Path, cwd: Path) -> str:
    # The variables of the tests' own environment would lead to its packages.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, (
        f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    )
    return done.stdout


def _uv(*arguments: str | Path) -> str:
    return _output(sys.executable, "-m", "uv", "--quiet", *arguments, cwd=ROOT)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the two wheels of a release; return their folder."""
    folder = tmp_path_factory.mktemp("release")
    build = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder)
    subprocess.run(
        [sys.executable, *build, ROOT, ROOT / "models"],
        env=os.environ | {"CEMPSTREAM_RELEASE": "1"},
        timeout=300,
        check=True,
    )
    return folder


@pytest.fixture(scope="module")
def stars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three stars in a file."""
    path = tmp_path_factory.mktemp("files") / "stars.npz"
    write_stars(path, 3)
    return path


@pytest.fixture(params=sorted(found()))
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Environment:
    """An environment of one interpreter that holds nothing."""
    folder = tmp_path / "environment"
    _uv("venv", "--no-project", "--python", found()[request.param], folder)
    return Environment(folder)


def test_every_interpreter_that_runs_the_tests_is_among_the_claimed() -> None:
    running = "{}.{}".format(*sys.version_info)
    assert running in claimed()
    assert found()[running] == Path(sys.executable)


def test_every_floor_is_a_release_that_the_lowest_install_takes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {
        name: group for name, group in project["optional-dependencies"].items() if name != WITHOUT_WHEELS
    }
    compile_ = ("pip", "compile", "--resolution", "lowest-direct", "--only-binary", ":all:", "--no-header")
    asked = [argument for name in extras for argument in ("--extra", name)]
    chosen = dict(
        line.split()[0].split("==")
        for line in _uv(
            *compile_, "--no-annotate", "--python-version", claimed()[0], *asked, "pyproject.toml"
        ).splitlines()
    )
    groups = [project["dependencies"], *extras.values()]
    for requirement in map(Requirement, chain(*groups)):
        if requirement.name != "cempstream":
            (floor,) = (s.version for s in requirement.specifier if s.operator in (">=", "=="))
            assert Version(chosen[requirement.name]) == Version(floor), requirement


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_the_commands_work(empty: Environment, release: Path, stars: Path, resolution: str) -> None:
    empty.install(release, resolution)
    assert "alerts" in empty.command("--help")
    assert "--where" in empty.command("listen", "--help")
    assert "alert: 1.0" in empty.command("schema", "list")
    empty.python("-c", "from cempstream import Alert, AlertStream, Spectrum, decode_spectrum")
    packet = ROOT / "schemas" / "alert" / "1.0" / "sample.bin"
    printed = empty.command("listen", "--json", "--tense", "test", "--file", packet)
    assert json.loads(printed)["survey"] == "sample"

    empty.install(release, resolution, "cpu")
    empty.python("-c", "import cempstream\nfor name in cempstream.__all__: getattr(cempstream, name)")
    empty.command("worker", "--help")
    out = empty.folder / "out.csv"
    empty.command("classify", stars, "--out", out)
    with out.open(newline="") as stream:
        assert [row["status"] for row in csv.DictReader(stream)] == ["scored"] * 3


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_the_tests_of_the_commands_pass(tmp_path: Path, release: Path, resolution: str) -> None:
    oldest = found()[next(version for version in claimed() if version in found())]
    _uv("venv", "--no-project", "--python", oldest, tmp_path / "environment")
    environment = Environment(tmp_path / "environment")
    environment.install(release, resolution, "dev")
    environment.python("-m", "pytest", "-q", "-x", *COMMAND_TESTS, cwd=ROOT)
