"""How much any guess can gain from one output: the Bayes capacity of a channel, in bits.

A channel of at most 2^b outputs multiplies nobody's chance of a right guess by more than 2^b, whatever is
guessed, whatever was known before, and however long anybody computes.
"""

import math

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import RangeError, ShapeError, UsageError

_ROUNDING = 1e-6


def outputs_bits(outputs: int) -> float:
    """The most that a channel with so many different outputs can leak: log2 of their number, in bits.

    Args:
        outputs: Number of different values that one request can take, ≥ 1.

    Raises:
        UsageError: no outputs.

    Source: Smith 2009, *On the Foundations of Quantitative Information Flow*; for all gain functions Alvim,
        Chatzikokolakis, Palamidessi and Smith 2012, *Measuring Information Leakage Using Generalized Gain
        Functions*.
    Does not guarantee: that a guess is bad. What was likely beforehand stays likely.

    Example:
        >>> outputs_bits(65_536)
        16.0
    """
    if outputs < 1:
        raise UsageError("a channel of at least 1 output", str(outputs), "count its outputs")
    return math.log2(outputs)


def bayes_capacity_bits(channel: npt.NDArray[np.float64]) -> float:
    """The Bayes capacity of a channel: log2 of the sum over outputs of their most likely input's probability.

    Args:
        channel: `(X, Y)`, P(output y | input x); rows sum to 1.

    Raises:
        ShapeError: no matrix, or an empty one.
        RangeError: rows that are no distributions.

    Source: Braun, Chatzikokolakis and Palamidessi 2009, *Quantitative Notions of Leakage for One-try
        Attacks*.
    Does not guarantee: anything about several requests of the same sample, unless the channel is
        deterministic.

    Example:
        >>> bayes_capacity_bits(np.eye(4))
        2.0
        >>> bayes_capacity_bits(np.full((4, 3), 1 / 3))
        0.0
    """
    channel = np.asarray(channel, np.float64)
    if channel.ndim != 2 or channel.size == 0:
        raise ShapeError("a channel (inputs, outputs)", str(channel.shape), "give a matrix")
    if not (channel >= 0).all() or not np.allclose(channel.sum(axis=1), 1, atol=_ROUNDING):
        raise RangeError("rows that are distributions", "other rows", "normalise each row")
    return max(0.0, math.log2(float(channel.max(axis=0).sum())))


def best_guess(prior: float, bits: float) -> float:
    """The highest chance of a right guess after one request, for whoever had a chance of `prior` before.

    Args:
        prior: Chance of the best guess without any request, in [0, 1].
        bits: What one request can leak at most, ≥ 0.

    Returns:
        `prior` times 2^`bits`, at most 1.

    Raises:
        RangeError: a chance outside [0, 1], or negative bits.

    Does not guarantee: that anybody can reach it. It is a ceiling.

    Example:
        >>> best_guess(1 / 1_000, 4)
        0.016
        >>> best_guess(0.3, 16)
        1.0
    """
    if not 0 <= prior <= 1 or not bits >= 0:
        raise RangeError("a chance in [0, 1] and bits of 0 or more", f"{prior}, {bits}", "check both")
    if prior == 0:
        return 0.0
    return min(1.0, math.pow(2.0, min(bits + math.log2(prior), 0.0)))


def repeated_bits(bits: float, requests: int, *, deterministic: bool) -> float:
    """What several requests about the same sample leak at most, in bits.

    Args:
        bits: Of one request.
        requests: How many, ≥ 0.
        deterministic: Whether the same sample gives the same output through the same network every time.

    Returns:
        `bits` where asking again gives nothing new; otherwise `bits` times `requests`. Through K different
        networks of a pool, a deterministic protection counts as K requests of a random one.

    Raises:
        RangeError: a negative number.

    Source: Espinoza and Smith 2013, *Min-entropy as a Resource* (composition of channels).

    Example:
        >>> repeated_bits(16, 100, deterministic=True), repeated_bits(16, 3, deterministic=False)
        (16.0, 48.0)
    """
    if not bits >= 0 or requests < 0:
        raise RangeError("bits and requests of 0 or more", f"{bits}, {requests}", "check both")
    return float(bits * (min(requests, 1) if deterministic else requests))
