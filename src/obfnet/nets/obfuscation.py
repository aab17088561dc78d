"""The paper's obfuscation networks: O_M(n) (fully connected) and O_C(n) (one convolution in front).

They rewrite a sample into another of the same shape. By themselves they limit nothing: how an O is
limited, and what it is trained for, is an affair of a protection (`training`).
"""

import math
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from obfnet.nets import Shape, check_sample_size


@final
class ReplayableDropout(nn.Module):
    """Dropout whose draws belong to the network: the same for the same seed, whatever else is drawn.

    The networks of a pool are trained side by side in threads, which would take turns at torch's one
    random state in no fixed order. Here each call has a seed of its own, made of one drawn when the
    network was built and of the number of calls so far; both are a buffer, so that a checkpoint holds them.

    Args:
        rate: Share of the values that become 0 in training mode, in [0, 1); the others are scaled up.
    """

    draws: Tensor | None

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        # Nothing is drawn where nothing is dropped: initial weights stay what they were.
        self.register_buffer("draws", torch.randint(2**31, (1,)) if rate else None)

    def forward(self, values: Float[Tensor, "N ..."]) -> Float[Tensor, "N ..."]:
        """The values, thinned out in training mode and untouched in evaluation mode."""
        if self.draws is None or not self.training:
            return values
        generator = torch.Generator(values.device).manual_seed(int(self.draws.item()))
        self.draws += 1
        kept = torch.empty_like(values).bernoulli_(1 - self.rate, generator=generator)
        return values * kept / (1 - self.rate)


@final
class ObfuscationMLP(nn.Module):
    """O_M(n): FC n, ReLU, FC back to the sample's size, ReLU, cut at 1; 157,684 parameters at n=100, 28x28.

    Args:
        shape: Channels, height and width of a sample.
        hidden: n, the width of the bottleneck.
        output_dropout: Rate of dropout at the output, in training mode only; none for digits.

    Source: arXiv 1912.09859, released code, MNIST.
    Differs from paper: values above 1 are cut, so that an obfuscated sample has the range of a raw one.
    """

    default_hidden: ClassVar[int] = 100

    def __init__(self, shape: Shape, hidden: int, *, output_dropout: float = 0.0) -> None:
        super().__init__()
        self.shape, self.hidden = shape, hidden
        values = math.prod(shape)
        self.encode = nn.Linear(values, hidden)
        self.decode = nn.Linear(hidden, values)
        self.dropout = ReplayableDropout(output_dropout)

    def forward(self, raw: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """Obfuscated samples in [0, 1]."""
        code = self.encode(raw.flatten(1)).relu()
        # The paper drops after its ReLU. The two commute, and before the cut the result stays in range.
        obfuscated: Tensor = self.dropout(self.decode(code)).clamp(0.0, 1.0)
        return obfuscated.reshape(-1, *self.shape)


@final
class ObfuscationCNN(nn.Module):
    """O_C(n): conv 32 3x3, maxpool 2, then O_M(n) on what these find.

    199,280 parameters at n=32, 28x28.

    Args:
        shape: Channels, height and width of a sample; height and width at least 4.
        hidden: n, the width of the bottleneck.
        front_dropout: Rate of dropout behind the pooling, in training mode only; none for digits.
        output_dropout: Rate of dropout at the output, likewise.

    Raises:
        UsageError: a side of `shape` is below 4.

    Source: arXiv 1912.09859, released code, MNIST.
    Differs from paper: values above 1 are cut, so that an obfuscated sample has the range of a raw one.
        ReLU comes after the pooling; the two commute.
    """

    default_hidden: ClassVar[int] = 100

    def __init__(
        self, shape: Shape, hidden: int, *, front_dropout: float = 0.0, output_dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_sample_size(shape, height=4, width=4, network="O_C")
        self.shape, self.hidden = shape, hidden
        channels, height, width = shape
        self.front = nn.Sequential(
            nn.Conv2d(channels, 32, 3), nn.MaxPool2d(2), nn.ReLU(), ReplayableDropout(front_dropout)
        )
        self.encode = nn.Linear(32 * ((height - 2) // 2) * ((width - 2) // 2), hidden)
        self.decode = nn.Linear(hidden, math.prod(shape))
        self.dropout = ReplayableDropout(output_dropout)

    def forward(self, raw: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """Obfuscated samples in [0, 1]."""
        code = self.encode(self.front(raw).flatten(1)).relu()
        obfuscated: Tensor = self.dropout(self.decode(code)).clamp(0.0, 1.0)
        return obfuscated.reshape(-1, *self.shape)
