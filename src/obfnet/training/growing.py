"""Trains at camera size with averaged samples first, which is faster, and with whole ones last.

Most of the time of a training at camera size goes into the inference network. At half of the size it takes a
quarter of the time, and a network that ends in an average over its last map answers much the same. A
convolutional network that sees averaged samples itself learns what holds at the full size. One that makes a
whole sample, of which the inference network is shown an average, does not: not where averaging wipes out what
it draws, and not where it draws large blocks, which at twice the size are something else.

In the same first part a protection may be trained for something else than in the end (`Protection.opening`).
"""

from typing import Final, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from obfnet.core.spec import Samples
from obfnet.data.table import Split
from obfnet.nets import CAMERA_SIDE, is_camera_size
from obfnet.training.classifier import answers
from obfnet.training.protections import Protection

_SMALLEST_SIDE: Final = CAMERA_SIDE // 2
_SHARE: Final = 0.75
_LOOKED_AT: Final = 128
_ALIKE: Final = 0.9


@final
class Growth(nn.Module):
    """In which part a training is, step by step: the first three quarters, or the last.

    Args:
        factor: Side of the blocks of pixels that are averaged in the first part; 1 for none.
        steps: Of the whole training; 0 for one that has no first part.

    Source: smaller pictures first is *progressive resizing*; Howard 2018, *Training ImageNet in 3 hours for
        25 minutes*.
    """

    taken: Tensor

    def __init__(self, factor: int, steps: int) -> None:
        super().__init__()
        self.factor, self.until = factor, round(_SHARE * steps)
        # A buffer, so that a resumed run goes on where it stopped.
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))

    def step(self) -> bool:
        """Whether the step that is next is of the first part."""
        self.taken += 1
        return int(self.taken) <= self.until


def averaged(samples: Tensor, factor: int) -> Tensor:
    """Samples `(N, C, H, W)` with each block of `factor` x `factor` pixels averaged."""
    return samples if factor == 1 else functional.avg_pool2d(samples, factor)


def largest_factor(shape: tuple[int, ...]) -> int:
    """The largest power of two that divides height and width and leaves at least 96 pixels of each.

    Example:
        >>> largest_factor((3, 224, 224)), largest_factor((3, 128, 128)), largest_factor((3, 512, 384))
        (2, 1, 4)
    """
    factor = 1
    while all(side % (2 * factor) == 0 and side // (2 * factor) >= _SMALLEST_SIDE for side in shape[1:]):
        factor *= 2
    return factor


def in_two_parts(protection: Protection | type[Protection], network: object, shape: tuple[int, ...]) -> bool:
    """Whether a network, or an architecture, is trained in two parts: at camera size, where it takes any.

    Args:
        protection: Whose network it is.
        network: One of its networks, or the architecture of the plan.
        shape: Channels, height and width of a sample.
    """
    return protection.any_size and getattr(network, "any_size", False) and is_camera_size(shape)


def growth_factor(network: nn.Module, validation: Split, shape: tuple[int, ...]) -> int:
    """By how much an inference network may be asked about smaller samples; 1 where it must not.

    Args:
        network: `(N, C, H, W)` in [0, 1] to scores, in evaluation mode.
        validation: Samples, of which at most 128 are looked at.
        shape: Channels, height and width of a sample.

    Returns:
        A power of two; at least nine tenths of the answers are then as for whole samples.
    """
    factor = largest_factor(shape)
    if factor == 1:
        return 1
    rows = np.unique(np.linspace(0, len(validation.labels) - 1, _LOOKED_AT).astype(np.int64))
    samples = validation.take(rows).samples[:]
    wanted = answers(network, samples)
    while factor > 1 and not _is_alike(network, factor, samples, wanted):
        factor //= 2
    return factor


def _is_alike(network: nn.Module, factor: int, samples: Samples, wanted: npt.NDArray[np.int64]) -> bool:
    try:
        found = answers(_Averaging(network, factor), samples)
    except Exception:  # somebody's network, which may refuse another size in any way
        return False
    # One that flattens what it got may answer with fewer rows.
    return found.shape == wanted.shape and bool((found == wanted).mean() >= _ALIKE)


@final
class _Averaging(nn.Module):
    def __init__(self, network: nn.Module, factor: int) -> None:
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, samples: Tensor) -> Tensor:
        scores: Tensor = self.network(averaged(samples, self.factor))
        return scores
