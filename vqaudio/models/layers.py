"""Layers that run in NumPy, from arrays by the names that torch's modules give them. Time comes first:
``[T, channels]``.

What they are, and how they learn, is in the modules of the same names; here is what it takes to run them.
"""

import functools
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from vqaudio.arrays import Floats
from vqaudio.errors import ModelError
from vqaudio.models.reach import looks_ahead

_EPSILON = np.float32(1e-5)  # of torch's layer_norm


class Arrays:
    """The arrays of a model, or, by :meth:`part`, those whose names begin alike."""

    def __init__(self, arrays: Mapping[str, npt.NDArray[np.generic]], prefix: str = "") -> None:
        self._arrays, self._prefix = arrays, prefix

    def part(self, name: str) -> "Arrays":
        """Those of the part ``name``."""
        return Arrays(self._arrays, f"{self._prefix}{name}.")

    def named(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.generic]:
        """The array ``name`` as it is stored; ``ModelError`` unless it is there in this ``shape``."""
        whole = self._prefix + name
        found = self._arrays.get(whole)
        if found is None or found.shape != shape:
            there = "is missing" if found is None else f"has the shape {list(found.shape)}"
            raise ModelError(f"{whole} {there}, {list(shape)} is needed")
        return found

    def floats(self, name: str, shape: tuple[int, ...]) -> Floats:
        """The array ``name`` in float32."""
        return self.named(name, shape).astype(np.float32)

    def all(self) -> dict[str, Floats]:
        """All arrays, in float32, by their names in this part."""
        own = {n.removeprefix(self._prefix): a for n, a in self._arrays.items() if n.startswith(self._prefix)}
        return {name: array.astype(np.float32) for name, array in own.items()}


class Linear:
    """``y = x W^T + b`` of rows: ``[T, narrow]`` to ``[T, wide]``."""

    def __init__(self, arrays: Arrays, narrow: int, wide: int) -> None:
        self._stored = arrays.named("weight", self._shape(narrow, wide))
        self._bias = arrays.floats("bias", (wide,))

    @staticmethod
    def _shape(narrow: int, wide: int) -> tuple[int, ...]:
        return wide, narrow

    @functools.cached_property
    def _weight(self) -> Floats:
        """``[inputs, outputs]``; made when it is first needed, for a decoder needs no encoder."""
        return np.ascontiguousarray(self._stored.reshape(len(self._stored), -1).T, np.float32)

    def __call__(self, x: Floats) -> Floats:
        """See the class."""
        y: Floats = x @ self._weight
        y += self._bias
        return y


class Pointwise(Linear):
    """A convolution of kernel 1."""

    @staticmethod
    def _shape(narrow: int, wide: int) -> tuple[int, ...]:
        return wide, narrow, 1


class Convolution:
    """A convolution: ``[T, narrow]`` to ``[T', wide]``, zeros standing before and after."""

    def __init__(
        self,
        arrays: Arrays,
        narrow: int,
        wide: int,
        kernel: int,
        padding: tuple[int, int] = (0, 0),
        dilation: int = 1,
        stride: int = 1,
    ) -> None:
        self._stored = arrays.named("weight", (wide, narrow, kernel))
        self._bias = arrays.floats("bias", (wide,))
        self._kernel, self._padding, self._dilation, self._stride = kernel, padding, dilation, stride

    @functools.cached_property
    def _weight(self) -> Floats:
        """``[kernel * narrow, wide]``."""
        turned = self._stored.transpose(2, 1, 0).astype(np.float32)
        return np.ascontiguousarray(turned).reshape(-1, turned.shape[2])

    def __call__(self, x: Floats) -> Floats:
        """See the class."""
        x = np.pad(x, (self._padding, (0, 0)))
        count = (len(x) - self._dilation * (self._kernel - 1) - 1) // self._stride + 1
        starts = range(0, self._kernel * self._dilation, self._dilation)
        seen = [x[first : first + (count - 1) * self._stride + 1 : self._stride] for first in starts]
        y: Floats = np.concatenate(seen, axis=1) @ self._weight
        y += self._bias
        return y


def relu(x: Floats) -> Floats:
    """What is above 0."""
    return np.maximum(x, np.float32(0))


def layer_norm(x: Floats) -> Floats:
    """Each row at mean 0 and variance 1."""
    x = x - x.mean(-1, keepdims=True)
    normal: Floats = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + _EPSILON)
    return normal


class ResidualBlock:
    """See :class:`vqaudio.models.encoder.ResidualBlock` and, with a voice, :class:`SpeakerBlock` beside it."""

    def __init__(self, arrays: Arrays, channels: int, dilation: int, ahead: int, voice_dim: int = 0) -> None:
        around = 2 * dilation - ahead, ahead
        self._dilated = Convolution(arrays.part("dilated"), channels, channels, 3, around, dilation)
        self._pointwise = Pointwise(arrays.part("pointwise"), channels, channels)
        self._voice = Linear(arrays.part("voice"), voice_dim, 2 * channels) if voice_dim else None

    def __call__(self, x: Floats, voice: Floats | None = None) -> Floats:
        """``x[T, C]`` to the same shape, in the ``voice[V]`` where it is of one."""
        if self._voice is not None:
            assert voice is not None, "a model with speakers must be told which"
            scale, shift = np.split(self._voice(voice), 2)
            x = x * (1 + scale) + shift
        return x + self._pointwise(relu(self._dilated(relu(x))))


def stack(
    arrays: Arrays, channels: int, dilations: tuple[int, ...], look_ahead: int | None, voice_dim: int = 0
) -> list[ResidualBlock]:
    """The residual blocks of ``arrays``, by their numbers."""
    each: Iterable[tuple[int, int]] = zip(dilations, looks_ahead(dilations, look_ahead), strict=True)
    return [
        ResidualBlock(arrays.part(str(number)), channels, dilation, ahead, voice_dim)
        for number, (dilation, ahead) in enumerate(each)
    ]
