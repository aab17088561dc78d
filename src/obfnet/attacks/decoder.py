"""The trained decoder: a network that learns to undo the obfuscation from pairs.

The plain attack that every protection must survive. It minimises the very figure that it is scored
by, so that a low score is the obfuscation's merit and not the attacker's weakness.
"""

from typing import Final, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from obfnet.attacks.attack import Reconstruction, ReconstructionAttack, passes
from obfnet.attacks.decoder_network import decoder_network, reconstruction_loss
from obfnet.attacks.knowledge import Samples, WhiteBox
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.fitting import Budget, Checkpoint, Schedule, run_schedule

_STANDARD_SAMPLES: Final = 5_000


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
        some = knowledge.received[:: max(1, len(knowledge.labels) // _STANDARD_SAMPLES)]
        network = decoder_network(_tensor(some), knowledge.raw.shape[1:], self.hidden)

        def step(batch: Tensor) -> float:
            rows = batch.numpy()
            loss = reconstruction_loss(
                network(_tensor(knowledge.received[rows])), _tensor(knowledge.raw[rows])
            )
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.item()

        budget = Budget(
            schedule=Schedule(epochs=epochs, batch_size=256, peak_rate=2e-3, warm_up=0.2),
            seed=seed,
            checkpoint=self.checkpoint,
            progress=progress,
            task="train decoder",
        )
        run_schedule(network, step, samples=len(knowledge.labels), budget=budget)
        network.eval()

        def reconstruct(samples: Samples, labels: npt.NDArray[np.int64]) -> Samples:
            with torch.no_grad():
                parts = [network(part) for part in torch.split(_tensor(samples), 250)]
            guesses: Samples = torch.cat(parts).numpy()
            return guesses

        return reconstruct


def _tensor(samples: Samples) -> Tensor:
    return torch.from_numpy(as_unit(samples))
