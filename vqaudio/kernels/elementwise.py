"""What the Numba kernels compute beside products: the gates, rectifiers and the draw, in float32.

tanh is a rational function and exp a polynomial, where the C library's would stop vectorisation. Loops are long,
contiguous and free of branches.
"""

import numpy as np

from vqaudio.kernels.compiling import compiled as compiled
from vqaudio.kernels.int16_weights import LARGEST

# tanh(x) = x P(x^2) / Q(x^2) on -8.5..8.5, fitted for least relative error (1.2e-8 before rounding; beyond, |tanh| is 1
# to 8e-8). In float32 the absolute error is at most 3.4e-7.
_LIMIT = np.float32(8.5)
_P0, _P1, _P2, _P3, _P4 = (
    np.float32(p)
    for p in (
        0.9999999882054625,
        0.13413264003055833,
        0.0035340466817965505,
        2.1251351591815653e-05,
        1.4269616603083915e-08,
    )
)
_Q0, _Q1, _Q2, _Q3, _Q4 = (
    np.float32(q) for q in (1.0, 0.4674658675567411, 0.02602282795881653, 0.00033488964137641937, 8.14529043920251e-07)
)
UNIT = np.float32(LARGEST)  # 1, as inputs of a product are scaled
SHIFT = np.float32(3 * 2**22)  # added to a small number, it leaves the nearest whole number in the lowest bits
_LOW, _HALF_LANE = np.int32(0xFFFF), np.int32(16)
HALF, ONE, ZERO = np.float32(0.5), np.float32(1.0), np.float32(0.0)

# 2**f on -0.5..0.5, fitted likewise (relative error 1.9e-9 before rounding)
_LOG2_E = np.float32(1.4426950408889634)
_E0, _E1, _E2, _E3, _E4, _E5, _E6 = (
    np.float32(e)
    for e in (
        1.0000000005542085,
        0.6931472057376452,
        0.24022646890357324,
        0.05550328776084559,
        0.009618488983366256,
        0.0013399931589748195,
        0.00015345805922158324,
    )
)


@compiled
def gated(signal, gate):  # type: ignore[no-untyped-def]
    """``tanh(signal) * sigmoid(gate)``; sigmoid(x) is (1 + tanh(x / 2)) / 2, and one division serves both."""
    x = min(max(signal, -_LIMIT), _LIMIT)
    y = min(max(HALF * gate, -_LIMIT), _LIMIT)
    s, r = x * x, y * y
    above = x * (_P0 + s * (_P1 + s * (_P2 + s * (_P3 + s * _P4))))
    below = _Q0 + s * (_Q1 + s * (_Q2 + s * (_Q3 + s * _Q4)))
    half_above = y * (_P0 + r * (_P1 + r * (_P2 + r * (_P3 + r * _P4))))
    half_below = _Q0 + r * (_Q1 + r * (_Q2 + r * (_Q3 + r * _Q4)))
    return HALF * above * (half_below + half_above) / (below * half_below)


@compiled
def pack(shifted, lanes):  # type: ignore[no-untyped-def]
    """Two values a lane: those of each half of ``shifted``, whose floats are a whole number plus :data:`SHIFT`."""
    halves = shifted.view(np.int32)
    for i in range(lanes.shape[0]):
        lanes[i] = (halves[i] & _LOW) | (halves[lanes.shape[0] + i] << _HALF_LANE)


@compiled
def exp(x, bits):  # type: ignore[no-untyped-def]
    """``x[n] = exp(x)`` in place for x <= 0, as ``2**whole * 2**rest``; ``bits[n]`` int32 is scratch."""
    for j in range(x.shape[0]):
        y = max(x[j] * _LOG2_E, np.float32(-126.0))
        whole = np.floor(y + HALF)
        f = y - whole
        bits[j] = (np.int32(whole) + np.int32(127)) << np.int32(23)
        x[j] = _E0 + f * (_E1 + f * (_E2 + f * (_E3 + f * (_E4 + f * (_E5 + f * _E6)))))
    powers = bits.view(np.float32)
    for j in range(x.shape[0]):
        x[j] *= powers[j]


@compiled
def keep_likeliest(weights, share):  # type: ignore[no-untyped-def]
    """Zeroes all but the largest weights that together have ``share`` of the total."""
    ordered = np.sort(weights)
    enough, total = share * weights.astype(np.float64).sum(), 0.0
    least = ordered[0]
    for j in range(ordered.shape[0] - 1, -1, -1):
        total += np.float64(ordered[j])
        if total >= enough:
            least = ordered[j]
            break
    for j in range(weights.shape[0]):
        if weights[j] < least:
            weights[j] = ZERO


@compiled
def draw(logits, inverse_temperature, top_p, uniform, bits):  # type: ignore[no-untyped-def]
    """The reference's draw; overwrites ``logits[n]``, and ``bits[n]`` int32."""
    top = logits[0]
    for j in range(logits.shape[0]):
        top = max(top, logits[j])
    for j in range(logits.shape[0]):
        logits[j] = (logits[j] - top) * inverse_temperature
    exp(logits, bits)
    if top_p < 1.0:
        keep_likeliest(logits, top_p)
    total = 0.0
    for j in range(logits.shape[0]):
        total += np.float64(logits[j])
    threshold, cumulative = uniform * total, 0.0
    for j in range(logits.shape[0]):
        cumulative += np.float64(logits[j])
        if cumulative > threshold:
            return j
    return logits.shape[0] - 1
