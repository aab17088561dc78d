"""The protection `adversarial`: trained against opponents that rebuild the sample and name its attribute.

There is no ceiling in it: what it keeps from its own opponents another attacker may still get, and only
attacks trained afresh say how much. With bits, the obfuscation under it is `coded`, with a share of rich
requests too it is `selective`, and the ceiling is that one's.
"""

import math
from typing import Final, Unpack, final

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn

from obfnet.core.errors import UsageError
from obfnet.training.coded import Coded
from obfnet.training.opponents import ConnectedOpponent, ConvolutionalOpponent, Opponent
from obfnet.training.protections import (
    Answer,
    Batch,
    Limits,
    Outcome,
    Protection,
    Purpose,
)
from obfnet.training.published import Published
from obfnet.training.selective import Selective

# An opponent starts afresh every so many steps, in turns, so that O always faces one that has learnt.
_REFRESHED: Final = 600
_STRENGTH: Final = 1.0


@final
class Adversarial(Protection):
    """Another protection, `published`, with bits `coded` or `selective`, trained against opponents.

    Args:
        bits: Length of the code under it; None for none.
        limits: `rich_share`, where the code has two levels.

    Source: the reversed gradient is Ganin and Lempitsky 2015, *Unsupervised Domain Adaptation by
        Backpropagation*.

    At camera size it is trained on whole pictures by its own losses all the way, and not in two parts as
    `published` is.

    Does not guarantee: anything beyond the ceiling of the code where there is one. Measured only.
    """

    name = "adversarial"
    times_longer = 1.5
    recipe = 4

    takes = ("bits", "rich_share")

    def __init__(self, bits: int | None = None, **limits: Unpack[Limits]) -> None:
        super().__init__(bits, **limits)
        self._under = under = _protection_under(bits, limits.get("rich_share"))
        self.budget_bits, self.width = under.budget_bits, under.width
        self.poor_bits, self.rich_share = under.poor_bits, under.rich_share

    def build(self, purpose: Purpose) -> nn.Module:
        """The network of the protection under it, with opponents that see what an attacker sees."""
        obfuscation = self._under.build(purpose)
        return _Opposed(obfuscation, nn.ModuleList(self._opponents(purpose)))

    def _opponents(self, purpose: Purpose) -> list[Opponent]:
        """Two: of photographs, and of codes laid out over them, one sees what has stayed in its place."""
        raw, values = purpose.shape, purpose.attribute_values
        seen, placed = raw, raw
        if isinstance(self._under, Coded):
            layout = self._under.layout(raw)
            seen = (self._under.bits, 1, 1)
            placed = (layout.each, layout.height, layout.width) if layout else seen
        connected = ConnectedOpponent(seen=seen, raw=raw, values=values)
        if raw[0] > 1 and math.prod(placed[1:]) > 1:
            return [connected, ConvolutionalOpponent(seen=placed, raw=raw, values=values)]
        return [connected, ConnectedOpponent(seen=seen, raw=raw, values=values)]

    def outcome(self, network: nn.Module, answer: Answer, batch: Batch) -> Outcome:
        """The loss of the protection under it, and the opponents', which O makes large."""
        opposed = _checked(network)
        own = self._under.outcome(opposed.obfuscation, answer, batch)
        opposed.refresh()
        reversed_view = _ReverseGradient.apply(own.seen)  # type: ignore[no-untyped-call]
        losses = [opponent.loss(reversed_view, batch) for opponent in opposed.opponents]  # type: ignore[operator]
        return Outcome(loss=own.loss + torch.stack(losses).mean(), seen=own.seen)

    def settle(self, network: nn.Module, raw: Float[Tensor, "N C H W"]) -> None:
        """As of the protection under it."""
        self._under.settle(_checked(network).obfuscation, raw)

    def obfuscation_of(self, network: nn.Module) -> nn.Module:
        """Without the opponents."""
        return self._under.obfuscation_of(_checked(network).obfuscation)

    def warning(self, classes: int, labels: npt.NDArray[np.int64]) -> str | None:
        """As of the protection under it."""
        return self._under.warning(classes, labels)

    def fault(self, network: nn.Module, raw: Float[Tensor, "N C H W"], classes: int) -> str | None:
        """As of the protection under it."""
        return self._under.fault(_checked(network).obfuscation, raw, classes)


def _protection_under(bits: int | None, rich_share: float | None) -> Protection:
    if bits is None and rich_share is None:
        return Published()
    try:
        return Coded(bits) if rich_share is None else Selective(bits, rich_share=rich_share)
    except UsageError as exc:
        raise UsageError(f"{exc.expected} under adversarial", exc.got, exc.remedy) from exc


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


class _ReverseGradient(torch.autograd.Function):
    """The identity, with a gradient of the other sign."""

    @staticmethod
    def forward(ctx, seen):  # type: ignore[no-untyped-def]
        return seen.view_as(seen)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return -_STRENGTH * gradient


def _checked(network: nn.Module) -> _Opposed:
    if not isinstance(network, _Opposed):
        raise TypeError("not built by this protection")
    return network
