"""What stands between an encoder and a generator, and decides how much of a sample can pass.

Every channel takes what the encoder decided and what chance decides, and gives what a sample is then made of.
In training chance is drawn here; a device draws its own (`bundle.chance`).
"""

from typing import Final, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from obfnet.guarantees.discrete_gaussian import LEVELS

_STATES: Final = 2**62


class OwnRandom(nn.Module):
    """A random state of its own, in a buffer, which networks that train side by side cannot disturb."""

    state: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("state", torch.randint(_STATES, ()))

    def fresh(self) -> torch.Generator:
        """For one draw; the next is another."""
        random = torch.Generator().manual_seed(int(self.state))
        self.state.copy_(torch.randint(_STATES, (), generator=random))
        return random


@final
class Signs(nn.Module):
    """The signs, +1 or -1: one bit a number, and nothing left to chance.

    Source: the sign with a straight-through gradient is Bengio, Léonard and Courville 2013, *Estimating or
        Propagating Gradients Through Stochastic Neurons*.
    """

    def forward(self, decided: Float[Tensor, "N width"], drawn: None = None) -> Float[Tensor, "N width"]:
        """+1 where a number is above 0, else -1."""
        return _signs(decided, training=self.training)


@final
class FlippedSigns(nn.Module):
    """The signs, each inverted with a probability: randomised response.

    Args:
        flip: The probability, in (0, 0.5].

    Source: Warner 1965, *Randomized Response*.
    """

    def __init__(self, flip: float) -> None:
        super().__init__()
        self.flip, self.random = flip, OwnRandom()

    def forward(
        self, decided: Float[Tensor, "N width"], drawn: Bool[Tensor, "N width"] | None = None
    ) -> Float[Tensor, "N width"]:
        """+1 or -1; `drawn` says which to invert."""
        if drawn is not None:
            return torch.where(torch.logical_xor(decided > 0, drawn), 1.0, -1.0)
        inverted = torch.rand(decided.shape, generator=self.random.fresh()) < self.flip
        return _signs(decided, training=self.training) * torch.where(inverted, -1.0, 1.0).to(decided.device)


@final
class GradedSigns(nn.Module):
    """The signs of a word, and of details where they are needed and allowed; otherwise these are -1.

    In training some samples, drawn by lot, have their details and the others have none, so that both levels
    are learnt.

    Args:
        word: How many numbers are the word's; the next says by being above 0 that details are needed.
        taught_rich: Share of samples with details in training, in (0, 1).
    """

    def __init__(self, word: int, *, taught_rich: float = 0.5) -> None:
        super().__init__()
        self.word, self.taught_rich, self.random = word, taught_rich, OwnRandom()

    def forward(
        self, decided: Float[Tensor, "N width"], drawn: Bool[Tensor, "N 1"] | None = None
    ) -> Float[Tensor, "N width"]:
        """+1 or -1; `drawn` says where details are allowed, and by default they are."""
        word, doubt = decided[:, : self.word], decided[:, self.word : self.word + 1]
        details = decided[:, self.word + 1 :]
        if self.training:
            drawn_rich = torch.rand(doubt.shape, generator=self.random.fresh())
            rich = drawn_rich.to(decided.device) < self.taught_rich
            level = torch.where(rich, 1.0, -1.0)
            chosen = torch.where(rich, _signs(details, training=True), torch.full_like(details, -1.0))
            return torch.cat([_signs(word, training=True), level, chosen], 1)
        rich = doubt > 0
        if drawn is not None:
            rich = torch.logical_and(rich, drawn)
        bits = torch.cat([word > 0, rich, torch.logical_and(details > 0, rich)], 1)
        return torch.where(bits, 1.0, -1.0)


@final
class NoisyLevels(nn.Module):
    """Numbers in [-1, 1], of which whole multiples of 1/64 are taken, with Gaussian noise on each.

    Args:
        noise: Its standard deviation, > 0.

    Source: Canonne, Kamath and Steinke 2020, *The Discrete Gaussian for Differential Privacy*. In training
        the noise is a rounded Gaussian, which is as good as the same.
    """

    def __init__(self, noise: float) -> None:
        super().__init__()
        self.noise, self.random = noise, OwnRandom()

    def forward(
        self, decided: Float[Tensor, "N width"], drawn: Float[Tensor, "N width"] | None = None
    ) -> Float[Tensor, "N width"]:
        """Multiples of 1/64; `drawn` is the noise, in whole numbers of them."""
        # Clipped as whole numbers: among floats NaN would get past.
        soft = decided.tanh() * LEVELS
        whole = torch.round(soft).to(torch.int32).clamp(-LEVELS, LEVELS).float()
        if drawn is not None:
            return (whole + drawn) * (1 / LEVELS)
        if self.training:
            whole = soft + (whole - soft).detach()
        random = torch.randn(decided.shape, generator=self.random.fresh()).to(decided.device)
        return (whole + torch.round(random * self.noise * LEVELS)) * (1 / LEVELS)


def _signs(decided: Tensor, *, training: bool) -> Tensor:
    code = torch.where(decided > 0, 1.0, -1.0)
    if training:
        # Gradients go straight through.
        soft = decided.tanh()
        code = soft + (code - soft).detach()
    return code
