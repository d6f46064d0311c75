"""Noise and errors of the library that are added to rest-frame spectra during training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cempstream.processors.grid import LogGrid

#: Hα to H8, vacuum Å; how far from its centre a core is changed; the widest pixel that still shows it.
_BALMER_VACUUM = (6564.61, 4862.69, 4341.69, 4102.90, 3971.20, 3890.16)
_CORE_REACH_PIX = 18
_WIDEST_CORE_PIXEL_AA = 2.5


def hydrogen_pixels(grid: LogGrid) -> tuple[int, ...]:
    """Return the pixels of Hα to H8 at rest; none where pixels are too wide to see their cores."""
    if np.median(np.diff(grid.wave)) > _WIDEST_CORE_PIXEL_AA:
        return ()
    pixels = np.abs(grid.wave[:, None] - np.array(_BALMER_VACUUM)).argmin(axis=0)
    return tuple(int(p) for p in pixels if _CORE_REACH_PIX < p < grid.n_pix - _CORE_REACH_PIX)


def deeper_hydrogen(
    batch: dict[str, Tensor], pixels: tuple[int, ...], rng: np.random.Generator
) -> dict[str, Tensor]:
    """Deepen the cores of Balmer lines, which LTE makes too shallow by up to half.

    A network that trusts them finds every star too hot, and too rich in carbon for its bands.
    """
    if not pixels:
        return batch
    n = len(batch["norm"])
    star = rng.uniform(-0.03, 0.2, (n, 1)).astype(np.float32)
    width = rng.uniform(1.5, 6.0, (n, 1)).astype(np.float32)
    offset = np.arange(-_CORE_REACH_PIX, _CORE_REACH_PIX + 1, dtype=np.float32)
    changed = {name: batch[name].clone() for name in ("norm", "target")}
    for pixel in pixels:
        depth = star * rng.uniform(0.5, 1.2, (n, 1)).astype(np.float32)
        core = torch.from_numpy(1.0 - depth * np.exp(-0.5 * (offset / width) ** 2))
        window = slice(pixel - _CORE_REACH_PIX, pixel + _CORE_REACH_PIX + 1)
        seen = batch["ivar"][:, window] > 0
        for values in changed.values():
            values[:, window] *= torch.where(seen, core, torch.ones_like(core))
    return batch | changed


def noisier(batch: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
    """Add noise to every spectrum, up to one and a half times what it has, a new draw in every epoch.

    The noise of the files is the same in every epoch, and networks that see it twenty times
    memorise it: the loss keeps falling, while held-out stars are classified worse and with more confidence.
    """
    more = np.exp(rng.uniform(np.log(0.15), np.log(1.5), (len(batch["norm"]), 1))).astype(np.float32)
    noise = rng.standard_normal(batch["norm"].shape, dtype=np.float32)
    is_good = batch["ivar"] > 0
    sigma = torch.where(is_good, torch.rsqrt(batch["ivar"].clamp(min=1e-6)), torch.zeros_like(batch["ivar"]))
    # Clipped as by the processors after normalising.
    norm = torch.clamp(batch["norm"] + torch.from_numpy(more * noise) * sigma, -1.0, 3.0)
    return batch | {
        "norm": torch.where(is_good, norm, batch["norm"]),
        "ivar": batch["ivar"] / torch.from_numpy(1.0 + more * more),
    }
