"""Quantiles of what classic histograms counted, as Prometheus' histogram_quantile calculates them.

Rule (https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile): observations are taken to be
spread evenly in their bucket; the lowest bucket begins at 0 unless its bound is 0 or less; what lies above the highest
finite bound is reported as that bound. This module knows numbers only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping


def interpolate_quantile(quantile: float, counts: Mapping[float, float]) -> float:
    """The quantile (0 to 1) of cumulative counts by upper bound. Needs an infinite bound, a finite one, and
    observations.

    NaN where a count is not finite. Counts that fall from one bound to the next, as they may when endpoints with
    different bounds are added up, are taken to stay level.
    """
    bounds = sorted(counts)
    levels: list[float] = []
    for bound in bounds:
        if not math.isfinite(counts[bound]):
            return math.nan
        levels.append(max(counts[bound], levels[-1] if levels else 0.0))
    rank = quantile * levels[-1]
    # An empty bucket cannot hold the quantile, even if the rank is 0.
    index = next(index for index, level in enumerate(levels) if level >= rank and level > 0)
    if math.isinf(bounds[index]):
        return bounds[index - 1]
    if index == 0 and bounds[0] <= 0:
        return bounds[0]
    lower_bound, below = (bounds[index - 1], levels[index - 1]) if index else (0.0, 0.0)
    return lower_bound + (bounds[index] - lower_bound) * (rank - below) / (levels[index] - below)
