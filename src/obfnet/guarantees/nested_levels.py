"""What requests tell together when most are poor and few may be rich: costs that add up to a ceiling.

A device that may send a rich request tells one of two things: that it did, or that the sample needed none.
Each outcome has a cost in bits, so that however the outcomes follow on each other, all that can be told at a
total cost of L is one of at most 2^L stories.
"""

import math

from obfnet.core.errors import RangeError


def poor_cost(poor_bits: float, share: float, *, permitted: bool) -> float:
    """Bits that a poor request costs.

    Args:
        poor_bits: log2 of the number of different poor requests, ≥ 0.
        share: Of rich requests, as the device keeps it, in (0, 1).
        permitted: Whether a rich one was allowed, so that this one tells that none was needed.

    Raises:
        RangeError: bits or a share out of range.

    Source: Kraft 1949, *A Device for Quantizing, Grouping, and Coding Amplitude-Modulated Pulses*: over the
        outcomes of a request the powers 2^-cost sum to at most 1 (here (1 - share) + share), and so do they
        over whole stories of requests, of which no more than 2^L then have a cost of at most L. What a number
        of outcomes promises is `capacity`'s.
    Does not guarantee: anything of what is not in the requests: when and how often they are sent.

    Example:
        >>> poor_cost(4, 0.5, permitted=True), poor_cost(4, 0.5, permitted=False)
        (5.0, 4.0)
    """
    _check(poor_bits, share)
    return poor_bits + (math.log2(1 / (1 - share)) if permitted else 0.0)


def rich_cost(rich_bits: float, share: float) -> float:
    """Bits that a rich request costs: its own, and that it is one of few.

    Args:
        rich_bits: log2 of the number of different requests, ≥ 0.
        share: As for `poor_cost`.

    Raises:
        RangeError: bits or a share out of range.

    Source: as `poor_cost`.

    Example:
        >>> rich_cost(20, 0.25)
        22.0
    """
    _check(rich_bits, share)
    return rich_bits + math.log2(1 / share)


def may_be_rich(share: float, *, requests: int, rich: int) -> bool:
    """Whether the next request may be rich, so that of the first n no more than share x n + 1 ever are.

    Args:
        share: In (0, 1).
        requests: Sent so far.
        rich: Of these.

    Example:
        >>> may_be_rich(0.1, requests=0, rich=0), may_be_rich(0.1, requests=5, rich=1)
        (True, False)
    """
    return rich + 1 <= share * (requests + 1) + 1


def most_bits(poor_bits: float, rich_bits: float, share: float, *, requests: int) -> float:
    """The most that so many requests can cost together, in bits.

    Args:
        poor_bits: Of a poor request.
        rich_bits: Of a rich one.
        share: Of rich requests.
        requests: n ≥ 1.

    Raises:
        RangeError: bits or a share out of range.
    """
    poor, rich = poor_cost(poor_bits, share, permitted=True), rich_cost(rich_bits, share)
    most = min(requests, math.floor(share * requests + 1))
    return most * max(rich, poor) + (requests - most) * poor


def _check(bits: float, share: float) -> None:
    if not (0 <= bits < math.inf and 0 < share < 1):
        raise RangeError(
            "bits of at least 0 and a share above 0 and below 1", f"{bits}, {share}", "check both"
        )
