"""A wider and deeper fully connected decoder than the plain one.

It answers the doubt that a low figure is only the plain decoder's want of size. It leaves out convolutions:
those are the residual decoder's.
"""

import math
from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from obfnet.attacks.attack import Reconstruction, ReconstructionAttack, passes
from obfnet.attacks.fit_decoder import (
    Lesson,
    affordable,
    known_pairs,
    reconstruction,
    some_of,
    train_decoder,
)
from obfnet.attacks.held_out import own_parts
from obfnet.attacks.knowledge import WhiteBox
from obfnet.core.errors import AttackError
from obfnet.core.progress import Progress
from obfnet.fitting import Checkpoint, Schedule
from obfnet.nets.standardise import Standardise

# So many weights lie between the hidden layers and the samples at most: large samples get narrower layers.
_MOST_WEIGHTS: Final = 16_000_000
_LINEAR_WEIGHTS: Final = 1_100_000


@final
class LargeDecoder(ReconstructionAttack):
    """Deep fully connected decoder with residual blocks; the best pass is chosen on held-out pairs.

    Args:
        effort: Share of a standard training, which is as many visits as the plain decoder's, and fewer of
            samples of more than 1,024 values.
        hidden: Width of the layers; narrower for large samples.
        blocks: Residual blocks of two layers each.
        checkpoint: State of an unfinished training, or None to keep none.

    Source: He, Zhang and Lee 2019, *Model inversion attacks against collaborative inference* (ACSAC): the
        inverse network; He, Zhang, Ren and Sun 2016, *Deep residual learning for image recognition* (CVPR):
        residual blocks; Ioffe and Szegedy 2015, *Batch normalization* (ICML).
    Differs from paper: fully connected, and trained for SSIM, the figure that it is scored by.
    """

    name = "large-decoder"
    threat_level = "T2"
    citation = (
        "He, Zhang and Lee 2019, Model inversion attacks against collaborative inference (ACSAC), "
        "with the residual blocks of He et al. 2016 (CVPR)"
    )
    assumes = "pairs of the device's own network, as many as the attacker has samples"

    def __init__(
        self,
        *,
        effort: float = 1.0,
        hidden: int = 768,
        blocks: int = 2,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        super().__init__(effort=effort)
        self.hidden, self.blocks, self.checkpoint = hidden, blocks, checkpoint

    def fit(self, knowledge: WhiteBox, *, seed: int, progress: Progress) -> Reconstruction:
        """Trains the decoder on the attacker's pairs.

        Raises:
            AttackError: a single pair, of which no batch can be normalised.
        """
        values = math.prod(knowledge.raw.shape[1:])
        kept, held = own_parts(knowledge.labels, values=values, seed=seed)
        if len(kept) < 2:
            raise AttackError(f"at least 2 pairs for {self.name}", "1", "use few-pairs")
        torch.manual_seed(seed)
        network = _Deep(some_of(knowledge.received), knowledge.raw.shape[1:], self.hidden, self.blocks)
        lesson = Lesson(
            schedule=Schedule(
                epochs=affordable(values) * passes(len(kept), self.effort),
                batch_size=256,
                peak_rate=2e-3,
                warm_up=0.2,
            ),
            seed=seed,
            progress=progress,
            task="train large decoder",
            checkpoint=self.checkpoint,
        )
        train_decoder(network, known_pairs(knowledge.received, knowledge.raw), kept, held, lesson)
        return reconstruction(network)


@final
class _Deep(nn.Module):
    def __init__(self, received: Tensor, raw_shape: tuple[int, ...], hidden: int, blocks: int) -> None:
        super().__init__()
        self.raw_shape = tuple(raw_shape)
        inputs, outputs = received[0].numel(), math.prod(raw_shape)
        wide = max(1, min(hidden, _MOST_WEIGHTS // (inputs + outputs)))
        self.standardise = Standardise(tuple(received.shape[1:]))
        self.standardise.calibrate(received)
        self.deep = nn.Sequential(
            nn.Linear(inputs, wide),
            *(_Block(wide) for _ in range(blocks)),
            nn.BatchNorm1d(wide),
            nn.ReLU(),
            nn.Linear(wide, outputs),
        )
        self.linear = nn.Linear(inputs, outputs) if inputs * outputs <= _LINEAR_WEIGHTS else None

    def forward(self, received: Float[Tensor, "N ..."]) -> Float[Tensor, "N ..."]:
        flat = self.standardise(received).flatten(1)
        guess = self.deep(flat)
        if self.linear is not None:
            guess = guess + self.linear(flat)
        return torch.sigmoid(guess).reshape(-1, *self.raw_shape)


@final
class _Block(nn.Module):
    """Two normalised layers, added to what came in."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm1d(wide),
            nn.ReLU(),
            nn.Linear(wide, wide, bias=False),
            nn.BatchNorm1d(wide),
            nn.ReLU(),
            nn.Linear(wide, wide),
        )

    def forward(self, features: Float[Tensor, "N F"]) -> Float[Tensor, "N F"]:
        result: Tensor = features + self.body(features)
        return result
