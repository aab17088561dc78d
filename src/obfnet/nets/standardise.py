"""Puts every value of a sample on one scale, by means and spreads taken from some samples and then fixed.

Networks and attackers that see samples as they lie on the wire begin with it; what it holds is not trained.
"""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn


@final
class Standardise(nn.Module):
    """(value - mean) / (spread + floor), for each value of a sample by itself.

    Args:
        shape: Shape of one sample.
        floor: Added to every spread, > 0: a value that hardly ever changes must not be blown up into noise.
    """

    def __init__(self, shape: tuple[int, ...], *, floor: float = 0.05) -> None:
        super().__init__()
        self.floor = floor
        self.mean, self.scale = nn.Buffer(torch.zeros(shape)), nn.Buffer(torch.ones(shape))

    @torch.no_grad()
    def calibrate(self, samples: Float[Tensor, "N ..."]) -> None:
        """Takes means and spreads from some samples, `(N, *shape)`."""
        self.mean.copy_(samples.mean(0))
        self.scale.copy_(samples.std(0, correction=0) + self.floor)

    def forward(self, samples: Float[Tensor, "N ..."]) -> Float[Tensor, "N ..."]:
        """The samples on one scale, same shape."""
        return (samples - self.mean) / self.scale


@final
class Standardised(nn.Module):
    """A network behind a `Standardise` of its input.

    Args:
        shape: Shape of one sample.
        body: The network.
    """

    def __init__(self, shape: tuple[int, ...], body: nn.Module) -> None:
        super().__init__()
        self.standardise, self.body = Standardise(shape), body

    def calibrate(self, samples: Float[Tensor, "N ..."]) -> None:
        """As `Standardise.calibrate`."""
        self.standardise.calibrate(samples)

    def forward(self, samples: Float[Tensor, "N ..."]) -> Tensor:
        """What the network makes of the samples on one scale."""
        result: Tensor = self.body(self.standardise(samples))
        return result
