"""The trained decoder: a network that learns to undo the obfuscation from pairs.

The plain attack that every protection must survive. It minimises the very figure that it is scored
by, so that a low score is the obfuscation's merit and not the attacker's weakness.
"""

import math
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from obfnet.attacks.knowledge import Reconstruction, ReconstructionAttack, Samples, WhiteBox
from obfnet.core.errors import AttackError
from obfnet.core.progress import Progress
from obfnet.fitting import Budget, Checkpoint, Schedule, run_schedule

_WINDOW = 7


@final
class Decoder(ReconstructionAttack):
    """Fully connected decoder with two hidden layers and a linear path, trained on pairs for SSIM.

    Source: He, Zhang and Lee 2019, *Model inversion attacks against collaborative inference* (ACSAC),
        the white-box and query-free settings' inverse network.
    Differs from paper: fully connected, and trained for SSIM, the figure that it is scored by.
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
        received, raw = torch.tensor(knowledge.received), torch.tensor(knowledge.raw)
        network = _Network(received, settings["hidden"])

        def step(batch: Tensor) -> float:
            loss = _reconstruction_loss(network(received[batch]), raw[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.item()

        budget = Budget(
            schedule=Schedule(epochs=settings["epochs"], batch_size=256, peak_rate=2e-3, warm_up=0.2),
            seed=seed,
            checkpoint=checkpoint,
            progress=progress,
            task="train decoder",
        )
        run_schedule(network, step, samples=len(raw), budget=budget)
        network.eval()

        def reconstruct(samples: Samples, labels: npt.NDArray[np.int64]) -> Samples:
            with torch.no_grad():
                parts = [network(part) for part in torch.split(torch.tensor(samples), 1000)]
            guesses: Samples = torch.cat(parts).numpy()
            return guesses

        return reconstruct


@final
class _Network(nn.Module):
    def __init__(self, received: Tensor, hidden: int) -> None:
        super().__init__()
        self.shape = tuple(received.shape[1:])
        values = math.prod(self.shape)
        flat = received.flatten(1)
        self.mean = nn.Buffer(flat.mean(0))
        # A value that hardly ever changes must not be blown up into noise.
        self.scale = nn.Buffer(flat.std(0, correction=0) + 0.05)
        self.linear = nn.Linear(values, values)
        self.deep = nn.Sequential(
            nn.Linear(values, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, values),
        )

    def forward(self, received: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        flat = (received.flatten(1) - self.mean) / self.scale
        return torch.sigmoid(self.linear(flat) + self.deep(flat)).reshape(-1, *self.shape)


def _reconstruction_loss(guess: Tensor, raw: Tensor) -> Tensor:
    error = functional.mse_loss(guess, raw)
    if min(raw.shape[2:]) < _WINDOW:
        return error
    return error + 1 - _mean_ssim(guess, raw)


def _mean_ssim(a: Tensor, b: Tensor) -> Tensor:
    # The differentiable twin of `metrics.ssim`, which scores; the tests hold them together.
    mean_a, mean_b = (functional.avg_pool2d(value, _WINDOW, 1) for value in (a, b))
    unbiased = _WINDOW**2 / (_WINDOW**2 - 1)
    variance_a = unbiased * (functional.avg_pool2d(a * a, _WINDOW, 1) - mean_a**2)
    variance_b = unbiased * (functional.avg_pool2d(b * b, _WINDOW, 1) - mean_b**2)
    covariance = unbiased * (functional.avg_pool2d(a * b, _WINDOW, 1) - mean_a * mean_b)
    luminance = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
    structure = (2 * covariance + 9e-4) / (variance_a + variance_b + 9e-4)
    return (luminance * structure).mean()
