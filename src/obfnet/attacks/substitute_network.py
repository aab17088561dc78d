"""The network that somebody trains as a substitute for I, whose architecture it does not know.

Small, so that an audit can train a dozen of them on a processor without a GPU.
"""

import math
from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

_WIDTH: Final = 16
_HIDDEN: Final = 64
# Pictures of at least so many pixels a side are looked at with half the resolution.
_LARGE: Final = 48
_NOISE: Final = 0.3
_NOISY: Final = 0.5


@final
class SubstituteNetwork(nn.Module):
    """Two convolutions with pooling for `(C, H, W)`, two hidden layers for anything else.

    Args:
        shape: Shape of one sample.
        classes: Number of labels.
    """

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.body = _convolutional(shape, classes) if len(shape) == 3 else _connected(shape, classes)
        # Pooling is twice as fast in this layout.
        self.layout = torch.channels_last if len(shape) == 3 else torch.contiguous_format
        self.to(memory_format=self.layout)  # type: ignore[call-overload]

    def forward(self, samples: Float[Tensor, "N ..."]) -> Float[Tensor, "N K"]:
        """Unnormalised scores (logits), one a class; in training mode half of the samples get noise."""
        if self.training:
            samples = _noisy(samples)
        scores: Tensor = self.body(samples.contiguous(memory_format=self.layout))
        return scores


def _noisy(samples: Tensor) -> Tensor:
    # Half of the samples get noise: what is learned holds further from the public samples, obfuscated ones
    # included, and adversarial examples made on it carry over better.
    size = torch.rand(len(samples), *[1] * (samples.ndim - 1)) * _NOISE
    size = size * (torch.rand_like(size) < _NOISY)
    return (samples + size * (2 * torch.randint(0, 2, samples.shape) - 1)).clamp(0, 1)


def _convolutional(shape: tuple[int, ...], classes: int) -> nn.Module:
    channels, *sides = shape
    width, stride = _WIDTH * (1 if channels == 1 else 2), 1 if max(sides) < _LARGE else 2
    left = [-(-side // (4 * stride)) for side in sides]
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, stride=stride, padding=1),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * width * math.prod(left), _HIDDEN),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(_HIDDEN, classes),
    )


def _connected(shape: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(shape), 4 * _HIDDEN),
        nn.BatchNorm1d(4 * _HIDDEN),
        nn.ReLU(),
        nn.Linear(4 * _HIDDEN, 4 * _HIDDEN),
        nn.BatchNorm1d(4 * _HIDDEN),
        nn.ReLU(),
        nn.Linear(4 * _HIDDEN, classes),
    )
