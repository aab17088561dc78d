"""How alike raw and obfuscated samples are to I: in what it sees at several depths, and in its answer.

An obfuscation network that is trained for the answers alone learns to name the class of the training samples,
and fails on others. Trained for what the inference network sees on the way to them, it keeps whatever that
network looks at, whatever the class.
"""

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from obfnet.training.protections import Answer

LEAST_SPREAD: Final = 1e-6


@dataclass(frozen=True, eq=False)
class Sight:
    """What the inference network makes of raw samples.

    Args:
        answers: Probabilities, `(N, K)`.
        features: At some depths, `(N, ...)` each; none where the network is one function, without layers.
    """

    answers: Tensor
    features: list[Tensor]


def sight_of(answer: Answer, raw: Float[Tensor, "N C H W"]) -> Sight:
    """What is wanted of what is sent; without gradients.

    Args:
        answer: The frozen inference network.
        raw: Samples in [0, 1].
    """
    with torch.no_grad():
        scores, features = answer.seen(raw)
    return Sight(scores.softmax(1), features)


def at_size(samples: Float[Tensor, "N C H W"], size: tuple[int, int] | None) -> Float[Tensor, "N C h w"]:
    """Samples brought to a height and width, with what is finer averaged away; None for their own."""
    if size is None:
        return samples
    return functional.interpolate(samples, size=size, mode="bilinear", antialias=True)


def unlike(answer: Answer, sent: Float[Tensor, "N C H W"], wanted: Sight) -> Float[Tensor, ""]:
    """Cross-entropy of the answers, and squared error of the features, each by its own spread.

    Args:
        answer: The frozen inference network.
        sent: Obfuscated samples in [0, 1].
        wanted: What it makes of the raw ones, in the same order.

    Source: features as hints are Romero et al. 2015, *FitNets: Hints for Thin Deep Nets*.
    """
    scores, features = answer.seen(sent)
    loss = functional.cross_entropy(scores, wanted.answers)
    for have, want in zip(features, wanted.features, strict=True):
        loss = loss + functional.mse_loss(have, want) / want.var().clamp_min(LEAST_SPREAD)
    return loss
