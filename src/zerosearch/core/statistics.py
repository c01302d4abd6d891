"""Confidence intervals of a mean and of the difference between two means."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

import numpy as np
from numpy.typing import NDArray

from zerosearch.core.errors import BadInput

_CONFIDENCE = 0.95
_RESAMPLES = 10_000  # of every bootstrap, so that two reports on the same runs print the same interval
Z95 = NormalDist().inv_cdf((1 + _CONFIDENCE) / 2)
_CHUNK = 2_000_000  # draws held in memory at once
_MULTINOMIAL_COST = 16  # one multinomial count costs about as much as this many draws of an index


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over n values, with its 95% interval."""

    mean: float
    low: float
    high: float
    n: int

    def as_json(self) -> dict[str, float]:
        """The form that reports read: mean, low, high."""
        return {"mean": self.mean, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}] (n = {self.n})"


def bootstrap_interval(values: Sequence[float] | NDArray[np.float64], seed: int = 0) -> Estimate:
    """95% percentile bootstrap of the mean (Efron, 1979): the same seed gives the same interval.

    Values that are all equal give an interval of width zero: the bootstrap only knows the values it was given.
    Raises BadInput if there is nothing to average.
    """
    return _bootstrap(np.asarray(values, dtype=np.float64), seed)[0]


def _bootstrap(data: NDArray[np.float64], seed: int) -> tuple[Estimate, NDArray[np.float64]]:
    """The interval, and the resampled means it is taken from."""
    if data.size == 0 or not np.isfinite(data).all():
        raise BadInput(f"cannot average {data.size} values{' that are not all finite' if data.size else ''}; check the scored rows.")
    means = _resampled_means(data, np.random.default_rng(seed))
    tail = 100 * (1 - _CONFIDENCE) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return Estimate(mean=float(data.mean()), low=float(low), high=float(high), n=data.size), means


# Student's t, two-sided 95%, by degrees of freedom
_T95 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131),
    *(2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


def t_interval(values: Sequence[float]) -> Estimate:
    """mean ± t(n - 1) · s / √n: for few values, where a bootstrap has too little to draw from. Raises BadInput for fewer than two.

    Above 30 degrees of freedom ν, t ≈ z + (z³ + z) / 4ν (Abramowitz & Stegun, 1964, 26.7.5), which is right to 0.2%.
    """
    if len(values) < 2:
        raise BadInput(f"cannot give an interval for the mean of {len(values)} values; run at least two seeds.")
    mean, freedom = fmean(values), len(values) - 1
    t = _T95[freedom - 1] if freedom <= len(_T95) else Z95 + (Z95**3 + Z95) / (4 * freedom)
    half = t * stdev(values) / len(values) ** 0.5
    return Estimate(mean, mean - half, mean + half, len(values))


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of b − a over n pairs, its 95% interval, and the two-sided p-value of no difference."""

    mean: float
    low: float
    high: float
    p: float
    n: int

    def as_json(self) -> dict[str, float]:
        return {"mean": self.mean, "low": self.low, "high": self.high, "p": self.p}


def paired_bootstrap(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Bootstrap of the paired differences d = b − a (Efron & Tibshirani, 1993, section 16.4).

    p = (1 + #{ |mean* − mean| ≥ |mean| }) / (1 + #resamples): how often a resample shifted to no difference is as extreme as the data.
    Values at one index belong to one question. Raises BadInput if there are no pairs.
    """
    if len(a) != len(b):
        raise BadInput(f"cannot pair {len(a)} values with {len(b)}; join them by question first.")
    differences = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    estimate, means = _bootstrap(differences, seed=0)
    # sums of floats in another order must still count as equal
    as_far = np.abs(means - estimate.mean) >= abs(estimate.mean) - 1e-12
    return Difference(estimate.mean, estimate.low, estimate.high, float((1 + as_far.sum()) / (1 + len(means))), estimate.n)


def _resampled_means(data: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Means of resamples drawn with replacement."""
    n = data.size
    distinct, counts = np.unique(data, return_counts=True)
    if distinct.size * _MULTINOMIAL_COST <= max(n, 2 * _MULTINOMIAL_COST):
        # a resample is fully described by how often each distinct value is drawn; for 0/1 that is one binomial
        return rng.multinomial(n, counts / n, size=_RESAMPLES) @ distinct / n
    means = np.empty(_RESAMPLES)
    rows = max(1, _CHUNK // n)
    for start in range(0, _RESAMPLES, rows):
        size = min(rows, _RESAMPLES - start)
        means[start : start + size] = data[rng.integers(n, size=(size, n), dtype=np.uint32)].mean(axis=1)
    return means
