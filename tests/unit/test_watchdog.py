"""A process that hangs ends, whatever it hangs in and whatever its stderr takes; systemd is told no more."""

from __future__ import annotations

import subprocess
import sys

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
