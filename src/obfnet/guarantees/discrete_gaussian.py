"""Whole-numbered Gaussian noise on bounded whole numbers: what one request leaks at most, and what n do.

A float has no Gaussian: which sums can come out tells what went in (Mironov 2012, *On Significance of the
Least Significant Bits for Differential Privacy*). On whole numbers everything is exact.
"""

import math
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import Final

from obfnet.core.errors import RangeError

LEVELS: Final = 64
"""Noisy numbers are whole ones in -LEVELS ... LEVELS before noise is added."""

LEAST_NOISE: Final = 0.25
MOST_NOISE: Final = 8.0
"""Standard deviations as shares of LEVELS; with less, what lies beyond would have to be known too exactly."""

MISSED: Final = 80
"""What is drawn is a discrete Gaussian but for 2^-MISSED, seen from however different a number."""

_GUARD: Final = 64
_TAILS: Final = 12.0


@lru_cache(maxsize=4)
def weights(scale: float) -> tuple[int, tuple[int, ...]]:
    """The discrete Gaussian in whole numbers: bits of their sum, and the weight of 0, 1, 2 ...

    Args:
        scale: Standard deviation of the continuous Gaussian with the same weights, from LEAST_NOISE to
            MOST_NOISE times LEVELS.

    Returns:
        The weights of all whole numbers, those below 0 being as many, add up to 2^bits. They go so far that
        all beyond, 2 LEVELS nearer to 0, weigh less than 2^-MISSED of it, and are each right to 2^-60.

    Raises:
        RangeError: a scale out of range.

    Source: Canonne, Kamath and Steinke 2020, *The Discrete Gaussian for Differential Privacy*, definition 1.
    """
    if not LEAST_NOISE * LEVELS <= scale <= MOST_NOISE * LEVELS:
        raise RangeError(
            f"a noise of {LEAST_NOISE:g} to {MOST_NOISE:g}", f"{scale / LEVELS:g}", "change the noise"
        )
    # A Gaussian's tail weighs less than e^(-x^2 / 2).
    last = 2 * LEVELS + math.ceil(scale * math.sqrt(2 * math.log(2) * (MISSED + 2))) + 1
    bits = math.ceil(last**2 / (2 * scale**2) / math.log(2) + math.log2(6 * scale + 6)) + _GUARD
    with localcontext() as context:
        context.prec = math.ceil(bits * math.log10(2)) + 10
        twice = 2 * Decimal(scale) ** 2
        each = [(-(Decimal(k) ** 2) / twice).exp() for k in range(last + 1)]
        unit = Decimal(2**bits) / (each[0] + 2 * sum(each[1:]))
        whole = [int(weight * unit) for weight in each]
    # What rounding left over goes where it is least in proportion.
    whole[0] += 2**bits - whole[0] - 2 * sum(whole[1:])
    return bits, tuple(whole)


def chance_of_none(scale: float) -> float:
    """The chance of 0 under the discrete Gaussian.

    Example:
        >>> round(chance_of_none(1.0), 4)
        0.3989
    """
    if not 0 < scale < math.inf:
        raise RangeError("a finite scale above 0", f"{scale}", "raise the noise")
    farthest = math.ceil(_TAILS * scale)
    return 1 / (1 + 2 * math.fsum(math.exp(-(k**2) / (2 * scale**2)) for k in range(1, farthest + 1)))


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
    return values * math.log2(1 + 2 * levels * chance_of_none(scale))


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
    if not 0 < scale < math.inf:
        raise RangeError("a finite scale above 0", f"{scale}", "raise the noise")
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
