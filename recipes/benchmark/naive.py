"""What the kernels are measured against: the same WaveNet, sampled step by step in plain PyTorch, inputs cached."""

from collections import deque

import torch
from torch import Tensor

from vqaudio.models.wavenet import GatedLayer, WaveNet


class IncrementalSampler:
    """One stream; each step is a forward pass of every layer on one sample."""

    def __init__(self, network: WaveNet, first_symbol: int) -> None:
        self.network, self.symbol = network, torch.tensor(first_symbol)
        silence = torch.zeros(network.config.residual)
        self.memory = [deque([silence] * dilation, maxlen=dilation) for dilation in network.config.dilations]

    @torch.inference_mode()
    def generate(self, features: Tensor, temperature: float) -> Tensor:
        """Symbols ``[frames * hop_length]`` under ``features[frames, F]``."""
        assert self.network.condition is not None
        conditions = self.network.condition(features)
        hop = self.network.config.hop_length
        return torch.stack([self._step(conditions[t // hop], temperature) for t in range(len(features) * hop)])

    def _step(self, condition: Tensor, temperature: float) -> Tensor:
        network = self.network
        x, skips = network.embedding(self.symbol), torch.zeros(network.config.skip)
        if network.phase_embedding is not None:  # which of them costs the same
            x = x + network.phase_embedding.weight[0]
        conditions = condition.chunk(len(network.layers))
        for layer, memory, held in zip(network.layers, self.memory, conditions, strict=True):
            assert isinstance(layer, GatedLayer)
            signal, gate = (layer.taps(torch.cat([memory[0], x])) + held).chunk(2)
            memory.append(x)
            out = layer.out(torch.tanh(signal) * torch.sigmoid(gate))
            x, skips = x + out[: len(x)], skips + out[len(x) :]
        logits = network.logits(torch.relu(network.hidden(torch.relu(skips))))
        self.symbol = torch.multinomial(torch.softmax(logits / temperature, 0), 1)[0]
        return self.symbol
