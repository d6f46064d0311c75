"""``cempstream evaluate``: one report of what a bundle can and cannot do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cempstream.models.bundle import BUNDLES, CARD_FILE, load_bundle, newest_bundle
from cempstream.models.sessions import Provider
from cempstream.processors.decide import Policy
from cempstream.schemas.codec import decode_spectrum
from cempstream.streams.model_settings import PolicySettings
from cempstream.streams.scoring.assemble import build_chain, reference_spectrum
from cempstream.streams.scoring.pipeline import Pipeline, Route
from cempstream.streams.scoring.star_judge import StarJudge


def evaluate(
    bundle: Annotated[str, typer.Option(help="Bundle by its name, or a folder of one.")] = "mid",
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("evaluation"),
    library: Annotated[
        list[Path] | None, typer.Option(help="File or folder of the synthetic library; may be given again.")
    ] = None,
    real: Annotated[Path | None, typer.Option(help="Folder of real spectra.")] = None,
    abundances: Annotated[
        Path | None, typer.Option(help="Table of literature abundances, as JINAbase has it, for real stars.")
    ] = None,
    work: Annotated[
        Path | None, typer.Option(help="Folder of a training run, on whose data small variants are trained.")
    ] = None,
    fit_trees: Annotated[
        Path | None, typer.Option(help="Fit the tree baseline again and write it into this folder.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of scored spectra, reused by the next run; <out>/cache.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Write only the section of this key; may be given again.")
    ] = None,
    purity_to: Annotated[
        Path | None,
        typer.Option(help="Write the purity within bins of S/N on the card of this bundle, a copy of it."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Trial run with a hundredth of the night.")] = False,
) -> None:
    """Evaluate a bundle: one page with plots, and all its numbers as JSON."""
    from cempstream.models.evaluation.evaluate import FULL, QUICK, Evaluation
    from cempstream.models.evaluation.report import chosen
    from cempstream.models.evaluation.report_purity import add_purity

    def route(policy: Policy) -> Route:
        return Route(evaluation.chain, loaded.card.served, lambda survey: policy, reference_spectrum(loaded))

    given = Path(bundle)
    folder = given if (given / CARD_FILE).is_file() else newest_bundle(BUNDLES, bundle)
    loaded = load_bundle(folder)
    evaluation = Evaluation(
        bundle=loaded,
        chain=build_chain(loaded, Provider.CPU, threads=1),
        cache=cache or out / "cache",
        size=QUICK if quick else FULL,
        stellar_library=tuple(library or ()),
        real=real,
        abundances=abundances,
        work=work,
        fit_trees=fit_trees,
        most_contamination=PolicySettings().max_contamination,
        judge=lambda policy: StarJudge(Pipeline(decode_spectrum, [route(policy)])),
    )
    try:
        questions = chosen(evaluation.questions, only or ())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--only") from None
    page, numbers = evaluation.write(questions, out, lambda title: typer.echo(title, err=True))
    if purity_to is not None:
        add_purity(purity_to, evaluation.purity_card)
    typer.echo(page)
    typer.echo(numbers)
