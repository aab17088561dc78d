"""What a bundle leaves to the device: which bits to invert, what noise to add, whether to send more.

A graph of such a bundle takes it as a second input, so that nothing in a file decides it. Lots are drawn from
the operating system's random source, anew for every sample; leave to send more is given by the device's own
count. That the graph uses it as it must is proved by `chance_cut`.
"""

import math
import os
from abc import ABC, abstractmethod
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, ClassVar, Final, final

import numpy as np
import numpy.typing as npt

from obfnet.guarantees.discrete_gaussian import LEVELS, weights
from obfnet.guarantees.randomised_response import flip_probability

Drawn = npt.NDArray[Any]

_RANGE: Final = 1 << 32
_BOOL: Final = 9
_FLOAT: Final = 1


class Chance(ABC):
    """What a device decides for each sample: by lot, or by its own count."""

    name: ClassVar[str]
    """Of the graph's second input, `(N, width)`."""

    element: ClassVar[int]
    """ONNX's number of its element type."""

    random: ClassVar[bool] = True
    """Whether lots are drawn, so that the same sample is sent otherwise every time."""

    @abstractmethod
    def draw(self, count: int, width: int) -> Drawn:
        """What is decided for so many samples, `(count, width)`.

        Lots come from the operating system's random source.
        """


@final
@dataclass(frozen=True)
class Flips(Chance):
    """Which bits of a code to invert: randomised response.

    Args:
        epsilon: Of one request, > 0.
    """

    name = "flips"
    element = _BOOL
    epsilon: float

    def draw(self, count: int, width: int) -> Drawn:
        """Bools; each is true with the probability of `flip_probability`, or up to 2^-32 more often.

        Raises:
            RangeError: an epsilon that is not above 0 and finite, or no bits.
        """
        below = math.ceil(flip_probability(self.epsilon, width) * _RANGE)
        return np.frombuffer(os.urandom(4 * count * width), np.uint32).reshape(count, width) < below


@final
@dataclass(frozen=True)
class Noise(Chance):
    """Whole numbers to add, of a discrete Gaussian.

    Args:
        scale: Standard deviation as a share of `LEVELS`, from LEAST_NOISE (0.25) to MOST_NOISE (8).
    """

    name = "noise"
    element = _FLOAT
    scale: float

    def draw(self, count: int, width: int) -> Drawn:
        """Whole numbers as float32, of the distribution of `discrete_gaussian.weights`, to the last bit.

        Raises:
            RangeError: a scale out of this range.
        """
        size, lowest, limits = _table(self.scale * LEVELS)
        drawn = os.urandom(size * count * width)
        places = [
            bisect_right(limits, int.from_bytes(drawn[at : at + size], "big"))
            for at in range(0, len(drawn), size)
        ]
        return (np.array(places, np.float32) + np.float32(lowest)).reshape(count, width)


@final
@dataclass(frozen=True)
class Leave(Chance):
    """Leave to send a rich request where the sample needs one.

    Args:
        poor_bits: What a request without leave can tell at most.
        share: Of rich requests, which the device keeps to.
    """

    name = "leave"
    element = _BOOL
    random = False
    poor_bits: float
    share: float

    def draw(self, count: int, width: int) -> Drawn:
        """Leave for all: the most that can be sent. What a device then sends is for its count to say."""
        return np.ones((count, width), np.bool_)


@lru_cache(maxsize=4)
def _table(scale: float) -> tuple[int, int, list[int]]:
    """Bytes of a draw, the least outcome, and for each but the last the number that a draw must be below."""
    bits, one_side = weights(scale)
    size = -(-bits // 8)
    each = [weight << (8 * size - bits) for weight in (*one_side[:0:-1], *one_side)]
    return size, 1 - len(one_side), list(accumulate(each))[:-1]


def chance_of(
    *,
    epsilon: float | None,
    noise: float | None,
    poor_bits: float | None = None,
    rich_share: float | None = None,
) -> Chance | None:
    """What a manifest's fields ask for; None where nothing is left to the device."""
    if epsilon is not None:
        return Flips(epsilon)
    if poor_bits is not None and rich_share is not None:
        return Leave(poor_bits, rich_share)
    return None if noise is None else Noise(noise)


def no_chance(session: Any, count: int) -> dict[str, Drawn]:
    """What an engine's session must be given besides samples, so that nothing is inverted, added or allowed.

    Args:
        session: An `onnxruntime.InferenceSession`.
        count: Samples.

    Returns:
        Empty for a graph of one input.
    """
    return {
        given.name: np.zeros((count, given.shape[1]), np.bool_ if "bool" in given.type else np.float32)
        for given in session.get_inputs()[1:]
    }
