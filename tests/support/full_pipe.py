"""Run the command line with a stdout and stderr that take nothing: a full pipe that no one reads.

``python -m tests.support.full_pipe worker --log-level debug``
"""

from __future__ import annotations

import os
import sys


def fill(pipe: int) -> None:
    """Write to a pipe until it takes no more."""
    os.set_blocking(pipe, False)
    try:
        while True:
            os.write(pipe, b"x" * 64)
    except BlockingIOError:
        os.set_blocking(pipe, True)


if __name__ == "__main__":
    read, full = os.pipe()
    os.set_inheritable(read, True)  # its other end stays open
    fill(full)
    for stream in (1, 2):
        os.dup2(full, stream)
    os.execv(sys.executable, [sys.executable, "-m", "cempstream", *sys.argv[1:]])
