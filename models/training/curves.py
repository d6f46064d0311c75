"""Curves of a training run: how each loss fell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cempstream.models.training.fit import PHASES

_POINT = ("phase", "epoch")
_COLUMNS = 3


def write_curves(history: Sequence[Mapping[str, float]], folder: Path) -> Path:
    """Write ``curves.json`` and ``curves.png`` into a folder and return the picture's path.

    Parameters
    ----------
    history
        As ``train`` returns it: points with a phase, the epochs done in it, and losses.
    """
    (folder / "curves.json").write_text(json.dumps(list(history), indent=1), encoding="utf-8")
    panels = [
        (index, name)
        for index in range(len(PHASES))
        for name in dict.fromkeys(name for point in history if point["phase"] == index for name in point)
        if name not in _POINT
    ]
    n_rows = max(1, -(-len(panels) // _COLUMNS))
    figure = Figure(figsize=(3.4 * _COLUMNS, 2.4 * n_rows), layout="constrained")
    for axes, (index, name) in zip(
        figure.subplots(n_rows, _COLUMNS, squeeze=False).flat, panels, strict=False
    ):
        points = [point for point in history if point["phase"] == index and name in point]
        axes.plot([p["epoch"] for p in points], [p[name] for p in points], color="#0072B2", linewidth=1.2)
        axes.set(title=f"{PHASES[index]}: {name}", xlabel="epoch")
        axes.title.set_fontsize(9)
        axes.set_xlim(0, max(1.0, float(np.ceil(points[-1]["epoch"]))))
    for axes in figure.axes[len(panels) :]:
        axes.set_visible(False)
    picture = folder / "curves.png"
    figure.savefig(picture, dpi=110)
    return picture
