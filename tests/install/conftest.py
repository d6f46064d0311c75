"""Says which interpreters the installs were tried with; one that the machine lacks fails nothing."""

import pytest

from tests.install.interpreters import claimed, found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the interpreters, and the versions of which there is none here."""
    absent = [version for version in claimed() if version not in found()]
    terminalreporter.write_line(f"installed for Python {', '.join(found())}")
    if absent:
        terminalreporter.write_line(f"not tried, no interpreter on this machine: Python {', '.join(absent)}")
