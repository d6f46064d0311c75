"""Which sink a format has, and what it needs to be told. Each format's packages are imported on use."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from email.utils import parseaddr
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from cempstream.schemas.alert import Alert
from cempstream.streams.exporters.sink import ExportError, FolderSink, LineSink, Sink, ascii_json, write_whole

if TYPE_CHECKING:
    from cempstream.streams.exporters.hopskotch import HopFormat

#: Not CEMP_…, which are settings of a worker: it would refuse them.
SECRET_VARIABLE = "CEMPSTREAM_WEBHOOK_SECRET"
URL_VARIABLE = "CEMPSTREAM_WEBHOOK_URL"


class Format(StrEnum):
    """What alerts are written as, or sent by."""

    VOEVENT = "voevent"
    GCN = "gcn"
    JSON = "json"
    VOTABLE = "votable"
    ECSV = "ecsv"
    HOP = "hop"
    WEBHOOK = "webhook"


class Payload(StrEnum):
    """What hop carries."""

    JSON = "json"
    GCN = "gcn"
    VOEVENT = "voevent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a user chose; which format needs what is said by the fields' options of ``cempstream export``."""

    to: str | None = None
    with_spectrum: bool = True
    ivorn: str | None = None
    contact: str | None = None
    position_error_arcsec: float = 1.0
    instrument: str | None = None
    payload: Payload = Payload.JSON
    sender: str | None = None
    has_account: bool = True
    secret_file: Path | None = None
    undelivered: Path | None = None


def create_sink(form: Format, choices: Choices, stack: ExitStack) -> Sink:
    """Return the sink of a format; `stack` closes it, and then the file that it writes.

    Raises
    ------
    ExportError
        A choice is missing or impossible.
    NotDelivered
        Who should receive the alerts does not answer.
    OSError
        A file cannot be opened.
    """
    return stack.enter_context(_SINKS[form](choices, stack))


def _output(choices: Choices, stack: ExitStack) -> IO[bytes]:
    """Return the file to whose end is written, or standard output."""
    return sys.stdout.buffer if choices.to is None else stack.enter_context(Path(choices.to).open("ab"))


def _json_sink(choices: Choices, stack: ExitStack) -> Sink:
    return LineSink(_output(choices, stack), _json_render(choices))


def _gcn_sink(choices: Choices, stack: ExitStack) -> Sink:
    return LineSink(_output(choices, stack), _gcn_render(choices))


def _voevent_sink(choices: Choices, stack: ExitStack) -> Sink:
    if choices.to is None:
        raise ExportError("voevent needs --to FOLDER: each packet is a file")
    return FolderSink(Path(choices.to), ".xml", _voevent_render(choices))


def _table_sink(form: Format, choices: Choices, stack: ExitStack) -> Sink:
    from cempstream.streams.exporters.tables import TableSink

    if choices.to is None:
        return TableSink(sys.stdout.buffer.write, "votable" if form is Format.VOTABLE else "ecsv")
    return TableSink(partial(write_whole, Path(choices.to)), "votable" if form is Format.VOTABLE else "ecsv")


def _hop_sink(choices: Choices, stack: ExitStack) -> Sink:
    from cempstream.streams.exporters.hopskotch import HopSink

    if choices.to is None:
        raise ExportError("hop needs --to kafka://HOST[:PORT]/TOPIC")
    form: HopFormat = "voevent" if choices.payload is Payload.VOEVENT else "json"
    return HopSink(
        choices.to,
        _RENDERS[choices.payload](choices),
        form,
        sender=choices.sender,
        has_account=choices.has_account,
    )


def _webhook_sink(choices: Choices, stack: ExitStack) -> Sink:
    from cempstream.streams.exporters.webhook import Endpoint, WebhookSink, read_secret

    url = choices.to or os.environ.get(URL_VARIABLE)
    if url is None:
        raise ExportError(f"a webhook needs --to https://HOST/PATH, or the variable {URL_VARIABLE}")
    return WebhookSink(
        Endpoint(url),
        read_secret(choices.secret_file, SECRET_VARIABLE, os.environ),
        undelivered=choices.undelivered,
    )


def _json_render(choices: Choices) -> Callable[[Alert], bytes]:
    return lambda alert: ascii_json(alert.to_json(with_spectrum=choices.with_spectrum))


def _gcn_render(choices: Choices) -> Callable[[Alert], bytes]:
    from cempstream.streams.exporters.gcn import gcn_notice, notice_line

    return lambda alert: notice_line(
        gcn_notice(alert, instrument=choices.instrument, position_error_arcsec=choices.position_error_arcsec)
    )


def _voevent_render(choices: Choices) -> Callable[[Alert], bytes]:
    from cempstream.streams.exporters.voevent import Issuer, voevent

    if choices.ivorn is None:
        raise ExportError("voevent needs --ivorn ivo://AUTHORITY/STREAM: who issues the packets")
    issuer = Issuer(choices.ivorn, *parseaddr(choices.contact or ""))
    return partial(voevent, issuer=issuer, position_error_arcsec=choices.position_error_arcsec)


_RENDERS: dict[Payload, Callable[[Choices], Callable[[Alert], bytes]]] = {
    Payload.JSON: _json_render,
    Payload.GCN: _gcn_render,
    Payload.VOEVENT: _voevent_render,
}

_SINKS: dict[Format, Callable[[Choices, ExitStack], Sink]] = {
    Format.JSON: _json_sink,
    Format.GCN: _gcn_sink,
    Format.VOEVENT: _voevent_sink,
    Format.VOTABLE: partial(_table_sink, Format.VOTABLE),
    Format.ECSV: partial(_table_sink, Format.ECSV),
    Format.HOP: _hop_sink,
    Format.WEBHOOK: _webhook_sink,
}
