"""Whether samples and answers are still distributed as they were when a device was set up.

No sample is kept: only how many samples of a window lie between rounded limits of a few quantities, and how
many got each label. Two such tables are compared by a test whose rate of false alarms is known. Where the
tables come from, and what is done about an alarm, is `monitor`'s.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import DataError, UsageError

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

OF_SAMPLES: Final = ("mean", "spread", "asymmetry", "roughness")
"""Of a raw sample: mean, standard deviation, third standardised moment, mean difference of neighbours."""

OF_ANSWERS: Final = ("margin", "label")
"""Of an answer: the highest score less the second, and the label."""

FALSE_ALARM: Final = 1e-4
"""Chance that a window is called moved although nothing moved."""

FEWEST_KNOWN: Final = 1_000
"""Samples that a reference is made of at least."""

_BINS: Final = 8
# Limits are rounded, so that none is the value of a sample.
_DIGITS: Final = 3
# With fewer than so many expected in a cell, the distribution of the test's statistic is not to be trusted.
_FEWEST_EXPECTED: Final = 10
_LEAST_SPREAD: Final = 1e-9


def quantities(unit: npt.NDArray[np.float32], scores: npt.NDArray[np.float32]) -> dict[str, Floats]:
    """What is counted of samples and their answers.

    Args:
        unit: Raw samples, `(N, ...)` float32 in [0, 1].
        scores: Their answers, `(N, classes)`.

    Returns:
        `(N,)` for each name of `OF_SAMPLES` and `OF_ANSWERS`.
    """
    values = unit.astype(np.float64)
    flat = values.reshape(len(values), -1)
    mean, spread = flat.mean(axis=1), flat.std(axis=1)
    third = ((flat - mean[:, None]) ** 3).mean(axis=1)
    axes = [axis for axis in range(max(1, values.ndim - 2), values.ndim) if values.shape[axis] > 1]
    rough = [np.abs(np.diff(values, axis=axis)).reshape(len(values), -1).mean(axis=1) for axis in axes]
    best = np.sort(scores.astype(np.float64), axis=1)[:, -2:]
    return {
        "mean": mean,
        "spread": spread,
        "asymmetry": third / np.maximum(spread, _LEAST_SPREAD) ** 3,
        "roughness": np.mean(rough, axis=0) if rough else np.zeros(len(values)),
        "margin": best[:, -1] - best[:, 0],
        "label": scores.argmax(axis=1).astype(np.float64),
    }


def check_known(count: int) -> None:
    """Raises `UsageError` where so many samples are too few to learn from."""
    if count < FEWEST_KNOWN:
        raise UsageError(
            f"at least {FEWEST_KNOWN} samples to learn what is usual", str(count), "give more samples"
        )


@dataclass(frozen=True, eq=False)
class Limits:
    """Between which limits samples are counted.

    Args:
        of: For each quantity ascending limits, which part it into one more cell than there are limits.
    """

    of: Mapping[str, Floats]

    @classmethod
    def learnt(cls, known: Mapping[str, Floats], *, classes: int) -> "Limits":
        """Limits that part these quantities into cells of about the same number of samples.

        Args:
            known: As `quantities` gives them, of at least `FEWEST_KNOWN` samples.
            classes: Number of labels.

        Raises:
            UsageError: fewer samples.
        """
        check_known(len(known["label"]))
        shares = np.arange(1, _BINS) / _BINS
        found: dict[str, Floats] = {"label": np.arange(classes - 1, dtype=np.float64) + 0.5}
        for name, values in known.items():
            if name != "label":
                # Where many samples have the same value, limits fall together and are one.
                found[name] = np.unique([_rounded(limit) for limit in np.quantile(values, shares)])
        return cls(found)

    def count(self, seen: Mapping[str, Floats]) -> dict[str, Counts]:
        """How many samples lie in each cell of each quantity."""
        return {
            name: np.bincount(np.searchsorted(limits, seen[name]), minlength=len(limits) + 1)
            for name, limits in self.of.items()
        }


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A quantity whose distribution is another than it was.

    Args:
        quantity: Its name.
        p_value: Chance of a difference as large where nothing moved.
    """

    quantity: str
    p_value: float


