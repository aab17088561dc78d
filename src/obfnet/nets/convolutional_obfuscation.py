"""A small convolutional obfuscation network of our own, whose parameters do not grow with resolution.

The paper's O are fully connected at their core, so that photographs cost them millions of parameters.
This one sees a sample at a quarter of its resolution (an eighth for pictures of a camera's size), and
rebuilds one of its size from that; nothing leads around it. Like the paper's, it limits nothing by itself:
that is an affair of a protection.
"""

from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from obfnet.nets import Shape, check_sample_size, is_camera_size


@final
class ConvolutionalObfuscation(nn.Module):
    """Two strided convolutions down, one depthwise-separable block, two pixel shuffles up, sigmoid.

    Built for pictures of 192 pixels or more it works at half the resolution: it averages blocks of 2x2 pixels
    first, and what it makes is stretched to the size of the sample, with linear interpolation. So an average
    of what it sends is nearly what it made, and it can be trained at half of the size. A sample that comes
    averaged gives what was made, not stretched. It also starts as smooth as it can: with random weights the
    pixel shuffles draw a checkerboard, and a deep inference network sees nothing but checks, so that training
    does not begin.

    At the default width 21,396 parameters for colour at any size; 24 million multiply-accumulates at
    3x224x224, 7.8 million at 3x64x64 and 1.96 million at 3x32x32.

    Args:
        shape: Channels, height and width of a sample; height and width at least 8, no multiples needed.
        hidden: Channels at half the resolution; twice as many at a quarter.

    Raises:
        UsageError: a side of `shape` is below 8.

    Source: weights that are alike for the pixels of a shuffle are those of Aitken et al. 2017, *Checkerboard
        artifact free sub-pixel convolution*.

    Differs from paper: not the paper's at all. No bottleneck narrower than the sample at the default
        width, no fully connected layer; the range is kept by a sigmoid, not by a cut, so that no value
        starts without a gradient.

    Does not guarantee: that anything is hidden. It can learn to send the sample on almost as it is.
    """

    default_hidden: ClassVar[int] = 24

    any_size: ClassVar[bool] = True
    """Whether it takes smaller samples than those that it was built for."""

    def __init__(self, shape: Shape, hidden: int) -> None:
        super().__init__()
        check_sample_size(shape, height=8, width=8, network="conv")
        self.shape, self.hidden = shape, hidden
        channels, wide = shape[0], 2 * hidden
        self.down = nn.Sequential(
            *normalised(nn.Conv2d(channels, hidden, 3, stride=2, padding=1, bias=False)),
            *normalised(nn.Conv2d(hidden, wide, 3, stride=2, padding=1, bias=False)),
        )
        self.mix = nn.Sequential(
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False),
            *normalised(nn.Conv2d(wide, wide, 1, bias=False)),
        )
        self.up = nn.Sequential(
            *normalised(nn.Conv2d(wide, 4 * hidden, 1, bias=False)),
            nn.PixelShuffle(2),
            nn.Conv2d(hidden, 4 * channels, 3, padding=1),
            nn.PixelShuffle(2),
        )
        self.halves = is_camera_size(shape)
        """Whether it works at half of the resolution."""
        if self.halves:
            for layer in self.up:
                if isinstance(layer, nn.Conv2d):
                    _start_smooth(layer)

    def forward(self, raw: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """Obfuscated samples in [0, 1], of the size of the raw ones."""
        if not self.halves or raw.shape[2:] != self.shape[1:]:
            return self._made(raw)
        made = self._made(functional.avg_pool2d(raw, 2, ceil_mode=True))
        return _cut(functional.interpolate(made, scale_factor=2.0, mode="bilinear"), raw)

    def _made(self, raw: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        code = self.down(raw)
        return _cut(self.up(code + self.mix(code)), raw).sigmoid()


def normalised(convolution: nn.Conv2d) -> tuple[nn.Module, ...]:
    """A convolution, batch normalisation and ReLU."""
    return convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()


def _cut(made: Tensor, raw: Tensor) -> Tensor:
    # Odd sizes were rounded up on the way down.
    height, width = raw.shape[2:]
    return made if made.shape[2:] == raw.shape[2:] else made[:, :, :height, :width]


def _start_smooth(before_shuffle: nn.Conv2d) -> None:
    """Gives the four outputs that become a block of pixels the weights of the first."""
    with torch.no_grad():
        for values in before_shuffle.parameters():
            values.copy_(values[::4].repeat_interleave(4, dim=0))
