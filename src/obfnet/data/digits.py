"""The 1,797 handwritten digits, 8x8, that scikit-learn carries: a case that needs no download.

Small and easy, for tests and for machines that reach nothing; figures on it say little of MNIST.
They have no published split here, so that a fixed one is cut: 360 for the test, 180 for validation.
"""

import importlib
from collections.abc import Mapping
from typing import Final

import numpy as np

from obfnet.core.errors import DataError, MissingExtraError
from obfnet.core.spec import InputSpec
from obfnet.data.cases import CaseSpec, Dataset, Split
from obfnet.data.splits import Indices, hold_out

TEST_COUNT: Final = 360
VALIDATION_COUNT: Final = 180
TEST_SEED: Final = 1998
VALIDATION_SEED: Final = 1999

CASE: Final = CaseSpec(
    name="digits",
    title="Optical recognition of handwritten digits, 8x8",
    input=InputSpec(
        shape=(1, 8, 8),
        dtype="float32",
        low=0.0,
        high=1.0,
        layout="CHW",
        preprocessing="integers 0 to 16, / 16",
    ),
    classes=tuple("0123456789"),
    source="Alpaydin, Kaynak: UCI test set, as bundled with scikit-learn (load_digits)",
    licence="redistributed with scikit-learn (BSD 3-Clause)",
    loader="obfnet.data.digits:load",
    bundled_in="sklearn",
    extra="train",
)


def load(spec: CaseSpec, files: Mapping[str, bytes]) -> Dataset:
    """The three splits of the bundled digits.

    Args:
        spec: `CASE`.
        files: Empty: the package carries the samples.

    Returns:
        1,257 training, 180 validation and 360 test samples, `(N, 1, 8, 8)` float32 in [0, 1],
        each split with the classes' shares of the whole.

    Raises:
        MissingExtraError: scikit-learn is not installed.
        DataError: scikit-learn carries other digits than expected.
    """
    try:
        # By name, so that neither an import of this module nor a device ever needs the package.
        bundled = importlib.import_module("sklearn.datasets").load_digits()
    except ModuleNotFoundError as exc:
        raise MissingExtraError("sklearn", spec.extra) from exc
    samples = (bundled.images[:, np.newaxis] / 16).astype(np.float32)
    labels = bundled.target.astype(np.int64)
    if samples.shape != (1797, 1, 8, 8):
        raise DataError("1,797 digits of 8x8", str(samples.shape), "install another release of scikit-learn")
    rest, test = hold_out(labels, TEST_COUNT, seed=TEST_SEED)
    kept, held = hold_out(labels[rest], VALIDATION_COUNT, seed=VALIDATION_SEED)

    def split(indices: Indices) -> Split:
        return Split(samples=samples[indices], labels=labels[indices])

    return Dataset(spec=spec, train=split(rest[kept]), validation=split(rest[held]), test=split(test))
