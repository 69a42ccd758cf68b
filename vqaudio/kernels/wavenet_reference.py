"""The slow, obvious WaveNet sampler that defines what every faster kernel must compute.

One step, from the symbol before it: embed it; let each layer look at its input now and ``dilation`` steps ago; add up
the skips; turn them into logits; draw. Layers remember zeros from before the first step.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Weights(NamedTuple):
    """A WaveNet's weights as float32 arrays, each product written ``row @ matrix``.

    Shapes, with L layers, R residual, S skip and H hidden channels, K levels:
        embedding ``[K + 1, R]``; phases ``[M, R]``, added to it (one row of zeros where there are none); past, now
        ``[L, R, 2R]``, whose outputs are R signals and R gates; out ``[L, R, R + S]`` and out_bias ``[L, R + S]``,
        residual first; hidden ``[S, H]``, hidden_bias ``[H]``; logits ``[H, K]``, logits_bias ``[K]``; dilations int64
        ``[L]``.
    The taps' bias and the local conditioning reach a kernel together, as ``conditions[frames, L, 2R]``.
    """

    embedding: Floats
    phases: Floats
    past: Floats
    now: Floats
    out: Floats
    out_bias: Floats
    hidden: Floats
    hidden_bias: Floats
    logits: Floats
    logits_bias: Floats
    dilations: Integers


class Draw(NamedTuple):
    """How a symbol is drawn: from ``softmax(logits / temperature)``, of the likeliest symbols alone that together have
    at least the share ``top_p`` (1: all; symbols as likely as the last of them count, too)."""

    temperature: float = 1.0
    top_p: float = 1.0


def draw(logits: npt.NDArray[np.floating], rule: Draw, uniform: float) -> int:
    """The first symbol whose cumulative probability under the rule exceeds ``uniform`` (0 to below 1)."""
    weights = np.exp((logits.astype(np.float64) - logits.max()) / rule.temperature)
    if rule.top_p < 1:
        ordered = np.sort(weights)[::-1]
        kept = np.searchsorted(np.cumsum(ordered), rule.top_p * weights.sum())
        weights = np.where(weights >= ordered[min(kept, len(ordered) - 1)], weights, 0.0)
    cumulative = np.cumsum(weights)
    return int(min(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"), len(logits) - 1))


def every(phases: Integers | None, shape: tuple[int, ...]) -> Integers:
    """``phases``, or where there are none as many of the first kind as ``shape`` has places."""
    return np.zeros(shape, np.int64) if phases is None else phases


class Stack:
    """The layers and the head of one stream: their weights and what they remember."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        residual = weights.embedding.shape[1]
        self.inputs = [[np.zeros(residual, np.float32)] * int(dilation) for dilation in weights.dilations]

    def __call__(self, x: Floats, condition: Floats) -> Floats:
        """The head's outputs ``[K]`` for the first layer's input ``x[R]`` and ``condition[L, 2R]``; remembers the
        inputs."""
        w = self.weights
        residual = len(x)
        skips = np.zeros(w.hidden.shape[0], np.float32)
        for layer, memory in enumerate(self.inputs):
            gates = condition[layer] + memory.pop(0) @ w.past[layer] + x @ w.now[layer]
            memory.append(x)
            out = np.tanh(gates[:residual]) / (1 + np.exp(-gates[residual:])) @ w.out[layer] + w.out_bias[layer]
            x = x + out[:residual]
            skips = skips + out[residual:]
        hidden = np.maximum(np.maximum(skips, 0) @ w.hidden + w.hidden_bias, 0)
        outputs: Floats = hidden @ w.logits + w.logits_bias
        return outputs


class Kernel:
    """One stream: its weights and what it remembers."""

    def __init__(self, weights: Weights, first_symbol: int) -> None:
        """``first_symbol`` (0..K) is taken to come before the first step."""
        self.weights = weights
        self.symbol = first_symbol
        self._stack = Stack(weights)

    def step(self, condition: Floats, phase: int) -> Floats:
        """Logits ``[K]`` of the next symbol, given the one before it, its ``phase`` and ``condition[L, 2R]``; remembers
        the inputs."""
        return self._stack(self.weights.embedding[self.symbol] + self.weights.phases[phase], condition)

    def generate(
        self,
        conditions: Floats,
        hop_length: int,
        uniforms: Doubles,
        rule: Draw,
        phases: Integers | None = None,
    ) -> Integers:
        """Draws ``symbols[frames * hop_length]``, a phase and a uniform number each; frame i conditions ``hop_length``
        steps."""
        symbols = np.empty(len(conditions) * hop_length, np.int64)
        phases = every(phases, symbols.shape)
        for t, uniform in enumerate(uniforms):
            self.symbol = draw(self.step(conditions[t // hop_length], int(phases[t])), rule, uniform)
            symbols[t] = self.symbol
        return symbols

    def forced_logits(
        self, conditions: Floats, hop_length: int, symbols: Integers, phases: Integers | None = None
    ) -> Floats:
        """Logits ``[T, K]`` of each step when the stream is made to go through ``symbols[T]``."""
        logits = []
        phases = every(phases, symbols.shape)
        for t, symbol in enumerate(symbols):
            logits.append(self.step(conditions[t // hop_length], int(phases[t])))
            self.symbol = int(symbol)
        return np.stack(logits)
