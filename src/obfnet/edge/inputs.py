"""Samples from arrays and files, as the input spec wants them: `(N, *shape)`, its dtype, its range.

Files that hold pixels (PNG, JPEG, IDX, uint8 `.npy`) or sound (WAV) go through the spec's preprocessing, the
same code as in training; arrays are taken as they are, so that what a program passes is what is obfuscated.
Pictures are resized only where the spec says so: otherwise one that does not fit is refused, not bent.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import png

from obfnet.core.errors import DataError, DtypeError, ShapeError
from obfnet.core.spec import InputSpec, Samples, as_unit
from obfnet.data.idx import read_idx_file
from obfnet.data.mfcc import PREPROCESSING
from obfnet.data.pictures import RESIZED_PREPROCESSING, decode_picture
from obfnet.data.sounds import decode_sound
from obfnet.data.waveforms import is_waveform

MAX_FILE_BYTES: Final = 256 * 1024 * 1024
PIXEL_PREPROCESSING: Final = "uint8 / 255"
# PNG, GIF, BMP and WebP: what a folder of pictures may hold, a device may take.
_RESIZED_HEADS: Final = (b"\x89PNG", b"GIF8", b"BM", b"RIFF")
_KNOWN: Final = "give a .npy, .png, .jpg, .wav or IDX file (IDX plain or .gz, one item as FILE#INDEX)"
_CHANNELS: Final = {"CHW": 0, "HWC": 2}


def read_samples(source: Samples | Path | str, spec: InputSpec) -> Samples:
    """One batch of raw samples.

    Args:
        source: An array, `(N, *shape)` or one sample `(*shape)`, of the spec's dtype and range; or a
            file: `.npy` (never a pickle), PNG, JPEG (with the extra `pictures`), WAV, IDX (plain or gzip).
            `FILE#7` is item 7 alone.
        spec: What the samples must be.

    Returns:
        `(N, *spec.shape)` of the spec's dtype, in its range, C-contiguous.

    Raises:
        DataError: the file is missing, too large, of no known kind, or broken.
        ShapeError, DtypeError, RangeError: the samples are not what the spec says.

    Example:
        >>> spec = InputSpec(shape=(2,), dtype="float32", low=0, high=1, layout="C", preprocessing="none")
        >>> read_samples(np.array([0, 0.5], np.float32), spec).shape
        (1, 2)
    """
    array = source if isinstance(source, np.ndarray) else _from_file(str(source), spec)
    samples = array[np.newaxis] if array.shape == spec.shape else array
    spec.check(samples)
    return np.ascontiguousarray(samples)


def _from_file(source: str, spec: InputSpec) -> Samples:
    path, index = _split_index(source)
    try:
        with path.open("rb") as file:
            head = file.read(8)
        size_bytes = path.stat().st_size
    except OSError as exc:
        raise DataError(f"a sample file at {path}", exc.strerror or str(exc), "check the path") from exc
    if size_bytes > MAX_FILE_BYTES:
        raise DataError(f"at most {MAX_FILE_BYTES} bytes in {path}", str(size_bytes), "split the file")
    if head.startswith(b"\xff\xd8") or (head.startswith(_RESIZED_HEADS) and _is_resized(spec)):
        array = _read_picture(path, spec)
    elif head.startswith(b"RIFF"):
        array = _read_sound(path, spec)
    elif head.startswith(b"\x89PNG"):
        array = _laid_out(_read_png(path, spec)[np.newaxis], spec)
    elif head.startswith(b"\x93NUMPY"):
        array = _read_npy(path)
    elif head.startswith((b"\0\0", b"\x1f\x8b")):
        array = read_idx_file(path, max_bytes=MAX_FILE_BYTES)
        # Unlike a PNG file, an IDX file may hold its axes in the spec's order already.
        array = array if array.shape[1:] == spec.shape else _laid_out(array, spec)
    else:
        raise DataError(f"a sample file at {path}", "a file of another kind", _KNOWN)
    if index is not None:
        if array.shape == spec.shape or not index < len(array):
            count = 1 if array.shape == spec.shape else len(array)
            raise DataError(f"an index below {count} for {path}", str(index), "count from 0")
        array = array[index : index + 1]
    return _preprocessed(array, spec)


def _split_index(source: str) -> tuple[Path, int | None]:
    name, mark, index = source.rpartition("#")
    # A file may have a # of its own in its name.
    if mark and index.isascii() and index.isdigit() and not Path(source).exists():
        return Path(name), int(index)
    return Path(source), None


def _read_npy(path: Path) -> Samples:
    try:
        loaded: Any = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError, SyntaxError) as exc:
        raise DataError(f"a sound .npy file without pickles at {path}", "another", "save it again") from exc
    array: Samples = loaded
    if array.ndim == 0:
        raise DataError(f"samples in {path}", "a single number", "save an array with a batch axis")
    return array


def _read_png(path: Path, spec: InputSpec) -> Samples:
    try:
        reader = png.Reader(bytes=path.read_bytes())
        reader.preamble()
        if reader.width * reader.height > spec.values:
            raise ShapeError(
                f"a picture of at most {spec.values} pixels",
                f"{reader.width}x{reader.height}",
                "scale it down",
            )
        width, height, rows, info = reader.asDirect()
        pixels = np.array([list(row) for row in rows], np.uint16).reshape(height, width, info["planes"])
    except (png.Error, OSError, ValueError, EOFError) as exc:
        raise DataError(f"a sound PNG file at {path}", "a broken one", "save it again") from exc
    if info["alpha"]:
        raise DataError(f"a PNG file without transparency at {path}", "one with it", "save it without")
    if info["bitdepth"] > 8:
        raise DataError(f"a PNG file of 8 bits at {path}", f"{info['bitdepth']} bits", "save it with 8 bits")
    levels = 2 ** info["bitdepth"] - 1
    scaled: Samples = (pixels * (255 // levels)).astype(np.uint8)
    return scaled[:, :, 0] if info["planes"] == 1 else scaled


def _read_sound(path: Path, spec: InputSpec) -> Samples:
    if spec.preprocessing != PREPROCESSING and not is_waveform(spec):
        raise DataError(f"samples of {spec.preprocessing!r}", f"{path}, a sound file", _KNOWN)
    unit = decode_sound(path.read_bytes(), str(path), spec=spec)[np.newaxis]
    return spec.to_wire(unit) if is_waveform(spec) else unit


def _is_resized(spec: InputSpec) -> bool:
    return RESIZED_PREPROCESSING in spec.preprocessing


def _read_picture(path: Path, spec: InputSpec) -> Samples:
    if len(spec.unit_shape) != 3:
        raise DataError(f"samples of {spec.preprocessing!r}", f"{path}, a picture", _KNOWN)
    channels, height, width = spec.unit_shape
    picture = decode_picture(
        path.read_bytes(),
        name=str(path),
        channels=channels,
        size=(height, width) if _is_resized(spec) else None,
    )
    pixels = picture.pixels[np.newaxis]
    # Another range, a normalisation or channels last: as in training, from the same pixels.
    return (
        pixels
        if spec.layout == "CHW" and (spec.is_unit or spec.dtype == "uint8")
        else spec.to_wire(as_unit(pixels))
    )


def _laid_out(pixels: Samples, spec: InputSpec) -> Samples:
    """Puts the channel axis of `(N, H, W)` or `(N, H, W, C)` pixels where the spec has it."""
    channel = _CHANNELS.get(spec.layout)
    if channel is None or len(spec.shape) != 3:
        return pixels
    if pixels.ndim == 3:
        return np.expand_dims(pixels, channel + 1)
    return np.moveaxis(pixels, 3, 1) if pixels.ndim == 4 and channel == 0 else pixels


def _preprocessed(array: Samples, spec: InputSpec) -> Samples:
    if array.dtype != np.uint8 or spec.dtype == "uint8":
        return array
    if not spec.preprocessing.startswith(PIXEL_PREPROCESSING):
        raise DtypeError(f"samples of {spec.dtype}", "uint8 pixels", f"apply: {spec.preprocessing}")
    return array.astype(np.float32) / np.float32(255)
