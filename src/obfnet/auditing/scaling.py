"""Brings what an obfuscator puts out into [0, 1], where every attack expects what it receives.

Somebody else's obfuscator may put out anything: codes, features, sums. The map is affine and so takes nothing
away, except where a few values are so far off that they would press all others into one; those are clipped.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from obfnet.core.spec import Samples

Floats = npt.NDArray[np.float64]
LARGEST: Final = 1e30
"""Beyond it a value counts as infinite."""

ROUNDING: Final = 1e-6
"""So much outside [0, 1] counts as inside."""

# A range this much wider than its middle 90 % is due to stray values.
_STRAY: Final = 1000.0
_KEPT_AROUND: Final = 10.0
# Ranges of different values that differ by more are not brought to one.
_UNEVEN: Final = 300.0
_LOW_SPAN: Final = 0.02
# A range below this share of [0, 1] is spread out.
_NARROW: Final = 0.25


@final
class Extent:
    """The lowest and highest of each value of a sample, gathered batch by batch.

    Args:
        shape: Of one sample.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.low, self.high = np.full(shape, np.inf), np.full(shape, -np.inf)
        self.finite = self.whole = True

    def add(self, samples: Samples) -> None:
        """Takes `(M, *shape)` samples, M ≥ 1, numbers of any dtype, into account."""
        low, high = samples.min(axis=0).astype(np.float64), samples.max(axis=0).astype(np.float64)
        # NaN makes the comparison false.
        self.finite &= bool((np.maximum(np.abs(low), np.abs(high)) <= LARGEST).all())
        np.minimum(self.low, low, out=self.low)
        np.maximum(self.high, high, out=self.high)
        if samples.dtype.kind == "f" and self.whole and self.finite:
            self.whole = bool((samples == np.floor(samples)).all())

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest of all values."""
        return float(self.low.min()), float(self.high.max())


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Scaling:
    """An affine map into [0, 1].

    Args:
        low: What becomes 0; one number, or one for each value of a sample.
        span: What becomes 1 is `low + span`; > 0.
        says: What was done, for the reader of the report; empty where nothing was.
    """

    low: Floats
    span: Floats
    says: str = ""

    def __call__(self, samples: Samples) -> npt.NDArray[np.float32]:
        """`(M, ...)` numbers to float32 in [0, 1], with the precision of float64 on the way."""
        if self.low.ndim == 0 and self.low == 0:
            # Nothing is lost, and the same samples come out as `as_unit` gives.
            return (samples.astype(np.float32) / np.float32(self.span)).clip(0, 1)
        unit: npt.NDArray[np.float32] = ((samples - self.low) / self.span).clip(0, 1).astype(np.float32)
        return unit


def fit_scaling(extent: Extent, some: Samples) -> Scaling:
    """How to bring obfuscated samples into [0, 1].

    Args:
        extent: Of all of them, finite.
        some: A few hundred of them, `(M, *shape)`, to see where most values lie.

    Returns:
        Floats in [0, 1] that use a good part of it, and uint8 that do so, are taken as they are. All else is
        shifted and scaled as a whole; value by value where the ranges of values differ widely.
    """
    low, high = extent.ends
    kind = some.dtype
    if kind == np.uint8 and high >= 255 * (1 - _NARROW):
        return _plain(255.0)
    in_unit = kind.kind in "fb" and low >= -ROUNDING and high <= 1 + ROUNDING
    if low == high:
        # A constant stays one; in the middle, unless it is in [0, 1] by itself.
        return _plain(1.0) if in_unit else Scaling(low=np.asarray(low - 0.5), span=np.asarray(1.0))
    if in_unit and high - low >= _NARROW:
        return _plain(1.0)
    bottom, top = np.quantile(some.astype(np.float64), [0.05, 0.95], axis=0)
    middle = top - bottom
    stray = (middle > 0) & (extent.high - extent.low > _STRAY * middle)
    lows = np.where(stray, np.maximum(extent.low, bottom - _KEPT_AROUND * middle), extent.low)
    highs = np.where(stray, np.minimum(extent.high, top + _KEPT_AROUND * middle), extent.high)
    spans = highs - lows
    varying = spans > 0
    uneven = bool(varying.any()) and spans.max() > _UNEVEN * np.quantile(spans[varying], _LOW_SPAN)
    if uneven:
        # A value that never varies stays at 0, whatever it is divided by.
        scaling = (lows, np.where(varying, spans, 1.0))
    else:
        scaling = (np.asarray(lows.min()), np.asarray(highs.max() - lows.min()))
    says = "obfuscated values were shifted and scaled to [0, 1]"
    says += ", each of a sample's values by its own range" if uneven else ""
    says += "; stray values far off were clipped" if stray.any() else ""
    return Scaling(low=scaling[0], span=scaling[1], says=says)


def _plain(divisor: float) -> Scaling:
    return Scaling(low=np.asarray(0.0), span=np.asarray(divisor))
