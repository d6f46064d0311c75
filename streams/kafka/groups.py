"""Which consumer groups there are."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient

from cempstream.streams.kafka.places import NoAnswer


def list_groups(admin: AdminClient, timeout_s: float) -> set[str]:
    """Return the names of all consumer groups; call it before one is described.

    Where a group's coordinator does not say in time what it is asked, an assertion of librdkafka
    (``eonce->refcnt > 0``) may end the process some seconds later. So ask only for a group that exists, and
    whoever can wait gives it long; under heavy load the list itself may have met the same end.

    Raises
    ------
    NoAnswer
        A broker does not answer.
    KafkaException
        It refuses, or none is there.
    """
    try:
        listed = admin.list_consumer_groups(request_timeout=timeout_s).result(2 * timeout_s)
    except TimeoutError as error:
        raise NoAnswer("consumer groups") from error
    if listed.errors:
        raise NoAnswer("consumer groups", reason=str(listed.errors[0]))
    return {group.group_id for group in listed.valid}
