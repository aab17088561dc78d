"""CIFAR-10: 60,000 colour photographs of ten things at 32x32, the case where the cloud's model is far ahead.

Comes as a folder of JPEG files, a little lossy, or as the published binary batches; figures say which. The
pickled form that is published too is not read.
"""

import io
import re
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import numpy as np

from obfnet.core.errors import DataError
from obfnet.core.spec import Samples
from obfnet.data.archived import archived_table, decode_photo, photo_input
from obfnet.data.case import CaseSpec, Loading, Recipe
from obfnet.data.fetch import FileSpec
from obfnet.data.prepared import Entry, prepare
from obfnet.data.table import TEST, TRAIN, SplitRule, Table

SIZE: Final = 32
_CLASSES: Final = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
_MEMBER: Final = re.compile(r"(train|test)/([a-z]+)/[^/]+\.jpg")
_BATCHES: Final = {
    **{f"cifar-10-batches-bin/data_batch_{number}.bin": TRAIN for number in range(1, 6)},
    "cifar-10-batches-bin/test_batch.bin": TEST,
}
_ROW_BYTES: Final = 1 + 3 * SIZE * SIZE
_DECODING: Final = 1
_BINARY: Final = "cifar-10-binary.tar.gz"

CASE: Final = CaseSpec(
    name="cifar10",
    title="CIFAR-10, photographs 32x32",
    input=photo_input(SIZE),
    classes=_CLASSES,
    source="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
    licence="free for research, with citation",
    loader="obfnet.data.cifar10:load",
    inference={"residual": "residual", "compact": "compact", "mlp": "mlp", "cnn": "cnn"},
    obfuscation={"conv": "conv", "mlp": "mlp", "cnn": "cnn"},
    splits=(SplitRule(name="official", about="the published 10,000 test photographs", validation=2_500),),
    note="JPEG copies of the photographs are a little lossy against the published binary files",
    recipe=Recipe(
        inference_epochs={"residual": 16.0, "": 8.0},
        obfuscation_epochs=10.0,
        optimiser="sgd",
        augmentation=("flip", "crop"),
        obfuscation_augmentation=("flip", "crop"),
    ),
    files=(
        FileSpec(
            name="cifar10_jpeg.zip",
            sha256="c84e0f82a02b9ea8e201333e3a57298d9508b5a9b94a2f39379720f8bb4f2bd3",
            size_bytes=62_190_935,
        ),
        FileSpec(
            name=_BINARY,
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            size_bytes=170_052_171,
            url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            packed=True,
        ),
    ),
    any_file=True,
    extra="train",
)


def load(spec: CaseSpec, files: Loading) -> Table:
    """All photographs.

    Args:
        spec: `CASE`.
        files: The JPEG archive, or the binary one.

    Returns:
        50,000 training and 10,000 test samples, `(N, 3, 32, 32)` uint8.

    Raises:
        DataError: a photograph cannot be read, or the archive is another.
    """
    if files.chosen.name != _BINARY:
        return archived_table(
            spec,
            files,
            _entry,
            partial(decode_photo, size=SIZE),
            folders=("train", "test"),
            version=_DECODING,
            count=60_000,
        )
    recipe: dict[str, Any] = {"file": files.chosen.sha256, "version": _DECODING}
    table, _ = prepare(
        spec.name,
        recipe,
        spec.input,
        lambda: _binary_entries(files[_BINARY]),
        count=60_000,
        progress=files.progress,
    )
    return table


def _entry(name: str) -> Entry | None:
    found = _MEMBER.fullmatch(name)
    if found is None or found[2] not in _CLASSES:
        return None
    return Entry(name=name, label=_CLASSES.index(found[2]), part=TRAIN if found[1] == "train" else TEST)


def _binary_entries(packed: bytes) -> Iterator[tuple[Entry, Callable[[], Samples]]]:
    seen = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
            for member in archive:
                if member.name not in _BATCHES or not member.isfile():
                    continue
                content = archive.extractfile(member)
                # 10,000 rows a batch; a longer one is another file.
                batch = content.read(10_000 * _ROW_BYTES + 1) if content else b""
                seen += 1
                yield from _rows(batch, member.name)
    except (tarfile.TarError, EOFError, OSError) as exc:
        raise DataError(
            f"a whole {_BINARY}", f"a broken one ({type(exc).__name__})", "fetch it again"
        ) from exc
    if seen != len(_BATCHES):
        raise DataError(f"{len(_BATCHES)} batches in {_BINARY}", str(seen), "fetch it again")


def _rows(batch: bytes, name: str) -> Iterator[tuple[Entry, Callable[[], Samples]]]:
    if len(batch) % _ROW_BYTES or not 0 < len(batch) <= 10_000 * _ROW_BYTES:
        raise DataError(f"rows of {_ROW_BYTES} bytes in {name}", f"{len(batch)} bytes", "fetch it again")
    rows = np.frombuffer(batch, np.uint8).reshape(-1, _ROW_BYTES)
    if rows[:, 0].max() >= len(_CLASSES):
        raise DataError(f"labels below {len(_CLASSES)} in {name}", "others", "fetch it again")
    for number, row in enumerate(rows):
        entry = Entry(name=f"{name}#{number}", label=int(row[0]), part=_BATCHES[name])
        yield entry, partial(np.reshape, row[1:], (3, SIZE, SIZE))
