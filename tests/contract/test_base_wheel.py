"""The wheel, installed without extras into an empty environment, is a working subscriber."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from cempstream.schemas.registry import Kind, versions

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as pip would from a checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (path,) = folder.glob("cempstream-*.whl")
    return path


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an environment of its own and return its folder of commands."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=True)
    scripts = home / ("Scripts" if sys.platform == "win32" else "bin")
    run(str(scripts / "python"), "-m", "pip", "install", "--quiet", str(wheel))
    return scripts


def run(*command: str) -> str:
    # From elsewhere than the checkout, so that nothing is imported from there.
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, cwd="/")
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return done.stdout


def test_the_wheel_holds_every_layer_and_every_schema_once(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names))
    assert {name.split("/")[0] for name in names} == {"cempstream", names[-1].split("/")[0]}
    for kind in Kind:
        for version in versions(kind):
            for file in ("schema.avsc", "sample.bin"):
                assert f"cempstream/schemas/{kind}/{version}/{file}" in names
    for needed in (
        "cempstream/py.typed",
        "cempstream/streams/subscriber/client.py",
        "cempstream/processors/spectrum.py",
    ):
        assert needed in names


def test_none_of_the_workers_packages_is_installed(scripts: Path) -> None:
    listed = json.loads(run(str(scripts / "python"), "-m", "pip", "list", "--format", "json"))
    names = {package["name"].lower() for package in listed}
    assert "cempstream" in names
    assert not names & {"faust-streaming", "onnxruntime", "astropy", "scipy", "torch", "pydantic-settings"}


def test_the_command_and_the_library_work(scripts: Path) -> None:
    assert run(str(scripts / "cempstream"), "--version").startswith("cempstream ")
    assert "alert: 1.0" in run(str(scripts / "cempstream"), "schema", "list")
    folder = run(
        str(scripts / "python"),
        "-c",
        "import cempstream, pathlib; print(pathlib.Path(cempstream.__file__).parent)",
    ).strip()
    assert not Path(folder).is_relative_to(ROOT)
    packet = f"{folder}/schemas/alert/1.0/sample.bin"
    printed = run(str(scripts / "cempstream"), "listen", "--json", "--tense", "test", "--file", packet)
    assert json.loads(printed)["survey"] == "sample"
    assert "SAMPLE J104508" in run(str(scripts / "cempstream"), "listen", "--tense", "test", "--file", packet)
