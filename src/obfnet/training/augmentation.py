"""Changes that training samples go through so that a network learns what does not matter; never test samples.

Each works on a batch, draws from torch's random state and keeps samples in [0, 1]. A case names the ones
that suit it (`Recipe.augmentation`).
"""

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from obfnet.core.registry import Registry
from obfnet.data.waveforms import SILENCE

Augmentation = Callable[[Tensor], Tensor]
"""`(N, C, H, W)` float32 in [0, 1] to the same."""

_CROP_SHARE: Final = 1 / 16
_ERASE_SHARE: Final = 0.3
_SHIFT_FRAMES: Final = 4
_MASKED: Final = 0.15
_DELAY: Final = 1 / 16
_LOUDNESS: Final = math.log(2)
_JITTER: Final = 0.3
_TURN: Final = 0.3
_ZOOM: Final = 0.4
_STRETCH: Final = 0.15
_MOVE: Final = 0.25
_GAMMA: Final = 0.7
_GREY_SHARE: Final = 0.2
_DARKEST: Final = 1e-4

AUGMENTATIONS: Final = Registry[Augmentation](
    "augmentation",
    {
        name: f"obfnet.training.augmentation:{name}"
        for name in ("flip", "crop", "affine", "colour", "erase", "shift", "mask", "delay", "loudness")
    },
    extra="train",
)


def augmented(samples: Tensor, names: tuple[str, ...]) -> Tensor:
    """Samples after all the named changes, in their order.

    Args:
        samples: `(N, C, H, W)` float32 in [0, 1].
        names: Of `AUGMENTATIONS`.

    Raises:
        UnknownNameError: no such change.
    """
    for name in names:
        samples = AUGMENTATIONS.get(name)(samples)
    return samples


def flip(samples: Tensor) -> Tensor:
    """Half of the samples mirrored left to right."""
    mirrored = torch.rand(len(samples), 1, 1, 1) < 0.5
    return torch.where(mirrored, samples.flip(3), samples)


def crop(samples: Tensor) -> Tensor:
    """Samples moved by up to a sixteenth of their size; what comes in is a reflection."""
    height, width = samples.shape[2:]
    # A single row or column has no reflection.
    margin = min(max(1, round(min(height, width) * _CROP_SHARE)), height - 1, width - 1)
    padded = functional.pad(samples, (margin,) * 4, mode="reflect")
    rows = torch.randint(2 * margin + 1, (len(samples), 1)) + torch.arange(height)
    columns = torch.randint(2 * margin + 1, (len(samples), 1)) + torch.arange(width)
    each = torch.arange(len(samples))[:, None, None]
    # Indexed as (N, H, W, C), a layout that convolutions here like.
    return padded.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def affine(samples: Tensor) -> Tensor:
    """Turned by up to 17 degrees, zoomed by up to a half, stretched by 15 %, moved by up to an eighth."""
    return moved(samples, turn=_TURN, zoom=_ZOOM, stretch=_STRETCH, move=_MOVE)


def moved(samples: Tensor, *, turn: float, zoom: float, stretch: float, move: float) -> Tensor:
    """Samples turned, zoomed, stretched and moved by at most so much; what comes in is a reflection.

    Args:
        samples: `(N, C, H, W)` float32 in [0, 1].
        turn: Radians, either way.
        zoom: Natural logarithm of the factor, either way.
        stretch: Likewise, of one axis against the other.
        move: In halves of a side, either way.
    """
    count = len(samples)
    angle, factor = uniform(count, turn), torch.exp(uniform(count, zoom))
    longer = torch.exp(uniform(count, stretch))
    cosine, sine = torch.cos(angle) * factor, torch.sin(angle) * factor
    matrix = torch.stack(
        [cosine * longer, -sine, uniform(count, move), sine, cosine / longer, uniform(count, move)],
        dim=1,
    ).reshape(count, 2, 3)
    grid = functional.affine_grid(matrix, list(samples.shape), align_corners=False)
    return functional.grid_sample(samples, grid, padding_mode="reflection", align_corners=False).clamp(0, 1)


