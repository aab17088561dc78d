"""Training of plain classifiers: inference networks, and the device-only baseline beside them."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from obfnet.core.spec import Samples, as_unit
from obfnet.data.cases import Split
from obfnet.fitting import Budget, run_schedule
from obfnet.nets.mode import evaluating


def unit_tensor(samples: Samples) -> Tensor:
    """Samples as a tensor of the networks: float32 in [0, 1], `(N, C, H, W)`; a copy."""
    return torch.from_numpy(as_unit(samples))


def accuracy(network: nn.Module, split: Split, *, batch_size: int = 256) -> float:
    """Share of samples that get the right label, in [0, 1]; each module's mode is put back.

    Args:
        network: Maps `(N, C, H, W)` float32 in [0, 1] to `(N, classes)` scores.
        split: Samples and labels.
        batch_size: Samples at a time.
    """
    with torch.no_grad(), evaluating(network):
        right = sum(
            int(
                (
                    network(unit_tensor(split.samples[start : start + batch_size])).argmax(1).numpy()
                    == split.labels[start : start + batch_size]
                ).sum()
            )
            for start in range(0, len(split.labels), batch_size)
        )
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
    samples, labels = unit_tensor(train.samples), torch.tensor(train.labels)
    network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.manual_seed(budget.seed)

    def step(batch: Tensor) -> float:
        raw = samples[batch].contiguous(memory_format=torch.channels_last)
        loss = functional.cross_entropy(network(raw), labels[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    run_schedule(network, step, samples=len(labels), budget=budget)
    network.eval()
