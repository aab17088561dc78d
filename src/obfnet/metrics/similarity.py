"""SSIM, mean squared error and PSNR between raw and reconstructed samples.

Vectorised over the batch, since an audit scores tens of thousands of samples; the tests hold every
value against scikit-image's one-image functions.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

from obfnet.core.errors import ShapeError, UsageError

_AT_ONCE: Final = 256
Samples = npt.NDArray[Any]
PerSample = npt.NDArray[np.float64]


def ssim(raw: Samples, reconstructed: Samples, *, peak: float = 1.0, window: int = 7) -> PerSample:
    """Structural similarity of each reconstruction; 1 means the same image.

    Args:
        raw: What the device captured, `(N, C, H, W)` in [0, peak].
        reconstructed: The attacker's guess; same shape and range.
        peak: Largest possible value, > 0.
        window: Side of the square mean window, odd, at most H and W.

    Returns:
        `(N,)` float64 in [-1, 1]; the mean over channels and over the windows that lie inside.

    Raises:
        ShapeError: the shapes differ, are not `(N, C, H, W)`, or are smaller than the window.
        UsageError: the window is even or less than 3.

    Source: Wang et al. 2004, *Image quality assessment: from error visibility to structural similarity*;
        uniform window and sample covariance, as scikit-image's defaults.

    Does not guarantee: a low SSIM says nothing about whether a person or an attribute is recognisable.
    """
    _same_shape(raw, reconstructed)
    if window < 3 or window % 2 == 0:
        raise UsageError("an odd window of at least 3", f"{window}", "use another window")
    if raw.ndim != 4 or min(raw.shape[2:]) < window:
        raise ShapeError(
            f"samples of shape (N, C, H, W), H and W ≥ {window}", str(raw.shape), "use another metric"
        )
    # A few samples at a time: the windowed means take ten times their memory.
    parts = [
        _ssim(raw[start : start + _AT_ONCE], reconstructed[start : start + _AT_ONCE], peak, window)
        for start in range(0, len(raw), _AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _ssim(raw: Samples, reconstructed: Samples, peak: float, window: int) -> PerSample:
    x, y = raw.astype(np.float64), reconstructed.astype(np.float64)
    size = (1, 1, window, window)
    mean_x, mean_y = uniform_filter(x, size), uniform_filter(y, size)
    unbiased = window**2 / (window**2 - 1)
    variance_x = unbiased * (uniform_filter(x * x, size) - mean_x * mean_x)
    variance_y = unbiased * (uniform_filter(y * y, size) - mean_y * mean_y)
    covariance = unbiased * (uniform_filter(x * y, size) - mean_x * mean_y)
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    )
    edge = window // 2
    inside = similarity[:, :, edge : raw.shape[2] - edge, edge : raw.shape[3] - edge]
    per_sample: PerSample = inside.mean(axis=(1, 2, 3))
    return per_sample


def mse(raw: Samples, reconstructed: Samples) -> PerSample:
    """Mean squared error of each reconstruction; 0 means the same.

    Args:
        raw: What the device captured, `(N, ...)`.
        reconstructed: The attacker's guess; same shape.

    Returns:
        `(N,)` float64, ≥ 0, in the square of the samples' unit.

    Raises:
        ShapeError: the shapes differ.
    """
    _same_shape(raw, reconstructed)
    difference = raw.astype(np.float64) - reconstructed
    per_sample: PerSample = (difference**2).reshape(len(raw), -1).mean(axis=1)
    return per_sample


def psnr_db(raw: Samples, reconstructed: Samples, *, peak: float = 1.0) -> PerSample:
    """PSNR of each reconstruction in dB; higher means that more was leaked.

    Args:
        raw: What the device captured, `(N, ...)` in [0, peak].
        reconstructed: The attacker's guess; same shape and range.
        peak: Largest possible value, > 0.

    Returns:
        `(N,)` float64, `inf` where the guess is exact.

    Raises:
        ShapeError: the shapes differ.

    Does not guarantee: low PSNR says nothing about recognisable identity.
    """
    with np.errstate(divide="ignore"):
        return 10 * np.log10(peak**2 / mse(raw, reconstructed))


def _same_shape(raw: Samples, reconstructed: Samples) -> None:
    if raw.shape != reconstructed.shape:
        raise ShapeError(
            f"`reconstructed` of shape {raw.shape}", str(reconstructed.shape), "reshape the guess"
        )
