"""The command line: verbs by name, each loaded when it is used.

``cempstream --help`` must be quick, and the subscriber's verbs work on the base install. So a verb's module
is imported only when the verb is used; a missing package is reported in one line that names the extra.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from cempstream.errors import fixable_errors, in_one_line, install_hint
from cempstream.streams.interrupts import INTERRUPTED, came, end_in_order
from cempstream.streams.telemetry.logs import LogFormat, LogLevel, configure_logging


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb and where it lives.

    Attributes
    ----------
    target
        ``module:attribute`` within ``cempstream.streams.commands``: a function with typer annotations or a
        Typer app.
    extra
        What of cempstream has to be installed for it; None for the base install.
    """

    name: str
    target: str
    extra: str | None
    panel: str
    help: str

    def load(self) -> Any:
        """Import the verb and return its command."""
        module, _, attribute = self.target.partition(":")
        found = getattr(import_module(f"cempstream.streams.commands.{module}"), attribute)
        if isinstance(found, typer.Typer):
            command: Any = get_group(found)
        else:
            alone = typer.Typer(add_completion=False)
            alone.command(self.name)(found)
            command = get_command(alone)
        command.name = self.name
        return command


_TRY, _USE, _RUN, _MAKE = "Try", "Classify and subscribe", "Run a stream", "Make models"

VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            "demo",
            "demo:demo",
            "demo",
            _TRY,
            "A simulated night on its own broker, from start to end.",
        ),
        Verb(
            "classify",
            "classify:classify",
            "cpu",
            _USE,
            "Classify files into a table; needs no broker.",
        ),
        Verb(
            "explain",
            "explain:explain",
            "cpu",
            _USE,
            "Say why the spectra of a file score as they do.",
        ),
        Verb("listen", "listen:listen", None, _USE, "Subscribe to alerts."),
        Verb("page", "page:page", "page", _USE, "The night's candidates in a browser, as they come."),
        Verb("filter", "filters:filter_app", None, _USE, "Try a filter of alerts on a night."),
        Verb(
            "targets",
            "targets:targets",
            "observing",
            _USE,
            "Choose the stars to observe tonight.",
        ),
        Verb(
            "export",
            "export:export",
            "exporters",
            _USE,
            "Write or send alerts as VOEvent, GCN, tables, hop, webhook.",
        ),
        Verb("lag", "lag:lag", None, _USE, "Say how much waits for a group."),
        Verb(
            "verify",
            "verify:verify",
            "cpu",
            _USE,
            "Score an alert's spectrum again with its own bundle.",
        ),
        Verb("schema", "schema:schema_app", None, _USE, "Show and compare packet schemas."),
        Verb("worker", "worker:worker", "cpu", _RUN, "Score spectra from Kafka until stopped."),
        Verb("stars", "stars:stars_app", "cpu", _RUN, "Follow stars over their observations."),
        Verb(
            "replay",
            "replay:replay",
            "cpu",
            _RUN,
            "Publish files as packets, or score a recorded night again.",
        ),
        Verb("simulate", "simulate:simulate", "cpu", _RUN, "Publish or write a simulated night."),
        Verb("topics", "topics:topics_app", "cpu", _RUN, "Create and list the topics."),
        Verb(
            "exposures",
            "exposures:exposures_app",
            "cpu",
            _RUN,
            "Say which exposures are fully scored.",
        ),
        Verb(
            "bundle",
            "bundle:bundle_app",
            "cpu",
            _RUN,
            "Compare model bundles, and choose which is served.",
        ),
        Verb(
            "archive",
            "archive:archive_app",
            "cpu",
            _RUN,
            "Keep scores, alerts and dead letters as Parquet tables.",
        ),
        Verb("dlq", "dlq:dlq_app", "cpu", _RUN, "Read dead letters and send them again."),
        Verb(
            "doctor",
            "doctor:doctor",
            "cpu",
            _RUN,
            "Say what is wrong with broker, topics, models and clock.",
        ),
        Verb(
            "night",
            "night:night",
            "demo",
            _TRY,
            "A simulated night watched by Prometheus, with its picture.",
        ),
        Verb("bench", "bench:bench_app", "demo", _RUN, "Measure rate, latency and memory."),
        Verb("train", "train:train", "train", _MAKE, "Train and export a model bundle."),
        Verb("evaluate", "evaluate:evaluate", "train", _MAKE, "Report how good a model bundle is."),
        Verb(
            "benchmark",
            "benchmark:benchmark_app",
            "train",
            _MAKE,
            "The open benchmark: its sets and its figures.",
        ),
        Verb("synth", "synth:synth_app", "train", _MAKE, "Compute synthetic spectra."),
    )
}


