"""Do recorded pairs look as if row i of one belonged to row i of the other?

Pairs whose sides were shuffled against each other leak nothing to any attack, and would pass every audit. A
ridge regression predicts one side from the other, on pairs that it was not fitted on, and a permutation test
says whether it finds anything. It can only say that something is there, never that nothing is.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from obfnet.auditing.npz import rows_at_once
from obfnet.data.rows import AnyRows, Indices

Floats = npt.NDArray[np.float32]
_LOOKED_AT: Final = 2_000
_PROJECTIONS: Final = 32
_PERMUTATIONS: Final = 1_999
_AT_ONCE: Final = 100
_SIGNIFICANT: Final = 0.001
_LEVEL: Final = "held-out ridge regression on random projections, permutation p < 0.001"


def evenly_spaced(count: int, limit: int) -> Indices:
    """At most `limit` of the indices 0 ... count-1, ascending and evenly spaced.

    Example:
        >>> evenly_spaced(10, 4).tolist(), evenly_spaced(3, 4).tolist()
        ([0, 3, 6, 9], [0, 1, 2])
    """
    return np.unique(np.linspace(0, count - 1, min(count, limit)).round().astype(np.int64))


def pairing_doubts(
    raw: AnyRows, received: AnyRows, labels: npt.NDArray[np.int64], *, seed: int = 0
) -> list[str]:
    """What speaks against these being pairs, in sentences for a report; none where a relation was found.

    Args:
        raw: `(N, ...)` in [0, 1].
        received: `(N, ...)` in [0, 1].
        labels: `(N,)`, ≥ 0.
        seed: Of the projections and permutations.

    Does not guarantee: that pairs are right where nothing is said, nor that little leaks where something is:
        an obfuscation that no such regression sees through looks the same as a shuffled file.
    """
    random = np.random.default_rng(seed)
    chosen = evenly_spaced(len(labels), _LOOKED_AT)
    label = labels[chosen]
    x, y = (_projected(rows, chosen, random) for rows in (received, raw))
    alike = bool(np.abs(_within(x, label)).max() < 1e-5)
    one_hot = np.eye(int(label.max()) + 1, dtype=np.float32)[label]
    everyone = np.zeros_like(label)
    beyond_label = not alike and _related(x, y, label, random)
    received_label = _related(x, one_hot, everyone, random)
    raw_label = _related(y, one_hot, everyone, random)
    doubts = []
    if not beyond_label and received_label:
        doubts.append(
            "obfuscated samples of one label are all alike: nothing but the label was found in them"
            if alike
            else f"within a label, obfuscated samples tell nothing of raw ones ({_LEVEL}): either little "
            "leaks, or the pairs of each label were shuffled against each other; check how they were recorded"
        )
    elif not beyond_label:
        doubts.append(
            f"raw and obfuscated samples look shuffled against each other: the obfuscated ones tell neither "
            f"of the raw ones nor of the label ({_LEVEL}); it may also be that nothing leaks, but then the "
            "label cannot be served either; check that row i of one belongs to row i of the other"
        )
    if not raw_label:
        doubts.append(
            f"raw samples tell nothing of their labels ({_LEVEL}): check that row i of one belongs to row i "
            "of the other"
        )
    return doubts


def _projected(rows: AnyRows, chosen: Indices, random: np.random.Generator) -> Floats:
    size, values = rows_at_once(rows.shape), int(np.prod(rows.shape[1:]))
    matrix = random.standard_normal((values, min(values, _PROJECTIONS)), np.float32) / np.float32(values**0.5)
    parts = [
        np.asarray(rows[chosen[start : start + size]], np.float32).reshape(-1, values) @ matrix
        for start in range(0, len(chosen), size)
    ]
    projected = np.concatenate(parts)
    spread = projected.std(axis=0)
    scaled: Floats = (projected - projected.mean(axis=0)) / np.where(spread > 1e-6, spread, 1)
    return scaled


def _within(values: Floats, groups: npt.NDArray[np.int64]) -> Floats:
    """Values less the mean of their group."""
    _, index = np.unique(groups, return_inverse=True)
    sums = np.zeros((int(index.max()) + 1, values.shape[1]), np.float64)
    np.add.at(sums, index, values)
    means = sums / np.bincount(index)[:, np.newaxis]
    return (values - means[index]).astype(np.float32)


def _related(x: Floats, y: Floats, groups: npt.NDArray[np.int64], random: np.random.Generator) -> bool:
    """Whether x tells of y within groups, beyond what permutations within groups do."""
    order = random.permutation(len(x))
    fit, held = order[::2], order[1::2]
    # Size beside sign: what an even function of a sample leaves is not linear.
    features = np.concatenate([x, np.abs(x)], axis=1)
    inputs, targets = _within(features[fit], groups[fit]), _within(y[fit], groups[fit])
    gram = inputs.T @ inputs + np.float32(1 + 0.01 * len(fit)) * np.eye(inputs.shape[1], dtype=np.float32)
    predicted = _within(features[held], groups[held]) @ np.linalg.solve(gram, inputs.T @ targets)
    agreement = predicted @ _within(y[held], groups[held]).T
    base = np.argsort(groups[held], kind="stable")
    found, ranks = np.trace(agreement), np.unique(groups[held][base], return_inverse=True)[1]
    at_least, left = 0, _PERMUTATIONS
    while left:
        size = min(left, _AT_ONCE)
        # Random fractions sort within a group only: its number is the whole part.
        permuted = base[np.argsort(ranks + random.random((size, len(base))), axis=1)]
        at_least += int((agreement[base, permuted].sum(axis=1) >= found).sum())
        if (1 + at_least) / (1 + _PERMUTATIONS) >= _SIGNIFICANT:
            return False
        left -= size
    return True
