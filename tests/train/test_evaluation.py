"""The evaluation's statistics on known answers, its baselines, and a report of smoke size."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("xgboost")

from cempstream.models.bundle import BUNDLES, BundleError, load_bundle, newest_bundle
from cempstream.models.emulator.emulator import Emulator
from cempstream.models.evaluation.baselines import Trees, index_cut
from cempstream.models.evaluation.evaluate import Evaluation
from cempstream.models.evaluation.evaluation_night import (
    NightStrata,
    kept_batches,
    profile_of,
    stratum_of,
    stratum_of_truth,
)
from cempstream.models.evaluation.report import (
    NoInput,
    Question,
    Section,
    Table,
    answer,
    chosen,
    write_report,
)
from cempstream.models.evaluation.report_detection import PRIOR
from cempstream.models.evaluation.report_purity import rate_interval
from cempstream.models.evaluation.report_survey import published
from cempstream.models.evaluation.scored import Scored
from cempstream.models.evaluation.survey_night import SurveyNight
from cempstream.models.evaluation.trees import fit_trees, save_trees
from cempstream.models.sessions import Provider
from cempstream.models.simulator import SimulatedBatch, draw_sources, load_mix, simulate
from cempstream.models.simulator.simulator import TRUTH_DTYPE
from cempstream.models.simulator.sources import KINDS
from cempstream.models.statistics import (
    Measured,
    alarms,
    effective_negatives,
    poisson_upper,
    share,
    statistic,
    tail_share,
)
from cempstream.processors.purity import PurityTable
from cempstream.streams.scoring.assemble import build_chain

pytestmark = [pytest.mark.train, pytest.mark.timeout(900)]

LINES = ("gpe", "egp", "k12")


def made_up_night(n: int, seed: int) -> Scored:
    """Return stars whose GPE and EGP grow with carbon, as they do."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(n, dtype=TRUTH_DTYPE)
    truth["teff"], truth["feh"] = rng.uniform(4500, 6000, n), rng.uniform(-3, 0, n)
    truth["cfe"] = rng.normal(0.3, 0.7, n)
    truth["is_cemp"] = (truth["feh"] < -1) & (truth["cfe"] >= 0.7)
    truth["weight"], truth["snr"] = 1.0, 20.0
    excess = np.maximum(truth["cfe"] - 0.3, 0.0)
    theta = 5040 / truth["teff"]
    lines = np.stack(
        [20 * theta + 30 * excess + rng.normal(0, 1, n), 0.1 * theta + 0.3 * excess, 3 + truth["feh"]], axis=1
    )
    template = np.stack([truth["teff"], np.full(n, 3.0), truth["feh"], truth["cfe"], np.ones(n)], axis=1)
    six = np.zeros((n, 6), dtype=np.float32)
    return Scored(
        truth=truth,
        survey=np.full(n, "lamost"),
        is_scored=np.ones(n, dtype=bool),
        p_cemp=np.zeros(n),
        p_cemp_corrected=np.zeros(n),
        subclass_p=np.full((n, 4), 0.25, dtype=np.float32),
        value=six,
        lo=six,
        hi=six,
        ood=np.zeros(n),
        is_odd=np.zeros(n, dtype=bool),
        snr=np.full(n, 20.0, dtype=np.float32),
        neighbours_light=np.zeros(n),
        lines=lines.astype(np.float32),
        line_names=np.array(LINES),
        template=template.astype(np.float32),
        cpu_s=1.0,
    )


def test_purity_holds_at_the_prior_whatever_the_share_in_the_sample() -> None:
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    truth = np.array([True, False, True, False, False, False])
    curve = alarms(score, truth, np.array([1.0, 10.0, 1.0, 100.0, 100.0, 100.0]), prior=0.01)
    rate = 10.0 / 310.0
    assert curve.recall_at_purity(0.99) == pytest.approx(0.5)
    assert curve.purity_at(1.0) == pytest.approx(0.01 / (0.01 + 0.99 * rate))
    assert curve.threshold_at(0.4) == 0.9


def test_the_interval_of_a_rate_is_wider_where_a_heavy_source_came_near() -> None:
    weight, p = np.ones(1000), np.zeros(1000)
    p[:4] = 0.5
    low, high = rate_interval(weight, p, 0.4)
    assert low < 0.004 < high
    assert high == pytest.approx(0.01024, rel=1e-3)  # Garwood's limit for 4 counts
    weight[10], p[10] = 100.0, 0.2
    assert rate_interval(weight, p, 0.4)[1] > 5 * high
    p[:] = 0.0
    low, high = rate_interval(np.ones(1000), p, 0.4)
    assert (low, high) == (0.0, pytest.approx(3.689e-3, rel=1e-3))


