"""Decodes a picture file of a user's own into uint8 pixels of the wanted size and channels, and back.

Picture files are foreign input: whatever is wrong with one comes out as one `DataError` that names the
file, and its size is bounded before a pixel is decoded. Pillow does the decoding and is imported on
first use; colour profiles, further frames and moving pictures are left out.
"""

import io
import math
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import DataError, MissingExtraError, UsageError
from obfnet.core.spec import InputSpec

if TYPE_CHECKING:
    from PIL.Image import Image, Transpose

Box = tuple[float, float, float, float]
MAX_PIXELS: Final = 64_000_000
# No format is tried that starts another program or holds a drawing instead of pixels.
FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
RESIZED_PREPROCESSING: Final = "resized to"
"""What a spec says whose samples are pictures brought to its size."""
_MODES: Final = {1: "L", 3: "RGB"}
_ORIENTATION_TAG: Final = 0x0112
_ORIENTED_BY: Final = frozenset({"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"})
_SIDEWAYS: Final = frozenset({5, 6, 7, 8})
# How much finer than the target a picture reduced in whole steps stays, so that the filter does the rest.
_REDUCING_GAP: Final = 3
# The warnings' filters belong to the process, so that one thread at a time may set them.
_WARNINGS_LOCK: Final = threading.Lock()
_REMEDY: Final = "save it again as JPEG or PNG, or leave it out (--skip-bad)"


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A decoded picture.

    Args:
        pixels: `(C, H, W)` uint8, C-contiguous.
        original_size: Height and width in pixels as stored, the right way up.
    """

    pixels: npt.NDArray[np.uint8]
    original_size: tuple[int, int]

    @property
    def resized(self) -> bool:
        """Whether the pixels are of another size than the file's."""
        return self.pixels.shape[1:] != self.original_size


def decode_picture(data: bytes, *, name: str, channels: int, size: tuple[int, int] | None) -> Picture:
    """The pixels of one picture file: JPEG, PNG, WebP, BMP or GIF.

    The first frame is taken, turned as its EXIF orientation says, and laid over white where it is
    transparent. 16-bit values keep their high byte. CMYK becomes RGB without its colour profile; grey
    is 0.299 R + 0.587 G + 0.114 B. Where the aspect ratio differs from the target's, the largest
    centred part of the target's aspect is taken; it is then resampled with a Lanczos filter as wide as
    the reduction (antialiased). A large JPEG is decoded at a fraction of its size, at least 3 times the
    target's.

    Args:
        data: The whole file.
        name: What to call the file in a message.
        channels: 1 (grey) or 3 (RGB).
        size: Height and width in pixels of the result, ≥ 1; None keeps the picture's own.

    Returns:
        The pixels, `(channels, *size)` uint8 in [0, 255], and the size before resizing. Two threads
        may call it, but take turns.

    Raises:
        UsageError: other `channels`, or a size below 1.
        DataError: no such picture, cut short, damaged, or of more than 64 megapixels.
        MissingExtraError: Pillow is not installed.

    Example:
        >>> from PIL import Image
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (40, 20), "red").save(file, "PNG")
        >>> picture = decode_picture(file.getvalue(), name="red.png", channels=3, size=(8, 8))
        >>> picture.pixels.shape, picture.pixels[:, 0, 0].tolist(), picture.original_size
        ((3, 8, 8), [255, 0, 0], (20, 40))
    """
    if channels not in _MODES or (size is not None and min(size) < 1):
        raise UsageError("1 or 3 channels and a size of at least 1x1", f"{channels}, {size}", "correct it")
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as exc:
        raise MissingExtraError("PIL", "pictures") from exc

    with _WARNINGS_LOCK, warnings.catch_warnings():
        # What Pillow only warns of (odd metadata, large sizes) is no matter here or refused below.
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_size(image.size, name)
                return _decoded(image, _MODES[channels], size)
        except Image.DecompressionBombError as exc:
            raise _too_large("far more by its header", name) from exc
        except UnidentifiedImageError as exc:
            raise DataError(
                f"a picture in {name!r} ({', '.join(FORMATS)})", "something else", _REMEDY
            ) from exc
        except DataError:
            raise
        # Damaged files make Pillow's readers raise about every kind of error there is.
        except Exception as exc:
            raise DataError(f"a whole, sound picture in {name!r}", _reason(exc), _REMEDY) from exc


