"""The four networks of a bundle: denoiser, shared trunk, classifier, regressor.

A spectrum of 3840 pixels becomes 80 tokens of 48 pixels (47 Å at the G band). The networks' cost decides the
stream's rate, and on a CPU moving numbers costs more than multiplying them: rectifiers that fuse with their
convolution, few channels at full resolution, no division that can be spared.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

N_PIX = 3840
N_TOKENS = 80
N_CHANNELS = 32
TOKEN_PIX = N_PIX // N_TOKENS
_STRIDE = 4

#: Typical value and spread of each parameter in ``PARAMETERS``: the regressor speaks in these units.
PARAMETER_CENTRE = (5400.0, 2.9, -1.6, 0.5, 7.3, 0.4)
PARAMETER_SCALE = (800.0, 1.3, 1.1, 0.8, 1.1, 0.9)

#: Inverse variance (S/N² per pixel) at which the raw flux counts half in the noise-weighted channel.
_HALF_TRUST_IVAR = 64.0
_MAX_IVAR = 1.0e4
#: Spread evenly, so that the attribution sums to 1 even where nothing speaks for a CEMP star.
_ATTRIBUTION_FLOOR = 1e-4


def channels_of(norm: Tensor, ivar: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return depth, noise-weighted depth and scaled S/N, each ``(n, n_pix)``.

    Everything is clipped here, in the graph, so that no survey's scaling can push it out of range. A bad
    pixel has norm 1 and ivar 0: depth 0 and S/N 0.
    """
    ivar = torch.clamp(ivar, 0.0, _MAX_IVAR)
    depth = torch.clamp(norm - 1.0, -1.5, 2.0)
    trusted = depth * (ivar / (ivar + _HALF_TRUST_IVAR))
    return depth, trusted, torch.log(ivar + 1.0) * (1.0 / math.log1p(_MAX_IVAR))


