"""Trains some networks of a pool together: the unit of work of a fleet, the same wherever it is done.

The networks share every batch and the machine's caches, and differ by their initial weights. What comes out
depends on their numbers and the pool's plan alone, not on which others are trained, here or elsewhere; but
for networks with dropout that draws from torch's own random state, which they share.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from obfnet.bundle.chance import chance_of
from obfnet.core.errors import TrainingError
from obfnet.core.files import sha256_hex
from obfnet.core.progress import Progress
from obfnet.data.case import Dataset
from obfnet.export import pool_onnx
from obfnet.fitting import Budget, Checkpoint, processor, run_schedule
from obfnet.nets import is_camera_size
from obfnet.nets.cost import count_macs, count_parameters
from obfnet.training.augmentation import augmented
from obfnet.training.classifier import accuracy, unit_tensor
from obfnet.training.frozen import ROOM_BYTES, FrozenNetwork
from obfnet.training.growing import FirstPart, answers_halves, averaged, in_two_parts, sizes_asked
from obfnet.training.inference import InferenceNetwork
from obfnet.training.pool_plan import PoolPlan
from obfnet.training.protections import PROTECTIONS, Answer, Batch, Outcome, Protection, Purpose
from obfnet.training.recipes import precision_of
from obfnet.training.varied import varied

# Validation samples that a trained network is checked on, and how often it is trained anew.
_CHECKED = 5_000
_ATTEMPTS = 3
# What the passes of all networks that are trained at once may keep for the way back.
_MOST_BYTES = 4 * 2**30

Aim = Callable[[nn.Module, Answer, Batch], Outcome]


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """A network as a device gets it, not signed yet.

    Args:
        graph: ONNX bytes.
        parameters: How many it has.
        macs: Multiply-accumulates a sample.
        validation_accuracy: Of I∘O, in [0, 1].
    """

    graph: bytes
    parameters: int
    macs: int
    validation_accuracy: float


def protection_of(plan: PoolPlan) -> Protection:
    """The protection that a plan names, with its limits."""
    return PROTECTIONS.get(plan.protection)(
        plan.bits, epsilon=plan.epsilon, noise=plan.noise, rich_share=plan.rich_share
    )


def train_part(
    dataset: Dataset,
    inference: InferenceNetwork,
    plan: PoolPlan,
    numbers: Sequence[int],
    *,
    checkpoint: Checkpoint | None = None,
    progress: Progress,
    place: str = "auto",
    cores: int | None = None,
) -> list[TrainedNetwork]:
    """Trains the networks of these numbers.

    Args:
        dataset: Training samples teach; validation samples give the accuracies; test samples are not read.
        inference: The network that the backend serves; unchanged afterwards, which is checked.
        plan: Of the whole pool.
        numbers: Which of its networks, 0 to K - 1.
        checkpoint: Where an unfinished training is kept; None keeps it nowhere.
        progress: Told of every step.
        place: Processor: `"cpu"`, `"cuda"`, or `"auto"` for a GPU where there is one.
        cores: How many networks are trained at once; each operation then has one thread, so that what comes
            out does not depend on how many there are. None takes what torch may use, operations included.

    Returns:
        As many, in the order of the numbers.

    Raises:
        TrainingError: the loss is not finite, no sound network came out, or the inference network changed.
        OutputError: the checkpoint cannot be written.
    """
    protection, threads = protection_of(plan), torch.get_num_threads()
    frozen = _state_hash(inference.network)
    try:
        if cores is not None:
            torch.set_num_threads(1)
        networks = _sound_networks(
            protection,
            plan,
            numbers,
            dataset,
            inference,
            checkpoint,
            progress,
            processor(place),
            cores or threads,
        )
        if _state_hash(inference.network) != frozen:
            raise TrainingError(
                "a frozen inference network", "weights that changed in training", "report this bug"
            )
        spec = inference.card.input
        chance = chance_of(
            epsilon=protection.epsilon,
            noise=protection.noise,
            poor_bits=protection.poor_bits,
            rich_share=protection.rich_share,
        )
        graphs = pool_onnx(
            networks, spec, chance=chance, width=protection.width, exact=protection.budget_bits is not None
        )
        return [
            TrainedNetwork(
                graph=graph,
                parameters=count_parameters(network),
                macs=count_macs(network, spec.unit_shape),
                validation_accuracy=accuracy(nn.Sequential(network, inference.network), dataset.validation),
            )
            for network, graph in zip(networks, graphs, strict=True)
        ]
    finally:
        torch.set_num_threads(threads)


def _sound_networks(
    protection: Protection,
    plan: PoolPlan,
    numbers: Sequence[int],
    dataset: Dataset,
    inference: InferenceNetwork,
    checkpoint: Checkpoint | None,
    progress: Progress,
    place: torch.device,
    cores: int,
) -> list[nn.Module]:
    """The networks as a device gets them; one that fails its protection's check is trained anew."""
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
        left = [number for number in numbers if number not in sound]
        networks = _fresh_networks(protection, plan, purpose, left, attempt)
        own = checkpoint
        if attempt and checkpoint is not None:
            own = replace(checkpoint, fingerprint=f"{checkpoint.fingerprint}-{attempt}")
        _train_together(networks, protection, dataset, inference, plan, own, progress, place, cores)
        fault = None
        for number, network in zip(left, networks, strict=True):
            protection.settle(network, some)
            if found := protection.fault(network, some, classes):
                fault = found
                progress.say(f"network {number}: {found}")
            else:
                sound[number] = protection.obfuscation_of(network)
        if fault is None:
            return [sound[number] for number in numbers]
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
    dataset: Dataset,
    inference: InferenceNetwork,
    plan: PoolPlan,
    checkpoint: Checkpoint | None,
    progress: Progress,
    place: torch.device,
    cores: int,
) -> None:
    train, spec = dataset.train, inference.card.input
    labels = torch.tensor(train.labels)
    attribute = None if train.attribute is None else torch.tensor(train.attribute)
    networks.train().to(place)
    inference.network.to(place)

    def descend(network: nn.Module, batch: Batch, answer: Answer, aim: Aim) -> float:
        loss = aim(network, answer, batch).loss
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    budget = Budget(
        schedule=plan.schedule,
        seed=plan.seed,
        checkpoint=checkpoint,
        progress=progress,
        task=f"train pool of {len(networks)} obfuscation networks"
        if len(networks) == plan.count
        else f"train {len(networks)} of {plan.count} obfuscation networks",
    )
    threads = torch.get_num_threads()
    two_parts = in_two_parts(protection, networks[0], spec.unit_shape)
    halves = two_parts and answers_halves(inference.network, dataset.validation, spec.unit_shape)
    first_part = FirstPart(plan.schedule.steps(len(labels)) if two_parts else 0)
    if halves:
        progress.say(
            "the inference network answers much the same of pictures averaged by 2x2: these come first, "
            "which is faster, and whole ones last"
        )
    free = two_parts and protection.opens_without_labels
    sizes = sizes_asked(inference.network, spec.unit_shape) if halves and free else []
    # Networks with dropout draw from one random state: in a fixed order, or a run would not repeat.
    alone = len(networks) == 1 or any(isinstance(part, nn.Dropout) for part in networks.modules())
    # A core a network: networks need not wait for one another as the threads of one operation must. A
    # larger joint batch would be slower, since it falls out of the processor's caches.
    single_threaded = partial(torch.set_num_threads, 1)
    # At camera size one network may have what two would share.
    room = ROOM_BYTES * (2 if plan.count == 1 and is_camera_size(spec.unit_shape) else 1)
    frozen = FrozenNetwork(
        inference.network,
        spec.unit_shape,
        integer=spec.dtype == "uint8",
        precision=precision_of(inference.card.architecture),
        place=place,
        room_bytes=room,
        first=free,
    )
    if frozen.at_once < plan.schedule.batch_size:
        progress.say(
            f"the inference network keeps {frozen.sample_bytes / 2**20:,.0f} MiB a sample in training: it "
            f"is asked {frozen.at_once} samples at a time and not {plan.schedule.batch_size}, which takes "
            "longer and gives the same"
        )
    kept = min(room, frozen.sample_bytes * plan.schedule.batch_size) or 1
    at_once = min(cores, len(networks), max(1, _MOST_BYTES // kept))
    with frozen, ThreadPoolExecutor(at_once, initializer=single_threaded) as pool:

        def step(rows: Tensor) -> float:
            opens, raw = first_part.step(), unit_tensor(train.samples[rows.numpy()])
            raw = augmented(averaged(raw) if opens and halves else raw, plan.augmentation)
            batch = Batch(
                raw=(varied(raw) if opens and free else raw).to(place),
                labels=labels[rows].to(place),
                attribute=None if attribute is None else attribute[rows].to(place),
                size=sizes[int(torch.randint(len(sizes), ()))] if opens and sizes else None,
            )
            aim = protection.outcome
            if two_parts:
                aim = protection.opening if opens else protection.closing
            descended = partial(descend, batch=batch, answer=frozen, aim=aim)
            return sum((map if alone else pool.map)(descended, networks)) / len(networks)

        try:
            trained = nn.ModuleList([*networks, first_part]) if two_parts else networks
            run_schedule(trained, step, samples=len(labels), budget=budget)
        finally:
            torch.set_num_threads(threads)
    networks.eval().cpu()
    inference.network.cpu()


def _state_hash(network: nn.Module) -> str:
    tensors: Sequence[Tensor] = list(network.state_dict().values())
    return sha256_hex(b"".join(value.contiguous().numpy().tobytes() for value in tensors))