def jpeg_bytes(sample: npt.NDArray[Any], *, quality: int = 75) -> bytes:
    """The JPEG file of one sample: what a device without obfuscation would rather send.

    Args:
        sample: `(C, H, W)`, C of 1 or 3: uint8, or float32 in [0, 1].
        quality: 1 to 95; 75 is what most programs take if nothing is said.

    Returns:
        The whole file.

    Raises:
        UsageError: the sample is no picture.
        MissingExtraError: Pillow is not installed.

    Example:
        >>> data = jpeg_bytes(np.zeros((3, 8, 8), np.uint8))
        >>> decode_picture(data, name="black", channels=1, size=None).pixels.max()
        np.uint8(0)
    """
    file = io.BytesIO()
    _image_of(sample).save(file, "JPEG", quality=quality)
    return file.getvalue()


def _image_of(sample: npt.NDArray[Any]) -> "Image":
    if sample.ndim != 3 or len(sample) not in _MODES or sample.dtype not in (np.uint8, np.float32):
        got = f"{sample.shape} {sample.dtype}"
        raise UsageError("a sample (1 or 3, H, W) of uint8 or float32", got, "pass one picture")
    try:
        from PIL import Image
    except ImportError as exc:
        raise MissingExtraError("PIL", "pictures") from exc
    scaled = sample if sample.dtype == np.uint8 else np.rint(sample.clip(0, 1) * 255).astype(np.uint8)
    pixels = np.ascontiguousarray(scaled[0] if len(scaled) == 1 else scaled.transpose(1, 2, 0))
    return Image.fromarray(pixels)


