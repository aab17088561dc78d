"""Arrays of an `.npz` file that need not fit into memory: read in place, row by row, and never unpickled.

A file of recorded pairs is foreign input and may be larger than the memory. Stored members are read where
they lie, compressed ones are unfolded once into a nameless temporary file; what arrays mean is `pairs`'.
"""

import io
import math
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import DataError, OutputError
from obfnet.core.spec import Samples
from obfnet.data.archive import Archive, ArchiveLimits
from obfnet.data.rows import OpenFile, Rows, open_rows

AGAIN: Final = "save the pairs again with numpy.savez"
_SUFFIX: Final = ".npy"
_MEMBERS: Final = 64
_LARGEST_BYTES: Final = 2**46
_UNFOLDED_BYTES: Final = 64 * 2**30
# Left free on the disk beside an unfolded member.
_SPARE_BYTES: Final = 256 * 2**20
_COLUMN_BYTES: Final = 256 * 2**20
_HEADER_BYTES: Final = 16 * 1024
_CHUNK_BYTES: Final = 4 * 2**20
_AT_ONCE_BYTES: Final = 16 * 2**20
_LOCAL_HEADER: Final = 30


def rows_at_once(shape: tuple[int, ...]) -> int:
    """How many `(N, ...)` samples to look at together, so that a few copies of them stay small.

    Example:
        >>> rows_at_once((60_000, 1, 28, 28)), rows_at_once((1_000, 3, 1_000, 1_000))
        (2674, 1)
    """
    return max(1, min(4096, _AT_ONCE_BYTES // (8 * math.prod(shape[1:]))))


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class StoredRows:
    """An array of the file, one row a sample.

    Args:
        rows: `(N, ...)` as they were saved, read when they are asked for.
        check: CRC-32 of the array's header and the one that its whole member must have; None where it was
            verified already.
        key: Its name in the file.
    """

    rows: Rows
    check: tuple[int, int] | None
    key: str

    def scan(self) -> Iterator[Samples]:
        """All rows in their order, some at a time.

        Raises:
            DataError: after the last: they are not those that were saved.
        """
        crc, expected = self.check or (0, 0)
        size = rows_at_once(self.rows.shape)
        for start in range(0, len(self.rows), size):
            some = self.rows[start : start + size]
            if self.check is not None:
                crc = zlib.crc32(some.reshape(-1).view(np.uint8).data, crc)
            yield some
        if self.check is not None and crc != expected:
            raise DataError(f"`{self.key}` of its checksum", "damaged data", AGAIN)


@final
class NpzFile:
    """The arrays of an `.npz` file by name; the file stays open as long as anything of it is in use.

    Args:
        path: The file.

    Raises:
        DataError: no such file, no ZIP file, cut short, or an archive that cannot be trusted: a member
            twice, encrypted, linked, or packed in another way than `numpy` does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._refuse_other_kinds()
        # 1. The archive as a whole: bounded directory, plain members, each name once.
        limits = ArchiveLimits(members=_MEMBERS, member_bytes=_LARGEST_BYTES, total_bytes=_LARGEST_BYTES)
        try:
            with Archive(path, limits=limits) as archive:
                names = archive.names
        except DataError as exc:
            raise DataError(exc.expected, exc.got, AGAIN) from exc
        self._file = OpenFile(path)
        with zipfile.ZipFile(path) as directory:
            infos = {info.filename: info for info in directory.infolist() if info.filename in names}
        # 2. Not more bytes when unfolded than a disk may be asked for.
        packed = sum(one.file_size for one in infos.values() if one.compress_type != zipfile.ZIP_STORED)
        if packed > _UNFOLDED_BYTES:
            raise DataError(
                f"at most {_UNFOLDED_BYTES} unfolded bytes in {path}",
                str(packed),
                "save the pairs uncompressed, with numpy.savez",
            )
        self._infos = {_key(name): info for name, info in infos.items()}
        self.keys: Final = tuple(sorted(self._infos))

    def column(self, key: str) -> npt.NDArray[Any]:
        """One value a sample, in memory.

        Raises:
            DataError: pickled objects, larger than 256 MiB, or damaged.
        """
        info = self._infos[key]
        if info.file_size > _COLUMN_BYTES:
            got = f"{info.file_size} bytes"
            raise DataError(f"at most {_COLUMN_BYTES} bytes in `{key}`", got, "give one short value a sample")
        with self._stream(info, key) as stream:
            data = _exactly(stream, info.file_size, key)
        shape, dtype, offset = _header(data[:_HEADER_BYTES], key, info.file_size)
        return np.frombuffer(data, dtype, offset=offset).reshape(shape)

    def rows(self, key: str, work: Path) -> StoredRows:
        """One row a sample, on the disk.

        Args:
            key: One of `keys`.
            work: Folder for a temporary file, where the array is compressed.

        Raises:
            DataError: pickled objects, no rows, cut short, or damaged.
            OutputError: no space to unfold a compressed array.
        """
        info = self._infos[key]
        if info.compress_type == zipfile.ZIP_STORED:
            place, begin, checked = self._file, self._begin(info, key), False
        else:
            # Its header first: a huge array of the wrong kind is not unfolded for nothing.
            with self._stream(info, key) as stream:
                _header(stream.read(_HEADER_BYTES), key, info.file_size)
            place, begin, checked = self._unfolded(info, key, work), 0, True
        head = os.pread(place.handle, min(_HEADER_BYTES, info.file_size), begin)
        shape, dtype, offset = _header(head, key, info.file_size)
        if not shape or math.prod(shape[1:]) == 0:
            raise DataError(f"one row a sample in `{key}`", f"shape {shape}", AGAIN)
        check = None if checked else (zlib.crc32(head[:offset]), info.CRC)
        return StoredRows(
            rows=open_rows(place, shape, dtype, begin + offset, name="the pairs", remedy=AGAIN),
            check=check,
            key=key,
        )

    def _refuse_other_kinds(self) -> None:
        try:
            with self.path.open("rb") as file:
                first = file.read(6)
        except OSError as exc:
            raise DataError(f"an .npz file at {self.path}", exc.strerror or "none", "give its path") from exc
        kind = {b"\x93N": "a single array (.npy)", b"\x80\x02": "a pickle", b"\x80\x03": "a pickle"}
        kind |= {b"\x80\x04": "a pickle", b"\x80\x05": "a pickle", b"\x89H": "an HDF5 file"}
        if first[:2] in kind:
            got, remedy = kind[first[:2]], "save numpy.savez(path, raw=..., obfuscated=..., label=...)"
            raise DataError(f"an .npz file: {self.path}", got, remedy)

    def _begin(self, info: zipfile.ZipInfo, key: str) -> int:
        # The directory says where a member begins; its own header, how long that header is.
        local = os.pread(self._file.handle, _LOCAL_HEADER, info.header_offset)
        begin = info.header_offset + _LOCAL_HEADER
        if len(local) == _LOCAL_HEADER:
            begin += int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
        whole = local[:4] == b"PK\x03\x04" and info.compress_size == info.file_size
        if not whole or begin + info.file_size > self._file.size_bytes:
            raise DataError(f"`{key}` to be whole", "a file that is damaged or cut short", AGAIN)
        return begin

    def _stream(self, info: zipfile.ZipInfo, key: str) -> "_Member":
        return _Member(self.path, info, key)

    def _unfolded(self, info: zipfile.ZipInfo, key: str, work: Path) -> "OpenFile":
        needed = info.file_size + _SPARE_BYTES
        remedy = "free space, set TMPDIR, or save the pairs uncompressed, with numpy.savez"
        try:
            if (free := shutil.disk_usage(work).free) < needed:
                raise OutputError(f"{needed} bytes free in {work} to unfold `{key}`", f"{free}", remedy)
            # Nameless: gone as soon as nobody reads it any more, however this process ends.
            with tempfile.TemporaryFile(dir=work) as target:
                done = 0
                with self._stream(info, key) as stream:
                    while chunk := stream.read(_CHUNK_BYTES):
                        done += len(chunk)
                        target.write(chunk)
                target.flush()
                opened = OpenFile(target.fileno())
        except OSError as exc:
            got = exc.strerror or str(exc)
            raise OutputError(f"to unfold `{key}` into {work}", got, remedy) from exc
        if done != info.file_size:
            raise DataError(f"{info.file_size} bytes of `{key}`", f"{done}", AGAIN)
        return opened


@final
class _Member:
    """A member's plain bytes, at most as many as it declares; whatever its damage, a `DataError`."""

    def __init__(self, path: Path, info: zipfile.ZipInfo, key: str) -> None:
        self._path, self._info, self._key = path, info, key

    def __enter__(self) -> "_Member":
        self._zip = zipfile.ZipFile(self._path)
        try:
            self._stream: IO[bytes] = self._zip.open(self._info)
        except Exception as exc:
            self._zip.close()
            raise self._damaged(exc) from exc
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._zip.close()

    def read(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        # Damaged data make the reader raise many kinds of errors (ValueError, EOFError, zlib.error, ...).
        except Exception as exc:
            raise self._damaged(exc) from exc

    def _damaged(self, exc: Exception) -> DataError:
        return DataError(f"`{self._key}` sound and of its checksum", type(exc).__name__, AGAIN)


def _key(name: str) -> str:
    return name.removesuffix(_SUFFIX) if name.endswith(_SUFFIX) else f"{name} (no {_SUFFIX})"


def _exactly(stream: _Member, size_bytes: int, key: str) -> bytes:
    data = bytearray()
    # One read past the end, since the checksum is compared there.
    while chunk := stream.read(_CHUNK_BYTES):
        data += chunk
    if len(data) != size_bytes:
        raise DataError(f"{size_bytes} bytes of `{key}`", f"{len(data)}", AGAIN)
    return bytes(data)


def _header(head: bytes, key: str, size_bytes: int) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, dtype and length of the header of an array, from its first bytes; nothing is unpickled."""
    file = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise ValueError("another version of the format")
    # A broken header surfaces as ValueError, SyntaxError, TypeError, TokenError, RecursionError, ...
    except Exception as exc:
        raise DataError(f"an array in `{key}`", "no header of one", AGAIN) from exc
    if dtype.hasobject:
        raise DataError(
            f"plain numbers or text in `{key}`",
            "pickled objects, which are never loaded",
            "make one array of one dtype of it (numpy.stack, or .astype(str) for text)",
        )
    if dtype.names is not None or dtype.itemsize == 0:
        raise DataError(f"plain numbers or text in `{key}`", "records", "save a plain array")
    if any(size < 0 for size in shape):
        raise DataError(f"an array in `{key}`", "a negative size", AGAIN)
    if fortran and sum(size > 1 for size in shape) > 1:
        got = "columns first (Fortran order)"
        raise DataError(f"`{key}` row by row", got, f"save numpy.ascontiguousarray({key})")
    if file.tell() + math.prod(shape) * dtype.itemsize != size_bytes:
        raise DataError(f"as many values in `{key}` as its shape says", "another number", AGAIN)
    return shape, dtype, file.tell()
