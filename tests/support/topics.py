"""Topics for tests."""

import time
from collections.abc import Sequence
from concurrent.futures import Future

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

#: What a broker says that was silent for so long that it counts as gone: it is back with its next heartbeat.
_NOT_NOW = {KafkaError.INVALID_REPLICATION_FACTOR, KafkaError.REQUEST_TIMED_OUT, KafkaError._TIMED_OUT}


def create_topics(admin: AdminClient, topics: Sequence[NewTopic], timeout_s: float = 90.0) -> None:
    """Create topics, also on a machine so busy that its broker is silent for half a minute."""
    deadline = time.monotonic() + timeout_s
    missing = [*topics]
    while missing:
        answers = admin.create_topics(missing, operation_timeout=10)
        missing = [topic for topic in missing if not _is_created(answers[topic.topic], deadline)]
        time.sleep(0.2 if missing else 0)


def _is_created(answer: Future[None], deadline: float) -> bool:
    try:
        answer.result(30)
    except (KafkaException, TimeoutError) as error:
        code = error.args[0].code() if isinstance(error, KafkaException) else KafkaError._TIMED_OUT
        if code == KafkaError.TOPIC_ALREADY_EXISTS:
            return True  # an attempt before this one took longer than its answer
        if code not in _NOT_NOW or time.monotonic() > deadline:
            raise
        return False
    return True
