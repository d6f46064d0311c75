"""An extra brings what its verbs import, so that what the README says to install is enough."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from cempstream.streams.cli import VERBS, Verb

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DISTRIBUTIONS = packages_distributions()

#: What comes with a distribution that is brought.
COMPANIONS = {"faust-streaming": "mode-streaming", "jinja2": "markupsafe", "pydantic": "pydantic-core"}


def brought(extra: str | None) -> set[str]:
    """Return the distributions of an extra, with those of the extras that it is built on, and the base's."""
    wanted = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    names = brought(None) if extra else set()
    for requirement in wanted:
        inner = re.match(r"cempstream\[(\w+)\]", requirement)
        names |= brought(inner[1]) if inner else {re.split(r"[^\w.-]", requirement)[0].lower()}
    return names


def path_of(module: str) -> Path | None:
    """Return where a module of ours lies; None for a name within one."""
    stem = ROOT / module.replace(".", "/")
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


def imports(path: Path) -> set[str]:
    """Return what a module imports as it is loaded; what a function or a type checker imports is left out."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def third_parties(module: str) -> set[str]:
    """Return the packages of others that are imported with a module."""
    found: set[str] = set()
    seen: set[str] = set()
    ahead = {module}
    while ahead:
        name = ahead.pop()
        seen.add(name)
        if name.partition(".")[0] != "cempstream":
            found.add(name.partition(".")[0])
        elif path := path_of(name):
            ahead |= imports(path) - seen
    return found - sys.stdlib_module_names


@pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.name)
def test_an_extra_brings_what_its_verbs_import(verb: Verb) -> None:
    found = third_parties(f"cempstream.streams.commands.{verb.target.partition(':')[0]}")
    assert "typer" in found
    extra = brought(verb.extra)
    enough = extra | {companion for name, companion in COMPANIONS.items() if name in extra}
    missing = {
        package
        for package in found
        if not enough & {name.lower().replace("_", "-") for name in DISTRIBUTIONS.get(package, [package])}
    }
    assert not missing, f"'{verb.name}' needs {missing}, which the extra {verb.extra} does not bring"
