"""Every star ends as on an undisturbed night, and no life has a gap, whatever becomes of the follower."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from cempstream.processors.stars.observation import Observation
from cempstream.processors.stars.star import Star
from cempstream.streams.kafka.topics import TopicAdmin
from cempstream.streams.operations.verify import SAME_PROVIDER
from cempstream.streams.rehearsal.star_ledger import gaps
from cempstream.streams.scoring.pipeline import Pipeline
from cempstream.streams.settings import KafkaSettings
from cempstream.streams.stars.view import find_stars
from tests.broker.kafka import KafkaBroker
from tests.chaos.harness import Supervisor, wait_committed, wait_counted
from tests.support.followed import (
    RUN,
    even_pipeline,
    follower,
    lives,
    newest_states,
    observations_of,
    send_observations,
    undisturbed,
)
from tests.support.night import Topics, WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(900)]

N_STARS, N_VISITS = 40, 4
ALONE = {"CEMP_BATCH__SIZE": "4"}


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return even_pipeline()


@pytest.fixture(scope="module")
def seen(pipeline: Pipeline) -> list[Observation]:
    return observations_of(pipeline, N_STARS, N_VISITS)


@pytest.fixture(scope="module")
def expected(pipeline: Pipeline, seen: list[Observation]) -> dict[str, Star]:
    stars = undisturbed(pipeline, seen)
    n_candidates = sum(star.is_candidate for star in stars.values())
    assert 0 < n_candidates < N_STARS, "all end alike: such a night shows nothing"
    return stars


def wait_folded(who: WorkerProcess | Supervisor, n_folded: int) -> None:
    wait_counted(who, "cemp_star_folds_total", n_folded)


def close(bootstrap: str, topics: Topics, expected: dict[str, Star], *, lived: bool = True) -> None:
    """Wait until all is committed, and compare every star and its life with the undisturbed night's."""
    wait_committed(bootstrap, topics, 240.0, topics.observations)
    states = newest_states(bootstrap, topics)
    assert states.keys() == expected.keys()
    for name, wanted in expected.items():
        star = states[name].star
        assert [(o.visit, o.rank) for o in star.observations] == [
            (o.visit, o.rank) for o in wanted.observations
        ]
        assert star.is_candidate == wanted.is_candidate, name
        ours, theirs = star.spokesmen(), wanted.spokesmen()
        assert [s and s.p_cemp for s in ours] == pytest.approx(
            [s and s.p_cemp for s in theirs], abs=SAME_PROVIDER
        )
        assert (star.sent is not None and star.sent.stands) == wanted.is_candidate, name
    if lived:
        told = lives(bootstrap, topics)
        assert {
            name: found for name in expected if (found := [*gaps(told.get(name, []), states[name])])
        } == {}


def test_an_undisturbed_night_with_every_observation_twice(
    kafka: KafkaBroker, seen: list[Observation], expected: dict[str, Star]
) -> None:
    topics = Topics.create(kafka.bootstrap)
    with follower(kafka.bootstrap, topics) as process:
        send_observations(kafka.bootstrap, topics, [*seen, *reversed(seen)])
        close(kafka.bootstrap, topics, expected)
        assert process.metric('cemp_star_folds_total{outcome="changed"}') >= len(seen)
        assert process.metric('cemp_star_alerts_total{type="initial"}') > 0
        assert process.metric("cemp_stars_held") == N_STARS
    name = next(iter(expected))
    (found,) = find_stars(KafkaSettings(bootstrap=kafka.bootstrap), topics.stars, name, "lamost")
    assert [o.visit for o in found.star.observations] == [o.visit for o in expected[name].observations]


