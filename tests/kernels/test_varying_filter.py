"""The filter whose response changes, beside its definition, in pieces, and with its past."""

import numpy as np

from vqaudio.arrays import Floats
from vqaudio.kernels.varying_filter import VaryingFilter

HOP, TAPS, FRAMES = 20, 33, 12


def plain(signal: Floats, responses: Floats) -> Floats:
    """By the definition: each frame's filter over the whole signal, then the cross-fade of neighbours."""
    filtered = [np.convolve(signal.astype(np.float64), response)[: len(signal)] for response in responses]
    out = np.empty(len(signal))
    for n in range(len(signal)):
        frame, fade = n // HOP, 0.5 - 0.5 * np.cos(np.pi * (n % HOP) / HOP)
        out[n] = (1 - fade) * filtered[frame][n] + fade * filtered[frame + 1][n]
    return out.astype(np.float32)


def test_it_is_its_definition_in_whatever_pieces() -> None:
    rng = np.random.default_rng(0)
    signal = rng.standard_normal(FRAMES * HOP).astype(np.float32)
    responses = rng.standard_normal((FRAMES + 1, TAPS)).astype(np.float32)
    whole = VaryingFilter(HOP, TAPS).push(signal, responses)
    np.testing.assert_allclose(whole, plain(signal, responses), atol=2e-5)
    stream, parts, first = VaryingFilter(HOP, TAPS), [], 0
    for count in (1, 4, 2, 5):
        part = signal[first * HOP : (first + count) * HOP]
        parts.append(stream.push(part, responses[first : first + count + 1]))
        first += count
    assert (np.concatenate(parts) == whole).all()
