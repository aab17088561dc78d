"""One cell of the paper's grid: trains what it needs, then measures it on test data, once.

Trainings are kept in the work folder and reused where their settings are the same: an inference network
serves all obfuscation networks of its case, split and seed, and so does the decoder on raw samples. Which
cells there are is `grid`'s, their order and the result file `paper`'s.
"""

import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from obfnet.bench.grid import Cell
from obfnet.bundle import Bundle, Trust, load_or_create_coordinator_key, public_key_text, read_pool
from obfnet.core.errors import UsageError
from obfnet.core.progress import Progress
from obfnet.data.case import Dataset
from obfnet.demo.leakage import measure_leakage, measure_recognition
from obfnet.demo.samples import sample_bytes
from obfnet.demo.settings import DemoSettings
from obfnet.edge import ObfuscationSession
from obfnet.edge.timing import time_obfuscation
from obfnet.export.onnx_bytes import INPUT_NAME, SCORES_NAME
from obfnet.fitting import Schedule, fingerprint
from obfnet.nets.cost import count_macs, count_parameters
from obfnet.oip.rest import encode_request_binary
from obfnet.training.classifier import accuracy, answers
from obfnet.training.device_only import train_device_only
from obfnet.training.inference import InferenceNetwork, train_inference
from obfnet.training.obfuscation import PoolSettings, train_obfuscation
from obfnet.training.recipes import ClassifierRecipe, inference_recipe, obfuscation_schedule

