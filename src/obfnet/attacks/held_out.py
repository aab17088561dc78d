"""What an attacker keeps aside of its own samples, and how it judges a guess at them.

Attacks that have settings choose them on such a part. It is cut from what the attacker knows; the samples
that the attack is scored on play no part in it.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from obfnet.attacks.knowledge import Labels, Samples
from obfnet.attacks.principal_components import flat
from obfnet.data.rows import AnyRows, batches
from obfnet.data.splits import hold_out
from obfnet.metrics.similarity import mse, ssim

_SHARE: Final = 0.1
_FEWEST: Final = 10
_MOST: Final = 500
_MOST_VALUES: Final = 2_000_000
_WINDOW: Final = 7

Indices = npt.NDArray[np.int64]


def own_parts(labels: Labels, *, values: int, seed: int) -> tuple[Indices, Indices]:
    """Which of the attacker's samples it learns from, and which it chooses its settings on.

    Args:
        labels: `(N,)` int64.
        values: Number of values in a raw sample: of large samples fewer are held out.
        seed: Of the choice.

    Returns:
        Two disjoint ascending sets of indices; the second is empty where fewer than ten samples are known.

    Example:
        >>> kept, held = own_parts(np.arange(40) % 2, values=784, seed=0)
        >>> len(kept), len(held), len(own_parts(np.zeros(9, np.int64), values=784, seed=0)[1])
        (36, 4, 0)
    """
    if len(labels) < _FEWEST:
        return np.arange(len(labels)), np.empty(0, np.int64)
    count = min(round(_SHARE * len(labels)), _MOST, max(50, _MOST_VALUES // values))
    return hold_out(labels, count, seed=seed)


def likeness(raw: Samples, guess: Samples) -> npt.NDArray[np.float64]:
    """How good each guess is: SSIM, or minus the squared error where a sample has no room for its window.

    Args:
        raw: `(N, *raw_shape)` in [0, 1].
        guess: The same shape.

    Returns:
        `(N,)`, higher is better.
    """
    if raw.ndim == 4 and min(raw.shape[2:]) >= _WINDOW:
        return ssim(raw, guess)
    return -mse(raw, guess)


def energy_distance(some: Samples, others: Samples) -> float:
    """How far two sets of samples are apart in distribution: 0 for one distribution, up to sampling.

    Args:
        some: `(M, D)`.
        others: `(N, D)`.

    Source: Székely and Rizzo 2013, *Energy statistics: a class of statistics based on distances*, with
        unbiased means within each set, so that it may come out a little below 0.
    """
    within = [cdist(side, side).sum() / max(1, len(side) * (len(side) - 1)) for side in (some, others)]
    return float(2 * cdist(some, others).mean() - sum(within))


def class_means(raw: AnyRows, labels: Labels) -> tuple[Labels, Samples]:
    """What the label alone gives: every attack that may fall back on the label falls back on this.

    Args:
        raw: `(N, *raw_shape)` float32 in [0, 1] or uint8, or lazy rows.
        labels: `(N,)` int64.

    Returns:
        The labels that occur, `(K,)` ascending, and the mean sample of each, `(K + 1, *raw_shape)` float32;
        the last is the mean of all, for labels that do not occur.
    """
    classes, index = np.unique(labels, return_inverse=True)
    sums = np.zeros((len(classes), int(np.prod(raw.shape[1:]))))
    done = 0
    for some in batches(raw):
        member = np.eye(len(classes))[index[done : done + len(some)]]
        sums += member.T @ flat(some)
        done += len(some)
    means = sums / np.bincount(index)[:, None]
    both = np.concatenate([means, sums.sum(axis=0, keepdims=True) / done])
    return classes, both.astype(np.float32).reshape(-1, *raw.shape[1:])


def class_index(classes: Labels, labels: Labels) -> Indices:
    """Row of `class_means` for each label: the last one for a label that is not among `classes`.

    Example:
        >>> class_index(np.array([2, 5]), np.array([5, 3, 2])).tolist()
        [1, 2, 0]
    """
    row = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    return np.where(classes[row] == labels, row, len(classes)).astype(np.int64)
