"""Obfuscation networks with a finite code in the middle: a sample, a few bits, and a sample made of these.

An encoder decides bits; a generator turns them into a sample that the inference network understands. Behind
the bits every number is a multiple of a power of two, so that the same bits give the same bytes whatever the
engine, its threads and the batch. What the two are trained for is an affair of a protection (`training`).
"""

import math
from typing import Final, final

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from obfnet.nets import Shape
from obfnet.nets.channels import Signs
from obfnet.nets.exact import LARGEST_FEATURE, ExactLinear

_GENERATOR_WIDTH: Final = 64
# Samples of more values are generated at half or a quarter of their resolution, and repeated.
_GENERATED: Final = 1_024


class CodedObfuscation(nn.Module):
    """Encoder, channel, generator: what a request can tell is bounded by what passes the channel.

    Args:
        encoder: `(N, C, H, W)` in [0, 1] to `(N, width)`, any real numbers.
        generator: `(N, width)`, what comes out of the channel, to `(N, C, H, W)` in [0, 1].
        channel: Which it is; None takes signs, of which there are at most 2^width.

    Does not guarantee: that a code tells little about the sample within its values.
    """

    def __init__(self, encoder: nn.Module, generator: nn.Module, *, channel: nn.Module | None = None) -> None:
        super().__init__()
        self.encoder, self.generator, self.channel = encoder, generator, channel or Signs()

    def forward(
        self, raw: Float[Tensor, "N C H W"], drawn: Shaped[Tensor, "N width"] | None = None
    ) -> Float[Tensor, "N C H W"]:
        """Obfuscated samples in [0, 1].

        Args:
            raw: Samples.
            drawn: What chance decides in the channel; where it is not given, the channel draws it.
        """
        generated: Tensor = self.generator(self.channel(self.decide(raw), drawn))
        return generated

    def decide(self, raw: Float[Tensor, "N C H W"]) -> Float[Tensor, "N width"]:
        """What the encoder makes of samples, before it enters the channel."""
        decided: Tensor = self.encoder(raw)
        return decided

    def code(self, decided: Float[Tensor, "N width"]) -> Float[Tensor, "N width"]:
        """What leaves the channel; in training gradients go straight through it."""
        code: Tensor = self.channel(decided)
        return code


@final
class ExactGenerator(nn.Module):
    """A code of signs to a sample, through one hidden layer, without any rounding.

    Args:
        shape: Channels, height and width of a sample.
        bits: Length of the code.
    """

    def __init__(self, shape: Shape, bits: int) -> None:
        super().__init__()
        self.shape = shape
        channels, height, width = shape
        self.scale = scale_within(shape, _GENERATED)
        self.small = (channels, math.ceil(height / self.scale), math.ceil(width / self.scale))
        self.hidden = ExactLinear(bits, _GENERATOR_WIDTH, most=1.0)
        self.values = ExactLinear(_GENERATOR_WIDTH, math.prod(self.small), most=LARGEST_FEATURE)
        nn.init.constant_(self.values.bias, 0.5)

    def forward(self, code: Float[Tensor, "N bits"]) -> Float[Tensor, "N C H W"]:
        """Samples in [0, 1], multiples of 2^-16."""
        features = self.hidden(code).clamp(0.0, LARGEST_FEATURE)
        values: Tensor = self.values(features).clamp(0.0, 1.0)
        small = values.reshape(-1, *self.small)
        if self.scale == 1:
            return small
        large: Tensor = nn.functional.interpolate(small, scale_factor=float(self.scale), mode="nearest")
        return large[:, :, : self.shape[1], : self.shape[2]]


def scale_within(shape: Shape, most: int) -> int:
    """By how much a sample's sides must be divided, 1, 2, 4 ..., to leave at most so many values.

    Example:
        >>> scale_within((1, 28, 28), 1_024), scale_within((3, 64, 64), 1_024)
        (1, 4)
    """
    channels, height, width = shape
    scale = 1
    while channels * math.ceil(height / scale) * math.ceil(width / scale) > most:
        scale *= 2
    return scale
