"""A decoder with a discriminator beside it, which makes its guesses sharper than those of an error alone.

Where many raw samples fit what was received, a decoder that is trained for an error answers with their
blur; a discriminator that sees raw samples and guesses beside what was received teaches it to answer with one
of them.
"""

import math
from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from obfnet.attacks.attack import Reconstruction, ReconstructionAttack, passes
from obfnet.attacks.decoder_network import decoder_network
from obfnet.attacks.fit_decoder import (
    Lesson,
    guess_loss,
    known_pairs,
    plain_schedule,
    raw_picture,
    reconstruction,
    run_lesson,
    some_of,
)
from obfnet.attacks.held_out import own_parts
from obfnet.attacks.knowledge import WhiteBox
from obfnet.core.progress import Progress
from obfnet.fitting import Checkpoint
from obfnet.nets.standardise import Standardise

# The paper weighs the absolute error 100 times as much as the discriminator's opinion.
_ADVERSARIAL: Final = 0.01
_CHANNELS: Final = 16
_CONDITION: Final = 64
_SHARE_OF_VISITS: Final = 0.75


@final
class AdversarialDecoder(ReconstructionAttack):
    """Conditional generative adversarial network: absolute error, SSIM and a discriminator of patches.

    Args:
        effort: Share of a standard training, three quarters of the plain decoder's visits.
        hidden: Width of the decoder's hidden layers.
        checkpoint: State of an unfinished training, or None to keep none.

    Source: Isola, Zhu, Zhou and Efros 2017, *Image-to-image translation with conditional adversarial
        networks* (CVPR): the loss and the discriminator of patches.
    Differs from paper: the decoder is the plain attack's, since an obfuscated sample is no picture in
        general; the error that the attack is scored by is added; the discriminator sees the received sample
        as shifts of its channels; no noise goes into a guess; the pass that scores best on held-out pairs is
        kept.
    """

    name = "adversarial-decoder"
    threat_level = "T2"
    citation = (
        "Isola, Zhu, Zhou and Efros 2017, "
        "Image-to-image translation with conditional adversarial networks (CVPR)"
    )
    assumes = "pairs of the device's own network, and raw samples that are pictures or spectrograms"

    def __init__(
        self, *, effort: float = 1.0, hidden: int = 1024, checkpoint: Checkpoint | None = None
    ) -> None:
        super().__init__(effort=effort)
        self.hidden, self.checkpoint = hidden, checkpoint

    def fit(self, knowledge: WhiteBox, *, seed: int, progress: Progress) -> Reconstruction:
        """Trains decoder and discriminator against each other on the attacker's pairs.

        Raises:
            AttackError: raw samples that have no height and width.
        """
        shape = raw_picture(knowledge.raw, self.name)
        kept, held = own_parts(knowledge.labels, values=math.prod(shape), seed=seed)
        pairs = known_pairs(knowledge.received, knowledge.raw)
        torch.manual_seed(seed)
        some = some_of(knowledge.received)
        decoder, critic = decoder_network(some, shape, self.hidden), _Discriminator(some, shape)

        def step(batch: Tensor) -> float:
            received, raw = pairs(kept[batch.numpy()])
            guess = decoder(received)
            told = functional.softplus(-critic(received, raw)) + functional.softplus(
                critic(received, guess.detach())
            )
            (told.mean() / 2).backward()  # type: ignore[no-untyped-call]
            # The decoder's loss leaves the discriminator as it is.
            critic.requires_grad_(False)
            error = functional.l1_loss(guess, raw) + guess_loss(guess, raw)
            fooled = functional.softplus(-critic(received, guess)).mean()
            (error + _ADVERSARIAL * fooled).backward()  # type: ignore[no-untyped-call]
            critic.requires_grad_(True)
            return error.item()

        lesson = Lesson(
            schedule=plain_schedule(_SHARE_OF_VISITS * passes(len(kept), self.effort)),
            seed=seed,
            progress=progress,
            task="train adversarial decoder",
            checkpoint=self.checkpoint,
        )
        run_lesson(nn.ModuleList([decoder, critic]), decoder, step, pairs, kept, held, lesson)
        return reconstruction(decoder)


@final
class _Discriminator(nn.Module):
    """Says of each patch whether it is raw, given what was received."""

    def __init__(self, received: Tensor, raw_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.standardise = Standardise(tuple(received.shape[1:]))
        self.standardise.calibrate(received)
        inputs = math.prod(received.shape[1:])
        self.condition = nn.Sequential(nn.Linear(inputs, _CONDITION), nn.ReLU())
        widths = (_CHANNELS, 2 * _CHANNELS)
        self.shifts = nn.ModuleList(nn.Linear(_CONDITION, width) for width in widths)
        self.layers = nn.ModuleList(
            nn.Conv2d(before, width, 3, stride=2, padding=1)
            for before, width in zip((raw_shape[0], *widths), widths, strict=False)
        )
        self.last = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(
        self, received: Float[Tensor, "N ..."], sample: Float[Tensor, "N C H W"]
    ) -> Float[Tensor, "N 1 h w"]:
        condition, features = self.condition(self.standardise(received).flatten(1)), sample
        for layer, shift in zip(self.layers, self.shifts, strict=True):
            features = functional.leaky_relu(layer(features) + shift(condition)[:, :, None, None], 0.2)
        opinion: Tensor = self.last(features)
        return opinion
