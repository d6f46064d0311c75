"""What Ctrl-C does to a command: it ends with one line, whenever it comes.

While a verb's modules are imported, and when it has ended, an exception could surface anywhere: in the middle
of another package's import, or of the interpreter's end. There is nothing to clean up then, so the process
ends at once. In between Ctrl-C is a `KeyboardInterrupt`, and what was started ends in order. On its way it
can turn into another exception: the interpreter loses it in the middle of a lookup, a package turns it into
an error of its kind, a child that got the signal too is gone. So whatever error ends a command after Ctrl-C
is Ctrl-C's consequence.

This module imports next to nothing: it is the first that a command loads.
"""

import os
import signal
from types import FrameType

#: Exit status, as shells give it: 128 + SIGINT.
INTERRUPTED = 130

MESSAGE = "cempstream: interrupted"

_came = False


def end_at_once() -> None:
    """Let Ctrl-C end the process at once with a line; where it is ignored (``nohup``, ``&``), that stays."""
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _raise):
        signal.signal(signal.SIGINT, _end)


def end_in_order() -> None:
    """Let Ctrl-C raise `KeyboardInterrupt` again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, _raise)


def end_on_sigterm_too() -> None:
    """Let SIGTERM do what Ctrl-C does, for a command that has work to do when it ends."""
    signal.signal(signal.SIGTERM, _raise)


def came() -> bool:
    """Return whether Ctrl-C, or what does the same, has been raised in this process."""
    return _came


def _raise(number: int, frame: FrameType | None) -> None:
    global _came
    _came = True
    raise KeyboardInterrupt


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, f"{MESSAGE}\n".encode())
    os._exit(INTERRUPTED)
