"""An alert at a terminal: one panel with the facts that decide a follow-up."""

from __future__ import annotations

from math import isfinite, nan

from rich.panel import Panel
from rich.text import Text

from cempstream.plain import shown
from cempstream.processors.outcome import Estimate
from cempstream.processors.spectrum import Flag
from cempstream.schemas.alert import Alert
from cempstream.schemas.sky import Match
from cempstream.streams.wording import flag_text, match_text, probability_text, sexagesimal, subclass_text

#: Bands that contribute less are not shown.
_LEAST_SHARE = 0.05
_MISSING = "–"
_LONGEST_NAME = 60
#: So many probabilities of a star fit into a line.
_MOST_VISITS = 6
_MOST_MATCHES = 4
_UNFAMILIAR = "unlike every star of the training: its parameters mean nothing"

_TENSE_STYLES = {"current": "green", "archival": "blue"}


def alert_panel(alert: Alert) -> Panel:
    """Return the panel of an alert: name and probability in its frame; position, star and bands inside."""
    latency_s = (alert.published_at - alert.reduced_at).total_seconds()
    where = sexagesimal(alert.ra, alert.dec)
    magnitudes = "  ".join(f"{band} {mag.mag:.1f}" for band, mag in list(alert.photometry.items())[:3])
    velocity = f"RV {alert.rv_kms:+.0f} km/s" if alert.rv_kms is not None else ""
    lines = [
        _join(where, magnitudes, f"S/N {alert.snr:.0f}", *_expected(alert), velocity),
        *(_parameters(alert) if Flag.OUT_OF_DISTRIBUTION not in alert.flags else (_UNFAMILIAR,)),
        *_growth(alert),
        *map(_known, alert.matches[:_MOST_MATCHES]),
        _join(bands_text(alert) or "no single band", f"novelty {_number(alert.ood_score, '.2f')}"),
    ]
    if alert.flags:
        lines.append(", ".join(map(flag_text, alert.flags)))
    style = _TENSE_STYLES.get(alert.alert_tense, "magenta")
    name = shown(alert.name, longest=_LONGEST_NAME)
    nowhere = "" if alert.ra is not None and alert.dec is not None else "NO POSITION   "
    kind = "" if alert.alert_type == "initial" else f"{alert.alert_type} {alert.revision} "
    return Panel(
        # Text, not a string: Rich would take [Fe/H] for a style
        Text("\n".join(map(shown, lines))),
        title=Text(
            f"{nowhere}{kind}{name}   p {probability_text(alert.p_cemp)}   {_most_probable(alert)}",
            f"bold {style}",
        ),
        title_align="left",
        subtitle=Text(
            shown(
                f"{alert.survey} · {alert.bundle} · {alert.alert_tense} · "
                f"{alert.published_at:%Y-%m-%d %H:%M:%S}Z · {latency_s:.1f} s after reduction"
            ),
            "dim",
        ),
        subtitle_align="right",
        border_style=style,
    )


def _expected(alert: Alert) -> tuple[str, ...]:
    """Return how many of the alerts of this S/N are right, where that was measured."""
    if alert.expected_purity is None:
        return ()
    return (f"purity {_number(100 * alert.expected_purity, '.0f')} %",)


def _growth(alert: Alert) -> tuple[str, ...]:
    """Return how p grew, of a star that was observed more than once."""
    if alert.n_observations < 2:
        return ()
    ps = [probability_text(visit.p_cemp) if isfinite(visit.p_cemp) else _MISSING for visit in alert.visits]
    before = "… " if len(ps) > _MOST_VISITS else ""
    return (
        _join(
            f"{alert.n_observations} spectra, {alert.n_coadded} added up",
            " ".join(alert.gratings),
            f"p {before}{' → '.join(ps[-_MOST_VISITS:])}",
        ),
    )


def _known(match: Match) -> str:
    """Return a known star at the position, or a region, in one line."""
    labels = shown(", ".join(f"{key} {value}" for key, value in match.labels.items()), longest=_LONGEST_NAME)
    return _join(" ".join(match_text(match)), labels)


def _parameters(alert: Alert) -> tuple[str, str]:
    p = alert.parameters
    return (
        _join(
            f"[Fe/H] {_interval(p.feh, '+.2f')}",
            f"[C/Fe] {_interval(p.cfe, '+.2f')}, corr. {_number(alert.cfe_corrected, '+.2f')}",
        ),
        _join(
            f"Teff {_number(p.teff.value, '.0f')} K",
            f"log g {_number(p.logg.value, '.1f')}",
            f"A(C) {_number(p.ac.value, '.2f')}",
            f"[Ba/Fe] {_number(p.bafe.value, '+.1f')}",
        ),
    )


def _most_probable(alert: Alert) -> str:
    """Return the most probable subclass and its probability, as a person writes it."""
    share = getattr(alert.subclass_p, alert.subclass, nan)
    return f"{shown(subclass_text(alert.subclass))} {_number(100 * share, '.0f')} %"


def bands_text(alert: Alert) -> str:
    """Return the bands that drove the classification, with their shares."""
    return ", ".join(
        f"{band.name} {100 * band.weight:.0f} %" for band in alert.bands if band.weight >= _LEAST_SHARE
    )


def _interval(estimate: Estimate, form: str) -> str:
    if not isfinite(estimate.value):
        return _MISSING
    return f"{estimate.value:{form}} ({_number(estimate.lo, form)} … {_number(estimate.hi, form)})"


def _number(value: float, form: str) -> str:
    return f"{value:{form}}" if isfinite(value) else _MISSING


def _join(*parts: str) -> str:
    return "   ".join(part for part in parts if part)
