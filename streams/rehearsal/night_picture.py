"""A night on one picture, as Prometheus recorded it: was everything scored, was it in time, what failed?

Colours are those of Okabe & Ito (2008), one meaning each on all panels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cempstream.processors.grid import Array
from cempstream.streams.rehearsal.prometheus_server import SCRAPE_S, Curve, PrometheusServer

_GREY, _BLACK = "#9a9a9a", "#000000"
_ORANGE, _SKY, _GREEN, _BLUE, _VERMILION, _PURPLE = (
    "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip

#: For curves that differ in a label.
_CYCLE = (_VERMILION, _PURPLE, _ORANGE, _SKY, _BLACK, _GREY)

_SIZE_IN = (13.0, 8.6)
_DPI = 110
_TEXT_PT = 9
_MAX_STEPS = 600
_LOG_RANGE = 50.0


@dataclass(frozen=True, slots=True)
class Line:
    """A Prometheus expression on a panel.

    Attributes
    ----------
    label
        Legend; ``{name}`` stands for the value of a label.
    colour
        None takes the colours of the cycle, in order.
    """

    expr: str
    label: str
    colour: str | None = None
    style: str = "-"


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes.

    Attributes
    ----------
    limit
        Value that should not be exceeded, in the panel's unit; drawn as a dotted line.
    """

    title: str
    unit: str
    lines: tuple[Line, ...]
    limit: float | None = None


PANELS = (
    Panel(
        "In against out",
        "spectra/s",
        (
            Line("cemp:spectra_in:rate1m", "in", _GREY),
            Line('sum(rate(cemp_spectra_total{outcome="scored"}[1m]))', "scored", _GREEN, "--"),
            Line('sum(rate(cemp_spectra_total{outcome="rejected"}[1m]))', "dead letters", _VERMILION),
        ),
    ),
    Panel(
        "Lag",
        "s",
        (
            Line("cemp:backlog_seconds", "time to read what waits", _BLUE),
            Line("cemp:lag_seconds:max", "age of what waits", _ORANGE),
        ),
        limit=60.0,
    ),
    Panel(
        "Reduction to outcome",
        "s",
        (
            Line("cemp:latency_seconds:p50", "p50", _SKY),
            Line("cemp:latency_seconds:p95", "p95", _BLUE),
            Line("cemp:latency_seconds:p99", "p99", _BLACK),
        ),
        limit=2.0,
    ),
    Panel(
        "Dead letters by reason, since the start",
        "packets",
        (Line("sum by (reason) (cemp_dlq_total) > 0", "{reason}"),),
    ),
    Panel(
        "Candidates, since the start",
        "stars",
        (
            Line("sum(cemp_candidates_total)", "candidates", _ORANGE),
            Line("sum(cemp_expected_candidates_total)", "CEMP stars expected by the prior", _GREY, "--"),
        ),
    ),
)

ALERTS = "max by (alertname, alertstate) (ALERTS)"


def save_night(
    prometheus: PrometheusServer,
    begin_s: float,
    end_s: float,
    path: Path,
    title: str,
    *,
    cemp_share: float | None = None,
) -> None:
    """Draw a night, as `draw_night` does, and write it as PNG."""
    draw_night(prometheus, begin_s, end_s, title, cemp_share=cemp_share).savefig(path, format="png")


