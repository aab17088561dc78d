"""Speech features (MFCCs) in NumPy: what a device sends is what the coordinator trained on.

The networks for spoken digits are trained on librosa's features of clips of 8,000 Hz. This module makes
the same ones (to a thousandth of each coefficient's spread) without librosa, in a few milliseconds, and
scales them to [0, 1]. Left out: other settings than librosa's defaults, and deltas.
"""

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import RangeError, ShapeError
from obfnet.data.resampling import FEATURE_HZ, SPEECH_HZ, reach, resample, resample_as_trained
from obfnet.data.wav import Sound

COEFFICIENTS: Final = 20
FRAMES: Final = 45
WINDOW: Final = 2048
HOP: Final = 512
MEL_BANDS: Final = 128
SEEN_S: Final = ((FRAMES - 1) * HOP + WINDOW // 2) / FEATURE_HZ
"""How much of a sound its features are made of: 1.07 s."""
SMALLEST_POWER: Final = 1e-10
RANGE_DB: Final = 80.0
PREPROCESSING: Final = (
    "speech at 8,000 Hz, resampled to 22,050 Hz; 20 MFCCs as librosa; zero-padded or cut to 45 frames; "
    "(MFCC - LOW) / (HIGH - LOW) clipped to [0, 1], LOW and HIGH of obfnet.data.mfcc, version 1"
)
# Extremes of the padded features of the FSDD training clips (index 5 and up), 5 % wider, whole numbers.
# fmt: off
LOW: Final = (-800., -38., -208., -78., -74., -121., -66., -65., -93., -60.,
              -58., -80., -38., -45., -64., -31., -49., -44., -31., -49.)
HIGH: Final = (39., 330., 111., 116., 116., 42., 67., 60., 29., 56.,
               47., 40., 46., 30., 30., 39., 28., 27., 42., 21.)
# fmt: on

Floats = npt.NDArray[np.float32]


def speech_features(sound: Sound) -> Floats:
    """What a device sends of a spoken word: MFCCs of fixed shape in [0, 1].

    Short sounds are followed by zeros (in MFCC units, as the paper's code pads), of longer ones the first
    45 frames are kept. Only the 1.07 s that these frames see are looked at, so that a long recording
    costs no more than a short one and what comes later changes nothing.

    Args:
        sound: Any rate; 8,000 Hz is what the training clips have.

    Returns:
        `(1, 20, 45)` float32 in [0, 1]. Values beyond `LOW` and `HIGH` are clipped: digital silence is,
        speech is not.

    Raises:
        RangeError: samples that are NaN or infinite.

    Source:
        Shape and padding: the code released with Xu et al. 2019 (arXiv 1912.09859).
        Differs from paper: the scale to [0, 1], so that obfuscated samples have a range to be in.
    """
    made = mfcc(sound.samples, sound.rate_hz, most_frames=FRAMES)
    padded = np.pad(made, ((0, 0), (0, FRAMES - made.shape[1])))
    low, span = _scale()
    return np.asarray(np.clip((padded - low) / span, 0, 1)[np.newaxis], np.float32)


def coefficients(features: Floats) -> Floats:
    """MFCCs from features: the inverse of the scaling in `speech_features`.

    Args:
        features: `(1, 20, 45)` float32 in [0, 1].

    Returns:
        `(20, 45)` float32, in MFCC units.

    Raises:
        ShapeError: another shape.
    """
    if features.shape != (1, COEFFICIENTS, FRAMES):
        raise ShapeError("features of shape (1, 20, 45)", str(features.shape), "pass one sample")
    low, span = _scale()
    return np.asarray(features[0] * span + low, np.float32)


def mfcc(samples: npt.NDArray[Any], rate_hz: int, *, most_frames: int | None = None) -> Floats:
    """The mel-frequency cepstral coefficients of a sound, as librosa makes them of the training clips.

    A sound of another rate is brought to 8,000 Hz first, the telephone band of the training clips, and
    only then to 22,050 Hz: a device with a 44.1 or 96 kHz microphone makes the same features.

    Args:
        samples: `(T,)` floats in [-1, 1], T ≥ 1, finite.
        rate_hz: Their rate, 1 to 384,000.
        most_frames: Make no more than the first so many, ≥ 1, and look at no more of the sound than they
            see; the 80 dB below which all is silence then count from the loudest band of these.

    Returns:
        `(20, 1 + S // 512)` float32, S the number of samples at 22,050 Hz; equal to
        `librosa.feature.mfcc(y=librosa.resample(y, orig_sr=8000, target_sr=22050), sr=22050)`.

    Raises:
        ShapeError: no vector, or no samples.
        RangeError: a rate or `most_frames` out of range, or samples that are NaN or infinite.

    Source:
        Davis and Mermelstein 1980 (the coefficients); Slaney's Auditory Toolbox 1998 (the mel scale).

    Example:
        >>> mfcc(np.zeros(8000), 8000).shape
        (20, 44)
    """
    seen = samples
    if most_frames is not None:
        if most_frames < 1:
            raise RangeError(
                "at least 1 frame", str(most_frames), "ask for the frames that the network takes"
            )
        visible = reach((most_frames - 1) * HOP + WINDOW // 2, SPEECH_HZ, FEATURE_HZ)
        seen = samples[: visible if rate_hz == SPEECH_HZ else reach(visible, rate_hz, SPEECH_HZ)]
    if not bool(np.isfinite(seen).all()):
        raise RangeError("finite samples", "NaN or infinity", "record the sound again")
    sound = resample_as_trained(resample(seen, rate_hz, SPEECH_HZ))
    padded = np.pad(sound, WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:most_frames] * hann_window()
    spectrum = np.fft.rfft(frames)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    bands_db = 10 * np.log10(np.maximum(np.float32(SMALLEST_POWER), mel_bands() @ power.T))
    # What lies more than 80 dB below the loudest band of the whole sound is silence.
    return np.asarray(cosines() @ np.maximum(bands_db, bands_db.max() - np.float32(RANGE_DB)), np.float32)


@lru_cache(maxsize=1)
def _scale() -> tuple[Floats, Floats]:
    low, high = (np.array(limits, np.float32)[:, np.newaxis] for limits in (LOW, HIGH))
    return low, high - low


@lru_cache(maxsize=1)
def hann_window() -> Floats:
    """The periodic Hann window, `(2048,)` float32."""
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW), np.float32)


