"""The protection `selective`: a few bits for the samples that the device is sure of, more for few others.

A word of the class is always sent. Where the encoder is unsure, and the device's own count allows it, details
follow; how many requests may have them is a promise that the device keeps.
"""

from typing import Final, Unpack, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from obfnet.core.errors import UsageError
from obfnet.nets.channels import GradedSigns
from obfnet.nets.coded import CodedObfuscation, ExactGenerator
from obfnet.nets.coded_encoders import GradedEncoder, coded_encoder
from obfnet.nets.spatial import Layout
from obfnet.training.coded import Coded, class_words, coded_network
from obfnet.training.protections import Limits, Purpose
from obfnet.training.spatial import spatial_network

_LONGEST_WORD: Final = 16
# A word, the level, a detail.
_LEAST_BITS: Final = 3
_AT_ONCE: Final = 500
_TAUGHT_RICH: Final = 0.8


@final
class Selective(Coded):
    """Two nested codes in one graph: the class's word, or the word and details.

    Args:
        bits: Length of the whole code, the level included: the budget of a rich request.
        limits: `rich_share`, the share of requests that may be rich, in (0, 1).

    Does not guarantee: anything for one request beyond its own ceiling, that of the rich level; the lower one
        holds for those that the device does not let be rich, and the sum for many.
    """

    name = "selective"
    takes = ("bits", "rich_share")
    # Details are learnt through I alone.
    asked_every = 1

    def __init__(self, bits: int | None = None, **limits: Unpack[Limits]) -> None:
        super().__init__(bits, **limits)
        share = limits.get("rich_share")
        if share is None or not 0 < share < 1:
            raise UsageError(
                f"a share above 0 and below 1 for protection {self.name}",
                "none" if share is None else f"{share:g}",
                "give it with --rich-share",
            )
        if self.bits < _LEAST_BITS:
            raise UsageError(
                f"at least {_LEAST_BITS} bits: a word, the level and a detail", f"{self.bits}", "raise --bits"
            )
        self.rich_share: float = float(share)
        self.width = 1
        self.poor_bits = float(self.word)

    @property
    def word(self) -> int:
        """Half of what the level leaves, and no more than is of use."""
        return min(_LONGEST_WORD, (self.bits - 1) // 2)

    def channel(self) -> nn.Module:
        """Signs of the word, and of the details where they are let through."""
        return GradedSigns(self.word)

    @property
    def placed(self) -> int:
        """The details."""
        return self.bits - self.word - 1

    def laid_out_network(self, purpose: Purpose, layout: Layout) -> CodedObfuscation:
        """Words that lie nowhere, and details that are laid out; these take longer to learn."""
        words = class_words(purpose.classes, self.word)
        return spatial_network(purpose, layout, GradedSigns(self.word, taught_rich=_TAUGHT_RICH), words)

    def encoder(self, purpose: Purpose, generator: ExactGenerator) -> nn.Module:
        """One network for classes and details."""
        return coded_encoder(
            purpose.architecture,
            purpose.shape,
            purpose.hidden,
            class_words(purpose.classes, self.word),
            generator=generator,
            details=self.placed,
        )

    def settle(self, network: nn.Module, raw: Float[Tensor, "N C H W"]) -> None:
        """Where unsure begins: for so many of these samples as the share says."""
        encoder: GradedEncoder = coded_network(network).encoder  # type: ignore[assignment]
        with torch.no_grad():
            scores = torch.cat([encoder.decide(part)[0] for part in torch.split(raw, _AT_ONCE)])
        encoder.settle(scores, self.rich_share)

    def distinct(self, decided: Tensor) -> Tensor:
        """The words alone: details could hide that these have collapsed."""
        return decided[:, : self.word] > 0
