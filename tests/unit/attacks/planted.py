"""Samples with an attribute planted in them, for the recognisers' and the linkers' tests."""

from typing import Any, Final

import numpy as np

SHAPE: Final = (1, 10, 12)
VALUES: Final = 4
Samples = np.ndarray[Any, Any]


def planted(count: int, seed: int) -> tuple[Samples, Samples]:
    """Noise in which the attribute's value raises one row a little; float32 in [0, 1]."""
    random = np.random.default_rng(seed)
    values = random.integers(0, VALUES, count)
    samples = random.uniform(0, 0.6, (count, *SHAPE))
    samples[np.arange(count), 0, 2 * values] += 0.3
    return samples.astype(np.float32), values
