"""How a code that is laid out over a photograph is trained: to show the inference network what it would see.

Trained for what the inference network sees at several depths (`looking`), it holds what that network looks
at, whatever the class, and nothing asks it to hold more.
"""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from obfnet.core.errors import UsageError
from obfnet.nets.coded import CodedObfuscation
from obfnet.nets.coded_encoders import GradedEncoder, most_macs
from obfnet.nets.spatial import FEWEST_BITS, GradedGenerator, Layout, SpatialGenerator, spatial_obfuscation
from obfnet.training.looking import sight_of, unlike
from obfnet.training.protections import Answer, Batch, Outcome, Purpose

LABEL_SHARE: Final = 0.5
"""How much of what an encoder's own scores should be comes from the label, the rest from I's answer."""


def spatial_network(
    purpose: Purpose, layout: Layout, channel: nn.Module, words: Float[Tensor, "K word"] | None = None
) -> CodedObfuscation:
    """An encoder and a generator at no more than the published network's cost (`most_macs`).

    Args:
        purpose: Of the network.
        layout: Of its code, or with words of its details.
        channel: What the code passes.
        words: The classes', for a code of two levels; None for one of one level.

    Raises:
        UsageError: the published network costs too little.
    """
    return spatial_obfuscation(
        purpose.shape,
        purpose.hidden,
        layout,
        channel=channel,
        max_macs=most_macs(purpose.architecture, purpose.shape, purpose.hidden),
        words=words,
    )


def is_laid_out(network: CodedObfuscation) -> bool:
    """Whether `spatial_network` made it."""
    return isinstance(network.generator, SpatialGenerator | GradedGenerator)


def spatial_outcome(network: CodedObfuscation, answer: Answer, batch: Batch) -> Outcome:
    """Squared error of I's features, each by its own spread, and cross-entropy of I's answers.

    Both are wanted as they are for the raw sample. Labels are used for words only, where the code has any:
    half of what the encoder's own scores should be is the label, half I's answer.

    Args:
        network: As `spatial_network` makes it.
        answer: The frozen inference network.
        batch: Training samples.

    Raises:
        UsageError: I is one function, without layers that could be looked at.
    """
    wanted = sight_of(answer, batch.raw)
    if not wanted.features:
        raise UsageError(
            f"an inference network made of layers, for a code of {FEWEST_BITS} bits or more of a photograph",
            "one function, of which nothing is seen but its answers",
            "give fewer --bits, or make it of torch modules",
        )
    loss = batch.raw.new_zeros(())
    if isinstance(network.encoder, GradedEncoder):
        scores, decided = network.encoder.decide(batch.raw)
        named = functional.one_hot(batch.labels, scores.shape[1]).float()
        loss = loss + functional.cross_entropy(scores, torch.lerp(wanted.answers, named, LABEL_SHARE))
    else:
        decided = network.decide(batch.raw)
    code = network.code(decided)
    return Outcome(loss=loss + unlike(answer, network.generator(code), wanted), seen=code)
