"""Ctrl-C, whenever it comes: one line, the shells' exit status, no traceback and no process left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(600)

#: Python names every module on stderr when it has imported it, also in the processes that draw pictures.
DEMO = [sys.executable, "-X", "importtime", "-m", "cempstream", "demo", "--rate", "40", "--out", "out"]


def processes_in(folder: Path) -> list[str]:
    """Return the commands that run in a folder, as all children of a demonstration do that was started there.

    Only Linux tells; elsewhere it is none.
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").samefile(folder):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has ended meanwhile, or is not ours
            continue
    return found


def interrupt_at(moment: str, n_times: int, folder: Path, n_spec: int = 40) -> tuple[int, list[str]]:
    """Press Ctrl-C when a demonstration has said something so often; return its status and what it then said.

    At a terminal the whole process group gets the signal, so it does here.
    """
    process = subprocess.Popen(
        [*DEMO, "--n", str(n_spec)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout as output:
        n_seen = 0
        while n_seen < n_times:
            line = output.readline()
            assert line, f"it ended with {process.wait()} before it had said {moment!r} {n_times} times"
            n_seen += re.search(moment, line) is not None
        os.killpg(process.pid, signal.SIGINT)
        rest = output.read()
    status = process.wait()
    wait_until(lambda: not processes_in(folder), lambda: str(processes_in(folder)))
    return status, [line for line in rest.splitlines() if "import time:" not in line]


@pytest.mark.parametrize(
    ("moment", "n_times"),
    [
        pytest.param(r"\| +typer\.models$", 1, id="the command line is imported"),
        pytest.param(r"\| +numpy$", 1, id="the verb is imported"),
        pytest.param(r"\| +encodings$", 4, id="the children that draw start"),
        pytest.param(r"\| +numpy$", 2, id="the children import"),
        pytest.param("broker: ", 1, id="the worker starts"),
        pytest.param("alert: ", 1, id="the first picture is drawn"),
        pytest.param("the last pictures", 1, id="the last pictures are drawn"),
    ],
)
def test_ctrl_c_ends_the_demonstration_in_a_line(moment: str, n_times: int, tmp_path: Path) -> None:
    status, said = interrupt_at(moment, n_times, tmp_path)
    assert status == 130, said
    assert said[-1] == "cempstream: interrupted"
    assert not [line for line in said if "Traceback" in line or "Error" in line]


def test_ctrl_c_when_all_is_done_changes_nothing_but_the_line(tmp_path: Path) -> None:
    status, said = interrupt_at(r"^ +pictures  ", 1, tmp_path, n_spec=5)
    assert (status, said) in [(0, []), (130, ["cempstream: interrupted"])]