def test_alerts_of_a_survey_leave_out_mixed_light_and_what_is_not_pure_enough() -> None:
    truth = np.zeros(6, dtype=TRUTH_DTYPE)
    truth["is_cemp"] = [True, True, True, False, False, False]
    truth["weight"], truth["teff"] = [1, 1, 1, 1000, 1000, 1000], 5000
    p = np.array([0.9, 0.5, 0.9, 0.5, 0.1, 0.1]).reshape(6, 1, 1)
    snr = np.array([40.0, 40, 40, 40, 40, 40]).reshape(6, 1, 1)
    said = (p >= 0.4) & (np.arange(6) != 2).reshape(6, 1, 1)  # the third holds a neighbour's light
    night = SurveyNight(truth, np.array([1]), snr[:, :, 0], p, snr, said, np.zeros((6, 1, 1)))
    table = PurityTable(
        PRIOR, np.zeros(0), np.array([[0.4, 0.8]]), np.array([[0.6, 0.3]]), np.array([[1e-3, 1e-6]])
    )
    loose, strict = published(night, 0.4, table, (0.0, 0.9), 0).rows
    assert isinstance(loose[2], Measured)
    assert isinstance(strict[3], Measured)
    assert (loose[2].n, loose[3].value) == (1, pytest.approx(2 / 3))
    assert (strict[2].n, strict[3].value) == (0, pytest.approx(1 / 3))


def test_effective_negatives_are_all_when_unweighted_and_fewer_when_few_stand_for_many() -> None:
    weight = np.ones(1000)
    alarm = np.arange(1000) < 5
    assert effective_negatives(weight, alarm) == pytest.approx(1000)
    heavy = np.where(np.arange(1000) < 500, 10.0, 1.0)
    assert effective_negatives(heavy, alarm) == pytest.approx(heavy.sum() / 10)


def test_stratified_weights_give_the_natural_shares_back() -> None:
    rng = np.random.default_rng(1)
    sources = draw_sources(300_000, load_mix("galaxy"), rng)
    kept_share = NightStrata().kept(sources)
    kept = rng.random(len(sources)) < kept_share
    for code in np.unique(stratum_of(sources)):
        inside = stratum_of(sources) == code
        weight = (1 / kept_share)[inside & kept].sum()
        # Poisson noise of what was kept.
        n_kept = max(int((inside & kept).sum()), 1)
        assert abs(weight / inside.sum() - 1) < 5 / np.sqrt(n_kept)


def test_strata_of_truth_are_those_of_the_sources() -> None:
    sources = draw_sources(20_000, load_mix("galaxy"), np.random.default_rng(2))
    truth = np.zeros(len(sources), dtype=TRUTH_DTYPE)
    truth["kind"] = np.array(KINDS)[sources.kind]
    for column, name in enumerate(("teff", "logg", "feh", "cfe")):
        truth[name] = np.where(sources.is_star, sources.labels[:, column], np.nan)
    agree = stratum_of(sources) == stratum_of_truth(truth)
    # float32 labels may fall on the other side of a border.
    assert agree.mean() > 0.9999


def test_what_is_kept_belongs_to_its_emulator_and_its_bundle(tmp_path: Path) -> None:
    bundle = load_bundle(newest_bundle(BUNDLES, "mid"))
    chain = build_chain(bundle, Provider.CPU, threads=1)
    shipped, other = Evaluation(bundle, chain, tmp_path), Emulator.load()
    other.card["files"]["emulator.onnx"] = "0" * 64
    elsewhere = Evaluation(bundle, chain, tmp_path, emulator=other)
    assert Evaluation(bundle, chain, tmp_path).of_bundle == shipped.of_bundle
    assert elsewhere.of_emulator != shipped.of_emulator
    graphs = bundle.card.graphs
    changed = {**graphs, "classify": graphs["classify"].model_copy(update={"sha256": "0" * 64})}
    retrained = replace(bundle, card=bundle.card.model_copy(update={"graphs": changed}))
    again = Evaluation(retrained, chain, tmp_path)
    assert again.of_emulator == shipped.of_emulator
    assert again.of_bundle != shipped.of_bundle


@pytest.mark.parametrize("survey", ["lamost", "csst:GV"])
def test_kept_spectra_are_those_that_were_simulated(tmp_path: Path, survey: str) -> None:
    def simulated() -> Iterator[SimulatedBatch]:
        return simulate(profile_of(survey), 6, 1, load_mix("halo"))

    first = [spectrum for batch in kept_batches(tmp_path, simulated) for spectrum in batch.spectra()]

    def never() -> Iterator[SimulatedBatch]:
        raise AssertionError("simulated again")

    again = [spectrum for batch in kept_batches(tmp_path, never) for spectrum in batch.spectra()]
    assert len(first) == len(again) == 6
    for one, other in zip(first, again, strict=True):
        assert one.spectrum_id == other.spectrum_id
        assert one.grating == other.grating
        np.testing.assert_array_equal(one.flux, other.flux)
        np.testing.assert_array_equal(one.ivar, other.ivar)
        np.testing.assert_array_equal(one.resolving_power, other.resolving_power)


def test_tail_share_finds_a_known_tail() -> None:
    logit = np.random.default_rng(3).logistic(-10.0, 1.0, 20_000)
    found = tail_share(logit, 0.0)
    assert 0.1 < found * (1 + np.exp(10.0)) < 10


