"""Whole-numbered Gaussian noise on bounded whole numbers: what one request leaks at most, and what n do.

A float has no Gaussian: which sums can come out tells what went in (Mironov 2012, *On Significance of the
Least Significant Bits for Differential Privacy*). On whole numbers everything is exact.
"""

import math
from functools import lru_cache
from typing import Final

from obfnet.core.errors import RangeError

LEVELS: Final = 64
"""Noisy numbers are whole ones in -LEVELS ... LEVELS before noise is added."""

_TAILS: Final = 12.0


@lru_cache
def probabilities(scale: float) -> tuple[float, ...]:
    """Of 0, 1, 2 ... under the discrete Gaussian; those beyond twelve times the scale are below 1e-31.

    Args:
        scale: Standard deviation of the continuous Gaussian with the same weights, > 0.

    Raises:
        RangeError: a scale that is not above 0 and finite.

    Source: Canonne, Kamath and Steinke 2020, *The Discrete Gaussian for Differential Privacy*, definition 1.

    Example:
        >>> round(probabilities(1.0)[0], 4)
        0.3989
    """
    if not 0 < scale < math.inf:
        raise RangeError("a finite scale above 0", f"{scale}", "raise the noise")
    weights = [math.exp(-(k**2) / (2 * scale**2)) for k in range(math.ceil(_TAILS * scale) + 1)]
    total = weights[0] + 2 * math.fsum(weights[1:])
    return tuple(weight / total for weight in weights)


def noisy_bits(values: int, levels: int, scale: float) -> float:
    """The Bayes capacity of so many noisy numbers: what one request leaks at most, in bits.

    Args:
        values: How many numbers, each in -levels ... levels, ≥ 1.
        levels: ≥ 1.
        scale: Of the noise on each, > 0.

    Raises:
        RangeError: no values or levels, or a scale that is not above 0.

    Source: `capacity.bayes_capacity_bits`: for each of the 2 levels + 1 outcomes within the range the number
        itself is the likeliest input, beyond it the nearest end is; the sum of these chances is
        1 + 2 levels · P(0). Alvim et al. 2012, theorem 5.1; numbers are independent given the sample.

    Example:
        >>> noisy_bits(1, 1, 1e-3), round(noisy_bits(18, 64, 64.0), 1)
        (1.584962500721156, 15.2)
    """
    if not (values >= 1 and levels >= 1):
        raise RangeError("at least 1 value and 1 level", f"{values}, {levels}", "check both")
    return values * math.log2(1 + 2 * levels * probabilities(scale)[0])


def noisy_rho(values: int, levels: int, scale: float) -> float:
    """Zero-concentrated differential privacy of one request; n requests have n times as much.

    Args:
        values: As for `noisy_bits`.
        levels: As for `noisy_bits`.
        scale: As for `noisy_bits`.

    Source: Canonne, Kamath and Steinke 2020, theorem 4; two samples may differ by 2 levels in each number.

    Example:
        >>> noisy_rho(2, 64, 64.0)
        4.0
    """
    probabilities(scale)
    return values * (2 * levels) ** 2 / (2 * scale**2)


def epsilon_of_rho(rho: float, delta: float) -> float:
    """The epsilon at a delta of zero-concentrated differential privacy.

    Args:
        rho: ≥ 0, of all requests together.
        delta: In (0, 1).

    Raises:
        RangeError: a number out of range.

    Source: Bun and Steinke 2016, *Concentrated Differential Privacy*, proposition 1.3.

    Example:
        >>> round(epsilon_of_rho(0.5, 1e-5), 2)
        5.3
    """
    if not (0 <= rho < math.inf and 0 < delta < 1):
        raise RangeError("a rho of 0 or more and a delta in (0, 1)", f"{rho}, {delta}", "check both")
    return rho + 2 * math.sqrt(rho * math.log(1 / delta))
