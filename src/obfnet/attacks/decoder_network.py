"""The networks that a decoder attack trains, and the loss that is the figure it is scored by.

Small samples get a fully connected network with a linear path. In large ones a fully connected path
through a bottleneck sees the whole sample (an obfuscation network may scatter it), and convolutions add what
is local.
"""

import math
from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from obfnet.fitting import Precision
from obfnet.nets.standardise import Standardise

_WINDOW: Final = 7
# Up to so many values a sample the linear path has a full matrix.
_SMALL: Final = 1024
_BOTTLENECK: Final = 512
_CHANNELS: Final = 16
_WIDE: Final = 48


def decoder_network(received: Tensor, raw_shape: tuple[int, ...], hidden: int) -> nn.Module:
    """A freshly initialised decoder for samples like these.

    Args:
        received: Some of the samples as received, `(N, C, H, W)`; their mean and spread are taken.
        raw_shape: Shape of one raw sample.
        hidden: Width of the hidden layers.
    """
    small = received[0].numel() <= _SMALL or received.shape[1:] != raw_shape or len(raw_shape) != 3
    return _Connected(received, raw_shape, hidden) if small else _Photographic(received, hidden)


def reconstruction_loss(guess: Tensor, raw: Tensor) -> Tensor:
    """Squared error, and one minus the mean SSIM where the samples are large enough for its window.

    Args:
        guess: `(N, C, H, W)` in [0, 1].
        raw: The same shape.
    """
    error = functional.mse_loss(guess, raw)
    if min(raw.shape[2:]) < _WINDOW:
        return error
    return error + 1 - _mean_ssim(guess, raw)


def _mean_ssim(a: Tensor, b: Tensor) -> Tensor:
    # The differentiable twin of `metrics.ssim`, which scores; the tests hold them together.
    mean_a, mean_b = (functional.avg_pool2d(value, _WINDOW, 1) for value in (a, b))
    unbiased = _WINDOW**2 / (_WINDOW**2 - 1)
    variance_a = unbiased * (functional.avg_pool2d(a * a, _WINDOW, 1) - mean_a**2)
    variance_b = unbiased * (functional.avg_pool2d(b * b, _WINDOW, 1) - mean_b**2)
    covariance = unbiased * (functional.avg_pool2d(a * b, _WINDOW, 1) - mean_a * mean_b)
    luminance = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
    structure = (2 * covariance + 9e-4) / (variance_a + variance_b + 9e-4)
    return (luminance * structure).mean()


@final
class _Connected(nn.Module):
    def __init__(self, received: Tensor, raw_shape: tuple[int, ...], hidden: int) -> None:
        super().__init__()
        self.shape = tuple(raw_shape)
        inputs, outputs = received[0].numel(), math.prod(raw_shape)
        self.standardise = Standardise(tuple(received.shape[1:]))
        self.standardise.calibrate(received)
        self.linear = nn.Linear(inputs, outputs)
        self.deep = nn.Sequential(
            nn.Linear(inputs, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, outputs),
        )

    def forward(self, received: Float[Tensor, "N ..."]) -> Float[Tensor, "N C H W"]:
        flat = self.standardise(received).flatten(1)
        return torch.sigmoid(self.linear(flat) + self.deep(flat)).reshape(-1, *self.shape)


@final
class _Photographic(nn.Module):
    # Almost all of the time goes into convolutions.
    precision: Precision = "bfloat16"

    def __init__(self, received: Tensor, hidden: int) -> None:
        super().__init__()
        channels, height, width = self.shape = tuple(received.shape[1:])
        values, narrow = math.prod(self.shape), min(hidden, _BOTTLENECK)
        self.standardise = Standardise(tuple(received.shape[1:]))
        self.standardise.calibrate(received)
        self.whole = nn.Sequential(
            nn.Linear(values, narrow),
            nn.ReLU(),
            nn.Linear(narrow, narrow),
            nn.ReLU(),
            nn.Linear(narrow, values),
        )
        # Four pixels become one and back: as much to see at a quarter of the work.
        self.local = nn.Sequential(
            nn.ZeroPad2d((0, width % 2, 0, height % 2)),
            nn.Conv2d(channels, _CHANNELS, 2, stride=2),
            nn.ReLU(),
            nn.Conv2d(_CHANNELS, _WIDE, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_WIDE, _CHANNELS, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_CHANNELS, _WIDE, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_WIDE, 4 * channels, 3, padding=1),
            nn.PixelShuffle(2),
        )
        self.fine = nn.Conv2d(3 * channels, _CHANNELS, 3, padding=1)
        self.last = nn.Conv2d(_CHANNELS, channels, 3, padding=1)

    def forward(self, received: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        standard = self.standardise(received)
        whole = self.whole(standard.flatten(1)).reshape_as(standard)
        local = self.local(standard)[:, :, : standard.shape[2], : standard.shape[3]]
        detail = self.last(functional.relu(self.fine(torch.cat([standard, whole, local], dim=1))))
        return torch.sigmoid(whole + local + detail)