def test_kill_in_mid_fold_again_and_again(
    kafka: KafkaBroker, seen: list[Observation], expected: dict[str, Star]
) -> None:
    topics = Topics.create(kafka.bootstrap)
    n_kills, share = 3, len(seen) // 4
    with Supervisor(kafka.bootstrap, topics, RUN, **ALONE) as supervisor:
        for i in range(n_kills):
            send_observations(kafka.bootstrap, topics, seen[i * share : (i + 1) * share])
            wait_folded(supervisor, 8)
            n_ends = len(supervisor.statuses)
            supervisor.worker.process.send_signal(signal.SIGKILL)
            supervisor.wait_ended(n_ends + 1)
        send_observations(kafka.bootstrap, topics, seen[n_kills * share :])
        close(kafka.bootstrap, topics, expected)
        assert supervisor.statuses == [-signal.SIGKILL] * n_kills
        assert supervisor.worker.metric("cemp_stars_restored_total") > 0


@pytest.mark.parametrize("step", ["state", "alert"])
def test_death_between_the_state_the_alert_and_the_acknowledgement(
    kafka: KafkaBroker, seen: list[Observation], expected: dict[str, Star], tmp_path: Path, step: str
) -> None:
    """What was published and not acknowledged comes again; what was not published is sent after all."""
    topics = Topics.create(kafka.bootstrap)
    arguments = (step, str(tmp_path / "deaths"), *RUN)
    with Supervisor(
        kafka.bootstrap, topics, module="tests.chaos.dying_follower", arguments=arguments, **ALONE
    ) as supervisor:
        send_observations(kafka.bootstrap, topics, seen)
        close(kafka.bootstrap, topics, expected)
        assert supervisor.statuses == [-signal.SIGKILL] * 3


def test_rebalance_with_two(kafka: KafkaBroker, seen: list[Observation], expected: dict[str, Star]) -> None:
    topics = Topics.create(kafka.bootstrap)
    half = len(seen) // 2
    with follower(kafka.bootstrap, topics, **ALONE) as first:
        first.wait_ready(180)
        send_observations(kafka.bootstrap, topics, seen[:half])
        wait_folded(first, 10)
        with follower(kafka.bootstrap, topics, **ALONE) as second:
            second.wait_ready(180)
            send_observations(kafka.bootstrap, topics, seen[half:])
            wait_folded(second, 5)
        close(kafka.bootstrap, topics, expected)
        assert first.metric("cemp_rebalances_total") >= 2


def test_broker_killed_and_started_on_its_log(
    kafka: KafkaBroker, seen: list[Observation], expected: dict[str, Star]
) -> None:
    topics = Topics.create(kafka.bootstrap)
    half = len(seen) // 2
    with Supervisor(kafka.bootstrap, topics, RUN, **ALONE) as supervisor:
        send_observations(kafka.bootstrap, topics, seen[:half])
        wait_folded(supervisor, 8)
        kafka.kill()
        kafka.start()
        send_observations(kafka.bootstrap, topics, seen[half:])
        close(kafka.bootstrap, topics, expected)


def test_the_changelog_deleted_and_made_again(
    kafka: KafkaBroker, seen: list[Observation], expected: dict[str, Star]
) -> None:
    """Lives begin anew where their stars were forgotten, but every star ends as it should."""
    topics = Topics.create(kafka.bootstrap)
    half = len(seen) // 2
    admin = TopicAdmin(KafkaSettings(bootstrap=kafka.bootstrap))
    with follower(kafka.bootstrap, topics) as first:
        send_observations(kafka.bootstrap, topics, seen[:half])
        wait_folded(first, half)
        wait_committed(kafka.bootstrap, topics, 240.0, topics.observations)
        first.process.send_signal(signal.SIGKILL)
    admin.delete(topics.stars)
    topics.create_changelog(kafka.bootstrap)
    send_observations(kafka.bootstrap, topics, seen[half:])
    with follower(kafka.bootstrap, topics) as second:
        wait_folded(second, len(seen))
        close(kafka.bootstrap, topics, expected, lived=False)
        assert second.metric("cemp_star_changelog_lost_total") > 0
