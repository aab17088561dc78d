"""Photographs that nobody took, for a training that needs no labels: mixed, recoloured, with noise.

A network that is to send whatever somebody looks at must have seen more than the scenes of its training
photographs. What these show is made other by changes that leave no label true: colours are drawn anew, and
another photograph, widely turned, moved and zoomed, or smooth noise of many sizes is laid over a part of it.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from obfnet.training.augmentation import moved, uniform

_TURN: Final = 0.6
_ZOOM: Final = 0.9
_STRETCH: Final = 0.3
_MOVE: Final = 0.6
# Weights of the old channels in a new one are cubes of numbers in [0, 1]: mostly one of them counts.
_SHARPNESS: Final = 3
_LOUDER: Final = 0.5
_INVERTED: Final = 0.15
_RECOLOURED: Final = 0.5
_OCTAVES: Final = (2, 4, 8, 16, 32, 64)
_NOISE: Final = 0.3
_PHOTOGRAPHS: Final = 0.7
_UNMIXED: Final = 0.35
_MASKED: Final = 0.7
_PLACES: Final = 4
# How much of a picture the second one takes, and the logarithm of how sharp its border is at most.
_UNEVEN: Final = 0.7
_HARDEST: Final = 4.0


def varied(samples: Tensor) -> Tensor:
    """Other photographs made of a batch's, from torch's random state.

    Args:
        samples: `(N, C, H, W)` float32 in [0, 1].

    Returns:
        As many of the same shape, in [0, 1]. About a third are single photographs, half of them in other
        colours; another third has a second one, or noise, on a part of it; the rest is a blend of the two.

    Source: blends are those of Zhang et al. 2018, *mixup*; masks of low frequencies those of Harris et al.
        2020, *FMix*.
    """
    count = len(samples)
    other = _recoloured(moved(samples.flip(0), turn=_TURN, zoom=_ZOOM, stretch=_STRETCH, move=_MOVE))
    samples = torch.where(_chosen(count, _RECOLOURED), _recoloured(samples), samples)
    second = torch.where(_chosen(count, _PHOTOGRAPHS), other, _noise(samples))
    kind = torch.rand(count, 1, 1, 1)
    blended = torch.rand(count, 1, 1, 1)
    share = torch.where(kind < _UNMIXED, 0.0, torch.where(kind < _MASKED, _mask(samples), blended))
    return torch.lerp(samples, second, share)


def _chosen(count: int, share: float) -> Tensor:
    return torch.rand(count, 1, 1, 1) < share


def _recoloured(samples: Tensor) -> Tensor:
    count, channels = samples.shape[:2]
    weights = torch.rand(count, channels, channels) ** _SHARPNESS
    loudness = torch.exp(uniform(count * channels, _LOUDER)).reshape(count, channels, 1)
    weights = weights / weights.sum(2, keepdim=True) * loudness
    mixed = torch.einsum("ndc,nchw->ndhw", weights, samples)
    inverted = torch.rand(count, channels, 1, 1) < _INVERTED
    return torch.where(inverted, 1 - mixed, mixed).clamp(0, 1)


def _noise(samples: Tensor) -> Tensor:
    """Smooth noise, with as much of each octave as chance gives it."""
    count, channels, *size = samples.shape
    total = torch.zeros_like(samples)
    for places in _OCTAVES:
        total = total + torch.rand(count, 1, 1, 1) * _smooth(count, channels, places, size)
    return (0.5 + _NOISE * torch.rand(count, 1, 1, 1) * total).clamp(0, 1)


def _mask(samples: Tensor) -> Tensor:
    """Shares in [0, 1], smooth over the picture, with borders from soft to sharp."""
    count, _, *size = samples.shape
    border = _smooth(count, 1, _PLACES, size) + torch.randn(count, 1, 1, 1) * _UNEVEN
    return torch.sigmoid(border * torch.exp(_HARDEST * torch.rand(count, 1, 1, 1)))


def _smooth(count: int, channels: int, places: int, size: list[int]) -> Tensor:
    coarse = torch.randn(count, channels, places, places)
    return functional.interpolate(coarse, size=size, mode="bicubic", align_corners=False)
