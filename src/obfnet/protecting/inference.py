"""Somebody's model, as the rest of ObfNet knows inference networks."""

from pathlib import Path

from obfnet.data.case import Dataset
from obfnet.models.source import Model
from obfnet.models.understand import Understood
from obfnet.training.classifier import accuracy
from obfnet.training.inference import InferenceCard, InferenceNetwork


def as_inference(opened: Model, understood: Understood, dataset: Dataset, folder: Path) -> InferenceNetwork:
    """An inference network that is not in a folder of its own.

    Args:
        opened: The model; its hash is the network's.
        understood: What it takes and gives.
        dataset: Samples as it takes them; validation samples give its accuracy.
        folder: Of the pool.
    """
    card = InferenceCard(
        format_version=1,
        id=opened.identity,
        case=dataset.spec.name,
        split=dataset.split,
        architecture=opened.kind,
        input=understood.spec,
        classes=dataset.spec.classes,
        weights_sha256=opened.identity,
        validation_accuracy=accuracy(understood.view, dataset.validation),
        seed=0,
        fingerprint=opened.identity,
    )
    return InferenceNetwork(card=card, network=understood.view, folder=folder)
