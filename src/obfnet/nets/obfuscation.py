"""The paper's obfuscation networks: O_M(n) (fully connected) and O_C(n) (one convolution in front).

They rewrite a sample into another of the same shape. By themselves they limit nothing: how an O is
limited, and what it is trained for, is an affair of a protection (`training`).
"""

import math
from typing import final

from jaxtyping import Float
from torch import Tensor, nn

Shape = tuple[int, int, int]


@final
class ObfuscationMLP(nn.Module):
    """O_M(n): FC n, ReLU, FC back to the sample's size, ReLU, cut at 1; 157,684 parameters at n=100, 28x28.

    Args:
        shape: Channels, height and width of a sample.
        hidden: n, the width of the bottleneck.

    Source: arXiv 1912.09859, released code, MNIST.
    Differs from paper: values above 1 are cut, so that an obfuscated sample has the range of a raw one.
    """

    def __init__(self, shape: Shape, hidden: int) -> None:
        super().__init__()
        self.shape, self.hidden = shape, hidden
        values = math.prod(shape)
        self.encode = nn.Linear(values, hidden)
        self.decode = nn.Linear(hidden, values)

    def forward(self, raw: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """Obfuscated samples in [0, 1]."""
        code = self.encode(raw.flatten(1)).relu()
        obfuscated: Tensor = self.decode(code).clamp(0.0, 1.0)
        return obfuscated.reshape(-1, *self.shape)


@final
class ObfuscationCNN(nn.Module):
    """O_C(n): conv 32 3x3, maxpool 2, FC n, ReLU, FC back to the sample's size, ReLU, cut at 1.

    199,280 parameters at n=32, 28x28.

    Args:
        shape: Channels, height and width of a sample; height and width at least 4.
        hidden: n, the width of the bottleneck.

    Source: arXiv 1912.09859, released code, MNIST.
    Differs from paper: values above 1 are cut, so that an obfuscated sample has the range of a raw one.
    """

    def __init__(self, shape: Shape, hidden: int) -> None:
        super().__init__()
        self.shape, self.hidden = shape, hidden
        channels, height, width = shape
        self.front = nn.Sequential(nn.Conv2d(channels, 32, 3), nn.MaxPool2d(2), nn.ReLU())
        self.encode = nn.Linear(32 * ((height - 2) // 2) * ((width - 2) // 2), hidden)
        self.decode = nn.Linear(hidden, math.prod(shape))

    def forward(self, raw: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """Obfuscated samples in [0, 1]."""
        code = self.encode(self.front(raw).flatten(1)).relu()
        obfuscated: Tensor = self.decode(code).clamp(0.0, 1.0)
        return obfuscated.reshape(-1, *self.shape)
