"""Training of plain classifiers: inference networks, and the device-only baseline beside them."""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from obfnet.core.spec import Samples, as_unit
from obfnet.data.rows import AnyRows, batches
from obfnet.data.table import Split
from obfnet.fitting import Budget, Precision, Selection, arithmetic, run_schedule
from obfnet.nets.mode import evaluating
from obfnet.training.augmentation import augmented

_CALIBRATION_SAMPLES = 5_000


def unit_tensor(samples: Samples) -> Tensor:
    """Samples as a tensor of the networks: float32 in [0, 1], `(N, C, H, W)`; a copy."""
    return torch.from_numpy(as_unit(samples))


def accuracy(network: nn.Module, split: Split) -> float:
    """Share of samples that get the right label, in [0, 1]; each module's mode is put back.

    Args:
        network: Maps `(N, C, H, W)` float32 in [0, 1] to `(N, classes)` scores.
        split: Samples and labels.
    """
    right = answers(network, split.samples) == split.labels
    return float(right.mean())


def answers(
    network: nn.Module,
    samples: AnyRows,
    *,
    through: Callable[[Samples], Samples] | None = None,
) -> npt.NDArray[np.int64]:
    """The label that a network gives to each sample; each module's mode is put back.

    Args:
        network: Maps `(N, C, H, W)` float32 in [0, 1] to `(N, classes)` scores.
        samples: `(N, C, H, W)` as the wire has them.
        through: What samples go through first, an obfuscation; None leaves them as they are.

    Returns:
        `(N,)` int64.
    """
    place = _place(network)
    with torch.no_grad(), evaluating(network):
        parts = [
            network(unit_tensor(part if through is None else through(part)).to(place)).argmax(1).cpu().numpy()
            for part in batches(samples)
        ]
    return np.concatenate(parts)


def train_classifier(
    network: nn.Module,
    train: Split,
    budget: Budget,
    *,
    validation: Split | None = None,
    patience: int | None = None,
    augmentation: tuple[str, ...] = (),
    smoothing: float = 0.0,
    precision: Precision = "float32",
    place: torch.device | None = None,
) -> None:
    """Trains `network` in place with cross-entropy; afterwards it is in evaluation mode, on the CPU.

    Args:
        network: Maps `(N, C, H, W)` float32 in [0, 1] to `(N, classes)` scores; freshly initialised. One
            with a method `calibrate` is shown some training samples first.
        train: Training samples and labels.
        budget: Length, seed, checkpoint, progress.
        validation: Where given, the weights of the epoch that did best on it are kept.
        patience: Epochs without a better validation accuracy after which training stops.
        augmentation: Names of the changes that training samples go through.
        smoothing: Of the labels, in [0, 1).
        precision: Of the forward passes; validation is always in float32.
        place: Processor to train on; None is the CPU.

    Raises:
        TrainingError: the loss is not finite.
        UnknownNameError: no such augmentation.
    """
    place = place or torch.device("cpu")
    labels = torch.tensor(train.labels)
    calibrate = getattr(network, "calibrate", None)
    if calibrate is not None:
        calibrate(unit_tensor(train.samples[:: max(1, len(labels) // _CALIBRATION_SAMPLES)]))
    network.train().to(device=place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.manual_seed(budget.seed)

    def step(batch: Tensor) -> float:
        raw = augmented(unit_tensor(train.samples[batch.numpy()]), augmentation)
        raw = raw.to(place).contiguous(memory_format=torch.channels_last)
        with arithmetic(precision, place):
            scores = network(raw)
        loss = functional.cross_entropy(scores.float(), labels[batch].to(place), label_smoothing=smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    if validation is not None:
        selection = Selection(score=lambda: accuracy(network, validation), patience=patience)
        budget = replace(budget, selection=selection)
    run_schedule(network, step, samples=len(labels), budget=budget)
    network.eval().cpu()


def _place(network: nn.Module) -> torch.device:
    # A network of an ONNX file holds its weights as buffers.
    first = next(chain(network.parameters(), network.buffers()), None)
    return torch.device("cpu") if first is None else first.device
