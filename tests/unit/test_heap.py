"""Memory that a batch freed is there for the next one."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
