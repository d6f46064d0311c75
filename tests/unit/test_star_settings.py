"""From which probability on a spectrum is added to its star, and where that is said."""

from __future__ import annotations

import pytest

from cempstream.models.card import Card
from cempstream.models.pinned import open_bundle
from cempstream.streams.kafka.access import describe_right, star_rights, worker_rights
from cempstream.streams.kafka.topics import plan_topics
from cempstream.streams.operations.checkup import Status, check_provider
from cempstream.streams.scoring.assemble import NoLooseThreshold, load_routes
from cempstream.streams.settings import ModelSettings, PolicySettings, StarSettings, TopicSettings

LOW = ModelSettings(bundles=("low",))
#: Its card does not say from where on.
UNTOLD = ModelSettings(bundles=("low/1.3.0",))


def observed_from(
    stars: StarSettings, threshold: float | None = None, models: ModelSettings = LOW
) -> float | None:
    (route,) = load_routes(models, PolicySettings(threshold=threshold), stars)
    return route.policy("csst").observed_from


def test_nothing_is_kept_unless_stars_are_followed() -> None:
    assert observed_from(StarSettings()) is None
    assert observed_from(StarSettings(observed_from=0.001)) is None


def test_the_setting_says_from_where_on_and_a_candidate_is_always_an_observation() -> None:
    follow = StarSettings(enabled=True, observed_from=0.001)
    assert observed_from(follow) == 0.001
    assert observed_from(follow, threshold=0.0005) == 0.0005


def test_without_a_word_from_settings_or_card_stars_cannot_be_followed() -> None:
    with pytest.raises(NoLooseThreshold, match=r"card of low/.*set CEMP_STARS__OBSERVED_FROM"):
        observed_from(StarSettings(enabled=True), models=UNTOLD)


@pytest.mark.parametrize("name", ["mid", "low"])
def test_the_shipped_cards_say_from_where_on(name: str) -> None:
    card = open_bundle(name, None, None).card
    for row in card.thresholds:
        assert row.observed_from is not None
        assert row.observed_dropped is not None
        assert 0.0 < row.observed_from < row.threshold
        assert 0.5 < row.observed_dropped < 1.0
    follow = observed_from(StarSettings(enabled=True), models=ModelSettings(bundles=(name,)))
    assert follow == pytest.approx(card.observed_from(3e-4))


def test_a_card_may_say_it_by_prior() -> None:
    card = open_bundle("low/1.3.0", None, None).card
    assert card.observed_from(3e-4) is None
    rows = [row.model_copy(update={"observed_from": row.prior * 10}) for row in card.thresholds]
    told: Card = card.model_copy(update={"thresholds": tuple(rows)})
    assert told.observed_from(3e-4) == pytest.approx(3e-3)
    assert told.observed_from(1e-6) == pytest.approx(1e-3)
    part = told.model_copy(update={"thresholds": (rows[0], *card.thresholds[1:])})
    assert part.observed_from(0.01) == pytest.approx(1e-3)


def test_silence_is_by_survey() -> None:
    stars = StarSettings(silence_days=5.0, survey_silence_days={"csst": 9.0})
    assert (stars.silence_of("csst"), stars.silence_of("lamost")) == (9.0, 5.0)


def test_the_topic_of_stars_is_compacted_and_has_the_partitions_of_observations() -> None:
    topics = TopicSettings()
    plans = {p.name: p for p in plan_topics(topics, n_partitions=5, replication=3, retention_days=1.0)}
    stars, observations = plans[topics.stars], plans[topics.observations]
    assert stars.n_partitions == observations.n_partitions == 5
    assert stars.config["cleanup.policy"] == "compact"
    assert "retention.ms" not in stars.config
    assert "cleanup.policy" not in observations.config


def test_the_check_up_says_what_is_missing() -> None:
    (found,) = check_provider(UNTOLD, PolicySettings(), StarSettings(enabled=True))
    assert (found.status, found.subject) == (Status.FAIL, "stars")
    (found,) = check_provider(LOW, PolicySettings(), StarSettings(enabled=True, observed_from=0.001))
    assert found.status is Status.OK


def test_what_follows_stars_may_do_what_it_must_and_no_more() -> None:
    said = {describe_right(right) for right in star_rights("User:stars", TopicSettings(), "group")}
    reads = {"cemp.observations.v1", "cemp.stars.v1"}
    alerts = {"cemp.alerts.v1", "cemp.alerts.json.v1", "cemp.alerts.archival.v1"}
    writes = {"cemp.stars.v1", "cemp.dlq.v1", "cemp.heartbeat.v1", *alerts}
    assert said == {
        *(f"User:stars may read topic {name}" for name in reads),
        *(f"User:stars may describe_configs topic {name}" for name in reads),
        *(f"User:stars may write topic {name}" for name in writes),
        "User:stars may read group group",
    }


def test_a_worker_may_write_observations_and_not_read_them() -> None:
    said = {describe_right(right) for right in worker_rights("User:w", TopicSettings(), "group")}
    assert "User:w may write topic cemp.observations.v1" in said
    assert not any("cemp.stars.v1" in right or "read topic cemp.obs" in right for right in said)
