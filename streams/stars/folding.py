"""From observations that arrive to new states of their stars, and to the alerts that these call for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from cempstream.processors.outcome import Classification
from cempstream.processors.stars.life import AlertType, Sent, next_alert
from cempstream.processors.stars.observation import Observation
from cempstream.processors.stars.star import Folded, Judge, Star, fold_stars
from cempstream.schemas.observation import ObservationPacket
from cempstream.schemas.stamp import alert_id, record_id
from cempstream.schemas.star import StarPacket, decode_star, star_key
from cempstream.streams.kafka.messages import PacketOrigin

#: A star whose spectra make our arithmetic fail does not stop the others.
_STAR_ERRORS = (ArithmeticError, ValueError, LookupError)


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """An observation, and where in the topic it is."""

    packet: ObservationPacket
    origin: PacketOrigin

    @property
    def key(self) -> tuple[int, bytes]:
        """Partition and key of its star."""
        packet = self.packet
        survey = packet.observation.spectrum.survey
        return self.origin.partition, star_key(packet.object_id, survey, packet.tense)


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What observers are to be told of a star, whose ``sent`` names the alert."""

    star: Star
    result: Classification

    @property
    def sent(self) -> Sent:
        """The alert's id and place in the life of the star."""
        assert self.star.sent is not None, "it is told by an alert"
        return self.star.sent


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What the observations of one star that arrived together have brought.

    Attributes
    ----------
    arrivals
        At least one, in the order of arrival.
    star
        After them.
    has_changed
        False where all were repeats.
    again
        What observers may not have been told of the star before: it is sent before the new state is.
    alert
        What they are to be told of the star now.
    problem
        Why nothing could be folded; then nothing has changed.
    """

    partition: int
    key: bytes
    arrivals: Sequence[Arrival]
    star: Star
    has_changed: bool = False
    again: Told | None = None
    alert: Told | None = None
    problem: str | None = None


def fold_arrivals(
    arrivals: Sequence[Arrival], held: Callable[[int, bytes], bytes | None], judge: Judge
) -> list[Change]:
    """Fold observations into their stars, each star once.

    A star's state says what it is made of and what was last sent, and is published before the alert. So where
    the observation comes again that made the state, its alert may not have been sent: it is told again, with
    the same id, before anything newer is. With every other repeat nothing is told.

    Parameters
    ----------
    held
        From partition and key to the packet of a star; None for a new one.

    Raises
    ------
    FixableError
        The judge's models fail on good spectra.
    PacketError
        What is held is no star.
    """
    by_star: dict[tuple[int, bytes], list[Arrival]] = {}
    for arrival in arrivals:
        by_star.setdefault(arrival.key, []).append(arrival)
    states = [None if (packet := held(*key)) is None else decode_star(packet) for key in by_star]
    waiting = [
        (_empty(of_star[0].packet) if state is None else state.star, [a.packet.observation for a in of_star])
        for state, of_star in zip(states, by_star.values(), strict=True)
    ]
    plans = [
        _Plan(*key, of_star, star, folded, _is_again(state, of_star))
        for (key, of_star), (star, _), state, folded in zip(
            by_star.items(), waiting, states, _fold(waiting, judge), strict=True
        )
    ]
    results = _results([sum_ for plan in plans for sum_ in plan.sums()], judge)
    return [plan.change(results) for plan in plans]


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """A star with what was folded into it, before the sums that alerts need are at hand.

    Attributes
    ----------
    before
        The star before.
    folded
        Or why it could not be folded.
    is_again
        Whether the alert of the star before may not have been sent.
    """

    partition: int
    key: bytes
    arrivals: Sequence[Arrival]
    before: Star
    folded: Folded | str
    is_again: bool

    @property
    def call(self) -> AlertType | None:
        """The alert that the change calls for."""
        if isinstance(self.folded, str) or not self.folded.has_changed:
            return None
        star = self.folded.star
        return None if star.said is None else next_alert(star.is_candidate, star.said, star.sent)

    def sums(self) -> Iterator[tuple[Star, Classification | None]]:
        """Yield each star whose sum is to be told, with the result where it is known."""
        if self.is_again:
            yield self.before, None
        if self.call is not None and isinstance(self.folded, Folded):
            star = self.folded.star
            yield star, self.folded.results.get(star.speaking()[0].group)

    def change(self, results: Iterator[Classification | None]) -> Change:
        """Return the change, given the results of the sums, which are taken in their order."""
        place = self.partition, self.key, self.arrivals
        again = alert = None
        if self.is_again:
            result, sent = next(results), self.before.sent
            if result is not None and sent is not None and _alert_id(sent, result) == sent.alert_id:
                again = _told(self.before, result)
        if isinstance(self.folded, str):
            return Change(*place, self.before, again=again, problem=self.folded)
        star, call = self.folded.star, self.call
        if call is not None and (result := next(results)) is not None:
            star = replace(star, sent=_sent(call, result, star))
            alert = _told(star, result)
        return Change(*place, star, self.folded.has_changed, again, alert)


def _is_again(state: StarPacket | None, of_star: Sequence[Arrival]) -> bool:
    return (
        state is not None
        and state.star.sent is not None
        and any(arrival.origin.offset == state.offset for arrival in of_star)
    )


def _empty(packet: ObservationPacket) -> Star:
    return Star(object_id=packet.object_id, tense=packet.tense)


def _fold(waiting: Sequence[tuple[Star, Sequence[Observation]]], judge: Judge) -> list[Folded | str]:
    """Fold all at once; where that fails star by star, with the problem in place of a star."""
    try:
        return [*fold_stars(waiting, judge)]
    except _STAR_ERRORS as error:
        if len(waiting) == 1:
            return [f"{type(error).__name__}: {error}"]
    return [folded for one in waiting for folded in _fold([one], judge)]


def _results(
    sums: Sequence[tuple[Star, Classification | None]], judge: Judge
) -> Iterator[Classification | None]:
    """Yield what the sum that speaks for each star says; scored again where it is not known."""
    missing = [star.speaking() for star, known in sums if known is None]
    again = iter(judge(missing) if missing else ())
    for _, known in sums:
        yield next(again) if known is None else known


def _alert_id(sent: Sent, result: Classification) -> str:
    spectrum = result.spectrum
    record = record_id(spectrum.survey, spectrum.spectrum_id, spectrum.reduction_version)
    return alert_id(record, result.bundle, sent.alert_type, sent.revision)


def _sent(alert_type: AlertType, result: Classification, star: Star) -> Sent:
    """Return the alert that is to be sent of a star."""
    said, before = star.said, star.sent
    assert said is not None, "a star of which nothing is said calls for no alert"
    sent = Sent(
        alert_id="",
        alert_type=alert_type,
        revision=0 if before is None else before.revision + 1,
        subclass=said.subclass,
        parameters=said.parameters,
        supersedes=None if before is None else before.alert_id,
    )
    return replace(sent, alert_id=_alert_id(sent, result))


def _told(star: Star, result: Classification) -> Told:
    """Return an alert whose decision is that on the star, which knows what was said before."""
    decision = replace(result.decision, is_candidate=star.is_candidate)
    return Told(star, replace(result, decision=decision))
