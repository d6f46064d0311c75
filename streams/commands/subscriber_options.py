"""Options of the verbs that read a stream as a subscriber does: with no settings but the broker's address."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

from cempstream.streams.commands.options import broker_option
from cempstream.streams.subscriber.client import ALERTS_TOPIC

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
