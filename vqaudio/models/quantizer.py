"""The vector quantizers: one layer for sound (one grid axis), pictures (two) and anything else, and several of them in
succession for sound.

VQ-VAE (arXiv 1711.00937), sections 3.1 and 3.2 and appendix A.1.
"""

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from vqaudio.models.config import QuantizerConfig
from vqaudio.models.settings import BEAM, LEAST_SHARE


class Quantized(NamedTuple):
    """What the quantizer makes of ``z[B, D, *grid]``.

    ``z_q[B, D, *grid]`` are the chosen codebook vectors, with the straight-through gradient (section 3.2);
    ``codes[B, *grid]`` their int64 indices in 0..K-1; ``loss`` the weighted second and third term of equation 3 (a
    scalar); ``perplexity`` the exponential of the entropy of the codes of this batch, 1..K (a batch's figure: count
    codes over a whole pass to judge a model).
    """

    z_q: Tensor
    codes: Tensor
    loss: Tensor
    perplexity: Tensor


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _all_vectors(flat: Tensor) -> Tensor:
    """The vectors of all processes, in the order of their ranks."""
    if not _distributed():
        return flat
    parts = [torch.empty_like(flat) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, flat.contiguous())
    return torch.cat(parts)


class VectorQuantizer(nn.Module):
    """Replaces each vector by its nearest codebook vector (equation 1-2) and learns the codebook.

    With ``update = "ema"`` the codebook is the running mean of the encoder outputs assigned to each code (appendix
    A.1); its state lives in buffers and moves in training mode only. With ``"gradient"`` it is a parameter that learns
    from the second loss term. Either way the codebook starts from encoder outputs of the first batch, and a code that
    falls out of use is restarted on a fresh encoder output: without that, speech uses 20 to 50 codes of 512.

    Works on the last-axis view ``[N, D]``: the grid is batch to it. The look-up is in float32 whatever the autocast.
    """

    codebook: Tensor
    ema_count: Tensor
    ema_sum: Tensor
    steps: Tensor

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        size, dim = config.codebook_size, config.code_dim
        initial = torch.randn(size, dim)
        if config.update == "ema":
            self.register_buffer("codebook", initial)
            self.register_buffer("ema_sum", initial.clone())
        else:
            self.codebook = nn.Parameter(initial)
        self.register_buffer("ema_count", torch.ones(size))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # a bundled model leaves the sums out, which follow from the rest
        codebook, count, total = (prefix + name for name in ("codebook", "ema_count", "ema_sum"))
        if self.config.update == "ema" and {codebook, count} <= state_dict.keys():
            state_dict.setdefault(total, state_dict[codebook] * state_dict[count][:, None])
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def lookup(self, codes: Tensor) -> Tensor:
        """``codes[B, *grid]`` (0..K-1) to codebook vectors ``[B, D, *grid]``."""
        return F.embedding(codes, self.codebook).movedim(-1, 1)

    def encode(self, z: Tensor) -> Tensor:
        """Equation 1: ``z[B, D, *grid]`` to the indices ``[B, *grid]`` of the nearest codes."""
        with torch.autocast(z.device.type, enabled=False):
            return self._nearest(z.movedim(1, -1).float())

    def _nearest(self, vectors: Tensor) -> Tensor:
        # ||z - e||^2 without ||z||^2, which no code changes
        flat = vectors.reshape(-1, vectors.shape[-1])
        scores = torch.addmm(self.codebook.square().sum(1), flat, self.codebook.T, alpha=-2)
        return scores.argmin(-1).view(vectors.shape[:-1])

    def forward(self, z: Tensor) -> Quantized:
        """Quantizes ``z[B, D, *grid]``; in training mode also moves the codebook's state."""
        with torch.autocast(z.device.type, enabled=False):
            vectors = z.movedim(1, -1).float()
            if self.training:
                self.start(vectors.detach().flatten(0, -2))
            codes = self._nearest(vectors.detach())
            chosen = F.embedding(codes, self.codebook)
            loss = self.config.commitment * F.mse_loss(vectors, chosen.detach())
            if self.config.update == "gradient":
                loss = loss + F.mse_loss(chosen, vectors.detach())
            straight_through = vectors + (chosen - vectors).detach()
            if self.training:
                self.update(vectors.detach().flatten(0, -2), codes.flatten())
        return Quantized(straight_through.movedim(-1, 1), codes, loss, self.perplexity(codes))

    def perplexity(self, codes: Tensor) -> Tensor:
        """The exponential of the entropy of ``codes``, a scalar."""
        share = torch.bincount(codes.flatten(), minlength=len(self.codebook)) / codes.numel()
        return torch.exp(-torch.xlogy(share, share).sum())

    # ------------------------------------------------------------------------------------------- the codebook's state

    @torch.no_grad()
    def start(self, flat: Tensor) -> None:
        """Puts the codebook onto encoder outputs ``flat[N, D]``, before the first step."""
        if int(self.steps) == 0:
            every = torch.ones(len(self.codebook), dtype=torch.bool, device=flat.device)
            self._restart(every, _all_vectors(flat))

    @torch.no_grad()
    def update(self, flat: Tensor, codes: Tensor) -> None:
        """Moves the codebook's state by encoder outputs ``flat[N, D]`` and the ``codes[N]`` that they have."""
        # not by a matrix of ones and zeros, which for pictures is larger than all else in the step
        count = torch.bincount(codes, minlength=len(self.codebook)).to(flat.dtype)
        total = torch.zeros_like(self.codebook).index_add_(0, codes, flat)
        if _distributed():
            dist.all_reduce(count)
            dist.all_reduce(total)
        self.steps += 1
        decay = self.config.ema_decay
        self.ema_count.mul_(decay).add_(count, alpha=1 - decay)
        if self.config.update == "ema":
            self.ema_sum.mul_(decay).add_(total, alpha=1 - decay)
            # the sum stands for a mean only where the count is clear of zero: an idle code stays where it is
            alive = self.ema_count > 1e-3
            self.codebook[alive] = self.ema_sum[alive] / self.ema_count[alive, None]
        if self.config.restart_share > 0 and int(self.steps) % self.config.restart_every == 0:
            share = self.ema_count / self.ema_count.sum()
            dead = share < self.config.restart_share / len(self.codebook)
            if bool(dead.any()):
                self._restart(dead, _all_vectors(flat))

    @torch.no_grad()
    def _restart(self, which: Tensor, candidates: Tensor) -> None:
        """Moves the codes of the mask ``which[K]`` onto random rows of ``candidates[N, D]``."""
        amount = int(which.sum())
        picks = torch.randint(len(candidates), (amount,), device=candidates.device)
        fresh = candidates[picks]
        fresh = fresh + 1e-3 * candidates.std() * torch.randn_like(fresh)  # equal picks must be able to part
        if _distributed():
            dist.broadcast(fresh, 0)
        # an even share, so that the newcomer has the time to find its followers
        even = (self.ema_count.sum() / len(self.ema_count)).clamp(min=1e-2)
        self.codebook[which] = fresh
        self.ema_count[which] = even
        if self.config.update == "ema":
            self.ema_sum[which] = fresh * even


