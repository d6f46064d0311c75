"""Options of the verbs that read a stream as a subscriber does: with no settings but the broker's address."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

from cempstream.schemas.sky import RADIUS_ARCSEC
from cempstream.streams.commands.options import KnownFiles as KnownFiles
from cempstream.streams.commands.options import RegionFiles as RegionFiles
from cempstream.streams.commands.options import WatchlistFiles as WatchlistFiles
from cempstream.streams.commands.options import broker_option
from cempstream.streams.observing.known_stars import KnownStars
from cempstream.streams.subscriber.client import ALERTS_TOPIC

logger = logging.getLogger(__name__)

_VARIABLE = "CEMP_KAFKA__BOOTSTRAP"

DEFAULT_BROKER = "127.0.0.1:9092"

Broker = Annotated[str, broker_option("Kafka brokers, host:port[,host:port…].", envvar=_VARIABLE)]
AlertTopics = Annotated[list[str] | None, typer.Option(help=f"Topic; may be given again. [{ALERTS_TOPIC}]")]
Where = Annotated[str | None, typer.Option(help='Filter: "p_cemp > 0.95 and snr > 20 and feh < -2".')]
Tenses = Annotated[
    list[str] | None, typer.Option(help="current, archival, injection or test; may be given again.")
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(help="File of librdkafka properties, name=value: security.protocol and so on."),
]

MatchRadius = Annotated[
    float, typer.Option("--match-radius", help="How far a star may be from the alert, in arcsec.")
]


def read_known(
    known: Sequence[Path] | None,
    watchlists: Sequence[Path] | None,
    regions: Sequence[Path] | None,
    radius_arcsec: float = RADIUS_ARCSEC,
) -> KnownStars | None:
    """Read what alerts are compared with, and say what it is; None where nothing is asked for.

    Raises
    ------
    CatalogueError
        A file cannot be used.
    OSError
        A file cannot be read.
    """
    if not (known or watchlists or regions):
        return None
    stars = KnownStars(known or (), watchlists or (), regions or (), radius_arcsec=radius_arcsec)
    for line in stars.describe():
        logger.info("%s", line)
    return stars


def refuse_misspelt(environment: Iterable[str]) -> None:
    """Refuse what is nearly the one variable that is read: else the broker would be this machine."""
    for name in get_close_matches(_VARIABLE, environment, cutoff=0.9):
        if name != _VARIABLE:
            message = f"{name} is not a setting; did you mean {_VARIABLE}?"
            raise typer.BadParameter(message, param_hint="the environment")


def check(option: str, parse: Callable[[], object]) -> None:
    """Try to read an option, and name it where it cannot be read."""
    try:
        parse()
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=f"'{option}'") from error


def read_properties(path: Path | None) -> dict[str, str]:
    """Read a file of ``name=value`` lines, as kcat's ``-F`` does; ``#`` begins a comment.

    Raises
    ------
    ValueError
        A line is not ``name=value``.
    OSError
        The file cannot be read.
    """
    properties: dict[str, str] = {}
    if path is None:
        return properties
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise ValueError(f"{path}, line {number}: a property is written name=value")
        properties[name.strip()] = value.strip()
    return properties
