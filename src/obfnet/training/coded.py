"""The protection `coded`: at most 2^bits different requests, so that none tells more than so many bits.

The code is trained to be about the label: each class has a word of its own, as far from the others as the
length allows, and the encoder is trained towards the word that I's answer and the label ask for. What is left
of the code's room tells how sure the encoder is, and little of the sample.
"""

import math
from typing import Final, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from obfnet.core.errors import UsageError
from obfnet.nets.coded import CodedObfuscation, ExactGenerator
from obfnet.nets.coded_encoders import coded_encoder
from obfnet.training.protections import Answer, Protection, Shape

MOST_BITS: Final = 256
_TRIES: Final = 400
# How much of what is asked for comes from the label, and how much from I's own answer to the raw sample.
_LABEL_SHARE: Final = 0.5


@final
class Coded(Protection):
    """A code of signs between an encoder and a generator.

    Args:
        bits: Length of the code: the budget of one request.

    Source: words far from each other, so that one wrong bit does no harm, are Dietterich and Bakiri 1995,
        *Solving Multiclass Learning Problems via Error-Correcting Output Codes*.

    Does not guarantee: that a guess is bad that was good beforehand; nor anything about several different
        samples of the same person, each of which has a budget of its own.
    """

    name = "coded"

    def __init__(self, bits: int | None = None) -> None:
        if bits is None or not 1 <= bits <= MOST_BITS:
            raise UsageError(
                f"a budget of 1 to {MOST_BITS} bits for protection coded",
                "none" if bits is None else str(bits),
                "give it with --bits",
            )
        self.bits = bits
        self.budget_bits = float(bits)

    def build(self, shape: Shape, architecture: str, hidden: int, classes: int) -> nn.Module:
        """An encoder of this architecture with a code of these bits; its words are drawn with its weights."""
        generator = ExactGenerator(shape, self.bits)
        encoder = coded_encoder(architecture, shape, hidden, self.bits, generator=generator)
        network = CodedObfuscation(encoder, generator)
        network.register_buffer("words", class_words(classes, self.bits))
        return network

    def loss(
        self,
        network: nn.Module,
        answer: Answer,
        raw: Float[Tensor, "N C H W"],
        labels: Int[Tensor, " N"],
    ) -> Tensor:
        """Cross-entropy of I's answer to what is sent, and of each bit; half labels, half I's own answer."""
        if not isinstance(network, CodedObfuscation):
            raise TypeError("not built by this protection")
        words: Tensor = network.words  # type: ignore[assignment]
        with torch.no_grad():
            own = answer(raw).softmax(1)
            wanted = torch.lerp(own, functional.one_hot(labels, own.shape[1]).float(), _LABEL_SHARE)
        decided = network.decide(raw)
        scores = answer(network.generate(decided))
        through = -(wanted * scores.log_softmax(1)).sum(1).mean()
        bits = functional.binary_cross_entropy_with_logits(decided, wanted @ words)
        return through + bits * math.sqrt(self.bits)


def class_words(classes: int, bits: int) -> Float[Tensor, "K bits"]:
    """A word of zeros and ones for each class, all different where the length allows, and far apart.

    Args:
        classes: K.
        bits: Length of a word.

    Returns:
        From torch's present random state. With too few bits for the classes some words are the same.
    """
    words = torch.stack([_fresh_word(bits) for _ in range(classes)])
    nearest = _nearest(words)
    for attempt in range(_TRIES):
        changed = words.clone()
        # The class with the nearest neighbour gets another word; it stays unless it made things worse.
        row = int(_distances(words).min(1).values.argmin()) if attempt % 2 else attempt // 2 % classes
        changed[row] = _fresh_word(bits)
        if (found := _nearest(changed)) >= nearest:
            words, nearest = changed, found
    return words


def _fresh_word(bits: int) -> Tensor:
    return torch.randint(2, (bits,)).float()


def _distances(words: Tensor) -> Tensor:
    apart = torch.cdist(words, words, p=1)
    return apart + torch.eye(len(words)) * words.shape[1] * 2


def _nearest(words: Tensor) -> tuple[float, int]:
    distances = _distances(words)
    least = float(distances.min())
    return least, -int((distances == least).sum())
