"""Every command of the pages is one that exists: it is run here, or parsed as the command line would.

In the pages a command is a line with ``$ `` in a block marked ``console``. A comment before the block may say
more: ``<!-- run -->``, its commands are run; ``<!-- run in the background -->``, they run beside the rest of
the page; ``<!-- not run: WHY -->``, no test can do it.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import cempstream
from cempstream.processors.spectrum import Flag, Reason
from cempstream.streams.cli import VERBS
from cempstream.streams.rehearsal.embedded import EmbeddedBroker
from cempstream.streams.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "deploy/*.md", "tests/chaos/*.md", "models/synthesis/*.md")
    for path in PROJECT.glob(pattern)
)

_BLOCK = re.compile(
    r"(?:<!-- (?P<mark>run|run in the background|not run: [^>]+) -->\n+)?"
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code of a page, and what the comment before it says."""

    page: str
    language: str
    mark: str
    text: str

    @property
    def commands(self) -> list[str]:
        """What stands after ``$ ``, continued lines joined and remarks left out."""
        joined = self.text.replace("\\\n", " ")
        return [line.strip()[2:] for line in joined.splitlines() if line.strip().startswith("$ ")]


def blocks(path: Path) -> Iterator[Block]:
    """Yield a page's blocks of code, in their order."""
    page = path.relative_to(PROJECT).as_posix()
    for found in _BLOCK.finditer(path.read_text(encoding="utf-8")):
        yield Block(page, found["language"], found["mark"] or "", found["text"])


BLOCKS = [block for path in PAGES for block in blocks(path)]
PARSED = [
    pytest.param(command, id=f"{block.page}: {command}")
    for block in BLOCKS
    if block.language == "console" and not block.mark.startswith("not run")
    for command in block.commands
]


def test_commands_are_written_as_such() -> None:
    """A shell command in a block of another kind would escape this file."""
    shells = {"", "sh", "bash", "shell"}
    hidden = [
        f"{block.page}: {line}"
        for block in BLOCKS
        if block.language in shells
        for line in block.text.splitlines()
        if re.match(r"\s*(\$ |cempstream |make |pip |python )", line)
    ]
    assert not hidden
    assert len(PARSED) > 40