def resized_pictures(
    samples: npt.NDArray[Any], *, channels: int, size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Pictures of another size and colour, as `decode_picture` would have given them from lossless files.

    Args:
        samples: `(N, C, H, W)`, C of 1 or 3: uint8, or float32 in [0, 1].
        channels: 1 (grey) or 3 (RGB).
        size: Height and width of the result, ≥ 1.

    Returns:
        `(N, channels, *size)` uint8.

    Raises:
        UsageError: the samples are no pictures.
        MissingExtraError: Pillow is not installed.

    Example:
        >>> resized_pictures(np.ones((2, 1, 8, 8), np.float32), channels=3, size=(16, 12)).shape
        (2, 3, 16, 12)
    """
    mode = _MODES[channels]
    resized = np.empty((len(samples), channels, *size), np.uint8)
    for place, sample in enumerate(samples):
        image = _image_of(sample)
        box = _centred((0, 0, *image.size), size)
        resized[place] = _pixels(_resampled(image, mode, size, box))
    return resized


def picture_input(channels: int, size: tuple[int, int]) -> InputSpec:
    """What pictures of one size are on the wire: uint8 pixels, channels first.

    Raises:
        UsageError: neither 1 nor 3 channels.
    """
    if channels not in _MODES:
        raise UsageError("pictures of 1 or 3 channels", f"{channels}", "correct the shape")
    described = f"{'grey' if channels == 1 else 'RGB'} uint8, centred and resized to {size[0]}x{size[1]}"
    return InputSpec(
        shape=(channels, *size), dtype="uint8", low=0.0, high=255.0, layout="CHW", preprocessing=described
    )


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise DataError(f"a picture with pixels in {name!r}", f"{width}x{height}", _REMEDY)
    if width * height > MAX_PIXELS:
        raise _too_large(f"{width}x{height}", name)


def _too_large(got: str, name: str) -> DataError:
    return DataError(f"at most {MAX_PIXELS // 10**6} megapixels in {name!r}", got, "scale it down")


def _reason(exc: Exception) -> str:
    return "one cut short" if "truncated" in str(exc).lower() else f"a damaged one ({type(exc).__name__})"


def _decoded(image: "Image", mode: str, size: tuple[int, int] | None) -> Picture:
    width, height = image.size
    box: Box = (0, 0, width, height)
    if image.format in ("JPEG", "MPO"):
        box = _drafted(image, mode, _turned(size, _orientation(image))) or box
    image.load()
    # Asked once more: PNG may hold the orientation behind the pixels.
    orientation = _orientation(image)
    stored = _turned(size, orientation)
    if stored is None or stored == (height, width):
        plain = _plain(image, mode)
    else:
        plain = _resampled(image, mode, stored, _centred(box, stored))
    turn = _turns().get(orientation) if orientation != 1 else None
    return Picture(
        pixels=_pixels(plain if turn is None else plain.transpose(turn)),
        original_size=(width, height) if orientation in _SIDEWAYS else (height, width),
    )


def _drafted(image: Any, mode: str, size: tuple[int, int] | None) -> Box | None:
    """Has a JPEG decoded smaller, or its grey part alone; gives its extent in the smaller pixels."""
    wanted = None if size is None else (size[1] * _REDUCING_GAP, size[0] * _REDUCING_GAP)
    if wanted is not None and min(image.width // wanted[0], image.height // wanted[1]) < 2:
        wanted = None
    if wanted is None and mode != "L":
        return None
    drafted = image.draft(mode, wanted)
    box: Box | None = drafted[1] if drafted else None
    return box


def _orientation(image: "Image") -> int:
    if _ORIENTED_BY.isdisjoint(image.info):
        return 1
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    # Damaged metadata are no reason to refuse sound pixels: they are shown as they lie.
    except Exception:
        return 1
    return value if isinstance(value, int) else 1


def _turned(size: tuple[int, int] | None, orientation: int) -> tuple[int, int] | None:
    return size[::-1] if size is not None and orientation in _SIDEWAYS else size


def _turns() -> "dict[int, Transpose]":
    from PIL.Image import Transpose

    return {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }


def _centred(box: Box, size: tuple[int, int]) -> Box:
    """The largest part of `box` in its centre that has the aspect ratio of `size` (height, width)."""
    width, height = box[2] - box[0], box[3] - box[1]
    part_width = min(width, height * size[1] / size[0])
    part_height = min(height, width * size[0] / size[1])
    left, top = box[0] + (width - part_width) / 2, box[1] + (height - part_height) / 2
    return left, top, left + part_width, top + part_height


def _resampled(image: "Image", mode: str, size: tuple[int, int], box: Box) -> "Image":
    from PIL.Image import Resampling

    left, top = int(box[0]), int(box[1])
    right, bottom = min(image.width, math.ceil(box[2])), min(image.height, math.ceil(box[3]))
    if (left, top, right, bottom) != (0, 0, *image.size):
        # Cut first, so that no panorama is converted or laid over white in full.
        image = image.crop((left, top, right, bottom))
    inner = (
        box[0] - left,
        box[1] - top,
        min(box[2] - left, image.width),
        min(box[3] - top, image.height),
    )
    return _plain(image, mode).resize(
        size[::-1], Resampling.LANCZOS, box=inner, reducing_gap=float(_REDUCING_GAP)
    )


def _plain(image: "Image", mode: str) -> "Image":
    """The picture as 8-bit grey or RGB, over white where it is transparent."""
    if image.mode == mode and "transparency" not in image.info:
        return image
    from PIL.Image import fromarray, new

    if image.mode.startswith("I"):
        return _from_16_bits(image, fromarray).convert(mode)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        over = new("RGB", image.size, "white")
        over.paste(image, mask=image.getchannel("A"))
        image = over
    return image.convert(mode)


def _from_16_bits(image: "Image", fromarray: "Callable[..., Image]") -> "Image":
    values = np.asarray(image)
    # Pillow's own conversion clips at 255; of 16-bit colours it keeps the high byte, and so do we.
    grey = (values >> 8).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return fromarray(grey)


def _pixels(image: "Image") -> npt.NDArray[np.uint8]:
    flat = np.frombuffer(image.tobytes(), np.uint8)
    if image.mode == "L":
        return flat.reshape(1, image.height, image.width).copy()
    return np.ascontiguousarray(flat.reshape(image.height, image.width, 3).transpose(2, 0, 1))
