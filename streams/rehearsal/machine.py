"""The machine of a measurement: without it a rate says nothing."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine and how busy it was.

    Attributes
    ----------
    cores
        Cores that this process may use.
    load_1min
        Load average when the measurement began: above zero, other processes were running.
    blas_threads
        numpy's threads as the environment sets them; empty means one per core.
    """

    cores: int
    cpu: str
    memory_gib: float
    system: str
    python: str
    load_1min: float
    blas_threads: str


def this_machine() -> Machine:
    """Describe the machine."""
    return Machine(
        cores=_n_cores(),
        cpu=_cpu_model(),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        load_1min=round(os.getloadavg()[0], 2),
        blas_threads=os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS", ""),
    )


def _n_cores() -> int:
    # macOS knows no affinity.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model"):
                return value.strip()
    return platform.processor() or platform.machine()
