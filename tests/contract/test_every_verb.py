"""Every verb, given something wrong, ends with one line on stderr and status 1 or 2, never with a traceback.

What is wrong is made from the verbs' own signatures, so that a new verb or option is tested without being
listed; only the arguments with which a verb gets to its work stand here, in `ARGUMENTS`. Every case runs in a
forked process whose imports are done, all at once: a broker that is away is waited for.
"""

from __future__ import annotations

import inspect
import multiprocessing
import os
import re
import socket
import sys
import tempfile
import traceback
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import typer
from typer.models import OptionInfo

from cempstream.streams.cli import VERBS, main

pytestmark = pytest.mark.timeout(300)

_N_PROCESSES = 24

#: Exists in the folder of each case, and is a file of no spectra; nothing can lie in it.
_FILE = "notes.txt"
#: Stands for the address of a broker that is not there.
_NO_BROKER = "127.0.0.1:0"
_AWAY = ("--bootstrap", _NO_BROKER)
#: Stands for the address of one that accepts connections and says nothing.
_SILENT = "127.0.0.1:00"

#: How each verb is called when all is right but for the broker, which is away, and the files.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "demo": _AWAY,
    "classify": ("nowhere.fits",),
    "explain": ("nowhere.fits",),
    "listen": (*_AWAY, "--until", "now"),
    "page": (*_AWAY, "--port", "0"),
    "filter test": ("--where", "snr > 20", "--from-topic", "cemp.alerts.v1", *_AWAY),
    "targets": ("--site", "La Palma", "--from", _FILE, "--night", "2035-01-10"),
    "export": ("json", *_AWAY, "--until", "now"),
    "lag": ("--group", "someone", *_AWAY),
    "verify": ("00000000-0000-0000-0000-000000000000", *_AWAY),
    "schema list": ("unasked",),
    "schema show": ("alert", "9.9"),
    "schema diff": ("alert", "9.9"),
    "schema register": ("--registry", "http://127.0.0.1:1/"),
    "worker": _AWAY,
    "stars show": ("HD 1", *_AWAY),
    "stars run": (*_AWAY, "--metrics-port", "0"),
    "replay": (_FILE, *_AWAY),
    "simulate": ("--n", "2", "--truth", "truth.csv", *_AWAY),
    "topics create": _AWAY,
    "topics list": _AWAY,
    "topics grant": ("--worker", "someone", *_AWAY),
    "exposures watch": (*_AWAY, "--port", "0"),
    "exposures list": _AWAY,
    "bundle list": ("unasked",),
    "bundle check": ("mid/9.9.9",),
    "bundle manifest": ("nowhere",),
    "bundle compare": _AWAY,
    "bundle promote": ("mid/9.9.9",),
    "bundle rollback": ("nosuch",),
    "archive write": ("night", *_AWAY, "--until", "now"),
    "archive compact": ("night",),
    "dlq list": _AWAY,
    "dlq show": ("3:17", *_AWAY),
    "dlq stats": _AWAY,
    "dlq requeue": ("--all", *_AWAY),
    "dlq probe": ("--worker", _NO_BROKER),
    "doctor": _AWAY,
    "night": _AWAY,
    "bench pipeline": ("unasked",),
    "bench stream": _AWAY,
    "bench known": ("unasked",),
    "train": ("--bundle", "mid", "--library", "nowhere"),
    "evaluate": ("--bundle", "nosuch"),
    "benchmark write": ("--only", "nosuch"),
    "benchmark score": (_FILE, "--truth", _FILE),
    "synth grid": ("--stratum", "nosuch=3"),
    "synth mend": ("nowhere",),
    "synth merge": ("nowhere", "--out", "merged.npz"),
}

#: More ways to ask a broker something.
MORE = (
    ("replay", "--from-topic", "lamost.spectra.v1", "--start", "2h", *_AWAY),
    ("listen", "--start", "earliest", "--until", "now", *_AWAY),
    ("listen", "--group", "someone", "--until", "now", *_AWAY),
    ("dlq", "requeue", "--all", "--dry-run", *_AWAY),
    ("topics", "list", "--all", "--json", *_AWAY),
    ("exposures", "list", "--json", *_AWAY),
)

