"""Training of a pool: K obfuscation networks at once, each on I∘O with the inference network frozen.

The networks share every batch and the machine's caches, and differ by their initial weights. The
finished pool is a folder of signed bundles; `training.json` beside it says how it was made.
"""

import dataclasses
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from torch import Tensor, nn

from obfnet.bundle import Trust, build_bundle, public_key_text, read_pool, write_pool
from obfnet.bundle.chance import chance_of
from obfnet.core.errors import BundleError, TrainingError, UsageError
from obfnet.core.files import sha256_hex, write_json
from obfnet.core.progress import Progress, Silent
from obfnet.data.case import Dataset
from obfnet.data.table import Split
from obfnet.export import obfuscation_onnx
from obfnet.fitting import (
    Budget,
    Checkpoint,
    fingerprint,
    processor,
    run_schedule,
)
from obfnet.nets.cost import count_macs, count_parameters
from obfnet.training.augmentation import augmented
from obfnet.training.classifier import accuracy, unit_tensor
from obfnet.training.frozen import ROOM_BYTES, FrozenNetwork
from obfnet.training.inference import InferenceNetwork
from obfnet.training.pool_plan import PoolPlan, PoolSettings
from obfnet.training.protections import PROTECTIONS, Answer, Batch, Protection, Purpose
from obfnet.training.recipes import precision_of

__all__ = ["PoolSettings", "TrainedPool", "train_obfuscation"]

_CARD = "training.json"
# Validation samples that a trained network is checked on, and how often it is trained anew.
_CHECKED = 5_000
_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class TrainedPool:
    """A pool on disk and what its training saw.

    Args:
        folder: Signed bundles and `pool.json`.
        validation_accuracy: Of I∘O for each network, in [0, 1], on the split cut from the training set.
        reused: Whether it was there already, from the same settings.
    """

    folder: Path
    validation_accuracy: tuple[float, ...]
    reused: bool


def train_obfuscation(
    dataset: Dataset,
    inference: InferenceNetwork,
    *,
    out: Path,
    key: Ed25519PrivateKey,
    settings: PoolSettings | None = None,
    place: str = "auto",
    progress: Progress | None = None,
) -> TrainedPool:
    """Trains a pool against a frozen inference network and publishes it as signed bundles.

    Args:
        dataset: Training samples teach; validation samples give the accuracies; test samples are not read.
        inference: The network that the backend serves; unchanged afterwards, which is checked.
        out: Folder for the pool; made if missing.
        key: The coordinator's key, which signs every bundle and the pool.
        settings: What to train; the default is four of the case's first obfuscation networks.
        place: Processor: `"cpu"`, `"cuda"`, or `"auto"` for a GPU where there is one.
        progress: Told of every step.

    Returns:
        The pool; the one that is there already if it came from the same settings.

    Raises:
        UsageError: a setting cannot be used, or the data are not what the inference network takes.
        TrainingError: the loss is not finite, or the inference network was changed by training.
        OutputError: `out` cannot be written.

    Does not guarantee: that an obfuscated sample hides anything, unless the protection has a budget.
    """
    progress, plan = progress or Silent(), (settings or PoolSettings()).for_case(dataset)
    _check_fit(dataset, inference)
    protection = PROTECTIONS.get(plan.protection)(
        plan.bits, epsilon=plan.epsilon, noise=plan.noise, rich_share=plan.rich_share
    )
    name = _fingerprint(dataset, inference, plan, key)
    if (found := _finished(out, name, key)) is not None:
        progress.say(f"pool: {out} was trained with these settings before, reused")
        return found
    if warning := protection.warning(len(inference.card.classes), dataset.train.labels):
        progress.say(f"warning: {warning}")
    checkpoint = Checkpoint(path=out / ".training.safetensors", fingerprint=name)
    frozen = _state_hash(inference.network)
    networks = _sound_networks(protection, plan, dataset, inference, checkpoint, progress, processor(place))
    if _state_hash(inference.network) != frozen:
        raise TrainingError(
            "a frozen inference network", "weights that changed in training", "report this bug"
        )
    accuracies = [
        accuracy(nn.Sequential(network, inference.network), dataset.validation) for network in networks
    ]
    bundles = [
        _bundle(network, number, protection, inference, plan, key) for number, network in enumerate(networks)
    ]
    write_pool(out, bundles, key)
    card = {"fingerprint": name, "validation_accuracy": accuracies, "settings": dataclasses.asdict(plan)}
    write_json(out / _CARD, card)
    checkpoint.drop()
    return TrainedPool(folder=out, validation_accuracy=tuple(accuracies), reused=False)


