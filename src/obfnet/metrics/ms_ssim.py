"""Structural similarity over several scales: how alike two pictures are, fine and coarse at once.

SSIM looks through one small window; a guess that has the right large shapes and the wrong details scores low
there. Small samples have room for few scales, so the published weights are cut to those that fit.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from obfnet.core.errors import ShapeError

_AT_ONCE: Final = 128
_SIGMA: Final = 1.5
_RADIUS: Final = 5
_WINDOW: Final = 2 * _RADIUS + 1
# Of the publication, from the finest scale to the coarsest.
_WEIGHTS: Final = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
Samples = npt.NDArray[Any]
PerSample = npt.NDArray[np.float64]


def scales(height: int, width: int) -> int:
    """How many scales a sample has room for: at each, its shorter side holds the window of 11.

    Args:
        height: Of a sample, in values.
        width: Of a sample, in values.

    Returns:
        0 to 5; 0 where the sample is smaller than the window.

    Example:
        >>> scales(28, 28), scales(20, 45), scales(64, 64), scales(8, 8), scales(500, 300)
        (2, 1, 3, 0, 5)
    """
    side, count = min(height, width), 0
    while side >= _WINDOW and count < len(_WEIGHTS):
        side, count = side // 2, count + 1
    return count


def ms_ssim(raw: Samples, reconstructed: Samples, *, peak: float = 1.0) -> PerSample:
    """Multi-scale structural similarity of each reconstruction; 1 means the same image.

    Args:
        raw: What the device captured, `(N, C, H, W)` in [0, peak], H and W at least 11.
        reconstructed: The attacker's guess; same shape and range.
        peak: Largest possible value, > 0.

    Returns:
        `(N,)` float64 in [0, 1]; the mean over channels.

    Raises:
        ShapeError: the shapes differ, are not `(N, C, H, W)`, or are smaller than the window.

    Source: Wang, Simoncelli and Bovik 2003, *Multiscale structural similarity for image quality assessment*:
        a Gaussian window of 11 with a spread of 1.5, contrast and structure at every scale, luminance at
        the coarsest.
    Differs from paper: as many scales as fit (`scales`), their weights brought to a sum of 1; the last row or
        column of an odd size is left out when a scale is halved; a negative mean (an inverted picture), which
        has no fractional power, counts as 0.

    Does not guarantee: a low value says nothing about whether a person or an attribute is recognisable.
    """
    if raw.shape != reconstructed.shape:
        raise ShapeError(
            f"`reconstructed` of shape {raw.shape}", str(reconstructed.shape), "reshape the guess"
        )
    if raw.ndim != 4 or min(raw.shape[2:]) < _WINDOW:
        raise ShapeError(
            f"samples of shape (N, C, H, W), H and W ≥ {_WINDOW}", str(raw.shape), "use ssim or mse"
        )
    parts = [
        _ms_ssim(raw[start : start + _AT_ONCE], reconstructed[start : start + _AT_ONCE], peak)
        for start in range(0, len(raw), _AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _ms_ssim(raw: Samples, reconstructed: Samples, peak: float) -> PerSample:
    x, y = raw.astype(np.float64), reconstructed.astype(np.float64)
    count = scales(*raw.shape[2:])
    weights = np.array(_WEIGHTS[:count]) / sum(_WEIGHTS[:count])
    product = np.ones(raw.shape[:2])
    for scale, weight in enumerate(weights):
        if scale > 0:
            x, y = _halved(x), _halved(y)
        luminance, structure = _terms(x, y, peak)
        mean = (luminance * structure if scale == count - 1 else structure).mean(axis=(2, 3))
        product *= np.maximum(mean, 0) ** weight
    per_sample: PerSample = product.mean(axis=1)
    return per_sample


def _terms(x: Samples, y: Samples, peak: float) -> tuple[Samples, Samples]:
    mean_x, mean_y = _windowed(x), _windowed(y)
    variances = _windowed(x * x) - mean_x**2 + _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance, (2 * covariance + c2) / (variances + c2)


def _windowed(values: Samples) -> Samples:
    smooth = gaussian_filter(values, (0, 0, _SIGMA, _SIGMA), radius=(0, 0, _RADIUS, _RADIUS))
    # Only windows that lie inside: what comes beyond the edge is nobody's sample.
    inside: Samples = smooth[:, :, _RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
    return inside


def _halved(values: Samples) -> Samples:
    count, channels, height, width = values.shape
    even = values[:, :, : height // 2 * 2, : width // 2 * 2]
    halved: Samples = even.reshape(count, channels, height // 2, 2, width // 2, 2).mean(axis=(3, 5))
    return halved
