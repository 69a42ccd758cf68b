"""Fixed-point arithmetic of the integer kernels: positions, tables, quantised weights, sums that never overflow.

A number in fixed point at *position* p is an integer that stands for ``integer / 2**p``. The arithmetic of a step:

- The residual stream is int32. Each layer sees it rounded to int16; what it saw, it remembers.
- Weights are int16; products add up in int32 in a layer, in int64 in the head, and never overflow: :func:`quantise`
  takes the largest position at which the magnitudes of a sum's terms, the inputs as large as they can ever get, add up
  to less than 2**30 (2**61). So nothing saturates, either, and no sample of data is needed to find the range.
- A sum becomes a number at a smaller position by an arithmetic shift to the right; half of the unit that remains is
  part of the bias already, so that the shift rounds to nearest.
- tanh and exp are tables, and ``sigmoid(x) = (1 + tanh(x / 2)) / 2``. Beyond the tables' ends their last value holds.

The weights become the same integers everywhere, too: they are multiplied by powers of two, which is exact, and rounded.
The tables come from :mod:`decimal`, whose ``exp`` is correctly rounded by definition; the C library's need not be.
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from fractions import Fraction
from functools import cache
from itertools import accumulate, repeat
from operator import mul
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from vqaudio.arrays import FREQUENCY_BITS, Doubles, Floats, Integers
from vqaudio.errors import ModelError
from vqaudio.kernels.compiling import compiled_exactly as compiled_exactly

ONE_BITS = 14  # position of tanh and of a layer's output
ONE = 1 << ONE_BITS
TANH_BITS = 10  # position of tanh's argument; the table reaches from -8 to 8
TANH_REACH = 8 << TANH_BITS
LOGIT_BITS = 8  # position of the logits
SHARE_BITS = 38  # of the common factor that turns exponentials into frequencies: 24 + 38 bits fit into int64

NARROW_LIMIT, WIDE_LIMIT = 1 << 30, 1 << 61  # of the sums in int32 and int64, with room for the rounding half
INT16_MAX, INT32_MAX = 2**15 - 1, 2**31 - 1
MOST_WEIGHT_BITS, LEAST_WEIGHT_BITS = 20, -40
MOST_STREAM_BITS, MOST_HEAD_BITS = 16, 20  # keep every shift below 31 (63)
LARGEST_WEIGHT = 2.0**16  # float16 reaches this far

Whole = npt.NDArray[np.integer[Any]]
WeightsT = TypeVar("WeightsT", bound=tuple[Any, ...])


@cache
def tables() -> tuple[npt.NDArray[np.int32], Integers]:
    """tanh and exp as integers.

    Returns:
        tanh: int32 ``[16384]``, at position 14, of -8 to below 8 in steps of 2**-10.
        exp: ``[n]``, at position 24, of 0, -1/256, -2/256 and so on down to the first that rounds to 0.
    """
    with localcontext(Context(prec=60, rounding=ROUND_HALF_EVEN)):  # whatever the caller's precision is
        # powers of one exponential, which are worked out sooner than as many: of 60 digits, the last five are lost
        upwards, downwards = (Decimal(2) / (1 << TANH_BITS)).exp(), (Decimal(-1) / (1 << LOGIT_BITS)).exp()
        powers = accumulate(repeat(upwards, TANH_REACH), mul, initial=Decimal(1))
        positive = [int((ONE * (power - 1) / (power + 1)).to_integral_value()) for power in powers]
        exp: list[int] = []
        power = Decimal(1 << FREQUENCY_BITS)
        while not exp or exp[-1]:
            exp.append(int(power.to_integral_value()))
            power *= downwards
    tanh = [-value for value in positive[:0:-1]] + positive[:-1]
    return np.array(tanh, np.int32), np.array(exp, np.int64)


class Product(NamedTuple):
    """``x @ weights + bias`` in integers: at ``position``, and ``reach`` bounds the magnitude of each output."""

    weights: Integers
    bias: Integers
    position: int
    reach: Integers


def fit(matrix: Floats, bias: Floats, position: int, reach: int, limit: int) -> Product:
    """``matrix[..., I, O]`` in int16's range at the largest position at which no sum can reach ``limit``.

    The inputs are at ``position`` and at most ``reach`` in magnitude.
    """
    exponent = int(np.frexp(np.abs(matrix).max())[1])  # below 2**exponent, exactly
    for bits in range(min(MOST_WEIGHT_BITS, 15 - exponent), LEAST_WEIGHT_BITS, -1):
        whole = integers(matrix, bits)
        offset = integers(bias, bits + position)
        if np.abs(whole).max() > INT16_MAX or np.abs(offset).max() >= limit:
            continue
        product = Product(whole.astype(np.int64), offset.astype(np.int64), bits + position, np.zeros(0, np.int64))
        sums = np.abs(product.weights).sum(-2) * reach + np.abs(product.bias)
        if sums.max() < limit:
            return product._replace(reach=sums)
    raise too_large()


def integers(array: Floats | Doubles, position: int) -> Doubles:
    """``array`` at ``position``, rounded; float64 holds the product by a power of two exactly."""
    return np.rint(np.ldexp(array.astype(np.float64), position))


def position(bound: Fraction, roundings: int, most: int) -> int:
    """The largest position up to ``most`` at which ``bound``, and a unit for each rounding, stay below the limit."""
    position = most
    while bound * Fraction(2) ** position + roundings + 1 >= NARROW_LIMIT:
        position -= 1
    return position


def narrowing(reach: int, most: int) -> int:
    """The smallest rounding shift after which numbers up to ``reach`` are at most ``most``."""
    shift = 0
    while shifted(reach, shift) > most:
        shift += 1
    return shift


def real(whole: int, position: int) -> Fraction:
    """The number that ``whole`` stands for at ``position``."""
    return int(whole) * Fraction(2) ** -position


def half(shift: Any) -> Any:
    """Half of the unit that a shift to the right leaves."""
    return (1 << shift) >> 1


def shifted(reach: Any, shift: int) -> Any:
    """The bound of what was bounded by ``reach`` after a rounding shift."""
    return (reach + half(shift)) >> shift


def too_large() -> ModelError:
    """What is raised where no position keeps a sum within bounds."""
    return ModelError("the prior's layers multiply up to numbers too large for integers: it cannot code; train it anew")


@compiled_exactly
def copy(x, y):  # type: ignore[no-untyped-def]
    """``y = x``, of vectors that do not overlap: of two slices, Numba would see to it that they may."""
    for j in range(y.shape[0]):
        y[j] = x[j]


@compiled_exactly
def add_product(y, x, w, rows, columns):  # type: ignore[no-untyped-def]
    """``y[columns] += x[rows] @ w`` with ``w`` flat, row after row; four rows a pass spare loads and stores of y."""
    whole = rows - rows % 4
    for i in range(0, whole, 4):
        # said outright: without the compiler, NumPy would keep a product of two int16 in int16
        a, b, c, d = np.int64(x[i]), np.int64(x[i + 1]), np.int64(x[i + 2]), np.int64(x[i + 3])
        p = w[i * columns : (i + 4) * columns]
        for j in range(columns):
            y[j] += a * p[j] + b * p[columns + j] + c * p[2 * columns + j] + d * p[3 * columns + j]
    for i in range(whole, rows):
        a, p = np.int64(x[i]), w[i * columns : (i + 1) * columns]
        for j in range(columns):
            y[j] += a * p[j]


@compiled_exactly
def gate(z, gates, shift, tanh):  # type: ignore[no-untyped-def]
    """``z = tanh(signal) * sigmoid(gate)`` from the sums ``gates``: the signals, then the gates."""
    residual = z.shape[0]
    for j in range(residual):
        signal = min(max(gates[j] >> shift, -TANH_REACH), TANH_REACH - 1) + TANH_REACH
        gate = min(max(gates[residual + j] >> (shift + 1), -TANH_REACH), TANH_REACH - 1) + TANH_REACH
        z[j] = (tanh[signal] * (ONE + tanh[gate]) + ONE) >> (ONE_BITS + 1)


@compiled_exactly
def shares(logits, exp, frequencies):  # type: ignore[no-untyped-def]
    """As the reference's; overwrites ``logits``."""
    likeliest, total = 0, 0
    for j in range(logits.shape[0]):
        if logits[j] > logits[likeliest]:
            likeliest = j
    top, last = logits[likeliest], exp.shape[0] - 1
    for j in range(logits.shape[0]):
        logits[j] = exp[min(top - logits[j], last)]
        total += logits[j]
    rest = 1 << FREQUENCY_BITS
    factor = ((rest - logits.shape[0]) << SHARE_BITS) // total
    for j in range(logits.shape[0]):
        frequencies[j] = 1 + ((logits[j] * factor) >> SHARE_BITS)
        rest -= frequencies[j]
    frequencies[likeliest] += rest


def gate_shifts(products: list[Product]) -> Integers:
    """By how much each layer's sums are shifted to become arguments of tanh."""
    shifts = np.array([product.position - TANH_BITS for product in products])
    if shifts.min() < 0:
        raise too_large()
    assert shifts.max() < 30  # as the weights are below 2**16
    return shifts


def gate_biases(products: list[Product], shifts: Integers) -> npt.NDArray[np.int32]:
    """The biases of each layer's sums, with the half that makes their shifts round to nearest."""
    width = len(products[0].bias)
    halves = half(shifts[:, None] + (np.arange(width) >= width // 2))
    return (np.stack([product.bias for product in products]) + halves).astype(np.int32)


def frozen(weights: WeightsT) -> WeightsT:
    """``weights``, a (nested) named tuple of arrays, none of which can be written to any more."""
    for value in weights:
        if isinstance(value, tuple):
            frozen(value)
        elif isinstance(value, np.ndarray):
            value.flags.writeable = False
    return weights
