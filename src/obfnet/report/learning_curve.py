"""Leakage against the number of pairs that an attacker knows, as SVG paths over a logarithmic axis.

The paths have no text in them: the page sets the labels, so that they keep their size on a phone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from obfnet.core.errors import RangeError

_MOST_TICKS: Final = 6


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """A curve, drawn in a box of 100 x 100 with y downwards.

    Args:
        line: SVG path data through the means.
        band: Of the interval around them, closed.
        points: `(x, y)` of every mean, in per cent of the box from its left and its top.
        ticks: `(number of pairs, place in per cent from the left)`.
        levels: `(value, place in per cent from the top)` of the grid lines.
        marks: Name to `(value, place in per cent from the top)` of the lines to compare with.
    """

    line: str
    band: str
    points: tuple[tuple[float, float], ...]
    ticks: tuple[tuple[int, float], ...]
    levels: tuple[tuple[float, float], ...]
    marks: Mapping[str, tuple[float, float]]


def draw_learning_curve(
    points: Sequence[Mapping[str, Any]], marks: Mapping[str, float], *, unit: bool = True
) -> LearningCurve:
    """Draws a score against the number of pairs.

    Args:
        points: At least one; each with `pairs` ≥ 1, `value` and its `interval`, `[low, high]`. Any order.
        marks: Name to a value drawn as a line across (floor, raw control).
        unit: Whether the score is at most 1, as SSIM: the y axis then goes from 0, or from the tenth below
            the smallest value, to 1, and else just over what there is.

    Raises:
        RangeError: no points, or fewer than 1 pair in one.
    """
    if not points or any(point["pairs"] < 1 for point in points):
        raise RangeError("points with at least 1 pair", "none or fewer", "measure the curve from 1 pair on")
    ordered = sorted(points, key=lambda point: float(point["pairs"]))
    values = [value for point in ordered for value in (point["value"], *point["interval"])]
    low, high = _unit_axis(values, marks) if unit else _close_axis([*values, *marks.values()])
    first, last = (math.log10(ordered[end]["pairs"]) for end in (0, -1))

    def across(pairs: float) -> float:
        return 50.0 if first == last else 100 * (math.log10(pairs) - first) / (last - first)

    def down(value: float) -> float:
        return 100 * (high - min(max(value, low), high)) / (high - low)

    places = [(across(point["pairs"]), down(point["value"])) for point in ordered]
    upper = [(across(point["pairs"]), down(point["interval"][1])) for point in ordered]
    lower = [(across(point["pairs"]), down(point["interval"][0])) for point in ordered]
    levels = (
        (0.0, 0.25, 0.5, 0.75, 1.0) if unit else tuple(low + (high - low) * part / 4 for part in range(5))
    )
    return LearningCurve(
        line=_path(places),
        band=_path([*upper, *reversed(lower)]) + "Z",
        points=tuple(places),
        ticks=tuple((pairs, across(pairs)) for pairs in _ticks([int(point["pairs"]) for point in ordered])),
        levels=tuple((level, down(level)) for level in levels),
        marks={name: (value, down(value)) for name, value in marks.items()},
    )


def _unit_axis(values: Sequence[float], marks: Mapping[str, float]) -> tuple[float, float]:
    return min(0.0, math.floor(min([*values, *marks.values()]) * 10) / 10), 1.0


def _close_axis(values: Sequence[float]) -> tuple[float, float]:
    # A tenth of the span on both sides; all the same value lies in the middle.
    margin = (max(values) - min(values)) / 10 or 0.5
    return min(values) - margin, max(values) + margin


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in places)


def _ticks(pairs: list[int]) -> list[int]:
    if len(pairs) <= _MOST_TICKS:
        return pairs
    step = -(-len(pairs) // _MOST_TICKS)
    return [*pairs[:-1:step], pairs[-1]]
