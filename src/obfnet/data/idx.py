"""Reads and writes IDX, the array format of the MNIST files.

A header (two zero bytes, a type code, the number of axes, their sizes as big-endian 32-bit
integers), then the values, big-endian, and nothing else. The reader is strict and bounded because
a device reads such files from users; it needs NumPy only.
"""

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import DataError, DtypeError
from obfnet.data.content import plain_bytes, plain_prefix

MAX_IDX_BYTES: Final = 256 * 1024 * 1024
MAX_AXES: Final = 8
_TYPES: Final = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_ORIGINAL: Final = "give an IDX file such as train-images-idx3-ubyte, plain or .gz"


def read_idx(data: bytes, *, name: str = "the IDX data", max_bytes: int = MAX_IDX_BYTES) -> npt.NDArray[Any]:
    """The array of one IDX file, plain or gzip.

    Args:
        data: The file's bytes.
        name: What to call it in a message.
        max_bytes: Most plain bytes that are accepted, header included.

    Returns:
        The array, of the file's shape and type in the machine's byte order, writable. MNIST images
        are `(N, 28, 28)` uint8, labels `(N,)` uint8.

    Raises:
        DataError: no IDX magic, an unknown type, no or empty axes, larger than `max_bytes`, shorter
            or longer than its header says, or broken gzip.

    Example:
        >>> read_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9])).tolist()
        [7, 8, 9]
    """
    head = plain_prefix(data, 4 + 4 * MAX_AXES)
    if len(head) < 4 or head[:2] != b"\0\0":
        raise DataError(f"{name} to begin with the IDX magic", "other bytes", _ORIGINAL)
    if head[2] not in _TYPES:
        raise DataError(f"{name} of a known IDX type", f"type code 0x{head[2]:02x}", _ORIGINAL)
    axes, begin = head[3], 4 + 4 * head[3]
    if not 1 <= axes <= MAX_AXES:
        raise DataError(f"1 to {MAX_AXES} axes in {name}", str(axes), _ORIGINAL)
    if len(head) < begin:
        raise DataError(f"a header of {begin} bytes in {name}", f"{len(head)} bytes", "fetch the file again")
    shape = tuple(int.from_bytes(head[at : at + 4], "big") for at in range(4, begin, 4))
    if 0 in shape:
        raise DataError(f"at least one value in {name}", f"shape {shape}", _ORIGINAL)
    dtype = np.dtype(_TYPES[head[2]])
    size_bytes = begin + math.prod(shape) * dtype.itemsize
    if size_bytes > max_bytes:
        raise DataError(
            f"at most {max_bytes} bytes in {name}", f"{size_bytes} by its header", "use a smaller file"
        )
    # The header has said how long the file is, so gzip never unfolds further than that.
    plain = plain_bytes(data, size_bytes, name=name)
    if len(plain) != size_bytes:
        raise DataError(f"{size_bytes} bytes in {name}", f"{len(plain)} bytes", "fetch the file again")
    return np.frombuffer(plain, dtype, offset=begin).reshape(shape).astype(dtype.newbyteorder("="))


def read_idx_file(path: Path, *, max_bytes: int = MAX_IDX_BYTES) -> npt.NDArray[Any]:
    """The array of the IDX file at `path`, plain or gzip; see `read_idx`.

    Args:
        path: The file.
        max_bytes: Most bytes that are accepted, on disk and unfolded.

    Returns:
        As `read_idx`.

    Raises:
        DataError: the file is missing, cannot be read, is too large, or is no sound IDX file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as exc:
        raise DataError(
            f"an IDX file at {path}", exc.strerror or str(exc), "give the path of a file"
        ) from exc
    if len(data) > max_bytes:
        raise DataError(f"at most {max_bytes} bytes in {path}", "more", "use a smaller file")
    return read_idx(data, name=str(path), max_bytes=max_bytes)


def idx_bytes(array: npt.NDArray[Any]) -> bytes:
    """The IDX file of an array: the same array always gives the same bytes.

    Args:
        array: 1 to 8 axes, no empty one; uint8, int8, int16, int32, float32 or float64.

    Returns:
        The plain file.

    Raises:
        DtypeError: IDX has no such type.
        DataError: too many axes, or no values.
    """
    kind = f">{array.dtype.kind}{array.dtype.itemsize}"
    code = next((code for code, name in _TYPES.items() if name == kind), None)
    if code is None:
        raise DtypeError("a dtype that IDX has", str(array.dtype), "convert the array, e.g. to uint8")
    if not 1 <= array.ndim <= MAX_AXES or array.size == 0:
        raise DataError(f"1 to {MAX_AXES} axes and some values", f"shape {array.shape}", "reshape the array")
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, code, array.ndim]) + sizes + array.astype(kind).tobytes()