class ResidualQuantizer(nn.Module):
    """Several quantizers one after the other, each of what those before it have left over: a vector becomes ``stages``
    tokens (Zeghidour et al. 2021, "SoundStream", section III-C). Its interface is that of :class:`VectorQuantizer` with
    one grid axis; there are ``stages`` codes for each of its places, the coarsest first.

    A stage's nearest code need not be the best beginning: the :data:`BEAM` best beginnings of each vector's codes are
    kept, which leaves a tenth less of the error.
    """

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        self.stages = nn.ModuleList(VectorQuantizer(config) for _ in range(config.num_quantizers))

    def layers(self) -> list[VectorQuantizer]:
        """The quantizers, the coarsest first."""
        return [layer for layer in self.stages if isinstance(layer, VectorQuantizer)]

    def lookup(self, codes: Tensor) -> Tensor:
        """``codes[B, places * stages]`` to the sums of their codebook vectors, ``[B, D, places]``."""
        own = codes.unflatten(1, (-1, self.config.num_quantizers)).unbind(2)
        parts = [layer.lookup(of) for layer, of in zip(self.layers(), own, strict=True)]
        return torch.stack(parts).sum(0)

    def encode(self, z: Tensor) -> Tensor:
        """``z[B, D, places]`` to codes ``[B, places * stages]``, the sum of whose vectors is near it."""
        with torch.autocast(z.device.type, enabled=False):
            codes = self._search(z.movedim(1, -1).float().flatten(0, 1))
        return codes.view(len(z), -1)

    @torch.no_grad()
    def _search(self, flat: Tensor) -> Tensor:
        """The codes ``[N, stages]`` of ``flat[N, D]``, by distance and, weighed by ``rate_weight``, by the bits that
        their shares mean: entropy-constrained vector quantization (Chou, Lookabaugh, Gray 1989)."""
        left = flat[:, None]  # of each vector by each beginning of its codes
        rate = torch.zeros_like(left[..., 0])  # what the beginnings' bits weigh
        weight = 0.0 if self.training else self.config.rate_weight  # a codebook that learns must not starve
        found = torch.zeros(len(flat), 1, 0, dtype=torch.int64, device=flat.device)
        rows = torch.arange(len(flat), device=flat.device)[:, None]
        for layer in self.layers():
            size = len(layer.codebook)
            shares = (layer.ema_count / layer.ema_count.sum()).clamp(min=LEAST_SHARE)
            bits = -weight * shares.log2()
            scores = layer.codebook.square().sum(1) + bits - 2 * left @ layer.codebook.T
            scores = scores + (left.square().sum(2) + rate)[..., None]
            best = scores.flatten(1).topk(min(BEAM, scores.shape[1] * size), largest=False).indices
            beginning, code = best // size, best % size
            left = left[rows, beginning] - layer.codebook[code]
            rate = rate[rows, beginning] + bits[code]
            found = torch.cat([found[rows, beginning], code[..., None]], dim=2)
        return found[rows[:, 0], (left.square().sum(2) + rate).argmin(1)]

    def forward(self, z: Tensor) -> Quantized:
        """As :meth:`VectorQuantizer.forward`; the perplexity is the mean of the stages'."""
        with torch.autocast(z.device.type, enabled=False):
            vectors = z.movedim(1, -1).float()
            flat = vectors.detach().flatten(0, 1)
            if self.training:
                self._start(flat)
            codes, left = self._search(flat), flat
            loss, perplexities = torch.zeros((), device=z.device), []
            for layer, own in zip(self.layers(), codes.unbind(1), strict=True):
                chosen = F.embedding(own, layer.codebook)
                if self.config.update == "gradient":
                    loss = loss + F.mse_loss(chosen, left)
                if self.training:
                    layer.update(left, own)
                left = left - chosen.detach()
                perplexities.append(layer.perplexity(own))
            straight_through = vectors - left.view(vectors.shape)
            loss = loss + self.config.commitment * F.mse_loss(vectors, straight_through.detach())
            perplexity = torch.stack(perplexities).mean()
        return Quantized(straight_through.movedim(-1, 1), codes.view(len(z), -1), loss, perplexity)

    @torch.no_grad()
    def _start(self, flat: Tensor) -> None:
        """Before the first step: each codebook onto what the ones before it leave of the encoder's outputs."""
        for layer in self.layers():
            layer.start(flat)
            flat = flat - layer.lookup(layer.encode(flat))


def quantizer(config: QuantizerConfig) -> VectorQuantizer | ResidualQuantizer:
    """The quantizer that the configuration describes."""
    return ResidualQuantizer(config) if config.num_quantizers > 1 else VectorQuantizer(config)
