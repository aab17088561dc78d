"""Medians with their spread, the only form in which a timing leaves a benchmark."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def spread(values: Sequence[float], *, digits: int = 4) -> dict[str, Any]:
    """Median, 5th and 95th percentile and number of values.

    Args:
        values: At least one, of any unit.
        digits: Significant digits to keep.

    Example:
        >>> spread([1.0, 2.0, 4.0])
        {'median': 2.0, 'p05': 1.1, 'p95': 3.8, 'n': 3}
    """
    low, middle, high = np.percentile(np.asarray(values, dtype=float), [5, 50, 95])
    return {
        "median": _round(middle, digits),
        "p05": _round(low, digits),
        "p95": _round(high, digits),
        "n": len(values),
    }


def in_turn(calls: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Makes each call once a round, so that a drift of the machine's speed falls on all of them.

    Args:
        calls: Name to a function that returns what it measured.
        rounds: How many rounds, ≥ 1.
    """
    measured: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            measured[name].append(call())
    return measured


def _round(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")
