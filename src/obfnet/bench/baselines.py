"""What a protection has to beat: classifiers on the device and on what is sent, and sending some samples raw.

None of them asks a backend for more than the label of a raw sample, and none needs an obfuscation network.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from obfnet.attacks.known_network import KnownNetwork
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.data.case import Dataset
from obfnet.data.rows import AnyRows, batches, mapped
from obfnet.data.table import Split
from obfnet.nets.mode import evaluating
from obfnet.training.classifier import accuracy, answers, unit_tensor
from obfnet.training.device_only import train_device_only
from obfnet.training.recipes import ClassifierRecipe

# So many of the samples that the device is least sure of go to the backend as they are.
RAW_SHARES: Final = (0.02, 0.05, 0.1, 0.2, 0.25, 0.4, 0.6)

Floats = npt.NDArray[np.float64]


def measure_baselines(
    dataset: Dataset,
    inference: nn.Module,
    known: KnownNetwork,
    received: AnyRows,
    *,
    macs: int,
    recipe: ClassifierRecipe,
    seed: int,
    folder: Path,
    place: str,
    progress: Progress,
) -> dict[str, Any]:
    """The baselines of one obfuscation network, on test data.

    Args:
        dataset: Training and validation samples make the baselines; test samples score them.
        inference: The backend's network, on samples in [0, 1].
        known: The obfuscation network.
        received: What the backend receives of the test samples, `(len(test), *shape)` float32 in [0, 1].
        macs: Its multiply-accumulates, which no baseline may exceed.
        recipe: How the classifiers are trained.
        seed: Of their weights and order.
        folder: Where their weights are kept.
        place: Processor that trains.
        progress: Told of every step.

    Returns:
        `device_only`: accuracy of a classifier of raw samples on the device. `head`: of one on what is sent
        (for a code: on the code, since what is sent is made of it alone). `selective_raw`: for each share of
        samples sent raw, the least sure ones by a threshold set on validation data: the share on test data,
        which is the mean normalised leakage too (the worst sample's is 1), and the accuracy.

    Raises:
        UsageError: even the smallest classifier costs more.
    """
    alone = train_device_only(
        dataset, macs, recipe=recipe, seed=seed, folder=folder / "raw", place=place, progress=progress
    )
    sent = replace(
        dataset,
        train=_through(dataset.train, known),
        validation=_through(dataset.validation, known),
        test=replace(dataset.test, samples=received),
    )
    head = train_device_only(
        sent,
        macs,
        # What changes a picture means nothing on what is sent.
        recipe=replace(recipe, augmentation=()),
        seed=seed,
        folder=folder / "sent",
        place=place,
        progress=progress,
    )
    return {
        "device_only": accuracy(alone, dataset.test),
        "head": accuracy(head, sent.test),
        "selective_raw": _selective_raw(dataset, alone, inference),
    }


def _through(split: Split, known: KnownNetwork) -> Split:
    return replace(split, samples=known.in_turn(mapped(split.samples, as_unit)))


def _selective_raw(dataset: Dataset, alone: nn.Module, inference: nn.Module) -> list[dict[str, float]]:
    sure = _confidences(alone, dataset.validation)
    sure_in_test = _confidences(alone, dataset.test)
    own, asked = answers(alone, dataset.test.samples), answers(inference, dataset.test.samples)
    rows = []
    for share in RAW_SHARES:
        raw = sure_in_test < np.quantile(sure, share)
        right = np.where(raw, asked, own) == dataset.test.labels
        rows.append({"share": float(raw.mean()), "accuracy": float(right.mean())})
    return rows


def _confidences(network: nn.Module, split: Split) -> Floats:
    with torch.no_grad(), evaluating(network):
        parts = [
            network(unit_tensor(part)).softmax(1).amax(1).double().numpy() for part in batches(split.samples)
        ]
    return np.concatenate(parts)
