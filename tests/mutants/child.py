"""A process that imports one module as changed and runs its tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from types import ModuleType
from typing import Any


class OneModule(MetaPathFinder, SourceLoader):
    """Finds one module, in a source that is given; nothing is written to the checkout."""

    def __init__(self, name: str, path: str, source: str) -> None:
        self.name, self.path, self.source = name, path, source

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module's spec."""
        if fullname != self.name:
            return None
        return spec_from_file_location(fullname, self.path, loader=self)

    def get_filename(self, fullname: str) -> str:
        """Return the path that tracebacks name."""
        return self.path

    def get_data(self, path: str | bytes) -> bytes:
        """Return the source."""
        return self.source.encode()

    def path_stats(self, path: str | bytes) -> dict[str, Any]:
        """Refuse: no compiled file of another source may be read."""
        raise OSError


def run_tests(name: str, path: str, source: str, tests: Sequence[str], output: str) -> None:
    """Run the tests and end the process with pytest's status."""
    os.setsid()
    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.dont_write_bytecode = True
    sys.meta_path.insert(0, OneModule(name, path, source))
    import hypothesis
    import pytest

    # The same examples for every mutant; none is kept.
    hypothesis.settings.register_profile("mutants", database=None, derandomize=True, deadline=None)
    hypothesis.settings.load_profile("mutants")
    options = ["-x", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", "--tb=line"]
    quiet = ["-W", "ignore:Module already imported so cannot be rewritten"]
    slow = "kafka or chaos or train or docs or install"
    status = pytest.main([*options, *quiet, "-m", f"not ({slow})", *tests])
    sys.stdout.flush()
    os._exit(int(status))
