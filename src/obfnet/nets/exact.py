"""Layers whose sums are exact: behind a code, the same bits give the same bytes whatever computes them.

Weights are multiples of 2^-8, so that products of two layers are multiples of 2^-16, and bounded so that no
sum leaves the 24 bits of a float32's mantissa. In training they are rounded whenever they are used, with
gradients straight through, and for good when training ends (`eval`).
"""

from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional

LARGEST_FEATURE: Final = 4.0
"""Bound of what one exact layer may hand to the next."""

_STEPS: Final = 256.0
_MANTISSA: Final = 2.0**24


@final
class ExactLinear(nn.Linear):
    """A fully connected layer.

    Args:
        before: Inputs.
        after: Outputs.
        most: The largest input.

    Not a convolution, however it is used: engines compute those by transforms that round.
    """

    def __init__(self, before: int, after: int, *, most: float) -> None:
        super().__init__(before, after)
        self.bound = min(1.0, 0.99 * _MANTISSA / _STEPS**2 / (most * (before + 1)))

    def forward(self, values: Tensor) -> Tensor:
        """As of `nn.Linear`."""
        if not self.training:
            return functional.linear(values, self.weight, self.bias)
        # The gradient goes straight through the rounding.
        weight = self.weight + (_on_grid(self.weight, self.bound) - self.weight).detach()
        bias = self.bias + (_on_grid(self.bias, 1.0) - self.bias).detach()
        return functional.linear(values, weight, bias)

    def train(self, mode: bool = True) -> "ExactLinear":
        """Training mode, or evaluation mode, for which the weights are rounded where they are."""
        if not mode:
            with torch.no_grad():
                self.weight.copy_(_on_grid(self.weight, self.bound))
                self.bias.copy_(_on_grid(self.bias, 1.0))
        return super().train(mode)


def _on_grid(weights: Tensor, bound: float) -> Tensor:
    return (weights.clamp(-bound, bound) * _STEPS).round() / _STEPS