def _check_fit(dataset: Dataset, inference: InferenceNetwork) -> None:
    data, network = dataset.spec, inference.card
    if data.input.unit_shape != network.input.unit_shape or data.classes != network.classes:
        raise UsageError(
            f"samples of shape {network.input.unit_shape} in {len(network.classes)} classes, "
            f"as {network.case}",
            f"{data.input.unit_shape} in {len(data.classes)}, of {data.name}",
            "give the inference network of this case",
        )


def _sound_networks(
    protection: Protection,
    plan: PoolPlan,
    dataset: Dataset,
    inference: InferenceNetwork,
    checkpoint: Checkpoint,
    progress: Progress,
    place: torch.device,
) -> list[nn.Module]:
    """The pool as a device gets it; a network that fails its protection's check is trained anew."""
    classes = len(inference.card.classes)
    channels, height, width = inference.card.input.unit_shape
    purpose = Purpose(
        shape=(channels, height, width),
        architecture=plan.architecture,
        hidden=plan.hidden,
        classes=classes,
        attribute_values=0 if dataset.train.attribute is None else int(dataset.train.attribute.max()) + 1,
    )
    some = unit_tensor(dataset.validation.samples[:_CHECKED])
    sound: dict[int, nn.Module] = {}
    for attempt in range(_ATTEMPTS):
        left = [number for number in range(plan.count) if number not in sound]
        networks = _fresh_networks(protection, plan, purpose, left, attempt)
        own = (
            replace(checkpoint, fingerprint=f"{checkpoint.fingerprint}-{attempt}") if attempt else checkpoint
        )
        _train_together(networks, protection, dataset.train, inference, plan, own, progress, place)
        fault = None
        for number, network in zip(left, networks, strict=True):
            protection.settle(network, some)
            if found := protection.fault(network, some, classes):
                fault = found
                progress.say(f"network {number}: {found}")
            else:
                sound[number] = protection.obfuscation_of(network)
        if fault is None:
            return [sound[number] for number in range(plan.count)]
    raise TrainingError(
        "networks that use their code",
        f"{fault}, {_ATTEMPTS} times from different weights",
        "train longer, or with more bits",
    )


def _fresh_networks(
    protection: Protection, plan: PoolPlan, purpose: Purpose, numbers: Sequence[int], attempt: int
) -> nn.ModuleList:
    networks = nn.ModuleList()
    for number in numbers:
        torch.manual_seed(plan.seed * 10_007 + number + 1 + attempt * 1_000_003)
        networks.append(protection.build(purpose))
    torch.manual_seed(plan.seed)
    return networks


