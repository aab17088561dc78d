"""The protection `gaussian`: a few bounded numbers with noise on each, and a sample made of the noisy ones.

There are infinitely many outcomes and yet a ceiling: what n requests leak at most, in bits and as
differential privacy, follows from the bound and the noise, and both are proved from the graph.
"""

import math
from typing import NoReturn, Unpack, final

from torch import nn

from obfnet.core.errors import UsageError
from obfnet.guarantees.discrete_gaussian import LEAST_NOISE, LEVELS, MOST_NOISE, noisy_bits
from obfnet.nets.channels import NoisyLevels
from obfnet.nets.spatial import Layout
from obfnet.training.coded import MOST_BITS, Coded
from obfnet.training.protections import Limits


@final
class Gaussian(Coded):
    """As many numbers in [-1, 1] as the budget allows with this noise, and a generator.

    It trains as `coded` does, with the noise that there will be: classes have words of -1 and 1, and the
    generator learns to make the same sample of all that are near one. Many numbers of a photograph are laid
    out over it, and trained, noise included, to show the inference network what it would see.

    Args:
        bits: Budget of one request: the Bayes capacity of all numbers together.
        noise: Standard deviation of the noise on each number, 0.25 to 8.

    Source: Dwork and Roth 2014, *The Algorithmic Foundations of Differential Privacy*, section 3.5.1 (the
        Gaussian mechanism); Canonne, Kamath and Steinke 2020 (on whole numbers).

    Does not guarantee: anything for repeated requests of one sample beyond the sum: each draws anew, and
        their average tells the numbers.
    """

    name = "gaussian"

    takes = ("bits", "noise")

    def __init__(self, bits: int | None = None, **limits: Unpack[Limits]) -> None:
        super().__init__(bits, **limits)
        noise = limits.get("noise")
        if noise is None or not LEAST_NOISE <= noise <= MOST_NOISE:
            raise UsageError(
                f"a noise of {LEAST_NOISE:g} to {MOST_NOISE:g} for protection {self.name}",
                "none" if noise is None else f"{noise:g}",
                "give it with --noise",
            )
        self.noise: float = float(noise)
        one = self._bits_of(1)
        self.width = math.floor(self.bits / one)
        if self.width == 0:
            raise UsageError(
                f"noise with which one number keeps to {bits} bits",
                f"{one:.2f} bits",
                "raise --noise or --bits",
            )
        self.budget_bits = self._bits_of(self.width)

    def _bits_of(self, numbers: int) -> float:
        return noisy_bits(numbers, LEVELS, self.noise * LEVELS)

    @property
    def length(self) -> int:
        """So many numbers keep to the budget."""
        return self.width

    def refuse_layout(self, layout: Layout) -> NoReturn:
        """Says which budgets are of as many numbers for each cell."""
        cells, one = layout.height * layout.width, self._bits_of(1)
        fitting = [bits for bits in range(1, MOST_BITS + 1) if bits >= one and int(bits / one) % cells == 0]
        fewer = [bits for bits in fitting if bits < self.bits][-1:]
        nearest = fewer + [bits for bits in fitting if bits > self.bits][:1]
        raise UsageError(
            f"a multiple of {cells} numbers, as many for each 4x4 pixels of a photograph",
            f"{self.width}, which {self.bits} bits are with this noise",
            f"--bits {' or '.join(map(str, nearest))}" if nearest else "choose another --noise",
        )

    def channel(self) -> nn.Module:
        """Numbers in [-1, 1] with noise."""
        return NoisyLevels(self.noise)

    def warning(self, classes: int, labels: object) -> str | None:
        """Nothing: the numbers are not so few that classes could not be told but for the noise."""
        return None
