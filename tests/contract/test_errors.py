"""The errors that a person can fix: one base, the tree at its head is true, and all are said in one line."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cempstream.errors
from cempstream.errors import FixableError, in_one_line

ROOT = Path(__file__).resolve().parents[2]


def defined() -> set[str]:
    """Return the names of all classes of ours whose base, or whose base's base, is `FixableError`."""
    bases: dict[str, set[str]] = {}
    for layer in ("processors", "models", "schemas", "streams"):
        for path in (ROOT / layer).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    bases[node.name] = {base.id for base in node.bases if isinstance(base, ast.Name)}
    found = {"FixableError"}
    while more := {name for name, of_it in bases.items() if of_it & found} - found:
        found |= more
    return found - {"FixableError"}


def test_the_tree_at_the_head_is_true() -> None:
    head = (cempstream.errors.__doc__ or "").split("Each is defined")[0].split("FixableError", 1)[1]
    assert set(re.findall(r"\b[A-Z]\w+", head)) == defined()


def test_it_imports_nothing_heavy() -> None:
    code = "import sys, cempstream.errors\nprint(*({m.partition('.')[0] for m in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"numpy", "pydantic", "confluent_kafka", "typer"} & set(run.stdout.split())


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FixableError("a\n  b"), "a b"),
        (FileNotFoundError(2, "No such file or directory", "x.csv"), "x.csv: No such file or directory"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_an_error_is_one_line(error: Exception, line: str) -> None:
    assert in_one_line(error) == line