#: What is wrong for each kind of option.
WRONG = {
    "number": ("many",),
    "choice": ("nonsense",),
    "time": ("2x", "tomorrow", "99999999999d", "0001-01-01T00:00+14:00", ""),
    "broker": ("http://nowhere", "nowhere:port", ""),
    "bundle": ("nosuch", "../mid"),
    "path": (f"{_FILE}/within/it.csv", "x" * 300),
}

#: Variables that every verb refuses that reads settings.
ENVIRONMENT = (
    {"CEMP_KAFKKA__BOOTSTRAP": "127.0.0.1:9092"},
    {"CEMP_KAFKA__BOOTSTARP": "127.0.0.1:9092"},
    {"CEMP_TOPICS__SPECTRA": "lamost.spectra.v1"},
    {"CEMP_MODELS__BUNDLES": "mid"},
    {"CEMP_POLICY__SURVEY_PRIORS": "lamost=0.1"},
    {"CEMP_BATCH__SIZE": "0"},
    {"CEMP_MODELS__KEY": "RWnonsense"},
)

#: They read no settings, or one variable only.
WITHOUT_SETTINGS = (
    "listen",
    "page",
    "export",
    "targets",
    "schema list",
    "schema show",
    "schema diff",
    "synth",
    "train",
    "evaluate",
    "benchmark",
    "bundle manifest",
)


@dataclass(frozen=True, eq=False)
class Case:
    """A command line, and what the environment adds."""

    words: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return " ".join([*(f"{name}={value}" for name, value in self.environment.items()), *self.words])


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: object
    stdout: str
    stderr: str


def leaves() -> Iterator[tuple[str, Any]]:
    """Yield every verb and sub-verb with its function."""
    for verb in VERBS.values():
        module, _, attribute = verb.target.partition(":")
        found = getattr(import_module(f"cempstream.streams.commands.{module}"), attribute)
        if not isinstance(found, typer.Typer):
            yield verb.name, found
            continue
        for command in found.registered_commands:
            assert command.callback is not None
            name = command.name or command.callback.__name__.replace("_", "-")
            yield f"{verb.name} {name}", command.callback


def options(function: Any) -> Iterator[tuple[str, str]]:
    """Yield each option of a verb that takes a value, and of what kind the value is."""
    for name, hint in get_type_hints(function, include_extras=True).items():
        if name == "return":
            continue
        kind = _kind(name, hint)
        infos = [part for part in get_args(hint) if isinstance(part, OptionInfo)]
        if kind and infos:
            declared = (
                infos[0].default,
                *(infos[0].param_decls or ()),
            )
            flags = [flag for flag in declared if isinstance(flag, str) and flag.startswith("-")]
            yield (flags or [f"--{name.replace('_', '-')}"])[0], kind


def _kind(name: str, hint: Any) -> str | None:
    plain = get_args(hint)[0]
    while get_origin(plain) in (Union, UnionType, list):
        plain = get_args(plain)[0]
    if name == "bootstrap":
        return "broker"
    if name in ("bundle", "against", "shadow"):
        return "bundle"
    if plain is datetime or name in ("start", "until"):
        return "time"
    if plain in (int, float):
        return "number"
    if plain is Path:
        return "path"
    is_choice = get_origin(plain) is Literal or (inspect.isclass(plain) and issubclass(plain, Enum))
    return "choice" if is_choice else None


def unanswered(verb: str) -> Iterator[Case]:
    """Yield the ways to ask a broker that is away, and one that is silent."""
    ways = [(*verb.split(), *ARGUMENTS[verb]), *(way for way in MORE if " ".join(way).startswith(f"{verb} "))]
    for words in ways:
        if _NO_BROKER in words:
            yield Case(words)
            yield Case(tuple(_SILENT if word == _NO_BROKER else word for word in words))


def cases(verb: str, function: Any) -> Iterator[Case]:
    """Yield everything wrong for a verb."""
    words = (*verb.split(), *ARGUMENTS[verb])
    yield Case(words)
    yield from unanswered(verb)
    yield Case((*words, "--bogus"))
    for flag, kind in options(function):
        yield from (Case((*words, flag, value)) for value in WRONG[kind])
    if not verb.startswith(WITHOUT_SETTINGS):
        yield from (Case(words, variables) for variables in ENVIRONMENT)


