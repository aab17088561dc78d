"""Samples that need not fit into memory: looked up by index, read from disk, converted on the way.

Training, attacks and accuracy go through a data set batch by batch; what they hold is a `Rows`, or a plain
array where the samples are few. Files are read with positioned reads and never mapped, so that the memory
of a process stays the same however many samples there are. Rows that go to another process take along the
samples of their files that they hold, and no others.
"""

import math
import os
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import DataError, OutputError
from obfnet.core.spec import Samples

Indices = npt.NDArray[np.int64]
# Samples looked at together: fewer of large ones, whatever a network makes of them.
_BATCH: Final = 256
_BATCH_VALUES: Final = 2**22


@final
class Rows:
    """`(N, ...)` samples behind a function that reads some of them.

    Args:
        read: Indices `(M,)` int64, each in 0 ... N-1, to `(M, ...)` samples.
        shape: `(N, ...)`.
        dtype: Of the samples.

    Example:
        >>> rows = Rows(lambda index: index[:, None] * 2, (10, 1), np.int64)
        >>> rows[3:5].tolist(), rows.take(np.array([9, 0]))[:1].tolist()
        ([[6], [8]], [[18]])
    """

    def __init__(self, read: Callable[[Indices], Samples], shape: tuple[int, ...], dtype: Any) -> None:
        self._read, self.shape, self.dtype = read, shape, np.dtype(dtype)

    @property
    def ndim(self) -> int:
        """Number of axes, that of the samples included."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | Indices) -> Samples:
        if isinstance(index, slice):
            return self._read(np.arange(*index.indices(len(self)), dtype=np.int64))
        chosen = np.asarray(index)
        if chosen.dtype == bool:
            chosen = np.flatnonzero(chosen)
        return self._read(chosen.astype(np.int64, copy=False))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Samples:
        # All of them at once: for tests and for samples that are known to be few.
        return self[:].astype(dtype or self.dtype, copy=False)

    def take(self, index: Indices) -> Self:
        """The rows of these indices, in their order; nothing is read yet."""
        chosen = np.asarray(index, np.int64)
        return type(self)(_Taken(self._read, chosen), (len(chosen), *self.shape[1:]), self.dtype)


AnyRows = Samples | Rows


def mapped(rows: AnyRows, function: Callable[[Samples], Samples]) -> Rows:
    """Rows that go through a function when they are read.

    Args:
        rows: `(N, ...)`.
        function: `(M, ...)` to as many results, each depending on its sample alone.
    """
    example = function(rows[:1])
    return Rows(_Mapped(rows, function), (len(rows), *example.shape[1:]), example.dtype)


def taken(rows: AnyRows, index: Indices) -> AnyRows:
    """The rows of these indices: an array of an array, lazy rows of lazy rows."""
    return rows.take(index) if isinstance(rows, Rows) else rows[index]


def batches(rows: AnyRows, size: int | None = None) -> Iterator[Samples]:
    """All rows in their order, `size` at a time; None takes 256, or fewer of large ones.

    Example:
        >>> [len(some) for some in batches(np.zeros((50, 3, 224, 224), np.uint8))]
        [27, 23]
    """
    size = size or max(1, min(_BATCH, _BATCH_VALUES // math.prod(rows.shape[1:])))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def file_rows(path: Path) -> Rows:
    """The rows of a `.npy` file, read when they are asked for.

    Args:
        path: A file as `numpy.save` or `RowWriter` writes it, with at least two axes; no pickle.

    Returns:
        Rows that keep the file open.

    Raises:
        DataError: no such file, another kind, or cut short.
    """
    try:
        file = OpenFile(path)
        shape, dtype, offset = _header(file.handle)
    except (OSError, ValueError, EOFError) as exc:
        raise DataError(f"rows in {path}", "no such file, or a broken one", "prepare the data again") from exc
    return open_rows(file, shape, dtype, offset, name=str(path), remedy="prepare the data again")


@final
class OpenFile:
    """A file to read at positions; closed when nobody holds it any more.

    Args:
        source: Its path, or a descriptor, which is duplicated.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, source: Path | int) -> None:
        self.handle = os.dup(source) if isinstance(source, int) else os.open(source, os.O_RDONLY)
        self.size_bytes = os.fstat(self.handle).st_size
        weakref.finalize(self, os.close, self.handle)


def open_rows(
    file: OpenFile, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int, *, name: str, remedy: str
) -> Rows:
    """Rows that lie one behind the other in an open file, read when they are asked for.

    Args:
        file: Kept open for as long as anybody holds the rows.
        shape: `(N, ...)`.
        dtype: Of the values; no objects.
        offset: Where the first row begins, in bytes.
        name: What to call the file where it turns out to be cut short.
        remedy: What to do then.
    """
    return Rows(_Stored(file, shape, dtype, offset, name, remedy), shape, dtype)


