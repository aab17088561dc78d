"""Trains a network that guesses raw samples from received ones: the part that every trained decoder shares.

It reads pairs batch by batch, may keep the weights that do best on a part that the attacker holds out of its
own samples, and turns the network into an attacker's answer. Which network and which pairs is the attack's.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from obfnet.attacks.attack import Reconstruction
from obfnet.attacks.decoder_network import reconstruction_loss
from obfnet.attacks.knowledge import Samples
from obfnet.core.errors import AttackError
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.data.rows import AnyRows, Indices, batches
from obfnet.fitting import Budget, Checkpoint, Precision, Schedule, Selection, arithmetic, run_schedule
from obfnet.fitting.loop import Step
from obfnet.nets.mode import evaluating

Pairs = Callable[[Indices], tuple[Tensor, Tensor]]
"""Indices of the attacker's samples, `(B,)`, to `(B, *received_shape)` and `(B, *raw_shape)` in [0, 1]."""

_CALIBRATION: Final = 5_000
_AT_ONCE: Final = 250
# Up to so many values a sample, no visit is saved.
_FULL_VISITS: Final = 1_024


def tensor(samples: Samples) -> Tensor:
    """Samples as a network sees them: float32 in [0, 1], `(N, ...)`."""
    return torch.from_numpy(as_unit(samples))


def some_of(rows: AnyRows) -> Tensor:
    """Evenly spaced rows, some thousands at most: enough for means and spreads."""
    return tensor(rows[:: max(1, len(rows) // _CALIBRATION)])


def known_pairs(received: AnyRows, raw: AnyRows) -> Pairs:
    """The pairs of an attacker who has both sides of each sample."""
    return lambda rows: (tensor(received[rows]), tensor(raw[rows]))


def guess_loss(guess: Tensor, raw: Tensor) -> Tensor:
    """`reconstruction_loss` of `(N, C, H, W)` samples; the squared error of samples of any other shape."""
    return reconstruction_loss(guess, raw) if raw.ndim == 4 else functional.mse_loss(guess, raw)


def plain_schedule(epochs: float) -> Schedule:
    """The plain decoder's way of training, for so many passes over the pairs."""
    return Schedule(epochs=epochs, batch_size=256, peak_rate=2e-3, warm_up=0.2)


def affordable(values: int) -> float:
    """Share of the visits that a costly decoder makes to samples of so many values: fewer to large ones.

    Example:
        >>> affordable(784), affordable(4_096)
        (1.0, 0.5)
    """
    return min(1.0, math.sqrt(_FULL_VISITS / values))


def raw_picture(raw: AnyRows, name: str) -> tuple[int, int, int]:
    """Shape of one raw sample; raises `AttackError` unless it has channels, height and width."""
    if raw.ndim != 4:
        raise AttackError(
            f"raw samples of shape (N, C, H, W) for {name}",
            str(raw.shape),
            "leave the attack out, or use large-decoder",
        )
    channels, height, width = raw.shape[1:]
    return channels, height, width


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """How a decoder is trained.

    Args:
        schedule: Length, batch size and learning rate.
        seed: Of order and dropout, and of what is random in the pairs that it is scored on.
        progress: Told of every step.
        task: What to call the work.
        checkpoint: State of an unfinished training, or None to keep none.
    """

    schedule: Schedule
    seed: int
    progress: Progress
    task: str
    checkpoint: Checkpoint | None = None


def train_decoder(network: nn.Module, pairs: Pairs, kept: Indices, held: Indices, lesson: Lesson) -> None:
    """Trains `network` in place on pairs, for `guess_loss`.

    Args:
        network: Received samples to guesses in [0, 1].
        pairs: Where the pairs come from.
        kept: Indices of those that it trains on.
        held: Indices of those by which the pass with the best weights is chosen; where there are none the
            last weights stay.
        lesson: How it is trained.
    """
    precision: Precision = getattr(network, "precision", "float32")

    def step(batch: Tensor) -> float:
        received, raw = pairs(kept[batch.numpy()])
        with arithmetic(precision, torch.device("cpu")):
            guess = network(received)
        loss = guess_loss(guess.float(), raw)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    run_lesson(network, network, step, pairs, kept, held, lesson)


def run_lesson(
    modules: nn.Module,
    decoder: nn.Module,
    step: Step,
    pairs: Pairs,
    kept: Indices,
    held: Indices,
    lesson: Lesson,
) -> None:
    """As `train_decoder`, for a training whose steps are another's.

    Args:
        modules: Everything that is trained; the decoder is part of it.
        decoder: Received samples to guesses.
        step: Gets numbers of samples in `kept`, and computes gradients of `modules`.
        pairs: Where the pairs come from.
        kept: As in `train_decoder`.
        held: As in `train_decoder`.
        lesson: How it is trained.
    """
    selection = None
    if len(held) > 0:
        selection = Selection(score=lambda: pairs_score(decoder, pairs, held, lesson.seed))
    budget = Budget(
        schedule=lesson.schedule,
        seed=lesson.seed,
        checkpoint=lesson.checkpoint,
        progress=lesson.progress,
        task=lesson.task,
        selection=selection,
    )
    run_schedule(modules, step, samples=len(kept), budget=budget)


def pairs_score(network: nn.Module, pairs: Pairs, held: Indices, seed: int) -> float:
    """One minus the mean `guess_loss` of a network on some pairs: mean SSIM minus squared error.

    Args:
        network: Received samples to guesses.
        pairs: Where the pairs come from.
        held: Their indices, at least one.
        seed: Of what is random in `pairs`; the state of torch's random numbers is put back.
    """
    total = 0.0
    with torch.no_grad(), evaluating(network), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for rows in batches(held, _AT_ONCE):
            received, raw = pairs(rows)
            total += float(guess_loss(network(received), raw)) * len(rows)
    return 1 - total / len(held)


def guesses(network: nn.Module, received: AnyRows) -> Samples:
    """What a network makes of samples as received, some at a time: `(N, *raw_shape)` float32."""
    with torch.no_grad(), evaluating(network):
        parts = [network(tensor(part)).numpy() for part in batches(received, _AT_ONCE)]
    made: npt.NDArray[np.float32] = np.concatenate(parts)
    return made


def reconstruction(network: nn.Module) -> Reconstruction:
    """The attacker who answers with a network's guess, whatever the label."""
    return lambda received, answered: guesses(network, received)
