"""Names for the arrays that go from room to room; their shapes are said where they are used."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Block = npt.NDArray[np.float32]  # of sound: [channels, n]

FREQUENCY_BITS = 24  # the frequencies of a code's alternatives add up to 2 to this; constriction's coders count in it
