"""The trained decoder: a network that learns to undo the obfuscation from pairs.

The plain attack that every protection must survive. It minimises the very figure that it is scored
by, so that a low score is the obfuscation's merit and not the attacker's weakness.
"""

from typing import final

import numpy as np
import torch

from obfnet.attacks.attack import Reconstruction, ReconstructionAttack, passes
from obfnet.attacks.decoder_network import decoder_network
from obfnet.attacks.fit_decoder import (
    Lesson,
    known_pairs,
    plain_schedule,
    reconstruction,
    some_of,
    train_decoder,
)
from obfnet.attacks.knowledge import WhiteBox
from obfnet.core.progress import Progress
from obfnet.fitting import Checkpoint


@final
class Decoder(ReconstructionAttack):
    """Decoder trained on pairs for SSIM: fully connected for small samples, with convolutions for large ones.

    Args:
        effort: Share of a standard training.
        epochs: Passes over the pairs; None takes as many as the effort buys (`passes`).
        hidden: Width of the hidden layers.
        checkpoint: State of an unfinished training, or None to keep none.

    Source: He, Zhang and Lee 2019, *Model inversion attacks against collaborative inference* (ACSAC),
        the white-box and query-free settings' inverse network.
    Differs from paper: a fully connected path, and trained for SSIM, the figure that it is scored by.
    """

    name = "decoder"
    threat_level = "T2"
    assumes = "pairs of the device's own network, as many as the attacker has samples"
    citation = "He, Zhang and Lee 2019, Model inversion attacks against collaborative inference (ACSAC)"

    def __init__(
        self,
        *,
        effort: float = 1.0,
        epochs: float | None = None,
        hidden: int = 1024,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        super().__init__(effort=effort)
        self.epochs, self.hidden, self.checkpoint = epochs, hidden, checkpoint

    def fit(self, knowledge: WhiteBox, *, seed: int, progress: Progress) -> Reconstruction:
        """Trains the decoder on the attacker's pairs."""
        epochs = passes(len(knowledge.labels), self.effort) if self.epochs is None else self.epochs
        torch.manual_seed(seed)
        network = decoder_network(some_of(knowledge.received), knowledge.raw.shape[1:], self.hidden)
        train_decoder(
            network,
            known_pairs(knowledge.received, knowledge.raw),
            np.arange(len(knowledge.labels), dtype=np.int64),
            np.empty(0, np.int64),
            Lesson(
                schedule=plain_schedule(epochs),
                seed=seed,
                progress=progress,
                task="train decoder",
                checkpoint=self.checkpoint,
            ),
        )
        return reconstruction(network)
