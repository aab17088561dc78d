"""What decides the bits of a code: an encoder that with its generator costs no more than a published O."""

import math
from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from obfnet.core.errors import UsageError
from obfnet.nets import OBFUSCATION_ARCHITECTURES, Shape
from obfnet.nets.cost import count_macs
from obfnet.nets.device_only import device_only_within

_CONNECTED: Final = ("mlp", "fsd-mlp", "asl-mlp")
# How far a sure decision lies from the border between two codes.
_SURE: Final = 2.0


class WordEncoder(nn.Module):
    """Decides a code as a vote of the classes' words, each with the weight that its class has.

    Where one class has more than half of the weight the code is its word, whatever the sample: what is left
    of the code's room tells only of samples between the classes.

    Args:
        classifier: `(N, C, H, W)` in [0, 1] to `(N, K)` scores of the classes.
        words: `(K, bits)` of zeros and ones.

    Source: words far from each other, so that one wrong bit does no harm, are Dietterich and Bakiri 1995,
        *Solving Multiclass Learning Problems via Error-Correcting Output Codes*.
    """

    votes: Tensor

    def __init__(self, classifier: nn.Module, words: Float[Tensor, "K bits"]) -> None:
        super().__init__()
        self.classifier = classifier
        self.register_buffer("votes", _SURE * (2 * words - 1))

    def forward(self, raw: Float[Tensor, "N C H W"]) -> Float[Tensor, "N bits"]:
        """Numbers between -2 and 2, of which the signs are the code."""
        return self.decide(raw)[1]

    def decide(self, raw: Float[Tensor, "N C H W"]) -> tuple[Float[Tensor, "N K"], Float[Tensor, "N bits"]]:
        """Scores of the classes, and the numbers that they come to."""
        scores: Tensor = self.classifier(raw)
        return scores, scores.softmax(1) @ self.votes


@final
class GradedEncoder(WordEncoder):
    """Decides a class's word, whether it is unsure of it, and details for that case.

    Args:
        classifier: `(N, C, H, W)` in [0, 1] to `(N, K + details)`: scores of the classes, then the details.
        words: `(K, bits)` of zeros and ones.

    Does not guarantee: anything before `settle` has set the border between sure and unsure.
    """

    border: Tensor

    def __init__(self, classifier: nn.Module, words: Float[Tensor, "K bits"]) -> None:
        super().__init__(classifier, words)
        self.register_buffer("border", torch.ones(()))

    def decide(self, raw: Float[Tensor, "N C H W"]) -> tuple[Float[Tensor, "N K"], Float[Tensor, "N width"]]:
        """Scores of the classes; the word's numbers, one that is above 0 for unsure samples, the details'."""
        decided: Tensor = self.classifier(raw)
        classes = len(self.votes)
        scores, details = decided[:, :classes], decided[:, classes:]
        weights = scores.softmax(1)
        unsure = self.border - weights.max(1, keepdim=True).values
        return scores, torch.cat([weights @ self.votes, unsure, details], 1)

    def settle(self, scores: Float[Tensor, "N K"], share: float) -> None:
        """Sets the border so that this share of samples with such scores is unsure.

        Args:
            scores: Of samples that are distributed as a device's.
            share: In (0, 1).
        """
        self.border.copy_(scores.softmax(1).max(1).values.quantile(share))


def most_macs(architecture: str, shape: Shape, hidden: int) -> int:
    """What an obfuscation network with a code may cost: a published one, at the full resolution.

    Args:
        architecture: Registry name of the published one.
        shape: Channels, height and width of a sample.
        hidden: Width of its bottleneck.
    """
    published = OBFUSCATION_ARCHITECTURES.get(architecture)(shape, hidden)
    return count_macs(published, shape) * (4 if getattr(published, "halves", False) else 1)


def coded_encoder(
    architecture: str,
    shape: Shape,
    hidden: int,
    words: Float[Tensor, "K bits"],
    *,
    generator: nn.Module,
    details: int = 0,
) -> WordEncoder:
    """An encoder, freshly initialised from torch's present random state.

    Whatever the published network of that name is made of, three strided convolutions make more of its cost.
    Where it is fully connected and cheaper than any of these, one hidden layer as wide as its own stands in.

    Args:
        architecture: Registry name of a published obfuscation network, which sets the cost.
        shape: Channels, height and width of a sample.
        hidden: Width of that network's bottleneck.
        words: The classes', `(K, bits)` of zeros and ones.
        generator: Takes the whole code; its cost is taken off.
        details: How many numbers it decides besides the word and its own doubt; 0 for a word alone.

    Raises:
        UsageError: the published network costs too little for any encoder.
    """
    published = most_macs(architecture, shape, hidden)
    classes, bits = words.shape
    length = bits + 1 + details if details else bits
    left = published - count_macs(_OfCode(generator), (length, 1, 1)) - classes * bits
    decided = classes + details
    try:
        network: nn.Module = device_only_within(shape, decided, max(0, left))
    except UsageError as exc:
        if architecture not in _CONNECTED:
            raise UsageError(
                "an obfuscation network with room for an encoder and a generator",
                f"{published:,} MACs of {architecture}({hidden})",
                "raise --hidden",
            ) from exc
        network = nn.Sequential(
            nn.Flatten(), nn.Linear(math.prod(shape), hidden), nn.ReLU(), nn.Linear(hidden, decided)
        )
    return GradedEncoder(network, words) if details else WordEncoder(network, words)


class _OfCode(nn.Module):
    """A generator, seen as something that takes a sample, so that its cost can be counted."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, code):  # type: ignore[no-untyped-def]
        return self.generator(code.flatten(1))
