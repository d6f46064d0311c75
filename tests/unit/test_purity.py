"""Purity within bins of S/N: which threshold follows, which alerts are withheld, and what an alert says."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from cempstream.models.card import PurityBinCard, PurityCard, PurityPointCard
from cempstream.models.pinned import open_bundle
from cempstream.processors.decide import Policy
from cempstream.processors.outcome import Classification
from cempstream.processors.purity import PurityTable
from cempstream.processors.spectrum import Flag
from cempstream.processors.stars.life import growth
from cempstream.processors.stars.observation import Said
from cempstream.schemas.alert import alert_from_json, alert_to_json, decode_alert, encode_alert
from cempstream.schemas.samples import sample_classification, sample_stamp
from cempstream.streams.scoring.assemble import NoPurity, load_routes
from cempstream.streams.settings import ModelSettings, PolicySettings, StarSettings
from cempstream.streams.subscriber.alert_view import alert_panel
from cempstream.streams.subscriber.where import compile_where

PRIOR = 3e-4


def point(threshold: float, recall: float, false_rate: float) -> PurityPointCard:
    right, wrong = PRIOR * recall, (1 - PRIOR) * false_rate
    return PurityPointCard(
        threshold=threshold,
        purity=right / (right + wrong),
        low=0.0,
        high=1.0,
        recall=recall,
        false_rate=false_rate,
        effective_negatives=1_000_000,
    )


CARD = PurityCard(
    prior=PRIOR,
    snr_per_aa=4.0,
    sample="made up",
    bins=(
        PurityBinCard(snr_from=0, points=(point(0.02, 0.4, 3e-3),)),
        PurityBinCard(snr_from=5, points=(point(0.02, 0.4, 3e-4), point(0.3, 0.2, 1e-5))),
        PurityBinCard(snr_from=20, points=(point(0.02, 0.5, 1e-5),)),
    ),
)
TABLE = CARD.table


def policy(least_purity: float, *, prior: float = PRIOR, threshold: float = 0.02) -> Policy:
    return Policy("1", prior, threshold, purity=TABLE, least_purity=least_purity)


def test_bins_are_those_of_the_card_in_the_results_own_unit() -> None:
    assert TABLE.snr_edges.tolist() == [20.0, 80.0]
    threshold, purity, is_trusted = policy(0.0).rules(np.array([0.0, 19.9, 20.0, 79.9, 80.0, 1e4]))
    assert threshold.tolist() == [0.02] * 6
    assert is_trusted.all()
    expected = [one.points[0].purity for one in CARD.bins]
    assert purity == pytest.approx(
        [expected[0], expected[0], expected[1], expected[1], expected[2], expected[2]]
    )


def test_a_least_purity_raises_the_threshold_or_withholds_the_bin() -> None:
    threshold, purity, is_trusted = policy(0.8).rules(np.array([10.0, 40.0, 100.0]))
    assert is_trusted.tolist() == [False, True, True]
    assert threshold == pytest.approx([0.02, 0.3, 0.02])
    assert purity[1:] == pytest.approx([CARD.bins[1].points[1].purity, CARD.bins[2].points[0].purity])


def test_another_prior_moves_thresholds_and_purity_together() -> None:
    prior = 3e-3
    rules = TABLE.rules(prior, 0.17, 0.0)  # the logit of 0.02 moved to this prior is 0.1697
    right, wrong = prior * 0.4, (1 - prior) * 3e-3
    assert rules.purity[0] == pytest.approx(right / (right + wrong))


def test_below_every_measured_threshold_the_purity_is_unknown() -> None:
    assert np.isnan(TABLE.rules(PRIOR, 0.001, 0.0).purity).all()
    assert TABLE.rules(PRIOR, 0.001, 0.8).is_trusted.tolist() == [False, True, True]


def test_without_a_table_nothing_is_known_and_nothing_withheld() -> None:
    threshold, purity, is_trusted = Policy("1", PRIOR, 0.5).rules(np.array([1.0, 100.0]))
    assert threshold.tolist() == [0.5, 0.5]
    assert np.isnan(purity).all()
    assert is_trusted.all()


def test_a_table_out_of_order_is_refused() -> None:
    one = np.ones((2, 1))
    with pytest.raises(ValueError, match="must increase"):
        PurityTable(PRIOR, np.array([5.0, 5.0]), np.ones((3, 1)), np.ones((3, 1)), np.ones((3, 1)))
    with pytest.raises(ValueError, match="'threshold' has the shape"):
        PurityTable(PRIOR, np.array([5.0, 6.0]), one, one, one)


def test_a_withheld_spectrum_says_nothing_in_the_life_of_its_star() -> None:
    result = sample_classification()
    said = Said.of(replace(result, decision=replace(result.decision, is_candidate=False, threshold=0.02)))
    ((p, threshold),) = growth([said])
    assert np.isnan(p)
    assert np.isnan(threshold)


def test_an_alert_carries_what_is_expected_of_its_bin() -> None:
    result, stamp = sample_classification(), sample_stamp()
    alert = decode_alert(encode_alert(result, stamp))
    assert alert.expected_purity == 0.93
    assert alert_from_json(alert_to_json(result, stamp)).expected_purity == 0.93
    assert compile_where("expected_purity > 0.9")(alert)
    unknown = decode_alert(encode_alert(replace(result, expected_purity=None), stamp))
    assert unknown.expected_purity is None
    assert not compile_where("expected_purity > 0")(unknown)
    assert not compile_where("expected_purity <= 1")(unknown)


@pytest.mark.parametrize("name", ["mid", "low"])
def test_the_shipped_cards_give_purity_by_snr(name: str) -> None:
    card = open_bundle(name, None, None).card
    assert card.purity is not None
    for one in card.purity.bins:
        assert one.points[0].threshold == pytest.approx(card.threshold(PRIOR))
        assert all(0 <= point.low <= point.purity <= point.high <= 1 for point in one.points)
        thresholds = [point.threshold for point in one.points]
        assert thresholds == sorted(thresholds)
    (route,) = load_routes(ModelSettings(bundles=(name,)), PolicySettings(), StarSettings())
    expected = [one.points[0].purity for one in card.purity.bins]
    assert route.policy("csst").rules.purity == pytest.approx(expected, rel=1e-2)


def test_a_least_purity_needs_a_card_that_gives_one() -> None:
    (route,) = load_routes(
        ModelSettings(bundles=("low/1.4.0",)), PolicySettings(least_purity=0.5), StarSettings()
    )
    with pytest.raises(NoPurity, match=r"card of low/1\.4\.0 gives no purity"):
        route.policy("csst")


def test_the_alert_at_a_terminal_says_its_purity() -> None:
    alert = decode_alert(encode_alert(sample_classification(), sample_stamp()))
    console = Console(width=80, record=True, file=StringIO())
    console.print(alert_panel(alert))
    assert "purity 93 %" in console.export_text()


def test_the_policy_withholds_and_flags_in_the_chain() -> None:
    (route,) = load_routes(ModelSettings(bundles=("low",)), PolicySettings(), StarSettings())
    asking = replace(route.policy("csst"), threshold=1e-9, least_purity=0.99)
    none, free = (
        route.chain.process_spectra([route.reference], policy)[0]
        for policy in (asking, replace(asking, least_purity=0.0))
    )
    assert isinstance(none, Classification)
    assert isinstance(free, Classification)
    assert not none.decision.is_candidate
    assert Flag.IMPURE_AT_SNR in none.flags
    assert free.decision.is_candidate
    assert Flag.IMPURE_AT_SNR not in free.flags
