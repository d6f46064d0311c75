"""A process that hangs ends, whatever it hangs in and whatever its stderr takes; systemd is told no more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.notify_socket import NotifySocket

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform != "linux", reason="systemd's notices"),
]


@pytest.mark.parametrize(
    "arguments",
    [("stuck",), ("idle",), ("holding",), ("stuck", "full"), ("holding", "full"), ("stuck", "socket")],
    ids=" ".join,
)
def test_a_hang_ends_and_systemd_hears_no_more(arguments: tuple[str, ...]) -> None:
    with NotifySocket() as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.hanging", *arguments],
            env=told.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        before = told.wait_for("STATUS=hangs on purpose")
        assert before[0] == "READY=1"
        assert set(before[1:-1]) == {"WATCHDOG=1"}
        _, said = process.communicate(timeout=60)
        assert process.returncode == 1
        assert told.rest() == []
    if len(arguments) == 1:
        assert "Timeout (0:00:02)!" in said


def test_lines_and_stacks_stand_after_one_another_in_a_file(tmp_path: Path) -> None:
    """They are written by two hands, and a file that was opened twice would have two places to write at."""
    script = (
        "import os\n"
        "from cempstream.streams.telemetry.watchdog import dump_stacks, say_unblocked\n"
        "for _ in range(2):\n"
        "    os.write(2, b'a line\\n')\n"
        "    dump_stacks()\n"
        "    say_unblocked('a word\\n')\n"
    )
    with (tmp_path / "log").open("wb") as log:
        subprocess.run([sys.executable, "-c", script], stderr=log, check=True, timeout=60)
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    outline = [line for line in lines if line.startswith(("a ", "Current thread"))]
    assert [line.split()[1] for line in outline] == ["line", "thread", "word"] * 2


@pytest.mark.parametrize("way", ["in a thread", "in a callback"])
def test_a_process_without_memory_ends(way: str) -> None:
    """Its main thread would wait for ever: what died was to tell it."""
    script = (
        "import sys, threading\n"
        "from cempstream.streams.telemetry.watchdog import end_without_memory\n"
        "class Callback:\n"
        "    def __del__(self):\n"
        "        raise MemoryError\n"
        "def work():\n"
        "    raise MemoryError\n"
        "end_without_memory()\n"
        "threading.Thread(target=work).start() if sys.argv[1] == 'in a thread' else Callback()\n"
        "threading.Event().wait()\n"
    )
    done = subprocess.run([sys.executable, "-c", script, way], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "no memory is left: the process ends\n"


def test_what_else_goes_wrong_in_a_thread_ends_no_process() -> None:
    script = (
        "import threading\n"
        "from cempstream.streams.telemetry.watchdog import end_without_memory\n"
        "end_without_memory()\n"
        "thread = threading.Thread(target=lambda: 1 / 0)\n"
        "thread.start()\n"
        "thread.join()\n"
        "print('goes on')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "goes on\n"
    assert "ZeroDivisionError" in done.stderr
