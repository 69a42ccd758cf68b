"""From a WaveNet's weights to a sampling kernel: exports the weights, picks the kernel, feeds it blocks.

Samplers are never methods of a module: the same export serves the decoder and the prior, and every kernel draws by the
same rule from uniform numbers made outside, so that a seed means the same thing to each.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from vqaudio.bitstream.entropy import FrequencyModel
from vqaudio.errors import ModelError
from vqaudio.models.sound_model import Layered, SymbolNetwork

if TYPE_CHECKING:
    from vqaudio.kernels.int16_weights import Network
    from vqaudio.kernels.wavenet_reference import Draw, Weights

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


class Kernel(Protocol):
    """One stream of a kernel; see :class:`vqaudio.kernels.wavenet_reference.Kernel`."""

    def generate(
        self,
        conditions: Floats,
        hop_length: int,
        uniforms: npt.NDArray[np.float64],
        rule: "Draw",
        phases: Integers | None = None,
    ) -> Integers:
        """Draws symbols."""

    def forced_logits(
        self, conditions: Floats, hop_length: int, symbols: Integers, phases: Integers | None = None
    ) -> Floats:
        """Logits along given symbols."""


def export(wavenet: SymbolNetwork) -> "Weights":
    """The kernel's arrays of ``wavenet``."""
    arrays = wavenet.arrays()
    phases = arrays.get("phase_embedding.weight", np.zeros((1, wavenet.config.residual), np.float32))
    return with_layers(wavenet, arrays["embedding.weight"], phases, "logits")


def with_layers(wavenet: Layered, embedding: Floats, phases: Floats, head: str) -> "Weights":
    """The kernel's arrays: of the layers and the hidden one, between ``embedding`` and the layer named ``head``."""
    from vqaudio.kernels.wavenet_reference import Weights

    arrays, residual, dilations = wavenet.arrays(), wavenet.config.residual, wavenet.config.dilations

    def turned(name: str) -> Floats:
        return np.ascontiguousarray(arrays[f"{name}.weight"].T)

    taps = np.stack([turned(f"layers.{number}.taps") for number in range(len(dilations))])
    return Weights(
        embedding=embedding,
        phases=phases,
        past=np.ascontiguousarray(taps[:, :residual]),
        now=np.ascontiguousarray(taps[:, residual:]),
        out=np.stack([turned(f"layers.{number}.out") for number in range(len(dilations))]),
        out_bias=np.stack([arrays[f"layers.{number}.out.bias"] for number in range(len(dilations))]),
        hidden=turned("hidden"),
        hidden_bias=arrays["hidden.bias"],
        logits=turned(head),
        logits_bias=arrays[f"{head}.bias"],
        dilations=np.array(dilations, np.int64),
    )


class Conditioner:
    """Projects a WaveNet's features to what its layers add, once a frame rather than once a step."""

    def __init__(self, wavenet: Layered) -> None:
        arrays = wavenet.arrays()
        self._bias = np.stack([arrays[f"layers.{number}.taps.bias"] for number in range(len(wavenet.config.dilations))])
        self.shape = self._bias.shape  # of a frame's conditions
        projection = arrays.get("condition.weight")
        self._projection = None if projection is None else np.ascontiguousarray(projection.T)

    def __call__(self, features: Floats) -> Floats:
        """``features[frames, F]`` to conditions ``[frames, L, 2R]``."""
        if self._projection is None:
            return np.broadcast_to(self._bias, (len(features), *self._bias.shape)).copy()
        conditions: Floats = (features @ self._projection).reshape(len(features), *self._bias.shape) + self._bias
        return conditions

    def side_by_side(self, features: Floats) -> Floats:
        """``features[streams, frames, F]`` to conditions ``[frames, L, 2R, streams]``."""
        streams, frames = features.shape[:2]
        held = np.empty((frames, *self._bias.shape, streams), np.float32)
        held[:] = self._bias[..., None]
        if self._projection is not None:
            flat = held.reshape(frames, -1, streams)
            for frame, added in enumerate(features.transpose(1, 2, 0)):
                flat[frame] += self._projection.T @ added
        return held


class SymbolStream:
    """One stream of symbols from a WaveNet. Its state lives across calls and does not grow with their number."""

    def __init__(self, sampler: "Sampler", kernel: Kernel) -> None:
        self._sampler, self._kernel = sampler, kernel

    def push(self, features: Floats, uniforms: npt.NDArray[np.float64], phases: Integers | None = None) -> Integers:
        """Draws the next symbols ``[frames * hop_length]``, one of ``uniforms`` (0 to below 1) each.

        ``features[frames, F]`` condition them; F is 0 where the WaveNet has no conditioning. ``phases`` has one for
        each symbol, where the WaveNet has any.
        """
        hop = self._sampler.hop_length
        assert len(uniforms) == len(features) * hop
        rule = self._sampler.rule
        return self._kernel.generate(self._sampler.conditioner(features), hop, uniforms, rule, phases)


_COMPANY = 7  # streams from which on the kernel for many is the faster one, a register of it empty or not


