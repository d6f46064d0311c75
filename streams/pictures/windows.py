"""What all pictures share: colours, sizes of text, and the named windows in a spectrum.

Colours are those of Okabe & Ito (2008), safe for colour-blind readers.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from matplotlib.axes import Axes

from cempstream.streams.pictures.finding import named_windows

BLACK, DARK, GREY, LIGHT = "#000000", "#444444", "#9a9a9a", "#c4c4c4"
ORANGE, SKY, BLUE, VERMILION = "#E69F00", "#56B4E9", "#0072B2", "#D55E00"

LABEL_PT = 8
#: Height of a line of text.
ROW_IN = 0.205


def mark_windows(axes: Axes, drivers: Collection[str] = ()) -> None:
    """Shade the named windows, those of ``drivers`` more strongly."""
    windows = named_windows()
    for names, alpha in ((windows.keys() & drivers, 0.38), (windows.keys() - drivers, 0.14)):
        axes.broken_barh(
            [(low, high - low) for low, high in (windows[name] for name in names)],
            (0, 1),
            transform=axes.get_xaxis_transform(),
            color=SKY,
            alpha=alpha,
            linewidth=0,
            zorder=0.5,
        )


def label_windows(axes: Axes, wide: tuple[float, float], drivers: Collection[str] = ()) -> None:
    """Name the windows above axes of logarithmic wavelength, moved apart where they would overlap.

    Parameters
    ----------
    wide
        Range of the axes in Å.
    """
    inside = {
        name: math.sqrt(low * high)
        for name, (low, high) in named_windows().items()
        if wide[0] < math.sqrt(low * high) < wide[1]
    }
    figure = axes.get_figure(root=True)
    assert figure is not None, "axes to be drawn on belong to a figure"
    width_in = axes.get_position().width * figure.get_size_inches()[0]
    height_in = axes.get_position().height * figure.get_size_inches()[1]
    place = [math.log(wave / wide[0]) / math.log(wide[1] / wide[0]) for wave in inside.values()]
    spread = spread_apart(place, gap=ROW_IN / width_in)
    for name, here, label_at in zip(inside, place, spread, strict=True):
        is_driver = name in drivers
        axes.plot(
            [here, here, label_at],
            [1.0, 1.0 + 0.045 / height_in, 1.0 + 0.165 / height_in],
            transform=axes.transAxes,
            color=VERMILION if is_driver else GREY,
            linewidth=0.7,
            clip_on=False,
        )
        axes.text(
            label_at,
            1.0 + 0.195 / height_in,
            name,
            transform=axes.transAxes,
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=LABEL_PT,
            fontweight="bold" if is_driver else "normal",
            color=VERMILION if is_driver else BLACK,
        )


def spread_apart(places: Sequence[float], gap: float) -> list[float]:
    """Move points on a line as little as needed, in order, until neighbours stand ``gap`` apart."""
    groups: list[tuple[float, int]] = []  # centre and number of points that touch
    for place in places:
        centre, n = place, 1
        while groups and centre - 0.5 * (n - 1) * gap < groups[-1][0] + 0.5 * (groups[-1][1] + 1) * gap:
            other, n_other = groups.pop()
            centre, n = (centre * n + other * n_other) / (n + n_other), n + n_other
        groups.append((centre, n))
    return [centre + (i - 0.5 * (n - 1)) * gap for centre, n in groups for i in range(n)]
