"""How sure a figure is: percentile bootstrap intervals over samples, and over seeds of the attack.

Every resample draws seeds and samples with replacement; samples are drawn once for all seeds, since every
seed is scored on the same ones. Nothing here knows what the figures mean.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import RangeError, ShapeError, UsageError

Floats = npt.NDArray[np.float64]
Statistic = Callable[..., Floats]
"""Takes as many arrays as were given, each `(B, S, N)` for B resamples, and gives one figure a resample,
`(B,)`, or several, `(B, F)`."""

# So many values of each array are drawn at once.
_AT_ONCE: Final = 500_000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with the interval in which it is expected to lie.

    Args:
        value: The figure, of all samples.
        low: Lower end of the interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    def covers(self, value: float) -> bool:
        """Whether the interval holds a value, its ends included.

        Example:
            >>> Estimate(value=0.02, low=-0.01, high=0.05).covers(0)
            True
        """
        return self.low <= value <= self.high


def mean_estimate(
    scores: npt.NDArray[Any], *, seed: int, resamples: int = 1000, level: float = 0.95
) -> Estimate:
    """The mean of per-sample scores with its interval.

    Args:
        scores: `(S, N)` for S seeds of the attack, or `(N,)`; finite.
        seed: Of the resampling.
        resamples: How many, ≥ 1.
        level: Share of resamples inside the interval, in (0, 1).

    Raises:
        ShapeError, RangeError, UsageError: as `resampled`.

    Example:
        >>> estimate = mean_estimate(np.arange(100) % 2, seed=0)
        >>> estimate.value, estimate.covers(0.5), 0.39 < estimate.low < 0.41
        (0.5, True, True)
    """
    drawn = resampled([scores], lambda some: some.mean(axis=(1, 2)), seed=seed, resamples=resamples)
    return estimated(float(np.mean(scores, dtype=np.float64)), drawn, level=level)


def estimated(value: float, drawn: Floats, *, level: float = 0.95) -> Estimate:
    """A figure with the interval between two percentiles of its resamples.

    Args:
        value: The figure, of all samples.
        drawn: The figure of each resample, `(B,)`, B ≥ 1.
        level: Share of resamples inside the interval, in (0, 1).

    Raises:
        UsageError: a level out of range.
    """
    if not 0 < level < 1:
        raise UsageError("a level between 0 and 1", f"{level}", "use 0.95")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value=value, low=float(low), high=float(high))


def resampled(
    arrays: Sequence[npt.NDArray[Any]], statistic: Statistic, *, seed: int, resamples: int = 1000
) -> Floats:
    """The statistic of every resample of some arrays, which are drawn from together.

    Args:
        arrays: Each `(S, N)`, S seeds of the attack by N samples, or `(N,)`; finite; all of one shape.
        statistic: What to compute.
        seed: Of the resampling.
        resamples: How many, B ≥ 1.

    Returns:
        What the statistic gives: `(B,)` or `(B, F)` float64. The same whatever the memory, by seed.

    Raises:
        ShapeError: arrays of different shapes, of other axes, or empty.
        RangeError: scores that are NaN or infinite.
        UsageError: no resamples.

    Source: Efron and Tibshirani 1993, *An Introduction to the Bootstrap* (percentile intervals).

    Does not guarantee: that an interval holds the truth as often as its level says. With few samples, and
        far more so with few seeds, percentile intervals are too narrow: of S seeds they show a share
        (S - 1) / S of the variance between seeds, of one seed none.
    """
    if resamples < 1:
        raise UsageError("at least 1 resample", f"{resamples}", "use 1000")
    values = _checked(arrays)
    seeds, count = values[0].shape
    random = np.random.default_rng(seed)
    at_once = max(1, _AT_ONCE // (seeds * count))
    drawn = []
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        # One draw of seeds and samples after the other, so that the portions do not show in the figures.
        draws = [
            (_seeds(random, seeds), random.integers(0, count, count, dtype=np.int64)) for _ in range(size)
        ]
        rows = np.stack([some for some, _ in draws])[:, :, np.newaxis]
        columns = np.stack([some for _, some in draws])[:, np.newaxis]
        drawn.append(np.asarray(statistic(*(array[rows, columns] for array in values)), np.float64))
    return np.concatenate(drawn)


def _seeds(random: np.random.Generator, seeds: int) -> npt.NDArray[np.int64]:
    # A single seed has no draw: the stream then is that of samples alone.
    return random.integers(0, seeds, seeds, dtype=np.int64) if seeds > 1 else np.zeros(1, np.int64)


def _checked(arrays: Sequence[npt.NDArray[Any]]) -> list[Floats]:
    values = [np.atleast_2d(np.asarray(array, np.float64)) for array in arrays]
    shapes = {array.shape for array in values}
    if len(shapes) != 1 or values[0].ndim != 2 or values[0].size == 0:
        raise ShapeError(
            "scores of one shape, (S, N) or (N,)",
            ", ".join(str(shape) for shape in sorted(shapes)) or "none",
            "score every attack on the same samples",
        )
    if not all(np.isfinite(array).all() for array in values):
        raise RangeError("finite scores", "NaN or infinity", "use a metric that is finite on a copy")
    return values