class _EachAlone:
    """The kernel for many streams, where they are few: each goes by itself."""

    def __init__(self, kernels: list[Kernel]) -> None:
        self._kernels = kernels

    def generate(
        self,
        conditions: Floats,
        hop_length: int,
        uniforms: npt.NDArray[np.float64],
        rule: "Draw",
        phases: Integers | None = None,
    ) -> Integers:
        """``conditions[frames, L, 2R, streams]``, ``uniforms[T, streams]``, phases alike, to symbols of their shape."""
        drawn = [
            kernel.generate(conditions[..., n], hop_length, uniforms[:, n].copy(), rule, _own(phases, n))
            for n, kernel in enumerate(self._kernels)
        ]
        return np.stack(drawn, axis=-1)

    def forced_logits(
        self, conditions: Floats, hop_length: int, symbols: Integers, phases: Integers | None = None
    ) -> Floats:
        """``phases`` and ``symbols[T, streams]`` to logits ``[T, K, streams]``."""
        logits = [
            kernel.forced_logits(conditions[..., n], hop_length, symbols[:, n].copy(), _own(phases, n))
            for n, kernel in enumerate(self._kernels)
        ]
        return np.stack(logits, axis=-1)


def _own(phases: Integers | None, stream: int) -> Integers | None:
    return None if phases is None else phases[:, stream].copy()


def _turned(phases: Integers | None, steps: slice) -> Integers | None:
    return None if phases is None else np.ascontiguousarray(phases[:, steps].T)


class SymbolStreams:
    """Streams side by side, each as a :class:`SymbolStream` of its own; together they cost a fraction of as many."""

    _FRAMES = 32  # conditioned at once: bounds memory

    def __init__(self, sampler: "Sampler", kernel: Kernel) -> None:
        self._sampler, self._kernel = sampler, kernel

    def push(self, features: Floats, uniforms: npt.NDArray[np.float64], phases: Integers | None = None) -> Integers:
        """``features[streams, frames, F]`` and ``uniforms[streams, frames * hop_length]`` to symbols of that shape."""
        hop, rule = self._sampler.hop_length, self._sampler.rule
        drawn = np.empty(uniforms.shape, np.int64)
        for conditions, steps in self._conditioned(features):
            own = np.ascontiguousarray(uniforms[:, steps].T)
            drawn[:, steps] = self._kernel.generate(conditions, hop, own, rule, _turned(phases, steps)).T
        return drawn

    def follow(self, features: Floats, symbols: Integers, phases: Integers | None = None) -> None:
        """Goes through ``symbols[streams, frames * hop_length]`` as if they had been drawn."""
        for conditions, steps in self._conditioned(features):
            own = np.ascontiguousarray(symbols[:, steps].T)
            self._kernel.forced_logits(conditions, self._sampler.hop_length, own, _turned(phases, steps))

    def _conditioned(self, features: Floats) -> Iterator[tuple[Floats, slice]]:
        """Conditions ``[frames, L, 2R, streams]`` and the steps that they are for, some frames at a time."""
        hop = self._sampler.hop_length
        for first in range(0, features.shape[1], self._FRAMES):
            part = features[:, first : first + self._FRAMES]
            yield self._sampler.conditioner.side_by_side(part), slice(first * hop, (first + part.shape[1]) * hop)


class Sampler:
    """A WaveNet's weights, exported once, and the rule by which its symbols are drawn."""

    def __init__(self, wavenet: SymbolNetwork, first_symbol: int, temperature: float = 1.0, top_p: float = 1.0) -> None:
        """Exports ``wavenet``.

        Args:
            wavenet: the network.
            first_symbol: the symbol taken to come before the first.
            temperature: above 0; 1 draws from the model's own distribution, less draws more cautiously.
            top_p: draws only from the likeliest symbols that together have this share (1: from all).
        """
        from vqaudio.kernels.wavenet_reference import Draw

        self.hop_length = wavenet.config.hop_length
        self.conditioner = Conditioner(wavenet)
        self.rule = Draw(temperature, top_p)
        self._weights, self._first_symbol = export(wavenet), first_symbol
        self._networks: dict[object, Network] = {}

    def stream(self) -> SymbolStream:
        """A new stream. The first use on a machine compiles the kernel (and caches that)."""
        from vqaudio.kernels import wavenet as cpu

        return SymbolStream(self, cpu.Kernel(self._network(cpu.prepared), self._first_symbol))

    def streams(self, count: int) -> SymbolStreams:
        """``count`` new streams side by side, each as :meth:`stream` gives it. Compiles likewise."""
        from vqaudio.kernels import wavenet as cpu
        from vqaudio.kernels import wavenet_batched as cpu_many

        if count < _COMPANY:
            network = self._network(cpu.prepared)
            return SymbolStreams(self, _EachAlone([cpu.Kernel(network, self._first_symbol) for _ in range(count)]))
        return SymbolStreams(self, cpu_many.Kernel(self._network(cpu_many.prepared), self._first_symbol, count))

    def _network(self, prepared: "Callable[[Weights], Network]") -> "Network":
        """The weights as a kernel has ``prepared`` them, once for all its streams."""
        if prepared not in self._networks:
            self._networks[prepared] = prepared(self._weights)
        return self._networks[prepared]


def frequency_model(wavenet: SymbolNetwork) -> Callable[[], FrequencyModel]:
    """The prior ``wavenet`` in integers, for :class:`~vqaudio.bitstream.entropy.PriorCoder`.

    The first use compiles the kernel. Its weights are made here, once, and never change; each model that comes of it
    has state of its own.

    Raises:
        ModelError: the prior is conditioned on speakers, or its weights are no trained network's.
    """
    from vqaudio.kernels import wavenet_integer as fixed
    from vqaudio.kernels.fixed_point import frozen

    if wavenet.config.features:
        raise ModelError("the prior is conditioned on speakers, which a stream does not name; use the packed coder")
    bias = Conditioner(wavenet)(np.zeros((1, 0), np.float32))[0]
    return partial(fixed.FixedKernel, frozen(fixed.quantise(export(wavenet), bias)))
