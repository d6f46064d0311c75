"""The private names of Faust and aiokafka that the worker replaces or uses, checked before any is used.

Their libraries may change them in any release. A worker must not start with half of its fixes, so a release
that lacks one is refused, and the message gives the name.
"""

from __future__ import annotations

import dis
import inspect
import re
from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from typing import Any

from cempstream.errors import FixableError

#: aiokafka reads batches with its compiled part, where it has one.
RECORDS = (
    "aiokafka.record._crecords.default_records"
    if find_spec("aiokafka.record._crecords")
    else "aiokafka.record.default_records"
)

#: Names by distribution and module. Brackets hold a method's parameters after ``self``.
PRIVATE_NAMES: Mapping[str, Mapping[str, Collection[str]]] = {
    "faust-streaming": {
        "faust.transport.drivers.aiokafka": {
            "AIOKafkaConsumerThread._create_worker_consumer(transport)",
            "Consumer._new_consumer_thread()",
            "Consumer._getmany(active_partitions, timeout)",
            "Consumer._wait_next_records(timeout)",
            "Consumer.getmany(timeout)",
            "Consumer.on_buffer_full(tp)",
            "Consumer.on_buffer_drop(tp)",
            "Consumer.wait_first(coros, timeout)",
            "Consumer.on_partitions_revoked(revoked)",
            "Consumer.on_stop()",
            "Consumer.commit(topics, start_new_transaction)",
            "Consumer.unacked",
            "Consumer._active_partitions",
            "Consumer._buffered_partitions",
            "Consumer._committed_offset",
            "Consumer._commit(offsets)",
            "Consumer.ack(message)",
            "Consumer.position(tp)",
            "Consumer._acked",
            "Consumer._acked_index",
            "Consumer._gap",
            "Consumer.earliest_offsets(partitions)",
            "Consumer.highwaters(partitions)",
            "Consumer.seek_wait(partitions)",
            "Consumer.perform_seek()",
            "Consumer._thread",
            "AIOKafkaConsumerThread._consumer",
            "Transport.Consumer",
        },
        "faust.app.base": {
            "App._create_directories()",
            "App._new_transport()",
            "App.on_first_start()",
            "App.on_before_shutdown",
            "App.on_partitions_revoked",
            "App.consumer_generation_id",
        },
        "mode.utils.queues": {
            "FlowControlQueue.pressure_high_size",
            "FlowControlQueue.pressure_drop_size",
        },
        "faust.streams": {"Stream.enable_acks", "Stream.current_event"},
        "faust.types.tuples": {"Message.generation_id"},
        "faust.worker": {"Worker.on_stop()", "Worker.spinner"},
    },
    "aiokafka": {
        "aiokafka.client": {"AIOKafkaClient._conns", "ConnectionGroup.DEFAULT"},
        "aiokafka.conn": {"AIOKafkaConnection.connected()"},
        "aiokafka.consumer.consumer": {
            "AIOKafkaConsumer._client",
            "AIOKafkaConsumer._fetch_max_wait_ms",
        },
        "aiokafka.consumer.fetcher": {"MemoryRecords"},
        "aiokafka.record.memory_records": {"MemoryRecords.next_batch"},
        RECORDS: {
            "gzip_decode",
            "lz4_decode",
            "snappy_decode",
            "zstd_decode",
            "DefaultRecordBatch.base_offset",
            "DefaultRecordBatch.next_offset",
            "DefaultRecordBatch.max_timestamp",
            "DefaultRecordBatch.timestamp_type",
        },
    },
}

_DISTRIBUTION = "cempstream"


class UnfitLibrary(FixableError, RuntimeError):
    """A library lacks what the worker needs of it; the message says which release has it."""


def check_private_names(names: Mapping[str, Mapping[str, Collection[str]]] = PRIVATE_NAMES) -> None:
    """Refuse a library that is not as the worker needs it.

    Raises
    ------
    UnfitLibrary
        A name is absent, or takes other parameters.
    """
    for distribution, modules in names.items():
        for module, wanted in modules.items():
            for lack in _lacks(module, wanted):
                raise UnfitLibrary(
                    f"{distribution} {version(distribution)} lacks {lack}, on which the worker leans; "
                    f"this cempstream needs {_required(distribution)}"
                )


def _lacks(module: str, wanted: Collection[str]) -> Iterator[str]:
    """Yield the names that a module lacks."""
    try:
        found = import_module(module)
    except ImportError:
        yield module
        return
    for name in sorted(wanted):
        path, _, parameters = name.partition("(")
        *owner, last = path.split(".")
        thing: Any = getattr(found, owner[0], None) if owner else found
        if thing is None or not _has(thing, last) or (parameters and not _takes(thing, last, parameters)):
            yield f"{module}.{name}"


def _has(owner: Any, name: str) -> bool:
    """Say whether an object has a name, or a class's instances have it: then one of its methods sets it."""
    if hasattr(owner, name):
        return True
    methods = (method for base in getattr(owner, "__mro__", ()) for method in vars(base).values())
    codes = [method.__code__ for method in methods if inspect.isfunction(method)]
    return any(
        step.opname == "STORE_ATTR" and step.argval == name
        for code in codes
        if name in code.co_names
        for step in dis.get_instructions(code)
    )


def _takes(owner: Any, name: str, parameters: str) -> bool:
    wanted = ["self", *re.findall(r"\w+", parameters)]
    return list(inspect.signature(getattr(owner, name)).parameters) == wanted


def _required(distribution: str) -> str:
    """Return our own requirement of a distribution, as it was installed."""
    try:
        ours = requires(_DISTRIBUTION) or []
    except PackageNotFoundError:  # run from a source tree
        ours = []
    found = (text.partition(";")[0].strip() for text in ours)
    return next((text for text in found if re.split(r"[^\w.-]", text)[0] == distribution), distribution)