@pytest.mark.parametrize("command", PARSED)
def test_a_command_exists_with_its_options(command: str) -> None:
    for part in re.split(r"\s(?:\||&&|;)\s", command):
        words = shlex.split(part, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        for redirect in (">", "&"):
            words = words[: words.index(redirect)] if redirect in words else words
        match words:
            case ["cempstream", *arguments]:
                _parse(arguments)
            case ["make", *targets]:
                _check_targets(targets)
            case ["pip", "install", *packages]:
                _check_extras(packages)
            case ["cd" | "cp" | "export" | "git" | "head" | "jq", *_]:
                pass
            case _:
                pytest.fail(f"'{part}': run it in a test, or say why not: <!-- not run: ... -->")


@pytest.mark.docs
@pytest.mark.timeout(900)
def test_the_tutorials_of_the_stream_run(tmp_path: Path) -> None:
    """In a folder that looks like a checkout, with the broker that the pages ask for."""
    (tmp_path / "models").symlink_to(PROJECT / "models")
    with EmbeddedBroker() as broker:
        stream = {
            "CEMP_KAFKA__BOOTSTRAP": broker.bootstrap,
            "CEMP_KAFKA__SESSION_TIMEOUT_S": "6",
            "CEMP_KAFKA__HEARTBEAT_INTERVAL_S": "1.5",
            "CEMP_METRICS__PORT": "0",
        }
        for page in ("operator", "observer"):
            _run_page(PROJECT / "docs" / "tutorials" / f"{page}.md", tmp_path, stream)


@pytest.mark.docs
@pytest.mark.timeout(900)
def test_the_tutorial_on_files_runs(tmp_path: Path) -> None:
    _run_page(PROJECT / "docs" / "tutorials" / "scientist.md", tmp_path, {})


def _run_page(page: Path, folder: Path, environment: dict[str, str]) -> None:
    """Run a page's commands in one shell, in their order; the first that fails ends it."""
    lines = ["set -eo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT"]
    for block in blocks(page):
        if block.mark == "run":
            lines += [f"echo {shlex.quote('$ ' + command)} >&2; {command}" for command in block.commands]
        elif block.mark == "run in the background":
            lines += [f"{command} >>{page.stem}.log 2>&1 &" for command in block.commands]
    assert len(lines) > 4
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=folder,
        env={**os.environ, **environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{page.name}: {done.stderr[-3000:]}"
    assert "Traceback" not in done.stderr


def _parse(arguments: list[str]) -> None:
    """Let the real command line read the arguments, and call nothing."""
    if arguments in (["--help"], ["--version"]):
        return
    name, *rest = arguments
    assert name in VERBS, f"there is no verb '{name}'"
    command: Any = VERBS[name].load()
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    assert not getattr(command, "commands", {}), f"'{name}' needs one of {', '.join(command.commands)}"
    if "--help" not in rest:
        command.make_context(name, rest)


def _check_targets(words: list[str]) -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    variables = set(re.findall(r"^([A-Z_]+) \??=", makefile, re.MULTILINE))
    for word in words:
        name, is_variable, _ = word.partition("=")
        assert name in (variables if is_variable else targets), word


def _check_extras(packages: list[str]) -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for package in packages:
        found = re.fullmatch(r"(?:\.|cempstream)(?:\[([\w,]+)\])?", package)
        assert found, f"'{package}' is not this project"
        assert set((found[1] or "cpu").split(",")) <= set(project["optional-dependencies"])


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=lambda block: block.page)
def test_python_of_a_page_names_what_there_is(block: Block) -> None:
    compile(block.text, block.page, "exec")
    for names in re.findall(r"^from cempstream import (.+)$", block.text, re.MULTILINE):
        for name in names.split(","):
            assert name.strip() in cempstream.__all__


def test_every_variable_of_the_pages_is_a_setting() -> None:
    known = set()
    for group, field in Settings.model_fields.items():
        model = field.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        for name, of_model in model.model_fields.items():
            known.add(f"CEMP_{group}__{name}".upper())
            assert of_model.description, f"{group}.{name} has no description for the page of settings"
    for path in PAGES:
        if path.name != "CHANGELOG.md":
            assert set(re.findall(r"CEMP_[A-Z_]+__[A-Z_]+[A-Z]", path.read_text(encoding="utf-8"))) <= known


def test_the_way_of_a_spectrum_leads_where_the_page_says() -> None:
    page = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .* \| `(\w+)` \| `([\w/]+\.py)` \|$", page, re.MULTILINE)
    assert len(rows) > 15
    for name, path in rows:
        source = (PROJECT / path).read_text(encoding="utf-8")
        assert re.search(rf"^\s*(async )?(def|class) {name}\b", source, re.MULTILINE), f"{name} in {path}"


def test_links_between_files_lead_somewhere() -> None:
    made = {PROJECT / "docs" / "rooms.md"}
    for path in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", path.read_text(encoding="utf-8")):
            found = (path.parent / target).resolve()
            is_made = found in made or "reference" in found.parts
            assert is_made or found.exists(), f"{path.relative_to(PROJECT)} links to {target}"


@pytest.mark.parametrize(("page", "words"), [("alert", Flag), ("dead-letters", Reason)])
def test_every_flag_and_reason_is_explained(page: str, words: type[Flag] | type[Reason]) -> None:
    text = (PROJECT / "docs" / "howto" / f"{page}.md").read_text(encoding="utf-8")
    table = " ".join(row.split("|")[1] for row in text.splitlines() if row.startswith("| `"))
    assert not {word for word in words if f"`{word}`" not in table}


def test_the_readme_names_every_verb() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    for name in VERBS:
        assert re.search(rf"\b{name}\b", readme), f"the README does not name `cempstream {name}`"
