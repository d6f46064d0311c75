"""Logs on a stderr that takes nothing: no one waits for it, and what was dropped is counted and said."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from cempstream.streams.telemetry import notices
from cempstream.streams.telemetry.log_writer import MOST_WAITING, UnblockedHandler
from cempstream.streams.telemetry.logs import KeyValueFormatter
from tests.support.full_pipe import fill

pytestmark = pytest.mark.timeout(60)

PIPE_BYTES = 4096


@dataclass
class Pipe:
    """A pipe of one page, and the logger that writes to it."""

    read: int
    write: int
    n_dropped: list[int] = field(default_factory=list)

    def fill(self) -> None:
        fill(self.write)

    def lines_until(self, last: str) -> list[str]:
        text = ""
        while last not in text or not text.endswith("\n"):
            text += os.read(self.read, PIPE_BYTES).decode()
        return text.lstrip("x").splitlines()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    pipe = Pipe(read, write)
    handler = UnblockedHandler(write, pipe.n_dropped.append)
    handler.setFormatter(KeyValueFormatter())
    root = logging.getLogger("cempstream")
    root.addHandler(handler)
    yield pipe
    root.removeHandler(handler)
    os.close(read)  # the thread's writes end with an error from here on
    os.close(write)


def test_no_one_waits_for_a_full_pipe_and_the_gap_is_said_where_it_is(pipe: Pipe) -> None:
    pipe.fill()
    said = threading.Thread(
        target=lambda: [notices.model_broken(f"line {i}") for i in range(MOST_WAITING + 500)], daemon=True
    )
    said.start()
    said.join(30)
    assert not said.is_alive()
    n_dropped = sum(pipe.n_dropped)
    assert 499 <= n_dropped <= 500, "one may be with the writer already"
    lines = pipe.lines_until("event=log_lines_dropped")
    n_written = MOST_WAITING + 500 - n_dropped
    assert [f'"line {i}"' in line for i, line in enumerate(lines[:-1])] == [True] * n_written
    assert f"n_dropped={n_dropped}" in lines[-1]
    notices.model_broken("after it")
    assert "after it" in pipe.lines_until("after it")[0]


def test_what_is_logged_is_there_after_a_flush(pipe: Pipe) -> None:
    notices.model_broken("the last words")
    for handler in logging.getLogger("cempstream").handlers:
        handler.flush()
    os.set_blocking(pipe.read, False)
    assert b"the last words" in os.read(pipe.read, PIPE_BYTES)


def test_a_flush_does_not_wait_for_ever(pipe: Pipe) -> None:
    pipe.fill()
    notices.model_broken("never read")
    flushed = threading.Thread(target=logging.getLogger("cempstream").handlers[-1].flush, daemon=True)
    flushed.start()
    flushed.join(30)
    assert not flushed.is_alive()


def test_a_reader_that_is_gone_costs_the_lines_alone(pipe: Pipe) -> None:
    os.close(pipe.read)
    pipe.read = os.open(os.devnull, os.O_RDONLY)
    notices.model_broken("to no one")
    logging.getLogger("cempstream").handlers[-1].flush()
    assert pipe.n_dropped == [1]
