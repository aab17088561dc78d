"""Trains the device-only baseline: the best classifier of at most so many multiply-accumulates.

It gets what an inference network gets, so that it is a fair rival: the case's augmentation, and validation
data to choose the epoch that is kept. What it is compared with is the caller's.
"""

import dataclasses
from pathlib import Path

import torch
from torch import nn

from obfnet.core.progress import Progress, Silent
from obfnet.data.case import Dataset
from obfnet.fitting import Budget, Checkpoint, fingerprint, processor
from obfnet.nets.device_only import device_only_within
from obfnet.training.classifier import train_classifier
from obfnet.training.recipes import ClassifierRecipe


def train_device_only(
    dataset: Dataset,
    max_macs: int,
    *,
    recipe: ClassifierRecipe,
    seed: int,
    folder: Path,
    place: str = "auto",
    progress: Progress | None = None,
) -> nn.Module:
    """Trains a device-only classifier, or restores the one that the same settings gave before.

    Args:
        dataset: Training samples teach, validation samples choose; test samples are not read.
        max_macs: Largest cost of one sample, e.g. O's.
        recipe: Length, augmentation and smoothing.
        seed: Of weights and order.
        folder: Where its weights are kept, in a file for each cost.
        place: Processor: `"cpu"`, `"cuda"`, or `"auto"` for a GPU where there is one.
        progress: Told of every step.

    Returns:
        The classifier, in evaluation mode, on the CPU.

    Raises:
        UsageError: no classifier costs so little.
        TrainingError: the loss is not finite.
        OutputError: `folder` cannot be written.
    """
    channels, height, width = dataset.spec.input.shape
    torch.manual_seed(seed)
    network = device_only_within((channels, height, width), len(dataset.spec.classes), max_macs)
    settings = {
        "data": dataset.fingerprint,
        "recipe": dataclasses.asdict(recipe),
        "network": str(network),
        "seed": seed,
        "torch": torch.__version__,
    }
    budget = Budget(
        schedule=recipe.schedule,
        seed=seed,
        checkpoint=Checkpoint(
            path=folder / f"{max_macs}.safetensors",
            fingerprint=fingerprint(settings),
        ),
        progress=progress or Silent(),
        task="train device-only classifier",
    )
    train_classifier(
        network,
        dataset.train,
        budget,
        validation=dataset.validation,
        augmentation=recipe.augmentation,
        smoothing=recipe.smoothing,
        precision=recipe.precision,
        place=processor(place),
    )
    return network
