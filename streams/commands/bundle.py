"""``cempstream bundle``: list, check and compare versions, and choose which one is served."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cempstream.models.bundle import BUNDLES, BundleError, write_manifest
from cempstream.models.manifest import MANIFEST_FILE, SIGNATURE_FILE
from cempstream.models.pinned import open_bundle
from cempstream.models.promotion import active_version, bundle_versions, load_version, promotions
from cempstream.models.promotion import promote as promote_version
from cempstream.models.promotion import rollback as roll_back_version
from cempstream.schemas.score import decode_score
from cempstream.streams.commands.options import Bootstrap, time_option
from cempstream.streams.kafka.schema_registry import use_registry
from cempstream.streams.kafka.topic_reader import read_topic
from cempstream.streams.operations.compare import ComparedSpectrum, Comparer, print_comparison, read_score
from cempstream.streams.settings import KafkaSettings, read_settings

bundle_app = typer.Typer(
    help="Check bundles, compare them on a night, and choose which one is served.", no_args_is_help=True
)

Root = Annotated[
    Path | None, typer.Option(help="Folder of bundles; else CEMP_MODELS__ROOT, else the package's.")
]


@bundle_app.command("list")
def list_bundles(root: Root = None) -> None:
    """List the versions of every bundle, and mark those that a worker serves at its next start."""
    models = read_settings().models
    folder = _root(root)
    table = Table(box=None)
    for heading in ("bundle", "", "since", "serves R", "trained on", "MFLOP a spectrum"):
        table.add_column(heading)
    for name in sorted({path.parent.parent.name for path in folder.glob("*/*/card.json")}):
        active, made = active_version(folder, name), promotions(folder, name)
        served = active or bundle_versions(folder, name)[-1]
        for version in bundle_versions(folder, name):
            since = made[-1].at.strftime("%Y-%m-%d %H:%M UTC") if version == active else ""
            mark = "" if version != served else "active" if active else "served"
            try:
                card = load_version(folder, name, version, models.keys).card
            except BundleError as error:
                table.add_row(f"{name}/{version}", "broken", since, str(error))
                continue
            table.add_row(
                f"{name}/{version}",
                mark,
                since,
                f"{card.served[0]:g}–{card.served[1]:g}",
                f"{card.training.n_spectra} spectra",
                f"{sum(graph.mflop for graph in card.graphs.values()):.1f}",
            )
    Console().print(table)


@bundle_app.command()
def check(
    bundle: Annotated[str, typer.Argument(help="NAME, NAME/VERSION, or a folder.")], root: Root = None
) -> None:
    """Check a bundle as a worker does that loads it, and print the hash that stands for all of it."""
    models = read_settings().models
    found = open_bundle(bundle, _root(root), models.keys)
    signed = "CEMP_MODELS__KEY asks for no signature" if models.keys is None else "signed by a trusted key"
    typer.echo(f"{found.name} in {found.folder} is what its manifest and its card say; {signed}")
    typer.echo(f"sha256 {found.sha256}")


@bundle_app.command()
def manifest(folder: Annotated[Path, typer.Argument(help="Folder of a bundle that you trust.")]) -> None:
    """Write the manifest of a bundle: size and sha256 of every file, which loading checks from then on."""
    found = write_manifest(folder)
    typer.echo(f"{folder / MANIFEST_FILE} describes {found.name}")
    typer.echo(f"sha256 {found.sha256}")
    if (folder / SIGNATURE_FILE).exists():
        typer.echo(f"{folder / SIGNATURE_FILE} is of the manifest before; if that has changed, sign again")


@bundle_app.command()
def compare(
    bootstrap: Bootstrap = None,
    since: Annotated[datetime | None, time_option("Only from this time on")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare a night's scores with those of the shadow bundle, spectrum by spectrum."""
    settings = read_settings(kafka={"bootstrap": bootstrap})
    use_registry(settings)
    shadow, new = _read_scores(settings.kafka, settings.topics.scores_shadow, since)
    if not shadow:
        typer.echo(f"nothing in {settings.topics.scores_shadow}: has a worker run with --shadow?", err=True)
        raise typer.Exit(1)
    first, old = _read_scores(settings.kafka, settings.topics.scores, since)
    comparer = Comparer(old or "none", new)
    common = first.keys() & shadow.keys()
    for record_id in sorted(common):
        comparer.add_read(first[record_id], shadow[record_id])
    found = comparer.report()
    alone = {"only_old": len(first) - len(common), "only_new": len(shadow) - len(common)}
    if as_json:
        typer.echo(json.dumps({**alone, **found.to_json()}, indent=1, allow_nan=False))
        return
    print_comparison(found, Console())
    typer.echo(
        f"scored by one alone: {alone['only_old']} by the first (rejected by the shadow, or before and after "
        f"it ran), {alone['only_new']} by the shadow"
    )


@bundle_app.command()
def promote(bundle: Annotated[str, typer.Argument(help="NAME/VERSION")], root: Root = None) -> None:
    """Make a version the one that workers serve after their next start."""
    name, slash, version = bundle.partition("/")
    if not slash:
        there = ", ".join(f"{name}/{v}" for v in bundle_versions(_root(root), name)) or "none"
        raise typer.BadParameter(f"say which version of {name}; there are {there}")
    promote_version(_root(root), name, version, keys=read_settings().models.keys)
    _say_active(_root(root), name)


@bundle_app.command()
def rollback(
    name: Annotated[str, typer.Argument(help="Name of the bundle, such as mid.")], root: Root = None
) -> None:
    """Undo the last promotion: the version before it is served again."""
    roll_back_version(_root(root), name, read_settings().models.keys)
    _say_active(_root(root), name)


def _root(root: Path | None) -> Path:
    return root or read_settings().models.root or BUNDLES


def _say_active(root: Path, name: str) -> None:
    active = active_version(root, name)
    typer.echo(f"{name}/{active} is active in {root}; restart the workers one by one, and they serve it")


def _read_scores(
    kafka: KafkaSettings, topic: str, since: datetime | None
) -> tuple[Mapping[str, ComparedSpectrum], str]:
    """Return a topic's scores by record, the last of each, and the bundle that made most."""
    scores: dict[str, ComparedSpectrum] = {}
    bundles: Counter[str] = Counter()
    for message in read_topic(kafka, topic, since=since):
        score = decode_score(message.value() or b"")
        scores[score.record_id] = read_score(score)
        bundles[score.bundle] += 1
    return scores, " + ".join(name for name, _ in bundles.most_common())
