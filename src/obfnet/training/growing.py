"""Trains at camera size with averaged samples first, which is faster, and with whole ones last.

Most of the time of a training at camera size goes into the inference network. At half of the size it takes a
quarter of the time, and a network that ends in an average over its last map answers much the same. An
obfuscation network that works at half of the resolution sends what it makes of an average, stretched, so that
little is lost between the two. One that makes a whole sample, of which the inference network is shown an
average, does not learn what holds for whole ones: not where averaging wipes out what it draws, and not where
it draws large blocks, which at twice the size are something else; nor does one of which a single size is ever
shown (`sizes_asked`).

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
from obfnet.nets import is_camera_size
from obfnet.training.classifier import answers
from obfnet.training.protections import Protection

_SHARE: Final = 0.85
_LOOKED_AT: Final = 128
_ALIKE: Final = 0.9
_SCALES: Final = (0.6, 0.8, 1.0, 1.3)
# Networks with strides like sides that they divide.
_STEP: Final = 8


@final
class FirstPart(nn.Module):
    """The first 85 % of a training's steps, and how many of them are taken.

    Args:
        steps: Of the whole training; 0 for one that has no first part.

    Source: smaller pictures first is *progressive resizing*; Howard 2018, *Training ImageNet in 3 hours for
        25 minutes*.
    """

    taken: Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.until = round(_SHARE * steps)
        # A buffer, so that a resumed run goes on where it stopped.
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))

    def step(self) -> bool:
        """Whether the step that is next is of it."""
        self.taken += 1
        return int(self.taken) <= self.until


def averaged(samples: Tensor) -> Tensor:
    """Samples `(N, C, H, W)` with each block of 2x2 pixels averaged."""
    return functional.avg_pool2d(samples, 2)


def in_two_parts(protection: Protection | type[Protection], network: object, shape: tuple[int, ...]) -> bool:
    """Whether a network, or an architecture, is trained in two parts: at camera size, where it takes any.

    Args:
        protection: Whose network it is.
        network: One of its networks, or the architecture of the plan.
        shape: Channels, height and width of a sample.
    """
    return protection.any_size and getattr(network, "any_size", False) and is_camera_size(shape)


def answers_halves(network: nn.Module, validation: Split, shape: tuple[int, ...]) -> bool:
    """Whether an inference network may be asked about averaged samples in the first part.

    Args:
        network: `(N, C, H, W)` in [0, 1] to scores, in evaluation mode.
        validation: Samples, of which at most 128 are looked at.
        shape: Channels, height and width of a sample.

    Returns:
        True where both sides are even, and at least nine tenths of the answers are as for whole samples.
    """
    if any(side % 2 for side in shape[1:]):
        return False
    rows = np.unique(np.linspace(0, len(validation.labels) - 1, _LOOKED_AT).astype(np.int64))
    samples: Samples = validation.take(rows).samples[:]
    wanted = answers(network, samples)
    try:
        found: npt.NDArray[np.int64] = answers(_Averaging(network), samples)
    except Exception:  # somebody's network, which may refuse another size in any way
        return False
    # One that flattens what it got may answer with fewer rows.
    return found.shape == wanted.shape and bool((found == wanted).mean() >= _ALIKE)


def sizes_asked(network: nn.Module, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Heights and widths of averaged samples that an inference network takes, from smaller to larger ones.

    What is drawn so fine that a network sees it at one size only is then no use to an obfuscation network.

    Args:
        network: `(N, C, H, W)` in [0, 1] to scores, in evaluation mode.
        shape: Channels, height and width of a sample, not averaged.
    """
    found = []
    weight = next(network.parameters(), None)
    place = None if weight is None else weight.device
    for scale in _SCALES:
        height, width = (max(1, round(side / 2 * scale / _STEP)) * _STEP for side in shape[1:])
        try:
            with torch.no_grad():
                rows = len(network(torch.zeros(2, shape[0], height, width, device=place)))
        except Exception:  # noqa: S112 - somebody's network, which may refuse another size in any way
            continue
        if rows == 2:
            found.append((height, width))
    return found


@final
class _Averaging(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, samples: Tensor) -> Tensor:
        scores: Tensor = self.network(averaged(samples))
        return scores
