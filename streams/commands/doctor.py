"""``cempstream doctor``: what is wrong, and what to do about it."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from cempstream.models.sessions import Provider
from cempstream.plain import shown
from cempstream.streams.commands.options import Bootstrap
from cempstream.streams.operations.checkup import CheckResult, Status, check_all
from cempstream.streams.settings import read_settings

_STYLES = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red"}


def doctor(
    bootstrap: Bootstrap = None,
    topic: Annotated[list[str] | None, typer.Option(help="Topic of spectra; may be given again.")] = None,
    provider: Annotated[Provider | None, typer.Option(help="Where the networks run.")] = None,
    bundle: Annotated[list[str] | None, typer.Option(help="Model bundle; may be given again.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a finding.")] = False,
) -> None:
    """Check broker, topics, models, provider and clock; exit status 1 if a worker could not work."""
    settings = read_settings(
        kafka={"bootstrap": bootstrap},
        topics={"spectra": tuple(topic) if topic else None},
        models={"provider": provider, "bundles": tuple(bundle) if bundle else None},
    )
    console = Console(soft_wrap=True, highlight=False)
    failed = False
    for finding in check_all(settings):
        failed = failed or finding.status is Status.FAIL
        if as_json:
            typer.echo(json.dumps(_facts(finding)))
        else:
            console.print(_line(finding))
    if failed:
        raise typer.Exit(1)


def _line(finding: CheckResult) -> Text:
    remedy = f"  → {finding.remedy}" if finding.remedy else ""
    return Text.assemble(
        (f"{finding.status:<5}", _STYLES[finding.status]),
        f"{finding.subject:<9}{shown(finding.said + remedy)}",
    )


def _facts(finding: CheckResult) -> dict[str, str]:
    return {
        "status": finding.status,
        "subject": finding.subject,
        "said": finding.said,
        "remedy": finding.remedy,
    }
