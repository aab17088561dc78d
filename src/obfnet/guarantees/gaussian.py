"""The Gaussian mechanism on a vector of bounded norm: (epsilon, delta) for one request, and for n of them."""

import math

from obfnet.core.errors import RangeError

_STEPS = 200


def delta_of(epsilon: float, *, norm: float, noise: float, requests: int = 1) -> float:
    """The delta at an epsilon of Gaussian noise on a vector whose norm is bounded: exact, not a bound.

    Any two samples may give any two vectors of the ball, so that the sensitivity is twice its radius.

    Args:
        epsilon: Of all requests together, ≥ 0.
        norm: Largest Euclidean norm of the vector, > 0.
        noise: Standard deviation of the noise in each direction, > 0.
        requests: How many of the same sample, ≥ 1.

    Returns:
        delta in [0, 1].

    Raises:
        RangeError: a number out of range.

    Source: Balle and Wang 2018, *Improving the Gaussian Mechanism for Differential Privacy*, theorem 8;
        n requests are one with noise less by the root of n (Dong, Roth and Su 2022, *Gaussian Differential
        Privacy*, corollary 3.3).
    Does not guarantee: a bound in bits on what a guess can gain: a Gaussian output has infinitely many
        values.

    Example:
        >>> round(delta_of(1.0, norm=0.5, noise=1.0), 4)
        0.1269
    """
    if not (epsilon >= 0 and norm > 0 and noise > 0 and requests >= 1):
        raise RangeError(
            "epsilon of 0 or more, norm and noise above 0, at least 1 request",
            f"{epsilon}, {norm}, {noise}, {requests}",
            "check all four",
        )
    distance = 2 * norm * math.sqrt(requests) / noise
    above = _below(distance / 2 - epsilon / distance)
    # exp(epsilon) alone may overflow where its product with the tail does not.
    tail = _below(-distance / 2 - epsilon / distance)
    return max(0.0, above - (math.exp(epsilon + math.log(tail)) if tail > 0 else 0.0))


def epsilon_of(delta: float, *, norm: float, noise: float, requests: int = 1) -> float:
    """The epsilon at a delta: the inverse of `delta_of`, from above, to 1e-9 of its size.

    Args:
        delta: In (0, 1).
        norm: As for `delta_of`.
        noise: As for `delta_of`.
        requests: As for `delta_of`.

    Raises:
        RangeError: a number out of range.

    Source: as `delta_of`.

    Example:
        >>> round(epsilon_of(0.1269, norm=0.5, noise=1.0), 2)
        1.0
    """
    if not 0 < delta < 1:
        raise RangeError("a delta in (0, 1)", f"{delta}", "use 1e-5")
    if delta_of(0.0, norm=norm, noise=noise, requests=requests) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while delta_of(high, norm=norm, noise=noise, requests=requests) > delta:
        low, high = high, 2 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if delta_of(middle, norm=norm, noise=noise, requests=requests) > delta:
            low = middle
        else:
            high = middle
        if high - low <= 1e-9 * high:
            break
    return high


def noise_for(epsilon: float, delta: float, *, norm: float, requests: int = 1) -> float:
    """The least noise that gives (epsilon, delta) for so many requests, from above.

    Args:
        epsilon: Of all requests together, > 0.
        delta: In (0, 1).
        norm: As for `delta_of`.
        requests: As for `delta_of`.

    Returns:
        Standard deviation in each direction.

    Raises:
        RangeError: a number out of range.

    Source: as `delta_of`.

    Example:
        >>> round(noise_for(1.0, 0.1269, norm=0.5), 2)
        1.0
    """
    if not (epsilon > 0 and 0 < delta < 1):
        raise RangeError("an epsilon above 0 and a delta in (0, 1)", f"{epsilon}, {delta}", "check both")
    low, high = 0.0, norm
    while delta_of(epsilon, norm=norm, noise=high, requests=requests) > delta:
        low, high = high, 2 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if middle > 0 and delta_of(epsilon, norm=norm, noise=middle, requests=requests) <= delta:
            high = middle
        else:
            low = middle
        if high - low <= 1e-9 * high:
            break
    return high


def _below(value: float) -> float:
    """The standard normal distribution function."""
    return math.erfc(-value / math.sqrt(2)) / 2
