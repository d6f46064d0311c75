"""One version: of the package, of its models, and of what one cites."""

import tomllib
from importlib.metadata import version
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_package_models_and_citation_state_one_version() -> None:
    package, models = (
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]["version"]
        for folder in (".", "models")
    )
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {package, models, citation["version"]} == {version("cempstream")}
