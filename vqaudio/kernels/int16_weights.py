"""Weights in 16 bits, with a scale for each output, so laid out that a product's loop reads them in one go.

Inputs are scaled by their largest magnitude to -:data:`LARGEST` to :data:`LARGEST`; the weights of an output are scaled
so that no sum of products can leave 32 bits. That keeps 13 bits of the input and, of 64 to 128 weights like a trained
network's, 12 to 15 bits of the largest. A step's logits stay within :data:`BOUND` of their range from those in float32.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vqaudio.kernels.wavenet_reference import Floats, Weights

LARGEST = 8191
BOUND = 1e-3  # what the tests hold; the bundled decoder comes to a fifth of it

Lanes = npt.NDArray[np.int32]


class Products(NamedTuple):
    """Matrices of one shape in 16 bits; the product with one is ``biases + scales * (row @ lanes)``, sums in integers.

    ``lanes`` int32 ``[matrices, inputs / 2 * outputs]``: a lane holds the weights of inputs p and inputs / 2 + p; the
    lanes of a block of outputs lie together, p after p. ``scales`` and ``biases`` are float32 ``[matrices, outputs]``.
    Inputs are filled up to an even number, and outputs to whole blocks, with zeros.
    """

    lanes: Lanes
    scales: Floats
    biases: Floats


def narrow(matrices: Floats, biases: Floats, block: int) -> Products:
    """``matrices[M, inputs, outputs]`` and ``biases[M, outputs]`` for loops over ``block`` outputs."""
    count, inputs, outputs = matrices.shape
    more = -outputs % block
    wide = np.pad(matrices.astype(np.float64), ((0, 0), (0, inputs % 2), (0, more)))
    room = (2**31 - 1) / LARGEST - inputs  # rounding adds at most half a step for each input
    step = np.maximum(np.abs(wide).sum(axis=1) / room, np.abs(wide).max(axis=1) / (2**15 - 1))
    whole = np.rint(wide / np.where(step > 0, step, 1.0)[:, None]).astype(np.int16)
    blocks = whole.reshape(count, 2, -1, wide.shape[2] // block, block).transpose(0, 3, 2, 4, 1)
    lanes = np.ascontiguousarray(blocks).view(np.int32).reshape(count, -1)
    return Products(lanes, step.astype(np.float32), np.pad(biases, ((0, 0), (0, more))))


class Network(NamedTuple):
    """A WaveNet as the Numba kernels read it; see :class:`vqaudio.kernels.wavenet_reference.Weights`."""

    embedding: Floats
    phases: Floats
    past: Products
    now: Products
    out: Products
    hidden: Products
    logits: Products
    dilations: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]  # of each layer's ring in one array of all
    sizes: tuple[int, int, int, int]  # R, S, H, K


def narrowed(weights: Weights, block: int) -> Network:
    """``weights`` for loops over ``block`` outputs."""
    w = weights
    sizes = (w.embedding.shape[1], *w.hidden.shape, w.logits.shape[1])
    none = np.zeros(w.past.shape[::2], np.float32)  # the taps' bias comes with the conditions
    return Network(
        embedding=np.ascontiguousarray(w.embedding),
        phases=np.ascontiguousarray(w.phases),
        past=narrow(w.past, none, block),
        now=narrow(w.now, none, block),
        out=narrow(w.out, w.out_bias, block),
        hidden=narrow(w.hidden[None], w.hidden_bias[None], block),
        logits=narrow(w.logits[None], w.logits_bias[None], block),
        dilations=w.dilations,
        starts=np.cumsum(w.dilations) - w.dilations,
        sizes=sizes,
    )


def whole_blocks(conditions: Floats, net: Network) -> Floats:
    """``conditions[frames, L, 2R, ...]`` filled up with zeros to the outputs of :attr:`Network.past`."""
    more = net.past.scales.shape[1] - conditions.shape[2]
    if more:
        conditions = np.pad(conditions, ((0, 0), (0, 0), (0, more), *[(0, 0)] * (conditions.ndim - 3)))
    return np.ascontiguousarray(conditions)