@final
@dataclass(frozen=True, eq=False)
class _Stored:
    """Reads rows of an open file."""

    file: OpenFile
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    name: str
    remedy: str

    def __call__(self, index: Indices) -> Samples:
        if len(index) and not (index.min() >= 0 and index.max() < self.shape[0]):
            raise IndexError(f"row {index.min()} to {index.max()} of {self.shape[0]}")
        out = np.empty((len(index), *self.shape[1:]), self.dtype)
        view = out.reshape(-1).view(np.uint8).data
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        # Neighbours in the file are fetched at once.
        ends = [*(np.flatnonzero(np.diff(index) != 1) + 1).tolist(), len(index)]
        begin = 0
        for end in ends if len(index) else ():
            part = view[begin * row_bytes : end * row_bytes]
            place = self.offset + int(index[begin]) * row_bytes
            # The system gives at most 2 GiB a call.
            while len(part) and (count := os.preadv(self.file.handle, [part], place)) > 0:
                part, place = part[count:], place + count
            if len(part):
                raise DataError(f"all rows of {self.name}", "a file cut short", self.remedy)
            begin = end
        return out

    def __reduce__(self) -> tuple[Any, ...]:
        # There may be no such file where they go.
        return _Held, (self(np.arange(self.shape[0], dtype=np.int64)),)


@final
@dataclass(frozen=True, eq=False)
class _Held:
    """Reads rows of an array."""

    array: Samples

    def __call__(self, index: Indices) -> Samples:
        return self.array[index]


@final
@dataclass(frozen=True, eq=False)
class _Mapped:
    """Reads rows through a function."""

    rows: AnyRows
    function: Callable[[Samples], Samples]

    def __call__(self, index: Indices) -> Samples:
        return self.function(self.rows[index])


@final
@dataclass(frozen=True, eq=False)
class _Taken:
    """Reads some of the rows that another function reads."""

    read: Callable[[Indices], Samples]
    chosen: Indices

    def __call__(self, index: Indices) -> Samples:
        return self.read(self.chosen[index])

    def __reduce__(self) -> tuple[Any, ...]:
        # Of what is read and mapped, these rows alone go elsewhere.
        if isinstance(self.read, _Stored):
            return _Held, (self.read(self.chosen),)
        if isinstance(self.read, _Mapped):
            return _Mapped, (taken(self.read.rows, self.chosen), self.read.function)
        if isinstance(self.read, _Taken):
            return _Taken(self.read.read, self.read.chosen[self.chosen]).__reduce__()
        return _Taken, (self.read, self.chosen)


@final
class RowWriter:
    """Writes a `.npy` file row by row; the number of rows is filled in at the end; a context manager.

    Args:
        path: The file; replaced.
        row_shape: Shape of one row.
        dtype: Of the rows.

    Raises:
        OutputError: the file cannot be written.
    """

    # Room for any number of rows: the header is written again when it is known.
    _HEADER: Final = 128

    def __init__(self, path: Path, row_shape: tuple[int, ...], dtype: Any) -> None:
        self._path, self._shape, self._dtype = path, row_shape, np.dtype(dtype)
        self.count = 0
        try:
            self._file = path.open("wb")
            self._file.write(self._head())
        except OSError as exc:
            raise self._failed(exc) from exc

    def append(self, rows: Samples) -> None:
        """Adds `(M, *row_shape)` rows; raises `OutputError` where the disk is full."""
        if rows.shape[1:] != self._shape or rows.dtype != self._dtype:
            raise DataError(
                f"rows of shape {self._shape}, {self._dtype}",
                f"{rows.shape[1:]}, {rows.dtype}",
                "convert them",
            )
        try:
            self._file.write(np.ascontiguousarray(rows).data)
        except OSError as exc:
            raise self._failed(exc) from exc
        self.count += len(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            # Closed even where the disk is full and what is buffered cannot be written.
            with self._file:
                self._file.seek(0)
                self._file.write(self._head())
        except OSError as exc:
            raise self._failed(exc) from exc

    def _head(self) -> bytes:
        described = {"descr": self._dtype.str, "fortran_order": False, "shape": (self.count, *self._shape)}
        text = repr(described).encode().ljust(self._HEADER - 11) + b"\n"
        return b"\x93NUMPY\x01\x00" + (self._HEADER - 10).to_bytes(2, "little") + text

    def _failed(self, exc: OSError) -> OutputError:
        return OutputError(f"to write {self._path}", exc.strerror or str(exc), "free space")


def _header(handle: int) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    with os.fdopen(os.dup(handle), "rb") as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError("another version of the format")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        offset = file.tell()
        size_bytes = os.fstat(handle).st_size
    if fortran or dtype.hasobject or len(shape) < 2:
        raise ValueError("no rows")
    if offset + int(np.prod(shape)) * dtype.itemsize != size_bytes:
        raise ValueError("cut short")
    return shape, dtype, offset
