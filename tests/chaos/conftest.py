"""The chaos suite: a broker of its own, packets of real size, and the table that it leaves behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.broker.conftest import need_kafka
from tests.broker.kafka import KafkaBroker
from tests.night import MAX_MESSAGE_BYTES
from tests.spectra import template_packets

README = Path(__file__).parent / "README.md"
TABLE_MARK = "<!-- written by the suite -->"


@dataclass(frozen=True)
class Row:
    """One line of the ledger table."""

    case: str
    n_packets: int
    n_lost: int
    n_repeats: int
    recovery_s: float | None


@dataclass
class Table:
    """What the cases of a session showed."""

    rows: list[Row] = field(default_factory=list)

    def write(self) -> None:
        """Replace the table in the README, keeping the text above it."""
        text = README.read_text(encoding="utf-8").partition(TABLE_MARK)[0]
        lines = [
            TABLE_MARK,
            "",
            "| case | packets | lost | repeats | recovery |",
            "| --- | ---: | ---: | ---: | ---: |",
            *(
                f"| {row.case} | {row.n_packets} | {row.n_lost} | {row.n_repeats} | "
                f"{'–' if row.recovery_s is None else f'{row.recovery_s:.1f} s'} |"
                for row in self.rows
            ),
        ]
        README.write_text(text + "\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def table() -> Iterator[Table]:
    """Collect the rows of a session; ``CEMP_CHAOS_TABLE=1`` writes them into the README."""
    table = Table()
    yield table
    if os.environ.get("CEMP_CHAOS_TABLE"):
        table.write()


@pytest.fixture
def kafka() -> Iterator[KafkaBroker]:
    """Return a broker that a case may stop, kill and start again."""
    need_kafka()
    with KafkaBroker(
        {"auto.create.topics.enable": "false", "message.max.bytes": MAX_MESSAGE_BYTES}
    ) as broker:
        yield broker


@pytest.fixture(scope="session")
def packets() -> list[bytes]:
    """Return two thousand packets of 31 KB, each with an id of its own."""
    return template_packets(2000, seed=11, tag="chaos")
