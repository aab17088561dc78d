"""Any sample as a picture: what is audited may be a vector, a feature map or speech, not only a photograph.

Pictures pass as they are; the rest is folded or laid side by side, so that a reader sees how alike two
samples are, and not what they mean. Left out: colours for values, which would add contrast that is not there.
"""

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import ShapeError
from obfnet.core.spec import as_unit
from obfnet.data.mfcc import COEFFICIENTS, RANGE_DB, coefficients, cosines
from obfnet.report.sound import PADDING_RMS

LONGEST_SIDE: Final = 160
# Beyond this ratio of its sides a picture is a line, and is folded like a vector.
_THINNEST: Final = 8

Floats = npt.NDArray[np.float32]


def any_picture(sample: npt.NDArray[Any]) -> Floats:
    """One sample of any shape as a grey or colour picture of at most 160 pixels a side.

    `(1, H, W)` and `(3, H, W)` stay what they are, `(H, W)` gets its channel axis, other channels are laid
    side by side, and everything else (vectors, thin strips) is folded row by row into a near-square, black
    where values run out. Larger pictures are thinned out: every k-th pixel is kept.

    Args:
        sample: Float in [0, 1] or uint8, at least one value.

    Returns:
        `(C, H, W)` float32, C 1 or 3.

    Raises:
        ShapeError: no value.

    Example:
        >>> any_picture(np.zeros(10, np.float32)).shape, any_picture(np.zeros((2, 4, 4), np.uint8)).shape
        ((1, 3, 4), (1, 4, 8))
    """
    if sample.size == 0:
        raise ShapeError("a sample with at least one value", str(sample.shape), "pass one sample")
    picture = as_unit(sample)
    if picture.ndim == 2:
        picture = picture[np.newaxis]
    if picture.ndim == 3 and picture.shape[0] not in (1, 3):
        picture = np.concatenate(list(picture), axis=1)[np.newaxis]
    if picture.ndim != 3 or max(picture.shape[1:]) > _THINNEST * min(picture.shape[1:]):
        picture = _folded(picture.reshape(-1))
    step = -(-max(picture.shape[1:]) // LONGEST_SIDE)
    return picture[:, ::step, ::step]


def spectrogram_picture(mfcc: npt.NDArray[Any]) -> Floats:
    """The mel spectrogram that MFCCs describe, low tones at the bottom, white the loudest.

    Args:
        mfcc: `(20, T)` floats in MFCC units, T ≥ 1 (`data.mfcc.coefficients` gives them from features).

    Returns:
        `(1, 64, T)` float32 in [0, 1]; 0 is 80 dB or more below the loudest band.

    Raises:
        ShapeError: another shape.
    """
    if mfcc.ndim != 2 or mfcc.shape[0] != COEFFICIENTS or mfcc.shape[1] == 0:
        raise ShapeError(f"MFCCs of shape ({COEFFICIENTS}, T)", str(mfcc.shape), "pass one sample's")
    known = np.nan_to_num(mfcc.astype(np.float64))
    bands_db = cosines().T.astype(np.float64) @ known
    # Frames near zero at the end are padding: silence, and not the loudness of 0 dB that zero stands for.
    speech = np.flatnonzero(np.sqrt(np.mean(np.square(known), axis=0)) > PADDING_RMS)
    bands_db[:, speech[-1] + 1 if speech.size else 0 :] = -np.inf
    loudest = bands_db.max()
    shade = np.zeros_like(bands_db) if np.isneginf(loudest) else 1 + (bands_db - loudest) / RANGE_DB
    return np.asarray(np.clip(shade, 0, 1)[::-2][np.newaxis], np.float32)


def speech_picture(features: Floats) -> Floats:
    """The mel spectrogram of speech features, as `spectrogram_picture` shows it.

    Args:
        features: `(1, 20, 45)` float32 in [0, 1].

    Raises:
        ShapeError: another shape.
    """
    return spectrogram_picture(coefficients(features))


def _folded(values: Floats) -> Floats:
    width = math.ceil(math.sqrt(len(values)))
    height = -(-len(values) // width)
    return np.pad(values, (0, width * height - len(values))).reshape(1, height, width)