class Generator(nn.Module):
    """Denoiser of the Spectra-GAN family: a small U-Net with a global bottleneck.

    A spectrum has some twenty degrees of freedom however many pixels it has: the bottleneck sees all of it at
    once, the skip connection keeps what is local. The output mixes the observed flux with the prediction,
    pixel by pixel, so that a bright spectrum passes unharmed.
    """

    def __init__(self, width: int = 8, hidden: int = 96) -> None:
        super().__init__()
        self.width = width
        self.down = nn.Conv1d(3, width, 12, stride=_STRIDE, padding=4)
        self.narrow = nn.Conv1d(width, 16, 12, stride=12)
        self.encode = nn.Linear(N_TOKENS * 16, hidden)
        self.decode = nn.Linear(hidden, width * N_PIX // _STRIDE)
        self.mix = nn.Conv1d(2 * width, width, 3, padding=1)
        # Sub-pixel convolution: a transposed one costs three times as much at run time.
        self.up = nn.Conv1d(width, 2 * _STRIDE, 3, padding=1)

    def forward(self, norm: Tensor, ivar: Tensor) -> Tensor:
        """Return the denoised flux, ``(n, n_pix)``."""
        depth, trusted, snr = channels_of(norm, ivar)
        skip = F.relu(self.down(torch.stack([depth, trusted, snr], dim=1)))
        latent = F.relu(self.encode(F.relu(self.narrow(skip)).flatten(1)))
        wide = F.relu(self.decode(latent).view(-1, self.width, N_PIX // _STRIDE))
        mixed = F.relu(self.mix(torch.cat([skip, wide], dim=1)))
        pixels = self.up(mixed).view(-1, 2, _STRIDE, N_PIX // _STRIDE).transpose(2, 3)
        guess, gate = pixels.reshape(-1, 2, N_PIX).unbind(1)
        share = torch.sigmoid(gate + 8.0 * (snr - 0.6))
        clean: Tensor = 1.0 + share * depth + (1.0 - share) * guess
        return clean


class Critic(nn.Module):
    """Patch discriminator: tells a computed noise-free spectrum from a denoised one."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, 16, 12, stride=6),
            nn.LeakyReLU(0.2),
            nn.Conv1d(16, 24, 8, stride=4),
            nn.LeakyReLU(0.2),
            nn.Conv1d(24, 1, 5),
        )

    def forward(self, flux: Tensor) -> Tensor:
        """Return a score per patch."""
        scores: Tensor = self.layers(flux[:, None] - 1.0)
        return scores.flatten(1)


class Block(nn.Module):
    """Pre-norm self-attention and a small perceptron.

    One head: with more, half of the time goes into moving numbers.
    """

    def __init__(self, width: int = N_CHANNELS, hidden: int = 96) -> None:
        super().__init__()
        self.norm_a, self.norm_b = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.scale = width**-0.5

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the same shape."""
        y = self.norm_a(x)
        weight = torch.softmax(self.query(y) @ self.key(y).transpose(1, 2) * self.scale, dim=-1)
        x = x + self.out(weight @ self.value(y))
        result: Tensor = x + self.narrow(F.relu(self.wide(self.norm_b(x))))
        return result


class Trunk(nn.Module):
    """Shared features: a convolution, a projection of its own per place, self-attention.

    In the rest frame every wavelength has its own meaning, hence a matrix per token instead of a shared one:
    the same cost, and the network need not learn where it is.
    """

    def __init__(self, width: int = 16, depth: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv1d(3, width, 12, stride=_STRIDE, padding=4)
        patch = width * TOKEN_PIX // _STRIDE
        self.project = nn.Parameter(torch.randn(N_TOKENS, patch, N_CHANNELS) * patch**-0.5)
        self.place = nn.Parameter(0.02 * torch.randn(N_TOKENS, N_CHANNELS))
        self.blocks = nn.Sequential(*[Block() for _ in range(depth)])
        self.norm = nn.LayerNorm(N_CHANNELS)

    def forward(self, norm: Tensor, ivar: Tensor, clean: Tensor) -> Tensor:
        """Return tokens, ``(n, N_TOKENS, N_CHANNELS)``."""
        _, trusted, snr = channels_of(norm, ivar)
        guess = torch.clamp(clean - 1.0, -1.5, 2.0)
        x = torch.stack([trusted, snr, guess], dim=1)
        x = F.relu(self.stem(x))
        n, width, length = x.shape
        patches = x.view(n, width, N_TOKENS, length // N_TOKENS).permute(2, 0, 1, 3).reshape(N_TOKENS, n, -1)
        tokens = torch.bmm(patches, self.project).transpose(0, 1) + self.place
        result: Tensor = self.norm(self.blocks(tokens))
        return result


class EvidencePool(nn.Module):
    """Attention pooling whose logit is a sum over tokens: each one's share is its contribution."""

    def __init__(self, hidden: int = 24) -> None:
        super().__init__()
        self.hidden = nn.Linear(N_CHANNELS, hidden)
        self.out = nn.Linear(hidden, 2)
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logit ``(n,)``, each token's contribution to it and its attention ``(n, N_TOKENS)``."""
        score, evidence = self.out(F.relu(self.hidden(tokens))).unbind(-1)
        attention = torch.softmax(score, dim=-1)
        share = attention * evidence
        return share.sum(dim=-1) + self.bias, share, attention


class QueryPool(nn.Module):
    """One learned query per answer: attention over wavelength, then an answer of its own."""

    def __init__(self, n_queries: int, n_out: int, hidden: int = 48) -> None:
        super().__init__()
        self.query = nn.Linear(N_CHANNELS, n_queries)
        self.value = nn.Linear(N_CHANNELS, N_CHANNELS)
        self.hidden = nn.Linear(n_queries * N_CHANNELS, hidden)
        self.out = nn.Linear(hidden, n_out)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return ``(n, n_out)``."""
        weight = torch.softmax(self.query(tokens), dim=1)
        pooled = (weight.transpose(1, 2) @ self.value(tokens)).flatten(1)
        result: Tensor = self.out(F.relu(self.hidden(pooled)))
        return result


class ClassifierHead(nn.Module):
    """CEMP or not, raw and corrected for evolution, its subclass, and whether it is such a star at all."""

    def __init__(self) -> None:
        super().__init__()
        self.cemp, self.corrected = EvidencePool(), EvidencePool()
        self.subclass, self.ood = QueryPool(4, 4), QueryPool(4, 1)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the logits and the attribution in the order of the graph's outputs."""
        logit, share, _ = self.cemp(tokens)
        weight = F.relu(share) + _ATTRIBUTION_FLOOR
        attribution = weight / weight.sum(dim=-1, keepdim=True)
        return logit, self.corrected(tokens)[0], self.subclass(tokens), self.ood(tokens)[:, 0], attribution


class RegressorHead(nn.Module):
    """Six parameters, each with its own uncertainty."""

    centre: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        n = len(PARAMETER_CENTRE)
        self.pool = QueryPool(8, 2 * n, hidden=64)
        self.register_buffer("centre", torch.tensor(PARAMETER_CENTRE))
        self.register_buffer("scale", torch.tensor(PARAMETER_SCALE))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log sigma in physical units, each ``(n, 6)``."""
        mean, log_sigma = self.pool(tokens).chunk(2, dim=1)
        # 1 % to 300 % of the spread: a likelihood without bounds runs away on the first easy star.
        log_sigma = torch.clamp(log_sigma, -4.6, 1.1)
        return self.centre + self.scale * mean, log_sigma + torch.log(self.scale)


class Networks(nn.Module):
    """All four, as they are trained together."""

    def __init__(self) -> None:
        super().__init__()
        self.denoise = Generator()
        self.features = Trunk()
        self.classify = ClassifierHead()
        self.regress = RegressorHead()