@lru_cache(maxsize=1)
def mel_bands() -> Floats:
    """Slaney's mel filters, `(128, 1025)` float32: triangles of unit area over 0 to 11,025 Hz.

    The scale is linear below 1,000 Hz (200/3 Hz a mel) and logarithmic above (27 mels for a factor 6.4).
    """
    step_hz, corner_hz, growth = 200 / 3, 1000.0, np.log(6.4) / 27
    corner = corner_hz / step_hz
    highest = corner + np.log(FEATURE_HZ / 2 / corner_hz) / growth
    mels = np.linspace(0, highest, MEL_BANDS + 2)
    edges_hz = np.where(mels < corner, mels * step_hz, corner_hz * np.exp(growth * (mels - corner)))
    bins_hz = np.arange(WINDOW // 2 + 1) * FEATURE_HZ / WINDOW
    low, middle, high = (edges_hz[first : first + MEL_BANDS, np.newaxis] for first in range(3))
    rising, falling = (bins_hz - low) / (middle - low), (high - bins_hz) / (high - middle)
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * 2 / (high - low), np.float32)


@lru_cache(maxsize=1)
def cosines() -> Floats:
    """The first rows of the orthonormal DCT-II, `(20, 128)` float32."""
    order = np.arange(COEFFICIENTS)[:, np.newaxis]
    rows = np.cos(np.pi * order * (2 * np.arange(MEL_BANDS) + 1) / (2 * MEL_BANDS)) * np.sqrt(2 / MEL_BANDS)
    rows[0] /= np.sqrt(2)
    return np.asarray(rows, np.float32)
