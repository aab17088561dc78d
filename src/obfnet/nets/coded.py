"""Obfuscation networks with a finite code in the middle: a sample, a few bits, and a sample made of these.

An encoder decides bits; a generator turns them into a sample that the inference network understands. Behind
the bits every number is a multiple of a power of two, so that the same bits give the same bytes whatever the
engine, its threads and the batch. What the two are trained for is an affair of a protection (`training`).
"""

import math
from typing import Final, final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from obfnet.nets import Shape
from obfnet.nets.channels import Signs

_GENERATOR_WIDTH: Final = 64
# Weights are multiples of 2^-8, so that products of two layers are multiples of 2^-16; see `_bounded`.
_STEPS: Final = 256.0
_MANTISSA: Final = 2.0**24
_LARGEST_FEATURE: Final = 4.0
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

    Weights are rounded to multiples of 1/256 whenever they are used in training, with gradients straight
    through, and for good when training ends (`eval`). They are bounded so that no sum leaves 24 bits.

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
        self.hidden = nn.Linear(bits, _GENERATOR_WIDTH)
        self.values = nn.Linear(_GENERATOR_WIDTH, math.prod(self.small))
        nn.init.constant_(self.values.bias, 0.5)

    def forward(self, code: Float[Tensor, "N bits"]) -> Float[Tensor, "N C H W"]:
        """Samples in [0, 1], multiples of 2^-16."""
        features = self._apply_layer(self.hidden, code, 1.0).clamp(0.0, _LARGEST_FEATURE)
        values = self._apply_layer(self.values, features, _LARGEST_FEATURE).clamp(0.0, 1.0)
        small = values.reshape(-1, *self.small)
        if self.scale == 1:
            return small
        large: Tensor = nn.functional.interpolate(small, scale_factor=float(self.scale), mode="nearest")
        return large[:, :, : self.shape[1], : self.shape[2]]

    def train(self, mode: bool = True) -> "ExactGenerator":
        """Training mode, or evaluation mode, for which the weights are rounded where they are."""
        if not mode:
            with torch.no_grad():
                for layer, most in ((self.hidden, 1.0), (self.values, _LARGEST_FEATURE)):
                    layer.weight.copy_(_on_grid(layer.weight, _bound(layer, most)))
                    layer.bias.copy_(_on_grid(layer.bias, 1.0))
        return super().train(mode)

    def _apply_layer(self, layer: nn.Linear, values: Tensor, most: float) -> Tensor:
        if not self.training:
            plain: Tensor = layer(values)
            return plain
        weight, bound = layer.weight, _bound(layer, most)
        # The gradient goes straight through the rounding.
        weight = weight + (_on_grid(weight, bound) - weight).detach()
        bias = layer.bias + (_on_grid(layer.bias, 1.0) - layer.bias).detach()
        return nn.functional.linear(values, weight, bias)


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


def _bound(layer: nn.Linear, most: float) -> float:
    """How large a weight may be: no input is larger than `most`, and no sum may leave 24 bits."""
    return min(1.0, 0.99 * _MANTISSA / _STEPS**2 / (most * (layer.in_features + 1)))


def _on_grid(weights: Tensor, bound: float) -> Tensor:
    return (weights.clamp(-bound, bound) * _STEPS).round() / _STEPS
