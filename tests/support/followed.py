"""Stars that are followed, for tests: their observations as packets, ``stars run`` as a process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from confluent_kafka import Message, Producer

from cempstream.processors.outcome import Classification
from cempstream.processors.stars.observation import Observation, observe
from cempstream.processors.stars.star import Star, fold_all
from cempstream.schemas.alert import Alert, decode_alert
from cempstream.schemas.codec import encode_spectrum
from cempstream.schemas.observation import encode_observation
from cempstream.schemas.stamp import Stamp
from cempstream.schemas.star import StarPacket, decode_star, star_key
from cempstream.streams.scoring.assemble import load_pipeline
from cempstream.streams.scoring.pipeline import Pipeline
from cempstream.streams.scoring.star_judge import StarJudge
from cempstream.streams.scoring.stars import observing
from cempstream.streams.settings import read_settings
from tests.support.night import Topics, WorkerProcess, read_all
from tests.support.spectra import template_spectra, visits_of

#: At even odds some of a few templates are candidates, and noise moves others over the threshold and back.
EVEN = {"CEMP_POLICY__PRIOR": "0.5", "CEMP_MODELS__BUNDLES": '["mid"]'}

#: The verb that follows stars.
RUN = ("stars", "run")


def even_pipeline() -> Pipeline:
    """Return the pipeline of `EVEN`, which keeps every spectrum as an observation."""
    return observing(load_pipeline(read_settings(policy={"prior": 0.5}, models={"bundles": ("mid",)})))


def observations_of(pipeline: Pipeline, n_stars: int, n_visits: int, seed: int = 1) -> list[Observation]:
    """Return the visits of some stars, visit by visit, noisy enough that p moves."""
    stars = template_spectra(n_stars, seed=seed, snr=1e4)
    seen = [visits_of(star, n_visits, snr=6.0, seed=i) for i, star in enumerate(stars)]
    in_turn = [visits[i] for i in range(n_visits) for visits in seen]
    outcomes = pipeline.classify_packets([encode_spectrum(spectrum) for spectrum in in_turn])
    kept = [observe(outcome) for outcome in outcomes if isinstance(outcome, Classification)]
    return [observation for observation in kept if observation is not None]


def undisturbed(pipeline: Pipeline, observations: Sequence[Observation]) -> dict[str, Star]:
    """Return the stars of these observations, by name."""
    by_name: dict[str, list[Observation]] = {}
    for observation in observations:
        by_name.setdefault(str(observation.spectrum.object_id), []).append(observation)
    judge = StarJudge(pipeline)
    return {
        name: fold_all(Star(object_id=name, tense="current"), seen, judge).star
        for name, seen in by_name.items()
    }


def send_observations(bootstrap: str, topics: Topics, observations: Iterable[Observation]) -> int:
    """Publish observations as a worker does, by star, and return how many."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "partitioner": "murmur2_random"}
    )
    now = datetime.now(UTC)
    n_sent = 0
    for observation in observations:
        spectrum = observation.spectrum
        key = star_key(spectrum.key, spectrum.survey, "current")
        packet = encode_observation(observation, Stamp("current", now, now, now))
        producer.produce(topics.observations, packet, key=key)
        producer.poll(0)
        n_sent += 1
    assert producer.flush(60) == 0
    return n_sent


def follower(bootstrap: str, topics: Topics, **settings: str) -> WorkerProcess:
    """Return ``stars run`` as a process."""
    return WorkerProcess(bootstrap, topics, verb=RUN, **{**EVEN, **settings})


def newest_states(bootstrap: str, topics: Topics) -> dict[str, StarPacket]:
    """Return what the changelog holds of every star."""
    newest: dict[bytes, Message] = {}
    for message in read_all(bootstrap, topics.stars):
        newest[message.key() or b""] = message
    states = [decode_star(packet) for m in newest.values() if (packet := m.value()) is not None]
    return {state.star.object_id: state for state in states}


def lives(bootstrap: str, topics: Topics) -> dict[str, list[Alert]]:
    """Return the alerts of every star in their order, each once."""
    found: dict[str, dict[str, Alert]] = {}
    for message in read_all(bootstrap, topics.alerts):
        alert = decode_alert(message.value() or b"")
        found.setdefault(alert.name, {}).setdefault(alert.alert_id, alert)
    return {name: [*alerts.values()] for name, alerts in found.items()}
