"""From a torch WaveNet to a sampling kernel: exports the weights, picks the kernel, feeds it blocks.

Samplers are never methods of a module: the same export serves the decoder and the prior, and every kernel draws by the
same rule from uniform numbers made outside, so that a seed means the same thing to each.
"""

from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import torch

from vqaudio.wavenet import GatedLayer, WaveNet

if TYPE_CHECKING:
    from vqaudio.kernels.reference import Weights

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


class Kernel(Protocol):
    """One stream of a kernel; see :class:`vqaudio.kernels.reference.Kernel`."""

    def generate(
        self, conditions: Floats, hop_length: int, uniforms: npt.NDArray[np.float64], temperature: float
    ) -> Integers:
        """Draws symbols."""

    def score(self, conditions: Floats, hop_length: int, symbols: Integers) -> Floats:
        """Logits along given symbols."""


def _array(tensor: torch.Tensor) -> Floats:
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())


def export(wavenet: WaveNet) -> "Weights":
    """The kernel's arrays of ``wavenet``."""
    from vqaudio.kernels.reference import Weights

    layers = [layer for layer in wavenet.layers if isinstance(layer, GatedLayer)]
    residual = wavenet.config.residual
    taps = np.stack([_array(layer.taps.weight.T) for layer in layers])
    return Weights(
        embedding=_array(wavenet.embedding.weight),
        past=np.ascontiguousarray(taps[:, :residual]),
        now=np.ascontiguousarray(taps[:, residual:]),
        out=np.stack([_array(layer.out.weight.T) for layer in layers]),
        out_bias=np.stack([_array(layer.out.bias) for layer in layers]),
        hidden=_array(wavenet.hidden.weight.T),
        hidden_bias=_array(wavenet.hidden.bias),
        logits=_array(wavenet.logits.weight.T),
        logits_bias=_array(wavenet.logits.bias),
        dilations=np.array(wavenet.config.dilations, np.int64),
    )


class Conditioner:
    """Projects a WaveNet's features to what its layers add, once a frame rather than once a step."""

    def __init__(self, wavenet: WaveNet) -> None:
        layers = [layer for layer in wavenet.layers if isinstance(layer, GatedLayer)]
        self._bias = np.stack([_array(layer.taps.bias) for layer in layers])
        self._projection = None if wavenet.condition is None else _array(wavenet.condition.weight.T)

    def __call__(self, features: Floats) -> Floats:
        """``features[frames, F]`` to conditions ``[frames, L, 2R]``."""
        if self._projection is None:
            return np.broadcast_to(self._bias, (len(features), *self._bias.shape)).copy()
        conditions: Floats = (features @ self._projection).reshape(len(features), *self._bias.shape) + self._bias
        return conditions


class SymbolStream:
    """One stream of symbols from a WaveNet. Its state lives across calls and does not grow with their number."""

    def __init__(self, wavenet: WaveNet, kernel: Kernel, temperature: float) -> None:
        self._kernel, self._temperature = kernel, temperature
        self._hop_length = wavenet.config.hop_length
        self._conditioner = Conditioner(wavenet)

    def push(self, features: Floats, uniforms: npt.NDArray[np.float64]) -> Integers:
        """Draws the next symbols ``[frames * hop_length]``, one of ``uniforms`` (0 to below 1) each.

        ``features[frames, F]`` condition them; F is 0 where the WaveNet has no conditioning.
        """
        assert len(uniforms) == len(features) * self._hop_length
        return self._kernel.generate(self._conditioner(features), self._hop_length, uniforms, self._temperature)


def decoder_stream(decoder: WaveNet, temperature: float, first_symbol: int) -> SymbolStream:
    """A stream through the fastest kernel of this machine. The first use on a machine compiles it (and caches that).

    Args:
        decoder: the network.
        temperature: above 0; 1 draws from the model's own distribution, less draws more cautiously.
        first_symbol: the symbol taken to come before the first.
    """
    from vqaudio.kernels import cpu

    return SymbolStream(decoder, cpu.Kernel(export(decoder), first_symbol), temperature)
