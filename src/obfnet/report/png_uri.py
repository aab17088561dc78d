"""Samples as PNG images inside the page: `data:` URIs, so that a report is one file.

Only grey and colour samples are pictures; a spectrogram is grey. Nothing is scaled here: the page
shows pixels as pixels.
"""

import base64

import numpy as np
import numpy.typing as npt

from obfnet.data.export import png_bytes


def png_data_uri(sample: npt.NDArray[np.float32]) -> str:
    """One sample as a PNG in a `data:` URI.

    Args:
        sample: As `png_bytes` takes it.

    Returns:
        `data:image/png;base64,...`, 8 bits a channel.

    Raises:
        ShapeError: the sample is no picture.
    """
    return "data:image/png;base64," + base64.b64encode(png_bytes(sample)).decode("ascii")
