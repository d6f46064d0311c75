"""What a broker says about partitions that no worker reads."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient
from faust.types import TP

from cempstream.streams.worker.orphans import OrphanWatch
from tests.support.night import Topics
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(240)

on_kafka = pytest.mark.parametrize("broker", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)


def wait_joined(members: list[Consumer], watch: OrphanWatch) -> None:
    """Poll until the members hold both partitions and the watch finds nothing amiss."""
    deadline = time.monotonic() + 60
    while sum(len(member.assignment()) for member in members) != 2 or watch.find():
        assert time.monotonic() < deadline, watch.find()
        for member in members:
            member.poll(0.1)


@on_kafka
def test_partitions_are_orphans_before_the_first_member_and_after_the_last(bootstrap: str) -> None:
    topics = Topics.create(bootstrap)
    every = {TP(topics.spectra, 0), TP(topics.spectra, 1)}
    group = f"group-{topics.spectra}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    watch = OrphanWatch(admin, group, [topics.spectra, "no.such.v1"], is_idle=bool, on_lost=print)
    # A broker that has just started makes its coordinator's topic first, and says nothing meanwhile.
    wait_until(lambda: watch.find() == every, "what no worker reads is not found")
    members = [
        Consumer({"bootstrap.servers": bootstrap, "group.id": group, "session.timeout.ms": 6000})
        for _ in range(3)
    ]
    for member in members:
        member.subscribe([topics.spectra])
    wait_joined(members, watch)
    assert [] in [member.assignment() for member in members], "three members share two partitions"
    for member in members:
        member.close()
    assert watch.find() == every


def test_what_a_group_reads_is_no_orphan_on_any_broker(bootstrap: str) -> None:
    topics = Topics.create(bootstrap)
    group = f"group-{topics.spectra}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    watch = OrphanWatch(admin, group, [topics.spectra], is_idle=bool, on_lost=print)
    member = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "session.timeout.ms": 6000})
    member.subscribe([topics.spectra])
    wait_joined([member], watch)
    member.close()