class _LazyCommand(TyperCommand):
    """Stands for a verb in the help; gives way to the real one when it is called."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        command = VERBS[str(self.name)].load()
        end_in_order()  # from here on no import can be cut short
        return command.make_context(info_name, args, parent, **extra)


class _Verbs(TyperGroup):
    """Turns what a person can fix into one line on stderr and exit status 1 or 2."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        _print_anything()
        try:
            status = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except typer.TyperException as error:
            context = getattr(error, "ctx", None)
            name = context.command_path if context else self.name or "cempstream"
            if message := _one_line(error.format_message()):  # `cempstream dlq` alone shows its help
                typer.echo(f"{name}: {message}", err=True)
            status = error.exit_code
        except typer.Abort:
            status = 1
        sys.exit(status)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _log_options_first(args))

    def invoke(self, ctx: Any) -> Any:
        try:
            return self._invoke(ctx)
        except typer.Exit:
            raise
        except Exception as error:
            if came():
                raise _Refused("interrupted", INTERRUPTED) from error
            raise

    def _invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            verb = VERBS[ctx.invoked_subcommand]
            if error.name is None or error.name.partition(".")[0] == "cempstream" or verb.extra is None:
                raise
            raise _Refused(
                f"'{verb.name}' needs {error.name}, which is not installed: {install_hint(verb.extra)}",
                status=2,
            ) from None
        except KeyboardInterrupt:
            raise _Refused("interrupted", INTERRUPTED) from None
        except BrokenPipeError:  # the reader of our output is gone: `| head`
            raise
        except fixable_errors() as error:
            raise _Refused(in_one_line(error)) from error


def _print_anything() -> None:
    """Let no character end a command: what the terminal's encoding lacks is written as ``\\u2013``.

    File names may hold bytes that no encoding has, and ``PYTHONIOENCODING=latin-1`` has no ``λ``.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _Refused(typer.TyperException):
    """A line for a person and the exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.exit_code = status


def _log_options_first(args: list[str]) -> list[str]:
    """Let ``--log-level`` and ``--log-format`` stand anywhere, also after the verb."""
    first: list[str] = []
    rest = list(args)
    for option in ("--log-level", "--log-format"):
        for i, arg in enumerate(rest):
            if arg == "--":
                break
            if arg.partition("=")[0] == option:
                n_words = 1 if "=" in arg else 2
                first += rest[i : i + n_words]
                del rest[i : i + n_words]
                break
    return first + rest


def _one_line(text: str) -> str:
    return " ".join(text.split())


app = typer.Typer(
    name="cempstream",
    cls=_Verbs,
    no_args_is_help=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    help="Find carbon-enhanced metal-poor stars in a survey's spectra as they are reduced.",
)


@app.callback()
def _main(
    ctx: typer.Context,
    log_level: Annotated[LogLevel, typer.Option(help="From which level on to log.")] = LogLevel.INFO,
    log_format: Annotated[LogFormat, typer.Option(help="How to log, on stderr.")] = LogFormat.TEXT,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if show_version:
        typer.echo(f"cempstream {version('cempstream')}")
        raise typer.Exit
    configure_logging(log_level, log_format)
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit(2)


def _register(verb: Verb) -> None:
    def stands_for_it() -> None:
        """Never called: ``_LazyCommand`` makes the real verb's context."""

    app.command(verb.name, cls=_LazyCommand, help=verb.help, rich_help_panel=verb.panel)(stands_for_it)


for _verb in VERBS.values():
    _register(_verb)


def main() -> None:
    """Run the command line; ``cempstream.__main__`` does, with Ctrl-C in hand."""
    app(prog_name="cempstream")