def test_intervals_hold_what_they_should() -> None:
    rng = np.random.default_rng(4)
    assert share(np.zeros(100, dtype=bool)).high == pytest.approx(1 - 0.025 ** (1 / 100), rel=1e-6)
    assert poisson_upper(0) == pytest.approx(-np.log(0.05))
    alone = statistic(lambda x: float(x.mean()), rng.standard_normal(400))
    values = np.repeat(rng.standard_normal(40), 10)
    by_star = statistic(lambda x: float(x.mean()), values, star=np.repeat(np.arange(40), 10))
    assert by_star.high - by_star.low > 2 * (alone.high - alone.low)


def test_trees_and_cut_find_carbon_and_survive_their_files(tmp_path: Path) -> None:
    trees = fit_trees(made_up_night(3000, 5), "toy", seed=1, n_trees=40)
    save_trees(trees, tmp_path)
    night = made_up_night(1000, 6)
    loaded = Trees.load("toy", tmp_path)
    p = loaded(night.lines, LINES, night.snr, 0.1)
    cut = index_cut(night.lines, LINES, night.template, loaded.card.cut)
    for score in (p, cut):
        curve = alarms(score, night.truth["is_cemp"], night.truth["weight"], prior=0.1)
        assert curve.purity_at(0.6) > 0.9
    (tmp_path / loaded.card.file).write_bytes(loaded.model + b"\0")
    with pytest.raises(BundleError, match="not the file"):
        Trees.load("toy", tmp_path)


def test_a_missing_index_is_no_alarm_and_no_error() -> None:
    night = made_up_night(500, 7)
    trees = fit_trees(made_up_night(2000, 5), "toy", seed=1, n_trees=20)
    blind = replace(night, lines=np.full_like(night.lines, np.nan))
    assert np.isfinite(trees(blind.lines, LINES, blind.snr, 3e-4)).all()
    assert (index_cut(blind.lines, LINES, blind.template, trees.card.cut) == -100).all()


def test_a_section_without_its_input_says_so_by_name(tmp_path: Path) -> None:
    def fails() -> Section:
        raise NoInput("real spectra, with --real")

    def works() -> Section:
        return Section("b", "B", tables=[Table("t", ("x",), [[Measured(0.5, 0.4, float("nan"), 9)]])])

    sections = answer([Question("a", "A", fails), Question("b", "B", works)], lambda title: None)
    page, numbers = write_report(tmp_path, "T", "lead", {}, sections)
    assert "Not measured: real spectra, with --real." in page.read_text(encoding="utf-8")
    record = json.loads(numbers.read_text(encoding="utf-8"))
    assert record["sections"][1]["tables"][0]["rows"][0]["x"] == {
        "value": 0.5, "low": 0.4, "high": None, "n": 9, "unit": "",
    }  # fmt: skip


def test_commands_in_the_text_are_set_as_code_and_all_else_is_escaped(tmp_path: Path) -> None:
    page, _ = write_report(tmp_path, "T", "by `a <b>`, [Fe/H] < -1", {}, [])
    assert "by <code>a &lt;b&gt;</code>, [Fe/H] &lt; -1" in page.read_text(encoding="utf-8")


def test_sections_are_chosen_by_their_keys() -> None:
    questions = [Question(key, key.upper(), lambda: Section("x", "X")) for key in ("a", "b", "c")]
    assert chosen(questions, ()) == questions
    assert chosen(questions, ["c", "a"]) == [questions[0], questions[2]]
    with pytest.raises(ValueError, match="there is no section 'd'; there are a, b, c"):
        chosen(questions, ["a", "d"])


def test_scored_columns_come_back_from_disk(tmp_path: Path) -> None:
    night = made_up_night(50, 8)
    night.save(tmp_path / "night.npz")
    again = Scored.load(tmp_path / "night.npz")
    np.testing.assert_array_equal(again.truth, night.truth)
    np.testing.assert_array_equal(again.lines, night.lines)
    assert again.cpu_s == night.cpu_s


def test_evaluate_writes_a_report_and_keeps_what_it_scored(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cempstream", "evaluate", "--quick", "--out", str(tmp_path)]
    subprocess.run([*command, "--fit-trees", str(tmp_path / "trees")], check=True, timeout=800)
    record = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    by_key = {section["key"]: section for section in record["sections"]}
    measured = {key for key, section in by_key.items() if not section["missing"]}
    assert {
        "bars",
        "detection",
        "calibration",
        "rivals",
        "coverage",
        "attribution",
        "denoiser",
        "information",
        "purity",
        "survey",
    } <= measured
    assert "--real" in by_key["real"]["missing"]
    operating = by_key["detection"]["tables"][0]["rows"][0]
    assert 0 <= operating["recall"]["value"] <= 1
    assert operating["recall"]["n"] > 0
    assert len((tmp_path / "index.html").read_text(encoding="utf-8")) < 3_000_000
    assert any((tmp_path / "cache").glob("*/mid-*/night-*.npz"))
