"""Change modules one place at a time and see whether their own tests notice: ``python -m tests.mutants``.

The changes are cosmic-ray's and some of ours (`operators.py`). `own_tests.toml` says which tests are a
module's. Each mutant is imported in a process of its own; nothing is written to the checkout. Mutants
that change nothing are in `equivalent.toml`, with the reason, and are not drawn.
"""

from __future__ import annotations

import argparse
import difflib
import multiprocessing
import os
import random
import re
import signal
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.child import run_tests
from tests.mutants.operators import mutate, mutations

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent

#: What every process would import anew; nothing of ours, which holds references to what is mutated.
PRELOADED = [
    "numpy", "scipy.interpolate", "scipy.ndimage", "scipy.optimize", "scipy.signal", "scipy.special",
    "scipy.stats", "astropy.io.fits", "astropy.io.votable", "astropy.table", "astropy.units",
    "astropy.utils.data", "h5py", "confluent_kafka", "confluent_kafka.admin", "pydantic_settings",
    "prometheus_client", "typer", "rich.table", "rich.progress", "pytest", "hypothesis",
    "hypothesis.strategies", "hypothesis.extra.numpy",
]  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change of one module: the lines that it changes, before and after."""

    module: str
    operator: str
    occurrence: int
    line: int
    was: str
    becomes: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What names a mutant while the code around it changes."""
        return self.module, self.was, self.becomes


def mutant(module: str, operator: str, occurrence: int) -> Mutant:
    """Return one mutant of a module."""
    source = (ROOT / module).read_text()
    lines, changed = source.splitlines(), mutate(source, operator, occurrence).splitlines()
    blocks = difflib.SequenceMatcher(None, lines, changed, autojunk=False).get_opcodes()
    parts = [block for block in blocks if block[0] != "equal"]
    if not parts:
        return Mutant(module, operator, occurrence, 0, "", "")
    (_, i, _, k, _), (_, _, j, _, m) = parts[0], parts[-1]
    return Mutant(module, operator, occurrence, i + 1, _joined(lines[i:j]), _joined(changed[k:m]))


def _joined(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())


class Bench:
    """Runs mutants, each with its module's own tests."""

    def __init__(self, own_tests: dict[str, list[str]], folder: Path) -> None:
        self.own_tests = own_tests
        self.folder = folder
        self.baseline_s: dict[str, float] = {}
        os.environ.setdefault(
            "ORT_DISABLE_TELEMETRY", "1"
        )  # as the package does before ONNX Runtime is loaded
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(PRELOADED)

    def baseline(self, module: str) -> None:
        """Run the tests of a module as it is.

        Raises
        ------
        SystemExit
            They fail, or there are none.
        """
        began = time.monotonic()
        status, output = self._run(module, (ROOT / module).read_text(), 300.0)
        if status != 0:
            sys.exit(f"the tests of {module} fail without a change (status {status}):\n{output[-2000:]}")
        self.baseline_s[module] = time.monotonic() - began

    def survives(self, mutant: Mutant) -> bool:
        """Do the module's tests pass all the same? A mutant that hangs does not survive."""
        source = mutate((ROOT / mutant.module).read_text(), mutant.operator, mutant.occurrence)
        status, _ = self._run(mutant.module, source, 10.0 + 5.0 * self.baseline_s[mutant.module])
        return status == 0

    def _run(self, module: str, source: str, timeout_s: float) -> tuple[int | None, str]:
        name = "cempstream." + module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".log") as log:
            process = self.context.Process(
                target=run_tests, args=(name, str(ROOT / module), source, self.own_tests[module], log.name)
            )
            process.start()
            process.join(timeout_s)
            assert process.pid is not None
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # also what a test of a mutant left running
            process.join()
            return process.exitcode, Path(log.name).read_text(errors="replace")


def read_toml(path: Path) -> dict[str, object]:
    """Read one of the two lists."""
    return tomllib.loads(path.read_text())


def own_tests() -> dict[str, list[str]]:
    """Return the tests of every module."""
    listed = read_toml(HERE / "own_tests.toml")
    tests: dict[str, list[str]] = {}
    for room, modules in listed.items():
        assert isinstance(modules, dict)
        for name, files in modules.items():
            tests[f"{room}/{name}.py"] = [f"tests/{file}" for file in files]
    return tests


def equivalents() -> dict[tuple[str, str, str], str]:
    """Return why each mutant that changes nothing changes nothing."""
    listed = read_toml(HERE / "equivalent.toml").get("mutant", [])
    assert isinstance(listed, list)
    return {(each["module"], each["was"], each["becomes"]): each["why"] for each in listed}


def main() -> int:
    """Draw a sample, run it, and print rates and survivors."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--n", type=int, default=60, help="How many are drawn (60); 0 draws all.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--modules", default="", help="A regular expression that a module's path must match.")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--least", type=float, default=0.0, help="The percentage below which this fails.")
    given = parser.parse_args()
    tests, known = own_tests(), equivalents()
    chosen = [module for module in tests if re.search(given.modules, module)]
    places = [(module, *place) for module in chosen for place in mutations((ROOT / module).read_text())]
    random.Random(given.seed).shuffle(places)
    candidates: dict[tuple[str, int, str], Mutant] = {}
    met: set[tuple[str, str, str]] = set()
    for place in places:
        one = mutant(*place)
        if one.key in known:
            met.add(one.key)
        elif one.was != one.becomes:
            candidates.setdefault((one.module, one.line, one.becomes), one)
        if given.n and len(candidates) == given.n:
            break
    else:
        for key in known.keys() - met:
            if key[0] in chosen:
                print("no longer a mutant, remove it from equivalent.toml:", *key, sep="\n  ")
    print(
        f"{len(candidates)} of {len(places)} mutants of {len(chosen)} modules; {len(met)} more were met that "
        "change nothing (tests/mutants/equivalent.toml)",
        flush=True,
    )
    tried: dict[str, list[bool]] = defaultdict(list)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(given.jobs) as pool:
        bench = Bench(tests, Path(name))
        list(pool.map(bench.baseline, sorted({one.module for one in candidates.values()})))
        for one, survived in zip(
            candidates.values(), pool.map(bench.survives, candidates.values()), strict=True
        ):
            tried[one.module].append(survived)
            if survived:
                where = f"{one.module}:{one.line} {one.operator}"
                print(f"survives: {where}\n  - {one.was}\n  + {one.becomes}", flush=True)
    rooms: dict[str, list[bool]] = defaultdict(list)
    for module, survivals in sorted(tried.items()):
        rooms[module.rpartition("/")[0]].extend(survivals)
        print(f"{module:40s} {_rate(survivals)}")
    for room, survivals in rooms.items():
        print(f"{room + '/':40s} {_rate(survivals)}")
    every = [survival for survivals in tried.values() for survival in survivals]
    print(f"{'all':40s} {_rate(every)}  in {time.monotonic() - began:.0f} s")
    return int(100 * (1 - sum(every) / max(len(every), 1)) < given.least)


def _rate(survivals: list[bool]) -> str:
    killed = len(survivals) - sum(survivals)
    return f"{killed:4d} of {len(survivals):4d} killed, {100 * killed / max(len(survivals), 1):5.1f} %"


if __name__ == "__main__":
    sys.exit(main())
