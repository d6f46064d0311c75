"""Memory that a batch freed is there for the next one."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from types import SimpleNamespace

import pytest

from cempstream.streams.worker import heap

_COUNT = """
import resource
import numpy as np
from cempstream.streams.worker.heap import keep_freed_memory
{keep}
def batch():
    arrays = [np.full(250_000, 1.0, dtype=np.float32) for _ in range(30)]
    del arrays[::-1]
for _ in range(3):
    batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def n_faults(keep: str) -> int:
    code = _COUNT.format(keep=keep)
    return int(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is meant")
def test_a_batch_costs_no_page_faults() -> None:
    assert n_faults("") > 5000
    assert n_faults("assert keep_freed_memory()") < 100


@pytest.mark.parametrize("refused", [None, -1, -3])
def test_both_thresholds_are_set(monkeypatch: pytest.MonkeyPatch, refused: int | None) -> None:
    """By the numbers of <malloc.h>: -1 is what the top of the heap may keep, -3 where mappings begin."""
    taken = {}

    def mallopt(name: int, size: int) -> int:
        taken[name] = size
        return int(name != refused)

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=mallopt))
    assert heap.keep_freed_memory() is (refused is None)
    if refused is None:
        assert taken.keys() == {-1, -3}
        # A batch's arrays of 1 MB are no mappings, and all 30 may stay.
        assert 1_000_000 < taken[-3] <= 32 * 1024**2
        assert taken[-1] > 30_000_000


def test_other_systems_and_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    monkeypatch.setattr(sys, "platform", "linux")
    assert not heap.keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", None)
    assert not heap.keep_freed_memory()
