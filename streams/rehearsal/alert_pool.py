"""Alerts of a simulated survey with their truth, without a broker: what plans of a night are compared on.

``python -m cempstream.streams.rehearsal.alert_pool --out FOLDER`` simulates spectra, scores them as the
worker does and writes the alerts (``alerts.jsonl``, as ``cempstream listen --json --no-spectrum``) and the
truth of every spectrum (``truth.csv``, as ``cempstream simulate``).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from cempstream.models.simulator import load_mix, load_profile, simulate
from cempstream.models.simulator.night_files import TruthFile
from cempstream.processors.outcome import Classification
from cempstream.schemas.alert import alert_from_json, alert_to_json
from cempstream.schemas.codec import encode_spectrum
from cempstream.schemas.stamp import Stamp
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.settings import read_settings


def write_pool(folder: Path, *, survey: str, mix: str, n_spec: int, seed: int) -> tuple[int, int]:
    """Simulate, score and write; return how many spectra there were and how many alerts.

    Parameters
    ----------
    folder
        Is made; an older pool in it is replaced.
    """
    pipeline = load_pipeline(read_settings())
    folder.mkdir(parents=True, exist_ok=True)
    n_scored = n_alerts = 0
    with (folder / "alerts.jsonl").open("wb") as alerts, TruthFile(folder / "truth.csv") as truth:
        for batch in simulate(load_profile(survey), n_spec, seed, load_mix(mix)):
            truth.write(batch.truth)
            packets = [encode_spectrum(spectrum) for spectrum in batch.spectra()]
            for outcome in pipeline.classify_packets(packets):
                n_scored += 1
                if isinstance(outcome, Classification) and outcome.decision.is_candidate:
                    alerts.write(_alert_line(outcome) + b"\n")
                    n_alerts += 1
    return n_scored, n_alerts


def _alert_line(result: Classification) -> bytes:
    """Return the alert without its spectrum, published a second after the reduction."""
    moment = result.spectrum.reduced_at + timedelta(seconds=1)
    stamp = Stamp(tense="test", ingested_at=moment, inferred_at=moment, published_at=moment)
    return alert_from_json(alert_to_json(result, stamp)).to_json(with_spectrum=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a pool of alerts, and say how large it is."""
    parser = argparse.ArgumentParser(prog="alert_pool", description=__doc__)
    parser.add_argument("--survey", default="lamost", help="profile, as for `cempstream simulate`")
    parser.add_argument("--mix", default="halo", help="mix of stars, as for `cempstream simulate`")
    parser.add_argument("--n", type=int, default=40_000, help="spectra")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="folder for alerts.jsonl and truth.csv")
    given = parser.parse_args(arguments)
    n_scored, n_alerts = write_pool(
        given.out, survey=given.survey, mix=given.mix, n_spec=given.n, seed=given.seed
    )
    print(f"{n_scored} spectra of {given.survey} ({given.mix}), {n_alerts} alerts in {given.out}")


if __name__ == "__main__":
    main()
