"""What decides the bits of a code: an encoder that with its generator costs no more than a published O."""

import math
from typing import Final

from torch import nn

from obfnet.core.errors import UsageError
from obfnet.nets import OBFUSCATION_ARCHITECTURES, Shape
from obfnet.nets.cost import count_macs
from obfnet.nets.device_only import device_only_within

_CONNECTED: Final = ("mlp", "fsd-mlp", "asl-mlp")


def coded_encoder(
    architecture: str, shape: Shape, hidden: int, bits: int, *, generator: nn.Module
) -> nn.Module:
    """An encoder, freshly initialised from torch's present random state.

    Whatever the published network of that name is made of, three strided convolutions make more of its cost.
    Where it is fully connected and cheaper than any of these, one hidden layer as wide as its own stands in.

    Args:
        architecture: Registry name of a published obfuscation network, which sets the cost.
        shape: Channels, height and width of a sample.
        hidden: Width of that network's bottleneck.
        bits: Length of the code.
        generator: Takes `(N, bits)`; its cost is taken off.

    Returns:
        `(N, C, H, W)` in [0, 1] to `(N, bits)`.

    Raises:
        UsageError: the published network costs too little for any encoder.
    """
    published = count_macs(OBFUSCATION_ARCHITECTURES.get(architecture)(shape, hidden), shape)
    left = published - count_macs(_OfCode(generator), (bits, 1, 1))
    try:
        return device_only_within(shape, bits, max(0, left))
    except UsageError as exc:
        if architecture in _CONNECTED:
            return nn.Sequential(
                nn.Flatten(), nn.Linear(math.prod(shape), hidden), nn.ReLU(), nn.Linear(hidden, bits)
            )
        raise UsageError(
            "an obfuscation network with room for an encoder and a generator",
            f"{published:,} MACs of {architecture}({hidden})",
            "raise --hidden",
        ) from exc


class _OfCode(nn.Module):
    """A generator, seen as something that takes a sample, so that its cost can be counted."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, code):  # type: ignore[no-untyped-def]
        return self.generator(code.flatten(1))
