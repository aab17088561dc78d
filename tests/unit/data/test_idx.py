"""IDX files: what is written is read, and nothing else is."""

import gzip
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from obfnet.core.errors import DataError, DtypeError
from obfnet.data.idx import idx_bytes, read_idx, read_idx_file

GOOD = idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 2, 2))


@given(
    array=arrays.arrays(
        st.sampled_from([np.uint8, np.int8, np.int16, np.int32, np.float32, np.float64]),
        arrays.array_shapes(max_dims=8, max_side=3),
    ),
    packed=st.booleans(),
)
def test_round_trip(array: np.ndarray, packed: bool) -> None:
    data = idx_bytes(array)
    read = read_idx(gzip.compress(data) if packed else data)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype
    assert read.flags.writeable
    assert idx_bytes(read) == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "IDX magic"),
        (b"\0\0\x08", "IDX magic"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "IDX magic"),
        (b"\0\1" + GOOD[2:], "IDX magic"),
        (b"\x1f\x8b no gzip", "IDX magic"),
        (b"\0\0\x0a" + GOOD[3:], "type code 0x0a"),
        (b"\0\0\x08\x00", "1 to 8 axes"),
        (b"\0\0\x08\x09" + bytes(64), "1 to 8 axes"),
        (GOOD[:9], "a header of 16 bytes"),
        (b"\0\0\x08\x01" + bytes(4), "at least one value"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "by its header"),
        (GOOD[:-1], "28 bytes in .*, got 27"),
        (GOOD + b"\0", "at most 28 bytes"),
        (gzip.compress(GOOD + bytes(10_000), mtime=0), "at most 28 bytes"),
        (gzip.compress(GOOD, mtime=0)[:-4], "cut short"),
    ],
)
def test_anything_else_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_idx(data)


@given(st.binary(max_size=64))
def test_arbitrary_bytes_give_an_array_or_a_data_error(data: bytes) -> None:
    with suppress(DataError):
        assert read_idx(data).size > 0


def test_the_size_bound_is_on_the_header() -> None:
    with pytest.raises(DataError, match="at most 20 bytes"):
        read_idx(gzip.compress(GOOD), max_bytes=20)


def test_arrays_that_idx_cannot_hold_are_refused() -> None:
    with pytest.raises(DtypeError, match="int64"):
        idx_bytes(np.zeros(3, np.int64))
    with pytest.raises(DataError, match="some values"):
        idx_bytes(np.zeros((2, 0), np.uint8))
    with pytest.raises(DataError, match="axes"):
        idx_bytes(np.array(3, np.uint8))


def test_a_file_is_read_by_path(tmp_path: Path) -> None:
    (tmp_path / "good.gz").write_bytes(gzip.compress(GOOD))
    assert read_idx_file(tmp_path / "good.gz").shape == (3, 2, 2)
    with pytest.raises(DataError, match=r"good\.gz"):
        read_idx_file(tmp_path / "good.gz", max_bytes=10)
    for missing in (tmp_path / "none", tmp_path):
        with pytest.raises(DataError, match="an IDX file at"):
            read_idx_file(missing)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "closed").write_bytes(GOOD)
    (tmp_path / "closed").chmod(0)
    with pytest.raises(DataError, match="closed"):
        read_idx_file(tmp_path / "closed")
