"""A code laid out over a photograph: a few bits for each square of pixels, and a sample made of these.

One fully connected code of a photograph holds little more than its label. Bits that have a place hold what
the inference network sees there, at a cost that grows with the number of pixels and not with its square.
"""

from dataclasses import dataclass
from typing import Final, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from obfnet.core.errors import UsageError
from obfnet.nets import Shape
from obfnet.nets.coded import CodedObfuscation, ExactGenerator
from obfnet.nets.coded_encoders import GradedEncoder
from obfnet.nets.convolutional_obfuscation import normalised
from obfnet.nets.cost import count_macs
from obfnet.nets.exact import LARGEST_FEATURE, ExactLinear

FEWEST_BITS: Final = 256
"""Shorter codes are not laid out."""

_SIDE: Final = 4
_GENERATOR_WIDTH: Final = 48
_MOST_BLOCKS: Final = 4


@dataclass(frozen=True)
class Layout:
    """How a code lies on a sample.

    Args:
        each: Bits of a cell.
        height: Cells, of four pixels each, from top to bottom.
        width: Cells from left to right.
    """

    each: int
    height: int
    width: int

    @property
    def bits(self) -> int:
        """Of the whole code."""
        return self.each * self.height * self.width


def layout_of(shape: Shape, bits: int) -> Layout | None:
    """The layout of a code of at most so many bits; None where that is too few for one, or samples are grey.

    Args:
        shape: Channels, height and width of a sample.
        bits: The budget.

    Example:
        >>> layout_of((3, 64, 64), 1_100)
        Layout(each=4, height=16, width=16)
        >>> layout_of((3, 64, 64), 64), layout_of((1, 28, 28), 1_024)
        (None, None)
    """
    channels, height, width = shape
    if bits < FEWEST_BITS or channels == 1 or height % _SIDE or width % _SIDE:
        return None
    height, width = height // _SIDE, width // _SIDE
    each = bits // (height * width)
    return Layout(each, height, width) if each else None


@final
class SpatialEncoder(nn.Module):
    """Decides the bits of each cell: two strided convolutions, then residual depthwise-separable blocks.

    Args:
        shape: Channels, height and width of a sample.
        hidden: Channels at half the resolution; twice as many at a quarter.
        layout: Of the code.
        blocks: How many, ≥ 1.
    """

    def __init__(self, shape: Shape, hidden: int, layout: Layout, *, blocks: int) -> None:
        super().__init__()
        wide = 2 * hidden
        self.down = nn.Sequential(
            *normalised(nn.Conv2d(shape[0], hidden, 3, stride=2, padding=1, bias=False)),
            *normalised(nn.Conv2d(hidden, wide, 3, stride=2, padding=1, bias=False)),
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(_around(wide), *normalised(nn.Conv2d(wide, wide, 1, bias=False)))
            for _ in range(blocks)
        )
        # Normalised, so that each bit is set for about half of the cells.
        self.decide = nn.Sequential(
            _around(wide), nn.Conv2d(wide, layout.each, 1, bias=False), nn.BatchNorm2d(layout.each)
        )

    def forward(self, raw: Float[Tensor, "N C H W"]) -> Float[Tensor, "N bits"]:
        """Numbers of which the signs are the code, channel by channel."""
        return self.decided(self.features(raw))

    def features(self, raw: Float[Tensor, "N C H W"]) -> Float[Tensor, "N wide h w"]:
        """What is seen in each cell."""
        features: Tensor = self.down(raw)
        for block in self.blocks:
            features = features + block(features)
        return features

    def decided(self, features: Float[Tensor, "N wide h w"]) -> Float[Tensor, "N bits"]:
        """What it comes to."""
        decided: Tensor = self.decide(features).flatten(1)
        return decided


@final
class SpatialClassifier(nn.Module):
    """Scores the classes and decides the bits of each cell, both from the same features.

    Args:
        shape: Channels, height and width of a sample.
        hidden: As of the encoder.
        layout: Of the code.
        classes: Number of labels.
        blocks: How many, ≥ 1.
    """

    def __init__(self, shape: Shape, hidden: int, layout: Layout, classes: int, *, blocks: int) -> None:
        super().__init__()
        wide = 2 * hidden
        self.encoder = SpatialEncoder(shape, hidden, layout, blocks=blocks)
        self.classify = nn.Sequential(
            _around(wide, stride=2),
            *normalised(nn.Conv2d(wide, 2 * wide, 1, bias=False)),
            _around(2 * wide, stride=2),
            *normalised(nn.Conv2d(2 * wide, 4 * wide, 1, bias=False)),
        )
        self.score = nn.Linear(4 * wide, classes)

    def forward(self, raw: Float[Tensor, "N C H W"]) -> Float[Tensor, "N width"]:
        """Scores, then numbers of which the signs are the code."""
        features = self.encoder.features(raw)
        scores: Tensor = self.score(self.classify(features).mean((2, 3)))
        return torch.cat([scores, self.encoder.decided(features)], 1)


