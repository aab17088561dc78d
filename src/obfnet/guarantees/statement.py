"""What is promised, in words that name what they assume and what they do not cover."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Final, final

from obfnet.guarantees.capacity import best_guess
from obfnet.guarantees.discrete_gaussian import LEVELS, MISSED, epsilon_of_rho, noisy_bits, noisy_rho
from obfnet.guarantees.nested_levels import most_bits, poor_cost, rich_cost

_RARE: Final = 1e-6
_DELTA: Final = 1e-5
_MANY: Final = 100
_RANDOM_GAPS: Final = (
    "what was likely before the request: a good guess stays good",
    "the same sample sent again and again, beyond that sum: every request draws anew, and their average "
    "tells the code",
    "whether, when, how often and from where a device sends",
)


@final
@dataclass(frozen=True, kw_only=True)
class Guarantee:
    """A promise that holds against every attacker, or the lack of one.

    Args:
        budget_bits: Ceiling on what one request can leak, in bits; None where there is none.
        epsilon: Of the local differential privacy of one request; None where there is none.
        statement: The promise.
        assumptions: Without which it does not hold.
        does_not_cover: What it says nothing about.
        source: Where it is proved.
    """

    budget_bits: float | None
    statement: str
    assumptions: tuple[str, ...] = ()
    does_not_cover: tuple[str, ...] = ()
    source: str = ""
    epsilon: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            **asdict(self),
            "assumptions": list(self.assumptions),
            "does_not_cover": list(self.does_not_cover),
        }


NO_GUARANTEE: Final = Guarantee(
    budget_bits=None,
    statement="There is no ceiling: the protection promises nothing, and what is measured is a lower "
    "bound on what leaks.",
    does_not_cover=("attacks that were not run may rebuild more",),
)


def guarantee_of(
    budget_bits: float | None,
    *,
    epsilon: float | None = None,
    noise: float | None = None,
    poor_bits: float | None = None,
    rich_share: float | None = None,
) -> Guarantee:
    """What a bundle promises for one request.

    Args:
        budget_bits: Of a bundle that its reader accepted, so that its graph proves them; None without any.
        epsilon: Of one whose code is inverted at random; None for any other.
        noise: Standard deviation, of one whose code is numbers with noise; None for any other.
        poor_bits: Of a request that is not rich, of one with two levels; None for any other.
        rich_share: Share of rich requests, likewise.

    Example:
        >>> guarantee_of(None).assumptions
        ()
        >>> guarantee_of(4.0).statement.split(":")[0]
        'One request can take at most 2^4 different values'
    """
    if budget_bits is None:
        return NO_GUARANTEE
    if epsilon is not None:
        return _randomised(budget_bits, epsilon)
    if noise is not None:
        return _noisy(budget_bits, noise)
    if poor_bits is not None and rich_share is not None:
        return _nested(budget_bits, poor_bits, rich_share)
    return Guarantee(
        budget_bits=budget_bits,
        statement=f"One request can take at most 2^{rounded_up(budget_bits)} different values: "
        f"{_growth(budget_bits)}. A guess that was right one time in a million is right at most "
        f"{_share(best_guess(_RARE, budget_bits))} of the time; asking again with the same sample through "
        "the same bundle adds nothing.",
        assumptions=(
            "the device runs this very bundle, whose graph proves the number of values",
            "a request carries one sample; one of n samples carries n times as many bits",
        ),
        does_not_cover=(
            "what was likely before the request: a good guess stays good",
            "several different samples of the same person, or the same sample through several bundles of a "
            "pool: each has its own budget, and the device's meter adds them up",
            "whether, when, how often and from where a device sends",
        ),
        source="Smith 2009 (min-entropy leakage); Alvim, Chatzikokolakis, Palamidessi and Smith 2012 "
        "(generalised gain functions)",
    )


def rounded_up(value: float) -> str:
    """A ceiling as text, with at most two digits behind the point: never shown lower than it is.

    Args:
        value: ≥ 0.

    Example:
        >>> rounded_up(13.0701), rounded_up(16.0)
        ('13.08', '16')
    """
    return f"{math.ceil(100 * value) / 100:.2f}".rstrip("0").rstrip(".")


def _randomised(budget_bits: float, epsilon: float) -> Guarantee:
    return Guarantee(
        budget_bits=budget_bits,
        epsilon=epsilon,
        statement=f"Any request is at most e^{rounded_up(epsilon)} times as likely from one sample as from "
        f"any other (local differential privacy, epsilon {rounded_up(epsilon)}), and {_growth(budget_bits)}. "
        "n requests, of one sample or of several, have n times that epsilon and n times so many bits.",
        assumptions=(
            "the device runs this very bundle, whose graph proves that each bit of the code meets a flip of "
            "its own and nothing else",
            "the flips come from the operating system's random source, and nobody else knows them",
            "a request carries one sample; one of n samples counts n times",
        ),
        does_not_cover=_RANDOM_GAPS,
        source="Warner 1965; Kairouz, Oh and Viswanath 2014 (randomised response); Smith 2009 (min-entropy "
        "leakage)",
    )


def _noisy(budget_bits: float, noise: float) -> Guarantee:
    one = noisy_bits(1, LEVELS, noise * LEVELS)
    rho = noisy_rho(round(budget_bits / one), LEVELS, noise * LEVELS)
    epsilons = [rounded_up(epsilon_of_rho(requests * rho, _DELTA)) for requests in (1, _MANY)]
    return Guarantee(
        budget_bits=budget_bits,
        statement=f"A request is made of numbers in [-1, 1] with Gaussian noise of {noise:g} on each: "
        f"{_growth(budget_bits)}. It is local differential privacy of epsilon {epsilons[0]} at delta "
        f"{_DELTA:g} for one request, and of {epsilons[1]} for {_MANY} of the same sample "
        f"({rounded_up(rho)} of zero-concentrated differential privacy each, which add up); n requests have "
        "n times so many bits.",
        assumptions=(
            "the device runs this very bundle, whose graph proves the numbers' bound and that each meets "
            "noise of its own and nothing else",
            "the noise comes from the operating system's random source, and nobody else knows it; what is "
            f"drawn differs from a discrete Gaussian by no more than 2^-{MISSED} for each number",
            "a request carries one sample; one of n samples counts n times",
        ),
        does_not_cover=_RANDOM_GAPS,
        source="Canonne, Kamath and Steinke 2020 (the discrete Gaussian); Bun and Steinke 2016 (zCDP); "
        "Alvim, Chatzikokolakis, Palamidessi and Smith 2012 (Bayes capacity)",
    )


def _nested(budget_bits: float, poor_bits: float, share: float) -> Guarantee:
    poor, rich = poor_cost(poor_bits, share, permitted=True), rich_cost(budget_bits, share)
    many = most_bits(poor_bits, budget_bits, share, requests=_MANY)
    return Guarantee(
        budget_bits=budget_bits,
        statement=f"One request can take at most 2^{rounded_up(budget_bits)} different values: "
        f"{_growth(budget_bits)}. Of the first n requests at most {share:g} n + 1 are rich, and the "
        f"others take at most 2^{rounded_up(poor_bits)} values. {_MANY} requests together tell at most "
        f"{rounded_up(many)} bits: {rounded_up(rich)} for a rich one and {rounded_up(poor)} for any other, "
        "that a request shows which of the two it is included. Asking again with the same sample through "
        "the same bundle adds at most what the other level shows.",
        assumptions=(
            "the device runs this very bundle, whose graph proves both numbers of values",
            "the device keeps the share: its meter counts requests and rich ones, across restarts where it "
            "has a file",
            "a request carries one sample",
        ),
        does_not_cover=(
            "what was likely before the request: a good guess stays good",
            "a single sample by the mean of many: a rich request may tell as much as the first number says",
            "the same sample through several bundles of a pool, beyond the meter's sum",
            "whether, when, how often and from where a device sends",
        ),
        source="Smith 2009 (min-entropy leakage); Kraft 1949 (costs of outcomes that add up)",
    )


def _growth(budget_bits: float) -> str:
    return (
        "nobody's chance of guessing anything about the sample grows by more than a factor of "
        f"2^{rounded_up(budget_bits)}, whatever was known before and however long is computed"
    )


def _share(chance: float) -> str:
    return f"{100 * chance:.2g} %"