def _train_together(
    networks: nn.ModuleList,
    protection: Protection,
    train: Split,
    inference: InferenceNetwork,
    plan: PoolPlan,
    checkpoint: Checkpoint,
    progress: Progress,
    place: torch.device,
) -> None:
    labels = torch.tensor(train.labels)
    attribute = None if train.attribute is None else torch.tensor(train.attribute)
    networks.train().to(place)
    inference.network.to(place)

    def descend(network: nn.Module, batch: Batch, answer: Answer) -> float:
        loss = protection.outcome(network, answer, batch).loss
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    budget = Budget(
        schedule=plan.schedule,
        seed=plan.seed,
        checkpoint=checkpoint,
        progress=progress,
        task=f"train pool of {plan.count} obfuscation networks",
    )
    threads = torch.get_num_threads()
    # Networks with dropout draw from one random state: in a fixed order, or a run would not repeat.
    alone = len(networks) == 1 or any(isinstance(part, nn.Dropout) for part in networks.modules())
    # A core a network: networks need not wait for one another as the threads of one operation must. A
    # larger joint batch would be slower, since it falls out of the processor's caches.
    single_threaded = partial(torch.set_num_threads, 1)
    frozen = FrozenNetwork(
        inference.network,
        inference.card.input.unit_shape,
        integer=inference.card.input.dtype == "uint8",
        precision=precision_of(inference.card.architecture),
        place=place,
        room_bytes=ROOM_BYTES // min(threads, len(networks)),
    )
    if frozen.at_once < plan.schedule.batch_size:
        progress.say(
            f"the inference network keeps {frozen.sample_bytes / 2**20:,.0f} MiB a sample in training: it "
            f"is asked {frozen.at_once} samples at a time and not {plan.schedule.batch_size}, which takes "
            "longer and gives the same"
        )
    with frozen, ThreadPoolExecutor(min(threads, len(networks)), initializer=single_threaded) as cores:

        def step(rows: Tensor) -> float:
            batch = Batch(
                raw=augmented(unit_tensor(train.samples[rows.numpy()]), plan.augmentation).to(place),
                labels=labels[rows].to(place),
                attribute=None if attribute is None else attribute[rows].to(place),
            )
            descended = partial(descend, batch=batch, answer=frozen)
            return sum((map if alone else cores.map)(descended, networks)) / len(networks)

        try:
            run_schedule(networks, step, samples=len(labels), budget=budget)
        finally:
            torch.set_num_threads(threads)
    networks.eval().cpu()
    inference.network.cpu()


def _bundle(
    network: nn.Module,
    number: int,
    protection: Protection,
    inference: InferenceNetwork,
    plan: PoolPlan,
    key: Ed25519PrivateKey,
) -> bytes:
    spec = inference.card.input
    chance = chance_of(
        epsilon=protection.epsilon,
        noise=protection.noise,
        poor_bits=protection.poor_bits,
        rich_share=protection.rich_share,
    )
    return build_bundle(
        graph=obfuscation_onnx(
            network, spec, chance=chance, width=protection.width, exact=protection.budget_bits is not None
        ),
        key=key,
        name=f"{inference.card.case}-{number:03d}",
        case=inference.card.case,
        input=spec,
        protection=protection.name,
        architecture=plan.architecture,
        hidden=plan.hidden,
        parameters=count_parameters(network),
        macs=count_macs(network, spec.unit_shape),
        budget_bits=protection.budget_bits,
        epsilon=protection.epsilon,
        noise=protection.noise,
        poor_bits=protection.poor_bits,
        rich_share=protection.rich_share,
        inference_network_id=inference.card.id,
    )


def _fingerprint(
    dataset: Dataset, inference: InferenceNetwork, plan: PoolPlan, key: Ed25519PrivateKey
) -> str:
    # A limit that there is not has no part in the name, as before there were any.
    settings = {name: value for name, value in dataclasses.asdict(plan).items() if value is not None}
    decisive: dict[str, Any] = {
        "data": dataset.fingerprint,
        "inference": inference.card.id,
        "settings": settings,
        "key": public_key_text(key),
        "torch": torch.__version__,
    }
    if (recipe := PROTECTIONS.get(plan.protection).recipe) > 1:
        decisive["recipe"] = recipe
    return fingerprint(decisive)


def _finished(out: Path, name: str, key: Ed25519PrivateKey) -> TrainedPool | None:
    try:
        card = json.loads((out / _CARD).read_text())
        if card["fingerprint"] != name:
            return None
        # A pool that a device would refuse is trained again.
        read_pool(out, trust=Trust(explicit=(public_key_text(key),)))
        return TrainedPool(folder=out, validation_accuracy=tuple(card["validation_accuracy"]), reused=True)
    except (OSError, ValueError, KeyError, BundleError):
        return None


def _state_hash(network: nn.Module) -> str:
    tensors: Sequence[Tensor] = list(network.state_dict().values())
    return sha256_hex(b"".join(value.contiguous().numpy().tobytes() for value in tensors))
