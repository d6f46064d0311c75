"""A release is two wheels: a small one that is a working subscriber by itself, and one of the models.

What is built otherwise, as pip does from a checkout, is one wheel with all that is in the two.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from cempstream.schemas.registry import Kind, versions
from tests.support.spectra import write_stars

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.install, pytest.mark.timeout(600)]


#: A subscriber's download may not grow beyond this; without models and reports it is 1.07 MB.
MOST_BYTES = 1_300_000


def build(folder: Path, *projects: Path, **variables: str) -> list[Path]:
    """Build wheels as pip would from a checkout."""
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    command = (*pip, "--wheel-dir", str(folder), *map(str, projects))
    subprocess.run(command, env=os.environ | variables, cwd="/", timeout=500, check=True)
    return sorted(folder.glob("*.whl"))


def contents(wheel: Path) -> set[str]:
    """Return the files that a wheel installs, without what describes it."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names))
    return {name for name in names if ".dist-info/" not in name}


def metadata(wheel: Path) -> Message:
    """Return what a wheel says of itself."""
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(path))


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Build the two wheels of a release: the subscriber's and the models'."""
    base, models = build(tmp_path_factory.mktemp("release"), ROOT, ROOT / "models", CEMPSTREAM_RELEASE="1")
    return base, models


@pytest.fixture(scope="module")
def wheel(release: tuple[Path, Path]) -> Path:
    """Return the subscriber's wheel."""
    return release[0]


@pytest.fixture(scope="module")
def with_models(release: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack both wheels of the release into one folder."""
    folder = tmp_path_factory.mktemp("with_models")
    for wheel in release:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a new environment and return its folder of commands."""
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


def run_from(folder: Path, *arguments: str, status: int = 0, cwd: str | Path = "/") -> str:
    """Run ``cempstream`` as unpacked in a folder; return its stderr."""
    command = [sys.executable, "-m", "cempstream", *arguments]
    env = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == status, f"{' '.join(command)}\n{done.stderr}"
    return done.stderr


def test_the_wheel_holds_every_layer_and_every_schema_once(wheel: Path) -> None:
    names = contents(wheel)
    assert {name.split("/")[0] for name in names} == {"cempstream"}
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


def test_a_subscriber_downloads_neither_models_nor_reports(wheel: Path) -> None:
    heavy = {name for name in contents(wheel) if name.endswith((".onnx", ".npz", ".html", ".png", ".ipynb"))}
    assert not heavy
    assert wheel.stat().st_size < MOST_BYTES


def test_the_models_wheel_holds_the_rest_and_no_code(release: tuple[Path, Path], tmp_path: Path) -> None:
    (whole,) = build(tmp_path, ROOT)
    base, models = map(contents, release)
    assert base | models == contents(whole)
    assert not base & models
    assert {Path(name).suffix for name in models} == {".json", ".onnx", ".npz"}
    assert not [name for name in contents(whole) if "/reports/" in name]


#: Extras of a subscriber, who scores nothing.
SUBSCRIBERS = {"observing", "exporters", "page", "registry"}


def test_every_extra_that_scores_brings_the_models_of_the_same_version(release: tuple[Path, Path]) -> None:
    base, models = map(metadata, release)
    extras = set(base.get_all("Provides-Extra", []))
    assert {"worker", *SUBSCRIBERS} <= extras
    scoring = extras - SUBSCRIBERS
    needed = {f"{models['Name']}=={base['Version']}; extra == '{extra}'" for extra in scoring}
    assert models["Version"] == base["Version"]
    assert {line for line in base.get_all("Requires-Dist", []) if models["Name"] in line} == needed


def test_both_wheels_classify(with_models: Path, tmp_path: Path) -> None:
    write_stars(tmp_path / "stars.npz", 3)
    out = tmp_path / "out.csv"
    run_from(with_models, "classify", str(tmp_path / "stars.npz"), "--out", str(out))
    with out.open(newline="") as stream:
        assert [row["status"] for row in csv.DictReader(stream)] == ["scored"] * 3


@pytest.mark.parametrize(
    ("folder", "arguments"),
    [
        ("bundles", ("classify", "stars.npz")),
        ("bundles", ("classify", "stars.npz", "--bundle", "mid/1.4.0")),
        ("emulator/data", ("simulate", "--n", "1", "--out", "night.npz")),
    ],
)
def test_absent_models_are_one_line_that_says_what_to_install(
    with_models: Path, tmp_path: Path, folder: str, arguments: tuple[str, ...]
) -> None:
    shutil.copytree(with_models, tmp_path / "package")
    shutil.rmtree(tmp_path / "package" / "cempstream" / "models" / folder)
    write_stars(tmp_path / "stars.npz", 1)
    said = run_from(tmp_path / "package", *arguments, status=1, cwd=tmp_path)
    assert said.startswith("cempstream: there are no models in ")
    assert said.endswith(": pip install cempstream-models==0.1.0\n")
    assert said.count("\n") == 1


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


def test_known_stars_in_csv_need_nothing_else_and_other_tables_say_what_they_need(
    scripts: Path, tmp_path: Path
) -> None:
    (tmp_path / "stars.csv").write_text("name,ra,dec\nHD 1,161.284333,41.396\n")
    (tmp_path / "stars.ecsv").write_text("# %ECSV 1.0\n# ---\n")
    listen = (str(scripts / "cempstream"), "listen", "--tense", "test", "--file")
    folder = run(str(scripts / "python"), "-c", "import cempstream; print(*cempstream.__path__)").strip()
    packet = f"{folder}/schemas/alert/1.0/sample.bin"
    assert "known as HD 1 (stars, 0.0″)" in run(*listen, packet, "--known", str(tmp_path / "stars.csv"))
    refused = subprocess.run(
        [*listen, packet, "--known", str(tmp_path / "stars.ecsv")],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert refused.returncode == 1
    assert "ascii.ecsv is read by astropy: pip install 'cempstream[observing]'" in refused.stderr
