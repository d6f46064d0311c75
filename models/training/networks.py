"""The networks of a bundle: denoiser, shared trunk, classifier, regressor, and fusion with photometry.

A spectrum becomes tokens of a few tens of Å: in ``mid`` 3840 pixels make 80 tokens of 48 pixels (47 Å at the
G band), in ``low`` 1024 pixels make 64 tokens of 16 (63 Å). The networks' cost decides
the stream's rate, and on a CPU moving numbers costs more than multiplying them: rectifiers that fuse with
their convolution, few channels at full resolution, no division that can be spared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

N_CHANNELS = 32


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of the networks for a bundle's grid.

    Attributes
    ----------
    n_pix, n_tokens
        Pixels of the grid and tokens that they become, evenly.
    stride
        Pixels that the first convolution joins; at most a resolution element.
    """

    n_pix: int
    n_tokens: int
    stride: int

    def __post_init__(self) -> None:
        if self.n_pix % self.n_tokens or self.token_pix % self.stride:
            raise ValueError(
                f"{self.n_pix} pixels cannot be {self.n_tokens} tokens in steps of {self.stride} pixels; "
                "tokens must divide pixels, and steps a token's pixels"
            )

    @property
    def token_pix(self) -> int:
        """Pixels of a token."""
        return self.n_pix // self.n_tokens

    @property
    def n_steps(self) -> int:
        """Pixels after the first convolution."""
        return self.n_pix // self.stride


#: The networks of ``mid``.
MID = Shape(n_pix=3840, n_tokens=80, stride=4)
N_TOKENS = MID.n_tokens

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
    pixel by pixel, so that a bright spectrum passes unchanged.
    """

    def __init__(self, shape: Shape = MID, width: int = 8, hidden: int = 96) -> None:
        super().__init__()
        self.shape, self.width = shape, width
        token_steps = shape.token_pix // shape.stride
        self.down = nn.Conv1d(3, width, 3 * shape.stride, stride=shape.stride, padding=shape.stride)
        self.narrow = nn.Conv1d(width, 16, token_steps, stride=token_steps)
        self.encode = nn.Linear(shape.n_tokens * 16, hidden)
        self.decode = nn.Linear(hidden, width * shape.n_steps)
        self.mix = nn.Conv1d(2 * width, width, 3, padding=1)
        # Sub-pixel convolution: a transposed one takes three times as long at run time.
        self.up = nn.Conv1d(width, 2 * shape.stride, 3, padding=1)

    def forward(self, norm: Tensor, ivar: Tensor) -> Tensor:
        """Return the denoised flux, ``(n, n_pix)``."""
        depth, trusted, snr = channels_of(norm, ivar)
        skip = F.relu(self.down(torch.stack([depth, trusted, snr], dim=1)))
        latent = F.relu(self.encode(F.relu(self.narrow(skip)).flatten(1)))
        wide = F.relu(self.decode(latent).view(-1, self.width, self.shape.n_steps))
        mixed = F.relu(self.mix(torch.cat([skip, wide], dim=1)))
        pixels = self.up(mixed).view(-1, 2, self.shape.stride, self.shape.n_steps).transpose(2, 3)
        guess, gate = pixels.reshape(-1, 2, self.shape.n_pix).unbind(1)
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
    """Shared features: a convolution, a separate projection per token, self-attention.

    In the rest frame every wavelength has its own meaning, hence a matrix per token instead of a shared one:
    the same cost, and the network need not learn where it is.
    """

    def __init__(self, shape: Shape = MID, width: int = 16, depth: int = 2) -> None:
        super().__init__()
        self.n_tokens = shape.n_tokens
        self.stem = nn.Conv1d(3, width, 3 * shape.stride, stride=shape.stride, padding=shape.stride)
        patch = width * shape.token_pix // shape.stride
        self.project = nn.Parameter(torch.randn(shape.n_tokens, patch, N_CHANNELS) * patch**-0.5)
        self.place = nn.Parameter(0.02 * torch.randn(shape.n_tokens, N_CHANNELS))
        self.blocks = nn.Sequential(*[Block() for _ in range(depth)])
        self.norm = nn.LayerNorm(N_CHANNELS)

    def forward(self, norm: Tensor, ivar: Tensor, clean: Tensor) -> Tensor:
        """Return tokens, ``(n, n_tokens, N_CHANNELS)``."""
        _, trusted, snr = channels_of(norm, ivar)
        guess = torch.clamp(clean - 1.0, -1.5, 2.0)
        x = torch.stack([trusted, snr, guess], dim=1)
        x = F.relu(self.stem(x))
        n, width, length = x.shape
        n_tokens = self.n_tokens
        patches = x.view(n, width, n_tokens, length // n_tokens).permute(2, 0, 1, 3).reshape(n_tokens, n, -1)
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
        """Return the logit ``(n,)``, each token's contribution to it and its attention ``(n, n_tokens)``."""
        score, evidence = self.out(F.relu(self.hidden(tokens))).unbind(-1)
        attention = torch.softmax(score, dim=-1)
        share = attention * evidence
        return share.sum(dim=-1) + self.bias, share, attention


class QueryPool(nn.Module):
    """One learned query per output: attention over wavelength, then a separate linear layer."""

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


class Fusion(nn.Module):
    """Tokens of a spectrum together with what photometry says of its star.

    It sees what the regressor makes of the tokens alone as well: how far the two are apart, in units of both
    errors, decides how far photometry is to be believed.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, hidden: int = 48) -> None:
        super().__init__()
        n = len(PARAMETER_CENTRE)
        self.embed = nn.Sequential(
            nn.Linear(6 + 2 * n, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.out = nn.Linear(hidden, N_CHANNELS)
        self.block = Block()
        self.norm = nn.LayerNorm(N_CHANNELS)
        self.register_buffer("centre", torch.tensor(PARAMETER_CENTRE))
        self.register_buffer("scale", torch.tensor(PARAMETER_SCALE))

    def forward(self, tokens: Tensor, known: Tensor, mean: Tensor, log_sigma: Tensor) -> Tensor:
        """Return tokens of the same shape.

        Parameters
        ----------
        tokens
            Of the spectrum alone, ``(n, n_tokens, N_CHANNELS)``.
        known
            Teff in K, its 1σ, log g, its 1σ; an error of 0 where there is none, ``(n, 4)``.
        mean, log_sigma
            What the regressor says of ``tokens``, ``(n, 6)``.
        """
        facts = []
        for column, parameter, least in ((0, 0, 25.0), (2, 1, 0.03)):
            scale = self.scale[parameter]
            error = known[:, column + 1 : column + 2]
            is_known = (error > 0).to(known.dtype)
            value = (known[:, column : column + 1] - self.centre[parameter]) / scale
            spread = torch.log(torch.clamp(error, min=least) / scale)
            facts += [
                is_known,
                torch.clamp(value, -4.0, 4.0) * is_known,
                torch.clamp(spread, max=2.0) * is_known,
            ]
        said = torch.cat(
            [*facts, (mean - self.centre) / self.scale, log_sigma - torch.log(self.scale)], dim=1
        )
        common = self.out(self.embed(said))
        fused: Tensor = self.norm(self.block(tokens + common[:, None, :]))
        return fused


class Networks(nn.Module):
    """All of them, as they are trained together."""

    def __init__(self, shape: Shape = MID) -> None:
        super().__init__()
        self.shape = shape
        self.denoise = Generator(shape)
        self.features = Trunk(shape)
        self.classify = ClassifierHead()
        self.regress = RegressorHead()
        self.fuse = Fusion()
