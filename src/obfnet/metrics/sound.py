"""How alike two spoken words are, from their MFCCs: distances in dB that need no label and no listener.

SSIM of an MFCC matrix weighs a coefficient by its place in the picture; these weigh it by the spectrum that
it stands for. Phase is in no MFCC, so nothing here says how a resynthesis would sound.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import ShapeError

_AT_ONCE: Final = 1024
Samples = npt.NDArray[Any]
PerSample = npt.NDArray[np.float64]


def mel_cepstral_distortion_db(
    raw: Samples,
    reconstructed: Samples,
    *,
    low: Sequence[float],
    high: Sequence[float],
    bands: int,
) -> PerSample:
    """Mel-cepstral distortion of each guess in dB; 0 means the same spectral shape in every frame.

    The usual formula is 10 / ln 10 * sqrt(2 * sum over d ≥ 1 of (c_d - c'_d)^2) for cepstra c of the natural
    logarithm of power, ln P(w) = c_0 + 2 * sum of c_d cos(d w). Our coefficients m_d are those of an
    orthonormal DCT of the power of B mel bands in dB, so that c_d = ln 10 / 10 * m_d / sqrt(2 * B). Put in,
    the constant goes away: sqrt(sum over d ≥ 1 of (m_d - m'_d)^2 / B). That is the root mean square over the
    bands of the difference in dB, loudness left out.

    Args:
        raw: MFCCs scaled to [0, 1], `(N, 1, D, T)`: D coefficients from the 0th on, T frames.
        reconstructed: The attacker's guess; same shape and range.
        low: The coefficient that 0 stands for, D values (`obfnet.data.mfcc.LOW`).
        high: The coefficient that 1 stands for, D values (`obfnet.data.mfcc.HIGH`).
        bands: How many mel bands the coefficients were made of, ≥ D (`obfnet.data.mfcc.MEL_BANDS`).

    Returns:
        `(N,)` float64, ≥ 0, in dB; the mean over frames, those of padding included.

    Raises:
        ShapeError: the shapes differ, are not `(N, 1, D, T)`, or do not fit `low`, `high` and `bands`.

    Source: Kubichek 1993, *Mel-cepstral distance measure for objective speech quality assessment*.
    Differs from paper: mel bands and a DCT in place of mel-generalised cepstra; no frames are aligned.

    Does not guarantee: a large distance says nothing about whether the speaker is recognisable.
    """
    return _distance_db(raw, reconstructed, low, high, bands, first=1)


def log_spectral_distance_db(
    raw: Samples,
    reconstructed: Samples,
    *,
    low: Sequence[float],
    high: Sequence[float],
    bands: int,
) -> PerSample:
    """Log-spectral distance of each guess in dB: how far its mel bands are off, loudness included.

    The root mean square over the mel bands that the inverse DCT gives back from the coefficients; finer
    detail, which the coefficients left out, stays out. An orthonormal DCT keeps sums of squares, so it need
    not be computed: the figure is `mel_cepstral_distortion_db` with the 0th coefficient.

    Args:
        raw: MFCCs scaled to [0, 1], `(N, 1, D, T)`: D coefficients from the 0th on, T frames.
        reconstructed: The attacker's guess; same shape and range.
        low: The coefficient that 0 stands for, D values (`obfnet.data.mfcc.LOW`).
        high: The coefficient that 1 stands for, D values (`obfnet.data.mfcc.HIGH`).
        bands: How many mel bands the coefficients were made of, ≥ D (`obfnet.data.mfcc.MEL_BANDS`).

    Returns:
        `(N,)` float64, ≥ 0, in dB; the mean over frames, those of padding included.

    Raises:
        ShapeError: the shapes differ, are not `(N, 1, D, T)`, or do not fit `low`, `high` and `bands`.

    Source: Gray and Markel 1976, *Distance measures for speech processing* (the root mean square of
        log spectra).
    Differs from paper: over mel bands, not over all frequencies.

    Does not guarantee: a large distance says nothing about whether the speaker is recognisable.
    """
    return _distance_db(raw, reconstructed, low, high, bands, first=0)


def _distance_db(
    raw: Samples,
    reconstructed: Samples,
    low: Sequence[float],
    high: Sequence[float],
    bands: int,
    first: int,
) -> PerSample:
    if raw.shape != reconstructed.shape:
        raise ShapeError(
            f"`reconstructed` of shape {raw.shape}", str(reconstructed.shape), "reshape the guess"
        )
    if raw.ndim != 4 or raw.shape[1] != 1:
        raise ShapeError("MFCCs of shape (N, 1, D, T)", str(raw.shape), "use mse")
    if not len(low) == len(high) == raw.shape[2] <= bands:
        raise ShapeError(
            f"a low and a high limit for each of {raw.shape[2]} coefficients, and as many bands",
            f"{len(low)}, {len(high)} and {bands}",
            "take those that the samples were made with",
        )
    span = (np.asarray(high, np.float64) - np.asarray(low, np.float64))[first:, np.newaxis]
    parts = []
    for start in range(0, len(raw), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        # The lower limits cancel out.
        difference = (raw[rows, 0, first:].astype(np.float64) - reconstructed[rows, 0, first:]) * span
        parts.append(np.sqrt((difference**2).sum(axis=1) / bands).mean(axis=1))
    return np.concatenate(parts) if parts else np.empty(0)
