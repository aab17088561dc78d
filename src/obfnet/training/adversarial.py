"""The protection `adversarial`: trained against opponents that rebuild the sample and name its attribute.

There is no ceiling in it: what it keeps from its own opponents another attacker may still get, and only
attacks trained afresh say how much. With bits, the obfuscation under it is `coded`, and the ceiling is that
one's.
"""

import math
from typing import Final, Unpack, final

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from obfnet.nets import Shape
from obfnet.nets.coded import scale_within
from obfnet.training.coded import Coded
from obfnet.training.protections import (
    Answer,
    Batch,
    Limits,
    Outcome,
    Protection,
    Purpose,
)
from obfnet.training.published import Published

_OPPONENTS: Final = 2
_WIDTH: Final = 256
# Samples of more values are seen and rebuilt at half their resolution, or a quarter.
_MOST_VALUES: Final = 3_072
# An opponent starts afresh every so many steps, in turns, so that O always faces one that has learnt.
_REFRESHED: Final = 600
_STRENGTH: Final = 1.0


@final
class Adversarial(Protection):
    """Another protection, `published` or with bits `coded`, trained against opponents.

    Args:
        bits: Length of the code under it; None for none.

    Source: the reversed gradient is Ganin and Lempitsky 2015, *Unsupervised Domain Adaptation by
        Backpropagation*.

    Does not guarantee: anything beyond the ceiling of `coded` where there are bits. Measured only.
    """

    name = "adversarial"
    times_longer = 1.5
    recipe = 3

    takes = ("bits",)

    def __init__(self, bits: int | None = None, **limits: Unpack[Limits]) -> None:
        super().__init__(bits, **limits)
        self._under: Protection = Published() if bits is None else Coded(bits)
        self.budget_bits = self._under.budget_bits

    def build(self, purpose: Purpose) -> nn.Module:
        """The network of the protection under it, with opponents that see what an attacker sees."""
        obfuscation = self._under.build(purpose)
        seen = purpose.shape if self.budget_bits is None else (int(self.budget_bits), 1, 1)
        opponents = [
            _Opponent(seen=seen, raw=purpose.shape, values=purpose.attribute_values)
            for _ in range(_OPPONENTS)
        ]
        return _Opposed(obfuscation, nn.ModuleList(opponents))

    def outcome(self, network: nn.Module, answer: Answer, batch: Batch) -> Outcome:
        """The loss of the protection under it, and the opponents', which O makes large."""
        opposed = _checked(network)
        own = self._under.outcome(opposed.obfuscation, answer, batch)
        opposed.refresh()
        reversed_view = _ReverseGradient.apply(own.seen)  # type: ignore[no-untyped-call]
        losses = [opponent.loss(reversed_view, batch) for opponent in opposed.opponents]  # type: ignore[operator]
        return Outcome(loss=own.loss + torch.stack(losses).mean(), seen=own.seen)

    def obfuscation_of(self, network: nn.Module) -> nn.Module:
        """Without the opponents."""
        return self._under.obfuscation_of(_checked(network).obfuscation)

    def warning(self, classes: int, labels: npt.NDArray[np.int64]) -> str | None:
        """As of the protection under it."""
        return self._under.warning(classes, labels)

    def fault(self, network: nn.Module, raw: Float[Tensor, "N C H W"], classes: int) -> str | None:
        """As of the protection under it."""
        return self._under.fault(_checked(network).obfuscation, raw, classes)


class _Opposed(nn.Module):
    """An obfuscation network and its opponents, trained together."""

    steps: Tensor

    def __init__(self, obfuscation: nn.Module, opponents: nn.ModuleList) -> None:
        super().__init__()
        self.obfuscation, self.opponents = obfuscation, opponents
        # A buffer, so that a resumed run refreshes when an uninterrupted one does.
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, raw: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """Obfuscated samples in [0, 1]."""
        obfuscated: Tensor = self.obfuscation(raw)
        return obfuscated

    def refresh(self) -> None:
        """Counts a step, and gives one of the opponents fresh weights where it is due."""
        self.steps += 1
        turn, due = divmod(int(self.steps), _REFRESHED)
        if due == 0:
            self.opponents[turn % len(self.opponents)].restart()  # type: ignore[operator]


@final
class _Opponent(nn.Module):
    """Rebuilds raw samples, and names their attribute, from what an attacker sees."""

    def __init__(self, *, seen: Shape, raw: Shape, values: int) -> None:
        super().__init__()
        self.seen_scale, self.raw_scale = scale_within(seen, _MOST_VALUES), scale_within(raw, _MOST_VALUES)
        self.body = nn.Sequential(
            nn.Linear(_values(seen, self.seen_scale), _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, _WIDTH), nn.ReLU()
        )
        self.rebuild = nn.Linear(_WIDTH, _values(raw, self.raw_scale))
        self.recognise = nn.Linear(_WIDTH, values) if values else None

    def loss(self, seen: Float[Tensor, "N ..."], batch: Batch) -> Float[Tensor, ""]:
        """Squared error in units of the batch's variance, and the attribute's cross-entropy."""
        view = (
            seen
            if seen.ndim == 2
            else functional.avg_pool2d(seen, self.seen_scale, ceil_mode=True).flatten(1)
        )
        raw = functional.avg_pool2d(batch.raw, self.raw_scale, ceil_mode=True).flatten(1)
        features = self.body(view)
        spread = (raw - raw.mean(0)).square().mean().clamp_min(1e-6)
        loss: Tensor = functional.mse_loss(self.rebuild(features), raw) / spread
        if self.recognise is not None and batch.attribute is not None:
            loss = loss + functional.cross_entropy(self.recognise(features), batch.attribute)
        return loss

    def restart(self) -> None:
        """Fresh weights, from torch's present random state."""
        for part in self.modules():
            if isinstance(part, nn.Linear):
                part.reset_parameters()


class _ReverseGradient(torch.autograd.Function):
    """The identity, with a gradient of the other sign."""

    @staticmethod
    def forward(ctx, seen):  # type: ignore[no-untyped-def]
        return seen.view_as(seen)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return -_STRENGTH * gradient


def _values(shape: Shape, scale: int) -> int:
    channels, height, width = shape
    return channels * math.ceil(height / scale) * math.ceil(width / scale)


def _checked(network: nn.Module) -> _Opposed:
    if not isinstance(network, _Opposed):
        raise TypeError("not built by this protection")
    return network