def colour(samples: Tensor) -> Tensor:
    """Other light: gamma of 1/2 to 2, brightness and contrast by up to 30 %, each channel by another 15 %.

    A fifth of the samples lose their colours.
    """
    count, channels = samples.shape[:2]
    samples = samples.clamp_min(_DARKEST) ** torch.exp(uniform(count, _GAMMA)).reshape(-1, 1, 1, 1)
    contrast = 1 + uniform(count, _JITTER).reshape(-1, 1, 1, 1)
    brightness = uniform(count, _JITTER).reshape(-1, 1, 1, 1)
    tint = 1 + uniform(count * channels, _JITTER / 2).reshape(count, channels, 1, 1)
    mean = samples.mean((1, 2, 3), keepdim=True)
    changed = (((samples - mean) * contrast + mean + brightness) * tint).clamp(0, 1)
    grey = torch.rand(count, 1, 1, 1) < _GREY_SHARE
    return torch.where(grey, changed.mean(1, keepdim=True), changed)


def erase(samples: Tensor) -> Tensor:
    """A rectangle of up to 30 % of each side filled with the sample's mean, in half of the samples."""
    height, width = samples.shape[2:]
    inside = _band(len(samples), height, _ERASE_SHARE)[:, None, :, None]
    inside = inside & _band(len(samples), width, _ERASE_SHARE)[:, None, None, :]
    inside = inside & (torch.rand(len(samples), 1, 1, 1) < 0.5)
    return torch.where(inside, samples.mean((1, 2, 3), keepdim=True), samples)


def shift(samples: Tensor) -> Tensor:
    """Sounds begun up to 4 frames later or earlier; what comes in is the nearest frame."""
    frames = samples.shape[3]
    moved = torch.arange(frames) + torch.randint(-_SHIFT_FRAMES, _SHIFT_FRAMES + 1, (len(samples), 1))
    index = moved.clamp(0, frames - 1)[:, None, None, :].expand_as(samples)
    return samples.gather(3, index)


def mask(samples: Tensor) -> Tensor:
    """A band of frames and one of coefficients set to their mean.

    Source: Park et al. 2019, *SpecAugment* (Interspeech), without time warping.
    """
    frames = _band(len(samples), samples.shape[3], _MASKED)[:, None, None, :]
    rows = _band(len(samples), samples.shape[2], _MASKED)[:, None, :, None]
    return torch.where(frames | rows, samples.mean(3, keepdim=True), samples)


def delay(samples: Tensor) -> Tensor:
    """Waveforms begun up to a sixteenth of their length later or earlier; what comes in is silence."""
    count, length = len(samples), samples.shape[3]
    most = max(1, round(length * _DELAY))
    index = torch.arange(length) - torch.randint(-most, most + 1, (count, 1))
    inside = ((index >= 0) & (index < length))[:, None, None, :]
    moved = samples.gather(3, index.clamp(0, length - 1)[:, None, None, :].expand_as(samples))
    return torch.where(inside, moved, SILENCE)


def loudness(samples: Tensor) -> Tensor:
    """Waveforms louder or quieter by up to 6 dB; what is too loud is clipped."""
    factor = torch.exp(uniform(len(samples), _LOUDNESS)).reshape(-1, 1, 1, 1)
    return ((samples - SILENCE) * factor + SILENCE).clamp(0, 1)


def uniform(count: int, largest: float) -> Tensor:
    """So many numbers between minus and plus the largest."""
    return (2 * torch.rand(count) - 1) * largest


def _band(count: int, size: int, share: float) -> Tensor:
    # `(count, size)`: true in one run of up to that share of the positions.
    length = (torch.rand(count, 1) * share * size).round()
    start = torch.rand(count, 1) * (size - length)
    position = torch.arange(size)
    return (position >= start) & (position < start + length)
