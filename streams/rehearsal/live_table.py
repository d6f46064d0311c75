"""The night's progress: a live table at a terminal, else plain lines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cempstream.streams.rehearsal.ledger import AlertSeen, Ledger
from cempstream.streams.wording import probability_text, subclass_text

_NEWEST = 10
_LINE_EVERY_S = 5.0
_TRUTH = {True: "CEMP", False: "no", None: ""}


@dataclass(frozen=True, slots=True)
class Moment:
    """The state of the night at one moment."""

    phase: str
    n_planned: int
    n_pictures: int


class Watch(Protocol):
    """Shows the night's progress."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, ledger: Ledger, moment: Moment, new: Sequence[AlertSeen]) -> None:
        """Show the state, with the alerts that came since."""
        ...


class LiveTable:
    """Counts, rate, latency and the newest alerts in a table that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, ledger: Ledger, moment: Moment, new: Sequence[AlertSeen]) -> None:
        """Redraw."""
        self._live.update(Group(Text(status_line(ledger, moment)), alert_table(ledger.alerts[-_NEWEST:])))


class PlainLines:
    """A line per alert, and a summary every few seconds, on stderr."""

    def __init__(self) -> None:
        self._said_at_s = time.monotonic()
        self._phase = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, ledger: Ledger, moment: Moment, new: Sequence[AlertSeen]) -> None:
        """Print what is new."""
        for seen in new:
            typer.echo(f"{_alert_name(seen)}: " + "  ".join(filter(None, alert_cells(seen))), err=True)
        now_s = time.monotonic()
        if moment.phase != self._phase or now_s - self._said_at_s > _LINE_EVERY_S:
            self._phase, self._said_at_s = moment.phase, now_s
            typer.echo(status_line(ledger, moment), err=True)


def status_line(ledger: Ledger, moment: Moment) -> str:
    """Return the night in one line."""
    parts = [f"{moment.phase}: {ledger.n_sent} of {moment.n_planned} in"]
    if ledger.n_out:
        parts += [
            f"{ledger.n_scored} scored",
            f"{ledger.n_dead} dead letters",
            f"{ledger.rate():.0f}/s",
            f"latency p50 {ledger.latency_s(50):.2f} s, p99 {ledger.latency_s(99):.2f} s",
            f"{len(ledger.alerts)} alerts",
            f"{moment.n_pictures} pictures",
        ]
    return ", ".join(parts)


def alert_table(alerts: Sequence[AlertSeen]) -> Table:
    """Return the newest alerts, the newest first."""
    table = Table(
        "", "star", "p(CEMP)", "[Fe/H]", "[C/Fe]", "subclass", "S/N", "bands that drove it", "truth"
    )
    for column in table.columns:
        column.no_wrap, column.overflow = True, "ellipsis"
    for column in table.columns[2:5]:
        column.justify = "right"
    for seen in reversed(alerts):
        table.add_row(_alert_name(seen), *alert_cells(seen))
    return table


def _alert_name(seen: AlertSeen) -> str:
    """Return what kind of news an alert is: the first of a star is just an alert."""
    alert_type = seen.alert.alert_type
    return "alert" if alert_type == "initial" else alert_type


def alert_cells(seen: AlertSeen) -> tuple[str, ...]:
    """Return an alert in the columns of the table."""
    alert = seen.alert
    return (
        alert.name,
        probability_text(alert.p_cemp),
        f"{alert.parameters.feh.value:+.2f}",
        f"{alert.parameters.cfe.value:+.2f}",
        subclass_text(alert.subclass),
        f"{alert.snr:.0f}",
        ", ".join(f"{band.name} {100 * band.weight:.0f} %" for band in alert.bands[:3]),
        _TRUTH[seen.is_cemp],
    )
