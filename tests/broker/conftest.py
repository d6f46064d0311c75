"""Brokers for tests: every test that asks for `broker` or `bootstrap` runs on both."""

import os
import uuid
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from cempstream.streams.rehearsal.embedded import Broker, EmbeddedBroker
from tests.broker.kafka import KafkaBroker, why_not_installed
from tests.support.topics import create_topics


def need_kafka() -> None:
    """Skip where Apache Kafka cannot run; in CI, where a skip is a failure, fail."""
    if (problem := why_not_installed()) is None:
        return
    if os.environ.get("CI"):
        pytest.fail(problem)
    pytest.skip(problem)


@pytest.fixture(scope="session", params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """Return a running broker that all tests share: keep to topics of your own, see `new_topic`."""
    if request.param == "embedded":
        with EmbeddedBroker() as embedded:
            yield embedded
    else:
        need_kafka()
        with KafkaBroker() as kafka:
            yield kafka


@pytest.fixture
def bootstrap(broker: Broker) -> str:
    """Return the shared broker's address."""
    return broker.bootstrap


@pytest.fixture
def new_topic(bootstrap: str) -> Callable[..., str]:
    """Return a function that creates a topic with a new name: ``new_topic(n_partitions=4)``."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def create(n_partitions: int = 1, **config: str) -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        create_topics(admin, [NewTopic(name, n_partitions, 1, config=config)])
        return name

    return create
