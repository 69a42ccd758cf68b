"""The pitches that a model of sounds tells apart, on a scale of equal ratios."""

import numpy as np

from vqaudio.arrays import Doubles

PITCHES = 64
LOWEST_HZ, HIGHEST_HZ = 60.0, 400.0
PITCH_WINDOW = 1024  # samples in which periods are looked for
NEAR = 2  # pitches to either side of the likeliest that its exact place is taken from
HIGHEST_HARMONIC_HZ = 2500.0
FAINTEST = 1e-4  # energy in a window beside which a sound counts as periodic
VOICED, OCTAVE_COST = 0.45, 0.02  # autocorrelation from which on a frame is voiced; what an octave less costs


def scale_hz() -> Doubles:
    """Hz of each of the pitches, ``[PITCHES]``."""
    pitches: Doubles = LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** ((np.arange(PITCHES) + 0.5) / PITCHES)
    return pitches
