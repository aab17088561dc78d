"""The coins of a randomised code: which of its bits a device inverts, drawn anew for every sample.

A graph of such a bundle takes them as a second input, so that nothing in a file decides chance; the device
draws them from the operating system's random source. That the graph uses them as it must is proved by `cut`.
"""

import math
import os
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.guarantees.randomised_response import flip_probability

FLIPS_NAME: Final = "flips"
"""Name of the graph's second input, `(N, bits)` bool."""

_RANGE: Final = 1 << 32

Flips = npt.NDArray[np.bool_]


def draw_flips(count: int, bits: int, epsilon: float) -> Flips:
    """Which bits to invert, from the operating system's random source.

    Args:
        count: Samples, ≥ 0.
        bits: Of a code, ≥ 1.
        epsilon: Of one request, > 0.

    Returns:
        `(count, bits)`; each is true with the probability of `flip_probability`, or 2^-32 more often.

    Raises:
        RangeError: an epsilon that is not above 0 and finite, or no bits.
    """
    below = math.ceil(flip_probability(epsilon, bits) * _RANGE)
    drawn = np.frombuffer(os.urandom(4 * count * bits), np.uint32).reshape(count, bits)
    return drawn < below


def no_flips(session: Any, count: int) -> dict[str, Flips]:
    """What an engine's session must be given besides samples, so that nothing is inverted.

    Args:
        session: An `onnxruntime.InferenceSession`.
        count: Samples.

    Returns:
        Empty for a graph without flips.
    """
    return {given.name: np.zeros((count, given.shape[1]), np.bool_) for given in session.get_inputs()[1:]}
