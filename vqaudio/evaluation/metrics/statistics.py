"""Means and rates over utterances with bootstrap 95 % intervals (Efron 1979), the same at each call."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_RESAMPLES = 1000


@dataclass(frozen=True)
class Mean:
    """A mean or rate over utterances and its 95 % interval; ``count`` utterances had the metric."""

    value: float
    low: float
    high: float
    count: int


def bootstrap_mean(values: Floats) -> Mean:
    """The mean of those ``values[N]`` that are numbers."""
    return bootstrap_rate(values, np.ones(len(values)))


def bootstrap_rate(parts: Floats, wholes: Floats) -> Mean:
    """``parts[N].sum() / wholes[N].sum()``, over those utterances where both are numbers: a pooled rate."""
    known = np.isfinite(parts) & np.isfinite(wholes)
    parts, wholes = parts[known], wholes[known]
    if not wholes.sum():
        return Mean(math.nan, math.nan, math.nan, 0)
    draws = np.random.default_rng(0).integers(0, len(parts), (_RESAMPLES, len(parts)))
    totals = wholes[draws].sum(axis=1)
    rates = parts[draws].sum(axis=1)[totals > 0] / totals[totals > 0]
    low, high = np.percentile(rates, [2.5, 97.5])
    return Mean(float(parts.sum() / wholes.sum()), float(low), float(high), len(parts))