def moved(known: Mapping[str, Counts], window: Mapping[str, Counts]) -> list[Moved]:
    """The quantities of a window that are distributed otherwise than before, least likely first.

    Args:
        known: Counts of the reference.
        window: Counts of the same cells.

    Source: Pearson's chi-squared test of homogeneity, with Bonferroni's correction over quantities: where
        nothing moved, a window is called moved with probability `FALSE_ALARM` at most, about.
    Does not guarantee: that rate where samples depend on each other (frames of one film, say), or where
        the reference is not what is usual.

    Example:
        >>> same = {"label": np.array([500, 500])}
        >>> moved(same, {"label": np.array([260, 240])})
        []
        >>> [one.quantity for one in moved(same, {"label": np.array([400, 100])})]
        ['label']
    """
    limit = FALSE_ALARM / len(known)
    found = [
        Moved(quantity=name, p_value=homogeneity(counts, window[name])) for name, counts in known.items()
    ]
    return sorted((one for one in found if one.p_value < limit), key=lambda one: one.p_value)


def homogeneity(known: Counts, window: Counts) -> float:
    """Chance of two tables as different as these, where both are of the same distribution.

    Cells of which the window is expected to have few are taken together until it is expected to have enough.

    Args:
        known: `(cells,)` ≥ 0.
        window: Likewise.

    Returns:
        In [0, 1]; 1 where there is nothing to compare.
    """
    total, of_window = int(known.sum()), int(window.sum())
    if not total or not of_window:
        return 1.0
    expected = (known + window) * (of_window / (total + of_window))
    rarest = np.argsort(expected, kind="stable")
    reached = np.searchsorted(np.cumsum(expected[rarest]), _FEWEST_EXPECTED) + 1
    small = max(int(reached), int((expected < _FEWEST_EXPECTED).sum()))
    if small >= len(expected):
        return 1.0
    few, others = rarest[:small], rarest[small:]
    first, second = (np.append(counts[others], counts[few].sum()) for counts in (known, window))
    both = first + second
    ratio = math.sqrt(of_window / total)
    statistic = float(((first * ratio - second / ratio) ** 2 / both).sum())
    return chi_squared_tail(statistic, len(both) - 1)


def chi_squared_tail(statistic: float, freedom: int) -> float:
    """Chance that a chi-squared variable exceeds a value.

    Args:
        statistic: ≥ 0.
        freedom: Degrees of freedom, ≥ 1.

    Source: Abramowitz and Stegun 1964, *Handbook of Mathematical Functions*, 26.4.4 and 26.4.5.

    Example:
        >>> round(chi_squared_tail(3.841, 1), 3), round(chi_squared_tail(5.991, 2), 3)
        (0.05, 0.05)
    """
    half = statistic / 2
    if half == 0:
        return 1.0
    start = 0.5 if freedom % 2 else 0.0
    # In logarithms, since single terms may be too large for a float although their product is not.
    terms = [
        math.exp(power * math.log(half) - half - math.lgamma(power + 1))
        for power in np.arange(start, freedom / 2, 1.0)
    ]
    return min(1.0, math.fsum(terms) + (math.erfc(math.sqrt(half)) if freedom % 2 else 0.0))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def limits_and_counts(document: Any, *, wanted: str) -> tuple[Limits, dict[str, Counts]]:
    """Limits and counts as `monitor` writes them.

    Args:
        document: What was read, of any form.
        wanted: What it should be, for the error.

    Raises:
        DataError: it is broken.
    """
    try:
        names = (*OF_SAMPLES, *OF_ANSWERS)
        limits = {name: np.array(document["limits"][name], np.float64) for name in names}
        counts = {name: np.array(document["counts"][name], np.int64) for name in names}
        totals = {int(each.sum()) for each in counts.values()}
        sound = len(totals) == 1 and all(
            limits[name].ndim == 1
            and counts[name].shape == (len(limits[name]) + 1,)
            and bool(np.isfinite(limits[name]).all())
            and bool((np.diff(limits[name]) > 0).all())
            and bool((counts[name] >= 0).all())
            for name in names
        )
    except (KeyError, TypeError, ValueError, OverflowError) as exc:
        raise DataError(wanted, "a broken file", "learn it again") from exc
    if not sound:
        raise DataError(wanted, "a broken file", "learn it again")
    return Limits(limits), counts
