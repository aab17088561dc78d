import base64
from io import BytesIO

import numpy as np
import png
import pytest

from obfnet.core.errors import ShapeError
from obfnet.report.png_uri import png_data_uri

PREFIX = "data:image/png;base64,"


def read(uri: str) -> np.ndarray:
    assert uri.startswith(PREFIX)
    width, height, rows, facts = png.Reader(
        file=BytesIO(base64.b64decode(uri.removeprefix(PREFIX)))
    ).asDirect()
    levels = np.vstack([np.frombuffer(bytes(row), np.uint8) for row in rows])
    return levels.reshape(height, width, facts["planes"]).transpose(2, 0, 1)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 20, 45), (3, 1, 1)])
def test_png_holds_the_sample(shape: tuple[int, int, int]) -> None:
    levels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(read(png_data_uri(levels.astype(np.float32) / np.float32(255))), levels)


def test_values_outside_are_clipped() -> None:
    sample = np.array([[[-0.5, 0.0, 1.0, 7.0, np.nan, np.inf]]], dtype=np.float32)
    assert read(png_data_uri(sample)).tolist() == [[[0, 0, 255, 255, 0, 255]]]


@pytest.mark.parametrize("shape", [(28, 28), (2, 8, 8), (1, 1, 8, 8), (1, 0, 8)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="a picture of shape"):
        png_data_uri(np.zeros(shape, dtype=np.float32))
