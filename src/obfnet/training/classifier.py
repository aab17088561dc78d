"""Training of plain classifiers: inference networks, and the device-only baseline beside them."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from obfnet.core.spec import Samples
from obfnet.data.cases import Split
from obfnet.fitting import Budget, run_schedule


def as_unit(samples: Samples) -> Tensor:
    """Samples as the networks see them: float32 in [0, 1], whatever the wire's dtype.

    Args:
        samples: `(N, C, H, W)`, float32 in [0, 1] or uint8.
    """
    if samples.dtype == np.uint8:
        return torch.from_numpy(samples.astype(np.float32) / 255.0)
    return torch.tensor(samples)


def accuracy(network: nn.Module, split: Split, *, batch_size: int = 256) -> float:
    """Share of samples that get the right label, in [0, 1]; the network's mode is put back.

    Args:
        network: Maps `(N, C, H, W)` float32 in [0, 1] to `(N, classes)` scores.
        split: Samples and labels.
        batch_size: Samples at a time.
    """
    # Each module has its own mode: a frozen part must not be put into training mode with the rest.
    modes = {module: module.training for module in network.modules()}
    network.eval()
    with torch.no_grad():
        right = sum(
            int(
                (
                    network(as_unit(split.samples[start : start + batch_size])).argmax(1).numpy()
                    == split.labels[start : start + batch_size]
                ).sum()
            )
            for start in range(0, len(split.labels), batch_size)
        )
    for module, mode in modes.items():
        module.training = mode
    return right / len(split.labels)


def train_classifier(network: nn.Module, train: Split, budget: Budget) -> None:
    """Trains `network` in place with cross-entropy; afterwards it is in evaluation mode.

    Args:
        network: Maps `(N, C, H, W)` float32 in [0, 1] to `(N, classes)` scores; freshly initialised.
        train: Training samples and labels.
        budget: Length, seed, checkpoint, progress.

    Raises:
        TrainingError: the loss is not finite.
    """
    samples, labels = as_unit(train.samples), torch.tensor(train.labels)
    network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.manual_seed(budget.seed)

    def step(batch: Tensor) -> float:
        raw = samples[batch].contiguous(memory_format=torch.channels_last)
        loss = functional.cross_entropy(network(raw), labels[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    run_schedule(network, step, samples=len(labels), budget=budget)
    network.eval()
