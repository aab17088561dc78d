"""What an obfuscation network is trained against: networks that rebuild the sample and name its attribute.

One that is fully connected finds what is scattered over the sample; one of convolutions finds what has stayed
in its place, which is how a photograph is seen through. Neither finds what the other does.
"""

import math
from abc import ABC, abstractmethod
from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from obfnet.nets import Shape
from obfnet.nets.channels import OwnRandom
from obfnet.nets.coded import scale_within
from obfnet.nets.convolutional_obfuscation import normalised
from obfnet.training.looking import LEAST_SPREAD
from obfnet.training.protections import Batch

_WIDTH: Final = 256
_CHANNELS: Final = 48
# Samples of more values are seen and rebuilt at a fraction of their resolution.
_MOST_VALUES: Final = 3_072


class Opponent(nn.Module, ABC):
    """Rebuilds raw samples, and names their attribute, from what an attacker sees.

    Its random state is its own, so that a network comes out the same whatever else is trained beside it.

    Args:
        raw: Shape of a raw sample.
    """

    recognise: nn.Module | None

    def __init__(self, raw: Shape) -> None:
        super().__init__()
        self.raw_scale = scale_within(raw, _MOST_VALUES)
        channels, *sides = raw
        height, width = (math.ceil(side / self.raw_scale) for side in sides)
        self.rebuilt: Shape = (channels, height, width)
        self.random = OwnRandom()

    @abstractmethod
    def forward(
        self, seen: Float[Tensor, "N ..."]
    ) -> tuple[Float[Tensor, "N C H W"], Float[Tensor, "N features"]]:
        """The raw sample in [0, 1], at the resolution at which it is opposed, and features of it.

        Args:
            seen: Obfuscated samples in [0, 1], `(N, C, H, W)`, or codes, `(N, bits)` of -1 and 1.
        """

    def loss(self, seen: Float[Tensor, "N ..."], batch: Batch) -> Float[Tensor, ""]:
        """Squared error in units of the batch's variance, and the attribute's cross-entropy."""
        raw = functional.avg_pool2d(batch.raw, self.raw_scale, ceil_mode=True)
        guess, features = self(seen)
        spread = (raw - raw.mean(0)).square().mean().clamp_min(LEAST_SPREAD)
        loss: Tensor = functional.mse_loss(guess, raw) / spread
        if self.recognise is not None and batch.attribute is not None:
            loss = loss + functional.cross_entropy(self.recognise(features), batch.attribute)
        return loss

    def restart(self) -> None:
        """Fresh weights, drawn as torch draws those of a new network."""
        random = self.random.fresh()
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.reset_parameters()
            elif isinstance(part, nn.Linear | nn.Conv2d):
                most = 1 / math.sqrt(part.weight[0].numel())
                with torch.no_grad():
                    for values in part.parameters():
                        values.copy_(torch.empty(values.shape).uniform_(-most, most, generator=random))


@final
class ConnectedOpponent(Opponent):
    """Two fully connected layers, then the sample.

    Args:
        seen: Shape of what an attacker sees: a sample, or a code as `(bits, 1, 1)`.
        raw: Shape of a raw sample.
        values: Of the attribute; 0 where there is none.
    """

    def __init__(self, *, seen: Shape, raw: Shape, values: int) -> None:
        super().__init__(raw)
        self.scale = scale_within(seen, _MOST_VALUES)
        channels, *sides = seen
        inputs = channels * math.prod(math.ceil(side / self.scale) for side in sides)
        self.body = nn.Sequential(nn.Linear(inputs, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, _WIDTH), nn.ReLU())
        self.rebuild = nn.Linear(_WIDTH, math.prod(self.rebuilt))
        self.recognise = nn.Linear(_WIDTH, values) if values else None

    def forward(
        self, seen: Float[Tensor, "N ..."]
    ) -> tuple[Float[Tensor, "N C H W"], Float[Tensor, "N features"]]:
        """The raw sample and what it was rebuilt from."""
        view = seen if seen.ndim == 2 else functional.avg_pool2d(seen, self.scale, ceil_mode=True).flatten(1)
        features: Tensor = self.body(view)
        return self.rebuild(features).reshape(-1, *self.rebuilt), features


@final
class ConvolutionalOpponent(Opponent):
    """Three convolutions at half of the resolution, then a pixel shuffle.

    Args:
        seen: Shape of what an attacker sees: a sample's, or bits by cell of a code that is laid out over one.
        raw: Shape of a raw sample.
        values: Of the attribute; 0 where there is none.
    """

    def __init__(self, *, seen: Shape, raw: Shape, values: int) -> None:
        super().__init__(raw)
        self.seen, self.is_sample = seen, seen[1:] == raw[1:]
        channels, height, width = self.rebuilt
        self.sides = (math.ceil(height / 2), math.ceil(width / 2))
        # What is finer than these sides is folded into channels.
        places = self.rebuilt[1:] if self.is_sample else seen[1:]
        self.folded = max(math.ceil(have / side) for have, side in zip(places, self.sides, strict=True))
        self.body = nn.Sequential(*_layer(seen[0] * self.folded**2), *_layer(_CHANNELS), *_layer(_CHANNELS))
        self.rebuild = nn.Conv2d(_CHANNELS, 4 * channels, 3, padding=1)
        self.recognise = nn.Linear(_CHANNELS, values) if values else None

    def forward(
        self, seen: Float[Tensor, "N ..."]
    ) -> tuple[Float[Tensor, "N C H W"], Float[Tensor, "N features"]]:
        """The raw sample and averages of what it was rebuilt from."""
        _, height, width = self.rebuilt
        # Whatever has no place, such as the word of a class, comes before what has one.
        placed = seen.flatten(1)[:, -math.prod(self.seen) :].reshape(-1, *self.seen)
        features: Tensor = self.body(self._view(placed))
        guess = functional.pixel_shuffle(self.rebuild(features), 2)[:, :, :height, :width]
        return guess, features.mean((2, 3))

    def _view(self, seen: Float[Tensor, "N c h w"]) -> Float[Tensor, "N d H W"]:
        if self.is_sample:
            seen = functional.avg_pool2d(seen, self.raw_scale, ceil_mode=True)
        height, width = seen.shape[2:]
        whole = functional.pad(seen, (0, -width % self.folded, 0, -height % self.folded))
        return functional.interpolate(functional.pixel_unshuffle(whole, self.folded), self.sides)


def _layer(before: int) -> tuple[nn.Module, ...]:
    return normalised(nn.Conv2d(before, _CHANNELS, 3, padding=1, bias=False))
