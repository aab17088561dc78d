"""Randomised response on the bits of a code: a local differential privacy guarantee for one request."""

import math

from obfnet.core.errors import RangeError


def flip_probability(epsilon: float, bits: int) -> float:
    """How often each bit of a code must be flipped for epsilon-local differential privacy of the whole code.

    Any two samples may differ in all bits, and the bits are flipped independently: each has epsilon / bits.

    Args:
        epsilon: Of one request, > 0.
        bits: Of the code, ≥ 1.

    Returns:
        Probability in (0, 0.5).

    Raises:
        RangeError: an epsilon that is not above 0 and finite, or no bits.

    Source: Warner 1965, *Randomized Response*; Kairouz, Oh and Viswanath 2014, *Extremal Mechanisms for Local
        Differential Privacy*, section 2.
    Does not guarantee: anything for repeated requests of one sample: n of them have n times epsilon.

    Example:
        >>> round(flip_probability(math.log(3), 1), 6)
        0.25
    """
    if not (0 < epsilon < math.inf and bits >= 1):
        raise RangeError("a finite epsilon above 0 and at least 1 bit", f"{epsilon}, {bits}", "check both")
    # Not 1 / (1 + e^x), which overflows.
    odds = math.exp(-epsilon / bits)
    return odds / (1 + odds)


def code_epsilon(flip: float, bits: int) -> float:
    """The epsilon of one request whose code has its bits flipped with this probability.

    Args:
        flip: Probability for each bit, in [0, 0.5].
        bits: Of the code, ≥ 1.

    Returns:
        Infinite where nothing is flipped, 0 where every bit is a coin.

    Raises:
        RangeError: a probability out of range, or no bits.

    Source: as `flip_probability`, which it inverts.

    Example:
        >>> round(code_epsilon(0.25, 2), 4)
        2.1972
    """
    if not (0 <= flip <= 0.5 and bits >= 1):
        raise RangeError("a probability in [0, 0.5] and at least 1 bit", f"{flip}, {bits}", "check both")
    return math.inf if flip == 0 else bits * math.log((1 - flip) / flip)


def code_bits(flip: float, bits: int) -> float:
    """The Bayes capacity of a code with flipped bits: what one request leaks at most, in bits.

    Args:
        flip: Probability for each bit, in [0, 0.5].
        bits: Of the code, ≥ 1.

    Raises:
        RangeError: as `code_epsilon`.

    Source: `capacity.bayes_capacity_bits` of the product of `bits` binary symmetric channels, each of which
        has 2 (1 - flip) for the sum over its outputs.

    Example:
        >>> code_bits(0, 16), code_bits(0.5, 16)
        (16.0, 0.0)
    """
    if not (0 <= flip <= 0.5 and bits >= 1):
        raise RangeError("a probability in [0, 0.5] and at least 1 bit", f"{flip}, {bits}", "check both")
    return bits * math.log2(2 * (1 - flip))
