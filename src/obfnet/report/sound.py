"""Sounds inside the page, and the sound that a listener can rebuild from speech features.

A report is one file, so that clips are `data:` URIs. MFCCs have neither pitch detail nor phase: what is
rebuilt from raw ones is the ceiling for whoever listens to reconstructed ones. Left out: neural vocoders,
which would guess a voice that is not in the data.
"""

import base64
import wave
from functools import lru_cache
from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import RangeError, ShapeError
from obfnet.data.mfcc import COEFFICIENTS, HOP, WINDOW, cosines, hann_window, mel_bands
from obfnet.data.resampling import FEATURE_HZ, HIGHEST_RATE_HZ

ITERATIONS: Final = 32
MOMENTUM: Final = 0.99
SEED: Final = 1984
PEAK: Final = 0.9
# Padding is zero in MFCC units; the quietest frames of speech are further from it, the loudest too.
PADDING_RMS: Final = 20.0

_RANGE_DB: Final = 100.0

Floats = npt.NDArray[np.float32]


def sound_data_uri(samples: npt.NDArray[Any], rate_hz: int) -> str:
    """A mono sound as a 16-bit WAV file in a `data:` URI.

    Args:
        samples: `(T,)` floats in [-1, 1], T ≥ 1; values outside are clipped, NaN is silent.
        rate_hz: Their rate, 1 to 384,000.

    Returns:
        `data:audio/wav;base64,...`; the same sound always gives the same text.

    Raises:
        ShapeError: no vector, or no samples.
        RangeError: a rate out of range.
    """
    if samples.ndim != 1 or samples.size == 0:
        raise ShapeError("a sound of shape (T,), T at least 1", str(samples.shape), "pass one mono sound")
    if not 1 <= rate_hz <= HIGHEST_RATE_HZ:
        raise RangeError(f"a rate of 1 to {HIGHEST_RATE_HZ} Hz", f"{rate_hz} Hz", "give the sound's rate")
    levels = np.rint(np.clip(np.nan_to_num(samples, nan=0.0), -1, 1) * 32767).astype("<i2")
    buffer = BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(levels.tobytes())
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def sound_from_coefficients(mfcc: npt.NDArray[Any]) -> tuple[Floats, int]:
    """The sound that can be rebuilt from MFCCs: smooth spectrum, estimated phase; the same every time.

    The coefficients that were dropped are taken as zero, every frequency gets the mean of the mel bands
    around it, and the phase is what Griffin and Lim's iteration settles on.

    Args:
        mfcc: `(20, T)` floats in MFCC units, T ≥ 1, finite (`data.mfcc.coefficients` gives them from
            features). Frames at the end that are near zero are padding, and are not sounded.

    Returns:
        `(512 * T' - 256,)` float32 of which the loudest is 0.9, T' the frames without padding (at least one;
        all zero where there is nothing but padding), and the rate, 22,050 Hz.

    Raises:
        ShapeError: another shape.
        RangeError: NaN or infinite coefficients.

    Source:
        Griffin and Lim 1984, Signal Estimation from Modified Short-Time Fourier Transform; its momentum:
        Perraudin, Balazs and Søndergaard 2013.
    """
    if mfcc.ndim != 2 or mfcc.shape[0] != COEFFICIENTS or mfcc.shape[1] == 0:
        raise ShapeError(f"MFCCs of shape ({COEFFICIENTS}, T)", str(mfcc.shape), "pass one sample's")
    if not bool(np.isfinite(mfcc).all()):
        raise RangeError("finite MFCCs", "NaN or infinity", "clean the samples first")
    speech = np.flatnonzero(np.sqrt(np.mean(np.square(mfcc, dtype=np.float64), axis=0)) > PADDING_RMS)
    if speech.size == 0:
        return np.zeros(HOP // 2, np.float32), FEATURE_HZ
    bands_db = cosines().T.astype(np.float64) @ mfcc[:, : speech[-1] + 1]
    # Levels are relative, since the peak is set below: an attacker's wild guess cannot overflow.
    power = 10 ** (np.maximum(bands_db - bands_db.max(), -_RANGE_DB) / 10)
    sound = _griffin_lim(np.sqrt(_spread(power)).T)
    return np.asarray(sound * (PEAK / max(np.abs(sound).max(), 1e-12)), np.float32), FEATURE_HZ


def _spread(bands: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Power of the `(1025, T)` frequencies under `(128, T)` mel bands: the mean of those around each.

    Measured on the training clips, non-negative least squares instead brings the rebuilt sound's MFCCs
    no closer to the given ones.
    """
    filters = mel_bands().astype(np.float64)
    weights = filters.T / np.maximum(filters.sum(axis=0), 1e-12)[:, np.newaxis]
    return np.asarray(weights @ (bands / filters.sum(axis=1)[:, np.newaxis]))


def _griffin_lim(magnitudes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A sound with nearly these `(T, 1025)` magnitudes."""
    phase = np.random.default_rng(SEED).uniform(0, 2 * np.pi, magnitudes.shape)
    spectrum, former = magnitudes * np.exp(1j * phase), np.zeros(magnitudes.shape, np.complex128)
    for _ in range(ITERATIONS):
        consistent = _frames_of(_sound_of(spectrum))
        ahead = consistent + MOMENTUM * (consistent - former)
        spectrum, former = magnitudes * ahead / np.maximum(np.abs(ahead), 1e-12), consistent
    return _sound_of(spectrum)


def _frames_of(sound: npt.NDArray[np.float64]) -> npt.NDArray[np.complex128]:
    padded = np.pad(sound, WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    return np.fft.rfft(frames * hann_window())


def _sound_of(spectrum: npt.NDArray[np.complex128]) -> npt.NDArray[np.float64]:
    """The sound closest to these frames: windowed again, added, divided by the windows' energy."""
    count = len(spectrum)
    frames = np.fft.irfft(spectrum, WINDOW) * hann_window()
    total = np.zeros((count + WINDOW // HOP - 1, HOP))
    for part in range(WINDOW // HOP):
        total[part : part + count] += frames[:, part * HOP : (part + 1) * HOP]
    begin = WINDOW // 2
    return (total.reshape(-1) / _energy(count))[begin : begin + HOP * count - HOP // 2]


@lru_cache(maxsize=4)
def _energy(count: int) -> npt.NDArray[np.float64]:
    total = np.zeros((count + WINDOW // HOP - 1, HOP))
    squares = np.square(hann_window(), dtype=np.float64).reshape(-1, HOP)
    for part in range(WINDOW // HOP):
        total[part : part + count] += squares[part]
    return np.maximum(total.reshape(-1), 1e-8)
