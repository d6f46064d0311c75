"""What is known of a star, for a person: its spectra in their order, and what each has added."""

from __future__ import annotations

import math

from rich.table import Table

from cempstream.plain import shown
from cempstream.processors.outcome import Estimate
from cempstream.processors.stars.observation import Said
from cempstream.processors.stars.star import Star
from cempstream.schemas.alert import Alert, decode_alert
from cempstream.schemas.star import StarPacket, decode_star
from cempstream.streams.kafka.topic_reader import read_topic
from cempstream.streams.settings import KafkaSettings, TopicSettings

_MISSING = "–"

#: Parameters with their headings and the form of their numbers.
_PARAMETERS = (
    ("teff", "Teff", ".0f"),
    ("logg", "log g", ".1f"),
    ("feh", "[Fe/H]", "+.2f"),
    ("cfe", "[C/Fe]", "+.2f"),
)


def find_stars(kafka: KafkaSettings, topic: str, object_id: str, survey: str | None) -> list[StarPacket]:
    """Return the newest state of every star of a name: of several surveys, or of other tenses.

    Raises
    ------
    NoBroker, NoSuchTopic, NoAnswer
        The topic cannot be read to its end.
    """
    ending = f"/{object_id}".encode()
    newest: dict[bytes, bytes | None] = {}
    for message in read_topic(kafka, topic):
        key = message.key() or b""
        if key.endswith(ending):
            newest[key] = message.value()
    found = [decode_star(packet) for packet in newest.values() if packet is not None]
    return [
        packet for packet in found if packet.star.object_id == object_id and survey in (None, packet.survey)
    ]


def find_alerts(kafka: KafkaSettings, topics: TopicSettings, packet: StarPacket) -> list[Alert]:
    """Return the alerts of a star that are still kept, in the order in which they were sent.

    Raises
    ------
    NoBroker, NoSuchTopic, NoAnswer
        Their topic cannot be read to its end.
    """
    star = packet.star
    topic = topics.alerts_archival if star.tense == "archival" else topics.alerts
    of_name = star.object_id.encode()
    found: dict[str, Alert] = {}
    for message in read_topic(kafka, topic):
        value = message.value()
        if message.key() != of_name or value is None:
            continue
        alert = decode_alert(value)
        if (alert.object_id, alert.survey, alert.alert_tense) == (star.object_id, packet.survey, star.tense):
            found.setdefault(alert.alert_id, alert)
    return sorted(found.values(), key=lambda alert: alert.revision)


def headline(packet: StarPacket) -> str:
    """Say in a line which star it is and what was last said of it."""
    star = packet.star
    told = "no alert"
    if star.sent is not None:
        told = f"last alert: {star.sent.alert_type} {star.sent.revision}"
    verdict = "candidate" if star.is_candidate else "no candidate"
    tense = "" if star.tense == "current" else f" ({star.tense})"
    changed = f"{packet.updated_at:%Y-%m-%d %H:%M:%S}Z"
    return f"{packet.survey} {star.object_id}{tense}: {verdict}, {told}, changed {changed}"


def visits_table(star: Star) -> Table:
    """Return the table of a star's spectra, with what was known after each."""
    table = Table("spectrum", "observed (UTC)", "grating", box=None)
    for heading in (
        "S/N",
        "p alone",
        "p of the star",
        "S/N of the sum",
        *(name for _, name, _ in _PARAMETERS),
    ):
        table.add_column(heading, justify="right")
    for observation, said in zip(star.observations, star.spokesmen(), strict=True):
        spectrum = observation.spectrum
        observed = spectrum.observed_at
        table.add_row(
            shown(spectrum.spectrum_id),
            _MISSING if observed is None else f"{observed:%Y-%m-%d %H:%M}",
            shown(spectrum.grating or ""),
            f"{observation.said.snr:.1f}",
            f"{observation.said.p_cemp:.4f}",
            *_after(said),
        )
    return table


def _after(said: Said | None) -> list[str]:
    if said is None:
        return [_MISSING] * (2 + len(_PARAMETERS))
    numbers = [_interval(said.parameters[name], form) for name, _, form in _PARAMETERS]
    return [f"{said.p_cemp:.4f}", f"{said.snr:.1f}", *numbers]


def _interval(estimate: Estimate, form: str) -> str:
    if not math.isfinite(estimate.value):
        return _MISSING
    half = (estimate.hi - estimate.lo) / 2
    return f"{estimate.value:{form}} ± {half:{form.lstrip('+')}}"