@final
class SpatialGenerator(nn.Module):
    """A code of signs, laid out, to a sample, through one hidden layer, without any rounding.

    Args:
        shape: Channels, height and width of a sample.
        layout: Of the code.
    """

    around: Tensor

    def __init__(self, shape: Shape, layout: Layout) -> None:
        super().__init__()
        self.shape, self.layout = shape, layout
        self.register_buffer("around", _neighbours(layout.height, layout.width), persistent=False)
        self.hidden = ExactLinear(9 * layout.each, _GENERATOR_WIDTH, most=1.0)
        self.values = ExactLinear(_GENERATOR_WIDTH, shape[0] * _SIDE**2, most=LARGEST_FEATURE)
        nn.init.constant_(self.values.bias, 0.5)

    def forward(self, code: Float[Tensor, "N bits"]) -> Float[Tensor, "N C H W"]:
        """Samples in [0, 1], multiples of 2^-16."""
        each, height, width = self.layout.each, self.layout.height, self.layout.width
        near = code.reshape(-1, each, height * width).index_select(2, self.around)
        cells = near.reshape(-1, each * 9, height * width).transpose(1, 2)
        features = self.hidden(cells).clamp(0.0, LARGEST_FEATURE)
        values: Tensor = self.values(features).clamp(0.0, 1.0)
        placed = values.reshape(-1, height, width, self.shape[0], _SIDE, _SIDE).permute(0, 3, 1, 4, 2, 5)
        return placed.reshape(-1, *self.shape)


@final
class GradedGenerator(nn.Module):
    """A word, a level and details to a sample: by the word where the level is low, else by the details.

    Args:
        words: Makes samples of words.
        details: Makes samples of details.
        length: Of a word.
    """

    def __init__(self, words: ExactGenerator, details: SpatialGenerator, length: int) -> None:
        super().__init__()
        self.words, self.details, self.length = words, details, length

    def forward(self, code: Float[Tensor, "N bits"]) -> Float[Tensor, "N C H W"]:
        """Samples in [0, 1], multiples of 2^-16."""
        level = code[:, self.length, None, None, None]
        return torch.where(
            level > 0, self.details(code[:, self.length + 1 :]), self.words(code[:, : self.length])
        )


def _neighbours(height: int, width: int) -> Int[Tensor, " places"]:
    """For each of nine directions, each cell's neighbour there; beyond an edge, the nearest cell."""
    rows, columns = torch.arange(height), torch.arange(width)
    places = [
        (rows + down).clamp(0, height - 1)[:, None] * width + (columns + right).clamp(0, width - 1)
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
    ]
    return torch.stack(places).flatten()


def spatial_obfuscation(
    shape: Shape,
    hidden: int,
    layout: Layout,
    *,
    channel: nn.Module,
    max_macs: int,
    words: Float[Tensor, "K word"] | None = None,
) -> CodedObfuscation:
    """Encoder, channel and generator, with as many blocks as the cost allows.

    Args:
        shape: Channels, height and width of a sample.
        hidden: Of the encoder.
        layout: Of the code, or with words of its details.
        channel: What the code passes.
        max_macs: Largest cost of a sample.
        words: The classes', of zeros and ones, for a code of two levels; None for one of one level.

    Returns:
        Freshly initialised from torch's present random state.

    Raises:
        UsageError: with one block it costs more.
    """

    def both(blocks: int) -> tuple[nn.Module, nn.Module]:
        if words is None:
            return SpatialEncoder(shape, hidden, layout, blocks=blocks), SpatialGenerator(shape, layout)
        classes, length = words.shape
        classifier = SpatialClassifier(shape, hidden, layout, classes, blocks=blocks)
        generator = GradedGenerator(ExactGenerator(shape, length), SpatialGenerator(shape, layout), length)
        return GradedEncoder(classifier, words.to(torch.get_default_device())), generator

    def macs(blocks: int) -> int:
        with torch.device("meta"):
            return count_macs(nn.Sequential(*both(blocks)), shape)

    fitting = [blocks for blocks in range(1, _MOST_BLOCKS + 1) if macs(blocks) <= max_macs]
    if not fitting:
        raise UsageError(
            f"{macs(1):,} MACs for a code of {layout.bits} bits over {shape[1]}x{shape[2]} pixels",
            f"{max_macs:,}, those of the published network",
            "choose architecture conv, or fewer bits",
        )
    encoder, generator = both(fitting[-1])
    return CodedObfuscation(encoder, generator, channel=channel)


def _around(channels: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False)
