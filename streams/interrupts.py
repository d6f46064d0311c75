"""What Ctrl-C does to a command: it ends with one line, whenever it comes.

While a verb's modules are imported, and when it has ended, an exception could surface anywhere: in the middle
of another package's import, or of the interpreter's end. There is nothing to clean up then, so the process
ends at once. In between Ctrl-C is a `KeyboardInterrupt`, and what was started ends in order.

This module imports next to nothing: it is the first that a command loads.
"""

import os
import signal
from types import FrameType

#: Exit status, as shells give it: 128 + SIGINT.
INTERRUPTED = 130

MESSAGE = "cempstream: interrupted"


def end_at_once() -> None:
    """Let Ctrl-C end the process at once with a line; where it is ignored (``nohup``, ``&``), that stays."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def end_in_order() -> None:
    """Let Ctrl-C raise `KeyboardInterrupt` again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def end_on_sigterm_too() -> None:
    """Let SIGTERM do what Ctrl-C does, for a command that has work to do when it ends."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, f"{MESSAGE}\n".encode())
    os._exit(INTERRUPTED)
