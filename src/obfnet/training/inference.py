"""Inference networks on disk: train one, load one, and reuse one that was trained with the same settings.

A folder holds `inference.onnx` (what the backend serves), `weights.safetensors` (what obfuscation
networks are trained against) and `inference.json` (what it is and how it was made).
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from obfnet.core.errors import TrainingError, UsageError
from obfnet.core.files import sha256_hex, write_atomic, write_json
from obfnet.core.parsing import FieldError, parse_strict
from obfnet.core.progress import Progress, Silent
from obfnet.core.spec import InputSpec
from obfnet.data.case import Dataset
from obfnet.export import inference_onnx
from obfnet.fitting import Budget, Checkpoint, Schedule, fingerprint, processor
from obfnet.nets import INFERENCE_ARCHITECTURES
from obfnet.training.classifier import accuracy, train_classifier
from obfnet.training.recipes import ClassifierRecipe, inference_recipe

_ONNX, _WEIGHTS, _CARD = "inference.onnx", "weights.safetensors", "inference.json"


@dataclass(frozen=True, kw_only=True)
class InferenceCard:
    """What an inference network is and how it was made; `inference.json`.

    Args:
        format_version: Of this file; 1.
        id: sha256 of `inference.onnx`, by which bundles name the network they were trained for.
        case: Data set it was trained on.
        split: Name of the rule by which the data set was cut.
        architecture: Registry name.
        input: The wire's input spec.
        classes: Names of the labels, in the order of the scores.
        weights_sha256: Of `weights.safetensors`.
        validation_accuracy: In [0, 1], on the split cut from the training set.
        seed: Of weights, order and dropout.
        fingerprint: Of everything that decides the result.
    """

    format_version: int
    id: str
    case: str
    split: str
    architecture: str
    input: InputSpec
    classes: tuple[str, ...]
    weights_sha256: str
    validation_accuracy: float
    seed: int
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class InferenceNetwork:
    """A trained inference network.

    Args:
        card: What it is.
        network: In evaluation mode, without gradients; `(N, C, H, W)` in [0, 1] to `(N, classes)`.
        folder: Where it lies.
    """

    card: InferenceCard
    network: nn.Module
    folder: Path

    @property
    def onnx_path(self) -> Path:
        """The file that the backend serves."""
        return self.folder / _ONNX


def train_inference(
    dataset: Dataset,
    *,
    out: Path,
    architecture: str = "",
    dtype: str | None = None,
    schedule: Schedule | None = None,
    recipe: ClassifierRecipe | None = None,
    patience: int | None = None,
    seed: int = 0,
    place: str = "auto",
    progress: Progress | None = None,
) -> InferenceNetwork:
    """Trains an inference network, or returns the one that is there from the same settings.

    Args:
        dataset: Training samples teach; validation samples choose the epoch that is kept and give the
            accuracy on the card; test samples are not read.
        out: Folder for the result; made if missing.
        architecture: A name of the case's (`"cnn"`, `"mlp"`: the paper's) or of the registry; empty takes
            the case's first.
        dtype: The wire's type: `"float32"` in [0, 1], or `"uint8"`, which the served graph divides by 255;
            None takes the case's own.
        schedule: Length and learning rate; None takes the recipe's.
        recipe: The whole recipe; None takes the case's.
        patience: Epochs without a better validation accuracy after which training stops; None never.
        seed: Of weights, order and dropout.
        place: Processor: `"cpu"`, `"cuda"`, or `"auto"` for a GPU where there is one.
        progress: Told of every step.

    Returns:
        The trained network, in evaluation mode and without gradients.

    Raises:
        UnknownNameError: no such architecture.
        UsageError: a dtype that the samples cannot have.
        TrainingError: the loss is not finite.
        OutputError: `out` cannot be written.
    """
    progress = progress or Silent()
    if dataset.spec.kind == "sounds" and dtype == "uint8":
        raise UsageError("dtype float32 for sounds", "uint8", "leave out --dtype")
    spec = wire_spec(dataset.spec.input, dtype or dataset.spec.input.dtype)
    shape, classes = _image_shape(spec), dataset.spec.classes
    architecture = dataset.spec.inference_architecture(architecture)
    build = INFERENCE_ARCHITECTURES.get(architecture)
    recipe = recipe or inference_recipe(dataset.spec, architecture)
    recipe = recipe if schedule is None else dataclasses.replace(recipe, schedule=schedule)
    settings = {
        "data": dataset.fingerprint,
        "architecture": architecture,
        "input": spec.to_dict(),
        "recipe": dataclasses.asdict(recipe),
        "patience": patience,
        "seed": seed,
        "torch": torch.__version__,
    }
    name = fingerprint(settings)
    if (found := _finished(out, name)) is not None:
        progress.say(f"inference network: {out} was trained with these settings before, reused")
        return found
    checkpoint = Checkpoint(path=out / ".training.safetensors", fingerprint=name)
    torch.manual_seed(seed)
    network = build(shape, len(classes))
    budget = Budget(
        schedule=recipe.schedule,
        seed=seed,
        checkpoint=checkpoint,
        progress=progress,
        task="train inference network",
    )
    train_classifier(
        network,
        dataset.train,
        budget,
        validation=dataset.validation,
        patience=patience,
        augmentation=recipe.augmentation,
        smoothing=recipe.smoothing,
        precision=recipe.precision,
        place=processor(place),
    )
    onnx, weights = inference_onnx(network, spec), save(_plain_layout(network))
    card = InferenceCard(
        format_version=1,
        id=sha256_hex(onnx),
        case=dataset.spec.name,
        split=dataset.split,
        architecture=architecture,
        input=spec,
        classes=tuple(classes),
        weights_sha256=sha256_hex(weights),
        validation_accuracy=accuracy(network, dataset.validation),
        seed=seed,
        fingerprint=name,
    )
    write_atomic(out / _ONNX, onnx)
    write_atomic(out / _WEIGHTS, weights)
    # The card is written last: with it the result is whole.
    write_json(out / _CARD, {**dataclasses.asdict(card), "input": spec.to_dict(), "classes": list(classes)})
    checkpoint.drop()
    return load_inference(out)


def load_inference(path: Path) -> InferenceNetwork:
    """Reads an inference network that `train_inference` wrote, and checks that it is whole.

    Args:
        path: Its folder, or the `inference.onnx` in it.

    Raises:
        UsageError: there is none at `path`.
        TrainingError: a file is missing, changed or of another version.
    """
    folder = path.parent if path.name == _ONNX else path
    try:
        raw: dict[str, Any] = json.loads((folder / _CARD).read_text())
        card = parse_strict(InferenceCard, raw)
        onnx, weights = (folder / _ONNX).read_bytes(), (folder / _WEIGHTS).read_bytes()
    except OSError as exc:
        raise UsageError(
            f"an inference network at {folder}",
            f"no {Path(exc.filename or _CARD).name}",
            "run: obfnet train inference",
        ) from exc
    except (ValueError, FieldError, UsageError) as exc:
        raise TrainingError(f"a readable {_CARD} in {folder}", str(exc), "train the network again") from exc
    if card.format_version != 1:
        raise TrainingError("format version 1", str(card.format_version), "use a newer obfnet")
    if sha256_hex(onnx) != card.id or sha256_hex(weights) != card.weights_sha256:
        raise TrainingError(
            f"the files in {folder} as its card says", "changed files", "train the network again"
        )
    network = INFERENCE_ARCHITECTURES.get(card.architecture)(_image_shape(card.input), len(card.classes))
    try:
        network.load_state_dict(load(weights))
    except (SafetensorError, RuntimeError) as exc:
        raise TrainingError(f"weights of {card.architecture}", "others", "train the network again") from exc
    network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return InferenceNetwork(card=card, network=network, folder=folder)


def wire_spec(spec: InputSpec, dtype: str) -> InputSpec:
    """The spec of samples on the wire: the case's own, or as uint8 in [0, 255] or float32 in [0, 1]."""
    if dtype == spec.dtype:
        return spec
    if dtype == "uint8":
        return dataclasses.replace(
            spec, dtype="uint8", low=0.0, high=255.0, preprocessing="uint8 as captured"
        )
    if dtype == "float32":
        # Whoever captures a sample must still know that it is resized.
        resized = f"; {spec.preprocessing}" if "resized to" in spec.preprocessing else ""
        return dataclasses.replace(
            spec, dtype="float32", low=0.0, high=1.0, preprocessing=f"uint8 / 255{resized}"
        )
    raise UsageError("dtype float32 or uint8", repr(dtype), "choose one of them")


def _finished(out: Path, name: str) -> InferenceNetwork | None:
    try:
        found = load_inference(out)
    except (UsageError, TrainingError):
        return None
    return found if found.card.fingerprint == name else None


def _plain_layout(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.contiguous() for name, value in network.state_dict().items()}


def _image_shape(spec: InputSpec) -> tuple[int, int, int]:
    if len(spec.shape) != 3:
        raise UsageError("samples of shape (C, H, W)", str(spec.shape), "choose another case or architecture")
    channels, height, width = spec.shape
    return channels, height, width
