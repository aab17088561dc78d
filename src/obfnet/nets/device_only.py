"""The honest baseline: a classifier that runs on the device and costs no more than O.

Where it is as accurate as the cloud's answer to obfuscated samples, remote inference buys nothing
but the inference network's confidentiality; every report shows it beside the obfuscated accuracy. One
family of small networks serves every budget, and spends what it is given.
"""

from bisect import bisect_right
from functools import partial
from typing import ClassVar, Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from obfnet.core.errors import UsageError
from obfnet.nets import Shape
from obfnet.nets.cost import count_macs

_WAVE_POOL: Final = 4
_WAVE_KERNEL: Final = 5
_WIDE_ENOUGH: Final = 6
_WIDEST: Final = 1024
_GRID: Final = 2
MOST_SIDE: Final = 128
"""Pixels; a picture whose shorter side is longer is averaged down first: details cost most and tell least."""


@final
class DeviceOnlyClassifier(nn.Module):
    """Three strided convolutions with batch normalisation and ReLU, then scores.

    Grey samples are scored place by place, since digits and spectra are aligned; colour photographs, whose
    subject may be anywhere, by averages over a grid of 2x2. Pictures of more than 128 pixels on their shorter
    side are averaged down to at most as many.

    Args:
        shape: Channels, height and width of a sample.
        classes: Number of labels.
        width: Channels of the first convolution; the second has twice as many.
        top: Channels of the third convolution.
        stride: Stride of the first convolution, even; the others have 2.
    """

    strides: ClassVar[tuple[int, ...]] = (2, 4, 8)
    """From the finest to the coarsest; a coarser stem is for budgets in which a finer one gets too narrow."""

    @classmethod
    def fits(cls, shape: Shape, stride: int) -> bool:
        """Whether the last map keeps more than one place; the finest stem is there for samples too small."""
        return min(shape[1:]) > 4 * stride

    def __init__(self, shape: Shape, classes: int, *, width: int, top: int, stride: int) -> None:
        super().__init__()
        channels, *sides = shape
        smaller = -(-min(sides) // MOST_SIDE)
        # What is left of each side is rounded up at every stride.
        height, breadth = (-(-side // (4 * stride * smaller)) for side in sides)
        window = (-(-height // _GRID), -(-breadth // _GRID)) if channels > 1 else (1, 1)
        places = -(-height // window[0]) * -(-breadth // window[1])
        self.layers = nn.Sequential(
            *([nn.AvgPool2d(smaller, ceil_mode=True)] if smaller > 1 else []),
            *_normalised(channels, width, stride=stride),
            *_normalised(width, 2 * width, stride=2),
            *_normalised(2 * width, top, stride=2),
            # A pool over single places is nothing to compute, but takes a device a tenth of its time.
            nn.Identity() if window == (1, 1) else nn.AvgPool2d(window, ceil_mode=True),
            nn.Flatten(),
            nn.Linear(top * places, classes),
        )

    def forward(self, samples: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        """Unnormalised scores (logits), one a class."""
        scores: Tensor = self.layers(samples)
        return scores


@final
class WaveformClassifier(nn.Module):
    """Three convolutions over time with batch normalisation and ReLU, the first strided, then scores.

    What is heard may begin at any time: maxima over four places follow the first two, an average over time
    the last.

    Args:
        shape: `(1, 1, T)`, of a waveform.
        classes: Number of labels.
        width: Channels of the first convolution; the second has twice as many.
        top: Channels of the third convolution.
        stride: Of the first convolution, which sees five times as many samples.

    Source: a wide first window and small ones behind it are Dai et al. 2017, *Very Deep Convolutional Neural
        Networks for Raw Waveforms*.
    """

    strides: ClassVar[tuple[int, ...]] = (16, 32, 64)

    @classmethod
    def fits(cls, shape: Shape, stride: int) -> bool:
        """As of `DeviceOnlyClassifier`."""
        return shape[2] > 4 * stride * _WAVE_POOL**2

    def __init__(self, shape: Shape, classes: int, *, width: int, top: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_over_time(shape[0], width, kernel=_WAVE_KERNEL * stride, stride=stride),
            nn.MaxPool2d((1, _WAVE_POOL), ceil_mode=True),
            *_over_time(width, 2 * width, kernel=_WAVE_KERNEL, stride=1),
            nn.MaxPool2d((1, _WAVE_POOL), ceil_mode=True),
            *_over_time(2 * width, top, kernel=_WAVE_KERNEL, stride=1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(top, classes),
        )

    def forward(self, samples: Float[Tensor, "N C 1 T"]) -> Float[Tensor, "N K"]:
        """Unnormalised scores (logits), one a class."""
        # Silence is 1/2: around zero, what is padded is silence too.
        scores: Tensor = self.layers(2 * samples - 1)
        return scores


def device_only_within(
    shape: Shape, classes: int, max_macs: int
) -> DeviceOnlyClassifier | WaveformClassifier:
    """The device-only classifier that makes most of at most `max_macs` multiply-accumulates a sample.

    The first convolution keeps as much resolution as leaves a useful width; what is then left of the
    budget goes into the last one.

    Args:
        shape: Channels, height and width of a sample.
        classes: Number of labels.
        max_macs: Largest cost of one sample, e.g. O's.

    Returns:
        A freshly initialised classifier, from torch's present random state.

    Raises:
        UsageError: even the narrowest costs more.
    """
    family = WaveformClassifier if is_one_row(shape) else DeviceOnlyClassifier

    def macs(stride: int, width: int, top: int = 0) -> int:
        with torch.device("meta"):
            network = family(shape, classes, width=width, top=top or 4 * width, stride=stride)
        return count_macs(network, shape)

    finest, *coarse = family.strides
    strides = [finest, *(stride for stride in coarse if family.fits(shape, stride))]
    width, stride = 0, finest
    for coarser in strides:
        if width >= _WIDE_ENOUGH:
            break
        # Costs grow with the width, so that the number of widths that fit is the widest of them.
        fitting = bisect_right(range(1, _WIDEST), max_macs, key=partial(macs, coarser))
        if fitting > width:
            width, stride = fitting, coarser
    if width == 0:
        least = min(macs(stride, 1) for stride in strides)
        raise UsageError(f"a budget for a classifier of {least} MACs", f"{max_macs}", "use a larger O")
    tops = range(4 * width + 1, 8 * width + 1)
    top = 4 * width + bisect_right(tops, max_macs, key=partial(macs, stride, width))
    return family(shape, classes, width=width, top=top, stride=stride)


def is_one_row(shape: Shape) -> bool:
    """Whether samples are waveforms: one channel, one row, and longer than any picture is wide.

    Example:
        >>> is_one_row((1, 1, 16000)), is_one_row((1, 20, 45))
        (True, False)
    """
    return shape[:2] == (1, 1) and shape[2] > _WAVE_KERNEL * WaveformClassifier.strides[0]


def _over_time(before: int, after: int, *, kernel: int, stride: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(
        before, after, (1, kernel), stride=(1, stride), padding=(0, kernel // 2), bias=False
    )
    return convolution, nn.BatchNorm2d(after), nn.ReLU()


def _normalised(before: int, after: int, *, stride: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(before, after, stride + 1, stride=stride, padding=stride // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    )
