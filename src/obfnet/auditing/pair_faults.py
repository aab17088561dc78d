"""What can be wrong with recorded pairs, each fault with its remedy, collected so that all are said at once.

Looks at dtypes, shapes, ranges and categories; reading, and what is made of sound pairs, is `pairs`'.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, final

import numpy as np
import numpy.typing as npt

from obfnet.auditing.npz import StoredRows
from obfnet.auditing.scaling import ROUNDING, Extent
from obfnet.core.errors import DataError

T = TypeVar("T")
Labels = npt.NDArray[np.int64]
FEWEST_PAIRS: Final = 200
"""Fewer pairs than these are no measurement."""

# Attacks look at a few hundred samples at once, in several copies.
_LARGEST_SAMPLE: Final = 1024 * 1024


@final
class Faults:
    """What is wrong with a file, until all of it is said.

    Args:
        path: The file, for the message.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._found = path, list[DataError]()

    def add(self, fault: DataError) -> None:
        """Remembers a fault."""
        self._found.append(fault)

    def collect(self, check: Callable[[], T]) -> T | None:
        """What a check returns; None, and a fault more, where it raises `DataError`."""
        try:
            return check()
        except DataError as exc:
            self.add(exc)
            return None

    def raise_any(self) -> None:
        """Raises one `DataError` that names every fault, if there is any."""
        if len(self._found) == 1:
            fault = self._found[0]
            raise DataError(f"{fault.expected} in {self._path}", fault.got, fault.remedy) from fault
        if self._found:
            listed = "; ".join(f"({number}) {fault}" for number, fault in enumerate(self._found, 1))
            raise DataError(
                f"sound pairs in {self._path}", f"{len(self._found)} faults: {listed}", "mend all of them"
            )


def checked_samples(stored: StoredRows) -> StoredRows:
    """The same; raises `DataError` where they are no numbers, no rows, or huge ones."""
    rows, key = stored.rows, stored.key
    if rows.dtype.kind not in "fiub" or rows.dtype.itemsize > 8:
        got, remedy = f"dtype {rows.dtype}", "save floats, integers or booleans of at most 64 bits"
        raise DataError(f"numbers in `{key}`", got, remedy)
    if rows.ndim < 2 and key == "raw":
        got = f"shape {rows.shape}"
        raise DataError("`raw` of shape (N, ...)", got, "give each sample at least one axis of its own")
    if math.prod(rows.shape[1:]) > _LARGEST_SAMPLE:
        got, remedy = f"shape {rows.shape}", "shrink or cut the samples"
        raise DataError(f"at most {_LARGEST_SAMPLE} values a sample in `{key}`", got, remedy)
    return stored


def categories(column: npt.NDArray[Any], key: str) -> tuple[Labels, tuple[str, ...]]:
    """Indices of categories and what they were called.

    Args:
        column: `(N,)` or `(N, 1)` whole numbers of any sign and dtype, booleans or text.
        key: Its name.

    Returns:
        `(N,)` int64 into the second, which is sorted; text is cut at 40 characters.

    Raises:
        DataError: other numbers, bytes, another shape.

    Example:
        >>> categories(np.array(["no", "yes", "no"]), "label")
        (array([0, 1, 0]), ('no', 'yes'))
    """
    if column.ndim == 2 and column.shape[1] == 1:
        column = column[:, 0]
    if column.ndim != 1:
        remedy = f"for one-hot rows save {key}.argmax(axis=1)"
        raise DataError(f"`{key}` of shape (N,)", f"shape {column.shape}", remedy)
    if column.dtype.kind not in "fiubU":
        got, remedy = f"dtype {column.dtype}", f"save {key}.astype(int) or {key}.astype(str)"
        raise DataError(f"whole numbers or text in `{key}`", got, remedy)
    if column.dtype.kind == "f" and not bool((np.isfinite(column) & (column == np.floor(column))).all()):
        raise DataError(f"whole numbers or text in `{key}`", "fractions, NaN or infinity", "save categories")
    values, index = np.unique(column, return_inverse=True)
    named = (str(value) if values.dtype.kind == "U" else str(int(value)) for value in values)
    names = tuple("".join(c if c.isprintable() else "?" for c in name)[:40] for name in named)
    return index.astype(np.int64), names


def check_counts(counts: dict[str, int], faults: Faults) -> None:
    """Adds a fault where arrays differ in length, and one where there are too few samples."""
    if len(set(counts.values())) > 1:
        got = ", ".join(f"{count} `{key}`" for key, count in counts.items())
        faults.add(DataError("as many samples in every array", got, "record them together"))
    if counts and (fewest := min(counts.values())) < FEWEST_PAIRS:
        faults.add(DataError(f"at least {FEWEST_PAIRS} pairs", f"{fewest}", "record more"))


def check_labels(labels: Labels, classes: tuple[str, ...]) -> None:
    """Raises `DataError` where there is one label, or one for nearly every sample."""
    if len(labels) and len(classes) < 2:
        raise DataError(
            "at least 2 labels",
            "1",
            "record samples of other labels: what one label gives away is known beforehand",
        )
    if len(classes) > max(1, len(labels) // 2):
        got, remedy = f"{len(classes)} labels of {len(labels)} samples", "give what the backend answers"
        raise DataError("a few samples of each label", got, remedy)


def check_raw_range(dtype: np.dtype[Any], extent: Extent) -> None:
    """Raises `DataError`, with how to scale them, where raw samples are not in [0, 1] or 0 ... 255."""
    low, high = extent.ends
    if low > high:
        # There are none: said elsewhere.
        return
    if low == high:
        raise DataError("`raw` samples that differ", "one value everywhere", "record real samples")
    if dtype.kind == "b":
        return
    if dtype.kind in "iu":
        if low < 0 or high > 255:
            by = {2: "/ 32768 / 2 + 0.5"}.get(
                dtype.itemsize if dtype.kind == "i" else 0, "scaled by their range"
            )
            remedy = f"save floats in [0, 1] (raw.astype('float32') {by}) or uint8"
            raise DataError("integers of 0 ... 255 in `raw`", f"{dtype} beyond it", remedy)
        if high <= 1:
            raise DataError("`raw` of 0 ... 255", f"{dtype} of 0 and 1 only", "save raw.astype(bool)")
        return
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        return
    remedy = "save (raw - low) / (high - low), with the lowest and highest value that a sample can have"
    if low >= -1 - ROUNDING and high <= 1 + ROUNDING:
        remedy = "save (raw + 1) / 2, if -1 is the lowest and 1 the highest value that a sample can have"
    elif low >= 0 and high <= 255:
        remedy = "save raw / 255" if not extent.whole else "save raw / 255 or raw.astype('uint8')"
    raise DataError("floats in [0, 1] in `raw`", "values outside", remedy)
