"""Rows of a file against the array that they were written from."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from obfnet.core.errors import DataError
from obfnet.data.rows import RowWriter, batches, file_rows, mapped, taken


@pytest.fixture
def array() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1_000, 3, 5, 4)).astype(np.uint8)


@pytest.fixture
def path(array: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "rows.npy"
    with RowWriter(path, array.shape[1:], array.dtype) as writer:
        for some in batches(array, 300):
            writer.append(some)
    return path


def test_numpy_reads_what_was_written(array: np.ndarray, path: Path) -> None:
    np.testing.assert_array_equal(np.load(path), array)


@pytest.mark.parametrize(
    "index",
    [
        slice(None),
        slice(10, 300, 3),
        slice(990, 2_000),
        np.array([5]),
        np.array([], int),
        np.array([7, 7, 8, 3]),
        np.random.default_rng(1).permutation(1_000),
        np.arange(1_000) % 3 == 0,
    ],
)
def test_rows_are_those_of_the_array(array: np.ndarray, path: Path, index: slice | np.ndarray) -> None:
    rows = file_rows(path)
    assert (rows.shape, rows.dtype, len(rows), rows.ndim) == (array.shape, array.dtype, 1_000, 4)
    np.testing.assert_array_equal(rows[index], array[index])


def test_rows_of_rows_and_changed_rows(array: np.ndarray, path: Path) -> None:
    order = np.random.default_rng(2).permutation(1_000)[:100]
    halved = mapped(taken(file_rows(path), order), lambda some: some / np.float32(2))
    assert halved.dtype == np.float32
    np.testing.assert_array_equal(np.asarray(halved), array[order] / np.float32(2))
    np.testing.assert_array_equal(np.concatenate(list(batches(halved, 33))), array[order] / np.float32(2))
    np.testing.assert_array_equal(taken(array, order), array[order])


@pytest.mark.parametrize("index", [np.array([1_000]), np.array([-1])])
def test_a_row_that_is_not_there_is_an_error(path: Path, index: np.ndarray) -> None:
    with pytest.raises(IndexError):
        file_rows(path)[index]


@pytest.mark.parametrize("damage", ["gone", "short", "other", "pickle", "flat"])
def test_a_file_of_no_rows_is_refused_in_one_line(path: Path, damage: str) -> None:
    if damage == "gone":
        path.unlink()
    elif damage == "short":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "other":
        path.write_bytes(b"no array")
    elif damage == "pickle":
        np.save(path, np.array([[None]]), allow_pickle=True)
    else:
        np.save(path, np.arange(3))
    with pytest.raises(DataError, match="prepare the data again"):
        file_rows(path)


def test_rows_of_another_shape_are_not_written(path: Path, array: np.ndarray) -> None:
    with RowWriter(path, (2,), np.uint8) as writer, pytest.raises(DataError, match="rows of shape"):
        writer.append(array)


@pytest.mark.parametrize("order", ["taken", "mapped and taken", "taken twice"])
def test_rows_of_a_file_that_is_elsewhere_are_those_that_were_held(
    array: np.ndarray, path: Path, order: str
) -> None:
    chosen, rows = np.array([700, 5, 5, 999]), file_rows(path)
    expected = array[chosen]
    if order == "mapped and taken":
        rows, expected = mapped(rows, np.negative), np.negative(expected)
    if order == "taken twice":
        rows, chosen = rows.take(np.arange(1_000)[::-1]), 999 - chosen
    sent = pickle.dumps(rows.take(chosen))
    path.unlink()
    # The samples that are held, and not the file.
    assert len(sent) < 10 * array[:4].nbytes
    np.testing.assert_array_equal(pickle.loads(sent)[:], expected)


def test_a_file_larger_than_the_memory_limit_is_gone_through(tmp_path: Path) -> None:
    # 600 MB of rows in a process that may have 400 MB of addresses in all.
    path = tmp_path / "large.npy"
    with RowWriter(path, (1_000_000,), np.uint8) as writer:
        for _ in range(600):
            writer.append(np.ones((1, 1_000_000), np.uint8))
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_AS, ({400 * 2**20}, {400 * 2**20}))
from pathlib import Path
from obfnet.data.rows import batches, file_rows
print(sum(int(some.sum()) for some in batches(file_rows(Path({str(path)!r})), 8)))
"""
    environment = {"OPENBLAS_NUM_THREADS": "1", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "600000000"
