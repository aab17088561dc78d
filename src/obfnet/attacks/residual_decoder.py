"""A convolutional decoder with residual blocks, for whatever shape the backend receives.

A fully connected stem gathers what an obfuscation network has scattered and paints a small map; residual
blocks raise it to the raw sample's size. Where the received sample has the raw one's shape, a local path
carries over what stayed in place.
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
    raw_picture,
    reconstruction,
    some_of,
    train_decoder,
)
from obfnet.attacks.held_out import own_parts
from obfnet.attacks.knowledge import WhiteBox
from obfnet.core.progress import Progress
from obfnet.fitting import Checkpoint, Schedule
from obfnet.nets.standardise import Standardise

_HIDDEN: Final = 512
# A visit costs several times the plain decoder's, and teaches as much more.
_SHARE_OF_VISITS: Final = 0.5
# Up to so many values a sample the linear path has a full matrix.
_SMALL: Final = 1_024


@final
class ResidualDecoder(ReconstructionAttack):
    """Decoder of residual blocks, trained on pairs for SSIM; the best pass is chosen on held-out pairs.

    Args:
        effort: Share of a standard training, which is half as many visits as the plain decoder's,
            and fewer of samples of more than 1,024 values.
        channels: Of the residual blocks, ≥ 4.
        checkpoint: State of an unfinished training, or None to keep none.

    Source: He, Zhang, Ren and Sun 2016, *Deep residual learning for image recognition* (CVPR): the blocks;
        Dosovitskiy and Brox 2016, *Inverting visual representations with convolutional networks* (CVPR): an
        up-convolutional network that inverts features.
    Differs from paper: a linear path beside the blocks, and trained for SSIM, the figure that it is
        scored by.
    """

    name = "residual-decoder"
    threat_level = "T2"
    citation = (
        "Dosovitskiy and Brox 2016, Inverting visual representations with convolutional networks (CVPR); "
        "blocks of He et al. 2016, Deep residual learning for image recognition (CVPR)"
    )
    assumes = "pairs of the device's own network, and raw samples that are pictures or spectrograms"

    def __init__(
        self, *, effort: float = 1.0, channels: int = 24, checkpoint: Checkpoint | None = None
    ) -> None:
        super().__init__(effort=effort)
        self.channels, self.checkpoint = channels, checkpoint

    def fit(self, knowledge: WhiteBox, *, seed: int, progress: Progress) -> Reconstruction:
        """Trains the decoder on the attacker's pairs.

        Raises:
            AttackError: raw samples that have no height and width.
        """
        shape = raw_picture(knowledge.raw, self.name)
        kept, held = own_parts(knowledge.labels, values=math.prod(shape), seed=seed)
        torch.manual_seed(seed)
        network = _Residual(some_of(knowledge.received), shape, self.channels)
        lesson = Lesson(
            schedule=Schedule(
                epochs=_SHARE_OF_VISITS * affordable(math.prod(shape)) * passes(len(kept), self.effort),
                batch_size=64,
                peak_rate=2e-3,
                warm_up=0.2,
            ),
            seed=seed,
            progress=progress,
            task="train residual decoder",
            checkpoint=self.checkpoint,
        )
        train_decoder(network, known_pairs(knowledge.received, knowledge.raw), kept, held, lesson)
        return reconstruction(network)


@final
class _Residual(nn.Module):
    def __init__(self, received: Tensor, raw_shape: tuple[int, int, int], channels: int) -> None:
        super().__init__()
        colours, self.height, self.width = raw_shape
        # The map grows fourfold in two steps, and what is too much is cut off.
        rows, columns = math.ceil(self.height / 4), math.ceil(self.width / 4)
        inputs, outputs = received[0].numel(), math.prod(raw_shape)
        self.raw_shape = raw_shape
        self.standardise = Standardise(tuple(received.shape[1:]))
        self.standardise.calibrate(received)
        self.gather = nn.Sequential(nn.Linear(inputs, _HIDDEN), nn.ReLU())
        self.paint = nn.Sequential(
            nn.Linear(_HIDDEN, channels * rows * columns),
            nn.Unflatten(1, (channels, rows, columns)),
            _Block(channels),
            nn.Conv2d(channels, 4 * channels, 1),
            nn.PixelShuffle(2),
        )
        self.local = (
            nn.Sequential(
                nn.ZeroPad2d((0, -self.width % 4, 0, -self.height % 4)),
                nn.Conv2d(colours, channels, 4, stride=2, padding=1),
            )
            if tuple(received.shape[1:]) == raw_shape
            else None
        )
        self.finish = nn.Sequential(
            _Block(channels),
            _Block(channels),
            nn.Conv2d(channels, 4 * colours, 3, padding=1),
            nn.PixelShuffle(2),
        )
        small = inputs <= _SMALL and outputs <= _SMALL
        self.linear = nn.Linear(inputs if small else _HIDDEN, outputs)
        self.small = small

    def forward(self, received: Float[Tensor, "N ..."]) -> Float[Tensor, "N C H W"]:
        standard = self.standardise(received)
        flat = standard.flatten(1)
        gathered = self.gather(flat)
        painted = self.paint(gathered)
        if self.local is not None:
            painted = painted + self.local(standard)
        detail = self.finish(painted)[:, :, : self.height, : self.width]
        whole = self.linear(flat if self.small else gathered)
        return torch.sigmoid(whole.reshape(-1, *self.raw_shape) + detail)


@final
class _Block(nn.Module):
    """Two convolutions with norms, added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, features: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        return torch.relu(features + self.body(features))
