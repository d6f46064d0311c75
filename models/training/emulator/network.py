"""The emulator's network: labels to principal components of the spectrum (needs torch).

Most of what is sharp in label space is chemistry: carbon is locked in CO until it outnumbers oxygen,
nitrogen in N2. The equilibrium of these two molecules has a closed form, so the network is given the free
atoms at three depths of the atmosphere instead of having to find that kink in some thousand spectra.
"""

from __future__ import annotations

from math import log, pi

import torch
from torch import Tensor, nn

_BOLTZMANN = 1.380649e-16
_PLANCK = 6.62607015e-27
_ATOMIC_MASS = 1.66053907e-24
_LOG10 = log(10.0)

#: Temperature over Teff and log10 of the pressure over that at the photosphere, of the three depths.
_DEPTHS = ((0.72, -1.0), (0.85, -0.3), (1.0, 0.3))

#: Asplund et al. 2009, log10 of the number over hydrogen's.
_CARBON, _NITROGEN, _OXYGEN = -3.57, -4.17, -3.31

#: The last says which lines a spectrum was computed with, ±1.
N_FEATURES = 11 + 3 * len(_DEPTHS) + 1


def _log10_dissociation(
    teff: Tensor, energy_ev: float, mass: float, partition: float, rotation: float, vibration: float
) -> Tensor:
    """Return log10 of n(A) n(B) / n(AB) in cm⁻³, the law of mass action with rigid-rotor partition functions.

    ``partition`` is that of both atoms multiplied, over the symmetry number; constants in cm⁻¹.
    """
    # The constants are multiplied in double precision: alone they are too small for single.
    constant = log(2 * pi * mass * _ATOMIC_MASS * _BOLTZMANN / _PLANCK**2) / _LOG10
    translation = 1.5 * (constant + torch.log10(teff))
    molecule = torch.log10(teff / (1.4388 * rotation)) - torch.log10(
        1 - torch.exp(-1.4388 * vibration / teff)
    )
    return translation + log(partition) / _LOG10 - molecule - energy_ev * 5040.0 / teff


def _log10_free(this: Tensor, other: Tensor, constant: Tensor) -> Tensor:
    """Return log10 of the atoms left when ``this`` pairs off with ``other``, without cancellation."""
    excess = constant + other - this
    root = torch.sqrt(excess * excess + 4 * constant * this)
    free = torch.where(excess > 0, 2 * constant * this / (excess.abs() + root), 0.5 * (root - excess))
    return torch.log10(free)


class LabelFeatures(nn.Module):
    """Labels ``(n, 11)`` to inputs of order one ``(n, N_FEATURES)``."""

    def forward(self, labels: Tensor, is_cleaned: Tensor) -> Tensor:
        """Scale the labels and add log10 of free C, O and N at three depths.

        ``is_cleaned``, shape ``(n,)``, is 1 where the line list has no impossible CH lines and -1 where it
        has: spectra with either teach the network all that they have in common.
        """
        teff, logg, feh, cfe, nfe, ofe, afe, sfe, rfe, r1213, vmic = labels.unbind(1)
        features = [
            (5040.0 / teff - 0.95) / 0.18,
            (logg - 3.0) / 1.4,
            (feh + 1.75) / 1.3,
            (feh + cfe + 0.5) / 1.2,
            (feh + nfe) / 1.5,
            (feh + ofe) / 1.3,
            (feh + afe) / 1.3,
            (feh + sfe) / 1.6,
            (feh + rfe) / 1.4,
            (torch.log(r1213) - 3.0) / 1.2,
            (vmic - 1.5) / 0.4,
        ]
        carbon, nitrogen, oxygen = (
            torch.exp(_LOG10 * (solar + feh + ratio))
            for solar, ratio in ((_CARBON, cfe), (_NITROGEN, nfe), (_OXYGEN, ofe))
        )
        for warmth, deeper in _DEPTHS:
            layer = warmth * teff
            # Gas pressure of an atmosphere like the Sun's, scaled; the network corrects what this misses.
            log_pressure = 4.9 + 0.65 * (logg - 4.44) - 0.2 * feh - 3 * torch.log10(teff / 5777.0) + deeper
            log_density = log_pressure - torch.log10(layer) - log(1.1 * _BOLTZMANN) / _LOG10
            log_co = _log10_dissociation(layer, 11.092, 6.857, 81.0, 1.931, 2170.0) - log_density
            log_n2 = _log10_dissociation(layer, 9.759, 7.0, 33.6, 1.998, 2359.0) - log_density
            co = torch.exp(_LOG10 * log_co)
            n2 = torch.exp(_LOG10 * log_n2)
            free_nitrogen = 2 * nitrogen / (1 + torch.sqrt(1 + 8 * nitrogen / n2))
            features += [
                (_log10_free(carbon, oxygen, co) + 4.5) / 1.3,
                (_log10_free(oxygen, carbon, co) + 4.5) / 1.3,
                (torch.log10(free_nitrogen) + 5.0) / 1.5,
            ]
        features.append(is_cleaned)
        return torch.stack(features, dim=1)


class EmulatorTrunk(nn.Module):
    """Residual network from features to ``n_out`` coefficients of unit scale, beside a linear path."""

    def __init__(self, n_hidden: int, n_blocks: int, n_out: int) -> None:
        super().__init__()
        self.first = nn.Linear(N_FEATURES, n_hidden)
        blocks = [
            nn.Sequential(nn.SiLU(), nn.Linear(n_hidden, n_hidden), nn.SiLU(), nn.Linear(n_hidden, n_hidden))
            for _ in range(n_blocks)
        ]
        self.blocks = nn.ModuleList(blocks)
        self.last = nn.Linear(n_hidden, n_out)
        self.linear = nn.Linear(N_FEATURES, n_out)
        for block in blocks:
            nn.init.normal_(next(block[3].parameters()), std=0.3 / n_hidden**0.5)

    def forward(self, features: Tensor) -> Tensor:
        """Return coefficients, shape ``(n, n_out)``."""
        hidden = self.first(features)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        out: Tensor = self.last(nn.functional.silu(hidden)) + self.linear(features)
        return out


class EmulatorNetwork(nn.Module):
    """Mean of several trunks for the lines, one small trunk for the continuum."""

    def __init__(
        self,
        lines: list[EmulatorTrunk],
        continuum: EmulatorTrunk,
        continuum_basis: Tensor,
        continuum_mean: Tensor,
        *,
        cleaned: bool,
    ) -> None:
        super().__init__()
        self.line_set = 1.0 if cleaned else -1.0
        self.features = LabelFeatures()
        self.lines = nn.ModuleList(lines)
        self.continuum = continuum
        self.register_buffer("continuum_basis", continuum_basis)
        self.register_buffer("continuum_mean", continuum_mean)

    def forward(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return line coefficients ``(n, k)`` and ln of the continuum at its nodes ``(n, n_nodes)``."""
        features = self.features(labels, torch.full_like(labels[:, 0], self.line_set))
        coefficients = torch.stack([trunk(features) for trunk in self.lines]).mean(dim=0)
        return coefficients, self.continuum(features) @ self.continuum_basis + self.continuum_mean
