"""A language model of speech tokens with text: what the codec's own prior expects, moved by what is to be said.

The prior hears two seconds of tokens and knows no words. Here a GRU hears all frames so far, its state looks up the
characters that are being spoken (attention, drawn to where they should be by the share of the utterance that is over),
and a small network turns both into what is added to the prior's logits. Its last layer begins at zero: training starts
from the prior's own likelihood.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqaudio.models.prior import WaveNetPrior

CHARACTERS = " 'abcdefghijklmnopqrstuvwxyz"
PADDING = 0  # in place of a character


def spelled(text: str) -> Tensor:
    """The characters of a text, ``[C]`` (1 and up), C at least 1."""
    known = [CHARACTERS.index(c) + 1 for c in text.lower() if c in CHARACTERS]
    return torch.tensor(known or [CHARACTERS.index(" ") + 1])


class Batch(NamedTuple):
    """``codes[B, frames, stages]``, -1 beyond an utterance's end; ``frames[B]`` are those of the whole utterances,
    ``first[B]`` is the one that the codes begin with; ``text[B, C]`` is padded."""

    codes: Tensor
    frames: Tensor
    first: Tensor
    text: Tensor


class TextTokenLM(nn.Module):
    """``p(code | codes before it, text)``; without ``hears_text`` the same network is given no text."""

    def __init__(self, prior: WaveNetPrior, stages: int, size: int = 192, hears_text: bool = True) -> None:
        super().__init__()
        self.prior = prior.requires_grad_(False)
        self.codebook_size, self.num_quantizers, self.hears_text = prior.wavenet.config.levels, stages, hears_text
        self.heard = nn.Embedding(self.codebook_size * stages, size)
        self.memory = nn.GRU(size, size, batch_first=True)
        self.letters = nn.Embedding(len(CHARACTERS) + 1, size, padding_idx=PADDING)
        self.spelling = nn.ModuleList(nn.Conv1d(size, size, 5, padding=2) for _ in range(2))
        self.query, self.key = nn.Linear(size, 64), nn.Linear(size, 64)
        self.width = nn.Parameter(torch.tensor(1.5))  # logarithm of how many characters the expected place may be off
        self.stage = nn.Embedding(stages, size)
        self.mix = nn.Sequential(nn.Linear(3 * size, 2 * size), nn.GELU(), nn.Linear(2 * size, size), nn.GELU())
        self.out = nn.Linear(size, self.codebook_size)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def logits(self, batch: Batch) -> Tensor:
        """Of each code, given those before it: ``[B, frames, stages, codes]``."""
        codes = batch.codes.clamp(min=0)
        with torch.no_grad():
            expected = self.prior.logits(codes.flatten(1)).transpose(1, 2)
        numbers = codes + torch.arange(self.num_quantizers) * self.codebook_size
        embedded = self.heard(numbers)
        state, _ = self.memory(F.pad(embedded.sum(2), (0, 0, 1, 0))[:, :-1])
        said = self._looked_up(state, batch) if self.hears_text else torch.zeros_like(state)
        begun = embedded.cumsum(2) - embedded + self.stage.weight  # of this frame, the stages before each
        around = torch.cat([state, said], dim=2)[:, :, None].expand(-1, -1, self.num_quantizers, -1)
        return expected.unflatten(1, codes.shape[1:]) + self.out(self.mix(torch.cat([around, begun], dim=3)))

    def _looked_up(self, state: Tensor, batch: Batch) -> Tensor:
        """What stands where the text is by now, ``[B, frames, size]``."""
        letters = self.letters(batch.text).transpose(1, 2)
        for layer in self.spelling:
            letters = letters + F.gelu(layer(letters))
        letters = letters.transpose(1, 2)
        there = batch.text != PADDING
        count = there.sum(1)[:, None]
        time = batch.first[:, None] + torch.arange(state.shape[1])
        place = (time + 0.5) / batch.frames[:, None] * count  # in characters, were all equally long
        off = torch.arange(letters.shape[1]) + 0.5 - place[..., None]
        scores = self.query(state) @ self.key(letters).transpose(1, 2) / 8 - (off / self.width.exp()).square() / 2
        return scores.masked_fill(~there[:, None], -torch.inf).softmax(2) @ letters

    def bits(self, batch: Batch) -> Tensor:
        """Bits of each code of the batch, ``[codes]``."""
        logits, real = self.logits(batch), batch.codes >= 0
        return F.cross_entropy(logits[real], batch.codes[real], reduction="none") / torch.log(torch.tensor(2.0))