# Raised where a cell is measured otherwise, so that former cells are not taken for the same.
_FORM: Final = 2
_DEVICE_ONLY: Final = "device-only"


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """Where and how cells are worked on.

    Args:
        folder: For everything that is trained.
        place: Processor that trains: `"cpu"`, `"cuda"` or `"auto"`.
        progress: Told of every step.
    """

    folder: Path
    place: str
    progress: Progress


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long everything of a cell trains: the case's recipe, shortened to the row's shares.

    Args:
        inference: Of the inference network.
        obfuscation: Of the obfuscation network.
        device_only: Of the device-only classifiers.
        attack_epochs: Passes of the decoder over its pairs, as many steps as the demo's on a full digit set.
    """

    inference: ClassifierRecipe
    obfuscation: Schedule
    device_only: ClassifierRecipe
    attack_epochs: float


def plan_for(cell: Cell, dataset: Dataset) -> Plan:
    """How a cell's networks are trained.

    Args:
        cell: The cell.
        dataset: Its case.
    """
    spec, row = dataset.spec, cell.row

    def shortened(schedule: Schedule, share: float = 1.0) -> Schedule:
        return replace(schedule, epochs=schedule.epochs * row.share * share)

    def recipe(architecture: str) -> ClassifierRecipe:
        own = inference_recipe(spec, architecture)
        return replace(own, schedule=shortened(own.schedule))

    attack = DemoSettings.full().for_samples(len(dataset.train.labels), dataset.spec.input.values)
    return Plan(
        inference=recipe(spec.inference_architecture(row.inference)),
        obfuscation=shortened(obfuscation_schedule(spec, protection=row.protection), row.obfuscation_share),
        device_only=recipe(_DEVICE_ONLY),
        attack_epochs=attack.attack_epochs * row.attack_share,
    )


def inference_for(cell: Cell, dataset: Dataset, at: Workplace) -> InferenceNetwork:
    """The inference network of a cell, trained now unless it was before.

    Args:
        cell: The cell.
        dataset: Its case, cut by its split.
        at: Where.

    Raises:
        TrainingError, OutputError: as `train_inference`.
    """
    return train_inference(
        dataset,
        out=at.folder / "inference" / _folder_name(cell, cell.row.inference),
        architecture=cell.row.inference,
        recipe=plan_for(cell, dataset).inference,
        seed=cell.seed,
        place=at.place,
        progress=at.progress,
    )


def obfuscation_for(cell: Cell, dataset: Dataset, inference: InferenceNetwork, at: Workplace) -> Bundle:
    """The obfuscation network of a cell as a device gets it, trained now unless it was before.

    Args:
        cell: The cell.
        dataset: Its case, cut by its split.
        inference: Its inference network.
        at: Where.

    Raises:
        TrainingError, OutputError: as `train_obfuscation`.
    """
    row, key = cell.row, load_or_create_coordinator_key()
    chance = [f"{value:g}" for value in (row.epsilon, row.noise, row.rich_share) if value is not None]
    limited = () if row.protection == "published" else (row.protection, str(row.bits or ""), *chance)
    name = _folder_name(cell, row.inference, row.obfuscation, str(row.hidden), *limited)
    trained = train_obfuscation(
        dataset,
        inference,
        out=at.folder / "obfuscation" / name,
        key=key,
        settings=PoolSettings(
            architecture=row.obfuscation,
            hidden=row.hidden,
            protection=row.protection,
            bits=row.bits,
            epsilon=row.epsilon,
            noise=row.noise,
            rich_share=row.rich_share,
            count=1,
            schedule=plan_for(cell, dataset).obfuscation,
            seed=cell.seed,
        ),
        place=at.place,
        progress=at.progress,
    )
    trust = Trust(explicit=(public_key_text(key),))
    return read_pool(trained.folder, trust=trust, inference_network_id=inference.card.id).bundles[0]


def cell_fingerprint(cell: Cell, dataset: Dataset, inference: InferenceNetwork) -> str:
    """A name of everything that decides a cell's figures.

    Args:
        cell: The cell.
        dataset: Its samples.
        inference: Its inference network.
    """
    row = asdict(cell.row)
    del row["seeds"]
    if row["protection"] == "published":
        # As cells were named before there was another one.
        del row["protection"], row["bits"], row["epsilon"], row["noise"], row["rich_share"]
    if row["obfuscation_share"] == 1:
        del row["obfuscation_share"]
    return fingerprint(
        {
            "form": _FORM,
            "row": row,
            "seed": cell.seed,
            "data": dataset.fingerprint,
            "plan": asdict(plan_for(cell, dataset)),
            "inference": inference.card.id,
            "torch": torch.__version__,
        }
    )


def measure_cell(cell: Cell, dataset: Dataset, inference: InferenceNetwork, at: Workplace) -> dict[str, Any]:
    """Trains the rest of a cell and measures it; test data are read only after all training but the attack's.

    Args:
        cell: The cell.
        dataset: Its case, cut by its split.
        inference: Its inference network.
        at: Where.

    Returns:
        The cell's figures, JSON-ready; `device_only_tenth` is None where no classifier costs so little, or
        where the row asks for none.

    Raises:
        UsageError: even the smallest device-only classifier costs more than O.
        ObfNetError: whatever a training or an attack raises.

    Does not guarantee: that a stronger attack would not rebuild more. It is one attack's measurement.
    """
    plan = plan_for(cell, dataset)
    bundle = obfuscation_for(cell, dataset, inference, at)
    macs = bundle.manifest.macs
    alone = _device_only(cell, dataset, macs, plan, at)
    tenth = _tenth(cell, dataset, macs, plan, at)

    test, session = dataset.test, ObfuscationSession(bundle)
    # What a device sends: from its own runtime, rounded where the wire's type is uint8.
    answered = answers(inference.network, test.samples, through=session.obfuscate)
    leakage = measure_leakage(
        dataset,
        session,
        answered=answered,
        epochs=plan.attack_epochs,
        seed=cell.seed,
        folder=at.folder / "attacks" / _folder_name(cell),
        progress=at.progress,
    ).figures()
    recognition = measure_recognition(
        dataset, session, share=cell.row.attack_share, seed=cell.seed, progress=at.progress
    )
    one = test.samples[:1]
    body, _ = encode_request_binary(session.obfuscate(one), input_name=INPUT_NAME, output_name=SCORES_NAME)
    return {
        "inference": {
            "architecture": inference.card.architecture,
            "parameters": count_parameters(inference.network),
            "macs": count_macs(inference.network, dataset.spec.input.shape),
            "id": inference.card.id,
        },
        "obfuscation": {
            "architecture": bundle.manifest.architecture,
            "hidden": bundle.manifest.hidden,
            "protection": bundle.manifest.protection,
            "parameters": bundle.manifest.parameters,
            "macs": macs,
        },
        "accuracy": {
            "raw": accuracy(inference.network, test),
            "obfuscated": float((answered == test.labels).mean()),
            "device_only": accuracy(alone, test),
            "device_only_tenth": None if tenth is None else accuracy(tenth, test),
        },
        "device_only": _cost(alone, dataset),
        "device_only_tenth": None if tenth is None else _cost(tenth, dataset),
        "leakage": leakage,
        "attribute": None if recognition is None else recognition.figures(),
        "latency": time_obfuscation(bundle, one),
        "request_bytes": {"request": len(body), **sample_bytes(dataset)},
        "samples": {
            "train": len(dataset.train.labels),
            "validation": len(dataset.validation.labels),
            "test": len(test.labels),
        },
        "epochs": {
            "inference": plan.inference.schedule.epochs,
            "obfuscation": plan.obfuscation.epochs,
            "device_only": plan.device_only.schedule.epochs,
            "attack": plan.attack_epochs,
        },
    }


def _device_only(cell: Cell, dataset: Dataset, max_macs: int, plan: Plan, at: Workplace) -> nn.Module:
    return train_device_only(
        dataset,
        max_macs,
        recipe=plan.device_only,
        seed=cell.seed,
        folder=at.folder / _DEVICE_ONLY / _folder_name(cell),
        place=at.place,
        progress=at.progress,
    )


def _tenth(cell: Cell, dataset: Dataset, macs: int, plan: Plan, at: Workplace) -> nn.Module | None:
    if not cell.row.tenth:
        return None
    try:
        return _device_only(cell, dataset, macs // 10, plan, at)
    except UsageError:
        # Even the narrowest classifier costs more.
        return None


def _cost(network: nn.Module, dataset: Dataset) -> dict[str, int]:
    return {
        "parameters": count_parameters(network),
        "macs": count_macs(network, dataset.spec.input.shape),
    }


def _folder_name(cell: Cell, *parts: str) -> str:
    named = [cell.row.case, cell.row.split, *parts, str(cell.seed)]
    return re.sub(r"[^\w.-]", "-", "-".join(named))