@rc_context({"text.parse_math": False})  # labels hold names of topics and workers, not formulas
def draw_night(
    prometheus: PrometheusServer,
    begin_s: float,
    end_s: float,
    title: str,
    *,
    cemp_share: float | None = None,
) -> Figure:
    """Draw the time from one Unix time to another.

    Parameters
    ----------
    cemp_share
        True fraction of CEMP stars among the spectra of a simulated night; their number is drawn beside the
        candidates'. None if unknown.
    """
    step_s = max(float(SCRAPE_S), (end_s - begin_s) / _MAX_STEPS)
    figure = Figure(figsize=_SIZE_IN, dpi=_DPI, layout="constrained")
    when = f"{datetime.fromtimestamp(begin_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
    figure.suptitle(f"{title}, {when}", fontsize=14, fontweight="bold", x=0.01, ha="left")
    cells = figure.subplots(2, 3, sharex=True)
    panels = PANELS if cemp_share is None else (*PANELS[:-1], with_truth(PANELS[-1], cemp_share))
    for axes, panel in zip(cells.flat, panels, strict=False):
        curves = {line: prometheus.query_range(line.expr, begin_s, end_s, step_s) for line in panel.lines}
        _draw_panel(axes, panel, curves, begin_s)
    alerts = prometheus.query_range(ALERTS, begin_s, end_s, step_s)
    _draw_alerts(cells.flat[-1], alerts, begin_s, step_s)
    for axes in cells[-1]:
        axes.set_xlabel("minutes since the start", fontsize=_TEXT_PT)
    for axes in cells.flat:
        axes.set_xlim(0.0, (end_s - begin_s) / 60)
        axes.tick_params(labelsize=_TEXT_PT)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def with_truth(candidates: Panel, cemp_share: float) -> Panel:
    """Return the panel of candidates with the number of CEMP stars that a simulated night has sent."""
    sent = f'{cemp_share:.6g} * sum(cemp_spectra_total{{outcome="scored"}})'
    return replace(candidates, lines=(*candidates.lines, Line(sent, "CEMP stars sent", _GREEN, ":")))


def _draw_panel(axes: Axes, panel: Panel, found: Mapping[Line, list[Curve]], begin_s: float) -> None:
    axes.set_title(f"{panel.title} / {panel.unit}", fontsize=_TEXT_PT + 2, loc="left")
    cycle = iter(_CYCLE * 2)
    highest = lowest = float("nan")
    for line, curves in found.items():
        for curve in curves:
            label = line.label.format_map(curve.labels)
            last = curve.value[np.isfinite(curve.value)][-1:]
            axes.plot(
                _minutes(curve.time_s, begin_s),
                curve.value,
                color=line.colour or next(cycle, _GREY),
                linestyle=line.style,
                linewidth=1.8,
                label=f"{label}  {last[0]:.3g}" if last.size else label,
            )
            positive = curve.value[np.isfinite(curve.value) & (curve.value > 0)]
            if positive.size:
                highest = float(np.nanmax([highest, positive.max()]))
                lowest = float(np.nanmin([lowest, positive.min()]))
    if not any(found.values()):
        _say(axes, "nothing was recorded")
        return
    if panel.limit is not None:
        axes.axhline(panel.limit, color=_VERMILION, linewidth=1.0, linestyle=":")
        highest = float(np.nanmax([highest, panel.limit]))
    if panel.limit is not None and highest > _LOG_RANGE * lowest:
        axes.set_yscale("log")
        axes.set_ylim(bottom=lowest / 1.5, top=highest * (highest / lowest) ** 0.4)
    else:
        axes.set_ylim(0, 1.35 * highest if highest > 0 else 1.0)
    axes.legend(fontsize=_TEXT_PT, frameon=False, loc="upper left")


def _draw_alerts(axes: Axes, curves: list[Curve], begin_s: float, step_s: float) -> None:
    axes.set_title("Alerts: waiting, firing", fontsize=_TEXT_PT + 2, loc="left")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    names = sorted({curve.labels["alertname"] for curve in curves})
    if not names:
        _say(axes, "none")
    axes.set_ylim(max(len(names), 4), -0.4)
    for curve in curves:
        row = names.index(curve.labels["alertname"])
        is_firing = curve.labels["alertstate"] == "firing"
        axes.broken_barh(
            [(at, step_s / 60) for at in _minutes(curve.time_s, begin_s)],
            (row + 0.3, 0.45),
            color=_VERMILION if is_firing else _ORANGE,
            alpha=1.0 if is_firing else 0.5,
            linewidth=0,
        )
    for row, name in enumerate(names):
        axes.text(0.01, row + 0.22, name, transform=axes.get_yaxis_transform(), fontsize=_TEXT_PT)


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=_GREY, fontsize=11)


def _minutes(time_s: Array, begin_s: float) -> Array:
    return np.asarray((time_s - begin_s) / 60)
