"""The chaos suite: a broker that may be broken, packets of real size, and the table of its results."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from cempstream.streams.rehearsal.embedded import BrokerError
from tests.broker.conftest import need_kafka
from tests.broker.kafka import KILLED_MS, KafkaBroker
from tests.chaos.backlog import numbered
from tests.chaos.ledger_table import Table
from tests.support.night import MAX_MESSAGE_BYTES
from tests.support.spectra import template_packets

N_PACKETS = 3000


@pytest.fixture(scope="session")
def table() -> Iterator[Table]:
    """Collect the rows of a session; ``CEMP_CHAOS_TABLE=1`` writes them into the README."""
    table = Table()
    yield table
    if os.environ.get("CEMP_CHAOS_TABLE"):
        table.write()


@pytest.fixture(scope="session")
def shared_kafka() -> Iterator[KafkaBroker]:
    """Return the broker of all cases; it forbids what an ACL forbids and nothing else."""
    need_kafka()
    with KafkaBroker(
        {
            "auto.create.topics.enable": "false",
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "true",
        },
        silence_ms=KILLED_MS,
    ) as broker:
        yield broker


@pytest.fixture
def kafka(shared_kafka: KafkaBroker) -> KafkaBroker:
    """Return the broker, started again where a case that failed has left it dead."""
    try:
        shared_kafka.pid  # noqa: B018 - raises where it was killed
    except BrokerError:
        shared_kafka.start()
    return shared_kafka


@pytest.fixture(scope="session")
def stars() -> list[bytes]:
    """Return five hundred packets of 31 KB."""
    return template_packets(500, seed=11, tag="chaos")


@pytest.fixture(scope="session")
def packets(stars: list[bytes]) -> list[bytes]:
    """Return thousands of packets of 31 KB, each with its own id."""
    return list(numbered(stars, N_PACKETS))
