"""The ledger of a night of followed stars: no observation is lost, and no alert's life has a gap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from cempstream.processors.stars.observation import VisitKey
from cempstream.schemas.alert import Alert
from cempstream.schemas.observation import decode_observation
from cempstream.schemas.star import StarPacket, decode_star
from cempstream.streams.rehearsal.arrivals import Arrival
from cempstream.streams.rehearsal.ledger import AlertSeen, Ledger, Quality
from cempstream.streams.settings import TopicSettings

#: Tense, survey and the survey's name of a star.
StarName: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Life:
    """A star that was alerted of.

    Attributes
    ----------
    state, packet
        What the changelog holds of it.
    alerts
        At least one, in the order in which they were sent.
    """

    state: StarPacket = field(repr=False)
    packet: bytes = field(repr=False)
    alerts: tuple[AlertSeen, ...]


class StarLedger(Ledger):
    """A ledger of spectra, of what was observed of stars, of the stars, and of their alerts."""

    def __init__(self, topics: TopicSettings) -> None:
        super().__init__(topics)
        self._observed: dict[StarName, set[VisitKey]] = {}
        self._observed_ids: set[str] = set()
        self._states: dict[StarName, tuple[StarPacket, bytes]] = {}
        self.n_observations = 0

    def book(self, arrivals: Sequence[Arrival]) -> list[AlertSeen]:
        """Enter the stream's output and return the new alerts."""
        for arrival in arrivals:
            if arrival.topic == self._topics.observations:
                packet = decode_observation(arrival.value)
                visit = packet.observation.visit
                self._observed.setdefault((packet.tense, visit[0], packet.object_id), set()).add(visit)
                self._observed_ids.add(visit[1])
                self.n_observations += 1
            elif arrival.topic == self._topics.stars and arrival.value:
                state = decode_star(arrival.value)
                name = state.star.tense, state.survey, state.star.object_id
                self._states[name] = state, arrival.value
        return super().book(arrivals)

    def without_alert(self) -> list[str]:
        """Return the ids of candidates whose alert has not come, and that are no star's observation."""
        return [name for name in super().without_alert() if name not in self._observed_ids]

    def unfolded(self) -> list[str]:
        """Return the ids of observations that are in no star."""
        found = []
        for name, visits in self._observed.items():
            held = self._states.get(name)
            known = set() if held is None else {o.visit for o in held[0].star.observations}
            found += sorted(spectrum_id for _, spectrum_id in visits - known)
        return found

    def lives(self) -> list[Life]:
        """Return the stars that were alerted of, by name."""
        of_stars = self._alerts_by_star()
        names = sorted(of_stars.keys() & self._states)
        return [Life(*self._states[name], tuple(of_stars[name])) for name in names]

    def alert_types(self) -> Counter[str]:
        """Return how many alerts of stars there were of each type."""
        return Counter(seen.alert.alert_type for life in self.lives() for seen in life.alerts)

    def broken_lives(self) -> list[str]:
        """Return what is wrong with the alerts of each star, a line each."""
        of_stars = self._alerts_by_star()
        stateless = [f"{name[2]}: it has alerts and no state" for name in of_stars.keys() - self._states]
        return stateless + [
            f"{name[2]}: {gap}"
            for name, (state, _) in self._states.items()
            for gap in gaps([seen.alert for seen in of_stars.get(name, ())], state)
        ]

    def is_balanced(self) -> bool:
        """Whether all has come out, is in its star, and every star has the alerts that it calls for."""
        return super().is_balanced() and not self.unfolded() and not self.broken_lives()

    def faults(self) -> list[str]:
        """Return what does not balance, a line each."""
        found = super().faults()
        if lost := self.unfolded():
            found.append(f"{len(lost)} observations are in no star: {', '.join(lost[:5])}")
        return found + self.broken_lives()

    def quality(self) -> Quality:
        """Compare the stars whose alerts stand at the end with the simulated truth."""
        last = [life.alerts[-1] for life in self.lives()]
        standing = [seen for seen in last if seen.alert.alert_type != "retraction"]
        with self._lock:
            cemp = {item.spectrum.key for item in self._sent.values() if item.is_cemp}
        return Quality(
            n_cemp=len(cemp),
            n_found=sum(seen.is_cemp is True for seen in standing),
            n_alerts=sum(seen.is_cemp is not None for seen in standing),
        )

    def _alerts_by_star(self) -> dict[StarName, list[AlertSeen]]:
        found: dict[StarName, list[AlertSeen]] = {}
        for seen in self.alerts:
            alert = seen.alert
            if alert.object_id is not None:
                found.setdefault((alert.alert_tense, alert.survey, alert.object_id), []).append(seen)
        return {name: sorted(alerts, key=lambda seen: seen.alert.revision) for name, alerts in found.items()}


def gaps(alerts: Sequence[Alert], state: StarPacket) -> Iterator[str]:
    """Yield what is wrong with the life of a star, given its alerts in their order and its state at the end.

    A life begins with an initial alert, as it does after each retraction; each alert names the one before;
    the last is the one that the state names, and it stands if the star is a candidate.
    """
    stands, before = False, None
    for alert in alerts:
        if (alert.alert_type == "initial") == stands:
            follows = before.alert_type if before else "none"
            yield f"{alert.alert_type} alert {alert.revision} follows {follows}"
        if alert.supersedes != (before.alert_id if before else None):
            yield f"{alert.alert_type} alert {alert.revision} does not name the one before"
        stands, before = alert.alert_type != "retraction", alert
    sent = state.star.sent
    if (sent.alert_id if sent else None) != (before.alert_id if before else None):
        yield "its last alert has not come"
    if stands != state.star.is_candidate:
        yield "it is a candidate, and no alert says so" if not stands else "it is none, and was not retracted"
