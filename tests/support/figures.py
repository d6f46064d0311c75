"""What can be read on a figure, and what of it cannot: text over text, and text cut off."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text


def texts(figure: Figure) -> list[Text]:
    """Return what can be read; matplotlib keeps tick labels beyond the limits and draws none of them."""
    FigureCanvasAgg(figure).draw()
    unseen: set[Text] = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not low <= tick.get_loc() <= high:
                    unseen |= {tick.label1, tick.label2}
    return [
        text
        for text in figure.findobj(Text)
        if isinstance(text, Text)
        and text.get_visible()
        and text.get_text().strip()
        and text not in unseen
        and text.get_window_extent().width > 0
    ]


def overlaps(figure: Figure) -> Iterator[tuple[str, str]]:
    """Yield each two texts of which one lies over the other."""
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    for (a, box_a), (b, box_b) in combinations(boxes, 2):
        if box_a.shrunk(0.98, 0.9).overlaps(box_b.shrunk(0.98, 0.9)):
            yield a, b


def cut_off(figure: Figure) -> Iterator[str]:
    """Yield the texts that are not within the figure."""
    for text in texts(figure):
        box = text.get_window_extent()
        if box.x0 < 0 or box.y0 < 0 or box.x1 > figure.bbox.x1 or box.y1 > figure.bbox.y1:
            yield text.get_text()
