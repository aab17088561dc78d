"""A histogram of one score a sample as an SVG path, one panel for each series over a common axis.

The path has no text in it: the page sets the labels, so that they keep their size on a phone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import ShapeError

_BINS = 50


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One series, drawn.

    Args:
        name: Key of the series.
        path: SVG path data in a box of 100 x 100, y downwards; its tallest bar fills the height.
        mean: Of the scores.
        mean_at: Where the mean lies on the x axis, in per cent.
        median: Of the scores.
        samples: Number of scores.
        tallest: Share of the samples in the fullest bin, in [0, 1].
    """

    name: str
    path: str
    mean: float
    mean_at: float
    median: float
    samples: int
    tallest: float


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Panels over one axis.

    Args:
        panels: In the order of the series.
        low: Left end of the axis.
        high: Right end.
        ticks: `(value, place in per cent)` of the axis labels.
        bin_width: In units of the score.
    """

    panels: tuple[Panel, ...]
    low: float
    high: float
    ticks: tuple[tuple[float, float], ...]
    bin_width: float


def draw_histogram(series: Mapping[str, npt.NDArray[np.float64]]) -> Histogram:
    """Bins every series over the same axis and draws it.

    Args:
        series: Name to scores, each `(N,)` with N ≥ 1, finite, at most 1 (as SSIM).

    Returns:
        The panels; the axis goes from 0, or from the tenth below the smallest score, to 1.

    Raises:
        ShapeError: there is no series, or one is empty.
    """
    if not series or any(np.ndim(scores) != 1 or len(scores) == 0 for scores in series.values()):
        raise ShapeError("at least one score in every series, of shape (N,)", "none", "pass a score a sample")
    smallest = min(float(scores.min()) for scores in series.values())
    low, high = min(0.0, np.floor(smallest * 10) / 10), 1.0
    span = high - low
    edges = np.linspace(low, high, _BINS + 1)
    panels = []
    for name, scores in series.items():
        shares = np.histogram(np.clip(scores, low, high), bins=edges)[0] / len(scores)
        mean = float(scores.mean())
        panels.append(
            Panel(
                name=name,
                path=_steps(shares / shares.max()),
                mean=mean,
                mean_at=100 * (mean - low) / span,
                median=float(np.median(scores)),
                samples=len(scores),
                tallest=float(shares.max()),
            )
        )
    marks = np.arange(np.ceil(low * 4) / 4, high + 1e-9, 0.25 if span <= 1.25 else 0.5)
    ticks = tuple((float(mark), float(100 * (mark - low) / span)) for mark in marks)
    return Histogram(panels=tuple(panels), low=low, high=high, ticks=ticks, bin_width=span / _BINS)


def _steps(heights: Sequence[float] | npt.NDArray[np.float64]) -> str:
    width = 100 / len(heights)
    parts = ["M0 100"]
    for place, height in enumerate(heights):
        parts.append(f"V{100 - 100 * height:.2f}H{width * (place + 1):.2f}")
    return "".join(parts) + "V100Z"
