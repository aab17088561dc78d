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
from obfnet.data.case import CaseSpec
from obfnet.data.splits import hold_out
from obfnet.data.table import TEST, TRAIN, SplitRule, Table

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
    splits=(
        SplitRule(
            name="official",
            about="a fixed fifth of the samples",
            validation=VALIDATION_COUNT,
            validation_seed=VALIDATION_SEED,
        ),
    ),
    bundled_in="sklearn",
    extra="train",
)


def load(spec: CaseSpec, files: Mapping[str, bytes]) -> Table:
    """The bundled digits.

    Args:
        spec: `CASE`.
        files: Empty: the package carries the samples.

    Returns:
        1,797 samples, `(N, 1, 8, 8)` float32 in [0, 1], 360 of them for the test, each part with the classes'
        shares of the whole.

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
    _, test = hold_out(labels, TEST_COUNT, seed=TEST_SEED)
    part = np.full(len(labels), TRAIN)
    part[test] = TEST
    return Table(samples=samples, labels=labels, part=part)
