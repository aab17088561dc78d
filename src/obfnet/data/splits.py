"""Cuts a stratified part off a set of samples, the same one on every machine.

Whatever is chosen (epochs, rates, checkpoints) is chosen on such a part of the training set; the
test set is never cut. Splits by speaker or scene belong to their cases.
"""

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import UsageError

Indices = npt.NDArray[np.int64]


def hold_out(labels: npt.NDArray[np.int64], count: int, *, seed: int) -> tuple[Indices, Indices]:
    """Chooses `count` samples so that each class keeps its share.

    Args:
        labels: `(N,)` int64, ≥ 0.
        count: How many to hold out, 1 ≤ count < N.
        seed: Seeds the choice within each class.

    Returns:
        The indices that stay, `(N - count,)`, and those held out, `(count,)`; both ascending int64,
        disjoint, and together `0 ... N - 1`. A class of n samples gives n * count / N of them,
        rounded down or up.

    Raises:
        UsageError: `count` is out of range.

    Example:
        >>> kept, held = hold_out(np.array([0, 0, 0, 0, 1, 1]), 3, seed=0)
        >>> len(kept), sorted([0, 0, 0, 0, 1, 1][index] for index in held)
        (3, [0, 0, 1])
    """
    if not 1 <= count < len(labels):
        raise UsageError(f"to hold out 1 to {len(labels) - 1} samples", str(count), "choose another size")
    classes, sizes = np.unique(labels, return_counts=True)
    quotas, remainders = np.divmod(sizes * count, len(labels))
    # The largest remainders are rounded up until the count is met; ties go to the lower class.
    quotas[np.argsort(-remainders, kind="stable")[: count - int(quotas.sum())]] += 1
    # RandomState's streams are frozen for good, those of default_rng may change with NumPy.
    random = np.random.RandomState(seed)
    chosen = [
        random.permutation(np.flatnonzero(labels == label))[:quota]
        for label, quota in zip(classes, quotas, strict=True)
    ]
    held = np.sort(np.concatenate(chosen)).astype(np.int64)
    kept = np.setdiff1d(np.arange(len(labels), dtype=np.int64), held, assume_unique=True)
    return kept, held
