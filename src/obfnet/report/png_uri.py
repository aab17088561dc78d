"""Samples as PNG images inside the page: `data:` URIs, so that a report is one file.

Only grey and colour samples are pictures; a spectrogram is grey. Nothing is scaled here: the page
shows pixels as pixels.
"""

import base64
from io import BytesIO

import numpy as np
import numpy.typing as npt
import png

from obfnet.core.errors import ShapeError


def png_data_uri(sample: npt.NDArray[np.float32]) -> str:
    """One sample as a PNG in a `data:` URI.

    Args:
        sample: `(C, H, W)` float32 in [0, 1], C 1 (grey) or 3 (red, green, blue); values outside are clipped.

    Returns:
        `data:image/png;base64,...`, 8 bits a channel.

    Raises:
        ShapeError: the sample is no picture.
    """
    if sample.ndim != 3 or sample.shape[0] not in (1, 3) or 0 in sample.shape:
        raise ShapeError("a picture of shape (1, H, W) or (3, H, W)", str(sample.shape), "pass one sample")
    channels, height, width = sample.shape
    levels = np.rint(np.clip(np.nan_to_num(sample), 0, 1) * 255).astype(np.uint8)
    rows = levels.transpose(1, 2, 0).reshape(height, width * channels)
    buffer = BytesIO()
    png.Writer(width=width, height=height, greyscale=channels == 1, bitdepth=8, compression=9).write(
        buffer, rows
    )
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
