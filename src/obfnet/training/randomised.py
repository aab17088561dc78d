"""The protection `randomised`: a code of which each bit is inverted at random before it is sent.

Any request could have come from any sample, and is at most e^epsilon times as likely from one as from
another: local differential privacy, proved from the graph and kept by the device's own random source.
"""

from typing import Unpack, final

from torch import nn

from obfnet.core.errors import UsageError
from obfnet.guarantees.randomised_response import code_bits, flip_probability
from obfnet.nets.channels import FlippedSigns
from obfnet.training.coded import Coded
from obfnet.training.protections import Limits

LARGEST_EPSILON = 1e3


@final
class Randomised(Coded):
    """A code of signs, randomised response on each of them, and a generator.

    It trains as `coded` does, with the bits inverted as they will be: class words that are far apart can be
    told even so, and the generator learns to make the same sample of all that are near one.

    Args:
        bits: Length of the code.
        epsilon: Of one request; each bit has its part.

    Source: Warner 1965, *Randomized Response*; Kairouz, Oh and Viswanath 2014, *Extremal Mechanisms for Local
        Differential Privacy*.

    Does not guarantee: anything for repeated requests of one sample beyond the sum of their epsilons: each
        draws anew, and their average tells the code.
    """

    name = "randomised"

    takes = ("bits", "epsilon")
    laid_out = False

    def __init__(self, bits: int | None = None, **limits: Unpack[Limits]) -> None:
        super().__init__(bits, **limits)
        self.width, epsilon = self.bits, limits.get("epsilon")
        if epsilon is None or not 0 < epsilon <= LARGEST_EPSILON:
            raise UsageError(
                f"an epsilon above 0 and at most {LARGEST_EPSILON:g} for protection {self.name}",
                "none" if epsilon is None else f"{epsilon:g}",
                "give it with --epsilon",
            )
        self.epsilon: float = float(epsilon)
        self.budget_bits = code_bits(flip_probability(epsilon, self.bits), self.bits)

    def channel(self) -> nn.Module:
        """Signs, each inverted as often as epsilon asks for."""
        return FlippedSigns(flip_probability(self.epsilon, self.bits))
