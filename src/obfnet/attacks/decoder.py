"""The trained decoder: a network that learns to undo the obfuscation from pairs.

The plain attack that every protection must survive. It minimises the very figure that it is scored
by, so that a low score is the obfuscation's merit and not the attacker's weakness.
"""

from typing import Any, Final, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from obfnet.attacks.decoder_network import decoder_network, reconstruction_loss
from obfnet.attacks.knowledge import Reconstruction, ReconstructionAttack, Samples, WhiteBox
from obfnet.core.errors import AttackError
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.fitting import Budget, Checkpoint, Schedule, run_schedule

_STANDARD_SAMPLES: Final = 5_000


@final
class Decoder(ReconstructionAttack):
    """Decoder trained on pairs for SSIM: fully connected for small samples, with convolutions for large ones.

    Source: He, Zhang and Lee 2019, *Model inversion attacks against collaborative inference* (ACSAC),
        the white-box and query-free settings' inverse network.
    Differs from paper: a fully connected path, and trained for SSIM, the figure that it is scored by.
    """

    name = "decoder"
    threat_level = "T2"
    citation = "He, Zhang and Lee 2019, Model inversion attacks against collaborative inference (ACSAC)"

    def fit(self, knowledge: WhiteBox, *, seed: int, progress: Progress, **options: Any) -> Reconstruction:
        """Trains the decoder on the attacker's pairs.

        Args:
            knowledge: The attacker's pairs.
            seed: Of weights and sample order.
            progress: Told of every step.
            options: `epochs` (passes over the pairs, default 4), `hidden` (width, default 1024),
                `checkpoint` (a `Checkpoint`, default none).

        Raises:
            AttackError: an option is unknown.
        """
        settings = {"epochs": 4.0, "hidden": 1024, "checkpoint": None, **options}
        if unknown := set(settings) - {"epochs", "hidden", "checkpoint"}:
            raise AttackError(
                "options epochs, hidden, checkpoint", ", ".join(sorted(unknown)), "leave them out"
            )
        checkpoint: Checkpoint | None = settings["checkpoint"]
        torch.manual_seed(seed)
        some = knowledge.received[:: max(1, len(knowledge.labels) // _STANDARD_SAMPLES)]
        network = decoder_network(_tensor(some), knowledge.raw.shape[1:], settings["hidden"])

        def step(batch: Tensor) -> float:
            rows = batch.numpy()
            loss = reconstruction_loss(
                network(_tensor(knowledge.received[rows])), _tensor(knowledge.raw[rows])
            )
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.item()

        budget = Budget(
            schedule=Schedule(epochs=settings["epochs"], batch_size=256, peak_rate=2e-3, warm_up=0.2),
            seed=seed,
            checkpoint=checkpoint,
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