def run(case: Case, folder: str, ports: dict[str, int]) -> Ended:
    """Run a command line in this process, with its output caught where librdkafka writes too."""
    os.chdir(tempfile.mkdtemp(dir=folder))
    Path(_FILE).write_text("no spectra\n")
    for name in [name for name in os.environ if name.startswith("CEMP_")]:
        del os.environ[name]
    os.environ.update(case.environment)
    port = {name: f"127.0.0.1:{number}" for name, number in ports.items()}
    sys.argv = ["cempstream", *(port.get(word, word) for word in case.words)]
    with open("stdout", "w+") as sys.stdout, open("stderr", "w+") as sys.stderr:
        os.dup2(sys.stdout.fileno(), 1)
        os.dup2(sys.stderr.fileno(), 2)
        status: object = None
        try:
            main()
        except SystemExit as end:
            status = end.code
        except BaseException:  # noqa: BLE001 - a bug, which this test is here to show
            traceback.print_exc()
    return Ended(status, Path("stdout").read_text(), Path("stderr").read_text())


def all_cases() -> dict[str, list[Case]]:
    """Return the cases of every verb; one without arguments here has none."""
    return {verb: list(cases(verb, function)) if verb in ARGUMENTS else [] for verb, function in leaves()}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[Case, Future[Ended]]]]:
    """Run all cases at once, each in a process forked from one that has imported every verb."""
    context = multiprocessing.get_context("forkserver")
    modules = {verb.target.partition(":")[0] for verb in VERBS.values()}
    context.set_forkserver_preload([f"cempstream.streams.commands.{module}" for module in sorted(modules)])
    folder = str(tmp_path_factory.mktemp("cases"))
    with socket.socket() as taken, socket.socket() as silent:
        for one in (taken, silent):
            one.bind(("127.0.0.1", 0))
        silent.listen(1024)  # the system accepts for us; who only binds refuses
        ports = {_NO_BROKER: taken.getsockname()[1], _SILENT: silent.getsockname()[1]}
        with ProcessPoolExecutor(_N_PROCESSES, mp_context=context) as pool:
            of_verbs = pool.submit(all_cases).result()
            yield {
                verb: {case: pool.submit(run, case, folder, ports) for case in of_verb}
                for verb, of_verb in of_verbs.items()
            }


def faults(end: Ended) -> Iterator[str]:
    """Say what is wrong with how a command ended."""
    if end.status not in (1, 2):
        yield f"status {end.status}"
    if "Traceback" in end.stderr:
        yield "a traceback"
    if end.stderr.count("\n") != 1:
        yield "not one line"


def test_every_verb_stands_here(ended: dict[str, dict[Case, Future[Ended]]]) -> None:
    assert set(ended) == set(ARGUMENTS)


@pytest.mark.parametrize("verb", ARGUMENTS)
def test_a_verb_ends_with_one_line(verb: str, ended: dict[str, dict[Case, Future[Ended]]]) -> None:
    found = []
    for case, future in ended[verb].items():
        end = future.result()
        if verb == "doctor" and end.stdout:  # what it finds is its output
            end = Ended(end.status, "", next(line for line in end.stdout.splitlines(True) if "fail" in line))
        found += [(str(case), fault, end.stderr) for fault in faults(end)]
    assert found == []


@pytest.mark.parametrize("verb", [verb for verb, words in ARGUMENTS.items() if _NO_BROKER in words])
def test_silence_is_not_an_answer(verb: str, ended: dict[str, dict[Case, Future[Ended]]]) -> None:
    """No broker, or one that says nothing, is never "none" and "0": the verb says so, with status 1."""
    known = {str(case): future.result() for case, future in ended[verb].items()}
    for case in unanswered(verb):
        end = known[str(case)]
        assert end.status == 1, (str(case), end)
        if verb == "doctor":
            (said,) = [line for line in end.stdout.splitlines() if "broker" in line and "fail" in line]
        else:
            assert end.stdout == "", str(case)
            said = end.stderr
        address = r"127\.0\.0\.1:\d+"
        pattern = rf"no (broker )?answer\w* (at|from) {address}|{address}: .*(refused|timed out)"
        assert re.search(pattern, said), (str(case), said)
