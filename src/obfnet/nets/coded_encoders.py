"""What decides the bits of a code: encoders of the published architectures' kinds, with bits for outputs.

An encoder with its generator costs no more than the published obfuscation network of the same name.
"""

import math
from typing import Final

from torch import nn

from obfnet.core.errors import UsageError
from obfnet.nets import OBFUSCATION_ARCHITECTURES, Shape
from obfnet.nets.coded import ExactGenerator
from obfnet.nets.cost import count_macs
from obfnet.nets.device_only import device_only_within

_CONNECTED: Final = ("mlp", "fsd-mlp", "asl-mlp")


def coded_encoder(architecture: str, shape: Shape, hidden: int, bits: int) -> nn.Module:
    """An encoder, freshly initialised from torch's present random state.

    Args:
        architecture: Registry name of an obfuscation network: the fully connected ones give an encoder of one
            hidden layer, all others one of three strided convolutions.
        shape: Channels, height and width of a sample.
        hidden: Width of the fully connected one's hidden layer; of the convolutional ones it says, as for the
            published network, how much they may cost.
        bits: Length of the code.

    Returns:
        `(N, C, H, W)` in [0, 1] to `(N, bits)`.

    Raises:
        UsageError: the published network costs too little for any encoder.
    """
    if architecture in _CONNECTED:
        return nn.Sequential(
            nn.Flatten(), nn.Linear(math.prod(shape), hidden), nn.ReLU(), nn.Linear(hidden, bits)
        )
    published = count_macs(OBFUSCATION_ARCHITECTURES.get(architecture)(shape, hidden), shape)
    generator = count_macs(_Generating(shape, bits), (bits, 1, 1))
    if published <= generator:
        raise UsageError(
            f"an obfuscation network of more than {generator:,} MACs",
            f"{published:,} for {architecture}({hidden})",
            "raise --hidden",
        )
    return device_only_within(shape, bits, published - generator)


class _Generating(nn.Module):
    """The generator, seen as something that takes a sample, so that its cost can be counted."""

    def __init__(self, shape: Shape, bits: int) -> None:
        super().__init__()
        self.generator = ExactGenerator(shape, bits)

    def forward(self, code):  # type: ignore[no-untyped-def]
        return self.generator(code.flatten(1))
