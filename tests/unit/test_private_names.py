"""Faust and aiokafka are refused by name where they lack what the worker replaces or leans on."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import pytest
from aiokafka.consumer import fetcher
from aiokafka.record.memory_records import DefaultRecordBatch
from faust.transport.drivers import aiokafka

from cempstream.errors import FixableError
from cempstream.streams.worker import private_names as module
from cempstream.streams.worker.private_names import PRIVATE_NAMES, UnfitLibrary, check_private_names

DRIVER = "faust.transport.drivers.aiokafka"


def test_the_installed_libraries_are_fit() -> None:
    check_private_names()


@pytest.mark.parametrize(
    ("distribution", "module", "name"),
    [
        (dist, module, name)
        for dist, modules in PRIVATE_NAMES.items()
        for module in modules
        for name in sorted(modules[module])
    ],
)
def test_each_name_is_missed_where_it_is_absent(distribution: str, module: str, name: str) -> None:
    """The same name with a letter changed stands for a release that has renamed it."""
    path, bracket, parameters = name.partition("(")
    renamed = f"{path}x{bracket}{parameters}"
    with pytest.raises(UnfitLibrary) as refused:
        check_private_names({distribution: {module: (renamed,)}})
    assert isinstance(refused.value, FixableError)
    said = str(refused.value)
    assert said.startswith(f"{distribution} {version(distribution)} lacks {module}.{renamed}, ")
    assert said.partition("this cempstream needs ")[2].startswith(distribution)


def test_a_release_without_a_method_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(aiokafka.AIOKafkaConsumerThread, "_create_worker_consumer")
    with pytest.raises(UnfitLibrary, match=r"lacks .*_create_worker_consumer\(transport\)"):
        check_private_names()


def test_a_release_without_a_name_of_its_module_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(fetcher, "MemoryRecords")
    with pytest.raises(UnfitLibrary, match=r"aiokafka .* lacks aiokafka\.consumer\.fetcher\.MemoryRecords"):
        check_private_names()


def test_a_release_whose_method_takes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait(self: object, timeout: float, partitions: object) -> None: ...

    monkeypatch.setattr(aiokafka.Consumer, "_wait_next_records", wait)
    with pytest.raises(UnfitLibrary, match=r"_wait_next_records\(timeout\)"):
        check_private_names()


def test_a_release_without_a_module_is_refused() -> None:
    with pytest.raises(UnfitLibrary, match=r"faust-streaming .* lacks faust\.no_such_module"):
        check_private_names({"faust-streaming": {"faust.no_such_module": ("App",)}})


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        (
            ["aiokafka>=0.12", "faust-streaming[fast]==0.15.3 ; extra == 'stream'"],
            "faust-streaming[fast]==0.15.3",
        ),
        (["faust>=1", "faust-streaming-codecs>=2", "faust-streaming<9"], "faust-streaming<9"),
        (["aiokafka>=0.12"], "faust-streaming"),
        (None, "faust-streaming"),
        (PackageNotFoundError("cempstream"), "faust-streaming"),
    ],
)
def test_the_message_has_our_own_requirement(
    monkeypatch: pytest.MonkeyPatch, ours: list[str] | Exception | None, said: str
) -> None:
    def requires(distribution: str) -> list[str] | None:
        assert distribution == "cempstream"
        if isinstance(ours, Exception):
            raise ours
        return ours

    monkeypatch.setattr(module, "requires", requires)
    with pytest.raises(UnfitLibrary) as refused:
        check_private_names({"faust-streaming": {"no_such_module": {"App"}}})
    assert str(refused.value).endswith(f"this cempstream needs {said}")


def test_records_are_read_as_aiokafka_reads_them() -> None:
    """With its compiled part, where it has one."""
    assert import_module(module.RECORDS).DefaultRecordBatch is DefaultRecordBatch


def test_a_name_that_a_base_class_sets_on_itself_is_there() -> None:
    check_private_names({"aiokafka": {"aiokafka.client": {"AIOKafkaClient._conns"}}})
    with pytest.raises(UnfitLibrary, match=r"asyncio\.Event\._loop_of_old"):
        check_private_names(
            {"aiokafka": {"asyncio": {"Event._waiters", "Event.set()", "Event._loop_of_old"}}}
        )


def test_a_worker_on_an_unfit_library_ends_in_a_line() -> None:
    code = (
        f"import sys; from {DRIVER} import AIOKafkaConsumerThread as thread\n"
        "del thread._create_worker_consumer\n"
        "from cempstream.streams.cli import main; sys.argv = ['cempstream', 'worker']; main()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=110)
    assert run.returncode == 1
    assert run.stderr.startswith("cempstream: faust-streaming ")
    assert run.stderr.count("\n") == 1
